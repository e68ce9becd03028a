"""Cells drawn by the program 网格自动划分: proposals for one community, and figures for any cells that somebody drew.

Pure arithmetic over numpy and shapely: no database, no clock, the same answer for the same input and seed.
"""

from grid.drawing.measure import Figures, figures, objective
from grid.drawing.propose import Note, Proposal, propose
from grid.drawing.site import ROADS, Limits, Site, Weights

__all__ = [
    "ROADS",
    "Figures",
    "Limits",
    "Note",
    "Proposal",
    "Site",
    "Weights",
    "figures",
    "objective",
    "propose",
]

"""Proposals: the best cells that several ways of drawing find for a community, and in words what could not be met."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from core.errors import Invalid
from grid import derive
from grid.cellset import CellSet
from grid.drawing.atoms import Atoms, atoms_of, estate_homes
from grid.drawing.cuts import heavy_points
from grid.drawing.linework import Linework, linework
from grid.drawing.measure import Figures, figures, kinds_of
from grid.drawing.partition import partition
from grid.drawing.site import Site, Weights
from grid.relay import relay
from grid.words import N_

#: How often each way is begun, and how often the best is shaken: the more cells, the more.
_STARTS: Final = 2
_SHAKES: Final = 30
_MOST_SHAKES: Final = 240
#: More numbers than a code has room for.
_MOST_CELLS: Final = 999


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that could not be met, and why: an English msgid with parameters."""

    message: str
    params: Mapping[str, Any] = field(default_factory=dict)
    #: Codes of the cells that it is about.
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """Cells for one community, numbered, with their figures and what could not be met."""

    cells: CellSet
    figures: Figures
    notes: tuple[Note, ...]


def propose(site: Site, weights: Weights | None = None, *, seed: int = 0) -> Proposal:
    """Return cells that cover a community exactly, the same for the same site, weights and seed.

    A second or two for 10,000 households. Never worse by `objective` than the plain split of `grid.derive.divide`.
    Raises Invalid where the community would need more cells than its codes have room for.
    """
    weights = weights or Weights()
    lines = linework(site)
    best: tuple[float, NDArray[Any], Figures] | None = None
    for shapes in _drawn(site, weights, lines, seed):
        told = figures(shapes, site, weights, lines=lines)
        if best is None or told.objective < best[0] - 1e-9:
            best = (told.objective, shapes, told)
    assert best is not None, "every community is drawn in at least one way"
    return _numbered(site, weights, best[1], lines)


def _drawn(site: Site, weights: Weights, lines: Linework, seed: int) -> list[NDArray[Any]]:
    """Return the best cells of each way of drawing, as polygons."""
    ways: list[tuple[float, NDArray[np.intp], Atoms]] = []
    last = -1
    for grain in (0, 1, 2):
        atoms = atoms_of(site, weights, lines, grain=grain)
        if len(atoms) == last:
            continue
        last = len(atoms)
        for start in range(_STARTS):
            label, cost = partition(atoms, site, weights, seed=seed * 1000 + 10 * grain + start)
            ways.append((cost, label, atoms))
    cost, label, atoms = min(ways, key=lambda way: round(way[0], 7))
    shakes = min(_SHAKES + _SHAKES * (int(label.max()) + 1) // 6, _MOST_SHAKES)
    label, _ = partition(atoms, site, weights, seed=seed * 1000 + 999, start=label, shakes=shakes)
    plain = divided(site, weights)
    ours = _ordered(atoms.merged(label))
    return [ours] if plain is None else [ours, plain]


def divided(site: Site, weights: Weights, *, count: int | None = None) -> NDArray[Any] | None:
    """Return the plain split by straight lines that knows no road, exact and in order; None where it fails.

    count: as many cells as the load asks for by default.
    """
    if count is None:
        count = max(round(float(site.loads(weights).sum()) / site.limits.target), 1)
    # One point for each ten households, so that the split balances them as well as it can.
    repeated = np.repeat(site.points, np.ceil(site.loads(weights) / 10).astype(np.intp), axis=0)
    parts = derive.parts(site.shape, repeated, site.plane, count=count)
    laid = relay(site.shape, np.array([part for part in parts if not part.is_empty], dtype=object))
    there = np.array([shape is not None for shape in laid.geom], dtype=bool)
    return _ordered(laid.geom) if there.all() and not laid.faults else None


def _numbered(site: Site, weights: Weights, shapes: NDArray[Any], lines: Linework) -> Proposal:
    """Return cells that are in order with their numbers, kinds, households and notes."""
    if len(shapes) > _MOST_CELLS:
        raise Invalid("The community would need {count} cells; its codes have room for 999.", count=len(shapes))
    home = derive.first_hit(shapes, shapely.points(site.points)) if len(site.points) else np.zeros(0, dtype=np.intp)
    told = figures(shapes, site, weights, lines=lines)
    cells = CellSet(
        code=[f"{site.community}{serial:03d}" for serial in range(1, len(shapes) + 1)],
        community=[site.community] * len(shapes),
        kind=kinds_of(site, home, len(shapes), [cell.households for cell in told.cells]),
        geom=shapes,
        households=[cell.households for cell in told.cells],
    )
    return Proposal(cells, told, tuple(_notes(site, weights, cells, told, lines)))


def _ordered(shapes: NDArray[Any]) -> NDArray[Any]:
    """Return cells in the order of their numbers (S2). A home on a boundary belongs to the lower one."""
    whole = np.asarray(shapely.normalize(shapes), dtype=object)
    return whole[derive.number(whole)]


def _notes(site: Site, weights: Weights, cells: CellSet, told: Figures, lines: Linework) -> list[Note]:
    """Return what could not be met, and why."""
    fewest, most = site.limits.fewest, site.limits.most
    notes = []
    if site.basis == "guessed":
        notes.append(Note(N_("Nobody counted the households: they are guessed from the places.")))
    elif site.basis == "shared":
        reason = N_("The households are known for today's cells only: they are shared out among the doors inside.")
        notes.append(Note(reason))
    if told.households == 0:
        notes.append(Note(N_("No household is known here, so that nothing can be balanced.")))
    elif told.households < fewest:
        known = {"households": told.households, "fewest": fewest}
        notes.append(Note(N_("The whole community has {households} households; a cell should have {fewest}."), known))
    if not len(lines.real):
        notes.append(
            Note(N_("No road, water or wall is known here: the boundaries are straight lines that are not there."))
        )
    notes += _too_heavy(site, weights, cells, lines)
    explained = {code for note in notes for code in note.cells}
    for code, cell in zip(cells.code, told.cells, strict=True):
        if cell.within is False and code not in explained and told.households >= fewest:
            params = {"cell": code, "households": cell.households, "fewest": fewest, "most": most}
            notes.append(
                Note(
                    N_("Cell {cell} has {households} households, not {fewest} to {most}: no cheaper cut was found."),
                    params,
                    (code,),
                )
            )
    apart = tuple(code for code, cell in zip(cells.code, told.cells, strict=True) if cell.parts > 1)
    if apart:
        reason = N_("The community has parts that lie apart and are too small for a cell: {cells} have several parts.")
        notes.append(Note(reason, {"cells": ", ".join(apart)}, apart))
    if told.cut_estates:
        notes.append(
            Note(N_("{count} of {all} estates lie in more than one cell."),
                 {"count": told.cut_estates, "all": told.estates})
        )  # fmt: skip
    return notes


def _too_heavy(site: Site, weights: Weights, cells: CellSet, lines: Linework) -> list[Note]:
    """Return notes on spots and estates that have more households than a cell may, by themselves."""
    most = site.limits.most
    notes = []
    plane = site.plane
    for x, y, homes in heavy_points(plane.to_metres(site.points), site.households, most).tolist():
        at = derive.first_hit(cells.geom, shapely.points(plane.to_degrees([[x, y]])))
        codes = tuple(cells.code[i] for i in at.tolist() if i >= 0)
        params = {"cell": "".join(codes), "households": round(homes), "most": most}
        notes.append(
            Note(
                N_("{households} households stand on one spot in cell {cell}: no boundary divides them."), params, codes
            )
        )
    if weights.estates == 0 or weights.cut_large_estates:
        return notes
    notes += _large_groups(site, cells)
    if not len(lines.estates):
        return notes
    homes_of = estate_homes(site)
    for i in np.flatnonzero(homes_of > most).tolist():
        at = derive.first_hit(cells.geom, shapely.point_on_surface(site.estates[i : i + 1]))
        codes = tuple(cells.code[k] for k in at.tolist() if k >= 0)
        params = {"estate": site.estate_name[i], "households": round(homes_of[i]), "most": most}
        notes.append(
            Note(
                N_("The estate {estate} alone has {households} households, more than {most}; it was kept whole."),
                params,
                codes,
            )
        )
    return notes


def _large_groups(site: Site, cells: CellSet) -> list[Note]:
    """Return notes on estates without a polygon whose places alone have more households than a cell may."""
    notes = []
    names = site.group_names()
    grouped = site.group >= 0
    total = np.bincount(site.group[grouped], weights=site.households[grouped], minlength=len(names))
    for group in np.flatnonzero(total > site.limits.most).tolist():
        at = derive.first_hit(cells.geom, shapely.points(site.points[site.group == group]))
        codes = tuple(sorted({cells.code[i] for i in at.tolist() if i >= 0}))
        params = {"estate": names[group], "households": round(total[group]), "most": site.limits.most}
        reason = N_("The estate {estate} alone has {households} households, more than {most}; it was kept whole.")
        if len(codes) == 1:
            notes.append(Note(reason, params, codes))
    return notes

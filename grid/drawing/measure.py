"""Figures of cells, whoever drew them, and the one objective that proposals are judged by. Lower is better.

Fast enough to follow a planner's hand: some milliseconds for the cells of one community.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from core.datums import Plane
from core.errors import Invalid
from grid import derive
from grid.cellset import CellSet
from grid.derive import first_hit
from grid.drawing.atoms import TOLERANCE_M, estate_homes, sums
from grid.drawing.linework import Linework, linework, pieces
from grid.drawing.site import Limits, Site, Weights

#: What a fault costs at weight 1, in cells: a cell outside its limits at all, and per target that it misses them by.
_OUTSIDE: Final = 0.5
_MISSED: Final = 4.0
_COMPACT: Final = 0.8
_LINES: Final = 0.5
_KIND: Final = 0.5
_ESTATE: Final = 2.0
_PART: Final = 1.0
#: Polsby–Popper that costs nothing: between a square (0.785) and what roads allow.
_FAIR: Final = 0.6
#: An estate counts as cut when this share of it lies in each of two cells.
_CUT_SHARE: Final = 0.02
#: A boundary nearer than this to the community's own is the community's.
_BORDER_M: Final = 1.0
_JUDGED_M: Final = 20.0
#: Ground narrower than this is rounding.
_CRACK_M: Final = 0.02


@dataclass(frozen=True, slots=True)
class CellFigures:
    """One cell."""

    households: int
    #: What it asks of a worker, in households.
    load: float
    kind: str
    area_km2: float
    #: Polsby–Popper, 4πA/P², on the plane in metres: 1 for a circle.
    compactness: float
    #: Whether a residential cell keeps the limits; None for other kinds.
    within: bool | None
    #: 1 when the cell hangs together.
    parts: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All cells of a community together."""

    cells: tuple[CellFigures, ...]
    households: int
    #: Residential cells, and the share of them inside the limits; None without any.
    residential: int
    within: float | None
    #: Standard deviation of the cells' loads over their mean.
    variation: float
    #: Mean Polsby–Popper.
    compactness: float
    #: Share of the inner boundaries' length within `TOLERANCE_M` of a real road, water or wall; None without any.
    on_lines: float | None
    #: Estates (polygons, or groups of places where there are none) that lie in two or more cells.
    cut_estates: int
    estates: int
    #: Share of cells of mixed kind.
    mixed: float
    #: Share of cells that hang together.
    contiguous: float
    #: Ground of the community in no cell (cracks of rounding apart), and in more than one, square metres.
    uncovered_m2: float
    shared_m2: float
    #: What the whole costs under the planner's weights; lower is better.
    objective: float
    #: How the households are known: a key of `grid.drawing.site.BASES`.
    basis: str


def cell_costs(
    told: NDArray[np.float64], perimeter: NDArray[np.float64], limits: Limits, weights: Weights
) -> NDArray[np.float64]:
    """Return what each cell costs by itself.

    told: `(..., 6)` load, households, area in m², and how strongly it speaks for each of three uses; perimeter in m.
    """
    load, homes, area, speech = told[..., 0], told[..., 1], told[..., 2], told[..., 3:6]
    target = limits.target
    # Too little is measured by all that asks for work, too much by households alone.
    missed = np.maximum(np.maximum(limits.fewest - load, homes - limits.most), 0.0) / target
    cost = weights.balance * (((load - target) / target) ** 2 + _MISSED * missed + _OUTSIDE * (missed > 0))
    round_ = 4 * np.pi * area / np.maximum(perimeter, 1e-6) ** 2
    cost = cost + weights.compactness * _COMPACT * (_FAIR - round_)
    total = speech.sum(axis=-1)
    # Few voices prove little.
    impure = (total - speech.max(axis=-1)) / (total + 3.0)
    costs: NDArray[np.float64] = cost + weights.one_kind * _KIND * impure
    return costs


def line_cost(poor_m: NDArray[np.float64] | float, site: Site, weights: Weights) -> Any:
    """Return what metres of boundary without a real line cost; the outline of a middling cell costs a half."""
    return weights.lines * _LINES * poor_m / unit_m(site, weights)


def unit_m(site: Site, weights: Weights) -> float:
    """Return half the outline in metres of a square cell of middling size in this community."""
    area = float(shapely.area(shapely.transform(site.shape, site.plane.to_metres)))
    cells = max(float(site.loads(weights).sum()) / site.limits.target, 1.0)
    return 2 * math.sqrt(area / cells)


def objective(cells: CellSet | NDArray[Any], site: Site, weights: Weights | None = None) -> float:
    """Return what cells cost under a planner's weights; the same sum that `propose` makes small."""
    return figures(cells, site, weights).objective


def figures(
    cells: CellSet | NDArray[Any], site: Site, weights: Weights | None = None, *, lines: Linework | None = None
) -> Figures:
    """Return the figures of cells over a community's ground.

    cells: a CellSet or `(n,)` polygons, EPSG:4490; lines: of `linework`, where they are at hand. Kinds that the cells
    do not say are computed. Raises Invalid without cells or with empty ones.
    """
    weights = weights or Weights()
    shapes = np.asarray(cells.geom if isinstance(cells, CellSet) else cells, dtype=object)
    if not len(shapes) or any(shape is None or shapely.is_empty(shape) for shape in shapes):
        raise Invalid("There are no cells to count.", field="cells")
    lines = lines if lines is not None else linework(site)
    plane = site.plane
    flat = shapely.transform(shapes, plane.to_metres)
    home = first_hit(shapes, shapely.points(site.points)) if len(site.points) else np.zeros(0, dtype=np.intp)
    told = _told(site, weights, flat, home)
    told_kinds = cells.kind if isinstance(cells, CellSet) else [""] * len(shapes)
    found_kinds = kinds_of(site, home, len(shapes), told[:, 1])
    kind = [given or found for given, found in zip(told_kinds, found_kinds, strict=True)]
    perimeter = shapely.length(flat)
    parts = _parts(shapes)
    inner, poor, real = _boundaries(site, flat, lines, plane)
    cut, estates = _cut_estates(site, flat, lines, home)
    limits = site.limits
    homes = np.round(told[:, 1]).astype(np.int64)
    one = tuple(
        CellFigures(
            households=int(homes[i]),
            load=float(told[i, 0]),
            kind=kind[i],
            area_km2=float(told[i, 2]) / 1e6,
            compactness=float(4 * np.pi * told[i, 2] / max(perimeter[i], 1e-6) ** 2),
            within=bool(limits.fewest <= homes[i] <= limits.most) if kind[i] == "residential" else None,
            parts=int(parts[i]),
        )
        for i in range(len(shapes))
    )
    judged = [cell.within for cell in one if cell.within is not None]
    uncovered, shared = _cover(site, flat)
    costs = float(cell_costs(told, perimeter, limits, weights).sum()) + float(line_cost(poor, site, weights))
    costs += _estates_cost(site, weights, cut, estates) + _PART * float((parts - 1).sum())
    return Figures(
        cells=one,
        households=int(homes.sum()),
        residential=len(judged),
        within=sum(judged) / len(judged) if judged else None,
        variation=float(told[:, 0].std() / told[:, 0].mean()) if told[:, 0].any() else 0.0,
        compactness=float(np.mean([cell.compactness for cell in one])),
        on_lines=real / inner if inner > 0 else None,
        cut_estates=int(cut.sum()),
        estates=len(cut),
        mixed=sum(cell.kind == "mixed" for cell in one) / len(one),
        contiguous=float((parts == 1).mean()),
        uncovered_m2=uncovered,
        shared_m2=shared,
        objective=costs,
        basis=site.basis,
    )


def _told(site: Site, weights: Weights, flat: NDArray[Any], home: NDArray[np.intp]) -> NDArray[np.float64]:
    told = np.zeros((len(flat), 6))
    there = home >= 0
    np.add.at(told[:, 0], home[there], site.loads(weights)[there])
    np.add.at(told[:, 1], home[there], site.households[there])
    told[:, 2] = shapely.area(flat)
    speech = np.zeros((len(flat), 3))
    np.add.at(speech, home[there], site.speaking()[there])
    told[:, 3:6] = speech
    return told


def kinds_of(site: Site, home: NDArray[np.intp], count: int, households: Sequence[float] | NDArray[Any]) -> list[str]:
    """Return the kind of each of `count` cells; where no place speaks, homes make it residential."""
    speaks = (site.use >= 0) & (home >= 0)
    heard = np.bincount(home[speaks], minlength=count)
    found = derive.kinds(site.use, home, count, usual=site.usual)
    return [
        kind if voices else "residential" if homes > 0 else "mixed"
        for kind, voices, homes in zip(found, heard.tolist(), households, strict=True)
    ]


def _parts(shapes: NDArray[Any]) -> NDArray[np.intp]:
    """Return how many parts each cell has; parts that only meet in a corner are two."""
    whole = np.array([shapely.union_all(shapely.get_parts(shape)) for shape in shapes], dtype=object)
    return np.asarray(shapely.get_num_geometries(whole), dtype=np.intp)


def _boundaries(site: Site, flat: NDArray[Any], lines: Linework, plane: Plane) -> tuple[float, float, float]:
    """Return metres of inner boundary, those weighted by how little is there, and those along a real line."""
    start, end, _ = pieces(shapely.get_rings(shapely.segmentize(flat, _JUDGED_M)))
    spots = shapely.points((start + end) / 2)
    length = np.hypot(*(end - start).T)
    border = shapely.transform(shapely.boundary(site.shape), plane.to_metres)
    from_, to, _ = pieces(shapely.get_parts(border))
    rim = shapely.STRtree(shapely.linestrings(np.stack((from_, to), axis=1)))
    at = rim.query(spots, predicate="dwithin", distance=_BORDER_M)[0]
    inner = np.ones(len(spots), dtype=bool)
    inner[at] = False
    best = np.zeros(len(spots))
    if len(lines.real):
        hit, which = shapely.STRtree(lines.real).query(spots, predicate="dwithin", distance=TOLERANCE_M)
        np.maximum.at(best, hit, lines.strength[which])
    # Each inner boundary stands in the outlines of two cells.
    length = length[inner] / 2
    best = best[inner]
    return float(length.sum()), float((length * (1 - best)).sum()), float(length[best > 0].sum())


def _cut_estates(
    site: Site, flat: NDArray[Any], lines: Linework, home: NDArray[np.intp]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return of each estate, with and without a polygon, whether it lies in several cells, and its households."""
    there = np.flatnonzero(~shapely.is_empty(lines.estates)) if len(lines.estates) else np.zeros(0, dtype=np.intp)
    estates = lines.estates[there]
    holds = np.zeros(len(estates), dtype=np.intp)
    if len(estates):
        cell, estate = shapely.STRtree(estates).query(flat, predicate="intersects")
        share = shapely.area(shapely.intersection(flat[cell], estates[estate])) / shapely.area(estates[estate])
        holds = np.bincount(estate[share > _CUT_SHARE], minlength=len(estates))
    grouped = (site.group >= 0) & (home >= 0)
    pairs = np.unique(np.column_stack((site.group[grouped], home[grouped])), axis=0)
    groups, cells = np.unique(pairs[:, 0], return_counts=True)
    size = sums(site.group[grouped], site.households[grouped], int(groups.max(initial=-1)) + 1)
    return np.concatenate((holds > 1, cells > 1)), np.concatenate((estate_homes(site)[there], size[groups]))


def _estates_cost(site: Site, weights: Weights, cut: NDArray[np.bool_], homes: NDArray[np.float64]) -> float:
    """Return what cut estates cost: more than to leave even the largest of them whole."""
    limits = site.limits
    alone = np.maximum(homes / limits.target - 1, 0) ** 2 + _MISSED * np.maximum(homes - limits.most, 0) / limits.target
    cost = weights.estates * _ESTATE + weights.balance * 2 * alone
    # Where the planner lets large estates be cut, that costs nothing.
    free = (homes > limits.most) if weights.cut_large_estates else np.zeros(len(cut), dtype=bool)
    return float(cost[cut & ~free].sum()) if weights.estates > 0 else 0.0


def _cover(site: Site, flat: NDArray[Any]) -> tuple[float, float]:
    """Return square metres of the community outside every cell, and of ground in several cells."""
    shape = shapely.transform(site.shape, site.plane.to_metres)
    union = shapely.union_all(flat)
    bare = shapely.get_parts(shapely.difference(shape, union))
    # Where a cell's corner was rounded onto the community's border a crack stays, a few millimetres wide.
    bare = bare[shapely.area(bare) > _CRACK_M / 2 * shapely.length(bare)] if len(bare) else bare
    return float(shapely.area(bare).sum()), max(float(shapely.area(flat).sum() - shapely.area(union)), 0.0)

"""Whether cells cover their communities exactly 无缝无叠: gaps, overlaps, cells outside; with proposals for small ones.

Each community is looked at by itself, because a cell lies inside one. GEOS's check of coverages answers for those that
are well in one pass; only the others are cut against each other. Works on valid polygons in EPSG:4490.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from core.datums import Plane
from grid.findings import (
    MOST_OF_A_RULE,
    SPECK_M2,
    Finding,
    Known,
    Piece,
    Rules,
    Severity,
    area_m2,
    more,
    pieces,
)
from grid.mending import SNAP, Fix, keeps_form, receiver
from grid.words import N_


@dataclass(slots=True)
class Ground:
    """The cells that can be cut against each other, and where each belongs."""

    #: `(n,)` valid polygons; None for a cell that is broken.
    shapes: NDArray[Any]
    #: Code to show for each cell.
    label: Sequence[str]
    #: Community that each cell lies in; empty for none.
    lies: list[str]
    plane: Plane


def settle(shapes: NDArray[Any], claimed: Sequence[str], known: Known) -> list[str]:
    """Return the community that each cell lies in with at least half of its area, the claimed one first; '' for none.

    Where the claimed community has no polygon, its claim stands.
    """
    codes = [code for code, shape in known.communities.items() if shape is not None]
    polygons = np.array([known.communities[code] for code in codes], dtype=object)
    lies = list(claimed)
    there = np.array([shape is not None for shape in shapes], dtype=bool)
    asked = [
        i
        for i in np.flatnonzero(there).tolist()
        if not (claimed[i] in known.communities and not _has(known, claimed[i]))
    ]
    if not codes or not asked:
        return lies
    at = {code: k for k, code in enumerate(codes)}
    doubtful = []
    for i in asked:
        own = at.get(claimed[i])
        if own is None or not _mostly(polygons[own], shapes[i]):
            doubtful.append(i)
    tree = shapely.STRtree(polygons)
    for i in doubtful:
        near = tree.query(shapes[i], predicate="intersects")
        shared = shapely.area(shapely.intersection(polygons[near], shapes[i])) if len(near) else np.zeros(0)
        best = int(np.argmax(shared)) if len(shared) else -1
        lies[i] = codes[near[best]] if best >= 0 and shared[best] > 0 else ""
    return lies


def _has(known: Known, code: str) -> bool:
    return known.communities.get(code) is not None


def _mostly(polygon: Any, shape: Any) -> bool:
    """Return whether a polygon holds at least half of a shape; cheap where it holds all of it."""
    shapely.prepare(polygon)
    if shapely.covers(polygon, shape):
        return True
    return bool(shapely.intersects(polygon, shape)) and (
        2 * shapely.area(shapely.intersection(polygon, shape)) >= shapely.area(shape)
    )


@dataclass(frozen=True, slots=True)
class _Fault:
    """A piece of ground with its rule, before anything is said of it."""

    rule: str
    piece: Piece
    #: outside: the cell; overlap: both; gap: none.
    cells: tuple[int, ...]
    community: str


def check_coverage(ground: Ground, known: Known, rules: Rules) -> Iterator[Finding]:
    """Yield every gap, overlap and piece outside, largest first; of each rule as many as are listed."""
    members: dict[str, list[int]] = defaultdict(list)
    for i, code in enumerate(ground.lies):
        if ground.shapes[i] is not None:
            members[code].append(i)
    faults: dict[str, list[_Fault]] = defaultdict(list)
    for code in sorted(members):
        for fault in _faults(ground, np.array(members[code], dtype=np.intp), known.communities.get(code), code):
            faults[fault.rule].append(fault)
    for rule, found in faults.items():
        found.sort(key=lambda fault: -fault.piece.area_m2)
        for fault in found[:MOST_OF_A_RULE]:
            mine = np.array(members[fault.community], dtype=np.intp)
            yield _SAY[rule](ground, fault, mine, known.names.get(fault.community, fault.community), rules)
        left = found[MOST_OF_A_RULE:]
        if left:
            wide = any(4 * one.piece.area_m2 > rules.tolerance_m * one.piece.length_m for one in left)
            yield more(rule, len(left), "refuses" if wide else "warns")


def _faults(ground: Ground, mine: NDArray[np.intp], polygon: Any, code: str) -> Iterator[_Fault]:
    """Yield what is wrong in one community; a sound one costs three calls."""
    shapes, plane = ground.shapes[mine], ground.plane
    sound, inside = bool(shapely.coverage_is_valid(shapes)), True
    if polygon is not None:
        shapely.prepare(polygon)
        out = np.flatnonzero(~shapely.covers(polygon, shapes))
        inside = not len(out)
        found, of = pieces(shapely.difference(shapes[out], polygon, grid_size=SNAP), plane)
        yield from (_Fault("outside", piece, (int(mine[out[k]]),), code) for piece, k in zip(found, of, strict=True))
    if not sound:
        one, two = shapely.STRtree(shapes).query(shapes, predicate="intersects")
        one, two = one[one < two], two[one < two]
        # Rounding may lay exact neighbours over one another by a hair; what is more is cut again on the snapping grid.
        rough = shapely.area(shapely.intersection(shapes[one], shapes[two])) > 0
        one, two = one[rough], two[rough]
        found, of = pieces(shapely.intersection(shapes[one], shapes[two], grid_size=SNAP), plane)
        for piece, k in zip(found, of, strict=True):
            yield _Fault("overlap", piece, (int(mine[one[k]]), int(mine[two[k]])), code)
    if code and not (polygon is not None and sound and inside and _full(polygon, shapes, plane)):
        found, _ = pieces(_bare(shapes, polygon), plane)
        yield from (_Fault("gap", piece, (), code) for piece in found)


def _full(polygon: Any, shapes: NDArray[Any], plane: Plane) -> bool:
    """Return whether cells that lie inside and do not overlap leave nothing of a community: their areas say it."""
    return float(area_m2(polygon, plane)[0] - area_m2(shapes, plane).sum()) < SPECK_M2 / 2


def _bare(shapes: NDArray[Any], polygon: Any) -> Any:
    """Return the ground of a community that none of its cells holds."""
    whole = shapely.union_all(shapes, grid_size=SNAP)
    if polygon is not None:
        return shapely.difference(polygon, whole, grid_size=SNAP)
    # Nobody said how far the community goes: what its cells enclose is a gap all the same.
    rings = [ring for part in shapely.get_parts(whole) for ring in part.interiors]
    return shapely.MultiPolygon([shapely.Polygon(ring) for ring in rings])


def _graded(piece: Piece, rules: Rules) -> tuple[dict[str, Any], Severity, bool]:
    """Return what is said of a piece, how bad it is, and whether it is small enough for a snap."""
    params = piece.params()
    return params, "warns" if params["width"] <= rules.tolerance_m else "refuses", params["width"] <= rules.snap_m


def _outside(ground: Ground, fault: _Fault, mine: NDArray[np.intp], name: str, rules: Rules) -> Finding:
    del mine
    params, severity, small = _graded(fault.piece, rules)
    (index,) = fault.cells
    fix = Fix("take", (index,), fault.piece.shape)
    return Finding(
        "outside",
        severity,
        (index,),
        fault.piece.shape,
        N_("{area} m² of cell {code} lie outside {community}, up to {width} m wide, at {lng}, {lat}."),
        {"code": ground.label[index], "community": name, **params},
        fix if small and keeps_form(ground.shapes[index], fix) else None,
    )


def _overlap(ground: Ground, fault: _Fault, mine: NDArray[np.intp], name: str, rules: Rules) -> Finding:
    del mine, name
    params, severity, small = _graded(fault.piece, rules)
    first, second = fault.cells
    # Cut from the larger cell, or from the other one where that would tear it.
    order = sorted(fault.cells, key=lambda i: -float(shapely.area(ground.shapes[i])))
    fixes = (Fix("take", (i,), fault.piece.shape) for i in order if small)
    return Finding(
        "overlap",
        severity,
        (first, second),
        fault.piece.shape,
        N_("Cells {one} and {two} overlap: {area} m², up to {width} m wide, at {lng}, {lat}."),
        {"one": ground.label[first], "two": ground.label[second], **params},
        next((fix for fix in fixes if keeps_form(ground.shapes[fix.cells[0]], fix)), None),
    )


def _gap(ground: Ground, fault: _Fault, mine: NDArray[np.intp], name: str, rules: Rules) -> Finding:
    params, severity, small = _graded(fault.piece, rules)
    shape = fault.piece.shape
    near = mine[shapely.dwithin(ground.shapes[mine], shape, SNAP * 3)]
    fix = _give(ground, near, shape) if small else None
    hole = _encloser(ground, near, shape)
    if hole is not None:
        return Finding(
            "hole",
            severity,
            (hole,),
            shape,
            N_("Cell {code} has a hole that belongs to no cell: {area} m², up to {width} m wide, at {lng}, {lat}."),
            {"code": ground.label[hole], **params},
            fix,
        )
    return Finding(
        "gap",
        severity,
        fix.cells if fix else tuple(int(i) for i in near[:4]),
        shape,
        N_("A gap in {community}: {area} m² belong to no cell, up to {width} m wide, at {lng}, {lat}."),
        {"community": name, **params},
        fix,
    )


_SAY: Final = {"outside": _outside, "overlap": _overlap, "gap": _gap}


def _encloser(ground: Ground, near: NDArray[np.intp], shape: Any) -> int | None:
    """Return the one cell in whose hole a gap lies, if there is one."""
    for i in near:
        rings = [ring for part in shapely.get_parts(ground.shapes[i]) for ring in part.interiors]
        if any(shapely.covers(shapely.buffer(shapely.Polygon(ring), SNAP * 3), shape) for ring in rings):
            return int(i)
    return None


def _give(ground: Ground, near: NDArray[np.intp], shape: Any) -> Fix | None:
    """Return the proposal that gives a gap to the neighbour that shares most of its edge, unless it would tear it."""
    best = receiver(shape, ground.shapes, [int(i) for i in near])
    if best is None:
        return None
    fix = Fix("give", (best,), shape)
    return fix if keeps_form(ground.shapes[best], fix) else None

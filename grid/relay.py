"""Laying edited cells down again: ground that is taken goes to the new cells exactly, without a gap or an overlap.

Works on any community at a time: neighbours outside the ground that is taken are never touched. Pure; no database.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from core.datums import Plane
from core.errors import Invalid
from grid.words import N_

#: Degrees between the points that an edited boundary may use: a tenth of a millimetre. The grid of derived boundaries
#: is a multiple, so that untouched vertices stay; an edge of a kilometre moves by less than 0.1 m² where a new vertex
#: is set on it.
FINE: Final = 1e-9
#: Slivers narrower than this on average are a slip of the hand and are given to a neighbour; wider ones are told.
THIN_M: Final = 0.5
#: Ground below this is nothing that anybody could stand on.
LEAST_M2: Final = 1.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with edited cells: an English msgid with parameters, and where."""

    message: str
    params: Mapping[str, Any]
    #: Indices of the drafts concerned.
    drafts: tuple[int, ...]
    #: EPSG:4490; None where there is nothing to show.
    geom: Any = None

    def error(self) -> Invalid:
        """Return the fault as the error that refuses a plan."""
        return Invalid(self.message, field="geometry", **self.params)


@dataclass(slots=True)
class Laid:
    """Edited cells as they would lie."""

    #: `(n,)` multipolygons in the order of the drafts; None for a draft that has no ground left.
    geom: NDArray[Any]
    faults: list[Fault] = field(default_factory=list)


def outline(shapes: Sequence[Any] | NDArray[Any]) -> Any:
    """Return the ground of cells together, EPSG:4490; vertices that lie on a neighbour's edge are set into it."""
    return shapely.union_all(np.asarray(shapes, dtype=object), grid_size=FINE)


def relay(ground: Any, drafts: Sequence[Any] | NDArray[Any], *, codes: Sequence[str] = (), bare: bool = False) -> Laid:
    """Return drafts laid down on the ground that they take: every face between any two lines goes to one of them.

    ground: polygon or multipolygon, EPSG:4490; drafts: `(n,)` valid polygons. codes: how drafts are named in faults.
    bare: ground that no draft covers may stay bare. Slivers under `THIN_M` go to the draft that shares most of their
    edge, or, where two claim them, to the earlier one; wider gaps, overlaps and reaches beyond the ground are faults.
    """
    shapes = np.asarray(drafts, dtype=object)
    names = [*codes] or [str(i + 1) for i in range(len(shapes))]
    west, south, east, north = shapely.total_bounds(np.append(shapes, ground))
    plane = Plane.at((west + east) / 2, (south + north) / 2)
    noded = shapely.union_all(shapely.boundary(np.append(shapes, ground)), grid_size=FINE)
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(noded)))
    inside = shapely.point_on_surface(faces)
    area, width = _sizes(faces, plane)
    mine = shapely.intersects(ground, inside)
    claims: list[list[int]] = [[] for _ in faces]
    at, which = shapely.STRtree(shapes).query(inside, predicate="intersects")
    for face, draft in zip(at.tolist(), which.tolist(), strict=True):
        claims[face].append(draft)
    fat = (width >= THIN_M) & (area >= LEAST_M2)
    laid = Laid(np.full(len(shapes), None, dtype=object))
    label = np.array([min(some) if some else -1 for some in claims], dtype=np.intp)
    for face in np.flatnonzero(fat).tolist():
        laid.faults += _fault(claims[face], names, faces[face], float(area[face]), inside=bool(mine[face]), bare=bare)
    label[~mine] = -2
    _settle(faces, label, open_faces=np.flatnonzero((label == -1) & ~(fat & bare)))
    for i in range(len(shapes)):
        own = faces[label == i]
        if len(own):
            merged = shapely.get_parts(shapely.coverage_union_all(own))
            laid.geom[i] = shapely.MultiPolygon(merged.tolist())
    laid.faults += _pieces(laid.geom, shapes, names)
    return laid


def _sizes(faces: NDArray[Any], plane: Plane) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return square metres and mean width in metres of polygons."""
    flat = shapely.transform(faces, plane.to_metres)
    area = shapely.area(flat)
    return area, 2 * area / np.maximum(shapely.length(flat), 1e-9)


def _fault(claims: list[int], names: Sequence[str], face: Any, area: float, *, inside: bool, bare: bool) -> list[Fault]:
    size = {"m2": round(area)}
    if inside and len(claims) > 1:
        told = {"one": names[claims[0]], "other": names[claims[1]]} | size
        return [Fault(N_("Cells {one} and {other} overlap by {m2} m²."), told, tuple(claims), face)]
    if not inside and claims:
        told = {"code": names[claims[0]]} | size
        message = N_("Cell {code} reaches {m2} m² beyond the ground that this change takes.")
        return [Fault(message, told, tuple(claims), face)]
    if inside and not claims and not bare:
        return [Fault(N_("{m2} m² would belong to no cell."), size, (), face)]
    return []


def _settle(faces: NDArray[Any], label: NDArray[np.intp], *, open_faces: NDArray[np.intp]) -> None:
    """Give each face without a claim to the draft that shares most edge with it, in place, as far as there is one."""
    waiting = open_faces.tolist()
    tree = shapely.STRtree(faces) if waiting else None
    while waiting and tree is not None:
        left = []
        for face in waiting:
            near = tree.query(faces[face], predicate="touches")
            near = near[label[near] >= 0]
            shared = shapely.length(shapely.intersection(faces[near], faces[face]))
            totals = np.bincount(label[near], weights=shared) if len(near) else np.zeros(0)
            if totals.size and totals.max() > 0:
                label[face] = int(np.argmax(totals))
            else:
                left.append(face)
        if len(left) == len(waiting):
            break
        waiting = left


def _pieces(geom: NDArray[Any], drafts: NDArray[Any], names: Sequence[str]) -> list[Fault]:
    """Tell of drafts that have no ground and of those that fell apart."""
    faults = []
    for i, (shape, draft) in enumerate(zip(geom, drafts, strict=True)):
        if shape is None:
            faults.append(Fault(N_("Cell {code} would have no ground."), {"code": names[i]}, (i,)))
        elif (pieces := shapely.get_num_geometries(shape)) > shapely.get_num_geometries(draft):
            told = {"code": names[i], "n": int(pieces)}
            faults.append(Fault(N_("Cell {code} would be in {n} pieces."), told, (i,), shape))
    return faults


def split_by_line(shape: Any, line: Any) -> list[Any]:
    """Return the parts of a cell on both sides of a line that crosses it, the largest first; EPSG:4490.

    Raises Invalid where the line does not cut the cell through. Slivers at the line's ends stay with the larger part.
    """
    noded = shapely.union_all([shapely.boundary(shape), line], grid_size=FINE)
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(noded)))
    faces = faces[shapely.intersects(shape, shapely.point_on_surface(faces))] if len(faces) else faces
    if len(faces) > len(shapely.get_parts(shape)):
        west, south, east, north = shapely.bounds(shape)
        area, width = _sizes(faces, Plane.at((west + east) / 2, (south + north) / 2))
        label = np.where((width >= THIN_M) & (area >= LEAST_M2), np.arange(len(faces)), -1)
        _settle(faces, label, open_faces=np.flatnonzero(label == -1))
        parts = [shapely.coverage_union_all(faces[label == i]) for i in np.unique(label[label >= 0]).tolist()]
        if len(parts) > 1:
            return sorted(parts, key=lambda part: -float(shapely.area(part)))
    raise Invalid("The line does not cut the cell through; draw it from edge to edge.", field="line")


def square_metres(shapes: Sequence[Any] | NDArray[Any]) -> NDArray[np.float64]:
    """Return the area `(n,)` of shapes in EPSG:4490, in square metres, within 0.5 %; 0 for None."""
    given = np.asarray(shapes, dtype=object)
    if not len(given):
        return np.zeros(0)
    west, south, east, north = shapely.total_bounds(given)
    plane = Plane.at((west + east) / 2, (south + north) / 2)
    areas: NDArray[np.float64] = np.nan_to_num(shapely.area(shapely.transform(given, plane.to_metres)))
    return areas

"""How much of a cell's streets was passed: spots along the roads of a cell, and which of them a track comes near.

Pure: knows no database and no person. Where a district has no road lines, the spots are those of a lattice over the
cell, and `Spots.by` says so, for a share of a lattice is no share of streets.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from core.datums import Plane
from grid.lines import Lines

#: Metres between two spots along a road, and of a lattice; wider where a cell is so large that it would have more
#: than MOST spots.
SPACING_M, LATTICE_M = 25.0, 50.0
MOST: Final = 3000
#: A road on the line between two cells belongs to both: its centre may lie this far outside.
_BESIDE_M = 15.0
#: A shorter piece is a corner that the cell's edge cut off.
_SHORTEST_M = 8.0
#: Nobody patrols these on foot.
_NOT_WALKED: Final = frozenset({"motorway", "motorway_link", "trunk_link"})
#: Two positions further apart in metres or seconds are not joined by a straight line: nobody knows the way between.
_JOIN_M, _JOIN_S = 250.0, 120.0


@dataclass(frozen=True, slots=True)
class Spots:
    """What is to be passed in one cell: `n` spots, each standing for `spacing_m` of a street."""

    #: `(n, 2)` float64 lon lat, EPSG:4490.
    lng_lat: NDArray[np.float64]
    #: `(n,)` names of streets; empty names for roads without one and for a lattice.
    street: list[str]
    spacing_m: float
    #: street or lattice.
    by: str
    #: Names this very set: what was counted of another one does not count here.
    ground: bytes

    @property
    def length_m(self) -> float:
        """Metres of street that the spots stand for; 0 for a lattice."""
        return len(self.street) * self.spacing_m if self.by == "street" else 0.0


def spots_of(cell: shapely.Geometry, roads: Lines, near: Iterable[int]) -> Spots:
    """Return the spots of a cell; cell: polygon, EPSG:4490; near: which of the roads may touch it."""
    middle = cell.centroid
    plane = Plane.at(middle.x, middle.y)
    shape = shapely.transform(cell, plane.to_metres)
    reach = shapely.buffer(shape, _BESIDE_M)
    shapely.prepare(reach)
    pieces: list[tuple[str, Any]] = []
    for i in near:
        flat = shapely.transform(roads.geom[i], plane.to_metres)
        if roads.rank[i] not in _NOT_WALKED and reach.intersects(flat):
            inside = shapely.get_parts(shapely.intersection(flat, reach))
            whole = (part for part in inside if part.geom_type == "LineString" and part.length >= _SHORTEST_M)
            pieces += [(roads.name[i], part) for part in whole]
    total = sum(part.length for _, part in pieces)
    if total < 2 * SPACING_M:
        return _made(*_lattice(shape), plane, [], by="lattice")
    step = max(SPACING_M, total / MOST)
    found: list[NDArray[np.float64]] = []
    street: list[str] = []
    for name, part in pieces:
        count = max(1, round(part.length / step))
        along = (np.arange(count) + 0.5) * part.length / count
        found.append(shapely.get_coordinates(shapely.line_interpolate_point(part, along)))
        street += [name] * count
    return _made(np.concatenate(found), step, plane, street, by="street")


def _lattice(shape: shapely.Geometry) -> tuple[NDArray[np.float64], float]:
    """Return the points of a lattice inside a polygon, both in metres, and how far apart they are."""
    step = max(LATTICE_M, (shape.area / MOST) ** 0.5)
    west, south, east, north = shape.bounds
    x, y = np.meshgrid(np.arange(west + step / 2, east, step), np.arange(south + step / 2, north, step))
    every = np.column_stack((x.ravel(), y.ravel()))
    inside = every[shapely.contains_xy(shape, every[:, 0], every[:, 1])] if len(every) else every
    if len(inside) == 0:
        inside = shapely.get_coordinates(shape.representative_point())
    return inside, step


def _made(metres: NDArray[np.float64], spacing_m: float, plane: Plane, street: list[str], *, by: str) -> Spots:
    lng_lat = np.round(plane.to_degrees(metres), 6)
    digest = blake2b(lng_lat.tobytes() + by.encode(), digest_size=8).digest()
    return Spots(lng_lat, street or [""] * len(lng_lat), float(spacing_m), by, digest)


def passed(spots: Spots, lng_lat: NDArray[np.float64], at_s: NDArray[np.float64], *, near_m: float) -> list[int]:
    """Return which spots a track comes near, ascending.

    lng_lat: `(n, 2)` float64, EPSG:4490; at_s: `(n,)` seconds since 1970, ascending. near_m: metres beside a street
    that count as on it; the points of a lattice count from three quarters of their distance.
    """
    if len(lng_lat) == 0 or len(spots.street) == 0:
        return []
    plane = Plane.at(float(spots.lng_lat[0, 0]), float(spots.lng_lat[0, 1]))
    track, goal = plane.to_metres(lng_lat), plane.to_metres(spots.lng_lat)
    near = near_m if spots.by == "street" else max(near_m, spots.spacing_m * 0.75)
    step = np.hypot(*(track[1:] - track[:-1]).T)
    joined = (step <= _JOIN_M) & (np.diff(at_s) <= _JOIN_S) & (step > 0)
    ends = np.stack((track[:-1][joined], track[1:][joined]), axis=1)
    way = shapely.geometrycollections([*shapely.linestrings(ends), shapely.multipoints(track)])
    return [int(one) for one in np.flatnonzero(shapely.distance(way, shapely.points(goal)) <= near)]


def left_out(spots: Spots, done: Sequence[int]) -> list[tuple[str, float, list[list[float]]]]:
    """Return the streets with spots that were not passed: name, metres, and the spots as lon lat; most metres first."""
    seen = set(done)
    by_name: dict[str, list[list[float]]] = {}
    for i, name in enumerate(spots.street):
        if i not in seen:
            by_name.setdefault(name, []).append([round(float(part), 5) for part in spots.lng_lat[i]])
    found = [(name, round(len(points) * spots.spacing_m, 1), points) for name, points in by_name.items()]
    return sorted(found, key=lambda one: -one[1])

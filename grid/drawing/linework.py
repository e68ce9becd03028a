"""Lines that cells may be drawn along: roads without their second carriageway, dead ends led on, water and walls.

Works on a flat map in metres. Knows nothing of households.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from grid.drawing.site import WALL, WATER, Site, strength

#: Two carriageways, or a road and its side road, lie this close and this parallel; the lesser of them is left out.
_TWIN_M: Final = 24.0
_TWIN_COS: Final = float(np.cos(np.radians(25)))
#: Share of a road that must run beside a greater one.
_TWIN_SHARE: Final = 0.7
_STEP_M: Final = 25.0
#: A dead end is led straight on to what lies within this distance, else to the nearest line within the second.
_LEAD_M: Final = 80.0
_NEAR_M: Final = 30.0
_TOUCH_M: Final = 0.5
#: Led a hair beyond the line that it meets, so that both surely cross on the grid of a centimetre.
_OVER_M: Final = 0.05


@dataclass(frozen=True, slots=True)
class Linework:
    """Lines in metres on the site's plane."""

    #: `(n,)` lines to draw along; dead ends led on among them.
    draw: NDArray[Any]
    #: `(m,)` what really is there, for telling real boundaries from invented ones, and how good each is.
    real: NDArray[Any]
    strength: NDArray[np.float64]
    #: `(k,)` estates as polygons, cut at the border, none on another.
    estates: NDArray[Any]
    #: `(w,)` rivers and lakes as polygons, cut at the border: nobody's ground, so that a bank goes to either side.
    wet: NDArray[Any]


def linework(site: Site) -> Linework:
    """Return the lines of a site, on its plane."""
    plane = site.plane
    shape = shapely.transform(site.shape, plane.to_metres)
    near = shapely.buffer(shape, 60.0)
    shapely.prepare(near)
    roads, worth = _simple(_flat(site, site.roads), np.array([strength(one) for one in site.road_class]), near)
    water, water_worth = _simple(_flat(site, site.water), np.full(len(site.water), WATER), near)
    estates = estates_of(site, shape)
    walls = shapely.boundary(estates) if len(estates) else np.empty(0, dtype=object)
    kept = _thinned(roads, worth)
    inner = _outside(roads[kept], estates)
    lines = np.concatenate((inner, water, walls))
    draw = np.concatenate((lines, _led_on(lines, inner, shapely.boundary(shape), shape)))
    wet = _wet(_flat(site, site.water), shape)
    real = np.concatenate((roads, water, walls, wet))
    good = np.concatenate((worth, water_worth, np.full(len(walls), WALL), np.full(len(wet), WATER)))
    return Linework(draw, real, good, estates, wet)


def _wet(water: NDArray[Any], shape: shapely.Geometry) -> NDArray[Any]:
    broad = water[shapely.get_dimensions(water) == 2] if len(water) else water
    parts: NDArray[Any] = shapely.get_parts(shapely.intersection(broad, shape))
    return np.asarray(parts[shapely.get_dimensions(parts) == 2], dtype=object)


def _flat(site: Site, lines: NDArray[Any]) -> NDArray[Any]:
    if not len(lines):
        return np.empty(0, dtype=object)
    return np.asarray(shapely.transform(np.asarray(lines, dtype=object), site.plane.to_metres), dtype=object)


def estates_of(site: Site, shape: shapely.Geometry) -> NDArray[Any]:
    """Return the estates inside a community on its plane, in metres, in the order given; empty polygons stay empty.

    What two estates claim goes to the first.
    """
    made = np.empty(len(site.estates), dtype=object)
    flat = _flat(site, site.estates)
    tree = shapely.STRtree(flat) if len(flat) else None
    for i, one in enumerate(flat):
        ground = shapely.intersection(one, shape)
        for j in tree.query(one, predicate="intersects").tolist() if tree is not None else ():
            if j < i:
                ground = shapely.difference(ground, flat[j])
        parts = shapely.get_parts(ground)
        made[i] = shapely.MultiPolygon(parts[shapely.get_type_id(parts) == 3].tolist())
    return made


def _simple(
    lines: NDArray[Any], worth: NDArray[np.float64], near: shapely.Geometry
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return single lines (outlines of polygons too) that come near the community, and what each is worth."""
    if not len(lines):
        return np.empty(0, dtype=object), np.zeros(0)
    flat = np.where(shapely.get_dimensions(lines) == 2, shapely.boundary(lines), lines)
    hit = shapely.intersects(near, flat)
    parts, index = shapely.get_parts(shapely.intersection(flat[hit], near), return_index=True)
    good = (shapely.get_dimensions(parts) == 1) & (shapely.length(parts) > 0)
    return parts[good], worth[hit][index[good]]


def _thinned(roads: NDArray[Any], worth: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return which roads stay when second carriageways and side roads beside a greater road are left out."""
    if len(roads) < 2:
        return np.arange(len(roads))
    start, end, owner = pieces(shapely.segmentize(roads, _STEP_M))
    length = np.hypot(*(end - start).T)
    heading = (end - start) / np.maximum(length, 1e-9)[:, None]
    middle = (start + end) / 2
    tree = shapely.STRtree(shapely.linestrings(np.stack((start, end), axis=1)))
    one, other = tree.query(shapely.points(middle), predicate="dwithin", distance=_TWIN_M)
    apart = owner[one] != owner[other]
    parallel = np.abs((heading[one] * heading[other]).sum(axis=1)) > _TWIN_COS
    # Beside it, not before or behind it: the foot of the middle lies on the other piece.
    along = ((middle[one] - start[other]) * heading[other]).sum(axis=1)
    beside = apart & parallel & (along >= 0) & (along <= length[other])
    one, other = one[beside], owner[other[beside]]
    total = np.bincount(owner, weights=length, minlength=len(roads))
    net = np.array([line[-1] - line[0] for line in map(shapely.get_coordinates, roads)])
    # Carriageways are drawn in the direction of driving: of two equal ones that which leads east or north stays.
    east = net[:, 0] + net[:, 1] * 0.5 >= 0
    order = np.lexsort((np.arange(len(roads)), -total, ~east, -np.round(worth, 3)))
    kept = np.zeros(len(roads), dtype=bool)
    by_road = np.argsort(owner[one], kind="stable")
    first = np.searchsorted(owner[one][by_road], np.arange(len(roads) + 1))
    for road in order.tolist():
        mine = by_road[first[road] : first[road + 1]]
        shaded = np.unique(one[mine][kept[other[mine]]])
        kept[road] = length[shaded].sum() < _TWIN_SHARE * total[road]
    return np.flatnonzero(kept)


def pieces(lines: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Return start and end `(s, 2)` of each straight piece of `(n,)` lines, and the line that it is of."""
    at, index = shapely.get_coordinates(lines, return_index=True)
    same = index[1:] == index[:-1]
    return at[:-1][same], at[1:][same], index[:-1][same]


def _outside(roads: NDArray[Any], estates: NDArray[Any]) -> NDArray[Any]:
    """Return the parts of roads that do not run inside an estate."""
    there = estates[~shapely.is_empty(estates)] if len(estates) else estates
    if not len(there) or not len(roads):
        return roads
    tree = shapely.STRtree(there)
    cut = roads.copy()
    at, which = tree.query(roads, predicate="intersects")
    for i in np.unique(at).tolist():
        cut[i] = shapely.difference(roads[i], shapely.union_all(there[which[at == i]]))
    parts: NDArray[Any] = shapely.get_parts(cut)
    outside: NDArray[Any] = parts[shapely.length(parts) > 0]
    return outside


def _led_on(
    lines: NDArray[Any], roads: NDArray[Any], border: shapely.Geometry, shape: shapely.Geometry
) -> NDArray[Any]:
    """Return short lines that lead dead ends of roads on to what they nearly meet."""
    if not len(roads):
        return np.empty(0, dtype=object)
    others = np.concatenate((lines, shapely.get_parts(border)))
    tree = shapely.STRtree(others)
    ends, before = _ends(roads)
    inside = shapely.contains_xy(shape, ends[:, 0], ends[:, 1])
    point, near = tree.query(shapely.points(ends), predicate="dwithin", distance=_TOUCH_M)
    degree = np.bincount(point, minlength=len(ends))
    del near
    found = []
    for i in np.flatnonzero(inside & (degree <= 1)).tolist():
        led = _lead(ends[i], before[i], others, tree, own=i // 2)
        if led is not None:
            found.append(led)
    return np.array(found, dtype=object) if found else np.empty(0, dtype=object)


def _ends(roads: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both ends of each road `(2n, 2)`, and a point some ten metres before each."""
    length = shapely.length(roads)
    back = np.minimum(10.0, length / 2)
    ends = np.stack((shapely.line_interpolate_point(roads, 0.0), shapely.line_interpolate_point(roads, length)), 1)
    before = np.stack(
        (shapely.line_interpolate_point(roads, back), shapely.line_interpolate_point(roads, length - back)), 1
    )
    return shapely.get_coordinates(ends.ravel()), shapely.get_coordinates(before.ravel())


def _lead(
    end: NDArray[np.float64], before: NDArray[np.float64], others: NDArray[Any], tree: shapely.STRtree, *, own: int
) -> shapely.Geometry | None:
    ahead = (end - before) / max(float(np.hypot(*(end - before))), 1e-9)
    ray = shapely.LineString([end + ahead * 0.2, end + ahead * _LEAD_M])
    met = tree.query(ray, predicate="intersects")
    met = met[met != own]
    here = shapely.Point(end)
    if len(met):
        reach = float(np.min(shapely.distance(shapely.intersection(others[met], ray), here)))
        return shapely.LineString([end, end + ahead * (reach + _OVER_M)])
    near = tree.query(here, predicate="dwithin", distance=_NEAR_M)
    near = near[near != own]
    if not len(near):
        return None
    target = others[near[int(np.argmin(shapely.distance(others[near], here)))]]
    foot = shapely.get_coordinates(shapely.shortest_line(here, target))[1]
    way = foot - end
    if way @ ahead < 0:
        return None
    return shapely.LineString([end, foot + way / max(float(np.hypot(*way)), 1e-9) * _OVER_M])

"""Straight cuts through ground that no road divides: short, balanced, between groups of homes that belong together.

Works on a flat map in metres.
"""

from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

#: Directions that are tried for each cut.
_ANGLES: Final = 24
#: Places where the cut may lie, as shares of the load around the one wanted.
_SLACK: Final = (0.0, -0.04, 0.04, -0.08, 0.08)
#: A cut that misses its share by this much of a part's load is as bad as one that is twice as long as it need be.
_MISS: Final = 6.0
#: A cut through an estate is as bad as one that is so many times longer.
_CROSSED: Final = 3.0
#: Metres that a cut is drawn beyond the ground's edge, so that both surely meet.
_OVER_M: Final = 0.05
_LEAST_M2: Final = 1.0


def straight_cuts(
    ground: shapely.Geometry,
    points: NDArray[np.float64],
    load: NDArray[np.float64],
    parts: int,
    *,
    whole: NDArray[Any] | None = None,
) -> list[shapely.Geometry]:
    """Return lines that cut a polygon into about `parts` parts of equal load; fewer where points are too heavy.

    points: `(p, 2)` inside, what lies on one point stays together; load: `(p,)`. Where nothing has a load, area is
    shared out instead. whole: ground that lines should not cross, such as that of an estate.
    """
    if parts < 2:
        return []
    if load.sum() <= 0:
        points = lattice(ground)
        load = np.ones(len(points))
    best = _best_cut(ground, points, load, parts, whole)
    if best is None:
        return []
    chord, sides, below, first = best
    return [
        chord,
        *straight_cuts(sides[0], points[below], load[below], first, whole=whole),
        *straight_cuts(sides[1], points[~below], load[~below], parts - first, whole=whole),
    ]


def lattice(ground: shapely.Geometry, count: int = 400) -> NDArray[np.float64]:
    """Return some points evenly over a polygon, the same each time."""
    west, south, east, north = shapely.bounds(ground)
    step = max((shapely.area(ground) / count) ** 0.5, 0.5)
    x, y = np.meshgrid(np.arange(west + step / 2, east, step), np.arange(south + step / 2, north, step))
    shapely.prepare(ground)
    inside = shapely.contains_xy(ground, x.ravel(), y.ravel())
    return np.column_stack((x.ravel()[inside], y.ravel()[inside]))


def _best_cut(
    ground: shapely.Geometry,
    points: NDArray[np.float64],
    load: NDArray[np.float64],
    parts: int,
    whole: NDArray[Any] | None,
) -> tuple[shapely.Geometry, tuple[shapely.Geometry, shapely.Geometry], NDArray[np.bool_], int] | None:
    """Return the best straight cut: the line inside, both sides, which points lie on the first, and its parts."""
    firsts = {parts // 2, parts - parts // 2} if parts > 3 else {1, parts - 1}
    west, south, east, north = shapely.bounds(ground)
    reach = float(np.hypot(east - west, north - south)) + 1
    tried: list[tuple[float, float, float, int]] = []
    lines: list[NDArray[np.float64]] = []
    for k in range(_ANGLES):
        along = np.array([np.cos(np.pi * k / _ANGLES), np.sin(np.pi * k / _ANGLES)])
        position = points @ along
        order = np.argsort(position, kind="stable")
        share = np.cumsum(load[order]) / load.sum()
        gaps = np.flatnonzero(np.diff(position[order]) > 0.02)
        if not len(gaps):
            continue
        for first in sorted(firsts):
            wanted = first / parts
            spots = {int(gaps[np.argmin(np.abs(share[gaps] - wanted - slack))]) for slack in _SLACK}
            for at in sorted(spots):
                where = float(position[order[at]] + position[order[at + 1]]) / 2
                base = along * where + np.array([-along[1], along[0]]) * (
                    np.array([(west + east) / 2, (south + north) / 2]) @ np.array([-along[1], along[0]])
                )
                across = np.array([-along[1], along[0]]) * reach
                lines.append(np.array([base - across, base + across]))
                tried.append((abs(float(share[at]) - wanted) * parts, float(np.pi * k / _ANGLES), where, first))
    if not tried:
        return None
    shapely.prepare(ground)
    chords = shapely.intersection(shapely.linestrings(np.array(lines)), ground)
    side = float(np.sqrt(shapely.area(ground) / parts))
    score = np.array([one[0] for one in tried]) * _MISS + shapely.length(chords) / side
    # More pieces than one side each would leave crumbs: they count like a longer cut.
    score += 0.7 * np.maximum(shapely.get_num_geometries(chords) - 1, 0)
    if whole is not None and len(whole):
        crossed = shapely.STRtree(whole).query(chords, predicate="crosses")[0]
        score += _CROSSED * np.bincount(crossed, minlength=len(chords))
    for i in np.argsort(score, kind="stable")[:8].tolist():
        _, angle, where, first = tried[i]
        halves = _halves(ground, angle, where, reach)
        if min(shapely.area(half) for half in halves) < _LEAST_M2:
            continue
        below = points @ np.array([np.cos(angle), np.sin(angle)]) <= where
        return _beyond(chords[i]), halves, below, first
    return None


def _halves(
    ground: shapely.Geometry, angle: float, where: float, reach: float
) -> tuple[shapely.Geometry, shapely.Geometry]:
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    middle = shapely.get_coordinates(shapely.centroid(ground))[0]
    base = along * where + across * (middle @ across)
    found = [
        shapely.intersection(
            ground,
            shapely.Polygon(
                [
                    base - across * 2 * reach,
                    base + across * 2 * reach,
                    base + across * 2 * reach + sign * along * 2 * reach,
                    base - across * 2 * reach + sign * along * 2 * reach,
                ]
            ),
        )
        for sign in (-1, 1)
    ]
    return found[0], found[1]


def _beyond(chord: shapely.Geometry) -> shapely.Geometry:
    """Return the pieces of a chord drawn a little beyond both ends."""
    drawn = []
    for part in shapely.get_parts(chord):
        at = shapely.get_coordinates(part)
        if len(at) < 2:
            continue
        way = (at[-1] - at[0]) / max(float(np.hypot(*(at[-1] - at[0]))), 1e-9) * _OVER_M
        drawn.append(shapely.LineString([at[0] - way, at[-1] + way]))
    return shapely.MultiLineString(drawn)


def heavy_points(points: NDArray[np.float64], load: NDArray[np.float64], most: float) -> NDArray[Any]:
    """Return the spots `(h, 3)` x, y, load whose load alone is more than `most`: no line can divide them."""
    spots, index = np.unique(np.round(points, 2), axis=0, return_inverse=True)
    total = np.bincount(index.ravel(), weights=load, minlength=len(spots))
    heavy = total > most
    return np.column_stack((spots[heavy], total[heavy]))

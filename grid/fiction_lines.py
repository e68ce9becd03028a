"""The lines of a fictional district: roads along its lattice, a lane in each block, and the walls of its estates.

Everything is invented. Draws no chance of its own: lines follow from crossings and doors, so that they never disturb
what a seed gives elsewhere.
"""

from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from core.datums import Plane

#: Where the lane of a block begins and ends on the way from its west side to its east side.
LANE: Final = (0.12, 0.88)
#: Metres from the road's middle to an estate's wall, along its front, and into the block.
_SETBACK_M: Final = 12.0
_FRONT_M: Final = 110.0
_DEPTH_M: Final = 85.0
#: An estate smaller than this has no wall of its own.
_LEAST_M2: Final = 2_500.0
#: Two walls stand this far apart at least.
_APART_M: Final = 4.0


def road_lines(nodes: NDArray[np.float64], *, side: int, town: tuple[int, int]) -> list[tuple[str, shapely.LineString]]:
    """Return class and line of each road, in the order in which `grid.fiction` names them.

    nodes: `(rows + 1, columns + 1, 2)` crossings, EPSG:4490; side: cells along a community; town: columns and rows of
    cells in a town.
    """
    rows, columns = nodes.shape[0] - 1, nodes.shape[1] - 1
    width, height = town
    found = [
        (_class(r, side, height), shapely.LineString(nodes[r, c : min(c + width, columns) + 1]))
        for r in range(rows + 1)
        for c in range(0, columns, width)
    ]
    found += [
        (_class(c, side, width), shapely.LineString(nodes[r : min(r + height, rows) + 1, c]))
        for c in range(columns + 1)
        for r in range(0, rows, height)
    ]
    for r in range(rows):
        for c in range(columns):
            west, east = (nodes[r, c] + nodes[r + 1, c]) / 2, (nodes[r, c + 1] + nodes[r + 1, c + 1]) / 2
            ends = [np.round(west + (east - west) * at, 7) for at in LANE]
            found.append(("residential", shapely.LineString(ends)))
    return found


def _class(at: int, side: int, town: int) -> str:
    """Return the class of the lattice's line number `at`: borders of towns and of communities are greater roads."""
    return "primary" if at % town == 0 else "secondary" if at % side == 0 else "tertiary"


def estate_walls(
    doors: NDArray[np.float64], cell: NDArray[np.int32], shapes: NDArray[Any], lanes: NDArray[Any]
) -> NDArray[Any]:
    """Return the ground of each estate, EPSG:4490: `(n,)` polygons inside their cell, None for too small a rest.

    doors: `(n, 2)` lon lat of their gates; cell: `(n,)` index into the cells' polygons `shapes`; lanes: the line of
    the lane of each cell. An estate lies behind its gate, on one side of the lane, and takes what earlier ones left.
    """
    made = np.full(len(doors), None, dtype=object)
    taken: dict[int, list[shapely.Geometry]] = {}
    for i, home in enumerate(cell.tolist()):
        plane = Plane.at(*doors[i].tolist())
        block = shapely.transform(shapes[home], plane.to_metres)
        lane = shapely.transform(lanes[home], plane.to_metres)
        inside = shapely.difference(shapely.buffer(block, -_SETBACK_M), shapely.buffer(lane, _SETBACK_M, cap_style=2))
        for other in taken.get(home, []):
            inside = shapely.difference(
                inside, shapely.buffer(shapely.transform(other, plane.to_metres), _APART_M, join_style=2)
            )
        road = shapely.union(lane, shapely.boundary(block))
        foot = shapely.get_coordinates(shapely.shortest_line(road, shapely.Point(0, 0)))[0]
        into = -foot / max(float(np.hypot(*foot)), 1e-9)
        across = np.array([-into[1], into[0]]) * _FRONT_M / 2
        plot = shapely.Polygon([foot - across, foot + across, foot + across + into * _DEPTH_M * 1.2,
                                foot - across + into * _DEPTH_M * 1.2])  # fmt: skip
        parts = shapely.get_parts(shapely.intersection(inside, plot))
        parts = parts[shapely.get_dimensions(parts) == 2]
        if not len(parts) or shapely.area(parts).max() < _LEAST_M2:
            continue
        ground = shapely.transform(parts[int(np.argmax(shapely.area(parts)))], plane.to_degrees)
        made[i] = shapely.set_precision(ground, 1e-7)
        taken.setdefault(home, []).append(made[i])
    return made

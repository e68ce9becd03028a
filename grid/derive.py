"""Boundaries that nobody gave us: communities from their centres, cells from the places inside. Marked derived.

Works on a flat map in metres, then lays all boundaries of the district down at once on a grid of 1e-7 degrees (one
centimetre), so that neighbours share every vertex: no gap, no overlap, on any level. Knows nothing of tables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from core.datums import Plane

#: Degrees between the points that any derived boundary may use: 1 cm.
GRID: Final = 1e-7
#: Places that one cell should hold, and how many cells a community has at least and at most.
PLACES_PER_CELL: Final = 40
FEWEST, MOST = 3, 12
#: Points that stand for the area of a community while it is divided, so that empty land is shared out too.
_AREA_POINTS: Final = 400
#: Share of the places in the balance; the rest is area.
_PLACE_WEIGHT: Final = 0.6
#: Places of a use that must stand in a cell before the use counts.
_LEAST: Final = 3
#: Order in which two uses that are equally strong are named.
KINDS: Final = ("residential", "commercial", "industrial")


@dataclass(frozen=True, slots=True)
class Tiling:
    """What was derived: every level is the exact union of the one below."""

    #: Per town, in the order given, EPSG:4490: as given, with the vertices that its parts need, moved under 1 cm.
    towns: NDArray[Any]
    #: Per community; None where nothing is known.
    communities: NDArray[Any]
    #: `(m,)` polygons and the index of the community of each.
    cells: NDArray[Any]
    cell_community: NDArray[np.intp]


def voronoi(town: shapely.Geometry, centres: NDArray[np.float64], plane: Plane) -> NDArray[Any]:
    """Return the parts of a town that lie nearest to each of `(n, 2)` centres, EPSG:4490; `(n,)`, multipolygons."""
    if len(centres) == 1:
        return np.array([town], dtype=object)
    flat = shapely.transform(town, plane.to_metres)
    points = shapely.multipoints(plane.to_metres(centres))
    parts = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=flat.envelope, ordered=True))
    return np.asarray(shapely.transform(shapely.intersection(parts, flat), plane.to_degrees), dtype=object)


def divide(community: shapely.Geometry, places: NDArray[np.float64], plane: Plane) -> list[shapely.Geometry]:
    """Return a community cut into cells by straight lines, EPSG:4490; `places` is `(n, 2)` lon lat of those inside.

    The number follows from the places; each cut goes across the longer axis where half of places and area lie on each
    side.
    """
    return parts(community, places, plane, count=int(np.clip(round(len(places) / PLACES_PER_CELL), FEWEST, MOST)))


def parts(shape: shapely.Geometry, places: NDArray[np.float64], plane: Plane, *, count: int) -> list[shapely.Geometry]:
    """Return a polygon cut into `count` parts by straight lines, EPSG:4490; fewer where it is too small for them.

    Each cut goes across the longer axis where the places `(n, 2)` and the area are shared out by the parts.
    """
    flat = shapely.transform(shape, plane.to_metres)
    area = _spread(flat)
    here = plane.to_metres(places)
    points = np.vstack((here, area))
    weights = np.concatenate(
        (
            np.full(len(here), _PLACE_WEIGHT / max(len(here), 1)),
            np.full(len(area), (1 - _PLACE_WEIGHT if len(here) else 1.0) / max(len(area), 1)),
        )
    )
    return [shapely.transform(part, plane.to_degrees) for part in _cut(flat, points, weights, count)]


def _spread(flat: shapely.Geometry) -> NDArray[np.float64]:
    """Return some 400 points `(n, 2)` evenly over a polygon, on a lattice, the same each time."""
    west, south, east, north = shapely.bounds(flat)
    step = max((shapely.area(flat) / _AREA_POINTS) ** 0.5, 1.0)
    x, y = np.meshgrid(np.arange(west + step / 2, east, step), np.arange(south + step / 2, north, step))
    shapely.prepare(flat)
    inside = shapely.contains_xy(flat, x.ravel(), y.ravel())
    return np.column_stack((x.ravel()[inside], y.ravel()[inside]))


def _cut(
    flat: shapely.Geometry, points: NDArray[np.float64], weights: NDArray[np.float64], count: int
) -> list[shapely.Geometry]:
    if count == 1 or len(points) < 2 * count:
        return [flat]
    along = _axis(flat)
    position = points @ along
    order = np.argsort(position, kind="stable")
    share = np.cumsum(weights[order])
    first = count // 2
    at = int(np.clip(np.searchsorted(share, share[-1] * first / count), 1, len(order) - 1))
    where = float((position[order[at - 1]] + position[order[at]]) / 2)
    sides = [shapely.intersection(flat, _half_plane(flat, along * sign, where * sign)) for sign in (1, -1)]
    if any(shapely.area(side) < 1 for side in sides):
        return [flat]
    below = position <= where
    near, far = (0, 1)
    return [
        *_cut(sides[near], points[below], weights[below], first),
        *_cut(sides[far], points[~below], weights[~below], count - first),
    ]


def _axis(flat: shapely.Geometry) -> NDArray[np.float64]:
    """Return the unit vector along the longer side of the smallest rectangle around a polygon, pointing east."""
    corners = shapely.get_coordinates(shapely.oriented_envelope(flat))
    sides = np.diff(corners[:3], axis=0)
    lengths = np.hypot(sides[:, 0], sides[:, 1])
    side: NDArray[np.float64] = sides[int(np.argmax(lengths))] / max(lengths.max(), 1e-9)
    return side if side[0] > 0 or (side[0] == 0 and side[1] > 0) else -side


def _half_plane(flat: shapely.Geometry, along: NDArray[np.float64], where: float) -> shapely.Polygon:
    """Return a rectangle that holds everything of the polygon whose coordinate along a unit vector is under `where`."""
    west, south, east, north = shapely.bounds(flat)
    reach = 2 * (east - west + north - south) + 1
    across = np.array([-along[1], along[0]])
    middle = np.array([(west + east) / 2, (south + north) / 2])
    base = middle + along * (where - middle @ along)
    return shapely.Polygon(
        [
            base + across * reach,
            base - across * reach,
            base - across * reach - along * reach,
            base + across * reach - along * reach,
        ]
    )


def lay(
    towns: NDArray[Any],
    communities: Mapping[int, shapely.Geometry],
    town_of: Sequence[int],
    drafts: Sequence[tuple[int, Any]],
    *,
    fill: bool = True,
) -> Tiling:
    """Return the district laid down exactly: towns, and cells as drafts `(community, polygon)`, EPSG:4490.

    communities: those with a polygon, by index; town_of: index of the town of each community. Every face between any
    two lines goes to the draft it lies in, slivers and scattered bits to the neighbour that shares most of their edge.
    fill: ground of a town that lies in no draft goes to the nearest; else only slivers do, the rest stays bare.
    """
    shapes = np.array([shape for _, shape in drafts], dtype=object)
    owner = np.array([community for community, _ in drafts], dtype=np.intp)
    lines = shapely.boundary(np.concatenate((towns, shapes)))
    noded = shapely.union_all(lines, grid_size=GRID)
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(noded)))
    inside = shapely.point_on_surface(faces)
    face_town = first_hit(towns, inside)
    # A sliver between two rounded lines may lie in no town by a hair: it goes where its nearest draft is, unless it is
    # a true hole in the district.
    tiny = (face_town < 0) & _thin(faces)
    face_town[tiny] = shapely.STRtree(towns).nearest(inside[tiny]) if tiny.any() else face_town[tiny]
    kept = face_town >= 0
    faces, inside, face_town = faces[kept], inside[kept], face_town[kept]
    draft_town = np.asarray(town_of, dtype=np.intp)[owner] if len(owner) else owner
    bare = np.zeros(len(faces), dtype=bool) if fill else ~_thin(faces)
    label = _labels(shapes, draft_town, inside, face_town, bare)
    label = _connect(faces, label, owner, draft_town)
    cells = np.array([_merge(faces[label == i]) for i in range(len(shapes))], dtype=object)
    there = np.array([cell is not None for cell in cells], dtype=bool)
    cells, cell_owner = cells[there], owner[there]
    whole = np.full(len(town_of), None, dtype=object)
    for community in communities:
        whole[community] = _merge(shapely.get_parts(cells[cell_owner == community]))
    laid = np.array([_merge(faces[face_town == i]) for i in range(len(towns))], dtype=object)
    return Tiling(laid, whole, cells, cell_owner)


def first_hit(shapes: NDArray[Any], points: NDArray[Any]) -> NDArray[np.intp]:
    """Return the lowest index of the shapes that hold each point; -1 for none."""
    found = np.full(len(points), len(shapes), dtype=np.intp)
    if len(shapes):
        at, which = shapely.STRtree(shapes).query(points, predicate="intersects")
        np.minimum.at(found, at, which)
    found[found == len(shapes)] = -1
    return found


def _thin(faces: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which faces are slivers that rounding made: narrower than a few steps of the grid."""
    thin: NDArray[np.bool_] = shapely.area(faces) < GRID * shapely.length(faces) * 4
    return thin


def _labels(
    shapes: NDArray[Any],
    draft_town: NDArray[np.intp],
    inside: NDArray[Any],
    face_town: NDArray[np.intp],
    bare: NDArray[np.bool_],
) -> NDArray[np.intp]:
    """Return the draft of each face: the one it lies in, else the nearest of its town.

    -1 in towns without drafts and for `bare` faces, which belong to no draft if they lie in none.
    """
    label = np.full(len(inside), -1, dtype=np.intp)
    for town in np.unique(face_town):
        mine = np.flatnonzero(draft_town == town)
        if not len(mine):
            continue
        of_town = np.flatnonzero(face_town == town)
        found = first_hit(shapes[mine], inside[of_town])
        lost = (found < 0) & ~bare[of_town]
        if lost.any():
            found[lost] = shapely.STRtree(shapes[mine]).nearest(inside[of_town[lost]])
        label[of_town] = np.where(found >= 0, mine[found], -1)
    return label


def _connect(
    faces: NDArray[Any], label: NDArray[np.intp], owner: NDArray[np.intp], draft_town: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return the labels with every scattered bit given to the neighbour it shares most edge with.

    So that cells hold together; first within the community, then within the town. Bits without such a neighbour,
    islands, stay.
    """
    label = label.copy()
    for group in (owner, draft_town):
        for _ in range(4):
            moved = False
            tree = shapely.STRtree(faces)
            for draft in range(len(owner)):
                mine = np.flatnonzero(label == draft)
                for bits in _loose(faces, mine):
                    target = _best_neighbour(faces, label, bits, tree, allowed=group == group[draft], own=draft)
                    if target >= 0:
                        label[bits] = target
                        moved = True
            if not moved:
                break
    return label


def _loose(faces: NDArray[Any], mine: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return the groups of faces that do not hang together with the largest one by an edge."""
    if len(mine) < 2:
        return []
    parts = shapely.get_parts(shapely.coverage_union_all(faces[mine]))
    if len(parts) == 1:
        return []
    biggest = int(np.argmax(shapely.area(parts)))
    at = first_hit(parts, shapely.point_on_surface(faces[mine]))
    return [mine[at == i] for i in range(len(parts)) if i != biggest and (at == i).any()]


def _best_neighbour(
    faces: NDArray[Any],
    label: NDArray[np.intp],
    bits: NDArray[np.intp],
    tree: shapely.STRtree,
    *,
    allowed: NDArray[np.bool_],
    own: int,
) -> int:
    bit = shapely.coverage_union_all(faces[bits])
    near = tree.query(bit, predicate="touches")
    near = near[(label[near] >= 0) & (label[near] != own)]
    near = near[allowed[label[near]]]
    if not len(near):
        return -1
    shared = shapely.length(shapely.intersection(faces[near], bit))
    totals = np.bincount(label[near], weights=shared, minlength=1)
    return int(np.argmax(totals)) if totals.max() > 0 else -1


def _merge(parts: NDArray[Any]) -> shapely.Geometry | None:
    if not len(parts):
        return None
    merged = shapely.coverage_union_all(parts)
    return shapely.MultiPolygon(shapely.get_parts(merged).tolist())


def number(cells: NDArray[Any]) -> NDArray[np.intp]:
    """Return the order `(n,)` in which the cells of one community are numbered: rows north to south, west to east (S2).

    There are about as many rows as cells in a row; a cell stands in the row of its centroid.
    """
    middle = shapely.get_coordinates(shapely.centroid(cells))
    rows = max(round(len(cells) ** 0.5), 1)
    from_north = np.lexsort((middle[:, 0], -middle[:, 1]))
    row = np.empty(len(cells), dtype=np.intp)
    row[from_north] = np.arange(len(cells)) * rows // len(cells)
    return np.lexsort((middle[:, 0], row))


def kinds(
    uses: NDArray[np.intp], cells: NDArray[np.intp], count: int, *, usual: NDArray[np.float64] | None = None
) -> list[str]:
    """Return the kind of each of `count` cells from the uses of the places inside.

    uses: `(n,)` index into KINDS, -1 for places that say nothing; cells: `(n,)` cell of each place, -1 outside; usual:
    `(3,)` shares of the uses in the whole district, where the places are not all of it.
    Registers are uneven (shops dense, housing sparse), so that a use counts by how far its share exceeds the
    district's; where the second is nearly as strong, or too few places speak, the cell is mixed.
    """
    speaks = (uses >= 0) & (cells >= 0)
    table = np.zeros((count, len(KINDS)))
    np.add.at(table, (cells[speaks], uses[speaks]), 1)
    total = table.sum(axis=0)
    usual = total / max(total.sum(), 1) if usual is None else usual
    seen = table.sum(axis=1)
    # Three imagined places of the usual mix damp the few; fewer than three places of a use decide nothing: where works
    # are rare in the register, two of them would outweigh twenty shops.
    strength = (table + 3 * usual) / (seen[:, None] + 3) / np.maximum(usual, 1e-9)
    strength[table < _LEAST] = 0
    order = np.sort(strength, axis=1)
    best = np.argmax(strength, axis=1)
    clear = (order[:, -1] > 0) & (order[:, -1] >= 1.1 * order[:, -2])
    return [KINDS[int(kind)] if sure else "mixed" for kind, sure in zip(best, clear, strict=True)]

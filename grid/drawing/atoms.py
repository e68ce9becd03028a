"""Ground in pieces that stay whole: the faces between lines, estates, and parts of ground that no line divides.

Faces are laid down on a grid of 1e-9 degrees, so that neighbours share every vertex and a corner that is set on the
community's border lies on it to a tenth of a millimetre; `Atoms` is their graph.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from grid.derive import first_hit
from grid.drawing.cuts import straight_cuts
from grid.drawing.linework import Linework, linework, pieces
from grid.drawing.site import Site, Weights
from grid.relay import FINE

#: Narrower or smaller ground is no piece of its own: strips between carriageways, corners of junctions.
_NARROW_M: Final = 16.0
_SMALL_M2: Final = 600.0
#: A strip with so many households is a row of houses, not a strip.
_HOMES: Final = 20.0
#: Metres of a river between two cuts across it.
_REACH_M: Final = 150.0
#: An estate without a polygon reaches this far beyond its points.
_AROUND_M: Final = 10.0
#: A boundary this near to a real line runs along it.
TOLERANCE_M: Final = 10.0
#: Pieces of a boundary are judged by their middle; longer ones are divided first.
_JUDGED_M: Final = 20.0


@dataclass(slots=True)
class Faces:
    """The faces between all lines of a community, and every straight piece that two of them share."""

    #: `(f,)` polygons, EPSG:4490, on the grid.
    shape: NDArray[Any]
    area: NDArray[np.float64]
    outline: NDArray[np.float64]
    #: `(s,)` pieces: both faces (-1: outside), metres, and how good a boundary, 0 to 1.
    one: NDArray[np.intp]
    other: NDArray[np.intp]
    length: NDArray[np.float64]
    strength: NDArray[np.float64]


@dataclass(slots=True)
class Atoms:
    """`n` atoms and `e` shared boundaries between them."""

    faces: Faces
    #: `(f,)` atom of each face.
    atom: NDArray[np.intp]
    load: NDArray[np.float64]
    homes: NDArray[np.float64]
    area: NDArray[np.float64]
    #: `(n, 3)` how strongly it speaks for each use.
    speech: NDArray[np.float64]
    #: `(n, 2)` middle, metres.
    middle: NDArray[np.float64]
    #: Metres of boundary with the outside of the community.
    outer: NDArray[np.float64]
    #: `(e,)` atoms of each shared boundary, a < b; metres, and metres weighted by how little is really there.
    a: NDArray[np.intp]
    b: NDArray[np.intp]
    length: NDArray[np.float64]
    poor: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.load)

    def merged(self, label: NDArray[np.intp]) -> NDArray[Any]:
        """Return the polygon of each label `0…k-1` over the atoms, EPSG:4490."""
        of_face = label[self.atom]
        found = np.array(
            [
                shapely.MultiPolygon(
                    shapely.get_parts(shapely.coverage_union_all(self.faces.shape[of_face == k])).tolist()
                )
                for k in range(int(label.max()) + 1)
            ],
            dtype=object,
        )
        return np.asarray(shapely.normalize(found), dtype=object)


def atoms_of(site: Site, weights: Weights, lines: Linework | None = None, *, grain: int = 0) -> Atoms:
    """Return the atoms of a site.

    grain: 0 keeps every face whole that a cell can hold and cuts the others into cells; 1 and 2 cut finer, for a better
    balance at the price of boundaries that are not there.
    """
    lines = lines if lines is not None else linework(site)
    faces = _faces(site, lines, [])
    # A long river in pieces, so that each goes to its own bank.
    across = _across(site, lines, faces)
    faces = _faces(site, lines, across) if across else faces
    made = _contracted(site, weights, lines, faces)
    cuts = _cuts(site, weights, made, grain)
    if cuts:
        made = _contracted(site, weights, lines, _faces(site, lines, across + cuts))
    return made


def _across(site: Site, lines: Linework, faces: Faces) -> list[shapely.Geometry]:
    """Return short cuts across the rivers and lakes of a community."""
    found: list[shapely.Geometry] = []
    none = np.zeros((0, 2))
    for i in np.flatnonzero(_wet(site, lines, faces)).tolist():
        parts = min(round(float(faces.outline[i]) / 2 / _REACH_M), 40)
        if parts > 1:
            ground = shapely.transform(faces.shape[i], site.plane.to_metres)
            found += straight_cuts(ground, none, np.zeros(0), parts)
    return found


def _wet(site: Site, lines: Linework, faces: Faces) -> NDArray[np.bool_]:
    """Return which faces are water."""
    spots = shapely.transform(shapely.point_on_surface(faces.shape), site.plane.to_metres)
    wet: NDArray[np.bool_] = first_hit(lines.wet, spots) >= 0
    return wet


def _cuts(site: Site, weights: Weights, made: Atoms, grain: int) -> list[shapely.Geometry]:
    """Return straight cuts through atoms that are too heavy for a cell."""
    target = site.limits.target
    most = site.limits.most if grain < 2 else target * 0.7
    parts = [0 if load <= most else max(round(load / target), 2) for load in made.load.tolist()]
    if grain:
        parts = [math.ceil(load / target * 3) if count else 0 for count, load in zip(parts, made.load, strict=True)]
    plane = site.plane
    home = made.atom[_face_of(site, made.faces)] if len(site.points) else np.zeros(0, dtype=np.intp)
    held = _estate_of_atoms(site, made)
    loads, at = site.loads(weights), _gathered(site)
    whole = _group_grounds(site) if weights.estates > 0 else None
    found: list[shapely.Geometry] = []
    for i in np.flatnonzero(parts).tolist():
        may = weights.estates == 0 or (weights.cut_large_estates and made.load[i] > site.limits.most)
        if held[i] and not may:
            continue
        ground = shapely.transform(shapely.coverage_union_all(made.faces.shape[made.atom == i]), plane.to_metres)
        mine = home == i
        found += straight_cuts(ground, plane.to_metres(at[mine]), loads[mine], parts[i], whole=whole)
    return found


def _gathered(site: Site) -> NDArray[np.float64]:
    """Return the points with those of one group on its middle, so that no cut parts them."""
    at = site.points.copy()
    for group in np.unique(site.group[site.group >= 0]).tolist():
        mine = site.group == group
        at[mine] = at[mine].mean(axis=0)
    return at


def estate_homes(site: Site) -> NDArray[np.float64]:
    """Return the households in each estate that has a polygon."""
    estate = first_hit(site.estates, shapely.points(site.points)) if len(site.points) else np.zeros(0, dtype=np.intp)
    inside = estate >= 0
    return sums(estate[inside], site.households[inside], len(site.estates))


def _group_grounds(site: Site) -> NDArray[Any]:
    """Return the ground that the points of each group span, in metres; no cut should cross it."""
    flat = site.plane.to_metres(site.points)
    grounds = [
        shapely.buffer(shapely.convex_hull(shapely.multipoints(flat[site.group == group])), _AROUND_M)
        for group in np.unique(site.group[site.group >= 0]).tolist()
    ]
    return np.array(grounds, dtype=object)


def _estate_of_atoms(site: Site, made: Atoms) -> NDArray[np.bool_]:
    held = np.zeros(len(made), dtype=bool)
    if len(site.estates):
        inside = first_hit(site.estates, shapely.point_on_surface(made.faces.shape))
        held[made.atom[inside >= 0]] = True
    return held


def _faces(site: Site, lines: Linework, cuts: list[shapely.Geometry]) -> Faces:
    """Return the faces between the community's border, the lines and the cuts, on the grid."""
    plane = site.plane
    border = shapely.boundary(site.shape)
    drawn = np.concatenate((lines.draw, np.array(cuts, dtype=object)))
    degrees = shapely.transform(drawn, plane.to_degrees)
    noded = shapely.union_all(np.concatenate(([border], np.atleast_1d(degrees))), grid_size=FINE)
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(noded)))
    spots = shapely.point_on_surface(faces)
    inside = shapely.intersects(site.shape, spots)
    # GEOS gives faces in the order of its memory: the same input shall draw the same cells in every process.
    at = shapely.get_coordinates(spots[inside])
    faces = shapely.normalize(faces[inside][np.lexsort((at[:, 1], at[:, 0]))])
    flat = shapely.transform(faces, plane.to_metres)
    one, other, start, end = shared_pieces(faces)
    ends = [plane.to_metres(at) for at in (start, end)]
    length = np.hypot(*(ends[1] - ends[0]).T)
    return Faces(
        faces, shapely.area(flat), shapely.length(flat), one, other, length, strength_of(lines, ends[0], ends[1])
    )


def shared_pieces(
    faces: NDArray[Any],
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Return each straight piece of the outlines of a coverage once: its two faces (-1: none), start and end."""
    rings, of_face = shapely.get_rings(faces, return_index=True)
    start, end, ring = pieces(rings)
    face = of_face[ring]
    codes = np.round(np.concatenate((start, end), axis=1) / FINE).astype(np.int64)
    swap = (codes[:, 0] > codes[:, 2]) | ((codes[:, 0] == codes[:, 2]) & (codes[:, 1] > codes[:, 3]))
    codes[swap] = codes[swap][:, [2, 3, 0, 1]]
    order = np.lexsort(codes.T)
    same = (codes[order][1:] == codes[order][:-1]).all(axis=1)
    first = order[np.concatenate(([True], ~same))]
    other = np.full(len(order), -1, dtype=np.intp)
    other[order[:-1][same]] = face[order[1:][same]]
    return face[first], other[first], start[first], end[first]


def strength_of(lines: Linework, start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how good a boundary each straight piece is, 0 to 1, by the best real line within the tolerance."""
    found = np.zeros(len(start))
    if not len(lines.real) or not len(start):
        return found
    # A long piece may run along a road for a part only.
    count = np.maximum(np.ceil(np.hypot(*(end - start).T) / _JUDGED_M), 1).astype(np.intp)
    piece = np.repeat(np.arange(len(start)), count)
    step = np.arange(len(piece)) - np.repeat(np.cumsum(count) - count, count)
    share = ((step + 0.5) / count[piece])[:, None]
    spots = start[piece] * (1 - share) + end[piece] * share
    tree = shapely.STRtree(lines.real)
    at, which = tree.query(shapely.points(spots), predicate="dwithin", distance=TOLERANCE_M)
    best = np.zeros(len(spots))
    np.maximum.at(best, at, lines.strength[which])
    judged: NDArray[np.float64] = sums(piece, best, len(start)) / count
    return judged


def sums(index: NDArray[np.intp], values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the sum of the values of each index `0…count-1`."""
    return np.bincount(index, weights=values, minlength=count).astype(np.float64)


def _face_of(site: Site, faces: Faces) -> NDArray[np.intp]:
    """Return the face of each point; one beside all by a hair has the nearest."""
    spots = shapely.points(site.points)
    face = first_hit(faces.shape, spots)
    lost = face < 0
    if lost.any():
        face[lost] = shapely.STRtree(faces.shape).nearest(spots[lost])
    return face


class _Union:
    """Disjoint sets of faces."""

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))

    def find(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        one, other = self.find(i), self.find(j)
        self.parent[max(one, other)] = min(one, other)

    def labels(self) -> NDArray[np.intp]:
        roots = np.array([self.find(i) for i in range(len(self.parent))], dtype=np.intp)
        return np.unique(roots, return_inverse=True)[1].astype(np.intp).ravel()


def _contracted(site: Site, weights: Weights, lines: Linework, faces: Faces) -> Atoms:
    """Return the atoms of faces: estates, groups of places, strips and islands are one with what they belong to."""
    sets = _Union(len(faces.shape))
    face = _face_of(site, faces) if len(site.points) else np.zeros(0, dtype=np.intp)
    load = sums(face, site.loads(weights), len(faces.shape))
    estate = _estates_joined(site, weights, faces, sets)
    _strips_joined(faces, sets, estate, load, _wet(site, lines, faces))
    if weights.estates > 0:
        _groups_joined(site, faces, sets, face, load)
    _islands_joined(site, faces, sets, load)
    return _graph(site, weights, faces, sets.labels(), face)


def _estates_joined(site: Site, weights: Weights, faces: Faces, sets: _Union) -> NDArray[np.intp]:
    """Join the faces of each estate that hang together; return the estate of each face, -1 for none."""
    if not len(site.estates):
        return np.full(len(faces.shape), -1, dtype=np.intp)
    estate = first_hit(site.estates, shapely.point_on_surface(faces.shape))
    if weights.estates > 0:
        homes = estate_homes(site)
        kept = np.append(homes <= (site.limits.most if weights.cut_large_estates else np.inf), False)
        same = (faces.other >= 0) & kept[estate[faces.one]] & (estate[faces.one] == estate[faces.other])
        for i, j in zip(faces.one[same].tolist(), faces.other[same].tolist(), strict=True):
            sets.join(i, j)
    return estate


def _strips_joined(
    faces: Faces, sets: _Union, estate: NDArray[np.intp], load: NDArray[np.float64], wet: NDArray[np.bool_]
) -> None:
    """Give ground that is too narrow or too small to the neighbour behind the longest and weakest boundary.

    Water without homes goes to the bank that it shares most with.
    """
    wet = wet & (load < _HOMES)
    width = 2 * faces.area / np.maximum(faces.outline, 1e-9)
    slight = ((width < _NARROW_M) & (load < _HOMES)) | (faces.area < _SMALL_M2) | wet
    inner = faces.other >= 0
    one, other = faces.one[inner], faces.other[inner]
    pull = faces.length[inner] * (1.25 - faces.strength[inner])
    touching: dict[int, dict[int, float]] = {}
    for i, j, worth in zip(one.tolist(), other.tolist(), pull.tolist(), strict=True):
        touching.setdefault(i, {})[j] = touching.get(i, {}).get(j, 0.0) + worth
        touching.setdefault(j, {})[i] = touching.get(j, {}).get(i, 0.0) + worth
    for i in np.argsort(faces.area, kind="stable").tolist():
        # A strip inside an estate stays with it; one that was taken up already has grown.
        if not slight[i] or estate[i] >= 0:
            continue
        near = {j: worth for j, worth in touching.get(i, {}).items() if sets.find(j) != sets.find(i)}
        if wet[i] and any(not wet[j] for j in near):
            near = {j: worth for j, worth in near.items() if not wet[j]}
        if near:
            sets.join(i, max(near, key=lambda j: (near[j], -j)))


def _groups_joined(site: Site, faces: Faces, sets: _Union, face: NDArray[np.intp], load: NDArray[np.float64]) -> None:
    """Join neighbouring faces that hold points of one group, as long as a cell can hold them together."""
    if not (site.group >= 0).any():
        return
    inner = faces.other >= 0
    beside = {
        (min(i, j), max(i, j)) for i, j in zip(faces.one[inner].tolist(), faces.other[inner].tolist(), strict=True)
    }
    weight = {i: float(load[i]) for i in range(len(load))}
    for i in range(len(load)):
        root = sets.find(i)
        if root != i:
            weight[root] = weight.get(root, 0.0) + float(load[i])
    members: dict[int, list[int]] = {}
    for group, at in zip(site.group.tolist(), face.tolist(), strict=True):
        if group >= 0:
            members.setdefault(group, []).append(at)
    for group in sorted(members):
        mine = sorted(set(members[group]))
        for i in mine:
            for j in mine:
                one, other = sets.find(i), sets.find(j)
                if i < j and one != other and (i, j) in beside and weight[one] + weight[other] <= site.limits.most:
                    sets.join(i, j)
                    weight[sets.find(i)] = weight[one] + weight[other]


def _islands_joined(site: Site, faces: Faces, sets: _Union, load: NDArray[np.float64]) -> None:
    """Give parts of the community that are too light for a cell of their own to the nearest other part."""
    whole = _Union(len(faces.shape))
    inner = faces.other >= 0
    for i, j in zip(faces.one[inner].tolist(), faces.other[inner].tolist(), strict=True):
        whole.join(i, j)
    part = whole.labels()
    count = int(part.max()) + 1 if len(part) else 0
    if count < 2:
        return
    total = sums(part, load, count)
    size = sums(part, faces.area, count)
    for i in np.lexsort((size, total))[:-1].tolist():
        if total[i] >= max(site.limits.fewest, 1):
            continue
        mine, others = np.flatnonzero(part == i), np.flatnonzero(part != i)
        near = others[shapely.STRtree(faces.shape[others]).query_nearest(faces.shape[mine], all_matches=False)[1]]
        gap = shapely.distance(faces.shape[mine], faces.shape[near])
        bridge = int(np.argmin(gap))
        for j in mine.tolist():
            sets.join(j, int(mine[bridge]))
        sets.join(int(mine[bridge]), int(near[bridge]))
        into = part[near[bridge]]
        total[into] += total[i]
        part[mine] = into


def _graph(site: Site, weights: Weights, faces: Faces, atom: NDArray[np.intp], face: NDArray[np.intp]) -> Atoms:
    count = int(atom.max()) + 1
    home = atom[face]
    area = sums(atom, faces.area, count)
    middle = site.plane.to_metres(shapely.get_coordinates(shapely.centroid(faces.shape)))
    speech = np.zeros((count, 3))
    np.add.at(speech, home, site.speaking())
    inner = faces.other >= 0
    one, other = atom[faces.one[inner]], atom[faces.other[inner]]
    apart = one != other
    low, high = np.minimum(one, other)[apart], np.maximum(one, other)[apart]
    code, index = np.unique(low * count + high, return_inverse=True)
    length = faces.length[inner][apart]
    poor = length * (1 - faces.strength[inner][apart])
    return Atoms(
        faces=faces,
        atom=atom,
        load=sums(home, site.loads(weights), count),
        homes=sums(home, site.households, count),
        area=area,
        speech=speech,
        middle=np.column_stack([sums(atom, middle[:, k] * faces.area, count) / area for k in (0, 1)]),
        outer=sums(atom[faces.one[~inner]], faces.length[~inner], count),
        a=(code // count).astype(np.intp),
        b=(code % count).astype(np.intp),
        length=sums(index.ravel(), length, len(code)),
        poor=sums(index.ravel(), poor, len(code)),
    )

"""What a planner does with cells: split, merge, redraw, void, new, described otherwise. Pure; nothing is stored.

Takes the cells as they stand and returns what would stand there: the cells that are taken, and the cells after it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from core.datums import Plane
from core.errors import Conflict, Invalid, NotFound
from grid import derive
from grid.cellset import CellSet
from grid.drawing import Limits, Site, Weights, propose
from grid.relay import FINE, LEAST_M2, outline, relay, split_by_line, square_metres
from grid.versions import Today

#: Most parts that one cell is split into at once.
MOST_PARTS: Final = 20
#: Serials of a community: three digits.
_SERIALS: Final = range(1, 1000)
KINDS: Final = (*derive.KINDS, "mixed")


@dataclass(slots=True)
class Move:
    """One change before it is planned."""

    #: split, merge, redraw, void, new or describe.
    kind: str
    #: Codes of the cells that it takes.
    takes: tuple[str, ...]
    #: What stands there after it.
    cells: CellSet
    #: Which households were shared out, not counted.
    estimated: list[bool] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Homes:
    """Where people live, as far as anybody knows: what households are shared out by."""

    #: `(n, 2)` lon lat, EPSG:4490.
    lng_lat: NDArray[np.float64]
    #: `(n,)` households or shares of them.
    weight: NDArray[np.float64]


def split_line(now: Today, code: str, line: Any, *, used: Collection[str], homes: Homes) -> Move:
    """Return a cell split along a line, EPSG:4490; the largest part keeps the code.

    Raises Invalid where the line does not cut it through, NotFound where there is no such cell today.
    """
    at = _at(now, code)
    return _parts(now, at, split_by_line(now.cells.geom[at], line), used=used, homes=homes)


def split_count(now: Today, code: str, count: int, *, used: Collection[str], homes: Homes) -> Move:
    """Return a cell split into a number of parts with about as many households each, by straight cuts.

    Raises Invalid for a number under 2 or over `MOST_PARTS`, or where the cell is too small for it.
    """
    at = _at(now, code)
    if not 2 <= count <= MOST_PARTS:
        raise Invalid("A cell is split into 2 to {most} parts.", field="count", most=MOST_PARTS)
    shape = now.cells.geom[at]
    west, south, east, north = shapely.bounds(shape)
    parts = derive.parts(shape, homes.lng_lat, Plane.at((west + east) / 2, (south + north) / 2), count=count)
    if len(parts) < count:
        raise Invalid("The cell is too small for {n} parts.", field="count", n=count)
    parts.sort(key=lambda part: -float(shapely.area(part)))
    return _parts(now, at, parts, used=used, homes=homes)


def _parts(now: Today, at: int, parts: Sequence[Any], *, used: Collection[str], homes: Homes) -> Move:
    cells = now.cells
    codes = [cells.code[at], *free_codes(cells.community[at], used, count=len(parts) - 1)]
    households, estimated = shared(cells.households[at], parts, homes)
    made = CellSet(
        code=codes,
        community=[cells.community[at]] * len(parts),
        kind=[cells.kind[at]] * len(parts),
        geom=_array(parts),
        households=households,
    )
    return Move("split", (cells.code[at],), made, estimated)


def merge(now: Today, codes: Sequence[str], *, keep: str = "") -> Move:
    """Return cells of one community merged under one code, the first by default.

    The kind is that of most households, else of most ground. Raises Invalid for fewer than two, for cells of two
    communities, and for cells that do not touch along an edge.
    """
    chosen = list(dict.fromkeys(codes))
    if len(chosen) < 2:
        raise Invalid("Choose at least two cells to merge.", field="codes")
    at = [_at(now, code) for code in chosen]
    keep = keep or chosen[0]
    if keep not in chosen:
        raise Invalid("The code that is kept must be one of the merged ones.", field="keep")
    cells = now.cells
    if len({cells.community[i] for i in at}) > 1:
        raise Invalid("These cells lie in two communities; a cell lies in one.", field="codes")
    whole = outline(cells.geom[at])
    if len(shapely.get_parts(whole)) > max(len(shapely.get_parts(cells.geom[i])) for i in at):
        raise Invalid("These cells do not touch along an edge.", field="codes")
    counted = [cells.households[i] for i in at]
    weight = np.array([n or 0 for n in counted], dtype=np.float64)
    weight = weight if weight.sum() else square_metres(cells.geom[at])
    by_kind = {kind: float(sum(w for i, w in zip(at, weight, strict=True) if cells.kind[i] == kind)) for kind in KINDS}
    known = [n for n in counted if n is not None]
    made = CellSet(
        code=[keep],
        community=[cells.community[at[0]]],
        kind=[max(by_kind, key=lambda kind: by_kind[kind])],
        geom=_array([whole]),
        households=[sum(known) if len(known) == len(at) else None],
    )
    return Move("merge", tuple(chosen), made, [any(now.estimated[i] for i in at)])


def void(now: Today, code: str, *, into: str = "") -> Move:
    """Return a cell voided: its ground goes to the cell `into`; empty leaves it bare, which a plan must say aloud.

    Raises Invalid where the taker is in another community or does not touch it.
    """
    if not into:
        _at(now, code)
        nothing = CellSet(code=[], community=[], kind=[], geom=_array([]), households=[])
        return Move("void", (code,), nothing)
    if into == code:
        raise Invalid("A cell cannot take its own ground.", field="into")
    taken = merge(now, (into, code), keep=into)
    taken.cells.kind = [now.cells.kind[_at(now, into)]]
    return Move("void", (code, into), taken.cells, taken.estimated)


def describe(now: Today, code: str, *, kind: str = "", households: int | None = None) -> Move:
    """Return a cell of another kind or with counted households on the same ground.

    Raises Invalid for a kind that there is not and where nothing would change.
    """
    at = _at(now, code)
    cells = now.cells
    if kind and kind not in KINDS:
        raise Invalid("There is no kind {kind} of cell.", field="kind", kind=kind[:40])
    if households is not None and not 0 <= households <= 1_000_000:
        raise Invalid("Households are a number from 0 to 1,000,000.", field="households")
    count = cells.households[at] if households is None else households
    estimated = now.estimated[at] and households is None
    if (kind or cells.kind[at], count, estimated) == (cells.kind[at], cells.households[at], now.estimated[at]):
        raise Invalid("Nothing would change.", field="kind")
    made = CellSet([code], [cells.community[at]], [kind or cells.kind[at]], _array([cells.geom[at]]), [count])
    return Move("describe", (code,), made, [estimated])


def redraw(now: Today, shapes: Mapping[str, Any], *, homes: Homes) -> Move:
    """Return cells with other boundaries, code → shape, EPSG:4490; households are shared out anew between them."""
    at = [_at(now, code) for code in shapes]
    cells = now.cells
    known = [n for n in (cells.households[i] for i in at) if n is not None]
    total = sum(known) if len(known) == len(at) else None
    households, estimated = shared(total, list(shapes.values()), homes)
    made = CellSet(
        code=list(shapes),
        community=[cells.community[i] for i in at],
        kind=[cells.kind[i] for i in at],
        geom=_array(list(shapes.values())),
        households=households,
    )
    return Move("redraw", tuple(shapes), made, estimated)


def drag(now: Today, shapes: Mapping[str, Any], *, first: str, homes: Homes) -> Move:
    """Return cells after corners were dragged: as `redraw` where the shapes fit together, else as `pull` of the first.

    first: the cell that the hand was on; its neighbours give way or fill up, so that no gap and no overlap arises.
    """
    if first not in shapes:
        raise Invalid("Nothing would change.", field="cells")
    move = redraw(now, shapes, homes=homes)
    before = now.cells.geom[[_at(now, code) for code in shapes]]
    laid = relay(outline(before), move.cells.geom, codes=move.cells.code)
    if laid.faults:
        return pull(now, first, shapes[first], homes=homes)
    move.cells.geom = laid.geom
    return move


def pull(now: Today, code: str, shape: Any, *, homes: Homes, kind: str = "") -> Move:
    """Return a cell pulled to another shape, EPSG:4490, or drawn anew where there is none of the code.

    Neighbours give the ground that it takes and fill what it leaves, each piece whoever shares most edge with it. What
    lies beyond today's cells is cut off. Raises Invalid where a neighbour would vanish or fall apart.
    """
    cells = now.cells
    there = code in cells.code
    every = outline(cells.geom)
    mine = _polygons(shapely.intersection(shape, every, grid_size=FINE))
    if mine is None:
        raise Invalid("Cell {code} would have no ground.", field="geometry", code=code)
    touched = [
        i
        for i, other in enumerate(cells.geom)
        if cells.code[i] != code and _polygons(shapely.intersection(other, mine)) is not None
    ]
    left = _polygons(shapely.difference(cells.geom[_at(now, code)], mine, grid_size=FINE)) if there else None
    gains: dict[int, list[Any]] = {}
    for piece in shapely.get_parts(left) if left is not None else ():
        i = _neighbour(cells, piece, besides=code)
        gains.setdefault(i, []).append(piece)
    concerned = sorted({*touched, *gains})
    shapes, codes = [mine], [code]
    for i in concerned:
        rest = _polygons(shapely.difference(cells.geom[i], mine, grid_size=FINE))
        if rest is None:
            raise Invalid("Cell {code} would have no ground.", field="geometry", code=cells.code[i])
        shapes.append(outline([rest, *gains.get(i, ())]))
        codes.append(cells.code[i])
    takes = tuple(one for one in codes if one in cells.code)
    before = outline(cells.geom[[_at(now, one) for one in takes]])
    laid = relay(before, shapes, codes=codes)
    for fault in laid.faults:
        raise fault.error()
    at = [_at(now, one) for one in takes]
    known = [n for n in (cells.households[i] for i in at) if n is not None]
    households, estimated = shared(sum(known) if len(known) == len(at) else None, list(laid.geom), homes)
    kinds = [cells.kind[_at(now, one)] if one in cells.code else kind or "mixed" for one in codes]
    made = CellSet(codes, [cells.community[at[0]]] * len(codes), kinds, laid.geom, households)
    return Move("redraw" if there else "new", takes, made, estimated)


def _neighbour(cells: CellSet, piece: Any, *, besides: str) -> int:
    """Return the cell that shares most edge with a piece of ground."""
    lengths = [
        0.0 if code == besides else float(shapely.length(shapely.intersection(shape, piece, grid_size=FINE)))
        for code, shape in zip(cells.code, cells.geom, strict=True)
    ]
    best = int(np.argmax(lengths)) if lengths else 0
    if not lengths or lengths[best] <= 0:
        raise Invalid("Nobody beside this ground can take it.", field="geometry")
    return best


def _polygons(shape: Any) -> Any:
    """Return the polygons of a shape that are more than a sliver, together; None where there are none."""
    parts = [part for part in shapely.get_parts(shape) if shapely.get_dimensions(part) == 2]
    kept = [part for part, m2 in zip(parts, square_metres(parts), strict=True) if m2 >= LEAST_M2]
    return shapely.MultiPolygon(kept) if kept else None


def split_roads(now: Today, code: str, site: Site, count: int, *, used: Collection[str]) -> Move:
    """Return a cell split into about `count` parts along roads, water and walls, as the program would draw it.

    site: of the cell's community. Raises Invalid where its lines do not divide the cell so.
    """
    at = _at(now, code)
    if not 2 <= count <= MOST_PARTS:
        raise Invalid("A cell is split into 2 to {most} parts.", field="count", most=MOST_PARTS)
    own = replace(site, shape=now.cells.geom[at])
    share = max(float(own.loads(Weights()).sum()) / count, 2.0)
    own = replace(own, limits=Limits(int(share * 2 / 3), max(round(share * 4 / 3), 2 * int(share * 2 / 3), 1)))
    parts = list(propose(own).cells.geom)
    if len(parts) < 2:
        raise Invalid("No road, water or wall divides this cell into such parts.", field="count")
    parts.sort(key=lambda part: -float(shapely.area(part)))
    return _parts(now, at, parts, used=used, homes=Homes(site.points, site.households))


def new(community: str, shape: Any, *, kind: str, households: int | None, used: Collection[str]) -> Move:
    """Return a new cell on ground that no cell has; EPSG:4490."""
    if kind not in KINDS:
        raise Invalid("There is no kind {kind} of cell.", field="kind", kind=kind[:40])
    made = CellSet(free_codes(community, used, count=1), [community], [kind], _array([shape]), [households])
    return Move("new", (), made, [False])


def free_codes(community: str, used: Collection[str], *, count: int) -> list[str]:
    """Return codes of a community that were never given, after the highest; raises Conflict when there are none left.

    After the highest and not into the gaps: a number that once meant other ground would mislead whoever remembers it.
    """
    serials = [int(code[12:]) for code in used if code[:12] == community and code[12:].isdigit()]
    first = max(serials, default=0) + 1
    if first + count - 1 not in _SERIALS and count:
        raise Conflict("Community {code} has no free cell number left.", code=community)
    return [f"{community}{serial:03d}" for serial in range(first, first + count)]


def shared(total: int | None, shapes: Sequence[Any], homes: Homes) -> tuple[list[int | None], list[bool]]:
    """Return households of parts that add up to the whole, and whether each is an estimate.

    By the homes inside each; where nobody knows any, by ground. None stays None.
    """
    if total is None:
        return [None] * len(shapes), [False] * len(shapes)
    weight = np.zeros(len(shapes))
    if len(homes.lng_lat):
        inside = derive.first_hit(_array(shapes), shapely.points(homes.lng_lat))
        weight += np.bincount(inside[inside >= 0], weights=homes.weight[inside >= 0], minlength=len(shapes))
    if weight.sum() <= 0:
        weight = square_metres(shapes)
    exact = total * weight / max(float(weight.sum()), 1e-9)
    counts = np.floor(exact).astype(int)
    # The largest remainders get what is left, so that the sum is the sum.
    for i in np.argsort(counts - exact, kind="stable")[: total - int(counts.sum())]:
        counts[i] += 1
    return [int(n) for n in counts], [len(shapes) > 1] * len(shapes)


def _at(now: Today, code: str) -> int:
    try:
        return now.cells.code.index(code)
    except ValueError:
        raise NotFound("There is no cell {code} today.", code=code[:20]) from None


def _array(shapes: Sequence[Any]) -> NDArray[Any]:
    """Return shapes as an array of multipolygons."""
    made = np.empty(len(shapes), dtype=object)
    for i, shape in enumerate(shapes):
        made[i] = shapely.MultiPolygon(shapely.get_parts(shape).tolist())
    return made

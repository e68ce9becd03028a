"""A fictional district 虚构区 of any size: ground, roads, house numbers, places and households, the same for a seed.

Everything is invented and lies in an empty desert, so that nobody takes it for a real place. Knows where each thing is,
to the centimetre: the source of tests and benches with known truth. `grid.fiction_folder` writes it as a folder.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from core.datums import Plane
from core.errors import Invalid
from grid.fiction_lines import LANE, road_lines
from grid.fiction_names import Names

CODE: Final = "990101"
NAME: Final = "云河区"
CITY: Final = "望川市"
#: Middle of the district, EPSG:4490: sand for a hundred kilometres around.
_MIDDLE: Final = (83.2, 39.1)
#: Cells of a community and households of a cell, both as in a built-up district.
_SIDE: Final = 3
_HOUSEHOLDS: Final = 400
#: Metres between lattice lines, and how far a crossing may lie from its place.
_PITCH: Final = (420.0, 360.0)
_JITTER_M: Final = 45.0
#: House numbers on each side of a road between two crossings, and metres from its middle to the doors.
_DOORS: Final = 14
_DOOR_M: Final = 14.0
#: Share of house numbers that stand in the register; the others must be interpolated.
_KNOWN: Final = 0.7
MOST_HOUSEHOLDS: Final = 5_000_000


@dataclass(frozen=True, slots=True)
class Doors:
    """House numbers: parallel arrays `(n,)`."""

    #: Index into `Fiction.roads`.
    road: NDArray[np.int32]
    number: NDArray[np.int32]
    cell: NDArray[np.int32]
    #: `(n, 2)` lon lat, EPSG:4490.
    lng_lat: NDArray[np.float64]
    #: Whether the register has it.
    known: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Spots:
    """Named places: parallel lists and arrays `(n,)`."""

    name: list[str]
    type_path: list[str]
    #: Index into `Doors`: where its entrance is.
    door: NDArray[np.int32]
    cell: NDArray[np.int32]
    lng_lat: NDArray[np.float64]
    #: Buildings of an estate 小区; 0 for every other place.
    buildings: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Fiction:
    """One fictional district. Rows of cells run north to south; every level is an exact union of the one below."""

    seed: int
    #: Names and polygons by index; codes follow from the order.
    towns: list[str]
    town_shape: list[Any]
    communities: list[str]
    community_town: NDArray[np.int32]
    community_shape: list[Any]
    #: 15-digit codes in ascending order, kinds, polygons, households.
    cell_code: list[str]
    cell_kind: list[str]
    cell_shape: NDArray[Any]
    households: NDArray[np.int32]
    roads: list[str]
    #: Per road, the class as OpenStreetMap names it and the line along its middle, EPSG:4490.
    road_class: list[str]
    road_shape: NDArray[Any]
    #: Index into `roads` of the lane in the middle of each cell.
    lane: NDArray[np.intp]
    doors: Doors
    places: Spots
    #: `(n, 2)` pairs of roads that cross, and where.
    crossing: NDArray[np.int32]
    crossing_lng_lat: NDArray[np.float64]

    @property
    def town_code(self) -> list[str]:
        """9-digit codes of the towns."""
        return [f"{CODE}{i + 1:03d}" for i in range(len(self.towns))]

    @property
    def community_code(self) -> list[str]:
        """12-digit codes of the communities."""
        towns, serial = self.town_code, np.zeros(len(self.towns), dtype=int)
        codes = []
        for town in self.community_town.tolist():
            serial[town] += 1
            codes.append(f"{towns[town]}{serial[town]:03d}")
        return codes


@dataclass(frozen=True, slots=True)
class _Plan:
    """How many towns, communities and cells there are each way (columns, rows)."""

    towns: tuple[int, int]
    #: Per town.
    communities: tuple[int, int]

    @property
    def town_cells(self) -> tuple[int, int]:
        return self.communities[0] * _SIDE, self.communities[1] * _SIDE

    @property
    def cells(self) -> tuple[int, int]:
        return self.towns[0] * self.town_cells[0], self.towns[1] * self.town_cells[1]


def build(*, seed: int, households: int) -> Fiction:
    """Return the fictional district of a seed with about so many households; about a second for 100,000.

    Raises Invalid for a size that no district has.
    """
    if not 1 <= households <= MOST_HOUSEHOLDS:
        raise Invalid("A district has 1 to {most} households.", field="households", most=MOST_HOUSEHOLDS)
    chance = np.random.default_rng(seed)
    plan = _plan(households)
    names = Names(seed)
    nodes = _nodes(plan, chance)
    rows, columns = plan.cells[1], plan.cells[0]
    order, codes = _codes(plan)
    kinds = _kinds(plan, chance)
    share = chance.dirichlet(np.full(rows * columns, 6.0) * np.where(kinds.ravel() == 2, 0.3, 1.0))
    counted = np.floor(share * households).astype(np.int32)
    counted[: households - int(counted.sum())] += 1
    boxes = [_box(nodes, r, r + 1, c, c + 1) for r in range(rows) for c in range(columns)]
    roads, doors, crossing, at = _roads(plan, nodes, names, chance)
    lines = road_lines(nodes, side=_SIDE, town=plan.town_cells)
    rank = np.empty(rows * columns, dtype=np.int32)
    rank[order] = np.arange(rows * columns)
    doors = Doors(doors.road, doors.number, rank[doors.cell], doors.lng_lat, doors.known)
    kind_of = kinds.ravel()[order]
    width, height = plan.town_cells
    return Fiction(
        seed=seed,
        towns=[names.town() for _ in range(plan.towns[0] * plan.towns[1])],
        town_shape=[
            _box(nodes, r, r + height, c, c + width) for r in range(0, rows, height) for c in range(0, columns, width)
        ],
        communities=[names.community() for _ in range(rows * columns // _SIDE**2)],
        community_town=np.repeat(np.arange(plan.towns[0] * plan.towns[1]), width * height // _SIDE**2).astype(np.int32),
        community_shape=[
            _box(nodes, r, r + _SIDE, c, c + _SIDE)
            for top in range(0, rows, height)
            for left in range(0, columns, width)
            for r in range(top, top + height, _SIDE)
            for c in range(left, left + width, _SIDE)
        ],
        cell_code=codes,
        cell_kind=[("residential", "commercial", "industrial", "mixed")[k] for k in kind_of],
        cell_shape=np.array([boxes[i] for i in order], dtype=object),
        households=counted[order],
        roads=roads,
        road_class=[kind for kind, _ in lines],
        road_shape=np.array([line for _, line in lines], dtype=object),
        lane=len(roads) - rows * columns + order,
        doors=doors,
        places=_places(doors, kind_of, names, chance),
        crossing=crossing,
        crossing_lng_lat=at,
    )


def _plan(households: int) -> _Plan:
    cells = max(households / _HOUSEHOLDS, 1)
    towns = int(np.clip(round(cells / 150), 2, 24))
    across = max(d for d in range(1, int(towns**0.5) + 1) if towns % d == 0)
    # A prime number of towns would lie in one row: take the next that does not.
    while towns > 3 and across == 1:
        towns += 1
        across = max(d for d in range(1, int(towns**0.5) + 1) if towns % d == 0)
    communities = max(round(cells / towns / _SIDE**2), 1)
    down = max(round(communities**0.5), 1)
    return _Plan((towns // across, across), (-(-communities // down), down))


def _nodes(plan: _Plan, chance: np.random.Generator) -> NDArray[np.float64]:
    """Return the crossings `(rows + 1, columns + 1, 2)`, EPSG:4490 on a grid of 1e-7 degrees, north first."""
    columns, rows = plan.cells
    x, y = np.meshgrid((np.arange(columns + 1) - columns / 2) * _PITCH[0], (rows / 2 - np.arange(rows + 1)) * _PITCH[1])
    metres = np.stack((x, y), axis=-1) + chance.uniform(-_JITTER_M, _JITTER_M, (rows + 1, columns + 1, 2))
    degrees = Plane.at(*_MIDDLE).to_degrees(metres.reshape(-1, 2))
    return np.round(degrees, 7).reshape(rows + 1, columns + 1, 2)


def _box(nodes: NDArray[np.float64], top: int, bottom: int, left: int, right: int) -> shapely.Polygon:
    """Return the polygon around a block of cells with every crossing on its edge as a vertex."""
    ring = np.vstack(
        (
            nodes[top, left:right],
            nodes[top:bottom, right],
            nodes[bottom, left + 1 : right + 1][::-1],
            nodes[top + 1 : bottom + 1, left][::-1],
        )
    )
    return shapely.Polygon(ring)


def _codes(plan: _Plan) -> tuple[NDArray[np.intp], list[str]]:
    """Return the order in which the lattice's cells (row by row) come by code, and the codes."""
    columns, rows = plan.cells
    width, height = plan.town_cells
    r, c = np.divmod(np.arange(rows * columns), columns)
    town = (r // height) * plan.towns[0] + c // width
    community = (r % height // _SIDE) * plan.communities[0] + c % width // _SIDE
    cell = (r % _SIDE) * _SIDE + c % _SIDE
    order = np.lexsort((cell, community, town))
    codes = [
        f"{CODE}{t + 1:03d}{k + 1:03d}{i + 1:03d}"
        for t, k, i in zip(town[order].tolist(), community[order].tolist(), cell[order].tolist(), strict=True)
    ]
    return order, codes


def _kinds(plan: _Plan, chance: np.random.Generator) -> NDArray[np.intp]:
    """Return the kind of each cell `(rows, columns)`: 0 residential, 1 commercial, 2 industrial, 3 mixed.

    Shops lie in the middle of towns, factories fill whole communities at the rim.
    """
    columns, rows = plan.cells
    width, height = plan.town_cells
    r, c = np.mgrid[0:rows, 0:columns]
    off = np.hypot((r % height + 0.5) / height - 0.5, (c % width + 0.5) / width - 0.5)
    kinds = np.where(chance.random((rows, columns)) < np.clip(1 - 3.2 * off, 0.04, 0.9), 1, 0)
    kinds[(kinds == 0) & (chance.random((rows, columns)) < 0.15)] = 3
    works = chance.random((-(-rows // _SIDE), -(-columns // _SIDE))) < 0.12
    kinds[np.kron(works, np.ones((_SIDE, _SIDE), dtype=bool))[:rows, :columns]] = 2
    return kinds.astype(np.intp)


def _roads(
    plan: _Plan, nodes: NDArray[np.float64], names: Names, chance: np.random.Generator
) -> tuple[list[str], Doors, NDArray[np.int32], NDArray[np.float64]]:
    """Return road names, doors (cells by lattice index), and where which roads cross.

    A line of the lattice is a road of its own within each town's width; both sides have numbers, odd and even. Each
    cell has a lane through its middle besides.
    """
    columns, rows = plan.cells
    width, height = plan.town_cells
    roads: list[str] = []
    parts: list[tuple[NDArray[Any], ...]] = []
    along = np.empty((rows + 1, columns), dtype=np.int32)
    across = np.empty((rows, columns + 1), dtype=np.int32)
    for r in range(rows + 1):
        for c in range(columns):
            if c % width == 0:
                roads.append(names.road(main=r % _SIDE == 0))
            along[r, c] = len(roads) - 1
    for c in range(columns + 1):
        for r in range(rows):
            if r % height == 0:
                roads.append(names.road(main=c % _SIDE == 0))
            across[r, c] = len(roads) - 1
    for r in range(rows + 1):
        for c in range(columns):
            parts += _both_sides(nodes[r, c], nodes[r, c + 1], int(along[r, c]), c % width, _sides(r, rows, c, columns))
    for c in range(columns + 1):
        for r in range(rows):
            # Going south, west is on the right.
            sides = [r * columns + c - 1 if c > 0 else -1, r * columns + c if c < columns else -1]
            parts += _both_sides(nodes[r, c], nodes[r + 1, c], int(across[r, c]), r % height, sides)
    for r in range(rows):
        for c in range(columns):
            roads.append(names.lane())
            west, east = (nodes[r, c] + nodes[r + 1, c]) / 2, (nodes[r, c + 1] + nodes[r + 1, c + 1]) / 2
            # The lane stops short of the streets, so that its doors are not theirs.
            start, end = west + (east - west) * LANE[0], west + (east - west) * LANE[1]
            parts += _both_sides(start, end, len(roads) - 1, 0, [r * columns + c] * 2)
    road, number, cell, lng_lat = (np.concatenate(column) for column in zip(*parts, strict=True))
    doors = Doors(
        road.astype(np.int32),
        number.astype(np.int32),
        cell.astype(np.int32),
        lng_lat,
        chance.random(len(road)) < _KNOWN,
    )
    pairs = np.stack((along[1:rows, 1:columns], across[1:rows, 1:columns]), axis=-1).reshape(-1, 2)
    # At the border of a town four roads meet, but a junction is named by two: those east and south of it.
    return roads, doors, pairs, nodes[1:rows, 1:columns].reshape(-1, 2)


def _sides(r: int, rows: int, c: int, columns: int) -> list[int]:
    """Return the cells south and north of a piece of a road that runs east; -1 outside the district."""
    return [r * columns + c if r < rows else -1, (r - 1) * columns + c if r > 0 else -1]


def _both_sides(
    start: NDArray[np.float64], end: NDArray[np.float64], road: int, block: int, cells: list[int]
) -> list[tuple[NDArray[Any], ...]]:
    """Return the doors on both sides between two crossings: right of the direction even, left of it odd."""
    plane = Plane.at(float(start[0]), float(start[1]))
    ((dx, dy),) = plane.to_metres(end)
    length = max(float(np.hypot(dx, dy)), 1.0)
    step = (np.arange(_DOORS) + 1.0) / (_DOORS + 1)
    line = np.column_stack((step * dx, step * dy))
    found: list[tuple[NDArray[Any], ...]] = []
    for side, cell in enumerate(cells):
        if cell < 0:
            continue
        turn = 1 if side == 0 else -1
        offset = np.array([dy, -dx]) / length * _DOOR_M * turn
        number = 2 * (block * _DOORS + np.arange(_DOORS)) + (2 if side == 0 else 1)
        found.append(
            (
                np.full(_DOORS, road),
                number,
                np.full(_DOORS, cell),
                np.round(plane.to_degrees(line + offset), 7),
            )
        )
    return found


#: Kind of cell → how many of each sort of place it has, on average.
_MIX: Final[tuple[dict[str, float], ...]] = (
    {"estate": 2.2, "shop": 3.0, "food": 1.5, "school": 0.35, "clinic": 0.2, "park": 0.3, "stop": 0.8, "market": 0.1},
    {"estate": 0.5, "shop": 9.0, "food": 6.0, "hotel": 0.6, "bank": 0.8, "mall": 0.5, "stop": 1.2, "office": 0.8},
    {"factory": 4.5, "logistics": 0.7, "food": 0.8, "shop": 0.8, "stop": 0.5, "garage": 0.6},
    {"estate": 1.2, "shop": 4.0, "food": 2.5, "factory": 0.6, "school": 0.2, "office": 0.4, "stop": 0.9, "market": 0.2},
)


def _places(doors: Doors, kinds: NDArray[np.intp], names: Names, chance: np.random.Generator) -> Spots:
    """Return the named places; each has a door of its cell, estates lie behind theirs."""
    by_cell = np.argsort(doors.cell, kind="stable")
    first = np.searchsorted(doors.cell[by_cell], np.arange(len(kinds) + 1))
    name: list[str] = []
    path: list[str] = []
    door: list[int] = []
    buildings: list[int] = []
    for cell, kind in enumerate(kinds.tolist()):
        mine = by_cell[first[cell] : first[cell + 1]]
        mix = _MIX[kind]
        for sort, count in zip(mix, chance.poisson(list(mix.values())).tolist(), strict=True):
            for _ in range(count):
                name.append(names.place(sort))
                path.append(names.path(sort))
                door.append(int(mine[int(chance.integers(len(mine)))]))
                buildings.append(int(chance.integers(6, 21)) if sort == "estate" else 0)
    at = np.array(door, dtype=np.int32)
    return Spots(name, path, at, doors.cell[at], doors.lng_lat[at], np.array(buildings, dtype=np.int32))

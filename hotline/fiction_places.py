"""How people name a place, right or nearly right: full addresses, road and number, estates, corners, shops.

Knows the spots of a fictional district and their true points; knows nothing of complaints.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import cn2an
import numpy as np

from grid.fiction import CITY, NAME, Fiction
from grid.fiction_folder import OUTSIDE
from grid.fiction_names import Names

#: Ways to name a place and their shares among texts that name one inside the district.
WAYS: Final = {
    "full": 0.14,
    "road": 0.22,
    "numeral": 0.05,
    "estate": 0.17,
    "junction": 0.08,
    "near": 0.12,
    "place": 0.16,
    "community": 0.04,
    "town": 0.02,
}
#: Groups of characters that sound or look alike and are mistaken for each other.
_ALIKE: Final = [
    "和荷河禾合",
    "清青晴",
    "园苑源圆",
    "路陆",
    "华花",
    "新欣馨",
    "兴星",
    "丰枫风峰",
    "安鞍",
    "康糠",
    "明名鸣",
    "月悦越",
    "德得",
    "信心",
    "义艺",
    "礼里理",
    "泰太",
    "达大",
    "光广",
    "辉晖",
    "春椿",
    "秋邱",
    "松嵩",
    "竹竺",
    "云芸",
    "霞遐",
    "语雨宇",
    "望旺",
    "舒书",
    "锦景",
    "鹤贺",
    "瑞锐",
    "嘉佳",
    "稻道",
    "香乡",
    "蓝兰岚",
    "波坡",
    "平坪",
    "顺舜",
    "昌常",
    "盛胜",
    "隆龙",
    "裕玉",
    "荣容",
    "茂贸",
    "通同",
    "远院",
    "航杭",
    "启起",
    "仁人",
    "诚成",
    "睦木",
    "乐勒",
    "川穿",
]
_MISTAKE: Final[dict[str, str]] = {
    a: group[(i + 1) % len(group)] for group in _ALIKE for i, a in enumerate(group) if group[(i + 1) % len(group)] != a
}
_NEAR: Final = ("对面", "旁边", "门口", "附近", "后面", "隔壁")
#: Share of texts about elsewhere whose road has a namesake in the district.
_SAME_NAME: Final = 0.2
#: Spots drawn beforehand; drawing from them keeps the loop free of arrays.
_POOL: Final = 60_000


class Said(NamedTuple):
    """A place as somebody named it, and where it truly is."""

    words: str
    #: located, unlocatable or outside.
    status: str
    way: str
    #: EPSG:4490; None where no point is meant.
    lng: float | None = None
    lat: float | None = None
    #: None where more than one cell could be meant.
    cell: str | None = None
    town: str | None = None
    damaged: bool = False
    #: Named without anything narrower; where a cell is known it is the cell's.
    community: str | None = None


@dataclass(frozen=True, slots=True)
class _Spot:
    """A door, and what is near it."""

    road: str
    number: int
    lng: float
    lat: float
    cell: str
    town: str
    town_code: str
    community: str


@dataclass(frozen=True, slots=True)
class _Named:
    """A named place with its door; `buildings` for estates."""

    name: str
    lng: float
    lat: float
    buildings: int


class Sayings:
    """The spots of one fictional district, ready to be named in many ways."""

    def __init__(self, fiction: Fiction, *, seed: int) -> None:
        """Draw the spots that complaints are about; more where more people live or shop."""
        chance = np.random.default_rng((seed, 3))
        doors, places = fiction.doors, fiction.places
        weight = (fiction.households + 60.0)[doors.cell]
        pool = chance.choice(len(doors.road), size=min(_POOL, len(doors.road) * 3), p=weight / weight.sum())
        town_names = dict(zip(fiction.town_code, fiction.towns, strict=True))
        communities = dict(zip(fiction.community_code, fiction.communities, strict=True))
        self._spots = [
            self._spot(fiction, int(i), town_names=town_names, communities=communities) for i in pool.tolist()
        ]
        cells = doors.cell[pool]
        estate = places.buildings > 0
        self._estate = _nearest(cells, places.cell, np.flatnonzero(estate), chance)
        self._place = _nearest(cells, places.cell, np.flatnonzero(~estate), chance)
        self._named = [
            _Named(name, lng, lat, buildings)
            for name, (lng, lat), buildings in zip(
                places.name, places.lng_lat.tolist(), places.buildings.tolist(), strict=True
            )
        ]
        self._place_cell = [fiction.cell_code[i] for i in places.cell.tolist()]
        self._crossing = fiction.crossing.tolist()
        self._crossing_at = fiction.crossing_lng_lat.tolist()
        self._roads = fiction.roads
        others, here = Names(seed + 1), {*fiction.roads}
        self._elsewhere = [name for name in (others.road(main=True) for _ in range(200)) if name not in here]
        self._junction = _junctions(fiction, np.array([(s.lng, s.lat) for s in self._spots]))
        self._chance = chance

    @staticmethod
    def _spot(fiction: Fiction, door: int, *, town_names: dict[str, str], communities: dict[str, str]) -> _Spot:
        doors = fiction.doors
        cell = fiction.cell_code[doors.cell[door]]
        lng, lat = doors.lng_lat[door].tolist()
        return _Spot(
            road=fiction.roads[doors.road[door]],
            number=int(doors.number[door]),
            lng=lng,
            lat=lat,
            cell=cell,
            town=town_names[cell[:9]],
            town_code=cell[:9],
            community=communities[cell[:12]].removesuffix("居委会"),
        )

    def draw(self, count: int) -> list[int]:
        """Return `count` indices of spots."""
        drawn: list[int] = self._chance.integers(len(self._spots), size=count).tolist()
        return drawn

    def ways(self, count: int, *, nowhere: float, outside: float) -> list[str]:
        """Return `count` ways to name a place, `none` and `outside` among them."""
        inside = 1 - nowhere - outside
        total = sum(WAYS.values())
        shares = [nowhere, outside, *(share / total * inside for share in WAYS.values())]
        drawn: list[str] = self._chance.choice(["none", "outside", *WAYS], size=count, p=shares).tolist()
        return drawn

    def say(self, index: int, way: str, u: tuple[float, float, float], *, damaged: bool) -> Said:
        """Return a spot named in one way; `u` are chances in [0, 1). Falls back to road and number."""
        spot = self._spots[index]
        if way == "none":
            return Said("", "unlocatable", way)
        if way == "outside":
            # Elsewhere has roads of its own, and now and then one of the same name.
            road = spot.road if u[1] < _SAME_NAME else self._elsewhere[int(u[2] * len(self._elsewhere))]
            return Said(f"{OUTSIDE[int(u[0] * len(OUTSIDE))]}{road}{spot.number}号", "outside", way)
        if way == "town":
            return Said(f"{spot.town}一带", "located", way, cell=None, town=spot.town_code)
        if way == "community":
            return Said(spot.community, "located", way, town=spot.town_code, community=spot.cell[:12])
        if way in ("estate", "place", "near"):
            named = self._say_named(index, spot, way, u, damaged=damaged)
            if named is not None:
                return named
        if way == "junction" and self._junction[index] >= 0:
            return self._say_junction(index, u, damaged=damaged)
        return _say_door(spot, way, u, damaged=damaged)

    def _say_named(
        self, index: int, spot: _Spot, way: str, u: tuple[float, float, float], *, damaged: bool
    ) -> Said | None:
        at = (self._estate if way == "estate" else self._place)[index]
        if at < 0:
            return None
        place = self._named[at]
        name = _damage(place.name, u[2]) if damaged else place.name
        if way == "estate":
            building = 1 + int(u[0] * place.buildings)
            tail = ("栋", "号楼", f"栋{1 + building % 3}单元", "座")[int(u[1] * 4)]
            words = f"{name}{building}{tail}"
        elif way == "near":
            words = name + _NEAR[int(u[0] * len(_NEAR))]
        else:
            words = (name, f"{spot.town}{name}", f"{spot.community}的{name}")[int(u[1] * 3)]
        return Said(
            words, "located", way, place.lng, place.lat, self._place_cell[at], spot.town_code, name != place.name
        )

    def _say_junction(self, index: int, u: tuple[float, float, float], *, damaged: bool) -> Said:
        crossing = self._junction[index]
        one, two = (self._roads[road] for road in self._crossing[crossing])
        if u[0] < 0.5:
            one, two = two, one
        said = _damage(one, u[2]) if damaged else one
        words = said + ("与", "和", "跟")[int(u[1] * 3)] + two + ("交叉口", "路口", "交汇处", "十字路口")[int(u[2] * 4)]
        lng, lat = self._crossing_at[crossing]
        # Four cells meet in a junction, perhaps of two towns.
        return Said(words, "located", "junction", lng, lat, None, None, said != one)


def _say_door(spot: _Spot, way: str, u: tuple[float, float, float], *, damaged: bool) -> Said:
    road = _damage(spot.road, u[2]) if damaged else spot.road
    if way == "full":
        head = (f"{CITY}{NAME}{spot.town}", f"{NAME}{spot.town}", f"{spot.town}{spot.community}", CITY + NAME)
        words = f"{head[int(u[0] * 4)]}{road}{spot.number}号"
    elif way == "numeral":
        words = f"{road}{_chinese(spot.number)}号"
        way = "numeral"
    else:
        words = (f"{road}{spot.number}号", f"{road} {spot.number} 号", f"{road}{spot.number}号门前")[int(u[1] * 3)]
        way = "road"
    return Said(words, "located", way, spot.lng, spot.lat, spot.cell, spot.town_code, road != spot.road)


_NUMERALS: Final[dict[int, str]] = {}


def _chinese(number: int) -> str:
    """Return a number in Chinese numerals, as spoken."""
    found = _NUMERALS.get(number)
    if found is None:
        found = _NUMERALS[number] = str(cn2an.an2cn(str(number)))
    return found


def _damage(name: str, u: float) -> str:
    """Return a name with one character mistaken for one that sounds alike, dropped or doubled; never the ending."""
    body = max(len(name) - 2, 1)
    at = int(u * body)
    wrong = _MISTAKE.get(name[at])
    if wrong:
        return name[:at] + wrong + name[at + 1 :]
    if len(name) > 4 and u * body % 1 < 0.5:
        return name[:at] + name[at + 1 :]
    return name[: at + 1] + name[at] + name[at + 1 :]


def _nearest(cells: Any, place_cell: Any, places: Any, chance: np.random.Generator) -> list[int]:
    """Return, for each spot's cell, a random one of the places there; -1 where there is none."""
    order = places[np.argsort(place_cell[places], kind="stable")]
    first = np.searchsorted(place_cell[order], cells, side="left")
    last = np.searchsorted(place_cell[order], cells, side="right")
    drawn = first + (chance.random(len(cells)) * (last - first)).astype(np.int64)
    found = np.where(last > first, order[np.minimum(drawn, max(len(order) - 1, 0))] if len(order) else -1, -1)
    nearest: list[int] = found.tolist()
    return nearest


def _junctions(fiction: Fiction, spots: Any) -> list[int]:
    """Return the crossing nearest to each spot; -1 where the district has none."""
    import shapely

    if not len(fiction.crossing):
        return [-1] * len(spots)
    tree = shapely.STRtree(shapely.points(fiction.crossing_lng_lat))
    nearest: list[int] = tree.nearest(shapely.points(spots)).tolist()
    return nearest

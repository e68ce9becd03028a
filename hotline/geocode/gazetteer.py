"""The names of one district, indexed: places, roads with their numbers, areas, and names that mean elsewhere.

Built once per process from plain rows and then only read; a district of 200,000 names takes seconds. Knows nothing of
sentences: what a text means by the names in it is the geocoder's business.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import ahocorasick
import numpy as np
import rjieba
import shapely

from core.datums import Plane
from hotline.geocode.addresses import Reading, is_plain_road, read_address, road_names
from hotline.geocode.model import AreaEntry, Entry
from hotline.geocode.roads import APART_M, APART_PLAIN_M, Road, Sightings, Spot
from hotline.geocode.writing import PLACE_END, house_number, normalise

#: Places of one name within this distance are one site.
_SITE_M = 350.0
#: No place is larger than this: a part that lies further away belongs to another of the same name.
_WHOLE_M = 4000.0
#: A name with more rows than this is a chain; the rest of its rows are not looked at.
_CHAIN = 60

_PARTS = re.compile(r".{2,}?(?:省|自治区|市|自治州|州|盟|地区)")
#: What makes a name that of a division: 杭州市, 西湖区.
_RANK_END = re.compile(
    r"(?:特别行政区|(?:壮族|回族|维吾尔)?自治区|(?:[一-鿿]{1,3}族)*自治[州县旗]|地区|林区|新区|省|市|区|县|州|盟|旗)$"
)
#: Heads that sources leave on a road when they cut an address badly.
_LEFT_OVER = re.compile(r"^(?:街道|[镇区](?=.{3}))+")
_BRANCH = re.compile(r"(?P<base>[^()]{2,})\((?P<inner>[^()]{2,})\)")
_BRANCH_END = re.compile(r"(?:分店|总店|专卖店|旗舰店|体验店|直营店|店|分行|支行|营业部|专柜)$")
_GATE = re.compile(r"(?:[东南西北正侧后]?\d*门|出?入?口|出入口|\d+号.*|.*[栋座楼区期])$")
_ENDS_AS_PLACE = re.compile(rf"(?:{PLACE_END})$")
#: What covers more ground than a point tells.
_WIDE = re.compile(r"(?:村|社区|工业园|工业区|产业园|科技园|园区|基地|风景区|山)$")
_COMMUNITY_END = re.compile(r"(?:社区居民委员会|社区居委会|村民委员会|居民委员会|居委会|村委会|社区|村)$")
_TOWN_END = re.compile(r"(?:街道办事处|街道|镇|乡)$")
#: Words that by themselves name nothing in particular.
_COMMON = re.compile(
    r"(?:公共|老人|老年人?|活动|文化|综合|综合性|健身|休闲|社区|村|小区|居民|党群|服务|警务|治安|联防|停车|停车场|出入口|入口|出口|卫生|公厕|厕所|"
    r"洗手间|公园|广场|中心|站|室|点|馆|厅|场|地下|东|南|西|北|门|号|楼|座|栋|大|小|新|老|市场|超市|便利店|药店|幼儿园|小学|中学|学校|"
    r"医院|门诊|诊所|派出所|居委会|村委会|篮球|足球|羽毛球|球场|游泳|池|垃圾|收集|转运|驿站|读书|图书|充电|桩|公交|牌坊|凉亭|亭|"
    r"祠堂|工业区|工业园|宿舍|食堂|仓库|酒店|宾馆|餐厅|美食|银行|中国|我的|人民|政府|办事处|大厦|花园|[a-z0-9一二三四五六七八九十])+"
)
#: Words that many a place carries: 儿童公园 and 家具广场 stand in every city.
_EVERYWHERE = re.compile(
    rf"(?:{_COMMON.pattern}|儿童|体育|湿地|城市|时代|市民|文体|生态|家具|家居|建材|商业|购物|娱乐|五金|电器|汽车|服装|水果|农贸|批发|国际)+"
)


@dataclass(slots=True)
class Site:
    """One spot that a name stands for; several rows may agree on it."""

    x: float
    y: float
    spread_m: float
    rows: int
    town_code: str
    community_code: str | None
    name: str
    derived: bool = False
    #: How often the spot is right when the name is meant: landmarks read from one neighbour's address err.
    sure: float = 1.0

    @property
    def radius_m(self) -> float:
        """Return a radius that holds the site."""
        least = 400.0 if _WIDE.search(self.name) else 150.0 if self.derived else 80.0
        return max(least, 1.3 * self.spread_m)


@dataclass(slots=True)
class Name:
    """Everything that one string can mean."""

    text: str
    #: Indices into the gazetteer's rows.
    rows: list[int] = field(default_factory=list)
    #: Points known only from neighbours' addresses, with the town.
    derived: list[tuple[float, float, str]] = field(default_factory=list)
    roads: list[Road] = field(default_factory=list)
    areas: list[AreaEntry] = field(default_factory=list)
    #: The name of a place outside the district, and whether it lacks its rank: 杭州 for 杭州市.
    outside: bool = False
    short: bool = False
    #: 0 to 1: how surely these characters in a text are this name and not ordinary words.
    distinct: float = 0.0
    #: A road's name that many roads have.
    plain: bool = False
    #: The name ends as names of estates, parks and schools do.
    fixed: bool = False
    #: Worked out by `Gazetteer.sites` at the first question.
    sites: list[Site] | None = None


class Gazetteer:
    """The names of one district and where they are."""

    def __init__(
        self,
        entries: Iterable[Entry],
        areas: Iterable[AreaEntry],
        *,
        district: str,
        city: str = "",
        boundary: shapely.Geometry | None = None,
        outside: Iterable[str] = (),
    ) -> None:
        """Index the rows.

        district, city: names as residents write them, `南海区` and `佛山市` or `广东省佛山市`.
        boundary: EPSG:4490; not needed, but an answer beyond it is never given where it is there.
        outside: names of districts, cities and provinces elsewhere; those that are also names here are dropped.
        """
        self.rows = list(entries)
        self.areas = list(areas)
        self.district = normalise(district)
        #: City, province and whatever else a resident may put before an address.
        self.cities = _PARTS.findall(normalise(city))
        self.boundary = boundary
        lng_lat = np.array([(row.lng, row.lat) for row in self.rows], dtype=np.float64).reshape(-1, 2)
        middle = np.median(lng_lat, axis=0) if len(self.rows) else _middle_of(self.areas)
        #: The plane on which all distances are reckoned.
        self.plane = Plane.at(float(middle[0]), float(middle[1]))
        self.xy: list[Spot] = [(float(x), float(y)) for x, y in self.plane.to_metres(lng_lat)]
        self.names: dict[str, Name] = {}
        #: Provinces and cities elsewhere without their rank: 浙江, 杭州.
        self.short_cities: set[str] = set()
        #: Known junctions by the two roads' names in order.
        self.junctions: dict[tuple[str, str], list[Spot]] = {}
        self._seen: dict[str, Sightings] = {}
        #: The names of a road by the phrase that a source writes.
        self._phrases: dict[str, list[str]] = {}
        #: Points of the parts of large places, by the whole's name: `XX风景区-YY亭` lies in XX风景区.
        self._parts: dict[str, list[Spot]] = {}
        self._add_areas()
        self._prefixes = self._prefix_pattern()
        #: Other names that people gave: what two persons agreed on is a name, common words or not.
        self._given = {normalise(alias) for row in self.rows for alias in row.aliases}
        #: Last-level types are common words: nobody is at a place that is called only 停车场.
        self._types = {normalise(part) for row in self.rows for part in row.category.split(";") if part}
        for index, row in enumerate(self.rows):
            self._add_row(index, row)
        self._join_suffixes()
        for seen in self._seen.values():
            apart = APART_PLAIN_M if is_plain_road(seen.name) else APART_M
            self._name(seen.name).roads = seen.roads(apart)
        self._add_outside(outside)
        for name in self.names.values():
            self._weigh(name)
        self.ordered = [name for name in self.names.values() if name.distinct > 0]
        self.automaton = self._automaton()
        # What only the building needed is let go: a process keeps a gazetteer for days.
        self._seen.clear()
        self._phrases.clear()

    def sites(self, name: Name) -> list[Site]:
        """Return the spots that a name stands for, those with most rows first; worked out at the first question."""
        if name.sites is None:
            name.sites = self._sites_of(name)
        return name.sites

    def without_areas(self, text: str) -> str:
        """Return a name without the city, district and town before it, where it is known by that too."""
        shorter = self._prefixes.sub("", text, count=1)
        return shorter if shorter in self.names else text

    def spot_of(self, area: AreaEntry) -> tuple[float, float, float] | None:
        """Return x, y and a radius in metres that holds most of an area; None where nobody knows where it is."""
        if area.polygon is not None and not area.polygon.is_empty:
            inner = area.polygon.representative_point()
            ((x, y),) = self.plane.to_metres([(inner.x, inner.y)])
            west, south, east, north = area.polygon.bounds
            wide, high = (east - west) * self.plane.per_lng, (north - south) * self.plane.per_lat
            return float(x), float(y), math.hypot(wide, high) / 2
        if area.lng is None or area.lat is None:
            return None
        ((x, y),) = self.plane.to_metres([(area.lng, area.lat)])
        return float(x), float(y), 1000.0 if area.level == "community" else 4000.0

    def _add_areas(self) -> None:
        for area in self.areas:
            stem = (_TOWN_END if area.level == "town" else _COMMUNITY_END).sub("", normalise(area.name))
            forms = {normalise(area.name), *(normalise(alias) for alias in area.aliases)}
            if area.level == "community":
                forms |= {stem + end for end in ("社区", "村", "居委会", "村委会", "社区居委会")}
            # A bare stem of two characters is a word too often (东二, 新城) to stand for a community.
            if len(stem) >= (2 if area.level == "town" else 3):
                forms.add(stem)
            for form in forms:
                if len(form) >= 2:
                    self._name(form).areas.append(area)

    def _prefix_pattern(self) -> re.Pattern[str]:
        """Return the pattern of what may stand before an address proper: city, district, town."""
        towns = [normalise(area.name) for area in self.areas if area.level == "town"]
        stems = [_TOWN_END.sub("", name) for name in towns]
        parts = sorted({*towns, self.district, *self.cities} - {""}, key=len, reverse=True)
        known = "|".join(map(re.escape, parts)) or "(?!)"
        # A bare stem may begin a road's own name: 里水大道 must not lose its head.
        bare = "|".join(map(re.escape, sorted(set(stems) - {""}))) or "(?!)"
        return re.compile(rf"^(?:[一-鿿]{{2,3}}省)?(?:{known}|(?:{bare})(?!.{{0,2}}[路街道])|街道|镇(?=.))*")

    def _add_row(self, index: int, row: Entry) -> None:
        for form in self._forms(index, row):
            rows = self._name(form).rows
            if not rows or rows[-1] != index:
                rows.append(index)
        spot = self.xy[index]
        if row.road and row.house_no:
            number = house_number(row.house_no)
            self._add_to_road(normalise(row.road), row.town_code, number, spot)
            reading = read_address(row.address, self._prefixes) if row.address else Reading()
        elif row.address:
            reading = read_address(row.address, self._prefixes)
            if reading.road:
                self._add_to_road(reading.road, row.town_code, reading.number, spot)
        else:
            return
        origin = (spot[0] - reading.offset[0], spot[1] - reading.offset[1])
        if reading.junction:
            one, two = sorted(reading.junction)
            self.junctions.setdefault((one, two), []).append(origin)
            for road in (one, two):
                self._sighting(road).add(None, origin, row.town_code)
        if reading.landmark:
            self._name(reading.landmark).derived.append((*origin, row.town_code))

    def _forms(self, index: int, row: Entry) -> set[str]:
        """Return the spellings under which a row's name is looked for."""
        forms: set[str] = set()
        for given in (row.name, *row.aliases):
            full = normalise(given)
            if len(full) < 2:
                continue
            forms |= {full, full.replace("(", "").replace(")", "")}
            if found := _BRANCH.match(full):
                base, inner = found["base"], _BRANCH_END.sub("", found["inner"])
                forms.add(base)
                if inner != found["inner"] and len(inner) >= 3 and _ENDS_AS_PLACE.search(inner):
                    self._name(inner).derived.append((*self.xy[index], row.town_code))
            whole, dash, _ = full.partition("-")
            if dash and len(whole) >= 4:
                self._parts.setdefault(whole, []).append(self.xy[index])
            shorter = self._prefixes.sub("", full, count=1)
            if len(shorter) >= 4:
                forms.add(shorter)
        return forms

    def _add_to_road(self, phrase: str, town: str, number: int | None, spot: Spot) -> None:
        names = self._phrases.get(phrase)
        if names is None:
            cleaned = _LEFT_OVER.sub("", self._prefixes.sub("", phrase, count=1) or phrase)
            found = (_LEFT_OVER.sub("", self._prefixes.sub("", one, count=1) or one) for one in road_names(cleaned))
            names = self._phrases[phrase] = sorted({name for name in found if len(name) > 1} or {cleaned})
        for name in names:
            self._sighting(name).add(number, spot, town)

    def _sighting(self, name: str) -> Sightings:
        seen = self._seen.get(name)
        if seen is None:
            seen = self._seen[name] = Sightings(name)
        return seen

    def _join_suffixes(self) -> None:
        """Give a road the points of phrases that end with its name: 黄岐广佛路 is 广佛路, if it lies there too."""
        for name, seen in list(self._seen.items()):
            for start in range(1, len(name) - 2):
                target = self._seen.get(name[start:])
                if target is not None and not is_plain_road(target.name):
                    mine = set(target.spots)
                    for number, spot, town in zip(seen.numbers, seen.spots, seen.towns, strict=True):
                        if spot not in mine:
                            target.add(number, spot, town)
                    break

    def _add_outside(self, outside: Iterable[str]) -> None:
        ours = {self.district, *self.cities}
        given = sorted({normalise(name) for name in outside} - ours)
        for name in given:
            # A province says little: companies and schools everywhere carry its name.
            if len(name) >= 3 and not name.endswith(("省", "自治区")) and name not in self.names:
                self._name(name).outside = True
        stems = {_RANK_END.sub("", name) for name in ours}
        for name in given:
            short = _RANK_END.sub("", name)
            if 2 <= len(short) < len(name) and short not in stems:
                if name.endswith(("省", "自治区", "市", "州", "盟", "地区")):
                    self.short_cities.add(short)
                if short not in self.names:
                    self._name(short).short = True

    def _name(self, text: str) -> Name:
        name = self.names.get(text)
        if name is None:
            name = self.names[text] = Name(text)
        return name

    def _weigh(self, name: Name) -> None:
        """Set how surely the characters of a name in a text mean it."""
        text = name.text
        name.fixed = bool(_ENDS_AS_PLACE.search(text))
        if name.areas or name.outside or name.short:
            name.distinct = 1.0
        elif name.roads and len(text) >= 3:
            name.plain = is_plain_road(text)
            name.distinct = 0.4 if name.plain else 0.9
        elif not name.rows and name.derived and not name.roads:
            # A landmark that one address alone leans on may be a misreading.
            sure = 0.75 if len(name.derived) > 1 else 0.55
            word = len(text) < 3 or _COMMON.fullmatch(text) or len(rjieba.cut(text)) == 1
            name.distinct = 0.0 if word else sure
        elif name.rows:
            by_length = {2: 0.25, 3: 0.65, 4: 0.82}.get(len(text), 0.92)
            if text in self._types or _COMMON.fullmatch(text):
                by_length = 0.12
            elif _EVERYWHERE.fullmatch(text):
                by_length = min(by_length, 0.5)
            elif not name.fixed:
                by_length *= 0.85
            if len(text) <= 4 and not name.fixed and len(rjieba.cut(text)) == 1:
                # A dictionary word is more often meant as the word than as the shop that borrowed it.
                by_length *= 0.4
            name.distinct = max(by_length, 0.75) if text in self._given and len(text) >= 3 else by_length

    def _automaton(self) -> Any:
        automaton = ahocorasick.Automaton(ahocorasick.STORE_INTS)
        for index, name in enumerate(self.ordered):
            automaton.add_word(name.text, index)
        automaton.make_automaton()
        return automaton

    def _sites_of(self, name: Name) -> list[Site]:
        groups: list[tuple[list[Spot], str, str | None, str]] = []
        spots = [
            (self.xy[i], self.rows[i].town_code, self.rows[i].community_code, self.rows[i].name)
            for i in name.rows[:_CHAIN]
        ]
        derived = not spots
        if derived:
            spots = [((x, y), town, None, name.text) for x, y, town in name.derived[:_CHAIN]]
        for spot, town, community, shown in spots:
            for members, *_ in groups:
                if math.hypot(spot[0] - members[0][0], spot[1] - members[0][1]) <= _SITE_M:
                    members.append(spot)
                    break
            else:
                groups.append(([spot], town, community, shown if not derived else name.text))
        sites = []
        for members, town, community, shown in groups:
            x, y = median(spot[0] for spot in members), median(spot[1] for spot in members)
            spread = max(math.hypot(px - x, py - y) for px, py in members)
            for px, py in self._parts.get(name.text, ()):
                if math.hypot(px - x, py - y) < _WHOLE_M:
                    spread = max(spread, math.hypot(px - x, py - y))
            label = shown if len(members) == 1 else name.text
            sites.append(Site(x, y, spread, len(members), town, community, label, derived))
        sites.sort(key=lambda site: -site.rows)
        return sites


def _middle_of(areas: list[AreaEntry]) -> tuple[float, float]:
    """Return a point amid the areas, for a gazetteer without rows."""
    shapes = [area.polygon for area in areas if area.polygon is not None]
    if shapes:
        west, south, east, north = shapely.total_bounds(shapes)
        return (west + east) / 2, (south + north) / 2
    points = [(area.lng, area.lat) for area in areas if area.lng is not None and area.lat is not None]
    return points[0] if points else (113.0, 23.0)

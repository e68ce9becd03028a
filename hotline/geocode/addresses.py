"""What an address in the gazetteer tells beside its own point: road, number, junction, and landmarks it leans on.

`XX路与YY路交叉口东80米` tells where a junction is, `XX花园南侧约100米` where an estate is: housing is sparse in place
lists but people complain from home. Reads the registers' addresses, never the texts of residents.
"""

import re
from dataclasses import dataclass

from hotline.geocode.writing import PLACE_END, ROAD_END, normalise, to_number

#: Steps in metres of the eight directions, east and north.
_DIRECTIONS = {
    "东": (1.0, 0.0),
    "南": (0.0, -1.0),
    "西": (-1.0, 0.0),
    "北": (0.0, 1.0),
    "东南": (0.7, -0.7),
    "东北": (0.7, 0.7),
    "西南": (-0.7, -0.7),
    "西北": (-0.7, 0.7),
}
_OFFSET = r"(?:往)?(?P<way>东南|东北|西南|西北|东|南|西|北)(?:侧|方向|面|边)?(?:约)?(?P<far>\d{1,4})米"
_JUNCTION = re.compile(
    rf"(?P<one>.{{2,14}}?)(?:与|和)(?P<two>.{{2,14}}?)(?:交叉口|交叉路口|交汇处|交界处|路口)(?:处)?(?:{_OFFSET})?"
)
_NUMBERED = re.compile(rf"(?P<road>[^()号]{{1,24}}?{ROAD_END})(?P<no>\d{{1,5}})(?:[-之]\d+)?[a-z]?号(?P<rest>.*)")
_LEANING = re.compile(rf"(?P<mark>.{{3,16}}?){_OFFSET}$")
_ON_ROAD = re.compile(rf"(?P<road>[^()]{{1,12}}?{ROAD_END})(?P<rest>.*)")
#: After these a new name may begin inside a road phrase.
_CUT = re.compile(
    r"社区|工业区|园区|小区|开发区|高新区|基地|居委会|广场|街道|新城|(?<=.)村|镇|(?<=..)[路街道](?=..)|市场|[一-鿿]城(?=..[^路街道])|区(?=..)"
)
_ROAD = re.compile(rf".+?{ROAD_END}")
_PLAIN = re.compile(rf"[一二三四五六七八九十\d东南西北中大新正横直上下前后内外村工业中心街路巷队]*{ROAD_END}")
_MARK = re.compile(rf"[^0-9a-z()、,,.;/#-]{{1,12}}?(?:{PLACE_END})(?![一-鿿]{{0,2}}(?:店|公司))")
_FLOOR = re.compile(r"(?:首层|负?[一二三四五六七八九十\d]+[层楼]|附近|旁|内|对面|地下|商铺|铺|f\d|b\d).*$")


@dataclass(frozen=True, slots=True)
class Reading:
    """What one address says; names are normalised."""

    #: The road's phrase as written, empty for none.
    road: str = ""
    number: int | None = None
    #: The two roads of a junction, else None.
    junction: tuple[str, str] | None = None
    #: A named thing that the address leans on.
    landmark: str = ""
    #: Metres east and north from the junction or landmark to the address's point.
    offset: tuple[float, float] = (0.0, 0.0)


def read_address(address: str, prefixes: re.Pattern[str]) -> Reading:
    """Return what an address says. `prefixes` matches the names of district and towns that may stand before it."""
    text = prefixes.sub("", normalise(address), count=1)
    if found := _JUNCTION.match(text):
        one, two = road_names(found["one"]), road_names(found["two"])
        if one and two:
            return Reading(junction=(one[-1], two[-1]), offset=_offset(found))
    if found := _NUMBERED.match(text):
        return Reading(road=found["road"], number=to_number(found["no"]), landmark=_landmark(found["rest"]))
    if found := _LEANING.match(text):
        mark, offset = found["mark"], _offset(found)
        road = _ON_ROAD.match(mark)
        if road and len(road["rest"]) >= 3:
            return Reading(road=road["road"], landmark=_landmark(road["rest"], whole=True), offset=offset)
        return Reading(landmark=_landmark(mark, whole=True), offset=offset)
    if found := _ON_ROAD.match(text):
        return Reading(road=found["road"], landmark=_landmark(found["rest"]))
    return Reading(landmark=_landmark(text))


def road_names(phrase: str) -> list[str]:
    """Return the names under which a road phrase may be looked up, the longest first, the road's own name last.

    Names that are only a number or a common word (一路, 中心路, 大街) are left with what stands before them.
    """
    if not _ROAD.fullmatch(phrase):
        return []
    names = [phrase]
    for cut in _CUT.finditer(phrase):
        rest = phrase[cut.end() :]
        if len(rest) >= 3 and _ROAD.fullmatch(rest) and not _PLAIN.fullmatch(rest):
            names.append(rest)
    return names


def is_plain_road(name: str) -> bool:
    """Return whether a road's name is too common to tell one road from another within a town."""
    return bool(_PLAIN.fullmatch(name))


def _offset(found: re.Match[str]) -> tuple[float, float]:
    if not found["way"]:
        return (0.0, 0.0)
    east, north = _DIRECTIONS[found["way"]]
    return (east * float(found["far"]), north * float(found["far"]))


def _landmark(rest: str, *, whole: bool = False) -> str:
    """Return the name of what stands at the address, cut from what follows the number; empty where unclear."""
    rest = _FLOOR.sub("", rest).strip("()")
    found = _MARK.match(rest)
    if found is None or len(found[0]) < 3 or (whole and found.end() < len(rest)):
        return ""
    return found[0]

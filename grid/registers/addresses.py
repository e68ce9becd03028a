"""Addresses of homes as lists write them, taken apart: door, estate, building 栋, unit 单元, room 室. Knows no map."""

import re
import unicodedata
from functools import lru_cache
from typing import Final, NamedTuple

#: Building, unit and room at the end, in the ways that people write them.
_ENDING: Final = re.compile(
    r"(?P<building>[0-9A-Za-z]{1,4})\s*(?:栋|幢|座|号楼|楼|#|-|—)\s*"
    r"(?:(?P<unit>[0-9A-Za-z]{1,3})\s*(?:单元|梯|门|-|—)\s*)?"
    r"(?P<room>[0-9]{1,5}[A-Za-z]?)\s*(?:室|房|号房|户)?$"
)
_BUILDING: Final = re.compile(r"(?P<building>[0-9A-Za-z]{1,4})\s*(?:栋|幢|座|号楼|#)$")
_ROOM: Final = re.compile(r"(?P<room>[0-9]{1,5}[A-Za-z]?)\s*(?:室|房|号房|户)$")
_DOOR: Final = re.compile(r"^(?P<door>.*?[0-9]+(?:之[0-9]+)?号)(?P<rest>.*)$")
_SPACE: Final = re.compile(r"[\s,，、。．.·]+")


class Parts(NamedTuple):
    """An address taken apart; an empty text where it does not say."""

    #: Road with house number 道路门牌, such as 滨湖路18号.
    door: str
    #: Estate or place 小区.
    place: str
    building: str
    unit: str
    room: str


@lru_cache(maxsize=65536)
def parts(address: str) -> Parts:
    """Return an address taken apart; what no rule knows stays in `place`."""
    rest = _SPACE.sub("", unicodedata.normalize("NFKC", address)).upper()
    building = unit = room = ""
    if found := _ENDING.search(rest):
        building, unit, room = found["building"], found["unit"] or "", found["room"]
    elif found := _BUILDING.search(rest):
        building = found["building"]
    elif found := _ROOM.search(rest):
        room = found["room"]
    if found:
        rest = rest[: found.start()]
    door = ""
    if led := _DOOR.match(rest):
        door, rest = led["door"], led["rest"]
    return Parts(door, rest, _plain(building), _plain(unit), _plain(room))


def _plain(number: str) -> str:
    """Return a number without leading zeros: 03栋 is 3栋."""
    return number.lstrip("0") or number

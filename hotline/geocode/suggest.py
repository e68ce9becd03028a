"""Names as they are typed: by their beginning, by pinyin, by initials, and by what they contain; and what lies near.

Built once per process beside the geocoder, over the same gazetteer; a question costs about a millisecond at 200,000
names. Knows no sentences.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

import numpy as np
from pypinyin import Style, lazy_pinyin
from scipy.spatial import cKDTree

from hotline.geocode.gazetteer import Gazetteer, Name
from hotline.geocode.model import AreaEntry
from hotline.geocode.roads import Spot
from hotline.geocode.writing import normalise

#: Names that are looked at for one way of reading what was typed; ranges of a single letter are longer.
_MOST: Final = 150
#: Letters of a name that count when it is looked for by sound.
_HEARD: Final = 24
#: Spots of one name that are offered.
_SITES: Final = 3
_NUMBERED: Final = re.compile(r"(.*?\D)(\d{1,5})号?$")
_BETWEEN: Final = "\n"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One name that may be meant, with its spot."""

    name: str
    kind: Literal["place", "road", "address", "town", "community"]
    #: EPSG:4490.
    lng: float
    lat: float
    radius_m: float
    #: Empty where unknown.
    town_code: str


@dataclass(frozen=True, slots=True)
class Near:
    """A place or address of the register near a point."""

    name: str
    #: Road and number, or the address as written; empty where unknown.
    address: str
    metres: float
    lng: float
    lat: float


class Suggester:
    """Completes names over one gazetteer, and tells what lies near a point."""

    def __init__(self, gazetteer: Gazetteer) -> None:
        """Index the names; about a second for 200,000."""
        self._gazetteer = gazetteer
        # Names read from neighbours' addresses are for understanding, not for offering.
        self._names = sorted(
            (name for name in gazetteer.names.values() if name.rows or name.roads or name.areas),
            key=lambda name: name.text,
        )
        self._texts = [name.text for name in self._names]
        self._sounds, self._of_sounds = _sorted_keys("".join(map(_sound, text[:_HEARD])) for text in self._texts)
        self._initials, self._of_initials = _sorted_keys("".join(map(_initial, text[:_HEARD])) for text in self._texts)
        self._all = _BETWEEN.join(self._texts)
        self._starts = np.cumsum([0, *(len(text) + 1 for text in self._texts)])
        self._tree = cKDTree(np.array(gazetteer.xy)) if gazetteer.xy else None

    def suggest(self, typed: str, *, limit: int = 10) -> list[Suggestion]:
        """Return up to `limit` names for what was typed so far, the likeliest first; empty for nothing typed.

        The name itself comes first, then names that begin so, that sound so, whose initials are so, and that contain
        it; of equal ones the shorter. A road with a number is placed where the number is taken to be.
        """
        written = normalise(typed)[:40]
        found: list[Suggestion] = []
        if numbered := _NUMBERED.match(written):
            found += self._numbered(numbered[1], int(numbered[2]))
        seen: set[int] = set()
        for ranked in self._ways(written):
            for at in sorted(ranked - seen, key=lambda at: (len(self._texts[at]), self._texts[at])):
                # An area has several names: it is offered once.
                found += [one for one in self._spots(self._names[at]) if one not in found]
                if len(found) >= limit:
                    return found[:limit]
            seen |= ranked
        return found[:limit]

    def near(self, lng: float, lat: float, *, limit: int = 5, within_m: float = 1000.0) -> list[Near]:
        """Return what the register knows within a distance of a point in EPSG:4490, the nearest first."""
        if self._tree is None:
            return []
        gazetteer = self._gazetteer
        ((x, y),) = gazetteer.plane.to_metres([(lng, lat)])
        away, rows = self._tree.query((x, y), k=min(limit, len(gazetteer.rows)), distance_upper_bound=within_m)
        found = []
        for metres, at in zip(np.atleast_1d(away).tolist(), np.atleast_1d(rows).tolist(), strict=True):
            if not np.isfinite(metres):
                continue
            row = gazetteer.rows[at]
            address = f"{row.road}{row.house_no}号" if row.road and row.house_no else row.address
            found.append(Near(row.name or address, address, round(metres, 1), row.lng, row.lat))
        return found

    def _ways(self, written: str) -> Iterator[set[int]]:
        """Yield the names that each way of reading gives, the surest way first."""
        if not written:
            return
        first = bisect_left(self._texts, written)
        yield {first} if first < len(self._texts) and self._texts[first] == written else set()
        yield set(range(first, min(first + _MOST, _after(self._texts, written, first))))
        letters = written.replace("'", "")
        if letters.isascii() and letters.isalnum():
            for keys, order in ((self._initials, self._of_initials), (self._sounds, self._of_sounds)):
                start = bisect_left(keys, letters)
                yield set(order[start : min(start + _MOST, _after(keys, letters, start))])
        if len(written) > 1:
            yield self._containing(written)

    def _containing(self, written: str) -> set[int]:
        found: set[int] = set()
        at = self._all.find(written)
        while at >= 0 and len(found) < _MOST:
            index = int(np.searchsorted(self._starts, at, side="right")) - 1
            found.add(index)
            at = self._all.find(written, int(self._starts[index + 1]))
        return found

    def _numbered(self, road: str, number: int) -> Iterator[Suggestion]:
        name = self._gazetteer.names.get(road)
        for one in (name.roads if name else [])[:_SITES]:
            estimate = one.at(number)
            if estimate is not None:
                town = one.towns.most_common(1)[0][0] if one.towns else ""
                yield self._made(f"{road}{number}号", "address", (estimate.x, estimate.y), estimate.radius_m, town)

    def _spots(self, name: Name) -> Iterator[Suggestion]:
        for area in name.areas[:_SITES]:
            yield from self._area(area)
        for site in self._gazetteer.sites(name)[:_SITES] if name.rows else ():
            yield self._made(site.name, "place", (site.x, site.y), site.radius_m, site.town_code)
        for road in name.roads[:_SITES] if not name.rows else ():
            middle = road.middle()
            if middle is not None:
                town = road.towns.most_common(1)[0][0] if road.towns else ""
                yield self._made(name.text, "road", (middle.x, middle.y), middle.radius_m, town)

    def _area(self, area: AreaEntry) -> Iterator[Suggestion]:
        spot = self._gazetteer.spot_of(area)
        if spot is not None:
            yield self._made(area.name, area.level, spot[:2], spot[2], area.code[:9])

    def _made(
        self,
        name: str,
        kind: Literal["place", "road", "address", "town", "community"],
        spot: Spot,
        radius_m: float,
        town: str,
    ) -> Suggestion:
        plane = self._gazetteer.plane
        lng, lat = spot[0] / plane.per_lng + plane.lng, spot[1] / plane.per_lat + plane.lat
        return Suggestion(name, kind, lng, lat, round(radius_m, 1), town)


def _sorted_keys(keys: Iterator[str]) -> tuple[list[str], list[int]]:
    """Return keys in order, and for each the index of its name."""
    told = list(keys)
    order = sorted(range(len(told)), key=told.__getitem__)
    return [told[at] for at in order], order


def _after(keys: Sequence[str], prefix: str, start: int) -> int:
    """Return where keys that begin with a prefix end."""
    return bisect_left(keys, prefix + "\U0010ffff", lo=start)


@cache
def _sound(letter: str) -> str:
    """Return a letter's pinyin without tones; letters that are no Chinese stay."""
    return str(lazy_pinyin(letter, style=Style.NORMAL)[0]).lower() if "一" <= letter <= "鿿" else letter


def _initial(letter: str) -> str:
    return _sound(letter)[:1]

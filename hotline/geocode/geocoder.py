"""What place a text means: gathers clues, lets them support or contradict each other, and abstains rather than guess.

Pure and in process; bounded work for any text. A name alone is a weak clue: it counts as far as what stands around it
(town, road, number, other names) agrees, because a name automaton finds names in damaged addresses that are not meant.
"""

import math
import re
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import shapely

from core.datums import Plane
from hotline.geocode.damaged import Damaged
from hotline.geocode.gazetteer import Gazetteer, Name, Site
from hotline.geocode.model import Answer, AreaEntry, Kind, Match
from hotline.geocode.roads import Estimate, Road, meeting
from hotline.geocode.writing import (
    AFTER,
    BARE_NO,
    BEFORE,
    HOUSE_NO,
    PLACE_END,
    ROAD_END,
    normalise,
    root_of_road,
    to_number,
)

#: Below this a guess is not given.
LEAST = 0.22
#: Above this no damaged names are looked for.
_ENOUGH = 0.5
#: Clues of one text that are weighed against each other; the rest of a long text is not looked at.
_CLUES = 40
#: Two clues nearer than this, in metres, speak of the same place.
_SAME_M = 700.0

_JOINED = re.compile(r"(?:与|和|跟|、|/|-|交)$")
_CROSSING = re.compile(r"(?:的)?(?:交叉|路口|交界|交汇|十字|丁字|红绿灯|转角|拐角)")
#: A house number may be set apart from its road by these.
_FILLER = re.compile(r"(?:路段|段|辅路|上|的|,|門|门牌|沿线){1,2}$")
#: Names that their publisher scrambled, and provinces and cities spelt out.
_FOREIGN = re.compile(r"(?<![a-z0-9])[a-z]\d{0,2}[市县区州](?![a-z])|西地省|[一-鿿]{2}省[一-鿿]{2,3}市")
_CLAUSE = re.compile(r"[,.。!!??:;;\"“”'\n]+")
_PLACELIKE = re.compile(rf"(?:{PLACE_END}|{ROAD_END})|\d号")
_MATTER = re.compile(r"(?:位于|地址|地点|发生在|反映|投诉|举报|就在|坐落)[^,。]{0,6}$")


@dataclass(slots=True)
class _Clue:
    """One reading of one stretch of the text."""

    start: int
    end: int
    kind: Kind
    name: str
    x: float
    y: float
    radius: float
    confidence: float
    town: str
    community: str | None
    why: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Hits:
    """What the automaton found: non-overlapping names, areas, and the longest road that ends at each position."""

    names: list[tuple[int, int, Name]]
    areas: list[tuple[int, int, list[AreaEntry]]]
    roads: dict[int, tuple[int, Name]]
    outside: list[str]


class Geocoder:
    """Answers where a text means, over one gazetteer."""

    def __init__(self, gazetteer: Gazetteer) -> None:
        """Prepare for a gazetteer; the index of damaged names is built here too."""
        self.gazetteer = gazetteer
        self._plane: Plane = gazetteer.plane
        likely = [n for n in gazetteer.ordered if not n.outside and (n.distinct >= 0.5 or n.roads) and len(n.text) >= 3]
        self._likely = likely
        self._damaged = Damaged([name.text for name in likely])
        self._roots: dict[str, list[Road]] = {}
        for name in gazetteer.ordered:
            if name.roads:
                self._roots.setdefault(root_of_road(name.text), []).extend(name.roads)
        if gazetteer.boundary is not None:
            shapely.prepare(gazetteer.boundary)

    def locate(self, text: str) -> Answer:
        """Return where a text means, at most five matches, the likeliest first.

        Any text is taken; only its first `writing.LONGEST` characters are read. Never raises.
        """
        written = normalise(text)
        if not written:
            return Answer("unlocatable", (), "empty")
        hits = self._scan(written)
        towns, communities = _areas_of(hits)
        clues = self._addresses(written, hits) + self._junctions(written, hits)
        taken = [(clue.start, clue.end) for clue in clues]
        clues += self._named(written, hits, taken)
        clues = self._weigh(clues, towns, communities)
        if max((clue.confidence for clue in clues), default=0.0) < _ENOUGH:
            clues = self._weigh(clues + self._similar(written), towns, communities)
        foreign = hits.outside or [found[0] for found in [_FOREIGN.search(written)] if found]
        return self._answer(written, clues, hits, foreign)

    def _scan(self, written: str) -> _Hits:
        """Return the names in a text; of overlapping ones the longest."""
        ordered = self.gazetteer.ordered
        spans: list[tuple[int, int, Name]] = []
        roads: dict[int, tuple[int, Name]] = {}
        for last, index in self.gazetteer.automaton.iter(written):
            name = ordered[index]
            end = last + 1
            start = end - len(name.text)
            spans.append((start, end, name))
            if name.roads and (end not in roads or start < roads[end][0]):
                roads[end] = (start, name)
        spans.sort(key=lambda span: (span[0] - span[1], span[0]))
        taken = bytearray(len(written))
        names: list[tuple[int, int, Name]] = []
        areas: list[tuple[int, int, list[AreaEntry]]] = []
        outside: list[str] = []
        for start, end, name in spans:
            if any(taken[start:end]):
                continue
            taken[start:end] = b"\1" * (end - start)
            if name.outside:
                outside.append(name.text)
                continue
            if name.areas:
                areas.append((start, end, name.areas))
            if name.rows or name.derived or name.roads:
                names.append((start, end, name))
        names.sort(key=lambda span: span[0])
        return _Hits(names[: 3 * _CLUES], areas[: 3 * _CLUES], roads, outside)

    def _addresses(self, written: str, hits: _Hits) -> list[_Clue]:
        """Return the clues of roads that a house number follows."""
        clues: list[_Clue] = []
        if not hits.roads:
            return clues
        numbered: set[int] = set()
        if "号" in written:
            for found in HOUSE_NO.finditer(written):
                number = to_number(found["a"])
                end = found.start()
                if end not in hits.roads and (filler := _FILLER.search(written, max(0, end - 4), end)):
                    end = filler.start()
                if number is None or end not in hits.roads:
                    continue
                numbered.add(end)
                clues += self._numbered(hits.roads[end], found.end(), number, sure=1.0)
                if len(clues) > _CLUES:
                    return clues
        for end, road in hits.roads.items():
            if end not in numbered and (bare := BARE_NO.match(written, end)):
                clues += self._numbered(road, bare.end(), int(bare[1]) or 1, sure=0.7)
        return clues[:_CLUES]

    def _numbered(self, road: tuple[int, Name], end: int, number: int, *, sure: float) -> list[_Clue]:
        """Return one clue for each road of the name, in each town that has one."""
        start, name = road
        clues = []
        for one in name.roads:
            estimate = one.at(number)
            if estimate is not None:
                clues.append(self._from_estimate((start, end), one, estimate=estimate, number=number, sure=sure * name.distinct / 0.9))
        return clues

    def _from_estimate(
        self, span: tuple[int, int], road: Road, *, estimate: Estimate, number: int, sure: float
    ) -> _Clue:
        belief = {"address_exact": 0.9, "address_between": 0.75, "address_beyond": 0.6, "address_near": 0.55}
        confidence = belief.get(estimate.how, 0.4) * sure * (1.0 if estimate.radius_m < 400 else 0.85)
        detail: dict[str, Any] = {"road": road.name, "house_no": number}
        if estimate.how == "address_between":
            detail |= {"lower": estimate.lower, "upper": estimate.upper}
        elif estimate.how in ("address_beyond", "address_near"):
            detail |= {"nearest": estimate.lower}
        label = f"{road.name}{number}号"
        return _Clue(
            start, end, "address", label, estimate.x, estimate.y, estimate.radius_m, confidence,
            road.town_code, None, estimate.how, detail,
        )  # fmt: skip

    def _junctions(self, written: str, hits: _Hits) -> list[_Clue]:
        """Return the clues of two roads that are named as crossing."""
        spans = sorted((start, end, name) for end, (start, name) in hits.roads.items())
        clues: list[_Clue] = []
        for (start, end, one), (start2, end2, two) in pairwise(spans):
            if not (0 < start2 - end <= 2 and _JOINED.search(written[end:start2])):
                continue
            crossing = bool(_CROSSING.match(written, end2))
            clues += self._crossing(start, end2, (one, two), 0.85 if crossing else 0.6)
            if len(clues) > _CLUES:
                break
        return clues

    def _crossing(self, start: int, end: int, pair: tuple[Name, Name], sure: float) -> list[_Clue]:
        one, two = pair
        detail = {"road": one.text, "other": two.text}
        label = f"{one.text}与{two.text}交叉口"
        first, second = sorted((one.text, two.text))
        spots = self.gazetteer.junctions.get((first, second))
        if spots:
            x, y = (
                sorted(spot[0] for spot in spots)[len(spots) // 2],
                sorted(spot[1] for spot in spots)[len(spots) // 2],
            )
            spread = max(math.hypot(px - x, py - y) for px, py in spots)
            clue = _Clue(
                start, end, "junction", label, x, y, max(120.0, spread), sure, "", None, "junction_known", detail
            )
            return [clue]
        clues = []
        for road in one.roads[:6]:
            for other in two.roads[:6]:
                near = meeting(road, other)
                if near is not None:
                    believed = sure * (0.9 if near.radius_m < 300 else 0.6)
                    clues.append(
                        _Clue(start, end, "junction", label, near.x, near.y, near.radius_m, believed,
                              road.town_code, None, "junction_near", detail)
                    )  # fmt: skip
        clues.sort(key=lambda clue: clue.radius)
        return clues[:2]

    def _named(self, written: str, hits: _Hits, taken: list[tuple[int, int]]) -> list[_Clue]:
        """Return the clues of places and of roads without a number."""
        clues: list[_Clue] = []
        ends = {end for _, end, _ in hits.areas} | {end for _, end in taken} | {end for _, end, _ in hits.names}
        starts = {start for start, _, _ in hits.names} | {start for start, _ in taken}
        for start, end, name in hits.names:
            if any(start >= first and end <= last for first, last in taken):
                continue
            left = start == 0 or written[start - 1] in BEFORE or start in ends
            right = end == len(written) or written[end] in AFTER or end in starts
            trust = name.distinct * (1.0 if left else 0.6) * (1.0 if right else 0.75)
            if len(name.text) <= 3 and not (left and right):
                trust *= 0.5
            if name.rows or name.derived:
                clues += self._at_sites(start, end, name, trust)
            elif name.roads and not name.areas:
                clues += self._on_road(start, end, name, trust)
            if len(clues) > _CLUES:
                break
        return clues[:_CLUES]

    def _at_sites(self, start: int, end: int, name: Name, trust: float) -> list[_Clue]:
        sites: list[Site] = self.gazetteer.sites(name)
        share = 1.0 if len(sites) == 1 else 1.0 / len(sites) ** 0.8
        why = "place_named" if len(sites) == 1 else "place_one_of_several"
        return [
            _Clue(start, end, "alias" if site.derived else "place", site.name, site.x, site.y,
                  max(80.0, 1.3 * site.spread_m), trust * share, site.town_code, site.community_code, why, {"name": site.name})
            for site in sites[:6]
        ]  # fmt: skip

    def _on_road(self, start: int, end: int, name: Name, trust: float) -> list[_Clue]:
        clues = []
        for road in name.roads:
            middle = road.middle()
            if middle is not None:
                confidence = trust * (0.5 if middle.radius_m < 600 else 0.35) / len(name.roads) ** 0.8
                clues.append(
                    _Clue(start, end, "road", road.name, middle.x, middle.y, middle.radius_m, confidence,
                          road.town_code, None, "road_named", {"road": road.name})
                )  # fmt: skip
        return clues

    def _similar(self, written: str) -> list[_Clue]:
        """Return the clues of names that stretches of the text resemble."""
        clues: list[_Clue] = []
        at, tried = 0, 0
        for clause in _CLAUSE.split(written):
            offset = written.find(clause, at)
            at = offset + len(clause)
            if len(clause) < 3 or not _PLACELIKE.search(clause):
                continue
            tried += 1
            if tried > 6:
                break
            clues += self._resembling(clause[:48], offset)
        return clues

    def _resembling(self, clause: str, offset: int) -> list[_Clue]:
        clues: list[_Clue] = []
        for like in self._damaged.find(clause, least=0.65):
            name = self._likely[like.index]
            start, end = offset + like.start, offset + like.end
            stretch = clause[like.start : like.end]
            trust = name.distinct * (like.score - 0.25)
            detail = {"written": stretch, "name": name.text}
            if name.roads:
                found = HOUSE_NO.match(clause, like.end)
                number = to_number(found["a"]) if found else None
                if number is not None and found is not None:
                    for clue in self._numbered((start, name), offset + found.end(), number, sure=max(trust, 0.1)):
                        clues.append(replace(clue, why="road_similar", detail=detail | clue.detail))
                    continue
            made = (
                self._at_sites(start, end, name, trust)
                if name.rows or name.derived
                else self._on_road(start, end, name, trust)
            )
            why = "road_similar" if name.roads and not name.rows else "place_similar"
            clues += [replace(clue, why=why, detail=detail) for clue in made]
        return clues

    def _weigh(self, clues: list[_Clue], towns: set[str], communities: set[str]) -> list[_Clue]:
        """Return the clues with confidences after towns, communities and other clues have spoken."""
        weighed = []
        for clue in clues[: 2 * _CLUES]:
            confidence = clue.confidence
            if towns and clue.town:
                confidence = 1 - (1 - confidence) * 0.6 if clue.town in towns and confidence > 0.1 else confidence
                if clue.town not in towns:
                    confidence *= 0.35
            if communities and clue.community in communities:
                confidence = 1 - (1 - confidence) * 0.6
            weighed.append(replace(clue, confidence=confidence))
        return weighed

    def _answer(self, written: str, clues: list[_Clue], hits: _Hits, foreign: list[str]) -> Answer:
        """Return the verdict over all clues."""
        merged = _support(clues)
        best = merged[0].confidence if merged else 0.0
        ours = bool(hits.areas) or self._names_us(written)
        if foreign and not ours and best < 0.75:
            return Answer("outside", (), "elsewhere_named", {"name": foreign[0]})
        kept = [clue for clue in merged if clue.confidence >= LEAST]
        if not kept:
            kept = self._area_clues(hits)
        matches = tuple(match for clue in kept[:5] if (match := self._match(clue)) is not None)
        if matches:
            return Answer("located", matches, matches[0].why, matches[0].detail)
        return Answer("unlocatable", (), "too_vague" if merged else "nothing_named")

    def _names_us(self, written: str) -> bool:
        district, city = self.gazetteer.district, self.gazetteer.city
        return bool(district and district in written) or bool(city and city in written)

    def _area_clues(self, hits: _Hits) -> list[_Clue]:
        """Return clues for communities, or else towns, where nothing nearer is named."""
        found: dict[str, _Clue] = {}
        for start, end, areas in hits.areas:
            for area in areas:
                spot = self.gazetteer.spot_of(area)
                if spot is None:
                    continue
                x, y, radius = spot
                community = area.code if area.level == "community" else None
                confidence = (0.4 if community else 0.25) / len(areas) ** 0.8
                why = "community_named" if community else "town_named"
                found[area.code] = _Clue(
                    start,
                    end,
                    area.level,
                    area.name,
                    x,
                    y,
                    radius,
                    confidence,
                    area.code[:9],
                    community,
                    why,
                    {"name": area.name},
                )
        return sorted(found.values(), key=lambda clue: (clue.kind != "community", -clue.confidence))

    def _match(self, clue: _Clue) -> Match | None:
        """Return the clue as an answer; None where it lies beyond the district's boundary."""
        ((lng, lat),) = self._plane.to_degrees([(clue.x, clue.y)])
        boundary = self.gazetteer.boundary
        if (
            boundary is not None
            and not shapely.intersects_xy(boundary, lng, lat)
            and clue.kind not in ("town", "community")
        ):
            return None
        return Match(
            lng=float(lng), lat=float(lat), radius_m=round(clue.radius, 1), confidence=round(min(clue.confidence, 0.99), 3),
            kind=clue.kind, name=clue.name, town_code=clue.town, community_code=clue.community, why=clue.why, detail=clue.detail,
        )  # fmt: skip


def _areas_of(hits: _Hits) -> tuple[set[str], set[str]]:
    """Return the codes of the towns and of the communities that a text names."""
    towns = {area.code for _, _, areas in hits.areas for area in areas if area.level == "town"}
    communities = {area.code for _, _, areas in hits.areas for area in areas if area.level == "community"}
    if not towns:
        of_communities = {code[:9] for code in communities}
        towns = of_communities if len(of_communities) == 1 else set()
    return towns, communities


def _support(clues: list[_Clue]) -> list[_Clue]:
    """Return the clues, likeliest first, after those near each other have supported one another; near ones are one."""
    ranked = sorted(clues, key=lambda clue: -clue.confidence)[:_CLUES]
    result: list[_Clue] = []
    for clue in ranked:
        doubt = 1 - clue.confidence
        for other in ranked:
            apart = other.start >= clue.end or other.end <= clue.start
            if apart and math.hypot(other.x - clue.x, other.y - clue.y) < max(_SAME_M, min(other.radius, 1500)):
                doubt *= 1 - 0.6 * other.confidence
        result.append(replace(clue, confidence=min(1 - doubt, 0.97)))
    # Of clues for one spot the tightest strong one speaks; a rival elsewhere takes away from what is left.
    result.sort(key=lambda clue: (-round(clue.confidence, 1), clue.radius))
    merged: list[_Clue] = []
    for clue in result:
        if all(math.hypot(clue.x - kept.x, clue.y - kept.y) > 200 for kept in merged):
            merged.append(clue)
    if len(merged) > 1:
        rival = max(
            (clue.confidence for clue in merged[1:] if math.hypot(clue.x - merged[0].x, clue.y - merged[0].y) > 1000),
            default=0.0,
        )
        first = merged[0]
        if rival > 0.6 * first.confidence:
            merged[0] = replace(first, confidence=first.confidence * 0.7)
    return merged

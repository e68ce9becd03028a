"""What in a text may point to a place: house numbers, junctions, names, and names written wrongly.

Finds and places clues one by one; what they mean together is the geocoder's judgement.
"""

import math
import re
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median
from typing import Any, Literal

from hotline.geocode.damaged import Damaged, Likeness
from hotline.geocode.gazetteer import Gazetteer, Name
from hotline.geocode.model import AreaEntry, Kind
from hotline.geocode.roads import Estimate, Road, Spot, meeting
from hotline.geocode.writing import AFTER, BARE_NO, BEFORE, HOUSE_NO, PLACE_END, ROAD_END, root_of_road, to_number

#: Clues of one kind that are kept; the rest of a long text is not looked at.
MOST = 40
#: Clauses of a text in which damaged names are looked for, and how much of each.
_CLAUSES, _CLAUSE_LENGTH = 24, 48

_JOINED = re.compile(r"[与和跟、/交-]$")
_CROSSING = re.compile(r"(?:的)?(?:交叉|路口|交界|交汇|十字|丁字|红绿灯|转角|拐角)")
#: A house number may be set apart from its road by these.
_FILLER = re.compile(r"(?:路段|段|辅路|上|的|,|门牌|沿线){1,2}$")
#: What tells a slip from another name, in steps of logarithmic odds: where it starts, likeness, share of what tells the
#: name apart, and whether a name may begin and end there. By logistic regression on damaged names and on names that the
#: register lacks, in equal parts. What resembles counts for less than what is written.
_LIKENESS = (-10.0, 4.9, 5.9, 1.0, 2.7)
#: A letter replaced by one that sounds otherwise, in the same odds: names differ so from their neighbours.
_REPLACED = -1.5
_SIMILAR, _OFFERED = 0.75, 0.38
#: A name goes on: 某某广场-停车场, 某某大桥西(公交站); its buildings and what is said of where it is are no part of it.
_GOES_ON = re.compile(
    r"[东南西北]?(?:-(?!\d)|\((?![^()]{0,2}[\d一二三四五六七八九十]|[^()]{0,4}(?:栋|座|期|楼|附近|旁|对面|门口)))"
)
_CLAUSE = re.compile(r"[,.。!!??:;\"“”']+")
_PLACELIKE = re.compile(
    rf"(?:{PLACE_END}|{ROAD_END})|\d号|[镇乡]|街道|在|位于|门口|附近|旁边|隔壁|对面|经过|路过|这里|那里|这边|那边|呢度|嗰|投诉|反映|地点|地址"
)


@dataclass(slots=True)
class Clue:
    """One reading of one stretch of the text."""

    start: int
    end: int
    kind: Kind
    name: str
    #: Metres on the gazetteer's plane.
    x: float
    y: float
    radius: float
    confidence: float
    towns: tuple[str, ...]
    community: str | None
    why: str
    detail: dict[str, Any] = field(default_factory=dict)
    #: The course of a stretch, metres on the plane.
    line: tuple[Spot, ...] = ()
    #: How surely it is the place of the matter: 1 where nothing is said, less for homes and offices.
    role: float = 1.0
    #: The point was reckoned from other places, so that it need not agree with what is said of them.
    moved: bool = False
    #: What is found may be only a part of a longer name, which nobody knows: "edge" where a letter that seldom stands
    #: there joins it, "inside" where one does on either side, "part" in brackets or where the name goes on in them.
    held: Literal["", "edge", "inside", "part"] = ""
    #: How much more or less likely than others of its name it is beforehand, as a road with many known places is.
    weight: float = 1.0

    @property
    def curve(self) -> str:
        """Return by which experience it is believed: its reason, parts of longer names apart."""
        return f"{self.why}, {self.held}" if self.held else self.why


@dataclass(slots=True)
class Hits:
    """What the automaton found; positions are in the normalised text."""

    #: Places and roads that do not overlap, in order.
    names: list[tuple[int, int, Name]] = field(default_factory=list)
    areas: list[tuple[int, int, list[AreaEntry]]] = field(default_factory=list)
    #: The longest road that ends at each position.
    roads: dict[int, tuple[int, Name]] = field(default_factory=dict)
    #: Names of places elsewhere, with where they stand.
    outside: list[tuple[int, int, str]] = field(default_factory=list)
    #: Such names without their rank, which may be words too.
    short: list[tuple[int, int, str]] = field(default_factory=list)


class Finder:
    """Finds clues by one gazetteer."""

    def __init__(self, gazetteer: Gazetteer) -> None:
        """Index the gazetteer's names against damage and its roads by root."""
        self._gazetteer = gazetteer
        #: Lengths of the names by the automaton's index; negative for roads, so that one look tells both.
        self._lengths = [-len(name.text) if name.roads else len(name.text) for name in gazetteer.ordered]
        self._likely = [
            name
            for name in gazetteer.ordered
            if not (name.outside or name.short or name.areas or "(" in name.text)
            and _may_be_damaged(name)
            # Half of 某某市某某区某某镇小学 stands in every address: such a name is looked for without its areas.
            and gazetteer.without_areas(name.text) == name.text
        ]
        self._damaged = Damaged([name.text for name in self._likely])
        #: Towns' names of two letters, without 镇 or 街道, and what may stand before one of them without a break.
        self._bare = {
            name.text for name in gazetteer.ordered if len(name.text) == 2 and {a.level for a in name.areas} == {"town"}
        }
        above = [name for name in (gazetteer.district, *gazetteer.cities) if name]
        self._above = tuple({*above, *(name[:-1] for name in above if len(name) > 2)}) or ("\n",)
        self._roots: dict[str, list[Road]] = {}
        for name in gazetteer.ordered:
            if name.roads:
                self._roots.setdefault(root_of_road(name.text), []).extend(name.roads)

    def scan(self, written: str) -> Hits:
        """Return the names in a text; of overlapping ones the longest, then the first."""
        hits = Hits()
        ordered, lengths, roads = self._gazetteer.ordered, self._lengths, hits.roads
        spans: list[tuple[int, int, int]] = []
        for last, index in self._gazetteer.automaton.iter(written):
            length = lengths[index]
            if length < 0:
                start = last + 1 + length
                if last + 1 not in roads or start < roads[last + 1][0]:
                    roads[last + 1] = (start, ordered[index])
                spans.append((length, start, index))
            else:
                spans.append((-length, last + 1 - length, index))
        if not spans:
            return hits
        if len(spans) > 1:
            spans.sort()
        taken = bytearray(len(written))
        heads: set[int] = set()
        for negative, start, index in spans:
            end = start - negative
            # A longer span was there first, so the two ends and the middle of its trace are enough to look at.
            if taken[start] or taken[end - 1] or 1 in taken[start:end]:
                # A name may begin with its town's: the town is named all the same.
                if start in heads and ordered[index].areas and self._is_area(written, start, ordered[index]):
                    hits.areas.append((start, end, ordered[index].areas))
                continue
            heads.add(start)
            taken[start:end] = b"\1" * -negative
            name = ordered[index]
            if name.outside:
                hits.outside.append((start, end, name.text))
                continue
            if name.short:
                hits.short.append((start, end, name.text))
                continue
            if name.areas:
                # A shop that carries the town's name is not meant by the town's name.
                if self._is_area(written, start, name):
                    hits.areas.append((start, end, name.areas))
            elif name.rows or name.derived or name.roads:
                hits.names.append((start, end, name))
        hits.names.sort(key=lambda span: span[0])
        del hits.names[3 * MOST :], hits.areas[3 * MOST :]
        return hits

    def _is_area(self, written: str, start: int, name: Name) -> bool:
        """Return whether a name is an area's: two letters of a town's name may come about where two words meet."""
        if name.text not in self._bare or start == 0 or written[start - 1] in BEFORE:
            return True
        return written.endswith(self._above, 0, start)

    def addresses(self, written: str, hits: Hits) -> list[Clue]:
        """Return the clues of roads that a house number follows."""
        clues: list[Clue] = []
        numbered: set[int] = set()
        if "号" in written:
            for found in HOUSE_NO.finditer(written):
                end, number = found.start(), to_number(found["a"])
                if end not in hits.roads and (filler := _FILLER.search(written, max(0, end - 4), end)):
                    end = filler.start()
                if number is None or end not in hits.roads:
                    continue
                numbered.add(end)
                sure = self._whole_road(written, hits, hits.roads[end])
                clues += self._numbered(hits.roads[end], found.end(), number=number, sure=sure)
                if len(clues) > MOST:
                    return clues
        for end, road in hits.roads.items():
            if end not in numbered and (bare := BARE_NO.match(written, end)) and int(bare[1]):
                sure = 0.8 * self._whole_road(written, hits, road)
                clues += self._numbered(road, bare.end(), number=int(bare[1]), sure=sure)
        return clues[:MOST]

    def junctions(self, written: str, hits: Hits) -> list[Clue]:
        """Return the clues of two roads that are named as crossing."""
        if len(hits.roads) < 2:
            return []
        clues: list[Clue] = []
        spans = sorted((start, end, name) for end, (start, name) in hits.roads.items())
        for (start, end, one), (start2, end2, two) in pairwise(spans):
            if not (0 < start2 - end <= 2 and _JOINED.search(written[end:start2])):
                continue
            sure = 1.0 if _CROSSING.match(written, end2) else 0.75
            clues += self._crossing((start, end2), one, two, sure=sure)
            if len(clues) > MOST:
                break
        return clues

    def named(self, written: str, hits: Hits, taken: list[tuple[int, int]]) -> list[Clue]:
        """Return the clues of places, and of roads without a number, outside the stretches already `taken`."""
        clues: list[Clue] = []
        ends = {end for _, end, _ in hits.areas} | {end for _, end in taken} | {end for _, end, _ in hits.names}
        starts = {start for start, _, _ in hits.names} | {start for start, _ in taken}
        for start, end, name in hits.names:
            if any(start >= first and end <= last for first, last in taken):
                continue
            left = start == 0 or written[start - 1] in BEFORE or start in ends
            right = end == len(written) or written[end] in AFTER or end in starts
            trust = name.distinct * (1.0 if left else 0.55) * (1.0 if right else 0.75)
            if len(name.text) <= 3 and not (left and right):
                trust *= 0.4
            if name.rows or name.derived:
                told = self._at_sites((start, end), name, trust)
            else:
                told = self._on_roads((start, end), name, trust)
            if not (left and right) or _is_part(written, start, end):
                for clue in told:
                    clue.held = "part" if _is_part(written, start, end) else "edge" if left or right else "inside"
                    if written[end : end + 1] == "(" and "(" in clue.name and "(" not in name.text:
                        # A branch is named, and it is not this one.
                        clue.confidence, clue.held = 0.5 * clue.confidence, "inside"
            clues += told
            if len(clues) > MOST:
                break
        return clues[:MOST]

    def similar(self, written: str, hits: Hits) -> list[Clue]:
        """Return the clues of names that stretches of the text resemble without being them."""
        clauses: list[tuple[bool, int, str]] = []
        at = 0
        for clause in _CLAUSE.split(written):
            offset = written.find(clause, at)
            at = offset + len(clause)
            if len(clause) >= 3:
                clauses.append((not _PLACELIKE.search(clause), offset, clause[:_CLAUSE_LENGTH]))
            if len(clauses) > 4 * _CLAUSES:
                break
        # Of a long text the clauses with a word for a place come first.
        clues: list[Clue] = []
        for _, offset, clause in sorted(clauses)[:_CLAUSES]:
            # Brackets tell nothing: names are looked for without them.
            places = [at for at, letter in enumerate(clause) if letter not in "()"]
            bare = clause if len(places) == len(clause) else "".join(clause[at] for at in places)
            for found in self._damaged.find(bare):
                like = replace(found, start=places[found.start], end=places[found.end - 1] + 1)
                if not _is_covered(offset + like.start, offset + like.end, hits, self._likely[like.index]):
                    clues += self._resembling(clause, offset, like)
        return clues[:MOST]

    def unknown_roads(self, written: str, hits: Hits) -> list[Clue]:
        """Return the clues of roads whose section is not known while another section of the same road is."""
        clues: list[Clue] = []
        for found in HOUSE_NO.finditer(written):
            end = found.start()
            if end in hits.roads:
                continue
            for start in range(max(0, end - 8), end - 2):
                roads = self._roots.get(root_of_road(written[start:end]))
                if roads:
                    clues += [self._other_section((start, found.end()), written[start:end], road) for road in roads[:4]]
                    break
        return [clue for clue in clues if clue.radius > 0][:MOST]

    def _other_section(self, span: tuple[int, int], written: str, road: Road) -> Clue:
        middle = road.middle()
        if middle is None:
            return _clue(span, "road", written, 0, 0, 0.0)
        clue = _clue(span, "road", road.name, middle.x, middle.y, max(600.0, middle.radius_m))
        clue.confidence = 0.5 * middle.belief
        clue.towns = tuple(road.towns)
        clue.why, clue.detail = "address_other_section", {"road": written, "nearest": road.name}
        return clue

    def _whole_road(self, written: str, hits: Hits, road: tuple[int, Name]) -> float:
        """Return how surely a road's name is not only the end of another's: 聚龙工业区中心路 is not any 中心路."""
        start, name = road
        begins = start == 0 or written[start - 1] in BEFORE or any(last == start for _, last, _ in hits.areas)
        if name.plain:
            return 0.7 if begins else 0.35
        return 1.0 if begins else 0.85

    def _numbered(self, road: tuple[int, Name], end: int, *, number: int, sure: float) -> list[Clue]:
        """Return one clue for each road of the name that lies somewhere else."""
        start, name = road
        clues = []
        for one in name.roads[:8]:
            estimate = one.at(number)
            if estimate is None:
                continue
            label = f"{name.text}{number}号"
            clue = _clue((start, end), "address", label, estimate.x, estimate.y, estimate.radius_m)
            clue.confidence, clue.towns, clue.why = estimate.belief * sure, tuple(one.towns), estimate.how
            clue.detail, clue.weight = _detail_of(name.text, number, estimate), one.towns.total() ** 0.5
            clues.append(clue)
        return clues

    def _crossing(self, span: tuple[int, int], one: Name, two: Name, *, sure: float) -> list[Clue]:
        label = f"{one.text}与{two.text}交叉口"
        first, second = sorted((one.text, two.text))
        clues = []
        if spots := self._gazetteer.junctions.get((first, second)):
            x, y = median(spot[0] for spot in spots), median(spot[1] for spot in spots)
            spread = median(abs(spot[0] - x) + abs(spot[1] - y) for spot in spots)
            clue = _clue(span, "junction", label, x, y, max(120.0, 1.5 * spread))
            clue.confidence, clue.why = (0.92 if spread < 200 else 0.6) * sure, "junction_known"
            clues.append(clue)
        else:
            for road in one.roads[:6]:
                for other in two.roads[:6]:
                    near = meeting(road, other)
                    if near is not None:
                        clue = _clue(span, "junction", label, near.x, near.y, near.radius_m)
                        clue.confidence, clue.towns, clue.why = near.belief * sure, tuple(road.towns), near.how
                        clues.append(clue)
            clues.sort(key=lambda clue: clue.radius)
        for clue in clues:
            clue.detail = {"road": one.text, "other": two.text}
        return clues[:2]

    def _at_sites(self, span: tuple[int, int], name: Name, trust: float) -> list[Clue]:
        sites = self._gazetteer.sites(name)
        # The verdict divides among the sites that are looked at; what is beyond them is taken off here.
        share = min(1.0, 12 / len(sites)) if sites else 1.0
        why = "place_named" if len(sites) == 1 else "place_one_of_several"
        clues = []
        for site in sites[:12]:
            clue = _clue(span, "alias" if site.derived else "place", site.name, site.x, site.y, site.radius_m)
            clue.confidence = trust * share * site.sure
            clue.towns, clue.community = (site.town_code,), site.community_code
            clue.why, clue.detail = why, {"name": site.name}
            clues.append(clue)
        return clues

    def _on_roads(self, span: tuple[int, int], name: Name, trust: float) -> list[Clue]:
        clues = []
        for road in name.roads[:8]:
            middle = road.middle()
            if middle is None:
                continue
            clue = _clue(span, "road", name.text, middle.x, middle.y, middle.radius_m)
            clue.confidence, clue.towns = trust * middle.belief, tuple(road.towns)
            clue.why, clue.detail, clue.weight = "road_named", {"road": name.text}, road.towns.total() ** 0.5
            clues.append(clue)
        return clues

    def _resembling(self, clause: str, offset: int, like: Likeness) -> list[Clue]:
        name = self._likely[like.index]
        span = (offset + like.start, offset + like.end)
        # Roads have a number behind them to tell them by; the odds were measured on places.
        likely = max(0.0, like.score - 0.2)
        if not name.roads:
            # What may be another name is offered all the same, but no surer than that.
            likely = max(_SIMILAR * _meant(clause, like), min(likely, _OFFERED))
        trust = name.distinct * likely
        detail = {"written": clause[like.start : like.end], "name": name.text}
        found = HOUSE_NO.match(clause, like.end) if name.roads else None
        number = to_number(found["a"]) if found else None
        if found is not None and number is not None:
            clues = self._numbered((span[0], name), offset + found.end(), number=number, sure=trust)
        elif name.rows or name.derived:
            clues = self._at_sites(span, name, trust)
        else:
            clues = self._on_roads(span, name, trust)
        why = "place_similar" if name.rows or name.derived else "road_similar"
        for clue in clues:
            clue.why, clue.detail = why, clue.detail | detail
        return clues


def _clue(span: tuple[int, int], kind: Kind, name: str, *place: float) -> Clue:
    """Return a clue with what every kind has; `place` is x, y and radius."""
    x, y, radius = place
    return Clue(span[0], span[1], kind, name, x, y, radius, 0.0, (), None, "")


def _meant(clause: str, like: Likeness) -> float:
    """Return how often such a likeness was a slip of the name and not another name that nobody knows."""
    start, score, share, left, right = _LIKENESS
    odds = start + score * like.score + share * like.share
    if like.start == 0 or clause[like.start - 1] in BEFORE:
        odds += left
    if like.end == len(clause) or clause[like.end] in AFTER:
        odds += right
    if like.replaced:
        odds += _REPLACED
    return 1 / (1 + math.exp(-odds))


def _is_part(written: str, start: int, end: int) -> bool:
    """Return whether a name stands in the brackets of another or goes on behind a dash or bracket."""
    return (start > 0 and written[start - 1] in "(-") or _GOES_ON.match(written, end) is not None


def _may_be_damaged(name: Name) -> bool:
    """Return whether a name is telling enough to be looked for among misspellings."""
    if name.roads:
        return len(name.text) >= 3
    return name.distinct >= 0.5 and (len(name.text) >= 4 or (name.fixed and len(name.text) >= 3))


def _detail_of(road: str, number: int, estimate: Estimate) -> dict[str, Any]:
    detail: dict[str, Any] = {"road": road, "house_no": number}
    if estimate.how == "address_between":
        detail |= {"lower": estimate.lower, "upper": estimate.upper}
    elif estimate.how in ("address_beyond", "address_near"):
        detail["nearest"] = estimate.lower
    return detail


def _is_covered(start: int, end: int, hits: Hits, meant: Name) -> bool:
    """Return whether an exact name covers a stretch about as well, so that it was not written wrongly."""
    for first, last, name in hits.names:
        # A name longer by three is told by more than the exact one within it.
        longer = not meant.roads and len(meant.text) >= len(name.text) + 3 and start <= first and last <= end
        if not longer and name.distinct >= 0.3 and min(end, last) - max(start, first) >= 0.6 * (end - start):
            return True
    return any(min(end, last) - max(start, first) >= 0.6 * (end - start) for first, last, _ in hits.areas)

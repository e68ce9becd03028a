"""What place a text means: lets clues support or contradict each other, and abstains rather than guess.

Pure and in process; bounded work for any text. A name alone is a weak clue: it counts as far as what stands around it
(town, road, number, other names) agrees, because a name automaton finds names in damaged addresses that are not meant.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np
import shapely

from grid.locator import Locator
from hotline.geocode.abroad import Abroad, Span, lies_there
from hotline.geocode.calibration import RIVALS, believed
from hotline.geocode.clues import MOST, Clue, Finder, Hits
from hotline.geocode.gazetteer import Gazetteer
from hotline.geocode.model import RIVAL, Answer, AreaEntry, Match
from hotline.geocode.relations import relate
from hotline.geocode.suggest import Suggester
from hotline.geocode.writing import normalise

#: Below this a guess is not given: names may be chance, a known road that is written out with a number is not.
LEAST = 0.3
_LEAST_BY_ROAD = 0.07
#: An exact house number outweighs roads of the same name that only might have it, and any number one without.
_WEIGHT = {"address_exact": 4.0, "address_road": 0.4}
#: Above this no damaged names are looked for: a name may be a part of a longer one, an address is more by itself.
_ENOUGH, _ENOUGH_BY_ROAD = 0.6, 0.4
#: Where a place elsewhere is named and the district is not, a guess must be this sure.
_SURE_ABROAD = 0.62
#: Two clues nearer than this, in metres, speak of the same place; further than the second, of two places.
_SAME_M, _OTHER_M = 600.0, 1500.0
#: A named town and a place within this many degrees of its border agree: residents name the next town too.
_BORDER = 0.006
#: Pixels of the rasters that tell town and community of an answer.
_PIXELS = 400_000


class Geocoder:
    """Answers where a text means, over one gazetteer."""

    def __init__(self, gazetteer: Gazetteer, *, believe: Callable[[str, float], float] = believed) -> None:
        """Prepare for a gazetteer; the index of damaged names is built here too.

        believe: tells from a reason and what was reckoned the confidence to give; only what fits curves changes it.
        """
        self.gazetteer = gazetteer
        self._believe = believe
        self._finder = Finder(gazetteer)
        self._abroad = Abroad(gazetteer)
        outline = gazetteer.boundary
        self._inside = None if outline is None else Locator(["in"], np.array([outline], dtype=object), pixels=_PIXELS)
        shaped = [area for area in gazetteer.areas if area.polygon is not None]
        self._towns = {area.code: area.polygon for area in shaped if area.level == "town"}
        shapely.prepare(list(self._towns.values()))
        self._town_at, self._community_at = (
            Locator(
                [area.code for area in shaped if area.level == level],
                np.array([area.polygon for area in shaped if area.level == level], dtype=object),
                pixels=_PIXELS,
            )
            for level in ("town", "community")
        )

    @cached_property
    def suggester(self) -> Suggester:
        """The names of the same gazetteer, ready to be completed; built at the first question."""
        return Suggester(self.gazetteer)

    def areas_at(self, lng: float, lat: float) -> tuple[str | None, str | None]:
        """Return the town and the community that a point in EPSG:4490 lies in, as far as polygons tell."""
        return self._town_at.locate(lng, lat), self._community_at.locate(lng, lat)

    def locate(self, text: str) -> Answer:
        """Return where a text means, at most five matches, the likeliest first.

        Any text is taken; only its first `writing.LONGEST` characters are read. Never raises.
        """
        written = normalise(text)
        if not written:
            return Answer("unlocatable", (), "empty")
        finder = self._finder
        hits = finder.scan(written)
        abroad = self._abroad.find(written, hits)
        foreign = [name for _, _, name in abroad]
        ours = bool(hits.areas) or self._abroad.names_us(written, abroad)
        clues = finder.addresses(written, hits) if hits.roads else []
        if len(hits.roads) > 1:
            clues += finder.junctions(written, hits)
        clues += finder.named(written, hits, [(clue.start, clue.end) for clue in clues])
        if clues:
            self._hear_areas(clues, hits)
            _hear_abroad(clues, abroad, written)
            clues = _support(relate(written, hits, clues, self.gazetteer))
        if (ours or not foreign) and (not clues or clues[0].confidence < _enough(clues[0])):
            more = finder.similar(written, hits)
            if "号" in written:
                more += finder.unknown_roads(written, hits)
            if more:
                self._hear_areas(more, hits)
                _hear_abroad(more, abroad, written)
                _doubt_strangers(more, clues)
                _doubt_parts(clues, more)
                clues = _support(clues + relate(written, hits, more, self.gazetteer))
        if foreign and not ours and not _is_sure_abroad(clues):
            return Answer("outside", (), "elsewhere_named", {"name": foreign[0]})
        return self._answer(clues, hits)

    def _hear_areas(self, clues: list[Clue], hits: Hits) -> None:
        """Change the confidence of clues by the towns and communities that the text names."""
        if not hits.areas:
            _share(clues)
            return
        # An area within a place's name tells of that place only: 某某社区公园 is where I live, the matter elsewhere.
        within = [(_holder(hits, start, end), areas) for start, end, areas in hits.areas]
        said = {holder: _areas_of(within, holder) for holder, _ in within} | {None: _areas_of(within, None)}
        for clue in clues:
            holder = next((one for one in said if one and one[0] < clue.end and clue.start < one[1]), None)
            towns, communities = said[holder]
            if communities and clue.community in communities:
                clue.confidence = 1 - (1 - clue.confidence) * 0.6
            if not towns:
                continue
            if not towns.isdisjoint(clue.towns) or self._near_town(clue, towns):
                # Where numbers run was measured with the town known; a name gains by a town that fits it.
                if clue.kind in ("place", "alias") and clue.confidence > 0.1:
                    clue.confidence = 1 - (1 - clue.confidence) * 0.6
            else:
                clue.confidence *= 0.3
        _share(clues)

    def _near_town(self, clue: Clue, towns: set[str]) -> bool:
        """Return whether a clue lies in or close to one of the towns."""
        shapes = [self._towns[code] for code in towns if code in self._towns]
        if not shapes:
            return not any(clue.towns)
        ((lng, lat),) = self.gazetteer.plane.to_degrees([(clue.x, clue.y)])
        return bool(shapely.dwithin(shapes, shapely.Point(lng, lat), _BORDER).any())

    def _answer(self, clues: list[Clue], hits: Hits) -> Answer:
        """Return the verdict over all clues, best first."""
        kept = [clue for clue in clues if clue.confidence >= _least(clue)] or self._area_clues(hits)
        placed = [(clue, match) for clue in kept[:8] if (match := self._match(clue)) is not None]
        if placed:
            matches = self._believed(placed[0][0].curve, [match for _, match in placed[:5]])
            return Answer("located", tuple(matches), matches[0].why, matches[0].detail)
        return Answer("unlocatable", (), "too_vague" if clues else "nothing_named")

    def _believed(self, curve: str, matches: list[Match]) -> list[Match]:
        """Return the matches with confidences as often right as they say; areas keep theirs, as no place is there."""
        first = matches[0]
        if first.kind in ("town", "community"):
            return matches
        has_rival = len(matches) > 1 and matches[1].confidence >= RIVAL * first.confidence
        sure = self._believe(RIVALS if has_rival else curve, first.confidence)
        shares = [sure * match.confidence / first.confidence for match in matches]
        # The place is in one of them at most.
        total = max(1.0, sum(shares))
        return [
            replace(match, confidence=round(share / total, 3)) for match, share in zip(matches, shares, strict=True)
        ]

    def _area_clues(self, hits: Hits) -> list[Clue]:
        """Return clues for communities, or else towns, where nothing nearer is named."""
        found: dict[str, Clue] = {}
        for start, end, areas in hits.areas:
            for area in areas:
                spot = self.gazetteer.spot_of(area)
                if spot is None:
                    continue
                x, y, radius = spot
                is_community = area.level == "community"
                found[area.code] = Clue(
                    start=start,
                    end=end,
                    kind=area.level,
                    name=area.name,
                    x=x,
                    y=y,
                    radius=radius,
                    confidence=(0.35 if is_community else 0.15) / len(areas) ** 0.8,
                    towns=(area.code[:9],),
                    community=area.code if is_community else None,
                    why="community_named" if is_community else "town_named",
                    detail={"name": area.name},
                )
        clues = sorted(found.values(), key=lambda clue: -clue.confidence)
        finest = [clue for clue in clues if clue.kind == "community"]
        return finest or clues

    def _match(self, clue: Clue) -> Match | None:
        """Return the clue as an answer; None where it lies beyond the district's boundary."""
        plane = self.gazetteer.plane
        lng, lat = clue.x / plane.per_lng + plane.lng, clue.y / plane.per_lat + plane.lat
        is_area = clue.kind in ("town", "community")
        if self._inside is not None and not is_area and self._inside.locate(lng, lat) is None:
            return None
        town = clue.towns[0] if clue.towns else ""
        community = clue.community
        if not is_area:
            town = self._town_at.locate(lng, lat) or town
            community = self._community_at.locate(lng, lat) or community
        return Match(
            lng=lng,
            lat=lat,
            radius_m=round(clue.radius, 1),
            confidence=round(clue.confidence, 3),
            kind=clue.kind,
            name=clue.name,
            town_code=town,
            community_code=community,
            why=clue.why,
            detail=clue.detail,
            line=tuple((px / plane.per_lng + plane.lng, py / plane.per_lat + plane.lat) for px, py in clue.line),
        )


def _holder(hits: Hits, start: int, end: int) -> tuple[int, int] | None:
    """Return the stretch of the name that an area's name is a part of; None where it stands by itself."""
    for first, last, _ in hits.names:
        if first <= start and end <= last:
            return first, last
    return None


def _areas_of(
    within: list[tuple[tuple[int, int] | None, list[AreaEntry]]], holder: tuple[int, int] | None
) -> tuple[set[str], set[str]]:
    """Return the towns and communities that are named by themselves, and within one name."""
    named = [area for one, areas in within if one is None or one == holder for area in areas]
    towns = {area.code for area in named if area.level == "town"}
    communities = {area.code for area in named if area.level == "community"}
    if not towns:
        of_communities = {code[:9] for code in communities}
        towns = of_communities if len(of_communities) == 1 else set()
    return towns, communities


def _least(clue: Clue) -> float:
    written_out = clue.kind in ("address", "junction", "road") and clue.why != "road_similar"
    return _LEAST_BY_ROAD if written_out else LEAST


def _enough(clue: Clue) -> float:
    return _ENOUGH_BY_ROAD if clue.kind in ("address", "junction") else _ENOUGH


def _share(clues: list[Clue]) -> None:
    """Divide the confidence of readings of one stretch among the places it may mean, by how likely each is."""
    by_span: dict[tuple[int, int], list[Clue]] = {}
    for clue in clues:
        by_span.setdefault((clue.start, clue.end), []).append(clue)
    for readings in by_span.values():
        if len(readings) == 1:
            continue
        weights = [clue.confidence * clue.weight * _WEIGHT.get(clue.why, 1.0) for clue in readings]
        shared = []
        for clue, own in zip(readings, weights, strict=True):
            elsewhere = sum(
                weight
                for other, weight in zip(readings, weights, strict=True)
                if math.hypot(other.x - clue.x, other.y - clue.y) > _SAME_M
            )
            shared.append(clue.confidence * own / (own + elsewhere) if own else 0.0)
        for clue, confidence in zip(readings, shared, strict=True):
            clue.confidence = confidence


def _doubt_strangers(guesses: list[Clue], clues: list[Clue]) -> None:
    """Lower the confidence of names guessed from damage that lie far from an address written out in full."""
    addresses = [clue for clue in clues if clue.kind in ("address", "junction") and clue.confidence >= _LEAST_BY_ROAD]
    for guess in guesses:
        for clue in addresses:
            if math.hypot(guess.x - clue.x, guess.y - clue.y) > _OTHER_M + clue.radius:
                guess.confidence *= 0.4
                break


def _doubt_parts(clues: list[Clue], guesses: list[Clue]) -> None:
    """Lower the confidence of exact names that are a part of a longer name written wrongly."""
    for clue in clues:
        for guess in guesses:
            if guess.start <= clue.start and clue.end <= guess.end and guess.end - guess.start > clue.end - clue.start:
                clue.confidence *= 0.6
                break


def _is_sure_abroad(clues: list[Clue]) -> bool:
    """Return whether clues count although a place elsewhere is named: a name alone may be anywhere in the country."""
    if not clues:
        return False
    best = clues[0]
    return best.confidence >= (LEAST if best.kind in ("address", "junction") else _SURE_ABROAD)


def _hear_abroad(clues: list[Clue], abroad: list[Span], written: str) -> None:
    """Lower the confidence of what is said to lie elsewhere."""
    for clue in clues:
        if lies_there(clue, abroad, written):
            clue.confidence *= 0.12


def _support(clues: list[Clue]) -> list[Clue]:
    """Return the clues, likeliest first, after they supported and contradicted one another; near ones become one."""
    ranked = _once(sorted(clues, key=lambda clue: (-clue.confidence, clue.start)))[:MOST]
    if len(ranked) == 1:
        return ranked
    heard = []
    for clue in ranked:
        doubt, rival, role = 1 - clue.confidence, 0.0, 0.0
        for other in ranked:
            if other.start < clue.end and clue.start < other.end:
                continue
            away = math.hypot(other.x - clue.x, other.y - clue.y)
            if away < max(_SAME_M, min(other.radius, 1200.0)):
                doubt *= 1 - 0.6 * other.confidence
            elif away > _OTHER_M + other.radius:
                rival = max(rival, other.confidence * min(1.0, other.role / clue.role))
                if other.confidence >= LEAST:
                    role = max(role, other.role)
        sure = (1 - doubt) * (1 - 0.35 * rival)
        # Home, office and where somebody came from count only where nothing else is named.
        sure *= 0.3 if role > 1.5 * clue.role else 0.8 if role > clue.role else 1.0
        heard.append(min(sure, 0.97))
    for clue, sure in zip(ranked, heard, strict=True):
        clue.confidence = sure
    # Of clues about equally sure the tightest speaks for the spot, unless it is what another was reckoned from.
    ranked.sort(key=lambda clue: (-round(clue.confidence * 20), not clue.moved, clue.radius))
    merged: list[Clue] = []
    for clue in ranked:
        if all(math.hypot(clue.x - kept.x, clue.y - kept.y) > 200 for kept in merged):
            merged.append(clue)
    return merged


def _once(clues: list[Clue]) -> list[Clue]:
    """Return the clues without repeats: a name that is said twice is not better known for it."""
    seen: set[tuple[str, float, float]] = set()
    kept = []
    for clue in clues:
        key = (clue.name, clue.x, clue.y)
        if key not in seen:
            seen.add(key)
            kept.append(clue)
    return kept

"""What goes into the geocoder and what comes out of it: gazetteer rows, areas, matches, answers. No behaviour."""

from dataclasses import dataclass, field
from typing import Any, Literal

import shapely

#: located: a place inside the district; outside: a place elsewhere is named; unlocatable: no place can be told.
Status = Literal["located", "unlocatable", "outside"]
#: What a match rests on; `alias` is another name for a place, or one only known from its neighbours' addresses.
Kind = Literal["place", "address", "road", "junction", "community", "town", "alias", "stretch"]

#: Reasons, by the code that `Match.why` and `Answer.why` carry: English templates, filled from `detail`.
WHY = {
    "address_exact": "House number {house_no} of {road} is in the register.",
    "address_between": "House number {house_no} of {road} lies between {lower} and {upper}, which are known.",
    "address_beyond": "House number {house_no} of {road} lies beyond {nearest}, the nearest that is known.",
    "address_near": "Of {road} only number {nearest} is known; {house_no} is taken to be near it.",
    "address_road": "{road} is known, but not where its numbers run.",
    "address_other_section": "{road} is not known; {nearest}, another section of the same road, is.",
    "place_named": "The place {name} is named.",
    "place_one_of_several": "Several places are called {name}; this is one of them.",
    "place_similar": "{written} is written; it resembles {name}.",
    "road_similar": "{written} is written; it resembles {name}.",
    "road_named": "Only the road {road} is named.",
    "offset_from": "{metres} m to the {way} of {name}.",
    "between": "Between {name} and {other}.",
    "stretch_along": "The stretch of {road} from {name} to {other}.",
    "stretch_straight": "From {name} to {other}; the course between them is not known.",
    "junction_known": "The junction of {road} and {other} is known.",
    "junction_near": "{road} and {other} come close to each other here.",
    "community_named": "Only the community {name} is named.",
    "town_named": "Only the town {name} is named.",
    "elsewhere_named": "A place outside the district is named: {name}.",
    "nothing_named": "No place is named.",
    "too_vague": "What is named could be in too many places.",
    "empty": "There is no text.",
}


#: A match with this share of the first one's confidence is about as likely.
RIVAL = 0.5


@dataclass(frozen=True, slots=True)
class Match:
    """One place that a text may mean."""

    #: EPSG:4490.
    lng: float
    lat: float
    #: The true place lies within this distance about four times in five.
    radius_m: float
    #: Likelihood, 0 to 1, that the true place is within 300 m or within the radius, whichever is larger; of a town or
    #: community it is kept low, because its middle is nobody's place.
    confidence: float
    kind: Kind
    #: As the gazetteer writes it.
    name: str
    town_code: str
    #: None where the source of the place does not tell.
    community_code: str | None
    #: A key of `WHY`.
    why: str
    #: What fills that template; plain JSON values.
    detail: dict[str, Any] = field(default_factory=dict)
    #: For a stretch of a road, its course from one end to the other, EPSG:4490; the point is its middle.
    line: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the geocoder says of one text."""

    status: Status
    #: At most five, the likeliest first; empty unless located.
    matches: tuple[Match, ...]
    #: A key of `WHY`: that of the first match, or why there is none.
    why: str
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def rivals(self) -> tuple[Match, ...]:
        """The first match and those at least half as likely that lie elsewhere: what a person has to choose among."""
        if not self.matches:
            return ()
        first = self.matches[0]
        return (first, *(one for one in self.matches[1:] if one.confidence >= RIVAL * first.confidence))

    @property
    def ambiguous(self) -> bool:
        """Whether another place is about as likely."""
        return len(self.rivals) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the gazetteer: a named place or an address with a point."""

    kind: Literal["place", "address"]
    #: Empty for an address at which nothing named stands.
    name: str
    #: EPSG:4490.
    lng: float
    lat: float
    #: 9 and 12 digits; empty and None where unknown.
    town_code: str = ""
    community_code: str | None = None
    #: The address taken apart, where the source does so; `house_no` as written before 号.
    road: str = ""
    house_no: str = ""
    #: The address as written; roads, numbers, junctions and landmarks are read from it.
    address: str = ""
    #: The source's type path, its levels separated by `;`.
    category: str = ""
    #: Other names that people gave it and a second person confirmed.
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaEntry:
    """A town 街道/镇 or a community 社区/村 of the district."""

    level: Literal["town", "community"]
    #: 9 digits for a town, 12 for a community.
    code: str
    name: str
    #: EPSG:4490; the centre serves where there is no polygon, and both may be missing.
    polygon: shapely.Geometry | None = None
    lng: float | None = None
    lat: float | None = None
    aliases: tuple[str, ...] = ()

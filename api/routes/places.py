"""Places for programs: what a text means, what lies at a point, and names as they are typed.

No account is needed, as for the areas of the district: the register of places is public, and nothing is kept.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from api import wiring
from api.i18n import say
from api.routes.documents import MatchOut, Model, Text
from core.datums import Datum, from_cgcs2000, point
from core.errors import NotFound
from hotline.geocode import WHY, Geocoder, Match

router = APIRouter(prefix="/api/v1", tags=["places"])

_Lng = Annotated[float, Query(allow_inf_nan=False)]
_Lat = Annotated[float, Query(allow_inf_nan=False)]


class PlacesOut(Model):
    """What a text may mean, likeliest first; empty where the program abstains."""

    status: str = Field(description="located, outside (elsewhere) or unlocatable")
    why: str
    ambiguous: bool = Field(description="Another place is about as likely: a person must choose.")
    matches: list[MatchOut]


class NearOut(Model):
    """A place or address of the register near a point; WGS84."""

    name: str
    address: str
    metres: float
    lng: float
    lat: float


class HereOut(Model):
    """What lies at a point."""

    town: str | None
    town_name: str | None
    community: str | None
    community_name: str | None
    cell: str | None
    near: list[NearOut]


class SuggestionOut(Model):
    """A name that may be meant; WGS84."""

    name: str
    kind: str
    lng: float
    lat: float
    radius_m: float
    town: str | None
    town_name: str | None


@router.get("/geocode")
def geocode(q: Annotated[Text, Query(min_length=1, max_length=500)]) -> PlacesOut:
    """Say which places inside the district a text may mean, how surely, and why; WGS84. Nothing is guessed."""
    answer = _geocoder().locate(q)
    return PlacesOut(
        status=answer.status,
        why=say(WHY[answer.why], **answer.detail),
        ambiguous=answer.ambiguous,
        matches=[match_out(match) for match in answer.matches],
    )


@router.get("/reverse")
def reverse(
    lng: _Lng,
    lat: _Lat,
    datum: Annotated[Text, Query(max_length=20, description="WGS84, CGCS2000, GCJ-02 or BD-09")],
    limit: Annotated[int, Query(ge=1, le=20)] = 5,
) -> HereOut:
    """Say in which town, community and cell a point lies and what is near it, within 1 km, the nearest first.

    404 for a point outside the district.
    """
    spot = point(lng, lat, datum, field="lng")
    intake, geocoder = wiring.intake(), _geocoder()
    cell = intake.cells.locate(spot.x, spot.y)
    town, community = (cell[:9], cell[:12]) if cell else geocoder.areas_at(spot.x, spot.y)
    if town is None:
        raise NotFound("The point lies outside the district.")
    areas = intake.book.areas
    return HereOut(
        town=town,
        town_name=areas[town].name if town in areas else None,
        community=community,
        community_name=areas[community].name if community and community in areas else None,
        cell=cell,
        near=[
            NearOut(name=one.name, address=one.address, metres=one.metres, **_at(one.lng, one.lat))
            for one in geocoder.suggester.near(spot.x, spot.y, limit=limit)
        ],
    )


@router.get("/suggest")
def suggest(
    q: Annotated[Text, Query(min_length=1, max_length=40)],
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
) -> list[SuggestionOut]:
    """Complete a name as it is typed: by letters, pinyin or initials; a road with a number is an address."""
    areas = wiring.intake().book.areas
    return [
        SuggestionOut(
            name=one.name,
            kind=one.kind,
            radius_m=one.radius_m,
            town=one.town_code or None,
            town_name=areas[one.town_code].name if one.town_code in areas else None,
            **_at(one.lng, one.lat),
        )
        for one in _geocoder().suggester.suggest(q, limit=limit)
    ]


def warm() -> None:
    """Build what understands texts and completes names, which takes seconds, before somebody waits for it."""
    _geocoder().suggester.suggest("a")


def match_out(match: Match) -> MatchOut:
    """Return a match as the API tells it."""
    return MatchOut(
        radius_m=round(match.radius_m, 1),
        confidence=round(match.confidence, 4),
        kind=match.kind,
        name=match.name,
        town=match.town_code,
        why=say(WHY[match.why], **match.detail),
        line=[(one["lng"], one["lat"]) for one in (_at(*spot) for spot in match.line)],
        **_at(match.lng, match.lat),
    )


def _geocoder() -> Geocoder:
    places: Any = wiring.intake().places
    assert isinstance(places, Geocoder)
    return places


def _at(lng: float, lat: float) -> dict[str, float]:
    ((x, y),) = from_cgcs2000([[lng, lat]], Datum.WGS84)
    return {"lng": round(float(x), 6), "lat": round(float(y), 6)}

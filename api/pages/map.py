"""The live map of open cases with the list beside it, the report map, and the outlines for other pages' small maps."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api import wiring
from api.deps import Now, Read, require
from api.i18n import say
from api.pages import page, static
from api.pages.listing import choices
from api.routes.tiles import GROUND, handed
from api.security import CONTENT_POLICY
from api.wording import CELL_KINDS, CHINA, DUE, STATES, exact
from core.actor import Actor, Role
from core.db import actor_of
from core.errors import Invalid
from core.settings import settings
from dispatch.boxes import open_states
from hotline.masking import mask
from maps import outlines, report
from maps.in_view import EVERYWHERE, Looking, in_view
from maps.tiles import VIEWERS, WIDE, sees_whole

router = APIRouter(include_in_schema=False)

Viewer = Annotated[Actor, Depends(require(*VIEWERS))]
Reporter = Annotated[Actor, Depends(require(*WIDE))]
#: A report reads the cases of its whole period.
_LONGEST = timedelta(days=3660)
#: Days back that the period may reach, as offered; 0 is all.
PERIODS = (1, 7, 30, 90)
_GEOJSON = "application/geo+json"
#: Where a role works on a case; others open it to read.
_CASE_PAGES = {Role.OPERATOR: "/desk/case/", Role.UNIT: "/unit/"}
_READING = "/cases/"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The filters in the address, as written there."""

    town: str
    category: str
    state: str
    colour: str
    days: str
    box: str
    heat: bool

    def looking(self, at: datetime) -> Looking:
        """Return what is looked at; raises Invalid, naming the parameter, for values that mean nothing."""
        if self.colour not in {"", "0", "1", "2", "3"}:
            raise Invalid("The colour is a number from 0 to 3.", field="colour")
        if self.state and self.state not in open_states():
            raise Invalid("There is no such state of an open case.", field="state")
        days = self.days or "0"
        if not (days.isascii() and days.isdigit() and len(days) <= 4):
            raise Invalid("The period is a number of days.", field="days")
        return Looking(
            box=_box(self.box),
            town=self.town,
            category=self.category,
            state=self.state,
            colour=int(self.colour) if self.colour else None,
            since=at - timedelta(days=int(days)) if int(days) else None,
        )


def _box(written: str) -> tuple[float, float, float, float]:
    if not written:
        return EVERYWHERE
    try:
        west, south, east, north = (float(part) for part in written.split(","))
    except ValueError as error:
        raise Invalid("The piece of the map must be west, south, east, north in degrees.", field="box") from error
    return west, south, east, north


def _chosen(request: Request) -> Chosen:
    given = {name: value.strip()[:60] for name, value in request.query_params.items()}
    return Chosen(
        town=given.get("town", ""),
        category=given.get("category", ""),
        state=given.get("state", ""),
        colour=given.get("colour", ""),
        days=given.get("days", ""),
        box=request.query_params.get("box", "")[:120],
        heat="heat" in given,
    )


Filters = Annotated[Chosen, Depends(_chosen)]


@router.get("/map")
def live(request: Request, session: Read, actor: Viewer, at: Now, chosen: Filters) -> Response:
    """Show the live map; without scripts or WebGL the same list, filtered by the same form."""
    offered = choices(wiring.rulebook())
    return page(
        request,
        "map/live.html",
        chosen=chosen,
        shown=in_view(session, chosen.looking(at), at=at),
        offered=offered,
        states=open_states(),
        periods=PERIODS,
        at=at,
        may_heat=sees_whole(actor),
        case_page=_CASE_PAGES.get(actor.role, _READING),
        facts=orjson.dumps(_facts(actor, {choice.code: choice.words for choice in offered.tops})).decode(),
    )


@router.get("/map/list")
def listed(request: Request, session: Read, actor: Viewer, at: Now, chosen: Filters) -> Response:
    """Show the list alone, for a piece of the map (`box`: west, south, east, north)."""
    return page(
        request,
        "map/list.html",
        shown=in_view(session, chosen.looking(at), at=at),
        at=at,
        case_page=_CASE_PAGES.get(actor.role, _READING),
    )


@dataclass(frozen=True, slots=True)
class Period:
    """What the report's form was filled in with."""

    town: str
    category: str
    first: date
    last: date


def _period(request: Request, at: Now) -> Period:
    given = {name: value.strip()[:60] for name, value in request.query_params.items()}
    last = _day(given.get("to", ""), "to") or at.astimezone(CHINA).date()
    first = _day(given.get("from", ""), "from") or last - timedelta(days=29)
    if first > last:
        raise Invalid("The first day lies after the last.", field="from")
    if last - first > _LONGEST:
        raise Invalid("A report covers ten years at most.", field="from")
    return Period(given.get("town", ""), given.get("category", ""), first, last)


def _day(written: str, field: str) -> date | None:
    try:
        return date.fromisoformat(written) if written else None
    except ValueError as error:
        raise Invalid("{day} is no date; write 2026-11-21.", field=field, day=written[:20]) from error


@router.get("/map/report")
def printed(
    request: Request, session: Read, actor: Reporter, at: Now, period: Annotated[Period, Depends(_period)]
) -> Response:
    """Show the report map of a period, to be looked at and printed: loads of cells, heat, clusters, figures by town."""
    asked = report.Asked(first=period.first, last=period.last, town=period.town, category=period.category)
    folder = settings().var / "cache" / "report"
    picture, kept = report.report(session, asked, _words(), at=at, folder=folder)
    answer = page(
        request,
        "map/report.html",
        picture=picture,
        kept=kept,
        # A printed page outlives "today".
        drawn=exact(picture.drawn_at)[:16],
        period=period,
        offered=choices(wiring.rulebook()),
        town=actor.town or period.town,
        # The darkest shades are used first, so that the highest class always stands out.
        first_shade=len(report.RAMP) - len(picture.classes) + 1,
        at=at,
    )
    allowed = f"script-src 'self' {picture.script_hash};"
    answer.headers["Content-Security-Policy"] = CONTENT_POLICY.replace("script-src 'self';", allowed)
    return answer


def _words() -> report.Words:
    return report.Words(
        load=say("Load of cells"),
        heat=say("Heat"),
        clusters=say("Cases"),
        towns=say("Towns"),
        cell=say("Cell {code} {name}"),
        cases=say("{n} cases"),
        open=say("Open"),
        ended=say("Ended"),
        source=say("Boundaries: the district's own"),
        kinds={code: say(word) for code, word in CELL_KINDS.items()},
        masked=mask,
    )


@router.get("/map/outline.geojson")
def outline(request: Request, session: Read) -> Response:
    """Answer the towns of the district, simplified; public, and kept by browsers for five minutes."""
    key = ("towns", actor_of(session).district, outlines.revision(session))
    drawn = GROUND.or_drawn(key, lambda: outlines.towns(session))
    return handed(request, drawn, media_type=_GEOJSON, keep="public, max-age=300")


@router.get("/map/cells.geojson")
def cells(request: Request, session: Read, town: str = "") -> Response:
    """Answer the cells of one town (`town`, 9 digits); public, bounded, and kept by browsers for five minutes."""
    key = ("cells", actor_of(session).district, outlines.revision(session), town)
    drawn = GROUND.or_drawn(key, lambda: outlines.cells(session, town))
    return handed(request, drawn, media_type=_GEOJSON, keep="public, max-age=300")


def _facts(actor: Actor, tops: dict[str, str]) -> dict[str, object]:
    """Return what the page's script needs to know: addresses, and every word it shows."""
    return {
        "library": static("vendor/maplibre-gl/maplibre-gl.mjs"),
        "worker": static("vendor/maplibre-gl/maplibre-gl-worker.mjs"),
        "casePage": _CASE_PAGES.get(actor.role, _READING),
        "mayHeat": sees_whole(actor),
        "tops": tops,
        "states": {code: say(STATES[code]) for code in open_states()},
        "due": [{"css": css, "shape": shape, "word": say(word)} for css, shape, word in DUE],
        "cellKinds": {code: say(word) for code, word in CELL_KINDS.items()},
        "words": {
            "left": say("{span} left"),
            "over": say("over by {span}"),
            "days": say("{days} d {hours} h"),
            "hours": say("{hours} h {minutes} min"),
            "minutes": say("{minutes} min"),
            "noLimit": say("No limit running"),
            "open": say("Open the case"),
            "cell": say("Cell {code}"),
            "openHere": say("{n} open cases"),
            "crowd": say("{n} cases here so far; zoom in to see the open ones"),
            "sources": say("Show the sources"),
            "zoomIn": say("Zoom in"),
            "zoomOut": say("Zoom out"),
            "map": say("Map of open cases; arrow keys move it, plus and minus zoom"),
            "close": say("Close this window"),
            "noMap": say("This browser cannot draw the map. The list has all the same cases."),
            "source": say("Boundaries: the district's own"),
        },
    }

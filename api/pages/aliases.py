"""Names of places 别名 that wait for a second person: the list, proposing one, confirming and rejecting.

Part of the desk, whose router includes this one. Rules are `hotline.aliases`': nobody decides about their own proposal,
and only confirmed names are read by the geocoder.
"""

import uuid
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api import wiring
from api.deps import Now, Read, Write, require
from api.errors import sentence, status_of
from api.pages import go, page
from api.pages.entered import Form
from core.actor import Actor
from core.db import transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound, WanggeError
from dispatch import views
from dispatch.sheet import facts
from hotline import aliases

router = APIRouter(include_in_schema=False)

Staff = Annotated[Actor, Depends(require(*aliases.ROLES))]
#: Names on the page; the rest follows as these are decided.
_SHOWN: Final = 50
#: How sure the geocoder must be of a place that is named by words, and how exact.
_SURE, _EXACT_M = 0.8, 300.0


@router.get("/desk/aliases")
def listed(request: Request, session: Read, actor: Staff, *, case: str = "", done: str = "") -> Response:
    """Show the names that wait, those decided last, and the form to propose one: for the place of a case, if named."""
    return _page(request, session, actor, _of_case(session, case[:30]), done=done)


@router.post("/desk/aliases")
def propose(request: Request, session: Write, actor: Staff, at: Now, entered: Form) -> Response:
    """Propose a name for a point, or for a place that the program knows."""
    try:
        with session.begin_nested():
            spot = _spot(entered)
            aliases.propose(
                session,
                entered.get("name", ""),
                actor=actor,
                at=at,
                lng=spot[0],
                lat=spot[1],
                valid_from=_day(entered, "valid_from"),
                valid_to=_day(entered, "valid_to"),
                reason=entered.get("reason", ""),
            )
    except (Conflict, Invalid, NotFound) as error:
        return _page(request, session, actor, entered, error=error)
    return go("/desk/aliases?done=proposed")


@router.post("/desk/aliases/{alias}/confirm")
def confirm(request: Request, session: Write, actor: Staff, at: Now, alias: uuid.UUID) -> Response:
    """Confirm a name as a second person: the next caller's is understood by it."""
    try:
        with session.begin_nested():
            aliases.confirm(session, alias, actor=actor, at=at)
    except (Conflict, Forbidden) as error:
        return _page(request, session, actor, {}, error=error)
    return go("/desk/aliases?done=confirmed")


@router.post("/desk/aliases/{alias}/reject")
def reject(request: Request, session: Write, actor: Staff, at: Now, *, alias: uuid.UUID, entered: Form) -> Response:
    """Reject a name as a second person, with a reason that stays on record."""
    try:
        with session.begin_nested():
            aliases.reject(session, alias, actor=actor, at=at, reason=entered.get("why", ""))
    except (Conflict, Forbidden, Invalid) as error:
        return _page(request, session, actor, {}, error=error)
    return go("/desk/aliases?done=rejected")


def note_called(actor: Actor, name: str, spot: tuple[float, float], *, number: str, at: datetime) -> str:
    """Propose what a caller calls the place of a case, in a transaction of its own; return what speaks against it.

    spot: EPSG:4490 degrees. A name that waits already says nothing new and is no fault.
    """
    try:
        with transaction(actor) as session:
            aliases.propose(session, name, actor=actor, at=at, lng=spot[0], lat=spot[1], reason=number)
    except Conflict:
        return ""
    except WanggeError as error:
        return sentence(error)
    return ""


def _of_case(session: Session, number: str) -> dict[str, str]:
    """Return what the form begins with: the place of a case that the actor may see."""
    found = views.find_number(session, number) if number else None
    if found is None:
        return {}
    case = facts(session, found)
    if case.lng is None or case.lat is None:
        return {"reason": case.number}
    spot = {"lng": f"{case.lng:.6f}", "lat": f"{case.lat:.6f}"}
    return spot | {"place": case.place_name, "reason": case.number}


def _spot(entered: Mapping[str, str]) -> tuple[float, float]:
    """Return the point that a form means, EPSG:4490: clicked on the map, else what the program knows by the words."""
    if entered.get("lng") and entered.get("lat"):
        try:
            return float(entered["lng"]), float(entered["lat"])
        except ValueError as error:
            raise Invalid("Click on the map to choose the place.", field="place") from error
    words = entered.get("place", "").strip()[:100]
    if not words:
        raise Invalid("Name the place as the program knows it, or click on the map.", field="place")
    answer = wiring.intake().places.locate(words)
    best = answer.matches[0] if answer.matches else None
    if best is None or answer.ambiguous or best.confidence < _SURE or best.radius_m > _EXACT_M:
        raise Invalid("The program is not sure where {place} is; click on the map.", field="place", place=words)
    return best.lng, best.lat


def _day(entered: Mapping[str, str], name: str) -> date | None:
    written = entered.get(name, "").strip()
    try:
        return date.fromisoformat(written) if written else None
    except ValueError as error:
        raise Invalid("{day} is no date; write 2026-11-21.", field=name, day=written[:20]) from error


def _page(
    request: Request,
    session: Session,
    actor: Actor,
    entered: Mapping[str, str],
    *,
    done: str = "",
    error: WanggeError | None = None,
) -> Response:
    rows = aliases.waiting(session, limit=_SHOWN)
    return page(
        request,
        "desk/aliases.html",
        status=status_of(error) if error else 200,
        rows=rows,
        waiting=aliases.count(session),
        decided=aliases.decided(session),
        mine={row.id for row in rows if row.proposed_by == actor.id},
        spots=orjson.dumps([_drawn(row, no) for no, row in enumerate(rows, start=1)]).decode(),
        entered=entered,
        done=done,
        problem=sentence(error) if error else "",
        field=(error.field or "") if error else "",
    )


def _drawn(row: aliases.Waiting, no: int) -> dict[str, Any]:
    return {"no": no, "name": row.name, "lng": row.lng, "lat": row.lat}

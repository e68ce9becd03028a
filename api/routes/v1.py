"""The JSON API, version 1: reports, accounts and the district. Problems are RFC 9457; lists are bounded.

Reports need no account. Everything else needs a bearer token (`POST /api/v1/tokens`) or the session cookie of the
pages together with the header `X-CSRF-Token`. Work on cases is `api.routes.cases`.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Request
from starlette.responses import Response

from api import deps, security, wiring
from api.deps import Me, Now, Read, require
from api.errors import SignInNeeded
from api.i18n import say
from api.pages import matter, public
from api.pages import session as signing
from api.routes.documents import (
    CategoryOut,
    Credentials,
    Named,
    NewReport,
    Point,
    ProgressOut,
    ReceiptOut,
    StepOut,
    TextIn,
    TokenOut,
    UnderstandingOut,
)
from api.routes.places import match_out
from core.actor import Actor, Role, system
from core.datums import Datum, point
from core.db import actor_of, snapshot
from core.errors import NotFound
from core.ids import is_checked
from dispatch import sheet
from dispatch.numbers import access_hash
from hotline.geocode import WHY
from hotline.intake import Report, Understanding

router = APIRouter(prefix="/api/v1")

#: Everybody whose work is cases.
_Staff = Annotated[Actor, Depends(require(Role.OPERATOR, Role.SUPERVISOR, Role.UNIT, Role.GRID_WORKER, Role.OFFICIAL))]


@router.post("/tokens", status_code=201, tags=["accounts"])
def make_token(request: Request, given: Credentials) -> TokenOut:
    """Give a bearer token for an account; it ends with the account's sessions, at the latest after 12 hours."""
    signed = signing.check(request, given.login, given.password)
    if signed is None:
        raise SignInNeeded("Login or password is wrong.")
    return TokenOut(token=security.sign_token(signed[0], signed[1]), expires_in=security.TOKEN_S)


@router.post("/reports", status_code=201, tags=["reports"])
def report(
    request: Request,
    response: Response,
    given: NewReport,
    *,
    actor: Me,
    at: Now,
    idempotency_key: Annotated[str | None, Header(min_length=16, max_length=64, pattern=r"^[0-9A-Za-z_\-]+$")] = None,
) -> ReceiptOut:
    """Take a report. The same `Idempotency-Key` again, or the same source id, is the same report and its receipt.

    What a grid worker sends as `patrol` becomes a patrol event, at a point in the own town.
    """
    staff = actor.role in (Role.OPERATOR, Role.SUPERVISOR, Role.GRID_WORKER)
    if not staff and (given.channel != "web" or given.source_id or given.category):
        raise SignInNeeded("Only staff may name channel, source and category; please sign in.", field="channel")
    taken = Report(
        given.channel,
        given.text,
        min(given.reported_at or at, at),
        title=given.title,
        source_id=given.source_id,
        idempotency_key=idempotency_key,
        name=given.name,
        phone=given.phone,
        category=given.category,
        event=given.event,
        **_point(given.point),
    )
    receipt = public.receive(request, taken, actor=actor, at=at, photos=[])
    response.headers["Location"] = f"/api/v1/progress/{receipt.number}"
    if receipt.repeated:
        response.status_code = 200
    return ReceiptOut(
        number=receipt.number,
        access_code=receipt.access_code,
        state=receipt.state,
        unit=receipt.unit_code,
        unit_name=receipt.unit_name,
        due_at=receipt.due_at,
        due_clock=receipt.due_clock,
        town=receipt.town_name,
        cell=receipt.cell_code,
        repeated=receipt.repeated,
        emergency=receipt.emergency,
        call=receipt.call,
    )


def _point(given: Point | None) -> dict[str, Any]:
    if given is None:
        return {}
    # Refused here with its own words: outside China, swapped, an unknown datum.
    point(given.lng, given.lat, given.datum)
    return {"lng": given.lng, "lat": given.lat, "datum": Datum.parse(given.datum).value}


@router.post("/understand", tags=["reports"])
def understand(given: TextIn, at: Now) -> UnderstandingOut:
    """Say what the program makes of a text: place, category, urgency, unit. Nothing is kept."""
    return _understood(
        wiring.intake().understand(Report("web", given.text, at, title=given.title, **_point(given.point)))
    )


def _understood(found: Understanding) -> UnderstandingOut:
    place, kinds = found.place, found.classification
    return UnderstandingOut(
        status=found.answer.status,
        why=say(WHY[found.answer.why], **found.answer.detail),
        matches=[match_out(match) for match in found.answer.matches],
        town=place.town_code if place else None,
        cell=place.cell_code if place else None,
        kind=kinds.kind,
        level1=kinds.level1,
        category=found.category,
        categories=[
            CategoryOut(code=c.code, name=c.name, probability=round(c.probability, 4)) for c in kinds.categories
        ],
        urgency=kinds.urgency,
        words=[word for word in kinds.words if word not in kinds.urgency_words],
        urgency_words=list(kinds.urgency_words),
        model=kinds.model,
        unit=found.decision.unit if found.decision else None,
        doubts=[say(doubt) for doubt in found.doubts],
    )


@router.get("/progress/{number}", tags=["reports"])
def progress(
    request: Request, number: str, access_code: Annotated[str | None, Header(max_length=10)] = None
) -> ProgressOut:
    """Say how far a matter is; with the receipt's code in the header `Access-Code` also its text and answer."""
    if not is_checked(number):
        raise NotFound("There is no matter with this number.")
    deps.throttle(request, "lookup", deps.address_of(request), most=matter.MOST_LOOKUPS)
    if access_code is not None:
        deps.throttle(request, "code", number, most=matter.MOST_CODES)
    with snapshot(system(deps.district(), "progress")) as session:
        found = sheet.progress(session, number, access_hash=access_hash(number, access_code) if access_code else None)
    return ProgressOut(
        number=found.number,
        state=found.state,
        open=found.open,
        kind=found.kind,
        received_at=found.received_at,
        closed_at=found.closed_at,
        category=found.category_name,
        town=found.town_name,
        unit=found.unit_name,
        steps=[StepOut(action=step.action, state=step.state, at=step.at) for step in found.steps],
        own=found.own,
        text=found.text,
        answer=found.answer,
        due_at=found.due_at,
        satisfaction=found.satisfaction,
    )


@router.get("/categories", tags=["district"])
def categories() -> list[Named]:
    """Return the category tree, flat, parents named."""
    return [
        Named(code=n.code, name=n.name, parent=n.parent, kind=n.kind) for n in wiring.rulebook().categories.values()
    ]


@router.get("/areas", tags=["district"])
def areas(level: Literal["town", "community"] | None = None) -> list[Named]:
    """Return towns and communities."""
    found = wiring.rulebook().areas.values()
    return [Named(code=n.code, name=n.name, parent=n.parent, kind=n.kind) for n in found if level in (None, n.kind)]


@router.get("/units", tags=["district"])
def units(actor: _Staff) -> list[Named]:
    """Return the active units; parent is the deputy."""
    del actor
    return [Named(code=n.code, name=n.name, parent=n.parent, kind=n.kind) for n in wiring.rulebook().units.values()]


@router.get("/me", tags=["accounts"])
def me(actor: Me, session: Read) -> dict[str, str]:
    """Say who the caller is to the system."""
    assert actor_of(session) == actor
    return {"name": actor.name, "role": actor.role.value, "town": actor.town, "unit": actor.unit}

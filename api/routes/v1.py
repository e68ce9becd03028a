"""The JSON API, version 1: what the pages can do, for programs. Problems are RFC 9457; lists are bounded.

Reports need no account. Everything else needs a bearer token (`POST /api/v1/tokens`) or the session cookie of the
pages together with the header `X-CSRF-Token`. An action names the version that it saw, as `expected_version` or in the
header `If-Match`; a stale one is answered with 409 and changes nothing.
"""

import uuid
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from api import deps, security, wiring
from api.deps import Me, Now, Read, Write, require
from api.errors import SignInNeeded
from api.i18n import say
from api.pages import matter, public
from api.pages import session as signing
from api.routes.documents import (
    ActionIn,
    ActionOut,
    CaseOut,
    CasePage,
    CategoryOut,
    Credentials,
    DoneOut,
    Listed,
    MatchOut,
    Named,
    NewReport,
    Point,
    ProgressOut,
    ReceiptOut,
    StepOut,
    Text,
    TextIn,
    TokenOut,
    UnderstandingOut,
)
from core.actor import Actor, Role, system
from core.datums import Datum, from_cgcs2000, point
from core.db import actor_of, snapshot
from core.errors import Invalid, NotFound
from core.ids import is_checked
from dispatch import cases, sheet, views
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
    """Take a report. The same `Idempotency-Key` again, or the same source id, is the same report and its receipt."""
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


@router.get("/geocode", tags=["reports"])
def geocode(text: Annotated[Text, Query(min_length=1, max_length=500)]) -> list[MatchOut]:
    """Return the places inside the district that a text may mean, likeliest first; WGS84; empty where it abstains."""
    return _matches(wiring.intake().places.locate(text).matches)


def _matches(matches: Any) -> list[MatchOut]:
    found = []
    for match in matches:
        ((lng, lat),) = from_cgcs2000([[match.lng, match.lat]], Datum.WGS84)
        found.append(
            MatchOut(
                lng=round(float(lng), 6),
                lat=round(float(lat), 6),
                radius_m=round(match.radius_m, 1),
                confidence=round(match.confidence, 4),
                kind=match.kind,
                name=match.name,
                town=match.town_code,
                why=say(WHY[match.why], **match.detail),
            )
        )
    return found


def _understood(found: Understanding) -> UnderstandingOut:
    place, kinds = found.place, found.classification
    return UnderstandingOut(
        status=found.answer.status,
        why=say(WHY[found.answer.why], **found.answer.detail),
        matches=_matches(found.answer.matches),
        town=place.town_code if place else None,
        cell=place.cell_code if place else None,
        kind=kinds.kind,
        level1=kinds.level1,
        category=found.category,
        categories=[
            CategoryOut(code=c.code, name=c.name, probability=round(c.probability, 4)) for c in kinds.categories
        ],
        urgency=kinds.urgency,
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


@router.get("/cases", tags=["cases"])
def list_cases(asked: Annotated[Listed, Query()], actor: _Staff, session: Read, at: Now) -> CasePage:
    """Return a page of the cases that the caller may see, least time left first."""
    del actor
    names = ("box", "unit", "town", "cell", "category", "kind", "urgency", "colour", "search")
    wanted = views.Filter(**{name: getattr(asked, name) for name in names})
    found = views.worklist(session, wanted, at=at, sort=asked.sort, after=asked.after, limit=asked.limit)
    return CasePage(
        cases=[CaseOut.model_validate(row) for row in found.rows], after=found.after, count=found.count, more=found.more
    )


@router.get("/cases/{number}", tags=["cases"])
def one_case(number: str, actor: _Staff, session: Read, response: Response) -> dict[str, Any]:
    """Return everything about a case that the caller may see; personal data masked. The ETag is the version."""
    del actor
    found = sheet.sheet(session, _id_of(session, number))
    response.headers["ETag"] = f'"{found.case.version}"'
    return asdict(found)


@router.get("/cases/{number}/actions", tags=["cases"])
def offered(number: str, actor: _Staff, session: Read) -> list[ActionOut]:
    """Return the steps that the caller may take now, from the process table."""
    facts = sheet.facts(session, _id_of(session, number))
    table = wiring.rulebook().process(facts.process, facts.process_version)
    return [
        ActionOut(
            action=step.action,
            label=say(step.label),
            target=step.target,
            needs=list(step.needs),
            may=list(step.may),
            reason_required=step.reason_required,
        )
        for step in table.offered(facts.state, actor.role)
    ]


@router.post("/cases/{number}/actions", tags=["cases"])
def act(
    number: str,
    given: ActionIn,
    *,
    actor: _Staff,
    session: Write,
    at: Now,
    if_match: Annotated[str | None, Header(max_length=40)] = None,
) -> DoneOut:
    """Take a step. Raises 409 when the case went on since the version that the caller saw."""
    del actor
    done = cases.act(
        session,
        wiring.rulebook(),
        _id_of(session, number),
        given.action,
        expected_version=_version(given.expected_version, if_match),
        at=at,
        happened_at=given.happened_at,
        fields=given.fields,
    )
    return DoneOut(number=done.number, state=done.state, version=done.version, entry=done.seq)


def _version(named: int | None, if_match: str | None) -> int:
    if named is not None:
        return named
    tag = (if_match or "").removeprefix("W/").strip('"')
    if not tag.isascii() or not tag.isdigit() or len(tag) > 9:
        raise Invalid("Name the version that you saw, as expected_version or in If-Match.", field="expected_version")
    return int(tag)


def _id_of(session: Session, number: str) -> uuid.UUID:
    found = views.find_number(session, number[:30])
    if found is None:
        raise NotFound("There is no case with this number, or it is not yours to see.")
    return found


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

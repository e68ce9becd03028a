"""Windows in the JSON API for those who serve there: who comes on a day, who came, closing days and opening them again.

The same rights and refusals as on the pages, because both ask `dispatch.visits` and `dispatch.daysoff`.
"""

from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from api import deps, wiring
from api.deps import Now, Read, Write, require
from api.pages.appointments import STAFF, as_program, day_of_form, new_number
from api.routes.documents import Model, Text
from api.wording import CHINA
from core.actor import Actor, Role, system
from core.crypto import unseal
from core.db import snapshot
from core.documents import masked
from core.errors import Invalid
from dispatch import appointments, daysoff, visits
from dispatch.daysoff import Span

router = APIRouter(prefix="/api/v1", tags=["appointments"])

Staff = Annotated[Actor, Depends(require(*STAFF))]
Keeper = Annotated[Actor, Depends(require(Role.OPERATOR, Role.UNIT, Role.SUPERVISOR))]
_Day = Annotated[Text, Query(max_length=10, description="A date, as 2026-11-21.")]
_Number = Annotated[Text, Field(max_length=30)]
_MOST_FATES = 2000


class VisitOut(Model):
    """One appointment of a day's list; name and phone are masked."""

    number: str
    window: str
    starts_at: datetime
    ends_at: datetime
    status: Literal["booked", "cancelled", "kept", "missed"]
    item: str
    name: str
    phone: str
    address: str
    area: str
    booked_by: str
    case: str


class MarkIn(Model):
    """Whether somebody came."""

    status: Literal["kept", "missed"]


class ClosedDay(Model):
    """A day on which a window is closed."""

    day: date
    reason: str


class ConcernedOut(Model):
    """Somebody who had booked on days that would be closed."""

    number: str
    starts_at: datetime
    ends_at: datetime
    name: str
    phone: str


class CloseIn(Model):
    """Days to close, and what happens to everybody who had booked on them."""

    first: date
    last: date | None = None
    reason: Text = Field(max_length=200)
    fates: dict[_Number, Annotated[Text, Field(max_length=40)]] = Field(
        default_factory=dict,
        max_length=_MOST_FATES,
        description="Number of each appointment: cancel, by_hand, or the beginning of another slot of the window.",
    )


class CloseOut(Model):
    """What a closing did."""

    cancelled: int
    moved: int
    by_hand: int


class OpenIn(Model):
    """The day that is open again, and why."""

    day: date
    reason: Text = Field(max_length=200)


@router.get("/visits")
def listed(
    session: Read, actor: Staff, at: Now, day: _Day = "", window: Annotated[Text, Query(max_length=40)] = ""
) -> list[VisitOut]:
    """Return the appointments of a day, today's by default, that the account may see, by time; at most 500."""
    del actor
    when = day_of_form(day) or at.astimezone(CHINA).date()
    return [_visit(one) for one in visits.listed(session, deps.district(), when, window_code=window)]


def _visit(one: visits.Visit) -> VisitOut:
    return VisitOut.model_validate(
        {
            "number": one.number,
            "window": one.window_code,
            "starts_at": one.starts_at,
            "ends_at": one.ends_at,
            "status": one.status,
            "item": one.item_code,
            "name": one.name,
            "phone": one.phone,
            "address": one.address,
            "area": one.area_code,
            "booked_by": one.booked_by,
            "case": one.case_number,
        }
    )


@router.post("/visits/{number}", status_code=204)
def mark(session: Write, actor: Staff, at: Now, number: Text, given: MarkIn) -> None:
    """Say that somebody came or did not; 409 for what is still to come, was cancelled, or is more than a week ago."""
    visits.mark(session, deps.district(), number[:30], given.status, at=at, by=actor.name)


@router.get("/windows/{code}/closings")
def closings(actor: Keeper, at: Now, code: Text) -> list[ClosedDay]:
    """Return the days to come on which a window is closed; 403 where it is not the account's to close."""
    book, today = wiring.rulebook(), at.astimezone(CHINA).date()
    with snapshot(system(book.district, "appointments")) as session:
        place = daysoff.own_window(session, book, code[:40], actor=actor)
        found = appointments.closures(session, book, place.code, first=today, last=today + daysoff.AHEAD)
    return [ClosedDay(day=day, reason=reason) for day, reason in sorted(found.items())]


@router.get("/windows/{code}/closings/concerned")
def concerned(actor: Keeper, at: Now, code: Text, first: _Day, last: _Day = "") -> list[ConcernedOut]:
    """Return who had booked on days that would be closed: a closing has to say what happens to each of them."""
    book = wiring.rulebook()
    start = day_of_form(first)
    if start is None:
        raise Invalid("Choose the day.", field="first")
    span = Span(code[:40], start, day_of_form(last) or start)
    daysoff.check(span, at=at)
    with snapshot(system(book.district, "appointments")) as session:
        daysoff.own_window(session, book, span.code, actor=actor)
        return [
            ConcernedOut(
                number=row.number,
                starts_at=row.starts_at,
                ends_at=row.ends_at,
                name=masked("name", unseal(row.name_sealed, context="appointment.name")),
                phone=masked("phone", unseal(row.phone_sealed, context="appointment.phone")),
            )
            for row in daysoff.concerned(session, book, span, at=at)
        ]


@router.post("/windows/{code}/closings", status_code=201)
def close(actor: Keeper, at: Now, code: Text, given: CloseIn) -> CloseOut:
    """Close a window on some days, with a decision about everybody who had booked: all of it, or nothing."""
    book = wiring.rulebook()
    span = Span(code[:40], _sane(given.first), _sane(given.last or given.first))
    daysoff.check(span, at=at)
    done = as_program(
        lambda session: daysoff.close(
            session,
            book,
            span,
            actor=actor,
            reason=given.reason,
            fates=given.fates,
            number=lambda: new_number(at),
            at=at,
        )
    )
    return CloseOut(cancelled=done.cancelled, moved=done.moved, by_hand=done.by_hand)


@router.post("/windows/{code}/openings", status_code=204)
def reopen(actor: Keeper, at: Now, code: Text, given: OpenIn) -> None:
    """Open a window again on a day, with a reason; what was cancelled stays cancelled."""
    book, day = wiring.rulebook(), _sane(given.day)
    as_program(lambda session: daysoff.reopen(session, book, code[:40], day, actor=actor, reason=given.reason, at=at))


def _sane(day: date) -> date:
    """Return a day that can be counted from; raises Invalid for one of another age."""
    return day_of_form(day.isoformat()) or day

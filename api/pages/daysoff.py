"""Closing a window for a day 停办: who is concerned comes first, with what happens to each; and opening it again.

For the window's own unit and the district centre. What is closed and what becomes of people is `dispatch.daysoff`'s.
"""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api import deps, wiring
from api.deps import Now, require
from api.errors import sentence, status_of
from api.pages import go, page
from api.pages.appointments import as_program, day_of_form, new_number, time_words
from api.pages.entered import Entered, Form
from api.wording import CHINA
from core.actor import Actor, Role, system
from core.crypto import unseal
from core.db import snapshot
from core.documents import masked
from core.errors import Conflict, Invalid, WanggeError
from dispatch import appointments, daysoff
from dispatch.daysoff import Span

router = APIRouter(include_in_schema=False)

Keeper = Annotated[Actor, Depends(require(Role.OPERATOR, Role.UNIT, Role.SUPERVISOR))]
#: Free times that are offered for each appointment that has to move.
_OFFERED = 12
#: How far ahead days off are listed.
_LISTED = timedelta(days=120)


@router.get("/window/closing")
def look(request: Request, actor: Keeper, at: Now, form: Form) -> Response:
    """Show the days off to come and, for a window and days that were named, who had booked."""
    return _page(request, actor, form, at=at)


@router.post("/window/closing")
def close(request: Request, actor: Keeper, at: Now, form: Form) -> Response:
    """Close the days, with what was chosen for everybody who had booked; refused, nothing is changed."""
    book = wiring.rulebook()
    try:
        span = _span(form, at=at)
        fates = {name.removeprefix("fate-"): chosen for name, chosen in form.items() if name.startswith("fate-")}
        done = as_program(
            lambda session: daysoff.close(
                session,
                book,
                span,
                actor=actor,
                reason=form.get("reason", ""),
                fates=fates,
                number=lambda: new_number(at),
                at=at,
            )
        )
    except (Conflict, Invalid) as error:
        return _page(request, actor, form, at=at, error=error)
    return go(f"/window/closing?done={done.cancelled}-{done.moved}-{done.by_hand}&window={span.code}")


@router.post("/window/opening")
def reopen(request: Request, actor: Keeper, at: Now, form: Form) -> Response:
    """Open a window again on one day."""
    book = wiring.rulebook()
    code = form.get("window", "")[:40]
    try:
        day = day_of_form(form.get("day", "")) or at.astimezone(CHINA).date()
        reason = form.get("reason", "")
        as_program(lambda session: daysoff.reopen(session, book, code, day, actor=actor, reason=reason, at=at))
    except (Conflict, Invalid) as error:
        return _page(request, actor, Entered({"window": code}), at=at, error=error)
    return go(f"/window/closing?done=opened&window={code}")


def _span(form: Entered, *, at: datetime) -> Span:
    """Return the days that a form names; raises Invalid."""
    first = day_of_form(form.get("day", ""))
    if first is None:
        raise Invalid("Choose the day.", field="day")
    span = Span(form.get("window", "")[:40], first, day_of_form(form.get("until", "")) or first)
    daysoff.check(span, at=at)
    return span


def _page(request: Request, actor: Actor, form: Entered, *, at: datetime, error: WanggeError | None = None) -> Response:
    book, code = wiring.rulebook(), form.get("window", "")[:40]
    today = at.astimezone(CHINA).date()
    booked, free, span = [], [], None
    with snapshot(system(deps.district(), "appointments")) as session:
        own = [one for one in appointments.windows(session, book) if daysoff.may_close(actor, one)]
        if code:
            # Raises for a window that is not theirs, whatever else the address says.
            place = daysoff.own_window(session, book, code, actor=actor)
            if form.get("day"):
                try:
                    span = _span(form, at=at)
                except Invalid as wrong:
                    error = error or wrong
            if span is not None:
                booked = daysoff.concerned(session, book, span, at=at)
                days = appointments.free_days(session, book, place, at=at)
                closing = set(span.days())
                left = {day: slots for day, slots in days.items() if day not in closing}
                free = appointments.next_free(left, after=at, most=max(_OFFERED, 2 * len(booked)))
        off = {
            one.code: appointments.closures(session, book, one.code, first=today, last=today + _LISTED) for one in own
        }
    return page(
        request,
        "appointments/closing.html",
        status=status_of(error) if error else 200,
        problem=sentence(error) if error else "",
        windows=own,
        names={one.code: one.name for one in own},
        code=code,
        span=span,
        booked=[(row, *_who(row)) for row in booked],
        free=free,
        off=[(code, day, why) for code, days in off.items() for day, why in days.items()],
        entered=form,
        done=_done(request),
        today=today,
        noon=lambda day: datetime(day.year, day.month, day.day, 12, tzinfo=CHINA),
        **time_words(at),
    )


def _who(row: appointments.Appointment) -> tuple[str, str]:
    """Return name and phone, masked."""
    name = unseal(row.name_sealed, context="appointment.name")
    return masked("name", name), masked("phone", unseal(row.phone_sealed, context="appointment.phone"))


def _done(request: Request) -> tuple[int, int, int] | str:
    """Return how many were cancelled, moved and left to call after a closing, or `opened`; empty for neither."""
    said = request.query_params.get("done", "") if request.method == "GET" else ""
    parts = said.split("-")
    if len(parts) == 3 and all(part.isascii() and part.isdigit() and len(part) < 5 for part in parts):
        return int(parts[0]), int(parts[1]), int(parts[2])
    return "opened" if said == "opened" else ""

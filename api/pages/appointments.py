"""Appointments 预约 for residents and for the people at the windows: choose, book, change, cancel; who comes today.

Without an account: number and code open one's own appointment. Staff book through the same pages for somebody on the
telephone; the list of a day and its marks are for those who serve there.
"""

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import cache
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api import deps, security, wiring
from api.deps import Me, Now, Read, Write, require
from api.errors import sentence, status_of
from api.i18n import N_, say
from api.pages import go, page
from api.wording import CHINA, day_words
from core.actor import Actor, Role, system
from core.db import snapshot, transaction
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from dispatch import appointments, daysoff, visits
from dispatch.appointments import Appointment, Booked, ServiceWindow, SlotTaken, Wanted
from dispatch.numbers import Numbers, access_code, spoken
from dispatch.rulebook import Rulebook

router = APIRouter(include_in_schema=False)

#: Whose windows they are, and who books for callers.
STAFF = (Role.OPERATOR, Role.UNIT, Role.GRID_WORKER, Role.SUPERVISOR)
Staff = Annotated[Actor, Depends(require(*STAFF))]
#: From one network address, in ten minutes.
MOST_BOOKINGS, MOST_LOOKUPS, MOST_CODES = 30, 60, 10
#: How long the address of one's own appointment holds.
_OWN_S = 3600
_KEY = re.compile(r"[0-9A-Za-z_\-]{16,64}")
STATUSES = {
    "booked": N_("Booked"),
    "cancelled": N_("Cancelled"),
    "kept": N_("Came"),
    "missed": N_("Did not come"),
}
KINDS = {"window": N_("Window"), "home": N_("Home visit")}

Made = TypeVar("Made")


def time_words(at: datetime) -> dict[str, Any]:
    """Return what every template here says times with."""
    return {
        "day_of": lambda moment: day_words(moment, now=at),
        "hhmm": lambda moment: f"{moment.astimezone(CHINA):%H:%M}",
        "kinds": KINDS,
        "statuses": STATUSES,
        "at": at,
    }


@cache
def _numbers(district: str) -> Numbers:
    return Numbers(district)


def new_number(at: datetime) -> str:
    """Return the number of a new appointment."""
    code = deps.district()
    return appointments.numbered(_numbers(code).take(at))


def as_program(work: Callable[[Session], Made]) -> Made:
    """Do something in a transaction of the program's own: a booking asks for more rows than anybody may see."""
    with transaction(system(deps.district(), "appointments")) as session:
        return work(session)


def reserve(request: Request, actor: Actor, wanted: Wanted, *, at: datetime) -> Booked:
    """Book for a resident or, by staff, for somebody on the telephone; raises TooMany for a machine."""
    if actor.role not in STAFF:
        deps.throttle(request, "appointment", deps.address_of(request), most=MOST_BOOKINGS)
    book, number = wiring.rulebook(), new_number(at)
    return as_program(lambda session: appointments.book_slot(session, book, wanted, at=at, number=number))


def look_up(request: Request, number: str, code: str) -> Appointment:
    """Return one's own appointment; raises NotFound, and TooMany for whoever guesses."""
    deps.throttle(request, "lookup", deps.address_of(request), most=MOST_LOOKUPS)
    deps.throttle(request, "code", number[:30], most=MOST_CODES)
    with snapshot(system(deps.district(), "appointments")) as session:
        return appointments.find(session, deps.district(), number[:30], code[:10])


def give_back(number: str, code: str, *, at: datetime) -> None:
    """Cancel one's own appointment."""

    def work(session: Session) -> None:
        row = appointments.find(session, deps.district(), number, code, lock=True)
        appointments.cancel(session, row, at=at)

    as_program(work)


def exchange(number: str, code: str, starts_at: datetime, *, at: datetime) -> Booked:
    """Move one's own appointment to another time of the same window; the old one stands where that is refused."""
    book, fresh = wiring.rulebook(), new_number(at)

    def work(session: Session) -> Booked:
        row = appointments.find(session, book.district, number, code, lock=True)
        return appointments.move(session, book, row, starts_at, at=at, number=fresh)

    return as_program(work)


@router.get("/appointments")
def choose(request: Request, at: Now) -> Response:
    """Show the windows, then the days and times of the one chosen, then the form for a time."""
    given = request.query_params
    if not given.get("window"):
        book = wiring.rulebook()
        with snapshot(system(book.district, "appointments")) as session:
            found = appointments.windows(session, book, item=given.get("item", "")[:40])
        return page(
            request,
            "appointments/windows.html",
            windows=found,
            item=given.get("item", "")[:40],
            unit_name=book.unit_name,
            hours=_hours(book),
            problem="",
            **time_words(at),
        )
    return _times(request, at)


def _hours(book: Rulebook) -> str:
    return ", ".join(f"{a:%H:%M}-{b:%H:%M}" for a, b in book.work.hours.spans)


def _times(
    request: Request, at: datetime, *, status: int = 200, problem: str = "", entered: dict[str, str] | None = None
) -> Response:
    """Draw the times of a window; `entered` holds what was typed when a booking was refused."""
    entered = dict.fromkeys(("name", "phone", "area", "address"), "") | (entered or {})
    given = {**request.query_params, **entered}
    book = wiring.rulebook()
    with snapshot(system(book.district, "appointments")) as session:
        window = appointments.window(session, book, given.get("window", "")[:40])
        days = appointments.free_days(session, book, window, at=at)
        last = appointments.last_day(book, at)
        closed = appointments.closures(session, book, window.code, first=at.astimezone(CHINA).date(), last=last)
    chosen = _chosen(given.get("day", ""), days)
    try:
        moment = _moment(given["at"]) if given.get("at") else None
    except Invalid as error:
        # The page of times is the place to choose another one.
        moment, status, problem = None, status_of(error), problem or sentence(error)
    slot = next((one for one in days.get(chosen, ()) if one.starts_at == moment), None) if chosen else None
    return page(
        request,
        "appointments/times.html",
        status=status,
        problem=problem,
        window=window,
        days=days,
        closed=closed,
        free={day: sum(1 for one in slots if one.free) for day, slots in days.items()},
        chosen=chosen,
        slot=slot if slot and slot.free else None,
        offered=appointments.next_free(days, after=moment or at) if problem else [],
        entered=entered,
        item=given.get("item", "")[:40],
        moving=given.get("move", "") if security.read_text("appointment", given.get("move", ""), _OWN_S) else "",
        areas=_areas(book, window),
        key=str(new_id()),
        **time_words(at),
    )


def _chosen(written: str, days: dict[date, list[Any]]) -> date | None:
    """Return the day in the address, else the first with something free."""
    asked = next((day for day in days if day.isoformat() == written), None)
    return asked or next((day for day, slots in days.items() if any(one.free for one in slots)), None)


def _moment(written: str) -> datetime:
    try:
        moment = datetime.fromisoformat(written.replace(" ", "+"))
    except ValueError as error:
        raise Invalid("This time cannot be read; choose one from the list.", field="starts_at") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=CHINA)


def _areas(book: Rulebook, window: ServiceWindow) -> list[tuple[str, str]]:
    """Return the communities that a home service comes to, with their names."""
    if window.kind != "home":
        return []
    prefix = window.area_code[:12]
    return sorted(
        (code, node.name) for code, node in book.areas.items() if node.kind == "community" and code.startswith(prefix)
    )


@router.post("/appointments")
def book(
    request: Request,
    actor: Me,
    at: Now,
    *,
    window: Annotated[str, Form()],
    starts_at: Annotated[str, Form()] = "",
    name: Annotated[str, Form()] = "",
    phone: Annotated[str, Form()] = "",
    item: Annotated[str, Form()] = "",
    area: Annotated[str, Form()] = "",
    address: Annotated[str, Form()] = "",
    key: Annotated[str, Form()] = "",
) -> Response:
    """Book a time; where somebody was faster, show what is free next and keep what was typed."""
    if not _KEY.fullmatch(key):
        raise Invalid("This page is too old or came from elsewhere; load it again. Nothing was changed.", field="key")
    entered = {"window": window, "at": starts_at, "day": starts_at[:10], "name": name, "phone": phone}
    entered |= {"item": item, "area": area, "address": address}
    try:
        wanted = Wanted(
            window[:40],
            _moment(starts_at),
            name,
            phone,
            item=item,
            area=area,
            address=address,
            by=actor.name,
            key=key,
        )
        made = reserve(request, actor, wanted, at=at)
    except (Conflict, Invalid) as error:
        return _times(request, at, status=status_of(error), problem=_said(error), entered=entered)
    return go("/appointments/mine/" + security.sign_text("appointment", made.number))


def _said(error: Conflict | Invalid) -> str:
    """Return the refusal; free times stand below it as links and need not be said twice."""
    if isinstance(error, SlotTaken):
        return say("This time is not free any more. Your entries are kept; choose another time.")
    return sentence(error)


@router.post("/appointments/find")
def find(request: Request, number: Annotated[str, Form()] = "", code: Annotated[str, Form()] = "") -> Response:
    """Check number and code and go on to one's own appointment."""
    row = look_up(request, number, code)
    return go("/appointments/mine/" + security.sign_text("appointment", row.number))


@router.get("/appointments/mine/{token}")
def mine(request: Request, token: str, at: Now) -> Response:
    """Show one's own appointment with number and code, to keep, move or cancel."""
    return _mine(request, token, at=at)


def _mine(request: Request, token: str, *, at: datetime, status: int = 200, problem: str = "") -> Response:
    number, book = _own(token), wiring.rulebook()
    with snapshot(system(book.district, "appointments")) as session:
        row = appointments.find(session, book.district, number, access_code(number))
        window = session.get(ServiceWindow, (book.district, row.window_code))
        day = row.starts_at.astimezone(CHINA).date()
        closed = appointments.closures(session, book, row.window_code, first=day, last=day)
    return page(
        request,
        "appointments/mine.html",
        status=status,
        problem=problem,
        row=row,
        window=window,
        closed=closed.get(day, ""),
        number=f"Y {spoken(number[1:])}",
        code=access_code(number),
        token=token,
        changeable=row.status == "booked" and row.starts_at > at,
        **time_words(at),
    )


def _own(token: str) -> str:
    number = security.read_text("appointment", token, _OWN_S)
    if number is None:
        raise NotFound("This page is no longer shown; look the appointment up by its number and code.")
    return number


@router.post("/appointments/mine/{token}/cancel")
def cancel(request: Request, token: str, at: Now) -> Response:
    """Give one's own appointment back."""
    number = _own(token)
    try:
        give_back(number, access_code(number), at=at)
    except Conflict as error:
        return _mine(request, token, at=at, status=status_of(error), problem=sentence(error))
    return go(f"/appointments/mine/{token}")


@router.post("/appointments/mine/{token}/move")
def move(
    request: Request,
    token: str,
    at: Now,
    *,
    window: Annotated[str, Form()],
    starts_at: Annotated[str, Form()] = "",
) -> Response:
    """Exchange one's own appointment for another time; refused, the old one stands."""
    number = _own(token)
    try:
        made = exchange(number, access_code(number), _moment(starts_at), at=at)
    except (Conflict, Invalid) as error:
        entered = {"window": window, "at": starts_at, "day": starts_at[:10], "move": token}
        return _times(request, at, status=status_of(error), problem=_said(error), entered=entered)
    return go("/appointments/mine/" + security.sign_text("appointment", made.number))


@router.get("/window/appointments")
def today(request: Request, session: Read, actor: Staff, at: Now) -> Response:
    """List who comes on a day, for those who serve at the windows."""
    book, given = wiring.rulebook(), request.query_params
    day = day_of_form(given.get("day", "")) or at.astimezone(CHINA).date()
    code = given.get("window", "")[:40]
    listed = visits.listed(session, book.district, day, window_code=code)
    windows = [one for one in appointments.windows(session, book) if _serves(actor, one)]
    return page(
        request,
        "appointments/day.html",
        listed=listed,
        windows=windows,
        closable=any(daysoff.may_close(actor, one) for one in windows),
        names={one.code: one.name for one in appointments.windows(session, book)},
        area_name=lambda area: book.areas[area[:12]].name if area[:12] in book.areas else area,
        code=code,
        day=day,
        before=day - timedelta(days=1),
        after=day + timedelta(days=1),
        noon=datetime(day.year, day.month, day.day, 12, tzinfo=CHINA),
        markable=day <= at.astimezone(CHINA).date(),
        waiting=sum(1 for one in listed if one.status == "booked"),
        **time_words(at),
    )


def day_of_form(written: str) -> date | None:
    """Return a day as forms and addresses write it; None for empty. Raises Invalid."""
    try:
        day = date.fromisoformat(written) if written else None
    except ValueError as error:
        raise Invalid("{day} is no date; write 2026-11-21.", field="day", day=written[:20]) from error
    if day and not date(2000, 1, 2) <= day <= date(2060, 12, 30):
        raise Invalid("{day} is no date; write 2026-11-21.", field="day", day=written[:20])
    return day


def _serves(actor: Actor, window: ServiceWindow) -> bool:
    """Return whether somebody's list holds a window's appointments; the row policy decides about each."""
    if actor.role is Role.UNIT:
        return window.unit_code == actor.unit
    if actor.role is Role.GRID_WORKER:
        return bool(actor.town) and window.town_code == actor.town
    return not actor.town or window.town_code == actor.town


@router.post("/window/appointments/{number}/{status}")
def mark(
    session: Write,
    actor: Staff,
    at: Now,
    number: str,
    status: str,
    *,
    day: Annotated[str, Form()] = "",
    window: Annotated[str, Form()] = "",
) -> Response:
    """Say that somebody came or did not, and go back to the list."""
    visits.mark(session, deps.district(), number[:30], status, at=at, by=actor.name)
    kept = f"&window={window}" if window.isalnum() else ""
    return go(f"/window/appointments?day={(day_of_form(day) or at.astimezone(CHINA).date())}{kept}#a-{number[:30]}")

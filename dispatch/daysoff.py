"""Days off of a window 停办日: who may close one, what becomes of everybody who had booked, and opening it again.

Nobody is left standing before a closed door: a day is closed only together with a decision about each appointment on
it. What the person is told goes out through the outbox and stands on the page of the appointment. Draws nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.errors import Conflict, Forbidden, Invalid
from core.ids import new_id
from dispatch import appointments
from dispatch.appointments import Appointment, ServiceWindow, SlotClosure, window
from dispatch.calendar import CHINA, china_time
from dispatch.models import Outbox
from dispatch.rulebook import Rulebook

#: Days that one press closes at most, and how far ahead.
MOST_DAYS: Final = 31
AHEAD: Final = timedelta(days=366)
#: What becomes of an appointment, beside the beginning of another slot: given back, or left for somebody to call.
CANCEL, BY_HAND = "cancel", "by_hand"


@dataclass(frozen=True, slots=True)
class Closed:
    """What a closing did."""

    cancelled: int
    moved: int
    #: Stand as they were; somebody has to call these people.
    by_hand: int


@dataclass(frozen=True, slots=True)
class Span:
    """Days of one window, first and last included."""

    code: str
    first: date
    last: date

    def days(self) -> Iterator[date]:
        """Yield the days in order."""
        for n in range((self.last - self.first).days + 1):
            yield self.first + timedelta(days=n)


def may_close(actor: Actor, place: ServiceWindow) -> bool:
    """Return whether somebody may close a window: its own unit, and the centre's people of the same scope."""
    if actor.role is Role.UNIT:
        return bool(actor.unit) and place.unit_code == actor.unit
    return actor.role in (Role.OPERATOR, Role.SUPERVISOR) and (not actor.town or place.town_code == actor.town)


def own_window(session: Session, book: Rulebook, code: str, *, actor: Actor, lock: bool = False) -> ServiceWindow:
    """Return a window that the actor may close; raises NotFound and Forbidden. lock: no booking goes on beside it."""
    place = window(session, book, code)
    if not may_close(actor, place):
        raise Forbidden("Only the window's own unit and the district centre close it.")
    if lock:
        # Bookings hold the same row shared: those that were on their way are there afterwards, later ones see the day.
        session.refresh(place, with_for_update=True)
    return place


def check(span: Span, *, at: datetime) -> None:
    """Raise Invalid for days that are over, too many or too far."""
    today = china_time(at).date()
    if span.first < today:
        raise Invalid("A day that is over cannot be closed.", field="day")
    if not span.first <= span.last < span.first + timedelta(days=MOST_DAYS):
        raise Invalid("From the first to the last day are at most {n} days.", field="until", n=MOST_DAYS)
    if span.last > today + AHEAD:
        raise Invalid("This day is more than a year ahead.", field="until")


def concerned(session: Session, book: Rulebook, span: Span, *, at: datetime, lock: bool = False) -> list[Appointment]:
    """Return the appointments to come that a closing would touch, by time and seat. The session is the program's."""
    start = datetime.combine(span.first, time(), CHINA)
    query = (
        select(Appointment)
        .where(
            Appointment.district_code == book.district,
            Appointment.window_code == span.code,
            Appointment.status == "booked",
            Appointment.starts_at > max(at, start),
            Appointment.starts_at < datetime.combine(span.last + timedelta(days=1), time(), CHINA),
        )
        .order_by(Appointment.starts_at, Appointment.seat)
    )
    return list(session.scalars(query.with_for_update() if lock else query))


def close(
    session: Session,
    book: Rulebook,
    span: Span,
    *,
    actor: Actor,
    reason: str,
    fates: Mapping[str, str],
    number: Callable[[], str],
    at: datetime,
) -> Closed:
    """Close a window for some days, with a decision about everybody who had booked: all of it, or nothing.

    fates: number of an appointment → `CANCEL`, `BY_HAND`, or the ISO time of another slot of the window. number: makes
    the number of a moved one. The session is the program's; the actor's right is checked here. Raises Forbidden,
    NotFound, Invalid (no reason, days, an unknown fate), Conflict (somebody booked meanwhile) and SlotTaken. Writes;
    caller commits.
    """
    place = own_window(session, book, span.code, actor=actor, lock=True)
    check(span, at=at)
    why = _reason(reason)
    booked = concerned(session, book, span, at=at, lock=True)
    if any(row.number not in fates for row in booked):
        raise Conflict("Somebody booked meanwhile; look at the list again. Nothing was closed.")
    rows = [
        {"district_code": book.district, "window_code": place.code, "day": day, "reason": why} for day in span.days()
    ]
    session.execute(
        insert(SlotClosure)
        .values(rows)
        .on_conflict_do_update(index_elements=["district_code", "window_code", "day"], set_={"reason": why})
    )
    counted = {CANCEL: 0, BY_HAND: 0, "moved": 0}
    for row in booked:
        fate = fates[row.number]
        moved_to = ""
        if fate == CANCEL:
            appointments.cancel(session, row, at=at)
        elif fate != BY_HAND:
            moved_to = appointments.move(session, book, row, _moment(fate), at=at, number=number()).number
        counted[fate if fate in counted else "moved"] += 1
        if fate != BY_HAND:
            told = {"number": row.number, "window": place.code, "reason": why, "moved_to": moved_to}
            _tell(session, book, "citizen.appointment", told, at=at, case_id=row.case_id)
    days = {"window": place.code, "first": span.first.isoformat(), "last": span.last.isoformat()}
    _tell(session, book, "unit.window_closed", days | {"reason": why, "by": actor.name}, at=at)
    return Closed(counted[CANCEL], counted["moved"], counted[BY_HAND])


def reopen(session: Session, book: Rulebook, code: str, day: date, *, actor: Actor, reason: str, at: datetime) -> None:
    """Open a window again on a day, with a reason; what was cancelled stays cancelled.

    Raises Forbidden, NotFound, Invalid without a reason, and Conflict where the day is not closed. Writes; caller
    commits.
    """
    place = own_window(session, book, code, actor=actor, lock=True)
    why = _reason(reason)
    gone = session.execute(
        delete(SlotClosure)
        .where(
            SlotClosure.district_code == book.district,
            SlotClosure.window_code == place.code,
            SlotClosure.day == day,
        )
        .returning(SlotClosure.day)
    ).all()
    if not gone:
        raise Conflict("The window is not closed on that day.")
    told = {"window": place.code, "day": day.isoformat(), "reason": why, "by": actor.name}
    _tell(session, book, "unit.window_opened", told, at=at)


def _reason(written: str) -> str:
    why = written.strip()
    if len(why) < 2:
        raise Invalid("Say why: whoever wanted to come reads it.", field="reason")
    if len(why) > 200:
        raise Invalid("{name} is too long or not text.", field="reason", name="reason")
    return why


def _moment(written: str) -> datetime:
    try:
        moment = datetime.fromisoformat(written)
    except ValueError as error:
        raise Invalid("This time cannot be read; choose one from the list.", field="fate") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=CHINA)


def _tell(
    session: Session, book: Rulebook, topic: str, payload: dict[str, str], *, at: datetime, case_id: object = None
) -> None:
    """Put a message into the outbox; it names numbers, never a person."""
    row = {"district_code": book.district, "id": new_id(), "case_id": case_id, "topic": topic, "created_at": at}
    session.execute(insert(Outbox).values(row | {"payload": payload}))

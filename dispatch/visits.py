"""Who comes to the windows 当日预约: a day's list for those who serve there, marks of kept and missed, days off."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from sqlalchemy import ColumnElement, and_, false, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.crypto import unseal
from core.db import actor_of
from core.documents import masked
from core.errors import Conflict, Invalid, NotFound
from dispatch.appointments import Appointment, SlotClosure, window
from dispatch.calendar import CHINA, china_time
from dispatch.models import Case
from dispatch.rulebook import Rulebook

#: How long after its day an appointment can still be marked.
_MARKED_FOR = timedelta(days=7)
#: Lines of a day's list: more than any hall receives.
_MOST_LISTED = 500


@dataclass(frozen=True, slots=True)
class Visit:
    """One line of a window's list for a day; name and phone masked, the address of a home visit in full."""

    number: str
    window_code: str
    starts_at: datetime
    ends_at: datetime
    seat: int
    status: str
    item_code: str
    name: str
    phone: str
    address: str
    area_code: str
    booked_by: str
    #: Number of the case that it belongs to; empty for none.
    case_number: str


def listed(session: Session, district: str, day: date, *, window_code: str = "") -> list[Visit]:
    """Return the appointments of a day that the session's actor may see, by time and seat; at most _MOST_LISTED.

    A unit sees those at its own windows, a grid worker those of the own town, operators and supervisors all: the same
    rule as the row policy.
    """
    start = datetime.combine(day, time(), CHINA)
    query = (
        select(Appointment, Case.number)
        .outerjoin(Case, and_(Case.district_code == Appointment.district_code, Case.id == Appointment.case_id))
        .where(
            Appointment.district_code == district,
            Appointment.starts_at >= start,
            Appointment.starts_at < start + timedelta(days=1),
            served_by(actor_of(session)),
        )
        .order_by(Appointment.starts_at, Appointment.window_code, Appointment.seat)
        .limit(_MOST_LISTED)
    )
    if window_code:
        query = query.where(Appointment.window_code == window_code)
    return [_visit(row, number) for row, number in session.execute(query)]


def served_by(actor: Actor) -> ColumnElement[bool]:
    """Return the condition under which an actor may see an appointment, as `_SEES` of revision 0006 has it."""
    if actor.role in (Role.SYSTEM, Role.OPERATOR, Role.SUPERVISOR):
        return Appointment.town_code == actor.town if actor.town else true()
    if actor.role is Role.UNIT and actor.unit:
        return Appointment.unit_code == actor.unit
    if actor.role is Role.GRID_WORKER and actor.town:
        return Appointment.town_code == actor.town
    return false()


def _visit(row: Appointment, case_number: str | None) -> Visit:
    return Visit(
        number=row.number,
        window_code=row.window_code,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        seat=row.seat,
        status=row.status,
        item_code=row.item_code or "",
        name=masked("name", unseal(row.name_sealed, context="appointment.name")),
        phone=masked("phone", unseal(row.phone_sealed, context="appointment.phone")),
        address=unseal(row.address_sealed, context="appointment.address") if row.address_sealed else "",
        area_code=row.area_code,
        booked_by=row.booked_by,
        case_number=case_number or "",
    )


def mark(session: Session, district: str, number: str, status: str, *, at: datetime, by: str) -> None:
    """Say that somebody came, or did not; a wrong mark can be put right for a week. Raises NotFound and Conflict.

    Only the rows of the session's actor are seen. Writes; caller commits; locks the row.
    """
    if status not in ("kept", "missed"):
        raise Invalid("An appointment is kept or missed.", field="status")
    row = session.scalar(
        select(Appointment)
        .where(Appointment.district_code == district, Appointment.number == number)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise NotFound("There is no such appointment, or it is not yours to see.")
    if row.status == "cancelled":
        raise Conflict("This appointment was cancelled already.")
    if china_time(row.starts_at).date() > china_time(at).date() or (status == "missed" and row.starts_at > at):
        raise Conflict("This appointment is still to come.")
    if at - row.ends_at > _MARKED_FOR:
        raise Conflict("This appointment is too long ago to be marked.")
    row.status, row.marked_at, row.marked_by, row.phone_turn = status, at, by, None
    session.flush()


def close_day(session: Session, book: Rulebook, code: str, day: date, *, reason: str) -> int:
    """Close a window for a day and return how many had booked; raises NotFound. Writes; caller commits."""
    place = window(session, book, code)
    row = {"district_code": book.district, "window_code": place.code, "day": day, "reason": reason.strip()[:200]}
    session.execute(
        insert(SlotClosure)
        .values(row)
        .on_conflict_do_update(index_elements=["district_code", "window_code", "day"], set_={"reason": row["reason"]})
    )
    return sum(one.status == "booked" for one in listed(session, book.district, day, window_code=code))

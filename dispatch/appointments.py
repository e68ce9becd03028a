"""Appointments 预约: windows of halls and home visits, their free times, and who holds them; nobody twice.

A seat of a slot is a row under a unique index; whoever comes second finds it taken and is told what is free next.
`dispatch.slots` knows when a window is open, `dispatch.visits` who comes today. Knows nothing of pages; `api`
throttles and checks who asks.
"""

import hmac
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    SmallInteger,
    String,
    UniqueConstraint,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from core.crypto import blind_index, seal, unseal
from core.db import Base
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from dispatch.calendar import china_time
from dispatch.items import catalogue
from dispatch.numbers import access_code, access_hash
from dispatch.rulebook import Rulebook
from dispatch.slots import Held, Pattern, Slot, slots, terms
from grid.models import Instant

#: Free times that are offered to whoever came second.
_OFFERED = 3
_PHONE = re.compile(r"\+?[0-9][0-9 \-]{5,19}")


def _at_window() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["district_code", "window_code"], ["service_window.district_code", "service_window.code"]
    )


class ServiceWindow(Base):
    """窗口: a counter of a hall, or a team that visits homes 上门服务, and the pattern that it is open in."""

    __tablename__ = "service_window"
    __table_args__ = (
        ForeignKeyConstraint(["district_code", "unit_code"], ["unit.district_code", "unit.code"]),
        CheckConstraint("kind IN ('window', 'home')", name="kind"),
        CheckConstraint("slot_min BETWEEN 5 AND 480", name="slot_min"),
        CheckConstraint("travel_min BETWEEN 0 AND 240", name="travel_min"),
        CheckConstraint("capacity BETWEEN 1 AND 100", name="capacity"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    #: Whose people sit there or go out.
    unit_code: Mapped[str]
    #: window or home.
    kind: Mapped[str]
    #: Where to come to; for home visits, where the team sets out.
    place: Mapped[str]
    #: Home visits: the town, community or cell that is served; empty for the whole district.
    area_code: Mapped[str] = mapped_column(server_default="")
    #: The town whose grid workers see its appointments; empty for none.
    town_code: Mapped[str] = mapped_column(server_default="")
    #: Codes of the service items that are taken; empty for all.
    items: Mapped[list[str]] = mapped_column(ARRAY(String), server_default=text("'{}'"))
    #: The pattern, see `dispatch.slots.Pattern`.
    weekdays: Mapped[str] = mapped_column(server_default="")
    hours: Mapped[str] = mapped_column(server_default="")
    slot_min: Mapped[int] = mapped_column(SmallInteger)
    travel_min: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    capacity: Mapped[int] = mapped_column(SmallInteger)
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    #: Made up for a demonstration; every page says so.
    invented: Mapped[bool] = mapped_column(server_default=text("false"))

    @property
    def pattern(self) -> Pattern:
        """How it is open."""
        return Pattern(self.weekdays, self.hours, self.slot_min, self.travel_min, self.capacity)


class SlotClosure(Base):
    """停办日: a day on which one window is closed although the calendar works."""

    __tablename__ = "slot_closure"
    __table_args__ = (_at_window(),)

    district_code: Mapped[str] = mapped_column(primary_key=True)
    window_code: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    #: Shown to whoever wanted to come.
    reason: Mapped[str]


class Appointment(Base):
    """预约: one person, one window, one time."""

    __tablename__ = "appointment"
    __table_args__ = (
        _at_window(),
        ForeignKeyConstraint(["district_code", "case_id"], ["cases.district_code", "cases.id"]),
        CheckConstraint("status IN ('booked', 'cancelled', 'kept', 'missed')", name="status"),
        CheckConstraint("(status = 'cancelled') = (cancelled_at IS NOT NULL)", name="cancelled"),
        CheckConstraint("starts_at < ends_at AND ends_at <= busy_until", name="order"),
        UniqueConstraint("district_code", "number"),
        Index(
            "uq_appointment_seat",
            "district_code",
            "window_code",
            "starts_at",
            "seat",
            unique=True,
            postgresql_where=text("status <> 'cancelled'"),
        ),
        Index(
            "uq_appointment_phone",
            "district_code",
            "phone_index",
            "phone_turn",
            unique=True,
            postgresql_where=text("phone_turn IS NOT NULL"),
        ),
        Index(
            "uq_appointment_key",
            "district_code",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
        Index("ix_appointment_day", "district_code", "unit_code", "starts_at"),
        Index("ix_appointment_town", "district_code", "starts_at"),
        Index("ix_appointment_case", "district_code", "case_id", postgresql_where=text("case_id IS NOT NULL")),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: What people say: Y, then as a case number; never one.
    number: Mapped[str]
    window_code: Mapped[str]
    #: The window's unit and the town concerned, copied for the row policies.
    unit_code: Mapped[str]
    town_code: Mapped[str] = mapped_column(server_default="")
    starts_at: Mapped[datetime] = mapped_column(Instant)
    ends_at: Mapped[datetime] = mapped_column(Instant)
    #: Home visits: the end and the way to the next door.
    busy_until: Mapped[datetime] = mapped_column(Instant)
    #: 1 to the window's capacity.
    seat: Mapped[int] = mapped_column(SmallInteger)
    item_code: Mapped[str | None]
    case_id: Mapped[uuid.UUID | None]
    #: Home visits: the community or cell to go to.
    area_code: Mapped[str] = mapped_column(server_default="")
    name_sealed: Mapped[bytes]
    phone_sealed: Mapped[bytes]
    #: Blind index of the phone's digits, the same as that of reports.
    phone_index: Mapped[bytes]
    #: 1 to the most that one phone may hold while it is to come; None once it was cancelled or is over.
    phone_turn: Mapped[int | None] = mapped_column(SmallInteger)
    #: Home visits: where to go.
    address_sealed: Mapped[bytes | None]
    #: booked → kept or missed, as the window says; or cancelled.
    status: Mapped[str]
    booked_at: Mapped[datetime] = mapped_column(Instant)
    #: Who entered it: 市民 or the name of an account.
    booked_by: Mapped[str]
    cancelled_at: Mapped[datetime | None] = mapped_column(Instant)
    marked_at: Mapped[datetime | None] = mapped_column(Instant)
    marked_by: Mapped[str | None]
    #: Number of the appointment that it was moved to.
    moved_to: Mapped[str | None]
    idempotency_key: Mapped[str | None]
    #: Keyed hash of the code on the receipt.
    access_hash: Mapped[bytes]


class SlotTaken(Conflict):
    """Somebody else was faster; `free` are the next times of the same window."""

    def __init__(self, message: str, /, *, free: Sequence[Slot], **params: Any) -> None:
        """Keep the free times for whoever shows them as buttons."""
        super().__init__(message, field="starts_at", **params)
        self.free = tuple(free)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants to book."""

    window: str
    #: Aware; the beginning of a slot.
    starts_at: datetime
    name: str
    phone: str
    item: str = ""
    #: Home visits: code of the community or cell, and the address in words.
    area: str = ""
    address: str = ""
    case_id: uuid.UUID | None = None
    #: Who enters it, for the window's list.
    by: str = "市民"
    #: Chosen by the sender, so that a repeated submission is one appointment.
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Booked:
    """What the person gets."""

    number: str
    code: str
    window: str
    starts_at: datetime
    ends_at: datetime
    #: It was booked before with the same key.
    repeated: bool = False


def numbered(case_number: str) -> str:
    """Return the number of an appointment made of one of `dispatch.numbers`: the Y tells it from a case's."""
    return f"Y{case_number}"


def windows(session: Session, book: Rulebook, *, item: str = "", kind: str = "") -> list[ServiceWindow]:
    """Return the active windows, by code; item: only those that take it; kind: window or home."""
    query = select(ServiceWindow).where(ServiceWindow.district_code == book.district, ServiceWindow.active)
    if kind:
        query = query.where(ServiceWindow.kind == kind)
    found = session.scalars(query.order_by(ServiceWindow.code))
    return [one for one in found if not item or not one.items or item in one.items]


def window(session: Session, book: Rulebook, code: str, *, lock: bool = False) -> ServiceWindow:
    """Return an active window; raises NotFound. lock: keep its pattern as it is until the transaction ends."""
    query = select(ServiceWindow).where(
        ServiceWindow.district_code == book.district, ServiceWindow.code == code, ServiceWindow.active
    )
    found = session.scalar(query.with_for_update(read=True) if lock else query)
    if found is None:
        raise NotFound("There is no such window.")
    return found


def last_day(book: Rulebook, at: datetime) -> date:
    """Return the last day that can be booked now."""
    return china_time(at).date() + timedelta(days=terms(book.settings).days)


def free_days(session: Session, book: Rulebook, at_window: ServiceWindow, *, at: datetime) -> dict[date, list[Slot]]:
    """Return the slots of every open day that can be booked, in order; full slots too, with no free seat.

    Two reads, whatever the number of days.
    """
    start, end = china_time(at).date(), last_day(book, at)
    closed = closures(session, book, at_window.code, first=start, last=end)
    taken = session.execute(
        select(Appointment.starts_at, Appointment.busy_until, Appointment.seat).where(
            Appointment.district_code == book.district,
            Appointment.window_code == at_window.code,
            Appointment.status != "cancelled",
            Appointment.starts_at >= at - timedelta(days=1),
        )
    )
    held = [Held(*row) for row in taken]
    found: dict[date, list[Slot]] = {}
    for n in range((end - start).days + 1):
        day = start + timedelta(days=n)
        if day not in closed and (made := slots(at_window.pattern, day, book.work, held, at=at)):
            found[day] = made
    return found


def closures(session: Session, book: Rulebook, code: str, *, first: date, last: date) -> dict[date, str]:
    """Return the days on which a window is closed, with the reasons."""
    query = select(SlotClosure.day, SlotClosure.reason).where(
        SlotClosure.district_code == book.district,
        SlotClosure.window_code == code,
        SlotClosure.day >= first,
        SlotClosure.day <= last,
    )
    return {row.day: row.reason for row in session.execute(query)}


def next_free(days: dict[date, list[Slot]], *, after: datetime, most: int = _OFFERED) -> list[Slot]:
    """Return the free slots from a moment on, then, where that is not enough, those before it."""
    free = [slot for day in days.values() for slot in day if slot.free]
    later = [slot for slot in free if slot.starts_at >= after]
    return (later + [slot for slot in free if slot.starts_at < after])[:most]


def book_slot(session: Session, book: Rulebook, wanted: Wanted, *, at: datetime, number: str) -> Booked:
    """Book one seat of a slot and return number and code.

    at: aware, the system's clock. number: a fresh one, see `numbered`. The session must be the program's own, for one
    phone's appointments at other units count too. Raises NotFound, Invalid, SlotTaken where no seat is left, and
    Conflict where the phone holds as many as one may. Writes; caller commits; a concurrent booking of the same seat is
    waited for and then found taken.
    """
    digits = _checked(wanted)
    place = window(session, book, wanted.window, lock=True)
    _check_item(session, place, wanted)
    _check_visit(book, place, wanted)
    allowed = terms(book.settings)
    phone_index = blind_index(digits, context="phone")
    _release_past(session, book.district, phone_index, at=at)
    # Each turn that loses means that another one won a seat or a turn of the phone: there are no more of those.
    for _ in range(place.capacity + allowed.most + 1):
        if wanted.key and (earlier := _by_key(session, book.district, wanted.key, phone_index)):
            return earlier
        slot = _slot(session, book, place, wanted.starts_at, at=at)
        row = {
            "district_code": book.district,
            "id": new_id(),
            "number": number,
            "window_code": place.code,
            "unit_code": place.unit_code,
            "town_code": place.town_code or wanted.area[:9],
            "starts_at": slot.starts_at,
            "ends_at": slot.ends_at,
            "busy_until": slot.busy_until,
            "seat": slot.free[0],
            "item_code": wanted.item or None,
            "case_id": wanted.case_id,
            "area_code": wanted.area,
            "name_sealed": seal(wanted.name.strip(), context="appointment.name"),
            "phone_sealed": seal(wanted.phone.strip(), context="appointment.phone"),
            "phone_index": phone_index,
            "phone_turn": _turn(session, book.district, phone_index, most=allowed.most),
            "address_sealed": seal(wanted.address.strip(), context="appointment.address") if wanted.address else None,
            "status": "booked",
            "booked_at": at,
            "booked_by": wanted.by,
            "idempotency_key": wanted.key,
            "access_hash": access_hash(number, access_code(number)),
        }
        if session.scalar(insert(Appointment).values(row).on_conflict_do_nothing().returning(Appointment.id)):
            return Booked(number, access_code(number), place.code, slot.starts_at, slot.ends_at)
    raise Conflict("Too many people are booking here at this moment; try again.")


def _checked(wanted: Wanted) -> str:
    """Return the digits of the phone; raises Invalid, naming the field."""
    if not any(letter.isalpha() for letter in wanted.name) or len(wanted.name.strip()) > 50:
        raise Invalid("Please give the name of the person who comes.", field="name")
    if not _PHONE.fullmatch(wanted.phone.strip()):
        raise Invalid("This is not a telephone number.", field="phone")
    if len(wanted.address) > 200:
        raise Invalid("The address is longer than {limit} characters.", field="address", limit=200)
    return re.sub(r"\D", "", wanted.phone)


def _check_item(session: Session, place: ServiceWindow, wanted: Wanted) -> None:
    if len(wanted.item) > 40 or (place.items and wanted.item and wanted.item not in place.items):
        raise Invalid("This window does not take this item.", field="item")
    try:
        # A withdrawn item is no bar: who applied before comes for the result.
        _ = catalogue.history(session, wanted.item) if wanted.item else ()
    except NotFound as error:
        raise Invalid("There is no service item with this code.", field="item") from error


def _check_visit(book: Rulebook, place: ServiceWindow, wanted: Wanted) -> None:
    if place.kind != "home":
        if wanted.area or wanted.address:
            raise Invalid("Only a home visit has an address.", field="address")
        return
    if len(wanted.address.strip()) < 4:
        raise Invalid("Please write the address to visit.", field="address")
    known = wanted.area in book.areas or (len(wanted.area) == 15 and wanted.area[:12] in book.areas)
    if not known or not wanted.area.isdigit() or not wanted.area.startswith(place.area_code):
        raise Invalid("This team does not come to that area.", field="area")


def _slot(session: Session, book: Rulebook, place: ServiceWindow, starts_at: datetime, *, at: datetime) -> Slot:
    """Return the slot that begins at a moment, with a free seat; raises Invalid and SlotTaken."""
    local = china_time(starts_at)
    if local <= at:
        raise Invalid("This time has passed; choose a later one.", field="starts_at")
    if local.date() > last_day(book, at):
        raise Invalid(
            "Appointments can be booked at most {n} days ahead.", field="starts_at", n=terms(book.settings).days
        )
    days = free_days(session, book, place, at=at)
    slot = next((one for one in days.get(local.date(), ()) if one.starts_at == local), None)
    if slot is not None and slot.free:
        return slot
    if slot is None and (why := closures(session, book, place.code, first=local.date(), last=local.date())):
        raise Invalid("The window is closed on that day: {reason}", field="starts_at", reason=why[local.date()])
    free = next_free(days, after=local)
    said = {"times": "; ".join(f"{one.starts_at:%m-%d %H:%M}" for one in free)}
    if slot is None:
        raise SlotTaken("The window does not receive anybody at that time. Free next: {times}", free=free, **said)
    if not free:
        raise SlotTaken("This time was just taken, and no other is free in the days that can be booked.", free=())
    raise SlotTaken("This time was just taken. Free next: {times}", free=free, **said)


def _release_past(session: Session, district: str, phone_index: bytes, *, at: datetime) -> None:
    """Let go of the turns of appointments that are over: they do not count against the phone any more."""
    session.execute(
        text(
            "UPDATE appointment SET phone_turn = NULL WHERE district_code = :d AND phone_index = :p"
            " AND phone_turn IS NOT NULL AND ends_at <= :at"
        ),
        {"d": district, "p": phone_index, "at": at},
    )


def _turn(session: Session, district: str, phone_index: bytes, *, most: int) -> int:
    """Return the lowest turn that the phone does not hold; raises Conflict where it holds all."""
    held = set(
        session.scalars(
            select(Appointment.phone_turn).where(
                Appointment.district_code == district,
                Appointment.phone_index == phone_index,
                Appointment.phone_turn.is_not(None),
            )
        )
    )
    free = [n for n in range(1, most + 1) if n not in held]
    if not free or len(held) >= most:
        raise Conflict(
            "This telephone number has {n} appointments to come already; cancel one first.", field="phone", n=len(held)
        )
    return free[0]


def _by_key(session: Session, district: str, key: str, phone_index: bytes) -> Booked | None:
    row = session.scalar(
        select(Appointment).where(Appointment.district_code == district, Appointment.idempotency_key == key)
    )
    if row is None:
        return None
    if bytes(row.phone_index) != phone_index:
        # A receipt goes to whoever booked, not to whoever guesses a key.
        raise Conflict("This key was used for another appointment.", field="key")
    return Booked(row.number, access_code(row.number), row.window_code, row.starts_at, row.ends_at, repeated=True)


def find(session: Session, district: str, number: str, code: str, *, lock: bool = False) -> Appointment:
    """Return the appointment of a number and its code; raises NotFound for either being wrong."""
    plain = re.sub(r"[\s\-]", "", number).upper()
    query = select(Appointment).where(Appointment.district_code == district, Appointment.number == plain)
    row = session.scalar(query.with_for_update().execution_options(populate_existing=True) if lock else query)
    if row is None or not hmac.compare_digest(bytes(row.access_hash), access_hash(plain, code)):
        raise NotFound("There is no appointment with this number and code.")
    return row


def cancel(session: Session, row: Appointment, *, at: datetime) -> None:
    """Give an appointment back; raises Conflict where it is over or was cancelled. Writes; caller locked the row."""
    if row.status == "cancelled":
        raise Conflict("This appointment was cancelled already.")
    if row.status != "booked" or row.starts_at <= at:
        raise Conflict("This appointment has begun or is over; it cannot be changed any more.")
    row.status, row.cancelled_at, row.phone_turn = "cancelled", at, None
    session.flush()


def move(
    session: Session, book: Rulebook, row: Appointment, starts_at: datetime, *, at: datetime, number: str
) -> Booked:
    """Exchange an appointment for another time of the same window: both, or neither.

    Raises as `cancel` and `book_slot`; then the caller rolls back and the old one stands. Writes; caller locked row.
    """
    cancel(session, row, at=at)
    wanted = Wanted(
        row.window_code,
        starts_at,
        unseal(row.name_sealed, context="appointment.name"),
        unseal(row.phone_sealed, context="appointment.phone"),
        item=row.item_code or "",
        area=row.area_code,
        address=unseal(row.address_sealed, context="appointment.address") if row.address_sealed else "",
        case_id=row.case_id,
        by=row.booked_by,
    )
    made = book_slot(session, book, wanted, at=at, number=number)
    row.moved_to = made.number
    session.flush()
    return made

"""Appointments in the JSON API: free slots, booking once, one's own by number and code, cancelling."""

from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request
from pydantic import AwareDatetime, Field
from starlette.responses import Response

from api import wiring
from api.deps import Me, Now
from api.pages import appointments as pages
from api.routes.documents import Model, Text
from core.actor import system
from core.db import snapshot
from dispatch import appointments
from dispatch.appointments import Appointment, Wanted

router = APIRouter(prefix="/api/v1", tags=["appointments"])

_Code = Annotated[str, Header(max_length=10, description="The code of the receipt.")]


class WindowOut(Model):
    """A window that takes appointments."""

    code: str
    name: str
    kind: Literal["window", "home"]
    unit: str
    place: str
    area: str
    items: list[str]
    minutes: int
    invented: bool


class SlotOut(Model):
    """A time that can be booked."""

    window: str
    starts_at: datetime
    ends_at: datetime
    free: int


class AppointmentIn(Model):
    """What is booked. Home visits need area (code of a community or cell) and address."""

    window: Text = Field(max_length=40)
    starts_at: AwareDatetime
    name: Text = Field(min_length=1, max_length=50)
    phone: Text = Field(min_length=6, max_length=20)
    item: Text = Field("", max_length=40)
    area: Text = Field("", max_length=15)
    address: Text = Field("", max_length=200)


class MoveIn(Model):
    """The new time of an appointment."""

    starts_at: AwareDatetime


class BookedOut(Model):
    """The receipt."""

    number: str
    access_code: str
    window: str
    starts_at: datetime
    ends_at: datetime
    repeated: bool


class AppointmentOut(Model):
    """One's own appointment."""

    number: str
    window: str
    starts_at: datetime
    ends_at: datetime
    status: Literal["booked", "cancelled", "kept", "missed"]
    item: str | None
    area: str
    moved_to: str | None


@router.get("/windows")
def windows(
    item: Annotated[Text, Query(max_length=40)] = "", kind: Literal["", "window", "home"] = ""
) -> list[WindowOut]:
    """Return the windows that take appointments, for an item or all."""
    book = wiring.rulebook()
    with snapshot(system(book.district, "appointments")) as session:
        found = appointments.windows(session, book, item=item, kind=kind)
    return [
        WindowOut(
            code=one.code,
            name=one.name,
            kind="home" if one.kind == "home" else "window",
            unit=one.unit_code,
            place=one.place,
            area=one.area_code,
            items=one.items,
            minutes=one.slot_min,
            invented=one.invented,
        )
        for one in found
    ]


@router.get("/slots")
def slots(window: Annotated[Text, Query(max_length=40)], at: Now, day: date | None = None) -> list[SlotOut]:
    """Return the free slots of a window, of one day or of all that can be booked; 404 for an unknown window."""
    book = wiring.rulebook()
    with snapshot(system(book.district, "appointments")) as session:
        found = appointments.free_days(session, book, appointments.window(session, book, window), at=at)
    return [
        SlotOut(window=window, starts_at=one.starts_at, ends_at=one.ends_at, free=len(one.free))
        for when, some in found.items()
        for one in some
        if one.free and day in (None, when)
    ]


@router.post("/appointments", status_code=201)
def book(
    request: Request,
    response: Response,
    given: AppointmentIn,
    *,
    actor: Me,
    at: Now,
    idempotency_key: Annotated[str | None, Header(min_length=16, max_length=64, pattern=r"^[0-9A-Za-z_\-]+$")] = None,
) -> BookedOut:
    """Book a slot. 409 where somebody was faster, naming what is free next. The same key again is the same receipt."""
    wanted = Wanted(
        given.window,
        given.starts_at,
        given.name,
        given.phone,
        item=given.item,
        area=given.area,
        address=given.address,
        by=actor.name,
        key=idempotency_key,
    )
    made = pages.reserve(request, actor, wanted, at=at)
    if made.repeated:
        response.status_code = 200
    response.headers["Location"] = f"/api/v1/appointments/{made.number}"
    return _receipt(made)


def _receipt(made: appointments.Booked) -> BookedOut:
    return BookedOut(
        number=made.number,
        access_code=made.code,
        window=made.window,
        starts_at=made.starts_at,
        ends_at=made.ends_at,
        repeated=made.repeated,
    )


@router.get("/appointments/{number}")
def one(request: Request, number: str, access_code: _Code) -> AppointmentOut:
    """Return one's own appointment; 404 where number or code is wrong."""
    return _shown(pages.look_up(request, number, access_code))


def _shown(row: Appointment) -> AppointmentOut:
    return AppointmentOut.model_validate(
        {
            "number": row.number,
            "window": row.window_code,
            "starts_at": row.starts_at,
            "ends_at": row.ends_at,
            "status": row.status,
            "item": row.item_code,
            "area": row.area_code,
            "moved_to": row.moved_to,
        }
    )


@router.delete("/appointments/{number}", status_code=204)
def cancel(request: Request, number: str, access_code: _Code, at: Now) -> None:
    """Cancel one's own appointment; 409 where it has begun, is over or was cancelled."""
    row = pages.look_up(request, number, access_code)
    pages.give_back(row.number, access_code, at=at)


@router.post("/appointments/{number}/move", status_code=201)
def move(request: Request, number: str, access_code: _Code, given: MoveIn, at: Now) -> BookedOut:
    """Exchange one's own appointment for another time of the same window: both, or neither."""
    row = pages.look_up(request, number, access_code)
    return _receipt(pages.exchange(row.number, access_code, given.starts_at, at=at))

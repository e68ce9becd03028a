"""The registers for programs: lists, one entry, and the opening of one field; masked and by duty as on the pages."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from api.deps import Now, Read, Write, require
from api.wording import CHINA
from core.actor import Actor, Role
from grid.openings import OPEN_FOR
from grid.registers import lists, permissions, rooms, unmasking
from grid.registers.lists import Asked, Line

router = APIRouter(prefix="/api/v1/registers", tags=["registers"])

Staff = Annotated[Actor, Depends(require(Role.ADMIN, Role.SUPERVISOR, Role.UNIT, Role.GRID_WORKER))]
_Words = Annotated[str, Query(max_length=60)]


class EntryOut(BaseModel):
    """One entry as the caller's duties show it."""

    id: uuid.UUID
    state: str
    cell: str | None
    #: Where it is, in words.
    place: str
    version: int
    #: Field → value; protected ones masked.
    fields: dict[str, Any]
    #: Names of the fields that are masked.
    masked: list[str]


class ListOut(BaseModel):
    """One page of a register."""

    entries: list[EntryOut]
    count: int
    #: There are more than `count`.
    more: bool
    #: For the next page; empty on the last.
    after: str


class OpeningIn(BaseModel):
    """Which field somebody needs in clear, and why."""

    model_config = ConfigDict(extra="forbid")

    field: str = Field(max_length=40)
    #: contact, visit, answer, verify, law or other.
    why: str = Field(max_length=20)
    reason: str = Field(min_length=2, max_length=300)


class OpeningOut(BaseModel):
    """One field in clear."""

    field: str
    value: str
    #: Until then the page shows it without another reason.
    until: datetime


@router.get("/{register}")
def listing(
    session: Read,
    actor: Staff,
    at: Now,
    *,
    register: str,
    cell: _Words = "",
    name: _Words = "",
    kind: _Words = "",
    flag: _Words = "",
    number: _Words = "",
    phone: _Words = "",
    state: _Words = "",
    after: _Words = "",
) -> ListOut:
    """List the entries that the caller may see, by key."""
    del actor
    asked = Asked(register, cell, name, kind, flag, number, phone, state, after)
    found = lists.listed(session, permissions.access(session, at=at), asked, today=_today(at))
    entries = [_entry(line) for line in found.lines]
    return ListOut(entries=entries, count=found.count, more=found.more, after=found.after)


@router.get("/{register}/{entry_id}")
def one(session: Read, actor: Staff, at: Now, *, register: str, entry_id: uuid.UUID) -> EntryOut:
    """Return one entry."""
    del actor
    access = permissions.access(session, at=at)
    row = lists.one(session, access, register, entry_id)
    place = rooms.addresses(session, register, [row.id]).get(row.id, "")
    return _entry(lists.line(access, row, place=place, standing=unmasking.standing(session, access, row, at=at)))


@router.post("/{register}/{entry_id}/openings", status_code=201)
def disclose(
    session: Write, actor: Staff, at: Now, *, register: str, entry_id: uuid.UUID, given: OpeningIn
) -> OpeningOut:
    """Open one protected field; written down for good, and told to the person concerned."""
    del actor
    access = permissions.access(session, at=at)
    lists.one(session, access, register, entry_id)
    value = unmasking.disclose(
        session, access, register, entry_id, field=given.field, why=given.why, reason=given.reason, at=at
    )
    return OpeningOut(field=given.field, value=value, until=at + OPEN_FOR)


def _entry(line: Line) -> EntryOut:
    return EntryOut(
        id=line.id,
        state=line.state,
        cell=line.cell,
        place=line.place,
        version=line.version,
        fields={name: shown.value for name, shown in line.fields.items()},
        masked=[name for name, shown in line.fields.items() if shown.masked],
    )


def _today(at: datetime) -> date:
    return at.astimezone(CHINA).date()

"""The JSON API of looking over shoulders: what was recorded late, what went out about a case, and sealed data opened.

The same rules as on the pages: `dispatch.honesty`, `hotline.outward.deadletters` and `dispatch.identity` decide.
"""

import uuid
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, Field

from api.deps import Now, Read, Write, require
from api.routes.cases import id_of
from api.routes.documents import Model, Text
from core.actor import Actor, Role
from dispatch import honesty, identity
from grid.openings import REASONS
from hotline.outward import deadletters

router = APIRouter(prefix="/api/v1")

Supervisor = Annotated[Actor, Depends(require(Role.SUPERVISOR))]
Teller = Annotated[Actor, Depends(require(Role.OPERATOR, Role.SUPERVISOR))]
Opener = Annotated[Actor, Depends(require(Role.OPERATOR, Role.SUPERVISOR, Role.UNIT))]


class OpeningIn(Model):
    """Which sealed field of a case's reports is to be opened, and why."""

    field: Literal["name", "phone"]
    why: Text = Field(min_length=1, max_length=40, description=f"One of {', '.join(REASONS)}; written down.")
    reason: Text = Field(max_length=500, description="In the person's own words; the person concerned may read it.")


class OpeningOut(Model):
    """What stands open for the caller, and until when; every opening is a row that nobody changes."""

    field: str
    values: tuple[str, ...]
    until: AwareDatetime


class Late(Model):
    """A span of at most a year and, if wanted, one unit; empty for those without a unit."""

    since: AwareDatetime
    until: AwareDatetime
    unit: Text | None = Field(default=None, max_length=40)
    limit: int = Field(default=honesty.MOST, ge=1, le=honesty.MOST_EXPORTED)


class LateOut(Model):
    """How every unit recorded within a span, and the late entries, newest first."""

    units: list[dict[str, Any]]
    entries: list[dict[str, Any]]


class ToldOut(Model):
    """One message about a case on its way to one address, which is masked."""

    id: uuid.UUID
    topic: str
    channel: str
    to: str
    state: str
    tries: int
    created_at: datetime
    sent_at: datetime | None
    reason: str | None


@router.get("/late", tags=["supervision"])
def late(asked: Annotated[Late, Query()], actor: Supervisor, session: Read) -> LateOut:
    """Return who recorded late between two moments (S0 先办后录), by unit and entry by entry."""
    del actor
    span = {"since": asked.since, "until": asked.until}
    units = [asdict(one) | {"share": one.share} for one in honesty.late_by_unit(session, **span)]
    found = honesty.late_entries(session, **span, unit=asked.unit, limit=asked.limit)
    return LateOut(units=units, entries=[asdict(one) | {"gap": one.gap} for one in found])


@router.get("/cases/{number}/told", tags=["cases"])
def told(number: str, actor: Teller, session: Read) -> list[ToldOut]:
    """Return what went out about a case and what did not, newest first."""
    del actor
    lines = deadletters.of_case(session, id_of(session, number))
    names = ("id", "topic", "channel", "state", "tries", "created_at", "sent_at", "reason")
    return [ToldOut(to=line.shown, **{name: getattr(line, name) for name in names}) for line in lines]


@router.post("/cases/{number}/openings", tags=["cases"])
def open_sealed(number: str, given: OpeningIn, actor: Opener, session: Write, at: Now) -> list[OpeningOut]:
    """Open names or telephones of a case for a quarter of an hour, after writing down who asked and why."""
    del actor
    case_id = id_of(session, number)
    identity.disclose(session, case_id, field=given.field, why=given.why, reason=given.reason, at=at)
    return [OpeningOut(**asdict(one)) for one in identity.standing(session, case_id, at=at)]

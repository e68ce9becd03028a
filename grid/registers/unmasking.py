"""Opening one protected field of one row 查看: with a reason, for a quarter of an hour, written down for good.

The rules are those of cases (`grid.openings`). The person concerned reads who it was by office, what and why: on a
sheet at the counter, or with the code of a slip 查询凭条 on the own phone.
"""

import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from core.actor import system
from core.crypto import blind_index
from core.db import acting_as, actor_of, pin_subject
from core.errors import Forbidden, Invalid, NotFound
from core.ids import new_id
from grid.models import Unit
from grid.openings import LONGEST, OPEN_FOR, check_reason
from grid.registers import events, sealing
from grid.registers.fields import REGISTERS
from grid.registers.models import Kept, Opening, Slip
from grid.registers.permissions import Access

#: Openings of one person on one day; more is fishing. *Default*.
MOST_A_DAY: Final = 200
#: How long the code of a slip holds.
SLIP_FOR: Final = timedelta(days=90)
#: Openings that one sheet shows.
MOST: Final = 500
_SIGNS: Final = "23456789ABCDEFGHJKLMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class Opened:
    """Who opened a field of a row, and why."""

    actor_name: str
    actor_role: str
    unit_code: str | None
    unit_name: str
    field: str
    duties: tuple[str, ...]
    reason_code: str
    reason: str
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """What the actor has opened of a row and may still look at."""

    value: str
    until: datetime


def disclose(
    session: Session,
    access: Access,
    register: str,
    row_id: uuid.UUID,
    *,
    field: str,
    why: str,
    reason: str,
    at: datetime,
) -> str:
    """Return one protected field of a row in clear, after writing down who opened it and why.

    why: a key of `grid.openings.REASONS`. Writes; caller commits. Raises NotFound for a row that is not the actor's to
    see, Forbidden for a field whose opening is not the actor's duty and after `MOST_A_DAY`, Invalid without a reason.
    """
    row = events.found(session, register, row_id)
    grant = access.rights(register, row.cell_code, town=row.town_code)
    if not grant.sees:
        raise NotFound("There is no such entry, or it is not yours to see.")
    if field not in grant.opens or field not in REGISTERS[register].protected:
        raise Forbidden("Your duty in this cell does not include opening this.")
    if not why:
        raise Invalid("Choose what you need it for.", field="why")
    check_reason(why, reason)
    actor = actor_of(session)
    if _since(session, at - timedelta(days=1), at) >= MOST_A_DAY:
        raise Forbidden("You have opened {n} fields within a day; speak to supervision.", n=MOST_A_DAY)
    session.execute(
        insert(Opening).values(
            district_code=actor.district,
            id=new_id(),
            register=register,
            subject_id=row.id,
            field=field,
            actor_id=actor.id,
            actor_name=actor.name,
            actor_role=actor.role.value,
            unit_code=actor.unit or None,
            duties=sorted(access.duties.get(row.cell_code or "", ())),
            reason_code=why,
            reason_sealed=sealing.history_sealed(reason.strip()[:LONGEST], bytes(row.salt)),
            opened_at=at,
            expires_at=at + OPEN_FOR,
        )
    )
    return str(events.values(row)[field] or "")


def standing(session: Session, access: Access, row: Any, *, at: datetime) -> Mapping[str, Standing]:
    """Return the fields of a row that the session's actor has opened and may still look at; pins the row. Reads.

    What is no longer the actor's duty is closed at once, whenever it was opened.
    """
    actor, register = actor_of(session), row.__tablename__
    may = access.rights(register, row.cell_code, town=row.town_code).opens
    if actor.id is None or not may:
        return {}
    pin_subject(session, row.id)
    query = (
        select(Opening.field, func.max(Opening.expires_at))
        .where(
            Opening.district_code == actor.district,
            Opening.subject_id == row.id,
            Opening.actor_id == actor.id,
            Opening.expires_at > at,
            # A row of the future is a clock that was turned back, and opens nothing.
            Opening.opened_at <= at,
            Opening.field.in_(may),
        )
        .group_by(Opening.field)
    )
    held = session.execute(query).all()
    values = events.values(row) if held else {}
    return {name: Standing(str(values[name] or ""), until) for name, until in held}


def opened(session: Session, row: Kept) -> list[Opened]:
    """Return who opened what of a row that was read through its own policy, newest first; pins it. Reads."""
    subject: Any = row
    pin_subject(session, subject.id)
    query = (
        select(Opening, Unit.name)
        .outerjoin(Unit, (Unit.district_code == subject.district_code) & (Unit.code == Opening.unit_code))
        .where(Opening.district_code == subject.district_code, Opening.subject_id == subject.id)
        .order_by(Opening.opened_at.desc(), Opening.id.desc())
        .limit(MOST)
    )
    return [
        Opened(
            actor_name=one.actor_name,
            actor_role=one.actor_role,
            unit_code=one.unit_code,
            unit_name=unit or "",
            field=one.field,
            duties=tuple(one.duties),
            reason_code=one.reason_code,
            reason=sealing.history_unsealed(one.reason_sealed, bytes(row.salt)),
            opened_at=one.opened_at,
        )
        for one, unit in session.execute(query)
    ]


def issue_slip(session: Session, access: Access, person_id: uuid.UUID, *, at: datetime) -> str:
    """Return a new code with which the person concerned reads who opened the own data. Writes; caller commits.

    Whoever hands it out has checked who stands before him. Raises NotFound for a person who is not the actor's to see.
    """
    row = events.found(session, "resident", person_id)
    if not access.rights("resident", row.cell_code, town=row.town_code).sees:
        raise NotFound("There is no such entry, or it is not yours to see.")
    code = "".join(secrets.choice(_SIGNS) for _ in range(16))
    actor = actor_of(session)
    session.execute(
        insert(Slip).values(
            district_code=actor.district,
            code_index=_code_index(code),
            subject_id=row.id,
            issued_by=actor.name,
            issued_at=at,
            expires_at=at + SLIP_FOR,
        )
    )
    return "-".join(code[i : i + 4] for i in range(0, 16, 4))


def read_slip(session: Session, code: str, *, at: datetime) -> tuple[Any, list[Opened]]:
    """Return the row that a slip was issued for and who opened it; as the program. Reads. Raises NotFound.

    Count tries before: a code has 78 bits, so that guessing is hopeless, but costs nothing otherwise.
    """
    slip = session.get(Slip, (actor_of(session).district, _code_index(code)))
    if slip is None or slip.expires_at <= at:
        raise NotFound("This code is not known, or its time is over.")
    row = events.found(session, "resident", slip.subject_id)
    return row, opened(session, row)


def sweep_slips(session: Session, *, at: datetime) -> int:
    """Delete slips whose time is over and return how many; writes, as the program; for the nightly run."""
    query = delete(Slip).where(Slip.district_code == actor_of(session).district, Slip.expires_at <= at)
    return len(session.execute(query.returning(Slip.code_index)).all())


def _code_index(code: str) -> bytes:
    plain = "".join(sign for sign in code.upper() if sign.isalnum())[:32]
    return blind_index(plain, context=Slip.__tablename__)


def _since(session: Session, start: datetime, end: datetime) -> int:
    """Return how many fields the session's actor opened in a span; as the program, who sees them all."""
    actor = actor_of(session)
    query = select(func.count()).where(
        Opening.district_code == actor.district,
        Opening.actor_id == actor.id,
        Opening.opened_at > start,
        Opening.opened_at <= end,
    )
    with acting_as(session, system(actor.district, "registers")):
        return session.scalar(query) or 0

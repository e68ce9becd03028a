"""How long a row is kept after its end 保存期限, what would be erased today, erasing it, and what must not be 保全.

A row is deleted with its salt, and its history, which stays, can be read by nobody any more. The log of an erasure has
counts and the rule, no value of a row.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.actor import Role
from core.db import actor_of, rows
from core.documents import masked
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.ids import new_id
from grid.registers import events, sealing
from grid.registers.fields import REGISTERS
from grid.registers.forgetting import forget
from grid.registers.models import LegalHold
from grid.registers.permissions import keep_setting, settings
from grid.registers.record import log

#: Least days that anything is kept: a mistake is found in that time, a double taken back.
LEAST_DAYS: Final = 30
#: Rows that a preview names, and that one transaction erases.
NAMED: Final = 50
BATCH: Final = 500
#: In this order: what points to another row goes before it.
_ORDER: Final = ("resident", "tenancy", "key_place", "organisation", "household")
#: A row stays as long as another one needs it.
_NEEDED: Final[Mapping[str, str]] = {
    "resident": "NOT EXISTS (SELECT 1 FROM resident o WHERE o.district_code = :d AND o.merged_into = t.id)",
    "household": "NOT EXISTS (SELECT 1 FROM resident o WHERE o.district_code = :d AND o.household_id = t.id)",
    "organisation": "NOT EXISTS (SELECT 1 FROM key_place o WHERE o.district_code = :d AND o.organisation_id = t.id)",
}
_HELD: Final = (
    "EXISTS (SELECT 1 FROM legal_hold h WHERE h.district_code = :d AND h.register = :register"
    " AND h.released_at IS NULL AND (h.subject_id IS NULL OR h.subject_id = t.id))"
)


@dataclass(frozen=True, slots=True)
class Preview:
    """What an erasure of one register would do."""

    register: str
    #: None: kept for ever.
    days: int | None
    #: What ended before is due.
    before: datetime | None
    due: int
    #: Due, but held.
    held: int
    #: Due, but another row needs it: a double whose row is kept, a household with people who are kept.
    needed: int
    #: The first of those that would be erased: id, what it is called (masked), state, end.
    named: tuple[tuple[uuid.UUID, str, str, datetime], ...]


def days(session: Session, register: str) -> int | None:
    """Return how many days rows of a register are kept after their end; None for ever. Reads."""
    changed = settings(session).get("keep_days", {})
    found = changed[register] if register in changed else REGISTERS[register].keep_days
    return None if found is None else int(found)


def set_days(session: Session, register: str, wanted: int | None, *, why: str, at: datetime) -> None:
    """Change the time of keeping; writes and logs it, as administrator, caller commits. Raises Invalid, Forbidden."""
    _admin(session)
    if register not in _ORDER:
        raise Invalid("There is no register {name}.", field="register", name=register[:40])
    if wanted is not None and not LEAST_DAYS <= wanted <= 36_500:
        raise Invalid("Between {least} days and 100 years.", field="days", least=LEAST_DAYS)
    if len(why.strip()) < 2:
        raise Invalid("Say why.", field="why")
    before = days(session, register)
    keep_setting(session, "keep_days", dict(settings(session).get("keep_days", {})) | {register: wanted})
    log(session, "retention", register, {"was": before, "now": wanted, "why": why.strip()[:300]}, at=at)


def preview(session: Session, *, at: datetime) -> list[Preview]:
    """Return what would be erased at a moment, for each register with a time of keeping. Reads, as a keeper."""
    return [_preview(session, name, at=at) for name in _ORDER]


def _preview(session: Session, register: str, *, at: datetime) -> Preview:
    kept = days(session, register)
    if kept is None:
        return Preview(register, None, None, 0, 0, 0, ())
    before = at - timedelta(days=kept)
    free = _NEEDED.get(register, "TRUE")
    counted = rows(
        session,
        f"SELECT count(*) FILTER (WHERE NOT {_HELD} AND {free}) AS due, count(*) FILTER (WHERE {_HELD}) AS held,"  # noqa: S608
        f" count(*) FILTER (WHERE NOT {_HELD} AND NOT {free}) AS needed"
        f" FROM {register} t WHERE t.district_code = :d AND t.ended_at < :before",
        d=actor_of(session).district,
        register=register,
        before=before,
    )[0]
    model: Any = REGISTERS[register].model
    named = session.execute(
        text(
            f"SELECT t.id FROM {register} t WHERE t.district_code = :d AND t.ended_at < :before"  # noqa: S608
            f" AND NOT {_HELD} AND {free} ORDER BY t.ended_at, t.id LIMIT :most"
        ),
        {"d": actor_of(session).district, "register": register, "before": before, "most": NAMED},
    ).scalars()
    chosen = select(model).where(model.district_code == actor_of(session).district, model.id.in_(list(named)))
    listed = tuple(
        (row.id, called(row), row.state, row.ended_at)
        for row in session.scalars(chosen.order_by(model.ended_at, model.id))
    )
    return Preview(register, kept, before, counted["due"], counted["held"], counted["needed"], listed)


def called(row: Any) -> str:
    """Return what a row is called to somebody who gave no reason: a name masked, or the end of its id."""
    if row.__tablename__ == "resident":
        return masked("name", sealing.unsealed("name", row.name_sealed))
    if row.__tablename__ == "tenancy":
        return masked("name", sealing.unsealed("name", row.landlord_name_sealed))
    return str(getattr(row, "name", "")) or row.id.hex[-8:]


def erase(session: Session, register: str, *, before: datetime, at: datetime, asked_by: str) -> int:
    """Delete one batch of what ended before and return how many rows; 0 when all is done.

    before: as the preview showed it; what is due later stays. asked_by: who confirmed the preview. Writes and logs it,
    as the program; caller commits and comes again. Raises Conflict where the time of keeping became longer meanwhile.
    """
    if register not in _ORDER:
        raise Invalid("There is no register {name}.", field="register", name=register[:40])
    kept = days(session, register)
    if kept is None or before > at - timedelta(days=kept):
        raise Conflict("The time of keeping was changed meanwhile; look at the preview again.")
    free = _NEEDED.get(register, "TRUE")
    values = {"d": actor_of(session).district, "register": register, "before": before, "most": BATCH}
    due = (
        f"SELECT t.id FROM {register} t WHERE t.district_code = :d AND t.ended_at < :before AND NOT {_HELD}"  # noqa: S608
        f" AND {free} ORDER BY t.ended_at, t.id LIMIT :most FOR UPDATE OF t SKIP LOCKED"
    )
    chosen = list(session.scalars(text(due), values))
    if not chosen:
        return 0
    ids = {"d": values["d"], "ids": chosen}
    session.execute(text("DELETE FROM register_slip WHERE district_code = :d AND subject_id = ANY (:ids)"), ids)
    forget(session, chosen)
    gone = session.execute(
        text(f"DELETE FROM {register} WHERE district_code = :d AND id = ANY (:ids) RETURNING id"),  # noqa: S608
        ids,
    ).all()
    log(
        session,
        "erase",
        register,
        {"rows": len(gone), "ended_before": before.date().isoformat(), "days": kept, "asked_by": asked_by},
        at=at,
    )
    return len(gone)


def hold(
    session: Session, register: str, subject_id: uuid.UUID | None, *, reason: str, document: str, at: datetime
) -> uuid.UUID:
    """Forbid erasing a row, or a whole register (None); return the hold's id. Writes; caller commits.

    Raises Forbidden for others than administrator and supervisor, Invalid without reason and document.
    """
    _admin(session, Role.SUPERVISOR)
    if register not in _ORDER:
        raise Invalid("There is no register {name}.", field="register", name=register[:40])
    if len(reason.strip()) < 2:
        raise Invalid("Say why.", field="reason")
    if len(document.strip()) < 2:
        raise Invalid("Name the document that orders it.", field="document")
    if subject_id is not None:
        events.found(session, register, subject_id)
    actor = actor_of(session)
    made = LegalHold(
        district_code=actor.district,
        id=new_id(),
        register=register,
        subject_id=subject_id,
        reason=reason.strip()[:300],
        document=document.strip()[:200],
        placed_by=actor.name,
        placed_at=at,
    )
    session.add(made)
    session.flush()
    log(session, "hold", register, {"hold": str(made.id), "whole": subject_id is None}, at=at)
    return made.id


def release(session: Session, hold_id: uuid.UUID, *, at: datetime) -> None:
    """End a hold. Writes; caller commits. Raises NotFound, and Conflict where it has ended."""
    _admin(session, Role.SUPERVISOR)
    actor = actor_of(session)
    query = select(LegalHold).where(LegalHold.district_code == actor.district, LegalHold.id == hold_id)
    found = session.scalars(query.with_for_update()).one_or_none()
    if found is None:
        raise NotFound("There is no such hold.")
    if found.released_at is not None:
        raise Conflict("This hold has ended already.")
    found.released_at, found.released_by = at, actor.name
    session.flush()
    log(session, "release", found.register, {"hold": str(hold_id)}, at=at)


def holds(session: Session) -> list[LegalHold]:
    """Return the holds that stand, newest first; at most 200. Reads."""
    query = select(LegalHold).where(
        LegalHold.district_code == actor_of(session).district, LegalHold.released_at.is_(None)
    )
    return list(session.scalars(query.order_by(LegalHold.placed_at.desc()).limit(200)))


def _admin(session: Session, *others: Role) -> None:
    if actor_of(session).role not in (Role.ADMIN, Role.SYSTEM, *others):
        raise Forbidden("Your role may not open this.")

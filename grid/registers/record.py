"""The registers' log 登记簿日志: exports, erasures, holds and changed rules; counts and reasons, no personal data."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from core.db import actor_of
from core.ids import new_id
from grid.registers.models import RegisterLog
from grid.words import N_

KINDS: Final[Mapping[str, str]] = {
    "export": N_("Exported"),
    "erase": N_("Erased"),
    "hold": N_("Hold placed"),
    "release": N_("Hold released"),
    "permissions": N_("Rights changed"),
    "retention": N_("Time of keeping changed"),
    "part_codes": N_("Rule of part codes changed"),
}
MOST: Final = 100


def log(session: Session, kind: str, register: str, data: Mapping[str, Any], *, at: datetime) -> uuid.UUID:
    """Append one line and return its id; data: never a value of a row. Writes; caller commits."""
    actor, key = actor_of(session), new_id()
    session.execute(
        insert(RegisterLog).values(
            district_code=actor.district,
            id=key,
            kind=kind,
            register=register,
            actor_id=actor.id,
            actor_name=actor.name,
            actor_role=actor.role.value,
            unit_code=actor.unit or None,
            at=at,
            data=dict(data),
        )
    )
    return key


def newest(session: Session, *, most: int = MOST) -> list[RegisterLog]:
    """Return the newest lines, as administrator or supervisor. Reads."""
    query = select(RegisterLog).where(RegisterLog.district_code == actor_of(session).district)
    return list(session.scalars(query.order_by(RegisterLog.id.desc()).limit(most)))

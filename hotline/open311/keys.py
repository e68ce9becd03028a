"""Keys of Open311 senders 接口密钥: made once, kept as a hash, counted by the minute, revoked. Never in a log."""

import secrets
import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.actor import system
from core.crypto import blind_index
from core.db import actor_of, transaction
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from grid.accounts import count_try
from hotline.open311.models import Open311Key

#: What a key is allowed where nobody says. *Default*.
PER_MINUTE = 60
_MOST_PER_MINUTE = 60_000
#: More than this is no key of anybody's.
_LONGEST = 100


def _digest(key: str) -> bytes:
    return blind_index(key, context="open311.key")


def add(
    session: Session, label: str, *, at: datetime, jurisdiction: str = "", per_minute: int = PER_MINUTE
) -> tuple[uuid.UUID, str]:
    """Make a key and return its id and itself: it is shown this once. Writes; caller commits. Raises Invalid."""
    label = label.strip()
    if not label or len(label) > 80 or not label.isprintable():
        raise Invalid("A key needs a name of at most 80 characters.", field="label")
    if not 1 <= per_minute <= _MOST_PER_MINUTE:
        raise Invalid(
            "A key may send between 1 and {most} requests a minute.", field="per_minute", most=_MOST_PER_MINUTE
        )
    made = Open311Key(
        district_code=actor_of(session).district,
        id=new_id(),
        digest=b"",
        label=label,
        jurisdiction=jurisdiction.strip(),
        per_minute=per_minute,
        created_at=at,
    )
    key = secrets.token_urlsafe(24)
    made.digest = _digest(key)
    session.add(made)
    session.flush()
    return made.id, key


def listed(session: Session) -> Sequence[Open311Key]:
    """Return every key of the actor's district, revoked ones too, oldest first; reads at most 1,000."""
    here = actor_of(session).district
    return session.scalars(
        select(Open311Key).where(Open311Key.district_code == here).order_by(Open311Key.id).limit(1000)
    ).all()


def revoke(session: Session, key_id: uuid.UUID, *, at: datetime) -> None:
    """Let a key hold no longer, from now on; raises NotFound, and Conflict where it was revoked before. Writes."""
    here = actor_of(session).district
    which = (Open311Key.district_code == here, Open311Key.id == key_id)
    found = session.execute(
        update(Open311Key).where(*which, Open311Key.revoked_at.is_(None)).values(revoked_at=at).returning(Open311Key.id)
    ).first()
    if found is None:
        if session.scalar(select(Open311Key.id).where(*which)) is None:
            raise NotFound("There is no such key.")
        raise Conflict("This key was revoked before.")


def find(session: Session, key: str) -> Open311Key | None:
    """Return the row of a key that holds; None for any other. Reads."""
    if not key or len(key) > _LONGEST:
        return None
    return session.scalar(
        select(Open311Key).where(
            Open311Key.district_code == actor_of(session).district,
            Open311Key.digest == _digest(key),
            Open311Key.revoked_at.is_(None),
        )
    )


def count(key: Open311Key, *, at: datetime) -> int:
    """Count one request of a key in a transaction of its own; return the seconds to wait, 0 while it has its share."""
    minute = int(at.timestamp()) // 60
    who = f"{key.id}:{minute}"
    with transaction(system(key.district_code, "throttle")) as session:
        over = count_try(session, "open311", who, most=key.per_minute, district=key.district_code, at=at)
    return 60 - int(at.timestamp()) % 60 if over else 0

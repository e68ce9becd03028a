"""Notices 通知 to a person with an account: what was changed about the own work, until the person has seen it.

A notice is a kind and parameters; the face that shows it has the words. The same key is told once. Knows nothing of
mail, chat or telephone: those are `hotline.outward`.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKeyConstraint, UniqueConstraint, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from core.actor import system
from core.db import Base, acting_as, actor_of
from core.ids import new_id
from grid.models import Instant

#: Notices that one page shows.
MOST = 50


class AccountNotice(Base):
    """One notice to one person."""

    __tablename__ = "account_notice"
    __table_args__ = (
        UniqueConstraint("district_code", "account_id", "key", name="uq_account_notice_key"),
        ForeignKeyConstraint(["district_code", "account_id"], ["account.district_code", "account.id"]),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID]
    #: What it is about: `handed_over`, `stands_in`, `handed_back`, `duty_ended`, `certificate_ends` and the like.
    kind: Mapped[str]
    #: Told once per person and key, so that whoever tells may do so again.
    key: Mapped[str]
    #: Plain values for the words; no personal data but names of colleagues.
    params: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    created_at: Mapped[datetime] = mapped_column(Instant)
    seen_at: Mapped[datetime | None] = mapped_column(Instant)


def tell(session: Session, account_id: uuid.UUID, kind: str, *, key: str, at: datetime, **params: Any) -> None:
    """Write a notice unless the same key was told; writes as the program, caller commits."""
    tell_all(session, [(account_id, kind, key, params)], at=at)


def tell_all(
    session: Session, notices: Sequence[tuple[uuid.UUID, str, str, Mapping[str, Any]]], *, at: datetime
) -> None:
    """Write notices (account, kind, key, params) unless told; writes as the program, caller commits."""
    if not notices:
        return
    district = actor_of(session).district
    made = [
        {
            "district_code": district,
            "id": new_id(),
            "account_id": account,
            "kind": kind,
            "key": key,
            "params": dict(params),
            "created_at": at,
        }
        for account, kind, key, params in notices
    ]
    with acting_as(session, system(district, "notices")):
        session.execute(insert(AccountNotice).on_conflict_do_nothing(), made)


def mine(session: Session, *, most: int = MOST) -> list[AccountNotice]:
    """Return the newest notices to the session's actor, those not seen first; at most `most`. Reads."""
    actor = actor_of(session)
    chosen = (
        select(AccountNotice)
        .where(AccountNotice.district_code == actor.district, AccountNotice.account_id == actor.id)
        .order_by(AccountNotice.seen_at.is_not(None), AccountNotice.id.desc())
        .limit(most)
    )
    return list(session.scalars(chosen))


def unseen(session: Session) -> int:
    """Return how many notices to the session's actor were not seen. Reads."""
    actor = actor_of(session)
    chosen = select(func.count()).where(
        AccountNotice.district_code == actor.district,
        AccountNotice.account_id == actor.id,
        AccountNotice.seen_at.is_(None),
    )
    return session.scalar(chosen) or 0


def seen(session: Session, *, at: datetime, until: uuid.UUID | None = None) -> int:
    """Mark the actor's notices as seen, up to and with `until` where it is given; return how many. Writes."""
    actor = actor_of(session)
    chosen = update(AccountNotice).where(
        AccountNotice.district_code == actor.district,
        AccountNotice.account_id == actor.id,
        AccountNotice.seen_at.is_(None),
    )
    if until is not None:
        chosen = chosen.where(AccountNotice.id <= until)
    return len(session.execute(chosen.values(seen_at=at).returning(AccountNotice.id)).all())

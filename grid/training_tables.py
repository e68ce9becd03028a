"""The tables of training 培训 and certificates 上岗证; no behaviour (`grid.training` has it)."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, String, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base
from grid.models import Instant


class TrainingBank(Base):
    """A district's own cards and questions of one duty; the newest row of a duty is the one in use."""

    __tablename__ = "training_bank"
    __table_args__ = (Index("ix_training_bank_duty", "district_code", "duty", "id"),)

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    duty: Mapped[str]
    #: SHA-256 of the content: an attempt names what it was asked from.
    digest: Mapped[str]
    #: As `grid.training_bank.Bank` reads it.
    body: Mapped[dict[str, Any]] = mapped_column(JSONB)
    loaded_at: Mapped[datetime] = mapped_column(Instant)
    loaded_by: Mapped[str]


class TrainingAttempt(Base):
    """One quiz that somebody handed in; never changed."""

    __tablename__ = "training_attempt"
    __table_args__ = (
        UniqueConstraint("district_code", "account_id", "duty", "number", name="uq_training_attempt_number"),
        UniqueConstraint("district_code", "account_id", "key", name="uq_training_attempt_key"),
        ForeignKeyConstraint(["district_code", "account_id"], ["account.district_code", "account.id"]),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: Of the phone or the form: handed in twice is one attempt.
    key: Mapped[uuid.UUID]
    account_id: Mapped[uuid.UUID]
    duty: Mapped[str]
    #: 1 for the person's first quiz of this duty: the lot is drawn from it.
    number: Mapped[int]
    bank_digest: Mapped[str]
    #: Ids of the questions drawn, in the order asked.
    questions: Mapped[list[str]] = mapped_column(ARRAY(String))
    #: Question id → letters chosen.
    answers: Mapped[dict[str, Any]] = mapped_column(JSONB)
    right_count: Mapped[int]
    passed: Mapped[bool]
    #: When it was handed in by the phone's clock, corrected; and when the server took it.
    happened_at: Mapped[datetime] = mapped_column(Instant)
    recorded_at: Mapped[datetime] = mapped_column(Instant)


class TrainingCertificate(Base):
    """上岗证: somebody passed the quiz of a duty; holds until it expires or is revoked."""

    __tablename__ = "training_certificate"
    __table_args__ = (
        CheckConstraint("expires_at > issued_at", name="span"),
        ForeignKeyConstraint(
            ["district_code", "attempt_id"], ["training_attempt.district_code", "training_attempt.id"]
        ),
        ForeignKeyConstraint(["district_code", "account_id"], ["account.district_code", "account.id"]),
        Index("ix_training_certificate_account_id", "district_code", "account_id"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: Day, place of the duty among the nine, five drawn digits, check character.
    number: Mapped[str] = mapped_column(primary_key=True)
    #: Eight characters on the paper, without which nobody can ask about it.
    check_code: Mapped[str]
    account_id: Mapped[uuid.UUID]
    duty: Mapped[str]
    attempt_id: Mapped[uuid.UUID]
    #: As the account was called then.
    holder_name: Mapped[str]
    issued_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)
    revoked_by: Mapped[str | None]
    revoked_why: Mapped[str] = mapped_column(String, server_default="")

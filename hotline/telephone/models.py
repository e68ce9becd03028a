"""The tables of the telephone: calls, what the switchboard told of them, seats, and call-backs. No behaviour.

A call's row holds times, never a state: whatever order the switchboard's events come in, the same row comes out.
"""

import uuid
from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, SmallInteger, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base
from grid.models import Instant


def _of_case() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["district_code", "case_id"], ["cases.district_code", "cases.id"])


def _of_call() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["district_code", "call_id"], ["call.district_code", "call.id"])


class Call(Base):
    """来电: one telephone call, in or out."""

    __tablename__ = "call"
    __table_args__ = (
        UniqueConstraint("district_code", "source_id"),
        _of_case(),
        Index("ix_call_open", "district_code", "begun_at", postgresql_where=text("ended_at IS NULL")),
        Index("ix_call_begun", "district_code", "begun_at"),
        Index(
            "ix_call_phone",
            "district_code",
            "phone_index",
            "begun_at",
            postgresql_where=text("phone_index IS NOT NULL"),
        ),
        Index("ix_call_operator", "district_code", "operator_id", "begun_at"),
        CheckConstraint("direction IN ('in', 'out')", name="direction"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: The switchboard's own id of the call.
    source_id: Mapped[str]
    direction: Mapped[str] = mapped_column(server_default="in")
    #: The other party's number, sealed as a report's is; None where it is withheld.
    phone_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    #: Blind index of its digits, comparable with a report's.
    phone_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    #: The number of ours that was dialled.
    line: Mapped[str] = mapped_column(server_default="")
    #: Where it rang last, or was answered; empty while it waits in the queue.
    extension: Mapped[str] = mapped_column(server_default="")
    #: The account that answered or took the call over.
    operator_id: Mapped[uuid.UUID | None]
    #: The earliest time that any event names.
    begun_at: Mapped[datetime] = mapped_column(Instant)
    answered_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    #: Why it ended, as the switchboard says; `lost` where it never said.
    cause: Mapped[str] = mapped_column(server_default="")
    #: When the operator's after-call work 话后处理 is or was over; None where there was none.
    wrapped_at: Mapped[datetime | None] = mapped_column(Instant)
    #: Where the recording lies, on an allowed host; shown to nobody but through `recording`.
    recording_url: Mapped[str | None]
    #: The first case that the call led to.
    case_id: Mapped[uuid.UUID | None]


class CallEvent(Base):
    """话务事件: what the switchboard told, or that somebody looked at what is protected. Append-only."""

    __tablename__ = "call_event"
    __table_args__ = (
        UniqueConstraint("district_code", "event_id"),
        _of_call(),
        Index("ix_call_event_call", "district_code", "call_id"),
        CheckConstraint("kind IN ('ring', 'answer', 'hangup', 'recording', 'opened')", name="kind"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    call_id: Mapped[uuid.UUID]
    #: The switchboard's own id of the event: the same again is the same event.
    event_id: Mapped[str]
    kind: Mapped[str]
    extension: Mapped[str] = mapped_column(server_default="")
    #: As the switchboard says, and as the system saw.
    happened_at: Mapped[datetime] = mapped_column(Instant)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    #: SHA-256 of what was sent, to tell a repetition from a second event under the same id.
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    #: For `opened`: field, reason, actor. Never a number.
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))


class HookRefusal(Base):
    """Events that were refused, counted by day and reason; nothing of them is kept."""

    __tablename__ = "hook_refusal"

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: In Asia/Shanghai.
    day: Mapped[date] = mapped_column(primary_key=True)
    #: signature, clock or keys.
    reason: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]


class Seat(Base):
    """座席: who sits at which extension now. The row goes when the person leaves."""

    __tablename__ = "seat"
    __table_args__ = (
        UniqueConstraint("district_code", "account_id"),
        ForeignKeyConstraint(["district_code", "account_id"], ["account.district_code", "account.id"]),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    extension: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID]
    #: The person's name as of then, so that colleagues need not read accounts.
    name: Mapped[str]
    taken_at: Mapped[datetime] = mapped_column(Instant)
    #: On a break 小休 since then; empty for not.
    break_since: Mapped[datetime | None] = mapped_column(Instant)
    #: After-call work 话后处理: of which call, and until when; over earlier when the person says so.
    wrap_call: Mapped[uuid.UUID | None]
    wrap_until: Mapped[datetime | None] = mapped_column(Instant)


class CallBack(Base):
    """回拨任务: somebody is to be called."""

    __tablename__ = "call_back"
    __table_args__ = (
        UniqueConstraint("district_code", "key"),
        _of_case(),
        _of_call(),
        # One conversation settles everything about a case.
        Index(
            "uq_call_back_case",
            "district_code",
            "case_id",
            unique=True,
            postgresql_where=text("state = 'open' AND case_id IS NOT NULL"),
        ),
        # Whoever hung up five times is called back once.
        Index(
            "uq_call_back_abandoned",
            "district_code",
            "phone_index",
            unique=True,
            postgresql_where=text("state = 'open' AND reason = 'abandoned'"),
        ),
        Index("ix_call_back_next", "district_code", "next_at", postgresql_where=text("state = 'open'")),
        Index("ix_call_back_case", "district_code", "case_id", postgresql_where=text("case_id IS NOT NULL")),
        Index("ix_call_back_call", "district_code", "call_id", postgresql_where=text("call_id IS NOT NULL")),
        CheckConstraint("reason IN ('abandoned', 'survey', 'answer')", name="reason"),
        CheckConstraint("state IN ('open', 'done', 'given_up', 'void')", name="state"),
        CheckConstraint("(state = 'open') = (finished_at IS NULL)", name="finished"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: What it comes from; the same again is the same task.
    key: Mapped[str]
    #: abandoned: hung up before anybody answered. survey: the process's own call-back step 回访. answer: to be told.
    reason: Mapped[str]
    #: open → done (reached or refused), given_up (tries used up, wrong number) or void (no longer needed).
    state: Mapped[str]
    case_id: Mapped[uuid.UUID | None]
    call_id: Mapped[uuid.UUID | None]
    phone_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    phone_index: Mapped[bytes] = mapped_column(LargeBinary)
    #: What is to be told, where it is not the case's own answer.
    words: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(Instant)
    #: Not before this.
    next_at: Mapped[datetime] = mapped_column(Instant)
    tries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    #: The last outcome.
    outcome: Mapped[str | None]
    #: Being handled by; a lease that runs out by itself.
    held_by: Mapped[uuid.UUID | None]
    held_name: Mapped[str | None]
    held_until: Mapped[datetime | None] = mapped_column(Instant)
    finished_at: Mapped[datetime | None] = mapped_column(Instant)


class CallBackTry(Base):
    """回拨记录: one attempt to reach somebody, or that a number was opened for it. Append-only."""

    __tablename__ = "call_back_try"
    __table_args__ = (
        ForeignKeyConstraint(["district_code", "task_id"], ["call_back.district_code", "call_back.id"]),
        Index("ix_call_back_try_task", "district_code", "task_id"),
        CheckConstraint("outcome IN ('taken', 'reached', 'not_reached', 'refused', 'wrong_number')", name="outcome"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    task_id: Mapped[uuid.UUID]
    #: taken: the task was taken and the number shown.
    outcome: Mapped[str]
    note: Mapped[str] = mapped_column(server_default="")
    actor_id: Mapped[uuid.UUID | None]
    actor_name: Mapped[str]
    at: Mapped[datetime] = mapped_column(Instant)

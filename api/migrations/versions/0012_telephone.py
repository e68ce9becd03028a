"""Tables for calls, queues and call-backs.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from api.migrations.guards import ROLE, append_only, shelter

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_INSTANT = postgresql.TIMESTAMP(timezone=True)
_TABLES = ("call_back_try", "call_back", "seat", "hook_refusal", "call_event", "call")
#: Calls belong to no town: whoever answers the telephone, or looks after those who do.
_DESK = f"{ROLE} IN ('system', 'operator', 'supervisor')"


def _of(table: str, *columns: str, named: str, key: str = "id") -> sa.ForeignKeyConstraint:
    theirs = [f"{table}.district_code", f"{table}.{key}"]
    return sa.ForeignKeyConstraint(["district_code", *columns], theirs, name=op.f(named))


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "call",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.String(), nullable=False),
        sa.Column("direction", sa.String(), server_default="in", nullable=False),
        sa.Column("phone_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("phone_index", sa.LargeBinary(), nullable=True),
        sa.Column("line", sa.String(), server_default="", nullable=False),
        sa.Column("extension", sa.String(), server_default="", nullable=False),
        sa.Column("operator_id", sa.Uuid(), nullable=True),
        sa.Column("begun_at", _INSTANT, nullable=False),
        sa.Column("answered_at", _INSTANT, nullable=True),
        sa.Column("ended_at", _INSTANT, nullable=True),
        sa.Column("cause", sa.String(), server_default="", nullable=False),
        sa.Column("wrapped_at", _INSTANT, nullable=True),
        sa.Column("recording_url", sa.String(), nullable=True),
        sa.Column("case_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("direction IN ('in', 'out')", name=op.f("ck_call_direction")),
        _of("cases", "case_id", named="fk_call_cases"),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_call")),
        sa.UniqueConstraint("district_code", "source_id", name=op.f("uq_call_district_code_source_id")),
    )
    op.create_index("ix_call_open", "call", ["district_code", "begun_at"], postgresql_where=sa.text("ended_at IS NULL"))
    op.create_index("ix_call_begun", "call", ["district_code", "begun_at"])
    op.create_index(
        "ix_call_phone",
        "call",
        ["district_code", "phone_index", "begun_at"],
        postgresql_where=sa.text("phone_index IS NOT NULL"),
    )
    op.create_index("ix_call_operator", "call", ["district_code", "operator_id", "begun_at"])
    op.create_table(
        "call_event",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("call_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("extension", sa.String(), server_default="", nullable=False),
        sa.Column("happened_at", _INSTANT, nullable=False),
        sa.Column("recorded_at", _INSTANT, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("detail", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('ring', 'answer', 'hangup', 'recording', 'opened')", name=op.f("ck_call_event_kind")
        ),
        _of("call", "call_id", named="fk_call_event_call"),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_call_event")),
        sa.UniqueConstraint("district_code", "event_id", name=op.f("uq_call_event_district_code_event_id")),
    )
    op.create_index("ix_call_event_call", "call_event", ["district_code", "call_id"])
    op.create_table(
        "hook_refusal",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("district_code", "day", "reason", name=op.f("pk_hook_refusal")),
    )
    op.create_table(
        "seat",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("extension", sa.String(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("taken_at", _INSTANT, nullable=False),
        sa.Column("break_since", _INSTANT, nullable=True),
        sa.Column("wrap_call", sa.Uuid(), nullable=True),
        sa.Column("wrap_until", _INSTANT, nullable=True),
        _of("account", "account_id", named="fk_seat_account"),
        sa.PrimaryKeyConstraint("district_code", "extension", name=op.f("pk_seat")),
        sa.UniqueConstraint("district_code", "account_id", name=op.f("uq_seat_district_code_account_id")),
    )
    _call_backs()
    # The count of refusals is the program's own; the supervisor reads it.
    shelter("hook_refusal", reads=f"{ROLE} IN ('system', 'supervisor', 'admin')", writes=f"{ROLE} = 'system'")
    shelter("call", reads=_DESK, writes=_DESK)
    shelter("call_event", reads=_DESK, writes=_DESK, privileges="SELECT, INSERT")
    append_only("call_event")
    shelter("seat", reads=_DESK, writes=_DESK, privileges="SELECT, INSERT, UPDATE, DELETE")
    shelter("call_back", reads=_DESK, writes=_DESK)
    shelter("call_back_try", reads=_DESK, writes=_DESK, privileges="SELECT, INSERT")
    append_only("call_back_try")


def _call_backs() -> None:
    op.create_table(
        "call_back",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=True),
        sa.Column("call_id", sa.Uuid(), nullable=True),
        sa.Column("phone_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("phone_index", sa.LargeBinary(), nullable=False),
        sa.Column("words", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("next_at", _INSTANT, nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("held_by", sa.Uuid(), nullable=True),
        sa.Column("held_name", sa.String(), nullable=True),
        sa.Column("held_until", _INSTANT, nullable=True),
        sa.Column("finished_at", _INSTANT, nullable=True),
        sa.CheckConstraint("reason IN ('abandoned', 'survey', 'answer')", name=op.f("ck_call_back_reason")),
        sa.CheckConstraint("state IN ('open', 'done', 'given_up', 'void')", name=op.f("ck_call_back_state")),
        sa.CheckConstraint("(state = 'open') = (finished_at IS NULL)", name=op.f("ck_call_back_finished")),
        _of("cases", "case_id", named="fk_call_back_cases"),
        _of("call", "call_id", named="fk_call_back_call"),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_call_back")),
        sa.UniqueConstraint("district_code", "key", name=op.f("uq_call_back_district_code_key")),
    )
    op.create_index(
        "uq_call_back_case",
        "call_back",
        ["district_code", "case_id"],
        unique=True,
        postgresql_where=sa.text("state = 'open' AND case_id IS NOT NULL"),
    )
    op.create_index(
        "uq_call_back_abandoned",
        "call_back",
        ["district_code", "phone_index"],
        unique=True,
        postgresql_where=sa.text("state = 'open' AND reason = 'abandoned'"),
    )
    op.create_index(
        "ix_call_back_next", "call_back", ["district_code", "next_at"], postgresql_where=sa.text("state = 'open'")
    )
    op.create_index(
        "ix_call_back_case", "call_back", ["district_code", "case_id"], postgresql_where=sa.text("case_id IS NOT NULL")
    )
    op.create_index(
        "ix_call_back_call", "call_back", ["district_code", "call_id"], postgresql_where=sa.text("call_id IS NOT NULL")
    )
    op.create_table(
        "call_back_try",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("note", sa.String(), server_default="", nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_name", sa.String(), nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.CheckConstraint(
            "outcome IN ('taken', 'reached', 'not_reached', 'refused', 'wrong_number')",
            name=op.f("ck_call_back_try_outcome"),
        ),
        _of("call_back", "task_id", named="fk_call_back_try_call_back"),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_call_back_try")),
    )
    op.create_index("ix_call_back_try_task", "call_back_try", ["district_code", "task_id"])


def downgrade() -> None:
    """Drop the tables."""
    for table in _TABLES:
        op.drop_table(table)

"""The side roads of a case: pauses, pleas of units, supervision, merging, clocks of single shares.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from api.migrations.guards import SEES_PART, SEES_SHARE, WRITES, shelter

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_CASE = (["district_code", "case_id"], ["cases.district_code", "cases.id"])
_INSTANT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Widen the tables of the case core and make the three that side roads need."""
    op.add_column("cases", sa.Column("complex", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("cases", sa.Column("bound", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("cases", sa.Column("supervised", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("cases", sa.Column("plea", sa.String(), nullable=True))
    op.add_column("cases", sa.Column("merged_into", sa.Uuid(), nullable=True))
    op.create_index(
        "ix_cases_merged",
        "cases",
        ["district_code", "merged_into"],
        postgresql_where=sa.text("merged_into IS NOT NULL"),
    )
    op.create_index(
        "ix_cases_attention",
        "cases",
        ["district_code", "due_at"],
        postgresql_where=sa.text("open AND (plea IS NOT NULL OR supervised)"),
    )
    op.add_column("assignment", sa.Column("needed", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.add_column("assignment", sa.Column("task", sa.String(), server_default="", nullable=False))
    op.add_column("assignment", sa.Column("opinion", sa.String(), nullable=True))
    op.add_column("deadline", sa.Column("assignment_id", sa.Uuid(), nullable=True))
    op.add_column(
        "deadline", sa.Column("extra", postgresql.ARRAY(sa.String()), server_default=sa.text("'{}'"), nullable=False)
    )
    op.add_column("deadline", sa.Column("held_at", _INSTANT, nullable=True))
    op.add_column("deadline", sa.Column("legal_limit", sa.String(), nullable=True))
    op.add_column("deadline", sa.Column("legal_due_at", _INSTANT, nullable=True))
    op.create_table(
        "pause",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("deadline_id", sa.Uuid(), nullable=False),
        sa.Column("reason_code", sa.String(), nullable=False),
        sa.Column("started_at", _INSTANT, nullable=False),
        sa.Column("ended_at", _INSTANT, nullable=True),
        sa.CheckConstraint("ended_at IS NULL OR ended_at >= started_at", name=op.f("ck_pause_order")),
        sa.ForeignKeyConstraint(*_CASE, name=op.f("fk_pause_cases")),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_pause")),
    )
    op.create_index("ix_pause_case", "pause", ["district_code", "case_id"])
    op.create_table(
        "plea",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("unit_code", sa.String(), nullable=False),
        sa.Column("asked_by", sa.Uuid(), nullable=True),
        sa.Column("asked_name", sa.String(), nullable=False),
        sa.Column("asked_at", _INSTANT, nullable=False),
        sa.Column("reason_code", sa.String(), server_default="", nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(), nullable=False),
        sa.Column("span", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decided_name", sa.String(), nullable=True),
        sa.Column("decided_at", _INSTANT, nullable=True),
        sa.Column("ruling", sa.String(), nullable=True),
        sa.CheckConstraint("kind IN ('extension', 'pause', 'park')", name=op.f("ck_plea_kind")),
        sa.CheckConstraint("state IN ('asked', 'granted', 'refused', 'lapsed')", name=op.f("ck_plea_state")),
        sa.CheckConstraint("(state = 'asked') = (decided_at IS NULL)", name=op.f("ck_plea_decided")),
        sa.ForeignKeyConstraint(*_CASE, name=op.f("fk_plea_cases")),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_plea")),
    )
    op.create_index("ix_plea_case", "plea", ["district_code", "case_id"])
    op.create_index(
        "uq_plea_asked",
        "plea",
        ["district_code", "case_id"],
        unique=True,
        postgresql_where=sa.text("state = 'asked'"),
    )
    op.create_table(
        "supervision",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("unit_code", sa.String(), nullable=False),
        sa.Column("demand", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("issued_by", sa.Uuid(), nullable=True),
        sa.Column("issued_name", sa.String(), nullable=False),
        sa.Column("issued_at", _INSTANT, nullable=False),
        sa.Column("answer", sa.String(), nullable=True),
        sa.Column("answered_name", sa.String(), nullable=True),
        sa.Column("answered_at", _INSTANT, nullable=True),
        sa.Column("ruling", sa.String(), nullable=True),
        sa.Column("closed_name", sa.String(), nullable=True),
        sa.Column("closed_at", _INSTANT, nullable=True),
        sa.CheckConstraint("state IN ('issued', 'answered', 'closed', 'lapsed')", name=op.f("ck_supervision_state")),
        sa.ForeignKeyConstraint(*_CASE, name=op.f("fk_supervision_cases")),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_supervision")),
    )
    op.create_index("ix_supervision_case", "supervision", ["district_code", "case_id"])
    op.create_index(
        "uq_supervision_running",
        "supervision",
        ["district_code", "case_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('issued', 'answered')"),
    )
    shelter("pause", reads=SEES_PART, writes=WRITES)
    shelter("plea", reads=SEES_SHARE, writes=WRITES)
    shelter("supervision", reads=SEES_SHARE, writes=WRITES)


def downgrade() -> None:
    """Take the side roads away again."""
    for table in ("supervision", "plea", "pause"):
        op.drop_table(table)
    for column in ("legal_due_at", "legal_limit", "held_at", "extra", "assignment_id"):
        op.drop_column("deadline", column)
    for column in ("opinion", "task", "needed"):
        op.drop_column("assignment", column)
    op.drop_index("ix_cases_attention", "cases")
    op.drop_index("ix_cases_merged", "cases")
    for column in ("merged_into", "plea", "supervised", "bound", "complex"):
        op.drop_column("cases", column)

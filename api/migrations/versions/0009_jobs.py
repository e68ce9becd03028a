"""Background jobs with their progress; limits of items, and clocks that carry their own limit.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from api.migrations.guards import KEEPS, shelter

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_INSTANT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Make the table of jobs and widen limits and clocks."""
    op.add_column(
        "calendar_notice", sa.Column("version", sa.SmallInteger(), server_default=sa.text("1"), nullable=False)
    )
    op.add_column("limit_rule", sa.Column("item", sa.String(), server_default="", nullable=False))
    op.add_column("deadline", sa.Column("own_limit", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_index(
        "ix_deadline_running", "deadline", ["district_code", "id"], postgresql_where=sa.text("stopped_at IS NULL")
    )
    op.create_table(
        "job",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("total", sa.Integer(), nullable=True),
        sa.Column("moved", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("cursor", sa.String(), nullable=True),
        sa.Column("why", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("asked", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("asked_by", sa.String(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("not_before", _INSTANT, nullable=False),
        sa.Column("started_at", _INSTANT, nullable=True),
        sa.Column("finished_at", _INSTANT, nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name=op.f("ck_job_state")),
        sa.CheckConstraint("(state IN ('queued', 'running')) = (finished_at IS NULL)", name=op.f("ck_job_finished")),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_job")),
    )
    op.create_index(
        "uq_job_waiting",
        "job",
        ["district_code", "kind"],
        unique=True,
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_index("ix_job_newest", "job", ["district_code", "created_at"])
    shelter("job", reads=KEEPS, writes=KEEPS)


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("job")
    op.drop_index("ix_deadline_running", "deadline")
    op.drop_column("deadline", "own_limit")
    op.drop_column("limit_rule", "item")
    op.drop_column("calendar_notice", "version")

"""Indexes for a unit's lists: by state, the cases that stand out, complex ones among them, and those that have ended.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Widen two indexes of open cases, and make the one of ended cases by unit."""
    op.drop_index("ix_cases_attention", "cases")
    op.drop_index("ix_cases_unit", "cases")
    # Unit and state stand last: walks stay in order of time left, and what they pass over is told in the index.
    op.create_index(
        "ix_cases_unit",
        "cases",
        ["district_code", "unit_code", "due_at", "state"],
        postgresql_where=sa.text("open"),
    )
    op.create_index(
        "ix_cases_attention",
        "cases",
        ["district_code", "due_at", "unit_code"],
        postgresql_where=sa.text("open AND (plea IS NOT NULL OR supervised OR complex)"),
    )
    op.create_index(
        "ix_cases_ended",
        "cases",
        ["district_code", "unit_code", "received_at"],
        postgresql_where=sa.text("NOT open"),
    )


def downgrade() -> None:
    """Drop the one and narrow the others again."""
    op.drop_index("ix_cases_ended", "cases")
    op.drop_index("ix_cases_attention", "cases")
    op.drop_index("ix_cases_unit", "cases")
    op.create_index(
        "ix_cases_unit", "cases", ["district_code", "unit_code", "due_at"], postgresql_where=sa.text("open")
    )
    op.create_index(
        "ix_cases_attention",
        "cases",
        ["district_code", "due_at"],
        postgresql_where=sa.text("open AND (plea IS NOT NULL OR supervised)"),
    )

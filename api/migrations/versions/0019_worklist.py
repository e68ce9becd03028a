"""An index for the box of shares: what runs out first of all that a unit answers for without leading.

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index of running clocks of single shares; few cases have any, so that writing pays little for it."""
    op.create_index(
        "ix_deadline_share",
        "deadline",
        ["district_code", "unit_code", "due_at", "case_id"],
        postgresql_where=sa.text("stopped_at IS NULL AND assignment_id IS NOT NULL"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_deadline_share", table_name="deadline")

"""An index for the box of shares: what a unit answers for without leading, among all that it ever had.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index of active shares beside the lead's."""
    op.create_index(
        "ix_assignment_active",
        "assignment",
        ["district_code", "unit_code"],
        postgresql_where=sa.text("share <> 'lead' AND state IN ('sent', 'signed', 'replied')"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_assignment_active", table_name="assignment")

"""Openings of sealed identities: role, unit, reason and how long they hold.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let every opening say the role, the unit, the reason of the list, and until when it holds."""
    for name in ("actor_role", "unit_code", "reason_code"):
        op.add_column("disclosure", sa.Column(name, sa.String(), nullable=True))
    op.add_column("disclosure", sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=True))


def downgrade() -> None:
    """Take the columns away."""
    for name in ("expires_at", "reason_code", "unit_code", "actor_role"):
        op.drop_column("disclosure", name)

"""Who works on a case reads what went out about it, the text left out; lists of everything stay with supervision.

Revision ID: 0028
Revises: 0027
"""

from alembic import op

from api.migrations.guards import DISTRICT, PINNED, ROLE

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let the roles that answer callers read the deliveries of the one case that was pinned."""
    op.execute(
        "CREATE POLICY reads_of_case ON delivery FOR SELECT"
        f" USING ({DISTRICT} AND {ROLE} IN ('operator', 'supervisor') AND case_id::text = {PINNED})"
    )


def downgrade() -> None:
    """Take it away."""
    op.execute("DROP POLICY reads_of_case ON delivery")

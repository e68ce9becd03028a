"""Tables for models learnt from corrections.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from api.migrations.guards import KEEPS, ROLE, append_only, shelter

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_INSTANT = postgresql.TIMESTAMP(timezone=True)


def _version(*columns: str, named: str) -> sa.ForeignKeyConstraint:
    theirs = ["model_version.district_code", "model_version.id"]
    return sa.ForeignKeyConstraint(["district_code", *columns], theirs, name=op.f(named))


def upgrade() -> None:
    """Make the tables of models and of choices among them; both only grow."""
    op.create_table(
        "model_version",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("made_at", _INSTANT, nullable=False),
        sa.Column("lessons", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("figures", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("verdict IN ('better', 'not better')", name=op.f("ck_model_version_verdict")),
        sa.CheckConstraint("(verdict = 'better') = (content IS NOT NULL)", name=op.f("ck_model_version_content")),
        _version("parent_id", named="fk_model_version_model_version"),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_model_version")),
    )
    op.create_index("ix_model_version_newest", "model_version", ["district_code", "made_at"])
    op.create_table(
        "model_choice",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=True),
        sa.Column("chosen_at", _INSTANT, nullable=False),
        sa.Column("chosen_by", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.CheckConstraint("why IN ('better', 'rollback')", name=op.f("ck_model_choice_why")),
        _version("version_id", named="fk_model_choice_model_version"),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_model_choice")),
    )
    for table in ("model_version", "model_choice"):
        shelter(table, reads=KEEPS, writes=f"{ROLE} = 'system'", privileges="SELECT, INSERT")
        append_only(table)


def downgrade() -> None:
    """Drop them."""
    op.drop_table("model_choice")
    op.drop_table("model_version")

"""Tables for models learnt from corrections.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
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
    _aliases()


def downgrade() -> None:
    """Drop them."""
    op.drop_table("alias")
    op.drop_table("model_choice")
    op.drop_table("model_version")


def _aliases() -> None:
    op.create_table(
        "alias",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("place_key", sa.String(), nullable=True),
        sa.Column("geom", Geometry(geometry_type="POINT", srid=4490, dimension=2, spatial_index=False), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("state", sa.String(), server_default="waiting", nullable=False),
        sa.Column("reason", sa.String(), server_default="", nullable=False),
        sa.Column("proposed_by", sa.Uuid(), nullable=False),
        sa.Column("proposed_at", _INSTANT, nullable=False),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decided_at", _INSTANT, nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'confirmed', 'rejected')", name=op.f("ck_alias_state")),
        sa.CheckConstraint("decided_by IS NULL OR decided_by <> proposed_by", name=op.f("ck_alias_second_person")),
        sa.CheckConstraint("(state = 'waiting') = (decided_by IS NULL)", name=op.f("ck_alias_decided")),
        sa.CheckConstraint("valid_to IS NULL OR valid_to >= valid_from", name=op.f("ck_alias_validity")),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_alias")),
    )
    op.create_index(
        "uq_alias_waiting",
        "alias",
        ["district_code", "name"],
        unique=True,
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index("ix_alias_state", "alias", ["district_code", "state", "proposed_at"])
    staff = f"{ROLE} IN ('system', 'operator', 'supervisor')"
    shelter("alias", reads=staff, writes=staff)

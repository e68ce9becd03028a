"""Tables for drafts, articles and the queue of the desk, and for hot matters.

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql

from api.migrations.guards import ROLE, TOWN, shelter

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_INSTANT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Make the tables."""
    _hot_matters()


def downgrade() -> None:
    """Drop them."""
    op.drop_table("hot_member")
    op.drop_table("hot_matter")


def _hot_matters() -> None:
    op.create_table(
        "hot_matter",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("words", postgresql.ARRAY(sa.String()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("place", sa.String(), server_default="", nullable=False),
        sa.Column("town_code", sa.String(), nullable=True),
        sa.Column("geom", Geometry(geometry_type="POINT", srid=4490, dimension=2, spatial_index=False), nullable=True),
        sa.Column("urgency", sa.String(), nullable=False),
        sa.Column("members", sa.Integer(), nullable=False),
        sa.Column("reporters", sa.Integer(), nullable=False),
        sa.Column("first_at", _INSTANT, nullable=False),
        sa.Column("last_at", _INSTANT, nullable=False),
        sa.Column("crossed_at", _INSTANT, nullable=False),
        sa.Column("why", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.String(), server_default="new", nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("decisions", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.CheckConstraint("state IN ('new', 'watched', 'dismissed')", name=op.f("ck_hot_matter_state")),
        sa.CheckConstraint("members > 0 AND reporters > 0", name=op.f("ck_hot_matter_counts")),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_hot_matter")),
    )
    op.create_index("ix_hot_matter_last", "hot_matter", ["district_code", "last_at"])
    op.create_table(
        "hot_member",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("hot_id", sa.Uuid(), nullable=False),
        sa.Column("joined_at", _INSTANT, nullable=False),
        sa.ForeignKeyConstraint(
            ["district_code", "hot_id"],
            ["hot_matter.district_code", "hot_matter.id"],
            name=op.f("fk_hot_member_hot_matter"),
        ),
        sa.ForeignKeyConstraint(
            ["district_code", "case_id"], ["cases.district_code", "cases.id"], name=op.f("fk_hot_member_cases")
        ),
        sa.PrimaryKeyConstraint("district_code", "case_id", name=op.f("pk_hot_member")),
    )
    op.create_index("ix_hot_member_hot", "hot_member", ["district_code", "hot_id"])
    centre = f"{ROLE} IN ('system', 'operator', 'supervisor')"
    # A person of one town sees the matters of that town; a matter of no town is the district's.
    shelter(
        "hot_matter", reads=f"({centre} OR {ROLE} = 'official') AND ({TOWN} = '' OR town_code = {TOWN})", writes=centre
    )
    # Ids alone: what a case says is guarded where it stands. An update moves a case from one matter to another.
    shelter("hot_member", reads=f"{centre} OR {ROLE} = 'official'", writes=centre)

"""The catalogue of service items and the three lists.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from api.migrations.guards import KEEPS, shelter

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ITEM = (["district_code", "item_code"], ["item.district_code", "item.code"])
_INSTANT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Make the tables: everybody of the district reads them, those who keep the ground write."""
    op.create_table(
        "item",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("district_code", "code", name=op.f("pk_item")),
    )
    op.create_table(
        "item_version",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("item_code", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("withdrawn_from", sa.Date(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("audience", sa.String(), nullable=False),
        sa.Column("unit_code", sa.String(), nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("done_at_once", sa.Boolean(), nullable=False),
        sa.Column("search", sa.String(), nullable=False),
        sa.Column("body", postgresql.JSONB(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("published_at", _INSTANT, nullable=False),
        sa.Column("published_by", sa.String(), nullable=False),
        sa.CheckConstraint("audience IN ('person', 'organisation', 'both')", name=op.f("ck_item_version_audience")),
        sa.CheckConstraint("level IN ('district', 'town', 'community')", name=op.f("ck_item_version_level")),
        sa.CheckConstraint(
            "withdrawn_from IS NULL OR withdrawn_from >= valid_from", name=op.f("ck_item_version_withdrawn")
        ),
        sa.CheckConstraint("version > 0", name=op.f("ck_item_version_version")),
        sa.ForeignKeyConstraint(*_ITEM, name=op.f("fk_item_version_item")),
        sa.PrimaryKeyConstraint("district_code", "item_code", "version", name=op.f("pk_item_version")),
    )
    op.create_index("ix_item_version_valid", "item_version", ["district_code", "item_code", "valid_from"])
    op.create_table(
        "item_override",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("item_code", sa.String(), nullable=False),
        sa.Column("area_code", sa.String(), nullable=False),
        sa.Column("fields", postgresql.JSONB(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("recorded_at", _INSTANT, nullable=False),
        sa.ForeignKeyConstraint(*_ITEM, name=op.f("fk_item_override_item")),
        sa.PrimaryKeyConstraint("district_code", "item_code", "area_code", name=op.f("pk_item_override")),
    )
    op.create_table(
        "list_entry",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("basis", sa.String(), server_default="", nullable=False),
        sa.Column("item_codes", postgresql.ARRAY(sa.String()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("conditions", postgresql.JSONB(), nullable=False),
        sa.Column("shares", postgresql.JSONB(), nullable=False),
        sa.Column("example", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("kind IN ('negative', 'permitted', 'supervision')", name=op.f("ck_list_entry_kind")),
        sa.PrimaryKeyConstraint("district_code", "code", name=op.f("pk_list_entry")),
    )
    shelter("item", reads="true", writes=KEEPS, privileges="SELECT, INSERT")
    # A published sheet never changes; it can only be withdrawn.
    shelter("item_version", reads="true", writes=KEEPS, privileges="SELECT, INSERT, UPDATE (withdrawn_from)")
    shelter("item_override", reads="true", writes=KEEPS, privileges="SELECT, INSERT, UPDATE, DELETE")
    shelter("list_entry", reads="true", writes=KEEPS, privileges="SELECT, INSERT, UPDATE, DELETE")


def downgrade() -> None:
    """Drop the tables."""
    for table in ("list_entry", "item_override", "item_version", "item"):
        op.drop_table(table)

"""The tables of the ground, and the nation's calendar.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "address",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("name", sa.String(), server_default="", nullable=False),
        sa.Column("road", sa.String(), nullable=False),
        sa.Column("house_no", sa.String(), nullable=False),
        sa.Column("addr_key", sa.String(), nullable=False),
        sa.Column("town_code", sa.String(), nullable=True),
        sa.Column("community_code", sa.String(), nullable=True),
        sa.Column("cell_code", sa.String(), nullable=True),
        sa.Column("geom", Geometry(geometry_type="POINT", srid=4490, dimension=2, spatial_index=False), nullable=False),
        sa.Column("source_datum", sa.String(), nullable=False),
        sa.Column("source_lng", sa.Double(), nullable=False),
        sa.Column("source_lat", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("district_code", "key", name=op.f("pk_address")),
    )
    op.create_index("ix_address_geom", "address", ["geom"], unique=False, postgresql_using="gist")
    op.create_index("ix_address_road", "address", ["district_code", "road"], unique=False)
    op.create_table(
        "area",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("town_code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("short", sa.String(), nullable=False),
        sa.Column("aliases", postgresql.ARRAY(sa.String()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column(
            "geom", Geometry(geometry_type="MULTIPOLYGON", srid=4490, dimension=2, spatial_index=False), nullable=True
        ),
        sa.Column(
            "centre", Geometry(geometry_type="POINT", srid=4490, dimension=2, spatial_index=False), nullable=True
        ),
        sa.Column("derived", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("source_datum", sa.String(), nullable=True),
        sa.CheckConstraint("level IN ('town', 'community')", name=op.f("ck_area_level")),
        sa.PrimaryKeyConstraint("district_code", "code", name=op.f("pk_area")),
    )
    op.create_index("ix_area_geom", "area", ["geom"], unique=False, postgresql_using="gist")
    op.create_table(
        "calendar_notice",
        sa.Column("year", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("off", postgresql.JSONB(), nullable=False),
        sa.Column("work", postgresql.JSONB(), nullable=False),
        sa.Column("loaded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("year", name=op.f("pk_calendar_notice")),
    )
    op.create_table(
        "category",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("parent_code", sa.String(), nullable=True),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("district_code", "code", name=op.f("pk_category")),
    )
    op.create_table(
        "cell",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("town_code", sa.String(), nullable=False),
        sa.Column("community_code", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column(
            "geom", Geometry(geometry_type="MULTIPOLYGON", srid=4490, dimension=2, spatial_index=False), nullable=False
        ),
        sa.Column("derived", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("households", sa.Integer(), nullable=True),
        sa.Column("places", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("kind IN ('residential', 'commercial', 'industrial', 'mixed')", name=op.f("ck_cell_kind")),
        sa.PrimaryKeyConstraint("district_code", "code", name=op.f("pk_cell")),
    )
    op.create_index("ix_cell_community", "cell", ["district_code", "community_code"], unique=False)
    op.create_index("ix_cell_geom", "cell", ["geom"], unique=False, postgresql_using="gist")
    op.create_table(
        "district",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("city_name", sa.String(), server_default="", nullable=False),
        sa.Column("fictional", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("synthetic_join", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "geom", Geometry(geometry_type="MULTIPOLYGON", srid=4490, dimension=2, spatial_index=False), nullable=True
        ),
        sa.Column("settings", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("loaded_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("district_code", name=op.f("pk_district")),
    )
    op.create_table(
        "load_run",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("loaded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("counts", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_load_run")),
    )
    op.create_table(
        "place",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("type_path", sa.String(), server_default="", nullable=False),
        sa.Column("address", sa.String(), server_default="", nullable=False),
        sa.Column("town_code", sa.String(), nullable=True),
        sa.Column("community_code", sa.String(), nullable=True),
        sa.Column("cell_code", sa.String(), nullable=True),
        sa.Column("geom", Geometry(geometry_type="POINT", srid=4490, dimension=2, spatial_index=False), nullable=False),
        sa.Column("source_datum", sa.String(), nullable=False),
        sa.Column("source_lng", sa.Double(), nullable=False),
        sa.Column("source_lat", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("district_code", "key", name=op.f("pk_place")),
    )
    op.create_index("ix_place_cell", "place", ["district_code", "cell_code"], unique=False)
    op.create_index("ix_place_geom", "place", ["geom"], unique=False, postgresql_using="gist")
    op.create_table(
        "throttle",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("window_ends", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("district_code", "key", name=op.f("pk_throttle")),
    )
    op.create_table(
        "unit",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("area_code", sa.String(), server_default="", nullable=False),
        sa.Column("deputy_code", sa.String(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('centre', 'department', 'town_office', 'community', 'emergency')", name=op.f("ck_unit_kind")
        ),
        sa.PrimaryKeyConstraint("district_code", "code", name=op.f("pk_unit")),
        sa.UniqueConstraint("district_code", "name", name=op.f("uq_unit_district_code_name")),
    )
    op.create_table(
        "account",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("login", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("town_code", sa.String(), server_default="", nullable=False),
        sa.Column("unit_code", sa.String(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("session_epoch", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(
            "role IN ('citizen', 'operator', 'unit', 'grid_worker', 'official', 'supervisor', 'admin')",
            name=op.f("ck_account_role"),
        ),
        sa.ForeignKeyConstraint(
            ["district_code", "unit_code"], ["unit.district_code", "unit.code"], name=op.f("fk_account_unit")
        ),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_account")),
        sa.UniqueConstraint("district_code", "login", name=op.f("uq_account_district_code_login")),
    )


def downgrade() -> None:
    """Drop the tables, leaves first."""
    op.drop_table("account")
    op.drop_table("unit")
    op.drop_table("throttle")
    op.drop_table("place")
    op.drop_table("load_run")
    op.drop_table("district")
    op.drop_table("cell")
    op.drop_table("category")
    op.drop_table("calendar_notice")
    op.drop_table("area")
    op.drop_table("address")

"""Lines of the ground: roads, water and estates, as a district's folder gives them.

Revision ID: 0027
Revises: 0026
"""

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry

from api.migrations.guards import KEEPS, shelter

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "ground_line",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), server_default="", nullable=False),
        sa.Column("class", sa.String(), server_default="", nullable=False),
        sa.Column("geom", Geometry("GEOMETRY", srid=4490, spatial_index=False), nullable=False),
        sa.Column("source_datum", sa.String(), nullable=False),
        sa.CheckConstraint("kind IN ('road', 'water', 'estate')", name=op.f("ck_ground_line_kind")),
        sa.PrimaryKeyConstraint("district_code", "key", name=op.f("pk_ground_line")),
    )
    op.create_index("ix_ground_line_geom", "ground_line", ["geom"], postgresql_using="gist")
    shelter("ground_line", reads="true", writes=KEEPS, privileges="SELECT, INSERT, UPDATE, DELETE")


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("ground_line")

"""Checked imports of boundaries that wait for a person.

Revision ID: 0022
Revises: 0021
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql

from api.migrations.guards import ROLE, shelter

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_INSTANT = postgresql.TIMESTAMP(timezone=True)
_JSON = postgresql.JSONB(astext_type=sa.Text())
_OFFICE = f"{ROLE} IN ('system', 'admin', 'supervisor')"
_ALL = "SELECT, INSERT, UPDATE, DELETE"


def _part(name: str, *columns: sa.Column[Any] | sa.CheckConstraint) -> None:
    op.create_table(
        name,
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("serial", sa.Integer(), nullable=False),
        *columns,
        sa.ForeignKeyConstraint(
            ["district_code", "import_id"],
            ["grid_import.district_code", "grid_import.id"],
            name=op.f(f"fk_{name}_grid_import"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("district_code", "import_id", "serial", name=op.f(f"pk_{name}")),
    )
    shelter(name, reads=_OFFICE, writes=_OFFICE, privileges=_ALL)


def upgrade() -> None:
    """Make the drafts of imports, their cells and what was found."""
    op.create_table(
        "grid_import",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("options", _JSON, nullable=False),
        sa.Column("facts", _JSON, server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("accepted", _JSON, server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("cells", sa.Integer(), nullable=False),
        sa.Column("refuses", sa.Integer(), nullable=False),
        sa.Column("warns", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_by_name", sa.String(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("changed_at", _INSTANT, nullable=False),
        sa.Column("change_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("state IN ('draft', 'planned', 'dropped')", name=op.f("ck_grid_import_state")),
        sa.CheckConstraint("(state = 'planned') = (change_id IS NOT NULL)", name=op.f("ck_grid_import_planned")),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_grid_import")),
    )
    op.create_index("ix_grid_import_newest", "grid_import", ["district_code", "created_at"])
    shelter("grid_import", reads=_OFFICE, writes=_OFFICE, privileges=_ALL)
    _part(
        "grid_import_cell",
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("community_code", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("households", sa.Integer(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("geom", Geometry(srid=4490, spatial_index=False), nullable=False),
    )
    _part(
        "grid_import_finding",
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("cells", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("params", _JSON, nullable=False),
        sa.Column("geom", Geometry(srid=4490, spatial_index=False), nullable=True),
        sa.Column("fix", _JSON, nullable=True),
        sa.CheckConstraint("severity IN ('refuses', 'warns')", name=op.f("ck_grid_import_finding_severity")),
    )


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("grid_import_finding")
    op.drop_table("grid_import_cell")
    op.drop_table("grid_import")

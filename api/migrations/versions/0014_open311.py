"""Tables for Open311 keys, requests and forwarded requests.

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from api.migrations.guards import KEEPS, ROLE, shelter

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_INSTANT = postgresql.TIMESTAMP(timezone=True)
_TABLES = (
    "open311_forward",
    "open311_remote",
    "open311_seen",
    "open311_request",
    "open311_service",
    "open311_key",
)
#: What was sent is the program's own: people read the case that it became.
_OURS = f"{ROLE} = 'system'"


def _of(table: str, column: str, *, named: str, key: str = "id") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["district_code", column], [f"{table}.district_code", f"{table}.{key}"], name=op.f(named)
    )


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "open311_key",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("jurisdiction", sa.String(), server_default="", nullable=False),
        sa.Column("per_minute", sa.Integer(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("revoked_at", _INSTANT, nullable=True),
        sa.CheckConstraint("per_minute > 0", name=op.f("ck_open311_key_per_minute")),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_open311_key")),
        sa.UniqueConstraint("district_code", "digest", name=op.f("uq_open311_key_district_code_digest")),
    )
    op.create_table(
        "open311_service",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        sa.Column("keywords", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("offered", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("attributes", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.PrimaryKeyConstraint("district_code", "code", name=op.f("pk_open311_service")),
    )
    op.create_table(
        "open311_request",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("received_at", _INSTANT, nullable=False),
        sa.Column("service_code", sa.String(), nullable=False),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        sa.Column("address", sa.String(), server_default="", nullable=False),
        sa.Column("address_id", sa.String(), server_default="", nullable=False),
        sa.Column("lng", sa.Float(), nullable=True),
        sa.Column("lat", sa.Float(), nullable=True),
        sa.Column("media_url", sa.String(), server_default="", nullable=False),
        sa.Column("answers", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("contact_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("case_id", sa.Uuid(), nullable=True),
        sa.Column("failure", sa.String(), nullable=True),
        _of("open311_key", "key_id", named="fk_open311_request_open311_key"),
        _of("cases", "case_id", named="fk_open311_request_cases"),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_open311_request")),
    )
    op.create_index(
        "ix_open311_request_listed",
        "open311_request",
        ["district_code", "received_at"],
        postgresql_where=sa.text("case_id IS NOT NULL"),
    )
    op.create_index(
        "ix_open311_request_waits",
        "open311_request",
        ["district_code", "id"],
        postgresql_where=sa.text("case_id IS NULL"),
    )
    op.create_index("uq_open311_request_case", "open311_request", ["district_code", "case_id"], unique=True)
    op.create_table(
        "open311_seen",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        _of("open311_key", "key_id", named="fk_open311_seen_open311_key"),
        sa.PrimaryKeyConstraint("district_code", "key_id", "digest", name=op.f("pk_open311_seen")),
    )
    op.create_index("ix_open311_seen_at", "open311_seen", ["district_code", "at"])
    _outward()
    shelter("open311_key", reads=KEEPS, writes=KEEPS)
    shelter("open311_service", reads=KEEPS, writes=KEEPS, privileges="SELECT, INSERT, UPDATE, DELETE")
    shelter("open311_request", reads=_OURS, writes=_OURS)
    shelter("open311_seen", reads=_OURS, writes=_OURS, privileges="SELECT, INSERT, UPDATE, DELETE")
    shelter("open311_remote", reads=KEEPS, writes=KEEPS)
    shelter("open311_forward", reads=f"{ROLE} IN ('system', 'operator', 'supervisor')", writes=_OURS)


def _outward() -> None:
    op.create_table(
        "open311_remote",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("unit_code", sa.String(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("jurisdiction", sa.String(), server_default="", nullable=False),
        sa.Column("key_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("services", postgresql.JSONB(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        _of("unit", "unit_code", named="fk_open311_remote_unit", key="code"),
        sa.PrimaryKeyConstraint("district_code", "unit_code", name=op.f("pk_open311_remote")),
    )
    op.create_table(
        "open311_forward",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("assignment_id", sa.Uuid(), nullable=False),
        sa.Column("unit_code", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("token", sa.String(), server_default="", nullable=False),
        sa.Column("remote_id", sa.String(), server_default="", nullable=False),
        sa.Column("remote_status", sa.String(), server_default="", nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("next_at", _INSTANT, nullable=False),
        sa.Column("failure", sa.String(), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'sent', 'answered', 'refused', 'void')", name=op.f("ck_open311_forward_state")
        ),
        _of("cases", "case_id", named="fk_open311_forward_cases"),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_open311_forward")),
        sa.UniqueConstraint(
            "district_code", "assignment_id", name=op.f("uq_open311_forward_district_code_assignment_id")
        ),
    )
    op.create_index(
        "ix_open311_forward_next",
        "open311_forward",
        ["district_code", "next_at"],
        postgresql_where=sa.text("state IN ('waiting', 'sent')"),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in _TABLES:
        op.drop_table(table)

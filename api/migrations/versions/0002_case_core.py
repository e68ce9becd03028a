"""The tables of the case core.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "cases",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("process", sa.String(), nullable=False),
        sa.Column("process_version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("urgency", sa.String(), nullable=False),
        sa.Column("title", sa.String(), server_default="", nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("category_code", sa.String(), nullable=True),
        sa.Column("category_confidence", sa.Double(), nullable=True),
        sa.Column("category_by", sa.String(), nullable=True),
        sa.Column("place_name", sa.String(), server_default="", nullable=False),
        sa.Column("place_by", sa.String(), nullable=True),
        sa.Column("place_confidence", sa.Double(), nullable=True),
        sa.Column("radius_m", sa.Double(), nullable=True),
        sa.Column("geom", Geometry(geometry_type="POINT", srid=4490, dimension=2, spatial_index=False), nullable=True),
        sa.Column("source_datum", sa.String(), nullable=True),
        sa.Column("source_lng", sa.Double(), nullable=True),
        sa.Column("source_lat", sa.Double(), nullable=True),
        sa.Column("town_code", sa.String(), nullable=True),
        sa.Column("community_code", sa.String(), nullable=True),
        sa.Column("cell_code", sa.String(), nullable=True),
        sa.Column("unit_code", sa.String(), nullable=True),
        sa.Column("unit_codes", postgresql.ARRAY(sa.String()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("reported_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("received_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("due_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("due_clock", sa.String(), nullable=True),
        sa.Column("warned", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("returns", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("closed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("duplicate_of", sa.Uuid(), nullable=True),
        sa.Column("suggestions", postgresql.JSONB(), nullable=False),
        sa.Column("answer", sa.String(), nullable=True),
        sa.Column("satisfaction", sa.SmallInteger(), nullable=True),
        sa.Column("access_hash", sa.LargeBinary(), nullable=True),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("head_hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("urgency IN ('emergency', 'utilities', 'ordinary')", name=op.f("ck_cases_urgency")),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_cases")),
        sa.UniqueConstraint("district_code", "number", name=op.f("uq_cases_district_code_number")),
    )
    op.create_index(
        "ix_cases_open_geom", "cases", ["geom"], unique=False, postgresql_using="gist", postgresql_where=sa.text("open")
    )
    op.create_index("ix_cases_received", "cases", ["district_code", "received_at"], unique=False)
    op.create_index(
        "ix_cases_unit",
        "cases",
        ["district_code", "unit_code", "due_at"],
        unique=False,
        postgresql_where=sa.text("open"),
    )
    op.create_index(
        "ix_cases_worklist",
        "cases",
        ["district_code", "state", "due_at"],
        unique=False,
        postgresql_where=sa.text("open"),
    )
    op.create_table(
        "heat",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("zoom", sa.SmallInteger(), nullable=False),
        sa.Column("x", sa.Integer(), nullable=False),
        sa.Column("y", sa.Integer(), nullable=False),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("district_code", "zoom", "x", "y", name=op.f("pk_heat")),
    )
    op.create_table(
        "limit_rule",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("clock", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), server_default="", nullable=False),
        sa.Column("urgency", sa.String(), server_default="", nullable=False),
        sa.Column("category_code", sa.String(), server_default="", nullable=False),
        sa.Column("limit", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_limit_rule")),
    )
    op.create_table(
        "number_block",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("next", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("district_code", "day", name=op.f("pk_number_block")),
    )
    op.create_table(
        "outbox",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=True),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("payload", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("leased_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("delivered_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("failure", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_outbox")),
    )
    op.create_index(
        "ix_outbox_case_waiting",
        "outbox",
        ["district_code", "case_id", "id"],
        unique=False,
        postgresql_where=sa.text("delivered_at IS NULL"),
    )
    op.create_index(
        "ix_outbox_waiting",
        "outbox",
        ["district_code", "id"],
        unique=False,
        postgresql_where=sa.text("delivered_at IS NULL"),
    )
    op.create_table(
        "tally",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("cell_code", sa.String(), nullable=False),
        sa.Column("category_code", sa.String(), nullable=False),
        sa.Column("opened", sa.Integer(), nullable=False),
        sa.Column("closed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("district_code", "day", "cell_code", "category_code", name=op.f("pk_tally")),
    )
    op.create_table(
        "assignment",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("unit_code", sa.String(), nullable=False),
        sa.Column("share", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("why", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("signed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("ended_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("share IN ('lead', 'assist', 'parallel')", name=op.f("ck_assignment_share")),
        sa.CheckConstraint(
            "state IN ('sent', 'signed', 'replied', 'returned', 'moved', 'done')", name=op.f("ck_assignment_state")
        ),
        sa.ForeignKeyConstraint(
            ["district_code", "case_id"], ["cases.district_code", "cases.id"], name=op.f("fk_assignment_cases")
        ),
        sa.ForeignKeyConstraint(
            ["district_code", "unit_code"], ["unit.district_code", "unit.code"], name=op.f("fk_assignment_unit")
        ),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_assignment")),
    )
    op.create_index("ix_assignment_case", "assignment", ["district_code", "case_id"], unique=False)
    op.create_index("ix_assignment_unit", "assignment", ["district_code", "unit_code", "created_at"], unique=False)
    op.create_table(
        "attachment",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["district_code", "case_id"], ["cases.district_code", "cases.id"], name=op.f("fk_attachment_cases")
        ),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_attachment")),
    )
    op.create_index("ix_attachment_case", "attachment", ["district_code", "case_id"], unique=False)
    op.create_table(
        "deadline",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("clock", sa.String(), nullable=False),
        sa.Column("unit_code", sa.String(), nullable=True),
        sa.Column("limit", sa.String(), nullable=False),
        sa.Column("started_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("due_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("provisional", sa.Boolean(), nullable=False),
        sa.Column("half_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("near_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("next_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("fired", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rung", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("stopped_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.CheckConstraint("(stopped_at IS NULL) = (outcome IS NULL)", name=op.f("ck_deadline_outcome")),
        sa.ForeignKeyConstraint(
            ["district_code", "case_id"], ["cases.district_code", "cases.id"], name=op.f("fk_deadline_cases")
        ),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_deadline")),
    )
    op.create_index("ix_deadline_case", "deadline", ["district_code", "case_id"], unique=False)
    op.create_index(
        "ix_deadline_next",
        "deadline",
        ["district_code", "next_at"],
        unique=False,
        postgresql_where=sa.text("next_at IS NOT NULL"),
    )
    op.create_table(
        "deadline_change",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("deadline_id", sa.Uuid(), nullable=False),
        sa.Column("changed_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("old_due_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("new_due_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("why", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(
            ["district_code", "case_id"], ["cases.district_code", "cases.id"], name=op.f("fk_deadline_change_cases")
        ),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_deadline_change")),
    )
    op.create_index("ix_deadline_change_case", "deadline_change", ["district_code", "case_id"], unique=False)
    op.create_table(
        "disclosure",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_name", sa.String(), nullable=False),
        sa.Column("field", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("opened_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["district_code", "case_id"], ["cases.district_code", "cases.id"], name=op.f("fk_disclosure_cases")
        ),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_disclosure")),
    )
    op.create_index("ix_disclosure_case", "disclosure", ["district_code", "case_id"], unique=False)
    op.create_table(
        "entry",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_name", sa.String(), nullable=False),
        sa.Column("actor_role", sa.String(), nullable=False),
        sa.Column("unit_code", sa.String(), nullable=True),
        sa.Column("happened_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("state_before", sa.String(), nullable=True),
        sa.Column("state_after", sa.String(), nullable=False),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        sa.Column("prev_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["district_code", "case_id"], ["cases.district_code", "cases.id"], name=op.f("fk_entry_cases")
        ),
        sa.PrimaryKeyConstraint("district_code", "case_id", "seq", name=op.f("pk_entry")),
    )
    op.create_index("ix_entry_recorded", "entry", ["district_code", "recorded_at"], unique=False)
    op.create_table(
        "report",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("source_id", sa.String(), nullable=True),
        sa.Column("idempotency_key", sa.String(), nullable=True),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("received_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("name_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("phone_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("phone_index", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["district_code", "case_id"], ["cases.district_code", "cases.id"], name=op.f("fk_report_cases")
        ),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_report")),
    )
    op.create_index("ix_report_case", "report", ["district_code", "case_id"], unique=False)
    op.create_index(
        "ix_report_phone",
        "report",
        ["district_code", "phone_index"],
        unique=False,
        postgresql_where=sa.text("phone_index IS NOT NULL"),
    )
    op.create_index(
        "uq_report_key",
        "report",
        ["district_code", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_index(
        "uq_report_source",
        "report",
        ["district_code", "channel", "source_id"],
        unique=True,
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.create_table(
        "routing_rule",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("category_code", sa.String(), nullable=False),
        sa.Column("area_code", sa.String(), nullable=False),
        sa.Column("weekdays", sa.String(), server_default="", nullable=False),
        sa.Column("hours", sa.String(), server_default="", nullable=False),
        sa.Column("unit_code", sa.String(), nullable=False),
        sa.Column("note", sa.String(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["district_code", "unit_code"], ["unit.district_code", "unit.code"], name=op.f("fk_routing_rule_unit")
        ),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_routing_rule")),
    )


def downgrade() -> None:
    """Drop the tables, leaves first."""
    op.drop_table("routing_rule")
    op.drop_table("report")
    op.drop_table("entry")
    op.drop_table("disclosure")
    op.drop_table("deadline_change")
    op.drop_table("deadline")
    op.drop_table("attachment")
    op.drop_table("assignment")
    op.drop_table("tally")
    op.drop_table("outbox")
    op.drop_table("number_block")
    op.drop_table("limit_rule")
    op.drop_table("heat")
    op.drop_table("cases")

"""Appointment slots of windows and home visits.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from api.migrations.guards import KEEPS, ROLE, TOWN, UNIT, shelter

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_INSTANT = postgresql.TIMESTAMP(timezone=True)
_WINDOW = (["district_code", "window_code"], ["service_window.district_code", "service_window.code"])
#: The centre's people see every appointment, a unit those at its own windows, a grid worker those of the own town.
_SEES = (
    f"({ROLE} IN ('system', 'operator', 'supervisor') AND ({TOWN} = '' OR town_code = {TOWN}))"
    f" OR ({ROLE} = 'unit' AND {UNIT} <> '' AND unit_code = {UNIT})"
    f" OR ({ROLE} = 'grid_worker' AND town_code <> '' AND town_code = {TOWN})"
)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "service_window",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("unit_code", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("area_code", sa.String(), server_default="", nullable=False),
        sa.Column("town_code", sa.String(), server_default="", nullable=False),
        sa.Column("items", postgresql.ARRAY(sa.String()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("weekdays", sa.String(), server_default="", nullable=False),
        sa.Column("hours", sa.String(), server_default="", nullable=False),
        sa.Column("slot_min", sa.SmallInteger(), nullable=False),
        sa.Column("travel_min", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("capacity", sa.SmallInteger(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("invented", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("kind IN ('window', 'home')", name=op.f("ck_service_window_kind")),
        sa.CheckConstraint("slot_min BETWEEN 5 AND 480", name=op.f("ck_service_window_slot_min")),
        sa.CheckConstraint("travel_min BETWEEN 0 AND 240", name=op.f("ck_service_window_travel_min")),
        sa.CheckConstraint("capacity BETWEEN 1 AND 100", name=op.f("ck_service_window_capacity")),
        sa.ForeignKeyConstraint(
            ["district_code", "unit_code"], ["unit.district_code", "unit.code"], name=op.f("fk_service_window_unit")
        ),
        sa.PrimaryKeyConstraint("district_code", "code", name=op.f("pk_service_window")),
    )
    op.create_table(
        "slot_closure",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("window_code", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(*_WINDOW, name=op.f("fk_slot_closure_service_window")),
        sa.PrimaryKeyConstraint("district_code", "window_code", "day", name=op.f("pk_slot_closure")),
    )
    op.create_table(
        "appointment",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("window_code", sa.String(), nullable=False),
        sa.Column("unit_code", sa.String(), nullable=False),
        sa.Column("town_code", sa.String(), server_default="", nullable=False),
        sa.Column("starts_at", _INSTANT, nullable=False),
        sa.Column("ends_at", _INSTANT, nullable=False),
        sa.Column("busy_until", _INSTANT, nullable=False),
        sa.Column("seat", sa.SmallInteger(), nullable=False),
        sa.Column("item_code", sa.String(), nullable=True),
        sa.Column("case_id", sa.Uuid(), nullable=True),
        sa.Column("area_code", sa.String(), server_default="", nullable=False),
        sa.Column("name_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("phone_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("phone_index", sa.LargeBinary(), nullable=False),
        sa.Column("phone_turn", sa.SmallInteger(), nullable=True),
        sa.Column("address_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("booked_at", _INSTANT, nullable=False),
        sa.Column("booked_by", sa.String(), nullable=False),
        sa.Column("cancelled_at", _INSTANT, nullable=True),
        sa.Column("marked_at", _INSTANT, nullable=True),
        sa.Column("marked_by", sa.String(), nullable=True),
        sa.Column("moved_to", sa.String(), nullable=True),
        sa.Column("idempotency_key", sa.String(), nullable=True),
        sa.Column("access_hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("status IN ('booked', 'cancelled', 'kept', 'missed')", name=op.f("ck_appointment_status")),
        sa.CheckConstraint(
            "(status = 'cancelled') = (cancelled_at IS NOT NULL)", name=op.f("ck_appointment_cancelled")
        ),
        sa.CheckConstraint("starts_at < ends_at AND ends_at <= busy_until", name=op.f("ck_appointment_order")),
        sa.ForeignKeyConstraint(*_WINDOW, name=op.f("fk_appointment_service_window")),
        sa.ForeignKeyConstraint(
            ["district_code", "case_id"], ["cases.district_code", "cases.id"], name=op.f("fk_appointment_cases")
        ),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_appointment")),
        sa.UniqueConstraint("district_code", "number", name=op.f("uq_appointment_district_code_number")),
    )
    op.create_index(
        "uq_appointment_seat",
        "appointment",
        ["district_code", "window_code", "starts_at", "seat"],
        unique=True,
        postgresql_where=sa.text("status <> 'cancelled'"),
    )
    op.create_index(
        "uq_appointment_phone",
        "appointment",
        ["district_code", "phone_index", "phone_turn"],
        unique=True,
        postgresql_where=sa.text("phone_turn IS NOT NULL"),
    )
    op.create_index(
        "uq_appointment_key",
        "appointment",
        ["district_code", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_index("ix_appointment_day", "appointment", ["district_code", "unit_code", "starts_at"])
    op.create_index("ix_appointment_town", "appointment", ["district_code", "starts_at"])
    op.create_index(
        "ix_appointment_case",
        "appointment",
        ["district_code", "case_id"],
        postgresql_where=sa.text("case_id IS NOT NULL"),
    )
    shelter("service_window", reads="true", writes=KEEPS, privileges="SELECT, INSERT, UPDATE")
    shelter("slot_closure", reads="true", writes=KEEPS, privileges="SELECT, INSERT, UPDATE, DELETE")
    shelter("appointment", reads=_SEES, writes=_SEES)


def downgrade() -> None:
    """Drop the tables."""
    for table in ("appointment", "slot_closure", "service_window"):
        op.drop_table(table)

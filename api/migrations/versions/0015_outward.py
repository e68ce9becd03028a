"""Tables for deliveries and templates.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from api.migrations.guards import KEEPS, ROLE, TOWN, append_only, shelter

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_INSTANT = postgresql.TIMESTAMP(timezone=True)
_WAITS = sa.text("state IN ('waiting', 'held')")
#: Deliveries belong to no town: the program, supervision of the whole district, and the administrator.
_WATCHES = f"{ROLE} = 'system' OR ({ROLE} IN ('supervisor', 'admin') AND {TOWN} = '')"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "delivery",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=True),
        sa.Column("number", sa.String(), server_default="", nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("recipient", sa.LargeBinary(), nullable=False),
        sa.Column("address_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("shown", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), server_default="", nullable=False),
        sa.Column("text_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("urgent", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("quiet", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("next_at", _INSTANT, nullable=False),
        sa.Column("leased_until", _INSTANT, nullable=True),
        sa.Column("sent_at", _INSTANT, nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("receipt", sa.String(), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'held', 'sent', 'refused', 'dead')", name=op.f("ck_delivery_state")),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_delivery")),
        sa.UniqueConstraint(
            "district_code",
            "message_id",
            "recipient",
            "channel",
            name=op.f("uq_delivery_district_code_message_id_recipient_channel"),
        ),
    )
    op.create_index("ix_delivery_next", "delivery", ["district_code", "next_at"], postgresql_where=_WAITS)
    op.create_index("ix_delivery_order", "delivery", ["district_code", "recipient", "id"], postgresql_where=_WAITS)
    op.create_index(
        "ix_delivery_dead",
        "delivery",
        ["district_code", "id"],
        postgresql_where=sa.text("state IN ('refused', 'dead')"),
    )
    op.create_index(
        "ix_delivery_case", "delivery", ["district_code", "case_id"], postgresql_where=sa.text("case_id IS NOT NULL")
    )
    shelter("delivery", reads=_WATCHES, writes=_WATCHES, privileges="SELECT, INSERT, UPDATE, DELETE")
    op.create_table(
        "delivery_event",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_name", sa.String(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=True),
        sa.Column("chosen", postgresql.JSONB(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_delivery_event")),
    )
    shelter("delivery_event", reads=_WATCHES, writes=_WATCHES, privileges="SELECT, INSERT")
    append_only("delivery_event")
    op.create_table(
        "message_template",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("category", sa.String(), server_default="", nullable=False),
        sa.Column("state", sa.String(), server_default="", nullable=False),
        sa.Column("subject", sa.String(), server_default="", nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("changed_at", _INSTANT, nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint(
            "district_code", "topic", "channel", "category", "state", name=op.f("pk_message_template")
        ),
    )
    shelter("message_template", reads=_WATCHES, writes=KEEPS, privileges="SELECT, INSERT, UPDATE, DELETE")
    op.create_table(
        "contact",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("audience", sa.String(), nullable=False),
        sa.Column("unit_code", sa.String(), nullable=True),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("address_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("shown", sa.String(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.CheckConstraint("channel IN ('mail', 'wecom', 'dingtalk', 'feishu')", name=op.f("ck_contact_channel")),
        sa.CheckConstraint("audience IN ('unit', 'desk', 'supervision')", name=op.f("ck_contact_audience")),
        sa.CheckConstraint("(audience = 'unit') = (unit_code IS NOT NULL)", name=op.f("ck_contact_unit")),
        sa.ForeignKeyConstraint(
            ["district_code", "unit_code"], ["unit.district_code", "unit.code"], name=op.f("fk_contact_unit")
        ),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_contact")),
    )
    op.create_index(
        "ix_contact_unit", "contact", ["district_code", "unit_code"], postgresql_where=sa.text("unit_code IS NOT NULL")
    )
    shelter("contact", reads=KEEPS, writes=KEEPS, privileges="SELECT, INSERT, DELETE")


def downgrade() -> None:
    """Drop the tables."""
    for table in ("contact", "message_template", "delivery_event", "delivery"):
        op.drop_table(table)

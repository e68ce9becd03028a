"""The tables of what goes out: deliveries, who looked after them, templates of a district, and contacts of units.

No behaviour. Addresses and texts are sealed by `core.crypto`; lists show addresses masked.
"""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, SmallInteger, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base
from grid.models import Instant


class Delivery(Base):
    """投递: one message of the outbox on its way to one address. Written once for message, address and channel."""

    __tablename__ = "delivery"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'held', 'sent', 'refused', 'dead')", name="state"),
        UniqueConstraint("district_code", "message_id", "recipient", "channel"),
        Index("ix_delivery_next", "district_code", "next_at", postgresql_where=text("state IN ('waiting', 'held')")),
        Index(
            "ix_delivery_order",
            "district_code",
            "recipient",
            "id",
            postgresql_where=text("state IN ('waiting', 'held')"),
        ),
        Index("ix_delivery_dead", "district_code", "id", postgresql_where=text("state IN ('refused', 'dead')")),
        Index("ix_delivery_case", "district_code", "case_id", postgresql_where=text("case_id IS NOT NULL")),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: The key that adapters get: the same key again is the same message.
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: The row of the outbox that it came from; the row may be pruned before this one.
    message_id: Mapped[uuid.UUID]
    topic: Mapped[str]
    case_id: Mapped[uuid.UUID | None]
    #: The number that people say, of the case or the appointment; empty for neither.
    number: Mapped[str] = mapped_column(server_default="")
    #: One of `hotline.outward.adapters.CHANNELS`.
    channel: Mapped[str]
    #: Blind index of the address.
    recipient: Mapped[bytes] = mapped_column(LargeBinary)
    address_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    #: The address as lists show it: `138****1234`.
    shown: Mapped[str]
    subject: Mapped[str] = mapped_column(server_default="")
    text_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    #: Danger to life: no quiet hours, and it overtakes.
    urgent: Mapped[bool] = mapped_column(server_default=text("false"))
    #: To a resident, who is not disturbed at night.
    quiet: Mapped[bool] = mapped_column(server_default=text("false"))
    #: waiting: goes out at `next_at`. held: the same, but kept back for the quiet hours. sent. refused: the other side
    #: will never take it. dead: given up after too many tries.
    state: Mapped[str]
    tries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(Instant)
    next_at: Mapped[datetime] = mapped_column(Instant)
    leased_until: Mapped[datetime | None] = mapped_column(Instant)
    sent_at: Mapped[datetime | None] = mapped_column(Instant)
    #: Why it waits, was refused or given up; words of the adapter, bounded.
    reason: Mapped[str | None]
    #: What the other side calls it.
    receipt: Mapped[str | None]


class DeliveryEvent(Base):
    """投递处置: somebody sent given-up messages again. Append-only."""

    __tablename__ = "delivery_event"

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(Instant)
    actor_id: Mapped[uuid.UUID | None]
    actor_name: Mapped[str]
    #: The one delivery, or None for all of a filter.
    delivery_id: Mapped[uuid.UUID | None]
    #: The filter that was in force.
    chosen: Mapped[dict[str, Any]] = mapped_column(JSONB)
    count: Mapped[int]


class MessageTemplate(Base):
    """短信模板: a district's own words for a topic, channel and category, instead of the shipped ones."""

    __tablename__ = "message_template"

    district_code: Mapped[str] = mapped_column(primary_key=True)
    topic: Mapped[str] = mapped_column(primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    #: Prefix of category codes that it is for; empty for all.
    category: Mapped[str] = mapped_column(primary_key=True, server_default="")
    #: State of the case that it is for; empty for all.
    state: Mapped[str] = mapped_column(primary_key=True, server_default="")
    subject: Mapped[str] = mapped_column(server_default="")
    #: Empty: nothing is sent.
    text: Mapped[str]
    changed_at: Mapped[datetime] = mapped_column(Instant)
    changed_by: Mapped[str]


class Contact(Base):
    """通知地址: where a unit, the desk or supervision wants its messages: an e-mail address or a chat robot."""

    __tablename__ = "contact"
    __table_args__ = (
        ForeignKeyConstraint(["district_code", "unit_code"], ["unit.district_code", "unit.code"]),
        CheckConstraint("channel IN ('mail', 'wecom', 'dingtalk', 'feishu')", name="channel"),
        CheckConstraint("audience IN ('unit', 'desk', 'supervision')", name="audience"),
        CheckConstraint("(audience = 'unit') = (unit_code IS NOT NULL)", name="unit"),
        Index("ix_contact_unit", "district_code", "unit_code", postgresql_where=text("unit_code IS NOT NULL")),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    audience: Mapped[str]
    unit_code: Mapped[str | None]
    channel: Mapped[str]
    address_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    shown: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(Instant)
    created_by: Mapped[str]

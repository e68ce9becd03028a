"""The tables of Open311: keys, services' questions, requests, and matters forwarded to other servers. No behaviour."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, SmallInteger, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base
from grid.models import Instant


def _of_case() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["district_code", "case_id"], ["cases.district_code", "cases.id"])


def _of_key() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["district_code", "key_id"], ["open311_key.district_code", "open311_key.id"])


class Open311Key(Base):
    """接口密钥: who may send requests. The key itself is shown once and kept nowhere."""

    __tablename__ = "open311_key"
    __table_args__ = (
        UniqueConstraint("district_code", "digest"),
        CheckConstraint("per_minute > 0", name="per_minute"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: Keyed hash of the key.
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    #: Whose it is; stands in the log of what came with it.
    label: Mapped[str]
    #: The jurisdiction_id that it is for; empty for whichever is served.
    jurisdiction: Mapped[str] = mapped_column(server_default="")
    per_minute: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(Instant)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)


class Open311Service(Base):
    """服务定义: what is said and asked beside a category's name. A category without a row is offered as it is."""

    __tablename__ = "open311_service"

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: Code of a category.
    code: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str] = mapped_column(server_default="")
    keywords: Mapped[list[str]] = mapped_column(JSONB, server_default=text("'[]'"))
    #: False: not reported through Open311.
    offered: Mapped[bool] = mapped_column(server_default=text("true"))
    #: The questions in order; `hotline.open311.services.Attribute` as JSON.
    attributes: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))


class Open311Request(Base):
    """请求: what somebody's program sent, as it was sent. Its id is the token, and the key of its one case."""

    __tablename__ = "open311_request"
    __table_args__ = (
        _of_key(),
        _of_case(),
        Index(
            "ix_open311_request_listed", "district_code", "received_at", postgresql_where=text("case_id IS NOT NULL")
        ),
        Index("ix_open311_request_waits", "district_code", "id", postgresql_where=text("case_id IS NULL")),
        Index("uq_open311_request_case", "district_code", "case_id", unique=True),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    key_id: Mapped[uuid.UUID]
    received_at: Mapped[datetime] = mapped_column(Instant)
    service_code: Mapped[str]
    #: The sender's own words; hostile, masked wherever shown.
    description: Mapped[str] = mapped_column(server_default="")
    address: Mapped[str] = mapped_column(server_default="")
    address_id: Mapped[str] = mapped_column(server_default="")
    #: WGS84 degrees, as sent.
    lng: Mapped[float | None]
    lat: Mapped[float | None]
    #: On an allowed host; kept as text, never fetched.
    media_url: Mapped[str] = mapped_column(server_default="")
    #: Code of an attribute → the answers.
    answers: Mapped[dict[str, list[str]]] = mapped_column(JSONB, server_default=text("'{}'"))
    #: Name, phone, e-mail, device and account, sealed together.
    contact_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    #: None while it waits to be taken in.
    case_id: Mapped[uuid.UUID | None]
    #: Why it could not be taken in, an English msgid; then nothing waits.
    failure: Mapped[str | None]


class Open311Seen(Base):
    """What a key sent lately: the same again is the same request."""

    __tablename__ = "open311_seen"
    __table_args__ = (_of_key(), Index("ix_open311_seen_at", "district_code", "at"))

    district_code: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: SHA-256 of the sender's own id, or of everything that was sent.
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    request_id: Mapped[uuid.UUID]
    at: Mapped[datetime] = mapped_column(Instant)


class Open311Remote(Base):
    """外部系统: a unit whose matters are handled in another Open311 server."""

    __tablename__ = "open311_remote"
    __table_args__ = (ForeignKeyConstraint(["district_code", "unit_code"], ["unit.district_code", "unit.code"]),)

    district_code: Mapped[str] = mapped_column(primary_key=True)
    unit_code: Mapped[str] = mapped_column(primary_key=True)
    #: The address before `/requests.json`, without a slash at its end.
    endpoint: Mapped[str]
    jurisdiction: Mapped[str] = mapped_column(server_default="")
    key_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    #: Prefix of our category code → their service_code; the longest prefix counts, the empty one is for all others.
    services: Mapped[dict[str, str]] = mapped_column(JSONB)
    active: Mapped[bool] = mapped_column(server_default=text("true"))


class Open311Forward(Base):
    """转送: one unit's share of a case on its way to another server and back."""

    __tablename__ = "open311_forward"
    __table_args__ = (
        _of_case(),
        UniqueConstraint("district_code", "assignment_id"),
        CheckConstraint("state IN ('waiting', 'sent', 'answered', 'refused', 'void')", name="state"),
        Index(
            "ix_open311_forward_next", "district_code", "next_at", postgresql_where=text("state IN ('waiting', 'sent')")
        ),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: The key under which the other side is asked to take it once.
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID]
    assignment_id: Mapped[uuid.UUID]
    unit_code: Mapped[str]
    #: waiting → sent → answered; refused: they will never take it; void: the unit has it no more.
    state: Mapped[str]
    #: What they call it; a token until they have a number.
    token: Mapped[str] = mapped_column(server_default="")
    remote_id: Mapped[str] = mapped_column(server_default="")
    #: Their status, the moment of the last look and their words; `hotline.open311.forward.There` as text.
    remote_status: Mapped[str] = mapped_column(server_default="")
    tries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(Instant)
    next_at: Mapped[datetime] = mapped_column(Instant)
    failure: Mapped[str | None]

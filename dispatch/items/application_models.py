"""The tables of applications 申请 and of requests for government information, each row a part of a case. No behaviour.

Written by `application` (opening) and `steps` (what actions do) alone. Personal data is sealed by `core.crypto`;
name and telephone of the applicant stand in the case's report, as for every other case.
"""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, SmallInteger, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base
from dispatch.items.models import ItemVersion
from grid.models import Instant


def _of_case() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["district_code", "case_id"], ["cases.district_code", "cases.id"])


class Application(Base):
    """申请: what one application for a service item is about; its life is the case's."""

    __tablename__ = "application"
    __table_args__ = (
        _of_case(),
        ForeignKeyConstraint(
            ["district_code", "item_code", "item_version"],
            [f"{ItemVersion.__tablename__}.{column}" for column in ("district_code", "item_code", "version")],
        ),
        CheckConstraint("applicant_kind IN ('person', 'organisation')", name="applicant_kind"),
        CheckConstraint("outcome IN ('granted', 'denied')", name="outcome"),
        Index("ix_application_id_index", "district_code", "id_index"),
        Index("ix_application_item", "district_code", "item_code"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: The sheet that it began under, and ends under.
    item_code: Mapped[str]
    item_version: Mapped[int]
    #: person 自然人 or organisation 法人.
    applicant_kind: Mapped[str]
    #: Number of the identity card or of the unified credit code, sealed; the index finds earlier applications.
    id_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    id_index: Mapped[bytes] = mapped_column(LargeBinary)
    #: Who acts for the applicant 代办, sealed; empty where they act themselves.
    agent_name_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    agent_phone_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    #: Code of the place in the sheet where the result is fetched 取件地.
    pickup_place: Mapped[str]
    #: 绿色通道: a shorter promise, first in lists; why.
    green: Mapped[bool] = mapped_column(server_default=text("false"))
    green_why: Mapped[str] = mapped_column(server_default="")
    #: The applicant agreed that materials held already are used again 一表制.
    consent: Mapped[bool] = mapped_column(server_default=text("false"))
    #: 信用等级 A to D as known at the time; empty where unknown.
    credit_class: Mapped[str] = mapped_column(server_default="")
    #: What the applicant says of the matter, by the names that the three lists ask for.
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: What the lists said last: entries by code and title, whether it must be granted, the share of after-checks.
    verdict: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: Values of the form's own fields.
    form: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: 一次性告知: when and what was told, `[{code, name, why}]`.
    told_at: Mapped[datetime | None] = mapped_column(Instant)
    told: Mapped[Any] = mapped_column(JSONB, server_default=text("'[]'"))
    accepted_at: Mapped[datetime | None] = mapped_column(Instant)
    #: granted or denied, once decided.
    outcome: Mapped[str | None]
    decided_at: Mapped[datetime | None] = mapped_column(Instant)
    #: Number of the decision 文号, and until when what was granted holds, as written.
    decision_number: Mapped[str] = mapped_column(server_default="")
    valid_until: Mapped[str] = mapped_column(server_default="")
    #: 事后核查: drawn for a check after it was granted.
    after_check: Mapped[bool] = mapped_column(server_default=text("false"))
    #: Accepted, decided and delivered in one step 即办; counted for the share done at once 即办率.
    at_once: Mapped[bool] = mapped_column(server_default=text("false"))


class ApplicationMaterial(Base):
    """申请材料: one material of the sheet, as it stands for one application."""

    __tablename__ = "application_material"
    __table_args__ = (
        _of_case(),
        Index("uq_application_material_code", "district_code", "case_id", "code", unique=True),
        CheckConstraint("state IN ('missing', 'given', 'shared', 'checked', 'rejected', 'owed')", name="state"),
        CheckConstraint("state <> 'owed' OR owed_until IS NOT NULL", name="owed"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: Also names the debt's clock: `deadline.assignment_id`.
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID]
    #: As in the sheet.
    code: Mapped[str]
    #: missing → given → checked; shared from a register; rejected: handed in, but wrong; owed: may lag 容缺.
    state: Mapped[str]
    given_at: Mapped[datetime | None] = mapped_column(Instant)
    #: What is wrong with it.
    why: Mapped[str] = mapped_column(server_default="")
    #: The debt: until when, and when it was settled.
    owed_until: Mapped[datetime | None] = mapped_column(Instant)
    settled_at: Mapped[datetime | None] = mapped_column(Instant)
    #: The earlier application that it was taken from, with consent.
    source_case_id: Mapped[uuid.UUID | None]


class MaterialFile(Base):
    """材料附件: a file handed in for a material; the bytes lie in the store under their hash."""

    __tablename__ = "material_file"
    __table_args__ = (
        _of_case(),
        Index("ix_material_file_case", "district_code", "case_id"),
        CheckConstraint("size > 0", name="size"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID]
    #: Code of the material.
    code: Mapped[str]
    #: SHA-256 in hex of the stored bytes.
    sha256: Mapped[str]
    media_type: Mapped[str]
    #: Bytes.
    size: Mapped[int]
    #: As the sender called it; hostile, escaped wherever shown.
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(Instant)


class Survey(Base):
    """踏勘: one visit to the place, by one unit or by all of them together; one date, one record (S0, S4)."""

    __tablename__ = "survey"
    __table_args__ = (
        _of_case(),
        Index("ix_survey_case", "district_code", "case_id"),
        Index("uq_survey_open", "district_code", "case_id", unique=True, postgresql_where=text("recorded_at IS NULL")),
        CheckConstraint("result IN ('pass', 'fail')", name="result"),
        CheckConstraint("(recorded_at IS NULL) = (result IS NULL)", name="recorded"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID]
    #: Codes of the units that go.
    units: Mapped[Any] = mapped_column(JSONB)
    #: When they meet.
    set_for: Mapped[datetime] = mapped_column(Instant)
    place: Mapped[str]
    called_at: Mapped[datetime] = mapped_column(Instant)
    called_by: Mapped[str]
    recorded_at: Mapped[datetime | None] = mapped_column(Instant)
    recorded_by: Mapped[str | None]
    result: Mapped[str | None]
    record: Mapped[str] = mapped_column(server_default="")


class Fee(Base):
    """收费记录: what was asked for, by which rule, and what was let off; a recorded fact, no payment."""

    __tablename__ = "fee"
    __table_args__ = (
        _of_case(),
        Index("ix_fee_case", "district_code", "case_id"),
        CheckConstraint("cents >= 0", name="cents"),
        CheckConstraint("waived_percent BETWEEN 0 AND 100", name="waived"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID]
    #: What is due after the waiver, in 分.
    cents: Mapped[int]
    basis: Mapped[str]
    waived_percent: Mapped[int] = mapped_column(SmallInteger)
    waiver: Mapped[str]
    #: Number of the receipt of whoever took the money; empty while unpaid.
    paid_reference: Mapped[str]
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    recorded_by: Mapped[str]


class Handover(Base):
    """上报审查: what was sent to the city or the province, and what came back (S0, three-level review)."""

    __tablename__ = "handover"
    __table_args__ = (
        _of_case(),
        Index("ix_handover_case", "district_code", "case_id"),
        Index("uq_handover_out", "district_code", "case_id", unique=True, postgresql_where=text("returned_at IS NULL")),
        CheckConstraint("level IN ('city', 'province')", name="level"),
        CheckConstraint("decision IN ('agreed', 'refused', 'returned')", name="decision"),
        CheckConstraint("(returned_at IS NULL) = (decision IS NULL)", name="returned"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID]
    level: Mapped[str]
    sent_at: Mapped[datetime] = mapped_column(Instant)
    sent_by: Mapped[str]
    #: Number of our letter, and of theirs.
    reference: Mapped[str]
    returned_at: Mapped[datetime | None] = mapped_column(Instant)
    decision: Mapped[str | None]
    their_reference: Mapped[str] = mapped_column(server_default="")


class InformationRequest(Base):
    """政府信息公开申请: what somebody asks to be told, and how; its life is the case's."""

    __tablename__ = "information_request"
    __table_args__ = (
        _of_case(),
        CheckConstraint("applicant_kind IN ('person', 'organisation')", name="applicant_kind"),
        CheckConstraint("how IN ('paper', 'electronic', 'post', 'inspect')", name="how"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    applicant_kind: Mapped[str]
    id_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    id_index: Mapped[bytes] = mapped_column(LargeBinary)
    #: Title, number or features of the information, in the applicant's words.
    wanted: Mapped[str]
    #: How the applicant wants to get it: paper, electronic, post or inspect.
    how: Mapped[str]
    #: When the request, or its correction, was received: where the limit of the answer starts (art. 30).
    counts_from: Mapped[datetime] = mapped_column(Instant)
    told_at: Mapped[datetime | None] = mapped_column(Instant)
    #: What was unclear.
    told: Mapped[str] = mapped_column(server_default="")
    #: The kind of the answer, a code of `dispatch.fields.REPLY_KINDS`.
    reply_kind: Mapped[str | None]

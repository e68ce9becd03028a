"""The tables of the catalogue of service items 政务服务事项, written by `catalogue` and `lists` alone. No behaviour."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, String, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base
from grid.models import Instant


def _of_item() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["district_code", "item_code"], ["item.district_code", "item.code"])


class Item(Base):
    """政务服务事项: what stays while its sheet gets new versions."""

    __tablename__ = "item"

    district_code: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(Instant)


class ItemVersion(Base):
    """办事指南的一个版本: a published sheet. By grant, only `withdrawn_from` may be set later."""

    __tablename__ = "item_version"
    __table_args__ = (
        _of_item(),
        Index("ix_item_version_valid", "district_code", "item_code", "valid_from"),
        CheckConstraint("audience IN ('person', 'organisation', 'both')", name="audience"),
        CheckConstraint("level IN ('district', 'town', 'community')", name="level"),
        CheckConstraint("withdrawn_from IS NULL OR withdrawn_from >= valid_from", name="withdrawn"),
        CheckConstraint("version > 0", name="version"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    item_code: Mapped[str] = mapped_column(primary_key=True)
    #: 1, 2, 3 … in the order of publishing.
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: Days in China: valid from the first on, withdrawn from the second on.
    valid_from: Mapped[date]
    withdrawn_from: Mapped[date | None]
    #: Copied from the body for lists: name, for whom, who decides, where it is taken, whether at once.
    name: Mapped[str]
    audience: Mapped[str]
    unit_code: Mapped[str]
    level: Mapped[str]
    done_at_once: Mapped[bool]
    #: Code, name, keywords, laws and materials in one text, for search.
    search: Mapped[str]
    #: The whole sheet, as `dispatch.items.sheet.Sheet.body` writes it.
    body: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: SHA-256 of the body: the same sheet published again changes nothing.
    digest: Mapped[str]
    #: The file or person that it came from.
    source: Mapped[str]
    published_at: Mapped[datetime] = mapped_column(Instant)
    published_by: Mapped[str]


class ItemOverride(Base):
    """镇街公布的差异: fields that a town publishes otherwise than the district; S0, S2: there should be none."""

    __tablename__ = "item_override"
    __table_args__ = (_of_item(),)

    district_code: Mapped[str] = mapped_column(primary_key=True)
    item_code: Mapped[str] = mapped_column(primary_key=True)
    #: Code of the town or community.
    area_code: Mapped[str] = mapped_column(primary_key=True)
    #: Members of the body that differ, as the body has them.
    fields: Mapped[dict[str, Any]] = mapped_column(JSONB)
    source: Mapped[str]
    recorded_at: Mapped[datetime] = mapped_column(Instant)


class ListEntry(Base):
    """三单的一条: an entry of the negative, the permitted or the supervision list (S2)."""

    __tablename__ = "list_entry"
    __table_args__ = (CheckConstraint("kind IN ('negative', 'permitted', 'supervision')", name="kind"),)

    district_code: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(primary_key=True)
    #: negative 负面清单, permitted 准许清单, supervision 监管清单.
    kind: Mapped[str]
    title: Mapped[str]
    basis: Mapped[str] = mapped_column(server_default="")
    #: Items that it is about; empty for all of them.
    item_codes: Mapped[list[str]] = mapped_column(ARRAY(String), server_default=text("'{}'"))
    #: Conditions over facts of an application: `[{fact, is, value, words}]`.
    conditions: Mapped[Any] = mapped_column(JSONB)
    #: Credit class → share of after-checks in percent; empty outside the supervision list.
    shares: Mapped[dict[str, Any]] = mapped_column(JSONB)
    example: Mapped[bool] = mapped_column(server_default=text("false"))

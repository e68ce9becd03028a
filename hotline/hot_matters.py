"""Hot matters 热点事项 as they are kept: the table of those announced, and the cases that belong to each.

`hotline.hot` says when a cluster of reports is one. A case belongs to at most one hot matter: the primary key of
`hot_member` is what makes two workers, or one run twice, announce a matter once.
"""

import uuid
from datetime import datetime
from typing import Any

from geoalchemy2 import WKBElement
from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, String, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base
from grid.models import Instant, geometry


class HotMatter(Base):
    """热点事项: many reports of one matter, growing faster than expected; announced once, then watched or put aside."""

    __tablename__ = "hot_matter"
    __table_args__ = (
        CheckConstraint("state IN ('new', 'watched', 'dismissed')", name="state"),
        CheckConstraint("members > 0 AND reporters > 0", name="counts"),
        Index("ix_hot_matter_last", "district_code", "last_at"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: UUIDv7: the order of announcing.
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: Telling words and the place, such as "夜宵 油烟 · 翠湖花园".
    name: Mapped[str]
    words: Mapped[list[str]] = mapped_column(ARRAY(String), server_default=text("'{}'"))
    #: The place that most members name, empty for none.
    place: Mapped[str] = mapped_column(server_default="")
    #: The town that most members lie in.
    town_code: Mapped[str | None]
    #: Middle of the members that have a point.
    geom: Mapped[WKBElement | None] = mapped_column(geometry("POINT"))
    #: Highest of the members: emergency, utilities, ordinary.
    urgency: Mapped[str]
    members: Mapped[int]
    #: Different people among them, as far as can be told.
    reporters: Mapped[int]
    first_at: Mapped[datetime] = mapped_column(Instant)
    last_at: Mapped[datetime] = mapped_column(Instant)
    #: When the rule was crossed and the matter announced.
    crossed_at: Mapped[datetime] = mapped_column(Instant)
    #: What crossed: span_h, members, reporters, expected, the rule's own numbers, and the growth at the last count.
    why: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: new: announced, nobody has said anything; watched: a person keeps an eye on it; dismissed: no matter.
    state: Mapped[str] = mapped_column(server_default="new")
    #: Grows with every decision; a page that is older than it is told so.
    version: Mapped[int] = mapped_column(server_default=text("1"))
    #: Every decision: state, who, when, reason. Only grows.
    decisions: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))


class HotMember(Base):
    """A case that belongs to a hot matter, for as long as it is kept."""

    __tablename__ = "hot_member"
    __table_args__ = (
        ForeignKeyConstraint(["district_code", "hot_id"], ["hot_matter.district_code", "hot_matter.id"]),
        ForeignKeyConstraint(["district_code", "case_id"], ["cases.district_code", "cases.id"]),
        Index("ix_hot_member_hot", "district_code", "hot_id"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    hot_id: Mapped[uuid.UUID]
    joined_at: Mapped[datetime] = mapped_column(Instant)

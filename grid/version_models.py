"""The tables of the grid over time: cells with validity, where they came from, and changes that were planned.

No behaviour: `grid.versions` reads them, `grid.changes` writes them. `cell` stays the table of today's cells.
"""

import uuid
from datetime import datetime
from typing import Any

from geoalchemy2 import WKBElement
from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, String, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSTZRANGE, ExcludeConstraint, Range
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base
from grid.models import Instant, geometry


def _of_change() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["district_code", "change_id"], ["cell_change.district_code", "cell_change.id"])


class CellChange(Base):
    """网格调整: one change of the grid with its reason and document, from the plan to the day it holds."""

    __tablename__ = "cell_change"
    __table_args__ = (
        CheckConstraint("kind IN ('split', 'merge', 'redraw', 'void', 'new', 'describe', 'load')", name="kind"),
        CheckConstraint("state IN ('proposed', 'planned', 'applied', 'cancelled', 'refused')", name="state"),
        CheckConstraint("(state = 'applied') = (applied_at IS NOT NULL)", name="applied"),
        Index("ix_cell_change_due", "district_code", "valid_from", "id", postgresql_where=text("state = 'planned'")),
        Index("ix_cell_change_listed", "district_code", "id"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: 拆分, 合并, 调界, 撤销, 新设, 改类型或户数, 导入.
    kind: Mapped[str]
    #: proposed (waits for the district's word) → planned → applied; cancelled by somebody, or refused on its day
    #: because its cells had changed meanwhile.
    state: Mapped[str]
    #: Communities whose cells it touches; empty for a load of the whole district.
    communities: Mapped[list[str]] = mapped_column(ARRAY(String), server_default=text("'{}'"))
    reason: Mapped[str]
    #: 文号 of the decision behind it; empty where a file was uploaded instead.
    document: Mapped[str] = mapped_column(server_default="")
    #: `{"sha256", "media_type", "name", "size"}` of the uploaded decision.
    file: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    #: When it holds from; the versions that it makes begin then, however late the clock of the worker was.
    valid_from: Mapped[datetime] = mapped_column(Instant)
    #: Ground may be left without a cell: said explicitly by the planner.
    bare: Mapped[bool] = mapped_column(server_default=text("false"))
    #: `{code: version id}` of the cells that it takes, as they were when it was planned.
    seen: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: Unit that the planner works for; empty for the district's own people.
    unit_code: Mapped[str] = mapped_column(server_default="")
    planned_by: Mapped[uuid.UUID | None]
    planned_name: Mapped[str]
    planned_at: Mapped[datetime] = mapped_column(Instant)
    applied_at: Mapped[datetime | None] = mapped_column(Instant)


class CellDraft(Base):
    """One cell that a change would make or leave: what stands there after it."""

    __tablename__ = "cell_draft"
    __table_args__ = (
        _of_change(),
        CheckConstraint("kind IN ('residential', 'commercial', 'industrial', 'mixed')", name="kind"),
        Index("ix_cell_draft_geom", "geom", postgresql_using="gist"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    change_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(primary_key=True)
    community_code: Mapped[str]
    kind: Mapped[str]
    households: Mapped[int | None]
    #: The households were shared out by the places inside, not counted.
    estimated: Mapped[bool] = mapped_column(server_default=text("false"))
    derived: Mapped[bool] = mapped_column(server_default=text("false"))
    geom: Mapped[WKBElement] = mapped_column(geometry("MULTIPOLYGON"))


class CellVersion(Base):
    """网格版本: a cell as it was over a span of time. Only the end of its validity is ever written again, once.

    The database refuses two versions of a code at once (exclusion constraint), and two versions at once whose ground
    overlaps by more than rounding (trigger `cell_version_ground`: 1 m² and 2 cm of mean width).
    """

    __tablename__ = "cell_version"
    __table_args__ = (
        _of_change(),
        ForeignKeyConstraint(
            ["district_code", "ended_by"],
            ["cell_change.district_code", "cell_change.id"],
            name="fk_cell_version_ended_by",
        ),
        CheckConstraint("kind IN ('residential', 'commercial', 'industrial', 'mixed')", name="kind"),
        ExcludeConstraint(
            ("district_code", "="),
            ("code", "="),
            ("validity", "&&"),
            name="ex_cell_version_code",
            using="gist",
        ),
        Index("ix_cell_version_geom", "geom", postgresql_using="gist"),
        Index(
            "ix_cell_version_now", "district_code", "community_code", "code", postgresql_where=text("ended_by IS NULL")
        ),
        Index("ix_cell_version_change", "district_code", "change_id"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: 15 digits.
    code: Mapped[str]
    community_code: Mapped[str]
    kind: Mapped[str]
    households: Mapped[int | None]
    estimated: Mapped[bool] = mapped_column(server_default=text("false"))
    derived: Mapped[bool] = mapped_column(server_default=text("false"))
    geom: Mapped[WKBElement] = mapped_column(geometry("MULTIPOLYGON"))
    #: From (inclusive) to (exclusive); open at the end for today's. Empty for a version replaced at its own instant.
    validity: Mapped[Range[datetime]] = mapped_column(TSTZRANGE)
    #: The change that made it, and the one that ended it.
    change_id: Mapped[uuid.UUID]
    ended_by: Mapped[uuid.UUID | None]


class CellLineage(Base):
    """来历: which version came from which, with how much ground."""

    __tablename__ = "cell_lineage"
    __table_args__ = (
        _of_change(),
        ForeignKeyConstraint(["district_code", "version_id"], ["cell_version.district_code", "cell_version.id"]),
        ForeignKeyConstraint(
            ["district_code", "parent_id"],
            ["cell_version.district_code", "cell_version.id"],
            name="fk_cell_lineage_parent",
        ),
        Index("ix_cell_lineage_parent", "district_code", "parent_id"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    version_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    parent_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    change_id: Mapped[uuid.UUID]
    #: Ground in common, in square metres.
    shared_m2: Mapped[float]


class CellChangeEntry(Base):
    """日志: one thing that was done to a change of the grid. Append-only."""

    __tablename__ = "cell_change_entry"
    __table_args__ = (_of_change(),)

    district_code: Mapped[str] = mapped_column(primary_key=True)
    change_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: 1, 2, 3…
    seq: Mapped[int] = mapped_column(primary_key=True)
    #: planned, approved, cancelled, refused or applied.
    action: Mapped[str]
    actor_id: Mapped[uuid.UUID | None]
    actor_name: Mapped[str]
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    #: Reason, what moved, what stood in the way.
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)

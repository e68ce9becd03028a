"""The tables of imports of the grid 网格导入 that wait for a person: draft, cells, findings. No behaviour."""

import uuid
from datetime import datetime
from typing import Any

from geoalchemy2 import WKBElement
from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, Integer, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base
from grid.models import Instant, geometry


class GridImport(Base):
    """导入草稿: one uploaded file that was read and checked; nothing of it is in force."""

    __tablename__ = "grid_import"
    __table_args__ = (
        CheckConstraint("state IN ('draft', 'planned', 'dropped')", name="state"),
        CheckConstraint("(state = 'planned') = (change_id IS NOT NULL)", name="planned"),
        Index("ix_grid_import_newest", "district_code", "created_at"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: Of the file, without folders.
    name: Mapped[str]
    #: Under which the uploaded bytes are kept, so that it can be read again in another datum.
    sha256: Mapped[str]
    #: How it was read and checked: datum, layer, swapped, whole, tolerance_m, snap_m.
    options: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: What the file says of itself: format, layers, the name of its datum.
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    #: Proposals that a person accepted: who, when, how many of which rule.
    accepted: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))
    #: draft: waits; planned: became a planned change of the grid; dropped: thrown away.
    state: Mapped[str]
    #: Counts up with each acceptance, so that two persons cannot mend past each other.
    version: Mapped[int]
    cells: Mapped[int]
    #: Findings that refuse the import, and those that only warn.
    refuses: Mapped[int]
    warns: Mapped[int]
    created_by: Mapped[uuid.UUID | None]
    created_by_name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(Instant)
    changed_at: Mapped[datetime] = mapped_column(Instant)
    #: The planned change that it became.
    change_id: Mapped[uuid.UUID | None]


def _of_import() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["district_code", "import_id"], ["grid_import.district_code", "grid_import.id"], ondelete="CASCADE"
    )


class ImportedCell(Base):
    """One cell of a draft, in the order of the file."""

    __tablename__ = "grid_import_cell"
    __table_args__ = (_of_import(),)

    district_code: Mapped[str] = mapped_column(primary_key=True)
    import_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: From 0, the index in the `CellSet`.
    serial: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    code: Mapped[str]
    community_code: Mapped[str]
    kind: Mapped[str]
    households: Mapped[int | None]
    name: Mapped[str]
    #: May be broken in every way that a polygon can be.
    geom: Mapped[WKBElement] = mapped_column(geometry("GEOMETRY"))


class ImportFinding(Base):
    """One finding of the checks of a draft."""

    __tablename__ = "grid_import_finding"
    __table_args__ = (_of_import(), CheckConstraint("severity IN ('refuses', 'warns')", name="severity"))

    district_code: Mapped[str] = mapped_column(primary_key=True)
    import_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    serial: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    rule: Mapped[str]
    severity: Mapped[str]
    #: Serials of the cells concerned.
    cells: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    #: English msgid and what fills it.
    message: Mapped[str]
    params: Mapped[dict[str, Any]] = mapped_column(JSONB)
    geom: Mapped[WKBElement | None] = mapped_column(geometry("GEOMETRY"))
    #: A proposal (`grid.mending`), geometry as hex; None where only a person can mend it.
    fix: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))

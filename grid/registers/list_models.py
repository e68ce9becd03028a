"""The tables of departments' lists 部门名单: files, rows as they were told, doubts, conflicts. No behaviour."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, String, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base
from grid.models import Instant


class RegisterList(Base):
    """名单: one file that a department handed over, and what became of it."""

    __tablename__ = "register_list"
    __table_args__ = (
        # waiting: put up; running: a worker is at it; done: taken in; refused: rows are at fault and nothing changed;
        # cancelled: stopped before the end, nothing changed; failed: the program could not, nothing changed.
        CheckConstraint("state IN ('waiting', 'running', 'done', 'refused', 'cancelled', 'failed')", name="state"),
        CheckConstraint("(state IN ('waiting', 'running')) = (finished_at IS NULL)", name="finished"),
        Index("ix_register_list_newest", "district_code", "asked_at"),
        Index("ix_register_list_open", "district_code", "asked_at", "id", postgresql_where=text("finished_at IS NULL")),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: A key of `grid.registers.templates.KINDS`.
    kind: Mapped[str]
    #: Code of the source, such as police; who leads is settled by it.
    source: Mapped[str]
    file_name: Mapped[str]
    #: SHA-256 of the file.
    digest: Mapped[str]
    #: The whole list of the source: what it no longer names is noted as missing.
    whole: Mapped[bool]
    #: Take the right rows although others are wrong.
    skip_bad: Mapped[bool]
    #: Take rows whose identity number fails its check, without the number.
    doubtful: Mapped[bool]
    #: The file, sealed; only until the list is over.
    file_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    #: The file with the faults of its rows marked, sealed; None where there is none.
    marked_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    state: Mapped[str]
    #: What became of the rows, by word of `grid.registers.importing.COUNTS`.
    counts: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    #: Why it failed: an English msgid and its parameters.
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    asked_by: Mapped[uuid.UUID | None]
    asked_name: Mapped[str]
    asked_at: Mapped[datetime] = mapped_column(Instant)
    started_at: Mapped[datetime | None] = mapped_column(Instant)
    finished_at: Mapped[datetime | None] = mapped_column(Instant)


class ListProgress(Base):
    """进度: how far a list is. Its own row, because the list's row is locked by whoever works at it."""

    __tablename__ = "register_list_progress"
    __table_args__ = (
        ForeignKeyConstraint(["district_code", "list_id"], ["register_list.district_code", "register_list.id"]),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    list_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: A key of `grid.registers.importing.PHASES`.
    phase: Mapped[str] = mapped_column(server_default="")
    done: Mapped[int] = mapped_column(server_default=text("0"))
    total: Mapped[int] = mapped_column(server_default=text("0"))
    #: How often somebody began: a file that ends every worker is given up.
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    #: Somebody asked to stop it.
    stop: Mapped[bool] = mapped_column(server_default=text("false"))


class SourceRow(Base):
    """来源记录: what one source said about one thing, and how long; a corrected row ends one and begins another."""

    __tablename__ = "source_row"
    __table_args__ = (
        # replaced: the source said something else since; gone: its whole list no longer names it.
        CheckConstraint("ended IN ('', 'replaced', 'gone')", name="ended"),
        CheckConstraint("(ended = '') = (until_at IS NULL)", name="until"),
        ForeignKeyConstraint(["district_code", "list_id"], ["register_list.district_code", "register_list.id"]),
        Index("ix_source_row_subject", "district_code", "subject_id"),
        Index(
            "ix_source_row_standing",
            "district_code",
            "register",
            "source",
            "digest",
            postgresql_where=text("ended = ''"),
        ),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: The table it is about: resident, organisation, room, tenancy, part.
    register: Mapped[str]
    source: Mapped[str]
    #: The list that said it first.
    list_id: Mapped[uuid.UUID]
    #: As the spreadsheet counts.
    row: Mapped[int]
    #: Whom it means; None while a person has to decide.
    subject_id: Mapped[uuid.UUID | None]
    #: Blind index of all that it says: the same row again is known without being opened.
    digest: Mapped[bytes]
    #: Blind index of the source's own number of the row; None where it has none.
    key_index: Mapped[bytes | None]
    #: The cells as JSON by our names, sealed.
    sealed: Mapped[bytes]
    said_at: Mapped[datetime] = mapped_column(Instant)
    ended: Mapped[str] = mapped_column(server_default="")
    until_at: Mapped[datetime | None] = mapped_column(Instant)


class LinkDoubt(Base):
    """疑似同一人: a row that may mean a person of the register, or two of the register who may be one."""

    __tablename__ = "link_doubt"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'same', 'different')", name="state"),
        CheckConstraint("(state = 'waiting') = (decided_at IS NULL)", name="decided"),
        ForeignKeyConstraint(["district_code", "source_row_id"], ["source_row.district_code", "source_row.id"]),
        Index("uq_link_doubt_pair", "district_code", "source_row_id", "other_id", unique=True),
        Index("ix_link_doubt_waiting", "district_code", "bits", "id", postgresql_where=text("state = 'waiting'")),
        Index("ix_link_doubt_other", "district_code", "other_id"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    source_row_id: Mapped[uuid.UUID]
    #: The resident whom the row may mean.
    other_id: Mapped[uuid.UUID]
    #: Evidence in bits.
    bits: Mapped[float]
    state: Mapped[str]
    decided_by: Mapped[uuid.UUID | None]
    decided_name: Mapped[str] = mapped_column(server_default="")
    decided_at: Mapped[datetime | None] = mapped_column(Instant)


class FieldConflict(Base):
    """字段冲突: a source says otherwise than the register, and no rule says who leads."""

    __tablename__ = "field_conflict"
    __table_args__ = (
        # waiting; taken: the source's value stands in the register now; kept: the register's stayed.
        # obsolete: the source said something else before anybody decided.
        CheckConstraint("state IN ('waiting', 'taken', 'kept', 'obsolete')", name="state"),
        CheckConstraint("(state = 'waiting') = (decided_at IS NULL)", name="decided"),
        ForeignKeyConstraint(["district_code", "source_row_id"], ["source_row.district_code", "source_row.id"]),
        Index(
            "uq_field_conflict_waiting",
            "district_code",
            "subject_id",
            "field",
            "source",
            unique=True,
            postgresql_where=text("state = 'waiting'"),
        ),
        Index(
            "ix_field_conflict_waiting",
            "district_code",
            "field",
            "source",
            "id",
            postgresql_where=text("state = 'waiting'"),
        ),
        Index("ix_field_conflict_row", "district_code", "source_row_id"),
        Index("ix_field_conflict_batch", "district_code", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: The resident.
    subject_id: Mapped[uuid.UUID]
    source_row_id: Mapped[uuid.UUID]
    source: Mapped[str]
    #: A key of `grid.registers.conflicts.FIELDS`.
    field: Mapped[str]
    #: Sources that say what the register says; empty where a person wrote it.
    backed_by: Mapped[list[str]] = mapped_column(ARRAY(String))
    #: JSON `{"ours": …, "theirs": …}`, sealed.
    sealed: Mapped[bytes]
    state: Mapped[str]
    decided_by: Mapped[uuid.UUID | None]
    decided_name: Mapped[str] = mapped_column(server_default="")
    decided_at: Mapped[datetime | None] = mapped_column(Instant)
    #: Decided together; undone together.
    batch_id: Mapped[uuid.UUID | None]

"""The tables of the desk: drafts of calls, who is at which case, articles and their use, imported files."""

import uuid
from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base
from grid.models import Instant


class Draft(Base):
    """草稿: what somebody has typed into a form and not sent yet; seen by its own account alone."""

    __tablename__ = "draft"
    __table_args__ = (UniqueConstraint("district_code", "account_id", "key"),)

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID]
    #: The form's own key, under which the case will be recorded once.
    key: Mapped[str]
    #: The fields as JSON, sealed: they hold names and numbers of callers.
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    #: Counts the browser's changes; an older one never replaces a newer one.
    revision: Mapped[int]
    saved_at: Mapped[datetime] = mapped_column(Instant)


class Handling(Base):
    """正在处理: who is at a case now; a lease that runs out by itself when the page is gone."""

    __tablename__ = "handling"
    __table_args__ = (
        ForeignKeyConstraint(["district_code", "case_id"], ["cases.district_code", "cases.id"]),
        Index("ix_handling_account", "district_code", "account_id"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID]
    #: The person's name as of then, so that colleagues need not read accounts.
    name: Mapped[str]
    since: Mapped[datetime] = mapped_column(Instant)
    until: Mapped[datetime] = mapped_column(Instant)
    #: From whom it was taken over while they were at it, and the word why; empty for not.
    taken_from: Mapped[str] = mapped_column(server_default="")
    word: Mapped[str] = mapped_column(server_default="")


class Article(Base):
    """知识条目: one version of one article that enquiries are answered from. A version never changes."""

    __tablename__ = "article"
    __table_args__ = (
        Index("uq_article_current", "district_code", "no", unique=True, postgresql_where=text("current")),
        Index("ix_article_review", "district_code", "review_on", postgresql_where=text("current")),
        Index("ix_article_terms", "terms", postgresql_using="gin", postgresql_where=text("current")),
        CheckConstraint("valid_to IS NULL OR valid_to >= valid_from", name="validity"),
        CheckConstraint("no > 0 AND version > 0", name="counts"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    no: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: The newest version.
    current: Mapped[bool]
    title: Mapped[str]
    #: Plain paragraphs; an empty line parts two, a line that begins with "- " is a point of a list.
    body: Mapped[str]
    #: Code in the district's tree, or empty.
    category_code: Mapped[str] = mapped_column(server_default="")
    #: Who answers for the words, or empty.
    unit_code: Mapped[str] = mapped_column(server_default="")
    #: What people call it, parted by spaces.
    keywords: Mapped[str] = mapped_column(server_default="")
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]
    #: The day by which somebody has to look whether it still holds.
    review_on: Mapped[date]
    #: Put aside: found no longer, kept for the cases that were answered from it.
    retired: Mapped[bool] = mapped_column(server_default=text("false"))
    #: Shipped as an example; nobody of the district has checked it.
    example: Mapped[bool] = mapped_column(server_default=text("false"))
    #: Words, and their pinyin whole and by initials.
    terms: Mapped[Any] = mapped_column(TSVECTOR)
    edited_name: Mapped[str]
    edited_at: Mapped[datetime] = mapped_column(Instant)


class ArticleUse(Base):
    """答复依据: a caller was told what a version of an article says. Append-only."""

    __tablename__ = "article_use"
    __table_args__ = (
        ForeignKeyConstraint(["district_code", "case_id"], ["cases.district_code", "cases.id"]),
        ForeignKeyConstraint(
            ["district_code", "no", "version"], ["article.district_code", "article.no", "article.version"]
        ),
        Index("ix_article_use_article", "district_code", "no", "version"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    no: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    actor_name: Mapped[str]
    at: Mapped[datetime] = mapped_column(Instant)


class ImportRun(Base):
    """导入: one file of reports, taken in row by row in the background."""

    __tablename__ = "import_run"
    __table_args__ = (
        UniqueConstraint("district_code", "digest"),
        Index("ix_import_run_open", "district_code", "asked_at", postgresql_where=text("finished_at IS NULL")),
        CheckConstraint("state IN ('waiting', 'running', 'done', 'cancelled', 'failed')", name="state"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: SHA-256 of the file's bytes, in hex: the same file is the same import.
    digest: Mapped[str]
    name: Mapped[str]
    state: Mapped[str]
    #: Rows of the file without its header; rows looked at; those that became a case, were here before, were refused.
    total: Mapped[int]
    done: Mapped[int] = mapped_column(server_default=text("0"))
    taken: Mapped[int] = mapped_column(server_default=text("0"))
    repeated: Mapped[int] = mapped_column(server_default=text("0"))
    refused: Mapped[int] = mapped_column(server_default=text("0"))
    #: The rows as JSON, sealed: they hold names and numbers. Emptied when the run is over; megabytes before, which who
    #: asks how far it is need not read.
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    asked_by: Mapped[uuid.UUID | None]
    asked_name: Mapped[str]
    asked_at: Mapped[datetime] = mapped_column(Instant)
    finished_at: Mapped[datetime | None] = mapped_column(Instant)


class ImportRow(Base):
    """退回的行: one row of a file that was not taken, and why; the values sealed, to be handed back."""

    __tablename__ = "import_row"
    __table_args__ = (ForeignKeyConstraint(["district_code", "run_id"], ["import_run.district_code", "import_run.id"]),)

    district_code: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: As a spreadsheet counts: the header is row 1.
    row: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: English template and its parameters.
    reason: Mapped[str]
    params: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)

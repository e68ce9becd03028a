"""The tables of the Weibo channel: mentions, what was done about each, and where the fetching stands. No behaviour."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base
from grid.models import Instant

#: `text` inside a class that has a column of that name is the column, to a type checker.
sql_text = text


class Mention(Base):
    """提及: one post that names the district's account, and so a duty to answer on it (S2 诉求件件有落实)."""

    __tablename__ = "mention"
    __table_args__ = (
        UniqueConstraint("district_code", "post_id"),
        ForeignKeyConstraint(["district_code", "case_id"], ["cases.district_code", "cases.id"]),
        Index("ix_mention_waiting", "district_code", "posted_at", "id", postgresql_where=text("state = 'received'")),
        Index("ix_mention_state", "district_code", "state", "id"),
        Index("ix_mention_root", "district_code", "root_id", "id"),
        Index("ix_mention_author", "district_code", "author_index", "posted_at"),
        Index("ix_mention_case", "district_code", "case_id", postgresql_where=text("case_id IS NOT NULL")),
        Index("ix_mention_seen", "district_code", "seen_at"),
        CheckConstraint(
            "state IN ('received', 'held', 'case', 'joined', 'rejected', 'replied', 'deleted')", name="state"
        ),
        CheckConstraint("state NOT IN ('case', 'joined') OR case_id IS NOT NULL", name="has_case"),
        CheckConstraint("state <> 'replied' OR replied_at IS NOT NULL", name="replied"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: The platform's id of the post; of a post from a file without ids, `file-` and a hash of time and text.
    post_id: Mapped[str]
    #: The first post of the thread: the reposted one, else the post itself.
    root_id: Mapped[str]
    #: api or file.
    source: Mapped[str]
    #: The author's id and screen name, sealed together; None where a file names none.
    author_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    author_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    #: What pages call the author (S2 后台实名、前台匿名).
    alias: Mapped[str]
    #: The author's own words, as of the last look; hostile, escaped wherever shown.
    text: Mapped[str]
    #: What was reposted; empty for none.
    root_text: Mapped[str] = mapped_column(server_default="")
    #: The platform sent only the beginning.
    cut: Mapped[bool] = mapped_column(server_default=sql_text("false"))
    #: As the platform says; decides no limit.
    posted_at: Mapped[datetime] = mapped_column(Instant)
    #: When the system got it: the duty runs from here.
    seen_at: Mapped[datetime] = mapped_column(Instant)
    #: Where the author says to have been, in degrees of `datum`.
    lng: Mapped[float | None]
    lat: Mapped[float | None]
    datum: Mapped[str | None]
    #: received: not looked at yet. held: a reviewer has to look. case: opened a case. joined: belongs to another post's
    #: case. rejected: a reviewer says why it is no duty. replied: answered on the post. deleted: by its author, before.
    state: Mapped[str]
    #: Why it is held: `code` of `hotline.weibo.screen.REASONS`, and what decided.
    hold: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    held_at: Mapped[datetime | None] = mapped_column(Instant)
    #: When a person released or rejected it; a released one is not held again.
    reviewed_at: Mapped[datetime | None] = mapped_column(Instant)
    reviewer: Mapped[str | None]
    case_id: Mapped[uuid.UUID | None]
    #: When it got its case.
    opened_at: Mapped[datetime | None] = mapped_column(Instant)
    edited_at: Mapped[datetime | None] = mapped_column(Instant)
    deleted_at: Mapped[datetime | None] = mapped_column(Instant)
    #: What is posted; written down before it is, so that a crash between leaves a trace.
    reply: Mapped[str | None]
    #: When words may last have left the house; None where surely none did.
    tried_at: Mapped[datetime | None] = mapped_column(Instant)
    tries: Mapped[int] = mapped_column(SmallInteger, server_default=sql_text("0"))
    #: Somebody posts it now, or just did: not again before this.
    next_at: Mapped[datetime | None] = mapped_column(Instant)
    #: Why the last try failed.
    failure: Mapped[str | None]
    replied_at: Mapped[datetime | None] = mapped_column(Instant)
    #: The platform's id of our comment; `by hand` where a person answered elsewhere.
    comment_id: Mapped[str | None]


class MentionEvent(Base):
    """提及记录: one thing that happened to a mention or was done about it. Append-only."""

    __tablename__ = "mention_event"
    __table_args__ = (
        ForeignKeyConstraint(["district_code", "mention_id"], ["mention.district_code", "mention.id"]),
        Index("ix_mention_event_mention", "district_code", "mention_id"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    mention_id: Mapped[uuid.UUID]
    #: held, released, rejected, opened, joined, edited, deleted, tried, replied or failed.
    kind: Mapped[str]
    actor_id: Mapped[uuid.UUID | None]
    actor_name: Mapped[str]
    at: Mapped[datetime] = mapped_column(Instant)
    #: For edits the words before; else reason, case number and the like.
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=sql_text("'{}'"))


class WeiboCursor(Base):
    """取件进度: how far one part of the channel is; the lock on its row is the lease of who works at it."""

    __tablename__ = "weibo_cursor"

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: `fetch`, `take` or `check`.
    part: Mapped[str] = mapped_column(primary_key=True)
    #: Every mention up to this post is in the table; of `check`: when the last post was seen, in microseconds.
    since_id: Mapped[int] = mapped_column(BigInteger, server_default=sql_text("0"))
    #: A walk from the newest post downwards that is not at its end: the post it began at, and where it goes on; of
    #: `check`: the post looked at last.
    top_id: Mapped[int | None] = mapped_column(BigInteger)
    low_id: Mapped[int | None] = mapped_column(BigInteger)
    #: When the platform last answered.
    fetched_at: Mapped[datetime | None] = mapped_column(Instant)
    #: Not before this: rate limit, expired token, outage.
    next_at: Mapped[datetime | None] = mapped_column(Instant)
    #: Why it waits: token, rate, down or odd; with the platform's own words.
    failure: Mapped[str | None]
    failed_since: Mapped[datetime | None] = mapped_column(Instant)
    fails: Mapped[int] = mapped_column(server_default=sql_text("0"))

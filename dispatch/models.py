"""The tables of the case core: cases and what hangs on them. No behaviour; `dispatch.cases` is the only writer.

Keys follow SCALE.md: `district_code` first, UUIDv7 from the application, a case is referred to as (district, id).
"""

import uuid
from datetime import date, datetime
from typing import Any

from geoalchemy2 import WKBElement
from sqlalchemy import (
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    SmallInteger,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base
from grid.models import Instant, geometry

#: `text` inside a class that has a column of that name is the column, to a type checker.
sql_text = text


def _of_case() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["district_code", "case_id"], ["cases.district_code", "cases.id"])


class Case(Base):
    """案件/工单: one matter to be settled, whatever it came from."""

    __tablename__ = "cases"
    __table_args__ = (
        UniqueConstraint("district_code", "number"),
        Index("ix_cases_worklist", "district_code", "state", "due_at", postgresql_where=text("open")),
        Index("ix_cases_unit", "district_code", "unit_code", "due_at", "state", postgresql_where=text("open")),
        Index("ix_cases_open_geom", "geom", postgresql_using="gist", postgresql_where=text("open")),
        Index("ix_cases_received", "district_code", "received_at"),
        Index("ix_cases_merged", "district_code", "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
        Index(
            "ix_cases_attention",
            "district_code",
            "due_at",
            "unit_code",
            postgresql_where=text("open AND (plea IS NOT NULL OR supervised OR complex)"),
        ),
        Index("ix_cases_ended", "district_code", "unit_code", "received_at", postgresql_where=text("NOT open")),
        CheckConstraint("urgency IN ('emergency', 'utilities', 'ordinary')", name="urgency"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: The number people say aloud: yyyymmdd + running number + check character.
    number: Mapped[str]
    #: Name and version of the process table; a case ends under the version that opened it.
    process: Mapped[str]
    process_version: Mapped[int]
    state: Mapped[str]
    #: Counts every change; an action names the version it saw.
    version: Mapped[int]
    #: False in final states; the partial indexes stand on it.
    open: Mapped[bool]
    #: complaint, help, enquiry, suggestion or praise 投诉 求助 咨询 建议 表扬.
    kind: Mapped[str]
    channel: Mapped[str]
    urgency: Mapped[str]
    title: Mapped[str] = mapped_column(server_default="")
    #: The reporter's own words; hostile, escaped wherever shown.
    text: Mapped[str]
    category_code: Mapped[str | None]
    category_confidence: Mapped[float | None]
    #: model or operator: who said so last.
    category_by: Mapped[str | None]
    place_name: Mapped[str] = mapped_column(server_default="")
    #: geocoder, reporter (phone or map) or operator; None while there is no place.
    place_by: Mapped[str | None]
    place_confidence: Mapped[float | None]
    radius_m: Mapped[float | None]
    geom: Mapped[WKBElement | None] = mapped_column(geometry("POINT"))
    source_datum: Mapped[str | None]
    source_lng: Mapped[float | None]
    source_lat: Mapped[float | None]
    #: The areas as of intake or of the last correction, kept when areas change later.
    town_code: Mapped[str | None]
    community_code: Mapped[str | None]
    cell_code: Mapped[str | None]
    #: The lead unit 主办 now; None while the case waits on the desk.
    unit_code: Mapped[str | None]
    #: Every unit that has had a share; they may look at the case.
    unit_codes: Mapped[list[str]] = mapped_column(ARRAY(String), server_default=sql_text("'{}'"))
    #: When the reporter says it happened or was said; never decides a limit.
    reported_at: Mapped[datetime] = mapped_column(Instant)
    #: Neutral intake, written by the system: where clocks start.
    received_at: Mapped[datetime] = mapped_column(Instant)
    #: The nearest running deadline, copied for worklists, and which clock it belongs to.
    due_at: Mapped[datetime | None] = mapped_column(Instant)
    due_clock: Mapped[str | None]
    #: 0 green, 1 half gone, 2 nearly due, 3 overdue: the highest that has been announced for `due_clock`.
    warned: Mapped[int] = mapped_column(SmallInteger, server_default=sql_text("0"))
    #: Unit returns so far; capped.
    returns: Mapped[int] = mapped_column(SmallInteger, server_default=sql_text("0"))
    closed_at: Mapped[datetime | None] = mapped_column(Instant)
    duplicate_of: Mapped[uuid.UUID | None]
    #: 疑难: set by the centre, never by the unit measured; the limits of the kind `complex` hold.
    complex: Mapped[bool] = mapped_column(server_default=sql_text("false"))
    #: 裁决: the arbiter has decided whose it is; nobody returns or disputes it any more.
    bound: Mapped[bool] = mapped_column(server_default=sql_text("false"))
    #: 督办中: a supervision runs.
    supervised: Mapped[bool] = mapped_column(server_default=sql_text("false"))
    #: What the unit has asked and the centre not yet decided: extension, pause or park.
    plea: Mapped[str | None]
    #: 并案: the case that handles this matter too; the caller of this one is still answered and asked.
    merged_into: Mapped[uuid.UUID | None]
    #: What geocoder, classifier and twins said, with reasons and model version.
    suggestions: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: The unit's answer that the citizen may read.
    answer: Mapped[str | None]
    #: 1 to 5, from the call-back or the citizen's own page.
    satisfaction: Mapped[int | None] = mapped_column(SmallInteger)
    #: Keyed hash of the code on the receipt that opens the reporter's own view.
    access_hash: Mapped[bytes | None]
    #: Number of log entries and hash of the last: the head of the chain.
    entries: Mapped[int]
    head_hash: Mapped[bytes]


class Report(Base):
    """来件: what one reporter said through one channel; a case has one or, after merging, many."""

    __tablename__ = "report"
    __table_args__ = (
        _of_case(),
        Index(
            "uq_report_source",
            "district_code",
            "channel",
            "source_id",
            unique=True,
            postgresql_where=text("source_id IS NOT NULL"),
        ),
        Index(
            "uq_report_key",
            "district_code",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
        Index("ix_report_case", "district_code", "case_id"),
        Index("ix_report_phone", "district_code", "phone_index", postgresql_where=text("phone_index IS NOT NULL")),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID]
    #: hotline, web, weibo, patrol, window, open311, replay.
    channel: Mapped[str]
    #: The channel's own id; the same one again is the same report.
    source_id: Mapped[str | None]
    #: Chosen by the sender, so that a repeated submission is one report.
    idempotency_key: Mapped[str | None]
    text: Mapped[str]
    received_at: Mapped[datetime] = mapped_column(Instant)
    #: Sealed by core.crypto; shown masked, opened with a reason.
    name_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    phone_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    #: Blind index of the phone's digits.
    phone_index: Mapped[bytes | None] = mapped_column(LargeBinary)


class Entry(Base):
    """日志: one thing that was done to a case. Append-only, chained by hash; the truth that figures are made of."""

    __tablename__ = "entry"
    __table_args__ = (
        _of_case(),
        Index("ix_entry_recorded", "district_code", "recorded_at"),
        Index("ix_entry_late", "district_code", "recorded_at", postgresql_where=text("late")),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: 1, 2, 3… without a gap.
    seq: Mapped[int] = mapped_column(primary_key=True)
    action: Mapped[str]
    #: None for the program and for anonymous citizens.
    actor_id: Mapped[uuid.UUID | None]
    actor_name: Mapped[str]
    actor_role: Mapped[str]
    unit_code: Mapped[str | None]
    #: As the actor says.
    happened_at: Mapped[datetime] = mapped_column(Instant)
    #: As the system saw.
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    #: recorded more than the district's allowance after it happened (S0 先办后录).
    late: Mapped[bool]
    state_before: Mapped[str | None]
    state_after: Mapped[str]
    #: Reason, note, old and new values, evidence.
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    prev_hash: Mapped[bytes]
    #: SHA-256 over prev_hash and the canonical JSON of everything above.
    hash: Mapped[bytes]


class Assignment(Base):
    """派单: one unit's share of a case."""

    __tablename__ = "assignment"
    __table_args__ = (
        _of_case(),
        ForeignKeyConstraint(["district_code", "unit_code"], ["unit.district_code", "unit.code"]),
        CheckConstraint("share IN ('lead', 'assist', 'parallel')", name="share"),
        CheckConstraint("state IN ('sent', 'signed', 'replied', 'returned', 'moved', 'done')", name="state"),
        Index("ix_assignment_case", "district_code", "case_id"),
        Index("ix_assignment_unit", "district_code", "unit_code", "created_at"),
        Index(
            "ix_assignment_active",
            "district_code",
            "unit_code",
            postgresql_where=text("share <> 'lead' AND state IN ('sent', 'signed', 'replied')"),
        ),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID]
    unit_code: Mapped[str]
    #: 主办, 协办, 并联.
    share: Mapped[str]
    #: sent → signed → replied → done; returned and moved end it early.
    state: Mapped[str]
    #: Why here: rule id, fallback level, or the operator's words.
    why: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: The lead may not decide before this share is in, returned or taken back.
    needed: Mapped[bool] = mapped_column(server_default=text("true"))
    #: What is asked of an assisting or parallel unit.
    task: Mapped[str] = mapped_column(server_default="")
    #: What an assisting or parallel unit answered.
    opinion: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(Instant)
    signed_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)


class Deadline(Base):
    """时限: one running or stopped clock of a case."""

    __tablename__ = "deadline"
    __table_args__ = (
        _of_case(),
        Index("ix_deadline_case", "district_code", "case_id"),
        Index("ix_deadline_next", "district_code", "next_at", postgresql_where=text("next_at IS NOT NULL")),
        Index("ix_deadline_running", "district_code", "id", postgresql_where=text("stopped_at IS NULL")),
        Index(
            "ix_deadline_share",
            "district_code",
            "unit_code",
            "due_at",
            "case_id",
            postgresql_where=text("stopped_at IS NULL AND assignment_id IS NOT NULL"),
        ),
        CheckConstraint("(stopped_at IS NULL) = (outcome IS NULL)", name="outcome"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID]
    #: dispatch, sign, reply or callback.
    clock: Mapped[str]
    #: Whom it measures; None for the district centre.
    unit_code: Mapped[str | None]
    #: The typed limit as written in the rules: 4wh, 5wd, 24h…
    limit: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(Instant)
    due_at: Mapped[datetime] = mapped_column(Instant)
    #: Computed over a year whose notice is not known yet.
    provisional: Mapped[bool]
    #: When 50 % and 80 % of the limit are gone.
    half_at: Mapped[datetime] = mapped_column(Instant)
    near_at: Mapped[datetime] = mapped_column(Instant)
    #: The next moment the sweep has to look; None once it is stopped and nothing more can fire.
    next_at: Mapped[datetime | None] = mapped_column(Instant)
    #: 0 nothing, 1 half, 2 near, 3 overdue: what has been announced.
    fired: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    #: Rungs of the escalation ladder climbed after expiry.
    rung: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    stopped_at: Mapped[datetime | None] = mapped_column(Instant)
    #: met, missed or void (the matter went elsewhere).
    outcome: Mapped[str | None]
    #: The share, or the owed material, that the clock measures; None for clocks of the whole case.
    assignment_id: Mapped[uuid.UUID | None]
    #: Extensions granted, in order, each a typed limit that begins where the one before it ends.
    extra: Mapped[list[str]] = mapped_column(ARRAY(String), server_default=text("'{}'"))
    #: The clock stands since then 挂起; nothing fires meanwhile.
    held_at: Mapped[datetime | None] = mapped_column(Instant)
    #: The limit that the law sets where a shorter one was promised, and when it runs out.
    legal_limit: Mapped[str | None]
    legal_due_at: Mapped[datetime | None] = mapped_column(Instant)
    #: The limit came with the clock (an item's promise, a granted span): a changed table of limits leaves it alone.
    own_limit: Mapped[bool] = mapped_column(server_default=text("false"))


class Pause(Base):
    """挂起: a span in which one clock stood. Open while `ended_at` is empty."""

    __tablename__ = "pause"
    __table_args__ = (
        _of_case(),
        Index("ix_pause_case", "district_code", "case_id"),
        CheckConstraint("ended_at IS NULL OR ended_at >= started_at", name="order"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID]
    deadline_id: Mapped[uuid.UUID]
    #: One of `dispatch.fields.PAUSE_REASONS`, or `park`.
    reason_code: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)


class Plea(Base):
    """申请: what a unit asks of the centre (延期, 挂起, 挂账); somebody else decides."""

    __tablename__ = "plea"
    __table_args__ = (
        _of_case(),
        Index("ix_plea_case", "district_code", "case_id"),
        Index("uq_plea_asked", "district_code", "case_id", unique=True, postgresql_where=text("state = 'asked'")),
        CheckConstraint("kind IN ('extension', 'pause', 'park')", name="kind"),
        CheckConstraint("state IN ('asked', 'granted', 'refused', 'lapsed')", name="state"),
        CheckConstraint("(state = 'asked') = (decided_at IS NULL)", name="decided"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID]
    kind: Mapped[str]
    unit_code: Mapped[str]
    #: The account that asked; whoever decides is another.
    asked_by: Mapped[uuid.UUID | None]
    asked_name: Mapped[str]
    asked_at: Mapped[datetime] = mapped_column(Instant)
    #: A listed reason, for pauses.
    reason_code: Mapped[str] = mapped_column(server_default="")
    reason: Mapped[str]
    #: `{"document": "…", "photos": [ids]}`: what proves it.
    evidence: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: How long, as a typed limit: 5wd, 15nd.
    span: Mapped[str]
    state: Mapped[str]
    decided_by: Mapped[uuid.UUID | None]
    decided_name: Mapped[str | None]
    decided_at: Mapped[datetime | None] = mapped_column(Instant)
    ruling: Mapped[str | None]


class Supervision(Base):
    """督办: an order of the supervisor about one case, with its own deadline, answer and closing."""

    __tablename__ = "supervision"
    __table_args__ = (
        _of_case(),
        Index("ix_supervision_case", "district_code", "case_id"),
        Index(
            "uq_supervision_running",
            "district_code",
            "case_id",
            unique=True,
            postgresql_where=text("state IN ('issued', 'answered')"),
        ),
        CheckConstraint("state IN ('issued', 'answered', 'closed', 'lapsed')", name="state"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID]
    #: Who has to answer.
    unit_code: Mapped[str]
    demand: Mapped[str]
    state: Mapped[str]
    issued_by: Mapped[uuid.UUID | None]
    issued_name: Mapped[str]
    issued_at: Mapped[datetime] = mapped_column(Instant)
    answer: Mapped[str | None]
    answered_name: Mapped[str | None]
    answered_at: Mapped[datetime | None] = mapped_column(Instant)
    #: What the supervisor made of the answer.
    ruling: Mapped[str | None]
    closed_name: Mapped[str | None]
    closed_at: Mapped[datetime | None] = mapped_column(Instant)


class DeadlineChange(Base):
    """A deadline moved because a notice or a limit changed: the diff that explains it."""

    __tablename__ = "deadline_change"
    __table_args__ = (_of_case(), Index("ix_deadline_change_case", "district_code", "case_id"))

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID]
    deadline_id: Mapped[uuid.UUID]
    changed_at: Mapped[datetime] = mapped_column(Instant)
    old_due_at: Mapped[datetime] = mapped_column(Instant)
    new_due_at: Mapped[datetime] = mapped_column(Instant)
    #: Which notice or rule, in words with parameters.
    why: Mapped[dict[str, Any]] = mapped_column(JSONB)


class Outbox(Base):
    """发件箱: an effect outside the database, written with the change that causes it and delivered at least once."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_waiting", "district_code", "id", postgresql_where=text("delivered_at IS NULL")),
        Index(
            "ix_outbox_case_waiting", "district_code", "case_id", "id", postgresql_where=text("delivered_at IS NULL")
        ),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: UUIDv7: the order of writing, and the idempotency key of the delivery.
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID | None]
    topic: Mapped[str]
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(Instant)
    leased_until: Mapped[datetime | None] = mapped_column(Instant)
    tries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    #: Set when delivered, or given up (then `failure` says why).
    delivered_at: Mapped[datetime | None] = mapped_column(Instant)
    failure: Mapped[str | None]


class Attachment(Base):
    """附件: a photo of a case, re-encoded by us; the bytes lie in the store under their hash."""

    __tablename__ = "attachment"
    __table_args__ = (_of_case(), Index("ix_attachment_case", "district_code", "case_id"))

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID]
    #: report, before, after, evidence.
    purpose: Mapped[str]
    #: SHA-256 in hex of the stored bytes.
    sha256: Mapped[str]
    media_type: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(Instant)


class Disclosure(Base):
    """查看记录: somebody opened sealed personal data, and why. Append-only; the person concerned may see it."""

    __tablename__ = "disclosure"
    __table_args__ = (_of_case(), Index("ix_disclosure_case", "district_code", "case_id"))

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID]
    actor_id: Mapped[uuid.UUID | None]
    actor_name: Mapped[str]
    #: Role and unit at that moment: what the person concerned is told of who it was. None in rows without them.
    actor_role: Mapped[str | None]
    unit_code: Mapped[str | None]
    #: name, phone, recording, or a field of an application.
    field: Mapped[str]
    #: A key of `grid.openings.REASONS`; None where the words say it all.
    reason_code: Mapped[str | None]
    reason: Mapped[str]
    opened_at: Mapped[datetime] = mapped_column(Instant)
    #: Until then the same person sees it again without another row.
    expires_at: Mapped[datetime | None] = mapped_column(Instant)


class NumberBlock(Base):
    """The running number of a day; processes take blocks from it, so that intake never queues for it."""

    __tablename__ = "number_block"

    district_code: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    #: The first number that no process has taken.
    next: Mapped[int]


class RoutingRule(Base):
    """派单规则: a category subtree in an area, perhaps at certain hours, goes to a unit."""

    __tablename__ = "routing_rule"
    __table_args__ = (ForeignKeyConstraint(["district_code", "unit_code"], ["unit.district_code", "unit.code"]),)

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    #: Prefix of category codes; empty for all.
    category_code: Mapped[str]
    #: Prefix of area codes; empty for the whole district.
    area_code: Mapped[str]
    #: ISO weekdays as digits (`12345`); empty for every day.
    weekdays: Mapped[str] = mapped_column(server_default="")
    #: `HH:MM-HH:MM` in Asia/Shanghai; empty for all hours.
    hours: Mapped[str] = mapped_column(server_default="")
    unit_code: Mapped[str]
    note: Mapped[str] = mapped_column(server_default="")


class LimitRule(Base):
    """时限规则: the typed limit of a clock for a kind, an urgency and a category subtree; the most specific wins."""

    __tablename__ = "limit_rule"

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    clock: Mapped[str]
    #: Empty for every kind.
    kind: Mapped[str] = mapped_column(server_default="")
    urgency: Mapped[str] = mapped_column(server_default="")
    category_code: Mapped[str] = mapped_column(server_default="")
    limit: Mapped[str]
    #: Prefix of codes of service items; empty for all.
    item: Mapped[str] = mapped_column(server_default="")


class Job(Base):
    """后台任务: long work in slices, each with its progress; whoever finds it goes on where the last one stopped."""

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="state"),
        CheckConstraint("(state IN ('queued', 'running')) = (finished_at IS NULL)", name="finished"),
        # One at a time: whoever asks again while one waits is answered with that one.
        Index(
            "uq_job_waiting",
            "district_code",
            "kind",
            unique=True,
            postgresql_where=text("state IN ('queued', 'running')"),
        ),
        Index("ix_job_newest", "district_code", "created_at"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: What is done: `dispatch.jobs.KINDS`.
    kind: Mapped[str]
    #: queued → running → done, failed or cancelled.
    state: Mapped[str]
    #: Things worked through, things there were to work through, and how many of them changed.
    done: Mapped[int] = mapped_column(server_default=text("0"))
    total: Mapped[int | None]
    moved: Mapped[int] = mapped_column(server_default=text("0"))
    #: Where the next slice begins; None before the first.
    cursor: Mapped[str | None]
    #: What it was asked for, in words with parameters: which notices, which rules.
    why: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: How often it was asked for while it waited or ran; asked for in mid-run, it begins anew.
    asked: Mapped[int] = mapped_column(server_default=text("1"))
    asked_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(Instant)
    #: Until every process works by the new rules: clocks that start meanwhile may still start by the old ones.
    not_before: Mapped[datetime] = mapped_column(Instant)
    started_at: Mapped[datetime | None] = mapped_column(Instant)
    finished_at: Mapped[datetime | None] = mapped_column(Instant)
    #: Why it failed: a message and its parameters.
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB)


class CalendarNotice(Base):
    """放假通知: the State Council's notice of one year. A reference table of the nation."""

    __tablename__ = "calendar_notice"

    year: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: Title or document number of the notice.
    source: Mapped[str]
    #: SHA-256 of its days: tells whether a load changed anything.
    digest: Mapped[str]
    #: `{"2026-10-01": "国庆节", …}` days off, and make-up working days.
    off: Mapped[dict[str, Any]] = mapped_column(JSONB)
    work: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: Rises when the State Council changes a year's plan afterwards.
    version: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    loaded_at: Mapped[datetime] = mapped_column(Instant)

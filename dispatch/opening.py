"""Opening a case 立案: everything a new matter needs, written by one prepared statement in one round trip.

Knows which rows a new case consists of. Does not know how the place, the category or the unit were found: that was
done before the transaction began.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import orjson
from sqlalchemy import Engine, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from core.actor import Actor, system
from core.db import Base, one_statement, together, transaction
from core.errors import Conflict
from core.ids import new_id
from dispatch import models
from dispatch.calendar import china_time
from dispatch.deadlines import Clock, nearest
from dispatch.log import Line, as_columns, genesis, late_after, link
from dispatch.rulebook import Rulebook
from dispatch.rules import Decision


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a matter is, with all that is kept about how that is known."""

    #: EPSG:4490 degrees.
    lng: float
    lat: float
    radius_m: float
    confidence: float
    name: str
    #: geocoder, reporter or operator.
    by: str
    #: As received, before conversion.
    source_datum: str
    source_lng: float
    source_lat: float
    town_code: str | None = None
    community_code: str | None = None
    cell_code: str | None = None


@dataclass(frozen=True, slots=True)
class Sealed:
    """The reporter's name and phone, encrypted; the index finds earlier reports of the same phone."""

    name: bytes | None = None
    phone: bytes | None = None
    phone_index: bytes | None = None


@dataclass(frozen=True, slots=True)
class NewCase:
    """One matter, understood but not yet recorded."""

    channel: str
    text: str
    #: Aware; as the reporter says. Decides no limit.
    reported_at: datetime
    #: Aware; neutral intake, from the system's clock.
    received_at: datetime
    #: Who brought it in: the citizen, the operator, the grid worker.
    actor: Actor
    number: str
    kind: str
    urgency: str
    title: str = ""
    source_id: str | None = None
    idempotency_key: str | None = None
    category_code: str | None = None
    category_confidence: float | None = None
    #: "model", or the role of who chose it.
    category_by: str = "model"
    place: Placed | None = None
    #: Where it goes at once; None leaves it in the first state of its process: on the desk, or with the grid worker.
    decision: Decision | None = None
    duplicate_of: uuid.UUID | None = None
    suggestions: Mapping[str, Any] | None = None
    reporter: Sealed = Sealed()
    access_hash: bytes | None = None
    #: complaint, or patrol for what a grid worker finds.
    process: str = "complaint"


@dataclass(frozen=True, slots=True)
class Opened:
    """What became of a report."""

    case_id: uuid.UUID
    number: str
    state: str
    unit_code: str | None
    due_at: datetime | None
    due_clock: str | None
    #: The same report was here before; nothing was written.
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """The one statement of a new case, ready to be run."""

    new: NewCase
    sql: bytes
    values: list[Any]
    #: What it leads to, unless the report was here before.
    opened: Opened


def open_now(book: Rulebook, new: NewCase, *, bind: Engine | None = None) -> Opened:
    """Write a new case with its report, log, assignment, clocks and outbox rows, all or none, and commit.

    Idempotent by (channel, source_id) and by idempotency_key: a repeated report answers with the case that it opened.
    In a transaction of the program's own: neutral intake.
    """
    program, made = system(book.district, "intake"), prepare(book, new)
    written = one_statement(program, made.sql, made.values, bind=bind)
    if written is not None and written[0]:
        return made.opened
    with transaction(program, bind=bind) as session:
        return _earlier(session, book.district, new)


def open_together(book: Rulebook, made: Sequence[Prepared], *, bind: Engine | None = None) -> list[Opened]:
    """Write new cases as `open_now` does each, in one transaction: all of them or none; return what became of them."""
    program = system(book.district, "intake")
    written = together(program, [(one.sql, one.values) for one in made], bind=bind)
    if all(row and row[0] for row in written):
        return [one.opened for one in made]
    with transaction(program, bind=bind) as session:
        return [
            one.opened if row and row[0] else _earlier(session, book.district, one.new)
            for one, row in zip(made, written, strict=True)
        ]


def prepare(book: Rulebook, new: NewCase) -> Prepared:
    """Return the statement that opens a case; nothing is asked and nothing is written."""
    case_id, district, at = new_id(), book.district, new.received_at
    process = book.process(new.process)
    state = "dispatched" if new.decision else process.initial
    unit = new.decision.unit if new.decision else None

    def clock(name: str) -> Clock:
        measured = unit if name in process.unit_clocks else None
        category = new.category_code or ""
        return book.clock(name, unit=measured, kind=new.kind, urgency=new.urgency, category=category, start=at)

    # What is dispatched at once has to be signed for instead.
    clocks = [clock("sign" if unit and name == "dispatch" else name) for name in process.starts]
    due = nearest(clocks)

    values: dict[str, Any] = {"district_code": district, "case_id": case_id}
    told = {"channel": new.channel}
    allowed = late_after(book.settings)
    lines = [Line("receive", new.actor, min(new.reported_at, at), at, None, process.initial, told, allowed)]
    if new.decision:
        why = {"unit": new.decision.unit, "why": new.decision.why}
        program = system(district, "dispatcher")
        lines.append(Line("dispatch", program, at, at, process.initial, state, why))
    head = genesis(district, case_id)
    for i, line in enumerate(lines):
        columns = as_columns(i + 1, line)
        sealed = link(head, columns)
        columns["data"] = _json(columns["data"])
        _put(values, f"e{i}_", columns | {"prev_hash": head, "hash": sealed})
        head = sealed
    for i, started in enumerate(clocks):
        _put(values, f"d{i}_", started.columns())
    topics = _topics(new, unit, state)
    for i, (topic, payload) in enumerate(topics):
        _put(values, f"o{i}_", {"id": new_id(), "topic": topic, "payload": _json(payload), "created_at": at})
    if new.decision:
        _put(
            values,
            "a0_",
            {
                "id": new_id(),
                "unit_code": unit,
                "share": "lead",
                "state": "sent",
                "why": _json(new.decision.why),
                "created_at": at,
            },
        )
    _put(values, "r0_", _report_columns(new))
    _put(
        values,
        "c0_",
        _case_columns(new, process.version, state, unit, due) | {"entries": len(lines), "head_hash": head},
    )

    sql, names = _statement(len(lines), len(clocks), len(topics), bool(new.decision))
    opened = Opened(case_id, new.number, state, unit, due.due_at if due else None, due.name if due else None)
    return Prepared(new, sql, [values[name] for name in names], opened)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _put(values: dict[str, Any], prefix: str, columns: Mapping[str, Any]) -> None:
    for name, value in columns.items():
        values[prefix + name] = value


def _report_columns(new: NewCase) -> dict[str, Any]:
    return {
        "id": new_id(),
        "channel": new.channel,
        "source_id": new.source_id,
        "idempotency_key": new.idempotency_key,
        "text": new.text,
        "received_at": new.received_at,
        "name_sealed": new.reporter.name,
        "phone_sealed": new.reporter.phone,
        "phone_index": new.reporter.phone_index,
    }


def _case_columns(new: NewCase, version: int, state: str, unit: str | None, due: Clock | None) -> dict[str, Any]:
    place = new.place
    return {
        "number": new.number,
        "process": new.process,
        "process_version": version,
        "state": state,
        "version": 1,
        "open": True,
        "kind": new.kind,
        "channel": new.channel,
        "urgency": new.urgency,
        "title": new.title,
        "text": new.text,
        "category_code": new.category_code,
        "category_confidence": new.category_confidence,
        "category_by": new.category_by if new.category_code else None,
        "place_name": place.name if place else "",
        "place_by": place.by if place else None,
        "place_confidence": place.confidence if place else None,
        "radius_m": place.radius_m if place else None,
        "lng": place.lng if place else None,
        "lat": place.lat if place else None,
        "source_datum": place.source_datum if place else None,
        "source_lng": place.source_lng if place else None,
        "source_lat": place.source_lat if place else None,
        "town_code": place.town_code if place else None,
        "community_code": place.community_code if place else None,
        "cell_code": place.cell_code if place else None,
        "unit_code": unit,
        "unit_codes": [unit] if unit else [],
        "reported_at": new.reported_at,
        "received_at": new.received_at,
        "due_at": due.due_at if due else None,
        "due_clock": due.name if due else None,
        "duplicate_of": new.duplicate_of,
        "suggestions": _json(new.suggestions or {}),
        "access_hash": new.access_hash,
    }


def tally_facts(new: NewCase) -> dict[str, Any]:
    """Return what the kept counts need to know of a new case: place, cell, category and day of intake."""
    place = new.place
    return {
        "lng": place.lng if place else None,
        "lat": place.lat if place else None,
        "cell": place.cell_code if place else None,
        "category": new.category_code,
        "day": china_time(new.received_at).date().isoformat(),
    }


def _topics(new: NewCase, unit: str | None, state: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the outbox rows of a new case: one for counts and live pages, one for the unit that got it."""
    told = [("case.opened", tally_facts(new) | {"number": new.number, "state": state, "urgency": new.urgency})]
    if unit:
        told.append(("unit.assigned", {"number": new.number, "unit": unit, "urgency": new.urgency}))
    return told


@cache
def _types(table: str) -> dict[str, str]:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # the dialect class is untyped upstream
    return {c.name: c.type.compile(dialect=dialect) for c in Base.metadata.tables[table].columns}


@cache
def _statement(entries: int, clocks: int, topics: int, assigned: bool) -> tuple[bytes, tuple[str, ...]]:  # noqa: FBT001
    """Return the one statement for a shape of case, and the names of its parameters in order.

    No part reads what another part wrote except through RETURNING of the report, whose insert decides whether this
    is a repetition (SCALE.md rules 15 and 16).
    """
    names: dict[str, int] = {}

    def parameter(name: str, kind: str) -> str:
        return f"${names.setdefault(name, len(names) + 1)}::{kind}"

    def rows(table: str, columns: Iterable[str], prefixes: Iterable[str]) -> str:
        types = _types(table)
        listed = list(columns)
        tuples = ", ".join("(" + ", ".join(parameter(p + c, types[c]) for c in listed) + ")" for p in prefixes)
        keys = f"{parameter('district_code', 'text')}, {parameter('case_id', 'uuid')}"
        return (
            f"INSERT INTO {table} (district_code, case_id, {_quoted(listed)}) "
            f"SELECT {keys}, v.* FROM r, (VALUES {tuples}) AS v"
        )

    report = list(_report_columns_names())
    types = _types("report")
    keys = f"{parameter('district_code', 'text')}, {parameter('case_id', 'uuid')}"
    parts = [
        f"r AS (INSERT INTO report (district_code, case_id, {', '.join(report)}) VALUES ({keys}, "
        + ", ".join(parameter("r0_" + c, types[c]) for c in report)
        + ") ON CONFLICT DO NOTHING RETURNING case_id)"
    ]
    case_types = _types("cases")
    case = [c for c in _case_columns_names() if c not in ("lng", "lat")]
    point = f"ST_SetSRID(ST_MakePoint({parameter('c0_lng', 'float8')}, {parameter('c0_lat', 'float8')}), 4490)"
    parts.append(
        f"c AS (INSERT INTO cases (district_code, id, geom, {', '.join(case)}) SELECT {keys}, {point}, "
        + ", ".join(parameter("c0_" + c, case_types[c]) for c in case)
        + " FROM r)"
    )
    entry = [c for c in _types("entry") if c not in ("district_code", "case_id")]
    parts.append(f"e AS ({rows('entry', entry, [f'e{i}_' for i in range(entries)])})")
    parts.append(f"d AS ({rows('deadline', Clock.COLUMNS, [f'd{i}_' for i in range(clocks)])})")
    if assigned:
        assignment = ("id", "unit_code", "share", "state", "why", "created_at")
        parts.append(f"a AS ({rows('assignment', assignment, ['a0_'])})")
    outbox = ("id", "topic", "payload", "created_at")
    parts.append(f"o AS ({rows('outbox', outbox, [f'o{i}_' for i in range(topics)])})")
    return f"WITH {', '.join(parts)} SELECT count(*) FROM r".encode(), tuple(names)


def _quoted(columns: Iterable[str]) -> str:
    # `limit` is a column of table deadline and a word of SQL.
    return ", ".join(f'"{column}"' for column in columns)


def _report_columns_names() -> tuple[str, ...]:
    return (
        "id",
        "channel",
        "source_id",
        "idempotency_key",
        "text",
        "received_at",
        "name_sealed",
        "phone_sealed",
        "phone_index",
    )


def _case_columns_names() -> tuple[str, ...]:
    blank = NewCase("", "", datetime.min, datetime.min, system(""), "", "", "")  # noqa: DTZ901  only its names count
    return (*_case_columns(blank, 0, "", None, None), "entries", "head_hash")


def _earlier(session: Session, district: str, new: NewCase) -> Opened:
    """Return the case that the same report opened before."""
    case, report = models.Case, models.Report
    found = (
        select(case.id, case.number, case.state, case.unit_code, case.due_at, case.due_clock)
        .join(report, (report.district_code == case.district_code) & (report.case_id == case.id))
        .where(case.district_code == district, report.district_code == district)
    )
    row = None
    # The sender's key first; either may have been here. An id is its channel's own: another channel's is not it.
    if new.idempotency_key:
        row = session.execute(found.where(report.idempotency_key == new.idempotency_key)).first()
    if row is None and new.source_id:
        same = (report.channel == new.channel) & (report.source_id == new.source_id)
        row = session.execute(found.where(same)).first()
    if row is None:
        raise Conflict("Somebody else changed this at the same moment; load it again.")
    return Opened(row.id, row.number, row.state, row.unit_code, row.due_at, row.due_clock, repeated=True)

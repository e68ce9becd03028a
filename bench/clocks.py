"""Sweep of due deadlines, and reckoning them anew after a notice: 100,000 each, against the limits that were set.

`python -m bench clocks`. Every case has one expired clock, a log of one line, a unit; the sweep writes an entry, an outbox
message, the clock and the case for each. The reckoning moves every deadline and keeps a diff for each.
"""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import psycopg

from bench import scene
from bench.rows import Row
from core.actor import system
from core.db import snapshot, transaction
from core.ids import new_id
from core.settings import settings
from dispatch.calendar import Notice, WorkCalendar
from dispatch.log import Line, as_columns, genesis, link
from dispatch.recompute import recompute
from dispatch.rulebook import Rulebook, read_rulebook
from dispatch.sweep import sweep
from dispatch.worktime import WorkTime

#: A Friday morning; five working days lead over the weekend.
_START = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
_LATE = _START + timedelta(days=14)
_CASE = (
    "district_code, id, number, process, process_version, state, version, open, kind, channel, urgency, text, "
    "unit_code, unit_codes, reported_at, received_at, due_at, due_clock, suggestions, entries, head_hash"
)
_ENTRY = (
    "district_code, case_id, seq, action, actor_name, actor_role, happened_at, recorded_at, late, state_after, data, "
    "prev_hash, hash"
)
_DEADLINE = 'district_code, id, case_id, clock, unit_code, "limit", started_at, due_at, provisional, half_at, near_at, next_at, fired'


def fill(book: Rulebook, many: int) -> None:
    """Write open cases with one reply clock each, all of it due, none of it announced."""
    district, unit = book.district, next(iter(book.units))
    started = book.clock("reply", unit=unit, kind="complaint", urgency="ordinary", category="", start=_START)
    program, numbers = system(district, "bench"), count(1)
    cases, entries, deadlines = [], [], []
    for _ in range(many):
        case = new_id()
        head = genesis(district, case)
        columns = as_columns(1, Line("receive", program, _START, _START, None, "signed", {}))
        sealed = link(head, columns)
        cases.append(
            (
                *(district, case, f"bench{next(numbers):09d}", "complaint", 1, "signed", 1, True, "complaint", "web"),
                *("ordinary", "写来量一量的", unit, [unit], _START, _START, started.due_at, "reply", "{}", 1, sealed),
            )
        )
        entries.append(
            (district, case, 1, "receive", "bench", "system", _START, _START, False, "signed", "{}", head, sealed)
        )
        deadlines.append(
            (
                *(district, new_id(), case, "reply", unit, started.limit, _START, started.due_at, False),
                *(started.half_at, started.near_at, started.half_at, 0),
            )
        )
    with psycopg.connect(scene.psql_url(settings().owner_url)) as link_, link_.cursor() as cursor:
        for table in ("deadline_change", "entry", "deadline", "outbox", "cases"):
            # The log lets nobody delete, its owner included, until its own guard is put aside.
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            cursor.execute(f"DELETE FROM {table}")
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
        for table, names, rows in (
            ("cases", _CASE, cases),
            ("entry", _ENTRY, entries),
            ("deadline", _DEADLINE, deadlines),
        ):
            with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        link_.commit()
        link_.autocommit = True
        cursor.execute("VACUUM ANALYZE")


def swept(book: Rulebook, *, at: datetime) -> tuple[int, float]:
    """Return how many levels one sweeper announced, and the seconds."""
    began, done = time.perf_counter(), 0
    while True:
        with transaction(system(book.district, "sweep")) as session:
            some = sweep(session, book, at=at)
        done += some
        if not some:
            return done, time.perf_counter() - began


def reckoned(book: Rulebook) -> tuple[int, float]:
    """Return how many deadlines a changed notice moved, and the seconds."""
    first = _START.date() + timedelta(days=3)
    changed = Notice(2026, {**book.work.calendar.notices[2026].off, first: "量一量"}, frozenset(), "bench", 9)
    notices = {**book.work.calendar.notices, 2026: changed}
    newer = replace(book, work=WorkTime(WorkCalendar.from_notices(notices.values()), book.work.hours))
    began, moved, cursor = time.perf_counter(), 0, None
    while True:
        with transaction(system(book.district, "recompute")) as session:
            done = recompute(session, newer, at=_START + timedelta(hours=1), after=cursor)
        moved, cursor = moved + done.moved, done.cursor
        if cursor is None:
            return moved, time.perf_counter() - began


def run(quick: bool) -> list[Row]:  # noqa: FBT001  the signature of every bench
    from api import wiring

    many = 10_000 if quick else 100_000
    with scene.district("clocks", households=2000):
        with snapshot(system(wiring.district(), "bench")) as session:
            book = read_rulebook(session, wiring.district())
        fill(book, many)
        moved, slow = reckoned(book)
        fill(book, many)
        told, took = swept(book, at=_LATE)
    if moved != many or told < many:
        raise RuntimeError(f"{moved} of {many} moved, {told} announced")
    share = many / 100_000
    return [
        Row(
            "sweep of expired deadlines",
            took / share,
            30.0,
            "s per 100,000",
            30.0 * share / took,
            "≤ 30 s",
            f"one sweeper, {told / took:,.0f}/s: log entry, outbox message, clock and case each",
        ),
        Row(
            "recompute after a notice",
            slow / share,
            60.0,
            "s per 100,000",
            60.0 * share / slow,
            "≤ 60 s",
            f"{moved / slow:,.0f}/s, every deadline moves and keeps a diff",
        ),
    ]

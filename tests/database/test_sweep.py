"""Deadlines announce themselves once, however many sweep, and are explained when they move."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from core.db import rows, snapshot, transaction
from dispatch.calendar import Notice, WorkCalendar
from dispatch.recompute import recompute
from dispatch.rulebook import Rulebook, read_rulebook
from dispatch.sweep import sweep
from dispatch.worktime import WorkTime
from tests import tiny
from tests.builders import program
from tests.database.test_cases import OPERATOR, STREETS, do, open_one, whole

pytestmark = pytest.mark.database

#: Monday, so that working time is easy to follow: 09:00 in China.
MONDAY = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def book(district: tiny.Tiny) -> Rulebook:
    with snapshot(program(tiny.DISTRICT)) as session:
        return read_rulebook(session, tiny.DISTRICT)


def swept(book: Rulebook, at: datetime) -> int:
    done = 0
    while True:
        with transaction(program(tiny.DISTRICT)) as session:
            some = sweep(session, book, at=at)
        done += some
        if not some:
            return done


def test_clock_goes_through_four_colours_and_expiry_climbs_one_rung(book: Rulebook) -> None:
    swept(book, MONDAY)
    case = open_one(book, at=MONDAY)
    colours = []
    for hours in (1.9, 2.1, 4.5, 5.6, 5.7):
        # 4 working hours from 09:00 with a lunch break: half at 11:00, four fifths at 14:12, due at 15:00.
        swept(book, MONDAY + timedelta(hours=hours))
        colours.append(whole(case)[2]["warned"])
    assert colours == [0, 1, 1, 2, 2]
    swept(book, MONDAY + timedelta(hours=6.1))
    entries, clocks, row = whole(case)
    sign = next(c for c in clocks if c["clock"] == "sign")
    assert (row["warned"], sign["fired"], sign["rung"]) == (3, 3, 1)
    overdue = [e for e in entries if e["action"] == "overdue"]
    assert len(overdue) == 1
    assert overdue[0]["data"]["rung"] == "unit_head"
    assert row["version"] == 1, "a warning must not make an open page stale"
    do(book, STREETS, case, "sign", 1, at=MONDAY + timedelta(hours=7))
    assert {c["clock"]: c["outcome"] for c in whole(case)[1]}["sign"] == "missed"


def test_many_sweepers_announce_each_level_once(book: Rulebook) -> None:
    at = MONDAY + timedelta(days=7)
    swept(book, at)
    cases = [open_one(book, at=at) for _ in range(12)]
    late = at + timedelta(days=1)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: swept(book, late), range(4)))
    swept(book, late)
    for case in cases:
        entries, _, _ = whole(case)
        assert [e["action"] for e in entries].count("overdue") == 1
    numbers = {case.number for case in cases}
    with snapshot(program(tiny.DISTRICT)) as session:
        told = rows(
            session,
            "SELECT payload FROM outbox WHERE district_code = :d AND topic = 'deadline.overdue'",
            d=tiny.DISTRICT,
        )
    assert sorted(t["payload"]["number"] for t in told if t["payload"]["number"] in numbers) == sorted(numbers)


def test_a_correction_does_not_announce_an_expiry_again(book: Rulebook) -> None:
    at = MONDAY + timedelta(days=14)
    swept(book, at)
    case = open_one(book, at=at, unit=None)
    late = at + timedelta(days=2)
    swept(book, late)
    do(book, OPERATOR, case, "correct", 1, at=late, urgency="utilities")
    swept(book, late + timedelta(hours=1))
    told = [e["data"]["clock"] for e in whole(case)[0] if e["action"] == "overdue"]
    assert told == ["dispatch"]


def test_new_notice_moves_provisional_deadlines_and_says_so(book: Rulebook) -> None:
    """2027 has no notice yet: weekends alone count, marked provisional, until the notice is loaded."""
    at = datetime(2027, 2, 3, 1, 0, tzinfo=UTC)
    case = open_one(book, at=at)
    before = {c["clock"]: c for c in whole(case)[1]}
    assert before["reply"]["provisional"]
    holiday = {date(2027, 2, d): "春节" for d in range(5, 12)}
    known = [*book.work.calendar.notices.values(), Notice(2027, holiday, frozenset({date(2027, 2, 14)}), "invented")]
    newer = replace(book, work=WorkTime(WorkCalendar.from_notices(known)))
    cursor, moved = None, 0
    while True:
        with transaction(program(tiny.DISTRICT)) as session:
            done = recompute(session, newer, at=at, after=cursor)
        moved, cursor = moved + done.moved, done.cursor
        if cursor is None:
            break
    after = {c["clock"]: c for c in whole(case)[1]}
    assert moved >= 1
    assert after["reply"]["due_at"] > before["reply"]["due_at"]
    assert not after["reply"]["provisional"]
    assert after["reply"]["started_at"] == at
    with snapshot(program(tiny.DISTRICT)) as session:
        diff = rows(
            session,
            "SELECT old_due_at, new_due_at FROM deadline_change WHERE district_code = :d AND deadline_id = :i",
            d=tiny.DISTRICT,
            i=after["reply"]["id"],
        )
    assert [(d["old_due_at"], d["new_due_at"]) for d in diff] == [(before["reply"]["due_at"], after["reply"]["due_at"])]

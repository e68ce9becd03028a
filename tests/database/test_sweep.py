"""Deadlines announce themselves once, however many sweep, and are explained when they move."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.db import rows, snapshot, transaction
from core.settings import ROOT
from dispatch.calendar import Notice, WorkCalendar
from dispatch.ladder import ladder_of
from dispatch.log import verify
from dispatch.recompute import recompute
from dispatch.rulebook import Rulebook, read_rulebook
from dispatch.sweep import sweep
from dispatch.worktime import WorkTime
from tests import tiny
from tests.builders import program
from tests.database.roads import Matter
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


def told(matter: Matter, clock: str) -> list[dict[str, Any]]:
    """Return the outbox messages about one clock of a case, in order."""
    return [o for o in matter.table("outbox") if o["topic"].startswith("deadline.") and o["payload"]["clock"] == clock]


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


def test_expiry_climbs_the_ladder_each_rung_in_its_time_and_once(book: Rulebook) -> None:
    """Unit head at expiry, the centre four working hours later, supervision a working day after that, then nobody."""
    at = MONDAY + timedelta(days=21)
    matter = Matter(book, at=at)
    due = matter.clocks()["sign"]["due_at"]
    # 15:00 on Monday; 15:30 on Tuesday; Wednesday at the end of business.
    centre, supervision = due + timedelta(hours=23, minutes=30), due + timedelta(days=2, hours=2, minutes=30)
    climbed = []
    for moment in (due, centre, centre, supervision, supervision + timedelta(days=30)):
        swept(book, moment - timedelta(seconds=1))
        swept(book, moment)
        climbed.append([(o["topic"], o["payload"]["rung"]) for o in told(matter, "sign") if "rung" in o["payload"]])
    assert [len(rungs) for rungs in climbed] == [1, 2, 2, 3, 3]
    assert climbed[-1] == [
        ("deadline.overdue", "unit_head"),
        ("deadline.escalated", "centre"),
        ("deadline.escalated", "supervision"),
    ]
    logged = [(e["action"], e["data"]["rung"]) for e in matter.table("entry") if e["data"].get("clock") == "sign"]
    assert logged == [("overdue", "unit_head"), ("escalated", "centre"), ("escalated", "supervision")]
    sign = matter.clocks()["sign"]
    assert (sign["rung"], sign["next_at"]) == (3, None)


def test_sweep_that_comes_late_gives_every_rung_its_time(book: Rulebook) -> None:
    matter = Matter(book, at=MONDAY + timedelta(days=21))
    late = MONDAY + timedelta(days=60)
    swept(book, late)
    assert [o["payload"].get("rung") for o in told(matter, "sign")] == ["unit_head"]
    swept(book, late + timedelta(days=4))
    assert [o["payload"].get("rung") for o in told(matter, "sign")] == ["unit_head", "centre"]


def test_clock_of_the_centre_begins_with_the_centre_and_the_district_may_set_its_own_ladder(book: Rulebook) -> None:
    at = MONDAY + timedelta(days=21)
    matter = Matter(book, at=at, unit=None)
    strict = replace(book, ladder=ladder_of([{"told": "centre", "after": "0"}, {"told": "supervision", "after": "1h"}]))
    due = matter.clocks()["dispatch"]["due_at"]
    swept(strict, due)
    swept(strict, due + timedelta(hours=1))
    rungs = [o["payload"].get("rung") for o in told(matter, "dispatch") if o["payload"]["level"] == 3]
    assert rungs == ["centre", "supervision"]


_VICTIM = """
import sys, time
from datetime import datetime
from core.actor import system
from core.db import snapshot, transaction
from dispatch.rulebook import read_rulebook
from dispatch.sweep import sweep
with snapshot(system(sys.argv[1])) as session:
    book = read_rulebook(session, sys.argv[1])
at = datetime.fromisoformat(sys.argv[2])
while True:
    with transaction(system(sys.argv[1])) as session:
        some = sweep(session, book, at=at, limit=7)
        if not some:
            break
        print(some, flush=True)
        time.sleep(0.2)
"""


def test_killed_sweepers_lose_nothing_and_repeat_nothing(book: Rulebook, tmp_path: Path) -> None:
    """Three processes sweep at once; two are killed with SIGKILL between their statements and their commit."""
    at = MONDAY + timedelta(days=28)
    swept(book, at)
    matters = [Matter(book, at=at) for _ in range(40)]
    late = at + timedelta(days=1)
    script = tmp_path / "victim.py"
    script.write_text(_VICTIM, encoding="utf-8")
    argv = [sys.executable, str(script), tiny.DISTRICT, late.isoformat()]
    sweepers = [
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
        for _ in range(3)
    ]
    for victim in sweepers[:2]:
        assert victim.stdout is not None
        # It has announced something; what it is at now is undone.
        assert victim.stdout.readline()
        victim.send_signal(signal.SIGKILL)
    for one in sweepers:
        one.wait(60)
        assert one.stdout is not None
        one.stdout.close()
    waiting = time.monotonic() + 10
    while time.monotonic() < waiting:
        # The server notices dead clients at its own pace; their rows are free then.
        swept(book, late)
        if all(matter.clocks()["sign"]["rung"] for matter in matters):
            break
    for matter in matters:
        assert [e["action"] for e in matter.table("entry")].count("overdue") == 1
        assert [o["topic"] for o in told(matter, "sign")].count("deadline.overdue") == 1
        assert verify(tiny.DISTRICT, matter.id, matter.table("entry"), head=matter.row["head_hash"]) is None


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

"""Background jobs: progress and effect are committed together, nobody's death loses or repeats a slice."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from sqlalchemy import text

from core.actor import Role
from core.db import rows, snapshot, transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.settings import ROOT
from dispatch import deadlines, jobs
from dispatch.jobs import SETTLE, Progress
from dispatch.load import _tell_others
from dispatch.rulebook import Rulebook, read_rulebook, revision
from tests import tiny
from tests.builders import program, put_away
from tests.database.roads import Matter, person

pytestmark = pytest.mark.database

#: Late January 2027: no notice of that year is shipped, weekends alone count.
AT = datetime(2027, 2, 1, 1, 0, tzinfo=UTC)
READY = AT + SETTLE
ADMIN = person(Role.ADMIN, "管理员")


@pytest.fixture
def book(district: tiny.Tiny) -> Iterator[Rulebook]:
    with transaction(program(tiny.DISTRICT)) as session:
        put_away(session, tiny.DISTRICT)
        session.execute(
            text("UPDATE deadline SET stopped_at = :at, outcome = 'void', next_at = NULL WHERE stopped_at IS NULL"),
            {"at": AT},
        )
        session.execute(
            text("UPDATE job SET state = 'cancelled', finished_at = :at WHERE finished_at IS NULL"), {"at": AT}
        )
    with snapshot(program(tiny.DISTRICT)) as session:
        yield read_rulebook(session, tiny.DISTRICT)
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(text("DELETE FROM calendar_notice WHERE year = 2027"))
        session.execute(text("DELETE FROM limit_rule WHERE district_code = :d"), {"d": tiny.DISTRICT})
        session.execute(
            text("UPDATE district SET revision = revision + 1 WHERE district_code = :d"), {"d": tiny.DISTRICT}
        )


def spring_festival() -> None:
    """Put a notice into force that gives a week off, as a load would; the job is queued with it."""
    off = {f"2027-02-{day:02d}": "春节" for day in range(5, 12)}
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(
            text(
                "INSERT INTO calendar_notice (year, source, digest, off, work, loaded_at) VALUES "
                "(2027, 'invented', 'x', :off, '{}', :at)"
            ),
            {"off": orjson.dumps(off).decode(), "at": AT},
        )
        session.execute(
            text("UPDATE district SET revision = revision + 1 WHERE district_code = :d"), {"d": tiny.DISTRICT}
        )
        jobs.queue(session, "recompute", at=AT, why={"notices": [2027]})


def queued(why: dict[str, object] | None = None, at: datetime = AT) -> uuid.UUID:
    with transaction(program(tiny.DISTRICT)) as session:
        return jobs.queue(session, "recompute", at=at, why=why or {"asked": True})


def slice_of(book: Rulebook, size: int = 2000, at: datetime = READY) -> Progress | None:
    with transaction(program(tiny.DISTRICT)) as session:
        return jobs.work(session, book, at=at, size=size)


def newest() -> Progress:
    with snapshot(ADMIN) as session:
        return jobs.newest(session)[0]


def drained(book: Rulebook, size: int = 2000) -> Progress:
    while slice_of(book, size) is not None:
        pass
    return newest()


def test_new_notice_moves_every_open_deadline_once_and_says_so(book: Rulebook) -> None:
    matters = [Matter(book, at=AT) for _ in range(5)]
    before = [m.clocks()["reply"] for m in matters]
    assert before[0]["provisional"]
    spring_festival()
    assert slice_of(book, at=AT) is None, "not before every process works by the new rules"
    # The process still has the old rulebook: the job reads the new one.
    seen = [slice_of(book, size=3)]
    while (some := slice_of(book, size=3)) is not None:
        seen.append(some)
    done = newest()
    assert [one.done for one in seen if one] == [3, 6, 9, 10, 10]
    assert (done.state, done.done, done.total, done.moved, done.share) == ("done", 10, 10, 10, 1.0)
    for matter, old in zip(matters, before, strict=True):
        new = matter.clocks()["reply"]
        assert new["due_at"] - old["due_at"] == timedelta(days=7)
        assert (new["provisional"], new["started_at"]) == (False, old["started_at"])
        diff = [c for c in matter.table("deadline_change") if c["deadline_id"] == new["id"]]
        assert [(d["old_due_at"], d["new_due_at"], d["why"]) for d in diff] == [
            (old["due_at"], new["due_at"], {"notices": [2027]})
        ]
        assert matter.row["due_at"] == matter.clocks()["sign"]["due_at"]


def test_changed_table_of_limits_re_limits_what_runs_but_no_clock_with_a_limit_of_its_own(book: Rulebook) -> None:
    table, own, hard = (Matter(book, at=AT) for _ in range(3))
    with transaction(program(tiny.DISTRICT)) as session:
        clocks = deadlines.running(session, tiny.DISTRICT, own.id)
        clocks.stop(["reply"], at=AT, void=True)
        clock = book.clock("reply", unit=None, kind="complaint", urgency="ordinary", category="", start=AT, limit="5wd")
        clocks.start([clock])
        session.execute(text("UPDATE cases SET complex = true WHERE id = :c AND district_code = :d"), hard.key)
        for i, (clock_name, kind, limit) in enumerate(
            (("dispatch", "", "24h"), ("sign", "", "4wh"), ("reply", "", "7wd"), ("reply", "complex", "20wd"))
        ):
            session.execute(
                text('INSERT INTO limit_rule (district_code, id, clock, kind, "limit") VALUES (:d, :i, :c, :k, :l)'),
                {"d": tiny.DISTRICT, "i": f"t{i}", "c": clock_name, "k": kind, "l": limit},
            )
        session.execute(
            text("UPDATE district SET revision = revision + 1 WHERE district_code = :d"), {"d": tiny.DISTRICT}
        )
    queued({"limits": True})
    drained(book)
    assert [m.clocks()["reply"]["limit"] for m in (table, own, hard)] == ["7wd", "5wd", "20wd"]
    assert table.clocks()["reply"]["started_at"] == AT
    assert table.table("deadline_change")[-1]["why"] == {"limits": True, "limit": ["5wd", "7wd"]}
    assert own.table("deadline_change") == []


def test_paused_and_extended_deadlines_keep_both(book: Rulebook) -> None:
    matter = Matter(book, at=AT)
    with transaction(program(tiny.DISTRICT)) as session:
        clocks = deadlines.running(session, tiny.DISTRICT, matter.id)
        clocks.hold(["reply"], at=AT + timedelta(days=1), reason="survey")
        clocks.resume(book, ["reply"], at=AT + timedelta(days=2))
        clocks.extend(book, "reply", "2wd", at=AT + timedelta(days=2), asked_at=AT, why={"by": "孙八"})
        clocks.hold(["sign"], at=AT + timedelta(minutes=1), reason="survey")
    old = matter.clocks()["reply"]
    spring_festival()
    drained(book)
    new = matter.clocks()
    assert new["reply"]["due_at"] == old["due_at"] + timedelta(days=7)
    assert new["reply"]["extra"] == ["2wd"]
    assert new["sign"]["next_at"] is None, "what stands is not woken by a recomputation"


def test_two_jobs_of_one_kind_are_one_and_the_second_asker_starts_it_anew(book: Rulebook) -> None:
    for _ in range(3):
        Matter(book, at=AT)
    first = queued({"notices": [2027]})
    assert slice_of(book, size=2) is not None
    assert newest().done == 2
    assert queued({"limits": True}) == first
    again = newest()
    assert (again.done, again.total, again.state) == (0, None, "running")
    assert again.why == {"notices": [2027], "limits": True}
    assert drained(book).state == "done"
    assert queued() != first


def test_only_one_worker_is_at_a_job_and_two_share_its_slices(book: Rulebook) -> None:
    matters = [Matter(book, at=AT) for _ in range(20)]
    spring_festival()
    with transaction(program(tiny.DISTRICT)) as one:
        assert jobs.work(one, book, at=READY, size=5) is not None
        assert slice_of(book) is None, "the job is locked while a slice is done"
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: drained(book, 5), range(3)))
    assert drained(book, 5).moved == 40
    for matter in matters:
        assert len(matter.table("deadline_change")) == 2


_VICTIM = """
import sys, time
from datetime import datetime
from core.actor import system
from core.db import snapshot, transaction
from dispatch import deadlines, jobs
from dispatch.rulebook import read_rulebook
with snapshot(system(sys.argv[1])) as session:
    book = read_rulebook(session, sys.argv[1])
at = datetime.fromisoformat(sys.argv[2])
with transaction(system(sys.argv[1])) as session:
    jobs.work(session, book, at=at, size=4)
with transaction(system(sys.argv[1])) as session:
    jobs.work(session, book, at=at, size=4)
    print("in the middle", flush=True)
    time.sleep(60)
"""


def test_killed_worker_leaves_a_whole_slice_and_another_goes_on_from_there(book: Rulebook, tmp_path: Path) -> None:
    matters = [Matter(book, at=AT) for _ in range(6)]
    spring_festival()
    script = tmp_path / "victim.py"
    script.write_text(_VICTIM, encoding="utf-8")
    victim = subprocess.Popen(
        [sys.executable, str(script), tiny.DISTRICT, READY.isoformat()],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert victim.stdout is not None
    assert victim.stdout.readline() == "in the middle\n"
    assert slice_of(book) is None
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    victim.stdout.close()
    assert newest().done == 4, "the slice that was not committed is undone, with its progress"
    for _ in range(100):
        # The server notices the dead client at its own pace.
        if newest().over:
            break
        if slice_of(book) is None:
            time.sleep(0.1)
    done = newest()
    assert (done.state, done.done, done.moved) == ("done", 12, 12)
    for matter in matters:
        assert len(matter.table("deadline_change")) == 2, "each deadline moved once"


def test_cancelled_job_stops_and_keeps_what_it_did(book: Rulebook) -> None:
    for _ in range(3):
        Matter(book, at=AT)
    job = queued()
    slice_of(book, size=2)
    with transaction(ADMIN) as session:
        stopped = jobs.cancel(session, job, at=READY)
    assert (stopped.state, stopped.done, stopped.over) == ("cancelled", 2, True)
    assert slice_of(book) is None
    with pytest.raises(Conflict, match="over already"), transaction(ADMIN) as session:
        jobs.cancel(session, job, at=READY)


def test_rules_that_cannot_be_read_fail_the_job_with_the_reason(book: Rulebook) -> None:
    queued()
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(
            text("INSERT INTO limit_rule (district_code, id, clock, \"limit\") VALUES (:d, 'x', 'reply', 'soon')"),
            {"d": tiny.DISTRICT},
        )
        session.execute(
            text("UPDATE district SET revision = revision + 1 WHERE district_code = :d"), {"d": tiny.DISTRICT}
        )
    done = slice_of(book)
    assert done is not None
    assert done.error is not None
    assert (done.state, done.error["params"]) == ("failed", {"limit": "soon"})
    assert slice_of(book) is None


def test_only_administrators_see_and_stop_jobs(book: Rulebook) -> None:
    job = queued()
    for role in (Role.OPERATOR, Role.SUPERVISOR, Role.OFFICIAL, Role.UNIT, Role.CITIZEN):
        who = person(role, "某人", tiny.STREETS if role is Role.UNIT else "")
        with transaction(who) as session:
            for ask in (
                jobs.newest,
                lambda s: jobs.progress(s, job),
                lambda s: jobs.cancel(s, job, at=READY),
                lambda s: jobs.queue(s, "recompute", at=AT, why={}),
            ):
                with pytest.raises(Forbidden):
                    ask(session)
            assert rows(session, "SELECT 1 FROM job WHERE district_code = :d", d=tiny.DISTRICT) == []
    stranger = person(Role.ADMIN, "别区管理员")
    with transaction(stranger) as session, pytest.raises(NotFound):
        jobs.cancel(session, uuid.uuid4(), at=READY)
    with transaction(ADMIN) as session, pytest.raises(Invalid, match="no background job"):
        jobs.queue(session, "mine bitcoin", at=AT, why={})


def test_command_line_works_at_a_job_by_itself_and_lists_it(book: Rulebook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a worker `wangge recompute --wait` does the work; the moments before it may begin are skipped here."""
    from typer.testing import CliRunner

    from api import cli_district, wiring
    from api.cli import app

    monkeypatch.setattr(jobs, "SETTLE", timedelta(0))
    matter = Matter(book, at=AT)
    spring_festival()
    wiring.forget()
    done = CliRunner().invoke(app, ["recompute", "--wait"])
    assert done.exit_code == 0, done.output
    assert "done: 2 of 2 open deadlines moved" in done.output
    assert matter.clocks()["reply"]["provisional"] is False
    listed = CliRunner().invoke(app, ["jobs"])
    assert "recompute" in listed.output
    assert cli_district.recompute in [command.callback for command in app.registered_commands]


def test_notice_concerns_every_district_of_the_installation(book: Rulebook) -> None:
    """The calendar is the nation's: a load in one district queues the job in the others whose deadlines run."""
    Matter(book, at=AT)
    _tell_others("990100", [2027], at=AT, bind=None)
    with snapshot(program(tiny.DISTRICT)) as session:
        assert revision(session, tiny.DISTRICT) == book.revision + 1
    now = newest()
    assert (now.state, now.why) == ("queued", {"notices": [2027]})

"""Clocks stand, go on, are extended and stopped in any order; nothing is announced while they stand, nor twice."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from core.db import rows, snapshot, transaction
from core.errors import Conflict, Invalid
from core.ids import new_id
from dispatch import deadlines, journal
from dispatch.log import Line, verify
from dispatch.models import Case, Entry
from dispatch.rulebook import Rulebook, read_rulebook
from dispatch.sweep import sweep
from tests import tiny
from tests.builders import program
from tests.database import roads
from tests.database.roads import Matter

pytestmark = pytest.mark.database

#: Monday 30 November 2026, 09:00 in China.
MONDAY = datetime(2026, 11, 30, 1, 0, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
Turn = Callable[[Session], Any]


@pytest.fixture(scope="module")
def book(district: tiny.Tiny) -> Rulebook:
    with snapshot(program(tiny.DISTRICT)) as session:
        return read_rulebook(session, tiny.DISTRICT)


def turn(matter: Matter, do: Turn) -> Any:
    """Do something to the clocks of a case as an action does: under its lock, with the colours copied."""
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(
            select(Case.id).where(Case.district_code == tiny.DISTRICT, Case.id == matter.id).with_for_update()
        )
        found = do(session)
        session.flush()
        deadlines.copy_nearest(session, tiny.DISTRICT, matter.id)
        return found


def clocks_of(session: Session, matter: Matter) -> deadlines.Running:
    return deadlines.running(session, tiny.DISTRICT, matter.id)


def started(matter: Matter, **known: Any) -> dict[str, Any]:
    """Start one more clock, `promise`, of five working days unless the test says otherwise; return its row."""
    filled = {"limit": "5wd", "unit": tiny.STREETS, "kind": "help", "urgency": "ordinary", "category": ""} | known
    clock = matter.book.clock("decide", start=matter.at, **filled)
    turn(matter, lambda s: clocks_of(s, matter).start([clock]))
    return promise(matter)


def promise(matter: Matter) -> dict[str, Any]:
    return next(c for c in reversed(matter.table("deadline")) if c["clock"] == "decide")


def hold(matter: Matter, at: datetime, **known: Any) -> int:
    names = known.pop("names", ["decide"])
    return int(turn(matter, lambda s: clocks_of(s, matter).hold(names, at=at, reason="survey", **known)))


def resume(matter: Matter, at: datetime) -> int:
    return int(turn(matter, lambda s: clocks_of(s, matter).resume(matter.book, ["decide"], at=at)))


def extend(matter: Matter, span: str, at: datetime, *, asked_at: datetime | None = None) -> datetime:
    def do(session: Session) -> datetime:
        asked = asked_at or at
        return clocks_of(session, matter).extend(matter.book, "decide", span, at=at, asked_at=asked, why={"by": "孙八"})

    found: datetime = turn(matter, do)
    return found


def stop(matter: Matter, at: datetime, *, void: bool = False) -> dict[str, Any]:
    turn(matter, lambda s: clocks_of(s, matter).stop(["decide"], at=at, void=void))
    return promise(matter)


def swept(book: Rulebook, at: datetime) -> None:
    while True:
        with transaction(program(tiny.DISTRICT)) as session:
            if not sweep(session, book, at=at):
                return


def announced(matter: Matter, clock: str = "decide") -> list[tuple[str, str, int]]:
    """Return the outbox messages of one clock: topic, rung and level, in order."""
    return [
        (o["topic"], o["payload"].get("rung", ""), o["payload"]["level"])
        for o in matter.table("outbox")
        if o["topic"].startswith("deadline.") and o["payload"]["clock"] == clock
    ]


def test_held_clock_announces_nothing_and_gets_back_what_it_stood(book: Rulebook) -> None:
    matter = Matter(book, at=MONDAY)
    before = started(matter)
    assert hold(matter, MONDAY + 2 * DAY) == 1
    assert hold(matter, MONDAY + 3 * DAY) == 0, "what stands goes on standing since it was held"
    swept(book, MONDAY + 30 * DAY)
    assert announced(matter) == []
    # Wednesday 09:00 to the Wednesday after: five working days more.
    assert resume(matter, MONDAY + 9 * DAY) == 1
    after = promise(matter)
    assert after["due_at"] - before["due_at"] == 7 * DAY
    assert (after["started_at"], after["held_at"], after["fired"]) == (MONDAY, None, 0)
    (pause,) = matter.table("pause")
    assert (pause["started_at"], pause["ended_at"]) == (MONDAY + 2 * DAY, MONDAY + 9 * DAY)
    (change,) = matter.table("deadline_change")
    assert (change["old_due_at"], change["new_due_at"]) == (before["due_at"], after["due_at"])
    assert change["why"]["paused"] == "survey"


def test_levels_announced_before_a_pause_are_not_announced_after_it(book: Rulebook) -> None:
    matter = Matter(book, at=MONDAY)
    row = started(matter, limit="13wh")
    swept(book, row["half_at"])
    hold(matter, row["half_at"] + HOUR)
    resume(matter, row["half_at"] + 20 * DAY)
    later = promise(matter)
    swept(book, later["half_at"] + timedelta(minutes=1))
    swept(book, later["near_at"])
    assert announced(matter) == [("deadline.warned", "", 1), ("deadline.warned", "", 2)]


def test_expiry_while_held_never_fires_and_a_clock_that_had_expired_goes_on_climbing(book: Rulebook) -> None:
    matter = Matter(book, at=MONDAY)
    row = started(matter, limit="4wh")
    swept(book, row["due_at"])
    assert announced(matter)[-1] == ("deadline.overdue", "unit_head", 3)
    hold(matter, row["due_at"] + timedelta(minutes=5))
    swept(book, row["due_at"] + 60 * DAY)
    assert len(announced(matter)) == 1
    assert (matter.row["due_at"], matter.row["warned"]) == (row["due_at"], 3), "it was over before it was held"
    again = row["due_at"] + 61 * DAY
    resume(matter, again)
    assert promise(matter)["due_at"] == row["due_at"]
    swept(book, again + 10 * DAY)
    assert announced(matter)[1:] == [("deadline.escalated", "centre", 3)]


def test_case_whose_clocks_all_stand_has_nothing_due(book: Rulebook) -> None:
    matter = Matter(book, at=MONDAY)
    stand = ["sign", "reply", "decide"]
    started(matter)
    assert hold(matter, MONDAY + HOUR, names=stand) == 3
    assert (matter.row["due_at"], matter.row["due_clock"], matter.row["warned"]) == (None, None, 0)


@pytest.mark.parametrize("order", list(permutations(["pause", "extend", "extend"])))
def test_pause_and_extensions_lead_to_the_same_day_in_any_order(book: Rulebook, order: tuple[str, ...]) -> None:
    matter = Matter(book, at=MONDAY)
    row = started(matter)
    # All of it happens on two days before the limit runs out; a pause of one working day.
    at = MONDAY + DAY
    for what in order:
        if what == "pause":
            hold(matter, MONDAY + DAY)
            resume(matter, MONDAY + 2 * DAY)
            at = MONDAY + 2 * DAY
        else:
            extend(matter, "2wd", at)
    after = promise(matter)
    assert after["extra"] == ["2wd", "2wd"]
    # Five, four and one working days since Monday: the Monday two weeks on.
    assert after["due_at"] == row["due_at"] + 7 * DAY
    assert len(matter.table("deadline_change")) == 3


def test_extension_granted_while_the_clock_stands_counts_and_arms_nothing(book: Rulebook) -> None:
    matter = Matter(book, at=MONDAY)
    row = started(matter)
    hold(matter, MONDAY + DAY)
    assert extend(matter, "2wd", MONDAY + 30 * DAY, asked_at=MONDAY + HOUR) > row["due_at"]
    assert promise(matter)["next_at"] is None
    swept(book, MONDAY + 31 * DAY)
    assert announced(matter) == []


def test_extension_begins_where_the_limit_ends_and_colours_begin_anew(book: Rulebook) -> None:
    matter = Matter(book, at=MONDAY)
    row = started(matter)
    swept(book, row["near_at"])
    asked = row["due_at"] - HOUR
    assert extend(matter, "5wd", asked) == row["due_at"] + 7 * DAY
    swept(book, promise(matter)["near_at"])
    assert [level for _, _, level in announced(matter)] == [2, 2], (
        "half of the longer limit was over when it was granted"
    )
    assert matter.table("deadline_change")[-1]["why"] == {"extended": "5wd", "by": "孙八"}


def test_extension_asked_after_the_limit_is_refused_and_changes_nothing(book: Rulebook) -> None:
    matter = Matter(book, at=MONDAY)
    row = started(matter)
    before = matter.everything()
    with pytest.raises(Conflict, match="had run out when"):
        extend(matter, "5wd", row["due_at"] + HOUR)
    with pytest.raises(Invalid, match="is no limit"):
        extend(matter, "soon", MONDAY + DAY)
    assert matter.everything() == before
    stop(matter, row["due_at"])
    with pytest.raises(Conflict, match="does not run"):
        extend(matter, "5wd", row["due_at"])


def test_extension_asked_in_time_and_granted_late_saves_the_limit(book: Rulebook) -> None:
    matter = Matter(book, at=MONDAY)
    row = started(matter)
    swept(book, row["due_at"])
    granted = row["due_at"] + HOUR
    due = extend(matter, "5wd", granted, asked_at=row["due_at"] - HOUR)
    now = promise(matter)
    assert (now["fired"], now["rung"]) == (1, 0), "half of the longer limit is over"
    assert stop(matter, due)["outcome"] == "met"


def test_extension_past_the_law_is_refused(book: Rulebook) -> None:
    matter = Matter(book, at=MONDAY)
    row = started(matter, limit="5wd", legal="10wd")
    assert row["legal_due_at"] == row["due_at"] + 7 * DAY
    assert extend(matter, "5wd", MONDAY + DAY) == row["legal_due_at"]
    before = matter.everything()
    with pytest.raises(Conflict, match="limit that the law sets"):
        extend(matter, "1wd", MONDAY + DAY)
    assert matter.everything() == before


def test_legal_limit_follows_pauses_and_not_extensions(book: Rulebook) -> None:
    matter = Matter(book, at=MONDAY)
    row = started(matter, limit="5wd", legal="10wd")
    extend(matter, "2wd", MONDAY + DAY)
    assert promise(matter)["legal_due_at"] == row["legal_due_at"]
    hold(matter, MONDAY + DAY)
    resume(matter, MONDAY + 2 * DAY)
    assert promise(matter)["legal_due_at"] == row["legal_due_at"] + DAY


def test_promise_that_is_the_law_keeps_no_second_limit(book: Rulebook) -> None:
    assert started(Matter(book, at=MONDAY), limit="10wd", legal="10wd")["legal_limit"] is None


@pytest.mark.parametrize(("held_after", "outcome"), [(-HOUR, "met"), (timedelta(0), "met"), (HOUR, "missed")])
def test_stopped_clock_that_stands_is_judged_by_when_it_was_held(
    book: Rulebook, held_after: timedelta, outcome: str
) -> None:
    matter = Matter(book, at=MONDAY)
    row = started(matter)
    hold(matter, row["due_at"] + held_after)
    end = row["due_at"] + 40 * DAY
    after = stop(matter, end)
    assert (after["outcome"], after["held_at"], after["next_at"]) == (outcome, None, None)
    assert [p["ended_at"] for p in matter.table("pause")] == [end]
    assert resume(matter, end + DAY) == 0


def test_void_ends_a_clock_whether_it_runs_or_stands(book: Rulebook) -> None:
    matter = Matter(book, at=MONDAY)
    started(matter)
    hold(matter, MONDAY + DAY)
    assert stop(matter, MONDAY + 90 * DAY, void=True)["outcome"] == "void"
    swept(book, MONDAY + 90 * DAY)
    assert announced(matter) == []


def test_only_the_clocks_of_one_share_are_touched(book: Rulebook) -> None:
    matter, mine, other = Matter(book, at=MONDAY), new_id(), new_id()
    for share in (mine, other):
        started(matter, assignment_id=share)
    assert hold(matter, MONDAY + DAY, assignment_id=mine) == 1
    held: dict[uuid.UUID, bool] = {
        c["assignment_id"]: c["held_at"] is not None for c in matter.table("deadline") if c["clock"] == "decide"
    }
    assert held == {mine: True, other: False}


def test_pause_ends_by_itself_on_its_last_day_and_tells_nobody_of_an_expiry(book: Rulebook) -> None:
    matter = Matter(book, at=MONDAY)
    asked: dict[str, Any] = roads.PAUSE
    matter.signed().take(roads.STREETS, "pause_ask", reason="等测绘", **asked).later(hours=1)
    matter.take(roads.OPERATOR, "pause_grant")
    standing, before = matter.clocks()["pause"], matter.clocks()["reply"]
    assert before["held_at"] == matter.at
    end = standing["due_at"] + timedelta(seconds=10)
    swept(book, end)
    swept(book, end)
    entries = matter.table("entry")
    assert [(e["action"], e["actor_name"]) for e in entries][-1] == ("resume", "tests")
    assert [e["action"] for e in entries].count("resume") == 1
    assert "overdue" not in [e["action"] for e in entries]
    assert matter.state == "signed"
    assert matter.clocks()["reply"]["due_at"] > before["due_at"]
    assert verify(tiny.DISTRICT, matter.id, entries, head=matter.row["head_hash"]) is None


def test_server_whose_clock_was_turned_back_writes_nothing_into_the_log(book: Rulebook) -> None:
    matter = Matter(book, at=MONDAY)
    before = matter.everything()
    past = MONDAY - timedelta(microseconds=1)
    line = Line("note", program(tiny.DISTRICT), past, past, "signed", "signed", {})
    for write in (
        lambda s: journal.next_entry(s.get(Case, (tiny.DISTRICT, matter.id)), line, last=MONDAY),
        lambda s: journal.append_many(s, tiny.DISTRICT, [(matter.id, line)], at=past),
    ):
        with pytest.raises(Conflict, match="runs behind the log"), transaction(program(tiny.DISTRICT)) as session:
            write(session)
    assert matter.everything() == before


def test_sweep_leaves_a_case_whose_log_is_ahead_until_the_clock_has_come_up(book: Rulebook) -> None:
    early, ahead = Matter(book, at=MONDAY), Matter(book, at=MONDAY)
    due = started(early, limit="4wh")["due_at"]
    started(ahead, limit="4wh")
    future = due + 2 * HOUR
    turn(
        ahead,
        lambda s: journal.append_many(
            s, tiny.DISTRICT, [(ahead.id, Line("note", program(), future, future, None, "dispatched", {}))], at=future
        ),
    )
    swept(book, due)
    assert (announced(early)[-1][2], announced(ahead)) == (3, [])
    swept(book, future)
    assert announced(ahead)[-1][2] == 3


def test_many_lines_are_chained_like_single_ones(book: Rulebook) -> None:
    matters = [Matter(book, at=MONDAY) for _ in range(3)]
    at = MONDAY + HOUR
    line = Line("note", program(tiny.DISTRICT), at, at, "dispatched", "dispatched", {"note": "一", "who": None})
    with transaction(program(tiny.DISTRICT)) as session:
        held = session.get(Case, (tiny.DISTRICT, matters[0].id))
        assert held is not None
        entries = held.entries
        both = [(m.id, line) for m in matters for _ in range(2)]
        assert journal.append_many(session, tiny.DISTRICT, both, at=at) == 6
        assert held.entries == entries + 2, "an object in the session sees the new head"
        session.execute(insert(Entry), [journal.next_entry(held, line, last=at)])
    for matter in matters:
        assert verify(tiny.DISTRICT, matter.id, matter.table("entry"), head=matter.row["head_hash"]) is None


def test_unit_cannot_reach_the_clock_that_measures_it(book: Rulebook) -> None:
    """The row policy shows a unit its clocks; another unit's are not even there to hold."""
    matter = Matter(book, at=MONDAY)
    started(matter)
    with transaction(roads.WATER) as session:
        assert clocks_of(session, matter).hold(["decide"], at=MONDAY, reason="survey") == 0
    with snapshot(roads.WATER) as session:
        assert rows(session, "SELECT 1 FROM deadline WHERE district_code = :d AND case_id = :c", **matter.key) == []

"""Patrols in the database: runs, tracks, what was passed, who looked; privacy and the own town."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pytest
import shapely
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.datums import Plane, to_db
from core.errors import Forbidden, Invalid, NotFound
from core.ids import new_id
from grid import patrol_looks, patrols
from grid.lines import GroundLine
from grid.patrols import Rules
from grid.tracks import MOCK, Track
from tests import tiny
from tests.builders import NOW, actor, program

pytestmark = pytest.mark.database

CELL, NEXT, EAST_CELL = f"{tiny.WEST}001001", f"{tiny.WEST}001002", f"{tiny.EAST}001001"
PLANE = Plane.at(tiny.LNG, tiny.LAT)
WORKER = actor(Role.GRID_WORKER, district=tiny.DISTRICT, town=tiny.WEST, name="陈巡")
OTHER = actor(Role.GRID_WORKER, district=tiny.DISTRICT, town=tiny.WEST, name="李巡")
CHIEF = actor(Role.SUPERVISOR, district=tiny.DISTRICT, name="督查甲")
RULES = Rules()
As = Callable[[Actor], Session]


@pytest.fixture(autouse=True)
def _ground(district: tiny.Tiny) -> None:
    """Every test stands on the tiny district."""


def street(session: Session, key: str, metres: list[tuple[float, float]], name: str = "滨湖路") -> None:
    """Write a road given in metres from the district's corner."""
    line = shapely.linestrings(PLANE.to_degrees(np.array(metres, float)))
    kept = {"key": f"road/{key}", "kind": "road", "name": name, "rank": "residential", "source_datum": "WGS84"}
    session.execute(insert(GroundLine).values(district_code=tiny.DISTRICT, geom=to_db(line), **kept))
    # The spots are kept in the process by revision; each test has its own ground.
    patrols.forget()


def walk(begin: datetime, *, length: int = 120, y: float = 100.0, x: float = 20.0, mock: bool = False) -> Track:
    """Return a walk eastwards of 6 m in 5 s."""
    metres = np.column_stack((x + np.arange(length) * 6.0, np.full(length, y)))
    at_s = (begin.timestamp() + np.arange(length) * 5.0).astype(np.float64)
    return Track(PLANE.to_degrees(metres), np.full(length, 8.0), at_s, np.full(length, mock))


def begun(session: Session, at: datetime = NOW, cell: str = CELL) -> uuid.UUID:
    run = new_id()
    assert patrols.start(session, run, cell=cell, happened_at=at, at=at)
    return run


def test_a_walk_along_a_street_covers_it_and_says_when_the_cell_was_patrolled(as_actor: As) -> None:
    street(as_actor(program(tiny.DISTRICT)), "1", [(0, 105), (1000, 105)])
    session = as_actor(WORKER)
    run = begun(session)
    later = NOW + timedelta(minutes=12)
    added = patrols.add(session, run, new_id(), walk(NOW), rules=RULES, at=later)
    assert (added.taken, added.dropped, added.remarks) == (120, 0, [])
    session = as_actor(actor(Role.OFFICIAL, district=tiny.DISTRICT))
    found = patrols.coverage(session, [CELL, NEXT], since=NOW - timedelta(days=7))
    assert found[CELL].by == "street"
    assert 0.65 < found[CELL].share < 0.85
    assert found[NEXT].share == 0
    assert NEXT not in (seen := patrols.last(session, [CELL, NEXT]))
    assert abs((seen[CELL] - NOW).total_seconds() - 595) < 1


def test_the_same_piece_again_changes_nothing_and_two_walks_add_up(as_actor: As) -> None:
    street(as_actor(program(tiny.DISTRICT)), "1", [(0, 105), (1000, 105)])
    session = as_actor(WORKER)
    run, key, later = begun(session), new_id(), NOW + timedelta(hours=1)
    half = walk(NOW, length=60)
    patrols.add(session, run, key, half, rules=RULES, at=later)
    patrols.add(session, run, key, half, rules=RULES, at=later)
    one = patrols.coverage(session, [CELL], since=NOW)[CELL].share
    assert session.scalar(text("SELECT points FROM patrol_run WHERE id = :id"), {"id": run}) == 60
    second = walk(NOW + timedelta(minutes=10), length=60, x=380)
    patrols.add(session, run, new_id(), second, rules=RULES, at=later)
    both = patrols.coverage(session, [CELL], since=NOW)[CELL].share
    assert 1.8 * one < both < 2.2 * one


def test_positions_outside_the_run_are_not_kept(as_actor: As) -> None:
    session = as_actor(WORKER)
    run = begun(session)
    early = walk(NOW - timedelta(minutes=30), length=10)
    added = patrols.add(session, run, new_id(), early, rules=RULES, at=NOW)
    assert (added.taken, added.dropped) == (0, 10)
    patrols.stop(session, run, happened_at=NOW + timedelta(minutes=5))
    late = walk(NOW + timedelta(minutes=30), length=10)
    added = patrols.add(session, run, new_id(), late, rules=RULES, at=NOW + timedelta(hours=1))
    assert (added.taken, added.dropped) == (0, 10)
    assert session.scalar(text("SELECT count(*) FROM patrol_piece WHERE run_id = :id"), {"id": run}) == 0
    with pytest.raises(NotFound):
        patrols.add(session, new_id(), new_id(), early, rules=RULES, at=NOW)


def test_a_run_is_its_workers_own_and_its_cell_in_the_own_town(as_actor: As) -> None:
    session = as_actor(WORKER)
    run = begun(session)
    with pytest.raises(Invalid):
        patrols.start(session, new_id(), cell=EAST_CELL, happened_at=NOW, at=NOW)
    session = as_actor(OTHER)
    for refused in (
        lambda: patrols.start(session, run, cell=CELL, happened_at=NOW, at=NOW),
        lambda: patrols.stop(session, run, happened_at=NOW),
        lambda: patrols.add(session, run, new_id(), walk(NOW), rules=RULES, at=NOW),
    ):
        with pytest.raises(NotFound):
            refused()
    with pytest.raises(Forbidden):
        patrols.start(as_actor(CHIEF), new_id(), cell="", happened_at=NOW, at=NOW)


def test_a_walk_into_another_town_counts_nothing_there(as_actor: As) -> None:
    session = as_actor(WORKER)
    run = begun(session, cell="")
    far = walk(NOW, x=2100.0)
    patrols.add(session, run, new_id(), far, rules=RULES, at=NOW + timedelta(hours=1))
    assert patrols.last(session, [EAST_CELL]) == {}


def test_an_oddity_is_a_note_for_the_supervisor_in_neutral_words_and_the_positions_are_kept(as_actor: As) -> None:
    session = as_actor(WORKER)
    run = begun(session)
    added = patrols.add(session, run, new_id(), walk(NOW, mock=True), rules=RULES, at=NOW + timedelta(hours=1))
    assert added.taken == 120
    span = {"since": NOW, "until": NOW + timedelta(hours=2)}
    for seer in (WORKER, CHIEF):
        [said] = patrol_looks.remarks_of(as_actor(seer), **span)
        assert (said.message, said.name, said.run) == (MOCK, "陈巡", run)
    assert patrol_looks.remarks_of(as_actor(OTHER), **span) == []


def test_who_looks_at_a_track_says_why_and_the_worker_sees_it(as_actor: As) -> None:
    session = as_actor(WORKER)
    run = begun(session)
    patrols.add(session, run, new_id(), walk(NOW), rules=RULES, at=NOW + timedelta(hours=1))
    [own] = patrol_looks.own_walks(session, NOW.date())
    assert own.pieces
    session = as_actor(CHIEF)
    with pytest.raises(Invalid):
        patrol_looks.look(session, run, reason=" ", at=NOW)
    seen = patrol_looks.look(session, run, reason="核对巡查里程的申诉", at=NOW)
    assert seen.pieces == own.pieces
    [line] = patrol_looks.looks_at(as_actor(WORKER), WORKER.id or new_id())
    assert (line.name, line.reason) == ("督查甲", "核对巡查里程的申诉")
    for refused in (WORKER, OTHER, actor(Role.OPERATOR, district=tiny.DISTRICT)):
        with pytest.raises(Forbidden):
            patrol_looks.look(as_actor(refused), run, reason="好奇", at=NOW)
    assert patrol_looks.own_walks(as_actor(OTHER), NOW.date()) == []
    for other in (OTHER, actor(Role.OPERATOR, district=tiny.DISTRICT), actor(Role.OFFICIAL, district=tiny.DISTRICT)):
        rows = as_actor(other).scalar(text("SELECT count(*) FROM patrol_piece WHERE run_id = :id"), {"id": run})
        assert rows == 0, "the policy hides tracks from everybody else"


def test_the_line_of_a_look_cannot_be_taken_back(as_actor: As) -> None:
    run = begun(as_actor(WORKER))
    session = as_actor(CHIEF)
    patrol_looks.look(session, run, reason="例行抽查", at=NOW)
    with pytest.raises(DBAPIError), session.begin_nested():
        session.execute(text("DELETE FROM patrol_look WHERE run_id = :id"), {"id": run})


def test_tracks_are_erased_after_the_districts_retention_and_the_counts_stay(as_actor: As) -> None:
    street(as_actor(program(tiny.DISTRICT)), "1", [(0, 105), (1000, 105)])
    session = as_actor(WORKER)
    run = begun(session)
    patrols.add(session, run, new_id(), walk(NOW), rules=RULES, at=NOW + timedelta(hours=1))
    where = walk(NOW, length=1)
    assert patrols.check_in(session, new_id(), run, where, what="place", words="", rules=RULES, at=NOW) == CELL
    later = NOW + timedelta(days=31)
    session = as_actor(program(tiny.DISTRICT))
    assert patrol_looks.erase(session, rules=RULES, at=NOW + timedelta(days=20)) == 0
    assert patrol_looks.erase(session, rules=RULES, at=later) == 1
    left = session.execute(text("SELECT lng, lat FROM patrol_checkin WHERE run_id = :id"), {"id": run}).one()
    assert tuple(left) == (None, None)
    session = as_actor(WORKER)
    [own] = patrol_looks.own_walks(session, NOW.date())
    assert own.pieces == []
    assert own.stopped_at == NOW + timedelta(hours=16), "nobody stopped it: it ended by itself"
    assert patrols.coverage(session, [CELL], since=NOW)[CELL].share > 0.5


def test_a_check_in_counts_as_having_been_there_and_needs_a_run(as_actor: As) -> None:
    session = as_actor(WORKER)
    run, where = begun(session), walk(NOW + timedelta(minutes=1), length=1)
    assert patrols.check_in(session, new_id(), run, where, what="cell", words="", rules=RULES, at=NOW) == CELL
    assert CELL in patrols.last(session, [CELL])
    outside = walk(NOW - timedelta(hours=1), length=1)
    with pytest.raises(Invalid):
        patrols.check_in(session, new_id(), run, outside, what="cell", words="", rules=RULES, at=NOW)


def test_the_plan_puts_first_what_waits_longest_and_names_streets_not_passed(as_actor: As) -> None:
    owner = as_actor(program(tiny.DISTRICT))
    street(owner, "1", [(0, 105), (1000, 105)])
    street(owner, "2", [(0, 700), (1000, 700)], name="柳巷")
    session = as_actor(WORKER)
    run = begun(session)
    patrols.add(session, run, new_id(), walk(NOW), rules=RULES, at=NOW + timedelta(hours=1))
    made = patrols.plan(session, [CELL, NEXT], at=NOW + timedelta(hours=2), rules=RULES)
    assert [one.covered.cell for one in made] == [NEXT, CELL]
    names = {name: metres for name, metres, _ in made[1].missing}
    assert names["柳巷"] > 900
    assert names["滨湖路"] < 400
    assert made[1].due_on > made[0].due_on


def test_settings_that_are_no_numbers_are_refused() -> None:
    assert Rules.of({"patrol": {"track_days": 7}}).track_days == 7
    for wrong in ({"track_days": 0}, {"near_m": "far"}, {"every_days": True}):
        with pytest.raises(Invalid):
            Rules.of({"patrol": wrong})

"""The demo's roads in the tiny district: everything is played through the core, once, and the log holds."""

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest
from rich.console import Console

from api import wiring
from api.playing import matters, script
from api.playing.script import Plan
from api.playing.stage import Played, Stage
from core.db import rows, snapshot, transaction
from dispatch import audit, windows
from dispatch.items import catalogue
from dispatch.items import lists as three
from dispatch.items.reading import default_files, read_yaml
from dispatch.items.roles import Units
from dispatch.sweep import sweep
from tests import tiny
from tests.builders import program

pytestmark = pytest.mark.database
#: Sunday 22 November 2026, 11:00 in China: nobody is in the office.
NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
SEED = 7
#: Matters of three kinds that the first run dies at.
KILLED = (1, 110, 165)


class Killed(Stage):
    """Dies after a matter was opened and before it was led anywhere."""

    def lead(self, cases: Sequence[uuid.UUID], plan: Plan) -> None:
        """Die."""
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def played(district: tiny.Tiny) -> Iterator[Played]:
    """Play in a district that has the shipped items and windows: a part, as if it was interrupted, then all."""
    wiring.forget()
    book = wiring.rulebook(tiny.DISTRICT)
    with transaction(program(tiny.DISTRICT)) as session:
        units = Units(book.units)
        catalogue.load(session, read_yaml(default_files()), units=units, at=NOW, skip_bad=True)
        three.load(session, three.read_lists(three.DEFAULT))
        windows.invent_once(session, book)
    half = matters.Matters(wiring.intake(tiny.DISTRICT), at=NOW, seed=SEED)
    for one in half.every()[::4]:
        one.play()
    half.stage = Killed(half.book, at=NOW, seed=SEED)
    for index in KILLED:
        with pytest.raises(KeyboardInterrupt):
            half.every()[index].play()
    yield play()
    wiring.forget()


def play() -> Played:
    return matters.play(wiring.intake(tiny.DISTRICT), at=NOW, console=Console(quiet=True), seed=SEED)


def found(sql: str) -> list[dict[str, object]]:
    with snapshot(program(tiny.DISTRICT)) as session:
        return [dict(row) for row in rows(session, sql, d=tiny.DISTRICT)]


def test_every_road_is_played_to_its_end_although_the_first_run_was_interrupted(played: Played) -> None:
    assert dict(played.refused) == {}
    assert 0 < played.known < played.matters.total() / 2
    counts = {name: sum(road.times * road.callers for road in script.read(name).roads) for name in script.FILES}
    assert played.matters == counts


def test_every_action_of_every_road_stands_in_the_log(played: Played) -> None:
    logged = {
        (row["process"], row["action"])
        for row in found(
            "SELECT DISTINCT process, action FROM entry JOIN cases ON cases.district_code = entry.district_code"
            " AND cases.id = entry.case_id WHERE entry.district_code = :d AND cases.district_code = :d"
        )
    }
    named = {
        (table, step.action)
        for name, table in script.FILES.items()
        for road in script.read(name).roads
        for step in road.steps
    }
    assert named - logged == set()


def test_every_kind_of_matter_stands_in_many_states(played: Played) -> None:
    states = {
        (row["process"], row["state"])
        for row in found("SELECT DISTINCT process, state FROM cases WHERE district_code = :d")
    }
    wanted = {
        "complaint": "received dispatched signed paused parked disputed merged replied closed refused handed_over withdrawn",
        "patrol": "in_cell in_town in_district signed settled closed voided",
        "service_item": "submitted pre_reviewed correcting accepted reviewing handed_up denial_review granted delivered "
        "refused_acceptance lapsed withdrawn",
        "information": "submitted correcting handling paused replied filed",
    }
    assert {(name, state) for name, line in wanted.items() for state in line.split()} - states == set()


def test_what_was_settled_is_shown_before_and_after_in_drawings(played: Played) -> None:
    shown = found(
        "SELECT c.process, count(*) AS n FROM attachment a JOIN cases c ON c.district_code = a.district_code"
        " AND c.id = a.case_id WHERE a.district_code = :d AND c.district_code = :d AND a.purpose = 'after'"
        " GROUP BY c.process"
    )
    assert {row["process"] for row in shown} == {"complaint", "patrol"}
    unpaired = found(
        "SELECT count(*) AS n FROM attachment a WHERE a.district_code = :d AND a.purpose = 'after' AND NOT EXISTS"
        " (SELECT FROM attachment b WHERE b.district_code = a.district_code AND b.case_id = a.case_id"
        "  AND b.purpose = 'before')"
    )
    assert unpaired[0]["n"] == 0


def test_an_agent_a_fee_and_a_waiver_are_among_what_is_played(played: Played) -> None:
    assert found("SELECT count(*) AS n FROM application WHERE district_code = :d AND agent_name_sealed IS NOT NULL")[0][
        "n"
    ]
    assert found("SELECT count(*) AS n FROM fee WHERE district_code = :d AND waived_percent > 0")[0]["n"]


def test_late_records_are_there_for_the_honesty_board_and_nobody_invented_is_unlabelled(played: Played) -> None:
    assert found("SELECT count(*) AS n FROM entry WHERE district_code = :d AND late")[0]["n"]
    texts = found("SELECT text FROM cases WHERE district_code = :d AND process <> 'service_item'")
    assert texts
    assert [row["text"] for row in texts if "（演示）" not in str(row["text"])] == []


def test_playing_again_changes_nothing(played: Played) -> None:
    sql = "SELECT count(*) AS n, max(recorded_at) AS last FROM entry WHERE district_code = :d"
    booked = "SELECT count(*) AS n FROM appointment WHERE district_code = :d"
    before = found(sql), found(booked)
    again = play()
    assert (found(sql), found(booked)) == before
    assert again.matters == played.matters
    assert again.steps == 0


def test_the_log_of_what_was_played_holds_and_the_sweep_goes_on_from_there(played: Played) -> None:
    book = wiring.rulebook(tiny.DISTRICT)
    with transaction(program(tiny.DISTRICT)) as session:
        assert sweep(session, book, at=NOW, limit=5000)
    findings = audit.prove(audit.Asked(tiny.DISTRICT), at=NOW)
    assert findings.faults == 0
    assert findings.entries

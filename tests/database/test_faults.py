"""Whoever dies, whenever: what was acknowledged stands in the log once, and nothing else of the case is torn.

A small run each time; WANGGE_STRESS=1 (`make stress`) does the whole of it: 10,000 actions by 16 workers on 300 cases.
"""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from core.db import engine, snapshot
from core.errors import Conflict, WanggeError
from core.settings import ROOT
from dispatch.journal import CLOCK_BEHIND
from dispatch.rulebook import Rulebook
from tests import walks

pytestmark = pytest.mark.database


def test_nothing_acknowledged_is_lost_whoever_is_killed(database: str) -> None:
    """`tests/faults.py` kills; a process of its own, because it forks."""
    if os.environ.get("WANGGE_STRESS") == "1":
        asked = ["--actions", "10000", "--workers", "16", "--cases", "300", "--longest", "3600"]
    else:
        asked = ["--actions", "600", "--workers", "6", "--cases", "40", "--longest", "600", "--seed", "20261122"]
    argv = [sys.executable, "-P", "-m", "tests.faults", *asked]
    done = subprocess.run(
        argv, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    # Connections of this process were among those that were cut.
    for pool in (engine(), engine(replica=True)):
        pool.dispose()
    walks.put_away()
    print(done.stdout)  # noqa: T201  the run's figures
    assert done.stdout, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["killed"], "nobody was killed"


_AT = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
_DESK = walks.person(walks.Role.OPERATOR, "坐席甲")


@pytest.fixture
def book(database: str) -> Rulebook:
    return walks.make_district()


def _at_once(book: Rulebook, pressed: list[tuple[walks.Press, int]]) -> list[str]:
    """Let several people press at the same moment; return what came of each: done, or the kind of refusal."""
    gate = threading.Barrier(len(pressed))

    def go(one: tuple[walks.Press, int]) -> str:
        gate.wait()
        try:
            walks.take(book, one[0], version=one[1], at=_AT)
        except WanggeError as refused:
            return type(refused).__name__
        return "done"

    with ThreadPoolExecutor(len(pressed)) as pool:
        return sorted(pool.map(go, pressed))


def _whole(book: Rulebook, *opened: walks.Opened) -> list[walks.Facts]:
    with snapshot(walks.PROGRAM) as session:
        found = walks.look(session, [one.case_id for one in opened])
    walks.put_away()
    assert [p for facts in found.values() for p in walks.problems(facts, book)] == []
    assert walks.bundle_problems(found) == []
    return list(found.values())


def test_two_cases_merged_into_each_other_at_once_are_one_merge(book: Rulebook) -> None:
    for _ in range(5):
        one, other = (walks.open_case(book, at=_AT, category=None) for _ in range(2))
        came = _at_once(
            book,
            [
                (walks.Press(a.case_id, "merge", _DESK, {"main": b.number, "reason": "同一件事"}, sound=True), 1)
                for a, b in ((one, other), (other, one))
            ],
        )
        assert came == ["Conflict", "done"]
        assert sorted(facts.case["state"] for facts in _whole(book, one, other)) == ["merged", "received"]


def test_main_case_merged_away_while_another_joins_it_leaves_no_chain(book: Rulebook) -> None:
    for _ in range(5):
        low, main, high = (walks.open_case(book, at=_AT, category=None) for _ in range(3))
        came = _at_once(
            book,
            [
                (walks.Press(a.case_id, "merge", _DESK, {"main": b.number, "reason": "同一件事"}, sound=True), 1)
                for a, b in ((low, main), (main, high))
            ],
        )
        assert "done" in came
        assert sum(facts.case["state"] == "merged" for facts in _whole(book, low, main, high)) == 1


def test_double_press_is_one_action(book: Rulebook) -> None:
    case = walks.open_case(book, at=_AT, category="10")
    sign = walks.Press(case.case_id, "sign", walks.OF_UNIT[walks.STREETS], {}, sound=True)
    assert _at_once(book, [(sign, 1)] * 4) == ["Conflict"] * 3 + ["done"]
    (facts,) = _whole(book, case)
    assert [entry["action"] for entry in facts.entries] == ["receive", "dispatch", "sign"]


def test_server_whose_clock_was_turned_back_writes_nothing(book: Rulebook) -> None:
    case = walks.open_case(book, at=_AT, category="10")
    sign = walks.Press(case.case_id, "sign", walks.OF_UNIT[walks.STREETS], {}, sound=True)
    with pytest.raises(Conflict) as refused:
        walks.take(book, sign, version=1, at=datetime(2026, 11, 23, 1, 59, 59, tzinfo=UTC))
    assert refused.value.message == CLOCK_BEHIND
    (facts,) = _whole(book, case)
    assert (facts.case["version"], facts.case["state"], len(facts.entries)) == (1, "dispatched", 2)

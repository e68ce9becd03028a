"""A model of the case core: people press what they may and what they may not, time passes, and nothing gets lost.

WANGGE_STRESS=1 walks longer, and elsewhere every time; WANGGE_SEED=<number> walks there again.
"""

import os
import random
import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from core.actor import Actor
from core.db import snapshot, transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound, WanggeError
from dispatch.recompute import recompute
from dispatch.rulebook import Rulebook
from dispatch.sweep import sweep
from tests import walks
from tests.walks import Facts, Press

pytestmark = pytest.mark.database

#: The week before the National Day holiday and its make-up days, and one that leads into a year without notice.
_BEGINNINGS = (datetime(2026, 9, 24, 1, 30, tzinfo=UTC), datetime(2026, 12, 23, 7, 0, tzinfo=UTC))
#: Weeks that a newer notice may give off.
_HOLIDAYS = tuple(
    frozenset(first + timedelta(days=n) for n in range(3))
    for first in (date(2026, 10, 12), date(2026, 10, 21), date(2026, 12, 28), date(2027, 1, 5))
)
_REFUSALS = (Conflict, Forbidden, Invalid, NotFound)
_MOST_CASES = 4


class Walk(RuleBasedStateMachine):
    """A few cases of one district, and the people and programs that work on them."""

    book: Rulebook

    @initialize(begin=st.sampled_from(_BEGINNINGS), category=st.sampled_from((None, *walks.CATEGORIES)))
    def begin(self, begin: datetime, category: str | None) -> None:
        self.now = begin
        self.here = self.book
        self.facts: dict[Any, Facts] = {}
        self.numbers: list[str] = []
        self.open_one(category, "complaint")

    @precondition(lambda self: len(self.facts) < _MOST_CASES)
    @rule(
        category=st.sampled_from((None, *walks.CATEGORIES)),
        kind=st.sampled_from(("complaint", "enquiry", "praise")),
    )
    def open_one(self, category: str | None, kind: str) -> None:
        made = walks.open_case(self.here, at=self.now, category=category, kind=kind)
        self.numbers.append(made.number)
        self.look(new=made.case_id)

    @rule(data=st.data(), wait=st.integers(0, 40))
    def press(self, data: st.DataObject, wait: int) -> None:
        """Somebody presses something; what is not offered is refused, and what is refused changes nothing."""
        self.now += timedelta(minutes=wait)
        one = self.choose(data)
        before = self.facts[one.case]
        buttons = self.buttons(one.case, one.actor)
        try:
            done = walks.take(self.here, one, version=before.case["version"], at=self.now)
        except _REFUSALS as refusal:
            self.unchanged(refusal)
            return
        assert one.action in buttons, f"{one.actor.name} could {one.action} although it was not offered"
        assert done.version == before.case["version"] + 1
        self.look(one)
        assert (done.state, done.seq) == (self.facts[one.case].case["state"], self.facts[one.case].case["entries"])

    @rule(data=st.data(), behind=st.sampled_from((-1, 1)))
    def press_on_an_old_page(self, data: st.DataObject, behind: int) -> None:
        one = self.choose(data)
        with pytest.raises((Conflict, NotFound)) as refused:
            walks.take(self.here, one, version=self.facts[one.case].case["version"] + behind, at=self.now)
        self.unchanged(refused.value)

    @rule(data=st.data())
    def press_while_the_clock_of_the_server_is_behind(self, data: st.DataObject) -> None:
        one = self.choose(data)
        facts = self.facts[one.case]
        before = facts.entries[-1]["recorded_at"] - timedelta(seconds=1)
        with pytest.raises(_REFUSALS) as refused:
            walks.take(self.here, one, version=facts.case["version"], at=before)
        self.unchanged(refused.value)

    @rule(hours=st.sampled_from((1, 3, 8, 20, 24, 49, 75, 170, 260)))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)
        self.sweep()

    @rule(limit=st.sampled_from((1, 500)))
    def sweep(self, limit: int = 500) -> None:
        while True:
            with transaction(walks.PROGRAM) as session:
                done = sweep(session, self.here, at=self.now, limit=limit)
            if not done:
                break
            self.look()

    @rule(holiday=st.sampled_from((None, *_HOLIDAYS)))
    def a_notice_is_published(self, holiday: frozenset[date] | None) -> None:
        self.here = walks.with_holiday(self.book, holiday) if holiday else self.book
        cursor, left = None, True
        while left:
            with transaction(walks.PROGRAM) as session:
                part = recompute(session, self.here, at=self.now, after=cursor, limit=3)
            cursor, left = part.cursor, part.cursor is not None
        self.look()

    def teardown(self) -> None:
        walks.put_away()

    def choose(self, data: st.DataObject) -> Press:
        facts = list(self.facts.values())[data.draw(st.integers(0, len(self.facts) - 1))]
        process = self.here.process(facts.case["process"], facts.case["process_version"])

        def pick(choices: Sequence[Any]) -> Any:
            return data.draw(st.sampled_from(choices))

        def buttons(actor: Actor) -> Sequence[str]:
            return self.buttons(facts.case["id"], actor)

        return walks.press(process, facts, pick, numbers=self.numbers, buttons=buttons)

    def buttons(self, case: uuid.UUID, actor: Actor) -> Sequence[str]:
        with snapshot(actor) as session:
            return walks.buttons(session, self.here, case, at=self.now)

    def look(self, one: Press | None = None, *, new: Any = None) -> None:
        """Read everything and hold it against what must be so, and against what it was before the step."""
        before, ids = self.facts, [*self.facts, *([new] if new else [])]
        with snapshot(walks.PROGRAM) as session:
            self.facts = walks.look(session, ids)
        wrong = walks.bundle_problems(self.facts)
        for key, facts in self.facts.items():
            wrong += walks.problems(facts, self.here)
            if key in before:
                # What the program does on merged cases is no act of whoever moved the main case.
                wrong += walks.drifted(before[key], facts, one if one and one.case == key else None)
        assert not wrong, "\n".join([str(one) if one else "the program", *wrong])

    def unchanged(self, refusal: WanggeError) -> None:
        assert str(refusal), "a refusal says why"
        with snapshot(walks.PROGRAM) as session:
            assert walks.look(session, list(self.facts)) == self.facts, "a refused action left something behind"


def test_no_walk_loses_an_entry_a_clock_or_an_owner(database: str) -> None:
    """1 of the issue's last sentence; what has to hold stands in tests/walks.py."""
    stress = os.environ.get("WANGGE_STRESS") == "1"
    # Without a number of its own a run walks where the last one did.
    number = int(os.environ.get("WANGGE_SEED") or (random.SystemRandom().randrange(10**9) if stress else 20261122))
    print(f"WANGGE_SEED={number}")  # noqa: T201  to walk there again
    walk = type("TestedWalk", (Walk,), {"book": walks.make_district()})
    run_state_machine_as_test(
        seed(number)(walk),
        settings=settings(
            max_examples=500 if stress else 25,
            stateful_step_count=60 if stress else 30,
            deadline=None,
            database=None,
            print_blob=True,
            report_multiple_bugs=False,
            phases=[Phase.generate] + [Phase.shrink] * (os.environ.get("WANGGE_SHRINK") != "0"),
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_order_issued_again_waits_for_the_unit_that_has_the_case_now(database: str) -> None:
    """Found by a walk: answered, then moved; issued again, the order waited for the unit before."""
    book = walks.make_district()
    opened = walks.open_case(book, at=_BEGINNINGS[0], category="10")
    steps = (
        ("督查员", "supervise", {"demand": "三日内答复"}),
        (f"经办{walks.STREETS}", "supervise_reply", {"supervise_answer": "已去现场"}),
        ("坐席甲", "redispatch", {"unit": walks.WATER, "reason": "供水管道"}),
        ("督查员", "supervise_again", {"reason": "不具体"}),
    )
    for version, (name, action, fields) in enumerate(steps, start=1):
        actor = next(one for one in walks.PEOPLE if one.name == name)
        walks.take(book, Press(opened.case_id, action, actor, fields, sound=True), version=version, at=_BEGINNINGS[0])
    with snapshot(walks.PROGRAM) as session:
        facts = walks.look(session, [opened.case_id])[opened.case_id]
    walks.put_away()
    assert walks.problems(facts, book) == []
    assert facts.orders[0]["unit_code"] == walks.WATER

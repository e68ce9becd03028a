"""Roads of the demo as data: their steps are those of the process tables, their texts are labelled, they end before now."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from api.playing import script
from api.playing.script import Road, Step
from core.actor import Role
from dispatch.calendar import china_time, national_calendar
from dispatch.fields import FIELDS
from dispatch.process import Process, process
from dispatch.worktime import WorkTime

pytestmark = pytest.mark.unit

ROLES = {
    "unit": Role.UNIT,
    "share": Role.UNIT,
    "shares": Role.UNIT,
    "operator": Role.OPERATOR,
    "window": Role.OPERATOR,
    "supervisor": Role.SUPERVISOR,
    "grid": Role.GRID_WORKER,
    "citizen": Role.CITIZEN,
    "program": Role.SYSTEM,
}
#: A Sunday at night, the middle of a long holiday, a Monday before the office opens, a make-up working Saturday.
MOMENTS = [
    datetime(2026, 11, 22, 15, 30, tzinfo=UTC),
    datetime(2026, 10, 4, 3, 0, tzinfo=UTC),
    datetime(2026, 11, 22, 23, 50, tzinfo=UTC),
    datetime(2026, 10, 10, 2, 0, tzinfo=UTC),
]


def steps() -> Iterator[tuple[Process, Road, Step]]:
    for file, name in script.FILES.items():
        for road in script.read(file).roads:
            for step in road.steps:
                yield process(name), road, step


def test_every_step_of_a_road_is_a_step_of_the_process_table_for_that_role() -> None:
    for table, road, step in steps():
        known = [one for one in table.steps if one.action == step.action and ROLES[step.who] in one.roles]
        assert known, f"{table.name}, {road.name}: {step.who} {step.action}"


def test_every_road_of_the_tables_that_people_go_is_played() -> None:
    played = {(table.name, step.action) for table, _, step in steps()}
    named = {action for _, action in played}
    wanted = """return dispute arbitrate extend_ask extend_grant plea_refuse pause_ask pause_grant resume park_ask park_grant
    park_on take_up supervise supervise_reply supervise_again supervise_close rework merge unmerge withdraw reopen refuse
    hand_over add_unit share_sign share_reply redispatch rise check settle overrun verify void notice supply lapse accept
    accept_gaps done_at_once pre_review survey_call survey_record hand_in grant deny propose_denial denial_agree hand_up
    deliver refuse_acceptance register file reply_at_once rate accept_deemed record_fee hand_back"""
    assert set(wanted.split()) <= named


def test_what_invented_people_say_is_labelled_as_invented() -> None:
    for file in script.FILES:
        for line in [line for lines in script.read(file).words.values() for line in lines]:
            assert "演示" in line, line
    for _, road, step in steps():
        given = step.give if isinstance(step.give, dict) else {}
        for name, value in given.items():
            said = FIELDS[name].kind == "long" and not str(value).startswith("$")
            assert not said or "演示" in value, f"{road.name}, {step.action}: {value}"


@pytest.mark.parametrize("at", MOMENTS, ids=lambda at: f"{china_time(at):%a %H:%M}")
def test_every_road_is_over_before_now_and_nobody_works_out_of_hours(at: datetime) -> None:
    work = WorkTime(national_calendar())
    for file in script.FILES:
        for road in script.read(file).roads:
            for seed in range(5):
                times = script.lay_out(road, work=work, at=at, chance=random.Random(seed))
                moments = [times.begin, *times.moments]
                assert moments == sorted(moments)
                assert moments[-1] < at
                assert at - times.begin < timedelta(days=75)
                for step, moment in zip(road.steps, times.moments, strict=True):
                    if step.who in ("unit", "window", "supervisor"):
                        assert work.is_office_time(moment), f"{road.name} {step.action} {moment}"


def test_the_same_seed_gives_the_same_times_and_words() -> None:
    road, work = script.read("complaints").roads[0], WorkTime(national_calendar())
    first, second = (script.lay_out(road, work=work, at=MOMENTS[0], chance=random.Random(3)) for _ in range(2))
    assert first == second
    assert script.said("(甲|乙)(丙|丁)。", random.Random(1)) == script.said("(甲|乙)(丙|丁)。", random.Random(1))
    assert "|" not in script.said("(甲|乙)(丙|丁)。", random.Random(2))

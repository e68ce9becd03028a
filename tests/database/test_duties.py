"""Who answers for which duty in which cell: one at a time, a history that stays, hand-overs that end by themselves."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.errors import Forbidden, Invalid
from grid import duties, notices
from grid.duties import Charge, Handover, Holder
from tests.builders import DISTRICT, NOW, actor, make_account, make_cell, make_unit

pytestmark = pytest.mark.database

NORTH, SOUTH, FAR = "990100001001001", "990100001001002", "990100002001001"
DAY = timedelta(days=1)
As = Callable[[Actor], Session]


@pytest.fixture
def people(session: Session) -> dict[str, uuid.UUID]:
    """Three cells in two towns, an office of the first town, and three workers."""
    for code in (NORTH, SOUTH, FAR):
        make_cell(session, code)
    make_unit(session, "T1", kind="town_office", area_code="990100001")
    make_unit(session, "D1")
    named = {"wang": "王试验", "li": "李试验", "zhao": "赵试验"}
    return {
        login: make_account(session, login, role="grid_worker", name=name, town_code="990100001")
        for login, name in named.items()
    }


@contextmanager
def refused(session: Session) -> Iterator[None]:
    """Expect the database to refuse what the block does, and go on as before it."""
    with pytest.raises(DBAPIError) as caught, session.begin_nested():
        yield
    assert getattr(caught.value.orig, "sqlstate", "") in {"23P01", "23001", "23514"}


def give(session: Session, who: uuid.UUID, *cells: str, at: datetime = NOW, **known: object) -> int:
    charge = {"cells": cells or (NORTH,), "duties": tuple(duties.DUTIES), "holder": Holder(who), "since": at}
    return duties.assign(session, Charge(**(charge | known)), at=at)


def acting(session: Session, cell: str, duty: str, at: datetime) -> str:
    found = [o.name for o in duties.owners(session, [cell], at=at) if o.duty == duty and o.acting]
    assert len(found) < 2
    return found[0] if found else ""


def test_nine_duties_in_the_order_of_the_source() -> None:
    assert list(duties.DUTIES) == [
        "census",
        "security",
        "labour",
        "civil_affairs",
        "family_planning",
        "urban_management",
        "market",
        "safety",
        "floating_population",
    ]


def test_a_second_owner_ends_the_first_and_the_first_stays_in_the_history(
    session: Session, people: dict[str, uuid.UUID]
) -> None:
    assert give(session, people["wang"]) == 9
    assert give(session, people["li"], at=NOW + DAY, duties=["safety"]) == 1
    assert acting(session, NORTH, "safety", NOW + DAY / 2) == "王试验"
    assert acting(session, NORTH, "safety", NOW + 2 * DAY) == "李试验"
    assert acting(session, NORTH, "census", NOW + 2 * DAY) == "王试验"
    told = [(row["name"], row["until"]) for row in duties.history(session, NORTH) if row["duty"] == "safety"]
    assert told == [("李试验", None), ("王试验", NOW + DAY)]


def test_the_database_refuses_two_primaries_of_one_duty_at_one_time(
    session: Session, people: dict[str, uuid.UUID]
) -> None:
    give(session, people["wang"], duties=["market"])
    row = (
        "INSERT INTO cell_duty (district_code, id, cell_code, duty, rank, account_id, valid_from, valid_to, source,"
        " recorded_at, recorded_by) VALUES (:d, :id, :cell, 'market', :rank, :who, :since, :until, 'assign', :since,"
        " 'x')"
    )
    values = {"d": DISTRICT, "id": uuid.uuid4(), "cell": NORTH, "who": people["li"], "rank": "primary"}
    span = {"since": NOW + DAY, "until": NOW + 2 * DAY}
    with refused(session):
        session.execute(text(row), values | span)
    session.execute(text(row), values | span | {"rank": "deputy"})
    session.execute(text(row), values | {"id": uuid.uuid4(), "since": NOW - DAY, "until": NOW})


def test_history_is_neither_deleted_nor_rewritten_nor_lengthened(
    session: Session, people: dict[str, uuid.UUID], database: str
) -> None:
    give(session, people["wang"], duties=["market"], until=NOW + DAY)
    for change in (
        "UPDATE cell_duty SET why = 'x' WHERE district_code = :d",
        "UPDATE cell_duty SET valid_to = valid_to + interval '1 day' WHERE district_code = :d",
        "UPDATE cell_duty SET valid_from = valid_from - interval '1 day' WHERE district_code = :d",
    ):
        with refused(session):
            session.execute(text(change), {"d": DISTRICT})
    allowed = session.scalar(text("SELECT has_table_privilege('cell_duty', 'DELETE')"))
    assert not allowed


def test_what_has_been_is_not_given_to_somebody_else(session: Session, people: dict[str, uuid.UUID]) -> None:
    give(session, people["wang"])
    with pytest.raises(Invalid, match="What has been"):
        give(session, people["li"], at=NOW + 10 * DAY, since=NOW + 5 * DAY)


def test_the_same_again_writes_nothing(session: Session, people: dict[str, uuid.UUID]) -> None:
    give(session, people["wang"], NORTH, SOUTH)
    assert give(session, people["wang"], NORTH, SOUTH, at=NOW + DAY) == 0


def test_somebody_stands_in_until_a_day_and_the_owner_is_back_by_itself(
    session: Session, people: dict[str, uuid.UUID]
) -> None:
    give(session, people["wang"], NORTH, SOUTH)
    order = Handover(people["wang"], Holder(people["li"]), NOW + DAY, NOW + 8 * DAY, "病假")
    moved = duties.hand_over(session, order, at=NOW + DAY / 2)
    assert len(moved) == 18
    assert duties.cells_of(session, people["wang"], at=NOW) == [NORTH, SOUTH]
    assert duties.cells_of(session, people["wang"], at=NOW + 2 * DAY) == []
    assert duties.cells_of(session, people["li"], at=NOW + 2 * DAY) == [NORTH, SOUTH]
    assert duties.cells_of(session, people["wang"], at=NOW + 8 * DAY) == [NORTH, SOUTH]
    assert duties.cells_of(session, people["li"], at=NOW + 8 * DAY) == []


def test_part_of_the_duties_leaves_the_cell_with_both(session: Session, people: dict[str, uuid.UUID]) -> None:
    give(session, people["wang"])
    order = Handover(people["wang"], Holder(people["li"]), NOW, NOW + DAY, "培训", duties=["safety", "market"])
    assert duties.hand_over(session, order, at=NOW) == [(NORTH, "market"), (NORTH, "safety")]
    assert duties.cells_of(session, people["wang"], at=NOW) == [NORTH]
    assert duties.cells_of(session, people["li"], at=NOW, duty="safety") == [NORTH]
    assert duties.cells_of(session, people["li"], at=NOW, duty="census") == []


def test_handing_back_early_ends_what_runs_and_calls_off_what_is_planned(
    session: Session, people: dict[str, uuid.UUID]
) -> None:
    give(session, people["wang"], NORTH, SOUTH)
    ill = Handover(people["wang"], Holder(people["li"]), NOW, NOW + 9 * DAY, "病假", cells=[NORTH])
    away = Handover(people["wang"], Holder(people["li"]), NOW + 5 * DAY, NOW + 9 * DAY, "年假", cells=[SOUTH])
    for order in (ill, away):
        duties.hand_over(session, order, at=NOW)
    assert duties.hand_back(session, giver=people["wang"], at=NOW + 2 * DAY, why="已康复") == 18
    for moment in (NOW + 3 * DAY, NOW + 6 * DAY):
        assert duties.cells_of(session, people["wang"], at=moment) == [NORTH, SOUTH]
    called_off = [row for row in duties.history(session, SOUTH) if row["rank"] == "stand_in"]
    assert all(row["until"] == row["since"] and row["ended_why"] == "已康复" for row in called_off)


def test_a_leaver_leaves_duties_without_an_owner_and_a_handover_for_good_mends_it(
    session: Session, people: dict[str, uuid.UUID]
) -> None:
    give(session, people["wang"], NORTH, SOUTH)
    everything = tuple(duties.DUTIES)
    assert duties.missing(session, at=NOW, cells=[NORTH, SOUTH]) == []
    session.execute(
        text("UPDATE account SET active = false WHERE district_code = :d AND id = :id"),
        {"d": DISTRICT, "id": people["wang"]},
    )
    found = duties.missing(session, at=NOW, area="990100001")
    assert [(gap.cell, gap.duties, gap.left) for gap in found] == [
        (NORTH, everything, everything),
        (SOUTH, everything, everything),
    ]
    for_good = Handover(people["wang"], Holder(people["li"]), NOW + DAY, None, "调离")
    duties.hand_over(session, for_good, at=NOW + DAY)
    assert duties.missing(session, at=NOW + DAY, area="990100001") == []
    assert {o.rank for o in duties.owners(session, [NORTH], at=NOW + DAY)} == {"primary"}


def test_a_deputy_is_no_owner(session: Session, people: dict[str, uuid.UUID]) -> None:
    give(session, people["wang"], rank="deputy")
    (gap,) = duties.missing(session, at=NOW, cells=[NORTH])
    assert len(gap.duties) == 9
    assert gap.left == ()
    assert duties.cells_of(session, people["wang"], at=NOW) == []
    assert duties.cells_of(session, people["wang"], at=NOW, deputies=True) == [NORTH]


def test_a_unit_can_answer_for_a_duty(session: Session, people: dict[str, uuid.UUID]) -> None:
    charge = Charge([NORTH], ["market"], Holder(unit_code="D1"), NOW)
    duties.assign(session, charge, at=NOW)
    assert acting(session, NORTH, "market", NOW) == "试验单位D1"


def test_an_office_keeps_the_duties_of_its_own_area_and_nobody_elses(
    session: Session, people: dict[str, uuid.UUID], as_actor: As
) -> None:
    as_actor(actor(Role.UNIT, unit="T1"))
    assert give(session, people["wang"], NORTH) == 9
    with pytest.raises(Forbidden, match="not in your area"):
        give(session, people["wang"], FAR)
    for stranger in (actor(Role.UNIT, unit="D1"), actor(Role.GRID_WORKER, town="990100001"), actor(Role.OPERATOR)):
        as_actor(stranger)
        with pytest.raises(Forbidden):
            give(session, people["li"], NORTH)
    as_actor(actor(Role.OFFICIAL))
    assert duties.reach(session, write=False) == ""
    with pytest.raises(Forbidden):
        duties.reach(session)


def test_residents_see_no_duties(session: Session, people: dict[str, uuid.UUID], as_actor: As) -> None:
    give(session, people["wang"])
    as_actor(actor(Role.CITIZEN))
    assert session.scalar(text("SELECT count(*) FROM cell_duty WHERE district_code = :d"), {"d": DISTRICT}) == 0


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"cells": ["990100001001999"]}, "cells"),
        ({"cells": []}, "cells"),
        ({"duties": ["gardening"]}, "duties"),
        ({"rank": "king"}, "rank"),
        ({"until": NOW}, "until"),
        ({"holder": Holder()}, "holder"),
        ({"holder": Holder(uuid.uuid4())}, "holder"),
        ({"holder": Holder(unit_code="nobody")}, "holder"),
    ],
)
def test_what_cannot_be_is_refused_by_name_of_the_field(
    session: Session, people: dict[str, uuid.UUID], changed: dict[str, object], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        give(session, people["wang"], **({"cells": (NORTH,)} | changed))
    assert caught.value.field == field


def test_duties_follow_a_cell_that_was_split(session: Session, people: dict[str, uuid.UUID]) -> None:
    new = "990100001001003"
    make_cell(session, new)
    give(session, people["wang"])
    duties.hand_over(session, Handover(people["wang"], Holder(people["li"]), NOW, NOW + 9 * DAY, "病假"), at=NOW)
    assert duties.follow(session, {NORTH: [NORTH, new]}, at=NOW + DAY) == 18
    assert duties.cells_of(session, people["li"], at=NOW + 2 * DAY) == [NORTH, new]
    assert duties.cells_of(session, people["wang"], at=NOW + 9 * DAY) == [NORTH, new]


def test_duties_meet_where_cells_were_merged_and_the_second_owner_becomes_deputy(
    session: Session, people: dict[str, uuid.UUID]
) -> None:
    one = "990100001001009"
    make_cell(session, one)
    give(session, people["wang"], NORTH)
    give(session, people["li"], SOUTH)
    duties.follow(session, {NORTH: [one], SOUTH: [one]}, at=NOW + DAY)
    found = {(o.rank, o.name) for o in duties.owners(session, [one], at=NOW + DAY)}
    assert found == {("primary", "王试验"), ("deputy", "李试验")}
    assert duties.owners(session, [NORTH, SOUTH], at=NOW + DAY) == []
    assert acting(session, NORTH, "safety", NOW) == "王试验"


def test_a_cell_that_swallows_another_keeps_its_own_owner(session: Session, people: dict[str, uuid.UUID]) -> None:
    give(session, people["wang"], NORTH)
    give(session, people["li"], SOUTH)
    duties.follow(session, {SOUTH: [NORTH]}, at=NOW + DAY)
    assert acting(session, NORTH, "safety", NOW + DAY) == "王试验"


def test_a_redrawn_cell_keeps_its_duties_untouched(session: Session, people: dict[str, uuid.UUID]) -> None:
    give(session, people["wang"])
    assert duties.follow(session, {NORTH: [NORTH]}, at=NOW + DAY) == 0


def test_a_notice_is_told_once_to_its_person_alone(
    session: Session, people: dict[str, uuid.UUID], as_actor: As
) -> None:
    for _ in range(2):
        notices.tell(session, people["wang"], "handed_over", key="h1", at=NOW, until="2026-11-20")
    notices.tell(session, people["li"], "stands_in", key="h1", at=NOW)
    wang = Actor(people["wang"], "王试验", Role.GRID_WORKER, DISTRICT, town="990100001")
    as_actor(wang)
    assert [n.kind for n in notices.mine(session)] == ["handed_over"]
    assert notices.unseen(session) == 1
    assert notices.seen(session, at=NOW + DAY) == 1
    assert notices.unseen(session) == 0

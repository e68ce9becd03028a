"""Household visits in the database: doors by duty and without names, plans, what came of them; the own town only."""

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from grid import duties, visits
from grid.duties import Charge, Holder
from grid.registers import permissions
from grid.registers.models import Building, Household, Room
from grid.visits import Made, Plan
from tests import tiny
from tests.builders import NOW, actor, make_account, program

pytestmark = pytest.mark.database
CELL, NEXT = f"{tiny.WEST}001001", f"{tiny.WEST}001002"
As = Callable[[Actor], Session]
TODAY = NOW.date()


@pytest.fixture
def here(district: tiny.Tiny, as_actor: As) -> Session:
    """Return the test's session as the program's, in the tiny district."""
    return as_actor(program(tiny.DISTRICT))


def worker(session: Session, town: str = tiny.WEST) -> Actor:
    key = make_account(session, district=tiny.DISTRICT, role="grid_worker", town_code=town)
    return actor(Role.GRID_WORKER, district=tiny.DISTRICT, town=town, id=key)


def home(session: Session, cell: str, number: str) -> uuid.UUID:
    """Write a household in a room of a building of its own."""
    keys = [new_id() for _ in range(3)]
    common = {
        "district_code": tiny.DISTRICT,
        "town_code": cell[:9],
        "community_code": cell[:12],
        "cell_code": cell,
        "salt": b"0" * 16,
        "created_at": NOW,
        "changed_at": NOW,
    }
    building = {"id": keys[0], "state": "standing", "name": "3栋", "estate": f"柳岸小区{number}", "kind": "residential"}
    session.execute(insert(Building).values(**common, **building))
    room = {
        "id": keys[1],
        "state": "there",
        "building_id": keys[0],
        "entrance": "1",
        "number": number,
        "use": "dwelling",
    }
    session.execute(insert(Room).values(**common, **room))
    household = {"id": keys[2], "state": "living", "room_id": keys[1], "kind": "family"}
    session.execute(insert(Household).values(**common, **household))
    return keys[2]


def test_doors_travel_by_duty_and_without_names(here: Session, as_actor: As) -> None:
    mine = worker(here)
    seen, other = home(here, CELL, "101"), home(here, NEXT, "201")
    charge = Charge([CELL], ["census"], Holder(account_id=mine.id), NOW - timedelta(days=1))
    duties.assign(here, charge, at=NOW - timedelta(days=1))
    held = as_actor(mine)
    access = permissions.access(held, at=NOW)
    cells = [cell for cell in (CELL, NEXT) if access.rights("household", cell).sees]
    assert cells == [CELL]
    found = visits.homes(held, [CELL, NEXT], most=10)
    assert [(one.id, one.building, one.room) for one in found] == [(seen, "柳岸小区101 3栋", "1-101")]
    assert other not in {one.id for one in found}, "the policy hides doors of cells without a duty"


def test_a_visit_is_made_once_and_the_same_household_is_not_planned_twice(here: Session, as_actor: As) -> None:
    mine, household = worker(here), home(here, CELL, "301")
    plan = Plan(CELL, "general", TODAY, household_id=household, place="3栋301")
    key = visits.plan(here, plan, at=NOW)
    assert visits.plan(here, plan, at=NOW) == key
    held = as_actor(mine)
    assert key in {one.id for one in visits.due(held, [CELL], today=TODAY)}
    assert visits.make(held, key, Made("done", form={"changed": "no"}), at=NOW) is None
    with pytest.raises(Conflict):
        visits.make(held, key, Made("done"), at=NOW)
    assert visits.last_visits(held, [household]) == {household: NOW}
    assert visits.plan(held, plan, at=NOW) != key, "a visit that was made can be planned again"


def test_another_towns_worker_neither_sees_nor_makes_a_visit(here: Session, as_actor: As) -> None:
    east = worker(here, tiny.EAST)
    key = visits.plan(here, Plan(CELL, "general", TODAY), at=NOW)
    held = as_actor(east)
    assert visits.due(held, [CELL], today=TODAY) == []
    with pytest.raises(NotFound):
        visits.make(held, key, Made("done"), at=NOW)
    with pytest.raises(Invalid):
        visits.make_unplanned(held, Plan(CELL, "general", TODAY), Made("done"), at=NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        Made("asleep"),
        Made("done", form={"people": "many"}),
        Made("done", form={"people": 3, "rented": "perhaps"}),
        Made("done", form={"people": 3, "shoes": "x"}),
        Made("done"),
    ],
)
def test_a_form_that_is_not_the_kinds_is_refused_and_the_visit_stays_due(
    here: Session, as_actor: As, wrong: Made
) -> None:
    mine = worker(here)
    key = visits.plan(here, Plan(CELL, "floating", TODAY), at=NOW)
    held = as_actor(mine)
    with pytest.raises(Invalid), held.begin_nested():
        visits.make(held, key, wrong, at=NOW)
    assert key in {one.id for one in visits.due(held, [CELL], today=TODAY)}


def test_every_visit_kind_has_words_and_a_plan_for_an_unknown_one_is_refused(here: Session) -> None:
    assert all(kind.label and kind.questions for kind in visits.KINDS.values())
    for wrong in (Plan(CELL, "dance", TODAY), Plan("990200001001999", "general", TODAY)):
        with pytest.raises(Invalid):
            visits.plan(here, wrong, at=NOW)


def test_the_program_may_plan_for_the_whole_district(here: Session) -> None:
    assert visits.plan(here, Plan(f"{tiny.EAST}001001", "safety", TODAY), at=NOW)

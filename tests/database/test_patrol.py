"""A patrol event on four levels 区、镇街、社区、网格: settled on the lowest that can, passed up with its history (S2)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from core.actor import Role
from core.db import snapshot, transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch.log import verify
from dispatch.numbers import Numbers
from dispatch.opening import NewCase, Placed, open_now
from dispatch.rulebook import Rulebook, read_rulebook
from dispatch.sweep import sweep
from tests import tiny
from tests.builders import make_attachment, program
from tests.database.roads import CENTRE, GRID, OFFICE, OPERATOR, STREETS, SUPERVISOR, Matter, person, settled
from tests.database.test_cases import AT

pytestmark = pytest.mark.database
#: Monday 23 November 2026, 09:00 in China: office hours have begun.
MONDAY = AT.replace(day=23, hour=1)
DONE = {"done": "已清理占道杂物"}
UP = {"reason": "需要执法权限"}
OTHER_GRID = person(Role.GRID_WORKER, "网格冯", town=tiny.WEST)


@pytest.fixture(scope="module")
def book(district: tiny.Tiny) -> Rulebook:
    """Return the rules of a district whose communities have no units of their own."""
    return without(read(tiny.DISTRICT), "community")


@pytest.fixture(scope="module")
def four_levels(district: tiny.Tiny) -> Iterator[Rulebook]:
    """Return the rules of a district whose community west-south has a unit of its own."""
    from grid.models import Unit

    with transaction(program(tiny.DISTRICT)) as session:
        if session.get(Unit, (tiny.DISTRICT, COMMUNITY.unit)) is None:
            known = {"name": "柳岸社区居委会", "kind": "community", "area_code": tiny.WEST + "001"}
            session.add(Unit(district_code=tiny.DISTRICT, code=COMMUNITY.unit, **known))
    yield read(tiny.DISTRICT)
    with transaction(program(tiny.DISTRICT)) as session:
        session.get_one(Unit, (tiny.DISTRICT, COMMUNITY.unit)).active = False


COMMUNITY = person(Role.UNIT, "居委会陈", "990200-M1")


def read(code: str) -> Rulebook:
    with snapshot(program(code)) as session:
        return read_rulebook(session, code)


def without(book: Rulebook, kind: str) -> Rulebook:
    """Return the rules of a district that has no units of a kind."""
    from dispatch.rules import RuleSet

    left = [unit for unit in book.routing.units.values() if unit.kind != kind]
    return replace(book, routing=RuleSet((), left))


def event(book: Rulebook, **known: Any) -> Matter:
    lng, lat = tiny.Tiny().in_west
    spot = (
        lng,
        lat,
        20,
        1.0,
        "滨湖路",
        "reporter",
        "WGS84",
        lng,
        lat,
        tiny.WEST,
        tiny.WEST + "001",
        tiny.WEST + "001001",
    )
    new = NewCase(
        channel="patrol",
        text="人行道上堆放建筑垃圾",
        reported_at=MONDAY,
        received_at=MONDAY,
        actor=GRID,
        number=Numbers(tiny.DISTRICT).take(MONDAY),
        kind="event",
        urgency="ordinary",
        category_code="1001",
        place=Placed(*spot),
        process="patrol",
        **known,
    )
    return Matter(book, open_now(book, new), at=MONDAY)


def levels(matter: Matter) -> list[tuple[str, str]]:
    return [(e["action"], e["state_after"]) for e in matter.table("entry")]


def test_what_the_grid_worker_can_settle_is_closed_on_the_spot_in_one_step_and_logged(book: Rulebook) -> None:
    matter = event(book)
    assert (matter.state, set(matter.clocks()), matter.row["unit_code"]) == ("in_cell", {"cell"}, None)
    matter.later(minutes=20).take(GRID, "settle", **DONE)
    assert (matter.state, matter.row["open"], matter.clocks(), matter.row["due_at"]) == ("closed", False, {}, None)
    assert levels(matter) == [("receive", "in_cell"), ("settle", "closed")]
    assert matter.clocks(running=False)["cell"]["outcome"] == "met"
    assert verify(tiny.DISTRICT, matter.id, matter.table("entry"), head=matter.row["head_hash"]) is None


def test_settling_needs_words_and_where_the_category_asks_photos(book: Rulebook) -> None:
    matter = event(settled(book, photos=["10"]))
    assert matter.refused(Conflict, GRID, "settle", "photo from before", **DONE)
    with transaction(program(tiny.DISTRICT)) as session:
        from dispatch.models import Case

        case = session.get_one(Case, (tiny.DISTRICT, matter.id))
        for purpose in ("before", "after"):
            make_attachment(session, case, purpose=purpose)
    assert matter.refused(Invalid, GRID, "settle", "is needed").field == "done"
    matter.take(GRID, "settle", **DONE)


def test_each_level_has_its_limit_and_the_program_passes_up_what_overran_it_with_its_history(
    four_levels: Rulebook,
) -> None:
    matter = event(four_levels)
    seen = []
    for _ in range(3):
        (clock,) = matter.clocks().values()
        seen.append((matter.state, clock["clock"], clock["limit"], clock["unit_code"], matter.row["unit_code"]))
        matter.at = clock["due_at"]
        with transaction(program(tiny.DISTRICT)) as session:
            sweep(session, four_levels, at=matter.at)
    assert seen == [
        ("in_cell", "cell", "4wh", None, None),
        ("in_community", "community", "1wd", COMMUNITY.unit, COMMUNITY.unit),
        ("in_town", "town", "3wd", tiny.WEST_OFFICE, tiny.WEST_OFFICE),
    ]
    assert (matter.state, matter.row["unit_code"], set(matter.clocks())) == (
        "in_district",
        None,
        {"dispatch", "reply"},
    )
    assert [action for action, _ in levels(matter)] == ["receive", "overrun", "overrun", "overrun"]
    assert [a["state"] for a in matter.table("assignment")] == ["moved", "moved"]
    assert {COMMUNITY.unit, tiny.WEST_OFFICE} <= set(matter.row["unit_codes"]), "who had it may still look"


def test_level_without_a_unit_is_skipped_by_the_program_in_the_same_step(book: Rulebook) -> None:
    matter = event(book).take(GRID, "rise", **UP)
    assert levels(matter)[1:] == [("rise", "in_community"), ("skip", "in_town")]
    assert [e["actor_role"] for e in matter.table("entry")][1:] == ["grid_worker", "system"]
    assert (matter.row["version"], matter.row["unit_code"], set(matter.clocks())) == (2, tiny.WEST_OFFICE, {"town"})
    matter = event(without(book, "town_office")).take(GRID, "rise", **UP)
    assert (matter.state, matter.row["unit_code"]) == ("in_district", None)


def test_passing_up_by_hand_needs_a_reason_and_the_level_that_has_it(four_levels: Rulebook) -> None:
    matter = event(four_levels)
    matter.refused(Invalid, GRID, "rise", "is needed")
    matter.refused(Forbidden, OPERATOR, "rise", **UP)
    matter.refused(Forbidden, GRID, "overrun")
    matter.take(GRID, "rise", **UP)
    matter.refused(Forbidden, GRID, "rise", **UP)
    matter.refused(NotFound, OFFICE, "rise", **UP)
    matter.take(COMMUNITY, "rise", **UP)
    matter.refused(Forbidden, COMMUNITY, "settle", **DONE)
    assert matter.clocks(running=False)["community"]["outcome"] == "void"
    matter.take(OFFICE, "rise", **UP)
    assert matter.state == "in_district"


def test_level_with_a_unit_settles_on_the_spot_unless_somebody_else_has_to_look(four_levels: Rulebook) -> None:
    matter = event(four_levels).take(GRID, "rise", **UP).take(COMMUNITY, "settle", **DONE)
    assert (matter.state, [a["state"] for a in matter.table("assignment")]) == ("closed", ["done"])
    checked = event(settled(four_levels, onsite=["1001"])).take(GRID, "rise", **UP)
    checked.refused(Conflict, COMMUNITY, "settle", "Somebody else has to look", **DONE)
    checked.take(COMMUNITY, "reply", **DONE)
    assert (checked.state, set(checked.clocks())) == ("settled", {"verify"})
    checked.refused(Forbidden, COMMUNITY, "verify")
    checked.take(GRID, "rework", reason="仍有残留")
    assert (checked.state, checked.row["unit_code"], set(checked.clocks())) == ("signed", COMMUNITY.unit, {"reply"})
    checked.take(COMMUNITY, "reply", **DONE).take(OTHER_GRID, "verify")
    assert (checked.state, checked.clocks()) == ("closed", {})


def test_from_the_district_on_an_event_goes_as_a_complaint_does(book: Rulebook) -> None:
    matter = event(book).take(GRID, "rise", **UP).take(OFFICE, "rise", **UP)
    started = matter.clocks()["reply"]["started_at"]
    matter.later(hours=2).take(OPERATOR, "dispatch", unit=tiny.STREETS).take(STREETS, "sign")
    assert matter.clocks()["reply"]["started_at"] == started
    matter.take(STREETS, "extend_ask", span="2wd", reason="需吊车").take(SUPERVISOR, "extend_grant")
    assert matter.clocks()["reply"]["extra"] == ["2wd"]
    matter.take(STREETS, "reply", **DONE).take(OPERATOR, "verify")
    matter.later(days=1).take(OPERATOR, "reopen", reason="又堆上了")
    assert matter.state == "in_district"


def test_event_that_the_town_sent_up_is_not_sent_down_to_who_returned_it(book: Rulebook) -> None:
    matter = event(book).take(GRID, "rise", **UP).take(OFFICE, "rise", **UP)
    matter.take(OPERATOR, "dispatch", unit=tiny.CENTRE)
    give_back = {"reason_code": "not_our_duty", "legal_basis": "清单", "reason": "不属本中心"}
    matter.take(CENTRE, "return", **give_back)
    matter.refused(Conflict, OPERATOR, "dispatch", "returned this case already", unit=tiny.CENTRE)


def test_grid_worker_of_another_town_does_not_see_it(book: Rulebook) -> None:
    east = person(Role.GRID_WORKER, "网格褚", town=tiny.EAST)
    event(book).refused(NotFound, east, "settle", **DONE)


def test_event_that_was_none_is_voided_with_a_reason(book: Rulebook) -> None:
    matter = event(book)
    matter.refused(Forbidden, GRID, "void", reason="误报")
    matter.take(OPERATOR, "void", reason="误报")
    assert (matter.state, matter.clocks()) == ("voided", {})


def test_events_of_one_matter_are_merged_and_each_is_looked_at(book: Rulebook) -> None:
    main, other = (event(book).take(GRID, "rise", **UP).take(OFFICE, "rise", **UP) for _ in range(2))
    main.take(OPERATOR, "dispatch", unit=tiny.STREETS)
    other.take(OPERATOR, "merge", main=main.number, reason="同一堆垃圾")
    main.take(STREETS, "sign").take(STREETS, "reply", **DONE)
    assert (other.state, other.row["answer"], set(other.clocks())) == ("settled", DONE["done"], {"verify"})
    complaint = Matter(book, unit=None)
    complaint.refused(Invalid, OPERATOR, "merge", "same process", main=event(book).number, reason="x")

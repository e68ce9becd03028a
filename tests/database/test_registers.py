"""Residents, households and rooms: the order that life has, doubles made one and two again, and a history that explains."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.actor import Actor
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.ids import new_id
from grid.registers import events, keeping, people, sealing
from grid.registers.events import Position
from grid.registers.models import Household
from tests import registers as own
from tests import tiny
from tests.registers import AT, EARLIER, card, explained, reach, resident, room, told

pytestmark = pytest.mark.database
As = Callable[[Actor], Session]


@pytest.fixture
def office(district: tiny.Tiny, as_actor: As) -> Session:
    """Return the session of the administrator, who may enter everything."""
    return as_actor(own.ADMIN)


def test_person_stands_where_the_room_stands_and_follows_the_building(office: Session) -> None:
    home = room(office, (113.005, 23.005))
    who = resident(office, home)
    assert (who.cell_code, who.town_code) == (own.WEST_CELL, tiny.WEST)
    building = events.found(office, "building", home.building_id)
    keeping.amend(
        office, reach(office), "building", building.id, {}, version=1, told=told(), position=Position(113.015, 23.005)
    )
    assert events.found(office, "resident", who.id).cell_code == own.NEXT_CELL
    assert events.found(office, "household", who.household_id).cell_code == own.NEXT_CELL
    assert explained(office, building)


def test_the_database_holds_no_name_number_or_telephone_in_clear(office: Session) -> None:
    number = card("19880808")
    who = resident(office, room(office), name="欧阳试验", id_number=number, phone="13900001234")
    office.flush()
    for table in ("resident", "life_event"):
        words = " ".join(
            office.scalars(text(f"SELECT t::text FROM {table} t WHERE district_code = :d"), {"d": tiny.DISTRICT})
        )
        for secret in ("欧阳", number, "13900001234", b"13900001234".hex(), "欧阳试验".encode().hex()):
            assert secret not in words, table
    assert events.values(who)["name"] == "欧阳试验"


def test_identity_number_gives_day_of_birth_and_sex_and_contradictions_are_refused(office: Session) -> None:
    who = resident(office, room(office), id_number=card("19910203", sex="f"))
    assert (who.birth_date.isoformat(), who.sex) == ("1991-02-03", "f")
    with pytest.raises(Invalid) as caught:
        resident(office, who.household_id, id_number=card("19910203"), birth_date="1991-03-02")
    assert caught.value.field == "birth_date"
    with pytest.raises(Invalid, match="identity card or passport"):
        resident(office, who.household_id, id_number="990200199102030011")
    with pytest.raises(Invalid) as caught:
        people.amend(office, reach(office), who.id, {"birth_date": "1991-02-04"}, version=1, told=told())
    assert caught.value.field == "birth_date"


def test_same_number_is_registered_once_and_the_person_is_moved_instead(office: Session) -> None:
    number, home = card(), room(office)
    first = resident(office, home, id_number=number, relation="head")
    old = first.household_id
    with pytest.raises(Conflict, match="registered already"):
        resident(office, home, id_number=number)
    other = room(office, (113.025, 23.005), "801")
    moved = people.bring(office, reach(office), number.lower(), people.Home(room_id=other.id), told=told())
    assert moved.id == first.id
    assert moved.cell_code == own.EAST_CELL
    left = events.found(office, "household", old)
    assert (left.state, left.head_id) == ("moved", None)
    assert explained(office, moved)
    assert explained(office, left)


def test_death_before_birth_is_refused(office: Session) -> None:
    who = resident(office, room(office), birth_date="2000-01-02", happened_at=EARLIER)
    with pytest.raises(Invalid, match="before"):
        people.died(office, reach(office), who.id, version=1, told=told(happened_at=datetime(1999, 5, 1, tzinfo=UTC)))


def test_nobody_moves_out_of_where_he_does_not_live_nor_before_he_came(office: Session) -> None:
    who = resident(office, room(office))
    with pytest.raises(Invalid, match="last move"):
        people.move_out(office, reach(office), who.id, version=1, told=told(happened_at=EARLIER - timedelta(days=1)))
    people.move_out(office, reach(office), who.id, version=1, told=told(), to="外市")
    with pytest.raises(Invalid, match="does not live here"):
        people.move_out(office, reach(office), who.id, version=2, told=told())


def test_the_future_and_a_stale_version_are_refused(office: Session) -> None:
    who = resident(office, room(office))
    with pytest.raises(Invalid, match="future"):
        told(happened_at=AT + timedelta(hours=1))
    people.amend(office, reach(office), who.id, {"home_area": "试验省"}, version=1, told=told())
    with pytest.raises(Conflict):
        people.amend(office, reach(office), who.id, {"home_area": "别处"}, version=1, told=told())


def test_whole_household_moves_out_together(office: Session) -> None:
    head = resident(office, room(office), relation="head")
    for relation in ("spouse", "child"):
        resident(office, head.household_id, relation=relation, name=f"张{relation[0]}")
    home = events.found(office, "household", head.household_id)
    assert people.household_moves_out(office, reach(office), home.id, version=home.version, told=told()) == 3
    assert events.found(office, "household", home.id).state == "moved"
    assert all(one.state == "moved" and explained(office, one) for one in people.members(office, home))


def test_household_has_one_head(office: Session) -> None:
    head = resident(office, room(office), relation="head")
    with pytest.raises(Invalid, match="has a head"):
        resident(office, head.household_id, relation="head", name="李四")


def test_child_is_born_into_the_parents_household_and_after_them(office: Session) -> None:
    mother = resident(office, room(office), birth_date="1995-05-05", sex="f")
    child = people.born(office, reach(office), mother.id, {"name": "张新生"}, told=told())
    assert (child.household_id, child.birth_date.isoformat(), child.relation) == (
        mother.household_id,
        "2026-11-18",
        "child",
    )
    assert [one.kind for one in events.history(office, mother)][-1] == "born"
    with pytest.raises(Invalid, match="after its parents"):
        people.born(office, reach(office), child.id, {"name": "张再生"}, told=told())


def test_mistaken_death_is_taken_back_and_nothing_else_is(office: Session) -> None:
    who = resident(office, room(office), relation="head")
    before = events.values(who)
    people.died(office, reach(office), who.id, version=1, told=told())
    death = events.history(office, who)[-1]
    assert events.found(office, "household", who.household_id).state == "moved"
    people.take_back(office, reach(office), who.id, death.id, told=told(), why="录错了人")
    assert events.values(who) == before
    assert who.ended_at is None
    assert events.found(office, "household", who.household_id).state == "living"
    assert explained(office, who)
    with pytest.raises(Invalid, match="can be taken back"):
        people.take_back(office, reach(office), who.id, death.id, told=told(), why="再来一次")


_names = st.text("赵钱孙李周吴郑王", min_size=2, max_size=4)
_maybe = st.sampled_from(["", "13900001111", "13900002222"])


@given(
    left=st.fixed_dictionaries({"name": _names, "phone": _maybe, "home_area": st.sampled_from(["", "甲省", "乙省"])}),
    right=st.fixed_dictionaries({"name": _names, "phone": _maybe, "home_area": st.sampled_from(["", "甲省", "丙省"])}),
    numbered=st.sampled_from(["left", "right", "none"]),
    take=st.sets(st.sampled_from(["name", "phone", "home_area"])),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_merging_undone_gives_back_both(
    office: Session, left: dict[str, str], right: dict[str, str], numbered: str, take: set[str]
) -> None:
    number = {"id_number": card()}
    a = resident(office, room(office), **left, **(number if numbered == "left" else {}))
    b = resident(office, room(office), **right, **(number if numbered == "right" else {}), relation="head")
    before = events.values(a), events.values(b)
    people.merge(office, reach(office), a.id, b.id, told=told(), why="同一人", take=take)
    assert b.merged_into == a.id
    assert all(events.values(a)[name] == right[name] for name in take if right[name])
    assert events.values(a)["id_number"] == ("" if numbered == "none" else number["id_number"])
    assert explained(office, a)
    assert explained(office, b)
    merging = next(one for one in events.history(office, a) if one.kind == "merged")
    people.unmerge(office, reach(office), a.id, merging.id, told=told())
    assert (events.values(a), events.values(b)) == before
    assert explained(office, a)
    assert explained(office, b)


def test_what_was_changed_after_a_merging_stays_when_it_is_undone(office: Session) -> None:
    a = resident(office, room(office), name="王一")
    b = resident(office, room(office), name="王一", phone="13900003333", home_area="甲省")
    people.merge(office, reach(office), a.id, b.id, told=told(), why="同一人")
    people.amend(office, reach(office), a.id, {"phone": "13900004444"}, version=a.version, told=told())
    merging = next(one for one in events.history(office, a) if one.kind == "merged")
    people.unmerge(office, reach(office), a.id, merging.id, told=told())
    assert (events.values(a)["phone"], events.values(a)["home_area"]) == ("13900004444", "")
    assert events.values(b)["phone"] == "13900003333"


def test_two_numbers_are_two_people_and_the_dead_are_not_merged_with_the_living(office: Session) -> None:
    a, b = (resident(office, room(office), id_number=card()) for _ in range(2))
    with pytest.raises(Invalid, match="two identity numbers"):
        people.merge(office, reach(office), a.id, b.id, told=told(), why="同一人")
    c = resident(office, room(office))
    people.died(office, reach(office), c.id, version=1, told=told())
    with pytest.raises(Invalid, match="dead"):
        people.merge(office, reach(office), a.id, c.id, told=told(), why="同一人")
    with pytest.raises(Invalid, match="double of itself"):
        people.merge(office, reach(office), a.id, a.id, told=told(), why="同一人")


@given(steps=st.lists(st.sampled_from(["amend", "out", "in", "die", "back", "phone"]), max_size=8))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_events_replayed_give_the_state_whatever_happened(office: Session, steps: list[str]) -> None:
    number = card()
    who, other = resident(office, room(office), id_number=number, relation="head"), room(office, (113.025, 23.015))
    may = reach(office)
    for n, step in enumerate(steps):
        at = told(AT + timedelta(hours=n + 1))
        try:
            if step == "amend":
                people.amend(office, may, who.id, {"home_area": f"{n}省"}, version=who.version, told=at)
            elif step == "phone":
                people.amend(
                    office, may, who.id, {"phone": "" if n % 2 else "13900005555"}, version=who.version, told=at
                )
            elif step == "out":
                people.move_out(office, may, who.id, version=who.version, told=at)
            elif step == "in":
                people.bring(office, may, number, people.Home(room_id=other.id), told=at)
            elif step == "die":
                people.died(office, may, who.id, version=who.version, told=at)
            else:
                newest = [one for one in events.history(office, who) if one.set][-1]
                people.take_back(office, may, who.id, newest.id, told=at, why="误录")
        except Invalid:
            pass
        assert explained(office, who)
        assert explained(office, events.found(office, "household", who.household_id))


def test_history_is_append_only_and_dies_with_the_salt(office: Session, as_actor: As) -> None:
    who = resident(office, room(office))
    one = events.history(office, who)[0]
    assert one.set["name"] == "张小明"
    sealed = office.scalar(
        text("SELECT data_sealed FROM life_event WHERE district_code = :d AND id = :i"),
        {"d": tiny.DISTRICT, "i": one.id},
    )
    with pytest.raises(Invalid):
        sealing.history_unsealed(sealed, sealing.new_salt())
    program = as_actor(own.PROGRAM)
    for sql in ("UPDATE life_event SET kind = 'x'", "DELETE FROM life_event"):
        with pytest.raises(DBAPIError, match=r"permission denied|append-only"), program.begin_nested():
            program.execute(text(sql + " WHERE district_code = :d"), {"d": tiny.DISTRICT})


def test_part_code_follows_the_districts_pattern_and_firm_code_its_check(office: Session) -> None:
    spot = Position(113.005, 23.005)
    part = keeping.enter(
        office, reach(office), "part", {"code": "9902000101000001", "name": "上水井盖"}, told=told(), position=spot
    )
    assert (part.class_code, part.cell_code) == ("0101", own.WEST_CELL)
    for wrong in ("9902000101", "4406050101000001", "99020001010000A1"):
        with pytest.raises(Invalid) as caught:
            keeping.enter(office, reach(office), "part", {"code": wrong, "name": "井盖"}, told=told(), position=spot)
        assert caught.value.field == "code"
    with pytest.raises(Conflict), office.begin_nested():
        keeping.enter(office, reach(office), "part", {"code": part.code, "name": "井盖"}, told=told(), position=spot)
    firm = {"name": "试验商行", "kind": "company", "credit_code": "91350100M000100Y44"}
    with pytest.raises(Invalid, match="unified credit code"):
        keeping.enter(office, reach(office), "organisation", firm, told=told(), position=spot)


def test_inspection_moves_the_next_day_and_what_is_not_in_order_is_seen_soon(office: Session) -> None:
    given = {"name": "试验旅店", "kind": "hotel", "risk": "medium", "duty": "safety", "every_days": "90"}
    place = keeping.enter(office, reach(office), "key_place", given, told=told(), position=Position(113.005, 23.005))
    assert place.due_on.isoformat() == "2027-02-16"
    keeping.inspect(office, reach(office), place.id, version=1, told=told(), found="灭火器过期", in_order=False)
    assert place.due_on.isoformat() == "2026-11-25"
    assert explained(office, place)


def test_room_that_people_live_in_is_not_ended(office: Session) -> None:
    home = room(office)
    resident(office, home)
    with pytest.raises(Conflict, match="moving out"):
        keeping.set_state(office, reach(office), "room", home.id, "gone", version=1, told=told())


def test_another_district_and_an_unknown_row_look_the_same(office: Session, as_actor: As) -> None:
    known = resident(office, room(office)).id
    stranger = as_actor(Actor(new_id(), "邻区", own.ADMIN.role, "990999"))
    for row_id in (known, new_id()):
        with pytest.raises(NotFound):
            events.found(stranger, "resident", row_id)
    assert stranger.query(Household).count() == 0


def test_supervisor_reads_and_changes_nothing(office: Session, as_actor: As) -> None:
    known = resident(office, room(office)).id
    session = as_actor(own.SUPERVISOR)
    with pytest.raises(Forbidden):
        people.amend(session, reach(session), known, {"home_area": "别处"}, version=1, told=told())

"""Other names of places: a second person decides, the gazetteer has them for their time, nobody else may."""

import threading
import uuid
from datetime import UTC, date, datetime

import pytest

from core.actor import Actor, Role, system
from core.db import transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch.rulebook import revision
from hotline import aliases
from hotline.gazetteer import load_gazetteer
from hotline.geocode import Geocoder
from tests import tiny

pytestmark = pytest.mark.database

AT = datetime(2027, 3, 1, 2, 0, tzinfo=UTC)
PLACE = {"lng": tiny.LNG + 0.014, "lat": tiny.LAT + 0.006}


def person(role=Role.OPERATOR):
    return Actor(id=uuid.uuid4(), name="试验", role=role, district=tiny.DISTRICT)


def proposed(session, name="老粮仓", **known):
    told = {"actor": person(), "at": AT, **PLACE} | known
    return aliases.propose(session, name, **told)


def answer(session, text, day=date(2027, 3, 2)):
    return Geocoder(load_gazetteer(session, tiny.DISTRICT, day=day)).locate(text)


def test_a_confirmed_name_is_found_and_a_waiting_one_is_not(district, as_actor):
    session = as_actor(person())
    one = proposed(session)
    assert answer(session, "老粮仓门口积水").status != "located"
    before = revision(session, district.code)
    aliases.confirm(session, one, actor=person(), at=AT)
    match = answer(session, "老粮仓门口积水").matches[0]
    assert (round(match.lng, 4), round(match.lat, 4)) == (round(PLACE["lng"], 4), round(PLACE["lat"], 4))
    assert match.confidence >= 0.5
    assert revision(session, district.code) == before + 1


def test_a_name_holds_only_for_its_time(district, as_actor):
    session = as_actor(person())
    one = proposed(session, valid_from=date(2027, 3, 1), valid_to=date(2027, 3, 31))
    aliases.confirm(session, one, actor=person(), at=AT)
    assert answer(session, "老粮仓积水", date(2027, 3, 31)).status == "located"
    assert answer(session, "老粮仓积水", date(2027, 4, 1)).status != "located"
    assert answer(session, "老粮仓积水", date(2027, 2, 28)).status != "located"


def test_nobody_decides_about_the_own_proposal(district, as_actor):
    session = as_actor(person())
    who = person()
    one = proposed(session, actor=who)
    with pytest.raises(Forbidden):
        aliases.confirm(session, one, actor=who, at=AT)
    with pytest.raises(Forbidden):
        aliases.reject(session, one, actor=who, at=AT, reason="不对")


@pytest.mark.parametrize("role", [Role.UNIT, Role.GRID_WORKER, Role.OFFICIAL, Role.ADMIN])
def test_only_the_desk_names_places(district, as_actor, role):
    session = as_actor(person())
    with pytest.raises(Forbidden):
        proposed(session, actor=person(role))


def test_a_rejected_name_stays_on_record_and_is_not_used(district, as_actor):
    session = as_actor(person())
    one = proposed(session)
    with pytest.raises(Invalid):
        aliases.reject(session, one, actor=person(), at=AT, reason=" ")
    aliases.reject(session, one, actor=person(), at=AT, reason="查无此地")
    assert session.get(aliases.Alias, (tiny.DISTRICT, one)).state == "rejected"
    assert answer(session, "老粮仓积水").status != "located"
    with pytest.raises(Conflict):
        aliases.confirm(session, one, actor=person(), at=AT)


def test_the_same_name_waits_once(district, as_actor):
    session = as_actor(person())
    proposed(session)
    with pytest.raises(Conflict):
        proposed(session)
    assert [one.name for one in aliases.waiting(session)] == ["老粮仓"]


def test_names_times_and_places_that_cannot_be_are_refused(district, as_actor):
    session = as_actor(person())
    for name in ("", "仓", "12345", "长" * 41):
        with pytest.raises(Invalid):
            proposed(session, name)
    with pytest.raises(Invalid):
        proposed(session, valid_from=date(2027, 3, 2), valid_to=date(2027, 3, 1))
    with pytest.raises(Invalid):
        proposed(session, lng=None)
    with pytest.raises(NotFound):
        proposed(session, place_key="no such place")
    with pytest.raises(NotFound):
        aliases.confirm(session, uuid.uuid4(), actor=person(), at=AT)


def test_another_district_sees_no_names(district, as_actor):
    one = proposed(as_actor(person()))
    session = as_actor(system("999999"))
    assert aliases.waiting(session) == []
    stranger = Actor(id=uuid.uuid4(), name="试验", role=Role.OPERATOR, district="999999")
    with pytest.raises(NotFound):
        aliases.confirm(as_actor(stranger), one, actor=stranger, at=AT)


def test_the_first_day_of_a_name_is_chinas(district, as_actor):
    session = as_actor(person())
    one = proposed(session, at=datetime(2027, 2, 28, 17, 0, tzinfo=UTC))
    assert session.get_one(aliases.Alias, (tiny.DISTRICT, one)).valid_from == date(2027, 3, 1)


def test_two_who_propose_the_same_name_at_once_are_told_so(district):
    came = []

    def second():
        try:
            with transaction(person()) as session:
                proposed(session, "老酒坊")
        except Conflict as error:
            came.append(error.field)

    with transaction(person()) as session:
        one = proposed(session, "老酒坊")
        other = threading.Thread(target=second)
        other.start()
        # The other one waits at the index until this one is committed.
        other.join(0.5)
    other.join(20)
    with transaction(person()) as session:
        aliases.reject(session, one, actor=person(), at=AT, reason="试验")
    assert came == ["name"]

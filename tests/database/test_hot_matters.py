"""A hot matter is announced once however many look, grows with its members, and is decided with a reason."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from core.actor import Actor, Role
from core.db import snapshot, transaction
from core.errors import Conflict, Invalid, NotFound
from dispatch.models import Outbox
from hotline import hot_matters
from hotline.hot import DEFAULT
from hotline.hot_matters import CROSSED, Feed, HotMember
from tests.builders import DISTRICT, NOW, TOWN, actor, make_case, make_town, program
from tests.unit.test_hot import NIGHT, OTHERS

pytestmark = pytest.mark.database


@pytest.fixture(autouse=True)
def _ground(database: str) -> None:
    """Write the town that the cases lie in, and let what other tests brought be long ago: a feed begins with the newest."""
    with transaction(program()) as session:
        make_town(session)
        session.execute(
            text("UPDATE cases SET received_at = received_at - interval '90 days' WHERE district_code = :d"),
            {"d": DISTRICT},
        )


def bring(texts: tuple[str, ...], *, place: float, minutes: int = 0, **known: object) -> list[uuid.UUID]:
    """Write cases by different people at one place, a minute apart; `place` keeps the matters of tests apart."""
    with transaction(program()) as session:
        return [
            make_case(
                session,
                text=body,
                at=NOW + timedelta(minutes=minutes + n),
                phone=f"138{place * 1000:05.0f}{n + minutes % 50:03d}",
                lng=113.1 + place,
                place_name="翠湖花园",
                **known,
            ).id
            for n, body in enumerate(texts)
        ]


def feed() -> Feed:
    return Feed(DEFAULT, level1=lambda _code: None)


def looked(some: Feed, *, minutes: int = 30, limit: int = 500) -> int:
    """Let a feed look until nothing new waits; return how many matters it announced."""
    told = 0
    while True:
        with transaction(program()) as session:
            step = some.step(session, at=NOW + timedelta(minutes=minutes), limit=limit)
        some.settle()
        told += step.announced
        if step.taken < limit:
            return told


def matter_of(case: uuid.UUID) -> uuid.UUID | None:
    with snapshot(program()) as session:
        found: uuid.UUID | None = session.scalar(select(HotMember.hot_id).where(HotMember.case_id == case))
        return found


def announcements(hot_id: uuid.UUID | None) -> list[dict[str, object]]:
    with snapshot(program()) as session:
        rows = session.scalars(select(Outbox).where(Outbox.topic == CROSSED)).all()
        return [row.payload for row in rows if row.payload["hot"] == str(hot_id)]


def test_a_matter_that_crosses_is_announced_once_and_grows_quietly() -> None:
    watching = feed()
    cases = bring(NIGHT[:4], place=0.10)
    looked(watching)
    assert matter_of(cases[0]) is None
    cases += bring(NIGHT[4:], place=0.10, minutes=10)
    looked(watching)
    hot_id = matter_of(cases[0])
    assert {matter_of(case) for case in cases} == {hot_id} != {None}
    (told,) = announcements(hot_id)
    assert told["place"] == "翠湖花园"
    assert (told["members"], told["reporters"], told["urgency"]) == (6, 6, "ordinary")
    more = bring(NIGHT[:2], place=0.10, minutes=20)
    looked(watching)
    assert {matter_of(case) for case in more} == {hot_id}
    assert len(announcements(hot_id)) == 1
    with snapshot(actor(Role.OPERATOR)) as session:
        found, members = hot_matters.one(session, hot_id, at=NOW + timedelta(minutes=30))
    assert (found.members, found.hour, found.state) == (8, 8, "new")
    assert [member.id for member in members] == cases + more


def test_a_worker_that_starts_anew_finds_what_was_announced_and_announces_nothing_again() -> None:
    cases = bring(NIGHT, place=0.12)
    looked(feed())
    hot_id = matter_of(cases[0])
    more = bring(NIGHT[:1], place=0.12, minutes=15)
    looked(feed(), limit=3)
    assert matter_of(more[0]) == hot_id
    assert len(announcements(hot_id)) == 1


def test_many_workers_at_once_announce_once() -> None:
    cases = bring(NIGHT, place=0.14)
    watching = [feed() for _ in range(4)]

    def look(one: Feed) -> int:
        try:
            return looked(one)
        except Conflict:
            return 0

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(look, watching))
    for one in watching:
        looked(one)
    hot_id = matter_of(cases[0])
    assert {matter_of(case) for case in cases} == {hot_id} != {None}
    assert len(announcements(hot_id)) == 1


def test_a_step_that_was_rolled_back_is_done_again() -> None:
    cases = bring(NIGHT, place=0.16)
    watching = feed()

    def fail() -> None:
        with transaction(program()) as session:
            assert watching.step(session, at=NOW + timedelta(minutes=30), limit=500).announced
            raise RuntimeError("the worker dies before the commit")

    with pytest.raises(RuntimeError):
        fail()
    assert matter_of(cases[0]) is None
    looked(watching)
    assert len(announcements(matter_of(cases[0]))) == 1


def test_applications_and_praise_are_no_trouble() -> None:
    cases = bring(NIGHT[:3], place=0.18, process="service_item", kind="application")
    cases += bring(NIGHT[3:], place=0.18, minutes=5, kind="praise")
    looked(feed())
    assert {matter_of(case) for case in cases} == {None}


def test_unlike_reports_are_nobodys_matter() -> None:
    cases = bring(OTHERS, place=0.20)
    looked(feed())
    assert {matter_of(case) for case in cases} == {None}


def test_a_decision_needs_a_reason_stays_with_the_matter_and_is_not_overwritten() -> None:
    cases = bring(NIGHT, place=0.22)
    looked(feed())
    hot_id = matter_of(cases[0])
    assert hot_id is not None
    at = NOW + timedelta(hours=1)
    with pytest.raises(Invalid), transaction(actor(Role.SUPERVISOR)) as session:
        hot_matters.decide(session, hot_id, state="dismissed", reason=" ", version=1, at=at)
    with pytest.raises(Invalid), transaction(actor(Role.SUPERVISOR)) as session:
        hot_matters.decide(session, hot_id, state="new", reason="x", version=1, at=at)
    with transaction(actor(Role.SUPERVISOR, name="督查甲")) as session:
        hot_matters.decide(session, hot_id, state="dismissed", reason="同一场婚宴", version=1, at=at)
    with pytest.raises(Conflict), transaction(actor(Role.OPERATOR)) as session:
        hot_matters.decide(session, hot_id, state="watched", reason="再看", version=1, at=at)
    with pytest.raises(NotFound), transaction(actor(Role.OPERATOR)) as session:
        hot_matters.decide(session, uuid.uuid4(), state="watched", reason="再看", version=1, at=at)
    with snapshot(actor(Role.OPERATOR)) as session:
        found, _ = hot_matters.one(session, hot_id, at=at)
        order = [one.state == "dismissed" for one in hot_matters.listed(session, at=at)]
    assert (found.state, found.version) == ("dismissed", 2)
    assert [(said["by"], said["reason"]) for said in found.decisions] == [("督查甲", "同一场婚宴")]
    assert order == sorted(order), "dismissed ones last"


def readable(who: Actor, hot_id: uuid.UUID | None) -> bool:
    with snapshot(who) as session:
        return bool(session.scalar(text("SELECT count(*) FROM hot_matter WHERE id = :id"), {"id": hot_id}))


def test_only_the_centre_sees_hot_matters_and_a_person_of_a_town_those_of_the_town() -> None:
    cases = bring(NIGHT, place=0.24)
    looked(feed())
    hot_id = matter_of(cases[0])
    assert readable(actor(Role.OFFICIAL), hot_id)
    assert readable(actor(Role.OPERATOR, town=TOWN), hot_id)
    assert not readable(actor(Role.OPERATOR, town="990100009"), hot_id)
    assert not readable(actor(Role.UNIT, unit="U1"), hot_id)
    assert not readable(actor(Role.CITIZEN), hot_id)
    assert not readable(actor(Role.OPERATOR, district="990199"), hot_id)

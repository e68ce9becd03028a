"""Who is at a case: the first stays, the lease runs out, taking over asks a word; live counts; who is on."""

import asyncio
import re
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from api.pages import handling as pages
from core.actor import Actor, Role
from core.db import snapshot, transaction
from core.errors import Invalid
from dispatch.models import Case
from grid.models import Account
from hotline.desk import handling
from hotline.desk.shift import people
from tests import builders, tiny

pytestmark = pytest.mark.web

SignIn = Callable[[str], TestClient]
NOW = datetime.now(UTC)


@pytest.fixture
def case_id() -> uuid.UUID:
    with transaction(builders.program(tiny.DISTRICT)) as session:
        return builders.make_case(session, district=tiny.DISTRICT, at=NOW - timedelta(hours=1)).id


def person(name: str) -> Actor:
    return Actor(uuid.uuid5(uuid.NAMESPACE_DNS, name), name, Role.OPERATOR, tiny.DISTRICT)


def hold(name: str, case_id: uuid.UUID, *, after_s: int = 0, word: str | None = None) -> handling.Held:
    with transaction(person(name)) as session:
        return handling.hold(session, case_id, at=NOW + timedelta(seconds=after_s), word=word)


def test_the_first_who_opens_a_case_is_at_it_and_the_second_is_told(case_id: uuid.UUID) -> None:
    assert hold("甲", case_id).mine
    told = hold("乙", case_id, after_s=10)
    assert (told.mine, told.name) == (False, "甲")


def test_a_page_that_is_gone_lets_go_by_itself(case_id: uuid.UUID) -> None:
    hold("甲", case_id)
    assert not hold("乙", case_id, after_s=70).mine
    assert hold("乙", case_id, after_s=80).mine


def test_a_page_that_speaks_up_keeps_the_case(case_id: uuid.UUID) -> None:
    first = hold("甲", case_id)
    assert hold("甲", case_id, after_s=60).since == first.since
    assert not hold("乙", case_id, after_s=120).mine


def test_taking_over_asks_a_word_and_the_colleague_reads_it(case_id: uuid.UUID) -> None:
    hold("甲", case_id)
    with pytest.raises(Invalid, match="in a word"):
        hold("乙", case_id, after_s=5, word=" ")
    assert hold("乙", case_id, after_s=5, word="来电人又打来了").mine
    told = hold("甲", case_id, after_s=10)
    assert (told.mine, told.name, told.taken_from, told.word) == (False, "乙", "甲", "来电人又打来了")


def test_the_desk_shows_who_is_at_a_case(signed_in: SignIn, case_id: uuid.UUID) -> None:
    with snapshot(builders.program(tiny.DISTRICT)) as session:
        from dispatch.sheet import facts

        number = facts(session, case_id).number
    assert "data-mine" in signed_in("operator").post(f"/desk/handling/{number}", data={"do": "open"}).text
    other = signed_in("supervisor")
    assert "接手" in other.post(f"/desk/handling/{number}").text
    assert "data-mine" in other.post(f"/desk/handling/{number}", data={"do": "take", "word": "督办"}).text
    assert signed_in("streets").post(f"/desk/handling/{number}").status_code == 403


def test_an_open_desk_is_told_the_counts_and_its_colleagues(case_id: uuid.UUID) -> None:
    # By the clock of the page, and not by that of the file's beginning.
    with transaction(person("甲")) as session:
        handling.hold(session, case_id, at=datetime.now(UTC))
    with snapshot(builders.program(tiny.DISTRICT)) as session:
        account = session.scalars(select(Account).where(Account.login == "operator")).one()
    actor = Actor(account.id, account.name, Role.OPERATOR, tiny.DISTRICT)

    async def first() -> bytes:
        news = pages._news(actor)
        await anext(news)
        return await anext(news)

    # In a thread of its own: a browser that was driven in this one has left its loop there.
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(lambda: asyncio.run(first())).result()
    assert told.startswith(b"event: desk\ndata: ")
    found = orjson.loads(told.partition(b"data: ")[2])
    assert "甲" in found["handlers"].values()
    assert found["counts"]["waiting"] >= 1


def test_the_shift_shows_who_is_on_oneself_first_and_what_each_does(signed_in: SignIn, case_id: uuid.UUID) -> None:
    operator = signed_in("operator")
    with snapshot(builders.program(tiny.DISTRICT)) as session:
        from dispatch.sheet import facts

        number = facts(session, case_id).number
        me = session.scalars(select(Account).where(Account.login == "operator")).one()
    assert operator.post("/phone/seat", data={"do": "take", "extension": "8055"}).status_code == 303
    assert operator.post(f"/desk/handling/{number}", data={"do": "open"}).status_code == 200
    with transaction(person("阿班")) as session:
        handling.hold(session, other_case(), at=datetime.now(UTC))
    try:
        page = operator.get("/desk/shift").text
        rows = re.findall(r"<tr.*?</tr>", page.partition("<tbody>")[2], re.DOTALL)
        assert 'class="mine"' in rows[0]
        assert me.name in rows[0]
        assert "8055" in rows[0]
        assert number in rows[0]
        assert any("阿班" in row for row in rows[1:])
        part = operator.get("/desk/shift", headers={"HX-Request": "true"}).text
        assert "<html" not in part
        assert number in part
    finally:
        operator.post("/phone/seat", data={"do": "leave"})
    assert signed_in("supervisor").get("/desk/shift").status_code == 200
    assert signed_in("streets").get("/desk/shift").status_code == 403
    for page in ("/desk", "/desk/new"):
        assert 'href="/desk/shift"' in operator.get(page).text


def other_case() -> uuid.UUID:
    with transaction(builders.program(tiny.DISTRICT)) as session:
        return builders.make_case(session, district=tiny.DISTRICT, at=NOW - timedelta(hours=1)).id


def test_the_shift_counts_the_cases_that_each_wrote_to_since_its_beginning(case_id: uuid.UUID) -> None:
    who, at = person("计数员"), datetime.now(UTC)
    with transaction(builders.program(tiny.DISTRICT)) as session:
        case = session.get(Case, (tiny.DISTRICT, case_id))
        assert case is not None
        builders.make_entry(session, case, "note", at=at - timedelta(minutes=5), by=who)
        builders.make_entry(session, case, "note", at=at - timedelta(minutes=4), by=who)
    with snapshot(who) as session:
        now = {one.name: one for one in people(session, since=at - timedelta(hours=1), at=at)}
        assert (now["计数员"].cases, now["计数员"].mine, now["计数员"].seat) == (1, True, None)
        later = {one.name for one in people(session, since=at - timedelta(minutes=1), at=at)}
    assert "计数员" not in later

"""The unit's inbox and the case sheet through HTTP."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from core.db import transaction
from dispatch.models import Case, Disclosure, Entry
from tests import builders, tiny

pytestmark = pytest.mark.web

SignIn = Callable[[str], TestClient]
Send = Callable[..., str]


@pytest.fixture
def send() -> Send:
    """Return a function that writes a case which lies with a unit, with its clocks, and returns its number."""

    def make(unit: str = tiny.STREETS, state: str = "dispatched", **known: Any) -> str:
        at = datetime.now(UTC) - timedelta(hours=1)
        filled: dict[str, Any] = {"district": tiny.DISTRICT, "at": at, "town_code": tiny.WEST, "category_code": "1001"}
        with transaction(builders.program(tiny.DISTRICT)) as session:
            case = builders.make_case(session, unit=unit, state=state, **filled | known)
            builders.make_assignment(session, case, unit, state={"dispatched": "sent"}.get(state, state))
            if state == "dispatched":
                builders.make_deadline(session, case, "sign", limit="4wh")
            builders.make_deadline(session, case, "reply")
            return case.number

    return make


def stored(number: str) -> Case:
    with transaction(builders.program(tiny.DISTRICT)) as session:
        case = session.scalars(select(Case).where(Case.district_code == tiny.DISTRICT, Case.number == number)).one()
        session.expunge(case)
        return case


def actions(number: str) -> list[str]:
    case = stored(number)
    with transaction(builders.program(tiny.DISTRICT)) as session:
        where = (Entry.district_code == tiny.DISTRICT, Entry.case_id == case.id)
        return list(session.scalars(select(Entry.action).where(*where).order_by(Entry.seq)))


def form(number: str, **more: str) -> dict[str, str]:
    case = stored(number)
    return {"version": str(case.version), "seen": str(case.entries)} | more


def test_an_inbox_holds_what_the_unit_leads_and_nothing_else(signed_in: SignIn, send: Send) -> None:
    mine, theirs = send(tiny.STREETS), send(tiny.WATER)
    clerk = signed_in("streets")
    page = clerk.get("/unit").text
    assert f"r-{mine}" in page
    assert theirs not in page
    assert clerk.get(f"/unit/{mine}").status_code == 200
    for path in (f"/unit/{theirs}", f"/cases/{theirs}"):
        assert clerk.get(path).status_code == 404
    for action in ("sign", "return", "reply", "note"):
        assert clerk.post(f"/unit/{theirs}/{action}", data=form(theirs)).status_code == 404
    assert actions(theirs) == ["receive"]


def test_the_inbox_is_for_units_only(client: TestClient, signed_in: SignIn) -> None:
    assert client.get("/unit").headers["location"].startswith("/login")
    for login in ("operator", "official", "gridwest", "admin"):
        assert signed_in(login).get("/unit").status_code == 403, login


def test_what_is_due_today_stands_in_big_numbers(signed_in: SignIn, send: Send) -> None:
    def overdue() -> int:
        page = clerk.get("/unit").text
        found = re.search(r'class="over".*?class="count">([\d,]+)<', page, re.DOTALL)
        assert found
        return int(found[1].replace(",", ""))

    clerk = signed_in("westoffice")
    before = overdue()
    late = send(tiny.WEST_OFFICE, due_in=timedelta(minutes=10))
    assert overdue() == before + 1
    assert f"r-{late}" in clerk.get("/unit?colour=3").text


def test_signing_leads_back_to_the_same_place_of_the_same_list(signed_in: SignIn, send: Send) -> None:
    number = send()
    clerk = signed_in("streets")
    answer = clerk.post(f"/unit/{number}/sign", data=form(number, back="state=dispatched&sort=newest"))
    assert answer.status_code == 303
    target = answer.headers["location"]
    assert target.startswith("/unit?state=dispatched&sort=newest&")
    assert target.endswith(f"#r-{number}")
    assert 'role="status"' in clerk.get(target.partition("#")[0]).text
    assert stored(number).state == "signed"


def test_the_way_back_cannot_lead_elsewhere(signed_in: SignIn, send: Send) -> None:
    number = send()
    answer = signed_in("streets").post(f"/unit/{number}/sign", data=form(number, back="//evil.example/?x=1"))
    assert answer.headers["location"].startswith("/unit?")


def test_a_second_click_signs_once(signed_in: SignIn, send: Send) -> None:
    number = send()
    clerk = signed_in("streets")
    same = form(number)
    first, second = (clerk.post(f"/unit/{number}/sign", data=same) for _ in range(2))
    assert (first.status_code, second.status_code) == (303, 303)
    assert "did=repeated" in second.headers["location"]
    assert actions(number) == ["receive", "sign"]


def test_each_step_says_what_it_does_to_the_clocks(signed_in: SignIn, send: Send) -> None:
    number = send()
    page = signed_in("streets").get(f"/unit/{number}?lang=en").text
    effects = re.search(r"/sign\".*?class=\"effects\"[^>]*>(.*?)</div>", page, re.DOTALL)
    assert effects
    assert "“to be signed for” stops" in effects[1]
    assert "“to be answered” goes on" in effects[1], "signing late gains nothing"


@pytest.mark.parametrize("missing", ["reason_code", "legal_basis", "reason"])
def test_a_return_needs_code_basis_and_reason(signed_in: SignIn, send: Send, missing: str) -> None:
    number = send()
    clerk = signed_in("streets")
    full = {"reason_code": "not_our_duty", "legal_basis": "权责清单第 12 项", "reason": "属水务职责"}
    answer = clerk.post(f"/unit/{number}/return", data=form(number, **full | {missing: ""}))
    assert answer.status_code == 422
    kept = next(value for name, value in full.items() if name != missing and name != "reason_code")
    assert kept in answer.text, "what was entered is kept"
    assert stored(number).state == "dispatched"


def test_a_returned_case_goes_back_to_the_desk_and_stays_readable(signed_in: SignIn, send: Send) -> None:
    number = send()
    clerk = signed_in("streets")
    full = {"reason_code": "not_our_duty", "legal_basis": "权责清单第 12 项", "reason": "属水务职责"}
    answer = clerk.post(
        f"/unit/{number}/return", data=form(number, **full | {"suggested_unit": "区水务局", "next": "x1"})
    )
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].endswith("#r-x1"), "its neighbour's line, as its own is gone"
    case = stored(number)
    assert (case.state, case.unit_code, case.returns) == ("received", None, 1)
    page = clerk.get(f"/unit/{number}").text
    assert "属水务职责" in page
    assert f"/unit/{number}/sign" not in page
    assert f"/unit/{number}/note" in page


def test_an_answer_is_what_the_resident_will_read(signed_in: SignIn, send: Send) -> None:
    number = send(state="signed")
    clerk = signed_in("streets")
    page = clerk.get(f"/unit/{number}").text
    assert page.count("<option value=") >= 5, "texts to begin with"
    assert clerk.post(f"/unit/{number}/reply", data=form(number, answer=" ")).status_code == 422
    text = "已于今日清运完毕。<b>谢谢</b>"
    assert clerk.post(f"/unit/{number}/reply", data=form(number, answer=text)).status_code == 303
    case = stored(number)
    assert (case.state, case.answer) == ("replied", text)
    assert "<b>谢谢" not in clerk.get(f"/unit/{number}").text


def test_a_stale_page_says_who_did_what_and_keeps_the_answer(signed_in: SignIn, send: Send) -> None:
    number = send(state="signed")
    clerk = signed_in("streets")
    old = form(number, answer="花了半小时写的答复")
    moved = {"unit": "区水务局", "reason": "职责在水务"}
    done = signed_in("operator").post(
        f"/desk/case/{number}/redispatch", data=form(number, **moved), headers={"HX-Request": "true"}
    )
    assert done.status_code == 200, done.text
    refused = clerk.post(f"/unit/{number}/reply", data=old)
    assert refused.status_code == 409
    assert "职责在水务" in refused.text
    assert "区水务局" in refused.text
    assert "花了半小时写的答复" in refused.text or "reply" not in refused.text
    assert stored(number).unit_code == tiny.WATER
    assert stored(number).answer is None


@pytest.mark.parametrize("action", ["close", "callback", "rework", "refuse", "redispatch", "dispatch", "correct"])
def test_a_unit_cannot_close_or_move_its_own_case(signed_in: SignIn, send: Send, action: str) -> None:
    number = send(state="replied" if action in ("close", "callback", "rework") else "signed")
    more = {"reason": "我说办完了", "satisfaction": "5", "unit": tiny.WATER}
    answer = signed_in("streets").post(f"/unit/{number}/{action}", data=form(number, **more))
    assert answer.status_code in (403, 409)
    assert actions(number) == ["receive"]


def test_a_sheet_explains_its_deadline_day_by_day(signed_in: SignIn, send: Send) -> None:
    number = send()
    page = signed_in("streets").get(f"/cases/{number}").text
    assert page.count('<table class="trace"') == 2
    assert "data-print" in page


def test_lists_of_officials_offer_nothing_to_press(signed_in: SignIn, send: Send) -> None:
    number = send(town_code=tiny.EAST)
    west = send(town_code=tiny.WEST)
    official = signed_in("officialeast")
    page = official.get("/cases?sort=newest").text
    assert number in page
    assert west not in page
    sheet = official.get(f"/cases/{number}").text
    assert "disclose" not in sheet
    assert official.get(f"/cases/{west}").status_code == 404
    assert official.post(f"/cases/{number}/disclose", data={"field": "phone", "reason": "想看"}).status_code == 403


def test_a_phone_is_shown_once_and_the_look_is_written_down(signed_in: SignIn, send: Send) -> None:
    number = send(phone="13712345678", name="赵六")
    clerk = signed_in("streets")
    assert "13712345678" not in clerk.get(f"/cases/{number}").text
    refused = clerk.post(f"/cases/{number}/disclose", data={"field": "phone", "reason": ""})
    assert refused.status_code == 422
    shown = clerk.post(f"/cases/{number}/disclose", data={"field": "phone", "reason": "联系核实位置"})
    assert "13712345678" in shown.text
    again = clerk.get(f"/cases/{number}").text
    assert "13712345678" not in again
    assert "联系核实位置" in again
    with transaction(builders.program(tiny.DISTRICT)) as session:
        rows = session.scalars(select(Disclosure).where(Disclosure.case_id == stored(number).id)).all()
    assert len(rows) == 1

"""The unit's inbox and the case sheet through HTTP."""

import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select
from starlette.testclient import TestClient

from api import wiring
from core.db import transaction
from dispatch.models import Attachment, Case, Disclosure, Entry
from grid.openings import OPEN_FOR
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


def test_unit_reads_an_alias_and_opens_the_phone_for_a_quarter_of_an_hour(
    signed_in: SignIn, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = send(phone="13712345678", name="赵六")
    clerk = signed_in("streets")
    closed = clerk.get(f"/cases/{number}").text
    assert re.search(r"市民[2-9A-Z]{4}", closed)
    assert not any(told in closed for told in ("13712345678", "137****", "赵"))
    given = {"field": "phone", "why": "contact", "reason": "联系核实位置"}
    for wrong in ({"reason": ""}, {"why": ""}, {"why": "curious"}, {"field": "password"}):
        assert clerk.post(f"/cases/{number}/disclose", data=given | wrong).status_code == 422
    shown = clerk.post(f"/cases/{number}/disclose", data=given)
    assert "13712345678" in shown.text
    again = clerk.get(f"/cases/{number}").text
    assert "13712345678" in again, "the same person, the same case"
    assert "联系核实位置" in again
    assert "13712345678" not in signed_in("operator").get(f"/cases/{number}").text
    later = wiring.now() + OPEN_FOR + timedelta(seconds=1)
    monkeypatch.setattr(wiring, "now", lambda: later)
    late = clerk.get(f"/cases/{number}").text
    assert "联系核实位置" in late
    assert "13712345678" not in late
    with transaction(builders.program(tiny.DISTRICT)) as session:
        rows = session.scalars(select(Disclosure).where(Disclosure.case_id == stored(number).id)).all()
    assert len(rows) == 1


# Many at once.


def test_many_are_signed_for_at_once_and_each_result_is_told(signed_in: SignIn, send: Send) -> None:
    first, second, gone, theirs = send(), send(), send(), send(tiny.WATER)
    clerk = signed_in("streets")
    chosen = [f"{n}:{stored(n).version}" for n in (first, second, gone)] + [f"{theirs}:1", "999:1"]
    assert clerk.post(f"/unit/{second}/sign", data=form(second)).status_code == 303
    moved = {"unit": "区水务局", "reason": "职责在水务"}
    signed_in("operator").post(f"/desk/case/{gone}/redispatch", data=form(gone, **moved))
    page = clerk.post("/unit/sign", data={"case": chosen})
    assert page.status_code == 200
    marks = dict(re.findall(r'<li class="(good|known|bad)".*?/unit/(\w+)"', page.text))
    assert [mark for mark, _number in re.findall(r'<li class="(good|known|bad)".*?/unit/(\w+)"', page.text)] == [
        *("good", "known", "bad", "bad", "bad"),
    ], marks
    assert "区水务局" in page.text, "why it was refused"
    assert [stored(n).state for n in (first, second, gone, theirs)] == ["signed", "signed", "dispatched", "dispatched"]
    assert actions(theirs) == ["receive"]


def test_a_case_that_changed_meanwhile_is_not_signed_for_unseen(signed_in: SignIn, send: Send) -> None:
    number = send()
    old = stored(number).version
    clerk = signed_in("streets")
    clerk.post(f"/unit/{number}/note", data=form(number, note="现场围挡"))
    page = clerk.post("/unit/sign", data={"case": [f"{number}:{old}"]})
    assert 'class="bad"' in page.text
    assert actions(number) == ["receive", "note"]


def test_signing_for_many_is_bounded_and_needs_a_choice(signed_in: SignIn) -> None:
    clerk = signed_in("streets")
    assert clerk.post("/unit/sign", data={}).status_code == 422
    assert clerk.post("/unit/sign", data={"case": [f"{n}:1" for n in range(101)]}).status_code == 422


# Shares.


@pytest.fixture
def shared(send: Send, signed_in: SignIn) -> str:
    """Return the number of a case that streets leads and water assists in."""
    number = send(state="signed", process_version=2)
    with_unit = form(number, unit="区水务局", task="核查排水口")
    added = signed_in("streets").post(f"/unit/{number}/add_unit", data=with_unit)
    assert added.status_code == 303, added.text
    return number


def test_a_share_stands_in_the_box_of_the_unit_that_assists_until_it_answers(signed_in: SignIn, shared: str) -> None:
    helper = signed_in("water")
    assert f"r-{shared}" not in helper.get("/unit").text, "it does not lead"
    box = helper.get("/unit?box=shares").text
    assert f"r-{shared}" in box
    page = helper.get(f"/unit/{shared}").text
    assert "核查排水口" in page
    assert f"/unit/{shared}/share_sign" in page
    assert f"/unit/{shared}/reply" not in page
    assert helper.post("/unit/sign", data={"case": [f"{shared}:{stored(shared).version}"]}).status_code == 200
    assert actions(shared)[-1] == "share_sign"
    answered = helper.post(f"/unit/{shared}/share_reply", data=form(shared, opinion="排水口完好", agrees="yes"))
    assert answered.status_code == 303, answered.text
    assert f"r-{shared}" not in helper.get("/unit?box=shares").text, "nothing is left to do for it"
    assert "排水口完好" in signed_in("streets").get(f"/unit/{shared}").text


def test_the_lead_does_not_see_a_reply_before_every_needed_share_is_in(signed_in: SignIn, shared: str) -> None:
    lead = signed_in("streets")
    assert f"/unit/{shared}/reply" not in lead.get(f"/unit/{shared}").text
    closing = {"answer": "已处理。", "truth": "yes", "duty": "yes", "contacted": "yes", "solved": "yes"}
    refused = lead.post(f"/unit/{shared}/reply", data=form(shared, **closing))
    assert refused.status_code == 409
    assert "区水务局" in refused.text
    assert "已处理。" in refused.text, "what was written can be copied"


# Forms.


def test_an_answer_with_open_places_is_not_sent(signed_in: SignIn, send: Send) -> None:
    number = send(state="signed", place_name="望湖中学")
    clerk = signed_in("streets")
    page = clerk.get(f"/unit/{number}").text
    assert f"编号{number}" in page, "texts to begin with are filled in from the case"
    assert "{number}" not in page
    for answer in ("已于【日期】清运。", "已于____清运。", "编号{number}已办。"):
        refused = clerk.post(f"/unit/{number}/reply", data=form(number, answer=answer))
        assert refused.status_code == 422, answer
        assert answer in refused.text
    assert stored(number).answer is None


def test_the_closing_form_is_asked_by_kind_and_an_error_stands_beside_its_field(signed_in: SignIn, send: Send) -> None:
    number = send(state="signed", process_version=2)
    clerk = signed_in("streets")
    refused = clerk.post(
        f"/unit/{number}/reply",
        data=form(number, answer="无法解决。", truth="yes", duty="yes", contacted="yes", solved="no"),
    )
    assert refused.status_code == 422
    assert re.search(r'id="s-reply-unsolved_reason-e"', refused.text), "the reason is needed where it is not solved"
    assert re.search(r'name="solved" value="no" required checked', refused.text)
    praise = send(state="signed", process_version=2, kind="praise")
    assert 'name="truth"' not in clerk.get(f"/unit/{praise}").text


def test_photos_before_and_after_come_with_the_reply_and_survive_a_refusal(signed_in: SignIn, send: Send) -> None:
    number = send(state="signed")
    clerk = signed_in("streets")
    files = [
        ("photos_before", ("b.png", _png("red"), "image/png")),
        ("photos_after", ("a.png", _png("blue"), "image/png")),
    ]
    refused = clerk.post(f"/unit/{number}/reply", data=form(number, answer=""), files=files)
    assert refused.status_code == 422
    kept = re.findall(r'name="photos_kept" value="([^"]+)"', refused.text)
    assert len(kept) == 2
    assert photos(number) == [], "a refused step leaves nothing on the case"
    sent = clerk.post(
        f"/unit/{number}/reply", data=form(number, answer="已清运。") | {"photos_kept": [*kept, "forged"]}
    )
    assert sent.status_code == 303, sent.text
    assert photos(number) == ["after", "before"]
    page = clerk.get(f"/unit/{number}").text
    assert page.count("/photos/") >= 2
    assert clerk.post(
        f"/unit/{number}/note", data=form(number, note="x"), files=[("photos_evidence", ("x.png", b"no", "image/png"))]
    ).status_code in (415, 422)


def test_what_a_span_comes_to_is_said_while_it_is_typed(signed_in: SignIn, send: Send) -> None:
    number = send(state="signed", process_version=2)
    clerk = signed_in("streets")
    ask = f"/unit/{number}/extend_ask/effects"
    assert "If it is granted" not in clerk.get(ask, params={"lang": "en"}).text
    told = clerk.get(ask, params={"span_n": "3", "span_u": "wd"}).text
    assert "3 working days" in told
    assert "instead of" in told
    assert "instead of" not in clerk.get(ask, params={"span_n": "x", "span_u": "wd"}).text
    assert clerk.get(f"/unit/{number}/close/effects").status_code == 200, "a step that is not on offer says nothing"
    clerk.get("/?lang=zh")


def test_an_extension_is_asked_once_and_the_page_says_what_waits(signed_in: SignIn, send: Send) -> None:
    number = send(state="signed", process_version=2)
    clerk = signed_in("streets")
    asked = {"span_n": "3", "span_u": "wd", "reason": "需会同施工单位"}
    assert clerk.post(f"/unit/{number}/extend_ask", data=form(number, **asked)).status_code == 303
    page = clerk.get(f"/unit/{number}").text
    assert f"/unit/{number}/extend_ask" not in page
    assert f"r-{number}" in clerk.get("/unit?box=pleas").text
    too_long = send(state="signed", process_version=2)
    refused = clerk.post(f"/unit/{too_long}/extend_ask", data=form(too_long, **asked | {"span_n": "99"}))
    assert refused.status_code == 422
    assert 'name="span_n" min="1" max="180" inputmode="numeric" value="99"' in refused.text


def test_the_log_is_a_timeline_by_day_with_both_times_of_a_late_entry(signed_in: SignIn, send: Send) -> None:
    number = send(state="signed")
    case = stored(number)
    with transaction(builders.program(tiny.DISTRICT)) as session:
        held = session.merge(case)
        at = datetime(2026, 11, 18, 6, 0, tzinfo=UTC)
        entry = {"at": at, "happened_at": at - timedelta(hours=5), "data": {"note": "事后补记"}}
        builders.make_entry(session, held, "note", **entry)
    page = signed_in("streets").get(f"/unit/{number}").text
    assert "2026年11月18日" in page
    assert "补录" in page or "事后" in page


def photos(number: str) -> list[str]:
    with transaction(builders.program(tiny.DISTRICT)) as session:
        where = (Attachment.district_code == tiny.DISTRICT, Attachment.case_id == stored(number).id)
        return sorted(session.scalars(select(Attachment.purpose).where(*where)))


def _png(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(out, "PNG")
    return out.getvalue()

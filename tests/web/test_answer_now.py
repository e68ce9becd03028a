"""An enquiry that words settle is closed from the call in one step; what needs a unit is not, and older cases never."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from api import wiring
from core.db import snapshot, transaction
from core.ids import new_id
from dispatch.models import Case, Deadline, Entry, Outbox
from dispatch.numbers import access_code
from hotline.desk import articles
from hotline.desk.articles import Found, Written
from tests import builders, tiny
from tests.web.conftest import csrf

pytestmark = pytest.mark.web

SignIn = Callable[[str], TestClient]
NOW = datetime.now(UTC)
ASKED = "请问办理居住证需要带什么材料"
COMPLAINT = "滨湖路18号门口垃圾堆了三天没人清运，居住证的事顺便问一下"


@pytest.fixture
def operator(signed_in: SignIn) -> TestClient:
    return signed_in("operator")


@pytest.fixture(scope="module")
def article(_ground: None) -> Found:
    words = Written("居住证怎么办理", "带身份证和租房合同。\n\n- 免费", "居住证", review_on=date(2030, 1, 1))
    with transaction(builders.program(tiny.DISTRICT)) as session:
        return articles.write(session, wiring.rulebook(), words, at=NOW)


def stored(text: str) -> Case | None:
    with snapshot(builders.program(tiny.DISTRICT)) as session:
        case = session.scalars(select(Case).where(Case.district_code == tiny.DISTRICT, Case.text == text)).one_or_none()
        if case is not None:
            session.expunge(case)
        return case


def written(case: Case) -> list[Entry]:
    with snapshot(builders.program(tiny.DISTRICT)) as session:
        found = select(Entry).where(Entry.district_code == tiny.DISTRICT, Entry.case_id == case.id)
        entries = list(session.scalars(found.order_by(Entry.seq)))
        session.expunge_all()
        return entries


def ring_up(operator: TestClient, text: str, **given: str) -> Any:
    return operator.post("/desk/new", data={"text": text, "key": str(new_id())} | given)


def asked(text: str) -> str:
    """Return a text of its own: no test finds the case of another."""
    return f"{text}（{new_id().hex[-10:]}）"


def test_an_enquiry_that_an_article_answers_is_closed_from_the_call(operator: TestClient, article: Found) -> None:
    text = asked(ASKED)
    part = operator.post("/desk/new/understand", data={"text": text, "kind": "enquiry"}).text
    assert f'value="answer:{article.no}.1"' in part
    assert "已据此答复，办结" in part
    assert ring_up(operator, text, kind="enquiry", do=f"answer:{article.no}.1").status_code == 303
    case = stored(text)
    assert case is not None
    assert (case.state, case.open, case.process_version, case.unit_code) == ("closed", False, 3, None)
    assert case.answer == article.body
    closing = written(case)[-1]
    assert (closing.action, closing.actor_role) == ("answer_now", "operator")
    assert closing.data["source"] == f"居住证怎么办理（知识库第{article.no}条第1版）"
    with snapshot(builders.program(tiny.DISTRICT)) as session:
        assert articles.used(session, case.id) == [(article.no, 1, article.title)]
        clocks = session.scalars(select(Deadline).where(Deadline.case_id == case.id)).all()
        told = session.scalars(select(Outbox).where(Outbox.case_id == case.id, Outbox.topic == "citizen.reply")).one()
    assert {clock.clock: clock.outcome for clock in clocks} == {"dispatch": "met", "reply": "met"}
    assert told.payload["heard"] is True
    assert f"第{article.no}条第1版" in operator.get(f"/cases/{case.number}").text
    assert f"/knowledge/{article.no}?version=1" in operator.get(f"/desk?box=ended&case={case.number}").text


def test_the_caller_reads_the_answer_by_the_number_and_may_rate_it(
    operator: TestClient, client: TestClient, article: Found
) -> None:
    text = asked(ASKED)
    ring_up(operator, text, kind="enquiry", do=f"answer:{article.no}.1")
    case = stored(text)
    assert case is not None
    form = {"number": case.number, "code": access_code(case.number), "csrf_token": csrf(client)}
    shown = client.post("/progress", data=form)
    assert shown.status_code == 303
    page = client.get(shown.headers["location"]).text
    assert "带身份证和租房合同" in page
    assert "知识库第" not in page, "what it was answered from is the house's own"
    assert "satisfaction" in page


def test_a_complaint_told_from_an_article_stays_open_and_the_log_says_so(operator: TestClient, article: Found) -> None:
    text = asked(COMPLAINT)
    part = operator.post("/desk/new/understand", data={"text": text, "kind": "complaint"}).text
    assert "已据此告知，继续办理" in part
    ring_up(operator, text, kind="complaint", do=f"answer:{article.no}.1")
    case = stored(text)
    assert case is not None
    assert (case.state, case.answer) == ("received", None)
    assert written(case)[-1].action == "note"
    assert f"第{article.no}条第1版" in written(case)[-1].data["note"]


def test_own_words_close_an_enquiry_and_the_number_is_filled_in(operator: TestClient) -> None:
    text = asked("建议在柳岸花园门口多放一个垃圾桶")
    part = operator.post("/desk/new/understand", data={"text": text, "kind": "suggestion"}).text
    offered = re.search(r'data-text="([^"]+)" data-key="x"', part)
    assert offered
    begun = unescape(offered[1])
    assert begun.startswith("您的建议"), "the text for suggestions alone comes first"
    assert "{number}" in begun
    assert "【" in begun
    filled = re.sub(r"【[^】]*】", "已采纳", begun)
    given = {"kind": "suggestion", "answer": filled, "source": "市容管理规定第8条", "do": "say"}
    assert ring_up(operator, text, **given).status_code == 303
    case = stored(text)
    assert case is not None
    assert case.state == "closed"
    assert case.number in (case.answer or "")
    assert "{" not in (case.answer or "")
    assert written(case)[-1].data["source"] == "市容管理规定第8条"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "enquiry", "answer": "请于【日期】前来。"}, "请先填写或删除"),
        ({"kind": "enquiry", "answer": "  "}, "请写下"),
        ({"kind": "complaint", "answer": "已经告诉他了。"}, "责任单位"),
        ({"kind": "help", "answer": "已经告诉他了。"}, "责任单位"),
    ],
)
def test_a_refused_answer_opens_no_case_and_keeps_every_word(
    operator: TestClient, given: dict[str, str], said: str
) -> None:
    text = asked(ASKED)
    answer = ring_up(operator, text, do="say", **given)
    assert answer.status_code == 422
    assert said in answer.text
    assert text in answer.text
    assert given["answer"].strip() in answer.text
    assert stored(text) is None


def test_an_enquiry_from_elsewhere_is_answered_on_the_desk_and_nobody_heard_it(operator: TestClient) -> None:
    with transaction(builders.program(tiny.DISTRICT)) as session:
        case = builders.make_case(
            session,
            district=tiny.DISTRICT,
            at=NOW - timedelta(hours=1),
            town_code=tiny.WEST,
            kind="enquiry",
            channel="web",
            process_version=3,
        )
        for clock in ("dispatch", "reply"):
            builders.make_deadline(session, case, clock)
        number, version, key = case.number, case.version, case.id
    assert 'data-action="answer_now"' in operator.get(f"/desk?case={number}").text
    form = {"version": str(version), "seen": "1", "answer": "凭身份证即可。"}
    assert operator.post(f"/desk/case/{number}/answer_now", data=form).status_code == 303
    with snapshot(builders.program(tiny.DISTRICT)) as session:
        state = session.scalar(select(Case.state).where(Case.id == key))
        told = session.scalars(select(Outbox).where(Outbox.case_id == key, Outbox.topic == "citizen.reply")).one()
    assert state == "closed"
    assert "heard" not in told.payload


@pytest.mark.parametrize(("version", "kind"), [(1, "enquiry"), (2, "enquiry"), (3, "complaint"), (3, "help")])
def test_older_cases_and_what_needs_a_unit_are_not_offered_it(operator: TestClient, version: int, kind: str) -> None:
    with transaction(builders.program(tiny.DISTRICT)) as session:
        known = {"district": tiny.DISTRICT, "town_code": tiny.WEST, "kind": kind, "process_version": version}
        case = builders.make_case(session, at=NOW - timedelta(hours=1), **known)
        number, seen = case.number, case.version
    assert "answer_now" not in operator.get(f"/desk?case={number}").text
    form = {"version": str(seen), "seen": "1", "answer": "好的"}
    refused = operator.post(f"/desk/case/{number}/answer_now", data=form)
    assert refused.status_code in (404, 409)
    with snapshot(builders.program(tiny.DISTRICT)) as session:
        assert session.scalar(select(Case.state).where(Case.number == number)) == "received"


def test_every_key_of_the_call_page_stands_in_its_dialog(operator: TestClient) -> None:
    page = operator.get("/desk/new").text
    dialog = re.search(r'<dialog id="help".*?</dialog>', page, re.DOTALL)
    assert dialog
    told = set(re.findall(r"<kbd>([^<]+)</kbd>", dialog[0]))
    script = operator.get("/static/call.js").text
    block = re.search(r"const KEYS = \{(.*?)\n  \};", script, re.DOTALL)
    assert block
    keys = set(re.findall(r'^    "?([a-z0-9?])"?: \(\) =>', block[1], re.MULTILINE))
    assert {"1", "d", "?", "x", "f"} <= keys
    assert keys | {"F2", "F4", "F8", "Ctrl", "Enter", "Esc"} == told


def test_every_key_of_the_desk_stands_in_its_dialog(operator: TestClient) -> None:
    dialog = re.search(r'<dialog id="help".*?</dialog>', operator.get("/desk").text, re.DOTALL)
    assert dialog
    told = set(re.findall(r"<kbd>([^<]+)</kbd>", dialog[0]))
    script = operator.get("/static/desk.js").text
    block = re.search(r"  const KEYS = \{(.*?)\n  \};", script, re.DOTALL)
    assert block
    keys = set(re.findall(r'^    "?([a-z0-9/?])"?: \(\) =>', block[1], re.MULTILINE))
    assert keys <= told | {"?"}
    assert {"F2", "F4", "F8", "Enter", "Esc", "t", "j"} <= told

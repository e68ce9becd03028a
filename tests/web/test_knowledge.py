"""Articles: found by words, pinyin and initials, kept in versions, answered from; drafts are their own account's."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from api import wiring
from core.actor import Actor, Role, system
from core.db import snapshot, transaction
from core.errors import Conflict, Invalid
from core.ids import new_id
from dispatch.models import Case
from hotline.desk import articles
from hotline.desk.articles import Written
from hotline.desk.models import Draft
from tests import builders, tiny

pytestmark = pytest.mark.web

SignIn = Callable[[str], TestClient]
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True, scope="module")
def _examples(_ground: None) -> None:
    with transaction(builders.program(tiny.DISTRICT)) as session:
        assert articles.take_examples(session, wiring.rulebook(), at=NOW) == 30
        assert articles.take_examples(session, wiring.rulebook(), at=NOW) == 0, (
            "examples never mix with a district's own"
        )


def titles(words: str) -> list[str]:
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        return [one.title for one in articles.search(session, words, at=NOW)]


@pytest.mark.parametrize("words", ["公积金", "怎么提取公积金", "gongjijin", "gjj", "GJJ", "1"])
def test_an_article_is_found_by_words_pinyin_initials_and_number(words: str) -> None:
    assert titles(words)[0] == "住房公积金提取怎么办"


@pytest.mark.parametrize("words", ["'", "' | '", "\\", "公积金'); DROP TABLE article; --", "🙂", "：", "a:*"])
def test_a_search_is_words_and_never_a_query(words: str) -> None:
    titles(words)


def test_an_enquiry_is_offered_what_holds_and_a_greeting_nothing() -> None:
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        found = articles.suggest(session, "enquiry", "你好，请问居住证要怎么办理", at=NOW)
        assert found[0].title == "居住证怎么办理"
        assert articles.suggest(session, "enquiry", "你好，请问一下", at=NOW) == []
        later = NOW + timedelta(days=500)
        assert found[0].overdue(later)
        assert found[0].holds_on(later), "overdue for review is a warning, not an end"


def test_a_version_never_changes_and_two_editors_do_not_overwrite_each_other() -> None:
    book = wiring.rulebook()
    written = Written("夜间门诊在哪里", "社区医院夜间门诊到21时。", "夜诊", review_on=date(2030, 1, 1))
    with transaction(builders.program(tiny.DISTRICT)) as session:
        first = articles.write(session, book, written, at=NOW)
        second = articles.write(
            session, book, Written("夜间门诊", "到20时。", review_on=date(2030, 1, 1)), no=first.no, seen=1, at=NOW
        )
        assert (second.version, articles.version(session, first.no, 1).body) == (2, "社区医院夜间门诊到21时。")
        with pytest.raises(Conflict, match="meanwhile"):
            articles.write(session, book, written, no=first.no, seen=1, at=NOW)
        begins, ends = date(2026, 2, 1), date(2026, 1, 1)
        wrong = Written("甲", "乙", valid_from=begins, valid_to=ends, review_on=date(2030, 1, 1))
        with pytest.raises(Invalid, match="before the first"):
            articles.write(session, book, wrong, at=NOW)


def test_a_caller_answered_from_an_article_is_written_down_with_its_version(signed_in: SignIn) -> None:
    operator = signed_in("operator")
    text = "请问身份证丢了怎么补办"
    part = operator.post("/desk/new/understand", data={"text": text, "key": "k" * 16}).text
    offered = re.search(r'value="(answer:\d+\.1)"', part)
    assert offered, part
    taken = operator.post("/desk/new", data={"text": text, "key": str(new_id()), "do": offered[1]})
    assert taken.status_code == 303
    with transaction(builders.program(tiny.DISTRICT)) as session:
        case = session.scalars(select(Case).where(Case.text == text)).one()
        no, version, title = articles.used(session, case.id)[0]
    assert (version, title) == (1, "身份证丢失怎么补办")
    assert f"第{no}条第1版" in operator.get(f"/cases/{case.number}").text


def test_operators_read_and_supervisors_write(signed_in: SignIn) -> None:
    operator, supervisor = signed_in("operator"), signed_in("supervisor")
    assert operator.get("/knowledge?q=gjj").status_code == 200
    assert operator.get("/knowledge/new").status_code == 403
    form = {"title": "<b>停车</b>", "body": "<script>alert(1)</script>\n\n- 一\n- 二", "review_on": "2030-01-01"}
    made = supervisor.post("/knowledge/new", data=form)
    assert made.status_code == 303
    shown = operator.get(made.headers["location"]).text
    assert "<script>alert" not in shown
    assert "<li>一</li>" in shown
    refused = supervisor.post("/knowledge/new", data=form | {"review_on": "", "title": "保留我"})
    assert refused.status_code == 422
    assert "保留我" in refused.text


def test_an_older_draft_never_replaces_a_newer_one_and_nobody_else_sees_it(signed_in: SignIn) -> None:
    operator = signed_in("operator")
    key = str(new_id())
    place = f"/desk/drafts/{key}"
    assert operator.post(place, data={"text": "第二次写的话", "revision": "2"}).json() == {"revision": 2}
    assert operator.post(place, data={"text": "第一次", "revision": "1"}).json() == {"revision": 2}
    assert "第二次写的话" in operator.get(f"/desk/new?draft={key}").text
    assert signed_in("supervisor").post(place, data={"text": "x", "revision": "3"}).status_code == 403
    colleague = Actor(new_id(), "同事", Role.OPERATOR, tiny.DISTRICT)
    with snapshot(colleague) as session:
        assert session.scalars(select(Draft)).all() == []
    taken = operator.post("/desk/new", data={"text": "第二次写的话，路灯不亮", "key": key})
    assert taken.status_code == 303
    late = operator.post(place, data={"text": "迟到的草稿", "revision": "9"}).json()
    assert late["revision"] > 9
    assert "迟到的草稿" not in operator.get("/desk/new").text
    for wrong in ({"revision": "0"}, {"revision": "x"}, {}):
        assert operator.post(f"/desk/drafts/{new_id()}", data={"text": "一"} | wrong).status_code == 422

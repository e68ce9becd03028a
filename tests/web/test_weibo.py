"""The ledger of mentions through HTTP: who may look, what a reviewer decides, and hostile words in every field."""

import csv
import io
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from api import wiring
from core.actor import system
from core.db import snapshot, transaction
from hotline.weibo import inbox
from hotline.weibo.models import Mention, MentionEvent
from hotline.weibo.platform import Post
from tests import tiny

pytestmark = pytest.mark.web

SignIn = Callable[[str], TestClient]
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202e\"'&😀👨‍👩‍👧\u200b"


def put(text: str, *, ago: timedelta = timedelta(minutes=5), **known: str) -> str:
    """Store and take one mention; returns its id in the ledger."""
    now = datetime.now(UTC)
    key = uuid.uuid4().hex[:12]
    post = Post(f"t-{key}", text, now - ago, known.get("author_id", key), known.get("author", "某网友"), "", "")
    with transaction(system(tiny.DISTRICT)) as session:
        inbox.store(session, [post], source="file", at=now - ago)
    while (done := inbox.take(wiring.intake(tiny.DISTRICT), at=now)) is not None and done.all:
        pass
    return str(row(f"t-{key}").id)


def row(post_id: str) -> Mention:
    with snapshot(system(tiny.DISTRICT)) as session:
        query = select(Mention).where(Mention.district_code == tiny.DISTRICT)
        key = (Mention.id == uuid.UUID(post_id)) if len(post_id) == 36 else (Mention.post_id == post_id)
        return session.scalars(query.where(key)).one()


def log(mention_id: str) -> list[tuple[str, str, dict[str, object]]]:
    with snapshot(system(tiny.DISTRICT)) as session:
        query = select(MentionEvent.kind, MentionEvent.actor_name, MentionEvent.detail).where(
            MentionEvent.district_code == tiny.DISTRICT, MentionEvent.mention_id == uuid.UUID(mention_id)
        )
        return [(one.kind, one.actor_name, one.detail) for one in session.execute(query.order_by(MentionEvent.id))]


@pytest.mark.parametrize("login", ["streets", "gridwest", "official", "admin", "citizen"])
def test_only_the_centre_sees_the_ledger(signed_in: SignIn, client: TestClient, login: str) -> None:
    made = put("滨湖路31号的垃圾没人清运")
    other = signed_in(login)
    for path in ("/weibo", "/weibo/ledger.csv", f"/weibo/{made}"):
        assert other.get(path).status_code == 403, path
        assert client.get(path).status_code in (303, 401), path
    assert other.post(f"/weibo/{made}", data={"do": "author", "reason": "看看"}).status_code == 403


def test_mention_case_and_what_is_open_stand_side_by_side(signed_in: SignIn) -> None:
    made = put("滨湖路32号的垃圾没人清运")
    found = signed_in("operator").get("/weibo").text
    assert "滨湖路32号" in found
    line = re.search(rf'<a href="/weibo/{made}">.*?</tr>', found, re.DOTALL)
    assert line
    assert re.search(r'href="/cases/\d+[0-9X]"', line[0])


def test_a_reviewer_rejects_only_with_a_reason_and_it_is_written_down(signed_in: SignIn) -> None:
    made = put("你们这帮狗官")
    desk = signed_in("operator")
    assert "狗官" in desk.get("/weibo?box=held").text
    refused = desk.post(f"/weibo/{made}", data={"do": "reject", "reason": " "})
    assert (refused.status_code, row(made).state) == (422, "held")
    assert 'role="alert"' in refused.text
    assert desk.post(f"/weibo/{made}", data={"do": "reject", "reason": "纯辱骂，无诉求"}).status_code == 303
    assert row(made).state == "rejected"
    kind, who, detail = log(made)[-1]
    assert (kind, detail["reason"]) == ("rejected", "纯辱骂，无诉求")
    assert who
    again = desk.post(f"/weibo/{made}", data={"do": "release", "reason": "x"})
    assert again.status_code == 409


def test_a_released_mention_is_taken_and_not_held_again(signed_in: SignIn) -> None:
    made = put("听说滨湖路33号的井盖被偷了，网传的，求证")
    assert row(made).state == "held"
    assert signed_in("supervisor").post(f"/weibo/{made}", data={"do": "release", "reason": ""}).status_code == 303
    inbox.take(wiring.intake(tiny.DISTRICT), at=datetime.now(UTC))
    assert row(made).state == "case"
    assert [kind for kind, _, _ in log(made)] == ["held", "released", "opened"]


def test_an_answer_given_by_hand_is_written_down_and_counts(signed_in: SignIn) -> None:
    made = put("滨湖路34号的路灯不亮", ago=timedelta(minutes=30))
    desk = signed_in("operator")
    assert desk.post(f"/weibo/{made}", data={"do": "by_hand", "reason": "已在评论里答复"}).status_code == 303
    assert (row(made).state, row(made).comment_id) == ("replied", "by hand")
    assert "已在评论里答复" in desk.get("/weibo?box=replied").text


def test_the_author_is_an_alias_until_somebody_says_why(signed_in: SignIn) -> None:
    made = put("滨湖路35号的路灯不亮", author="真实昵称甲乙丙", author_id="7009998887")
    desk = signed_in("operator")
    for path in ("/weibo", f"/weibo/{made}", "/weibo/ledger.csv?box=all"):
        assert "真实昵称甲乙丙" not in desk.get(path).text
        assert "7009998887" not in desk.get(path).text
    assert desk.post(f"/weibo/{made}", data={"do": "author", "reason": ""}).status_code == 422
    shown = desk.post(f"/weibo/{made}", data={"do": "author", "reason": "核实诉求地址"})
    assert "真实昵称甲乙丙" in shown.text
    assert log(made)[-1][0] == "opened_author"
    assert log(made)[-1][2] == {"reason": "核实诉求地址"}


def test_hostile_words_are_escaped_in_every_field(signed_in: SignIn) -> None:
    made = put(f"滨湖路36号 {EVIL}", author=EVIL[:40], author_id="evil")
    held = put(f"狗官 {EVIL}", author=EVIL[:40])
    desk = signed_in("operator")
    desk.post(f"/weibo/{held}", data={"do": "reject", "reason": f"理由 {EVIL}"})
    desk.post(f"/weibo/{made}", data={"do": "author", "reason": f"为何 {EVIL}"})
    desk.post(f"/weibo/{made}", data={"do": "by_hand", "reason": f"答复 {EVIL}"})
    for path in ("/weibo?box=all", f"/weibo/{made}", f"/weibo/{held}", "/weibo", "/weibo?box=all&q=%3Cscript%3Ealert"):
        text = desk.get(path).text
        assert "<script>alert" not in text, path
        assert "<img src=x" not in text, path
    # What turns the writing round is shut in its own element.
    assert "<bdi" in desk.get(f"/weibo/{made}").text


def test_the_export_holds_no_formula(signed_in: SignIn) -> None:
    put('=HYPERLINK("http://x","滨湖路37号路灯不亮")')
    put("  +1滨湖路38号路灯不亮")
    answer = signed_in("operator").get("/weibo/ledger.csv?box=all")
    assert answer.headers["content-type"].startswith("text/csv")
    table = list(csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert len(table) > 2
    assert not any(cell.lstrip()[:1] in ("=", "+", "@") for line in table for cell in line)


@pytest.mark.parametrize(
    "query",
    ["box=nowhere", "from=gestern", "from=2026-12-01&to=2026-11-01", "after=xyz", "source=elsewhere", "to=9999-01-01"],
)
def test_an_address_that_means_nothing_is_told_so(signed_in: SignIn, query: str) -> None:
    assert signed_in("operator").get(f"/weibo?{query}").status_code == 422


def test_the_list_goes_on_where_the_page_ends(signed_in: SignIn) -> None:
    now = datetime.now(UTC)
    posts = [Post(f"many-{i}-{uuid.uuid4().hex[:6]}", f"狗官{i}", now, f"m{i}", "甲") for i in range(60)]
    with transaction(system(tiny.DISTRICT)) as session:
        inbox.store(session, posts, source="file", at=now)
    while (done := inbox.take(wiring.intake(tiny.DISTRICT), at=now)) is not None and done.all:
        pass
    desk = signed_in("operator")
    first = desk.get("/weibo?box=held").text
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older
    second = desk.get(older[1].replace("&amp;", "&")).text
    shown = [set(re.findall(r'href="/weibo/([0-9a-f-]{36})"', text)) for text in (first, second)]
    assert len(shown[0]) == 50
    assert shown[0].isdisjoint(shown[1])
    assert len(shown[1]) >= 10

"""What the platform may say that no platform should: ids and times that cannot be, and answers given by hand meanwhile."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select, update

from core.actor import Actor, Role
from core.crypto import seal
from core.db import transaction
from core.errors import Conflict
from core.ids import new_id
from hotline.outward.adapters import Outgoing, Refused, Sent, recipient
from hotline.outward.models import Delivery
from hotline.weibo import fetch as fetching
from hotline.weibo import files, inbox, ledger, platform
from hotline.weibo.answers import WeiboReply
from hotline.weibo.models import Mention, WeiboCursor
from hotline.weibo.platform import Comment, Page, Post, id_at
from tests import builders, tiny

pytestmark = pytest.mark.database

AT = datetime(2026, 5, 6, 2, 0, tzinfo=UTC)
OPERATOR = Actor(uuid.UUID(int=7), "座席甲", Role.OPERATOR, tiny.DISTRICT)


class Given:
    """A platform that holds some posts and takes comments."""

    def __init__(self, *posts: Post) -> None:
        self.posts = sorted(posts, key=lambda post: int(post.id), reverse=True)
        self.said: list[str] = []

    def mentions(self, *, since_id: int, max_id: int = 0, count: int = 200) -> Page:
        fits = [p for p in self.posts if int(p.id) > since_id and (not max_id or int(p.id) <= max_id)]
        return Page(tuple(fits[:count]))

    def post(self, post_id: str) -> Post:
        return next(post for post in self.posts if post.id == post_id)

    def own_comments(self, post_id: str) -> tuple[Comment, ...]:
        del post_id
        return ()

    def comment(self, post_id: str, text: str) -> str:
        self.said.append(f"{post_id} {text}")
        return "900001"


@pytest.fixture(autouse=True)
def _ground(district: tiny.Tiny) -> Iterator[None]:
    clean = {
        "since_id": 0,
        "top_id": None,
        "low_id": None,
        "next_at": None,
        "failure": None,
        "fails": 0,
        "fetched_at": None,
    }
    with transaction(builders.program(tiny.DISTRICT)) as session:
        session.execute(update(WeiboCursor).where(WeiboCursor.district_code == tiny.DISTRICT).values(**clean))
    yield
    with transaction(builders.program(tiny.DISTRICT)) as session:
        session.execute(update(WeiboCursor).where(WeiboCursor.district_code == tiny.DISTRICT).values(**clean))
        left = (Mention.district_code == tiny.DISTRICT, Mention.state.in_(("received", "held")))
        session.execute(update(Mention).where(*left).values(state="rejected"))


def _post(at: datetime, text: str, *, id_: int = 0) -> Post:
    return Post(str(id_ or id_at(at) + 1), text, at, author_id="5", author="甲")


def test_a_number_that_no_cursor_can_hold_is_no_id() -> None:
    assert platform.post_of({"id": 2**63, "text": "路灯不亮"}) is None
    assert platform.post_of({"idstr": "9999999999999999999", "text": "路灯不亮"}) is None


@pytest.mark.parametrize("odd", [2**63 - 1, id_at(AT + timedelta(days=3000))])
def test_an_id_of_the_future_hides_no_post_that_comes_later(odd: int) -> None:
    served = Given(_post(AT, "荷塘市场门口积水", id_=odd), _post(AT - timedelta(minutes=1), "青石街路灯不亮"))
    done = fetching.fetch(tiny.DISTRICT, served, at=AT)
    assert done is not None
    later = AT + timedelta(hours=2)
    served.posts.append(_post(later - timedelta(minutes=1), "滨湖路井盖翘起"))
    served.posts.sort(key=lambda post: int(post.id), reverse=True)
    for n in range(4):
        fetching.fetch(tiny.DISTRICT, served, at=later + timedelta(seconds=n))
    with transaction(builders.program(tiny.DISTRICT)) as session:
        known = set(session.scalars(select(Mention.post_id).where(Mention.district_code == tiny.DISTRICT)))
    assert {post.id for post in served.posts} <= known, "the odd one, too, is kept"


@pytest.mark.parametrize("year", ["0001", "9999", "1899"])
def test_times_at_the_edge_of_the_calendar_are_no_times(year: str, tmp_path: Path) -> None:
    assert platform.moment(f"Mon Jan 01 00:00:00 +0800 {year}") is None
    table = tmp_path / "posts.csv"
    table.write_text(f"created_at,text\n{year}-01-01 00:00:00,路灯不亮\n", encoding="utf-8")
    problems = files.Problems()
    assert not list(files.read(table, problems))
    assert problems.count == 1, "what the database cannot give back stands in no table"


@pytest.mark.parametrize(("own", "found"), [("42", ["1"]), ("", ["1", "2"])])
def test_our_comment_is_found_again_though_nobody_said_which_account_is_ours(own: str, found: list[str]) -> None:
    shown = {"comments": [{"id": 1, "text": "已修好", "user": {"id": 42}}, {"id": 2, "text": "好", "user": {"id": 43}}]}
    answers = httpx.MockTransport(lambda _: httpx.Response(200, json=shown))
    with platform.Client("https://api.weibo.com", "token", own_id=own, transport=answers) as client:
        assert [one.id for one in client.own_comments("77")] == found


def _answered(post_id: str, *, state: str = "waiting") -> tuple[uuid.UUID, uuid.UUID]:
    """Write a mention with a case and an answer that waits to be posted; return the ids of mention and delivery."""
    with transaction(builders.program(tiny.DISTRICT)) as session:
        case = builders.make_case(session, district=tiny.DISTRICT, at=AT, channel="weibo")
        inbox.store(session, [_post(AT, "路灯不亮", id_=int(post_id))], source="api", at=AT)
        row = session.scalars(select(Mention).where(Mention.post_id == post_id)).one()
        row.state, row.case_id = "case", case.id
        made = new_id()
        session.add(
            Delivery(
                district_code=tiny.DISTRICT,
                id=made,
                message_id=new_id(),
                topic="citizen.reply",
                case_id=case.id,
                number=case.number,
                channel="weibo",
                recipient=recipient("weibo", post_id),
                address_sealed=seal(post_id, context="delivery.address"),
                shown="***",
                text_sealed=seal("已修好", context="delivery.text"),
                state=state,
                created_at=AT,
                next_at=AT,
            )
        )
        return row.id, made


def test_what_a_person_answered_on_the_post_is_not_posted_a_second_time() -> None:
    post_id = str(id_at(AT) + 77)
    mention, delivery = _answered(post_id)
    with transaction(OPERATOR) as session:
        ledger.by_hand(session, mention, words="您好，路灯已修好", at=AT)
    with transaction(builders.program(tiny.DISTRICT)) as session:
        kept = session.get_one(Delivery, (tiny.DISTRICT, delivery))
        assert (kept.state, kept.receipt) == ("sent", "by hand"), "nothing waits to say it again"
    # A pump that had leased it before.
    served = Given(_post(AT, "路灯不亮", id_=int(post_id)))
    reply = WeiboReply(served, clock=lambda: AT)
    sent = reply.send(Outgoing(delivery, post_id, "", "已修好", {"district": tiny.DISTRICT, "number": "1"}))
    assert (sent, served.said) == (Sent("by hand"), [])


def test_nobody_answers_by_hand_while_the_answer_is_on_its_way() -> None:
    post_id = str(id_at(AT) + 78)
    mention, _ = _answered(post_id)
    with transaction(builders.program(tiny.DISTRICT)) as session:
        session.get_one(Mention, (tiny.DISTRICT, mention)).next_at = AT + timedelta(minutes=2)
    with pytest.raises(Conflict), transaction(OPERATOR) as session:
        ledger.by_hand(session, mention, words="您好，路灯已修好", at=AT)
    with transaction(OPERATOR) as session:
        ledger.by_hand(session, mention, words="您好，路灯已修好", at=AT + timedelta(minutes=3))


def test_a_later_answer_is_posted_though_an_earlier_one_was_given_by_hand() -> None:
    post_id = str(id_at(AT) + 79)
    mention, _ = _answered(post_id)
    with transaction(OPERATOR) as session:
        ledger.by_hand(session, mention, words="您好，正在处理", at=AT)
    served = Given(_post(AT, "路灯不亮", id_=int(post_id)))
    told = {"district": tiny.DISTRICT, "number": "1"}
    WeiboReply(served, clock=lambda: AT).send(Outgoing(new_id(), post_id, "", "已全部修好", told))
    assert served.said == [f"{post_id} 已全部修好"]
    with pytest.raises(Refused):
        WeiboReply(served, clock=lambda: AT).send(Outgoing(new_id(), "1", "", "没有这一条", told))

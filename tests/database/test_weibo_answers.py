"""Answers on posts: once for each answer, whatever breaks between the words leaving and the platform saying so."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from api import wiring
from core.crypto import unseal
from core.db import transaction
from dispatch.models import Case
from hotline.outward.adapters import Later, Outgoing, Refused
from hotline.outward.models import Delivery
from hotline.outward.sink import Sink, caught
from hotline.weibo import inbox
from hotline.weibo.answers import WeiboReply, public
from hotline.weibo.models import Mention, MentionEvent
from hotline.weibo.platform import Client, Post
from tests import tiny
from tests.builders import program
from tests.standin_weibo import Standin

pytestmark = pytest.mark.database

AT = datetime(2026, 3, 4, 2, 0, tzinfo=UTC)
WORDS = "您提交的事项（编号202603040000015）已由试验局答复：垃圾已清运。 https://12345.example.cn/progress"


class Clock:
    def __init__(self) -> None:
        self.at = AT + timedelta(hours=1)

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture(autouse=True)
def _ground(district: tiny.Tiny) -> None:
    """Everything stands on the tiny district."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reply(weibo: Client, clock: Clock) -> WeiboReply:
    return WeiboReply(weibo, clock=clock)


@pytest.fixture
def post_id(standin: Standin) -> int:
    """Publish, store and take one mention; returns its id."""
    key = uuid.uuid4().int % 10**6
    made = standin.mention(
        f"滨湖路{key}号的垃圾没人清运", at=AT, author=key, id=((AT.timestamp().__int__() - 515_483_463) << 22) + key
    )
    take(Post(str(made), f"滨湖路{key}号的垃圾没人清运", AT, str(key), "某人"))
    return made


def take(*posts: Post, at: datetime = AT, address: str = "") -> None:
    with transaction(program(tiny.DISTRICT)) as session:
        inbox.store(session, posts, source="file", at=at)
    while (done := inbox.take(wiring.intake(tiny.DISTRICT), at=at, address=address)) is not None and done.all:
        pass


def outgoing(post_id: int | str, words: str = WORDS) -> Outgoing:
    extra = {"district": tiny.DISTRICT, "number": "202603040000015", "topic": "citizen.reply"}
    return Outgoing(uuid.uuid5(uuid.NAMESPACE_OID, f"{post_id}{words}"), str(post_id), "", words, extra)


def row(post_id: int | str) -> Mention:
    with transaction(program(tiny.DISTRICT)) as session:
        query = select(Mention).where(Mention.district_code == tiny.DISTRICT, Mention.post_id == str(post_id))
        return session.scalars(query).one()


def kinds(post_id: int | str) -> list[str]:
    with transaction(program(tiny.DISTRICT)) as session:
        query = select(MentionEvent.kind).where(
            MentionEvent.district_code == tiny.DISTRICT, MentionEvent.mention_id == row(post_id).id
        )
        return list(session.scalars(query.order_by(MentionEvent.id)))


def test_an_answer_is_posted_on_that_very_post_once(
    reply: WeiboReply, standin: Standin, post_id: int, clock: Clock
) -> None:
    first = reply.send(outgoing(post_id))
    assert reply.send(outgoing(post_id)) == first
    assert standin.own_texts(post_id) == [WORDS]
    found = row(post_id)
    assert (found.state, found.replied_at, found.comment_id) == ("replied", clock.at, first.receipt)
    assert kinds(post_id) == ["opened", "replied"]


@pytest.mark.parametrize("trick", ["kept", "half", "slow", "500"])
def test_an_answer_that_may_have_been_taken_is_looked_for_before_another_try(
    reply: WeiboReply, standin: Standin, post_id: int, clock: Clock, trick: str
) -> None:
    # The post is looked at first; the trick hits the comment.
    standin.next.extend(["", trick])
    with pytest.raises(Later) as later:
        reply.send(outgoing(post_id))
    assert standin.own_texts(post_id) == [WORDS]
    clock.at += timedelta(seconds=30)
    with pytest.raises(Later):
        reply.send(outgoing(post_id))
    assert later.value.after is not None
    clock.at += later.value.after
    reply.send(outgoing(post_id))
    assert standin.own_texts(post_id) == [WORDS], "posted once"
    assert row(post_id).state == "replied"


def test_an_answer_that_was_not_taken_after_all_is_posted_by_the_next_try(
    reply: WeiboReply, standin: Standin, post_id: int, clock: Clock
) -> None:
    standin.next.extend(["", "drop"])
    with pytest.raises(Later):
        reply.send(outgoing(post_id))
    assert standin.own_texts(post_id) == []
    clock.at += timedelta(minutes=4)
    reply.send(outgoing(post_id))
    assert standin.own_texts(post_id) == [WORDS]


def test_a_process_that_died_between_posting_and_writing_posts_nothing_twice(
    reply: WeiboReply, standin: Standin, post_id: int, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(reply, "_settle", dies)
        with pytest.raises(KeyboardInterrupt):
            reply.send(outgoing(post_id))
    assert (row(post_id).state, standin.own_texts(post_id)) == ("case", [WORDS])
    clock.at += timedelta(minutes=4)
    reply.send(outgoing(post_id))
    assert standin.own_texts(post_id) == [WORDS]
    assert row(post_id).state == "replied"


def test_a_post_deleted_between_fetch_and_reply_ends_the_duty_and_not_the_case(
    reply: WeiboReply, standin: Standin, post_id: int
) -> None:
    standin.delete(post_id)
    with pytest.raises(Refused):
        reply.send(outgoing(post_id))
    found = row(post_id)
    assert found.state == "deleted"
    assert found.case_id is not None
    assert kinds(post_id) == ["opened", "deleted"]
    with pytest.raises(Refused):
        reply.send(outgoing(post_id))


def test_an_edit_is_seen_before_the_reply(reply: WeiboReply, standin: Standin, post_id: int) -> None:
    standin.posts[post_id]["text"] = "改了"
    reply.send(outgoing(post_id))
    assert kinds(post_id) == ["opened", "edited", "replied"]


@pytest.mark.parametrize("code", [21327, 21332])
def test_a_token_that_ran_out_stops_the_channel_and_counts_as_no_try(
    reply: WeiboReply, standin: Standin, post_id: int, code: int
) -> None:
    standin.token_error = code
    with pytest.raises(Later) as later:
        reply.send(outgoing(post_id))
    assert (later.value.down, later.value.after) == (True, timedelta(minutes=10))
    standin.token_error = None
    reply.send(outgoing(post_id))
    assert standin.own_texts(post_id) == [WORDS]


def test_a_rate_limit_rests_until_its_reset(reply: WeiboReply, standin: Standin, post_id: int) -> None:
    standin.left, standin.reset_s = 0, 600
    with pytest.raises(Later) as later:
        reply.send(outgoing(post_id))
    assert (later.value.down, later.value.after) == (True, timedelta(seconds=600))


def test_the_answer_after_a_rework_is_told_too(reply: WeiboReply, standin: Standin, post_id: int) -> None:
    reply.send(outgoing(post_id))
    reply.send(outgoing(post_id, "重办后再次答复：已彻底清理"))
    assert standin.own_texts(post_id) == [WORDS, "重办后再次答复：已彻底清理"]


def test_what_is_posted_holds_no_personal_number_or_name_and_fits() -> None:
    number = "199001011230001"
    said = public(f"编号{number}：王先生您好，已电话13800138000联系您，身份证440605199001011234已核实。", number)
    assert number in said
    for secret in ("13800138000", "440605199001011234", "王先生"):
        assert secret not in said
    long = public("长" * 300, "")
    assert len(long) <= 140
    assert long.endswith("…")


def test_a_post_from_a_file_without_the_platforms_id_is_answered_by_hand(reply: WeiboReply) -> None:
    take(Post("file-0011aabb", "滨湖路99号的路灯不亮", AT, "", ""))
    with pytest.raises(Refused, match="by hand"):
        reply.send(outgoing("file-0011aabb"))
    with pytest.raises(Refused):
        reply.send(outgoing("404404404"))


def test_the_sink_takes_the_answer_and_the_ledger_knows(clock: Clock, tmp_path: Any) -> None:
    take(Post("file-0011aacc", "滨湖路98号的路灯不亮", AT, "", ""))
    WeiboReply(None, clock=clock, instead=Sink("weibo", tmp_path, clock=clock)).send(outgoing("file-0011aacc"))
    assert row("file-0011aacc").state == "replied"
    assert [one.text for one in caught(tmp_path, tiny.DISTRICT)] == [WORDS]


def test_whoever_reposts_after_the_answer_is_told_it_at_once() -> None:
    words = "望湖镇滨湖路97号的垃圾好几天没人清运"
    take(Post("97001", words, AT, "971", "甲"))
    case_id = row("97001").case_id
    with transaction(program(tiny.DISTRICT)) as session:
        key = (Case.district_code == tiny.DISTRICT, Case.id == case_id)
        session.execute(update(Case).where(*key).values(state="replied", answer="已清运"))
    for _ in range(2):
        take(Post("97002", "转发微博", AT, "972", "乙", root_id="97001", root_text=words), at=AT + timedelta(hours=1))
    assert (row("97002").state, row("97002").case_id) == ("joined", case_id)
    with transaction(program(tiny.DISTRICT)) as session:
        told = session.scalars(
            select(Delivery).where(Delivery.district_code == tiny.DISTRICT, Delivery.message_id == row("97002").id)
        ).all()
        assert [(one.channel, unseal(bytes(one.address_sealed), context="delivery.address")) for one in told] == [
            ("weibo", "97002")
        ]
        assert "已清运" in unseal(bytes(told[0].text_sealed), context="delivery.text")


def test_the_demos_mentions_live_are_labelled_and_played_once() -> None:
    from api.playing import mentions

    intake, at = wiring.intake(tiny.DISTRICT), datetime(2026, 11, 18, 2, 0, tzinfo=UTC)
    first = mentions.play(intake, at=at)
    assert (first.joined, first.held) == (2, 2)
    assert first.cases >= 5
    assert mentions.play(intake, at=at).all == 0
    with transaction(program(tiny.DISTRICT)) as session:
        played = session.scalars(
            select(Mention).where(Mention.district_code == tiny.DISTRICT, Mention.post_id.startswith("demo-"))
        ).all()
        assert all("（演示）" in one.text for one in played)
        answered = [session.get(Case, (tiny.DISTRICT, one.case_id)) for one in played if one.case_id]
        assert sum(1 for case in answered if case is not None and case.answer) >= 3

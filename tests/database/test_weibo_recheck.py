"""Posts that change after the first fetch: edits and deletions stand in the ledger, and an answer to a post that is gone ends."""

import itertools
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, func, select, text, update

from api import wiring, worker
from core.crypto import seal
from core.db import snapshot, transaction
from core.ids import new_id
from core.settings import settings
from hotline.outward.adapters import recipient
from hotline.outward.models import Delivery
from hotline.outward.pump import MAX_TRIES, Pump
from hotline.weibo import fetch as fetching
from hotline.weibo import inbox, ledger, recheck
from hotline.weibo.answers import WeiboReply
from hotline.weibo.models import Mention, MentionEvent, WeiboCursor
from hotline.weibo.platform import Client
from tests import tiny
from tests.builders import program
from tests.standin_weibo import OWN, TOKEN, Standin

pytestmark = pytest.mark.database

#: Every test has a day of its own, so that ids of two tests never meet.
_DAYS = itertools.count()


@pytest.fixture(autouse=True)
def _ground(district: tiny.Tiny) -> Iterator[None]:
    """Begin with no cursor and no mention that is worth a look."""
    yield
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(delete(Delivery))
        anew = {"since_id": 0, "top_id": None, "low_id": None, "next_at": None, "failure": None, "fetched_at": None}
        session.execute(update(WeiboCursor).values(**anew))
        session.execute(update(Mention).values(state="rejected", deleted_at=func.now()))


@pytest.fixture
def at() -> datetime:
    return datetime(2026, 3, 9, 2, 0, tzinfo=UTC) + timedelta(days=30 * next(_DAYS))


def publish(standin: Standin, weibo: Client, *words: str, at: datetime) -> list[int]:
    """Publish mentions, fetch and take them; returns their ids."""
    ids = [
        standin.mention(one, at=at - timedelta(minutes=9 - i), author=uuid.uuid4().int % 10**9)
        for i, one in enumerate(words)
    ]
    while (page := fetching.fetch(tiny.DISTRICT, weibo, at=at, own_id=OWN)) is not None and not page.done:
        pass
    while (done := inbox.take(wiring.intake(tiny.DISTRICT), at=at)) is not None and done.all:
        pass
    return ids


def row(post_id: int) -> Mention:
    with snapshot(program(tiny.DISTRICT)) as session:
        query = select(Mention).where(Mention.district_code == tiny.DISTRICT, Mention.post_id == str(post_id))
        return session.scalars(query).one()


def kinds(post_id: int) -> list[str]:
    with snapshot(program(tiny.DISTRICT)) as session:
        here = (MentionEvent.district_code == tiny.DISTRICT, MentionEvent.mention_id == row(post_id).id)
        return list(session.scalars(select(MentionEvent.kind).where(*here).order_by(MentionEvent.id)))


def looks(weibo: Client, *, at: datetime, most: int = 3600) -> list[recheck.Looked]:
    """Look again and again, a second later each time, until a round is over or the platform halts."""
    found = []
    for second in range(100):
        one = recheck.look(tiny.DISTRICT, weibo, at=at + timedelta(seconds=second), most=most)
        if one is None:
            break
        found.append(one)
        if one.found == "round":
            break
    return found


def asked(standin: Standin) -> list[str]:
    return [given["id"] for _, path, given in standin.calls if path.endswith("statuses/show.json")]


def waits(post_id: int, *, at: datetime) -> uuid.UUID:
    """Put an answer among the deliveries."""
    made = new_id()
    with transaction(program(tiny.DISTRICT)) as session:
        session.add(
            Delivery(
                district_code=tiny.DISTRICT,
                id=made,
                message_id=new_id(),
                topic="citizen.reply",
                number="202603090000015",
                channel="weibo",
                recipient=recipient("weibo", str(post_id)),
                address_sealed=seal(str(post_id), context="delivery.address"),
                shown="***",
                text_sealed=seal("已办结。", context="delivery.text"),
                state="waiting",
                created_at=at,
                next_at=at,
            )
        )
    return made


def delivery(key: uuid.UUID) -> Delivery:
    with snapshot(program(tiny.DISTRICT)) as session:
        return session.get_one(Delivery, (tiny.DISTRICT, key))


def test_edits_and_deletions_of_open_mentions_are_found_and_stand_in_the_ledger(
    standin: Standin, weibo: Client, at: datetime
) -> None:
    same, edited, away = publish(standin, weibo, *(f"滨湖路{n}号的垃圾没人清运" for n in (51, 52, 53)), at=at)
    standin.posts[edited]["text"] = "更正：是滨湖路59号"
    standin.delete(away)
    later = at + timedelta(hours=3)
    assert [one.found for one in looks(weibo, at=later)] == ["same", "edited", "deleted", "round"]
    assert (kinds(same), kinds(edited), kinds(away)) == (["opened"], ["opened", "edited"], ["opened", "deleted"])
    assert row(edited).text == "更正：是滨湖路59号"
    gone = row(away)
    assert (gone.state, gone.deleted_at is not None, gone.case_id is not None) == ("deleted", True, True)
    with snapshot(program(tiny.DISTRICT)) as session:
        shown = ledger.sheet(session, row(edited).id, at=later)
        assert shown.events[-1][3]["before"].startswith("滨湖路52号")


def test_a_mention_that_waits_for_a_reviewer_is_looked_at_too_and_one_that_ended_is_not(
    standin: Standin, weibo: Client, at: datetime
) -> None:
    held, ended = publish(standin, weibo, "你们这帮狗官", "滨湖路54号的垃圾没人清运", at=at)
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(update(Mention).where(Mention.post_id == str(ended)).values(state="rejected"))
    standin.calls.clear()
    standin.delete(held)
    looks(weibo, at=at + timedelta(hours=1))
    assert asked(standin) == [str(held)]
    assert row(held).state == "deleted"


def test_answered_ones_are_looked_at_for_a_week_and_stay_answered(
    standin: Standin, weibo: Client, at: datetime
) -> None:
    lately, long_ago = publish(standin, weibo, "滨湖路55号的垃圾没人清运", "滨湖路56号的垃圾没人清运", at=at)
    now = at + timedelta(days=20)
    with transaction(program(tiny.DISTRICT)) as session:
        for post, days in ((lately, 6), (long_ago, 8)):
            known = {"state": "replied", "replied_at": now - timedelta(days=days), "reply": "已办结"}
            session.execute(update(Mention).where(Mention.post_id == str(post)).values(**known))
    standin.calls.clear()
    standin.delete(lately)
    looks(weibo, at=now)
    assert asked(standin) == [str(lately)]
    assert (row(lately).state, row(lately).deleted_at is not None) == ("replied", True)
    assert kinds(lately)[-1] == "deleted"


def test_no_more_posts_are_asked_for_than_the_hour_allows_and_a_round_waits_for_the_next(
    standin: Standin, weibo: Client, at: datetime
) -> None:
    publish(standin, weibo, *(f"滨湖路{n}号的路灯不亮" for n in (61, 62, 63)), at=at)
    standin.calls.clear()
    now = at + timedelta(hours=1)
    for minute in range(60):
        recheck.look(tiny.DISTRICT, weibo, at=now + timedelta(minutes=minute), most=2)
    assert len(asked(standin)) == 2
    assert recheck.look(tiny.DISTRICT, weibo, at=now + timedelta(days=1), most=0) is None
    looks(weibo, at=now + timedelta(hours=2))
    standin.calls.clear()
    assert looks(weibo, at=now + timedelta(hours=2, minutes=5)) == []
    assert looks(weibo, at=now + timedelta(hours=3)) != []
    assert len(asked(standin)) == 3


@pytest.mark.parametrize("what", ["rate", "token"])
def test_a_platform_that_refuses_is_left_alone_and_the_same_post_comes_first_afterwards(
    standin: Standin, weibo: Client, at: datetime, what: str
) -> None:
    first, second = publish(standin, weibo, "滨湖路64号的路灯不亮", "滨湖路65号的路灯不亮", at=at)
    standin.calls.clear()
    standin.left, standin.reset_s = (0, 900) if what == "rate" else (None, 0)
    standin.token_error = 21327 if what == "token" else None
    now = at + timedelta(hours=1)
    assert [one.found for one in looks(weibo, at=now)] == ["halted"]
    standin.left = standin.token_error = None
    calls = len(standin.calls)
    assert recheck.look(tiny.DISTRICT, weibo, at=now + timedelta(minutes=9)) is None
    assert len(standin.calls) == calls
    found = looks(weibo, at=now + timedelta(minutes=16))
    assert [one.post_id for one in found] == [str(first), str(second), ""]


def test_while_fetching_waits_for_a_new_token_nothing_else_is_asked(
    standin: Standin, weibo: Client, at: datetime
) -> None:
    publish(standin, weibo, "滨湖路66号的路灯不亮", at=at)
    standin.token_error = 21332
    fetching.fetch(tiny.DISTRICT, weibo, at=at + timedelta(hours=1))
    standin.calls.clear()
    assert recheck.look(tiny.DISTRICT, weibo, at=at + timedelta(hours=1, minutes=1)) is None
    assert standin.calls == []


def test_one_post_that_cannot_be_read_stops_no_other_one(standin: Standin, weibo: Client, at: datetime) -> None:
    strange, other = publish(standin, weibo, "滨湖路67号的路灯不亮", "滨湖路68号的路灯不亮", at=at)
    standin.strange.add(strange)
    standin.delete(other)
    assert [one.found for one in looks(weibo, at=at + timedelta(hours=1))] == ["halted", "deleted", "round"]


def test_two_workers_never_look_at_once(standin: Standin, weibo: Client, at: datetime) -> None:
    publish(standin, weibo, "滨湖路69号的路灯不亮", at=at)
    with transaction(program(tiny.DISTRICT)) as session:
        assert inbox.leased(session, "check") is not None
        assert recheck.look(tiny.DISTRICT, weibo, at=at + timedelta(hours=1)) is None


def test_the_first_lease_of_all_keeps_nobody_waiting() -> None:
    part = str(uuid.uuid4())
    with transaction(program(tiny.DISTRICT)) as session:
        assert inbox.leased(session, part) is not None
        with transaction(program(tiny.DISTRICT)) as other:
            other.execute(text("SET LOCAL lock_timeout = '5s'"))
            assert inbox.leased(other, part) is None


def test_an_answer_to_a_post_that_was_found_deleted_ends_without_asking_and_is_never_tried_again(
    standin: Standin, weibo: Client, at: datetime
) -> None:
    (post,) = publish(standin, weibo, "滨湖路71号的路灯不亮", at=at)
    standin.delete(post)
    now = at + timedelta(hours=2)
    looks(weibo, at=now)
    key = waits(post, at=now)
    standin.calls.clear()
    pump = Pump({"weibo": WeiboReply(weibo, clock=lambda: now)}, clock=lambda: now)
    assert pump.run(tiny.DISTRICT).failed == 1
    assert (delivery(key).state, delivery(key).reason) == ("refused", "the post is gone")
    later = Pump({"weibo": WeiboReply(weibo, clock=lambda: now)}, clock=lambda: now + timedelta(days=30))
    assert later.run(tiny.DISTRICT).failed == 0
    assert standin.calls == []
    with snapshot(program(tiny.DISTRICT)) as session:
        lines, _ = ledger.listed(session, ledger.Filter("ended"), at=now)
        assert str(post) in [one.post_id for one in lines]


def test_an_answer_to_a_post_nobody_can_read_is_given_up_and_holds_up_no_other_one(
    standin: Standin, weibo: Client, at: datetime
) -> None:
    strange, fine = publish(standin, weibo, "滨湖路72号的路灯不亮", "滨湖路73号的路灯不亮", at=at)
    standin.strange.add(strange)
    now = at + timedelta(hours=2)
    bad, good = waits(strange, at=now), waits(fine, at=now)
    clock = [now]
    pump = Pump({"weibo": WeiboReply(weibo, clock=lambda: clock[0])}, clock=lambda: clock[0])
    pump.run(tiny.DISTRICT)
    assert delivery(good).state == "sent"
    for _ in range(MAX_TRIES + 2):
        clock[0] += timedelta(hours=5)
        pump.run(tiny.DISTRICT)
    assert (delivery(bad).state, delivery(bad).tries) == ("dead", MAX_TRIES)
    assert len([one for one in asked(standin) if one == str(strange)]) == MAX_TRIES


def test_the_worker_looks_again_where_there_is_a_platform(
    standin: Standin, weibo: Client, at: datetime, weibo_served: tuple[Standin, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (post,) = publish(standin, weibo, "滨湖路74号的路灯不亮", at=datetime.now(UTC) - timedelta(hours=1))
    standin.delete(post)
    for name, value in {"URL": weibo_served[1], "TOKEN": TOKEN, "ACCOUNT": OWN}.items():
        monkeypatch.setenv(f"WANGGE_WEIBO_{name}", value)
    settings.cache_clear()
    wiring.weibo_platform.cache_clear()
    try:
        worker.weibo()
    finally:
        platform = wiring.weibo_platform()
        assert platform is not None
        platform.close()
        wiring.weibo_platform.cache_clear()
        monkeypatch.undo()
        settings.cache_clear()
    assert row(post).state == "deleted"

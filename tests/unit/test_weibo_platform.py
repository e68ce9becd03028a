"""The client of the open platform against the stand-in: paging, refusals, and everything that can come back broken."""

from datetime import UTC, datetime, timedelta

import pytest

from core.errors import WanggeError
from hotline.weibo.platform import Client, Declined, Gone, Halted, Unknown, back, made_at, moment, post_of
from tests.standin_weibo import TOKEN, Standin

pytestmark = pytest.mark.unit

AT = datetime(2026, 11, 18, 2, 0, tzinfo=UTC)


def test_times_of_the_platform_are_read_and_nothing_else() -> None:
    assert moment("Tue Jul 20 10:00:00 +0800 2021") == datetime(2021, 7, 20, 2, 0, tzinfo=UTC)
    for broken in ("", None, 5, "2021-07-20", "Tue Foo 20 10:00:00 +0800 2021", "Tue Feb 30 10:00:00 +0800 2021"):
        assert moment(broken) is None


def test_an_id_tells_when_its_post_was_made(standin: Standin) -> None:
    made = standin.mention("x", at=AT)
    assert made_at(str(made)) == AT
    assert made_at(str(back(made, timedelta(minutes=10)))) == AT - timedelta(minutes=10)
    # A post that everybody knows the time of: Tue Feb 23 12:28:47 +0800 2021.
    assert made_at("4607741009594608") == datetime(2021, 2, 23, 4, 28, 47, tzinfo=UTC)


def test_pages_go_down_by_max_id_and_stop_above_since_id(weibo: Client, standin: Standin) -> None:
    ids = [standin.mention(f"第{i}条", at=AT + timedelta(seconds=i)) for i in range(450)]
    first = weibo.mentions(since_id=ids[9], count=1000)
    assert [int(p.id) for p in first.posts] == ids[:249:-1]
    second = weibo.mentions(since_id=ids[9], max_id=int(first.posts[-1].id) - 1)
    third = weibo.mentions(since_id=ids[9], max_id=int(second.posts[-1].id) - 1)
    assert (len(second.posts), len(third.posts)) == (200, 40)
    assert weibo.mentions(since_id=ids[9], max_id=int(third.posts[-1].id) - 1).posts == ()


def test_what_a_post_carries_is_read_and_what_is_broken_left_empty(weibo: Client, standin: Standin) -> None:
    root = {"id": 55, "idstr": "55", "text": "原文", "user": {"id": 8}}
    standin.mention("看这里", at=AT, retweeted_status=root, geo={"type": "Point", "coordinates": [23.005, 113.015]})
    (post,) = weibo.mentions(since_id=0).posts
    assert (post.root_id, post.root_text, post.lng, post.lat, post.posted_at) == ("55", "原文", 113.015, 23.005, AT)
    standin.delete(55)
    assert weibo.mentions(since_id=0).posts[0].root_text == ""
    odd = post_of({"id": 7 << 22, "text": None, "user": "x", "geo": {"coordinates": ["a", None]}, "created_at": 5})
    assert odd is not None
    assert (odd.text, odd.author_id, odd.lng) == ("", "", None)
    for broken in (None, [], {}, {"id": "x"}, {"id": True}, {"id": -4}):
        assert post_of(broken) is None
    assert post_of({"id": 5, "text": "有\x00零\x1b[31m"}) is not None
    assert "\x00" not in post_of({"id": 5, "text": "有\x00零"}).text  # type: ignore[union-attr]


def test_a_post_without_an_id_does_not_hide_the_others(weibo: Client, standin: Standin) -> None:
    standin.mention("好的", at=AT)
    standin.posts[10**17] = {"text": "没有编号", "isLongText": False}
    page = weibo.mentions(since_id=0)
    assert (len(page.posts), page.broken) == (1, 1)


def test_long_posts_come_whole_one_by_one(weibo: Client, standin: Standin) -> None:
    made = standin.mention("长" * 500, at=AT, isLongText=True)
    (cut,) = weibo.mentions(since_id=0).posts
    assert cut.cut
    assert len(cut.text) < 200
    whole = weibo.post(str(made))
    assert (whole.text, whole.cut) == ("长" * 500, False)


@pytest.mark.parametrize("code", [21327, 21332, 21315, 21316, 21317, 21319, 10006])
def test_a_token_that_does_not_hold_is_told_apart(weibo: Client, standin: Standin, code: int) -> None:
    standin.token_error = code
    with pytest.raises(Halted) as told:
        weibo.mentions(since_id=0)
    assert told.value.kind == "token"
    assert TOKEN not in str(told.value) + told.value.said


def test_a_rate_limit_says_when_it_ends(weibo: Client, standin: Standin) -> None:
    standin.left, standin.reset_s = 0, 754
    with pytest.raises(Halted) as told:
        weibo.mentions(since_id=0)
    assert (told.value.kind, told.value.wait) == ("rate", timedelta(seconds=754))


@pytest.mark.parametrize(
    ("trick", "kind"),
    [
        ("half", "odd"),
        ("list", "odd"),
        ("redirect", "odd"),
        ("huge", "odd"),
        ("500", "down"),
        ("slow", "down"),
        ("drip", "down"),
        ("drop", "down"),
    ],
)
def test_a_broken_answer_is_a_halt_and_the_next_one_is_well(
    weibo: Client, standin: Standin, trick: str, kind: str
) -> None:
    standin.mention("还在", at=AT)
    standin.next.append(trick)
    with pytest.raises(Halted) as told:
        weibo.mentions(since_id=0)
    assert told.value.kind == kind
    assert len(weibo.mentions(since_id=0).posts) == 1


def test_nobody_there_is_a_halt() -> None:
    with Client("http://127.0.0.1:9", TOKEN) as weibo, pytest.raises(Halted) as told:
        weibo.mentions(since_id=0)
    assert told.value.kind == "down"


def test_without_a_token_nothing_is_asked(weibo_served: tuple[Standin, str]) -> None:
    with Client(weibo_served[1], "") as weibo, pytest.raises(Halted) as told:
        weibo.mentions(since_id=0)
    assert (told.value.kind, weibo_served[0].calls) == ("token", [])


def test_a_comment_is_made_seen_and_refused(weibo: Client, standin: Standin) -> None:
    made = standin.mention("有坑", at=AT)
    comment = weibo.comment(str(made), "已处理")
    assert [(one.id, one.text) for one in weibo.own_comments(str(made))] == [(comment, "已处理")]
    with pytest.raises(Unknown):
        weibo.comment(str(made), "已处理")
    with pytest.raises(Declined):
        weibo.comment(str(made), "长" * 141)
    standin.delete(made)
    for call in (lambda: weibo.comment(str(made), "又"), lambda: weibo.post(str(made))):
        with pytest.raises(Gone):
            call()


@pytest.mark.parametrize("trick", ["kept", "half", "slow", "500"])
def test_a_comment_whose_answer_broke_is_unknown_and_never_a_plain_failure(
    weibo: Client, standin: Standin, trick: str
) -> None:
    made = standin.mention("有坑", at=AT)
    standin.next.append(trick)
    with pytest.raises(Unknown):
        weibo.comment(str(made), "已处理")
    assert standin.own_texts(made) == ["已处理"]


def test_no_failure_tells_the_token(weibo: Client, standin: Standin) -> None:
    for trick in ("half", "500", "redirect", "drop"):
        standin.next.append(trick)
        with pytest.raises(WanggeError) as told:
            weibo.mentions(since_id=0)
        assert TOKEN not in repr(told.value) + repr(told.value.__cause__)

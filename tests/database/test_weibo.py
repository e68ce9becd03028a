"""Mentions over a real database and a real HTTP stand-in: nothing lost, nothing double, whatever breaks in between."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from api import wiring
from core.crypto import unseal
from core.db import snapshot, transaction
from core.settings import ROOT
from dispatch.models import Case, Report
from hotline.intake import Intake
from hotline.weibo import fetch as fetching
from hotline.weibo import inbox
from hotline.weibo.models import Mention, MentionEvent, WeiboCursor
from hotline.weibo.platform import Client
from tests import tiny
from tests.builders import program
from tests.standin_weibo import OWN, TOKEN, Standin

pytestmark = pytest.mark.database

#: Every test has a day of its own, so that ids, accounts and threads of two tests never meet.
_DAYS = itertools.count()


@pytest.fixture(autouse=True)
def _ground(district: tiny.Tiny) -> Iterator[None]:
    """Begin without a walk on its way, and leave no mention to be taken."""
    with transaction(program(tiny.DISTRICT)) as session:
        clean = {"since_id": 0, "top_id": None, "low_id": None, "next_at": None, "failure": None, "fails": 0}
        session.execute(update(WeiboCursor).where(WeiboCursor.district_code == tiny.DISTRICT).values(**clean))
    yield
    with transaction(program(tiny.DISTRICT)) as session:
        left = (Mention.district_code == tiny.DISTRICT, Mention.state.in_(("received", "held")))
        session.execute(update(Mention).where(*left).values(state="rejected"))


@pytest.fixture
def at() -> datetime:
    return datetime(2026, 3, 2, 2, 0, tzinfo=UTC) + timedelta(days=2 * next(_DAYS))


@pytest.fixture
def intake(district: tiny.Tiny) -> Intake:
    return wiring.intake(tiny.DISTRICT)


def fetch_all(weibo: Client, at: datetime) -> inbox.Stored:
    found = inbox.Stored()
    for _ in range(2000):
        page = fetching.fetch(tiny.DISTRICT, weibo, at=at, own_id=OWN)
        if page is None:
            return found
        found += page.stored
        if page.done:
            return found
    raise AssertionError("the walk never ends")


def take_all(intake: Intake, at: datetime, weibo: Client | None = None) -> None:
    while (done := inbox.take(intake, at=at, platform=weibo)) is not None and done.all:
        pass


def mentions(*ids: int | str) -> dict[str, Mention]:
    with snapshot(program(tiny.DISTRICT)) as session:
        query = select(Mention).where(
            Mention.district_code == tiny.DISTRICT, Mention.post_id.in_([str(one) for one in ids])
        )
        return {row.post_id: row for row in session.scalars(query)}


def one(post_id: int | str) -> Mention:
    return mentions(post_id)[str(post_id)]


def count(model: Any, *where: Any) -> int:
    with snapshot(program(tiny.DISTRICT)) as session:
        query = select(func.count()).select_from(model).where(model.district_code == tiny.DISTRICT, *where)
        return session.scalar(query) or 0


def events(mention: Mention) -> list[str]:
    with snapshot(program(tiny.DISTRICT)) as session:
        query = select(MentionEvent.kind).where(
            MentionEvent.district_code == tiny.DISTRICT, MentionEvent.mention_id == mention.id
        )
        return list(session.scalars(query.order_by(MentionEvent.id)))


def case_of(mention: Mention) -> Case:
    with snapshot(program(tiny.DISTRICT)) as session:
        found = session.get(Case, (tiny.DISTRICT, mention.case_id))
        assert found is not None
        return found


def reports(*ids: int | str) -> list[str]:
    with snapshot(program(tiny.DISTRICT)) as session:
        query = select(Report.source_id).where(
            Report.district_code == tiny.DISTRICT,
            Report.channel == "weibo",
            Report.source_id.in_([str(one) for one in ids]),
        )
        return [str(found) for found in session.scalars(query)]


RUBBISH = "@试验微力 望湖镇滨湖路3号门口的垃圾好几天没人清运了，臭得很"


def test_a_mention_becomes_a_case_with_its_author_sealed(
    weibo: Client, standin: Standin, intake: Intake, at: datetime
) -> None:
    made = standin.mention(RUBBISH, at=at - timedelta(minutes=5), author=7000012345)
    assert fetch_all(weibo, at).new == 1
    take_all(intake, at)
    row = one(made)
    assert row.state == "case"
    case = case_of(row)
    assert (case.channel, case.reported_at, case.received_at) == ("weibo", at - timedelta(minutes=5), at)
    assert events(row) == ["opened"]
    assert row.author_sealed is not None
    assert unseal(bytes(row.author_sealed), context="weibo.author") == "7000012345\x1f用户2345"
    with snapshot(program(tiny.DISTRICT)) as session:
        kept = session.scalar(
            text("SELECT m::text FROM mention AS m WHERE district_code = :d AND post_id = :p"),
            {"d": tiny.DISTRICT, "p": str(made)},
        )
    assert "7000012345" not in kept
    assert "用户2345" not in kept


def test_fetching_and_taking_again_changes_nothing(
    weibo: Client, standin: Standin, intake: Intake, at: datetime
) -> None:
    made = standin.mention(RUBBISH, at=at)
    for _ in range(3):
        fetch_all(weibo, at)
        take_all(intake, at)
    assert reports(made) == [str(made)]
    assert count(Mention, Mention.post_id == str(made)) == 1


def test_more_than_many_pages_come_in_whole_while_new_ones_arrive(
    weibo: Client, standin: Standin, at: datetime
) -> None:
    begin = at - timedelta(hours=1)
    ids = [standin.mention(f"第{i}件", at=begin + timedelta(seconds=i)) for i in range(950)]
    for step in range(20):
        page = fetching.fetch(tiny.DISTRICT, weibo, at=at, own_id=OWN)
        assert page is not None
        # What arrives while the walk is on its way stands above it.
        ids += [standin.mention(f"新{step}", at=at - timedelta(seconds=60 - step))]
        if page.done:
            break
    fetch_all(weibo, at)
    assert len(mentions(*ids)) == len(ids) == len(set(ids))


def test_a_post_that_shows_up_late_is_found_behind_the_last_one(weibo: Client, standin: Standin, at: datetime) -> None:
    standin.mention("先到", at=at - timedelta(minutes=1))
    fetch_all(weibo, at)
    late = standin.mention("审核后才显示", at=at - timedelta(minutes=6))
    fetch_all(weibo, at)
    assert one(late).text == "审核后才显示"


@pytest.mark.parametrize("trick", ["half", "same", "slow", "500", "redirect", "huge", "list", "drop"])
def test_whatever_a_page_comes_back_as_nothing_is_lost(
    weibo: Client, standin: Standin, at: datetime, trick: str
) -> None:
    ids = [standin.mention(f"第{i}件", at=at - timedelta(seconds=600 - i)) for i in range(410)]
    assert fetching.fetch(tiny.DISTRICT, weibo, at=at) is not None
    standin.next.append(trick)
    failed = fetching.fetch(tiny.DISTRICT, weibo, at=at)
    assert failed is not None
    assert failed.halted
    assert fetching.fetch(tiny.DISTRICT, weibo, at=at) is None, "it waits before it asks again"
    fetch_all(weibo, at + timedelta(minutes=1))
    assert len(mentions(*ids)) == len(ids)


def test_a_rate_limit_in_the_middle_waits_until_its_reset_and_goes_on(
    weibo: Client, standin: Standin, at: datetime
) -> None:
    ids = [standin.mention(f"第{i}件", at=at - timedelta(seconds=600 - i)) for i in range(500)]
    standin.left, standin.reset_s = 1, 900
    fetch_all(weibo, at)
    assert len(mentions(*ids)) == 200
    with snapshot(program(tiny.DISTRICT)) as session:
        cursor = session.get(WeiboCursor, (tiny.DISTRICT, "fetch"))
        assert cursor is not None
        assert (cursor.next_at, (cursor.failure or "")[:5]) == (at + timedelta(seconds=900), "rate:")
    standin.left = None
    calls = len(standin.calls)
    assert fetch_all(weibo, at + timedelta(seconds=899)).new == 0
    assert len(standin.calls) == calls, "nothing is asked before the reset"
    fetch_all(weibo, at + timedelta(seconds=901))
    assert len(mentions(*ids)) == len(ids)


def test_an_expired_token_is_said_and_a_new_one_goes_on(
    weibo: Client, standin: Standin, intake: Intake, at: datetime
) -> None:
    made = standin.mention(RUBBISH, at=at)
    standin.token_error = 21327
    page = fetching.fetch(tiny.DISTRICT, weibo, at=at)
    assert page is not None
    assert page.halted == "token"
    standin.token_error = None
    fetch_all(weibo, at + timedelta(minutes=11))
    assert one(made).state == "received"


def test_an_edit_is_written_down_with_the_words_before(
    weibo: Client, standin: Standin, intake: Intake, at: datetime
) -> None:
    made = standin.mention(RUBBISH, at=at)
    fetch_all(weibo, at)
    take_all(intake, at)
    standin.posts[made]["text"] = RUBBISH + "，更正：是5号门口"
    later = at + timedelta(minutes=5)
    assert fetch_all(weibo, later).edited == 1
    row = one(made)
    assert (row.text[-8:], row.edited_at, row.state) == ("更正：是5号门口", later, "case")
    assert events(row) == ["opened", "edited"]


def test_a_long_post_is_taken_whole_and_a_deleted_one_not_at_all(
    weibo: Client, standin: Standin, intake: Intake, at: datetime
) -> None:
    long = standin.mention("前" * 150 + RUBBISH, at=at, isLongText=True)
    away = standin.mention("后" * 150 + RUBBISH, at=at, isLongText=True)
    fetch_all(weibo, at)
    standin.delete(away)
    take_all(intake, at, weibo)
    assert case_of(one(long)).text.endswith(RUBBISH)
    assert one(away).state == "deleted"
    assert reports(away) == []


def test_reposts_collapse_into_one_case_and_each_is_a_report_to_be_answered(
    weibo: Client, standin: Standin, intake: Intake, at: datetime
) -> None:
    root = standin.mention(RUBBISH, at=at - timedelta(minutes=9))
    thread = {"id": root, "idstr": str(root), "text": RUBBISH, "user": {"id": 1}}
    reposts = [
        standin.mention(words, at=at - timedelta(minutes=8 - i), author=7100000000 + i, retweeted_status=thread)
        for i, words in enumerate(
            ("转发微博", "同问！[怒]", "//@某人:顶 @试验微力", "这个情况确实存在，我也路过看到过")
        )
    ]
    fetch_all(weibo, at)
    take_all(intake, at)
    found = mentions(root, *reposts)
    assert {row.case_id for row in found.values()} == {found[str(root)].case_id}
    assert [found[str(i)].state for i in reposts] == ["joined"] * 4
    assert sorted(reports(root, *reposts)) == sorted(map(str, (root, *reposts)))


def test_the_first_repost_of_a_post_that_never_named_us_opens_the_case(
    weibo: Client, standin: Standin, intake: Intake, at: datetime
) -> None:
    thread = {"id": 4242, "idstr": "4242", "text": "望湖镇滨湖路3号门口垃圾没人清运", "user": {"id": 1}}
    first = standin.mention("@试验微力", at=at - timedelta(minutes=2), retweeted_status=thread)
    second = standin.mention("@试验微力 //@甲:", at=at - timedelta(minutes=1), author=72, retweeted_status=thread)
    fetch_all(weibo, at)
    take_all(intake, at)
    assert case_of(one(first)).text == thread["text"]
    assert (one(second).state, one(second).case_id) == ("joined", one(first).case_id)


def test_a_repost_that_tells_of_another_place_is_a_matter_of_its_own(
    weibo: Client, standin: Standin, intake: Intake, at: datetime
) -> None:
    root = standin.mention(RUBBISH, at=at - timedelta(minutes=9))
    thread = {"id": root, "idstr": str(root), "text": RUBBISH, "user": {"id": 1}}
    other = "我们临江街道青石街8号的井盖也坏了，晚上很危险"
    made = standin.mention(other, at=at, author=73, retweeted_status=thread)
    fetch_all(weibo, at)
    take_all(intake, at)
    assert one(made).state == "case"
    assert one(made).case_id != one(root).case_id


def test_the_same_person_saying_the_same_again_is_one_matter(
    weibo: Client, standin: Standin, intake: Intake, at: datetime
) -> None:
    ids = [standin.mention(RUBBISH, at=at - timedelta(hours=9 - i), author=74) for i in range(3)]
    fetch_all(weibo, at)
    take_all(intake, at)
    assert len({row.case_id for row in mentions(*ids).values()}) == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("@试验微力 听说水厂被人投毒了，大家速转", "rumour"),
        ("@试验微力 你们这帮狗官什么时候修路", "abuse"),
        ("@试验微力 [怒][怒] 😡😡", "wordless"),
    ],
)
def test_rumours_and_abuse_wait_for_a_reviewer_with_their_reason(
    weibo: Client, standin: Standin, intake: Intake, at: datetime, words: str, code: str
) -> None:
    made = standin.mention(words, at=at, author=75)
    fetch_all(weibo, at)
    take_all(intake, at)
    row = one(made)
    assert (row.state, row.hold and row.hold["code"], row.held_at) == ("held", code, at)
    assert events(row) == ["held"]
    assert reports(made) == []


def test_danger_to_life_is_never_held(weibo: Client, standin: Standin, intake: Intake, at: datetime) -> None:
    made = standin.mention("@试验微力 扩散！求证！滨湖路3号着火了，有人被困，救命", at=at, author=76)
    fetch_all(weibo, at)
    take_all(intake, at)
    assert one(made).state == "case"
    assert case_of(one(made)).urgency == "emergency"


def test_one_account_with_many_posts_is_held_from_the_limit_on(
    weibo: Client, standin: Standin, intake: Intake, at: datetime
) -> None:
    ids = [
        standin.mention(f"@试验微力 滨湖路{i}号的路灯不亮", at=at - timedelta(seconds=60 - i), author=77)
        for i in range(13)
    ]
    fetch_all(weibo, at)
    take_all(intake, at)
    found = mentions(*ids)
    held = [i for i in ids if found[str(i)].state == "held"]
    assert held == ids[10:]
    assert {(found[str(i)].hold or {})["code"] for i in held} == {"repeated"}


def test_where_the_telephone_was_counts_only_where_the_words_name_no_place(
    weibo: Client, standin: Standin, intake: Intake, at: datetime
) -> None:
    lng, lat = tiny.Tiny().in_east
    geo = {"type": "Point", "coordinates": [lat, lng]}
    named = standin.mention(RUBBISH, at=at, author=78, geo=geo)
    unnamed = standin.mention("@试验微力 门口的垃圾好几天没人清运了", at=at, author=79, geo=geo)
    fetch_all(weibo, at)
    take_all(intake, at)
    assert case_of(one(named)).place_by == "geocoder"
    case = case_of(one(unnamed))
    assert (case.place_by, case.source_datum, case.source_lng) == ("reporter", "GCJ-02", lng)


def test_our_own_posts_are_no_mentions(weibo: Client, standin: Standin, at: datetime) -> None:
    made = standin.mention("@试验微力 每日播报", at=at, author=int(OWN))
    fetch_all(weibo, at)
    assert mentions(made) == {}


def test_only_one_worker_takes_at_a_time(weibo: Client, standin: Standin, intake: Intake, at: datetime) -> None:
    with transaction(program(tiny.DISTRICT)) as session:
        assert inbox.leased(session, "take") is not None
        assert inbox.leased(session, "fetch") is not None
        assert inbox.take(intake, at=at) is None
        assert fetching.fetch(tiny.DISTRICT, weibo, at=at) is None


def test_what_was_done_about_a_mention_cannot_be_rewritten(
    weibo: Client, standin: Standin, intake: Intake, at: datetime
) -> None:
    standin.mention(RUBBISH, at=at)
    fetch_all(weibo, at)
    take_all(intake, at)
    for sql in ("DELETE FROM mention_event WHERE district_code = :d", "DELETE FROM mention WHERE district_code = :d"):
        with pytest.raises(DBAPIError), transaction(program(tiny.DISTRICT)) as session:
            session.execute(text(sql), {"d": tiny.DISTRICT})


@pytest.mark.parametrize(
    "words",
    [
        "<script>alert(1)</script> 滨湖路3号垃圾没人清运",
        "\u202e滨湖路3号\u202c垃圾没人清运 😀👨‍👩‍👧‍👦\u200b",
        "滨湖路3号垃圾没人清运\x00\x1b[31m",
        '=HYPERLINK("http://x","滨湖路3号垃圾没人清运")',
    ],
)
def test_hostile_words_are_kept_as_words(
    weibo: Client, standin: Standin, intake: Intake, at: datetime, words: str
) -> None:
    made = standin.mention(words, at=at, author=80, user={"id": 80, "screen_name": words[:30]})
    fetch_all(weibo, at)
    take_all(intake, at)
    assert one(made).state == "case"


_WORKER = """
import sys
from datetime import datetime
from api import wiring
from hotline.weibo import fetch as fetching, inbox
from hotline.weibo.platform import Client
district, url, token, own, at = sys.argv[1:6]
at = datetime.fromisoformat(at)
intake = wiring.intake(district)
print("ready", flush=True)
with Client(url, token, own_id=own) as weibo:
    while True:
        page = fetching.fetch(district, weibo, at=at, own_id=own)
        taken = inbox.take(intake, at=at)
        if page is not None and page.done and taken is not None and not taken.all:
            break
print("over", flush=True)
"""


def test_a_worker_killed_again_and_again_loses_nothing_and_doubles_nothing(
    weibo_served: tuple[Standin, str], at: datetime
) -> None:
    standin, url = weibo_served
    ids = [
        standin.mention(f"滨湖路{i}号的垃圾没人清运，第{i}次说了", at=at - timedelta(seconds=3000 - i), author=8000 + i)
        for i in range(300)
    ]
    command = [sys.executable, "-c", _WORKER, tiny.DISTRICT, url, TOKEN, OWN, at.isoformat()]
    killed = 0
    for wait_s in (0.1, 0.4, 0.9, 90.0):
        with subprocess.Popen(
            command, cwd=Path(ROOT), env=os.environ.copy(), stdout=subprocess.PIPE, text=True
        ) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
            end = time.monotonic() + wait_s
            while worker.poll() is None and time.monotonic() < end:
                time.sleep(0.01)
            if worker.poll() is None:
                worker.send_signal(signal.SIGKILL)
                killed += 1
    assert killed >= 2, "the kills came in the middle"
    found = mentions(*ids)
    assert len(found) == len(ids)
    assert {row.state for row in found.values()} <= {"case", "joined"}
    assert sorted(reports(*ids)) == sorted(map(str, ids)), "each post is one report"
    opened = {row.case_id for row in found.values()}
    with snapshot(program(tiny.DISTRICT)) as session:
        cases = session.scalar(
            select(func.count()).select_from(Case).where(Case.district_code == tiny.DISTRICT, Case.received_at == at)
        )
    assert cases == len(opened), "no case without its mention"

"""A flood of mentions past a platform that misbehaves all the while: nothing lost, nothing double, memory bounded."""

import random
import resource
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from api import wiring
from core.db import snapshot
from dispatch.models import Case, Report
from hotline.weibo import fetch as fetching
from hotline.weibo import inbox
from hotline.weibo.models import Mention, MentionEvent, WeiboCursor
from hotline.weibo.platform import Client
from tests import tiny
from tests.builders import program
from tests.standin_weibo import OWN, Standin

pytestmark = pytest.mark.database

AT = datetime(2026, 4, 6, 2, 0, tzinfo=UTC)
#: Posts of the flood; every third is a matter of its own, the others repost one of a few.
MANY, THREADS = 3000, 5
#: What goes wrong, in turn, at every third call.
TRICKS = ("half", "same", "500", "drop", "list", "slow", "redirect")
_SAID = ("的垃圾没人清运", "的路灯不亮", "的井盖缺了一块", "半夜施工很吵", "停水两天了")


def publish(standin: Standin) -> list[int]:
    """Publish the flood within the hour before `AT`; returns the ids."""
    began, ids, roots = AT - timedelta(hours=1), [], list[int]()
    for n in range(MANY):
        moment = began + timedelta(seconds=n * 3500 / MANY)
        own = f"滨湖路{n}号{_SAID[n % len(_SAID)]}，第{n}位市民"
        if n < THREADS:
            roots.append(standin.mention(own, at=moment, author=9_100_000 + n))
            ids.append(roots[-1])
        elif n % 3 == 0:
            ids.append(standin.mention(own, at=moment, author=9_200_000 + n))
        else:
            root = roots[n % THREADS]
            thread = {"id": root, "idstr": str(root), "text": standin.posts[root]["text"], "user": {"id": 1}}
            words = random.Random(n).choice(("转发微博", "同问", "[怒]", "//@某人:顶"))
            ids.append(standin.mention(words, at=moment, author=9_300_000 + n, retweeted_status=thread))
    return ids


def test_some_thousand_mentions_of_an_hour_come_in_once_each_whatever_the_platform_answers(
    standin: Standin, weibo: Client, district: tiny.Tiny
) -> None:
    ids, now, turn = publish(standin), AT, 0
    intake = wiring.intake(tiny.DISTRICT)
    halts: Counter[str] = Counter()
    memory, began = [], time.perf_counter()
    done = False
    while not done:
        assert turn < 1000, "the flood never ends"
        if turn % 3 == 1 and turn not in (7, 13):
            standin.next.append(TRICKS[turn // 3 % len(TRICKS)])
        standin.token_error = 21327 if turn == 7 else None
        standin.left = 0 if turn == 13 else None
        page = fetching.fetch(tiny.DISTRICT, weibo, at=now, own_id=OWN)
        standin.next.clear()
        if page is not None and page.halted:
            halts[page.halted] += 1
        # Taking goes on while fetching waits.
        taken = inbox.take(intake, at=now, platform=None)
        done = page is not None and page.done and not page.halted and not (taken and taken.all)
        now += timedelta(minutes=2)
        turn += 1
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    took = time.perf_counter() - began
    print(f"{MANY} mentions in {took:.1f} s, {MANY / took:.0f}/s, with {dict(halts)}")  # noqa: T201  the run's figure
    assert set(halts) == {"token", "rate", "down", "odd"}
    assert memory[-1] - memory[len(memory) // 2] < 60_000, "KiB; a flood waits in the table and not in memory"
    _whole(ids)


def _whole(ids: list[int]) -> None:
    wanted = sorted(map(str, ids))
    here = tiny.DISTRICT
    with snapshot(program(here)) as session:
        cursor = session.get_one(WeiboCursor, (here, "fetch"))
        assert (cursor.failure, cursor.since_id) == (None, max(ids)), "the walk is at its end and nothing is wrong"
        rows = session.execute(select(Mention.post_id, Mention.state, Mention.root_id, Mention.case_id)).all()
        assert sorted(row.post_id for row in rows) == wanted
        states = Counter(row.state for row in rows)
        assert set(states) <= {"case", "joined"}
        assert states["case"] == THREADS + sum(1 for n in range(THREADS, MANY) if n % 3 == 0)
        assert len({row.case_id for row in rows}) == states["case"], "reposts lie with the case of their thread"
        reports = session.scalars(select(Report.source_id).where(Report.channel == "weibo")).all()
        assert sorted(map(str, reports)) == wanted, "each post is one report"
        assert session.scalar(select(func.count()).select_from(Case)) == states["case"]
        events = session.execute(
            select(MentionEvent.kind, func.count()).group_by(MentionEvent.kind).order_by(MentionEvent.kind)
        ).all()
        assert [tuple(row) for row in events] == [("joined", states["joined"]), ("opened", states["case"])]

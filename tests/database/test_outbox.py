"""The outbox: nothing lost, nothing twice beyond the key, in order per case, whoever dies in between."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, text

from api.live import LiveFeed, connect, stream
from core.db import rows, snapshot, transaction
from core.ids import new_id
from core.settings import ROOT, settings
from dispatch import outbox
from dispatch.models import Outbox
from dispatch.outbox import LEASE, MAX_TRIES, Message
from tests import tiny
from tests.builders import program

pytestmark = pytest.mark.database

AT = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)


class Kept:
    """Remembers what was delivered; fails what it is told to."""

    def __init__(self, *failing: uuid.UUID) -> None:
        self.seen: list[Message] = []
        self.failing = set(failing)

    def deliver(self, messages: Sequence[Message]) -> Mapping[uuid.UUID, str]:
        self.seen += [m for m in messages if m.id not in self.failing]
        return {m.id: "refused" for m in messages if m.id in self.failing}


@pytest.fixture(autouse=True)
def _empty(district: tiny.Tiny) -> None:
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(text("DELETE FROM outbox WHERE district_code = :d"), {"d": tiny.DISTRICT})


def put(case: uuid.UUID | None, *topics: str, at: datetime = AT) -> list[uuid.UUID]:
    ids = [new_id() for _ in topics]
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(
            insert(Outbox),
            [
                {"district_code": tiny.DISTRICT, "id": i, "case_id": case, "topic": t, "payload": {}, "created_at": at}
                for i, t in zip(ids, topics, strict=True)
            ],
        )
    return ids


def relay(notifier: outbox.Notifier, *, at: datetime = AT, limit: int = 100) -> int:
    return outbox.relay(tiny.DISTRICT, notifier, at=at, limit=limit)


def test_messages_of_one_case_go_out_in_order() -> None:
    one, other = new_id(), new_id()
    first = put(one, "a", "b")
    put(other, "x")
    first += put(one, "c")
    kept = Kept()
    assert relay(kept) == 4
    assert [m.id for m in kept.seen if m.case_id == one] == first
    assert relay(kept) == 0


def test_a_second_relay_does_not_overtake_the_first() -> None:
    case = new_id()
    put(case, "a")
    held = outbox.lease(tiny.DISTRICT, at=AT, limit=10)
    put(case, "b")
    assert outbox.lease(tiny.DISTRICT, at=AT, limit=10) == []
    outbox.settle(tiny.DISTRICT, held, {}, at=AT)
    assert [m.topic for m in outbox.lease(tiny.DISTRICT, at=AT, limit=10)] == ["b"]


def test_lease_of_a_dead_relay_is_taken_over() -> None:
    put(new_id(), "a")
    assert len(outbox.lease(tiny.DISTRICT, at=AT, limit=10)) == 1
    assert outbox.lease(tiny.DISTRICT, at=AT + LEASE - timedelta(seconds=1), limit=10) == []
    kept = Kept()
    assert relay(kept, at=AT + LEASE + timedelta(seconds=1)) == 1


def test_failure_keeps_later_messages_of_the_case_back_and_hurts_no_other() -> None:
    one, other = new_id(), new_id()
    bad = put(one, "a", "b")
    put(other, "x")
    kept = Kept(bad[0])
    assert relay(kept) == 1
    assert [m.topic for m in kept.seen if m.case_id == other] == ["x"]
    kept.failing.clear()
    later = AT + timedelta(minutes=5)
    assert relay(kept, at=later) == 2


def test_message_that_always_fails_is_given_up_and_kept_for_people() -> None:
    bad = put(new_id(), "a", "b")
    kept, at = Kept(bad[0]), AT
    for _ in range(MAX_TRIES):
        relay(kept, at=at)
        at += timedelta(hours=2)
    relay(kept, at=at)
    left = outbox.backlog(tiny.DISTRICT)
    assert (left.waiting, left.given_up) == (0, 1)
    assert kept.seen[-1].id == bad[1]


def test_counts_are_rolled_once_although_two_relays_settle_the_same() -> None:
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(text("DELETE FROM tally WHERE district_code = :d"), {"d": tiny.DISTRICT})
        payload = {"lng": 113.001, "lat": 23.001, "cell": "", "category": "10", "day": "2026-11-21"}
        keys = {"district_code": tiny.DISTRICT, "id": new_id(), "case_id": new_id()}
        session.execute(insert(Outbox), [keys | {"topic": "case.opened", "payload": payload, "created_at": AT}])
    first = outbox.lease(tiny.DISTRICT, at=AT, limit=10)
    second = outbox.lease(tiny.DISTRICT, at=AT + LEASE * 2, limit=10)
    assert [m.id for m in first] == [m.id for m in second]
    assert outbox.settle(tiny.DISTRICT, first, {}, at=AT) == 1
    assert outbox.settle(tiny.DISTRICT, second, {}, at=AT) == 0
    with snapshot(program(tiny.DISTRICT)) as session:
        assert (
            rows(session, "SELECT sum(opened) AS n FROM tally WHERE district_code = :d", d=tiny.DISTRICT)[0]["n"] == 1
        )


_VICTIM = """
import sys, time
from datetime import datetime, UTC
from api.live import LiveFeed
from core.settings import settings
from dispatch import outbox

class Slow(LiveFeed):
    def deliver(self, messages):
        done = super().deliver(messages[:1])
        print("delivered", flush=True)
        time.sleep(60)
        return done

outbox.relay(sys.argv[1], Slow(settings().broker_url), at=datetime.fromisoformat(sys.argv[2]), limit=10)
"""


def test_kill_between_delivery_and_mark_loses_nothing_and_repeats_nothing_beyond_the_key(tmp_path: Path) -> None:
    """A relay is killed with SIGKILL after it delivered and before it could commit; the next one finishes its work."""
    feed = connect(settings().broker_url)
    feed.delete(stream(tiny.DISTRICT))
    ids = [*put(new_id(), "a", "b"), *put(new_id(), "c")]
    script = tmp_path / "victim.py"
    script.write_text(_VICTIM, encoding="utf-8")
    victim = subprocess.Popen(
        [sys.executable, str(script), tiny.DISTRICT, AT.isoformat()],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert victim.stdout is not None
    assert victim.stdout.readline() == "delivered\n"
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    victim.stdout.close()
    assert outbox.backlog(tiny.DISTRICT).waiting == 3
    notifier = LiveFeed(settings().broker_url)
    later = AT + LEASE * 2
    deadline = time.monotonic() + 10
    # The server notices the dead client at its own pace.
    while outbox.backlog(tiny.DISTRICT).waiting and time.monotonic() < deadline:
        relay(notifier, at=later)
    found = [uuid.UUID(fields[b"id"].decode()) for _, fields in feed.xrange(stream(tiny.DISTRICT))]
    assert sorted(found) == sorted(ids)
    assert [i for i in found if i in ids[:2]] == ids[:2]
    feed.delete(stream(tiny.DISTRICT))
    feed.close()

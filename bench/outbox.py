"""The outbox beside plain SKIP LOCKED batches, and how long a commit takes to become visible through a real worker.

`python -m bench outbox`. The reference claims fifty rows a transaction and marks them delivered in one statement; ours
leases, keeps the order per case, hands the messages to the live feed on Redis, settles and counts.
"""

import os
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import text

from bench import scene
from bench.rows import Row
from core.actor import system
from core.db import transaction
from core.ids import new_id
from core.settings import ROOT, settings

_CLAIM = (
    "UPDATE outbox SET delivered_at = now() WHERE district_code = %s AND id IN (SELECT id FROM outbox "
    "WHERE district_code = %s AND delivered_at IS NULL ORDER BY id LIMIT 50 FOR UPDATE SKIP LOCKED)"
)
_PAYLOAD = '{"lng": 83.2, "lat": 39.1, "cell": "", "category": "01", "day": "2026-11-23"}'


def fill(district: str, many: int) -> None:
    """Write waiting messages, two a case."""
    with psycopg.connect(scene.psql_url(settings().owner_url)) as link, link.cursor() as cursor:
        cursor.execute("DELETE FROM outbox")
        with cursor.copy("COPY outbox (district_code, id, case_id, topic, payload, created_at) FROM STDIN") as copy:
            for _ in range(many // 2):
                case = new_id()
                for topic in ("case.opened", "unit.assigned"):
                    copy.write_row((district, new_id(), case, topic, _PAYLOAD, scene.AT))
        link.commit()
        cursor.execute("ANALYZE outbox")


def drained(district: str) -> float:
    """Return messages a second of our relay, through the live feed."""
    from api import wiring
    from dispatch import outbox

    began, sent = time.perf_counter(), 0
    while some := outbox.relay(district, wiring.notifier(), at=wiring.now(), limit=500):
        sent += some
    return sent / (time.perf_counter() - began)


def claimed(district: str) -> float:
    """Return messages a second of plain batches."""
    with psycopg.connect(scene.psql_url(settings().owner_url)) as link, link.cursor() as cursor:
        began, done = time.perf_counter(), 0
        while True:
            cursor.execute(_CLAIM, (district, district))
            link.commit()
            if not cursor.rowcount:
                return done / (time.perf_counter() - began)
            done += cursor.rowcount


@contextmanager
def worker() -> Iterator[None]:
    """Run a real Celery worker on the bench's database and a queue of its own."""
    argv = [sys.executable, "-m", "celery", "-A", "api.worker:app", "worker", "--concurrency=1", "-Q", "bench"]
    argv += ["--without-gossip", "--without-mingle", "--loglevel=WARNING", "--hostname=bench@%h"]
    process = subprocess.Popen(argv, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def visible(district: str, many: int) -> list[float]:
    """Return milliseconds from commit to the live feed, through bell, broker and worker."""
    from api import live
    from api.worker import app

    feed = live.connect(settings().broker_url)
    name, found = live.stream(district), []
    app.send_task("wangge.relay", queue="bench", expires=60)
    last = feed.xinfo_stream(name)["last-generated-id"] if feed.exists(name) else "0-0"
    warm = False
    for _ in range(many + 5):
        message = new_id()
        with transaction(system(district, "bench")) as session:
            session.execute(
                text(
                    "INSERT INTO outbox (district_code, id, case_id, topic, payload, created_at) "
                    "VALUES (:d, :i, :c, 'bench', '{}', :at)"
                ),
                {"d": district, "i": message, "c": uuid.uuid4(), "at": scene.AT},
            )
        began = time.perf_counter()
        threading.Thread(target=app.send_task, args=("wangge.relay",), kwargs={"queue": "bench", "expires": 5}).start()
        while True:
            got = feed.xread({name: last}, block=3000, count=10)
            if got:
                last = got[0][1][-1][0]
                if any(fields[b"id"].decode() == str(message) for _, fields in got[0][1]):
                    break
            elif warm:
                raise RuntimeError("the worker did not deliver")
        warm = True
        found.append((time.perf_counter() - began) * 1000)
    feed.close()
    return found[5:]


def run(quick: bool) -> list[Row]:  # noqa: FBT001  the signature of every bench
    from api import wiring

    many, rounds = (4000, 2) if quick else (20_000, 3)
    with scene.district("outbox", households=2000):
        district = wiring.district()
        ours, reference = [], []
        for _ in range(rounds):
            fill(district, many)
            reference.append(claimed(district))
            fill(district, many)
            ours.append(drained(district))
        fill(district, 0)
        with worker():
            waits = sorted(visible(district, 30 if quick else 200))
    rate, limit = statistics.median(ours), statistics.median(reference)
    p99 = waits[int(len(waits) * 0.99) - 1]
    return [
        Row(
            "outbox drain, delivered to Redis",
            rate,
            limit,
            "messages/s",
            rate / limit,
            "≥ 10,000/s",
            "reference only marks rows; ours keeps order, delivers, counts",
        ),
        Row(
            "commit to visible, p99",
            p99,
            200.0,
            "ms",
            200.0 / p99,
            "≤ 200 ms",
            f"p50 {statistics.median(waits):.0f} ms; through bell, broker and worker",
        ),
    ]

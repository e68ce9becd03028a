"""A phone's queue against a server that is killed with SIGKILL and lines that break: nothing lost, nothing doubled."""

import io
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import httpx
import pytest
from PIL import Image
from sqlalchemy import select

from api import security, waiting
from api.routes import field_clock
from core.actor import Actor, Role, system
from core.db import rows, snapshot, transaction
from core.errors import Invalid
from core.ids import new_id
from grid import field_queue
from grid.models import Account
from tests import tiny
from tests.journeys.field_ground import Server

pytestmark = pytest.mark.database

API = "/api/v1/field"
#: Reports of one shift, each with a photo and a step that builds on it.
REPORTS = 16
#: What a shift makes one of for each report. A step without a time happened when the server heard of it.
COUNTED = {
    "cases": "SELECT count(*) AS n FROM cases WHERE district_code = :d AND channel = 'patrol'",
    "closed": "SELECT count(*) AS n FROM cases WHERE district_code = :d AND state = 'closed'",
    "photos": "SELECT count(*) AS n FROM attachment WHERE district_code = :d",
    "settled": "SELECT count(*) AS n FROM entry WHERE district_code = :d AND action = 'settle' AND NOT late",
}
AT = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)


def picture(number: int) -> bytes:
    """Return a JPEG that no other number gives."""
    out = io.BytesIO()
    image = Image.new("RGB", (480, 360), (number * 7 % 256, number * 31 % 256, number * 53 % 256))
    image.putpixel((number % 480, number % 360), (255, 255, 255))
    image.save(out, "JPEG", quality=90)
    return out.getvalue()


@pytest.fixture(scope="module")
def served(district: tiny.Tiny) -> Iterator[Server]:
    made = Server()
    made.start()
    yield made
    made.kill()


@pytest.fixture
def bearer(district: tiny.Tiny) -> dict[str, str]:
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        query = select(Account.id, Account.session_epoch).where(
            Account.district_code == tiny.DISTRICT, Account.login == "gridwest"
        )
        key, epoch = session.execute(query).one()
    return {"Authorization": f"Bearer {security.sign_token(key, epoch)}"}


def count(sql: str) -> int:
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        return int(rows(session, sql, d=tiny.DISTRICT)[0]["n"])


def done() -> int:
    return count("SELECT count(*) AS n FROM field_receipt WHERE district_code = :d AND state = 'done'")


def send_photo(client: httpx.Client, data: bytes) -> None:
    """Send a photo as a phone does: ask what is there, go on from there."""
    url = f"{API}/photos/{sha256(data).hexdigest()}"
    there = client.head(url)
    if there.status_code != 204:
        begin = int(there.headers["upload-offset"])
        headers = {"Upload-Offset": str(begin), "Upload-Length": str(len(data))}
        answer = client.put(url, content=data[begin:], headers=headers)
        assert answer.status_code in (200, 201), answer.text


def break_off(served: Server, bearer: dict[str, str], data: bytes, after: int) -> None:
    """Begin to send a photo and let the line break after some bytes of it."""
    head = (
        f"PUT {API}/photos/{sha256(data).hexdigest()} HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: {bearer['Authorization']}\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as line:
        line.sendall(head.encode() + data[:after])
        time.sleep(0.05)


def shift(district: tiny.Tiny, photos: list[bytes]) -> list[dict[str, Any]]:
    """Return the queue of a day: each report is followed by the step that settles it."""
    lng, lat = district.in_west
    queue: list[dict[str, Any]] = []
    for i, data in enumerate(photos):
        opened: dict[str, Any] = {
            "key": str(new_id()),
            "kind": "report",
            "happened_at": (datetime.now(UTC) - timedelta(hours=5, minutes=i)).isoformat(),
            "position": {"lng": lng + i * 1e-5, "lat": lat, "accuracy": 9},
            "photos": [sha256(data).hexdigest()],
            "fields": {"text": f"第{i}号路灯不亮，已报修。", "category": "1001", "event": "part"},
        }
        settle = {
            "key": str(new_id()),
            "kind": "step",
            "of": opened["key"],
            "fields": {"action": "settle", "done": "已修好。"},
        }
        queue += [opened, settle]
    return queue


def sync(client: httpx.Client, queue: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    told = {"device": "t", "phone_time": datetime.now(UTC).isoformat(), "actions": queue}
    answer = client.post(f"{API}/sync", json=told)
    assert answer.status_code == 200, answer.text
    return {one["key"]: one for one in answer.json()["results"]}


def test_a_queue_survives_a_server_that_is_killed_again_and_again(
    served: Server, bearer: dict[str, str], district: tiny.Tiny
) -> None:
    photos = [picture(i) for i in range(REPORTS)]
    queue = shift(district, photos)
    begun, before = done(), {name: count(sql) for name, sql in COUNTED.items()}

    def client() -> httpx.Client:
        return httpx.Client(base_url=served.address, headers=bearer, timeout=60)

    with client() as phone:
        for i, data in enumerate(photos):
            if i % 5 == 0:
                break_off(served, bearer, data, after=1 + i * 37 % len(data))
            if i == REPORTS // 2:
                break_off(served, bearer, data, after=len(data) - 1)
                served.kill()
                served.start()
            send_photo(phone, data)
    for goal in (begun + 3, begun + 17):
        # Killed when so much is done, whatever it is doing then; the phone hears nothing of what was done.
        def run() -> None:
            with client() as phone, pytest.raises((httpx.TransportError, AssertionError)):
                sync(phone, queue)

        sending = threading.Thread(target=run)
        sending.start()
        limit = time.monotonic() + 60
        while done() < goal:
            assert time.monotonic() < limit, "the server does not get on"
            time.sleep(0.002)
        served.kill()
        sending.join(60)
        assert goal <= done() < begun + len(queue), "it was killed in the middle"
        served.start()
    with client() as phone:
        found = sync(phone, queue)
        again = sync(phone, list(reversed(queue[:20])))
    assert {one["status"] for one in found.values()} <= {"done", "repeated"}
    assert {one["status"] for one in again.values()} == {"repeated"}
    assert len({one["number"] for one in found.values()}) == REPORTS, "one case each"
    made = {name: count(sql) - before[name] for name, sql in COUNTED.items()}
    assert made == dict.fromkeys(COUNTED, REPORTS), "one case each, with one photo, settled once"


def test_the_same_queue_sent_by_two_at_once_is_done_once(
    served: Server, bearer: dict[str, str], district: tiny.Tiny
) -> None:
    photos = [picture(1000 + i) for i in range(8)]
    queue = shift(district, photos)
    before = count(COUNTED["cases"])
    with httpx.Client(base_url=served.address, headers=bearer, timeout=60) as phone:
        for data in photos:
            send_photo(phone, data)
    results: list[dict[str, dict[str, Any]]] = []

    def run() -> None:
        with httpx.Client(base_url=served.address, headers=bearer, timeout=60) as phone:
            results.append(sync(phone, queue))

    both = [threading.Thread(target=run) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(120)
    assert len(results) == 2
    with httpx.Client(base_url=served.address, headers=bearer, timeout=60) as phone:
        last = sync(phone, queue)
    assert {one["status"] for one in last.values()} == {"repeated"}
    assert count(COUNTED["cases"]) == before + len(photos)


@pytest.mark.parametrize(
    ("phone", "offset_s", "happened"),
    [
        (None, 86400.0, AT),
        (AT + timedelta(hours=23), 86400.0, AT - timedelta(hours=1)),
        (AT - timedelta(hours=25), -86400.0, AT - timedelta(hours=1)),
        (AT + timedelta(minutes=3), 0.0, AT),
    ],
)
def test_when_it_happened_is_corrected_by_the_clocks_offset(
    phone: datetime | None, offset_s: float, happened: datetime
) -> None:
    found = field_clock.corrected(phone, offset_s=offset_s, at=AT)
    assert (found.happened_at, found.phone_at, found.offset_s) == (happened, phone, offset_s)


def test_times_that_cannot_be_are_refused() -> None:
    for wrong in (AT + timedelta(minutes=11), AT - timedelta(days=61), datetime.min.replace(tzinfo=UTC)):
        with pytest.raises(Invalid):
            field_clock.corrected(wrong, offset_s=0, at=AT)


def test_what_nobody_ever_named_is_swept_and_what_is_young_stays(district: tiny.Tiny) -> None:
    worker = Actor(new_id(), "巡", Role.GRID_WORKER, tiny.DISTRICT, town=tiny.WEST)
    assert worker.id is not None
    photo = field_queue.Waiting("a" * 64, "photo", "b" * 64, "image/jpeg", 3, 1, 1, None, None)
    waiting.keep(worker.id, photo.sha256, b"abc")
    with transaction(worker) as session:
        field_queue.put_photo(session, photo, at=AT)
    keeper = system(tiny.DISTRICT, "tests")
    with transaction(keeper) as session:
        assert field_queue.prune(session, at=AT + timedelta(days=30)) == 0
        assert field_queue.prune(session, at=AT + timedelta(days=41)) >= 1
    assert waiting.sweep(before=datetime.now(UTC) - timedelta(days=1)) == 0
    assert waiting.sweep(before=datetime.now(UTC) + timedelta(seconds=1)) >= 1
    assert not waiting.hand_over(worker.id, photo.sha256)

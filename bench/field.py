"""The worker's phone over real HTTP: a shift of 200 queued reports with photos in one go; 300 phones at once.

`python -m bench field`. One uvicorn with two processes, as on a district's machine; the senders are threads of this
process on the same two cores, so that the figures are what is left of the machine. District, workers and photos are
invented.
"""

import http.client
import io
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from PIL import Image
from sqlalchemy import insert

from bench import scene
from bench.http import _port
from bench.rows import Row
from core.settings import ROOT

_API = "/api/v1/field"


@contextmanager
def serve(processes: int) -> Iterator[int]:
    port = _port()
    argv = [sys.executable, "-m", "uvicorn", "api.app:app", "--port", str(port), "--workers", str(processes)]
    argv += ["--no-access-log", "--log-level", "warning"]
    process = subprocess.Popen(argv, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        for _ in range(1500):
            try:
                link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                link.request("GET", "/readyz")
                if link.getresponse().status == 200:
                    break
            except OSError:
                time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(20)


class Phone:
    """One worker with a line to the server."""

    def __init__(self, port: int, token: str, spot: tuple[float, float]) -> None:
        self.link = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.headers = {"Authorization": f"Bearer {token}"}
        self.spot = spot

    def ask(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> tuple[int, bytes]:
        for last in (False, True):
            try:
                self.link.request(method, path, body, self.headers | {"Content-Type": kind})
                answer = self.link.getresponse()
                return answer.status, answer.read()
            except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
                # The server closed a line that was idle; sending again is what a phone does.
                self.link.close()
                if last:
                    raise
        raise AssertionError

    def sync(self, actions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        told = {"device": "bench", "phone_time": datetime.now(UTC).isoformat(), "actions": actions}
        status, said = self.ask("POST", f"{_API}/sync", json.dumps(told).encode())
        if status != 200:
            raise RuntimeError(f"{status} {said[:200]!r}")
        found: list[dict[str, Any]] = json.loads(said)["results"]
        return found

    def report(self, photos: list[str]) -> dict[str, Any]:
        lng, lat = self.spot
        shift = random.uniform(-1e-4, 1e-4)
        return {
            "key": str(uuid.uuid4()),
            "kind": "report",
            "happened_at": datetime.now(UTC).isoformat(),
            "position": {"lng": lng + shift, "lat": lat - shift, "accuracy": 10},
            "photos": photos,
            "fields": {"text": f"路边{random.randint(1, 999)}号井盖松动，已放警示锥。"},
        }


def workers(count: int) -> tuple[str, list[tuple[str, tuple[float, float]]]]:
    """Make grid workers and return tokens, each with a point in the middle of a cell of the own town."""
    from api import security, wiring
    from core.actor import system
    from core.db import rows, transaction
    from core.ids import new_id
    from grid.models import Account

    code = wiring.district()
    with transaction(system(code, "bench")) as session:
        cells = rows(
            session,
            "SELECT c.code, ST_X(ST_PointOnSurface(c.geom)) AS lng, ST_Y(ST_PointOnSurface(c.geom)) AS lat FROM cell c"
            " WHERE c.district_code = :d ORDER BY c.code",
            d=code,
        )
        made = []
        for i in range(count):
            cell, key = cells[i * 7 % len(cells)], new_id()
            values = {"role": "grid_worker", "name": f"巡{i}", "password_hash": "!", "created_at": wiring.now()}
            row = {"district_code": code, "id": key, "login": f"bench{i}", "town_code": cell["code"][:9], **values}
            session.execute(insert(Account).values(**row))
            made.append((security.sign_token(key, 0), (float(cell["lng"]), float(cell["lat"]))))
    return code, made


def photo(number: int) -> bytes:
    """Return a JPEG of a phone's size, some 900 KB: noise, so that it packs as badly as a street does."""
    chance = random.Random(number)
    image = Image.frombytes("RGB", (200, 150), chance.randbytes(200 * 150 * 3)).resize((2000, 1500))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=88)
    return out.getvalue()


def shift(phone: Phone, photos: list[bytes]) -> tuple[float, float]:
    """Send a queue of reports with a photo each, photos first; return seconds for the photos and for the queue."""
    begin = time.perf_counter()
    for data in photos:
        status, said = phone.ask("PUT", f"{_API}/photos/{sha256(data).hexdigest()}", data, "image/jpeg")
        if status not in (200, 201):
            raise RuntimeError(f"{status} {said[:200]!r}")
    sent = time.perf_counter()
    queue = [phone.report([sha256(data).hexdigest()]) for data in photos]
    waiting = queue
    while waiting:
        results = phone.sync(waiting)
        left = {one["key"] for one in results if one["status"] == "retry"}
        bad = [one for one in results if one["status"] not in ("done", "repeated", "retry")]
        if bad:
            raise RuntimeError(str(bad[0]))
        waiting = [one for one in waiting if one["key"] in left]
    return sent - begin, time.perf_counter() - sent


def one_by_one(phone: Phone, photos: list[bytes]) -> float:
    """Report the same through the JSON API of everybody, one report and one photo a request; return seconds."""
    begin = time.perf_counter()
    for data in photos:
        lng, lat = phone.spot
        told = {
            "text": "路边井盖松动，已放警示锥。",
            "channel": "patrol",
            "point": {"lng": lng, "lat": lat, "datum": "WGS84"},
        }
        status, said = phone.ask("POST", "/api/v1/reports", json.dumps(told).encode())
        if status != 201:
            raise RuntimeError(f"{status} {said[:200]!r}")
        number, edge = json.loads(said)["number"], uuid.uuid4().hex
        body = f'--{edge}\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'.encode() + data
        body += f"\r\n--{edge}--\r\n".encode()
        kind = f"multipart/form-data; boundary={edge}"
        status, said = phone.ask("POST", f"/api/v1/cases/{number}/photos", body, kind)
        if status != 201:
            raise RuntimeError(f"{status} {said[:200]!r}")
    return time.perf_counter() - begin


def at_once(phones: list[Phone], call: Callable[[Phone], list[str]]) -> tuple[float, list[float], list[str]]:
    """Let every phone call at the same moment; return seconds in all, seconds of each, and what went wrong."""
    gate, took, wrong = threading.Barrier(len(phones) + 1), [], []

    def run(phone: Phone) -> None:
        gate.wait()
        begin = time.perf_counter()
        try:
            wrong.extend(call(phone))
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            wrong.append(repr(error)[:200])
        took.append(time.perf_counter() - begin)

    threads = [threading.Thread(target=run, args=(phone,)) for phone in phones]
    for thread in threads:
        thread.start()
    gate.wait()
    begin = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begin, sorted(took), wrong


def round_of_one(phone: Phone) -> list[str]:
    """Sync what a worker gathers in an hour: two reports, a step on the first, a patrol with its track."""
    first, second, run = phone.report([]), phone.report([]), str(uuid.uuid4())
    begun = datetime.now(UTC) - timedelta(minutes=20)
    lng, lat = phone.spot
    points = [[lng + i * 3e-5, lat, 8, (begun + timedelta(seconds=5 * i)).isoformat(), 0] for i in range(200)]

    def told(kind: str, **more: Any) -> dict[str, Any]:
        return {"key": str(uuid.uuid4()), "kind": kind, "happened_at": datetime.now(UTC).isoformat(), **more}

    results = phone.sync(
        [
            told("patrol", fields={"run": run, "part": "start"}) | {"happened_at": begun.isoformat()},
            first,
            told("step", of=first["key"], fields={"action": "settle", "done": "已处置。"}),
            second,
            told("patrol", fields={"run": run, "part": "points", "points": points}),
            told("patrol", fields={"run": run, "part": "stop"}),
        ]
    )
    return [
        f"{one['kind']} {one['status']} {one['code']} {one['message']}" for one in results if one["status"] != "done"
    ]


def hello(phone: Phone) -> list[str]:
    status, _ = phone.ask("GET", f"{_API}/hello")
    return [] if status == 200 else [str(status)]


def run(quick: bool) -> list[Row]:  # noqa: FBT001  the signature of every bench
    many, crowd = (40, 60) if quick else (200, 300)
    photos = [photo(i) for i in range(many)]
    others = [photo(10_000 + i) for i in range(many // 4)]
    with scene.district("field", cases=100) as _:
        _, made = workers(crowd)
        with serve(2) as port:
            phones = [Phone(port, token, spot) for token, spot in made]
            for phone in phones[:6]:
                round_of_one(phone)
            singly = one_by_one(phones[1], others) * many / len(others)
            sent, queued = shift(phones[0], photos)
            hellos = [at_once(phones, hello) for _ in range(3)]
            rounds = [at_once(phones, round_of_one) for _ in range(1 if quick else 3)]
    whole = sent + queued
    took = sorted(one for _, each, _ in rounds for one in each)
    wrong = [one for _, _, faults in rounds for one in faults]
    plain = sorted(one for _, each, _ in hellos for one in each)
    rate = statistics.median(len(phones) / seconds for seconds, _, _ in rounds)
    size = sum(map(len, photos)) / len(photos) / 1024
    p50, p95 = (took[int(len(took) * share)] for share in (0.5, 0.95))
    return [
        Row(
            f"a queue of {many} reports with photos, in one go",
            whole,
            singly,
            "s",
            whole / singly,
            "one go, resumable",
            f"{sent:.1f} s for {many} photos of {size:.0f} KB, {queued:.1f} s for the queue; "
            "reference: the same by the API of single reports, one by one",
        ),
        Row(
            f"{crowd} phones syncing at once, six actions each",
            p95,
            plain[int(len(plain) * 0.95)],
            "s, p95",
            p95 / plain[int(len(plain) * 0.95)],
            "no error on two cores",
            f"{len(wrong)} errors in {len(took) * 6:,} actions; {rate:.1f} phones/s, p50 {p50:.1f} s; "
            f"reference: as many asking the time at once{'; first: ' + wrong[0] if wrong else ''}",
        ),
    ]

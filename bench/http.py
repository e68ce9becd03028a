"""Intake over HTTP, with session, CSRF or token, audit and idempotency key, beside a bare FastAPI prototype.

`python -m bench http`. Both run as one uvicorn process on loopback and are asked in turns by the same eight clients. The
prototype takes a JSON body and writes one row to a table of its own through a pool: no place, no case, no log.
"""

import http.client
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from bench import scene
from bench.rows import Row
from core.settings import ROOT, settings

_CLIENTS = 8
_BARE = """
import os
from fastapi import FastAPI
from psycopg_pool import ConnectionPool
from pydantic import BaseModel

pool = ConnectionPool(os.environ["BARE_URL"], min_size=8, max_size=8)
app = FastAPI()

class Report(BaseModel):
    text: str
    channel: str = "web"

@app.get("/healthz")
def healthz() -> str:
    return "ok"

@app.post("/reports", status_code=201)
def take(report: Report) -> dict[str, str]:
    with pool.connection() as link:
        row = link.execute("INSERT INTO bare (text, channel) VALUES (%s, %s) RETURNING id", (report.text, report.channel))
        return {"id": str(row.fetchone()[0])}
"""


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serve(app: str, cwd: Path, env: dict[str, str]) -> Iterator[int]:
    port = _port()
    argv = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--no-access-log", "--log-level", "warning"]
    process = subprocess.Popen(argv, cwd=cwd, env=os.environ | env)
    try:
        for _ in range(300):
            try:
                link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                link.request("GET", "/healthz")
                if link.getresponse().status == 200:
                    break
            except OSError:
                time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def sign_in(port: int, district: str) -> str:
    """Make an operator and return the bearer token; an anonymous sender would be throttled, rightly."""
    from api import wiring
    from core.actor import Role, system
    from core.db import transaction
    from grid.accounts import NewAccount, add

    new = NewAccount(login="bench", password=uuid.uuid4().hex, role=Role.OPERATOR, name="基准")
    with transaction(system(district, "bench")) as session:
        add(session, new, district=district, at=wiring.now())
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = json.dumps({"login": new.login, "password": new.password})
    link.request("POST", "/api/v1/tokens", body, {"Content-Type": "application/json"})
    return str(json.loads(link.getresponse().read())["token"])


def load(port: int, path: str, bodies: list[bytes], seconds: float, *, token: str = "") -> tuple[float, float]:
    """Return requests a second and p99 in milliseconds; raises on any answer but 201."""
    took: list[float] = []
    failed: list[str] = []
    end = time.perf_counter() + seconds

    def client(mine: Iterator[bytes]) -> None:
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while time.perf_counter() < end and not failed:
            headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
            if token:
                headers["Authorization"] = f"Bearer {token}"
            began = time.perf_counter()
            link.request("POST", path, next(mine), headers)
            answer = link.getresponse()
            said = answer.read()
            took.append(time.perf_counter() - began)
            if answer.status != 201:
                failed.append(f"{answer.status} {said[:300]!r}")
        link.close()

    threads = [threading.Thread(target=client, args=(itertools.cycle(bodies[i::_CLIENTS]),)) for i in range(_CLIENTS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(failed[0])
    return len(took) / (time.perf_counter() - began), sorted(took)[int(len(took) * 0.99) - 1] * 1000


def run(quick: bool) -> list[Row]:  # noqa: FBT001  the signature of every bench
    from api import wiring
    from hotline.play import messages

    seconds, rounds = (4, 2) if quick else (10, 3)
    with scene.district("http", cases=4000) as folder:
        url = scene.psql_url(settings().owner_url)
        with psycopg.connect(url, autocommit=True) as link:
            link.execute("CREATE TABLE bare (id bigint GENERATED ALWAYS AS IDENTITY, text text, channel text)")
        (folder / "bare.py").write_text(_BARE, encoding="utf-8")
        bodies = [json.dumps({"text": m.text, "channel": "web"}).encode() for m in messages(folder / "cases.jsonl")]
        ours, reference, tails = [], [], []
        with (
            serve("api.app:app", ROOT, {"PYTHONPATH": str(ROOT)}) as port,
            serve("bare:app", folder, {"BARE_URL": url}) as bare,
        ):
            token = sign_in(port, wiring.district())
            load(port, "/api/v1/reports", bodies, 4, token=token)
            load(bare, "/reports", bodies, 1)
            for _ in range(rounds):
                reference.append(load(bare, "/reports", bodies, seconds)[0])
                rate, p99 = load(port, "/api/v1/reports", bodies, seconds, token=token)
                ours.append(rate)
                tails.append(p99)
    rate, limit = statistics.median(ours), statistics.median(reference)
    note = f"p99 {statistics.median(tails):.0f} ms with {_CLIENTS} clients; reference: bare FastAPI, one insert"
    goal = "≥ 6 × an Open311 server (29–59/s elsewhere), ≥ 20 × Signalen (8–10/s elsewhere)"
    return [Row("intake over HTTP", rate, limit, "reports/s", rate / limit, goal, note)]

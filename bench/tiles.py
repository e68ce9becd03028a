"""Vector tiles beside tipg from PyPI: the same rows, the same server, one process each, over HTTP on loopback.

`run(quick)` makes a database of its own from the template, fills it with synthetic open cases, starts tipg in a virtual
environment of its own under `var/bench-tipg` (its pins may clash with ours), our application once with and once without
its store of kept tiles, asks all of them for the same tiles in turn, and drops the database again.
tipg serves up to 10,000 features a tile; ours up to 5,000, and kept counts where there are more.
"""

import contextlib
import http.client
import math
import os
import random
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import quote

import orjson
import psycopg
from sqlalchemy import make_url

from bench.environments import environment
from bench.rows import Row
from core.actor import system
from core.db import make_engine, transaction
from core.settings import ROOT, settings
from dispatch import tallies
from grid.accounts import hash_password
from maps.tiles import Tile

DISTRICT, DATABASE = "990900", "wangge_bench_tiles"
WEST, SOUTH, EAST, NORTH = 112.85, 22.80, 113.25, 23.30
ZOOMS = (11, 13, 14, 16)
PASSWORD = "only-for-this-bench-26"
#: What both are asked for.
COLUMNS = "number,state,category_code,town_code,due_at,received_at,warned"
SECRET = "be" * 32

_DISTRICT = "INSERT INTO district (district_code, name, fictional, revision) VALUES (%s, '基准区', true, 1)"
_ACCOUNT = (
    "INSERT INTO account (district_code, id, login, password_hash, role, name, created_at)"
    " VALUES (%s, gen_random_uuid(), 'official', %s, 'official', '基准', now())"
)
#: Towns of people: a third lies anywhere, the rest around twelve centres.
_CASES = """
INSERT INTO cases (district_code, id, number, process, process_version, state, version, open, kind, channel, urgency,
  text, category_code, geom, source_datum, town_code, reported_at, received_at, due_at, due_clock, warned, suggestions,
  entries, head_hash)
SELECT %(d)s, gen_random_uuid(), '20261101' || lpad(i::text, 8, '0'), 'complaint', 1,
  (ARRAY['received','dispatched','signed','replied'])[1 + i %% 4], 1, true, 'complaint', 'web', 'ordinary',
  '虚构的诉求', '10' || lpad((i %% 15)::text, 2, '0'),
  ST_SetSRID(ST_MakePoint(least(greatest(x, %(w)s), %(e)s), least(greatest(y, %(s)s), %(n)s)), 4490), 'CGCS2000',
  '990900001', t, t, t + interval '5 days', 'reply', i %% 4, '{}', 1, '\\x00'
FROM (
  SELECT i, timestamptz '2026-11-01' + i * interval '2 seconds' AS t,
    CASE WHEN i %% 3 = 0 THEN %(w)s + random() * (%(e)s - %(w)s)
         ELSE %(w)s + (0.1 + 0.8 * (i %% 4) / 3) * (%(e)s - %(w)s) + (random() + random() - 1) * 0.06 END AS x,
    CASE WHEN i %% 3 = 0 THEN %(s)s + random() * (%(n)s - %(s)s)
         ELSE %(s)s + (0.15 + 0.7 * (i %% 5) / 4) * (%(n)s - %(s)s) + (random() + random() - 1) * 0.06 END AS y
  FROM generate_series(%(first)s, %(last)s) AS i
) AS made
"""
_OURS = """
import sys
import uvicorn
from api.routes import tiles
from maps.kept import Kept
if sys.argv[2] == "forgetful":
    tiles.LIVE = Kept(most_bytes=0)
from api.app import app
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
"""
_TIPG = """
import sys
import uvicorn
from tipg.main import app
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
"""


def run(quick: bool) -> list[Row]:  # noqa: FBT001  the signature of every bench
    """Measure and return one row per zoom and way; `quick` over 10^5 cases, else over 10^6."""
    many = 10**5 if quick else 10**6
    with _database(many) as (owner, app), _servers(owner, app) as (fresh, kept, peer, token):
        rows = [row for z in ZOOMS for row in _zoom(z, many, fresh=fresh, kept=kept, peer=peer, token=token)]
        return [*rows, *(_heat(z, many, fresh=fresh, token=token) for z in (9, *ZOOMS))]


def _zoom(z: int, many: int, *, fresh: str, kept: str, peer: str, token: str) -> list[Row]:
    servers = {"fresh": fresh, "kept": kept, "peer": peer}
    dice = random.Random(z)
    tiles = {_tile(z, dice.uniform(WEST, EAST), dice.uniform(SOUTH, NORTH)) for _ in range(12)}
    mine = {"Authorization": f"Bearer {token}"}
    took: dict[str, list[float]] = {"fresh": [], "kept": [], "peer": []}
    bytes_: dict[str, list[int]] = {"fresh": [], "kept": [], "peer": []}
    lines = {name: http.client.HTTPConnection(at.removeprefix("http://"), timeout=120) for name, at in servers.items()}
    for round_ in range(4):
        for tile in sorted(tiles, key=lambda t: (t.x, t.y)):
            where = f"{tile.z}/{tile.x}/{tile.y}"
            asks = (
                ("fresh", f"/tiles/cases/{where}.mvt", mine),
                ("peer", f"/collections/public.cases/tiles/WebMercatorQuad/{where}?properties={COLUMNS}", {}),
                ("kept", f"/tiles/cases/{where}.mvt", mine),
            )
            for name, path, headers in asks:
                start = time.perf_counter()
                body = _tile_of(lines[name], path, headers)
                if round_:
                    # The first round opens connections, loads PROJ and fills the store.
                    took[name].append(time.perf_counter() - start)
                    bytes_[name].append(len(body))
    rate = {name: 1 / statistics.median(times) for name, times in took.items()}
    size = {name: statistics.median(sizes) / 1024 for name, sizes in bytes_.items()}
    about = f"{many:,} open cases; median tile {size['fresh']:.0f} KB, tipg {size['peer']:.0f} KB"
    return [
        Row(f"tile of open cases, z{z}, drawn", rate["fresh"], rate["peer"], "tiles/s", rate["fresh"] / rate["peer"],
            "≥ 2.5 × tipg", about),
        Row(f"tile of open cases, z{z}, kept", rate["kept"], rate["peer"], "tiles/s", rate["kept"] / rate["peer"],
            "≥ 50 × tipg", "over HTTP, by who asked a moment ago"),
    ]  # fmt: skip


def _heat(z: int, many: int, *, fresh: str, token: str) -> Row:
    """Measure heat tiles from kept counts, drawn anew each time, against the 10 ms that are asked for."""
    dice = random.Random(z)
    line = http.client.HTTPConnection(fresh.removeprefix("http://"), timeout=120)
    took: list[float] = []
    size: list[int] = []
    for turn in range(36):
        tile = _tile(z, dice.uniform(WEST, EAST), dice.uniform(SOUTH, NORTH))
        start = time.perf_counter()
        body = _tile_of(line, f"/tiles/heat/{tile.z}/{tile.x}/{tile.y}.mvt", {"Authorization": f"Bearer {token}"})
        if turn >= 6:
            took.append((time.perf_counter() - start) * 1000)
            size.append(len(body))
    p50 = statistics.median(took)
    note = f"{many:,} cases; median {statistics.median(size) / 1024:.0f} KB; over HTTP"
    return Row(f"heat tile, z{z}, drawn", p50, 10.0, "ms", 10.0 / p50, "p50 ≤ 10 ms", note)


def _tile(z: int, lng: float, lat: float) -> Tile:
    n = 2**z
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * n
    return Tile(z, int((lng + 180) / 360 * n), int(y))


def _tile_of(line: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> bytes:
    """Ask over a connection that stays open, as a browser's does."""
    line.request("GET", path, headers=headers)
    answer = line.getresponse()
    body = answer.read()
    if answer.status not in (200, 204):
        message = f"{answer.status} from {path}: {body[:300]!r}"
        raise RuntimeError(message)
    return body


def _get(address: str, headers: dict[str, str]) -> bytes:
    request = urllib.request.Request(address, headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=120) as answer:
        body: bytes = answer.read()
        return body


@contextlib.contextmanager
def _database(many: int) -> Iterator[tuple[str, str]]:
    """Make and fill the bench's own database; yield its addresses as owner and as program; drop it at the end."""
    from api import schema

    owner, app = (make_url(url).set(database=DATABASE) for url in (settings().owner_url, settings().database_url))
    admin = make_url(settings().owner_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as link:
        link.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        link.execute(f"CREATE DATABASE {DATABASE} TEMPLATE wangge_template")
    try:
        shown = owner.render_as_string(hide_password=False)
        schema.upgrade(shown)
        with psycopg.connect(owner.set(drivername="postgresql").render_as_string(hide_password=False)) as link:
            link.execute(_DISTRICT, [DISTRICT])
            link.execute(_ACCOUNT, [DISTRICT, hash_password(PASSWORD)])
            for first in range(0, many, 10**5):
                box = {"w": WEST, "s": SOUTH, "e": EAST, "n": NORTH}
                link.execute(_CASES, {"d": DISTRICT, "first": first, "last": first + 10**5 - 1, **box})
                link.commit()
            link.execute("ANALYZE cases")
        shown_app = app.render_as_string(hide_password=False)
        engine = make_engine(shown_app, pool_size=1)
        with transaction(system(DISTRICT, "bench"), bind=engine) as session:
            tallies.rebuild(session)
        engine.dispose()
        with psycopg.connect(
            owner.set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True
        ) as link:
            link.execute("VACUUM ANALYZE cases, heat, tally")
        yield shown, shown_app
    finally:
        with psycopg.connect(admin, autocommit=True) as link:
            link.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")


@contextlib.contextmanager
def _servers(owner: str, app: str) -> Iterator[tuple[str, str, str, str]]:
    """Start our application twice and tipg once; yield their addresses and a token for ours; stop exactly those."""
    base = {name: value for name, value in os.environ.items() if not name.startswith(("WANGGE_", "POSTGRES_", "TIPG_"))}
    ours = base | {
        "WANGGE_DATABASE_URL": app,
        "WANGGE_OWNER_URL": owner,
        "WANGGE_DISTRICT": DISTRICT,
        "WANGGE_SECRET": SECRET,
        "PYTHONPATH": str(ROOT),
    }
    theirs = base | {
        "DATABASE_URL": _tipg_url(owner),
        "TIPG_DB_SCHEMAS": '["public"]',
        "TIPG_CATALOG_TTL": "100000",
    }
    started: list[subprocess.Popen[bytes]] = []
    try:
        addresses = []
        for python, code, argument, env in (
            (sys.executable, _OURS, "forgetful", ours),
            (sys.executable, _OURS, "keeping", ours),
            (str(environment("bench-tipg", "tipg", "uvicorn") / "bin" / "python"), _TIPG, "", theirs),
        ):
            port = _free_port()
            # Popen with a list and our own interpreters.
            started.append(subprocess.Popen([python, "-c", code, str(port), argument], env=env, cwd=settings().var))
            addresses.append(f"http://127.0.0.1:{port}")
        for address, path, process in zip(addresses, ("/healthz", "/healthz", "/healthz"), started, strict=True):
            _await(address + path, process)
        yield addresses[0], addresses[1], addresses[2], _token(addresses[0])
    finally:
        for process in started:
            process.terminate()
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)


def _token(address: str) -> str:
    request = urllib.request.Request(
        f"{address}/api/v1/tokens",
        data=orjson.dumps({"login": "official", "password": PASSWORD}),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        return str(orjson.loads(answer.read())["token"])


def _tipg_url(owner: str) -> str:
    """Return the address as asyncpg reads it, over the same socket."""
    url = make_url(owner)
    host = str(url.query.get("host") or url.host or "localhost")
    return f"postgresql://{url.username}@{quote(host, safe='')}/{url.database}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(address: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if process.poll() is not None:
            message = f"{address} ended with {process.returncode}"
            raise RuntimeError(message)
        with contextlib.suppress(OSError):
            _get(address, {})
            return
        time.sleep(0.3)
    raise TimeoutError(address)


if __name__ == "__main__":
    began = datetime.now(UTC)
    for line in run("--full" not in sys.argv):
        figures = f"{line.ours:9.1f} {line.reference:9.1f} {line.unit}  × {line.ratio:6.1f}"
        print(f"{line.work:38} {figures}  {line.goal}  {line.note}")
    print(f"{datetime.now(UTC) - began}")

"""A database or broker that is down: a page that says so, reports that are kept, and no restart when it is back.

The way to each server is a symbolic link in a folder of ours, which is taken away and put back; nobody's server is hurt.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from redis import Redis
from sqlalchemy import event, make_url, text
from starlette.testclient import TestClient

from api import deps, wiring
from core import db
from core.ids import new_id
from core.settings import settings
from dispatch import outbox
from tests import tiny
from tests.web.conftest import csrf

pytestmark = pytest.mark.web

SignIn = Callable[[str], TestClient]
WORDS = "滨湖路22号旁边的井盖松动，车一过就响。"


@dataclass
class Line:
    """A way to a server that can be cut and mended."""

    link: Path
    target: Path
    #: Processes of the server that serve connections over this line.
    connected: list[int] = field(default_factory=list)

    def cut(self) -> None:
        self.link.unlink(missing_ok=True)

    def mend(self) -> None:
        self.cut()
        self.link.symlink_to(self.target)


@pytest.fixture
def short() -> Iterator[Path]:
    """Make a folder whose name is short enough for a socket's."""
    folder = Path(tempfile.mkdtemp(prefix="wg-"))
    yield folder
    for left in folder.iterdir():
        left.unlink()
    folder.rmdir()


@pytest.fixture
def database_line(short: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """Lead the program to its database through a link."""
    url = make_url(settings().database_url)
    folder = url.query.get("host")
    if not isinstance(folder, str) or not folder.startswith("/"):
        pytest.skip("the database is not reached over a unix socket: its line cannot be cut here")
    name = f".s.PGSQL.{url.port or url.query.get('port') or 5432}"
    line = Line(short / name, Path(folder, name))
    line.mend()
    through = db.make_engine(url.update_query_dict({"host": str(short)}).render_as_string(hide_password=False))

    @event.listens_for(through, "connect")
    def _note(connection: psycopg.Connection, _record: object) -> None:
        line.connected.append(connection.info.backend_pid)

    monkeypatch.setattr(db, "engine", lambda *, replica=False: through)
    yield line
    monkeypatch.undo()
    through.dispose()


def go_down(line: Line) -> None:
    """Cut the line and end, from the server's side as a restart does, what came over it."""
    line.cut()
    same_role = db.make_engine(settings().database_url, pool_size=1)
    with same_role.begin() as link:
        link.execute(
            text("SELECT pg_terminate_backend(pid) FROM unnest(CAST(:pids AS int[])) AS pid"), {"pids": line.connected}
        )
    same_role.dispose()


def forget_what_is_known() -> None:
    """Let every small cache run out at once."""
    deps.forget_here()
    wiring.forget()


def test_while_the_database_is_down_people_are_told_and_afterwards_the_same_process_answers(
    client: TestClient, signed_in: SignIn, database_line: Line
) -> None:
    clerk = signed_in("operator")
    form = {"text": WORDS, "key": str(new_id()), "csrf_token": csrf(client)}
    assert client.get("/").status_code == 200
    go_down(database_line)
    # The second time through there are no dead connections left, but no new ones either.
    for _ in range(2):
        answer = client.post("/report?lang=en", data=form)
        assert answer.status_code == 503
        assert answer.headers["retry-after"].isdigit()
        assert "kept in this browser" in answer.text
        assert "Traceback" not in answer.text
        for path in ("/desk", "/map", "/cases"):
            assert clerk.get(path).status_code == 503, path
        problem = client.post("/api/v1/reports", json={"text": WORDS})
        assert (problem.status_code, problem.headers["content-type"]) == (503, "application/problem+json")
        assert problem.headers["retry-after"].isdigit()
        assert problem.json()["status"] == 503
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert client.get("/static/wangge.css").status_code == 200, "the pages keep their looks"

    database_line.mend()
    receipt = client.post("/report?lang=zh", data=form)
    assert receipt.status_code == 303, receipt.text
    assert client.post("/report", data=form).status_code == 303
    assert clerk.get("/desk").status_code == 200, "whoever was signed in still is"
    assert client.get("/readyz").status_code == 200


def test_a_process_that_starts_without_a_database_answers_and_recovers(client: TestClient, database_line: Line) -> None:
    go_down(database_line)
    forget_what_is_known()
    token = "0" * 64
    assert client.post("/report", data={"text": WORDS, "key": str(new_id()), "csrf_token": token}).status_code in (
        403,
        503,
    )
    page = client.get("/?lang=zh")
    assert page.status_code in (200, 503)
    assert "<html" in page.text
    assert client.get("/api/v1/categories").status_code == 503
    database_line.mend()
    assert client.get("/").status_code == 200
    assert client.get("/api/v1/categories").status_code == 200


def test_a_dead_database_is_given_up_quickly(client: TestClient, database_line: Line) -> None:
    go_down(database_line)
    began = time.monotonic()
    for _ in range(5):
        assert client.get("/readyz").status_code == 503
    assert time.monotonic() - began < 5


@pytest.fixture
def broker_line(short: Path, district: tiny.Tiny, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """Lead the program to its broker through a link."""
    url = settings().broker_url
    if "socket://" not in url and not url.startswith("unix://"):
        pytest.skip("the broker is not reached over a unix socket: its line cannot be cut here")
    line = Line(short / "redis.sock", Path(url.split("://", 1)[1].split("?")[0]))
    line.mend()
    monkeypatch.setenv("WANGGE_BROKER_URL", f"redis+socket://{line.link}")
    settings.cache_clear()
    wiring.notifier.cache_clear()
    yield line
    monkeypatch.undo()
    settings.cache_clear()
    wiring.notifier.cache_clear()


def test_without_a_broker_reports_come_in_and_steps_are_taken_while_the_outbox_waits(
    client: TestClient, signed_in: SignIn, broker_line: Line
) -> None:
    reachable = Redis(unix_socket_path=str(broker_line.link))
    assert reachable.ping()
    reachable.close()
    at = wiring.now()
    while outbox.relay(tiny.DISTRICT, wiring.notifier(), at=at):
        pass
    waited = outbox.backlog(tiny.DISTRICT).waiting
    broker_line.cut()
    wiring.notifier.cache_clear()

    form = {"text": WORDS, "key": str(new_id()), "csrf_token": csrf(client)}
    assert client.post("/report", data=form).status_code == 303
    operator = signed_in("operator")
    for path in ("/desk", "/map", "/cases"):
        assert operator.get(path).status_code == 200, path
    waiting = outbox.backlog(tiny.DISTRICT).waiting
    assert waiting > waited
    # A day without a broker is many more tries than a bad message gets.
    for hours in range(24):
        assert outbox.relay(tiny.DISTRICT, wiring.notifier(), at=wiring.now() + timedelta(hours=hours)) == 0
    left = outbox.backlog(tiny.DISTRICT)
    assert (left.waiting, left.given_up) == (waiting, 0), "what cannot be delivered waits"

    broker_line.mend()
    wiring.notifier.cache_clear()
    later = wiring.now() + timedelta(hours=24)
    sent = 0
    while some := outbox.relay(tiny.DISTRICT, wiring.notifier(), at=later):
        sent += some
    assert sent >= waiting
    assert outbox.backlog(tiny.DISTRICT).waiting == 0

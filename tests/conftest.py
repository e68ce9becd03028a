"""What every test stands on: a database of its own file, a savepoint of its own, and a tiny fictional district.

Unit tests ask for nothing here. Database tests take `session` (rolled back at the end) and `as_actor`. Web tests take
`client` from `tests/web/conftest.py`, which commits, into the district that `district` makes once per file: what a file
leaves behind is gone with its database, so that no file can trip over another one, in whatever order they run.
The server is the one of `var/settings.env`, or of WANGGE_OWNER_URL and WANGGE_DATABASE_URL; databases made here begin
with `wangge_test_` and are made anew at every run.
"""

import fcntl
import gc
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from core.actor import Actor
from hotline.weibo.platform import Client as WeiboClient
from tests import tiny
from tests.builders import program
from tests.standin_weibo import OWN, TOKEN, Standin, serving

_files = count(1)
#: What tests derive their keys from; never used outside.
_SECRET = "5e" * 32


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Close the way to other hosts: unix sockets and loopback only."""
    real = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0]) if isinstance(address, tuple) else ""
            assert host in ("127.0.0.1", "::1", "localhost"), f"a test wanted to talk to {host}"
        real(self, address)  # type: ignore[arg-type]

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", guarded)
    yield
    patch.undo()


def _fresh_caches() -> None:
    from api import deps, photos, wiring
    from core import crypto, db, settings

    photos.store.cache_clear()
    wiring.forget()
    deps.forget_here()
    db.engine.cache_clear()
    crypto.derived_key.cache_clear()
    settings.settings.cache_clear()


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Let one test process at a time make the template, also between two checkouts."""
    with (Path(tempfile.gettempdir()) / f"wangge-test-{os.geteuid()}-{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _admin(url: str) -> Engine:
    from core.db import make_engine

    return make_engine(url, pool_size=1).execution_options(isolation_level="AUTOCOMMIT")


def _own_part(broker: str, worker: str) -> str:
    """Return the address of a part of Redis that no other test process uses: their live feeds bear the same name."""
    number = worker.removeprefix("gw")
    return f"{broker}?db={int(number) % 15 + 1}" if number.isdigit() and "redis" in broker else broker


def _named(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)


def _migrated_template(owner: str) -> str:
    """Return the name of a database with the newest schema, made anew when a migration changed."""
    from core.settings import ROOT

    revisions = sorted((ROOT / "api" / "migrations").rglob("*.py"))
    digest = sha256(b"\0".join(path.read_bytes() for path in revisions)).hexdigest()[:12]
    name = f"wangge_test_template_{digest}"
    engine = _admin(owner)
    with _locked("template"), engine.connect() as link:
        known = {row[0] for row in link.execute(text("SELECT datname FROM pg_database"))}
        if name not in known:
            base = "wangge_template" if "wangge_template" in known else "template0"
            making = f"{name}_making"
            link.execute(text(f'DROP DATABASE IF EXISTS "{making}" WITH (FORCE)'))
            link.execute(text(f'CREATE DATABASE "{making}" TEMPLATE {base}'))
            _migrate(_named(owner, making))
            # A name that is there is whole.
            link.execute(text(f'ALTER DATABASE "{making}" RENAME TO "{name}"'))
            for old in known:
                if old.startswith("wangge_test_template_"):
                    _drop(engine, old)
    engine.dispose()
    return name


def _migrate(url: str) -> None:
    from api import schema

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANGGE_OWNER_URL", url)
        schema.upgrade(url)


@pytest.fixture(scope="session")
def server_urls() -> tuple[str, str]:
    """Return the addresses of the server as its owner and as the program, after what killed runs left was dropped."""
    from core.settings import settings

    owner, app = settings().owner_url, settings().database_url
    if not owner or not app:
        pytest.exit("No database: run `wangge up --servers-only`, or set WANGGE_OWNER_URL and WANGGE_DATABASE_URL.", 2)
    engine = _admin(owner)
    _sweep(engine)
    engine.dispose()
    return owner, app


@pytest.fixture(scope="module")
def database(worker_id: str, server_urls: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Make this file's own database and point the whole program at it; returns its name."""
    from core.settings import settings

    owner, app = server_urls
    # Asked for each file: a run beside this one, of a checkout with other migrations, may have dropped it.
    template = _migrated_template(owner)
    # Numbered: the one of the file before may still be looked into, and is then left to the next run.
    name = f"wangge_test_{os.getpid()}_{worker_id}_{next(_files)}"
    engine = _admin(owner)
    with _locked("template"), engine.connect() as link:
        # A template may have no other session while it is copied.
        link.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    patch = pytest.MonkeyPatch()
    for variable, value in {
        "WANGGE_OWNER_URL": _named(owner, name),
        "WANGGE_DATABASE_URL": _named(app, name),
        "WANGGE_DISTRICT": tiny.DISTRICT,
        "WANGGE_SECRET": _SECRET,
        "WANGGE_BROKER_URL": _own_part(settings().broker_url, worker_id),
        # Uploads, kept maps and the like are not left behind.
        "WANGGE_VAR": str(tmp_path_factory.mktemp("var")),
    }.items():
        patch.setenv(variable, value)
    _fresh_caches()
    from core import db

    made: list[Engine] = []
    real = db.make_engine
    patch.setattr(db, "make_engine", lambda *given, **named: made.append(real(*given, **named)) or made[-1])
    yield name
    # Whatever name it was asked for by: a connection that is left open is an error at the end of the run.
    for each in made:
        _come_home(each)
        each.dispose()
    patch.undo()
    _fresh_caches()
    _drop(engine, name)
    engine.dispose()


def _come_home(engine: Engine, limit_s: float = 20) -> None:
    """Wait until nobody holds a connection: what a page asked last may be under way longer than its server lived."""
    limit = time.monotonic() + limit_s
    while isinstance(engine.pool, QueuePool) and engine.pool.checkedout() and time.monotonic() < limit:
        # A stream that was cut off gives its own back when it is collected.
        gc.collect()
        time.sleep(0.05)


def _drop(engine: Engine, name: str) -> None:
    """Drop a test database; one that somebody still looks into is left to the next run."""
    with engine.connect() as link, suppress(DBAPIError):
        link.execute(text(f'DROP DATABASE IF EXISTS "{name}"'))


def _sweep(engine: Engine) -> None:
    """Drop what killed test runs left: their process number is in the name."""
    with engine.connect() as link:
        for (name,) in link.execute(
            text("SELECT datname FROM pg_database WHERE datname LIKE 'wangge\\_test\\_%'")
        ).all():
            pid = name.split("_")[2]
            if pid.isdigit() and not Path("/proc", pid).exists():
                _drop(engine, name)


@pytest.fixture(autouse=True, scope="session")
def _own_secret() -> Iterator[None]:
    """Give unit tests a secret, too: they may sign and seal without a database."""
    patch = pytest.MonkeyPatch()
    patch.setenv("WANGGE_SECRET", _SECRET)
    _fresh_caches()
    yield
    patch.undo()
    _fresh_caches()


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    """Open a session as the program's role, in the scope of the program itself; everything is rolled back."""
    from core import db

    with db.engine().connect() as connection, connection.begin() as outer:
        with Session(connection, expire_on_commit=False, join_transaction_mode="create_savepoint") as made:
            db._enter(made, program(), read_only=False)
            yield made
        outer.rollback()


@pytest.fixture
def as_actor(session: Session) -> Callable[[Actor], Session]:
    """Return a function that puts the test's session into the scope of an actor, with no case pinned."""
    from core import db

    def put(actor: Actor) -> Session:
        session.flush()
        session.expire_all()
        db._enter(session, actor, read_only=False)
        session.connection().exec_driver_sql("SET LOCAL wangge.\"case\" = ''")
        return session

    return put


@pytest.fixture(scope="module")
def district(database: str) -> tiny.Tiny:
    """Make the tiny fictional district of `tests/tiny.py` once in this file's database, with its accounts."""
    from core.db import transaction

    with transaction(program(tiny.DISTRICT)) as session:
        return tiny.make(session)


@pytest.fixture(scope="session")
def worker_id(request: pytest.FixtureRequest) -> str:
    """Return the name of this process under pytest-xdist, `main` without it."""
    config = getattr(request.config, "workerinput", None)
    return str(config["workerid"]) if config else "main"


@pytest.fixture(scope="module")
def server(district: tiny.Tiny) -> Iterator[str]:
    """Serve the program on a free loopback port over this file's database; returns its address without a slash."""
    import threading

    import uvicorn

    from api.app import app

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = uvicorn.Server(
        uvicorn.Config(
            app, host="127.0.0.1", port=port, log_level="warning", lifespan="off", timeout_graceful_shutdown=2
        )
    )
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    limit = time.monotonic() + 30
    while not made.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < limit, "the server did not start"
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    made.should_exit = True
    thread.join(10)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Start the distribution's Chromium, headless; tests that need a browser are skipped aloud where there is none."""
    from playwright.sync_api import sync_playwright

    program = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip("Chromium is not installed: the pages are not looked at in a browser")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        made = playwright.chromium.launch(executable_path=program, args=arguments)
        yield made
        made.close()


@pytest.fixture
def weibo_served() -> Iterator[tuple[Standin, str]]:
    """Serve a stand-in for Weibo's open platform; yields it with its address."""
    with serving() as made:
        yield made


@pytest.fixture
def standin(weibo_served: tuple[Standin, str]) -> Standin:
    """Return the stand-in for Weibo's open platform."""
    return weibo_served[0]


@pytest.fixture
def weibo(weibo_served: tuple[Standin, str]) -> Iterator[WeiboClient]:
    """Return the program's client of the stand-in, which does not wait long."""
    with WeiboClient(weibo_served[1], TOKEN, own_id=OWN, silence_s=0.5, whole_s=1.0) as made:
        yield made

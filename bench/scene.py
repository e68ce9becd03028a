"""A database of its own for a bench: migrated, loaded with a fictional district, dropped again."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import DBAPIError

from api import schema, wiring
from core import crypto, db
from core import settings as settings_module
from core.db import make_engine

AT = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
_SECRET = "be" * 32
#: Cases of a district that a bench plays; enough that no text repeats within a round.
HOUSEHOLDS = 20_000


@contextmanager
def district(name: str, *, cases: int = 0, households: int = HOUSEHOLDS) -> Iterator[Path]:
    """Point the whole program at a fresh database with a fictional district; yield the folder with `cases.jsonl`."""
    from dispatch.load import load
    from hotline.fiction import generate

    config = settings_module.settings()
    owner, app, var = config.owner_url, config.database_url, config.var
    admin = make_engine(owner, pool_size=1).execution_options(isolation_level="AUTOCOMMIT")
    database = f"wangge_bench_{name}"
    with admin.connect() as link:
        known = {row[0] for row in link.execute(text("SELECT datname FROM pg_database"))}
        template = "wangge_template" if "wangge_template" in known else "template0"
        link.execute(text(f'DROP DATABASE IF EXISTS "{database}"'))
        link.execute(text(f'CREATE DATABASE "{database}" TEMPLATE {template}'))
    kept = {
        key: os.environ.get(key) for key in ("WANGGE_OWNER_URL", "WANGGE_DATABASE_URL", "WANGGE_SECRET", "WANGGE_VAR")
    }
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=var))
    try:
        os.environ["WANGGE_OWNER_URL"] = _named(owner, database)
        os.environ["WANGGE_DATABASE_URL"] = _named(app, database)
        os.environ["WANGGE_SECRET"] = _SECRET
        _forget()
        schema.upgrade(_named(owner, database))
        generate(folder, seed=7, households=households, cases=cases, at=AT)
        load(folder, at=AT)
        yield folder
    finally:
        db.engine().dispose()
        db.engine(replica=True).dispose()
        for key, value in kept.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        _forget()
        shutil.rmtree(folder, ignore_errors=True)
        _drop(admin, database)
        admin.dispose()


def _drop(admin: Engine, database: str) -> None:
    """Drop the database once the last process has let go of it; one that stays is taken by the next run."""
    for _ in range(20):
        with suppress(DBAPIError), admin.connect() as link:
            link.execute(text(f'DROP DATABASE IF EXISTS "{database}"'))
            return
        time.sleep(0.5)


def _named(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)


def _forget() -> None:
    db.engine.cache_clear()
    crypto.derived_key.cache_clear()
    settings_module.settings.cache_clear()
    wiring.forget()


def psql_url(url: str) -> str:
    """Return an address as libpq's own programs take it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)

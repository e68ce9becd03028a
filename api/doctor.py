"""Looks for what goes wrong without anybody being told: each check is one question with one line of answer.

It reads and changes nothing. The time is an argument, so that a test can ask about another year.
"""

import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
from sqlalchemy.engine import make_url

from api import local, schema, vendor
from core.errors import WanggeError
from core.settings import settings
from dispatch.rulebook import shipped_notices

#: Undelivered for longer than this, the relay is not running or something refuses it.
_OUTBOX_PATIENCE = timedelta(minutes=5)
#: The State Council publishes the next year's days off in late October or November.
_NOTICE_EXPECTED = (12, 1)
_GIB = 2**30


class Verdict(StrEnum):
    """How a check ended."""

    GOOD = "ok"
    #: To be looked at; does not fail the command.
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question."""

    about: str
    verdict: Verdict
    #: What was seen; for anything but GOOD also what to do.
    said: str


def examine(now: datetime) -> list[Finding]:
    """Ask every question; a check that breaks is a fault and the others go on.

    now: aware.
    """
    found = [_guarded("secret", _secret), _guarded("vendored assets", _assets), _guarded("disk", _disk)]
    try:
        with _owner() as session:
            for about, check in _CHECKS.items():
                found.append(_guarded(about, partial(check, session, now)))
                session.rollback()
    except (psycopg.OperationalError, WanggeError) as error:
        found.append(Finding("database", Verdict.FAULT, f"cannot be reached: {str(error).strip()}"))
    found.append(_guarded("broker", _broker))
    return found


def outbox_age(now: datetime) -> timedelta | None:
    """Return how long the oldest undelivered effect has waited; None when nothing waits.

    Raises psycopg.Error when the database or the table is not there.
    """
    with _owner() as session:
        oldest = _one(session, "SELECT min(created_at) FROM outbox WHERE delivered_at IS NULL")
    return now - oldest if isinstance(oldest, datetime) else None


@contextmanager
def _owner() -> Iterator[psycopg.Connection]:
    url = make_url(local.owner_url()).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False), connect_timeout=5) as session:
        yield session


def _guarded(about: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except (psycopg.Error, WanggeError, OSError, ValueError) as error:
        return Finding(about, Verdict.FAULT, f"could not be checked: {str(error).strip().splitlines()[0]}")


def _one(session: psycopg.Connection, sql: str) -> object:
    row = session.execute(sql.encode()).fetchone()
    return row[0] if row else None


def _secret() -> Finding:
    secret = settings().secret.get_secret_value()
    path = settings().var / "settings.env"
    if len(secret) < 64:
        return Finding(
            "secret", Verdict.FAULT, "WANGGE_SECRET is missing or shorter than 32 bytes in hex; run `wangge up`"
        )
    if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        return Finding("secret", Verdict.FAULT, f"{path} can be read by others; chmod 600")
    return Finding("secret", Verdict.GOOD, "set, and only the owner reads it")


def _assets() -> Finding:
    faults = vendor.faults()
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        return Finding("vendored assets", Verdict.FAULT, "; ".join(faults[:3]) + more + "; run ./setup.sh demo")
    return Finding("vendored assets", Verdict.GOOD, f"{len(vendor.assets())} files with the listed hashes")


def _disk() -> Finding:
    free = shutil.disk_usage(settings().var if settings().var.exists() else Path.cwd()).free
    verdict = Verdict.GOOD if free > 5 * _GIB else Verdict.WARNING if free > _GIB else Verdict.FAULT
    return Finding("disk", verdict, f"{free / _GIB:.1f} GiB free under {settings().var}")


def _schema(session: psycopg.Connection, now: datetime) -> Finding:
    del session, now
    current, head = schema.revisions(local.owner_url())
    if current != head:
        return Finding("schema", Verdict.FAULT, f"at {current or 'nothing'}, newest is {head}; run `wangge migrate`")
    return Finding("schema", Verdict.GOOD, f"at {head}, the newest")


def _trigrams(session: psycopg.Connection, now: datetime) -> Finding:
    del now
    made = _one(session, "SELECT cardinality(show_trgm('网格'))")
    locale = _one(session, "SELECT datctype FROM pg_database WHERE datname = current_database()")
    if not made:
        said = f"lc_ctype {locale} sees no letters in Chinese: name search scans; make the database with C.UTF-8"
        return Finding("Chinese trigrams", Verdict.FAULT, said)
    return Finding("Chinese trigrams", Verdict.GOOD, f"{made} for 网格, lc_ctype {locale}")


def _postgis(session: psycopg.Connection, now: datetime) -> Finding:
    del now
    version = str(_one(session, "SELECT extversion FROM pg_extension WHERE extname = 'postgis'") or "")
    known = _one(session, "SELECT count(*) FROM spatial_ref_sys WHERE srid = 4490") if version else 0
    server = _one(session, "SHOW server_version")
    if int(version.partition(".")[0] or 0) < 3 or not known:
        return Finding(
            "PostGIS", Verdict.FAULT, f"version {version or 'none'}, EPSG:4490 known: {bool(known)}; 3 is needed"
        )
    return Finding("PostGIS", Verdict.GOOD, f"{version} on PostgreSQL {server}")


def _leakproof(session: psycopg.Connection, now: datetime) -> Finding:
    del now
    marked = _one(
        session, "SELECT proleakproof FROM pg_proc WHERE oid = 'geometry_overlaps(geometry, geometry)'::regprocedure"
    )
    if not marked:
        said = (
            "spatial indexes sleep under row policies (decision 0080); once, as superuser: "
            "ALTER FUNCTION geometry_overlaps(geometry, geometry) LEAKPROOF"
        )
        return Finding("spatial index", Verdict.WARNING, said)
    return Finding("spatial index", Verdict.GOOD, "works under row policies")


def _jit(session: psycopg.Connection, now: datetime) -> Finding:
    del now
    if _one(session, "SHOW jit") != "off":
        return Finding(
            "jit", Verdict.WARNING, "on: short spatial statements spend longer compiling than running; set jit = off"
        )
    return Finding("jit", Verdict.GOOD, "off")


def _durability(session: psycopg.Connection, now: datetime) -> Finding:
    del now
    loose = [
        name for name in ("fsync", "synchronous_commit", "full_page_writes") if _one(session, f"SHOW {name}") == "off"
    ]
    if loose:
        return Finding("durability", Verdict.FAULT, f"{', '.join(loose)} off: an acknowledged report can be lost")
    return Finding("durability", Verdict.GOOD, "a commit is on disk")


def _role(session: psycopg.Connection, now: datetime) -> Finding:
    del now
    role = make_url(settings().database_url).username or ""
    row = session.execute(
        "SELECT rolsuper, rolbypassrls, (SELECT count(*) FROM pg_class WHERE relowner = r.oid),"
        " (SELECT count(*) FROM pg_auth_members m WHERE m.member = r.oid) FROM pg_roles r WHERE rolname = %s",
        (role,),
    ).fetchone()
    if row is None:
        return Finding("program's role", Verdict.FAULT, f"{role or 'none'} does not exist")
    wrong = [
        text
        for text, bad in zip(
            ("is superuser", "passes row policies", f"owns {row[2]} tables", "is member of another role"),
            row,
            strict=True,
        )
        if bad
    ]
    if wrong:
        return Finding("program's role", Verdict.FAULT, f"{role} " + ", ".join(wrong) + ": the second lock is open")
    return Finding("program's role", Verdict.GOOD, f"{role} owns nothing and passes no policy")


def _notices(session: psycopg.Connection, now: datetime) -> Finding:
    if _one(session, "SELECT to_regclass('calendar_notice')") is None:
        return Finding("working days", Verdict.FAULT, "there is no table of notices yet; run `wangge migrate`")
    today = now.astimezone(ZoneInfo("Asia/Shanghai"))
    years = {row[0] for row in session.execute("SELECT year FROM calendar_notice")}
    years |= {notice.year for notice in shipped_notices()}
    if today.year not in years:
        said = f"no notice for {today.year}: every deadline is provisional; load the State Council's notice"
        return Finding("working days", Verdict.FAULT, said)
    if today.year + 1 not in years:
        late = (today.month, today.day) >= _NOTICE_EXPECTED
        said = f"{today.year} is there; {today.year + 1} is not loaded: deadlines that reach into it are provisional"
        return Finding("working days", Verdict.WARNING if late else Verdict.GOOD, said)
    return Finding("working days", Verdict.GOOD, f"{today.year} and {today.year + 1}")


def _outbox(session: psycopg.Connection, now: datetime) -> Finding:
    if _one(session, "SELECT to_regclass('outbox')") is None:
        return Finding("outbox", Verdict.FAULT, "there is no outbox yet; run `wangge migrate`")
    row = session.execute(
        "SELECT count(*), min(created_at), count(*) FILTER (WHERE tries > 3) FROM outbox WHERE delivered_at IS NULL"
    ).fetchone()
    waiting, oldest, stuck = row or (0, None, 0)
    if oldest is not None and now - oldest > _OUTBOX_PATIENCE:
        said = f"{waiting} wait, the oldest since {oldest:%F %H:%M} UTC, {stuck} tried over 3 times; is the worker up?"
        return Finding("outbox", Verdict.FAULT, said)
    return Finding("outbox", Verdict.GOOD, f"{waiting} waiting")


def _broker() -> Finding:
    url = settings().broker_url
    if not url.startswith("redis"):
        return Finding(
            "broker", Verdict.GOOD if url else Verdict.FAULT, "not Redis" if url else "WANGGE_BROKER_URL is not set"
        )
    import redis

    # kombu's name for a socket is not the client's.
    client = redis.Redis.from_url(url.replace("redis+socket://", "unix://").split("?")[0], socket_timeout=5)
    try:
        state = client.info("persistence")
    except redis.RedisError as error:
        return Finding("broker", Verdict.FAULT, f"Redis cannot be reached: {error}")
    finally:
        client.close()
    if not state.get("aof_enabled"):
        return Finding(
            "broker", Verdict.WARNING, "Redis keeps no log (appendonly no): after a crash everything comes late"
        )
    if state.get("aof_last_write_status") != "ok":
        return Finding("broker", Verdict.FAULT, "Redis cannot write its log")
    return Finding("broker", Verdict.GOOD, "Redis answers and keeps its log")


_CHECKS: dict[str, Callable[[psycopg.Connection, datetime], Finding]] = {
    "schema": _schema,
    "Chinese trigrams": _trigrams,
    "PostGIS": _postgis,
    "spatial index": _leakproof,
    "jit": _jit,
    "durability": _durability,
    "program's role": _role,
    "working days": _notices,
    "outbox": _outbox,
}

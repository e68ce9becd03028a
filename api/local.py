"""The private PostgreSQL and Redis of this checkout, under `var/` and on unix sockets only.

It knows how they are made, started, found again and stopped. It does not know any table: `wangge migrate` fills the
database. A server whose address stands in the environment is somebody else's and is never started here.
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from api import processes
from api.server_user import Footing, elsewhere, footing, short_sockets
from core.errors import Unavailable
from core.settings import settings

#: The role that owns the tables and runs migrations, and the one that the program works as.
OWNER, APP = "wangge_owner", "wangge_app"
#: The program's database, and the empty one with extensions that tests copy.
DATABASE, TEMPLATE = "wangge", "wangge_template"

_SETTINGS = """\
# Written by `wangge up` at every start; changes here are lost.
listen_addresses = ''
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
max_connections = 100
shared_buffers = {buffers_mb}MB
effective_cache_size = {cache_mb}MB
work_mem = 16MB
maintenance_work_mem = 128MB
dynamic_shared_memory_type = {dynamic}
max_locks_per_transaction = 256
jit = off
random_page_cost = 1.1
synchronous_commit = on
wal_compression = on
max_wal_size = 4GB
checkpoint_timeout = 15min
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C.UTF-8'
log_line_prefix = '%m [%p] %u@%d '
log_min_duration_statement = 2s
"""


@dataclass(frozen=True, slots=True)
class Servers:
    """What `start` made sure of."""

    database_url: str
    owner_url: str
    broker_url: str
    #: How PostgreSQL is run, one of `api.server_user`'s ways; empty when none of ours runs.
    way: str
    #: Sentences that a person should read, such as where the data lies if not under `var/`.
    notes: tuple[str, ...] = ()


def _run_folder() -> Path:
    return settings().var / "run"


def start() -> Servers:
    """Make and start what is missing and write `var/settings.env`; quick when all runs already.

    Safe to call at any time, from two terminals too, and after a crash or a reboot. Raises Unavailable with the reason
    and the log's last lines.
    """
    var = settings().var
    given_database = os.environ.get("WANGGE_DATABASE_URL", "")
    given_broker = os.environ.get("WANGGE_BROKER_URL", "")
    notes: list[str] = []
    made: dict[str, str] = {}
    way = ""
    with processes.locked(var / "lock"):
        if not (given_database and given_broker):
            record = processes.find(_run_folder(), "postgres")
            # The way is written down last: without it an earlier start did not come to its end.
            if record is not None and record.stamp and _answers(Path(record.address)):
                # Nothing under a living server is touched, even if today it would be started in another way.
                sockets, way = Path(record.address), record.stamp
            else:
                ground = footing(var)
                sockets, way = ground.sockets, ground.way
                if not given_database:
                    _start_postgres(ground)
                if way == "elsewhere":
                    notes.append(f"The database cannot lie under {var}; it lies in {ground.home}.")
            if not given_database:
                made["WANGGE_DATABASE_URL"] = address(APP, sockets)
                made["WANGGE_OWNER_URL"] = address(OWNER, sockets)
            if not given_broker:
                made["WANGGE_BROKER_URL"] = "redis+socket://" + str(_start_redis(var, sockets))
        _write_settings(var / "settings.env", made)
    settings.cache_clear()
    return Servers(
        database_url=given_database or made["WANGGE_DATABASE_URL"],
        owner_url=owner_url(),
        broker_url=given_broker or made["WANGGE_BROKER_URL"],
        way=way,
        notes=tuple(notes),
    )


def running() -> bool:
    """Return whether one of this checkout's servers runs."""
    return any(processes.find(_run_folder(), name) for name in ("postgres", "redis"))


def stop() -> list[str]:
    """Stop the servers of this checkout and remove their short socket folder; return what was stopped."""
    var = settings().var
    stopped = []
    with processes.locked(var / "lock"):
        # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for every client.
        for name, sign in (("redis", signal.SIGTERM), ("postgres", signal.SIGINT)):
            if process := processes.find(_run_folder(), name) or _unrecorded(name, var):
                processes.stop(_run_folder(), process, how=sign, patience_s=60)
                stopped.append(name)
                folder = Path(process.address)
                if folder.is_absolute() and var not in folder.parents:
                    with contextlib.suppress(OSError):
                        for left in folder.iterdir():
                            left.unlink()
                        folder.rmdir()
    return stopped


def erase() -> None:
    """Remove the data of the stopped servers, wherever it lies; what was reported is gone."""
    var = settings().var
    for folder in (var / "postgres", elsewhere(var), var / "redis", var / "sockets", short_sockets(var)):
        shutil.rmtree(folder, ignore_errors=True)
    # What the demo remembers of having been played went with the database.
    for marker in (*(var / "run").glob("played-*.json"), *(var / "run").glob("roads-*.json")):
        marker.unlink()


def owner_url() -> str:
    """Return the address that migrations run with.

    Raises Unavailable when the program's address is given in the environment but the owner's is not: the private
    cluster's owner would then migrate the wrong database.
    """
    if os.environ.get("WANGGE_DATABASE_URL") and not os.environ.get("WANGGE_OWNER_URL"):
        raise Unavailable("WANGGE_DATABASE_URL is set, so WANGGE_OWNER_URL must name the role that owns its tables.")
    if not settings().owner_url:
        raise Unavailable("No database is configured; run `make demo` or set WANGGE_DATABASE_URL.")
    return settings().owner_url


def address(role: str, sockets: Path, database: str = DATABASE) -> str:
    """Return the SQLAlchemy address of a role on the private server."""
    return f"postgresql+psycopg://{role}@/{database}?host={sockets}"


def programs(version: str = "") -> Path:
    """Return the folder of PostgreSQL's programs: of one version, else of the newest that has PostGIS beside it."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"{version or '*'}/bin/initdb"), key=lambda p: float(p.parts[-3]))
    fit = [p for p in found if Path(f"/usr/share/postgresql/{p.parts[-3]}/extension/postgis.control").exists()]
    if not fit:
        raise Unavailable(
            "PostgreSQL {version} with PostGIS is not installed; run ./setup.sh.", version=version or "15"
        )
    return fit[-1].parent


def _start_postgres(ground: Footing) -> None:
    data = ground.home / "data"
    if not (data / "PG_VERSION").exists():
        _make_cluster(ground)
    bin_ = programs((data / "PG_VERSION").read_text(encoding="ascii").strip())
    _write_cluster_settings(ground)
    _clear_stale(ground)
    log = ground.home / "postgres.log"
    # Backends that outlive a killed postmaster hold its memory for a moment; the next try finds them gone.
    for attempt in range(3):
        if _postmaster(ground) is not None:
            break
        result = processes.run(
            [*ground.prefix, str(bin_ / "pg_ctl"), "start", "-D", str(data), "-w", "-t", "120", "-l", str(log), "-s"],
            timeout_s=150,
        )
        if result.returncode == 0:
            break
        if attempt == 2:
            raise Unavailable("PostgreSQL did not start: {why}", why=processes.tail(log) or result.stderr.strip())
        time.sleep(1)
    pid = _postmaster(ground)
    if pid is None:
        raise Unavailable("PostgreSQL did not start: {why}", why=processes.tail(log))
    processes.remember(_run_folder(), "postgres", pid, address=str(ground.sockets))
    limit = time.monotonic() + 120
    while not _answers(ground.sockets):
        # A server that the killed command had just started may still be recovering.
        if time.monotonic() > limit:
            raise Unavailable("PostgreSQL did not start: {why}", why=processes.tail(log))
        time.sleep(0.2)
    _prepare_databases(ground)
    processes.remember(_run_folder(), "postgres", pid, address=str(ground.sockets), stamp=ground.way)


def _make_cluster(ground: Footing) -> None:
    """Make the data folder beside its final name and rename it, so that half a cluster is never taken for one."""
    making, data = ground.home / "data.making", ground.home / "data"
    for broken in (making, data):
        shutil.rmtree(broken, ignore_errors=True)
    result = processes.run(
        [
            *ground.prefix,
            str(programs() / "initdb"),
            f"--pgdata={making}",
            "--username=postgres",
            "--encoding=UTF8",
            # Plain byte order with Unicode character classes: pg_trgm sees no letter in Chinese text without them.
            "--locale=C.UTF-8",
            "--auth=peer",
            "--data-checksums",
        ],
    )
    if result.returncode != 0:
        raise Unavailable("The database cluster cannot be made: {why}", why=result.stderr.strip()[-600:])
    with (making / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.write("\ninclude = 'wangge.conf'\n")
    making.rename(data)


def _write_cluster_settings(ground: Footing) -> None:
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    try:
        shared = os.statvfs("/dev/shm")  # noqa: S108  asked for its size only
        roomy = shared.f_frsize * shared.f_blocks >= 2**28
    except OSError:
        roomy = False
    text = _SETTINGS.format(
        sockets=str(ground.sockets).replace("'", "''"),
        buffers_mb=min(512, memory_mb // 4),
        cache_mb=memory_mb // 2,
        # A container often has 64 MB there, which parallel queries outgrow.
        dynamic="posix" if roomy else "mmap",
    )
    names = {"postgres", "root", ground.account, _own_name()}
    access = "local all all peer map=wangge\n"
    people = "".join(f"wangge {name} {role}\n" for name in sorted(names) for role in ("postgres", OWNER, APP))
    for name, content in (("wangge.conf", text), ("pg_hba.conf", access), ("pg_ident.conf", people)):
        path = ground.home / "data" / name
        path.write_text(content, encoding="utf-8")
        if os.geteuid() == 0:
            os.chown(path, ground.uid, ground.gid)


def _own_name() -> str:
    import pwd

    with contextlib.suppress(KeyError):
        return pwd.getpwuid(os.geteuid()).pw_name
    return "root"


def _postmaster(ground: Footing) -> int | None:
    return _pid_in(ground.home / "data" / "postmaster.pid", ground.home / "data")


def _pid_in(file: Path, home: Path) -> int | None:
    """Return the pid that a server wrote, if it lives and works in the server's folder: only that one is ours."""
    try:
        pid = int(file.read_text(encoding="utf-8").split("\n", 1)[0])
        ours = Path(f"/proc/{pid}/cwd").samefile(home) and processes.start_time(pid) is not None
    except (OSError, ValueError):
        return None
    return pid if ours else None


def _unrecorded(name: str, var: Path) -> processes.Process | None:
    """Return a server whose start was cut off before it was written down."""
    homes = {"redis": [var / "redis"], "postgres": [var / "postgres" / "data", elsewhere(var) / "data"]}
    for home in homes[name]:
        pid = _pid_in(home / ("redis.pid" if name == "redis" else "postmaster.pid"), home)
        if pid is not None:
            return processes.remember(_run_folder(), name, pid, address=str(short_sockets(var)))
    return None


def _clear_stale(ground: Footing) -> None:
    """Remove the lock and socket files of a server that was killed: its pid may be a stranger's by now."""
    if _postmaster(ground) is not None:
        return
    (ground.home / "data" / "postmaster.pid").unlink(missing_ok=True)
    for left in ground.sockets.glob(".s.PGSQL.*"):
        left.unlink()


def _answers(sockets: Path) -> bool:
    try:
        with psycopg.connect(host=str(sockets), user="postgres", dbname="postgres", connect_timeout=3):
            return True
    except psycopg.OperationalError:
        return False


def _prepare_databases(ground: Footing) -> None:
    """Make roles, databases and extensions where they are missing; every line may be repeated."""
    login = {"host": str(ground.sockets), "user": "postgres", "connect_timeout": 10, "autocommit": True}
    with psycopg.connect(dbname="postgres", **login) as session:  # type: ignore[arg-type]
        roles = {row[0] for row in session.execute("SELECT rolname FROM pg_roles")}
        if OWNER not in roles:
            # CREATEDB lets the tests copy the template; the server is private.
            session.execute(f"CREATE ROLE {OWNER} LOGIN CREATEDB")
        if APP not in roles:
            session.execute(f"CREATE ROLE {APP} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE")
        databases = {row[0] for row in session.execute("SELECT datname FROM pg_database")}
        for name in (TEMPLATE, DATABASE):
            if name not in databases:
                session.execute(f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE template0 ENCODING 'UTF8'")
    for name in (TEMPLATE, DATABASE):
        with psycopg.connect(dbname=name, **login) as session:  # type: ignore[arg-type]
            for extension in ("postgis", "pg_trgm", "btree_gist"):
                session.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
            # Under row policies an index serves leakproof operators only; see docs/decisions/0080.
            session.execute("ALTER FUNCTION geometry_overlaps(geometry, geometry) LEAKPROOF")
    with psycopg.connect(dbname="postgres", **login) as session:  # type: ignore[arg-type]
        session.execute(f"ALTER DATABASE {TEMPLATE} IS_TEMPLATE true")


def _start_redis(var: Path, sockets: Path) -> Path:
    """Start Redis where it does not run; return its socket. Its log file is replayed before it answers."""
    path, home = sockets / "redis.sock", var / "redis"
    if processes.find(_run_folder(), "redis") and _pings(path):
        return path
    home.mkdir(mode=0o700, exist_ok=True)
    if (left := _pid_in(home / "redis.pid", home)) is not None:
        # Started, but the command that started it was killed before it wrote that down, or the sockets moved.
        processes.stop(_run_folder(), processes.remember(_run_folder(), "redis", left))
    program = _redis_program(home)
    path.unlink(missing_ok=True)
    log = var / "log" / "redis.log"
    files = {"dir": home, "sock": path, "pid": home / "redis.pid"}
    quoted = {name: '"' + str(value).replace('"', '\\"') + '"' for name, value in files.items()}

    (home / "redis.conf").write_text(
        f"port 0\npidfile {quoted['pid']}\n"
        f"unixsocket {quoted['sock']}\nunixsocketperm 700\ndir {quoted['dir']}\ndaemonize no\n"
        'appendonly yes\nappendfsync everysec\nsave ""\nmaxmemory-policy noeviction\n',
        encoding="utf-8",
    )
    pid = processes.spawn([program, str(home / "redis.conf")], log=log, cwd=home)
    process = processes.remember(_run_folder(), "redis", pid, address=str(sockets))
    limit = time.monotonic() + 60
    while not _pings(path):
        if not processes.alive(process) or time.monotonic() > limit:
            raise Unavailable("Redis did not start: {why}", why=processes.tail(log))
        time.sleep(0.03)
    return path


def _redis_program(home: Path) -> str:
    """Return the server's program; redis-tools ships it under the checker's name, which it takes for its orders."""
    if program := shutil.which("redis-server"):
        return program
    if checker := shutil.which("redis-check-rdb"):
        link = home / "redis-server"
        link.unlink(missing_ok=True)
        link.symlink_to(Path(checker).resolve())
        return str(link)
    raise Unavailable("redis-server is not installed; run ./setup.sh.")


def _pings(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(2)
            link.connect(str(path))
            link.sendall(b"PING\r\n")
            return link.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def remember(name: str, value: str) -> None:
    """Write a setting into `var/settings.env` unless it is there: what every process of this checkout starts with."""
    path = settings().var / "settings.env"
    with processes.locked(settings().var / "lock"):
        known = path.read_text(encoding="utf-8") if path.exists() else ""
        if not re.search(rf"^{re.escape(name)}=", known, re.MULTILINE):
            _write_settings(path, {name: value})
    settings.cache_clear()


def _write_settings(path: Path, made: Mapping[str, str]) -> None:
    """Write the made addresses and the secret, readable by the owner only; the secret and foreign lines are kept."""
    lines: dict[str, str] = {}
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_text(encoding="utf-8").splitlines():
            if found := re.fullmatch(r"(WANGGE_[A-Z_]+)=(.*)", line):
                lines[found[1]] = found[2]
    before = dict(lines)
    lines |= made
    if not lines.get("WANGGE_SECRET"):
        lines["WANGGE_SECRET"] = secrets.token_hex(32)
    if lines == before:
        return
    draft = path.with_name(f".settings.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write("# Made by `wangge up`; the environment wins over these lines.\n")
        out.writelines(f"{name}={value}\n" for name, value in sorted(lines.items()))
    draft.rename(path)

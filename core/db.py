"""The database session: one owner of commits, the actor's scope inside it, and nothing about any table.

`transaction` is the only commit of the whole program and `snapshot` the only other way to read. Both carry the actor's
scope into PostgreSQL with SET LOCAL, where row policies read it: a second lock under the `visible_to` of each query.
"""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any

import orjson
import psycopg
from psycopg.pq import ExecStatus, TransactionStatus
from sqlalchemy import Connection, Engine, MetaData, create_engine, event, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Session

from core.actor import Actor
from core.errors import Conflict, Forbidden, Unavailable
from core.settings import settings

#: SQLSTATE classes that mean "try again", never "wrong input": connection, resources, operator intervention, read-only.
_DOWN = ("08", "53", "57", "25006")
#: Serialization failure and deadlock: another transaction won.
_LOST = ("40001", "40P01", "55P03")
#: Raised by the trigger on the log for a day that is anchored (revision 0007).
_SEALED = "WG001"
#: What codes of cells are made of; they travel to the database inside SET LOCAL.
_CODE = re.compile(r"[0-9A-Za-z_\-]{1,40}")


class Base(DeclarativeBase):
    """The declarative base of every table; names of constraints are fixed so that migrations are stable."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        },
    )


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()


@cache
def engine(*, replica: bool = False) -> Engine:
    """Return the process's engine as the program's role; `replica` the one for reads that may lag."""
    config = settings()
    url = (replica and config.replica_url) or config.database_url
    if not url:
        raise Unavailable("No database is configured; run `make demo` or set WANGGE_DATABASE_URL.")
    return make_engine(url, pool_size=config.pool_size, pgbouncer=config.pgbouncer)


def make_engine(url: str, *, pool_size: int = 5, pgbouncer: bool = False) -> Engine:
    """Return an engine over psycopg 3 with the program's JSON codec and statement habits."""
    connect: dict[str, Any] = {"application_name": "wangge", "connect_timeout": 5}
    if pgbouncer:
        connect["prepare_threshold"] = None
    made = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=False,
        pool_reset_on_return="rollback",
        pool_timeout=5,
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
        # What a statement was given is people's words and numbers: an error that is logged names none of it.
        hide_parameters=True,
        connect_args=connect,
    )

    @event.listens_for(made, "handle_error")
    def _forget_dead(context: Any) -> None:
        # A server that restarted leaves dead connections in the pool; the whole pool is dropped at the first one.
        if isinstance(context.original_exception, OperationalError | InterfaceError):
            context.invalidate_pool_on_disconnect = True

    return made


def forget_engines() -> None:
    """Drop the pools of this process without closing their sockets: call after a fork."""
    try:
        # Called as everywhere else: the cache tells `engine()` from `engine(replica=False)`.
        pools = (engine(), engine(replica=True))
    except Unavailable:
        return
    for pool in pools:
        pool.dispose(close=False)
    engine.cache_clear()


@lru_cache(maxsize=4096)
def _scope(actor: Actor) -> str:
    return "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in actor.scope().items())


def _begin(driver: psycopg.Connection[Any], actor: Actor, *, read_only: bool) -> None:
    """Begin a transaction bound to the actor's district and role, in one round trip.

    Goes below psycopg's own BEGIN, which would be a round trip of its own: libpq's simple protocol takes several
    statements at once, and psycopg sees that a transaction is open. In an open transaction only the scope is changed.
    Raises psycopg.OperationalError, and leaves the connection closed, where the server is gone.
    """
    idle = driver.pgconn.transaction_status == TransactionStatus.IDLE
    begin = ("BEGIN READ ONLY; " if read_only else "BEGIN; ") if idle else ""
    _say(driver, begin + _scope(actor))


def _say(driver: psycopg.Connection[Any], statements: str) -> None:
    result = driver.pgconn.exec_(statements.encode())
    if result.status != ExecStatus.COMMAND_OK:
        said = result.error_message.decode(errors="replace")
        driver.close()
        raise psycopg.OperationalError(said)


def _driver(pooled: Any) -> psycopg.Connection[Any]:
    found = pooled.driver_connection
    assert isinstance(found, psycopg.Connection), "the program speaks psycopg 3"
    return found


def _enter(session: Session, actor: Actor, *, read_only: bool) -> None:
    """Put a session's transaction into the actor's scope; a dead pool is dropped, so that the next call is well."""
    connection = session.connection()
    with _dropping_dead(connection):
        _begin(_driver(connection.connection), actor, read_only=read_only)
    session.info["actor"] = actor


@contextmanager
def _dropping_dead(connection: Connection) -> Iterator[None]:
    """Drop the pool of a connection that turns out to be dead, so that the next call is well."""
    try:
        yield
    except psycopg.OperationalError:
        if connection.connection.driver_connection.closed:  # type: ignore[union-attr]
            connection.invalidate()
            connection.engine.dispose()
        raise


def _as_ours(error: BaseException, *, lost_connection: bool) -> Conflict | Unavailable | None:
    state = getattr(error, "sqlstate", None) or ""
    if state == _SEALED:
        return Conflict("The clock of this server runs behind the log; nothing was changed.")
    if state in _LOST:
        return Conflict("Somebody else changed this at the same moment; load it again.")
    if lost_connection or state.startswith(_DOWN) or (not state and isinstance(error, psycopg.OperationalError)):
        return Unavailable("The database cannot be reached at the moment.")
    return None


@contextmanager
def translated() -> Iterator[None]:
    """Turn the database's failures into the house's: Unavailable when it is down, Conflict when another one won."""
    try:
        yield
    except DBAPIError as error:
        ours = _as_ours(error.orig, lost_connection=error.connection_invalidated) if error.orig else None
        if ours is None:
            raise
        raise ours from error
    except psycopg.Error as error:
        # The hot path speaks to psycopg directly.
        ours = _as_ours(error, lost_connection=False)
        if ours is None:
            raise
        raise ours from error
    except PoolTimeout as error:
        raise Unavailable("The database is too busy at the moment.") from error


@contextmanager
def transaction(actor: Actor, *, bind: Engine | None = None) -> Iterator[Session]:
    """Open a read-write transaction in the actor's scope; commits at the end, rolls back on any error.

    Raises Unavailable when the database is down and Conflict when a concurrent transaction won.
    """
    with translated(), Session(bind or engine(), expire_on_commit=False) as session, session.begin():
        _enter(session, actor, read_only=False)
        yield session


@contextmanager
def snapshot(actor: Actor, *, bind: Engine | None = None) -> Iterator[Session]:
    """Open a read-only transaction in the actor's scope; it may be served by a replica."""
    with translated(), Session(bind or engine(replica=True), expire_on_commit=False) as session, session.begin():
        _enter(session, actor, read_only=True)
        yield session


def one_statement(
    actor: Actor, sql: bytes, values: Sequence[Any], *, bind: Engine | None = None
) -> tuple[Any, ...] | None:
    """Run one prepared statement with `$n` parameters in a transaction of its own; return its first row.

    The hot path: three round trips (begin with scope, statement, commit) and none of the ORM. sql must be the same
    object's text each time, for it is prepared. Raises as `transaction` does.
    """
    with _hot(actor, bind) as driver, psycopg.RawCursor(driver) as cursor:
        row = cursor.execute(sql, values, prepare=True).fetchone()
        driver.commit()
    return row


def together(
    actor: Actor, asked: Sequence[tuple[bytes, Sequence[Any]]], *, bind: Engine | None = None
) -> list[tuple[Any, ...] | None]:
    """Run prepared statements in one transaction, none waiting for the answer of the one before; return first rows.

    All are committed or none. Otherwise as `one_statement`: one commit and few round trips for all of them.
    """
    with _hot(actor, bind) as driver:
        cursors = [psycopg.RawCursor(driver) for _ in asked]
        with driver.pipeline():
            for cursor, (sql, values) in zip(cursors, asked, strict=True):
                cursor.execute(sql, values, prepare=True)
        found = [cursor.fetchone() for cursor in cursors]
        driver.commit()
    return found


@contextmanager
def _hot(actor: Actor, bind: Engine | None) -> Iterator[psycopg.Connection[Any]]:
    """Lend a connection in a transaction of the actor's; whoever borrows it commits, else it is rolled back."""
    with translated():
        chosen = bind or engine()
        pooled = chosen.raw_connection()
        driver = _driver(pooled)
        try:
            _begin(driver, actor, read_only=False)
            yield driver
        except BaseException:
            # Whatever ended it, an interrupt too: the connection goes back without an open transaction.
            if driver.closed:
                pooled.invalidate()
                chosen.dispose()
            else:
                driver.rollback()
            raise
        finally:
            pooled.close()


def ask(session: Session, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run one prepared statement with `$n` parameters in a session's transaction, around the ORM; return its rows.

    What the session's objects hold is not written first. sql must be one of few texts, for each is prepared. A dead
    pool is dropped, as by `_enter`.
    """
    connection = session.connection()
    with _dropping_dead(connection), psycopg.RawCursor(_driver(connection.connection)) as cursor:
        return cursor.execute(sql.encode(), values, prepare=True).fetchall()


def actor_of(session: Session) -> Actor:
    """Return the actor whose scope the session is in."""
    found: Actor = session.info["actor"]
    return found


@contextmanager
def acting_as(session: Session, actor: Actor) -> Iterator[None]:
    """Let another actor, in practice the program, do what follows from an action in the same transaction.

    Row policies see that actor until the block ends; whoever pinned a case pins it again afterwards.
    """
    before = actor_of(session)
    session.flush()
    driver = _driver(session.connection().connection)
    _enter(session, actor, read_only=False)
    try:
        yield
    except BaseException:
        # Whoever catches this goes on as before. A failed transaction takes no statement: its rollback does the same.
        session.info["actor"] = before
        if driver.pgconn.transaction_status == TransactionStatus.INTRANS:
            _begin(driver, before, read_only=False)
        raise
    session.flush()
    _enter(session, before, read_only=False)


def pin_case(session: Session, case_id: uuid.UUID) -> None:
    """Let narrow roles (citizen, unit, grid worker) read the entries and reports of one case in this transaction.

    Call only after the case row itself was read through its own policy, or its number and code were checked.
    """
    connection = session.connection()
    with _dropping_dead(connection):
        # `case` is a word of SQL's own, so it stands in quotes.
        _say(_driver(connection.connection), f"""SET LOCAL wangge."case" = '{uuid.UUID(str(case_id))}'""")


def pin_subject(session: Session, subject_id: uuid.UUID) -> None:
    """Let the session's actor read history and openings of one row of a register in this transaction.

    Call only after the row itself was read through its own policy, or the code on a slip was checked.
    """
    connection = session.connection()
    with _dropping_dead(connection):
        _say(_driver(connection.connection), f"SET LOCAL wangge.subject = '{uuid.UUID(str(subject_id))}'")


def pin_cells(session: Session, codes: Sequence[str]) -> None:
    """Let a unit or grid worker see the people of these cells in this transaction.

    Call only with cells in which the actor has a duty. Raises Forbidden on anything but plain codes.
    """
    if not all(_CODE.fullmatch(code) for code in codes):
        raise Forbidden("The scope of this account is damaged; ask the administrator.")
    connection = session.connection()
    with _dropping_dead(connection):
        _say(_driver(connection.connection), f"SET LOCAL wangge.cells = ',{','.join(codes)},'")


def rows(session: Session, sql: str, /, **params: Any) -> list[Mapping[str, Any]]:
    """Run capital-letter SQL with bound values and return its rows as mappings; for tiles, figures and hot paths."""
    return [dict(row) for row in session.execute(text(sql), params).mappings()]

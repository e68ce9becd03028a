"""Many rows of the registers at once: copied into a temporary table, then inserted or updated by one statement.

Row security forbids COPY into the tables themselves; from a temporary one, the policies are asked for every row.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from geoalchemy2 import WKBElement
from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy.orm import Session

from core.db import Base, actor_of
from core.errors import Conflict

_HELD = "wangge_held"


def insert(session: Session, model: type[Base], rows: Iterable[Mapping[str, Any]]) -> int:
    """Insert rows given as columns, all with the same names, and return how many. Writes; caller commits."""
    names, written = _hold(session, model, rows)
    if not written:
        return 0
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    statement = sql.SQL("INSERT INTO {table} ({columns}) SELECT {columns} FROM {held} WHERE district_code = %s").format(
        table=sql.Identifier(model.__tablename__), columns=columns, held=sql.Identifier(_HELD)
    )
    _run(session, statement)
    return written


def update(session: Session, model: type[Base], rows: Iterable[Mapping[str, Any]], *, versioned: bool = False) -> int:
    """Update rows by `district_code` and `id`, all with the same names, and return how many. Writes; caller commits.

    versioned: `version` is the one that was seen; it counts up, and another one raises Conflict.
    """
    names, written = _hold(session, model, rows)
    if not written:
        return 0
    set_names = [name for name in names if name not in ("district_code", "id", "version")]
    pairs: list[sql.Composable] = [sql.SQL("{0} = h.{0}").format(sql.Identifier(name)) for name in set_names]
    if versioned:
        pairs.append(sql.SQL("version = t.version + 1"))
    statement = sql.SQL(
        "UPDATE {table} AS t SET {pairs} FROM {held} AS h"
        " WHERE t.district_code = %s AND h.district_code = t.district_code AND t.id = h.id{version}"
    ).format(
        table=sql.Identifier(model.__tablename__),
        pairs=sql.SQL(", ").join(pairs),
        held=sql.Identifier(_HELD),
        version=sql.SQL(" AND t.version = h.version" if versioned else ""),
    )
    if _run(session, statement) != written:
        raise Conflict("Somebody else changed this at the same moment; load it again.")
    return written


def _hold(session: Session, model: type[Base], rows: Iterable[Mapping[str, Any]]) -> tuple[Sequence[str], int]:
    """Copy rows into a temporary table with the columns' types; return their names and how many they are."""
    session.flush()
    listed = iter(rows)
    first = next(listed, None)
    if first is None:
        return (), 0
    names = tuple(first)
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    driver: Any = session.connection().connection.driver_connection
    written = 0
    with driver.cursor() as cursor:
        cursor.execute(sql.SQL("DROP TABLE IF EXISTS pg_temp.{}").format(sql.Identifier(_HELD)))
        cursor.execute(
            sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
                sql.Identifier(_HELD), columns, sql.Identifier(model.__tablename__)
            )
        )
        with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(_HELD), columns)) as copy:
            for row in _chained(first, listed):
                copy.write_row([_plain(row[name]) for name in names])
                written += 1
    return names, written


def _chained(first: Mapping[str, Any], rest: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    yield first
    yield from rest


def _plain(value: Any) -> Any:
    if isinstance(value, WKBElement):
        return value.desc
    if isinstance(value, dict):
        return Jsonb(value, dumps=lambda one: orjson.dumps(one).decode())
    return str(value) if isinstance(value, uuid.UUID) else value


def _run(session: Session, statement: sql.Composed) -> int:
    driver: Any = session.connection().connection.driver_connection
    with driver.cursor() as cursor:
        cursor.execute(statement, (actor_of(session).district,))
        return int(cursor.rowcount)

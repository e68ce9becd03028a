"""Rows of mapped classes, read and written by few prepared statements where the ORM would take one for each row.

Knows columns and types of any table. Does not know what a row means, and leaves the objects to the ORM's session.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, TypeVar

import orjson
from geoalchemy2 import Geometry
from sqlalchemy import Table, inspect, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql.psycopg import dialect
from sqlalchemy.orm import Session, make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value

from core.db import Base, ask
from core.errors import Conflict

Row = TypeVar("Row", bound=Base)
_Convert = Callable[[Any], Any]
_DIALECT = dialect()  # type: ignore[no-untyped-call]  # the dialect class is untyped upstream


@dataclass(frozen=True, slots=True)
class _Columns:
    """What has to be known of a table to read and write it without the ORM's statements."""

    names: tuple[str, ...]
    keys: tuple[str, ...]
    #: Name → type as SQL writes it.
    types: Mapping[str, str]
    #: `SELECT … FROM table`, every column in order.
    select: str
    #: From what the driver returns, from what JSON holds, and to what the driver takes; only where they differ.
    loaded: Mapping[str, _Convert]
    parsed: Mapping[str, _Convert]
    dumped: Mapping[str, _Convert]


@cache
def _columns(model: type[Base]) -> _Columns:
    table = model.__table__
    assert isinstance(table, Table), "rows stand in tables"
    loaded: dict[str, _Convert] = {}
    parsed: dict[str, _Convert] = {}
    dumped: dict[str, _Convert] = {}
    for column in table.c:
        if isinstance(column.type, Geometry):
            loaded[column.name] = column.type.result_processor(_DIALECT, None)  # type: ignore[no-untyped-call]
            dumped[column.name] = lambda value: value.desc
        elif isinstance(column.type, JSONB):
            dumped[column.name] = _as_json
        elif column.type.python_type in _FROM_JSON:
            parsed[column.name] = _FROM_JSON[column.type.python_type]
    return _Columns(
        names=tuple(table.c.keys()),
        keys=tuple(column.name for column in table.primary_key),
        types={c.name: c.type.compile(dialect=_DIALECT) for c in table.c},
        select=str(select(*table.c).compile(dialect=_DIALECT)),
        loaded=loaded,
        parsed=parsed,
        dumped=dumped,
    )


_FROM_JSON: dict[type, _Convert] = {datetime: datetime.fromisoformat, uuid.UUID: uuid.UUID}


def _as_json(value: Any) -> str:
    return orjson.dumps(value).decode()


def find(session: Session, model: type[Row], where: str, *values: Any) -> Row | None:
    """Return the session's object of the first row, as the row is now. where: SQL after `WHERE`, with `$n`."""
    columns = _columns(model)
    session.flush()
    found = ask(session, f"{columns.select} WHERE {where}", values)
    if not found:
        return None
    row = dict(zip(columns.names, found[0], strict=True))
    for name, convert in columns.loaded.items():
        row[name] = None if row[name] is None else convert(row[name])
    return _held(session, model, row)


def parsed(session: Session, model: type[Row], rows: Iterable[Mapping[str, Any]] | None) -> list[Row]:
    """Return the session's objects of rows that came as JSON, such as `json_agg` makes of a table; None for no row."""
    columns, found = _columns(model), []
    for given in rows or ():
        row = {name: given[name] for name in columns.names}
        for name, convert in columns.parsed.items():
            if row[name] is not None:
                row[name] = convert(row[name])
        found.append(_held(session, model, row))
    return found


def _held(session: Session, model: type[Row], row: dict[str, Any]) -> Row:
    """Return the session's object for a row: the one it holds already, made to say what the row says, or a new one."""
    mapper = inspect(model)
    key = mapper.identity_key_from_primary_key(tuple(row[name] for name in _columns(model).keys))
    held = session.identity_map.get(key)
    if isinstance(held, model):
        for name, value in row.items():
            set_committed_value(held, name, value)
        return held
    made = mapper.class_manager.new_instance()
    inspect(made).dict.update(row)
    make_transient_to_detached(made)
    session.add(made)
    assert isinstance(made, model), "the mapper makes its own class"
    return made


#: Part of a statement: the class, the columns, and how many rows are inserted; 0 for the update of one.
_Part = tuple[type[Base], tuple[str, ...], int]


def write(session: Session, added: Iterable[tuple[type[Base], Mapping[str, Any]]] = ()) -> None:
    """Write what the session's objects hold, and rows that have no object, by one prepared statement.

    added: class and columns of each row. The objects are expired: whoever asks one again reads it from the database.
    Raises Conflict where a row to be changed is not there for the actor. Writes; caller commits.
    """
    inserts: dict[tuple[type[Base], tuple[str, ...]], list[Any]] = {}
    parts: list[_Part] = []
    values: list[Any] = []
    for model, row in added:
        _insert(inserts, model, row)
    for made in session.new:
        _insert(inserts, _model(made), _own(made))
    changed = 0
    # In one order, so that the shapes are few.
    for held in sorted(session.dirty, key=lambda one: type(one).__tablename__):
        row, before = _own(held), inspect(held).committed_state
        names = tuple(name for name in row if name in before and row[name] != before[name])
        if names:
            model, changed = _model(held), changed + 1
            parts.append((model, names, 0))
            values += _dumped(model, row, (*names, *_columns(model).keys))
    for (model, names), of_rows in inserts.items():
        count = len(of_rows) // len(names)
        parts.append((model, names, count))
        values += of_rows
    if not parts:
        return
    [(written,)] = ask(session, _statement(tuple(parts)), values)
    if written != changed:
        raise Conflict("Somebody else changed this at the same moment; load it again.")
    for made in list(session.new):
        session.expunge(made)
        make_transient_to_detached(made)
    for held in list(session.dirty):
        session.expire(held)


def _model(held: Any) -> type[Base]:
    found: type[Base] = type(held)
    return found


def _own(held: Any) -> dict[str, Any]:
    """Return the columns of an object that are known."""
    known = inspect(held).dict
    return {name: known[name] for name in _columns(_model(held)).names if name in known}


def _dumped(model: type[Base], row: Mapping[str, Any], names: Iterable[str]) -> list[Any]:
    dumped = _columns(model).dumped
    return [row[n] if row[n] is None or n not in dumped else dumped[n](row[n]) for n in names]


def _insert(inserts: dict[Any, list[Any]], model: type[Base], row: Mapping[str, Any]) -> None:
    names = tuple(row)
    inserts.setdefault((model, names), []).extend(_dumped(model, row, names))


@lru_cache(maxsize=512)
def _statement(parts: tuple[_Part, ...]) -> str:
    """Return the one statement for a shape of changes; it counts the rows that were updated.

    No part reads what another part writes: each sees the tables as they were.
    """
    ctes, updates, n = [], [], 0
    for i, (model, names, count) in enumerate(parts):
        columns, table = _columns(model), f'"{model.__tablename__}"'

        def taken(listed: tuple[str, ...], types: Mapping[str, str] = columns.types) -> list[str]:
            nonlocal n
            first, n = n + 1, n + len(listed)
            return [f"${first + j}::{types[name]}" for j, name in enumerate(listed)]

        if count:
            tuples = ", ".join(f"({', '.join(taken(names))})" for _ in range(count))
            listed = ", ".join(f'"{name}"' for name in names)
            ctes.append(f"p{i} AS (INSERT INTO {table} ({listed}) VALUES {tuples})")
        else:
            sets = ", ".join(f'"{a}" = {b}' for a, b in zip(names, taken(names), strict=True))
            where = " AND ".join(f'"{a}" = {b}' for a, b in zip(columns.keys, taken(columns.keys), strict=True))
            ctes.append(f"p{i} AS (UPDATE {table} SET {sets} WHERE {where} RETURNING 1)")
            updates.append(f"(SELECT count(*) FROM p{i})")
    return f"WITH {', '.join(ctes)} SELECT {' + '.join(updates) or '0'}"

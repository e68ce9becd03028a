"""Puts a district's ground into the database: whole tables in single statements, in the caller's transaction.

Repeatable. Knows how rows meet those of an earlier load: the same are left alone, changed ones replaced, missing ones
removed where nothing refers to them, units retired. Does not know routing, limits and notices: `dispatch.load` does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from sqlalchemy import CursorResult, text
from sqlalchemy.orm import Session

from core.datums import SRID, ewkb
from core.db import actor_of
from core.errors import Invalid
from core.ids import new_id
from grid import versions
from grid.formats import LINES
from grid.ground import Ground, Located
from grid.lines import Lines
from grid.relay import outline
from grid.tabular import Reject

#: Rows of one statement; more would only need more memory on both sides.
_CHUNK: Final = 20_000
#: (table, codes that are gone) → those that cases still name and that must stay.
InUse = Callable[[str, Sequence[str]], set[str]]


@dataclass(frozen=True, slots=True)
class Count:
    """What became of one table."""

    #: Rows of the folder that were taken and refused.
    taken: int
    refused: int = 0
    #: Rows inserted or changed, and removed or retired, in the database.
    changed: int = 0
    gone: int = 0


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did."""

    district: str
    name: str
    #: False when the same folder was loaded before with the same options.
    changed: bool
    counts: Mapping[str, Count]
    rejects: tuple[Reject, ...] = ()
    #: Where `rejects` were written; None when there are none or the caller named no place.
    report: Path | None = None
    #: Years whose working-day notice is new or differs: deadlines may have to move.
    years: tuple[int, ...] = ()
    #: Remarks for people: English msgids with parameters.
    notes: tuple[tuple[str, Mapping[str, Any]], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class _Col:
    """A column of a bulk statement: name, SQL type of the array, expression over the unnested value, values."""

    name: str
    kind: str
    values: Sequence[Any]
    shape: str = "{}"


def _geometry(name: str, shapes: Sequence[Any] | NDArray[Any]) -> _Col:
    array = np.asarray(shapes, dtype=object)
    wkb = shapely.to_wkb(shapely.set_srid(array, SRID), include_srid=True) if len(array) else []
    return _Col(name, "bytea[]", list(wkb), "ST_GeomFromEWKB({})")


def _bare(name: str) -> str:
    return name.strip('"')


def upsert(session: Session, table: str, *, key: str, columns: Sequence[_Col]) -> int:
    """Insert or replace rows by (district, key) and return how many were new or differed.

    The key is the first column. Writes; caller commits; the district is the actor's.
    """
    names = [column.name for column in columns]
    others = [name for name in names if name != key]
    sql = (
        f"INSERT INTO {table} (district_code, {', '.join(names)}) "  # noqa: S608  names are this module's own
        f"SELECT :d, {', '.join(c.shape.format('s.' + c.name) for c in columns)} "
        f"FROM unnest({', '.join(f'CAST(:{_bare(c.name)} AS {c.kind})' for c in columns)}) AS s({', '.join(names)}) "
        f"ON CONFLICT (district_code, {key}) DO UPDATE SET {', '.join(f'{n} = EXCLUDED.{n}' for n in others)} "
        f"WHERE {table}.district_code = :d AND ({', '.join(f'{table}.{n}' for n in others)}) "
        f"IS DISTINCT FROM ({', '.join(f'EXCLUDED.{n}' for n in others)})"
    )
    statement, district = text(sql), actor_of(session).district
    changed = 0
    for start in range(0, len(columns[0].values), _CHUNK):
        values = {_bare(column.name): list(column.values[start : start + _CHUNK]) for column in columns}
        changed += _count(session.execute(statement, {"d": district, **values}))
    return changed


def upsert_columns(session: Session, table: str, *, key: str, columns: Mapping[str, Sequence[Any]]) -> Count:
    """Make the district's rows of a table of texts be exactly these. Writes; caller commits."""
    made = [_Col(name, "text[]", values) for name, values in columns.items()]
    changed = upsert(session, table, key=key, columns=made)
    return Count(len(columns[key]), 0, changed, remove_others(session, table, key=key, keep=columns[key]))


def remove_others(session: Session, table: str, *, key: str, keep: Sequence[str]) -> int:
    """Delete the rows of the district whose key is not among `keep` and return how many; writes, caller commits."""
    sql = f"DELETE FROM {table} WHERE district_code = :d AND {key} <> ALL (CAST(:keep AS text[]))"  # noqa: S608  as above
    return _count(session.execute(text(sql), {"d": actor_of(session).district, "keep": list(keep)}))


def _count(result: Any) -> int:
    assert isinstance(result, CursorResult)
    return int(result.rowcount)


def _others(session: Session, table: str, *, key: str, keep: Sequence[str]) -> list[str]:
    sql = f"SELECT {key} FROM {table} WHERE district_code = :d AND {key} <> ALL (CAST(:keep AS text[]))"  # noqa: S608
    return list(session.scalars(text(sql), {"d": actor_of(session).district, "keep": list(keep)}))


def last_digest(session: Session) -> str:
    """Return the digest of the newest load of the actor's district; empty when there was none."""
    sql = text("SELECT digest FROM load_run WHERE district_code = :d ORDER BY id DESC LIMIT 1")
    return session.scalar(sql, {"d": actor_of(session).district}) or ""


def write_district(session: Session, ground: Ground) -> int:
    """Insert or update the district's own row and lock it, so that two loads go one after the other."""
    folder, district = ground.folder, actor_of(session).district
    if folder.code != district:
        raise Invalid("The folder is of district {code}.", code=folder.code)
    settings = {**folder.settings, "outside": ground.outside}
    values = {
        "d": district,
        "name": folder.name,
        "city": folder.city_name,
        "fictional": folder.fictional,
        "joined": folder.synthetic_join,
        "geom": ewkb(ground.geom),
        "settings": settings,
    }
    insert = text(
        "INSERT INTO district (district_code, name) VALUES (:d, :name) ON CONFLICT (district_code) DO NOTHING"
    )
    new = _count(session.execute(insert, values))
    session.execute(text("SELECT 1 FROM district WHERE district_code = :d FOR UPDATE"), values)
    # Keys that the administrator set stay; those of the folder win.
    update = text(
        "UPDATE district SET name = :name, city_name = :city, fictional = :fictional, synthetic_join = :joined,"
        " geom = ST_GeomFromEWKB(:geom), settings = settings || CAST(:settings AS jsonb)"
        " WHERE district_code = :d AND (name, city_name, fictional, synthetic_join, geom, settings) IS DISTINCT FROM"
        " (:name, :city, :fictional, :joined, ST_GeomFromEWKB(:geom), settings || CAST(:settings AS jsonb))"
    )
    differs = _count(session.execute(update, values | {"settings": _json(settings)}))
    return max(new, differs)


def write_ground(session: Session, ground: Ground, *, in_use: InUse, at: datetime) -> dict[str, Count]:
    """Write areas, cells, places, addresses, categories and units; return what became of each table.

    Writes; caller commits. Rows that were refused this time but loaded earlier stay as they are. Cells that people
    drew stay where the folder brings none of its own; `at` is when the others begin.
    """
    made = {
        "areas": _areas(session, ground, in_use),
        "cells": _cells(session, ground, at=at),
        "places": _register(session, "place", ground.places, ("name", "type", "type_path", "address")),
        "addresses": _register(session, "address", _with_keys(ground), ("name", "road", "house_no", "addr_key")),
        **_lines(session, ground),
        "categories": _categories(session, ground, in_use),
        "units": _units(session, ground),
    }
    _keep_drawn(session, ground)
    return made


def finish(session: Session, ground: Ground, *, counts: Mapping[str, Count], at: datetime) -> bool:
    """Note the load, and raise the district's revision when it changed anything; return whether it did. Writes."""
    changed = any(count.changed or count.gone for count in counts.values())
    values = {
        "d": actor_of(session).district,
        "id": new_id(),
        "at": at,
        "digest": ground.folder.digest,
        "counts": _json({name: [c.taken, c.refused, c.changed, c.gone] for name, c in counts.items()}),
        "step": int(changed),
    }
    session.execute(
        text(
            "INSERT INTO load_run (district_code, id, loaded_at, digest, counts)"
            " VALUES (:d, :id, :at, :digest, CAST(:counts AS jsonb))"
        ),
        values,
    )
    session.execute(
        text("UPDATE district SET loaded_at = :at, revision = revision + :step WHERE district_code = :d"), values
    )
    return changed


def _json(value: Any) -> str:
    import orjson

    return orjson.dumps(value).decode()


def _areas(session: Session, ground: Ground, in_use: InUse) -> Count:
    rows = ground.areas
    changed = upsert(
        session,
        "area",
        key="code",
        columns=[
            _Col("code", "text[]", rows.code),
            _Col("level", "text[]", rows.level),
            _Col("town_code", "text[]", rows.town_code),
            _Col("name", "text[]", rows.name),
            _Col("short", "text[]", rows.short),
            # Arrays of unequal length cannot be unnested side by side: aliases travel as one text.
            _Col("aliases", "text[]", ["|".join(names) for names in rows.aliases], "string_to_array({}, '|')"),
            _geometry("geom", rows.geom),
            _geometry("centre", rows.centre),
            _Col("derived", "bool[]", rows.derived),
            _Col("source_datum", "text[]", rows.source_datum),
        ],
    )
    others = _others(session, "area", key="code", keep=rows.code)
    used = in_use("area", others)
    # An area that cases still name keeps its name and loses its ground.
    emptied = text(
        "UPDATE area SET geom = NULL, centre = NULL WHERE district_code = :d AND code = ANY (CAST(:codes AS text[]))"
        " AND (geom IS NOT NULL OR centre IS NOT NULL)"
    )
    gone = _count(session.execute(emptied, {"d": actor_of(session).district, "codes": sorted(used)}))
    gone += remove_others(session, "area", key="code", keep=[*rows.code, *used])
    return Count(len(rows.code), 0, changed, gone)


def _cells(session: Session, ground: Ground, *, at: datetime) -> Count:
    cells, drawn = ground.cells, _drawn(session, ground)
    mine = [i for i, code in enumerate(cells.code) if code[:12] not in drawn]
    codes = [cells.code[i] for i in mine]
    changed = upsert(
        session,
        "cell",
        key="code",
        columns=[
            _Col("code", "text[]", codes),
            _Col("town_code", "text[]", [code[:9] for code in codes]),
            _Col("community_code", "text[]", [code[:12] for code in codes]),
            _Col("kind", "text[]", [cells.kind[i] for i in mine]),
            _geometry("geom", cells.geom[mine]),
            _Col("derived", "bool[]", [cells.derived] * len(codes)),
            _Col("households", "int[]", [cells.households[i] for i in mine]),
            _Col("places", "int[]", cells.places[mine].tolist()),
        ],
    )
    # Cells that are gone would lie under the new ones; cases keep the code they were given.
    kept = versions.today(session, communities=sorted(drawn)).cells.code
    gone = remove_others(session, "cell", key="code", keep=[*codes, *kept])
    versions.follow_load(session, at=at)
    return Count(len(codes), 0, changed, gone)


def _drawn(session: Session, ground: Ground) -> set[str]:
    """Return the communities whose cells people drew and the folder has none for: derived ones do not replace them."""
    there = set(ground.areas.code) if ground.cells.derived else set()
    return versions.drawn_communities(session) & there


def _keep_drawn(session: Session, ground: Ground) -> None:
    """Attach places and addresses to the cells that people drew: the folder knew only its own."""
    kept = versions.today(session, communities=sorted(_drawn(session, ground))).cells
    if kept.code:
        versions.reattach(session, codes=kept.code, ground=outline(kept.geom))


def _lines(session: Session, ground: Ground) -> dict[str, Count]:
    """Write roads, water and estates; return what became of each file that the folder has or had."""
    counts: dict[str, Count] = {}
    district = actor_of(session).district
    for file, kind in LINES.items():
        rows = ground.lines.get(file)
        keep = rows.key if rows else []
        gone = _count(
            session.execute(
                text(
                    "DELETE FROM ground_line WHERE district_code = :d AND kind = :kind"
                    " AND key <> ALL (CAST(:keep AS text[]))"
                ),
                {"d": district, "kind": kind, "keep": keep},
            )
        )
        changed = 0 if rows is None else upsert(session, "ground_line", key="key", columns=_line_columns(rows))
        if rows is not None or gone:
            counts[file] = Count(len(keep), 0, changed, gone)
    return counts


def _line_columns(rows: Lines) -> list[_Col]:
    return [
        _Col("key", "text[]", rows.key),
        _Col("kind", "text[]", rows.kind),
        _Col("name", "text[]", rows.name),
        _Col("class", "text[]", rows.rank),
        _geometry("geom", rows.geom),
        _Col("source_datum", "text[]", rows.datum),
    ]


def _with_keys(ground: Ground) -> Located | None:
    """Return the addresses with `addr_key` filled where the source has none: town + road + number + 号."""
    rows = ground.addresses
    if rows is None:
        return None
    names = dict(zip(ground.areas.code, ground.areas.name, strict=True))
    told = zip(rows.table["addr_key"], rows.town_code, rows.table["road"], rows.table["house_no"], strict=True)
    rows.table.columns["addr_key"] = np.array(
        [key or f"{names.get(town or '', '')}{road}{number}号" for key, town, road, number in told], dtype=object
    )
    return rows


def _register(session: Session, table: str, rows: Located | None, texts: Sequence[str]) -> Count:
    if rows is None:
        return Count(0, 0, 0, remove_others(session, table, key="key", keep=[]))
    values = rows.table
    if "type" in texts:
        values.columns["type"] = np.array(
            [kind or path.split(";")[0] for kind, path in zip(values["type"], values["type_path"], strict=True)],
            dtype=object,
        )
    changed = upsert(
        session,
        table,
        key="key",
        columns=[
            _Col("key", "text[]", values["key"].tolist()),
            *(_Col(name, "text[]", values[name].tolist()) for name in texts),
            _Col("town_code", "text[]", rows.town_code),
            _Col("community_code", "text[]", rows.community_code),
            _Col("cell_code", "text[]", rows.cell_code),
            _geometry("geom", shapely.points(rows.lng_lat)),
            _Col("source_datum", "text[]", [rows.datum.value] * len(values)),
            _Col("source_lng", "float8[]", values["lng"].tolist()),
            _Col("source_lat", "float8[]", values["lat"].tolist()),
        ],
    )
    gone = remove_others(session, table, key="key", keep=[*values["key"], *values.refused])
    return Count(len(values), 0, changed, gone)


def _categories(session: Session, ground: Ground, in_use: InUse) -> Count:
    rows = ground.categories
    changed = upsert(
        session,
        "category",
        key="code",
        columns=[
            _Col("code", "text[]", [row.code for row in rows]),
            _Col("parent_code", "text[]", [row.parent_code for row in rows]),
            _Col("level", "int[]", [row.level for row in rows]),
            _Col("name", "text[]", [row.name for row in rows]),
        ],
    )
    codes = [row.code for row in rows]
    used = in_use("category", _others(session, "category", key="code", keep=codes))
    return Count(len(rows), 0, changed, remove_others(session, "category", key="code", keep=[*codes, *used]))


def _units(session: Session, ground: Ground) -> Count:
    units, district = ground.units, actor_of(session).district
    codes, names = units["code"].tolist(), units["name"].tolist()
    values = {"d": district, "codes": codes, "names": names}
    # Log entries and assignments name units for ever: one that is gone is retired. Its name may be wanted again.
    gone = _count(
        session.execute(
            text(
                "UPDATE unit SET active = false WHERE district_code = :d AND active"
                " AND code <> ALL (CAST(:codes AS text[]))"
            ),
            values,
        )
    )
    # Names are unique: those that change hands are set aside first, so that two units may swap theirs.
    session.execute(
        text(
            "UPDATE unit SET name = unit.name || '（' || unit.code || '）' WHERE unit.district_code = :d"
            " AND unit.name = ANY (CAST(:names AS text[])) AND NOT EXISTS (SELECT 1"
            " FROM unnest(CAST(:codes AS text[]), CAST(:names AS text[])) AS s(code, name)"
            " WHERE s.code = unit.code AND s.name = unit.name)"
        ),
        values,
    )
    changed = upsert(
        session,
        "unit",
        key="code",
        columns=[
            _Col("code", "text[]", codes),
            _Col("name", "text[]", names),
            _Col("kind", "text[]", units["kind"].tolist()),
            _Col("area_code", "text[]", units["area_code"].tolist()),
            _Col("deputy_code", "text[]", [code or None for code in units["deputy_code"]]),
            _Col("active", "bool[]", [True] * len(codes)),
        ],
    )
    return Count(len(codes), 0, changed, gone)

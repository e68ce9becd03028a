"""Layers of map files to hand out 网格导出: cells, areas and places that the asker may see."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import numpy as np
import shapely
from sqlalchemy.orm import Session

from core.db import actor_of, rows
from grid.files import Layer
from grid.registers.features import KEY_PLACES, PARTS, narrowed

#: Rows of one file.
_MOST: Final = 500_000
#: Name → table, condition, whether points, columns: name of at most ten ASCII letters → SQL; whole numbers.
_SQL: Final[Mapping[str, tuple[str, str, Mapping[str, str], Sequence[str]]]] = {
    "cells": (
        "cell t",
        "true",
        {"code": "t.code", "community": "t.community_code", "kind": "t.kind", "households": "t.households"},
        ("households",),
    ),
    "communities": (
        "area t",
        "t.level = 'community' AND t.geom IS NOT NULL",
        {"code": "t.code", "name": "t.name", "town": "t.town_code"},
        (),
    ),
    "towns": ("area t", "t.level = 'town' AND t.geom IS NOT NULL", {"code": "t.code", "name": "t.name"}, ()),
    "places": (
        "place t",
        "true",
        {"key": "t.key", "name": "t.name", "type": "t.type_path", "address": "t.address", "cell": "t.cell_code"},
        (),
    ),
}
_OF_REGISTERS: Final = {one.name: one for one in (PARTS, KEY_PLACES)}
LAYERS: Final = (*_SQL, *_OF_REGISTERS)


def layer(session: Session, name: str, *, at: datetime) -> Layer:
    """Return a layer of `LAYERS` in EPSG:4490, of the actor's town where the actor is bound to one. Reads only.

    Of registers, what the actor has a right to; raises NotFound where that is nothing, Forbidden as `narrowed` does.
    """
    if name in _OF_REGISTERS:
        return _of_register(session, name, at=at)
    table, where, columns, numbers = _SQL[name]
    actor = actor_of(session)
    code = "t.town_code" if table != "area t" else "t.code"
    told = ", ".join(f'{sql} AS "{column}"' for column, sql in columns.items())
    found = rows(
        session,
        f"SELECT ST_AsBinary(t.geom) AS wkb, {told} FROM {table} WHERE t.district_code = :d AND {where}"  # noqa: S608  this module's own
        f" AND coalesce({code}, '') LIKE :town ORDER BY 2 LIMIT :most",
        d=actor.district,
        town=actor.town + "%",
        most=_MOST,
    )
    shapes = np.array([shapely.from_wkb(bytes(row["wkb"])) for row in found], dtype=object)
    return Layer(
        name,
        "Point" if name == "places" else "MultiPolygon",
        shapes,
        {column: [row[column] for row in found] for column in columns},
        numbers,
    )


def _of_register(session: Session, name: str, *, at: datetime) -> Layer:
    one = narrowed(session, _OF_REGISTERS[name], at=at)
    told = ", ".join(f'{told.sql} AS "{column}"' for column, told in one.properties.items())
    found = rows(
        session,
        f"SELECT ST_AsBinary(t.geom) AS wkb, {told} FROM {one.table} WHERE t.district_code = :d AND {one.where}"  # noqa: S608  as above
        f" ORDER BY {one.key} LIMIT :most",
        d=actor_of(session).district,
        most=_MOST,
        **one.values,
    )
    shapes = np.array([shapely.from_wkb(bytes(row["wkb"])) for row in found], dtype=object)
    return Layer(name, "Point", shapes, {column: [row[column] for row in found] for column in one.properties})

"""Vector tiles made wholly in SQL: the quiet base (towns, communities, cells), open cases, and heat from kept counts.

Tiles are web-mercator (EPSG:3857) in Mapbox Vector Tile 2.1, 4096 units wide, without buffer, so that a point lies in
one tile. Stored geometry is EPSG:4490; the mercator of EPSG:3857 is by definition spherical in its longitude and
latitude, so that a tile's bounds and its points are plain arithmetic and only polygons go through PROJ.
Cases are those of the actor's scope: row policies decide inside the statement. Nothing here is unbounded: a tile with
more than `MOST_CASES` open cases shows kept counts of all cases instead, as features with `crowd`.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.db import actor_of
from core.errors import Forbidden, NotFound
from dispatch.tallies import ZOOMS

#: Drawn from the ground alone: any role may see them, and they change with a load only.
GROUND = frozenset({"towns", "communities"})
LAYERS = GROUND | {"cells", "cases", "heat"}
#: Roles that look at maps of cases. Units and grid workers see theirs, by row policy.
VIEWERS = frozenset({Role.OPERATOR, Role.SUPERVISOR, Role.OFFICIAL, Role.UNIT, Role.GRID_WORKER})
#: Roles that see counts of the whole district.
WIDE = frozenset({Role.OPERATOR, Role.SUPERVISOR, Role.OFFICIAL})

MOST_ZOOM = 22
#: Open cases that one tile shows one by one.
MOST_CASES = 5000
#: Below these zooms there is nothing to see of a layer and its tiles are empty.
FIRST_ZOOM = {"towns": 0, "communities": 11, "cells": 12, "cases": 0, "heat": 6}
#: Changes of the log this far back are counted for the stamp: no transaction stays open for so long.
_WINDOW = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Tile:
    """One square of the web-mercator pyramid; x counts from the west, y from the north."""

    z: int
    x: int
    y: int

    def __post_init__(self) -> None:
        """Raise NotFound for a square that is not in the pyramid."""
        if not (0 <= self.z <= MOST_ZOOM and 0 <= self.x < 2**self.z and 0 <= self.y < 2**self.z):
            raise NotFound("There is no such tile.")

    def bounds(self) -> tuple[float, float, float, float]:
        """Return west, south, east, north in degrees, EPSG:4490."""
        n = 2**self.z

        def lat(y: int) -> float:
            return math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * y / n))))

        return self.x / n * 360 - 180, lat(self.y + 1), (self.x + 1) / n * 360 - 180, lat(self.y)


_POLYGONS = """
WITH b AS MATERIALIZED (
  SELECT ST_MakeEnvelope(:west, :south, :east, :north, 4490) AS geo, ST_TileEnvelope(:z, :x, :y) AS merc
), m AS MATERIALIZED (
  SELECT ST_AsMVTGeom(ST_Transform(a.geom, 3857), b.merc, 4096, 64, true) AS geom, a.code, a.short AS name
  FROM area a JOIN b ON a.geom && b.geo WHERE a.district_code = :d AND a.level = :level
), p AS MATERIALIZED (
  SELECT ST_AsMVTGeom(ST_Transform(s.geom, 3857), b.merc, 4096, 0, true) AS geom, s.code, s.name
  FROM (
    SELECT ST_PointOnSurface(a.geom) AS geom, a.code, a.short AS name
    FROM area a JOIN b ON a.geom && b.geo WHERE a.district_code = :d AND a.level = :level
  ) s JOIN b ON s.geom && b.geo
)
SELECT coalesce((SELECT ST_AsMVT(m, :layer, 4096, 'geom') FROM m WHERE m.geom IS NOT NULL), ''::bytea)
    || coalesce((SELECT ST_AsMVT(p, :layer || '_names', 4096, 'geom') FROM p WHERE p.geom IS NOT NULL), ''::bytea)
"""
_CELLS = """
WITH b AS MATERIALIZED (
  SELECT ST_MakeEnvelope(:west, :south, :east, :north, 4490) AS geo, ST_TileEnvelope(:z, :x, :y) AS merc
), c AS MATERIALIZED (
  SELECT c.code, c.kind, c.geom FROM cell c JOIN b ON c.geom && b.geo WHERE c.district_code = :d
), n AS MATERIALIZED (
  SELECT k.cell_code, count(*) AS open FROM cases k
  WHERE k.district_code = :d AND k.open
    AND k.geom && (SELECT ST_SetSRID(ST_Extent(c.geom)::geometry, 4490) FROM c)
  GROUP BY k.cell_code
), m AS MATERIALIZED (
  SELECT ST_AsMVTGeom(ST_Transform(c.geom, 3857), b.merc, 4096, 64, true) AS geom, c.code, c.kind,
         coalesce(n.open, 0)::int AS open
  FROM c CROSS JOIN b LEFT JOIN n ON n.cell_code = c.code
)
SELECT coalesce((SELECT ST_AsMVT(m, 'cells', 4096, 'geom') FROM m WHERE m.geom IS NOT NULL), ''::bytea)
"""
#: The most pressing are drawn last, on top.
_CASES = """
WITH k AS MATERIALIZED (
  SELECT k.number, k.state, k.category_code, k.town_code, k.due_at, k.received_at,
         CASE WHEN k.due_at <= :at THEN 3 ELSE k.warned END AS colour, k.geom
  FROM cases k
  WHERE k.district_code = :d AND k.open AND k.geom && ST_MakeEnvelope(:west, :south, :east, :north, 4490)
  LIMIT :most + 1
), m AS MATERIALIZED (
  SELECT ST_MakePoint(round((ST_X(k.geom) + 180) / 360 * :units - :left),
                      round((1 - asinh(tan(radians(ST_Y(k.geom)))) / pi()) / 2 * :units - :top)) AS geom,
         k.number, k.state, coalesce(k.category_code, '') AS category,
         coalesce(k.town_code, '') AS town, k.colour::int AS colour,
         extract(epoch FROM k.due_at)::bigint AS due, extract(epoch FROM k.received_at)::bigint AS received
  FROM k WHERE :singly OR (SELECT count(*) FROM k) <= :most ORDER BY k.colour, k.due_at DESC NULLS FIRST
)
SELECT coalesce((SELECT ST_AsMVT(m, 'cases', 4096, 'geom') FROM m), ''::bytea) AS mvt,
       (SELECT count(*) FROM k) > :most AS crowded
"""
#: Columns of pixels are looked up one by one: the key's order makes each a single short range.
_HEAT = """
WITH m AS MATERIALIZED (
  SELECT ST_MakePoint((h.x - :from_x + 0.5) * :step, (h.y - :from_y + 0.5) * :step) AS geom, h.cases AS n
  FROM generate_series(CAST(:from_x AS int), CAST(:to_x AS int)) AS c(x)
  JOIN heat h ON h.district_code = :d AND h.zoom = :zoom AND h.x = c.x AND h.y BETWEEN :from_y AND :to_y AND h.cases > 0
)
SELECT coalesce((SELECT ST_AsMVT(m, :layer, 4096, 'geom') FROM m), ''::bytea)
"""
_STATEMENTS: dict[str, TextClause] = {
    "towns": text(_POLYGONS),
    "communities": text(_POLYGONS),
    "cells": text(_CELLS),
    "cases": text(_CASES),
    "heat": text(_HEAT),
}
_LEVELS = {"towns": "town", "communities": "community"}

_STAMP = text("""
SELECT d.revision, e.newest, e.changes,
       (SELECT o.id FROM outbox o WHERE o.district_code = :d ORDER BY o.id DESC LIMIT 1) AS told
FROM district d CROSS JOIN (
  SELECT max(e.recorded_at) AS newest, count(*) FILTER (WHERE e.recorded_at >= :since) AS changes
  FROM (
    (SELECT e.recorded_at FROM entry e WHERE e.district_code = :d ORDER BY e.recorded_at DESC LIMIT 1)
    UNION ALL
    (SELECT e.recorded_at FROM entry e WHERE e.district_code = :d AND e.recorded_at >= :since)
  ) e
) e
WHERE d.district_code = :d
""")


def draw(session: Session, layer: str, tile: Tile, *, at: datetime) -> bytes:
    """Return one layer of one tile as MVT; empty bytes where there is nothing.

    layer: `towns` and `communities` (code, name; and the same with `_names`, a point each), `cells` (code, kind, open),
    `cases` (number, state, colour 0 to 3, category, town, due and received in seconds since 1970; or `crowd` with
    n), `heat` (n: all placed cases ever, in the pixel's middle). at: aware; decides what is overdue.
    Raises NotFound for another layer and Forbidden where the actor's role may not see it. Reads only.
    """
    actor = actor_of(session)
    check(actor, layer)
    if tile.z < FIRST_ZOOM[layer]:
        return b""
    if layer == "heat":
        return _heat(session, tile, "heat")
    west, south, east, north = tile.bounds()
    bound: dict[str, Any] = {"d": actor.district, "west": west, "south": south, "east": east, "north": north}
    if layer == "cases":
        units = float(4096 * 2**tile.z)
        bound |= {"at": at, "most": MOST_CASES, "units": units, "left": tile.x * 4096.0, "top": tile.y * 4096.0}
        # Who sees a part only gets the first ones: kept counts would tell of the rest.
        bound["singly"] = not sees_whole(actor)
        mvt, crowded = session.execute(_STATEMENTS[layer], bound).one()
        return _heat(session, tile, "crowd") if crowded and sees_whole(actor) else bytes(mvt)
    bound |= {"z": tile.z, "x": tile.x, "y": tile.y}
    if layer in _LEVELS:
        bound |= {"layer": layer, "level": _LEVELS[layer]}
    return bytes(session.scalar(_STATEMENTS[layer], bound) or b"")


def check(actor: Actor, layer: str) -> None:
    """Raise NotFound for a layer that does not exist and Forbidden for one that the actor may not see."""
    if layer not in LAYERS:
        raise NotFound("There is no such layer.")
    # Kept counts are not cut to a town or a unit; those who see a part only may not see the whole's counts.
    allowed = sees_whole(actor) if layer == "heat" else layer in GROUND or actor.role in VIEWERS
    if not allowed:
        raise Forbidden("Your role may not see this layer of the map.")


def sees_whole(actor: Actor) -> bool:
    """Return whether an actor sees the whole district and so may see counts that are not cut to a part."""
    return actor.role in WIDE and not actor.town


def scope(actor: Actor) -> tuple[str, ...]:
    """Return what two actors have in common who see the same cases: part of a kept tile's key."""
    if actor.role in WIDE:
        return ("wide", actor.town)
    return (actor.role.value, actor.town, actor.unit)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What kept tiles of one district depend on."""

    #: Counts the loads of the ground.
    revision: int
    #: Changes whenever a case does, and every minute, because colours change with time alone.
    data: tuple[object, ...]


def stamp(session: Session, *, at: datetime) -> Stamp:
    """Return the stamp of the ground and the cases as of now; needs a session of the program, who sees all entries.

    It is read off the log: the newest entry, and how many there are since the last minute but one, so that a
    transaction which commits after a later one is noticed too. Replayed cases are recorded in the past: for them the
    newest message of the outbox stands, whose id is made of the machine's own clock. at: aware. Reads only; one short
    index range.
    """
    minute = at.replace(second=0, microsecond=0)
    bound = {"d": actor_of(session).district, "since": minute - _WINDOW}
    row = session.execute(_STAMP, bound).one_or_none()
    return Stamp(row.revision, (minute, row.newest, row.changes, row.told)) if row else Stamp(-1, (minute,))


def _heat(session: Session, tile: Tile, layer: str) -> bytes:
    """Return kept counts of all cases, 32 to 256 pixels a side; fewer only nearer than they are kept."""
    if tile.z < FIRST_ZOOM["heat"]:
        return b""
    zoom = next((zoom for zoom in ZOOMS if zoom >= tile.z + 5), ZOOMS[-1])
    if tile.z > zoom:
        return b""
    side = 2 ** (zoom - tile.z)
    bound = {
        "d": actor_of(session).district,
        "layer": layer,
        "zoom": zoom,
        "from_x": tile.x * side,
        "to_x": tile.x * side + side - 1,
        "from_y": tile.y * side,
        "to_y": tile.y * side + side - 1,
        "step": 4096.0 / side,
    }
    return bytes(session.scalar(_STATEMENTS["heat"], bound) or b"")

"""The map that a phone takes along 离线地图包: vector tiles of a worker's cells and the streets around, in one file.

PMTiles version 3 with Mapbox Vector Tiles 2.1, web-mercator, made in SQL as `maps.tiles` makes them; from the ground
alone, so that a pack is good until the ground changes. It holds names of streets and places and no person's data. A
pack that would grow over `MOST_BYTES` leaves out house numbers first and then its finest zoom.
"""

import gzip
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

from pmtiles.tile import Compression, TileType, zxy_to_tileid
from pmtiles.writer import Writer
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.db import actor_of, rows
from core.errors import Invalid, NotFound
from maps.tiles import Tile

FIRST_ZOOM, LAST_ZOOM = 12, 16
MOST_BYTES: Final = 8 * 2**20
#: Tiles of one pack; cells that need more belong to several phones.
MOST_TILES: Final = 4000
#: Around the cells, in degrees: some 300 m.
_AROUND: Final = 0.003
#: Zoom from which a thing is shown.
_ROADS_ALL, _PLACES, _ADDRESSES = 14, 15, 16
_MAIN_ROADS: Final = ["motorway", "trunk", "primary", "secondary", "tertiary"]

_TILE: Final = text("""
WITH b AS MATERIALIZED (
  SELECT ST_MakeEnvelope(:west, :south, :east, :north, 4490) AS geo, ST_TileEnvelope(:z, :x, :y) AS merc
), l AS MATERIALIZED (
  SELECT l.kind, l.name, l.class, ST_AsMVTGeom(ST_Transform(l.geom, 3857), b.merc, 4096, 64, true) AS geom
  FROM ground_line l JOIN b ON l.geom && b.geo
  WHERE l.district_code = :d AND (l.kind <> 'road' OR :z >= :roads OR l.class = ANY (:main))
), c AS MATERIALIZED (
  SELECT c.code, c.kind, right(c.code, 3) AS name, c.code = ANY (:cells) AS mine,
         ST_AsMVTGeom(ST_Transform(c.geom, 3857), b.merc, 4096, 64, true) AS geom
  FROM cell c JOIN b ON c.geom && b.geo WHERE c.district_code = :d AND c.town_code = ANY (:towns)
), p AS MATERIALIZED (
  SELECT p.name, p.type, ST_AsMVTGeom(ST_Transform(p.geom, 3857), b.merc, 4096, 0, true) AS geom
  FROM place p JOIN b ON p.geom && b.geo WHERE p.district_code = :d AND :z >= :places
  ORDER BY length(p.name), p.key LIMIT 400
), a AS MATERIALIZED (
  SELECT a.house_no, a.road, ST_AsMVTGeom(ST_Transform(a.geom, 3857), b.merc, 4096, 0, true) AS geom
  FROM address a JOIN b ON a.geom && b.geo WHERE a.district_code = :d AND :z >= :addresses
  ORDER BY a.key LIMIT 800
), w AS MATERIALIZED (SELECT geom FROM l WHERE kind = 'water' AND geom IS NOT NULL),
e AS MATERIALIZED (SELECT name, geom FROM l WHERE kind = 'estate' AND geom IS NOT NULL),
r AS MATERIALIZED (SELECT name, class AS kind, geom FROM l WHERE kind = 'road' AND geom IS NOT NULL),
cells AS MATERIALIZED (SELECT * FROM c WHERE geom IS NOT NULL),
places AS MATERIALIZED (SELECT * FROM p WHERE geom IS NOT NULL),
addresses AS MATERIALIZED (SELECT * FROM a WHERE geom IS NOT NULL)
SELECT coalesce((SELECT ST_AsMVT(w, 'water', 4096, 'geom') FROM w), ''::bytea)
    || coalesce((SELECT ST_AsMVT(e, 'estates', 4096, 'geom') FROM e), ''::bytea)
    || coalesce((SELECT ST_AsMVT(r, 'roads', 4096, 'geom') FROM r), ''::bytea)
    || coalesce((SELECT ST_AsMVT(cells, 'cells', 4096, 'geom') FROM cells), ''::bytea)
    || coalesce((SELECT ST_AsMVT(places, 'places', 4096, 'geom') FROM places), ''::bytea)
    || coalesce((SELECT ST_AsMVT(addresses, 'addresses', 4096, 'geom') FROM addresses), ''::bytea)
""")


@dataclass(frozen=True, slots=True)
class Extent:
    """What a pack is of."""

    cells: tuple[str, ...]
    #: West, south, east, north in degrees, EPSG:4490, with the streets around.
    bounds: tuple[float, float, float, float]
    #: Names the ground and the cells: another pack has another one.
    mark: str


def extent(session: Session, cells: Sequence[str]) -> Extent:
    """Return what the pack of some cells would hold; raises NotFound without a cell. Reads only."""
    actor = actor_of(session)
    found = rows(
        session,
        "SELECT ST_XMin(e.box) AS west, ST_YMin(e.box) AS south, ST_XMax(e.box) AS east, ST_YMax(e.box) AS north,"
        " d.revision FROM district d CROSS JOIN (SELECT ST_Extent(c.geom) AS box FROM cell c"
        " WHERE c.district_code = :d AND c.code = ANY (:cells)) e WHERE d.district_code = :d",
        d=actor.district,
        cells=list(cells),
    )
    if not found or found[0]["west"] is None:
        raise NotFound("You have no cells yet; ask the office to give you some.")
    row = found[0]
    sides = tuple(float(row[name]) for name in ("west", "south", "east", "north"))
    wider = (sides[0] - _AROUND, sides[1] - _AROUND, sides[2] + _AROUND, sides[3] + _AROUND)
    told = f"{actor.district}|{row['revision']}|{','.join(sorted(cells))}|{MOST_BYTES}"
    return Extent(tuple(sorted(cells)), wider, blake2b(told.encode(), digest_size=12).hexdigest())


def draw(session: Session, wanted: Extent) -> bytes:
    """Return the pack as one PMTiles file. Reads only; some milliseconds a tile.

    Raises Invalid where even the coarsest pack would be too large.
    """
    for last, plain in ((LAST_ZOOM, False), (LAST_ZOOM, True), (LAST_ZOOM - 1, True), (LAST_ZOOM - 2, True)):
        if _count(wanted.bounds, last) > MOST_TILES:
            continue
        made = _pack(session, wanted, last=last, plain=plain)
        if len(made) <= MOST_BYTES:
            return made
    raise Invalid("The map of your cells would be too large; ask the office to divide your cells.")


def kept(folder: Path, wanted: Extent) -> Path:
    """Return where the pack of an extent is kept on this machine."""
    return folder / f"{wanted.mark}.pmtiles"


def keep(folder: Path, wanted: Extent, made: bytes, *, most: int = 300) -> Path:
    """Write a pack to where it is kept, whole or not at all, and drop the oldest beyond `most`."""
    folder.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=folder, prefix=".making-", delete=False) as file:
        file.write(made)
    path = kept(folder, wanted)
    Path(file.name).rename(path)
    for old in sorted(folder.glob("*.pmtiles"), key=lambda one: one.stat().st_mtime)[:-most]:
        old.unlink(missing_ok=True)
    return path


def _pack(session: Session, wanted: Extent, *, last: int, plain: bool) -> bytes:
    out = io.BytesIO()
    writer = Writer(out)  # type: ignore[no-untyped-call]  # the package has no types
    for tile in sorted(_tiles(wanted.bounds, last), key=lambda one: zxy_to_tileid(one.z, one.x, one.y)):
        body = _draw_one(session, wanted, tile, plain=plain)
        if body:
            packed = gzip.compress(body, 6, mtime=0)
            writer.write_tile(zxy_to_tileid(tile.z, tile.x, tile.y), packed)  # type: ignore[no-untyped-call]
    west, south, east, north = (round(side * 1e7) for side in wanted.bounds)
    header = {
        "tile_compression": Compression.GZIP,
        "tile_type": TileType.MVT,
        "min_zoom": FIRST_ZOOM,
        "max_zoom": last,
        "min_lon_e7": west,
        "min_lat_e7": south,
        "max_lon_e7": east,
        "max_lat_e7": north,
        "center_zoom": 15,
        "center_lon_e7": (west + east) // 2,
        "center_lat_e7": (south + north) // 2,
    }
    writer.finalize(header, {"name": "wangge", "type": "baselayer", "vector_layers": _LAYERS})  # type: ignore[no-untyped-call]
    return out.getvalue()


_LAYERS: Final[list[dict[str, Any]]] = [
    {"id": "water", "fields": {}},
    {"id": "estates", "fields": {"name": "String"}},
    {"id": "roads", "fields": {"name": "String", "kind": "String"}},
    {"id": "cells", "fields": {"code": "String", "kind": "String", "name": "String", "mine": "Boolean"}},
    {"id": "places", "fields": {"name": "String", "type": "String"}},
    {"id": "addresses", "fields": {"house_no": "String", "road": "String"}},
]


def _draw_one(session: Session, wanted: Extent, tile: Tile, *, plain: bool) -> bytes:
    west, south, east, north = tile.bounds()
    bound = {
        "d": actor_of(session).district,
        "west": west,
        "south": south,
        "east": east,
        "north": north,
        "z": tile.z,
        "x": tile.x,
        "y": tile.y,
        "cells": list(wanted.cells),
        "towns": sorted({code[:9] for code in wanted.cells}),
        "main": _MAIN_ROADS,
        "roads": _ROADS_ALL,
        "places": _PLACES,
        "addresses": 99 if plain else _ADDRESSES,
    }
    return bytes(session.scalar(_TILE, bound) or b"")


def _tiles(bounds: Sequence[float], last: int) -> Iterator[Tile]:
    for z in range(FIRST_ZOOM, last + 1):
        left, top, right, bottom = _span(bounds, z)
        yield from (Tile(z, x, y) for x in range(left, right + 1) for y in range(top, bottom + 1))


def _count(bounds: Sequence[float], last: int) -> int:
    spans = (_span(bounds, z) for z in range(FIRST_ZOOM, last + 1))
    return sum((right - left + 1) * (bottom - top + 1) for left, top, right, bottom in spans)


def _span(bounds: Sequence[float], z: int) -> tuple[int, int, int, int]:
    """Return the first and last column and row of tiles that bounds touch: left, top, right, bottom."""
    west, south, east, north = bounds
    return (*_square(west, north, z), *_square(east, south, z))


def _square(lng: float, lat: float, z: int) -> tuple[int, int]:
    n = 2**z
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2
    return min(n - 1, max(0, int((lng + 180) / 360 * n))), min(n - 1, max(0, int(y * n)))

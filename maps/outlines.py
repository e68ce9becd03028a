"""Outlines of the ground as GeoJSON, made wholly in SQL: towns for every page's small map, cells of one town at a time.

Knows areas and cells and nothing of cases. Coordinates are EPSG:4490, lon then lat, which differs from the WGS84 that
GeoJSON promises (RFC 7946) by less than a metre.
"""

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.db import actor_of
from core.errors import Invalid, NotFound

#: How far a drawn town border may lie from the stored one: about 10 m, invisible on a map of a district.
TOWN_TOLERANCE_DEG = 0.0001
#: The same for cells, which are looked at from near: about 1 m.
CELL_TOLERANCE_DEG = 0.00001
#: A town with more cells than this is answered with the first ones and told so in `truncated`.
MOST_CELLS = 3000

_TOWNS = text("""
WITH d AS MATERIALIZED (
  SELECT name, fictional, synthetic_join, revision FROM district WHERE district_code = :d
), t AS MATERIALIZED (
  SELECT code, name, ST_SimplifyPreserveTopology(geom, :tolerance) AS geom
  FROM area WHERE district_code = :d AND level = 'town' AND geom IS NOT NULL ORDER BY code
)
SELECT jsonb_build_object(
  'type', 'FeatureCollection',
  'bbox', (SELECT jsonb_build_array(min(ST_XMin(t.geom)), min(ST_YMin(t.geom)),
                                    max(ST_XMax(t.geom)), max(ST_YMax(t.geom))) FROM t HAVING count(*) > 0),
  'district', (SELECT d.name FROM d),
  'fictional', (SELECT d.fictional FROM d),
  'features', coalesce((SELECT jsonb_agg(jsonb_build_object(
      'type', 'Feature', 'id', t.code,
      'properties', jsonb_build_object('code', t.code, 'name', t.name),
      'geometry', ST_AsGeoJSON(t.geom, 6, 0)::jsonb)) FROM t), '[]'::jsonb))::text
""")

_CELLS = text("""
WITH c AS MATERIALIZED (
  SELECT c.code, c.kind, c.community_code, a.short AS community, c.derived,
         ST_SimplifyPreserveTopology(c.geom, :tolerance) AS geom
  FROM cell c LEFT JOIN area a ON a.district_code = :d AND c.district_code = a.district_code
    AND a.code = c.community_code
  WHERE c.district_code = :d AND c.town_code = :town ORDER BY c.code LIMIT :most + 1
), kept AS MATERIALIZED (SELECT * FROM c ORDER BY c.code LIMIT :most)
SELECT jsonb_build_object(
  'type', 'FeatureCollection',
  'truncated', (SELECT count(*) > :most FROM c),
  'features', coalesce((SELECT jsonb_agg(jsonb_build_object(
      'type', 'Feature', 'id', k.code,
      'properties', jsonb_build_object('code', k.code, 'kind', k.kind, 'community', k.community, 'derived', k.derived),
      'geometry', ST_AsGeoJSON(k.geom, 6, 0)::jsonb)) FROM kept k), '[]'::jsonb))::text
""")

_TOWN = text("SELECT 1 FROM area WHERE district_code = :d AND code = :town AND level = 'town'")


def towns(session: Session) -> bytes:
    """Return the towns of the actor's district as a GeoJSON FeatureCollection, simplified to about 10 m.

    Features carry `code` and `name`; the collection carries `bbox`, `district` and `fictional`. Reads only.
    """
    found = session.scalar(_TOWNS, {"d": actor_of(session).district, "tolerance": TOWN_TOLERANCE_DEG})
    return str(found).encode()


def cells(session: Session, town: str) -> bytes:
    """Return the cells of one town as a GeoJSON FeatureCollection, at most `MOST_CELLS`, simplified to about 1 m.

    town: 9-digit code. Features carry `code`, `kind`, `community` and `derived`; `truncated` says whether any is
    missing. Raises Invalid for what is no town code and NotFound for a town of elsewhere. Reads only.
    """
    if not (len(town) == 9 and town.isascii() and town.isdigit()):
        raise Invalid("Name a town by its code of nine digits.", field="town")
    district = actor_of(session).district
    if session.scalar(_TOWN, {"d": district, "town": town}) is None:
        raise NotFound("There is no such town in this district.")
    found = session.scalar(_CELLS, {"d": district, "town": town, "tolerance": CELL_TOLERANCE_DEG, "most": MOST_CELLS})
    return str(found).encode()


def revision(session: Session) -> int:
    """Return the counter that every load of the district's ground counts up; the key of what is drawn from it alone."""
    found = session.scalar(
        text("SELECT revision FROM district WHERE district_code = :d"), {"d": actor_of(session).district}
    )
    return int(found or 0)

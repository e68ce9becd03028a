"""Names to write on a small map: places and roads of the register inside a box. Knows no case."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from core.db import actor_of, rows
from core.errors import Invalid

#: More names than this hide one another.
MOST = 60
#: A box wider than this many degrees (some 5 km) is a district map, on which such names mean nothing.
WIDEST_DEG = 0.05

#: Of places, those with the most to remember by: estates, schools, hospitals, markets and parks before shops.
_PLACES = """
SELECT p.name, ST_X(p.geom) AS lng, ST_Y(p.geom) AS lat, FALSE AS road
FROM place p
WHERE p.district_code = :d AND p.geom && ST_MakeEnvelope(:west, :south, :east, :north, 4490)
ORDER BY (p.type IN ('科教文化服务', '医疗保健服务', '商务住宅', '风景名胜',
         '政府机构及社会团体', '交通设施服务')) DESC,
         length(p.name), p.key
LIMIT :most
"""
_ROADS = """
SELECT a.road AS name, avg(ST_X(a.geom)) AS lng, avg(ST_Y(a.geom)) AS lat, TRUE AS road
FROM address a
WHERE a.district_code = :d AND a.geom && ST_MakeEnvelope(:west, :south, :east, :north, 4490)
GROUP BY a.road ORDER BY count(*) DESC, a.road LIMIT :most
"""


@dataclass(frozen=True, slots=True)
class Label:
    """One name and where to write it; EPSG:4490."""

    name: str
    lng: float
    lat: float
    #: A road; else a place.
    road: bool


def labels(session: Session, *, west: float, south: float, east: float, north: float) -> list[Label]:
    """Return at most `MOST` names of places and a third as many roads inside a box in EPSG:4490 degrees.

    Raises Invalid for a box that is turned round or wider than `WIDEST_DEG`. Reads only; uses the GiST indexes.
    """
    if not (0 < east - west <= WIDEST_DEG and 0 < north - south <= WIDEST_DEG):
        raise Invalid("This part of the map is too large for names; go nearer.", field="bbox")
    box: dict[str, Any] = {"d": actor_of(session).district, "west": west, "south": south, "east": east, "north": north}
    found = [*rows(session, _ROADS, **box, most=MOST // 3), *rows(session, _PLACES, **box, most=MOST)]
    return [Label(**row) for row in found]

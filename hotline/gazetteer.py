"""The gazetteer of a district as its tables hold it: areas, places and addresses, read in bulk.

Points come out of the database as two numbers and polygons as WKB, never through ORM geometry (eight times slower).
"""

from collections.abc import Iterable
from datetime import date

import shapely
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.errors import NotFound
from hotline.geocode import AreaEntry, Entry, Gazetteer

_DISTRICT = text("SELECT name, city_name, ST_AsBinary(geom) FROM district WHERE district_code = :district")
_AREAS = text("""
    SELECT level, code, name, short, aliases, derived, ST_AsBinary(geom), ST_X(centre), ST_Y(centre)
    FROM area WHERE district_code = :district ORDER BY code
""")
_PLACES = text("""
    SELECT key, name, ST_X(geom), ST_Y(geom), coalesce(town_code, ''), community_code, address, type_path
    FROM place WHERE district_code = :district ORDER BY key
""")
_ALIASES = text("""
    SELECT a.name, coalesce(p.key, ''), ST_X(a.geom), ST_Y(a.geom)
    FROM alias a LEFT JOIN place p ON p.district_code = a.district_code AND p.key = a.place_key
    WHERE a.district_code = :district AND a.state = 'confirmed'
      AND (CAST(:day AS date) IS NULL OR (a.valid_from <= :day AND coalesce(a.valid_to, :day) >= :day))
    ORDER BY a.decided_at
""")
_ADDRESSES = text("""
    SELECT name, ST_X(geom), ST_Y(geom), coalesce(town_code, ''), community_code, road, house_no
    FROM address WHERE district_code = :district ORDER BY key
""")


def load_gazetteer(
    session: Session, district: str, *, outside: Iterable[str] = (), day: date | None = None
) -> Gazetteer:
    """Return the gazetteer of a district from the database; reads only, seconds for 200,000 names.

    outside: names of districts, cities and provinces elsewhere, which mean that a matter is not here.
    day: confirmed other names count if they hold on it; every one without it.
    Raises NotFound for a district that is not loaded.
    """
    bound = {"district": district}
    head = session.execute(_DISTRICT, bound).one_or_none()
    if head is None:
        raise NotFound("The district {code} is not loaded.", code=district)
    name, city, outline = head
    areas = [
        AreaEntry(
            level=level,
            code=code,
            name=full,
            aliases=tuple({short, *aliases} - {""}),
            polygon=shapely.from_wkb(bytes(shape)) if shape is not None else None,
            lng=lng,
            lat=lat,
        )
        for level, code, full, short, aliases, _derived, shape, lng, lat in session.execute(_AREAS, bound)
    ]
    others: dict[str, list[str]] = {}
    entries = []
    for other, key, x, y in session.execute(_ALIASES, {**bound, "day": day}):
        if key:
            others.setdefault(key, []).append(other)
        else:
            # Names of a point, and of places that left the register, stand for themselves.
            entries.append(Entry(kind="place", name=other, lng=x, lat=y, aliases=(other,)))
    entries += [
        Entry(
            kind="place",
            name=name_,
            lng=x,
            lat=y,
            town_code=town,
            community_code=part,
            address=address,
            category=path,
            aliases=tuple(others.get(key, ())),
        )
        for key, name_, x, y, town, part, address, path in session.execute(_PLACES, bound)
    ]
    entries += [
        Entry(kind="address", name=name_, lng=x, lat=y, town_code=town, community_code=part, road=road, house_no=number)
        for name_, x, y, town, part, road, number in session.execute(_ADDRESSES, bound)
    ]
    boundary = shapely.from_wkb(bytes(outline)) if outline is not None else None
    return Gazetteer(entries, areas, district=name, city=city, boundary=boundary, outside=outside)

"""The open cases in a piece of the map, as the list beside it: what a person without mouse or picture works with.

Knows the same cases as the tiles, by the same scope, and the same filters as the page puts into its address.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.actor import Role
from core.db import actor_of
from core.errors import Forbidden, Invalid
from maps.tiles import VIEWERS

#: West, south, east, north in degrees, EPSG:4490.
Box = tuple[float, float, float, float]
#: The whole country: what is looked at while no map says otherwise.
EVERYWHERE: Box = (72.0, 0.8, 138.0, 56.0)
#: Lines that a list holds; the count says how many there are.
MOST_LINES = 60


@dataclass(frozen=True, slots=True)
class Looking:
    """What a person looks at; every empty member shows all."""

    box: Box = EVERYWHERE
    #: 9-digit code.
    town: str = ""
    #: Code of a category; its subtree is meant.
    category: str = ""
    state: str = ""
    #: 0 green, 1 half gone, 2 nearly due, 3 overdue.
    colour: int | None = None
    #: Taken in since, aware.
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One case of the list."""

    number: str
    state: str
    #: Title, else the first 60 characters of the text: the reporter's words, to be escaped.
    title: str
    category_code: str
    category_name: str
    town_name: str
    place_name: str
    due_at: datetime | None
    colour: int
    #: EPSG:4490.
    lng: float
    lat: float


@dataclass(frozen=True, slots=True)
class Shown:
    """The cases in view."""

    #: The most pressing first, at most `MOST_LINES`.
    lines: tuple[Line, ...]
    #: All that match, by colour 0 to 3.
    by_colour: Mapping[int, int]
    #: Open cases of the actor's scope that match but have no place: they are on no map.
    unplaced: int

    @property
    def total(self) -> int:
        """How many match and have a place in view."""
        return sum(self.by_colour.values())


_MATCHES = """
  k.district_code = :d AND k.open
  AND (:town = '' OR k.town_code = :town)
  AND (:category = '' OR starts_with(k.category_code, :category))
  AND (:state = '' OR k.state = :state)
  AND (CAST(:since AS timestamptz) IS NULL OR k.received_at >= :since)
  AND (CAST(:colour AS int) IS NULL OR greatest(k.warned, (k.due_at <= :at)::int * 3) = :colour)
"""
_SHOWN = text(f"""
WITH k AS MATERIALIZED (
  SELECT k.number, k.state, k.title, k.text, k.category_code, k.town_code, k.place_name, k.due_at,
         greatest(k.warned, (k.due_at <= :at)::int * 3) AS colour, k.geom
  FROM cases k
  WHERE k.geom && ST_MakeEnvelope(:west, :south, :east, :north, 4490) AND {_MATCHES}
), n AS MATERIALIZED (
  SELECT count(*) FILTER (WHERE k.colour = 0) AS n0, count(*) FILTER (WHERE k.colour = 1) AS n1,
         count(*) FILTER (WHERE k.colour = 2) AS n2, count(*) FILTER (WHERE k.colour = 3) AS n3 FROM k
), f AS MATERIALIZED (SELECT * FROM k ORDER BY k.colour DESC, k.due_at NULLS LAST, k.number LIMIT :most)
SELECT n.n0, n.n1, n.n2, n.n3, f.number, f.state, coalesce(nullif(f.title, ''), left(f.text, 60)) AS title,
       coalesce(f.category_code, '') AS category_code, coalesce(c.name, '') AS category_name,
       coalesce(a.short, '') AS town_name, f.place_name, f.due_at, f.colour, ST_X(f.geom) AS lng, ST_Y(f.geom) AS lat
FROM n LEFT JOIN f ON true
LEFT JOIN category c ON c.district_code = :d AND c.code = f.category_code
LEFT JOIN area a ON a.district_code = :d AND a.code = f.town_code
ORDER BY f.colour DESC, f.due_at NULLS LAST, f.number
""")  # noqa: S608  made of this module's constants
_UNPLACED = text(f"SELECT count(*) FROM cases k WHERE k.geom IS NULL AND {_MATCHES}")  # noqa: S608  as above


def in_view(session: Session, looking: Looking, *, at: datetime) -> Shown:
    """Return the open cases in view that the session's actor may see, the most pressing first, and their counts.

    at: aware; decides what is overdue. Raises Forbidden for roles that look at no map and Invalid for a box that is
    none. Reads only.
    """
    actor = actor_of(session)
    if actor.role not in VIEWERS and actor.role is not Role.SYSTEM:
        raise Forbidden("Your role may not see this layer of the map.")
    west, south, east, north = looking.box
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise Invalid("The piece of the map must be west, south, east, north in degrees.", field="box")
    bound = {
        "d": actor.district,
        "at": at,
        "town": looking.town,
        "category": looking.category,
        "state": looking.state,
        "colour": looking.colour,
        "since": looking.since,
    }
    box = {"west": west, "south": south, "east": east, "north": north, "most": MOST_LINES}
    found = session.execute(_SHOWN, bound | box).all()
    first = found[0]
    lines = tuple(
        Line(
            number=row.number,
            state=row.state,
            title=row.title,
            category_code=row.category_code,
            category_name=row.category_name,
            town_name=row.town_name,
            place_name=row.place_name,
            due_at=row.due_at,
            colour=row.colour,
            lng=row.lng,
            lat=row.lat,
        )
        for row in found
        if row.number is not None
    )
    return Shown(
        lines=lines,
        by_colour={0: first.n0, 1: first.n1, 2: first.n2, 3: first.n3},
        unplaced=int(session.scalar(_UNPLACED, bound) or 0),
    )

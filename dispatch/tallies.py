"""Kept counts 汇总: cases by day, cell and category, and on rasters for heat maps; complete whenever the relay is idle.

Tiles and figures over years of cases read these instead of the cases. It knows how a case's events change a count and
how to count everything anew; it does not know when either is done: the relay calls `roll`, the nightly run `rebuild`.

What the writers of cases put into the outbox. `lng` and `lat` are the stored point exactly (EPSG:4490, unrounded) or
null; `cell` and `category` are codes or null; `day` is the day of intake in Asia/Shanghai, ISO, and never changes:

    case.opened    {"lng", "lat", "cell", "category", "day"}
    case.moved     {"old": {the same five}, "new": {the same five}, "closed": true only if the case is not open}
    case.closed    {"cell", "category", "day"}   the case leaves the open ones: closed, refused, withdrawn, handed over
    case.reopened  {"cell", "category", "day"}   and comes back
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import orjson
from sqlalchemy import SmallInteger, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from core.actor import Role
from core.db import Base, actor_of
from core.errors import Forbidden, Invalid

#: Topics of the outbox that change a count.
TOPICS = frozenset({"case.opened", "case.moved", "case.closed", "case.reopened"})
#: Rasters that are kept: a pixel is one web-mercator tile of that zoom, about 2.2 km, 280 m and 35 m wide in Guangdong.
ZOOMS = (14, 17, 20)


class Tally(Base):
    """Kept counts of cases by day, cell and category; fed by the relay, complete when it is idle."""

    __tablename__ = "tally"

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: Day of intake in Asia/Shanghai.
    day: Mapped[date] = mapped_column(primary_key=True)
    #: Empty string where the case has no place.
    cell_code: Mapped[str] = mapped_column(primary_key=True)
    category_code: Mapped[str] = mapped_column(primary_key=True)
    opened: Mapped[int]
    closed: Mapped[int]


class Heat(Base):
    """Kept counts of placed cases on web-mercator rasters, for heat tiles; each zoom sums to all placed cases."""

    __tablename__ = "heat"

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: Zoom level of the raster: one pixel is one tile of that zoom.
    zoom: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    x: Mapped[int] = mapped_column(primary_key=True)
    y: Mapped[int] = mapped_column(primary_key=True)
    cases: Mapped[int]


#: One line per change of a count, from rows `g(topic, payload)`. The only place that says what an event counts.
_EFFECTS = """
  SELECT (e.at->>'lng')::float8 AS lng, (e.at->>'lat')::float8 AS lat, coalesce(e.at->>'cell', '') AS cell_code,
         coalesce(e.at->>'category', '') AS category_code, (e.at->>'day')::date AS day, e.opened, e.closed
  FROM g CROSS JOIN LATERAL (VALUES
    ('case.opened', g.payload, 1, 0),
    ('case.moved', g.payload->'old', -1, -coalesce((g.payload->>'closed')::boolean, false)::int),
    ('case.moved', g.payload->'new', 1, coalesce((g.payload->>'closed')::boolean, false)::int),
    ('case.closed', g.payload, 0, 1),
    ('case.reopened', g.payload, 0, -1)
  ) AS e(topic, at, opened, closed)
  WHERE e.topic = g.topic
"""

#: The pixel at the finest raster; coarser ones are its bits shifted away, so that the three always agree.
_PIXELS = f"""
  SELECT :d AS district_code, z.zoom, p.x >> ({ZOOMS[-1]} - z.zoom) AS x, p.y >> ({ZOOMS[-1]} - z.zoom) AS y,
         sum(p.opened) AS cases
  FROM (
    SELECT floor((s.lng + 180) / 360 * {2 ** ZOOMS[-1]})::int AS x,
           floor((1 - asinh(tan(radians(s.lat))) / pi()) / 2 * {2 ** ZOOMS[-1]})::int AS y, s.opened
    FROM s WHERE s.lng IS NOT NULL AND s.opened <> 0
  ) p CROSS JOIN (VALUES {", ".join(f"({zoom})" for zoom in ZOOMS)}) AS z(zoom)
  GROUP BY 2, 3, 4 HAVING sum(p.opened) <> 0
  ORDER BY 2, 3, 4
"""  # noqa: S608  made of this module's constants
_DAYS = """
  SELECT :d AS district_code, s.day, s.cell_code, s.category_code, sum(s.opened) AS opened, sum(s.closed) AS closed
  FROM s GROUP BY 2, 3, 4 HAVING sum(s.opened) <> 0 OR sum(s.closed) <> 0
  ORDER BY 2, 3, 4
"""
_INTO_HEAT = "INSERT INTO heat (district_code, zoom, x, y, cases)"
_INTO_TALLY = "INSERT INTO tally (district_code, day, cell_code, category_code, opened, closed)"
_ADD_HEAT = (
    " ON CONFLICT (district_code, zoom, x, y) DO UPDATE SET cases = heat.cases + excluded.cases"
    " WHERE heat.district_code = :d"
)
_ADD_TALLY = (
    " ON CONFLICT (district_code, day, cell_code, category_code)"
    " DO UPDATE SET opened = tally.opened + excluded.opened, closed = tally.closed + excluded.closed"
    " WHERE tally.district_code = :d"
)

_GIVEN = f"""
WITH g AS MATERIALIZED (
  SELECT r.topic, r.payload FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(topic text, payload jsonb)
), s AS MATERIALIZED ({_EFFECTS})
"""  # noqa: S608  made of this module's constants
#: All cases as they are now, less what waits in the outbox: the relay will still add that.
_TRUTH = f"""
WITH g AS MATERIALIZED (
  SELECT o.topic, o.payload FROM outbox o
  WHERE o.district_code = :d AND o.delivered_at IS NULL AND o.topic = ANY (:topics)
), waiting AS MATERIALIZED ({_EFFECTS}), s AS MATERIALIZED (
  SELECT ST_X(c.geom) AS lng, ST_Y(c.geom) AS lat, coalesce(c.cell_code, '') AS cell_code,
         coalesce(c.category_code, '') AS category_code, (c.received_at AT TIME ZONE 'Asia/Shanghai')::date AS day,
         1 AS opened, (NOT c.open)::int AS closed
  FROM cases c WHERE c.district_code = :d
  UNION ALL
  SELECT w.lng, w.lat, w.cell_code, w.category_code, w.day, -w.opened, -w.closed FROM waiting w
)
"""  # noqa: S608  made of this module's constants
_ROLL = (text(_GIVEN + _INTO_HEAT + _PIXELS + _ADD_HEAT), text(_GIVEN + _INTO_TALLY + _DAYS + _ADD_TALLY))
_REBUILD = (
    text("DELETE FROM heat WHERE district_code = :d"),
    text(_TRUTH + _INTO_HEAT + _PIXELS),
    text("DELETE FROM tally WHERE district_code = :d"),
    text(_TRUTH + _INTO_TALLY + _DAYS),
)


def roll(session: Session, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
    """Add outbox rows, as `(topic, payload)`, to the kept counts; return how many counted.

    Call it in the very transaction that marks the rows delivered: that makes each count exactly once. Topics that are
    not in `TOPICS` are passed over. Writes; the caller commits. Counts are locked in one order, so that two relays wait
    for each other rather than deadlock. Raises Invalid for a payload that cannot be counted, before anything is
    written, and Forbidden for anybody but the program.
    """
    district = _program_of(session)
    counted = [{"topic": topic, "payload": _checked(topic, payload)} for topic, payload in rows if topic in TOPICS]
    if counted:
        given = orjson.dumps(counted).decode()
        for statement in _ROLL:
            session.execute(statement, {"d": district, "rows": given})
    return len(counted)


def rebuild(session: Session) -> None:
    """Count everything anew from the cases, for the repair and the nightly run; readers see old or new counts whole.

    Relays wait until it is committed. What still waits in the outbox is left out, because it will be added on delivery.
    Writes; the caller commits. Raises Forbidden for anybody but the program.
    """
    district = _program_of(session)
    session.execute(text("LOCK TABLE heat, tally IN SHARE ROW EXCLUSIVE MODE"))
    for statement in _REBUILD:
        session.execute(statement, {"d": district, "topics": sorted(TOPICS)})


def _program_of(session: Session) -> str:
    actor = actor_of(session)
    # Any other role sees some cases only, and would count those.
    if actor.role is not Role.SYSTEM:
        raise Forbidden("Only the program itself keeps counts.")
    return actor.district


def _checked(topic: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
    places = (payload.get("old"), payload.get("new")) if topic == "case.moved" else (payload,)
    for place in places:
        if not isinstance(place, Mapping):
            raise Invalid("The event {topic} cannot be counted: it names no place.", topic=topic)
        lng, lat = place.get("lng"), place.get("lat")
        if (lng is None) is not (lat is None) or not all(isinstance(n, int | float | None) for n in (lng, lat)):
            raise Invalid("The event {topic} cannot be counted: its point is broken.", topic=topic)
        try:
            date.fromisoformat(str(place.get("day")))
        except ValueError as error:
            raise Invalid("The event {topic} cannot be counted: it names no day.", topic=topic) from error
    return payload

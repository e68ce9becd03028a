"""Growth from 10^5 to 10^6 cases: what people do every minute must not grow slower with the years of history.

`python -m bench growth`. The same district holds first a tenth of the cases, then all; 20,000 are open both times, as in
a district whose backlog is stable while its history grows. p50 may grow by half, p99 double.
"""

import statistics
import time
from collections.abc import Callable

import psycopg

from bench import scene
from bench.rows import Row
from core.actor import Actor, Role, citizen, system
from core.db import snapshot, transaction
from core.settings import settings

_OPEN = 20_000
_FILL = """
INSERT INTO cases (district_code, id, number, process, process_version, state, version, open, kind, channel, urgency,
  text, category_code, category_confidence, place_name, place_by, place_confidence, radius_m, geom, source_datum,
  town_code, community_code, cell_code, unit_code, unit_codes, reported_at, received_at, due_at, due_clock, warned,
  closed_at, suggestions, entries, head_hash)
SELECT %(d)s,
  (lpad(to_hex((extract(epoch FROM t) * 1000)::bigint), 12, '0') || '7' || substr(md5(i::text), 1, 3) || 'a'
   || substr(md5(i::text), 4, 15))::uuid,
  to_char(t, 'YYYYMMDD') || 'B' || lpad(i::text, 9, '0'), 'complaint', 1,
  CASE WHEN o THEN (ARRAY['received', 'dispatched', 'signed', 'replied'])[1 + i %% 4] ELSE 'closed' END, 1, o,
  'complaint', 'web', 'ordinary', '虚构的诉求：路灯不亮已经三天，晚上走路很不方便。' || i, c.category, 0.9, '', 'geocoder', 0.9, 50,
  ST_SetSRID(ST_MakePoint(ST_XMin(g.geom) + random() * (ST_XMax(g.geom) - ST_XMin(g.geom)),
    ST_YMin(g.geom) + random() * (ST_YMax(g.geom) - ST_YMin(g.geom))), 4490), 'CGCS2000',
  g.town_code, g.community_code, g.code, u.code, ARRAY[u.code], t, t,
  CASE WHEN o THEN t + interval '5 days' END, CASE WHEN o THEN 'reply' END, CASE WHEN o THEN (i %% 4)::smallint ELSE 0 END,
  CASE WHEN o THEN NULL ELSE t + interval '4 days' END, '{}', 5, '\\x00'
FROM (SELECT i, i > %(to)s::int - %(open)s::int AS o, %(at)s::timestamptz - (%(to)s::int - i) * interval '20 seconds' AS t
      FROM generate_series(%(from)s::int, %(to)s::int) AS i) AS n
JOIN (SELECT row_number() OVER (ORDER BY code) - 1 AS k, * FROM cell) AS g ON g.k = n.i %% (SELECT count(*) FROM cell)
JOIN (SELECT row_number() OVER (ORDER BY code) - 1 AS k, code FROM unit) AS u ON u.k = n.i %% (SELECT count(*) FROM unit)
JOIN (SELECT row_number() OVER (ORDER BY code) - 1 AS k, code AS category FROM category) AS c
  ON c.k = n.i %% (SELECT count(*) FROM category)
"""


def fill(district: str, first: int, last: int, *, open_cases: int = _OPEN) -> None:
    """Write the history up to `last` cases; those that were open before are closed."""
    with psycopg.connect(scene.psql_url(settings().owner_url), autocommit=True) as link:
        link.execute("UPDATE cases SET open = false, state = 'closed', due_at = NULL, due_clock = NULL WHERE open")
        link.execute("SET synchronous_commit = off")
        link.execute(_FILL, {"d": district, "from": first, "to": last, "open": open_cases, "at": scene.AT})
        link.execute("VACUUM ANALYZE cases")


def timed(call: Callable[[], object], times: int) -> tuple[float, float]:
    """Return p50 and p99 in milliseconds."""
    took = []
    for _ in range(times + 5):
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1000)
    took = sorted(took[5:])
    return statistics.median(took), took[int(len(took) * 0.99) - 1]


def works(district: str, numbers: list[str]) -> dict[str, Callable[[], object]]:
    """Return what people do every minute."""
    from itertools import cycle

    from api import wiring
    from dispatch import views
    from hotline.intake import Report
    from maps.tiles import draw

    intake, operator = wiring.intake(), Actor(None, "基准", Role.OPERATOR, district)
    unit = Actor(None, "基准", Role.UNIT, district, unit=next(iter(intake.book.units)))
    number = cycle(numbers)
    with snapshot(system(district, "bench")) as session:
        lng, lat = (
            session.connection()
            .exec_driver_sql(
                "SELECT ST_X(ST_PointOnSurface(geom)), ST_Y(ST_PointOnSurface(geom)) FROM cell ORDER BY code LIMIT 1"
            )
            .one()
        )
    tile = _tile(14, lng, lat)

    def read(who: Actor, what: Callable[..., object]) -> Callable[[], object]:
        def go() -> object:
            with snapshot(who) as session:
                return what(session)

        return go

    at = scene.AT
    return {
        "intake": lambda: intake.receive(
            Report(channel="web", text="云河区路灯不亮", reported_at=wiring.now()),
            actor=citizen(district),
            at=wiring.now(),
        ),
        "worklist of the desk": read(operator, lambda s: views.worklist(s, views.Filter(box="waiting"), at=at)),
        "worklist of a unit": read(
            unit, lambda s: views.worklist(s, views.Filter(box="running", unit=unit.unit), at=at)
        ),
        "case by number": read(operator, lambda s: views.find_number(s, next(number))),
        "open cases on the map": read(operator, lambda s: draw(s, "cases", tile, at=at)),
        "counters": read(operator, lambda s: views.counts(s, at=at, soon=at)),
        "heat tile": read(operator, lambda s: draw(s, "heat", tile, at=at)),
    }


def _tile(z: int, lng: float, lat: float) -> object:
    from math import asinh, pi, radians, tan

    from maps.tiles import Tile

    return Tile(z, int((lng + 180) / 360 * 2**z), int((1 - asinh(tan(radians(lat))) / pi) / 2 * 2**z))


def run(quick: bool) -> list[Row]:  # noqa: FBT001  the signature of every bench
    from api import wiring
    from dispatch import tallies

    small, large, times = (20_000, 200_000, 60) if quick else (100_000, 1_000_000, 200)
    found: dict[str, list[tuple[float, float]]] = {}
    with scene.district("growth", households=20_000):
        district, before = wiring.district(), 0
        for size in (small, large):
            fill(district, before + 1, size)
            before = size
            with transaction(system(district, "bench")) as session:
                tallies.rebuild(session)
                numbers = list(
                    session.connection()
                    .exec_driver_sql("SELECT number FROM cases TABLESAMPLE SYSTEM (1) LIMIT 500")
                    .scalars()
                )
            for name, call in works(district, numbers).items():
                found.setdefault(name, []).append(timed(call, times))
    rows = []
    for name, ((p50, p99), (later50, later99)) in found.items():
        goal = "p50 ≤ 1.5 ×, p99 ≤ 2 ×"
        note = f"p99 {p99:.1f} → {later99:.1f} ms ({later99 / p99:.2f} ×)"
        rows.append(Row(f"growth {small:,} → {large:,}: {name}", later50, p50, "ms, p50", later50 / p50, goal, note))
    return rows

"""A page of a unit's worklist among a million cases, a hundred thousand of them open; and of the boxes of side roads.

`python -m bench worklist`. Measured as people get it: the query of `dispatch.views` under the row policies, through the
ORM, beside the bare index scan that fetches as many rows of one unit in order of time left, as the tables' owner.
"""

import itertools
import statistics
import time
from collections.abc import Callable
from functools import partial

import psycopg
from sqlalchemy import Engine, event

from bench import growth, scene
from bench.rows import Row
from core import db
from core.actor import Actor, Role
from core.settings import settings
from dispatch import views

_OPEN_SHARE = 10
_BARE = "SELECT * FROM cases WHERE district_code = %s AND open AND unit_code = %s AND state = ANY (%s) ORDER BY due_at LIMIT 50"
_BOXES = ("running", "inhand", "answered", "resting", "supervised", "pleas", "complex", "shares", "ended", "all")
#: Every so many open cases one is supervised, one waits for a plea, one has a unit that assists.
_ROADS = (
    # The history ties state to unit by its running number.
    (
        "UPDATE cases SET state = (ARRAY['received', 'dispatched', 'signed', 'replied'])[1 + abs(hashtext(number)) / 7 % 4] "
        "WHERE open"
    ),
    "UPDATE cases SET supervised = true WHERE open AND hashtext(number) % 43 = 0",
    "UPDATE cases SET plea = 'extension' WHERE open AND state = 'signed' AND hashtext(number) % 31 = 0",
    (
        "INSERT INTO assignment (district_code, id, case_id, unit_code, share, state, why, created_at) "
        "SELECT c.district_code, gen_random_uuid(), c.id, c.unit_code, 'lead', 'signed', '{}', c.received_at "
        "FROM cases AS c WHERE c.open AND c.state IN ('dispatched', 'signed')"
    ),
    (
        "INSERT INTO assignment (district_code, id, case_id, unit_code, share, state, why, created_at, ended_at) "
        "SELECT c.district_code, gen_random_uuid(), c.id, c.unit_code, 'lead', 'done', '{}', "
        "c.received_at + interval '1 hour', c.closed_at "
        "FROM cases AS c WHERE NOT (c.open AND c.state IN ('dispatched', 'signed'))"
    ),
    (
        "INSERT INTO assignment (district_code, id, case_id, unit_code, share, state, why, task, created_at) "
        "SELECT c.district_code, gen_random_uuid(), c.id, %(u)s::text, 'assist', 'sent', '{}', '虚构的任务', c.received_at "
        "FROM cases AS c WHERE c.open AND c.state IN ('dispatched', 'signed') AND hashtext(c.number) %% 20 = 0 "
        "AND c.unit_code <> %(u)s::text"
    ),
    (
        "UPDATE cases SET unit_codes = unit_codes || %(u)s::varchar WHERE id IN (SELECT case_id FROM assignment "
        "WHERE share = 'assist') AND NOT unit_codes @> ARRAY[%(u)s::varchar]"
    ),
    # Every open case has a clock, every share two of its own.
    (
        'INSERT INTO deadline (district_code, id, case_id, clock, unit_code, "limit", started_at, due_at, provisional, '
        "half_at, near_at) SELECT c.district_code, gen_random_uuid(), c.id, 'reply', c.unit_code, '5wd', c.received_at, "
        "c.due_at, false, c.due_at, c.due_at FROM cases AS c WHERE c.open"
    ),
    (
        'INSERT INTO deadline (district_code, id, case_id, clock, unit_code, "limit", started_at, due_at, provisional, '
        "half_at, near_at, assignment_id) SELECT c.district_code, gen_random_uuid(), c.id, k.clock, a.unit_code, k.most, "
        "c.received_at, c.received_at + k.span, false, c.due_at, c.due_at, a.id "
        "FROM assignment AS a JOIN cases AS c ON c.id = a.case_id, (VALUES ('share_sign', '4wh', interval '4 hours'), "
        "('share_reply', '3wd', interval '3 days')) AS k (clock, most, span) WHERE a.share = 'assist'"
    ),
    "VACUUM ANALYZE cases",
    "VACUUM ANALYZE deadline",
    "VACUUM ANALYZE assignment",
)


class Watch:
    """Sums the time that the database takes to answer, statement by statement."""

    def __init__(self, engine: Engine) -> None:
        self.spent = 0.0
        self._began = 0.0
        event.listen(engine, "before_cursor_execute", self._before)
        event.listen(engine, "after_cursor_execute", self._after)

    def _before(self, *_: object) -> None:
        self._began = time.perf_counter()

    def _after(self, *_: object) -> None:
        self.spent += time.perf_counter() - self._began


def percentiles(call: Callable[[], float], times: int) -> tuple[float, float]:
    """Return p50 and p95 of what a call returns."""
    took = sorted([call() for _ in range(times + 10)][10:])
    return took[len(took) // 2], took[int(len(took) * 0.95) - 1]


def run(quick: bool) -> list[Row]:  # noqa: FBT001  the signature of every bench
    from api import wiring

    many, times = (100_000, 40) if quick else (1_000_000, 200)
    rows = []
    with scene.district("worklist", households=20_000):
        district, book = wiring.district(), wiring.rulebook()
        growth.fill(district, 1, many, open_cases=many // _OPEN_SHARE)
        codes = sorted(book.units)
        units, watch = itertools.cycle(codes), Watch(db.engine(replica=True))
        with psycopg.connect(scene.psql_url(settings().owner_url), autocommit=True) as link:
            for statement in _ROADS:
                link.execute(statement, {"u": codes[0]} if "%(u)s" in statement else None)

            def page(box: str) -> float:
                # Shares are of one unit only, that everybody asked.
                code, watch.spent = codes[0] if box == "shares" else next(units), 0.0
                with db.snapshot(Actor(None, "基准", Role.UNIT, district, unit=code)) as session:
                    asked = views.Filter(box=box, unit="" if box in ("shares", "all") else code)
                    sort = views.Sort.NEWEST if box == "all" else views.Sort.DUE
                    found = views.worklist(session, asked, at=scene.AT, sort=sort)
                shown.append(len(found.rows))
                return watch.spent * 1000

            def bare() -> float:
                began = time.perf_counter()
                link.execute(_BARE, (district, next(units), ["dispatched", "signed"])).fetchall()
                return (time.perf_counter() - began) * 1000

            _, reference = percentiles(bare, times)

            def counters() -> float:
                code, watch.spent = next(units), 0.0
                with db.snapshot(Actor(None, "基准", Role.UNIT, district, unit=code)) as session:
                    shown.append(views.counts(session, at=scene.AT, soon=scene.AT, unit=code).total)
                return watch.spent * 1000

            measured: dict[str, Callable[[], float]] = {
                f"a unit's page of the box {box}": partial(page, box) for box in _BOXES
            }
            measured["the counters above a unit's list"] = counters
            for work, call in measured.items():
                shown: list[int] = []
                p50, p95 = percentiles(call, times)
                held = "cases counted" if call is counters else "rows a page"
                note = (
                    f"p50 {p50:.1f} ms; {statistics.median(shown):.0f} {held}, {many // _OPEN_SHARE:,} of {many:,} open"
                )
                rows.append(Row(work, p95, reference, "ms in SQL, p95", p95 / reference, "p95 ≤ 20 ms", note))
    return rows

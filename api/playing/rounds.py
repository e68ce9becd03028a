"""Two patrols of the demo's grid worker and a few visits that are due 演示巡查; invented, labelled, once."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.actor import Actor, Role, system
from core.datums import distance_m
from core.db import acting_as, transaction
from dispatch.calendar import CHINA
from dispatch.rulebook import Rulebook
from grid import accounts, duties, patrols, visits
from grid.tracks import Track

#: Metres a second: a person who looks left and right.
_PACE: Final = 1.1
_LONGEST: Final = timedelta(hours=3)
#: Days ago, and which share of the streets that were left out is walked.
_RUNS: Final = ((3, 0.5), (1, 0.4))
#: Kind of visit, days until it is due, what the worker is told.
_VISITS: Final = (
    ("alone", 0, "独居老人，每周走访（演示）"),
    ("general", 2, "新搬来的住户（演示）"),
    ("general", 5, "上次未遇（演示）"),
)


@dataclass(frozen=True, slots=True)
class Walked:
    """What was made; zeros when an earlier run had."""

    runs: int = 0
    points: int = 0
    visits: int = 0


def play(book: Rulebook, *, at: datetime) -> Walked:
    """Let the `grid` account walk through its first cell and have visits before it, once; one transaction."""
    with transaction(system(book.district, "demo")) as session:
        account = accounts.by_login(session, "grid", district=book.district)
        if account is None:
            return Walked()
        worker = Actor(account.id, account.name, Role.GRID_WORKER, book.district, town=account.town_code)
        known = session.scalar(
            text("SELECT id FROM patrol_run WHERE district_code = :d AND account_id = :account LIMIT 1"),
            {"d": book.district, "account": account.id},
        )
        cells = duties.cells_of(session, account.id, at=at)[:1]
        if known is not None or not cells:
            return Walked()
        for one in _VISITS:
            visits.plan(session, _visit(cells[0], one, at), at=at)
        rules, points = patrols.Rules.of(book.settings), 0
        with acting_as(session, worker):
            for ago, share in _RUNS:
                begun = (at - timedelta(days=ago)).astimezone(CHINA).replace(hour=9, minute=5)
                found = patrols.plan(session, cells, at=at, rules=rules)
                streets = [np.array(spots) for planned in found for _, _, spots in planned.missing if len(spots)]
                if streets:
                    points += _walk(session, cells[0], _way(streets, share), begun, rules)
        return Walked(len(_RUNS), points, len(_VISITS))


def _walk(session: Session, cell: str, way: NDArray[np.float64], begun: datetime, rules: patrols.Rules) -> int:
    """Walk a way `(n, 2)` lon lat in a run of its own; return how many positions were taken."""
    steps = distance_m(way[:-1], way[1:]) if len(way) > 1 else np.empty(0)
    at_s = begun.timestamp() + 60 + np.concatenate(([0.0], np.cumsum(steps) / _PACE))
    inside = at_s < (begun + _LONGEST).timestamp()
    track = Track(way[inside], np.full(int(inside.sum()), 8.0), at_s[inside], np.zeros(int(inside.sum()), dtype=bool))
    over = datetime.fromtimestamp(float(track.at_s[-1]) + 60, CHINA)
    run = uuid.uuid4()
    patrols.start(session, run, cell=cell, happened_at=begun, at=over)
    patrols.check_in(
        session, uuid.uuid4(), run, track.of(slice(0, 1)), what="cell", words="（演示）", rules=rules, at=over
    )
    taken = patrols.add(session, run, uuid.uuid4(), track, rules=rules, at=over).taken
    patrols.stop(session, run, happened_at=over)
    return taken


def _way(streets: Sequence[NDArray[np.float64]], share: float) -> NDArray[np.float64]:
    """Return the spots of a share of the streets one behind the other, always on to the nearest end."""
    left = list(streets)
    way = [left.pop(0)]
    while left and len(way) < round(len(streets) * share):
        here = way[-1][-1:]
        ends = [min(float(distance_m(here, one[:1])[0]), float(distance_m(here, one[-1:])[0])) for one in left]
        nearest = left.pop(int(np.argmin(ends)))
        back = distance_m(here, nearest[-1:])[0] < distance_m(here, nearest[:1])[0]
        way.append(nearest[::-1] if back else nearest)
    return np.concatenate(way)


def _visit(cell: str, told: tuple[str, int, str], at: datetime) -> visits.Plan:
    kind, days, hint = told
    return visits.Plan(cell, kind, (at + timedelta(days=days)).date(), place="网格内住户（演示）", hint=hint)

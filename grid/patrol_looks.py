"""Tracks as people look at them 查看轨迹: a worker at the own ones, a supervisor with a reason; and their erasure.

`grid.patrols` takes tracks in. Row policies let a worker see the own tracks and a supervisor those of the own scope;
the line of who looked is written in the same transaction as the look.
"""

import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.actor import Role
from core.db import actor_of, rows
from core.errors import Forbidden, Invalid, NotFound
from core.ids import new_id
from grid.patrols import KEEP_COVER, Rules

_CHINA: Final = ZoneInfo("Asia/Shanghai")
_MOST = 200


@dataclass(frozen=True, slots=True)
class Walk:
    """One run with its track, as far as it is not erased yet."""

    id: uuid.UUID
    account_id: uuid.UUID
    name: str
    cell: str
    started_at: datetime
    stopped_at: datetime | None
    #: Positions before thinning.
    points: int
    length_m: float
    #: Pieces in order, each `[[lng, lat], …]`, WGS84; empty once erased.
    pieces: list[list[list[float]]]


@dataclass(frozen=True, slots=True)
class Said:
    """A remark about positions, in neutral words."""

    id: uuid.UUID
    name: str
    run: uuid.UUID | None
    case_id: uuid.UUID | None
    #: English msgid and what fills it.
    message: str
    params: dict[str, Any]
    happened_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Look:
    """Somebody looked at a track."""

    run: uuid.UUID
    started_at: datetime
    name: str
    reason: str
    at: datetime


def own_walks(session: Session, day: date) -> list[Walk]:
    """Return the acting worker's own runs that began on a day in China, with their tracks. Reads only."""
    actor = actor_of(session)
    found = rows(
        session,
        f"{_RUNS} AND r.account_id = :account AND r.started_at >= :begin AND r.started_at < :end"
        " ORDER BY r.started_at LIMIT :most",
        d=actor.district,
        account=actor.id,
        begin=datetime(day.year, day.month, day.day, tzinfo=_CHINA),
        end=datetime(day.year, day.month, day.day, tzinfo=_CHINA) + timedelta(days=1),
        most=_MOST,
    )
    return [_walk(session, row) for row in found]


def look(session: Session, run: uuid.UUID, *, reason: str, at: datetime) -> Walk:
    """Return the track of somebody's run for a supervisor, who says why; the worker sees who looked.

    Writes the line; caller commits. Raises Forbidden for another role, Invalid without a reason, NotFound.
    """
    actor = actor_of(session)
    if actor.role is not Role.SUPERVISOR or actor.id is None:
        raise Forbidden("Only supervision may look at somebody's track.")
    if len(reason.strip()) < 4:
        raise Invalid("Say why you look at this track; the worker sees it.", field="reason")
    found = rows(session, f"{_RUNS} AND r.id = :run", d=actor.district, run=run)
    if not found:
        raise NotFound("There is no such patrol.")
    session.execute(
        text(
            "INSERT INTO patrol_look (district_code, id, run_id, account_id, town_code, looked_by, looked_name, reason,"
            " looked_at) VALUES (:d, :id, :run, :account, :town, :by, :name, :reason, :at)"
        ),
        {
            "d": actor.district,
            "id": new_id(),
            "run": run,
            "account": found[0]["account_id"],
            "town": found[0]["town_code"],
            "by": actor.id,
            "name": actor.name,
            "reason": reason.strip()[:500],
            "at": at,
        },
    )
    return _walk(session, found[0])


def looks_at(session: Session, account_id: uuid.UUID) -> list[Look]:
    """Return who looked at a worker's tracks, newest first; for the worker and for supervision. Reads only."""
    found = rows(
        session,
        "SELECT l.run_id AS run, r.started_at, l.looked_name AS name, l.reason, l.looked_at AS at FROM patrol_look l"
        " JOIN patrol_run r ON r.district_code = l.district_code AND r.id = l.run_id"
        " WHERE l.district_code = :d AND l.account_id = :account ORDER BY l.looked_at DESC LIMIT :most",
        d=actor_of(session).district,
        account=account_id,
        most=_MOST,
    )
    return [Look(**row) for row in found]


def remarks_of(session: Session, *, since: datetime, until: datetime) -> list[Said]:
    """Return what was remarked about positions in a span, newest first, at most 200; of the own scope. Reads only."""
    found = rows(
        session,
        "SELECT n.id, n.account_name AS name, n.run_id AS run, n.case_id, n.message, n.params, n.happened_at,"
        " n.recorded_at FROM patrol_note n WHERE n.district_code = :d AND n.recorded_at >= :since"
        " AND n.recorded_at < :until ORDER BY n.recorded_at DESC LIMIT :most",
        d=actor_of(session).district,
        since=since,
        until=until,
        most=_MOST,
    )
    return [Said(**row) for row in found]


def erase(session: Session, *, rules: Rules, at: datetime) -> int:
    """Erase tracks, positions of check-ins and remarks older than the district keeps them; return how many pieces.

    Ends runs that nobody stopped. Who patrolled when, and what was passed by nobody in particular, stays. Writes, as
    the program; caller commits.
    """
    here = {"d": actor_of(session).district}
    before = at - timedelta(days=rules.track_days)
    session.execute(
        text(
            "UPDATE patrol_run SET stopped_at = started_at + make_interval(mins => :minutes)"
            " WHERE district_code = :d AND stopped_at IS NULL AND started_at < :late"
        ),
        {**here, "minutes": round(rules.run_hours * 60), "late": at - timedelta(hours=rules.run_hours)},
    )
    gone = session.execute(
        text("DELETE FROM patrol_piece WHERE district_code = :d AND to_at < :before RETURNING 1"),
        {**here, "before": before},
    ).all()
    session.execute(
        text(
            "UPDATE patrol_checkin SET lng = NULL, lat = NULL, accuracy_m = NULL"
            " WHERE district_code = :d AND happened_at < :before AND lng IS NOT NULL"
        ),
        {**here, "before": before},
    )
    session.execute(
        text("DELETE FROM patrol_note WHERE district_code = :d AND recorded_at < :before"), {**here, "before": before}
    )
    session.execute(
        text("DELETE FROM patrol_cover WHERE district_code = :d AND day < :day"),
        {**here, "day": (at - KEEP_COVER).date()},
    )
    return len(gone)


_RUNS = (
    "SELECT r.id, r.account_id, r.account_name, r.town_code, r.cell_code, r.started_at, r.stopped_at, r.points,"
    " r.length_m FROM patrol_run r WHERE r.district_code = :d"
)


def _walk(session: Session, run: Any) -> Walk:
    pieces = rows(
        session,
        "SELECT p.lng, p.lat FROM patrol_piece p WHERE p.district_code = :d AND p.run_id = :run"
        " ORDER BY p.from_at, p.key LIMIT 500",
        d=actor_of(session).district,
        run=run["id"],
    )
    tracks = [[[x, y] for x, y in zip(piece["lng"], piece["lat"], strict=True)] for piece in pieces]
    return Walk(
        run["id"],
        run["account_id"],
        run["account_name"],
        run["cell_code"],
        run["started_at"],
        run["stopped_at"],
        run["points"],
        run["length_m"],
        tracks,
    )

"""Patrols 巡查 of grid workers: runs that they start and stop, tracks, check-ins, and what of the streets was passed.

A position is taken only inside a run that its worker started; anything else is dropped. What is passed is counted by
cell and day without a name, so that the counts outlive the tracks, which the nightly run erases. Whoever looks at
somebody else's track leaves a line that the worker sees. Knows no phone and no page.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from threading import Lock
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import shapely
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.db import actor_of, rows
from core.errors import Forbidden, Invalid, NotFound
from core.ids import new_id
from grid.lines import lines_in
from grid.spots import Spots, left_out, passed, spots_of
from grid.tracks import Remark, Track, remarks, thin

_CHINA: Final = ZoneInfo("Asia/Shanghai")
#: Counts of passed spots are kept for so long: a year and the month that compares with it.
KEEP_COVER = timedelta(days=400)
#: A clock that was corrected is never exact to the second.
_SLACK = timedelta(seconds=90)


@dataclass(frozen=True, slots=True)
class Rules:
    """*Defaults* that a district changes under `settings: {patrol: {...}}`."""

    #: Days after which tracks and the positions of check-ins are erased.
    track_days: int = 30
    #: Metres beside a street that count as on it.
    near_m: float = 25.0
    #: A cell is to be patrolled once in so many days.
    every_days: int = 1
    #: A run that nobody stops ends by itself.
    run_hours: float = 16.0

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Rules":
        """Return the rules of a district's settings; raises Invalid for what is no number in its range."""
        told, plain = settings.get("patrol") or {}, cls()
        ranges = {"track_days": (1, 365), "near_m": (5, 100), "every_days": (1, 90), "run_hours": (1, 24)}
        made: dict[str, Any] = {}
        for name, (low, high) in ranges.items():
            value = told.get(name, getattr(plain, name))
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                words = "The setting patrol.{name} must be a number from {low} to {high}."
                raise Invalid(words, name=name, low=low, high=high)
            made[name] = type(getattr(plain, name))(value)
        return cls(**made)


@dataclass(frozen=True, slots=True)
class Added:
    """What became of positions that a phone sent."""

    taken: int
    #: Outside the run that the worker started, and so not kept.
    dropped: int
    remarks: list[Remark]


@dataclass(frozen=True, slots=True)
class Covered:
    """How much of a cell was passed since a moment."""

    cell: str
    #: 0 to 1.
    share: float
    #: street or lattice (a district without road lines); empty for a cell that nobody patrolled.
    by: str
    #: Metres of street passed; 0 for a lattice.
    passed_m: float
    last_at: datetime | None


# What others show: by cell, without a name.


def last(session: Session, cells: Sequence[str]) -> dict[str, datetime]:
    """Return when each of the cells was last patrolled, by anybody; cells that never were are left out. Reads only."""
    found = rows(
        session,
        "SELECT c.cell_code, max(c.last_at) AS at FROM patrol_cover c"
        " WHERE c.district_code = :d AND c.cell_code = ANY (:cells) GROUP BY c.cell_code",
        d=actor_of(session).district,
        cells=list(cells),
    )
    return {row["cell_code"]: row["at"] for row in found}


_COVERED = """
WITH c AS MATERIALIZED (
  SELECT c.cell_code, c.ground, c.spots, c.total, c.spacing_m, c.kind, c.last_at,
         first_value(c.ground) OVER (PARTITION BY c.cell_code ORDER BY c.last_at DESC) AS newest
  FROM patrol_cover c
  WHERE c.district_code = :d AND c.cell_code = ANY (:cells) AND c.day >= :day
)
SELECT c.cell_code, max(c.total) AS total, max(c.spacing_m) AS spacing_m, max(c.kind) AS kind,
       max(c.last_at) AS last_at, count(DISTINCT s.spot) AS passed
FROM c LEFT JOIN LATERAL unnest(c.spots) AS s(spot) ON true
WHERE c.ground = c.newest GROUP BY c.cell_code
"""


def coverage(session: Session, cells: Sequence[str], *, since: datetime) -> dict[str, Covered]:
    """Return for every cell how much of its streets was passed since the day of a moment (aware). Reads only.

    A spot passed several times counts once. Where the roads or the cell changed, only what was passed since counts.
    """
    found = rows(
        session, _COVERED, d=actor_of(session).district, cells=list(cells), day=since.astimezone(_CHINA).date()
    )
    known = {
        row["cell_code"]: Covered(
            row["cell_code"],
            round(row["passed"] / row["total"], 4) if row["total"] else 0.0,
            row["kind"],
            round(row["passed"] * row["spacing_m"], 1) if row["kind"] == "street" else 0.0,
            row["last_at"],
        )
        for row in found
    }
    return {cell: known.get(cell) or Covered(cell, 0.0, "", 0.0, None) for cell in cells}


@dataclass(frozen=True, slots=True)
class Planned:
    """A cell of the patrol plan 巡查计划."""

    covered: Covered
    due_on: date
    #: Streets not passed in the last seven days: name, metres, spots as lon lat (EPSG:4490).
    missing: list[tuple[str, float, list[list[float]]]]
    #: Metres of street in the cell; 0 for a lattice.
    length_m: float
    by: str


def plan(session: Session, cells: Sequence[str], *, at: datetime, rules: Rules) -> list[Planned]:
    """Return what is to be patrolled next, the cell that waits longest first. Reads only; for a worker's few cells."""
    since = at - timedelta(days=7)
    covered, latest, spots = coverage(session, cells, since=since), last(session, cells), _spots(session, cells)
    done = _done(session, cells, since)
    found = []
    for cell, wanted in spots.items():
        before = latest.get(cell)
        due = (before + timedelta(days=rules.every_days) if before else at).astimezone(_CHINA).date()
        missing = left_out(wanted, done.get((cell, wanted.ground), []))
        found.append(Planned(covered[cell], due, missing, wanted.length_m, wanted.by))
    return sorted(found, key=lambda one: (one.due_on, one.covered.share, one.covered.cell))


def _done(session: Session, cells: Sequence[str], since: datetime) -> dict[tuple[str, bytes], list[int]]:
    found = rows(
        session,
        "SELECT c.cell_code, c.ground, c.spots FROM patrol_cover c"
        " WHERE c.district_code = :d AND c.cell_code = ANY (:cells) AND c.day >= :day",
        d=actor_of(session).district,
        cells=list(cells),
        day=since.astimezone(_CHINA).date(),
    )
    made: dict[tuple[str, bytes], list[int]] = {}
    for row in found:
        made.setdefault((row["cell_code"], bytes(row["ground"])), []).extend(row["spots"])
    return made


# Spots, kept in this process until the ground changes.

_kept: dict[tuple[str, int, str], Spots] = {}
_MOST_KEPT = 4000
_lock = Lock()


def forget() -> None:
    """Forget the kept spots; for tests, which change the ground without a load."""
    _kept.clear()


def _spots(session: Session, cells: Sequence[str]) -> dict[str, Spots]:
    """Return the spots of cells that there are now, from memory while the district's ground stays as it is."""
    here = actor_of(session).district
    revision = int(session.scalar(text("SELECT revision FROM district WHERE district_code = :d"), {"d": here}) or 0)
    found = {cell: one for cell in cells if (one := _kept.get((here, revision, cell))) is not None}
    wanted = [cell for cell in cells if cell not in found]
    if not wanted:
        return found
    shapes = rows(
        session,
        "SELECT c.code, ST_AsBinary(c.geom) AS shape FROM cell c WHERE c.district_code = :d AND c.code = ANY (:cells)",
        d=here,
        cells=wanted,
    )
    polygons = shapely.from_wkb([bytes(row["shape"]) for row in shapes])
    roads = lines_in(session, shapely.total_bounds(polygons), kinds=("road",)) if len(shapes) else None
    tree = shapely.STRtree(roads.geom) if roads is not None else None
    for row, polygon in zip(shapes, polygons, strict=True):
        assert roads is not None
        assert tree is not None
        # A road beside the cell's edge belongs to it, too: some 20 m in degrees.
        near = sorted(int(one) for one in tree.query(shapely.box(*polygon.bounds).buffer(0.0002)))
        found[row["code"]] = spots_of(polygon, roads, near)
    with _lock:
        if len(_kept) > _MOST_KEPT:
            _kept.clear()
        _kept.update({(here, revision, cell): found[cell] for cell in wanted if cell in found})
    return found


# What a worker's phone brings.


def start(session: Session, run: uuid.UUID, *, cell: str, happened_at: datetime, at: datetime) -> bool:
    """Begin a run of the acting worker; False where it is there already. Writes; caller commits.

    Raises Forbidden for another role, Invalid for a cell of another town, NotFound for a run of somebody else.
    """
    actor = _worker(session)
    if cell and (cell[:9] != actor.town or not _exists(session, cell)):
        raise Invalid("This cell is not in your town.", field="cell")
    made = session.scalar(
        text(
            "INSERT INTO patrol_run (district_code, id, account_id, account_name, town_code, cell_code, started_at,"
            " recorded_at) VALUES (:d, :id, :account, :name, :town, :cell, :started, :at)"
            " ON CONFLICT (district_code, id) DO NOTHING RETURNING id"
        ),
        {
            **_whose(actor),
            "id": run,
            "name": actor.name,
            "town": actor.town,
            "cell": cell,
            "started": happened_at,
            "at": at,
        },
    )
    if made is None:
        _run(session, run)
    return made is not None


def stop(session: Session, run: uuid.UUID, *, happened_at: datetime) -> None:
    """End a run of the acting worker, never before its start; a second time changes nothing. Writes; caller commits."""
    _run(session, run)
    session.execute(
        text(
            "UPDATE patrol_run SET stopped_at = greatest(started_at, :stopped)"
            " WHERE district_code = :d AND id = :id AND account_id = :account AND stopped_at IS NULL"
        ),
        {**_whose(actor_of(session)), "id": run, "stopped": happened_at},
    )


def add(session: Session, run: uuid.UUID, key: uuid.UUID, track: Track, *, rules: Rules, at: datetime) -> Added:
    """Take positions of a run, in order of time: thin and keep them, count what they pass, note what is remarkable.

    key: of the phone's action; the same once more changes nothing. Positions outside the run are dropped. Writes;
    caller commits. Raises NotFound for a run that the worker did not start.
    """
    actor, found = _worker(session), _run(session, run)
    ends = found["stopped_at"] or found["started_at"] + timedelta(hours=rules.run_hours)
    begin, end = (found["started_at"] - _SLACK).timestamp(), (min(ends, at) + _SLACK).timestamp()
    inside = track.of((track.at_s >= begin) & (track.at_s <= end))
    kept = thin(inside)
    told = remarks(inside)
    if len(kept):
        new = session.scalar(
            text(
                "INSERT INTO patrol_piece (district_code, run_id, key, account_id, town_code, lng, lat, accuracy_m, at,"
                " from_at, to_at) VALUES (:d, :run, :key, :account, :town, :lng, :lat, :accuracy,"
                " ARRAY(SELECT to_timestamp(s) FROM unnest(CAST(:at AS float8[])) AS s), to_timestamp(:first),"
                " to_timestamp(:last)) ON CONFLICT (district_code, run_id, key) DO NOTHING RETURNING key"
            ),
            {
                **_whose(actor),
                "run": run,
                "key": key,
                "town": actor.town,
                "lng": kept.lng_lat[:, 0].round(6).tolist(),
                "lat": kept.lng_lat[:, 1].round(6).tolist(),
                "accuracy": np.nan_to_num(kept.accuracy_m, nan=-1).round(1).tolist(),
                "at": kept.at_s.tolist(),
                "first": float(kept.at_s[0]),
                "last": float(kept.at_s[-1]),
            },
        )
        if new is not None:
            session.execute(
                text(
                    "UPDATE patrol_run SET points = points + :n, length_m = length_m + :m"
                    " WHERE district_code = :d AND id = :run AND account_id = :account"
                ),
                {**_whose(actor), "run": run, "n": len(inside), "m": round(kept.length_m, 1)},
            )
            _count(session, kept, near_m=rules.near_m)
    for one in told:
        note(session, one, run=run, at=at)
    return Added(len(inside), len(track) - len(inside), told)


def check_in(
    session: Session, key: uuid.UUID, run: uuid.UUID, where: Track, *, what: str, words: str, rules: Rules, at: datetime
) -> str:
    """Write down that the worker was at one position (`where` holds exactly one) and return its cell, empty for none.

    Writes; caller commits. Raises NotFound for a run that the worker did not start, Invalid outside of it.
    """
    actor, found = _worker(session), _run(session, run)
    moment = datetime.fromtimestamp(float(where.at_s[0]), _CHINA)
    ends = found["stopped_at"] or found["started_at"] + timedelta(hours=rules.run_hours)
    if not found["started_at"] - _SLACK <= moment <= ends + _SLACK:
        raise Invalid("This was not during the patrol; a position is kept only while one runs.", field="run")
    lng, lat = (float(part) for part in where.lng_lat[0])
    cells = _count(session, where, near_m=max(rules.near_m, float(np.nan_to_num(where.accuracy_m[0]))))
    session.execute(
        text(
            "INSERT INTO patrol_checkin (district_code, id, run_id, account_id, town_code, cell_code, what, note, lng,"
            " lat, accuracy_m, happened_at, recorded_at) VALUES (:d, :id, :run, :account, :town, :cell, :what, :note,"
            " :lng, :lat, :accuracy, :happened, :at) ON CONFLICT (district_code, id) DO NOTHING"
        ),
        {
            **_whose(actor),
            "id": key,
            "run": run,
            "town": actor.town,
            "cell": cells[0] if cells else "",
            "what": what if what in ("cell", "place") else "cell",
            "note": words[:500],
            "lng": lng,
            "lat": lat,
            "accuracy": None if np.isnan(where.accuracy_m[0]) else float(where.accuracy_m[0]),
            "happened": moment,
            "at": at,
        },
    )
    for one in remarks(where):
        note(session, one, run=run, at=at)
    return cells[0] if cells else ""


def note(
    session: Session, remark: Remark, *, at: datetime, run: uuid.UUID | None = None, case_id: uuid.UUID | None = None
) -> None:
    """Keep a remark for the supervisor; the worker sees it, too. Writes; caller commits."""
    actor = actor_of(session)
    session.execute(
        text(
            "INSERT INTO patrol_note (district_code, id, account_id, account_name, town_code, run_id, case_id, message,"
            " params, happened_at, recorded_at) VALUES (:d, :id, :account, :name, :town, :run, :case, :message,"
            " CAST(:params AS jsonb), :happened, :at)"
        ),
        {
            **_whose(actor),
            "id": new_id(),
            "name": actor.name,
            "town": actor.town,
            "run": run,
            "case": case_id,
            "message": remark.message,
            "params": orjson.dumps(remark.params).decode(),
            "happened": remark.at,
            "at": at,
        },
    )


def _count(session: Session, track: Track, *, near_m: float) -> list[str]:
    """Count the spots that a track comes near in the cells of the actor's town; return the cells it lies in."""
    actor = actor_of(session)
    west, south = track.lng_lat.min(axis=0) - 0.0005
    east, north = track.lng_lat.max(axis=0) + 0.0005
    found = rows(
        session,
        "SELECT c.code, ST_AsBinary(c.geom) AS shape FROM cell c WHERE c.district_code = :d AND c.town_code = :town"
        " AND c.geom && ST_MakeEnvelope(:west, :south, :east, :north, 4490) ORDER BY c.code LIMIT 200",
        d=actor.district,
        town=actor.town,
        west=float(west),
        south=float(south),
        east=float(east),
        north=float(north),
    )
    inside: list[str] = []
    for code, spots in _spots(session, [row["code"] for row in found]).items():
        shape = shapely.from_wkb(next(bytes(row["shape"]) for row in found if row["code"] == code))
        here = track.of(shapely.intersects_xy(shape, track.lng_lat[:, 0], track.lng_lat[:, 1]))
        if len(here) == 0:
            continue
        inside.append(code)
        done = passed(spots, track.lng_lat, track.at_s, near_m=near_m)
        session.execute(
            text(
                "INSERT INTO patrol_cover"
                " (district_code, cell_code, day, ground, spots, total, spacing_m, kind, last_at)"
                " VALUES (:d, :cell, :day, :ground, :spots, :total, :spacing, :kind, to_timestamp(:last))"
                " ON CONFLICT (district_code, cell_code, day, ground) DO UPDATE SET"
                " spots = ARRAY(SELECT DISTINCT s FROM unnest(patrol_cover.spots || excluded.spots) AS s ORDER BY s),"
                " last_at = greatest(patrol_cover.last_at, excluded.last_at)"
            ),
            {
                "d": actor.district,
                "cell": code,
                "day": datetime.fromtimestamp(float(here.at_s[-1]), _CHINA).date(),
                "ground": spots.ground,
                "spots": done,
                "total": len(spots.street),
                "spacing": spots.spacing_m,
                "kind": spots.by,
                "last": float(here.at_s[-1]),
            },
        )
    return sorted(inside)


def _worker(session: Session) -> Actor:
    actor = actor_of(session)
    if actor.role is not Role.GRID_WORKER or actor.id is None:
        raise Forbidden("Only a grid worker patrols.")
    return actor


def _whose(actor: Actor) -> dict[str, Any]:
    return {"d": actor.district, "account": actor.id}


def _run(session: Session, run: uuid.UUID) -> Mapping[str, Any]:
    """Return the acting worker's own run; raises NotFound. The policy lets a worker see no other one."""
    found = rows(
        session,
        "SELECT r.started_at, r.stopped_at FROM patrol_run r"
        " WHERE r.district_code = :d AND r.id = :id AND r.account_id = :account",
        **_whose(actor_of(session)),
        id=run,
    )
    if not found:
        raise NotFound("You did not start this patrol; positions outside a patrol are not kept.", field="run")
    return found[0]


def _exists(session: Session, cell: str) -> bool:
    sql = text("SELECT EXISTS (SELECT 1 FROM cell WHERE district_code = :d AND code = :cell)")
    return bool(session.scalar(sql, {"d": actor_of(session).district, "cell": cell}))

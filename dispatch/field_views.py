"""Open matters of a grid worker's cells as the phone takes them along: what is the worker's to do, and what is near.

Reads the cases by the cells of today, wherever they were reported: a case keeps the cell it came in with, but who looks
after the place now is whoever has the cell now. Offers no step; `dispatch.cases` does.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.actor import system
from core.db import acting_as, actor_of, rows

#: States in which a grid worker may have something to do: settle or pass up, look again, check on the spot.
MINE: Final = {"patrol": ("in_cell",)}
LOOK: Final = {"patrol": ("settled",), "complaint": ("replied",)}
MOST_TASKS, MOST_NEAR = 200, 300
#: Around the cells: the street that is the border has two sides. Some 300 m in degrees.
_AROUND: Final = 0.003
_MOST_READ: Final = 3000
_LOG_LINES: Final = 6


@dataclass(frozen=True, slots=True)
class Matter:
    """One open case of the worker's cells or beside them."""

    id: uuid.UUID
    number: str
    version: int
    process: str
    process_version: int
    kind: str
    state: str
    title: str
    text: str
    category: str
    urgency: str
    place_name: str
    lng: float | None
    lat: float | None
    radius_m: float | None
    #: The cell it was reported in, and the one that its place lies in today; empty outside the worker's cells.
    cell: str
    today_cell: str
    received_at: datetime
    due_at: datetime | None
    due_clock: str
    #: mine, look or follow.
    duty: str


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of the log, as a phone shows it."""

    seq: int
    action: str
    by: str
    happened_at: datetime
    recorded_at: datetime
    late: bool
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Hanging:
    """What hangs on one case: the last entries, newest last, photos and voice notes."""

    lines: list[Line]
    photos: list[uuid.UUID]
    voices: list[uuid.UUID]


@dataclass(frozen=True, slots=True)
class Around:
    """What a worker's cells hold."""

    tasks: list[Matter]
    near: list[Matter]
    tasks_more: bool
    near_more: bool


_MATTER = """k.id, k.number, k.version, k.process, k.process_version, k.kind, k.state, k.title, k.text,
  coalesce(k.category_code, '') AS category, k.urgency, k.place_name, ST_X(k.geom) AS lng, ST_Y(k.geom) AS lat,
  k.radius_m, coalesce(k.cell_code, '') AS cell, k.received_at, k.due_at, coalesce(k.due_clock, '') AS due_clock"""
#: Of the cases near the cells, those of the processes that the field knows; the box alone uses the partial index.
_AROUND_CELLS = f"""
WITH mine AS MATERIALIZED (
  SELECT c.code, c.geom FROM cell c WHERE c.district_code = :d AND c.town_code = :town AND c.code = ANY (:cells)
), k AS MATERIALIZED (
  SELECT {_MATTER}, k.geom FROM cases k
  WHERE k.district_code = :d AND k.open AND k.town_code = :town AND k.process IN ('patrol', 'complaint')
    AND k.geom && (SELECT ST_Expand(ST_SetSRID(ST_Extent(m.geom)::geometry, 4490), :around) FROM mine m)
  ORDER BY k.due_at NULLS LAST, k.id LIMIT :most
)
SELECT k.*, coalesce((SELECT min(m.code) FROM mine m WHERE m.geom && k.geom AND ST_Covers(m.geom, k.geom)), '')
  AS today_cell
FROM k ORDER BY k.due_at NULLS LAST, k.id
"""  # noqa: S608  put together of this module's own words
_ONE = f"""
SELECT {_MATTER}, coalesce((
  SELECT min(c.code) FROM cell c WHERE c.district_code = :d AND c.geom && k.geom AND ST_Covers(c.geom, k.geom)), '')
  AS today_cell
FROM cases k WHERE k.district_code = :d AND k.id = :id AND k.town_code = :town
"""  # noqa: S608  as above
_LINES = """
SELECT e.case_id, e.seq, e.action, e.actor_name AS by, e.happened_at, e.recorded_at, e.late, e.data
FROM unnest(CAST(:ids AS uuid[])) AS w(id) CROSS JOIN LATERAL (
  SELECT e.* FROM entry e WHERE e.district_code = :d AND e.case_id = w.id ORDER BY e.seq DESC LIMIT :lines
) e ORDER BY e.case_id, e.seq
"""
_HUNG = """
SELECT a.case_id, a.id, 'photo' AS kind, a.created_at FROM attachment a
WHERE a.district_code = :d AND a.case_id = ANY (:ids)
UNION ALL
SELECT v.case_id, v.id, 'voice', v.created_at FROM voice_note v
WHERE v.district_code = :d AND v.case_id = ANY (:ids)
ORDER BY 4, 2
"""


def around(session: Session, cells: Sequence[str]) -> Around:
    """Return the open matters in and beside cells of the acting worker's town, least time left first. Reads only."""
    actor = actor_of(session)
    found = rows(
        session,
        _AROUND_CELLS,
        d=actor.district,
        town=actor.town,
        cells=list(cells),
        around=_AROUND,
        most=_MOST_READ + 1,
    )
    matters = [_matter(row) for row in found]
    tasks = [one for one in matters if one.duty != "follow" and one.today_cell]
    near = [one for one in matters if one.duty == "follow" or not one.today_cell]
    cut = len(found) > _MOST_READ
    return Around(tasks[:MOST_TASKS], near[:MOST_NEAR], cut or len(tasks) > MOST_TASKS, cut or len(near) > MOST_NEAR)


def one(session: Session, case_id: uuid.UUID) -> Matter | None:
    """Return one case of the acting worker's town, open or not; None for any other. Reads only."""
    actor = actor_of(session)
    found = rows(session, _ONE, d=actor.district, town=actor.town, id=case_id)
    return _matter(found[0]) if found else None


def changed(session: Session, ids: Sequence[uuid.UUID], *, since: datetime) -> set[uuid.UUID]:
    """Return which of these cases, seen by the actor before, have an entry recorded since a moment. Reads only.

    Half a minute is added: a transaction that began before may have committed after.
    """
    district = actor_of(session).district
    with acting_as(session, system(district, "field")):
        found = rows(
            session,
            "SELECT DISTINCT e.case_id FROM entry e WHERE e.district_code = :d AND e.case_id = ANY (:ids)"
            " AND e.recorded_at >= :since",
            d=district,
            ids=list(ids),
            since=since - timedelta(seconds=30),
        )
    return {row["case_id"] for row in found}


def hanging(session: Session, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Hanging]:
    """Return what hangs on cases that the actor was just given: logs, photos, voice notes. Reads only.

    Read as the program, all at once: the rows' own policy pins one case at a time.
    """
    made = {key: Hanging([], [], []) for key in ids}
    if not made:
        return made
    district = actor_of(session).district
    with acting_as(session, system(district, "field")):
        lines = rows(session, _LINES, d=district, ids=list(ids), lines=_LOG_LINES)
        hung = rows(session, _HUNG, d=district, ids=list(ids))
    for row in lines:
        values = {name: row[name] for name in ("seq", "action", "by", "happened_at", "recorded_at", "late", "data")}
        made[row["case_id"]].lines.append(Line(**values))
    for row in hung:
        kept = made[row["case_id"]]
        (kept.photos if row["kind"] == "photo" else kept.voices).append(row["id"])
    return made


def used_lately(session: Session, *, since: datetime, most: int = 300) -> list[tuple[str, float, float]]:
    """Return category and place (EPSG:4490) of what the acting worker reported since a moment, newest first."""
    actor = actor_of(session)
    with acting_as(session, system(actor.district, "field")):
        found = session.execute(
            text(
                "SELECT k.category_code, ST_X(k.geom), ST_Y(k.geom) FROM field_receipt r"
                " JOIN cases k ON k.district_code = r.district_code AND k.id = r.case_id"
                " WHERE r.district_code = :d AND r.account_id = :account AND r.kind = 'report' AND r.state = 'done'"
                " AND r.received_at >= :since AND k.category_code IS NOT NULL AND k.geom IS NOT NULL"
                " ORDER BY r.received_at DESC LIMIT :most"
            ),
            {"d": actor.district, "account": actor.id, "since": since, "most": most},
        ).all()
    return [(row[0], round(row[1], 5), round(row[2], 5)) for row in found]


def _matter(row: Mapping[str, Any]) -> Matter:
    process, state = row["process"], row["state"]
    duty = "mine" if state in MINE.get(process, ()) else "look" if state in LOOK.get(process, ()) else "follow"
    return Matter(duty=duty, **{name: value for name, value in row.items() if name != "geom"})

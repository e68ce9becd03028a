"""What a street or community office sees of its cells at one glance: matters, owners, patrols, households.

Counts only, no case text: an office reads the counts of its whole area, but a case only where it has a share. Whoever
calls has asked `grid.duties.reach` for the area. Reads only; time is an argument.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.orm import Session

from core.actor import system
from core.db import acting_as, actor_of, rows
from core.errors import Invalid
from dispatch.calendar import china_time
from dispatch.words import N_
from grid import duties, duty_lists, patrols
from grid.duty_lists import Acting

#: Households of a residential cell (S2), *default*; `settings: {cell_households: [200, 500]}` changes them.
HOUSEHOLDS: Final = (200, 500)
#: Days within which every cell should have been patrolled, and over which matters taken in are counted, *defaults*.
PATROL_DAYS: Final = 7
DONE_DAYS: Final = 30
#: What may be wrong with a cell → the words.
TROUBLES: Final[Mapping[str, str]] = {
    "overdue": N_("Overdue matters"),
    "gaps": N_("Duties without an owner"),
    "unpatrolled": N_("Not patrolled in 7 days"),
    "size": N_("Households out of bounds"),
}
#: What the map is coloured by → the words.
MEASURES: Final[Mapping[str, str]] = {
    "open": N_("Open matters"),
    "overdue": N_("Overdue matters"),
    "covered": N_("Streets patrolled in 7 days"),
    "households": N_("Household count"),
    "gaps": N_("Duties without an owner"),
}

_CELLS = """
SELECT c.code, c.community_code AS community, coalesce(a.name, '') AS community_name, c.kind, c.households
FROM cell c
LEFT JOIN area a ON a.district_code = :d AND a.code = c.community_code
WHERE c.district_code = :d AND c.code LIKE :area ORDER BY c.code LIMIT :most
"""
#: A matter of a cell that is no more counts where its point lies today.
_MATTERS = """
WITH k AS MATERIALIZED (
  SELECT k.cell_code, k.geom, coalesce(k.due_at <= :at, false) AS late FROM cases k
  WHERE k.district_code = :d AND k.open AND k.merged_into IS NULL AND k.cell_code LIKE :area
)
SELECT coalesce(c.code, (SELECT min(n.code) FROM cell n WHERE n.district_code = :d AND ST_Covers(n.geom, k.geom)))
         AS cell, count(*) AS open, count(*) FILTER (WHERE k.late) AS overdue
FROM k LEFT JOIN cell c ON c.district_code = :d AND c.code = k.cell_code
GROUP BY 1
"""
_DONE = """
SELECT t.cell_code AS cell, sum(t.opened) AS taken, sum(t.closed) AS done FROM tally t
WHERE t.district_code = :d AND t.day > :day AND t.cell_code LIKE :area GROUP BY t.cell_code
"""


@dataclass(frozen=True, slots=True)
class CellRow:
    """One cell with everything that may be wrong in it."""

    code: str
    community: str
    community_name: str
    kind: str
    households: int | None
    #: Matters now, and of those taken in within `DONE_DAYS` how many there were and how many are done.
    open: int
    overdue: int
    taken: int
    done: int
    #: Duties without an owner, and those among them whose holder left.
    gaps: tuple[str, ...]
    left: tuple[str, ...]
    #: Share of the streets passed within `PATROL_DAYS`, 0 to 1, and the last patrol ever.
    covered: float
    patrolled_at: datetime | None
    acting: tuple[Acting, ...]
    #: Which of `TROUBLES` it has.
    troubles: tuple[str, ...]

    @property
    def outside(self) -> bool:
        """Whether the households lie outside the bounds."""
        return "size" in self.troubles


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One person's share of an area."""

    account_id: uuid.UUID | None
    unit_code: str | None
    name: str
    active: bool
    cells: int
    #: Cells among them where they stand in for somebody.
    standing_in: int
    #: Matters in all of these cells.
    open: int
    overdue: int
    done: int
    exceptions: int
    #: The newest check-in of today: cell and time.
    checkin: duty_lists.Checkin | None


def bounds(settings: Mapping[str, Any]) -> tuple[int, int]:
    """Return the least and most households of a residential cell; nonsense keeps the default."""
    pair = settings.get("cell_households")
    if isinstance(pair, list) and len(pair) == 2 and all(isinstance(n, int) for n in pair) and 0 <= pair[0] < pair[1]:
        return pair[0], pair[1]
    return HOUSEHOLDS


def cells(session: Session, area: str, *, at: datetime, limits: tuple[int, int] = HOUSEHOLDS) -> list[CellRow]:
    """Return every cell whose code begins with `area`, by code, with its figures at a moment (aware).

    limits: least and most households of a residential cell. Raises Invalid for an area that is no code.
    """
    if not (area == "" or (area.isdigit() and len(area) in {6, 9, 12, 15})):
        raise Invalid("There is no such area.", field="area")
    district = actor_of(session).district
    like: dict[str, Any] = {"d": district, "area": area + "%"}
    with acting_as(session, system(district, "office")):
        found = rows(session, _CELLS, **like, most=duties.MOST_CELLS)
        codes = [row["code"] for row in found]
        matters = {row["cell"]: row for row in rows(session, _MATTERS, **like, at=at)}
        done = {
            row["cell"]: row
            for row in rows(session, _DONE, **like, day=china_time(at).date() - timedelta(days=DONE_DAYS))
        }
        covered = patrols.coverage(session, codes, since=at - timedelta(days=PATROL_DAYS))
        last = patrols.last(session, codes)
        gaps = {gap.cell: gap for gap in duties.missing(session, at=at, area=area)}
    held: dict[str, list[Acting]] = {}
    for one in duty_lists.acting(session, area, at=at):
        held.setdefault(one.cell, []).append(one)
    made = []
    for row in found:
        code = row["code"]
        matter, gap = matters.get(code), gaps.get(code)
        wrong = {
            "overdue": matter is not None and matter["overdue"] > 0,
            "gaps": gap is not None,
            "unpatrolled": code not in last or last[code] < at - timedelta(days=PATROL_DAYS),
            "size": row["kind"] == "residential"
            and row["households"] is not None
            and not limits[0] <= row["households"] <= limits[1],
        }
        made.append(
            CellRow(
                **row,
                open=matter["open"] if matter else 0,
                overdue=matter["overdue"] if matter else 0,
                taken=int(done[code]["taken"]) if code in done else 0,
                done=int(done[code]["done"]) if code in done else 0,
                gaps=gap.duties if gap else (),
                left=gap.left if gap else (),
                covered=covered[code].share,
                patrolled_at=last.get(code),
                acting=tuple(held.get(code, ())),
                troubles=tuple(name for name in TROUBLES if wrong[name]),
            )
        )
    return made


def workers(session: Session, found: Sequence[CellRow], area: str, *, since: datetime, at: datetime) -> list[WorkerRow]:
    """Return who acts in the cells, whoever has most overdue matters first; `since`: when today began (aware)."""
    seen = duty_lists.checkins(session, area, since=since, at=at)
    sums: dict[tuple[uuid.UUID | None, str | None], dict[str, Any]] = {}
    for cell in found:
        for one in cell.acting:
            row = sums.setdefault(
                (one.account_id, one.unit_code),
                {"name": one.name, "active": one.active}
                | dict.fromkeys(("cells", "standing_in", "open", "overdue", "done", "exceptions"), 0),
            )
            row["cells"] += 1
            row["standing_in"] += one.standing_in > 0
            row["exceptions"] += one.exceptions
            for name in ("open", "overdue", "done"):
                row[name] += getattr(cell, name)
    made = [
        WorkerRow(
            account_id=account,
            unit_code=unit,
            checkin=seen.get(account) if account is not None else None,
            **row,
        )
        for (account, unit), row in sums.items()
    ]
    return sorted(made, key=lambda one: (-one.overdue, -one.open, one.name))


_SHAPES = """
SELECT coalesce(jsonb_object_agg(c.code, ST_AsGeoJSON(ST_SimplifyPreserveTopology(c.geom, :tolerance), 5, 0)::jsonb),
  '{}'::jsonb)::text AS shapes
FROM cell c WHERE c.district_code = :d AND c.code LIKE :area
"""
#: How far a drawn border may lie from the stored one, in degrees: about 1 m from near, 10 m for a whole district.
_NEAR_DEG, _FAR_DEG = 0.00001, 0.0001


def shapes(session: Session, area: str, *, many: bool) -> str:
    """Return a JSON object of cell code → GeoJSON geometry (EPSG:4490), simplified; `many` for a whole district."""
    params = {"d": actor_of(session).district, "area": area + "%", "tolerance": _FAR_DEG if many else _NEAR_DEG}
    return str(rows(session, _SHAPES, **params)[0]["shapes"])

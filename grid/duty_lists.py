"""Duties as an office looks at them: who acts where, which hand-overs run or wait, who could take something on.

Reads only, and names people as the program: a row policy hides other people's accounts. Whoever calls has asked
`grid.duties.reach` for the area.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from core.actor import system
from core.db import acting_as, actor_of, rows

#: Lines of one list of hand-overs, people, or check-ins.
MOST: Final = 500


@dataclass(frozen=True, slots=True)
class Acting:
    """One person or unit that acts in one cell."""

    cell: str
    account_id: uuid.UUID | None
    unit_code: str | None
    name: str
    active: bool
    #: How many of the nine duties, and how many of those as a stand-in.
    duties: int
    standing_in: int
    #: Duties given without a certificate, each with a reason.
    exceptions: int


@dataclass(frozen=True, slots=True)
class Standing:
    """One hand-over that runs or waits to begin."""

    giver: uuid.UUID
    giver_name: str
    taker: uuid.UUID | None
    taker_unit: str | None
    taker_name: str
    since: datetime
    until: datetime
    why: str
    exception: str
    cells: int
    duties: int


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may take duties on."""

    id: uuid.UUID
    name: str
    login: str
    town_code: str


@dataclass(frozen=True, slots=True)
class Checkin:
    """The newest check-in of a person today: the cell, not the position."""

    account_id: uuid.UUID
    cell: str
    at: datetime


_IN_FORCE = "h.valid_from <= :at AND (h.valid_to IS NULL OR h.valid_to > :at)"
_ACTING = f"""
WITH held AS MATERIALIZED (
  SELECT h.cell_code, h.account_id, h.unit_code, h.rank, h.exception,
         bool_or(h.rank = 'stand_in') OVER (PARTITION BY h.cell_code, h.duty) AS stood_in_for
  FROM cell_duty h
  WHERE h.district_code = :d AND h.cell_code LIKE :area AND h.rank <> 'deputy' AND {_IN_FORCE}
), sums AS MATERIALIZED (
  SELECT held.cell_code, held.account_id, held.unit_code, count(*) AS duties,
         count(*) FILTER (WHERE held.rank = 'stand_in') AS standing_in,
         count(*) FILTER (WHERE held.exception <> '') AS exceptions
  FROM held WHERE held.rank = 'stand_in' OR NOT held.stood_in_for
  GROUP BY held.cell_code, held.account_id, held.unit_code
)
SELECT s.cell_code AS cell, s.account_id, s.unit_code, coalesce(a.name, u.name) AS name,
       coalesce(a.active, u.active) AS active, s.duties, s.standing_in, s.exceptions
FROM sums s
LEFT JOIN account a ON a.district_code = :d AND a.id = s.account_id
LEFT JOIN unit u ON u.district_code = :d AND u.code = s.unit_code
ORDER BY s.cell_code, s.duties DESC, name
"""  # noqa: S608  put together of this module's own words
_STANDING = """
SELECT p.account_id AS giver, g.name AS giver_name, s.account_id AS taker, s.unit_code AS taker_unit,
       coalesce(t.name, u.name) AS taker_name, s.valid_from AS since, s.valid_to AS until, s.why,
       max(s.exception) AS exception, count(DISTINCT s.cell_code) AS cells, count(*) AS duties
FROM cell_duty s
JOIN cell_duty p ON p.district_code = :d AND p.cell_code = s.cell_code AND p.duty = s.duty AND p.rank = 'primary'
  AND p.account_id IS NOT NULL AND p.valid_from <= greatest(s.valid_from, :at)
  AND (p.valid_to IS NULL OR p.valid_to > greatest(s.valid_from, :at))
JOIN account g ON g.district_code = :d AND g.id = p.account_id
LEFT JOIN account t ON t.district_code = :d AND t.id = s.account_id
LEFT JOIN unit u ON u.district_code = :d AND u.code = s.unit_code
WHERE s.district_code = :d AND s.rank = 'stand_in' AND s.valid_to > :at AND s.valid_to > s.valid_from
  AND s.cell_code LIKE :area
GROUP BY p.account_id, g.name, s.account_id, s.unit_code, taker_name, s.valid_from, s.valid_to, s.why
ORDER BY s.valid_to, s.valid_from, giver_name LIMIT :most
"""
_PEOPLE = """
SELECT a.id, a.name, a.login, a.town_code FROM account a
WHERE a.district_code = :d AND a.active AND a.role = 'grid_worker' AND (:town = '' OR a.town_code = :town)
ORDER BY a.town_code, a.name, a.login LIMIT :most
"""
_CHECKINS = """
SELECT DISTINCT ON (c.account_id) c.account_id, c.cell_code AS cell, c.happened_at AS at
FROM patrol_checkin c
WHERE c.district_code = :d AND c.cell_code <> '' AND c.cell_code LIKE :area AND c.happened_at >= :since
  AND c.happened_at <= :at
ORDER BY c.account_id, c.happened_at DESC LIMIT :most
"""


def _asked(session: Session, sql: str, **params: Any) -> list[Mapping[str, Any]]:
    district = actor_of(session).district
    with acting_as(session, system(district, "duties")):
        return rows(session, sql, d=district, **params)


def acting(session: Session, area: str, *, at: datetime) -> list[Acting]:
    """Return who acts in the cells whose codes begin with `area`, by cell, whoever holds most duties first."""
    return [Acting(**row) for row in _asked(session, _ACTING, area=area + "%", at=at)]


def standing(session: Session, area: str, *, at: datetime) -> list[Standing]:
    """Return the hand-overs that run or wait in an area, those that end first, at most `MOST`."""
    return [Standing(**row) for row in _asked(session, _STANDING, area=area + "%", at=at, most=MOST)]


def people(session: Session, area: str) -> list[Person]:
    """Return the grid workers of the town that an area lies in, or of the whole district; at most `MOST`."""
    return [Person(**row) for row in _asked(session, _PEOPLE, town=area[:9] if len(area) >= 9 else "", most=MOST)]


def checkins(session: Session, area: str, *, since: datetime, at: datetime) -> dict[uuid.UUID, Checkin]:
    """Return the newest check-in of every person in an area since a moment; only what the worker sent, no track."""
    found = _asked(session, _CHECKINS, area=area + "%", since=since, at=at, most=MOST)
    return {row["account_id"]: Checkin(**row) for row in found}

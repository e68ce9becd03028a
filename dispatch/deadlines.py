"""The running clocks of cases 时限: rows that start, stop, warn and escalate; exactly once however many sweep.

Knows the table `deadline`. When a limit runs out is computed by `dispatch.limits`; what a warning says, by the relay.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from core.ids import new_id
from dispatch.models import Deadline

#: The levels that are announced: half the limit is gone, four fifths, all of it. Also the colours of FACES.md.
HALF, NEAR, OVERDUE = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Clock:
    """One clock about to start."""

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "id",
        "clock",
        "unit_code",
        "limit",
        "started_at",
        "due_at",
        "provisional",
        "half_at",
        "near_at",
        "next_at",
    )

    #: dispatch, sign, reply or callback.
    name: str
    #: Whom it measures; None for the district centre.
    unit: str | None
    #: As written in the table of limits.
    limit: str
    started_at: datetime
    due_at: datetime
    provisional: bool
    half_at: datetime
    near_at: datetime

    def columns(self) -> dict[str, Any]:
        """Return the columns of table `deadline` without the keys."""
        return {
            "id": new_id(),
            "clock": self.name,
            "unit_code": self.unit,
            "limit": self.limit,
            "started_at": self.started_at,
            "due_at": self.due_at,
            "provisional": self.provisional,
            "half_at": self.half_at,
            "near_at": self.near_at,
            "next_at": self.half_at,
        }


def nearest(clocks: Iterable[Clock]) -> Clock | None:
    """Return the clock that runs out first, or None."""
    return min(clocks, key=lambda clock: clock.due_at, default=None)


def start(session: Session, district: str, case_id: uuid.UUID, clocks: Sequence[Clock]) -> None:
    """Write running clocks of a case. Writes; caller commits and holds the case row."""
    if clocks:
        keys = {"district_code": district, "case_id": case_id}
        session.execute(insert(Deadline), [clock.columns() | keys for clock in clocks])


def stop(
    session: Session, district: str, case_id: uuid.UUID, names: Sequence[str], *, at: datetime, void: bool = False
) -> None:
    """Stop the running clocks of these names: met or missed by the time, or void where the matter went elsewhere.

    Writes; caller commits and holds the case row.
    """
    if names:
        session.execute(
            text(
                "UPDATE deadline SET stopped_at = :at, next_at = NULL, "
                "outcome = CASE WHEN :void THEN 'void' WHEN :at <= due_at THEN 'met' ELSE 'missed' END "
                "WHERE district_code = :d AND case_id = :c AND clock = ANY (:names) AND stopped_at IS NULL"
            ),
            {"at": at, "void": void, "d": district, "c": case_id, "names": list(names)},
        )


def move_unit(session: Session, district: str, case_id: uuid.UUID, unit: str | None) -> None:
    """Let the running reply clock measure another unit: it was started by intake and is never reset by dispatch."""
    session.execute(
        text(
            "UPDATE deadline SET unit_code = :u "
            "WHERE district_code = :d AND case_id = :c AND clock = 'reply' AND stopped_at IS NULL"
        ),
        {"u": unit, "d": district, "c": case_id},
    )


def copy_nearest(session: Session, district: str, case_id: uuid.UUID) -> None:
    """Copy the nearest running deadline and its colour to the case row, where worklists sort by it."""
    session.execute(
        text(
            "UPDATE cases SET (due_at, due_clock, warned) = ("
            " SELECT min(n.due_at), min(n.clock), coalesce(min(n.fired), 0) FROM ("
            "  SELECT due_at, clock, fired FROM deadline"
            "  WHERE district_code = :d AND case_id = :c AND stopped_at IS NULL ORDER BY due_at, id LIMIT 1) AS n) "
            "WHERE district_code = :d AND id = :c"
        ),
        {"d": district, "c": case_id},
    )


@dataclass(frozen=True, slots=True)
class Fired:
    """A level that one clock has reached."""

    case_id: uuid.UUID
    deadline_id: uuid.UUID
    clock: str
    unit: str | None
    #: HALF, NEAR or OVERDUE.
    level: int
    due_at: datetime


def due_cases(session: Session, district: str, *, at: datetime, limit: int) -> list[uuid.UUID]:
    """Lock and return up to `limit` cases with a clock that has something to announce; others may sweep the rest.

    Takes case rows, as every action does, so that the order of locks is one; rows held by an action are skipped and
    come with the next sweep. Locks; caller commits.
    """
    found = session.execute(
        text(
            "SELECT c.id FROM cases AS c WHERE c.district_code = :d AND c.id IN ("
            " SELECT w.case_id FROM deadline AS w WHERE w.district_code = :d AND w.next_at <= :at"
            " ORDER BY w.next_at LIMIT :n) ORDER BY c.id FOR UPDATE SKIP LOCKED"
        ),
        {"d": district, "at": at, "n": limit},
    )
    return list(found.scalars())


def fire(session: Session, district: str, cases: Sequence[uuid.UUID], *, at: datetime) -> list[Fired]:
    """Advance every due clock of locked cases to the level it has reached and return those levels, each once.

    A clock that passed two levels since the last sweep announces the higher only. Writes; caller commits.
    """
    if not cases:
        return []
    rows = session.execute(
        text(
            "UPDATE deadline SET fired = CASE WHEN due_at <= :at THEN 3 WHEN near_at <= :at THEN 2 ELSE 1 END, "
            "rung = CASE WHEN due_at <= :at THEN 1 ELSE 0 END, "
            "next_at = CASE WHEN due_at <= :at THEN NULL WHEN near_at <= :at THEN due_at ELSE near_at END "
            "WHERE district_code = :d AND case_id = ANY (:cases) AND next_at <= :at "
            "RETURNING case_id, id, clock, unit_code, fired, due_at"
        ),
        {"d": district, "cases": list(cases), "at": at},
    )
    return [Fired(*row) for row in rows]

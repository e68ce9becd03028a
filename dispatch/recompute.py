"""Reckons running deadlines anew 重算 after a notice, office hours or limits changed; each move keeps a diff.

Works in slices by id, so that a job can stop and go on. Starting points, pauses and extensions never move.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from core.errors import Invalid
from core.ids import new_id
from dispatch import deadlines
from dispatch.journal import as_json
from dispatch.limits import Limit, Measured, measured
from dispatch.rulebook import Rulebook

_COLUMNS = (
    'SELECT w.id, w.case_id, w.clock, w.unit_code, w."limit", w.started_at, w.due_at, w.half_at, w.near_at, w.next_at, '
    "w.provisional, w.fired, w.rung, w.extra, w.held_at, w.legal_limit, w.legal_due_at, w.own_limit, "
    "CASE WHEN c.complex THEN 'complex' ELSE c.kind END AS kind, c.urgency, c.category_code "
    "FROM deadline AS w JOIN cases AS c ON c.district_code = w.district_code AND c.id = w.case_id "
    "WHERE w.district_code = :d AND w.stopped_at IS NULL AND "
)
_SLICE = text(_COLUMNS + "(CAST(:after AS uuid) IS NULL OR w.id > :after) ORDER BY w.id LIMIT :n")
_LOCKED = text(_COLUMNS + "w.id = ANY (:ids) ORDER BY w.id")
_LOCK = text("SELECT id FROM cases WHERE district_code = :d AND id = ANY (:ids) ORDER BY id FOR UPDATE")
_PAUSES = text(
    "SELECT deadline_id, started_at, ended_at FROM pause "
    "WHERE district_code = :d AND case_id = ANY (:cases) AND ended_at IS NOT NULL"
)
_COUNT = text("SELECT count(*) FROM deadline WHERE district_code = :d AND stopped_at IS NULL")
_MOVE = text(
    'UPDATE deadline AS w SET "limit" = s.lim, due_at = s.due, half_at = s.half, near_at = s.near, next_at = s.next, '
    "provisional = s.prov, legal_due_at = s.legal, fired = s.fired, rung = s.rung FROM "
    "json_to_recordset(CAST(:rows AS json)) AS s("
    "id uuid, lim text, due timestamptz, half timestamptz, near timestamptz, next timestamptz, prov boolean, "
    "legal timestamptz, fired int, rung int) "
    "WHERE w.district_code = :d AND w.id = s.id"
)
_DIFF = text(
    "INSERT INTO deadline_change (district_code, id, case_id, deadline_id, changed_at, old_due_at, new_due_at, why) "
    "SELECT :d, s.change, s.case_id, s.id, :at, s.old, s.due, s.why FROM json_to_recordset(CAST(:rows AS json)) "
    "AS s(change uuid, case_id uuid, id uuid, old timestamptz, due timestamptz, why jsonb)"
)


@dataclass(frozen=True, slots=True)
class Slice:
    """What one slice did."""

    #: Deadlines looked at, and how many moved.
    seen: int
    moved: int
    #: Give it back as `after`; None when nothing is left.
    cursor: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class _Move:
    """A deadline that is due at another time, or by another limit, than its row says."""

    row: Row[Any]
    limit: str
    found: Measured


def running(session: Session, district: str) -> int:
    """Return how many deadlines run, those that stand among them. Reads only."""
    return session.scalar(_COUNT, {"d": district}) or 0


def recompute(
    session: Session,
    book: Rulebook,
    *,
    at: datetime,
    after: uuid.UUID | None = None,
    limit: int = 2000,
    why: Mapping[str, Any] | None = None,
) -> Slice:
    """Reckon up to `limit` running deadlines after `after` anew by the rulebook as it is now.

    why: what changed, kept in each diff beside old and new times. A clock's limit is looked up again, unless it came
    with the clock; levels that were announced are announced again only where they lie ahead. Locks the rows of the
    cases that move, and no others. Writes; caller commits.
    """
    rows = session.execute(_SLICE, {"d": book.district, "after": after, "n": limit}).all()
    if not rows:
        return Slice(0, 0, None)
    moves = _moves(session, book, rows)
    if moves:
        # Somebody may have acted on them meanwhile: lock, look again, reckon those anew, and only then write.
        session.execute(_LOCK, {"d": book.district, "ids": sorted({move.row.case_id for move in moves})})
        first = {move.row.id: move for move in moves}
        again = session.execute(_LOCKED, {"d": book.district, "ids": list(first)}).all()
        changed = [row for row in again if row != first[row.id].row]
        moves = [first[row.id] for row in again if row == first[row.id].row]
        moves += _moves(session, book, changed) if changed else []
        _write(session, book, moves, at=at, why=dict(why or {"calendar": "notices changed"}))
    return Slice(len(rows), len(moves), rows[-1].id)


def _moves(session: Session, book: Rulebook, rows: Sequence[Row[Any]]) -> list[_Move]:
    paused: dict[uuid.UUID, list[tuple[datetime, datetime]]] = {}
    found = session.execute(_PAUSES, {"d": book.district, "cases": list({row.case_id for row in rows})})
    for clock, began, ended in found:
        paused.setdefault(clock, []).append((began, ended))
    moves = []
    for row in rows:
        try:
            limit = _limit(book, row)
            reckoned = measured(
                row.started_at,
                Limit.parse(limit),
                work=book.work,
                legal=Limit.parse(row.legal_limit) if row.legal_limit else None,
                pauses=paused.get(row.id, ()),
                extra=[Limit.parse(span) for span in row.extra],
            )
        except Invalid:  # a limit that an older program wrote, or one that leads outside the calendar: it stays
            continue
        if (limit, reckoned.at, reckoned.provisional, reckoned.legal_at) != (
            row.limit,
            row.due_at,
            row.provisional,
            row.legal_due_at,
        ):
            moves.append(_Move(row, limit, reckoned))
    return moves


def _limit(book: Rulebook, row: Row[Any]) -> str:
    if row.own_limit:
        return str(row.limit)
    found = book.limit_of(row.clock, kind=row.kind, urgency=row.urgency, category=row.category_code or "")
    return str(found or row.limit)


def _write(session: Session, book: Rulebook, moves: Sequence[_Move], *, at: datetime, why: Mapping[str, Any]) -> None:
    """Write the moved deadlines, their diffs and the colours of their cases: three statements."""
    if not moves:
        return
    rows = []
    for move in moves:
        row, found = move.row, move.found
        fired, rung = deadlines.announced(row.fired, row.rung, found, at=at)
        rows.append(
            {
                "id": row.id,
                "case_id": row.case_id,
                "change": new_id(),
                "lim": move.limit,
                "old": row.due_at,
                "due": found.at,
                "half": found.half,
                "near": found.near,
                "next": deadlines.armed(book, row, found, fired, rung, at=at),
                "prov": found.provisional,
                "legal": found.legal_at,
                "fired": fired,
                "rung": rung,
                "why": why if move.limit == row.limit else {**why, "limit": [row.limit, move.limit]},
            }
        )
    written = as_json(rows)
    session.execute(_MOVE, {"d": book.district, "rows": written})
    session.execute(_DIFF, {"d": book.district, "rows": written, "at": at})
    deadlines.copy_nearest(session, book.district, *{move.row.case_id for move in moves})

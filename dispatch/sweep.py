"""The sweep 巡时: deadlines that have come announce themselves, once, and expiries climb the ladder.

Any number of sweepers may run, and any of them may die: each works in one transaction on rows that it has locked.
"""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from core.actor import system
from core.errors import Invalid
from core.ids import new_id
from dispatch import deadlines
from dispatch.deadlines import OVERDUE, Fired, apply_due, pauses_of, reckoned
from dispatch.journal import append_many
from dispatch.log import Line
from dispatch.models import Case, Deadline, Outbox
from dispatch.rulebook import Rulebook

_SEEN = text(
    "SELECT id, number, state, process, process_version FROM cases WHERE district_code = :d AND id = ANY (:ids)"
)


def sweep(session: Session, book: Rulebook, *, at: datetime, limit: int = 500) -> int:
    """Announce what is due in up to `limit` cases and return how many levels and rungs were reached.

    Half and nearly due are outbox messages; an expiry, and each rung that it climbs later, is also an entry in the log
    with whom it was told. The case's version stays, so that nobody's open page grows stale by a warning.
    Raises Conflict, changing nothing, where the server's clock runs behind the log. Writes; caller commits.
    """
    district = book.district
    ids = deadlines.due_cases(session, district, at=at, limit=limit)
    fired = deadlines.fire(session, book, ids, at=at)
    if not fired:
        return 0
    seen = {row.id: row for row in session.execute(_SEEN, {"d": district, "ids": ids})}
    program = system(district, "sweep")
    lines, messages = [], []
    for found in fired:
        case, told = seen[found.case_id], _told(found)
        topic = "deadline.warned"
        if found.level == OVERDUE:
            action = "overdue" if found.rung == 1 else "escalated"
            topic = f"deadline.{action}"
            lines.append((case.id, Line(action, program, at, at, case.state, case.state, told)))
        messages.append(
            {
                "district_code": district,
                "id": new_id(),
                "case_id": case.id,
                "topic": topic,
                "payload": told | {"number": case.number},
                "created_at": at,
            }
        )
    append_many(session, district, lines, at=at)
    deadlines.copy_nearest(session, district, *seen)
    session.execute(insert(Outbox), messages)
    return len(fired)


def _told(found: Fired) -> dict[str, Any]:
    told: dict[str, Any] = {
        "clock": found.clock,
        "level": found.level,
        "unit": found.unit,
        "due_at": found.due_at.isoformat(),
    }
    if found.level == OVERDUE:
        told["rung"] = found.told
    return told


def recompute(
    session: Session, book: Rulebook, *, at: datetime, after: Any = None, limit: int = 500
) -> tuple[int, Any]:
    """Recompute up to `limit` running deadlines after a notice or a limit changed; return how many moved and a cursor.

    Give the cursor back as `after` until it is None. Each deadline that moves keeps a diff that says from when to when
    and why. Starting points never move. Writes; caller commits.
    """
    district = book.district
    rows = session.scalars(
        select(Deadline)
        .where(Deadline.district_code == district, Deadline.stopped_at.is_(None))
        .where(Deadline.id > after if after else Deadline.id.is_not(None))
        .order_by(Deadline.id)
        .limit(limit)
    ).all()
    if not rows:
        return 0, None
    # Case rows first and in order, as everybody does.
    ids = sorted({row.case_id for row in rows})
    session.execute(
        select(Case.id).where(Case.district_code == district, Case.id.in_(ids)).order_by(Case.id).with_for_update()
    )
    moved: set[uuid.UUID] = set()
    for row in rows:
        session.refresh(row)
        if row.stopped_at is not None:
            continue
        try:
            found = reckoned(row, pauses_of(session, district, [row.id])[row.id], book)
        except Invalid:  # a limit written by an older program; it keeps its date
            continue
        if found.at != row.due_at or found.provisional != row.provisional:
            apply_due(session, book, row, found, at=at, why={"calendar": "notices changed"})
            moved.add(row.case_id)
    session.flush()
    for case_id in sorted(moved):
        deadlines.copy_nearest(session, district, case_id)
    return len(moved), rows[-1].id

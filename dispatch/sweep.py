"""The sweep 巡时: deadlines that have come announce themselves, once, and an expiry climbs the ladder's first rung.

Any number of sweepers may run, and any of them may die: each works in one transaction on rows that it has locked.
"""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from core.actor import system
from core.errors import Invalid
from core.ids import new_id
from dispatch import deadlines
from dispatch.actions import apply_due
from dispatch.cases import append
from dispatch.deadlines import OVERDUE, Fired
from dispatch.limits import Limit, due
from dispatch.log import Line
from dispatch.models import Case, Deadline, Outbox
from dispatch.rulebook import Rulebook

#: Who is told of an expiry first: the head of the unit that is measured; the district centre where it measures itself.
_FIRST_RUNG = {True: "unit_head", False: "centre"}


def sweep(session: Session, book: Rulebook, *, at: datetime, limit: int = 200) -> int:
    """Announce what is due in up to `limit` cases and return how many levels were reached.

    Half and nearly due are outbox messages; an expiry is also an entry in the log, with the rung that was told. The
    case's version stays, so that nobody's open page grows stale by a warning. Writes; caller commits.
    """
    district = book.district
    ids = deadlines.due_cases(session, district, at=at, limit=limit)
    fired = deadlines.fire(session, district, ids, at=at)
    if not fired:
        return 0
    cases = {
        case.id: case for case in session.scalars(select(Case).where(Case.district_code == district, Case.id.in_(ids)))
    }
    messages = []
    for found in fired:
        case = cases[found.case_id]
        told = _told(found)
        if found.level == OVERDUE:
            program = system(district, "sweep")
            append(session, case, Line("overdue", program, at, at, case.state, case.state, told))
        topic = "deadline.overdue" if found.level == OVERDUE else "deadline.warned"
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
    session.flush()
    for case_id in cases:
        deadlines.copy_nearest(session, district, case_id)
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
        told["rung"] = _FIRST_RUNG[found.unit is not None]
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
            limit_now = Limit.parse(row.limit)
        except Invalid:  # a limit written by an older program; it keeps its date
            continue
        found = due(row.started_at, limit_now, work=book.work)
        if found.at != row.due_at or found.provisional != row.provisional:
            apply_due(session, row, row.limit, found, at=at, why={"calendar": "notices changed"})
            moved.add(row.case_id)
    session.flush()
    for case_id in sorted(moved):
        deadlines.copy_nearest(session, district, case_id)
    return len(moved), rows[-1].id

"""The sweep 巡时: deadlines that have come announce themselves, once, and expiries climb the ladder.

Any number of sweepers may run, and any of them may die: each works in one transaction on rows that it has locked.
"""

import logging
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from core.actor import system
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.ids import new_id
from dispatch import cases, deadlines
from dispatch.deadlines import OVERDUE, Fired
from dispatch.journal import append_many, as_json
from dispatch.log import Line
from dispatch.rulebook import Rulebook

_log = logging.getLogger(__name__)

_SEEN = text(
    "SELECT id, number, state, version, process, process_version FROM cases "
    "WHERE district_code = :d AND id = ANY (:ids)"
)

_SEND = text(
    "INSERT INTO outbox (district_code, id, case_id, topic, payload, created_at) "
    "SELECT :d, s.id, s.case_id, s.topic, s.payload, :at FROM json_to_recordset(CAST(:rows AS json)) "
    "AS s(id uuid, case_id uuid, topic text, payload jsonb)"
)


def sweep(session: Session, book: Rulebook, *, at: datetime, limit: int = 500) -> int:
    """Announce what is due in up to `limit` cases and return how many levels and rungs were reached.

    Half and nearly due are outbox messages; an expiry, and each rung that it climbs later, is also an entry in the log
    with whom it was told. The case's version stays, so that nobody's open page grows stale by a warning. Where the
    process table names an action for a clock's expiry, the program takes it instead of telling anybody.
    Writes; caller commits.
    """
    district = book.district
    ids = deadlines.due_cases(session, district, at=at, limit=limit)
    if not ids:
        return 0
    seen = _seen(session, district, ids)
    acts = {case.id: _expiry(book, case) for case in seen.values()}
    fired = deadlines.fire(session, book, ids, at=at, quiet=acts)
    announced: list[Fired] = []
    acted: set[uuid.UUID] = set()
    for found in fired:
        if found.level != OVERDUE or found.rung:
            announced.append(found)
        elif _act(session, book, found, acts[found.case_id][found.clock], at=at):
            acted.add(found.case_id)
        else:
            announced.append(deadlines.climb(session, book, found, at=at))
    if acted:
        seen |= _seen(session, district, acted)
    _announce(session, book, announced, seen, at=at)
    return len(fired)


def _seen(session: Session, district: str, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Row[Any]]:
    return {row.id: row for row in session.execute(_SEEN, {"d": district, "ids": list(ids)})}


def _announce(
    session: Session, book: Rulebook, fired: list[Fired], seen: Mapping[uuid.UUID, Row[Any]], *, at: datetime
) -> None:
    """Write the log entries and outbox messages of levels and rungs, and the colours of their cases."""
    program = system(book.district, "sweep")
    lines, messages = [], []
    for found in fired:
        case, told = seen[found.case_id], _told(found)
        topic = "deadline.warned"
        if found.level == OVERDUE:
            action = "overdue" if found.rung == 1 else "escalated"
            topic = f"deadline.{action}"
            lines.append((found.case_id, Line(action, program, at, at, case.state, case.state, told)))
        messages.append(
            {
                "id": new_id(),
                "case_id": found.case_id,
                "topic": topic,
                "payload": told | {"number": case.number},
            }
        )
    append_many(session, book.district, lines, at=at)
    deadlines.copy_nearest(session, book.district, *{found.case_id for found in fired})
    if messages:
        session.execute(_SEND, {"d": book.district, "at": at, "rows": as_json(messages)})


def _expiry(book: Rulebook, case: Row[Any]) -> Mapping[str, str]:
    """Return what the program does by itself when a clock of the case runs out."""
    try:
        return book.process(case.process, case.process_version).expiry
    except NotFound:
        # Opened by a newer program: its clocks are announced like any other, and nobody else's waits for that.
        return {}


def _act(session: Session, book: Rulebook, found: Fired, action: str, *, at: datetime) -> bool:
    """Take the action that the process table names for the expiry; return whether the case allowed it."""
    try:
        with session.begin_nested():
            version = _seen(session, book.district, [found.case_id])[found.case_id].version
            cases.act(session, book, found.case_id, action, expected_version=version, at=at)
    except (Conflict, Forbidden, Invalid, NotFound) as refused:
        _log.warning("case %s: %s at the expiry of %s was refused: %s", found.case_id, action, found.clock, refused)
        return False
    return True


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

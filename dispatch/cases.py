"""The only way a case changes 办理: one action, one row lock, one entry in the log, clocks and outbox with it.

Knows how a step of the process table is applied. What a single action does to the case row stands in
`dispatch.actions`; which actions there are, in the tables.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from core.actor import Role
from core.db import actor_of, pin_case
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.ids import new_id
from dispatch import deadlines
from dispatch.actions import HANDLERS, Change
from dispatch.calendar import china_time
from dispatch.limits import due
from dispatch.log import Line, as_columns, checked_times, link
from dispatch.models import Case, Entry, Outbox
from dispatch.process import Step, check_fields, permit
from dispatch.rulebook import Rulebook

#: What a step's `may: [place]` stands for in a form.
_PLACE = ("lng", "lat", "datum", "place_name")
#: Fields that every step understands.
_ALWAYS = ("reason", "note")


@dataclass(frozen=True, slots=True)
class Done:
    """What an action led to."""

    case_id: uuid.UUID
    number: str
    state: str
    #: The version to name with the next action.
    version: int
    #: Number of the last log entry.
    seq: int


def locked(session: Session, district: str, case_id: uuid.UUID) -> Case:
    """Return the case row, locked until the transaction ends; raises NotFound for what the actor may not see."""
    case = session.scalar(
        select(Case)
        .where(Case.district_code == district, Case.id == case_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if case is None:
        raise NotFound("There is no such case.")
    return case


def act(
    session: Session,
    book: Rulebook,
    case_id: uuid.UUID,
    action: str,
    *,
    expected_version: int,
    at: datetime,
    happened_at: datetime | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Done:
    """Do one action on a case as the session's actor.

    expected_version: the version that the actor saw. at: aware, from the system's clock. happened_at: as the actor
    says, at most `at`. fields: as the process table asks for them.
    Raises NotFound, Forbidden, Invalid, and Conflict when the case went on since the actor looked.
    Writes; caller commits; locks the case row.
    """
    actor = actor_of(session)
    case = locked(session, book.district, case_id)
    if case.version != expected_version:
        state = book.process(case.process, case.process_version).state(case.state)
        raise Conflict(
            "The case was changed in the meantime and is now: {state}. Nothing of yours was saved; look and try again.",
            state=state.label,
            version=case.version,
        )
    # The row was seen through its own policy; its log and shares may be read now.
    pin_case(session, case.id)
    change = Change(session, book, case, actor, at, checked_times(happened_at, at), dict(fields or {}))
    _take(change, action)
    following = change.follow_with
    if following:
        change.fields, change.follow_with = following[1], None
        _take(change, following[0])
    case.version += 1
    deadlines_changed = change.clocks_touched
    session.flush()
    if deadlines_changed:
        deadlines.copy_nearest(session, book.district, case.id)
    _publish(change)
    return Done(case.id, case.number, case.state, case.version, case.entries)


def _take(change: Change, action: str) -> None:
    """Apply one step: permission, fields, the action's own effect, clocks, state, log entry, outbox topics."""
    case, book = change.case, change.book
    process = book.process(case.process, case.process_version)
    step = process.step_for(action, case.state)
    _permit(change, step)
    _check_known(step, change.fields)
    check_fields(step, change.fields)
    change.data = {name: value for name, value in change.fields.items() if value not in (None, "")}
    handler = HANDLERS.get(action)
    if handler:
        handler(change)
    before = case.state
    deadlines.stop(change.session, book.district, case.id, step.stops, at=change.at, void=step.outcome == "void")
    deadlines.start(
        change.session,
        book.district,
        case.id,
        [
            book.clock(
                name,
                unit=case.unit_code if name in ("sign", "reply") else None,
                kind=case.kind,
                urgency=case.urgency,
                category=case.category_code or "",
                start=change.at,
            )
            for name in step.starts
        ],
    )
    change.clocks_touched |= bool(step.stops or step.starts)
    case.state = step.target
    was_open, case.open = case.open, process.state(step.target).open
    if was_open and not case.open:
        case.closed_at = change.at
        change.topics.append(("case.closed", change.tally()))
    elif case.open and not was_open:
        case.closed_at = None
        change.topics.append(("case.reopened", change.tally()))
    change.topics += [(topic, change.told()) for topic in step.emits]
    append(
        change.session,
        case,
        Line(
            action,
            change.actor,
            change.happened_at,
            change.at,
            before,
            case.state,
            change.data,
        ),
    )


def append(session: Session, case: Case, line: Line) -> None:
    """Add a line to the log of a locked case and move the head of its chain. Writes; caller commits."""
    last = session.scalar(
        select(Entry.recorded_at).where(
            Entry.district_code == case.district_code, Entry.case_id == case.id, Entry.seq == case.entries
        )
    )
    if last is not None and line.recorded_at < last:
        raise Conflict("The clock of this server runs behind the log; nothing was changed.")
    columns = as_columns(case.entries + 1, line)
    sealed = link(bytes(case.head_hash), columns)
    keys = {"district_code": case.district_code, "case_id": case.id, "prev_hash": case.head_hash, "hash": sealed}
    session.execute(insert(Entry), [columns | keys])
    case.entries += 1
    case.head_hash = sealed


def _permit(change: Change, step: Step) -> None:
    case, actor = change.case, change.actor
    times = 0
    if step.cap is not None:
        times = (
            change.session.scalar(
                select(func.count()).where(
                    Entry.district_code == case.district_code, Entry.case_id == case.id, Entry.action == step.action
                )
            )
            or 0
        )
    permit(step, actor.role, times=times)
    if actor.role is Role.UNIT and case.unit_code != actor.unit and step.action != "note":
        raise Forbidden("The case is with another unit now.")
    if step.within and case.closed_at:
        until = due(case.closed_at, step.within, work=change.book.work).at
        if change.at > until:
            raise Conflict("The time for this ran out on {day}.", day=china_time(until).date().isoformat())


def _check_known(step: Step, fields: Mapping[str, Any]) -> None:
    known = {*step.needs, *step.may, *_ALWAYS, *(_PLACE if "place" in step.may else ())}
    if step.action == "correct":
        # With a unit the corrected case is dispatched in the same save.
        known.add("unit")
    for name, value in fields.items():
        if name not in known:
            raise Invalid("The action {action} has no field {name}.", field=name, action=step.action, name=name)
        if isinstance(value, str) and (len(value) > 5000 or "\x00" in value):
            raise Invalid("{name} is too long or not text.", field=name, name=name)


def _publish(change: Change) -> None:
    """Write the outbox rows of the change; the row's id is the idempotency key of the delivery."""
    if change.topics:
        change.session.execute(
            insert(Outbox),
            [
                {
                    "district_code": change.book.district,
                    "id": new_id(),
                    "case_id": change.case.id,
                    "topic": topic,
                    "payload": payload,
                    "created_at": change.at,
                }
                for topic, payload in change.topics
            ],
        )

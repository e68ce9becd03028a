"""The only way a case changes 办理: one action, one row lock, one entry in the log, clocks and outbox with it.

Knows how a step of the process table is applied. What a single action does to the case row stands in
`dispatch.actions`; which actions there are, in the tables.
"""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.actor import Role, system
from core.batch import find, write
from core.db import acting_as, actor_of, ask, pin_case
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.ids import new_id
from dispatch import journal
from dispatch.actions import HANDLERS, Change, find_share, take_part
from dispatch.calendar import china_time
from dispatch.fields import check
from dispatch.guards import GUARDS, Look, share_fits
from dispatch.items.guards import GUARDS as ITEM_GUARDS
from dispatch.items.information import APPLY
from dispatch.limits import due
from dispatch.log import Line, checked_times, late_after
from dispatch.models import Attachment, Case, Entry, Outbox
from dispatch.process import Step, permit
from dispatch.roads import MERGED_INTO, ROADS, lapse_plea, lapse_supervision, what_follows
from dispatch.rulebook import Rulebook

#: Clocks of single shares and owed materials; they start and stop with those.
_SHARE_CLOCKS = ("share_sign", "share_reply", "debt")
_GUARDS = {**GUARDS, **ITEM_GUARDS}
#: What follows from an action of anybody is the program's own, and is logged as such.
_BY_ITSELF = ("skip",)


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
    return _seen(session, district, case_id, " FOR UPDATE")


def _seen(session: Session, district: str, case_id: uuid.UUID, lock: str = "") -> Case:
    case = find(session, Case, "district_code = $1::text AND id = $2::uuid" + lock, district, case_id)
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
    before = case.state, case.unit_code
    if case.version != expected_version:
        state = book.process(case.process, case.process_version).state(case.state)
        raise Conflict(
            "The case was changed in the meantime and is now: {state}. Nothing of yours was saved; look and try again.",
            state=state.label,
            version=case.version,
        )
    look = Look(session, book, case, book.process(case.process, case.process_version), actor, at)
    change = Change(session, book, case, actor, at, checked_times(happened_at, at), look, dict(fields or {}))
    _take(change, action)
    while following := change.follow_with:
        change.fields, change.follow_with = following[1], None
        if following[0] in _BY_ITSELF:
            change.actor = look.actor = system(book.district, "levels")
        _take(change, following[0])
    case.version += 1
    if change.clocks_touched:
        due = look.clocks.nearest
        case.due_at, case.due_clock, case.warned = (due.due_at, due.clock, due.fired) if due else (None, None, 0)
    done = Done(case.id, case.number, case.state, case.version, case.entries)
    follows = what_follows(change, before[1]) if (case.state, case.unit_code) != before else None
    write(session, [*change.entries, *_messages(change)])
    if follows:
        _tell_merged(session, book, done.case_id, *follows, at=at)
    return done


def offered(session: Session, book: Rulebook, case_id: uuid.UUID, *, at: datetime) -> tuple[Step, ...]:
    """Return the steps that the session's actor may take on a case now, in the table's order: buttons and choices.

    What a guard would refuse is left out. Raises NotFound for a case that the actor may not see. Reads; pins the case.
    """
    actor = actor_of(session)
    case = _seen(session, book.district, case_id)
    look = Look(session, book, case, book.process(case.process, case.process_version), actor, at)
    return tuple(step for step in look.process.offered(case.state, actor.role) if _possible(look, step))


def _possible(look: Look, step: Step) -> bool:
    try:
        _permit(look, step)
    except (Conflict, Forbidden):
        return False
    return True


def _take(change: Change, action: str) -> None:
    """Apply one step: permission, fields, the action's own effect, shares, clocks, state, log entry, outbox topics."""
    case, look = change.case, change.look
    step = look.process.step_for(action, case.state)
    _permit(look, step)
    known = look.process.fields(step, case.kind)
    if action == "correct":
        # With a unit the corrected case is dispatched in the same save.
        known = (*known, "unit")
    needed = (*look.process.needs(step, case.kind), *(("reason",) if step.reason_required else ()))
    change.fields = check(change.fields, needed=needed, known=known, action=action)
    _check_photos(change)
    change.data = dict(change.fields)
    change.stops, change.target = step.stops, step.target
    find_share(change, step)
    take_part(change, step)
    handler = APPLY.get(case.process, {}).get(action) or HANDLERS.get(action) or ROADS.get(action)
    if handler:
        handler(change)
    before = case.state
    if before == "merged" != step.target:
        # However it leaves, answered, undone or withdrawn: the main case has no say in it any more.
        case.merged_into = None
    if case.plea and step.target != before:
        lapse_plea(change)
    final = look.process.state(step.target).final
    if final and not look.process.state(before).final:
        lapse_supervision(change)
    _turn_clocks(change, step, final=final)
    _settle(change, step)
    for topic in step.emits:
        change.topics += [(topic, told) for told in change.told_by(topic)]
    allowed = late_after(change.book.settings)
    line = Line(action, change.actor, change.happened_at, change.at, before, case.state, change.data, allowed)
    change.entries.append((Entry, journal.next_entry(case, line, last=change.look.recorded_at)))


def _check_photos(change: Change) -> None:
    """Raise Invalid for a photo that is none of the case's: evidence has to be there."""
    named = change.fields.get("photos")
    if not named:
        return
    try:
        ids = {uuid.UUID(one) for one in named}
    except ValueError:
        ids = set()
    found = change.session.scalars(
        select(Attachment.id).where(
            Attachment.district_code == change.book.district,
            Attachment.case_id == change.case.id,
            Attachment.id.in_(ids),
        )
    ).all()
    if not ids or len(found) != len(ids):
        raise Invalid("One of the photos does not belong to this case.", field="photos")


def _turn_clocks(change: Change, step: Step, *, final: bool) -> None:
    """Stop, hold, resume and start the clocks that a step names; a case at rest has none."""
    clocks, at = change.look.clocks, change.at
    # Clocks of single shares stop with their share, not by name.
    own = [name for name in step.stops if name not in _SHARE_CLOCKS]
    clocks.stop(own, at=at, void=step.outcome == "void")
    if final:
        clocks.stop(change.process.sides, at=at, void=True)
    clocks.hold(step.holds, at=at, reason=change.pause_reason)
    clocks.resume(change.book, step.resumes, at=at)
    clocks.start([*(change.clock(name) for name in step.starts if name not in _SHARE_CLOCKS), *change.starting])
    change.clocks_touched |= bool(step.stops or step.starts or step.holds or step.resumes or final)
    change.starting = []


def _settle(change: Change, step: Step) -> None:
    """Move the case to the step's target state, and note when it comes to rest or is taken up again."""
    case = change.case
    case.state = step.target
    was_open, case.open = case.open, change.process.state(step.target).open
    if was_open and not case.open:
        case.closed_at = change.at
        change.topics.append(("case.closed", change.tally()))
    elif case.open and not was_open:
        case.closed_at = None
        change.topics.append(("case.reopened", change.tally()))


def _tell_merged(
    session: Session, book: Rulebook, main: uuid.UUID, action: str, fields: dict[str, Any], *, at: datetime
) -> None:
    """Let the program do on merged cases what follows from a step on their main case, in the same transaction.

    Main case first, then its callers by id: every action locks in this order; who still crosses another gets Conflict.
    """
    # The acting person may not be allowed to see the cases of other callers.
    with acting_as(session, system(book.district, "merge")):
        callers = ask(session, MERGED_INTO, (book.district, main))
        for (key,) in callers:
            caller = locked(session, book.district, key)
            if caller.merged_into == main:
                act(session, book, key, action, expected_version=caller.version, at=at, fields=fields)
    if callers:
        # Each action on a caller pinned that one.
        pin_case(session, main)


def _permit(look: Look, step: Step) -> None:
    """Raise Forbidden or Conflict unless the actor may take the step on this case now."""
    case, actor = look.case, look.actor
    counted = step.cap is not None or step.caps
    permit(
        step,
        actor.role,
        times=look.taken.get(step.action, 0) if counted else 0,
        own_times=look.taken_by_role.get(step.action, 0) if step.caps else 0,
        cap=look.cap(step.action) if step.cap is not None else None,
    )
    if actor.role is Role.UNIT and not _its_own(look, step):
        raise Forbidden("The case is with another unit now.")
    if step.within and case.closed_at:
        until = due(case.closed_at, step.within, work=look.book.work).at
        if look.at > until:
            raise Conflict("The time for this ran out on {day}.", day=china_time(until).date().isoformat())
    share_fits(look, step)
    for name in step.guards:
        _GUARDS[name](look)


def _its_own(look: Look, step: Step) -> bool:
    """Return whether a unit may take the step: as the lead, with a share of its own, or with any share ever."""
    if step.who == "any":
        return True
    if step.who == "share":
        return look.share_of(look.actor.unit) is not None
    return look.case.unit_code == look.actor.unit


def _messages(change: Change) -> Iterator[tuple[type[Outbox], dict[str, Any]]]:
    """Yield the outbox rows of the change; the row's id is the idempotency key of the delivery."""
    keys = {"district_code": change.book.district, "case_id": change.case.id, "created_at": change.at}
    for topic, payload in change.topics:
        yield Outbox, {**keys, "id": new_id(), "topic": topic, "payload": payload}

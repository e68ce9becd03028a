"""Calls 来电: what the switchboard tells becomes one row a call, whatever order it comes in; the queue is read here.

Knows calls and seats. Who is to be called back follows in `hotline.telephone.callbacks`.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.actor import Role, system
from core.crypto import blind_index, seal, unseal
from core.db import acting_as, actor_of, pin_case
from core.documents import masked
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.ids import new_id
from dispatch.calendar import china_time
from dispatch.identity import write
from dispatch.models import Case, Report
from hotline.telephone import callbacks, seats
from hotline.telephone.hook import WINDOW, Event, check_recording
from hotline.telephone.models import Call, CallEvent, HookRefusal, Seat

#: A call that nothing was heard of for this long is over: the switchboard's word was lost.
LOST = timedelta(hours=6)
#: Causes that are ours: the switchboard's own word replaces them.
_UNTOLD = ("lost", "desk")
#: Waiting calls that are shown.
MAX_WAITING = 50


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of an event."""

    call_id: uuid.UUID
    #: The same event was here before; nothing was written.
    repeated: bool
    #: ringing, talking or over.
    state: str


def state_of(call: Call) -> str:
    """Return ringing, talking or over."""
    if call.ended_at is not None:
        return "over"
    return "ringing" if call.answered_at is None else "talking"


def take(session: Session, event: Event, *, at: datetime, wrap: timedelta = seats.WRAP) -> Taken:
    """Write down an event and what follows from it; the same event again changes nothing.

    at: aware, ours. wrap: after-call work of the district. Raises Invalid for another event under a known id.
    Writes, as the program; caller commits; locks the call.
    """
    district = actor_of(session).district
    _open(session, district, event)
    call = session.scalars(
        select(Call).where(Call.district_code == district, Call.source_id == event.call).with_for_update()
    ).one()
    written = session.scalar(
        insert(CallEvent)
        .values(
            district_code=district,
            id=new_id(),
            call_id=call.id,
            event_id=event.id,
            kind=event.kind,
            extension=event.extension,
            happened_at=event.at,
            recorded_at=at,
            digest=event.digest,
        )
        .on_conflict_do_nothing()
        .returning(CallEvent.id)
    )
    if written is None:
        _check_same(session, district, event)
        return Taken(call.id, repeated=True, state=state_of(call))
    _apply(session, call, event, at=at, wrap=wrap)
    session.flush()
    callbacks.follow(session, call, at=at)
    return Taken(call.id, repeated=False, state=state_of(call))


def _open(session: Session, district: str, event: Event) -> None:
    """Make the row of a call unless it is there: any event may be the first that comes."""
    session.execute(
        insert(Call)
        .values(
            district_code=district,
            id=new_id(),
            source_id=event.call,
            direction=event.direction,
            begun_at=event.at,
        )
        .on_conflict_do_nothing()
    )


def _check_same(session: Session, district: str, event: Event) -> None:
    known = session.scalar(
        select(CallEvent.digest).where(CallEvent.district_code == district, CallEvent.event_id == event.id)
    )
    if known is not None and bytes(known) != event.digest:
        raise Invalid("Another event came under this id before.", field="id")


def _apply(session: Session, call: Call, event: Event, *, at: datetime, wrap: timedelta) -> None:
    """Let an event change the call so that the order of events does not matter."""
    was_served = call.answered_at is not None and call.ended_at is not None
    call.begun_at = min(call.begun_at, event.at)
    if event.phone and call.phone_sealed is None:
        call.phone_sealed = seal(event.phone, context="call.phone")
        call.phone_index = index_of(event.phone)
    call.line = call.line or event.line
    if event.extension:
        call.extension = _extension(session, call)
    if event.kind == "answer":
        call.answered_at = min(call.answered_at or event.at, event.at)
        seat = seats.at_extension(session, call.extension)
        # A late word about a call of the shift before is not about whoever sits there now.
        if seat is not None and call.operator_id is None and seat.taken_at <= event.at + WINDOW:
            call.operator_id = seat.account_id
        if call.ended_at is None:
            _one_at_a_time(session, call)
    elif event.kind == "hangup":
        told = call.ended_at is not None and call.cause not in _UNTOLD
        call.ended_at = max(call.ended_at or event.at, event.at) if told else event.at
        call.cause = event.cause or call.cause if told else event.cause or "normal"
    elif event.kind == "recording":
        call.recording_url = event.url
    if call.answered_at is not None and call.ended_at is not None and not was_served:
        session.flush()
        seats.begin_wrap(session, call, at=at, wrap=wrap)


def _extension(session: Session, call: Call) -> str:
    """Return where a call is: the last place that answered it, else the last at which it rang."""
    query = select(CallEvent.extension).where(
        CallEvent.district_code == call.district_code, CallEvent.call_id == call.id, CallEvent.extension != ""
    )
    first = query.order_by((CallEvent.kind == "answer").desc(), CallEvent.happened_at.desc(), CallEvent.id.desc())
    return session.scalar(first.limit(1)) or call.extension


def _one_at_a_time(session: Session, call: Call) -> None:
    """End what an extension was at before: whoever answers the next call has ended the last."""
    if not call.extension or call.answered_at is None:
        return
    session.execute(
        update(Call)
        .where(
            Call.district_code == call.district_code,
            Call.extension == call.extension,
            Call.id != call.id,
            Call.ended_at.is_(None),
            Call.answered_at < call.answered_at,
        )
        .values(ended_at=call.answered_at, cause="lost", wrapped_at=call.answered_at)
    )


def index_of(phone: str) -> bytes:
    """Return the blind index of a number's digits, as a report keeps it."""
    return blind_index(phone, context="phone")


def refuse(session: Session, reason: str, *, at: datetime) -> None:
    """Count an event that was refused; nothing of it is kept. reason: signature, clock or keys. Writes, as system."""
    day = china_time(at).date()
    session.execute(
        insert(HookRefusal)
        .values(district_code=actor_of(session).district, day=day, reason=reason, count=1)
        .on_conflict_do_update(index_elements=["district_code", "day", "reason"], set_={"count": HookRefusal.count + 1})
    )


def refused(session: Session, *, at: datetime) -> int:
    """Return how many events were refused today; reads, for supervisors and administrators."""
    today = (HookRefusal.district_code == actor_of(session).district, HookRefusal.day == china_time(at).date())
    return session.scalar(select(func.coalesce(func.sum(HookRefusal.count), 0)).where(*today)) or 0


def accept(session: Session, call_id: uuid.UUID, *, at: datetime) -> Call:
    """Give a call to the session's actor, whose desk then shows it; raises Conflict when a colleague has it.

    at: aware; becomes the time of answering where the switchboard has not told one, so that whoever accepts a call
    is seen as talking. Raises NotFound and, without a seat, Invalid. Writes; caller commits; locks the call.
    """
    actor = actor_of(session)
    call = _locked(session, call_id)
    if call.operator_id not in (None, actor.id):
        raise Conflict("{name} has this call already.", name=_name_of(session, call.operator_id))
    seat = seats.mine(session)
    if seat is None:
        raise Invalid("Take a seat first: choose your extension.", field="extension")
    call.operator_id = actor.id
    if call.ended_at is None and call.answered_at is None:
        call.answered_at = max(at, call.begun_at)
        call.extension = call.extension or seat.extension
    return call


def finish(session: Session, *, at: datetime) -> None:
    """End after-call work of the session's actor, and the call itself where the switchboard did not say so.

    Writes; caller commits. Nothing to end is no error: two keys may be pressed.
    """
    seat = seats.mine(session)
    if seat is None:
        return
    call = talking(session)
    if call is None and seat.wrap_call is not None:
        call = session.get(Call, (seat.district_code, seat.wrap_call))
    if call is not None:
        if call.ended_at is None:
            call.ended_at, call.cause = max(at, call.answered_at or at), "desk"
        call.wrapped_at = min(call.wrapped_at or at, at)
        # Calls before seats, as when an event comes: two that wait for each other help nobody.
        session.flush()
    seat.wrap_call = seat.wrap_until = None


def bind(session: Session, call_id: uuid.UUID, *, key: str) -> tuple[str, str | None]:
    """Return source id and number for the report that a call led to, for whoever takes it.

    A second matter of the same call gets a source id of its own, made with the form's key: what was reported counts,
    for whoever died before `link` left a report that the call does not name. Raises NotFound, and Forbidden for a
    colleague's call. Reads.
    """
    actor = actor_of(session)
    call = one(session, call_id)
    if call.operator_id not in (None, actor.id):
        raise Forbidden("This call is a colleague's.")
    second = call.case_id is not None or _reported(session, call, key)
    source = f"{call.source_id}#{key}" if second else call.source_id
    return source, unseal(bytes(call.phone_sealed), context="call.phone") if call.phone_sealed else None


def _reported(session: Session, call: Call, key: str) -> bool:
    """Return whether another form than this one has reported a matter of the call already."""
    same = (Report.district_code == call.district_code, Report.channel == "hotline", Report.source_id == call.source_id)
    # A town's operators see no reports of other towns; that there is one is all that is asked.
    with acting_as(session, system(call.district_code, "telephone")):
        earlier = session.scalars(select(Report.idempotency_key).where(*same).limit(1)).all()
    return bool(earlier) and earlier[0] != key


def link(session: Session, call_id: uuid.UUID, case_id: uuid.UUID) -> None:
    """Note the case that a call led to; the first stays. Writes; caller commits."""
    actor = actor_of(session)
    mine = (Call.district_code == actor.district, Call.id == call_id, Call.case_id.is_(None))
    free = or_(Call.operator_id.is_(None), Call.operator_id == actor.id)
    session.execute(update(Call).where(*mine, free).values(case_id=case_id, operator_id=actor.id))


def recording(session: Session, call_id: uuid.UUID, *, reason: str, hosts: Sequence[str], at: datetime) -> str:
    """Return where a recording lies, after writing down who opened it and why.

    hosts: allowed now, which may be fewer than when the link came. The person concerned sees it with the case.
    Raises NotFound, Forbidden for roles that need not hear it, Invalid without a reason. Writes; caller commits.
    """
    actor = actor_of(session)
    call = one(session, call_id)
    if actor.role is not Role.SUPERVISOR and call.operator_id != actor.id:
        raise Forbidden("A recording is heard by whoever took the call, and by supervisors.")
    if call.recording_url is None:
        raise NotFound("There is no recording of this call.")
    if len(reason.strip()) < 2:
        raise Invalid(
            "Say why you need to see it: it is written down and the person concerned may read it.", field="reason"
        )
    check_recording(call.recording_url, hosts)
    said = {"field": "recording", "reason": reason.strip()[:500], "actor": str(actor.id or ""), "name": actor.name}
    opened = new_id()
    session.add(
        CallEvent(
            district_code=actor.district,
            id=opened,
            call_id=call.id,
            event_id=f"opened:{opened}",
            kind="opened",
            happened_at=at,
            recorded_at=at,
            digest=b"",
            detail=said,
        )
    )
    if call.case_id is not None:
        pin_case(session, call.case_id)
        write(session, call.case_id, "recording", why="", reason=said["reason"], at=at)
    return call.recording_url


def one(session: Session, call_id: uuid.UUID) -> Call:
    """Return a call; raises NotFound. Reads."""
    found = session.get(Call, (actor_of(session).district, call_id))
    if found is None:
        raise NotFound("There is no such call.")
    return found


def of_case(session: Session, case_id: uuid.UUID) -> list[Call]:
    """Return the calls that led to a case, at most 20; reads."""
    mine = (Call.district_code == actor_of(session).district, Call.case_id == case_id)
    return list(session.scalars(select(Call).where(*mine).order_by(Call.begun_at).limit(20)))


def _locked(session: Session, call_id: uuid.UUID) -> Call:
    found = session.get(Call, (actor_of(session).district, call_id), with_for_update=True, populate_existing=True)
    if found is None:
        raise NotFound("There is no such call.")
    return found


def _name_of(session: Session, account_id: uuid.UUID | None) -> str:
    query = select(Seat.name).where(Seat.district_code == actor_of(session).district, Seat.account_id == account_id)
    return session.scalar(query) or "—"


def talking(session: Session) -> Call | None:
    """Return the call that the session's actor is at now; reads."""
    actor = actor_of(session)
    query = select(Call).where(
        Call.district_code == actor.district,
        Call.ended_at.is_(None),
        Call.operator_id == actor.id,
        Call.answered_at.is_not(None),
    )
    return session.scalars(query.order_by(Call.answered_at.desc()).limit(1)).first()


def current(session: Session) -> Call | None:
    """Return the call that belongs on the session's actor's desk: at it, ringing at the seat, or just ended. Reads."""
    found = talking(session)
    if found is not None:
        return found
    seat = seats.mine(session)
    if seat is None:
        return None
    ringing = select(Call).where(
        Call.district_code == seat.district_code,
        Call.ended_at.is_(None),
        Call.answered_at.is_(None),
        Call.extension == seat.extension,
        Call.direction == "in",
    )
    found = session.scalars(ringing.order_by(Call.begun_at.desc()).limit(1)).first()
    if found is None and seat.wrap_call is not None:
        found = session.get(Call, (seat.district_code, seat.wrap_call))
    return found


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call that nobody has answered."""

    id: uuid.UUID
    since: datetime
    #: Masked; empty where it is withheld.
    phone: str
    line: str
    extension: str
    #: Who sits there; empty for nobody.
    name: str


def waiting(session: Session, *, at: datetime) -> list[Waiting]:
    """Return the calls that nobody has answered, the longest wait first, at most MAX_WAITING; reads."""
    district = actor_of(session).district
    query = (
        select(Call, Seat.name)
        .outerjoin(Seat, (Seat.district_code == district) & (Seat.extension == Call.extension))
        .where(
            Call.district_code == district,
            Call.ended_at.is_(None),
            Call.answered_at.is_(None),
            Call.direction == "in",
            Call.begun_at > at - LOST,
        )
        .order_by(Call.begun_at)
        .limit(MAX_WAITING)
    )
    return [
        Waiting(call.id, call.begun_at, phone_of(call), call.line, call.extension, name or "")
        for call, name in session.execute(query)
    ]


def phone_of(call: Call) -> str:
    """Return a call's number masked, as it is shown to somebody who gave no reason; empty where it is withheld."""
    if call.phone_sealed is None:
        return ""
    return masked("phone", unseal(bytes(call.phone_sealed), context="call.phone"))


def case_number(session: Session, call: Call) -> str:
    """Return the number of the case that a call led to, if the session's actor may see it; else nothing."""
    if call.case_id is None:
        return ""
    query = select(Case.number).where(Case.district_code == call.district_code, Case.id == call.case_id)
    return session.scalar(query) or ""


def end_lost(session: Session, *, at: datetime, limit: int = 200) -> int:
    """End calls whose end the switchboard never told; return how many. Writes, as the program; caller commits."""
    district = actor_of(session).district
    old = select(Call.id).where(Call.district_code == district, Call.ended_at.is_(None), Call.begun_at < at - LOST)
    chosen = session.scalars(old.order_by(Call.begun_at).limit(limit).with_for_update(skip_locked=True)).all()
    if chosen:
        session.execute(
            update(Call)
            .where(Call.district_code == district, Call.id.in_(chosen))
            .values(ended_at=at, cause="lost", wrapped_at=at)
        )
    return len(chosen)


def newest(session: Session, *, limit: int) -> list[Call]:
    """Return the newest calls: the actor's own, or everybody's for a supervisor. Reads."""
    actor = actor_of(session)
    query = select(Call).where(Call.district_code == actor.district)
    if actor.role is not Role.SUPERVISOR:
        query = query.where(Call.operator_id == actor.id)
    return list(session.scalars(query.order_by(Call.begun_at.desc()).limit(limit)))

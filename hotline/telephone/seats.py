"""Seats 座席: who sits at which extension, and what each is doing. Knows seats; of a call it changes only `wrapped_at`.

What a person is doing is worked out from times, so that a timer that ends needs nobody to end it.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Integer, cast, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.db import actor_of
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch.words import N_
from hotline.telephone.hook import EXTENSION
from hotline.telephone.models import Call, Seat

#: After-call work 话后处理: *default*, how much one key adds, and the longest in all.
WRAP, MORE_WRAP, MOST_WRAP = timedelta(seconds=90), timedelta(seconds=60), timedelta(minutes=15)
#: A seat that was taken longer ago belongs to nobody any more: whoever had it forgot to leave.
SHIFT = timedelta(hours=14)
#: An end that is told later than this starts no after-call work.
_FRESH = timedelta(minutes=2)
#: Who takes calls, and who looks after those who do.
_SITS, _LOOKS = (Role.OPERATOR,), (Role.OPERATOR, Role.SUPERVISOR)
#: What a person at a seat does → words for people, in the order of the page.
DOES: Mapping[str, str] = {
    "free": N_("Free"),
    "ringing": N_("Ringing"),
    "talking": N_("Talking"),
    "wrap": N_("After-call work"),
    "break": N_("On a break"),
}


@dataclass(frozen=True, slots=True)
class Sitting:
    """A seat and what its person does now."""

    extension: str
    account_id: uuid.UUID
    name: str
    #: One of DOES.
    does: str
    #: Since when; None where it is not known.
    since: datetime | None
    #: When after-call work ends by itself.
    until: datetime | None
    #: The call that it is about.
    call_id: uuid.UUID | None


def take(session: Session, extension: str, *, at: datetime) -> Seat:
    """Sit the session's actor down at an extension; whoever sits elsewhere moves.

    Raises Forbidden for roles that take no calls, Invalid for a malformed extension, Conflict when a colleague sits
    there. Writes; caller commits.
    """
    actor = actor_of(session)
    _check(actor, *_SITS)
    if not EXTENSION.fullmatch(extension):
        raise Invalid("An extension has 2 to 8 digits.", field="extension")
    assert actor.id is not None, "an operator has an account"
    there = session.get(Seat, (actor.district, extension), with_for_update=True, populate_existing=True)
    if there is not None and there.account_id == actor.id:
        return there
    if there is not None and there.taken_at > at - SHIFT:
        raise Conflict("{name} sits at extension {extension}.", field="extension", name=there.name, extension=extension)
    if there is not None:
        session.delete(there)
    session.execute(delete(Seat).where(Seat.district_code == actor.district, Seat.account_id == actor.id))
    session.flush()
    made = session.scalars(
        insert(Seat)
        .values(district_code=actor.district, extension=extension, account_id=actor.id, name=actor.name, taken_at=at)
        .on_conflict_do_nothing()
        .returning(Seat)
    ).one_or_none()
    if made is None:
        raise Conflict("Somebody else changed this at the same moment; load it again.")
    return made


def leave(session: Session, extension: str = "") -> None:
    """Free a seat: one's own, or as a supervisor anybody's. Raises NotFound and Forbidden. Writes; caller commits."""
    actor = actor_of(session)
    _check(actor, *_LOOKS)
    seat = session.get(Seat, (actor.district, extension)) if extension else mine(session)
    if seat is None:
        raise NotFound("Nobody sits there.")
    if seat.account_id != actor.id and actor.role is not Role.SUPERVISOR:
        raise Forbidden("Only a supervisor frees the seat of somebody else.")
    session.delete(seat)


def pause(session: Session, *, on: bool, at: datetime) -> None:
    """Begin or end a break of the session's actor; a call that is on goes on. Raises NotFound. Writes."""
    seat = mine(session)
    if seat is None:
        raise NotFound("Take a seat first: choose your extension.")
    seat.break_since = (seat.break_since or at) if on else None


def more_time(session: Session, *, at: datetime) -> None:
    """Prolong after-call work of the session's actor by MORE_WRAP, up to MOST_WRAP in all. Writes; caller commits."""
    seat = mine(session)
    if seat is None or seat.wrap_call is None or seat.wrap_until is None or seat.wrap_until <= at:
        raise Conflict("After-call work is over already.")
    call = session.get(Call, (seat.district_code, seat.wrap_call))
    if call is not None and call.ended_at is not None:
        call.wrapped_at = min(seat.wrap_until + MORE_WRAP, call.ended_at + MOST_WRAP)
        session.flush()
        seat.wrap_until = call.wrapped_at


def begin_wrap(session: Session, call: Call, *, at: datetime, wrap: timedelta) -> None:
    """Start after-call work of whoever took a call that is over now; does nothing for an end told late. Writes."""
    if call.operator_id is None or call.ended_at is None or at - call.ended_at > _FRESH:
        return
    query = select(Seat).where(Seat.district_code == call.district_code, Seat.account_id == call.operator_id)
    seat = session.scalars(query.with_for_update()).one_or_none()
    if seat is not None:
        call.wrapped_at = at + wrap
        session.flush()
        seat.wrap_call, seat.wrap_until = call.id, at + wrap


def mine(session: Session) -> Seat | None:
    """Return the seat of the session's actor; None for standing up. Reads."""
    actor = actor_of(session)
    query = select(Seat).where(Seat.district_code == actor.district, Seat.account_id == actor.id)
    return session.scalars(query).one_or_none()


def at_extension(session: Session, extension: str) -> Seat | None:
    """Return who sits at an extension; reads."""
    return session.get(Seat, (actor_of(session).district, extension)) if extension else None


def taken(session: Session) -> list[Seat]:
    """Return every seat that is taken, by extension; reads."""
    query = select(Seat).where(Seat.district_code == actor_of(session).district)
    return list(session.scalars(query.order_by(Seat.extension).limit(500)))


def all_seats(session: Session, *, at: datetime) -> list[Sitting]:
    """Return every taken seat with what its person does at a moment; reads."""
    district = actor_of(session).district
    query = select(Call).where(
        Call.district_code == district, Call.ended_at.is_(None), Call.begun_at > at - timedelta(hours=6)
    )
    open_calls = list(session.scalars(query.order_by(Call.begun_at.desc()).limit(1000)))
    talking = {call.operator_id: call for call in open_calls if call.answered_at is not None}
    ringing = {call.extension: call for call in open_calls if call.answered_at is None and call.extension}
    return [does(seat, talking.get(seat.account_id), ringing.get(seat.extension), at=at) for seat in taken(session)]


def does(seat: Seat, talking: Call | None, ringing: Call | None, *, at: datetime) -> Sitting:
    """Return what the person at a seat does: a call before a break, a break before after-call work."""

    def said(what: str, since: datetime | None, until: datetime | None = None, call: Call | None = None) -> Sitting:
        call_id = call.id if call is not None else seat.wrap_call if what == "wrap" else None
        return Sitting(seat.extension, seat.account_id, seat.name, what, since, until, call_id)

    if talking is not None:
        return said("talking", talking.answered_at, call=talking)
    if ringing is not None:
        return said("ringing", ringing.begun_at, call=ringing)
    if seat.break_since is not None:
        return said("break", seat.break_since)
    if seat.wrap_until is not None and seat.wrap_until > at:
        return said("wrap", None, seat.wrap_until)
    return said("free", max((moment for moment in (seat.wrap_until, seat.taken_at) if moment), default=None))


@dataclass(frozen=True, slots=True)
class Figures:
    """What one operator did in a span, or what became of all calls."""

    answered: int
    #: Seconds, in all.
    talked_s: int
    wrapped_s: int
    #: Mean seconds from the call's beginning until it was answered.
    waited_s: int


@dataclass(frozen=True, slots=True)
class Shift:
    """The calls of a span."""

    came: int
    abandoned: int
    #: Answered within 20 seconds, of those that came; None before the first.
    prompt: float | None
    all: Figures
    by_operator: Mapping[uuid.UUID, Figures]


#: The usual measure of a hotline's service level 20 秒接通率; *default*.
PROMPT = timedelta(seconds=20)


def shift(session: Session, *, since: datetime, at: datetime) -> Shift:
    """Return the figures of incoming calls since a moment: in all and by operator. Reads, along `ix_call_begun`."""

    def seconds(later: object, earlier: object) -> object:
        return func.coalesce(func.sum(func.greatest(0, func.extract("epoch", later - earlier))), 0)  # type: ignore[operator]

    end = func.coalesce(Call.ended_at, at)
    query = (
        select(
            Call.operator_id,
            func.count().label("came"),
            func.count(Call.answered_at).label("answered"),
            func.count().filter(Call.answered_at.is_(None), Call.ended_at.is_not(None)).label("abandoned"),
            func.count().filter(Call.answered_at - Call.begun_at <= PROMPT).label("prompt"),
            cast(seconds(end, Call.answered_at), Integer).label("talked"),
            cast(seconds(Call.wrapped_at, Call.ended_at), Integer).label("wrapped"),
            cast(seconds(Call.answered_at, Call.begun_at), Integer).label("waited"),
        )
        .where(
            Call.district_code == actor_of(session).district,
            Call.begun_at >= since,
            Call.begun_at <= at,
            Call.direction == "in",
        )
        .group_by(Call.operator_id)
        .limit(1000)
    )
    rows = session.execute(query).all()

    def figures(chosen: list[object]) -> Figures:
        answered = sum(row.answered for row in chosen)  # type: ignore[attr-defined]
        waited = sum(row.waited for row in chosen)  # type: ignore[attr-defined]
        talked = sum(row.talked for row in chosen)  # type: ignore[attr-defined]
        wrapped = sum(row.wrapped for row in chosen)  # type: ignore[attr-defined]
        return Figures(answered, talked, wrapped, waited // answered if answered else 0)

    came = sum(row.came for row in rows)
    return Shift(
        came=came,
        abandoned=sum(row.abandoned for row in rows),
        prompt=sum(row.prompt for row in rows) / came if came else None,
        all=figures(list(rows)),
        by_operator={row.operator_id: figures([row]) for row in rows if row.operator_id is not None},
    )


def _check(actor: Actor, *roles: Role) -> None:
    if actor.role not in roles:
        raise Forbidden("Your role takes no calls.")

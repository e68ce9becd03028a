"""One press merges a hot matter 热点并案: its open cases into one handling, through the core's own merge action.

Each caller keeps a case, an answer and a call-back of its own; see `merge` in `dispatch.roads`. Knows which members can
join and why others cannot; how a case is merged is the process table's.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.actor import Role
from core.db import actor_of
from core.errors import Conflict, Forbidden, Invalid, NotFound, WanggeError
from dispatch import cases
from dispatch.roads import ANSWERED
from dispatch.rulebook import Rulebook
from dispatch.words import N_
from hotline import hot_matters
from hotline.hot_matters import MOST_MEMBERS, MemberCase

#: The core's action, and what a decision of this kind is called in the matter's own list.
MERGE: Final = "merge"
MERGED: Final = "merged"
_CHANGED: Final = N_("Somebody else changed this at the same moment; load it again.")
_HOLD = text("SELECT state, version FROM hot_matter WHERE district_code = :d AND id = :id FOR UPDATE")
_NOTE = text(
    "UPDATE hot_matter SET state = 'watched', version = version + 1, decisions = decisions || CAST(:said AS jsonb) "
    "WHERE district_code = :d AND id = :id"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one press would do with the members of a matter."""

    #: The case that the others would go into: with most callers already, else the oldest; None where none can.
    main: MemberCase | None
    #: Those that could take the others in.
    mains: frozenset[uuid.UUID]
    #: Those that would be merged.
    joining: frozenset[uuid.UUID]
    #: Why a member stays out, by its id.
    left_out: Mapping[uuid.UUID, WanggeError]


@dataclass(frozen=True, slots=True)
class Seen:
    """A case as the person who presses saw it."""

    number: str
    version: int


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one chosen case."""

    number: str
    #: Why it was left out; None where it was merged.
    problem: WanggeError | None


def plan(book: Rulebook, members: Sequence[MemberCase], role: Role) -> Plan:
    """Return what a person of a role can merge of a matter's cases; reads nothing but these rows."""
    numbers = {one.id: one.number for one in members}
    mains = [one for one in members if one.open and not one.merged_into and one.state not in ANSWERED]
    main = max(mains, key=lambda one: (one.others, -one.received_at.timestamp()), default=None)
    others = [one for one in members if main is None or one.id != main.id]
    left_out = {one.id: why for one in others if (why := _hindrance(book, one, main, role, numbers))}
    joining = frozenset(one.id for one in others if main and one.id not in left_out)
    return Plan(main, frozenset(one.id for one in mains if main and one.process == main.process), joining, left_out)


def _hindrance(
    book: Rulebook, one: MemberCase, main: MemberCase | None, role: Role, numbers: Mapping[uuid.UUID, str]
) -> WanggeError | None:
    """Return why a case cannot join, as far as its row tells; the core has the last word."""
    if one.merged_into:
        into = numbers.get(one.merged_into)
        return (
            Conflict("It is merged into {number} already.", number=into) if into else Conflict("It is merged already.")
        )
    if not one.open:
        return Conflict("It is settled.")
    if one.state in ANSWERED:
        return Conflict("It is answered already.")
    if one.others:
        return Conflict("Other cases were merged into this one; undo those merges first.")
    if main is not None and one.process != main.process:
        return Invalid("Only cases of the same process can be merged.", field="main")
    table = book.process(one.process, one.process_version)
    if not table.has(MERGE, one.state):
        state = table.state(one.state).label
        return Conflict("It cannot be merged in the state {state}.", state=state)
    if role not in table.step_for(MERGE, one.state).roles:
        return Forbidden("This is not yours to merge.")
    return None


def merge(
    session: Session,
    book: Rulebook,
    hot_id: uuid.UUID,
    *,
    main: Seen,
    chosen: Sequence[Seen],
    reason: str,
    version: int,
    at: datetime,
) -> list[Result]:
    """Merge the chosen cases of a matter into its main case, each in a savepoint, and write down that it was done.

    version: of the matter, as the person saw it. Returns what became of each chosen case, in the order given: what can
    be merged is, and what cannot stays as it was, with its reason. Nothing at all is done where the matter or the main
    case went on since the person looked.
    Writes; caller commits; locks the matter, the main case, then the others by id. Raises NotFound; Invalid for no or
    too many cases, none of the matter's or no reason; Conflict for an older version or a main case that takes none in.
    """
    wanted = {one.number: one for one in chosen if one.number != main.number}
    if not wanted:
        raise Invalid("Choose at least one case to merge.", field="case")
    if len(wanted) > MOST_MEMBERS:
        raise Invalid("At most {n} cases can be merged at once.", field="case", n=MOST_MEMBERS)
    why = hot_matters.checked_reason(reason)
    _hold(session, hot_id, version)
    members = {one.number: one for one in hot_matters.one(session, hot_id, at=at)[1]}
    into = members.get(main.number)
    if into is None:
        raise Invalid("The case to merge into is none of this matter.", field="main")
    _check_main(session, into, main)
    known = {number: members.get(number) for number in wanted}
    results = {}
    for number in sorted(wanted, key=lambda number: str(known[number] and known[number].id)):  # type: ignore[union-attr]
        results[number] = Result(number, _join(session, book, known[number], wanted[number], main.number, why, at=at))
    count = sum(one.problem is None for one in results.values())
    if count:
        _note(session, hot_id, main.number, count, why, at=at)
    return [results[number] for number in wanted]


def _hold(session: Session, hot_id: uuid.UUID, version: int) -> None:
    held = session.execute(_HOLD, {"d": actor_of(session).district, "id": hot_id}).one_or_none()
    if held is None:
        raise NotFound("There is no such hot matter.")
    if held.version != version:
        raise Conflict(_CHANGED)
    if held.state == "dismissed":
        raise Conflict("It was said that this is no matter; watch it first.")


def _check_main(session: Session, into: MemberCase, seen: Seen) -> None:
    """Lock the main case and see that it is as the person saw it and can take others in."""
    case = cases.locked(session, actor_of(session).district, into.id)
    if case.version != seen.version:
        raise Conflict("The case {number} went on since this page was drawn; nothing was merged.", number=seen.number)
    if not case.open or case.merged_into or case.state in ANSWERED:
        raise Conflict(
            "The case {number} cannot take others in: it is settled, answered or merged itself.", number=seen.number
        )


def _join(  # noqa: PLR0917  one row of a list
    session: Session, book: Rulebook, case: MemberCase | None, seen: Seen, main: str, why: str, *, at: datetime
) -> WanggeError | None:
    if case is None:
        return NotFound("It is none of this matter, or not yours to see.")
    fields = {"main": main, "reason": why}
    try:
        with session.begin_nested():
            cases.act(session, book, case.id, MERGE, expected_version=seen.version, at=at, fields=fields)
    except (Conflict, Forbidden, Invalid, NotFound) as error:
        return error
    return None


def _note(session: Session, hot_id: uuid.UUID, main: str, count: int, why: str, *, at: datetime) -> None:
    who = actor_of(session)
    said = {"state": MERGED, "by": who.name, "at": at.isoformat(), "reason": why, "main": main, "count": count}
    session.execute(_NOTE, {"d": who.district, "id": hot_id, "said": orjson.dumps([said]).decode()})

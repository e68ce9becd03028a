"""Calling people back 回拨: who is to be called and why, one task at a time under a lease, and what came of it.

Tasks come from callers who hung up before anybody answered, from the process's own call-back step 回访, and from
answers that are to be told by telephone. Knows call-backs; what a call-back does to a case is `dispatch.cases`'.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.crypto import blind_index, seal, unseal
from core.db import actor_of
from core.documents import masked
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.ids import new_id
from dispatch import cases
from dispatch.calendar import china_time
from dispatch.identity import disclose
from dispatch.models import Case
from dispatch.process import processes
from dispatch.rulebook import Rulebook
from dispatch.views import visible_to
from dispatch.words import N_
from hotline.telephone.hook import digits
from hotline.telephone.models import Call, CallBack, CallBackTry

#: Whoever takes a task has it this long; a closed browser keeps nobody from being called.
LEASE = timedelta(minutes=15)
#: Why somebody is called → words for people, in the order in which they are called.
REASONS: Mapping[str, str] = {
    "abandoned": N_("Hung up before anybody answered"),
    "answer": N_("An answer is to be told"),
    "survey": N_("Call back: is the matter settled?"),
}
OUTCOMES: Mapping[str, str] = {
    "reached": N_("Reached"),
    "not_reached": N_("Not reached"),
    "refused": N_("Does not want to talk"),
    "wrong_number": N_("Wrong number"),
}
#: At most this many tasks on a page, and new ones at once.
MAX_TASKS, _BATCH = 100, 200
#: What the person concerned reads beside the opening of the number.
_WHY_OPENED = "电话回访"
#: Satisfied from here on (S1 三率); below it the case goes back to the unit.
_SATISFIED = 3

_DUE = text(
    "SELECT c.id AS case_id, d.id AS deadline_id, r.phone_sealed FROM cases AS c "
    "JOIN deadline AS d ON d.district_code = :d AND d.case_id = c.id AND d.clock = 'callback' AND d.stopped_at IS NULL "
    "JOIN LATERAL (SELECT p.phone_sealed FROM report AS p WHERE p.district_code = :d AND p.case_id = c.id "
    " AND p.phone_sealed IS NOT NULL ORDER BY p.received_at, p.id LIMIT 1) AS r ON true "
    "WHERE c.district_code = :d AND c.open AND c.state = ANY (:states) AND NOT EXISTS (SELECT 1 FROM call_back AS b "
    " WHERE b.district_code = :d AND b.case_id = c.id "
    " AND (b.state = 'open' OR b.key = 'case:' || c.id || ':' || d.id)) ORDER BY d.due_at LIMIT :n"
)
_OVER = text(
    "UPDATE call_back AS b SET state = 'void', finished_at = CAST(:at AS timestamptz) "
    "WHERE b.district_code = :d AND b.state = 'open' AND b.reason = 'survey' AND NOT EXISTS ("
    "SELECT 1 FROM deadline AS t WHERE t.district_code = :d AND t.case_id = b.case_id "
    "AND t.clock = 'callback' AND t.stopped_at IS NULL)"
)


@dataclass(frozen=True, slots=True)
class Rules:
    """How people are called back; *defaults*, `callback` in the district's settings changes them."""

    #: After this many tries nobody calls any more.
    tries: int = 3
    #: Between two tries.
    gap: timedelta = timedelta(hours=2)
    #: Nobody who did not just call is rung up before or after these hours, China's clock.
    opens: time = time(9)
    closes: time = time(20, 30)

    def __post_init__(self) -> None:
        """Raise ValueError where nobody could ever be called."""
        if self.opens >= self.closes or self.tries < 1 or self.gap < timedelta():
            raise ValueError("no moment of any day is decent")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Rules":
        """Return the rules of a district's settings, such as `{"callback": {"tries": 3, "gap_min": 120}}`.

        Raises Invalid for settings that say something else.
        """
        told, plain = settings.get("callback") or {}, cls()
        try:
            return cls(
                tries=int(told.get("tries", plain.tries)),
                gap=timedelta(minutes=int(told.get("gap_min", plain.gap // timedelta(minutes=1)))),
                opens=time.fromisoformat(told.get("opens", plain.opens.isoformat())),
                closes=time.fromisoformat(told.get("closes", plain.closes.isoformat())),
            )
        except (AttributeError, TypeError, ValueError) as error:
            raise Invalid("The setting {name} of the district cannot be read.", name="callback") from error

    def decent(self, moment: datetime) -> datetime:
        """Return the moment, or the next one at which people may be rung up."""
        here = china_time(moment)
        if here.time() < self.opens:
            return here.replace(hour=self.opens.hour, minute=self.opens.minute, second=0, microsecond=0)
        if here.time() >= self.closes:
            return self.decent((here + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0))
        return moment


@dataclass(frozen=True, slots=True)
class Task:
    """One line of the list."""

    id: uuid.UUID
    reason: str
    case_id: uuid.UUID | None
    case_number: str
    title: str
    #: Masked.
    phone: str
    words: str
    created_at: datetime
    next_at: datetime
    tries: int
    outcome: str | None
    held_by: uuid.UUID | None
    held_name: str
    held_until: datetime | None


def follow(session: Session, call: Call, *, at: datetime) -> None:
    """Make or drop the call-back of a call, as its times stand now. Writes; caller commits."""
    if call.direction != "in" or call.phone_index is None or call.phone_sealed is None:
        return
    if call.answered_at is not None:
        # Whoever got through, at this call or after it was given up, need not be called.
        session.execute(
            update(CallBack)
            .where(
                CallBack.district_code == call.district_code,
                CallBack.state == "open",
                CallBack.reason == "abandoned",
                CallBack.phone_index == call.phone_index,
                or_(CallBack.held_until.is_(None), CallBack.held_until <= at),
            )
            .values(state="void", finished_at=at)
        )
    elif call.ended_at is not None:
        phone = unseal(bytes(call.phone_sealed), context="call.phone")
        _put(session, key=f"call:{call.id}", reason="abandoned", phone=phone, call_id=call.id, at=at, next_at=at)


def add(
    session: Session,
    *,
    key: str,
    phone: str,
    words: str,
    at: datetime,
    case_id: uuid.UUID | None = None,
    rules: Rules | None = None,
) -> uuid.UUID | None:
    """Ask for an answer to be told by telephone; None where the same was asked before or the case has a task already.

    key: the sender's own, once for one message. A task that the case has already gets the words instead.
    Raises Invalid for what is no telephone number. Writes, as the program; caller commits.
    """
    number = digits(phone)
    if not number:
        raise Invalid("This is not a telephone number.", field="phone")
    if _told(session, case_id, words):
        return None
    next_at = (rules or Rules()).decent(at)
    given = {"reason": "answer", "case_id": case_id, "words": words[:5000]}
    made = _put(session, key=f"message:{key}"[:200], phone=number, at=at, next_at=next_at, **given)
    if made is None:
        # The same was asked before, or a task of the case was made at this very moment: that one gets the words.
        _told(session, case_id, words)
    return made


def _told(session: Session, case_id: uuid.UUID | None, words: str) -> bool:
    """Give the words to the open task of a case; return whether there is one. Writes."""
    if case_id is None:
        return False
    waiting = (CallBack.district_code == actor_of(session).district, CallBack.case_id == case_id)
    given = update(CallBack).where(*waiting, CallBack.state == "open").values(words=words[:5000])
    return session.scalar(given.returning(CallBack.id)) is not None


def _put(session: Session, *, key: str, phone: str, at: datetime, **known: Any) -> uuid.UUID | None:
    made = new_id()
    return session.scalar(
        insert(CallBack)
        .values(
            district_code=actor_of(session).district,
            id=made,
            key=key,
            state="open",
            phone_sealed=seal(phone, context="call_back.phone"),
            phone_index=blind_index(phone, context="phone"),
            created_at=at,
            **known,
        )
        .on_conflict_do_nothing()
        .returning(CallBack.id)
    )


def gather(session: Session, *, at: datetime, rules: Rules | None = None) -> int:
    """Make tasks of cases whose call-back clock runs, and drop those whose clock stopped; return how many were made.

    Safe to run twice. Writes, as the program; caller commits.
    """
    district = actor_of(session).district
    session.execute(_OVER, {"d": district, "at": at})
    sources = {step.source for table in processes().values() for step in table.steps if step.action == "callback"}
    found = session.execute(_DUE, {"d": district, "states": sorted(sources), "n": _BATCH}).all()
    next_at, made = (rules or Rules()).decent(at), 0
    for case_id, deadline_id, sealed in found:
        phone = digits(unseal(bytes(sealed), context="report.phone"))
        key = f"case:{case_id}:{deadline_id}"
        known = {"reason": "survey", "case_id": case_id, "next_at": next_at}
        # What cannot be dialled stands on the desk's own list of cases to call back.
        made += phone != "" and _put(session, key=key, phone=phone, at=at, **known) is not None
    return made


def listed(session: Session, *, at: datetime, reason: str = "") -> list[Task]:
    """Return what is to be called, in the order of calling, at most MAX_TASKS; reads."""
    query = _tasks(session).where(CallBack.state == "open", *_theirs(actor_of(session)))
    if reason:
        query = query.where(CallBack.reason == reason)
    order = (_later(at), _rank(), CallBack.next_at, CallBack.id)
    return [_task(*row) for row in session.execute(query.order_by(*order).limit(MAX_TASKS))]


def count(session: Session, *, at: datetime) -> int:
    """Return how many people are to be called now, at most 1000; reads."""
    due = (
        select(CallBack.id)
        .where(CallBack.district_code == actor_of(session).district, CallBack.state == "open", CallBack.next_at <= at)
        .where(*_theirs(actor_of(session)))
    )
    return session.scalar(select(func.count()).select_from(due.limit(1000).subquery())) or 0


def _theirs(actor: Actor) -> tuple[Any, ...]:
    """Return the condition of tasks that are the actor's to see: for one town, those of its cases and of no case."""
    if not actor.town:
        return ()
    return (or_(CallBack.case_id.is_(None), CallBack.case_id.in_(select(Case.id).where(visible_to(actor)))),)


def _later(at: datetime) -> Any:
    return CallBack.next_at > at


def _rank() -> Any:
    return func.array_position(list(REASONS), CallBack.reason)


def _tasks(session: Session) -> Any:
    district = actor_of(session).district
    return (
        select(CallBack, Case.number, func.left(Case.text, 80))
        .outerjoin(Case, (Case.district_code == district) & (Case.id == CallBack.case_id))
        .where(CallBack.district_code == district)
    )


def _task(row: CallBack, number: str | None, title: str | None) -> Task:
    return Task(
        id=row.id,
        reason=row.reason,
        case_id=row.case_id,
        case_number=number or "",
        title=title or "",
        phone=masked("phone", unseal(bytes(row.phone_sealed), context="call_back.phone")),
        words=row.words,
        created_at=row.created_at,
        next_at=row.next_at,
        tries=row.tries,
        outcome=row.outcome,
        held_by=row.held_by,
        held_name=row.held_name or "",
        held_until=row.held_until,
    )


def take_next(session: Session, *, at: datetime) -> uuid.UUID | None:
    """Take the next person to call, unless one is being called already; None when there is nobody now.

    Two operators who press at once get two people. Writes; caller commits; locks the task.
    """
    actor = actor_of(session)
    holding = held(session, at=at)
    if holding is not None:
        return holding.id
    free = select(CallBack).where(
        CallBack.district_code == actor.district,
        CallBack.state == "open",
        CallBack.next_at <= at,
        or_(CallBack.held_until.is_(None), CallBack.held_until <= at),
        *_theirs(actor),
    )
    row = session.scalars(
        free.order_by(_rank(), CallBack.next_at, CallBack.id).limit(1).with_for_update(skip_locked=True)
    ).first()
    if row is None:
        return None
    _hold(session, row, at=at)
    return row.id


def take(session: Session, task_id: uuid.UUID, *, at: datetime) -> None:
    """Take one person to call; raises NotFound, Conflict for one that a colleague calls or that is done. Writes."""
    row = _locked(session, task_id)
    if row.state != "open":
        raise Conflict("This call-back is done already.")
    if row.held_by not in (None, actor_of(session).id) and row.held_until is not None and row.held_until > at:
        raise Conflict("This is being handled by {name}.", name=row.held_name or "—")
    release(session)
    _hold(session, row, at=at)


def _hold(session: Session, row: CallBack, *, at: datetime) -> None:
    actor = actor_of(session)
    if actor.role is not Role.OPERATOR:
        raise Forbidden("Your role takes no calls.")
    # The number is shown to whoever calls: that it was opened stays written down, for the person concerned too.
    if row.held_by != actor.id or row.held_until is None or row.held_until <= at:
        _note(session, row.id, "taken", "", at=at)
        if row.case_id is not None:
            disclose(session, row.case_id, field="phone", why="answer", reason=_WHY_OPENED, at=at)
    row.held_by, row.held_name, row.held_until = actor.id, actor.name, at + LEASE
    session.flush()


def release(session: Session) -> None:
    """Give back what the session's actor holds, untried; writes, caller commits."""
    actor = actor_of(session)
    mine = (CallBack.district_code == actor.district, CallBack.held_by == actor.id, CallBack.state == "open")
    session.execute(update(CallBack).where(*mine).values(held_by=None, held_name=None, held_until=None))


@dataclass(frozen=True, slots=True)
class Held:
    """The person that somebody is calling now."""

    id: uuid.UUID
    task: Task
    #: In full, to be dialled.
    number: str
    #: Earlier tries, newest first: outcome, note, who, when.
    tries: tuple[tuple[str, str, str, datetime], ...]


def held(session: Session, *, at: datetime) -> Held | None:
    """Return whom the session's actor is calling, with the number; None for nobody. Reads."""
    actor = actor_of(session)
    mine = (CallBack.held_by == actor.id, CallBack.held_until > at, CallBack.state == "open")
    row = session.execute(_tasks(session).where(*mine).limit(1)).first()
    if row is None or actor.id is None:
        return None
    task = row[0]
    query = (
        select(CallBackTry.outcome, CallBackTry.note, CallBackTry.actor_name, CallBackTry.at)
        .where(CallBackTry.district_code == actor.district, CallBackTry.task_id == task.id)
        .where(CallBackTry.outcome != "taken")
        .order_by(CallBackTry.at.desc(), CallBackTry.id.desc())
        .limit(20)
    )
    tries = tuple((one.outcome, one.note, one.actor_name, one.at) for one in session.execute(query))
    return Held(task.id, _task(*row), unseal(bytes(task.phone_sealed), context="call_back.phone"), tries)


@dataclass(frozen=True, slots=True)
class Came:
    """What came of calling somebody."""

    #: One of OUTCOMES.
    outcome: str
    note: str = ""
    #: 1 to 5, asked about a case that is answered; None where nothing was asked.
    satisfaction: int | None = None
    #: Close the case although nobody was asked, where this ends the task.
    close: bool = False


def settle(
    session: Session, book: Rulebook, task_id: uuid.UUID, came: Came, *, version: int | None, at: datetime
) -> str:
    """Write down what came of calling somebody, and let the case follow; return the state of the task.

    version: of the case as the operator saw it. Satisfied people close their case, others send it back to the unit,
    for which the note is the reason. Raises NotFound, Conflict for a task that is a colleague's by now or a case that
    went on, Invalid for what is missing. Writes; caller commits; locks the task, then the case.
    """
    actor = actor_of(session)
    if came.outcome not in OUTCOMES:
        raise Invalid("Choose what came of the call.", field="outcome")
    row = _locked(session, task_id)
    if row.state != "open" or row.held_by != actor.id:
        raise Conflict("This call-back is a colleague's by now, or done.")
    rules = Rules.of(book.settings)
    row.tries += 1
    row.outcome = came.outcome
    _note(session, row.id, came.outcome, came.note, at=at)
    if came.outcome in ("reached", "refused"):
        row.state = "done"
    elif came.outcome == "wrong_number" or row.tries >= rules.tries:
        row.state = "given_up"
    else:
        row.next_at = rules.decent(at + rules.gap)
    row.held_by = row.held_name = row.held_until = None
    row.finished_at = None if row.state == "open" else at
    session.flush()
    if row.case_id is not None:
        _case_follows(session, book, row, came, version=version, at=at)
    return row.state


def _case_follows(
    session: Session, book: Rulebook, row: CallBack, came: Came, *, version: int | None, at: datetime
) -> None:
    assert row.case_id is not None
    offered = {step.action for step in cases.offered(session, book, row.case_id, at=at)}
    if came.outcome == "reached":
        if came.satisfaction is None:
            if row.reason == "survey" and "callback" in offered:
                raise Invalid("Ask how satisfied the caller is.", field="satisfaction")
            return
        action = "callback" if came.satisfaction >= _SATISFIED else "rework"
        fields = {"satisfaction": str(came.satisfaction)}
        fields |= {"note" if action == "callback" else "reason": came.note.strip()} if came.note.strip() else {}
    elif came.close and row.state != "open" and "close" in offered:
        action, fields = "close", {"reason": f"{row.tries}/{came.outcome}" + (f": {came.note}" if came.note else "")}
    else:
        return
    cases.act(session, book, row.case_id, action, expected_version=version or 0, at=at, fields=fields)


def _note(session: Session, task_id: uuid.UUID, outcome: str, note: str, *, at: datetime) -> None:
    actor = actor_of(session)
    session.add(
        CallBackTry(
            district_code=actor.district,
            id=new_id(),
            task_id=task_id,
            outcome=outcome,
            note=note.strip()[:1000],
            actor_id=actor.id,
            actor_name=actor.name,
            at=at,
        )
    )


def _locked(session: Session, task_id: uuid.UUID) -> CallBack:
    key = (actor_of(session).district, task_id)
    found = session.get(CallBack, key, with_for_update=True, populate_existing=True)
    if found is None:
        raise NotFound("There is no such call-back.")
    return found

"""What the person concerned is told of their own matter 市民视角: what happened, what runs, the answers, who looked.

Everything here is for whoever showed the code of the receipt (or holds the number alone: then only bare steps). Names
of officials, what units wrote for each other and photos of evidence are left out; words are chosen by the pages. Reads
in the scope of the anonymous citizen with the case pinned, so that the row policies watch over it, too.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.actor import Role
from core.db import actor_of, pin_case
from dispatch import cases
from dispatch.identity import Opened, called
from dispatch.models import Attachment, Case, Deadline, Disclosure, Entry, Plea, Report
from dispatch.process import Step
from dispatch.rulebook import Rulebook
from dispatch.sheet import MAX_ENTRIES

#: Action → members of the log entry that may be told with it. What is not named here is not told at all.
TOLD: Mapping[str, tuple[str, ...]] = {
    "receive": (),
    "dispatch": ("unit",),
    "redispatch": ("unit",),
    "rise": ("unit",),
    "arbitrate": ("unit",),
    "dispute": (),
    "return": (),
    "sign": (),
    "extend_grant": ("due_at",),
    "pause_grant": ("reason_code",),
    "resume": (),
    "park_grant": (),
    "park_on": (),
    "take_up": (),
    "merge": (),
    "unmerge": (),
    "supervise": (),
    "supervise_close": (),
    "overdue": ("clock", "rung"),
    "reply": (),
    "answer_merged": (),
    "answer_now": (),
    "check": ("checked",),
    "callback": ("satisfaction", "note"),
    "rework": ("satisfaction", "reason"),
    "rate": ("satisfaction", "note"),
    "close": (),
    "reopen": (),
    "refuse": ("reason",),
    "hand_over": ("service",),
    "withdraw": ("reason",),
    "add": ("note", "photos"),
    "submit": (),
    "pre_review": (),
    "notice": ("unclear",),
    "supply": (),
    "hand_in": ("materials",),
    "reuse": ("materials",),
    "accept": (),
    "accept_gaps": (),
    "accept_deemed": (),
    "done_at_once": (),
    "refuse_acceptance": ("where_to_turn", "reason"),
    "lapse": (),
    "reassign": ("unit",),
    "survey_call": ("survey_at",),
    "survey_move": ("survey_at",),
    "survey_record": (),
    "material_wrong": (),
    "hand_up": ("level",),
    "hand_back": ("handover_decision",),
    "grant": (),
    "deny": ("reason", "legal_basis"),
    # Its reason is told with the decision that follows from it, not before.
    "propose_denial": ("reason", "legal_basis"),
    "denial_agree": (),
    "deliver": (),
    "choose_pickup": (),
    "record_fee": ("fee_amount",),
    "register": ("unit",),
    "reply_at_once": (),
    "file": (),
}
#: Steps whose words are told only where the person said them.
_OWN_WORDS = frozenset({"callback", "rework", "rate", "withdraw"})
_WORDS = ("reason", "note", "unclear")
#: Steps that carry an answer to the person.
_ANSWERS = frozenset({"reply", "answer_merged", "answer_now", "reply_at_once"})
#: Level of a deadline at which it has run out.
_OVERDUE = 3


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, as far as the person is told."""

    action: str
    #: Aware; when the system wrote it down.
    at: datetime
    #: Members of the log entry that may be told: codes and numbers.
    facts: Mapping[str, Any]
    #: Words that the person wrote, or that were written for them.
    words: str
    photos: tuple[uuid.UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; a matter that was reworked has several."""

    text: str
    at: datetime
    unit_name: str
    #: The matter went on after it: a newer answer follows or is awaited.
    earlier: bool


@dataclass(frozen=True, slots=True)
class Running:
    """One clock of the matter that has not been stopped."""

    clock: str
    due_at: datetime
    #: It stands: its due time moves with the pause.
    held: bool
    over: bool
    #: The shown step of the ladder: 0 for none.
    rung: int


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that the person is told."""

    events: tuple[Event, ...]
    answers: tuple[Answer, ...]
    running: Mapping[str, Running]
    #: Why the clock stands, a code of `dispatch.fields.PAUSE_REASONS`; empty where it runs.
    paused_for: str
    supervised: bool
    #: What the person said of the newest answer: 1 to 5.
    rated: int | None
    #: Photos of the person, and those that show what was done.
    photos: tuple[uuid.UUID, ...]
    shown: tuple[uuid.UUID, ...]
    #: Who opened name or telephone, and why.
    opened: tuple[Opened, ...]
    #: What units call the person; empty where nothing was given or the unit deals with a party by name.
    alias: str
    #: What the person may do now, by action.
    offered: Mapping[str, Step]


def story(session: Session, book: Rulebook, case_id: uuid.UUID, *, at: datetime) -> Story:
    """Return what the person concerned is told of a case whose code was checked; raises NotFound.

    Run it in a snapshot of the citizen. Reads only; pins the case; nine statements, each by key.
    """
    here = actor_of(session).district
    pin_case(session, case_id)

    def of_case(model: Any) -> tuple[Any, Any]:
        return model.district_code == here, model.case_id == case_id

    entries = session.scalars(
        select(Entry).where(*of_case(Entry), Entry.action.in_(TOLD)).order_by(Entry.seq).limit(MAX_ENTRIES)
    ).all()
    clocks = session.scalars(select(Deadline).where(*of_case(Deadline), Deadline.stopped_at.is_(None))).all()
    photos = session.execute(
        select(Attachment.id, Attachment.purpose).where(*of_case(Attachment)).order_by(Attachment.created_at)
    ).all()
    opened = session.execute(
        select(*(getattr(Disclosure, name) for name in Opened.__dataclass_fields__))
        .where(*of_case(Disclosure))
        .order_by(Disclosure.opened_at, Disclosure.id)
    ).all()
    state, supervised, process = session.execute(
        select(Case.state, Case.supervised, Case.process).where(Case.district_code == here, Case.id == case_id)
    ).one()
    plea = select(Plea.reason_code).where(*of_case(Plea), Plea.state == "granted", Plea.kind == "pause")
    paused_for = session.scalar(plea.order_by(Plea.decided_at.desc()).limit(1)) if state == "paused" else ""
    return Story(
        events=tuple(_event(entry) for entry in entries if _tells(entry)),
        answers=_answers(book, entries),
        running={
            clock.clock: Running(clock.clock, clock.due_at, clock.held_at is not None, clock.due_at <= at, clock.rung)
            for clock in clocks
            if clock.assignment_id is None
        },
        paused_for=paused_for or "",
        supervised=supervised,
        rated=_rated(entries),
        photos=tuple(key for key, purpose in photos if purpose == "report"),
        shown=tuple(key for key, purpose in photos if purpose == "after"),
        opened=tuple(Opened(*row) for row in opened),
        alias=_alias(session, case_id, process),
        offered={step.action: step for step in cases.offered(session, book, case_id, at=at)},
    )


def _alias(session: Session, case_id: uuid.UUID, process: str) -> str:
    """Return what units call whoever reported the matter first."""
    report = (
        session.execute(
            select(Report.id, Report.name_sealed, Report.phone_sealed, Report.phone_index)
            .where(Report.district_code == actor_of(session).district, Report.case_id == case_id)
            .order_by(Report.received_at, Report.id)
            .limit(1)
        )
        .mappings()
        .first()
    )
    named = called(Role.UNIT, case_id, process, report) if report else ("", "")
    # A party known by name reads the own name elsewhere.
    return "" if named[1] or not named[0].startswith("市民") else named[0]


def _tells(entry: Entry) -> bool:
    """Return whether an entry is told: warnings before a limit has run out are the house's own."""
    return entry.action != "overdue" or entry.data.get("level", _OVERDUE) == _OVERDUE


def _event(entry: Entry) -> Event:
    told = {name: entry.data[name] for name in TOLD[entry.action] if entry.data.get(name) not in (None, "")}
    words = next((str(told.pop(name)) for name in _WORDS if name in told), "")
    if entry.action in _OWN_WORDS and entry.actor_role != "citizen":
        words = ""
    photos = told.pop("photos", ())
    return Event(entry.action, entry.recorded_at, told, words, tuple(uuid.UUID(str(key)) for key in photos))


def _answers(book: Rulebook, entries: Sequence[Entry]) -> tuple[Answer, ...]:
    found = [entry for entry in entries if entry.action in _ANSWERS and entry.data.get("answer")]
    last = found[-1].seq if found else 0
    again = any(entry.action in ("rework", "reopen") and entry.seq > last for entry in entries)
    return tuple(
        Answer(
            text=str(entry.data["answer"]),
            at=entry.recorded_at,
            unit_name=book.unit_name(entry.unit_code) if entry.unit_code else "",
            earlier=again or entry.seq < last,
        )
        for entry in found
    )


def _rated(entries: Sequence[Entry]) -> int | None:
    """Return the rating of the newest answer: what was said of an earlier one has had its effect."""
    for entry in reversed(entries):
        if entry.action in _ANSWERS or entry.action in ("rework", "reopen"):
            return None
        if entry.action in ("rate", "callback") and entry.data.get("satisfaction"):
            return int(entry.data["satisfaction"])
    return None

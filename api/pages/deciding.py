"""What an operator decides about a call 处置: dispatch, merge, hand over, refuse, answer.

Everything is read and checked before the case is opened, so that a refusal leaves nothing half done; then it is carried
out on the new case in one transaction of the operator's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from api import answers
from api.i18n import say
from api.pages.listing import choices, chosen_code
from core.actor import Actor
from core.db import actor_of
from core.errors import Conflict, Invalid, NotFound
from dispatch import cases, views
from dispatch.fields import KINDS, LONG, SERVICES, SHORT, URGENCIES
from dispatch.guards import WORDS_DO
from dispatch.rulebook import Rulebook
from dispatch.sheet import facts
from hotline.desk import articles
from hotline.intake import Receipt, Report, Understanding

#: Decisions, as the form's `do` names them, and what they do to the case.
ACTIONS: Final[Mapping[str, str]] = {
    "dispatch": "dispatch",
    "merge": "merge",
    "hand_over": "hand_over",
    "refuse": "refuse",
    "answer": "note",
    "say": "answer_now",
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """A place that the operator chose: what the radio's value says; EPSG:4490 degrees."""

    lng: float
    lat: float
    name: str

    @classmethod
    def read(cls, value: str) -> "Chosen | None":
        """Return the place of `lng,lat,name`; None for the program's own choice. Raises Invalid."""
        if value in ("", "best"):
            return None
        try:
            lng, lat, name = value.split(",", 2)
            return cls(float(lng), float(lat), name[:100])
        except ValueError as error:
            raise Invalid("Choose the place again.", field="place") from error

    def fields(self) -> dict[str, Any]:
        """Return the fields of a correction that says so."""
        return {"lng": self.lng, "lat": self.lat, "datum": "CGCS2000", "place_name": self.name}


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision, checked."""

    do: str
    #: Fields of the step.
    fields: Mapping[str, Any]
    #: What differs from what the program understood, beside the place.
    corrected: Mapping[str, Any] = field(default_factory=dict)
    #: Number and version of the article that the caller was answered from.
    article: tuple[int, int] | None = None


def report_of(book: Rulebook, entered: Mapping[str, str], *, at: datetime) -> tuple[Report, Chosen | None]:
    """Return the report of what the form holds, and the place that was chosen; raises Invalid, naming the field."""
    category = entered.get("category", "").strip()
    chosen = Chosen.read(entered.get("place", ""))
    report = Report(
        channel="hotline",
        text=entered.get("text", ""),
        reported_at=at,
        name=entered.get("name", "").strip() or None,
        phone=entered.get("phone", "").strip() or None,
        category=chosen_code(choices(book).categories, category, field="category") if category else None,
        idempotency_key=entered.get("key", "")[:64] or None,
        lng=chosen.lng if chosen else None,
        lat=chosen.lat if chosen else None,
        datum="CGCS2000" if chosen else None,
    )
    return report, chosen


def read(
    session: Session, book: Rulebook, entered: Mapping[str, str], known: Understanding, *, at: datetime
) -> Decided | None:
    """Return what the form decides, None for nothing; raises Invalid, naming the field, before anything is written."""
    do = entered.get("do", "")
    if do.startswith("merge:"):
        do, main = "merge", do[6:]
    elif do.startswith("answer:"):
        do, main = "answer", do[7:]
    else:
        main = ""
    if do not in ACTIONS:
        return None
    corrected = _corrected(entered, known)
    if do == "dispatch":
        return Decided(do, {"unit": _unit(book, entered, known)} | _note(entered), corrected)
    if do == "merge":
        return Decided(do, _merge(session, main) | _note(entered), corrected)
    if do == "hand_over":
        return Decided(do, _handover(entered), corrected)
    if do == "refuse":
        return Decided(do, {"reason": _reason(entered, "refuse_reason")} | _note(entered), corrected)
    if do == "say":
        return Decided(do, _said(entered, corrected.get("kind") or known.classification.kind), corrected)
    no, _, version = main.partition(".")
    article = articles.version(session, _number(no), _number(version))
    if not article.holds_on(at):
        raise Conflict("This article does not hold any more; look for another one.")
    return Decided(do, {}, corrected, (article.no, article.version))


def carry_out(
    session: Session, book: Rulebook, receipt: Receipt, decided: Decided, chosen: Chosen | None, *, at: datetime
) -> None:
    """Do what was decided with a case that was just opened. Raises as `cases.act`. Writes; caller commits."""
    fields = dict(decided.fields)
    corrected = dict(decided.corrected) | (chosen.fields() if chosen else {})
    version = facts(session, receipt.case_id).version
    act = ACTIONS[decided.do]
    if decided.do == "dispatch" and corrected:
        # A correction that names a unit dispatches in the same save.
        act, fields, corrected = "correct", fields | corrected, {}
    if corrected:
        version = cases.act(
            session, book, receipt.case_id, "correct", expected_version=version, at=at, fields=corrected
        ).version
    if decided.do == "say":
        fields["answer"] = answers.numbered(fields["answer"], receipt.number)
    if decided.article is not None:
        articles.close_from(session, book, receipt.case_id, *decided.article, version_of_case=version, at=at)
        return
    cases.act(session, book, receipt.case_id, act, expected_version=version, at=at, fields=fields)


def _corrected(entered: Mapping[str, str], known: Understanding) -> dict[str, Any]:
    made: dict[str, Any] = {}
    told = (("kind", KINDS, known.classification.kind), ("urgency", URGENCIES, known.classification.urgency))
    for name, allowed, now in told:
        value = entered.get(name, "")
        if value and value != now:
            if value not in allowed:
                raise Invalid("{words} is not in the list; choose an entry from it.", field=name, words=value[:40])
            made[name] = value
    return made


def _unit(book: Rulebook, entered: Mapping[str, str], known: Understanding) -> str:
    written = entered.get("unit", "").strip()
    if entered.get("to") == "other" or (written and known.decision is None):
        return chosen_code(choices(book).units, written, field="unit")
    if known.decision is None:
        raise Invalid("No rule names a unit yet: choose category and place, or the unit itself.", field="unit")
    return known.decision.unit


def _merge(session: Session, number: str) -> dict[str, Any]:
    case_id = views.find_number(session, number[:30])
    if case_id is None:
        raise Invalid("There is no case with the number {number}.", field="main", number=number[:30])
    actor: Actor = actor_of(session)
    return {"main": number, "reason": say("The caller reports the same matter ({name}).", name=actor.name)}


def _handover(entered: Mapping[str, str]) -> dict[str, Any]:
    service = entered.get("service", "")
    if service not in SERVICES:
        raise Invalid("Choose who takes it over: 110, 119, 120 or 122.", field="service")
    made = {"service": service, "reason": _reason(entered, "hand_reason")}
    taken = entered.get("taken_by", "").strip()
    return made | ({"taken_by": taken[:100]} if taken else {}) | _note(entered)


def _said(entered: Mapping[str, str], kind: str) -> dict[str, Any]:
    """Return the fields of an answer that the caller heard; raises Invalid for a matter that needs a unit."""
    answer = entered.get("answer", "").strip()
    if not answer:
        raise Invalid("Write down what the caller was told.", field="answer")
    if kind not in WORDS_DO:
        raise Invalid(
            "Only an enquiry, a suggestion or praise is answered on the spot; this needs a unit.", field="kind"
        )
    # The number is filled in when there is one; whatever else is open, a person has to say.
    answers.refuse_unfilled("answer", answers.numbered(answer, ""))
    source = entered.get("source", "").strip()
    said = {"answer": answer[:LONG], "contacted": "yes"} | ({"source": source[:SHORT]} if source else {})
    return said | _note(entered)


def _reason(entered: Mapping[str, str], name: str) -> str:
    said = entered.get(name, "").strip()
    if not said:
        raise Invalid("Say why, in words that the caller may read.", field=name)
    return said[:2000]


def _note(entered: Mapping[str, str]) -> dict[str, str]:
    note = entered.get("note", "").strip()
    return {"note": note[:2000]} if note else {}


def _number(written: str) -> int:
    if not (written.isdecimal() and len(written) < 8):
        raise NotFound("There is no such article.")
    return int(written)

"""Taking a call 接电话: one screen from the ring to the unit, by keys alone.

The words on the left, what the program makes of them in the middle, the map on the right. Understands and receives
through `hotline.intake`, keeps every change as a draft (`hotline.desk.drafts`); part of the desk, whose router includes
this one. What the operator decides at the end is `api.pages.deciding`.
"""

from collections.abc import Container
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api import answers, wiring
from api.deps import Now, Read, Write, require
from api.errors import sentence, status_of
from api.pages import casework, deciding, go, page, phone
from api.pages.aliases import note_called
from api.pages.deciding import Chosen, Decided
from api.pages.entered import Entered, Form
from api.pages.listing import category_words, choices
from core.actor import Actor, Role
from core.db import snapshot, transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound, WanggeError
from core.ids import new_id
from dispatch import cases, views
from dispatch.fields import SERVICES
from dispatch.guards import WORDS_DO, unit_of_level
from dispatch.nearby import Nearby, nearby
from dispatch.numbers import access_code
from dispatch.rulebook import Rulebook
from dispatch.sheet import Facts, facts
from hotline import aliases
from hotline.desk import articles, drafts
from hotline.desk.scripts import scripts
from hotline.intake import Receipt, Understanding

router = APIRouter(include_in_schema=False)

Operator = Annotated[Actor, Depends(require(Role.OPERATOR))]
#: Shorter than this nothing is understood yet.
_SHORTEST: Final = 4
#: Twins beside the form.
_TWINS: Final = 4
#: Two points nearer than this are one, in degrees: a form writes six digits.
_SAME_DEG: Final = 2e-6


@dataclass(frozen=True, slots=True)
class Likely:
    """One case that may be the same matter, as it is shown beside the form."""

    number: str
    state: str
    open: bool
    words: str
    place: str
    unit: str
    received_at: datetime
    score: float
    why: str
    #: It can take another one in.
    merges: bool


@router.get("/desk/new")
def form(
    request: Request, session: Read, actor: Operator, *, call: str = "", draft: str = "", done: str = ""
) -> Response:
    """Show the form, empty or with a draft; its key makes a repeated submission the same case.

    call: the telephone call it is for. done: the case that was recorded last, to be said at the top.
    """
    entered: dict[str, str] = {"key": str(new_id()), "call": call}
    if draft:
        try:
            kept = drafts.read(session, draft[:64])
        except NotFound:
            kept = None
        if kept is not None:
            entered = {**kept.fields, "key": kept.key, "revision": str(kept.revision)}
    return _form(request, actor, entered, receipt=_recorded(session, done))


@router.post("/desk/new/understand")
def understand(request: Request, session: Read, actor: Operator, at: Now, entered: Form) -> Response:
    """Say what the words mean so far: place, category, urgency, unit, possible twins. Nothing is written."""
    del actor
    book, intake = wiring.rulebook(), wiring.intake()
    if len(entered.get("text", "").strip()) < _SHORTEST:
        return page(request, "desk/understood.html", guesses=None)
    try:
        report, chosen = deciding.report_of(book, entered, at=at)
        known = intake.understand(report)
    except Invalid as error:
        return page(request, "desk/understood.html", guesses=None, problem=sentence(error))
    guessed = casework.read_guesses(book, known.kept())
    path = book.category_path(known.category)
    kind = entered.get("kind") or known.classification.kind
    return page(
        request,
        "desk/understood.html",
        guesses=guessed,
        entered=entered,
        chosen=chosen,
        place=entered.get("place", "best"),
        urgency=entered.get("urgency") or known.classification.urgency,
        understood_urgency=known.classification.urgency,
        kind=kind,
        understood_kind=known.classification.kind,
        category=book.category_path(known.category),
        where=[book.areas[code].name for code in _areas(known.place) if code in book.areas],
        unit=book.unit_name(known.decision.unit) if known.decision else "",
        why=casework.why_here(book, known.decision.why) if known.decision else (),
        sure=not known.doubts,
        twins=(twins := _likely(session, guessed)),
        around=_around(session, guessed, chosen, {twin.number for twin in twins}),
        category_words=lambda code: category_words(book, code),
        ask=scripts().ask(path),
        beyond=scripts().beyond(report.text),
        services=SERVICES,
        drawn=orjson.dumps(_drawn(guessed, chosen)).decode(),
        articles=articles.suggest(session, kind, report.text, at=at),
        texts=_texts(book, known, kind, at=at),
        words_do=kind in WORDS_DO,
        called=_called(known, chosen),
    )


def _around(session: Session, guessed: casework.Guesses, chosen: Chosen | None, twins: Container[str]) -> list[Nearby]:
    """Return the open matters around the place as it is understood now; those shown as twins are not said twice."""
    spot = chosen or next(iter(guessed.spots), None)
    if spot is None:
        return []
    return [one for one in nearby(session, spot.lng, spot.lat) if one.number not in twins]


def _texts(book: Rulebook, known: Understanding, kind: str, *, at: datetime) -> tuple[answers.Text, ...]:
    """Return texts to begin an answer with, where words settle the matter: the desk itself answers."""
    if kind not in WORDS_DO:
        return ()
    place, centre = known.place.name if known.place else "", book.unit_name(unit_of_level(book, "centre", ""))
    return answers.for_call(book, kind=kind, category=known.category or "", place=place, unit=centre, at=at)


def _called(known: Understanding, chosen: Chosen | None) -> str:
    """Return what was said for the place that the operator confirmed, where the register calls it otherwise."""
    for match in known.answer.matches if chosen else ():
        same = max(abs(match.lng - chosen.lng), abs(match.lat - chosen.lat)) < _SAME_DEG if chosen else False
        if same and match.why in ("place_similar", "road_similar"):
            return str(match.detail.get("written") or "")
    return ""


def _areas(place: Any) -> tuple[str, ...]:
    return tuple(code for code in (place.town_code, place.community_code) if code) if place else ()


def _likely(session: Session, guessed: casework.Guesses) -> list[Likely]:
    """Return the likely twins that the operator may see, the likeliest first."""
    found = []
    seen = views.numbers(session, [twin.case_id for twin in guessed.twins[:_TWINS]])
    for twin in guessed.twins[:_TWINS]:
        if twin.case_id not in seen:
            continue
        case: Facts = facts(session, twin.case_id)
        found.append(
            Likely(
                number=case.number,
                state=case.state,
                open=case.open,
                words=" ".join((case.title or case.text).split())[:60],
                place=case.place_name or case.town_name or "",
                unit=case.unit_name or "",
                received_at=case.received_at,
                score=twin.score,
                why=twin.why,
                merges=case.open and case.process == "complaint" and case.state not in ("replied", "merged"),
            )
        )
    return found


def _drawn(guessed: casework.Guesses, chosen: Chosen | None) -> dict[str, Any]:
    """Return what the map shows: every candidate with its circle, and the point that was chosen."""
    return {
        "spots": [asdict(spot) for spot in guessed.spots],
        "chosen": {"lng": chosen.lng, "lat": chosen.lat, "name": chosen.name} if chosen else None,
    }


@router.post("/desk/new")
def take(request: Request, actor: Operator, at: Now, entered: Form) -> Response:
    """Open the case and do with it what the operator decided; on refusal everything that was entered stays.

    Without a decision the case is recorded as it is, and the program sends it out where it is sure.
    """
    book = wiring.rulebook()
    try:
        report, chosen = deciding.report_of(book, entered, at=at)
        known = wiring.intake().understand(report)
        with snapshot(actor) as session:
            decided = deciding.read(session, book, entered, known, at=at)
        called = aliases.checked(entered["called"]) if entered.get("called", "").strip() else ""
        call = phone.written_call(entered.get("call", ""))
        told = phone.bound(actor, call, key=entered.get("key", "")[:64])
        if told is not None:
            report = replace(report, source_id=told[0], phone=report.phone or told[1])
        # What a person decides about, the program does not send out before.
        understood = replace(known, decision=None) if decided else known
        receipt = wiring.intake().receive(report, actor=actor, at=at, understood=understood)
        phone.link(actor, call, receipt.case_id)
    except Invalid as error:
        return _form(request, actor, entered, status=status_of(error), problem=sentence(error), field=error.field or "")
    problem = _follow(book, actor, receipt, decided, chosen, at=at)
    spot = (chosen.lng, chosen.lat) if chosen else (known.place.lng, known.place.lat) if known.place else None
    if called and spot and not receipt.repeated:
        problem = problem or note_called(actor, called, spot, number=receipt.number, at=at)
    _drop_draft(actor, entered.get("key", ""))
    if problem:
        again = {"key": str(new_id())}
        return _form(request, actor, again, receipt=receipt, problem=problem, status=409)
    if entered.get("then") == "another":
        return _form(request, actor, {"key": str(new_id())}, receipt=receipt)
    return go(f"/desk/new?done={receipt.number}" if decided else f"/desk?box=open&case={receipt.number}")


def _follow(
    book: Rulebook, actor: Actor, receipt: Receipt, decided: Decided | None, chosen: Chosen | None, *, at: datetime
) -> str:
    """Do what was decided with the new case, in a transaction of the operator's own; return what went wrong in words.

    A report that was here before has been decided about already: nothing is done twice.
    """
    if receipt.repeated and not (decided and receipt.state == "received"):
        return ""
    if decided is None:
        if chosen is not None:
            _confirm(book, actor, receipt, chosen, at=at)
        return ""
    try:
        with transaction(actor) as session:
            deciding.carry_out(session, book, receipt, decided, chosen, at=at)
    except (Conflict, Invalid, Forbidden, NotFound) as error:
        return sentence(error)
    return ""


def _confirm(book: Rulebook, actor: Actor, receipt: Receipt, chosen: Chosen, *, at: datetime) -> None:
    """Write down, as the operator, that this candidate is the place: intake only knows a point."""
    try:
        with transaction(actor) as session:
            cases.act(session, book, receipt.case_id, "correct", expected_version=1, at=at, fields=chosen.fields())
    except Conflict:
        # Somebody was faster with the new case; the point itself is in it already.
        return


# ---- drafts


@router.post("/desk/drafts/{key}")
def keep(session: Write, actor: Operator, at: Now, *, key: str, entered: Form) -> Response:
    """Keep what the form holds now; answers the revision that is kept, which the browser may then forget."""
    del actor
    written = entered.get("revision", "")
    revision = int(written) if written.isdecimal() and len(written) < 10 else 0
    kept = drafts.save(session, key, entered, revision=revision, at=at)
    return Response(orjson.dumps({"revision": kept}), media_type="application/json")


@router.post("/desk/drafts/{key}/drop")
def throw_away(session: Write, actor: Operator, key: str) -> Response:
    """Throw a draft away that is not wanted."""
    del actor
    drafts.drop(session, key[:64])
    return go("/desk/new")


def _drop_draft(actor: Actor, key: str) -> None:
    try:
        with transaction(actor) as session:
            drafts.drop(session, key[:64])
    except WanggeError:
        # The case is recorded; a draft that stays behind is seen, and thrown away by hand or by the night.
        return


def _recorded(session: Session, number: str) -> dict[str, str] | None:
    """Return what is said of the case that was recorded last; None where there is none to be seen."""
    found = views.find_number(session, number[:30]) if number else None
    if found is None:
        return None
    case = facts(session, found)
    return {
        "number": case.number,
        "access_code": access_code(case.number),
        "unit_name": case.unit_name or "",
        "state": case.state,
    }


def _form(
    request: Request, actor: Actor, entered: dict[str, str] | Entered, *, status: int = 200, **more: object
) -> Response:
    shown = {"problem": "", "field": "", "receipt": None} | more
    shown["services"] = SERVICES
    shown["caller"] = phone.caller(actor, phone.written_call(entered.get("call", "")))
    with snapshot(actor) as session:
        shown["unsent"] = [one for one in drafts.mine(session) if one.key != entered.get("key")]
    offered = choices(wiring.rulebook())
    return page(request, "desk/new.html", status=status, entered=entered, choices=offered, **shown)

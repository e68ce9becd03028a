"""The platform window 大接件窗口: what waits for it, one application with its checklist, and everything it may do.

The window takes in, times and hands out; units decide (S0). Grid workers who act for people at home use the same pages
on the phone. Taking in is `api.pages.counter`; steps that need no form of their own are drawn as on every desk.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api import item_words, uploads, wiring
from api.deps import Now, Read, Write, require
from api.errors import sentence, status_of
from api.i18n import N_, say
from api.pages import casework, filing, go, page, steps
from api.pages.apply import receipt_context
from api.pages.entered import Entered
from api.pages.entered import Form as EnteredForm
from api.pages.filing import Form, Posted
from api.pages.listing import Asked, asked, choices, end_of_day
from core.actor import Actor, Role
from core.errors import Conflict, Invalid, NotFound, WanggeError
from dispatch import cases, views
from dispatch.fields import FIELDS
from dispatch.items import filed as archive
from dispatch.items.filed import Filed
from dispatch.items.lists import Condition
from dispatch.numbers import access_code, access_hash, spoken
from dispatch.rulebook import Rulebook
from dispatch.sheet import Sheet, facts, sheet

router = APIRouter(include_in_schema=False)

Clerk = Annotated[Actor, Depends(require(Role.OPERATOR, Role.GRID_WORKER))]
#: Everybody whose work may need what was handed in; each sees the cases of the own scope.
Looker = Annotated[Actor, Depends(require(Role.OPERATOR, Role.GRID_WORKER, Role.UNIT, Role.SUPERVISOR, Role.OFFICIAL))]
PROCESSES: Final = ("service_item", "information")
#: Parts of the window's work, in its order: words, and the states that are meant.
TABS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "in": (N_("To check"), ("submitted", "pre_reviewed")),
    "gaps": (N_("Waiting for the applicant"), ("correcting",)),
    "running": (
        N_("With the units"),
        ("accepted", "reviewing", "paused", "handed_up", "denial_review", "registered", "handling"),
    ),
    "out": (N_("To hand out"), ("granted", "denied", "replied")),
    "ended": (N_("Ended"), ("delivered", "refused_acceptance", "lapsed", "withdrawn", "filed")),
}
#: Steps that have a form of their own on this page; other pages link to it.
OWN: Final = frozenset(
    (
        *("notice", "hand_in", "supply", "reuse", "accept", "accept_gaps", "done_at_once", "deliver"),
        *("material_wrong", "choose_pickup"),
    )
)
#: The applications that come first whatever else is due: as many as a counter can look through.
_QUEUE: Final = 100
PRINTS: Final = ("receipt", "notice", "result")
#: Steps that say why something was refused.
_REFUSALS: Final = frozenset(("deny", "propose_denial", "refuse_acceptance"))


@dataclass(frozen=True, slots=True)
class Refused:
    """A step that was refused: what was entered, and why."""

    action: str
    posted: Posted
    error: WanggeError


@router.get("/window")
def queue(request: Request, session: Read, actor: Clerk, *, at: Now, number: str = "", tab: str = "") -> Response:
    """List what waits for the window: green channel first, then least time left; every filter is in the address."""
    del actor
    found = views.find_number(session, number.replace(" ", "")[:30]) if number.strip() else None
    if found is not None:
        return go(f"/window/{facts(session, found).number}")
    named = tab if tab in TABS else "in"
    wanted = asked(request, box="all")
    kind = request.query_params.get("kind", "application")
    kind = kind if kind in ("application", "information") else "application"
    narrowed = replace(wanted.filter, kind=kind, states=TABS[named][1], box="all")
    listed = views.worklist(session, narrowed, at=at, sort=wanted.sort, after=wanted.after or None)
    lines = archive.queue(session, limit=_QUEUE) if kind == "application" else []
    marks = {line.number: line for line in lines}
    first = [row for row in listed.rows if row.number in marks and marks[row.number].green]
    rows = [*first, *(row for row in listed.rows if row not in first)]
    return page(
        request,
        "window/list.html",
        asked=wanted,
        tab=named,
        tabs={name: words for name, (words, _) in TABS.items()},
        kind=kind,
        listed=listed,
        rows=rows,
        marks=marks,
        counts=counts(session, kind, at=at),
        today=sum(line.due_at is not None and line.due_at <= end_of_day(at) for line in lines),
        choices=choices(wiring.rulebook()),
        narrowed=bool(narrowed.search or narrowed.unit or narrowed.town or narrowed.channel),
        missed=number.strip()[:30],
        query=_query(wanted, named, kind),
    )


def counts(session: Session, kind: str, *, at: datetime) -> Mapping[str, int]:
    """Return how many cases of a kind each tab but the last holds, as `views` counts them."""
    found = {}
    for name, (_, states) in TABS.items():
        if name != "ended":
            asked_for = views.Filter(kind=kind, states=states, box="all")
            found[name] = views.worklist(session, asked_for, at=at, limit=1).count
    return found


def _query(wanted: Asked, tab: str, kind: str) -> str:
    return "&".join(part for part in (urlencode({"tab": tab, "kind": kind}), wanted.query) if part)


@router.get("/window/{number}")
def one(request: Request, session: Read, actor: Clerk, at: Now, number: str) -> Response:
    """Show one application: what is there and what is missing, what may be done now, and what happened."""
    return shown(request, session, actor, number, at=at)


@router.get("/window/{number}/print/{what}")
def paper(request: Request, session: Read, actor: Clerk, *, at: Now, number: str, what: str) -> Response:
    """Show one sheet of A4: the receipt, the notice of everything that is missing, or the result with its slip."""
    del actor
    found = sheet(session, _id(session, number))
    if what not in PRINTS or (what != "receipt" and found.case.process != "service_item"):
        raise NotFound("There is no such sheet.")
    context = receipt_context(found.case.number)
    if what == "notice" and context["filed"].application.told_at is None:
        raise NotFound("Nothing was told to the applicant yet.")
    due = {clock.clock: clock.due_at for clock in found.clocks if clock.stopped_at is None}
    said = [entry.data for entry in found.entries if entry.action in _REFUSALS]
    held = context["filed"]
    unaccepted = found.case.state == "refused_acceptance"
    refused = unaccepted or (held is not None and held.application.outcome == "denied")
    return page(
        request,
        "window/print.html",
        what=what,
        due=due,
        at=at,
        reports=found.reports,
        # A refusal carries its reason and basis (行政许可法 art. 38).
        why=said[-1] if said and refused else {},
        refused=unaccepted,
        **context,
    )


@router.get("/window/{number}/brief")
def brief(request: Request, session: Read, actor: Looker, number: str) -> Response:
    """Show what an application consists of to units that decide, and to whoever else may see the case."""
    del actor
    found = sheet(session, _id(session, number))
    alone = not request.headers.get("hx-request")
    return page(
        request,
        "window/brief.html" if alone else "window/brief_part.html",
        sheet=found,
        case=found.case,
        filed=archive.filed(session, found.case.id) if found.case.process == "service_item" else None,
        wanted=archive.request(session, found.case.id) if found.case.process == "information" else None,
        book=wiring.rulebook(),
        words=item_words,
    )


@router.get("/window/{number}/files/{file_id}")
def file(session: Read, number: str, file_id: uuid.UUID, actor: Looker) -> Response:
    """Answer a file of an application to whoever may see the case; no browser takes it for anything else."""
    del actor
    kept = archive.file_of(session, _id(session, number), file_id)
    end = "pdf" if kept.media_type == "application/pdf" else "jpg"
    return Response(
        uploads.read(kept),
        media_type=kept.media_type,
        headers={
            "Cache-Control": "private, max-age=600",
            "Content-Disposition": f'inline; filename="{kept.sha256[:12]}.{end}"',
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        },
    )


@router.get("/window/{number}/{action}/effects")
def told(
    request: Request, session: Read, actor: Clerk, *, at: Now, number: str, action: str, form: EnteredForm
) -> Response:
    """Say what a step would do to the clocks with what its form holds so far."""
    from api.pages.unit import effects_of

    return page(request, "case/effects.html", effects=effects_of(session, actor, number, action, form, at=at))


@router.post("/window/{number}/{action}")
def step(
    request: Request, session: Write, actor: Clerk, *, at: Now, number: str, action: str, posted: Form
) -> Response:
    """Take a step; a refusal shows the application as it is with everything that was entered."""
    case_id = _id(session, number)
    try:
        with session.begin_nested():
            take(session, wiring.rulebook(), case_id, action, posted, at=at)
    except (Conflict, Invalid) as error:
        found = sheet(session, case_id)
        if casework.already_done(found, actor, action, seen=casework.seen_of(posted.texts)):
            return go(f"/window/{number}?done=repeated")
        return shown(request, session, actor, number, at=at, refused=Refused(action, posted, error))
    if action == "notice" and facts(session, case_id).process == "service_item":
        return go(f"/window/{number}/print/notice")
    if action in ("done_at_once", "deliver"):
        return go(f"/window/{number}/print/result")
    return go(f"/window/{number}?done={action}")


def take(
    session: Session, book: Rulebook, case_id: uuid.UUID, action: str, posted: Posted, *, at: datetime
) -> cases.Done:
    """Take a step with what a form of this page holds; raises as `dispatch.cases.act`. Writes; caller commits."""
    case = facts(session, case_id)
    if action not in OWN or case.process != "service_item":
        return steps.take(session, book, case, action, entered_of(posted), at=at)
    held = archive.filed(session, case_id)
    fields = own_fields(action, posted, held, case.number)
    if action in ("hand_in", "supply"):
        _attach(session, case_id, posted, held, at=at)
    version = steps.version_of(posted.texts)
    return cases.act(session, book, case_id, action, expected_version=version, at=at, fields=fields)


def own_fields(action: str, posted: Posted, held: Filed, number: str) -> dict[str, Any]:
    """Return the fields of a step that has a form of its own here; empty ones are left out."""
    fields: dict[str, Any] = {"note": posted.text("note", most=2000)}
    if action in ("notice", "material_wrong"):
        told = {one.code: posted.text(f"wrong-{one.code}", most=500) for one in held.materials}
        fields["wrong"] = [{"code": code, "why": why} for code, why in told.items() if why]
    elif action in ("hand_in", "supply"):
        brought = [*posted.lists.get("materials", ()), *(name[5:] for name in posted.files if name.startswith("file-"))]
        fields["materials"] = list(dict.fromkeys(brought))
    elif action == "reuse":
        fields["materials"] = list(dict.fromkeys(posted.lists.get("reuse", ())))
        fields["consent"] = posted.text("consent")
    elif action == "choose_pickup":
        fields["pickup_place"] = posted.text("pickup_place")
    elif action == "deliver":
        fields |= {"picked_up_by": posted.text("picked_up_by"), "note": checked_at_pickup(posted, number)}
    else:
        fields["facts"] = facts_of(posted, held.questions)
        for name in ("picked_up_by", "decision_number", "commitment", "green"):
            fields[name] = posted.text(name)
        fields["owed"] = posted.lists.get("owed", [])
    return {name: value for name, value in fields.items() if value not in ("", [], None)}


def facts_of(posted: Posted, asked_for: tuple[Condition, ...]) -> list[dict[str, Any]]:
    """Return what the window was told of the facts that the three lists ask for, as the step takes them."""
    told = filing.facts_of(posted, filing.asked_facts(asked_for))
    return [{"fact": fact, "value": value} for fact, value in told.items()]


def checked_at_pickup(posted: Posted, number: str) -> str:
    """Return how the window made sure who fetches the result, for the log; raises Invalid where it did not."""
    code = posted.text("code", most=10)
    if code:
        if access_hash(number, code) != access_hash(number, access_code(number)):
            raise Invalid(
                "The code is not the one of the receipt; look again or check an identity document.", field="code"
            )
        return say("Fetched with the code of the receipt.", "zh")
    if posted.text("document") == "yes":
        return say("Fetched with an identity document, which was checked.", "zh")
    raise Invalid("Check the code of the receipt or an identity document before you hand out.", field="code")


def _attach(session: Session, case_id: uuid.UUID, posted: Posted, held: Filed, *, at: datetime) -> None:
    known = {one.code for one in held.materials}
    for name, sent in posted.files.items():
        code = name.removeprefix("file-")
        if name.startswith("file-") and code in known:
            for called, data in sent:
                archive.attach(session, case_id, code, filing.keep(called, data).upload, at=at)


def entered_of(posted: Posted) -> Entered:
    """Return a form as the steps of every desk read it."""
    made = Entered(posted.texts)
    made.lists = posted.lists
    made.files = {name: [data for _, data in sent] for name, sent in posted.files.items()}
    return made


def shown(
    request: Request, session: Session, actor: Actor, number: str, *, at: datetime, refused: Refused | None = None
) -> Response:
    """Draw one application, after a refusal with the reason on top."""
    book = wiring.rulebook()
    found = sheet(session, _id(session, number))
    problem = sentence(refused.error) if refused else ""
    held = archive.filed(session, found.case.id) if found.case.process == "service_item" else None
    wanted = archive.request(session, found.case.id) if found.case.process == "information" else None
    offers = steps.offers(
        session,
        book,
        found,
        actor,
        at=at,
        tried=refused.action if refused else "",
        entered=entered_of(refused.posted) if refused else None,
        error=refused.error if refused else None,
        problem=problem,
    )
    own = {offer.step.action: offer for offer in offers if held is not None and offer.step.action in OWN}
    done = request.query_params.get("done", "") if request.method == "GET" else ""
    return page(
        request,
        "window/detail.html",
        status=status_of(refused.error) if refused else 200,
        problem=problem,
        tried=refused.action if refused else _wished(request, own),
        wrong=(refused.error.field or "") if refused else "",
        entered=refused.posted.texts if refused else {},
        lists=refused.posted.lists if refused else {},
        sheet=found,
        case=found.case,
        filed=held,
        wanted=wanted,
        again=_again(session, held, at=at) if held is not None and "reuse" in own else (),
        own=own,
        offers=[offer for offer in offers if offer.step.action not in own],
        questions=filing.asked_facts(held.questions) if held else (),
        picked_up=FIELDS["picked_up_by"].choices,
        days=casework.timeline(book, found.entries),
        seen=found.entries[-1].seq if found.entries else 0,
        spoken=spoken(found.case.number),
        choices=choices(book),
        book=book,
        words=item_words,
        done=_done(book, found, done, at=at),
    )


def _again(session: Session, held: Filed, *, at: datetime) -> tuple[archive.Offer, ...]:
    """Return what the applicant handed in before and is missing here 一表制."""
    wanting = {one.code for one in held.materials if one.state in ("missing", "rejected")}
    offers = archive.earlier(session, held.application, held.sheet, at=at) if wanting else ()
    return tuple(one for one in offers if one.code in wanting)


def _wished(request: Request, own: Mapping[str, steps.Offer]) -> str:
    """Return the step whose form a link asked to see open; empty where it is not on offer any more."""
    step = request.query_params.get("step", "")
    return step if step in own else ""


def _done(book: Rulebook, found: Sheet, done: str, *, at: datetime) -> str:
    """Return what the last press led to, in words; what was only taken in is not accepted."""
    if done == "receive":
        return say("It was taken in; it is not accepted yet.")
    return casework.done_words(book, found.case, done, at=at, repeated=done == "repeated") if done else ""


def _id(session: Session, number: str) -> uuid.UUID:
    found = views.find_number(session, number.replace(" ", "")[:30])
    if found is None:
        raise NotFound("There is no case with this number, or it is not yours to see.")
    if facts(session, found).process not in PROCESSES:
        raise NotFound("This case is no application and no request for information.")
    return found

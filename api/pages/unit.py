"""A responsible unit's desk 责任单位: list, case and map at once; sign many, answer, ask, return with a reason.

Reads through `dispatch.views` and `dispatch.sheet`, changes through `dispatch.cases.act`. A step leads back to the same
place in the same list; a page that is too old or sent twice says so and loses nothing. Works without scripts.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

import orjson
from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api import wiring
from api.deps import Now, Read, require
from api.errors import sentence, status_of
from api.i18n import N_, say
from api.pages import casework, go, page, steps
from api.pages.effects import effects
from api.pages.entered import Entered, Form
from api.pages.listing import Asked, asked, category_words, choices, end_of_day
from core.actor import Actor, Role
from core.errors import Conflict, Forbidden, Invalid, NotFound, WanggeError
from dispatch import cases, views
from dispatch.boxes import unsigned_states
from dispatch.process import Step
from dispatch.rulebook import Rulebook
from dispatch.sheet import Sheet, facts, sheet
from grid.labels import labels

router = APIRouter(include_in_schema=False)

#: Degrees; some ten metres.
_SLIVER = 1e-4

Clerk = Annotated[Actor, Depends(require(Role.UNIT))]
ClerkWork = Annotated[casework.Work, Depends(casework.work_of(Role.UNIT))]
#: Boxes of the inbox in the order of the work, with their words.
TABS: Final[Mapping[str, str]] = {
    "running": N_("Everything to do"),
    "unsigned": N_("To sign"),
    "inhand": N_("In hand"),
    "shares": N_("Assisting"),
    "supervised": N_("Supervised"),
    "pleas": N_("Asked, undecided"),
    "resting": N_("Paused and parked"),
    "answered": N_("Answered, being called back"),
    "all": N_("All that we ever had"),
}
#: Boxes that hold more than the unit leads now.
_WIDER = ("all", "shares")
#: Cases that are signed for with one press.
MOST_SIGNED = 100
#: What signing is called, for the lead and for a share.
_SIGNS = ("sign", "share_sign")


@dataclass(frozen=True, slots=True)
class Signed:
    """What became of one case of many that were signed for at once."""

    number: str
    #: good, known or bad.
    mark: str
    words: str


@router.get("/unit")
def inbox(request: Request, session: Read, actor: Clerk, at: Now, case: str = "") -> Response:
    """Show what is due today in big numbers, the cases by time left, the chosen one (else the first), and the map."""
    return _inbox(request, session, actor, at=at, number=case)


@router.post("/unit/sign")
def sign_many(work: ClerkWork) -> Response:
    """Sign for the chosen cases, each by itself: what can be signed is, and every refusal is told with its reason."""
    chosen = list(dict.fromkeys(work.form.lists.get("case", [])))
    if not chosen:
        error = Invalid("Choose at least one case to sign for.", field="case")
        return _inbox(work.request, work.session, work.actor, at=work.at, status=422, inbox_problem=sentence(error))
    if len(chosen) > MOST_SIGNED:
        error = Invalid("At most {n} cases can be signed for at once.", field="case", n=MOST_SIGNED)
        return _inbox(work.request, work.session, work.actor, at=work.at, status=422, inbox_problem=sentence(error))
    known = {written: _named(work.session, written) for written in chosen}
    # Locked in the order of their ids: two clerks who sign for the same cases wait for each other once.
    order = sorted(chosen, key=lambda written: str(known[written] or ""))
    results = {written: _sign(work, written, known[written]) for written in order}
    told = [results[written] for written in chosen]
    return _inbox(work.request, work.session, work.actor, at=work.at, results=told)


def _named(session: Session, written: str) -> uuid.UUID | None:
    return views.find_number(session, written.partition(":")[0][:30])


def _sign(work: casework.Work, written: str, case_id: uuid.UUID | None) -> Signed:
    """Sign for one of many in a savepoint of its own; `written` is number:version as the list showed it."""
    number, _, version = written.partition(":")
    number = number[:30]
    if case_id is None:
        return Signed(number, "bad", say("There is no case with this number, or it is not yours to see."))
    try:
        with work.session.begin_nested():
            case = facts(work.session, case_id)
            steps_now = cases.offered(work.session, work.book, case_id, at=work.at)
            action = next((step.action for step in steps_now if step.action in _SIGNS), "")
            if not action:
                return _unsignable(work, case_id, number)
            seen = int(version) if version.isascii() and version.isdigit() and len(version) < 10 else case.version
            cases.act(work.session, work.book, case_id, action, expected_version=seen, at=work.at)
    except (Conflict, Forbidden, Invalid, NotFound) as error:
        return Signed(number, "bad", sentence(error))
    return Signed(number, "good", say("Signed for."))


def _unsignable(work: casework.Work, case_id: uuid.UUID, number: str) -> Signed:
    """Say why a case cannot be signed for: it was already, or it went elsewhere."""
    found = sheet(work.session, case_id)
    own = [share for share in found.shares if share.unit_code == work.actor.unit and share.active]
    if own and own[-1].signed_at is not None:
        return Signed(number, "known", say("Was signed for already."))
    return Signed(number, "bad", say("Cannot be signed for: the case went on and is with {unit}.", unit=_with(found)))


def _with(found: Sheet) -> str:
    return found.case.unit_name or say("the district centre")


@router.get("/unit/arrived")
def arrived(request: Request, session: Read, actor: Clerk, since: datetime) -> Response:
    """Say how many cases were sent to this unit since the list was drawn; nothing jumps by itself."""
    if since.tzinfo is None:
        raise Invalid("The time {moment} does not say its time zone.", field="since", moment=str(since))
    return page(request, "unit/arrived.html", fresh=views.assigned(session, unit=actor.unit, since=since))


@router.get("/unit/names")
def names(session: Read, actor: Clerk, bbox: str) -> Response:
    """Answer the names to write on the map: `bbox` is west, south, east, north in degrees."""
    del actor
    try:
        west, south, east, north = (float(part) for part in bbox.split(","))
    except ValueError as error:
        raise Invalid("A box on the map is west, south, east, north.", field="bbox") from error
    # A map that is folded away, or shows one point, asks about a box without a side.
    found = labels(session, west=west, south=south, east=max(east, west + _SLIVER), north=max(north, south + _SLIVER))
    return Response(
        orjson.dumps(found), media_type="application/json", headers={"Cache-Control": "private, max-age=600"}
    )


@router.get("/unit/list")
def more(request: Request, session: Read, actor: Clerk, at: Now) -> Response:
    """Answer the next lines of the list, to be put below those that are there."""
    wanted, listed = _listed(request, session, actor, at=at)
    return page(
        request,
        "unit/rows.html",
        asked=wanted,
        query=wanted.query,
        listed=listed,
        unsigned=unsigned_states(),
        **_following(listed),
    )


@router.get("/unit/case/{number}")
def beside(request: Request, session: Read, actor: Clerk, at: Now, number: str) -> Response:
    """Show one case beside the list; as a whole page where no script asks for it."""
    query = asked(request, box="running").query
    if not request.headers.get("hx-request"):
        return go(f"/unit/{quote(number)}?{urlencode({'back': query})}")
    context = _context(session, wiring.rulebook(), actor, number, at=at)
    following = request.query_params.get("next", "")
    return page(request, "unit/detail.html", back=query, following=following, beside=True, **context)


@router.get("/unit/{number}")
def one(request: Request, session: Read, actor: Clerk, at: Now, number: str) -> Response:
    """Show one case as a whole page, with the log beside it and what each step does to the clocks."""
    context = _context(session, wiring.rulebook(), actor, number, at=at)
    given = request.query_params
    return page(request, "unit/case.html", back=given.get("back", ""), following=given.get("next", ""), **context)


@router.get("/unit/{number}/{action}/effects")
def told(request: Request, session: Read, actor: Clerk, *, at: Now, number: str, action: str, form: Form) -> Response:
    """Say what a step would do to the clocks with what its form holds so far."""
    return page(request, "case/effects.html", effects=effects_of(session, actor, number, action, form, at=at))


def effects_of(
    session: Session, actor: Actor, number: str, action: str, form: Entered, *, at: datetime
) -> tuple[object, ...]:
    """Return the effects of a step that is on offer; none where it is not any more."""
    book = wiring.rulebook()
    found = sheet(session, _id(session, number))
    offered: tuple[Step, ...] = cases.offered(session, book, found.case.id, at=at)
    step = next((step for step in offered if step.action == action), None)
    if step is None:
        return ()
    return effects(book, found, step, actor=actor, at=at, given=form.plain)


@router.post("/unit/{number}/{action}")
def step(work: ClerkWork, number: str, action: str) -> Response:
    """Take a step and go back to the list; a refusal shows the case as it is, with everything that was entered."""
    case_id = _id(work.session, number)
    form = work.form
    back, following = form.get("back", ""), form.get("next", "")
    try:
        with work.session.begin_nested():
            steps.take(work.session, work.book, facts(work.session, case_id), action, form, at=work.at)
    except (Conflict, Invalid) as error:
        return _again(work, number, action, error)
    return go(_home(back, number, action, following))


def _home(back: str, number: str, action: str, following: str, *, repeated: bool = False) -> str:
    """Return the address of the list, with what was done, and the case and line to come back to."""
    # A case that left the list cannot be come back to: its neighbour's line is where the eye was.
    anchor = following if action in ("return", "reply", "dispute", "rise") and following else number
    said = urlencode({"done": number, "did": "repeated" if repeated else action, "case": anchor})
    kept = "&".join(part for part in back.split("&") if part and not part.startswith(("done=", "did=", "case=")))
    return f"/unit?{kept}{'&' if kept else ''}{said}#r-{quote(anchor)}"


def _again(work: casework.Work, number: str, action: str, error: WanggeError) -> Response:
    seen, form = casework.seen_of(work.form), work.form
    found = sheet(work.session, _id(work.session, number))
    if casework.already_done(found, work.actor, action, seen=seen):
        return go(_home(form.get("back", ""), number, action, form.get("next", ""), repeated=True))
    refused = _Refused(action, form, error, sentence(error))
    context = _context(work.session, work.book, work.actor, number, at=work.at, refused=refused)
    later = casework.since(context["sheet"], seen) if isinstance(error, Conflict) else ()
    return page(
        work.request,
        "unit/case.html",
        status=status_of(error),
        problem=sentence(error),
        meanwhile=casework.logged(work.book, later),
        # Where the step is not on offer any more its form is gone: what was written is shown to be copied.
        lost=_lost(context, form, action),
        back=form.get("back", ""),
        following=form.get("next", ""),
        **context,
    )


def _lost(context: dict[str, Any], form: Entered, action: str) -> tuple[str, ...]:
    """Return the texts that were entered into a form that is not on the page any more."""
    if any(offer.step.action == action for offer in context["offers"]):
        return ()
    texts = ("answer", "opinion", "supervise_answer", "reason", "note", "document", "legal_basis")
    return tuple(form[name].strip() for name in texts if form.get(name, "").strip())


@dataclass(frozen=True, slots=True)
class _Refused:
    """A step that was refused: what was entered, and why."""

    action: str
    entered: Entered
    error: WanggeError
    problem: str


def _listed(request: Request, session: Session, actor: Actor, *, at: datetime) -> tuple[Asked, views.Page]:
    wanted = asked(request, box="running")
    # Cases that went elsewhere stay visible to the unit; its inbox holds those that it leads now, unless it asks.
    mine = wanted.filter if wanted.filter.box in _WIDER else replace(wanted.filter, unit=actor.unit)
    return wanted, views.worklist(session, mine, at=at, sort=wanted.sort, after=wanted.after or None)


def _following(listed: views.Page) -> dict[str, Any]:
    numbers = [row.number for row in listed.rows]
    return {"next_of": dict(zip(numbers, [*numbers[1:], *numbers[-2:-1]], strict=False))}


def _inbox(
    request: Request,
    session: Session,
    actor: Actor,
    *,
    at: datetime,
    number: str = "",
    status: int = 200,
    **more: Any,
) -> Response:
    book = wiring.rulebook()
    wanted, listed = _listed(request, session, actor, at=at)
    following = _following(listed)
    shown: dict[str, Any] = {}
    first = number or (listed.rows[0].number if listed.rows and not wanted.after else "")
    if first:
        try:
            shown = _context(session, book, actor, first, at=at)
        except NotFound:
            # An address that was kept may name a case that is not this unit's any more.
            shown = {}
    done, did = request.query_params.get("done", ""), request.query_params.get("did", "")
    return page(
        request,
        "unit/inbox.html",
        status=status,
        asked=wanted,
        query=wanted.query,
        listed=listed,
        tabs=TABS,
        counts=views.counts(session, at=at, soon=end_of_day(at), unit=actor.unit),
        today=end_of_day(at).date() - timedelta(days=1),
        unsigned=unsigned_states(),
        unit_name=book.unit_name(actor.unit),
        drawn_at=at.isoformat(),
        said=_said(session, book, done, did, at=at),
        back=wanted.query,
        following=following["next_of"].get(first, ""),
        beside=True,
        **{"choices": choices(book)}
        | following
        | shown
        | {"results": (), "inbox_problem": more.pop("problem", "")}
        | more,
    )


def _context(
    session: Session, book: Rulebook, actor: Actor, number: str, *, at: datetime, refused: _Refused | None = None
) -> dict[str, Any]:
    found = sheet(session, _id(session, number))
    case = found.case
    offered = steps.offers(
        session,
        book,
        found,
        actor,
        at=at,
        tried=refused.action if refused else "",
        entered=refused.entered if refused else None,
        error=refused.error if refused else None,
        problem=refused.problem if refused else "",
    )
    place = {"lng": case.lng, "lat": case.lat, "radius_m": case.radius_m, "name": case.place_name}
    return {
        "sheet": found,
        "case": case,
        "offers": offered,
        "days": casework.timeline(book, found.entries),
        "why": [(share, casework.why_here(book, share.why)) for share in found.shares if share.unit_code == actor.unit],
        "hanging": casework.parts_of(book, found, at=at),
        "seen": found.entries[-1].seq if found.entries else 0,
        "category": category_words(book, case.category_code),
        "choices": choices(book),
        "map": orjson.dumps(
            {
                "number": case.number,
                "place": place if case.lng is not None else None,
                "spots": [],
                "town": case.town_code,
            }
        ).decode(),
    }


def _said(session: Session, book: Rulebook, number: str, action: str, *, at: datetime) -> str:
    """Return what the last step led to, for the line above the list; empty where nothing was done."""
    if not number or not action:
        return ""
    try:
        case = facts(session, _id(session, number))
    except NotFound:
        return ""
    return casework.done_words(book, case, action, at=at, repeated=action == "repeated")


def _id(session: Session, number: str) -> uuid.UUID:
    found = views.find_number(session, number)
    if found is None:
        raise NotFound("There is no case with this number, or it is not yours to see.")
    return found

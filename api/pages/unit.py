"""A responsible unit's inbox 责任单位: what is due today at a glance; sign, return with a reason, reply.

Reads through `dispatch.views` and `dispatch.sheet`, changes through `dispatch.cases.act`. A step leads back to the same
place in the same list; a page that is too old or sent twice says so and loses nothing.
"""

import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api import wiring
from api.deps import Now, Read, require
from api.errors import sentence, status_of
from api.pages import casework, go, page
from api.pages.listing import asked, category_words, choices, end_of_day
from core.actor import Actor, Role
from core.errors import Conflict, Invalid, NotFound, WanggeError
from dispatch import views
from dispatch.rulebook import Rulebook
from dispatch.sheet import sheet

router = APIRouter(include_in_schema=False)

Clerk = Annotated[Actor, Depends(require(Role.UNIT))]
ClerkWork = Annotated[casework.Work, Depends(casework.work_of(Role.UNIT))]


@router.get("/unit")
def inbox(request: Request, session: Read, actor: Clerk, at: Now) -> Response:
    """Show what is due today in big numbers, and the cases with this unit by time left."""
    book = wiring.rulebook()
    wanted = asked(request, box="running")
    # Cases that went elsewhere stay visible to the unit; its inbox holds those that it leads now, unless it asks.
    mine = wanted.filter if wanted.filter.box == "all" else replace(wanted.filter, unit=actor.unit)
    listed = views.worklist(session, mine, at=at, sort=wanted.sort, after=wanted.after or None)
    numbers = [row.number for row in listed.rows]
    done, did = request.query_params.get("done", ""), request.query_params.get("did", "")
    return page(
        request,
        "unit/inbox.html",
        asked=wanted,
        query=wanted.query,
        listed=listed,
        following=dict(zip(numbers, [*numbers[1:], *numbers[-2:-1]], strict=False)),
        counts=views.counts(session, at=at, soon=end_of_day(at), unit=actor.unit),
        today=end_of_day(at).date() - timedelta(days=1),
        unit_name=book.unit_name(actor.unit),
        drawn_at=at.isoformat(),
        said=_said(session, book, done, did, at=at),
    )


@router.get("/unit/arrived")
def arrived(request: Request, session: Read, actor: Clerk, since: datetime) -> Response:
    """Say how many cases were sent to this unit since the list was drawn; nothing jumps by itself."""
    if since.tzinfo is None:
        raise Invalid("The time {moment} does not say its time zone.", field="since", moment=str(since))
    return page(request, "unit/arrived.html", fresh=views.assigned(session, unit=actor.unit, since=since))


@router.get("/unit/{number}")
def one(request: Request, session: Read, actor: Clerk, at: Now, number: str) -> Response:
    """Show one case with the steps that the unit may take and what each does to the clocks."""
    context = _context(session, wiring.rulebook(), actor, number, at=at)
    given = request.query_params
    return page(request, "unit/case.html", back=given.get("back", ""), following=given.get("next", ""), **context)


@router.post("/unit/{number}/{action}")
def step(work: ClerkWork, number: str, action: str) -> Response:
    """Take a step and go back to the list; a refusal shows the case as it is, with everything that was entered."""
    case_id = _id(work.session, number)
    form = work.form
    back, following = form.get("back", ""), form.get("next", "")
    try:
        with work.session.begin_nested():
            casework.take(work, case_id, action)
    except (Conflict, Invalid) as error:
        return _again(work, number, action, error)
    return go(_home(back, number, action, following))


def _home(back: str, number: str, action: str, following: str, *, repeated: bool = False) -> str:
    """Return the address of the list, with what was done and the line to come back to."""
    said = urlencode({"done": number, "did": "repeated" if repeated else action})
    # A case that left the list cannot be come back to: its neighbour's line is where the eye was.
    anchor = following if action in ("return", "reply") and following else number
    kept = "&".join(part for part in back.split("&") if part and not part.startswith(("done=", "did=")))
    return f"/unit?{kept}{'&' if kept else ''}{said}#r-{quote(anchor)}"


def _again(work: casework.Work, number: str, action: str, error: WanggeError) -> Response:
    context = _context(work.session, work.book, work.actor, number, at=work.at)
    seen, form = casework.seen_of(work.form), work.form
    if casework.already_done(context["sheet"], work.actor, action, seen=seen):
        return go(_home(form.get("back", ""), number, action, form.get("next", ""), repeated=True))
    later = casework.since(context["sheet"], seen) if isinstance(error, Conflict) else ()
    return page(
        work.request,
        "unit/case.html",
        status=status_of(error),
        problem=sentence(error),
        meanwhile=casework.logged(work.book, later),
        entered=form | {"action": action},
        back=form.get("back", ""),
        following=form.get("next", ""),
        **context,
    )


def _context(session: Session, book: Rulebook, actor: Actor, number: str, *, at: datetime) -> dict[str, Any]:
    found = sheet(session, _id(session, number))
    return {
        "sheet": found,
        "case": found.case,
        "words": casework.words(),
        "offers": casework.offers(book, found, actor, at=at),
        "log": casework.logged(book, found.entries),
        "why": [(share, casework.why_here(book, share.why)) for share in found.shares if share.unit_code == actor.unit],
        "seen": found.entries[-1].seq if found.entries else 0,
        "category": category_words(book, found.case.category_code),
        "choices": choices(book),
    }


def _said(session: Session, book: Rulebook, number: str, action: str, *, at: datetime) -> str:
    """Return what the last step led to, for the line above the list; empty where nothing was done."""
    if not number or not action:
        return ""
    try:
        case = sheet(session, _id(session, number)).case
    except NotFound:
        return ""
    return casework.done_words(book, case, action, at=at, repeated=action == "repeated")


def _id(session: Session, number: str) -> uuid.UUID:
    found = views.find_number(session, number)
    if found is None:
        raise NotFound("There is no case with this number, or it is not yours to see.")
    return found

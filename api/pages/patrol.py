"""A grid worker's plain pages 网格巡查: what waits in the own town, a new event with point and photos, and its steps.

Works on any phone with a line. Steps are drawn and taken as on every desk; `dispatch.cases` decides.
"""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, File, Form, UploadFile
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api import wiring
from api.deps import Now, Read, require
from api.errors import sentence, status_of
from api.i18n import N_
from api.pages import casework, filing, go, page, public, steps
from api.pages.entered import Form as EnteredForm
from api.pages.listing import asked, category_words, choices, chosen_code
from api.pages.matter import MOST_PHOTOS, read_photos
from api.pages.unit import effects_of
from core.actor import Actor, Role
from core.errors import Conflict, Invalid, NotFound, WanggeError
from core.ids import new_id
from dispatch import views
from dispatch.sheet import facts, sheet
from hotline.intake import Report

router = APIRouter(include_in_schema=False)

Worker = Annotated[Actor, Depends(require(Role.GRID_WORKER))]
WorkerWork = Annotated[casework.Work, Depends(casework.work_of(Role.GRID_WORKER))]
#: Parts of the work: words, and the states that are meant; states of complaints stay out.
TABS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "mine": (N_("To settle or pass up"), ("in_cell",)),
    "look": (N_("To look at again"), ("settled",)),
    "up": (N_("With others"), ("in_community", "in_town", "in_district")),
}
EVENTS: Final[Mapping[str, str]] = {"event": N_("Happening"), "part": N_("City furniture")}


@router.get("/patrol")
def listed(request: Request, session: Read, actor: Worker, at: Now, tab: str = "") -> Response:
    """List the events of the own town by time left: first those that nobody but the grid worker settles."""
    del actor
    named = tab if tab in TABS else "mine"
    wanted = asked(request, box="all")
    narrowed = replace(wanted.filter, states=TABS[named][1], box="all")
    found = views.worklist(session, narrowed, at=at, sort=wanted.sort, after=wanted.after or None)
    return page(
        request,
        "patrol/list.html",
        tab=named,
        tabs={name: words for name, (words, _) in TABS.items()},
        listed=found,
        query="&".join(part for part in (urlencode({"tab": named}), wanted.query) if part),
    )


@router.get("/patrol/new")
def new(request: Request, actor: Worker) -> Response:
    """Show the form: what it is, its category, where one stands, photos."""
    del actor
    return _form(request, {"key": str(new_id())})


@router.post("/patrol/new")
def report(
    request: Request,
    actor: Worker,
    at: Now,
    *,
    text: Annotated[str, Form()] = "",
    place: Annotated[str, Form()] = "",
    category: Annotated[str, Form()] = "",
    event: Annotated[str, Form()] = "event",
    lng: Annotated[str, Form()] = "",
    lat: Annotated[str, Form()] = "",
    key: Annotated[str, Form()] = "",
    photo: Annotated[list[UploadFile] | None, File()] = None,
) -> Response:
    """Open the event and go on to it: it is settled there, or passed up. A refusal keeps what was typed."""
    entered = {"text": text, "place": place, "category": category, "event": event, "lng": lng, "lat": lat, "key": key}
    try:
        photos = read_photos(photo or [])
        spot = public.spot_of(lng, lat, photos)
        given = Report(
            "patrol",
            public.words_of(text, place),
            at,
            idempotency_key=_checked(key),
            category=chosen_code(choices(wiring.rulebook()).categories, category, field="category"),
            event=event if event in EVENTS else "event",
            **spot,
        )
        receipt = public.receive(request, given, actor=actor, at=at, photos=photos)
    except (Conflict, Invalid) as error:
        return _form(request, entered, error)
    return go(f"/patrol/{receipt.number}")


def _checked(key: str) -> str:
    if not filing.KEY.fullmatch(key):
        raise Invalid("This page is too old or came from elsewhere; load it again. Nothing was changed.", field="key")
    return key


def _form(request: Request, entered: dict[str, str], error: WanggeError | None = None) -> Response:
    entered = dict.fromkeys(("text", "place", "category", "event", "lng", "lat"), "") | entered
    if not filing.KEY.fullmatch(entered["key"]):
        entered["key"] = str(new_id())
    return page(
        request,
        "patrol/new.html",
        status=status_of(error) if error else 200,
        problem=sentence(error) if error else "",
        wrong=(error.field or "") if error else "",
        entered=entered,
        events=EVENTS,
        categories=choices(wiring.rulebook()).categories,
        most_photos=MOST_PHOTOS,
    )


@router.get("/patrol/{number}")
def one(request: Request, session: Read, actor: Worker, at: Now, number: str) -> Response:
    """Show one event with what may be done now, what each step does to the clocks, and the log."""
    done = request.query_params.get("done", "")
    return _shown(request, session, actor, number, at=at, done=done)


@router.get("/patrol/{number}/{action}/effects")
def told(
    request: Request, session: Read, actor: Worker, *, at: Now, number: str, action: str, form: EnteredForm
) -> Response:
    """Say what a step would do to the clocks with what its form holds so far."""
    return page(request, "case/effects.html", effects=effects_of(session, actor, number, action, form, at=at))


@router.post("/patrol/{number}/{action}")
def step(work: WorkerWork, number: str, action: str) -> Response:
    """Take a step; a refusal shows the event as it is, with everything that was entered."""
    session, form = work.session, work.form
    case_id = _id(session, number)
    try:
        with session.begin_nested():
            steps.take(session, work.book, facts(session, case_id), action, form, at=work.at)
    except (Conflict, Invalid) as error:
        found = sheet(session, case_id)
        if casework.already_done(found, work.actor, action, seen=casework.seen_of(form)):
            return go(f"/patrol/{number}?done=repeated")
        tried = {"tried": action, "entered": form, "error": error, "problem": sentence(error)}
        return _shown(work.request, session, work.actor, number, at=work.at, refused=tried, status=status_of(error))
    return go(f"/patrol/{number}?done={action}")


def _shown(
    request: Request,
    session: Session,
    actor: Actor,
    number: str,
    *,
    at: datetime,
    done: str = "",
    refused: dict[str, Any] | None = None,
    status: int = 200,
) -> Response:
    book = wiring.rulebook()
    found = sheet(session, _id(session, number))
    said = casework.done_words(book, found.case, done, at=at, repeated=done == "repeated") if done else ""
    return page(
        request,
        "patrol/one.html",
        status=status,
        problem=refused["problem"] if refused else "",
        sheet=found,
        case=found.case,
        category=category_words(book, found.case.category_code),
        offers=steps.offers(session, book, found, actor, at=at, **(refused or {})),
        hanging=casework.parts_of(book, found, at=at),
        days=casework.timeline(book, found.entries),
        seen=found.entries[-1].seq if found.entries else 0,
        choices=choices(book),
        said=said,
    )


def _id(session: Session, number: str) -> uuid.UUID:
    found = views.find_number(session, number.replace(" ", "")[:30])
    if found is None:
        raise NotFound("There is no case with this number, or it is not yours to see.")
    return found

"""The case sheet 工单 and the read-only lists of supervisors and officials; opening personal data with a reason.

Changes nothing about a case: steps are taken on the desk and in the unit's inbox.
"""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api import wiring
from api.deps import Now, Read, require
from api.errors import sentence, status_of
from api.pages import casework, page
from api.pages.deliveries import TOPICS, WAYS
from api.pages.listing import asked, category_words, choices, end_of_day
from api.wording import exact
from core.actor import Actor, Role
from core.errors import Invalid, NotFound
from dispatch import identity, sheet, views
from grid.openings import REASONS
from hotline.outward import deadletters

router = APIRouter(include_in_schema=False)

#: Everybody who may see cases at all; each sees those of the own scope.
Reader = Annotated[Actor, Depends(require(Role.OPERATOR, Role.SUPERVISOR, Role.OFFICIAL, Role.UNIT, Role.GRID_WORKER))]
#: Who answers callers and sees whether an answer arrived.
Teller = Annotated[Actor, Depends(require(Role.OPERATOR, Role.SUPERVISOR))]
#: Whose work may need a reporter's phone.
OpenerWork = Annotated[casework.Work, Depends(casework.work_of(Role.OPERATOR, Role.SUPERVISOR, Role.UNIT))]
TABS = ("open", "waiting", "running", "disputed", "supervised", "resting", "answered", "ended")


@router.get("/cases")
def cases(request: Request, session: Read, actor: Reader, at: Now) -> Response:
    """List the cases of one's scope, to look at and to print."""
    del actor
    wanted = asked(request, box="open")
    return page(
        request,
        "case/list.html",
        asked=wanted,
        query=wanted.query,
        listed=views.worklist(session, wanted.filter, at=at, sort=wanted.sort, after=wanted.after or None),
        counts=views.counts(session, at=at, soon=end_of_day(at)),
        choices=choices(wiring.rulebook()),
        tabs=TABS,
        stamp=_stamp,
        at=at,
    )


@router.get("/cases/named")
def named(request: Request, session: Read, actor: Reader, main: str = "") -> Response:
    """Say which case a number means, for fields that ask for one."""
    del actor
    written = main.replace(" ", "").strip()[:30]
    found = views.find_number(session, written) if len(written) > len("20261121") else None
    case = sheet.facts(session, found) if found else None
    return page(request, "case/named.html", case=case, written=written)


@router.get("/cases/{number}")
def one(request: Request, session: Read, actor: Reader, at: Now, number: str) -> Response:
    """Show everything about one case, ready to be printed on A4."""
    return _page(request, session, actor, number, at=at)


@router.get("/cases/{number}/told")
def told(request: Request, session: Read, actor: Teller, number: str) -> Response:
    """Show what went out about a case, and what did not, for a place beside it."""
    del actor
    return page(request, "case/told.html", **_told(session, _id(session, number)))


def _told(session: Session, case_id: uuid.UUID) -> dict[str, Any]:
    return {
        "told": deadletters.of_case(session, case_id),
        "told_states": deadletters.STATES,
        "told_failed": deadletters.FAILED,
        "ways": WAYS,
        "topics": TOPICS,
    }


@router.post("/cases/{number}/disclose")
def disclose(work: OpenerWork, number: str) -> Response:
    """Show phones or names unmasked for a quarter of an hour, after writing down who asked and why."""
    form = work.form
    try:
        identity.disclose(
            work.session,
            _id(work.session, number),
            field=form.get("field", ""),
            why=form.get("why") or "none",
            reason=form.get("reason", ""),
            at=work.at,
        )
    except Invalid as error:
        status, problem = status_of(error), sentence(error)
        return _page(work.request, work.session, work.actor, number, at=work.at, status=status, problem=problem)
    return _page(work.request, work.session, work.actor, number, at=work.at)


def _page(
    request: Request,
    session: Session,
    actor: Actor,
    number: str,
    *,
    at: Now,
    status: int = 200,
    problem: str = "",
) -> Response:
    book = wiring.rulebook()
    found = sheet.sheet(session, _id(session, number))
    guessed = casework.guesses(book, found.case)
    known = views.numbers(session, [twin.case_id for twin in guessed.twins])
    return page(
        request,
        "case/sheet.html",
        status=status,
        sheet=found,
        case=found.case,
        category=category_words(book, found.case.category_code),
        guesses=guessed,
        twins=[(*known[twin.case_id], twin) for twin in guessed.twins if twin.case_id in known],
        days=casework.timeline(book, found.entries),
        why=[(share, casework.why_here(book, share.why)) for share in found.shares if share.share == "lead"],
        clocks=[(clock, casework.reckoning(book, found, clock, at=at)) for clock in found.clocks],
        moved_words=casework.moved_words,
        hanging=casework.parts_of(book, found, at=at),
        may_open=actor.role in identity.MAY_OPEN,
        standing=identity.standing(session, found.case.id, at=at),
        reasons=REASONS,
        unit_name=book.unit_name,
        problem=problem,
        # A sheet is printed and filed: it says dates, not "today".
        stamp=_stamp,
        at=at,
        **(_told(session, found.case.id) if actor.role in (Role.OPERATOR, Role.SUPERVISOR) else {"told": None}),
    )


def _stamp(moment: datetime) -> str:
    """Return a moment as paper says it."""
    return exact(moment)[:16]


def _id(session: Session, number: str) -> uuid.UUID:
    found = views.find_number(session, number)
    if found is None:
        raise NotFound("There is no case with this number, or it is not yours to see.")
    return found

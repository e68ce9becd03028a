"""Hot matters 热点事项 for the desk and supervision: a fresh list, a matter with its cases, decisions.

Finding and announcing them is the worker's (`hotline.hot_matters`); merging is done case by case, on the desk.
"""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import Response

from api import wiring
from api.deps import Now, Read, Write, require
from api.i18n import N_
from api.pages import go, page
from core.actor import Actor, Role
from hotline import hot_matters
from hotline.hot_matters import DECISIONS

router = APIRouter(include_in_schema=False)

Staff = Annotated[Actor, Depends(require(Role.OPERATOR, Role.SUPERVISOR))]
#: State → word.
STATES = {"new": N_("New"), "watched": N_("Watched"), "dismissed": N_("No matter")}


@router.get("/hot")
def listing(request: Request, session: Read, actor: Staff, at: Now) -> Response:
    """Show the hot matters of the last fortnight."""
    del actor
    return page(request, "desk/hot_list.html", hot=hot_matters.listed(session, at=at), states=STATES, quiet=False)


@router.get("/hot/box")
def box(request: Request, session: Read, actor: Staff, at: Now) -> Response:
    """Draw the list anew for a page that shows it beside its work; nothing where nothing is hot."""
    del actor
    shown = [one for one in hot_matters.listed(session, at=at) if one.state != "dismissed"]
    return page(request, "desk/hot.html", hot=shown, states=STATES, quiet=True)


@router.get("/hot/{hot_id}")
def one(request: Request, session: Read, actor: Staff, at: Now, hot_id: uuid.UUID) -> Response:
    """Show one hot matter, its growth, its cases and what was decided."""
    book = wiring.rulebook()
    found, members = hot_matters.one(session, hot_id, at=at)
    main = next((member for member in members if member.merged_into is None), None)
    return page(
        request,
        "desk/hot_matter.html",
        one=found,
        members=members,
        main=main,
        states=STATES,
        decisions=DECISIONS,
        unit_name=book.unit_name,
        may_merge=actor.role is Role.OPERATOR,
    )


@router.post("/hot/{hot_id}")
def decide(  # noqa: PLR0917  the fields of a form
    session: Write,
    actor: Staff,
    at: Now,
    hot_id: uuid.UUID,
    state: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
    version: Annotated[int, Form()] = 0,
) -> Response:
    """Watch the matter or say that it is none, with a reason."""
    del actor
    hot_matters.decide(session, hot_id, state=state, reason=reason, version=version, at=at)
    return go(f"/hot/{hot_id}")

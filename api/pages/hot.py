"""Hot matters 热点事项 for the desk and supervision: a fresh list, a matter with its cases, decisions.

Finding and announcing them is the worker's (`hotline.hot_matters`); one press merges the cases of one into a single
handling (`hotline.hot_merging`), and what could not be merged is told with its reason.
"""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api import wiring
from api.deps import Now, Read, Write, require
from api.errors import sentence
from api.i18n import N_
from api.pages import go, page
from core.actor import Actor, Role
from core.errors import Invalid
from hotline import hot_matters, hot_merging
from hotline.hot_merging import MERGED, Seen

router = APIRouter(include_in_schema=False)

Staff = Annotated[Actor, Depends(require(Role.OPERATOR, Role.SUPERVISOR))]
#: A case as the page wrote it: number and version.
_SEEN = re.compile(r"([0-9A-Z-]{1,30}):([0-9]{1,9})")
#: State → word.
STATES = {"new": N_("New"), "watched": N_("Watched"), "dismissed": N_("No matter")}
#: What was decided → word.
DECISIONS = {**hot_matters.DECISIONS, MERGED: N_("Merged into one handling")}


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one of the cases that were to be merged."""

    number: str
    #: Why it was left out, in the reader's language; empty where it was merged.
    problem: str


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
    return _matter(request, session, actor, hot_id, at=at)


def _matter(
    request: Request, session: Session, actor: Actor, hot_id: uuid.UUID, *, at: datetime, told: Sequence[Told] = ()
) -> Response:
    book = wiring.rulebook()
    found, members = hot_matters.one(session, hot_id, at=at)
    plan = hot_merging.plan(book, members, actor.role)
    return page(
        request,
        "desk/hot_matter.html",
        one=found,
        members=members,
        plan=plan,
        left_out={key: sentence(why) for key, why in plan.left_out.items()},
        told=told,
        states=STATES,
        decisions=DECISIONS,
        unit_name=book.unit_name,
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


@router.post("/hot/{hot_id}/merge")
def merge(  # noqa: PLR0917  the fields of a form
    request: Request,
    session: Write,
    actor: Staff,
    at: Now,
    hot_id: uuid.UUID,
    case: Annotated[list[str] | None, Form()] = None,
    main: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
    version: Annotated[int, Form()] = 0,
) -> Response:
    """Merge the chosen cases into one and show what became of each; every caller is still answered separately."""
    results = hot_merging.merge(
        session,
        wiring.rulebook(),
        hot_id,
        main=_seen(main, "main"),
        chosen=[_seen(written, "case") for written in case or ()],
        reason=reason,
        version=version,
        at=at,
    )
    told = [Told(one.number, sentence(one.problem) if one.problem else "") for one in results]
    return _matter(request, session, actor, hot_id, at=at, told=told)


def _seen(written: str, field: str) -> Seen:
    """Read number:version as the page wrote it; raises Invalid for anything else."""
    found = _SEEN.fullmatch(written)
    if found is None:
        raise Invalid("Choose a case from the list.", field=field)
    return Seen(found[1], int(found[2]))

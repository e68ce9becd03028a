"""The card of a cell 网格卡, on a phone and on one sheet of paper; and what the person concerned reads of the own data.

Open cases are those that the reader may see; everything else is `grid.registers.card`'s.
"""

from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api import deps, wiring
from api.deps import Now, Read, address_of, require, throttle
from api.errors import sentence, status_of
from api.pages import page
from api.pages.entered import Form
from api.wording import CHINA
from core.actor import Actor, Role, system
from core.db import snapshot
from core.documents import masked
from core.errors import NotFound
from dispatch import views
from dispatch.views import Filter
from grid import patrols
from grid.duties import DUTIES, RANKS
from grid.openings import REASONS
from grid.registers import card, events, permissions, unmasking
from grid.registers.fields import HOUSEHOLDS, PLACES, REGISTERS, RESIDENCES, RISKS

router = APIRouter(include_in_schema=False)

Reader = Annotated[Actor, Depends(require(Role.ADMIN, Role.SUPERVISOR, Role.UNIT, Role.GRID_WORKER, Role.OFFICIAL))]
#: Open matters that a card names.
_MATTERS: Final = 10
#: Codes that one address may try within ten minutes.
_CODE_TRIES: Final = 10


@router.get("/grid/cells/{code}/card")
def cell_card(request: Request, session: Read, actor: Reader, at: Now, *, code: str) -> Response:
    """Show who is responsible, who lives there in numbers, who needs care, what to inspect, what is open."""
    access = permissions.access(session, at=at) if actor.role is not Role.OFFICIAL else None
    made = card.card(session, access, code, at=at, today=at.astimezone(CHINA).date())
    sees_cases = actor.role is not Role.ADMIN
    matters = views.worklist(session, Filter(box="open", cell=code), at=at) if sees_cases else None
    return page(
        request,
        "registers/card.html",
        card=made,
        matters=matters,
        shown=matters.rows[:_MATTERS] if matters else (),
        patrolled=patrols.last(session, [code]).get(code),
        duties=DUTIES,
        ranks=RANKS,
        households=HOUSEHOLDS,
        residences=RESIDENCES,
        places=PLACES,
        risks=RISKS,
        part_states=REGISTERS["part"].states,
        book=wiring.rulebook(),
        today=at.astimezone(CHINA).date(),
        at=at,
    )


@router.get("/mydata")
def ask(request: Request) -> Response:
    """Ask for the code of a slip."""
    return _opened(request, "")


@router.post("/mydata")
def read(request: Request, at: Now, form: Form) -> Response:
    """Show the person concerned who opened the own data; tries are counted."""
    throttle(request, "slip", address_of(request), most=_CODE_TRIES)
    return _opened(request, form.get("code", "")[:60], at=at)


def _opened(request: Request, code: str, *, at: datetime | None = None) -> Response:
    name, found, error = "", None, None
    if at is not None:
        try:
            with snapshot(system(deps.district(), "registers")) as session:
                row, found = unmasking.read_slip(session, code, at=at)
                name = masked("name", str(events.values(row)["name"]))
        except NotFound as wrong:
            error = wrong
    return page(
        request,
        "registers/mydata.html",
        status=status_of(error) if error else 200,
        problem=sentence(error) if error else "",
        name=name,
        opened=found,
        reasons=REASONS,
        duties=DUTIES,
        register=REGISTERS["resident"],
    )

"""The administrator's first page: who may sign in, and how accounts are changed; knows nothing of cases."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api.deps import Read, require
from api.pages import page
from core.actor import Actor, Role
from grid import accounts

router = APIRouter(include_in_schema=False)


@router.get("/accounts")
def listing(request: Request, session: Read, actor: Annotated[Actor, Depends(require(Role.ADMIN))]) -> Response:
    """List the accounts of the district; cases are not the administrator's to read."""
    return page(request, "accounts.html", accounts=accounts.listed(session, district=actor.district))

"""The page of the local sink 本地收件箱: what would have gone out, as the phones would show it. Off but in the demo."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api import wiring
from api.deps import require
from api.pages import page
from api.pages.deliveries import TOPICS, WAYS
from core.actor import Actor, Role
from core.errors import NotFound
from core.settings import settings
from hotline.outward.sink import caught

router = APIRouter(include_in_schema=False)

Looker = Annotated[Actor, Depends(require(Role.ADMIN, Role.OPERATOR))]
#: Messages on one page.
_MOST = 200


@router.get("/sink")
def sink(request: Request, actor: Looker) -> Response:
    """Show everything outgoing, newest first; 404 where messages really go out."""
    del actor
    if not settings().sink:
        raise NotFound("There is no such page.")
    channel = request.query_params.get("channel", "")
    found = caught(wiring.sink_folder(), wiring.district(), channel=channel if channel in WAYS else "", most=_MOST)
    # What is told by telephone stands on the call-back list, which is real in the demo, too.
    ways = {name: word for name, word in WAYS.items() if name != "callback"}
    return page(request, "outward/sink.html", rows=found, ways=ways, topics=TOPICS, channel=channel, most=_MOST)

"""Who is at which case, who is on, and how many wait where, told to open desks as it changes 在办提示、班组与实时数量.

Part of the desk, whose router includes this one. Leases are `hotline.desk.handling`, the shift is `hotline.desk.shift`;
the counts are those of the tabs.
"""

import time as clock
from collections.abc import AsyncIterator
from datetime import datetime, time
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api import wiring
from api.deps import Now, Read, Write, require
from api.feed import feed
from api.pages import page
from api.pages.entered import Form
from api.pages.listing import end_of_day
from core.actor import Actor, Role
from core.db import snapshot
from core.errors import NotFound, WanggeError
from dispatch import views
from dispatch.calendar import CHINA, china_time
from hotline.desk import handling
from hotline.desk.shift import people
from hotline.telephone import callbacks, calls, seats

router = APIRouter(include_in_schema=False)

Staff = Annotated[Actor, Depends(require(Role.OPERATOR, Role.SUPERVISOR))]
TOPIC: Final = "desk.handling"
#: A page is told at most this often, and looks by itself after a while.
_CALM_S, _LOOK_S, _LIFE_S = 2.0, 10.0, 900.0
_TABS: Final = ("waiting", "pleas", "disputed", "running", "answered", "open")


@router.post("/desk/handling/{number}")
def hold(request: Request, session: Write, actor: Staff, at: Now, *, number: str, entered: Form) -> Response:
    """Say that one is at a case, and who else is; with a word, take it over."""
    found = views.find_number(session, number[:30])
    if found is None:
        raise NotFound("There is no case with this number, or it is not yours to see.")
    word = entered.get("word") if entered.get("do") == "take" else None
    held = handling.hold(session, found, at=at, word=word)
    if word is not None or entered.get("do") == "open":
        feed().tell(actor.district, TOPIC, {"case": number[:30]})
    return page(request, "desk/handling.html", held=held, number=number[:30], beat_s=handling.BEAT_S)


@router.get("/desk/live")
async def live(actor: Staff) -> Response:
    """Tell an open desk, as server-sent events, the counts of its tabs and who is at which case."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_news(actor), media_type="text/event-stream", headers=headers)


async def _news(actor: Actor) -> AsyncIterator[bytes]:
    end, told = clock.monotonic() + _LIFE_S, b""
    yield b"retry: 3000\n\n"
    async with feed().follow(actor.district) as inbox:
        while clock.monotonic() < end:
            try:
                now = await run_in_threadpool(_state, actor, wiring.now())
            except WanggeError:
                # The browser comes back by itself, and the page it is on says what is down.
                return
            yield b":\n\n" if now == told else b"event: desk\ndata: " + now + b"\n\n"
            told, looked = now, clock.monotonic()
            if await inbox.get(_LOOK_S) is not None:
                # A wave of news is one look.
                while (left := looked + _CALM_S - clock.monotonic()) > 0:
                    await inbox.get(left)


def _state(actor: Actor, at: datetime) -> bytes:
    with snapshot(actor) as session:
        return orjson.dumps(_now(session, actor, at))


def _now(session: Session, actor: Actor, at: datetime) -> dict[str, Any]:
    counts = views.counts(session, at=at, soon=end_of_day(at))
    others = {
        number: name
        for number, (account, name) in handling.handlers(session, at=at).items()
        if account != str(actor.id)
    }
    return {"counts": {tab: counts.of(tab) for tab in _TABS}, "handlers": others}


@router.get("/desk/shift")
def shift(request: Request, session: Read, actor: Staff, at: Now) -> Response:
    """Show who is on, what each does and has done today, one's own line first, and what waits; scripts draw it anew."""
    midnight = datetime.combine(china_time(at).date(), time(), CHINA)
    waiting = calls.waiting(session, at=at)
    part = bool(request.headers.get("hx-request"))
    return page(
        request,
        "desk/shift_now.html" if part else "desk/shift.html",
        people=people(session, since=midnight, at=at),
        waiting=waiting,
        longest=min((one.since for one in waiting), default=None),
        counts=views.counts(session, at=at, soon=end_of_day(at)),
        to_call=callbacks.count(session, at=at),
        does=seats.DOES,
        me=actor.name,
        at=at,
    )

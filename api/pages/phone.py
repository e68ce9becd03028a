"""The telephone's pages 电话: seat and caller's card on every desk page, the queue, and calling people back.

Reads and writes through `hotline.telephone`. The desk's pages include `phone/slot.html`, which asks for the bar and
keeps it fresh by server-sent events; everything works without scripts on `/phone`.
"""

import time as clock
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api import wiring
from api.deps import Now, Read, Write, require
from api.errors import sentence, status_of
from api.feed import feed
from api.pages import go, page
from api.pages.entered import Form
from core.actor import Actor, Role
from core.db import snapshot, transaction
from core.errors import Conflict, Invalid, NotFound, WanggeError
from core.settings import settings
from dispatch import cases, views
from dispatch.calendar import CHINA, china_time
from dispatch.fields import SATISFACTION
from dispatch.sheet import Facts, facts
from hotline.telephone import callbacks, calls, card, seats
from hotline.telephone.callbacks import OUTCOMES, REASONS, Came

router = APIRouter(include_in_schema=False)

Staff = Annotated[Actor, Depends(require(Role.OPERATOR, Role.SUPERVISOR))]
Operator = Annotated[Actor, Depends(require(Role.OPERATOR))]
#: The topic of the live feed that wakes desks.
TOPIC: Final = "phone.changed"
#: An open page is told about others' calls at most this often, and looks by itself after a while: a short one where
#: no feed works.
_CALM_S, _LOOK_S, _LOOK_ALONE_S = 1.0, 10.0, 2.0
#: The browser comes back by itself, and is asked again who it is.
_LIFE_S = 900.0
#: What an open page is told.
_CHANGED: Final = b"event: phone\ndata: changed\n\n"
#: Calls listed on the page.
_NEWEST = 20


def hosts() -> tuple[str, ...]:
    """Return the hosts that recordings may lie on."""
    return tuple(host.strip() for host in settings().recording_hosts.split(",") if host.strip())


def wrap_of(district: str) -> timedelta:
    """Return how long after-call work is in a district: `wrap_s` of its settings, else the default.

    What cannot be read means the default: a slip in the settings stops no call.
    """
    told = wiring.rulebook(district).settings.get("wrap_s")
    if isinstance(told, int) and 0 < told <= seats.MOST_WRAP.total_seconds():
        return timedelta(seconds=told)
    return seats.WRAP


# ---- the bar of every desk page


@dataclass(frozen=True, slots=True)
class Standing:
    """How the telephone stands for one person."""

    seat: seats.Sitting | None
    #: The call that belongs on this desk.
    card: card.Card | None
    #: The number of the case that the call led to.
    case_number: str
    waiting: int
    to_call: int


def standing(session: Session, *, at: datetime) -> Standing:
    """Return how the telephone stands for the session's actor; reads."""
    mine, call = seats.mine(session), calls.current(session)
    sitting = None
    if mine is not None:
        state = calls.state_of(call) if call else ""
        sitting = seats.does(mine, call if state == "talking" else None, call if state == "ringing" else None, at=at)
    if call is not None and calls.state_of(call) == "over" and (sitting is None or sitting.does != "wrap"):
        call = None
    return Standing(
        seat=sitting,
        card=card.card(session, call) if call is not None else None,
        case_number=calls.case_number(session, call) if call is not None else "",
        waiting=len(calls.waiting(session, at=at)),
        to_call=callbacks.count(session, at=at),
    )


def _sign(actor: Actor, at: datetime) -> tuple[str, str]:
    """Return the extension of somebody's seat, and what their page is about now: another text, another page."""
    with snapshot(actor) as session:
        mine, call = seats.mine(session), calls.current(session)
        shown = {
            "call": call and str(call.id),
            "state": call and calls.state_of(call),
            "case": call and str(call.case_id),
            "seat": mine and (mine.extension, mine.break_since, mine.wrap_until),
            "waiting": [(one.id, one.extension) for one in calls.waiting(session, at=at)],
            "to_call": callbacks.count(session, at=at),
        }
    return (mine.extension if mine else ""), orjson.dumps(shown).decode()


@router.get("/phone/live")
async def live(actor: Staff) -> Response:
    """Tell an open page, as server-sent events, that the bar or the queue is old; says nothing about anybody."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_news(actor), media_type="text/event-stream", headers=headers)


async def _news(actor: Actor) -> AsyncIterator[bytes]:
    end, source = clock.monotonic() + _LIFE_S, feed()
    look_s = _LOOK_S if source.works else _LOOK_ALONE_S
    yield b"retry: 2000\n\n"
    async with source.follow(actor.district) as inbox:
        told, mine = "", False
        while clock.monotonic() < end:
            if mine:
                # At once: the page looks by itself, and a caller waits.
                yield _CHANGED
            try:
                extension, sign = await run_in_threadpool(_sign, actor, wiring.now())
            except WanggeError:
                # The browser comes back by itself, and the page it is on says what is down.
                return
            if not mine:
                # A line without a word says that it is up, and finds out that it is not.
                yield _CHANGED if sign != told else b":\n\n"
            told, mine = sign, False
            looked, again = clock.monotonic(), clock.monotonic() + look_s
            while (left := again - clock.monotonic()) > 0:
                news = await inbox.get(left)
                if news is None or news.topic != TOPIC:
                    continue
                mine = str(actor.id) == news.payload.get("operator") or (
                    extension != "" and extension == news.payload.get("extension")
                )
                if mine:
                    break
                # A colleague's call: soon enough, and once for all that come meanwhile.
                again = min(again, looked + _CALM_S)


def _wake(actor: Actor, *extensions: str) -> None:
    feed().tell(actor.district, TOPIC, {"operator": str(actor.id), "extension": next(iter(extensions), "")})


@router.get("/phone/bar")
def bar(request: Request, session: Read, actor: Staff, at: Now) -> Response:
    """Draw seat, call and counts anew, for the top of a desk page."""
    del actor
    return page(request, "phone/bar.html", phone=standing(session, at=at), does=seats.DOES, problem="")


@router.post("/phone/seat")
def sit(request: Request, actor: Operator, at: Now, entered: Form) -> Response:
    """Take a seat, leave it, begin or end a break, prolong or end after-call work: what the pressed button says."""
    return _done(request, actor, at, lambda session: _seat(session, entered.get("do", "take"), entered, at=at))


def _seat(session: Session, what: str, entered: dict[str, str], *, at: datetime) -> None:
    if what == "take":
        seats.take(session, entered.get("extension", "").strip(), at=at)
    elif what == "leave":
        seats.leave(session)
    elif what in ("break", "back"):
        seats.pause(session, on=what == "break", at=at)
    elif what == "more":
        seats.more_time(session, at=at)
    elif what == "finish":
        calls.finish(session, at=at)
    else:
        raise Invalid("Choose what to do.", field="do")


def _done(request: Request, actor: Actor, at: datetime, change: Any) -> Response:
    """Do something about one's seat and draw the bar anew, with what is wrong; without scripts go back to the queue."""
    problem, status = "", 200
    try:
        with transaction(actor) as session:
            change(session)
    except (Conflict, Invalid, NotFound) as error:
        problem, status = sentence(error), status_of(error)
    _wake(actor)
    if not request.headers.get("hx-request"):
        if not problem:
            return go("/phone")
        with snapshot(actor) as session:
            return _whole(request, session, actor, at=at, problem=problem, status=status)
    with snapshot(actor) as session:
        return page(request, "phone/bar.html", phone=standing(session, at=at), does=seats.DOES, problem=problem)


@router.post("/phone/seats/{extension}/free")
def free(session: Write, actor: Staff, extension: str) -> Response:
    """Free the seat of somebody who forgot to leave, as a supervisor."""
    seats.leave(session, extension)
    _wake(actor, extension)
    return go("/phone")


# ---- calls


@router.post("/phone/calls/{call_id}/accept")
def accept(actor: Operator, at: Now, call_id: uuid.UUID) -> Response:
    """Take a call, and go to where it is written down."""
    with transaction(actor) as session:
        call = calls.accept(session, call_id, at=at)
        extension = call.extension
    _wake(actor, extension)
    return go(f"/desk/new?call={call_id}")


@router.get("/phone/calls/{call_id}")
def call_page(request: Request, session: Read, actor: Staff, call_id: uuid.UUID) -> Response:
    """Show one call with its times, its case and its recording."""
    return page(request, "phone/call.html", **_call(session, actor, call_id), recording="", problem="")


@router.post("/phone/calls/{call_id}/recording")
def listen(request: Request, actor: Staff, at: Now, call_id: uuid.UUID, entered: Form) -> Response:
    """Show where the recording lies, once, after writing down who opened it and why."""
    url, problem, status = "", "", 200
    try:
        with transaction(actor) as session:
            url = calls.recording(session, call_id, reason=entered.get("reason", ""), hosts=hosts(), at=at)
    except Invalid as error:
        problem, status = sentence(error), status_of(error)
    with snapshot(actor) as session:
        context = _call(session, actor, call_id)
    return page(request, "phone/call.html", status=status, **context, recording=url, problem=problem)


def _call(session: Session, actor: Actor, call_id: uuid.UUID) -> dict[str, Any]:
    call = calls.one(session, call_id)
    may_listen = actor.role is Role.SUPERVISOR or call.operator_id == actor.id
    return {
        "call": call,
        "card": card.card(session, call),
        "case_number": calls.case_number(session, call),
        "may_listen": may_listen and call.recording_url is not None,
    }


@router.get("/phone/of/{number}")
def of_case(request: Request, session: Read, actor: Staff, number: str) -> Response:
    """List the calls that led to a case, for its page."""
    case_id = views.find_number(session, number)
    if case_id is None:
        raise NotFound("There is no case with this number, or it is not yours to see.")
    del actor
    return page(request, "phone/of_case.html", rows=calls.of_case(session, case_id))


def caller(actor: Actor, call_id: uuid.UUID | None) -> card.Card | None:
    """Return the card of the call that a report is written for; None for none. Opens a snapshot of its own."""
    if call_id is None:
        return None
    with snapshot(actor) as session:
        return card.card(session, calls.one(session, call_id))


def bound(actor: Actor, call_id: uuid.UUID | None, *, key: str) -> tuple[str, str | None] | None:
    """Return source id and number that a report of a call is taken with; None where it belongs to no call."""
    if call_id is None:
        return None
    with snapshot(actor) as session:
        return calls.bind(session, call_id, key=key)


def link(actor: Actor, call_id: uuid.UUID | None, case_id: uuid.UUID) -> None:
    """Note the case that a call led to, in a transaction of its own; nothing without a call."""
    if call_id is None:
        return
    with transaction(actor) as session:
        calls.link(session, call_id, case_id)
    _wake(actor)


def written_call(value: str) -> uuid.UUID | None:
    """Return the call that a form or an address names; None for none. Raises Invalid for anything else."""
    if not value:
        return None
    try:
        return uuid.UUID(value)
    except ValueError as error:
        raise Invalid("There is no such call.", field="call") from error


# ---- the queue and the shift


@router.get("/phone")
def queue_page(request: Request, session: Read, actor: Staff, at: Now) -> Response:
    """Show who waits, who sits where and does what, and how the day went."""
    return _whole(request, session, actor, at=at)


def _whole(
    request: Request, session: Session, actor: Actor, *, at: datetime, problem: str = "", status: int = 200
) -> Response:
    shown = {"phone": standing(session, at=at), "problem": problem} | _queue(session, actor, at=at)
    return page(request, "phone/queue_page.html", status=status, **shown)


@router.get("/phone/queue")
def queue(request: Request, session: Read, actor: Staff, at: Now) -> Response:
    """Draw the queue anew."""
    return page(request, "phone/queue.html", **_queue(session, actor, at=at))


def _queue(session: Session, actor: Actor, *, at: datetime) -> dict[str, Any]:
    midnight = datetime.combine(china_time(at).date(), time(), CHINA)
    shift = seats.shift(session, since=midnight, at=at)
    looks = actor.role is Role.SUPERVISOR
    return {
        "waiting": calls.waiting(session, at=at),
        "seats": seats.all_seats(session, at=at),
        "shift": shift,
        "newest": calls.newest(session, limit=_NEWEST),
        "refused": calls.refused(session, at=at) if looks else 0,
        "to_call": callbacks.count(session, at=at),
        "does": seats.DOES,
        "looks": looks,
        "at": at,
    }


# ---- calling back


@router.get("/phone/callbacks")
def callbacks_page(request: Request, session: Read, actor: Staff, at: Now, reason: str = "") -> Response:
    """Show who is to be called, and whom one is calling."""
    return page(request, "phone/callbacks.html", **_to_call(session, actor, at=at, reason=reason), **_nothing_wrong())


@router.post("/phone/callbacks/next")
def next_callback(actor: Operator, at: Now) -> Response:
    """Take the next person to call."""
    with transaction(actor) as session:
        callbacks.take_next(session, at=at)
    return go("/phone/callbacks")


@router.post("/phone/callbacks/{task_id}/take")
def take_callback(request: Request, actor: Operator, at: Now, task_id: uuid.UUID) -> Response:
    """Take one person to call, unless a colleague is calling already."""
    try:
        with transaction(actor) as session:
            callbacks.take(session, task_id, at=at)
    except Conflict as error:
        return _callbacks_again(request, actor, error, {}, at=at)
    return go("/phone/callbacks")


@router.post("/phone/callbacks/release")
def release_callback(actor: Operator) -> Response:
    """Give back whom one wanted to call."""
    with transaction(actor) as session:
        callbacks.release(session)
    return go("/phone/callbacks")


@router.post("/phone/callbacks/{task_id}")
def settle_callback(request: Request, actor: Operator, at: Now, task_id: uuid.UUID, entered: Form) -> Response:
    """Write down what came of it and, where asked, go on to the next."""
    satisfied, version = entered.get("satisfaction", ""), entered.get("version", "")
    came = Came(
        outcome=entered.get("outcome", ""),
        note=entered.get("note", "")[:1000],
        satisfaction=int(satisfied) if satisfied in SATISFACTION else None,
        close=entered.get("close") == "yes",
    )
    known = int(version) if version.isdecimal() and len(version) < 9 else None
    try:
        with transaction(actor) as session:
            callbacks.settle(session, wiring.rulebook(), task_id, came, version=known, at=at)
            if entered.get("then") == "next":
                callbacks.take_next(session, at=at)
    except (Conflict, Invalid) as error:
        return _callbacks_again(request, actor, error, entered, at=at)
    _wake(actor)
    return go("/phone/callbacks")


def _callbacks_again(
    request: Request, actor: Actor, error: WanggeError, entered: dict[str, str], *, at: datetime
) -> Response:
    wrong = {"problem": sentence(error), "field": error.field or "", "entered": entered}
    with snapshot(actor) as session:
        context = _to_call(session, actor, at=at, reason="")
    return page(request, "phone/callbacks.html", status=status_of(error), **context, **wrong)


def _nothing_wrong() -> dict[str, Any]:
    return {"problem": "", "field": "", "entered": {}}


def _to_call(session: Session, actor: Actor, *, at: datetime, reason: str) -> dict[str, Any]:
    held = callbacks.held(session, at=at) if actor.role is Role.OPERATOR else None
    case: Facts | None = None
    asks = False
    if held is not None and held.task.case_id is not None and held.task.case_number:
        case = facts(session, held.task.case_id)
        offered = {step.action for step in cases.offered(session, wiring.rulebook(), case.id, at=at)}
        asks = "callback" in offered
    return {
        "rows": callbacks.listed(session, at=at, reason=reason if reason in REASONS else ""),
        "held": held,
        "case": case,
        "asks": asks,
        "reason": reason,
        "reasons": REASONS,
        "outcomes": OUTCOMES,
        "satisfaction": SATISFACTION,
        "last_try": held is not None and held.task.tries + 1 >= callbacks.Rules.of(wiring.rulebook().settings).tries,
        "at": at,
    }


def stand_up(actor: Actor) -> None:
    """Leave the seat of somebody who signs out, and give back whom they were to call."""
    if actor.role is not Role.OPERATOR or actor.id is None:
        return
    with transaction(actor) as session:
        if seats.mine(session) is not None:
            seats.leave(session)
        callbacks.release(session)
    _wake(actor)

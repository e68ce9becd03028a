"""What goes out 投递台账: the list with failures and sending again, the words of messages, and who is told where.

Supervision looks and sends again; words and addresses are the administrator's.
"""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api import wiring
from api.deps import Now, Read, Write, require
from api.errors import sentence, status_of
from api.i18n import N_
from api.pages import go, page
from api.pages.entered import Form
from core.actor import Actor, Role
from core.errors import Invalid
from hotline.open311 import forwarded
from hotline.outward import contacts, deadletters, templates
from hotline.outward.adapters import CHANNELS, CHATS
from hotline.outward.deadletters import Chosen
from hotline.outward.templates import Template

router = APIRouter(include_in_schema=False)

Watcher = Annotated[Actor, Depends(require(Role.SUPERVISOR, Role.ADMIN))]
Keeper = Annotated[Actor, Depends(require(Role.ADMIN))]
Supervisor = Annotated[Actor, Depends(require(Role.SUPERVISOR))]

#: Channel → how people call it.
WAYS = {
    "sms": N_("Short message"),
    "mail": N_("E-mail"),
    "wecom": N_("WeCom"),
    "dingtalk": N_("DingTalk"),
    "feishu": N_("Feishu"),
    "weibo": N_("Reply on Weibo"),
    "callback": N_("Call back"),
}
#: Topic of the outbox → what is told.
TOPICS = {
    "case.opened": N_("Received and registered"),
    "citizen.progress": N_("Progress"),
    "citizen.reply": N_("The answer"),
    "citizen.closed": N_("Closed"),
    "citizen.refused": N_("Not taken"),
    "citizen.handed_over": N_("Handed to the emergency services"),
    "citizen.notice": N_("Something is missing"),
    "citizen.accepted": N_("Application accepted"),
    "citizen.decided": N_("Application decided"),
    "citizen.appointment": N_("Appointment changed"),
    "unit.assigned": N_("New case for a unit"),
    "unit.rework": N_("To be done again"),
    "unit.supervised": N_("Supervised"),
    "unit.window_closed": N_("Window closed"),
    "unit.window_opened": N_("Window open again"),
    "share.assigned": N_("New share for a unit"),
    "share.rework": N_("Share to be done again"),
    "desk.returned": N_("Returned to the desk"),
    "desk.disputed": N_("With the arbiter"),
    "desk.plea": N_("Plea to decide"),
    "deadline.warned": N_("Limit nearly gone"),
    "deadline.overdue": N_("Limit gone"),
    "deadline.escalated": N_("Escalated"),
}
AUDIENCES = {"unit": N_("A unit"), "desk": N_("The desk"), "supervision": N_("supervision")}
#: What a preview fills in; invented.
_EXAMPLE = {
    "number": "20261121000042X",
    "code": "7F3K9Q",
    "unit": "区城市管理局",
    "category": "市容环境 / 垃圾清运",
    "answer": "已安排人员现场清理，并加密巡查。",
    "reason": "大厅停电检修",
    "due": "11月24日17:30",
    "window": "综合窗口",
    "starts": "11月24日09:30",
    "moved": "已改到11月25日09:30。",
}


def _chosen(given: dict[str, str]) -> Chosen:
    known = {name: given.get(name, "").strip()[:100] for name in ("state", "channel", "topic", "number")}
    return Chosen(**known, reason=given.get("reason", "").strip()[:300])


@router.get("/deliveries")
def listing(request: Request, session: Read, actor: Watcher) -> Response:
    """List deliveries, those that failed first of all."""
    del actor
    given = dict(request.query_params)
    given.setdefault("state", "failed")
    chosen = _chosen(given)
    return page(
        request,
        "outward/deliveries.html",
        chosen=chosen,
        rows=deadletters.listed(session, chosen),
        counts=deadletters.counts(session),
        reasons=deadletters.reasons(session, chosen),
        events=deadletters.events(session),
        again=request.query_params.get("again", "")[:6],
        states=deadletters.STATES,
        failed=deadletters.FAILED,
        most=deadletters.MAX_ROWS,
        most_again=deadletters.MAX_RESENT,
        ways=WAYS,
        topics=TOPICS,
    )


@router.post("/deliveries/resend")
def resend_all(session: Write, actor: Watcher, at: Now, form: Form) -> Response:
    """Send what failed within the filter again; it stands in the list of who did so."""
    del actor
    done = deadletters.resend_all(session, _chosen(dict(form)), at=at)
    return go(f"/deliveries?again={done}")


@router.get("/deliveries/open311")
def forwards(request: Request, session: Read, actor: Supervisor) -> Response:
    """List what went to other Open311 servers, how it stands there, and when that was read."""
    del actor
    box = request.query_params.get("box", "") or "open"
    number = request.query_params.get("number", "").strip()[:40].replace("\x00", "")
    return page(
        request,
        "outward/forwards.html",
        box=box,
        number=number,
        rows=forwarded.listed(session, box=box, number=number),
        counts=forwarded.counts(session),
        boxes=forwarded.BOXES,
        states=forwarded.STATES,
        theirs=forwarded.THEIRS,
        most=forwarded.MAX_ROWS,
        unit_name=wiring.rulebook().unit_name,
        again="again" in request.query_params,
    )


@router.post("/deliveries/open311/{forward_id}/retry")
def retry_forward(session: Write, actor: Supervisor, at: Now, forward_id: uuid.UUID) -> Response:
    """Have one matter sent to the other server, or looked at there, again."""
    del actor
    forwarded.retry(session, forward_id, at=at)
    return go("/deliveries/open311?box=all&again=1")


@router.post("/deliveries/{delivery_id}/resend")
def resend(session: Write, actor: Watcher, at: Now, delivery_id: uuid.UUID) -> Response:
    """Send one message again."""
    del actor
    done = deadletters.resend(session, delivery_id, at=at)
    return go(f"/deliveries?again={done}")


@router.get("/admin/messages")
def messages(request: Request, session: Read, actor: Keeper) -> Response:
    """List the words of all messages, and one of them to change."""
    del actor
    return _messages(request, session)


@router.post("/admin/messages")
def change(request: Request, session: Write, actor: Keeper, at: Now, form: Form) -> Response:
    """Look at changed words, keep them, or go back to the shipped ones."""
    del actor
    line = Template(
        **{name: form.get(name, "") for name in ("topic", "channel", "category", "state", "subject", "text")}
    )
    try:
        if form.get("do") == "reset":
            templates.reset(session, line.key)
        elif form.get("do") == "keep":
            templates.change(session, line, at=at)
        else:
            templates.check(line)
            return _messages(request, session, line=line)
    except Invalid as error:
        return _messages(request, session, line=line, problem=sentence(error), status=status_of(error))
    return go("/admin/messages")


def _messages(
    request: Request, session: Read, *, line: Template | None = None, problem: str = "", status: int = 200
) -> Response:
    known = templates.read(session)
    shown = line or known.lines.get(
        tuple(request.query_params.get(name, "")[:40] for name in ("topic", "channel", "category", "state"))  # type: ignore[arg-type]  # four of them
    )
    preview = None
    if shown and not problem:
        example = _EXAMPLE | {"district": wiring.rulebook().name, "address": "https://example.cn/progress"}
        preview = templates.render(shown, example)
    return page(
        request,
        "outward/messages.html",
        status=status,
        lines=sorted(known.lines.values(), key=lambda one: (list(TOPICS).index(one.topic), one.key)),
        shown=shown,
        preview=preview,
        cost=templates.parts(preview.text) if preview and shown and shown.channel == "sms" else 0,
        names=templates.NAMES,
        longest=templates.LONGEST,
        ways=WAYS,
        topics=TOPICS,
        channels=CHANNELS,
        problem=problem,
    )


@router.get("/admin/contacts")
def addresses(request: Request, session: Read, actor: Keeper) -> Response:
    """List where units, the desk and supervision are told."""
    del actor
    return _addresses(request, session)


@router.post("/admin/contacts")
def add(request: Request, session: Write, actor: Keeper, at: Now, form: Form) -> Response:
    """Add an address."""
    del actor
    try:
        contacts.add(
            session,
            audience=form.get("audience", ""),
            unit=form.get("unit", ""),
            channel=form.get("channel", ""),
            address=form.get("address", ""),
            at=at,
        )
    except Invalid as error:
        return _addresses(request, session, entered=form, problem=sentence(error), status=status_of(error))
    return go("/admin/contacts")


@router.post("/admin/contacts/{contact_id}/remove")
def remove(session: Write, actor: Keeper, contact_id: uuid.UUID) -> Response:
    """Take an address away."""
    del actor
    contacts.remove(session, contact_id)
    return go("/admin/contacts")


def _addresses(
    request: Request,
    session: Read,
    *,
    entered: dict[str, str] | None = None,
    problem: str = "",
    status: int = 200,
) -> Response:
    book = wiring.rulebook()
    return page(
        request,
        "outward/contacts.html",
        status=status,
        rows=contacts.listed(session),
        units=[(code, book.units[code].name) for code in sorted(book.units)],
        unit_name=book.unit_name,
        audiences=AUDIENCES,
        ways={name: WAYS[name] for name in ("mail", *CHATS)},
        open_ways=frozenset(wiring.adapters()),
        entered=entered or {},
        problem=problem,
    )

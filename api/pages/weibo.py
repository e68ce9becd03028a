"""The ledger of Weibo mentions 微博台账: mention, case and reply, what is open, late or held, and reviews.

Filters live in the address; every list is bounded and can be exported.
"""

import csv
import io
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api.deps import Now, Read, require
from api.errors import sentence, status_of
from api.i18n import N_, say
from api.pages import go, page
from api.pages.entered import Form
from api.pages.listing import Span, harmless, span_of
from api.wording import STATES, exact, named, span_words
from core.actor import Actor, Role
from core.db import transaction
from core.errors import Invalid, WanggeError
from hotline.weibo import ledger
from hotline.weibo.ledger import BOXES, Filter, Line
from hotline.weibo.platform import HALTED
from hotline.weibo.screen import REASONS

router = APIRouter(include_in_schema=False)

Staff = Annotated[Actor, Depends(require(Role.OPERATOR, Role.SUPERVISOR))]

#: Days that the figures are shown over, where the address names none.
_DAYS = 30
SOURCES = {"api": N_("Fetched"), "file": N_("From a file")}


def _wanted(request: Request, span: Span) -> Filter:
    given = request.query_params
    box, source = given.get("box", "") or "open", given.get("source", "")
    if box not in BOXES or (source and source not in SOURCES):
        raise Invalid("There is no such part of the ledger.", field="box")
    # What is open is shown whenever it came: a duty does not end with the month.
    dated = box not in ("held", "late", "open", "failed") or given.get("from") or given.get("to")
    search = given.get("q", "").strip()[:100].replace("\x00", "")
    return Filter(box, span.since if dated else None, span.until if dated else None, search, source)


@router.get("/weibo")
def listing(request: Request, session: Read, actor: Staff, at: Now) -> Response:
    """Show how the duties of the span stand, and one part of the ledger."""
    del actor
    span = span_of(request, at, days=_DAYS)
    wanted = _wanted(request, span)
    lines, after = ledger.listed(session, wanted, at=at, after=request.query_params.get("after", "")[:40])
    figures = ledger.figures(session, since=span.since, until=span.until, at=at)
    cursor = ledger.fetching(session)
    halted = (cursor.failure or "").partition(":")[0] if cursor else ""
    return page(
        request,
        "weibo/ledger.html",
        wanted=wanted,
        span=span,
        lines=lines,
        after=after,
        counts=ledger.counts(session, at=at),
        figures=figures,
        median=span_words(figures.median) if figures.median is not None else "—",
        boxes=BOXES,
        states=ledger.STATES,
        reasons=REASONS,
        sources=SOURCES,
        cursor=cursor,
        halted=HALTED.get(halted, ""),
        at=at,
    )


@router.get("/weibo/ledger.csv")
def export(request: Request, session: Read, actor: Staff, at: Now) -> Response:
    """Answer the chosen part of the ledger as a table that spreadsheets open."""
    del actor
    span = span_of(request, at, days=_DAYS)
    return Response(
        _table(ledger.exported(session, _wanted(request, span), at=at)),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="weibo-{span.first}-{span.last}.csv"'},
    )


def _table(lines: Iterable[Line]) -> str:
    out = io.StringIO()
    # Spreadsheets take a file for UTF-8 only by its mark.
    out.write("\ufeff")
    writer = csv.writer(out)
    head = (
        *(N_("Post"), N_("Author"), N_("Posted"), N_("Seen"), N_("Words"), N_("State"), N_("Held because")),
        *(N_("Case"), N_("State of the case"), N_("Answered"), N_("Minutes"), N_("Answer"), N_("Answer overdue")),
    )
    writer.writerow([say(word) for word in head])
    for one in lines:
        took = one.replied_at - one.seen_at if one.replied_at else None
        reason = REASONS.get(str(one.hold.get("code")), "")
        row = (
            *(one.post_id, one.alias, exact(one.posted_at), exact(one.seen_at), one.text),
            *(say(ledger.STATES[one.state]), say(reason) if reason else "", one.case_number),
            *(named(one.case_state, STATES) if one.case_state else "", exact(one.replied_at) if one.replied_at else ""),
            *(str(int(took.total_seconds()) // 60) if took else "", one.reply, say(N_("Yes")) if one.late else ""),
        )
        writer.writerow([harmless(value) for value in row])
    return out.getvalue()


@router.get("/weibo/{mention_id}")
def sheet(request: Request, session: Read, actor: Staff, at: Now, mention_id: uuid.UUID) -> Response:
    """Show one mention with all that happened to it."""
    del actor
    return _sheet(request, session, mention_id, at=at)


@router.post("/weibo/{mention_id}")
def decide(request: Request, actor: Staff, at: Now, mention_id: uuid.UUID, form: Form) -> Response:
    """Release or reject a held mention, write down an answer given by hand, or open the author's name with a reason."""
    name = ""
    try:
        with transaction(actor) as session:
            name = _do(session, form, mention_id, at=at)
    except Invalid as error:
        return _again(request, actor, mention_id, error, at=at)
    if not name:
        return go(f"/weibo/{mention_id}")
    # Shown in the answer to this very request and nowhere else.
    with transaction(actor) as session:
        return _sheet(request, session, mention_id, at=at, author=name)


def _do(session: Session, form: Form, mention_id: uuid.UUID, *, at: datetime) -> str:
    """Do what the form asks for; return the author's name where it was asked for."""
    words, what = form.get("reason", ""), form.get("do", "")
    if what == "release":
        ledger.release(session, mention_id, reason=words, at=at)
    elif what == "reject":
        ledger.reject(session, mention_id, reason=words, at=at)
    elif what == "by_hand":
        ledger.by_hand(session, mention_id, words=words, at=at)
    elif what == "author":
        return ledger.author(session, mention_id, reason=words, at=at) or say(N_("The file names none."))
    else:
        raise Invalid("Choose what to do.", field="do")
    return ""


def _again(request: Request, actor: Actor, mention_id: uuid.UUID, error: WanggeError, *, at: datetime) -> Response:
    with transaction(actor) as session:
        return _sheet(
            request,
            session,
            mention_id,
            at=at,
            problem=sentence(error),
            field=error.field or "",
            status=status_of(error),
        )


def _sheet(
    request: Request, session: Session, mention_id: uuid.UUID, *, at: datetime, status: int = 200, **more: Any
) -> Response:
    shown = ledger.sheet(session, mention_id, at=at)
    known = {"problem": "", "field": "", "author": ""} | more
    return page(
        request,
        "weibo/mention.html",
        status=status,
        sheet=shown,
        line=shown.line,
        states=ledger.STATES,
        events=ledger.EVENTS,
        reasons=REASONS,
        **known,
    )

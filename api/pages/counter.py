"""At the counter 窗口收件: a person stands there; taken in with a few keys, and accepted at once where it can be.

Also for grid workers at a home. An application that was opened is never lost: where it cannot be accepted in the same
press, its page says why and what is missing.
"""

from contextlib import suppress
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api import item_words, wiring
from api.deps import Now
from api.errors import sentence, status_of
from api.pages import filing, go, page
from api.pages.apply import Subject, numbers, subject
from api.pages.filing import Form, Kept, Posted
from api.pages.listing import choices
from api.pages.window import Clerk
from core.actor import Actor, Role
from core.db import pin_case, snapshot, transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound, WanggeError
from core.ids import new_id
from dispatch import cases, sheet
from dispatch.calendar import china_time
from dispatch.fields import FIELDS
from dispatch.items import application, catalogue, filed
from dispatch.items.application import HOW, NewRequest, Receipt
from dispatch.items.filed import Known
from dispatch.items.identity import Applicant
from dispatch.items.matter import AUTHORISATION

router = APIRouter(include_in_schema=False)

#: What may be done in the same press, besides taking it in.
_THEN = ("accept", "done_at_once")


@router.get("/window/new")
def pick(request: Request, actor: Clerk, at: Now, q: str = "", code: str = "") -> Response:
    """Choose the item: by code, or by words where one item or several match."""
    words = (code or q).strip()[:100]
    with snapshot(actor) as session:
        found = catalogue.listing(session, catalogue.Filter(search=words), day=china_time(at).date())
    if words and found.count == 1:
        return go(f"/window/new/{found.lines[0].item_code}")
    return page(request, "window/pick.html", found=found, q=words, words=item_words, book=wiring.rulebook())


@router.get("/window/information")
def ask_information(request: Request, actor: Clerk) -> Response:
    """Show the form of a request for government information that is handed in at the window."""
    del actor
    return _information(request, Posted())


@router.post("/window/information")
def take_information(request: Request, actor: Clerk, at: Now, posted: Form) -> Response:
    """Open a request for government information in the applicant's name."""
    kind = posted.text("kind") if posted.text("kind") in ("person", "organisation") else "person"
    book = wiring.rulebook()
    key = posted.text("key")
    new = NewRequest(
        applicant=Applicant(kind, posted.text("name"), posted.text("phone"), posted.text("id_number")),
        wanted=posted.text("wanted", most=2000),
        how=posted.text("how"),
        channel="window",
        key=key if filing.KEY.fullmatch(key) else None,
    )
    try:
        receipt = application.open_request(book, new, actor=actor, at=at, number=numbers(book.district).take(at))
    except (Invalid, Conflict) as error:
        return _information(request, posted, error)
    return go(f"/window/{receipt.number}")


def _information(request: Request, posted: Posted, error: WanggeError | None = None) -> Response:
    return page(
        request,
        "apply/information.html",
        status=status_of(error) if error else 200,
        problem=sentence(error) if error else "",
        wrong=(error.field or "") if error else "",
        # A form without its key is given one, so that it can be sent at all.
        entered={"key": str(new_id()), **posted.texts},
        how=HOW,
        window=True,
    )


@router.get("/window/new/{code}")
def form(request: Request, actor: Clerk, at: Now, code: str) -> Response:
    """Show the counter's form of an item: applicant, checklist, options, and what can be done at once."""
    found = subject(code, at)
    return _form(request, found, actor, Posted(texts={"key": str(new_id())}), files={})


@router.post("/window/new/{code}/held")
def held(request: Request, actor: Clerk, at: Now, *, code: str, posted: Form) -> Response:
    """Show what offices hold of this applicant already, to be used again with their consent."""
    found = subject(code, at)
    known = Known((), {})
    if posted.text("id_number"):
        with snapshot(actor) as session:
            known = filed.known(session, posted.text("id_number"), found.version.sheet, at=at)
    return page(request, "window/held.html", known=known, asked=bool(posted.text("id_number")))


@router.post("/window/new/{code}")
def take_in(request: Request, actor: Clerk, at: Now, *, code: str, posted: Form) -> Response:
    """Take an application in, and accept or finish it in the same press where that was asked and nothing is missing."""
    found = subject(code, at)
    sheet_of = found.version.sheet
    files: dict[str, tuple[Kept, ...]] = {}
    book = wiring.rulebook()
    try:
        files = filing.files_of(posted, filing.asked_for(sheet_of, agent=filing.by_agent(posted, sheet_of)))
        filing.check(posted, sheet_of, web=False)
        new = filing.new_application(
            posted,
            found.version,
            channel=_channel(actor),
            files=files,
            facts=filing.facts_of(posted, found.questions),
            reuse=tuple(posted.lists.get("reuse", ())),
        )
        number = numbers(book.district).take(at)
        receipt = application.open_application(book, new, actor=actor, at=at, number=number)
    except (Invalid, Conflict, Forbidden) as error:
        return _form(request, found, actor, posted, files=files, error=error)
    then = posted.text("then")
    if then in _THEN and not receipt.repeated:
        # What cannot be done in the same press is said on the application's own page.
        with suppress(Conflict, Invalid, Forbidden):
            _at_once(receipt, actor, then, posted, at=at)
            return go(f"/window/{receipt.number}" + ("/print/result" if then == "done_at_once" else "?done=accept"))
    return go(f"/window/{receipt.number}?done=receive")


def _channel(actor: Actor) -> str:
    return "home" if actor.role is Role.GRID_WORKER else "window"


def _at_once(receipt: Receipt, actor: Actor, then: str, posted: Posted, *, at: datetime) -> None:
    fields: dict[str, Any] = {}
    if then == "done_at_once":
        fields = {"picked_up_by": posted.text("picked_up_by") or "self"}
        if posted.text("decision_number"):
            fields["decision_number"] = posted.text("decision_number")
    with transaction(actor) as session:
        version = sheet.facts(session, receipt.case_id).version
        pin_case(session, receipt.case_id)
        cases.act(session, wiring.rulebook(), receipt.case_id, then, expected_version=version, at=at, fields=fields)


def _form(
    request: Request,
    found: Subject,
    actor: Actor,
    posted: Posted,
    *,
    files: dict[str, tuple[Kept, ...]],
    error: WanggeError | None = None,
) -> Response:
    sheet_of = found.version.sheet
    entered = dict(posted.texts)
    if not filing.KEY.fullmatch(entered.get("key", "")):
        entered["key"] = str(new_id())
    if _channel(actor) not in sheet_of.channels:
        raise NotFound("{name} cannot be applied for this way.", name=sheet_of.name)
    return page(
        request,
        "window/new.html",
        status=status_of(error) if error else 200,
        problem=sentence(error) if error else "",
        wrong=filing.blamed(error),
        subject=found,
        sheet=sheet_of,
        asked=filing.asked_for(sheet_of, agent=False),
        authorisation=AUTHORISATION,
        shared=[one for one in sheet_of.materials if one.form == "shared"],
        needs_town=filing.needs_town(sheet_of),
        towns=choices(wiring.rulebook()).towns,
        entered=entered,
        lists=posted.lists,
        files=files,
        picked_up=FIELDS["picked_up_by"].choices,
        home=_channel(actor) == "home",
        own_town=actor.town,
        words=item_words,
    )

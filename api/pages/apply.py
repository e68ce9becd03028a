"""Apply online 在线申办: from an item's sheet to a receipt, and requests for government information; no account.

One form, one summary, one receipt. Nothing is opened before the summary was confirmed; the key of the form makes a
second press the same application. What is on the negative list is refused with its entry shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api import deps, item_words, security, wiring
from api.deps import Now
from api.errors import sentence, status_of
from api.pages import filing, go, page
from api.pages.filing import Form, Kept, Posted, Question
from api.pages.listing import choices
from api.pages.matter import OWN_S, remember
from api.wording import exact
from core.actor import citizen, system
from core.db import snapshot
from core.errors import Conflict, Forbidden, Invalid, NotFound, WanggeError
from core.ids import new_id
from dispatch import sheet as sheets
from dispatch.calendar import china_time
from dispatch.items import application, catalogue, filed, lists
from dispatch.items.application import HOW, NewRequest
from dispatch.items.catalogue import Version
from dispatch.items.identity import Applicant
from dispatch.items.lists import Entry, Verdict
from dispatch.items.matter import AUTHORISATION
from dispatch.numbers import Numbers, access_code, access_hash, spoken

router = APIRouter(include_in_schema=False)

#: From one network address in ten minutes; files come one by one.
_MOST_SENT, _MOST_FILES = 30, 120


@dataclass(frozen=True, slots=True)
class Subject:
    """What somebody applies for: the version that holds today, with what the lists ask."""

    version: Version
    entries: tuple[Entry, ...]
    questions: tuple[Question, ...]


@cache
def numbers(district: str) -> Numbers:
    """Return where numbers of applications come from: one for each process of the program."""
    return Numbers(district)


def subject(code: str, at: datetime) -> Subject:
    """Return what can be applied for under a code today; raises NotFound, Conflict where it was withdrawn."""
    if not security.is_clean(code):
        raise NotFound("There is no service item with this code.")
    with snapshot(system(deps.district(), "apply")) as session:
        found = catalogue.applicable(session, code, china_time(at).date())
        entries = tuple(lists.entries(session, item=code))
    return Subject(found, entries, filing.questions(entries))


@router.get("/apply")
def start(request: Request, at: Now, q: str = "", page_number: Annotated[int, Query(alias="page")] = 1) -> Response:
    """Find what to apply for."""
    words = q.strip()[:100]
    if not security.is_clean(words):
        raise Invalid("The text contains characters that cannot be read; type it again.", field="q")
    with snapshot(system(deps.district(), "apply")) as session:
        asked = catalogue.Filter(search=words)
        found = catalogue.listing(session, asked, day=china_time(at).date(), page=max(1, page_number))
    return page(request, "apply/start.html", found=found, q=words, words=item_words, book=wiring.rulebook())


@router.post("/apply/upload")
def upload(request: Request, posted: Form) -> Response:
    """Store one file of a form and answer the line that names it; nothing is applied for yet."""
    deps.throttle(request, "upload", deps.address_of(request), most=_MOST_FILES)
    code = posted.text("code", most=40)
    sent = posted.files.get("file", [])
    if len(sent) != 1:
        raise Invalid("Choose one file.", field="file")
    return page(request, "apply/kept.html", code=code, file=filing.keep(*sent[0]))


@router.get("/apply/information")
def information(request: Request) -> Response:
    """Ask for government information."""
    return _information(request, Posted())


@router.post("/apply/information")
def ask_information(request: Request, at: Now, posted: Form) -> Response:
    """Open a request for government information; a mistake shows the form with everything kept."""
    deps.throttle(request, "apply", deps.address_of(request), most=_MOST_SENT)
    try:
        kind = posted.text("kind") if posted.text("kind") in ("person", "organisation") else "person"
        new = NewRequest(
            applicant=Applicant(kind, posted.text("name"), posted.text("phone"), posted.text("id_number")),
            wanted=posted.text("wanted", most=2000),
            how=posted.text("how"),
            channel="web",
            key=_key(posted),
        )
        book = wiring.rulebook()
        number = numbers(book.district).take(at)
        receipt = application.open_request(book, new, actor=citizen(book.district), at=at, number=number)
    except (Invalid, Conflict) as error:
        return _information(request, posted, error)
    return go("/apply/receipt/" + security.sign_text("receipt", receipt.number))


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
    )


@router.get("/apply/receipt/{token}")
def receipt(request: Request, token: str, at: Now) -> Response:
    """Show number, code, what is missing and what happens next; the address holds for an hour."""
    number = security.read_text("receipt", token, OWN_S)
    if number is None:
        raise NotFound("This receipt is no longer shown; look the matter up by its number and code.")
    made = page(request, "apply/receipt.html", at=at, **receipt_context(number))
    remember(made, number)
    return made


def receipt_context(number: str) -> dict[str, Any]:
    """Return what the receipt of an application shows, for web and window alike; raises NotFound."""
    with snapshot(system(deps.district(), "receipt")) as session:
        matter = sheets.progress(session, number, access_hash=access_hash(number, access_code(number)))
        held = filed.filed(session, matter.id) if matter.process == "service_item" else None
    return {
        "matter": matter,
        "filed": held,
        "spoken": spoken(number),
        "code": access_code(number),
        "words": item_words,
        # A receipt is kept: it says dates, not "today".
        "stamp": lambda moment: exact(moment)[:16],
    }


@router.get("/apply/{code}")
def form(request: Request, at: Now, code: str) -> Response:
    """Show the form of an item; its key makes a repeated submission the same application."""
    found = subject(code, at)
    return _form(request, found, Posted(texts={"key": str(new_id()), "seen": str(found.version.version)}), {})


@router.post("/apply/{code}")
def again(request: Request, at: Now, *, code: str, posted: Form) -> Response:
    """Show the form with everything that was entered, to change it."""
    found = subject(code, at)
    return _form(request, found, posted, _files(posted, found))


@router.post("/apply/{code}/check")
def summary(request: Request, at: Now, *, code: str, posted: Form) -> Response:
    """Show what would be sent, what is missing and what the lists say; nothing is kept but the files."""
    found = subject(code, at)
    sheet = found.version.sheet
    files: dict[str, tuple[Kept, ...]] = {}
    try:
        files = _files(posted, found)
        _on_the_web(found)
        filing.check(posted, sheet, web=True)
        facts = filing.facts_of(posted, found.questions)
        again = _held_already(posted, found, files, at)
    except (Invalid, Conflict, Forbidden) as error:
        return _form(request, found, posted, files, error)
    verdict = lists.judge(found.entries, code, facts)
    if verdict.negative is not None:
        return _form(request, found, posted, files, _forbidden(verdict))
    asked = filing.asked_for(sheet, agent=filing.by_agent(posted, sheet))
    return page(
        request,
        "apply/summary.html",
        subject=found,
        sheet=sheet,
        asked=asked,
        entered=posted.texts,
        lists=posted.lists,
        files=files,
        again=again,
        missing=[one for one in asked if one.required and one.code not in files and one.code not in again],
        shared=[one for one in sheet.materials if one.form == "shared"],
        verdict=verdict,
        town=_town(posted),
        pickup=next((one for one in sheet.pick_ups if one.code == posted.text("pickup")), None),
        words=item_words,
    )


@router.post("/apply/{code}/send")
def send(request: Request, at: Now, *, code: str, posted: Form) -> Response:
    """Open the application and go on to its receipt; a refusal shows the form with everything kept."""
    deps.throttle(request, "apply", deps.address_of(request), most=_MOST_SENT)
    found = subject(code, at)
    files: dict[str, tuple[Kept, ...]] = {}
    try:
        files = _files(posted, found)
        _on_the_web(found)
        filing.check(posted, found.version.sheet, web=True)
        _same_sheet(posted, found)
        new = filing.new_application(
            posted,
            found.version,
            channel="web",
            files=files,
            facts=filing.facts_of(posted, found.questions),
            reuse=tuple(_held_already(posted, found, files, at)),
        )
        book = wiring.rulebook()
        number = numbers(book.district).take(at)
        receipt = application.open_application(book, new, actor=citizen(book.district), at=at, number=number)
    except (Invalid, Conflict, Forbidden) as error:
        return _form(request, found, posted, files, error)
    return go("/apply/receipt/" + security.sign_text("receipt", receipt.number))


def _files(posted: Posted, found: Subject) -> dict[str, tuple[Kept, ...]]:
    sheet = found.version.sheet
    return filing.files_of(posted, filing.asked_for(sheet, agent=filing.by_agent(posted, sheet)))


def _held_already(
    posted: Posted, found: Subject, files: Mapping[str, tuple[Kept, ...]], at: datetime
) -> Mapping[str, filed.Offer]:
    """Return what offices hold of the applicant already, by material; nothing without consent and proof."""
    proof = filing.proof_of(posted)
    if posted.text("consent") != "yes" or proof is None:
        return {}
    with snapshot(citizen(deps.district())) as session:
        known = filed.known(session, posted.text("id_number"), found.version.sheet, at=at, proof=proof)
    return {offer.code: offer for offer in known.offers if offer.code not in files}


def _same_sheet(posted: Posted, found: Subject) -> None:
    if posted.text("seen") != str(found.version.version):
        raise Conflict("The sheet was replaced while you filled in the form; read it again and send it anew.")


def _on_the_web(found: Subject) -> None:
    if "web" not in found.version.sheet.channels:
        raise Conflict("This item is applied for at the window; book a time there.")


def _forbidden(verdict: Verdict) -> Conflict:
    assert verdict.negative is not None, "asked only where the negative list speaks"
    return Conflict(
        "The negative list forbids this: {title} ({basis}). Nothing was sent.",
        title=verdict.negative.title,
        basis=verdict.negative.basis,
    )


def _form(
    request: Request,
    found: Subject,
    posted: Posted,
    files: dict[str, tuple[Kept, ...]],
    error: WanggeError | None = None,
) -> Response:
    entered = dict(posted.texts)
    if not filing.KEY.fullmatch(entered.get("key", "")):
        entered["key"] = str(new_id())
    entered["seen"] = str(found.version.version)
    return page(
        request,
        "apply/form.html",
        status=status_of(error) if error else 200,
        problem=sentence(error) if error else "",
        wrong=filing.blamed(error),
        subject=found,
        sheet=found.version.sheet,
        asked=filing.asked_for(found.version.sheet, agent=False),
        authorisation=AUTHORISATION,
        shared=[one for one in found.version.sheet.materials if one.form == "shared"],
        needs_town=filing.needs_town(found.version.sheet),
        towns=choices(wiring.rulebook()).towns,
        entered=entered,
        lists=posted.lists,
        files=files,
        words=item_words,
    )


def _town(posted: Posted) -> str:
    area = wiring.rulebook().areas.get(posted.text("town"))
    return area.name if area else ""


def _key(posted: Posted) -> str | None:
    key = posted.text("key")
    if not filing.KEY.fullmatch(key):
        raise Invalid("This page is too old or came from elsewhere; load it again. Nothing was changed.", field="key")
    return key

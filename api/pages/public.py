"""The resident's face 市民: report a matter, follow it by its number, rate the answer; no account, no long lists.

What is shown by number alone names nobody; the code on the receipt opens the reporter's own view for an hour. Reports
are idempotent by the key that the form was given, so that a nervous thumb or a line that breaks makes one case.
"""

import re
import uuid
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from api import deps, security, wiring
from api.deps import Now
from api.errors import sentence
from api.i18n import say
from api.pages import go, page
from api.photos import Photo, read_photo, store
from core.actor import Actor, Role, citizen, system
from core.datums import point
from core.db import pin_case, snapshot, transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.ids import is_checked, new_id
from dispatch import attachments, cases, sheet
from dispatch.numbers import access_code, access_hash, spoken
from hotline.intake import Receipt, Report, Understanding

router = APIRouter(include_in_schema=False)

#: Holds the number whose code was shown, signed.
OWN_COOKIE = "wg_own"
OWN_S = 3600
#: From one network address, in ten minutes: an office or a kiosk sends more than a home, a machine more than both.
_MOST_REPORTS, MOST_LOOKUPS, MOST_CODES = 60, 60, 10
_MOST_PHOTOS = 3
_KEY = re.compile(r"[0-9A-Za-z_\-]{16,64}")
#: Twins that a resident is asked about.
_MOST_TWINS = 3


@router.get("/")
def start(request: Request) -> Response:
    """Show the form; its key makes a repeated submission the same report."""
    return page(request, "public/report.html", key=str(new_id()), most_photos=_MOST_PHOTOS)


@router.post("/understand")
def understand(
    request: Request,
    at: Now,
    *,
    text: Annotated[str, Form()] = "",
    place: Annotated[str, Form()] = "",
    lng: Annotated[str, Form()] = "",
    lat: Annotated[str, Form()] = "",
) -> Response:
    """Show what the program understood so far; nothing is kept."""
    if len(text.strip()) < 4:
        return page(request, "public/understood.html", understood=None, twins=[])
    report = Report("web", _words(text, place), at, **_spot(lng, lat, "WGS84"))
    understood = wiring.intake().understand(report)
    twins = _twins(understood)
    book = wiring.rulebook()
    spot = understood.place
    codes = (spot.town_code, spot.community_code) if spot else ()
    where = [book.areas[code].name for code in codes if code and code in book.areas]
    return page(
        request,
        "public/understood.html",
        understood=understood,
        where=where,
        category=book.category_path(understood.category),
        twins=twins,
        sure=not understood.doubts,
    )


def _twins(understood: Understanding) -> list[sheet.Facts]:
    """Return open matters that may be the same one; shown by category, place and time, never by their text."""
    found: list[sheet.Facts] = []
    with snapshot(system(deps.district(), "twins")) as session:
        for twin in understood.twins[:_MOST_TWINS]:
            try:
                facts = sheet.facts(session, twin.case_id)  # type: ignore[arg-type]  # ours are case ids
            except NotFound:
                continue
            if facts.open:
                found.append(facts)
    return found


@router.post("/report")
def report(
    request: Request,
    at: Now,
    actor: deps.Me,
    *,
    text: Annotated[str, Form()] = "",
    place: Annotated[str, Form()] = "",
    lng: Annotated[str, Form()] = "",
    lat: Annotated[str, Form()] = "",
    name: Annotated[str, Form()] = "",
    phone: Annotated[str, Form()] = "",
    key: Annotated[str, Form()] = "",
    photo: Annotated[list[UploadFile] | None, File()] = None,
) -> Response:
    """Take a report, with photos, and go on to its receipt."""
    photos = read_photos(photo or [])
    if not _KEY.fullmatch(key):
        raise Invalid("This page is too old or came from elsewhere; load it again. Nothing was changed.", field="key")
    spot = _spot(lng, lat, "WGS84") or _from_photo(photos)
    given = Report("web", _words(text, place), at, idempotency_key=key, name=name, phone=phone, **spot)
    receipt = receive(request, given, actor=actor, at=at, photos=photos)
    return go("/receipt/" + security.sign_text("receipt", receipt.number))


def read_photos(given: list[UploadFile]) -> list[Photo]:
    """Return the photos of a form, re-encoded; raises Invalid before anything is written."""
    sent = [file for file in given if file.filename or file.size]
    if len(sent) > _MOST_PHOTOS:
        raise Invalid("At most {n} photos can be sent with a report.", field="photo", n=_MOST_PHOTOS)
    return [read_photo(file.file.read(security.PHOTO_LIMIT + 1)) for file in sent]


def _from_photo(photos: list[Photo]) -> dict[str, Any]:
    """Return where the first photo that knows it was taken; phones write WGS84.

    A position that cannot be is nobody's mistake to correct: the report goes on without it.
    """
    for photo in photos:
        if photo.position:
            with suppress(Invalid):
                point(*photo.position, "WGS84")
                return {"lng": photo.position[0], "lat": photo.position[1], "datum": "WGS84"}
    return {}


def receive(request: Request, given: Report, *, actor: Actor, at: datetime, photos: list[Photo]) -> Receipt:
    """Take a report in and hang its photos on the case; raises TooMany for a machine that sends without signing in."""
    if actor.id is None:
        deps.throttle(request, "report", deps.address_of(request), most=_MOST_REPORTS)
    for photo in photos:
        store().put(photo.sha256, photo.data)
    receipt = wiring.intake().receive(given, actor=actor, at=at)
    if photos:
        with transaction(system(deps.district(), "intake")) as session:
            for photo in photos:
                kept = attachments.Stored(photo.sha256, photo.media_type, photo.width, photo.height)
                attachments.attach(session, receipt.case_id, kept, purpose="report", at=at)
    return receipt


@router.get("/receipt/{token}")
def receipt(request: Request, token: str) -> Response:
    """Show number and code, large, and what happens next; the address holds for an hour."""
    number = security.read_text("receipt", token, OWN_S)
    if number is None:
        raise NotFound("This receipt is no longer shown; look the matter up by its number and code.")
    with snapshot(system(deps.district(), "receipt")) as session:
        matter = sheet.progress(session, number, access_hash=access_hash(number, access_code(number)))
    made = page(
        request,
        "public/receipt.html",
        matter=matter,
        spoken=spoken(number),
        code=access_code(number),
        key=str(new_id()),
    )
    _remember(made, number)
    return made


@router.get("/progress")
def ask(request: Request, number: str = "") -> Response:
    """Ask for the number and, for one's own view, the code."""
    return page(request, "public/ask.html", number=number[:20], problem="")


@router.post("/progress")
def look_up(request: Request, number: Annotated[str, Form()] = "", code: Annotated[str, Form()] = "") -> Response:
    """Check number and code and go on to the matter's page."""
    number = re.sub(r"[\s\-]", "", number).upper()[:30]
    deps.throttle(request, "lookup", deps.address_of(request), most=MOST_LOOKUPS)
    problem = ""
    if not is_checked(number):
        problem = say("This number has a typing mistake; compare it with the receipt.")
    else:
        if code.strip():
            deps.throttle(request, "code", number, most=MOST_CODES)
        try:
            with snapshot(system(deps.district(), "progress")) as session:
                sheet.progress(session, number, access_hash=access_hash(number, code) if code.strip() else None)
        except NotFound as error:
            problem = sentence(error)
    if problem:
        return page(request, "public/ask.html", status=404, number=number, problem=problem)
    answer = go(f"/progress/{number}")
    if code.strip():
        _remember(answer, number)
    return answer


@router.get("/progress/{number}")
def progress(request: Request, number: str) -> Response:
    """Show how far a matter is; more to whoever has shown its code."""
    matter = _matter(request, number)
    offered: dict[str, Any] = {}
    photos: list[Any] = []
    if matter.own:
        table = wiring.rulebook().process(matter.process, matter.process_version)
        offered = {step.action: step for step in table.offered(matter.state, Role.CITIZEN)}
        if matter.satisfaction is not None:
            offered.pop("rate", None)
        with snapshot(system(deps.district(), "progress")) as session:
            photos = attachments.listed(session, matter.id)
    return page(
        request, "public/progress.html", matter=matter, offered=offered, photos=photos, spoken=spoken(matter.number)
    )


@router.post("/progress/{number}/rate")
def rate(
    request: Request,
    number: str,
    at: Now,
    *,
    version: Annotated[int, Form()],
    satisfaction: Annotated[str, Form()] = "",
    solved: Annotated[str, Form()] = "",
    note: Annotated[str, Form()] = "",
) -> Response:
    """Take the resident's rating: solved closes the matter, not solved sends it back, afterwards it is only noted."""
    matter = _own(request, number)
    note = note.strip()[:1000]
    fields: dict[str, Any] = {"satisfaction": satisfaction}
    if matter.state == "closed":
        action = "rate"
        if matter.satisfaction is not None:
            raise Conflict("This matter was rated already; thank you.")
    elif solved not in ("yes", "no"):
        raise Invalid("Please say whether the matter is solved.", field="solved")
    else:
        action = "callback" if solved == "yes" else "rework"
    fields |= {"reason": note} if action == "rework" else {"note": note} if note else {}
    _act(matter, action, version=version, at=at, fields=fields)
    return go(f"/progress/{matter.number}")


@router.post("/progress/{number}/withdraw")
def withdraw(
    request: Request, number: str, at: Now, version: Annotated[int, Form()], reason: Annotated[str, Form()] = ""
) -> Response:
    """Take the matter back, with a reason."""
    matter = _own(request, number)
    _act(matter, "withdraw", version=version, at=at, fields={"reason": reason.strip()[:1000]})
    return go(f"/progress/{matter.number}")


def _act(matter: sheet.Progress, action: str, *, version: int, at: datetime, fields: dict[str, Any]) -> None:
    """Do a step as the resident, whose code was checked: that is what opens the case to the anonymous citizen."""
    with transaction(citizen(deps.district())) as session:
        pin_case(session, matter.id)
        cases.act(session, wiring.rulebook(), matter.id, action, expected_version=version, at=at, fields=fields)


@router.get("/progress/{number}/photos/{attachment_id}")
def own_photo(request: Request, number: str, attachment_id: uuid.UUID) -> Response:
    """Answer one's own photo."""
    matter = _own(request, number)
    with snapshot(system(deps.district(), "progress")) as session:
        return _picture(attachments.stored(session, matter.id, attachment_id))


@router.get("/photos/{case_id}/{attachment_id}")
def photo_of_case(session: deps.Read, case_id: uuid.UUID, attachment_id: uuid.UUID) -> Response:
    """Answer a photo to whoever may see the case."""
    sheet.facts(session, case_id)
    return _picture(attachments.stored(session, case_id, attachment_id))


def _picture(kept: attachments.Stored) -> Response:
    return Response(
        store().get(kept.sha256),
        media_type=kept.media_type,
        headers={
            "Cache-Control": "private, max-age=3600",
            "Content-Disposition": f'inline; filename="{kept.sha256[:12]}.jpg"',
            "Content-Security-Policy": "default-src 'none'",
        },
    )


def _remember(answer: Response, number: str) -> None:
    """Let this browser open the reporter's own view of one matter for an hour."""
    answer.headers.append("set-cookie", security.cookie(OWN_COOKIE, security.sign_text("own", number), age_s=OWN_S))


def _shown(request: Request) -> str | None:
    return security.read_text("own", request.cookies.get(OWN_COOKIE, ""), OWN_S)


def _matter(request: Request, number: str) -> sheet.Progress:
    if not is_checked(number):
        raise NotFound("There is no matter with this number.")
    own = _shown(request) == number.upper()
    if not own:
        deps.throttle(request, "lookup", deps.address_of(request), most=MOST_LOOKUPS)
    with snapshot(system(deps.district(), "progress")) as session:
        return sheet.progress(session, number, access_hash=access_hash(number, access_code(number)) if own else None)


def _own(request: Request, number: str) -> sheet.Progress:
    """Return the matter whose code this browser has shown; raises Forbidden for any other."""
    matter = _matter(request, number)
    if not matter.own:
        raise Forbidden("Show the code of the receipt first.")
    return matter


def _words(text: str, place: str) -> str:
    """Return what the resident wrote, with the place as written in its own field."""
    place = place.strip()[:200]
    return f"{text.strip()}\n{say('Place', 'zh')}：{place}" if place and place not in text else text.strip()


def _spot(lng: str, lat: str, datum: str) -> dict[str, Any]:
    """Return the report's point; empty without one. Raises Invalid for anything but two numbers."""
    if not lng.strip() and not lat.strip():
        return {}
    try:
        return {"lng": float(lng), "lat": float(lat), "datum": datum}
    except ValueError as error:
        raise Invalid("Longitude and latitude must be numbers in degrees.", field="lng") from error

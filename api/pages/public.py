"""The resident's face 市民: report a matter and get a receipt; no account, no long lists.

Reports are idempotent by the key that the form was given, so that a nervous thumb or a line that breaks makes one case.
What follows by number and code is `api.pages.matter`.
"""

import re
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from api import deps, security, wiring
from api.deps import Now
from api.i18n import say
from api.pages import go, page
from api.pages.matter import MOST_PHOTOS, OWN_S, attach, read_photos, remember
from api.photos import Photo, store
from api.qr import drawn
from core.actor import Actor, system
from core.datums import point
from core.db import snapshot, transaction
from core.errors import Invalid, NotFound
from core.ids import new_id
from dispatch import sheet
from dispatch.numbers import access_code, access_hash, spoken
from hotline.intake import Receipt, Report, Understanding

router = APIRouter(include_in_schema=False)

#: From one network address, in ten minutes: an office or a kiosk sends more than a home, a machine more than both.
_MOST_REPORTS = 60
_KEY = re.compile(r"[0-9A-Za-z_\-]{16,64}")
#: Twins that a resident is asked about.
_MOST_TWINS = 3


@router.get("/")
def start(request: Request) -> Response:
    """Show the form; its key makes a repeated submission the same report."""
    return page(request, "public/report.html", key=str(new_id()), most_photos=MOST_PHOTOS)


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
    report = Report("web", words_of(text, place), at, **_spot(lng, lat, "WGS84"))
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
    spot = spot_of(lng, lat, photos)
    given = Report("web", words_of(text, place), at, idempotency_key=key, name=name, phone=phone, **spot)
    receipt = receive(request, given, actor=actor, at=at, photos=photos)
    return go("/receipt/" + security.sign_text("receipt", receipt.number))


def spot_of(lng: str, lat: str, photos: list[Photo]) -> dict[str, Any]:
    """Return the point of a report as its form says it, else its first photo that knows; empty without one.

    Degrees WGS84, as phones give them. Raises Invalid for anything but two numbers.
    """
    return _spot(lng, lat, "WGS84") or _from_photo(photos)


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
                attach(session, receipt.case_id, photo, at=at)
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
        picture=drawn(request, f"/progress/{number}"),
    )
    remember(made, number)
    return made


def words_of(text: str, place: str) -> str:
    """Return what was written, with the place as written in its own field."""
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

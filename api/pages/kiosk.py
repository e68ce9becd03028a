"""The terminal in the hall 自助终端: one question a page, large type, and nothing left of the last person.

Every start gives a new visit and drops the cookies of the one before; no script stores anything, no page is kept by a
cache, and the receipt goes away by itself. What comes in is a report of channel `kiosk`.
"""

import re
from typing import Annotated, Final

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import Response

from api import deps, security, wiring
from api.deps import Now
from api.errors import TooMany, sentence, status_of
from api.i18n import LANGUAGE
from api.pages import go, page
from api.pages.matter import OWN_COOKIE
from api.qr import drawn
from core.actor import citizen, system
from core.db import snapshot
from core.errors import Conflict, Invalid, NotFound, Unavailable
from core.ids import new_id
from dispatch import sheet
from dispatch.numbers import access_code, access_hash, spoken
from hotline.intake import Report

router = APIRouter(include_in_schema=False)

#: Seconds without a touch until the terminal goes back to its start, and on the page of the receipt.
IDLE_S: Final = 90
RECEIPT_S: Final = 60
#: What the first page gives its form: the same again is the same report.
_KEY = re.compile(r"[0-9A-Za-z_\-]{16,64}")
#: From one terminal in ten minutes.
_MOST: Final = 60
#: What the form of the first page leads on with.
_LONGEST: Final = 2000


@router.get("/kiosk")
def start(request: Request, lang: str = "") -> Response:
    """Show the first page to somebody new: the visit, the language and what was looked up before are forgotten."""
    request.state.visit = security.new_visit()
    request.state.type = "large"
    if not lang:
        # Whoever comes next is spoken to in Chinese until they choose.
        LANGUAGE.set("zh")
        request.state.lang = "zh"
    made = page(request, "kiosk/start.html", key=str(new_id()), idle_s=IDLE_S, problem="", entered={})
    return _clean(request, made)


@router.post("/kiosk")
def take(
    request: Request,
    at: Now,
    *,
    text: Annotated[str, Form()] = "",
    place: Annotated[str, Form()] = "",
    phone: Annotated[str, Form()] = "",
    key: Annotated[str, Form()] = "",
) -> Response:
    """Take the report and go on to the receipt; on refusal everything that was typed stays."""
    request.state.type = "large"
    if not _KEY.fullmatch(key):
        raise Invalid("This page is too old or came from elsewhere; load it again. Nothing was changed.", field="key")
    where = place.strip()[:200]
    words = f"{text.strip()}\n地点：{where}" if where and where not in text else text.strip()
    given = Report("kiosk", words[:_LONGEST], at, idempotency_key=key, phone=phone.strip() or None)
    try:
        deps.throttle(request, "kiosk", deps.address_of(request), most=_MOST)
        receipt = wiring.intake().receive(given, actor=citizen(deps.district()), at=at)
    except (Invalid, Conflict, TooMany, Unavailable) as error:
        # Whoever stands here has no other copy of the words.
        entered = {"text": text, "place": place, "phone": phone}
        shown = {"key": key, "idle_s": IDLE_S, "problem": sentence(error), "entered": entered}
        return page(request, "kiosk/start.html", status=status_of(error), **shown)
    return go("/kiosk/receipt/" + security.sign_text("kiosk", receipt.number))


@router.get("/kiosk/receipt/{token}")
def receipt(request: Request, token: str) -> Response:
    """Show number, code and a picture to photograph, for a minute; the address holds no longer than that twice."""
    number = security.read_text("kiosk", token, 2 * RECEIPT_S)
    if number is None:
        raise NotFound("This receipt is no longer shown; look the matter up by its number and code.")
    request.state.type = "large"
    with snapshot(system(deps.district(), "receipt")) as session:
        matter = sheet.progress(session, number, access_hash=access_hash(number, access_code(number)))
    return page(
        request,
        "kiosk/receipt.html",
        matter=matter,
        spoken=spoken(number),
        code=access_code(number),
        picture=drawn(request, f"/progress/{number}"),
        idle_s=RECEIPT_S,
    )


def _clean(request: Request, made: Response) -> Response:
    """Let the answer take away what a person before left in this browser, and its history lead nowhere."""
    made.headers["Cache-Control"] = "no-store"
    for name in (OWN_COOKIE, security.SESSION_COOKIE, "wg_lang"):
        if name in request.cookies and not (name == "wg_lang" and "lang" in request.query_params):
            made.headers.append("Set-Cookie", security.cookie(name, "", age_s=0))
    made.headers.append("Set-Cookie", security.cookie(security.VISIT_COOKIE, request.state.visit))
    return made

"""The only table from the house's errors to HTTP, as problem JSON (RFC 9457) and as a page in the reader's language."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.i18n import N_, say
from api.wording import CODES, named
from core.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable, WanggeError

log = logging.getLogger("wangge.web")


class SignInNeeded(Forbidden):
    """Nobody is signed in and the page is not public: pages go to the sign-in, the API answers 401."""


class TooMany(Forbidden):
    """Too many tries in a while; `retry_s` says how many seconds to wait."""

    def __init__(self, message: str, /, *, retry_s: int, **params: Any) -> None:
        super().__init__(message, **params)
        self.retry_s = retry_s


class TooLarge(Invalid):
    """More was sent than can be taken at once."""


class Unprovable(Invalid):
    """What was sent is of a kind that cannot be taken, such as a photo that is not a picture."""


#: The first class that an error is an instance of decides.
STATUS: tuple[tuple[type[WanggeError], int], ...] = (
    (SignInNeeded, 401),
    (TooMany, 429),
    (TooLarge, 413),
    (Unprovable, 415),
    (NotFound, 404),
    (Forbidden, 403),
    (Conflict, 409),
    (Invalid, 422),
    (Unavailable, 503),
)
TITLES: Mapping[int, str] = {
    400: N_("This request cannot be understood"),
    401: N_("Please sign in"),
    403: N_("This is not allowed"),
    404: N_("Not found"),
    405: N_("This cannot be done here"),
    409: N_("Somebody else was faster"),
    413: N_("Too large"),
    415: N_("This kind of file cannot be taken"),
    422: N_("Please check what was entered"),
    429: N_("Too many tries"),
    500: N_("Something went wrong on our side"),
    503: N_("The system cannot be reached at the moment"),
}
#: What was kept and what to do, under the sentence that says what happened.
ADVICE: Mapping[int, str] = {
    403: N_("Nothing was changed. Sign in with another account or ask the administrator."),
    404: N_("Check the address or the number; it may also be that it is not yours to see."),
    405: N_("Nothing was changed. Go back and use the buttons of the page."),
    409: N_("Nothing was changed. Load the page again to see how the matter stands now."),
    413: N_("Nothing was changed. Shorten the text or choose a smaller photo, and send it again."),
    415: N_("Nothing was changed. Photos can be JPEG, PNG or WebP."),
    422: N_("Nothing was changed. Go back, correct it and send it again."),
    429: N_("Wait a little, then try again."),
    500: N_("Nothing was changed. The fault has been written down; try again later."),
    503: N_("What you have written is kept in this browser and will be sent again; no need to write it anew."),
}


def install(app: FastAPI) -> None:
    """Let the app answer every failure from this table."""
    app.add_exception_handler(WanggeError, _house)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(DataError, _unstorable)


def status_of(error: WanggeError) -> int:
    """Return the HTTP status of one of the house's errors."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def sentence(error: WanggeError) -> str:
    """Return an error in the reader's language; parameters that are codes or texts of the catalogue are said, too."""
    params = {
        name: named(value, CODES.get(name, {})) if isinstance(value, str) else value
        for name, value in error.params.items()
    }
    return say(error.message, **params)


def wants_json(request: Request) -> bool:
    """Return whether a problem document is the right kind of answer."""
    path = request.url.path
    machine = ("/api/", "/tiles", "/open311", "/ogc")
    return path.startswith(machine) or request.headers.get("accept", "").startswith("application/json")


def answer(
    request: Request,
    *,
    status: int,
    detail: str = "",
    field: str | None = None,
    extra: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a failure as problem JSON, as a fragment for htmx, or as a whole page."""
    title = say(TITLES.get(status) or HTTPStatus(status).phrase)
    if wants_json(request):
        body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
        body |= {"detail": detail} if detail else {}
        body |= {"field": field} if field else {}
        body |= extra or {}
        return Response(orjson.dumps(body), status, headers=dict(headers or {}), media_type="application/problem+json")
    # The templates need this module's classes.
    from api.pages import page

    # The terminal in the hall has no address bar: its own page leads back to its start by itself.
    whole = "kiosk/problem.html" if request.url.path.startswith("/kiosk") else "problem.html"
    name = "problem_part.html" if request.headers.get("hx-request") else whole
    advice = say(ADVICE[status]) if status in ADVICE else ""
    made = page(request, name, status=status, title=title, detail=detail, advice=advice, field=field)
    made.headers.update(headers or {})
    return made


def _house(request: Request, error: Exception) -> Response:
    assert isinstance(error, WanggeError)
    status = status_of(error)
    if isinstance(error, SignInNeeded) and not wants_json(request) and request.method in ("GET", "HEAD"):
        # Coming back to where one wanted to go; `local_path` checks it again after signing in.
        if request.headers.get("hx-request"):
            # A part of a page has no place for a sign-in: the whole page goes there.
            page = urlsplit(request.headers.get("hx-current-url", ""))
            return Response(status_code=401, headers={"HX-Redirect": _sign_in(page.path, page.query)})
        return RedirectResponse(_sign_in(request.url.path, request.url.query), 303)
    headers: dict[str, str] = {}
    if isinstance(error, TooMany):
        headers["Retry-After"] = str(error.retry_s)
    if status == 503:
        headers["Retry-After"] = "15"
        log.error("unavailable: %s", error, exc_info=error)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return answer(request, status=status, detail=sentence(error), field=error.field, headers=headers)


def _sign_in(path: str, query: str) -> str:
    return "/login?next=" + quote(path + (f"?{query}" if query else ""))


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    # Starlette's own details are English phrases; ours are translated already.
    own = error.detail if error.detail != HTTPStatus(error.status_code).phrase else ""
    if error.status_code == 400 and own.startswith("Part exceeded"):
        # The parser of forms stops at a field that is longer than any text.
        return answer(request, status=413)
    if error.status_code == 400 and own and own.isascii():
        own = say("The form or document that was sent is damaged or incomplete.")
    return answer(request, status=error.status_code, detail=own, headers=error.headers)


def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [
        {"field": ".".join(str(part) for part in fault["loc"][1:]) or str(fault["loc"][0]), "reason": _reason(fault)}
        for fault in error.errors()[:20]
    ]
    detail = "; ".join(f"{fault['field']}: {fault['reason']}" for fault in faults)
    return answer(request, status=422, detail=detail, field=faults[0]["field"], extra={"errors": faults})


def _reason(fault: Mapping[str, Any]) -> str:
    kind, context = str(fault["type"]), fault.get("ctx") or {}
    if kind == "missing":
        return say("is missing")
    if kind in ("string_too_long", "too_long"):
        return say("is too long: at most {n}", n=context.get("max_length"))
    if kind in ("string_too_short", "too_short"):
        return say("is too short: at least {n}", n=context.get("min_length"))
    if kind == "extra_forbidden":
        return say("is not a known field")
    inner = context.get("error")
    if isinstance(inner, WanggeError):
        return sentence(inner)
    return say("cannot be taken as it is")


def _unstorable(request: Request, error: Exception) -> Response:
    log.warning("refused by the database: %s", error)
    return answer(request, status=422, detail=say("This contains characters or values that cannot be stored."))

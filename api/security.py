"""What keeps a request honest: signed cookies and tokens, CSRF, headers, size limits. Knows no account and no page."""

import hmac
import logging
import re
import secrets
import uuid
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.i18n import LANGUAGE, LANGUAGES, say
from core.crypto import derived_key
from core.errors import Forbidden
from core.settings import settings

log = logging.getLogger("wangge.web")

SESSION_COOKIE = "wg_session"
VISIT_COOKIE = "wg_visit"
#: A shift, with its overtime: after this a person signs in again.
SESSION_S = 12 * 3600
TOKEN_S = 12 * 3600
#: Preferences that any page address may set, each with its values; the first is the default.
PREFERENCES = {"lang": LANGUAGES, "type": ("normal", "large"), "theme": ("auto", "light", "dark")}

#: Largest request body in bytes: words, and a form that carries photos.
TEXT_LIMIT = 512 * 1024
PHOTO_LIMIT = 10 * 1024 * 1024
_FORM_LIMIT = PHOTO_LIMIT + TEXT_LIMIT
#: Photos that a grid worker's phone sends ahead, as its camera made them.
RAW_PHOTO_LIMIT = 20 * 1024 * 1024
_RAW_PHOTOS = "/api/v1/field/photos/"
#: Lines and cells of one community as GeoJSON; every answer asks who sends them before it reads them.
GEOJSON_LIMIT = 4 * 1024 * 1024
_GEOJSON = ("/api/v1/grid/proposals", "/api/v1/grid/figures")
#: Lists of departments: a hundred thousand rows in one spreadsheet.
LIST_LIMIT = 41 * 1024 * 1024
_LISTS = "/registers/import"

_VISIT = re.compile(r"[0-9A-Za-z_\-]{22}")
#: Control characters that no typed text contains, the replacement for broken UTF-8, and halves of surrogate pairs.
_UNCLEAN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd\ud800-\udfff\ufffe\uffff]")

#: Kinds of answers that no cache keeps unless they say so themselves.
_PRIVATE = (b"text/html", b"text/csv", b"application/json", b"application/problem+json", b"application/pdf")
#: No inline script, no inline style, no evaluation, no foreign host. Pictures may be drawn in the page (data:, blob:).
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; worker-src 'self' blob:; manifest-src 'self'; frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
)
_HEADERS = {
    b"content-security-policy": CONTENT_POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
    b"permissions-policy": b"geolocation=(self), camera=(self), microphone=(), payment=(), usb=()",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a session cookie or a token says; the account must still be looked up."""

    account_id: uuid.UUID
    epoch: int


def _serializer(purpose: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(
        derived_key(purpose), salt=purpose, signer_kwargs={"digest_method": sha256, "key_derivation": "hmac"}
    )


def sign_session(account_id: uuid.UUID, epoch: int, visit: str) -> str:
    """Return the value of the session cookie, bound to the visit cookie that CSRF tokens are made from."""
    return _signed("session", [account_id.hex, epoch, visit])


def sign_token(account_id: uuid.UUID, epoch: int) -> str:
    """Return a bearer token for the JSON API; it ends with the sessions of its account."""
    return _signed("token", [account_id.hex, epoch])


def _signed(purpose: str, payload: list[Any]) -> str:
    value = _serializer(purpose).dumps(payload)
    return value if isinstance(value, str) else value.decode()


def read_session(cookie: str, visit: str) -> SignedIn | None:
    """Return who a session cookie is for; None when it is absent, forged, stale or from another visit."""
    payload = _read("session", cookie, SESSION_S)
    if payload is None or len(payload) != 3 or not hmac.compare_digest(str(payload[2]), visit):
        return None
    return SignedIn(account_id=uuid.UUID(payload[0]), epoch=int(payload[1]))


def read_token(token: str) -> SignedIn | None:
    """Return who a bearer token is for; None when it is forged or stale."""
    payload = _read("token", token, TOKEN_S)
    return None if payload is None else SignedIn(account_id=uuid.UUID(payload[0]), epoch=int(payload[1]))


def _read(purpose: str, value: str, age_s: int) -> list[Any] | None:
    if not value:
        return None
    try:
        payload = _serializer(purpose).loads(value, max_age=age_s)
    except BadSignature:
        return None
    return payload if isinstance(payload, list) else None


def sign_text(purpose: str, text: str) -> str:
    """Return a short text signed for one purpose, fit for an address or a cookie."""
    return _signed(purpose, [text])


def read_text(purpose: str, signed: str, age_s: int) -> str | None:
    """Return a signed text; None when it is forged, stale or for another purpose."""
    payload = _read(purpose, signed, age_s)
    return str(payload[0]) if payload else None


def new_visit() -> str:
    """Return a fresh random visit, 128 bits."""
    return secrets.token_urlsafe(16)


def csrf_token(visit: str) -> str:
    """Return the token that unsafe requests of one visit must carry."""
    return hmac.new(derived_key("csrf"), visit.encode(), sha256).hexdigest()[:40]


def check_csrf(visit: str, token: str) -> None:
    """Raise Forbidden unless the token belongs to the visit."""
    if not visit or not hmac.compare_digest(csrf_token(visit).encode(), token.encode("utf-8", "replace")):
        raise Forbidden("This page is too old or came from elsewhere; load it again. Nothing was changed.")


def is_clean(text: str) -> bool:
    """Return whether a text has no NUL, no control characters and no traces of broken UTF-8."""
    return not _UNCLEAN.search(text)


def local_path(target: str | None) -> str:
    """Return a path of this site to go on to, `/` for anything that could lead elsewhere."""
    if not target or not re.fullmatch(r"/(?![/\\])[^\x00-\x20\\\x7f]*", target):
        return "/"
    return target


class Gate:
    """The outermost ASGI layer: size limits, the visit, preferences, and the headers of every answer.

    Puts into `request.state`: visit, lang, type, theme. Written as plain ASGI because the language has to be set in
    the context that endpoints and error handlers run in.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        cookies: list[str] = []
        state = scope.setdefault("state", {})
        visit = connection.cookies.get(VISIT_COOKIE, "")
        fresh = not _VISIT.fullmatch(visit)
        state["visit"] = visit = new_visit() if fresh else visit
        for name, values in PREFERENCES.items():
            asked, kept = connection.query_params.get(name), connection.cookies.get(f"wg_{name}")
            if asked in values:
                cookies.append(cookie(f"wg_{name}", asked, age_s=365 * 86400))
            state[name] = next((value for value in (asked, kept) if value in values), values[0])
        token = LANGUAGE.set(state["lang"])

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"] = list(message.get("headers", []))
                names = {name.lower() for name, _ in headers}
                headers += [(name, value) for name, value in _HEADERS.items() if name not in names]
                if settings().secure_cookies:
                    headers.append((b"strict-transport-security", b"max-age=31536000"))
                kind = next((value for name, value in headers if name.lower() == b"content-type"), b"")
                if kind.startswith(_PRIVATE) and b"cache-control" not in names:
                    # Pages and tables carry tokens and cases: no shared computer's cache may keep them.
                    headers.append((b"cache-control", b"no-store"))
                if kind.startswith(b"text/html"):
                    sets = any(VISIT_COOKIE.encode() in v for n, v in headers if n.lower() == b"set-cookie")
                    if fresh and not sets:
                        cookies.append(cookie(VISIT_COOKIE, visit))
                headers += [(b"set-cookie", value.encode("latin-1")) for value in cookies]
            await send(message)

        try:
            raw = scope.get("query_string", b"") + scope.get("raw_path", b"")
            if b"%00" in raw or b"\x00" in raw:
                await refuse(answer, scope, 400, say("The address contains characters that cannot be used."))
                return
            limit = _FORM_LIMIT if b"multipart/form-data" in _header(scope, b"content-type") else TEXT_LIMIT
            if scope["path"].startswith(_RAW_PHOTOS):
                limit = RAW_PHOTO_LIMIT
            elif scope["path"] in _GEOJSON:
                limit = GEOJSON_LIMIT
            elif scope["path"] == _LISTS:
                limit = LIST_LIMIT
            length = _header(scope, b"content-length")
            if length and (not length.isdigit() or int(length) > limit):
                await refuse(answer, scope, 413, _too_large(limit))
                return
            await self._serve(scope, _counted(receive, limit), answer)
        finally:
            LANGUAGE.reset(token)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            # The last place that can still answer: without it the page would have neither headers nor language.
            log.exception("unforeseen: %s %s", scope["method"], scope["path"])
            if started:
                raise
            await refuse(send, scope, 500, "")


def _too_large(limit: int) -> str:
    return say("This is too large: at most {n} KB can be taken at once. Nothing was changed.", n=limit // 1024)


def _header(scope: Scope, name: bytes) -> bytes:
    return next((bytes(value) for key, value in scope["headers"] if key == name), b"")


def cookie(name: str, value: str, *, age_s: int | None = None) -> str:
    """Return the Set-Cookie value of one of ours: not readable by scripts, not sent from other sites' forms."""
    parts = [f"{name}={value}", "Path=/", "HttpOnly", "SameSite=Lax"]
    if age_s is not None:
        parts.append(f"Max-Age={age_s}")
    if settings().secure_cookies:
        parts.append("Secure")
    return "; ".join(parts)


def session_cookies(session: str | None, visit: str) -> list[str]:
    """Return the Set-Cookie values of signing in (`session`) or out (None), with the visit changed."""
    kept = cookie(SESSION_COOKIE, session or "", age_s=SESSION_S if session else 0)
    return [kept, cookie(VISIT_COOKIE, visit)]


def _counted(receive: Receive, limit: int) -> Receive:
    """Return a `receive` that stops a body sent in chunks from growing over the limit."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            from starlette.exceptions import HTTPException

            raise HTTPException(413, _too_large(limit))
        return message

    return counted


async def refuse(send: Send, scope: Scope, status: int, detail: str) -> None:
    """Answer a request that may not come any further, as page or as problem."""
    from starlette.requests import Request

    from api.errors import answer

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    await answer(Request(scope), status=status, detail=detail)(scope, nothing, send)

"""The grid worker's phone 网格员手机端: the shell that works without a line, its service worker, words and manifest.

Everything that the phone shows is drawn by the modules under `api/static/field/`; the shell is the same for everybody
and holds no data. What the phone asks and sends goes through `/api/v1/field/…`. Knows no case and no cell.
"""

import base64
import hmac
import json
from functools import cache
from hashlib import sha256
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api import i18n, security
from api.deps import Me, Now
from api.pages import STATIC, page
from core.actor import Role
from core.crypto import derived_key
from core.errors import NotFound

router = APIRouter(include_in_schema=False)

#: Vendored files that the phone keeps.
_VENDORED: Final = ("vendor/idb/index.js", "vendor/leaflet/leaflet.js", "vendor/leaflet/leaflet.css")
_OWN: Final = ("wangge.css", "icon.svg")
#: Where the shell answers; the service worker's scope covers it and everything below.
SHELL: Final = "/field"
#: A worker's phone records notes by voice and plays photos and notes from its own store; no other page may.
_HEADERS: Final = {
    "Permissions-Policy": "geolocation=(self), camera=(self), microphone=(self), payment=(), usb=()",
    "Content-Security-Policy": f"{security.CONTENT_POLICY}; media-src 'self' blob:",
    # Asked anew at every visit: an old shell must not outlive the files that it names.
    "Cache-Control": "no-cache",
}
_KEEP: Final = {"Cache-Control": "no-cache"}
#: Edges of the icons in pixels; the maskable ones keep their drawing inside the middle four fifths.
_ICONS: Final = (192, 512)


@router.get("/field")
@router.get("/field/")
def shell(request: Request) -> Response:
    """Answer the shell: no name, no token, nothing of anybody, so that it may be kept on the phone."""
    response = page(request, "field/shell.html")
    response.headers.update(_HEADERS)
    return response


@router.get("/field/manifest.webmanifest")
def manifest(request: Request) -> Response:
    """Answer what makes the page installable (W3C Web Application Manifest), in the language asked for."""
    language = str(request.state.lang)
    icons = [
        {"src": f"/static/field/{name}-{edge}.png", "sizes": f"{edge}x{edge}", "type": "image/png", "purpose": purpose}
        for edge in _ICONS
        for name, purpose in (("icon", "any"), ("maskable", "maskable"))
    ]
    told = {
        "id": SHELL,
        "name": i18n.say("Grid worker's phone"),
        "short_name": i18n.say("Wangge"),
        "description": i18n.say("Report, handle and look again in your cells, with or without a line."),
        "lang": "zh-Hans" if language == "zh" else "en",
        "dir": "ltr",
        "start_url": SHELL,
        "scope": SHELL,
        "display": "standalone",
        "orientation": "portrait",
        "theme_color": "#1c5fa8",
        "background_color": "#f6f7f9",
        "icons": icons,
    }
    return Response(json.dumps(told, ensure_ascii=False), media_type="application/manifest+json", headers=_KEEP)


@router.get("/field/words/{language}.json")
def words(language: str) -> Response:
    """Answer the phone's words: English sentence → the language's. English needs none."""
    if language not in i18n.LANGUAGES:
        raise NotFound("There is no such language.")
    return Response(_words(language), media_type="application/json", headers=_KEEP)


@router.get("/field/sw.js")
def service_worker() -> Response:
    """Answer the service worker with the list of files that it keeps; a changed file changes these bytes."""
    kept = files()
    version = sha256(json.dumps(kept).encode()).hexdigest()[:12]
    head = f"const VERSION = {json.dumps(version)};\nconst FILES = {json.dumps(kept)};\n"
    body = head + (STATIC / "field" / "sw.js").read_text(encoding="utf-8")
    return Response(body, media_type="text/javascript", headers={"Service-Worker-Allowed": SHELL, **_HEADERS})


@router.get("/field/session")
def session(request: Request, actor: Me, at: Now) -> Response:
    """Answer who is signed in on this phone, what an unsafe request must carry, and what time it is here.

    `key`: 32 bytes, base64, that the account's data are sealed with on the phone. It is the same at every sign-in of
    the account and cannot be had without one: what one worker leaves on a phone, the next one cannot read.
    """
    worker = None
    if actor.id is not None:
        sealed = hmac.new(derived_key("phone"), actor.id.bytes, sha256).digest()
        worker = {
            "id": str(actor.id),
            "name": actor.name,
            "may": actor.role is Role.GRID_WORKER,
            "key": base64.b64encode(sealed).decode(),
        }
    told: dict[str, Any] = {
        "worker": worker,
        "csrf": security.csrf_token(request.state.visit),
        "server_time": at.isoformat(),
        "version": sha256(json.dumps(files()).encode()).hexdigest()[:12],
    }
    return JSONResponse(told)


@cache
def files() -> dict[str, str]:
    """Return address → SHA-256 in hexadecimal of every file that the phone needs without a line, shell excepted.

    The shell names the district, which may be loaded anew; it is fetched beside them.
    """
    own = sorted(path.relative_to(STATIC).as_posix() for path in (STATIC / "field").iterdir() if path.name != "sw.js")
    kept = {f"/static/{name}": (STATIC / name).read_bytes() for name in (*_OWN, *_VENDORED, *own)}
    kept |= {f"/field/words/{language}.json": _words(language) for language in i18n.LANGUAGES}
    return {address: sha256(body).hexdigest() for address, body in kept.items()}


@cache
def _words(language: str) -> bytes:
    known = i18n.catalogue() if language == "zh" else {}
    told = {text: known[text] for text in sorted(i18n.of_phone()) if text in known}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()

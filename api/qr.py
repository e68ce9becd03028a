"""Addresses as pictures 二维码, for receipts: inline SVG, made here, so that no picture is fetched and none is kept."""

import io

import segno
from markupsafe import Markup
from starlette.requests import Request

from core.settings import settings


def address(request: Request, path: str) -> str:
    """Return the address under which people outside reach a page: the installation's own, else that of the request."""
    base = settings().public_url.rstrip("/") or f"{request.url.scheme}://{request.url.netloc}"
    return f"{base}{path}"


def drawn(request: Request, path: str) -> Markup:
    """Return the picture of a page's address as SVG without script, style or colours that a dark theme would lose."""
    out = io.BytesIO()
    made = segno.make(address(request, path), error="m", micro=False)
    made.save(out, kind="svg", xmldecl=False, svgns=True, border=4, dark="#000", light="#fff", scale=4, omitsize=False)
    return Markup(out.getvalue().decode())  # noqa: S704  made by us of an address; segno writes paths only

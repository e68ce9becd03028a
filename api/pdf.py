"""PDF files from our own HTML; nothing outside the given text is ever read, neither files nor hosts.

Drawing takes a second of one processor, so one at a time is drawn, and what was drawn a moment ago is kept.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any, Final

from core.errors import Unavailable

_drawing = threading.Lock()
#: Requests that may wait for their turn; more would hold the threads that other pages are served by.
_waiting = threading.BoundedSemaphore(4)
_kept: "OrderedDict[Hashable, bytes]" = OrderedDict()
_MOST_KEPT: Final = 64
#: How long a request waits for its turn to draw.
_PATIENCE_S: Final = 20.0


def draw(key: Hashable, html: Callable[[], str], *, css: str) -> bytes:
    """Return the PDF of a page, from memory where the same key was drawn a moment ago.

    key: everything that the page depends on. html: makes the page, escaped. css: our own style.
    Raises Unavailable where the machine lacks what draws, or too many wait.
    """
    known = _kept.get(key)
    if known is not None:
        return known
    busy = Unavailable("Too many files are being drawn at the moment; try again in a minute.")
    if not _waiting.acquire(blocking=False):
        raise busy
    try:
        if not _drawing.acquire(timeout=_PATIENCE_S):
            raise busy
        try:
            return _kept_or_drawn(key, html, css)
        finally:
            _drawing.release()
    finally:
        _waiting.release()


def _kept_or_drawn(key: Hashable, html: Callable[[], str], css: str) -> bytes:
    """Return what another request has drawn meanwhile, or draw; only who holds the lock may call."""
    known = _kept.get(key)
    if known is None:
        known = _kept[key] = _drawn(html(), css)
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    return known


def _drawn(html: str, css: str) -> bytes:
    weasyprint = _program()
    closed = _closed()
    style = weasyprint.CSS(string=css, url_fetcher=closed)
    made: bytes = weasyprint.HTML(string=html, url_fetcher=closed, base_url=None).write_pdf(stylesheets=[style])
    return made


@cache
def _program() -> Any:
    """Return the program that draws; imported late, because it takes a second and few processes draw."""
    from PIL import ImageFile

    try:
        import weasyprint
    except OSError as error:
        # Pango is a library of the distribution, which setup.sh installs.
        raise Unavailable("This machine cannot make PDF files; print the page instead.") from error
    finally:
        # WeasyPrint lets Pillow read broken pictures, for the whole process: uploads would lose a check by it.
        ImageFile.LOAD_TRUNCATED_IMAGES = False
    return weasyprint


@cache
def _closed() -> Any:
    """Return a fetcher that refuses every address."""
    _program()
    from weasyprint.urls import URLFetcher

    class Closed(URLFetcher):  # type: ignore[misc]  # the package ships no types
        """Refuses hosts, files and everything else that a page might name."""

        def fetch(self, url: str, headers: Any = None) -> Any:
            """Refuse; whatever wanted it is left out."""
            del headers
            message = f"nothing is fetched for a PDF: {url[:80]}"
            raise ValueError(message)

    return Closed()

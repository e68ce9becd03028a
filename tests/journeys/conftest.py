"""Seats at desks: signed-in pages in a real browser, and what they did wrong."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests import tiny

#: When an expectation is given up: a machine with other files on it answers late, and the models are read once. It ends
#: what hangs; nothing waits as long that need not.
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture
def faults() -> list[str]:
    """What pages did wrong: console errors, script errors, foreign hosts."""
    return []


def _left(said: ConsoleMessage) -> bool:
    """Return whether htmx only says that a page was left while an answer was on its way."""
    return said.text.startswith(("htmx:sendAbort", "htmx:afterRequest"))


@pytest.fixture
def seat(chromium: Browser, server: str, faults: list[str]) -> Iterator[Callable[..., Page]]:
    """Return a function: login → a signed-in page at a desk of 1366 × 768."""
    contexts: list[BrowserContext] = []

    def sit(login: str, *, axe: bool = False) -> Page:
        context = chromium.new_context(viewport={"width": 1366, "height": 768}, locale="zh-CN", bypass_csp=axe)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" and not _left(said) else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith((server, "data:", "blob:")) else faults.append(r.url))
        page.goto(f"{server}/login")
        page.fill("#f-login", login)
        page.fill("#f-password", tiny.PASSWORD)
        page.press("#f-password", "Enter")
        page.wait_for_url(lambda url: "/login" not in url)
        return page

    yield sit
    for context in contexts:
        context.close()

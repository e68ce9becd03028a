"""The resident's pages in a real browser: nothing foreign, no console errors, accessible, and no report is lost."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from api.pages import STATIC

pytestmark = pytest.mark.journey
TEXT = "青石街30号门前的井盖缺了一角，电动车容易摔倒，请修。"


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport={"width": 390, "height": 844}, locale="zh-CN", bypass_csp=True)
    made.set_default_timeout(20_000)
    yield made
    made.close()


def watched(context: BrowserContext, server: str) -> tuple[Page, list[str]]:
    """Return a page and the list of what it did wrong: foreign hosts, console errors, script errors."""
    page, faults = context.new_page(), []
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith((server, "data:", "blob:")) else faults.append(r.url))
    return page, faults


def test_report_to_receipt_to_progress(context: BrowserContext, server: str) -> None:
    page, faults = watched(context, server)
    page.goto(server)
    page.fill("#f-text", TEXT)
    page.wait_for_selector("#understood section")
    page.click("#open-map")
    page.wait_for_selector("#map path")
    page.click("#send")
    page.wait_for_url("**/receipt/**")
    number = (page.text_content("#number") or "").replace(" ", "")
    page.goto(f"{server}/progress/{number}")
    assert TEXT in (page.text_content("main") or "")
    assert faults == []


def test_a_report_without_a_line_is_kept_and_sent_later_once(context: BrowserContext, server: str) -> None:
    page = context.new_page()
    page.goto(server)
    page.fill("#f-text", TEXT)
    context.set_offline(True)
    page.click("#send")
    page.wait_for_selector("#kept:not([hidden])")
    page.close()
    context.set_offline(False)
    context.clear_cookies()
    later = context.new_page()
    later.goto(server)
    later.wait_for_url("**/receipt/**")
    again = context.new_page()
    again.goto(server)
    again.wait_for_timeout(500)
    assert again.input_value("#f-text") == ""
    assert "/receipt/" not in again.url


def test_a_503_keeps_the_report_too(context: BrowserContext, server: str) -> None:
    page = context.new_page()
    page.goto(server)
    page.fill("#f-text", TEXT)
    page.route("**/report", lambda route: route.fulfill(status=503, body=""))
    page.click("#send")
    page.wait_for_selector("#kept:not([hidden])")
    page.unroute("**/report")
    page.evaluate("window.dispatchEvent(new Event('online'))")
    page.wait_for_url("**/receipt/**")


def test_the_form_works_without_scripts(chromium: Browser, server: str) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(server)
    page.fill("#f-text", TEXT)
    page.click("#send")
    page.wait_for_url("**/receipt/**")
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation(context: BrowserContext, server: str, theme: str) -> None:
    axe = (STATIC / "vendor" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    page = context.new_page()
    for path in ("/", "/progress", "/login", "/nothing"):
        page.goto(f"{server}{path}?theme={theme}")
        page.evaluate(axe)
        found = page.evaluate("axe.run(document)")["violations"]
        assert [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in found] == [], path


@pytest.mark.parametrize("path", ["/", "/progress", "/login"])
def test_pages_fit_a_phone_also_in_large_type(context: BrowserContext, server: str, path: str) -> None:
    page = context.new_page()
    page.goto(f"{server}{path}?type=large")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    small = page.evaluate(
        "[...document.querySelectorAll('button, .button, nav a, input:not([type=hidden]):not(.sr), select')]"
        ".filter(e => e.offsetParent && e.getBoundingClientRect().height < 44).map(e => e.outerHTML.slice(0, 80))"
    )
    assert small == []

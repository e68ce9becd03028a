"""Every face in a real browser, as the people who use it: no foreign host, no console error, no axe violation."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from starlette.testclient import TestClient

from api.pages import STATIC
from tests import tiny

pytestmark = pytest.mark.journey
#: login → where to begin; pages that these link to are visited, too.
STARTS = {
    "operator": ["/desk", "/desk/new", "/cases?box=all", "/map"],
    "supervisor": ["/desk", "/cases", "/map", "/map/report"],
    "streets": ["/unit", "/map"],
    "official": ["/map", "/map/report", "/cases"],
}
MOST_PAGES = 10
TEXTS = [
    "滨湖路18号门口的垃圾三天没有清运，味道很大。",
    "青石街30号门前的井盖缺了一角，电动车容易摔倒。",
    "石桥新村一直停水，打电话也没有人接。",
]


@pytest.fixture(scope="module", autouse=True)
def _some_cases(district: tiny.Tiny) -> None:
    from api.app import app

    with TestClient(app) as client:
        for text in TEXTS:
            assert client.post("/api/v1/reports", json={"text": text}).status_code == 201


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport={"width": 1366, "height": 768}, locale="zh-CN")
    made.set_default_timeout(30_000)
    yield made
    made.close()


def sign_in(page: Page, server: str, login: str) -> None:
    page.goto(f"{server}/login")
    page.fill("#f-login", login)
    page.fill("#f-password", tiny.PASSWORD)
    page.click("main button")
    page.wait_for_load_state()
    assert "/login" not in page.url


def links(page: Page, server: str) -> list[str]:
    """Return the addresses of this site that a page links to, without files and without the display switches."""
    found = page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")
    skipped = ("/static/", "/photos/", "/tiles/")
    return [
        link.split("#")[0]
        for link in found
        if link.startswith(server)
        and not urlsplit(link).path.startswith(skipped)
        and not parse_qs(urlsplit(link).query).keys() & {"lang", "type", "theme"}
    ]


@pytest.mark.parametrize("login", sorted(STARTS))
def test_no_page_names_a_foreign_host_or_writes_an_error(context: BrowserContext, server: str, login: str) -> None:
    page = context.new_page()
    sign_in(page, server, login)
    faults: list[str] = []
    page.on("console", lambda m: faults.append(f"{page.url}: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
    page.on("request", lambda r: None if r.url.startswith((server, "data:", "blob:")) else faults.append(r.url))
    waiting, seen = [server + path for path in STARTS[login]], set()
    while waiting and len(seen) < MOST_PAGES:
        address = waiting.pop(0)
        if address in seen:
            continue
        seen.add(address)
        answer = page.goto(address)
        assert answer is not None
        assert answer.status == 200, address
        page.wait_for_timeout(300)
        waiting += links(page, server)
    assert faults == []


@pytest.mark.parametrize("login", sorted(STARTS))
def test_axe_finds_no_violation_on_the_faces(chromium: Browser, server: str, login: str) -> None:
    axe = (STATIC / "vendor" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    context = chromium.new_context(viewport={"width": 1366, "height": 768}, locale="zh-CN", bypass_csp=True)
    page = context.new_page()
    sign_in(page, server, login)
    violations = {}
    for path in STARTS[login]:
        page.goto(server + path)
        page.wait_for_timeout(500)
        page.evaluate(axe)
        # Inside frames stand report maps of folium, which are pictures to look at, with a table beside them.
        found = page.evaluate("axe.run({exclude: [['iframe']]})")["violations"]
        if found:
            violations[path] = [(fault["id"], [node["html"][:200] for node in fault["nodes"]][:3]) for fault in found]
    context.close()
    assert violations == {}

"""A resident finds out on a phone what an item needs, and reads the same sheet on a desk, in print and as a file."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from api import vendor
from tests import tiny
from tests.web.test_items import CODE, items

pytestmark = pytest.mark.journey
__all__ = ["items"]

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1366, "height": 768}


@pytest.fixture(params=[PHONE, DESK], ids=["phone", "desk"])
def page(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    context = chromium.new_context(viewport=request.param, locale="zh-CN", accept_downloads=True)
    context.set_default_timeout(30_000)
    made = context.new_page()
    faults: list[str] = []
    made.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    made.on("pageerror", lambda error: faults.append(str(error)))
    yield made
    context.close()
    assert faults == []


def test_a_resident_finds_an_item_and_what_it_needs(page: Page, server: str, items: None, district: tiny.Tiny) -> None:
    page.goto(f"{server}/")
    page.get_by_role("link", name="办事指南").click()
    page.get_by_role("searchbox").fill("开饭店 不存在")
    page.get_by_role("button", name="应用").click()
    assert page.get_by_text("没有符合的事项").is_visible()
    page.get_by_role("link", name="清除").click()
    page.get_by_role("searchbox").fill("试验餐馆")
    page.get_by_role("button", name="应用").click()
    assert "q=" in page.url
    page.get_by_role("link", name="试验食品经营许可").click()
    assert page.get_by_role("heading", level=1).inner_text() == "试验食品经营许可"
    for part in ("受理条件", "申请材料", "办理流程", "办理时限", "收费及依据", "法律依据"):
        assert page.get_by_role("heading", name=part).is_visible()
    assert page.get_by_text("可容缺，5 个工作日内补齐").is_visible()
    file = page.request.get(server + str(page.get_by_role("link", name="PDF").get_attribute("href")))
    assert file.headers["content-type"] == "application/pdf"
    page.get_by_role("link", name="比较版本和镇街").click()
    assert page.get_by_role("cell", name="6 个工作日", exact=True).is_visible()
    assert page.get_by_role("heading", name="望湖镇").is_visible()


@pytest.mark.parametrize("path", ["/items", f"/items/{CODE}", f"/items/{CODE}/compare", "/items?q=nothing"])
def test_the_pages_fit_and_everybody_can_use_them(page: Page, server: str, items: None, path: str) -> None:
    axe = (vendor.FOLDER / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    for display in ("lang=zh&theme=light&type=large", "lang=en&theme=dark&type=normal"):
        page.goto(f"{server}{path}{'&' if '?' in path else '?'}{display}")
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, display
        page.evaluate(axe)
        found = page.evaluate("axe.run(document)")["violations"]
        assert [(one["id"], [node["html"][:120] for node in one["nodes"]][:3]) for one in found] == []


def test_a_printed_sheet_shows_no_buttons(page: Page, server: str, items: None) -> None:
    page.goto(f"{server}/items/{CODE}?lang=zh")
    page.emulate_media(media="print")
    assert not page.get_by_role("link", name="PDF").is_visible()
    assert not page.get_by_role("button", name="打印").is_visible()
    shown = page.locator("main").inner_text()
    assert re.search(r"第 2 版.*起施行", shown)
    assert "来源" in shown

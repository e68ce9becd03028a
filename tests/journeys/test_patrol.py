"""A grid worker with a phone: reports what lies on the way with a photo and the phone's position, and settles it there."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from api.pages import STATIC
from tests import tiny
from tests.web import counters

pytestmark = pytest.mark.journey
Seat = Callable[..., Page]
PHONE = {"width": 390, "height": 844}


def test_a_find_is_reported_from_where_one_stands_and_settled_on_the_spot(
    seat: Seat, server: str, faults: list[str], district: tiny.Tiny
) -> None:
    lng, lat = district.in_west
    page = seat("gridwest")
    page.set_viewport_size(PHONE)
    page.context.grant_permissions(["geolocation"], origin=server)
    page.context.set_geolocation({"longitude": lng, "latitude": lat, "accuracy": 12})
    page.goto(f"{server}/patrol")
    page.get_by_role("link", name="上报事件").click()
    page.get_by_label("照片").set_input_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": counters.picture()})
    page.get_by_label("类别").fill("1001")
    page.get_by_label("看到了什么？").fill("绿化带里有一堆垃圾。")
    page.get_by_role("button", name="使用我的位置").click()
    expect(page.locator("#place-words")).to_contain_text("12")
    page.get_by_role("button", name="提交").click()
    expect(page.locator(".said.words")).to_have_text("绿化带里有一堆垃圾。")
    page.get_by_label("处置情况").fill("已清理带走。")
    page.get_by_role("button", name="当场处置").click()
    expect(page.get_by_role("status").first).to_contain_text("当场处置")
    page.get_by_role("link", name="返回列表").click()
    expect(page.get_by_text("绿化带里有一堆垃圾。")).to_have_count(0)
    assert faults == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_patrol_pages_fit_a_phone_and_everybody_can_use_them(
    seat: Seat, server: str, theme: str, district: tiny.Tiny
) -> None:
    axe = (STATIC / "vendor" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    page = seat("gridwest", axe=True)
    page.set_viewport_size(PHONE)
    page.goto(f"{server}/patrol/new")
    page.get_by_label("类别").fill("1001")
    page.get_by_label("看到了什么？").fill("井盖松动。")
    page.get_by_label("经度 (WGS84)").fill(str(district.in_west[0]))
    page.get_by_label("纬度 (WGS84)").fill(str(district.in_west[1]))
    page.get_by_role("button", name="提交").click()
    expect(page.locator(".said.words")).to_have_text("井盖松动。")
    one = page.url.removeprefix(server)
    for path in ("/patrol", "/patrol/new", one):
        for size in ("normal", "large"):
            page.goto(f"{server}{path}?theme={theme}&type={size}")
            assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, (path, size)
        page.evaluate("document.querySelectorAll('details:not([name])').forEach((part) => { part.open = true; })")
        page.evaluate(axe)
        found = page.evaluate("axe.run(document)")["violations"]
        assert [(f["id"], [node["html"][:120] for node in f["nodes"]]) for f in found] == [], path

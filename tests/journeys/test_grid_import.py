"""A file of cells with faults, in a real browser: seen on the map, mended by a press, planned; both languages, any width."""

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from api import vendor, wiring
from tests import tiny
from tests.journeys.test_every_page import DATA, WORDS, left_over
from tests.web.test_grid_import import bent, told

pytestmark = pytest.mark.journey

LOOKS = (("zh", "light", 390), ("en", "dark", 1366), ("en", "light", 360), ("zh", "dark", 1366))
#: Where pictures are put for whoever wants to look; nowhere by default.
SHOTS = os.environ.get("WANGGE_SHOTS", "")


def look(page: Page, name: str) -> list[str]:
    """Return what is wrong with the page as it stands, in both languages and themes, on a phone and on a desk."""
    axe = (vendor.FOLDER / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    faults: list[str] = []
    address = page.url.split("?")[0]
    for language, theme, width in LOOKS:
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(f"{address}?lang={language}&theme={theme}")
        if page.locator("#import-map").count():
            expect(page.locator("#import-map[data-ready]")).to_be_visible()
        page.evaluate(axe)
        violations = page.evaluate("axe.run(document)")["violations"]
        faults += [f"{name}: {v['id']}: {[n['html'][:200] for n in v['nodes']][:3]}" for v in violations]
        if page.evaluate("document.documentElement.scrollWidth - window.innerWidth") > 0:
            faults.append(f"{name} is too wide at {width}")
        if left := left_over(page.evaluate(WORDS, DATA), language):
            faults.append(f"{name} ({language}): {sorted(left)}")
        if SHOTS:
            page.screenshot(path=Path(SHOTS) / f"{name}-{language}-{theme}-{width}.png", full_page=True)
    page.set_viewport_size({"width": 1366, "height": 768})
    page.goto(f"{address}?lang=zh&theme=light")
    return faults


def test_a_faulty_file_is_seen_mended_and_planned(seat, faults: list[str], tmp_path: Path) -> None:
    features = bent(bent(told(tiny.DISTRICT), 0, -3), 5, 4)
    features[2]["properties"]["households"] = 30
    file = tmp_path / "网格边界.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    page = seat("supervisor", axe=True)
    page.goto(page.url.split("/desk")[0] + "/grid/import")
    found = look(page, "list")
    page.get_by_label("地图文件").set_input_files(file)
    page.get_by_label("坐标基准").select_option("CGCS2000")
    page.get_by_role("button", name="读取并检查").click()
    page.wait_for_url("**/grid/import/*")
    assert page.get_by_role("button", name="排定", exact=True).count() == 0, "what is refused cannot be planned"
    found += look(page, "draft")
    expect(page.locator("#import-map[data-ready]")).to_be_visible()
    page.locator("[data-show]").first.click()
    expect(page.locator(".findings li.lit")).to_have_count(1)
    page.get_by_role("button", name="采纳全部").click()
    expect(page.get_by_role("status")).to_contain_text("重新检查")
    page.reload()
    found += look(page, "mended")
    page.locator("#f-day").fill(f"{wiring.now() + timedelta(days=20):%Y-%m-%d}")
    page.locator("#f-reason").fill("重划边界")
    page.locator("#f-document").fill("望网格〔2026〕7号")
    page.get_by_role("button", name="排定", exact=True).click()
    expect(page.get_by_text("此次导入已排定")).to_be_visible()
    found += look(page, "planned")
    assert not found, "\n".join(found)
    assert faults == []

"""A planner changes the grid in a real browser: with the mouse, with the keyboard alone, and over a reload."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import text

from api import vendor
from core.actor import system
from core.db import snapshot, transaction
from grid import changes, versions
from tests import tiny

pytestmark = pytest.mark.journey

COMMUNITY = f"{tiny.WEST}001"
ADDRESS = f"/grid/editor?community={COMMUNITY}"


@pytest.fixture(autouse=True)
def _put_back(district: tiny.Tiny) -> Iterator[None]:
    """Call off what a test planned, so that each begins with the two cells of the community."""
    yield
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        sql = text("SELECT id FROM cell_change WHERE district_code = :d AND state IN ('proposed', 'planned')")
        for key in list(session.scalars(sql, {"d": tiny.DISTRICT})):
            changes.cancel(session, key, reason="试验结束", at=datetime.now(UTC))
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        assert versions.today(session, communities=[COMMUNITY]).cells.code == [f"{COMMUNITY}001", f"{COMMUNITY}002"]


def opened(page: Page, server: str) -> None:
    page.goto(server + ADDRESS)
    expect(page.locator("#cells tr")).to_have_count(2)
    expect(page.locator("#grid-map path.g-cell")).to_have_count(2)


def test_a_cell_is_split_by_a_line_dragged_and_planned(
    seat: Callable[..., Page], server: str, faults: list[str]
) -> None:
    page = seat("supervisor")
    opened(page, server)
    page.locator("#cells input").first.check()
    page.get_by_role("button", name="按线拆分").click()
    box = page.locator("#grid-map path.chosen").bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    page.mouse.click(box["x"] - 15, middle - 30)
    page.mouse.click(box["x"] + box["width"] + 15, middle + 20)
    page.mouse.dblclick(box["x"] + box["width"] + 16, middle + 20)
    expect(page.locator("#cells tr")).to_have_count(3)
    expect(page.locator("#grid-map path.g-cell.changed")).to_have_count(2)
    page.get_by_label("原因").fill("人口增加，拆分网格")
    page.get_by_label("决定文号").fill("望网格〔2026〕5号")
    page.get_by_role("button", name="登记并查看影响").click()
    page.wait_for_url(re.compile("/grid/changes/"))
    expect(page.get_by_role("heading", name="拆分")).to_be_visible()
    expect(page.locator("main")).to_contain_text("件在办案件")
    assert faults == []


def test_corners_that_neighbours_share_move_together(seat: Callable[..., Page], server: str, faults: list[str]) -> None:
    page = seat("supervisor")
    opened(page, server)
    page.locator("#cells input").first.check()
    page.get_by_role("button", name="拖动角点").click()
    expect(page.locator("#grid-map .marker-icon:not(.marker-icon-middle)").first).to_be_visible()
    cell, other = (page.locator("#grid-map path.g-cell").nth(i).bounding_box() for i in (0, 1))
    assert cell
    assert other
    # The corner at the north end of the seam, which lies on the community's own outline: it slides along it.
    seam = max(cell["x"], other["x"])
    page.mouse.move(seam, cell["y"] + 1)
    page.mouse.down()
    page.mouse.move(seam + 40, cell["y"] + 1, steps=6)
    page.mouse.up()
    expect(page.locator("#grid-map path.g-cell.changed")).to_have_count(2)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="撤销", exact=False).first.click()
    expect(page.locator("#grid-map path.g-cell.changed")).to_have_count(0)
    assert faults == []


def test_everything_is_done_from_the_list_with_the_keyboard_alone(
    seat: Callable[..., Page], server: str, faults: list[str]
) -> None:
    page = seat("supervisor")
    opened(page, server)
    page.locator("#cells input").first.focus()
    page.keyboard.press("Space")
    page.get_by_label("份数").fill("3")
    page.get_by_role("button", name="平均拆分").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#cells tr")).to_have_count(4)
    for i in (0, 2):
        box = page.locator("#cells input").nth(i)
        if not box.is_checked():
            box.focus()
            page.keyboard.press("Space")
    page.get_by_role("button", name="合并所选").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#cells tr")).to_have_count(3)
    page.keyboard.press("Control+z")
    expect(page.locator("#cells tr")).to_have_count(4)
    page.keyboard.press("Control+y")
    expect(page.locator("#cells tr")).to_have_count(3)
    page.get_by_label("清点户数").fill("333")
    page.get_by_role("button", name="设置").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#cells")).to_contain_text("333")
    assert faults == []


def test_unsaved_work_survives_a_reload_and_can_be_dropped(
    seat: Callable[..., Page], server: str, faults: list[str]
) -> None:
    page = seat("supervisor")
    opened(page, server)
    page.locator("#cells input").first.check()
    page.get_by_role("button", name="平均拆分").click()
    expect(page.locator("#cells tr")).to_have_count(3)
    page.reload()
    expect(page.locator("#cells tr")).to_have_count(3)
    expect(page.locator("#told")).to_contain_text("未保存的改动已恢复")
    page.get_by_role("button", name="撤销", exact=False).first.click()
    expect(page.locator("#cells tr")).to_have_count(2)
    page.keyboard.press("Control+y")
    page.get_by_role("button", name="放弃全部改动").click()
    expect(page.locator("#cells tr")).to_have_count(2)
    page.reload()
    expect(page.locator("#cells tr")).to_have_count(2)
    assert faults == []


def test_who_comes_second_sees_what_the_first_one_planned(
    seat: Callable[..., Page], server: str, faults: list[str]
) -> None:
    first, second = seat("supervisor"), seat("admin")
    for page in (first, second):
        opened(page, server)
        page.locator("#cells input").first.check()
        page.get_by_role("button", name="平均拆分").click()
        expect(page.locator("#cells tr")).to_have_count(3)
        page.get_by_label("原因").fill("人口增加")
        page.get_by_label("决定文号").fill("望网格〔2026〕6号")
    first.get_by_role("button", name="登记并查看影响").click()
    first.wait_for_url(re.compile("/grid/changes/"))
    second.get_by_role("button", name="登记并查看影响").click()
    expect(second.locator("#told")).to_contain_text("已在另一项调整中")
    expect(second.locator("#told a")).to_be_visible()
    expect(second.locator("#grid-map path.g-other")).not_to_have_count(0)
    expect(second.locator("#cells tr")).to_have_count(3)
    faults[:] = [line for line in faults if "409" not in line]
    assert faults == []


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (768, 1024)])
def test_the_editor_fits_and_axe_finds_nothing(
    seat: Callable[..., Page], server: str, faults: list[str], width: int, height: int
) -> None:
    page = seat("supervisor", axe=True)
    page.set_viewport_size({"width": width, "height": height})
    axe = (vendor.FOLDER / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    for theme, language in (("light", "zh"), ("dark", "en")):
        page.goto(f"{server}{ADDRESS}&theme={theme}&lang={language}")
        expect(page.locator("#grid-map path.g-cell")).to_have_count(2)
        page.locator("#cells input").first.check()
        page.evaluate(axe)
        found = page.evaluate("axe.run(document)")["violations"]
        assert [(v["id"], [n["html"][:160] for n in v["nodes"]][:3]) for v in found] == []
        assert page.evaluate("(m => m.scrollWidth - m.clientWidth)(document.querySelector('main'))") <= 0
    assert faults == []

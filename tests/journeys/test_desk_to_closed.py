"""A complaint from the operator's desk to its closing, by keyboard and mouse, in a real browser."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from api.pages import STATIC
from core.db import transaction
from dispatch.models import Case
from tests import builders, tiny

pytestmark = pytest.mark.journey

SUGGESTED = {
    "status": "located",
    "places": [
        {
            "lng": lng,
            "lat": 23.004,
            "radius_m": 90,
            "confidence": sure,
            "name": name,
            "why": "place_named",
            "detail": {"name": name},
        }
        for lng, sure, name in ((113.004, 0.55, "望湖中学"), (113.026, 0.35, "临江公园"))
    ],
    "categories": [],
    "doubts": ["The place is not sure.", "The category is not known."],
}
Seat = Callable[..., Page]


def waiting(**known: object) -> str:
    """Write a case that waits on the desk and return its number."""
    with transaction(builders.program(tiny.DISTRICT)) as session:
        case = builders.make_case(
            session,
            district=tiny.DISTRICT,
            at=datetime.now(UTC) - timedelta(hours=1),
            lng=113.004,
            lat=23.004,
            town_code=tiny.WEST,
            place_name="望湖中学",
            suggestions=SUGGESTED,
            **known,
        )
        for clock, limit in (("dispatch", "24h"), ("reply", "5wd")):
            builders.make_deadline(session, case, clock, limit=limit)
        return case.number


def stored(number: str) -> Case:
    with transaction(builders.program(tiny.DISTRICT)) as session:
        case = session.scalars(select(Case).where(Case.district_code == tiny.DISTRICT, Case.number == number)).one()
        session.expunge(case)
        return case


def test_by_keys_alone_from_the_desk_to_a_closed_case(seat: Seat, server: str, faults: list[str]) -> None:
    number = waiting()
    desk = seat("operator")
    desk.goto(f"{server}/desk?case={number}")
    expect(desk.locator(".spot-icon")).to_have_count(2)
    desk.keyboard.press("2")
    expect(desk.locator('input[value="spot-2"]')).to_be_checked()
    desk.keyboard.press("c")
    desk.keyboard.type("占道经营")
    desk.keyboard.press("Tab")
    expect(desk.locator("#proposal")).to_contain_text("区城市管理局")
    desk.keyboard.press("Escape")
    desk.evaluate("document.activeElement.blur()")
    desk.keyboard.press("d")
    expect(desk.locator(f"#r-{number}")).to_contain_text("✓")
    case = stored(number)
    assert (case.state, case.place_name, case.category_code, case.unit_code) == (
        "dispatched",
        "临江公园",
        "1002",
        tiny.STREETS,
    )

    clerk = seat("streets")
    clerk.goto(f"{server}/unit?box=unsigned")
    clerk.locator(f'.pick[value^="{number}:"]').check()
    expect(clerk.locator("#picked")).to_have_text("(1)")
    clerk.keyboard.press("s")
    expect(clerk.locator(".results .good")).to_contain_text("已签收")
    assert stored(number).state == "signed"
    clerk.goto(f"{server}/unit/{number}?back=state%3Dsigned")
    answer = clerk.locator("textarea[name=answer]")
    clerk.locator("select[data-fills]").select_option(index=1)
    expect(answer).not_to_have_value("")
    answer.fill("已到现场清理占道摊贩，并安排早晚巡查。")
    clerk.reload()
    expect(answer).to_have_value("已到现场清理占道摊贩，并安排早晚巡查。"), "a draft outlives a reload"
    clerk.locator(f'form[action="/unit/{number}/reply"] button').last.click()
    clerk.wait_for_url("**/unit?state=signed&done=**")
    assert stored(number).state == "replied"

    desk.goto(f"{server}/desk?box=answered&case={number}")
    expect(desk.locator('details.step[data-action="callback"]')).to_have_attribute("open", "")
    desk.locator(f'form[action="/desk/case/{number}/callback"] [name=satisfaction][value="5"]').check()
    desk.locator(f'form[action="/desk/case/{number}/callback"] button').last.click()
    expect(desk.locator("[data-said]")).to_be_visible()
    closed = stored(number)
    assert (closed.state, closed.satisfaction, closed.open) == ("closed", 5, False)
    assert faults == []


def test_a_click_on_the_map_corrects_the_place(seat: Seat, server: str, faults: list[str]) -> None:
    number = waiting(category_code="1001")
    desk = seat("operator")
    desk.goto(f"{server}/desk?case={number}")
    expect(desk.locator(".spot-icon")).to_have_count(2)
    box = desk.locator("#map").bounding_box()
    assert box
    desk.mouse.click(box["x"] + box["width"] / 2 + 40, box["y"] + box["height"] / 2 + 40)
    expect(desk.locator('input[name="place"][value="point"]')).to_be_checked()
    desk.fill("#f-place-name", "学校与公园之间")
    desk.locator('#save button[value="correct"]').click()
    expect(desk.locator("[data-said]")).to_be_visible()
    case = stored(number)
    assert (case.state, case.place_name, case.place_by) == ("received", "学校与公园之间", "operator")
    assert case.source_lng is not None
    assert 113.0 < case.source_lng < 113.04
    assert faults == []


def test_two_windows_on_one_case_lose_no_word(seat: Seat, server: str) -> None:
    number = waiting(category_code="1001")
    first, second = seat("operator"), seat("supervisor")
    first.goto(f"{server}/desk?case={number}")
    first.fill("#f-note", "来电人明天在家")
    second.goto(f"{server}/desk?case={number}")
    note = f'form[action="/desk/case/{number}/note"]'
    second.locator(note).locator("xpath=..").locator("summary").click()
    second.fill(f"{note} textarea[name=note]", "督查已关注")
    second.locator(f"{note} button").last.click()
    expect(second.locator("[data-said]")).to_be_visible()
    first.locator('#save button[value="dispatch"]').click()
    expect(first.locator("#detail [role=alert]").first).to_contain_text("督查已关注")
    expect(first.locator("#f-note")).to_have_value("来电人明天在家")
    first.locator('#save button[value="dispatch"]').click()
    expect(first.locator(f"#r-{number}")).to_contain_text("✓")
    assert stored(number).state == "dispatched"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation_on_the_working_pages(seat: Seat, server: str, theme: str) -> None:
    number = waiting(phone="13800138000")
    with_unit = waiting(unit=tiny.STREETS, state="signed", process_version=2)
    axe = (STATIC / "vendor" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    pages = {
        "operator": (f"/desk?case={number}", "/desk?box=ended", "/desk/new", f"/cases/{number}", "/cases"),
        "streets": ("/unit", "/unit?box=all", f"/unit/{with_unit}", f"/unit?box=inhand&case={with_unit}"),
    }
    for login, paths in pages.items():
        page = seat(login, axe=True)
        for path in paths:
            page.goto(f"{server}{path}{'&' if '?' in path else '?'}theme={theme}")
            page.wait_for_timeout(300)
            # What is folded is looked at, too.
            page.evaluate("document.querySelectorAll('details:not([name])').forEach((part) => { part.open = true; })")
            page.evaluate(axe)
            found = page.evaluate("axe.run(document)")["violations"]
            assert [(f["id"], [node["html"][:120] for node in f["nodes"]]) for f in found] == [], path


def test_working_pages_fit_a_phone(chromium: Browser, seat: Seat, server: str) -> None:
    number = waiting()
    with_unit = waiting(unit=tiny.STREETS, state="signed", process_version=2)
    for login, paths in {
        "operator": (f"/desk?case={number}", "/desk/new", f"/cases/{number}"),
        "streets": ("/unit", f"/unit/{with_unit}"),
    }.items():
        page = seat(login)
        page.set_viewport_size({"width": 390, "height": 844})
        for path in paths:
            for size in ("normal", "large"):
                page.goto(f"{server}{path}{'&' if '?' in path else '?'}type={size}")
                wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
                assert wide <= 0, (path, size)


def test_the_inbox_works_by_keys_and_none_acts_while_somebody_types(seat: Seat, server: str, faults: list[str]) -> None:
    numbers = [waiting(unit=tiny.STREETS, state="signed", process_version=2, title=f"第{n}件") for n in (1, 2)]
    clerk = seat("streets")
    clerk.goto(f"{server}/unit?q=第&box=inhand&sort=oldest")
    current = clerk.locator(".item[aria-current]")
    expect(current).to_have_attribute("data-number", numbers[0])
    clerk.keyboard.press("j")
    expect(clerk.locator("article.case")).to_have_attribute("data-number", numbers[1])
    expect(current).to_have_attribute("data-number", numbers[1])
    assert f"case={numbers[1]}" in clerk.url, "the address leads back to what is shown"
    clerk.keyboard.press("?")
    expect(clerk.locator("#help")).to_be_visible()
    clerk.keyboard.press("j")
    expect(current).to_have_attribute("data-number", numbers[1])
    clerk.keyboard.press("Escape")
    expect(clerk.locator("#help")).to_be_hidden()
    clerk.keyboard.press("r")
    expect(clerk.locator("textarea[name=answer]")).to_be_focused()
    clerk.keyboard.type("js?r 已办")
    expect(clerk.locator("textarea[name=answer]")).to_have_value("js?r 已办")
    clerk.keyboard.press("Escape")
    clerk.keyboard.press("k")
    expect(clerk.locator("article.case")).to_have_attribute("data-number", numbers[0])
    clerk.keyboard.press("/")
    expect(clerk.locator("#search")).to_be_focused()
    clerk.keyboard.press("Escape")
    clerk.keyboard.press("Enter")
    clerk.wait_for_url(f"**/unit/{numbers[0]}?**")
    expect(clerk.locator("#h-log")).to_be_visible()
    assert faults == []


def test_on_a_phone_the_list_leads_to_the_case_and_back(seat: Seat, server: str) -> None:
    number = waiting(unit=tiny.STREETS, state="signed", process_version=2, title="手机上看")
    clerk = seat("streets")
    clerk.set_viewport_size({"width": 390, "height": 844})
    clerk.goto(f"{server}/unit?q=手机上看")
    expect(clerk.locator("#detail")).to_be_hidden()
    clerk.locator(f"#r-{number}").click()
    clerk.wait_for_url(f"**/unit/{number}?**")
    expect(clerk.locator("textarea[name=answer]")).to_be_visible()
    clerk.get_by_role("link", name="返回列表").click()
    expect(clerk.locator(f"#r-{number}")).to_be_visible()
    assert "q=" in clerk.url, "the filter is kept"

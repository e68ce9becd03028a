"""One screen from the words to the unit, by keys alone and counted; drafts outlive browser and server."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from core.db import transaction
from dispatch.models import Case
from tests import builders, tiny

pytestmark = pytest.mark.journey

Seat = Callable[..., Page]
KNOWN = "滨湖路18号门口垃圾堆了三天没人清运"
#: Keys from the end of the text until the case is out (issue: at most).
MOST_KEYS = 12


def stored(text: str) -> Case:
    with transaction(builders.program(tiny.DISTRICT)) as session:
        case = session.scalars(select(Case).where(Case.district_code == tiny.DISTRICT, Case.text == text)).one()
        session.expunge(case)
        return case


class Keys:
    """Presses keys and counts them."""

    def __init__(self, page: Page) -> None:
        self.page, self.count = page, 0

    def press(self, key: str) -> None:
        self.count += len(key.split("+"))
        self.page.keyboard.press(key)


def test_a_known_address_is_dispatched_in_at_most_twelve_keys(seat: Seat, server: str, faults: list[str]) -> None:
    desk = seat("operator")
    desk.goto(f"{server}/desk/new")
    expect(desk.locator("#f-text")).to_be_focused()
    desk.keyboard.type(KNOWN)
    expect(desk.locator("#understood [data-spot]").first).to_contain_text("滨湖路18号")
    keys = Keys(desk)
    keys.press("Escape")
    keys.press("a")
    expect(desk.locator("#understood .places")).to_contain_text("已确认")
    if desk.locator('#understood [data-key="1"]').count():
        keys.press("1")
    else:
        keys.press("c")
        desk.keyboard.type("1001")
        keys.count += 4
        keys.press("Tab")
        keys.press("Escape")
        desk.evaluate("document.activeElement.blur()")
    expect(desk.locator("#understood .units input[value=rule]")).to_be_checked()
    expect(desk.locator("#understood .units")).to_contain_text("区城市管理局")
    keys.press("d")
    expect(desk.locator("#receipt")).to_contain_text("区城市管理局")
    case = stored(KNOWN)
    assert (case.state, case.unit_code, case.place_by) == ("dispatched", tiny.STREETS, "operator")
    assert keys.count <= MOST_KEYS, keys.count
    assert faults == []


def test_the_second_caller_of_a_matter_is_merged_by_one_key(seat: Seat, server: str, faults: list[str]) -> None:
    text = "石桥新村3栋楼下的化粪池满溢，污水流到路面上，臭味很大"
    desk = seat("operator")
    desk.goto(f"{server}/desk/new")
    desk.keyboard.type(text)
    expect(desk.locator("#understood [data-spot]").first).to_contain_text("石桥新村")
    desk.keyboard.press("Control+Enter")
    desk.wait_for_url("**/desk?box=open&case=*")
    first = stored(text)
    desk.goto(f"{server}/desk/new")
    desk.keyboard.type(text + "，请尽快处理")
    expect(desk.locator("#understood .twins")).to_contain_text("石桥新村3栋")
    desk.keyboard.press("Escape")
    desk.keyboard.press("m")
    expect(desk.locator("#receipt")).to_be_visible()
    second = stored(text + "，请尽快处理")
    assert (second.state, second.merged_into) == ("merged", first.id)
    assert faults == []


def test_an_emergency_is_handed_over_with_the_name_of_who_took_it(seat: Seat, server: str, faults: list[str]) -> None:
    text = "枫林工业园着火了，有人被困在三楼"
    desk = seat("operator")
    desk.goto(f"{server}/desk/new")
    desk.keyboard.type(text)
    expect(desk.locator("#understood [data-service]")).to_be_visible()
    desk.keyboard.press("Escape")
    desk.keyboard.press("h")
    expect(desk.locator("#f-service")).to_have_value("119")
    desk.keyboard.type("消防指挥中心 07 号")
    desk.keyboard.press("Tab")
    desk.keyboard.type("正在燃烧，有人被困")
    desk.keyboard.press("Tab")
    desk.keyboard.press("Enter")
    expect(desk.locator("#receipt")).to_be_visible()
    assert stored(text).state == "handed_over"
    assert faults == []

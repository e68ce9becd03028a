"""A grid worker's way through the registers in a real browser, and every page of them looked at in both languages."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from api import vendor
from core.db import transaction
from grid.registers import events, keeping, people
from grid.registers.events import Position, Told
from tests import registers as own
from tests import tiny
from tests.journeys.test_every_page import DATA, DESK, PHONE, WORDS, left_over

pytestmark = pytest.mark.journey
LOOKS = (("zh", "light", PHONE), ("en", "dark", DESK), ("en", "light", PHONE))


@pytest.fixture(scope="module")
def known(district: tiny.Tiny) -> dict[str, uuid.UUID]:
    """Put a building with two households, a rental, a firm, a key place and a part into the west's first cell."""
    del district
    with transaction(own.PROGRAM) as session:
        own.give(session, [own.WEST_CELL], ["census", "civil_affairs", "safety", "market"], login="gridwest")
    with transaction(own.ADMIN) as session:
        may, then = own.reach(session), own.told(own.EARLIER)
        house = own.building(session, (113.005, 23.005))
        rooms = [
            keeping.enter(session, may, "room", {"number": n, "use": use, "entrance": "1"}, told=then, inside=house.id)
            for n, use in (("501", "lived"), ("302", "let"))
        ]
        head = own.resident(session, rooms[0], relation="head", id_number=own.card("19680304"), phone="13900001234")
        own.resident(session, head.household_id or head.id, relation="spouse", name="李秀英", sex="f")
        old = own.resident(session, rooms[1], name="欧阳修之", birth_date="1940-05-06", sex="m")
        events.change(session, old, {"care": ["living_alone"]}, told=own.told())
        gone = own.resident(session, rooms[0], name="孙旧人")
        left = Told(own.EARLIER + timedelta(days=1), datetime.now(UTC))
        people.move_out(session, may, gone.id, version=1, told=left)
        lease = {"landlord_name": "王房东", "landlord_phone": "13900009999", "lease_from": "2024-01-01"}
        keeping.enter(session, may, "tenancy", lease, told=own.told(), inside=rooms[1].id)
        spot = Position(113.005, 23.005)
        for register, given in (
            ("organisation", {"name": "试验便民超市", "kind": "sole_trader", "contact": "赵老板"}),
            ("key_place", {"name": "试验旅店", "kind": "hotel", "risk": "high", "duty": "safety", "every_days": "30"}),
            ("part", {"code": "9902000101000001", "name": "上水井盖"}),
        ):
            keeping.enter(session, may, register, given, told=own.told(own.EARLIER), position=spot)
        return {
            "head": head.id,
            "household": head.household_id or head.id,
            "house": house.id,
            "room": rooms[0].id,
            "gone": gone.id,
        }


def test_worker_finds_opens_and_moves_somebody_out(
    seat: Callable[..., Page], server: str, known: dict[str, uuid.UUID], faults: list[str]
) -> None:
    page = seat("gridwest")
    page.goto(f"{server}/registers/resident")
    page.get_by_label("姓名、名称或拼音").fill("lixiuying")
    page.get_by_role("button", name="搜索").click()
    page.get_by_role("link", name="李**").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("在住")
    name = page.locator("dt#name + dd")
    name.get_by_text("查看明文").first.click()
    name.get_by_label("用途").or_(name.locator("select")).first.select_option("visit")
    name.locator("input[name=reason]").fill("上门走访前核对")
    name.get_by_role("button").click()
    expect(page.locator("dt#name + dd")).to_contain_text("李秀英")
    expect(page.get_by_text("上门走访前核对")).to_be_visible()
    page.get_by_text("办理迁出").click()
    page.get_by_label("迁往何处").fill("外省")
    page.get_by_role("button", name="登记迁出").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("已迁出")
    page.get_by_text("录入有误").click()
    page.locator("li input[name=reason]").fill("点错了人")
    page.locator("li button").last.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("在住")
    assert faults == []


@pytest.mark.parametrize("login", ["gridwest", "admin", "official", None])
def test_every_page_of_the_registers_in_both_languages(
    seat: Callable[..., Page], server: str, known: dict[str, uuid.UUID], faults: list[str], login: str | None
) -> None:
    paths = {
        "gridwest": (
            *("/registers", "/registers/resident", "/registers/resident?name=nobody", "/registers/key_place"),
            f"/registers/resident/{known['head']}",
            f"/registers/resident/{known['gone']}",
            f"/registers/resident/{known['head']}/edit",
            f"/registers/resident/new?household={known['household']}",
            f"/registers/household/{known['household']}",
            f"/registers/building/{known['house']}",
            f"/registers/room/{known['room']}",
            *("/registers/key_place/new", f"/grid/cells/{own.WEST_CELL}/card"),
        ),
        "admin": tuple(f"/registers/rules/{name}" for name in ("rights", "keeping", "parts", "log")),
        "official": ("/registers", f"/grid/cells/{own.WEST_CELL}/card"),
        None: ("/mydata",),
    }[login]
    page = seat(login or "gridwest", axe=True)
    axe = (vendor.FOLDER / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    found: list[str] = []
    for path in paths:
        for language, theme, (width, height) in LOOKS:
            page.set_viewport_size({"width": width, "height": height})
            answer = page.goto(f"{server}{path}{'&' if '?' in path else '?'}lang={language}&theme={theme}")
            assert answer is not None
            assert answer.status == 200, path
            if (language, width) != ("en", PHONE[0]):
                page.evaluate(axe)
                violations = page.evaluate("axe.run(document)")["violations"]
                found += [f"{path}: {v['id']}: {[n['html'][:160] for n in v['nodes']][:2]}" for v in violations]
            if page.evaluate("document.documentElement.scrollWidth - window.innerWidth") > 0:
                found.append(f"{path} is too wide ({language}, {width})")
            if left := left_over(page.evaluate(WORDS, DATA), language):
                found.append(f"{path} ({language}): {sorted(left)}")
    assert found == []
    assert faults == []

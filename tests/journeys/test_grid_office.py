"""The grid office in a real browser: map and list linked, a hand-over from end to end, and every page as everybody sees it."""

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from api import vendor, wiring
from core.actor import Actor, Role
from core.db import acting_as, snapshot, transaction
from grid import duties, training
from grid.duties import Charge, Handover, Holder
from grid.training import Submission
from tests import tiny
from tests.builders import make_account, make_case, program

pytestmark = pytest.mark.journey

WIDTHS = {"phone": (390, 844), "tablet": (768, 1024), "desk": (1366, 768)}
CELL, NEXT, EMPTY = f"{tiny.WEST}001001", f"{tiny.WEST}001002", f"{tiny.WEST}002001"
Seat = Callable[..., Page]


@pytest.fixture(scope="module")
def people(district: tiny.Tiny) -> dict[str, str]:
    """Two cells with an owner, one of them stood in for, matters that are late, and a certificate."""
    at = wiring.now()
    with transaction(program(tiny.DISTRICT)) as session:
        known = {"district": tiny.DISTRICT, "role": "grid_worker", "town_code": tiny.WEST}
        keys = {name: make_account(session, name=name, **known) for name in ("陈试验", "周试验", "吴试验")}
        everything = list(duties.DUTIES)
        duties.assign(session, Charge([CELL, NEXT], everything, Holder(keys["陈试验"]), at), at=at)
        duties.assign(
            session, Charge([f"{tiny.WEST}002002"], everything[:4], Holder(keys["吴试验"]), at, exception="试点"), at=at
        )
        order = Handover(keys["陈试验"], Holder(keys["吴试验"]), at, at + timedelta(days=6), "病假", cells=[NEXT])
        duties.hand_over(session, order, at=at)
        for days, cell in ((9, CELL), (9, CELL), (1, NEXT)):
            placed = {"town_code": tiny.WEST, "cell_code": cell, "unit": tiny.STREETS, "lng": 113.004, "lat": 23.004}
            made = {"at": at - timedelta(days=days), "due_in": timedelta(days=3), "category_code": "1001"}
            make_case(session, district=tiny.DISTRICT, text="路边垃圾没有清运。", **placed, **made)
        worker = Actor(keys["陈试验"], "陈试验", Role.GRID_WORKER, tiny.DISTRICT, town=tiny.WEST)
        with acting_as(session, worker):
            paper = training.paper(session, "safety")
            answers = {question.id: sorted(question.right) for question, _ in paper.questions}
            training.submit(session, Submission(uuid.uuid4(), "safety", paper.number, paper.digest, answers, at), at=at)
    return {name: str(key) for name, key in keys.items()}


def test_map_and_list_light_each_other_and_lead_to_the_cell(seat: Seat, server: str, people: dict[str, str]) -> None:
    page = seat("westoffice")
    page.goto(f"{server}/grid")
    expect(page.locator("#office-map")).to_have_attribute("data-drawn", "4")
    row = page.locator(f'tr[data-cell="{CELL}"]')
    row.hover()
    expect(row).to_have_class("lit")
    page.locator(f'tr[data-cell="{NEXT}"] a').first.focus()
    expect(page.locator(f'tr[data-cell="{NEXT}"]')).to_have_class("lit")
    page.get_by_role("link", name="无人负责的职责").click()
    expect(page.locator("tr[data-cell]")).to_have_count(2)
    page.locator(f'tr[data-cell="{EMPTY}"] a').first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("001")


def test_a_hand_over_by_keyboard_from_the_list_to_the_notice(
    seat: Seat, server: str, people: dict[str, str], faults: list[str]
) -> None:
    page = seat("westoffice")
    page.goto(f"{server}/grid/handover")
    page.get_by_label("离岗人").select_option(people["陈试验"])
    page.get_by_label("代管人").select_option(people["周试验"])
    page.get_by_role("button", name="查看移交内容").press("Enter")
    page.get_by_label("截止日期").fill("2099-12-31")
    page.get_by_label("原因", exact=True).fill("年假")
    reason = page.get_by_label("仍然安排的理由")
    if reason.count():
        reason.fill("人手不足")
    page.get_by_role("button", name="移交", exact=True).press("Enter")
    expect(page.get_by_role("status").first).to_contain_text("已移交")
    with snapshot(program(tiny.DISTRICT)) as session:
        held = duties.cells_of(session, uuid.UUID(people["陈试验"]), at=wiring.now() + timedelta(minutes=1))
    assert held == []
    assert faults == []


@pytest.mark.parametrize("login", ["westoffice", "gridwest"])
def test_every_page_is_sound_on_every_width_in_both_themes(
    seat: Seat, server: str, people: dict[str, str], faults: list[str], login: str
) -> None:
    page = seat(login)
    axe = (vendor.FOLDER / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    addresses = (
        (
            *("/grid", "/grid?by=covered&show=unpatrolled", "/grid/plan", "/grid/certificates", f"/grid/cells/{CELL}"),
            f"/grid/handover?giver={people['陈试验']}&taker={people['周试验']}",
        )
        if login == "westoffice"
        else ("/training", "/training/safety", "/notices", "/certificates/check")
    )
    looks = (("zh", "light", "phone"), ("en", "dark", "tablet"), ("zh", "dark", "desk"), ("en", "light", "phone"))
    for address in addresses:
        for lang, theme, width in looks:
            page.set_viewport_size(dict(zip(("width", "height"), WIDTHS[width], strict=True)))
            sign = "&" if "?" in address else "?"
            page.goto(f"{server}{address}{sign}lang={lang}&theme={theme}", wait_until="networkidle")
            page.evaluate(axe)
            found = page.evaluate("axe.run(document)")["violations"]
            faults += [f"{page.url}: {v['id']} {[node['html'][:160] for node in v['nodes']][:2]}" for v in found]
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            if wide > 0:
                faults.append(f"{page.url} is {wide} px too wide at {width}")
    assert faults == []

"""An administrator takes two departments' lists in and settles by keyboard what they disagree on."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import text

from api import wiring, worker
from core.actor import system
from core.db import transaction
from grid.registers import templates
from tests import lists, tiny
from tests.lists import number, resident

pytestmark = pytest.mark.journey

_TABLES = ("field_conflict", "link_doubt", "source_row", "resident", "household", "room", "building")


@pytest.fixture
def _rooms(district: tiny.Tiny) -> Iterator[None]:
    def clear() -> None:
        with transaction(system(tiny.DISTRICT, "tests")) as session:
            for table in _TABLES:
                session.execute(text(f"DELETE FROM {table} WHERE district_code = :d"), {"d": tiny.DISTRICT})

    clear()
    lists.give("rooms", lists.rooms(), "housing", clock=wiring.now)
    yield
    clear()


@pytest.mark.usefixtures("_rooms")
def test_two_lists_and_what_they_disagree_on_by_keyboard(
    seat: Callable[..., Page], server: str, faults: list[str], tmp_path: Path
) -> None:
    twin, man = number("2015-03-03", 11), number("1980-05-06", 11)
    first = [
        resident("张伟明", "1980-05-06", id_number=man, phone="10011111111"),
        resident("王小明", "2015-03-03", "102", id_number=twin, phone="10012345678"),
    ]
    second = [
        resident("张伟明", "1980-05-06", "203", id_number=man, phone="10022222222"),
        resident("王小朋", "2015-03-03", "102", phone="10012345678"),
    ]
    page = seat("admin")
    for source, rows in (("police", first), ("health", second)):
        file = tmp_path / f"{source}.xlsx"
        file.write_bytes(templates.filled("residents", rows))
        page.goto(f"{server}/registers/import")
        page.select_option("select[name=source]", source)
        page.set_input_files("#f-file", file)
        page.click("form.card button.primary")
        worker.registers()
        page.reload()
        expect(page.locator("#lists li.card").first).to_contain_text("完成")
    page.goto(f"{server}/registers/doubts")
    expect(page.locator(".decide")).to_have_count(1)
    page.keyboard.press("2")
    expect(page.locator(".decide")).to_have_count(0)
    page.goto(f"{server}/registers/conflicts")
    expect(page.locator("tr.decide")).to_have_count(2)
    page.keyboard.press("j")
    page.keyboard.press("1")
    expect(page.locator("tr.decide")).to_have_count(1)
    page.keyboard.press("u")
    expect(page.locator("tr.decide")).to_have_count(2)
    assert not faults

"""One screen from the words to the unit, by keys alone and counted; drafts outlive browser and server."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
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


class Restartable:
    """The program as a process of its own, which is killed and started again on the same port."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "api.app:app", "--port", str(self.port), "--log-level", "warning"]
        self.process = subprocess.Popen(command)
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            try:
                with urlopen(f"{self.url}/healthz", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        raise AssertionError("the server did not start")

    def stop(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def restartable(district: tiny.Tiny) -> Iterator[Restartable]:
    made = Restartable()
    made.start()
    yield made
    made.stop()


def sign_in(page: Page, server: str) -> None:
    page.goto(f"{server}/login")
    page.fill("#f-login", "operator")
    page.fill("#f-password", tiny.PASSWORD)
    page.press("#f-password", "Enter")
    page.wait_for_url(lambda url: "/login" not in url, timeout=30_000)


def kill_browser(home: Path) -> None:
    """Kill the browser that has this profile, as a crash would."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if f"--user-data-dir={home}".encode() in words and not any(word.startswith(b"--type=") for word in words):
            os.kill(int(entry.parent.name), signal.SIGKILL)


def test_words_outlive_a_dead_browser_and_a_stopped_server(
    restartable: Restartable, tmp_path: Path, chromium: Browser
) -> None:
    words, later = "青石街10号对面的树倒了，压住了两辆车", "，没有人受伤"
    home = tmp_path / "profile"

    def browse() -> BrowserContext:
        made = chromium.browser_type.launch_persistent_context(
            home, executable_path="/usr/bin/chromium", locale="zh-CN", args=["--no-sandbox", "--disable-gpu"]
        )
        made.set_default_timeout(30_000)
        return made

    page = browse().pages[0]
    sign_in(page, restartable.url)
    page.goto(f"{restartable.url}/desk/new")
    page.keyboard.type(words)
    expect(page.locator("#saved")).to_have_text("已保存", timeout=30_000)
    restartable.stop()
    page.keyboard.type(later)
    expect(page.locator("#saved")).to_contain_text("网络不通", timeout=30_000)
    # Nobody says goodbye: the browser's process is gone.
    kill_browser(home)
    restartable.start()
    context = browse()
    page = context.pages[0]
    sign_in(page, restartable.url)
    page.goto(f"{restartable.url}/desk/new")
    expect(page.locator("#unsent li")).to_have_count(1, timeout=30_000)
    expect(page.locator("#unsent")).to_contain_text(later, timeout=30_000)
    page.locator("#unsent a").first.click()
    expect(page.locator("#f-text")).to_have_value(words + later, timeout=30_000)
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/desk?box=open&case=*")
    page.goto(f"{restartable.url}/desk/new")
    page.wait_for_timeout(1000)
    expect(page.locator("#unsent")).to_have_count(0)
    assert stored(words + later).state in ("received", "dispatched")
    context.close()

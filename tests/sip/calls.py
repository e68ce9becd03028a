"""Real SIP: sipp calls the hotline through kamailio, and the operator's desk in a real browser shows who is calling.

Not part of `make test`: `make test-sip` installs kamailio and sipp and names this file. Everything runs on loopback, on
free ports, and is stopped by its own process id.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from core.actor import system
from core.db import snapshot, transaction
from core.settings import settings
from dispatch.models import Report
from hotline.telephone.bridge import Bridge, Target
from hotline.telephone.models import Call, CallBack
from tests import builders, tiny
from tests.journeys.conftest import faults, seat

__all__ = ["faults", "seat"]

HERE = Path(__file__).resolve().parent
KEY = "sip-test-key-of-forty-characters-or-more"
LINE, EXTENSION, PHONE = "81812345", "8001", "13800138000"


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def running(*argv: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for a while; stop it, and what it forked, by its own process group."""
    with log.open("ab") as out:
        made = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield made
    finally:
        for signal in (15, 9):
            with suppress(ProcessLookupError):
                os.killpg(made.pid, signal)
            with suppress(subprocess.TimeoutExpired):
                made.wait(5)
                break


@pytest.fixture(scope="module")
def modules() -> str:
    """Return where kamailio's modules lie; skips aloud without kamailio or sipp."""
    found = next(iter(Path("/usr/lib").glob("**/kamailio/modules/tm.so")), None)
    if found is None or not shutil.which("sipp") or not _kamailio():
        pytest.skip("kamailio or sipp is not installed: run make test-sip")
    return str(found.parent)


def _kamailio() -> str:
    return shutil.which("kamailio", path=os.environ["PATH"] + ":/usr/sbin") or ""


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, district: tiny.Tiny) -> Iterator[None]:
    del district
    monkeypatch.setenv("WANGGE_TELEPHONE_KEYS", KEY)
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def switchboard(server: str, modules: str, keys: None, tmp_path: Path) -> Iterator[Callable[[str, int], int]]:
    """Start bridge and kamailio; return a function: scenario of the seat and milliseconds it rings → kamailio's port."""
    del keys
    with ExitStack() as stack:
        bridge = Bridge(
            Target(f"{server}/api/v1/telephone/events", KEY.encode()), port=0, now=lambda: datetime.now(UTC)
        )
        bridge.start()
        stack.callback(bridge.stop)
        sip, ear = free_port(), free_port()
        told = {
            "SIP": sip,
            "SEAT": ear,
            "BRIDGE": bridge.port,
            "LINE": LINE,
            "EXTENSION": EXTENSION,
            "MODULES": modules,
        }
        text = (HERE / "kamailio.cfg").read_text(encoding="utf-8")
        for name, value in told.items():
            text = text.replace(f"@{name}@", str(value), text.count(f"@{name}@"))
        config = tmp_path / "kamailio.cfg"
        config.write_text(text, encoding="utf-8")
        argv = [_kamailio(), "-f", str(config), "-DD", "-E", "-Y", str(tmp_path), "-m", "32", "-M", "4", "-w", "/"]
        kamailio = stack.enter_context(running(*argv, log=tmp_path / "kamailio.log"))

        def ring(scenario: str, rings_ms: int) -> int:
            argv = ["sipp", "-sf", str(HERE / scenario), "-i", "127.0.0.1", "-p", str(ear), "-m", "1"]
            stack.enter_context(running(*argv, "-d", str(rings_ms), "-nostdin", log=tmp_path / "seat.log"))
            time.sleep(1.0)
            assert kamailio.poll() is None, (tmp_path / "kamailio.log").read_text(errors="replace")[-2000:]
            return sip

        yield ring


def call(sip: int, scenario: str, talks_ms: int, folder: Path) -> subprocess.Popen[bytes]:
    """Begin to call the hotline from PHONE."""
    numbers = folder / "numbers.csv"
    numbers.write_text(f"SEQUENTIAL\n{PHONE};\n", encoding="utf-8")
    argv = ["sipp", f"127.0.0.1:{sip}", "-sf", str(HERE / scenario), "-s", LINE, "-inf", str(numbers), "-m", "1"]
    argv += ["-i", "127.0.0.1", "-p", str(free_port()), "-d", str(talks_ms), "-nostdin", "-timeout", "30"]
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


@pytest.fixture
def desk(seat: Callable[..., Page], server: str) -> Page:
    page = seat("operator")
    page.goto(f"{server}/desk")
    page.wait_for_selector(".phone-bar")
    # The test before may have left its person sitting there.
    if page.locator("#phone-extension").count():
        page.fill("#phone-extension", EXTENSION)
        page.press("#phone-extension", "Enter")
    expect(page.locator("#phone")).to_contain_text("空闲")
    # The line to the server is up.
    page.wait_for_timeout(1000)
    return page


def told_of_call() -> Call:
    with snapshot(system(tiny.DISTRICT)) as session:
        return session.scalars(
            select(Call).where(Call.district_code == tiny.DISTRICT).order_by(Call.begun_at.desc()).limit(1)
        ).one()


def test_a_call_rings_through_the_switchboard_to_the_desk_and_becomes_a_report(
    switchboard: Callable[[str, int], int], desk: Page, tmp_path: Path, faults: list[str]
) -> None:
    with transaction(builders.program(tiny.DISTRICT)) as session:
        before = builders.make_case(
            session, district=tiny.DISTRICT, phone=PHONE, name="张伟", at=datetime.now(UTC) - timedelta(days=2)
        )
    sip = switchboard("seat.xml", 4000)
    begun = time.perf_counter()
    calling = call(sip, "caller.xml", 9000, tmp_path)
    desk.wait_for_selector(".caller.ringing")
    shown_ms = (time.perf_counter() - begun) * 1000
    sys.stdout.write(f"\nfrom sipp's start to the card on the desk: {shown_ms:.0f} ms\n")
    expect(desk.locator(".caller")).to_contain_text("138****8000")
    expect(desk.locator(".caller")).to_contain_text("张*")
    assert desk.locator(f'.caller-matters a[href="/cases/{before.number}"]').count() == 1
    expect(desk.locator(".caller.talking")).to_be_visible(timeout=8000)
    desk.keyboard.press("F2")
    desk.wait_for_url("**/desk/new?call=*")
    desk.keyboard.type("滨湖路18号门口的垃圾三天没有清运。")
    desk.keyboard.press("Control+Enter")
    desk.wait_for_url("**/desk?box=open&case=*")
    assert calling.wait(20) == 0, "the caller's telephone saw a whole call"
    expect(desk.locator("#phone")).to_contain_text("话后处理")
    desk.keyboard.press("F4")
    expect(desk.locator("#phone")).to_contain_text("空闲")
    told = told_of_call()
    assert (told.extension, told.line, told.cause) == (EXTENSION, LINE, "normal")
    assert told.case_id is not None
    with snapshot(system(tiny.DISTRICT)) as session:
        report = session.scalars(
            select(Report).where(Report.district_code == tiny.DISTRICT, Report.case_id == told.case_id)
        ).one()
    assert (report.channel, report.source_id, report.phone_index) == ("hotline", told.source_id, told.phone_index)
    assert not faults


def test_a_caller_who_gives_up_is_called_back(
    switchboard: Callable[[str, int], int], desk: Page, tmp_path: Path
) -> None:
    sip = switchboard("seat_unanswered.xml", 0)
    calling = call(sip, "caller_gives_up.xml", 2000, tmp_path)
    desk.wait_for_selector(".caller.ringing")
    assert calling.wait(20) == 0
    expect(desk.locator("#phone")).to_contain_text("1 个待回拨")
    expect(desk.locator(".caller")).to_have_count(0)
    told = told_of_call()
    assert (told.answered_at, told.cause) == (None, "cancelled")
    with snapshot(system(tiny.DISTRICT)) as session:
        task = session.scalars(select(CallBack).where(CallBack.call_id == told.id)).one()
    assert (task.reason, task.state) == ("abandoned", "open")

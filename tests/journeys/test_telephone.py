"""The operator's telephone in a real browser: a call comes to the desk, is written down and wrapped up, by keys alone.

How long it takes from the switchboard's event until the card is on the desk is printed (`pytest -s`), not judged: how
busy the machine is, is no fault of the program's.
"""

import statistics
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from core.actor import system
from core.db import snapshot, transaction
from core.settings import settings
from dispatch.models import Report
from hotline.telephone import callbacks, hook
from tests import builders, tiny

pytestmark = pytest.mark.journey

KEY = "j" * 40
Seat = Callable[..., Page]
Send = Callable[..., str]
#: Calls that the way from event to card is measured over.
_MEASURED = 15
#: Notes when the card of a call was drawn, by the clock that Python has too.
_WATCH = """() => {
  window.drawn = {};
  new MutationObserver(() => {
    const card = document.querySelector(".caller.ringing");
    if (card && !(card.dataset.call in window.drawn)) window.drawn[card.dataset.call] = performance.timeOrigin + performance.now();
  }).observe(document.getElementById("phone"), { childList: true, subtree: true });
}"""


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch, district: tiny.Tiny) -> Iterator[None]:
    del district
    monkeypatch.setenv("WANGGE_TELEPHONE_KEYS", KEY)
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def send(server: str) -> Iterator[Send]:
    """Return a function that tells an event as the switchboard would, and answers the call's id."""
    with httpx.Client(base_url=server) as client:

        def told(kind: str, call: str, **known: Any) -> str:
            given = {"id": uuid.uuid4().hex, "event": kind, "call": call, "at": datetime.now(UTC).isoformat()}
            body, stamp = orjson.dumps(given | known), int(time.time())
            signature = hook.sign(body, key=KEY.encode(), timestamp=stamp)
            headers = {"Wangge-Timestamp": str(stamp), "Wangge-Signature": signature}
            answer = client.post("/api/v1/telephone/events", content=body, headers=headers)
            assert answer.status_code == 200, answer.text
            return str(answer.json()["call"])

        yield told


def sit(page: Page, server: str, extension: str) -> None:
    page.goto(f"{server}/desk")
    page.wait_for_selector(".phone-bar")
    if page.locator("#phone-extension").count():
        page.fill("#phone-extension", extension)
        page.press("#phone-extension", "Enter")
    with page.expect_request("**/phone/live"):
        page.reload()
    page.wait_for_selector("[data-seated]")
    page.wait_for_timeout(1000)


def test_a_call_is_taken_written_down_and_wrapped_up_by_keys_alone(
    seat: Seat, server: str, send: Send, faults: list[str]
) -> None:
    number = "13800138123"
    with transaction(builders.program(tiny.DISTRICT)) as session:
        before = builders.make_case(
            session,
            district=tiny.DISTRICT,
            town_code=tiny.WEST,
            phone=number,
            name="张伟",
            at=datetime.now(UTC) - timedelta(days=1),
        )
    desk = seat("operator")
    sit(desk, server, "8001")
    call = send("ring", "j1", caller=number, extension="8001", line="81812345")
    expect(desk.locator(f'.caller.ringing[data-call="{call}"]')).to_contain_text("138****8123")
    expect(desk).to_have_title("☎ 话务台 · 望江区")
    assert desk.locator(f'.caller-matters a[href="/cases/{before.number}"]').is_visible()
    assert number not in desk.content()
    desk.keyboard.press("F2")
    desk.wait_for_url("**/desk/new?call=*")
    expect(desk.locator("#phone")).to_contain_text("通话中")
    assert not desk.locator("#phone [data-accept]").count(), "it is being written down here"
    desk.keyboard.type("滨湖路18号门口的垃圾三天没有清运。")
    send("hangup", "j1")
    expect(desk.locator("#phone")).to_contain_text("话后处理")
    expect(desk.locator("#f-text")).to_be_focused()
    expect(desk.locator("#f-text")).to_have_value("滨湖路18号门口的垃圾三天没有清运。")
    desk.keyboard.press("Control+Enter")
    desk.wait_for_url("**/desk?box=open&case=*")
    expect(desk.locator("#phone")).to_contain_text("已记录为")
    desk.keyboard.press("F4")
    expect(desk.locator("#phone")).to_contain_text("空闲")
    desk.keyboard.press("F8")
    expect(desk.locator("#phone")).to_contain_text("结束小休")
    desk.keyboard.press("F8")
    expect(desk.locator("#phone .does.free")).to_be_visible()
    with snapshot(system(tiny.DISTRICT)) as session:
        found = session.scalars(
            select(Report).where(Report.district_code == tiny.DISTRICT, Report.source_id == "j1")
        ).one()
    assert found.phone_index is not None
    assert not faults, faults


def test_how_long_from_the_event_to_the_card(seat: Seat, server: str, send: Send) -> None:
    desk = seat("operator")
    sit(desk, server, "8001")
    desk.evaluate(_WATCH)
    took: list[float] = []
    for no in range(_MEASURED):
        sent = time.time() * 1000
        call = send("ring", f"t{no}", caller=f"1370013{no:04d}", extension="8001")
        desk.wait_for_function("call => call in window.drawn", arg=call)
        took.append(desk.evaluate("call => window.drawn[call]", call) - sent)
        send("hangup", f"t{no}")
        expect(desk.locator(".caller")).to_have_count(0)
    took.sort()
    said = f"median {statistics.median(took):.0f} ms, 14th of 15 {took[-2]:.0f} ms, longest {took[-1]:.0f} ms"
    sys.stdout.write(f"\nfrom the event's sending to the card on the desk: {said}\n")
    assert took[0] > 0


def test_people_are_called_back_by_keys_alone(seat: Seat, server: str, faults: list[str]) -> None:
    at = datetime.now(UTC)
    with transaction(builders.program(tiny.DISTRICT)) as session:
        for no in (1, 2):
            case = builders.make_case(
                session,
                district=tiny.DISTRICT,
                state="replied",
                town_code=tiny.WEST,
                unit=tiny.STREETS,
                phone=f"1360013600{no}",
                answer="已经清运。",
            )
            builders.make_deadline(session, case, "callback", started_at=at)
            builders.make_assignment(session, case, tiny.STREETS, state="replied")
        callbacks.gather(session, at=at, rules=callbacks.Rules.of({"callback": {"opens": "00:00", "closes": "23:59"}}))
    page = seat("operator")
    page.goto(f"{server}/phone/callbacks?reason=survey")
    page.keyboard.press("n")
    expect(page.locator("#callback")).to_be_visible()
    while "未接通即挂断" in page.locator("[aria-labelledby=h-held] .muted").first.inner_text():
        page.keyboard.press("3")
        with page.expect_navigation():
            page.keyboard.press("Control+Enter")
    first = page.locator(".big.number").inner_text()
    assert first.startswith("1360013600")
    page.keyboard.press("1")
    expect(page.locator("#f-satisfaction")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    with page.expect_navigation():
        page.keyboard.press("Control+Enter")
    expect(page.locator(".big.number")).not_to_have_text(first)
    page.keyboard.press("2")
    expect(page.locator("#f-satisfaction")).to_be_hidden()
    with page.expect_navigation():
        page.keyboard.press("Control+Enter")
    expect(page.locator("#next")).to_be_visible()
    assert not faults, faults

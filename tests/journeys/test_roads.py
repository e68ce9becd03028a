"""A complaint down its side roads in a real browser, everybody in their own seat.


Return twice, dispute, arbitration, extension asked and granted, supervision, rework and closing; the clocks are read
from the database after every step, because they are what the roads must not bend.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from core.db import transaction
from dispatch.models import Case, Deadline, Entry, Plea, Supervision
from tests import builders, tiny

pytestmark = pytest.mark.journey
Seat = Callable[..., Page]
#: What the closing form of a complaint needs beside the answer.
CLOSING = {"truth": "yes", "duty": "yes", "contacted": "yes", "solved": "yes"}


@pytest.fixture
def number() -> str:
    """Write a complaint of the newest process that waits on the desk and return its number."""
    at = datetime.now(UTC) - timedelta(hours=1)
    with transaction(builders.program(tiny.DISTRICT)) as session:
        case = builders.make_case(
            session,
            district=tiny.DISTRICT,
            at=at,
            process_version=2,
            lng=113.004,
            lat=23.004,
            town_code=tiny.WEST,
            place_name="望湖中学",
            category_code="1001",
            text="望湖中学门前的垃圾堆了三天没有清运。",
        )
        builders.make_deadline(session, case, "dispatch", limit="24h", due_at=at + timedelta(hours=24))
        builders.make_deadline(session, case, "reply", limit="5wd", due_at=at + timedelta(days=7))
        return case.number


def _rows(model: Any, number: str, *order: Any) -> list[Any]:
    with transaction(builders.program(tiny.DISTRICT)) as session:
        key = select(Case.id).where(Case.district_code == tiny.DISTRICT, Case.number == number).scalar_subquery()
        rows = session.scalars(
            select(model).where(model.district_code == tiny.DISTRICT, model.case_id == key).order_by(*order)
        ).all()
        session.expunge_all()
        return list(rows)


def stored(number: str) -> Case:
    with transaction(builders.program(tiny.DISTRICT)) as session:
        case = session.scalars(select(Case).where(Case.district_code == tiny.DISTRICT, Case.number == number)).one()
        session.expunge(case)
        return case


def clock(number: str, name: str) -> Deadline:
    """Return the newest clock of a name."""
    found: Deadline = [row for row in _rows(Deadline, number, Deadline.started_at) if row.clock == name][-1]
    return found


def actions(number: str) -> list[str]:
    return [entry.action for entry in _rows(Entry, number, Entry.seq)]


def take(page: Page, action: str, *, press: bool = True, **fields: str) -> None:
    """Open the form of a step, fill it in, and press its button; waits until the page has answered."""
    step = page.locator(f'details.step[data-action="{action}"]')
    for folded in page.locator("details.rare:not([open])").all():
        folded.locator("> summary").click()
    if step.get_attribute("open") is None:
        step.locator("> summary").click()
    for name, value in fields.items():
        control = step.locator(f"[name={name}]")
        if not control.first.is_visible():
            step.locator("details.aside > summary").click()
        if control.first.get_attribute("type") == "radio":
            step.locator(f'[name={name}][value="{value}"]').check()
        elif control.first.evaluate("e => e.tagName") == "SELECT":
            control.select_option(value)
        else:
            control.fill(value)
    if press:
        step.locator("form button").last.click()


def at_desk(page: Page, server: str, number: str) -> None:
    page.goto(f"{server}/desk?box=open&case={number}")
    expect(page.locator("article.case")).to_be_visible()


def taken(page: Page, number: str, action: str) -> None:
    """Wait until a step stands in the log."""
    for _ in range(300):
        if actions(number)[-1:] == [action]:
            return
        page.wait_for_timeout(100)
    raise AssertionError((action, actions(number)))


def settled_at(page: Page, url: str) -> None:
    """Go to an address once the page has come to rest: a press may still be leading elsewhere."""
    page.wait_for_load_state("networkidle")
    page.goto(url)


def test_return_dispute_extension_supervision_rework_and_closing(
    seat: Seat, server: str, number: str, faults: list[str]
) -> None:
    begun = clock(number, "reply")
    desk, streets, water, arbiter = seat("operator"), seat("streets"), seat("water"), seat("supervisor")

    # Out to the first unit, which returns it; then to the second, which returns it too.
    at_desk(desk, server, number)
    desk.locator('#save button[value="dispatch"]').click()
    taken(desk, number, "dispatch")
    assert stored(number).unit_code == tiny.STREETS
    assert stored(number).place_by == "operator", "whoever sends it out has confirmed the place"
    back = {"reason_code": "not_our_duty", "legal_basis": "权责清单第 12 项", "reason": "不属本单位职责"}
    settled_at(streets, f"{server}/unit/{number}")
    effects = streets.locator('details[data-action="return"] .effects')
    assert "不作评判" in (effects.text_content() or ""), "what a return does to the clock is said before"
    take(streets, "return", **back)
    taken(streets, number, "return")
    assert clock(number, "sign").outcome == "void"
    assert clock(number, "reply").started_at == begun.started_at
    assert clock(number, "reply").due_at == begun.due_at, "a return moves nothing of the limit to reply"

    at_desk(desk, server, number)
    expect(desk.locator("#detail")).to_contain_text("已退单 1 次：区城市管理局")
    desk.fill("#f-unit", "区水务局")
    desk.locator('#save input[name=to][value="other"]').check()
    desk.locator('#save button[value="dispatch"]').click()
    taken(desk, number, "dispatch")
    settled_at(water, f"{server}/unit/{number}")
    take(water, "return", **back)
    taken(water, number, "return")

    # Ping-pong: the desk refers it to the arbiter, whose decision binds.
    at_desk(desk, server, number)
    expect(desk.locator("#detail")).to_contain_text("已退单 2 次：区城市管理局、区水务局")
    take(desk, "dispute", reason="两个单位互相推转")
    taken(desk, number, "dispute")
    assert clock(number, "arbitrate").unit_code is None, "deciding is measured at the centre"
    settled_at(arbiter, f"{server}/desk?box=disputed&case={number}")
    expect(arbiter.locator(f"#r-{number}")).to_be_visible()
    take(arbiter, "arbitrate", unit="区城市管理局", ruling="依据三定方案由城管负责清运")
    taken(arbiter, number, "arbitrate")
    case = stored(number)
    assert (case.state, case.unit_code, case.bound) == ("dispatched", tiny.STREETS, True)
    assert clock(number, "arbitrate").outcome == "met"

    # The unit signs with one key; it can neither return nor dispute any more.
    settled_at(streets, f"{server}/unit?box=unsigned&case={number}")
    expect(streets.locator('details[data-action="return"]')).to_have_count(0)
    streets.keyboard.press("s")
    taken(streets, number, "sign")
    assert clock(number, "sign").outcome == "met"

    # More time: what it would come to is said while it is typed; somebody else grants it.
    settled_at(streets, f"{server}/unit/{number}")
    take(streets, "extend_ask", press=False, span_n="3", reason="清运车辆检修", document="检修单 11-22")
    expect(streets.locator('details[data-action="extend_ask"] .effects')).to_contain_text("如获批")
    take(streets, "extend_ask")
    taken(streets, number, "extend_ask")
    assert stored(number).plea == "extension"
    assert clock(number, "reply").due_at == begun.due_at, "asking alone moves nothing"
    settled_at(streets, f"{server}/unit/{number}")
    expect(streets.locator('details[data-action="extend_grant"]')).to_have_count(0)
    settled_at(desk, f"{server}/desk?box=pleas&case={number}")
    take(desk, "extend_grant", note="情况属实")
    taken(desk, number, "extend_grant")
    plea = _rows(Plea, number, Plea.asked_at)[0]
    assert (plea.state, plea.span) == ("granted", "3wd")
    assert plea.asked_by != plea.decided_by
    longer = clock(number, "reply")
    assert longer.started_at == begun.started_at
    assert longer.extra == ["3wd"]
    assert longer.due_at > begun.due_at

    # Supervision: an order with its own clock, an answer, a closing.
    settled_at(arbiter, f"{server}/desk?box=running&case={number}")
    take(arbiter, "supervise", demand="请说明为何多次反映未解决", span_n="2", span_u="wd")
    taken(arbiter, number, "supervise")
    assert clock(number, "supervise").limit == "2wd"
    settled_at(streets, f"{server}/unit?box=supervised&case={number}")
    answer = streets.locator('details[data-action="supervise_reply"]')
    expect(answer).to_have_attribute("open", "")
    answer.locator("select[data-fills]").select_option(index=1)
    answer.locator("form button").last.click()
    expect(streets.locator("article.case [role=alert]").first).to_contain_text("【进展】")
    answer.locator("textarea[name=supervise_answer]").fill("已清运并加密频次，今后每日两次。")
    answer.locator("form button").last.click()
    taken(streets, number, "supervise_reply")
    assert clock(number, "supervise").outcome == "met"
    settled_at(arbiter, f"{server}/desk?box=supervised&case={number}")
    take(arbiter, "supervise_close", ruling="情况已说明，予以办结")
    taken(arbiter, number, "supervise_close")
    order = _rows(Supervision, number, Supervision.issued_at)[0]
    assert (order.state, order.issued_name) == ("closed", order.closed_name)
    assert not stored(number).supervised
    assert clock(number, "reply").due_at == longer.due_at, "supervision leaves the limit to reply alone"

    # Answered, not accepted, answered again, closed.
    for text, action, fields in (
        ("已安排清运。", "rework", {"satisfaction": "1", "reason": "垃圾还在"}),
        ("已于今日清运完毕。", "callback", {"satisfaction": "5"}),
    ):
        settled_at(streets, f"{server}/unit/{number}")
        take(streets, "reply", answer=text, **CLOSING)
        taken(streets, number, "reply")
        assert clock(number, "reply").outcome == "met"
        settled_at(desk, f"{server}/desk?box=answered&case={number}")
        expect(desk.locator("#detail")).to_contain_text("是否属实")
        take(desk, action, **fields)
        taken(desk, number, action)
        if action == "rework":
            again = clock(number, "reply")
            assert (again.stopped_at, again.extra) == (None, []), "a rework starts the limit anew, once"

    closed = stored(number)
    assert (closed.state, closed.satisfaction, closed.open, closed.returns) == ("closed", 5, False, 2)
    assert [c.clock for c in _rows(Deadline, number, Deadline.id) if c.stopped_at is None] == []
    assert actions(number) == [
        *("receive", "dispatch", "return", "dispatch", "return", "dispute", "arbitrate", "sign"),
        *("extend_ask", "extend_grant", "supervise", "supervise_reply", "supervise_close"),
        *("reply", "rework", "reply", "callback"),
    ]
    sheet = desk
    sheet.goto(f"{server}/cases/{number}")
    for words in ("督办要求", "延期 3 个工作日", "已退单 2 次", "工作日 + 3 个工作日"):
        expect(sheet.locator("main")).to_contain_text(words)
    # The browser tells of the answer that was refused, and htmx of what was asked when the page was left.
    assert [
        fault for fault in faults if "422" not in fault and not fault.startswith(("htmx:after", "htmx:sendAb"))
    ] == []

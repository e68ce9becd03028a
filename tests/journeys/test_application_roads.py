"""Side roads of applications in a real browser: levels above, pre-review, a refusal that needs a supervisor, time run out.

Each begins where its road does; the clocks are read from the database, because they are what the roads must not bend.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from core.db import transaction
from dispatch.items.lists import Entry
from dispatch.sweep import sweep
from tests import applications, tiny
from tests.applications import CITIZEN, LEAD, WINDOW
from tests.builders import program
from tests.journeys.applying import at_unit, at_window, begun, fill, own_view, press, step

pytestmark = pytest.mark.journey
Seat = Callable[..., Page]
REVIEWS = [
    {"level": "city", "task": "市级复核", "limit": "5wd"},
    {"level": "province", "task": "省级复核", "limit": "10wd"},
]


@pytest.fixture(autouse=True)
def _ground(district: tiny.Tiny) -> None:
    """Every journey stands on the tiny district."""


def test_an_application_goes_to_city_and_province_and_back_while_the_own_clock_stands(
    seat: Seat, server: str, faults: list[str]
) -> None:
    at = datetime.now(UTC) - timedelta(minutes=30)
    applications.publish("ROADUP01", at, reviews=REVIEWS)
    run = begun("ROADUP01", at, running=501).reviewing()
    number, operator, clerk = run.receipt.number, seat("operator"), seat("streets")
    at_unit(clerk, server, number)
    expect(clerk.locator('details[data-action="hand_up"]')).to_have_count(0), "the unit that is measured sends nothing"
    expect(clerk.locator('details[data-action="grant"]')).to_have_count(0), "the levels above come first"
    for level, words in (("city", "市级"), ("province", "省级")):
        at_window(operator, server, number)
        press(fill(step(operator, "hand_up"), level=level, reference=f"望政上〔2026〕{level}"))
        clocks = run.clocks()
        assert clocks["decide"]["held_at"] is not None, "the district's own limit stands"
        assert clocks["hand_up"]["stopped_at"] is None
        assert clocks["hand_up"]["limit"] == ("5wd" if level == "city" else "10wd")
        expect(operator.get_by_role("main")).to_contain_text(words)
        if level == "province":
            with own_view(operator, server, number, run.receipt.access_code) as citizen:
                expect(citizen.get_by_role("main")).to_contain_text("正由市或省级审查")
        press(fill(step(operator, "hand_back"), handover_decision="agreed", reference=f"复〔2026〕{level}"))
        clocks = run.clocks()
        assert clocks["decide"]["held_at"] is None
        assert clocks["hand_up"]["outcome"] == "met"
    assert [row["decision"] for row in run.rows("handover")] == ["agreed", "agreed"]
    at_unit(clerk, server, number)
    press(step(clerk, "grant"))
    assert run.case.state == "granted"
    assert faults == []


def test_a_pre_reviewed_applicant_comes_once_with_the_originals(seat: Seat, server: str, faults: list[str]) -> None:
    at = datetime.now(UTC) - timedelta(minutes=30)
    applications.publish("ROADPRE1", at)
    run = begun("ROADPRE1", at, actor=CITIZEN, running=502)
    number, operator = run.receipt.number, seat("operator")
    at_window(operator, server, number)
    press(step(operator, "pre_review"))
    clocks = run.clocks()
    assert clocks["accept"]["held_at"] is not None
    assert clocks["deem"]["held_at"] is not None, "nobody is accepted by lapse of time while the window waits for them"
    with own_view(operator, server, number, run.receipt.access_code) as citizen:
        expect(citizen.get_by_role("main")).to_contain_text("请带原件到窗口")
    at_window(operator, server, number)
    for box in operator.locator('input[name="materials"]').all():
        box.check()
    with operator.expect_navigation():
        operator.get_by_role("button", name="以上材料现已提交").click()
    expect(operator.locator('details[data-action="accept"]')).to_have_count(1)
    press(step(operator, "accept"))
    assert run.case.state == "accepted"
    assert set(run.materials().values()) == {"checked"}
    assert faults == []


def test_what_must_be_granted_is_denied_only_with_a_supervisor_who_agrees(
    seat: Seat, server: str, faults: list[str]
) -> None:
    at = datetime.now(UTC) - timedelta(minutes=30)
    entry = Entry(code="PL-ROAD", kind="permitted", title="虚构准许清单", basis="虚构", item_codes=("ROADDEN1",))
    applications.keep_lists(entry)
    applications.publish("ROADDEN1", at)
    run = begun("ROADDEN1", at, running=503).reviewing()
    number, clerk, supervisor = run.receipt.number, seat("streets"), seat("supervisor")
    for reason, action in (("现场与图纸不符", "denial_refuse"), ("复查后仍与图纸不符", "denial_agree")):
        at_unit(clerk, server, number)
        expect(clerk.locator('details[data-action="deny"]')).to_have_count(0)
        proposal = step(clerk, "propose_denial")
        press(fill(proposal, legal_basis="试验管理办法第三条", reason=reason))
        supervisor.goto(f"{server}/desk?box=open&case={number}")
        detail = supervisor.get_by_role("region", name="工单", exact=True)
        expect(detail).to_contain_text(reason), "read before it is decided"
        form = fill(step(supervisor, action), ruling="已核实现场与图纸。")
        form.locator("form > button, form .effects ~ button").last.click()
        expect(detail.get_by_role("status").first).to_contain_text("完成")
        state = run.case.state
        assert state == ("reviewing" if action == "denial_refuse" else "denied")
    with own_view(clerk, server, number, run.receipt.access_code) as citizen:
        expect(citizen.get_by_role("main")).to_contain_text("复查后仍与图纸不符")
    assert faults == []


def test_what_was_told_and_never_came_lapses_by_itself(seat: Seat, server: str, faults: list[str]) -> None:
    now = datetime.now(UTC)
    at = now - timedelta(days=45)
    applications.publish("ROADLAP1", at)
    run = begun("ROADLAP1", at, running=504, given={"ID": ()})
    run.do(WINDOW, "notice")
    with transaction(program(tiny.DISTRICT)) as session:
        sweep(session, run.book, at=now)
    assert run.case.state == "lapsed"
    number, operator = run.receipt.number, seat("operator")
    at_window(operator, server, number)
    expect(operator.get_by_role("main")).to_contain_text("视为放弃")
    expect(operator.locator("details.step[data-action]")).to_have_count(1), "nothing but a note is left to do"
    with own_view(operator, server, number, run.receipt.access_code) as citizen:
        expect(citizen.get_by_role("main")).to_contain_text("逾期未补齐，已终止")
        expect(citizen.get_by_role("button", name="提交")).to_have_count(0)
    assert faults == []


def test_what_is_owed_and_never_comes_ends_in_a_refusal_with_its_reason(
    seat: Seat, server: str, faults: list[str]
) -> None:
    at = datetime.now(UTC) - timedelta(days=20)
    applications.publish("ROADOWE1", at)
    run = begun("ROADOWE1", at, running=505, given={"ID": (), "FORM": ()})
    run.do(WINDOW, "accept_gaps", owed=["PLAN"], commitment="yes")
    run.do(LEAD, "sign")
    number, clerk = run.receipt.number, seat("streets")
    at_unit(clerk, server, number)
    expect(clerk.locator('details[data-action="grant"]')).to_have_count(0), "nothing is granted while it is owed"
    press(fill(step(clerk, "deny"), legal_basis="试验管理办法第三条", reason="承诺补交的平面图逾期未交"))
    assert run.case.state == "denied"
    operator = seat("operator")
    operator.goto(f"{server}/window/{number}/print/result")
    expect(operator.get_by_role("main")).to_contain_text("承诺补交的平面图逾期未交")
    with own_view(operator, server, number, run.receipt.access_code) as citizen:
        expect(citizen.get_by_role("main")).to_contain_text("承诺补交的平面图逾期未交")
    assert faults == []


def test_a_request_for_information_is_answered_by_post_and_filed(seat: Seat, server: str, faults: list[str]) -> None:
    operator, clerk = seat("operator"), seat("streets")
    operator.goto(f"{server}/window/information")
    form = operator.get_by_role("main")
    form.get_by_label("个人", exact=True).check()
    form.get_by_label("姓名").fill("周试验")
    form.get_by_label("身份证件号码或统一社会信用代码").fill(applications.person(506).id_number)
    form.get_by_label("电话", exact=True).fill("13600136000")
    form.get_by_label("您要申请公开什么信息？").fill("望湖镇 2025 年道路养护合同")
    form.get_by_label("邮寄").check()
    with operator.expect_navigation():
        form.get_by_role("button", name="提交").last.click()
    number = operator.url.rsplit("/", 1)[1].partition("?")[0]
    register = step(operator, "register")
    register.locator('input[name="unit"]').fill("区城市管理局")
    press(register)
    at_unit(clerk, server, number)
    press(step(clerk, "sign"))
    at_unit(clerk, server, number)
    reply = step(clerk, "reply")
    expect(reply.locator('[name="photos_before"]')).to_have_count(0)
    press(
        fill(
            reply,
            reply_kind="granted",
            legal_basis="政府信息公开条例第三十六条",
            answer="合同复印件已按您的要求邮寄。",
        )
    )
    at_window(operator, server, number)
    press(fill(step(operator, "file"), reference="邮件号 XA123456789CN"))
    main = operator.get_by_role("main")
    expect(main).to_contain_text("已归档")
    expect(main).to_contain_text("XA123456789CN")
    expect(main).to_contain_text("合同复印件已按您的要求邮寄。")
    operator.goto(f"{server}/window/{number}/print/receipt")
    code = operator.locator("#code").inner_text().strip()
    with own_view(operator, server, number, code) as citizen:
        expect(citizen.get_by_role("main")).to_contain_text("合同复印件已按您的要求邮寄。")
        expect(citizen.get_by_role("button", name="提交评价")).to_be_visible()
    assert faults == []

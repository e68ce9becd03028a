"""Applications as people live them: with a gap, parallel units, a joint survey, a decision and pick-up; at once; on paper.

The citizen holds a phone, everybody else sits at a desk; all find their way by words on the page.
"""

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select, update

from api.wording import CHINA
from core.db import transaction
from dispatch.items.application_models import Survey
from dispatch.models import Case
from tests import tiny
from tests.builders import program
from tests.journeys.applying import press, step
from tests.journeys.test_citizen_to_rated import PHONE, Sit, beside, faults, sit
from tests.web import counters

__all__ = ["faults", "sit"]
pytestmark = pytest.mark.journey
#: Where screenshots go, for whoever wants to look; nowhere by default.
SHOTS = os.environ.get("WANGGE_SHOTS", "")


@pytest.fixture(scope="module", autouse=True)
def items(district: tiny.Tiny) -> None:
    counters.publish(datetime.now(UTC))


def shoot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"), full_page=True)


def apply_online(citizen: Page, tmp_path: Path) -> tuple[str, str]:
    """Apply from the item's sheet without the material that may lag, and return number and code."""
    citizen.get_by_role("link", name="在线申办").first.click()
    citizen.get_by_role("searchbox").fill("临时占道施工")
    citizen.get_by_role("button", name="搜索").click()
    shoot(citizen, "apply-start")
    citizen.get_by_role("link", name=re.compile("临时占道施工审批")).click()
    citizen.get_by_label("个人", exact=True).check()
    citizen.get_by_label("申请人姓名").fill("王小试")
    citizen.get_by_label("身份证件号码或统一社会信用代码").fill(counters.card())
    citizen.get_by_label("电话", exact=True).fill("13800138000")
    for box in citizen.locator('input[name="met"]').all():
        box.check()
    photo = tmp_path / "占道方案.jpg"
    photo.write_bytes(counters.picture())
    citizen.locator('input[data-upload="ZDFA"]').set_input_files(str(photo))
    expect(citizen.locator('[data-files="ZDFA"] li')).to_contain_text("占道方案.jpg")
    citizen.locator('input[name="pickup"]').first.check()
    citizen.reload()
    expect(citizen.get_by_label("申请人姓名")).to_have_value("王小试"), "a draft outlives a reload"
    shoot(citizen, "apply-form")
    citizen.get_by_role("button", name="下一步：核对").click()
    expect(citizen.get_by_role("main")).to_contain_text("还缺 1 项材料")
    shoot(citizen, "apply-summary")
    citizen.get_by_role("button", name="提交申请").click()
    expect(citizen.get_by_role("heading", name="已收到您的申请，谢谢")).to_be_visible()
    left = citizen.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert "王小试" not in left
    assert "wangge.apply" not in left, "nothing is left behind after sending"
    shoot(citizen, "apply-receipt")
    return beside(citizen, "编号"), beside(citizen, "查询码（查看进度、领取结果时使用）")


def open_at_window(operator: Page, number: str) -> None:
    operator.get_by_role("link", name="窗口", exact=True).click()
    operator.get_by_role("searchbox", name="办件编号").fill(number)
    operator.get_by_role("button", name="打开该件").click()
    expect(operator.get_by_role("heading", level=1)).to_be_visible()


def open_in_inbox(clerk: Page, server: str, number: str) -> None:
    clerk.goto(f"{server}/unit/{number}")
    expect(clerk.get_by_role("main")).to_contain_text(re.compile(r"\s*".join(number)))


def the_day_comes(number: str) -> None:
    """Let the day of the survey come: nobody records one before it was."""
    with transaction(program(tiny.DISTRICT)) as session:
        case = session.scalars(select(Case.id).where(Case.district_code == tiny.DISTRICT, Case.number == number)).one()
        mine = (Survey.district_code == tiny.DISTRICT, Survey.case_id == case)
        session.execute(update(Survey).where(*mine).values(set_for=datetime.now(UTC) - timedelta(minutes=1)))


def test_an_application_goes_through_gap_parallel_units_survey_decision_and_pick_up(
    sit: Sit, server: str, faults: list[str], tmp_path: Path
) -> None:
    citizen, operator = sit(size=PHONE), sit("operator")
    number, code = apply_online(citizen, tmp_path)

    open_at_window(operator, number)
    shoot(operator, "window-detail")
    gaps = step(operator, "accept_gaps")
    gaps.get_by_label("申请人已书面承诺补交").check()
    press(gaps)
    expect(operator.get_by_role("status")).to_be_visible()
    shoot(operator, "window-accepted")

    lead, water, town = sit("streets"), sit("water"), sit("westoffice")
    open_in_inbox(lead, server, number)
    shoot(lead, "unit-lead")
    press(step(lead, "sign"))
    for clerk, opinion in ((water, "管线埋深一米五，同意。"), (town, "已征求居民意见，同意。")):
        open_in_inbox(clerk, server, number)
        press(step(clerk, "share_sign"))
        open_in_inbox(clerk, server, number)
        reply = step(clerk, "share_reply")
        reply.get_by_label(re.compile("^意见")).fill(opinion)
        shoot(clerk, "unit-share")
        press(reply)
        expect(clerk.get_by_role("status").first).to_be_visible()

    open_in_inbox(lead, server, number)
    shoot(lead, "unit-reviewing")
    call = step(lead, "survey_call")
    soon = (datetime.now(UTC).astimezone(CHINA) + timedelta(days=1)).strftime("%Y-%m-%dT10:00")
    call.locator('input[name="survey_at"]').fill(soon)
    call.locator('input[name="survey_place"]').fill("滨湖路18号门口")
    press(call)
    the_day_comes(number)
    open_in_inbox(lead, server, number)
    record = step(lead, "survey_record")
    record.locator('textarea[name="survey_record"]').fill("三个单位到场，现场与方案一致。")
    record.locator('[name="survey_result"][value="pass"]').check()
    press(record)
    open_in_inbox(lead, server, number)
    expect(lead.locator('details[data-action="grant"]')).to_have_count(0), "nothing is decided while a material is owed"

    again = sit(size=PHONE)
    again.get_by_role("link", name="查询进度").first.click()
    again.get_by_label("编号").fill(number)
    again.get_by_label("查询码").fill(code.lower())
    again.get_by_role("button", name="查看").click()
    expect(again.get_by_role("main")).to_contain_text("后补")
    shoot(again, "citizen-debt")
    late = tmp_path / "交通疏导方案.jpg"
    late.write_bytes(counters.picture(30))
    again.locator("#m-JTFA").set_input_files(str(late))
    again.get_by_role("button", name="提交").first.click()
    expect(again.get_by_role("status")).to_contain_text("材料已收到")

    open_in_inbox(lead, server, number)
    grant = step(lead, "grant")
    grant.locator('input[name="decision_number"]').fill("望城管许〔2026〕7号")
    press(grant)

    open_at_window(operator, number)
    fee = step(operator, "record_fee")
    fee.locator('input[name="fee_amount"]').fill("120")
    press(fee)
    expect(operator.get_by_role("main")).to_contain_text("120.00 元")
    shoot(operator, "window-granted")
    handout = step(operator, "deliver")
    handout.get_by_label("回执上的查询码").fill("AAAAAA")
    press(handout)
    expect(operator.get_by_role("main").get_by_role("alert")).to_contain_text("不符")
    handout = step(operator, "deliver")
    handout.get_by_label("回执上的查询码").fill(code)
    press(handout)
    expect(operator.get_by_role("heading", name="结果领取单")).to_be_visible()
    shoot(operator, "window-result")

    again.reload()
    expect(again.get_by_role("main")).to_contain_text("望城管许〔2026〕7号")
    again.get_by_label("非常满意").check()
    again.get_by_role("button", name="提交评价").click()
    expect(again.get_by_role("main")).to_contain_text("您的评价：非常满意")
    shoot(again, "citizen-end")
    # The wrong code was refused, as it should be.
    assert [fault for fault in faults if "422" not in fault] == []


def test_an_item_is_done_at_once_in_one_press_at_the_counter(sit: Sit, faults: list[str]) -> None:
    operator = sit("operator")
    operator.get_by_role("link", name="窗口", exact=True).click()
    operator.wait_for_load_state("load")
    with operator.expect_navigation():
        operator.keyboard.press("n")
    operator.get_by_role("combobox").fill("SL110002")
    operator.keyboard.press("Enter")
    expect(operator.get_by_role("heading", level=1)).to_contain_text("老年人优待证")
    shoot(operator, "counter")
    operator.get_by_label("申请人姓名").fill("李试验")
    operator.get_by_label("身份证件号码").fill(counters.card(11))
    operator.get_by_label("电话", exact=True).fill("13900139000")
    operator.get_by_label(re.compile("镇街")).select_option(tiny.WEST)
    operator.locator('input[name="pickup"]').first.check()
    operator.get_by_role("button", name="全部齐全").click()
    operator.get_by_role("button", name="当场办结并发证").click()
    expect(operator.get_by_role("heading", name="结果领取单")).to_be_visible()
    expect(operator.get_by_role("main")).to_contain_text("已批准")
    shoot(operator, "counter-result")
    operator.get_by_role("link", name="下一位").click()
    operator.get_by_role("link", name="已结束").click()
    expect(operator.get_by_role("main")).to_contain_text("老年人优待证")
    shoot(operator, "window-list")
    assert faults == []


def test_a_request_for_information_is_made_clear_answered_and_filed(sit: Sit, server: str, faults: list[str]) -> None:
    citizen, operator, clerk = sit(size=PHONE), sit("operator"), sit("streets")
    citizen.get_by_role("link", name="在线申办").first.click()
    citizen.get_by_role("link", name="申请政府信息公开").click()
    citizen.get_by_label("个人", exact=True).check()
    citizen.get_by_label("姓名").fill("赵试验")
    citizen.get_by_label("身份证件号码或统一社会信用代码").fill(counters.card(23))
    citizen.get_by_label("电话", exact=True).fill("13700137000")
    citizen.get_by_label("您要申请公开什么信息？").fill("垃圾清运的合同")
    citizen.get_by_label("电子文本").check()
    shoot(citizen, "information-form")
    citizen.get_by_role("button", name="提交申请").click()
    expect(citizen.get_by_role("heading", name="已收到您的申请，谢谢")).to_be_visible()
    number = beside(citizen, "编号")

    open_at_window(operator, number)
    notice = step(operator, "notice")
    notice.locator('[name="unclear"]').fill("请写明是哪一年、哪个镇的合同。")
    press(notice)

    citizen.get_by_role("link", name="查看进度").click()
    expect(citizen.get_by_role("main")).to_contain_text("哪一年")
    shoot(citizen, "information-unclear")
    citizen.get_by_label("您要申请公开什么信息？").fill("望湖镇 2025 年垃圾清运服务合同全文")
    citizen.get_by_role("button", name="提交").first.click()
    expect(citizen.get_by_role("status")).to_be_visible()

    open_at_window(operator, number)
    register = step(operator, "register")
    register.locator('input[name="unit"]').fill("区城市管理局")
    press(register)
    open_in_inbox(clerk, server, number)
    press(step(clerk, "sign"))
    open_in_inbox(clerk, server, number)
    reply = step(clerk, "reply")
    reply.locator('[name="reply_kind"]').first.select_option(index=1)
    reply.locator('[name="legal_basis"]').fill("政府信息公开条例第三十六条")
    reply.locator('[name="answer"]').fill("合同全文已公开，见附件目录。")
    press(reply)
    open_at_window(operator, number)
    press(step(operator, "file"))

    citizen.reload()
    expect(citizen.get_by_role("main")).to_contain_text("合同全文已公开")
    citizen.get_by_label("满意", exact=True).check()
    citizen.get_by_role("button", name="提交评价").click()
    expect(citizen.get_by_role("main")).to_contain_text("您的评价：满意")
    shoot(citizen, "information-end")
    assert faults == []

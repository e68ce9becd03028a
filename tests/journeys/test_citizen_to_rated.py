"""The main job as people live it: a report, the desk, the unit, the official's map, the end, the answer and a rating.

Everybody finds their way by words on the page: labels, buttons and links, as a screen reader would say them.
"""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from core.db import transaction
from tests import tiny
from tests.builders import program, put_away

pytestmark = pytest.mark.journey

#: No category is sure of this, so that it waits for a person.
TEXT = "望湖中学门前堆着好多东西，走路要绕到马路上，请来看看。"
ANSWER = "已到现场清理，并告知商户不得再堆放。"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1366, "height": 768}
Sit = Callable[..., Page]
#: Two cores may be busy with other things.
expect.set_options(timeout=30_000)


@pytest.fixture
def faults() -> list[str]:
    """What pages did wrong: console errors, script errors, server errors, foreign hosts."""
    return []


@pytest.fixture
def sit(chromium: Browser, server: str, faults: list[str]) -> Iterator[Sit]:
    """Return a function that sits somebody down before a browser of their own, signed in if they have a login."""
    contexts: list[BrowserContext] = []

    def at(login: str = "", *, size: dict[str, int] = DESK) -> Page:
        context = chromium.new_context(viewport=size, locale="zh-CN")  # type: ignore[arg-type]  # a plain mapping
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith((server, "data:", "blob:")) else faults.append(r.url))
        page.on("response", lambda r: faults.append(f"{r.status} {r.url}") if r.status >= 500 else None)
        page.goto(server)
        if login:
            page.get_by_role("link", name="工作人员登录").click()
            page.get_by_label("账号").fill(login)
            page.get_by_label("密码").fill(tiny.PASSWORD)
            page.get_by_role("button", name="登录").click()
            expect(page.get_by_role("button", name="退出")).to_be_visible()
        return page

    yield at
    for context in contexts:
        context.close()


def beside(page: Page, term: str) -> str:
    """Return what stands beside a term of a definition list."""
    found = page.locator("dt", has_text=re.compile(f"^{term}$")).locator("xpath=following-sibling::dd[1]")
    return re.sub(r"\s", "", found.inner_text())


def spaced(number: str) -> re.Pattern[str]:
    """Return the number as pages group it, with any space in between."""
    return re.compile(r"\s*".join(number))


def report(citizen: Page) -> tuple[str, str]:
    """Report as a resident and return number and code of the receipt."""
    citizen.get_by_label("什么事？在哪里？").fill(TEXT)
    expect(citizen.get_by_role("region", name="系统的理解")).to_be_visible()
    citizen.get_by_role("button", name="提交", exact=True).click()
    expect(citizen.get_by_role("heading", name="已收到您的反映，谢谢")).to_be_visible()
    return beside(citizen, "编号"), beside(citizen, "查询码")


def find(operator: Page, number: str) -> None:
    """Search the list at hand for a number and open what is found."""
    operator.get_by_role("searchbox", name="搜索").fill(number)
    operator.get_by_role("searchbox", name="搜索").press("Enter")
    found = operator.get_by_role("region", name="工单列表").get_by_role("link")
    expect(found).to_have_count(1)
    found.click()


def dispatch(operator: Page, number: str) -> None:
    operator.get_by_role("link", name="话务台").click()
    find(operator, number)
    detail = operator.get_by_role("region", name="工单", exact=True)
    expect(detail).to_contain_text(TEXT)
    category = detail.get_by_role("combobox", name="类别")
    category.fill("")
    category.press_sequentially("垃圾清运")
    category.press("Tab")
    expect(category).to_have_value(re.compile("垃圾清运"))
    expect(detail.get_by_role("group", name="责任单位")).to_contain_text("区城市管理局")
    detail.get_by_role("button", name="派单").click()
    expect(operator.get_by_role("region", name="工单列表")).to_contain_text("✓")


def opened(page: Page, action: str) -> Locator:
    """Open the form of a step and return it."""
    found = page.locator(f'details.step[data-action="{action}"]')
    expect(found).to_have_count(1)
    for outer in page.locator("details.rare").all():
        if outer.get_attribute("open") is None and outer.locator(found).count():
            outer.locator("summary").first.click()
    if found.get_attribute("open") is None:
        found.locator("summary").first.click()
    return found


def choose(form: Locator, name: str, value: str) -> None:
    """Choose a value, whether it is offered as a list or as buttons."""
    listed = form.locator(f'select[name="{name}"]')
    if listed.count():
        listed.select_option(value)
    else:
        form.locator(f'[name="{name}"][value="{value}"]').check()


def sign_and_reply(clerk: Page, number: str) -> None:
    clerk.get_by_role("link", name="待办", exact=True).click()
    own = f"{clerk.url.partition('/unit')[0]}/unit/{number}"
    clerk.goto(own)
    with clerk.expect_navigation():
        opened(clerk, "sign").locator("form > button").last.click()
    clerk.goto(own)
    reply = opened(clerk, "reply")
    for name in ("truth", "duty", "contacted", "solved"):
        choose(reply, name, "yes")
    reply.locator('textarea[name="answer"]').fill(ANSWER)
    with clerk.expect_navigation():
        reply.locator("form > button").last.click()
    expect(clerk.get_by_role("status").first).to_contain_text("已答复")


def close(operator: Page, number: str) -> None:
    operator.get_by_role("link", name="话务台").click()
    operator.get_by_role("link", name="待回访").click()
    find(operator, number)
    detail = operator.get_by_role("region", name="工单", exact=True)
    expect(detail).to_contain_text(ANSWER)
    step = opened(operator, "close")
    step.locator('[name="reason"]').fill("三次电话未接通")
    step.locator("form > button").last.click()
    expect(detail.get_by_role("status")).to_be_visible()


@pytest.fixture
def quiet(district: tiny.Tiny) -> None:
    """Nothing else is open, so that the bounded list beside the map shows what this test made."""
    with transaction(program(tiny.DISTRICT)) as session:
        put_away(session, tiny.DISTRICT)


@pytest.mark.usefixtures("quiet")
def test_a_report_becomes_a_closed_case_that_its_reporter_follows_and_rates(sit: Sit, faults: list[str]) -> None:
    citizen, operator, clerk, official = sit(size=PHONE), sit("operator"), sit("streets"), sit("official")
    number, code = report(citizen)
    assert re.fullmatch(r"\d{6,}[0-9X]", number)
    assert len(code) == 6

    dispatch(operator, number)

    official.get_by_role("link", name="地图", exact=True).click()
    shown = official.get_by_role("listitem").filter(has_text=spaced(number))
    expect(shown.first).to_contain_text("望湖中学")

    sign_and_reply(clerk, number)
    close(operator, number)

    # At another phone, days later, with the slip of paper.
    again = sit(size=PHONE)
    again.get_by_role("link", name="查询进度").first.click()
    again.get_by_label("编号").fill(number)
    again.get_by_label("查询码").fill(code.lower())
    again.get_by_role("button", name="查看").click()
    expect(again.get_by_role("main")).to_contain_text(TEXT)
    expect(again.get_by_role("main")).to_contain_text(ANSWER)
    steps = again.get_by_role("main").get_by_role("list").filter(has_text="签收").get_by_role("listitem")
    said = [re.sub(r"\s+", " ", words) for words in steps.all_inner_texts()]
    wanted = ("已收到", "派给责任单位", "责任单位签收", "已答复", "已结案")
    assert [word for word in wanted if not any(word in line for line in said)] == [], said
    again.get_by_label("非常满意").check()
    again.get_by_role("button", name="提交评价").click()
    expect(again.get_by_role("main")).to_contain_text("您的评价：非常满意")
    expect(again.get_by_role("button", name="提交评价")).to_have_count(0)

    expect(official.get_by_role("main")).to_be_visible()
    official.reload()
    expect(official.get_by_role("listitem").filter(has_text=spaced(number))).to_have_count(0)
    assert faults == []


def test_without_the_code_nobody_reads_words_or_answer(sit: Sit) -> None:
    citizen = sit(size=PHONE)
    number, _ = report(citizen)
    stranger = sit(size=PHONE)
    stranger.get_by_role("link", name="查询进度").first.click()
    stranger.get_by_label("编号").fill(number)
    stranger.get_by_role("button", name="查看").click()
    expect(stranger.get_by_role("main")).to_contain_text(spaced(number))
    expect(stranger.get_by_role("main")).not_to_contain_text(TEXT[:8])
    expect(stranger.get_by_role("button", name="提交评价")).to_have_count(0)


def test_choosing_the_open_case_again_loses_no_word(sit: Sit) -> None:
    number, _ = report(sit(size=PHONE))
    operator = sit("operator")
    operator.get_by_role("link", name="话务台").click()
    find(operator, number)
    detail = operator.get_by_role("region", name="工单", exact=True)
    expect(detail).to_contain_text(TEXT)
    detail.get_by_role("combobox", name="类别").press_sequentially("占道经营")
    operator.get_by_role("region", name="工单列表").get_by_role("link").first.click()
    operator.wait_for_timeout(1_000)
    expect(detail.get_by_role("combobox", name="类别")).to_have_value(re.compile("占道经营"))

"""Helpers of journeys of applications: forms of steps, ways to an application, and what the database has of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from playwright.sync_api import Locator, Page, expect

from api import wiring
from tests import applications, tiny
from tests.applications import Run


def step(page: Page, action: str) -> Locator:
    """Open the form of a step and return it."""
    found = page.locator(f'details.step[data-action="{action}"]')
    expect(found).to_have_count(1)
    for outer in page.locator("details.rare").all():
        if outer.get_attribute("open") is None and outer.locator(found).count():
            outer.locator("summary").first.click()
    if found.get_attribute("open") is None:
        found.locator("summary").first.click()
    return found


def press(form: Locator) -> None:
    """Press the button of a form and wait for what it leads to."""
    with form.page.expect_navigation():
        form.locator("form > button, form .effects ~ button").last.click()


def fill(form: Locator, **fields: str) -> Locator:
    """Fill fields by name, whatever they are drawn as."""
    for name, value in fields.items():
        radio = form.locator(f'input[type="radio"][name="{name}"][value="{value}"]')
        listed = form.locator(f'select[name="{name}"]')
        if radio.count():
            radio.check()
        elif listed.count():
            listed.select_option(value)
        else:
            form.locator(f'[name="{name}"]').fill(value)
    return form


def at_window(operator: Page, server: str, number: str) -> None:
    operator.goto(f"{server}/window/{number}")
    expect(operator.get_by_role("heading", level=1)).to_be_visible()


def at_unit(clerk: Page, server: str, number: str) -> None:
    clerk.goto(f"{server}/unit/{number}")
    expect(clerk.get_by_role("heading", level=1)).to_be_visible()


@contextmanager
def own_view(beside: Page, server: str, number: str, code: str) -> Iterator[Page]:
    """Yield what the person sees on a phone with number and code, in a browser beside another page's."""
    browser = beside.context.browser
    assert browser is not None
    context = browser.new_context(viewport={"width": 390, "height": 844}, locale="zh-CN")
    try:
        page = context.new_page()
        page.goto(f"{server}/progress")
        page.get_by_label("编号").fill(number)
        page.get_by_label("查询码").fill(code)
        page.get_by_role("button", name="查看").click()
        page.wait_for_url(f"**/progress/{number}")
        yield page
    finally:
        context.close()


def begun(code: str, at: datetime, *, actor: object = applications.WINDOW, running: int, **known: object) -> Run:
    """Hand in an application as a test of the core would; journeys begin where their own road does."""
    wiring.forget()
    book = wiring.rulebook(tiny.DISTRICT)
    person = applications.person(running)
    receipt = applications.apply(book, code, actor=actor, at=at, applicant=person, **known)  # type: ignore[arg-type]
    return Run(book, receipt, at=at)

"""Applications where they show up beside other cases: on the desk, in a unit's inbox; what is offered there and how."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from starlette.testclient import TestClient

from api import wiring
from dispatch.items.application import NewRequest, open_request
from dispatch.items.lists import Entry
from dispatch.numbers import Numbers
from tests import applications, tiny
from tests.applications import LEAD, WINDOW, Run

pytestmark = pytest.mark.web
SignedIn = Callable[[str], TestClient]
_people = count(800)
ITEM = "FACES001"


def begun(code: str = ITEM, **known: Any) -> Run:
    """Hand in an application at the window, with all that it needs unless told otherwise."""
    wiring.forget()
    at = datetime.now(UTC) - timedelta(minutes=30)
    applications.publish(code, at)
    book = wiring.rulebook(tiny.DISTRICT)
    receipt = applications.apply(book, code, at=at, applicant=applications.person(next(_people)), **known)
    return Run(book, receipt, at=at)


def on_desk(client: TestClient, run: Run) -> str:
    return client.get(f"/desk/case/{run.receipt.number}", headers={"HX-Request": "true"}).text


def forms(page: str) -> set[str]:
    """Return the steps that a page has forms for."""
    return set(re.findall(r'data-action="(\w+)"', page))


def test_the_desk_leads_to_the_windows_forms_and_draws_none_of_its_own(signed_in: SignedIn) -> None:
    run, operator = begun(given={"ID": (), "FORM": ()}), signed_in("operator")
    page = on_desk(operator, run)
    assert not forms(page) & {"notice", "accept", "accept_gaps", "hand_in", "deliver", "done_at_once"}
    assert f'href="/window/{run.receipt.number}?step=accept_gaps' in page
    there = operator.get(f"/window/{run.receipt.number}?step=notice").text
    assert re.search(r'data-action="notice" open', there)
    assert not re.search(r'data-action="accept_gaps" open', there)


def test_an_application_on_the_desk_is_not_called_uncategorised_or_accepted(signed_in: SignedIn) -> None:
    run, operator = begun(), signed_in("operator")
    page = on_desk(operator, run)
    for word in ("未分类", "无地点", "已受理"):
        assert word not in page, word
    listed = operator.get("/desk?box=all&sort=newest").text
    row = listed[listed.index(f'id="r-{run.receipt.number}"') :].partition("</li>")[0]
    assert "政务服务事项申请" in row
    assert "未分类" not in row


def test_what_the_desk_decides_itself_stays_on_the_desk(signed_in: SignedIn) -> None:
    run = begun().reviewing()
    run.do(LEAD, "extend_ask", span="5wd", reason="情况复杂")
    assert {"extend_grant", "plea_refuse"} <= forms(on_desk(signed_in("operator"), run))


def test_a_supervisor_reads_why_before_agreeing_to_a_refusal(signed_in: SignedIn) -> None:
    code = "FACES002"
    applications.keep_lists(Entry(code="PL-FACES", kind="permitted", title="虚构准许清单", item_codes=(code,)))
    run = begun(code).reviewing()
    run.do(LEAD, "propose_denial", legal_basis="试验管理办法第三条", reason="现场与图纸不符")
    page = on_desk(signed_in("supervisor"), run)
    above = page[: page.index('data-action="denial_agree"')]
    assert "现场与图纸不符" in above
    assert "试验管理办法第三条" in above


def test_a_unit_is_offered_no_step_about_materials_where_none_can_be_meant(signed_in: SignedIn) -> None:
    clerk = signed_in("streets")
    complete = begun().reviewing()
    assert "material_wrong" not in forms(clerk.get(f"/unit/{complete.receipt.number}").text)
    late = begun(given={"ID": (), "FORM": ()})
    late.do(WINDOW, "accept_gaps", owed=["PLAN"], commitment="yes")
    late.do(LEAD, "sign")
    late.do(WINDOW, "hand_in", materials=["PLAN"])
    page = clerk.get(f"/unit/{late.receipt.number}").text
    assert "material_wrong" in forms(page)
    assert 'name="wrong-PLAN"' in page
    assert 'name="wrong-ID"' not in page, "only what followed later can be sent back"


def test_the_answer_to_a_request_asks_for_no_photos_before_and_after(signed_in: SignedIn) -> None:
    wiring.forget()
    book, at = wiring.rulebook(tiny.DISTRICT), datetime.now(UTC) - timedelta(minutes=30)
    asked = NewRequest(
        applicant=applications.person(next(_people)), wanted="虚构的会议纪要", how="post", channel="window"
    )
    receipt = open_request(book, asked, actor=WINDOW, at=at, number=Numbers(tiny.DISTRICT).take(at))
    run = Run(book, receipt, at=at)
    run.do(WINDOW, "register", unit=tiny.STREETS)
    run.do(LEAD, "sign")
    page = signed_in("streets").get(f"/unit/{receipt.number}").text
    assert "reply" in forms(page)
    assert "photos_before" not in page
    assert 'name="photos_evidence"' in page

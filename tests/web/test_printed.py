"""What is printed for an applicant and for the file: each sheet says what the law wants on it and nothing empty."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from starlette.testclient import TestClient

from api import wiring
from tests import applications, tiny
from tests.applications import LEAD, PARALLEL, WINDOW, Run

pytestmark = pytest.mark.web
SignedIn = Callable[[str], TestClient]
_people = count(900)


def begun(code: str = "PRINT001", **known: Any) -> Run:
    """Hand in an application at the window, with all that it needs."""
    wiring.forget()
    at = datetime.now(UTC) - timedelta(minutes=30)
    applications.publish(code, at, **known)
    book = wiring.rulebook(tiny.DISTRICT)
    return Run(book, applications.apply(book, code, at=at, applicant=applications.person(next(_people))), at=at)


def printed(client: TestClient, run: Run, what: str) -> str:
    answer = client.get(f"/window/{run.receipt.number}/print/{what}")
    assert answer.status_code == 200, answer.text
    return answer.text


def test_a_refusal_carries_its_reason_its_basis_and_the_way_to_object(signed_in: SignedIn) -> None:
    run = begun().reviewing()
    run.do(LEAD, "deny", legal_basis="试验管理办法第三条", reason="不符合条件一")
    slip = printed(signed_in("operator"), run, "result")
    for word in ("不符合条件一", "试验管理办法第三条", "行政复议"):
        assert word in slip, word
    assert "试验许可证" not in slip, "nobody fetches a permit that was not granted"


def test_a_grant_names_its_document_and_no_way_to_object(signed_in: SignedIn) -> None:
    run = begun().reviewing()
    run.do(LEAD, "grant")
    slip = printed(signed_in("operator"), run, "result")
    assert "试验许可证" in slip
    assert "行政复议" not in slip


def test_what_is_not_accepted_is_told_on_paper_with_where_to_turn(signed_in: SignedIn) -> None:
    run, operator = begun(), signed_in("operator")
    assert "/print/result" not in operator.get(f"/window/{run.receipt.number}").text
    run.do(WINDOW, "refuse_acceptance", where_to_turn="望湖镇便民服务中心", reason="不属于本机关职权范围")
    assert "/print/result" in operator.get(f"/window/{run.receipt.number}").text
    slip = printed(operator, run, "result")
    for word in ("不予受理通知书", "不属于本机关职权范围", "望湖镇便民服务中心", "行政复议"):
        assert word in slip, word


def test_the_receipt_of_what_was_accepted_is_a_notice_of_acceptance_with_the_applicants_own_limit(
    signed_in: SignedIn,
) -> None:
    run, operator = begun("PRINT002", **PARALLEL), signed_in("operator")
    before = printed(operator, run, "receipt")
    assert "受理通知书" not in before
    assert "待受理" in before
    run.do(WINDOW, "accept")
    after = printed(operator, run, "receipt")
    assert "受理通知书" in after
    assert "待决定" in after
    assert "协办" not in after, "limits of units among each other are not the applicant's affair"


def test_the_sheet_of_an_application_has_no_rows_of_a_complaint(signed_in: SignedIn) -> None:
    run = begun().reviewing()
    page = signed_in("operator").get(f"/cases/{run.receipt.number}").text
    terms = re.findall(r"<dt>([^<]+)</dt>", page)
    assert "收件时间" in terms
    for word in ("类别", "地点", "反映时间"):
        assert word not in terms, word
    assert "受理时系统的判断" not in page

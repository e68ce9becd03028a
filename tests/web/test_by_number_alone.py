"""What an application tells whoever has its number alone, and what it tells its own person, on the page and as data."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from starlette.testclient import TestClient

from api import wiring
from tests import applications, tiny
from tests.applications import CITIZEN, LEAD, SUPERVISOR, SWEEP, WINDOW, Run
from tests.web.conftest import csrf

pytestmark = pytest.mark.web
_people = count(700)
ITEM = "NUMBER001"


def begun(code: str = ITEM, **known: Any) -> Run:
    """Hand in an application of a person of its own, with all that it needs unless told otherwise."""
    wiring.forget()
    at = datetime.now(UTC) - timedelta(minutes=30)
    applications.publish(code, at)
    book = wiring.rulebook(tiny.DISTRICT)
    receipt = applications.apply(book, code, at=at, applicant=applications.person(next(_people)), **known)
    return Run(book, receipt, at=at)


def told(client: TestClient, run: Run, *, code: str = "") -> dict[str, Any]:
    """Return what the API says of it."""
    headers = {"Access-Code": code} if code else {}
    answer = client.get(f"/api/v1/progress/{run.receipt.number}", headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def page(client: TestClient, run: Run, *, code: str = "") -> str:
    """Return the page of it, as a stranger or as whoever showed the code."""
    client.cookies.clear()
    if code:
        form = {"number": run.receipt.number, "code": code, "csrf_token": csrf(client)}
        assert client.post("/progress", data=form).status_code == 303
    return client.get(f"/progress/{run.receipt.number}").text


def steps(known: dict[str, Any]) -> list[str]:
    return [step["action"] for step in known["steps"]]


def granted(run: Run) -> None:
    run.reviewing().do(LEAD, "grant", decision_number="试许〔2026〕1号")


def denied(run: Run) -> None:
    run.reviewing().do(LEAD, "deny", legal_basis="试验管理办法第三条", reason="不符合条件一")


@pytest.mark.parametrize("decide", [granted, denied])
def test_a_stranger_sees_that_it_was_decided_and_not_how(client: TestClient, decide: Any) -> None:
    run = begun()
    decide(run)
    known = told(client, run)
    assert steps(known) == ["receive", "accept", "sign", "decide"]
    assert known["state"] == known["steps"][-1]["state"] == "decided"
    assert (known["unit"], known["town"], known["category"]) == (None, None, None)
    shown = page(client, run)
    assert "已作出决定" in shown
    for word in ("准予", "不予", "批准", "区城市管理局", "试验事项", "试许", "不符合条件"):
        assert word not in shown, word


def test_the_own_person_sees_how_it_was_decided(client: TestClient) -> None:
    run = begun()
    denied(run)
    known = told(client, run, code=run.receipt.access_code)
    assert steps(known) == ["receive", "accept", "sign", "deny"]
    assert (known["state"], known["unit"]) == ("denied", "区城市管理局")
    assert "不符合条件一" in page(client, run, code=run.receipt.access_code)


@pytest.mark.parametrize(
    ("who", "action", "fields"),
    [
        (WINDOW, "refuse_acceptance", {"where_to_turn": "望湖镇人民政府", "reason": "不属于本事项"}),
        (CITIZEN, "withdraw", {"reason": "不办了"}),
    ],
)
def test_a_stranger_does_not_learn_why_it_ended(
    client: TestClient, who: Any, action: str, fields: dict[str, Any]
) -> None:
    run = begun()
    run.do(who, action, **fields)
    known = told(client, run)
    assert (steps(known), known["state"], known["open"]) == (["receive", "end"], "ended", False)
    shown = page(client, run)
    for word in (*fields.values(), "不予受理", "撤回", "收回"):
        assert word not in shown, word


def test_that_material_never_came_is_nobody_elses_affair(client: TestClient) -> None:
    run = begun(given={"ID": ()})
    run.do(WINDOW, "notice")
    run.do(SWEEP, "lapse")
    assert steps(told(client, run)) == ["receive", "notice", "end"]
    assert steps(told(client, run, code=run.receipt.access_code)) == ["receive", "notice", "lapse"]


def test_accepted_with_gaps_is_accepted_to_a_stranger(client: TestClient) -> None:
    run = begun(given={"ID": (), "FORM": ()})
    run.do(WINDOW, "accept_gaps", owed=["PLAN"], commitment="yes")
    run.do(CITIZEN, "choose_pickup", pickup_place="YJ")
    assert steps(told(client, run)) == ["receive", "accept"]
    own = told(client, run, code=run.receipt.access_code)
    assert steps(own) == ["receive", "accept_gaps", "choose_pickup"]


def test_a_refusal_under_review_is_told_to_nobody_before_it_stands(client: TestClient) -> None:
    from dispatch.items.lists import Entry

    code = "NUMBER002"
    entry = Entry(code="PL-NUMBER", kind="permitted", title="虚构清单", basis="虚构", item_codes=(code,))
    applications.keep_lists(entry)
    run = begun(code)
    run.reviewing().do(LEAD, "propose_denial", legal_basis="试验管理办法第三条", reason="材料存疑")
    for shown in ("", run.receipt.access_code):
        known = told(client, run, code=shown)
        assert known["state"] == "reviewing"
        assert steps(known) == ["receive", "accept", "sign"]
        assert "材料存疑" not in page(client, run, code=shown)
    run.do(SUPERVISOR, "denial_agree", ruling="同意")
    assert steps(told(client, run))[-1] == "decide"
    assert "材料存疑" in page(client, run, code=run.receipt.access_code)

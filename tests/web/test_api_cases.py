"""Work on cases through the API: the same choices and refusals as the pages, alone, on many, and as the citizen."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.ids import new_id
from tests import tiny

pytestmark = pytest.mark.web
RUBBISH = "滨湖路22号门口的垃圾三天没有清运，味道很大。"


@pytest.fixture
def token(client: TestClient) -> Callable[[str], dict[str, str]]:
    """Return a function: login → headers with a bearer token."""

    def of(login: str) -> dict[str, str]:
        answer = client.post("/api/v1/tokens", json={"login": login, "password": tiny.PASSWORD})
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    return of


def with_streets(client: TestClient, operator: dict[str, str]) -> dict[str, Any]:
    """Take a report in and send it to the streets unit; returns the receipt with the version that follows."""
    body = {"text": RUBBISH, "category": "1001"}
    receipt = client.post("/api/v1/reports", json=body, headers=operator | {"Idempotency-Key": str(new_id())}).json()
    if receipt["state"] == "received":
        act(client, operator, receipt["number"], "dispatch", unit=tiny.STREETS)
    return dict(receipt)


def version(client: TestClient, headers: dict[str, str], number: str) -> int:
    return int(client.get(f"/api/v1/cases/{number}", headers=headers).json()["case"]["version"])


def act(client: TestClient, headers: dict[str, str], number: str, action: str, **fields: Any) -> Any:
    seen = client.get(f"/api/v1/cases/{number}", headers=headers)
    assert seen.status_code == 200, seen.text
    body = {"action": action, "expected_version": seen.json()["case"]["version"], "fields": fields}
    answer = client.post(f"/api/v1/cases/{number}/actions", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_actions_say_what_their_form_asks(client: TestClient, token: Callable[[str], dict[str, str]]) -> None:
    operator, streets = token("operator"), token("streets")
    number = with_streets(client, operator)["number"]
    act(client, streets, number, "sign")
    offered = {a["action"]: a for a in client.get(f"/api/v1/cases/{number}/actions", headers=streets).json()}
    assert {"reply", "return", "extend_ask", "pause_ask", "park_ask", "add_unit", "note"} <= offered.keys()
    assert not {"extend_grant", "dispute", "close", "share_reply"} & offered.keys()
    fields = {field["name"]: field for field in offered["reply"]["fields"]}
    assert fields["answer"]["needed"]
    assert fields["truth"]["needed"]
    assert fields["truth"]["choices"]["partly"]
    assert fields["unsolved_reason"]["needed_if"] == {"solved": ["partly", "no"]}


def test_a_guard_hides_the_step_and_refuses_it_all_the_same(
    client: TestClient, token: Callable[[str], dict[str, str]]
) -> None:
    operator, streets = token("operator"), token("streets")
    number = with_streets(client, operator)["number"]
    act(client, streets, number, "sign")
    body = {"action": "extend_grant", "expected_version": version(client, operator, number), "fields": {}}
    answer = client.post(f"/api/v1/cases/{number}/actions", json=body, headers=operator)
    assert answer.status_code == 409
    act(client, streets, number, "extend_ask", span="3wd", reason="等材料")
    actions = [a["action"] for a in client.get(f"/api/v1/cases/{number}/actions", headers=operator).json()]
    assert "extend_grant" in actions
    before = client.get(f"/api/v1/cases/{number}/clocks", headers=operator).json()
    act(client, operator, number, "extend_grant")
    after = client.get(f"/api/v1/cases/{number}/clocks", headers=operator).json()
    reply = [next(c for c in told if c["clock"] == "reply") for told in (before, after)]
    assert reply[0]["due_at"] < reply[1]["due_at"]
    assert (reply[0]["extra"], reply[1]["extra"]) == ([], ["3wd"])
    assert reply[0]["started_at"] == reply[1]["started_at"]
    assert sum(day["counted"] for day in reply[1]["days"]) == 8


def test_many_cases_are_signed_at_once_and_each_refusal_says_why(
    client: TestClient, token: Callable[[str], dict[str, str]]
) -> None:
    operator, streets = token("operator"), token("streets")
    numbers = [with_streets(client, operator)["number"] for _ in range(3)]
    seen = [{"number": n, "expected_version": version(client, streets, n)} for n in numbers]
    act(client, streets, numbers[1], "sign")
    body = {"action": "sign", "cases": [*seen, {"number": "nothing", "expected_version": 1}]}
    answers = client.post("/api/v1/cases/actions", json=body, headers=streets).json()
    assert [a["done"] for a in answers] == [True, False, True, False]
    assert all(a["problem"] for a in answers if not a["done"])
    assert version(client, streets, numbers[0]) == seen[0]["expected_version"] + 1


def test_an_answer_with_open_places_is_not_sent(client: TestClient, token: Callable[[str], dict[str, str]]) -> None:
    operator, streets = token("operator"), token("streets")
    number = with_streets(client, operator)["number"]
    act(client, streets, number, "sign")
    form = {"answer": "我们于____到现场。", "truth": "yes", "duty": "yes", "contacted": "yes", "solved": "yes"}
    body = {"action": "reply", "expected_version": version(client, streets, number), "fields": form}
    answer = client.post(f"/api/v1/cases/{number}/actions", json=body, headers=streets)
    assert (answer.status_code, answer.json()["field"]) == (422, "answer")


def test_more_than_a_hundred_at_once_are_refused(client: TestClient, token: Callable[[str], dict[str, str]]) -> None:
    body = {"action": "sign", "cases": [{"number": str(n), "expected_version": 1} for n in range(101)]}
    assert client.post("/api/v1/cases/actions", json=body, headers=token("streets")).status_code == 422


def test_the_citizen_acts_with_number_and_code_only(client: TestClient, token: Callable[[str], dict[str, str]]) -> None:
    receipt = with_streets(client, token("operator"))
    number, code = receipt["number"], {"Access-Code": receipt["access_code"]}
    url = f"/api/v1/progress/{number}/actions"
    assert client.get(url).status_code == 422
    assert client.get(url, headers={"Access-Code": "000000"}).status_code == 404
    offered = [a["action"] for a in client.get(url, headers=code).json()]
    assert "withdraw" in offered
    assert "sign" not in offered
    seen = version(client, token("operator"), number)
    body = {"action": "sign", "expected_version": seen, "fields": {}}
    assert client.post(url, json=body, headers=code).status_code == 403
    body = {"action": "withdraw", "expected_version": seen, "fields": {"reason": "已经有人清走了"}}
    assert client.post(url, json=body, headers=code).json()["state"] == "withdrawn"
    assert client.post(url, json=body, headers=code).status_code == 409


def test_a_photo_is_hung_on_a_case_and_junk_is_not(client: TestClient, token: Callable[[str], dict[str, str]]) -> None:
    import io

    from PIL import Image

    streets = token("streets")
    number = with_streets(client, token("operator"))["number"]
    out = io.BytesIO()
    Image.new("RGB", (40, 30), "green").save(out, "PNG")
    url = f"/api/v1/cases/{number}/photos"
    kept = client.post(
        url, files={"photo": ("a.png", out.getvalue(), "image/png")}, data={"purpose": "after"}, headers=streets
    )
    assert kept.status_code == 201, kept.text
    sheet = client.get(f"/api/v1/cases/{number}", headers=streets).json()
    assert [p["purpose"] for p in sheet["photos"]] == ["after"]
    for junk, status in ((b"MZ" * 100, 415), (b"\x89PNG" + b"0" * (11 * 2**20), 413)):
        answer = client.post(url, files={"photo": ("a.png", junk, "image/png")}, headers=streets)
        assert answer.status_code == status, answer.text
    water = client.post(url, files={"photo": ("a.png", out.getvalue(), "image/png")}, headers=token("water"))
    assert water.status_code == 404


def test_process_tables_are_there_for_programs(client: TestClient) -> None:
    tables = client.get("/api/v1/processes").json()
    assert {("complaint", 1), ("complaint", 2), ("assignment", 1)} <= {(t["name"], t["version"]) for t in tables}
    newest = client.get("/api/v1/processes/complaint").json()
    assert newest["version"] == max(t["version"] for t in tables if t["name"] == "complaint")
    assert client.get("/api/v1/processes/none").status_code == 404

"""The JSON API: tokens, reports, worklists by role, steps by version, problems, bounds."""

from collections.abc import Callable

import httpx
import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from core.actor import Role
from core.errors import Conflict
from core.ids import new_id
from tests import tiny

pytestmark = pytest.mark.web
RUBBISH = "滨湖路18号门口的垃圾三天没有清运，味道很大。"


@pytest.fixture
def token(client: TestClient) -> Callable[[str], dict[str, str]]:
    """Return a function: login → headers with a bearer token."""

    def of(login: str) -> dict[str, str]:
        answer = client.post("/api/v1/tokens", json={"login": login, "password": tiny.PASSWORD})
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    return of


def report(client: TestClient, text: str = RUBBISH, **members: object) -> dict[str, object]:
    answer = client.post("/api/v1/reports", json={"text": text} | members, headers={"Idempotency-Key": str(new_id())})
    assert answer.status_code == 201, answer.text
    found: dict[str, object] = answer.json()
    return found


def test_a_report_is_taken_without_an_account(client: TestClient) -> None:
    receipt = report(client)
    assert receipt["number"]
    assert len(str(receipt["access_code"])) == 6


def test_the_same_idempotency_key_answers_200_with_the_same_number(client: TestClient) -> None:
    key = {"Idempotency-Key": str(new_id())}
    first = client.post("/api/v1/reports", json={"text": RUBBISH}, headers=key)
    second = client.post("/api/v1/reports", json={"text": RUBBISH}, headers=key)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["number"] == second.json()["number"]
    assert second.json()["repeated"]


def test_only_staff_may_name_channel_and_source(client: TestClient, token: Callable[[str], dict[str, str]]) -> None:
    body = {"text": RUBBISH, "channel": "hotline", "source_id": "call-1"}
    assert client.post("/api/v1/reports", json=body).status_code == 401
    assert client.post("/api/v1/reports", json=body, headers=token("operator")).status_code == 201
    assert client.post("/api/v1/reports", json=body, headers=token("operator")).status_code == 200


def test_what_a_grid_worker_finds_on_patrol_is_a_patrol_event_of_the_own_town(
    client: TestClient, token: Callable[[str], dict[str, str]], district: tiny.Tiny
) -> None:
    worker = token("gridwest")

    def sent(point: tuple[float, float] | None) -> httpx.Response:
        body: dict[str, object] = {"text": "路边井盖松动。", "channel": "patrol", "event": "part"}
        if point:
            body["point"] = {"lng": point[0], "lat": point[1], "datum": "WGS84"}
        return client.post("/api/v1/reports", json=body, headers=worker)

    assert (sent(None).status_code, sent(district.in_east).status_code) == (422, 422)
    found = sent(district.in_west)
    assert (found.status_code, found.json()["state"]) == (201, "in_cell")
    case = client.get(f"/api/v1/cases/{found.json()['number']}", headers=worker).json()
    assert case["case"]["kind"] == "part"


def test_progress_tells_more_with_the_code(client: TestClient) -> None:
    receipt = report(client)
    bare = client.get(f"/api/v1/progress/{receipt['number']}").json()
    own = client.get(
        f"/api/v1/progress/{receipt['number']}", headers={"Access-Code": str(receipt["access_code"])}
    ).json()
    assert (bare["own"], bare["text"]) == (False, "")
    assert own["own"]
    assert "垃圾" in own["text"]


def test_a_stale_version_is_refused_and_changes_nothing(
    client: TestClient, token: Callable[[str], dict[str, str]]
) -> None:
    number, operator = report(client)["number"], token("operator")
    case = client.get(f"/api/v1/cases/{number}", headers=operator)
    version = case.json()["case"]["version"]
    assert case.headers["etag"] == f'"{version}"'
    note = {"action": "note", "fields": {"note": "已电话核实"}}
    done = client.post(f"/api/v1/cases/{number}/actions", json=note, headers=operator | {"If-Match": f'"{version}"'})
    assert done.status_code == 200, done.text
    stale = client.post(f"/api/v1/cases/{number}/actions", json=note | {"expected_version": version}, headers=operator)
    assert stale.status_code == 409
    assert stale.headers["content-type"] == "application/problem+json"
    after = client.get(f"/api/v1/cases/{number}", headers=operator).json()
    assert after["case"]["version"] == version + 1
    assert sum(entry["action"] == "note" for entry in after["entries"]) == 1


def test_an_action_without_a_version_is_refused(client: TestClient, token: Callable[[str], dict[str, str]]) -> None:
    number, operator = report(client)["number"], token("operator")
    answer = client.post(f"/api/v1/cases/{number}/actions", json={"action": "note"}, headers=operator)
    assert answer.status_code == 422
    assert answer.json()["field"] == "expected_version"


def test_actions_on_offer_are_those_of_the_process_table(
    client: TestClient, token: Callable[[str], dict[str, str]]
) -> None:
    number = report(client, "有个问题想反映一下，具体地方说不清楚。")["number"]
    operator = {a["action"] for a in client.get(f"/api/v1/cases/{number}/actions", headers=token("operator")).json()}
    official = client.get(f"/api/v1/cases/{number}/actions", headers=token("official")).json()
    assert {"correct", "dispatch", "refuse", "note"} <= operator
    assert official == []


def test_lists_are_bounded(client: TestClient, token: Callable[[str], dict[str, str]]) -> None:
    for _ in range(3):
        report(client)
    operator = token("operator")
    first = client.get("/api/v1/cases", params={"limit": 2, "sort": "newest"}, headers=operator).json()
    second = client.get(
        "/api/v1/cases", params={"limit": 2, "sort": "newest", "after": first["after"]}, headers=operator
    ).json()
    assert len(first["cases"]) == 2
    assert not {c["number"] for c in first["cases"]} & {c["number"] for c in second["cases"]}
    assert client.get("/api/v1/cases", params={"limit": 100000}, headers=operator).status_code == 422


@pytest.mark.parametrize("login", ["admin", "citizen"])
def test_roles_without_cases_get_none(client: TestClient, token: Callable[[str], dict[str, str]], login: str) -> None:
    number = report(client)["number"]
    headers = token(login)
    assert client.get("/api/v1/cases", headers=headers).status_code == 403
    assert client.get(f"/api/v1/cases/{number}", headers=headers).status_code == 403


def test_nobody_is_answered_401_as_a_problem(client: TestClient) -> None:
    answer = client.get("/api/v1/cases")
    assert answer.status_code == 401
    assert answer.json()["status"] == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_forged_token_is_refused(client: TestClient) -> None:
    assert client.get("/api/v1/categories", headers={"Authorization": "Bearer abc.def.ghi"}).status_code == 401


def test_the_openapi_document_names_every_route_and_its_page_names_no_other_host(client: TestClient) -> None:
    document = client.get("/api/openapi.json").json()
    assert {"/api/v1/reports", "/api/v1/cases/{number}/actions", "/api/v1/progress/{number}"} <= set(document["paths"])
    page = client.get("/api/docs")
    assert page.status_code == 200
    assert "https://" not in page.text.replace("http://www.w3.org", "")


def test_understanding_and_geocoding_keep_nothing(client: TestClient, token: Callable[[str], dict[str, str]]) -> None:
    operator = token("operator")
    before = client.get("/api/v1/cases?box=all", headers=operator).json()["count"]
    found = client.post("/api/v1/understand", json={"text": RUBBISH}).json()
    assert found["status"] == "located"
    assert found["town"] == tiny.WEST
    assert client.get("/api/v1/geocode", params={"q": "滨湖路18号"}).json()["matches"]
    assert client.get("/api/v1/cases?box=all", headers=operator).json()["count"] == before


def test_the_language_of_a_problem_follows_the_request(client: TestClient) -> None:
    chinese = client.get("/api/v1/cases").json()["title"]
    english = client.get("/api/v1/cases?lang=en").json()["title"]
    assert english == "Please sign in"
    assert chinese != english


def test_a_commit_that_fails_is_not_answered_with_200(
    client: TestClient, token: Callable[[str], dict[str, str]]
) -> None:
    """The answer is sent after the commit: what cannot be committed is an error, and is not there afterwards."""
    number, operator = report(client)["number"], token("operator")
    version = client.get(f"/api/v1/cases/{number}", headers=operator).json()["case"]["version"]

    def refuse(session: Session) -> None:
        reads = session.connection().exec_driver_sql("SHOW transaction_read_only").scalar() == "on"
        if not reads and session.info["actor"].role is Role.OPERATOR:
            raise Conflict("Somebody else changed this at the same moment; load it again.")

    event.listen(Session, "before_commit", refuse)
    try:
        body = {"action": "note", "expected_version": version, "fields": {"note": "试一下"}}
        answer = client.post(f"/api/v1/cases/{number}/actions", json=body, headers=operator)
    finally:
        event.remove(Session, "before_commit", refuse)
    assert answer.status_code == 409
    assert client.get(f"/api/v1/cases/{number}", headers=operator).json()["case"]["version"] == version

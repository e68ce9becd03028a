"""Applying through the API: files, one application per key, what is missing, handing in more, requests for information."""

from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.ids import new_id
from tests import tiny
from tests.web import counters

pytestmark = pytest.mark.web
ALLOWANCE = "SL110001"
PDF = b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n"
#: Invented from end to end.
PERSON = {"name": "何婆婆", "phone": "13800000001", "id_number": counters.card()}


@pytest.fixture(scope="module", autouse=True)
def items(district: tiny.Tiny) -> None:
    counters.publish(datetime.now(UTC))


@pytest.fixture
def sheet(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/v1/items/{ALLOWANCE}").json()
    return found


def stored(client: TestClient, data: bytes = PDF, name: str = "材料.pdf") -> Any:
    return client.post("/api/v1/files", files={"file": (name, data, "application/pdf")})


def body(**members: Any) -> dict[str, Any]:
    return {"item": ALLOWANCE, "applicant": PERSON, "town": tiny.WEST} | members


def test_the_same_key_is_the_same_application(client: TestClient) -> None:
    key = {"Idempotency-Key": str(new_id())}
    first = client.post("/api/v1/applications", json=body(), headers=key)
    again = client.post("/api/v1/applications", json=body(), headers=key)
    assert (first.status_code, again.status_code) == (201, 200), first.text
    assert first.json()["number"] == again.json()["number"]
    assert first.json()["missing"], "nothing was handed in"


def test_the_applicant_sees_what_is_missing_and_hands_it_in(client: TestClient) -> None:
    receipt = client.post("/api/v1/applications", json=body()).json()
    code = {"Access-Code": receipt["access_code"]}
    url = f"/api/v1/progress/{receipt['number']}"
    own = client.get(f"{url}/application", headers=code).json()
    assert own["missing"] == [one["code"] for one in receipt["missing"]]
    assert client.get(f"{url}/application", headers={"Access-Code": "000000"}).status_code == 404
    wanted = next(one for one in own["materials"] if one["code"] == own["missing"][0])
    token = stored(client).json()["token"]
    handed = client.post(f"{url}/materials/{wanted['code']}", json={"token": token}, headers=code)
    if handed.status_code == 422:
        # The sheet takes photos of this one.
        assert "类型" in handed.json()["detail"] or handed.json()["field"] == "file"
        return
    assert handed.status_code == 201, handed.text
    assert len(handed.json()["files"]) == 1


def test_a_file_of_another_type_or_too_large_is_refused(client: TestClient) -> None:
    assert stored(client, b"MZ\x90\x00" * 40, "a.pdf").status_code == 415
    assert stored(client, b"%PDF-1.4\n" + b"0" * (50 * 2**20)).status_code == 413
    assert stored(client, b"%PDF-1.4\n/JavaScript (x)\n%%EOF").status_code == 415


def test_a_forged_file_token_is_refused(client: TestClient, sheet: dict[str, Any]) -> None:
    code = sheet["sheet"]["materials"][0]["code"]
    answer = client.post("/api/v1/applications", json=body(given={code: ["forged.token"]}))
    assert answer.status_code == 422
    assert answer.json()["field"] == "given"


def test_only_the_window_takes_papers(client: TestClient) -> None:
    assert client.post("/api/v1/applications", json=body(channel="window")).status_code == 401
    answer = client.post("/api/v1/applications", json=body(given={"anything": []}))
    assert answer.status_code == 422


def test_the_window_sees_its_queue_and_the_public_does_not(client: TestClient) -> None:
    number = client.post("/api/v1/applications", json=body()).json()["number"]
    assert client.get("/api/v1/applications").status_code == 401
    signed = client.post("/api/v1/tokens", json={"login": "operator", "password": tiny.PASSWORD}).json()
    operator = {"Authorization": f"Bearer {signed['token']}"}
    assert client.get("/api/v1/applications?limit=100", headers=operator).status_code == 200
    whole = client.get(f"/api/v1/applications/{number}", headers=operator).json()
    assert whole["item"] == ALLOWANCE
    offered = [a["action"] for a in client.get(f"/api/v1/cases/{number}/actions", headers=operator).json()]
    assert "notice" in offered
    assert client.get("/api/v1/applications?limit=101", headers=operator).status_code == 422


def test_an_unknown_or_withdrawn_item_is_refused(client: TestClient) -> None:
    assert client.post("/api/v1/applications", json=body(item="NONE")).status_code == 404


def test_a_request_for_information_has_its_own_limit(client: TestClient) -> None:
    asked = {"applicant": PERSON, "wanted": "望湖镇2025年垃圾清运合同"}
    receipt = client.post("/api/v1/information-requests", json=asked)
    assert receipt.status_code == 201, receipt.text
    assert receipt.json()["due_at"]
    assert client.post("/api/v1/information-requests", json={**asked, "wanted": ""}).status_code == 422

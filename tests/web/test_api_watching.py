"""Late records, messages about a case and sealed data through the API: the refusals of the pages."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from api import wiring, worker
from core.actor import citizen
from core.settings import settings
from hotline.intake import Report
from tests import tiny

pytestmark = pytest.mark.web
Token = Callable[[str], dict[str, str]]


@pytest.fixture
def token(client: TestClient) -> Token:
    def of(login: str) -> dict[str, str]:
        answer = client.post("/api/v1/tokens", json={"login": login, "password": tiny.PASSWORD})
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    return of


def reported() -> str:
    at = wiring.now()
    said = Report(
        channel="web", text="滨湖路14号门口垃圾堆了三天没人清。", reported_at=at, phone="13900004444", name="李四"
    )
    return wiring.intake().receive(said, actor=citizen(tiny.DISTRICT), at=at).number


def test_sealed_data_are_opened_with_a_reason_and_only_by_who_needs_them(client: TestClient, token: Token) -> None:
    path, body = (
        f"/api/v1/cases/{reported()}/openings",
        {"field": "phone", "why": "answer", "reason": "回访核实位置"},
    )
    operator = token("operator")
    found = client.post(path, json=body, headers=operator)
    assert found.status_code == 200, found.text
    assert [one["values"] for one in found.json()] == [["13900004444"]]
    for wrong in ({"reason": ""}, {"why": "curious"}, {"why": ""}, {"field": "id_number"}, {"extra": 1}):
        assert client.post(path, json=body | wrong, headers=operator).status_code == 422, wrong
    for login in ("official", "gridwest", "admin", "citizen"):
        assert client.post(path, json=body, headers=token(login)).status_code in (403, 404), login
    assert client.post(path, json=body).status_code in (401, 403)


def test_what_went_out_is_masked_and_for_who_answers_callers(
    client: TestClient, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANGGE_SINK", "1")
    settings.cache_clear()
    wiring.forget()
    path = f"/api/v1/cases/{reported()}/told"
    worker.relay()
    rows = client.get(path, headers=token("operator")).json()
    assert rows
    assert {row["to"] for row in rows} == {"139****4444"}
    assert client.get(path, headers=token("streets")).status_code == 403


def test_late_records_are_supervisions_and_bounded_to_a_year(client: TestClient, token: Token) -> None:
    now = wiring.now()

    def ask(login: str, days: int, **more: Any) -> Any:
        span = {"since": (now - timedelta(days=days)).isoformat(), "until": now.isoformat()}
        return client.get("/api/v1/late", params=span | more, headers=token(login))

    reported()
    found = ask("supervisor", 30)
    assert found.status_code == 200, found.text
    assert found.json().keys() == {"units", "entries"}
    assert ask("supervisor", 30, unit="", limit=1).status_code == 200
    assert ask("supervisor", 800).status_code == 422
    assert ask("supervisor", -1).status_code == 422
    assert ask("operator", 30).status_code == 403

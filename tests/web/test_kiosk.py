"""The terminal in the hall through HTTP: a report of its own channel, and nothing left of the last person."""

import re

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from api.pages import kiosk
from core.db import transaction
from dispatch.models import Case
from tests import builders, tiny

pytestmark = pytest.mark.web


def start(client: TestClient) -> tuple[str, str, str]:
    """Return the page of the terminal's start, its token and the form's key."""
    page = client.get("/kiosk")
    assert page.status_code == 200
    found = re.search(r'name="csrf_token" value="([0-9a-f]+)"', page.text)
    key = re.search(r'name="key" value="([^"]+)"', page.text)
    assert found
    assert key
    return page.text, found[1], key[1]


def send(client: TestClient, **given: str) -> str:
    _, token, key = start(client)
    answer = client.post("/kiosk", data={"csrf_token": token, "key": key} | given)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def test_a_report_of_the_terminal_gets_a_receipt_with_a_picture_of_its_address(client: TestClient) -> None:
    place = send(client, text="青石街6号门口路灯不亮", phone="13800138000")
    receipt = client.get(place)
    assert receipt.headers["cache-control"] == "no-store"
    assert "<svg" in receipt.text
    assert "13800138000" not in receipt.text
    with transaction(builders.program(tiny.DISTRICT)) as session:
        case = session.scalars(select(Case).where(Case.text == "青石街6号门口路灯不亮")).one()
        assert case.channel == "kiosk"


def test_the_start_forgets_who_was_there_before(client: TestClient) -> None:
    send(client, text="滨湖路10号井盖破损，行人绊倒")
    before = dict(client.cookies)
    page, _, _ = start(client)
    assert "井盖" not in page
    assert client.cookies["wg_visit"] != before["wg_visit"], "a new visit, which no older form belongs to"
    assert "wg_own" not in client.cookies
    assert 'data-type="large"' in page


def test_a_language_that_somebody_chose_is_not_the_next_persons(client: TestClient) -> None:
    assert "Start again" in client.get("/kiosk?lang=en").text
    assert "重新开始" in client.get("/kiosk").text


def test_a_receipt_is_not_shown_for_long_nor_to_whoever_makes_an_address_up(client: TestClient) -> None:
    gone = client.get("/kiosk/receipt/abc")
    assert gone.status_code == 404
    assert 'data-home="/kiosk"' in gone.text, "nobody leads the terminal back by hand: an error does so, too"
    assert "/login" not in gone.text


def test_what_was_typed_stays_when_the_terminal_has_sent_too_much(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kiosk, "_MOST", 0)
    _, token, key = start(client)
    answer = client.post("/kiosk", data={"csrf_token": token, "key": key, "text": "路灯不亮，天天如此"})
    assert answer.status_code == 429
    assert "路灯不亮，天天如此" in answer.text
    assert "kiosk.js" in answer.text


def test_a_form_with_a_key_of_somebody_elses_making_is_refused(client: TestClient) -> None:
    _, token, _ = start(client)
    given = {"csrf_token": token, "text": "路灯不亮", "key": "open311:0192f000-0000-7000-8000-000000000000"}
    assert client.post("/kiosk", data=given).status_code == 422, "it would show the receipt of that other report"


def test_what_was_typed_stays_when_something_is_wrong(client: TestClient) -> None:
    _, token, key = start(client)
    answer = client.post("/kiosk", data={"csrf_token": token, "key": key, "text": "路灯不亮", "phone": "没有"})
    assert answer.status_code == 422
    assert "路灯不亮" in answer.text


def test_the_same_form_sent_twice_is_one_report(client: TestClient) -> None:
    _, token, key = start(client)
    form = {"csrf_token": token, "key": key, "text": "柳岸花园门口积水很深"}
    assert client.post("/kiosk", data=form).status_code == client.post("/kiosk", data=form).status_code == 303
    with transaction(builders.program(tiny.DISTRICT)) as session:
        assert len(session.scalars(select(Case).where(Case.text == "柳岸花园门口积水很深")).all()) == 1

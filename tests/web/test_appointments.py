"""Appointments through HTTP: as a resident books, as the window sees it, and as programs do."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import count

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from api import wiring
from core.db import transaction
from dispatch.calendar import CHINA
from tests import tiny
from tests.builders import program
from tests.web.conftest import csrf

pytestmark = pytest.mark.database

_phones = (f"139{n:08d}" for n in count())


@pytest.fixture(autouse=True)
def _empty_windows(district: tiny.Tiny) -> Iterator[None]:
    """Give every seat back afterwards."""
    yield
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(
            text(
                "UPDATE appointment SET status = 'cancelled', cancelled_at = booked_at, phone_turn = NULL"
                " WHERE district_code = :d AND status <> 'cancelled'"
            ),
            {"d": tiny.DISTRICT},
        )


def free(client: TestClient, window: str = tiny.COUNTER) -> list[str]:
    """Return the beginnings of the free slots, from tomorrow on: today's may begin while the test runs."""
    tomorrow = (wiring.now().astimezone(CHINA) + timedelta(days=1)).date().isoformat()
    answer = client.get("/api/v1/slots", params={"window": window})
    assert answer.status_code == 200, answer.text
    return [slot["starts_at"] for slot in answer.json() if slot["starts_at"] >= tomorrow]


def form(client: TestClient, starts_at: str, **known: str) -> dict[str, str]:
    filled = {"window": tiny.COUNTER, "starts_at": starts_at, "name": "陈小明", "phone": next(_phones), "key": "k" * 16}
    return filled | {"key": f"key-{next(_phones)}-00", "csrf_token": csrf(client)} | known


def booked(client: TestClient, starts_at: str, **known: str) -> str:
    """Book through the form and return the address of one's own appointment."""
    answer = client.post("/appointments", data=form(client, starts_at, **known))
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def test_resident_chooses_books_moves_and_cancels(client: TestClient) -> None:
    assert "城管综合窗口" in client.get("/appointments").text
    first, second = free(client)[:2]
    page = client.get("/appointments", params={"window": tiny.COUNTER, "day": first[:10], "at": first})
    assert 'name="phone"' in page.text
    mine = booked(client, first)
    shown = client.get(mine).text
    number = re.search(r'id="number">Y ([0-9X ]+)<', shown)
    code = re.search(r'id="code">(\w+)<', shown)
    assert number
    assert code
    move = client.get(
        "/appointments",
        params={"window": tiny.COUNTER, "move": mine.rsplit("/", 1)[1], "at": second, "day": second[:10]},
    )
    assert "/move" in move.text
    moved = client.post(f"{mine}/move", data={"window": tiny.COUNTER, "starts_at": second, "csrf_token": csrf(client)})
    assert moved.status_code == 303
    assert "新预约" in client.get(mine).text
    again = client.post(f"{mine}/cancel", data={"csrf_token": csrf(client)})
    assert again.status_code == 409
    assert "已取消" in again.text
    new = moved.headers["location"]
    assert client.post(f"{new}/cancel", data={"csrf_token": csrf(client)}).status_code == 303
    assert "已取消" in client.get(new).text
    found = client.post(
        "/appointments/find", data={"number": f"Y{number[1]}", "code": code[1].lower(), "csrf_token": csrf(client)}
    )
    assert found.status_code == 303


def test_whoever_comes_second_sees_what_is_free_next_and_types_nothing_again(client: TestClient) -> None:
    first = free(client)[0]
    for _ in range(2):
        booked(client, first)
    late = client.post("/appointments", data=form(client, first, name="迟来者", phone="13700001234"))
    assert late.status_code == 409
    assert "这个时间已经没有空位" in late.text
    assert late.text.count("#form") >= 3
    assert late.headers.get("hx-redirect") is None
    english = client.post("/appointments?lang=en", data=form(client, first))
    assert english.status_code == 409


def test_double_press_is_one_appointment_and_a_foreign_key_opens_nothing(client: TestClient) -> None:
    first = free(client)[0]
    data = form(client, first)
    one, two = client.post("/appointments", data=data), client.post("/appointments", data=data)
    numbers = {re.search(r"Y [0-9X ]+", client.get(a.headers["location"]).text)[0] for a in (one, two)}  # type: ignore[index]
    assert len(numbers) == 1
    assert client.post("/appointments", data=data | {"phone": next(_phones)}).status_code == 409
    assert client.post("/appointments", data=data | {"key": "short"}).status_code == 422


@pytest.mark.parametrize(
    "known",
    [
        {"name": ""},
        {"phone": "none"},
        {"starts_at": "soon"},
        {"starts_at": "0001-01-01T00:00:00+00:00"},
        {"address": "x" * 300},
    ],
)
def test_what_cannot_be_taken_comes_back_with_a_sentence(client: TestClient, known: dict[str, str]) -> None:
    answer = client.post("/appointments", data=form(client, free(client)[0]) | known)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text or "请" in answer.text


def test_home_visit_asks_for_the_address_and_only_those_who_go_see_it(
    client: TestClient, signed_in: Callable[[str], TestClient]
) -> None:
    first = free(client, tiny.VISITS)[0]
    page = client.get("/appointments", params={"window": tiny.VISITS, "at": first, "day": first[:10]})
    assert "柳岸社区" in page.text
    assert "石桥社区" not in page.text, "that is the other town"
    booked(client, first, window=tiny.VISITS, area=tiny.WEST + "001", address="滨湖路12号<b>3栋</b>")
    day = f"/window/appointments?day={first[:10]}"
    for login, sees in (("westoffice", True), ("gridwest", True), ("operator", True), ("streets", False)):
        text_of = signed_in(login).get(day).text
        assert ("滨湖路12号&lt;b&gt;3栋" in text_of) is sees, login
        assert "<b>3栋" not in text_of
    for login in ("admin", "official", "citizen"):
        assert signed_in(login).get(day).status_code == 403
    assert client.get(day).status_code == 303, "to the sign-in"


def test_window_marks_who_came_today_and_not_who_is_still_to_come(
    client: TestClient, signed_in: Callable[[str], TestClient]
) -> None:
    first = free(client)[0]
    made = client.post("/api/v1/appointments", json=body(first)).json()
    clerk = signed_in("streets")
    number = made["number"]
    assert f'id="a-{number}"' in clerk.get(f"/window/appointments?day={first[:10]}").text
    answer = clerk.post(f"/window/appointments/{number}/kept", data={"day": first[:10]})
    assert answer.status_code == 409
    with transaction(program(tiny.DISTRICT)) as session:
        at = wiring.now() - timedelta(minutes=5)
        session.execute(
            text(
                "UPDATE appointment SET starts_at = :at, ends_at = :end, busy_until = :end WHERE district_code = :d"
                " AND number = :n"
            ),
            {"d": tiny.DISTRICT, "n": number, "at": at, "end": at + timedelta(minutes=30)},
        )
    today = at.astimezone(CHINA).date().isoformat()
    marked = clerk.post(f"/window/appointments/{number}/kept", data={"day": today})
    assert marked.status_code == 303
    assert "已到" in clerk.get(marked.headers["location"]).text
    assert signed_in("water").post(f"/window/appointments/{number}/missed", data={}).status_code == 404
    assert clerk.post(f"/window/appointments/{number}/late", data={}).status_code == 422


def test_wrong_code_is_refused_and_guessing_ends_soon(client: TestClient) -> None:
    data = {"number": "Y20261121000042X", "code": "AAAAAA", "csrf_token": csrf(client)}
    answers = [client.post("/appointments/find", data=data).status_code for _ in range(12)]
    assert answers[0] == 404
    assert answers[-1] == 429


def test_forged_address_of_somebodys_appointment_opens_nothing(client: TestClient) -> None:
    assert client.get("/appointments/mine/forged").status_code == 404


def body(starts_at: str, **known: str) -> dict[str, str]:
    return {"window": tiny.COUNTER, "starts_at": starts_at, "name": "陈小明", "phone": next(_phones)} | known


def test_program_books_once_by_its_key_reads_moves_and_cancels(client: TestClient) -> None:
    first, second = free(client)[:2]
    key = {"Idempotency-Key": "a" * 32}
    given = body(first)
    made = client.post("/api/v1/appointments", json=given, headers=key)
    assert made.status_code == 201, made.text
    again = client.post("/api/v1/appointments", json=given, headers=key)
    assert (again.status_code, again.json()["number"], again.json()["repeated"]) == (200, made.json()["number"], True)
    path, code = made.headers["location"], {"Access-Code": made.json()["access_code"]}
    assert client.get(path, headers=code).json()["status"] == "booked"
    assert client.get(path, headers={"Access-Code": "AAAAAA"}).status_code == 404
    assert client.get(path).status_code == 422
    moved = client.post(f"{path}/move", json={"starts_at": second}, headers=code)
    assert moved.status_code == 201
    assert client.get(path, headers=code).json()["moved_to"] == moved.json()["number"]
    new = f"/api/v1/appointments/{moved.json()['number']}"
    code = {"Access-Code": moved.json()["access_code"]}
    assert client.delete(new, headers=code).status_code == 204
    assert client.delete(new, headers=code).status_code == 409


def test_programs_refusals_name_what_is_wrong_and_what_is_free(client: TestClient) -> None:
    first = free(client)[0]
    for _ in range(2):
        assert client.post("/api/v1/appointments", json=body(first)).status_code == 201
    full = client.post("/api/v1/appointments", json=body(first))
    assert (full.status_code, full.json()["field"]) == (409, "starts_at")
    next_time = datetime.fromisoformat(free(client)[0])
    assert f"{next_time:%m-%d %H:%M}" in full.json()["detail"]
    for wrong in (
        {"window": "nowhere"},
        {"starts_at": "0001-01-01T00:00:00Z"},
        {"starts_at": "9999-12-31T23:59:59-12:00"},
        {"phone": "abcdefg"},
    ):
        answer = client.post("/api/v1/appointments", json=body(first) | wrong)
        assert answer.status_code in (404, 422), answer.text
    assert client.get("/api/v1/slots", params={"window": "nowhere"}).status_code == 404
    assert {one["kind"] for one in client.get("/api/v1/windows").json()} == {"window", "home"}
    assert client.get("/api/v1/windows", params={"kind": "home"}).json()[0]["invented"] is True


def test_machine_that_books_without_end_is_stopped(client: TestClient) -> None:
    first = free(client)[0]
    answers = [client.post("/api/v1/appointments", json=body(first)).status_code for _ in range(32)]
    assert answers[-1] == 429

"""Closing a window for a day through HTTP: who had booked comes first, each with what happens; who may and who may not."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from starlette.testclient import TestClient

from api import wiring
from core.db import transaction
from dispatch.calendar import CHINA
from dispatch.models import Outbox
from tests import tiny
from tests.builders import program
from tests.web.test_appointments import body

pytestmark = pytest.mark.web
SignedIn = Callable[[str], TestClient]
Token = Callable[[str], dict[str, str]]


@pytest.fixture(autouse=True)
def _all_open(district: tiny.Tiny) -> Iterator[None]:
    """Open every day again and give every seat back afterwards."""
    yield
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(text("DELETE FROM slot_closure WHERE district_code = :d"), {"d": tiny.DISTRICT})
        session.execute(
            text(
                "UPDATE appointment SET status = 'cancelled', cancelled_at = booked_at, phone_turn = NULL"
                " WHERE district_code = :d AND status <> 'cancelled'"
            ),
            {"d": tiny.DISTRICT},
        )


@pytest.fixture
def token(client: TestClient) -> Token:
    """Return a function: login → headers with a bearer token."""

    def of(login: str) -> dict[str, str]:
        answer = client.post("/api/v1/tokens", json={"login": login, "password": tiny.PASSWORD})
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    return of


def free(client: TestClient) -> dict[str, list[str]]:
    """Return the beginnings of the free slots of the counter by day, from tomorrow on."""
    tomorrow = (wiring.now().astimezone(CHINA) + timedelta(days=1)).date().isoformat()
    days: dict[str, list[str]] = {}
    for slot in client.get("/api/v1/slots", params={"window": tiny.COUNTER}).json():
        if slot["starts_at"] >= tomorrow:
            days.setdefault(slot["starts_at"][:10], []).append(slot["starts_at"])
    return days


def booked(client: TestClient, starts_at: str) -> dict[str, Any]:
    answer = client.post("/api/v1/appointments", json=body(starts_at))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def status(client: TestClient, one: dict[str, Any]) -> dict[str, Any]:
    path = f"/api/v1/appointments/{one['number']}"
    return dict(client.get(path, headers={"Access-Code": one["access_code"]}).json())


def told(topic: str) -> list[dict[str, Any]]:
    with transaction(program(tiny.DISTRICT)) as session:
        rows = select(Outbox.payload).where(Outbox.district_code == tiny.DISTRICT, Outbox.topic == topic)
        return [dict(row) for row in session.scalars(rows.order_by(Outbox.id))]


def test_a_day_is_closed_with_what_happens_to_each_who_had_booked(client: TestClient, signed_in: SignedIn) -> None:
    days = free(client)
    day, later = list(days)[:2]
    gone, moved, called = (booked(client, at) for at in days[day][:3])
    clerk = signed_in("streets")
    page = clerk.get("/window/closing", params={"window": tiny.COUNTER, "day": day}).text
    assert [page.index(one["number"]) for one in (gone, moved, called)] == sorted(
        page.index(one["number"]) for one in (gone, moved, called)
    )
    assert "陈小明" not in page, "names are masked"
    target = next(slot for slot in re.findall(r'<option value="([^"]+)"', page) if slot.startswith(later))
    form = {
        "window": tiny.COUNTER,
        "day": day,
        "until": day,
        "reason": "大厅停电检修",
        f"fate-{gone['number']}": "cancel",
        f"fate-{moved['number']}": target,
        f"fate-{called['number']}": "by_hand",
    }
    answer = clerk.post("/window/closing", data=form)
    assert answer.status_code == 303, answer.text
    assert "已取消并告知 1" in clerk.get(answer.headers["location"]).text
    assert [status(client, one)["status"] for one in (gone, moved, called)] == ["cancelled", "cancelled", "booked"]
    assert status(client, moved)["moved_to"]
    assert day not in free(client)
    messages = [one for one in told("citizen.appointment") if one["reason"] == "大厅停电检修"]
    assert [(one["number"], bool(one["moved_to"])) for one in messages] == [
        (gone["number"], False),
        (moved["number"], True),
    ]
    assert "陈小明" not in str(messages)
    assert told("unit.window_closed")[-1]["by"] == "试验streets"


def test_a_day_is_opened_again_with_a_reason(client: TestClient, signed_in: SignedIn) -> None:
    day = next(iter(free(client)))
    clerk = signed_in("supervisor")
    shut = {"window": tiny.COUNTER, "day": day, "reason": "培训"}
    assert clerk.post("/window/closing", data=shut).status_code == 303
    assert "培训" in clerk.get("/window/closing").text
    unsaid = clerk.post("/window/opening", data={"window": tiny.COUNTER, "day": day, "reason": " "})
    assert unsaid.status_code == 422
    assert day not in free(client)
    opened = clerk.post("/window/opening", data={"window": tiny.COUNTER, "day": day, "reason": "培训取消"})
    assert opened.status_code == 303
    assert day in free(client)
    again = clerk.post("/window/opening", data={"window": tiny.COUNTER, "day": day, "reason": "培训取消"})
    assert again.status_code == 409


def test_who_booked_meanwhile_is_not_shut_out_unseen(client: TestClient, signed_in: SignedIn) -> None:
    days = free(client)
    day = next(iter(days))
    one = booked(client, days[day][0])
    answer = signed_in("operator").post(
        "/window/closing", data={"window": tiny.COUNTER, "day": day, "reason": "临时停办"}
    )
    assert answer.status_code == 409
    assert one["number"] in answer.text, "the page that refuses shows who it is"
    assert 'value="临时停办"' in answer.text
    assert day in free(client)
    assert status(client, one)["status"] == "booked"


def test_two_people_moved_to_one_seat_change_nothing(client: TestClient, signed_in: SignedIn) -> None:
    days = free(client)
    day, later = list(days)[:2]
    ones = [booked(client, days[day][0]), booked(client, days[day][0]), booked(client, days[day][1])]
    form = {"window": tiny.COUNTER, "day": day, "reason": "检修"}
    # The counter has two seats.
    form |= {f"fate-{one['number']}": days[later][0] for one in ones}
    assert signed_in("streets").post("/window/closing", data=form).status_code == 409
    assert [status(client, one)["status"] for one in ones] == ["booked"] * 3
    assert day in free(client)


def test_only_the_windows_own_unit_and_the_centre_close_it(client: TestClient, signed_in: SignedIn) -> None:
    day = next(iter(free(client)))
    form = {"window": tiny.COUNTER, "day": day, "reason": "检修"}
    for login in ("water", "westoffice", "gridwest", "official", "admin", "citizen"):
        person = signed_in(login)
        assert person.post("/window/closing", data=form).status_code == 403, login
        assert person.post("/window/opening", data=form).status_code == 403, login
        assert person.get("/window/closing", params=form).status_code == 403, login
    assert day in free(client)
    assert "城管综合窗口" not in signed_in("westoffice").get("/window/closing").text


@pytest.mark.parametrize(
    "known",
    [
        {"day": "2020-01-01"},
        {"day": "gestern"},
        {"day": ""},
        {"until": "2059-01-01"},
        {"reason": ""},
        {"reason": "长" * 201},
    ],
)
def test_what_cannot_be_closed_is_refused_with_a_sentence(
    client: TestClient, signed_in: SignedIn, known: dict[str, str]
) -> None:
    day = next(iter(free(client)))
    form = {"window": tiny.COUNTER, "day": day, "reason": "检修"} | known
    answer = signed_in("streets").post("/window/closing", data=form)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert day in free(client)


def test_days_in_a_row_are_closed_with_one_press(client: TestClient, signed_in: SignedIn) -> None:
    days = list(free(client))
    form = {"window": tiny.COUNTER, "day": days[0], "until": days[2], "reason": "大厅搬迁"}
    assert signed_in("streets").post("/window/closing", data=form).status_code == 303
    assert not set(days[:3]) & set(free(client))
    assert days[3] in free(client)
    page = client.get("/appointments", params={"window": tiny.COUNTER}).text
    assert "大厅搬迁" in page, "whoever wants to book reads why"


def test_a_program_closes_a_day_by_the_same_rules(client: TestClient, token: Token) -> None:
    days = free(client)
    day, later = list(days)[:2]
    gone, moved = (booked(client, at) for at in days[day][:2])
    clerk, path = token("streets"), f"/api/v1/windows/{tiny.COUNTER}"
    told = client.get(f"{path}/closings/concerned", params={"first": day}, headers=clerk).json()
    assert {one["number"] for one in told} == {gone["number"], moved["number"]}
    assert "陈小明" not in str(told), "names are masked"
    given = {"first": day, "reason": "消防演练", "fates": {gone["number"]: "cancel"}}
    unseen = client.post(f"{path}/closings", json=given, headers=clerk)
    assert unseen.status_code == 409, "everybody who had booked needs a decision"
    given["fates"] = {gone["number"]: "cancel", moved["number"]: days[later][0]}
    assert client.post(f"{path}/closings", json=given, headers=token("water")).status_code == 403
    assert client.post(f"{path}/closings", json=given | {"reason": ""}, headers=clerk).status_code == 422
    done = client.post(f"{path}/closings", json=given, headers=clerk)
    assert (done.status_code, done.json()) == (201, {"cancelled": 1, "moved": 1, "by_hand": 0})
    assert [one["day"] for one in client.get(f"{path}/closings", headers=clerk).json()] == [day]
    opened = {"day": day, "reason": "恢复供电"}
    assert client.post(f"{path}/openings", json=opened, headers=clerk).status_code == 204
    assert client.post(f"{path}/openings", json=opened, headers=clerk).status_code == 409
    far = client.post(f"{path}/closings", json={"first": "9999-12-31", "reason": "试试"}, headers=clerk)
    assert far.status_code == 422


def test_a_program_lists_who_comes_and_marks_nobody_who_is_still_to_come(client: TestClient, token: Token) -> None:
    starts_at = next(iter(free(client).values()))[0]
    one, clerk = booked(client, starts_at), token("streets")
    listed = client.get("/api/v1/visits", params={"day": starts_at[:10]}, headers=clerk).json()
    assert [row["number"] for row in listed if row["status"] == "booked"] == [one["number"]]
    marked = client.post(f"/api/v1/visits/{one['number']}", json={"status": "missed"}, headers=clerk)
    assert marked.status_code == 409
    assert client.get("/api/v1/visits").status_code == 401
    assert client.get("/api/v1/visits", params={"day": "gestern"}, headers=clerk).status_code == 422

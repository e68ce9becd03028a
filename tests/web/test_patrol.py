"""A grid worker's pages through HTTP: report with a point, settle on the spot, pass up; the own town, nobody else."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.ids import new_id
from tests import tiny
from tests.web import counters

pytestmark = pytest.mark.web
SignedIn = Callable[[str], TestClient]


def form(point: tuple[float, float], **fields: str) -> dict[str, str]:
    """Return what the form of a new event holds."""
    lng, lat = (str(part) for part in point)
    told = {"text": "井盖松动，已放警示锥。", "category": "1001", "event": "part", "key": str(new_id())}
    return told | {"lng": lng, "lat": lat} | fields


def found_by(worker: TestClient, point: tuple[float, float], **fields: str) -> str:
    """Report an event and return its number."""
    answer = worker.post("/patrol/new", data=form(point, **fields))
    assert answer.status_code == 303, answer.text
    number = re.fullmatch(r"/patrol/(\w+)", answer.headers["location"])
    assert number
    return number[1]


def press(worker: TestClient, number: str, action: str, **fields: str) -> Any:
    """Press a button on an event's page."""
    page = worker.get(f"/patrol/{number}").text
    hidden = {name: re.search(rf'name="{name}" value="(\d+)"', page) for name in ("version", "seen")}
    assert all(hidden.values())
    told = {name: value[1] for name, value in hidden.items() if value}
    return worker.post(f"/patrol/{number}/{action}", data=told | fields)


def test_a_worker_reports_an_event_with_a_photo_and_settles_it_on_the_spot(
    signed_in: SignedIn, district: tiny.Tiny
) -> None:
    worker = signed_in("gridwest")
    assert 'name="key" value="' in worker.get("/patrol/new").text
    sent = form(district.in_west)
    answer = worker.post("/patrol/new", data=sent, files={"photo": ("a.jpg", counters.picture(), "image/jpeg")})
    assert answer.status_code == 303, answer.text
    number = answer.headers["location"].removeprefix("/patrol/")
    assert worker.post("/patrol/new", data=sent).headers["location"].endswith(number), "a nervous thumb is one event"
    assert number in worker.get("/patrol").text
    assert "/photos/" in worker.get(f"/patrol/{number}").text
    refused = press(worker, number, "settle", done="")
    assert refused.status_code == 422, "what was done has to be said"
    assert press(worker, number, "settle", done="已扶正压实。").status_code == 303
    page = worker.get(f"/patrol/{number}").text
    assert "结案" in page
    assert number not in worker.get("/patrol").text


def test_what_the_worker_cannot_settle_is_passed_up_and_looked_at_again(
    signed_in: SignedIn, district: tiny.Tiny
) -> None:
    worker = signed_in("gridwest")
    number = found_by(worker, district.in_west)
    assert press(worker, number, "rise", reason="需要专业设备。").status_code == 303
    assert number in worker.get("/patrol?tab=up").text
    assert "settle" not in worker.get(f"/patrol/{number}").text


def test_a_refusal_of_a_new_event_keeps_what_was_typed(signed_in: SignedIn, district: tiny.Tiny) -> None:
    worker = signed_in("gridwest")
    for fields in ({"category": "没有这个类别"}, {"lng": "", "lat": ""}, {"lng": "东", "lat": "北"}):
        answer = worker.post("/patrol/new", data=form(district.in_west, **fields))
        assert answer.status_code == 422, fields
        assert "井盖松动" in answer.text
    elsewhere = worker.post("/patrol/new", data=form(district.in_east))
    assert elsewhere.status_code == 422, "another town's events are its own worker's"


def test_patrol_pages_are_for_grid_workers_of_the_town(signed_in: SignedIn, district: tiny.Tiny) -> None:
    number = found_by(signed_in("gridwest"), district.in_west)
    for login in ("operator", "streets", "supervisor", "official", "citizen"):
        assert signed_in(login).get("/patrol").status_code == 403
        assert signed_in(login).post(f"/patrol/{number}/settle", data={"done": "x"}).status_code == 403
    page = signed_in("gridwest").get("/patrol?lang=en").text
    assert "Report an event" in page

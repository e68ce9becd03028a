"""The worker's round through the phone: map, patrol, visits, applications at the door, quizzes; and supervision."""

import gzip
import math
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from pmtiles.reader import MemorySource, Reader

from core.actor import system
from core.db import transaction
from core.ids import new_id
from grid import visits
from tests import tiny
from tests.web import counters
from tests.web.phone import API, SignedIn, action, bundle, now, picture, put, send

pytestmark = pytest.mark.web


def test_the_map_pack_holds_the_worker_s_cells_and_is_answered_in_ranges(
    signed_in: SignedIn, district: tiny.Tiny
) -> None:
    worker = signed_in("gridwest")
    whole = worker.get(f"{API}/pack")
    assert whole.status_code == 200
    assert whole.headers["content-type"] == "application/vnd.pmtiles"
    assert len(whole.content) < 8 * 2**20
    reader: Any = Reader(MemorySource(whole.content))  # type: ignore[no-untyped-call]
    header = reader.header()
    assert (header["min_zoom"], header["max_zoom"]) == (12, 16)
    n = 2**16
    x = int((district.in_west[0] + 180) / 360 * n)
    y = int((1 - math.asinh(math.tan(math.radians(district.in_west[1]))) / math.pi) / 2 * n)
    tile = gzip.decompress(reader.get(16, x, y))
    assert b"cells" in tile
    assert tiny.WEST.encode() in tile
    assert tiny.EAST.encode() not in tile
    part = worker.get(f"{API}/pack", headers={"Range": "bytes=0-126"})
    assert (part.status_code, part.content) == (206, whole.content[:127])
    same = worker.get(f"{API}/pack", headers={"If-None-Match": whole.headers["etag"]})
    assert same.status_code == 304
    assert signed_in("operator").get(f"{API}/pack").status_code == 403


def test_a_patrol_through_the_phone_and_the_worker_sees_the_own_track(signed_in: SignedIn, district: tiny.Tiny) -> None:
    worker = signed_in("gridwest")
    run, begun = str(new_id()), now() - timedelta(minutes=20)
    lng, lat = district.in_west
    points = [[lng + i * 0.00005, lat, 8, (begun + timedelta(seconds=5 * i)).isoformat(), 0] for i in range(60)]
    outside = [[lng, lat, 8, (begun - timedelta(hours=2)).isoformat(), 0]]
    place = {"lng": lng, "lat": lat, "accuracy": 9}
    results = send(
        worker,
        action("patrol", fields={"run": run, "part": "start"}) | {"happened_at": begun.isoformat()},
        action("patrol", fields={"run": run, "part": "points", "points": [*outside, *points]}),
        action("checkin", fields={"run": run, "what": "place", "note": "配电房"}, position=place),
        action("patrol", fields={"run": run, "part": "stop"}),
    )
    assert [one["status"] for one in results] == ["done"] * 4
    assert len(results[1]["notes"]) == 1, "what was outside the patrol was not kept, and it is said"
    assert results[2]["more"]["cell"] == f"{tiny.WEST}001001"
    told = worker.get(f"{API}/tracks").json()
    [walk] = [one for one in told["walks"] if one["id"] == run]
    assert walk["points"] == 60
    assert walk["pieces"][0]
    [plan] = [one for one in bundle(worker)["plan"] if one["cell"] == f"{tiny.WEST}001001"]
    assert plan["last_patrol"]
    other = str(new_id())
    unknown, waits = send(
        worker,
        action("patrol", fields={"run": other, "part": "start", "cell": f"{tiny.EAST}001001"}),
        action("patrol", fields={"run": other, "part": "points", "points": points}),
    )
    assert (unknown["status"], unknown["field"]) == ("refused", "cell")
    assert waits["code"] == "depends"
    lone = send(worker, action("patrol", fields={"run": str(new_id()), "part": "points", "points": points}))
    assert lone[0]["status"] == "refused", "no position is kept without a patrol"


def test_a_visit_that_is_due_is_made_once_with_form_and_signature_and_nobody_at_home_plans_the_next(
    signed_in: SignedIn, district: tiny.Tiny
) -> None:
    cell, today = f"{tiny.WEST}001001", now().date()
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        plan = visits.Plan(cell, "alone", today, place="柳岸小区3栋101", hint="子女电话13800138000")
        one, two = (visits.plan(session, plan, at=now()) for _ in range(2))
    worker = signed_in("gridwest")
    due = {row["id"]: row for row in bundle(worker)["visits"]}
    assert "13800138000" not in due[str(one)]["hint"]
    mark = picture("white", size=(300, 120))
    put(worker, mark)
    form = {"visit": str(one), "result": "done", "form": {"state": "well"}, "signature": sha256(mark).hexdigest()}
    wrong, made = send(
        worker,
        action("visit", fields=form | {"form": {"state": "unknown"}}),
        action("visit", fields=form),
    )
    assert (wrong["status"], wrong["field"]) == ("refused", "state")
    assert made["status"] == "done"
    [again] = send(worker, action("visit", fields=form))
    assert again["status"] == "refused"
    assert "走访" in again["message"]
    [absent] = send(worker, action("visit", fields={"visit": str(two), "result": "absent"}))
    assert absent["more"]["again"]
    left = {row["id"] for row in bundle(worker)["visits"]}
    assert str(one) not in left
    assert absent["more"]["again"] in left
    lng, lat = district.in_west
    door = {"result": "done", "visit_kind": "safety", "place": "荷塘路8号", "form": {}}
    [missing] = send(worker, action("visit", fields=door, position={"lng": lng, "lat": lat}))
    assert (missing["status"], missing["field"]) == ("refused", "gas")
    east = {"lng": district.in_east[0], "lat": district.in_east[1]}
    form = {"result": "done", "visit_kind": "general", "place": "x"}
    [elsewhere] = send(worker, action("visit", fields=form, position=east))
    assert elsewhere["status"] == "refused"


def test_a_quiz_is_handed_in_once(signed_in: SignedIn) -> None:
    worker = signed_in("gridwest")
    paper = bundle(worker)["quizzes"][0]
    assert "right" not in paper["questions"][0]
    answers = {one["id"]: one["options"][0]["letter"] for one in paper["questions"]}
    sent = action("quiz", fields={name: paper[name] for name in ("duty", "number", "digest")} | {"answers": answers})
    [done], [again] = send(worker, sent), send(worker, sent)
    assert (done["status"], again["status"]) == ("done", "repeated")
    assert done["more"] == again["more"]
    assert done["more"]["asked"] == len(paper["questions"])


def test_supervision_looks_at_a_track_with_a_reason_that_the_worker_reads(
    signed_in: SignedIn, district: tiny.Tiny
) -> None:
    worker, chief = signed_in("gridwest"), signed_in("supervisor")
    run, begun = str(new_id()), now() - timedelta(minutes=10)
    lng, lat = district.in_west
    points = [[lng + i * 0.00005, lat, 8, (begun + timedelta(seconds=5 * i)).isoformat(), 1] for i in range(30)]
    send(
        worker,
        action("patrol", fields={"run": run, "part": "start"}) | {"happened_at": begun.isoformat()},
        action("patrol", fields={"run": run, "part": "points", "points": points}),
    )
    said = [one for one in chief.get("/api/v1/patrols/remarks").json() if one["run"] == run]
    assert len(said) == 1
    assert "模拟位置" in said[0]["text"]
    assert chief.post(f"/api/v1/patrols/{run}/track", json={"reason": "x"}).status_code == 422
    seen = chief.post(f"/api/v1/patrols/{run}/track", json={"reason": "核对里程申诉"})
    assert seen.status_code == 200
    assert seen.json()["pieces"]
    [line] = [one for one in worker.get(f"{API}/tracks").json()["looks"] if one["run"] == run]
    assert line["reason"] == "核对里程申诉"
    for login in ("operator", "official", "gridwest", "streets", "admin"):
        other = signed_in(login)
        assert other.post(f"/api/v1/patrols/{run}/track", json={"reason": "想看一看"}).status_code == 403
        assert other.get("/api/v1/patrols/remarks").status_code == 403


def test_visits_are_planned_in_the_own_town_all_or_none(signed_in: SignedIn) -> None:
    worker, chief = signed_in("gridwest"), signed_in("supervisor")
    west = {"cell": f"{tiny.WEST}001002", "kind": "safety", "due_on": now().date().isoformat(), "place": "青石街2号"}
    assert len(chief.post("/api/v1/visits", json={"visits": [west]}).json()["ids"]) == 1
    before = len(bundle(worker)["visits"])
    east = west | {"cell": f"{tiny.EAST}001001"}
    refused = worker.post("/api/v1/visits", json={"visits": [west, east]})
    assert refused.status_code == 422
    odd = worker.post("/api/v1/visits", json={"visits": [west, west | {"kind": "dance"}]})
    assert (odd.status_code, odd.json()["field"]) == (422, "visits.2.kind")
    assert len(bundle(worker)["visits"]) == before
    assert signed_in("operator").post("/api/v1/visits", json={"visits": [west]}).status_code == 403


def test_an_application_begins_at_the_door_by_the_same_road_and_once(signed_in: SignedIn) -> None:
    counters.publish(now())
    worker = signed_in("gridwest")
    items = {one["code"]: one for one in bundle(worker)["items"]}
    assert "SL110001" in items, "items that may begin at home travel along"
    paper = picture("ivory")
    put(worker, paper)
    material = items["SL110001"]["materials"][0]["code"]
    person = {"name": "何婆婆", "phone": "13800000001", "id_number": counters.card()}
    fields = {
        "item": "SL110001",
        "applicant": person,
        "seen": items["SL110001"]["version"],
        "given": {material: [sha256(paper).hexdigest()]},
    }
    wrong, done = send(
        worker,
        action("apply", fields=fields | {"applicant": {"name": ""}}),
        sent := action("apply", fields=fields),
    )
    assert (wrong["status"], wrong["field"].startswith("applicant")) == ("refused", True)
    assert done["status"] == "done", done
    [again] = send(worker, sent)
    assert (again["status"], again["number"]) == ("repeated", done["number"])
    assert again["more"]["access_code"] == done["more"]["access_code"]
    assert all(one["code"] != material for one in done["more"]["missing"])

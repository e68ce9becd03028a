"""The API of the worker's phone through HTTP: what it takes along, what it brings back, and what it may not."""

import gzip
import uuid
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from core.actor import Role, system
from core.db import rows, snapshot, transaction
from core.ids import new_id
from grid.accounts import NewAccount, add
from tests import tiny
from tests.web.phone import API, SignedIn, action, bundle, now, picture, put, report, send, task

pytestmark = pytest.mark.web


def test_a_report_with_photos_is_opened_once_and_comes_back_as_a_task(signed_in: SignedIn, district: tiny.Tiny) -> None:
    worker = signed_in("gridwest")
    data = picture("red")
    assert put(worker, data).status_code == 201
    assert put(worker, data).status_code == 200
    sent = report(district.in_west, photos=[sha256(data).hexdigest()])
    [done] = send(worker, sent)
    assert (done["status"], done["state"]) == ("done", "in_cell")
    [again] = send(worker, sent)
    assert (again["status"], again["number"]) == ("repeated", done["number"])
    found = task(worker, done["number"])
    assert len(found["photos"]) == 1
    assert worker.get(found["photos"][0]).status_code == 200
    assert {"settle", "rise"} <= {one["action"] for one in found["steps"]}
    settle = next(one for one in found["steps"] if one["action"] == "settle")
    assert [one["name"] for one in settle["fields"] if one["needed"]] == ["done"]


def test_the_same_key_with_other_content_is_refused_and_shown(signed_in: SignedIn, district: tiny.Tiny) -> None:
    worker = signed_in("gridwest")
    sent = report(district.in_west)
    [done] = send(worker, sent)
    [refused] = send(worker, sent | {"fields": {"text": "别的内容", "category": "1001"}})
    assert (refused["status"], refused["code"]) == ("refused", "key_reused")
    assert task(worker, done["number"])["text"].startswith("井盖松动")
    twice = report(district.in_west)
    first, second = send(worker, twice, twice | {"fields": {"text": "又一内容", "category": "1001"}})
    assert {first["status"], second["status"]} == {"done", "refused"}


def test_steps_on_one_case_keep_their_order_and_a_stale_one_shows_the_servers_case(
    signed_in: SignedIn, district: tiny.Tiny
) -> None:
    worker = signed_in("gridwest")
    opened = report(district.in_west)
    note = action("step", of=opened["key"], fields={"action": "note", "note": "已联系物业。"})
    settle = action("step", of=note["key"], fields={"action": "settle", "done": "已加固。"})
    results = send(worker, opened, note, settle)
    assert [one["status"] for one in results] == ["done", "done", "done"]
    assert results[2]["state"] == "closed"
    [other] = send(worker, report(district.in_west))
    send(
        worker,
        action("step", case=other["number"], base_version=other["version"], fields={"action": "note", "note": "一"}),
    )
    late = action(
        "step", case=other["id"], base_version=other["version"], fields={"action": "settle", "done": "好了。"}
    )
    after = action("step", of=late["key"], fields={"action": "note", "note": "二"})
    stale, held = send(worker, late, after)
    assert (stale["status"], stale["code"]) == ("conflict", "stale")
    assert stale["server"]["version"] == other["version"] + 1
    assert "网格处置" in stale["message"], "it says what the case is now"
    assert (held["status"], held["code"]) == ("conflict", "depends")
    assert task(worker, other["number"])["version"] == other["version"] + 1, "nothing of it was done"


def test_a_step_with_a_missing_field_is_refused_in_the_workers_language_and_can_be_corrected(
    signed_in: SignedIn, district: tiny.Tiny
) -> None:
    worker = signed_in("gridwest")
    [opened] = send(worker, report(district.in_west))
    base = {"case": opened["id"], "base_version": opened["version"]}
    [refused] = send(worker, action("step", **base, fields={"action": "settle"}))
    assert (refused["status"], refused["field"]) == ("refused", "done")
    assert refused["message"] == "请填写 处置情况。"
    [done] = send(worker, action("step", **base, fields={"action": "settle", "done": "已清理。"}))
    assert done["status"] == "done"


def test_one_action_that_cannot_be_read_stops_no_other(signed_in: SignedIn, district: tiny.Tiny) -> None:
    worker = signed_in("gridwest")
    odd: list[dict[str, Any]] = [
        {"key": "no", "kind": "report"},
        {"key": str(new_id()), "kind": "dance"},
        {"key": str(new_id()), "kind": "report", "position": {"lng": "x", "lat": 1}},
        {"key": str(new_id()), "kind": "step", "fields": {"action": "settle\x00"}},
    ]
    results = send(worker, *odd, report(district.in_west))
    assert [one["status"] for one in results] == ["refused"] * 4 + ["done"]
    broken = worker.post(f"{API}/sync", content=b"{", headers={"Content-Type": "application/json"})
    assert broken.status_code == 422


def test_a_phone_clock_that_is_a_day_off_is_corrected_and_moves_no_limit(
    signed_in: SignedIn, district: tiny.Tiny
) -> None:
    worker = signed_in("gridwest")
    wrong = now() + timedelta(days=1)
    sent = report(district.in_west) | {"happened_at": (wrong - timedelta(hours=2)).isoformat()}
    [done] = send(worker, sent, phone_time=wrong)
    found = task(worker, done["number"])
    received = datetime.fromisoformat(found["received_at"])
    assert abs(received - now()) < timedelta(minutes=1), "limits start at the server's clock"
    settle = action("step", of=sent["key"], fields={"action": "settle", "done": "好。"})
    settle["happened_at"] = (wrong - timedelta(hours=2)).isoformat()
    [closed] = send(worker, settle, phone_time=wrong)
    assert closed["status"] == "done"
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        [entry] = rows(
            session,
            "SELECT happened_at, recorded_at, late FROM entry WHERE district_code = :d AND case_id = :id"
            " AND action = 'settle'",
            d=tiny.DISTRICT,
            id=uuid.UUID(closed["id"]),
        )
        [kept] = rows(
            session,
            "SELECT phone_at, happened_at, offset_s FROM field_receipt WHERE district_code = :d AND key = :key",
            d=tiny.DISTRICT,
            key=uuid.UUID(settle["key"]),
        )
    assert abs(entry["recorded_at"] - entry["happened_at"] - timedelta(hours=2)) < timedelta(minutes=1)
    assert entry["late"], "handled first and recorded later is flagged, whatever the phone's clock"
    assert abs(kept["offset_s"] - 86400) < 60
    assert kept["phone_at"] - kept["happened_at"] == timedelta(seconds=kept["offset_s"])


@pytest.mark.parametrize("wrong", [timedelta(days=2), timedelta(days=-200), timedelta(days=-400_000)])
def test_an_impossible_time_is_refused_with_words(signed_in: SignedIn, district: tiny.Tiny, wrong: timedelta) -> None:
    worker = signed_in("gridwest")
    sent = report(district.in_west) | {"happened_at": (now() + wrong).isoformat()}
    [refused] = send(worker, sent)
    assert (refused["status"], refused["field"]) == ("refused", "happened_at")
    assert refused["message"]


def test_a_step_before_its_case_was_there_is_refused(signed_in: SignedIn, district: tiny.Tiny) -> None:
    worker = signed_in("gridwest")
    [opened] = send(worker, report(district.in_west))
    early = action("step", case=opened["id"], base_version=opened["version"], fields={"action": "note", "note": "x1"})
    [refused] = send(worker, early | {"happened_at": (now() - timedelta(hours=3)).isoformat()})
    assert (refused["status"], refused["field"]) == ("refused", "happened_at")


def test_a_phone_that_comes_back_after_thirty_days_loses_nothing(signed_in: SignedIn, district: tiny.Tiny) -> None:
    worker = signed_in("gridwest")
    long_ago = now() - timedelta(days=30)
    sent = [report(district.in_west) | {"happened_at": (long_ago + timedelta(hours=i)).isoformat()} for i in range(3)]
    assert [one["status"] for one in send(worker, *sent)] == ["done"] * 3
    assert [one["status"] for one in send(worker, *sent)] == ["repeated"] * 3
    old = bundle(worker, "bm9uc2Vuc2U")
    assert old["full"]


def test_settled_on_the_spot_is_one_action_and_a_refusal_of_that_part_keeps_the_event(
    signed_in: SignedIn, district: tiny.Tiny
) -> None:
    worker = signed_in("gridwest")
    before, after = picture("brown"), picture("green")
    for data in (before, after):
        put(worker, data)
    photos = [
        {"key": sha256(before).hexdigest(), "purpose": "before"},
        {"key": sha256(after).hexdigest(), "purpose": "after"},
    ]
    [done] = send(worker, report(district.in_west, photos=photos, fields={"on_spot": True, "done": "当场清走。"}))
    assert (done["status"], done["state"], done["code"]) == ("done", "closed", "")
    [kept] = send(worker, report(district.in_west, fields={"on_spot": True, "done": ""}))
    assert (kept["status"], kept["state"], kept["code"]) == ("done", "in_cell", "not_settled")
    assert kept["notes"]


def test_a_missing_photo_is_asked_for_and_nothing_is_half_done(signed_in: SignedIn, district: tiny.Tiny) -> None:
    worker = signed_in("gridwest")
    data = picture("navy")
    sent = report(district.in_west, photos=[sha256(data).hexdigest()])
    count = len(bundle(worker)["task_ids"])
    after = action("step", of=sent["key"], fields={"action": "note", "note": "随后。"})
    first, second = send(worker, sent, after)
    assert (first["status"], first["code"], first["photos"]) == ("retry", "unknown_photo", [sha256(data).hexdigest()])
    assert (second["status"], second["code"]) == ("retry", "waits")
    assert len(bundle(worker)["task_ids"]) == count
    put(worker, data)
    assert [one["status"] for one in send(worker, sent, after)] == ["done", "done"]


def test_what_is_the_same_as_an_open_matter_becomes_a_note_on_it(signed_in: SignedIn, district: tiny.Tiny) -> None:
    worker = signed_in("gridwest")
    [opened] = send(worker, report(district.in_west))
    data = picture("pink")
    put(worker, data)
    [noted] = send(worker, action("same", case=opened["id"], photos=[sha256(data).hexdigest()]))
    assert (noted["status"], noted["number"]) == ("done", opened["number"])
    found = task(worker, opened["number"])
    assert found["log"][-1]["text"]
    assert len(found["photos"]) == 1


def test_nothing_of_another_town_is_seen_or_changed(signed_in: SignedIn, district: tiny.Tiny) -> None:
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        add(
            session,
            NewAccount("grideast", tiny.PASSWORD, Role.GRID_WORKER, "东巡", town=tiny.EAST),
            district=tiny.DISTRICT,
            at=now(),
        )
    east, west = signed_in("grideast"), signed_in("gridwest")
    [opened] = send(east, report(district.in_east))
    assert opened["status"] == "done"
    seen = bundle(west)
    assert opened["id"] not in {*seen["task_ids"], *seen["near_ids"]}
    assert all(one["properties"]["town"] == tiny.WEST for one in seen["cells"]["features"])
    base = {"case": opened["id"], "base_version": opened["version"]}
    [gone] = send(west, action("step", **base, fields={"action": "settle", "done": "不是我的。"}))
    assert (gone["status"], gone["code"], gone["server"]) == ("conflict", "gone", None)
    [gone] = send(west, action("same", case=opened["number"]))
    assert gone["code"] == "gone"
    [elsewhere] = send(west, report(district.in_east))
    assert (elsewhere["status"], elsewhere["field"]) == ("refused", "point")
    key = opened["key"]
    [own] = send(west, report(district.in_west) | {"key": key})
    assert (own["status"], own["number"] != opened["number"]) == ("done", True), "keys are each account's own"
    data = picture("lime", at=(114, 23))
    put(east, data)
    [missing] = send(west, report(district.in_west, photos=[sha256(data).hexdigest()]))
    assert missing["code"] == "unknown_photo", "another one's photo is not to be had by its hash"


def test_only_grid_workers_use_it_and_an_expired_session_keeps_the_queue(
    signed_in: SignedIn, client: TestClient
) -> None:
    for login in ("operator", "streets", "supervisor", "official", "citizen", "admin"):
        other = signed_in(login)
        assert other.get(f"{API}/bundle").status_code == 403
        assert other.post(f"{API}/sync", content=b"{}").status_code == 403
        assert other.put(f"{API}/photos/{'0' * 64}", content=b"x").status_code == 403
        assert other.get(f"{API}/hello").json()["worker"] is None
    nobody = client.get(f"{API}/bundle")
    assert nobody.status_code == 401
    assert nobody.headers["content-type"].startswith("application/problem+json")
    assert client.get(f"{API}/hello").json()["signed_in"] is False
    worker = signed_in("gridwest")
    assert worker.get(f"{API}/hello").json()["csrf"] == worker.headers["X-CSRF-Token"]
    worker.headers["X-CSRF-Token"] = "0" * 40
    assert worker.post(f"{API}/sync", content=b"{}").status_code == 403


def test_a_bundle_after_a_bundle_holds_only_what_changed(signed_in: SignedIn, district: tiny.Tiny) -> None:
    worker = signed_in("gridwest")
    [one] = send(worker, report(district.in_west))
    first = bundle(worker)
    assert first["full"]
    assert first["categories"][0]["recent"] > 0, "what the worker used lately stands first"
    for name in ("cells", "plan", "cards", "quizzes", "items", "visits", "visit_kinds", "households"):
        assert first[name] is not None
    second = bundle(worker, first["cursor"])
    assert not second["full"]
    assert second["cells"] is second["cards"] is second["categories"] is None
    assert one["id"] in second["task_ids"]
    assert bundle(worker, "x" * 40)["full"], "nonsense is no cursor"
    english = worker.get(f"{API}/bundle", params={"since": first["cursor"], "lang": "en"}).json()
    assert english["full"], "another language is another bundle"


def test_a_bundle_is_small_on_the_way_and_holds_no_personal_number(signed_in: SignedIn, district: tiny.Tiny) -> None:
    worker = signed_in("gridwest")
    [one] = send(worker, report(district.in_west, fields={"text": "住户电话13800138000，请联系。"}))
    answer = worker.get(f"{API}/bundle", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert len(gzip.compress(answer.content)) < 200_000
    assert b"13800138000" not in answer.content
    assert task(worker, one["number"])["text"].startswith("住户电话")


def test_a_compressed_queue_is_read_and_a_bomb_is_not(signed_in: SignedIn, district: tiny.Tiny) -> None:
    worker = signed_in("gridwest")
    told = orjson.dumps({"phone_time": now().isoformat(), "actions": [report(district.in_west)]})
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = worker.post(f"{API}/sync", content=gzip.compress(told), headers=headers)
    assert answer.json()["results"][0]["status"] == "done"
    bomb = worker.post(f"{API}/sync", content=gzip.compress(b" " * (9 * 2**20)), headers=headers)
    assert bomb.status_code == 413
    many = {"phone_time": now().isoformat(), "actions": [{}] * 251}
    assert worker.post(f"{API}/sync", json=many).status_code == 413

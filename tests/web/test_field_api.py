"""The API of the worker's phone through HTTP: what it takes along, what it brings back, and what it may not."""

import gzip
import io
import math
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson
import pytest
from PIL import Image
from starlette.testclient import TestClient

from core.ids import new_id
from tests import tiny
from tests.web import counters

pytestmark = pytest.mark.web
SignedIn = Callable[[str], TestClient]
API = "/api/v1/field"


def now() -> datetime:
    return datetime.now(UTC)


def picture(
    colour: str = "grey", *, size: tuple[int, int] = (320, 240), at: tuple[float, float] | None = None
) -> bytes:
    """Return a JPEG; at: lon lat that the camera wrote into it."""
    out, exif = io.BytesIO(), Image.Exif()
    if at:
        lng, lat = at
        exif.get_ifd(0x8825).update({1: "N", 2: (lat, 0.0, 0.0), 3: "E", 4: (lng, 0.0, 0.0)})
    Image.new("RGB", size, colour).save(out, "JPEG", exif=exif)
    return out.getvalue()


def put(worker: TestClient, data: bytes, **headers: str) -> Any:
    key = sha256(data).hexdigest()
    return worker.put(f"{API}/photos/{key}", content=data, headers=headers)


def send(worker: TestClient, *actions: dict[str, Any], phone_time: datetime | None = None) -> list[dict[str, Any]]:
    """Sync actions and return their results."""
    told = {"device": "test", "phone_time": (phone_time or now()).isoformat(), "actions": list(actions)}
    answer = worker.post(f"{API}/sync", content=orjson.dumps(told), headers={"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["results"]
    assert [one["key"] for one in found] == [one.get("key", "") for one in actions]
    return found


def action(kind: str, **known: Any) -> dict[str, Any]:
    return {"key": str(new_id()), "kind": kind, "happened_at": now().isoformat()} | known


def report(point: tuple[float, float], **known: Any) -> dict[str, Any]:
    lng, lat = point
    fields = {"text": "井盖松动，已放警示锥。", "category": "1001", "event": "part"} | known.pop("fields", {})
    place = {"lng": lng, "lat": lat, "accuracy": 12}
    return action("report", fields=fields, position=place, **known)


def bundle(worker: TestClient, since: str = "") -> dict[str, Any]:
    answer = worker.get(f"{API}/bundle", params={"since": since})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def task(worker: TestClient, number: str) -> dict[str, Any]:
    [found] = [one for one in bundle(worker)["tasks"] if one["number"] == number]
    return dict(found)


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
    assert "核查" not in stale["message"]
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
    assert "处置" in refused["message"] or "填" in refused["message"] or "做" in refused["message"], refused["message"]
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
    from core.actor import system
    from core.db import rows, snapshot

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


def test_a_photo_goes_on_from_where_the_line_broke(signed_in: SignedIn, district: tiny.Tiny) -> None:
    worker = signed_in("gridwest")
    data = picture("teal", size=(900, 700))
    key, total = sha256(data).hexdigest(), str(len(data))
    url = f"{API}/photos/{key}"
    assert worker.head(url).headers["Upload-Offset"] == "0"
    for cut in (1, len(data) // 3, len(data) - 1):
        there = int(worker.head(url).headers["Upload-Offset"])
        headers = {"Upload-Offset": str(there), "Upload-Length": total}
        assert worker.put(url, content=data[there:cut], headers=headers).status_code == 202
        assert worker.head(url).headers["Upload-Offset"] == str(cut)
    ahead = worker.put(url, content=b"x", headers={"Upload-Offset": total, "Upload-Length": total})
    assert (ahead.status_code, ahead.headers["Upload-Offset"]) == (409, str(len(data) - 1))
    rest = {"Upload-Offset": str(len(data) - 1), "Upload-Length": total}
    assert worker.put(url, content=data[-1:], headers=rest).status_code == 201
    assert worker.head(url).status_code == 204


def test_damaged_large_and_strange_files_are_refused_with_words(signed_in: SignedIn, district: tiny.Tiny) -> None:
    worker = signed_in("gridwest")
    data = picture("olive")
    wrong = worker.put(f"{API}/photos/{'0' * 64}", content=data)
    assert wrong.status_code == 422
    assert worker.head(f"{API}/photos/{'0' * 64}").headers["Upload-Offset"] == "0", "thrown away"
    assert put(worker, b"GIF89a" + b"\0" * 500).status_code == 415
    big = worker.put(f"{API}/photos/{'1' * 64}", content=b"x" * (20 * 2**20 + 1))
    assert big.status_code == 413
    assert "20" in big.json()["detail"] or "20480" in big.json()["detail"]
    said = worker.put(f"{API}/photos/{'2' * 64}", content=b"x", headers={"Upload-Length": str(21 * 2**20)})
    assert said.status_code == 413
    assert worker.put(f"{API}/photos/nothex", content=b"x").status_code == 404


def test_a_photo_of_twenty_megabytes_is_taken(signed_in: SignedIn, district: tiny.Tiny) -> None:
    worker = signed_in("gridwest")
    data = picture("white", size=(1200, 900))
    padded = data + b"\0" * (20 * 2**20 - len(data))
    assert put(worker, padded).status_code == 201


def test_heic_is_taken_and_becomes_a_jpeg_without_a_place(signed_in: SignedIn, district: tiny.Tiny) -> None:
    from pathlib import Path

    worker = signed_in("gridwest")
    data = (Path(__file__).parents[1] / "data" / "photo.heic").read_bytes()
    answer = put(worker, data)
    assert answer.status_code == 201, answer.text
    [done] = send(worker, report(district.in_west, photos=[sha256(data).hexdigest()]))
    kept = worker.get(task(worker, done["number"])["photos"][0])
    assert kept.headers["content-type"] == "image/jpeg"
    assert b"Exif" not in kept.content[:4096]


def test_a_photo_that_says_it_was_taken_elsewhere_is_shown_and_refuses_nothing(
    signed_in: SignedIn, district: tiny.Tiny
) -> None:
    worker = signed_in("gridwest")
    data = picture("black", at=(114, 24))
    assert put(worker, data).json()["position"] == [114.0, 24.0]
    [done] = send(worker, report(district.in_west, photos=[sha256(data).hexdigest()]))
    assert done["status"] == "done"
    assert any("照片" in note for note in done["notes"]), done["notes"]
    plain = picture("silver")
    put(worker, plain)
    [quiet] = send(worker, report(district.in_west, photos=[sha256(plain).hexdigest()]))
    assert quiet["notes"] == [], "a photo without a position is fine"


def test_a_report_without_position_stands_where_its_photo_was_taken_else_is_refused(
    signed_in: SignedIn, district: tiny.Tiny
) -> None:
    worker = signed_in("gridwest")
    data = picture("gold", at=district.in_west)
    put(worker, data)
    sent = report(district.in_west, photos=[sha256(data).hexdigest()]) | {"position": None}
    [done] = send(worker, sent)
    assert done["status"] == "done"
    [refused] = send(worker, report(district.in_west) | {"position": None})
    assert (refused["status"], refused["field"]) == ("refused", "point")


def test_a_voice_note_hangs_on_its_case_and_only_who_sees_the_case_hears_it(
    signed_in: SignedIn, district: tiny.Tiny
) -> None:
    worker = signed_in("gridwest")
    spoken = b"\x1a\x45\xdf\xa3" + b"\x42\x82\x84webm" + b"\x00" * 200 + b"A_OPUS" + b"\x11" * 900
    assert put(worker, spoken).json()["kind"] == "voice"
    [done] = send(worker, report(district.in_west, voice=[sha256(spoken).hexdigest()]))
    [url] = task(worker, done["number"])["voices"]
    heard = worker.get(url)
    assert (heard.content, heard.headers["content-type"]) == (spoken, "audio/webm")
    assert heard.headers["content-disposition"].startswith("attachment")
    assert signed_in("water").get(url).status_code == 404
    video = b"\x1a\x45\xdf\xa3" + b"webm" + b"V_VP9" + b"\x00" * 100
    assert put(worker, video).status_code == 415


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
    from core.actor import Actor, Role, system
    from core.db import transaction
    from grid.accounts import NewAccount, add

    with transaction(system(tiny.DISTRICT, "tests")) as session:
        add(
            session,
            NewAccount("grideast", tiny.PASSWORD, Role.GRID_WORKER, "东巡", town=tiny.EAST),
            district=tiny.DISTRICT,
            at=now(),
        )
    east, west = signed_in("grideast"), signed_in("gridwest")
    assert isinstance(Actor, type)
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
    other = bundle(worker, first["cursor"] + "x")
    assert other["full"] or not other["full"]
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


def test_the_map_pack_holds_the_worker_s_cells_and_is_answered_in_ranges(
    signed_in: SignedIn, district: tiny.Tiny
) -> None:
    from pmtiles.reader import MemorySource, Reader

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
    from core.actor import system
    from core.db import transaction
    from grid import visits

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
    assert "gridwest" in again["message"] or again["message"]
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

"""Photos and voice notes of the worker's phone: broken lines, large and strange files, positions that do not fit."""

from hashlib import sha256
from pathlib import Path

import pytest

from tests import tiny
from tests.web.phone import API, SignedIn, picture, put, report, send, task

pytestmark = pytest.mark.web


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

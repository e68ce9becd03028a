"""Bad input is answered with a clear error, changes nothing and loses nothing."""

import io
import struct
import zlib
from collections.abc import Iterator

import pytest
from PIL import Image
from sqlalchemy import text as sql
from starlette.testclient import TestClient

from core.actor import system
from core.db import snapshot
from core.ids import new_id
from tests import tiny
from tests.web.conftest import csrf

pytestmark = pytest.mark.web
GOOD = "青石街30号门前的井盖缺了一角，电动车容易摔倒。"


def cases() -> int:
    with snapshot(system(tiny.DISTRICT)) as session:
        query = sql("SELECT (SELECT count(*) FROM cases WHERE district_code = :d)")
        return int(session.execute(query, {"d": tiny.DISTRICT}).scalar_one())


@pytest.fixture(autouse=True)
def nothing_changes(client: TestClient) -> Iterator[None]:
    before = cases()
    yield
    assert cases() == before


def form(client: TestClient, **fields: object) -> dict[str, object]:
    return {"text": GOOD, "key": str(new_id()), "csrf_token": csrf(client)} | fields


@pytest.mark.parametrize("text", ["", "   \n "])
def test_an_empty_text_is_refused(client: TestClient, text: str) -> None:
    answer = client.post("/report", data=form(client, text=text))
    assert answer.status_code == 422, answer.text


def test_a_megabyte_of_text_is_too_large(client: TestClient) -> None:
    assert client.post("/report", data=form(client, text="井" * 400_000)).status_code == 413
    files = {"photo": ("a.txt", b"", "text/plain")}
    assert client.post("/report", data=form(client, text="井" * 400_000), files=files).status_code == 413
    assert client.post("/api/v1/reports", json={"text": "井" * 400_000}).status_code == 413
    assert client.post("/api/v1/reports", json={"text": "井" * 20_000}).status_code == 422


def test_a_body_without_a_length_is_cut_off_too(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b"a" * 65536

    answer = client.post("/api/v1/reports", content=endless(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.parametrize("text", ["井盖\x00坏了，请来修一下", "\x01\x02\x03\x04\x05 坏了", "\x89PNG\r\n\x1a\n...."])
def test_binary_text_is_refused(client: TestClient, text: str) -> None:
    assert client.post("/report", data=form(client, text=text)).status_code == 422
    assert client.post("/api/v1/reports", json={"text": text}).status_code == 422


def test_broken_utf8_is_refused(client: TestClient) -> None:
    token = csrf(client)
    body = f"key={new_id()}&csrf_token={token}&text=".encode() + b"%E4%BD%FF%FE%80abc"
    answer = client.post("/report", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 422
    raw = b'{"text": "\xe4\xbd\xff\xfe"}'
    answer = client.post("/api/v1/reports", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    multipart = (
        b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n\xe4\xbd\xff\xfe\x80 bad\r\n'
        b'--x\r\nContent-Disposition: form-data; name="csrf_token"\r\n\r\n' + token.encode() + b"\r\n--x--\r\n"
    )
    answer = client.post("/report", content=multipart, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 422


def test_nul_in_an_address_is_refused(client: TestClient) -> None:
    assert client.get("/progress?number=%00").status_code == 400
    assert client.get("/progress/2026%00").status_code == 400


@pytest.mark.parametrize(
    ("point", "word"),
    [
        ({"lng": 23.005, "lat": 113.005, "datum": "WGS84"}, "swapped"),
        ({"lng": -74.0, "lat": 40.7, "datum": "WGS84"}, "outside China"),
        ({"lng": 113.005, "lat": 23.005, "datum": ""}, "datum"),
        ({"lng": 113.005, "lat": 23.005, "datum": "EPSG:1"}, "datum"),
    ],
)
def test_a_wrong_point_is_refused_with_its_reason(client: TestClient, point: dict[str, object], word: str) -> None:
    answer = client.post("/api/v1/reports?lang=en", json={"text": GOOD, "point": point})
    assert answer.status_code == 422
    assert word in answer.json()["detail"]


def test_a_point_without_datum_is_refused(client: TestClient) -> None:
    answer = client.post("/api/v1/reports", json={"text": GOOD, "point": {"lng": 113.005, "lat": 23.005}})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].endswith("datum")


def test_half_a_point_and_words_for_a_point_are_refused(client: TestClient) -> None:
    assert client.post("/report", data=form(client, lng="113.005", lat="")).status_code == 422
    assert client.post("/report", data=form(client, lng="abc", lat="def")).status_code == 422
    assert client.post("/report", data=form(client, lng="nan", lat="inf")).status_code == 422


def test_a_form_without_its_key_is_refused(client: TestClient) -> None:
    assert client.post("/report", data=form(client, key="")).status_code == 422
    assert client.post("/report", data=form(client, key="x'; DROP TABLE")).status_code == 422


def test_a_wrong_telephone_number_is_refused(client: TestClient) -> None:
    assert client.post("/report", data=form(client, phone="call me")).status_code == 422


def _png(width: int, height: int) -> bytes:
    """Return a PNG header that promises a picture of any size in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


def _gif() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "GIF")
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("bomb.png", _png(60_000, 60_000), 413),
        ("large.png", _png(9_000, 9_000), 413),
        ("script.jpg", b"<script>alert(1)</script>", 415),
        ("page.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", 415),
        ("cut.png", _png(100, 100)[:40], 415),
        ("moving.gif", _gif(), 415),
        ("empty.jpg", b"\xff\xd8\xff", 415),
    ],
)
def test_a_photo_that_is_none_is_refused(client: TestClient, name: str, content: bytes, status: int) -> None:
    answer = client.post("/report", data=form(client), files={"photo": (name, content, "image/jpeg")})
    assert answer.status_code == status, answer.text


def test_a_photo_over_ten_megabytes_is_too_large(client: TestClient) -> None:
    content = b"\xff\xd8\xff" + b"\0" * (11 * 2**20)
    answer = client.post("/report", data=form(client), files={"photo": ("a.jpg", content, "image/jpeg")})
    assert answer.status_code == 413


def test_too_many_photos_are_refused(client: TestClient) -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG")
    files = [("photo", (f"{i}.jpg", out.getvalue(), "image/jpeg")) for i in range(4)]
    assert client.post("/report", data=form(client), files=files).status_code == 422


def test_unknown_members_and_wrong_types_are_named(client: TestClient) -> None:
    answer = client.post("/api/v1/reports", json={"text": GOOD, "colour": "red"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "colour"
    assert client.post("/api/v1/reports", json={"text": ["a"]}).status_code == 422
    assert client.post("/api/v1/reports", content=b"{", headers={"Content-Type": "application/json"}).status_code == 422


def test_wrong_methods_and_unknown_pages_are_answered_in_the_pages_language(client: TestClient) -> None:
    for answer in (client.delete("/report"), client.get("/no-such-page"), client.put("/api/v1/reports")):
        assert answer.status_code in (404, 405)
        assert "Traceback" not in answer.text
    assert "<html" in client.get("/no-such-page").text


def test_a_database_that_is_down_is_a_503_that_says_the_report_is_kept(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core import db

    token = csrf(client)
    key = str(new_id())
    dead = db.make_engine("postgresql+psycopg://nobody@/nothing?host=/nonexistent")
    with monkeypatch.context() as patch:
        patch.setattr(db, "engine", lambda *, replica=False: dead)
        answer = client.post("/report?lang=en", data={"text": GOOD, "key": key, "csrf_token": token})
        assert answer.status_code == 503
        assert "kept in this browser" in answer.text
        assert answer.headers["retry-after"]
        problem = client.post("/api/v1/reports", json={"text": GOOD})
        assert problem.status_code == 503
        assert problem.headers["content-type"] == "application/problem+json"
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
    dead.dispose()

"""Bad input at every door where people type or send something: refused with a sentence, nothing changed, nothing lost."""

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image, PngImagePlugin
from sqlalchemy import text as sql
from starlette.testclient import TestClient

from api import pdf
from core.actor import system
from core.db import snapshot, transaction
from core.ids import new_id
from tests import builders, tiny
from tests.web.conftest import csrf

pytestmark = pytest.mark.web

SignIn = Callable[[str], TestClient]
MEGABYTE = "字" * 400_000
GOOD = "青石街30号门前的井盖缺了一角，电动车容易摔倒。"
#: What each kind of bad text is answered with.
BAD = {
    "empty": ("", {422}),
    "blank": (" \n\t 　", {422}),
    "megabyte": (MEGABYTE, {413}),
    "binary": ("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", {422}),
    "control": ("已处理\x07\x1b[31m", {422}),
}


def counted() -> tuple[int, ...]:
    """Return how many cases, reports, entries, photos and messages there are."""
    tables = ("cases", "report", "entry", "attachment", "outbox")
    count = ", ".join(f"(SELECT count(*) FROM {table} WHERE district_code = :d)" for table in tables)
    with snapshot(system(tiny.DISTRICT)) as session:
        return tuple(session.execute(sql(f"SELECT {count}"), {"d": tiny.DISTRICT}).one())


@pytest.fixture
def case() -> tuple[str, str]:
    """Write a case in the hands of a unit; return its number and version."""
    with transaction(builders.program(tiny.DISTRICT)) as session:
        at = datetime.now(UTC) - timedelta(hours=1)
        known = {"state": "signed", "category_code": "1001", "town_code": tiny.WEST}
        made = builders.make_case(session, district=tiny.DISTRICT, at=at, unit=tiny.STREETS, **known)
        builders.make_assignment(session, made, tiny.STREETS, state="signed")
        builders.make_deadline(session, made, "reply", limit="5wd")
        return made.number, str(made.version)


@pytest.fixture
def unchanged(case: tuple[str, str]) -> Iterator[None]:
    before = counted()
    yield
    assert counted() == before


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize(
    ("login", "path", "field"),
    [
        ("streets", "/unit/{number}/reply", "answer"),
        ("streets", "/unit/{number}/note", "note"),
        ("operator", "/desk/case/{number}/note", "note"),
        ("operator", "/desk/new", "text"),
    ],
)
def test_bad_text_is_refused_wherever_staff_type(
    signed_in: SignIn, case: tuple[str, str], login: str, path: str, field: str, kind: str
) -> None:
    number, version = case
    words, statuses = BAD[kind]
    form = {"version": version, "seen": "1", "key": str(new_id()), field: words}
    answer = signed_in(login).post(path.format(number=number), data=form)
    assert answer.status_code in statuses, answer.text[:500]
    assert "<html" in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("kind", BAD)
def test_bad_text_is_refused_by_the_api(client: TestClient, case: tuple[str, str], kind: str) -> None:
    number, version = case
    words, statuses = BAD[kind]
    given = client.post("/api/v1/tokens", json={"login": "streets", "password": tiny.PASSWORD}).json()
    head = {"Authorization": f"Bearer {given['token']}"}
    step = {"action": "reply", "expected_version": int(version), "fields": {"answer": words}}
    answer = client.post(f"/api/v1/cases/{number}/actions", json=step, headers=head)
    assert answer.status_code in statuses, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] or kind == "megabyte"


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "fields",
    [
        {"category": "9999"},
        {"unit": "990200-X9"},
        {"category": "1001' OR '1'='1"},
        {"lng": 23.005, "lat": 113.005, "datum": "WGS84"},
        {"lng": 113.005, "lat": 23.005},
        {"lng": 113.005, "lat": 23.005, "datum": "wgs"},
        {"lng": 2.35, "lat": 48.85, "datum": "WGS84"},
        {"lng": 113.6, "lat": 23.6, "datum": "WGS84"},
    ],
)
def test_unknown_codes_and_impossible_places_are_refused_by_the_api(
    client: TestClient, case: tuple[str, str], fields: dict[str, object]
) -> None:
    number, version = case
    given = client.post("/api/v1/tokens", json={"login": "operator", "password": tiny.PASSWORD}).json()
    step = {"action": "correct", "expected_version": int(version), "fields": fields}
    head = {"Authorization": f"Bearer {given['token']}"}
    answer = client.post(f"/api/v1/cases/{number}/actions", json=step, headers=head)
    # A unit is chosen by dispatching, which is not on offer any more.
    assert answer.status_code == (409 if "unit" in fields else 422), answer.text
    assert answer.json()["detail"]


def _photo(kind: str, **known: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (48, 32), "teal").save(out, kind, **known)  # type: ignore[arg-type]  # options of Pillow
    return out.getvalue()


def _taken_at(lng: float, lat: float) -> bytes:
    tags = Image.Exif()
    place = tags.get_ifd(0x8825)
    place.update({1: "N", 2: (lat, 0.0, 0.0), 3: "E", 4: (lng, 0.0, 0.0)})
    return _photo("JPEG", exif=tags)


@pytest.mark.parametrize(("lng", "lat"), [(2.35, 48.85), (23.0, 113.0), (0.0, 23.0)])
def test_a_photo_that_says_an_impossible_place_does_not_cost_the_report(
    client: TestClient, lng: float, lat: float
) -> None:
    form = {"text": GOOD, "key": str(new_id()), "csrf_token": csrf(client)}
    answer = client.post("/report", data=form, files={"photo": ("a.jpg", _taken_at(lng, lat), "image/jpeg")})
    assert answer.status_code == 303, answer.text


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("drawn", [False, True], ids=["at once", "after a PDF was drawn"])
def test_a_picture_whose_comment_unfolds_without_end_is_refused(client: TestClient, *, drawn: bool) -> None:
    if drawn:
        # What draws PDF files asks Pillow to be lenient, for the whole process.
        pdf.draw("bomb", lambda: "<p>.", css="")
    notes = PngImagePlugin.PngInfo()
    notes.add_text("comment", "x" * (30 * 2**20), zip=True)
    bomb = _photo("PNG", pnginfo=notes)
    assert len(bomb) < 100_000
    form = {"text": GOOD, "key": str(new_id()), "csrf_token": csrf(client)}
    answer = client.post("/report", data=form, files={"photo": ("a.png", bomb, "image/png")})
    assert answer.status_code == 415


def test_a_picture_with_a_script_behind_it_is_kept_without_the_script(client: TestClient) -> None:
    from api.photos import read_photo

    kept = read_photo(_photo("JPEG") + b"<script>alert(1)</script><?php system('id'); ?>")
    assert b"script" not in kept.data
    assert b"php" not in kept.data
    assert kept.media_type == "image/jpeg"


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "fixed", [{"version": "0"}, {"version": "99"}, {"version": "x"}, {"version": ""}, {"seen": "x"}]
)
def test_a_page_of_another_version_changes_nothing(
    signed_in: SignIn, case: tuple[str, str], fixed: dict[str, str]
) -> None:
    number, version = case
    form = {"version": version, "seen": "1", "answer": "已处理完毕，请放心。"} | fixed
    if "seen" in fixed:
        form["version"] = "7"
    answer = signed_in("streets").post(f"/unit/{number}/reply", data=form)
    assert answer.status_code in (409, 422)
    assert "<html" in answer.text
    if answer.status_code == 409:
        assert "已处理完毕，请放心。" in answer.text, "what was typed is still there"

"""Personal numbers in free text leave the house nowhere: who shows no code reads no text, and what is printed is blotted."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from core.actor import system
from core.db import transaction
from dispatch import tallies
from tests import tiny
from tests.builders import make_case, put_away

#: Invented. The telephone stands across the sixtieth character, where the map cuts a text that has no title.
PHONE = "13800001234"
SAID = (
    "巷口的化粪池满了，污水流到路上好几天，走路都要绕开，孩子上学也很不方便，找过物业两次都说等通知，请联系我"
    + PHONE
    + "谢谢"
)


@pytest.fixture
def number(district: tiny.Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    from core.settings import settings

    monkeypatch.setattr(settings(), "var", tmp_path)
    who = system(tiny.DISTRICT, "tests")
    lng, lat = district.in_west
    with transaction(who) as session:
        put_away(session, tiny.DISTRICT)
        case = make_case(
            session, district=tiny.DISTRICT, lng=lng, lat=lat, at=datetime.now(UTC), text=SAID,
            place_name=f"巷口，电话{PHONE}", town_code=tiny.WEST, cell_code=f"{tiny.WEST}001001", category_code="1001",
        )  # fmt: skip
        tallies.rebuild(session)
    yield case.number
    with transaction(who) as session:
        put_away(session, tiny.DISTRICT)


def test_the_report_map_that_is_printed_shows_no_telephone_nor_half_of_one(
    signed_in: Callable[[str], TestClient], number: str
) -> None:
    assert SAID.index(PHONE) < 60 < SAID.index(PHONE) + len(PHONE)
    shown = signed_in("official").get("/map/report").text
    assert number in shown
    assert PHONE[:6] not in shown


@pytest.mark.parametrize("path", ["/progress/{}", "/api/v1/progress/{}"])
def test_who_shows_no_code_reads_neither_text_nor_place(client: TestClient, number: str, path: str) -> None:
    answer = client.get(path.format(number))
    assert answer.status_code == 200
    assert number in answer.text
    assert PHONE[:6] not in answer.text
    assert "化粪池" not in answer.text


def test_what_looks_like_the_same_matter_is_shown_without_its_words(client: TestClient, number: str) -> None:
    page = client.get("/").text
    token = page.split('name="csrf_token" value="')[1].split('"')[0]
    shown = client.post("/understand", data={"text": SAID.replace(PHONE, ""), "csrf_token": token}).text
    assert PHONE[:6] not in shown


def test_understanding_shows_its_words_of_category_and_of_urgency_and_its_model(client: TestClient) -> None:
    found = client.post("/api/v1/understand", json={"text": "小区物业不修路灯，从早上开始停水到现在"}).json()
    assert found["urgency"] == "utilities"
    assert found["urgency_words"] == ["停水"]
    assert found["words"]
    assert "停水" not in found["words"]
    assert len(found["categories"]) == 3
    assert found["model"]

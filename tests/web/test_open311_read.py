"""What everybody may read through Open311: the public view alone, within the standard's limits."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from api import wiring
from core.actor import Actor, Role, system
from core.db import rows, snapshot, transaction
from dispatch import sheet
from dispatch.cases import act
from hotline.intake import Report
from hotline.open311 import keys, times
from tests import tiny
from tests.builders import put_away
from tests.web.test_open311 import V2, problem

pytestmark = pytest.mark.web

OPERATOR = Actor(None, "试验话务员", Role.OPERATOR, tiny.DISTRICT)
WATER = Actor(None, "试验经办", Role.UNIT, tiny.DISTRICT, unit=tiny.WATER)


@pytest.fixture(scope="module")
def key(district: tiny.Tiny) -> str:
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        return keys.add(session, "读", at=datetime.now(UTC), per_minute=5000)[1]


@pytest.fixture(autouse=True)
def _away(district: tiny.Tiny) -> Iterator[None]:
    yield
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        put_away(session, tiny.DISTRICT)


@pytest.fixture
def sent(client: TestClient, key: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Send a request as of a moment and return its number."""

    def send(description: str, *, at: datetime | None = None, **given: str) -> str:
        form = {"api_key": key, "service_code": "2001", "address_string": "石桥新村", "description": description}
        with monkeypatch.context() as patch:
            if at:
                patch.setattr(wiring, "now", lambda: at)
            answer = client.post(f"{V2}/requests.json", data=form | given)
        assert answer.status_code == 200, answer.text
        return str(answer.json()[0]["service_request_id"])

    return send


def listed(client: TestClient, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"{V2}/requests.json?{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def do(number: str, actor: Actor, action: str, **fields: Any) -> None:
    with snapshot(system(tiny.DISTRICT)) as session:
        sql = "SELECT id FROM cases WHERE district_code = :d AND number = :n"
        ((found),) = rows(session, sql, d=tiny.DISTRICT, n=number)
        case = sheet.facts(session, found["id"])
    if action == "dispatch" and case.state != "received":
        return
    book = wiring.rulebook(tiny.DISTRICT)
    with transaction(actor) as session:
        act(session, book, case.id, action, expected_version=case.version, at=datetime.now(UTC), fields=fields)


def test_names_numbers_and_the_houses_own_words_are_shown_to_nobody(
    client: TestClient, sent: Callable[..., str]
) -> None:
    number = sent(
        "石桥新村停水，我是王小明，电话13800001234，邮箱 wang@example.org", first_name="小明", last_name="王",
        phone="13900005678", email="secret@example.org", device_id="device-77", account_id="account-88",
    )  # fmt: skip
    do(number, OPERATOR, "note", note="内部备注：此人常来电")
    do(number, OPERATOR, "dispatch", unit=tiny.WATER)
    for kind in ("json", "xml"):
        for path in (f"requests/{number}", "requests"):
            shown = client.get(f"{V2}/{path}.{kind}").text
            assert number in shown
            assert "石桥新村停水" in shown
            for private in (
                "13800001234", "13900005678", "王小明", "example.org", "device-77", "account-88", "内部备注", "常来电",
            ):  # fmt: skip
                assert private not in shown, private


def test_the_senders_name_is_no_more_in_the_answer_and_the_address_than_in_the_words(
    client: TestClient, sent: Callable[..., str]
) -> None:
    number = sent(
        "石桥新村水管漏水",
        address_string="石桥新村3号王大锤家门口",
        first_name="大锤",
        last_name="王",
        phone="13900005678",
    )
    do(number, OPERATOR, "dispatch", unit=tiny.WATER)
    do(number, WATER, "sign")
    answer = "王先生您好，王大锤户的水管已修好。"
    do(number, WATER, "reply", answer=answer, truth="yes", duty="yes", contacted="yes", solved="yes")
    shown = client.get(f"{V2}/requests/{number}.json").text
    assert "水管已修好" in shown
    for private in ("王大锤", "王先生"):
        assert private not in shown, private


def test_what_came_by_another_way_is_not_shown(client: TestClient, district: tiny.Tiny) -> None:
    at = datetime.now(UTC)
    made = wiring.intake(tiny.DISTRICT).receive(
        Report("hotline", "望湖中学门口有人摆摊", at, category="1002"), actor=system(tiny.DISTRICT, "tests"), at=at
    )
    assert problem(client.get(f"{V2}/requests/{made.number}.json"), 404)
    assert listed(client, f"service_request_id={made.number}") == []
    assert made.number not in [one["service_request_id"] for one in listed(client)]


def test_the_answer_is_the_note_and_a_matter_is_closed_when_it_rests(
    client: TestClient, sent: Callable[..., str]
) -> None:
    number = sent("石桥新村水压低，洗澡没有水")
    do(number, OPERATOR, "dispatch", unit=tiny.WATER)
    do(number, WATER, "sign")
    answer = "已加压，有事请打13700001111"
    do(number, WATER, "reply", answer=answer, truth="yes", duty="yes", contacted="yes", solved="yes")
    (told,) = listed(client, f"service_request_id={number}")
    # Answered, and the reporter not yet asked: it may still be reworked.
    assert told["status"] == "open"
    assert told["status_notes"] == "已加压，有事请打***********"
    do(number, OPERATOR, "callback", satisfaction="5")
    (told,) = listed(client, f"service_request_id={number}")
    assert told["status"] == "closed"
    assert number in [one["service_request_id"] for one in listed(client, "status=closed")]
    assert number not in [one["service_request_id"] for one in listed(client, "status=open")]


def test_how_it_ended_without_an_answer_is_said(client: TestClient, sent: Callable[..., str]) -> None:
    number = sent("石桥新村水费太贵")
    do(number, OPERATOR, "withdraw", reason="反映人撤回")
    (told,) = listed(client, f"service_request_id={number}")
    assert (told["status"], told["status_notes"]) == ("closed", "反映人已撤回。")
    (told,) = listed(client, f"service_request_id={number}&lang=en")
    assert told["status_notes"] == "Taken back by the reporter."


def test_lists_are_of_ninety_days_newest_first_and_by_service(client: TestClient, sent: Callable[..., str]) -> None:
    at = datetime.now(UTC)
    numbers = [
        sent(f"停水，{days}天前的第{days}件", at=at - timedelta(days=days), service_code=code)
        for days, code in ((100, "2001"), (50, "2001"), (1, "2002"))
    ]

    def found(query: str) -> list[str]:
        return [one["service_request_id"] for one in listed(client, query) if one["service_request_id"] in numbers]

    assert found("") == [numbers[2], numbers[1]]
    assert found("service_code=2002,3001") == [numbers[2]]
    old, recent = (quote(times.written(at - timedelta(days=days)) or "") for days in (101, 40))
    assert found(f"start_date={old}&end_date={recent}") == [numbers[1], numbers[0]]
    # Only one end: the other lies ninety days from it.
    assert found(f"start_date={old}") == [numbers[1], numbers[0]]
    assert found(f"end_date={recent}") == [numbers[1], numbers[0]]
    assert found(f"end_date={quote(times.written(at - timedelta(days=5)) or '')}") == [numbers[1]]
    # Ids outweigh every other parameter.
    assert found(f"service_request_id={numbers[0]}&service_code=999&status=closed") == [numbers[0]]
    # A plus that an address turned into a space.
    assert found(f"start_date={recent.replace('%2B', '+')}") == [numbers[2]]
    assert len(listed(client, "page_size=1")) == 1
    assert listed(client, "page_size=1&page=2") != listed(client, "page_size=1")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("service_code=999", 404),
        ("status=pending", 400),
        ("start_date=2026-01-01T00:00:00Z&end_date=2026-06-01T00:00:00Z", 400),
        ("start_date=2026-06-01T00:00:00Z&end_date=2026-01-01T00:00:00Z", 400),
        ("start_date=yesterday", 400),
        ("start_date=2026-01-01T00:00:00", 400),
        ("end_date=0001-01-01T00:00:00Z", 400),
        ("start_date=9999-12-01T00:00:00Z", 400),
        ("start_date=9999-12-31T23:59:59-14:00", 400),
        ("end_date=2026-02-30T00:00:00Z", 400),
        ("page_size=1001", 400),
        ("page_size=0", 400),
        ("page=99999", 400),
        ("page_size=x", 400),
        ("service_request_id=" + "1," * 1001 + "2" * 101, 400),
    ],
)
@pytest.mark.parametrize("kind", ["json", "xml"])
def test_a_wrong_parameter_is_refused_in_words(client: TestClient, kind: str, query: str, code: int) -> None:
    assert problem(client.get(f"{V2}/requests.{kind}?{query}"), code)


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>&]]>", "\u202e反向\u202c😀", "=cmd|' /C calc'!A0", "'; DROP"]
)
def test_hostile_words_come_back_as_words(client: TestClient, sent: Callable[..., str], hostile: str) -> None:
    from xml.etree import ElementTree as ET

    number = sent(f"停水 {hostile}")
    (told,) = listed(client, f"service_request_id={number}")
    assert told["description"] == f"停水 {hostile}"
    tree = ET.fromstring(client.get(f"{V2}/requests/{number}.xml").content)
    assert tree.findtext("request/description") == f"停水 {hostile}"


@pytest.mark.parametrize("moment", ["2026-11-22T12:00:00Z", "2026-11-22T20:00:00+08:00", "2026-11-22T12:00Z"])
def test_times_are_read_with_any_offset(moment: str) -> None:
    assert times.read(moment, field="x") == datetime(2026, 11, 22, 12, tzinfo=UTC)

"""Open311 GeoReport v2 as other programs see it: every call as XML and JSON, the standard's errors, and nothing private."""

import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from sqlalchemy import text as sql
from starlette.testclient import TestClient

from api import wiring, worker
from core.actor import system
from core.db import snapshot, transaction
from hotline.open311 import keys, requests, services
from tests import tiny
from tests.builders import put_away

pytestmark = pytest.mark.web

V2 = "/open311/v2"
#: W3CDTF, always with an offset.
W3C = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+08:00")
#: The first service, which the demonstration's questions hang on, and one without any.
ASKS, PLAIN = "1001", "2002"
SIZE = {"attribute[size]": "few"}


def program() -> Any:
    return transaction(system(tiny.DISTRICT, "tests"))


@pytest.fixture(scope="module")
def key(district: tiny.Tiny) -> str:
    from datetime import UTC, datetime

    with program() as session:
        services.invent_once(session, wiring.rulebook(tiny.DISTRICT))
        return keys.add(session, "试验客户端", at=datetime.now(UTC), per_minute=5000)[1]


@pytest.fixture(autouse=True)
def _away(district: tiny.Tiny) -> Iterator[None]:
    yield
    with program() as session:
        put_away(session, tiny.DISTRICT)


@pytest.fixture
def post(client: TestClient, key: str) -> Callable[..., Any]:
    """Send a form and return the answer; `api_key`, a service and a place are there unless named."""

    def send(*, kind: str = "json", headers: dict[str, str] | None = None, **given: Any) -> Any:
        form = {"api_key": key, "service_code": PLAIN, "address_string": "青石街30号", "description": "井盖缺了一角"}
        form |= {name.replace("__", ""): value for name, value in given.items()}
        form = {name: value for name, value in form.items() if value is not None}
        return client.post(f"{V2}/requests.{kind}", data=form, headers=headers or {})

    return send


def problem(answer: Any, code: int) -> str:
    """Return the text of an error in the standard's form, after checking that form."""
    assert answer.status_code == code, answer.text
    if "xml" in answer.headers["content-type"]:
        error = ET.fromstring(answer.text)
        assert error.tag == "errors"
        assert [e.tag for e in error] == ["error"]
        assert error.findtext("error/code") == str(code)
        return error.findtext("error/description") or ""
    (told,) = answer.json()
    assert told["code"] == code
    return str(told["description"])


def cases() -> int:
    with snapshot(system(tiny.DISTRICT)) as session:
        query = sql("SELECT count(*) FROM report WHERE district_code = :d AND channel = 'open311'")
        return int(session.execute(query, {"d": tiny.DISTRICT}).scalar_one())


# --- what is there


@pytest.mark.parametrize("path", ["/open311/discovery", f"{V2}/discovery"])
def test_discovery_says_where_and_what_in_both_formats(client: TestClient, path: str) -> None:
    told = client.get(f"{path}.json")
    assert told.headers["content-type"] == "application/json; charset=utf-8"
    endpoint = told.json()["endpoints"][0]
    assert endpoint["specification"].endswith("GeoReport_v2")
    assert endpoint["url"].endswith(V2)
    shown = client.get(f"{path}.xml")
    assert shown.headers["content-type"] == "text/xml; charset=utf-8"
    tree = ET.fromstring(shown.content)
    assert tree.tag == "discovery"
    assert [f.text for f in tree.findall("endpoints/endpoint/formats/format")] == ["text/xml", "application/json"]


def test_every_lowest_category_is_a_service_and_no_higher_one(client: TestClient, key: str) -> None:
    listed = client.get(f"{V2}/services.json").json()
    assert [one["service_code"] for one in listed] == ["1001", "1002", "2001", "2002", "3001"]
    assert listed[0]["group"] == "市容环境"
    assert listed[0]["metadata"] is True
    assert listed[1]["metadata"] is False
    tree = ET.fromstring(client.get(f"{V2}/services.xml").content)
    assert [one.findtext("service_name") for one in tree.findall("service")] == [one["service_name"] for one in listed]
    assert tree.findtext("service/metadata") == "true"


def test_a_definition_has_every_datatype_of_the_standard(client: TestClient, key: str) -> None:
    told = client.get(f"{V2}/services/{ASKS}.json").json()
    assert {one["datatype"] for one in told["attributes"]} == set(services.DATATYPES)
    assert [one["order"] for one in told["attributes"]] == list(range(1, len(told["attributes"]) + 1))
    tree = ET.fromstring(client.get(f"{V2}/services/{ASKS}.xml").content)
    assert tree.tag == "service_definition"
    assert tree.findtext("service_code") == ASKS
    assert [v.findtext("key") for v in tree.findall("attributes/attribute/values/value")] == [
        "few", "many", "day", "evening", "night"
    ]  # fmt: skip
    assert client.get(f"{V2}/services/{PLAIN}.json").json() == {"service_code": PLAIN, "attributes": []}


@pytest.mark.parametrize("path", ["services/999", "requests/20260101000001X", "tokens/nonsense", "nothing"])
@pytest.mark.parametrize("kind", ["xml", "json"])
def test_what_is_not_there_is_404_in_the_standards_form(client: TestClient, path: str, kind: str) -> None:
    assert problem(client.get(f"{V2}/{path}.{kind}"), 404)


def test_an_address_without_a_known_format_is_404(client: TestClient) -> None:
    assert problem(client.get(f"{V2}/services.yaml"), 404)
    assert problem(client.get(f"{V2}/services"), 404)


def test_a_jurisdiction_is_optional_and_a_wrong_one_is_404(client: TestClient, post: Callable[..., Any]) -> None:
    assert client.get(f"{V2}/services.json?jurisdiction_id={tiny.DISTRICT}").status_code == 200
    for path in ("services", f"services/{ASKS}", "requests", "requests/1", "tokens/1"):
        assert problem(client.get(f"{V2}/{path}.json?jurisdiction_id=elsewhere.gov"), 404)
    assert problem(post(jurisdiction_id="elsewhere.gov"), 404)


# --- sending


def test_a_request_becomes_one_case_of_its_service_and_can_be_read(
    client: TestClient, post: Callable[..., Any]
) -> None:
    said = {"service_code": "2001", "description": "枫林工业园停水两天了", "address_string": "枫林工业园"}
    (made,) = post(first_name="小明", last_name="王", phone="138 0000 1234", email="a@example.org", **said).json()
    number = made["service_request_id"]
    with snapshot(system(tiny.DISTRICT)) as session:
        row = session.execute(
            sql(
                "SELECT channel, category_code, unit_code, category_by, text FROM cases "
                "WHERE district_code = :d AND number = :n"
            ),
            {"d": tiny.DISTRICT, "n": number},
        ).one()
    assert row.channel == "open311"
    assert row.category_code == "2001"
    assert row.unit_code == tiny.WATER
    (told,) = client.get(f"{V2}/requests/{number}.json").json()
    assert told["status"] == "open"
    assert told["service_code"] == "2001"
    assert told["agency_responsible"] == "区水务局"
    assert told["address"] == "枫林工业园"
    for name in ("requested_datetime", "updated_datetime", "expected_datetime"):
        assert W3C.fullmatch(told[name]), told[name]
    assert 22.9 < told["lat"] < 23.1
    assert 112.9 < told["long"] < 113.1
    tree = ET.fromstring(client.get(f"{V2}/requests/{number}.xml").content)
    assert tree.findtext("request/service_request_id") == number
    assert tree.findtext("request/lat") == str(told["lat"])


def test_xml_answers_a_number_as_json_does(post: Callable[..., Any]) -> None:
    tree = ET.fromstring(post(kind="xml").content)
    assert tree.tag == "service_requests"
    assert tree.findtext("request/service_request_id")


def test_each_place_is_enough_alone_and_none_is_refused(post: Callable[..., Any], district: tiny.Tiny) -> None:
    lng, lat = district.in_west
    for place in ({"lat": lat, "long": lng}, {"address_id": "A滨湖路2"}, {"address_id": "P0"}):
        answer = post(address_string=None, description=f"井盖缺损{place}", **place)
        assert answer.status_code == 200, answer.text
    assert problem(post(address_string=None), 400)


@pytest.mark.parametrize(
    "place",
    [
        {"lat": "23.005"},
        {"lat": "here", "long": "there"},
        {"lat": "nan", "long": "113.0"},
        {"lat": "113.005", "long": "23.005"},
        {"lat": "23.5", "long": "113.5"},
        {"address_id": "nowhere"},
    ],
)
def test_a_place_that_is_none_or_outside_is_400(post: Callable[..., Any], place: dict[str, str]) -> None:
    assert problem(post(**place), 400)


def test_a_point_and_an_address_that_agree_are_taken_and_those_far_apart_refused(post: Callable[..., Any]) -> None:
    before = cases()
    assert post(lat="23.0151", long="113.0155").status_code == 200
    assert problem(post(lat="23.0005", long="113.0395"), 400)
    assert cases() == before + 1


@pytest.mark.parametrize("key", [None, "", "wrong", "x" * 500])
def test_without_a_key_that_holds_nothing_is_taken(client: TestClient, post: Callable[..., Any], key: Any) -> None:
    before = cases()
    assert problem(post(api_key=key), 403)
    assert problem(post(api_key=key, kind="xml"), 403)
    assert cases() == before


def test_a_revoked_key_holds_no_longer(client: TestClient, post: Callable[..., Any]) -> None:
    at = datetime.now(UTC)
    with program() as session:
        made, secret = keys.add(session, "要撤销的", at=at)
    assert post(api_key=secret, description="撤销之前").status_code == 200
    with program() as session:
        keys.revoke(session, made, at=at)
    assert problem(post(api_key=secret, description="撤销之后"), 403)


def test_a_key_sends_no_more_than_its_share_a_minute(post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    at = datetime.now(UTC)
    monkeypatch.setattr(wiring, "now", lambda: at)
    with program() as session:
        _, secret = keys.add(session, "慢的", at=at, per_minute=2)
    assert [post(api_key=secret, description=f"第{n}件").status_code for n in range(3)] == [200, 200, 429]
    late = post(api_key=secret, description="第四件")
    assert 1 <= int(late.headers["retry-after"]) <= 60
    monkeypatch.setattr(wiring, "now", lambda: at + timedelta(seconds=60))
    assert post(api_key=secret, description="第五件").status_code == 200


def test_many_wrong_keys_from_one_address_are_slowed_down(post: Callable[..., Any]) -> None:
    codes = [post(api_key=f"guess-{n}").status_code for n in range(62)]
    assert codes[0] == 403
    assert codes[-1] == 429


def test_neither_key_nor_hash_is_written_to_the_log(
    post: Callable[..., Any], key: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        post(description="日志里没有密钥")
        post(api_key="wrong-" + key)
    assert key not in caplog.text
    with snapshot(system(tiny.DISTRICT)) as session:
        kept = session.execute(sql("SELECT * FROM open311_key WHERE district_code = :d"), {"d": tiny.DISTRICT}).all()
    assert kept
    assert key not in str(kept)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"service_code": None}, 400),
        ({"service_code": "999"}, 404),
        # A higher level of the tree is no service.
        ({"service_code": "20"}, 404),
        ({"description": "字" * 4001}, 400),
        ({"phone": "not a number"}, 400),
        ({"email": "nobody"}, 400),
        ({"media_url": "http://127.0.0.1/x.jpg"}, 400),
        ({"media_url": "https://evil.example/x.jpg"}, 400),
        ({"media_url": "javascript:alert(1)"}, 400),
        ({"description": "a\x00b"}, 400),
        ({"description": "！！！", "address_string": "？"}, 400),
        ({"service_code": ASKS}, 400),
        ({"service_code": ASKS, "attribute[size]": "huge"}, 400),
        ({"service_code": ASKS, "attribute[size]": ["few", "many"]}, 400),
        ({"service_code": ASKS, "attribute[size]": "few", "attribute[count]": "many"}, 400),
        ({"service_code": ASKS, "attribute[size]": "few", "attribute[since]": "yesterday"}, 400),
        ({"service_code": ASKS, "attribute[size]": "few", "attribute[notice]": "read"}, 400),
        ({"service_code": ASKS, "attribute[size]": "few", "attribute[colour]": "red"}, 400),
        ({"service_code": ASKS, "attribute[size]": "few", "attribute[": "red"}, 400),
        ({"address_string": ["青石街30号", "滨湖路2号"]}, 400),
    ],
)
@pytest.mark.parametrize("kind", ["json", "xml"])
def test_a_wrong_form_is_refused_in_words_and_nothing_is_kept(
    client: TestClient, key: str, kind: str, given: dict[str, Any], code: int
) -> None:
    before = cases()
    form = {"api_key": key, "service_code": PLAIN, "address_string": "青石街30号", "description": "井盖缺了一角"}
    form = {name: value for name, value in (form | given).items() if value is not None}
    assert problem(client.post(f"{V2}/requests.{kind}", data=form), code)
    assert cases() == before


def test_what_is_no_form_or_carries_files_is_refused(client: TestClient, key: str) -> None:
    assert problem(client.post(f"{V2}/requests.json", json={"api_key": key}), 400)
    assert problem(client.post(f"{V2}/requests.json", data={"api_key": key}, files={"media": b"x"}), 400)
    many = {f"attribute[a{n}]": "1" for n in range(300)}
    assert problem(client.post(f"{V2}/requests.json", data={"api_key": key, **many}), 400)


def test_a_picture_on_an_allowed_host_is_kept_as_text(
    client: TestClient, post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.settings import settings

    monkeypatch.setattr(settings(), "open311_media_hosts", "photos.example.org")
    url = "https://photos.example.org/a.jpg"
    (made,) = post(media_url=url, description="带图片").json()
    assert client.get(f"{V2}/requests/{made['service_request_id']}.json").json()[0]["media_url"] == url
    assert problem(post(media_url="https://user@photos.example.org/a.jpg"), 400)


def test_answers_to_questions_reach_the_unit_in_words(client: TestClient, key: str) -> None:
    form = {
        "api_key": key, "service_code": ASKS, "address_string": "滨湖路2号", "description": "垃圾没人清",
        "attribute[size]": "many", "attribute[hours][]": ["day", "night"], "attribute[count]": "3",
        "attribute[since]": "2026-11-20T08:00:00+08:00", "attribute[mark]": "报刊亭", "attribute[more]": "已三天",
    }  # fmt: skip
    answer = client.post(f"{V2}/requests.json", data=form)
    assert answer.status_code == 200, answer.text
    with snapshot(system(tiny.DISTRICT)) as session:
        said = session.execute(
            sql("SELECT text FROM cases WHERE district_code = :d AND number = :n"),
            {"d": tiny.DISTRICT, "n": answer.json()[0]["service_request_id"]},
        ).scalar_one()
    assert "一栋楼或更多" in said
    assert "白天、夜间" in said
    assert "报刊亭" in said


# --- once


def test_the_same_form_again_within_ten_minutes_is_the_same_request(
    post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = datetime.now(UTC) - timedelta(hours=1)
    before = cases()
    numbers = []
    for minutes in (0, 5, 11):
        moment = at + timedelta(minutes=minutes)
        monkeypatch.setattr(wiring, "now", lambda moment=moment: moment)
        numbers.append(post(description="同一个表单").json()[0]["service_request_id"])
    assert numbers[0] == numbers[1] != numbers[2]
    assert cases() == before + 2


def test_a_senders_own_id_holds_for_ever_and_for_its_key_alone(
    post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = datetime.now(UTC)
    with program() as session:
        _, other = keys.add(session, "另一个", at=at)
    own = {"Idempotency-Key": "client-00000001"}
    first = post(description="自带编号", headers=own).json()
    monkeypatch.setattr(wiring, "now", lambda: at + timedelta(days=2))
    assert post(description="自带编号，内容改了", headers=own).json() == first
    assert post(api_key=other, description="自带编号", headers=own).json() != first
    assert problem(post(headers={"Idempotency-Key": "short"}), 400)


def test_the_same_form_at_the_same_moment_from_many_threads_is_one_case(server: str, key: str) -> None:
    import requests as http

    before = cases()
    form = {"api_key": key, "service_code": PLAIN, "address_string": "青石街30号", "description": "同时来的十份"}
    found: list[str] = []

    def send() -> None:
        answer = http.post(f"{server}{V2}/requests.json", data=form, timeout=60)
        found.append(answer.json()[0]["service_request_id"])

    threads = [threading.Thread(target=send) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 10
    assert len(set(found)) == 1
    assert cases() == before + 1


def test_what_keys_sent_is_forgotten_after_its_retention_by_the_nightly_task_and_requests_stay(
    post: Callable[..., Any],
) -> None:
    own, before = {"Idempotency-Key": "client-kept-0001"}, cases()
    number = post(headers=own, description="井盖缺了两角").json()[0]["service_request_id"]
    worker.nightly()
    assert post(headers=own, description="井盖缺了两角").json()[0]["service_request_id"] == number, "not a day old"
    old = datetime.now(UTC) - requests.REMEMBERED - timedelta(hours=1)
    with program() as session:
        session.execute(sql("UPDATE open311_seen SET at = :old"), {"old": old})
    worker.nightly()
    with snapshot(system(tiny.DISTRICT)) as session:
        assert session.execute(sql("SELECT count(*) FROM open311_seen")).scalar_one() == 0
    assert cases() == before + 1
    assert requests.remembered({"open311_seen_days": 7}) == timedelta(days=7)
    for unreadable in (0, -1, "7", True, 10**9, None):
        assert requests.remembered({"open311_seen_days": unreadable}) == requests.REMEMBERED


# --- tokens


def test_async_answers_a_token_that_becomes_a_number_once_the_worker_came(
    client: TestClient, post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (made,) = post(description="稍后受理", **{"async": "true"}).json()
    token = made["token"]
    assert "service_request_id" not in made
    (waits,) = client.get(f"{V2}/tokens/{token}.json").json()
    assert waits == {"service_request_id": None, "token": token}
    came = datetime.now(UTC)
    monkeypatch.setattr(wiring, "now", lambda: came + timedelta(seconds=30))
    assert requests.take_waiting(tiny.DISTRICT, wiring.intake, at=wiring.now()) == 1
    assert requests.take_waiting(tiny.DISTRICT, wiring.intake, at=wiring.now()) == 0
    number = client.get(f"{V2}/tokens/{token}.json").json()[0]["service_request_id"]
    (told,) = client.get(f"{V2}/requests/{number}.json").json()
    # Its clock started when it came.
    assert abs(datetime.fromisoformat(told["requested_datetime"]) - came) < timedelta(seconds=20)
    tree = ET.fromstring(client.get(f"{V2}/tokens/{token}.xml").content)
    assert tree.findtext("request/service_request_id") == number
    assert tree.findtext("request/token") == token


def test_a_request_written_down_while_the_case_could_not_be_opened_is_not_lost(
    client: TestClient, post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.errors import Unavailable
    from hotline.intake import Intake

    def down(*_: Any, **__: Any) -> None:
        raise Unavailable("The database cannot be reached at the moment.")

    with monkeypatch.context() as patch:
        patch.setattr(Intake, "receive", down)
        (made,) = post(description="数据库刚好断了").json()
    later = datetime.now(UTC) + timedelta(seconds=30)
    monkeypatch.setattr(wiring, "now", lambda: later)
    requests.take_waiting(tiny.DISTRICT, wiring.intake, at=wiring.now())
    assert client.get(f"{V2}/tokens/{made['token']}.json").json()[0]["service_request_id"]


def test_the_demos_key_is_made_once_and_holds(post: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    from api.cli_demo import _open311, _say_open311

    key, asked = _open311()
    assert _open311() == (key, asked)
    assert post(api_key=key, service_code=asked, description="演示用的密钥", **SIZE).status_code == 200
    _say_open311("http://127.0.0.1:8000", key, asked)
    said = capsys.readouterr().out
    assert f"/open311/v2/services/{asked}.xml" in said
    assert f"api_key={key} -d service_code={asked} -d 'attribute[size]=few' \\\n" in said

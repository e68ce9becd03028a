"""Programs of others, as PyPI has them, speak to the real server over loopback: three, georeport and civicbot, unchanged.

`three` is of 2013 and imports a name that Python 3 has no more; the name is put there before it is imported, and nothing
else. Its XML reader wants Python 2, so it speaks JSON here; georeport speaks both; it sends no requests, as its authors say.
"""

import itertools
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api import wiring
from core.actor import system
from core.db import transaction
from hotline.open311 import keys, services
from tests import tiny

pytestmark = pytest.mark.web


@pytest.fixture(scope="module")
def key(district: tiny.Tiny) -> str:
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        services.invent_once(session, wiring.rulebook(tiny.DISTRICT))
        return keys.add(session, "PyPI", at=datetime.now(UTC), per_minute=1000)[1]


@pytest.fixture
def three_client(server: str, key: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(itertools, "ifilter", filter, raising=False)
    with warnings.catch_warnings():
        # Escapes that Python 2 let pass.
        warnings.simplefilter("ignore")
        import three

    made = three.Three(f"{server}/open311/v2", api_key=key, discovery=f"{server}/open311/discovery.json")
    yield made
    made.session.close()


def test_three_discovers_lists_defines_sends_and_reads(three_client: Any) -> None:
    assert three_client.discovery()["endpoints"][0]["url"].endswith("/open311/v2")
    codes = [one["service_code"] for one in three_client.services()]
    assert codes == ["1001", "1002", "2001", "2002", "3001"]
    assert three_client.services("1001")["attributes"]
    (made,) = three_client.post(
        "2002", address="青石街30号", name="Xiaoming Wang", phone="555-5555", email="a@example.org",
        description="井盖缺了一角，three 发来",
    )  # fmt: skip
    number = made["service_request_id"]
    (told,) = three_client.request(number)
    assert told["description"].startswith("井盖缺了一角")
    assert told["status"] == "open"
    assert number in [one["service_request_id"] for one in three_client.requests("2002")]
    today = datetime.now(UTC).date()
    span = [day.strftime("%m-%d-%Y") for day in (today - timedelta(days=5), today + timedelta(days=2))]
    found = three_client.requests(between=span, count=50, status="open")
    assert number in [one["service_request_id"] for one in found]
    (waits,) = three_client.post("2002", address="青石街34号", description="路灯井盖松动", **{"async": "true"})
    assert three_client.token(waits["token"])[0]["token"] == waits["token"]


def test_three_reads_an_error_as_the_standard_writes_it(three_client: Any) -> None:
    (told,) = three_client.post("999", address="青石街30号", description="没有这个服务")
    assert told["code"] == 404
    (told,) = three_client.request("20200101000001X")
    assert told["code"] == 404


@pytest.mark.parametrize("kind", ["json", "xml"])
def test_georeport_reads_every_call_in_both_formats(server: str, three_client: Any, kind: str) -> None:
    from georeport import GeoReport

    numbers = [
        three_client.post("2002", address=f"青石街{n}号", description=f"井盖松动，第{n}处，{kind}")[0][
            "service_request_id"
        ]
        for n in (30, 34)
    ]
    client = GeoReport(f"{server}/open311/v2", output_format=kind, jurisdiction=tiny.DISTRICT)
    assert [one["service_code"] for one in client.get_service_list()] == ["1001", "1002", "2001", "2002", "3001"]
    assert client.get_service_definition("1001")["attributes"]
    found = client.get_service_requests(service_request_id=",".join(numbers))
    assert {one["service_request_id"] for one in found} == set(numbers)
    assert client.get_service_request(numbers[0])["service_request_id"] == numbers[0]
    since = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = client.get_service_requests(service_code="2002", start_date=since, status="open")
    assert set(numbers) <= {one["service_request_id"] for one in found}


def test_civicbot_checks_against_the_definition_and_sends(server: str, key: str) -> None:
    from civicbot.http import HttpError, HttpTransport, RateLimiter
    from civicbot.open311 import Open311Client
    from civicbot.registry import Endpoint

    endpoint = Endpoint(**{**_blank(Endpoint), "id": "ours", "base_url": f"{server}/open311/v2", "write": True})
    client = Open311Client(endpoint, transport=HttpTransport(rate_limiter=RateLimiter(0.0)))
    sent = client.create_request(
        "1001", dry_run=False, confirm="SEND", api_key=key, validate_remote=True, lat=23.005, lng=113.005,
        description="垃圾三天没有清运，civicbot 发来", attributes={"size": "many", "hours": ["day", "night"]},
    )  # fmt: skip
    (made,) = sent.response
    told = client.get_request(made["service_request_id"])
    assert told is not None
    assert told["service_code"] == "1001"
    assert (told["lat"], told["long"]) == (23.005, 113.005)
    with pytest.raises(HttpError) as caught:
        client.create_request("1001", dry_run=False, confirm="SEND", api_key="wrong", lat=23.005, lng=113.005)
    assert caught.value.status == 403


def _blank(shape: Any) -> dict[str, Any]:
    """Return a value for every member of a dataclass that has no default."""
    import dataclasses

    missing = dataclasses.MISSING
    return {
        one.name: "" for one in dataclasses.fields(shape) if one.default is missing and one.default_factory is missing
    }

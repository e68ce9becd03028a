"""Five hundred real requests of another city go in through Open311 and come back with their times; who was late is late.

Their texts and places are not used: codes, durations and status alone, put on the tiny district and into this month.
"""

import csv
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text as sql
from starlette.testclient import TestClient

from api import wiring
from core.actor import Actor, Role, system
from core.db import transaction
from core.settings import settings
from dispatch.cases import act
from hotline.open311 import keys, times
from tests import tiny
from tests.web.test_open311 import V2

pytestmark = pytest.mark.web

COUNT = 500


def rows() -> list[dict[str, str]]:
    path = settings().data / "baltimore311" / "requests.csv"
    if not path.exists():
        pytest.skip(f"no given data at {path}: the sample of another city was not sent through Open311")
    with path.open(encoding="utf-8") as file:
        return [row for row, _ in zip(csv.DictReader(file), range(COUNT), strict=False)]


def settle(wanted: dict[str, dict[str, Any]]) -> None:
    """Set each clock as theirs was, for their limits are not ours, and close what they closed, when they did."""
    here, book = {"d": tiny.DISTRICT}, wiring.rulebook(tiny.DISTRICT)
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        query = sql("SELECT number, id, version FROM cases WHERE district_code = :d AND channel = 'open311'")
        known = {row.number: row for row in session.execute(query, here)}
        clock = sql(
            "UPDATE deadline SET due_at = :due, half_at = started_at, near_at = started_at "
            "WHERE district_code = :d AND case_id = :c AND clock = 'reply'"
        )
        session.execute(
            clock, [here | {"c": known[n].id, "due": true["due"]} for n, true in wanted.items() if true["due"]]
        )
    fields = {"reason": "样本中已办结"}
    with transaction(Actor(None, "试验", Role.OPERATOR, tiny.DISTRICT)) as session:
        for number, true in wanted.items():
            if true["closed"]:
                case = known[number]
                act(session, book, case.id, "withdraw", expected_version=case.version, at=true["closed"], fields=fields)


def test_requests_of_another_city_come_back_with_their_times(
    client: TestClient, district: tiny.Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = rows()
    base = datetime.now(UTC).replace(microsecond=0) - timedelta(days=60)
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        key = keys.add(session, "巴尔的摩样本", at=base, per_minute=60_000)[1]
    codes = ("1001", "1002", "2001", "2002", "3001")
    types = sorted({row["SRType"] for row in sample})
    wanted: dict[str, dict[str, Any]] = {}
    for place, row in enumerate(sample):
        created = datetime.fromisoformat(row["CreatedDate"])
        came = base + timedelta(minutes=100 * place)

        def moved(name: str, row: dict[str, str] = row, came: datetime = came, created: datetime = created) -> Any:
            return came + (datetime.fromisoformat(row[name]) - created) if row[name] else None

        monkeypatch.setattr(wiring, "now", lambda came=came: came)
        form = {
            "api_key": key, "service_code": codes[types.index(row["SRType"]) % len(codes)],
            "description": row["ServiceRequestNum"],
            "lat": str(tiny.LAT + 0.0005 + place % 19 / 1000), "long": str(tiny.LNG + 0.0005 + place % 39 / 1000),
        }  # fmt: skip
        answer = client.post(f"{V2}/requests.json", data=form, headers={"Idempotency-Key": row["ServiceRequestNum"]})
        assert answer.status_code == 200, answer.text
        number = answer.json()[0]["service_request_id"]
        due, closed = moved("DueDate"), moved("CloseDate")
        closed = max(closed, came) if closed else None
        wanted[number] = {"came": came, "due": due, "closed": closed}
    assert len(wanted) == len(sample)
    monkeypatch.undo()
    settle(wanted)
    first = times.written(base - timedelta(minutes=1))
    found = client.get(f"{V2}/requests.json", params={"start_date": first}).json()
    assert [one["service_request_id"] for one in found] == sorted(wanted, key=lambda n: wanted[n]["came"], reverse=True)
    late = 0
    for one in found:
        true = wanted[one["service_request_id"]]
        assert one["requested_datetime"] == times.written(true["came"])
        assert one["status"] == ("closed" if true["closed"] else "open")
        if true["due"]:
            assert one["expected_datetime"] == times.written(true["due"])
        if true["closed"]:
            assert one["updated_datetime"] == times.written(true["closed"])
        if true["due"] and true["closed"]:
            shown = datetime.fromisoformat(one["updated_datetime"]) > datetime.fromisoformat(one["expected_datetime"])
            assert shown == (true["closed"] > true["due"])
            late += shown
    theirs = [row for row in sample if row["DueDate"] and row["CloseDate"] and row["CloseDate"] > row["DueDate"]]
    assert late == len([row for row in theirs if row["CloseDate"] > row["CreatedDate"]])
    # The same again changes nothing.
    again = client.post(
        f"{V2}/requests.json",
        data={"api_key": key, "service_code": "1001", "description": "again", "lat": "23.005", "long": "113.005"},
        headers={"Idempotency-Key": sample[0]["ServiceRequestNum"]},
    )
    assert again.json()[0]["service_request_id"] == found[-1]["service_request_id"]

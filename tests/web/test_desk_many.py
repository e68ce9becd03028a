"""Many cases at once on the desk: looked at first, each by itself, and taken back where a road leads back."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from core.db import transaction
from dispatch.models import Case
from tests import builders, tiny

pytestmark = pytest.mark.web

SignIn = Callable[[str], TestClient]


def opened(**known: Any) -> Case:
    """Write a waiting case of the tiny district whose category and place name a unit."""
    filled: dict[str, Any] = {
        "district": tiny.DISTRICT,
        "at": datetime.now(UTC) - timedelta(hours=1),
        "town_code": tiny.WEST,
        "lng": 113.004,
        "lat": 23.004,
        "category_code": "1001",
        "process_version": 2,
    } | known
    with transaction(builders.program(tiny.DISTRICT)) as session:
        case = builders.make_case(session, **filled)
        for clock, limit in (("dispatch", "24h"), ("reply", "5wd")):
            builders.make_deadline(session, case, clock, limit=limit)
        return case


def stored(case: Case) -> Case:
    with transaction(builders.program(tiny.DISTRICT)) as session:
        return session.scalars(select(Case).where(Case.district_code == tiny.DISTRICT, Case.id == case.id)).one()


def seen(*chosen: Case) -> list[str]:
    return [f"{case.number}:{stored(case).version}" for case in chosen]


def taken_back(page: str) -> dict[str, Any]:
    """Return what the form that takes back would send."""
    form = re.search(r'action="/desk/many/undo".*?</form>', page, re.DOTALL)
    assert form, "there is no way back"
    return {
        "do": re.findall(r'name="do" value="(\w+)"', form[0])[0],
        "case": re.findall(r'name="case" value="([^"]*)"', form[0]),
    }


@pytest.fixture
def operator(signed_in: SignIn) -> TestClient:
    return signed_in("operator")


def test_a_preview_changes_nothing_and_names_unit_or_reason_for_each(operator: TestClient) -> None:
    fine = opened()
    doubtful = opened(suggestions={"doubts": ["The place is not sure."]})
    gone = opened(state="signed", unit=tiny.STREETS)
    shown = operator.post("/desk/many", data={"do": "dispatch", "case": seen(fine, doubtful, gone)})
    assert shown.status_code == 200
    assert "单独看这一件" in shown.text
    assert "现在的状态下不能" in shown.text
    sure = re.search(r'id="sure".*?</form>', shown.text, re.DOTALL)
    assert sure is not None
    assert re.findall(r'name="case" value="(\w+):', sure[0]) == [fine.number]
    assert [stored(case).state for case in (fine, doubtful, gone)] == ["received", "received", "signed"]


def test_what_can_go_out_goes_and_what_cannot_stays_with_its_reason(operator: TestClient) -> None:
    fine, stale = opened(), opened()
    written = [*seen(fine), f"{stale.number}:{stored(stale).version + 3}", "20260101000000A:1"]
    done = operator.post("/desk/many/do", data={"do": "dispatch", "case": written})
    assert done.status_code == 200
    assert (stored(fine).state, stored(fine).unit_code) == ("dispatched", tiny.STREETS)
    assert stored(stale).state == "received"
    assert "/desk/many/undo" not in done.text, "what was sent out has no way back here"
    sent = stored(fine).version
    assert operator.post("/desk/many/do", data={"do": "dispatch", "case": written}).status_code == 200
    assert stored(fine).version == sent, "the same press a second time is no second step"


def test_a_category_for_many_is_taken_back_for_each_to_what_it_was(operator: TestClient) -> None:
    one, two, same = opened(category_code="1001"), opened(category_code="2001"), opened(category_code="1002")
    data = {"do": "category", "case": seen(one, two, same), "category": "1002"}
    assert "已经是这个类别" in operator.post("/desk/many", data=data).text
    page = operator.post("/desk/many/do", data=data).text
    assert [stored(case).category_code for case in (one, two, same)] == ["1002", "1002", "1002"]
    back = taken_back(page)
    assert len(back["case"]) == 2, "what had it already was left alone"
    assert operator.post("/desk/many/undo", data=back).status_code == 200
    assert [stored(case).category_code for case in (one, two, same)] == ["1001", "2001", "1002"]


def test_many_are_merged_into_the_oldest_unless_another_is_chosen_and_come_out_again(operator: TestClient) -> None:
    old = opened(at=datetime.now(UTC) - timedelta(hours=3))
    middle, young = opened(), opened(at=datetime.now(UTC) - timedelta(minutes=5))
    written = seen(young, old, middle)
    shown = operator.post("/desk/many", data={"do": "merge", "case": written}).text
    assert re.search(rf'value="{old.number}:[^"]*" checked', shown)
    page = operator.post("/desk/many/do", data={"do": "merge", "case": written, "main": f"{middle.number}:1:"}).text
    assert [stored(case).merged_into for case in (old, young)] == [middle.id, middle.id]
    assert stored(middle).state == "received"
    operator.post("/desk/many/undo", data=taken_back(page))
    assert [stored(case).state for case in (old, middle, young)] == ["received"] * 3


@pytest.mark.parametrize(
    "data",
    [
        {"do": "dispatch"},
        {"do": "fly", "case": ["1:1"]},
        {"do": "merge", "case": ["1:1"]},
        {"do": "dispatch", "case": [f"{n}:1" for n in range(101)]},
    ],
)
def test_nothing_too_much_and_what_is_not_known_are_refused_with_words(
    operator: TestClient, data: dict[str, Any]
) -> None:
    for path in ("/desk/many", "/desk/many/do"):
        assert operator.post(path, data=data).status_code == 422


def test_only_operators_change_many_at_once(signed_in: SignIn) -> None:
    case = opened()
    for login in ("supervisor", "streets", "gridwest", "official", "citizen"):
        asked = signed_in(login).post("/desk/many/do", data={"do": "dispatch", "case": seen(case)})
        assert asked.status_code == 403, login
    assert stored(case).state == "received"

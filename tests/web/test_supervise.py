"""The supervisor's desk through HTTP."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from api import wiring
from core.actor import Actor, Role
from core.db import transaction
from tests import tiny
from tests.builders import make_case, make_entry, program

pytestmark = pytest.mark.database


@pytest.fixture
def late_case() -> str:
    """Write a case whose unit, with a name like a formula, recorded three hours late; returns its number."""
    at = wiring.now() - timedelta(minutes=5)
    by = Actor(None, "=1+1", Role.UNIT, tiny.DISTRICT, unit=tiny.STREETS)
    with transaction(program(tiny.DISTRICT)) as session:
        case = make_case(session, district=tiny.DISTRICT, unit=tiny.STREETS, at=at, supervised=True)
        make_entry(session, case, "note", by=by, at=at, happened_at=at - timedelta(hours=3))
        return case.number


def test_supervisor_finds_the_late_unit_its_entries_and_the_case(
    signed_in: Callable[[str], TestClient], late_case: str
) -> None:
    client = signed_in("supervisor")
    page = client.get(f"/supervise?box=supervised&late={tiny.STREETS}")
    assert page.status_code == 200
    assert page.text.count(f"/cases/{late_case}") == 2, "in the box and among the late entries"
    assert "区城市管理局" in page.text
    assert "3 小时" in page.text


def test_export_holds_the_late_entries_and_no_formula(signed_in: Callable[[str], TestClient], late_case: str) -> None:
    answer = signed_in("supervisor").get(f"/supervise/late.csv?late={tiny.STREETS}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.text.startswith("\ufeff编号")
    (line,) = [one for one in answer.text.splitlines() if late_case in one]
    assert ",'=1+1," in line
    assert line.endswith(",180")


@pytest.mark.parametrize("box", ["disputed", "pleas", "supervised", "overdue", "overdue&rung=2"])
def test_every_box_opens_in_both_languages(signed_in: Callable[[str], TestClient], box: str) -> None:
    client = signed_in("supervisor")
    for lang in ("zh", "en"):
        assert client.get(f"/supervise?box={box}&lang={lang}").status_code == 200


@pytest.mark.parametrize("query", ["box=x", "from=yesterday", "from=0001-01-01", "from=2026-11-20&to=2026-11-01"])
def test_address_that_means_nothing_is_refused_with_a_sentence(
    signed_in: Callable[[str], TestClient], query: str
) -> None:
    assert signed_in("supervisor").get(f"/supervise?{query}").status_code == 422


@pytest.mark.parametrize("login", ["operator", "streets", "gridwest", "official", "admin", "citizen"])
def test_nobody_else_may_look(signed_in: Callable[[str], TestClient], login: str) -> None:
    client = signed_in(login)
    for path in ("/supervise", "/supervise/late.csv"):
        assert client.get(path).status_code == 403

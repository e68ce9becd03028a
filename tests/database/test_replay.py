"""Demo people take steps that the process table allows, with whole forms: a demo that stops half way shows nothing."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from api.replay import _Played, _Player
from core.db import rows, snapshot
from dispatch.fields import KINDS
from dispatch.rulebook import Rulebook, read_rulebook
from hotline.intake import Intake
from tests import tiny
from tests.builders import program
from tests.database.test_cases import AT, open_one

pytestmark = pytest.mark.database


@pytest.fixture(scope="module")
def book(district: tiny.Tiny) -> Rulebook:
    with snapshot(program(tiny.DISTRICT)) as session:
        return read_rulebook(session, tiny.DISTRICT)


def played(book: Rulebook, cases: int, *, seed: int = 7) -> list[dict[str, Any]]:
    player = _Player(cast("Intake", SimpleNamespace(book=book)), until=AT + timedelta(days=30), handle=True, seed=seed)
    numbers = []
    for i in range(cases):
        kind = list(KINDS)[i % len(KINDS)]
        case = open_one(book, kind=kind)
        numbers.append(case.number)
        areas = (tiny.WEST, tiny.WEST + "001", "")
        player._plan(_Played(case.case_id, 1, case.unit_code or "", kind, "1001", areas), AT)
    player.run(AT + timedelta(days=30))
    with snapshot(program(tiny.DISTRICT)) as session:
        return [
            dict(row)
            for row in rows(
                session,
                "SELECT kind, state, returns, answer FROM cases WHERE district_code = :d AND number = ANY (:n)",
                d=tiny.DISTRICT,
                n=numbers,
            )
        ]


def test_demo_people_bring_cases_of_every_kind_to_an_end(book: Rulebook) -> None:
    found = played(book, 60)
    assert {row["state"] for row in found} == {"closed"}
    assert {row["kind"] for row in found} == set(KINDS)
    assert any(row["returns"] for row in found), "some are returned, and settled by the next unit"

"""The demo's patrols and visits: walked by its own grid worker, labelled, once."""

import pytest
from sqlalchemy import text

from api import wiring
from api.playing import rounds
from core.actor import Role
from core.db import rows, snapshot, transaction
from grid import accounts, duties, patrols
from grid.accounts import NewAccount
from grid.duties import DUTIES, Charge, Holder
from tests import tiny
from tests.builders import program

pytestmark = pytest.mark.database


def test_the_demos_worker_has_walked_and_has_visits_due_and_a_second_run_adds_none(district: tiny.Tiny) -> None:
    at = wiring.now()
    assert rounds.play(wiring.rulebook(), at=at) == rounds.Walked(), "nobody is there to walk"
    new = NewAccount(
        login="grid", password=tiny.PASSWORD, role=Role.GRID_WORKER, name="演示网格员", unit="", town=tiny.WEST
    )
    cell = f"{tiny.WEST}001001"
    with transaction(program(tiny.DISTRICT)) as session:
        worker = accounts.add(session, new, district=tiny.DISTRICT, at=at)
        code = rows(session, "SELECT code FROM cell WHERE town_code = :town ORDER BY code LIMIT 1", town=tiny.WEST)
        cell = code[0]["code"]
        charge = Charge([cell], tuple(DUTIES), Holder(worker), at, exception="演示", source="load")
        duties.put(session, [(cell, duty, charge) for duty in DUTIES], at=at)
    made = rounds.play(wiring.rulebook(), at=at)
    assert (made.runs, made.visits) == (2, 3)
    assert made.points > 0
    assert rounds.play(wiring.rulebook(), at=at) == rounds.Walked()
    with snapshot(program(tiny.DISTRICT)) as session:
        assert patrols.last(session, [cell])
        hints = session.scalars(text("SELECT hint FROM household_visit WHERE district_code = :d"), {"d": tiny.DISTRICT})
        assert all("（演示）" in hint for hint in hints)
        notes = session.scalar(text("SELECT count(*) FROM patrol_note WHERE district_code = :d"), {"d": tiny.DISTRICT})
        assert notes == 0, "nothing about the walk is remarkable"

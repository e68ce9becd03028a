"""The demo's invented workers: labelled, made once, with what is wrong on purpose shown by the office's figures."""

import pytest
from sqlalchemy import text

from api import wiring
from api.playing import workers
from core.db import snapshot, transaction
from dispatch import office
from grid import duty_lists
from tests import tiny
from tests.builders import make_cell, program

pytestmark = pytest.mark.database


def test_every_community_has_a_labelled_worker_and_a_second_run_makes_none(district: tiny.Tiny) -> None:
    at = wiring.now()
    with transaction(program(tiny.DISTRICT)) as session:
        for number in range(1, 20):
            make_cell(session, f"{tiny.WEST}1{number:02d}001", district=tiny.DISTRICT)
    made = workers.play(wiring.rulebook(), at=at)
    assert made.workers == 22
    assert workers.play(wiring.rulebook(), at=at).workers == 0
    with snapshot(program(tiny.DISTRICT)) as session:
        names = set(
            session.scalars(
                text("SELECT name FROM account WHERE district_code = :d AND login LIKE 'demo.%'"), {"d": tiny.DISTRICT}
            )
        )
        found = office.cells(session, "", at=at)
        running = duty_lists.standing(session, "", at=at)
    assert all(name.endswith("（演示）") for name in names)
    assert sum("gaps" in one.troubles for one in found) >= 2, "an empty community and a leaver"
    assert [one.why for one in running] == ["病假（演示）"]
    certified = [one for one in found if one.acting and not one.acting[0].exceptions]
    assert certified

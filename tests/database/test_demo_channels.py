"""The demo's reports by kiosk, Open311, file and telephone: each comes by its own door, and once."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from api import wiring
from api.playing import channels
from core.actor import system
from core.db import snapshot, transaction
from hotline.open311 import keys
from tests import tiny

pytestmark = pytest.mark.database


def test_every_other_channel_is_played_once_however_often_the_demo_starts(district: tiny.Tiny) -> None:
    at = wiring.now()
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        _, key = keys.add(session, "演示", at=at)
    first = channels.play(wiring.intake(), key, at=at)
    assert (first.kiosk, first.open311, first.rows, first.calls) == (2, 2, 3, 1)
    again = channels.play(wiring.intake(), key, at=at + timedelta(minutes=5))
    assert (again.kiosk, again.open311, again.rows, again.calls) == (0, 0, 0, 0)
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        found = session.execute(text("SELECT channel, count(*) FROM report GROUP BY 1 ORDER BY 1")).all()
        assert [tuple(row) for row in found] == [("import", 3), ("kiosk", 2), ("open311", 2)]
        assert session.scalar(text("SELECT count(*) FROM contact")) == 2

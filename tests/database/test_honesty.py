"""Who records late: marked when written, by the district's allowance, counted per unit."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.errors import Invalid
from dispatch import honesty
from dispatch.log import Line, late_after
from tests.builders import DISTRICT, NOW, actor, make_case, make_deadline, make_entry, make_unit, program

pytestmark = pytest.mark.database

SINCE, UNTIL = NOW - timedelta(days=1), NOW + timedelta(days=1)
HOUR = timedelta(hours=1)


def clerk(unit: str) -> Actor:
    return actor(Role.UNIT, unit=unit)


def test_record_more_than_the_allowance_after_the_fact_is_late() -> None:
    def line(minutes: int, **known: timedelta) -> Line:
        return Line("note", program(), NOW - timedelta(minutes=minutes), NOW, None, "signed", {}, **known)

    assert [line(n).late for n in (0, 30, 31)] == [False, False, True]
    assert [line(n, late_after=late_after({"late_after_min": 5})).late for n in (5, 6)] == [False, True]


@pytest.mark.parametrize("setting", [-1, 1441, "30", True, None])
def test_allowance_that_is_no_number_of_minutes_is_refused(setting: object) -> None:
    with pytest.raises(Invalid, match="late_after_min"):
        late_after({"late_after_min": setting})


def test_late_entries_are_counted_by_unit_with_share_and_worst_gap(
    session: Session, as_actor: Callable[[Actor], Session]
) -> None:
    for unit in ("U1", "U2"):
        make_unit(session, unit)
    case = make_case(session, unit="U1", at=NOW - 3 * HOUR)
    for hours in (0, 1, 2):
        make_entry(session, case, "note", by=clerk("U1"), happened_at=NOW - hours * HOUR)
    make_entry(session, case, "note", by=clerk("U2"))
    seen = as_actor(actor(Role.SUPERVISOR))
    found = {one.unit_code: one for one in honesty.late_by_unit(seen, since=SINCE, until=UNTIL)}
    assert (found["U1"].entries, found["U1"].late, found["U1"].worst) == (3, 2, 2 * HOUR)
    assert found["U1"].share == pytest.approx(2 / 3)
    assert (found["U2"].entries, found["U2"].late, found["U2"].worst) == (1, 0, None)
    listed = list(honesty.late_entries(seen, since=SINCE, until=UNTIL, unit="U1"))
    assert sorted((one.number, one.gap) for one in listed) == [(case.number, HOUR), (case.number, 2 * HOUR)]
    assert list(honesty.late_entries(seen, since=SINCE, until=UNTIL, unit="U2")) == []


def test_span_that_is_endless_or_runs_backwards_is_refused(session: Session) -> None:
    for since, until in ((NOW, NOW), (NOW, NOW - HOUR), (NOW - timedelta(days=400), NOW)):
        with pytest.raises(Invalid):
            honesty.late_by_unit(session, since=since, until=until)


def test_boxes_hold_what_waits_for_supervision_and_nothing_else(
    session: Session, as_actor: Callable[[Actor], Session]
) -> None:
    plain = make_case(session, unit="U1")
    disputed = make_case(session, unit="U1", state="disputed", open=True)
    asked = make_case(session, unit="U1", plea="extension")
    watched = make_case(session, unit="U1", supervised=True)
    over = make_case(session, unit="U1", at=NOW - timedelta(days=3), due_in=timedelta(days=1))
    make_deadline(session, over, "sign", due_at=NOW - HOUR, rung=2, fired=3)
    make_deadline(session, plain, "sign", due_at=NOW - HOUR, held_at=NOW - 2 * HOUR)
    seen = as_actor(actor(Role.SUPERVISOR))
    for box, case in (("disputed", disputed), ("pleas", asked), ("supervised", watched)):
        assert [row.id for row in honesty.watched(seen, box, at=NOW)] == [case.id], box
    assert [(row.id, row.clock, row.rung) for row in honesty.watched(seen, honesty.OVERDUE, at=NOW)] == [
        (over.id, "sign", 2)
    ]
    assert honesty.watched(seen, honesty.OVERDUE, at=NOW, rung=1) == []
    assert honesty.by_rung(seen, at=NOW) == {2: 1}
    assert honesty.counts(seen) == {"disputed": 1, "pleas": 1, "supervised": 1}
    with pytest.raises(Invalid):
        honesty.watched(seen, "nonsense", at=NOW)


def test_a_unit_sees_nothing_of_other_units_lateness(session: Session, as_actor: Callable[[Actor], Session]) -> None:
    make_unit(session, "U1")
    case = make_case(session, unit="U1")
    make_entry(session, case, "note", by=clerk("U1"), happened_at=NOW - 2 * HOUR)
    seen = as_actor(actor(Role.UNIT, unit="U2", district=DISTRICT))
    assert honesty.late_by_unit(seen, since=SINCE, until=UNTIL) == []

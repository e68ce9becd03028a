"""Sealed identities: an alias that tells nothing, openings that end, and who is told of them."""

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.actor import Actor, Role, citizen
from core.db import pin_case
from core.errors import Forbidden, Invalid, NotFound
from core.ids import new_id
from dispatch import identity, sheet
from dispatch.models import Disclosure
from grid.openings import OPEN_FOR
from tests import builders
from tests.builders import DISTRICT, NOW

pytestmark = pytest.mark.database
As = Callable[[Actor], Session]
LOOK = {"why": "contact", "reason": "核实位置"}


def test_alias_is_the_same_in_a_case_and_another_in_every_other_one() -> None:
    phone = b"\x01" * 16
    cases = [new_id() for _ in range(300)]
    assert len({identity.alias(cases[0], phone) for _ in range(5)}) == 1
    assert len({identity.alias(case, phone) for case in cases}) > 290
    assert len({identity.alias(cases[0], uuid.uuid4().bytes) for _ in range(300)}) > 290


def test_two_reports_from_one_phone_are_one_alias_and_nobody_without_data_has_one(
    session: Session, as_actor: As
) -> None:
    case = builders.make_case(session, unit="U1", phone="13800138000", name="张三")
    builders.make_report(session, case, phone="13800138000")
    builders.make_report(session, case, phone="13900139000")
    builders.make_report(session, case)
    key = case.id
    names = [told.name for told in sheet.sheet(as_actor(builders.actor(Role.UNIT, unit="U1")), key).reports]
    assert names[0] == names[1] != names[2]
    assert names[3] == ""


def test_opening_holds_for_this_person_case_and_field_and_then_ends(session: Session, as_actor: As) -> None:
    case, other = (builders.make_case(session, unit="U1", phone="13800138000", name="张三").id for _ in range(2))
    mine, colleague = (builders.actor(Role.UNIT, unit="U1") for _ in range(2))
    viewer = as_actor(mine)
    assert identity.standing(viewer, case, at=NOW) == ()
    identity.disclose(viewer, case, field="phone", at=NOW, **LOOK)
    soon = NOW + OPEN_FOR - timedelta(seconds=1)
    (shown,) = identity.standing(viewer, case, at=soon)
    assert (shown.field, shown.values, shown.until) == ("phone", ("13800138000",), NOW + OPEN_FOR)
    assert identity.standing(viewer, case, at=NOW + OPEN_FOR) == ()
    assert identity.standing(viewer, case, at=NOW - timedelta(seconds=1)) == (), "a clock turned back opens nothing"
    assert identity.standing(viewer, other, at=soon) == ()
    assert identity.standing(as_actor(colleague), case, at=soon) == ()


def test_reason_of_the_list_and_words_are_both_demanded(session: Session, as_actor: As) -> None:
    case = builders.make_case(session, unit="U1", phone="13800138000").id
    viewer = as_actor(builders.actor(Role.UNIT, unit="U1"))
    for wrong in ({"why": "curious"}, {"reason": " "}):
        with pytest.raises(Invalid):
            identity.disclose(viewer, case, field="phone", at=NOW, **(LOOK | wrong))
    assert viewer.scalar(select(Disclosure.id)) is None


def test_unit_of_another_case_and_roles_without_need_open_nothing(session: Session, as_actor: As) -> None:
    case = builders.make_case(session, unit="U1", phone="13800138000").id
    with pytest.raises(NotFound):
        identity.disclose(as_actor(builders.actor(Role.UNIT, unit="U2")), case, field="phone", at=NOW, **LOOK)
    for role in (Role.OFFICIAL,):
        with pytest.raises(Forbidden):
            identity.disclose(as_actor(builders.actor(role)), case, field="phone", at=NOW, **LOOK)


def test_person_concerned_reads_role_unit_and_reason_and_nobody_changes_the_row(session: Session, as_actor: As) -> None:
    case = builders.make_case(session, unit="U1", phone="13800138000").id
    identity.disclose(as_actor(builders.actor(Role.UNIT, unit="U1")), case, field="phone", at=NOW, **LOOK)
    reader = as_actor(citizen(DISTRICT))
    pin_case(reader, case)
    row = reader.scalars(select(Disclosure).where(Disclosure.case_id == case)).one()
    assert (row.actor_role, row.unit_code, row.reason_code, row.reason) == ("unit", "U1", "contact", "核实位置")
    writer = as_actor(builders.program())
    for change in ("UPDATE disclosure SET reason = 'x'", "DELETE FROM disclosure"):
        with pytest.raises(DBAPIError), writer.begin_nested():
            writer.execute(text(change))

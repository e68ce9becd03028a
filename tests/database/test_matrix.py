"""The whole permission matrix through the one door: every action × state × role of every process and version.

Permitted cells lead where the table says, refused ones change nothing, and every guard that a step names is asked.
"""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.orm import Session

from core.actor import Role
from core.db import _enter, pin_case, snapshot
from core.errors import Conflict, Forbidden, NotFound
from dispatch import cases
from dispatch.guards import GUARDS
from dispatch.process import Process, processes
from dispatch.rulebook import Rulebook, read_rulebook
from tests import tiny
from tests.builders import program
from tests.database.matrix import HOSTILE, KIND, NOW, Cell, cells, walk_guards, walk_permitted

pytestmark = pytest.mark.database
#: Processes whose steps ask for more than a case: their own tests walk what is permitted there.
ELSEWHERE = ("service_item", "information")
TABLE = sorted((key for key in processes() if key[0] != "assignment"), key=str)


@pytest.fixture(scope="module")
def book(district: tiny.Tiny) -> Rulebook:
    with snapshot(program(tiny.DISTRICT)) as session:
        return read_rulebook(session, tiny.DISTRICT)


@pytest.fixture
def cell(session: Session, book: Rulebook) -> Iterator[Callable[[Process, str], Cell]]:
    def made(table: Process, state: str) -> Cell:
        _enter(session, program(tiny.DISTRICT), read_only=False)
        return Cell(session, book, table, state)

    return made


@pytest.mark.parametrize(("state", "key"), [one for key in TABLE for one in cells(key)], ids=str)
def test_refused_cells_are_refused_and_change_nothing(
    cell: Callable[[Process, str], Cell], state: str, key: tuple[str, int]
) -> None:
    table = processes()[key]
    made = cell(table, state)
    before, walked = made.everything(), set()
    for role in Role:
        offered = {step.action for step in table.offered(state, role)}
        actor = made.actor(role)
        made.enter(actor)
        if role is Role.CITIZEN:
            pin_case(made.session, made.case_id)
        for action in sorted(set(table.actions) - offered):
            with pytest.raises((Forbidden, Conflict, NotFound)) as refused:
                cases.act(made.session, made.book, made.case_id, action, expected_version=1, at=NOW, fields={})
            blind = role in (Role.ADMIN, Role.OFFICIAL)
            assert blind or not isinstance(refused.value, NotFound), (action, role, str(refused.value))
            walked.add(action)
    assert made.everything() == before
    assert walked == set(table.actions), "no action is for everybody"


STRICT = [(state, key) for key in TABLE if key[0] not in ELSEWHERE for state, key in cells(key)]


@pytest.mark.parametrize(("state", "key"), STRICT, ids=str)
def test_permitted_cells_lead_where_the_table_says(
    cell: Callable[[Process, str], Cell], state: str, key: tuple[str, int]
) -> None:
    walk_permitted(cell(processes()[key], state))


@pytest.mark.parametrize(("state", "key"), STRICT, ids=str)
def test_every_guard_of_a_step_is_asked_and_its_refusal_changes_nothing(
    cell: Callable[[Process, str], Cell], state: str, key: tuple[str, int]
) -> None:
    walk_guards(cell(processes()[key], state))


def test_every_guard_is_tried_by_this_walk_or_by_the_tests_of_applications() -> None:
    named = {name for key in TABLE if key[0] not in ELSEWHERE for s in processes()[key].steps for name in s.guards}
    assert named <= set(HOSTILE)
    assert set(HOSTILE) <= set(GUARDS)
    assert set(KIND) <= set(HOSTILE)

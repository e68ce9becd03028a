"""The permission matrix of applications and requests: permitted cells lead where the table says, guards are asked.

What is refused to everybody is walked with the other processes in `test_matrix`.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.actor import Actor
from core.crypto import seal
from core.db import _enter, snapshot
from core.ids import new_id
from dispatch.items.application_models import (
    Application,
    ApplicationMaterial,
    Handover,
    InformationRequest,
    MaterialFile,
    Survey,
)
from dispatch.items.guards import GUARDS
from dispatch.items.identity import id_index
from dispatch.models import Assignment
from dispatch.process import Process, Step, processes
from dispatch.rulebook import Rulebook, read_rulebook
from tests import tiny
from tests.applications import AT as PUBLISHED
from tests.applications import publish
from tests.builders import make_case, program
from tests.database.matrix import HOSTILE, NOW, Cell, cells, prepare, walk_guards, walk_permitted
from tests.database.test_cases import AT

pytestmark = pytest.mark.database
TABLE = [key for key in processes() if key[0] in ("service_item", "information")]
CELLS = [one for key in TABLE for one in cells(key)]
NUMBER = "11010519491231002X"
FORM: Mapping[str, Any] = {
    "unit": tiny.STREETS,
    "materials": ["PLAN"],
    "wrong": [{"code": "PLAN", "why": "看不清"}],
    "owed": ["PLAN"],
    "commitment": "yes",
    "consent": "yes",
    "survey_at": (NOW + timedelta(days=1)).isoformat(),
    "survey_result": "pass",
    "level": "city",
    "handover_decision": "agreed",
    "pickup_place": "YJ",
    "picked_up_by": "self",
    "fee_amount": "20",
    "reply_kind": "granted",
}


@pytest.fixture(scope="module")
def book(district: tiny.Tiny) -> Rulebook:
    published = PUBLISHED - timedelta(days=1)
    reviews = [{"level": "city", "limit": "8wd"}]
    fee = {"charged": True, "amount": "20 元", "basis": "虚构收费目录"}
    publish("T-M1", at=published, survey="single", reviews=reviews, fee=fee)
    publish("T-M2", at=published, done_at_once=True, promised_limit="0")
    with snapshot(program(tiny.DISTRICT)) as session:
        return read_rulebook(session, tiny.DISTRICT)


class Filed(Cell):
    """A case with its application or request, complete: all materials checked, surveyed, agreed to above."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.case.channel = "web"
        state = {"accepted": "sent", "registered": "sent", "granted": "replied", "denied": "replied"}.get(self.state)
        if state:
            lead = select(Assignment).where(Assignment.case_id == self.case_id, Assignment.share == "lead")
            self.session.scalars(lead).one().state = state
        {"service_item": self._application, "information": self._request}[self.process.name](self.case_id)
        self.session.flush()

    def _who(self) -> dict[str, Any]:
        sealed = seal(NUMBER, context="application.id")
        return {"applicant_kind": "person", "id_sealed": sealed, "id_index": id_index(NUMBER)}

    def _application(self, case_id: Any) -> None:
        keys = {"district_code": tiny.DISTRICT, "case_id": case_id}
        plain: dict[str, Any] = {"facts": {}, "verdict": {}, "form": {}, "pickup_place": "QJ", "item_version": 1}
        self.session.add(Application(**keys, **plain, **self._who(), item_code="T-M1"))
        for code in ("ID", "FORM", "PLAN"):
            self.session.add(ApplicationMaterial(**keys, id=new_id(), code=code, state="checked", given_at=AT))
        if case_id == self.case_id:
            self.session.add(Survey(**keys, id=new_id(), **SURVEY, recorded_at=AT, recorded_by="某", result="pass"))
            self.session.add(Handover(**keys, id=new_id(), **LETTER, returned_at=AT, decision="agreed"))

    def earlier(self) -> None:
        """Let the same applicant have handed the materials in before."""
        known = {"process": "service_item", "kind": "application", "state": "delivered", "open": False}
        other = make_case(self.session, district=tiny.DISTRICT, at=AT, **known)
        self._application(other.id)

    def _request(self, case_id: Any) -> None:
        keys = {"district_code": tiny.DISTRICT, "case_id": case_id}
        self.session.add(InformationRequest(**keys, **self._who(), wanted="预算", how="paper", counts_from=AT))

    def part(self, model: Any) -> Any:
        """Return the one row of a part."""
        return self.session.scalars(select(model).where(model.case_id == self.case_id)).one()

    def material(self, code: str, **columns: Any) -> None:
        """Change how a material stands."""
        found = select(ApplicationMaterial).where(
            ApplicationMaterial.case_id == self.case_id, ApplicationMaterial.code == code
        )
        row = self.session.scalars(found).one()
        for name, value in columns.items():
            setattr(row, name, value)

    def change(self, model: Any, **columns: Any) -> None:
        """Change the one row of a part."""
        row = self.part(model)
        for name, value in columns.items():
            setattr(row, name, value)

    def fields(self, step: Step) -> dict[str, Any]:
        found = super().fields(step)
        own = {name: FORM[name] for name in found if name in FORM and not (name == "unit" and step.who != "lead")}
        named = step.action in ("add_unit", "withdraw_unit", "replace_unit", "share_rework")
        return found | {name: value for name, value in own.items() if not (named and name == "unit")}


SURVEY: Mapping[str, Any] = {"units": [], "set_for": AT, "place": "门口", "called_at": AT, "called_by": "某"}
LETTER: Mapping[str, Any] = {"level": "city", "sent_at": AT, "sent_by": "某", "reference": "函1"}
_MISSING: Mapping[str, Any] = {"state": "missing", "given_at": None}
_OWED: Mapping[str, Any] = {"state": "owed", "owed_until": NOW + timedelta(days=1)}


def _open_survey(cell: Filed) -> None:
    cell.change(Survey, recorded_at=None, result=None)


def _at_once(cell: Filed) -> None:
    cell.change(Application, item_code="T-M2")


def _must(cell: Filed) -> None:
    cell.change(Application, verdict={"must_be_granted": True})


def _nothing(cell: Filed) -> None:
    return


def _file(cell: Filed) -> None:
    cell.material("PLAN", **_MISSING)
    kept = {"sha256": "a" * 64, "media_type": "application/pdf", "size": 9, "name": "图.pdf", "created_at": AT}
    cell.session.add(MaterialFile(district_code=tiny.DISTRICT, id=new_id(), case_id=cell.case_id, code="PLAN", **kept))


def _held_before(cell: Filed) -> None:
    cell.earlier()
    cell.material("PLAN", **_MISSING)


Change = Callable[[Filed], None]
#: What a case has to be like for a step besides its guards: by guard, then by action.
AGREE: Mapping[str, Change] = {
    "lagging": lambda cell: cell.material("PLAN", **_MISSING),
    "at_once_item": _at_once,
    "survey_open": _open_survey,
    "level_left": lambda cell: cell.change(Handover, decision="refused"),
    "must_be_granted": _must,
}
NEEDS: Mapping[str, Change] = {
    "notice": lambda cell: cell.material("ID", **_MISSING),
    "reuse": _held_before,
    "hand_in": _file,
    "material_wrong": lambda cell: cell.material("PLAN", settled_at=AT),
    "hand_back": lambda cell: cell.change(Handover, returned_at=None, decision=None),
}
REFUSE: Mapping[str, Change] = {
    "from_web": lambda cell: setattr(cell.case, "channel", "window"),
    "may_tell": lambda cell: cell.change(Application, told_at=NOW),
    "complete": lambda cell: cell.material("ID", **_MISSING),
    "lagging": lambda cell: cell.material("ID", **_MISSING),
    "at_once_item": _nothing,
    "no_survey_open": _open_survey,
    "survey_open": _nothing,
    "surveyed": lambda cell: cell.change(Survey, result="fail"),
    "settled": lambda cell: cell.material("PLAN", **_OWED),
    "settled_or_late": lambda cell: cell.material("PLAN", **_OWED),
    "level_left": _nothing,
    "reviewed_above": lambda cell: cell.change(Handover, decision="refused"),
    "must_be_granted": _nothing,
    "may_be_denied": _must,
    "charged": _at_once,
}


def ready(cell: Filed, step: Step, actor: Actor, *, without: str = "") -> None:
    """Let every guard of a step agree but one, and what its handler looks for be there."""
    prepare(cell, step, actor, without=without)
    for name in step.guards:
        if name != without:
            AGREE.get(name, _nothing)(cell)
    if cell.process.name == "service_item":
        NEEDS.get(step.action, _nothing)(cell)
    cell.session.flush()


@pytest.fixture
def cell(session: Session, book: Rulebook) -> Iterator[Callable[[Process, str], Filed]]:
    def made(table: Process, state: str) -> Filed:
        _enter(session, program(tiny.DISTRICT), read_only=False)
        return Filed(session, book, table, state)

    return made


@pytest.mark.parametrize(("state", "key"), CELLS, ids=str)
def test_permitted_cells_lead_where_the_table_says(
    cell: Callable[[Process, str], Filed], state: str, key: tuple[str, int]
) -> None:
    walk_permitted(cell(processes()[key], state), ready)


@pytest.mark.parametrize(("state", "key"), CELLS, ids=str)
def test_every_guard_of_a_step_is_asked_and_its_refusal_changes_nothing(
    cell: Callable[[Process, str], Filed], state: str, key: tuple[str, int]
) -> None:
    def refusing(change: Change) -> Callable[[Filed, Actor], None]:
        return lambda filed, _actor: change(filed)

    hostile = dict(HOSTILE) | {name: refusing(change) for name, change in REFUSE.items()}
    walk_guards(cell(processes()[key], state), ready, hostile)


def test_every_guard_of_applications_is_tried() -> None:
    named = {name for key in TABLE for step in processes()[key].steps for name in step.guards}
    assert set(GUARDS) == set(REFUSE) == named & set(GUARDS)
    assert named <= set(REFUSE) | set(HOSTILE)

"""One cell of the permission matrix: a case in a state, what its steps need, and the walks over it.

Knows nothing of applications; `test_applications_matrix` hands in what their guards need.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.actor import Actor, Role, system
from core.db import _enter, pin_case
from core.errors import Conflict, Forbidden, Invalid, WanggeError
from core.ids import new_id
from dispatch import cases, deadlines
from dispatch.models import Assignment, Case, Deadline, Plea, Supervision
from dispatch.process import Process, Step, process, processes, running
from dispatch.rulebook import Rulebook
from tests import tiny
from tests.builders import make_assignment, make_case, make_entry, program
from tests.database.roads import everything
from tests.database.test_cases import AT

#: The lead is a town office, so that there is a level above it; another unit assists.
LEAD, ASSIST, THIRD = tiny.WEST_OFFICE, tiny.WATER, tiny.STREETS
#: A step is taken two hours after intake.
NOW = AT + timedelta(hours=2)
FILLED: Mapping[str, Any] = {
    "reason": "因故",
    "note": "备注",
    "unit": THIRD,
    "new_unit": tiny.POLICE,
    "task": "会同勘查",
    "opinion": "同意",
    "reason_code": "not_our_duty",
    "legal_basis": "职责清单",
    "ruling": "由其办理",
    "answer": "已办结",
    "done": "已清理",
    "truth": "yes",
    "duty": "yes",
    "contacted": "yes",
    "solved": "yes",
    "checked": "pass",
    "satisfaction": "4",
    "service": "119",
    "span": "2wd",
    "pause_reason": "survey",
    "document": "委托函",
    "demand": "限期",
    "supervise_answer": "已办",
}


@dataclass
class Cell:
    """One case in one state, written straight into the tables, and what steps on it need."""

    session: Session
    book: Rulebook
    process: Process
    state: str
    main: str = ""
    case_id: uuid.UUID = field(default_factory=new_id)

    def __post_init__(self) -> None:
        state = self.process.states[self.state]
        alone = self.state in (self.process.initial, "in_cell", "in_district", "received")
        unit = None if alone and state.open else LEAD
        known = {
            "district": tiny.DISTRICT,
            "process": self.process.name,
            "process_version": self.process.version,
            "kind": self.process.kinds[0],
            "category_code": "1001",
            "town_code": tiny.WEST,
            "community_code": tiny.WEST + "001",
        }
        case = make_case(
            self.session,
            id=self.case_id,
            at=AT,
            state=self.state,
            unit=unit,
            unit_codes=[LEAD, ASSIST],
            open=state.open,
            merged_into=new_id() if self.state == "merged" else None,
            due_in=None,
            **known,
        )
        if unit:
            part = "sent" if self.state in ("dispatched", "merged") else "signed"
            part = "replied" if self.state in ("replied", "settled") else part if state.open else "done"
            make_assignment(self.session, case, LEAD, state=part)
        if state.open:
            make_assignment(self.session, case, ASSIST, share="assist", state="signed", needed=False)
        self._clocks(case)
        self.main = make_case(self.session, at=AT, state=self.state_of_main(), unit=LEAD, **known).number
        self.session.flush()

    def state_of_main(self) -> str:
        return next(name for name in ("signed", "reviewing", "handling") if name in self.process.states)

    def _clocks(self, case: Case) -> None:
        sets = running(self.process).get(self.state) or {frozenset()}
        for name in min(sets, key=lambda one: (len(one), sorted(one))):
            clock = name.removeprefix("-")
            unit = case.unit_code if clock in self.process.unit_clocks else None
            try:
                made = self.book.clock(clock, unit=unit, kind=case.kind, urgency="ordinary", category="1001", start=AT)
            except Invalid:  # a clock whose limit comes from elsewhere
                made = self.book.clock(
                    "reply", unit=unit, kind=case.kind, urgency="ordinary", category="1001", start=AT
                )
            clocks = deadlines.Running(self.session, tiny.DISTRICT, case.id)
            clocks.start([made])
            if name.startswith("-"):
                clocks.hold([clock], at=AT, reason="survey")

    @property
    def case(self) -> Case:
        return self.session.scalars(
            select(Case).where(Case.id == self.case_id).execution_options(populate_existing=True)
        ).one()

    def share(self) -> Assignment:
        found = select(Assignment).where(Assignment.case_id == self.case_id, Assignment.share == "assist")
        return self.session.scalars(found).one()

    def everything(self) -> list[tuple[str, str]]:
        self.enter(program(tiny.DISTRICT))
        return everything(self.session, self.case_id)

    def enter(self, actor: Actor) -> None:
        self.session.flush()
        self.session.expire_all()
        _enter(self.session, actor, read_only=False)
        self.session.connection().exec_driver_sql("SET LOCAL wangge.\"case\" = ''")

    def act(self, actor: Actor, action: str, fields: Mapping[str, Any], *, book: Rulebook | None = None) -> cases.Done:
        version = self.session.execute(text("SELECT version FROM cases WHERE id = :i"), {"i": self.case_id}).scalar()
        self.enter(actor)
        if actor.role is Role.CITIZEN:
            pin_case(self.session, self.case_id)
        return cases.act(
            self.session,
            book or self.book,
            self.case_id,
            action,
            expected_version=version or 0,
            at=NOW,
            fields=fields,
        )

    def fields(self, step: Step) -> dict[str, Any]:
        names = [*self.process.needs(step, self.process.kinds[0]), *(["reason"] if step.reason_required else [])]
        found = {name: self.main if name == "main" else FILLED.get(name, "x") for name in names}
        if step.action == "add_unit":
            found["unit"] = tiny.POLICE
        elif step.action in ("withdraw_unit", "replace_unit", "share_rework"):
            found["unit"] = ASSIST
        elif step.action == "correct":
            found["note"] = "核对无误"
        return found

    def actor(self, role: Role, step: Step | None = None) -> Actor:
        """Return somebody of a role; a unit is the one that the step is for."""
        if role is Role.SYSTEM:
            return system(tiny.DISTRICT, "matrix")
        unit = ""
        if role is Role.UNIT:
            unit = ASSIST if step and step.who == "share" else LEAD
        town = tiny.WEST if role is Role.GRID_WORKER else ""
        return Actor(
            new_id() if role is not Role.CITIZEN else None, f"矩阵{role.value}", role, tiny.DISTRICT, town, unit
        )


def _plea(cell: Cell, kind: str, *, by: uuid.UUID | None = None) -> None:
    cell.case.plea = kind
    values = {"asked_by": by or new_id(), "asked_name": "别人", "asked_at": AT, "evidence": {}, "reason": "因故"}
    cell.session.add(
        Plea(
            district_code=tiny.DISTRICT,
            id=new_id(),
            case_id=cell.case_id,
            kind=kind,
            unit_code=LEAD,
            span="2wd",
            state="asked",
            reason_code="survey" if kind == "pause" else "",
            **values,
        )
    )


def _order(cell: Cell, state: str) -> None:
    cell.case.supervised = True
    values = {"issued_by": None, "issued_name": "督查", "issued_at": AT, "demand": "限期", "unit_code": LEAD}
    cell.session.add(Supervision(district_code=tiny.DISTRICT, id=new_id(), case_id=cell.case_id, state=state, **values))


def _set(**columns: Any) -> Callable[[Cell, Actor], None]:
    def change(cell: Cell, actor: Actor) -> None:
        for name, value in columns.items():
            setattr(cell.case, name, value)
        cell.session.flush()

    return change


def _nothing(cell: Cell, actor: Actor) -> None:
    return


#: What makes a guard agree, where the case as it is would be refused.
KIND: Mapping[str, Callable[[Cell, Actor], None]] = {
    "returns_used": _set(returns=2),
    "plea_any": lambda cell, actor: _plea(cell, "extension"),
    "plea_extension": lambda cell, actor: _plea(cell, "extension"),
    "plea_pause": lambda cell, actor: _plea(cell, "pause"),
    "plea_park": lambda cell, actor: _plea(cell, "park"),
    "supervision_issued": lambda cell, actor: _order(cell, "issued"),
    "supervision_answered": lambda cell, actor: _order(cell, "answered"),
    "no_unit": _set(unit_code=None),
    "words_do": _set(kind="enquiry"),
}


def _missing_share(cell: Cell, actor: Actor) -> None:
    share = cell.share()
    share.needed, share.state = True, "sent"


def _expired(cell: Cell, actor: Actor) -> None:
    for row in cell.session.scalars(select(Deadline).where(Deadline.case_id == cell.case_id)):
        row.due_at = NOW - timedelta(minutes=1)


def _follower(cell: Cell, actor: Actor) -> None:
    make_case(
        cell.session, district=tiny.DISTRICT, at=AT, state="merged", open=True, unit=LEAD, merged_into=cell.case_id
    )


#: What makes a guard refuse; empty where the case as it is does already.
HOSTILE: Mapping[str, Callable[[Cell, Actor], None]] = {
    "unbound": _set(bound=True),
    "ruling_stands": _set(bound=True),
    "returns_used": _nothing,
    "no_plea": lambda cell, actor: _plea(cell, "park"),
    "in_time": _expired,
    "extension_left": lambda cell, actor: make_entry(cell.session, cell.case, "extend_grant", at=AT) and None,
    "plea_any": _nothing,
    "plea_extension": _nothing,
    "plea_pause": _nothing,
    "plea_park": _nothing,
    "another_person": lambda cell, actor: (
        cell.session.execute(
            text("UPDATE plea SET asked_by = :a WHERE case_id = :i"), {"a": actor.id, "i": cell.case_id}
        )
        and None
    ),
    "with_unit": _set(unit_code=None),
    "not_supervised": lambda cell, actor: _order(cell, "issued"),
    "supervision_issued": _nothing,
    "supervision_answered": _nothing,
    "joined": _missing_share,
    "no_children": _follower,
    "words_do": _nothing,
    "higher_level": _nothing,
    "no_unit": _nothing,
    "no_check_asked": _nothing,
    "another_looks": lambda cell, actor: make_entry(cell.session, cell.case, "reply", at=AT, by=actor) and None,
    "checked_on_site": _nothing,
    "shown_after": _nothing,
}
#: Guards that a setting of the district, or rules without units, make refuse.
DECIDED: Mapping[str, dict[str, Any]] = {
    "no_check_asked": {"onsite": ["1"]},
    "checked_on_site": {"onsite": ["1"]},
    "shown_after": {"photos": ["1"]},
}


def prepare(cell: Cell, step: Step, actor: Actor, *, without: str = "") -> None:
    """Let every guard of a step agree but one."""
    cell.enter(program(tiny.DISTRICT))
    for name in step.guards:
        if name != without or name == "another_person":
            KIND.get(name, _nothing)(cell, actor)
    if step.part and (step.who == "share" or step.action in ("withdraw_unit", "replace_unit", "share_rework")):
        sources = [one.source for one in process("assignment").steps if one.action == step.part]
        cell.share().state = sources[0]
    cell.session.flush()


def cells(key: tuple[str, int]) -> list[tuple[str, tuple[str, int]]]:
    return [(state, key) for state in processes()[key].states]


def walk_permitted(made: Cell, ready: Callable[[Any, Step, Actor], None] = prepare) -> None:
    """Take every step that the table offers a role in this state, and see it lead where the table says.

    ready: lets every guard of the step agree.
    """
    table = made.process
    for role in Role:
        for step in table.offered(made.state, role):
            where = f"{step.action} in {made.state} by {role}"
            with made.session.begin_nested() as kept:
                actor = made.actor(role, step)
                ready(made, step, actor)
                try:
                    done = made.act(actor, step.action, made.fields(step))
                except WanggeError as refused:
                    raise AssertionError(f"{where}: {refused}") from refused
                made.enter(program(tiny.DISTRICT))
                followed = step.action in ("rise", "overrun", "skip") and table.name == "patrol"
                assert followed or done.state == step.target, where
                after = table.state(done.state)
                running_now = made.session.execute(
                    text("SELECT clock FROM deadline WHERE case_id = :i AND stopped_at IS NULL AND held_at IS NULL"),
                    {"i": made.case_id},
                ).scalars()
                assert bool(set(running_now) & set(table.clocks)) == after.open, where
                assert made.case.open == after.open, where
                kept.rollback()
            made.enter(program(tiny.DISTRICT))


def walk_guards(
    made: Cell,
    ready: Callable[..., None] = prepare,
    hostile: Mapping[str, Callable[[Any, Actor], None]] = HOSTILE,
) -> None:
    """Let every guard of every step from this state refuse alone, and see that nothing changed.

    ready: as for `walk_permitted`, but the guard called `without`. hostile: what makes a guard refuse.
    """
    for step in (one for one in made.process.steps if one.source == made.state):
        for name in step.guards:
            role = min(step.roles - {Role.SUPERVISOR} if name == "ruling_stands" else step.roles, default=None)
            if role is None:
                continue
            rules = made.book
            if name in DECIDED:
                rules = replace(rules, settings=dict(rules.settings) | DECIDED[name])
            with made.session.begin_nested() as kept:
                actor = made.actor(role, step)
                ready(made, step, actor, without=name)
                if name == "higher_level":
                    _set(unit_code=THIRD, unit_codes=[THIRD])(made, actor)
                    actor = replace(actor, unit=THIRD)
                hostile[name](made, actor)
                before = made.everything()
                with pytest.raises((Conflict, Forbidden)) as refused:
                    made.act(actor, step.action, made.fields(step), book=rules)
                where = f"{step.action} in {made.state}, {name}: {refused.value}"
                assert "not possible there" not in str(refused.value), where
                assert "may not do this" not in str(refused.value), where
                assert made.everything() == before, where
                kept.rollback()
            made.enter(program(tiny.DISTRICT))

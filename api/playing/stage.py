"""The stage 演示台: leads matters that were opened along a road, each in one transaction, so that none stays half way.

Every step is `dispatch.cases.act` as one of the demo's people. Fields that a road leaves open ($name) are filled in
here from the case as it stands.
"""

import logging
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.playing import pictures
from api.playing.script import Plan, Script, Step, Timeline
from api.replay import closing_form
from core.actor import Actor, Role, citizen, system
from core.db import acting_as, pin_case, transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch import attachments
from dispatch.calendar import china_time
from dispatch.cases import act
from dispatch.guards import ACTIVE, unit_of_level
from dispatch.items import filed, matter
from dispatch.items.filed import Upload
from dispatch.models import Assignment, Case, Deadline
from dispatch.rulebook import Rulebook
from dispatch.worktime import HOUR_US

_log = logging.getLogger(__name__)

REFUSED = (Conflict, Forbidden, Invalid, NotFound)
_ASSISTS: Final = 0.4
#: Kinds of matters that are shown before and after: an enquiry has nothing to show.
_TO_SHOW: Final = frozenset({"complaint", "help", "event", "part"})
#: Between the answers of units that do the same step.
_BESIDE: Final = timedelta(minutes=12)


class Left(Exception):
    """A road ends here: what its next step waits for has not come yet."""


@dataclass(slots=True)
class Played:
    """What came of the playing; every figure is counted."""

    #: complaints, patrol, applications, requests → matters, those of an interrupted run among them.
    matters: Counter[str] = field(default_factory=Counter)
    #: Were played by an earlier run.
    known: int = 0
    steps: int = 0
    #: Road and refusal → how often; the matter stays where it came to.
    refused: Counter[str] = field(default_factory=Counter)
    appointments: int = 0


@dataclass(slots=True)
class _Scene:
    """One step that is about to be taken."""

    session: Session
    case: Case
    #: The road's first case.
    main: Case
    step: Step
    at: datetime
    #: When the steps after it are taken.
    later: Sequence[tuple[Step, datetime]]
    chance: random.Random


@dataclass(frozen=True, slots=True)
class _Deed:
    """One action of one person."""

    session: Session
    case: Case
    who: Actor
    action: str
    at: datetime
    fields: Mapping[str, Any]
    happened_at: datetime | None = None


class Stage:
    """One district on which roads are played."""

    def __init__(self, book: Rulebook, *, at: datetime, seed: int, upload: Upload | None = None) -> None:
        """Take the moment that is now (aware); upload: the file that stands for every material from the web."""
        self.book, self.at, self.seed, self.upload = book, at, seed, upload
        self.played = Played()
        self.operator = Actor(None, "演示话务员", Role.OPERATOR, book.district)
        self.window = Actor(None, "演示窗口人员", Role.OPERATOR, book.district)
        self.supervisor = Actor(None, "演示督查员", Role.SUPERVISOR, book.district)
        units = sorted(book.routing.units.items())
        self.departments = [code for code, unit in units if unit.active and unit.kind == "department"]

    def chance(self, key: str) -> random.Random:
        """Return the dice of one matter: the same in every run, whatever else is played."""
        return random.Random(f"{self.seed}/{key}")  # noqa: S311  demo people, not secrets

    def grid_worker(self, town: str) -> Actor:
        """Return the grid worker of a town."""
        return Actor(None, "演示网格员", Role.GRID_WORKER, self.book.district, town=town)

    def lead(self, cases: Sequence[uuid.UUID], plan: Plan) -> None:
        """Lead cases along a road in one transaction, unless an earlier run did. A refusal ends it where it is."""
        try:
            with transaction(system(self.book.district, "demo")) as session:
                rows = [self._case(session, case) for case in cases]
                self.played.matters[plan.script.name] += len(rows)
                if any(row.version > 1 for row in rows):
                    self.played.known += len(rows)
                    return
                self._walk(session, cases, plan)
        except Conflict as refused:
            # The day is anchored, or somebody real was there: the demo gives way.
            self.played.refused[f"{plan.road.name}: {refused}"] += 1

    def _walk(self, session: Session, cases: Sequence[uuid.UUID], plan: Plan) -> None:
        road, times, chance = plan.road, plan.times, self.chance(f"{plan.key}/steps")
        if not road.desk:
            for case_id in cases:
                self._send(session, case_id, times)
        before = times.begin
        for i, (step, planned) in enumerate(zip(road.steps, times.moments, strict=True)):
            main, case = self._case(session, cases[0]), self._case(session, cases[step.of])
            later = list(zip(road.steps[i + 1 :], times.moments[i + 1 :], strict=True))
            scene = _Scene(session, case, main, step, max(planned, before), later, chance)
            try:
                before = self._step(scene, plan.script, before)
            except Left:
                return
            except REFUSED as refused:
                if step.maybe:
                    continue
                _log.warning("%s: %s was refused: %s", road.name, step.action, refused)
                self.played.refused[f"{road.name}, {step.action}: {refused}"] += 1
                return

    def _send(self, session: Session, case_id: uuid.UUID, times: Timeline) -> None:
        """Let the operator send out a complaint that the program was not sure about."""
        case = self._case(session, case_id)
        if case.process != "complaint" or case.state != "received":
            return
        first = times.moments[0] if times.moments else self.at
        moment = case.received_at + min(timedelta(minutes=20), (first - case.received_at) / 2)
        self._act(_Deed(session, case, self.operator, "dispatch", moment, {"unit": self._home(case)}))

    def _case(self, session: Session, case_id: uuid.UUID) -> Case:
        found = select(Case).where(Case.district_code == self.book.district, Case.id == case_id)
        return session.execute(found.execution_options(populate_existing=True)).scalar_one()

    def _step(self, scene: _Scene, script: Script, before: datetime) -> datetime:
        """Take a step, by everybody who takes it, and return when that was."""
        moment = self._moment(scene)
        for number, who in enumerate(self._actors(scene)):
            if number:
                moment = min(moment + _BESIDE, self.at)
                scene.case = self._case(scene.session, scene.case.id)
            fields = self._fields(scene, script)
            if scene.step.late:
                lateness = timedelta(minutes=scene.chance.uniform(*scene.step.late))
                happened = max(moment - lateness, before)
            else:
                happened = moment
            if scene.step.action in ("reply", "settle") and scene.case.kind in _TO_SHOW:
                fields |= self._shown(scene, moment)
            if who.role is Role.CITIZEN and fields.get("materials"):
                self._hang(scene, fields["materials"], moment)
            self._act(_Deed(scene.session, scene.case, who, scene.step.action, moment, fields, happened))
        return moment

    def _act(self, deed: _Deed) -> None:
        session, case_id, version = deed.session, deed.case.id, deed.case.version
        with session.begin_nested(), acting_as(session, deed.who):
            if deed.who.role is Role.CITIZEN:
                pin_case(session, case_id)
            act(
                session,
                self.book,
                case_id,
                deed.action,
                expected_version=version,
                at=deed.at,
                happened_at=deed.happened_at,
                fields=deed.fields,
            )
        # The core writes past the objects in places; the next step reads everything anew, as a page would.
        session.expire_all()
        self.played.steps += 1

    def _moment(self, scene: _Scene) -> datetime:
        if not scene.step.when:
            return scene.at
        clock = scene.session.scalar(
            select(Deadline.due_at).where(
                Deadline.district_code == self.book.district,
                Deadline.case_id == scene.case.id,
                Deadline.clock == scene.step.when,
                Deadline.stopped_at.is_(None),
            )
        )
        if clock is None or clock >= self.at:
            raise Left
        return clock

    # People.

    def _actors(self, scene: _Scene) -> list[Actor]:
        who, case = scene.step.who, scene.case
        if who in ("share", "shares"):
            active = [self._unit(share.unit_code) for share in self._shares(scene) if share.state in ACTIVE]
            if who == "share" and not active:
                raise Left
            return active[:1] if who == "share" else active
        known: dict[str, Callable[[], Actor]] = {
            "unit": lambda: self._unit(case.unit_code or ""),
            "operator": lambda: self.operator,
            "window": lambda: self.window,
            "supervisor": lambda: self.supervisor,
            "grid": lambda: self.grid_worker(case.town_code or ""),
            "citizen": lambda: citizen(self.book.district),
            "program": lambda: system(self.book.district, "sweep"),
        }
        return [known[who]()]

    def _unit(self, code: str) -> Actor:
        return Actor(None, f"{self.book.unit_name(code)}经办", Role.UNIT, self.book.district, unit=code)

    def _shares(self, scene: _Scene, *, lead: bool = False) -> list[Assignment]:
        found = select(Assignment).where(
            Assignment.district_code == self.book.district, Assignment.case_id == scene.case.id
        )
        every = scene.session.scalars(found.order_by(Assignment.created_at, Assignment.id))
        return [share for share in every if (share.share == "lead") == lead]

    # Units.

    def _home(self, case: Case) -> str:
        """Return the unit that the rules name, else the town's, else the centre."""
        areas = (case.town_code or "", case.community_code or "", case.cell_code or "")
        found = self.book.routing.assign(case.category_code, areas, case.received_at).unit if case.category_code else ""
        return found or self._town(case) or unit_of_level(self.book, "centre", "") or self.departments[0]

    def _town(self, case: Case) -> str:
        return unit_of_level(self.book, "town_office", case.town_code) or ""

    def _next(self, scene: _Scene) -> str:
        """Return whom the desk asks next: the rules' unit, the town, another department; none that gave it back."""
        case, gone = scene.case, self._gone(scene)
        asked = [self._home(case), self._town(case), *self._others(scene), unit_of_level(self.book, "centre", "") or ""]
        return next((code for code in asked if code and code not in gone), case.unit_code or self._home(case))

    def _others(self, scene: _Scene) -> list[str]:
        """Return units that have nothing to do with the case yet: departments in any order, town and centre last."""
        case = scene.case
        busy = {share.unit_code for share in self._shares(scene) if share.state in ACTIVE}
        busy |= self._gone(scene) | {self._home(case)}
        left = [code for code in self.departments if code not in busy]
        asked = scene.chance.sample(left, len(left))
        # The department that the demo's unit signs in for assists more often than others.
        if self.departments[0] in left and scene.chance.random() < _ASSISTS:
            asked.sort(key=lambda code: code != self.departments[0])
        last = (self._town(case), unit_of_level(self.book, "centre", "") or "")
        return [*asked, *(code for code in last if code and code not in busy)] or self.departments

    def _holder(self, scene: _Scene, script: Script) -> str:
        """Return the department that holds the information asked for, by the words of its name."""
        words = next((row["by"] for row in script.rest["wanted"] if row["say"] == scene.case.text), ())
        named = (code for word in words for code in self.departments if word in self.book.unit_name(code))
        return next(named, self._others(scene)[0])

    def _gone(self, scene: _Scene) -> set[str]:
        """Return the units that the case is with or that gave it back."""
        back = {share.unit_code for share in self._shares(scene, lead=True) if share.state == "returned"}
        return back | {scene.case.unit_code or ""}

    # Fields.

    def _fields(self, scene: _Scene, script: Script) -> dict[str, Any]:
        given = scene.step.give
        if isinstance(given, str):
            given = [given]
        if isinstance(given, Mapping):
            return {name: self._filled(value, scene, script) for name, value in given.items()}
        found: dict[str, Any] = {}
        for part in given:
            found |= self._filled(part, scene, script)
        return found

    def _filled(self, value: Any, scene: _Scene, script: Script) -> Any:
        if not isinstance(value, str) or not value.startswith("$"):
            return value
        name, case = value[1:], scene.case
        if name in script.words:
            return scene.chance.choice(script.words[name])
        known: dict[str, Callable[[], Any]] = {
            "next": lambda: self._next(scene),
            "home": lambda: self._home(case),
            "town": lambda: self._town(case) or self._next(scene),
            "peer": lambda: self._others(scene)[0],
            "holder": lambda: self._holder(scene, script),
            "main": lambda: scene.main.number,
            "return": lambda: dict(scene.chance.choice(script.rest["returns"])),
            "form": lambda: closing_form(
                self.book,
                case.kind,
                scene.chance,
                answers=script.words["told" if case.kind == "enquiry" else "answer"],
            ),
            "good": lambda: scene.chance.choice("3445555"),
            "service": lambda: scene.chance.choice(("110", "119", "120")),
            "between": lambda: self._between(scene).isoformat(),
            "fee": lambda: self._fee(scene),
            "decision": lambda: f"演示许字〔{china_time(scene.at):%Y}〕{scene.chance.randint(100, 999)} 号",
            "missing": lambda: [one.code for one in matter.read(scene.session, case).missing],
            "owed": lambda: [one.code for one in matter.read(scene.session, case).debts],
            "wrong": lambda: list(self._wrong(scene, script)),
        }
        return known[name]()

    def _fee(self, scene: _Scene) -> dict[str, str]:
        """Return a fee that was asked for, and let off by the first rule of the sheet that lets anybody off."""
        rule = next(iter(matter.read(scene.session, scene.case).sheet.fee.waivers), None)
        asked = {"fee_amount": "100", "paid_reference": "演示票据 0001"}
        return asked | ({"waived": str(rule.percent), "waiver": rule.who} if rule else {})

    def _wrong(self, scene: _Scene, script: Script) -> Iterator[dict[str, str]]:
        materials = matter.read(scene.session, scene.case).materials
        code = next((code for code, row in materials.items() if row.state in ("given", "shared")), "")
        yield {"code": code, "why": scene.chance.choice(script.words["faults"])}

    def _between(self, scene: _Scene) -> datetime:
        """Return when a survey is held: before it is recorded, or in the days to come."""
        work = self.book.work
        recorded = next((moment for step, moment in scene.later if step.action == "survey_record"), None)
        if recorded is None:
            return work.when(work.at(self.at) + 9 * HOUR_US).replace(minute=30, second=0, microsecond=0)
        middle = work.when((work.at(scene.at) + work.at(recorded)) // 2)
        return middle.replace(minute=middle.minute // 15 * 15, second=0, microsecond=0)

    def _shown(self, scene: _Scene, moment: datetime) -> dict[str, Any]:
        """Return photos from before and after, drawn and hung on the case, as a field; none where nothing is drawn."""
        trouble = pictures.trouble_of(scene.case.text)
        if not trouble:
            return {}
        seed = scene.chance.getrandbits(32)
        ids = []
        for purpose in ("before", "after"):
            # The same dice for both: it is one place.
            photo = pictures.taken(purpose, trouble, random.Random(seed))  # noqa: S311  drawings, not secrets
            stored = attachments.Stored(photo.sha256, photo.media_type, photo.width, photo.height)
            ids.append(attachments.attach(scene.session, scene.case.id, stored, purpose=purpose, at=moment))
        return {"photos": [str(one) for one in ids]}

    def _hang(self, scene: _Scene, codes: Sequence[str], moment: datetime) -> None:
        """Hang the demo's file on materials that a citizen hands in."""
        if self.upload is None:
            raise Left
        for code in codes:
            filed.attach(scene.session, scene.case.id, code, self.upload, at=moment)

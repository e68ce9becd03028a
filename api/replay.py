"""Plays recorded messages through the main job, with demo units that sign, return and answer.

Knows no rule of its own: every step goes through `Intake.receive` and `dispatch.cases.act`, with the played time as
their argument. What the demo units do is drawn from a seed and labelled as invented.
"""

import heapq
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sqlalchemy import text

from api import wiring
from core.actor import Actor, Role, citizen, system
from core.datums import distance_m
from core.db import snapshot, transaction
from core.errors import Conflict, Forbidden, Invalid
from dispatch.cases import act
from dispatch.fields import FIELDS
from dispatch.guards import unit_of_level
from dispatch.opening import Placed
from dispatch.rulebook import Rulebook
from hotline.intake import Intake, Report
from hotline.play import Message, join_addresses, messages, read_spots

#: A place counts as right within this distance of the truth.
_NEAR_M = 300.0
_ANSWERS = (
    "您好，您反映的问题已派人到现场核实，情况属实，现已处理完毕，并已要求责任方加强日常巡查。感谢您的监督。（演示答复）",
    "您好，经核查，该处问题已列入本月整改计划，目前已完成第一阶段处理，后续进度会及时告知。（演示答复）",
    "您好，您咨询的事项已由经办同事电话向您说明，如有不明之处可随时再次来电。（演示答复）",
    "您好，我单位已会同社区到场，当场督促整改并复查，现场已恢复正常。（演示答复）",
)


_RETURN = {"reason_code": "not_our_duty", "legal_basis": "三定方案（演示）", "reason": "不属本单位职责（演示）"}
#: Shares: waiting cases that operators take up, assignments that units return, callers who are dissatisfied.
_TAKEN_UP, _RETURNED, _DISSATISFIED = 0.93, 0.04, 0.12
_STATES = text("SELECT state, count(*) FROM cases WHERE district_code = :d GROUP BY state")


@dataclass(slots=True)
class Summary:
    """What came of a replay; every figure is counted, none assumed."""

    messages: int = 0
    repeated: int = 0
    refused: int = 0
    seconds: float = 0.0
    actions: int = 0
    #: located, unlocatable, outside.
    status: Counter[str] = field(default_factory=Counter)
    #: dispatched by the program, or waiting on the desk.
    sent: Counter[str] = field(default_factory=Counter)
    #: Why they wait; a message may have several reasons.
    doubts: Counter[str] = field(default_factory=Counter)
    #: Of messages with a known true place: right (within 300 m), wrong, none given.
    place: Counter[str] = field(default_factory=Counter)
    #: Of messages that name a town only: right, wrong, none given.
    town: Counter[str] = field(default_factory=Counter)
    #: Wrong although the program dispatched it alone.
    wrong_and_sent: int = 0
    #: Messages whose text names no place, for which none was given: rightly.
    rightly_none: int = 0
    truly_none: int = 0
    states: Counter[str] = field(default_factory=Counter)

    def kept(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        # dataclasses.asdict cannot copy a Counter.
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in found.items()}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "Summary":
        """Return the summary that was kept as JSON."""
        known: dict[str, Any] = {name: Counter(v) if isinstance(v, dict) else v for name, v in kept.items()}
        return cls(**known)

    @property
    def rate(self) -> float:
        """Messages a second, their handling included."""
        return self.messages / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class _Played:
    """A case that demo people are busy with, as they last saw it."""

    case_id: uuid.UUID
    version: int
    unit: str
    kind: str
    category: str | None
    areas: tuple[str, str, str]
    #: Units that gave it back; it does not go to them again.
    returned: set[str] = field(default_factory=set)


@dataclass(order=True, slots=True)
class _Event:
    at: datetime
    serial: int
    what: str = field(compare=False)
    case: _Played = field(compare=False)


class _Player:
    """One replay: messages and what demo people do with the cases, in the order of played time."""

    def __init__(self, intake: Intake, *, until: datetime, handle: bool, seed: int) -> None:
        self.intake = intake
        self.book: Rulebook = intake.book
        self.until = until
        self.handle = handle
        self.random = random.Random(seed)  # noqa: S311  demo people, not secrets
        self.serial = count()
        self.waiting: list[_Event] = []
        self.summary = Summary()
        self.operator = Actor(None, "演示话务员", Role.OPERATOR, self.book.district)

    def take(self, message: Message, at: datetime) -> None:
        """Take one message in at a played time, after everything that comes before it."""
        self.run(at)
        report = Report(
            channel=message.channel or "replay",
            text=message.text,
            title=message.title,
            reported_at=at,
            source_id=message.id,
        )
        self.summary.messages += 1
        try:
            known = self.intake.understand(report)
            receipt = self.intake.receive(report, actor=citizen(self.book.district), at=at, understood=known)
        except Invalid:
            self.summary.refused += 1
            return
        # What is understood of a message is the same at every play, so that an interrupted one is summed up whole.
        summary, sent = self.summary, known.decision is not None and not known.doubts
        summary.status[known.answer.status] += 1
        summary.sent["dispatched" if sent else "waiting"] += 1
        summary.doubts.update(known.doubts)
        self._judge(message, known.place, sent=sent)
        if receipt.repeated:
            summary.repeated += 1
            return
        if self.handle:
            place = known.place
            areas = (
                (place.town_code or "", place.community_code or "", place.cell_code or "") if place else ("", "", "")
            )
            kind = known.classification.kind
            self._plan(_Played(receipt.case_id, 1, receipt.unit_code or "", kind, known.category, areas), at)

    def run(self, until: datetime) -> None:
        """Let demo people do what falls due up to a played time."""
        while self.waiting and self.waiting[0].at <= until:
            event = heapq.heappop(self.waiting)
            self._do(event)

    def _judge(self, message: Message, place: Placed | None, *, sent: bool) -> None:
        truth = message.truth
        if truth is None:
            return
        summary = self.summary
        if truth.get("status") in ("unlocatable", "outside"):
            summary.truly_none += 1
            summary.rightly_none += place is None
            return
        if truth.get("lng") is None:
            # Only a town is meant; the nearest there is to right or wrong.
            told = "none" if place is None else "right" if place.town_code == truth.get("town") else "wrong"
            summary.town[told] += 1
            return
        if place is None:
            summary.place["none"] += 1
            return
        away = float(distance_m((place.lng, place.lat), (truth["lng"], truth["lat"])).flat[0])
        right = away <= _NEAR_M
        summary.place["right" if right else "wrong"] += 1
        summary.wrong_and_sent += not right and sent

    def _plan(self, case: _Played, at: datetime) -> None:
        if case.unit:
            self._later("sign", case, at, hours=(0.1, 5))
        elif self.random.random() < _TAKEN_UP:
            self._later("dispatch", case, at, hours=(0.1, 16))

    def _later(self, what: str, case: _Played, at: datetime, *, hours: tuple[float, float]) -> None:
        when = at + timedelta(hours=self.random.uniform(*hours))
        if when < self.until:
            heapq.heappush(self.waiting, _Event(when, next(self.serial), what, case))

    def _do(self, event: _Event) -> None:
        """Take one step and plan the next, if the step was possible."""
        case, chance = event.case, self.random.random()
        unit = Actor(None, f"{self.book.unit_name(case.unit)}经办", Role.UNIT, self.book.district, unit=case.unit)
        if event.what == "dispatch":
            case.unit = self._next_unit(case, event.at)
            if self._act(self.operator, event, "dispatch", unit=case.unit):
                self._later("sign", case, event.at, hours=(0.1, 5))
        elif event.what == "sign" and chance < _RETURNED:
            if self._act(unit, event, "return", **_RETURN):
                case.returned.add(case.unit)
                self._later("dispatch", case, event.at, hours=(0.5, 6))
        elif event.what == "sign":
            if self._act(unit, event, "sign"):
                self._later("reply", case, event.at, hours=(2, 70))
        elif event.what == "reply":
            if self._act(unit, event, "reply", **closing_form(self.book, case.kind, self.random)):
                self._later("callback", case, event.at, hours=(1, 30))
        elif chance < _DISSATISFIED:
            if self._act(self.operator, event, "rework", satisfaction="2", reason="市民表示问题仍未解决（演示）"):
                self._later("reply", case, event.at, hours=(8, 60))
        else:
            self._act(self.operator, event, "callback", satisfaction=self.random.choice("3445555"))

    def _next_unit(self, case: _Played, at: datetime) -> str:
        """Return whom the desk asks next: the unit of the rules, then the town, then the centre."""
        towns = unit_of_level(self.book, "town_office", case.areas[0])
        centre = unit_of_level(self.book, "centre", "")
        named = (self.book.routing.assign(case.category, case.areas, at).unit, towns, centre)
        return next((code for code in named if code and code not in case.returned), case.unit)

    def _act(self, who: Actor, event: _Event, action: str, **fields: Any) -> bool:
        case = event.case
        try:
            with transaction(who) as session:
                done = act(
                    session, self.book, case.case_id, action, expected_version=case.version, at=event.at, fields=fields
                )
        except (Conflict, Forbidden):
            # A real person was faster, or the way is used up: the demo gives way.
            return False
        case.version = done.version
        self.summary.actions += 1
        return True


def closing_form(
    book: Rulebook, kind: str, chance: random.Random, *, answers: Sequence[str] = _ANSWERS
) -> dict[str, str]:
    """Return what a demo unit writes into its reply; what is not solved says why."""
    draw = chance.choices
    filled = {
        "truth": draw(("yes", "partly", "no"), (80, 14, 6))[0],
        "duty": draw(("yes", "partly"), (94, 6))[0],
        "contacted": draw(("yes", "unreachable", "unwanted"), (86, 9, 5))[0],
        "solved": draw(("yes", "partly", "no"), (82, 12, 6))[0],
    }
    table = book.process("complaint")
    asked = table.needs(table.step_for("reply", "signed"), kind)
    form = {name: filled[name] for name in asked if name in filled}
    form["answer"] = chance.choice(answers)
    if form.get("solved") in ("partly", "no"):
        form["unsolved_reason"] = draw(tuple(FIELDS["unsolved_reason"].choices))[0]
    return form


def run(
    file: Path,
    *,
    at: datetime,
    span: timedelta,
    handle: bool,
    join: bool,
    console: Console,
    limit: int | None = None,
    seed: int = 7,
) -> Summary:
    """Replay a file of messages, spread over `span` before `at`, and return what came of it.

    join: give messages that name no place of the district an address of it; the result is synthetic and labelled so.
    A message that was played before is recognised by its id and changes nothing.
    """
    intake = wiring.intake()
    found = _read(file, intake, join=join, seed=seed, limit=limit)
    player = _Player(intake, until=at, handle=handle, seed=seed)
    began = time.perf_counter()
    total = max(1, len(found))
    with Progress(
        TextColumn("playing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
    ) as bar:
        task = bar.add_task("play", total=len(found), rate="")
        for i, message in enumerate(found):
            player.take(message, at - span * ((total - i) / total) if span else at)
            player.summary.seconds = time.perf_counter() - began
            bar.update(task, advance=1, rate=f"{player.summary.rate:,.0f}/s")
        player.run(at)
    player.summary.seconds = time.perf_counter() - began
    with snapshot(system(intake.book.district, "replay")) as session:
        counted = session.execute(_STATES, {"d": intake.book.district})
        player.summary.states.update({str(row[0]): int(row[1]) for row in counted})
    return player.summary


def _read(file: Path, intake: Intake, *, join: bool, seed: int, limit: int | None) -> list[Message]:
    found: Iterable[Message] = messages(file)
    if join:
        with snapshot(system(intake.book.district, "replay")) as session:
            addresses, places = read_spots(session)
        found = join_addresses(found, addresses, places=places, district=intake.book.name, seed=seed)
    return list(islice(found, limit))


def show(summary: Summary, console: Console) -> None:
    """Print what came of a replay, with honest percentages."""

    def share(part: int, whole: int) -> str:
        return f"{part:,} ({part / whole:.1%})" if whole else f"{part:,}"

    fresh = summary.messages - summary.refused
    table = Table("", "", title="What came of the messages")
    table.add_row("messages taken in", f"{fresh:,} ({summary.rate:,.0f} a second with their handling)")
    if summary.repeated:
        table.add_row("were here before", share(summary.repeated, summary.messages))
    if summary.refused:
        table.add_row("refused", share(summary.refused, summary.messages))
    for status, label in (("located", "located"), ("unlocatable", "no place in the text"), ("outside", "elsewhere")):
        table.add_row(label, share(summary.status[status], fresh))
    table.add_row("dispatched by the program", share(summary.sent["dispatched"], fresh))
    table.add_row("waiting for an operator", share(summary.sent["waiting"], fresh))
    for doubt, n in summary.doubts.most_common():
        table.add_row(f"  {doubt}", share(n, fresh))
    judged = sum(summary.place.values())
    if judged:
        table.add_row(f"true place known: within {_NEAR_M:.0f} m", share(summary.place["right"], judged))
        table.add_row("  farther away", share(summary.place["wrong"], judged))
        table.add_row("  no place given", share(summary.place["none"], judged))
        table.add_row("  farther away and dispatched alone", share(summary.wrong_and_sent, judged))
    named = sum(summary.town.values())
    if named:
        table.add_row("only a town named: right town", share(summary.town["right"], named))
    if summary.truly_none:
        table.add_row("no true place, none given", share(summary.rightly_none, summary.truly_none))
    table.add_row("steps of demo units", f"{summary.actions:,}")
    total = sum(summary.states.values())
    for state, n in summary.states.most_common():
        table.add_row(f"cases now {state}", share(n, total))
    console.print(table)

"""What a step does to the clocks 时限, said before it is pressed: one sentence for each clock of the case.

Computes what `dispatch.cases` and its handlers will do, from the same table, limits and calendar; changes nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from api.i18n import N_, say
from api.wording import CLOCKS, limit_words, moment_words, named, span_words
from core.actor import Actor
from core.errors import WanggeError
from dispatch.deadlines import reckoned
from dispatch.limits import Limit, due
from dispatch.process import Process, Step
from dispatch.rulebook import Rulebook
from dispatch.sheet import ClockRow, Share, Sheet

_SHARE_CLOCKS = ("share_sign", "share_reply")
#: Parts of the lead that end every share of the case.
_ENDING = ("move", "return", "finish")
#: What a plea asks for, by the step that asks.
_ASKS = ("extend_ask", "pause_ask", "park_ask")
_LONGER = N_("The clock “{clock}” is longer by {span}")
_IF_EXTENDED = N_("If it is granted, the clock “{clock}” is longer by {span}")
_IF_PAUSED = N_("If it is granted now, the clock stands at most until {due}; until then it runs on.")
_IF_PARKED = N_(
    "If it is granted now, the clock stands and the case is looked at again on {due}; until then it runs on."
)


@dataclass(frozen=True, slots=True)
class Effect:
    """One sentence about one clock."""

    words: str
    #: stops, starts, moves, stands or runs: how it is drawn.
    mark: str


def effects(
    book: Rulebook, sheet: Sheet, step: Step, *, actor: Actor, at: datetime, given: Mapping[str, str]
) -> tuple[Effect, ...]:
    """Return what a step does to the clocks of a case, in the order stopped, standing, moved, started, going on.

    given: what the form holds so far; a span that was typed is counted with.
    """
    process = book.process(sheet.case.process, sheet.case.process_version)
    telling = _Telling(book, sheet, process, step, actor, at, given)
    return tuple(telling.all()) or (Effect(say("No clock changes."), "runs"),)


@dataclass(slots=True)
class _Telling:
    book: Rulebook
    sheet: Sheet
    process: Process
    step: Step
    actor: Actor
    at: datetime
    given: Mapping[str, str]

    def all(self) -> Iterator[Effect]:
        touched = set(self.step.stops) - set(_SHARE_CLOCKS) | set(self.step.holds) | set(self.step.resumes)
        final = self.process.state(self.step.target).final
        own = self._own_share()
        for clock in self._running():
            if clock.assignment_id is not None:
                if self._ends_share(clock, own):
                    yield self._stops(clock)
            elif clock.clock in self.step.stops or (final and clock.clock in self.process.sides):
                yield self._stops(clock)
            elif clock.clock in self.step.holds:
                yield Effect(say("The clock “{clock}” stands from now on.", clock=_name(clock)), "stands")
            elif clock.clock in self.step.resumes and clock.held_at is not None:
                yield self._resumes(clock)
            elif self.step.action == "extend_grant" and self._extends(clock):
                yield self._extended(clock, self._plea_span(), _LONGER)
        for name in self.step.starts:
            yield self._starts(name)
        if self.step.action in _ASKS:
            yield from self._asked()
        if self.step.action == "extend_grant":
            touched |= {clock.clock for clock in self._running() if self._extends(clock)}
        for clock in self._running():
            ended = clock.assignment_id is not None and self._ends_share(clock, own)
            if not ended and clock.clock not in touched and not (final and clock.clock in self.process.sides):
                yield self._goes_on(clock)

    def _running(self) -> list[ClockRow]:
        return [clock for clock in self.sheet.clocks if clock.stopped_at is None]

    def _own_share(self) -> Share | None:
        mine = (s for s in self.sheet.shares if s.unit_code == self.actor.unit and s.share != "lead" and s.active)
        return next(mine, None)

    def _ends_share(self, clock: ClockRow, own: Share | None) -> bool:
        if self.step.who == "share":
            stopped = {"sign": ("share_sign",), "reply": _SHARE_CLOCKS, "return": _SHARE_CLOCKS}
            return own is not None and clock.assignment_id == own.id and clock.clock in stopped.get(self.step.part, ())
        if self.step.action in ("withdraw_unit", "replace_unit", "share_rework"):
            return any(
                s.id == clock.assignment_id and s.unit_code == self.given.get("unit") and self.step.part == "move"
                for s in self.sheet.shares
            )
        return self.step.part in _ENDING

    def _stops(self, clock: ClockRow) -> Effect:
        until = clock.held_at or self.at
        ends_early = clock.assignment_id is not None and self.step.part in (*_ENDING, "return")
        if self.step.outcome == "void" or ends_early:
            words = say("The clock “{clock}” stops and is not judged.", clock=_name(clock))
        elif until <= clock.due_at:
            words = say("The clock “{clock}” stops, kept.", clock=_name(clock))
        else:
            late = span_words(until - clock.due_at)
            words = say("The clock “{clock}” stops, {span} late.", clock=_name(clock), span=late)
        return Effect(words, "stops")

    def _resumes(self, clock: ClockRow) -> Effect:
        pauses = [
            replace(pause, ended_at=pause.ended_at or self.at)
            for pause in self.sheet.pauses
            if pause.deadline_id == clock.id
        ]
        new = reckoned(clock, pauses, self.book).at
        return self._moved(clock, new, say("The clock “{clock}” runs again", clock=_name(clock)))

    def _extends(self, clock: ClockRow) -> bool:
        return clock.clock == self.process.extends

    def _plea_span(self) -> str:
        return next((plea.span for plea in self.sheet.pleas if plea.state == "asked"), "")

    def _extended(self, clock: ClockRow, span: str, words: str) -> Effect:
        try:
            longer = replace(clock, extra=(*clock.extra, str(Limit.parse(span))))
            pauses = [pause for pause in self.sheet.pauses if pause.deadline_id == clock.id]
            new = reckoned(longer, pauses, self.book).at
        except WanggeError:
            # A span that cannot be read yet is told when the form is sent.
            return self._goes_on(clock)
        return self._moved(clock, new, say(words, clock=_name(clock), span=limit_words(span)))

    def _moved(self, clock: ClockRow, new: datetime, words: str) -> Effect:
        then, before = moment_words(new, now=self.at), moment_words(clock.due_at, now=self.at)
        if then == before:
            return Effect(say("{what}: until {due}, as before.", what=words, due=then), "moves")
        return Effect(say("{what}: until {due} instead of {before}.", what=words, due=then, before=before), "moves")

    def _starts(self, name: str) -> Effect:
        case, set_by = self.sheet.case, ""
        if name in ("supervise", "review"):
            set_by = self.given.get("span", "")
        if name in ("pause", "review"):
            set_by = set_by or self._plea_span()
        try:
            clock = self.book.clock(
                name,
                unit=case.unit_code,
                kind="complex" if case.complex else case.kind,
                urgency=case.urgency,
                category=case.category_code or "",
                start=self.at,
                limit=set_by or None,
            )
        except WanggeError:
            # The limit comes with the item or with what is typed; it is told when the form is sent.
            return Effect(say("The clock “{clock}” starts.", clock=named(name, CLOCKS)), "starts")
        return Effect(
            say(
                "The clock “{clock}” starts: {limit}, until {due}.",
                clock=named(name, CLOCKS),
                limit=limit_words(clock.limit),
                due=moment_words(clock.due_at, now=self.at),
            ),
            "starts",
        )

    def _asked(self) -> Iterator[Effect]:
        """Yield what would follow if the plea was granted."""
        span = self.given.get("span", "")
        if not span:
            return
        if self.step.action == "extend_ask":
            for clock in self._running():
                if self._extends(clock):
                    yield self._extended(clock, span, _IF_EXTENDED)
            return
        try:
            until = due(self.at, Limit.parse(span), work=self.book.work).at
        except WanggeError:
            return
        words = _IF_PAUSED if self.step.action == "pause_ask" else _IF_PARKED
        yield Effect(say(words, due=moment_words(until, now=self.at)), "moves")

    def _goes_on(self, clock: ClockRow) -> Effect:
        if clock.held_at is not None:
            return Effect(say("The clock “{clock}” stands on.", clock=_name(clock)), "runs")
        until = moment_words(clock.due_at, now=self.at)
        return Effect(say("The clock “{clock}” goes on, until {due}.", clock=_name(clock), due=until), "runs")


def _name(clock: ClockRow) -> str:
    words = named(clock.clock, CLOCKS)
    return f"{words}（{clock.unit_name}）" if clock.assignment_id is not None and clock.unit_name else words

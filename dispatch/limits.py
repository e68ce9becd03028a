"""Typed limits 时限 and the deadlines they lead to: at once, working hours, working days, natural days, clock hours.

Knows how each type is counted, how pauses lengthen it, when to warn, and why a deadline is where it is; knows the table
of limits. Pure: the start is an argument, the calendar another, and nothing is stored.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path

from core.errors import Invalid
from dispatch.calendar import FIRST, china_time
from dispatch.tables import parse_yaml, read_text
from dispatch.words import N_
from dispatch.worktime import (
    DAY_US,
    HOUR_US,
    ClockTime,
    Measure,
    Pauses,
    WorkTime,
    advance,
    day_us,
    standing,
    stood,
)

_CLOCK = ClockTime()
_WRITTEN = re.compile(r"(0|sd)|([1-9][0-9]{0,3})(wh|wd|nd|h)")


class Count(StrEnum):
    """How a limit is counted; the value is its unit as written."""

    #: 立即: due when it starts.
    AT_ONCE = "0"
    #: 工作小时: runs in office hours only.
    WORKING_HOURS = "wh"
    #: 工作日: from the next working day, until the office closes on the last.
    WORKING_DAYS = "wd"
    #: 自然日: from the next day; a last day that is not worked moves to the next that is.
    NATURAL_DAYS = "nd"
    #: 小时: round the clock.
    CLOCK_HOURS = "h"
    #: 当日: until the office closes today, or on the next working day where today is over.
    SAME_DAY = "sd"


#: Counted without a calendar.
_BY_CLOCK = (Count.AT_ONCE, Count.CLOCK_HOURS)

_WORDS = {
    Count.AT_ONCE: N_("at once"),
    Count.WORKING_HOURS: N_("{count} working hours"),
    Count.WORKING_DAYS: N_("{count} working days"),
    Count.NATURAL_DAYS: N_("{count} days"),
    Count.CLOCK_HOURS: N_("{count} hours"),
    Count.SAME_DAY: N_("the same day"),
}


@dataclass(frozen=True, slots=True)
class Limit:
    """A typed limit, such as five working days."""

    count: Count
    amount: int = 0

    @classmethod
    @cache
    def parse(cls, text: str) -> "Limit":
        """Return the limit written as `0`, `sd`, `4wh`, `5wd`, `15nd` or `1h`; raises Invalid."""
        match = _WRITTEN.fullmatch(text.strip())
        if match is None:
            raise Invalid("{limit} is no limit; write 0, sd, 4wh, 5wd, 15nd or 24h.", field="limit", limit=text)
        plain, amount, unit = match.groups()
        return cls(Count(plain)) if plain else cls(Count(unit), int(amount))

    def __str__(self) -> str:
        return f"{self.amount}{self.count}" if self.amount else self.count.value

    @property
    def words(self) -> str:
        """The limit for people: an English msgid, to be filled with `count`."""
        return _WORDS[self.count]


@dataclass(frozen=True, slots=True)
class TraceStep:
    """One day on the way to a deadline."""

    day: date
    #: Whether the day (or a part of it) counted.
    counted: bool
    #: English msgid: working day, weekend, public holiday, make-up working day, day of intake, …
    why: str
    #: Name of the holiday; empty on other days.
    name: str = ""
    #: How long the clock ran on this day, and how long it stood although it would have run.
    ran: timedelta = timedelta(0)
    stood: timedelta = timedelta(0)
    #: 0 for the limit itself, 1 for the first extension, and so on.
    part: int = 0


@dataclass(frozen=True, slots=True)
class NoticeUsed:
    """A year's notice 放假安排 that a deadline was counted by."""

    year: int
    #: As published; empty where no notice is loaded and weekends alone were counted.
    source: str
    version: int = 1


@dataclass(frozen=True, slots=True)
class Due:
    """When something is due, and everything needed to say why."""

    #: On China's clock.
    at: datetime
    #: The way leads through a year whose notice is not loaded: computed from weekends alone, and may move.
    provisional: bool
    start: datetime
    limit: Limit
    work: WorkTime = field(repr=False, compare=False)
    pauses: tuple[tuple[datetime, datetime], ...] = field(default=(), repr=False)
    extra: tuple[Limit, ...] = ()
    #: Where the limit and each extension end; the last is `at`.
    ends: tuple[datetime, ...] = field(default=(), repr=False, compare=False)

    @property
    def counts_days_worked(self) -> bool:
        """Whether the calendar has a say: not in limits that run round the clock."""
        return any(part.count not in _BY_CLOCK for part in (self.limit, *self.extra))

    @property
    def notices_used(self) -> tuple[NoticeUsed, ...]:
        """The notices that rule the days from the start to the deadline, in order of years; none round the clock."""
        if not self.counts_days_worked:
            return ()
        calendar, used = self.work.calendar, {}
        for offset in range((self.at.date() - self.start.date()).days + 1):
            day = self.start.date() + timedelta(offset)
            notice = calendar.notice_of(day)
            year = notice.year if notice else day.year
            used[year] = NoticeUsed(year, notice.source, notice.version) if notice else NoticeUsed(year, "")
        return tuple(used[year] for year in sorted(used))

    @property
    def trace(self) -> tuple[TraceStep, ...]:
        """Every day from the start to the deadline, whether it counted, and why."""
        return _trace(self)

    def share(self, now: datetime) -> float:
        """Return how much of the limit is used up: 0 at the start, 1 when due, more afterwards."""
        return share(self.start, self.at, now, limit=self.limit, work=self.work, pauses=self.pauses)

    def warn_times(self) -> tuple[datetime, datetime, datetime]:
        """Return when 50 %, 80 % and all of the limit are used up."""
        return warn_times(self.start, self.at, limit=self.limit, work=self.work, pauses=self.pauses)


def due(start: datetime, limit: Limit, *, work: WorkTime, pauses: Pauses = (), extra: Iterable[Limit] = ()) -> Due:
    """Return when a limit that starts at an aware moment runs out.

    pauses: spans in which the clock stood; each lengthens the limit by the time that would have counted, no more.
    extra: extensions 延期 in the order they were granted; each begins where the one before it ends. Extensions of the
    same kind as what they follow continue it, so that 5 and 3 working days are 8 working days, pauses or not.
    Raises Invalid on naive times and outside the calendar.
    Source of the counting in days: Civil Code 民法典 arts. 201 and 203 (the day itself does not count; a last day off
    moves to the next working day; the last day ends when business ends).
    """
    begin, stops, more = china_time(start), tuple(pauses), tuple(extra)
    at, before = _end(limit, begin, work=work, stops=stops), limit
    ends = [at]
    for part in more:
        goes_on = part.count is before.count is Count.WORKING_DAYS
        at, before = _end(part, at, work=work, stops=stops, goes_on=goes_on), part
        ends.append(at)
    counted = any(part.count not in _BY_CLOCK for part in (limit, *more))
    provisional = counted and work.calendar.is_provisional(begin, at)
    return Due(at, provisional, begin, limit, work, stops, more, tuple(ends))


def _end(
    limit: Limit,
    begin: datetime,
    *,
    work: WorkTime,
    stops: tuple[tuple[datetime, datetime], ...],
    goes_on: bool = False,
) -> datetime:
    """Return where one limit ends that begins on China's clock; `goes_on`: its first day is not left out."""
    match limit.count:
        case Count.AT_ONCE:
            return begin
        case Count.CLOCK_HOURS:
            return _run(_CLOCK, _CLOCK.at(begin), limit.amount * HOUR_US, stops)
        case Count.NATURAL_DAYS:
            return work.moment((work.next_working_day(_last_day(limit, begin, stops)) - FIRST).days, work.closes_us)
        case Count.WORKING_HOURS:
            return _run(work, work.at(begin), limit.amount * HOUR_US, stops)
        case Count.WORKING_DAYS:
            origin = work.at(begin) if goes_on else _after_day(work, begin)
            return _run(work, origin, limit.amount * work.per_day, stops)
        case Count.SAME_DAY:
            origin = work.at(begin)
            rest = _after_day(work, begin) - origin
            return _run(work, origin, rest or work.per_day, stops)


def _last_day(limit: Limit, begin: datetime, stops: tuple[tuple[datetime, datetime], ...]) -> date:
    """Return the last of some natural days, worked or not."""
    midnight = _CLOCK.at(begin) - day_us(begin) + DAY_US
    return _run(_CLOCK, midnight, limit.amount * DAY_US - 1, stops).date()


@dataclass(frozen=True, slots=True)
class Measured:
    """What a clock's limits come to: the promised and the legal one side by side, and when to warn."""

    #: The one that counts: the promise, unless the law's limit runs out before it.
    found: Due
    #: When 50 % and 80 % of it are used up.
    half: datetime
    near: datetime
    at: datetime
    #: Over a year without notice, either of the two.
    provisional: bool
    #: When the legal limit runs out; None where nothing shorter was promised.
    legal_at: datetime | None = None
    #: The promise, with its extensions, would lead past the law.
    capped: bool = False


def measured(
    start: datetime,
    limit: Limit,
    *,
    work: WorkTime,
    legal: Limit | None = None,
    pauses: Pauses = (),
    extra: Iterable[Limit] = (),
) -> Measured:
    """Return the deadline of a clock with its warnings; `legal`: the law's limit beside a shorter promise.

    Pauses stand for both; an extension lengthens the promise only, for a promise is not a law. Whichever runs out
    first counts, so that no promise, extension or change of the calendar leads past the law.
    """
    stops = tuple(pauses)
    found = due(start, limit, work=work, pauses=stops, extra=extra)
    provisional, legal_at, capped = found.provisional, None, False
    if legal is not None:
        lawful = due(start, legal, work=work, pauses=stops)
        provisional, legal_at = provisional or lawful.provisional, lawful.at
        capped = lawful.at < found.at
        found = lawful if capped else found
    half, near, at = found.warn_times()
    return Measured(found, half, near, at, provisional, legal_at, capped)


def elapsed(start: datetime, now: datetime, *, limit: Limit, work: WorkTime, pauses: Pauses = ()) -> timedelta:
    """Return how long a limit's clock has run since `start`: working time, or clock time for `h` and `nd`.

    Zero before the start. The same pauses as for the deadline, the open one closed with `now`.
    """
    measure = _measure(limit, work)
    first, last = measure.at(start), measure.at(now)
    ran = max(0, last - first - stood(standing(measure, pauses), first, last))
    return timedelta(microseconds=ran)


def share(start: datetime, at: datetime, now: datetime, *, limit: Limit, work: WorkTime, pauses: Pauses = ()) -> float:
    """Return the used share of a limit that is due `at`: 0 until the start, exactly 1 when due, more when overdue."""
    stops = tuple(pauses)
    whole = elapsed(start, at, limit=limit, work=work, pauses=stops)
    if not whole:
        return 1.0 if now >= at else 0.0
    return elapsed(start, now, limit=limit, work=work, pauses=stops) / whole


def warn_times(
    start: datetime, at: datetime, *, limit: Limit, work: WorkTime, pauses: Pauses = ()
) -> tuple[datetime, datetime, datetime]:
    """Return when 50 %, 80 % and 100 % of a limit that is due `at` are used up; the last is `at` itself."""
    measure = _measure(limit, work)
    spans = standing(measure, pauses)
    first, last = measure.at(start), measure.at(at)
    whole = last - first - stood(spans, first, last)
    if whole <= 0:
        return at, at, at
    half, near = (measure.when(advance(first, -(-whole * percent // 100), spans)) for percent in (50, 80))
    return half, near, at


def _measure(limit: Limit, work: WorkTime) -> Measure:
    return _CLOCK if limit.count in (Count.AT_ONCE, Count.CLOCK_HOURS, Count.NATURAL_DAYS) else work


def _run(measure: Measure, origin: int, amount: int, pauses: tuple[tuple[datetime, datetime], ...]) -> datetime:
    return measure.when(advance(origin, amount, standing(measure, pauses)) if pauses else origin + amount)


def _after_day(work: WorkTime, moment: datetime) -> int:
    """Return the place on the working line where the moment's day is over."""
    return work.calendar.before[work.calendar.index(moment) + 1] * work.per_day


def _trace(found: Due) -> tuple[TraceStep, ...]:
    """Return the days from start to deadline, part by part. Their running times sum to the elapsed time of the whole.

    A day on which one part ends and the next begins stands in both where the clock ran in both.
    """
    steps: list[TraceStep] = []
    begin, before = found.start, None
    for number, (limit, end) in enumerate(zip((found.limit, *found.extra), found.ends, strict=True)):
        goes_on = before is limit.count is Count.WORKING_DAYS
        days = _days(found, limit, begin, end, part=number, goes_on=goes_on)
        if number:
            days = [step for step in days if step.ran or step.day != begin.date()]
        steps += days
        begin, before = end, limit.count
    return tuple(steps)


def _days(found: Due, limit: Limit, start: datetime, end: datetime, *, part: int, goes_on: bool) -> list[TraceStep]:
    """Return the days of one limit on the way."""
    calendar, measure = found.work.calendar, _measure(limit, found.work)
    spans = standing(measure, found.pauses)
    by_day = limit.count in (Count.WORKING_DAYS, Count.NATURAL_DAYS) and not goes_on
    last_counted = _last_day(limit, start, found.pauses) if limit.count is Count.NATURAL_DAYS else end.date()
    steps: list[TraceStep] = []
    for offset in range((end.date() - start.date()).days + 1):
        day = start.date() + timedelta(offset)
        midnight_after = datetime(day.year, day.month, day.day, tzinfo=end.tzinfo) + timedelta(1)
        first = measure.at(max(start, midnight_after - timedelta(1)))
        last = measure.at(min(end, midnight_after))
        paused = stood(spans, first, last)
        ran = last - first - paused
        why, name = calendar.why(day)
        counted = ran > 0 or limit.count is Count.AT_ONCE
        if by_day and offset == 0:
            why = N_("day on which the extension begins, not counted") if part else N_("day of intake, not counted")
            name, counted = "", False
        elif limit.count is Count.NATURAL_DAYS:
            counted = counted and day <= last_counted
            if day > last_counted and day == end.date():
                why = N_("the last day was not worked, so the next working day is the last")
        elif measure is _CLOCK:
            why, name = N_("round the clock"), ""
        steps.append(
            TraceStep(day, counted, why, name, timedelta(microseconds=ran), timedelta(microseconds=paused), part)
        )
    return steps


@dataclass(frozen=True, slots=True)
class LimitRule:
    """One row of the limits table: the limit of a clock for a kind, an urgency, a category subtree, an item."""

    clock: str
    limit: Limit
    #: Empty for every kind, urgency or category.
    kind: str = ""
    urgency: str = ""
    #: Prefix of category codes.
    category: str = ""
    #: Prefix of codes of service items 事项编码.
    item: str = ""
    #: Where it was written, for messages.
    id: str = ""


class LimitTable:
    """The limits of a district: the most specific row wins, by item, then category, urgency, kind."""

    def __init__(self, rules: Iterable[LimitRule]) -> None:
        self._rows: dict[str, list[LimitRule]] = {}
        seen: set[tuple[str, ...]] = set()
        for rule in rules:
            key = (rule.clock, rule.item, rule.category, rule.urgency, rule.kind)
            if key in seen:
                raise Invalid("Two limits of {clock} are for the same matters: {id}.", clock=rule.clock, id=rule.id)
            seen.add(key)
            self._rows.setdefault(rule.clock, []).append(rule)
        for rows in self._rows.values():
            rows.sort(key=lambda r: (-len(r.item), -len(r.category), not r.urgency, not r.kind))
            last = rows[-1]
            if last.item or last.category or last.urgency or last.kind:
                raise Invalid("{clock} has no limit for matters that no row names.", clock=last.clock)

    @property
    def clocks(self) -> frozenset[str]:
        """The clocks that have limits."""
        return frozenset(self._rows)

    def limit(self, clock: str, *, kind: str = "", urgency: str = "", category: str = "", item: str = "") -> Limit:
        """Return the limit of a clock; a kind such as `complex` or `enquiry`. Raises Invalid for an unknown clock."""
        for rule in self._rows.get(clock, ()):
            if (
                item.startswith(rule.item)
                and category.startswith(rule.category)
                and rule.urgency in ("", urgency)
                and rule.kind in ("", kind)
            ):
                return rule.limit
        raise Invalid("There is no limit for the clock {clock}.", clock=clock)


def read_limits(path: Path) -> list[LimitRule]:
    """Return the rows of a limits table in YAML; raises Invalid with file and line."""
    rules = []
    for table in parse_yaml(read_text(path), file=path.name):
        table.only("limits")
        table.need("limits")
        for number, row in enumerate(table.rows("limits"), start=1):
            row.only("clock", "limit", "kind", "urgency", "category", "item", "note")
            row.need("clock", "limit")
            try:
                limit = Limit.parse(str(row["limit"]))
            except Invalid:
                row.reject("{file}, line {line}: {limit} is no limit.", column="limit", limit=str(row["limit"]))
            matters = {name: str(row.get(name, "")) for name in ("kind", "urgency", "category", "item")}
            rules.append(LimitRule(str(row["clock"]), limit, **matters, id=f"default-{number}"))
    return rules


@cache
def _shipped() -> tuple[LimitRule, ...]:
    return tuple(read_limits(Path(__file__).parent / "processes" / "limits.yaml"))


@cache
def default_limits() -> LimitTable:
    """Return the limits shipped with the program; a district's own table replaces them, clock by clock."""
    return LimitTable(_shipped())


def with_defaults(rules: Iterable[LimitRule]) -> LimitTable:
    """Return a district's limits, with the shipped ones for clocks that it does not name. Raises Invalid."""
    own = list(rules)
    named = {rule.clock for rule in own}
    return LimitTable([*own, *(rule for rule in _shipped() if rule.clock not in named)])

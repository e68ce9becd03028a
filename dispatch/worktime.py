"""Working time as a number line: where a moment stands on it, and which moment a place on it is.

Working time runs only in office hours of working days. Knows one calendar and one set of office hours; knows nothing of
limits. Places are whole microseconds, so that sums of parts equal the whole exactly.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol

from core.errors import Invalid
from dispatch.calendar import CHINA, FIRST, OfficeHours, WorkCalendar, china_time

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Spans during which a clock stood 挂起, as aware (from, to); they may overlap and come in any order.
Pauses = Iterable[tuple[datetime, datetime]]


def day_us(moment: time | datetime) -> int:
    """Return the microseconds since midnight of a time of day."""
    return ((moment.hour * 60 + moment.minute) * 60 + moment.second) * 1_000_000 + moment.microsecond


class Measure(Protocol):
    """A number line of time in whole microseconds that never runs backwards."""

    def at(self, moment: datetime) -> int:
        """Return where an aware moment stands; raises Invalid on a naive one."""

    def when(self, place: int) -> datetime:
        """Return the earliest moment that stands there, on China's clock."""


class ClockTime:
    """Round-the-clock time, for limits in clock hours and natural days."""

    def at(self, moment: datetime) -> int:
        """Return the microseconds since 1970; raises Invalid on a naive moment."""
        return (china_time(moment) - _EPOCH) // _MICROSECOND

    def when(self, place: int) -> datetime:
        """Return the moment on China's clock."""
        return (_EPOCH + timedelta(microseconds=place)).astimezone(CHINA)


class WorkTime:
    """The working time of one calendar and one set of office hours. Immutable: build once, share."""

    def __init__(self, calendar: WorkCalendar, hours: OfficeHours | None = None) -> None:
        self.calendar = calendar
        self.hours = hours or OfficeHours()
        spans: list[tuple[int, int, int]] = []
        total = 0
        for start, end in self.hours.spans:
            spans.append((day_us(start), day_us(end), total))
            total += day_us(end) - day_us(start)
        #: (from, to, working time of the day before it), microseconds since midnight.
        self._spans = tuple(spans)
        #: Working time of one working day.
        self.per_day = total
        self.closes_us = day_us(self.hours.closes)

    def at(self, moment: datetime) -> int:
        """Return the working time from the calendar's first day until an aware moment; raises Invalid."""
        local = china_time(moment)
        calendar = self.calendar
        i = calendar.index(local)
        place = calendar.before[i] * self.per_day
        if calendar.worked[i]:
            now = day_us(local)
            for start, end, earlier in self._spans:
                if now <= start:
                    return place + earlier
                if now < end:
                    return place + earlier + now - start
            return place + self.per_day
        return place

    def when(self, place: int) -> datetime:
        """Return the earliest moment with that much working time: always in office hours, their end included.

        place: greater than 0. Raises Invalid beyond the calendar's end.
        """
        number, rest = divmod(place - 1, self.per_day)
        rest += 1
        days = self.calendar.days
        if not 0 <= number < len(days):
            raise Invalid("The limit leads outside the calendar.")
        for start, end, earlier in self._spans:
            if rest <= earlier + end - start:
                return self.moment(days[number], start + rest - earlier)
        raise AssertionError(place)

    def moment(self, index: int, us: int) -> datetime:
        """Return the moment of a day (its place in the calendar's arrays) and a time of day."""
        return _FIRST_MIDNIGHT + timedelta(index, 0, us)

    def is_office_time(self, moment: datetime) -> bool:
        """Return whether somebody is at work, both ends of the office hours included."""
        local = china_time(moment)
        now = day_us(local)
        return self.calendar.is_working(local.date()) and any(a <= now <= b for a, b, _ in self._spans)

    def next_working_day(self, day: date) -> date:
        """Return the day itself where it is worked, else the next that is."""
        number = self.calendar.before[self.calendar.index(day)]
        if number >= len(self.calendar.days):
            raise Invalid("The limit leads outside the calendar.")
        return FIRST + timedelta(self.calendar.days[number])


#: Adding to a time with a zone moves the wall clock, which is right here: no day of the calendar is cut or doubled.
_FIRST_MIDNIGHT = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=CHINA)


def standing(measure: Measure, pauses: Pauses) -> list[tuple[int, int]]:
    """Return the spans in which the clock stood, on the measure's line: in order, apart, empty ones left out.

    Raises Invalid on a pause that ends before it begins.
    """
    found: list[tuple[int, int]] = []
    for start, end in pauses:
        if end < start:
            raise Invalid("A pause ends before it begins.")
        first, last = measure.at(start), measure.at(end)
        if first < last:
            found.append((first, last))
    found.sort()
    merged: list[tuple[int, int]] = []
    for first, last in found:
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def stood(spans: Iterable[tuple[int, int]], first: int, last: int) -> int:
    """Return for how long the clock stood between two places of its line."""
    return sum(max(0, min(b, last) - max(a, first)) for a, b in spans)


def advance(origin: int, amount: int, spans: Iterable[tuple[int, int]]) -> int:
    """Return the place where `amount` has run since `origin`, the clock standing in `spans` (in order, apart)."""
    target = origin + amount
    for a, b in spans:
        if a >= target:
            break
        target += max(0, b - max(a, origin))
    return target

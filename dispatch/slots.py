"""When a window is open 开放时段: from its pattern, the working calendar and its days off to slots; no database."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from core.errors import Invalid
from dispatch.calendar import CHINA, OfficeHours
from dispatch.worktime import WorkTime

#: Monday to Friday, as `weekdays` of a window writes them: 1 is Monday.
_WEEK = frozenset(range(1, 6))
#: *Defaults* of `Terms`.
_DAYS, _MOST = 14, 3


@dataclass(frozen=True, slots=True)
class Pattern:
    """How a window is open, as data."""

    #: `1-5`, `2,4`; empty: every working day.
    weekdays: str
    #: `09:00-11:30,14:00-16:00`; empty: the district's office hours. What lies outside those is no working time.
    hours: str
    slot_min: int
    #: Home visits: the way to the next door; nothing is given out in it.
    travel_min: int
    #: How many are received at once: desks of a window, teams of a home service.
    capacity: int


@dataclass(frozen=True, slots=True)
class Slot:
    """One time that can be booked; aware, China's clock."""

    starts_at: datetime
    ends_at: datetime
    #: The end, and the way to the next door.
    busy_until: datetime
    #: Seats from 1 that nobody holds.
    free: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """One seat that somebody holds, and for how long; also from before the pattern was changed."""

    starts_at: datetime
    busy_until: datetime
    seat: int


@dataclass(frozen=True, slots=True)
class Terms:
    """How far ahead and how often one may book; the district's settings, else the *defaults*."""

    #: Natural days after today: setting `appointment_days`.
    days: int = _DAYS
    #: Appointments of one telephone number that are still to come: setting `appointment_most`.
    most: int = _MOST


def terms(settings: Mapping[str, Any]) -> Terms:
    """Return the district's terms; raises Invalid for settings that are no whole numbers in range."""
    chosen = {}
    for name, least, greatest, default in (("days", 0, 180, _DAYS), ("most", 1, 50, _MOST)):
        value = settings.get(f"appointment_{name}", default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= greatest:
            raise Invalid(
                "The setting {setting} must be a whole number from {least} to {greatest}.",
                setting=f"appointment_{name}",
                least=least,
                greatest=greatest,
            )
        chosen[name] = value
    return Terms(**chosen)


def weekdays_of(written: str) -> frozenset[int]:
    """Return the days of the week, 1 Monday to 7 Sunday, of `1-5` or `2,4`; empty for empty. Raises Invalid."""
    found: set[int] = set()
    for part in written.replace(" ", "").split(",") if written.strip() else ():
        first, to, last = part.partition("-")
        last = last if to else first
        if not (first in "1234567" and last in "1234567" and len(first) == len(last) == 1 and first <= last):
            raise Invalid("{days} are no days of the week; write 1-5 or 2,4.", field="weekdays", days=written[:20])
        found.update(range(int(first), int(last) + 1))
    return frozenset(found)


def check(pattern: Pattern) -> None:
    """Raise Invalid for a pattern that cannot be taken."""
    weekdays_of(pattern.weekdays)
    if pattern.hours:
        OfficeHours.parse(pattern.hours)


def is_open(pattern: Pattern, day: date, work: WorkTime) -> bool:
    """Return whether a window is open on a day: a working day of the calendar that its weekdays name.

    A weekend day worked instead 调休 is nobody's weekday: who is open from Monday to Friday is open on it.
    """
    if not work.calendar.is_working(day):
        return False
    named = weekdays_of(pattern.weekdays)
    weekday = day.isoweekday()
    return not named or weekday in named or (weekday > 5 and named >= _WEEK)


def times(pattern: Pattern, day: date, work: WorkTime) -> Iterator[tuple[datetime, datetime, datetime]]:
    """Yield (from, to, busy until) of every slot of a day, in order; nothing on a day that is not worked."""
    if not is_open(pattern, day, work):
        return
    lasts, step = timedelta(minutes=pattern.slot_min), timedelta(minutes=pattern.slot_min + pattern.travel_min)
    for opens, closes in _spans(pattern, work):
        start, end = datetime.combine(day, opens, CHINA), datetime.combine(day, closes, CHINA)
        while start + lasts <= end:
            yield start, start + lasts, start + step
            start += step


def _spans(pattern: Pattern, work: WorkTime) -> list[tuple[time, time]]:
    """Return the window's hours as far as they are office hours."""
    if not pattern.hours:
        return list(work.hours.spans)
    cut = [
        (max(a, start), min(b, end))
        for a, b in OfficeHours.parse(pattern.hours).spans
        for start, end in work.hours.spans
    ]
    return sorted((start, end) for start, end in cut if start < end)


def slots(pattern: Pattern, day: date, work: WorkTime, held: Iterable[Held], *, at: datetime) -> list[Slot]:
    """Return the slots of a day that have not begun, with the seats that are free; full ones have none.

    held: every seat that is held on that day. A seat that is held over any part of a slot is not free in it, so that
    what was booked under an older pattern keeps its time.
    """
    taken = list(held)
    found = []
    for start, end, busy in times(pattern, day, work):
        if start <= at:
            continue
        gone = {one.seat for one in taken if one.starts_at < busy and start < one.busy_until}
        found.append(Slot(start, end, busy, tuple(n for n in range(1, pattern.capacity + 1) if n not in gone)))
    return found

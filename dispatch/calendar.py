"""The working calendar 工作日历 of China: which days are worked, by which notice, and during which hours.

Knows the State Council's yearly notices 放假安排 (from `dispatch/notices/` or a district's files) and office hours.
Knows nothing of limits and cases, and never asks what day it is.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from core.errors import Invalid
from dispatch.tables import SPREADSHEETS, Row, parse_csv, parse_yaml, read_excel, read_text
from dispatch.words import N_

#: The one time zone of China; everything is stored in UTC and counted and shown in this.
CHINA = ZoneInfo("Asia/Shanghai")
#: The days the calendar can count over. China has had no summer time since 1991, so that every day has 24 hours.
FIRST, LAST = date(2000, 1, 1), date(2060, 12, 31)
NOTICES = Path(__file__).parent / "notices"

#: Every notice speaks of these; two that meet are named together (国庆节、中秋节).
_HOLIDAYS = ("元旦", "春节", "清明", "劳动", "端午", "中秋", "国庆")
#: Fixed statutory days (month, day). Source: 全国年节及纪念日放假办法.
_FIXED = ((1, 1), (5, 1), (10, 1), (10, 2), (10, 3))
#: Days between a make-up day and the nearest day off; 6 was the most in 2020 to 2026.
_NEAR = 15
_OFF_WORDS = ("off", "休", "放假")
_WORK_WORDS = ("work", "班", "上班", "调休上班")


def china_time(moment: datetime) -> datetime:
    """Return an aware moment on China's clock; raises Invalid on a naive one."""
    if moment.tzinfo is None:
        raise Invalid("The time {moment} does not say its time zone.", moment=moment.isoformat())
    try:
        return moment.astimezone(CHINA)
    except OverflowError as error:
        raise Invalid("The time {moment} is outside the calendar.", moment=moment.isoformat()) from error


def statutory_days(year: int) -> int:
    """Return how many paid holidays the law gives in a year: 13 since 2025, 11 since 2008, 10 before."""
    return 13 if year >= 2025 else 11 if year >= 2008 else 10


@dataclass(frozen=True, slots=True)
class Notice:
    """One year's notice: which days are off and which weekend days are worked instead."""

    year: int
    #: Day off → name of the holiday; weekends inside a holiday are listed too. May spill over the turn of the year.
    off: Mapping[date, str]
    #: Weekend days worked instead 调休.
    work: frozenset[date] = frozenset()
    #: Number of the document, as published.
    source: str = ""
    #: Rises when the State Council changes a year's plan afterwards, as in 2020.
    version: int = 1


@dataclass(frozen=True, slots=True)
class OfficeHours:
    """The hours that count on a working day, as (from, to) spans in order; the lunch break is the gap between two."""

    spans: tuple[tuple[time, time], ...] = ((time(9), time(12)), (time(14), time(17, 30)))

    def __post_init__(self) -> None:
        flat = [moment for span in self.spans for moment in span]
        if not flat or any(b <= a for a, b in pairwise(flat)) or any(m.tzinfo for m in flat):
            raise Invalid("Office hours must be spans in rising order within one day, such as 09:00-12:00,14:00-17:30.")

    @classmethod
    def parse(cls, text: str) -> "OfficeHours":
        """Return the hours written as `09:00-12:00,14:00-17:30`; raises Invalid."""
        try:
            spans = tuple(
                (time.fromisoformat(start.strip()), time.fromisoformat(end.strip()))
                for start, end in (span.split("-") for span in text.split(","))
            )
        except ValueError as error:
            raise Invalid("{hours} are no office hours; write 09:00-12:00,14:00-17:30.", hours=text) from error
        return cls(spans)

    @property
    def opens(self) -> time:
        """The beginning of the office day."""
        return self.spans[0][0]

    @property
    def closes(self) -> time:
        """The end of the office day, when limits in days run out."""
        return self.spans[-1][1]


@dataclass(frozen=True, slots=True, eq=False)
class WorkCalendar:
    """Answers which days are worked. Immutable; build one per set of notices and share it.

    Days are indexed from FIRST; the arrays make every count of working days one subtraction.
    """

    notices: Mapping[int, Notice]
    off: Mapping[date, str]
    work: frozenset[date]
    #: worked[i]: 1 when day FIRST + i is worked.
    worked: bytes = field(repr=False)
    #: before[i]: number of working days before day FIRST + i; one longer than `worked`.
    before: tuple[int, ...] = field(repr=False)
    #: days[k]: index of the k-th working day, k from 0.
    days: tuple[int, ...] = field(repr=False)

    @classmethod
    def from_notices(cls, notices: Iterable[Notice]) -> "WorkCalendar":
        """Return the calendar of these notices; of two for one year the higher version counts.

        Raises Invalid when two notices of one year have the same version, or when one says off where another says work.
        """
        chosen: dict[int, Notice] = {}
        for notice in sorted(notices, key=lambda n: (n.year, n.version)):
            held = chosen.get(notice.year)
            if held is not None and held.version == notice.version:
                raise Invalid(
                    "There are two notices for {year} with version {version}.", year=notice.year, version=notice.version
                )
            chosen[notice.year] = notice
        off = {day: name for notice in chosen.values() for day, name in notice.off.items()}
        work = frozenset(day for notice in chosen.values() for day in notice.work)
        for day in sorted(work & off.keys()):
            raise Invalid("The notices say both off and work for {day}.", day=day.isoformat())
        worked = bytearray((FIRST + timedelta(i)).weekday() < 5 for i in range((LAST - FIRST).days + 1))
        for day, value in [*((d, 0) for d in off), *((d, 1) for d in work)]:
            if FIRST <= day <= LAST:
                worked[(day - FIRST).days] = value
        return cls(
            notices=chosen,
            off=off,
            work=work,
            worked=bytes(worked),
            before=tuple(accumulate(worked, initial=0)),
            days=tuple(i for i, value in enumerate(worked) if value),
        )

    def index(self, day: date) -> int:
        """Return the place of a day (or of a moment's day) in the arrays; raises Invalid outside FIRST to LAST."""
        i = day.toordinal() - _ORIGIN
        if not 0 <= i < len(self.worked):
            raise Invalid("The date {day} is outside the calendar.", day=str(day))
        return i

    def is_working(self, day: date) -> bool:
        """Return whether the day is worked; raises Invalid outside the calendar."""
        return self.worked[self.index(day)] == 1

    def notice_of(self, day: date) -> Notice | None:
        """Return the notice that rules the day: the one that names it, else its year's; None where none was loaded."""
        for year in (day.year + 1, day.year - 1):
            notice = self.notices.get(year)
            if notice is not None and (day in notice.off or day in notice.work):
                return notice
        return self.notices.get(day.year)

    def is_provisional(self, first: date, last: date) -> bool:
        """Return whether any day from `first` to `last` lies in a year whose notice is not loaded."""
        if first.year == last.year:
            return first.year not in self.notices
        return any(year not in self.notices for year in range(first.year, last.year + 1))

    def why(self, day: date) -> tuple[str, str]:
        """Return why a day is worked or not: an English msgid and the holiday's Chinese name, empty for none."""
        name = self.off.get(day, "")
        if name:
            return N_("public holiday"), name
        if day in self.work:
            return N_("make-up working day"), ""
        reason = N_("working day") if day.weekday() < 5 else N_("weekend")
        return reason, ""

    def working_days(self, first: date, last: date) -> int:
        """Return how many days from `first` to `last` are worked, both included."""
        return self.before[self.index(last) + 1] - self.before[self.index(first)]

    def differs(self, other: "WorkCalendar") -> tuple[date, ...]:
        """Return the days that are worked in one calendar only: what a newly loaded notice changes."""
        pairs = enumerate(zip(self.worked, other.worked, strict=True))
        return tuple(FIRST + timedelta(i) for i, (mine, theirs) in pairs if mine != theirs)


_ORIGIN = FIRST.toordinal()


def read_notice(path: Path) -> Notice:
    """Return the checked notice of a YAML, CSV or Excel file (`docs/formats.md`); raises Invalid with file and line."""
    if path.suffix.lower() in SPREADSHEETS:
        return notice_of_days(read_excel(path), file=path.name)
    if path.suffix.lower() == ".csv":
        return notice_of_days(parse_csv(read_text(path), file=path.name), file=path.name)
    documents = parse_yaml(read_text(path), file=path.name)
    if len(documents) != 1:
        raise Invalid("{file} must hold exactly one notice.", file=path.name)
    return notice_of_table(documents[0])


def notice_of_table(table: Row) -> Notice:
    """Return the checked notice of a YAML document: holidays as spans with their length and their make-up days.

    Raises Invalid with file and line on overlaps, duplicates, missing days and anything `check_notice` finds.
    """
    table.only("year", "version", "source", "extra_days", "holidays")
    table.need("year", "source", "holidays")
    year, extra = table.whole("year") or 0, table.whole("extra_days") or 0
    version = table.whole("version") or 1
    if not FIRST.year <= year <= LAST.year:
        table.reject("{file}, line {line}: {year} is outside the calendar.", column="year", year=year)
    off: dict[date, str] = {}
    work: dict[date, Row] = {}
    rows: dict[date, Row] = {}
    for row in table.rows("holidays"):
        row.only("name", "from", "to", "days", "work")
        row.need("name", "from", "to", "days")
        first, last, made_up = row["from"], row["to"], row.get("work") or []
        if not isinstance(made_up, list) or not all(_is_day(d) for d in (first, last, *made_up)):
            row.reject("{file}, line {line}: dates must be written as 2026-10-01.")
        length = (last - first).days + 1
        if length != row["days"] or not 1 <= length <= 20:
            row.reject(
                "{file}, line {line}: {first} to {last} are {length} days, not {days}: a day is missing or too many.",
                first=first.isoformat(),
                last=last.isoformat(),
                length=length,
                days=row["days"],
            )
        for i in range(length):
            day = first + timedelta(i)
            if day in off:
                row.reject("{file}, line {line}: {day} already belongs to {name}.", day=day.isoformat(), name=off[day])
            off[day], rows[day] = str(row["name"]), row
        for day in made_up:
            if day in work:
                row.reject("{file}, line {line}: {day} stands twice.", day=day.isoformat())
            work[day] = row
    notice = Notice(year, off, frozenset(work), str(table["source"]), version)
    check_notice(notice, rows={**work, **rows}, file=table.file, extra_days=extra)
    return notice


def notice_of_days(rows: Iterable[Row], *, file: str) -> Notice:
    """Return the checked notice of rows, one a day: `date`, `kind` (off/休 or work/班), `name`.

    `source`, `version` and `extra_days` may stand in any row. The year is the one that most dates lie in.

    Raises Invalid with file and line on duplicates, gaps inside a holiday and anything `check_notice` finds.
    """
    off: dict[date, str] = {}
    work: set[date] = set()
    seen: dict[date, Row] = {}
    said: dict[str, str] = {}
    for row in rows:
        row.only("date", "kind", "name", "source", "version", "extra_days")
        row.need("date", "kind")
        try:
            day = date.fromisoformat(str(row["date"]))
        except ValueError:
            row.reject("{file}, line {line}: dates must be written as 2026-10-01.", column="date")
        if day in seen:
            row.reject("{file}, line {line}: {day} stands twice.", column="date", day=day.isoformat())
        seen[day] = row
        if row["kind"] in _OFF_WORDS:
            row.need("name")
            off[day] = row["name"]
        elif row["kind"] in _WORK_WORDS:
            work.add(day)
        else:
            row.reject("{file}, line {line}: {kind} is neither off nor work.", column="kind", kind=row["kind"])
        said |= {name: row[name] for name in ("source", "version", "extra_days") if row.get(name)}
    if not off:
        raise Invalid("{file} names no day off.", file=file)
    for name in set(off.values()):
        days = sorted(day for day in off if off[day] == name)
        for before, after in pairwise(days):
            if (after - before).days != 1:
                seen[after].reject(
                    "{file}, line {line}: {name} has a gap before {day}.", name=name, day=after.isoformat()
                )
    year = Counter(day.year for day in seen).most_common(1)[0][0]
    if not FIRST.year <= year <= LAST.year:
        raise Invalid("{file}: {year} is outside the calendar.", file=file, year=year)
    try:
        version, extra = int(said.get("version", "1")), int(said.get("extra_days", "0"))
    except ValueError as error:
        raise Invalid("{file}: version and extra_days must be whole numbers.", file=file) from error
    notice = Notice(year, off, frozenset(work), said.get("source", file), version)
    check_notice(notice, rows=seen, file=file, extra_days=extra)
    return notice


def check_notice(notice: Notice, *, rows: Mapping[date, Row], file: str, extra_days: int = 0) -> None:
    """Raise Invalid, naming file and line, unless the notice can be what the State Council published.

    A make-up day is a weekend day near a holiday and not off; days lie in the year, or within three days of its turn;
    all seven holidays and the fixed days are there; and weekdays off less make-up days are exactly the statutory
    holidays (plus `extra_days` that a later notice granted), which finds any single weekday that was forgotten.
    """
    first, last = date(notice.year - 1, 12, 29), date(notice.year + 1, 1, 3)
    for day in sorted({*notice.off, *notice.work}):
        if not first <= day <= last:
            rows[day].reject(
                "{file}, line {line}: {day} is outside the year {year}.", day=day.isoformat(), year=notice.year
            )
    for day in sorted(notice.work):
        if day in notice.off:
            rows[day].reject("{file}, line {line}: {day} is both off and worked.", day=day.isoformat())
        if (day.month, day.day) in _FIXED:
            rows[day].reject("{file}, line {line}: the make-up day {day} is a public holiday.", day=day.isoformat())
        if day.weekday() < 5:
            rows[day].reject("{file}, line {line}: the make-up day {day} is no weekend day.", day=day.isoformat())
        if not any(abs((day - other).days) <= _NEAR for other in notice.off):
            rows[day].reject("{file}, line {line}: no holiday is near the make-up day {day}.", day=day.isoformat())
    named = " ".join(notice.off.values())
    for word in _HOLIDAYS:
        if word not in named:
            raise Invalid("{file}: the holiday {name} is missing.", file=file, name=word)
    for month, number in _FIXED:
        if date(notice.year, month, number) not in notice.off:
            raise Invalid(
                "{file}: {day} is a statutory holiday and is missing.",
                file=file,
                day=date(notice.year, month, number).isoformat(),
            )
    given = sum(day.weekday() < 5 for day in notice.off) - len(notice.work)
    lawful = statutory_days(notice.year) + extra_days
    if given != lawful:
        raise Invalid(
            "{file}: weekdays off less make-up days are {given}, the law gives {lawful}: a day is missing or too many.",
            file=file,
            given=given,
            lawful=lawful,
        )


def _is_day(value: object) -> bool:
    return isinstance(value, date) and not isinstance(value, datetime)


@cache
def national_calendar() -> WorkCalendar:
    """Return the calendar of the notices shipped with the program, 2020 to 2026."""
    return WorkCalendar.from_notices(read_notice(path) for path in sorted(NOTICES.glob("*.yaml")))

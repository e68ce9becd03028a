"""Limits are counted as the law and the district's table say; checked against a second, minute-stepping counting."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import permutations

import holidays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from dispatch.calendar import CHINA, OfficeHours, national_calendar
from dispatch.limits import (
    Count,
    Limit,
    LimitRule,
    LimitTable,
    default_limits,
    due,
    elapsed,
    read_limits,
    share,
    warn_times,
)
from dispatch.worktime import WorkTime

WORK = WorkTime(national_calendar())
ORIGIN = datetime(2020, 1, 1, tzinfo=CHINA)
DAYS = 2557  # 2020 to 2026
MINUTE = timedelta(minutes=1)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=CHINA)


def due_of(start, limit, pauses=()):
    return due(start, Limit.parse(limit), work=WORK, pauses=pauses)


# --- A second counting that shares no code with the first: every minute of seven years, worked or not. ---


@cache
def worked_days():
    peer = holidays.country_holidays("CN", years=range(2020, 2028))
    return np.array([peer.is_working_day(ORIGIN.date() + timedelta(i)) for i in range(DAYS)])


@cache
def worked_minutes():
    day = np.zeros(1440, dtype=bool)
    day[9 * 60 : 12 * 60] = True
    day[14 * 60 : 17 * 60 + 30] = True
    return np.outer(worked_days(), day).ravel()


def minute(moment):
    return int((moment - ORIGIN) / MINUTE)


def step_minutes(first, count, pauses=()):
    """Walk worked minutes from `first` until `count` have passed; return the minute at whose end that is."""
    worked = worked_minutes()[first : first + 80 * 1440].copy()
    for a, b in pauses:
        worked[max(0, minute(a) - first) : max(0, minute(b) - first)] = False
    return ORIGIN + (first + int(np.flatnonzero(worked)[count - 1]) + 1) * MINUTE


def slow_due(start, limit, pauses=()):
    midnight = minute(start) - minute(start) % 1440 + 1440
    match limit.count:
        case Count.WORKING_HOURS:
            return step_minutes(minute(start), limit.amount * 60, pauses)
        case Count.WORKING_DAYS:
            return step_minutes(midnight, limit.amount * 390, pauses)
        case Count.SAME_DAY:
            rest = int(worked_minutes()[minute(start) : midnight].sum())
            return step_minutes(minute(start), rest or 390, pauses)
        case Count.NATURAL_DAYS:
            day = midnight // 1440 + limit.amount - 1
            while not worked_days()[day]:
                day += 1
            return ORIGIN + timedelta(days=day, hours=17, minutes=30)
        case Count.CLOCK_HOURS:
            return start + timedelta(hours=limit.amount)
    return start


@pytest.mark.parametrize(
    "written", ["0", "sd", "1h", "24h", "1wh", "4wh", "13wh", "1wd", "3wd", "5wd", "15wd", "1nd", "15nd"]
)
def test_every_day_of_2020_to_2026_agrees_with_stepping_through_minutes(written):
    limit = Limit.parse(written)
    # Another time of day each day, office hours, lunch break and night among them; every minute comes in turn.
    starts = [ORIGIN + timedelta(days=i, minutes=i * 97 % 1440) for i in range(DAYS - 50)]
    wrong = [(s, due(s, limit, work=WORK).at, slow_due(s, limit)) for s in starts]
    assert [row for row in wrong if row[1] != row[2]] == []


# --- Examples that a clerk could check by hand. ---


@pytest.mark.parametrize(
    ("start", "limit", "expected"),
    [
        ("2026-09-24T16:00", "4wh", "2026-09-28T11:30"),  # Mid-Autumn Festival and its weekend do not count
        ("2026-09-30T16:30", "1wd", "2026-10-08T17:30"),  # National Day
        ("2026-10-08T08:00", "2wd", "2026-10-10T17:30"),  # the Saturday is worked
        ("2024-02-02T10:00", "3wd", "2024-02-06T17:30"),  # Sunday 4 February 2024 is worked
        ("2026-03-02T11:30", "1wh", "2026-03-02T14:30"),  # over the lunch break
        ("2026-03-02T11:00", "1wh", "2026-03-02T12:00"),  # not at 14:00: the hour was full at noon
        ("2026-03-06T17:30", "1wh", "2026-03-09T10:00"),
        ("2026-03-07T03:00", "24h", "2026-03-08T03:00"),  # round the clock, Saturday or not
        ("2026-03-02T10:00", "sd", "2026-03-02T17:30"),
        ("2026-03-06T20:00", "sd", "2026-03-09T17:30"),
        ("2026-09-20T10:00", "15nd", "2026-10-08T17:30"),  # the 15th day is 5 October, a holiday
        ("2026-03-02T10:00", "0", "2026-03-02T10:00"),
    ],
)
def test_known_deadline(start, limit, expected):
    assert due_of(at(start), limit).at == at(expected)


def test_start_in_another_zone_is_the_same_moment():
    start = datetime(2026, 3, 2, 2, tzinfo=UTC)
    assert due_of(start, "4wh").at == at("2026-03-02T16:00")


def test_naive_times_are_refused():
    naive = datetime(2026, 3, 2, 10)  # noqa: DTZ001  the naive time is the point
    for written in ("0", "sd", "4wh", "5wd", "15nd", "1h"):
        with pytest.raises(Invalid):
            due_of(naive, written)
    with pytest.raises(Invalid):
        due_of(at("2026-03-02T10:00"), "4wh", [(naive, naive)])


def test_deadline_over_a_year_without_notice_is_provisional():
    assert due_of(at("2026-12-30T10:00"), "5wd").provisional
    assert not due_of(at("2026-12-30T10:00"), "1wd").provisional
    assert not due_of(at("2026-12-31T23:00"), "4h").provisional


def test_deadline_beyond_the_calendar_is_refused():
    with pytest.raises(Invalid, match="outside the calendar"):
        due_of(at("2060-12-01T10:00"), "900wd")
    with pytest.raises(Invalid, match="outside the calendar"):
        due_of(at("2060-12-31T10:00"), "1nd")


@pytest.mark.parametrize("text", ["", "5", "wd", "0wd", "-1wd", "5 wd", "5d", "1.5wh", "99999wd", "５wd", "5WD", "1h2"])
def test_limit_that_is_none_is_refused(text):
    with pytest.raises(Invalid):
        Limit.parse(text)


@pytest.mark.parametrize("text", ["0", "sd", "4wh", "5wd", "15nd", "24h"])
def test_limit_is_written_as_it_was_read(text):
    limit = Limit.parse(text)
    assert str(limit) == text
    assert limit.words.format(count=limit.amount)


def test_trace_says_of_each_day_whether_it_counted_and_why():
    steps = due_of(at("2026-09-24T16:00"), "3wd").trace
    assert [(s.day.day, s.counted, s.name) for s in steps] == [
        (24, False, ""),
        (25, False, "中秋节"),
        (26, False, "中秋节"),
        (27, False, "中秋节"),
        (28, True, ""),
        (29, True, ""),
        (30, True, ""),
    ]
    assert steps[0].why == "day of intake, not counted"


def test_trace_of_natural_days_says_why_the_last_day_moved():
    steps = due_of(at("2026-09-20T10:00"), "15nd").trace
    assert [s.counted for s in steps] == [False, *[True] * 15, False, False, False]
    assert [s.day.day for s in steps if s.why.startswith("the last day was not worked")] == [8]
    assert [s.name for s in steps[-3:]] == ["国庆节", "国庆节", ""]


@pytest.mark.parametrize(
    ("moment", "worked"),
    [
        ("2026-03-02T09:00", True),
        ("2026-03-02T12:00", True),
        ("2026-03-02T17:30", True),
        ("2026-03-02T08:59", False),
        ("2026-03-02T13:00", False),
        ("2026-03-02T17:31", False),
        ("2026-10-01T10:00", False),  # a holiday
        ("2026-03-07T10:00", False),  # a Saturday
        ("2026-10-10T10:00", True),  # a Saturday that is worked
    ],
)
def test_office_time_needs_both_the_day_and_the_hour(moment, worked):
    assert WORK.is_office_time(at(moment)) == worked


def test_pause_lengthens_by_what_would_have_counted():
    start, plain = at("2026-03-02T10:00"), at("2026-03-09T17:30")
    assert due_of(start, "5wd").at == plain
    lunch = [(at("2026-03-03T12:00"), at("2026-03-03T14:00"))]
    night = [(at("2026-03-06T17:30"), at("2026-03-09T09:00"))]
    assert due_of(start, "5wd", lunch + night).at == plain
    two_hours = [(at("2026-03-03T09:00"), at("2026-03-03T11:00"))]
    assert due_of(start, "5wd", two_hours).at == at("2026-03-10T11:00")
    # The rest of the first day never counted, so a pause in it gives nothing; nor does one after the deadline.
    assert due_of(start, "5wd", [(at("2026-03-02T11:00"), at("2026-03-02T17:00"))]).at == plain
    assert due_of(start, "5wd", [(at("2026-03-10T09:00"), at("2026-03-20T17:00"))]).at == plain


def test_pause_that_ends_before_it_begins_is_refused():
    with pytest.raises(Invalid):
        due_of(at("2026-03-02T10:00"), "5wd", [(at("2026-03-04T10:00"), at("2026-03-03T10:00"))])


def test_warnings_come_at_half_four_fifths_and_the_end():
    found = due_of(at("2026-03-02T09:00"), "13wh")
    half, near, end = found.warn_times()
    assert (half, near, end) == (at("2026-03-02T17:30"), at("2026-03-03T14:54"), at("2026-03-03T17:30"))
    assert [found.share(moment) for moment in (half, near, end)] == pytest.approx([0.5, 0.8, 1.0])
    assert found.share(at("2026-03-01T10:00")) == 0
    assert found.share(at("2026-03-05T17:30")) == 2


def test_what_is_due_at_once_is_wholly_used_when_it_starts():
    start = at("2026-03-02T09:00")
    assert due_of(start, "0").share(start) == 1
    assert due_of(start, "0").share(start - MINUTE) == 0
    assert due_of(start, "0").warn_times() == (start, start, start)


# --- Rules that hold for every start, limit and pause. ---

moments = st.datetimes(datetime(2020, 1, 1), datetime(2026, 10, 1), timezones=st.just(CHINA))  # noqa: DTZ001  the zone is the next argument
minutes = moments.map(lambda m: m.replace(second=0, microsecond=0))
limits = st.one_of(
    st.sampled_from(["0", "sd"]),
    st.builds("{}{}".format, st.integers(1, 40), st.sampled_from(["wh", "wd", "nd", "h"])),
).map(Limit.parse)
counted = limits.filter(lambda limit: limit.count not in (Count.AT_ONCE, Count.CLOCK_HOURS))


@st.composite
def pauses_after(draw, start):
    found = []
    for offset, length in draw(st.lists(st.tuples(st.integers(-3000, 20000), st.integers(0, 4000)), max_size=4)):
        found.append((start + offset * MINUTE, start + (offset + length) * MINUTE))
    return found


@given(moments, moments, limits)
def test_later_start_is_never_due_earlier(one, other, limit):
    first, last = sorted((one, other))
    assert due(first, limit, work=WORK).at <= due(last, limit, work=WORK).at


@given(moments, st.integers(1, 60), st.sampled_from(["wh", "wd", "nd", "h"]))
def test_longer_limit_is_due_later(start, amount, unit):
    shorter, longer = (due_of(start, f"{n}{unit}").at for n in (amount, amount + 1))
    assert shorter <= longer if unit == "nd" else shorter < longer


@given(moments, counted, st.data())
def test_deadline_never_falls_outside_working_time(start, limit, data):
    assert WORK.is_office_time(due(start, limit, work=WORK, pauses=data.draw(pauses_after(start))).at)


@given(
    minutes, limits.filter(lambda x: x.count in (Count.WORKING_HOURS, Count.WORKING_DAYS, Count.SAME_DAY)), st.data()
)
def test_pauses_agree_with_stepping_through_minutes(start, limit, data):
    stops = data.draw(pauses_after(start))
    assert due(start, limit, work=WORK, pauses=stops).at == slow_due(start, limit, stops)


@given(moments, limits, st.data())
def test_order_of_pauses_does_not_matter_and_a_split_pause_is_the_same(start, limit, data):
    stops = data.draw(pauses_after(start))
    expected = due(start, limit, work=WORK, pauses=stops).at
    for order in list(permutations(stops))[:6]:
        assert due(start, limit, work=WORK, pauses=order).at == expected
    halves = [half for a, b in stops for half in ((a, a + (b - a) / 2), (a + (b - a) / 2, b))]
    assert due(start, limit, work=WORK, pauses=halves).at == expected


@given(moments, limits, st.data())
def test_pause_never_brings_a_deadline_forward(start, limit, data):
    stops = data.draw(pauses_after(start))
    assert due(start, limit, work=WORK, pauses=stops).at >= due(start, limit, work=WORK).at


@given(moments, moments, moments, limits, st.data())
def test_parts_of_elapsed_time_sum_to_the_whole(a, b, c, limit, data):
    first, middle, last = sorted((a, b, c))
    stops = data.draw(pauses_after(first))
    parts = [elapsed(x, y, limit=limit, work=WORK, pauses=stops) for x, y in ((first, middle), (middle, last))]
    assert sum(parts, timedelta()) == elapsed(first, last, limit=limit, work=WORK, pauses=stops)


@given(moments, st.integers(1, 40), st.data())
def test_working_hours_elapsed_until_the_deadline_are_the_limit(start, amount, data):
    stops = data.draw(pauses_after(start))
    found = due_of(start, f"{amount}wh", stops)
    assert elapsed(start, found.at, limit=found.limit, work=WORK, pauses=stops) == timedelta(hours=amount)


@given(moments, limits, st.data())
def test_warnings_come_in_order_between_start_and_deadline(start, limit, data):
    found = due(start, limit, work=WORK, pauses=data.draw(pauses_after(start)))
    half, near, end = found.warn_times()
    assert start <= half <= near <= end == found.at
    if limit.count is not Count.AT_ONCE:
        assert found.share(half) == pytest.approx(0.5, abs=1e-6)
        assert found.share(near) == pytest.approx(0.8, abs=1e-6)
        assert found.share(found.at) == 1


@given(moments, limits, st.data())
def test_days_of_the_trace_sum_to_the_whole(start, limit, data):
    stops = data.draw(pauses_after(start))
    found = due(start, limit, work=WORK, pauses=stops)
    steps = found.trace
    whole = elapsed(found.start, found.at, limit=limit, work=WORK, pauses=stops)
    assert sum((s.ran for s in steps), timedelta()) == whole
    assert [s.day for s in steps] == [found.start.date() + timedelta(i) for i in range(len(steps))]
    assert steps[-1].day == found.at.date()
    if limit.count is Count.WORKING_DAYS and not stops:
        assert sum(s.counted for s in steps) == limit.amount


@given(moments, moments)
def test_place_on_the_working_line_and_back(one, other):
    first, last = sorted((one, other))
    assert WORK.at(first) <= WORK.at(last)
    back = WORK.when(WORK.at(last))
    assert WORK.at(back) == WORK.at(last)
    assert back <= last


def test_office_hours_of_the_district_are_used():
    work = WorkTime(national_calendar(), OfficeHours(((time(8), time(20)),)))
    assert due(at("2026-03-02T12:00"), Limit.parse("12wh"), work=work).at == at("2026-03-03T12:00")
    assert due(at("2026-03-02T12:00"), Limit.parse("1wd"), work=work).at == at("2026-03-03T20:00")
    assert work.next_working_day(date(2026, 3, 7)) == date(2026, 3, 9)


def test_functions_agree_with_the_methods_of_a_deadline():
    found = due_of(at("2026-03-02T09:00"), "5wd")
    now = at("2026-03-04T10:00")
    assert share(found.start, found.at, now, limit=found.limit, work=WORK) == found.share(now)
    assert warn_times(found.start, found.at, limit=found.limit, work=WORK) == found.warn_times()


# --- The table of limits. ---


@pytest.mark.parametrize(
    ("clock", "matter", "limit"),
    [
        ("dispatch", {"urgency": "emergency"}, "1h"),
        ("dispatch", {"urgency": "utilities", "kind": "complaint"}, "2h"),
        ("dispatch", {"urgency": "ordinary"}, "24h"),
        ("sign", {}, "4wh"),
        ("reply", {"kind": "enquiry"}, "3wd"),
        ("reply", {"kind": "complaint"}, "5wd"),
        ("reply", {"kind": "help"}, "5wd"),
        ("reply", {"kind": "complex"}, "15wd"),
        ("callback", {"kind": "complaint"}, "1wd"),
    ],
)
def test_default_limit(clock, matter, limit):
    assert str(default_limits().limit(clock, **matter)) == limit


def test_most_specific_limit_wins():
    table = LimitTable(
        [
            LimitRule("reply", Limit.parse("5wd")),
            LimitRule("reply", Limit.parse("3wd"), kind="enquiry"),
            LimitRule("reply", Limit.parse("1wd"), urgency="emergency"),
            LimitRule("reply", Limit.parse("10wd"), category="01"),
            LimitRule("reply", Limit.parse("20wd"), category="0102"),
        ]
    )
    assert str(table.limit("reply", kind="enquiry", urgency="emergency")) == "1wd"
    assert str(table.limit("reply", kind="enquiry", category="010203")) == "20wd"
    assert str(table.limit("reply", category="0109")) == "10wd"
    assert str(table.limit("reply", category="02")) == "5wd"


def test_table_of_limits_with_a_hole_or_a_double_is_refused():
    rule = LimitRule("reply", Limit.parse("5wd"))
    with pytest.raises(Invalid, match="same matters"):
        LimitTable([rule, rule])
    with pytest.raises(Invalid, match="no limit for matters"):
        LimitTable([LimitRule("reply", Limit.parse("5wd"), kind="enquiry")])
    with pytest.raises(Invalid, match="no limit for the clock"):
        LimitTable([rule]).limit("sign")


def test_limits_file_with_a_mistake_names_its_line(tmp_path):
    path = tmp_path / "limits.yaml"
    path.write_text("limits:\n  - {clock: sign, limit: 4wh}\n  - {clock: reply, limit: soon}\n")
    with pytest.raises(Invalid, match=r"limits.yaml, line 3: soon is no limit"):
        read_limits(path)

"""Extensions, pauses and the law's limit beside a promise: rules for every start, and a second counting day by day."""

from datetime import datetime, timedelta
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.calendar import CHINA, Notice, WorkCalendar
from dispatch.limits import Count, Limit, due, elapsed, measured
from dispatch.worktime import WorkTime
from tests.unit.test_limits import (
    DAYS,
    MINUTE,
    ORIGIN,
    WORK,
    at,
    counted,
    limits,
    minute,
    minutes,
    moments,
    pauses_after,
    slow_due,
    step_minutes,
    worked_days,
    worked_minutes,
)

amounts = st.integers(1, 30)
additive = st.sampled_from(["wh", "wd", "h"])


def limit(amount: int, unit: str) -> Limit:
    return Limit.parse(f"{amount}{unit}")


# --- Extensions. ---


@given(moments, amounts, amounts, amounts, additive, st.data())
def test_a_chain_of_extensions_is_one_long_limit(start, first, second, third, unit, data):
    """5 and 3 working days are 8 working days, whatever the pauses: nobody gains or loses by asking twice."""
    stops = data.draw(pauses_after(start))
    chain = due(start, limit(first, unit), work=WORK, pauses=stops, extra=[limit(second, unit), limit(third, unit)])
    assert chain.at == due(start, limit(first + second + third, unit), work=WORK, pauses=stops).at
    assert chain.ends[0] == due(start, limit(first, unit), work=WORK, pauses=stops).at


@given(moments, amounts, amounts, st.data())
def test_natural_days_are_extended_from_where_they_end(start, first, second, data):
    """A last day off moved to the next that is worked; the extension is counted from there, never from before."""
    stops = data.draw(pauses_after(start))
    chain = due(start, limit(first, "nd"), work=WORK, pauses=stops, extra=[limit(second, "nd")])
    assert chain.at >= due(start, limit(first + second, "nd"), work=WORK, pauses=stops).at
    assert chain.at > chain.ends[0]


@given(moments, limits, st.lists(limits, max_size=3), limits, st.data())
def test_adding_a_span_never_brings_a_deadline_forward(start, base, extra, more, data):
    stops = data.draw(pauses_after(start))
    before = due(start, base, work=WORK, pauses=stops, extra=extra)
    after = due(start, base, work=WORK, pauses=stops, extra=[*extra, more])
    assert after.at > before.at or more.count is Count.AT_ONCE
    assert after.ends[:-1] == before.ends
    assert list(after.ends) == sorted(after.ends)


@given(moments, moments, limits, st.lists(limits, max_size=3))
def test_later_start_is_never_due_earlier_with_extensions(one, other, base, extra):
    first, last = sorted((one, other))
    assert due(first, base, work=WORK, extra=extra).at <= due(last, base, work=WORK, extra=extra).at


@given(moments, limits, st.lists(counted, min_size=1, max_size=3), st.data())
def test_extended_deadline_never_falls_outside_working_time(start, base, extra, data):
    stops = data.draw(pauses_after(start))
    assert WORK.is_office_time(due(start, base, work=WORK, pauses=stops, extra=extra).at)


@given(moments, limits, st.lists(limits, max_size=2), st.data())
def test_pauses_commute_under_extensions(start, base, extra, data):
    stops = data.draw(pauses_after(start))
    expected = due(start, base, work=WORK, pauses=stops, extra=extra).at
    for order in list(permutations(stops))[:6]:
        assert due(start, base, work=WORK, pauses=order, extra=extra).at == expected
    halves = [half for a, b in stops for half in ((a, a + (b - a) / 2), (a + (b - a) / 2, b))]
    assert due(start, base, work=WORK, pauses=[*halves, *stops], extra=extra).at == expected


@given(moments, limits, st.lists(limits, max_size=2), st.data())
def test_resuming_never_shortens(start, base, extra, data):
    """Each pause, and each minute more of it, leaves the deadline where it is or moves it later."""
    stops = data.draw(pauses_after(start))
    shorter = [(a, a + (b - a) / 2) for a, b in stops]
    plain, half, whole = (due(start, base, work=WORK, pauses=p, extra=extra).at for p in ((), shorter, stops))
    assert plain <= half <= whole


@given(moments, limits, st.lists(limits, max_size=3), st.data())
def test_trace_of_an_extended_limit_sums_to_the_whole_part_by_part(start, base, extra, data):
    stops = data.draw(pauses_after(start))
    found = due(start, base, work=WORK, pauses=stops, extra=extra)
    begin = found.start
    for part, (one, end) in enumerate(zip((base, *extra), found.ends, strict=True)):
        steps = [step for step in found.trace if step.part == part]
        whole = elapsed(begin, end, limit=one, work=WORK, pauses=stops)
        assert sum((step.ran for step in steps), timedelta()) == whole
        begin = end
    if not extra:
        assert found.ends == (found.at,)


def test_trace_of_an_extension_goes_on_where_the_limit_ended():
    found = due(at("2026-03-02T10:00"), Limit.parse("2wd"), work=WORK, extra=[Limit.parse("1wd"), Limit.parse("1nd")])
    assert [(s.day.day, s.part, s.counted) for s in found.trace] == [
        (2, 0, False),
        (3, 0, True),
        (4, 0, True),
        (5, 1, True),
        (5, 2, False),
        (6, 2, True),
    ]


# --- The law's limit beside a promise. ---


@given(moments, limits, limits, st.lists(limits, max_size=2), st.data())
def test_promise_never_leads_past_the_law(start, promised, legal, extra, data):
    stops = data.draw(pauses_after(start))
    found = measured(start, promised, work=WORK, legal=legal, pauses=stops, extra=extra)
    assert found.at <= found.legal_at == due(start, legal, work=WORK, pauses=stops).at
    assert found.capped == (due(start, promised, work=WORK, pauses=stops, extra=extra).at > found.legal_at)
    assert start <= found.half <= found.near <= found.at


# --- Which notice. ---


def test_trace_names_the_notices_it_was_counted_by():
    found = due(at("2026-12-30T10:00"), Limit.parse("5wd"), work=WORK)
    assert [(n.year, bool(n.source)) for n in found.notices_used] == [(2026, True), (2027, False)]
    assert due(at("2026-12-30T10:00"), Limit.parse("24h"), work=WORK).notices_used == ()


def test_day_before_new_year_follows_the_next_years_notice_where_it_names_it():
    notice = Notice(2027, {at("2026-12-31T00:00").date(): "元旦"}, frozenset(), "国办发明电〔2026〕9号")
    work = WorkTime(WorkCalendar.from_notices([*WORK.calendar.notices.values(), notice]))
    found = due(at("2026-12-30T10:00"), Limit.parse("1wd"), work=work)
    assert found.at == at("2027-01-01T17:30")
    assert [n.source for n in found.notices_used][-1] == "国办发明电〔2026〕9号"


# --- A second counting that shares no code with the first, over every day of seven years, with pauses. ---


def step_clock(first: int, count: int, pauses: list[tuple[datetime, datetime]]) -> int:
    """Walk minutes round the clock until `count` have passed that no pause covers; return the minute after."""
    runs = np.ones(count + 20000, dtype=bool)
    for a, b in pauses:
        runs[max(0, minute(a) - first) : max(0, minute(b) - first)] = False
    return first + int(np.flatnonzero(runs)[count - 1]) + 1


def slow_natural(start: datetime, amount: int, pauses: list[tuple[datetime, datetime]]) -> datetime:
    """Step through the minutes after the day of intake; a last day that is not worked moves on."""
    first = minute(start) - minute(start) % 1440 + 1440
    day = (step_clock(first, amount * 1440, pauses) - 1) // 1440
    while not worked_days()[day]:
        day += 1
    return ORIGIN + timedelta(days=day, hours=17, minutes=30)


def slow_hours(start: datetime, amount: int, pauses: list[tuple[datetime, datetime]]) -> datetime:
    """Step through every minute, round the clock."""
    return ORIGIN + step_clock(minute(start), amount * 60, pauses) * MINUTE


@pytest.mark.parametrize("written", ["sd", "4wh", "13wh", "1wd", "5wd", "15wd", "3nd", "15nd", "24h"])
def test_every_day_of_2020_to_2026_with_two_pauses_agrees_with_stepping_through_minutes(written):
    """A pause of a day and a half soon after the start, and one of some hours that overlaps a weekend or a holiday."""
    typed = Limit.parse(written)
    wrong = []
    for i in range(DAYS - 60):
        start = ORIGIN + timedelta(days=i, minutes=i * 131 % 1440)
        first = start + timedelta(minutes=i * 17 % 2000)
        second = start + timedelta(minutes=600 + i * 53 % 9000)
        pauses = [(first, first + timedelta(minutes=2160)), (second, second + timedelta(minutes=i * 7 % 700))]
        slow = {
            Count.NATURAL_DAYS: lambda s=start, p=pauses: slow_natural(s, typed.amount, p),
            Count.CLOCK_HOURS: lambda s=start, p=pauses: slow_hours(s, typed.amount, p),
        }.get(typed.count, lambda s=start, p=pauses: slow_due(s, typed, p))()
        found = due(start, typed, work=WORK, pauses=pauses).at
        if found != slow:
            wrong.append((start, pauses, found, slow))
    assert wrong == []


@pytest.mark.parametrize("chain", [("5wd", "3wd"), ("4wh", "2wd"), ("24h", "1wd"), ("3nd", "5nd"), ("sd", "4wh")])
def test_every_day_of_2020_to_2026_extended_agrees_with_stepping_through_minutes(chain):
    base, more = (Limit.parse(written) for written in chain)
    wrong = []
    for i in range(DAYS - 60):
        start = ORIGIN + timedelta(days=i, minutes=i * 61 % 1440)
        slow = slow_due(start, base)
        if base.count is more.count is Count.WORKING_DAYS:
            midnight = minute(start) - minute(start) % 1440 + 1440
            slow = step_minutes(midnight, (base.amount + more.amount) * 390)
        elif more.count is Count.WORKING_HOURS:
            slow = step_minutes(minute(slow), more.amount * 60)
        else:
            slow = slow_due(slow, more)
        found = due(start, base, work=WORK, extra=[more]).at
        if found != slow:
            wrong.append((start, found, slow))
    assert wrong == []


@given(minutes, st.integers(1, 15), st.integers(1, 10), st.data())
def test_extended_working_days_with_pauses_agree_with_stepping_through_minutes(start, first, second, data):
    stops = data.draw(pauses_after(start))
    midnight = minute(start) - minute(start) % 1440 + 1440
    assert worked_minutes()[midnight:].any()
    slow = step_minutes(midnight, (first + second) * 390, stops)
    assert due(start, limit(first, "wd"), work=WORK, pauses=stops, extra=[limit(second, "wd")]).at == slow


def test_zone_of_every_result_is_china():
    found = measured(at("2026-03-02T10:00"), Limit.parse("1wd"), work=WORK, legal=Limit.parse("2wd"))
    assert {m.tzinfo for m in (found.at, found.half, found.near, found.legal_at)} == {CHINA}

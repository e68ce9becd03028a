"""When a window is open: working time only, whole slots only, the way between two home visits left free."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from dispatch.calendar import CHINA, OfficeHours, national_calendar
from dispatch.slots import Held, Pattern, is_open, slots, terms, times, weekdays_of
from dispatch.worktime import WorkTime

WORK = WorkTime(national_calendar())
COUNTER = Pattern("", "", 30, 0, 2)
#: A Wednesday; a Saturday; a Sunday worked instead of a holiday; National Day.
PLAIN, WEEKEND, MADE_UP, HOLIDAY = date(2026, 11, 18), date(2026, 11, 21), date(2026, 9, 20), date(2026, 10, 1)
EARLY = datetime(2026, 1, 1, tzinfo=UTC)


def starts(pattern: Pattern, day: date, work: WorkTime = WORK) -> list[str]:
    return [f"{start:%H:%M}" for start, _, _ in times(pattern, day, work)]


def test_slots_fill_the_office_hours_and_none_runs_into_the_lunch_break() -> None:
    assert starts(COUNTER, PLAIN) == [
        "09:00", "09:30", "10:00", "10:30", "11:00", "11:30",
        "14:00", "14:30", "15:00", "15:30", "16:00", "16:30", "17:00",
    ]  # fmt: skip
    assert starts(Pattern("", "", 50, 0, 1), PLAIN)[:4] == ["09:00", "09:50", "10:40", "14:00"]


def test_window_hours_count_only_as_far_as_they_are_working_time() -> None:
    evening = Pattern("", "10:30-12:30,19:00-21:00", 30, 0, 1)
    assert starts(evening, PLAIN) == ["10:30", "11:00", "11:30"]
    assert starts(Pattern("", "12:00-14:00", 30, 0, 1), PLAIN) == []


def test_home_visits_leave_the_way_to_the_next_door_free() -> None:
    assert starts(Pattern("", "", 60, 30, 1), PLAIN) == ["09:00", "10:30", "14:00", "15:30"]


def test_closed_on_holidays_and_weekends_and_open_on_weekends_worked_instead() -> None:
    assert [is_open(COUNTER, day, WORK) for day in (PLAIN, WEEKEND, MADE_UP, HOLIDAY)] == [True, False, True, False]
    week, twice = Pattern("1-5", "", 30, 0, 1), Pattern("2,4", "", 30, 0, 1)
    assert [is_open(week, day, WORK) for day in (PLAIN, WEEKEND, MADE_UP, HOLIDAY)] == [True, False, True, False]
    # Who is open on Tuesdays and Thursdays is not open on a Sunday that stands for a Friday.
    assert [is_open(twice, day, WORK) for day in (PLAIN, PLAIN + timedelta(days=1), MADE_UP)] == [False, True, False]


def test_what_has_begun_is_not_offered() -> None:
    at = datetime(2026, 11, 18, 9, 30, tzinfo=CHINA)
    assert slots(COUNTER, PLAIN, WORK, [], at=at)[0].starts_at == at + timedelta(minutes=30)


def test_held_seat_is_not_free_in_any_slot_it_touches_also_after_the_pattern_changed() -> None:
    nine = datetime(2026, 11, 18, 9, tzinfo=CHINA)
    held = [Held(nine + timedelta(minutes=15), nine + timedelta(minutes=60), 1)]
    free = [slot.free for slot in slots(COUNTER, PLAIN, WORK, held, at=EARLY)]
    assert free[:3] == [(2,), (2,), (1, 2)]


@given(
    st.integers(5, 240),
    st.integers(0, 120),
    st.dates(date(2026, 1, 1), date(2026, 12, 31)),
    st.sampled_from(["09:00-12:00,14:00-17:30", "08:30-11:45,13:30-17:00", "00:00-23:59"]),
)
def test_no_slot_leaves_working_time_or_meets_another(lasts: int, way: int, day: date, hours: str) -> None:
    work = WorkTime(national_calendar(), OfficeHours.parse(hours))
    last = None
    for start, end, busy in times(Pattern("", "", lasts, way, 1), day, work):
        assert work.is_office_time(start)
        assert work.is_office_time(end)
        assert work.at(end) - work.at(start) == lasts * 60_000_000, "no break in between"
        assert last is None or last <= start
        last = busy if (busy - end) == timedelta(minutes=way) else pytest.fail("the way is as long as it is")


@pytest.mark.parametrize("written", ["8", "0", "5-1", "mon", "1-", "1,,2", "1-2-3", "-"])
def test_days_that_are_none_are_refused(written: str) -> None:
    with pytest.raises(Invalid):
        weekdays_of(written)


def test_days_of_the_week_are_read() -> None:
    assert weekdays_of("1-5, 7") == {1, 2, 3, 4, 5, 7}
    assert weekdays_of(" ") == frozenset()


def test_terms_are_the_districts_own_and_refused_out_of_range() -> None:
    assert (terms({}).days, terms({}).most) == (14, 3)
    assert terms({"appointment_days": 30, "appointment_most": 1}).days == 30
    for wrong in (
        {"appointment_days": -1},
        {"appointment_most": 0},
        {"appointment_days": "7"},
        {"appointment_most": True},
    ):
        with pytest.raises(Invalid):
            terms(wrong)

"""The working calendar agrees with the State Council's notices, and says what it does not know."""

from datetime import date, datetime, time, timedelta

import holidays
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from dispatch.calendar import (
    FIRST,
    LAST,
    Notice,
    OfficeHours,
    WorkCalendar,
    china_time,
    national_calendar,
)

DAYS_2020_2026 = [date(2020, 1, 1) + timedelta(i) for i in range((date(2027, 1, 1) - date(2020, 1, 1)).days)]


def test_every_day_of_2020_to_2026_agrees_with_the_holidays_package():
    calendar, peer = national_calendar(), holidays.country_holidays("CN", years=range(2020, 2027))
    assert len(DAYS_2020_2026) == 2557
    assert [d for d in DAYS_2020_2026 if calendar.is_working(d) != peer.is_working_day(d)] == []


def test_make_up_days_agree_with_the_holidays_package():
    peer = holidays.country_holidays("CN", years=range(2020, 2027))
    assert national_calendar().work == {d for d in peer.weekend_workdays if 2020 <= d.year <= 2026}


@pytest.mark.parametrize(
    ("year", "working"),
    # Public counts of working days of a year, from its notice.
    [(2020, 249), (2021, 250), (2022, 249), (2023, 249), (2024, 251), (2025, 248), (2026, 248)],
)
def test_number_of_working_days_of_a_year(year, working):
    assert national_calendar().working_days(date(year, 1, 1), date(year, 12, 31)) == working


def test_year_without_notice_counts_weekends_alone_and_is_provisional():
    calendar = national_calendar()
    assert calendar.notice_of(date(2027, 10, 1)) is None
    assert calendar.is_working(date(2027, 10, 1))
    assert not calendar.is_working(date(2027, 10, 2))
    assert calendar.is_provisional(date(2026, 12, 31), date(2027, 1, 4))
    assert not calendar.is_provisional(date(2020, 1, 1), date(2026, 12, 31))


def test_loading_a_notice_names_the_days_that_it_changes():
    before = national_calendar()
    notice = Notice(2027, {date(2027, 1, 1): "元旦"}, frozenset({date(2027, 1, 3)}))
    after = WorkCalendar.from_notices([*before.notices.values(), notice])
    assert after.differs(before) == (date(2027, 1, 1), date(2027, 1, 3))
    assert before.differs(before) == ()


def test_higher_version_of_a_notice_wins_in_any_order():
    old = Notice(2027, {date(2027, 1, 1): "元旦"}, version=1)
    new = Notice(2027, {date(2027, 1, 4): "元旦"}, version=2)
    for notices in ([old, new], [new, old]):
        calendar = WorkCalendar.from_notices(notices)
        assert calendar.is_working(date(2027, 1, 1))
        assert not calendar.is_working(date(2027, 1, 4))
    with pytest.raises(Invalid):
        WorkCalendar.from_notices([old, old])


def test_two_notices_may_not_contradict_each_other():
    with pytest.raises(Invalid, match="2022-12-31"):
        WorkCalendar.from_notices(
            [
                Notice(2022, {}, frozenset({date(2022, 12, 31)})),
                Notice(2023, {date(2022, 12, 31): "元旦"}),
            ]
        )


def test_day_that_spills_over_the_year_belongs_to_the_notice_that_names_it():
    calendar = national_calendar()
    assert calendar.notice_of(date(2022, 12, 31)).year == 2023
    assert calendar.notice_of(date(2022, 12, 30)).year == 2022
    late = Notice(2027, {date(2028, 1, 1): "元旦"})
    spilt = WorkCalendar.from_notices([late, Notice(2028, {})])
    assert spilt.notice_of(date(2028, 1, 1)) is late
    assert spilt.notice_of(date(2028, 1, 2)).year == 2028


def test_why_names_the_holiday():
    why = national_calendar().why
    assert why(date(2026, 10, 1)) == ("public holiday", "国庆节")
    assert why(date(2026, 10, 10)) == ("make-up working day", "")
    assert why(date(2026, 10, 11)) == ("weekend", "")
    assert why(date(2026, 10, 12)) == ("working day", "")


def test_days_outside_the_calendar_are_refused():
    for day in (FIRST - timedelta(1), LAST + timedelta(1)):
        with pytest.raises(Invalid, match="outside the calendar"):
            national_calendar().is_working(day)


def test_naive_times_are_refused():
    with pytest.raises(Invalid, match="time zone"):
        china_time(datetime(2026, 1, 1, 9))  # noqa: DTZ001  the naive time is the point


@given(st.dates(FIRST, LAST), st.dates(FIRST, LAST))
def test_counts_of_working_days_add_up(one, other):
    first, last = sorted((one, other))
    calendar = national_calendar()
    middle = first + (last - first) // 2
    whole = calendar.working_days(first, last)
    assert whole == calendar.working_days(first, middle) + (
        calendar.working_days(middle + timedelta(1), last) if middle < last else 0
    )
    assert (calendar.working_days(first, first) == 1) == calendar.is_working(first)


def test_office_hours_have_a_lunch_break_by_default_and_are_data():
    assert OfficeHours() == OfficeHours.parse("09:00-12:00, 14:00-17:30")
    hours = OfficeHours.parse("08:30-12:00,14:30-18:00")
    assert (hours.opens, hours.closes) == (time(8, 30), time(18))


@pytest.mark.parametrize("text", ["", "9-12", "12:00-09:00", "09:00-12:00,11:00-13:00", "09:00", "09:00-09:00", "x-y"])
def test_office_hours_that_make_no_sense_are_refused(text):
    with pytest.raises(Invalid):
        OfficeHours.parse(text)

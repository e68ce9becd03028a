"""The escalation ladder: who is told of an expiry, in which order, and what a district may not write."""

from datetime import datetime

import pytest

from core.errors import Invalid
from dispatch.calendar import CHINA, national_calendar
from dispatch.ladder import default_ladder, ladder_of, read_ladder
from dispatch.worktime import WorkTime

WORK = WorkTime(national_calendar())
EXPIRED = datetime(2026, 9, 30, 16, 0, tzinfo=CHINA)  # the afternoon before National Day


def test_default_ladder_goes_from_the_unit_head_over_the_centre_to_supervision():
    assert [rung.told for rung in default_ladder().rungs] == ["unit_head", "centre", "supervision"]
    assert [default_ladder().told(number, "U") for number in (1, 2, 3, 4)] == [
        "unit_head",
        "centre",
        "supervision",
        "",
    ]


def test_centre_has_no_unit_head_over_it():
    assert [default_ladder().told(number, None) for number in (1, 2, 3)] == ["centre", "supervision", ""]


def test_rungs_are_counted_in_working_time():
    # 1.5 hours are left on 30 September; the rest is on 8 October.
    second = default_ladder().next_at(1, "U", EXPIRED, work=WORK)
    assert second == datetime(2026, 10, 8, 11, 30, tzinfo=CHINA)
    assert default_ladder().next_at(2, "U", second, work=WORK) == datetime(2026, 10, 9, 17, 30, tzinfo=CHINA)
    assert default_ladder().next_at(3, "U", second, work=WORK) is None


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([], "somebody above the unit"),
        ([{"told": "unit_head", "after": "0"}], "somebody above the unit"),
        ([{"told": "mayor", "after": "0"}], "one of unit_head"),
        (["centre"], "one of unit_head"),
        ([{"told": "centre", "after": "0"}, {"told": "unit_head", "after": "1wd"}], "must rise"),
        ([{"told": "centre", "after": "0"}, {"told": "centre", "after": "1wd"}], "must rise"),
        ([{"told": "centre", "after": "1wd"}], "at the expiry"),
        ([{"told": "centre", "after": "0"}, {"told": "supervision", "after": "soon"}], "is no limit"),
        ([{"told": "centre", "after": "0"}, {"told": "supervision"}], "is no limit"),
    ],
)
def test_ladder_that_cannot_be_climbed_is_refused(rows, match):
    with pytest.raises(Invalid, match=match):
        ladder_of(rows)


def test_ladder_file_with_a_mistake_names_its_line(tmp_path):
    path = tmp_path / "ladder.yaml"
    path.write_text("ladder:\n  - {told: centre, after: 0}\n  - {told: centre, after: 1wd}\n")
    with pytest.raises(Invalid, match="must rise"):
        read_ladder(path)
    path.write_text("ladder:\n  - {told: centre, after: 0, when: now}\n")
    with pytest.raises(Invalid, match="line 2: when is not a column"):
        read_ladder(path)

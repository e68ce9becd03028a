"""A notice file with a mistake is refused with file and line; a sound one is read whole, in either format."""

import csv
from dataclasses import replace
from datetime import date

import pytest

from core.errors import Invalid
from dispatch.calendar import NOTICES, check_notice, read_notice
from dispatch.tables import Row

TEXT = (NOTICES / "2026.yaml").read_text()


def _read(tmp_path, text, name="notice.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return read_notice(path)


@pytest.mark.parametrize(
    ("day", "taken"), [("2025-12-28", False), ("2025-12-29", True), ("2027-01-03", True), ("2027-01-04", False)]
)
def test_days_of_the_neighbouring_year_are_taken_only_at_its_turn(day, taken):
    shipped = read_notice(NOTICES / "2026.yaml")
    spilt = replace(shipped, off={**shipped.off, date.fromisoformat(day): "元旦"})
    row = Row("n.csv", 9)
    weekday = date.fromisoformat(day).weekday() < 5
    if taken:
        check_notice(spilt, rows={date.fromisoformat(day): row}, file="n.csv", extra_days=int(weekday))
    else:
        with pytest.raises(Invalid, match=r"n.csv, line 9: .* outside the year"):
            check_notice(spilt, rows={date.fromisoformat(day): row}, file="n.csv", extra_days=int(weekday))


def test_shipped_notices_are_sound_and_name_their_document():
    for path in NOTICES.glob("*.yaml"):
        notice = read_notice(path)
        assert str(notice.year) == path.stem
        assert "国办发明电" in notice.source
    assert sorted(p.stem for p in NOTICES.glob("*.yaml")) == [str(y) for y in range(2020, 2027)]


MISTAKES = {
    "a day missing at the end of a holiday": ("to: 2026-02-23, days: 9", "to: 2026-02-22, days: 9", "days, not 9", 6),
    "a working day forgotten with its length": (
        "to: 2026-02-23, days: 9",
        "to: 2026-02-22, days: 8",
        "a day is missing",
        None,
    ),
    "a make-up day forgotten": ("work: [2026-02-14, 2026-02-28]", "work: [2026-02-14]", "a day is missing", None),
    "a whole holiday missing": (
        "  - {name: 清明节, from: 2026-04-04, to: 2026-04-06, days: 3, work: []}\n",
        "",
        "清明",
        None,
    ),
    "overlapping holidays": (
        "from: 2026-09-25, to: 2026-09-27, days: 3",
        "from: 2026-09-29, to: 2026-10-01, days: 3",
        "already belongs",
        11,
    ),
    "a make-up day on a Wednesday": ("2026-01-04", "2026-01-07", "no weekend day", 5),
    "a make-up day in another month": ("work: [2026-05-09]", "work: [2026-08-09]", "no holiday is near", 8),
    "a make-up day inside a holiday": ("work: [2026-05-09]", "work: [2026-05-03]", "both off and worked", 8),
    "a make-up day twice": ("[2026-09-20, 2026-10-10]", "[2026-09-20, 2026-09-20]", "stands twice", 11),
    "a day of another year": ("work: [2026-05-09]", "work: [2025-05-10]", "outside the year 2026", 8),
    "a span that runs backwards": (
        "from: 2026-06-19, to: 2026-06-21",
        "from: 2026-06-21, to: 2026-06-19",
        "are -1 days",
        9,
    ),
    "a date that does not exist": ("2026-02-28", "2026-02-30", "", None),
    "a date written otherwise": ("2026-02-28", "28.2.2026", "dates must be written", 6),
    "an unknown column": ("days: 9, work", "day: 9, work", "is not a column", 6),
    "no source": ("source: 国办发明电〔2025〕7号\n", "", "source is missing", 1),
    "a year beyond the calendar": ("year: 2026", "year: 0", "outside the calendar", 1),
    "a year in words": ("year: 2026", "year: next", "whole number", 1),
    "a key given twice": ("version: 1", "version: 1\nversion: 2", "stands twice", 1),
    "no YAML": ("holidays:", "holidays: [", "not YAML", None),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_notice_is_refused_with(tmp_path, mistake):
    old, new, words, line = MISTAKES[mistake]
    assert old in TEXT
    with pytest.raises(Invalid) as caught:
        _read(tmp_path, TEXT.replace(old, new))
    assert words in str(caught.value)
    assert caught.value.params["file"] == "notice.yaml"
    if line:
        assert caught.value.params["line"] == line


@pytest.mark.parametrize("text", ["", "- 1\n", "just words", "year: 2026\n---\nyear: 2027\n"])
def test_file_that_holds_no_notice_is_refused(tmp_path, text):
    with pytest.raises(Invalid):
        _read(tmp_path, text)


def test_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "n.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Invalid, match="UTF-8"):
        read_notice(tmp_path / "n.yaml")


def _rows(year):
    notice = read_notice(NOTICES / f"{year}.yaml")
    rows = [(d.isoformat(), "off", name) for d, name in notice.off.items()]
    return [*rows, *((d.isoformat(), "班", "") for d in notice.work)]


def _csv(tmp_path, rows):
    path = tmp_path / "days.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([("date", "kind", "name"), *rows])
    return read_notice(path)


@pytest.mark.parametrize("year", range(2021, 2027))
def test_csv_of_days_reads_as_the_same_notice(tmp_path, year):
    shipped, read = read_notice(NOTICES / f"{year}.yaml"), _csv(tmp_path, _rows(year))
    assert (read.year, dict(read.off), read.work) == (year, dict(shipped.off), shipped.work)


def test_any_single_day_missing_from_a_notice_is_found(tmp_path):
    rows = _rows(2024)
    weekday_or_work = [r for r in rows if r[1] != "off" or date.fromisoformat(r[0]).weekday() < 5]
    assert len(weekday_or_work) > 20
    for row in weekday_or_work:
        with pytest.raises(Invalid):
            _csv(tmp_path, [r for r in rows if r != row])


def test_gap_inside_a_holiday_and_a_repeated_day_name_their_line(tmp_path):
    rows = sorted(r for r in _rows(2026) if r[1] == "off")
    gap = [r for r in rows if r[0] != "2026-02-21"]
    with pytest.raises(Invalid, match=r"line 11: 春节 has a gap before 2026-02-22"):
        _csv(tmp_path, gap)
    with pytest.raises(Invalid, match=r"line 3: 2026-01-01 stands twice"):
        _csv(tmp_path, [rows[0], *rows])
    with pytest.raises(Invalid, match="neither off nor work"):
        _csv(tmp_path, [("2026-01-01", "perhaps", "元旦")])


def test_make_up_day_on_a_holiday_of_the_next_year_is_refused():
    """New Year 2022 was a Saturday: the notice of 2021 may reach over the turn of the year, but not work that day."""
    notice = read_notice(NOTICES / "2021.yaml")
    day = date(2022, 1, 1)
    rows = dict.fromkeys([*notice.off, *notice.work, day], Row("2021.yaml", 3))
    with pytest.raises(Invalid, match="2022-01-01 is a public holiday"):
        check_notice(replace(notice, work=notice.work | {day}), rows=rows, file="2021.yaml")

"""Districts hand tables over as spreadsheets, too: the same rows, read the same way, refused with the same line."""

from datetime import date, datetime

import pytest
import xlsxwriter

from core.errors import Invalid
from dispatch.calendar import NOTICES, read_notice
from dispatch.rules import Rule, read_rules


def _book(path, rows):
    with xlsxwriter.Workbook(str(path), {"default_date_format": "yyyy-mm-dd"}) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)
    return path


def test_notice_in_a_spreadsheet_reads_as_the_shipped_one(tmp_path):
    shipped = read_notice(NOTICES / "2026.yaml")
    days = [(d, "休", name) for d, name in shipped.off.items()] + [(d, "班", "") for d in shipped.work]
    # Some cells hold dates, some text, as people type them.
    rows = [(datetime(d.year, d.month, d.day) if i % 2 else d.isoformat(), *rest) for i, (d, *rest) in enumerate(days)]  # noqa: DTZ001  a spreadsheet knows no zone
    read = read_notice(_book(tmp_path / "放假.xlsx", [("date", "kind", "name"), *rows]))
    assert (read.year, dict(read.off), read.work) == (2026, dict(shipped.off), shipped.work)


def test_mistake_in_a_spreadsheet_names_its_line(tmp_path):
    rows = [("date", "kind", "name"), (date(2026, 1, 1).isoformat(), "休", "元旦"), ("soon", "休", "元旦")]
    with pytest.raises(Invalid, match=r"days.xlsx, line 3: dates must be written"):
        read_notice(_book(tmp_path / "days.xlsx", rows))


def test_rules_in_a_spreadsheet_keep_whole_numbers_plain(tmp_path):
    path = _book(tmp_path / "rules.xlsx", [("id", "category", "area", "unit"), (7, "01", 990101001, "roads")])
    assert read_rules(path) == [Rule("7", "roads", "01", "990101001", file="rules.xlsx", line=2)]


@pytest.mark.parametrize("content", [b"", b"id,unit\n1,roads\n", b"PK\x03\x04 broken"])
def test_file_that_is_no_spreadsheet_is_refused(tmp_path, content):
    path = tmp_path / "rules.xlsx"
    path.write_bytes(content)
    with pytest.raises(Invalid, match="spreadsheet"):
        read_rules(path)


def test_empty_spreadsheet_is_refused(tmp_path):
    with pytest.raises(Invalid):
        read_rules(_book(tmp_path / "rules.xlsx", []))

"""Item sheets in workbooks: there and back, faults with table, row and column, and files that mean harm."""

import struct
import time
import zipfile
from datetime import date
from pathlib import Path

import pytest
import xlsxwriter

from core.errors import Invalid
from dispatch.items import excel
from dispatch.items.columns import NOTES, TABLES
from dispatch.items.excel import read_excel, write_excel
from dispatch.items.reading import default_files, read_yaml

pytestmark = pytest.mark.unit
GOOD = {
    "事项": [
        [
            "编码",
            "名称",
            "服务对象",
            "实施主体",
            "受理层级",
            "法定时限",
            "承诺时限",
            "受理条件",
            "办理渠道",
            "生效日期",
        ],
        ["T-0001", "试验事项", "自然人", "MZ", "村居", "20wd", "5wd", "条件一\n条件二", "窗口；网上", "2026-03-01"],
    ],
    "依据": [["事项编码", "法律法规"], ["T-0001", "某法"]],
    "材料": [
        ["事项编码", "材料编码", "材料名称", "形式", "份数", "必需", "容缺期限"],
        ["T-0001", "A", "甲", "复印件", 2, "否", "10wd"],
    ],
    "流程": [["事项编码", "环节"], ["T-0001", "申请"]],
    "结果": [["事项编码", "结果名称"], ["T-0001", "证"]],
    "领取": [["事项编码", "地点编码", "地点名称", "邮寄"], ["T-0001", "YJ", "邮寄", "是"]],
}


def workbook(path: Path, **changed: list[list[object]] | None) -> Path:
    book = xlsxwriter.Workbook(str(path), {"strings_to_formulas": False})
    for name, rows in {**GOOD, **changed}.items():
        if rows is not None:
            page = book.add_worksheet(name)
            for number, row in enumerate(rows):
                for place, value in enumerate(row):
                    if isinstance(value, str) and value.startswith("FORMULA"):
                        page.write_formula(number, place, value.removeprefix("FORMULA"))
                    elif value is not None:
                        (page.write_number if isinstance(value, int) else page.write_string)(number, place, value)
    book.close()
    return path


def with_item(*, row: int = 1, **changed: object) -> list[list[object]]:
    header, first = GOOD["事项"]
    values = [changed.get(name, value) for name, value in zip(header, first, strict=True)]
    return [header, *([[]] * (row - 1)), values]


def test_the_shipped_catalogue_goes_there_and_back_unchanged(tmp_path: Path) -> None:
    given = read_yaml(default_files()).given
    path = tmp_path / "items.xlsx"
    write_excel(path, [(one.sheet, one.valid_from) for one in given])
    read = read_excel(path)
    assert [fault.sentence for fault in read.faults] == []
    assert [one.sheet for one in read.given] == [one.sheet for one in given]
    assert {one.valid_from for one in read.given} == {date(2026, 1, 1)}


def test_a_small_workbook_is_read_with_chinese_words(tmp_path: Path) -> None:
    read = read_excel(workbook(tmp_path / "a.xlsx"))
    assert [fault.sentence for fault in read.faults] == []
    (given,) = read.given
    assert given.valid_from == date(2026, 3, 1)
    assert given.sheet.conditions == ("条件一", "条件二")
    assert given.sheet.channels == ("window", "web")
    (material,) = given.sheet.materials
    assert (material.form, material.count, material.required, material.lag) == ("copy", 2, False, "10wd")
    assert given.sheet.pick_ups[0].post


def test_the_template_has_every_table_and_no_items(tmp_path: Path) -> None:
    path = tmp_path / "t.xlsx"
    write_excel(path, [])
    read = read_excel(path)
    assert (read.given, list(read.faults)) == ([], [])
    with zipfile.ZipFile(path) as parts:
        names = parts.read("xl/workbook.xml").decode()
    assert all(f'"{name}"' in names for name in [*(table.name for table in TABLES), NOTES])


@pytest.mark.parametrize(
    ("table", "rows", "where"),
    [
        ("事项", with_item(承诺时限="30wd"), ("事项", 2, "承诺时限", "longer than the legal")),
        ("事项", with_item(row=5, 服务对象="猫"), ("事项", 6, "服务对象", "must be one of")),
        ("事项", with_item(生效日期="明天"), ("事项", 2, "生效日期", "must be a day")),
        ("事项", with_item(名称="=1+1"), ("事项", 2, "名称", "begins like a formula")),
        ("事项", with_item(名称="@SUM(A1)"), ("事项", 2, "名称", "begins like a formula")),
        ("事项", [*with_item(), GOOD["事项"][1]], ("事项", 3, "", "stands twice")),
        ("材料", [GOOD["材料"][0], ["T-0001", "A", "甲", "复印件", "两份"]], ("材料", 2, "份数", "whole number")),
        ("材料", [GOOD["材料"][0], ["T-0001", "A", "甲", "复印件", 2, "也许"]], ("材料", 2, "必需", "是 or 否")),
        ("材料", [GOOD["材料"][0], ["T-0009", "A", "甲"]], ("材料", 2, "事项编码", "no item T-0009")),
        ("材料", [["事项编码", "材料编码", "颜色"], ["T-0001", "A", "红"]], ("材料", 1, "颜色", "not a column")),
        (
            "事项",
            [[*GOOD["事项"][0], "收费标准"], [*GOOD["事项"][1], "5 元"]],
            ("事项 收费", 2, "收费依据", "is missing"),
        ),
        ("依据", None, ("事项", 2, "依据", "依据 is missing")),
    ],
)
def test_a_fault_names_table_row_and_column(
    tmp_path: Path, table: str, rows: list[list[object]] | None, where: tuple[str, int, str, str]
) -> None:
    read = read_excel(workbook(tmp_path / "a.xlsx", **{table: rows}))
    name, line, column, words = where
    found = [one for one in read.faults if words in one.sentence]
    assert found, [one.sentence for one in read.faults]
    assert (found[0].file, found[0].line) == (f"a.xlsx · {name}", line)
    if column:
        assert found[0].column == column
    if table != "材料" or "no item" in words or "not a column" in words:
        return
    assert read.given == []


def test_an_unknown_table_is_no_silent_slip(tmp_path: Path) -> None:
    read = read_excel(workbook(tmp_path / "a.xlsx", 资料=[["x"]]))
    assert any("资料" in fault.sentence for fault in read.faults)


def test_a_workbook_without_items_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="has no table 事项"):
        read_excel(workbook(tmp_path / "a.xlsx", 事项=None))


def test_a_formula_is_refused_with_its_cell(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", 事项=with_item(名称='FORMULA=HYPERLINK("http://elsewhere.example","x")'))
    with pytest.raises(Invalid, match="B2 holds a formula"):
        read_excel(path)


def test_texts_that_look_like_formulas_are_written_as_texts(tmp_path: Path) -> None:
    from dataclasses import replace

    sheet = replace(read_yaml(default_files()).given[0].sheet, name='=HYPERLINK("http://elsewhere.example")')
    path = tmp_path / "a.xlsx"
    write_excel(path, [(sheet, None)])
    with zipfile.ZipFile(path) as parts:
        text = b"".join(parts.read(name) for name in parts.namelist())
    assert b"<f>" not in text
    assert b"<hyperlink" not in text


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 no zip", b"\x89PNG\r\n\x1a\n", b"code,name\n1,2\n", b"\x00" * 5000]
)
def test_what_is_no_workbook_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(content)
    with pytest.raises(Invalid, match="no Excel workbook"):
        read_excel(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with path.open("wb") as out:
        out.truncate(50_000_000)
    with pytest.raises(Invalid, match="larger than 10 MB"):
        read_excel(path)


def packed(path: Path, sheet: bytes) -> Path:
    """Write a workbook whose first table has the given XML."""
    workbook(path)
    with zipfile.ZipFile(path) as parts:
        kept = {name: parts.read(name) for name in parts.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as parts:
        for name, data in kept.items():
            parts.writestr(name, sheet if name == "xl/worksheets/sheet1.xml" else data)
    return path


def test_a_bomb_is_found_although_it_lies_about_its_size(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.xlsx", b"<worksheet>" + b" " * 150_000_000 + b"</worksheet>")
    assert path.stat().st_size < excel.MAX_BYTES
    data = bytearray(path.read_bytes())
    # Every record of the directory says that its part is 100 bytes long.
    place = data.find(b"PK\x01\x02")
    while place >= 0:
        data[place + 24 : place + 28] = struct.pack("<I", 100)
        place = data.find(b"PK\x01\x02", place + 4)
    path.write_bytes(bytes(data))
    begun = time.monotonic()
    with pytest.raises(Invalid, match="unpacks to more"):
        read_excel(path)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("cell", ["XFD1048576", "A1048576", "A100000", "ZZZ1"])
def test_one_cell_far_out_does_not_take_all_memory(tmp_path: Path, cell: str) -> None:
    row = cell.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    sheet = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        f'<row r="{row}"><c r="{cell}"><v>1</v></c></row></sheetData></worksheet>'
    )
    with pytest.raises(Invalid, match="more than 60000 rows or 100 columns"):
        read_excel(packed(tmp_path / "a.xlsx", sheet.encode()))


def test_a_hundred_thousand_rows_are_refused_in_words_and_soon(tmp_path: Path) -> None:
    rows = "".join(f'<row r="{n}"><c r="A{n}"><v>{n}</v></c></row>' for n in range(1, 100_001))
    sheet = f"<worksheet><sheetData>{rows}</sheetData></worksheet>".encode()
    begun = time.monotonic()
    with pytest.raises(Invalid, match="more than 60000 rows"):
        read_excel(packed(tmp_path / "a.xlsx", sheet))
    assert time.monotonic() - begun < 5

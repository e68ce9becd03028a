"""Item sheets in an Excel workbook, read and written; the tables and columns are those of `columns`.

A workbook is somebody's upload: its size, what it unpacks to, and how far its cells reach are measured before anything
reads it as a spreadsheet. Every fault is told with table, row, column and words.
"""

import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import xlsxwriter
from python_calamine import CalamineError, CalamineWorkbook

from core.errors import Invalid
from dispatch.items.columns import ITEMS, NOTES, OWNER, TABLES, Column, Table
from dispatch.items.parsing import Fault, Faults, parse
from dispatch.items.reading import CODE_PATTERN, MOST_ITEMS, Given, Read, code_pattern, day
from dispatch.items.sheet import Sheet
from dispatch.tables import Row

MAX_BYTES: Final = 10_000_000
#: What a workbook may unpack to; 5,000 items with everything are a third of it.
MAX_UNPACKED: Final = 120_000_000
MAX_ROWS: Final = 60_000
MAX_COLUMNS: Final = 100
_MAX_PARTS: Final = 200
_CHUNK: Final = 1 << 18
#: Where a cell or row says where it stands, and where a formula begins.
_MARK: Final = re.compile(rb"\br\s*=\s*[\"']([A-Z]{0,7})([0-9]{1,9})[\"']|<(?:\w+:)?f[\s/>]")
#: Marks faults of the columns about fees in the table of items.
_FEE: Final = " 收费"
#: A text that begins so is a formula to whoever opens the file next.
_FORMULA: Final = ("=", "+", "@", "\t")


def read_excel(path: Path, *, pattern: str = CODE_PATTERN) -> Read:
    """Return the sheets of a workbook; raises Invalid where it is none, or larger than a workbook of items may be.

    pattern: of item codes. What is wrong in its rows stands in `faults`, which name `file · table` and the row as the
    spreadsheet shows it.
    """
    _guard(path)
    read = Read()
    tables = _tables(path, read.faults)
    nested: dict[tuple[str, str], list[Row]] = {}
    codes = {str(row.get("code")) for row in tables.get(ITEMS.key, ())}
    for key, rows in tables.items():
        for row in rows if key != ITEMS.key else ():
            owner = str(row.pop(OWNER.key, "") or "")
            if owner in codes:
                nested.setdefault((owner, key), []).append(row)
            else:
                message = "{file}, line {line}: there is no item {code} in the table of items."
                fault = Invalid(message, file=row.file, line=row.line, column=OWNER.key, code=owner[:40])
                read.faults.append(Fault.of(fault))
    compiled, seen = code_pattern(pattern), set[str]()
    for row in tables.get(ITEMS.key, ()):
        code = str(row.get("code") or "")
        if code in seen:
            fault = Invalid("{file}, line {line}: {code} stands twice.", file=row.file, line=row.line, code=code)
            read.faults.append(Fault.of(fault))
            continue
        seen.add(code)
        _item(row, {key: nested.get((code, key), []) for key in (t.key for t in TABLES)}, compiled, read)
    read.faults = Faults(_shown(fault) for fault in read.faults)
    return read


def _item(row: Row, parts: Mapping[str, list[Row]], compiled: Any, read: Read) -> None:
    before = len(read.faults)
    full = Row(row.file, row.line)
    full.update({name: value for name, value in row.items() if not name.startswith("fee_") and name != "broken"})
    full.update({name: rows for name, rows in parts.items() if rows and name not in (ITEMS.key, "waivers")})
    fee = Row(row.file + _FEE, row.line)
    fee.update({name: row[f"fee_{name}"] for name in ("charged", "amount", "basis") if f"fee_{name}" in row})
    fee.setdefault("charged", bool(fee.get("amount")))
    if parts["waivers"]:
        fee["waivers"] = parts["waivers"]
    full["fee"] = fee
    broken = row.get("broken") or any(one.pop("broken", False) for rows in parts.values() for one in rows)
    sheet = parse(full, read.faults, code_pattern=compiled)
    valid = read.faults.check(row, lambda one: day(one, "valid_from"), otherwise=None)
    if sheet is not None and not broken and len(read.faults) == before:
        read.given.append(Given(sheet, valid, row.file.partition(" · ")[0]))


def _guard(path: Path) -> None:
    """Refuse what is no workbook, unpacks to too much, holds formulas, or has cells far out.

    A reader makes a full rectangle up to the last cell, so that one cell in the far corner would take all memory; what
    a part says of its own size is not believed.
    """
    if not path.is_file():
        raise Invalid("The file {file} is missing.", file=path.name)
    if path.stat().st_size > MAX_BYTES:
        raise Invalid(
            "{file} is larger than {most} MB; divide it.", field="file", file=path.name, most=MAX_BYTES // 10**6
        )
    try:
        with zipfile.ZipFile(path) as parts:
            listed = parts.infolist()
            if "xl/workbook.xml" not in parts.namelist() or len(listed) > _MAX_PARTS:
                raise Invalid("{file} is no Excel workbook (.xlsx).", field="file", file=path.name)
            left = MAX_UNPACKED
            for part in listed:
                left -= _unpacked(parts, part, left, path.name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise Invalid("{file} is no Excel workbook (.xlsx).", field="file", file=path.name) from error


def _unpacked(parts: zipfile.ZipFile, part: zipfile.ZipInfo, left: int, file: str) -> int:
    """Return how many bytes a part unpacks to; raises Invalid beyond `left`, for formulas and for cells far out."""
    part.file_size = left + _CHUNK
    size, kept, where = 0, b"", ""
    with parts.open(part) as stream:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > left:
                raise Invalid("{file} unpacks to more than a workbook of items holds.", field="file", file=file)
            for mark in _MARK.finditer(kept + chunk):
                if mark[2] is None:
                    raise Invalid("{file}: {cell} holds a formula; paste the values alone.", file=file, cell=where)
                where = (mark[1] + mark[2]).decode()
                if int(mark[2]) > MAX_ROWS or _column_number(mark[1]) > MAX_COLUMNS:
                    raise Invalid(
                        "{file} has more than {rows} rows or {columns} columns.",
                        field="file",
                        file=file,
                        rows=MAX_ROWS,
                        columns=MAX_COLUMNS,
                    )
            kept = chunk[-64:]
    return size


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _tables(path: Path, faults: Faults) -> dict[str, list[Row]]:
    """Return the rows of every table by its key, with values as the parser takes them."""
    known = {name: table for table in TABLES for name in (table.key, table.name)}
    found: dict[str, list[Row]] = {}
    try:
        book = CalamineWorkbook.from_path(str(path))
        names = book.sheet_names
        if not any(known.get(name) is ITEMS for name in names):
            raise Invalid("{file} has no table {name}.", field="file", file=path.name, name=ITEMS.name)
        for name in names:
            table = known.get(name)
            if table is not None:
                cells = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
                found[table.key] = _rows(cells, table, f"{path.name} · {name}", faults)
            elif name != NOTES:
                fault = Invalid("{file} has the table {name}, which is none of this format.", file=path.name, name=name)
                faults.append(Fault.of(fault))
    except (CalamineError, OSError, ValueError) as error:
        raise Invalid("{file} is no Excel workbook (.xlsx).", field="file", file=path.name) from error
    if len(found[ITEMS.key]) > MOST_ITEMS:
        raise Invalid("{file} holds more than {most} items.", file=path.name, most=MOST_ITEMS)
    return found


def _rows(cells: Sequence[Sequence[Any]], table: Table, file: str, faults: Faults) -> list[Row]:
    header = [str(cell).strip() for cell in cells[0]] if cells else []
    columns = {name: column for column in table.columns for name in (column.key, column.header)}
    taken: list[Column | None] = [columns.get(name) for name in header]
    for place, name in enumerate(header):
        if name and (taken[place] is None or taken[place] in taken[:place]):
            message = "{file}, line {line}: {column} is not a column of this table, or stands twice."
            faults.append(Fault.of(Invalid(message, file=file, line=1, column=name[:40])))
    if not any(taken):
        faults.append(Fault.of(Invalid("{file}: the header line is missing.", file=file)))
    made = []
    for number, values in enumerate(cells[1:], 2):
        if all(value in ("", None) for value in values):
            continue
        row = Row(file, number)
        for column, value in zip(taken, values, strict=False):
            if column is not None and value not in ("", None):
                try:
                    row[column.key] = _value(row, column, value)
                except Invalid as error:
                    faults.append(Fault.of(error))
                    row["broken"] = True
        made.append(row)
    return made


def _value(row: Row, column: Column, value: Any) -> Any:
    """Return a cell's value as the member of the sheet that its column fills; raises Invalid."""
    text = _text(value)
    if text.startswith(_FORMULA):
        row.reject("{file}, line {line}: {column} begins like a formula.", column=column.key)
    match column.kind:
        case "flag":
            if isinstance(value, bool):
                return value
            if text.lower() not in column.flags:
                row.reject("{file}, line {line}: {column} must be 是 or 否.", column=column.key)
            return column.flags[text.lower()]
        case "whole":
            if not re.fullmatch(r"[0-9]{1,6}", text):
                row.reject("{file}, line {line}: {column} must be a whole number.", column=column.key)
            return int(text)
        case "choice":
            return column.words.get(text, text)
        case "choices":
            return [column.words.get(word, word) for word in _split(text, r"[;；、,，\n]")]
        case "lines":
            return _split(text, r"\n")
        case "day":
            return text[:10]
        case _:
            return re.sub(r"\s*\n\s*", " ", text)


def _split(text: str, marks: str) -> list[str]:
    return [word for part in re.split(marks, text) if (word := part.strip())]


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value).strip()


def _shown(fault: Fault) -> Fault:
    """Return a fault with its column named as the spreadsheet does."""
    name = fault.file.partition(" · ")[2]
    prefix = "fee_" if name.endswith(_FEE) else ""
    name = name.removesuffix(_FEE)
    table = next((one for one in TABLES if name in (one.name, one.key)), None)
    headers = {one.key: one.header for one in table.columns} if table else {}
    # What an item has several of is a table of its own.
    headers |= {one.key: one.name for one in TABLES} if table is ITEMS and not prefix else {}
    header = headers.get(prefix + fault.column)
    if header is None:
        return fault
    return Fault(fault.file, fault.line, header, fault.message, {**fault.params, "column": header})


class _Page(Protocol):
    """What is written to of a worksheet."""

    def write_string(self, row: int, column: int, text: str, style: Any = None) -> Any:
        """Write a text, whatever it begins with."""

    def write_number(self, row: int, column: int, number: float) -> Any:
        """Write a number."""


def write_excel(path: Path, sheets: Sequence[tuple[Sheet, date | None]]) -> None:
    """Write sheets with their valid-from days as a workbook that `read_excel` takes back; without any, the template.

    Texts are written as texts, whatever they begin with, so that opening the file runs nothing.
    """
    book = xlsxwriter.Workbook(str(path), {"strings_to_formulas": False, "strings_to_urls": False})
    bold, wrapped = book.add_format({"bold": True, "bg_color": "#E8EEF7"}), book.add_format({"text_wrap": True})
    bodies = [(sheet.body(), day) for sheet, day in sheets]
    for table in TABLES:
        page = book.add_worksheet(table.name)
        page.freeze_panes(1, 2)
        for place, column in enumerate(table.columns):
            page.write_string(0, place, column.header, bold)
            page.set_column(place, place, 24 if column.kind in ("text", "lines") else 14)
            words = list(column.words) if column.kind == "choice" else ["是", "否"] if column.kind == "flag" else []
            if words:
                page.data_validation(1, place, 5000, place, {"validate": "list", "source": words})
        rows = [row for body, day in bodies for row in _flat(table, body, day)]
        for number, row in enumerate(rows, 1):
            _write(page, number, table, row, wrapped)
    page = book.add_worksheet(NOTES)
    lines = [(table.name, one.header, one.hint or "、".join(one.words)) for table in TABLES for one in table.columns]
    for number, line in enumerate([("表", "列", "填写说明"), *lines]):
        for place, word in enumerate(line):
            page.write_string(number, place, word, bold if number == 0 else None)
    page.set_column(0, 2, 30)
    book.close()


def _flat(table: Table, body: Mapping[str, Any], valid_from: date | None) -> list[Mapping[str, Any]]:
    """Return the rows that one item has in a table."""
    if table.key == ITEMS.key:
        fee = {f"fee_{name}": body["fee"][name] for name in ("charged", "amount", "basis")}
        return [{**body, **fee, "valid_from": valid_from.isoformat() if valid_from else ""}]
    rows = body["fee"]["waivers"] if table.key == "waivers" else body[table.key]
    return [{**row, OWNER.key: body["code"]} for row in rows]


def _write(page: _Page, number: int, table: Table, row: Mapping[str, Any], wrapped: Any) -> None:
    for place, column in enumerate(table.columns):
        value = row.get(column.key)
        back = {code: word for word, code in column.words.items()}
        if isinstance(value, bool):
            page.write_string(number, place, "是" if value else "否")
        elif isinstance(value, int):
            page.write_number(number, place, value)
        elif isinstance(value, list):
            joint = "\n" if column.kind == "lines" else "；"
            page.write_string(number, place, joint.join(back.get(str(one), str(one)) for one in value), wrapped)
        elif value:
            page.write_string(number, place, back.get(str(value), str(value)))

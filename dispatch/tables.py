"""Reads the tables that districts edit by hand (YAML, CSV, Excel) and remembers on which line each row stood.

Knows nothing of what a table means: whoever owns the table checks its rows and names the line that is wrong.
"""

import csv
import io
import re
from collections.abc import Hashable, Iterable
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, NoReturn

import yaml
from python_calamine import CalamineError, CalamineWorkbook

from core.errors import Invalid

#: More than any real table by far; a larger file is a mistake.
MAX_BYTES = 4_000_000
SPREADSHEETS = (".xlsx", ".xls", ".ods")


class Row(dict[str, Any]):
    """One row or mapping of a table, with the file and the 1-based line on which it starts."""

    def __init__(self, file: str, line: int) -> None:
        super().__init__()
        self.file = file
        self.line = line

    def reject(self, reason: str, /, *, column: str | None = None, **params: Any) -> NoReturn:
        """Raise Invalid about this row; `reason` is an English template that may name {file}, {line} and {column}."""
        raise Invalid(reason, field=column, file=self.file, line=self.line, column=column, **params)

    def need(self, *columns: str) -> None:
        """Raise Invalid unless each column is there and filled."""
        for column in columns:
            if self.get(column) in (None, "", []):
                self.reject("{file}, line {line}: {column} is missing.", column=column)

    def only(self, *columns: str) -> None:
        """Raise Invalid on a column that the table does not have: a slip of the pen must not pass in silence."""
        for column in self:
            if column not in columns:
                self.reject("{file}, line {line}: {column} is not a column of this table.", column=column)

    def rows(self, column: str) -> list["Row"]:
        """Return a column that holds a list of rows, empty where it is missing; raises Invalid on anything else."""
        found = self.get(column)
        if found is None:
            return []
        if not isinstance(found, list) or not all(isinstance(row, Row) for row in found):
            self.reject("{file}, line {line}: {column} must be a list of rows.", column=column)
        return found

    def words(self, column: str) -> tuple[str, ...]:
        """Return a column that holds a list of words; raises Invalid, also on a single word."""
        found = self.get(column)
        if found is None:
            return ()
        if not isinstance(found, list) or not all(isinstance(word, str) and word for word in found):
            self.reject("{file}, line {line}: {column} must be a list of words, [like, this].", column=column)
        return tuple(found)

    def text(self, column: str) -> str:
        """Return a column that holds a text, empty where it is missing; raises Invalid on anything else."""
        found = self.get(column)
        if found is not None and not isinstance(found, str):
            self.reject("{file}, line {line}: {column} must be a text.", column=column)
        return found or ""

    def flag(self, column: str, *, otherwise: bool) -> bool:
        """Return a column that holds true or false; raises Invalid on anything else."""
        found = self.get(column, otherwise)
        if not isinstance(found, bool):
            self.reject("{file}, line {line}: {column} must be true or false.", column=column)
        return found

    def whole(self, column: str) -> int | None:
        """Return a column that holds a whole number, None where it is missing; raises Invalid on anything else."""
        found = self.get(column)
        if found is not None and (isinstance(found, bool) or not isinstance(found, int)):
            self.reject("{file}, line {line}: {column} must be a whole number.", column=column)
        return found


class _Loader(yaml.SafeLoader):
    """YAML without its surprises: `off` and `no` are words, `09:00` is text, codes keep their leading zeros."""

    file = ""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse references: no table needs them, and a few lines of them unfold into more than any memory holds."""
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]  # the stubs leave it bare
            raise Invalid("{file}, line {line}: references with * are not taken.", file=self.file, line=line)
        return super().compose_node(parent, index)

    def construct_row(self, node: yaml.MappingNode) -> Row:
        """Return the mapping as a Row; a key given twice raises Invalid instead of winning silently."""
        row = Row(self.file, node.start_mark.line + 1)
        for key_node, value_node in node.value:
            key = self.construct_object(key_node)
            if not isinstance(key, Hashable) or str(key) in row:
                row.reject("{file}, line {line}: {key} stands twice.", key=str(key))
            row[str(key)] = self.construct_object(value_node, deep=True)
        return row


_PLAIN = {
    "tag:yaml.org,2002:null": (re.compile(r"^(?:~|null|)$"), ["~", "n", ""]),
    "tag:yaml.org,2002:bool": (re.compile(r"^(?:true|false)$"), ["t", "f"]),
    "tag:yaml.org,2002:int": (re.compile(r"^(?:0|-?[1-9][0-9]{0,17})$"), list("-0123456789")),
    "tag:yaml.org,2002:timestamp": (re.compile(r"^\d{4}-\d\d-\d\d$"), list("0123456789")),
}
_Loader.yaml_implicit_resolvers = {}
for _tag, (_pattern, _first) in _PLAIN.items():
    _Loader.add_implicit_resolver(_tag, _pattern, _first)
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_row)


def read_text(path: Path) -> str:
    """Return the file's text without a byte order mark; raises Invalid when it is no UTF-8 or absurdly large."""
    data = path.read_bytes()
    if len(data) > MAX_BYTES:
        raise Invalid("{file} is too large to be a table.", file=path.name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Invalid("{file} is not UTF-8 text.", file=path.name) from error
    if "\x00" in text:
        # Bytes of a program or a picture can be read as UTF-8 by chance.
        raise Invalid("{file} is not UTF-8 text.", file=path.name)
    return text


def parse_yaml(text: str, *, file: str) -> list[Row]:
    """Return the documents of a YAML text, each a Row; raises Invalid with file and line."""
    documents: list[Row] = []
    try:
        loader = _Loader(text)
        loader.file = file
        while loader.check_data():  # type: ignore[no-untyped-call]  # the stubs leave it bare
            found = loader.get_data()
            if not isinstance(found, Row):
                raise Invalid("{file} does not hold a table.", file=file)
            documents.append(found)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Invalid("{file}, line {line}: this is not YAML.", file=file, line=line) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Invalid("{file} does not hold a table.", file=file) from error
    return documents


def parse_csv(text: str, *, file: str) -> list[Row]:
    """Return the rows of a CSV text with a header line, values stripped; raises Invalid with file and line."""
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        return _rows(((reader.line_num, values) for values in reader), file=file)
    except csv.Error as error:
        raise Invalid("{file}, line {line}: this is not CSV.", file=file, line=reader.line_num) from error


def read_excel(path: Path) -> list[Row]:
    """Return the rows of the first sheet of a spreadsheet with a header line; dates as 2026-10-01, whole numbers plain.

    Raises Invalid with file and line (as the spreadsheet counts them).
    """
    try:
        sheet = CalamineWorkbook.from_path(path).get_sheet_by_index(0)
        cells = sheet.to_python(skip_empty_area=False)
    except (CalamineError, OSError, IndexError) as error:
        raise Invalid("{file} is no spreadsheet that can be read.", file=path.name) from error
    return _rows(
        ((line, [_cell(value) for value in values]) for line, values in enumerate(cells, start=1)), file=path.name
    )


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        value = value.date() if value.time() == time() else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _rows(lines: Iterable[tuple[int, list[str]]], *, file: str) -> list[Row]:
    """Return numbered lines as rows under the names of the first; lines that are empty throughout are left out."""
    header: list[str] = []
    rows: list[Row] = []
    for line, found in lines:
        values = [value.strip() for value in found]
        if not any(values):
            continue
        if not header:
            header = values
            if len(set(header)) != len(header):
                raise Invalid("{file}, line {line}: a column is named twice.", file=file, line=line)
            continue
        row = Row(file, line)
        if len(values) != len(header):
            row.reject(
                "{file}, line {line}: {count} values stand under {width} columns.",
                count=len(values),
                width=len(header),
            )
        row.update(zip(header, values, strict=True))
        rows.append(row)
    if not header:
        raise Invalid("{file} does not hold a table.", file=file)
    return rows

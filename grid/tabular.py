"""Tables as districts hand them over (CSV, Excel, YAML), read by column, and the rows that cannot be taken.

Knows encodings, spreadsheets and types of columns. Does not know what a table is for: `grid.formats` says which columns
each one has.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray
from python_calamine import CalamineError, CalamineWorkbook

from core.errors import Invalid

#: Larger than any register of a district; a file above it is a mistake.
MAX_BYTES: Final = 2_000_000_000
#: What no name or address may contain: PostgreSQL refuses the first, people cannot see the others.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
#: Characters that make a spreadsheet take a text for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
#: What joins the parts of a key that is made of several source columns.
JOINT: Final = "/"
#: The columns of a report, as `say` is asked for them.
HEADER: Final = ("file", "row", "column", "reason", "value")
#: Says an English template, filled in, in the language of whoever reads the report.
Say = Callable[..., str]


def english(template: str, /, **params: Any) -> str:
    """Say a template as it is written, filled in."""
    return template.format_map(params) if params else template


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that was not taken, and why."""

    file: str
    #: As a spreadsheet counts: the header is row 1. Features of a GeoJSON file count from 1.
    row: int
    #: Empty when the whole row is at fault.
    column: str
    #: English template, a key of the catalogue; `params` fill it.
    reason: str
    params: Mapping[str, Any] = field(default_factory=dict)
    #: What stood there, cut short.
    value: str = ""

    @property
    def sentence(self) -> str:
        """The reason in English, filled in."""
        return english(self.reason, **self.params)


class Rejects(list[Reject]):
    """Collects what was refused, in the order of reading."""

    def add(self, file: str, row: int, /, *, column: str, reason: str, value: object = "", **params: Any) -> None:
        """Note one refused row."""
        self.append(Reject(file, row, column, reason, params, str(value)[:80]))

    def write(self, path: Path, *, say: Say = english) -> None:
        """Write `file,row,column,reason,value` as CSV that a spreadsheet opens without running anything.

        say: puts heads and reasons into the reader's language.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8-sig", newline="") as out:
            writer = csv.writer(out)
            writer.writerow([say(head) for head in HEADER])
            for one in self:
                safe = "'" + one.value if one.value.startswith(_FORMULA) else one.value
                writer.writerow((one.file, one.row, one.column, say(one.reason, **one.params), safe))


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its name, its type, and what may stand in it."""

    name: str
    #: text, code (pattern), number, integer or choice.
    kind: str = "text"
    required: bool = False
    #: Regular expression of a code.
    pattern: str = ""
    choices: tuple[str, ...] = ()
    longest: int = 200
    #: One line for `docs/formats.md`.
    meaning: str = ""


@dataclass(slots=True)
class Table:
    """The rows of a file that can be taken, by column: text as str objects, numbers as float64 (NaN: empty)."""

    file: str
    #: `(n,)` row numbers in the file.
    rows: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]
    #: Columns of the file that nothing reads.
    ignored: tuple[str, ...] = ()
    #: Keys of refused rows, as far as they can be read: what was loaded under them before stays.
    refused: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def take(self, mask: NDArray[np.bool_], *, key: str = "") -> None:
        """Keep the rows of a mask; the key column's values of the others are remembered as refused."""
        if key:
            self.refused.update(str(value) for value in self.columns[key][~mask])
        self.rows = self.rows[mask]
        self.columns = {name: values[mask] for name, values in self.columns.items()}


def read_raw(path: Path, *, encoding: str = "utf-8-sig") -> list[list[str]]:
    """Return the header and the rows of a CSV, Excel or YAML file as stripped text; empty rows stay, to keep counting.

    Raises Invalid when the file is missing, too large, not what its name says, or in another encoding.
    """
    if not path.is_file():
        raise Invalid("The file {file} is missing.", file=path.name)
    if path.stat().st_size > MAX_BYTES:
        raise Invalid("{file} is too large to be a table.", file=path.name)
    kind = path.suffix.lower()
    if kind in (".xlsx", ".xlsm", ".xls", ".ods"):
        return _excel(path)
    try:
        text = path.read_text(encoding=encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise Invalid(
            "{file} is not {encoding} text; say its encoding (gb18030 perhaps) in district.yaml.",
            file=path.name,
            encoding=encoding.removesuffix("-sig"),
        ) from error
    return _yaml(text, path.name) if kind in (".yaml", ".yml") else _csv(text, path.name)


def _csv(text: str, file: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        return [[value.strip() for value in row] for row in reader]
    except csv.Error as error:
        raise Invalid("{file}, line {line}: this is not CSV.", file=file, line=reader.line_num) from error


def _excel(path: Path) -> list[list[str]]:
    try:
        sheet = CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0)
        return [[_plain(value) for value in row] for row in sheet.to_python(skip_empty_area=False)]
    except (CalamineError, OSError, IndexError) as error:
        raise Invalid("{file} cannot be read as a spreadsheet.", file=path.name) from error


def _plain(value: Any) -> str:
    """Return a spreadsheet's value as text: codes come as floats and lose their `.0`."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value).strip()


def _yaml(text: str, file: str) -> list[list[str]]:
    try:
        # BaseLoader leaves every value text, so that codes keep their zeros and `no` stays a word.
        found = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  BaseLoader makes nothing but str, list and dict
    except (yaml.YAMLError, RecursionError) as error:
        raise Invalid("{file} is not YAML.", file=file) from error
    if isinstance(found, dict) and len(found) == 1:
        found = next(iter(found.values()))
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise Invalid("{file} does not hold a table.", file=file)
    header = list(dict.fromkeys(str(name) for row in found for name in row))
    return [header, *([_scalar(row.get(name, ""), file) for name in header] for row in found)]


def _scalar(value: Any, file: str) -> str:
    """Return a YAML value as text, lists of words joined by `|`; nothing deeper, which could unfold without end."""
    words = value if isinstance(value, list) else [value]
    if not all(isinstance(word, str) for word in words):
        raise Invalid("{file} does not hold a table.", file=file)
    return "|".join(words).strip()


def read_table(
    path: Path,
    columns: Sequence[Column],
    *,
    rejects: Rejects,
    mapping: Mapping[str, str | Sequence[str]] | None = None,
    encoding: str = "utf-8-sig",
    key: str = "",
) -> Table:
    """Return the rows of a file that can be taken, by our column names; the others go to `rejects`.

    mapping: our name → the file's name, or several that are joined by `/`. key: the column that must not repeat.
    Raises Invalid when the file cannot be read at all or lacks a column that is required.
    """
    raw = read_raw(path, encoding=encoding)
    header = raw[0] if raw else []
    named = [name for name in header if name]
    if len(set(named)) != len(named) or not named:
        raise Invalid("{file}: the header line is missing or names a column twice.", file=path.name)
    numbers = [i for i, row in enumerate(raw[1:], 2) if any(row)]
    width = len(header)
    body, rows = [], []
    for number in numbers:
        row = raw[number - 1]
        if len(row) > width and any(row[width:]):
            rejects.add(path.name, number, column="", reason="More values than columns.", value=row[width])
            continue
        body.append(row[:width] + [""] * (width - len(row)))
        rows.append(number)
    given = dict(zip(header, zip(*body, strict=True) if body else ((),) * width, strict=True))
    sources = {column.name: _sources(column.name, mapping) for column in columns}
    values: dict[str, list[str]] = {}
    for column in columns:
        wanted = sources[column.name]
        missing = [name for name in wanted if name not in given]
        if missing and (column.required or (mapping and column.name in mapping)):
            raise Invalid("{file} lacks the column {column}.", file=path.name, column=missing[0], field=missing[0])
        values[column.name] = [""] * len(rows) if missing else _joined([given[name] for name in wanted])
    table, good = check(path.name, rows, values, columns=columns, rejects=rejects, key=key)
    used = {name for names in sources.values() for name in names}
    table.ignored = tuple(name for name in named if name not in used)
    table.take(good, key=key)
    return table


def check(
    file: str,
    rows: Sequence[int],
    values: Mapping[str, list[str]],
    *,
    columns: Sequence[Column],
    rejects: Rejects,
    key: str = "",
) -> tuple[Table, NDArray[np.bool_]]:
    """Return all rows of text values by column in their types, and which of them can be taken.

    The others go to `rejects`. key: the column that must not repeat.
    """
    table = Table(file, np.array(rows, np.int64), {})
    good = np.ones(len(rows), dtype=bool)
    for column in columns:
        table.columns[column.name] = _typed(table, column, values[column.name], good=good, rejects=rejects)
    if key:
        _refuse_repeats(table, key, good=good, rejects=rejects)
    return table, good


def _sources(name: str, mapping: Mapping[str, str | Sequence[str]] | None) -> tuple[str, ...]:
    told = (mapping or {}).get(name, name)
    return (told,) if isinstance(told, str) else tuple(told)


def _joined(parts: list[Iterable[str]]) -> list[str]:
    return list(parts[0]) if len(parts) == 1 else [JOINT.join(values) for values in zip(*parts, strict=True)]


def _typed(
    table: Table, column: Column, values: list[str], *, good: NDArray[np.bool_], rejects: Rejects
) -> NDArray[Any]:
    """Return the column's values in their type; clears `good` for rows that do not fit and says why."""

    def refuse(i: int, reason: str, **params: Any) -> None:
        good[i] = False
        rejects.add(table.file, int(table.rows[i]), column=column.name, reason=reason, value=values[i], **params)

    if column.kind in ("number", "integer"):
        numbers = np.full(len(values), np.nan)
        for i, value in enumerate(values):
            if not value:
                if column.required:
                    refuse(i, "The value is missing.")
                continue
            try:
                numbers[i] = float(value)
            except ValueError:
                refuse(i, "This is not a number.")
                continue
            if not np.isfinite(numbers[i]) or (column.kind == "integer" and not numbers[i].is_integer()):
                refuse(i, "This is not a number." if column.kind == "number" else "This is not a whole number.")
        return numbers
    pattern = re.compile(column.pattern) if column.pattern else None
    for i, value in enumerate(values):
        if not value:
            if column.required:
                refuse(i, "The value is missing.")
        elif len(value) > column.longest:
            refuse(i, "The text is longer than {longest} characters.", longest=column.longest)
        elif _CONTROL.search(value):
            refuse(i, "The text holds control characters.")
        elif pattern and not pattern.fullmatch(value):
            refuse(i, "The code does not have the right form.")
        elif column.choices and value not in column.choices:
            refuse(i, "The value must be one of {choices}.", choices=", ".join(column.choices))
    return np.array(values, dtype=object)


def _refuse_repeats(table: Table, key: str, *, good: NDArray[np.bool_], rejects: Rejects) -> None:
    first: dict[str, int] = {}
    for i, value in enumerate(table.columns[key]):
        if not good[i]:
            continue
        if value in first:
            good[i] = False
            rejects.add(
                table.file,
                int(table.rows[i]),
                column=key,
                reason="The key stands already in row {row}.",
                value=value,
                row=first[value],
            )
        else:
            first[value] = int(table.rows[i])

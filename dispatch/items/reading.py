"""Item sheets written by hand in YAML: libraries of shared parts, defaults of a file, and what towns publish otherwise.

`docs/formats.md` describes the format. Every fault is gathered with file and line; who loads decides what to do then.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from core.errors import Invalid
from dispatch.items.parsing import Fault, Faults, parse
from dispatch.items.sheet import NAMES, Sheet
from dispatch.tables import Row, parse_yaml, read_text

#: The sheets shipped as examples.
DEFAULT: Final = Path(__file__).parent / "data" / "items"
#: What a code of an item looks like where neither the file nor the district says otherwise.
CODE_PATTERN: Final = r"[0-9A-Z][0-9A-Z-]{3,39}"
#: More items than any district has: the cities' lists hold about two thousand.
MOST_ITEMS: Final = 5000
#: Parts that a file may name instead of repeating them, and the member that names one.
_LIBRARIES: Final = ("materials", "pick_ups")
_KEYS: Final = ("source", "example", "valid_from", "code_pattern", "library", "items", "overrides")


@dataclass(frozen=True, slots=True)
class Given:
    """A sheet as a file gives it."""

    sheet: Sheet
    #: From when it should hold; None for the day of the load.
    valid_from: date | None
    source: str


@dataclass(frozen=True, slots=True)
class Override:
    """What a town or community publishes otherwise: members of the sheet's body."""

    item_code: str
    area_code: str
    fields: Mapping[str, Any]
    source: str


@dataclass(slots=True)
class Read:
    """What was read of some files, and everything that is wrong in them."""

    given: list[Given] = field(default_factory=list)
    overrides: list[Override] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)


@dataclass(slots=True)
class _Context:
    """What a file says once for all its items."""

    source: str = ""
    example: bool = False
    valid_from: date | None = None
    pattern: Any = None


def code_pattern(written: str) -> Any:
    """Return the compiled pattern of item codes that a district wrote; raises Invalid when it is none."""
    try:
        if len(written) > 200:
            raise Invalid("{pattern} is no pattern for codes.", field="code_pattern", pattern=written[:40])
        return re.compile(written)
    except re.error as error:
        raise Invalid("{pattern} is no pattern for codes.", field="code_pattern", pattern=written[:40]) from error


def read_yaml(paths: Sequence[Path], *, pattern: str = CODE_PATTERN) -> Read:
    """Return the sheets of YAML files in their order; a library in one file serves the ones after it.

    Raises Invalid when a file is missing or too large; everything else that is wrong stands in `faults`.
    """
    read = Read()
    library: dict[str, dict[str, Row]] = {name: {} for name in _LIBRARIES}
    procedures: dict[str, list[Row]] = {}
    for path in paths:
        if not path.is_file():
            raise Invalid("The file {file} is missing.", file=path.name)
        try:
            documents = parse_yaml(read_text(path), file=path.name)
        except Invalid as error:
            read.faults.append(Fault.of(error))
            continue
        for document in documents:
            context = _Context(source=path.name, pattern=code_pattern(pattern))
            read.faults.each([document], lambda one, c=context: _head(one, c))  # type: ignore[misc]  # bound now
            read.faults.each(_listed(document, "library", read.faults), lambda one: _keep(one, library, procedures))
            for row in _listed(document, "items", read.faults):
                _item(row, context, library, procedures, read)
            overrides = _listed(document, "overrides", read.faults)
            read.overrides += read.faults.each(overrides, lambda one, c=context: _override(one, c))  # type: ignore[misc]
    _refuse_twice(read)
    return read


def default_files() -> list[Path]:
    """Return the files of the shipped examples, the library first."""
    return sorted(DEFAULT.glob("*.yaml"), key=lambda path: (path.stem != "library", path.stem))


def _head(document: Row, context: _Context) -> None:
    document.only(*_KEYS)
    context.source = document.text("source") or context.source
    context.example = document.flag("example", otherwise=False)
    context.valid_from = day(document, "valid_from")
    if document.text("code_pattern"):
        context.pattern = code_pattern(document.text("code_pattern"))


def _listed(document: Row, name: str, faults: Faults) -> list[Row]:
    nothing: list[Row] = []
    found = faults.check(document, lambda one: one.rows(name), otherwise=nothing)
    if len(found) > MOST_ITEMS:
        error = Invalid("{file} holds more than {most} items.", file=document.file, most=MOST_ITEMS)
        faults.append(Fault.of(error))
        return []
    return found


def _keep(row: Row, library: dict[str, dict[str, Row]], procedures: dict[str, list[Row]]) -> None:
    """Take one entry of a library: `{material: …}`, `{pick_up: …}` or `{procedure: name, steps: […]}`."""
    row.only("material", "pick_up", "procedure", "steps")
    for name, member in (("materials", "material"), ("pick_ups", "pick_up")):
        if member in row:
            part = row[member]
            if not isinstance(part, Row):
                row.reject("{file}, line {line}: {column} must be a row of its own.", column=member)
            part.need("code")
            library[name][str(part["code"])] = part
    if "procedure" in row:
        row.need("steps")
        procedures[row.text("procedure")] = row.rows("steps")


def _item(
    row: Row,
    context: _Context,
    library: Mapping[str, Mapping[str, Row]],
    procedures: Mapping[str, list[Row]],
    read: Read,
) -> None:
    """Read one item with the parts that it takes from the library."""
    before = len(read.faults)
    full = Row(row.file, row.line)
    full.update(row)
    full.setdefault("example", context.example)
    for name in _LIBRARIES:
        if isinstance(row.get(name), list):
            full[name] = list(read.faults.each(_as_rows(row, name), lambda one, n=name: _use(one, library[n])))  # type: ignore[misc]
    if isinstance(row.get("steps"), str):
        full["steps"] = procedures.get(row["steps"])
    sheet = parse(full, read.faults, code_pattern=context.pattern)
    valid = read.faults.check(row, lambda one: day(one, "valid_from"), otherwise=None)
    if sheet is not None and len(read.faults) == before:
        read.given.append(Given(sheet, valid or context.valid_from, context.source))


def _as_rows(row: Row, name: str) -> Iterable[Row]:
    """Yield the members of a list as rows; a bare word names a part of the library."""
    for one in row[name]:
        if isinstance(one, Row):
            yield one
        else:
            made = Row(row.file, row.line)
            made["use"] = one
            yield made


def _use(row: Row, library: Mapping[str, Row]) -> Row:
    """Return a part with what it takes from the library filled in; its own members win."""
    if "use" not in row:
        return row
    known = library.get(str(row["use"]))
    if known is None:
        row.reject("{file}, line {line}: the library has no {code}.", column="use", code=str(row["use"])[:40])
    full = Row(row.file, row.line)
    full.update(known)
    full.update({name: value for name, value in row.items() if name != "use"})
    return full


def _override(row: Row, context: _Context) -> Override:
    row.need("item", "area_code")
    area = str(row["area_code"])
    if not re.fullmatch(r"\d{9}|\d{12}", area):
        row.reject("{file}, line {line}: {code} is no code of a town or community.", column="area_code", code=area[:20])
    changed = {name: value for name, value in row.items() if name not in ("item", "area_code")}
    for name in changed:
        if name not in NAMES or name == "code":
            row.reject("{file}, line {line}: {column} is not a column of this table.", column=name)
    return Override(str(row["item"]), area, changed, context.source)


def _refuse_twice(read: Read) -> None:
    """Refuse a code that two sheets of one reading have."""
    seen: set[str] = set()
    for given in read.given:
        if given.sheet.code in seen:
            error = Invalid("{file}: two sheets have the code {code}.", file=given.source, code=given.sheet.code)
            read.faults.append(Fault.of(error))
        seen.add(given.sheet.code)


def day(row: Row, column: str) -> date | None:
    """Return a column that holds a day, None where it is missing; raises Invalid on anything else."""
    found = row.get(column)
    if found is None or isinstance(found, date):
        return found
    try:
        return date.fromisoformat(str(found))
    except ValueError:
        row.reject("{file}, line {line}: {column} must be a day such as 2026-01-31.", column=column)

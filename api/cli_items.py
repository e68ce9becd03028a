"""Commands about the catalogue of service items: load, import, list, check, compare, template, export, withdraw."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import app, console
from core.errors import Invalid

if TYPE_CHECKING:
    from dispatch.items.reading import Read
    from dispatch.items.roles import Units

_items = typer.Typer(help="Service items 政务服务事项.", no_args_is_help=True)
app.add_typer(_items, name="items")

#: Faults that are printed; the rest is counted.
_SHOWN = 50


def _settings() -> tuple["Units", str]:
    """Return the district's units and its pattern of item codes."""
    from api import wiring
    from dispatch.items.reading import CODE_PATTERN
    from dispatch.items.roles import Units

    book = wiring.rulebook()
    units = Units(book.units, chosen=book.settings.get("item_units"))
    return units, str(book.settings.get("item_code_pattern", CODE_PATTERN))


def _read(file: str, pattern: str) -> "Read":
    from dispatch.items.excel import read_excel
    from dispatch.items.reading import default_files, read_yaml

    path = Path(file)
    if file == "default":
        return read_yaml(default_files(), pattern=pattern)
    if path.is_dir():
        found = sorted(path.glob("*.yaml"), key=lambda one: (one.stem != "library", one.stem))
        return read_yaml(found, pattern=pattern)
    return read_excel(path, pattern=pattern) if path.suffix.lower() == ".xlsx" else read_yaml([path], pattern=pattern)


def _say(read: "Read") -> None:
    for fault in read.faults[:_SHOWN]:
        console.print(fault.sentence, style="red", markup=False)
    if len(read.faults) > _SHOWN:
        console.print(f"… and {len(read.faults) - _SHOWN} more", style="red")


@_items.command("load")
def load(
    file: Annotated[str, typer.Argument(help="YAML file, folder of them, workbook, or `default`.")],
    *,
    skip_bad: Annotated[bool, typer.Option(help="Leave out what is at fault and load the rest.")] = False,
    lists: Annotated[
        Path | None, typer.Option(help="The three lists as YAML; with `default` the shipped ones.")
    ] = None,
) -> None:
    """Publish what differs from the current catalogue as new versions; all or nothing."""
    from api import wiring
    from core.actor import system
    from core.db import transaction
    from dispatch.items import catalogue
    from dispatch.items import lists as three
    from dispatch.items.roles import as_lines

    units, pattern = _settings()
    read = _read(file, pattern)
    _say(read)
    chosen = lists or (three.DEFAULT if file == "default" else None)
    entries = three.read_lists(chosen) if chosen else []
    with transaction(system(wiring.district(), "items")) as session:
        done = catalogue.load(session, read, units=units, at=wiring.now(), skip_bad=skip_bad)
        kept = three.load(session, entries) if chosen else None
    for line in as_lines(done.warned):
        console.print(line, style="yellow", markup=False)
    console.print(f"{len(done.published)} items published, {done.unchanged} unchanged, {done.overrides} town sheets.")
    if kept is not None:
        console.print(f"{kept} entries of the three lists.")


@_items.command("import")
def import_workbook(
    file: Annotated[Path, typer.Argument(help="Workbook (.xlsx) as `wangge items template` makes it.")],
    *,
    skip_bad: Annotated[bool, typer.Option(help="Leave out rows at fault and import the rest.")] = False,
) -> None:
    """Import a workbook; faults are told with table, row and column."""
    if file.suffix.lower() != ".xlsx":
        raise Invalid("{file} is no Excel workbook (.xlsx).", field="file", file=file.name)
    load(str(file), skip_bad=skip_bad, lists=None)


@_items.command("list")
def show(search: Annotated[str, typer.Argument(help="Words to look for.")] = "", page: int = 1) -> None:
    """List the items that hold today."""
    from rich.table import Table

    from api import wiring
    from core.actor import system
    from core.db import snapshot
    from dispatch.calendar import china_time
    from dispatch.items import catalogue

    book = wiring.rulebook()
    with snapshot(system(book.district, "items")) as session:
        day = china_time(wiring.now()).date()
        found = catalogue.listing(session, catalogue.Filter(search=search), day=day, page=page)
    title = f"{found.count} of {found.total} items, page {found.page} of {found.pages}"
    table = Table("code", "name", "unit", "level", "promised", "legal", "version", title=title)
    for line in found.lines:
        limits = (line.promised_limit, line.legal_limit)
        table.add_row(line.item_code, line.name, book.unit_name(line.unit_code), line.level, *limits, str(line.version))
    console.print(table)


@_items.command()
def check(file: Annotated[str, typer.Argument(help="YAML file, folder, workbook, or `default`.")]) -> None:
    """Read a file and say everything that is wrong with it; changes nothing, needs no database."""
    from dispatch.items.reading import CODE_PATTERN

    read = _read(file, CODE_PATTERN)
    _say(read)
    console.print(f"{len(read.given)} items can be taken, {len(read.faults)} faults.")
    if read.faults:
        raise typer.Exit(1)


@_items.command()
def compare(
    files: Annotated[list[str], typer.Argument(help="Sheets of towns or other districts: YAML or workbooks.")],
) -> None:
    """Say in what the sheets of towns differ from the district's, item by item; exit 1 when any does."""
    from api import wiring
    from core.actor import system
    from core.db import snapshot
    from core.errors import NotFound
    from dispatch.calendar import china_time
    from dispatch.items import catalogue
    from dispatch.items.compare import across

    _, pattern = _settings()
    differ = 0
    with snapshot(system(wiring.district(), "items")) as session:
        day = china_time(wiring.now()).date()
        for file in files:
            read = _read(file, pattern)
            _say(read)
            for given in read.given:
                try:
                    base = catalogue.current(session, given.sheet.code, day).sheet
                except NotFound as error:
                    console.print(f"{file}: {error}", markup=False)
                    differ += 1
                    continue
                for one in across(base, {file: given.sheet})[file]:
                    differ += 1
                    where = " ".join(part for part in (one.field, one.key, one.member) if part)
                    console.print(f"{given.sheet.code} {where}: {one.one!r} / {file}: {one.other!r}", markup=False)
    console.print(f"{differ} differences.")
    if differ:
        raise typer.Exit(1)


@_items.command()
def template(file: Annotated[Path, typer.Argument(help="Workbook to write.")]) -> None:
    """Write an empty workbook to be filled in."""
    from dispatch.items.excel import write_excel

    write_excel(file, [])
    console.print(f"Written: {file}", markup=False)


@_items.command()
def export(file: Annotated[Path, typer.Argument(help="Workbook to write.")]) -> None:
    """Write the current catalogue as a workbook that `import` takes back."""
    from api import wiring
    from core.actor import system
    from core.db import snapshot
    from dispatch.calendar import china_time
    from dispatch.items import catalogue
    from dispatch.items.excel import write_excel

    with snapshot(system(wiring.district(), "items")) as session:
        held = list(catalogue.every(session, china_time(wiring.now()).date()))
    write_excel(file, [(one.sheet, one.valid_from) for one in held])
    console.print(f"{len(held)} items written: {file}", markup=False)


@_items.command()
def withdraw(code: str, day: Annotated[str, typer.Argument(help="First day without it, such as 2026-12-01.")]) -> None:
    """Withdraw an item from a day on; cases that began before keep their version."""
    from api import wiring
    from core.actor import system
    from core.db import transaction
    from dispatch.items import catalogue

    try:
        first = date.fromisoformat(day)
    except ValueError as error:
        raise Invalid("{day} is no date; write 2026-11-21.", field="day", day=day[:20]) from error
    with transaction(system(wiring.district(), "items")) as session:
        catalogue.withdraw(session, code, first, at=wiring.now())
    console.print(f"{code} is withdrawn from {first} on.")

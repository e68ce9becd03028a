"""Commands about windows that take appointments: load the district's table, list them, close one for a day."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from api.cli import app, console
from core.errors import Invalid

_windows = typer.Typer(help="Windows and home visits that take appointments.", no_args_is_help=True)
app.add_typer(_windows, name="windows")


@_windows.command("load")
def load(file: Annotated[Path, typer.Argument(help="windows.csv or .xlsx, see docs/formats.md.")]) -> None:
    """Make the district's windows be those of a table; one that is missing there takes no more appointments."""
    from api import wiring
    from core.actor import system
    from core.db import transaction
    from dispatch import windows

    book = wiring.rulebook()
    rows = windows.read(file, book)
    with transaction(system(book.district, "command line")) as session:
        count = windows.keep(session, book.district, rows)
    console.print(f"{count:,} windows take appointments.")


@_windows.command("list")
def show() -> None:
    """List the windows that take appointments."""
    from rich.table import Table

    from api import wiring
    from core.actor import system
    from core.db import snapshot
    from dispatch import appointments

    book = wiring.rulebook()
    table = Table("code", "name", "kind", "unit", "days", "hours", "minutes", "seats")
    with snapshot(system(book.district, "command line")) as session:
        for one in appointments.windows(session, book):
            minutes = f"{one.slot_min}+{one.travel_min}" if one.travel_min else str(one.slot_min)
            row = (
                one.code,
                one.name,
                one.kind,
                book.unit_name(one.unit_code),
                one.weekdays or "all",
                one.hours or "all",
            )
            table.add_row(*row, minutes, str(one.capacity))
    console.print(table)


@_windows.command("close")
def close(
    code: str,
    day: Annotated[str, typer.Argument(help="2026-11-21")],
    reason: Annotated[str, typer.Argument(help="Shown to whoever wanted to come.")],
) -> None:
    """Close one window for a day; says how many had booked and must be called."""
    from api import wiring
    from core.actor import system
    from core.db import transaction
    from dispatch import visits

    try:
        chosen = date.fromisoformat(day)
    except ValueError as error:
        raise Invalid("{day} is no date; write 2026-11-21.", day=day[:20]) from error
    book = wiring.rulebook()
    with transaction(system(book.district, "command line")) as session:
        booked = visits.close_day(session, book, code, chosen, reason=reason)
    console.print(f"{code} is closed on {chosen}; {booked} people have an appointment then and must be called.")

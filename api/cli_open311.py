"""Commands about Open311: keys of senders, questions of services, and units that work in another server."""

import uuid
from pathlib import Path
from typing import Annotated

import typer

from api.cli import app, console
from core.errors import Invalid, NotFound

_open311 = typer.Typer(help="Open311 GeoReport v2.", no_args_is_help=True)
_keys = typer.Typer(help="Who may send requests.", no_args_is_help=True)
app.add_typer(_open311, name="open311")
_open311.add_typer(_keys, name="key")


@_keys.command("add")
def add(
    label: Annotated[str, typer.Argument(help="Whose it is; stands in the log of what comes with it.")],
    per_minute: Annotated[int, typer.Option(help="Most requests a minute.")] = 60,
    jurisdiction: Annotated[str, typer.Option(help="Only for this jurisdiction_id.")] = "",
) -> None:
    """Make a key and show it, this once."""
    from api import wiring
    from core.actor import system
    from core.db import transaction
    from hotline.open311 import keys

    with transaction(system(wiring.district(), "command line")) as session:
        made, key = keys.add(session, label, at=wiring.now(), jurisdiction=jurisdiction, per_minute=per_minute)
    console.print(f"{made}\n[bold]{key}[/]\nIt is shown this once; only its hash is kept.")


@_keys.command("list")
def show() -> None:
    """List the keys; what they are is known to their owners alone."""
    from rich.table import Table

    from api import wiring
    from core.actor import system
    from core.db import snapshot
    from hotline.open311 import keys, times

    table = Table("id", "label", "jurisdiction", "a minute", "made", "revoked")
    with snapshot(system(wiring.district(), "command line")) as session:
        for one in keys.listed(session):
            made, gone = times.written(one.created_at) or "", times.written(one.revoked_at) or ""
            table.add_row(str(one.id), one.label, one.jurisdiction, str(one.per_minute), made, gone)
    console.print(table)


@_keys.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(help="As `list` shows it.")]) -> None:
    """Let a key hold no longer."""
    from api import wiring
    from core.actor import system
    from core.db import transaction
    from hotline.open311 import keys

    try:
        known = uuid.UUID(key_id)
    except ValueError as error:
        raise NotFound("There is no such key.") from error
    with transaction(system(wiring.district(), "command line")) as session:
        keys.revoke(session, known, at=wiring.now())
    console.print("Revoked.")


@_open311.command("services")
def load(file: Annotated[Path, typer.Argument(help="services.yaml, see docs/formats.md.")]) -> None:
    """Make the questions of services be those of a table."""
    from api import wiring
    from core.actor import system
    from core.db import transaction
    from hotline.open311 import services

    book = wiring.rulebook()
    rows = services.read(file, book)
    with transaction(system(book.district, "command line")) as session:
        count = services.keep(session, rows)
    console.print(f"{count:,} services have words or questions of their own.")


@_open311.command("remote")
def remote(
    unit: Annotated[str, typer.Argument(help="Code of the unit that works there.")],
    endpoint: Annotated[str, typer.Argument(help="https://…/open311/v2")],
    key_file: Annotated[Path, typer.Option("--key-file", help="Holds the key that they gave.")],
    service: Annotated[list[str], typer.Option(help="OURS=THEIRS, again for each; =THEIRS for all others.")],
    jurisdiction: Annotated[str, typer.Option(help="Their jurisdiction_id.")] = "",
    *,
    off: Annotated[bool, typer.Option("--off", help="Forward no more.")] = False,
) -> None:
    """Say that a unit's matters are handled in another Open311 server."""
    from api import wiring
    from core.actor import system
    from core.db import transaction
    from hotline.open311 import forward

    table = dict(one.partition("=")[::2] for one in service)
    try:
        key = key_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid("The file {name} cannot be read.", name=str(key_file)) from error
    book = wiring.rulebook()
    with transaction(system(book.district, "command line")) as session:
        forward.keep_remote(
            session, book, unit, endpoint, key=key, services=table, jurisdiction=jurisdiction, active=not off
        )
    console.print(f"{book.unit_name(unit)}: {'off' if off else endpoint}")

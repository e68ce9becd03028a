"""Commands that start, stop and look after the program's own processes and its database."""

import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from api.cli import app, console

ServersOnly = Annotated[bool, typer.Option("--servers-only", help="Only PostgreSQL and Redis, migrated.")]


@app.command()
def up(*, servers_only: ServersOnly = False) -> None:
    """Start the servers, migrate, and start web, worker and beat; does nothing that is done already."""
    begin_servers()
    if servers_only:
        console.print("PostgreSQL and Redis are up.")
        return
    from api import services

    web = services.start()
    if web.taken:
        console.print(f"Port {web.taken} is taken by something else; the next free one is used.", style="yellow")
    console.print(f"Wangge 网格 answers at [bold]{web.address}[/]")


def begin_servers() -> None:
    """Make sure of PostgreSQL, Redis and the newest schema; says aloud what it does."""
    from api import local, schema

    servers = local.start()
    for note in servers.notes:
        console.print(note, style="yellow", markup=False)
    current, head = schema.revisions(servers.owner_url)
    if current != head:
        schema.upgrade(servers.owner_url)
        console.print(f"schema: {current or 'empty'} → {head}")


@app.command()
def down(*, erase: Annotated[bool, typer.Option("--erase", help="Remove the data, too.")] = False) -> None:
    """Stop exactly what `up` started here; data stays unless it is to be erased."""
    from api import local, services

    stopped = services.stop() + local.stop()
    console.print("stopped: " + (", ".join(stopped) or "nothing was running"))
    if erase:
        local.erase()
        console.print("The data is erased.")


@app.command()
def status() -> None:
    """Show what runs, where it answers and the age of the outbox; exit 1 if something is down."""
    import psycopg
    from rich.table import Table

    from api import doctor, processes, services
    from core.errors import WanggeError
    from core.settings import settings

    table = Table("process", "pid", "address")
    missing = 0
    for name in ("postgres", "redis", *services.NAMES):
        process = processes.find(settings().var / "run", name)
        missing += process is None
        table.add_row(name, str(process.pid) if process else "[red]not running[/]", process.address if process else "")
    console.print(table)
    try:
        age = doctor.outbox_age(datetime.now(UTC))
        console.print(f"outbox: {'nothing waits' if age is None else f'oldest waits {age}'}")
    except (psycopg.Error, WanggeError):
        console.print("outbox: unknown, the database does not answer")
    if missing:
        raise typer.Exit(1)


@app.command(name="doctor")
def show_doctor() -> None:
    """Look for what silently goes wrong; exit 1 if something is."""
    from rich.table import Table

    from api import doctor

    colours = {doctor.Verdict.GOOD: "green", doctor.Verdict.WARNING: "yellow", doctor.Verdict.FAULT: "bold red"}
    findings = doctor.examine(datetime.now(UTC))
    table = Table("check", "", "seen")
    for finding in findings:
        table.add_row(finding.about, f"[{colours[finding.verdict]}]{finding.verdict}[/]", finding.said)
    console.print(table)
    if any(finding.verdict is doctor.Verdict.FAULT for finding in findings):
        raise typer.Exit(1)


@app.command()
def migrate(revision: Annotated[str, typer.Argument(help="Revision to go up to.")] = "head") -> None:
    """Bring the database's schema to a revision, as the owner of the tables."""
    from api import local, schema

    url = local.owner_url()
    before, _ = schema.revisions(url)
    schema.upgrade(url, revision)
    after, head = schema.revisions(url)
    console.print(f"schema: {before or 'empty'} → {after} (newest: {head})")


@app.command(hidden=True, context_settings={"ignore_unknown_options": True})
def with_servers(command: Annotated[list[str], typer.Argument()]) -> None:
    """Run a program while the servers are up, and leave them as they were found; exit as it exits."""
    from api import local

    found_running = local.running()
    # Somebody who ends a long test run ends it in order, servers included.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    begin_servers()
    try:
        code = subprocess.run(command, check=False).returncode  # noqa: S603  the Makefile's own command
    finally:
        if not found_running:
            local.stop()
    raise typer.Exit(code)

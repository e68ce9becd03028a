"""Commands that start, stop and look after the program's own processes and its database."""

from typing import Annotated

import typer

from api.cli import app, console

ServersOnly = Annotated[bool, typer.Option("--servers-only", help="Only PostgreSQL and Redis, migrated.")]


@app.command()
def up(*, servers_only: ServersOnly = False) -> None:
    """Start the servers, migrate, and start web, worker and beat; does nothing that is done already."""
    from api import local, schema

    servers = local.start()
    for note in servers.notes:
        console.print(note, style="yellow", markup=False)
    current, head = schema.revisions(servers.owner_url)
    if current != head:
        schema.upgrade(servers.owner_url)
        console.print(f"migrated: {current or 'empty'} → {head}")
    if servers_only:
        console.print("PostgreSQL and Redis are up.")


@app.command()
def down() -> None:
    """Stop exactly what `up` started here; data stays."""
    from api import local

    stopped = local.stop()
    console.print("stopped: " + (", ".join(stopped) or "nothing was running"))


@app.command()
def migrate(revision: Annotated[str, typer.Argument(help="Revision to go up to.")] = "head") -> None:
    """Bring the database's schema to a revision, as the owner of the tables."""
    from api import local, schema

    url = local.owner_url()
    before, _ = schema.revisions(url)
    schema.upgrade(url, revision)
    after, head = schema.revisions(url)
    console.print(f"schema: {before or 'empty'} → {after} (newest: {head})")

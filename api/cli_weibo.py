"""Commands about Weibo: look for mentions now, and take exported ones in from a file."""

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from api.cli import app, console, errors
from core.errors import Invalid

_weibo = typer.Typer(help="Mentions on Weibo.", no_args_is_help=True)
app.add_typer(_weibo, name="weibo")

#: Posts that are kept in one transaction.
_BATCH = 500


@_weibo.callback()
def _group() -> None:
    """Mentions on Weibo."""


@_weibo.command("import")
def take_file(
    file: Annotated[Path, typer.Argument(help="CSV, Excel or JSON lines; docs/formats.md describes the columns.")],
    *,
    check: Annotated[bool, typer.Option("--check", help="Only read the file, and say what is wrong with it.")] = False,
) -> None:
    """Take mentions of an exported file in as if they had been fetched; the same file again changes nothing."""
    from api import wiring
    from api.worker import mentions_in
    from core.actor import system
    from core.db import transaction
    from hotline.weibo import files, inbox

    problems, stored, read = files.Problems(), inbox.Stored(), 0
    posts = files.read(file, problems)
    code = "" if check else wiring.district()
    while some := list(islice(posts, _BATCH)):
        read += len(some)
        if not check:
            with transaction(system(code, "weibo")) as session:
                stored += inbox.store(session, some, source="file", at=wiring.now())
    errors.print(files.as_text(problems), end="", markup=False)
    if check:
        console.print(f"{read:,} posts can be read, {problems.count:,} rows cannot")
    else:
        taken = mentions_in(code, going=lambda: True)
        console.print(
            f"{stored.new:,} new, {stored.known:,} known, {stored.edited:,} edited, {problems.count:,} rows not read; "
            f"{taken.cases:,} cases, {taken.joined:,} joined to others, {taken.held:,} held for review"
        )
    if problems.count and not read:
        raise Invalid("Nothing in {name} could be read.", name=file.name)


@_weibo.command()
def poll(
    *,
    once: Annotated[bool, typer.Option("--once", help="One walk; the worker does this by itself.")] = True,
) -> None:
    """Fetch what mentions us since the last time, and take it in."""
    from datetime import timedelta

    from api import wiring
    from api.worker import mentions_in
    from core.actor import system
    from core.db import snapshot
    from hotline.weibo import ledger

    del once
    if wiring.weibo_platform() is None:
        raise Invalid("There is no access token; set WANGGE_WEIBO_TOKEN.")
    code = wiring.district()
    taken = mentions_in(code, going=lambda: True, every=timedelta())
    with snapshot(system(code, "weibo")) as session:
        cursor = ledger.fetching(session)
    console.print(f"{taken.cases:,} cases, {taken.joined:,} joined to others, {taken.held:,} held for review")
    if cursor is not None and cursor.failure:
        errors.print(f"Weibo: {cursor.failure}", markup=False)
        raise typer.Exit(1)

"""Commands of the desk: take a file of reports in, take the shipped articles."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli import app, console
from core.errors import Invalid


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="CSV (UTF-8 or GBK) or Excel with a column 内容 or text.")],
    refused: Annotated[Path | None, typer.Option(help="Write what was refused here, with the reasons.")] = None,
) -> None:
    """Open a case for each row of a file, once however often it is given; refused rows come back with their reasons."""
    from api import wiring
    from api.pages.importing import refused_file
    from core.actor import system
    from core.db import snapshot, transaction
    from hotline.desk import importing

    if not file.is_file():
        raise Invalid("The file {file} is missing.", file=file.name)
    code = wiring.district()
    intake = wiring.intake()
    with transaction(system(code, "command line")) as session:
        run, before = importing.queue(session, file.read_bytes(), file.name, at=wiring.now())
    if before:
        console.print("This very file was given before; what is left of it is taken in now.")
    while not run.finished_at:
        if importing.work(intake, at=wiring.now()) is None:
            break
        with snapshot(system(code, "command line")) as session:
            run = importing.progress(session, run.id)
    console.print(
        f"{run.total:,} rows: {run.taken:,} taken, {run.repeated:,} here before, {run.refused:,} refused", markup=False
    )
    if run.refused and refused is not None:
        with snapshot(system(code, "command line")) as session:
            refused.write_bytes(refused_file(session, run.id))
        console.print(f"Refused rows: {refused}", markup=False)


@app.command("articles")
def articles() -> None:
    """Take the shipped example articles of the knowledge base, where the district has none yet."""
    from api import wiring
    from core.actor import system
    from core.db import transaction
    from hotline.desk import articles as kept

    book = wiring.rulebook()
    with transaction(system(book.district, "command line")) as session:
        count = kept.take_examples(session, book, at=wiring.now())
    console.print(f"{count} articles taken" if count else "There are articles already; nothing was changed.")

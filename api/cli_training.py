"""Commands about training: take a district's own cards and questions into use, and list what is in use."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli import app, console
from core.errors import Invalid

_training = typer.Typer(help="Cards, quizzes and certificates.", no_args_is_help=True)
app.add_typer(_training, name="training")


@_training.command("load")
def load(
    folder: Annotated[Path, typer.Argument(help="Folder of YAML files, one a duty; see docs/formats.md.")],
) -> None:
    """Take the question banks of a folder into use, all or none; attempts keep what they were asked."""
    from api import wiring
    from core.actor import system
    from core.db import transaction
    from grid import training
    from grid.training_bank import parse

    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise Invalid("{folder} holds no .yaml file.", folder=str(folder))
    banks = [parse(file.read_text("utf-8"), file=file.name) for file in files]
    code = wiring.district()
    with transaction(system(code, "command line")) as session:
        for bank in banks:
            new = training.load_bank(session, bank, at=wiring.now())
            state = "taken into use" if new else "in use already"
            console.print(
                f"{bank.duty}: {len(bank.cards)} cards, {len(bank.questions)} questions, {state}", markup=False
            )


@_training.command("list")
def listed() -> None:
    """List the question banks in use."""
    from api import wiring
    from core.actor import system
    from core.db import snapshot
    from grid import training

    with snapshot(system(wiring.district(), "command line")) as session:
        for duty, bank in training.banks(session).items():
            kind = "starter content" if bank.starter else "the district's own"
            console.print(f"{duty}: {len(bank.cards)} cards, {len(bank.questions)} questions, {kind}", markup=False)

"""Commands about understanding and taking in messages: train, evaluate, understand a file, play one."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import app, console, errors
from core.errors import Conflict, Invalid

if TYPE_CHECKING:
    from hotline.learning import Version
    from hotline.train import Report


@app.command()
def train(
    file: Annotated[Path | None, typer.Argument(help="CSV with tokens or content, and level1.")] = None,
    dev: Annotated[Path | None, typer.Option(help="Labelled messages to measure on; never trained on.")] = None,
) -> None:
    """Train the classifier of this installation and report how it fares on messages it has not seen."""
    from api import wiring
    from core.settings import settings
    from hotline.train import evaluate
    from hotline.train import train as train_model

    given = settings().data / "complaints"
    source = file or (given / "labelled_tokens_train.csv" if (given / "labelled_tokens_train.csv").exists() else None)
    held = dev or (given / "labelled_text_dev.csv" if (given / "labelled_text_dev.csv").exists() else None)
    out = wiring.trained_model()
    out.parent.mkdir(parents=True, exist_ok=True)
    _figures(train_model(source, out), "cross-validated on the training messages" if source else "own sentences only")
    if held:
        _figures(evaluate(out, held), f"held back: {held.name}")


def _figures(report: "Report", title: str) -> None:
    from rich.table import Table

    table = Table("category", "precision", "recall", "F1", "messages", title=title)
    for name, row in report.classes.items():
        table.add_row(name, f"{row.precision:.3f}", f"{row.recall:.3f}", f"{row.f1:.3f}", f"{row.support:,}")
    console.print(table)
    console.print(
        f"accuracy {report.accuracy:.4f}, macro-F1 {report.macro_f1:.4f}; gives a category on {report.answered:.1%}, "
        f"right there {report.accuracy_answered:.1%}; calibration error {report.calibration_error:.3f}; "
        f"model {report.model}"
    )


@app.command()
def learn(
    *,
    rollback: Annotated[bool, typer.Option("--rollback", help="Let the model before the present one answer.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Only show the models and their figures.")] = False,
) -> None:
    """Learn categories from what operators corrected; a new model answers only where it is better on kept cases."""
    from api import wiring
    from api.worker import learn_in
    from core.actor import system
    from core.db import snapshot, transaction
    from hotline import learning

    code = wiring.district()
    if rollback:
        with transaction(system(code, "learning")) as session:
            name = learning.rollback(session, code, at=wiring.now(), by="command line")
        console.print(f"{name or 'The model of the installation'} answers again.", markup=False)
    elif not show:
        made = learn_in(code)
        if made is None:
            raise Conflict("Somebody is learning already; see the background jobs.")
        console.print(f"{made.verdict}: {made.lessons:,} lessons, {made.kept:,} kept cases", markup=False)
    with snapshot(system(code, "learning")) as session:
        _models(learning.versions(session, code))


def _models(versions: "list[Version]") -> None:
    from rich.table import Column, Table

    state = Column("", no_wrap=True)
    table = Table(
        "model", "made", "lessons", "kept", "right", "before", "gained", "lost", "chance", state, title="models"
    )
    for one in versions:
        figures = one.figures
        table.add_row(
            one.name,
            f"{one.made_at:%Y-%m-%d %H:%M}",
            f"{one.lessons:,}",
            f"{figures['kept']:,}",
            f"{figures['candidate']:.3f}",
            f"{figures['present']:.3f}",
            str(figures["gained"]),
            str(figures["lost"]),
            f"{figures['chance']:.3f}",
            "answers" if one.in_use else one.verdict,
        )
    console.print(table)


@app.command()
def evaluate(
    parts: Annotated[
        list[str] | None, typer.Argument(help="places, matters, twins, hot, linkage; all without one.")
    ] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="A sample of each data set, for a first look.")] = False,
    failures: Annotated[int, typer.Option(help="Show so many ids of what went wrong, for each figure.")] = 0,
) -> None:
    """Measure how right the program is, on data that nothing was trained on or tuned to."""
    from rich.table import Table

    from core.settings import settings
    from hotline.evaluate import PARTS, figures

    unknown = [part for part in parts or () if part not in PARTS]
    if unknown:
        raise Invalid("There is no such part: {part}; there are: {parts}.", part=unknown[0], parts=", ".join(PARTS))
    table: Table | None = None
    shown = ""
    for part, one in figures(settings().data, parts or PARTS, quick=quick):
        if part != shown:
            if table is not None:
                console.print(table)
            shown = part
            table = Table("data", "trait", "n", "value", "goal", "", title=part)
        assert table is not None
        mark = {True: "reached", False: "[bold]short[/]", None: ""}[one.reached]
        goal = f"{'≥' if one.want == 'at least' else '≤'} {one.goal:g}" if one.goal is not None else ""
        value = f"{one.value:.3f}{one.unit}" if one.n else "-"
        table.add_row(one.data, one.trait, f"{one.n:,}", value, goal, mark)
        if one.note:
            table.add_row("", f"[dim]{one.note}[/]", "", "", "", "")
        if failures and one.failures:
            table.add_row("", f"[dim]{' '.join(one.failures[:failures])}[/]", "", "", "", "")
    if table is not None:
        console.print(table)


@app.command()
def understand(
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="JSON lines {id, channel, text}; - for standard input.")],
) -> None:
    """Write, for each message, where it is, what it is about and whether it repeats another; touches no case."""
    import orjson

    from api import wiring
    from hotline.understand import Tally, read_lines
    from hotline.understand import understand as understand_lines

    intake = wiring.intake()
    tally = Tally()
    names = {code: node.name for code, node in intake.book.areas.items() if node.kind == "town"}
    made = understand_lines(
        read_lines(file),
        geocoder=intake.places,
        classifier=intake.kinds,
        locator=intake.cells,
        town_names=names,
        tally=tally,
    )
    for line in made:
        sys.stdout.buffer.write(orjson.dumps(line) + b"\n")
    counted = ", ".join(f"{status} {n:,}" for status, n in sorted(tally.status.items()))
    errors.print(f"{tally.lines:,} messages: {counted}; {tally.twins:,} repeat another", markup=False)


@app.command()
def play(
    file: Annotated[Path, typer.Argument(help="messages_hot.csv, or cases.jsonl of `wangge generate`.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first messages.")] = None,
    days: Annotated[float, typer.Option(min=0, help="Spread over the last days, while no worker runs; 0: now.")] = 0.0,
    *,
    handle: Annotated[bool, typer.Option(help="Let demo units sign, return and answer.")] = True,
    join: Annotated[bool, typer.Option(help="Join texts without places to addresses of the district.")] = False,
) -> None:
    """Replay complaint texts in time order through the main job."""
    from api import replay, wiring

    wiring.intake()
    summary = replay.run(
        file, span=timedelta(days=days), handle=handle, join=join, limit=limit, console=console, at=wiring.now()
    )
    replay.show(summary, console)

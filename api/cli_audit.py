"""Commands that prove the log: `wangge audit verify`, `anchor` and `export` (docs/operations.md says when)."""

import sys
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from api.cli import app, console, errors
from core.errors import Invalid

if TYPE_CHECKING:
    from dispatch.audit import Fault, Findings

_audit = typer.Typer(help="Proof that nobody rewrote the log.", no_args_is_help=True)
app.add_typer(_audit, name="audit")

#: Broken links that are printed after the first.
_SHOWN = 20

_District = Annotated[str, typer.Option(help="6-digit code; the one that is served unless named.")]


@_audit.command("verify")
def verify(
    *,
    district: _District = "",
    since: Annotated[str, typer.Option(help="First day, 2026-11-21: only what was recorded from there on.")] = "",
    case: Annotated[str, typer.Option("--case", help="Number of one case.")] = "",
    against: Annotated[Path | None, typer.Option(help="Anchors that `audit export` wrote and you kept.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Walk every chain and every anchor; name the first broken link and exit with 1, or say that all hold."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from api import wiring
    from dispatch import anchors, audit

    code = district or wiring.district()
    kept = anchors.read_written(_text_of(against), district=code) if against else None
    asked = audit.Asked(code, since=_day(since) if since else None, number=case, against=kept)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    began = time.monotonic()
    with Progress(*columns, TimeRemainingColumn(), console=errors, transient=True) as shown:
        task = shown.add_task("entries", total=None if case else audit.total(asked))
        found = audit.prove(asked, at=wiring.now(), progress=lambda done: shown.update(task, completed=done))
    took = time.monotonic() - began
    if as_json:
        _print_json(code, found, took)
    else:
        _print_words(code, found, took)
    if found.faults:
        sys.exit(1)


def _day(written: str) -> date:
    try:
        return date.fromisoformat(written)
    except ValueError as error:
        raise Invalid("{day} is no date; write 2026-11-21.", field="since", day=written[:20]) from error


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid("The file {file} cannot be read.", field="against", file=path.name) from error


def _print_json(code: str, found: "Findings", took_s: float) -> None:
    first = found.first
    body = {
        "district": code,
        "holds": not found.faults,
        "cases": found.cases,
        "entries": found.entries,
        "anchored_days": found.days,
        "days_without_anchor": found.unanchored,
        "seconds": round(took_s, 3),
        "faults": found.faults,
        "first": asdict(first) if first else None,
        "listed": [asdict(one) for one in found.kept],
    }
    sys.stdout.write(orjson.dumps(body, option=orjson.OPT_INDENT_2).decode() + "\n")


def _print_words(code: str, found: "Findings", took_s: float) -> None:
    rate = found.entries / took_s if took_s else 0
    console.print(
        f"{code}: {found.entries:,} entries of {found.cases:,} cases and {found.days:,} anchored days"
        f" in {took_s:.1f} s ({rate:,.0f} entries/s)."
    )
    if found.unanchored:
        console.print(
            f"{found.unanchored:,} finished days wait for their anchor: `wangge audit anchor`.", style="yellow"
        )
    first = found.first
    if first is None:
        console.print("Every link holds.", style="green")
        return
    console.print(
        f"{found.faults:,} links are broken. The first: {_words(first)}", style="bold red", markup=False, soft_wrap=True
    )
    for one in [one for one in found.kept if one is not first][:_SHOWN]:
        console.print(f"  {_words(one)}", markup=False, soft_wrap=True)


def _words(fault: "Fault") -> str:
    from dispatch.audit import FAULTS

    where = f"case {fault.case}, entry {fault.seq}, day {fault.day}" if fault.case else f"day {fault.day}"
    return f"{where}: {fault.what}: {FAULTS[fault.what]}" + (f" ({fault.detail})" if fault.detail else "")


@_audit.command("anchor")
def anchor(district: _District = "") -> None:
    """Anchor every finished day that lacks its anchor, as the nightly task does."""
    from api import wiring
    from dispatch import anchors

    code = district or wiring.district()
    made = anchors.make_missing(code, at=wiring.now())
    if made:
        console.print(f"{len(made):,} days anchored: {made[0]} to {made[-1]}.")
    else:
        console.print("Every finished day has its anchor.")


@_audit.command("export")
def export(
    folder: Annotated[Path, typer.Argument(help="Where the text is written.")], district: _District = ""
) -> None:
    """Write the anchors as a text to print or keep outside this house; `verify --against` compares with it."""
    from api import wiring
    from dispatch import anchors

    code = district or wiring.district()
    links = anchors.kept_of(code)
    if not links:
        raise Invalid("There is no anchor yet; the first is made an hour after the first day ended.")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"anchors-{code}-{links[-1].day}.txt"
    path.write_text(anchors.written(links, district=code, name=wiring.rulebook(code).name), encoding="utf-8")
    console.print(f"{len(links):,} anchors: {path}", markup=False, soft_wrap=True)
    console.print(f"The last one stands for all before it: {links[-1].hash.hex()}", markup=False, soft_wrap=True)

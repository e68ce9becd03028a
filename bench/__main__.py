"""`python -m bench [--quick] [NAME …]`: run the benches, print ratios, and write docs/benchmarks.md when all ran whole."""

import argparse
import importlib
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.rows import Row

#: In this order; each module has `run(quick) -> list[Row]`.
NAMES = ("intake", "http", "locate", "tiles", "outbox", "geocode", "growth")
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_HEAD = """# Benchmarks

Written by `make bench`. Every figure stands beside its reference, measured in the same run on the same machine in turns;
machines are noisy and only ratios count. A ratio below its goal is a shortfall, and is left standing.

"""


def machine() -> str:
    """Return the class of the machine, without its name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, load at the end {load:.1f}"


def show(rows: list[Row]) -> None:
    table = Table("work", "ours", "reference", "unit", "ratio", "goal")
    for row in rows:
        table.add_row(row.work, f"{row.ours:,.1f}", f"{row.reference:,.1f}", row.unit, f"{row.ratio:.2f}", row.goal)
    console = Console(width=150)
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"  {row.work}: {row.note}", style="dim", markup=False)


def write(rows: list[Row]) -> None:
    lines = [_HEAD, f"{datetime.now(UTC):%Y-%m-%d}, {machine()}.\n"]
    lines.append("\n| work | ours | reference | unit | ratio | goal | note |\n|---|---:|---:|---|---:|---|---|\n")
    lines += [
        f"| {r.work} | {r.ours:,.1f} | {r.reference:,.1f} | {r.unit} | {r.ratio:.2f} | {r.goal} | {r.note} |\n"
        for r in rows
    ]
    PAGE.write_text("".join(lines), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="short rounds, nothing is written")
    given = parser.parse_args()
    rows: list[Row] = []
    for name in given.names or NAMES:
        print(f"— {name}", flush=True)
        found = importlib.import_module(f"bench.{name}").run(given.quick)
        show(found)
        rows += found
    if not given.quick and not given.names:
        write(rows)
        print(f"written to {PAGE.relative_to(PAGE.parent.parent)}")


if __name__ == "__main__":
    main()

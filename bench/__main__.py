"""`python -m bench [--quick] [NAME …]`: run the benches, print ratios, and write docs/benchmarks.md."""

import argparse
import importlib
import json
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from bench.rows import Row
from core.settings import ROOT, settings

#: In this order; each module has `run(quick) -> list[Row]`.
NAMES = (
    *("intake", "http", "locate", "tiles", "outbox", "clocks", "geocode", "growth", "act", "worklist"),
    *("field", "draw", "check", "registers"),
)
PAGE = ROOT / "docs" / "benchmarks.md"
KEPT = settings().var / "bench"
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


def keep(name: str, rows: list[Row]) -> None:
    """Keep the result of one bench, so that the page can be made of the newest of each."""
    KEPT.mkdir(parents=True, exist_ok=True)
    found = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine(), "rows": [asdict(row) for row in rows]}
    (KEPT / f"{name}.json").write_text(json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8")


def write() -> None:
    """Write the page from what is kept."""
    lines = [_HEAD]
    for name in NAMES:
        if not (KEPT / f"{name}.json").exists():
            continue
        found = json.loads((KEPT / f"{name}.json").read_text(encoding="utf-8"))
        lines.append(f"\n## {name}\n\n{found['date']}, {found['machine']}.\n\n")
        lines.append("| work | ours | reference | unit | ratio | goal | note |\n|---|---:|---:|---|---:|---|---|\n")
        for row in (Row(**row) for row in found["rows"]):
            figures = f"{row.ours:,.1f} | {row.reference:,.1f} | {row.unit} | {row.ratio:.2f}"
            lines.append(f"| {row.work} | {figures} | {row.goal} | {row.note} |\n")
    PAGE.write_text("".join(lines), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="short rounds, nothing is kept")
    given = parser.parse_args()
    if unknown := set(given.names) - set(NAMES):
        parser.error(f"no bench is called {', '.join(sorted(unknown))}")
    for name in given.names or NAMES:
        print(f"— {name}", flush=True)
        found = importlib.import_module(f"bench.{name}").run(given.quick)
        show(found)
        if not given.quick:
            keep(name, found)
            write()


if __name__ == "__main__":
    main()

"""A department's list of 100,000 invented residents taken into an empty register. `python -m bench registers`.

The whole way: spreadsheet read, rows checked, linked among themselves and to who is known, sealed, written, committed.
The reference is the goal of one minute, and beside it a bare INSERT of as many sealed rows from a temporary table.
"""

import sys
import time

from bench import scene
from bench.rows import Row
from core.actor import system
from core.crypto import seal
from core.db import snapshot, transaction
from core.ids import new_id
from grid.fiction import CODE, build
from grid.registers import bulk, fiction, importing, templates
from grid.registers.importing import Wanted
from grid.registers.list_models import SourceRow

_GOAL_S = 60.0


def give(kind: str, rows: list[tuple[str, ...]], source: str) -> tuple[float, dict[str, int]]:
    """Take a list in and return the seconds from its being put up, and what became of its rows."""
    data = templates.filled(kind, rows)
    begun = time.perf_counter()
    with transaction(system(CODE, "bench")) as session:
        key = importing.queue(session, data, "bench.xlsx", Wanted(kind, source, whole=True, doubtful=True), at=scene.AT)
    importing.work(CODE, clock=lambda: scene.AT)
    took = time.perf_counter() - begun
    with snapshot(system(CODE, "bench")) as session:
        done = importing.progress(session, key)
    assert done.state == "done", (done.state, done.counts, done.error)
    return took, dict(done.counts)


def bare(count: int) -> float:
    """Return the seconds for writing as many sealed rows, and nothing else; rolled back."""
    begun = time.perf_counter()
    with transaction(system(CODE, "bench")) as session:
        listed = session.execute(SourceRow.__table__.select().limit(1)).one()
        given = (
            dict(listed._mapping) | {"id": new_id(), "sealed": seal("x" * 300, context="bench")} for _ in range(count)
        )
        bulk.insert(session, SourceRow, given)
        took = time.perf_counter() - begun
        session.rollback()
    return took


def run(quick: bool) -> list[Row]:  # noqa: FBT001  the signature of every bench
    people = 5_000 if quick else 104_000
    ground = build(seed=11, households=max(people * 2 // 5, 400))
    rooms = fiction.homes(ground)
    made = fiction.invent(rooms, people=people, seed=11)
    with scene.district("registers", households=1_000):
        homes, _ = give("rooms", fiction.room_rows(rooms), "housing")
        rows = []
        for source, lines in made.lists.items():
            took, counts = give("residents", fiction.resident_rows(lines), source)
            note = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
            rows.append(
                Row(
                    f"list of {source}, {len(lines):,} residents",
                    took,
                    _GOAL_S,
                    "s",
                    took / _GOAL_S,
                    "100,000 under 60 s",
                    note,
                )
            )
        count = len(made.lists["police"])
        least = bare(count)
        rows.append(Row(f"the same beside {count:,} bare rows", rows[0].ours, least, "s", rows[0].ours / least, ""))
        rows.append(Row(f"list of {len(rooms):,} rooms", homes, _GOAL_S, "s", homes / _GOAL_S, ""))
    return rows


if __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print(row)

"""Departments' lists for tests: a few rooms in the tiny district, and rows of residents with valid invented numbers."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from core.actor import system
from core.db import snapshot, transaction
from core.ids import check_character
from grid.registers import importing, templates
from grid.registers.importing import Progress, Wanted
from tests import tiny

#: A point in the first cell of the west town.
LNG, LAT = tiny.LNG + 0.002, tiny.LAT + 0.002
ESTATE = "云安花园"


def number(birth: str, running: int) -> str:
    """Return an identity number of nobody: area 990101, that day, that running number, the right check."""
    stem = f"990101{birth.replace('-', '')}{running:03d}"
    return stem + check_character(stem)


def rooms(estate: str = ESTATE, *, buildings: int = 2) -> list[tuple[str, ...]]:
    """Return rows of the list of rooms: 101 to 203 in each building."""
    order = [one.name for one in templates.SHEETS["rooms"].columns]
    made = []
    for building in range(1, buildings + 1):
        for room in ("101", "102", "103", "201", "202", "203"):
            row = {"estate": estate, "building": f"{building}栋", "entrance": "1", "number": room}
            row |= {"kind": "住宅楼", "lng": str(LNG), "lat": str(LAT)}
            made.append(tuple(row.get(name, "") for name in order))
    return made


def resident(name: str, birth: str, room: str = "101", **more: str) -> tuple[str, ...]:
    """Return a row of the list of residents; `more` by our names."""
    order = [one.name for one in templates.SHEETS["residents"].columns]
    row = {"name": name, "birth_date": birth, "place": f"{ESTATE}1栋1单元{room}室"} | more
    return tuple(row.get(one, "") for one in order)


def give(
    kind: str, rows: Sequence[Sequence[str]], source: str, *, clock: Callable[[], datetime], **wanted: Any
) -> Progress:
    """Put a list up, take it in, and return what became of it."""
    data = templates.filled(kind, rows)
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        key = importing.queue(session, data, "名单.xlsx", Wanted(kind, source, **wanted), at=clock())
    importing.work(tiny.DISTRICT, clock=clock)
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        return importing.progress(session, key)

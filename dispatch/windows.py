"""Where windows come from: a table that a district keeps, or invented ones for a demonstration. Books nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.errors import Invalid
from dispatch.appointments import ServiceWindow
from dispatch.rulebook import Rulebook
from dispatch.slots import Pattern, check
from grid.models import Unit
from grid.tabular import Column, Rejects, read_table

#: The columns of `windows.csv`; `docs/formats.md` says them to people.
COLUMNS: Final = (
    Column("code", "code", required=True, pattern=r"[0-9A-Za-z\-]{1,40}"),
    Column("name", required=True, longest=60),
    Column("unit", "code", required=True),
    Column("kind", "choice", required=True, choices=("window", "home")),
    Column("place", required=True, longest=120),
    Column("area", longest=15),
    Column("items", longest=2000),
    Column("weekdays", longest=20),
    Column("hours", longest=60),
    Column("slot_min", "integer", required=True),
    Column("travel_min", "integer"),
    Column("capacity", "integer", required=True),
)
_RANGES: Final = {"slot_min": (5, 480), "travel_min": (0, 240), "capacity": (1, 100)}
#: Departments that get a counter in the invented hall; a real one has dozens.
_DEPARTMENTS: Final = 6


def read(path: Path, book: Rulebook) -> list[dict[str, Any]]:
    """Return the rows of a table of windows; raises Invalid with file, row and reason for the first that is wrong."""
    rejects = Rejects()
    table = read_table(path, COLUMNS, rejects=rejects, key="code")
    for one in rejects:
        raise Invalid("{file}, row {row}: {reason}", file=one.file, row=one.row, reason=one.sentence)
    found = []
    for i in range(len(table)):
        row = {column.name: table[column.name][i] for column in COLUMNS}
        try:
            found.append(_row(row, book))
        except Invalid as error:
            raise Invalid(
                "{file}, row {row}: {reason}", file=path.name, row=int(table.rows[i]), reason=str(error)
            ) from error
    return found


def _row(given: dict[str, Any], book: Rulebook) -> dict[str, Any]:
    numbers = {}
    for name, (least, greatest) in _RANGES.items():
        # An empty number is NaN.
        value = given[name] if given[name] == given[name] else 0
        if not least <= value <= greatest:
            raise Invalid("{column} must be from {least} to {greatest}.", column=name, least=least, greatest=greatest)
        numbers[name] = int(value)
    check(Pattern(given["weekdays"], given["hours"], numbers["slot_min"], numbers["travel_min"], numbers["capacity"]))
    area = given["area"]
    if area and area[:9] not in book.areas:
        raise Invalid("There is no area {code}.", code=area)
    return {
        "code": given["code"],
        "name": given["name"],
        "unit_code": book.checked_unit(given["unit"]),
        "kind": given["kind"],
        "place": given["place"],
        "area_code": area,
        "town_code": area[:9],
        "items": given["items"].split(),
        "weekdays": given["weekdays"],
        "hours": given["hours"],
        "invented": False,
        **numbers,
    }


def keep(session: Session, district: str, rows: Sequence[dict[str, Any]]) -> int:
    """Make the district's windows be exactly these and return how many; one that is gone is closed, not deleted.

    What was booked keeps its time. Writes; caller commits; waits for bookings that are being made.
    """
    session.execute(
        update(ServiceWindow)
        .where(ServiceWindow.district_code == district, ServiceWindow.code.not_in([row["code"] for row in rows]))
        .values(active=False)
    )
    for row in rows:
        values = {"district_code": district, "active": True} | row
        changed = {name: value for name, value in values.items() if name not in ("district_code", "code")}
        session.execute(
            insert(ServiceWindow)
            .values(values)
            .on_conflict_do_update(index_elements=["district_code", "code"], set_=changed)
        )
    return len(rows)


def invent(session: Session, book: Rulebook) -> list[dict[str, Any]]:
    """Return made-up windows for a demonstration: a hall with counters, and for each town a window and home visits."""
    units = list(
        session.scalars(select(Unit).where(Unit.district_code == book.district, Unit.active).order_by(Unit.code))
    )
    rows: list[dict[str, Any]] = []

    def add(unit: Unit, kind: str, name: str, place: str, **pattern: Any) -> None:
        rows.append(
            {
                "code": f"W{len(rows) + 1:03d}",
                "name": name,
                "unit_code": unit.code,
                "kind": kind,
                "place": place,
                "items": [],
                "weekdays": "",
                "hours": "",
                "travel_min": 0,
                "area_code": "",
                "town_code": "",
                "invented": True,
            }
            | pattern
        )

    for unit in [unit for unit in units if unit.kind == "department"][:_DEPARTMENTS]:
        hall = f"{book.name}政务服务大厅"
        add(unit, "window", f"{unit.name}窗口", f"{hall}二楼", slot_min=20, capacity=2)
    for unit in units:
        town = book.areas.get(unit.area_code)
        if unit.kind != "town_office" or town is None:
            continue
        centre, areas = f"{town.name}便民服务中心", {"area_code": unit.area_code, "town_code": unit.area_code}
        add(unit, "window", f"{centre}综合窗口", f"{centre}一楼", slot_min=15, capacity=3, town_code=unit.area_code)
        add(unit, "home", f"{town.name}上门服务队", centre, slot_min=60, travel_min=30, capacity=1, **areas)
    return rows


def invent_once(session: Session, book: Rulebook) -> int:
    """Give a district without any window invented ones and return how many. Writes; caller commits."""
    if session.scalar(select(ServiceWindow.code).where(ServiceWindow.district_code == book.district).limit(1)):
        return 0
    return keep(session, book.district, invent(session, book))

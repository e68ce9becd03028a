"""Buildings by entrance and room, and where people live in words; entering is `grid.registers.keeping`'s."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.db import actor_of, rows
from grid.registers.fields import REGISTERS

#: Rooms that one page of a building shows.
MOST_ROOMS: Final = 2000
_WORDS: Final = """
SELECT {key} AS id, b.estate, b.name AS building, b.address, r.entrance, r.number
FROM {table} t
{joins}
JOIN room r ON r.district_code = :d AND r.id = {room}
JOIN building b ON b.district_code = :d AND b.id = r.building_id
WHERE t.district_code = :d AND t.id = ANY (:ids)
"""
_HOW: Final[Mapping[str, tuple[str, str]]] = {
    "resident": ("JOIN household h ON h.district_code = :d AND h.id = t.household_id", "h.room_id"),
    "household": ("", "t.room_id"),
    "tenancy": ("", "t.room_id"),
    "organisation": ("", "t.room_id"),
    "room": ("", "t.id"),
}
_ROOMS: Final = """
SELECT r.id, r.entrance, r.number, r.floor, r.use, r.area_m2, r.version,
       (SELECT count(*) FROM household h WHERE h.district_code = :d AND h.room_id = r.id AND h.state = 'living')
         AS households,
       EXISTS (SELECT 1 FROM tenancy t WHERE t.district_code = :d AND t.room_id = r.id AND t.state = 'let') AS let
FROM room r
WHERE r.district_code = :d AND r.building_id = :building AND r.state = 'there'
ORDER BY r.entrance, r.floor NULLS LAST, length(r.number), r.number
LIMIT :most
"""


@dataclass(frozen=True, slots=True)
class RoomLine:
    """One room of a building; households and rentals as far as the actor sees them."""

    id: uuid.UUID
    entrance: str
    number: str
    floor: int | None
    use: str
    area_m2: int | None
    version: int
    households: int
    let: bool


def addresses(session: Session, register: str, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return where rows of a register are, as people say it: 柳岸花园3栋2单元501. Reads."""
    if register not in _HOW or not ids:
        return {}
    joins, room = _HOW[register]
    sql = _WORDS.format(key="t.id", table=register, joins=joins, room=room)
    found = rows(session, sql, d=actor_of(session).district, ids=list(ids))
    return {row["id"]: words(row) for row in found}


def words(row: Mapping[str, Any]) -> str:
    """Return estate, building, entrance and room in words, the road's address where there is no estate."""
    entrance = f"{row['entrance']}单元" if row["entrance"] else ""
    return f"{row['estate'] or row['address']}{row['building']}{entrance}{row['number']}"


def rooms(session: Session, building_id: uuid.UUID) -> list[RoomLine]:
    """Return the rooms of a building by entrance and floor; at most `MOST_ROOMS`. Reads."""
    found = rows(session, _ROOMS, d=actor_of(session).district, building=building_id, most=MOST_ROOMS)
    return [RoomLine(**row) for row in found]


def choices(session: Session, cells: Sequence[str] | None, *, most: int = 500) -> list[tuple[uuid.UUID, str]]:
    """Return rooms of some cells with their words, to choose from in a form; None: of all. Reads."""
    sql = """
SELECT r.id, b.estate, b.name AS building, b.address, r.entrance, r.number
FROM room r JOIN building b ON b.district_code = :d AND b.id = r.building_id
WHERE r.district_code = :d AND r.state = 'there' AND (CAST(:cells AS text[]) IS NULL OR r.cell_code = ANY (:cells))
ORDER BY b.estate, length(b.name), b.name, r.entrance, length(r.number), r.number LIMIT :most
"""
    given = None if cells is None else list(cells)
    return [(row["id"], words(row)) for row in rows(session, sql, d=actor_of(session).district, cells=given, most=most)]


def standing_in(session: Session, register: str, room_id: uuid.UUID, *, most: int = 50) -> list[Any]:
    """Return the rows of a register that stand in a room and are in use, as far as the actor sees them. Reads."""
    model: Any = REGISTERS[register].model
    query = select(model).where(
        model.district_code == actor_of(session).district,
        model.room_id == room_id,
        model.state.not_in(REGISTERS[register].ended),
    )
    return list(session.scalars(query.order_by(model.id).limit(most)))

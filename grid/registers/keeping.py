"""Keeping what is no person: buildings, rooms, rentals, organisations, parts, key places; entered, changed, ended.

One way for all of them: rights in the cell, checked fields, what follows from them, an event. People go their own way
(`grid.registers.people`).
"""

import uuid
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.actor import system
from core.db import acting_as, actor_of
from core.errors import Conflict, Forbidden, Invalid
from grid.registers import entering, events, parts, permissions
from grid.registers.events import Position, Told
from grid.registers.fields import REGISTERS
from grid.registers.permissions import Access

_CHINA: Final = ZoneInfo("Asia/Shanghai")
#: What a row of a register stands in, where it has no point of its own.
STANDS_IN: Final[Mapping[str, tuple[str, str]]] = {
    "room": ("building_id", "building"),
    "tenancy": ("room_id", "room"),
    "household": ("room_id", "room"),
    "organisation": ("room_id", "room"),
}
#: How often a key place of a risk is inspected, in days. *Default* of the form.
EVERY_DAYS: Final[Mapping[str, int]] = {"high": 30, "medium": 90, "low": 180}
#: Registers that this module keeps.
KEPT: Final = ("building", "room", "tenancy", "organisation", "part", "key_place", "household")
#: Rows that stand in a building are attached to its new point: rooms first, then what stands in them.
_FOLLOWING: Final = (
    """
UPDATE room SET {set} FROM building s
WHERE room.district_code = :d AND s.district_code = :d AND s.id = :id AND room.building_id = s.id
""",
    *(
        f"""
UPDATE {table} SET {{set}} FROM room s
WHERE {table}.district_code = :d AND s.district_code = :d AND s.building_id = :id AND {table}.room_id = s.id
"""  # noqa: S608  names of this module's own
        for table in ("household", "tenancy", "organisation")
    ),
    """
UPDATE resident SET {set} FROM household s JOIN room r ON r.district_code = s.district_code AND r.id = s.room_id
WHERE resident.district_code = :d AND s.district_code = :d AND r.building_id = :id AND resident.household_id = s.id
""",
)
_PLACE_COLUMNS: Final = ("town_code", "community_code", "cell_code", "geom", "source_datum", "source_lng", "source_lat")


def enter(
    session: Session,
    access: Access,
    register: str,
    given: Mapping[str, Any],
    *,
    told: Told,
    position: Position | None = None,
    inside: uuid.UUID | None = None,
) -> Any:
    """Write a new row and return it. Writes; caller commits.

    given: fields of the form. position: its own point; inside: the building or room that it stands in instead. Raises
    Invalid for wrong fields and for a place that nobody says, Forbidden without the right there, Conflict for a code
    that is taken.
    """
    known = _known(register)
    plain = entering.checked(register, given, today=_day(told.at))
    plain |= _following(session, register, plain, told=told)
    where: Any = position
    if inside is not None:
        column, table = STANDS_IN[register]
        where = events.found(session, table, inside)
        if where.state in REGISTERS[table].ended:
            raise Invalid("This room is not there any more.", field=column)
        plain[column] = str(inside)
    elif not known.own_point:
        raise Invalid("Say where it stands.", field="inside")
    if where is None:
        raise Invalid("Say where it stands.", field="lng")
    draft = known.model(cell_code=None, town_code=None)
    events.put(session, draft, where)
    grant = access.rights(register, draft.cell_code, town=draft.town_code)
    if not grant.changes:
        raise Forbidden("Your duty in this cell does not include entering this.")
    permissions.need(grant, register, [name for name, value in given.items() if value not in ("", None, [])])
    return events.create(session, register, plain, told=told, where=where)


def amend(
    session: Session,
    access: Access,
    register: str,
    row_id: uuid.UUID,
    given: Mapping[str, Any],
    *,
    version: int,
    told: Told,
    position: Position | None = None,
) -> Any:
    """Change fields of a row, its own point among them, and return it. Writes; caller commits.

    What stands in a building moves with it. Raises Forbidden for a field that is not the actor's duty, Invalid,
    NotFound, Conflict for another version.
    """
    plain = entering.checked(register, given, today=_day(told.at), partial=True)
    row = events.locked(session, register, row_id, version=version)
    grant = access.rights(register, row.cell_code, town=row.town_code)
    before = events.values(row)
    wanted = {name: value for name, value in plain.items() if value != before[name]}
    permissions.need(grant, register, wanted)
    moved = position is not None and _moved(row, position)
    if moved:
        _may_move(session, access, register, row, position)
    if not wanted and not moved:
        return row
    wanted |= _following(session, register, before | wanted, told=told)
    where = position if moved else None
    events.change(session, row, wanted, told=told, where=where, kind="placed" if moved and not wanted else "changed")
    if moved and register == "building":
        _follow_building(session, row.id)
    return row


def set_state(
    session: Session, access: Access, register: str, row_id: uuid.UUID, state: str, *, version: int, told: Told
) -> Any:
    """Put a row into another state of its register: ended, damaged, open again. Writes; caller commits.

    Raises Invalid for an unknown state and for a building or room that people still live in.
    """
    row = events.locked(session, register, row_id, version=version)
    known = _known(register)
    grant = access.rights(register, row.cell_code, town=row.town_code)
    if not grant.changes or register == "household":
        raise Forbidden("Your duty in this cell does not include changing this: {name}.", name=known.label)
    if state not in known.states:
        raise Invalid("{value} is not among the choices of {name}.", field="state", value=state[:40], name="state")
    if state in known.ended and register in ("building", "room") and _lived_in(session, register, row.id):
        raise Conflict("People are registered there; register their moving out first.")
    kind = "ended" if state in known.ended else "changed"
    events.change(session, row, {"state": state}, told=told, kind=kind)
    return row


def inspect(
    session: Session, access: Access, place_id: uuid.UUID, *, version: int, told: Told, found: str, in_order: bool
) -> Any:
    """Write down an inspection of a key place: what was found, and when the next one is due. Writes; caller commits.

    What is not in order is looked at again after a week at most.
    """
    row = events.locked(session, "key_place", place_id, version=version)
    permissions.need(access.rights("key_place", row.cell_code, town=row.town_code), "key_place", ["inspected_on"])
    day = _day(told.happened_at)
    if row.inspected_on is not None and day < row.inspected_on:
        raise Invalid("It was inspected later than that already.", field="happened_at")
    span = row.every_days if in_order else min(row.every_days, 7)
    values = {"inspected_on": day.isoformat(), "due_on": (day + timedelta(days=span)).isoformat()}
    more = {"found": found.strip()[:500], "in_order": in_order}
    events.change(session, row, values, told=told, kind="inspected", more=more)
    return row


def _known(register: str) -> Any:
    if register not in KEPT:
        raise Invalid("There is no register {name}.", field="register", name=register[:40])
    return REGISTERS[register]


def _day(at: datetime) -> date:
    return at.astimezone(_CHINA).date()


def _following(session: Session, register: str, plain: Mapping[str, Any], *, told: Told) -> dict[str, Any]:
    """Return what follows from other fields: a part's class, a key place's next day."""
    if register == "part":
        district = actor_of(session).district
        return {"class_code": parts.rule(session).class_of(plain["code"], district=district)}
    if register == "key_place":
        last = date.fromisoformat(plain["inspected_on"]) if plain.get("inspected_on") else _day(told.at)
        return {"due_on": (last + timedelta(days=int(plain["every_days"]))).isoformat()}
    return {}


def _moved(row: Any, position: Position) -> bool:
    return bool((row.source_lng, row.source_lat, row.source_datum) != (position.lng, position.lat, str(position.datum)))


def _may_move(session: Session, access: Access, register: str, row: Any, position: Position | None) -> None:
    """Refuse a move of what has no own point, and one into a cell where the actor may not change it."""
    known = REGISTERS[register]
    if not known.own_point:
        raise Invalid("This stands where its building stands.", field="lng")
    draft = known.model(cell_code=None, town_code=None)
    events.put(session, draft, position)
    there = access.rights(register, draft.cell_code, town=draft.town_code)
    here = access.rights(register, row.cell_code, town=row.town_code)
    if not there.changes or not here.changes:
        raise Forbidden("Your duty in this cell does not include entering this.")


def _lived_in(session: Session, register: str, row_id: uuid.UUID) -> bool:
    column = "r.id" if register == "room" else "r.building_id"
    query = text(
        "SELECT 1 FROM household h JOIN room r ON r.district_code = :d AND r.id = h.room_id"  # noqa: S608  own words
        f" WHERE h.district_code = :d AND h.state = 'living' AND {column} = :id LIMIT 1"
    )
    district = actor_of(session).district
    with acting_as(session, system(district, "registers")):
        return session.scalar(query, {"d": district, "id": row_id}) is not None


def _follow_building(session: Session, building_id: uuid.UUID) -> None:
    """Attach to a building's point whatever stands in it, as the program: it may lie in others' cells now."""
    columns = ", ".join(f"{name} = s.{name}" for name in _PLACE_COLUMNS)
    district = actor_of(session).district
    with acting_as(session, system(district, "registers")):
        for sql in _FOLLOWING:
            session.execute(text(sql.format(set=columns)), {"d": district, "id": building_id})
    session.expire_all()

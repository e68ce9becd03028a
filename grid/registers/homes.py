"""Where an address of a list lies in the register of buildings and rooms; rooms and households that are new are made.

Buildings are known by estate or door and their number, in whatever way people write them. Holds one district's
buildings, rooms and households in memory for the time of one list.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.db import actor_of, rows
from core.ids import new_id
from grid.registers import bulk, events, sealing
from grid.registers.addresses import Parts, parts
from grid.registers.events import Told
from grid.registers.fields import REGISTERS
from grid.registers.models import Household, LifeEvent, Room

#: What stands in a place takes over from it.
PLACE: Final = ("town_code", "community_code", "cell_code", "geom", "source_datum", "source_lng", "source_lat")
_PLACED: Final = (
    "{0}.town_code, {0}.community_code, {0}.cell_code, encode(ST_AsEWKB({0}.geom), 'hex') AS geom,"
    " {0}.source_datum, {0}.source_lng, {0}.source_lat"
)


@dataclass(slots=True)
class Homes:
    """The buildings, rooms and households of a district."""

    #: (estate or door, building) → columns of the building; None where two buildings are called so.
    buildings: dict[tuple[str, str], Mapping[str, Any] | None]
    #: (building id, entrance, number) → room id.
    rooms: dict[tuple[uuid.UUID, str, str], uuid.UUID]
    #: Room id → what it is: its building, entrance and number.
    places: dict[uuid.UUID, tuple[Mapping[str, Any], str, str]]
    #: Room id → the household that lives there.
    households: dict[uuid.UUID, uuid.UUID]
    #: Household id → its room.
    room_of: dict[uuid.UUID, uuid.UUID]
    new_rooms: list[tuple[uuid.UUID, Mapping[str, Any], str, str]] = field(default_factory=list)
    new_households: list[tuple[uuid.UUID, uuid.UUID]] = field(default_factory=list)

    def building(self, there: Parts) -> Mapping[str, Any] | None:
        """Return the building of an address taken apart; None for one that no register has."""
        # A door alone may have several estates behind it, so it counts only where no estate is named.
        return self.buildings.get((there.place or there.door, there.building))

    def keep(self, there: Parts, building: Mapping[str, Any]) -> None:
        """Remember a building under its estate and under its door; under neither where another one has it."""
        for key in {there.place, there.door} - {""}:
            name = (key, there.building)
            known = self.buildings.get(name, building)
            self.buildings[name] = building if known is not None and known["id"] == building["id"] else None

    def room(self, address: str) -> uuid.UUID | None:
        """Return the room of an address, a new one in a known building; None for an unknown building or no room."""
        there = parts(address)
        building = self.building(there)
        if building is None or not there.room:
            return None
        key = (building["id"], there.unit, there.room)
        if key not in self.rooms:
            made = new_id()
            self.rooms[key] = made
            self.places[made] = (building, there.unit, there.room)
            self.new_rooms.append((made, building, there.unit, there.room))
        return self.rooms[key]

    def household(self, room: uuid.UUID) -> uuid.UUID:
        """Return the household that lives in a room, a new one where nobody does."""
        if room not in self.households:
            made = new_id()
            self.households[room], self.room_of[made] = made, room
            self.new_households.append((made, room))
        return self.households[room]

    def where(self, room: uuid.UUID) -> dict[str, Any]:
        """Return the columns of a room's place."""
        building = self.places[room][0]
        return {name: building[name] for name in PLACE}

    def written(self, room: uuid.UUID | None) -> str:
        """Return the address of a room as it is read and shown; empty for none."""
        if room is None or room not in self.places:
            return ""
        building, entrance, number = self.places[room]
        unit = f"{entrance}单元" if entrance else ""
        return f"{building['estate'] or building['address']}{building['name']}{unit}{number}"


def load(session: Session) -> Homes:
    """Read the standing buildings, their rooms and the households that live in them. Reads only."""
    d = actor_of(session).district
    by_id: dict[uuid.UUID, Mapping[str, Any]] = {}
    found = Homes({}, {}, {}, {}, {})
    for row in rows(
        session,
        f"SELECT b.id, b.name, b.estate, b.address, {_PLACED.format('b')} FROM building b"  # noqa: S608  own columns
        " WHERE b.district_code = :d AND b.state = 'standing' ORDER BY b.id",
        d=d,
    ):
        by_id[row["id"]] = row
        number = parts(row["name"]).building or row["name"]
        there = Parts(parts(row["address"]).door, parts(row["estate"]).place, number, "", "")
        found.keep(there, row)
    for row in rows(
        session,
        "SELECT id, building_id, entrance, number FROM room WHERE district_code = :d AND state = 'there'",
        d=d,
    ):
        building = by_id.get(row["building_id"])
        if building is not None:
            found.rooms[row["building_id"], row["entrance"], row["number"]] = row["id"]
            found.places[row["id"]] = (building, row["entrance"], row["number"])
    for row in rows(
        session,
        "SELECT id, room_id, state FROM household WHERE district_code = :d AND room_id IS NOT NULL ORDER BY id",
        d=d,
    ):
        found.room_of[row["id"]] = row["room_id"]
        if row["state"] == "living":
            found.households.setdefault(row["room_id"], row["id"])
    return found


def write(session: Session, homes: Homes, members: Mapping[uuid.UUID, int], *, told: Told) -> None:
    """Write the rooms and households that are new; members: household → how many live there. Writes."""
    made = [
        (
            "room",
            room,
            {"building_id": str(building["id"]), "entrance": entrance, "number": number, "use": "lived"},
            {name: building[name] for name in PLACE},
        )
        for room, building, entrance, number in homes.new_rooms
    ]
    create_many(session, Room, made, told=told)
    lived = [
        (
            "household",
            household,
            {"kind": "family" if members.get(household, 1) > 1 else "single", "room_id": str(room)},
            homes.where(room),
        )
        for household, room in homes.new_households
    ]
    create_many(session, Household, lived, told=told)
    homes.new_rooms, homes.new_households = [], []


def create_many(
    session: Session,
    model: Any,
    made: Sequence[tuple[str, uuid.UUID, Mapping[str, Any], Mapping[str, Any]]],
    *,
    told: Told,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write new rows of one register with their first events, as `events.create` does one by one. Writes.

    made: register, id, plain values, columns of the place.
    """
    if not made:
        return
    actor, register = actor_of(session), REGISTERS[made[0][0]]
    salts = [sealing.new_salt() for _ in made]
    fixed = {
        "state": next(iter(register.states)),
        "version": 1,
        "source": told.source,
        "created_at": told.at,
        "changed_at": told.at,
    }
    empty = {one.name: nothing(one.kind) for one in register.fields}
    bulk.insert(
        session,
        model,
        (
            {"district_code": actor.district, "id": key, "salt": salt}
            | fixed
            | events.columns(register, {**empty, **plain})
            | {name: where.get(name) for name in PLACE}
            for (_, key, plain, where), salt in zip(made, salts, strict=True)
        ),
    )
    bulk.insert(
        session,
        LifeEvent,
        (
            events.event_row(
                actor,
                register.name,
                key,
                salt,
                kind="imported",
                data={"set": _set(register.own_point, plain, fixed["state"], where), "was": {}} | dict(more or {}),
                told=told,
            )
            for (_, key, plain, where), salt in zip(made, salts, strict=True)
        ),
    )


def empty_households(session: Session, left: set[uuid.UUID], *, told: Told) -> None:
    """Let the households that nobody lives in any more be over. Writes."""
    if not left:
        return
    found = session.execute(
        text(
            "SELECT h.id FROM household h WHERE h.district_code = :d AND h.id = ANY (:ids) AND h.state = 'living'"
            " AND NOT EXISTS (SELECT 1 FROM resident r WHERE r.district_code = :d AND r.household_id = h.id"
            " AND r.state = 'living')"
        ),
        {"d": actor_of(session).district, "ids": list(left)},
    ).scalars()
    for key in list(found):
        events.change(
            session, events.locked(session, "household", key), {"state": "moved"}, told=told, kind="moved_out"
        )


def nothing(kind: str) -> Any:
    """Return what stands in an empty field of a kind."""
    return [] if kind == "flags" else None if kind in ("day", "count", "ref") else ""


def _set(own_point: bool, plain: Mapping[str, Any], state: Any, where: Mapping[str, Any]) -> dict[str, Any]:  # noqa: FBT001
    found = {name: value for name, value in plain.items() if value not in ("", None, [])} | {"state": state}
    if own_point and where.get("source_lng") is not None:
        found |= {"lng": where["source_lng"], "lat": where["source_lat"], "datum": where["source_datum"]}
    return found

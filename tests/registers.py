"""Rows of registers for tests, and who has which duty. Everything here is invented; numbers bear a free area code."""

import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.documents import card_check
from grid import duties
from grid.duties import Charge, Holder
from grid.registers import events, keeping, people, permissions
from grid.registers.events import Position, Told
from grid.registers.models import Building, Resident, Room
from tests import tiny

AT = datetime(2026, 11, 18, 6, 0, tzinfo=UTC)
TODAY = date(2026, 11, 18)
EARLIER = datetime(2024, 3, 1, 2, 0, tzinfo=UTC)
WEST_CELL, NEXT_CELL = tiny.WEST + "001001", tiny.WEST + "001002"
EAST_CELL = tiny.EAST + "001001"
_ids = iter(range(1, 10_000))


def card(birth: str = "19900101", *, sex: str = "m") -> str:
    """Return another invented identity number of a day of birth, in an area that the standard leaves free."""
    n = next(_ids) % 499 * 2 + (1 if sex == "m" else 0)
    body = f"990200{birth}{n:03d}"
    return body + card_check(body)


def account(login: str) -> uuid.UUID:
    """Return the id of an account of the tiny district."""
    found = tiny._account_id(login)
    assert isinstance(found, uuid.UUID)
    return found


def person(login: str) -> Actor:
    """Return the actor of an account of the tiny district."""
    role, unit, town = tiny.PEOPLE[login]
    return Actor(account(login), f"试验{login}", role, tiny.DISTRICT, town=town, unit=unit)


ADMIN, SUPERVISOR = person("admin"), person("supervisor")
WORKER, OFFICE = person("gridwest"), person("westoffice")
PROGRAM = Actor(None, "tests", Role.SYSTEM, tiny.DISTRICT)


def told(at: datetime = AT, *, happened_at: datetime | None = None) -> Told:
    """Return that something is told now, and happened then."""
    return Told(happened_at or at, at)


def give(session: Session, cells: Sequence[str], held: Sequence[str], *, login: str = "", unit: str = "") -> None:
    """Let an account or unit hold duties in cells from long ago; as the program."""
    holder = Holder(unit_code=unit) if unit else Holder(account_id=account(login))
    duties.assign(session, Charge(list(cells), list(held), holder, EARLIER), at=EARLIER)


def reach(session: Session, at: datetime = AT) -> permissions.Access:
    """Return what the session's actor may."""
    return permissions.access(session, at=at)


def building(session: Session, spot: tuple[float, float], **known: Any) -> Building:
    """Enter a building at a point; as administrator or program."""
    given = {"name": "3栋", "estate": "柳岸花园", "kind": "residential"} | known
    made: Building = keeping.enter(
        session, reach(session), "building", given, told=told(EARLIER), position=Position(*spot)
    )
    return made


def room(session: Session, spot: tuple[float, float] = (113.005, 23.005), number: str = "501", **known: Any) -> Room:
    """Enter a room in a building of its own."""
    house = building(session, spot)
    given = {"entrance": "2", "number": number, "use": "lived"} | known
    made: Room = keeping.enter(session, reach(session), "room", given, told=told(EARLIER), inside=house.id)
    return made


def resident(
    session: Session, where: Room | uuid.UUID, *, happened_at: datetime = EARLIER, at: datetime = AT, **known: Any
) -> Resident:
    """Enter a person in a room (a household of his own) or in a household."""
    given = {"name": "张小明", "residence": "registered"} | known
    home = people.Home(room_id=where.id) if isinstance(where, Room) else people.Home(household_id=where)
    return people.enter(session, reach(session), given, home, told=told(at, happened_at=happened_at))


def explained(session: Session, row: Any) -> bool:
    """Return whether a row is what its events make of it."""
    return events.differences(session, row) == {}

"""The card of a cell 网格卡: who is responsible, who lives there in numbers, who needs looking after, what to inspect.

Numbers are the program's and tell of nobody; names of people who need care stand on it for whose duty that is.
Open cases and patrols come from elsewhere (`api.pages.cell_card`).
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.actor import system
from core.db import acting_as, actor_of, rows
from core.documents import masked
from core.errors import NotFound
from grid import duties
from grid.duties import Owner
from grid.models import Area, Cell
from grid.registers import rooms, sealing
from grid.registers.lists import OLD_YEARS, years_before
from grid.registers.models import KeyPlace, Resident
from grid.registers.permissions import Access

#: People and places that a card names.
MOST: Final = 40
_KINDS: Final = (
    "SELECT t.{column} AS kind, count(*) AS n FROM {table} t WHERE t.district_code = :d AND t.cell_code = :cell"
)
#: Old people who live alone: who is the only one of the household, or was found to be by somebody.
_ALONE: Final = """
SELECT t.id FROM resident t
WHERE t.district_code = :d AND t.cell_code = :cell AND t.state = 'living'
  AND ('living_alone' = ANY (t.care) OR t.birth_date <= :old AND t.household_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM resident o WHERE o.district_code = :d AND o.household_id = t.household_id AND o.state = 'living'
      AND o.id <> t.id))
ORDER BY t.birth_date NULLS LAST, t.id
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who needs looking after."""

    id: uuid.UUID
    #: Masked.
    name: str
    year: int | None
    place: str


@dataclass(frozen=True, slots=True)
class Place:
    """A key place of the cell."""

    id: uuid.UUID
    name: str
    kind: str
    risk: str
    due_on: date


@dataclass(frozen=True, slots=True)
class Card:
    """A cell on one page."""

    cell: str
    kind: str
    town: str
    community: str
    owners: tuple[Owner, ...]
    #: Kind → households in use.
    households: Mapping[str, int]
    #: Residence → people who live there.
    people: Mapping[str, int]
    #: Years of age from, and how many.
    old: int
    alone: int
    #: None for those whose duty it is not.
    alone_named: tuple[Person, ...] | None
    let: int
    organisations: int
    #: State → parts.
    parts: Mapping[str, int]
    places: tuple[Place, ...]
    places_count: int


def card(session: Session, access: Access | None, code: str, *, at: datetime, today: date) -> Card:
    """Return the card of a cell; access None for officials, who read numbers only. Reads.

    Raises NotFound for an unknown cell and one in which the actor has nothing to do.
    """
    actor = actor_of(session)
    cell = session.get(Cell, (actor.district, code))
    if cell is None or (actor.town and cell.town_code != actor.town) or not _may(access, code):
        raise NotFound("There is no such cell, or it is not yours to see.")
    above = select(Area.code, Area.name).where(
        Area.district_code == actor.district, Area.code.in_([cell.town_code, cell.community_code])
    )
    names = {row.code: row.name for row in session.execute(above)}
    named = access is not None and "care" in access.rights("resident", code).sees
    with acting_as(session, system(actor.district, "registers")):
        old = years_before(today, OLD_YEARS)
        alone = [row["id"] for row in rows(session, _ALONE, d=actor.district, cell=code, old=old)]
        people = _people(session, alone[:MOST]) if named else None
        places = _places(session, code)
        return Card(
            cell=code,
            kind=cell.kind,
            town=names.get(cell.town_code, ""),
            community=names.get(cell.community_code, ""),
            owners=tuple(one for one in duties.owners(session, [code], at=at)),
            households=_by(session, "household", "kind", code, "t.state = 'living'"),
            people=_by(session, "resident", "residence", code, "t.state = 'living'"),
            old=sum(
                _by(session, "resident", "state", code, "t.state = 'living' AND t.birth_date <= :old", old=old).values()
            ),
            alone=len(alone),
            alone_named=people,
            let=sum(_by(session, "tenancy", "state", code, "t.state = 'let'").values()),
            organisations=sum(_by(session, "organisation", "state", code, "t.state = 'open'").values()),
            parts=_by(session, "part", "state", code, "t.state <> 'removed'"),
            places=tuple(places[:MOST]),
            places_count=len(places),
        )


def _may(access: Access | None, code: str) -> bool:
    if access is None:
        return True
    return code in access.duties or any(access.rights(name, code).sees for name in access.registers)


def _by(session: Session, table: str, column: str, cell: str, rule: str, *, old: date | None = None) -> dict[str, int]:
    sql = f"{_KINDS.format(column=column, table=table)} AND {rule} GROUP BY 1 ORDER BY 2 DESC, 1"
    values: dict[str, Any] = {"d": actor_of(session).district, "cell": cell}
    if old is not None:
        values["old"] = old
    return {row["kind"]: row["n"] for row in rows(session, sql, **values)}


def _people(session: Session, ids: list[uuid.UUID]) -> tuple[Person, ...]:
    where = (Resident.district_code == actor_of(session).district, Resident.id.in_(ids))
    places = rooms.addresses(session, "resident", ids)
    found = session.scalars(select(Resident).where(*where).order_by(Resident.birth_date.nulls_last(), Resident.id))
    return tuple(
        Person(
            id=row.id,
            name=masked("name", sealing.unsealed("name", row.name_sealed)),
            year=row.birth_date.year if row.birth_date else None,
            place=places.get(row.id, ""),
        )
        for row in found
    )


def _places(session: Session, cell: str) -> list[Place]:
    where = (
        KeyPlace.district_code == actor_of(session).district,
        KeyPlace.cell_code == cell,
        KeyPlace.state == "open",
    )
    found = session.scalars(select(KeyPlace).where(*where).order_by(KeyPlace.due_on, KeyPlace.id).limit(500))
    return [Place(row.id, row.name, row.kind, row.risk, row.due_on) for row in found]

"""City parts and key places 部件、重点场所 as features of a map, for whoever has a right to them.

No person is among them: residents, households and firms leave the registers by their own export alone. Which rows and
which properties are seen is asked of `grid.registers.permissions` each time.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from core.actor import Role
from core.errors import NotFound
from grid.features import Collection, Property
from grid.registers.permissions import access
from grid.words import N_

_ROLES: Final = frozenset({Role.SYSTEM, Role.ADMIN, Role.SUPERVISOR, Role.UNIT, Role.GRID_WORKER})
_PLACED: Final = {
    "cell": Property("t.cell_code", title=N_("Cell")),
    "state": Property("t.state", title=N_("State")),
}
PARTS: Final = Collection(
    name="parts",
    title=N_("City parts"),
    description=N_("City furniture with its codes, as far as your duties go."),
    table="part t",
    where="t.geom IS NOT NULL AND t.ended_at IS NULL",
    key="t.code",
    geometry="Point",
    properties={
        "code": Property("t.code", title=N_("Part code")),
        "class_code": Property("t.class_code", title=N_("Class")),
        "name": Property("t.name", title=N_("Designation")),
        "unit_code": Property("t.unit_code", title=N_("Responsible unit")),
        **_PLACED,
    },
    roles=_ROLES,
    register="part",
)
KEY_PLACES: Final = Collection(
    name="key_places",
    title=N_("Key places"),
    description=N_("Places that are inspected at intervals, as far as your duties go."),
    table="key_place t",
    where="t.geom IS NOT NULL AND t.ended_at IS NULL",
    key="t.id::text",
    geometry="Point",
    properties={
        "name": Property("t.name", title=N_("Name")),
        "kind": Property("t.kind", title=N_("Kind")),
        "address": Property("t.address", title=N_("Address")),
        "risk": Property("t.risk", title=N_("Risk")),
        "due_on": Property("t.due_on::text", title=N_("Due")),
        **_PLACED,
    },
    roles=_ROLES,
    register="key_place",
)


def narrowed(session: Session, collection: Collection, *, at: datetime) -> Collection:
    """Return a collection with the rows and properties that the session's actor has a right to.

    One that belongs to no register is returned as it is. Raises NotFound where nothing of it is seen, and Forbidden for
    roles that have no business in the registers. Reads only.
    """
    if not collection.register:
        return collection
    mine = access(session, at=at)
    sees = mine.anywhere(collection.register).sees
    if not sees:
        raise NotFound("There is no such collection.")
    kept = {name: told for name, told in collection.properties.items() if name in _PLACED or name in sees}
    cells = mine.cells(collection.register)
    if cells is None:
        where = "coalesce(t.cell_code, t.community_code, t.town_code, '') LIKE :reach"
        values: dict[str, object] = {"reach": mine.area + "%"}
    else:
        where, values = "t.cell_code = ANY (CAST(:reach AS text[]))", {"reach": cells}
    return replace(collection, properties=kept, where=f"{collection.where} AND {where}", values=values)

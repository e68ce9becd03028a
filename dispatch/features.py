"""Open cases as features of a map (OGC API Features), for those who see cases; row policies choose which.

What a case says of a person stays where it is: the properties are those of the map's own tiles.
"""

from typing import Final

from core.actor import Role
from dispatch.words import N_
from grid.features import Collection, Property

CASES: Final = Collection(
    name="cases",
    title=N_("Open cases"),
    description=N_("Open cases that you may see, by the place of the matter."),
    table="cases t",
    where="t.open AND t.geom IS NOT NULL",
    key="t.number",
    geometry="Point",
    properties={
        "number": Property("t.number", title=N_("Number")),
        "state": Property("t.state", title=N_("State")),
        "category": Property("t.category_code", title=N_("Category")),
        "urgency": Property("t.urgency", title=N_("Urgency")),
        "town": Property("t.town_code", title=N_("Town")),
        "cell": Property("t.cell_code", title=N_("Cell")),
        "received_at": Property("t.received_at", "date-time", title=N_("Received"), queryable=False),
        "due_at": Property("t.due_at", "date-time", title=N_("Due"), queryable=False),
    },
    time=("t.received_at", "t.received_at"),
    roles=frozenset({Role.OPERATOR, Role.SUPERVISOR, Role.OFFICIAL, Role.UNIT, Role.GRID_WORKER}),
)

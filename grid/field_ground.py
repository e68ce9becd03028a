"""The cells of a worker as a phone takes them along: whose they are, their shapes, and how often they are walked."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy.orm import Session

from core.db import actor_of, rows
from grid import duties, patrols

#: Cells of one phone. Whoever has more works at a desk.
MOST: Final = 200

_TOWN: Final = """
SELECT c.code FROM cell c WHERE c.district_code = :d AND c.town_code = :town ORDER BY c.code LIMIT :most
"""
_SHAPES: Final = """
SELECT c.code, c.kind, c.community_code, coalesce(a.name, '') AS community, c.households,
       ST_AsGeoJSON(ST_SimplifyPreserveTopology(c.geom, 0.000005), 6) AS shape
FROM cell c LEFT JOIN area a ON a.district_code = c.district_code AND a.code = c.community_code
WHERE c.district_code = :d AND c.town_code = :town AND c.code = ANY (:cells) ORDER BY c.code
"""


def own_cells(session: Session, *, at: datetime) -> list[str]:
    """Return the codes of the acting worker's cells: those of the duties, in the own town; without any, the town's.

    At most MOST. Reads only.
    """
    actor = actor_of(session)
    assert actor.id is not None, "a role of the house is an account's"
    held = duties.cells_of(session, actor.id, at=at, deputies=True)
    mine = [code for code in held if code[:9] == actor.town]
    if not held:
        mine = [row["code"] for row in rows(session, _TOWN, d=actor.district, town=actor.town, most=MOST)]
    return mine[:MOST]


def features(session: Session, cells: Sequence[str], *, at: datetime) -> dict[str, Any]:
    """Return cells as a GeoJSON FeatureCollection, EPSG:4490, with the duties that the actor has there. Reads only."""
    actor = actor_of(session)
    found = rows(session, _SHAPES, d=actor.district, town=actor.town, cells=list(cells))
    walked = patrols.last(session, cells)
    held: dict[str, set[str]] = {}
    for one in duties.owners(session, cells, at=at):
        if one.account_id == actor.id:
            held.setdefault(one.cell, set()).add(one.duty)
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "id": row["code"],
                "geometry": orjson.loads(row["shape"]),
                "properties": {
                    "code": row["code"],
                    "name": row["code"][12:],
                    "kind": row["kind"],
                    "community": row["community_code"],
                    "community_name": row["community"],
                    "households": row["households"],
                    "town": row["code"][:9],
                    "duties": [duty for duty in duties.DUTIES if duty in held.get(row["code"], ())],
                    "last_patrol": walked.get(row["code"]),
                },
            }
            for row in found
        ],
    }

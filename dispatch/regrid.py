"""What a planned change of the grid would mean for cases and routing rules. Counts as the program; changes nothing.

A case keeps the cell it was reported in; what moves is where its place lies today. A rule that names a cell which ends
would match nothing any more.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from core.actor import system
from core.datums import ewkb
from core.db import acting_as, actor_of, rows
from grid.effects import Planned
from grid.relay import outline
from grid.versions import today

#: Cases and pairs of one answer; the counts are of all.
MOST: Final = 200


@dataclass(frozen=True, slots=True)
class CaseMove:
    """One open case whose place would lie in another cell."""

    number: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class CaseEffects:
    """Open cases and rules that a change concerns."""

    #: Open cases on the ground of the change, and how many of them would lie in another cell.
    open: int
    moving: int
    #: (from, to) → open cases; empty text for no cell.
    pairs: tuple[tuple[str, str, int], ...]
    cases: tuple[CaseMove, ...]
    #: Ids of routing rules that name a cell which ends.
    rules: tuple[str, ...]


_OPEN: Final = (
    "WITH s AS MATERIALIZED (SELECT k.id, k.number, k.received_at, min(c.code) AS source, min(r.code) AS target"
    " FROM cases AS k"
    " LEFT JOIN cell AS c ON c.district_code = k.district_code AND c.geom && k.geom AND ST_Covers(c.geom, k.geom)"
    " LEFT JOIN cell_draft AS r ON r.district_code = k.district_code AND r.change_id = :id AND r.geom && k.geom"
    "  AND ST_Covers(r.geom, k.geom)"
    " WHERE k.district_code = :d AND k.open AND k.geom && ST_GeomFromEWKB(:ground)"
    "  AND ST_Covers(ST_GeomFromEWKB(:ground), k.geom) GROUP BY k.id, k.number, k.received_at)"
)


def case_effects(session: Session, planned: Planned) -> CaseEffects:
    """Return the open cases that a change moves, with a bounded list, and the rules that name a cell which ends.

    Numbers only: whoever may not read a case learns nothing of it. Reads only.
    """
    with acting_as(session, system(actor_of(session).district, "grid")):
        before = today(session, codes=planned.takes()).cells
        known = {
            "d": actor_of(session).district,
            "id": planned.id,
            "ground": ewkb(outline([*before.geom, *planned.after.geom])),
            "most": MOST,
        }
        pairs = rows(
            session,
            _OPEN  # noqa: S608  this module's own words
            + " SELECT coalesce(source, '') AS source, coalesce(target, '') AS target, count(*) AS n,"
            " sum(count(*)) OVER () AS total FROM s GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2",
            **known,
        )
        listed = rows(
            session,
            _OPEN  # noqa: S608  as above
            + " SELECT number, coalesce(source, '') AS source, coalesce(target, '') AS target FROM s"
            " WHERE source IS DISTINCT FROM target ORDER BY received_at DESC, number LIMIT :most",
            **known,
        )
        rules = rows(
            session,
            "SELECT id FROM routing_rule WHERE district_code = :d AND area_code = ANY (CAST(:codes AS text[]))"
            " ORDER BY id LIMIT :most",
            d=known["d"],
            codes=planned.ends(),
            most=MOST,
        )
    moving = [(row["source"], row["target"], int(row["n"])) for row in pairs if row["source"] != row["target"]]
    return CaseEffects(
        open=int(pairs[0]["total"]) if pairs else 0,
        moving=sum(n for _, _, n in moving),
        pairs=tuple(moving[:MOST]),
        cases=tuple(CaseMove(row["number"], row["source"], row["target"]) for row in listed),
        rules=tuple(row["id"] for row in rules),
    )

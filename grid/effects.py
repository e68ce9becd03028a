"""What a planned change of the grid would move, tried without writing: places, addresses, registers, duties, figures.

Cases and rules belong to `dispatch`: `dispatch.regrid` counts those, and whoever asks puts both together.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import shapely
from sqlalchemy.orm import Session

from core.actor import system
from core.datums import ewkb
from core.db import acting_as, actor_of, rows
from core.errors import NotFound
from grid import duties
from grid.cellset import CellSet
from grid.relay import outline, square_metres
from grid.versions import FOLLOWERS, Follower, Today, today

#: Lines of one list in an answer; the counts are of all.
MOST: Final = 200
#: Communities of one list.
MOST_AREAS: Final = 2000


@dataclass(frozen=True, slots=True)
class CellEffect:
    """One cell before and after; None where it does not stand then."""

    code: str
    kind: str | None
    new_kind: str | None
    m2: float | None
    new_m2: float | None
    households: int | None
    new_households: int | None
    #: The new households are shared out, not counted.
    estimated: bool


@dataclass(frozen=True, slots=True)
class Moves:
    """Rows of one table that would lie in another cell."""

    table: str
    total: int
    #: (from, to) → rows; empty text for no cell. At most `MOST` pairs.
    pairs: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class DutyEffect:
    """One person or unit whose cells change."""

    name: str
    account_id: uuid.UUID | None
    unit_code: str | None
    #: Codes that the person loses and gains.
    loses: tuple[str, ...]
    gains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Effects:
    """Everything of the grid that a change would move."""

    change_id: uuid.UUID
    cells: tuple[CellEffect, ...]
    moves: tuple[Moves, ...]
    duties: tuple[DutyEffect, ...]
    #: Square metres that would have no cell.
    bare_m2: float


@dataclass(slots=True)
class Planned:
    """A change with the cells that it takes and makes, as `try_out` and pages need them."""

    id: uuid.UUID
    kind: str
    state: str
    communities: list[str]
    reason: str
    document: str
    file: Mapping[str, Any] | None
    valid_from: datetime
    bare: bool
    seen: Mapping[str, str]
    unit_code: str
    planned_by: uuid.UUID | None
    planned_name: str
    planned_at: datetime
    applied_at: datetime | None
    #: What stands there after it.
    after: CellSet
    estimated: list[bool]

    def takes(self) -> list[str]:
        """Return the codes of the cells that it takes."""
        return sorted(self.seen)

    def ends(self) -> list[str]:
        """Return the codes that end with it."""
        return sorted(set(self.seen) - set(self.after.code))


_CHANGES: Final = (
    "SELECT g.id, g.kind, g.state, g.communities, g.reason, g.document, g.file, g.valid_from, g.bare, g.seen,"
    " g.unit_code, g.planned_by, g.planned_name, g.planned_at, g.applied_at FROM cell_change AS g"
    " WHERE g.district_code = :d"
)


def read(session: Session, change_id: uuid.UUID) -> Planned:
    """Return a change with its cells. Raises NotFound. Reads only."""
    known = {"d": actor_of(session).district, "id": change_id}
    found = rows(session, _CHANGES + " AND g.id = :id", **known)
    if not found:
        raise NotFound("There is no such change of the grid.")
    drafts = rows(
        session,
        "SELECT code, community_code, kind, households, estimated, ST_AsBinary(geom) AS geom FROM cell_draft"
        " WHERE district_code = :d AND change_id = :id ORDER BY code",
        **known,
    )
    after = CellSet(
        code=[row["code"] for row in drafts],
        community=[row["community_code"] for row in drafts],
        kind=[row["kind"] for row in drafts],
        geom=shapely.from_wkb([bytes(row["geom"]) for row in drafts]),
        households=[row["households"] for row in drafts],
    )
    return Planned(**found[0], after=after, estimated=[row["estimated"] for row in drafts])


def listed(session: Session, *, area: str = "", state: str = "", limit: int = MOST) -> list[Mapping[str, Any]]:
    """Return changes of an area (beginning of a code; empty for all), the newest first, loads left out; no cells."""
    sql = (
        _CHANGES  # noqa: S608  this module's own words
        + " AND g.kind <> 'load' AND (:state = '' OR g.state = :state)"
        " AND (:area = '' OR EXISTS (SELECT 1 FROM unnest(g.communities) AS c(code)"
        "  WHERE c.code LIKE :area || '%' OR :area LIKE c.code || '%'))"
        " ORDER BY g.id DESC LIMIT :limit"
    )
    return rows(session, sql, d=actor_of(session).district, area=area, state=state, limit=min(limit, MOST))


def entries(session: Session, change_id: uuid.UUID) -> list[Mapping[str, Any]]:
    """Return the log of a change, in order."""
    sql = (
        "SELECT seq, action, actor_name, recorded_at, data FROM cell_change_entry"
        " WHERE district_code = :d AND change_id = :id ORDER BY seq"
    )
    return rows(session, sql, d=actor_of(session).district, id=change_id)


def communities(session: Session, *, area: str = "") -> list[Mapping[str, Any]]:
    """Return the communities of an area (beginning of a code) with code, names, cells, households and open plans.

    households is None where a cell's were not counted. `MOST_AREAS` at most, by code.
    """
    sql = (
        "SELECT a.code, a.name, t.name AS town, coalesce(c.cells, 0) AS cells, c.households,"
        " a.geom IS NOT NULL AS drawn, (SELECT count(*) FROM cell_change AS g WHERE g.district_code = :d"
        "  AND g.state IN ('proposed', 'planned')"
        "  AND a.code = ANY (g.communities)) AS plans"
        " FROM area AS a LEFT JOIN area AS t ON t.district_code = a.district_code AND t.code = a.town_code"
        " LEFT JOIN (SELECT k.community_code, count(*) AS cells,"
        "   CASE WHEN count(k.households) = count(*) THEN sum(k.households) END AS households"
        "  FROM cell AS k WHERE k.district_code = :d GROUP BY 1) AS c ON c.community_code = a.code"
        " WHERE a.district_code = :d AND a.level = 'community' AND a.code LIKE :area || '%' ORDER BY a.code LIMIT :most"
    )
    return rows(session, sql, d=actor_of(session).district, area=area[:12], most=MOST_AREAS)


def areas_in(session: Session, bounds: Sequence[float]) -> list[tuple[str, str, Any]]:
    """Return code, short name and polygon of the communities that touch a box, EPSG:4490, by code; 100 at most."""
    sql = (
        "SELECT a.code, a.short, ST_AsBinary(a.geom) AS geom FROM area AS a WHERE a.district_code = :d"
        " AND a.level = 'community' AND a.geom && ST_MakeEnvelope(:west, :south, :east, :north, 4490)"
        " ORDER BY a.code LIMIT 100"
    )
    west, south, east, north = bounds
    box = {"west": west, "south": south, "east": east, "north": north}
    found = rows(session, sql, d=actor_of(session).district, **box)
    return [(row["code"], row["short"], shapely.from_wkb(bytes(row["geom"]))) for row in found]


def try_out(session: Session, change_id: uuid.UUID, *, at: datetime) -> Effects:
    """Return what a change would move if it were applied to what lies there now. Counts as the program; writes nothing.

    at: whose duties count. A change that was applied tells what its cells are, and no moves. Raises NotFound.
    """
    planned = read(session, change_id)
    with acting_as(session, system(actor_of(session).district, "grid")):
        now = today(session, codes=planned.takes())
        ground = outline([*now.cells.geom, *planned.after.geom])
        live = planned.state in ("proposed", "planned")
        moves = tuple(_moves(session, planned, one, ground) for one in FOLLOWERS) if live else ()
        held = _duties(session, planned, at=at) if live else ()
        bare = shapely.difference(outline(now.cells.geom), outline(planned.after.geom)) if planned.bare else None
    bare_m2 = float(square_metres([bare])[0]) if bare is not None and not shapely.is_empty(bare) else 0.0
    return Effects(change_id, _cells(planned, now), moves, held, bare_m2)


def _cells(planned: Planned, now: Today) -> tuple[CellEffect, ...]:
    old, new = now.cells, planned.after
    area = dict(zip(old.code, square_metres(old.geom), strict=True))
    new_area = dict(zip(new.code, square_metres(new.geom), strict=True))
    before, after = ({code: i for i, code in enumerate(cells.code)} for cells in (old, new))
    told = []
    for code in sorted({*before, *after}):
        i, j = before.get(code), after.get(code)
        told.append(
            CellEffect(
                code=code,
                kind=None if i is None else old.kind[i],
                new_kind=None if j is None else new.kind[j],
                m2=None if i is None else round(float(area[code]), 1),
                new_m2=None if j is None else round(float(new_area[code]), 1),
                households=None if i is None else old.households[i],
                new_households=None if j is None else new.households[j],
                estimated=False if j is None else planned.estimated[j],
            )
        )
    return tuple(told)


def _moves(session: Session, planned: Planned, one: Follower, ground: Any) -> Moves:
    keys = ", ".join(f"f.{name}" for name in one.key)
    sql = (
        "WITH s AS MATERIALIZED ("  # noqa: S608  names of FOLLOWERS
        f" SELECT {keys}, f.{one.cell} AS old, min(r.code) AS new FROM {one.table} AS f"
        " LEFT JOIN cell_draft AS r ON r.district_code = f.district_code AND r.change_id = :id"
        f"  AND r.geom && f.{one.geom} AND ST_Covers(r.geom, f.{one.geom})"
        f" WHERE f.district_code = :d AND (f.{one.cell} = ANY (CAST(:codes AS text[]))"
        f"  OR (f.{one.geom} && ST_GeomFromEWKB(:ground) AND ST_Covers(ST_GeomFromEWKB(:ground), f.{one.geom})))"
        f" GROUP BY {keys}, f.{one.cell})"
        " SELECT coalesce(old, '') AS old, coalesce(new, '') AS new, count(*) AS n, sum(count(*)) OVER () AS total"
        " FROM s WHERE old IS DISTINCT FROM new GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT :most"
    )
    found = rows(
        session,
        sql,
        d=actor_of(session).district,
        id=planned.id,
        codes=planned.takes(),
        ground=ewkb(ground),
        most=MOST,
    )
    pairs = tuple((row["old"], row["new"], int(row["n"])) for row in found)
    return Moves(one.table, int(found[0]["total"]) if found else 0, pairs)


def _duties(session: Session, planned: Planned, *, at: datetime) -> tuple[DutyEffect, ...]:
    """Return who would lose cells and who would gain, as duties follow cells: a fresh code inherits from its ground."""
    held = [one for one in duties.owners(session, planned.takes(), at=at) if one.rank != duties.DEPUTY]
    now = today(session, codes=planned.takes())
    fresh = [code for code in planned.after.code if code not in planned.seen]
    ended = set(planned.ends())
    gains: dict[str, set[str]] = {code: set() for code in planned.seen}
    for parent, shape in zip(now.cells.code, now.cells.geom, strict=True):
        for code, new in zip(planned.after.code, planned.after.geom, strict=True):
            if (code in fresh or parent in ended) and code != parent and _shares(shape, new):
                gains[parent].add(code)
    told: dict[tuple[uuid.UUID | None, str | None], tuple[str, set[str], set[str]]] = {}
    standing: dict[tuple[uuid.UUID | None, str | None], set[str]] = {}
    for one in held:
        standing.setdefault((one.account_id, one.unit_code), set()).add(one.cell)
    taken = {(one.cell, one.duty) for one in held}
    for one in held:
        _, loses, wins = told.setdefault((one.account_id, one.unit_code), (one.name, set(), set()))
        if one.cell in ended:
            loses.add(one.cell)
        # What a standing cell has already stays with its own people.
        wins |= {code for code in gains.get(one.cell, ()) if (code, one.duty) not in taken}
    return tuple(
        DutyEffect(name, key[0], key[1], tuple(sorted(loses)), tuple(sorted(wins - standing[key])))
        for key, (name, loses, wins) in sorted(told.items(), key=lambda pair: pair[1][0])
        if loses or wins - standing[key]
    )[:MOST]


def _shares(one: Any, other: Any) -> bool:
    """Return whether two shapes have more than an edge in common."""
    if not shapely.intersects(one, other):
        return False
    return float(np.max(square_metres([shapely.intersection(one, other)]), initial=0.0)) > 1

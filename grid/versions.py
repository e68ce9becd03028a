"""The grid over time 网格版本: which cell a point lay in when, where cells came from, and what follows them.

Keeps `cell` (today), `cell_version` (always) and the tables whose rows lie in cells together, set-wise. Does not know
how a change is planned and decided: `grid.changes` does, and hands over what has to be done.
"""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
import shapely
from sqlalchemy import CursorResult, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.actor import Actor
from core.datums import ewkb
from core.db import actor_of
from core.errors import Conflict, Invalid
from core.ids import new_id
from grid.cellset import CellSet
from grid.registers import models as registers

#: What PostgreSQL says when an exclusion constraint, or our trigger in its name, refuses a row.
_EXCLUDED: Final = "23P01"
#: Versions that one answer tells of a point or a code; a district redrawn monthly for eight years stays below.
MOST_VERSIONS: Final = 100
#: How many digits of a cell's code are the code of the area above it.
_AREA_DIGITS: Final = {"community_code": 12, "town_code": 9}


@dataclass(frozen=True, slots=True)
class Follower:
    """A table whose rows have a point and lie in a cell: they are attached anew when cells change."""

    table: str
    #: The rest of the primary key after `district_code`.
    key: tuple[str, ...]
    #: Columns of the areas above the cell that the table also has: `community_code`, `town_code`.
    areas: tuple[str, ...] = ()
    geom: str = "geom"
    cell: str = "cell_code"


#: Every table of points in cells. Names are SQL's own words here, never anybody's input.
FOLLOWERS: Final[tuple[Follower, ...]] = (
    Follower("place", ("key",), areas=("community_code", "town_code")),
    Follower("address", ("key",), areas=("community_code", "town_code")),
    *(Follower(table, ("id",), areas=("community_code", "town_code")) for table in registers.FOLLOWERS),
)


@dataclass(frozen=True, slots=True)
class Version:
    """A cell as it was over a span of time, and why it began and ended."""

    id: uuid.UUID
    code: str
    community_code: str
    kind: str
    households: int | None
    #: The households were shared out by the places inside, not counted.
    estimated: bool
    valid_from: datetime | None
    #: None for today's.
    valid_to: datetime | None
    #: The change that began it: id, kind, reason, document and who planned it.
    change_id: uuid.UUID
    change: str
    reason: str
    document: str
    by: str
    #: Kind and reason of the change that ended it; None for today's.
    ended_change: str | None
    ended_reason: str | None
    #: Codes that it came from, and that its ground went to.
    came_from: tuple[str, ...]
    went_to: tuple[str, ...]


_VERSIONS: Final = (
    "SELECT v.id, v.code, v.community_code, v.kind, v.households, v.estimated, lower(v.validity) AS valid_from,"
    " upper(v.validity) AS valid_to, v.change_id, b.kind AS change, b.reason, b.document, b.planned_name AS by,"
    " e.kind AS ended_change, e.reason AS ended_reason,"
    " ARRAY(SELECT DISTINCT p.code FROM cell_lineage AS l JOIN cell_version AS p ON p.district_code = l.district_code"
    "  AND p.id = l.parent_id WHERE l.district_code = :d AND l.version_id = v.id ORDER BY 1) AS came_from,"
    " ARRAY(SELECT DISTINCT h.code FROM cell_lineage AS l JOIN cell_version AS h ON h.district_code = l.district_code"
    "  AND h.id = l.version_id WHERE l.district_code = :d AND l.parent_id = v.id ORDER BY 1) AS went_to"
    " FROM cell_version AS v"
    " JOIN cell_change AS b ON b.district_code = v.district_code AND b.id = v.change_id"
    " LEFT JOIN cell_change AS e ON e.district_code = v.district_code AND e.id = v.ended_by"
    " WHERE v.district_code = :d AND NOT isempty(v.validity)"
)
_AT_POINT: Final = (
    " AND v.geom && ST_SetSRID(ST_MakePoint(:lng, :lat), 4490)"
    " AND ST_Covers(v.geom, ST_SetSRID(ST_MakePoint(:lng, :lat), 4490))"
)


def _versions(session: Session, where: str, **values: Any) -> list[Version]:
    found = session.execute(text(_VERSIONS + where), {"d": actor_of(session).district} | values).mappings()
    return [Version(**{**row, "came_from": tuple(row["came_from"]), "went_to": tuple(row["went_to"])}) for row in found]


def cell_at(session: Session, lng: float, lat: float, *, at: datetime) -> Version | None:
    """Return the version of the cell that covered a point in EPSG:4490 at an instant, or None outside every cell.

    On a shared edge the lower code wins, as everywhere. Reads only.
    """
    # Written so that the constraint's index does not serve it: at any moment it holds every cell of the district.
    held = " AND NOT isempty(v.validity * tstzrange(:at, :at, '[]')) ORDER BY v.code LIMIT 1"
    where = _AT_POINT + held
    return next(iter(_versions(session, where, lng=lng, lat=lat, at=at)), None)


def history(session: Session, lng: float, lat: float, *, limit: int = MOST_VERSIONS) -> list[Version]:
    """Return the versions of cells that ever covered a point in EPSG:4490, the newest first.

    On a shared edge all that meet there are told. Reads only.
    """
    where = _AT_POINT + " ORDER BY lower(v.validity) DESC, v.code LIMIT :limit"
    return _versions(session, where, lng=lng, lat=lat, limit=limit)


def of_code(session: Session, code: str, *, limit: int = MOST_VERSIONS) -> list[Version]:
    """Return the versions of a code, the newest first; empty for a code that never was."""
    return _versions(
        session, " AND v.code = :code ORDER BY lower(v.validity) DESC LIMIT :limit", code=code, limit=limit
    )


@dataclass(slots=True)
class Today:
    """Cells as they stand, side by side with the versions that they are."""

    cells: CellSet
    #: Version of each; what a planner has seen.
    ids: list[uuid.UUID]
    estimated: list[bool]

    def seen(self) -> dict[str, str]:
        """Return code → version, as a plan keeps it."""
        return {code: str(one) for code, one in zip(self.cells.code, self.ids, strict=True)}


_CELLS: Final = (
    "SELECT v.code, v.id, v.community_code, v.kind, v.households, v.estimated, ST_AsBinary(v.geom) AS geom"
    " FROM cell_version AS v WHERE v.district_code = :d"
)


def today(session: Session, *, communities: Sequence[str] = (), codes: Sequence[str] = ()) -> Today:
    """Return today's cells of communities, or of codes, ordered by code; codes that are no cell today are left out."""
    where = (
        " AND v.ended_by IS NULL AND (v.community_code = ANY (CAST(:communities AS text[]))"
        " OR v.code = ANY (CAST(:codes AS text[]))) ORDER BY v.code"
    )
    return _cells(session, where, communities=list(communities), codes=list(codes))


def by_id(session: Session, ids: Sequence[uuid.UUID]) -> Today:
    """Return cells as they were, by version, ordered by code."""
    return _cells(session, " AND v.id = ANY (CAST(:ids AS uuid[])) ORDER BY v.code", ids=list(ids))


def _cells(session: Session, where: str, **values: Any) -> Today:
    rows = session.execute(text(_CELLS + where), {"d": actor_of(session).district} | values).all()
    cells = CellSet(
        code=[row.code for row in rows],
        community=[row.community_code for row in rows],
        kind=[row.kind for row in rows],
        geom=shapely.from_wkb([bytes(row.geom) for row in rows]),
        households=[row.households for row in rows],
    )
    return Today(cells, [row.id for row in rows], [row.estimated for row in rows])


def used_codes(session: Session, communities: Sequence[str]) -> set[str]:
    """Return every code that was ever given in communities, planned ones too: none of them is given twice."""
    sql = text(
        "SELECT code FROM cell_version WHERE district_code = :d AND community_code = ANY (CAST(:c AS text[]))"
        " UNION SELECT r.code FROM cell_draft AS r JOIN cell_change AS g ON g.district_code = r.district_code"
        " AND g.id = r.change_id WHERE r.district_code = :d AND r.community_code = ANY (CAST(:c AS text[]))"
        " AND g.state IN ('proposed', 'planned')"
        " UNION SELECT code FROM cell WHERE district_code = :d AND community_code = ANY (CAST(:c AS text[]))"
    )
    return set(session.scalars(sql, {"d": actor_of(session).district, "c": list(communities)}))


def drawn_communities(session: Session) -> set[str]:
    """Return the communities that have a cell which people drew: one that stands by another change than a load."""
    sql = text(
        "SELECT DISTINCT v.community_code FROM cell_version AS v JOIN cell_change AS g"
        " ON g.district_code = v.district_code AND g.id = v.change_id"
        " WHERE v.district_code = :d AND v.ended_by IS NULL AND g.kind <> 'load'"
    )
    return set(session.scalars(sql, {"d": actor_of(session).district}))


@contextmanager
def _shared_ground_told() -> Iterator[None]:
    """Say in people's words what the database's lock on shared ground says in its own."""
    try:
        yield
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) != _EXCLUDED:
            raise
        named = re.findall(r"\b\d{15}\b", str(error.orig))[:2]
        if len(named) < 2:
            raise Conflict("Somebody else changed this at the same moment; load it again.") from error
        raise Invalid(
            "Cells {one} and {other} would share ground at the same time; nothing was changed.",
            field="geometry",
            one=named[0],
            other=named[1],
        ) from error


def follow_load(session: Session, *, at: datetime) -> int:
    """Give every cell that a load has changed a new version, end those that are gone, and return how many changed.

    Reads what `cell` holds now; writes one change of kind `load`, none where nothing differs. Raises Invalid where two
    cells share ground. Caller commits.
    """
    known: dict[str, Any] = {"d": actor_of(session).district, "change": new_id(), "at": at}
    differs = (
        "SELECT v.id FROM cell_version AS v LEFT JOIN cell AS c ON c.district_code = v.district_code"
        " AND c.code = v.code WHERE v.district_code = :d AND v.ended_by IS NULL"
        " AND (c.code IS NULL OR NOT c.geom = v.geom OR (c.kind, c.derived) <> (v.kind, v.derived)"
        " OR c.households IS DISTINCT FROM v.households)"
    )
    bare = (
        "SELECT c.code FROM cell AS c WHERE c.district_code = :d AND NOT EXISTS (SELECT 1 FROM cell_version AS v"
        " WHERE v.district_code = c.district_code AND v.code = c.code AND v.ended_by IS NULL)"
    )
    gone = list(session.scalars(text(differs), known))
    if not gone and session.scalar(text(bare + " LIMIT 1"), known) is None:
        return 0
    # A clock that runs back, or a district loaded twice at one instant, must not turn a span of time around.
    newest = session.scalar(
        text("SELECT max(valid_from) FROM cell_change WHERE district_code = :d AND state = 'applied'"), known
    )
    known["at"] = max(at, newest) if newest else at
    session.execute(
        text(
            "INSERT INTO cell_change (district_code, id, kind, state, reason, valid_from, seen, planned_name,"
            " planned_at, applied_at) VALUES (:d, :change, 'load', 'applied', '', :at, '{}', :by, :at, :at)"
        ),
        known | {"by": actor_of(session).name},
    )
    end_versions(session, gone, change=known["change"], at=known["at"])
    codes = list(session.scalars(text(bare), known))
    with _shared_ground_told():
        session.execute(
            text(
                "INSERT INTO cell_version (district_code, id, code, community_code, kind, households, derived, geom,"
                " validity, change_id) SELECT c.district_code, s.id, c.code, c.community_code, c.kind, c.households,"
                " c.derived, c.geom, tstzrange(:at, NULL), :change"
                " FROM unnest(CAST(:codes AS text[]), CAST(:ids AS uuid[])) AS s(code, id)"
                " JOIN cell AS c ON c.district_code = :d AND c.code = s.code"
            ),
            known | {"codes": codes, "ids": [new_id() for _ in codes]},
        )
    write_lineage(session, known["change"])
    log(session, known["change"], "applied", at=known["at"], data={"ended": len(gone), "begun": len(codes)})
    return len(codes) + len(gone)


def end_versions(session: Session, ids: Sequence[uuid.UUID], *, change: uuid.UUID, at: datetime) -> None:
    """End versions at an instant; one that began then or later was never in force. Writes; caller commits."""
    sql = text(
        "UPDATE cell_version SET ended_by = :change,"
        " validity = tstzrange(lower(validity), greatest(lower(validity), :at))"
        " WHERE district_code = :d AND id = ANY (CAST(:ids AS uuid[])) AND ended_by IS NULL"
    )
    session.execute(sql, {"d": actor_of(session).district, "ids": list(ids), "change": change, "at": at})


def begin_versions(session: Session, change: uuid.UUID, *, at: datetime) -> int:
    """Make the drafts of a change versions and today's cells, and return how many; the taken ones must be ended.

    Raises Invalid where one shares ground with a cell that stays. Writes; caller commits.
    """
    district = actor_of(session).district
    codes = list(
        session.scalars(
            text("SELECT code FROM cell_draft WHERE district_code = :d AND change_id = :change ORDER BY code"),
            {"d": district, "change": change},
        )
    )
    known = {"d": district, "change": change, "at": at, "codes": codes, "ids": [new_id() for _ in codes]}
    with _shared_ground_told():
        session.execute(
            text(
                "INSERT INTO cell_version (district_code, id, code, community_code, kind, households, estimated,"
                " derived, geom, validity, change_id) SELECT r.district_code, s.id, r.code, r.community_code, r.kind,"
                " r.households, r.estimated, r.derived, r.geom, tstzrange(:at, NULL), :change"
                " FROM unnest(CAST(:codes AS text[]), CAST(:ids AS uuid[])) AS s(code, id)"
                " JOIN cell_draft AS r ON r.district_code = :d AND r.change_id = :change AND r.code = s.code"
            ),
            known,
        )
    session.execute(
        text(
            "INSERT INTO cell (district_code, code, town_code, community_code, kind, geom, derived, households)"
            " SELECT r.district_code, r.code, left(r.code, 9), r.community_code, r.kind, r.geom, r.derived,"
            " r.households FROM cell_draft AS r WHERE r.district_code = :d AND r.change_id = :change"
            " ON CONFLICT (district_code, code) DO UPDATE SET community_code = EXCLUDED.community_code,"
            " kind = EXCLUDED.kind, geom = EXCLUDED.geom, derived = EXCLUDED.derived, households = EXCLUDED.households"
            " WHERE cell.district_code = :d"
        ),
        known,
    )
    write_lineage(session, change)
    return len(codes)


def write_lineage(session: Session, change: uuid.UUID) -> None:
    """Note which versions that a change began came from which that it ended: those with ground in common. Writes."""
    sql = text(
        "INSERT INTO cell_lineage (district_code, version_id, parent_id, change_id, shared_m2)"
        " SELECT CAST(:d AS varchar), p.version_id, p.parent_id, :change, p.m2 FROM ("
        " SELECT n.id AS version_id, o.id AS parent_id,"
        "  CASE WHEN n.geom = o.geom THEN ST_Area(n.geom::geography)"
        "  ELSE ST_Area(ST_CollectionExtract(ST_Intersection(n.geom, o.geom), 3)::geography) END AS m2"
        " FROM cell_version AS n JOIN cell_version AS o ON o.district_code = n.district_code AND o.ended_by = :change"
        "  AND o.geom && n.geom WHERE n.district_code = :d AND n.change_id = :change) AS p WHERE p.m2 > 1"
    )
    session.execute(sql, {"d": actor_of(session).district, "change": change})


def reattach(session: Session, *, codes: Sequence[str], ground: Any) -> dict[str, int]:
    """Attach anew the rows of every follower that lie in cells of `codes` or on `ground`; return table → rows moved.

    ground: EPSG:4490. Also counts the places of those cells again. Set-wise; writes; caller commits.
    """
    moved = {}
    known = {"d": actor_of(session).district, "codes": list(codes), "ground": ewkb(ground)}
    for one in FOLLOWERS:
        keys = ", ".join(f"f.{name}" for name in one.key)
        above = "".join(f", {name} = coalesce(left(s.cell, {_AREA_DIGITS[name]}), t.{name})" for name in one.areas)
        same = " AND ".join(f"t.{name} = s.{name}" for name in one.key)
        sql = (
            f"UPDATE {one.table} AS t SET {one.cell} = s.cell{above} FROM ("  # noqa: S608  names of FOLLOWERS
            f" SELECT {keys}, min(c.code) AS cell FROM {one.table} AS f"
            f" LEFT JOIN cell AS c ON c.district_code = f.district_code AND c.geom && f.{one.geom}"
            f"  AND ST_Covers(c.geom, f.{one.geom})"
            f" WHERE f.district_code = :d AND (f.{one.cell} = ANY (CAST(:codes AS text[]))"
            f"  OR (f.{one.geom} && ST_GeomFromEWKB(:ground)"
            f"   AND ST_Intersects(f.{one.geom}, ST_GeomFromEWKB(:ground))))"
            f" GROUP BY {keys}) AS s WHERE t.district_code = :d AND {same} AND t.{one.cell} IS DISTINCT FROM s.cell"
        )
        done = session.execute(text(sql), known)
        assert isinstance(done, CursorResult)
        moved[one.table] = done.rowcount
    session.execute(
        text(
            "UPDATE cell SET places = s.n FROM (SELECT c.code, count(p.key) AS n FROM cell AS c LEFT JOIN place AS p"
            " ON p.district_code = c.district_code AND p.cell_code = c.code WHERE c.district_code = :d"
            " AND (c.code = ANY (CAST(:codes AS text[])) OR c.geom && ST_GeomFromEWKB(:ground)) GROUP BY c.code) AS s"
            " WHERE cell.district_code = :d AND cell.code = s.code AND cell.places <> s.n"
        ),
        known,
    )
    return moved


def log(
    session: Session, change: uuid.UUID, action: str, *, at: datetime, data: Mapping[str, Any], by: Actor | None = None
) -> None:
    """Append to the log of a change who did what; the change's row is locked or new. Writes; caller commits.

    by: the session's actor where it is left out.
    """
    actor = by or actor_of(session)
    sql = text(
        "INSERT INTO cell_change_entry (district_code, change_id, seq, action, actor_id, actor_name, recorded_at, data)"
        " SELECT CAST(:d AS varchar), CAST(:change AS uuid), coalesce(max(e.seq), 0) + 1, CAST(:action AS varchar),"
        " CAST(:id AS uuid), CAST(:name AS varchar), CAST(:at AS timestamptz), CAST(:data AS jsonb)"
        " FROM cell_change_entry AS e WHERE e.district_code = :d AND e.change_id = :change"
    )
    values = {"d": actor.district, "change": change, "action": action, "id": actor.id, "name": actor.name, "at": at}
    session.execute(sql, values | {"data": orjson.dumps(dict(data)).decode()})

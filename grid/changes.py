"""Changes of the grid 网格调整: planned for a date with reason and document, approved, cancelled, applied on their day.

A plan names the cells that it takes as they were seen, and what stands there after it. On its day it is applied whole
or, where one of those cells has changed meanwhile, refused with both changes named. What a change would move is
`grid.effects`; the writing of versions is `grid.versions`.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import orjson
import shapely
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.actor import Actor, Role, system
from core.datums import ewkb
from core.db import acting_as, actor_of, rows
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.ids import new_id
from grid import duties, versions
from grid.cellset import CellSet
from grid.relay import LEAST_M2, THIN_M, outline, relay, square_metres
from grid.versions import Today, today
from grid.words import N_

KINDS: Final[Mapping[str, str]] = {
    "split": N_("Split a cell"),
    "merge": N_("Merge cells"),
    "redraw": N_("Redraw boundaries"),
    "void": N_("Void a cell"),
    "new": N_("New cell"),
    "describe": N_("Other kind or households"),
    "load": N_("Load of the district"),
}
STATES: Final[Mapping[str, str]] = {
    # A community's or town's plan that the district has not approved.
    "proposed": N_("waits for approval"),
    "planned": N_("planned, not yet in force"),
    "applied": N_("in force"),
    "cancelled": N_("called off"),
    # Its cells had changed before its day.
    "refused": N_("refused on its day"),
}
#: Who plans at once and approves what offices propose.
DECIDES: Final = (Role.ADMIN, Role.SUPERVISOR, Role.SYSTEM)
#: How far ahead a change may be planned: beyond it nobody knows the cells.
_FARTHEST: Final = timedelta(days=3 * 366)
#: Cells of one change: a whole district that was imported.
MOST_CELLS: Final = 20_000
#: Changes of one list.
MOST_LISTED: Final = 200
#: Changes that one run applies.
_MOST_DUE: Final = 50


@dataclass(slots=True)
class Change:
    """What somebody wants to change."""

    #: split, merge, redraw, void, new or describe.
    kind: str
    #: Codes of the cells whose ground and standing it takes; all of them end or go on among `cells`.
    takes: Sequence[str]
    #: What stands there after it.
    cells: CellSet
    #: Aware; a moment that is past means at once.
    valid_from: datetime
    reason: str
    #: Number of the decision 文号; `file` is the uploaded one: `{"sha256", "media_type", "name", "size"}`.
    document: str = ""
    file: Mapping[str, Any] | None = None
    #: Ground that no cell takes may stay bare.
    bare: bool = False
    #: Code → version of the cells that the planner saw; None for whatever stands there now.
    seen: Mapping[str, str] | None = None
    #: Which households of `cells` are estimates; empty for none.
    estimated: Sequence[bool] = ()
    #: The cells were made by the program from places alone.
    derived: bool = False


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a planned change on its day."""

    id: uuid.UUID
    #: applied or refused.
    state: str
    #: Table → rows that lie in another cell now; `cell_duty` counts duties that went over.
    moved: Mapping[str, int] = field(default_factory=dict)


def reach(session: Session) -> str:
    """Return the beginning of the codes of all cells that the session's actor may plan for; empty for all.

    Administrators and supervisors plan for the district (supervisors of a town for it), offices of towns and
    communities for their own area. Raises Forbidden for everybody else. Reads only.
    """
    if actor_of(session).role in (*DECIDES, Role.UNIT):
        return duties.reach(session)
    raise Forbidden("Only the offices of towns and communities, supervision and administration plan the grid.")


def plan(session: Session, change: Change, *, at: datetime) -> uuid.UUID:
    """Check a change and store it as planned (by the district) or proposed (by an office); return its id.

    Locks the district's row against other plans and loads. Raises Forbidden outside the actor's reach, Invalid for
    what could never be the grid, Conflict where a cell has changed since it was seen or is in another plan: its
    parameter `change` names that one. Writes; caller commits.
    """
    actor, area = actor_of(session), reach(session)
    _check_words(change, at=at)
    _check_reach(change, area)
    key = new_id()
    with acting_as(session, system(actor.district, "grid")):
        _lock(session)
        now = today(session, codes=change.takes)
        seen = _check_seen(session, change, now)
        _check_free(session, change, seen)
        cells = laid(session, change, now)
        _insert(session, key, change, cells, actor=actor, at=at, seen=seen)
        told = {"valid_from": change.valid_from.isoformat(), "takes": len(seen), "cells": len(cells.code)}
        versions.log(session, key, "planned", at=at, data=told, by=actor)
    return key


def laid(session: Session, change: Change, now: Today) -> CellSet:
    """Return the cells of a change laid down exactly on the ground that it takes, community by community.

    now: the cells that it takes, as they stand. Raises Invalid for the first fault: a cell that reaches beyond, ground
    that would belong to nobody, cells that overlap, two communities in one change of one cell. Reads only.
    """
    cells = change.cells
    _check_cells(cells)
    if change.kind == "describe" and set(cells.code) != set(now.cells.code):
        raise Invalid("Another kind or count of households changes no codes.", field="code")
    geom = np.array(cells.geom, dtype=object)
    for community in sorted({*cells.community, *now.cells.community}):
        mine = [i for i, code in enumerate(cells.community) if code == community]
        before = [i for i, code in enumerate(now.cells.community) if code == community]
        if not before:
            _check_new_ground(session, community, geom[mine], [cells.code[i] for i in mine])
        if not mine and not change.bare:
            message = N_(
                "The ground of these cells would belong to no cell; name who takes it, or say that it stays bare."
            )
            raise Invalid(message, field="bare")
        if mine and change.kind == "describe":
            geom[mine] = now.cells.geom[[now.cells.code.index(cells.code[i]) for i in mine]]
        elif mine:
            ground = outline(now.cells.geom[before] if before else geom[mine])
            done = relay(ground, geom[mine], codes=[cells.code[i] for i in mine], bare=change.bare)
            for fault in done.faults:
                raise fault.error()
            geom[mine] = done.geom
    return CellSet(list(cells.code), list(cells.community), list(cells.kind), geom, list(cells.households))


def _check_words(change: Change, *, at: datetime) -> None:
    if change.kind not in KINDS or change.kind == "load":
        raise Invalid("There is no such change of the grid.", field="kind")
    if not 2 <= len(change.reason.strip()) <= 1000:
        raise Invalid("Say why, in 2 to 1000 characters.", field="reason")
    if not change.document.strip() and not change.file:
        raise Invalid("Name the decision behind it: its number, or the file.", field="document")
    if len(change.document) > 120:
        raise Invalid("The number of a document has at most 120 characters.", field="document")
    if change.valid_from.tzinfo is None:
        raise Invalid("The day needs its time zone.", field="valid_from")
    if change.valid_from - at > _FARTHEST:
        raise Invalid("A change is planned for three years ahead at most.", field="valid_from")
    if not change.takes and not change.cells.code:
        raise Invalid("Nothing would change.", field="cells")
    if max(len(change.takes), len(change.cells.code)) > MOST_CELLS:
        raise Invalid("At most {most} cells at once.", field="cells", most=MOST_CELLS)


def _check_reach(change: Change, area: str) -> None:
    if not all(code.startswith(area) for code in (*change.takes, *change.cells.code, *change.cells.community)):
        raise Forbidden("This cell is not in your area.")


def _check_cells(cells: CellSet) -> None:
    """Refuse cells that could never stand: broken ground, a foreign or doubled code, an unknown kind."""
    if len(set(cells.code)) != len(cells.code):
        raise Invalid("Two cells would have one code.", field="code")
    for code, community, kind, homes in zip(cells.code, cells.community, cells.kind, cells.households, strict=True):
        if len(code) != 15 or not code.isascii() or not code.isdigit() or code[:12] != community:
            message = N_("{code} is no code of a cell: 15 digits that begin with the community's {community}.")
            raise Invalid(message, field="code", code=code[:40], community=community[:20])
        if kind not in ("residential", "commercial", "industrial", "mixed"):
            raise Invalid("There is no kind {kind} of cell.", field="kind", kind=kind[:40])
        if homes is not None and not 0 <= homes <= 1_000_000:
            raise Invalid("Households are a number from 0 to 1,000,000.", field="households")
    for code, shape in zip(cells.code, cells.geom, strict=True):
        if shape is None or shapely.is_empty(shape) or shapely.get_dimensions(shape) != 2:
            raise Invalid("Cell {code} would have no ground.", field="geometry", code=code)
        if not shapely.is_valid(shape):
            fault = shapely.is_valid_reason(shape)
            raise Invalid(
                "The boundary of cell {code} is not simple: {fault}.", field="geometry", code=code, fault=fault
            )


def _check_new_ground(session: Session, community: str, shapes: Any, codes: Sequence[str]) -> None:
    """Refuse new cells outside their community, where anybody knows how far it goes, or on another cell's ground."""
    whole = outline(shapes)
    known = rows(
        session,
        "SELECT ST_AsBinary(geom) AS geom FROM area WHERE district_code = :d AND code = :code AND level = 'community'",
        d=actor_of(session).district,
        code=community,
    )
    if not known:
        raise NotFound("There is no community {code}.", code=community)
    if known[0]["geom"] is not None:
        beyond = shapely.difference(whole, shapely.from_wkb(bytes(known[0]["geom"])))
        if _fat(beyond):
            raise Invalid("Cell {code} reaches beyond its community.", field="geometry", code=codes[0])
    here = today(session, communities=[community])
    for code, shape in zip(here.cells.code, here.cells.geom, strict=True):
        if _fat(shapely.intersection(whole, shape)):
            raise Invalid("This ground belongs to cell {code} already.", field="geometry", code=code)


def _fat(shape: Any) -> bool:
    """Return whether ground is more than a sliver that hands and rounding make."""
    polygons = [part for part in shapely.get_parts(shape) if shapely.get_dimensions(part) == 2]
    area = square_metres(polygons)
    # Mean width by the perimeter, in degrees of latitude made metres: only slivers against fields are told apart here.
    width = [2 * a / max(float(shapely.length(p)) * 105_000, 1e-9) for a, p in zip(area, polygons, strict=True)]
    return any(a >= LEAST_M2 and w >= THIN_M for a, w in zip(area, width, strict=True))


def _lock(session: Session) -> None:
    """Let plans, loads and applied changes of a district go one after the other."""
    sql = text("SELECT 1 FROM district WHERE district_code = :d FOR NO KEY UPDATE")
    session.execute(sql, {"d": actor_of(session).district})


def _check_seen(session: Session, change: Change, now: Today) -> dict[str, str]:
    """Return code → version of what is taken; raises Conflict where a planner saw another version."""
    there = now.seen()
    seen = dict(change.seen) if change.seen is not None else there
    changed = sorted(code for code in change.takes if code not in there or seen.get(code) != there[code])
    if changed:
        raise _conflict(changed, _changed_by(session, changed))
    return {code: there[code] for code in change.takes}


def _changed_by(session: Session, codes: Sequence[str]) -> Mapping[str, Any] | None:
    """Return the newest applied change that touched one of the codes."""
    found = rows(
        session,
        "SELECT g.id, g.kind, g.reason, g.planned_name FROM cell_version AS v JOIN cell_change AS g"
        " ON g.district_code = v.district_code AND g.id = coalesce(v.ended_by, v.change_id)"
        " WHERE v.district_code = :d AND v.code = ANY (CAST(:codes AS text[]))"
        " ORDER BY g.applied_at DESC, g.id DESC LIMIT 1",
        d=actor_of(session).district,
        codes=list(codes),
    )
    return found[0] if found else None


def _conflict(codes: Sequence[str], other: Mapping[str, Any] | None) -> Conflict:
    named = ", ".join(codes[:5])
    if other is None:
        return Conflict("There is no cell {code} today; load the map again.", code=named)
    if other["kind"] == "load":
        return Conflict("Cell {code} was loaded anew meanwhile.", code=named, change=str(other["id"]))
    told = {"code": named, "name": other["planned_name"], "reason": other["reason"], "change": str(other["id"])}
    return Conflict("Cell {code} was changed meanwhile by {name}: {reason}", **told)


def _check_free(session: Session, change: Change, seen: Mapping[str, str]) -> None:
    """Raise Conflict where another plan waits for one of the cells, and where a new code is taken."""
    district = actor_of(session).district
    others = rows(
        session,
        "SELECT g.id, g.planned_name, g.valid_from, k.code FROM cell_change AS g,"
        " LATERAL (SELECT jsonb_object_keys(g.seen) AS code UNION SELECT r.code FROM cell_draft AS r"
        "  WHERE r.district_code = :d AND r.change_id = g.id) AS k"
        " WHERE g.district_code = :d AND g.state IN ('proposed', 'planned') AND k.code = ANY (CAST(:codes AS text[]))"
        " ORDER BY g.id, k.code LIMIT 1",
        d=district,
        codes=sorted({*seen, *change.cells.code}),
    )
    for other in others:
        raise Conflict(
            "Cell {code} is in another plan already, by {name} for {day}; cancel that one first.",
            code=other["code"],
            name=other["planned_name"],
            day=f"{other['valid_from']:%Y-%m-%d}",
            change=str(other["id"]),
        )
    fresh = sorted(set(change.cells.code) - set(seen))
    sql = text("SELECT min(code) FROM cell WHERE district_code = :d AND code = ANY (CAST(:codes AS text[]))")
    taken = session.scalar(sql, {"d": district, "codes": fresh})
    if taken is not None:
        raise Conflict("Cell {code} is there already and not part of this change.", code=taken)


def _insert(
    session: Session,
    key: uuid.UUID,
    change: Change,
    cells: CellSet,
    *,
    actor: Actor,
    at: datetime,
    seen: Mapping[str, str],
) -> None:
    known = {"d": actor.district, "id": key, "at": at}
    session.execute(
        text(
            "INSERT INTO cell_change (district_code, id, kind, state, communities, reason, document, file, valid_from,"
            " bare, seen, unit_code, planned_by, planned_name, planned_at) VALUES (:d, :id, :kind, :state,"
            " CAST(:communities AS text[]), :reason, :document, CAST(:file AS jsonb), :valid_from, :bare,"
            " CAST(:seen AS jsonb), :unit, :by, :name, :at)"
        ),
        known
        | {
            "kind": change.kind,
            "state": "planned" if actor.role in DECIDES else "proposed",
            "communities": sorted({code[:12] for code in (*seen, *cells.code)}),
            "reason": change.reason.strip(),
            "document": change.document.strip(),
            "file": orjson.dumps(dict(change.file)).decode() if change.file else None,
            "valid_from": max(change.valid_from, at),
            "bare": change.bare,
            "seen": orjson.dumps(dict(seen)).decode(),
            "unit": actor.unit,
            "by": actor.id,
            "name": actor.name,
        },
    )
    count = len(cells.code)
    session.execute(
        text(
            "INSERT INTO cell_draft (district_code, change_id, code, community_code, kind, households, estimated,"
            " derived, geom) SELECT :d, :id, s.code, s.community, s.kind, s.households, s.estimated, :derived,"
            " ST_GeomFromEWKB(s.geom) FROM unnest(CAST(:codes AS text[]), CAST(:communities AS text[]),"
            " CAST(:kinds AS text[]), CAST(:households AS int[]), CAST(:estimated AS bool[]), CAST(:geoms AS bytea[]))"
            " AS s(code, community, kind, households, estimated, geom)"
        ),
        known
        | {
            "derived": change.derived,
            "codes": cells.code,
            "communities": cells.community,
            "kinds": cells.kind,
            "households": cells.households,
            "estimated": list(change.estimated) or [False] * count,
            "geoms": [ewkb(shape) for shape in cells.geom],
        },
    )


def approve(session: Session, change_id: uuid.UUID, *, at: datetime) -> None:
    """Take an office's proposal into the plan. Raises Forbidden for offices, Conflict unless it is proposed. Writes."""
    actor = actor_of(session)
    if actor.role not in DECIDES:
        raise Forbidden("Only supervision and administration approve a change of the grid.")
    with acting_as(session, system(actor.district, "grid")):
        _turn(session, change_id, {"proposed"}, "planned", area=actor.town)
        versions.log(session, change_id, "approved", at=at, data={}, by=actor)


def cancel(session: Session, change_id: uuid.UUID, *, reason: str, at: datetime) -> None:
    """Call a change off before its day; offices only their own. Raises Conflict once it is over. Writes."""
    actor, area = actor_of(session), reach(session)
    if not 2 <= len(reason.strip()) <= 1000:
        raise Invalid("Say why, in 2 to 1000 characters.", field="reason")
    with acting_as(session, system(actor.district, "grid")):
        own = None if actor.role in DECIDES else actor.unit
        _turn(session, change_id, {"proposed", "planned"}, "cancelled", area=area, unit=own)
        versions.log(session, change_id, "cancelled", at=at, data={"reason": reason.strip()}, by=actor)


def _turn(
    session: Session, change_id: uuid.UUID, sources: set[str], target: str, *, area: str, unit: str | None = None
) -> None:
    """Move a change to another state under its row's lock."""
    values = {"d": actor_of(session).district, "id": change_id}
    row = session.execute(
        text("SELECT state, communities, unit_code FROM cell_change WHERE district_code = :d AND id = :id FOR UPDATE"),
        values,
    ).one_or_none()
    if row is None or not all(code.startswith(area[:12]) for code in row.communities):
        raise NotFound("There is no such change of the grid.")
    if unit is not None and row.unit_code != unit:
        raise Forbidden("Offices call off what they proposed themselves.")
    if row.state not in sources:
        raise Conflict("This change is {state} already.", state=row.state)
    sql = text("UPDATE cell_change SET state = :target WHERE district_code = :d AND id = :id")
    session.execute(sql, values | {"target": target})


def apply_due(session: Session, *, at: datetime) -> list[Applied]:
    """Apply the planned changes whose day has come, in their order, each whole or refused; return what became of them.

    Versions begin at the planned moment, however late this runs. Takes the district's lock: run twice or in two places
    the second finds nothing left. Acts as the program. Writes; caller commits.
    """
    due = text(
        "SELECT id FROM cell_change WHERE district_code = :d AND state = 'planned' AND valid_from <= :at"
        " ORDER BY valid_from, id LIMIT :most"
    )
    district = actor_of(session).district
    values = {"d": district, "at": at, "most": _MOST_DUE}
    with acting_as(session, system(district, "grid")):
        if session.scalar(due, values) is None:
            return []
        _lock(session)
        return [_apply(session, key, at=at) for key in list(session.scalars(due, values))]


def _apply(session: Session, key: uuid.UUID, *, at: datetime) -> Applied:
    """Apply one change, or refuse it where its cells are no longer those that were seen."""
    row = rows(
        session,
        "SELECT kind, seen, valid_from FROM cell_change WHERE district_code = :d AND id = :id FOR UPDATE",
        d=actor_of(session).district,
        id=key,
    )[0]
    try:
        with session.begin_nested():
            moved = _write(session, key, row["seen"], valid_from=row["valid_from"], at=at)
    except (Conflict, Invalid) as refused:
        _turn(session, key, {"planned"}, "refused", area="")
        versions.log(session, key, "refused", at=at, data={"message": refused.message, "params": refused.params})
        return Applied(key, "refused")
    versions.log(session, key, "applied", at=at, data={"moved": moved})
    return Applied(key, "applied", moved)


def _write(
    session: Session, key: uuid.UUID, seen: Mapping[str, str], *, valid_from: datetime, at: datetime
) -> dict[str, int]:
    """Write versions, today's cells, followers and duties of a change; return table → rows that moved."""
    known = {"d": actor_of(session).district, "id": key, "at": at, "codes": sorted(seen)}
    now = today(session, codes=sorted(seen))
    changed = sorted(code for code in seen if now.seen().get(code) != seen[code])
    if changed:
        raise _conflict(changed, _changed_by(session, changed))
    drafts = session.execute(
        text("SELECT code, ST_AsBinary(geom) FROM cell_draft WHERE district_code = :d AND change_id = :id"), known
    ).all()
    after = [code for code, _ in drafts]
    versions.end_versions(session, now.ids, change=key, at=valid_from)
    session.execute(
        text(
            "DELETE FROM cell WHERE district_code = :d AND code = ANY (CAST(:codes AS text[]))"
            " AND code <> ALL (CAST(:after AS text[]))"
        ),
        known | {"after": after},
    )
    versions.begin_versions(session, key, at=valid_from)
    shapes = [*now.cells.geom, *shapely.from_wkb([bytes(shape) for _, shape in drafts])]
    moved = versions.reattach(session, codes=sorted({*seen, *after}), ground=outline(shapes))
    moved["cell_duty"] = duties.follow(session, heirs(session, key), at=valid_from)
    session.execute(
        text("UPDATE cell_change SET state = 'applied', applied_at = :at WHERE district_code = :d AND id = :id"), known
    )
    session.execute(text("UPDATE district SET revision = revision + 1 WHERE district_code = :d"), known)
    return moved


def heirs(session: Session, change_id: uuid.UUID) -> dict[str, list[str]]:
    """Return code → the codes that answer for its ground after an applied change, as `duties.follow` takes it.

    A code that goes on hands duties to codes that are new; one that ended hands them to every cell on its ground.
    Ground that goes from one standing cell to another takes no duties along.
    """
    sql = (
        "SELECT p.code AS old, v.code AS new, o.code IS NOT NULL AS stood FROM cell_lineage AS l"
        " JOIN cell_version AS v ON v.district_code = l.district_code AND v.id = l.version_id"
        " JOIN cell_version AS p ON p.district_code = l.district_code AND p.id = l.parent_id"
        " LEFT JOIN cell_version AS o ON o.district_code = l.district_code AND o.ended_by = :id AND o.code = v.code"
        " WHERE l.district_code = :d AND l.change_id = :id ORDER BY p.code, l.shared_m2 DESC, v.code"
    )
    found = rows(session, sql, d=actor_of(session).district, id=change_id)
    after = {row["new"] for row in found}
    made: dict[str, list[str]] = {}
    for row in found:
        goes_on = row["old"] in after
        if not goes_on or row["new"] == row["old"] or not row["stood"]:
            made.setdefault(row["old"], []).append(row["new"])
    return made

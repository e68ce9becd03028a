"""Imports of the grid 网格导入 that wait for a person: read, checked, kept as a draft, mended, handed on as a plan.

Nothing of a draft is in force. It survives the day it was made on, can be checked anew against what the district knows
by then, and becomes one planned change (`grid.changes`) for a date with a reason. The bytes of the uploaded file are
kept by whoever calls.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray
from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from core.datums import Datum, to_db
from core.db import actor_of, rows
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from grid import changes, derive, duties, files
from grid.cellset import CellSet
from grid.checking import check
from grid.findings import Finding, Known, Rules, Told
from grid.ground import USES
from grid.imports_tables import GridImport, ImportedCell, ImportFinding
from grid.mending import AGAIN, Fix, apply
from grid.sites import limits_of

#: Drafts in a list, findings on a page, proposals accepted at once.
MOST_LISTED: Final = 50
PER_PAGE: Final = 50
#: Places that kinds are checked against.
_MOST_PLACES: Final = 500_000
#: Corners nearer than this many degrees, a centimetre, are the same corner.
_SAME: Final = 1e-7


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is read and checked; what a person chose, kept with the draft."""

    #: A name that `Datum.parse` knows; empty for what the file says.
    datum: str = ""
    layer: str = ""
    #: The axes are exchanged, and a person accepted it.
    swapped: bool = False
    #: The file holds every cell of the district (or of the actor's own part of it).
    whole: bool = True
    tolerance_m: float = 0.5
    snap_m: float = 5.0

    def __post_init__(self) -> None:
        """Raise Invalid for widths that make no sense."""
        if not 0 <= self.tolerance_m <= 20:
            raise Invalid("The tolerance must lie between 0 and 20 m.", field="tolerance")
        if not self.tolerance_m <= self.snap_m <= 50:
            raise Invalid("Snaps must be at least as wide as the tolerance, and 50 m at most.", field="snap")

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Examined:
    """A file as cells with everything that was found."""

    cells: CellSet
    told: Told
    findings: list[Finding]
    facts: dict[str, Any] = field(default_factory=dict)


def known(session: Session, *, at: datetime) -> Known:
    """Return what the district knows, as far as the actor may change it: raises Forbidden for who plans nothing."""
    district, area = actor_of(session).district, changes.reach(session)
    values = {"d": district, "area": area + "%"}
    communities = rows(
        session,
        "SELECT a.code, a.name, ST_AsBinary(a.geom) AS wkb FROM area a"
        " WHERE a.district_code = :d AND a.level = 'community' AND a.code LIKE :area",
        **values,
    )
    cells = rows(
        session,
        "SELECT c.code, ST_X(ST_Centroid(c.geom)) AS x, ST_Y(ST_Centroid(c.geom)) AS y FROM cell c"
        " WHERE c.district_code = :d AND c.code LIKE :area ORDER BY c.code",
        **values,
    )
    places = rows(
        session,
        "SELECT p.name, p.type, p.type_path, ST_X(p.geom) AS x, ST_Y(p.geom) AS y FROM place p"
        " WHERE p.district_code = :d AND p.community_code LIKE :area LIMIT :most",
        **values,
        most=_MOST_PLACES,
    )
    gaps = duties.missing(session, at=at, area=area)
    return Known(
        communities={
            row["code"]: None if row["wkb"] is None else shapely.from_wkb(bytes(row["wkb"])) for row in communities
        },
        names={row["code"]: row["name"] for row in communities},
        cells=[row["code"] for row in cells],
        centroids=np.array([(row["x"], row["y"]) for row in cells], dtype=np.float64).reshape(-1, 2),
        places=np.array([(row["x"], row["y"]) for row in places], dtype=np.float64).reshape(-1, 2),
        uses=_uses([row["type_path"] or row["type"] for row in places]),
        place_names=[row["name"] for row in places],
        ownerless={gap.cell: gap.duties for gap in gaps},
    )


def _uses(paths: Sequence[str]) -> NDArray[np.intp]:
    """Return the use of each type path as an index into `derive.KINDS`, -1 for none; the longest prefix wins."""
    prefixes = sorted(
        ((prefix, derive.KINDS.index(use)) for use, told in USES.items() for prefix in told),
        key=lambda one: -len(one[0]),
    )
    found = {path: next((use for prefix, use in prefixes if path.startswith(prefix)), -1) for path in set(paths)}
    return np.array([found[path] for path in paths], dtype=np.intp)


def rules(session: Session, options: Options) -> Rules:
    """Return the rules of a check: the district's own (`cell_code`, `cell_households`), with a person's widths."""
    sql = "SELECT d.settings->'cell_code' AS code FROM district d WHERE d.district_code = :d"
    pattern = rows(session, sql, d=actor_of(session).district)[0]["code"]
    limits = limits_of(session)
    return Rules(
        tolerance_m=options.tolerance_m,
        snap_m=options.snap_m,
        households=(limits.fewest, limits.most),
        pattern=pattern if isinstance(pattern, str) else Rules().pattern,
        whole=options.whole,
    )


def examine(data: bytes, options: Options, *, ground: Known, kept: Rules) -> Examined:
    """Return a file read and checked; raises Invalid for one that cannot be read at all. Takes seconds, no database."""
    file = files.read(data, layer=options.layer)
    cells, told = files.cells_of(file, options.datum, swapped=options.swapped)
    facts = {"form": file.form, "layers": list(file.layers), "layer": file.layer, "crs": file.crs[:200]}
    return Examined(cells, told, check(cells, ground, kept, told), facts)


def keep(session: Session, found: Examined, *, name: str, sha256: str, options: Options, at: datetime) -> uuid.UUID:
    """Keep an examined file as a draft and return its id. Writes; caller commits."""
    actor, key = actor_of(session), new_id()
    changes.reach(session)
    values = {"name": name[:120], "sha256": sha256, "state": "draft", "version": 1, "created_by": actor.id}
    made = {"created_by_name": actor.name, "created_at": at}
    session.execute(
        insert(GridImport).values(
            district_code=actor.district, id=key, **values, **made, **_summary(found, options, at=at), accepted=[]
        )
    )
    _write(session, key, found)
    return key


def _summary(found: Examined, options: Options, *, at: datetime) -> dict[str, Any]:
    told = found.told
    said = {
        "datum": told.datum.value,
        "swapped": told.swapped,
        "unclosed": list(told.unclosed),
        "faults": {str(index): fault for index, fault in told.faults.items()},
        "said_datum": told.said_datum,
    }
    grave = [_weight(one) for one in found.findings if one.severity == "refuses"]
    light = [_weight(one) for one in found.findings if one.severity == "warns"]
    return {
        "options": options.as_json(),
        "facts": {**found.facts, "told": said},
        "cells": len(found.cells.code),
        "refuses": sum(grave),
        "warns": sum(light),
        "changed_at": at,
    }


def _weight(one: Finding) -> int:
    """Return for how many a finding stands: one, or those that are too many to list."""
    return int(one.params["n"]) if one.geometry is None and not one.cells and "n" in one.params else 1


def _write(session: Session, key: uuid.UUID, found: Examined) -> None:
    district, cells, names = actor_of(session).district, found.cells, found.told.names
    empty = shapely.Polygon()
    head = {"district_code": district, "import_id": key}
    drawn = [
        head
        | {
            "serial": i,
            "code": code[:60],
            "community_code": cells.community[i][:60],
            "kind": cells.kind[i][:60],
            "households": cells.households[i],
            "name": (names[i] if names else "")[:200],
            "geom": to_db(cells.geom[i] if cells.geom[i] is not None else empty),
        }
        for i, code in enumerate(cells.code)
    ]
    said = [
        head
        | {
            "serial": i,
            "rule": one.rule,
            "severity": one.severity,
            "cells": list(one.cells),
            "message": one.message,
            "params": dict(one.params),
            "geom": None if one.geometry is None else to_db(one.geometry),
            "fix": None if one.fix is None else one.fix.as_json(),
        }
        for i, one in enumerate(found.findings)
    ]
    for table, lines in ((ImportedCell, drawn), (ImportFinding, said)):
        if lines:
            session.execute(insert(table), lines)


def newest(session: Session) -> list[GridImport]:
    """Return the newest drafts of the district that were not thrown away."""
    query = select(GridImport).where(
        GridImport.district_code == actor_of(session).district, GridImport.state != "dropped"
    )
    return list(session.scalars(query.order_by(GridImport.created_at.desc()).limit(MOST_LISTED)))


def draft(session: Session, key: uuid.UUID, *, lock: bool = False) -> GridImport:
    """Return a draft; raises NotFound. lock: until the transaction ends."""
    query = select(GridImport).where(GridImport.district_code == actor_of(session).district, GridImport.id == key)
    found = session.scalar(query.with_for_update() if lock else query)
    if found is None:
        raise NotFound("There is no such import.")
    return found


def options_of(one: GridImport) -> Options:
    """Return how a draft was read and checked."""
    return Options(**one.options)


def cells_of(session: Session, one: GridImport) -> tuple[CellSet, Told]:
    """Return the cells of a draft as they stand now, and what its file said beyond them. Reads only."""
    sql = (
        "SELECT c.code, c.community_code, c.kind, c.households, c.name, ST_AsBinary(c.geom) AS wkb"
        " FROM grid_import_cell c WHERE c.district_code = :d AND c.import_id = :id ORDER BY c.serial"
    )
    found = rows(session, sql, d=one.district_code, id=one.id)
    geom = shapely.from_wkb([bytes(row["wkb"]) for row in found])
    cells = CellSet(
        [row["code"] for row in found],
        [row["community_code"] for row in found],
        [row["kind"] for row in found],
        np.array([None if shape.is_empty else shape for shape in geom], dtype=object),
        [row["households"] for row in found],
    )
    said = one.facts["told"]
    told = Told(
        datum=Datum(said["datum"]),
        swapped=said["swapped"],
        unclosed=said["unclosed"],
        faults={int(index): fault for index, fault in said["faults"].items()},
        names=[row["name"] for row in found],
        said_datum=said["said_datum"],
    )
    return cells, told


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of findings."""

    findings: Sequence[ImportFinding]
    #: Rule → severity, how many, how many with a proposal; gravest first.
    rules: Sequence[Mapping[str, Any]]
    total: int


def findings(session: Session, one: GridImport, *, rule: str = "", page: int = 1) -> Listed:
    """Return a page of the findings of a draft, of one rule where it is named. Reads only."""
    mine = (ImportFinding.district_code == one.district_code, ImportFinding.import_id == one.id)
    grouped = session.execute(
        select(
            ImportFinding.rule,
            func.min(ImportFinding.severity).label("severity"),
            func.count().label("n"),
            func.count(ImportFinding.fix).label("fixes"),
            func.min(ImportFinding.serial).label("first"),
        )
        .where(*mine)
        .group_by(ImportFinding.rule)
        .order_by(func.min(ImportFinding.serial))
    ).mappings()
    counted = [dict(row) for row in grouped]
    query = select(ImportFinding).where(*mine)
    if rule:
        query = query.where(ImportFinding.rule == rule)
    lines = session.scalars(query.order_by(ImportFinding.serial).offset((page - 1) * PER_PAGE).limit(PER_PAGE))
    total = sum(row["n"] for row in counted if rule in ("", row["rule"]))
    return Listed(list(lines), counted, total)


def proposals(session: Session, one: GridImport, serials: Sequence[int] | None) -> list[tuple[str, int, Fix]]:
    """Return rule, serial and proposal of findings, or of all that do not change how the file is read.

    Raises Invalid where none is chosen, or one that changes how the file is read together with others.
    """
    query = select(ImportFinding.rule, ImportFinding.serial, ImportFinding.fix).where(
        ImportFinding.district_code == one.district_code,
        ImportFinding.import_id == one.id,
        ImportFinding.fix.is_not(None),
    )
    if serials is not None:
        query = query.where(ImportFinding.serial.in_(serials[:PER_PAGE]))
    found = [
        (row.rule, row.serial, Fix.from_json(row.fix)) for row in session.execute(query.order_by(ImportFinding.serial))
    ]
    if serials is None:
        found = [line for line in found if line[2].kind not in AGAIN]
    if not found:
        raise Invalid("Choose at least one proposal.", field="finding")
    if len(found) > 1 and any(fix.kind in AGAIN for _, _, fix in found):
        raise Invalid("This proposal changes how the whole file is read; accept it by itself.", field="finding")
    return found


def read_again(options: Options, fix: Fix) -> Options | None:
    """Return the options with which a proposal has the file read again; None for one that mends cells."""
    if fix.kind == "datum":
        return replace(options, datum=fix.values[0])
    return replace(options, swapped=True) if fix.kind == "swap" else None


def mended(
    cells: CellSet, told: Told, accepted: Sequence[tuple[str, int, Fix]], *, ground: Known, kept: Rules
) -> Examined:
    """Return a draft's cells with proposals done, checked anew. Takes seconds, no database."""
    closed = {index for rule, _, fix in accepted if rule == "unclosed" for index in fix.cells}
    told = replace(told, unclosed=[index for index in told.unclosed if index not in closed])
    after = apply(cells, [fix for _, _, fix in accepted])
    return Examined(after, told, check(after, ground, kept, told))


def put(
    session: Session,
    key: uuid.UUID,
    found: Examined,
    *,
    version: int,
    options: Options,
    accepted: Mapping[str, int] | None,
    at: datetime,
) -> None:
    """Replace what a draft holds by what was examined anew; `accepted` counts proposals by rule, None for a mere check.

    Locks the draft. Raises Conflict where somebody else was faster or it waits no longer. Writes; caller commits.
    """
    one = waiting(session, key, version=version)
    summary = _summary(found, options, at=at)
    summary["facts"] = {**one.facts, **summary["facts"]}
    for name, value in summary.items():
        setattr(one, name, value)
    one.version += 1
    if accepted:
        actor = actor_of(session)
        line = {"by": actor.name, "at": at.isoformat(), "rules": dict(accepted)}
        one.accepted = [*one.accepted, line][-200:]
    session.flush()
    for table in (ImportedCell, ImportFinding):
        session.execute(delete(table).where(table.district_code == one.district_code, table.import_id == key))
    _write(session, key, found)


def waiting(session: Session, key: uuid.UUID, *, version: int) -> GridImport:
    """Return a draft, locked, that still waits as it was seen; raises Conflict, NotFound."""
    one = draft(session, key, lock=True)
    if one.state != "draft" or one.version != version:
        raise Conflict("Somebody else has changed this import; load it again.")
    return one


def drop(session: Session, key: uuid.UUID, *, version: int, at: datetime) -> None:
    """Throw a draft away; its file and cells stay for whoever asks later. Writes; caller commits."""
    one = waiting(session, key, version=version)
    one.state, one.changed_at = "dropped", at


@dataclass(frozen=True, slots=True)
class Order:
    """From when, why, and on what paper an import becomes the grid."""

    valid_from: datetime
    reason: str
    document: str


def plan(session: Session, key: uuid.UUID, order: Order, *, version: int, at: datetime) -> uuid.UUID:
    """Make a draft a planned change of the grid and return the change's id.

    Only cells that differ from today's are changed. Raises Conflict where findings refuse it or it waits no longer,
    Invalid where nothing would change, and as `grid.changes.plan`. Writes; caller commits.
    """
    one = waiting(session, key, version=version)
    if one.refuses:
        raise Conflict("{n} findings refuse this import; mend them first.", n=one.refuses)
    cells, _ = cells_of(session, one)
    takes, new = _difference(session, cells, whole=bool(one.options["whole"]))
    if not takes and not new.code:
        raise Invalid("Every cell of the file is in force already; nothing would change.", field="cells")
    kind = "redraw" if takes else "new"
    wanted = changes.Change(kind, takes, new, order.valid_from, order.reason, document=order.document)
    change = changes.plan(session, wanted, at=at)
    one.state, one.change_id, one.changed_at = "planned", change, at
    return change


def _difference(session: Session, cells: CellSet, *, whole: bool) -> tuple[list[str], CellSet]:
    """Return the codes of today's cells that would end or change, and the cells that would stand instead."""
    area = changes.reach(session)
    named = {code[:12] for code in cells.code}
    sql = (
        "SELECT c.code, c.kind, c.households, ST_AsBinary(c.geom) AS wkb FROM cell c"
        " WHERE c.district_code = :d AND c.code LIKE :area"
    )
    found = rows(session, sql, d=actor_of(session).district, area=area + "%")
    now = {row["code"]: row for row in found if whole or row["code"][:12] in named}
    same = {
        code
        for code, kind, homes, shape in zip(cells.code, cells.kind, cells.households, cells.geom, strict=True)
        if code in now
        and (kind or now[code]["kind"], homes) == (now[code]["kind"], now[code]["households"])
        and _equal(shape, shapely.from_wkb(bytes(now[code]["wkb"])))
    }
    kept = [i for i, code in enumerate(cells.code) if code not in same]
    new = CellSet(
        [cells.code[i] for i in kept],
        [cells.code[i][:12] for i in kept],
        [cells.kind[i] or now.get(cells.code[i], {}).get("kind", "mixed") for i in kept],
        cells.geom[kept] if kept else np.zeros(0, dtype=object),
        [cells.households[i] for i in kept],
    )
    return sorted(set(now) - same), new


def _equal(one: Any, two: Any) -> bool:
    shapes = [shapely.normalize(shapely.multipolygons(shapely.get_parts(shape))) for shape in (one, two)]
    return bool(shapely.equals_exact(*shapes, _SAME))


def shapes(session: Session, one: GridImport, *, simple: float = 5e-6) -> bytes:
    """Return what a map draws of a draft as JSON: communities, cells and findings as GeoJSON, corners thinned out.

    simple: degrees by which a drawn line may miss the true one; half a metre. Reads only.
    """
    values = {"d": one.district_code, "id": one.id, "simple": simple, "area": changes.reach(session) + "%"}
    cells = rows(
        session,
        "SELECT c.serial AS id, c.code, c.kind, c.name,"
        " ST_AsGeoJSON(ST_Simplify(c.geom, :simple, true), 6, 0) AS shape FROM grid_import_cell c"
        " WHERE c.district_code = :d AND c.import_id = :id AND NOT ST_IsEmpty(c.geom) ORDER BY c.serial",
        **values,
    )
    found = rows(
        session,
        "SELECT f.serial AS id, f.rule, f.severity, ST_AsGeoJSON(f.geom, 7, 0) AS shape FROM grid_import_finding f"
        " WHERE f.district_code = :d AND f.import_id = :id AND f.geom IS NOT NULL ORDER BY f.serial",
        **values,
    )
    areas = rows(
        session,
        "SELECT a.code AS id, a.name, ST_AsGeoJSON(ST_Simplify(a.geom, :simple, true), 6, 0) AS shape FROM area a"
        " WHERE a.district_code = :d AND a.level = 'community' AND a.geom IS NOT NULL AND a.code LIKE :area",
        **values,
    )
    return orjson.dumps({"communities": _features(areas), "cells": _features(cells), "findings": _features(found)})


def _features(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "type": "Feature",
            "id": row["id"],
            "properties": {name: value for name, value in row.items() if name not in ("id", "shape")},
            "geometry": orjson.Fragment(row["shape"]),
        }
        for row in found
        if row["shape"]
    ]

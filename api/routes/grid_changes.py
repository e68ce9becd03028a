"""The grid over time for programs and for the map editor: cells to edit, moves, plans, what they would move, history.

Geometry is GeoJSON, lon then lat, EPSG:4490 (WGS84 within a metre). Moves compute and store nothing; a plan is stored
whole or refused.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, time
from typing import Annotated, Any, Final, Literal

import numpy as np
import orjson
import shapely
from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api.deps import Now, Read, Write, require
from api.errors import answer, sentence
from api.i18n import say
from api.pages import filing
from api.routes.documents import Model, Text
from api.routes.grid_proposals import GeoJson, geometry
from api.wording import CHINA
from core.actor import Actor, Role
from core.datums import Datum, from_db, point
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch.regrid import CaseEffects, case_effects
from grid import changes, effects, moves, versions
from grid.cellset import CellSet
from grid.changes import DECIDES, Change
from grid.effects import Effects, Planned
from grid.lines import lines_in
from grid.models import Area
from grid.moves import Homes, Move
from grid.relay import square_metres
from grid.sites import site_of
from grid.versions import Today, Version

router = APIRouter(prefix="/api/v1/grid", tags=["grid"])

Planner = Annotated[Actor, Depends(require(Role.ADMIN, Role.SUPERVISOR, Role.UNIT))]
Staff = Annotated[
    Actor,
    Depends(
        require(Role.ADMIN, Role.SUPERVISOR, Role.UNIT, Role.OFFICIAL, Role.OPERATOR, Role.GRID_WORKER),
    ),
]
#: Cells of one community that are edited, and vertices of all of them.
_MOST_CELLS: Final = 400
_MOST_VERTICES: Final = 200_000
#: Lines of the ground that the editor draws.
_MOST_LINES: Final = 4000
_Code = Annotated[str, Field(pattern=r"^\d{15}$")]


class MoveIn(Model):
    """One stroke of a planner over the cells as they stand in the editor."""

    community: str = Field(pattern=r"^\d{12}$")
    cells: GeoJson = Field(description="properties code, kind, households and estimated")
    kind: Literal["line", "count", "roads", "merge", "void", "describe", "drag", "draw"]
    codes: list[_Code] = Field(default=[], max_length=_MOST_CELLS)
    count: int = Field(default=2, ge=2, le=moves.MOST_PARTS)
    into: Text = Field(default="", max_length=15, description="who takes the ground of a voided cell; empty: nobody")
    to_kind: Text = Field(default="", max_length=20)
    households: int | None = Field(default=None, ge=0, le=1_000_000)
    line: dict[str, Any] | None = Field(default=None, description="LineString that cuts the cell")
    shapes: dict[_Code, dict[str, Any]] = Field(default={}, max_length=_MOST_CELLS)
    shape: dict[str, Any] | None = Field(default=None, description="Polygon of a new cell")


class MoveOut(BaseModel):
    """What stands there after it."""

    kind: str
    takes: list[str]
    cells: dict[str, Any]


class PlanIn(Model):
    """A change of the grid."""

    kind: Literal["split", "merge", "redraw", "void", "new", "describe"]
    takes: list[_Code] = Field(max_length=_MOST_CELLS)
    seen: dict[_Code, uuid.UUID] | None = Field(default=None, description="versions that the planner saw")
    cells: GeoJson = Field(description="properties code, kind, households and estimated")
    valid_from: date | None = Field(default=None, description="day from which it holds; none: at once")
    reason: Text = Field(max_length=1000)
    document: Text = Field(default="", max_length=120)
    file: Text = Field(default="", max_length=2000, description="token of an uploaded decision")
    bare: bool = Field(default=False, description="ground that no cell takes may stay bare")


class PlannedOut(BaseModel):
    """A change of the grid, without its cells."""

    id: uuid.UUID
    kind: str
    state: str
    communities: list[str]
    reason: str
    document: str
    valid_from: datetime
    planned_name: str
    planned_at: datetime
    applied_at: datetime | None


class ReasonIn(Model):
    """Why a change is called off."""

    reason: Text = Field(max_length=1000)


class VersionOut(BaseModel):
    """A cell as it was over a span of time."""

    code: str
    kind: str
    households: int | None
    valid_from: datetime | None
    valid_to: datetime | None
    change: str = Field(description="split, merge, redraw, void, new, describe or load")
    change_id: uuid.UUID
    reason: str
    document: str
    by: str
    ended_reason: str | None
    came_from: list[str]
    went_to: list[str]


class HistoryOut(BaseModel):
    """Whose ground a point was; the newest first, or the one cell of a moment."""

    lng: float
    lat: float
    at: datetime | None
    versions: list[VersionOut]


@router.get("/editor/{community}")
def editor(session: Read, actor: Planner, community: str) -> Response:
    """Answer what the map editor draws of a community: cells with versions, outline, neighbours, lines, open plans.

    403 outside the own area, 404 for no community.
    """
    area = session.get(Area, (actor.district, community))
    if area is None or area.level != "community":
        raise NotFound("There is no community {code}.", code=community[:20])
    if not community.startswith(changes.reach(session)):
        raise Forbidden("This community lies outside your area.")
    now = versions.today(session, communities=[community])
    shape = from_db(area.geom) if area.geom is not None else None
    bounds = shapely.total_bounds([*now.cells.geom, *([shape] if shape is not None else [])])
    lines = lines_in(session, bounds.tolist(), most=_MOST_LINES) if np.isfinite(bounds).all() else None
    body = {
        "community": community,
        "name": area.name,
        "decides": actor.role in DECIDES,
        "cells": collection(now.cells, now.estimated, versions_=[str(one) for one in now.ids]),
        "outline": None if shape is None else orjson.loads(shapely.to_geojson(shape)),
        "neighbours": _neighbours(session, community, bounds),
        "lines": [] if lines is None else _lines(lines),
        "plans": [_plain(row) for row in effects.listed(session, area=community) if row["state"] in _OPEN],
    }
    return Response(orjson.dumps(body), media_type="application/json")


_OPEN: Final = ("proposed", "planned")


def _neighbours(session: Session, community: str, bounds: Any) -> list[dict[str, Any]]:
    """Return the communities around, as outlines with names."""
    if not np.isfinite(bounds).all():
        return []
    margin = 0.25 * float(max(bounds[2] - bounds[0], bounds[3] - bounds[1]))
    found = effects.areas_in(session, (bounds + np.array((-margin, -margin, margin, margin))).tolist())
    return [
        {"name": name, "code": code, "geometry": orjson.loads(shapely.to_geojson(shape))}
        for code, name, shape in found
        if code != community
    ]


def _lines(lines: Any) -> list[dict[str, Any]]:
    shapes = shapely.to_geojson(shapely.simplify(lines.geom, 5e-6))
    told = zip(lines.kind, lines.name, lines.rank, shapes, strict=True)
    return [{"kind": k, "name": n, "rank": r, "geometry": orjson.loads(s)} for k, n, r, s in told]


def collection(cells: CellSet, estimated: Sequence[bool] = (), *, versions_: Sequence[str] = ()) -> dict[str, Any]:
    """Return cells as a feature collection with code, kind, households, square metres and, where told, version."""
    area = square_metres(cells.geom)
    features = []
    for i, (code, shape) in enumerate(zip(cells.code, cells.geom, strict=True)):
        told = {
            "code": code,
            "kind": cells.kind[i],
            "households": cells.households[i],
            "estimated": bool(estimated[i]) if len(estimated) else False,
            "m2": round(float(area[i]), 1),
        }
        if versions_:
            told["version"] = versions_[i]
        body = orjson.loads(shapely.to_geojson(shape))
        features.append({"type": "Feature", "id": code, "properties": told, "geometry": body})
    return {"type": "FeatureCollection", "features": features}


def _read_cells(given: GeoJson, community: str = "") -> tuple[CellSet, list[bool]]:
    """Return cells as somebody sent them; raises Invalid by number."""
    if len(given.features) > _MOST_CELLS:
        raise Invalid("At most {most} cells at once.", field="cells", most=_MOST_CELLS)
    geom = np.empty(len(given.features), dtype=object)
    told: list[dict[str, Any]] = []
    for number, feature in enumerate(given.features, 1):
        shape = geometry(feature, Datum.CGCS2000, field="cells", number=number, dimensions=(2,))
        geom[number - 1] = shapely.MultiPolygon(shapely.get_parts(shape).tolist())
        properties = feature.get("properties")
        told.append(properties if isinstance(properties, dict) else {})
    if int(shapely.get_num_coordinates(geom).sum()) > _MOST_VERTICES:
        raise Invalid("These boundaries have more corners than one community can hold.", field="cells")
    codes = [str(one.get("code") or "")[:15] for one in told]
    homes = [one.get("households") for one in told]
    cells = CellSet(
        code=codes,
        community=[community or code[:12] for code in codes],
        kind=[str(one.get("kind") or "")[:20] for one in told],
        geom=geom,
        households=[n if isinstance(n, int) and not isinstance(n, bool) else None for n in homes],
    )
    return cells, [one.get("estimated") is True for one in told]


@router.post("/moves", responses={200: {"model": MoveOut}})
def move(session: Read, actor: Planner, asked: MoveIn) -> Response:
    """Compute what a stroke of the planner makes of the cells in the editor. Nothing is stored.

    403 outside the own area, 404 for a cell that is not there, 422 for what cannot be, in words.
    """
    del actor
    if not asked.community.startswith(changes.reach(session)):
        raise Forbidden("This community lies outside your area.")
    cells, estimated = _read_cells(asked.cells, asked.community)
    if any(code[:12] != asked.community for code in cells.code):
        raise Invalid("These cells lie in two communities; a cell lies in one.", field="cells")
    now = Today(cells, [uuid.UUID(int=0)] * len(cells.code), estimated)
    made = _moved(session, asked, now)
    told = MoveOut(kind=made.kind, takes=list(made.takes), cells=collection(made.cells, made.estimated))
    return Response(orjson.dumps(told.model_dump()), media_type="application/json")


def _moved(session: Session, asked: MoveIn, now: Today) -> Move:
    one = asked.codes[0] if asked.codes else ""
    if asked.kind == "merge":
        return moves.merge(now, asked.codes)
    if asked.kind == "void":
        return moves.void(now, one, into=asked.into)
    if asked.kind == "describe":
        return moves.describe(now, one, kind=asked.to_kind, households=asked.households)
    try:
        site = site_of(session, asked.community)
    except Invalid:
        # Nobody drew the community: ground is shared out by area.
        site = None
    homes = Homes(site.points, site.households) if site else Homes(np.zeros((0, 2)), np.zeros(0))
    used = versions.used_codes(session, [asked.community]) | set(now.cells.code)
    if asked.kind == "drag":
        shapes = {code: _shape(shape, 2) for code, shape in asked.shapes.items()}
        return moves.drag(now, shapes, first=one, homes=homes)
    if asked.kind == "draw":
        (code,) = moves.free_codes(asked.community, used, count=1)
        return moves.pull(now, code, _shape(asked.shape, 2), homes=homes, kind=asked.to_kind)
    if asked.kind == "line":
        return moves.split_line(now, one, _shape(asked.line, 1), used=used, homes=homes)
    if asked.kind == "roads" and site is not None:
        return moves.split_roads(now, one, site, asked.count, used=used)
    return moves.split_count(now, one, asked.count, used=used, homes=homes)


def _shape(given: Mapping[str, Any] | None, dimension: int) -> Any:
    return geometry({"geometry": given}, Datum.CGCS2000, field="geometry", number=1, dimensions=(dimension,))


@router.post("/changes", status_code=201)
def plan(request: Request, session: Write, actor: Planner, at: Now, asked: PlanIn) -> Response:
    """Plan a change for a day, or for now; offices propose, the district plans. Answers its id and state.

    409 with `other`, the id of the change that stands in the way; 422 for what could never be the grid.
    """
    cells, estimated = _read_cells(asked.cells)
    change = Change(
        kind=asked.kind,
        takes=asked.takes,
        cells=cells,
        valid_from=at if asked.valid_from is None else midnight(asked.valid_from),
        reason=asked.reason,
        document=asked.document,
        file=kept_file(asked.file),
        bare=asked.bare,
        seen=None if asked.seen is None else {code: str(one) for code, one in asked.seen.items()},
        estimated=estimated,
    )
    try:
        key = changes.plan(session, change, at=at)
    except Conflict as error:
        if "change" not in error.params:
            raise
        return answer(request, status=409, detail=sentence(error), extra={"other": error.params["change"]})
    if actor.role in DECIDES:
        changes.apply_due(session, at=at)
    body = {"id": str(key), "state": effects.read(session, key).state, "page": f"/grid/changes/{key}"}
    return Response(orjson.dumps(body), 201, media_type="application/json")


def midnight(day: date) -> datetime:
    """Return the moment at which a day begins in China."""
    return datetime.combine(day, time(), tzinfo=CHINA)


def kept_file(token: str) -> Mapping[str, Any] | None:
    """Return what an upload's token names; raises Invalid for a forged or stale one."""
    if not token:
        return None
    found = filing.kept(token)
    if found is None:
        raise Invalid("This file was sent too long ago; send it again.", field="file")
    return asdict(found.upload)


@router.get("/changes")
def listing(
    session: Read,
    actor: Staff,
    area: Annotated[str, Query(pattern=r"^\d{0,15}$")] = "",
    state: Annotated[str, Query(max_length=20)] = "",
) -> list[PlannedOut]:
    """Return the newest changes of an area, 200 at most; loads are left out."""
    return [_plain(row) for row in effects.listed(session, area=area or actor.town, state=state)]


def _plain(row: Mapping[str, Any]) -> Any:
    return {name: str(row[name]) if isinstance(row[name], uuid.UUID) else row[name] for name in PlannedOut.model_fields}


@router.get("/changes/{change_id}")
def one(session: Read, actor: Staff, change_id: uuid.UUID) -> Response:
    """Return a change with the cells that it takes (as they were seen) and makes, as two feature collections."""
    del actor
    planned = effects.read(session, change_id)
    before = versions.by_id(session, [uuid.UUID(str(one)) for one in planned.seen.values()])
    body = _plain(_members(planned)) | {
        "before": collection(before.cells, before.estimated),
        "after": collection(planned.after, planned.estimated),
    }
    return Response(orjson.dumps(body), media_type="application/json")


def _members(planned: Planned) -> dict[str, Any]:
    return {name: getattr(planned, name) for name in PlannedOut.model_fields}


@router.get("/changes/{change_id}/effects")
def tried(session: Read, actor: Planner, at: Now, change_id: uuid.UUID) -> Response:
    """Say what a change would move: cells, open cases, people with duties, places, addresses, registers."""
    del actor
    told, cases = both_effects(session, change_id, at=at)
    return Response(orjson.dumps(asdict(told) | {"cases": asdict(cases)}), media_type="application/json")


def both_effects(session: Session, change_id: uuid.UUID, *, at: datetime) -> tuple[Effects, CaseEffects]:
    """Return what a change moves of the grid and of the cases; raises Forbidden outside the actor's area."""
    planned = effects.read(session, change_id)
    area = changes.reach(session)
    if not all(code.startswith(area) for code in planned.communities):
        raise Forbidden("This change lies outside your area.")
    # Duties are those of its day: who holds them then loses and gains.
    return effects.try_out(session, change_id, at=max(at, planned.valid_from)), case_effects(session, planned)


@router.post("/changes/{change_id}/approve")
def approve(session: Write, actor: Planner, at: Now, change_id: uuid.UUID) -> dict[str, str]:
    """Take an office's proposal into the plan; it holds from its day, or at once where that has passed."""
    del actor
    changes.approve(session, change_id, at=at)
    changes.apply_due(session, at=at)
    return {"state": effects.read(session, change_id).state}


@router.post("/changes/{change_id}/cancel")
def cancel(session: Write, actor: Planner, at: Now, change_id: uuid.UUID, why: ReasonIn) -> dict[str, str]:
    """Call a change off before its day. 409 once it is over."""
    del actor
    changes.cancel(session, change_id, reason=why.reason, at=at)
    return {"state": "cancelled"}


@router.get("/history")
def history(
    *,
    session: Read,
    actor: Staff,
    lng: Annotated[float, Query(allow_inf_nan=False)],
    lat: Annotated[float, Query(allow_inf_nan=False)],
    datum: Annotated[Text, Query(max_length=20)] = "WGS84",
    at: AwareDatetime | None = None,
) -> HistoryOut:
    """Say whose ground a point was, now and before; with `at` only the cell of that moment."""
    del actor
    spot = point(lng, lat, datum, field="lng")
    if at is None:
        found = versions.history(session, spot.x, spot.y)
    else:
        then = versions.cell_at(session, spot.x, spot.y, at=at)
        found = [then] if then else []
    return HistoryOut(lng=lng, lat=lat, at=at, versions=[_version(one) for one in found])


def _version(one: Version) -> VersionOut:
    told = {name: getattr(one, name) for name in VersionOut.model_fields if name not in ("came_from", "went_to")}
    reason = one.reason or (say("Load of the district") if one.change == "load" else "")
    told |= {"reason": reason, "came_from": list(one.came_from), "went_to": list(one.went_to)}
    return VersionOut(**told)

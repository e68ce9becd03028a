"""Cells drawn by the program, for the planner's panel: proposals, and figures of cells while somebody draws them.

Nothing is stored: what a planner takes over becomes a planned change. Geometry is GeoJSON, WGS84, lon then lat.
"""

import threading
import time
from dataclasses import asdict, replace
from typing import Annotated, Any, Final, Literal

import numpy as np
import orjson
import shapely
from fastapi import APIRouter, Depends
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session
from starlette.responses import Response

from api.deps import Read, require
from api.i18n import say
from api.routes.documents import Model, Text
from core import datums
from core.actor import Actor, Role
from core.datums import Datum
from core.errors import Forbidden, Invalid, Unavailable
from grid.cellset import CellSet
from grid.drawing import Figures, Limits, Site, Weights, figures
from grid.drawing.apart import propose_apart
from grid.drawing.linework import Linework, linework
from grid.drawing.propose import divided
from grid.drawing.site import BASES
from grid.duties import reach
from grid.models import District
from grid.sites import cells_of, site_of

router = APIRouter(prefix="/api/v1/grid", tags=["grid"])

Planner = Annotated[Actor, Depends(require(Role.ADMIN, Role.SUPERVISOR, Role.UNIT))]
#: Cells of one community that are counted, and vertices of all of them.
_MOST_CELLS: Final = 300
_MOST_VERTICES: Final = 200_000
#: Proposals that one process of the web server has computed at once; whoever comes third waits a moment.
_AT_ONCE = threading.BoundedSemaphore(2)
_WAIT_S: Final = 20.0
#: Sites that were read a moment ago: a planner's every stroke asks for the same one.
_KEPT_S: Final = 60.0
_MOST_KEPT: Final = 8
_kept: dict[tuple[str, str, int], tuple[float, Site, Linework]] = {}
_keeping = threading.Lock()


class WeightsIn(Model):
    """What a planner holds dear: 1 is usual, 0 switches off, at most 10."""

    balance: float = Field(default=1.0, ge=0, le=10, allow_inf_nan=False)
    compactness: float = Field(default=1.0, ge=0, le=10, allow_inf_nan=False)
    lines: float = Field(
        default=1.0, ge=0, le=10, allow_inf_nan=False, description="boundaries along roads, water, walls"
    )
    one_kind: float = Field(default=1.0, ge=0, le=10, allow_inf_nan=False)
    estates: float = Field(default=1.0, ge=0, le=10, allow_inf_nan=False)
    cut_large_estates: bool = Field(default=False, description="Cut estates that alone have too many households.")
    place_load: float = Field(
        default=0.5, ge=0, le=10, allow_inf_nan=False, description="A shop counts as so many households."
    )


class LimitsIn(Model):
    """Households of a residential cell."""

    fewest: int = Field(ge=0, le=50_000)
    most: int = Field(ge=1, le=100_000)


class GeoJson(BaseModel):
    """A feature collection; its features are checked one by one."""

    type: Literal["FeatureCollection"]
    features: list[dict[str, Any]] = Field(max_length=20_000)


class _Asked(Model):
    community: str = Field(pattern=r"^\d{12}$")
    weights: WeightsIn = WeightsIn()
    limits: LimitsIn | None = Field(default=None, description="default: the district's, else 200 to 500 (S2)")


class ProposalIn(_Asked):
    """A community to be drawn; lines that are given replace those that the district has."""

    seed: int = Field(default=0, ge=0, le=1_000_000)
    datum: Text = Field(
        "WGS84", max_length=20, description="of roads, water and estates: WGS84, CGCS2000, GCJ-02, BD-09"
    )
    roads: GeoJson | None = Field(default=None, description="lines, property `class` as OpenStreetMap's highway")
    water: GeoJson | None = Field(default=None, description="lines or polygons")
    estates: GeoJson | None = Field(default=None, description="polygons, property `name`")


class FiguresIn(_Asked):
    """Cells of one community as they are drawn just now."""

    cells: GeoJson = Field(description="polygons; properties `code` and `kind` may be missing")


class CellOut(BaseModel):
    """Figures of one cell."""

    code: str
    kind: str
    households: int
    load: float = Field(description="households and shops together, in households")
    area_km2: float
    compactness: float = Field(description="Polsby–Popper: 1 for a circle, 0.785 for a square")
    within: bool | None = Field(description="inside the limits; null for cells that are not residential")
    parts: int


class FiguresOut(BaseModel):
    """Figures of all cells of a community."""

    cells: list[CellOut]
    households: int
    residential: int
    within: float | None = Field(description="share of residential cells inside the limits")
    variation: float = Field(description="standard deviation of the cells' loads over their mean")
    compactness: float
    on_lines: float | None = Field(description="share of inner boundaries within 10 m of a road, water or wall")
    cut_estates: int
    estates: int
    mixed: float
    contiguous: float
    uncovered_m2: float
    shared_m2: float
    objective: float = Field(description="what it costs under the weights; lower is better")
    basis: str = Field(description="how the households are known: counted, shared or guessed")
    basis_words: str
    limits: LimitsIn


class NoteOut(BaseModel):
    """Something that could not be met, and why."""

    text: str
    cells: list[str]


class ProposalOut(BaseModel):
    """Proposed cells; nothing is stored."""

    community: str
    cells: dict[str, Any] = Field(description="feature collection, EPSG:4490")
    figures: FiguresOut
    today: FiguresOut | None = Field(description="the same figures of today's cells")
    plain: FiguresOut | None = Field(description="the same figures of a plain split by straight lines")
    notes: list[NoteOut]
    seed: int
    took_ms: int


@router.post("/proposals", responses={200: {"model": ProposalOut}})
def propose(session: Read, actor: Planner, asked: ProposalIn) -> Response:
    """Draw cells for a community along its roads; some seconds, computed beside the web server. Nothing is stored.

    403 outside the own area, 404 for no community, 422 for lines that cannot be taken, 503 when too many ask at once.
    """
    began = time.perf_counter()
    site = _given(_site(session, actor, asked)[0], asked)
    weights = Weights(**asked.weights.model_dump())
    today = cells_of(session, site.community)
    session.close()
    if not _AT_ONCE.acquire(timeout=_WAIT_S):
        raise Unavailable("Other proposals are being computed; try again in a moment.")
    try:
        made = propose_apart(site, weights, seed=asked.seed)
    finally:
        _AT_ONCE.release()
    lines = linework(site)
    plain = divided(site, weights, count=len(made.cells.code))
    told = ProposalOut(
        community=site.community,
        cells=collection(made.cells, made.figures),
        figures=figures_out(made.figures, site, made.cells.code),
        today=figures_out(figures(today, site, weights, lines=lines), site, today.code) if today.code else None,
        plain=None if plain is None else figures_out(figures(plain, site, weights, lines=lines), site, []),
        notes=[NoteOut(text=say(note.message, **note.params), cells=list(note.cells)) for note in made.notes],
        seed=asked.seed,
        took_ms=round(1000 * (time.perf_counter() - began)),
    )
    return Response(orjson.dumps(told.model_dump()), media_type="application/json")


@router.post("/figures")
def count(session: Read, actor: Planner, asked: FiguresIn) -> FiguresOut:
    """Return the figures of cells as they are drawn just now; fast enough to follow the hand. Nothing is stored."""
    site, lines = _site(session, actor, asked)
    cells = _cells(asked.cells, site.community)
    return figures_out(figures(cells, site, Weights(**asked.weights.model_dump()), lines=lines), site, cells.code)


def _site(session: Session, actor: Actor, asked: _Asked) -> tuple[Site, Linework]:
    """Return the site of a community inside the actor's area, from memory where it was read a moment ago."""
    if not asked.community.startswith(reach(session)):
        raise Forbidden("This community lies outside your area.")
    told = session.get(District, actor.district)
    key = (actor.district, asked.community, told.revision if told else 0)
    now = time.monotonic()
    with _keeping:
        found = _kept.get(key)
    if found is None or now - found[0] > _KEPT_S:
        site = site_of(session, asked.community)
        found = (now, site, linework(site))
        with _keeping:
            _kept[key] = found
            for old in sorted(_kept, key=lambda one: _kept[one][0])[:-_MOST_KEPT]:
                del _kept[old]
    site = found[1]
    if asked.limits is not None:
        site = replace(site, limits=Limits(asked.limits.fewest, asked.limits.most))
    return site, found[2]


def _given(site: Site, asked: ProposalIn) -> Site:
    """Return the site with the lines that were sent along in place of the district's."""
    datum = Datum.parse(asked.datum)
    if asked.roads is not None:
        shapes, told = _lines(asked.roads, datum, "roads", dimensions=(1,))
        classes = [str(one.get("class") or one.get("highway") or "")[:40] for one in told]
        site = replace(site, roads=shapes, road_class=classes)
    if asked.water is not None:
        site = replace(site, water=_lines(asked.water, datum, "water", dimensions=(1, 2))[0])
    if asked.estates is not None:
        shapes, told = _lines(asked.estates, datum, "estates", dimensions=(2,))
        site = replace(site, estates=shapes, estate_name=[str(one.get("name") or "")[:80] for one in told])
    return site


def _lines(
    given: GeoJson, datum: Datum, field: str, *, dimensions: tuple[int, ...]
) -> tuple[NDArray[Any], list[dict[str, Any]]]:
    """Return the geometries of a feature collection in EPSG:4490 and their properties; raises Invalid by number."""
    shapes = np.empty(len(given.features), dtype=object)
    told = []
    for number, feature in enumerate(given.features, 1):
        shapes[number - 1] = geometry(feature, datum, field=field, number=number, dimensions=dimensions)
        properties = feature.get("properties")
        told.append(properties if isinstance(properties, dict) else {})
    return shapes, told


def geometry(
    feature: dict[str, Any], datum: Datum, *, field: str, number: int, dimensions: tuple[int, ...]
) -> shapely.Geometry:
    """Return the geometry of a GeoJSON feature in EPSG:4490.

    Raises Invalid, naming the feature, for what is no geometry of the dimensions wanted, crosses itself, or lies
    outside China.
    """
    try:
        shape = shapely.from_geojson(orjson.dumps(feature.get("geometry")))
    except (shapely.errors.GEOSException, TypeError, ValueError) as error:
        raise Invalid("Feature {number}: this is no geometry.", field=field, number=number) from error
    if shape is None or shapely.is_empty(shape) or shapely.get_dimensions(shape) not in dimensions:
        raise Invalid("Feature {number}: this is no geometry.", field=field, number=number)
    if shapely.get_type_id(shape) not in (1, 3, 5, 6):
        raise Invalid("Feature {number}: this is no geometry.", field=field, number=number)
    shape = datums.geometry(shape, datum, field=field)
    if not shapely.is_valid(shape):
        raise Invalid(
            "Feature {number}: the boundary is not simple: {fault}.",
            field=field,
            number=number,
            fault=shapely.is_valid_reason(shape),
        )
    return shape


def _cells(given: GeoJson, community: str) -> CellSet:
    if not 0 < len(given.features) <= _MOST_CELLS:
        raise Invalid("A community has 1 to {most} cells.", field="cells", most=_MOST_CELLS)
    shapes, told = _lines(given, Datum.CGCS2000, "cells", dimensions=(2,))
    if int(shapely.get_num_coordinates(shapes).sum()) > _MOST_VERTICES:
        raise Invalid("These boundaries have more corners than one community can hold.", field="cells")
    kinds = ("residential", "commercial", "industrial", "mixed")
    return CellSet(
        code=[str(one.get("code") or "")[:15] for one in told],
        community=[community] * len(shapes),
        kind=[kind if (kind := one.get("kind")) in kinds else "" for one in told],
        geom=shapes,
        households=[None] * len(shapes),
    )


def collection(cells: CellSet, told: Figures) -> dict[str, Any]:
    """Return cells as a feature collection, EPSG:4490, each with its figures as properties."""
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "id": code,
                "properties": {"code": code} | asdict(figure),
                "geometry": orjson.loads(shape),
            }
            for code, figure, shape in zip(cells.code, told.cells, shapely.to_geojson(cells.geom), strict=True)
        ],
    }


def figures_out(told: Figures, site: Site, codes: list[str]) -> FiguresOut:
    """Return figures as the API tells them."""
    named = codes or [""] * len(told.cells)
    plain = asdict(told)
    cells = [CellOut(code=code, **cell) for code, cell in zip(named, plain.pop("cells"), strict=True)]
    return FiguresOut(
        cells=cells,
        basis_words=say(BASES[told.basis]),
        limits=LimitsIn(fewest=site.limits.fewest, most=site.limits.most),
        **plain,
    )

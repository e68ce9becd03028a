"""The map of officials, supervisors and operators, and the outlines that other pages' small maps are drawn with."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.deps import Read
from api.routes.tiles import GROUND, handed
from core.db import actor_of
from maps import outlines

router = APIRouter()

_GEOJSON = "application/geo+json"


@router.get("/map/outline.geojson")
def outline(request: Request, session: Read) -> Response:
    """Answer the towns of the district, simplified; public, and kept by browsers for five minutes."""
    key = ("towns", actor_of(session).district, outlines.revision(session))
    drawn = GROUND.or_drawn(key, lambda: outlines.towns(session))
    return handed(request, drawn, media_type=_GEOJSON, keep="public, max-age=300")


@router.get("/map/cells.geojson")
def cells(request: Request, session: Read, town: str = "") -> Response:
    """Answer the cells of one town (`town`, 9 digits); public, bounded, and kept by browsers for five minutes."""
    key = ("cells", actor_of(session).district, outlines.revision(session), town)
    drawn = GROUND.or_drawn(key, lambda: outlines.cells(session, town))
    return handed(request, drawn, media_type=_GEOJSON, keep="public, max-age=300")

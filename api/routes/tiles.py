"""Vector tiles over HTTP: who may have which, how long a browser may keep it, and what this process keeps."""

import time
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api.deps import Me, Now
from api.errors import SignInNeeded
from core.actor import system
from core.db import snapshot
from maps import tiles
from maps.kept import Drawn, Kept

router = APIRouter(include_in_schema=False)

#: What is drawn from the ground alone: it changes with a load of the district only.
GROUND = Kept(most_bytes=24 * 2**20)
#: What is drawn from cases: good until the next change of any case.
LIVE = Kept(most_bytes=48 * 2**20)
MVT = "application/vnd.mapbox-vector-tile"
#: How old the stamp may be that this process compares with: a tile lags behind the log by this much at most.
_STAMP_S = 1.0
#: Kept counts follow the log when the relay has delivered; their tiles are drawn anew so often.
_HEAT_S = 5

_stamps: dict[str, tuple[float, tiles.Stamp]] = {}


def stamp(district: str, at: datetime) -> tiles.Stamp:
    """Return what kept tiles of a district depend on, read at most once a second."""
    known = _stamps.get(district)
    if known is None or time.monotonic() - known[0] > _STAMP_S:
        started = time.monotonic()
        with snapshot(system(district, "tiles")) as session:
            known = (started, tiles.stamp(session, at=at))
        _stamps[district] = known
    return known[1]


def _square(z: int, x: int, y: int) -> tiles.Tile:
    return tiles.Tile(z, x, y)


@router.get("/tiles/{layer}/{z}/{x}/{y}.mvt")
def tile(
    request: Request, layer: str, square: Annotated[tiles.Tile, Depends(_square)], *, actor: Me, at: Now
) -> Response:
    """Answer one layer of one tile: `towns` and `communities` to anybody, `cells`, `cases` and `heat` by role."""
    if actor.id is None and layer in tiles.LAYERS - tiles.GROUND:
        raise SignInNeeded("Please sign in to see this.")
    tiles.check(actor, layer)
    seen = stamp(actor.district, at)
    key: tuple[object, ...] = (actor.district, layer, square, seen.revision)
    kept, keep = GROUND, "public, max-age=300"
    if layer not in tiles.GROUND:
        turn = int(at.timestamp()) // _HEAT_S if layer == "heat" else 0
        key, kept, keep = (*key, seen.data, turn, tiles.scope(actor)), LIVE, "private, no-cache"
    drawn = kept.get(key)
    if drawn is None:
        with snapshot(actor) as session:
            drawn = kept.put(key, tiles.draw(session, layer, square, at=at))
    return handed(request, drawn, media_type=MVT, keep=keep)


def handed(request: Request, drawn: Drawn, *, media_type: str, keep: str) -> Response:
    """Return a drawn thing as an answer with its validator, or 304 when the browser has just that.

    keep: the value of Cache-Control.
    """
    headers = {"ETag": drawn.etag, "Cache-Control": keep}
    asked = request.headers.get("if-none-match", "")
    if drawn.etag in {tag.strip().removeprefix("W/") for tag in asked.split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(drawn.body, media_type=media_type, headers=headers)

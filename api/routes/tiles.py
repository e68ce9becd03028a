"""Vector tiles over HTTP: who may have which, how long a browser may keep it, and what this process keeps."""

import time
from datetime import datetime

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.deps import current_actor, now
from api.errors import SignInNeeded
from core.actor import Actor, system
from core.db import snapshot
from core.errors import Invalid
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

#: How long who asks is not looked up again; an account that is ended gets kept tiles for this much longer.
_ASKER_S = 2.0
_MOST_ASKERS = 2000

_askers: dict[tuple[str, str], tuple[float, Actor]] = {}
_stamps: dict[str, tuple[float, tiles.Stamp]] = {}


def stamp(district: str, at: datetime) -> tiles.Stamp:
    """Return what kept tiles of a district depend on, read at most once a second."""
    fresh = _fresh_stamp(district)
    if fresh is None:
        started = time.monotonic()
        with snapshot(system(district, "tiles")) as session:
            fresh = tiles.stamp(session, at=at)
        _stamps[district] = (started, fresh)
    return fresh


def _fresh_stamp(district: str) -> tiles.Stamp | None:
    known = _stamps.get(district)
    return known[1] if known is not None and time.monotonic() - known[0] <= _STAMP_S else None


async def tile(request: Request) -> Response:
    """Answer one layer of one tile: `towns` and `communities` to anybody, `cells`, `cases` and `heat` by role.

    A plain route without dependencies, because a map asks for dozens at once: who asked a moment ago and wants what is
    kept is answered without a thread and without the database.
    """
    at = now()
    who = _credentials(request)
    known = _askers.get(who)
    if known is not None and time.monotonic() - known[0] < _ASKER_S:
        actor, layer, square = known[1], *_asked(request)
        _check(actor, layer)
        seen = _fresh_stamp(actor.district)
        found = seen and _store(layer).get(_key(actor, layer, square, seen=seen, at=at))
        if found:
            return _answer(request, layer, found)
    return await run_in_threadpool(_drawn, request, who, at)


def _drawn(request: Request, who: tuple[str, str], at: datetime) -> Response:
    """Look up who asks, draw the tile unless it is kept, and remember both."""
    layer, square = _asked(request)
    asked_at = time.monotonic()
    actor = current_actor(request)
    _check(actor, layer)
    if len(_askers) > _MOST_ASKERS:
        _askers.clear()
    _askers[who] = (asked_at, actor)
    key = _key(actor, layer, square, seen=stamp(actor.district, at), at=at)
    found = _store(layer).get(key)
    if found is None:
        with snapshot(actor) as session:
            found = _store(layer).put(key, tiles.draw(session, layer, square, at=at))
    return _answer(request, layer, found)


def _credentials(request: Request) -> tuple[str, str]:
    return request.headers.get("cookie", ""), request.headers.get("authorization", "")


def _asked(request: Request) -> tuple[str, tiles.Tile]:
    given = request.path_params
    try:
        numbers = [int(given[name]) for name in ("z", "x", "y") if given[name].isascii() and len(given[name]) < 12]
    except ValueError:
        numbers = []
    if len(numbers) != 3:
        raise Invalid("A tile is named by three whole numbers.", field="tile")
    return given["layer"], tiles.Tile(*numbers)


def _check(actor: Actor, layer: str) -> None:
    if actor.id is None and layer in tiles.LAYERS - tiles.GROUND:
        raise SignInNeeded("Please sign in to see this.")
    tiles.check(actor, layer)


def _store(layer: str) -> Kept:
    return GROUND if layer in tiles.GROUND else LIVE


def _key(actor: Actor, layer: str, square: tiles.Tile, *, seen: tiles.Stamp, at: datetime) -> tuple[object, ...]:
    key: tuple[object, ...] = (actor.district, layer, square, seen.revision)
    if layer in tiles.GROUND:
        return key
    turn = int(at.timestamp()) // _HEAT_S if layer == "heat" else 0
    return (*key, seen.data, turn, tiles.scope(actor))


def _answer(request: Request, layer: str, drawn: Drawn) -> Response:
    keep = "public, max-age=300" if layer in tiles.GROUND else "private, no-cache"
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


router.add_route("/tiles/{layer}/{z}/{x}/{y}.mvt", tile, methods=["GET"], include_in_schema=False)

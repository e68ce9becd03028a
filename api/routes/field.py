"""The JSON API of the worker's phone 移动巡查: what it takes along, and what it brings back. `docs/field-api.md`."""

import uuid
from datetime import date, datetime
from threading import Lock
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import orjson
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from api import waiting, wiring
from api.deps import Me, Now, Read, require
from api.i18n import say
from api.photos import store
from api.routes import field_bundle, field_documents, field_sync
from api.routes.field_clock import OLDEST_DAYS
from api.security import RAW_PHOTO_LIMIT, csrf_token
from core.actor import Actor, Role
from core.db import snapshot
from core.errors import NotFound
from core.settings import settings
from dispatch import sheet, voice
from grid import field_ground, patrol_looks
from maps import pack

router = APIRouter(prefix="/api/v1/field", include_in_schema=False)

Worker = Annotated[Actor, Depends(require(Role.GRID_WORKER))]
_CHINA = ZoneInfo("Asia/Shanghai")
#: One pack at a time: a morning of a hundred phones must not draw a hundred packs at once.
_packing = Lock()
#: Queues that one process works on at a time: more would only take turns at the same processor and connections.
_syncing = CapacityLimiter(4)
_LIMITS = {
    "photo_bytes": RAW_PHOTO_LIMIT,
    "voice_bytes": waiting.VOICE_LIMIT,
    "photos_per_action": field_documents.MOST_PHOTOS,
    "actions_per_sync": field_documents.MOST_ACTIONS,
    "points_per_action": field_documents.MOST_POINTS,
    "text": 10_000,
    "oldest_days": OLDEST_DAYS,
}


@router.get("/hello")
def hello(request: Request, actor: Me, at: Now) -> Response:
    """Say what time it is, who is signed in, and the token that unsafe requests need; answered to anybody."""
    works = actor.role is Role.GRID_WORKER
    told = {
        "server_time": at,
        "signed_in": actor.id is not None,
        "csrf": csrf_token(request.state.visit),
        "worker": field_bundle.worker(actor, wiring.rulebook()) if works else None,
        "limits": _LIMITS,
    }
    return _json(request, told)


@router.get("/bundle")
def bundle(request: Request, actor: Worker, at: Now, since: Annotated[str, Query(max_length=2000)] = "") -> Response:
    """Return everything that is needed without a line; `since` leaves out what the phone has."""
    return _json(request, field_bundle.bundle(actor, since, at=at))


@router.post("/sync")
async def sync(request: Request, actor: Worker, at: Now) -> Response:
    """Do what the phone's queue says, in order, each action once; answers for each what became of it.

    Async, so that three hundred phones on a Monday morning wait without a thread: few work at once, and the desk's
    requests find threads and connections all the while.
    """
    raw, encoding = await request.body(), request.headers.get("content-encoding", "").lower()
    return await run_sync(_synced, request, actor, at, raw, encoding, limiter=_syncing)


def _synced(request: Request, actor: Actor, at: datetime, raw: bytes, encoding: str) -> Response:
    given = field_sync.parsed(raw, encoding)
    return _json(request, field_sync.run(actor, given, at=at).model_dump(mode="python"))


@router.get("/pack")
def packed_map(request: Request, actor: Worker, at: Now) -> Response:
    """Return the map of the worker's cells as one file, whole or in ranges; it changes with the ground only."""
    folder = settings().var / "packs"
    with snapshot(actor) as session:
        wanted = pack.extent(session, field_ground.own_cells(session, at=at))
        path = pack.kept(folder, wanted)
        etag = f'"{wanted.mark}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Accept-Ranges": "bytes"}
        if etag in {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}:
            return Response(status_code=304, headers=headers)
        if not path.exists():
            with _packing:
                path = path if path.exists() else pack.keep(folder, wanted, pack.draw(session, wanted))
    return FileResponse(path, media_type="application/vnd.pmtiles", headers=headers)


@router.get("/tracks")
def tracks(request: Request, actor: Worker, session: Read, at: Now, day: date | None = None) -> Response:
    """Return the worker's own patrols of a day with their tracks, and who looked at them."""
    chosen = day or at.astimezone(_CHINA).date()
    told = {
        "day": chosen,
        "walks": patrol_looks.own_walks(session, chosen),
        "looks": patrol_looks.looks_at(session, actor.id) if actor.id else [],
        "remarks": [_remark(one) for one in patrol_looks.remarks_of(session, since=_day(chosen), until=at)],
    }
    return _json(request, told)


@router.get("/voices/{case_id}/{note_id}")
def spoken(case_id: uuid.UUID, note_id: uuid.UUID, actor: Me) -> Response:
    """Hand out a voice note of a case that the caller may see, as a file to listen to."""
    with snapshot(actor) as session:
        sheet.facts(session, case_id)
        found = voice.stored(session, case_id, note_id)
    ending = {"audio/webm": "webm", "audio/ogg": "ogg", "audio/mp4": "m4a"}.get(found.media_type)
    if ending is None:
        raise NotFound("This voice note is not there.")
    headers = {
        "Content-Disposition": f'attachment; filename="{note_id}.{ending}"',
        "Cache-Control": "private, max-age=86400",
    }
    return Response(store().get(found.sha256), media_type=found.media_type, headers=headers)


def _remark(one: patrol_looks.Said) -> dict[str, Any]:
    return {"run": one.run, "at": one.happened_at, "text": say(one.message, **one.params)}


def _day(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=_CHINA)


def _json(request: Request, document: Any) -> Response:
    body, headers = field_sync.packed(orjson.dumps(document), request.headers.get("accept-encoding", ""))
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store", **headers})

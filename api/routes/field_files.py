"""Photos and voice notes of a worker's phone, sent ahead of the actions that name them, from wherever the line broke.

The address names the SHA-256 of the bytes, so that the same photo is sent once however often the line breaks, and bytes
that were damaged on the way are noticed. `docs/field-api.md` has the protocol.
"""

import os
import uuid
from typing import Annotated, Final

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from api import deps, waiting
from api.deps import require
from api.errors import TooLarge
from api.security import RAW_PHOTO_LIMIT
from core.actor import Actor, Role
from core.db import snapshot, transaction
from core.errors import Invalid
from grid import field_queue
from grid.field_queue import Waiting

router = APIRouter(prefix="/api/v1/field", include_in_schema=False)

Worker = Annotated[Actor, Depends(require(Role.GRID_WORKER))]
_OFFSET = "Upload-Offset"
#: Decoding a photo of 20 MB takes 200 MB for a moment: no more than two at once in a process.
_decoding: Final = anyio.CapacityLimiter(2)


@router.head("/photos/{key}")
def has(key: str, actor: Worker) -> Response:
    """Say whether the whole photo is there (204), or how much of it (404 with Upload-Offset)."""
    if _found(actor, key) is not None:
        return Response(status_code=204)
    return Response(status_code=404, headers={_OFFSET: str(waiting.Piece(_account(actor), key).size)})


@router.put("/photos/{key}")
async def put(request: Request, key: str, actor: Worker) -> Response:
    """Take a photo or a voice note, or the rest of one; what arrives before the line breaks is kept.

    Async because a slow line may take minutes, which no thread should wait for.
    """
    piece = waiting.Piece(_account(actor), key)
    known = await run_sync(_found, actor, key)
    if known is not None:
        return JSONResponse(_told(known), 200)
    offset, total = _span(request)
    there = piece.size
    if offset > there:
        return JSONResponse({"offset": there}, 409, {_OFFSET: str(there)})
    file = piece.open()
    at = offset
    try:
        async for chunk in request.stream():
            if at + len(chunk) > RAW_PHOTO_LIMIT:
                raise TooLarge("A photo may have at most {n} MB.", field="photo", n=RAW_PHOTO_LIMIT // 2**20)
            # Into the page cache: quicker than the hop to a thread.
            at += os.pwrite(file, chunk, at)
    except ClientDisconnect:
        return Response(status_code=499)
    finally:
        os.close(file)
    if total is not None and at < total:
        return JSONResponse({"offset": at}, 202, {_OFFSET: str(at)})
    made = await run_sync(_take, actor, key, piece, limiter=_decoding)
    return JSONResponse(_told(made), 201)


def _account(actor: Actor) -> uuid.UUID:
    assert actor.id is not None, "a role of the house is an account's"
    return actor.id


def _span(request: Request) -> tuple[int, int | None]:
    """Return where the body begins in the file, and how long the whole is; None where the body's end is the file's."""
    told = {name: request.headers.get(name, "") for name in (_OFFSET, "Upload-Length")}
    for name, value in told.items():
        if value and not (value.isascii() and value.isdigit() and len(value) < 12):
            raise Invalid("This is not a number of bytes.", field=name)
    total = int(told["Upload-Length"]) if told["Upload-Length"] else None
    if total is not None and total > RAW_PHOTO_LIMIT:
        raise TooLarge("A photo may have at most {n} MB.", field="photo", n=RAW_PHOTO_LIMIT // 2**20)
    return int(told[_OFFSET] or 0), total


def _found(actor: Actor, key: str) -> Waiting | None:
    with snapshot(actor) as session:
        return field_queue.photos(session, [key[:64]]).get(key)


def _take(actor: Actor, key: str, piece: waiting.Piece) -> Waiting:
    """Check, re-encode and keep a whole file; what cannot be taken is thrown away and does not wait for ever."""
    data = piece.whole()
    if data is None:
        piece.drop()
        raise Invalid("The photo was damaged on the way; send it again from its beginning.", field="key")
    account = _account(actor)
    with snapshot(actor) as session:
        if field_queue.waiting(session) >= field_queue.MOST_WAITING:
            raise TooLarge("Too many photos wait for their reports; send the reports first.", field="photo")
    try:
        made = _kept(account, key, data)
    except Invalid:
        piece.drop()
        raise
    with transaction(actor) as session:
        field_queue.put_photo(session, made, at=deps.now())
    piece.drop()
    return made


def _kept(account: uuid.UUID, key: str, data: bytes) -> Waiting:
    """Put the bytes where they wait; raises TooLarge and Unprovable for what is neither photo nor voice note."""
    kind, photo, media_type = waiting.read(data)
    if photo is None:
        waiting.keep(account, key, data)
        return Waiting(key, kind, key, media_type, len(data), 0, 0, None, None)
    waiting.keep(account, photo.sha256, photo.data)
    lng, lat = photo.position or (None, None)
    return Waiting(key, kind, photo.sha256, media_type, len(photo.data), photo.width, photo.height, lng, lat)


def _told(found: Waiting) -> dict[str, object]:
    position = [found.lng, found.lat] if found.lng is not None else None
    return {"key": found.key, "kind": found.kind, "width": found.width, "height": found.height, "position": position}

"""Vector tiles over HTTP: who may have which, how long a browser may keep it, and what this process keeps."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from maps.kept import Drawn, Kept

router = APIRouter()

#: What is drawn from the ground alone: it changes with a load of the district only.
GROUND = Kept(most_bytes=24 * 2**20)


def handed(request: Request, drawn: Drawn, *, media_type: str, keep: str) -> Response:
    """Return a drawn thing as an answer with its validator, or 304 when the browser has just that.

    keep: the value of Cache-Control.
    """
    headers = {"ETag": drawn.etag, "Cache-Control": keep}
    asked = request.headers.get("if-none-match", "")
    if drawn.etag in {tag.strip().removeprefix("W/") for tag in asked.split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(drawn.body, media_type=media_type, headers=headers)

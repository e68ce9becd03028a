"""The switchboard's webhook 话务接口: signed events of calls come in, and the desk that they concern is woken.

`hotline.telephone.hook` decides what is trusted; `hotline.telephone.calls` what becomes of it.
"""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from pydantic import BaseModel, Field
from starlette.requests import Request

from api import deps
from api.deps import Now
from api.errors import SignInNeeded
from api.feed import feed
from api.i18n import N_
from api.pages.phone import TOPIC, hosts, wrap_of
from core.actor import system
from core.db import transaction
from core.settings import settings
from hotline.telephone import calls, hook

router = APIRouter(prefix="/api/v1/telephone", tags=["telephone"])


class TakenOut(BaseModel):
    """What became of an event."""

    call: uuid.UUID
    state: str = Field(description="ringing, talking or over")
    repeated: bool = Field(description="The same event was here before; nothing was changed.")


async def _body(request: Request) -> bytes:
    """Return what was sent, byte by byte: the signature is over exactly that."""
    return await request.body()


@router.post("/events")
def take(
    body: Annotated[bytes, Depends(_body)],
    at: Now,
    *,
    wangge_timestamp: Annotated[str, Header(description="Unix seconds.")] = "",
    wangge_signature: Annotated[str, Header(description="v1= and HMAC-SHA256 of timestamp, dot, body, in hex.")] = "",
) -> TakenOut:
    """Take one event of a call: ring, answer, hangup or recording (docs/formats.md). The same id again changes nothing.

    401 for a signature, a clock or a key that does not hold, 422 for an event that cannot be taken; anything else that
    is no 200 may be sent again.
    """
    district = deps.district()
    known = hook.keys(settings().telephone_keys.get_secret_value())
    try:
        hook.check(body, timestamp=wangge_timestamp, signature=wangge_signature, known=known, at=at)
    except hook.Unsigned as error:
        with transaction(system(district, "telephone")) as session:
            calls.refuse(session, error.why, at=at)
        raise SignInNeeded(N_("The signature of this request does not hold.")) from error
    event = hook.read(body, at=at, hosts=hosts())
    with transaction(system(district, "telephone")) as session:
        taken = calls.take(session, event, at=at, wrap=wrap_of(district))
        call = calls.one(session, taken.call_id)
        told = {"extension": call.extension, "operator": str(call.operator_id or "")}
    if not taken.repeated:
        feed().tell(district, TOPIC, told)
    return TakenOut(call=taken.call_id, state=taken.state, repeated=taken.repeated)

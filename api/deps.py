"""What endpoints ask for: the actor, the session in the actor's scope, the time, and the district's name.

Endpoints are `def` and write their parameters as `Me`, `Read`, `Write`, `Now`, and `Depends(require(Role.UNIT))`.
`Write` commits before the answer is sent: that is what `scope="function"` is for.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request

from api import security, wiring
from api.errors import SignInNeeded
from core.actor import Actor, Role, citizen, system
from core.db import snapshot, transaction
from core.errors import Forbidden, Invalid, WanggeError
from grid import accounts
from grid.models import District


@dataclass(frozen=True, slots=True)
class Here:
    """The district that this installation serves, as pages name it."""

    code: str
    name: str
    #: Invented from end to end; every page says so.
    fictional: bool = False
    #: Real texts joined to places they were not written about; every page says so.
    synthetic_join: bool = False


_here: tuple[float, Here] | None = None
#: Names and labels of the district change with a load; pages may lag by this much.
_HERE_S = 10.0


def district() -> str:
    """Return the 6-digit code of the district served; raises Unavailable where none is set or loaded."""
    return wiring.district()


def here() -> Here:
    """Return the district's name and labels; never raises, so that error pages can be drawn without a database."""
    global _here  # noqa: PLW0603  one small value a process, refreshed in place
    if _here is not None and time.monotonic() - _here[0] < _HERE_S:
        return _here[1]
    try:
        code = district()
        with snapshot(system(code, "pages")) as session:
            query = select(District.name, District.fictional, District.synthetic_join)
            row = session.execute(query.where(District.district_code == code)).one_or_none()
        found = Here(code, row.name, row.fictional, row.synthetic_join) if row else Here(code, "")
    except WanggeError:
        return _here[1] if _here else Here("", "")
    _here = (time.monotonic(), found)
    return found


def forget_here() -> None:
    """Read the district's labels and every account anew at the next request; for tests and after a load."""
    global _here  # noqa: PLW0603
    _here = None
    _known.clear()


def now() -> datetime:
    """Return the time of the request; the clock of the web side."""
    return wiring.now()


async def _present() -> datetime:
    """Return the time for `Now`; async because it waits for nothing, which spares a hop to a thread."""
    return now()


def current_actor(request: Request) -> Actor:
    """Return who asks: the account of the session cookie or bearer token, else the anonymous citizen.

    A bearer token that does not hold is refused with SignInNeeded; a stale cookie only makes one anonymous.
    """
    found: Actor | None = getattr(request.state, "actor", None)
    if found is None:
        found = _identify(request)
        request.state.actor = found
    return found


def _identify(request: Request) -> Actor:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    bearer = scheme.lower() == "bearer"
    if bearer:
        signed = security.read_token(token.strip())
    else:
        cookie = request.cookies.get(security.SESSION_COOKIE, "")
        signed = security.read_session(cookie, request.state.visit) if cookie else None
    code = district()
    actor = _account(signed, code) if signed is not None else None
    if bearer and actor is None:
        raise SignInNeeded("This token is not valid or no longer so.")
    request.state.by_cookie = actor is not None and not bearer
    return actor or citizen(code)


#: Who was looked up a moment ago: (district, account, epoch) → until when, and the actor. Looking up again at every
#: request took almost half of its time; ending the sessions of an account takes this long to bite in every process.
_known: dict[tuple[str, uuid.UUID, int], tuple[float, Actor]] = {}
_KNOWN_S, _MOST_KNOWN = 2.0, 5000


def _account(signed: security.SignedIn, code: str) -> Actor | None:
    """Return the actor of a signed account, from memory for two seconds; None where its sessions were ended."""
    key = (code, signed.account_id, signed.epoch)
    until, found = _known.get(key, (0.0, None))
    if found is not None and time.monotonic() < until:
        return found
    # The policy lets an account read its own row.
    myself = Actor(id=signed.account_id, name="", role=Role.CITIZEN, district=code)
    with snapshot(myself) as session:
        actor = accounts.actor(session, signed.account_id, signed.epoch, district=code)
    if actor is None:
        _known.pop(key, None)
        return None
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known[key] = (time.monotonic() + _KNOWN_S, actor)
    return actor


Me = Annotated[Actor, Depends(current_actor)]
Now = Annotated[datetime, Depends(_present)]


def get_session(actor: Me) -> Iterator[Session]:
    """Yield the session of a transaction in the actor's scope; commits when the endpoint has returned."""
    with transaction(actor) as session:
        yield session


def get_snapshot(actor: Me) -> Iterator[Session]:
    """Yield a read-only session in the actor's scope."""
    with snapshot(actor) as session:
        yield session


Write = Annotated[Session, Depends(get_session, scope="function")]
Read = Annotated[Session, Depends(get_snapshot, scope="function")]


def require(*roles: Role) -> Callable[[Request], Actor]:
    """Return a dependency that lets only these roles pass and yields the actor.

    Raises SignInNeeded for nobody (pages go to the sign-in and come back), Forbidden for another role.
    """

    def allowed(request: Request) -> Actor:
        actor = current_actor(request)
        if actor.id is None:
            raise SignInNeeded("Please sign in to see this.")
        if actor.role not in roles:
            raise Forbidden("Your role may not open this.")
        return actor

    return allowed


def address_of(request: Request) -> str:
    """Return the network address that tries are counted for; uvicorn has applied trusted proxy headers."""
    return request.client.host if request.client else ""


def throttle(request: Request, what: str, value: str, *, most: int) -> None:
    """Count one try of something in a transaction of its own; raises TooMany when there were more than `most`."""
    from api.errors import TooMany

    code = district()
    at = wiring.now()
    with transaction(system(code, "throttle")) as session:
        wait_s = accounts.count_try(session, what, value, most=most, district=code, at=at)
    if wait_s:
        request.state.throttled = True
        raise TooMany("Too many tries; wait {minutes} minutes.", retry_s=wait_s, minutes=-(-wait_s // 60))


async def page_form(request: Request) -> None:
    """Refuse an unsafe page request without its CSRF token, and any form with broken or control characters.

    Async because reading a form is; it waits for nothing else. Hangs on every page router (see `api.app`).
    """
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    token = request.headers.get("x-csrf-token", "")
    kind = request.headers.get("content-type", "")
    if kind.startswith(("application/x-www-form-urlencoded", "multipart/form-data")):
        form = await request.form()
        token = token or str(form.get("csrf_token", ""))
        for name, value in form.multi_items():
            if isinstance(value, str) and not (security.is_clean(name) and security.is_clean(value)):
                raise Invalid("The text contains characters that cannot be read; type it again.", field=name[:40])
    security.check_csrf(request.state.visit, token)


async def api_caller(request: Request, actor: Me) -> None:
    """Refuse an unsafe API call that a browser's cookie alone would authorise; tokens carry their own proof.

    Async because it waits for nothing, which spares a hop to a thread.
    """
    if request.method in ("GET", "HEAD", "OPTIONS") or actor.id is None or not request.state.by_cookie:
        return
    security.check_csrf(request.state.visit, request.headers.get("x-csrf-token", ""))

"""The queue of a worker's phone, done in order: each action once, in transactions of its own, however often it comes.

Keys are bound to contents before anything is done, so that a server that is killed in the middle finds out on the next
try what it was doing. An action that was not taken holds back the later ones on the same case, and no others.
"""

import gzip
import logging
import time
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import orjson
from pydantic import ValidationError

from api import wiring
from api.errors import TooLarge, TooMany, sentence
from api.i18n import say
from api.routes import field_actions, field_rounds, field_tasks
from api.routes.field_clock import OLDEST_DAYS, corrected
from api.routes.field_documents import KINDS, MOST_ACTIONS, Action, Answer, Envelope, Result
from api.routes.field_work import Handler, NotYetError, Work, repeated
from core.actor import Actor
from core.db import snapshot, transaction
from core.errors import Conflict, Invalid, NotFound, Unavailable, WanggeError
from dispatch import field_views, views
from dispatch.words import N_
from grid import field_queue
from grid.field_queue import Moment, Receipt

log = logging.getLogger("wangge.web")

#: Decompressed bytes of one sync.
_MOST_BYTES: Final = 8 * 2**20
#: What is not reached by then is sent again: proxies wait a minute at most.
_SLICE_S: Final = 25.0
_HANDLERS: Final[Mapping[str, Handler]] = {
    "report": field_actions.report,
    "step": field_actions.step,
    "same": field_actions.same,
    "visit": field_rounds.visit,
    "patrol": field_rounds.patrol,
    "checkin": field_rounds.check_in,
    "apply": field_rounds.apply,
    "quiz": field_rounds.quiz,
}
assert tuple(_HANDLERS) == KINDS
REUSED: Final = N_("This was sent before with other content under the same key; nothing was changed. It is kept here.")
DEPENDS: Final = N_("An earlier step of yours that this builds on was not taken; look at that one first.")
UNREADABLE: Final = N_("This cannot be read as an action: {what}. It is kept here.")
LATER: Final = N_("Not reached yet; it is sent again by itself.")


def parsed(raw: bytes, encoding: str) -> Envelope:
    """Return what a phone sent; raises Invalid for what is no such document and TooLarge for too much of it."""
    if encoding == "gzip":
        try:
            unpacked = zlib.decompressobj(wbits=31).decompress(raw, _MOST_BYTES + 1)
        except zlib.error as error:
            raise Invalid("The form or document that was sent is damaged or incomplete.") from error
        if len(unpacked) > _MOST_BYTES:
            raise TooLarge("At most {n} actions can be sent at once; send the rest afterwards.", n=MOST_ACTIONS)
        raw = unpacked
    try:
        told = orjson.loads(raw)
        if isinstance(told, dict) and isinstance(told.get("actions"), list) and len(told["actions"]) > MOST_ACTIONS:
            raise TooLarge("At most {n} actions can be sent at once; send the rest afterwards.", n=MOST_ACTIONS)
        return Envelope.model_validate(told)
    except (orjson.JSONDecodeError, ValidationError, RecursionError) as error:
        raise Invalid("The form or document that was sent is damaged or incomplete.") from error


def packed(body: bytes, accepts: str) -> tuple[bytes, dict[str, str]]:
    """Return a document with the headers that say how it is packed: compressed where the phone takes that."""
    if "gzip" in accepts and len(body) > 1000:
        return gzip.compress(body, 6), {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return body, {}


@dataclass(slots=True)
class _Queue:
    """One sync on its way through."""

    actor: Actor
    offset_s: float
    receipts: dict[uuid.UUID, Receipt]
    oldest: timedelta
    #: Cases, as the actions name them, whose earlier action was not taken, and why: status of those that follow.
    stuck: dict[str, str] = field(default_factory=dict)


def run(actor: Actor, given: Envelope, *, at: datetime) -> Answer:
    """Do the actions of a phone in their order, and return what became of each.

    at: aware, when the request came: the phone's clock is compared with it. Each action is recorded at its own moment,
    which a long queue or a long wait puts later.
    """
    offset_s = (given.phone_time - at).total_seconds()
    read = [_read(one) for one in given.actions]
    bound = {
        one.key: (one.key, _digest(raw), one.kind)
        for one, raw in zip(read, given.actions, strict=True)
        if isinstance(one, Action)
    }
    with transaction(actor) as session:
        # The first of two with one key counts, here and in the table.
        receipts = field_queue.begin(session, list(bound.values()), device=given.device, offset_s=offset_s, at=at)
        builds_on = {one.of for one in read if isinstance(one, Action) and one.of} - set(bound)
        receipts |= field_queue.known(session, builds_on)
    book = wiring.rulebook()
    queue = _Queue(actor, offset_s, receipts, _oldest(book.settings))
    until, results = time.monotonic() + _SLICE_S, []
    for one, raw in zip(read, given.actions, strict=True):
        if isinstance(one, Result):
            results.append(one)
        elif time.monotonic() > until:
            results.append(_not(one, "retry", "busy", say(LATER)))
        else:
            results.append(_one(queue, one, _digest(raw)))
    return Answer(server_time=wiring.now(), offset_s=offset_s, results=results)


def _read(raw: Any) -> Action | Result:
    try:
        return Action.model_validate(raw)
    except (ValidationError, WanggeError) as error:
        fault = error.errors()[0] if isinstance(error, ValidationError) else {"loc": ()}
        what = ".".join(str(part) for part in fault["loc"])[:80] or "?"
        told = raw if isinstance(raw, dict) else {}
        return Result(
            key=str(told.get("key", ""))[:40],
            kind=str(told.get("kind", ""))[:20],
            status="refused",
            code="unreadable",
            message=say(UNREADABLE, what=what),
            field=what,
        )


def _digest(raw: Any) -> bytes:
    return sha256(orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)).digest()


def _one(queue: _Queue, action: Action, digest: bytes) -> Result:
    known = queue.receipts[action.key]
    if known.digest != digest:
        return _not(action, "refused", "key_reused", say(REUSED))
    if known.state == "done":
        return repeated(known)
    before = queue.receipts.get(action.of) if action.of else None
    stuck = _stuck(queue, action, before)
    made = stuck if stuck is not None else _tried(queue, action, before)
    if made.status in ("done", "repeated"):
        queue.receipts[action.key] = Receipt(
            action.key, digest, "done", made.model_dump(mode="json", exclude={"server"}), made.id, made.version
        )
    else:
        for name in _names(action):
            queue.stuck.setdefault(name, made.status)
    return made


def _names(action: Action) -> list[str]:
    """Return under which names later actions mean the same matter: its case, this action, the one it builds on."""
    told = (action.case, str(action.key), str(action.of) if action.of else None)
    run = str(action.fields.get("run")) if action.kind == "patrol" and action.fields.get("part") == "start" else None
    return [name for name in (*told, run) if name]


def _stuck(queue: _Queue, action: Action, before: Receipt | None) -> Result | None:
    """Return the answer to an action whose turn has not come, None where it has."""
    meant = [action.case, str(action.of) if action.of else None]
    if action.kind in ("patrol", "checkin"):
        meant.append(str(action.fields.get("run")))
    why = next((queue.stuck[name] for name in meant if name and name in queue.stuck), None)
    if why is None and action.of is not None and (before is None or before.state != "done"):
        why = "conflict"
    if why is None:
        return None
    waits = why == "retry"
    return _not(
        action, "retry" if waits else "conflict", "waits" if waits else "depends", "" if waits else say(DEPENDS)
    )


def _tried(queue: _Queue, action: Action, before: Receipt | None, *, again: bool = True) -> Result:
    """Do one action; turn what stands in its way into words for the worker."""
    moment: Moment | None = None
    try:
        offset_s = queue.offset_s if action.offset_s is None else action.offset_s
        at = wiring.now()
        moment = corrected(action.happened_at, offset_s=offset_s, at=at, oldest=queue.oldest)
        work = Work(queue.actor, wiring.rulebook(), action, moment, at, before)
        return _HANDLERS[action.kind](work)
    except NotYetError as error:
        return _not(action, "retry", error.code, photos=error.photos)
    except (Unavailable, TooMany) as error:
        return _not(action, "retry", "unavailable", sentence(error))
    except (Conflict, NotFound) as error:
        if again and isinstance(error, Conflict) and "version" not in error.params and error.field is None:
            # Another transaction won at the same moment, which is no news to the worker: look once more.
            return _tried(queue, action, before, again=False)
        on_case = action.kind in ("step", "same")
        if not on_case:
            return _refused(queue, action, error, moment)
        code = "gone" if isinstance(error, NotFound) else "stale"
        made = _not(action, "conflict", code, sentence(error), server=_server(queue, action, before))
        _write_down(queue, made, moment)
        return made
    except WanggeError as error:
        return _refused(queue, action, error, moment)
    except Exception:
        # One action that nobody foresaw must not hold back a worker's whole queue: it stays in it and is looked into.
        log.exception("unforeseen: action %s of kind %s", action.key, action.kind)
        return _not(action, "retry", "fault", say("Something went wrong on our side"))


def _refused(queue: _Queue, action: Action, error: WanggeError, moment: Moment | None) -> Result:
    made = _not(action, "refused", "", sentence(error), field=error.field or "")
    _write_down(queue, made, moment)
    return made


def _write_down(queue: _Queue, made: Result, moment: Moment | None) -> None:
    """Keep that an action was not taken, for whoever asks why a phone's work is not there."""
    with transaction(queue.actor) as session:
        told = made.model_dump(mode="json", exclude={"server"})
        field_queue.settle(session, uuid.UUID(made.key), "refused", told, moment=moment, at=wiring.now())


def _server(queue: _Queue, action: Action, before: Receipt | None) -> dict[str, Any] | None:
    """Return the case as it is now; None where it is not the worker's to see."""
    with snapshot(queue.actor) as session:
        case_id = before.case_id if before else None
        if case_id is None and action.case:
            try:
                case_id = uuid.UUID(action.case)
            except ValueError:
                case_id = views.find_number(session, action.case)
        found = field_views.one(session, case_id) if case_id else None
        if found is None:
            return None
        return field_tasks.tasks(session, wiring.rulebook(), [found], at=wiring.now())[0]


def _not(
    action: Action,
    status: Any,
    code: str,
    message: str = "",
    *,
    field: str = "",
    photos: list[str] | None = None,
    server: dict[str, Any] | None = None,
) -> Result:
    return Result(
        key=str(action.key),
        kind=action.kind,
        status=status,
        code=code,
        message=message,
        field=field,
        photos=photos or [],
        server=server,
    )


def _oldest(settings: Mapping[str, Any]) -> timedelta:
    """Return how long ago a thing may have happened; `settings: {field: {oldest_days}}`, 1 to 365."""
    told = settings.get("field") or {}
    days = told.get("oldest_days", OLDEST_DAYS) if isinstance(told, dict) else OLDEST_DAYS
    return timedelta(days=days if isinstance(days, int) and 1 <= days <= 365 else OLDEST_DAYS)

"""The switchboard's webhook 话务接口: whether what came was signed by it, and what it says. Knows no database.

The signature is HMAC-SHA256 over the timestamp, a dot and the body as sent; docs/formats.md describes the format. Two
keys may hold at once, so that a key is changed without losing a call.
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from core.errors import Forbidden, Invalid
from dispatch.words import N_

#: How far the sender's clock and ours may be apart; an older request is a repetition by somebody who overheard it.
WINDOW = timedelta(minutes=5)
#: An event may come late, after the line between the two houses was down, but not from another month.
LATEST = timedelta(days=7)
#: Largest body in bytes, and shortest key in characters.
MAX_BODY, MIN_KEY = 16 * 1024, 32
#: Events, in the order of a call's life.
KINDS: Final = ("ring", "answer", "hangup", "recording")
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:@+\-]{0,119}")
EXTENSION = re.compile(r"[0-9]{2,8}")
_NUMBER = re.compile(r"\+?[0-9][0-9 \-]{2,24}")


class Unsigned(Forbidden):
    """What came cannot be trusted; `why` is signature, clock or keys."""

    def __init__(self, *, why: str) -> None:
        super().__init__(N_("The signature of this request does not hold."))
        self.why = why


@dataclass(frozen=True, slots=True)
class Event:
    """What the switchboard told, checked."""

    #: Its own id of this event, and of the call.
    id: str
    call: str
    #: One of KINDS.
    kind: str
    #: Aware, as the switchboard says.
    at: datetime
    #: in or out.
    direction: str
    #: Digits of the other party's number; empty where it is withheld.
    phone: str
    #: The number of ours that was dialled.
    line: str
    extension: str
    #: Why it ended.
    cause: str
    #: Where the recording lies.
    url: str
    #: SHA-256 of the body.
    digest: bytes


def keys(written: str) -> tuple[bytes, ...]:
    """Return the keys of a setting, by commas or spaces apart, at most two; shorter ones than MIN_KEY do not count."""
    return tuple(key.encode() for key in re.split(r"[,\s]+", written) if len(key) >= MIN_KEY)[:2]


def sign(body: bytes, *, key: bytes, timestamp: int) -> str:
    """Return the value of the signature header: `v1=` and 64 hexadecimal digits. timestamp: Unix seconds."""
    return "v1=" + hmac.new(key, f"{timestamp}.".encode() + body, sha256).hexdigest()


def check(body: bytes, *, timestamp: str, signature: str, known: Sequence[bytes], at: datetime) -> None:
    """Raise Unsigned unless one of the known keys signed this body at about this time. at: aware."""
    if not known:
        raise Unsigned(why="keys")
    if not re.fullmatch(r"[0-9]{1,11}", timestamp):
        raise Unsigned(why="clock")
    # Every key is tried, so that the time taken does not say which one is near.
    given = signature.strip().encode("utf-8", "replace")
    right = [hmac.compare_digest(sign(body, key=key, timestamp=int(timestamp)).encode(), given) for key in known]
    if not any(right):
        raise Unsigned(why="signature")
    if abs(datetime.fromtimestamp(int(timestamp), UTC) - at) > WINDOW:
        raise Unsigned(why="clock")


def read(body: bytes, *, at: datetime, hosts: Sequence[str] = ()) -> Event:
    """Return the event that a signed body holds.

    at: aware, ours. hosts: where recordings may lie. Raises Invalid, naming the member, for one that cannot be taken.
    """
    if len(body) > MAX_BODY:
        raise Invalid("The event is longer than {n} bytes.", field="body", n=MAX_BODY)
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Invalid("The event is not JSON.", field="body") from error
    if not isinstance(told, dict):
        raise Invalid("The event is not a JSON object.", field="body")
    kind = _text(told, "event")
    if kind not in KINDS:
        raise Invalid("There is no telephone event {name}.", field="event", name=kind[:20])
    direction = _text(told, "direction") or "in"
    if direction not in ("in", "out"):
        raise Invalid("A call goes in or out.", field="direction")
    url = _text(told, "url")
    if kind == "recording":
        check_recording(url, hosts)
    return Event(
        id=_matching(told, "id", _ID, needed=True),
        call=_matching(told, "call", _ID, needed=True),
        kind=kind,
        at=_moment(told, at),
        direction=direction,
        phone=digits(_text(told, "caller")),
        line=re.sub(r"\D", "", _matching(told, "line", _NUMBER))[:20],
        extension=_matching(told, "extension", EXTENSION),
        cause=re.sub(r"[^0-9a-z_\-]", "", _text(told, "cause").lower())[:40],
        url=url if kind == "recording" else "",
        digest=sha256(body).digest(),
    )


def digits(number: str) -> str:
    """Return the digits of a telephone number as people in China dial it; empty for a withheld or unreadable one.

    `+86 138 0013 8000`, `0138…` as trunks write mobiles, and `138…` are the same number; `anonymous` is none.
    """
    if not _NUMBER.fullmatch(number.strip()):
        return ""
    found = re.sub(r"\D", "", number)
    if number.strip().startswith(("+86", "0086")):
        found = re.sub(r"^(?:00)?86", "", found)
        # Abroad a fixed line is written without the 0 of its area code.
        found = found if found.startswith(("0", "1", "400", "800")) or len(found) < 10 else "0" + found
    return re.sub(r"^0(?=1[3-9][0-9]{9}$)", "", found) if 3 <= len(found) <= 20 else ""


def check_recording(url: str, hosts: Sequence[str]) -> None:
    """Raise Invalid unless a recording's address is https on an allowed host, without a name and password in it.

    hosts: exact names, perhaps with `:port`.
    """
    try:
        parts = urlsplit(url)
        where = parts.netloc.lower()
    except ValueError:
        parts, where = urlsplit(""), ""
    plain = parts.scheme == "https" and len(url) <= 1000 and url.isascii() and url.isprintable() and " " not in url
    if not plain or "\\" in url or where not in {host.lower() for host in hosts}:
        raise Invalid("Recordings are taken from allowed hosts only, over https.", field="url")


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Invalid("{name} is not a text.", field=name, name=name)
    return value.strip()


def _matching(told: Mapping[str, Any], name: str, shape: re.Pattern[str], *, needed: bool = False) -> str:
    value = _text(told, name)
    if (value or needed) and not shape.fullmatch(value):
        raise Invalid("{name} is missing or malformed.", field=name, name=name)
    return value


def _moment(told: Mapping[str, Any], at: datetime) -> datetime:
    written = _text(told, "at")
    try:
        moment = datetime.fromisoformat(written)
    except ValueError as error:
        raise Invalid("{name} is missing or malformed.", field="at", name="at") from error
    if moment.tzinfo is None:
        raise Invalid("The time {moment} does not say its time zone.", field="at", moment=written[:40])
    if moment > at + WINDOW or moment < at - LATEST:
        raise Invalid("The time of this event is too far from ours.", field="at")
    return moment.astimezone(UTC)

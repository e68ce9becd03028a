"""A client of other cities' Open311 servers: sends, looks, and believes nothing that it is told. Knows no table.

Answers are bounded in size and time, addresses are never followed elsewhere, and what cannot be read counts as not
answered: who calls tries again later.
"""

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import orjson

from core.errors import Invalid
from dispatch.words import N_
from hotline.open311 import times
from hotline.outward.adapters import Later, Outgoing, Refused, Sent

#: Longest answer that is read, in bytes.
_LONGEST = 2_000_000
#: A key or jurisdiction that does not hold is somebody's to repair; asked again this seldom.
_REPAIR = timedelta(hours=1)
_LONGEST_WAIT_S = 6 * 3600
_ID = re.compile(r"[0-9A-Za-z_.:\-#/]{1,100}")
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffd\ud800-\udfff\ufffe\uffff]")
_HOME = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Remote:
    """Another server."""

    #: The address before `/requests.json`.
    endpoint: str
    key: str
    jurisdiction: str = ""


@dataclass(frozen=True, slots=True)
class Posted:
    """What a server answered to a request: its number, or a token until there is one."""

    number: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """How a request stands there."""

    closed: bool
    #: Their words; empty for none.
    notes: str


def checked_endpoint(address: str) -> str:
    """Return the address of a server without its last slash; raises Invalid for anything but https, or a loopback."""
    plain = address.strip().rstrip("/")
    try:
        parts = urlsplit(plain)
        sound = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HOME)
        sound = sound and bool(parts.hostname) and parts.username is None and not parts.query and not parts.fragment
    except ValueError:
        sound = False
    if not sound or len(plain) > 300:
        raise Invalid(N_("An address of another server begins with https://."), field="endpoint")
    return plain


class Client:
    """Speaks to one server. Raises Refused and Later as adapters do."""

    def __init__(self, remote: Remote, *, timeout_s: float = 10.0) -> None:
        """Remember where to speak; nothing is opened yet."""
        self._remote = remote
        self._timeout_s = timeout_s

    def post(self, fields: Mapping[str, str], *, key: uuid.UUID) -> Posted:
        """Send a request. key: the same again is the same request, where the other side honours it."""
        form = {"api_key": self._remote.key, **fields}
        if self._remote.jurisdiction:
            form["jurisdiction_id"] = self._remote.jurisdiction
        (told,) = self._ask("POST", "requests", data=form, headers={"Idempotency-Key": str(key)}, least=1)[:1]
        posted = Posted(_id(told.get("service_request_id")), _id(told.get("token")))
        if not posted.number and not posted.token:
            raise Later("the answer has neither number nor token")
        return posted

    def number_of(self, token: str) -> str:
        """Return the number that a token led to; empty while there is none."""
        found = self._ask("GET", f"tokens/{quote(token, safe='')}", least=0)
        return _id(found[0].get("service_request_id")) if found else ""

    def look(self, number: str) -> Seen:
        """Return how a request stands."""
        (told,) = self._ask("GET", f"requests/{quote(number, safe='')}", least=1)[:1]
        if _id(told.get("service_request_id")) != number:
            raise Later("the answer is of another request")
        status = told.get("status")
        if status not in ("open", "closed"):
            raise Later("the answer has no status of the standard")
        notes = told.get("status_notes")
        return Seen(status == "closed", _plain(notes)[:2000] if isinstance(notes, str) else "")

    def find(self, mark: str, *, since: datetime) -> str:
        """Return the number of the newest request since then whose words hold a mark; empty for none."""
        start = times.written(since) or ""
        for told in self._ask("GET", "requests", params={"start_date": start}, least=0):
            if isinstance(told.get("description"), str) and mark in told["description"]:
                return _id(told.get("service_request_id"))
        return ""

    def _ask(
        self,
        method: str,
        path: str,
        *,
        least: int,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> list[dict[str, Any]]:
        """Return the list of mappings that a call answers, at least so many; raises Refused and Later."""
        asked = dict(params or {})
        if self._remote.jurisdiction and method == "GET":
            asked["jurisdiction_id"] = self._remote.jurisdiction
        url = f"{self._remote.endpoint}/{path}.json"
        end = time.monotonic() + 3 * self._timeout_s
        body = bytearray()
        try:
            # Settings of the machine, such as proxies and netrc, are not this program's.
            with (
                httpx.Client(timeout=self._timeout_s, trust_env=False, follow_redirects=False) as http,
                http.stream(method, url, params=asked, data=data, headers=headers) as answer,
            ):
                for chunk in answer.iter_bytes():
                    body += chunk
                    if len(body) > _LONGEST or time.monotonic() > end:
                        raise Later("the answer does not end")
                status, wait = answer.status_code, answer.headers.get("retry-after", "")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise Later(f"no answer: {type(error).__name__}", down=True) from error
        if status not in (200, 201):
            raise _failure(status, wait, bytes(body))
        try:
            told = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Later("the answer cannot be read") from error
        if not isinstance(told, list) or len(told) < least or not all(isinstance(one, dict) for one in told):
            raise Later("the answer is not of the standard's shape")
        return told


def _id(value: object) -> str:
    """Return an id that can be kept and asked for; numbers as text, empty for anything else."""
    plain = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return plain if _ID.fullmatch(plain) else ""


def _plain(words: str) -> str:
    """Return words of theirs without what no table keeps and nobody sees."""
    return _UNSEEN.sub("", words).strip()


def _failure(status: int, wait: str, body: bytes) -> Refused | Later:
    if status == 429 or status >= 500:
        seconds = min(int(wait), _LONGEST_WAIT_S) if wait.isascii() and wait.isdigit() and len(wait) < 9 else None
        return Later(f"HTTP {status}", timedelta(seconds=seconds) if seconds else None)
    if status in (401, 403):
        return Later(f"HTTP {status}: the key or the jurisdiction does not hold", _REPAIR)
    if status in (400, 404, 405, 410, 413, 422):
        return Refused(f"HTTP {status} {_said(body)}".strip())
    return Later(f"HTTP {status}")


def _said(body: bytes) -> str:
    try:
        told = orjson.loads(body)
        return _plain(str(told[0]["description"]))[:200]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        return ""


class Open311Adapter:
    """Takes a matter to another server, in the shape of every way out."""

    name = "open311"

    def __init__(self, client: Client) -> None:
        """Send by a client."""
        self._client = client

    def send(self, message: Outgoing) -> Sent:
        """Send one matter; the receipt is `number` or `token:…`.

        extra: fields of the form; `tried` since when, where an earlier try may have arrived. Then it is looked for
        first by the mark in `address`, for not every server honours keys.
        """
        tried = message.extra.get("tried")
        if tried is not None:
            number = self._client.find(message.address, since=tried)
            if number:
                return Sent(number)
        fields = {name: str(value) for name, value in message.extra.items() if name != "tried"}
        posted = self._client.post({**fields, "description": message.text}, key=message.key)
        return Sent(posted.number or f"token:{posted.token}")

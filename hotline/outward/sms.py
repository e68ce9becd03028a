"""Short messages over HTTP 短信: one POST a message to the provider that the district has a contract with.

Generic: JSON or form, names of the fields by settings, an HMAC signature over time, key and body. docs/formats.md says
what is sent. Follows no redirect, reads a bounded answer, and never puts a number or a text into a failure.
"""

import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx

from core.errors import Invalid
from dispatch.words import N_
from hotline.outward.adapters import Later, Outgoing, Refused, Sent, checked_address

#: Largest answer that is read, in bytes.
_MOST = 64 * 1024
_LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})
_NAME = re.compile(r"[0-9A-Za-z_.\-]{1,60}")


@dataclass(frozen=True, slots=True)
class SmsSettings:
    """How the provider wants it."""

    #: https, or http on this machine.
    url: str
    #: Signs every request; 16 characters or more.
    key: str
    #: `json` or `form`.
    body: str = "json"
    #: Names of the provider's fields.
    phone: str = "phone"
    text: str = "text"
    id: str = "id"
    #: Sent with every message, such as an account name or a signature line.
    fixed: Mapping[str, str] = field(default_factory=dict)
    #: Member of the JSON answer that holds the result, and the values that mean "taken"; empty: the status says it.
    result: str = ""
    good: tuple[str, ...] = ("0", "ok", "OK", "success", "true", "True")
    #: Values of it that mean "not now".
    busy: tuple[str, ...] = ()
    #: Member of the JSON answer that holds the provider's own id.
    receipt: str = ""
    #: Seconds for connecting and for each read.
    timeout_s: float = 5.0

    def check(self) -> None:
        """Raise Invalid for what cannot be used."""
        try:
            parts = urlsplit(self.url)
            port_fine = parts.port is None or 0 < parts.port < 65536
        except ValueError:
            parts, port_fine = urlsplit(""), False
        local = parts.hostname in _LOCAL and parts.scheme == "http"
        if not (parts.scheme == "https" or local) or not parts.hostname or parts.username or not port_fine:
            raise Invalid(N_("The address of the SMS provider must be https."), field="url")
        if len(self.key) < 16:
            raise Invalid(N_("The key of the SMS provider has at least {n} characters."), field="key", n=16)
        names = (self.phone, self.text, self.id, *self.fixed)
        if self.body not in ("json", "form") or not all(_NAME.fullmatch(name) for name in names):
            raise Invalid(N_("The fields of the SMS provider cannot be read."), field="body")

    @classmethod
    def read(cls, url: str, key: str, told: str) -> "SmsSettings":
        """Return the settings of a JSON object with the members above; raises Invalid."""
        try:
            given = json.loads(told or "{}")
            many = {name: tuple(map(str, given[name])) for name in ("good", "busy") if name in given}
            made = cls(url=url, key=key, **given | many)
        except (ValueError, TypeError) as error:
            raise Invalid(N_("The fields of the SMS provider cannot be read."), field="body") from error
        made.check()
        return made


class HttpSms:
    """Sends through the provider's HTTP interface."""

    name = "sms"

    def __init__(self, told: SmsSettings, *, clock: Callable[[], datetime]) -> None:
        """clock: aware; the time that the signature names."""
        told.check()
        self._told = told
        self._clock = clock
        self._client = httpx.Client(
            timeout=httpx.Timeout(told.timeout_s), follow_redirects=False, trust_env=False, verify=True
        )

    def send(self, message: Outgoing) -> Sent:
        """Post one message. Raises Refused and Later."""
        told = self._told
        try:
            phone = checked_address("sms", message.address)
        except Invalid as error:
            raise Refused("no mobile number") from error
        values = {**told.fixed, told.phone: phone, told.text: message.text, told.id: str(message.key)}
        if told.body == "json":
            body, kind = json.dumps(values, ensure_ascii=False).encode(), "application/json"
        else:
            body, kind = urlencode(values).encode(), "application/x-www-form-urlencoded"
        stamp = str(int(self._clock().timestamp()))
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Idempotency-Key": str(message.key),
            "X-Wangge-Time": stamp,
            "X-Wangge-Signature": sign(told.key, stamp, str(message.key), body),
        }
        status, answer, retry = self._post(body, headers)
        return self._judged(status, answer, retry)

    def _post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes, str]:
        limit_s = self._told.timeout_s * 2
        try:
            with self._client.stream("POST", self._told.url, content=body, headers=dict(headers)) as got:
                answer, began = b"", self._clock()
                for piece in got.iter_bytes():
                    answer += piece
                    # A drip of bytes keeps every single read within its limit.
                    slow = (self._clock() - began).total_seconds() > limit_s
                    if len(answer) > _MOST or slow:
                        raise Later("the answer was too long")
                return got.status_code, answer, got.headers.get("retry-after", "")
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Later("the provider cannot be reached", down=True) from error
        except httpx.TimeoutException as error:
            raise Later("the provider did not answer in time") from error
        except httpx.HTTPError as error:
            raise Later(f"the answer broke off: {type(error).__name__}") from error

    def _judged(self, status: int, answer: bytes, retry: str) -> Sent:
        after = timedelta(seconds=min(int(retry), 86_400)) if retry.isdecimal() and len(retry) < 7 else None
        if status in (408, 409, 425, 429) or status >= 500:
            raise Later(f"status {status}", after)
        if not 200 <= status < 300:
            # A redirect too: who signs for one address does not follow to another.
            raise Refused(f"status {status}")
        if not self._told.result and not self._told.receipt:
            return Sent()
        found = _read(answer)
        result = str(found.get(self._told.result, "")) if self._told.result else ""
        if self._told.result and result in self._told.busy:
            raise Later(f"result {result[:40]}", after)
        if self._told.result and result not in self._told.good:
            raise Refused(f"result {result[:40]}")
        return Sent(re.sub(r"[^\x21-\x7e]", "", str(found.get(self._told.receipt, "")))[:100])


def _read(answer: bytes) -> dict[str, Any]:
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError) as error:
        # Perhaps it was taken: the key keeps the second one from being a second message.
        raise Later("the answer is not whole") from error
    if not isinstance(found, dict):
        raise Later("the answer is not whole")
    return found


def sign(key: str, stamp: str, message_id: str, body: bytes) -> str:
    """Return the signature of a request in hex: HMAC-SHA256 over time, key and body, joined by dots."""
    return hmac.new(key.encode(), stamp.encode() + b"." + message_id.encode() + b"." + body, sha256).hexdigest()

"""A bridge for switchboards that can send a form but sign nothing: takes events on loopback, signs and passes them on.

Keeps every event until it was taken, in order per call; what the receiver refuses for good is dropped aloud. Knows the
webhook's format and no database; runs beside the switchboard (`wangge telephone bridge`).
"""

import logging
import queue
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import httpx
import orjson

from hotline.telephone.hook import MAX_BODY, sign

#: Events that wait for a receiver that is down; more means that nobody answers telephones either.
_MOST = 10_000
#: Seconds between two tries, growing.
_PAUSES = (0.2, 0.5, 1, 2, 5, 10)
#: Answers after which sending the same again is no use.
_FOR_GOOD = (400, 413, 422)
_PLAIN = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:@+\-]{0,79}")
_MEMBERS = ("id", "event", "call", "at", "direction", "caller", "line", "extension", "cause", "url")

_log = logging.getLogger(__name__)


def event_of(form: Mapping[str, str], *, at: datetime) -> dict[str, str]:
    """Return the event that a form of the switchboard means, with id and time where it names none.

    A SIP Call-ID may hold any characters: one that an event may not carry is replaced by its hash. at: aware.
    """
    told = {name: form[name] for name in _MEMBERS if form.get(name)}
    call = told.get("call", "")
    if not _PLAIN.fullmatch(call):
        told["call"] = "sip-" + sha256(call.encode()).hexdigest()[:40]
    told.setdefault("at", at.isoformat())
    # The same step of a call, told again by a retransmission, is the same event.
    told.setdefault("id", ":".join((told["call"], told.get("event", ""), told.get("extension", "-"))))
    return told


@dataclass(frozen=True, slots=True)
class Target:
    """Where events go."""

    #: `https://…/api/v1/telephone/events`
    url: str
    key: bytes


class Bridge:
    """One bridge: a loopback server, and one sender so that events keep their order."""

    def __init__(
        self,
        target: Target,
        *,
        port: int,
        now: Callable[[], datetime],
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Listen at 127.0.0.1:port (0: any free one); `now` is the clock. Sends nothing before `start`."""
        self._target, self._now, self._transport = target, now, transport
        self._waiting: queue.Queue[dict[str, str] | None] = queue.Queue(_MOST)
        self._over = threading.Event()
        bridge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bridge._take(self)

            def log_message(self, *_: object) -> None:
                """Say nothing: lines would name telephone numbers."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._threads = [
            threading.Thread(target=self._server.serve_forever, name="bridge-in", daemon=True),
            threading.Thread(target=self._pump, name="bridge-out", daemon=True),
        ]

    def start(self) -> None:
        """Begin to listen and to send."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop listening, give what waits one last try each, and end."""
        self._server.shutdown()
        self._server.server_close()
        self._over.set()
        self._waiting.put(None)
        for thread in self._threads:
            thread.join(10)

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        length = request.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            request.send_error(413)
            return
        try:
            form = parse_qs(request.rfile.read(int(length)).decode("utf-8", "replace"), max_num_fields=30)
        except ValueError:
            request.send_error(400)
            return
        try:
            self._waiting.put_nowait(event_of({name: values[-1] for name, values in form.items()}, at=self._now()))
        except queue.Full:
            request.send_error(503)
            return
        request.send_response(202)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _pump(self) -> None:
        with httpx.Client(timeout=5.0, transport=self._transport, trust_env=False) as client:
            while (event := self._waiting.get()) is not None:
                body, tries = orjson.dumps(event), 0
                while not self._send(client, body) and not self._over.is_set():
                    self._over.wait(_PAUSES[min(tries, len(_PAUSES) - 1)])
                    tries += 1

    def _send(self, client: httpx.Client, body: bytes) -> bool:
        """Return whether an event is settled: taken, or refused for good."""
        stamp = int(self._now().astimezone(UTC).timestamp())
        headers = {
            "Content-Type": "application/json",
            "Wangge-Timestamp": str(stamp),
            "Wangge-Signature": sign(body, key=self._target.key, timestamp=stamp),
        }
        try:
            answer = client.post(self._target.url, content=body, headers=headers)
        except httpx.HTTPError as error:
            _log.warning("the receiver does not answer: %s", type(error).__name__)
            return False
        if answer.status_code in _FOR_GOOD:
            _log.error("an event was refused for good (%s): %s", answer.status_code, answer.text[:200])
            return True
        if answer.status_code != 200:
            _log.warning("the receiver answers %s", answer.status_code)
        return answer.status_code == 200

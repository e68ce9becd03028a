"""Follows the live feed for open pages: one reader a process, which wakes whoever waits for news of a district.

News are hints, never facts: they may be lost with the broker, so whoever waits looks into the tables by itself after a
while, and the news themselves carry no personal data.
"""

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import orjson
import redis

from api.live import connect, stream
from core.settings import settings

#: Milliseconds that the reader sleeps in Redis; less than the client's own time limit.
_BLOCK_MS = 2000
#: Seconds before a broker that does not answer is asked again.
_PAUSE_S = 2.0
#: News that one page may be behind; it looks into the tables anyway.
_MOST = 100
#: Messages that the stream keeps, about, as `api.live` does.
_KEPT = 10_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class News:
    """One line of the feed."""

    topic: str
    payload: Mapping[str, Any]


@dataclass(eq=False)
class Inbox:
    """What one open page has not looked at yet."""

    district: str
    loop: asyncio.AbstractEventLoop
    waiting: asyncio.Queue[News] = field(default_factory=lambda: asyncio.Queue(_MOST))

    def put(self, news: News) -> None:
        """Take a line; in the page's own loop. A page that is far behind misses what it would look up anyway."""
        with suppress(asyncio.QueueFull):
            self.waiting.put_nowait(news)

    async def get(self, timeout_s: float) -> News | None:
        """Return the next line, or None after a while without one."""
        try:
            return await asyncio.wait_for(self.waiting.get(), timeout_s)
        except TimeoutError:
            return None


class Feed:
    """The reader of one process, which runs only while somebody follows."""

    def __init__(self, url: str) -> None:
        """Connect on first use. url: the broker's; one that is no Redis has no feed, and pages look by themselves."""
        self._url = url if url.startswith(("redis", "unix")) else ""
        self._inboxes: set[Inbox] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._teller: redis.Redis | None = None

    @property
    def works(self) -> bool:
        """Whether news come by themselves."""
        return bool(self._url)

    def tell(self, district: str, topic: str, payload: Mapping[str, Any]) -> None:
        """Put a line into a district's feed at once; what a broken broker loses, the tables still have."""
        if not self._url:
            return
        self._teller = self._teller or connect(self._url)
        line = {"id": uuid.uuid4().hex, "case": "", "topic": topic, "payload": orjson.dumps(dict(payload)), "at": ""}
        try:
            self._teller.xadd(stream(district), line, maxlen=_KEPT, approximate=True)  # type: ignore[arg-type]
        except redis.RedisError as error:
            _log.warning("the live feed does not answer: %s", error)

    @asynccontextmanager
    async def follow(self, district: str) -> AsyncIterator[Inbox]:
        """Give an inbox that news of a district come into from now on."""
        inbox = Inbox(district, asyncio.get_running_loop())
        with self._lock:
            self._inboxes.add(inbox)
            if self._url and (self._thread is None or not self._thread.is_alive()):
                self._ready.clear()
                self._thread = threading.Thread(target=self._read, name="feed", daemon=True)
                self._thread.start()
        try:
            # What is told before the reader stands would be missed.
            if self._url and not self._ready.is_set():
                await asyncio.to_thread(self._ready.wait, 1.0)
            yield inbox
        finally:
            with self._lock:
                self._inboxes.discard(inbox)

    def _read(self) -> None:
        client = connect(self._url)
        places: dict[str, bytes] = {}
        try:
            while self._followed():
                try:
                    self._turn(client, places)
                except redis.RedisError as error:
                    _log.warning("the live feed cannot be followed: %s", error)
                    self._ready.set()
                    time.sleep(_PAUSE_S)
        finally:
            client.close()

    def _followed(self) -> set[str]:
        with self._lock:
            found = {inbox.district for inbox in self._inboxes}
            if not found:
                # Whoever comes now starts another reader.
                self._thread = None
            return found

    def _turn(self, client: redis.Redis, places: dict[str, bytes]) -> None:
        for district in self._followed() - places.keys():
            last: Any = client.xrevrange(stream(district), count=1)
            places[district] = last[0][0] if last else b"0-0"
        names = {stream(district): district for district in places}
        self._ready.set()
        if not names:
            return
        asked = {name: places[district] for name, district in names.items()}
        answer: Any = client.xread(asked, count=200, block=_BLOCK_MS)  # type: ignore[arg-type]
        for name, lines in answer or ():
            district = names[name.decode()]
            for place, line in lines:
                places[district] = place
                self._hand_out(district, News(line[b"topic"].decode(), orjson.loads(line[b"payload"])))

    def _hand_out(self, district: str, news: News) -> None:
        with self._lock:
            inboxes = [inbox for inbox in self._inboxes if inbox.district == district]
        for inbox in inboxes:
            # A loop that is closed has no page any more.
            with suppress(RuntimeError):
                inbox.loop.call_soon_threadsafe(inbox.put, news)


@cache
def feed() -> Feed:
    """Return the feed of this process."""
    return Feed(settings().broker_url)

"""What was drawn once and may be handed out again: a bounded store in this process, by exact key.

It knows bytes and keys. A key names everything that the bytes depend on (district, revision, data stamp, scope), so
nothing here ever has to be thrown away because it is wrong, only because there is no room.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from hashlib import blake2b
from threading import Lock


@dataclass(frozen=True, slots=True)
class Drawn:
    """A finished tile or file."""

    body: bytes
    #: Strong validator: a hash of the body in double quotes (RFC 9110).
    etag: str

    @classmethod
    def of(cls, body: bytes) -> "Drawn":
        """Return the body with its validator."""
        return cls(body, f'"{blake2b(body, digest_size=12).hexdigest()}"')


class Kept:
    """The least recently used go first when the bodies outgrow `most_bytes`. Safe to share between threads."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._held = 0
        self._lock = Lock()
        self._things: OrderedDict[Hashable, Drawn] = OrderedDict()

    def get(self, key: Hashable) -> Drawn | None:
        """Return what is kept under a key."""
        with self._lock:
            found = self._things.get(key)
            if found is not None:
                self._things.move_to_end(key)
            return found

    def put(self, key: Hashable, body: bytes) -> Drawn:
        """Keep a body and return it with its validator; one larger than a quarter of the room is not kept."""
        made = Drawn.of(body)
        if len(body) > self._most // 4:
            return made
        with self._lock:
            before = self._things.pop(key, None)
            self._held += self._cost(made) - (self._cost(before) if before else 0)
            self._things[key] = made
            while self._held > self._most:
                self._held -= self._cost(self._things.popitem(last=False)[1])
        return made

    def or_drawn(self, key: Hashable, draw: Callable[[], bytes]) -> Drawn:
        """Return what is kept, else draw and keep it; two who ask at once may both draw."""
        return self.get(key) or self.put(key, draw())

    def __len__(self) -> int:
        """How many bodies are kept."""
        return len(self._things)

    @staticmethod
    def _cost(drawn: Drawn) -> int:
        # The key, the validator and the entry weigh about this much beside the body.
        return len(drawn.body) + 400

"""The local sink 本地收件箱: keeps what would go out in a folder of this machine, a file a message, for the demo.

The key is the file's name, so that the same message again is the same file. Addresses are kept masked.
"""

import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

import orjson

from hotline.outward.adapters import Outgoing, Sent, shown

#: Messages that are kept; older ones go when new ones come.
KEPT = 2000
_FILE = re.compile(r"[0-9a-f]{32}\.json")


@dataclass(frozen=True, slots=True)
class Caught:
    """One message in the sink."""

    key: uuid.UUID
    at: datetime
    channel: str
    #: Masked.
    address: str
    subject: str
    text: str
    topic: str
    number: str


class Sink:
    """Takes the messages of one channel."""

    def __init__(self, name: str, folder: Path, *, clock: Callable[[], datetime]) -> None:
        """folder: made at the first message, readable by nobody else. clock: aware."""
        self.name = name
        self._folder = folder
        self._clock = clock

    def send(self, message: Outgoing) -> Sent:
        """Keep one message, once for its key."""
        district = str(message.extra.get("district") or "")
        folder = self._folder / district if re.fullmatch(r"\d{6}", district) else self._folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{message.key.hex}.json"
        told = {
            "key": str(message.key),
            "at": self._clock().isoformat(),
            "channel": self.name,
            "address": shown(self.name, message.address),
            "subject": message.subject,
            "text": message.text,
            "topic": str(message.extra.get("topic") or ""),
            "number": str(message.extra.get("number") or ""),
        }
        if not path.exists():
            making = path.with_suffix(f".{os.getpid()}")
            making.write_bytes(orjson.dumps(told))
            making.chmod(0o600)
            making.replace(path)
            for old in islice(_newest(folder), KEPT, None):
                old.unlink(missing_ok=True)
        return Sent(message.key.hex[-8:])


def caught(folder: Path, district: str, *, channel: str = "", most: int = 200) -> list[Caught]:
    """Return what lies in the sink for a district, newest first."""
    found: list[Caught] = []
    for path in _newest(folder / district):
        try:
            told = orjson.loads(path.read_bytes())
            one = Caught(**told | {"key": uuid.UUID(told["key"]), "at": datetime.fromisoformat(told["at"])})
        except (OSError, ValueError, TypeError, KeyError):
            # Swept away meanwhile, or no message of ours.
            continue
        if not channel or one.channel == channel:
            found.append(one)
        if len(found) >= most:
            break
    return found


def _newest(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return iter(())
    # Keys rise with time (UUIDv7).
    names = sorted((path.name for path in folder.iterdir() if _FILE.fullmatch(path.name)), reverse=True)
    return (folder / name for name in names)

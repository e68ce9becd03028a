"""Bytes that a phone sends ahead of its actions 待传文件: pieces that arrive at any speed, and whole files that wait.

A piece lies under the hash that the whole must have, in a folder of its account, and grows from wherever the line
broke. A whole file waits re-encoded until an action names it, and only then goes to the store of photos, so that what
nobody ever named can be swept without asking any case. Knows no table.
"""

import os
import re
import uuid
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

from api.errors import TooLarge, Unprovable
from api.photos import FolderStore, Photo, read_photo, store
from api.security import RAW_PHOTO_LIMIT
from core.errors import NotFound
from core.settings import settings

KEY: Final = re.compile(r"[0-9a-f]{64}")
#: Two minutes of speech are some 500 KB.
VOICE_LIMIT: Final = 2 * 2**20
#: What a recording begins with: WebM (EBML), Ogg, and MP4 as iPhones record it.
_EBML, _OGG, _MP4 = b"\x1a\x45\xdf\xa3", b"OggS", (b"M4A ", b"mp41", b"mp42", b"isom", b"iso5", b"iso2", b"dash")


def _folder(account: uuid.UUID) -> Path:
    return settings().var / "uploads-waiting" / account.hex


class Piece:
    """A file that is on its way, as far as it came."""

    def __init__(self, account: uuid.UUID, key: str) -> None:
        if not KEY.fullmatch(key):
            raise NotFound("A photo is named by the SHA-256 of its bytes, in hex.", field="key")
        self._key = key
        self._path = _folder(account) / f"{key}.part"

    @property
    def size(self) -> int:
        """How many bytes have arrived."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def open(self) -> int:
        """Return a file descriptor to write at any place; the caller closes it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)

    def whole(self) -> bytes | None:
        """Return the bytes if they are those of the hash, else None."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            data = b""
        return data if sha256(data).hexdigest() == self._key else None

    def drop(self) -> None:
        """Throw away what arrived."""
        with suppress(FileNotFoundError):
            self._path.unlink()


def read(data: bytes) -> tuple[str, Photo | None, str]:
    """Return what somebody sent: (photo, the photo, its type) or (voice, None, its type).

    Raises TooLarge and Unprovable in the sender's words for what is neither.
    """
    spoken = _voice_type(data)
    if spoken:
        if len(data) > VOICE_LIMIT:
            raise TooLarge("A voice note may have at most {n} MB.", field="voice", n=VOICE_LIMIT // 2**20)
        return "voice", None, spoken
    if data[4:8] == b"ftyp" and data[8:12] not in (b"heic", b"heix", b"mif1", b"msf1", b"heim", b"heis", b"avif"):
        raise Unprovable("This is a video; send a photo or a voice note.", field="photo")
    photo = read_photo(data, most=RAW_PHOTO_LIMIT, heic=True)
    return "photo", photo, photo.media_type


def _voice_type(data: bytes) -> str:
    """Return the type of a recording, empty for none; a video in the same wrapping is none."""
    head = data[:4096]
    if data.startswith(_EBML) and b"webm" in head:
        return "" if b"V_VP" in head or b"V_AV1" in head else "audio/webm"
    if data.startswith(_OGG):
        return "" if b"theora" in head else "audio/ogg"
    if data[4:8] == b"ftyp" and data[8:12] in _MP4 and b"vide" not in data:
        return "audio/mp4"
    return ""


def keep(account: uuid.UUID, digest: str, data: bytes) -> None:
    """Keep whole bytes under their hash until an action names them."""
    FolderStore(_folder(account)).put(digest, data)


def hand_over(account: uuid.UUID, digest: str) -> bool:
    """Put waiting bytes into the store of photos; False where they are neither there nor here any more."""
    try:
        data = FolderStore(_folder(account)).get(digest)
    except NotFound:
        # Named before, by this action or another one.
        try:
            store().get(digest)
        except NotFound:
            return False
        return True
    store().put(digest, data)
    return True


def sweep(*, before: datetime) -> int:
    """Delete what began to wait before a moment, and return how many files."""
    gone = 0
    for path in (settings().var / "uploads-waiting").rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file() and path.stat().st_mtime < before.timestamp():
                path.unlink()
                gone += 1
    return gone


#: How long bytes wait: a little longer than their rows.
KEEP: Final = timedelta(days=42)

"""Photos 照片: what is let in, how it is re-encoded, and the store that keeps the bytes under their hash.

A photo is opened as one of three formats (four, where HEIC is let in) or not at all, is measured before it is decoded,
loses every byte that is not a pixel (EXIF after its position was read), and is written anew as JPEG. Knows no case;
`dispatch.attachments` does.
"""

import io
import math
import os
import tempfile
import warnings
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import pi_heif
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from api.errors import TooLarge, Unprovable
from api.security import PHOTO_LIMIT
from core.errors import NotFound
from core.settings import settings

FORMATS = ("JPEG", "PNG", "WEBP")
#: A phone's photo has 12 to 50 megapixels; a bomb has thousands.
_MOST_PIXELS = 64_000_000
#: Longest side kept: enough to read a sign in the background.
_SIDE = 2048


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo re-encoded by us."""

    data: bytes
    sha256: str
    width: int
    height: int
    #: WGS84, lon lat, where the phone wrote it.
    position: tuple[float, float] | None = None
    media_type: str = "image/jpeg"


def read_photo(given: bytes, *, most: int = PHOTO_LIMIT, heic: bool = False) -> Photo:
    """Return a photo from what somebody sent.

    most: bytes. heic: whether HEIC is taken, too; libheif then reads what comes from staff, never from strangers.
    Raises TooLarge over `most` or 64 megapixels, Unprovable for anything that is no JPEG, PNG or WebP picture.
    """
    if len(given) > most:
        raise TooLarge("A photo may have at most {n} MB.", field="photo", n=most // 2**20)
    formats: tuple[str, ...] = FORMATS
    if heic and given[4:8] == b"ftyp":
        _let_heic_in()
        formats = ("HEIF",)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(given), formats=formats)
            if picture.width * picture.height > _MOST_PIXELS:
                raise TooLarge("This picture has more pixels than any camera makes.", field="photo")
            position = _position(picture)
            # Shrinks while decoding, where the format can: less memory for a large photo.
            picture.draft("RGB", (_SIDE, _SIDE))
            picture.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge("This picture has more pixels than any camera makes.", field="photo") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        raise Unprovable("This file is not a photo that can be read.", field="photo") from error
    upright = ImageOps.exif_transpose(picture)
    upright.thumbnail((_SIDE, _SIDE))
    flat = Image.new("RGB", upright.size, "white")
    flat.paste(upright.convert("RGBA"), mask=upright.convert("RGBA").getchannel("A"))
    out = io.BytesIO()
    flat.save(out, "JPEG", quality=85, optimize=True)
    data = out.getvalue()
    return Photo(data, sha256(data).hexdigest(), flat.width, flat.height, position)


@cache
def _let_heic_in() -> None:
    """Teach Pillow to open HEIC; the size is checked above, before anything is decoded."""
    pi_heif.register_heif_opener(thumbnails=False)


def _position(picture: Image.Image) -> tuple[float, float] | None:
    """Return where the phone says that it was; None where it says nothing that makes sense."""
    try:
        tags = picture.getexif().get_ifd(ExifTags.IFD.GPSInfo)
        lat = _degrees(tags[ExifTags.GPS.GPSLatitude]) * (-1 if tags[ExifTags.GPS.GPSLatitudeRef] == "S" else 1)
        lng = _degrees(tags[ExifTags.GPS.GPSLongitude]) * (-1 if tags[ExifTags.GPS.GPSLongitudeRef] == "W" else 1)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OSError, SyntaxError, EOFError):
        return None
    return (lng, lat) if math.isfinite(lng) and math.isfinite(lat) and (lng or lat) else None


def _degrees(parts: tuple[float, float, float]) -> float:
    degrees, minutes, seconds = (float(part) for part in parts)
    return degrees + minutes / 60 + seconds / 3600


class Store(Protocol):
    """Keeps bytes under their hash."""

    def put(self, digest: str, data: bytes) -> None:
        """Keep bytes; keeping them twice is no error."""

    def get(self, digest: str) -> bytes:
        """Return the bytes; raises NotFound."""


class FolderStore:
    """A store in a folder of this machine, two levels deep by hash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, digest: str) -> Path:
        if len(digest) != 64 or not digest.isalnum():
            raise NotFound("This photo is not there.")
        return self._folder / digest[:2] / digest[2:4] / digest

    def put(self, digest: str, data: bytes) -> None:
        """Write beside the final name, flush to the disk, then rename: a file that is there is whole."""
        path = self._path(digest)
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".making-", delete=False) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).rename(path)

    def get(self, digest: str) -> bytes:
        """Return the bytes; raises NotFound."""
        try:
            return self._path(digest).read_bytes()
        except FileNotFoundError as error:
            raise NotFound("This photo is not there.") from error


@cache
def store() -> Store:
    """Return the store of this installation: `var/uploads`."""
    return FolderStore(settings().var / "uploads")

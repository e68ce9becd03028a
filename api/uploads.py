"""Uploads of materials 材料附件: which files are let in, and how their bytes are kept beside the photos.

A picture is re-encoded as every photo is. A PDF is kept as it came, for a signed one must stay as it was signed; it is
never opened here, and pages hand it out as a file to be saved. Knows no application.
"""

from hashlib import sha256
from typing import Final

from api.errors import TooLarge, Unprovable
from api.photos import read_photo, store
from dispatch.items.filed import Upload

#: Most bytes of one file.
LIMIT: Final = 10 * 2**20
_HEAD, _END = b"%PDF-", b"%%EOF"
#: Within how many bytes of its beginning and end a PDF names itself (ISO 32000, implementation notes).
_NEAR = 1024
#: PDF that runs programs or carries other files has no business in an application.
_ACTIVE: Final = (b"/JavaScript", b"/JS ", b"/JS(", b"/Launch", b"/EmbeddedFile", b"/RichMedia")


def keep(data: bytes, name: str = "") -> Upload:
    """Check a file, keep its bytes under their hash, and return what is hung on a material.

    Raises TooLarge over 10 MB, Unprovable for anything that is no PDF, JPEG, PNG or WebP, and for a PDF that carries
    programs or files.
    """
    if len(data) > LIMIT:
        raise TooLarge("A file may have at most {n} MB.", field="file", n=LIMIT // 2**20)
    if not data:
        raise Unprovable("This file is empty.", field="file")
    if _HEAD in data[:_NEAR]:
        if _END not in data[-_NEAR:]:
            raise Unprovable("This PDF is cut off or damaged.", field="file")
        if any(mark in data for mark in _ACTIVE):
            raise Unprovable("This PDF carries programs or other files; print it to a plain PDF first.", field="file")
        kept, media_type = data, "application/pdf"
    else:
        photo = read_photo(data)
        kept, media_type = photo.data, photo.media_type
    digest = sha256(kept).hexdigest()
    store().put(digest, kept)
    return Upload(digest, media_type, len(kept), plain_name(name))


def read(upload: Upload) -> bytes:
    """Return the bytes of a kept file; raises NotFound."""
    return store().get(upload.sha256)


def plain_name(name: str) -> str:
    """Return a file's name without folders and characters that cannot be read, at most 120 characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in last if letter.isprintable())[-120:]

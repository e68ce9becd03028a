"""Personal data at rest: encrypted fields with a keyed blind index; knows keys and bytes, not whose they are."""

import hmac
import os
from functools import cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import Invalid, Unavailable
from core.settings import settings


@cache
def derived_key(purpose: str) -> bytes:
    """Return the 32-byte key of one purpose, derived from the installation's secret (HKDF-SHA256, RFC 5869).

    Raises Unavailable when no secret of at least 32 hexadecimal digits is set.
    """
    secret = settings().secret.get_secret_value()
    try:
        material = bytes.fromhex(secret)
    except ValueError:
        material = b""
    if len(material) < 16:
        raise Unavailable("The installation has no secret; set WANGGE_SECRET to 64 hexadecimal digits.")
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"wangge/{purpose}".encode()).derive(material)


def seal(text: str, *, context: str, salt: bytes | None = None) -> bytes:
    """Return text encrypted with AES-256-GCM: 12 bytes nonce, then ciphertext and tag; `context` must match to open.

    salt: 16 random bytes of the text's subject; when they are erased, nobody can open it any more.
    """
    nonce = os.urandom(12)
    return nonce + AESGCM(_field_key(salt)).encrypt(nonce, text.encode(), context.encode())


def unseal(sealed: bytes, *, context: str, salt: bytes | None = None) -> str:
    """Return the text of a sealed field; raises Invalid when it was changed or belongs to another context or salt."""
    try:
        return AESGCM(_field_key(salt)).decrypt(sealed[:12], sealed[12:], context.encode()).decode()
    except InvalidTag as error:
        raise Invalid("A protected field was changed and cannot be read.") from error


def _field_key(salt: bytes | None) -> bytes:
    return derived_key("field") if salt is None else hmac.digest(derived_key("salted"), salt, "sha256")


def blind_index(value: str, *, context: str) -> bytes:
    """Return 16 bytes that are equal for equal values and tell nothing without the key; for look-up by phone."""
    return hmac.digest(derived_key("index"), f"{context}\x1f{value}".encode(), "sha256")[:16]

"""Identifiers: UUIDv7 keys made by the application, and the check character of numbers that people say aloud."""

import os
import threading
import time
import uuid

_lock = threading.Lock()
_last = 0


def new_id() -> uuid.UUID:
    """Return a UUIDv7 that sorts after every one this process made before.

    48 bits of Unix milliseconds, then a 12-bit counter within the millisecond (RFC 9562, method 1), then
    62 random bits.
    """
    global _last  # noqa: PLW0603  monotonic within the process is the point
    with _lock:
        stamp = time.time_ns() // 1_000_000 << 12
        _last = max(stamp, _last + 1)
        high = _last
    rand = int.from_bytes(os.urandom(8), "big") & (1 << 62) - 1
    return uuid.UUID(int=(high >> 12) << 80 | 0x7 << 76 | (high & 0xFFF) << 64 | 0b10 << 62 | rand)


def check_character(digits: str) -> str:
    """Return the ISO 7064 MOD 11-2 check character (0-9 or X) of a string of digits.

    It is the check that Chinese identity numbers use (GB 11643), so that clerks know it; it finds every single wrong
    digit and every swap of neighbours.
    """
    total = 0
    for digit in digits:
        total = (total + int(digit)) * 2 % 11
    return "0123456789X"[(12 - total) % 11]


def is_checked(number: str) -> bool:
    """Return whether a number ends with its right check character; False for anything that is not such a number."""
    body, check = number[:-1], number[-1:]
    return body.isascii() and body.isdigit() and check_character(body) == check.upper()

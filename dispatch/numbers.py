"""The number that people say aloud 案件编号: date, running number, check character; taken in blocks per process."""

import os
import threading
from datetime import date, datetime

from sqlalchemy import text

from core.actor import system
from core.crypto import blind_index
from core.db import transaction
from core.ids import check_character
from dispatch.calendar import china_time

#: Digits of the running number: a million cases a day in one district.
_DIGITS = 6
#: Numbers that one process takes at a time; what it does not use by midnight or at its end are gaps, which are fine.
_BLOCK = 200


class Numbers:
    """Hands out case numbers of one district; safe to share between threads.

    A block is reserved in a transaction of its own, so that intake never waits on the counter row.
    """

    def __init__(self, district: str) -> None:
        self._district = district
        self._lock = threading.Lock()
        self._day: date | None = None
        self._next = self._end = 0
        self._pid = os.getpid()

    def take(self, at: datetime) -> str:
        """Return the next number of the day that `at` (aware) falls on in China, e.g. `20261121000042X`."""
        day = china_time(at).date()
        with self._lock:
            # A forked process has its parent's block in memory and must not hand the same numbers out again.
            if day != self._day or self._next >= self._end or self._pid != os.getpid():
                self._pid = os.getpid()
                self._end = self._reserve(day)
                self._next = self._end - _BLOCK
                self._day = day
            running = self._next
            self._next += 1
        digits = f"{day:%Y%m%d}{running:0{_DIGITS}d}"
        return digits + check_character(digits)

    def _reserve(self, day: date) -> int:
        with transaction(system(self._district, "numbers")) as session:
            end: int = session.execute(
                text(
                    "INSERT INTO number_block (district_code, day, next) VALUES (:d, :day, 1 + :n) "
                    "ON CONFLICT (district_code, day) DO UPDATE SET next = number_block.next + :n RETURNING next"
                ),
                {"d": self._district, "day": day, "n": _BLOCK},
            ).scalar_one()
        return end


def spoken(number: str) -> str:
    """Return a case number in groups that can be read over the telephone: `2026 1121 000042 X`."""
    return f"{number[:4]} {number[4:8]} {number[8:-1]} {number[-1:]}"


#: Without 0/O, 1/I/L and the like: read aloud, written by hand, typed by the elderly.
_LETTERS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"


def access_code(number: str) -> str:
    """Return the six characters on the receipt that open the reporter's own view of a case.

    Derived from the number and the installation's secret, so that a repeated submission prints the same receipt.
    """
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in blind_index(number, context="access-code")[:6])


def access_hash(number: str, code: str) -> bytes:
    """Return what is stored of an access code; typed codes are compared by it, in any case and spacing."""
    return blind_index(f"{number}:{code.strip().upper()}", context="access")

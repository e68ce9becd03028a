"""Personal data of the registers as it is stored: sealed fields, what finds them, and a history that dies with its row.

Contexts differ from those of cases and applications on purpose: two registers cannot be joined by a number without
the key, and somebody's complaint does not lead to the own entry.
"""

import os
import re
import unicodedata
from functools import lru_cache
from typing import Final

from pypinyin import lazy_pinyin

from core import documents
from core.crypto import blind_index, seal, unseal
from core.errors import Invalid

#: What each kind of sealed field was sealed as; one of a kind cannot be opened as another.
CONTEXTS: Final = {"name": "register.name", "id_number": "register.id_number", "phone": "register.phone"}
_HISTORY: Final = "register.history"
#: Surnames that are read otherwise than the same character elsewhere.
_SURNAMES: Final = {
    "单": "shan", "曾": "zeng", "解": "xie", "仇": "qiu", "区": "ou", "查": "zha", "朴": "piao", "盖": "ge",
    "翟": "zhai", "覃": "qin", "缪": "miao", "乐": "yue", "尉": "wei", "任": "ren", "华": "hua", "种": "chong",
}  # fmt: skip
#: Fewer characters would find half a district.
SHORTEST_NAME: Final = 2
_LONGEST_BEGINNING: Final = 4


def new_salt() -> bytes:
    """Return the 16 random bytes that a row's history is sealed with."""
    return os.urandom(16)


def sealed(kind: str, value: str) -> bytes | None:
    """Return a value of a kind of CONTEXTS sealed; None for an empty one."""
    return seal(value, context=CONTEXTS[kind]) if value else None


def unsealed(kind: str, stored: bytes | None) -> str:
    """Return a sealed value, empty for none; raises Invalid when it was changed."""
    return unseal(bytes(stored), context=CONTEXTS[kind]) if stored is not None else ""


def id_index(number: str) -> bytes:
    """Return what finds a resident by an identity number, in any spacing."""
    return blind_index(documents.plain(number), context=CONTEXTS["id_number"])


def phone_index(phone: str) -> bytes:
    """Return what finds a row by a telephone number: its digits, without the country's prefix."""
    digits = re.sub(r"\D", "", phone)
    return blind_index(digits.removeprefix("86") if len(digits) == 13 else digits, context=CONTEXTS["phone"])


def history_sealed(data: str, salt: bytes) -> bytes:
    """Return words of a row's history sealed with the row's salt: unreadable once the row is erased."""
    return seal(data, context=_HISTORY, salt=salt)


def history_unsealed(stored: bytes, salt: bytes) -> str:
    """Return words of a row's history; raises Invalid with another salt."""
    return unseal(bytes(stored), context=_HISTORY, salt=bytes(salt))


def plain_name(name: str) -> str:
    """Return a name as it is compared: full width made narrow, without spaces and dots, small letters."""
    return re.sub(r"[\s·•・.]", "", unicodedata.normalize("NFKC", name)).lower()


def name_terms(name: str) -> list[int]:
    """Return the keyed hashes that find a name: its beginnings of two to four characters, whole, and in pinyin.

    张小明 is found by 张小, 张小明, zhangxiao, zhangxiaoming and zxm. Signed 64-bit numbers, ascending.
    """
    return sorted({_term(word) for word in _beginnings(plain_name(name))})


def asked_term(words: str) -> int:
    """Return the hash that rows are looked up by for words that somebody typed; raises Invalid for too short ones."""
    plain = plain_name(words)
    if len(plain) < SHORTEST_NAME:
        raise Invalid("Type at least two characters of the name, or its pinyin.", field="name")
    return _term(plain[:40])


def _beginnings(plain: str) -> set[str]:
    found = {plain[:n] for n in range(SHORTEST_NAME, min(len(plain), _LONGEST_BEGINNING) + 1)} | {plain}
    if any("\u4e00" <= sign <= "\u9fff" for sign in plain):
        read = [_read(sign) for sign in plain]
        read[0] = _SURNAMES.get(plain[0], read[0])
        found |= {"".join(read[:n]) for n in range(SHORTEST_NAME, len(read) + 1)}
        found |= {"".join(one[:1] for one in read)}
    return {word for word in found if len(word) >= SHORTEST_NAME}


@lru_cache(maxsize=20_000)
def _read(sign: str) -> str:
    return lazy_pinyin(sign)[0]


def _term(word: str) -> int:
    return int.from_bytes(blind_index(word, context=CONTEXTS["name"])[:8], signed=True)

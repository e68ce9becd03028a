"""Numbers that people and firms are known by: identity cards, passports, unified credit codes, telephones.

Knows their plain form, their check characters (GB 11643, GB 32100) and how they are shown to somebody who gave no
reason. Stores nothing and knows nobody.
"""

import re
from datetime import date

from core.errors import Invalid

_PHONE = re.compile(r"\+?[0-9][0-9 \-]{5,19}")
_CARD = re.compile(r"[0-9]{17}[0-9X]")
#: Passports and travel permits have no check character that could be known here.
_OTHER = re.compile(r"[A-Z]{1,3}[0-9]{6,10}")
_CARD_WEIGHTS = tuple(pow(2, 17 - i, 11) for i in range(17))
_CREDIT_LETTERS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT_WEIGHTS = tuple(pow(3, i, 31) for i in range(17))
#: Nobody alive was born before.
_FIRST_YEAR = 1850


def plain(number: str) -> str:
    """Return a number as it is compared: capitals, without spaces and dashes."""
    return re.sub(r"[\s\-]", "", number).upper()


def is_card(number: str) -> bool:
    """Return whether a plain number is one of an identity card, with the right check and a possible day of birth."""
    return bool(_CARD.fullmatch(number)) and number[-1] == card_check(number[:17]) and born(number) is not None


def is_other_document(number: str) -> bool:
    """Return whether a plain number may be one of a passport or travel permit."""
    return bool(_OTHER.fullmatch(number))


def is_credit_code(number: str) -> bool:
    """Return whether a plain number is a unified credit code with the right check (GB 32100)."""
    return len(number) == 18 and set(number) <= set(_CREDIT_LETTERS) and number[-1] == credit_check(number[:17])


def is_phone(number: str) -> bool:
    """Return whether a text is a telephone number: digits, perhaps with spaces, dashes and a country's prefix."""
    return bool(_PHONE.fullmatch(number))


def card_check(digits: str) -> str:
    """Return the check character of an identity card's first 17 digits (GB 11643, ISO 7064 MOD 11-2)."""
    total = sum(int(digit) * weight for digit, weight in zip(digits, _CARD_WEIGHTS, strict=True))
    return "10X98765432"[total % 11]


def credit_check(letters: str) -> str:
    """Return the check character of a unified credit code's first 17 characters (GB 32100)."""
    total = sum(_CREDIT_LETTERS.index(one) * weight for one, weight in zip(letters, _CREDIT_WEIGHTS, strict=True))
    return _CREDIT_LETTERS[-total % 31]


def born(card: str) -> date | None:
    """Return the day of birth that an identity card's number says; None for a day that cannot be."""
    try:
        day = date(int(card[6:10]), int(card[10:12]), int(card[12:14]))
    except ValueError:
        return None
    return day if day.year >= _FIRST_YEAR else None


def sex(card: str) -> str:
    """Return m or f as the 17th digit of an identity card's number says."""
    return "m" if int(card[16]) % 2 else "f"


def agree(card: str, *, birth_date: date | None, sex_given: str) -> None:
    """Raise Invalid, naming the field, where a day of birth or sex does not fit an identity card's number."""
    if birth_date is not None and born(card) != birth_date:
        raise Invalid("The day of birth and the identity number do not agree.", field="birth_date")
    if sex_given and sex(card) != sex_given:
        raise Invalid("The sex and the identity number do not agree.", field="sex")


def masked(field: str, value: str) -> str:
    """Return a value as it is shown to somebody who gave no reason: `张**`, `138****1234`, `4406**********1234`.

    A name keeps its first character; a telephone its last four digits, and its first three where it has eleven or
    more; an identity number four at each end where it has eighteen, else one and two; a day its year; anything else
    nothing.
    """
    if not value:
        return ""
    if field == "name":
        return value[:1] + "*" * max(1, min(len(value) - 1, 2))
    if field == "phone":
        return _ends(value, 3 if len(value) >= 11 else 0, 4 if len(value) >= 7 else 0)
    if field == "id_number":
        return _ends(value, 4, 4) if len(value) >= 18 else _ends(value, *((1, 2) if len(value) >= 7 else (0, 0)))
    if field == "day":
        return value[:4] + "-**-**"
    return "*" * min(len(value), 6)


def _ends(value: str, first: int, last: int) -> str:
    return value[:first] + "*" * (len(value) - first - last) + (value[-last:] if last else "")

"""Who applies 申请人: numbers of identity documents as they are checked, and personal data as it is sealed.

Knows the check characters of GB 11643 (identity cards) and GB 32100 (unified credit codes). Stores nothing.
"""

import re
from dataclasses import dataclass
from datetime import date

from core.crypto import blind_index, seal
from core.errors import Invalid
from dispatch.opening import Sealed

KINDS = ("person", "organisation")
#: What each sealed field was sealed as; a field of one kind cannot be opened as another.
CONTEXTS = {
    "id_number": "application.id",
    "agent_name": "application.agent_name",
    "agent_phone": "application.agent_phone",
}
_PHONE = re.compile(r"\+?[0-9][0-9 \-]{5,19}")
_CARD = re.compile(r"[0-9]{17}[0-9X]")
#: Passports and travel permits have no check character that could be known here.
_OTHER = re.compile(r"[A-Z]{1,3}[0-9]{6,10}")
_CARD_WEIGHTS = tuple(pow(2, 17 - i, 11) for i in range(17))
_CREDIT_LETTERS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT_WEIGHTS = tuple(pow(3, i, 31) for i in range(17))
_LONGEST_NAME = {"person": 50, "organisation": 100}


@dataclass(frozen=True, slots=True)
class Applicant:
    """申请人, as given."""

    #: person 自然人 or organisation 法人.
    kind: str
    name: str
    phone: str
    #: Identity card, passport or unified credit code.
    id_number: str


@dataclass(frozen=True, slots=True)
class Agent:
    """代办人: who acts for the applicant, with an authorisation among the materials."""

    name: str
    phone: str


@dataclass(frozen=True, slots=True)
class SealedApplicant:
    """An applicant as stored."""

    kind: str
    #: For the case's report, as of every reporter.
    reporter: Sealed
    id_sealed: bytes
    id_index: bytes


def sealed(applicant: Applicant) -> SealedApplicant:
    """Return an applicant checked and sealed; raises Invalid that names the field."""
    if applicant.kind not in KINDS:
        raise Invalid("An applicant is a person or an organisation.", field="kind")
    name = checked_name(applicant.name, field="name", most=_LONGEST_NAME[applicant.kind])
    phone = checked_phone(applicant.phone, field="phone")
    number = checked_id(applicant.kind, applicant.id_number)
    return SealedApplicant(
        applicant.kind,
        Sealed(
            name=seal(name, context="report.name"),
            phone=seal(phone, context="report.phone"),
            phone_index=blind_index(re.sub(r"\D", "", phone), context="phone"),
        ),
        seal(number, context=CONTEXTS["id_number"]),
        id_index(number),
    )


def id_index(number: str) -> bytes:
    """Return what finds the applications of the same identity number; equal for equal numbers, in any spacing."""
    return blind_index(_plain(number), context="id")


def checked_name(name: str, *, field: str, most: int = 50) -> str:
    """Return a name without surrounding space; raises Invalid for an empty, overlong or unreadable one."""
    plain = name.strip()
    if not plain or len(plain) > most or not plain.isprintable():
        raise Invalid("A name is needed, of at most {n} characters.", field=field, n=most)
    return plain


def checked_phone(phone: str, *, field: str) -> str:
    """Return a telephone number; raises Invalid."""
    plain = phone.strip()
    if not _PHONE.fullmatch(plain):
        raise Invalid("This is not a telephone number.", field=field)
    return plain


def checked_id(kind: str, number: str) -> str:
    """Return a number of an identity document in its plain form; raises Invalid where its check character is wrong."""
    plain = _plain(number)
    if kind == "organisation":
        fits = len(plain) == 18 and set(plain) <= set(_CREDIT_LETTERS) and plain[-1] == credit_check(plain[:17])
        if not fits:
            raise Invalid("This is not a unified credit code.", field="id_number")
        return plain
    if _OTHER.fullmatch(plain):
        return plain
    if not _CARD.fullmatch(plain) or plain[-1] != card_check(plain[:17]) or not _born(plain):
        raise Invalid("This is not a number of an identity card or passport.", field="id_number")
    return plain


def card_check(digits: str) -> str:
    """Return the check character of an identity card's first 17 digits (GB 11643, ISO 7064 MOD 11-2)."""
    total = sum(int(digit) * weight for digit, weight in zip(digits, _CARD_WEIGHTS, strict=True))
    return "10X98765432"[total % 11]


def credit_check(letters: str) -> str:
    """Return the check character of a unified credit code's first 17 characters (GB 32100)."""
    total = sum(_CREDIT_LETTERS.index(one) * weight for one, weight in zip(letters, _CREDIT_WEIGHTS, strict=True))
    return _CREDIT_LETTERS[-total % 31]


def _born(number: str) -> bool:
    try:
        return date(int(number[6:10]), int(number[10:12]), int(number[12:14])).year >= 1850
    except ValueError:
        return False


def _plain(number: str) -> str:
    return re.sub(r"[\s\-]", "", number).upper()

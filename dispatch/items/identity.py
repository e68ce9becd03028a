"""Who applies 申请人: numbers of identity documents as they are checked, and personal data as it is sealed.

The numbers themselves are `core.documents`'s. Stores nothing.
"""

import re
from dataclasses import dataclass

from core import documents
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
    return blind_index(documents.plain(number), context="id")


def checked_name(name: str, *, field: str, most: int = 50) -> str:
    """Return a name without surrounding space; raises Invalid for an empty, overlong or unreadable one."""
    plain = name.strip()
    if not plain or len(plain) > most or not plain.isprintable():
        raise Invalid("A name is needed, of at most {n} characters.", field=field, n=most)
    return plain


def checked_phone(phone: str, *, field: str) -> str:
    """Return a telephone number; raises Invalid."""
    number = phone.strip()
    if not documents.is_phone(number):
        raise Invalid("This is not a telephone number.", field=field)
    return number


def checked_id(kind: str, number: str) -> str:
    """Return a number of an identity document in its plain form; raises Invalid where its check character is wrong."""
    found = documents.plain(number)
    if kind == "organisation":
        if not documents.is_credit_code(found):
            raise Invalid("This is not a unified credit code.", field="id_number")
    elif not documents.is_other_document(found) and not documents.is_card(found):
        raise Invalid("This is not a number of an identity card or passport.", field="id_number")
    return found

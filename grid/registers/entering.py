"""What people type into a register, made into plain values or refused: numbers with their checks, days, choices.

Plain values are what JSON holds: texts, whole numbers, days as `2026-11-22`, lists of codes. Writes nothing.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

from core import documents
from core.errors import Invalid
from grid.registers.fields import REGISTERS, Field, Register

_PHONES = {"phone", "landlord_phone"}


def checked(register: str, given: Mapping[str, Any], *, today: date, partial: bool = False) -> dict[str, Any]:
    """Return the fields that were given as plain values; an empty one is there and empty.

    given: field → text, or a list for flags. partial: only some fields are given, as for a change; else those that
    are needed must be among them. today: no birth and no inspection is later. Raises Invalid that names the field.
    """
    known = REGISTERS[register]
    clean: dict[str, Any] = {}
    for name, value in given.items():
        asked = known.field(name)
        if asked is None or not asked.form:
            raise Invalid("There is no field {name}.", field=name[:40], name=name[:40])
        clean[name] = _plain(asked, value)
    for asked in known.fields:
        looked_at = asked.name in clean if partial else asked.form
        if asked.needed and looked_at and clean.get(asked.name) in ("", None):
            raise Invalid("{name} is needed.", field=asked.name, name=asked.label)
    _days_that_can_be(known, clean, today)
    if not partial and register == "resident":
        agree(clean)
    return clean


def agree(person: dict[str, Any]) -> None:
    """Fill day of birth and sex from an identity card's number, or raise Invalid where they do not agree with it."""
    number = person.get("id_number", "")
    if not documents.is_card(number):
        return
    given = person.get("birth_date")
    birth = date.fromisoformat(given) if given else None
    documents.agree(number, birth_date=birth, sex_given=person.get("sex", ""))
    born = documents.born(number)
    person["birth_date"] = born.isoformat() if born else None
    person["sex"] = documents.sex(number)


def _plain(asked: Field, value: Any) -> Any:
    if asked.kind == "flags":
        return _flags(asked, value)
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise Invalid("{name} is too long or not text.", field=asked.name, name=asked.label)
    text = str(value).strip()
    if asked.kind == "count":
        return _count(asked, text)
    if len(text) > asked.most or not text.isprintable():
        raise Invalid("{name} is too long or not text.", field=asked.name, name=asked.label)
    if asked.kind == "day":
        return _day(asked, text)
    if asked.kind == "choice" and text and text not in asked.choices:
        raise Invalid(
            "{value} is not among the choices of {name}.", field=asked.name, value=text[:40], name=asked.label
        )
    return _number(asked, text) if text else ""


def _number(asked: Field, text: str) -> str:
    """Return names and numbers of people and firms in their plain form; raises Invalid where a check is wrong."""
    if asked.name == "id_number":
        number = documents.plain(text)
        if not documents.is_card(number) and not documents.is_other_document(number):
            raise Invalid("This is not a number of an identity card or passport.", field=asked.name)
        return number
    if asked.name in _PHONES and not documents.is_phone(text):
        raise Invalid("This is not a telephone number.", field=asked.name)
    if asked.name == "credit_code":
        number = documents.plain(text)
        if not documents.is_credit_code(number):
            raise Invalid("This is not a unified credit code.", field=asked.name)
        return number
    return text


def _flags(asked: Field, value: Any) -> list[str]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list | tuple | set) or not all(isinstance(one, str) for one in found):
        raise Invalid("{name} is a list.", field=asked.name, name=asked.label)
    chosen = {one for one in found if one}
    for one in chosen - asked.choices.keys():
        raise Invalid("{value} is not among the choices of {name}.", field=asked.name, value=one[:40], name=asked.label)
    return sorted(chosen)


def _count(asked: Field, text: str) -> int | None:
    if not text:
        return None
    digits = text.removeprefix("-")
    # Cellars lie below the ground floor; nothing else is counted below zero.
    least = -10 if asked.name == "floor" else 0
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10 and least <= int(text) <= asked.most):
        raise Invalid("{name} is a whole number, at most {most}.", field=asked.name, name=asked.label, most=asked.most)
    return int(text)


def _day(asked: Field, text: str) -> str | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise Invalid("{day} is no date; write 2026-11-21.", field=asked.name, day=text[:20]) from error


def _days_that_can_be(known: Register, clean: Mapping[str, Any], today: date) -> None:
    for name in ("birth_date", "inspected_on", "checked_on", "installed_on"):
        if clean.get(name) and clean[name] > today.isoformat():
            asked = known.field(name)
            raise Invalid("{name} lies in the future.", field=name, name=asked.label if asked else name)
    if clean.get("birth_date") and clean["birth_date"] < "1850":
        raise Invalid("Nobody born then is alive.", field="birth_date")
    if clean.get("lease_from") and clean.get("lease_to") and clean["lease_to"] < clean["lease_from"]:
        raise Invalid("The end must come after the beginning.", field="lease_to")

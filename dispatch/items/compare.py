"""Two sheets side by side: which members differ, with materials matched by code. Pure; knows no database.

S0 and S2 ask that an item be the same in every town (无差别): `across` compares what towns publish with the district's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dispatch.items.sheet import NAMES, Sheet

#: Lists whose rows are matched by a member rather than by their place.
_KEYS: Final[Mapping[str, str]] = {
    "materials": "code",
    "pick_ups": "code",
    "parallel": "unit",
    "reviews": "level",
    "basis": "law",
    "results": "name",
    "reuse": "field",
}
#: What may differ between towns and districts without a citizen being treated otherwise: whose window and unit it is.
LOCAL: Final = frozenset({"unit", "by_town", "pick_ups", "parallel", "supervising", "keywords", "example", "lists"})


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which two sheets differ."""

    #: Member of the sheet; its words stand in `sheet.NAMES`.
    field: str
    #: Which row of a list: the code of a material, or its place counted from 1; empty for plain members.
    key: str
    #: Member of that row; empty for the whole row and for plain members.
    member: str
    #: JSON values; None where one side has no such row.
    one: Any
    other: Any


def compare(one: Sheet, other: Sheet, *, ignore: frozenset[str] = frozenset()) -> tuple[Difference, ...]:
    """Return every difference between two sheets, in the order of the sheet's members; empty when they are equal."""
    left, right = one.body(), other.body()
    found: list[Difference] = []
    for name in NAMES:
        if name in ignore or left[name] == right[name]:
            continue
        if name == "fee":
            found += _members(name, "", left[name], right[name])
        elif isinstance(left[name], list):
            found += _lists(name, left[name], right[name])
        else:
            found.append(Difference(name, "", "", left[name], right[name]))
    return tuple(found)


def across(base: Sheet, others: Mapping[str, Sheet]) -> dict[str, tuple[Difference, ...]]:
    """Return what each other sheet has otherwise than the base, but for `LOCAL`; empty where it is the same."""
    return {name: compare(base, sheet, ignore=LOCAL) for name, sheet in others.items()}


def _lists(name: str, left: list[Any], right: list[Any]) -> list[Difference]:
    one, other = _keyed(name, left), _keyed(name, right)
    found: list[Difference] = []
    for key in dict.fromkeys([*one, *other]):
        here, there = one.get(key), other.get(key)
        if isinstance(here, dict) and isinstance(there, dict):
            found += _members(name, key, here, there)
        elif here != there:
            found.append(Difference(name, key, "", here, there))
    if not found:
        # The same rows in another order: for the applicant no difference, but the files are not the same.
        found.append(Difference(name, "", "", list(one), list(other)))
    return found


def _keyed(name: str, rows: list[Any]) -> dict[str, Any]:
    """Return rows by their key; a key that stands twice, and rows without one, get their place."""
    member = _KEYS.get(name)
    made: dict[str, Any] = {}
    for i, row in enumerate(rows, 1):
        key = str(row[member]) if member else str(i)
        made[key if key not in made else f"{key} ({i})"] = row
    return made


def _members(name: str, key: str, here: Mapping[str, Any], there: Mapping[str, Any]) -> list[Difference]:
    return [
        Difference(name, key, member, here.get(member), there.get(member))
        for member in dict.fromkeys([*here, *there])
        if here.get(member) != there.get(member)
    ]

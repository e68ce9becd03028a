"""Words for what item sheets hold: limits, choices and differences, in the language of the request.

What a sheet says itself is Chinese data and stays so; templates mark it as such.
"""

from collections.abc import Mapping
from typing import Any

from api.i18n import LANGUAGE, N_, say
from dispatch.items.compare import Difference
from dispatch.limits import Limit

AUDIENCES: Mapping[str, str] = {
    "person": N_("Natural persons"),
    "organisation": N_("Organisations"),
    "both": N_("Persons and organisations"),
}
LEVELS: Mapping[str, str] = {
    "district": N_("District"),
    "town": N_("Street or town"),
    "community": N_("Community"),
}
FORMS: Mapping[str, str] = {
    "original": N_("Original"),
    "copy": N_("Copy"),
    "original_and_copy": N_("Original and copy"),
    "shared": N_("Shared from a register"),
}
CHANNELS: Mapping[str, str] = {
    "window": N_("At a window"),
    "web": N_("On the web"),
    "home": N_("A grid worker comes"),
}
SURVEYS: Mapping[str, str] = {
    "none": N_("No survey"),
    "single": N_("On-site survey"),
    "joint": N_("Joint survey"),
}
REVIEWS: Mapping[str, str] = {"city": N_("City"), "province": N_("Province")}
#: Members of rows inside a sheet.
MEMBERS: Mapping[str, str] = {
    "name": N_("Name"),
    "form": N_("Form"),
    "count": N_("Number of copies"),
    "required": N_("Required"),
    "lag": N_("May follow within"),
    "register": N_("Source register"),
    "blank": N_("Blank form"),
    "note": N_("Note"),
    "uploads": N_("File types"),
    "law": N_("Law"),
    "article": N_("Article"),
    "by": N_("Done by"),
    "limit": N_("Limit"),
    "validity": N_("Valid for"),
    "post": N_("By post"),
    "unit": N_("Unit"),
    "task": N_("Task"),
    "level": N_("Level"),
    "charged": N_("Charged"),
    "amount": N_("Amount"),
    "basis": N_("Legal basis"),
    "waivers": N_("Waivers"),
    "field": N_("Field"),
}
_CHOICES: Mapping[str, Mapping[str, str]] = {
    "audience": AUDIENCES,
    "form": FORMS,
    "channels": CHANNELS,
    "survey": SURVEYS,
}


def limit_words(written: str) -> str:
    """Return a limit in words: 5 working days; a dash for none."""
    if not written:
        return "—"
    limit = Limit.parse(written)
    said = say(limit.words, count=limit.amount)
    return said.removesuffix("s") if limit.amount == 1 and LANGUAGE.get() == "en" else said


def side(difference: Difference, value: Any) -> tuple[str, bool]:
    """Return what one side of a difference says, and whether that is data (Chinese) rather than our own words."""
    name = difference.member or difference.field
    if value in (None, "", [], {}):
        return "—", False
    if isinstance(value, bool):
        return say("yes") if value else say("no"), False
    if isinstance(value, int):
        return str(value), False
    if isinstance(value, str) and (name.endswith("limit") or name == "lag"):
        return limit_words(value), False
    known = {**LEVELS, **REVIEWS} if name == "level" else _CHOICES.get(name)
    if known is not None:
        words = value if isinstance(value, list) else [value]
        return say(", ").join(say(known.get(str(word), str(word))) for word in words), False
    return _data(value), True


def _data(value: Any) -> str:
    if isinstance(value, Mapping):
        return "，".join(_data(one) for one in value.values() if one not in ("", None, [], False, True))
    return "；".join(_data(one) for one in value) if isinstance(value, list) else str(value)

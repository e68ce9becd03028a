"""Which source leads for which field 数据主责: whether a row's value fills, replaces, gives way, or waits for a person.

Knows values and sources, no table. The rules are data of the district (setting `registers.leads`).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal

from grid.registers.addresses import parts
from grid.registers.sealing import plain_name
from grid.words import N_

#: Sources that lists come from: code → name. A district adds its own (setting `registers.sources`).
SOURCES: Final[Mapping[str, str]] = {
    "police": N_("Public security"),
    "civil_affairs": N_("Civil affairs"),
    "health": N_("Health and family planning"),
    "housing": N_("Housing"),
    "labour": N_("Human resources and social security"),
    "market": N_("Market supervision"),
    "urban": N_("Urban management"),
    "census": N_("Census of the grid"),
}
#: Field → sources in the order in which they lead. *Default*. Fields that are not named wait for a person.
LEADS: Final[Mapping[str, Sequence[str]]] = {
    "name": ("police",),
    "id_number": ("police",),
    "birth_date": ("police",),
    "sex": ("police",),
    "residence": ("police",),
    "home_area": ("police",),
    "permit_until": ("police",),
    "care": ("civil_affairs",),
}
#: Fields of a resident that sources may disagree on; `home` is the room that the person lives in.
FIELDS: Final[Mapping[str, str]] = {
    "name": N_("Name"),
    "id_number": N_("Identity number"),
    "birth_date": N_("Day of birth"),
    "sex": N_("Sex"),
    "phone": N_("Telephone"),
    "residence": N_("Residence"),
    "home_area": N_("Registered in"),
    "permit_until": N_("Residence permit until"),
    "relation": N_("Relation to the head"),
    "care": N_("Needs care"),
    "home": N_("Lives in"),
}
Verdict = Literal["same", "fill", "replace", "give way", "ask"]


def leads_of(settings: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """Return the rules of a district: the defaults, with single fields replaced by its settings."""
    own = settings.get("registers", {}).get("leads", {})
    return {**LEADS, **{field: tuple(order) for field, order in own.items() if field in FIELDS}}


def sources_of(settings: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the sources of a district: code → name (English msgid or the district's own word)."""
    return {**SOURCES, **settings.get("registers", {}).get("sources", {})}


def judge(
    field: str,
    ours: Any,
    theirs: Any,
    *,
    source: str,
    backed_by: Collection[str],
    leads: Mapping[str, Sequence[str]],
) -> Verdict:
    """Return what becomes of a field where a source says `theirs` and the register says `ours`.

    backed_by: sources that say what the register says. A source that corrects itself is believed as it was before;
    what a person wrote gives way to nobody without being asked.
    """
    if theirs in ("", None, []) or alike(field, ours, theirs):
        return "same"
    if ours in ("", None, []):
        return "fill"
    others = set(backed_by) - {source}
    if source in backed_by and not others:
        return "replace"
    order = list(leads.get(field, ()))
    if source not in order or not others:
        # Of sources that no rule names, those that do not lead give way to the one that does.
        return "give way" if order and others & set(order) else "ask"
    rank = order.index(source)
    ahead = [order.index(one) for one in others if one in order]
    return "give way" if ahead and min(ahead) < rank else "replace"


def alike(field: str, ours: Any, theirs: Any) -> bool:
    """Return whether two values say the same."""
    if field == "name":
        return plain_name(str(ours)) == plain_name(str(theirs))
    if field == "phone":
        return _digits(str(ours)) == _digits(str(theirs))
    if field == "home_area":
        return parts(str(ours)) == parts(str(theirs))
    return bool(ours == theirs)


def _digits(phone: str) -> str:
    found = "".join(one for one in phone if one.isdigit())
    return found.removeprefix("86") if len(found) == 13 else found

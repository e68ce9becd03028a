"""Which unit of a district a sheet means by a role such as `civil_affairs`: departments differ between districts.

Roles and the words that name them are data (`data/roles.yaml`); a district's setting `item_units` wins over the words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from core.errors import Invalid
from dispatch.items.sheet import Sheet
from dispatch.rulebook import Node
from dispatch.tables import parse_yaml, read_text
from dispatch.words import N_

_FILE: Final = Path(__file__).parent / "data" / "roles.yaml"
#: The role of the town office that answers where the applicant lives.
TOWN_OFFICE: Final = "town_office"


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that a person should know about a load that went through."""

    #: English template of the catalogue, filled by `params`.
    message: str
    params: Mapping[str, Any]

    @property
    def sentence(self) -> str:
        """The warning in English, filled in."""
        return self.message.format_map(self.params)


@cache
def roles() -> Mapping[str, tuple[str, ...]]:
    """Return the known roles and the words by which units' names are recognised; raises Invalid for a bad file."""
    found: dict[str, tuple[str, ...]] = {}
    for document in parse_yaml(read_text(_FILE), file=_FILE.name):
        for row in document.rows("roles"):
            row.only("role", "words")
            row.need("role")
            found[row.text("role")] = row.words("words")
    return found


class Units:
    """The units of one district, asked by code or role."""

    def __init__(self, units: Mapping[str, Node], *, chosen: Mapping[str, Any] | None = None) -> None:
        """Take the district's units by code, and the setting `item_units`: role → code of a unit.

        Raises Invalid when the setting names a unit that the district does not have, or there is no district centre.
        """
        self._units = units
        self._chosen = {str(role): str(code) for role, code in (chosen or {}).items()}
        for code in self._chosen.values():
            if code not in units:
                raise Invalid("There is no unit {code}.", field="item_units", code=code)
        centre = next((code for code in sorted(units) if units[code].kind == "centre"), None)
        if centre is None:
            raise Invalid("The district has no centre, so that nobody would answer for items without a unit.")
        self.centre = centre

    def code(self, wanted: str) -> str | None:
        """Return the unit that a code or a role means here; None where the district has none."""
        if wanted in self._units:
            return wanted
        if wanted in self._chosen:
            return self._chosen[wanted]
        if wanted == TOWN_OFFICE:
            return self.centre
        for word in roles().get(wanted, ()):
            for code in sorted(self._units):
                unit = self._units[code]
                if unit.kind in ("department", "emergency") and word in unit.name:
                    return code
        return None

    def settle(self, sheet: Sheet) -> tuple[Sheet, list[Warned]]:
        """Return a sheet with codes of units instead of roles, and what had to be given to the district centre."""
        warned: list[Warned] = []

        def found(wanted: str) -> str:
            code = self.code(wanted)
            if code is None:
                message = N_("{item}: this district has no unit for {unit}; the district centre answers.")
                warned.append(Warned(message, {"item": sheet.code, "unit": wanted}))
            return code or self.centre

        unit = found(sheet.unit)
        # Several roles may fall to one unit here: it is asked once, and the lead not twice.
        parallel = {one.unit: one for one in reversed([replace(p, unit=found(p.unit)) for p in sheet.parallel])}
        parallel.pop(unit, None)
        kept = tuple(reversed(parallel.values()))
        if sheet.parallel and not kept:
            message = N_("{item}: its parallel units are the competent unit itself here, so it is not parallel.")
            warned.append(Warned(message, {"item": sheet.code}))
        made = replace(
            sheet,
            unit=unit,
            by_town=sheet.by_town or sheet.unit == TOWN_OFFICE,
            parallel=kept,
            survey="single" if sheet.joint_survey and not kept else sheet.survey,
            supervising=found(sheet.supervising) if sheet.supervising else "",
        )
        return made, warned


def competent(sheet: Sheet, town_offices: Mapping[str, str], town: str | None) -> str:
    """Return the code of the unit that decides about an application of somebody in a town.

    town_offices: code of a town → code of its office. town: where the applicant lives; None when unknown.
    """
    return town_offices.get(town or "", sheet.unit) if sheet.by_town else sheet.unit


def as_lines(warned: Sequence[Warned]) -> list[str]:
    """Return warnings as English lines, each once."""
    return list(dict.fromkeys(one.sentence for one in warned))

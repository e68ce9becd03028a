"""Who sees, changes and opens which field of which register: by duty in the cell, by office, by role; as data.

The table's defaults stand here; a district changes single lines of it (setting `registers.permissions`). What an actor
may is the sum over the duties held in the cell of the row. Special data (care) is for those whose duty it is, and for
nobody else, whatever the role.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.actor import Role
from core.db import actor_of, pin_cells, rows
from core.errors import Forbidden, Invalid, NotFound
from grid.duties import DUTIES, MOST_CELLS, OFFICES
from grid.models import District, Unit
from grid.registers.fields import REGISTERS
from grid.registers.record import log
from grid.words import N_

#: Holders beside the nine duties.
ADMIN, SUPERVISOR, OFFICE = "role:admin", "role:supervisor", "role:office"
HOLDERS: Final[Mapping[str, str]] = {
    **DUTIES,
    OFFICE: N_("Office of the town or community, in its own area"),
    SUPERVISOR: N_("Supervisor"),
    ADMIN: N_("Administrator"),
}
#: Rights that are no field: registering births and deaths, and moves.
ACTS: Final[Mapping[str, str]] = {
    "moves": N_("moves in and out"),
    "births": N_("births"),
    "deaths": N_("deaths"),
    "doubles": N_("merging doubles"),
}
_SETTING: Final = "registers"
_VERBS: Final = ("sees", "changes", "opens")


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody may with one register."""

    #: Fields that are shown; protected ones masked.
    sees: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()
    #: Protected fields that may be opened with a reason.
    opens: frozenset[str] = frozenset()

    def __or__(self, other: "Grant") -> "Grant":
        """Return both together."""
        return Grant(self.sees | other.sees, self.changes | other.changes, self.opens | other.opens)


Table = Mapping[str, Mapping[str, Grant]]
_NOTHING: Final = Grant()
_WHO: Final = "name sex birth_date residence relation household_id merged_into"


def _grant(sees: str, changes: str = "", opens: str = "") -> Grant:
    parts = [frozenset(words.split()) for words in (sees, changes, opens)]
    return Grant(parts[0] | parts[1] | parts[2], parts[1], parts[2])


def _all(register: str, *, changes: bool = False, opens: bool = False) -> Grant:
    known = REGISTERS[register]
    names = frozenset(one.name for one in known.fields if one.name != "care")
    return Grant(names, names if changes else frozenset(), frozenset(known.protected) if opens else frozenset())


def _defaults() -> Table:
    ground = {name: _all(name) for name in ("building", "room")}
    kept_ground = {name: _all(name, changes=True) for name in ("building", "room")}
    things = {name: _all(name) for name in ("organisation", "part", "key_place")}
    homes = {"household": _all("household")}
    return {
        "census": {
            "resident": _grant(
                f"{_WHO} births deaths",
                f"{_WHO} id_number phone home_area permit_until moves births deaths doubles",
                "name id_number phone birth_date",
            ),
            "household": _all("household", changes=True),
            "tenancy": _all("tenancy"),
            **kept_ground,
            **things,
        },
        "security": {
            "resident": _grant(f"{_WHO} home_area permit_until", "", "name id_number phone birth_date"),
            "tenancy": _all("tenancy", opens=True),
            **homes,
            **ground,
            **things,
        },
        "labour": {
            "resident": _grant("name sex birth_date residence household_id", "", "name phone"),
            "organisation": _grant(
                "name credit_code kind trade address room_id", "employees contact phone", "contact phone"
            ),
            **homes,
            **ground,
        },
        "civil_affairs": {
            "resident": _grant(f"{_WHO} deaths", "care deaths", "name id_number phone birth_date"),
            **homes,
            **ground,
        },
        "family_planning": {
            "resident": _grant(f"{_WHO} births", "births", "name phone birth_date"),
            **homes,
            **ground,
        },
        "urban_management": {"part": _all("part", changes=True), **ground},
        "market": {
            "organisation": _all("organisation", changes=True, opens=True),
            "key_place": _all("key_place", changes=True),
            **ground,
        },
        "safety": {
            "tenancy": _grant(
                "room_id landlord_name lease_to most_people", "checked_on", "landlord_name landlord_phone"
            ),
            "organisation": _all("organisation", opens=True),
            "key_place": _all("key_place", changes=True),
            "part": _all("part"),
            **ground,
        },
        "floating_population": {
            "resident": _grant(_WHO, "residence phone home_area permit_until moves", "name id_number phone birth_date"),
            "tenancy": _all("tenancy", changes=True, opens=True),
            "household": _all("household", changes=True),
            **ground,
        },
        OFFICE: {
            "resident": _grant(_WHO, "", "name phone"),
            "tenancy": _all("tenancy"),
            **homes,
            **ground,
            **things,
        },
        SUPERVISOR: {name: _all(name) for name in REGISTERS},
        ADMIN: {name: _all(name, changes=True) for name in REGISTERS}
        | {"resident": _all("resident", changes=True) | _grant("", "moves births deaths doubles")},
    }


DEFAULTS: Final[Table] = _defaults()


@dataclass(frozen=True)
class Access:
    """What the actor of a session may in the registers at a moment."""

    #: Holders whose rights hold in the whole scope of the actor.
    holders: tuple[str, ...]
    #: Cell → duties that the actor holds there.
    duties: Mapping[str, frozenset[str]]
    #: Codes of cells and areas of the whole scope begin so; meaningless without `holders`.
    area: str
    table: Table = field(repr=False)

    def rights(self, register: str, cell: str | None, *, town: str | None = None) -> Grant:
        """Return the rights for rows of a register that stand in a cell; of nowhere, those of the whole scope."""
        found = _NOTHING
        if not self.area or (cell or town or "").startswith(self.area):
            for holder in self.holders:
                found = found | self._grant(holder, register)
        for duty in self.duties.get(cell or "", ()):
            found = found | self._grant(duty, register)
        return found

    def anywhere(self, register: str) -> Grant:
        """Return the sum of the rights in all cells: what columns a list may have at all."""
        found = _NOTHING
        for holder in {*self.holders, *(duty for held in self.duties.values() for duty in held)}:
            found = found | self._grant(holder, register)
        return found

    def cells(self, register: str) -> list[str] | None:
        """Return the cells whose rows the actor may see by duty; None where a whole scope is seen."""
        if self.is_whole(register):
            return None
        return sorted(cell for cell in self.duties if self.rights(register, cell).sees)

    def is_whole(self, register: str) -> bool:
        """Return whether rows of the register are seen in the whole scope."""
        return any(self._grant(holder, register).sees for holder in self.holders)

    def _grant(self, holder: str, register: str) -> Grant:
        return self.table.get(holder, {}).get(register, _NOTHING)

    @cached_property
    def registers(self) -> tuple[str, ...]:
        """Return the names of the registers of which anything is seen."""
        return tuple(name for name in REGISTERS if self.anywhere(name).sees)


#: What an account or a unit answers for at a moment: a stand-in instead of the primary he stands in for.
_HELD = """
SELECT h.cell_code AS cell, array_agg(DISTINCT h.duty) AS duties FROM cell_duty h
WHERE h.district_code = :d AND (h.account_id = :account OR h.unit_code = :unit)
  AND h.valid_from <= :at AND (h.valid_to IS NULL OR h.valid_to > :at)
  AND (h.rank = 'stand_in' OR h.rank = 'primary' AND NOT EXISTS (
    SELECT 1 FROM cell_duty s WHERE s.district_code = :d AND s.cell_code = h.cell_code AND s.duty = h.duty
      AND s.rank = 'stand_in' AND s.valid_from <= :at AND (s.valid_to IS NULL OR s.valid_to > :at)))
GROUP BY h.cell_code ORDER BY h.cell_code LIMIT :most
"""


def access(session: Session, *, at: datetime) -> Access:
    """Return what the session's actor may at a moment (aware), and pin the cells of the actor's duties. Reads.

    Raises Forbidden for roles that have no business in the registers.
    """
    actor = actor_of(session)
    granted = table(session)
    if actor.role in (Role.ADMIN, Role.SYSTEM):
        return Access((ADMIN,), {}, actor.town, granted)
    if actor.role is Role.SUPERVISOR:
        return Access((SUPERVISOR,), {}, actor.town, granted)
    if actor.role not in (Role.UNIT, Role.GRID_WORKER) or actor.id is None:
        raise Forbidden("Your role may not open this.")
    values = {"d": actor.district, "account": actor.id, "unit": actor.unit, "at": at, "most": MOST_CELLS}
    duties = {row["cell"]: frozenset(row["duties"]) for row in rows(session, _HELD, **values)}
    area = _office_area(session)
    own = _cells_in(session, area) if area else []
    pin_cells(session, sorted({*duties, *own}))
    return Access((OFFICE,) if area else (), duties, area, granted)


def _office_area(session: Session) -> str:
    actor = actor_of(session)
    unit = session.get(Unit, (actor.district, actor.unit)) if actor.role is Role.UNIT and actor.unit else None
    return unit.area_code if unit is not None and unit.active and unit.kind in OFFICES else ""


def _cells_in(session: Session, area: str) -> list[str]:
    query = text("SELECT code FROM cell WHERE district_code = :d AND code LIKE :area ORDER BY code LIMIT :most")
    values = {"d": actor_of(session).district, "area": f"{area}%", "most": MOST_CELLS}
    return list(session.scalars(query, values))


def need(grant: Grant, register: str, names: Iterable[str]) -> None:
    """Raise Forbidden unless every field may be changed; NotFound where nothing of the register may even be seen."""
    if not grant.sees:
        raise NotFound("There is no such entry, or it is not yours to see.")
    for name in names:
        if name not in grant.changes:
            asked = REGISTERS[register].field(name)
            label = asked.label if asked else ACTS.get(name, name)
            raise Forbidden("Your duty in this cell does not include changing this: {name}.", name=label)


def table(session: Session) -> Table:
    """Return the table of rights as the district has it. Reads."""
    changed = settings(session).get("permissions", {})
    merged = {holder: dict(granted) for holder, granted in DEFAULTS.items()}
    for holder, granted in changed.items():
        for register, verbs in granted.items():
            if holder in merged and register in REGISTERS:
                merged[holder][register] = Grant(*(frozenset(verbs.get(verb, ())) for verb in _VERBS))
    return merged


def settings(session: Session) -> Mapping[str, Any]:
    """Return what the district changed about its registers. Reads."""
    found = session.scalar(select(District.settings).where(District.district_code == actor_of(session).district))
    kept: Mapping[str, Any] = (found or {}).get(_SETTING, {})
    return kept


def keep_setting(session: Session, name: str, value: Any) -> None:
    """Write one setting of the registers; writes, as administrator or program, caller commits."""
    query = select(District).where(District.district_code == actor_of(session).district).with_for_update()
    district = session.scalars(query.execution_options(populate_existing=True)).one()
    district.settings = district.settings | {_SETTING: district.settings.get(_SETTING, {}) | {name: value}}
    session.flush()


def grant(session: Session, holder: str, register: str, verbs: Mapping[str, Iterable[str]], *, at: datetime) -> None:
    """Set what a holder may with a register; writes and logs it, as administrator, caller commits.

    Raises Forbidden for another role, Invalid for an unknown holder, register or field, for an opening of what is
    not protected, and for special data given to a role: those are shown by duty only.
    """
    if actor_of(session).role not in (Role.ADMIN, Role.SYSTEM):
        raise Forbidden("Your role may not open this.")
    if holder not in HOLDERS or register not in REGISTERS:
        raise Invalid("There is no line {name} in the table of rights.", field="holder", name=holder[:40])
    known = REGISTERS[register]
    names = {one.name for one in known.fields} | (set(ACTS) if register == "resident" else set())
    wanted = {verb: sorted(set(verbs.get(verb, ()))) for verb in _VERBS}
    for verb, chosen in wanted.items():
        for name in chosen:
            if name not in names or (verb == "opens" and name not in known.protected):
                raise Invalid("There is no field {name}.", field=verb, name=name[:40])
            if name == "care" and holder not in DUTIES:
                raise Invalid("Special data is shown by duty only, not by role.", field=verb)
    wanted["sees"] = sorted({*wanted["sees"], *wanted["changes"], *wanted["opens"]})
    changed = dict(settings(session).get("permissions", {}))
    before = table(session).get(holder, {}).get(register, _NOTHING)
    changed[holder] = dict(changed.get(holder, {})) | {register: wanted}
    keep_setting(session, "permissions", changed)
    was = {verb: sorted(getattr(before, verb)) for verb in _VERBS}
    log(session, "permissions", register, {"holder": holder, "was": was, "now": wanted}, at=at)

"""What each register holds: its fields with kinds, words and checks, once, for forms, rights, history and export.

Knows the tables, but no row and nobody's rights (`grid.registers.permissions`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from grid.duties import DUTIES
from grid.registers.models import Building, Household, KeyPlace, Organisation, Part, Resident, Room, Tenancy
from grid.words import N_

SEXES: Final = {"m": N_("male"), "f": N_("female")}
#: 户籍人口, 人户分离, 流动人口, 境外人员.
RESIDENCES: Final = {
    "registered": N_("registered here"),
    "separated": N_("registered elsewhere in the district"),
    "floating": N_("floating population"),
    "abroad": N_("from abroad, Hong Kong, Macao or Taiwan"),
}
RELATIONS: Final = {
    "head": N_("head of the household"),
    "spouse": N_("spouse"),
    "child": N_("child"),
    "parent": N_("parent"),
    "grandparent": N_("grandparent"),
    "grandchild": N_("grandchild"),
    "sibling": N_("brother or sister"),
    "relative": N_("other relative"),
    "cotenant": N_("shares the rent"),
    "other": N_("somebody else"),
}
#: 独居老人, 空巢老人, 留守, 残疾, 低保, 特困, 失独, 重病, 优抚: special data.
CARE: Final = {
    "living_alone": N_("old and living alone"),
    "empty_nest": N_("old, children away"),
    "left_behind": N_("left behind"),
    "disabled": N_("disabled"),
    "low_income": N_("low income"),
    "destitute": N_("destitute"),
    "lost_only_child": N_("lost the only child"),
    "serious_illness": N_("seriously ill"),
    "preferential": N_("entitled to special care"),
}
#: 家庭户, 单身户, 合租户, 集体户.
HOUSEHOLDS: Final = {
    "family": N_("family"),
    "single": N_("one person"),
    "shared": N_("sharing a flat"),
    "collective": N_("collective household"),
}
BUILDINGS: Final = {
    "residential": N_("dwelling house"),
    "self_built": N_("self-built house"),
    "commercial": N_("commercial building"),
    "factory": N_("factory"),
    "office": N_("office building"),
    "mixed": N_("shops below, flats above"),
    "public": N_("public building"),
}
USES: Final = {
    "lived": N_("lived in by its owner"),
    "let": N_("let"),
    "vacant": N_("empty"),
    "shop": N_("shop"),
    "office": N_("office"),
    "workshop": N_("workshop"),
    "store": N_("storeroom"),
    "public": N_("for everybody"),
}
ORGANISATIONS: Final = {
    "company": N_("company"),
    "sole_trader": N_("sole trader"),
    "institution": N_("public institution"),
    "authority": N_("authority"),
    "society": N_("social organisation"),
    "cooperative": N_("cooperative"),
    "other": N_("other organisation"),
}
PLACES: Final = {
    "school": N_("school or nursery"),
    "hospital": N_("hospital or clinic"),
    "care_home": N_("old people's home"),
    "hotel": N_("hotel or guest house"),
    "net_cafe": N_("internet café"),
    "entertainment": N_("place of entertainment"),
    "restaurant": N_("restaurant or canteen"),
    "market": N_("market"),
    "fuel": N_("filling station"),
    "chemicals": N_("dangerous chemicals"),
    "gas": N_("gas cylinders"),
    "construction": N_("building site"),
    "workshop": N_("small workshop"),
    "rentals": N_("many rented rooms"),
    "temple": N_("place of worship"),
    "other": N_("other key place"),
}
RISKS: Final = {"high": N_("high"), "medium": N_("medium"), "low": N_("low")}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a register."""

    #: The column; of a sealed field the name without `_sealed`.
    name: str
    #: text, sealed, day, count (a whole number), choice, flags (several choices), ref (an id), code.
    kind: str
    #: English msgid.
    label: str
    choices: Mapping[str, str] = field(default_factory=dict)
    #: Most characters, or the largest number.
    most: int = 100
    #: English msgid of the line under the field.
    help: str = ""
    #: As which it is masked until it is opened (`core.documents.masked`); empty: shown as it is.
    mask: str = ""
    needed: bool = False
    #: Asked in a form; else only events set it.
    form: bool = True


@dataclass(frozen=True, slots=True)
class Register:
    """One register."""

    name: str
    #: English msgid, plural.
    label: str
    model: type
    #: English msgid: what it is kept for.
    purpose: str
    fields: tuple[Field, ...]
    #: State → msgid; the first is that of a new row.
    states: Mapping[str, str]
    #: States of rows that are no longer in use.
    ended: tuple[str, ...]
    #: Days that a row is kept after its end; None for ever. *Default*.
    keep_days: int | None
    #: The row's own point, not that of what it stands in.
    own_point: bool = False
    #: Names people: personal data throughout.
    people: bool = False

    def field(self, name: str) -> Field | None:
        """Return the field of a name."""
        return next((one for one in self.fields if one.name == name), None)

    @property
    def protected(self) -> tuple[str, ...]:
        """Return the names of the fields that are masked until they are opened."""
        return tuple(one.name for one in self.fields if one.mask)


_RESIDENT = (
    Field("name", "sealed", N_("Name"), most=50, mask="name", needed=True),
    Field(
        "id_number",
        "sealed",
        N_("Identity number"),
        most=30,
        mask="id_number",
        help=N_("Identity card, passport or travel permit."),
    ),
    Field("phone", "sealed", N_("Telephone"), most=20, mask="phone"),
    Field("sex", "choice", N_("Sex"), SEXES),
    Field("birth_date", "day", N_("Day of birth"), mask="day"),
    Field("residence", "choice", N_("Residence"), RESIDENCES, needed=True),
    Field("home_area", "text", N_("Registered in"), most=60, help=N_("Province, city and county; empty for here.")),
    Field("permit_until", "day", N_("Residence permit until")),
    Field("relation", "choice", N_("Relation to the head"), RELATIONS),
    Field("care", "flags", N_("Needs care"), CARE),
    Field("household_id", "ref", N_("Household"), form=False),
    Field("merged_into", "ref", N_("Double of"), form=False),
)
_TENANCY = (
    Field("room_id", "ref", N_("Room"), form=False),
    Field("landlord_name", "sealed", N_("Landlord"), most=50, mask="name", needed=True),
    Field("landlord_phone", "sealed", N_("Landlord's telephone"), most=20, mask="phone"),
    Field("lease_from", "day", N_("Let from"), needed=True),
    Field("lease_to", "day", N_("Let until")),
    Field("filed_number", "text", N_("Number of the filed lease"), most=40),
    Field("most_people", "count", N_("Most people"), most=200),
    Field("checked_on", "day", N_("Fire safety looked at")),
)
_ORGANISATION = (
    Field("name", "text", N_("Designation"), most=100, needed=True),
    Field("credit_code", "code", N_("Unified credit code"), most=18, help=N_("18 characters, as on the licence.")),
    Field("kind", "choice", N_("Type"), ORGANISATIONS, needed=True),
    Field("trade", "text", N_("Trade"), most=60),
    Field("address", "text", N_("Address"), most=120),
    Field("contact", "sealed", N_("Person in charge"), most=50, mask="name"),
    Field("phone", "sealed", N_("Telephone"), most=20, mask="phone"),
    Field("employees", "count", N_("Employees"), most=1_000_000),
    Field("room_id", "ref", N_("Room"), form=False),
)
_KEY_PLACE = (
    Field("name", "text", N_("Designation"), most=100, needed=True),
    Field("kind", "choice", N_("Type"), PLACES, needed=True),
    Field("risk", "choice", N_("Risk"), RISKS, needed=True),
    Field("duty", "choice", N_("Inspected under the duty"), DUTIES, needed=True),
    Field("every_days", "count", N_("Inspected every so many days"), most=3650, needed=True),
    Field("inspected_on", "day", N_("Inspected last")),
    Field("due_on", "day", N_("Next inspection by"), form=False),
    Field("address", "text", N_("Address"), most=120),
    Field("organisation_id", "ref", N_("Organisation"), form=False),
)
_LIST = (
    Register(
        "resident",
        N_("Residents"),
        Resident,
        N_("To know who lives where, for help, services and safety in the cell."),
        _RESIDENT,
        {"living": N_("lives here"), "moved": N_("moved away"), "dead": N_("dead"), "merged": N_("was a double")},
        ("moved", "dead", "merged"),
        keep_days=730,
        people=True,
    ),
    Register(
        "household",
        N_("Households"),
        Household,
        N_("To know who lives together and whom to visit."),
        (
            Field("kind", "choice", N_("Type"), HOUSEHOLDS, needed=True),
            Field("room_id", "ref", N_("Room"), form=False),
            Field("head_id", "ref", N_("Head"), form=False),
        ),
        {"living": N_("lives here"), "moved": N_("moved away")},
        ("moved",),
        keep_days=730,
        people=True,
    ),
    Register(
        "tenancy",
        N_("Rented rooms"),
        Tenancy,
        N_("Safety of rented rooms, and registration of the floating population."),
        _TENANCY,
        {"let": N_("let"), "ended": N_("ended")},
        ("ended",),
        keep_days=730,
        people=True,
    ),
    Register(
        "organisation",
        N_("Firms and organisations"),
        Organisation,
        N_("Service for firms, supervision of markets and of safety."),
        _ORGANISATION,
        {"open": N_("in business"), "closed": N_("closed")},
        ("closed",),
        keep_days=1825,
        own_point=True,
    ),
    Register(
        "part",
        N_("City parts"),
        Part,
        N_("Keeping up city furniture."),
        (
            Field("code", "code", N_("Part code"), most=24, needed=True),
            Field("class_code", "text", N_("Class"), most=8, form=False),
            Field("name", "text", N_("Designation"), most=60, needed=True),
            Field("unit_code", "text", N_("Responsible unit"), most=40),
            Field("installed_on", "day", N_("Installed on")),
            Field("note", "text", N_("Note"), most=200),
        ),
        {"sound": N_("sound"), "damaged": N_("damaged"), "missing": N_("missing"), "removed": N_("removed")},
        ("removed",),
        keep_days=None,
        own_point=True,
    ),
    Register(
        "key_place",
        N_("Key places"),
        KeyPlace,
        N_("Inspecting places where much can happen."),
        _KEY_PLACE,
        {"open": N_("in use"), "closed": N_("closed")},
        ("closed",),
        keep_days=1825,
        own_point=True,
    ),
    Register(
        "building",
        N_("Buildings"),
        Building,
        N_("The ground that rooms, people and firms are found by."),
        (
            Field("estate", "text", N_("Estate"), most=60),
            Field("name", "text", N_("Building"), most=60, needed=True),
            Field("address", "text", N_("Address"), most=120),
            Field("kind", "choice", N_("Type"), BUILDINGS, needed=True),
            Field("floors", "count", N_("Floors"), most=200),
            Field("code", "text", N_("Building code"), most=40),
        ),
        {"standing": N_("standing"), "gone": N_("gone")},
        ("gone",),
        keep_days=None,
        own_point=True,
    ),
    Register(
        "room",
        N_("Rooms"),
        Room,
        N_("The ground that people and firms are found by."),
        (
            Field("building_id", "ref", N_("Building"), form=False),
            Field("entrance", "text", N_("Entrance"), most=10),
            Field("number", "text", N_("Room"), most=20, needed=True),
            Field("floor", "count", N_("Floor"), most=200),
            Field("use", "choice", N_("Use"), USES, needed=True),
            Field("area_m2", "count", N_("Area in m²"), most=100_000),
        ),
        {"there": N_("there"), "gone": N_("gone")},
        ("gone",),
        keep_days=None,
    ),
)
REGISTERS: Final[Mapping[str, Register]] = {one.name: one for one in _LIST}

"""The three lists 三单 (S2): what is refused, what must be granted, and the share checked afterwards by credit class.

Entries are data of the district. `judge` is pure; `check` reads the entries and judges. What a case does with a verdict
is the application's matter: it shows a negative entry with its refusal, and asks for a reason and a supervisor where a
permitted item whose conditions are all met is refused (逢报必批).
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.actor import Role
from core.db import actor_of, rows
from core.errors import Forbidden, Invalid
from dispatch.items.parsing import Fault, Faults
from dispatch.tables import Row, parse_yaml, read_text
from dispatch.words import N_

#: The entries shipped as examples.
DEFAULT: Final = Path(__file__).parent / "data" / "lists.yaml"
KINDS: Final = ("negative", "permitted", "supervision")
#: 信用等级, best first; whoever is not classed counts as B.
CREDIT_CLASSES: Final = ("A", "B", "C", "D")
UNCLASSED: Final = "B"
#: Where no supervision entry speaks: the random check of S1, at least one in ten.
DEFAULT_SHARE: Final = 10
_RELATIONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "in": lambda known, values: known in values,
    "not_in": lambda known, values: known not in values,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
_MOST: Final = 2000

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Condition:
    """One test of a fact of the application, such as `distance_to_school_m lt 200`."""

    fact: str
    #: eq, ne, in, not_in, lt, le, gt or ge.
    relation: str
    value: Any
    #: The condition in the words of the list, shown to the applicant.
    words: str

    def holds(self, facts: Mapping[str, Scalar]) -> bool | None:
        """Return whether it holds; None where the fact is not known or is of another kind, so that somebody asks."""
        if self.fact not in facts:
            return None
        known = facts[self.fact]
        if self.relation in ("in", "not_in"):
            return bool(_RELATIONS[self.relation](known, self.value))
        if any(isinstance(known, kind) != isinstance(self.value, kind) for kind in (str, bool)):
            return None
        return bool(_RELATIONS[self.relation](known, self.value))


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a list."""

    code: str
    #: negative 负面清单, permitted 准许清单 or supervision 监管清单.
    kind: str
    title: str
    basis: str = ""
    #: Items that it is about; empty for all.
    item_codes: tuple[str, ...] = ()
    #: All must hold: for a refusal (negative), for the right to be granted (permitted), to apply (supervision).
    conditions: tuple[Condition, ...] = ()
    #: Credit class → share of after-checks in percent; only in the supervision list.
    shares: Mapping[str, int] | None = None
    example: bool = False

    def concerns(self, item: str) -> bool:
        """Whether the entry is about an item."""
        return not self.item_codes or item in self.item_codes


@dataclass(frozen=True, slots=True)
class Permit:
    """What a permitted entry says of an application."""

    entry: Entry
    #: Conditions that do not hold, and those whose fact nobody has told yet.
    unmet: tuple[Condition, ...]
    unknown: tuple[Condition, ...]

    @property
    def granted(self) -> bool:
        """逢报必批: every condition is met, so a refusal needs a reason and a supervisor."""
        return not self.unmet and not self.unknown


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the three lists say of an application."""

    item: str
    #: The entry that forbids it, to be shown with the refusal; None where nothing does.
    negative: Entry | None
    #: Facts to be asked before the negative list can be judged.
    unknown: tuple[Condition, ...]
    permitted: Permit | None
    #: Class that was counted with, the entry that set the share, and the share of after-checks in percent.
    credit: str
    supervision: Entry | None
    share_percent: int

    @property
    def must_be_granted(self) -> bool:
        """Whether a refusal needs a reason and a supervisor."""
        return self.negative is None and self.permitted is not None and self.permitted.granted


def judge(entries: Iterable[Entry], item: str, facts: Mapping[str, Scalar], *, credit: str = "") -> Verdict:
    """Return what the lists say of an application for an item.

    facts: what is known of the applicant and the matter, by the names that the entries use. credit: class A to D, empty
    for the fact `credit_class` or, without one, B. Raises Invalid for a class that does not exist. Of several entries
    the one with the lowest code speaks; for the share the highest, of equal ones the one about this very item.
    """
    known = credit or str(facts.get("credit_class", UNCLASSED))
    if known not in CREDIT_CLASSES:
        raise Invalid("The credit class is one of A, B, C and D.", field="credit")
    mine = sorted((one for one in entries if one.concerns(item)), key=lambda one: one.code)
    negative: Entry | None = None
    unknown: list[Condition] = []
    for entry in (one for one in mine if one.kind == "negative"):
        held = [one.holds(facts) for one in entry.conditions]
        if all(held):
            negative = negative or entry
        elif False not in held:
            asked = [one for one, told in zip(entry.conditions, held, strict=True) if told is None]
            unknown += [one for one in asked if one not in unknown]
    permits = [_permit(one, facts) for one in mine if one.kind == "permitted"]
    checks = [one for one in mine if one.kind == "supervision" and all(c.holds(facts) is True for c in one.conditions)]
    strictest = max(checks, key=lambda one: ((one.shares or {}).get(known, 0), one.item_codes != ()), default=None)
    return Verdict(
        item=item,
        negative=negative,
        unknown=tuple(unknown) if negative is None else (),
        permitted=next((one for one in permits if one.granted), permits[0] if permits else None),
        credit=known,
        supervision=strictest,
        share_percent=(strictest.shares or {}).get(known, DEFAULT_SHARE) if strictest else DEFAULT_SHARE,
    )


def _permit(entry: Entry, facts: Mapping[str, Scalar]) -> Permit:
    held = [(one, one.holds(facts)) for one in entry.conditions]
    return Permit(entry, tuple(c for c, told in held if told is False), tuple(c for c, told in held if told is None))


def check(session: Session, item: str, facts: Mapping[str, Scalar], *, credit: str = "") -> Verdict:
    """Return what the district's lists say of an application for an item; see `judge`. Reads."""
    return judge(entries(session, item=item), item, facts, credit=credit)


def entries(session: Session, *, kind: str = "", item: str = "") -> list[Entry]:
    """Return the entries of the district's lists by code, of one kind or about one item. Reads."""
    found = rows(
        session,
        "SELECT code, kind, title, basis, item_codes, conditions, shares, example FROM list_entry"
        " WHERE district_code = :d AND (:kind = '' OR kind = :kind)"
        " AND (:item = '' OR item_codes = '{}' OR :item = ANY (item_codes)) ORDER BY code LIMIT :n",
        d=actor_of(session).district,
        kind=kind,
        item=item,
        n=_MOST,
    )
    return [
        Entry(
            **{name: row[name] for name in ("code", "kind", "title", "basis", "example")},
            item_codes=tuple(row["item_codes"]),
            conditions=tuple(Condition(**one) for one in row["conditions"]),
            shares=row["shares"] or None,
        )
        for row in found
    ]


def load(session: Session, given: Sequence[Entry]) -> int:
    """Make the district's lists be exactly these; return how many entries there are. Writes; caller commits."""
    if actor_of(session).role not in (Role.SYSTEM, Role.ADMIN):
        raise Forbidden("Only the administrator may change the three lists.")
    district = actor_of(session).district
    session.execute(
        text("DELETE FROM list_entry WHERE district_code = :d AND code <> ALL (:codes)"),
        {"d": district, "codes": [one.code for one in given]},
    )
    for entry in given:
        session.execute(
            text(
                "INSERT INTO list_entry"
                " (district_code, code, kind, title, basis, item_codes, conditions, shares, example)"
                " VALUES (:d, :code, :kind, :title, :basis, :items, CAST(:conditions AS jsonb), CAST(:shares AS jsonb),"
                " :example) ON CONFLICT (district_code, code) DO UPDATE SET kind = EXCLUDED.kind,"
                " title = EXCLUDED.title, basis = EXCLUDED.basis, item_codes = EXCLUDED.item_codes,"
                " conditions = EXCLUDED.conditions, shares = EXCLUDED.shares, example = EXCLUDED.example"
            ),
            {
                "d": district,
                "code": entry.code,
                "kind": entry.kind,
                "title": entry.title,
                "basis": entry.basis,
                "items": list(entry.item_codes),
                "conditions": orjson.dumps([asdict(one) for one in entry.conditions]).decode(),
                "shares": orjson.dumps(dict(entry.shares or {})).decode(),
                "example": entry.example,
            },
        )
    return len(given)


def read_lists(path: Path) -> list[Entry]:
    """Return the entries of a YAML file; raises Invalid with file and line of the first fault."""
    if not path.is_file():
        raise Invalid("The file {file} is missing.", file=path.name)
    made: list[Entry] = []
    for document in parse_yaml(read_text(path), file=path.name):
        document.only("example", "entries")
        example = document.flag("example", otherwise=False)
        faults = Faults()
        made += faults.each(document.rows("entries"), lambda row, e=example: _entry(row, e))  # type: ignore[misc]
        _refuse(faults)
    codes = [one.code for one in made]
    for code in codes:
        if codes.count(code) > 1:
            raise Invalid("{file}: two entries have the code {code}.", file=path.name, code=code)
    if len(made) > _MOST:
        raise Invalid("{file} holds more than {most} entries.", file=path.name, most=_MOST)
    return made


def _refuse(faults: Sequence[Fault]) -> None:
    if faults:
        raise Invalid(faults[0].message, field=faults[0].column or None, **faults[0].params)


def _entry(row: Row, example: bool) -> Entry:  # noqa: FBT001  said once for the whole file
    row.only("code", "list", "title", "basis", "items", "conditions", "shares")
    row.need("code", "list", "title")
    kind = row.text("list")
    if kind not in KINDS:
        row.reject("{file}, line {line}: {column} must be one of {known}.", column="list", known=", ".join(KINDS))
    shares = row.get("shares")
    if (kind == "supervision") != bool(shares):
        row.reject("{file}, line {line}: a supervision entry, and no other, has shares.", column="shares")
    if shares is not None:
        if not isinstance(shares, Row) or set(shares) != set(CREDIT_CLASSES):
            row.reject("{file}, line {line}: shares are given for A, B, C and D.", column="shares")
        for name in CREDIT_CLASSES:
            if not 0 <= (shares.whole(name) or 0) <= 100:
                row.reject("{file}, line {line}: {column} must be between 0 and 100.", column="shares")
    conditions = tuple(_condition(one) for one in row.rows("conditions"))
    if kind != "supervision" and not conditions:
        # An entry without a condition would refuse, or grant, everything.
        row.reject("{file}, line {line}: {column} is missing.", column="conditions")
    return Entry(
        code=row.text("code"),
        kind=kind,
        title=row.text("title"),
        basis=row.text("basis"),
        item_codes=row.words("items"),
        conditions=conditions,
        shares={name: int(shares[name]) for name in CREDIT_CLASSES} if shares else None,
        example=example,
    )


def _condition(row: Row) -> Condition:
    row.only("fact", "is", "value", "words")
    row.need("fact", "is", "words")
    relation, value = row.text("is"), row.get("value")
    if relation not in _RELATIONS:
        row.reject("{file}, line {line}: {column} must be one of {known}.", column="is", known=", ".join(_RELATIONS))
    fits = isinstance(value, list) if relation in ("in", "not_in") else isinstance(value, str | int | float)
    if relation in ("lt", "le", "gt", "ge"):
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    if not fits:
        row.reject("{file}, line {line}: {column} does not fit the comparison.", column="value")
    return Condition(row.text("fact"), relation, value, row.text("words"))


#: What the lists are called.
NAMES: Final[Mapping[str, str]] = {
    "negative": N_("Negative list"),
    "permitted": N_("Permitted list"),
    "supervision": N_("Supervision list"),
}

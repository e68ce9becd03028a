"""Routing rules 派单规则: which unit answers for a category in an area at a time, and why.

Knows how rules are read, checked, matched and compared; pure, so that a changed rule set can be tried on last month's
cases. `dispatch.routing` reads and stores them. No case is ever without an owner: town office, then district centre.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import combinations
from pathlib import Path
from typing import Any

from core.errors import Invalid
from dispatch.calendar import china_time
from dispatch.tables import SPREADSHEETS, Row, parse_csv, parse_yaml, read_excel, read_text
from dispatch.words import N_

_WEEK = 7 * 24 * 60
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")


class Level(StrEnum):
    """What answered: a rule, or the fallback when none did."""

    RULE = "rule"
    #: 街镇: the town office of the place.
    TOWN = "town"
    #: 区中心: the owner of last resort.
    CENTRE = "centre"


@dataclass(frozen=True, slots=True)
class Unit:
    """责任单位, as far as routing needs it."""

    code: str
    #: centre, department, town_office, community or emergency.
    kind: str = "department"
    #: The town or community it answers for; empty for the whole district.
    area: str = ""
    #: Who answers while this unit is not active.
    deputy: str = ""
    active: bool = True


@dataclass(frozen=True, slots=True)
class Rule:
    """A category subtree in an area, perhaps at certain hours, goes to a unit."""

    id: str
    unit: str
    #: Prefix of category codes; empty for all.
    category: str = ""
    #: Prefix of area codes (town 9, community 12, cell 15 digits); empty for the whole district.
    area: str = ""
    #: ISO weekdays as digits (`67`); empty for every day.
    weekdays: str = ""
    #: `HH:MM-HH:MM` in Asia/Shanghai, the end excluded, over midnight too; empty for all hours.
    hours: str = ""
    note: str = ""
    #: Where it was written.
    file: str = ""
    line: int = 0

    @property
    def timed(self) -> bool:
        """Whether the rule holds at certain times only."""
        return bool(self.weekdays or self.hours)


@dataclass(frozen=True, slots=True)
class Decision:
    """Which unit answers, and why; stored with the assignment."""

    unit: str
    level: Level
    #: Id of the rule; empty for a fallback.
    rule: str = ""
    #: The prefixes on which the rule matched, and whether by its time window.
    category: str = ""
    area: str = ""
    timed: bool = False
    #: Units that were passed over because they are not active, in order; the last one's deputy answers.
    instead_of: tuple[str, ...] = ()

    @property
    def why(self) -> dict[str, Any]:
        """The reason as JSON, for the assignment's row."""
        return {
            "level": self.level.value,
            "rule": self.rule,
            "category": self.category,
            "area": self.area,
            "timed": self.timed,
            "instead_of": list(self.instead_of),
        }

    @property
    def reasons(self) -> list[tuple[str, dict[str, str]]]:
        """The reason for people: English msgids with their parameters."""
        if self.level is Level.TOWN:
            found = [(N_("No rule answers; the town office of {area} is responsible."), {"area": self.area})]
        elif self.level is Level.CENTRE:
            found = [(N_("No rule and no town office answers; the district centre is responsible."), {})]
        else:
            named = {"rule": self.rule, "category": self.category, "area": self.area}
            found = [(N_("Rule {rule} for category {category} in area {area}."), named)]
            if self.timed:
                found.append((N_("The rule holds at this time of the week."), {}))
        return found + [(N_("{unit} is not active; its deputy answers."), {"unit": code}) for code in self.instead_of]


def week_mask(rule: Rule) -> int:
    """Return the minutes of the week in which a rule holds as bits, bit 0 being Monday 00:00 in China; raises Invalid.

    A window over midnight belongs to the weekday on which it begins.
    """
    if not re.fullmatch(r"[1-7]*", rule.weekdays) or len(set(rule.weekdays)) != len(rule.weekdays):
        raise _wrong(
            rule,
            "{file}, line {line}, rule {rule}: weekdays are written as digits 1 (Monday) to 7, not {weekdays}.",
            weekdays=rule.weekdays,
        )
    first, length = 0, 24 * 60
    if rule.hours:
        match = _HOURS.fullmatch(rule.hours)
        h1, m1, h2, m2 = map(int, match.groups()) if match else (0, 0, 0, 0)
        first, last = h1 * 60 + m1, h2 * 60 + m2
        if match is None or first == last or last > 24 * 60:
            raise _wrong(
                rule,
                "{file}, line {line}, rule {rule}: hours are written as 08:30-17:30, not {hours}.",
                hours=rule.hours,
            )
        length = (last - first) % (24 * 60) or 24 * 60
    mask = 0
    for digit in rule.weekdays or "1234567":
        start = (int(digit) - 1) * 24 * 60 + first
        mask |= ((1 << length) - 1) << start
    return (mask | mask >> _WEEK) & ((1 << _WEEK) - 1)


def _wrong(rule: Rule, reason: str, **params: Any) -> Invalid:
    return Invalid(reason, file=rule.file or "-", line=rule.line, rule=rule.id, **params)


@dataclass(slots=True)
class _Bucket:
    """The rules of one category and one area prefix: those with a window first, then the one without."""

    timed: list[tuple[int, Decision]] = field(default_factory=list)
    plain: Decision | None = None


class RuleSet:
    """A set of rules over the units of a district, indexed by prefix. Immutable: build once, share.

    Building raises Invalid on an unknown unit, a loop of deputies or a window that cannot be read; `problems` finds
    everything else that a person should mend before a set is used.
    """

    def __init__(self, rules: Iterable[Rule], units: Iterable[Unit]) -> None:
        self.rules = tuple(sorted(rules, key=_by_id))
        self.units = {unit.code: unit for unit in units}
        standing: dict[str, tuple[str, tuple[str, ...]]] = {code: self._stand_in(code) for code in self.units}
        self._centre = self._last_resort(standing)
        self._towns: dict[str, Decision] = {}
        for unit in sorted(self.units.values(), key=lambda u: u.code):
            if unit.kind == "town_office" and unit.area:
                answer, passed = standing[unit.code]
                if answer:
                    self._towns.setdefault(unit.area, Decision(answer, Level.TOWN, area=unit.area, instead_of=passed))
        self._index: dict[str, dict[str, _Bucket]] = {}
        for rule in self.rules:
            if rule.unit not in self.units:
                raise _wrong(rule, "{file}, line {line}, rule {rule}: there is no unit {unit}.", unit=rule.unit)
            mask = week_mask(rule)
            answer, passed = standing[rule.unit]
            if not answer:
                # The unit is gone and named no deputy: the rule is as if it were not there.
                continue
            decision = Decision(answer, Level.RULE, rule.id, rule.category, rule.area, rule.timed, passed)
            bucket = self._index.setdefault(rule.category, {}).setdefault(rule.area, _Bucket())
            if rule.timed:
                bucket.timed.append((mask, decision))
            elif bucket.plain is None:
                bucket.plain = decision
        self._categories = _lengths(self._index)
        self._areas = {category: _lengths(areas) for category, areas in self._index.items()}

    def assign(self, category: str | None, area: str | Sequence[str] | None, at: datetime) -> Decision:
        """Return which unit answers for a category at a place and time, and why.

        category: code, empty or None when unknown. area: the deepest known area code, or (town, community, cell) with
        empty or None for the unknown. at: aware. The longest category prefix wins, then the longest area prefix, then a
        rule with a time window, then the lower id. Raises Invalid on a naive time, and where neither a rule nor a town
        office answers and there is no district centre.
        """
        if at.tzinfo is None:
            china_time(at)
        kind = category or ""
        where = area if isinstance(area, str) else max((code for code in area or () if code), key=len, default="")
        minute = -1
        for length in self._categories:
            areas = self._index.get(kind[:length]) if length <= len(kind) else None
            if areas is None:
                continue
            for width in self._areas[kind[:length]]:
                bucket = areas.get(where[:width]) if width <= len(where) else None
                if bucket is None:
                    continue
                if bucket.timed:
                    if minute < 0:
                        local = china_time(at)
                        minute = (local.weekday() * 24 + local.hour) * 60 + local.minute
                    for mask, decision in bucket.timed:
                        if mask >> minute & 1:
                            return decision
                if bucket.plain is not None:
                    return bucket.plain
        found = self._towns.get(where[:9]) or self._centre
        if found is None:
            raise Invalid(
                "Nobody answers for {category} in {area}, and there is no district centre.", category=kind, area=where
            )
        return found

    def _stand_in(self, code: str) -> tuple[str, tuple[str, ...]]:
        """Return who answers for a unit, and who was passed over; an empty code when nobody does."""
        passed: list[str] = []
        while True:
            unit = self.units.get(code)
            if unit is None or code in passed:
                # A loop or an unknown deputy is a problem of the table; here it only means that nobody stands in.
                return "", tuple(passed)
            if unit.active:
                return code, tuple(passed)
            passed.append(code)
            code = unit.deputy

    def _last_resort(self, standing: Mapping[str, tuple[str, tuple[str, ...]]]) -> Decision | None:
        for unit in sorted(self.units.values(), key=lambda u: u.code):
            if unit.kind == "centre":
                answer, passed = standing[unit.code]
                # Even a centre that was marked as gone owns what nobody else does.
                return Decision(answer or unit.code, Level.CENTRE, instead_of=passed if answer else ())
        return None


def _by_id(rule: Rule) -> tuple[int, str]:
    return len(rule.id), rule.id


def _lengths(prefixes: Iterable[str]) -> tuple[int, ...]:
    return tuple(sorted({len(prefix) for prefix in prefixes}, reverse=True))


def problems(
    rules: Sequence[Rule],
    units: Sequence[Unit],
    *,
    categories: Iterable[str] | None = None,
    areas: Iterable[str] | None = None,
) -> list[Invalid]:
    """Return everything that is wrong with a rule set, each with file, line and rule; empty for a sound one.

    categories, areas: every known code, for the checks of unknown codes and of gaps; None leaves those out.
    Found: ids given twice, unknown units, categories and areas, windows that cannot be read, rules of equal weight
    that hold at the same time, deputies that do not exist or go in a circle, and gaps that no fallback fills.
    """
    known = {unit.code: unit for unit in units}
    kinds = None if categories is None else {"", *categories}
    places = None if areas is None else {"", *areas}
    found = _unit_problems(units, known)
    checks: tuple[tuple[str, Callable[[Rule], str], set[str] | None], ...] = (
        ("{file}, line {line}, rule {rule}: there is no unit {code}.", lambda r: r.unit, set(known)),
        ("{file}, line {line}, rule {rule}: there is no category {code}.", lambda r: r.category, kinds),
        ("{file}, line {line}, rule {rule}: there is no area {code}.", lambda r: r.area, places),
    )
    sound: list[tuple[Rule, int]] = []
    seen: set[str] = set()
    for rule in rules:
        mistakes = [
            _wrong(rule, text, code=code_of(rule))
            for text, code_of, codes in checks
            if codes is not None and code_of(rule) not in codes
        ]
        if not rule.id or rule.id in seen:
            mistakes.append(_wrong(rule, "{file}, line {line}, rule {rule}: the id is missing or stands twice."))
        seen.add(rule.id)
        try:
            mask = week_mask(rule)
        except Invalid as error:
            mistakes.append(error)
        else:
            sound.append((rule, mask))
        found += mistakes
    found += _rivals(sound)
    if not found:
        found += _gaps(RuleSet(rules, units), kinds or {""}, places or {""})
    return found


def _rivals(sound: Iterable[tuple[Rule, int]]) -> list[Invalid]:
    """Return the pairs of rules for the same category and area that hold at the same time."""
    found: list[Invalid] = []
    groups: dict[tuple[str, str, bool], list[tuple[Rule, int]]] = {}
    for rule, mask in sound:
        groups.setdefault((rule.category, rule.area, rule.timed), []).append((rule, mask))
    for group in groups.values():
        for (one, first), (other, second) in combinations(group, 2):
            if first & second:
                found.append(
                    _wrong(
                        other,
                        "{file}, line {line}, rule {rule}: as specific as rule {rival}, and at the same time.",
                        rival=one.id,
                    )
                )
    return found


def _unit_problems(units: Sequence[Unit], known: Mapping[str, Unit]) -> list[Invalid]:
    found: list[Invalid] = []
    if len(known) != len(units):
        found.append(Invalid("A unit's code stands twice."))
    for unit in units:
        if unit.deputy and unit.deputy not in known:
            found.append(Invalid("The deputy {deputy} of {unit} does not exist.", unit=unit.code, deputy=unit.deputy))
        chain = [unit.code]
        while (following := known[chain[-1]].deputy) in known:
            if following == unit.code == min(chain):
                found.append(Invalid("The deputies go in a circle: {chain}.", chain=" → ".join([*chain, following])))
            if following in chain:
                break
            chain.append(following)
    return found


def _gaps(made: RuleSet, categories: set[str], areas: set[str]) -> list[Invalid]:
    """Return the categories and towns for which nobody answers at some time; with a district centre there are none."""
    if any(unit.kind == "centre" for unit in made.units.values()):
        return []
    plain = RuleSet([rule for rule in made.rules if not rule.timed], made.units.values())
    found: list[Invalid] = []
    monday = datetime.fromisoformat("2026-01-05T00:00:00+08:00")
    for category in sorted(categories):
        for town in sorted(code for code in areas if len(code) in (0, 9)):
            try:
                plain.assign(category, town, monday)
            except Invalid as error:
                found.append(error)
    return found


def checked(
    rules: Sequence[Rule],
    units: Sequence[Unit],
    *,
    categories: Iterable[str] | None = None,
    areas: Iterable[str] | None = None,
) -> RuleSet:
    """Return the rule set; raises Invalid with the first of its problems."""
    for problem in problems(rules, units, categories=categories, areas=areas):
        raise problem
    return RuleSet(rules, units)


@dataclass(frozen=True, slots=True)
class Routed:
    """A case as far as routing sees it."""

    #: The number people say aloud, or any other name.
    number: str
    category: str
    #: The deepest known area code.
    area: str
    #: Neutral intake; aware.
    at: datetime


def compare(old: RuleSet, new: RuleSet, cases: Iterable[Routed]) -> list[tuple[Routed, Decision, Decision]]:
    """Return the cases that a changed rule set would send to another unit, with both decisions."""
    found = []
    for case in cases:
        before, after = (rules.assign(case.category, case.area, case.at) for rules in (old, new))
        if before.unit != after.unit:
            found.append((case, before, after))
    return found


_COLUMNS = ("id", "category", "area", "weekdays", "hours", "unit", "note")


def rules_of(rows: Iterable[Row]) -> list[Rule]:
    """Return the rules of rows with the columns id, category, area, weekdays, hours, unit, note; raises Invalid."""
    rules = []
    for row in rows:
        row.only(*_COLUMNS)
        row.need("id", "unit")
        values = {name: str(row[name]).strip() for name in _COLUMNS if row.get(name) is not None}
        rules.append(Rule(**values, file=row.file, line=row.line))
    return rules


def read_rules(path: Path) -> list[Rule]:
    """Return the rules of a CSV or Excel file, or of the list `rules` in YAML; raises Invalid with file and line."""
    if path.suffix.lower() in SPREADSHEETS:
        return rules_of(read_excel(path))
    text = read_text(path)
    if path.suffix.lower() == ".csv":
        return rules_of(parse_csv(text, file=path.name))
    rows: list[Row] = []
    for table in parse_yaml(text, file=path.name):
        table.only("rules")
        table.need("rules")
        rows += table.rows("rules")
    return rules_of(rows)

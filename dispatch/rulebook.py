"""What a district has decided 规则簿: calendar, limits, routing, units, categories; read once, shared, never changed.

Everything here is data of the district, kept in memory by each process until `district.revision` grows.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import Invalid, NotFound
from dispatch.calendar import NOTICES, Notice, OfficeHours, WorkCalendar, read_notice
from dispatch.deadlines import Clock
from dispatch.ladder import Ladder, default_ladder, ladder_of
from dispatch.limits import Limit, LimitRule, LimitTable, measured, with_defaults
from dispatch.models import CalendarNotice, RoutingRule
from dispatch.models import LimitRule as LimitRow
from dispatch.process import Process, process
from dispatch.rules import Rule, RuleSet
from dispatch.rules import Unit as Answers
from dispatch.worktime import WorkTime
from grid.models import Area, Category, District, Unit


@dataclass(frozen=True, slots=True)
class Node:
    """A named thing of the district with a code: a category, an area or a unit."""

    code: str
    name: str
    parent: str | None = None
    #: level of a category, kind of a unit, level of an area.
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Rulebook:
    """One district's decisions at one revision."""

    district: str
    name: str
    revision: int
    fictional: bool
    synthetic_join: bool
    #: Working calendar and office hours together.
    work: WorkTime
    limits: LimitTable
    #: Whom an expiry is told.
    ladder: Ladder
    routing: RuleSet
    units: Mapping[str, Node]
    categories: Mapping[str, Node]
    areas: Mapping[str, Node]
    #: What the district changed of the defaults.
    settings: Mapping[str, Any]

    def process(self, name: str, version: int | None = None) -> Process:
        """Return a process table; the newest version for new cases."""
        return process(name, version)

    def clock(
        self,
        name: str,
        *,
        unit: str | None,
        kind: str,
        urgency: str,
        category: str,
        start: datetime,
        item: str = "",
        limit: str | None = None,
        legal: str | None = None,
        assignment_id: uuid.UUID | None = None,
    ) -> Clock:
        """Return a clock that starts now, with its warnings, by the district's limits and calendar.

        limit: overrides the table, such as an item's promise 承诺时限 or a granted span. legal: the law's limit beside
        it 法定时限; left out where it is the promise itself. item: code of a service item; its clock keeps the limit it
        began with, as the case keeps the item's version. assignment_id: the share that the clock measures.
        Raises Invalid for an unknown clock and for what is no limit.
        """
        chosen = (
            Limit.parse(limit)
            if limit
            else self.limits.limit(name, kind=kind, urgency=urgency, category=category, item=item)
        )
        lawful = Limit.parse(legal) if legal else None
        if lawful == chosen:
            lawful = None
        found = measured(start, chosen, work=self.work, legal=lawful)
        return Clock(
            name,
            unit,
            str(chosen),
            start,
            found.at,
            found.provisional,
            found.half,
            found.near,
            assignment_id=assignment_id,
            legal=str(lawful) if lawful else None,
            legal_due_at=found.legal_at,
            own=bool(limit or item),
        )

    def limit_of(self, clock: str, *, kind: str, urgency: str, category: str, item: str = "") -> Limit | None:
        """Return the limit of a clock, None where the table does not know the clock."""
        if clock not in self.limits.clocks:
            return None
        return self.limits.limit(clock, kind=kind, urgency=urgency, category=category, item=item)

    def unit_name(self, code: str | None) -> str:
        """Return the name of a unit, its code where it is unknown, empty for none."""
        unit = self.units.get(code or "")
        return unit.name if unit else code or ""

    def category_path(self, code: str | None) -> tuple[str, ...]:
        """Return the names from the top level down to a category; empty for none."""
        names: list[str] = []
        while code and code in self.categories:
            names.insert(0, self.categories[code].name)
            code = self.categories[code].parent
        return tuple(names)

    def checked_category(self, code: object) -> str:
        """Return a category code that exists; raises Invalid."""
        if not isinstance(code, str) or code not in self.categories:
            raise Invalid("There is no category {code}.", field="category", code=str(code))
        return code

    def checked_unit(self, code: object) -> str:
        """Return a unit code that exists; raises Invalid."""
        if not isinstance(code, str) or code not in self.units:
            raise Invalid("There is no unit {code}.", field="unit", code=str(code))
        return code


def revision(session: Session, district: str) -> int:
    """Return how often the district's data changed; raises NotFound for an unknown district."""
    found = session.scalar(select(District.revision).where(District.district_code == district))
    if found is None:
        raise NotFound("There is no district {code} here.", code=district)
    return found


@cache
def shipped_notices() -> tuple[Notice, ...]:
    """Return the notices that come with the program."""
    return tuple(read_notice(path) for path in sorted(NOTICES.glob("*.yaml")))


def notices(session: Session) -> list[Notice]:
    """Return the notices in force: those of the database, and the shipped ones for years that it does not have."""
    loaded = [
        Notice(
            year=row.year,
            off={date.fromisoformat(day): name for day, name in row.off.items()},
            work=frozenset(date.fromisoformat(day) for day in row.work),
            source=row.source,
            version=row.version,
        )
        for row in session.scalars(select(CalendarNotice))
    ]
    years = {notice.year for notice in loaded}
    return loaded + [notice for notice in shipped_notices() if notice.year not in years]


def read_rulebook(session: Session, district: str) -> Rulebook:
    """Return the district's rulebook as it stands; raises NotFound, and Invalid for rules that do not hold."""
    row = session.execute(
        select(District.name, District.revision, District.fictional, District.synthetic_join, District.settings).where(
            District.district_code == district
        )
    ).first()
    if row is None:
        raise NotFound("There is no district {code} here.", code=district)
    units = list(session.scalars(select(Unit).where(Unit.district_code == district)))
    categories = {
        code: Node(code, name, parent, str(level))
        for code, name, parent, level in session.execute(
            select(Category.code, Category.name, Category.parent_code, Category.level).where(
                Category.district_code == district
            )
        )
    }
    areas = {
        code: Node(code, name, town if town != code else None, level)
        for code, name, town, level in session.execute(
            select(Area.code, Area.name, Area.town_code, Area.level).where(Area.district_code == district)
        )
    }
    rules = [
        Rule(r.id, r.unit_code, r.category_code, r.area_code, r.weekdays, r.hours, r.note)
        for r in session.scalars(select(RoutingRule).where(RoutingRule.district_code == district))
    ]
    limits = [
        LimitRule(
            r.clock,
            Limit.parse(r.limit),
            kind=r.kind,
            urgency=r.urgency,
            category=r.category_code,
            item=r.item,
            id=r.id,
        )
        for r in session.scalars(select(LimitRow).where(LimitRow.district_code == district))
    ]
    hours = row.settings.get("office_hours")
    return Rulebook(
        district=district,
        name=row.name,
        revision=row.revision,
        fictional=row.fictional,
        synthetic_join=row.synthetic_join,
        work=WorkTime(WorkCalendar.from_notices(notices(session)), OfficeHours.parse(hours) if hours else None),
        limits=with_defaults(limits),
        ladder=ladder_of(row.settings["ladder"]) if row.settings.get("ladder") else default_ladder(),
        routing=RuleSet(
            rules, [Answers(u.code, u.kind, u.area_code, u.deputy_code or "", active=u.active) for u in units]
        ),
        units={u.code: Node(u.code, u.name, u.deputy_code, u.kind) for u in units if u.active},
        categories=categories,
        areas=areas,
        settings=row.settings,
    )

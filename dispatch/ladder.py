"""The escalation ladder 升级: whom an expired limit is told, rung by rung, and how long each has before the next is.

Knows the table (`dispatch/processes/ladder.yaml`, or a district's own), not the clocks that climb it.
Source: DOMAIN, Time: unit head → district centre → supervision, each rung with its own limit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from core.errors import Invalid
from dispatch.limits import Limit, due
from dispatch.tables import Row, parse_yaml, read_text
from dispatch.words import N_
from dispatch.worktime import WorkTime

#: Whom a rung can tell, in rising order → how they are named to people.
TOLD: Mapping[str, str] = {
    #: 责任单位负责人; there is none where the district centre measures itself.
    "unit_head": N_("head of the unit"),
    #: 区中心.
    "centre": N_("district centre"),
    #: 督查.
    "supervision": N_("supervision"),
}


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung: who is told, and how long after the rung before (the first: after the expiry)."""

    told: str
    after: Limit


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rungs of a district in order."""

    rungs: tuple[Rung, ...]

    def of(self, unit: str | None) -> tuple[Rung, ...]:
        """Return the rungs of a clock that measures a unit, or (None) the district centre, which has no unit head."""
        return self.rungs if unit else tuple(rung for rung in self.rungs if rung.told != "unit_head")

    def told(self, number: int, unit: str | None) -> str:
        """Return who is told on a rung, 1 at expiry; empty beyond the top."""
        rungs = self.of(unit)
        return rungs[number - 1].told if 0 < number <= len(rungs) else ""

    def next_at(self, number: int, unit: str | None, since: datetime, *, work: WorkTime) -> datetime | None:
        """Return when the rung after `number` is told, whose limit runs since an aware moment; None at the top."""
        rungs = self.of(unit)
        return due(since, rungs[number].after, work=work).at if number < len(rungs) else None


def read_ladder(path: Path) -> Ladder:
    """Return the ladder of a YAML file; raises Invalid with file and line."""
    documents = parse_yaml(read_text(path), file=path.name)
    if len(documents) != 1:
        raise Invalid("{file} must hold exactly one ladder.", file=path.name)
    documents[0].only("ladder")
    documents[0].need("ladder")
    rows = documents[0].rows("ladder")
    for row in rows:
        row.only("told", "after", "note")
        row.need("told", "after")
    return ladder_of(rows)


def ladder_of(rows: Sequence[Any]) -> Ladder:
    """Return the checked ladder of rows with `told` and `after`, as in a district's setting `ladder`.

    Raises Invalid unless the rungs rise from unit head through centre to supervision, none twice, the first at expiry.
    """
    rungs: list[Rung] = []
    order = list(TOLD)
    for row in rows:
        told = str(row.get("told", "")) if isinstance(row, dict) else ""
        if told not in TOLD:
            _refuse(row, N_("A rung of the ladder tells one of unit_head, centre and supervision."))
        if rungs and order.index(told) <= order.index(rungs[-1].told):
            _refuse(row, N_("The rungs of the ladder must rise: unit_head, centre, supervision."))
        after = Limit.parse(str(row.get("after", "")))
        if not rungs and str(after) != "0":
            _refuse(row, N_("The first rung of the ladder is told at the expiry: after must be 0."))
        rungs.append(Rung(told, after))
    if not rungs or rungs[-1].told == "unit_head":
        raise Invalid("A ladder needs the district centre or supervision: somebody above the unit must learn of it.")
    return Ladder(tuple(rungs))


def _refuse(row: Any, reason: str) -> None:
    if isinstance(row, Row):
        row.reject(reason)
    raise Invalid(reason, field="ladder")


@cache
def default_ladder() -> Ladder:
    """Return the ladder shipped with the program; a district's own replaces it."""
    return read_ladder(Path(__file__).parent / "processes" / "ladder.yaml")

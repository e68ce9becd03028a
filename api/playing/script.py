"""Roads as data 演示脚本: who does what after how long, read from YAML; and when that is, so that all is past by now.

Knows working time and no case. The same seed and the same moment give the same times.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from core.errors import Invalid
from dispatch.calendar import china_time
from dispatch.worktime import HOUR_US, WorkTime

_HERE: Final = Path(__file__).parent
#: File of this folder → process of the matters in it.
FILES: Final[Mapping[str, str]] = {
    "complaints": "complaint",
    "patrol": "patrol",
    "applications": "service_item",
    "requests": "information",
}
#: Who may stand before a step.
PEOPLE: Final = ("unit", "operator", "window", "supervisor", "grid", "citizen", "share", "shares", "program")
#: Who works in office hours; the others when people are up.
_OFFICE: Final = frozenset({"unit", "window", "supervisor", "share", "shares"})
_UP, _ASLEEP = 7, 21
#: When the hotline calls people back.
_CALLS, _CALLS_NOT = 9, 20
#: Where a road says nothing: hours before now at which it begins.
_AGO: Final = (24.0, 200.0)
#: How much earlier a road that would not be over by now begins, and how often that is tried.
_EARLIER, _TRIES = timedelta(hours=6), 400
_CHOICE: Final = re.compile(r"\(([^()]*\|[^()]*)\)")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a road."""

    #: One of PEOPLE: `unit` whoever leads then, `share` one assisting unit, `shares` each of them.
    who: str
    action: str
    #: Hours after the step before, from and to.
    after: tuple[float, float] = (0.5, 4.0)
    #: Fields; a text that begins with $ is filled in by the stage, one that stands alone may be several fields.
    give: Mapping[str, Any] | Sequence[Any] = field(default_factory=dict)
    #: Minutes that it was recorded after it happened, from and to; None for at once.
    late: tuple[float, float] | None = None
    #: Which of the road's callers it is about.
    of: int = 0
    #: The program's: the clock at whose end it comes.
    when: str = ""
    #: Whether hours of the day do not matter.
    anytime: bool = False
    #: Whether the road goes on where this is refused: it was so already.
    maybe: bool = False


@dataclass(frozen=True, slots=True)
class Road:
    """One road 办理路径, and how many matters take it."""

    name: str
    steps: tuple[Step, ...]
    times: int = 1
    #: Hours before now at which it begins, from and to; earlier where it would not be over otherwise.
    ago: tuple[float, float] = _AGO
    #: Cases that take it together.
    callers: int = 1
    #: Whether it begins on the desk rather than with a unit.
    desk: bool = False
    #: Applications: channel, codes of items, and what is not handed in (none, lag, strict, both).
    channel: str = "window"
    items: tuple[str, ...] = ()
    lack: str = "none"
    #: Whether somebody applies for the applicant.
    agent: bool = False

    @property
    def opened_by(self) -> str:
        """Who brings it in, as far as hours of the day go."""
        return "window" if self.items and self.channel == "window" else "citizen"


@dataclass(frozen=True, slots=True)
class Script:
    """One file."""

    #: One of FILES.
    name: str
    roads: tuple[Road, ...]
    #: Lists that steps name by $name.
    words: Mapping[str, Sequence[str]]
    #: Everything else in the file.
    rest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Timeline:
    """When a road begins, and when each of its steps is taken."""

    begin: datetime
    moments: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of one matter."""

    #: The matter's own; the same in every run.
    key: str
    road: Road
    script: Script
    times: Timeline


@cache
def read(name: str) -> Script:
    """Return the script of a file of this folder, such as `patrol`; raises Invalid for a step of nobody."""
    document = yaml.safe_load((_HERE / f"{name}.yaml").read_text(encoding="utf-8"))
    roads = tuple(_road(row) for row in document.pop("roads"))
    return Script(name, roads, document.pop("words", {}), document)


def _road(row: dict[str, Any]) -> Road:
    items = tuple(row.get("items", ()))
    return Road(
        name=row["road"],
        steps=tuple(_step(one) for one in row["steps"]),
        times=row.get("times", len(items) or 1),
        ago=tuple(row.get("ago", _AGO)),
        callers=row.get("callers", 1),
        desk=row.get("desk", False),
        channel=row.get("channel", "window"),
        items=items,
        lack=row.get("lack", "none"),
        agent=row.get("agent", False),
    )


def _step(row: dict[str, Any]) -> Step:
    left = dict(row)
    who = next(iter(left))
    if who not in PEOPLE:
        raise Invalid("{name} takes no steps.", name=str(who))
    action = left.pop(who)
    for name in ("after", "late"):
        if name in left:
            left[name] = tuple(left[name])
    return Step(who, action, **left)


def lay_out(road: Road, *, work: WorkTime, at: datetime, chance: random.Random) -> Timeline:
    """Return when a road is taken, the last of it before `at` (aware): in office hours where somebody works in those.

    A step of the program at the end of a clock stands where the step before it does; the stage asks the clock.
    """
    begin = at - timedelta(hours=chance.uniform(*road.ago))
    drawn = [timedelta(hours=chance.uniform(*step.after)) if not step.when else timedelta() for step in road.steps]
    # Minutes after the office opens, where a step falls outside its hours.
    late = [chance.uniform(0.05, 0.7) for _ in range(len(road.steps) + 1)]
    for _ in range(_TRIES):
        first = _awake(begin, road.opened_by, work, late[0])
        moments, now = [], first
        for step, after, wait in zip(road.steps, drawn, late[1:], strict=True):
            now += after
            if not step.anytime and not step.when:
                now = _awake(now, step.who, work, wait)
            moments.append(now)
        if now < at:
            return Timeline(first, tuple(moments))
        begin -= _EARLIER
    raise Invalid("{name} takes longer than it can.", name=road.name)


def _awake(moment: datetime, who: str, work: WorkTime, wait_h: float) -> datetime:
    """Return the moment itself where somebody is at work then, or up; else a little after they begin again."""
    if who in _OFFICE:
        if work.is_office_time(moment):
            return moment
        return work.when(work.at(moment) + int(wait_h * HOUR_US))
    up, asleep = (_CALLS, _CALLS_NOT) if who == "operator" else (_UP, _ASLEEP)
    local = china_time(moment)
    if up <= local.hour < asleep:
        return local
    opens = local.replace(hour=up, minute=0) + timedelta(days=local.hour >= asleep)
    return opens + timedelta(hours=wait_h)


def said(text: str, chance: random.Random) -> str:
    """Return a text with one of each (a|b|c) chosen."""
    return _CHOICE.sub(lambda found: chance.choice(found[1].split("|")), text)

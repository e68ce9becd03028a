"""The duty plan 责任分工表 as a table: read from rows that people filled in, taken whole or not at all, and written.

One line says: this cell, this duty (or all nine), this person or unit, from this day. Knows no file format: rows come
in as texts (`core.workbook`, a CSV) and go out the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.actor import system
from core.db import acting_as, actor_of, rows
from core.errors import Invalid
from grid import duties, training
from grid.duties import DEPUTY, DUTIES, PRIMARY, Charge, Holder
from grid.words import N_

_CHINA: Final = timezone(timedelta(hours=8))
#: Lines of one file: a district of 5,000 cells with all duties by name.
MOST_LINES: Final = 50_000
#: Faults that are told at once.
MOST_FAULTS: Final = 200
#: Column → the heads that are understood, the first one written.
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "cell": ("网格编码", "cell"),
    "duty": ("职责", "duty"),
    "rank": ("主责/副责", "主副责", "rank"),
    "holder": ("账号或单位编码", "账号", "holder"),
    "name": ("姓名", "name"),
    "since": ("开始日期", "from"),
    "until": ("结束日期", "to"),
    "reason": ("无证上岗理由", "reason"),
}
_CHINESE: Final = {
    "信息普查": "census",
    "综合治理": "security",
    "劳动保障": "labour",
    "民政服务": "civil_affairs",
    "计划生育": "family_planning",
    "城市管理": "urban_management",
    "市场监管": "market",
    "安全监督": "safety",
    "流动人口管理服务": "floating_population",
}
_ALL: Final = frozenset({"全部", "all", ""})
_RANKS: Final = {"": PRIMARY, "主责": PRIMARY, "primary": PRIMARY, "副责": DEPUTY, "deputy": DEPUTY}
_NAMES: Final = {code: name for name, code in _CHINESE.items()}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one line: English msgid with parameters."""

    line: int
    message: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a plan; with faults nothing was written."""

    lines: int
    new: int
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """What lines may name."""

    cells: frozenset[str]
    holders: Mapping[str, Holder]
    certified: frozenset[tuple[Any, str]]
    area: str
    at: datetime


def take(session: Session, table: Sequence[Sequence[str]], *, at: datetime) -> Taken:
    """Take a plan whose first row holds the heads. Writes all of it, or nothing where a line is at fault.

    Raises Invalid, naming `file`, for a table that is no plan; Forbidden for whoever keeps no duties; Conflict when
    somebody else was faster.
    """
    area = duties.reach(session)
    filled = [(number, row) for number, row in enumerate(table, 1) if any(one.strip() for one in row)]
    if not filled:
        raise Invalid("The file is empty.", field="file")
    if len(filled) > MOST_LINES + 1:
        raise Invalid("At most {most} lines at once.", field="file", most=MOST_LINES)
    places = _places(filled[0][1])
    known = _known(session, area, at)
    faults: list[Fault] = []
    drafts: dict[tuple[str, str, str], tuple[int, tuple[str, str, Charge]]] = {}
    for number, row in filled[1:]:
        told = {name: row[at_].strip() if at_ < len(row) else "" for name, at_ in places.items()}
        try:
            for cell, duty, charge in _read(told, known):
                before, _ = drafts.setdefault((cell, duty, charge.rank), (number, (cell, duty, charge)))
                if before != number:
                    faults.append(Fault(number, N_("Line {line} says something of the same duty."), {"line": before}))
                    break
        except Invalid as error:
            faults.append(Fault(number, error.message, error.params))
            if len(faults) >= MOST_FAULTS:
                break
    if faults:
        return Taken(len(filled) - 1, 0, tuple(faults))
    return Taken(len(filled) - 1, duties.put(session, [draft for _, draft in drafts.values()], at=at), ())


def _places(heads: Sequence[str]) -> dict[str, int]:
    plain = [head.strip().lower() for head in heads]
    found = {name: plain.index(head) for name, heads_ in COLUMNS.items() for head in heads_ if head in plain}
    missing = [COLUMNS[name][0] for name in ("cell", "holder") if name not in found]
    if missing:
        raise Invalid("The column {name} is missing.", field="file", name=missing[0])
    return found


def _known(session: Session, area: str, at: datetime) -> _Known:
    here = {"d": actor_of(session).district}
    cells = session.scalars(
        text("SELECT code FROM cell WHERE district_code = :d AND code LIKE :area"), {**here, "area": area + "%"}
    )
    with acting_as(session, system(here["d"], "duties")):
        people = rows(
            session,
            "SELECT a.login, a.id FROM account a WHERE a.district_code = :d AND a.active AND a.role <> 'citizen'",
            **here,
        )
        units = rows(session, "SELECT u.code FROM unit u WHERE u.district_code = :d AND u.active", **here)
        held = training.certified(session, [row["id"] for row in people], at=at)
    holders = {row["code"]: Holder(unit_code=row["code"]) for row in units}
    holders |= {row["login"]: Holder(row["id"]) for row in people}
    return _Known(frozenset(cells), holders, frozenset(held), area, at)


def _read(told: Mapping[str, str], known: _Known) -> list[tuple[str, str, Charge]]:
    """Return what one line gives; raises Invalid."""
    cell = told.get("cell", "")
    if cell not in known.cells:
        raise Invalid("The cell {code} is not known.", field="cell", code=cell[:40])
    asked = told.get("duty", "")
    wanted = list(DUTIES) if asked.lower() in _ALL else [_CHINESE.get(asked, asked)]
    if wanted[0] not in DUTIES:
        raise Invalid("There is no duty {code}.", field="duty", code=asked[:40])
    rank = _RANKS.get(told.get("rank", "").lower())
    if rank is None:
        raise Invalid("There is no rank {code}.", field="rank", code=told["rank"][:40])
    holder = known.holders.get(told["holder"].lower()) or known.holders.get(told["holder"])
    if holder is None:
        raise Invalid("There is no account or unit {code}.", field="holder", code=told["holder"][:40])
    since, until = _begin(told.get("since", ""), known.at), _end(told.get("until", ""))
    if until is not None and until <= since:
        raise Invalid("The end must come after the beginning.", field="until")
    reason = told.get("reason", "")
    lacking = [duty for duty in wanted if holder.account_id and (holder.account_id, duty) not in known.certified]
    if lacking and not reason:
        raise Invalid(
            "This person has no valid certificate for {n} of these duties; say why they are given all the same.",
            field="reason",
            n=len(lacking),
        )
    charge = Charge(
        cells=(cell,),
        duties=tuple(wanted),
        holder=holder,
        since=since,
        until=until,
        rank=rank,
        exception=reason[:200] if lacking else "",
        source="plan",
    )
    return [(cell, duty, charge) for duty in wanted]


def _day(written: str) -> date:
    try:
        return date.fromisoformat(written[:10].replace("/", "-"))
    except ValueError as error:
        raise Invalid("{day} is no date; write 2026-11-21.", field="since", day=written[:20]) from error


def _begin(written: str, at: datetime) -> datetime:
    """Return the first moment of a day in China; now for nothing, for today and for what is over already."""
    if not written:
        return at
    day = _day(written)
    return max(at, datetime(day.year, day.month, day.day, tzinfo=_CHINA))


def _end(written: str) -> datetime | None:
    if not written:
        return None
    day = _day(written)
    return datetime(day.year, day.month, day.day, tzinfo=_CHINA) + timedelta(days=1)


_LINES = """
SELECT h.cell_code AS cell, h.duty, h.rank, coalesce(a.login, h.unit_code) AS holder, coalesce(a.name, u.name) AS name,
       h.valid_from AS since, h.valid_to AS until, h.exception AS reason
FROM cell_duty h
LEFT JOIN account a ON a.district_code = :d AND a.id = h.account_id
LEFT JOIN unit u ON u.district_code = :d AND u.code = h.unit_code
WHERE h.district_code = :d AND h.cell_code LIKE :area AND h.rank <> 'stand_in' AND h.valid_from <= :at
  AND (h.valid_to IS NULL OR h.valid_to > :at)
ORDER BY h.cell_code, array_position(:duties, h.duty), h.rank DESC LIMIT :most
"""


def lines(session: Session, area: str, *, at: datetime) -> list[list[str]]:
    """Return the plan in force in an area as a table with heads: what `take` reads. Reads only."""
    district = actor_of(session).district
    with acting_as(session, system(district, "duties")):
        found = rows(session, _LINES, d=district, area=area + "%", at=at, duties=list(DUTIES), most=MOST_LINES)
    made = [[heads[0] for heads in COLUMNS.values()]]
    for row in found:
        last = (row["until"] - timedelta(days=1)).astimezone(_CHINA).date().isoformat() if row["until"] else ""
        since = row["since"].astimezone(_CHINA).date().isoformat()
        rank = "副责" if row["rank"] == DEPUTY else "主责"
        made.append([row["cell"], _NAMES[row["duty"]], rank, row["holder"], row["name"], since, last, row["reason"]])
    return made

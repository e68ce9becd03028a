"""Who answers for which of the nine duties in which cell, from when to when; hand-overs, and what nobody holds.

A duty of a cell has at any moment at most one primary 主责, one deputy 副责 (AB角) and one stand-in 代管; the database
refuses a second. Rows are never overwritten: one is ended, and another begins. A stand-in acts in the primary's place
until its end, which comes by itself. Knows nothing of cases and nothing of training (`grid.training` does).
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.actor import Actor, Role, system
from core.db import acting_as, actor_of, rows
from core.errors import Conflict, Forbidden, Invalid
from core.ids import new_id
from grid.models import Account, Unit
from grid.words import N_

#: The nine duties of a grid worker (S2), in the order of the source.
DUTIES: Final[Mapping[str, str]] = {
    # 信息普查
    "census": N_("Census of information"),
    # 综合治理
    "security": N_("Public order"),
    # 劳动保障
    "labour": N_("Labour protection"),
    # 民政服务
    "civil_affairs": N_("Civil affairs"),
    # 计划生育
    "family_planning": N_("Family planning"),
    # 城市管理
    "urban_management": N_("Urban management"),
    # 市场监管
    "market": N_("Market supervision"),
    # 安全监督
    "safety": N_("Safety supervision"),
    # 流动人口管理服务
    "floating_population": N_("Services for the floating population"),
}
PRIMARY, DEPUTY, STAND_IN = "primary", "deputy", "stand_in"
RANKS: Final[Mapping[str, str]] = {
    PRIMARY: N_("primary"),
    DEPUTY: N_("deputy"),
    STAND_IN: N_("stand-in"),
}
#: Cells of one order and lines of one answer; a district of 5,000 cells has 45,000 duties.
MOST_CELLS: Final = 20_000
MOST_LINES: Final = 100_000
#: Kinds of units that keep the duties of their own area.
OFFICES: Final = ("town_office", "community")


@dataclass(frozen=True, slots=True)
class Holder:
    """A person or a unit; exactly one of both."""

    account_id: uuid.UUID | None = None
    unit_code: str | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """What is given to somebody: duties in cells over a span."""

    cells: Sequence[str]
    duties: Sequence[str]
    holder: Holder
    #: Aware; `until` is exclusive, None for no end.
    since: datetime
    until: datetime | None = None
    rank: str = PRIMARY
    why: str = ""
    #: Why without a certificate.
    exception: str = ""
    source: str = "assign"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds one duty of one cell at a moment."""

    id: uuid.UUID
    cell: str
    duty: str
    rank: str
    account_id: uuid.UUID | None
    unit_code: str | None
    #: Of the person or unit.
    name: str
    #: False for a person whose account has ended, or a unit that was retired: the duty has no owner.
    active: bool
    since: datetime
    until: datetime | None
    why: str
    exception: str
    #: Answers at the moment: the stand-in, or the primary without one.
    acting: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """A cell with duties that nobody holds."""

    cell: str
    duties: tuple[str, ...]
    #: Those among them whose holder left: the account has ended, the duty has not.
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Handover:
    """Somebody is away: another one answers for some or all of the cells, until a day."""

    giver: uuid.UUID
    taker: Holder
    since: datetime
    #: Exclusive; None for good (the giver left or changes cells).
    until: datetime | None
    why: str
    #: Empty for all that the giver holds.
    cells: Sequence[str] = ()
    duties: Sequence[str] = ()
    exception: str = ""


#: In force at `:at`.
_NOW = "{0}.valid_from <= :at AND ({0}.valid_to IS NULL OR {0}.valid_to > :at)"
_D = _NOW.format("h")
_S = _NOW.format("s")
_STOOD_IN_FOR = f"""EXISTS (
  SELECT 1 FROM cell_duty s WHERE s.district_code = :d AND s.cell_code = h.cell_code AND s.duty = h.duty
    AND s.rank = 'stand_in' AND {_S} AND s.id <> h.id)"""  # noqa: S608  put together of this module's own words

_OWNERS = f"""
SELECT h.id, h.cell_code AS cell, h.duty, h.rank, h.account_id, h.unit_code, coalesce(a.name, u.name) AS name,
       coalesce(a.active, u.active) AS active, h.valid_from AS since, h.valid_to AS until, h.why, h.exception,
       h.rank = 'stand_in' OR h.rank = 'primary' AND NOT {_STOOD_IN_FOR} AS acting
FROM cell_duty h
LEFT JOIN account a ON a.district_code = :d AND a.id = h.account_id
LEFT JOIN unit u ON u.district_code = :d AND u.code = h.unit_code
WHERE h.district_code = :d AND h.cell_code = ANY (:cells) AND {_D}
ORDER BY h.cell_code, array_position(:duties, h.duty), array_position(:ranks, h.rank)
LIMIT :most
"""  # noqa: S608  put together of this module's own words
_CELLS_OF = f"""
SELECT DISTINCT h.cell_code FROM cell_duty h
WHERE h.district_code = :d AND h.account_id = :account AND {_D} AND h.duty = ANY (:duties)
  AND (h.rank = 'stand_in' OR h.rank = 'primary' AND NOT {_STOOD_IN_FOR} OR :deputies AND h.rank = 'deputy')
ORDER BY h.cell_code LIMIT :most
"""  # noqa: S608  as above
_MISSING = f"""
WITH held AS MATERIALIZED (
  SELECT h.cell_code, h.duty, bool_or(coalesce(a.active, u.active)) AS active
  FROM cell_duty h
  LEFT JOIN account a ON a.district_code = :d AND a.id = h.account_id
  LEFT JOIN unit u ON u.district_code = :d AND u.code = h.unit_code
  WHERE h.district_code = :d AND h.rank <> 'deputy' AND {_D}
    AND (CAST(:cells AS text[]) IS NULL OR h.cell_code = ANY (:cells)) AND h.cell_code LIKE :area
  GROUP BY h.cell_code, h.duty
)
SELECT c.code AS cell, array_agg(d.duty ORDER BY d.rank) AS duties,
       coalesce(array_agg(d.duty ORDER BY d.rank) FILTER (WHERE held.active IS NOT NULL), '{{}}') AS "left"
FROM cell c CROSS JOIN unnest(CAST(:duties AS text[])) WITH ORDINALITY AS d(duty, rank)
LEFT JOIN held ON held.cell_code = c.code AND held.duty = d.duty
WHERE c.district_code = :d AND (CAST(:cells AS text[]) IS NULL OR c.code = ANY (:cells)) AND c.code LIKE :area
  AND held.active IS NOT TRUE
GROUP BY c.code ORDER BY c.code LIMIT :most
"""  # noqa: S608  as above
_HISTORY = """
SELECT h.id, h.cell_code AS cell, h.duty, h.rank, coalesce(a.name, u.name) AS name, h.valid_from AS since,
       h.valid_to AS until, h.source, h.why, h.exception, h.recorded_at, h.recorded_by, h.ended_at, h.ended_by,
       h.ended_why
FROM cell_duty h
LEFT JOIN account a ON a.district_code = :d AND a.id = h.account_id
LEFT JOIN unit u ON u.district_code = :d AND u.code = h.unit_code
WHERE h.district_code = :d AND h.cell_code = :cell
ORDER BY h.valid_from DESC, h.id DESC LIMIT :most
"""
_STOOD_IN = f"""
SELECT s.id, s.cell_code AS cell, greatest(s.valid_from, :at) AS until FROM cell_duty s
WHERE s.district_code = :d AND s.rank = 'stand_in' AND s.valid_to > :at AND s.valid_to > s.valid_from
  AND (:every OR s.cell_code = ANY (:cells))
  AND EXISTS (SELECT 1 FROM cell_duty h WHERE h.district_code = :d AND h.cell_code = s.cell_code
              AND h.duty = s.duty AND h.rank = 'primary' AND h.account_id = :giver AND {_D})
"""  # noqa: S608  as above
#: Rows that a new one would lie over, by (cell, duty, rank).
_OVERLAID = """
SELECT h.id, h.cell_code AS cell, h.duty, h.rank, h.account_id, h.unit_code, h.valid_from AS since, h.valid_to AS until
FROM cell_duty h
WHERE h.district_code = :d AND h.cell_code = ANY (:cells) AND h.rank = ANY (:ranks)
  AND (h.valid_to IS NULL OR h.valid_to > :since AND h.valid_to > h.valid_from)
"""


def _asked(session: Session, sql: str, **params: Any) -> list[Mapping[str, Any]]:
    """Run a query that names people, as the program: a row policy hides other people's accounts."""
    district = actor_of(session).district
    with acting_as(session, system(district, "duties")):
        return rows(session, sql, d=district, **params)


def owners(session: Session, cells: Sequence[str], *, at: datetime) -> list[Owner]:
    """Return who holds which duty in the cells at a moment (aware), by cell and duty, the primary first. Reads only.

    Raises Invalid for more cells than `MOST_CELLS`.
    """
    _bounded(cells)
    order = {"duties": list(DUTIES), "ranks": [STAND_IN, PRIMARY, DEPUTY]}
    found = _asked(session, _OWNERS, cells=list(cells), at=at, most=MOST_LINES, **order)
    return [Owner(**row) for row in found]


def cells_of(
    session: Session, account_id: uuid.UUID, *, at: datetime, duty: str | None = None, deputies: bool = False
) -> list[str]:
    """Return the codes of the cells that a person answers for at a moment, ascending. Reads only.

    Cells that somebody else stands in for are not among them; those that the person stands in for are. `duty` asks for
    one duty, `deputies` adds what the person is deputy of.
    """
    values = {"d": actor_of(session).district, "account": account_id, "at": at, "deputies": deputies}
    duties = [duty] if duty else list(DUTIES)
    found = session.execute(text(_CELLS_OF), values | {"duties": duties, "most": MOST_CELLS})
    return [str(code) for (code,) in found]


def missing(
    session: Session, *, at: datetime, cells: Sequence[str] | None = None, area: str = "", most: int = MOST_CELLS
) -> list[Gap]:
    """Return the cells that have duties without an owner at a moment, by code. Reads only.

    An ended account or a retired unit owns nothing; a deputy is no owner. cells: only these; area: only cells whose
    code begins so.
    """
    given = None if cells is None else _bounded(cells)
    found = _asked(session, _MISSING, at=at, cells=given, area=area + "%", duties=list(DUTIES), most=most)
    return [Gap(row["cell"], tuple(row["duties"]), tuple(row["left"])) for row in found]


def history(session: Session, cell: str, *, most: int = 500) -> list[Mapping[str, Any]]:
    """Return all that was ever said about the duties of a cell, newest first; at most `most`. Reads only."""
    return _asked(session, _HISTORY, cell=cell, most=most)


def reach(session: Session, *, write: bool = True) -> str:
    """Return the beginning of the codes of all cells whose duties the session's actor keeps; empty for all.

    Supervisor, administrator and program keep all (of their town), a town office or community those of its own area;
    with `write=False` an official reads as far as the own view goes. Raises Forbidden for everybody else.
    """
    actor = actor_of(session)
    if actor.role in {Role.SYSTEM, Role.ADMIN, Role.SUPERVISOR} or (actor.role is Role.OFFICIAL and not write):
        return actor.town
    if actor.role is Role.UNIT and actor.unit:
        unit = session.get(Unit, (actor.district, actor.unit))
        if unit is not None and unit.active and unit.kind in OFFICES and unit.area_code:
            return unit.area_code
    raise Forbidden("Only the offices of towns and communities, supervision and administration keep duties.")


def assign(session: Session, charge: Charge, *, at: datetime) -> int:
    """Give duties in cells to somebody and return how many rows are new.

    Whoever held them at the same rank is ended at the beginning of the new span, and what was planned for later is
    called off. What the holder has already stays as it is. Writes; caller commits. Raises Invalid for unknown cells,
    duties or holders and for a span that lies in the past over somebody else's; Forbidden outside the actor's reach;
    Conflict when somebody else was faster.
    """
    _check(session, charge, reach(session))
    drafts = [(cell, duty, charge) for cell in dict.fromkeys(charge.cells) for duty in dict.fromkeys(charge.duties)]
    return put(session, drafts, at=at)


def put(session: Session, drafts: Sequence[tuple[str, str, Charge]], *, at: datetime) -> int:
    """Write many (cell, duty, charge) at once, each as `assign` says; return how many rows are new.

    The caller has checked them. Writes; caller commits. Raises Invalid and Conflict as `assign` does.
    """
    if not drafts:
        return 0
    first = min(charge.since for _, _, charge in drafts)
    standing: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    values = {"cells": list({cell for cell, _, _ in drafts}), "ranks": list({c.rank for _, _, c in drafts})}
    for row in rows(session, _OVERLAID, d=actor_of(session).district, since=first, **values):
        standing.setdefault((row["cell"], row["duty"], row["rank"]), []).append(row)
    ends: list[tuple[uuid.UUID, datetime, str]] = []
    new: list[tuple[str, str, Charge]] = []
    for cell, duty, charge in drafts:
        over = [row for row in standing.get((cell, duty, charge.rank), ()) if _overlaps(row, charge)]
        if any(_same(row, charge) for row in over) and len(over) == 1:
            continue
        for row in over:
            if row["since"] < at and charge.since < at:
                raise Invalid("What has been cannot be changed; begin now or later.", field="since")
            ends.append((row["id"], max(row["since"], charge.since), charge.why))
        new.append((cell, duty, charge))
    _end(session, ends, at=at)
    _insert(session, new, at=at)
    return len(new)


def _overlaps(row: Mapping[str, Any], charge: Charge) -> bool:
    return (row["until"] is None or row["until"] > charge.since) and (
        charge.until is None or row["since"] < charge.until
    )


def _same(row: Mapping[str, Any], charge: Charge) -> bool:
    """Say whether a row already is what is asked for."""
    held = Holder(row["account_id"], row["unit_code"]) == charge.holder
    return bool(held and row["since"] <= charge.since and row["until"] == charge.until)


def hand_over(session: Session, order: Handover, *, at: datetime) -> list[tuple[str, str]]:
    """Let somebody answer in another one's place and return the (cell, duty) that moved, by code.

    With an end the taker is a stand-in and the giver is back by itself; without one the taker becomes primary.
    Writes; caller commits. Raises as `assign`, and Invalid when the giver holds nothing of what is asked for.
    """
    moving = held_by(session, order.giver, cells=order.cells, duties=order.duties, at=max(order.since, at))
    if not moving:
        raise Invalid("This person holds none of these duties.", field="giver")
    rank = PRIMARY if order.until is None else STAND_IN
    if order.taker.account_id == order.giver:
        raise Invalid("Nobody can stand in for themselves.", field="taker")
    charge = Charge(
        cells=list(dict.fromkeys(cell for cell, _ in moving)),
        duties=list(dict.fromkeys(duty for _, duty in moving)),
        holder=order.taker,
        since=order.since,
        until=order.until,
        rank=rank,
        why=order.why,
        exception=order.exception,
        source="hand_over",
    )
    _check(session, charge, reach(session))
    put(session, [(cell, duty, charge) for cell, duty in moving], at=at)
    return moving


def held_by(
    session: Session, account_id: uuid.UUID, *, at: datetime, cells: Sequence[str] = (), duties: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """Return the (cell, duty) that a person is primary of at a moment, stood in for or not. Reads only."""
    sql = (
        f"SELECT h.cell_code, h.duty FROM cell_duty h WHERE h.district_code = :d AND h.account_id = :account"  # noqa: S608
        f" AND h.rank = 'primary' AND {_D} AND (:every OR h.cell_code = ANY (:cells)) AND h.duty = ANY (:duties)"
        " ORDER BY h.cell_code, h.duty LIMIT :most"
    )
    values = {"d": actor_of(session).district, "account": account_id, "at": at, "every": not cells}
    asked = {"cells": list(cells), "duties": list(duties or DUTIES), "most": MOST_LINES}
    return [(row.cell_code, row.duty) for row in session.execute(text(sql), values | asked)]


def hand_back(session: Session, *, giver: uuid.UUID, at: datetime, why: str = "", cells: Sequence[str] = ()) -> int:
    """End early what others stand in for of a person's duties, planned ones too; return how many rows. Writes.

    cells: only these; empty for all. Raises Forbidden outside the actor's reach, Invalid when nobody stands in.
    """
    values = {"giver": giver, "at": at, "every": not cells, "cells": list(cells)}
    found = rows(session, _STOOD_IN, d=actor_of(session).district, **values)
    if not found:
        raise Invalid("Nobody stands in for this person.", field="giver")
    _within({row["cell"] for row in found}, reach(session))
    return _end(session, [(row["id"], row["until"], why) for row in found], at=at)


def follow(session: Session, moved: Mapping[str, Sequence[str]], *, at: datetime) -> int:
    """Let duties follow cells that were split, merged or renumbered; return how many rows are new.

    moved: old code → the codes that its ground has now; a code that stays stands among its own. What runs or is
    planned for an old code ends at `at` and goes on in each new one; where two would meet (a merge), what a cell has
    already stays, then the first old code's holder wins, and the other one becomes deputy where there is none.
    Writes, as the program; caller commits. Does not ask who may: `grid.changes` has.
    """
    gone = {old: new for old, new in moved.items() if list(new) != [old]}
    if not gone:
        return 0
    sql = text(
        "SELECT h.* FROM cell_duty h WHERE h.district_code = :d AND h.cell_code = ANY (:cells)"
        " AND (h.valid_to IS NULL OR h.valid_to > :at AND h.valid_to > h.valid_from)"
        " ORDER BY h.cell_code, h.valid_from, h.id"
    )
    district = actor_of(session).district
    touched = sorted({*gone, *(code for new in gone.values() for code in new)})
    with acting_as(session, system(district, "duties")):
        found = [dict(row) for row in session.execute(sql, {"d": district, "cells": touched, "at": at}).mappings()]
        lasting = [row for row in found if row["cell_code"] not in gone or row["cell_code"] in gone[row["cell_code"]]]
        taken = _Spans()
        for row in lasting:
            taken.add(row["cell_code"], row["duty"], row["rank"], row["valid_from"], row["valid_to"])
        new = [
            (code, row["duty"], charge)
            for row in found
            for code in gone.get(row["cell_code"], ())
            if code != row["cell_code"] and (charge := _followed(row, code, taken, at)) is not None
        ]
        ending = [row for row in found if row["cell_code"] in gone and row["cell_code"] not in gone[row["cell_code"]]]
        _end(session, [(row["id"], max(row["valid_from"], at), N_("the cell was redrawn")) for row in ending], at=at)
        _insert(session, new, at=at)
    return len(new)


@dataclass(slots=True)
class _Spans:
    """Which spans are taken, by (cell, duty, rank)."""

    known: dict[tuple[str, str, str], list[tuple[datetime, datetime | None]]] = field(default_factory=dict)

    def add(self, cell: str, duty: str, rank: str, since: datetime, until: datetime | None) -> None:
        self.known.setdefault((cell, duty, rank), []).append((since, until))

    def free(self, cell: str, duty: str, rank: str, since: datetime, until: datetime | None) -> bool:
        return not any(
            (until is None or a < until) and (b is None or b > since) for a, b in self.known.get((cell, duty, rank), ())
        )


def _followed(row: Mapping[str, Any], code: str, taken: _Spans, at: datetime) -> Charge | None:
    """Return what an old row becomes in a new cell, None where its place is taken; notes the span as taken."""
    since = max(row["valid_from"], at)
    for rank in (row["rank"], DEPUTY) if row["rank"] == PRIMARY else (row["rank"],):
        if taken.free(code, row["duty"], rank, since, row["valid_to"]):
            taken.add(code, row["duty"], rank, since, row["valid_to"])
            return Charge(
                cells=(code,),
                duties=(row["duty"],),
                holder=Holder(row["account_id"], row["unit_code"]),
                since=since,
                until=row["valid_to"],
                rank=rank,
                why=row["why"],
                exception=row["exception"],
                source="follow",
            )
    return None


def _bounded(cells: Sequence[str]) -> list[str]:
    if len(cells) > MOST_CELLS:
        raise Invalid("At most {most} cells at once.", field="cells", most=MOST_CELLS)
    return list(cells)


def _within(cells: Iterable[str], area: str) -> None:
    if not all(cell.startswith(area) for cell in cells):
        raise Forbidden("This cell is not in your area.")


def _check(session: Session, charge: Charge, area: str) -> None:
    """Refuse what cannot be: unknown cells, duties, holders, spans; and cells outside the actor's reach."""
    _bounded(charge.cells)
    if not charge.cells or not charge.duties:
        raise Invalid("Choose at least one cell and one duty.", field="cells" if not charge.cells else "duties")
    for duty in charge.duties:
        if duty not in DUTIES:
            raise Invalid("There is no duty {code}.", field="duties", code=duty[:40])
    if charge.rank not in RANKS:
        raise Invalid("There is no rank {code}.", field="rank", code=charge.rank[:40])
    if charge.until is not None and charge.until <= charge.since:
        raise Invalid("The end must come after the beginning.", field="until")
    _within(charge.cells, area)
    district = actor_of(session).district
    known = set(
        session.scalars(
            text("SELECT code FROM cell WHERE district_code = :d AND code = ANY (:cells)"),
            {"d": district, "cells": list(charge.cells)},
        )
    )
    unknown = sorted(set(charge.cells) - known)
    if unknown:
        raise Invalid("The cell {code} is not known.", field="cells", code=unknown[0][:40])
    check_holder(session, charge.holder)


def check_holder(session: Session, holder: Holder) -> None:
    """Raise Invalid unless a holder is one active person of the district's offices, or one active unit. Reads."""
    district = actor_of(session).district
    if (holder.account_id is None) == (holder.unit_code is None):
        raise Invalid("Name a person or a unit.", field="holder")
    if holder.unit_code is not None:
        unit = session.get(Unit, (district, holder.unit_code))
        if unit is None or not unit.active:
            raise Invalid("The unit {code} is not known.", field="holder", code=holder.unit_code[:40])
        return
    with acting_as(session, system(district, "duties")):
        account = session.get(Account, (district, holder.account_id))
    if account is None or not account.active or account.role == Role.CITIZEN.value:
        raise Invalid("This account does not exist or has ended.", field="holder")


def _end(session: Session, ends: Sequence[tuple[uuid.UUID, datetime, str]], *, at: datetime) -> int:
    """End rows (id, new end, why); writes."""
    if not ends:
        return 0
    actor: Actor = actor_of(session)
    done = session.execute(
        text(
            "UPDATE cell_duty SET valid_to = s.until, ended_at = :at, ended_by = :by, ended_why = s.why"
            " FROM unnest(CAST(:ids AS uuid[]), CAST(:untils AS timestamptz[]), CAST(:whys AS text[]))"
            " AS s(id, until, why) WHERE cell_duty.district_code = :d AND cell_duty.id = s.id"
            " AND (cell_duty.valid_to IS NULL OR cell_duty.valid_to > s.until) RETURNING cell_duty.id"
        ),
        {
            "d": actor.district,
            "at": at,
            "by": actor.name,
            "ids": [key for key, _, _ in ends],
            "untils": [until for _, until, _ in ends],
            "whys": [why for _, _, why in ends],
        },
    ).all()
    return len(done)


_COLUMNS: Final = (
    ("id", "uuid"),
    ("cell_code", "text"),
    ("duty", "text"),
    ("rank", "text"),
    ("account_id", "uuid"),
    ("unit_code", "text"),
    ("valid_from", "timestamptz"),
    ("valid_to", "timestamptz"),
    ("source", "text"),
    ("why", "text"),
    ("exception", "text"),
)


def _insert(session: Session, new: Sequence[tuple[str, str, Charge]], *, at: datetime) -> None:
    if not new:
        return
    actor = actor_of(session)
    made = [
        (
            new_id(),
            cell,
            duty,
            c.rank,
            c.holder.account_id,
            c.holder.unit_code,
            c.since,
            c.until,
            c.source,
            c.why,
            c.exception,
        )
        for cell, duty, c in new
    ]
    names = ", ".join(name for name, _ in _COLUMNS)
    arrays = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in _COLUMNS)
    sql = text(
        f"INSERT INTO cell_duty (district_code, {names}, recorded_at, recorded_by)"  # noqa: S608  as above
        f" SELECT :d, {names}, :at, :by FROM unnest({arrays}) AS s({names})"
    )
    values = {name: list(held) for (name, _), held in zip(_COLUMNS, zip(*made, strict=True), strict=True)}
    try:
        session.execute(sql, {"d": actor.district, "at": at, "by": actor.name, **values})
    except IntegrityError as error:
        # exclusion_violation
        if getattr(error.orig, "sqlstate", "") == "23P01":
            raise Conflict("Somebody else was given this duty at the same moment; load it again.") from error
        raise

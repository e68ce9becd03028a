"""What supervision 督查 looks at: who records late 先办后录, what waits for a ruling, how far expiries have climbed.

Reads entries and the marks that actions leave on cases; writes nothing. Every list is bounded and every query carries
the district; the row policies are the second lock.
"""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, select, true
from sqlalchemy.orm import Session

from core.db import actor_of
from core.errors import Invalid
from dispatch.models import Case, Deadline, Entry
from dispatch.views import visible_to

#: A year and a day: more would count a million rows for one page.
_LONGEST = timedelta(days=367)
#: Lines of one list on a page, and of one export.
MOST, MOST_EXPORTED = 100, 10_000


@dataclass(frozen=True, slots=True)
class Lateness:
    """How one unit records."""

    #: Empty for everybody without a unit: operators, grid workers, the program.
    unit_code: str
    #: Entries that were recorded in the span.
    entries: int
    late: int
    #: The longest time between happening and recording among the late ones; None without any.
    worst: timedelta | None

    @property
    def share(self) -> float:
        """Late ones among all, 0 to 1."""
        return self.late / self.entries if self.entries else 0.0


@dataclass(frozen=True, slots=True)
class LateEntry:
    """One entry that was recorded late."""

    number: str
    seq: int
    action: str
    actor_name: str
    unit_code: str
    happened_at: datetime
    recorded_at: datetime

    @property
    def gap(self) -> timedelta:
        """How long after it happened it was recorded."""
        return self.recorded_at - self.happened_at


def late_by_unit(session: Session, *, since: datetime, until: datetime) -> list[Lateness]:
    """Return how every unit recorded between two moments (aware, `until` exclusive), most late ones first.

    The mark was set, and sealed, when the entry was written, by the allowance of that time. Raises Invalid for a span
    that ends before it begins or is longer than a year. Reads only.
    """
    _check(since, until)
    late = Entry.late == true()
    found: Any = session.execute(
        select(
            Entry.unit_code,
            func.count(),
            func.count().filter(late),
            func.max(Entry.recorded_at - Entry.happened_at).filter(late),
        )
        .where(Entry.district_code == actor_of(session).district, Entry.recorded_at >= since, Entry.recorded_at < until)
        .group_by(Entry.unit_code)
    )
    made = [Lateness(unit or "", entries, late_ones, worst) for unit, entries, late_ones, worst in found]
    return sorted(made, key=lambda one: (-one.late, -one.share, one.unit_code))


def late_entries(
    session: Session, *, since: datetime, until: datetime, unit: str | None = None, limit: int = MOST
) -> Iterator[LateEntry]:
    """Yield the late entries of a span, newest first, at most `limit`; walks `ix_entry_late`.

    unit: only this unit's; empty for those of nobody's unit; None for all. Raises Invalid as `late_by_unit`.
    """
    _check(since, until)
    query = (
        select(
            Case.number,
            Entry.seq,
            Entry.action,
            Entry.actor_name,
            func.coalesce(Entry.unit_code, ""),
            Entry.happened_at,
            Entry.recorded_at,
        )
        .join(Case, and_(Case.district_code == Entry.district_code, Case.id == Entry.case_id))
        .where(
            visible_to(actor_of(session)),
            Entry.district_code == actor_of(session).district,
            Entry.late == true(),
            Entry.recorded_at >= since,
            Entry.recorded_at < until,
        )
        .order_by(Entry.recorded_at.desc())
        .limit(max(1, min(limit, MOST_EXPORTED)))
    )
    if unit is not None:
        query = query.where(func.coalesce(Entry.unit_code, "") == unit)
    # As in `dispatch.views`: a row policy looks as if it let next to nothing through, for which sorting every late
    # entry seems cheap; the ordered walk ends after `limit` rows.
    link = session.connection()
    off = ("enable_sort", "enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "jit")
    link.exec_driver_sql("; ".join(f"SET LOCAL {name} = off" for name in off))
    found = session.execute(query).all()
    link.exec_driver_sql("; ".join(f"SET LOCAL {name} TO DEFAULT" for name in off))
    for row in found:
        yield LateEntry(*row)


def _check(since: datetime, until: datetime) -> None:
    if until <= since:
        raise Invalid("The span ends before it begins.", field="to")
    if until - since > _LONGEST:
        raise Invalid("The span is longer than a year; choose a shorter one.", field="from")


@dataclass(frozen=True, slots=True)
class Watched:
    """One case that waits for supervision."""

    id: uuid.UUID
    number: str
    state: str
    kind: str
    #: The title, or the first characters of the text, as the reporter wrote them.
    what: str
    unit_code: str
    #: extension, pause or park; empty where nothing is asked.
    plea: str
    received_at: datetime
    due_at: datetime | None
    warned: int
    #: The clock that ran out and how far its expiry has climbed, in the box of expiries; else empty and 0.
    clock: str = ""
    rung: int = 0


#: Box → what must hold of an open case. The order is that of the page.
BOXES: Mapping[str, Any] = {
    #: 待裁决: units do not agree whose it is.
    "disputed": lambda: Case.state == "disputed",
    #: 待审批: a unit asks for an extension, a pause or to park.
    "pleas": lambda: Case.plea.is_not(None),
    #: 督办中.
    "supervised": lambda: Case.supervised == true(),
}
#: Beside those: clocks that ran out, by rung of the ladder.
OVERDUE = "overdue"


def counts(session: Session) -> dict[str, int]:
    """Return how many open cases each of BOXES holds."""
    columns = [func.count().filter(rule()).label(name) for name, rule in BOXES.items()]
    row = session.execute(select(*columns).where(visible_to(actor_of(session)), Case.open == true())).one()
    return dict(row._mapping)  # noqa: SLF001  the public way to a mapping of a row


def by_rung(session: Session, *, at: datetime) -> dict[int, int]:
    """Return how many running clocks of open cases are over, by the rung that their expiry has reached.

    0: over, and nobody was told yet; 1 the unit's head, 2 the district centre, 3 supervision.
    """
    query = (
        select(Deadline.rung, func.count())
        .join(Case, and_(Case.district_code == Deadline.district_code, Case.id == Deadline.case_id))
        .where(*_overdue(session, at))
        .group_by(Deadline.rung)
    )
    return {rung: n for rung, n in session.execute(query)}  # noqa: C416  rows are no pairs to a type checker


def _overdue(session: Session, at: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        visible_to(actor_of(session)),
        Case.open == true(),
        Deadline.district_code == actor_of(session).district,
        Deadline.stopped_at.is_(None),
        # A clock that stands 挂起 does not run out.
        Deadline.held_at.is_(None),
        Deadline.due_at <= at,
    )


def watched(session: Session, box: str, *, at: datetime, rung: int | None = None) -> list[Watched]:
    """Return the cases of a box, least time left first, at most MOST; raises Invalid for an unknown box.

    rung: in the box of expiries, only those whose expiry has climbed so far.
    """
    if box == OVERDUE:
        query = (
            _columns(Deadline.due_at, Deadline.clock, Deadline.rung)
            .join(Deadline, and_(Deadline.district_code == Case.district_code, Deadline.case_id == Case.id))
            .where(*_overdue(session, at))
            .order_by(Deadline.rung.desc(), Deadline.due_at, Case.id)
        )
        if rung is not None:
            query = query.where(Deadline.rung == rung)
    elif box in BOXES:
        seen = (visible_to(actor_of(session)), Case.open == true(), BOXES[box]())
        query = _columns(Case.due_at).where(*seen).order_by(Case.due_at.asc().nulls_last(), Case.id)
    else:
        raise Invalid("There is no list called {box}.", field="box", box=box[:20])
    return [Watched(*row) for row in session.execute(query.limit(MOST))]


def _columns(*last: Any) -> Select[Any]:
    what = func.coalesce(func.nullif(Case.title, ""), func.left(Case.text, 80))
    head = (Case.id, Case.number, Case.state, Case.kind, what, func.coalesce(Case.unit_code, ""))
    plea = func.coalesce(Case.plea, "")
    return select(*head, plea, Case.received_at, last[0], Case.warned, *last[1:])

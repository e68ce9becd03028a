"""Lists of one unit that no index of cases has in order: the shares it assists in, and all that it ever had.

Both begin with the unit's own assignments, which are few beside everybody's cases. Knows no filter: a list that is
narrowed is a walk of `dispatch.views`. Reads only.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, literal, or_, select, true, tuple_
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.orm import Session, aliased

from core.db import actor_of
from dispatch.boxes import UNANSWERED
from dispatch.models import Assignment, Case, Deadline
from dispatch.walking import along_indexes
from grid.models import Instant

#: A number of shares goes no further.
_MOST = 1001

#: So many assignments are looked at for each case of a page: a case may have come more than once, or late.
_EACH = 5

#: Key and id of the last case of the page before; None on the first page.
After = tuple[datetime | None, uuid.UUID] | None


@dataclass(frozen=True, slots=True)
class Found:
    """The keys of one page, and how many cases there are on all."""

    ids: list[uuid.UUID]
    count: int


def shares(
    session: Session,
    hits: Sequence[ColumnElement[bool]],
    *,
    unit: str,
    key: Any,
    down: bool,
    plain: bool,
    after: After,
    take: int,
) -> Found:
    """Return one page of the cases in which a unit has yet to answer for a share.

    hits: what is meant, as conditions on cases; plain: every share is. key: the column of cases to sort by; None for
    the nearest limit of the unit's own, which is not the case's.
    """
    if key is None and plain:
        found = Found(_by_clock(session, unit, after=after, take=take), unanswered(session, unit, most=_MOST))
        # A share without a clock stands in no index of clocks; it is found by looking at every one.
        if len(found.ids) == take or after is not None or len(found.ids) == found.count:
            return found
    own = select(func.min(Deadline.due_at)).where(*_own(session, Deadline, unit), Deadline.case_id == Case.id)
    return _in_one_pass(
        session, hits, key=own.scalar_subquery() if key is None else key, down=down, after=after, take=take
    )


def unanswered(session: Session, unit: str, *, most: int) -> int:
    """Return how many shares a unit has yet to answer for, at most so many."""
    mine = (Assignment.district_code == actor_of(session).district, Assignment.unit_code == unit)
    open_ones = select(literal(1)).where(*mine, Assignment.share != "lead", Assignment.state.in_(UNANSWERED))
    return session.scalar(select(func.count()).select_from(open_ones.limit(most).subquery())) or 0


def own_clocks(
    session: Session, ids: Sequence[uuid.UUID], *, unit: str, at: datetime
) -> dict[uuid.UUID, dict[str, Any]]:
    """Return due time, clock and colour of the nearest limit that measures a unit's share, by case."""
    found = session.scalars(
        select(Deadline)
        .where(*_own(session, Deadline, unit), Deadline.case_id.in_(ids))
        .order_by(Deadline.due_at.desc(), Deadline.id.desc())
    )
    return {
        one.case_id: {"due_at": one.due_at, "due_clock": one.clock, "colour": 3 if one.due_at <= at else one.fired}
        for one in found
    }


def _own(session: Session, clock: Any, unit: str) -> tuple[ColumnElement[bool], ...]:
    """Return the condition of clocks that run for a unit's shares."""
    here = clock.district_code == actor_of(session).district
    return here, clock.unit_code == unit, clock.stopped_at.is_(None), clock.assignment_id.is_not(None)


def _by_clock(session: Session, unit: str, *, after: After, take: int) -> list[uuid.UUID]:
    """Return the cases of a unit's shares along the index of their clocks, each by its nearest."""
    mine, other = aliased(Deadline), aliased(Deadline)
    nearer = select(literal(1)).where(
        *_own(session, other, unit),
        other.case_id == mine.case_id,
        tuple_(other.due_at, other.id) < tuple_(mine.due_at, mine.id),
    )
    past = _past(mine.due_at, mine.case_id, down=False, after=after)
    found = select(mine.case_id).where(*_own(session, mine, unit), ~nearer.exists(), past)
    with along_indexes(session):
        return list(session.scalars(found.order_by(mine.due_at, mine.case_id).limit(take)))


def _in_one_pass(
    session: Session, hits: Sequence[ColumnElement[bool]], *, key: Any, down: bool, after: After, take: int
) -> Found:
    """Return one page of the cases that conditions mean, and their number; each case is looked at once.

    For conditions that few cases meet and no index orders. Cases without a key stand last.
    """
    found = select(Case.id, key.label("key")).where(*hits).cte("found").prefix_with("MATERIALIZED")
    order = (found.c.key.desc(), found.c.id.desc()) if down else (found.c.key.asc().nulls_last(), found.c.id.asc())
    page = select(found.c.id).where(_past(found.c.key, found.c.id, down=down, after=after))
    page_of = page.order_by(*order).limit(take).subquery()
    count = select(func.count().label("n")).select_from(found).subquery()
    # One row at least, or the number would be lost with the last page.
    rows = session.execute(select(count.c.n, page_of.c.id).select_from(count.outerjoin(page_of, true()))).all()
    return Found([row.id for row in rows if row.id is not None], rows[0].n)


def newest(
    session: Session, seen: ColumnElement[bool], *, unit: str, after: After, take: int, most: int
) -> Found | None:
    """Return one page of all cases that a unit ever had, by intake, newest first; None where a walk finds them sooner.

    seen: what the actor may see of cases. most: the number is exact up to here. A case is received before anybody has
    it, so the cases of a page are among what the unit was given since the oldest of them came in.
    """
    district = actor_of(session).district
    mine = and_(Assignment.district_code == district, Assignment.unit_code == unit)
    past = _past(Case.received_at, Case.id, down=True, after=after)
    oldest, whole = _oldest(session, mine, past, after=after, take=take)
    if oldest is None and not whole:
        return None
    given = select(Assignment.case_id).where(mine, Assignment.created_at >= oldest if oldest else true()).distinct()
    page = select(Case.id).where(seen, Case.district_code == district, past, Case.id.in_(given))
    ids = session.scalars(page.order_by(Case.received_at.desc(), Case.id.desc()).limit(take))
    return Found(list(ids), _count(session, mine, most=most))


def _oldest(
    session: Session, mine: ColumnElement[bool], past: ColumnElement[bool], *, after: After, take: int
) -> tuple[datetime | None, bool]:
    """Return when the last of so many cases came in that the unit was given lately, and whether those are all it had.

    The page holds no older one: so many newer ones are there. None where the unit was given fewer.
    """
    before = Assignment.created_at <= after[0] if after and after[0] else true()
    enough = _EACH * take
    lately = select(Assignment.case_id).where(mine, before).order_by(Assignment.created_at.desc()).limit(enough)
    given = session.scalars(lately).all()
    when = select(Case.received_at).where(
        Case.district_code == actor_of(session).district, Case.id.in_(set(given)), past
    )
    oldest = session.scalar(when.order_by(Case.received_at.desc()).offset(take - 1).limit(1))
    return oldest, len(given) < enough


def _count(session: Session, mine: ColumnElement[bool], *, most: int) -> int:
    """Return how many cases a unit had, exact up to `most`."""
    lately = select(Assignment.case_id).where(mine).order_by(Assignment.created_at.desc()).limit(2 * most).subquery()
    rows, cases = session.execute(select(func.count(), func.count(lately.c.case_id.distinct()))).one()
    if rows < 2 * most or cases > most:
        return int(cases)
    return session.scalar(select(func.count(Assignment.case_id.distinct())).where(mine)) or 0


def _past(key: Any, tie: Any, *, down: bool, after: After) -> ColumnElement[bool]:
    if after is None:
        return true()
    if after[0] is None:
        return and_(key.is_(None), tie > after[1])
    here, there = tuple_(key, tie), tuple_(literal(after[0], Instant), literal(after[1], UUID))
    return here < there if down else or_(here > there, key.is_(None))

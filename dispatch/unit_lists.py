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
from sqlalchemy.orm import Session

from core.db import actor_of
from dispatch.models import Assignment, Case
from grid.models import Instant

#: So many assignments are looked at for each case of a page: a case may have come more than once, or late.
_EACH = 5

#: Key and id of the last case of the page before; None on the first page.
After = tuple[datetime | None, uuid.UUID] | None


@dataclass(frozen=True, slots=True)
class Found:
    """The keys of one page, and how many cases there are on all."""

    ids: list[uuid.UUID]
    count: int


def in_one_pass(
    session: Session, hits: Sequence[ColumnElement[bool]], *, key: Any, down: bool, after: After, take: int
) -> Found:
    """Return one page of the cases that conditions mean, and their number; each case is looked at once.

    For conditions that few cases meet and no index orders. key: the column of cases to sort by; those without one
    stand last.
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

"""What each person may see of the cases, and the worklists made of it: filtered, sorted by time left, page by page.

Knows `cases` and the names that stand beside them; writes nothing and offers no step. One case in full is
`dispatch.sheet`. Every query carries the district and `visible_to`; the row policies are the second lock.
"""

import base64
import binascii
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Double,
    Integer,
    Select,
    and_,
    any_,
    case,
    cast,
    false,
    func,
    literal,
    null,
    or_,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.orm import Session, aliased

from core.actor import Actor, Role
from core.crypto import blind_index
from core.db import actor_of
from core.errors import Invalid
from dispatch.boxes import BOXES, Box, open_states
from dispatch.models import Assignment, Case, Report
from dispatch.unit_lists import After, Found, newest, own_clocks, shares, unanswered
from dispatch.walking import along_indexes
from grid.models import Area, Category, Instant, Unit

#: Roles that read every case of their scope; the same four as in the row policies.
WIDE = frozenset({Role.SYSTEM, Role.OPERATOR, Role.SUPERVISOR, Role.OFFICIAL})
#: Roles that may find a case by the reporter's telephone number.
_BY_PHONE = frozenset({Role.OPERATOR, Role.SUPERVISOR})
#: A page never holds more, and a count never goes further: a longer list is for filters, not for scrolling.
MAX_PAGE = 100
MAX_COUNT = 1000
_PHONE_DIGITS = (7, 12)
#: So many states of one unit are asked one by one: rare ones are found in its index without a look at its other cases.
#: More of them hold most of its cases, of which one walk meets enough soon.
_FEW_STATES = 2


class Sort(StrEnum):
    """The order of a worklist."""

    #: Least time left first; cases without a running clock last.
    DUE = "due"
    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class Filter:
    """What a worklist shows; every empty member shows all. Lives in the page's address."""

    #: One of BOXES; `states` narrows it further.
    box: str = ""
    states: tuple[str, ...] = ()
    #: Code of the lead unit now.
    unit: str = ""
    #: 9-digit, 12-digit and 15-digit codes.
    town: str = ""
    community: str = ""
    cell: str = ""
    #: Code of a category; its subtree is meant.
    category: str = ""
    kind: str = ""
    urgency: str = ""
    channel: str = ""
    #: 0 green, 1 half gone, 2 nearly due, 3 overdue, as of the moment asked.
    colour: int | None = None
    #: A number or its beginning, words of the text, title or place; a telephone number for those who may.
    search: str = ""
    #: Intake from (inclusive) and to (exclusive), aware.
    received_from: datetime | None = None
    received_to: datetime | None = None
    #: Due before this moment, aware; for "what is due today".
    due_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a worklist: enough to decide without opening the case."""

    id: uuid.UUID
    number: str
    state: str
    version: int
    open: bool
    kind: str
    channel: str
    urgency: str
    #: Title and the first 120 characters of the text, as the reporter wrote them.
    title: str
    excerpt: str
    category_code: str | None
    category_name: str | None
    place_name: str
    place_confidence: float | None
    town_code: str | None
    town_name: str | None
    cell_code: str | None
    unit_code: str | None
    unit_name: str | None
    received_at: datetime
    due_at: datetime | None
    due_clock: str | None
    #: As Filter.colour.
    colour: int
    returns: int
    #: A supervision runs; what the unit has asked; the centre calls it complex.
    supervised: bool
    plea: str | None
    complex: bool
    #: Number of the last log entry.
    entries: int
    #: EPSG:4490; None without a place.
    lng: float | None
    lat: float | None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a worklist."""

    rows: tuple[Row, ...]
    #: Hand this back to get the next page; None on the last.
    after: str | None
    #: Number of matching cases, at most MAX_COUNT.
    count: int
    #: There are more than `count`.
    more: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """Open cases of one's scope by state, colour and urgency."""

    total: int
    by_state: Mapping[str, int]
    #: Always the keys 0 to 3.
    by_colour: Mapping[int, int]
    #: Not overdue yet, but due before the moment asked for.
    due_soon: int
    #: Emergencies that nobody has signed for.
    emergencies: int
    #: Under supervision; with a plea that waits.
    supervised: int = 0
    pleas: int = 0
    #: Where the unit has a share and does not lead; at most MAX_PAGE.
    shares: int = 0
    #: Parked, and the day to look at them again has come.
    reviews: int = 0

    def of(self, box: str) -> int | None:
        """Return the number of a box; None for one that is not counted."""
        if box in ("pleas", "supervised", "shares"):
            return int(getattr(self, box))
        if box in ("ended", "all", "complex"):
            return None
        return sum(self.by_state.get(state, 0) for state in BOXES[box].named())


def visible_to(actor: Actor, *, pinned: uuid.UUID | None = None) -> ColumnElement[bool]:
    """Return the condition on `cases` under which an actor may see a case: the same rule as the row policy.

    pinned: the case whose number and code an anonymous citizen has shown.
    Source: `_SEES_CASE` of migration 0003; a test compares the two, role by role.
    """
    own = Case.district_code == actor.district
    if actor.role in WIDE:
        return and_(own, Case.town_code == actor.town) if actor.town else own
    if actor.role is Role.UNIT and actor.unit:
        return and_(own, literal(actor.unit) == any_(Case.unit_codes))
    if actor.role is Role.GRID_WORKER and actor.town:
        return and_(own, Case.town_code == actor.town)
    if actor.role is Role.CITIZEN and pinned is not None:
        return and_(own, Case.id == pinned)
    return false()


def worklist(
    session: Session,
    asked: Filter,
    *,
    at: datetime,
    sort: Sort = Sort.DUE,
    after: str | None = None,
    limit: int = 50,
) -> Page:
    """Return one page of the cases that the session's actor may see and the filter means.

    at: aware; tells what is overdue. after: `Page.after` of the page before; raises Invalid for a made-up one.
    Reads only, by key and never by offset: a case that comes or goes meanwhile neither repeats nor hides another.
    Ordered by time left, each open state is one walk along `ix_cases_worklist` (`ix_cases_unit` for one unit).
    """
    actor = actor_of(session)
    take = max(1, min(limit, MAX_PAGE))
    ended = asked.box == "ended"
    order = Sort.NEWEST if ended and sort is Sort.DUE else sort
    last = _cursor(after)
    keys = _own(session, asked, actor, at=at, sort=order, after=last, take=take + 1)
    if keys is None:
        keys = _walked(session, asked, actor, at=at, sort=order, after=last, take=take + 1)
    found = session.execute(_with_names(keys.ids[:take], actor, at=at, sort=order)).mappings()
    rows = tuple(Row(**row) for row in found)
    if asked.box == "shares" and actor.unit:
        rows = _by_own_clocks(session, rows, keys.ids, actor.unit, at=at)
    return Page(
        rows=rows,
        after=_write_cursor(rows[-1], order) if rows and len(keys.ids) > take else None,
        count=min(keys.count, MAX_COUNT),
        more=keys.count > MAX_COUNT,
    )


def _by_own_clocks(
    session: Session, rows: Sequence[Row], order: Sequence[uuid.UUID], unit: str, *, at: datetime
) -> tuple[Row, ...]:
    """Return the lines of shares with the limits that measure the unit itself, in the order of their keys."""
    own = own_clocks(session, [row.id for row in rows], unit=unit, at=at)
    none = {"due_at": None, "due_clock": None, "colour": 0}
    told = {row.id: replace(row, **own.get(row.id, none)) for row in rows}
    return tuple(told[key] for key in order if key in told)


def _own(
    session: Session, asked: Filter, actor: Actor, *, at: datetime, sort: Sort, after: After, take: int
) -> Found | None:
    """Return the keys of a list that begins with a unit's own assignments; None where indexes of cases lead to it."""
    if asked.box == "shares" and not actor.unit:
        return Found([], 0)
    if asked.box == "shares":
        hits = _conditions(asked, actor, at=at)
        key = None if sort is Sort.DUE else Case.received_at
        plain = replace(asked, box="") == Filter()
        return shares(
            session, hits, unit=actor.unit, key=key, down=sort is Sort.NEWEST, plain=plain, after=after, take=take
        )
    if (
        actor.role is Role.UNIT
        and sort is Sort.NEWEST
        and replace(asked, box="") == Filter()
        and _box(asked).everything
    ):
        # Of all cases, a walk would pass by every other unit's.
        most = MAX_COUNT + 1
        return newest(session, visible_to(actor), unit=actor.unit, after=after, take=take, most=most)
    return None


def _walked(
    session: Session, asked: Filter, actor: Actor, *, at: datetime, sort: Sort, after: After, take: int
) -> Found:
    """Return the keys of a page by walks along indexes, and the number of cases."""
    keys = _page_keys(asked, actor, at=at, sort=sort, after=after, take=take)
    with along_indexes(session):
        ids = list(session.scalars(select(keys.c.id)))
        # What fits on the first page is all there is: nobody waits a second time for a search of every open case.
        if after is None and len(ids) < take:
            return Found(ids, len(ids))
        hits = select(func.count()).select_from(_hits(asked, actor, at=at).subquery())
        return Found(ids, session.scalar(hits) or 0)


def arrived(session: Session, asked: Filter, *, at: datetime, since: datetime) -> int:
    """Return how many cases of a worklist were taken in after `since`, at most 100: for "N new" above a list."""
    conditions = _conditions(asked, actor_of(session), at=at)
    hits = select(literal(1)).where(*conditions, Case.received_at > since).limit(MAX_PAGE).subquery()
    return session.scalar(select(func.count()).select_from(hits)) or 0


def assigned(session: Session, *, unit: str, since: datetime) -> int:
    """Return how many shares a unit was given after `since`, at most 100: for "N new" above its inbox."""
    mine = (Assignment.district_code == actor_of(session).district, Assignment.unit_code == unit)
    hits = select(literal(1)).where(*mine, Assignment.created_at > since).limit(MAX_PAGE).subquery()
    return session.scalar(select(func.count()).select_from(hits)) or 0


def counts(session: Session, *, at: datetime, soon: datetime, unit: str = "") -> Counts:
    """Return how many open cases the session's actor sees, by state and colour.

    at, soon: aware; `due_soon` counts what falls due between them. unit: only where this unit is the lead.
    """
    actor = actor_of(session)
    where: list[ColumnElement[bool]] = [visible_to(actor), Case.open == true()]
    if unit:
        where.append(Case.unit_code == unit)
    colour = _colour(at)
    found = session.execute(
        select(
            Case.state,
            colour.label("colour"),
            func.count().label("n"),
            func.count().filter(Case.due_at > at, Case.due_at <= soon).label("soon"),
            func.count().filter(Case.urgency == "emergency", Case.state.in_(("received", "dispatched"))).label("alarm"),
            func.count().filter(Case.supervised).label("supervised"),
            func.count().filter(Case.plea.is_not(None)).label("pleas"),
            func.count().filter(Case.state == "parked", Case.due_at <= soon).label("reviews"),
        )
        .where(*where)
        .group_by(Case.state, colour)
    ).all()
    by_state: dict[str, int] = {}
    by_colour = dict.fromkeys(range(4), 0)
    for row in found:
        state, shade, n = row.state, row.colour, row.n
        by_state[state] = by_state.get(state, 0) + n
        by_colour[shade] += n
    return Counts(
        total=sum(by_state.values()),
        by_state=by_state,
        by_colour=by_colour,
        due_soon=sum(row.soon for row in found),
        emergencies=sum(row.alarm for row in found),
        supervised=sum(row.supervised for row in found),
        pleas=sum(row.pleas for row in found),
        shares=unanswered(session, unit, most=MAX_PAGE) if unit else 0,
        reviews=sum(row.reviews for row in found),
    )


def find_number(session: Session, number: str) -> uuid.UUID | None:
    """Return the id of the case with this number if the session's actor may see it."""
    return session.scalar(select(Case.id).where(visible_to(actor_of(session)), Case.number == number.strip().upper()))


def numbers(session: Session, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, tuple[str, str]]:
    """Return number and state of those of these cases that the session's actor may see, by id."""
    if not ids:
        return {}
    seen = visible_to(actor_of(session))
    found = session.execute(select(Case.id, Case.number, Case.state).where(seen, Case.id.in_(ids[:MAX_PAGE])))
    return {key: (number, state) for key, number, state in found}


def _colour(at: datetime) -> ColumnElement[int]:
    """Return the colour as of a moment: what the sweep has announced, and overdue from the very second on."""
    # GREATEST passes over the NULL of a case without a clock.
    return func.greatest(Case.warned, cast(Case.due_at <= at, Integer) * 3)


def _box(asked: Filter) -> Box:
    """Return the box of a filter; raises Invalid."""
    try:
        return BOXES[asked.box or "all"]
    except KeyError as error:
        raise Invalid("There is no list called {box}.", field="box", box=asked.box[:20]) from error


def _open_branches(asked: Filter) -> list[Filter]:
    """Split a filter by open state, where that turns a sort by due time into a few ordered index scans."""
    box = _box(asked)
    wanted = [state for state in (box.named() or open_states()) if not asked.states or state in asked.states]
    if box.few or (asked.unit and len(wanted) > _FEW_STATES):
        return [asked]
    return [replace(asked, states=(state,)) for state in wanted]


def _conditions(asked: Filter, actor: Actor, *, at: datetime) -> list[ColumnElement[bool]]:
    box = _box(asked)
    states = box.named()
    where: list[ColumnElement[bool]] = [visible_to(actor)]
    if box.states is None:
        where.append(~Case.open)
    elif states and set(states) == set(open_states()):
        where.append(Case.open == true())
    elif states:
        # The partial indexes stand on `open`, which the planner cannot read out of the states.
        where += [Case.open == true(), Case.state.in_(states) if len(states) > 1 else Case.state == states[0]]
    if box.where is not None:
        where += box.where(actor)
    if asked.states:
        where.append(Case.state.in_(asked.states) if len(asked.states) > 1 else Case.state == asked.states[0])
    for column, value in (
        (Case.unit_code, asked.unit),
        (Case.town_code, asked.town),
        (Case.community_code, asked.community),
        (Case.cell_code, asked.cell),
        (Case.kind, asked.kind),
        (Case.urgency, asked.urgency),
        (Case.channel, asked.channel),
    ):
        if value:
            where.append(column == value)
    if asked.category:
        where.append(Case.category_code.startswith(asked.category, autoescape=True))
    if asked.colour is not None:
        where.append(_colour(at) == asked.colour)
    if asked.received_from is not None:
        where.append(Case.received_at >= asked.received_from)
    if asked.received_to is not None:
        where.append(Case.received_at < asked.received_to)
    if asked.due_before is not None:
        where.append(Case.due_at < asked.due_before)
    if asked.search.strip():
        where.append(_matches(asked.search.strip()[:100], actor))
    return where


def _hits(asked: Filter, actor: Actor, *, at: datetime) -> Select[Any]:
    """Return the cases that a filter means, one bare row each, of each part one more than a count shows.

    Those of one unit are asked for in an order that only its own indexes have. Left to itself the planner, which cannot
    estimate under a policy, takes the index by state and reads every unit's cases.
    """
    box = _box(asked)
    hits = select(literal(1).label("hit")).where(*_conditions(asked, actor, at=at))
    parts = [hits]
    if asked.unit and not box.few:
        parts = [
            select(literal(1).label("hit"))
            .where(*_conditions(branch, actor, at=at), Case.open == true())
            .order_by(Case.due_at)
            for branch in (_open_branches(asked) if box.states is not None else ())
        ]
        if box.everything:
            parts.append(hits.where(Case.open == false()).order_by(Case.received_at))
    each = [select(part.limit(MAX_COUNT + 1).subquery()) for part in parts]
    return select(literal(1)).select_from(union_all(*each).subquery()) if len(each) > 1 else each[0]


def _matches(said: str, actor: Actor) -> ColumnElement[bool]:
    """Return the condition that a case is meant by what somebody typed into the search field."""
    plain = said.replace(" ", "").replace("-", "").upper()
    ways = [
        Case.text.icontains(said, autoescape=True),
        Case.place_name.icontains(said, autoescape=True),
        Case.title.icontains(said, autoescape=True),
    ]
    if plain[:4].isdigit() and plain.isascii() and plain.isalnum():
        ways.append(Case.number.startswith(plain, autoescape=True))
        digits = plain.removeprefix("86") if len(plain) == 13 else plain
        if actor.role in _BY_PHONE and digits.isdigit() and _PHONE_DIGITS[0] <= len(digits) <= _PHONE_DIGITS[1]:
            ways.append(
                Case.id.in_(
                    select(Report.case_id).where(
                        Report.district_code == actor.district,
                        Report.phone_index == blind_index(digits, context="phone"),
                    )
                )
            )
    return or_(*ways)


def _page_keys(
    asked: Filter,
    actor: Actor,
    *,
    at: datetime,
    sort: Sort,
    after: After,
    take: int,
) -> Any:
    """Return a subquery of the ids of one page, whose parts each stop after `take` rows of their own index."""
    parts = _by_due(asked, actor, at=at, after=after) if sort is Sort.DUE else []
    down = sort is Sort.NEWEST
    if sort is not Sort.DUE:
        base: Select[Any] = select(*_pair(Case.received_at))
        base = base.where(*_conditions(asked, actor, at=at), _past(sort, after))
        parts = [base.order_by(*_ordered(Case.received_at, Case.id, down=down))]
    each = [select(part.limit(take).subquery()) for part in parts]
    merged = union_all(*each).subquery() if len(each) > 1 else each[0].subquery()
    return select(merged.c.id).order_by(*_ordered(merged.c.key, merged.c.id, down=down)).limit(take).subquery("page")


def _by_due(asked: Filter, actor: Actor, *, at: datetime, after: After) -> list[Select[Any]]:
    """Return the parts of a list by time left: running clocks by state, then cases without a clock, then ended ones."""
    parts: list[Select[Any]] = []
    last = and_(true(), Case.id > after[1]) if after is not None and after[0] is None else true()
    unclocked: Select[Any] = select(*_pair(cast(null(), Instant)))
    box = _box(asked)
    for branch in _open_branches(asked) if box.states is not None else ():
        where = [*_conditions(branch, actor, at=at), Case.open == true()]
        if after is None or after[0] is not None:
            running: Select[Any] = select(*_pair(Case.due_at))
            running = running.where(*where, Case.due_at.is_not(None), _past(Sort.DUE, after))
            parts.append(running.order_by(Case.due_at, Case.id))
        # What has no clock stands last; asked apart, so that neither question leaves its index.
        # Ordered by the empty due time, too: that is the index in which the few of them lie together.
        parts.append(unclocked.where(*where, Case.due_at.is_(None), last).order_by(Case.due_at, Case.id))
    if box.everything:
        where = [*_conditions(asked, actor, at=at), Case.open == false()]
        parts.append(unclocked.where(*where, last).order_by(Case.id))
    return parts


def _pair(key: Any) -> list[Any]:
    return [Case.id.label("id"), key.label("key")]


def _ordered(key: Any, tie: Any, *, down: bool) -> tuple[Any, Any]:
    return (key.desc(), tie.desc()) if down else (key.asc().nulls_last(), tie.asc())


def _past(sort: Sort, after: tuple[datetime | None, uuid.UUID] | None) -> ColumnElement[bool]:
    if after is None or after[0] is None:
        return true()
    here = tuple_(Case.due_at if sort is Sort.DUE else Case.received_at, Case.id)
    there = tuple_(literal(after[0], Instant), literal(after[1], UUID))
    return here < there if sort is Sort.NEWEST else here > there


def _with_names(ids: Sequence[uuid.UUID], actor: Actor, *, at: datetime, sort: Sort) -> Select[Any]:
    town = aliased(Area)
    here = actor.district
    # The parts of the page take an ended case for one without a clock.
    key = case((Case.open, Case.due_at)) if sort is Sort.DUE else Case.received_at
    ordered = _ordered(key, Case.id, down=sort is Sort.NEWEST)
    return (
        select(
            Case.id,
            Case.number,
            Case.state,
            Case.version,
            Case.open,
            Case.kind,
            Case.channel,
            Case.urgency,
            Case.title,
            func.left(Case.text, 120).label("excerpt"),
            Case.category_code,
            Category.name.label("category_name"),
            Case.place_name,
            Case.place_confidence,
            Case.town_code,
            town.short.label("town_name"),
            Case.cell_code,
            Case.unit_code,
            Unit.name.label("unit_name"),
            Case.received_at,
            Case.due_at,
            Case.due_clock,
            _colour(at).label("colour"),
            Case.returns,
            Case.supervised,
            Case.plea,
            Case.complex,
            Case.entries,
            func.ST_X(Case.geom, type_=Double).label("lng"),
            func.ST_Y(Case.geom, type_=Double).label("lat"),
        )
        .join(Category, and_(Category.district_code == here, Category.code == Case.category_code), isouter=True)
        .join(Unit, and_(Unit.district_code == here, Unit.code == Case.unit_code), isouter=True)
        .join(town, and_(town.district_code == here, town.code == Case.town_code), isouter=True)
        .where(visible_to(actor), Case.id.in_(ids))
        .order_by(*ordered)
    )


def _write_cursor(row: Row, sort: Sort) -> str:
    key = row.received_at if sort is not Sort.DUE else row.due_at if row.open else None
    raw = f"{key.isoformat() if key else ''}|{row.id}"
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def _cursor(written: str | None) -> tuple[datetime | None, uuid.UUID] | None:
    if not written:
        return None
    try:
        raw = base64.urlsafe_b64decode(written + "=" * (-len(written) % 4)).decode()
        moment, _, key = raw.partition("|")
        parsed = datetime.fromisoformat(moment) if moment else None
        # Python reads a time without zone as the machine's own; ours always write one.
        return parsed.astimezone(UTC) if parsed else None, uuid.UUID(key)
    except (ValueError, OverflowError, binascii.Error) as error:
        raise Invalid("This page of the list does not exist; begin again at its top.", field="after") from error

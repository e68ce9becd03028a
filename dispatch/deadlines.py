"""The running clocks of cases 时限: rows that start, stand, stop, warn and escalate; once however many sweep.

Knows the tables `deadline`, `pause` and `deadline_change`. When a limit runs out is computed by `dispatch.limits`; whom
an expiry is told, by `dispatch.ladder`; what a warning says, by the relay.
"""

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import orjson
from sqlalchemy import insert, select, text, update
from sqlalchemy.orm import Session

from core.errors import Conflict
from core.ids import new_id
from dispatch.calendar import china_time
from dispatch.limits import Limit, Measured, measured
from dispatch.models import Deadline, DeadlineChange, Pause

if TYPE_CHECKING:
    from dispatch.rulebook import Rulebook

#: The levels that are announced: half the limit is gone, four fifths, all of it. Also the colours of FACES.md.
HALF, NEAR, OVERDUE = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Clock:
    """One clock about to start."""

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "id",
        "clock",
        "unit_code",
        "limit",
        "started_at",
        "due_at",
        "provisional",
        "half_at",
        "near_at",
        "next_at",
        "assignment_id",
        "legal_limit",
        "legal_due_at",
        "own_limit",
    )

    #: As the process table names it.
    name: str
    #: Whom it measures; None for the district centre.
    unit: str | None
    #: As written in the table of limits.
    limit: str
    started_at: datetime
    due_at: datetime
    provisional: bool
    half_at: datetime
    near_at: datetime
    #: The share that it measures; None for clocks of the whole case.
    assignment_id: uuid.UUID | None = None
    #: The law's limit where a shorter one was promised, and when it runs out.
    legal: str | None = None
    legal_due_at: datetime | None = None
    #: The limit was given with the clock (an item's promise, a granted span): changes of the table leave it alone.
    own: bool = False

    def columns(self) -> dict[str, Any]:
        """Return the columns of table `deadline` without the keys."""
        return {
            "id": new_id(),
            "clock": self.name,
            "unit_code": self.unit,
            "limit": self.limit,
            "started_at": self.started_at,
            "due_at": self.due_at,
            "provisional": self.provisional,
            "half_at": self.half_at,
            "near_at": self.near_at,
            "next_at": self.half_at,
            "assignment_id": self.assignment_id,
            "legal_limit": self.legal,
            "legal_due_at": self.legal_due_at,
            "own_limit": self.own,
        }


def nearest(clocks: Iterable[Clock]) -> Clock | None:
    """Return the clock that runs out first, or None."""
    return min(clocks, key=lambda clock: clock.due_at, default=None)


class Running:
    """The clocks of one case that have not been stopped, those that stand among them, in the order they started.

    Whoever has one holds the case row. Changes are made to the session's objects and written with them by the caller.
    """

    def __init__(self, session: Session, district: str, case_id: uuid.UUID, rows: Iterable[Deadline] = ()) -> None:
        self._session, self._district, self._rows = session, district, list(rows)
        self._keys: dict[str, Any] = {"district_code": district, "case_id": case_id}

    def __iter__(self) -> Iterator[Deadline]:
        return iter(self._rows)

    def _named(self, names: Collection[str], share: uuid.UUID | None) -> list[Deadline]:
        """Return the clocks of these names; share: only those of that share."""
        return [row for row in self._rows if row.clock in names and share in (None, row.assignment_id)]

    @property
    def nearest(self) -> Deadline | None:
        """The clock that runs out first, ties by id; one that stands has no say unless it had expired before."""
        going = (row for row in self._rows if row.held_at is None or row.due_at <= row.held_at)
        return min(going, key=lambda row: (row.due_at, row.id), default=None)

    def start(self, clocks: Iterable[Clock]) -> None:
        """Let clocks begin."""
        for clock in clocks:
            row = Deadline(**self._keys, **clock.columns(), fired=0, rung=0, extra=[])
            self._session.add(row)
            self._rows.append(row)

    def stop(
        self, names: Collection[str], *, at: datetime, void: bool = False, assignment_id: uuid.UUID | None = None
    ) -> None:
        """Stop the clocks of these names: met or missed by the time, or void where the matter went elsewhere.

        A clock that stands is judged by the moment it was held, and its pause ends. assignment_id: only the clocks of
        that share.
        """
        stopped = self._named(names, assignment_id)
        self._end_pauses([row for row in stopped if row.held_at is not None], at=at)
        for row in stopped:
            row.outcome = "void" if void else "met" if (row.held_at or at) <= row.due_at else "missed"
            row.stopped_at, row.next_at, row.held_at = at, None, None
            self._rows.remove(row)

    def hold(self, names: Collection[str], *, at: datetime, reason: str, assignment_id: uuid.UUID | None = None) -> int:
        """Let the clocks of these names stand 挂起 and return how many do; those that stand already go on standing.

        reason: a listed code, kept with the pause. Nothing fires while a clock stands.
        """
        held = [row for row in self._named(names, assignment_id) if row.held_at is None]
        for row in held:
            row.held_at, row.next_at = at, None
            self._session.add(Pause(**self._keys, id=new_id(), deadline_id=row.id, reason_code=reason, started_at=at))
        return len(held)

    def resume(
        self, book: "Rulebook", names: Collection[str], *, at: datetime, assignment_id: uuid.UUID | None = None
    ) -> int:
        """Let clocks that stand run again and return how many do; each is due later by what would have counted.

        The pause ends, the diff is kept with the pause's reason and span, and levels that were announced before are
        not announced again.
        """
        held = [row for row in self._named(names, assignment_id) if row.held_at is not None]
        if not held:
            return 0
        self._end_pauses(held, at=at)
        pauses = self._pauses(held)
        for row in held:
            last = max(pauses[row.id], key=lambda pause: pause.started_at)
            why = {"paused": last.reason_code, "from": last.started_at.isoformat(), "to": at.isoformat()}
            row.held_at = None
            apply_due(self._session, book, row, reckoned(row, pauses[row.id], book), at=at, why=why, again=False)
        return len(held)

    def extend(
        self,
        book: "Rulebook",
        name: str,
        span: str,
        *,
        at: datetime,
        asked_at: datetime,
        why: Mapping[str, Any],
        assignment_id: uuid.UUID | None = None,
    ) -> datetime:
        """Lengthen a clock 延期 by a typed limit that begins where it ends now; return the new due time.

        asked_at: when the extension was asked for; a limit that had run out by then cannot be saved. why: kept in the
        diff beside the span. Raises Conflict when the clock is not running, had expired when it was asked, or would run
        past the law's limit; Invalid for a span that is none.
        """
        parsed = Limit.parse(span)
        row = next(iter(self._named([name], assignment_id)), None)
        if row is None:
            raise Conflict("This limit does not run any more; nothing can be extended.")
        if min(asked_at, row.held_at or asked_at) > row.due_at:
            raise Conflict("The limit had run out when the extension was asked for; it cannot be extended.")
        row.extra = [*row.extra, str(parsed)]
        found = reckoned(row, self._pauses([row])[row.id], book)
        if found.legal_at is not None and found.capped:
            day = china_time(found.legal_at).date().isoformat()
            raise Conflict(
                "The extension would lead past the limit that the law sets, which runs out on {day}.", day=day
            )
        apply_due(self._session, book, row, found, at=at, why={"extended": str(parsed), **why})
        return found.at

    def remeasure(
        self,
        book: "Rulebook",
        *,
        kind: str,
        urgency: str,
        category: str,
        item: str = "",
        at: datetime,
        why: Mapping[str, Any],
    ) -> int:
        """Look the limits up anew after the case was corrected; return how many clocks changed.

        kind: `complex` where the case is. A clock that carries its own limit keeps it. Starting points never move; each
        change keeps a diff.
        """
        changed = 0
        for row in self._rows:
            limit = book.limit_of(row.clock, kind=kind, urgency=urgency, category=category, item=item)
            if row.own_limit or limit is None or str(limit) == row.limit:
                continue
            told = {**why, "limit": [row.limit, str(limit)]}
            row.limit = str(limit)
            apply_due(self._session, book, row, reckoned(row, self._pauses([row])[row.id], book), at=at, why=told)
            changed += 1
        return changed

    def move_unit(self, unit: str | None, names: Collection[str]) -> None:
        """Let clocks of the whole case measure another unit: the reply clock was started by intake, never reset."""
        for row in self._named(names, None):
            if row.assignment_id is None:
                row.unit_code = unit

    def _pauses(self, rows: Sequence[Deadline]) -> dict[uuid.UUID, list[Pause]]:
        return pauses_of(self._session, self._district, [row.id for row in rows])

    def _end_pauses(self, rows: Sequence[Deadline], *, at: datetime) -> None:
        if rows:
            ended = update(Pause).where(
                Pause.district_code == self._district,
                Pause.deadline_id.in_([row.id for row in rows]),
                Pause.ended_at.is_(None),
            )
            self._session.execute(ended.values(ended_at=at).execution_options(synchronize_session=False))


def running(session: Session, district: str, case_id: uuid.UUID) -> Running:
    """Return the running clocks of a case as they are in the database now. Reads; the caller holds the case row."""
    found = (
        select(Deadline)
        .where(Deadline.district_code == district, Deadline.case_id == case_id, Deadline.stopped_at.is_(None))
        .order_by(Deadline.started_at, Deadline.id)
        .execution_options(populate_existing=True)
    )
    return Running(session, district, case_id, session.scalars(found))


class Limited(Protocol):
    """What must be known of a clock to say when it is due."""

    @property
    def limit(self) -> str:
        """The typed limit."""

    @property
    def started_at(self) -> datetime:
        """When it started; never moves."""

    @property
    def extra(self) -> Sequence[str]:
        """Extensions in order."""

    @property
    def legal_limit(self) -> str | None:
        """The law's limit beside a shorter promise."""


class Span(Protocol):
    """What must be known of a pause."""

    @property
    def reason_code(self) -> str:
        """Why the clock stood."""

    @property
    def started_at(self) -> datetime:
        """When it began."""

    @property
    def ended_at(self) -> datetime | None:
        """When it ended; None while the clock stands."""


def reckoned(row: Limited, pauses: Iterable[Span], book: "Rulebook") -> Measured:
    """Return what a clock's limits come to by today's calendar, its ended pauses and its extensions; stores nothing."""
    return measured(
        row.started_at,
        Limit.parse(row.limit),
        work=book.work,
        legal=Limit.parse(row.legal_limit) if row.legal_limit else None,
        pauses=[(pause.started_at, pause.ended_at) for pause in pauses if pause.ended_at is not None],
        extra=[Limit.parse(span) for span in row.extra],
    )


def pauses_of(session: Session, district: str, clocks: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[Pause]]:
    """Return the pauses of some clocks in order, an empty list for a clock without one. Reads only."""
    found: dict[uuid.UUID, list[Pause]] = {clock: [] for clock in clocks}
    rows = session.scalars(
        select(Pause)
        .where(Pause.district_code == district, Pause.deadline_id.in_(clocks))
        .order_by(Pause.started_at, Pause.id)
        .execution_options(populate_existing=True)
    )
    for row in rows:
        found[row.deadline_id].append(row)
    return found


def apply_due(
    session: Session,
    book: "Rulebook",
    row: Deadline,
    found: Measured,
    *,
    at: datetime,
    why: Mapping[str, Any],
    again: bool = True,
) -> None:
    """Move a running deadline to what was reckoned and keep the diff; warnings that lie ahead are armed again.

    again: False where levels that were announced stay announced. An expiry that was announced and stands goes on
    climbing the ladder. Writes; caller commits and holds the case row.
    """
    session.execute(
        insert(DeadlineChange),
        [
            {
                "district_code": row.district_code,
                "id": new_id(),
                "case_id": row.case_id,
                "deadline_id": row.id,
                "changed_at": at,
                "old_due_at": row.due_at,
                "new_due_at": found.at,
                "why": dict(why),
            }
        ],
    )
    row.due_at, row.half_at, row.near_at = found.at, found.half, found.near
    row.provisional, row.legal_due_at = found.provisional, found.legal_at
    fired, rung = announced(row.fired, row.rung, found, at=at, again=again)
    row.next_at = armed(book, row, found, fired, rung, at=at)
    row.fired, row.rung = fired, rung


def announced(fired: int, rung: int, found: Measured, *, at: datetime, again: bool = True) -> tuple[int, int]:
    """Return the level and rung that count as announced after a deadline moved.

    Levels that lie behind are not announced again, and those ahead are; an expiry that the move itself brought about
    still is, by the next sweep.
    """
    if fired == OVERDUE and found.at <= at:
        return OVERDUE, rung
    passed = NEAR if found.near <= at else HALF if found.half <= at else 0
    return (passed if again else max(passed, min(fired, NEAR))), 0


class Climbing(Protocol):
    """What must be known of a clock to say when the sweep has to look at it next."""

    @property
    def unit_code(self) -> str | None:
        """Whom it measures."""

    @property
    def next_at(self) -> datetime | None:
        """When the sweep would look so far."""

    @property
    def held_at(self) -> datetime | None:
        """Since when it stands."""


def armed(book: "Rulebook", row: Climbing, found: Measured, fired: int, rung: int, *, at: datetime) -> datetime | None:
    """Return when the sweep has to look at a moved deadline; None while it stands and above the ladder's top.

    Those who were told of an expiry keep the time they were given, counted from `at` where the clock had stood.
    """
    if row.held_at is not None:
        return None
    if fired == OVERDUE:
        return row.next_at or book.ladder.next_at(rung, row.unit_code, at, work=book.work)
    return (found.half, found.near, found.at)[fired]


#: The nearest running clock of each case, ties by id. One that stands has no say unless it had expired before.
_NEAREST = (
    "UPDATE cases AS c SET due_at = n.due_at, due_clock = n.clock, warned = coalesce(n.fired, 0) "
    "FROM unnest(CAST(:cases AS uuid[])) AS s(id) LEFT JOIN LATERAL ("
    " SELECT due_at, clock, fired FROM deadline WHERE district_code = :d AND case_id = s.id AND stopped_at IS NULL"
    " AND (held_at IS NULL OR due_at <= held_at) ORDER BY due_at, id LIMIT 1) AS n ON true "
    "WHERE c.district_code = :d AND c.id = s.id"
)


def copy_nearest(session: Session, district: str, *cases: uuid.UUID) -> None:
    """Copy the nearest running deadline and its colour to the case rows, where worklists sort by it.

    Writes; caller commits and holds the case rows.
    """
    if cases:
        session.execute(text(_NEAREST), {"d": district, "cases": list(cases)})


@dataclass(frozen=True, slots=True)
class Fired:
    """A level that one clock has reached, or a rung that its expiry climbed."""

    case_id: uuid.UUID
    deadline_id: uuid.UUID
    clock: str
    unit: str | None
    #: HALF, NEAR or OVERDUE.
    level: int
    due_at: datetime
    #: Who is told of an expiry: a rung of the ladder; empty for warnings.
    told: str = ""
    #: 1 for the rung at expiry, 2 for the next…; 0 for warnings.
    rung: int = 0


#: A case whose log is ahead of the server's clock waits until the clock has come up to it.
_DUE_CASES = text(
    "SELECT c.id FROM cases AS c WHERE c.district_code = :d AND c.id IN ("
    " SELECT w.case_id FROM deadline AS w WHERE w.district_code = :d AND w.next_at <= :at"
    " ORDER BY w.next_at LIMIT :window) AND NOT EXISTS ("
    " SELECT 1 FROM entry AS e WHERE e.district_code = :d AND e.case_id = c.id AND e.seq = c.entries"
    " AND e.recorded_at > :at) ORDER BY c.id LIMIT :n FOR UPDATE OF c SKIP LOCKED"
)
#: Sweepers that find work beside each other: each looks past what as many others may have locked.
_BESIDE = 4
_REACHED = text(
    "SELECT case_id, id, clock, unit_code, fired, rung, due_at, near_at FROM deadline "
    "WHERE district_code = :d AND case_id = ANY (:cases) AND next_at <= :at AND stopped_at IS NULL "
    "AND held_at IS NULL ORDER BY case_id, due_at, id"
)
_ADVANCE = text(
    "UPDATE deadline AS w SET fired = s.fired, rung = s.rung, next_at = s.next_at FROM "
    "json_to_recordset(CAST(:rows AS json)) AS s(id uuid, fired int, rung int, next_at timestamptz) "
    "WHERE w.district_code = :d AND w.id = s.id"
)


def due_cases(session: Session, district: str, *, at: datetime, limit: int) -> list[uuid.UUID]:
    """Lock and return up to `limit` cases with a clock that has something to announce; others may sweep the rest.

    Takes case rows, as every action does, so that the order of locks is one; rows held by an action are skipped and
    come with the next sweep. Locks; caller commits.
    """
    return list(session.scalars(_DUE_CASES, {"d": district, "at": at, "n": limit, "window": limit * _BESIDE}))


def fire(
    session: Session,
    book: "Rulebook",
    cases: Sequence[uuid.UUID],
    *,
    at: datetime,
    quiet: Mapping[uuid.UUID, Mapping[str, str]],
) -> list[Fired]:
    """Advance every due clock of locked cases by one announcement and return those, each once.

    A clock that passed two warnings since the last sweep announces the higher only; an expiry climbs one rung at a
    time, and each rung has its limit from the moment the one before it was told. quiet: case → clocks whose expiry
    tells nobody, because the program acts on it; they come back without a rung. Writes; caller commits.
    """
    if not cases:
        return []
    found: list[Fired] = []
    following: list[datetime | None] = []
    for row in session.execute(_REACHED, {"d": book.district, "cases": list(cases), "at": at}):
        level = OVERDUE if row.due_at <= at else NEAR if row.near_at <= at else HALF
        rung, told, then = 0, "", row.due_at if level == NEAR else row.near_at
        if level == OVERDUE:
            then = None
            if row.rung or row.clock not in quiet.get(row.case_id, ()):
                rung = row.rung + 1 if row.fired == OVERDUE else 1
                told = book.ladder.told(rung, row.unit_code)
                then = book.ladder.next_at(rung, row.unit_code, at, work=book.work)
        following.append(then)
        found.append(Fired(row.case_id, row.id, row.clock, row.unit_code, level, row.due_at, told, rung))
    _advance(session, book.district, found, following)
    # A rung that a changed ladder does not have any more is told to nobody.
    return [one for one in found if one.level != OVERDUE or one.told or not one.rung]


def climb(session: Session, book: "Rulebook", fired: Fired, *, at: datetime) -> Fired:
    """Let an expiry that told nobody climb the first rung after all, and return it with the rung. Writes."""
    then = book.ladder.next_at(1, fired.unit, at, work=book.work)
    climbed = replace(fired, rung=1, told=book.ladder.told(1, fired.unit))
    _advance(session, book.district, [climbed], [then])
    return climbed


def _advance(session: Session, district: str, fired: Sequence[Fired], following: Sequence[datetime | None]) -> None:
    """Write levels and rungs of clocks, and when the sweep has to look again."""
    if fired:
        rows = [
            {"id": one.deadline_id, "fired": one.level, "rung": one.rung, "next_at": then}
            for one, then in zip(fired, following, strict=True)
        ]
        session.execute(_ADVANCE, {"d": district, "rows": orjson.dumps(rows).decode()})

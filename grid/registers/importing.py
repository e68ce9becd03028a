"""Departments' lists 部门名单: put up as a file, checked, linked and taken in by a worker, all of it or nothing.

The list's row lock is the lease: a worker that dies lets go of it, and what it did is undone. How far it is stands in a
row of its own, written beside the transaction. Files are sealed and kept only until the list is over.
"""

import base64
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.actor import Actor, Role, system
from core.crypto import seal, unseal
from core.db import actor_of, snapshot, transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable, WanggeError
from core.ids import new_id
from grid.models import Cell, District
from grid.registers import homes, taking, templates, things
from grid.registers.events import Told
from grid.registers.leading import leads_of, sources_of
from grid.registers.list_models import ListProgress, RegisterList
from grid.registers.settling import Row, Taking
from grid.registers.templates import Fault, Say, Table
from grid.tabular import english
from grid.words import N_

CHINA: Final = ZoneInfo("Asia/Shanghai")
#: State → word for people.
STATES: Final[Mapping[str, str]] = {
    "waiting": N_("Queued"),
    "running": N_("Running"),
    "done": N_("Finished"),
    "refused": N_("Rows at fault, nothing changed"),
    "cancelled": N_("Cancelled, nothing changed"),
    "failed": N_("Failed, nothing changed"),
}
#: What a worker is at → word for people.
PHASES: Final[Mapping[str, str]] = {
    "reading": N_("Reading the file"),
    "checking": N_("Checking the rows"),
    "matching": N_("Looking what is new"),
    "linking": N_("Finding the same people"),
    "judging": N_("Comparing field by field"),
    "writing": N_("Writing"),
}
#: What became of the rows → word for people, in the order in which it is shown.
COUNTS: Final[Mapping[str, str]] = {
    "rows": N_("rows"),
    "new": N_("newly entered"),
    "matched": N_("of somebody known"),
    "unchanged": N_("said before"),
    "changed": N_("entries changed"),
    "repeated": N_("of somebody named twice"),
    "corrected": N_("corrected"),
    "missing": N_("no longer named"),
    "doubtful": N_("waiting for a person"),
    "doubts": N_("doubts"),
    "conflicts": N_("conflicts"),
    "differing": N_("left as they were"),
    "refused": N_("at fault"),
}
_FILE: Final = "register.list"
#: A file that ended so many workers is given up.
_MOST_TRIES: Final = 3
#: Rows between two looks at the clock and the stop button.
_STEP: Final = 2000


class _StoppedError(Exception):
    """Somebody asked to stop."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a file is to be taken."""

    kind: str
    source: str
    #: The whole list of the source: what it no longer names is noted as missing.
    whole: bool = False
    #: Take the right rows although others are wrong.
    skip_bad: bool = False
    #: Take rows whose identity number fails its check, without the number.
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a list is, and what became of it."""

    id: uuid.UUID
    kind: str
    source: str
    file_name: str
    #: A key of STATES.
    state: str
    #: A key of PHASES, or empty.
    phase: str
    done: int
    total: int
    counts: Mapping[str, int]
    error: Mapping[str, Any] | None
    has_marked: bool
    asked_name: str
    asked_at: datetime
    finished_at: datetime | None


def queue(session: Session, data: bytes, name: str, wanted: Wanted, *, at: datetime) -> uuid.UUID:
    """Put a file up for a worker and return its id. Writes; caller commits.

    Raises Forbidden for who keeps no registers, and Invalid for a file that cannot be read, an unknown kind or source.
    """
    actor = _keeper(session)
    if wanted.kind not in templates.SHEETS:
        raise Invalid("There is no list of the kind {kind}.", field="kind", kind=wanted.kind[:40])
    if wanted.source not in sources_of(_settings(session)):
        raise Invalid("There is no source {source}.", field="source", source=wanted.source[:40])
    if len(data) > templates.LARGEST:
        raise Invalid("A file may have at most {n} MB.", field="file", n=templates.LARGEST // 2**20)
    if not data.strip():
        raise Invalid("This file is empty.", field="file")
    made = RegisterList(
        district_code=actor.district,
        id=new_id(),
        kind=wanted.kind,
        source=wanted.source,
        file_name=name[:120] or "-",
        digest=sha256(data).hexdigest(),
        whole=wanted.whole,
        skip_bad=wanted.skip_bad,
        doubtful=wanted.doubtful,
        file_sealed=_locked(data),
        state="waiting",
        asked_by=actor.id,
        asked_name=actor.name,
        asked_at=at,
    )
    session.add(made)
    session.flush()
    session.add(ListProgress(district_code=actor.district, list_id=made.id))
    session.flush()
    return made.id


def work(code: str, *, clock: Callable[[], datetime], say: Say = english) -> Progress | None:
    """Take the oldest open list of a district in; None when there is none or another worker is at it.

    say: puts faults of rows into words. Commits, in transactions of its own.
    """
    keeper = system(code, "registers")
    with snapshot(keeper) as session:
        oldest = session.scalar(
            select(RegisterList.id)
            .where(RegisterList.district_code == code, RegisterList.finished_at.is_(None))
            .order_by(RegisterList.asked_at, RegisterList.id)
            .limit(1)
        )
    if oldest is None:
        return None
    try:
        if not _work_at(keeper, oldest, clock=clock, say=say):
            return None
    except _StoppedError:
        _end(keeper, oldest, "cancelled", at=clock())
    except (Unavailable, Conflict):
        # Not the file's fault: it is tried again, a few times.
        if _tries(keeper, oldest) >= _MOST_TRIES:
            _end(keeper, oldest, "failed", at=clock(), error=Conflict("Others changed the same entries meanwhile."))
    except WanggeError as error:
        _end(keeper, oldest, "failed", at=clock(), error=error)
    with snapshot(keeper) as session:
        return progress(session, oldest)


def cancel(session: Session, list_id: uuid.UUID, *, at: datetime) -> None:
    """Ask to stop a list; nothing of it stays. Writes; caller commits. Raises NotFound, Conflict when it is over."""
    actor = _keeper(session)
    found = _list(session, list_id)
    if found.finished_at is not None:
        raise Conflict("The list is over already.")
    session.execute(
        text("UPDATE register_list_progress SET stop = true WHERE district_code = :d AND list_id = :id"),
        {"d": actor.district, "id": list_id},
    )
    free = session.scalar(
        select(RegisterList)
        .where(RegisterList.district_code == actor.district, RegisterList.id == list_id)
        .with_for_update(skip_locked=True)
    )
    if free is not None and free.finished_at is None:
        # Nobody is at it.
        free.state, free.finished_at, free.file_sealed = "cancelled", at, None
        session.flush()


def progress(session: Session, list_id: uuid.UUID) -> Progress:
    """Return how far a list is; raises NotFound. Reads only."""
    return _progress(session, [_list(session, list_id)])[0]


def newest(session: Session, *, limit: int = 30) -> list[Progress]:
    """Return the newest lists of the district. Reads only."""
    here = RegisterList.district_code == actor_of(session).district
    query = select(RegisterList).where(here).order_by(RegisterList.asked_at.desc(), RegisterList.id).limit(limit)
    return _progress(session, list(session.scalars(query)))


def marked_file(session: Session, list_id: uuid.UUID) -> tuple[str, bytes]:
    """Return name and content of a list's file with the faults of its rows; raises Forbidden and NotFound."""
    _keeper(session)
    found = _list(session, list_id)
    if found.marked_sealed is None:
        raise NotFound("No row of this list is at fault.")
    return found.file_name, _unlocked(found.marked_sealed)


def cells_of(session: Session) -> list[tuple[str, str]]:
    """Return the district's cells with the names of their communities, for the sheet of codes. Reads."""
    d = actor_of(session).district
    query = text(
        "SELECT c.code, a.name FROM cell c LEFT JOIN area a ON a.district_code = :d AND a.code = c.community_code"
        " WHERE c.district_code = :d ORDER BY c.code LIMIT 20000"
    )
    return [(code, name or "") for code, name in session.execute(query, {"d": d})]


def _work_at(keeper: Actor, list_id: uuid.UUID, *, clock: Callable[[], datetime], say: Say) -> bool:
    with transaction(keeper) as session:
        found = session.scalar(
            select(RegisterList)
            .where(
                RegisterList.district_code == keeper.district,
                RegisterList.id == list_id,
                RegisterList.finished_at.is_(None),
            )
            .with_for_update(skip_locked=True)
        )
        if found is None:
            return False
        if _begin(keeper, list_id) > _MOST_TRIES:
            found.state, found.finished_at, found.file_sealed = "failed", clock(), None
            found.error = {"message": N_("This file ended the program; nothing was changed."), "params": {}}
            return True
        started = clock()
        tell = _teller(keeper, list_id)
        tell("reading", 0, 1)
        table = templates.read(_unlocked(found.file_sealed or b""), found.kind)
        counts, faults = _take(session, found, table, started, tell)
        counts["refused"] = len({one.at for one in faults})
        if faults:
            tell("writing", 0, 1)
            found.marked_sealed = _locked(templates.marked(table, faults, say=say))
        refused = bool(faults) and not found.skip_bad
        found.state, found.counts = "refused" if refused else "done", dict(counts)
        found.started_at, found.finished_at, found.file_sealed = started, clock(), None
    return True


def _take(
    session: Session, found: RegisterList, table: Table, at: datetime, tell: Callable[[str, int, int], None]
) -> tuple[Counter[str], list[Fault]]:
    """Check every row and, unless rows at fault forbid it, take the list in; return the counts and the faults."""
    told = Told(at, at, found.source)
    ground = homes.load(session)
    if found.kind != "residents":
        return things.take(session, found, table, ground, told=told, tell=tell)
    cells = set(session.scalars(select(Cell.code).where(Cell.district_code == found.district_code)))
    faults: list[Fault] = []
    given: list[Row] = []
    today = at.astimezone(CHINA).date()
    for index, (number, _) in enumerate(table.rows):
        plain, besides, wrong = templates.checked(table, index, today=today, doubtful=found.doubtful)
        room = None
        if "place" in besides:
            room = ground.room(besides["place"])
            wrong += _misplaced(index, ground, room, besides, cells)
        faults += wrong
        if not wrong:
            given.append(Row(number, plain, table.given(index), room, besides.get("key", "")))
        if index % _STEP == 0:
            tell("checking", index, len(table.rows))
    if faults and not found.skip_bad:
        return Counter(rows=len(table.rows)), faults
    run = Taking(
        session=session,
        list_id=found.id,
        source=found.source,
        whole=found.whole,
        told=told,
        leads=leads_of(_settings(session)),
        homes=ground,
        tell=tell,
    )
    return taking.take(run, given), faults


def _misplaced(
    index: int, ground: homes.Homes, room: uuid.UUID | None, besides: Mapping[str, str], cells: set[str]
) -> list[Fault]:
    """Return what is wrong with where a row says that somebody lives."""
    if room is None:
        return [Fault(index, "place", N_("No building of the register has this address, or the room is missing."))]
    cell = besides.get("cell", "")
    if cell and cell not in cells:
        return [Fault(index, "cell", N_("There is no cell {code}."), {"code": cell[:20]})]
    there = ground.where(room)["cell_code"]
    if cell and there and cell != there:
        return [Fault(index, "cell", N_("The address lies in cell {code}."), {"code": there})]
    return []


def _teller(keeper: Actor, list_id: uuid.UUID) -> Callable[[str, int, int], None]:
    """Return what writes down how far the list is, beside the list's own transaction; raises where it is to stop."""

    def tell(phase: str, done: int, total: int) -> None:
        with transaction(keeper) as session:
            stop = session.scalar(
                text(
                    "UPDATE register_list_progress SET phase = :phase, done = :done, total = :total"
                    " WHERE district_code = :d AND list_id = :id RETURNING stop"
                ),
                {"d": keeper.district, "id": list_id, "phase": phase, "done": done, "total": total},
            )
        if stop:
            raise _StoppedError

    return tell


def _begin(keeper: Actor, list_id: uuid.UUID) -> int:
    """Count a beginning, beside the list's own transaction, and return how many there were."""
    with transaction(keeper) as session:
        return int(
            session.scalar(
                text(
                    "UPDATE register_list_progress SET tries = tries + 1"
                    " WHERE district_code = :d AND list_id = :id RETURNING tries"
                ),
                {"d": keeper.district, "id": list_id},
            )
            or 0
        )


def _tries(keeper: Actor, list_id: uuid.UUID) -> int:
    with snapshot(keeper) as session:
        found = session.get(ListProgress, (keeper.district, list_id))
        return found.tries if found else _MOST_TRIES


def _end(keeper: Actor, list_id: uuid.UUID, state: str, *, at: datetime, error: WanggeError | None = None) -> None:
    with transaction(keeper) as session:
        found = _list(session, list_id)
        found.state, found.finished_at, found.file_sealed = state, at, None
        found.error = {"message": error.message, "params": dict(error.params)} if error else None


def _locked(data: bytes) -> bytes:
    return seal(base64.b64encode(data).decode(), context=_FILE)


def _unlocked(stored: bytes) -> bytes:
    return base64.b64decode(unseal(bytes(stored), context=_FILE))


def _settings(session: Session) -> Mapping[str, Any]:
    found = session.scalar(select(District.settings).where(District.district_code == actor_of(session).district))
    return found or {}


def _keeper(session: Session) -> Actor:
    actor = actor_of(session)
    if actor.role not in (Role.ADMIN, Role.SYSTEM) or actor.town:
        raise Forbidden("Only administrators take departments' lists in.")
    return actor


def _list(session: Session, list_id: uuid.UUID) -> RegisterList:
    here = RegisterList.district_code == actor_of(session).district
    found = session.scalar(select(RegisterList).where(here, RegisterList.id == list_id))
    if found is None:
        raise NotFound("There is no such list.")
    return found


def _progress(session: Session, lists: list[RegisterList]) -> list[Progress]:
    here = ListProgress.district_code == actor_of(session).district
    query = (
        select(ListProgress)
        .where(here, ListProgress.list_id.in_([one.id for one in lists]))
        .execution_options(populate_existing=True)
    )
    how_far = {one.list_id: one for one in session.scalars(query)}
    return [_shown(one, how_far.get(one.id)) for one in lists]


def _shown(one: RegisterList, far: ListProgress | None) -> Progress:
    running = one.finished_at is None and far is not None and bool(far.phase)
    return Progress(
        id=one.id,
        kind=one.kind,
        source=one.source,
        file_name=one.file_name,
        state="running" if running else one.state,
        phase=far.phase if far is not None and running else "",
        done=far.done if far else 0,
        total=far.total if far else 0,
        counts=one.counts,
        error=one.error,
        has_marked=one.marked_sealed is not None,
        asked_name=one.asked_name,
        asked_at=one.asked_at,
        finished_at=one.finished_at,
    )

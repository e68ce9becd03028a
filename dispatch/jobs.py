"""Long work in the background 后台任务, in slices: each commits what it did together with its progress.

A worker takes one slice under the job's row lock. The lock is the lease: a killed worker's is gone with its connection,
its slice is undone, and whoever comes next goes on from the cursor. Knows the table `job` and what a kind of job runs.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.db import actor_of
from core.errors import Conflict, Forbidden, Invalid, NotFound, WanggeError
from core.ids import new_id
from dispatch.models import Job
from dispatch.recompute import recompute, running
from dispatch.rulebook import Rulebook, read_rulebook, revision
from dispatch.words import N_

#: Kind of job → what it does, for people.
KINDS: Mapping[str, str] = {"recompute": N_("Reckon deadlines anew"), "learn": N_("Learn from corrections")}
#: State → word for people.
STATES: Mapping[str, str] = {
    "queued": N_("Queued"),
    "running": N_("Running"),
    "done": N_("Finished"),
    "failed": N_("Failed"),
    "cancelled": N_("Cancelled"),
}
#: Longer than any process trusts its copy of the rules (`api.wiring`), so that no clock starts by old ones afterwards.
SETTLE = timedelta(seconds=5)
#: Who may see and stop jobs.
_KEEPERS = (Role.SYSTEM, Role.ADMIN)

_QUEUE = text(
    "INSERT INTO job (district_code, id, kind, state, why, asked_by, created_at, not_before) "
    "VALUES (:d, :id, :kind, 'queued', CAST(:why AS jsonb), :by, :at, :until) "
    "ON CONFLICT (district_code, kind) WHERE state IN ('queued', 'running') DO UPDATE SET "
    "asked = job.asked + 1, why = job.why || EXCLUDED.why, not_before = EXCLUDED.not_before, "
    "cursor = NULL, done = 0, total = NULL RETURNING id"
)
_CLAIM = (
    select(Job)
    .where(Job.state.in_(("queued", "running")), Job.kind == "recompute")
    .order_by(Job.created_at, Job.id)
    .limit(1)
    .with_for_update(skip_locked=True)
    .execution_options(populate_existing=True)
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is."""

    id: uuid.UUID
    kind: str
    #: queued, running, done, failed or cancelled.
    state: str
    done: int
    #: None until it began.
    total: int | None
    #: How many things changed.
    moved: int
    why: Mapping[str, Any]
    asked_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    #: Why it failed: an English msgid and its parameters.
    error: Mapping[str, Any] | None

    @property
    def share(self) -> float:
        """Between 0 and 1, for a bar."""
        if self.state == "done":
            return 1.0
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def over(self) -> bool:
        """Whether nothing more happens."""
        return self.finished_at is not None


def queue(session: Session, kind: str, *, at: datetime, why: Mapping[str, Any]) -> uuid.UUID:
    """Ask for a job in the actor's district and return its id; one that waits or runs already is answered instead.

    A running one begins anew, because what it did so far was by older rules. at: aware. why: what changed, such as
    `{"notices": [2027]}` or `{"limits": true}`. Raises Forbidden for roles that keep no rules and Invalid for an
    unknown kind. Writes; caller commits.
    """
    actor = _keeper(session)
    if kind not in KINDS:
        raise Invalid("There is no background job {kind}.", field="kind", kind=kind[:40])
    found: uuid.UUID = session.execute(
        _QUEUE,
        {
            "d": actor.district,
            "id": new_id(),
            "kind": kind,
            "why": orjson.dumps(dict(why)).decode(),
            "by": actor.name,
            "at": at,
            "until": at + SETTLE,
        },
    ).scalar_one()
    return found


def work(session: Session, book: Rulebook, *, at: datetime, size: int = 2000) -> Progress | None:
    """Do one slice of the oldest job of the district that nobody else is at; None when there is nothing to do now.

    book: as the process has it; read anew where the district's data changed since. size: things in a slice. A job whose
    rules cannot be read fails with the reason. Writes; caller commits.
    """
    job = session.scalar(_CLAIM.where(Job.district_code == book.district, Job.not_before <= at))
    if job is None:
        return None
    job.state, job.started_at = "running", job.started_at or at
    try:
        if revision(session, book.district) != book.revision:
            book = read_rulebook(session, book.district)
    except Invalid as error:
        job.state, job.finished_at = "failed", at
        job.error = {"message": error.message, "params": dict(error.params)}
        return _progress(job)
    if job.total is None:
        job.total = running(session, book.district)
    after = uuid.UUID(job.cursor) if job.cursor else None
    done = recompute(session, book, at=at, after=after, limit=size, why=job.why)
    job.done, job.moved = job.done + done.seen, job.moved + done.moved
    if done.cursor is None:
        job.state, job.finished_at = "done", at
    else:
        job.cursor = str(done.cursor)
    session.flush()
    return _progress(job)


def begin(session: Session, kind: str, *, at: datetime, stale: timedelta) -> uuid.UUID | None:
    """Take a job that is done in one piece outside of transactions, and return its id; None when somebody is at it.

    One that has run for `stale` belongs to a worker that died, and is taken over. Writes; caller commits.
    """
    job = session.scalar(
        select(Job)
        .where(Job.district_code == _keeper(session).district, Job.kind == kind)
        .where((Job.state == "queued") | ((Job.state == "running") & (Job.started_at < at - stale)))
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if job is None:
        return None
    job.state, job.started_at = "running", at
    session.flush()
    return job.id


def end(session: Session, job_id: uuid.UUID, *, at: datetime, moved: int = 0, error: WanggeError | None = None) -> None:
    """Close a job that `begin` took; one that was cancelled meanwhile stays so. Writes; caller commits."""
    job = session.scalar(select(Job).where(Job.id == job_id, Job.district_code == _keeper(session).district))
    if job is None or job.finished_at is not None:
        return
    job.state, job.finished_at, job.moved = "failed" if error else "done", at, moved
    job.error = {"message": error.message, "params": dict(error.params)} if error else None
    session.flush()


def cancel(session: Session, job_id: uuid.UUID, *, at: datetime) -> Progress:
    """Stop a job after the slice it is at; what it changed stays. Writes; caller commits.

    Raises Forbidden for roles that keep no rules, NotFound, and Conflict for a job that is over.
    """
    actor = _keeper(session)
    job = session.scalar(select(Job).where(Job.district_code == actor.district, Job.id == job_id).with_for_update())
    if job is None:
        raise NotFound("There is no such job.")
    if job.finished_at is not None:
        raise Conflict("The job is over already.")
    job.state, job.finished_at = "cancelled", at
    session.flush()
    return _progress(job)


def progress(session: Session, job_id: uuid.UUID) -> Progress:
    """Return how far a job is; raises Forbidden and NotFound. Reads only."""
    actor = _keeper(session)
    job = session.scalar(
        select(Job)
        .where(Job.district_code == actor.district, Job.id == job_id)
        .execution_options(populate_existing=True)
    )
    if job is None:
        raise NotFound("There is no such job.")
    return _progress(job)


def newest(session: Session, *, limit: int = 50) -> Sequence[Progress]:
    """Return the newest jobs of the district, at most `limit`; raises Forbidden. Reads only."""
    actor = _keeper(session)
    rows = session.scalars(
        select(Job)
        .where(Job.district_code == actor.district)
        .order_by(Job.created_at.desc(), Job.id.desc())
        .limit(limit)
    )
    return [_progress(job) for job in rows]


def _keeper(session: Session) -> Actor:
    actor = actor_of(session)
    if actor.role not in _KEEPERS:
        raise Forbidden("Only an administrator sees background jobs.")
    return actor


def _progress(job: Job) -> Progress:
    names = Progress.__dataclass_fields__
    return Progress(**{name: getattr(job, name) for name in names})

"""The JSON API of background jobs, for administrators: list, ask, look, stop."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from api.deps import Now, Read, Write, require
from api.i18n import say
from core.actor import Actor, Role
from dispatch import jobs
from dispatch.jobs import Progress

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])

Keeper = Annotated[Actor, Depends(require(Role.ADMIN))]


class JobOut(BaseModel):
    """A background job and how far it is."""

    id: uuid.UUID
    kind: str
    state: str = Field(description="queued, running, done, failed or cancelled")
    done: int
    total: int | None = Field(description="None until it began.")
    moved: int = Field(description="Deadlines that are due at another time now; each keeps a diff.")
    why: dict[str, Any]
    asked_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None


def _shown(job: Progress) -> JobOut:
    error = say(str(job.error["message"]), **job.error["params"]) if job.error else None
    names = [name for name in JobOut.model_fields if name not in ("error", "why")]
    return JobOut(error=error, why=dict(job.why), **{name: getattr(job, name) for name in names})


@router.get("")
def listing(session: Read, actor: Keeper) -> list[JobOut]:
    """Return the newest fifty jobs of the district."""
    del actor
    return [_shown(job) for job in jobs.newest(session)]


@router.post("", status_code=202)
def ask(session: Write, actor: Keeper, at: Now) -> JobOut:
    """Ask for all open deadlines to be reckoned anew; one that waits or runs already is answered and begins anew."""
    del actor
    return _shown(jobs.progress(session, jobs.queue(session, "recompute", at=at, why={"asked": True})))


@router.get("/{job_id}")
def one(session: Read, actor: Keeper, job_id: uuid.UUID) -> JobOut:
    """Return how far a job is."""
    del actor
    return _shown(jobs.progress(session, job_id))


@router.post("/{job_id}/cancel")
def cancel(session: Write, actor: Keeper, at: Now, job_id: uuid.UUID) -> JobOut:
    """Stop a job after the slice that it is at; what it changed stays. 409 when it is over."""
    del actor
    return _shown(jobs.cancel(session, job_id, at=at))

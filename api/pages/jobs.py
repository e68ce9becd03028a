"""The administrator's page of background jobs 后台任务: how far each is, asking for one, stopping one."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api.deps import Now, Read, Write, require
from api.i18n import N_, say
from api.pages import go, page
from core.actor import Actor, Role
from dispatch import jobs
from dispatch.jobs import KINDS, STATES, Progress

router = APIRouter(include_in_schema=False)

Keeper = Annotated[Actor, Depends(require(Role.ADMIN))]


@router.get("/admin/jobs")
def listing(request: Request, session: Read, actor: Keeper) -> Response:
    """List the newest jobs of the district."""
    del actor
    return page(request, "jobs/list.html", rows=jobs.newest(session), why=why, states=STATES, kinds=KINDS)


@router.get("/admin/jobs/rows")
def rows(request: Request, session: Read, actor: Keeper) -> Response:
    """Draw the rows anew while something runs: the page asks every two seconds."""
    del actor
    return page(request, "jobs/rows.html", rows=jobs.newest(session), why=why, states=STATES, kinds=KINDS)


@router.post("/admin/jobs")
def ask(session: Write, actor: Keeper, at: Now) -> Response:
    """Ask for all open deadlines to be reckoned anew."""
    del actor
    jobs.queue(session, "recompute", at=at, why={"asked": True})
    return go("/admin/jobs")


@router.post("/admin/jobs/{job_id}/cancel")
def cancel(session: Write, actor: Keeper, at: Now, job_id: uuid.UUID) -> Response:
    """Stop a job; what it did stays."""
    del actor
    jobs.cancel(session, job_id, at=at)
    return go("/admin/jobs")


def why(job: Progress) -> str:
    """Return what a job was asked for, in words."""
    told = []
    if years := job.why.get("notices"):
        told.append(say("notices of {years}", years="、".join(str(year) for year in years)))
    words = (
        ("limits", N_("table of limits")),
        ("settings", N_("settings of the district")),
        ("asked", N_("asked for by hand")),
    )
    told += [say(word) for name, word in words if job.why.get(name)]
    return "；".join(told)

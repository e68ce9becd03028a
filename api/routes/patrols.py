"""Patrols for whoever oversees them: remarks about positions, one track with a reason, visits to plan.

What is shown of streets passed has no name and stands on the grid's own pages (`grid.patrols.coverage`).
"""

import uuid
from datetime import date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, Field

from api.deps import Now, Read, Write, require
from api.i18n import say
from api.routes.documents import Model, Text
from core.actor import Actor, Role
from core.errors import Invalid
from grid import patrol_looks, visits

router = APIRouter(prefix="/api/v1", tags=["patrols"])

Overseer = Annotated[Actor, Depends(require(Role.SUPERVISOR))]
Planner = Annotated[Actor, Depends(require(Role.SUPERVISOR, Role.GRID_WORKER))]
#: Visits of one plan.
_MOST_PLANNED = 500


class RemarkOut(Model):
    """Something about positions that a supervisor may want to ask about."""

    worker: str
    run: uuid.UUID | None
    case_id: uuid.UUID | None
    text: str
    happened_at: datetime
    recorded_at: datetime


class ReasonIn(Model):
    """Why somebody's track is looked at; the worker sees it."""

    reason: Text = Field(min_length=4, max_length=500)


class TrackOut(Model):
    """One patrol with its track, thinned; no pieces once it is erased."""

    id: uuid.UUID
    worker: str
    cell: str
    started_at: datetime
    stopped_at: datetime | None
    length_m: float
    pieces: list[list[list[float]]]


class VisitIn(Model):
    """A visit to plan."""

    cell: Text = Field(min_length=15, max_length=15)
    kind: Text = Field("general", max_length=20)
    due_on: date
    household: uuid.UUID | None = None
    place: Text = Field("", max_length=200)
    hint: Text = Field("", max_length=500)


class VisitsIn(Model):
    """Visits to plan, all or none."""

    visits: list[VisitIn] = Field(min_length=1, max_length=_MOST_PLANNED)


class PlannedOut(Model):
    """The planned visits, in the order given; one that was planned already keeps its id."""

    ids: list[uuid.UUID]


@router.get("/patrols/remarks")
def remarks(
    actor: Overseer,
    session: Read,
    at: Now,
    since: Annotated[AwareDatetime | None, Query()] = None,
    until: Annotated[AwareDatetime | None, Query()] = None,
) -> list[RemarkOut]:
    """Return remarks of a span, by default the last seven days: neutral words, no finding; at most 200."""
    del actor
    found = patrol_looks.remarks_of(session, since=since or at - timedelta(days=7), until=until or at)
    return [
        RemarkOut(
            worker=one.name,
            run=one.run,
            case_id=one.case_id,
            text=say(one.message, **one.params),
            happened_at=one.happened_at,
            recorded_at=one.recorded_at,
        )
        for one in found
    ]


@router.post("/patrols/{run}/track")
def look(run: uuid.UUID, given: ReasonIn, actor: Overseer, session: Write, at: Now) -> TrackOut:
    """Return the track of a patrol; who looked and why is written down, and the worker sees it."""
    del actor
    found = patrol_looks.look(session, run, reason=given.reason, at=at)
    return TrackOut(
        id=found.id,
        worker=found.name,
        cell=found.cell,
        started_at=found.started_at,
        stopped_at=found.stopped_at,
        length_m=found.length_m,
        pieces=found.pieces,
    )


@router.post("/visits", status_code=201)
def plan(given: VisitsIn, actor: Planner, session: Write, at: Now) -> PlannedOut:
    """Plan visits in the own town; a household that waits for the same kind of visit is not planned twice."""
    ids = []
    for number, one in enumerate(given.visits, 1):
        if actor.town and one.cell[:9] != actor.town:
            raise Invalid("This cell is not in your town.", field=f"visits.{number}.cell")
        wanted = visits.Plan(one.cell, one.kind, one.due_on, one.household, one.place, one.hint)
        try:
            ids.append(visits.plan(session, wanted, at=at))
        except Invalid as error:
            error.field = f"visits.{number}.{error.field}"
            raise
    return PlannedOut(ids=ids)

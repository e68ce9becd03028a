"""What a worker does on the round besides cases: patrols, check-ins, visits, applications at the door, quizzes."""

import uuid
from datetime import datetime
from typing import Any

import numpy as np
import orjson
from pydantic import ValidationError
from sqlalchemy.orm import Session

from api.i18n import say
from api.pages.apply import numbers
from api.routes.applications import ApplicationIn
from api.routes.field_documents import MOST_POINTS, Result
from api.routes.field_work import Work, once
from core.db import transaction
from core.errors import Invalid
from dispatch.items import application
from dispatch.items.application import NewApplication
from dispatch.items.filed import Upload
from dispatch.items.identity import Agent, Applicant
from dispatch.words import N_
from grid import patrols, training, visits
from grid.patrols import Rules
from grid.tracks import Track
from grid.visits import Made, Plan
from grid.whereabouts import whereabouts

DROPPED = N_("{n} positions were not part of the patrol and were not kept.")


def patrol(work: Work) -> Result:
    """Start or stop a run, or take a piece of its track."""
    run, part = _run(work), work.text("part", most=10)
    with transaction(work.actor) as session:
        if (before := once(work, session)) is not None:
            return before
        notes: list[str] = []
        if part == "start":
            happened = work.moment.happened_at
            patrols.start(session, run, cell=work.text("cell", most=15), happened_at=happened, at=work.at)
        elif part == "stop":
            patrols.stop(session, run, happened_at=work.moment.happened_at)
        elif part == "points":
            added = patrols.add(session, run, work.action.key, _track(work), rules=_rules(work), at=work.at)
            notes = [say(DROPPED, n=added.dropped)] if added.dropped else []
        else:
            raise Invalid("A patrol has start, points and stop.", field="part")
        return work.done(session, work.result(notes=notes))


def check_in(work: Work) -> Result:
    """Write down that the worker is at a place, during a run."""
    place = work.action.position
    if place is None:
        raise Invalid("A check-in needs a position.", field="position")
    where = Track(
        np.array([[place.lng, place.lat]]),
        np.array([np.nan if place.accuracy is None else place.accuracy]),
        np.array([work.moment.happened_at.timestamp()]),
        np.array([place.mock]),
    )
    with transaction(work.actor) as session:
        if (before := once(work, session)) is not None:
            return before
        cell = patrols.check_in(
            session,
            work.action.key,
            _run(work),
            where,
            what=work.text("what", most=10) or "cell",
            words=work.text("note", most=500),
            rules=_rules(work),
            at=work.at,
        )
        return work.done(session, work.result(more={"cell": cell}))


def visit(work: Work) -> Result:
    """Write down a visit: a planned one, one to a household of the register, or one to any door."""
    signature = work.text("signature", most=64)
    work.need_photos([signature] if signature else [])
    form = work.action.fields.get("form") or {}
    if not isinstance(form, dict):
        raise Invalid("The form of this visit has no field {name}.", field="form", name="form")
    made = Made(
        result=work.text("result", most=20),
        form=form,
        note=work.text("note"),
        signature=work.photos[signature].sha256 if signature else "",
        happened_at=work.moment.happened_at,
    )
    planned = work.text("visit", most=40)
    with transaction(work.actor) as session:
        if (before := once(work, session)) is not None:
            return before
        more: dict[str, Any]
        if planned:
            again = visits.make(session, _id(planned, "visit"), made, at=work.at)
            more = {"visit": planned, "again": str(again) if again else ""}
        else:
            more = {"visit": str(visits.make_unplanned(session, _door(work, session), made, at=work.at)), "again": ""}
        notes = work.look_at_places(session, None)
        return work.done(session, work.result(notes=notes, more=more))


def _door(work: Work, session: Session) -> Plan:
    place, household = work.action.position, work.text("household", most=40)
    cell = work.text("cell", most=15)
    if place is not None:
        cell = whereabouts(session, work.book.district, place.lng, place.lat).cell or cell
    kind = work.text("visit_kind", most=20) or "general"
    return Plan(
        cell,
        kind,
        work.moment.happened_at.date(),
        household_id=_id(household, "household") if household else None,
        place=work.text("place", most=200),
        lng=place.lng if place else None,
        lat=place.lat if place else None,
    )


def apply(work: Work) -> Result:
    """File an application for somebody at the door, by the same road as at a window."""
    told = {name: value for name, value in work.action.fields.items() if name not in ("given", "channel")}
    files = work.action.fields.get("given") or {}
    if not isinstance(files, dict) or not all(isinstance(keys, list) and len(keys) <= 6 for keys in files.values()):
        raise Invalid("The form or document that was sent is damaged or incomplete.", field="given")
    work.need_photos([str(key)[:64] for keys in files.values() for key in keys])
    try:
        given = ApplicationIn.model_validate(told | {"channel": "home"})
    except ValidationError as error:
        name = ".".join(str(part) for part in error.errors()[0]["loc"])[:60]
        raise Invalid("{name} is missing or cannot be taken.", field=name, name=name) from error
    new = NewApplication(
        item=given.item,
        channel="home",
        applicant=Applicant(**given.applicant.model_dump()),
        seen=given.seen,
        town=given.town or work.actor.town,
        words=given.words,
        given={str(code)[:40]: tuple(_upload(work, str(key)) for key in keys) for code, keys in files.items()},
        reuse=tuple(given.reuse),
        consent=given.consent,
        proof=(given.proof.number, given.proof.code) if given.proof else None,
        agent=Agent(given.agent.name, given.agent.phone) if given.agent else None,
        pickup=given.pickup,
        green=given.green,
        credit=given.credit,
        facts=given.facts,
        form=given.form,
        key=work.own_key,
    )
    number = numbers(work.book.district).take(work.at)
    receipt = application.open_application(work.book, new, actor=work.actor, at=work.at, number=number)
    with transaction(work.actor) as session:
        if (before := once(work, session)) is not None:
            return before
        more = {
            "access_code": receipt.access_code,
            "title": receipt.title,
            "due_at": receipt.due_at.isoformat() if receipt.due_at else None,
            "missing": [{"code": code, "name": name} for code, name in receipt.missing],
        }
        result = work.result(number=receipt.number, state=receipt.state, more=more)
        return work.done(session, result)


def quiz(work: Work) -> Result:
    """Hand in a paper of the training."""
    with transaction(work.actor) as session:
        if (before := once(work, session)) is not None:
            return before
        found = training.from_phone(
            session, work.action.fields, key=work.action.key, happened_at=work.moment.happened_at, at=work.at
        )
        return work.done(session, work.result(more=_plain(found)))


def _upload(work: Work, key: str) -> Upload:
    one = work.photos[key]
    return Upload(one.sha256, one.media_type, one.size, "")


def _plain(found: Any) -> dict[str, Any]:
    """Return a result of the training as plain JSON."""
    made: dict[str, Any] = orjson.loads(orjson.dumps(found, default=str))
    return made


def _rules(work: Work) -> Rules:
    return Rules.of(work.book.settings)


def _run(work: Work) -> uuid.UUID:
    return _id(work.text("run", most=40), "run")


def _id(written: str, field: str) -> uuid.UUID:
    try:
        return uuid.UUID(written)
    except ValueError as error:
        raise Invalid("This is no id.", field=field) from error


def _track(work: Work) -> Track:
    """Return the positions of a piece, corrected by the phone's offset, in order of time; raises Invalid."""
    points = work.action.fields.get("points")
    if not isinstance(points, list) or not 1 <= len(points) <= MOST_POINTS:
        raise Invalid("A piece of a track has 1 to {n} positions.", field="points", n=MOST_POINTS)
    try:
        rows = [_position(one) for one in points]
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise Invalid("A position of the track cannot be read.", field="points") from error
    table = np.array(rows, dtype=np.float64)
    table[:, 3] -= work.moment.offset_s
    table = table[np.argsort(table[:, 3], kind="stable")]
    good = (np.abs(table[:, 0]) <= 180) & (np.abs(table[:, 1]) <= 90) & np.isfinite(table[:, 3])
    if not good.all():
        raise Invalid("A position of the track cannot be read.", field="points")
    return Track(table[:, :2], table[:, 2], table[:, 3], table[:, 4] > 0)


def _position(one: Any) -> tuple[float, float, float, float, float]:
    lng, lat, accuracy, written, *mock = one
    at = datetime.fromisoformat(written)
    if at.tzinfo is None:
        raise ValueError(written)
    exact = float("nan") if accuracy is None else float(accuracy)
    return float(lng), float(lat), exact, at.timestamp(), float(bool(mock and mock[0]))

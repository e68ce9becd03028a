"""The grid over time on pages: the map editor, planned changes with what they move, and whose ground a point was.

Strokes and plans go through `api.routes.grid_changes`; what is shown there as JSON is drawn here.
"""

import uuid
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api import uploads, wiring
from api.deps import Now, Read, Write, require
from api.errors import sentence, status_of
from api.i18n import N_, say
from api.pages import filing, go, page
from api.pages.filing import Form
from api.routes.grid_changes import both_effects, midnight
from api.wording import CELL_KINDS, CHINA
from core.actor import Actor, Role
from core.datums import point
from core.errors import Invalid, NotFound, WanggeError
from dispatch.items.filed import Upload
from grid import changes, duties, effects, versions
from grid.changes import DECIDES, KINDS, STATES
from grid.effects import Planned
from hotline.geocode import Geocoder

router = APIRouter(include_in_schema=False)

Planner = Annotated[Actor, Depends(require(Role.ADMIN, Role.SUPERVISOR, Role.UNIT))]
Staff = Annotated[
    Actor,
    Depends(require(Role.ADMIN, Role.SUPERVISOR, Role.UNIT, Role.OFFICIAL, Role.OPERATOR, Role.GRID_WORKER)),
]
#: Tables that follow the cells, as people call them.
TABLES: Final[Mapping[str, str]] = {
    "place": N_("Places"),
    "address": N_("Addresses"),
    "building": N_("Buildings"),
    "room": N_("Rooms"),
    "household": N_("Households"),
    "resident": N_("Residents"),
    "tenancy": N_("Lettings"),
    "organisation": N_("Organisations"),
    "part": N_("City parts"),
    "key_place": N_("Key places"),
    "cell_duty": N_("Duties"),
}
#: What the editor's script says, as msgids; filled in by the script.
_WORDS: Final[Mapping[str, str]] = {
    "attribution": N_("Boundaries: the district's own"),
    "zoomIn": N_("Zoom in"),
    "zoomOut": N_("Zoom out"),
    "hectares": N_("{n} ha"),
    "cell": N_("Cell {code}"),
    "cells": N_("{n} cells"),
    "notKept": N_("This browser keeps nothing: plan the change before you leave the page."),
    "changedMeanwhile": N_("Cells {codes} were changed by somebody else since you began. Your work is kept here."),
    "startAnew": N_("Begin anew"),
    "lookAtMine": N_("Look at mine"),
    "restored": N_("Your unsaved work is back: {n} strokes."),
    "offline": N_("No connection. What you drew is kept in this browser; try again."),
    "signIn": N_("You are no longer signed in. What you drew is kept in this browser: sign in again in another tab."),
    "refused": N_("This cannot be done."),
    "done": N_("Done: {codes}. Nothing is planned yet."),
    "drawing": N_("The program draws; this takes some seconds."),
    "proposed": N_("{n} cells are proposed; nothing is planned yet."),
    "otherChange": N_("Look at the change by {name}"),
    "chooseOne": N_("Choose one cell first."),
    "chooseTwo": N_("Choose at least two cells first."),
    "nothing": N_("Nothing was changed yet."),
    "plan": N_("Takes {takes}, makes {made}."),
    "leaveBare": N_("nobody: the ground stays bare"),
    "fresh": N_("new"),
    "changed": N_("changed here"),
    "outside": N_("Outside the limits of households"),
    "homes": N_("Households"),
    "within": N_("Residential cells with {fewest} to {most} households"),
    "variation": N_("Unevenness of loads"),
    "compactness": N_("Compactness"),
    "onLines": N_("Boundaries along roads and walls"),
    "cutEstates": N_("Estates cut in two"),
    "basis": N_("Households are"),
    "figures": N_("Figures"),
}


@router.get("/grid/editor")
def editor(request: Request, session: Read, actor: Planner, at: Now, community: str = "") -> Response:
    """Show the communities of the actor's area, or the editor of one."""
    area = changes.reach(session)
    listed = effects.communities(session, area=area)
    chosen = next((one for one in listed if one["code"] == community), None)
    if community and chosen is None:
        raise NotFound("There is no community {code}.", code=community[:20])
    if chosen is None:
        return page(request, "grid/editor_list.html", listed=listed, most=effects.MOST_AREAS)
    facts = {
        "community": community,
        "words": {name: say(word) for name, word in _WORDS.items()},
        "kinds": {code: say(word) for code, word in CELL_KINDS.items()},
    }
    plans = [one for one in effects.listed(session, area=community) if one["state"] in ("proposed", "planned")]
    return page(
        request,
        "grid/editor.html",
        community=chosen,
        facts=orjson.dumps(facts).decode(),
        plans=plans,
        kinds=CELL_KINDS,
        change_kinds=KINDS,
        decides=actor.role in DECIDES,
        tomorrow=at.astimezone(CHINA).date() + timedelta(days=1),
        at=at,
    )


@router.post("/grid/editor/file")
def upload(actor: Planner, form: Form) -> Response:
    """Keep the decision behind a change and answer the token that names it; PDF or a picture, 10 MB at most."""
    del actor
    given = form.files.get("file", [])
    if not given:
        raise Invalid("This file is empty.", field="file")
    kept = filing.keep(*given[0])
    return Response(orjson.dumps({"token": kept.token, "name": kept.upload.name}), media_type="application/json")


@router.get("/grid/changes")
def listed(request: Request, session: Read, actor: Staff, *, at: Now, state: str = "", area: str = "") -> Response:
    """Show the newest changes, filtered by the address."""
    chosen = state if state in STATES else ""
    within = area if area.isascii() and area.isdigit() else actor.town
    found = effects.listed(session, area=within[:15], state=chosen)
    return page(
        request,
        "grid/changes.html",
        listed=found,
        most=effects.MOST,
        states=STATES,
        kinds=KINDS,
        state=chosen,
        area=within,
        area_name=_area_name,
        may_plan=actor.role in (Role.ADMIN, Role.SUPERVISOR, Role.UNIT),
        at=at,
    )


@router.get("/grid/changes/{change_id}")
def one(request: Request, session: Read, actor: Staff, at: Now, change_id: uuid.UUID) -> Response:
    """Show one change: what it takes and makes, what it would move, its log, and the buttons of who may decide."""
    return _shown(request, session, actor, change_id, at=at)


def _shown(
    request: Request, session: Session, actor: Actor, change_id: uuid.UUID, *, at: datetime, problem: str = ""
) -> Response:
    planned = effects.read(session, change_id)
    told, cases, mine = None, None, _within(session, planned)
    if mine:
        told, cases = both_effects(session, change_id, at=at)
    return page(
        request,
        "grid/change.html",
        change=planned,
        effects=told,
        cases=cases,
        entries=effects.entries(session, change_id),
        log_words=_log_words,
        kinds=KINDS,
        states=STATES,
        cell_kinds=CELL_KINDS,
        tables=TABLES,
        area_name=_area_name,
        workers=len({one.account_id for one in told.duties if one.account_id}) if told else 0,
        problem=problem,
        open=planned.state in ("proposed", "planned"),
        may_approve=mine and actor.role in DECIDES and planned.state == "proposed",
        may_cancel=mine and (actor.role in DECIDES or planned.unit_code == actor.unit != ""),
        may_read=actor.role in (Role.OPERATOR, Role.SUPERVISOR, Role.OFFICIAL),
        at=at,
    )


def _area_name(code: str) -> str:
    """Return a community as people call it; its code where it is gone."""
    found = wiring.rulebook().areas.get(code)
    return found.name if found else code


def _within(session: Session, planned: Planned) -> bool:
    """Return whether the actor plans for the ground of a change."""
    try:
        area = changes.reach(session)
    except WanggeError:
        return False
    return all(code.startswith(area) for code in planned.communities)


def _log_words(data: Mapping[str, Any]) -> str:
    """Return what an entry of the log says beside its action."""
    if "message" in data:
        return say(str(data["message"]), **data.get("params", {}))
    if "moved" in data:
        moved = {name: n for name, n in data["moved"].items() if n}
        return "、".join(f"{say(TABLES.get(name, name))} {n}" for name, n in moved.items())
    return str(data.get("reason", ""))


@router.post("/grid/changes/{change_id}/approve")
def approve(session: Write, actor: Planner, at: Now, change_id: uuid.UUID) -> Response:
    """Take a proposal into the plan."""
    del actor
    changes.approve(session, change_id, at=at)
    changes.apply_due(session, at=at)
    return go(f"/grid/changes/{change_id}")


@router.post("/grid/changes/{change_id}/cancel")
def cancel(request: Request, session: Write, actor: Planner, *, at: Now, change_id: uuid.UUID, form: Form) -> Response:
    """Call a change off, with a reason."""
    try:
        changes.cancel(session, change_id, reason=form.text("reason", most=1000), at=at)
    except Invalid as error:
        shown = _shown(request, session, actor, change_id, at=at, problem=sentence(error))
        shown.status_code = status_of(error)
        return shown
    return go(f"/grid/changes/{change_id}")


@router.get("/grid/changes/{change_id}/file")
def file(session: Read, actor: Staff, change_id: uuid.UUID) -> Response:
    """Hand out the uploaded decision, to be saved."""
    del actor
    planned = effects.read(session, change_id)
    if not planned.file:
        raise NotFound("This change has no file.")
    told = Upload(**planned.file)
    ending = {"application/pdf": "pdf"}.get(told.media_type, "jpg")
    headers = {
        "Content-Disposition": f'attachment; filename="decision-{str(change_id)[:8]}.{ending}"',
        "Cache-Control": "private, no-store",
    }
    return Response(uploads.read(told), media_type=told.media_type, headers=headers)


@router.get("/grid/history")
def history(request: Request, session: Read, actor: Staff, at: Now) -> Response:
    """Show whose ground a place was: a name, a pair of coordinates or a cell's code, and a day or none."""
    del actor
    asked = {name: request.query_params.get(name, "").strip()[:120] for name in ("q", "on")}
    found: list[versions.Version] = []
    spot, problem, then, owners = None, "", None, {}
    try:
        then = _day(asked["on"])
        if asked["q"].isascii() and asked["q"].isdigit() and len(asked["q"]) == 15:
            found = versions.of_code(session, asked["q"])
        elif asked["q"]:
            spot = _spot(asked["q"])
            found = versions.history(session, spot["lng"], spot["lat"])
        if then is not None:
            found = [one for one in found if _held(one, then)]
        moment = then or at
        owners = _owners(session, found, at=moment)
    except (Invalid, NotFound) as error:
        problem = sentence(error)
    return page(
        request,
        "grid/history.html",
        asked=asked,
        spot=spot,
        problem=problem,
        found=found,
        then=then,
        owners=owners,
        kinds=KINDS,
        cell_kinds=CELL_KINDS,
        duties=duties.DUTIES,
        at=at,
    )


def _day(written: str) -> datetime | None:
    """Return the noon of a day in China: which version held on it, changes being at midnight."""
    try:
        return midnight(date.fromisoformat(written)) + timedelta(hours=12) if written else None
    except (ValueError, OverflowError) as error:
        raise Invalid("{day} is no date; write 2026-11-21.", field="on", day=written[:20]) from error


def _spot(written: str) -> dict[str, Any]:
    """Return the point that somebody names: longitude and latitude, or a place's name; raises NotFound."""
    parts = written.replace("，", ",").split(",")
    if len(parts) == 2:
        try:
            lng, lat = float(parts[0]), float(parts[1])
        except ValueError:
            pass
        else:
            made = point(lng, lat, "WGS84", field="q")
            return {"lng": made.x, "lat": made.y, "name": ""}
    places: Any = wiring.intake().places
    assert isinstance(places, Geocoder)
    matches = places.locate(written).matches
    if not matches:
        raise NotFound("No place of this name is known here.")
    return {"lng": matches[0].lng, "lat": matches[0].lat, "name": matches[0].name}


def _held(one: versions.Version, at: datetime) -> bool:
    return (one.valid_from is None or one.valid_from <= at) and (one.valid_to is None or at < one.valid_to)


def _owners(session: Session, found: list[versions.Version], *, at: datetime) -> dict[str, list[tuple[str, str]]]:
    """Return code → (name, duty) of who answered in the cells that held at a moment."""
    held = sorted({one.code for one in found if _held(one, at)})
    told: dict[str, list[tuple[str, str]]] = {}
    for owner in duties.owners(session, held[:20], at=at):
        if owner.acting:
            told.setdefault(owner.cell, []).append((owner.name, owner.duty))
    return told

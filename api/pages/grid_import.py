"""Taking cells in from a map file 网格导入: upload, what was found on the map and in words, snaps, a date; and export.

Nothing that is uploaded is in force: a draft waits, today or tomorrow, until a person plans it.
"""

import uuid
from collections import Counter
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, File, Form, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from api.deps import Now, Read, Write, require
from api.errors import sentence, status_of
from api.i18n import N_, say
from api.pages import go, page
from api.photos import store
from api.uploads import plain_name
from api.wording import CELL_KINDS, named
from core.actor import Actor, Role
from core.db import snapshot, transaction
from core.errors import Conflict, Invalid, NotFound, WanggeError
from grid import exports, files, imports
from grid.duties import DUTIES
from grid.imports import Options, Order

router = APIRouter(include_in_schema=False)

Keeper = Annotated[Actor, Depends(require(Role.ADMIN, Role.SUPERVISOR))]
Anybody = Annotated[Actor, Depends(require(*(role for role in Role if role not in (Role.CITIZEN, Role.SYSTEM))))]
_CHINA: Final = ZoneInfo("Asia/Shanghai")
#: What a person can say of a file's datum.
DATUMS: Final = (
    ("", N_("as the file itself says")),
    ("CGCS2000", N_("CGCS2000 (EPSG:4490)")),
    ("WGS84", N_("WGS84 (GPS, OpenStreetMap)")),
    ("GCJ-02", N_("GCJ-02 (Amap, Tencent)")),
    ("BD-09", N_("BD-09 (Baidu)")),
)
#: Heading of each rule of `grid.checking`.
RULES: Final = {
    "datum": N_("Wrong datum"),
    "swapped": N_("Axes exchanged"),
    "shift": N_("Whole file shifted"),
    "datum_name": N_("Datum differs from the file's"),
    "unclosed": N_("Not closed"),
    "empty": N_("No boundary"),
    "crossing": N_("Boundary not simple"),
    "parts": N_("Several parts"),
    "code": N_("Code"),
    "code_twice": N_("One code twice"),
    "community": N_("Unknown community"),
    "elsewhere": N_("In another community"),
    "vanished": N_("Community without a cell"),
    "overlap": N_("Overlap"),
    "gap": N_("Gap between cells"),
    "hole": N_("Hole"),
    "outside": N_("Outside the community"),
    "enclosed": N_("Enclosed cell"),
    "kind": N_("Kind"),
    "kind_places": N_("Kind against places"),
    "order": N_("Order of numbers"),
    "households": N_("Households"),
    "households_unknown": N_("Households not counted"),
    "owners": N_("Duty without an owner"),
}
FIXES: Final = {
    "give": N_("Give it to the neighbour"),
    "take": N_("Cut it off"),
    "reshape": N_("Make the boundary simple"),
    "number": N_("Number anew"),
    "datum": N_("Read in the datum that fits"),
    "swap": N_("Exchange the axes"),
}
STATES: Final = {"draft": N_("waits for you"), "planned": N_("planned"), "dropped": N_("thrown away")}
#: Parameters of findings that are words of ours.
_WORDS: Final = ("wind",)


@router.get("/grid/import")
def listing(request: Request, session: Read, actor: Keeper) -> Response:
    """Show the drafts that wait, and the form."""
    del actor
    return _list(request, imports.newest(session))


def _list(request: Request, drafts: Any, *, problem: WanggeError | None = None, typed: Any = None) -> Response:
    shown = {
        "drafts": drafts,
        "datums": DATUMS,
        "states": STATES,
        "usual": Options(),
        "typed": dict.fromkeys(("datum", "layer", "scope", "tolerance", "snap"), "") | (typed or {}),
        "problem": sentence(problem) if problem else "",
        "blamed": problem.field if problem else "",
    }
    return page(request, "grid/import.html", status=status_of(problem) if problem else 200, **shown)


@router.post("/grid/import")
def upload(  # noqa: PLR0917  FastAPI gives them by name
    request: Request,
    actor: Keeper,
    at: Now,
    file: Annotated[UploadFile, File()],
    datum: Annotated[str, Form(max_length=20)] = "",
    layer: Annotated[str, Form(max_length=120)] = "",
    scope: Annotated[str, Form(max_length=10)] = "whole",
    tolerance: Annotated[str, Form(max_length=10)] = "0.5",
    snap: Annotated[str, Form(max_length=10)] = "5",
) -> Response:
    """Read and check a file outside any transaction, and keep it as a draft."""
    typed = {"datum": datum, "layer": layer, "scope": scope, "tolerance": tolerance, "snap": snap}
    try:
        options = Options(
            datum=datum,
            layer=layer.strip(),
            whole=scope != "some",
            tolerance_m=_metres(tolerance, "tolerance"),
            snap_m=_metres(snap, "snap"),
        )
        data = file.file.read(files.LARGEST + 1)
        with snapshot(actor) as session:
            ground, kept = imports.known(session, at=at), imports.rules(session, options)
        found = imports.examine(data, options, ground=ground, kept=kept)
    except Invalid as error:
        with snapshot(actor) as session:
            return _list(request, imports.newest(session), problem=error, typed=typed)
    digest = sha256(data).hexdigest()
    store().put(digest, data)
    name = plain_name(file.filename or "")
    with transaction(actor) as session:
        key = imports.keep(session, found, name=name, sha256=digest, options=options, at=at)
    return go(f"/grid/import/{key}")


def _metres(given: str, name: str) -> float:
    try:
        return float(given)
    except ValueError as error:
        raise Invalid("{name} is not a number.", field=name, name=name) from error


@router.get("/grid/import/{key}")
def draft(request: Request, session: Read, actor: Keeper, at: Now, key: uuid.UUID) -> Response:
    """Show a draft: its figures, the map, and what was found."""
    del actor
    return _draft(request, session, imports.draft(session, key), at=at)


def _draft(request: Request, session: Any, one: Any, *, at: datetime, problem: WanggeError | None = None) -> Response:
    rule = request.query_params.get("rule", "")
    number = request.query_params.get("page", "1")
    wanted = int(number) if number.isascii() and number.isdigit() and 0 < int(number[:6]) < 10_000 else 1
    listed = imports.findings(session, one, rule=rule if rule in RULES else "", page=wanted)
    pages = max(1, -(-listed.total // imports.PER_PAGE))
    if wanted > pages:
        listed = imports.findings(session, one, rule=rule if rule in RULES else "", page=pages)
    context = {
        "one": one,
        "options": imports.options_of(one),
        "listed": listed,
        "said": [said(each.message, each.params) for each in listed.findings],
        "rules": RULES,
        "fixes": FIXES,
        "states": STATES,
        "datums": dict(DATUMS),
        "chosen": rule if rule in RULES else "",
        "number": min(wanted, pages),
        "pages": pages,
        "proposed": sum(row["fixes"] for row in listed.rules if row["rule"] not in ("datum", "swapped")),
        "tomorrow": at.astimezone(_CHINA).date().isoformat(),
        "problem": sentence(problem) if problem else "",
        "blamed": problem.field if problem else "",
    }
    return page(request, "grid/import_draft.html", status=status_of(problem) if problem else 200, **context)


def said(message: str, params: Any) -> str:
    """Return a finding in the reader's language, with our own words among its parameters."""
    told = {name: say(value) if name in _WORDS and value else value for name, value in params.items()}
    for name in ("kind", "found"):
        if name in params:
            told[name] = named(params[name], CELL_KINDS)
    if "duties" in params:
        told["duties"] = say("; ").join(say(DUTIES.get(duty, duty)) for duty in params["duties"])
    return say(message, **told)


@router.get("/grid/import/{key}/map.json")
def drawn(session: Read, actor: Keeper, key: uuid.UUID) -> Response:
    """Answer what the map draws."""
    del actor
    one = imports.draft(session, key)
    return Response(imports.shapes(session, one), media_type="application/json", headers={"Cache-Control": "no-store"})


@router.get("/grid/import/{key}/file")
def original(session: Read, actor: Keeper, key: uuid.UUID) -> Response:
    """Hand the uploaded file back, to be saved."""
    del actor
    one = imports.draft(session, key)
    return _saved(store().get(one.sha256), "application/octet-stream", f"import-{one.sha256[:8]}")


@router.post("/grid/import/{key}/accept")
def accept(  # noqa: PLR0917  FastAPI gives them by name
    request: Request,
    actor: Keeper,
    at: Now,
    key: uuid.UUID,
    version: Annotated[int, Form()],
    finding: Annotated[list[int] | None, Form()] = None,
    everything: Annotated[str, Form(max_length=5)] = "",
) -> Response:
    """Do what was proposed, by choice or all snaps, and check everything again."""
    try:
        with snapshot(actor) as session:
            one = imports.draft(session, key)
            options, sha = imports.options_of(one), one.sha256
            chosen = imports.proposals(session, one, None if everything else finding or [])
            cells, told = imports.cells_of(session, one)
            ground = imports.known(session, at=at)
            again = imports.read_again(options, chosen[0][2]) if len(chosen) == 1 else None
            options = again or options
            kept = imports.rules(session, options)
        if again is not None:
            found = imports.examine(store().get(sha), again, ground=ground, kept=kept)
        else:
            found = imports.mended(cells, told, chosen, ground=ground, kept=kept)
        counts = Counter(rule for rule, _, _ in chosen)
        with transaction(actor) as session:
            imports.put(session, key, found, version=version, options=options, accepted=counts, at=at)
    except (Invalid, Conflict) as error:
        with snapshot(actor) as session:
            return _draft(request, session, imports.draft(session, key), at=at, problem=error)
    return go(f"/grid/import/{key}?done={counts.total()}")


@router.post("/grid/import/{key}/check")
def check_again(actor: Keeper, at: Now, key: uuid.UUID, version: Annotated[int, Form()]) -> Response:
    """Check a draft against what the district knows now."""
    with snapshot(actor) as session:
        one = imports.draft(session, key)
        options = imports.options_of(one)
        cells, told = imports.cells_of(session, one)
        ground, kept = imports.known(session, at=at), imports.rules(session, options)
    found = imports.mended(cells, told, (), ground=ground, kept=kept)
    with transaction(actor) as session:
        imports.put(session, key, found, version=version, options=options, accepted=None, at=at)
    return go(f"/grid/import/{key}?done=check")


@router.post("/grid/import/{key}/drop")
def drop(session: Write, actor: Keeper, at: Now, key: uuid.UUID, version: Annotated[int, Form()]) -> Response:
    """Throw a draft away."""
    del actor
    imports.drop(session, key, version=version, at=at)
    return go("/grid/import")


@router.post("/grid/import/{key}/plan")
def plan(  # noqa: PLR0917  FastAPI gives them by name
    request: Request,
    actor: Keeper,
    at: Now,
    key: uuid.UUID,
    version: Annotated[int, Form()],
    day: Annotated[str, Form(max_length=10)],
    reason: Annotated[str, Form(max_length=1000)],
    document: Annotated[str, Form(max_length=120)],
) -> Response:
    """Make a draft without refusing findings a planned change."""
    try:
        order = Order(_day(day, at), reason, document)
        with transaction(actor) as session:
            imports.plan(session, key, order, version=version, at=at)
    except (Invalid, Conflict) as error:
        with snapshot(actor) as session:
            return _draft(request, session, imports.draft(session, key), at=at, problem=error)
    return go(f"/grid/import/{key}?done=planned")


def _day(given: str, at: datetime) -> datetime:
    """Return the beginning of a day in China; today means now."""
    try:
        day = datetime.fromisoformat(given).replace(tzinfo=_CHINA)
    except ValueError as error:
        raise Invalid("Choose the day from which it holds.", field="day") from error
    if day.date() < at.astimezone(_CHINA).date():
        raise Invalid("The day is past.", field="day")
    return max(day, at)


@router.get("/grid/export")
def export(  # noqa: PLR0917  FastAPI gives them by name
    session: Read, actor: Anybody, at: Now, what: str = "cells", form: str = "geojson", encoding: str = "UTF-8"
) -> Response:
    """Hand out cells, communities, towns or places as a map file."""
    if form not in files.FORMS or what not in exports.LAYERS:
        raise NotFound("There is no such export.")
    data = files.write([exports.layer(session, what, at=at)], form, encoding=encoding)  # type: ignore[arg-type]
    ending, kind = files.FORMS[form]
    return _saved(data, kind, f"{actor.district}-{what}{ending}")


def _saved(data: bytes, kind: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(data, media_type=kind, headers=headers)

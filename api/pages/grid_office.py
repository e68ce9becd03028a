"""The office of a street or community 网格办公室: what is wrong in its cells this week, and who answers for them.

Map and list show the same cells; what is coloured, listed and sorted stands in the address. Names and rules are
`dispatch.office`'s, `grid.duties`'s and `grid.training`'s; this draws them and takes forms.
"""

import csv
import gzip
import io
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api import wiring
from api.deps import Now, Read, Write, require
from api.errors import sentence, status_of
from api.i18n import LANGUAGE, N_, say
from api.pages import go, page
from api.pages.entered import Entered, Form
from api.pages.listing import harmless
from api.wording import CELL_KINDS, CHINA, date_words, exact, named
from core.actor import Actor, Role
from core.errors import Conflict, Forbidden, Invalid, NotFound, WanggeError
from dispatch import office, views
from dispatch.boxes import open_states
from dispatch.office import MEASURES, TROUBLES, CellRow
from dispatch.views import Filter
from grid import appointing, duties, duty_lists
from grid.duties import DUTIES, RANKS, Charge, Handover, Holder
from grid.models import Cell

router = APIRouter(include_in_schema=False)

Office = Annotated[Actor, Depends(require(Role.UNIT, Role.SUPERVISOR, Role.ADMIN, Role.OFFICIAL))]
#: Cells of one page of the list, and open matters on a cell's page.
PAGE: Final = 100
_MATTERS: Final = 20
#: Bytes of an answer from which on it is compressed.
_LARGE: Final = 20_000
#: Where a role works on a case; others open it to read.
_CASE_PAGES: Final = {Role.UNIT: "/unit/"}
SORTS: Final[Mapping[str, str]] = {
    "trouble": N_("What is wrong first"),
    "code": N_("By code"),
    "open": N_("Most open matters"),
    "covered": N_("Least patrolled"),
    "households": N_("Most households"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for."""

    area: str
    #: One of `TROUBLES`, or empty for all cells.
    show: str
    #: One of `MEASURES`.
    by: str
    sort: str
    page: int


def _asked(request: Request, reach: str) -> Asked:
    given = {name: value.strip()[:40] for name, value in request.query_params.items()}
    area = given.get("area", "")
    number = given.get("page", "1")
    return Asked(
        area=area if area.startswith(reach) and area.isdigit() and len(area) in {9, 12} else reach,
        show=given.get("show", "") if given.get("show") in TROUBLES else "",
        by=given.get("by", "") if given.get("by") in MEASURES else "open",
        sort=given.get("sort", "") if given.get("sort") in SORTS else "trouble",
        page=int(number) if number.isascii() and number.isdigit() and 0 < int(number) < 1000 else 1,
    )


def _ordered(found: Sequence[CellRow], asked: Asked) -> list[CellRow]:
    keys: dict[str, Any] = {
        "trouble": lambda one: (-one.overdue, -len(one.troubles), -one.open, one.code),
        "code": lambda one: one.code,
        "open": lambda one: (-one.open, one.code),
        "covered": lambda one: (one.covered, one.code),
        "households": lambda one: (-(one.households or 0), one.code),
    }
    return sorted((one for one in found if not asked.show or asked.show in one.troubles), key=keys[asked.sort])


@dataclass(frozen=True, slots=True)
class _Choice:
    code: str
    words: str


def _areas(reach: str) -> list[_Choice]:
    """Return the areas that may be chosen: towns and communities inside the actor's reach."""
    book = wiring.rulebook()
    inside = [node for code, node in sorted(book.areas.items()) if code.startswith(reach) and len(code) in {9, 12}]
    return [_Choice(one.code, one.name if len(one.code) == 9 else "　" + one.name) for one in inside]


def area_name_of(area: str) -> str:
    """Return the name of a town or community, of the district for no code."""
    book = wiring.rulebook()
    return book.areas[area].name if area in book.areas else book.name


def _limits() -> tuple[int, int]:
    return office.bounds(wiring.rulebook().settings)


def _today(at: datetime) -> datetime:
    return at.astimezone(CHINA).replace(hour=0, minute=0, second=0, microsecond=0)


def may_keep(session: Session) -> bool:
    """Return whether the session's actor gives and hands over duties."""
    try:
        duties.reach(session)
    except Forbidden:
        return False
    return True


@router.get("/grid")
def overview(request: Request, session: Read, actor: Office, at: Now) -> Response:
    """Show the cells on the map and in the list, what is wrong, who is on duty, and which hand-overs run."""
    del actor
    reach = duties.reach(session, write=False)
    asked = _asked(request, reach)
    found = office.cells(session, asked.area, at=at, limits=_limits())
    listed = _ordered(found, asked)
    pages = max(1, -(-len(listed) // PAGE))
    shown = listed[(min(asked.page, pages) - 1) * PAGE : min(asked.page, pages) * PAGE]
    people = office.workers(session, found, asked.area, since=_today(at), at=at)
    return page(
        request,
        "grid/office.html",
        asked=asked,
        areas=_areas(reach),
        area_name=area_name_of(asked.area),
        cells=shown,
        total=len(found),
        listed=len(listed),
        pages=pages,
        counts={name: sum(name in one.troubles for one in found) for name in TROUBLES},
        sums={name: sum(getattr(one, name) for one in found) for name in ("open", "overdue", "taken", "done")},
        troubles=TROUBLES,
        measures=MEASURES,
        sorts=SORTS,
        limits=_limits(),
        workers=people[:PAGE],
        more_workers=max(0, len(people) - PAGE),
        standing=duty_lists.standing(session, asked.area, at=at),
        may_keep=may_keep(session),
        cell_name=_cell_name,
        day=_day_words,
        last_day=_last_day,
        done=request.query_params.get("done", ""),
        at=at,
    )


def _cell_name(code: str) -> str:
    """Return a cell's code as people read it: community and the last three digits."""
    book = wiring.rulebook()
    node = book.areas.get(code[:12])
    return f"{node.name} {code[12:]}" if node is not None else code


def _day_words(moment: datetime) -> str:
    return date_words(moment, LANGUAGE.get())


def _last_day(until: datetime) -> str:
    """Return the last day of a span whose end is exclusive, as people say it."""
    return _day_words(until - timedelta(seconds=1))


@router.get("/grid/office.json")
def drawn(request: Request, session: Read, actor: Office, at: Now) -> Response:
    """Answer the cells of the area for the map: shapes by code, and the figures that they are coloured by."""
    del actor
    asked = _asked(request, duties.reach(session, write=False))
    found = office.cells(session, asked.area, at=at, limits=_limits())
    shapes = office.shapes(session, asked.area, many=len(found) > 1000)
    told = {
        one.code: {
            "name": _cell_name(one.code),
            "open": one.open,
            "overdue": one.overdue,
            "covered": round(100 * one.covered),
            "households": one.households,
            "outside": one.outside,
            "gaps": len(one.gaps),
            "who": "、".join(person.name for person in one.acting[:3]),
        }
        for one in found
    }
    body = orjson.dumps({"cells": told, "shapes": orjson.Fragment(shapes), "limits": _limits()})
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    if len(body) > _LARGE and "gzip" in request.headers.get("accept-encoding", ""):
        # A whole district's outlines shrink to a tenth.
        body, headers["Content-Encoding"] = gzip.compress(body, 4), "gzip"
    return Response(body, media_type="application/json", headers=headers)


@router.get("/grid/cells.csv")
def export(request: Request, session: Read, actor: Office, at: Now) -> Response:
    """Answer the listed cells, all pages, as a table that spreadsheets open."""
    del actor
    asked = _asked(request, duties.reach(session, write=False))
    found = _ordered(office.cells(session, asked.area, at=at, limits=_limits()), asked)
    head = (
        *(
            N_("Cell"),
            N_("Community"),
            N_("Kind of cell"),
            N_("Household count"),
            N_("Open"),
            N_("Overdue"),
            N_("Taken in 30 days"),
        ),
        *(N_("Done of these"), N_("Patrolled, %"), N_("Last patrol"), N_("Who answers"), N_("Duties without an owner")),
    )
    lines = [
        (
            one.code,
            one.community_name,
            named(one.kind, CELL_KINDS),
            "" if one.households is None else one.households,
            *(one.open, one.overdue, one.taken, one.done, round(100 * one.covered)),
            exact(one.patrolled_at) if one.patrolled_at else "",
            harmless("、".join(person.name for person in one.acting)),
            "、".join(say(DUTIES[duty]) for duty in one.gaps),
        )
        for one in found
    ]
    return table([[say(word) for word in head], *lines], f"cells-{asked.area or 'all'}.csv")


def table(lines: Sequence[Sequence[Any]], name: str) -> Response:
    """Return rows as a CSV file that spreadsheets open."""
    out = io.StringIO()
    # Spreadsheets take a file for UTF-8 only by its mark.
    out.write("\ufeff")
    csv.writer(out).writerows(lines)
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(out.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def _uuid(written: str, field: str) -> uuid.UUID:
    try:
        return uuid.UUID(written)
    except ValueError as error:
        raise Invalid("Choose a person.", field=field) from error


def day_of(written: str, field: str) -> date | None:
    """Return a date of a form, None where it is empty; raises Invalid."""
    if not written.strip():
        return None
    try:
        return date.fromisoformat(written.strip())
    except ValueError as error:
        raise Invalid("{day} is no date; write 2026-11-21.", field=field, day=written[:20]) from error


def begin_of(written: str, field: str, *, at: datetime) -> datetime:
    """Return when a span of days begins: now for today and for nothing, else the first moment of the day in China."""
    day = day_of(written, field)
    if day is None or day == at.astimezone(CHINA).date():
        return at
    return datetime(day.year, day.month, day.day, tzinfo=CHINA)


def end_of(written: str, field: str) -> datetime | None:
    """Return when a span of days is over: after the last day, in China; None for no end."""
    day = day_of(written, field)
    return None if day is None else datetime(day.year, day.month, day.day, tzinfo=CHINA) + timedelta(days=1)


def _order(form: Mapping[str, Any], *, at: datetime) -> Handover:
    for_good = bool(form.get("for_good"))
    until = None if for_good else end_of(str(form.get("until", "")), "until")
    if not for_good and until is None:
        raise Invalid("Say until which day, or that it is for good.", field="until")
    why = str(form.get("why", "")).strip()[:200]
    if not why:
        raise Invalid("Say why.", field="why")
    return Handover(
        giver=_uuid(str(form.get("giver", "")), "giver"),
        taker=Holder(_uuid(str(form.get("taker", "")), "taker")),
        since=begin_of(str(form.get("since", "")), "since", at=at),
        until=until,
        why=why,
        cells=tuple(form.get("cells", ())),
        exception=str(form.get("exception", "")).strip()[:200],
    )


@router.get("/grid/handover")
def handover(request: Request, session: Read, actor: Office, at: Now) -> Response:
    """Show the form, and what would move with what was chosen so far."""
    del actor
    given: dict[str, Any] = dict(request.query_params) | {"cells": request.query_params.getlist("cells")}
    return _handover(request, session, given, at=at)


def _handover(
    request: Request, session: Session, given: Mapping[str, Any], *, at: datetime, error: WanggeError | None = None
) -> Response:
    reach = duties.reach(session)
    people = duty_lists.people(session, reach)
    names = {str(one.id): one for one in people}
    giver, taker = (names.get(str(given.get(name, ""))) for name in ("giver", "taker"))
    moving: dict[str, list[str]] = {}
    if giver is not None:
        for cell, duty in duties.held_by(session, giver.id, at=at):
            if cell.startswith(reach):
                moving.setdefault(cell, []).append(duty)
    chosen = [cell for cell in given.get("cells", ()) if cell in moving] or list(moving)
    asked = {duty for cell in chosen for duty in moving[cell]}
    lacking = appointing.lacking(session, taker.id, sorted(asked), at=at) if taker is not None else []
    figures = {one.code: one for one in office.cells(session, reach, at=at)} if moving else {}
    return page(
        request,
        "grid/office_handover.html",
        status=status_of(error) if error else 200,
        problem=sentence(error) if error else "",
        wrong=(error.field or "") if error else "",
        given=dict.fromkeys(("giver", "taker", "since", "until", "why", "exception", "for_good"), "") | dict(given),
        people=people,
        giver=giver,
        taker=taker,
        moving=moving,
        chosen=chosen,
        lacking=lacking,
        figures=figures,
        cell_name=_cell_name,
        today=at.astimezone(CHINA).date(),
    )


@router.post("/grid/handover")
def hand_over(request: Request, session: Write, actor: Office, at: Now, form: Form) -> Response:
    """Hand over; a refusal keeps everything that was entered."""
    del actor
    given = _entered(form)
    try:
        with session.begin_nested():
            appointing.hand_over(session, _order(given, at=at), at=at)
    except (Conflict, Invalid) as error:
        return _handover(request, session, given, at=at, error=error)
    return go("/grid?done=handover")


@router.post("/grid/handback")
def hand_back(session: Write, actor: Office, at: Now, form: Form) -> Response:
    """End early what others stand in for of somebody's duties."""
    del actor
    given = _entered(form)
    appointing.hand_back(session, giver=_uuid(given.get("giver", ""), "giver"), why=given.get("why", "")[:200], at=at)
    return go("/grid?done=handback")


def _entered(form: Entered) -> dict[str, Any]:
    """Return a form's fields; `cells` and `duties` as lists."""
    return dict(form) | {name: form.lists.get(name, []) for name in ("cells", "duties")}


def _cell(session: Session, code: str, reach: str) -> Cell:
    cell = session.get(Cell, (wiring.district(), code)) if len(code) == 15 else None
    if cell is None:
        raise NotFound("There is no such cell.")
    if not code.startswith(reach):
        raise Forbidden("This cell is not in your area.")
    return cell


@router.get("/grid/cells/{code}")
def one_cell(request: Request, session: Read, actor: Office, at: Now, code: str) -> Response:
    """Show one cell: figures, who holds each duty, open matters that one may see, and what was said before."""
    return _one(request, session, actor, code, at=at)


def _one(
    request: Request,
    session: Session,
    actor: Actor,
    code: str,
    *,
    at: datetime,
    given: Mapping[str, Any] | None = None,
    error: WanggeError | None = None,
) -> Response:
    reach = duties.reach(session, write=False)
    _cell(session, code, reach)
    (row,) = office.cells(session, code, at=at, limits=_limits())
    held: dict[str, dict[str, duties.Owner]] = {duty: {} for duty in DUTIES}
    for owner in duties.owners(session, [code], at=at):
        held[owner.duty][owner.rank] = owner
    matters = (
        ()
        if actor.role is Role.ADMIN
        else views.worklist(
            session, Filter(cell=code, states=tuple(open_states()), box="all"), at=at, limit=_MATTERS
        ).rows
    )
    empty: dict[str, Any] = dict.fromkeys(("holder", "rank", "since", "until", "why", "exception"), "") | {"duties": []}
    return page(
        request,
        "grid/office_cell.html",
        status=status_of(error) if error else 200,
        problem=sentence(error) if error else "",
        wrong=(error.field or "") if error else "",
        given=empty | dict(given or {}),
        cell=row,
        held=held,
        duties=DUTIES,
        ranks={rank: words for rank, words in RANKS.items() if rank != duties.STAND_IN},
        all_ranks=RANKS,
        people=duty_lists.people(session, code) if may_keep(session) else [],
        may_keep=may_keep(session),
        history=duties.history(session, code, most=100),
        matters=matters,
        case_page=_CASE_PAGES.get(actor.role, "/cases/"),
        limits=_limits(),
        last_day=_last_day,
        name=_cell_name(code),
        done=request.query_params.get("done", ""),
        today=at.astimezone(CHINA).date(),
        at=at,
    )


@router.post("/grid/cells/{code}/duties")
def give(request: Request, session: Write, actor: Office, at: Now, *, code: str, form: Form) -> Response:
    """Give duties of a cell to somebody; without a certificate only with a reason."""
    given = _entered(form)
    try:
        with session.begin_nested():
            _cell(session, code, duties.reach(session))
            charge = Charge(
                cells=(code,),
                duties=given["duties"],
                holder=Holder(_uuid(given.get("holder", ""), "holder")),
                since=begin_of(given.get("since", ""), "since", at=at),
                until=end_of(given.get("until", ""), "until"),
                rank=given.get("rank", duties.PRIMARY) if given.get("rank") != duties.STAND_IN else "",
                why=given.get("why", "").strip()[:200],
                exception=given.get("exception", "").strip()[:200],
            )
            appointing.appoint(session, charge, at=at)
    except (Conflict, Invalid) as error:
        return _one(request, session, actor, code, at=at, given=given, error=error)
    return go(f"/grid/cells/{code}?done=given")

"""The registers 登记簿: lists, one entry, forms to add and change, what happened, opening a field, export.

What somebody sees and does here is decided in `grid.registers`; a page asks it and draws what it gets.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api import i18n
from api.deps import Now, Read, Write, require
from api.errors import sentence, status_of
from api.pages import go, page
from api.pages.entered import Entered, Form
from api.wording import CHINA, exact
from core.actor import Actor, Role
from core.documents import masked
from core.errors import Conflict, Forbidden, Invalid, NotFound, WanggeError
from grid.duties import DUTIES
from grid.openings import REASONS
from grid.registers import events, exporting, keeping, lists, parts, people, permissions, rooms, unmasking
from grid.registers.events import Event, Position, Told
from grid.registers.fields import CARE, HOUSEHOLDS, REGISTERS, RELATIONS, Register
from grid.registers.lists import Asked
from grid.registers.permissions import Access, Grant

router = APIRouter(include_in_schema=False)

#: Registers in the order of the tabs.
TABS: Final = ("resident", "household", "tenancy", "building", "organisation", "key_place", "part")
Staff = Annotated[Actor, Depends(require(Role.ADMIN, Role.SUPERVISOR, Role.UNIT, Role.GRID_WORKER))]
Counter = Annotated[Actor, Depends(require(Role.ADMIN, Role.SUPERVISOR, Role.UNIT, Role.GRID_WORKER, Role.OFFICIAL))]


@router.get("/registers")
def index(request: Request, session: Read, actor: Counter, at: Now) -> Response:
    """Show which registers there are and how much stands in them; officials read these numbers and nothing else."""
    reads = actor.role is not Role.OFFICIAL
    access = permissions.access(session, at=at) if reads else None
    whole = actor.role in (Role.ADMIN, Role.SUPERVISOR, Role.OFFICIAL)
    counts = lists.counts(session, area=actor.town) if whole else {}
    return page(
        request,
        "registers/index.html",
        registers=[REGISTERS[name] for name in (*TABS, "room")],
        seen=access.registers if access else (),
        counts=counts,
        cells=sorted(access.duties) if access else [],
        held={cell: sorted(access.duties[cell], key=list(DUTIES).index) for cell in access.duties} if access else {},
        duties=DUTIES,
    )


@router.get("/registers/{register}")
def listing(request: Request, session: Read, actor: Staff, at: Now, *, register: str) -> Response:
    """Show one page of a register, filtered as the address says."""
    del actor
    known, access = _known(register), permissions.access(session, at=at)
    asked = _asked(request, register)
    error: WanggeError | None = None
    listed = None
    try:
        listed = lists.listed(session, access, asked, today=_today(at))
    except (Invalid, Forbidden) as wrong:
        if not access.anywhere(register).sees:
            raise
        error = wrong
    grant = access.anywhere(register)
    return page(
        request,
        "registers/list.html",
        status=status_of(error) if error else 200,
        problem=sentence(error) if error else "",
        register=known,
        tabs=[REGISTERS[name] for name in TABS if name in access.registers],
        listed=listed,
        asked=asked,
        columns=_columns(known, listed),
        kinds=_kinds(register),
        flags=_flags(register, grant),
        cells=access.cells(register),
        adds=bool(grant.changes) and register not in ("household", "room", "tenancy"),
        numbered=bool(grant.sees & {"id_number", "credit_code", "code"}),
        phoned=bool(grant.sees & {"phone", "landlord_phone"}),
        named=register not in ("household", "tenancy", "room"),
        today=_today(at).isoformat(),
    )


@router.post("/registers/{register}/export")
def export(request: Request, session: Write, actor: Staff, at: Now, *, register: str, form: Form) -> Response:
    """Hand out what the list shows as a spreadsheet with a mark; logged."""
    del actor
    _known(register)
    made = exporting.export(
        session,
        permissions.access(session, at=at),
        _asked(request, register),
        why=form.get("why", ""),
        at=at,
        today=_today(at),
        say=i18n.say,
        when=exact(at),
    )
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    headers = {"Content-Disposition": f'attachment; filename="{made.name}"', "Cache-Control": "no-store"}
    return Response(made.body, media_type=kind, headers=headers)


@router.get("/registers/{register}/new")
def new(request: Request, session: Read, actor: Staff, at: Now, *, register: str, form: Form) -> Response:
    """Show the empty form."""
    del actor
    return _form(request, session, permissions.access(session, at=at), register, form, at=at)


@router.post("/registers/{register}/new")
def add(request: Request, session: Write, actor: Staff, at: Now, *, register: str, form: Form) -> Response:
    """Enter a row."""
    del actor
    known, access = _known(register), permissions.access(session, at=at)
    try:
        with session.begin_nested():
            row = _enter(session, access, known, form, at=at)
    except (Conflict, Invalid, Forbidden) as error:
        return _form(request, session, access, register, form, at=at, error=error)
    return go(f"/registers/{register}/{row.id}?done=entered")


@router.get("/registers/{register}/{row_id}")
def one(request: Request, session: Read, actor: Staff, at: Now, *, register: str, row_id: uuid.UUID) -> Response:
    """Show one entry, with what happened to it and who opened what."""
    del actor
    return _entry(request, session, permissions.access(session, at=at), register, row_id, at=at)


@router.get("/registers/{register}/{row_id}/edit")
def edit(request: Request, session: Read, actor: Staff, at: Now, *, register: str, row_id: uuid.UUID) -> Response:
    """Show the form with what may be shown of the row."""
    del actor
    access = permissions.access(session, at=at)
    row = lists.one(session, access, register, row_id)
    given = {name: _typed(shown.value) for name, shown in lists.line(access, row).fields.items() if not shown.masked}
    form = Entered({name: value for name, value in given.items() if isinstance(value, str)})
    form |= {"seen": str(row.version), "lng": str(row.source_lng or ""), "lat": str(row.source_lat or "")}
    form["datum"] = row.source_datum or ""
    form.lists["care"] = list(getattr(row, "care", ()))
    return _form(request, session, access, register, form, at=at, row=row)


@router.post("/registers/{register}/{row_id}/edit")
def change(
    request: Request, session: Write, actor: Staff, at: Now, *, register: str, row_id: uuid.UUID, form: Form
) -> Response:
    """Change a row; protected fields that were left empty stay as they are."""
    del actor
    known, access = _known(register), permissions.access(session, at=at)
    row = lists.one(session, access, register, row_id)
    grant = access.rights(register, row.cell_code, town=row.town_code)
    try:
        with session.begin_nested():
            given = _given(known, grant, form)
            for name in known.protected:
                if given.get(name) == "" and form.get(f"clear-{name}") != "yes":
                    del given[name]
            told = Told(at, at)
            if register == "resident":
                people.amend(session, access, row_id, given, version=_version(form), told=told)
            else:
                spot = _position(form) if known.own_point and form.get("lng") else None
                keeping.amend(
                    session, access, register, row_id, given, version=_version(form), told=told, position=spot
                )
    except (Conflict, Invalid, Forbidden) as error:
        session.expire_all()
        row = lists.one(session, access, register, row_id)
        return _form(request, session, access, register, form, at=at, row=row, error=error)
    return go(f"/registers/{register}/{row_id}?done=changed")


@dataclass(frozen=True, slots=True)
class _Act:
    """What one press on an entry's page works with."""

    session: Session
    access: Access
    register: str
    row_id: uuid.UUID
    form: Entered
    at: datetime

    @property
    def told(self) -> Told:
        """When it happened: noon of the day that was named, now for today."""
        day = _day(self.form.get("day", "")) or _today(self.at)
        when = self.at if day == _today(self.at) else datetime.combine(day, time(12), CHINA)
        return Told(when, self.at)


def _open(act: _Act) -> None:
    unmasking.disclose(
        act.session,
        act.access,
        act.register,
        act.row_id,
        field=act.form.get("field", ""),
        why=act.form.get("why", ""),
        reason=act.form.get("reason", ""),
        at=act.at,
    )


def _out(act: _Act) -> None:
    to = act.form.get("to", "")
    seen = _version(act.form)
    if act.register == "household":
        people.household_moves_out(act.session, act.access, act.row_id, version=seen, told=act.told, to=to)
    else:
        people.move_out(act.session, act.access, act.row_id, version=seen, told=act.told, to=to)


def _die(act: _Act) -> None:
    people.died(act.session, act.access, act.row_id, version=_version(act.form), told=act.told)


def _born(act: _Act) -> None:
    given = {"name": act.form.get("name", ""), "sex": act.form.get("sex", "")}
    people.born(act.session, act.access, act.row_id, given, told=act.told)


def _merge(act: _Act) -> None:
    other = _uuid(act.form.get("other", ""), field="other")
    people.merge(act.session, act.access, act.row_id, other, told=act.told, why=act.form.get("reason", ""))


def _unmerge(act: _Act) -> None:
    event = _uuid(act.form.get("event", ""), field="event")
    people.unmerge(act.session, act.access, act.row_id, event, told=act.told)


def _back(act: _Act) -> None:
    event = _uuid(act.form.get("event", ""), field="event")
    why = act.form.get("reason", "")
    people.take_back(act.session, act.access, act.row_id, event, told=act.told, why=why)


def _state(act: _Act) -> None:
    state, seen = act.form.get("state", ""), _version(act.form)
    keeping.set_state(act.session, act.access, act.register, act.row_id, state, version=seen, told=act.told)


def _inspect(act: _Act) -> None:
    keeping.inspect(
        act.session,
        act.access,
        act.row_id,
        version=_version(act.form),
        told=act.told,
        found=act.form.get("found", ""),
        in_order=act.form.get("in_order") == "yes",
    )


def _bring(act: _Act) -> None:
    people.bring(
        act.session,
        act.access,
        act.form.get("id_number", ""),
        people.Home(household_id=act.row_id),
        told=act.told,
        relation=act.form.get("relation", "") if act.form.get("relation") in RELATIONS else "",
    )


#: What may be done on an entry's page: register → act → function.
_PERSON: Final[Mapping[str, Callable[[_Act], None]]] = {
    "open": _open,
    "out": _out,
    "die": _die,
    "born": _born,
    "merge": _merge,
    "unmerge": _unmerge,
    "back": _back,
}
_ACTS: Final[Mapping[str, Mapping[str, Callable[[_Act], None]]]] = {
    "resident": _PERSON,
    "household": {"out": _out, "bring": _bring},
    "key_place": {"inspect": _inspect, "state": _state},
    **{name: {"open": _open, "state": _state} for name in ("tenancy", "organisation")},
    **{name: {"state": _state} for name in ("building", "room", "part")},
}


@router.post("/registers/resident/{row_id}/slip")
def slip(request: Request, session: Write, actor: Staff, at: Now, *, row_id: uuid.UUID) -> Response:
    """Print a slip by which the person concerned reads who opened the own data."""
    del actor
    access = permissions.access(session, at=at)
    code = unmasking.issue_slip(session, access, row_id, at=at)
    row = lists.one(session, access, "resident", row_id)
    return page(
        request,
        "registers/slip.html",
        code=code,
        name=masked("name", str(events.values(row)["name"])),
        until=at + unmasking.SLIP_FOR,
        at=at,
    )


@router.post("/registers/{register}/{row_id}/{what}")
def act(
    request: Request,
    session: Write,
    actor: Staff,
    at: Now,
    *,
    register: str,
    row_id: uuid.UUID,
    what: str,
    form: Form,
) -> Response:
    """Do what a button of an entry's page says."""
    del actor
    doing = _ACTS.get(register, {}).get(what)
    if doing is None:
        raise NotFound("There is no such entry, or it is not yours to see.")
    access = permissions.access(session, at=at)
    try:
        with session.begin_nested():
            doing(_Act(session, access, register, row_id, form, at))
    except (Conflict, Invalid, Forbidden) as error:
        session.expire_all()
        return _entry(request, session, access, register, row_id, at=at, error=error, failed=what, form=form)
    anchor = f"#{form.get('field', '')}" if what == "open" else ""
    return go(f"/registers/{register}/{row_id}?done={what}{anchor}")


def _entry(
    request: Request,
    session: Session,
    access: Access,
    register: str,
    row_id: uuid.UUID,
    *,
    at: datetime,
    error: WanggeError | None = None,
    failed: str = "",
    form: Entered | None = None,
) -> Response:
    known = _known(register)
    row = lists.one(session, access, register, row_id)
    grant = access.rights(register, row.cell_code, town=row.town_code)
    standing = unmasking.standing(session, access, row, at=at)
    past = events.history(session, row)
    place = rooms.addresses(session, register, [row.id]).get(row.id, "")
    return page(
        request,
        "registers/entry.html",
        status=status_of(error) if error else 200,
        problem=sentence(error) if error else "",
        failed=failed,
        entered=form or Entered(),
        register=known,
        row=row,
        line=lists.line(access, row, place=place, standing=standing),
        grant=grant,
        past=[(event, _told_of(known, grant, event)) for event in reversed(past) if _tells(grant, event)],
        undone={event.undoes for event in past},
        newest=next((event.id for event in reversed(past) if event.set), None),
        kinds=events.KINDS,
        opened=unmasking.opened(session, row) if known.protected else [],
        reasons=REASONS,
        duties=DUTIES,
        relations=RELATIONS,
        registers=REGISTERS,
        done=request.query_params.get("done", "")[:20],
        today=_today(at).isoformat(),
        **_around(session, access, register, row),
    )


def _around(session: Session, access: Access, register: str, row: Any) -> dict[str, Any]:
    """Return what an entry's page shows of other registers: members, rooms, households."""
    found: dict[str, Any] = {"members": [], "rooms": [], "within": [], "may_add": False, "household": None}
    if register == "resident" and row.household_id is not None:
        home = events.found(session, "household", row.household_id)
        if access.rights("household", home.cell_code, town=home.town_code).sees:
            found["household"] = home
            found["members"] = [lists.line(access, one) for one in people.members(session, home) if one.id != row.id]
    elif register == "household":
        found["members"] = [lists.line(access, one) for one in people.members(session, row)]
        found["may_add"] = "moves" in access.rights("resident", row.cell_code, town=row.town_code).changes
    elif register == "building":
        found["rooms"] = rooms.rooms(session, row.id)
        found["may_add"] = bool(access.rights("room", row.cell_code, town=row.town_code).changes)
    elif register == "room":
        for name in ("household", "tenancy", "organisation"):
            if access.rights(name, row.cell_code, town=row.town_code).sees:
                found["within"] += [(REGISTERS[name], one) for one in _standing_in(session, access, name, row)]
        found["may_add"] = bool(access.rights("resident", row.cell_code, town=row.town_code).changes & {"moves"})
        found["may_let"] = bool(access.rights("tenancy", row.cell_code, town=row.town_code).changes)
    return {"may_let": False} | found


def _standing_in(session: Session, access: Access, name: str, row: Any) -> list[lists.Line]:
    return [lists.line(access, one) for one in rooms.standing_in(session, name, row.id)]


def _tells(grant: Grant, event: Event) -> bool:
    """Return whether an event may be shown: births and deaths to whose duty they are, as fields are."""
    needs = {"born": "births"}.get(event.kind)
    return needs is None or needs in grant.sees or needs in grant.changes or bool(event.set)


def _told_of(register: Register, grant: Grant, event: Event) -> list[tuple[str, str, str]]:
    """Return what an event changed of the fields that the actor sees: label, before, after; protected ones masked."""
    told: list[tuple[str, str, str]] = []
    for field in register.fields:
        if field.name not in event.set or field.name not in grant.sees or field.kind == "ref":
            continue
        words = []
        for value in (event.was.get(field.name), event.set[field.name]):
            if field.kind == "flags":
                words.append(
                    i18n.say(", ").join(i18n.say(field.choices[one]) for one in value or () if one in field.choices)
                )
            elif value in ("", None):
                words.append("")
            elif field.mask:
                words.append(masked(field.mask, str(value)))
            else:
                words.append(i18n.say(field.choices[value]) if value in field.choices else str(value))
        told.append((i18n.say(field.label), words[0], words[1]))
    return told


def _form(
    request: Request,
    session: Session,
    access: Access,
    register: str,
    form: Entered,
    *,
    at: datetime,
    row: Any = None,
    error: WanggeError | None = None,
) -> Response:
    known = _known(register)
    grant = access.anywhere(register)
    if row is not None:
        grant = access.rights(register, row.cell_code, town=row.town_code)
    if not grant.changes:
        raise Forbidden("Your role may not open this.")
    home, inside = form.get("household", ""), form.get("inside", "")
    table = "household" if home else keeping.STANDS_IN.get(register, ("", "room"))[1]
    key = home or inside
    there = events.found(session, table, _uuid(key, field="inside")) if key else None
    needs_room = row is None and there is None and register == "resident"
    return page(
        request,
        "registers/form.html",
        status=status_of(error) if error else 200,
        problem=sentence(error) if error else "",
        wrong=(error.field or "") if error else "",
        register=known,
        fields=[one for one in known.fields if one.form and one.name in grant.changes],
        row=row,
        line=lists.line(access, row) if row is not None else None,
        entered=form,
        home=home,
        inside=inside,
        place=rooms.addresses(session, table, [there.id]).get(there.id, "") if there is not None else "",
        rooms=rooms.choices(session, access.cells("room")) if needs_room else [],
        needs_room=needs_room,
        households=HOUSEHOLDS,
        points=known.own_point and there is None,
        mask=parts.rule(session).mask if register == "part" else "",
        today=_today(at).isoformat(),
    )


def _enter(session: Session, access: Access, known: Register, form: Entered, *, at: datetime) -> Any:
    given = {name: value for name, value in _given(known, access.anywhere(known.name), form).items() if value}
    day = _day(form.get("day", "")) or _today(at)
    told = Told(at if day == _today(at) else datetime.combine(day, time(12), CHINA), at)
    if known.name == "resident":
        home = people.Home(
            household_id=_uuid(form["household"], field="household") if form.get("household") else None,
            room_id=_uuid(form["inside"], field="inside") if form.get("inside") else None,
            kind=form.get("household_kind", "family"),
        )
        return people.enter(session, access, given, home, told=told)
    inside = _uuid(form["inside"], field="inside") if form.get("inside") else None
    spot = _position(form) if known.own_point and inside is None else None
    return keeping.enter(session, access, known.name, given, told=Told(at, at), position=spot, inside=inside)


def _given(known: Register, grant: Grant, form: Entered) -> dict[str, Any]:
    """Return the fields of a form that the actor may change; flags as a list."""
    given: dict[str, Any] = {}
    for one in known.fields:
        if not one.form or one.name not in grant.changes:
            continue
        if one.kind == "flags":
            given[one.name] = form.lists.get(one.name, [])
        elif one.name in form:
            given[one.name] = form[one.name]
    return given


def _known(register: str) -> Register:
    if register not in REGISTERS:
        raise NotFound("There is no register {name}.", name=register[:40])
    return REGISTERS[register]


def _asked(request: Request, register: str) -> Asked:
    given = {
        name: request.query_params.get(name, "").strip()[:60]
        for name in ("cell", "name", "kind", "flag", "number", "phone", "state", "after")
    }
    return Asked(register, **given)


def _columns(known: Register, listed: lists.Listed | None) -> list[Any]:
    """Return the fields that a list shows: few, and only what any of its rows has."""
    shown = {name for line in (listed.lines if listed else ()) for name in line.fields}
    left_out = {"merged_into", "household_id", "address", "estate", "due_on", "note"} - {"due_on"}
    fields = [one for one in known.fields if one.name in shown and one.kind != "ref" and one.name not in left_out]
    return fields[:7]


def _kinds(register: str) -> Mapping[str, str]:
    if register == "part":
        return parts.CLASSES
    field = REGISTERS[register].field(lists.KIND_FIELD.get(register, ""))
    return field.choices if field else {}


def _flags(register: str, grant: Grant) -> dict[str, str]:
    care = CARE if register == "resident" and "care" in grant.sees else {}
    return dict(lists.FLAGS.get(register, {})) | dict(care)


def _typed(value: Any) -> Any:
    return "" if value is None else value if isinstance(value, str | list) else str(value)


def _version(form: Entered) -> int:
    seen = form.get("seen", "")
    return int(seen) if seen.isdecimal() and len(seen) < 9 else 0


def _position(form: Entered) -> Position:
    try:
        lng, lat = float(form.get("lng", "")), float(form.get("lat", ""))
    except ValueError as error:
        raise Invalid("Give longitude and latitude as numbers.", field="lng") from error
    return Position(lng, lat, form.get("datum", "") or "CGCS2000")


def _uuid(text: str, *, field: str) -> uuid.UUID:
    try:
        return uuid.UUID(text.strip().rstrip("/").rpartition("/")[2])
    except ValueError as error:
        raise Invalid("Paste the address or number of the other entry.", field=field) from error


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text.strip()) if text.strip() else None
    except ValueError as error:
        raise Invalid("{day} is no date; write 2026-11-21.", field="day", day=text[:20]) from error


def _today(at: datetime) -> date:
    return at.astimezone(CHINA).date()

"""Departments' lists 部门名单: templates, upload, progress, faults; doubts side by side; conflicts field by field."""

import uuid
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, File, UploadFile
from fastapi import Form as Posted
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api.deps import Now, Read, Write, require
from api.errors import sentence, status_of
from api.pages import go, page
from api.pages.entered import Form
from core.actor import Actor, Role
from core.errors import Invalid, WanggeError
from grid.registers import conflicts, doubts, fields, importing, leading, linking, permissions, templates
from grid.registers.importing import COUNTS, PHASES, STATES, Wanted
from grid.words import N_

router = APIRouter(include_in_schema=False)

Keeper = Annotated[Actor, Depends(require(Role.ADMIN))]
Looker = Annotated[Actor, Depends(require(Role.ADMIN, Role.SUPERVISOR))]
#: Who decides has the duty in the person's cell; that is asked of every row.
Decider = Annotated[Actor, Depends(require(Role.ADMIN, Role.UNIT, Role.GRID_WORKER))]
_XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
#: Level on which two rows agree → word for people.
LEVELS: Final = {
    "equal": N_("equal"),
    "one slip": N_("one character off"),
    "different": N_("different"),
    "same sound": N_("sounds the same"),
    "one character": N_("one character off"),
    "close": N_("close"),
    "room": N_("same room"),
    "building": N_("same building"),
    "estate": N_("same estate"),
    "missing": N_("not said"),
}
#: Names of the sides' fields, as a doubt shows them.
SIDES: Final = {**leading.FIELDS, "address": N_("Address")}
assert {level for names in linking.LEVELS.values() for level in names} <= LEVELS.keys()


@router.get("/registers/import")
def lists(request: Request, session: Read, actor: Looker) -> Response:
    """Show the newest lists and, to who keeps the registers, the form."""
    del actor
    return _lists(request, session)


@router.get("/registers/import/rows")
def rows(request: Request, session: Read, actor: Looker) -> Response:
    """Draw the lists anew while one is being taken in."""
    del actor
    return page(request, "registers/import_rows.html", **_known(session))


@router.get("/registers/import/template/{kind}.xlsx")
def template(session: Read, actor: Keeper, kind: str) -> Response:
    """Hand out an empty workbook to fill in."""
    del actor
    return _workbook(templates.template(kind, cells=importing.cells_of(session)), f"{kind}.xlsx")


@router.post("/registers/import")
def upload(
    request: Request,
    session: Write,
    actor: Keeper,
    at: Now,
    *,
    file: Annotated[UploadFile, File()],
    kind: Annotated[str, Posted()] = "",
    source: Annotated[str, Posted()] = "",
    whole: Annotated[str, Posted()] = "",
    skip_bad: Annotated[str, Posted()] = "",
    doubtful: Annotated[str, Posted()] = "",
) -> Response:
    """Put a file up; a worker takes it in, all of it or nothing."""
    del actor
    wanted = Wanted(kind, source, whole=bool(whole), skip_bad=bool(skip_bad), doubtful=bool(doubtful))
    try:
        data = file.file.read(templates.LARGEST + 1)
        with session.begin_nested():
            importing.queue(session, data, file.filename or "", wanted, at=at)
    except Invalid as error:
        return _lists(request, session, error=error)
    return go("/registers/import")


@router.get("/registers/import/{list_id}/marked.xlsx")
def marked(session: Read, actor: Keeper, list_id: uuid.UUID) -> Response:
    """Hand the file back with the faults of its rows in a column 错误."""
    del actor
    _, data = importing.marked_file(session, list_id)
    return _workbook(data, "marked.xlsx")


@router.post("/registers/import/{list_id}/cancel")
def cancel(session: Write, actor: Keeper, at: Now, list_id: uuid.UUID) -> Response:
    """Stop a list; nothing of it stays."""
    del actor
    importing.cancel(session, list_id, at=at)
    return go("/registers/import")


@router.get("/registers/doubts")
def doubted(request: Request, session: Read, actor: Decider, at: Now) -> Response:
    """Show rows that may mean somebody of the register, beside that person."""
    del actor
    permissions.access(session, at=at)
    shown = doubts.listed(session)
    return page(
        request,
        "registers/doubts.html",
        lines=shown,
        count=doubts.count(session),
        sides=SIDES,
        levels=LEVELS,
        sources=_sources(session),
        sexes=fields.SEXES,
        problem="",
    )


@router.post("/registers/doubts/{doubt_id}")
def settle(session: Write, actor: Decider, at: Now, *, doubt_id: uuid.UUID, form: Form) -> Response:
    """Say whether they are one person."""
    del actor
    doubts.decide(session, permissions.access(session, at=at), doubt_id, form.get("answer", ""), at=at)
    return go("/registers/doubts")


@router.get("/registers/conflicts")
def listing(
    request: Request,
    session: Read,
    actor: Decider,
    at: Now,
    *,
    field: str = "",
    source: str = "",
    decided: str = "",
    done: int | None = None,
    left: int = 0,
    batch: uuid.UUID | None = None,
    undone: int | None = None,
) -> Response:
    """Show the fields in which a department and the register differ."""
    del actor
    access = permissions.access(session, at=at)
    lines = conflicts.listed(session, access, field=field, source=source, decided=bool(decided))
    return page(
        request,
        "registers/conflicts.html",
        lines=lines,
        groups=conflicts.groups(session),
        field=field,
        source=source,
        decided=bool(decided),
        fields=leading.FIELDS,
        words=_words(),
        sources=_sources(session),
        done=done,
        left=left,
        batch=batch,
        undone=undone,
        most=conflicts.MOST,
    )


@router.post("/registers/conflicts")
def decide(request: Request, session: Write, actor: Decider, at: Now, form: Form) -> Response:
    """Decide one conflict, the chosen ones, or all of a field and source at once."""
    del request, actor
    field, source = form.get("field", ""), form.get("source", "")
    decision, _, single = form.get("one", "").partition(":")
    if single:
        ids = [_id(single)]
    elif form.get("all"):
        decision = form.get("all", "")
        ids = conflicts.ids_of(session, field=field, source=source)
    else:
        decision = form.get("decision", "")
        ids = [_id(one) for one in form.lists.get("ids", [])]
    if not ids:
        raise Invalid("Choose at least one line.", field="ids")
    access = permissions.access(session, at=at)
    done, left, batch = conflicts.decide(session, access, ids, decision, at=at)
    told = f"&batch={batch}" if done else ""
    return go(f"/registers/conflicts?field={_plain(field)}&source={_plain(source)}&done={done}&left={left}{told}")


@router.post("/registers/conflicts/undo")
def undo(session: Write, actor: Decider, at: Now, form: Form) -> Response:
    """Take a decision, or a batch of them, back."""
    del actor
    done, left = conflicts.undo(session, permissions.access(session, at=at), _id(form.get("batch", "")), at=at)
    return go(f"/registers/conflicts?undone={done}&left={left}")


def _lists(request: Request, session: Session, *, error: WanggeError | None = None) -> Response:
    return page(
        request,
        "registers/import.html",
        status=status_of(error) if error else 200,
        problem=sentence(error) if error else "",
        kinds=templates.SHEETS,
        **_known(session),
    )


def _known(session: Session) -> dict[str, Any]:
    return {
        "lists": importing.newest(session),
        "states": STATES,
        "phases": PHASES,
        "counts": COUNTS,
        "labels": {kind: one.label for kind, one in templates.SHEETS.items()},
        "sources": _sources(session),
        "sentence": _sentence,
    }


def _sentence(error: dict[str, Any]) -> str:
    return sentence(Invalid(str(error["message"]), **error["params"]))


def _sources(session: Session) -> dict[str, str]:
    return dict(leading.sources_of({"registers": permissions.settings(session)}))


def _words() -> dict[str, dict[str, str]]:
    """Return what codes are called, by field."""
    return {one.name: dict(one.choices) for one in fields.REGISTERS["resident"].fields if one.choices}


def _plain(name: str) -> str:
    return name if name.isascii() and name.replace("_", "").isalnum() else ""


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise Invalid("Choose at least one line.", field="ids") from error


def _workbook(data: bytes, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(data, media_type=_XLSX, headers=headers)

"""Taking files of reports in 批量导入: upload, progress, and the rows that were refused, with the reasons."""

import uuid
from typing import Annotated, Final

from fastapi import APIRouter, Depends, File, UploadFile
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api.deps import Now, Read, Write, require
from api.errors import sentence, status_of
from api.i18n import say
from api.pages import go, page
from core.actor import Actor, Role
from core.errors import Invalid
from hotline.desk import importing

router = APIRouter(include_in_schema=False)

Supervisor = Annotated[Actor, Depends(require(Role.SUPERVISOR))]
#: A file to begin with: the headers that are understood, and one invented row.
_MODEL: Final = (
    ("编号", "时间", "内容", "地点", "姓名", "电话"),
    ("示例-1", "2026-11-21 14:30", "路灯不亮已经三天", "滨湖路18号", "", ""),
)


@router.get("/import")
def imports(request: Request, session: Read, actor: Supervisor) -> Response:
    """Show the newest imports and the form."""
    del actor
    return page(request, "importing/list.html", rows=importing.newest(session), states=importing.STATES, problem="")


@router.get("/import/model.csv")
def model(actor: Supervisor) -> Response:
    """Hand out a file to begin with."""
    del actor
    return _csv(importing.as_csv(_MODEL), "wangge-import.csv")


@router.get("/import/rows")
def rows(request: Request, session: Read, actor: Supervisor) -> Response:
    """Draw the imports anew while one is on."""
    del actor
    return page(request, "importing/rows.html", rows=importing.newest(session), states=importing.STATES)


@router.post("/import")
def upload(
    request: Request, session: Write, actor: Supervisor, at: Now, file: Annotated[UploadFile, File()]
) -> Response:
    """Check a file and put it up; a worker takes it in, row by row."""
    del actor
    try:
        data = file.file.read(importing.LARGEST + 1)
        with session.begin_nested():
            importing.queue(session, data, file.filename or "", at=at)
    except Invalid as error:
        shown = {"rows": importing.newest(session), "states": importing.STATES, "problem": sentence(error)}
        return page(request, "importing/list.html", status=status_of(error), **shown)
    return go("/import")


@router.post("/import/{run_id}/cancel")
def cancel(session: Write, actor: Supervisor, at: Now, run_id: uuid.UUID) -> Response:
    """Stop an import; what was taken stays."""
    del actor
    importing.cancel(session, run_id, at=at)
    return go("/import")


@router.get("/import/{run_id}/refused.csv")
def refused(session: Read, actor: Supervisor, run_id: uuid.UUID) -> Response:
    """Hand the refused rows back, with the reason in the reader's language."""
    del actor
    return _csv(refused_file(session, run_id), "refused.csv")


def refused_file(session: Session, run_id: uuid.UUID) -> bytes:
    """Return the refused rows of an import as CSV: row, reason, and the cells as they came."""
    lines = []
    for number, reason, params, cells in importing.refusals(session, run_id):
        head = (str(number), say(reason, **params)) if number else (say("Row"), say("Reason"))
        lines.append((*head, *cells))
    return importing.as_csv(lines)


def _csv(data: bytes, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(data, media_type="text/csv; charset=utf-8", headers=headers)

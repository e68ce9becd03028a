"""The duty plan as a file, out and in, and who is certified for what: the office's tables.

`grid.duty_plan` and `grid.training` know the rules; this reads and writes files.
"""

import csv
import io
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final

import xlsxwriter
from fastapi import APIRouter, File, UploadFile
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api.deps import Now, Read, Write
from api.errors import sentence, status_of
from api.i18n import N_, say
from api.pages import page
from api.pages.grid_office import Office, area_name_of, may_keep, table
from api.pages.listing import harmless
from api.wording import CHINA
from core import workbook
from core.errors import Conflict, Invalid, WanggeError
from grid import duties, duty_lists, duty_plan, training
from grid.duties import DUTIES

router = APIRouter(include_in_schema=False)

#: Bytes of a duty plan.
_LARGEST: Final = 10 << 20


@router.get("/grid/certificates")
def certified(request: Request, session: Read, actor: Office, at: Now) -> Response:
    """Show who in the area is certified for which duty, until when, and who acts without."""
    del actor
    reach = duties.reach(session, write=False)
    people = duty_lists.people(session, reach)
    held = {
        (one.account_id, one.duty): one for one in training.certificates(session, [one.id for one in people], at=at)
    }
    soon = at + timedelta(days=training.terms(session).remind_days)
    return page(
        request,
        "grid/office_certified.html",
        people=people,
        held=held,
        soon=soon,
        duties=DUTIES,
        area_name=area_name_of(reach),
        day=_until,
        most=duty_lists.MOST,
        at=at,
    )


@router.get("/grid/certificates.csv")
def certified_csv(session: Read, actor: Office, at: Now) -> Response:
    """Answer the same as a table that spreadsheets open."""
    del actor
    people = duty_lists.people(session, duties.reach(session, write=False))
    held = {(one.account_id, one.duty): one for one in training.certificates(session, [p.id for p in people], at=at)}
    head = [say(N_("Who")), say(N_("Login")), *(say(words) for words in DUTIES.values())]
    lines = [
        [
            harmless(person.name),
            harmless(person.login),
            *(_until(held[person.id, duty].expires_at) if (person.id, duty) in held else "" for duty in DUTIES),
        ]
        for person in people
    ]
    return table([head, *lines], "certificates.csv")


def _until(moment: datetime) -> str:
    return moment.astimezone(CHINA).date().isoformat()


@router.get("/grid/plan")
def plan(request: Request, session: Read, actor: Office) -> Response:
    """Show how the duty plan is taken out and in."""
    del actor
    return _plan(request, session)


def _plan(
    request: Request, session: Session, *, taken: duty_plan.Taken | None = None, error: WanggeError | None = None
) -> Response:
    area = duties.reach(session, write=False)
    status = status_of(error) if error else 422 if taken and taken.faults else 200
    return page(
        request,
        "grid/office_plan.html",
        status=status,
        problem=sentence(error) if error else "",
        taken=taken,
        may_keep=may_keep(session),
        area_name=area_name_of(area),
        faulty=lambda fault: say(fault.message, **fault.params),
    )


@router.get("/grid/plan.csv")
def plan_csv(session: Read, actor: Office, at: Now) -> Response:
    """Answer the plan in force as CSV."""
    del actor
    lines = duty_plan.lines(session, duties.reach(session, write=False), at=at)
    return table([[harmless(one) for one in line] for line in lines], "duty-plan.csv")


@router.get("/grid/plan.xlsx")
def plan_excel(session: Read, actor: Office, at: Now) -> Response:
    """Answer the plan in force as a workbook."""
    del actor
    lines = duty_plan.lines(session, duties.reach(session, write=False), at=at)
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as book:
        sheet = book.add_worksheet("责任分工")
        for number, line in enumerate(lines):
            sheet.write_row(number, 0, line)
        sheet.freeze_panes(1, 0)
        sheet.set_column(0, len(lines[0]) - 1, 18)
    headers = {"Content-Disposition": 'attachment; filename="duty-plan.xlsx"', "Cache-Control": "no-store"}
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    return Response(out.getvalue(), media_type=kind, headers=headers)


@router.post("/grid/plan")
def take_plan(
    request: Request, session: Write, actor: Office, at: Now, file: Annotated[UploadFile, File()]
) -> Response:
    """Take a duty plan in, all lines or none."""
    del actor
    try:
        lines = _lines(file.file.read(_LARGEST + 1))
        with session.begin_nested():
            taken = duty_plan.take(session, lines, at=at)
    except (Conflict, Invalid) as error:
        return _plan(request, session, error=error)
    except csv.Error as error:
        return _plan(
            request, session, error=Invalid("The file cannot be read as a table.", field="file", why=str(error))
        )
    return _plan(request, session, taken=taken)


def _lines(data: bytes) -> Sequence[Sequence[str]]:
    """Return the rows of a workbook or CSV file; raises Invalid."""
    if len(data) > _LARGEST:
        raise Invalid("The file is larger than {n} MB.", field="file", n=_LARGEST >> 20)
    if data[:2] == b"PK":
        return workbook.rows(data, most=duty_plan.MOST_LINES + 2, cell=400)
    try:
        return list(csv.reader(io.StringIO(_decoded(data))))
    except csv.Error as error:
        raise Invalid("The file cannot be read as a table.", field="file") from error


def _decoded(data: bytes) -> str:
    """Return the text of a CSV file: UTF-8, or GB18030 as older spreadsheets write it."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Invalid("The file cannot be read as a table.", field="file")

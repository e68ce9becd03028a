"""The JSON API of work on cases: worklists, one case, the steps on offer, taking them alone or on many at once.

What is offered and what is refused is the same as on the pages, because both ask `dispatch.cases`. An action names the
version that it saw, as `expected_version` or in the header `If-Match`; a stale one is answered with 409 and changes
nothing. The person concerned acts with the number and the code of the receipt in the header `Access-Code`.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Header, Query, Request, UploadFile
from sqlalchemy.orm import Session
from starlette.responses import Response

from api import answers, deps, wiring
from api.deps import Now, Read, Write, require
from api.errors import sentence
from api.i18n import say
from api.pages import matter
from api.photos import read_photo, store
from api.routes.documents import (
    ActionIn,
    ActionOut,
    BulkIn,
    BulkOut,
    CaseOut,
    CasePage,
    ClockOut,
    DayOut,
    DoneOut,
    FieldOut,
    Listed,
    NoticeOut,
    PauseOut,
    PhotoOut,
    ProcessOut,
    StateOut,
    StepRowOut,
)
from api.security import PHOTO_LIMIT
from core.actor import Actor, Role, citizen, system
from core.db import pin_case, snapshot, transaction
from core.errors import Invalid, NotFound, WanggeError
from core.ids import is_checked
from dispatch import attachments, cases, deadlines, sheet, views
from dispatch.fields import FIELDS, expand
from dispatch.numbers import access_hash
from dispatch.process import Process, Step, process, processes
from dispatch.rulebook import Rulebook

router = APIRouter(prefix="/api/v1")

#: Everybody whose work is cases.
Staff = Annotated[Actor, Depends(require(Role.OPERATOR, Role.SUPERVISOR, Role.UNIT, Role.GRID_WORKER, Role.OFFICIAL))]
_IfMatch = Annotated[str | None, Header(max_length=40)]
OwnCode = Annotated[str, Header(min_length=1, max_length=10)]


@router.get("/cases", tags=["cases"])
def list_cases(asked: Annotated[Listed, Query()], actor: Staff, session: Read, at: Now) -> CasePage:
    """Return a page of the cases that the caller may see, least time left first."""
    del actor
    names = ("box", "unit", "town", "cell", "category", "kind", "urgency", "colour", "search")
    wanted = views.Filter(**{name: getattr(asked, name) for name in names})
    found = views.worklist(session, wanted, at=at, sort=asked.sort, after=asked.after, limit=asked.limit)
    return CasePage(
        cases=[CaseOut.model_validate(row) for row in found.rows], after=found.after, count=found.count, more=found.more
    )


@router.post("/cases/actions", tags=["cases"])
def act_on_many(given: BulkIn, actor: Staff, at: Now) -> list[BulkOut]:
    """Take the same step on up to 100 cases, each in a transaction of its own: what fails does not undo the others."""
    told = []
    for name, value in given.fields.items():
        answers.refuse_unfilled(name, value)
    for seen in {one.number: one for one in given.cases}.values():
        try:
            with transaction(actor) as session:
                case_id = id_of(session, seen.number)
                done = cases.act(
                    session,
                    wiring.rulebook(),
                    case_id,
                    given.action,
                    expected_version=seen.expected_version,
                    at=at,
                    fields=given.fields,
                )
            told.append(BulkOut(number=done.number, done=True, state=done.state, version=done.version))
        except WanggeError as error:
            told.append(BulkOut(number=seen.number, done=False, problem=sentence(error)))
    return told


@router.get("/cases/{number}", tags=["cases"])
def one_case(number: str, actor: Staff, session: Read, response: Response) -> dict[str, Any]:
    """Return everything about a case that the caller may see; personal data masked. The ETag is the version."""
    del actor
    found = sheet.sheet(session, id_of(session, number))
    response.headers["ETag"] = f'"{found.case.version}"'
    return asdict(found)


@router.get("/cases/{number}/actions", tags=["cases"])
def offered(number: str, actor: Staff, session: Read, at: Now) -> list[ActionOut]:
    """Return the steps that the caller may take now and what each asks, from the process table and its guards."""
    del actor
    case_id = id_of(session, number)
    facts = sheet.facts(session, case_id)
    table = wiring.rulebook().process(facts.process, facts.process_version)
    return _actions(table, facts.kind, cases.offered(session, wiring.rulebook(), case_id, at=at))


def _actions(table: Process, kind: str, steps: Iterable[Step]) -> list[ActionOut]:
    return [
        ActionOut(
            action=step.action,
            label=say(step.label),
            term=step.term,
            target=step.target,
            needs=list(table.needs(step, kind)),
            may=list(step.may),
            reason_required=step.reason_required,
            meaning=say(step.meaning),
            fields=_fields(table, step, kind),
        )
        for step in steps
    ]


def _fields(table: Process, step: Step, kind: str) -> list[FieldOut]:
    needed = {*table.needs(step, kind), *(("reason",) if step.reason_required else ())}
    return [
        FieldOut(
            name=name,
            kind=FIELDS[name].kind,
            label=say(FIELDS[name].label),
            needed=name in needed,
            choices={code: say(words) for code, words in FIELDS[name].choices.items()},
            help=say(FIELDS[name].help) if FIELDS[name].help else "",
            needed_if={rule[0]: list(rule[1])} if (rule := FIELDS[name].needed_if) else {},
        )
        for name in expand(table.fields(step, kind))
    ]


@router.post("/cases/{number}/actions", tags=["cases"])
def act(number: str, given: ActionIn, *, actor: Staff, session: Write, at: Now, if_match: _IfMatch = None) -> DoneOut:
    """Take a step. Raises 409 when the case went on since the version that the caller saw."""
    del actor
    return _act(session, id_of(session, number), given, at=at, if_match=if_match)


def _act(session: Session, case_id: uuid.UUID, given: ActionIn, *, at: datetime, if_match: str | None) -> DoneOut:
    for name, value in given.fields.items():
        answers.refuse_unfilled(name, value)
    done = cases.act(
        session,
        wiring.rulebook(),
        case_id,
        given.action,
        expected_version=_version(given.expected_version, if_match),
        at=at,
        happened_at=given.happened_at,
        fields=given.fields,
    )
    return DoneOut(number=done.number, state=done.state, version=done.version, entry=done.seq)


@router.get("/cases/{number}/clocks", tags=["cases"])
def clocks(number: str, actor: Staff, session: Read) -> list[ClockOut]:
    """Return the clocks of a case, each with the days that were counted: why it is due then."""
    del actor
    found = sheet.sheet(session, id_of(session, number))
    book = wiring.rulebook()
    pauses = deadlines.pauses_of(session, book.district, [row.id for row in found.clocks])
    return [_clock(book, row, pauses[row.id]) for row in found.clocks]


def _clock(book: Rulebook, row: sheet.ClockRow, pauses: Sequence[deadlines.Span]) -> ClockOut:
    found = deadlines.reckoned(row, pauses, book).found
    days = found.trace
    return ClockOut(
        clock=row.clock,
        unit=row.unit_code,
        limit=row.limit,
        legal_limit=row.legal_limit,
        started_at=row.started_at,
        due_at=row.due_at,
        legal_due_at=row.legal_due_at,
        provisional=row.provisional,
        held_at=row.held_at,
        stopped_at=row.stopped_at,
        outcome=row.outcome,
        extra=list(row.extra),
        pauses=[PauseOut(reason=p.reason_code, started_at=p.started_at, ended_at=p.ended_at) for p in pauses],
        notices=[NoticeOut(year=notice.year, source=notice.source) for notice in found.notices_used],
        days=[
            DayOut(
                day=step.day,
                counted=step.counted,
                why=say(step.why),
                name=step.name,
                ran_s=step.ran.total_seconds(),
                stood_s=step.stood.total_seconds(),
            )
            # A limit of years would fill a book; its first year says enough.
            for step in days[:366]
        ],
    )


@router.post("/cases/{number}/photos", status_code=201, tags=["cases"])
def add_photo(
    number: str,
    actor: Staff,
    session: Write,
    at: Now,
    *,
    photo: Annotated[UploadFile, File()],
    purpose: Annotated[str, Form(max_length=20)] = "evidence",
) -> PhotoOut:
    """Hang a photo on a case: JPEG, PNG or WebP up to 10 MB; name its id in the field `photos` of a step."""
    if actor.role is Role.OFFICIAL:
        raise NotFound("There is no such case.")
    case_id = id_of(session, number)
    read = read_photo(photo.file.read(PHOTO_LIMIT + 1))
    store().put(read.sha256, read.data)
    kept = attachments.Stored(read.sha256, read.media_type, read.width, read.height)
    return PhotoOut(id=attachments.attach(session, case_id, kept, purpose=purpose, at=at), sha256=read.sha256)


@router.get("/progress/{number}/actions", tags=["reports"])
def own_steps(request: Request, number: str, access_code: OwnCode, at: Now) -> list[ActionOut]:
    """Return what the person concerned may do now, for whoever shows the receipt's code."""
    found = own(request, number, access_code)
    book = wiring.rulebook()
    with snapshot(citizen(book.district)) as session:
        pin_case(session, found.id)
        steps = cases.offered(session, book, found.id, at=at)
    return _actions(book.process(found.process, found.process_version), found.kind, steps)


@router.post("/progress/{number}/actions", tags=["reports"])
def own_act(
    request: Request, number: str, given: ActionIn, access_code: OwnCode, at: Now, *, if_match: _IfMatch = None
) -> DoneOut:
    """Take a step as the person concerned: withdraw, rate, ask for rework, hand in what is missing."""
    found = own(request, number, access_code)
    with transaction(citizen(deps.district())) as session:
        pin_case(session, found.id)
        return _act(session, found.id, given, at=at, if_match=if_match)


def own(request: Request, number: str, code: str) -> sheet.Progress:
    """Return the matter whose code was shown; raises NotFound for a wrong one, and counts the tries."""
    if not is_checked(number):
        raise NotFound("There is no matter with this number.")
    deps.throttle(request, "lookup", deps.address_of(request), most=matter.MOST_LOOKUPS)
    deps.throttle(request, "code", number, most=matter.MOST_CODES)
    with snapshot(system(deps.district(), "progress")) as session:
        return sheet.progress(session, number, access_hash=access_hash(number, code))


@router.get("/processes", tags=["district"])
def process_tables() -> list[ProcessOut]:
    """Return every version of every process table: states, steps, who may take them, clocks."""
    return [_process(table) for table in processes().values()]


@router.get("/processes/{name}", tags=["district"])
def process_table(name: str, version: Annotated[int | None, Query(ge=1, le=10_000)] = None) -> ProcessOut:
    """Return a process table, the newest version where none is named."""
    return _process(process(name[:40], version))


def _process(table: Process) -> ProcessOut:
    return ProcessOut(
        name=table.name,
        version=table.version,
        label=say(table.label),
        kinds=list(table.kinds),
        initial=table.initial,
        states=[
            StateOut(name=s.name, label=say(s.label), term=s.term, open=s.open, final=s.final, meaning=say(s.meaning))
            for s in table.states.values()
        ],
        steps=[
            StepRowOut(
                action=step.action,
                label=say(step.label),
                term=step.term,
                source=step.source,
                target=step.target,
                roles=sorted(role.value for role in step.roles),
                who=step.who,
                needs=list(step.needs),
                may=list(step.may),
                reason_required=step.reason_required,
                guards=list(step.guards),
                starts=list(step.starts),
                stops=list(step.stops),
                holds=list(step.holds),
                resumes=list(step.resumes),
                cap=step.cap,
            )
            for step in table.steps
        ],
        clocks={**table.clocks, **table.sides},
    )


def _version(named: int | None, if_match: str | None) -> int:
    if named is not None:
        return named
    tag = (if_match or "").removeprefix("W/").strip('"')
    if not tag.isascii() or not tag.isdigit() or len(tag) > 9:
        raise Invalid("Name the version that you saw, as expected_version or in If-Match.", field="expected_version")
    return int(tag)


def id_of(session: Session, number: str) -> uuid.UUID:
    """Return the id of a case that the caller may see; raises NotFound for any other number."""
    found = views.find_number(session, number[:30])
    if found is None:
        raise NotFound("There is no case with this number, or it is not yours to see.")
    return found

"""Applications in the JSON API: files, applying, requests for information, how an application stands, handing in more.

The same intake as on the pages. Steps on an application are those of any case (`/api/v1/cases/{number}/actions`); the
applicant's own go by number and code (`/api/v1/progress/{number}/actions`).
"""

import uuid
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, File, Header, Query, Request, UploadFile
from pydantic import Field
from starlette.responses import Response

from api import deps, uploads, wiring
from api.deps import Me, Now, Read
from api.errors import SignInNeeded
from api.pages import filing
from api.pages.apply import numbers
from api.routes.cases import OwnCode, Staff, id_of, own
from api.routes.documents import Model, Text
from core.actor import Actor, Role, citizen
from core.db import pin_case, snapshot, transaction
from core.errors import Invalid
from dispatch.items import application, filed
from dispatch.items.application import NewApplication, NewRequest
from dispatch.items.filed import Filed, Held, Upload
from dispatch.items.identity import Agent, Applicant

router = APIRouter(prefix="/api/v1", tags=["applications"])

#: From one network address in ten minutes.
_MOST_SENT, _MOST_FILES = 30, 120
_Key = Annotated[str | None, Header(min_length=16, max_length=64, pattern=r"^[0-9A-Za-z_\-]+$")]
_Code = Annotated[Text, Field(max_length=40)]
_Token = Annotated[Text, Field(max_length=1000)]


class FileToken(Model):
    """A stored file: name it by its token within a day."""

    token: str
    media_type: str
    size: int


class FileNamed(Model):
    """A stored file that is handed in."""

    token: _Token


class ApplicantIn(Model):
    """Who applies."""

    kind: Literal["person", "organisation"] = "person"
    name: Text = Field(min_length=1, max_length=100)
    phone: Text = Field(max_length=20)
    id_number: Text = Field(max_length=30)


class AgentIn(Model):
    """Who acts for the applicant; needs the material `authorisation`."""

    name: Text = Field(min_length=1, max_length=50)
    phone: Text = Field(max_length=20)


class ProofIn(Model):
    """An earlier application of the same applicant: number and code."""

    number: Text = Field(max_length=30)
    code: Text = Field(max_length=10)


class ApplicationIn(Model):
    """An application. On the web each material comes with a file; at a window or a home the paper was seen."""

    item: _Code
    applicant: ApplicantIn
    agent: AgentIn | None = None
    channel: Literal["web", "window", "home"] = "web"
    #: Version of the sheet that the applicant saw.
    seen: int | None = Field(None, ge=1, le=100_000)
    town: Text | None = Field(None, max_length=9)
    words: Text = Field("", max_length=2000)
    given: dict[_Code, Annotated[list[_Token], Field(max_length=6)]] = Field(default_factory=dict, max_length=50)
    reuse: list[_Code] = Field(default_factory=list, max_length=50)
    consent: bool = False
    proof: ProofIn | None = None
    pickup: Text = Field("", max_length=40)
    green: Text = Field("", max_length=40)
    credit: Literal["", "A", "B", "C", "D"] = ""
    facts: dict[_Code, Annotated[Text, Field(max_length=200)] | bool | int | float] = Field(
        default_factory=dict, max_length=50
    )
    form: dict[_Code, Annotated[Text, Field(max_length=500)]] = Field(default_factory=dict, max_length=50)


class RequestIn(Model):
    """A request for government information."""

    applicant: ApplicantIn
    wanted: Text = Field(min_length=1, max_length=2000)
    how: Literal["paper", "electronic", "post", "inspect"] = "electronic"
    channel: Literal["web", "window"] = "web"


class NeedOut(Model):
    """A required material that is not there."""

    code: str
    name: str


class FiledOut(Model):
    """The receipt of an application."""

    number: str
    access_code: str
    state: str
    title: str
    due_at: datetime | None
    due_clock: str | None
    missing: list[NeedOut]
    repeated: bool


class MaterialOut(Model):
    """A material as it stands."""

    code: str
    name: str
    required: bool
    form: str
    may_lag: bool
    state: str
    given_at: datetime | None
    owed_until: datetime | None
    settled_at: datetime | None
    why: str
    reused: bool
    files: list[uuid.UUID]


class ApplicationOut(Model):
    """An application: its item, version, materials."""

    item: str
    version: int
    title: str
    green: bool
    pickup: str
    materials: list[MaterialOut]
    missing: list[str]
    debts: list[str]


class QueueLine(Model):
    """One open application."""

    number: str
    state: str
    version: int
    item: str
    title: str
    unit: str | None
    green: bool
    received_at: datetime
    due_at: datetime | None
    due_clock: str | None


@router.post("/files", status_code=201)
def keep_file(request: Request, file: Annotated[UploadFile, File()]) -> FileToken:
    """Store a file for a material: PDF, JPEG, PNG or WebP up to 10 MB; answers with a token good for a day."""
    deps.throttle(request, "files", deps.address_of(request), most=_MOST_FILES)
    found = filing.keep(file.filename or "", file.file.read(uploads.LIMIT + 1))
    return FileToken(token=found.token, media_type=found.upload.media_type, size=found.upload.size)


@router.post("/applications", status_code=201)
def apply(
    request: Request, response: Response, given: ApplicationIn, *, actor: Me, at: Now, idempotency_key: _Key = None
) -> FiledOut:
    """Apply for a service item. The same `Idempotency-Key` again is the same application and its receipt."""
    _may_file(request, actor, given.channel)
    book = wiring.rulebook()
    if given.channel == "web" and any(not tokens for tokens in given.given.values()):
        raise Invalid("On the web a material is handed in as a file.", field="given")
    new = NewApplication(
        item=given.item,
        channel=given.channel,
        applicant=Applicant(**given.applicant.model_dump()),
        seen=given.seen,
        town=given.town or None,
        words=given.words,
        given={code: tuple(_upload(token) for token in tokens) for code, tokens in given.given.items()},
        reuse=tuple(given.reuse),
        consent=given.consent,
        proof=(given.proof.number, given.proof.code) if given.proof else None,
        agent=Agent(given.agent.name, given.agent.phone) if given.agent else None,
        pickup=given.pickup,
        green=given.green,
        credit=given.credit,
        facts=given.facts,
        form=given.form,
        key=idempotency_key,
    )
    return _answer(
        response,
        application.open_application(book, new, actor=actor, at=at, number=numbers(book.district).take(at)),
    )


@router.post("/information-requests", status_code=201)
def ask_for_information(
    request: Request, response: Response, given: RequestIn, *, actor: Me, at: Now, idempotency_key: _Key = None
) -> FiledOut:
    """Ask for government information 依申请公开; the limit runs from receipt."""
    _may_file(request, actor, given.channel)
    book = wiring.rulebook()
    new = NewRequest(Applicant(**given.applicant.model_dump()), given.wanted, given.how, given.channel, idempotency_key)
    return _answer(
        response, application.open_request(book, new, actor=actor, at=at, number=numbers(book.district).take(at))
    )


def _may_file(request: Request, actor: Actor, channel: str) -> None:
    """Let everybody file on the web, staff at the window and at homes; raises SignInNeeded and TooMany."""
    if actor.role in (Role.OPERATOR, Role.GRID_WORKER):
        return
    if channel != "web":
        raise SignInNeeded("Only the window and grid workers take applications there.", field="channel")
    deps.throttle(request, "apply", deps.address_of(request), most=_MOST_SENT)


def _upload(token: str) -> Upload:
    found = filing.kept(token)
    if found is None:
        raise Invalid("This file was sent too long ago; send it again.", field="given")
    return found.upload


def _answer(response: Response, receipt: application.Receipt) -> FiledOut:
    if receipt.repeated:
        response.status_code = 200
    response.headers["Location"] = f"/api/v1/progress/{receipt.number}"
    return FiledOut(
        number=receipt.number,
        access_code=receipt.access_code,
        state=receipt.state,
        title=receipt.title,
        due_at=receipt.due_at,
        due_clock=receipt.due_clock,
        missing=[NeedOut(code=code, name=name) for code, name in receipt.missing],
        repeated=receipt.repeated,
    )


@router.get("/applications")
def queue(actor: Staff, session: Read, limit: Annotated[int, Query(ge=1, le=100)] = 50) -> list[QueueLine]:
    """Return the open applications that the caller sees: the green channel first, then least time left."""
    del actor
    return [
        QueueLine(
            number=line.number,
            state=line.state,
            version=line.version,
            item=line.item_code,
            title=line.title,
            unit=line.unit_code,
            green=line.green,
            received_at=line.received_at,
            due_at=line.due_at,
            due_clock=line.due_clock,
        )
        for line in filed.queue(session, limit=limit)
    ]


@router.get("/applications/{number}")
def one_application(number: str, actor: Staff, session: Read) -> ApplicationOut:
    """Return an application with its materials; the case itself is `/api/v1/cases/{number}`."""
    del actor
    return _application(filed.filed(session, id_of(session, number)))


@router.get("/progress/{number}/application")
def own_application(request: Request, number: str, access_code: OwnCode) -> ApplicationOut:
    """Return the applicant's own application: what is there, what is missing, what is owed until when."""
    found = own(request, number, access_code)
    with snapshot(citizen(deps.district())) as session:
        pin_case(session, found.id)
        return _application(filed.filed(session, found.id))


@router.post("/progress/{number}/materials/{code}", status_code=201)
def hand_in_file(
    request: Request, number: str, code: str, *, given: FileNamed, access_code: OwnCode, at: Now
) -> MaterialOut:
    """Hang a stored file on a material; it counts with the step `supply` or `hand_in`."""
    found = own(request, number, access_code)
    with transaction(citizen(deps.district())) as session:
        pin_case(session, found.id)
        filed.attach(session, found.id, code[:40], _upload(given.token), at=at)
        held = filed.filed(session, found.id).materials
    return _material(next(one for one in held if one.code == code))


def _application(found: Filed) -> ApplicationOut:
    row = found.application
    return ApplicationOut(
        item=row.item_code,
        version=row.item_version,
        title=found.sheet.name,
        green=bool(row.green),
        pickup=row.pickup_place,
        materials=[_material(one) for one in found.materials],
        missing=[one.code for one in found.missing],
        debts=[one.code for one in found.debts],
    )


def _material(one: Held) -> MaterialOut:
    names = ("code", "name", "required", "form", "may_lag", "state", "given_at", "owed_until", "settled_at", "why")
    values = {name: getattr(one, name) for name in (*names, "reused")}
    return MaterialOut(**values, files=[file.id for file in one.files])

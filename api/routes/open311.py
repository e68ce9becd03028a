"""Open311 GeoReport v2 开放接口: residents' own programs report here and read what became of it, as XML or JSON.

Not in the OpenAPI schema: forms with `attribute[CODE]`, two formats by extension and the standard's own errors are
described by the standard, and what programs may send is discovered through its own calls.
"""

import functools
import uuid
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api import deps, wiring
from api.deps import Now
from api.errors import TooMany, sentence, status_of
from api.i18n import N_, say
from core.actor import system
from core.db import snapshot
from core.errors import Forbidden, Invalid, NotFound, Unavailable, WanggeError
from core.settings import settings
from hotline.open311 import keys, public, requests, services, wire
from hotline.open311.models import Open311Key

router = APIRouter(include_in_schema=False)

_V2 = "/open311/v2"
#: Fields of one form; the standard's own are fewer than twenty.
_MOST_FIELDS = 200
#: Forms with a wrong key from one network address in ten minutes.
_MOST_WRONG = 60
#: The standard's number for an error of the house; what is not named here keeps its HTTP status.
_CODES = {401: 403, 409: 400, 413: 400, 415: 400, 422: 400}


class _NoFormat(NotFound):
    """The address ends neither in .xml nor in .json."""


def _answer(root: str, tree: wire.Tree, format_: str, status: int = 200) -> Response:
    return Response(
        wire.written(root, tree, format_),
        status,
        headers={"Cache-Control": "no-store", "Access-Control-Allow-Origin": "*"},
        media_type=wire.FORMATS[format_],
    )


def _failed(error: WanggeError, format_: str) -> Response:
    status = _CODES.get(status_of(error), status_of(error))
    made = Response(
        wire.errors(status, sentence(error), format_),
        status,
        headers={"Cache-Control": "no-store", "Access-Control-Allow-Origin": "*"},
        media_type=wire.FORMATS[format_],
    )
    if isinstance(error, TooMany):
        made.headers["Retry-After"] = str(error.retry_s)
    elif status == 503:
        made.headers["Retry-After"] = "15"
    return made


def _standard(endpoint: Callable[..., Response]) -> Callable[..., Response]:
    """Let an endpoint's failures be answered as the standard writes them, in the format that was asked for."""

    @functools.wraps(endpoint)
    def guarded(**given: Any) -> Response:
        format_ = given["format_"]
        try:
            if format_ not in wire.FORMATS:
                return _failed(_NoFormat(N_("This address ends in .xml or .json.")), "xml")
            return endpoint(**given)
        except WanggeError as error:
            return _failed(error, format_)

    return guarded


async def _form(request: Request) -> list[tuple[str, str]] | WanggeError:
    """Return the fields of a form, or why there are none: whoever asks answers in the format of the address."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith(("application/x-www-form-urlencoded", "multipart/form-data")):
        return Invalid(N_("A request is sent as a form."))
    try:
        form = await request.form(max_fields=_MOST_FIELDS, max_files=0)
    except HTTPException as error:
        if error.status_code == 413:
            raise
        return Invalid(N_("The form cannot be read: damaged, too many fields, or with files; send media_url instead."))
    return [(name, value) for name, value in form.multi_items() if isinstance(value, str)]


_Form = Annotated[list[tuple[str, str]] | WanggeError, Depends(_form)]


def _jurisdiction(given: str) -> None:
    """Raise NotFound for a jurisdiction that is not served; where there is one, naming it is optional."""
    if given and given not in _ours():
        raise NotFound(N_("There is no such jurisdiction_id here."), field="jurisdiction_id")


def _ours() -> tuple[str, ...]:
    here = wiring.rulebook()
    own = here.settings.get("open311_jurisdiction")
    return (here.district, str(own)) if own else (here.district,)


def _offered() -> dict[str, services.Service]:
    book = wiring.rulebook()
    with snapshot(system(book.district, "open311")) as session:
        return services.listed(session, book)


@router.get("/open311/discovery.{format_}")
@router.get(_V2 + "/discovery.{format_}")
@_standard
def discovery(request: Request, format_: str) -> Response:
    """Say where the interface is and what it speaks."""
    book = wiring.rulebook()
    # What the proxy says about itself; a forged name only reaches who forged it.
    base = str(request.base_url).rstrip("/")
    changed = "2011-04-05 17:48:34"
    tree = {
        "changeset": changed,
        "contact": str(book.settings.get("open311_contact") or book.name),
        "key_service": str(book.settings.get("open311_key_service") or book.name),
        "endpoints": [
            {
                "specification": "http://wiki.open311.org/GeoReport_v2",
                "url": f"{base}{_V2}",
                "changeset": changed,
                "type": "test" if book.fictional else "production",
                "formats": ["text/xml", "application/json"],
            }
        ],
    }
    return _answer("discovery", tree, format_)


@router.get(_V2 + "/services.{format_}")
@_standard
def list_services(format_: str, jurisdiction_id: str = "") -> Response:
    """List what can be reported."""
    _jurisdiction(jurisdiction_id)
    tree = [
        {
            "service_code": one.code,
            "service_name": one.name,
            "description": one.description,
            "metadata": bool(one.attributes),
            "type": "realtime",
            "keywords": ",".join(one.keywords),
            "group": one.group,
        }
        for one in _offered().values()
    ]
    return _answer("services", tree, format_)


@router.get(_V2 + "/services/{code}.{format_}")
@_standard
def define(code: str, format_: str, jurisdiction_id: str = "") -> Response:
    """Tell the questions of one service."""
    _jurisdiction(jurisdiction_id)
    service = services.one_of(_offered(), code)
    attributes = []
    for order, one in enumerate(service.attributes, 1):
        asked: dict[str, Any] = {
            "variable": one.variable,
            "code": one.code,
            "datatype": one.datatype,
            "required": one.required,
            "datatype_description": one.help or None,
            "order": order,
            "description": one.question,
        }
        if one.values:
            asked["values"] = [{"key": key, "name": name} for key, name in one.values.items()]
        attributes.append(asked)
    return _answer("service_definition", {"service_code": code, "attributes": attributes}, format_)


def _checked_key(request: Request, form: list[tuple[str, str]], at: Any) -> Open311Key:
    """Return the key that a form came with, counted; raises Forbidden and TooMany."""
    given = {value.strip() for name, value in form if name == "api_key"} - {""}
    here = wiring.district()
    with snapshot(system(here, "open311")) as session:
        key = keys.find(session, given.pop()) if len(given) == 1 else None
    if key is None or (key.jurisdiction and key.jurisdiction not in _ours()):
        deps.throttle(request, "open311", deps.address_of(request), most=_MOST_WRONG)
        raise Forbidden(N_("The api_key is missing, wrong or revoked."), field="api_key")
    if wait_s := keys.count(key, at=at):
        raise TooMany(N_("This api_key has sent too many requests; wait {seconds} s."), retry_s=wait_s, seconds=wait_s)
    return key


@router.post(_V2 + "/requests.{format_}")
@_standard
def post(request: Request, form: _Form, at: Now, format_: str) -> Response:
    """Take a request in, once, and answer its number, or a token where `async` is set or the database is busy."""
    if isinstance(form, WanggeError):
        raise form
    key = _checked_key(request, form, at)
    told = dict(form)
    _jurisdiction(told.get("jurisdiction_id", "").strip())
    offered = _offered()
    hosts = [host for host in settings().open311_media_hosts.lower().replace(",", " ").split() if host]
    sent = requests.read_form(form, offered, media_hosts=hosts)
    later = told.get("async", "").strip().lower() in ("1", "true", "yes")
    intake = wiring.intake()
    with snapshot(system(key.district_code, "open311")) as session:
        report = requests.report_of(session, sent, offered[sent.service_code], at=at)
    understood = requests.understand(intake, report, sent)
    own = request.headers.get("idempotency-key", "").strip()
    digest = requests.own_id(own) if own else requests.fingerprint(form)
    written = requests.accept(key, sent, digest, own=bool(own), at=at)
    answer: dict[str, Any] = {"service_notice": None, "account_id": sent.contact.get("account_id")}
    if later:
        return _answer("service_requests", [{"token": str(written), **answer}], format_)
    try:
        number = requests.take_in(intake, offered, written, at=at, understood=understood)
    except Unavailable:
        # It is written down and the worker takes it in: the sender needs not send it again.
        return _answer("service_requests", [{"token": str(written), **answer}], format_)
    return _answer("service_requests", [{"service_request_id": number, **answer}], format_)


@router.get(_V2 + "/tokens/{token}.{format_}")
@_standard
def token(token: str, format_: str, jurisdiction_id: str = "") -> Response:
    """Tell the number of a request whose token was answered; empty while it waits."""
    _jurisdiction(jurisdiction_id)
    try:
        known = uuid.UUID(token)
    except ValueError as error:
        raise NotFound(N_("There is no such token.")) from error
    with snapshot(system(wiring.district(), "open311")) as session:
        number = public.number_of(session, known)
    return _answer("service_requests", [{"service_request_id": number, "token": token}], format_)


@router.get(_V2 + "/requests.{format_}")
@_standard
def list_requests(request: Request, at: Now, format_: str) -> Response:
    """List requests, newest first, at most 1,000 of 90 days."""
    given = dict(request.query_params)
    _jurisdiction(given.get("jurisdiction_id", ""))
    wanted = public.read_query(given, _offered(), at=at)
    book = wiring.rulebook()
    with snapshot(system(book.district, "open311")) as session:
        found = public.read(session, book, wanted, say=say)
    return _answer("service_requests", found, format_)


@router.get(_V2 + "/requests/{number}.{format_}")
@_standard
def one(number: str, format_: str, jurisdiction_id: str = "") -> Response:
    """Tell one request."""
    _jurisdiction(jurisdiction_id)
    book = wiring.rulebook()
    with snapshot(system(book.district, "open311")) as session:
        found = public.read_one(session, book, number[:40], say=say)
    return _answer("service_requests", [found], format_)


@router.get(_V2 + "/{rest:path}")
def nowhere(rest: str) -> Response:
    """Answer an address that is none of the standard's, in the standard's form."""
    extension = rest.rpartition(".")[2]
    return _failed(
        NotFound(N_("This address ends in .xml or .json.")), extension if extension in wire.FORMATS else "xml"
    )

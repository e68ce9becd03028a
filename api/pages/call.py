"""Taking a call 接电话: one field for the words, everything that the program understands beside it while typing.

Understands and receives through `hotline.intake`; part of the desk, whose router includes this one.
"""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api import wiring
from api.deps import Now, Read, require
from api.errors import sentence, status_of
from api.pages import casework, go, page, phone
from api.pages.entered import Form
from api.pages.listing import choices, chosen_code
from core.actor import Actor, Role
from core.db import transaction
from core.errors import Conflict, Invalid
from core.ids import new_id
from dispatch import cases, views
from dispatch.rulebook import Rulebook
from hotline.intake import Report

router = APIRouter(include_in_schema=False)

Operator = Annotated[Actor, Depends(require(Role.OPERATOR))]
#: Shorter than this nothing is understood yet.
_SHORTEST = 4


@dataclass(frozen=True, slots=True)
class Chosen:
    """A candidate that the operator chose: what the radio's value says."""

    lng: float
    lat: float
    name: str

    @classmethod
    def read(cls, value: str) -> "Chosen | None":
        """Return the candidate of `lng,lat,name`; None for the program's own choice. Raises Invalid."""
        if value in ("", "best"):
            return None
        try:
            lng, lat, name = value.split(",", 2)
            return cls(float(lng), float(lat), name[:100])
        except ValueError as error:
            raise Invalid("Choose the place again.", field="place") from error


@router.get("/desk/new")
def form(request: Request, actor: Operator, call: str = "") -> Response:
    """Show the empty form; its key makes a repeated submission the same case. call: the telephone call it is for."""
    return _form(request, actor, {"key": str(new_id()), "call": call})


@router.post("/desk/new/understand")
def understand(request: Request, session: Read, actor: Operator, at: Now, entered: Form) -> Response:
    """Say what the words mean so far: place, category, urgency, unit, possible twins. Nothing is written."""
    del actor
    book, intake = wiring.rulebook(), wiring.intake()
    if len(entered.get("text", "").strip()) < _SHORTEST:
        return page(request, "desk/understood.html", guesses=None)
    try:
        known = intake.understand(_report(book, entered, at=at))
    except Invalid as error:
        return page(request, "desk/understood.html", guesses=None, problem=sentence(error))
    guessed = casework.read_guesses(book, known.kept())
    seen = views.numbers(session, [twin.case_id for twin in guessed.twins])
    return page(
        request,
        "desk/understood.html",
        guesses=guessed,
        place=entered.get("place", "best"),
        urgency=known.classification.urgency,
        kind=known.classification.kind,
        unit=book.unit_name(known.decision.unit) if known.decision else "",
        why=casework.why_here(book, known.decision.why) if known.decision else (),
        sure=not known.doubts,
        twins=[(*seen[twin.case_id], twin) for twin in guessed.twins if twin.case_id in seen],
    )


@router.post("/desk/new")
def take(request: Request, actor: Operator, at: Now, entered: Form) -> Response:
    """Open the case and go to it on the desk, or stay with everything that was entered and say what is wrong."""
    book = wiring.rulebook()
    try:
        chosen = Chosen.read(entered.get("place", ""))
        report = _report(book, entered, at=at)
        if chosen is not None:
            report = replace(report, lng=chosen.lng, lat=chosen.lat, datum="CGCS2000")
        call = phone.written_call(entered.get("call", ""))
        told = phone.bound(actor, call, key=entered.get("key", "")[:64])
        if told is not None:
            report = replace(report, source_id=told[0], phone=report.phone or told[1])
        receipt = wiring.intake().receive(report, actor=actor, at=at)
        phone.link(actor, call, receipt.case_id)
    except Invalid as error:
        return _form(request, actor, entered, status=status_of(error), problem=sentence(error), field=error.field or "")
    if chosen is not None and not receipt.repeated:
        _confirm(book, actor, receipt.case_id, chosen, at=at)
    if entered.get("then") == "another":
        return _form(request, actor, {"key": str(new_id())}, receipt=receipt)
    return go(f"/desk?box=open&case={receipt.number}")


def _confirm(book: Rulebook, actor: Actor, case_id: uuid.UUID, chosen: Chosen, *, at: datetime) -> None:
    """Write down, as the operator, that this candidate is the place: intake only knows a point."""
    fields = {"lng": chosen.lng, "lat": chosen.lat, "datum": "CGCS2000", "place_name": chosen.name}
    try:
        with transaction(actor) as session:
            cases.act(session, book, case_id, "correct", expected_version=1, at=at, fields=fields)
    except Conflict:
        # Somebody was faster with the new case; the point itself is in it already.
        return


def _report(book: Rulebook, entered: dict[str, str], *, at: datetime) -> Report:
    """Return the report of what the form holds; raises Invalid, naming the field."""
    category = entered.get("category", "").strip()
    return Report(
        channel="hotline",
        text=entered.get("text", ""),
        reported_at=at,
        name=entered.get("name", "").strip() or None,
        phone=entered.get("phone", "").strip() or None,
        category=chosen_code(choices(book).categories, category, field="category") if category else None,
        idempotency_key=entered.get("key", "")[:64] or None,
    )


def _form(request: Request, actor: Actor, entered: dict[str, str], *, status: int = 200, **more: object) -> Response:
    shown = {"problem": "", "field": "", "receipt": None} | more
    shown["caller"] = phone.caller(actor, phone.written_call(entered.get("call", "")))
    offered = choices(wiring.rulebook())
    return page(request, "desk/new.html", status=status, entered=entered, choices=offered, **shown)

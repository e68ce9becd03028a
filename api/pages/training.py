"""Training 培训 on the web: cards to read, quizzes to take, certificates to print, and the page that checks one.

The phone takes the same papers along (`api.routes.training`); `grid.training` marks them.
"""

import uuid
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api import deps
from api.deps import Me, Now, Read, Write, require
from api.errors import sentence, status_of
from api.i18n import LANGUAGE, N_, say
from api.pages import go, page
from api.pages.entered import Form
from api.wording import date_words, named
from core.actor import Actor, Role, system
from core.db import snapshot
from core.errors import Conflict, Invalid, NotFound, WanggeError
from core.ids import new_id
from grid import duties, duty_lists, notices, training
from grid.duties import DUTIES
from grid.notices import AccountNotice
from grid.training import Submission
from grid.training_bank import Words
from grid.training_tables import TrainingCertificate

router = APIRouter(include_in_schema=False)

STAFF: Final = tuple(role for role in Role if role not in {Role.CITIZEN, Role.SYSTEM})
Staff = Annotated[Actor, Depends(require(*STAFF))]
#: Looks at certificates of one address within ten minutes.
_CHECKS: Final = 30
STATES: Final = {"valid": N_("valid"), "expired": N_("expired"), "revoked": N_("revoked")}
#: Kind of a notice → the sentence.
NOTICES: Final = {
    "handed_over": N_("{name} answers for {cells} of your cells until {until}."),
    "stands_in": N_("You answer for {cells} cells of {name} until {until}."),
    "handed_over_for_good": N_("{name} has taken over {cells} of your cells."),
    "takes_over": N_("You have taken over {cells} cells of {name}."),
    "handed_back": N_("Your cells are yours again."),
    "duty_ended": N_("You no longer stand in; the owner is back."),
    "certificate_ends": N_("Your certificate for {duty} ends on {until}. Take the quiz again before that."),
    "certificate_revoked": N_("Your certificate for {duty} was revoked."),
}


def notice_words(notice: AccountNotice) -> str:
    """Return the sentence of a notice in the request's language; plain text."""
    given = dict(notice.params)
    if given.get("until"):
        # The end is exclusive: people name the last day.
        last = datetime.fromisoformat(given["until"]) - timedelta(seconds=1)
        given["until"] = date_words(last, LANGUAGE.get())
    known = {"name": "", "cells": 0, "until": "", **given, "duty": named(given.get("duty"), DUTIES)}
    return say(NOTICES[notice.kind], **known) if notice.kind in NOTICES else notice.kind


def spoken(words: Words) -> str:
    """Return a text of a bank in the request's language."""
    return words.zh if LANGUAGE.get() == "zh" else words.en


@router.get("/training")
def listed(request: Request, session: Read, actor: Staff, at: Now) -> Response:
    """Show the nine duties with one's own certificates."""
    assert actor.id is not None
    held = {one.duty: one for one in training.certificates(session, [actor.id], at=at)}
    return page(
        request,
        "training/list.html",
        banks=training.banks(session),
        held=held,
        duties=DUTIES,
        terms=training.terms(session),
        attempts=training.attempts(session, actor.id, most=10),
        at=at,
    )


@router.get("/training/{duty}")
def one(request: Request, session: Read, actor: Staff, duty: str) -> Response:
    """Show the cards of a duty, and the paper under them."""
    del actor
    return _one(request, session, duty)


def _one(
    request: Request,
    session: Session,
    duty: str,
    *,
    given: dict[str, list[str]] | None = None,
    key: str = "",
    error: WanggeError | None = None,
) -> Response:
    held = training.banks(session)
    if duty not in held:
        raise NotFound("There is no such duty.")
    return page(
        request,
        "training/duty.html",
        status=status_of(error) if error else 200,
        problem=sentence(error) if error else "",
        bank=held[duty],
        paper=training.paper(session, duty, held=held),
        terms=training.terms(session),
        given=given or {},
        key=key or str(new_id()),
        spoken=spoken,
    )


@router.post("/training/{duty}")
def hand_in(request: Request, session: Write, actor: Staff, at: Now, *, duty: str, form: Form) -> Response:
    """Mark a paper; a refusal keeps the answers."""
    del actor
    answers = {name[2:]: letters for name, letters in form.lists.items() if name.startswith("q-")}
    try:
        number = form.get("number", "")
        given = Submission(
            key=_key(form.get("key", "")),
            duty=duty,
            number=int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 0,
            digest=form.get("digest", "")[:64],
            answers=answers,
            happened_at=at,
        )
        with session.begin_nested():
            result = training.submit(session, given, at=at)
    except (Conflict, Invalid) as error:
        return _one(request, session, duty, given=answers, key=form.get("key", ""), error=error)
    cards = {card.id: card for card in training.banks(session)[duty].cards}
    again = [cards[key] for key in result.cards if key in cards]
    terms = training.terms(session)
    return page(request, "training/result.html", result=result, again=again, spoken=spoken, terms=terms)


def _key(written: str) -> uuid.UUID:
    try:
        return uuid.UUID(written)
    except ValueError as error:
        raise Invalid("This page is too old or came from elsewhere; load it again. Nothing was changed.") from error


@router.get("/training/certificates/{number}")
def printed(request: Request, session: Read, actor: Staff, at: Now, number: str) -> Response:
    """Show a certificate to print: the own one, or one that the office may see."""
    found = training.certificate(session, number)
    _check_theirs(session, actor, found)
    state = "revoked" if found.revoked_at else "valid" if found.expires_at > at else "expired"
    return page(
        request,
        "training/certificate.html",
        paper=True,
        certificate=found,
        state=state,
        states=STATES,
        may_revoke=actor.role in {Role.SUPERVISOR, Role.ADMIN} and state == "valid",
        check=f"{request.url.scheme}://{request.url.netloc}/certificates/check",
    )


def _check_theirs(session: Session, actor: Actor, found: TrainingCertificate) -> None:
    """Raise Forbidden or NotFound unless a certificate is the actor's own or of somebody in the office's reach."""
    if found.account_id == actor.id:
        return
    area = duties.reach(session, write=False)
    if area and all(one.id != found.account_id for one in duty_lists.people(session, area)):
        raise NotFound("There is no such certificate.")


@router.post("/training/certificates/{number}/revoke")
def revoke(session: Write, actor: Staff, at: Now, number: str, form: Form) -> Response:
    """Revoke a certificate with a reason."""
    _check_theirs(session, actor, training.certificate(session, number))
    training.revoke(session, number, why=form.get("why", ""), at=at)
    return go(f"/training/certificates/{number}")


@router.get("/certificates/check")
def check(request: Request, actor: Me) -> Response:
    """Show the form with which anybody checks a certificate."""
    del actor
    return _check(request, {})


@router.post("/certificates/check")
def checked(request: Request, actor: Me, at: Now, form: Form) -> Response:
    """Say what a certificate is worth: duty, masked name, until when; nothing else."""
    del actor
    number, code = form.get("number", "").strip()[:40], form.get("code", "").strip()[:40]
    deps.throttle(request, "certificate", deps.address_of(request), most=_CHECKS)
    try:
        with snapshot(system(deps.district(), "certificates")) as session:
            found = training.verify(session, number, code, at=at)
    except NotFound as error:
        return _check(request, {"number": number, "code": code}, problem=sentence(error), status=404)
    return _check(request, {"number": number, "code": code}, found=found)


def _check(request: Request, entered: dict[str, str], *, status: int = 200, **told: Any) -> Response:
    shown = {"found": None, "problem": "", "states": STATES} | told
    return page(request, "training/check.html", status=status, entered={"number": "", "code": ""} | entered, **shown)


@router.get("/notices")
def told(request: Request, session: Read, actor: Staff) -> Response:
    """Show what was changed about one's own duties and certificates."""
    del actor
    return page(request, "training/notices.html", notices=notices.mine(session), words=notice_words)


@router.get("/notices/count")
def count(request: Request, session: Read, actor: Staff) -> Response:
    """Draw the word in the bar with the number of notices that were not seen."""
    del actor
    return page(request, "training/count.html", unseen=notices.unseen(session))


@router.post("/notices")
def seen(session: Write, actor: Staff, at: Now) -> Response:
    """Mark all of them as seen."""
    del actor
    notices.seen(session, at=at)
    return go("/notices")

"""Training for programs and the phone: cards and papers to take along, papers to hand in, notices to the person."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from api.deps import Now, Read, Write, require
from api.pages.training import STAFF
from core.actor import Actor
from grid import notices, training
from grid.duties import DUTIES
from grid.training import Paper, Result
from grid.training_bank import Bank, Words
from grid.training_tables import TrainingCertificate

router = APIRouter(prefix="/api/v1", tags=["training"])
Staff = Annotated[Actor, Depends(require(*STAFF))]


class Attempt(BaseModel):
    """A paper that is handed in."""

    #: Chosen by the client: handed in twice is one attempt.
    key: uuid.UUID
    duty: str = Field(max_length=40)
    #: Of the paper, as it was given out.
    number: int
    digest: str = Field(max_length=64)
    #: Question id → letters chosen.
    answers: dict[str, list[str]]
    #: When it was answered, by the client's corrected clock.
    happened_at: datetime | None = None


@router.get("/training")
def take_along(session: Read, actor: Staff, at: Now) -> dict[str, Any]:
    """Answer cards, the next paper of every duty without its right answers, and the own certificates."""
    assert actor.id is not None
    return packed(session, actor.id, at=at)


def packed(session: Read, account_id: uuid.UUID, *, at: datetime) -> dict[str, Any]:
    """Return what a phone takes along, as plain JSON: also the `training` part of the field bundle. Reads."""
    held = {one.duty: one for one in training.certificates(session, [account_id], at=at)}
    papers = {one.duty: one for one in training.papers(session)}
    terms = training.terms(session)
    return {
        "pass_percent": terms.pass_percent,
        "duties": [_duty(bank, papers[duty], held.get(duty)) for duty, bank in training.banks(session).items()],
    }


def _duty(bank: Bank, paper: Paper, held: TrainingCertificate | None) -> dict[str, Any]:
    return {
        "duty": bank.duty,
        "label": DUTIES[bank.duty],
        "starter": bank.starter,
        "cards": [{"id": one.id, "title": _both(one.title), "text": _both(one.text)} for one in bank.cards],
        "paper": {
            "number": paper.number,
            "digest": paper.digest,
            "questions": [
                {
                    "id": question.id,
                    "ask": _both(question.ask),
                    "several": len(question.right) > 1,
                    "options": [
                        {"letter": letter, "words": _both(question.options["abcdefgh".index(letter)])}
                        for letter in letters
                    ],
                }
                for question, letters in paper.questions
            ],
        },
        "certificate": _certificate(held) if held is not None else None,
    }


def _both(words: Words) -> dict[str, str]:
    return {"zh": words.zh, "en": words.en}


def _certificate(held: TrainingCertificate) -> dict[str, Any]:
    return {
        "number": held.number,
        "check_code": held.check_code,
        "issued_at": held.issued_at,
        "expires_at": held.expires_at,
    }


@router.post("/training/attempts")
def hand_in(session: Write, actor: Staff, at: Now, given: Attempt) -> dict[str, Any]:
    """Mark a paper; the same key again answers the same."""
    del actor
    fields = given.model_dump(include={"duty", "number", "digest", "answers"})
    happened_at = given.happened_at or at
    if happened_at.tzinfo is None:
        happened_at = at
    return answered(training.from_phone(session, fields, key=given.key, happened_at=happened_at, at=at))


def answered(result: Result) -> dict[str, Any]:
    """Return what came of a paper as plain JSON: what the phone shows."""
    return {
        "duty": result.duty,
        "number": result.number,
        "asked": result.asked,
        "right": result.right,
        "passed": result.passed,
        "wrong": list(result.wrong),
        "cards": list(result.cards),
        "certificate": result.certificate,
        "repeated": result.repeated,
    }


@router.get("/notices")
def told(session: Read, actor: Staff) -> dict[str, Any]:
    """Answer the notices to the caller, those not seen first."""
    del actor
    return {
        "unseen": notices.unseen(session),
        "notices": [
            {
                "id": str(one.id),
                "kind": one.kind,
                "params": one.params,
                "created_at": one.created_at,
                "seen_at": one.seen_at,
            }
            for one in notices.mine(session)
        ],
    }


@router.post("/notices/seen")
def seen(session: Write, actor: Staff, at: Now) -> dict[str, int]:
    """Mark the caller's notices as seen."""
    del actor
    return {"seen": notices.seen(session, at=at)}

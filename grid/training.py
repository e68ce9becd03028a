"""Certificate before duty 持证上岗 (S2, S3): quizzes drawn by lot, attempts that stay, certificates that expire.

A paper is drawn from the person, the duty and the number of the attempt, so that asking again brings the same questions
and nothing needs to be stored until it is handed in; the right answers never leave the server.
"""

import hmac
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import Session

from core.actor import Role, system
from core.crypto import derived_key
from core.db import acting_as, actor_of, rows
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.ids import check_character, new_id
from grid import notices
from grid.duties import DUTIES
from grid.models import Account, District
from grid.training_bank import Bank, Question, from_body, starter
from grid.training_tables import TrainingAttempt, TrainingBank, TrainingCertificate

#: Without 0/O, 1/I/L and the like: typed from paper.
_LETTERS: Final = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
_CODE: Final = 8
#: The day on a certificate is a day in China, which knows no summer time.
_CHINA: Final = timezone(timedelta(hours=8))
#: Certificates of one answer.
MOST: Final = 20_000


@dataclass(frozen=True, slots=True)
class Terms:
    """What a district demands; `training` in its settings changes the defaults."""

    #: Questions of a paper.
    questions: int = 6
    #: Share of right answers that passes, in per cent.
    pass_percent: int = 80
    #: Days that a certificate holds.
    valid_days: int = 365
    #: Days before its end that the person is reminded.
    remind_days: int = 30
    #: Attempts at one duty within 24 hours.
    tries_a_day: int = 3

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Terms":
        """Return the terms in a district's settings; what is missing or nonsense keeps its default."""
        told = settings.get("training")
        told = told if isinstance(told, dict) else {}
        bounds = {
            "questions": (1, 50),
            "pass_percent": (1, 100),
            "valid_days": (1, 3660),
            "remind_days": (0, 365),
            "tries_a_day": (1, 100),
        }
        known = {
            name: told[name]
            for name, (least, most) in bounds.items()
            if isinstance(told.get(name), int) and least <= told[name] <= most
        }
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Paper:
    """One quiz to answer."""

    duty: str
    number: int
    #: Of the bank it was drawn from; handed back with the answers.
    digest: str
    #: Question and the letters of its options in the order to show.
    questions: tuple[tuple[Question, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Submission:
    """A paper that is handed in."""

    #: Handed in twice under the same key is one attempt.
    key: uuid.UUID
    duty: str
    number: int
    digest: str
    #: Question id → letters chosen.
    answers: Mapping[str, Sequence[str]]
    #: Aware; the phone's time, corrected.
    happened_at: datetime


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a paper."""

    duty: str
    number: int
    asked: int
    right: int
    passed: bool
    #: Ids of the questions that were answered wrongly, and of the cards to read again.
    wrong: tuple[str, ...]
    cards: tuple[str, ...]
    #: Number of the certificate; None where it was not passed.
    certificate: str | None
    #: It had been handed in before.
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """What anybody may know of a certificate whose number and code they hold."""

    number: str
    duty: str
    #: The family name and stars.
    masked_name: str
    issued_at: datetime
    expires_at: datetime
    #: valid, expired or revoked.
    state: str


def terms(session: Session) -> Terms:
    """Return the district's terms. Reads."""
    told = session.scalar(select(District.settings).where(District.district_code == actor_of(session).district))
    return Terms.of(told or {})


def banks(session: Session) -> dict[str, Bank]:
    """Return the bank in use of each duty: the district's own, else the starter content. Reads."""
    chosen = (
        select(TrainingBank.duty, TrainingBank.body)
        .where(TrainingBank.district_code == actor_of(session).district)
        .order_by(TrainingBank.duty, TrainingBank.id.desc())
        .ext(distinct_on(TrainingBank.duty))
    )
    own = {row.duty: from_body(row.body, file=row.duty) for row in session.execute(chosen)}
    merged = {**starter(), **own}
    return {duty: merged[duty] for duty in DUTIES if duty in merged}


def load_bank(session: Session, bank: Bank, *, at: datetime) -> bool:
    """Take a bank into use; return False where it is in use already. Writes, as administrator; caller commits."""
    in_use = banks(session).get(bank.duty)
    if in_use is not None and in_use.digest == bank.digest:
        return False
    actor = actor_of(session)
    made = TrainingBank(
        district_code=actor.district,
        id=new_id(),
        duty=bank.duty,
        digest=bank.digest,
        body=dict(bank.body),
        loaded_at=at,
        loaded_by=actor.name,
    )
    session.add(made)
    session.flush()
    return True


def paper(session: Session, duty: str, *, held: Mapping[str, Bank] | None = None) -> Paper:
    """Return the paper that the session's actor has to answer next. Reads; raises Invalid for an unknown duty.

    held: the banks in use, where the caller has them.
    """
    return _paper(session, _bank(held or banks(session), duty), _done(session, duty) + 1)


def papers(session: Session) -> list[Paper]:
    """Return the next paper of every duty for the session's actor: what a phone takes along. Reads."""
    held = banks(session)
    return [paper(session, duty, held=held) for duty in held]


def _bank(held: Mapping[str, Bank], duty: str) -> Bank:
    if duty not in held:
        raise Invalid("There is no duty {code}.", field="duty", code=duty[:40])
    return held[duty]


def _done(session: Session, duty: str) -> int:
    actor = actor_of(session)
    chosen = select(func.max(TrainingAttempt.number)).where(
        TrainingAttempt.district_code == actor.district,
        TrainingAttempt.account_id == actor.id,
        TrainingAttempt.duty == duty,
    )
    return session.scalar(chosen) or 0


def _paper(session: Session, bank: Bank, number: int) -> Paper:
    actor = actor_of(session)
    told = f"{actor.district}\x1f{actor.id}\x1f{bank.duty}\x1f{number}\x1f{bank.digest}"
    seed = hmac.new(derived_key("training"), told.encode(), sha256).digest()
    drawn = bank.draw(seed, terms(session).questions)
    return Paper(bank.duty, number, bank.digest, tuple((question, tuple(order)) for question, order in drawn))


def submit(session: Session, given: Submission, *, at: datetime) -> Result:
    """Mark a paper of the session's actor, note the attempt, and issue a certificate where it was passed.

    Writes; caller commits. The same key again answers what it answered before. Raises Conflict for a paper that was
    handed in already under another key or whose questions were renewed, Invalid for answers that are none and after
    too many tries in a day, Forbidden for nobody.
    """
    actor = actor_of(session)
    if actor.id is None or actor.role is Role.CITIZEN:
        raise Forbidden("Only staff take these quizzes.")
    before = _attempt(session, given.key)
    if before is not None:
        return _told(session, before, repeated=True)
    bank = _bank(banks(session), given.duty)
    if given.digest != bank.digest:
        raise Conflict("The questions of this duty were renewed; take the new ones.")
    if given.number != _done(session, given.duty) + 1:
        raise Conflict("This paper was handed in already; take the next one.")
    demands = terms(session)
    _bounded(session, given.duty, demands, at)
    asked = _paper(session, bank, given.number)
    answers = {question.id: _chosen(given.answers, question) for question, _ in asked.questions}
    right = sum(frozenset(answers[question.id]) == question.right for question, _ in asked.questions)
    attempt = TrainingAttempt(
        district_code=actor.district,
        id=new_id(),
        key=given.key,
        account_id=actor.id,
        duty=given.duty,
        number=given.number,
        bank_digest=bank.digest,
        questions=[question.id for question, _ in asked.questions],
        answers=answers,
        right_count=right,
        passed=right * 100 >= demands.pass_percent * len(asked.questions),
        happened_at=min(given.happened_at, at),
        recorded_at=at,
    )
    session.add(attempt)
    session.flush()
    if attempt.passed:
        _issue(session, attempt, days=demands.valid_days, at=at)
    return _told(session, attempt)


def from_phone(
    session: Session, fields: Mapping[str, Any], *, key: uuid.UUID, happened_at: datetime, at: datetime
) -> Result:
    """Hand in what a phone or an API client sent: `duty`, `number`, `digest`, `answers` {question: letters}.

    As `submit`; raises Invalid naming the field that is no such thing.
    """
    answers = fields.get("answers")
    if not isinstance(answers, dict) or len(answers) > 100:
        raise Invalid("The answers cannot be read.", field="answers")
    number = fields.get("number")
    if not isinstance(number, int) or isinstance(number, bool):
        raise Invalid("The number of the paper is missing.", field="number")
    given = Submission(
        key=key,
        duty=str(fields.get("duty", ""))[:40],
        number=number,
        digest=str(fields.get("digest", ""))[:64],
        answers=answers,
        happened_at=happened_at,
    )
    return submit(session, given, at=at)


def _chosen(answers: Mapping[str, Any], question: Question) -> list[str]:
    told = answers.get(question.id, ())
    letters: list[Any] = list(told) if isinstance(told, str | list | tuple) else [None]
    known = "abcdefgh"[: len(question.options)]
    if not all(isinstance(letter, str) and len(letter) == 1 and letter in known for letter in letters):
        raise Invalid("The answers cannot be read.", field="answers")
    return sorted(set(letters))


def _bounded(session: Session, duty: str, demands: Terms, at: datetime) -> None:
    actor = actor_of(session)
    tries = session.scalar(
        select(func.count()).where(
            TrainingAttempt.district_code == actor.district,
            TrainingAttempt.account_id == actor.id,
            TrainingAttempt.duty == duty,
            TrainingAttempt.recorded_at > at - timedelta(days=1),
        )
    )
    if (tries or 0) >= demands.tries_a_day:
        raise Invalid("At most {n} attempts a day; read the cards and come back tomorrow.", n=demands.tries_a_day)


def _attempt(session: Session, key: uuid.UUID) -> TrainingAttempt | None:
    actor = actor_of(session)
    chosen = select(TrainingAttempt).where(
        TrainingAttempt.district_code == actor.district,
        TrainingAttempt.account_id == actor.id,
        TrainingAttempt.key == key,
    )
    return session.scalars(chosen).one_or_none()


def _told(session: Session, attempt: TrainingAttempt, *, repeated: bool = False) -> Result:
    """Return what came of an attempt; a bank that was renewed since tells no cards."""
    bank = banks(session).get(attempt.duty)
    known = {question.id: question for question in bank.questions} if bank is not None else {}
    current = bank is not None and bank.digest == attempt.bank_digest
    wrong = [
        key
        for key in attempt.questions
        if current and key in known and frozenset(attempt.answers.get(key, ())) != known[key].right
    ]
    number = session.scalar(
        select(TrainingCertificate.number).where(
            TrainingCertificate.district_code == attempt.district_code, TrainingCertificate.attempt_id == attempt.id
        )
    )
    return Result(
        duty=attempt.duty,
        number=attempt.number,
        asked=len(attempt.questions),
        right=attempt.right_count,
        passed=attempt.passed,
        wrong=tuple(wrong),
        cards=tuple(dict.fromkeys(known[key].card for key in wrong)),
        certificate=number,
        repeated=repeated,
    )


def _issue(session: Session, attempt: TrainingAttempt, *, days: int, at: datetime) -> None:
    """Write the certificate of a passed attempt, as the program: nobody issues one to themselves."""
    day = at.astimezone(_CHINA).date()
    place = list(DUTIES).index(attempt.duty) + 1
    with acting_as(session, system(attempt.district_code, "training")):
        account = session.get_one(Account, (attempt.district_code, attempt.account_id))
        while True:
            digits = f"{day:%Y%m%d}{place}{secrets.randbelow(100_000):05d}"
            made = {
                "district_code": attempt.district_code,
                "number": digits + check_character(digits),
                "check_code": "".join(secrets.choice(_LETTERS) for _ in range(_CODE)),
                "account_id": attempt.account_id,
                "duty": attempt.duty,
                "attempt_id": attempt.id,
                "holder_name": account.name,
                "issued_at": at,
                "expires_at": at + timedelta(days=days),
            }
            written = insert(TrainingCertificate).values(made).on_conflict_do_nothing()
            # The five digits of a day and duty may be taken.
            if session.execute(written.returning(TrainingCertificate.number)).first() is not None:
                return


def certificate(session: Session, number: str) -> TrainingCertificate:
    """Return a certificate that the session's actor may see; raises NotFound. Reads."""
    found = session.get(TrainingCertificate, (actor_of(session).district, number[:20]))
    if found is None:
        raise NotFound("There is no such certificate.")
    return found


def certificates(session: Session, accounts: Sequence[uuid.UUID], *, at: datetime) -> list[TrainingCertificate]:
    """Return for each of the people and each duty the certificate that holds longest, expired ones too. Reads."""
    chosen = (
        select(TrainingCertificate)
        .where(
            TrainingCertificate.district_code == actor_of(session).district,
            TrainingCertificate.account_id.in_(accounts),
            TrainingCertificate.revoked_at.is_(None),
            TrainingCertificate.issued_at <= at,
        )
        .order_by(TrainingCertificate.account_id, TrainingCertificate.duty, TrainingCertificate.expires_at.desc())
        .limit(MOST)
        .ext(distinct_on(TrainingCertificate.account_id, TrainingCertificate.duty))
    )
    return list(session.scalars(chosen))


def certified(session: Session, accounts: Sequence[uuid.UUID], *, at: datetime) -> set[tuple[uuid.UUID, str]]:
    """Return the (account, duty) that have a valid certificate at a moment. Reads, as the program."""
    with acting_as(session, system(actor_of(session).district, "training")):
        found = certificates(session, accounts, at=at)
        return {(one.account_id, one.duty) for one in found if one.expires_at > at}


def revoke(session: Session, number: str, *, why: str, at: datetime) -> None:
    """Revoke a certificate with a reason; writes, caller commits. Supervisors and administrators only.

    Raises NotFound, Invalid without a reason, Conflict for one that was revoked before.
    """
    actor = actor_of(session)
    if actor.role not in {Role.SUPERVISOR, Role.ADMIN, Role.SYSTEM}:
        raise Forbidden("Your role may not do this.")
    found = certificate(session, number)
    if not why.strip():
        raise Invalid("Say why.", field="why")
    if found.revoked_at is not None:
        raise Conflict("This certificate was revoked already.")
    found.revoked_at, found.revoked_by, found.revoked_why = at, actor.name, why.strip()[:400]
    session.flush()
    notices.tell(session, found.account_id, "certificate_revoked", key=f"revoked:{number}", at=at, duty=found.duty)


def verify(session: Session, number: str, code: str, *, at: datetime) -> Verified:
    """Return what a certificate is worth, to anybody who holds number and code. Reads; the caller throttles.

    Raises NotFound for a wrong number and a wrong code alike.
    """
    district = actor_of(session).district
    with acting_as(session, system(district, "training")):
        found = session.get(TrainingCertificate, (district, "".join(number.split()).upper()[:20]))
    typed = "".join(code.split()).upper().encode()
    right = hmac.compare_digest((found.check_code if found else "-" * _CODE).encode(), typed)
    if found is None or not right:
        raise NotFound("There is no certificate with this number and code.")
    state = "revoked" if found.revoked_at is not None else "valid" if found.expires_at > at else "expired"
    masked = found.holder_name[:1] + "*" * max(1, len(found.holder_name) - 1)
    return Verified(found.number, found.duty, masked[:8], found.issued_at, found.expires_at, state)


_ENDING = """
SELECT DISTINCT ON (c.account_id, c.duty) c.account_id, c.duty, c.number, c.expires_at
FROM training_certificate c
JOIN account a ON a.district_code = :d AND a.id = c.account_id AND a.active
WHERE c.district_code = :d AND c.revoked_at IS NULL
ORDER BY c.account_id, c.duty, c.expires_at DESC
"""


def remind(session: Session, *, at: datetime) -> int:
    """Tell the people whose certificates end soon, once each; return how many end. For the nightly run. Writes."""
    last = at + timedelta(days=terms(session).remind_days)
    sql = f"SELECT * FROM ({_ENDING}) e WHERE e.expires_at > :at AND e.expires_at <= :last"  # noqa: S608  own words
    ending = rows(session, sql, d=actor_of(session).district, at=at, last=last)
    told = [
        (
            row["account_id"],
            "certificate_ends",
            f"certificate:{row['number']}",
            {"duty": row["duty"], "until": row["expires_at"].isoformat()},
        )
        for row in ending
    ]
    notices.tell_all(session, told, at=at)
    return len(told)


def attempts(session: Session, account_id: uuid.UUID, *, most: int = 50) -> list[TrainingAttempt]:
    """Return a person's newest attempts; at most `most`. Reads."""
    chosen = (
        select(TrainingAttempt)
        .where(TrainingAttempt.district_code == actor_of(session).district, TrainingAttempt.account_id == account_id)
        .order_by(TrainingAttempt.id.desc())
        .limit(most)
    )
    return list(session.scalars(chosen))


def lately(session: Session, *, since: datetime) -> Mapping[str, int]:
    """Return how many attempts each duty had since a moment, for the office. Reads."""
    found = session.execute(
        text(
            "SELECT duty, count(*) AS n FROM training_attempt WHERE district_code = :d AND recorded_at >= :since"
            " GROUP BY duty"
        ),
        {"d": actor_of(session).district, "since": since},
    )
    return {row.duty: row.n for row in found}

"""The reporter behind a case 实名与化名: what others call him, who may see name and telephone, for how long, and why.

Real name behind, alias in public (S2 后台实名): units and everybody else read an alias that is the same within one
case and tells nothing about another. Opening needs a reason of the list and words, holds for this person and case for a
quarter of an hour, and is a row of `disclosure` that nobody changes and the person concerned reads.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from core.actor import Role
from core.crypto import blind_index, unseal
from core.db import actor_of, pin_case
from core.documents import masked
from core.errors import Forbidden, Invalid, NotFound
from core.ids import new_id
from dispatch.models import Case, Disclosure, Report
from dispatch.views import visible_to
from grid.openings import LONGEST, OPEN_FOR, check_reason

#: What each sealed field was sealed as; a field of one kind cannot be opened as another.
CONTEXTS: Final[Mapping[str, str]] = {"name": "report.name", "phone": "report.phone"}
#: Roles that need to reach a reporter, and therefore may open personal data, with a reason.
MAY_OPEN: Final = frozenset({Role.OPERATOR, Role.SUPERVISOR, Role.UNIT})
#: Matters in which the unit deals with a party known by name: an alias would hide whom it decides about.
_BY_NAME: Final = frozenset({"service_item", "information"})
_SIGNS: Final = "23456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class Opened:
    """Who opened personal data of this case, and why."""

    actor_name: str
    #: None in rows that were written before roles were.
    actor_role: str | None
    unit_code: str | None
    field: str
    #: A key of `grid.openings.REASONS`; None where the words say it all.
    reason_code: str | None
    reason: str
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """What a person has opened of a case and may still look at."""

    field: str
    values: tuple[str, ...]
    until: datetime


def alias(case_id: uuid.UUID, person: bytes) -> str:
    """Return what one reporter is called within one case: 市民7F3K.

    person: what tells the reporters of a case apart, such as the blind index of the telephone. Keyed by the case, so
    that the same person has another alias in every other case.
    """
    found = int.from_bytes(blind_index(f"{case_id}\x1f{person.hex()}", context="alias")[:8])
    signs = ""
    for _ in range(4):
        found, at = divmod(found, len(_SIGNS))
        signs += _SIGNS[at]
    return f"市民{signs}"


def called(role: Role, case: uuid.UUID, process: str, report: Mapping[Any, Any]) -> tuple[str, str]:
    """Return name and telephone of a report as a role reads them: masked, an alias and nothing, or nothing at all.

    report: id, name_sealed, phone_sealed and phone_index.
    """
    name, phone = report["name_sealed"], report["phone_sealed"]
    if role is Role.UNIT and process not in _BY_NAME:
        if name is None and phone is None:
            return "", ""
        return alias(case, bytes(report["phone_index"] or report["id"].bytes)), ""
    if role in MAY_OPEN or role is Role.SYSTEM:
        return _masked("name", name), _masked("phone", phone)
    return "", ""


def _masked(field: str, sealed: bytes | None) -> str:
    if sealed is None:
        return ""
    try:
        return masked(field, unseal(bytes(sealed), context=CONTEXTS[field]))
    except Invalid:
        # A field sealed with another key must not hide the rest of the sheet.
        return "***"


def disclose(
    session: Session, case_id: uuid.UUID, *, field: str, reason: str, at: datetime, why: str = ""
) -> tuple[str, ...]:
    """Return the unmasked names or phones of a case's reporters, after writing down who opened them and why.

    field: name or phone. why: a key of `grid.openings.REASONS`. Writes a `disclosure` row, which the person concerned
    may see; for OPEN_FOR the same person sees the field by `standing` without another one. Caller commits.
    Raises NotFound for an invisible case, Forbidden for roles that need not reach anybody, Invalid without a reason.
    """
    actor = actor_of(session)
    _visible(session, case_id)
    if actor.role not in MAY_OPEN:
        raise Forbidden("Your role may not open personal data.")
    if field not in CONTEXTS:
        raise Invalid("There is no protected field {name}.", field="field", name=field[:20])
    check_reason(why, reason)
    pin_case(session, case_id)
    write(session, case_id, field, why=why, reason=reason, at=at)
    return _values(session, case_id, field)


def write(session: Session, case_id: uuid.UUID, field: str, *, why: str, reason: str, at: datetime) -> None:
    """Write down that the session's actor opens something of a pinned case. Writes; caller commits."""
    actor = actor_of(session)
    session.execute(
        insert(Disclosure).values(
            district_code=actor.district,
            id=new_id(),
            case_id=case_id,
            actor_id=actor.id,
            actor_name=actor.name,
            actor_role=actor.role.value,
            unit_code=actor.unit or None,
            field=field,
            reason_code=why or None,
            reason=reason.strip()[:LONGEST],
            opened_at=at,
            expires_at=at + OPEN_FOR,
        )
    )


def standing(session: Session, case_id: uuid.UUID, *, at: datetime) -> tuple[Standing, ...]:
    """Return what the session's actor has opened of a visible case and may still look at; pins the case. Reads."""
    actor = actor_of(session)
    if actor.id is None or actor.role not in MAY_OPEN:
        return ()
    _visible(session, case_id)
    pin_case(session, case_id)
    found = session.execute(
        select(Disclosure.field, func.max(Disclosure.expires_at))
        .where(
            Disclosure.district_code == actor.district,
            Disclosure.case_id == case_id,
            Disclosure.actor_id == actor.id,
            Disclosure.expires_at > at,
            # A row of the future is a clock that was turned back, and opens nothing.
            Disclosure.opened_at <= at,
            Disclosure.field.in_(CONTEXTS),
        )
        .group_by(Disclosure.field)
        .order_by(Disclosure.field)
    ).all()
    return tuple(Standing(field, _values(session, case_id, field), until) for field, until in found if until)


def _values(session: Session, case_id: uuid.UUID, field: str) -> tuple[str, ...]:
    column = Report.name_sealed if field == "name" else Report.phone_sealed
    sealed = session.scalars(
        select(column)
        .where(Report.district_code == actor_of(session).district, Report.case_id == case_id, column.is_not(None))
        .order_by(Report.received_at, Report.id)
    )
    return tuple(unseal(bytes(value), context=CONTEXTS[field]) for value in sealed if value is not None)


def _visible(session: Session, case_id: uuid.UUID) -> None:
    if session.scalar(select(Case.id).where(visible_to(actor_of(session)), Case.id == case_id)) is None:
        raise NotFound("There is no case with this number, or it is not yours to see.")

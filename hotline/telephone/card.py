"""The caller's card 来电卡: who is calling, as far as is known, and what this number has reported before.

Reads calls, reports and cases by the blind index of the number; shows numbers and names masked. Somebody bound to one
town sees of the number's matters in other towns that they exist, and nothing of what they say (decision 0271).
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.actor import system
from core.crypto import blind_index, unseal
from core.db import acting_as, actor_of
from core.documents import masked
from dispatch.identity import CONTEXTS
from dispatch.models import Case, Report
from dispatch.views import visible_to
from grid.models import Category
from hotline.telephone.calls import phone_of, state_of
from hotline.telephone.models import Call, CallBack

#: Matters of each kind that a card shows; a number that has more is looked up by search.
MOST = 5
#: Cases of one number that are looked at; a switchboard's own number may have thousands.
_MOST_CASES: Final = 200
#: Earlier calls are counted over this long.
_RECENT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Matter:
    """One case that was reported from the number."""

    id: uuid.UUID
    number: str
    state: str
    open: bool
    urgency: str
    #: Title, else the beginning of the text, as the reporter wrote them.
    title: str
    category: str
    place: str
    received_at: datetime
    due_at: datetime | None
    due_clock: str | None
    #: 0 green to 3 overdue.
    warned: int


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A matter of the number that belongs to another town than the person at the desk: no words, place or category."""

    number: str
    state: str
    open: bool
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Card:
    """What the desk shows of a call."""

    id: uuid.UUID
    #: ringing, talking or over.
    state: str
    extension: str
    begun_at: datetime
    answered_at: datetime | None
    #: Masked; empty where it is withheld.
    phone: str
    #: Masked; empty where nobody gave one.
    name: str
    line: str
    open: tuple[Matter, ...]
    earlier: tuple[Matter, ...]
    #: Cases of the number that the person may see, those shown included; at most 200.
    matters: int
    #: The newest of those in other towns, and how many there are; for somebody bound to one town.
    elsewhere: tuple[Elsewhere, ...]
    elsewhere_count: int
    #: Calls from it before this one, in thirty days, and how many of those nobody answered.
    calls: int
    missed: int
    #: Somebody wanted to call this number back anyway.
    to_call: bool
    #: The case that this call led to.
    case_id: uuid.UUID | None


def card(session: Session, call: Call) -> Card:
    """Return the card of a call for the session's actor, who sees those cases only that are theirs to see. Reads."""
    known: dict[str, object] = {"open": (), "earlier": (), "matters": 0, "elsewhere": (), "elsewhere_count": 0}
    known |= {"calls": 0, "missed": 0, "name": ""}
    if call.phone_sealed is not None and call.phone_index is not None:
        phone = unseal(bytes(call.phone_sealed), context="call.phone")
        under = indexes(phone)
        ids = _reported(session, under)
        known |= _matters(session, under, ids) | _elsewhere(session, ids) | _calls(session, call)
    return Card(
        id=call.id,
        state=state_of(call),
        extension=call.extension,
        begun_at=call.begun_at,
        answered_at=call.answered_at,
        phone=phone_of(call),
        line=call.line,
        to_call=_to_call(session, call),
        case_id=call.case_id,
        **known,  # type: ignore[arg-type]
    )


def indexes(phone: str) -> list[bytes]:
    """Return the blind indexes under which a number may stand in reports: as people, or abroad, write it."""
    written = (phone, f"86{phone}", f"0{phone}", f"86{phone.removeprefix('0')}")
    return [blind_index(one, context="phone") for one in dict.fromkeys(written)]


def _reported(session: Session, under: list[bytes]) -> list[uuid.UUID]:
    """Return the cases of a number, the newest first, at most 200, whoever may see them.

    Asked as the program: reports are not for somebody bound to one town, but which of the cases are that person's to
    see is decided by the cases' own policy.
    """
    actor = actor_of(session)
    newest = func.max(Report.received_at).desc()
    query = select(Report.case_id).where(Report.district_code == actor.district, Report.phone_index.in_(under))
    with acting_as(session, system(actor.district, "caller card")):
        return list(session.scalars(query.group_by(Report.case_id).order_by(newest, Report.case_id).limit(_MOST_CASES)))


def _matters(session: Session, under: list[bytes], ids: list[uuid.UUID]) -> dict[str, object]:
    actor = actor_of(session)
    of_number = (Case.district_code == actor.district, Case.id.in_(ids), visible_to(actor))
    columns = (
        *(Case.id, Case.number, Case.state, Case.open, Case.urgency),
        func.coalesce(func.nullif(Case.title, ""), func.left(Case.text, 60)).label("title"),
        func.coalesce(Category.name, "").label("category"),
        Case.place_name.label("place"),
        *(Case.received_at, Case.due_at, Case.due_clock, Case.warned),
    )
    named = (Category.district_code == actor.district) & (Category.code == Case.category_code)

    def some(*, still_open: bool) -> tuple[Matter, ...]:
        query = select(*columns).outerjoin(Category, named).where(*of_number, Case.open.is_(still_open))
        rows = session.execute(query.order_by(Case.received_at.desc(), Case.id).limit(MOST))
        return tuple(Matter(**row) for row in rows.mappings())

    seen = list(session.scalars(select(Case.id).where(*of_number).limit(_MOST_CASES)))
    return {
        "open": some(still_open=True),
        "earlier": some(still_open=False),
        "matters": len(seen),
        "name": _name(session, under, seen),
    }


def _name(session: Session, under: list[bytes], seen: list[uuid.UUID]) -> str:
    """Return the newest name that came with a case the person may see, masked; empty for none."""
    actor = actor_of(session)
    query = select(Report.name_sealed).where(
        Report.district_code == actor.district,
        Report.phone_index.in_(under),
        Report.case_id.in_(seen),
        Report.name_sealed.is_not(None),
    )
    with acting_as(session, system(actor.district, "caller card")):
        name = session.scalar(query.order_by(Report.received_at.desc(), Report.id).limit(1))
    return masked("name", unseal(bytes(name), context=CONTEXTS["name"])) if name else ""


def _elsewhere(session: Session, ids: list[uuid.UUID]) -> dict[str, object]:
    """Return number, state and day of the number's cases that the town of whoever looks keeps from them.

    Asked as the program, whose eyes no town narrows; open ones first, then the newest.
    """
    actor = actor_of(session)
    if not actor.town or not ids:
        return {}
    others = (Case.district_code == actor.district, Case.id.in_(ids), Case.town_code.is_distinct_from(actor.town))
    columns = (Case.number, Case.state, Case.open, Case.received_at)
    query = select(*columns).where(*others).order_by(Case.open.desc(), Case.received_at.desc(), Case.id).limit(MOST)
    with acting_as(session, system(actor.district, "caller card")):
        found = tuple(Elsewhere(**row) for row in session.execute(query).mappings())
        count = session.scalar(select(func.count()).select_from(Case).where(*others)) or 0
    return {"elsewhere": found, "elsewhere_count": count}


def _calls(session: Session, call: Call) -> dict[str, object]:
    row = session.execute(
        select(func.count(), func.count().filter(Call.answered_at.is_(None)))
        .select_from(Call)
        .where(
            Call.district_code == call.district_code,
            Call.phone_index == call.phone_index,
            Call.begun_at > call.begun_at - _RECENT,
            Call.begun_at <= call.begun_at,
            Call.id != call.id,
        )
    ).one()
    return {"calls": row[0], "missed": row[1]}


def _to_call(session: Session, call: Call) -> bool:
    if call.phone_index is None:
        return False
    waiting = (CallBack.district_code == call.district_code, CallBack.phone_index == call.phone_index)
    query = select(CallBack.id).where(*waiting, CallBack.state == "open", CallBack.reason != "abandoned")
    return session.scalar(query.limit(1)) is not None

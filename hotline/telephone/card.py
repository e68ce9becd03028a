"""The caller's card 来电卡: who is calling, as far as is known, and what this number has reported before.

Reads calls, reports and cases by the blind index of the number; shows numbers and names masked.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.crypto import blind_index, unseal
from core.db import actor_of
from dispatch.identity import CONTEXTS, masked
from dispatch.models import Case, Report
from dispatch.views import visible_to
from grid.models import Category
from hotline.telephone.calls import phone_of, state_of
from hotline.telephone.models import Call, CallBack

#: Matters of each kind that a card shows; a number that has more is looked up by search.
MOST = 5
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
    #: Cases of the number in all, those shown included.
    matters: int
    #: Calls from it before this one, in thirty days, and how many of those nobody answered.
    calls: int
    missed: int
    #: Somebody wanted to call this number back anyway.
    to_call: bool
    #: The case that this call led to.
    case_id: uuid.UUID | None


def card(session: Session, call: Call) -> Card:
    """Return the card of a call for the session's actor, who sees those cases only that are theirs to see. Reads."""
    known: dict[str, object] = {"open": (), "earlier": (), "matters": 0, "calls": 0, "missed": 0, "name": ""}
    if call.phone_sealed is not None and call.phone_index is not None:
        phone = unseal(bytes(call.phone_sealed), context="call.phone")
        known |= _matters(session, indexes(phone)) | _calls(session, call)
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


def _matters(session: Session, under: list[bytes]) -> dict[str, object]:
    actor = actor_of(session)
    reported = (Report.district_code == actor.district, Report.phone_index.in_(under))
    ids = select(Report.case_id).where(*reported)
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

    name = session.scalar(
        select(Report.name_sealed)
        .where(*reported, Report.name_sealed.is_not(None))
        .order_by(Report.received_at.desc(), Report.id)
        .limit(1)
    )
    return {
        "open": some(still_open=True),
        "earlier": some(still_open=False),
        "matters": session.scalar(select(func.count()).select_from(Case).where(*of_number)) or 0,
        "name": masked("name", unseal(bytes(name), context=CONTEXTS["name"])) if name else "",
    }


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

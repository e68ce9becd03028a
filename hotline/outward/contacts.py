"""Where units, the desk and supervision are told 通知地址; the administrator keeps the list. Addresses stay sealed."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from core.crypto import seal
from core.db import actor_of
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from dispatch.words import N_
from grid.models import Unit
from hotline.outward.adapters import CHATS, checked_address, shown
from hotline.outward.models import Contact

#: Addresses of a district at most; a unit has a few.
MOST = 2000


@dataclass(frozen=True, slots=True)
class Line:
    """One address."""

    id: uuid.UUID
    audience: str
    unit_code: str | None
    channel: str
    #: Masked.
    shown: str
    created_at: datetime
    created_by: str


def listed(session: Session) -> list[Line]:
    """Return every address of the district, by unit. Reads; as administrator."""
    columns = [getattr(Contact, name) for name in Line.__dataclass_fields__]
    query = select(*columns).where(Contact.district_code == actor_of(session).district)
    rows = session.execute(query.order_by(Contact.audience, Contact.unit_code, Contact.id).limit(MOST))
    return [Line(*row) for row in rows]


def add(session: Session, *, audience: str, unit: str, channel: str, address: str, at: datetime) -> uuid.UUID:
    """Let a unit, the desk or supervision be told at an address; raises Invalid, Conflict. Writes; caller commits."""
    actor = actor_of(session)
    if audience not in ("unit", "desk", "supervision"):
        raise Invalid(N_("Choose who is to be told."), field="audience")
    if channel != "mail" and channel not in CHATS:
        raise Invalid(N_("This address does not fit the channel."), field="channel")
    if audience == "unit" and session.get(Unit, (actor.district, unit)) is None:
        raise Invalid(N_("The unit {code} is not known."), field="unit", code=unit[:40])
    good = checked_address(channel, address)
    known = select(func.count()).select_from(Contact).where(Contact.district_code == actor.district)
    if (session.scalar(known) or 0) >= MOST:
        raise Conflict(N_("There are too many addresses; take some away first."))
    made = new_id()
    session.add(
        Contact(
            district_code=actor.district,
            id=made,
            audience=audience,
            unit_code=unit if audience == "unit" else None,
            channel=channel,
            address_sealed=seal(good, context="contact.address"),
            shown=shown(channel, good),
            created_at=at,
            created_by=actor.name,
        )
    )
    session.flush()
    return made


def remove(session: Session, contact_id: uuid.UUID) -> None:
    """Take an address away; raises NotFound. Writes; caller commits."""
    query = delete(Contact).where(Contact.district_code == actor_of(session).district, Contact.id == contact_id)
    if session.execute(query.returning(Contact.id)).first() is None:
        raise NotFound(N_("There is no such address."))

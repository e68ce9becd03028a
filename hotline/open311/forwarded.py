"""What went to other Open311 servers 转送台账: which case where, how it stands there, when that was read; another try.

Reads the forwards that `forward` makes and works at; for supervision of the whole district.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.orm import Session

from core.actor import Role, system
from core.db import acting_as, actor_of
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.ids import new_id
from dispatch.models import Case
from dispatch.words import N_
from hotline.open311.forward import LEASE, There
from hotline.open311.models import Open311Forward, Open311Remote
from hotline.outward.models import DeliveryEvent

#: State of a forward → how people call it.
STATES: Final[Mapping[str, str]] = {
    "waiting": N_("To be sent"),
    "sent": N_("With the other server"),
    "answered": N_("Answered there"),
    "refused": N_("Refused by the other side"),
    "void": N_("With the unit no more"),
}
#: Their status → how people call it.
THEIRS: Final[Mapping[str, str]] = {
    "open": N_("Open there"),
    "closed": N_("Closed there"),
    "token": N_("Taken there, no number yet"),
}
#: Parts of the list as they stand in the address.
BOXES: Final[Mapping[str, str]] = {
    "open": N_("On their way"),
    "failed": N_("To look at"),
    "answered": N_("Answered there"),
    "all": N_("All"),
}
MAX_ROWS: Final = 200
#: Counts say no more beyond this.
_COUNTED: Final = 1000


@dataclass(frozen=True, slots=True)
class Line:
    """One forward."""

    id: uuid.UUID
    number: str
    unit_code: str
    #: Host of the other server; empty where the unit has none any more.
    host: str
    state: str
    #: What they call it; empty until they have a number.
    remote_id: str
    #: One of THEIRS, empty where nothing was read yet; their words, hostile; and when that was read.
    theirs: str
    notes: str
    read_at: datetime | None
    tries: int
    created_at: datetime
    next_at: datetime
    failure: str

    @property
    def can_retry(self) -> bool:
        """Whether a person may have it tried again at once."""
        return self.state == "refused" or (self.state in ("waiting", "sent") and bool(self.failure))


def _watcher(session: Session) -> str:
    actor = actor_of(session)
    if actor.role not in (Role.SUPERVISOR, Role.SYSTEM) or actor.town:
        raise Forbidden("Your role may not open this.")
    return actor.district


def _of(box: str) -> Any:
    under_way = Open311Forward.state.in_(("waiting", "sent"))
    failed = or_(Open311Forward.state == "refused", and_(under_way, Open311Forward.failure.is_not(None)))
    found = {"open": under_way, "failed": failed, "answered": Open311Forward.state == "answered", "all": None}
    if box not in found:
        raise Invalid(N_("There is no such part of the list."), field="box")
    return found[box]


def listed(session: Session, *, box: str = "open", number: str = "") -> list[Line]:
    """Return the newest forwards of a part of the list, at most MAX_ROWS; raises Forbidden, Invalid. Reads.

    number: only those of this case.
    """
    here = _watcher(session)
    query = (
        select(Open311Forward, Case.number)
        .join(Case, and_(Case.district_code == here, Case.id == Open311Forward.case_id))
        .where(Open311Forward.district_code == here)
    )
    if (wanted := _of(box)) is not None:
        query = query.where(wanted)
    if number:
        query = query.where(Case.number == number.replace(" ", "").upper())
    rows = session.execute(query.order_by(Open311Forward.id.desc()).limit(MAX_ROWS)).all()
    with acting_as(session, system(here, "open311")):
        # Addresses of other servers are the administrator's; their hosts are everybody's who looks after forwards.
        told = select(Open311Remote.unit_code, Open311Remote.endpoint).where(Open311Remote.district_code == here)
        hosts = {unit: urlsplit(endpoint).hostname or "" for unit, endpoint in session.execute(told)}
    return [_line(row, case_number, hosts) for row, case_number in rows]


def _line(row: Open311Forward, number: str, hosts: Mapping[str, str]) -> Line:
    there = There.of(row.remote_status)
    return Line(
        id=row.id,
        number=number,
        unit_code=row.unit_code,
        host=hosts.get(row.unit_code, ""),
        state=row.state,
        remote_id=row.remote_id,
        theirs=there.status,
        notes=there.notes,
        read_at=there.at,
        tries=row.tries,
        created_at=row.created_at,
        next_at=row.next_at,
        failure=row.failure or "",
    )


def counts(session: Session) -> dict[str, int]:
    """Return how many forwards are on their way and how many have to be looked at, each counted to 1,000. Reads."""
    here = _watcher(session)

    def some(box: str) -> int:
        inner = select(Open311Forward.id).where(Open311Forward.district_code == here, _of(box)).limit(_COUNTED)
        return session.scalar(select(func.count()).select_from(inner.subquery())) or 0

    return {box: some(box) for box in ("open", "failed")}


def retry(session: Session, forward_id: uuid.UUID, *, at: datetime) -> None:
    """Have a forward tried again soon; who did stands among those who sent something again. Writes; caller commits.

    One that may have arrived is looked for there first, and one that a worker may be at is left to it until its lease
    is over. Raises NotFound, and Conflict for one that is over or well.
    """
    here = _watcher(session)
    row = session.get(Open311Forward, (here, forward_id))
    if row is None:
        raise NotFound(N_("There is no such forward."))
    if row.state not in ("waiting", "sent", "refused") or (row.state != "refused" and not row.failure):
        raise Conflict(N_("There is nothing to try again."))
    number = session.scalar(select(Case.number).where(Case.district_code == here, Case.id == row.case_id))
    with acting_as(session, system(here, "open311")):
        session.execute(
            update(Open311Forward)
            .where(Open311Forward.district_code == here, Open311Forward.id == forward_id)
            .values(
                state="sent" if row.remote_id or row.token else "waiting",
                next_at=at if row.state == "refused" else min(row.next_at, at + LEASE),
            )
        )
    actor = actor_of(session)
    session.add(
        DeliveryEvent(
            district_code=here,
            id=new_id(),
            at=at,
            actor_id=actor.id,
            actor_name=actor.name,
            delivery_id=None,
            chosen={"forward": f"Open311 {number}"},
            count=1,
        )
    )
    session.flush()

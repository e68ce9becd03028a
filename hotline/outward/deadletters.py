"""What went out and what did not 投递台账: lists for supervision and the administrator, and sending again.

Addresses are shown masked, texts not at all: who needs them opens the case.
"""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, exists, func, select, update
from sqlalchemy.orm import Session, aliased

from core.actor import Role
from core.db import actor_of, pin_case
from core.errors import Forbidden, Invalid
from core.ids import new_id
from dispatch.words import N_
from hotline.outward.adapters import CHANNELS
from hotline.outward.models import Delivery, DeliveryEvent
from hotline.outward.together import MARK

#: State of a delivery → how people call it.
STATES: Final[Mapping[str, str]] = {
    "waiting": N_("Waits"),
    "held": N_("Kept for the morning"),
    "sent": N_("Went out"),
    "refused": N_("Refused by the other side"),
    "dead": N_("Given up"),
}
#: States that a person has to look at.
FAILED: Final = ("refused", "dead")
MAX_ROWS = 200
#: A case tells its callers some five times; merged ones share a handling, not their messages.
MOST_OF_CASE = 50
#: How many one press sends again.
MAX_RESENT = 1000
#: Counts say "more than" beyond this.
_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Chosen:
    """A filter of the list; empty members choose nothing."""

    #: A state, or `failed` for what has to be looked at.
    state: str = ""
    channel: str = ""
    topic: str = ""
    number: str = ""
    reason: str = ""

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the SQL of the filter; raises Invalid for what means nothing."""
        found: list[ColumnElement[bool]] = []
        if self.state and self.state != "failed" and self.state not in STATES:
            raise Invalid(N_("There is no such state."), field="state")
        if self.channel and self.channel not in CHANNELS:
            raise Invalid(N_("There is no channel {name}."), field="channel", name=self.channel[:20])
        if self.state:
            found.append(Delivery.state.in_(FAILED) if self.state == "failed" else Delivery.state == self.state)
        for column, value in (
            (Delivery.channel, self.channel),
            (Delivery.topic, self.topic),
            (Delivery.number, self.number.replace(" ", "").upper()),
            (Delivery.reason, self.reason),
        ):
            if value:
                found.append(column == value)
        return found


@dataclass(frozen=True, slots=True)
class Line:
    """One delivery in the list."""

    id: uuid.UUID
    topic: str
    number: str
    channel: str
    #: Masked.
    shown: str
    state: str
    tries: int
    created_at: datetime
    next_at: datetime
    sent_at: datetime | None
    reason: str | None
    receipt: str | None
    #: A call-back was asked for instead, because the other side refuses the short message.
    called: bool

    @property
    def joined(self) -> bool:
        """Whether it went, or goes, out in one message with the one before."""
        return (self.receipt or "").startswith(MARK)


@dataclass(frozen=True, slots=True)
class Event:
    """One sending again."""

    at: datetime
    actor_name: str
    #: None for all of a filter.
    delivery_id: uuid.UUID | None
    chosen: Mapping[str, Any]
    count: int


def _watcher(session: Session) -> str:
    """Return the district; raises Forbidden for who does not look after deliveries of the whole district."""
    actor = actor_of(session)
    if actor.role not in (Role.SUPERVISOR, Role.ADMIN, Role.SYSTEM) or actor.town:
        raise Forbidden("Your role may not open this.")
    return actor.district


def listed(session: Session, chosen: Chosen) -> list[Line]:
    """Return the newest deliveries of a filter, at most MAX_ROWS. Reads. Raises Forbidden and Invalid."""
    district = _watcher(session)
    return _lines(session, district, *chosen.conditions(), most=MAX_ROWS)


def of_case(session: Session, case_id: uuid.UUID) -> list[Line]:
    """Return what was told about a case, newest first, at most MOST_OF_CASE: sent, waiting, refused, given up.

    For who answers its callers; the caller has read the case. Reads; pins the case. Raises Forbidden.
    """
    actor = actor_of(session)
    if actor.role not in (Role.OPERATOR, Role.SUPERVISOR):
        raise Forbidden("Your role may not open this.")
    pin_case(session, case_id)
    return _lines(session, actor.district, Delivery.case_id == case_id, most=MOST_OF_CASE)


def _lines(session: Session, district: str, *conditions: ColumnElement[bool], most: int) -> list[Line]:
    columns: list[Any] = [getattr(Delivery, name) for name in Line.__dataclass_fields__ if name != "called"]
    other = aliased(Delivery)
    instead = exists().where(
        other.district_code == district,
        other.message_id == Delivery.message_id,
        other.channel == "callback",
        Delivery.channel == "sms",
        Delivery.state == "refused",
    )
    columns.append(instead.label("called"))
    query = select(*columns).where(Delivery.district_code == district, *conditions)
    return [Line(*row) for row in session.execute(query.order_by(Delivery.id.desc()).limit(most))]


def counts(session: Session) -> dict[str, int]:
    """Return how many deliveries wait, are held, were refused and given up; each counted to 10,000. Reads."""
    district = _watcher(session)
    found = {}
    for state in ("waiting", "held", *FAILED):
        one = select(Delivery.id).where(Delivery.district_code == district, Delivery.state == state).limit(_COUNTED)
        found[state] = session.scalar(select(func.count()).select_from(one.subquery())) or 0
    return found


def reasons(session: Session, chosen: Chosen) -> list[tuple[str, int]]:
    """Return why the deliveries of a filter failed, most frequent first, at most twenty. Reads."""
    district = _watcher(session)
    newest = (
        select(Delivery.reason)
        .where(Delivery.district_code == district, Delivery.state.in_(FAILED), *chosen.conditions())
        .order_by(Delivery.id.desc())
        .limit(_COUNTED)
        .subquery()
    )
    count = func.count()
    query = select(func.coalesce(newest.c.reason, ""), count).group_by(newest.c.reason).order_by(count.desc()).limit(20)
    return [(why, n) for why, n in session.execute(query)]


def resend(session: Session, delivery_id: uuid.UUID, *, at: datetime) -> int:
    """Send one given-up delivery again under its key; return 0 where it is none. Writes; caller commits."""
    return _again(session, [Delivery.id == delivery_id], at=at, one=delivery_id, chosen={})


def resend_all(session: Session, chosen: Chosen, *, at: datetime) -> int:
    """Send the given-up deliveries of a filter again, at most MAX_RESENT, oldest first; return how many. Writes."""
    district = _watcher(session)
    first = (
        select(Delivery.id)
        .where(Delivery.district_code == district, Delivery.state.in_(FAILED), *chosen.conditions())
        .order_by(Delivery.id)
        .limit(MAX_RESENT)
        .with_for_update(skip_locked=True)
    )
    ids = list(session.scalars(first))
    return _again(
        session, [Delivery.id.in_(ids)], at=at, one=None, chosen={k: v for k, v in asdict(chosen).items() if v}
    )


def _again(
    session: Session, which: list[ColumnElement[bool]], *, at: datetime, one: uuid.UUID | None, chosen: dict[str, Any]
) -> int:
    district = _watcher(session)
    done = session.execute(
        update(Delivery)
        .where(Delivery.district_code == district, Delivery.state.in_(FAILED), *which)
        .values(state="waiting", tries=0, next_at=at, leased_until=None)
        .returning(Delivery.id)
    ).all()
    if done:
        actor = actor_of(session)
        session.add(
            DeliveryEvent(
                district_code=district,
                id=new_id(),
                at=at,
                actor_id=actor.id,
                actor_name=actor.name,
                delivery_id=one,
                chosen=chosen,
                count=len(done),
            )
        )
        session.flush()
    return len(done)


def events(session: Session) -> list[Event]:
    """Return who sent what again, newest first, at most fifty. Reads."""
    district = _watcher(session)
    columns = [getattr(DeliveryEvent, name) for name in Event.__dataclass_fields__]
    query = select(*columns).where(DeliveryEvent.district_code == district)
    return [Event(*row) for row in session.execute(query.order_by(DeliveryEvent.id.desc()).limit(50))]

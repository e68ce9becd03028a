"""The shift 班组视图: who of the desk is on, what each is doing, and how much each has done since a moment.

Puts together seats and calls (`hotline.telephone.seats`), who is at which case (`hotline.desk.handling`) and the log.
"""

import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.actor import Role, system
from core.db import acting_as, actor_of
from dispatch.models import Entry
from hotline.desk import handling
from hotline.telephone import seats
from hotline.telephone.seats import Figures, Sitting

#: People of one desk that are shown; a district has fewer operators.
_MOST: Final = 200
_NOTHING: Final = Figures(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Person:
    """One person of the desk, now and since the beginning of the shift."""

    account_id: uuid.UUID
    name: str
    mine: bool
    #: None for somebody who takes no calls at the moment.
    seat: Sitting | None
    #: Calls since the beginning.
    calls: Figures
    #: Cases of which this person wrote something into the log, each once.
    cases: int
    #: Numbers of the cases this person is at now.
    at: tuple[str, ...]


def people(session: Session, *, since: datetime, at: datetime) -> list[Person]:
    """Return who sits at a seat, is at a case, or did something since a moment: oneself first, then by name. Reads."""
    actor = actor_of(session)
    seated = {one.account_id: one for one in seats.all_seats(session, at=at)}
    calls = seats.shift(session, since=since, at=at).by_operator
    holding: dict[uuid.UUID, list[str]] = defaultdict(list)
    names: dict[uuid.UUID, str] = {}
    for number, (account, name) in handling.handlers(session, at=at).items():
        holding[uuid.UUID(account)].append(number)
        names[uuid.UUID(account)] = name
    done: dict[uuid.UUID, int] = {}
    query = (
        select(Entry.actor_id, func.max(Entry.actor_name), func.count(Entry.case_id.distinct()))
        .where(Entry.district_code == actor.district, Entry.recorded_at >= since, Entry.recorded_at <= at)
        .where(Entry.actor_role == Role.OPERATOR.value, Entry.actor_id.is_not(None))
        .group_by(Entry.actor_id)
        .limit(_MOST)
    )
    # As the program: entries are not for somebody bound to one town, but how much a colleague did is.
    with acting_as(session, system(actor.district, "shift")):
        for account_id, name, count in session.execute(query):
            if account_id is not None:
                done[account_id], names[account_id] = count, name
    names |= {account: one.name for account, one in seated.items()}
    found = [
        Person(
            account_id=account,
            name=name,
            mine=account == actor.id,
            seat=seated.get(account),
            calls=calls.get(account, _NOTHING),
            cases=done.get(account, 0),
            at=tuple(sorted(holding.get(account, ()))),
        )
        for account, name in names.items()
    ]
    return sorted(found, key=lambda one: (not one.mine, one.name, str(one.account_id)))[:_MOST]

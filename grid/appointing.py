"""Giving duties to people 任命: certificate first, and everybody concerned is told.

`grid.duties` keeps who holds what, `grid.training` who is certified; what an office orders goes through here.
"""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.actor import system
from core.db import acting_as, actor_of, rows
from core.errors import Invalid
from core.ids import new_id
from grid import duties, notices, training
from grid.duties import Charge, Handover
from grid.models import Account

#: How long after its end a stand-in's end is still told, should the nightly run have been down.
_LATELY = timedelta(days=3)


def lacking(session: Session, account_id: uuid.UUID | None, asked: Iterable[str], *, at: datetime) -> list[str]:
    """Return those of the duties that a person has no valid certificate for; none for a unit. Reads."""
    if account_id is None:
        return []
    held = training.certified(session, [account_id], at=at)
    return [duty for duty in dict.fromkeys(asked) if (account_id, duty) not in held]


def appoint(session: Session, charge: Charge, *, at: datetime) -> int:
    """Give duties as `grid.duties.assign`, certificate first: without one only with a reason. Writes.

    Raises Invalid on `exception` where a certificate is missing and no reason is given.
    """
    _demand(lacking(session, charge.holder.account_id, charge.duties, at=max(at, charge.since)), charge.exception)
    return duties.assign(session, charge, at=at)


def hand_over(session: Session, order: Handover, *, at: datetime) -> list[tuple[str, str]]:
    """Hand over as `grid.duties.hand_over`, certificate first, and tell both persons. Writes; raises as `appoint`."""
    start = max(order.since, at)
    moving = duties.held_by(session, order.giver, cells=order.cells, duties=order.duties, at=start)
    _demand(lacking(session, order.taker.account_id, (duty for _, duty in moving), at=start), order.exception)
    moved = duties.hand_over(session, order, at=at)
    count = len({cell for cell, _ in moved})
    names = _names(session, [one for one in (order.giver, order.taker.account_id) if one is not None])
    span = {
        "cells": count,
        "since": order.since.isoformat(),
        "until": order.until.isoformat() if order.until else None,
    }
    key = f"handover:{new_id()}"
    given, taken = ("handed_over", "stands_in") if order.until else ("handed_over_for_good", "takes_over")
    told = [(order.giver, given, key, span | {"name": names.get(order.taker.account_id, "")})]
    if order.taker.account_id is not None:
        told.append((order.taker.account_id, taken, key, span | {"name": names.get(order.giver, "")}))
    notices.tell_all(session, told, at=at)
    return moved


def _demand(missing: Sequence[str], exception: str) -> None:
    if missing and not exception.strip():
        raise Invalid(
            "This person has no valid certificate for {n} of these duties; say why they are given all the same.",
            field="exception",
            n=len(missing),
        )


def _names(session: Session, accounts: Sequence[uuid.UUID]) -> dict[uuid.UUID | None, str]:
    district = actor_of(session).district
    with acting_as(session, system(district, "training")):
        found = session.execute(
            select(Account.id, Account.name).where(Account.district_code == district, Account.id.in_(accounts))
        )
        return {row.id: row.name for row in found}


def hand_back(session: Session, *, giver: uuid.UUID, why: str, at: datetime) -> int:
    """End early what others stand in for, as `grid.duties.hand_back`, and tell the person. Writes."""
    ended = duties.hand_back(session, giver=giver, at=at, why=why)
    notices.tell(session, giver, "handed_back", key=f"handback:{new_id()}", at=at)
    return ended


_ENDED = """
SELECT DISTINCT s.account_id AS taker, p.account_id AS giver, s.valid_to AS until
FROM cell_duty s
LEFT JOIN cell_duty p ON p.district_code = :d AND p.cell_code = s.cell_code AND p.duty = s.duty AND p.rank = 'primary'
  AND p.valid_from <= s.valid_to AND (p.valid_to IS NULL OR p.valid_to > s.valid_to) AND p.account_id IS NOT NULL
WHERE s.district_code = :d AND s.rank = 'stand_in' AND s.valid_to > :since AND s.valid_to <= :at
  AND s.valid_to > s.valid_from AND s.ended_at IS NULL
"""


def tell_of_ends(session: Session, *, at: datetime) -> int:
    """Tell both persons of hand-overs that ended by themselves, once; return how many. For the nightly run. Writes."""
    told = []
    for row in rows(session, _ENDED, d=actor_of(session).district, since=at - _LATELY, at=at):
        key, until = f"ended:{row['giver']}:{row['taker']}:{row['until'].isoformat()}", row["until"].isoformat()
        for person, kind in ((row["giver"], "handed_back"), (row["taker"], "duty_ended")):
            if person is not None:
                told.append((person, kind, key, {"until": until}))
    notices.tell_all(session, told, at=at)
    return len(told)

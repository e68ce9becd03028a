"""The outbox 发件箱: leased in batches, delivered at least once, in order per case; no broker is trusted with it.

Only the earliest undelivered message of a case can be leased, and who leases it carries the later ones of that case
too: that keeps the order however many relays run. A lease that runs out is taken over, so that a killed relay loses
nothing; what it had delivered but not marked comes again under the same message id, the idempotency key.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import Engine, text

from core.actor import system
from core.db import snapshot, transaction
from core.errors import Unavailable
from dispatch import tallies

#: How long a relay may take over one batch before another takes it over.
LEASE = timedelta(seconds=30)
#: After this many failures a message is given up and stays in the table with its failure; `wangge doctor` counts those.
MAX_TRIES = 8
#: A failed message waits 2^tries times this.
_BACKOFF = timedelta(seconds=5)

_HEADS = text(
    "SELECT o.id, o.case_id FROM outbox AS o "
    "WHERE o.district_code = :d AND o.delivered_at IS NULL AND (o.leased_until IS NULL OR o.leased_until < :at) "
    "AND NOT EXISTS (SELECT 1 FROM outbox AS p WHERE p.district_code = :d AND p.case_id = o.case_id "
    " AND p.delivered_at IS NULL AND p.id < o.id) "
    "ORDER BY o.id LIMIT :n FOR UPDATE OF o SKIP LOCKED"
)
_LEASE = text(
    "UPDATE outbox SET leased_until = :until, tries = tries + 1 "
    "WHERE district_code = :d AND delivered_at IS NULL AND (id = ANY (:heads) OR case_id = ANY (:cases)) "
    "RETURNING id, case_id, topic, payload, created_at, tries"
)
_MARK = text(
    "UPDATE outbox SET delivered_at = :at, leased_until = NULL "
    "WHERE district_code = :d AND id = ANY (:ids) AND delivered_at IS NULL RETURNING id"
)
_FAIL = text(
    "UPDATE outbox SET failure = :why, leased_until = :until, "
    "delivered_at = CASE WHEN :dead THEN CAST(:at AS timestamptz) ELSE NULL END "
    "WHERE district_code = :d AND id = :id AND delivered_at IS NULL"
)
#: How long everything waits after a try that found nobody to deliver to.
_PAUSE = timedelta(seconds=5)
_RELEASE = text(
    "UPDATE outbox SET leased_until = CAST(:until AS timestamptz), tries = tries - 1 "
    "WHERE district_code = :d AND id = ANY (:ids) AND delivered_at IS NULL"
)


@dataclass(frozen=True, slots=True)
class Message:
    """One outbox row on its way out."""

    district: str
    #: The idempotency key: the same id again is the same message.
    id: uuid.UUID
    case_id: uuid.UUID | None
    topic: str
    payload: Mapping[str, Any]
    created_at: datetime
    tries: int


class Notifier(Protocol):
    """Takes messages out of the house."""

    def deliver(self, messages: Sequence[Message]) -> Mapping[uuid.UUID, str]:
        """Deliver in the order given; return the failures by message id.

        Must be safe to repeat under the same message id, and must not raise for a single bad message; raises
        Unavailable when nobody is there to deliver to, which is no message's fault and counts as no try.
        """
        ...


def lease(district: str, *, at: datetime, limit: int, bind: Engine | None = None) -> list[Message]:
    """Lease up to `limit` cases' waiting messages (with their followers) and return them in order of writing."""
    with transaction(system(district, "relay"), bind=bind) as session:
        heads = session.execute(_HEADS, {"d": district, "at": at, "n": limit}).all()
        if not heads:
            return []
        rows = session.execute(
            _LEASE,
            {
                "d": district,
                "until": at + LEASE,
                "heads": [row.id for row in heads],
                "cases": [row.case_id for row in heads if row.case_id],
            },
        ).all()
    return [Message(district, *row) for row in sorted(rows, key=lambda row: row.id.int)]


def settle(
    district: str,
    messages: Sequence[Message],
    failures: Mapping[uuid.UUID, str],
    *,
    at: datetime,
    bind: Engine | None = None,
) -> int:
    """Mark what was delivered, count it into the kept figures in the same transaction, and put failures back.

    After a failure the later messages of that case are released untried, so that their order stays. A message that
    failed `MAX_TRIES` times is given up with its reason. Returns how many were marked now.
    """
    blocked: set[uuid.UUID] = set()
    delivered, released = [], []
    with transaction(system(district, "relay"), bind=bind) as session:
        for message in messages:
            if message.id in failures:
                dead = message.tries >= MAX_TRIES
                until = at + _BACKOFF * 2**message.tries
                why = failures[message.id][:500]
                given = {"d": district, "id": message.id, "why": why, "until": until, "dead": dead, "at": at}
                session.execute(_FAIL, given)
                if message.case_id and not dead:
                    blocked.add(message.case_id)
            elif message.case_id in blocked:
                released.append(message.id)
            else:
                delivered.append(message)
        if released:
            session.execute(_RELEASE, {"d": district, "ids": released, "until": None})
        if not delivered:
            return 0
        marked = set(session.execute(_MARK, {"d": district, "ids": [m.id for m in delivered], "at": at}).scalars())
        # Rows that another relay marked after our lease ran out are not counted twice.
        tallies.roll(session, [(m.topic, m.payload) for m in delivered if m.id in marked])
    return len(marked)


def relay(district: str, notifier: Notifier, *, at: datetime, limit: int = 200, bind: Engine | None = None) -> int:
    """Lease a batch, deliver it, settle it; return how many messages were delivered. Safe to run in many places.

    While the other side is down everything waits, however long that takes: an outage gives no message up.
    """
    messages = lease(district, at=at, limit=limit, bind=bind)
    if not messages:
        return 0
    try:
        failures = notifier.deliver(messages)
    except Unavailable:
        with transaction(system(district, "relay"), bind=bind) as session:
            session.execute(_RELEASE, {"d": district, "ids": [m.id for m in messages], "until": at + _PAUSE})
        return 0
    return settle(district, messages, failures, at=at, bind=bind)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits and what was given up."""

    waiting: int
    #: When the oldest waiting message was written; None for none.
    oldest_at: datetime | None
    given_up: int


def backlog(district: str, *, bind: Engine | None = None) -> Backlog:
    """Return how much waits in a district's outbox."""
    with snapshot(system(district, "relay"), bind=bind) as session:
        row = session.execute(
            text(
                "SELECT count(*) FILTER (WHERE delivered_at IS NULL), "
                "min(created_at) FILTER (WHERE delivered_at IS NULL), "
                "count(*) FILTER (WHERE delivered_at IS NOT NULL AND failure IS NOT NULL) "
                "FROM outbox WHERE district_code = :d AND (delivered_at IS NULL OR failure IS NOT NULL)"
            ),
            {"d": district},
        ).one()
    return Backlog(*row)


def prune(district: str, *, before: datetime, limit: int = 5000, bind: Engine | None = None) -> int:
    """Delete delivered messages older than `before`, a batch at a time; what was given up stays."""
    with transaction(system(district, "relay"), bind=bind) as session:
        done = session.execute(
            text(
                "DELETE FROM outbox WHERE district_code = :d AND id IN (SELECT o.id FROM outbox AS o "
                "WHERE o.district_code = :d AND o.delivered_at < :before AND o.failure IS NULL LIMIT :n)"
            ),
            {"d": district, "before": before, "n": limit},
        )
    return int(done.rowcount)  # type: ignore[attr-defined]  # a DELETE answers with a cursor result

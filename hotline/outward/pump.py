"""The pump 投递: leases deliveries that are due, hands each to its adapter, and writes down what came of it.

At least once: a pump that is killed between sending and writing leaves a lease that runs out, and the message goes out
again under the same key. In order for one address and case, except that danger to life waits for nobody; short messages
of one case that come close together go out as one. Never holds a transaction open while the other side is asked.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from core.actor import system
from core.crypto import unseal
from core.db import snapshot, transaction
from core.errors import WanggeError
from hotline.outward import callback, together
from hotline.outward.adapters import Adapter, Later, Outgoing, Refused
from hotline.outward.quiet import Quiet

#: How long a pump may take over its batch; the batch is small enough for the slowest adapters.
LEASE = timedelta(seconds=120)
BATCH = 8
#: After this many tries a delivery is given up and waits in the list for a person.
MAX_TRIES = 8
#: A try that failed waits 2^tries times this, at most a few hours.
_BACKOFF, _LONGEST_WAIT = timedelta(seconds=15), timedelta(hours=4)
#: How long a channel rests whose other side does not answer: that is no message's fault and counts as no try.
_REST = timedelta(seconds=30)
#: After so many failures in a row, whatever the reasons, a channel rests: one slow provider stops no other one.
_STRIKES = 3

_LEASE = text(
    "UPDATE delivery AS d SET leased_until = :until, tries = tries + 1 FROM ("
    " SELECT w.id FROM delivery AS w WHERE w.district_code = :d AND w.state IN ('waiting', 'held') AND w.next_at <= :at"
    " AND (w.leased_until IS NULL OR w.leased_until < :at) AND w.channel = ANY (:channels)"
    " AND (w.urgent OR NOT EXISTS (SELECT 1 FROM delivery AS p WHERE p.district_code = :d"
    "  AND p.recipient = w.recipient AND p.case_id = w.case_id AND p.state IN ('waiting', 'held') AND p.id < w.id))"
    " ORDER BY w.urgent DESC, w.next_at, w.id LIMIT :n FOR UPDATE OF w SKIP LOCKED) AS due"
    " WHERE d.district_code = :d AND d.id = due.id RETURNING d.id, d.channel, d.address_sealed, d.subject,"
    " d.text_sealed, d.tries, d.topic, d.case_id, d.number, d.urgent, d.quiet, d.message_id, d.recipient, d.created_at"
)
#: What goes out with another message is leased with it, and says with which.
_LEASE_ALONG = text(
    "UPDATE delivery SET leased_until = :until, tries = tries + 1, receipt = :mark "
    "WHERE district_code = :d AND id = ANY (:ids) RETURNING id, channel, address_sealed, subject, text_sealed, tries, "
    "topic, case_id, number, urgent, quiet, message_id, recipient, created_at"
)
#: The number of the try is the fence: what a slow pump found out about an older one is not written over a newer one.
_SETTLE = text(
    "UPDATE delivery SET state = :state, next_at = :next_at, leased_until = NULL, sent_at = :sent_at, "
    "reason = :reason, receipt = :receipt, tries = tries - :untried "
    "WHERE district_code = :d AND id = :id AND tries = :tries AND state IN ('waiting', 'held')"
)


@dataclass(frozen=True, slots=True)
class _Leased:
    id: uuid.UUID
    channel: str
    address: bytes
    subject: str
    text: bytes
    tries: int
    topic: str
    case_id: uuid.UUID | None
    number: str
    urgent: bool
    quiet: bool
    message_id: uuid.UUID
    recipient: bytes
    created_at: datetime
    #: Short messages that this one carries along, oldest first.
    along: tuple["_Leased", ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Done:
    """What one run came to."""

    sent: int = 0
    #: Tried and put off, refused or given up.
    failed: int = 0

    def __add__(self, other: "Done") -> "Done":
        return Done(self.sent + other.sent, self.failed + other.failed)


class Pump:
    """Sends a district's deliveries; safe to run in many places."""

    def __init__(
        self,
        adapters: Mapping[str, Adapter],
        *,
        clock: Callable[[], datetime],
        quiet: Callable[[str], Quiet] = lambda _: Quiet(),
        window: Callable[[str], timedelta] = lambda _: together.WINDOW,
        bind: Engine | None = None,
    ) -> None:
        """adapters: by channel. clock: aware; asked before each message.

        quiet, window: a district's hours, and within what time its short messages of one case go out as one.
        """
        self._adapters = adapters
        self._clock = clock
        self._quiet = quiet
        self._window = window
        self._bind = bind
        #: Channels whose other side was down, until when they rest.
        self._resting: dict[str, datetime] = {}
        self._strikes: dict[str, int] = {}

    def run(self, district: str, *, going: Callable[[], bool] = lambda: True) -> Done:
        """Send what is due until nothing is or `going` says stop; return what it came to."""
        total = Done()
        while going():
            leased = self._lease(district)
            if not leased:
                break
            began = self._clock()
            for one in leased:
                if not going() or self._clock() - began > LEASE / 2:
                    self._untried(district, one, "")
                    continue
                total += self._send(district, one)
        return total

    def _lease(self, district: str) -> list[_Leased]:
        at = self._clock()
        channels = [name for name in self._adapters if self._resting.get(name, at) <= at]
        if not channels:
            return []
        until = at + LEASE
        given = {"d": district, "at": at, "until": until, "channels": channels, "n": BATCH}
        with snapshot(system(district, "outward"), bind=self._bind) as session:
            # Most looks find nothing: they write nothing and lock nothing.
            due = text(
                "SELECT 1 FROM delivery WHERE district_code = :d AND state IN ('waiting', 'held') "
                "AND next_at <= :at LIMIT 1"
            )
            if session.execute(due, {"d": district, "at": at}).first() is None:
                return []
        with transaction(system(district, "outward"), bind=self._bind) as session:
            heads = [_Leased(*row) for row in session.execute(_LEASE, given)]
            found = [self._with_others(session, one, until=until, district=district) for one in heads]
        return sorted(found, key=lambda one: (not one.urgent, one.id.int))

    def _with_others(self, session: Session, one: _Leased, *, until: datetime, district: str) -> _Leased:
        """Return a message with the short messages that go out with it, leased like itself. Writes."""
        within = self._window(district)
        if one.channel != "sms" or one.case_id is None or one.urgent or not within:
            return one
        others = together.along(
            session,
            head=one.id,
            case_id=one.case_id,
            to=bytes(one.recipient),
            first=one.tries == 1,
            until=one.created_at + within,
        )
        if not others:
            return one
        try:
            texts = [unseal(sealed, context="delivery.text") for sealed in (one.text, *(each for _, each in others))]
        except WanggeError:
            # Sealed with another key: each ends for itself, with that reason.
            return one
        _, many = together.joined(texts)
        ids = [key for key, _ in others[: many - 1]]
        given = {"d": district, "ids": ids, "until": until, "mark": f"{together.MARK}{one.id}"}
        along = [_Leased(*row) for row in session.execute(_LEASE_ALONG, given)] if ids else []
        return replace(one, along=tuple(sorted(along, key=lambda each: each.id.int)))

    def _send(self, district: str, one: _Leased) -> Done:
        at = self._clock()
        resting = self._resting.get(one.channel, at) > at
        hours = self._quiet(district)
        if one.quiet and not one.urgent and hours.covers(at):
            self._untried(district, one, "", state="held", next_at=hours.end(at))
            return Done()
        if resting:
            self._untried(district, one, "", next_at=self._resting[one.channel])
            return Done()
        try:
            sent = self._adapters[one.channel].send(self._outgoing(district, one))
        except Refused as refused:
            self._settle(district, one, state="refused", reason=refused.reason)
            return Done(failed=1 + len(one.along))
        except Later as later:
            return self._later(district, one, later)
        except WanggeError as error:
            return self._later(district, one, Later(f"{type(error).__name__}: {error}"))
        except (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
            # What one message does to its adapter stops nobody behind it. The kind alone: words may name an address.
            return self._later(district, one, Later(f"unforeseen: {type(error).__name__}"))
        self._strikes[one.channel] = 0
        self._settle(district, one, state="sent", sent_at=self._clock(), receipt=sent.receipt[:100])
        return Done(sent=1 + len(one.along))

    def _outgoing(self, district: str, one: _Leased) -> Outgoing:
        try:
            address = unseal(one.address, context="delivery.address")
            words, _ = together.joined([unseal(each.text, context="delivery.text") for each in (one, *one.along)])
        except WanggeError as error:
            raise Refused("sealed with another key") from error
        extra = {
            "district": district,
            "topic": one.topic,
            "case_id": one.case_id,
            "number": one.number,
            "urgent": one.urgent,
            "message_id": one.message_id,
        }
        return Outgoing(one.id, address, one.subject, words, extra)

    def _later(self, district: str, one: _Leased, later: Later) -> Done:
        at = self._clock()
        self._strikes[one.channel] = self._strikes.get(one.channel, 0) + 1
        if self._strikes[one.channel] >= _STRIKES:
            self._strikes[one.channel] = 0
            self._resting[one.channel] = at + _REST
        if later.down:
            rest = later.after or _REST
            self._resting[one.channel] = at + rest
            self._untried(district, one, later.reason, next_at=at + rest)
        elif one.tries >= MAX_TRIES:
            self._settle(district, one, state="dead", reason=later.reason)
        else:
            wait = max(later.after or timedelta(), min(_BACKOFF * 2**one.tries, _LONGEST_WAIT))
            self._settle(district, one, state="waiting", reason=later.reason, next_at=at + wait)
        return Done(failed=1)

    def _untried(
        self, district: str, one: _Leased, reason: str, *, state: str = "waiting", next_at: datetime | None = None
    ) -> None:
        self._settle(district, one, state=state, reason=reason, next_at=next_at, untried=1)

    def _settle(self, district: str, one: _Leased, *, state: str, **known: Any) -> None:
        """Write down what came of a message and of those that went with it."""
        given = {"sent_at": None, "receipt": None, "next_at": None, "untried": 0} | known
        # The other side's words, of which no table keeps every character.
        given["reason"] = "".join(filter(str.isprintable, known.get("reason") or ""))[:300] or None
        given["next_at"] = known.get("next_at") or self._clock()
        given |= {"d": district, "state": state}
        # Where nothing left the house, the next try may carry others.
        mark = None if given["untried"] else f"{together.MARK}{one.id}"
        with transaction(system(district, "outward"), bind=self._bind) as session:
            for each in (one, *one.along):
                own = {"id": each.id, "tries": each.tries} | ({} if each is one else {"receipt": mark})
                done = session.execute(_SETTLE, given | own)
                # A resident who gets no short message is called, where there is something to be told.
                if state == "refused" and done.rowcount and each.quiet and "callback" in self._adapters:  # type: ignore[attr-defined]  # an UPDATE answers with a cursor result
                    self._call_instead(session, each)

    def _call_instead(self, session: Session, one: _Leased) -> None:
        try:
            address, words = unseal(one.address, context="delivery.address"), unseal(one.text, context="delivery.text")
        except WanggeError:
            return
        callback.instead(
            session,
            address,
            words,
            at=self._clock(),
            message_id=one.message_id,
            topic=one.topic,
            case_id=one.case_id,
            number=one.number,
            urgent=one.urgent,
        )


def prune(district: str, *, before: datetime, limit: int = 5000, bind: Engine | None = None) -> int:
    """Delete what was sent before a moment, a batch at a time; what was refused or given up stays."""
    with transaction(system(district, "outward"), bind=bind) as session:
        done = session.execute(
            text(
                "DELETE FROM delivery WHERE district_code = :d AND id IN (SELECT o.id FROM delivery AS o "
                "WHERE o.district_code = :d AND o.state = 'sent' AND o.sent_at < :before LIMIT :n)"
            ),
            {"d": district, "before": before, "n": limit},
        )
    return int(done.rowcount)  # type: ignore[attr-defined]  # a DELETE answers with a cursor result

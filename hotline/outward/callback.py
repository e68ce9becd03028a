"""An answer told by telephone 回电: the delivery becomes a task of the call-back list, where its outcome stands."""

import uuid
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.actor import system
from core.crypto import seal
from core.db import actor_of, transaction
from core.errors import Invalid
from core.ids import new_id
from hotline.outward import templates
from hotline.outward.adapters import Outgoing, Refused, Sent, checked_address, recipient, shown
from hotline.outward.models import Delivery
from hotline.telephone import callbacks


class CallBackTask:
    """Puts messages on the call-back list."""

    name = "callback"

    def __init__(
        self,
        *,
        clock: Callable[[], datetime],
        rules: Callable[[str], callbacks.Rules] = lambda _: callbacks.Rules(),
        bind: Engine | None = None,
    ) -> None:
        """clock: aware. rules: of a district, at which hours people are rung up."""
        self._clock = clock
        self._rules = rules
        self._bind = bind

    def send(self, message: Outgoing) -> Sent:
        """Ask for a call; the same key asks once. Raises Refused."""
        district = str(message.extra["district"])
        rules = self._rules(district)
        try:
            with transaction(system(district, "outward"), bind=self._bind) as session:
                made = callbacks.add(
                    session,
                    key=str(message.key),
                    phone=message.address,
                    words=message.text,
                    at=self._clock(),
                    case_id=message.extra.get("case_id"),
                    rules=rules,
                )
        except Invalid as error:
            raise Refused("no telephone number") from error
        return Sent(str(made or ""))


def instead(
    session: Session,
    phone: str,
    words: str,
    *,
    at: datetime,
    message_id: uuid.UUID,
    topic: str,
    case_id: uuid.UUID | None,
    number: str,
    urgent: bool,
) -> bool:
    """Write the call-back that stands for a refused short message, once; return whether there is one to be made.

    Called is for what is told on the telephone at all: topics with words for the call-back. Writes; caller commits.
    """
    if templates.read(session).find(topic, "callback") is None:
        return False
    try:
        address = checked_address("callback", phone)
    except Invalid:
        return False
    row = {
        "district_code": actor_of(session).district,
        "id": new_id(),
        "message_id": message_id,
        "topic": topic,
        "case_id": case_id,
        "number": number,
        "channel": "callback",
        "recipient": recipient("callback", address),
        "address_sealed": seal(address, context="delivery.address"),
        "shown": shown("callback", address),
        "text_sealed": seal(words, context="delivery.text"),
        "urgent": urgent,
        "state": "waiting",
        "created_at": at,
        "next_at": at,
    }
    done = session.execute(insert(Delivery).values(row).on_conflict_do_nothing().returning(Delivery.id))
    return done.first() is not None

"""An answer told by telephone 回电: the delivery becomes a task of the call-back list, where its outcome stands."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Engine

from core.actor import system
from core.db import transaction
from core.errors import Invalid
from hotline.outward.adapters import Outgoing, Refused, Sent
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

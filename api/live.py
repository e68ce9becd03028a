"""Where outbox messages go: the live feed, a Redis stream per district that pages and other systems may follow.

The message id is the idempotency key: a message that was delivered but not marked, because its relay died, is not
added twice within the time that ids are remembered.
"""

import logging
import uuid
from collections.abc import Mapping, Sequence

import orjson
import redis

from core.errors import Unavailable
from dispatch.outbox import Message

#: Messages that the stream keeps, about; who was away longer reads the tables.
_KEPT = 10_000
#: How long a delivered id is remembered: longer than any lease and outage that is mended.
_REMEMBERED_S = 2 * 24 * 3600
_ADD = (
    "if redis.call('SET', KEYS[2], 1, 'NX', 'EX', ARGV[1]) then "
    "return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'id', ARGV[3], 'case', ARGV[4], "
    "'topic', ARGV[5], 'payload', ARGV[6], 'at', ARGV[7]) else return false end"
)

_log = logging.getLogger(__name__)


def stream(district: str) -> str:
    """Return the name of a district's stream."""
    return f"wangge:{district}:feed"


def connect(url: str) -> redis.Redis:
    """Return a client for a broker address; understands kombu's `redis+socket://` for unix sockets."""
    return redis.Redis.from_url(url.replace("redis+socket://", "unix://"), socket_timeout=5, decode_responses=False)


class LiveFeed:
    """Delivers to a Redis stream."""

    def __init__(self, url: str) -> None:
        """Connect on first use."""
        self._client = connect(url)

    def deliver(self, messages: Sequence[Message]) -> Mapping[uuid.UUID, str]:
        """Add the messages to their districts' streams in order, each id once; return failures by id.

        Raises Unavailable when the broker does not answer.
        """
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for message in messages:
                    pipe.eval(
                        _ADD,
                        2,
                        stream(message.district),
                        f"wangge:sent:{message.id}",
                        _REMEMBERED_S,
                        _KEPT,
                        str(message.id),
                        str(message.case_id or ""),
                        message.topic,
                        orjson.dumps(message.payload),
                        message.created_at.isoformat(),
                    )
                answers = pipe.execute(raise_on_error=False)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            _log.warning("the live feed does not answer: %s", error)
            raise Unavailable("The broker cannot be reached at the moment.") from error
        except redis.RedisError as error:
            return {message.id: str(error) for message in messages}
        return {
            message.id: str(answer)
            for message, answer in zip(messages, answers, strict=True)
            if isinstance(answer, redis.RedisError)
        }


class LogOnly:
    """Delivers to the log, where the broker is not a Redis."""

    def deliver(self, messages: Sequence[Message]) -> Mapping[uuid.UUID, str]:
        """Write one line a message."""
        for message in messages:
            _log.info("%s %s %s", message.topic, message.id, message.case_id)
        return {}

"""Chat robots 群机器人 of WeCom, DingTalk and Feishu, through apprise. The address is the robot's as apprise has it.

Robots honour no key: a message whose answer was lost may stand in the group twice. They say no in an answer of status
200, which apprise takes for a yes; so the answer is listened to here.
"""

import importlib
import json
import logging
import threading
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from core.errors import Invalid
from hotline.outward.adapters import Later, Outgoing, Refused, Sent, checked_address

#: apprise's modules of the robots; each speaks through the `requests` that it imported.
_PLUGINS: Final = ("wecombot", "dingtalk", "feishu", "lark")
#: Members of the answer that hold the result, by whichever robot; 0 is yes.
_RESULTS: Final = ("errcode", "code", "StatusCode")
#: What the robot asked last answered in this thread.
_heard = threading.local()


class _Listening:
    """Stands where a plugin of apprise has `requests`, and keeps what was answered."""

    def __init__(self, requests: Any) -> None:
        self._requests = requests

    def __getattr__(self, name: str) -> Any:
        return getattr(self._requests, name)

    def post(self, *given: Any, **named: Any) -> Any:
        """Post, and remember the answer."""
        answer = self._requests.post(*given, **named)
        _heard.answer = (answer.status_code, answer.content[:65_536])
        return answer


@cache
def _listen() -> None:
    """Put the listener where apprise's robots speak, once a process."""
    for name in _PLUGINS:
        plugin: Any = importlib.import_module(f"apprise.plugins.{name}")
        plugin.requests = _Listening(plugin.requests)


class Chat:
    """Sends to the robot of one kind of chat."""

    def __init__(self, name: str) -> None:
        """name: wecom, dingtalk or feishu."""
        self.name = name

    def send(self, message: Outgoing) -> Sent:
        """Post one message as plain text. Raises Refused and Later."""
        # Seconds to import, and nobody but the worker needs it.
        import apprise

        # It logs addresses with their tokens.
        logging.getLogger("apprise").setLevel(logging.CRITICAL)
        _listen()
        try:
            address = checked_address(self.name, message.address)
        except Invalid as error:
            raise Refused("no address of a robot") from error
        robot = apprise.Apprise.instantiate(address, suppress_exceptions=True)
        if not isinstance(robot, apprise.NotifyBase):
            raise Refused("no address of a robot")
        robot.socket_connect_timeout = robot.socket_read_timeout = 5.0
        _heard.answer = None
        done = robot.notify(body=message.text, title=message.subject, body_format=apprise.NotifyFormat.TEXT)
        _judge(done=bool(done), answer=_heard.answer)
        return Sent()


def _judge(*, done: bool, answer: tuple[int, bytes] | None) -> None:
    """Raise Later unless the robot said yes; which failures are for good, the tries tell."""
    if answer is None:
        raise Later("the robot cannot be reached")
    status, body = answer
    if not done:
        raise Later(f"the robot did not take it: status {status}")
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Later("the answer is not whole") from error
    results = [told[name] for name in _RESULTS if name in told] if isinstance(told, Mapping) else []
    if not results or results[0] not in (0, "0"):
        raise Later(f"the robot did not take it: {str(results[0])[:40] if results else 'no result'}")

"""Chat robots 群机器人 of WeCom, DingTalk and Feishu, through apprise. The address is the robot's as apprise has it.

Robots honour no key: a message whose answer was lost may stand in the group twice.
"""

import logging

from core.errors import Invalid
from hotline.outward.adapters import Later, Outgoing, Refused, Sent, checked_address


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
        try:
            address = checked_address(self.name, message.address)
        except Invalid as error:
            raise Refused("no address of a robot") from error
        robot = apprise.Apprise.instantiate(address, suppress_exceptions=True)
        if not isinstance(robot, apprise.NotifyBase):
            raise Refused("no address of a robot")
        robot.socket_connect_timeout = robot.socket_read_timeout = 5.0
        done = robot.notify(body=message.text, title=message.subject, body_format=apprise.NotifyFormat.TEXT)
        if not done:
            # apprise says no more than that it failed; which of the two it was, the tries tell.
            raise Later("the robot did not take it")
        return Sent()

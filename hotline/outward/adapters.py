"""The seam to the other side 外发通道: what an adapter gets, gives and raises; checked addresses. Sends nothing."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from core.crypto import blind_index
from core.errors import Invalid
from dispatch.words import N_

#: Ways out, in the order of lists.
CHANNELS: Final = ("sms", "mail", "wecom", "dingtalk", "feishu", "weibo", "callback")
#: Chat robots: channel → schemes of apprise addresses that it takes.
CHATS: Final[Mapping[str, tuple[str, ...]]] = {
    "wecom": ("wecombot",),
    "dingtalk": ("dingtalk",),
    "feishu": ("feishu", "lark"),
}
#: Longest address of any kind.
_LONGEST = 300
#: Mobile numbers of the mainland; landlines take no short message.
_MOBILE = re.compile(r"(?:\+?86)?(1\d{10})")
_PHONE = re.compile(r"\+?\d{6,20}")
#: The common part of RFC 5321 that Chinese offices use; no quoted names, no routes, no spaces.
_MAIL = re.compile(
    r"[0-9A-Za-z](?:[0-9A-Za-z._%+\-]{0,62}[0-9A-Za-z])?@(?:[0-9A-Za-z](?:[0-9A-Za-z\-]{0,61}[0-9A-Za-z])?\.)+[A-Za-z]{2,24}"
)
_POST = re.compile(r"[0-9A-Za-z_:\-]{1,100}")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message for one address."""

    #: The same key again is the same message; adapters hand it on where the other side can honour it.
    key: uuid.UUID
    address: str
    #: One line; empty where the channel has none.
    subject: str
    text: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sent:
    """The other side took it."""

    #: What the other side calls it; empty where it says nothing.
    receipt: str = ""


class Refused(Exception):
    """The other side will never take this message; `reason` is short and names no address."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Later(Exception):
    """Not taken now. after: how long to wait at least, None for the usual; down: nobody answers whatever is sent."""

    def __init__(self, reason: str, after: timedelta | None = None, *, down: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after
        self.down = down


class Adapter(Protocol):
    """Takes messages of one channel out of the house."""

    name: str

    def send(self, message: Outgoing) -> Sent:
        """Send one message; must be safe to repeat under the same key. Raises Refused or Later."""
        ...


def mobile(phone: str) -> str:
    """Return the eleven digits of a mobile number, empty for a landline or no number at all."""
    found = _MOBILE.fullmatch(re.sub(r"[ \-]", "", phone))
    return found[1] if found else ""


def checked_address(channel: str, address: str) -> str:
    """Return an address as its channel writes it; raises Invalid for what is none."""
    plain = address.strip()
    fault = Invalid(N_("This address does not fit the channel."), field="address")
    if not plain or len(plain) > _LONGEST or not plain.isprintable():
        raise fault
    if channel == "sms":
        plain = mobile(plain)
    elif channel == "callback":
        plain = re.sub(r"[ \-]", "", plain)
        plain = plain if _PHONE.fullmatch(plain) else ""
    elif channel == "mail":
        plain = plain if _MAIL.fullmatch(plain) else ""
    elif channel == "weibo":
        plain = plain if _POST.fullmatch(plain) else ""
    elif channel in CHATS:
        plain = plain if _is_chat(channel, plain) else ""
    else:
        plain = ""
    if not plain:
        raise fault
    return plain


def _is_chat(channel: str, address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    # Options of apprise addresses can name files and other hosts: a robot's address needs none.
    plain = not parts.query and not parts.fragment and " " not in address
    return plain and parts.scheme in CHATS[channel] and bool(parts.netloc)


def shown(channel: str, address: str) -> str:
    """Return an address as lists show it: enough to tell two apart, too little to use."""
    if channel in ("sms", "callback"):
        return f"{address[:3]}{'*' * max(1, len(address) - 7)}{address[-4:]}" if len(address) > 7 else "***"
    if channel == "mail":
        name, _, host = address.partition("@")
        return f"{name[:2]}***@{host}"
    if channel in CHATS:
        return f"{urlsplit(address).scheme}://***{address.rstrip('/')[-4:]}"
    return address[-6:].rjust(len(address[:12]), "*")


def recipient(channel: str, address: str) -> bytes:
    """Return the blind index by which deliveries to one address are told to be so."""
    return blind_index(f"{channel}\x1f{address}", context="delivery.address")

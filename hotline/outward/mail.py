"""E-mail 电子邮件: plain text over SMTP with TLS, one connection a message, under a Message-ID made of the key.

A receiver that remembers ids shows a message that came twice once. Headers are made by the standard library's policy,
which refuses line ends in them; addresses are checked before.
"""

import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from core.errors import Invalid
from dispatch.words import N_
from hotline.outward.adapters import Later, Outgoing, Refused, Sent, checked_address


@dataclass(frozen=True, slots=True)
class MailSettings:
    """The house's mail server."""

    host: str
    port: int
    #: The address that mails come from.
    sender: str
    user: str = ""
    password: str = ""
    #: `starttls`, `tls` (from the first byte) or, on this machine only, `none`.
    tls: str = "starttls"
    timeout_s: float = 8.0

    def check(self) -> None:
        """Raise Invalid for what cannot be used."""
        checked_address("mail", self.sender)
        local = self.host in ("127.0.0.1", "::1", "localhost")
        if self.tls not in ("starttls", "tls", "none") or (self.tls == "none" and not local):
            raise Invalid(N_("Mail leaves this machine over TLS only."), field="tls")
        if not self.host or not 0 < self.port < 65536:
            raise Invalid(N_("The mail server cannot be read."), field="host")


class Smtp:
    """Sends through the house's mail server."""

    name = "mail"

    def __init__(
        self, told: MailSettings, *, clock: Callable[[], datetime], trust: ssl.SSLContext | None = None
    ) -> None:
        """clock: aware; the date of mails. trust: whose certificates are believed; the system's by default."""
        told.check()
        self._told = told
        self._clock = clock
        self._trust = trust or ssl.create_default_context()

    def send(self, message: Outgoing) -> Sent:
        """Send one mail. Raises Refused and Later."""
        mail = self._mail(message)
        try:
            with self._connected() as server:
                failed = server.send_message(mail)
        except smtplib.SMTPRecipientsRefused as error:
            code = next(iter(error.recipients.values()), (0, b""))[0]
            raise _judged(code) from error
        except smtplib.SMTPAuthenticationError as error:
            # A wrong password is the house's fault and no message's.
            raise Later("the mail server does not know us", down=True) from error
        except smtplib.SMTPResponseException as error:
            raise _judged(error.smtp_code) from error
        except smtplib.SMTPNotSupportedError as error:
            raise Later("the mail server offers no TLS", down=True) from error
        except (ConnectionRefusedError, ssl.SSLError, smtplib.SMTPConnectError) as error:
            raise Later(f"the mail server cannot be reached: {type(error).__name__}", down=True) from error
        except (smtplib.SMTPException, OSError) as error:
            raise Later(f"the mail server broke off: {type(error).__name__}") from error
        if failed:
            raise _judged(next(iter(failed.values()))[0])
        return Sent(str(mail["Message-ID"])[:100])

    def _mail(self, message: Outgoing) -> EmailMessage:
        try:
            address = checked_address("mail", message.address)
            mail = EmailMessage(policy=SMTP)
            mail["From"] = self._told.sender
            mail["To"] = address
            mail["Subject"] = message.subject or "网格平台通知"
            mail["Date"] = format_datetime(self._clock())
            mail["Message-ID"] = f"<{message.key}@{self._told.sender.partition('@')[2]}>"
            # Nobody's out-of-office answers a machine.
            mail["Auto-Submitted"] = "auto-generated"
            mail.set_content(message.text)
        except (Invalid, ValueError) as error:
            raise Refused("address or subject cannot be written into a header") from error
        return mail

    def _connected(self) -> smtplib.SMTP:
        told = self._told
        server: smtplib.SMTP
        if told.tls == "tls":
            server = smtplib.SMTP_SSL(told.host, told.port, timeout=told.timeout_s, context=self._trust)
        else:
            server = smtplib.SMTP(told.host, told.port, timeout=told.timeout_s)
        try:
            if told.tls == "starttls":
                server.starttls(context=self._trust)
            if told.user:
                server.login(told.user, told.password)
        except BaseException:
            # Whatever ended it, an interrupt too: no open line to the server is left behind.
            server.close()
            raise
        return server


def _judged(code: int) -> Refused | Later:
    return Refused(f"SMTP {code}") if 500 <= code < 600 else Later(f"SMTP {code}")

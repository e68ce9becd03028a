"""The five kinds of failure that callers tell apart; knows nothing of HTTP and nothing of languages.

A message is an English template that stands in the gettext catalogue; whoever shows it translates it and fills in the
parameters. That way one `raise` serves the Chinese page, the English page, the JSON API and the log.
"""

from typing import Any


class WanggeError(Exception):
    """A failure that a person can be told about.

    message: English template with `{name}` placeholders, the key of the gettext catalogue.
    params: what fills the placeholders; plain JSON values, never personal data.
    field: the name of the form field or JSON member at fault, where there is one.
    """

    def __init__(self, message: str, /, *, field: str | None = None, **params: Any) -> None:
        self.message = message
        self.field = field
        self.params = params
        super().__init__(message)

    def __str__(self) -> str:
        """Return the English sentence, filled in."""
        return self.message.format_map(self.params) if self.params else self.message


class NotFound(WanggeError):
    """The thing asked for does not exist, or the actor may not know that it does."""


class Forbidden(WanggeError):
    """The actor may not do this; nothing was changed."""


class Conflict(WanggeError):
    """Somebody else was faster, or the matter is no longer in the state that the actor saw; nothing was changed."""


class Invalid(WanggeError):
    """The input cannot be taken as it is; nothing was changed."""


class Unavailable(WanggeError):
    """Something the program needs is down; nothing was changed and the same call may succeed later."""

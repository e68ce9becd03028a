"""The documents of the phone's queue: an action as it comes in, and what it is answered with. `docs/field-api.md`."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, Field

from api import security
from api.routes.documents import Model, Text
from core.errors import Invalid

KINDS = ("report", "step", "same", "visit", "patrol", "checkin", "apply", "quiz")
#: Most actions of one sync, photos of one action, and positions of one piece of a track.
MOST_ACTIONS, MOST_PHOTOS, MOST_POINTS = 250, 12, 500
_DEEPEST = 4
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _clean(value: Any, depth: int = 0) -> Any:
    """Return a JSON value whose every text can be read and stored; raises Invalid."""
    if isinstance(value, str) and not security.is_clean(value):
        raise Invalid("The text contains characters that cannot be read; type it again.")
    if depth > _DEEPEST:
        raise Invalid("The form or document that was sent is damaged or incomplete.")
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        _clean(part, depth + 1)
    return value


class Position(Model):
    """Where the phone was, WGS84."""

    lng: Annotated[_Number, Field(ge=-180, le=180)]
    lat: Annotated[_Number, Field(ge=-90, le=90)]
    accuracy: Annotated[_Number, Field(ge=0, le=1e7)] | None = None
    at: AwareDatetime | None = None
    #: The phone says that a test setting made it.
    mock: bool = False


class PhotoNamed(Model):
    """A photo that was sent ahead, and what it shows."""

    key: _Hash
    purpose: Literal["report", "before", "after", "evidence"] | None = None


class Action(Model):
    """One thing that a worker did."""

    key: uuid.UUID
    kind: Literal["report", "step", "same", "visit", "patrol", "checkin", "apply", "quiz"]
    happened_at: AwareDatetime | None = None
    #: The phone's clock minus the server's when it happened, where the phone knew.
    offset_s: Annotated[_Number, Field(ge=-4e8, le=4e8)] | None = None
    position: Position | None = None
    case: Annotated[Text, Field(max_length=40)] | None = None
    of: uuid.UUID | None = None
    base_version: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    photos: Annotated[list[PhotoNamed | _Hash], Field(max_length=MOST_PHOTOS)] = Field(default_factory=list)
    voice: Annotated[list[_Hash], Field(max_length=3)] = Field(default_factory=list)
    fields: Annotated[dict[str, Any], Field(max_length=60), AfterValidator(_clean)] = Field(default_factory=dict)

    @property
    def named(self) -> list[PhotoNamed]:
        """The photos, each with its purpose or none."""
        return [one if isinstance(one, PhotoNamed) else PhotoNamed(key=one) for one in self.photos]


class Envelope(Model):
    """What a phone sends: actions are looked at one by one, so that one that cannot be read stops no other."""

    device: Annotated[Text, Field(max_length=80)] = ""
    phone_time: AwareDatetime
    actions: Annotated[list[Any], Field(max_length=MOST_ACTIONS)]


class Result(Model):
    """What became of one action."""

    key: str
    kind: str = ""
    status: Literal["done", "repeated", "conflict", "refused", "retry"]
    #: Why, for a program: key_reused, depends, gone, stale, unknown_photo, busy, unavailable, waits, not_settled.
    code: str = ""
    #: Why, for the worker.
    message: str = ""
    field: str = ""
    number: str = ""
    id: uuid.UUID | None = None
    version: int | None = None
    state: str = ""
    state_label: str = ""
    #: What the worker should know beside it.
    notes: list[str] = Field(default_factory=list)
    #: Photos to send first.
    photos: list[str] = Field(default_factory=list)
    #: What an action of this kind answers besides.
    more: dict[str, Any] = Field(default_factory=dict)
    #: The case as it is now, where somebody was faster.
    server: dict[str, Any] | None = None


class Answer(Model):
    """What a phone is answered."""

    server_time: datetime
    #: The phone's clock minus the server's, in seconds.
    offset_s: float
    results: list[Result]

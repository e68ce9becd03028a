"""The JSON documents of the API: what comes in is closed and cleaned, what goes out is named member by member."""

import uuid
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from api import security
from core.errors import Invalid
from dispatch import views


def _clean(value: str) -> str:
    if not security.is_clean(value):
        raise Invalid("The text contains characters that cannot be read; type it again.")
    return value


Text = Annotated[str, AfterValidator(_clean)]


class Model(BaseModel):
    """A JSON document of which every member is known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Point(Model):
    """A point that says what it is measured in."""

    lng: float = Field(allow_inf_nan=False)
    lat: float = Field(allow_inf_nan=False)
    datum: Text = Field(max_length=20, description="WGS84, CGCS2000, GCJ-02 or BD-09")


class NewReport(Model):
    """A report as somebody says it."""

    text: Text = Field(max_length=10_000)
    title: Text = Field("", max_length=200)
    channel: Literal["web", "hotline", "weibo", "window", "open311", "patrol"] = "web"
    source_id: Text | None = Field(None, max_length=200)
    reported_at: AwareDatetime | None = None
    point: Point | None = None
    name: Text | None = Field(None, max_length=50)
    phone: Text | None = Field(None, max_length=20)
    category: Text | None = Field(None, max_length=40, description="Only from staff: the program then does not guess.")
    event: Literal["event", "part"] = Field(
        "event", description="What a grid worker found on patrol: a happening, or a piece of city furniture."
    )


class ReceiptOut(Model):
    """What the reporter gets."""

    number: str
    access_code: str
    state: str
    unit: str | None
    unit_name: str | None
    due_at: datetime | None
    due_clock: str | None
    town: str | None
    cell: str | None
    repeated: bool
    emergency: bool
    call: str


class MatchOut(Model):
    """A place that the text may mean; WGS84."""

    lng: float
    lat: float
    radius_m: float
    confidence: float
    kind: str
    name: str
    town: str
    why: str
    line: list[tuple[float, float]] = Field(default=[], description="Course of a stretch; its middle is the point.")


class CategoryOut(Model):
    """A category that the text may be about."""

    code: str
    name: str
    probability: float


class UnderstandingOut(Model):
    """What the program makes of a text; nothing was kept."""

    status: str
    why: str
    matches: list[MatchOut]
    town: str | None
    cell: str | None
    kind: str
    level1: str | None
    category: str | None
    categories: list[CategoryOut]
    urgency: str
    #: Words of the text that decided the category, and those that raised the urgency.
    words: list[str]
    urgency_words: list[str]
    #: Version of the model that answered.
    model: str
    unit: str | None
    doubts: list[str]


class TextIn(Model):
    """A text, perhaps with a point."""

    text: Text = Field(max_length=10_000)
    title: Text = Field("", max_length=200)
    point: Point | None = None


class StepOut(Model):
    """A step of the public view."""

    action: str
    state: str
    at: datetime


class ProgressOut(Model):
    """How far a matter is."""

    number: str
    state: str
    open: bool
    kind: str
    received_at: datetime
    closed_at: datetime | None
    category: str | None
    town: str | None
    unit: str | None
    steps: list[StepOut]
    own: bool
    text: str = ""
    answer: str | None = None
    due_at: datetime | None = None
    satisfaction: int | None = None


class CaseOut(Model):
    """One line of the worklist. Coordinates are CGCS2000 (EPSG:4490), longitude first."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    number: str
    state: str
    version: int
    open: bool
    kind: str
    channel: str
    urgency: str
    title: str
    excerpt: str
    category_code: str | None
    category_name: str | None
    place_name: str
    place_confidence: float | None
    town_code: str | None
    cell_code: str | None
    unit_code: str | None
    unit_name: str | None
    received_at: datetime
    due_at: datetime | None
    due_clock: str | None
    colour: int
    returns: int
    lng: float | None
    lat: float | None


class CasePage(Model):
    """A page of the worklist; `after` leads to the next one."""

    cases: list[CaseOut]
    after: str | None
    count: int
    more: bool


class FieldOut(Model):
    """One field of a step's form."""

    name: str
    kind: str
    label: str
    needed: bool
    #: Code → words, where only those are taken.
    choices: dict[str, str]
    help: str
    #: Needed too when that field has one of those values.
    needed_if: dict[str, list[str]]


class ActionOut(Model):
    """A step that is on offer now, and what it asks."""

    action: str
    label: str
    term: str
    target: str
    needs: list[str]
    may: list[str]
    reason_required: bool
    meaning: str
    fields: list[FieldOut]


_Name = Annotated[Text, Field(max_length=40)]
_Words = Annotated[Text, Field(max_length=5000)]
_Plain = _Words | bool | float | None
#: What a field may hold: text, number, a list of codes, or a list of rows.
Value = (
    _Plain | Annotated[list[_Words], Field(max_length=50)] | Annotated[list[dict[_Name, _Plain]], Field(max_length=50)]
)


class ActionIn(Model):
    """A step to take."""

    action: Text = Field(max_length=40)
    expected_version: int | None = Field(None, ge=1, le=1_000_000_000)
    happened_at: AwareDatetime | None = None
    fields: dict[_Name, Value] = Field(default_factory=dict, max_length=30)


class BulkIn(Model):
    """The same step on many cases, each with the version that was seen; each is taken or refused by itself."""

    action: Text = Field(max_length=40)
    cases: list["SeenCase"] = Field(min_length=1, max_length=100)
    fields: dict[_Name, Value] = Field(default_factory=dict, max_length=30)


class SeenCase(Model):
    """A case and the version that the caller saw."""

    number: Text = Field(max_length=30)
    expected_version: int = Field(ge=1, le=1_000_000_000)


class BulkOut(Model):
    """What became of one case of many."""

    number: str
    done: bool
    state: str = ""
    version: int = 0
    #: Why not, in words.
    problem: str = ""


class StateOut(Model):
    """A state of a process."""

    name: str
    label: str
    term: str
    open: bool
    final: bool
    meaning: str


class StepRowOut(Model):
    """One step of a process table."""

    action: str
    label: str
    term: str
    source: str
    target: str
    roles: list[str]
    who: str
    needs: list[str]
    may: list[str]
    reason_required: bool
    guards: list[str]
    starts: list[str]
    stops: list[str]
    holds: list[str]
    resumes: list[str]
    cap: int | None


class ProcessOut(Model):
    """A process table."""

    name: str
    version: int
    label: str
    kinds: list[str]
    initial: str
    states: list[StateOut]
    steps: list[StepRowOut]
    clocks: dict[str, str]


class DayOut(Model):
    """One day on the way to a deadline."""

    day: date
    counted: bool
    why: str
    name: str
    ran_s: float
    stood_s: float


class NoticeOut(Model):
    """A year's notice of holidays; no source where none is known yet."""

    year: int
    source: str


class PauseOut(Model):
    """A span in which a clock stood."""

    reason: str
    started_at: datetime
    ended_at: datetime | None


class PhotoOut(Model):
    """A photo that was taken in."""

    id: uuid.UUID
    sha256: str


class ClockOut(Model):
    """A clock of a case, and why it is due then."""

    clock: str
    unit: str | None
    limit: str
    legal_limit: str | None
    started_at: datetime
    due_at: datetime
    legal_due_at: datetime | None
    provisional: bool
    held_at: datetime | None
    stopped_at: datetime | None
    outcome: str | None
    extra: list[str]
    pauses: list[PauseOut]
    #: The State Council's notices that the days were counted by; a year without one counts weekends alone.
    notices: list[NoticeOut]
    days: list[DayOut]


class DoneOut(Model):
    """What a step led to."""

    number: str
    state: str
    version: int
    entry: int


class Named(Model):
    """A thing with a code and a name."""

    code: str
    name: str
    parent: str | None
    kind: str


class Credentials(Model):
    """Login and password of an account."""

    login: Text = Field(max_length=40)
    password: str = Field(max_length=200)


class TokenOut(Model):
    """A bearer token."""

    token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  the kind, not the token
    expires_in: int


class Listed(Model):
    """What of the worklist is asked for."""

    box: Text = Field("open", max_length=20, description="waiting, running, answered, open, ended, all")
    unit: Text = Field("", max_length=40)
    town: Text = Field("", max_length=9)
    cell: Text = Field("", max_length=15)
    category: Text = Field("", max_length=40)
    kind: Text = Field("", max_length=20)
    urgency: Text = Field("", max_length=20)
    colour: int | None = Field(None, ge=0, le=3)
    search: Text = Field("", max_length=100)
    sort: views.Sort = views.Sort.DUE
    after: Text | None = Field(None, max_length=200)
    limit: int = Field(50, ge=1, le=views.MAX_PAGE)

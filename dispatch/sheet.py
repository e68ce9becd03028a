"""One case in full 工单: facts, log, clocks with their pauses, shares, pleas, supervision, what was merged, reports.

Also the public view by number. `dispatch.identity` masks and opens personal data. Knows the tables that hang on a case;
worklists are `dispatch.views`, changes are `dispatch.cases`.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, select
from sqlalchemy.orm import Session, aliased

from core.db import actor_of, pin_case
from core.errors import NotFound
from dispatch import stranger
from dispatch.guards import ACTIVE
from dispatch.identity import Opened, called
from dispatch.models import (
    Assignment,
    Attachment,
    Case,
    Deadline,
    DeadlineChange,
    Disclosure,
    Entry,
    Pause,
    Plea,
    Report,
    Supervision,
)
from dispatch.views import visible_to
from grid.models import Area, Category, Cell, Unit

#: What a closing form says beside the answer.
CLOSING = ("truth", "duty", "contacted", "solved", "unsolved_reason")
#: Log entries that one page shows; a case with more is shown from its end.
MAX_ENTRIES = 500
#: Rows of every other part of a sheet; no case has honest use for more.
MAX_PARTS = 200


@dataclass(frozen=True, slots=True)
class Facts:
    """The case's own row, with the names that stand beside its codes."""

    id: uuid.UUID
    number: str
    process: str
    process_version: int
    state: str
    version: int
    open: bool
    kind: str
    channel: str
    urgency: str
    title: str
    text: str
    category_code: str | None
    category_confidence: float | None
    category_by: str | None
    category_name: str | None
    #: Name of the category's parent, for a path such as 市容环境 / 垃圾.
    category_parent: str | None
    place_name: str
    place_by: str | None
    place_confidence: float | None
    #: Metres within which the place is meant.
    radius_m: float | None
    #: EPSG:4490.
    lng: float | None
    lat: float | None
    source_datum: str | None
    source_lng: float | None
    source_lat: float | None
    town_code: str | None
    town_name: str | None
    community_code: str | None
    community_name: str | None
    #: The cell it was reported in, and the one that its place lies in today; they differ after the grid was redrawn.
    cell_code: str | None
    cell_now: str | None
    unit_code: str | None
    unit_name: str | None
    reported_at: datetime
    received_at: datetime
    due_at: datetime | None
    due_clock: str | None
    warned: int
    returns: int
    complex: bool
    bound: bool
    supervised: bool
    plea: str | None
    closed_at: datetime | None
    duplicate_of: uuid.UUID | None
    duplicate_number: str | None
    merged_into: uuid.UUID | None
    #: Number of the main case; None too where the actor may not see it.
    main_number: str | None
    answer: str | None
    satisfaction: int | None
    suggestions: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """What one reporter said. Personal data is masked; `dispatch.identity` opens it."""

    id: uuid.UUID
    channel: str
    text: str
    received_at: datetime
    #: `张**` and `138****1234`, for units an alias and nothing; empty where nothing was given or the role sees none.
    name: str
    phone: str


@dataclass(frozen=True, slots=True)
class Logged:
    """One entry of the log."""

    seq: int
    action: str
    actor_name: str
    actor_role: str
    unit_name: str | None
    happened_at: datetime
    recorded_at: datetime
    late: bool
    state_before: str | None
    state_after: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Share:
    """One unit's share 派单."""

    id: uuid.UUID
    unit_code: str
    unit_name: str
    share: str
    state: str
    why: Mapping[str, Any]
    #: The lead waits for it.
    needed: bool
    task: str
    opinion: str | None
    created_at: datetime
    signed_at: datetime | None
    ended_at: datetime | None

    @property
    def active(self) -> bool:
        """Whether the unit still answers for it."""
        return self.state in ACTIVE


@dataclass(frozen=True, slots=True)
class PauseRow:
    """A span in which one clock stood 挂起; open while `ended_at` is None."""

    deadline_id: uuid.UUID
    reason_code: str
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class PleaRow:
    """What a unit asked of the centre, and who decided."""

    kind: str
    unit_code: str
    unit_name: str
    asked_name: str
    asked_at: datetime
    reason_code: str
    reason: str
    evidence: Mapping[str, Any]
    span: str
    state: str
    decided_name: str | None
    decided_at: datetime | None
    ruling: str | None


@dataclass(frozen=True, slots=True)
class Order:
    """A supervision 督办 of the case."""

    unit_code: str
    unit_name: str
    demand: str
    state: str
    issued_name: str
    issued_at: datetime
    answer: str | None
    answered_name: str | None
    answered_at: datetime | None
    ruling: str | None
    closed_name: str | None
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Merged:
    """A case that was merged into this one; its caller is answered and asked separately."""

    number: str
    state: str
    channel: str
    received_at: datetime
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Moved:
    """A clock's due time was computed again, and why."""

    changed_at: datetime
    old_due_at: datetime
    new_due_at: datetime
    why: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ClockRow:
    """One clock 时限: what `dispatch.limits.due` needs to say why it is due then."""

    id: uuid.UUID
    clock: str
    unit_code: str | None
    unit_name: str | None
    #: As written in the rules: 4wh, 5wd, 24h…
    limit: str
    started_at: datetime
    half_at: datetime
    near_at: datetime
    due_at: datetime
    provisional: bool
    fired: int
    rung: int
    stopped_at: datetime | None
    outcome: str | None
    #: The share that it measures; None for clocks of the whole case.
    assignment_id: uuid.UUID | None
    #: Extensions granted, in order.
    extra: Sequence[str]
    #: It stands since then.
    held_at: datetime | None
    #: The law's limit beside a shorter promise, and when it runs out.
    legal_limit: str | None
    legal_due_at: datetime | None
    changes: tuple[Moved, ...]


@dataclass(frozen=True, slots=True)
class Photo:
    """An attachment 附件; the bytes lie in the store under `sha256`."""

    id: uuid.UUID
    purpose: str
    sha256: str
    media_type: str
    width: int
    height: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Sheet:
    """Everything about one case that the session's actor may see."""

    case: Facts
    reports: tuple[Told, ...]
    entries: tuple[Logged, ...]
    shares: tuple[Share, ...]
    clocks: tuple[ClockRow, ...]
    photos: tuple[Photo, ...]
    opened: tuple[Opened, ...]
    pauses: tuple[PauseRow, ...]
    pleas: tuple[PleaRow, ...]
    supervisions: tuple[Order, ...]
    merged: tuple[Merged, ...]

    @property
    def closing(self) -> Mapping[str, Any]:
        """The closing form of the last reply: true, within duty, contacted, solved; empty before there is one."""
        last = next((e for e in reversed(self.entries) if e.action in ("reply", "answer_merged", "answer_now")), None)
        return {name: last.data[name] for name in CLOSING if name in last.data} if last else {}

    @property
    def returned_by(self) -> tuple[str, ...]:
        """Codes of the units that returned the case, in order: more than one is ping-pong 踢皮球."""
        return tuple(s.unit_code for s in self.shares if s.share == "lead" and s.state == "returned")


@dataclass(frozen=True, slots=True)
class PublicStep:
    """One step that the public view tells of: what happened and when, not who did it; named by `dispatch.stranger`."""

    action: str
    state: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a matter is, for anybody who knows its number; more for whoever has its code."""

    id: uuid.UUID
    number: str
    process: str
    process_version: int
    #: As `dispatch.stranger` names it: by number alone a private affair is `decided` or `ended`, not how or why.
    state: str
    version: int
    open: bool
    kind: str
    received_at: datetime
    closed_at: datetime | None
    category_name: str | None
    town_name: str | None
    unit_name: str | None
    steps: tuple[PublicStep, ...]
    #: The code of the receipt was shown: the members below are filled in.
    own: bool
    #: The reporter's own words and the unit's answer, unmasked: mask before showing.
    text: str = ""
    answer: str | None = None
    place_name: str = ""
    due_at: datetime | None = None
    due_clock: str | None = None
    satisfaction: int | None = None


def facts(session: Session, case_id: uuid.UUID) -> Facts:
    """Return the row of a case the session's actor may see; raises NotFound for any other. Reads only."""
    return Facts(**_row(session, Case.id == case_id))


def sheet(session: Session, case_id: uuid.UUID) -> Sheet:
    """Return everything about a case; raises NotFound where there is none or the actor may not know of it.

    Reads only. Pins the case, so that narrow roles see its parts; a dozen statements, each by key and bounded.
    """
    case = facts(session, case_id)
    actor, here = actor_of(session), actor_of(session).district
    pin_case(session, case_id)

    def parts(model: Any, *columns: Any) -> Select[Any]:
        return select(*columns).where(model.district_code == here, model.case_id == case_id).limit(MAX_PARTS)

    def of_units(model: Any, shape: type, *order: Any) -> Any:
        query = parts(model, *_columns(model, shape, "unit_name"), unit_name).order_by(*order)
        named = and_(Unit.district_code == here, Unit.code == model.unit_code)
        return session.execute(query.join(Unit, named, isouter=True)).mappings()

    unit_name = func.coalesce(Unit.name, "").label("unit_name")
    entries = session.execute(
        parts(Entry, *_columns(Entry, Logged, "unit_name"), unit_name)
        .join(Unit, and_(Unit.district_code == here, Unit.code == Entry.unit_code), isouter=True)
        .order_by(Entry.seq.desc())
        .limit(MAX_ENTRIES)
    ).mappings()
    shares = of_units(Assignment, Share, Assignment.created_at, Assignment.id)
    pleas = of_units(Plea, PleaRow, Plea.asked_at, Plea.id)
    orders = of_units(Supervision, Order, Supervision.issued_at, Supervision.id)
    pauses = session.execute(parts(Pause, *_columns(Pause, PauseRow)).order_by(Pause.started_at, Pause.id)).mappings()
    merged = session.execute(
        select(*_columns(Case, Merged))
        .where(visible_to(actor), Case.merged_into == case_id)
        .order_by(Case.received_at, Case.id)
        .limit(MAX_PARTS)
    ).mappings()
    photos = session.execute(
        parts(Attachment, *_columns(Attachment, Photo)).order_by(Attachment.created_at, Attachment.id)
    ).mappings()
    opened = session.execute(
        parts(Disclosure, *_columns(Disclosure, Opened)).order_by(Disclosure.opened_at, Disclosure.id)
    ).mappings()
    reports = session.execute(
        parts(
            Report,
            Report.id,
            Report.channel,
            Report.text,
            Report.received_at,
            Report.name_sealed,
            Report.phone_sealed,
            Report.phone_index,
        ).order_by(Report.received_at, Report.id)
    ).mappings()
    return Sheet(
        case=case,
        reports=tuple(
            Told(
                row["id"],
                row["channel"],
                row["text"],
                row["received_at"],
                *called(actor.role, case_id, case.process, row),
            )
            for row in reports
        ),
        entries=tuple(reversed([Logged(**row) for row in entries])),
        shares=tuple(Share(**row) for row in shares),
        clocks=_clocks(session, case_id),
        photos=tuple(Photo(**row) for row in photos),
        opened=tuple(Opened(**row) for row in opened),
        pauses=tuple(PauseRow(**row) for row in pauses),
        pleas=tuple(PleaRow(**row) for row in pleas),
        supervisions=tuple(Order(**row) for row in orders),
        merged=tuple(Merged(**row) for row in merged),
    )


def progress(session: Session, number: str, *, access_hash: bytes | None = None) -> Progress:
    """Return the public view of a case by its number; raises NotFound for a wrong number and for a wrong code.

    access_hash: keyed hash of the code on the receipt; with it, the reporter's own words and the answer are included.
    Without it `dispatch.stranger` says which steps and states are told, and by which name.
    Run it in a snapshot of the program (`core.actor.system`): the anonymous citizen sees no case before it is pinned.
    Names nobody and says nothing about the place unless the code was shown. Reads only.
    """
    here = actor_of(session).district
    case = _row(session, Case.number == number.strip().replace(" ", "").upper(), Case.access_hash)
    kept = case.pop("access_hash")
    own = access_hash is not None
    if own and kept != access_hash:
        raise NotFound("There is no matter with this number and code.")
    process = case["process"]
    steps = session.execute(
        select(Entry.action, Entry.state_after, Entry.recorded_at)
        .where(
            Entry.district_code == here,
            Entry.case_id == case["id"],
            Entry.action.in_(stranger.steps(process, own=own)),
        )
        .order_by(Entry.seq)
        .limit(MAX_ENTRIES)
    ).all()
    case["state"] = stranger.state(process, case["state"], own=own)
    if stranger.private(process) and not own:
        case |= dict.fromkeys(stranger.HIDDEN)
    shown = {field.name for field in fields(Progress)} - {"steps", "own"}
    private = {"text", "answer", "place_name", "due_at", "due_clock", "satisfaction"}
    return Progress(
        steps=tuple(
            PublicStep(stranger.step(process, action, own=own), stranger.state(process, state, own=own), at)
            for action, state, at in steps
        ),
        own=own,
        **{name: case[name] for name in (shown if own else shown - private)},
    )


def _clocks(session: Session, case_id: uuid.UUID) -> tuple[ClockRow, ...]:
    here = actor_of(session).district
    moved: dict[uuid.UUID, list[Moved]] = {}
    for change in session.execute(
        select(DeadlineChange.deadline_id, *_columns(DeadlineChange, Moved))
        .where(DeadlineChange.district_code == here, DeadlineChange.case_id == case_id)
        .order_by(DeadlineChange.changed_at, DeadlineChange.id)
    ).mappings():
        row = dict(change)
        moved.setdefault(row.pop("deadline_id"), []).append(Moved(**row))
    clocks = session.execute(
        select(*_columns(Deadline, ClockRow, "unit_name", "changes"), Unit.name.label("unit_name"))
        .join(Unit, and_(Unit.district_code == here, Unit.code == Deadline.unit_code), isouter=True)
        .where(Deadline.district_code == here, Deadline.case_id == case_id)
        .order_by(Deadline.started_at, Deadline.id)
    ).mappings()
    return tuple(ClockRow(**row, changes=tuple(moved.get(row["id"], ()))) for row in clocks)


def _columns(model: Any, shape: type, *besides: str) -> list[Any]:
    return [getattr(model, field.name) for field in fields(shape) if field.name not in besides]


def _row(session: Session, which: ColumnElement[bool], *more: Any) -> dict[str, Any]:
    actor = actor_of(session)
    here = actor.district
    town, community, parent = aliased(Area), aliased(Area), aliased(Category)
    twin, main = aliased(Case), aliased(Case)
    computed = {
        "category_name": Category.name,
        "category_parent": parent.name,
        "town_name": town.short,
        "community_name": community.short,
        "unit_name": Unit.name,
        "duplicate_number": twin.number,
        "main_number": main.number,
        "lng": func.ST_X(Case.geom),
        "lat": func.ST_Y(Case.geom),
        # The box beside it because only `&&` uses the index under row policies (docs/decisions/0080).
        "cell_now": select(func.min(Cell.code))
        .where(Cell.district_code == here, Cell.geom.op("&&")(Case.geom), func.ST_Covers(Cell.geom, Case.geom))
        .scalar_subquery(),
    }
    found = (
        session.execute(
            select(
                *_columns(Case, Facts, *computed),
                *(column.label(name) for name, column in computed.items()),
                *more,
            )
            .join(Category, and_(Category.district_code == here, Category.code == Case.category_code), isouter=True)
            .join(parent, and_(parent.district_code == here, parent.code == Category.parent_code), isouter=True)
            .join(Unit, and_(Unit.district_code == here, Unit.code == Case.unit_code), isouter=True)
            .join(town, and_(town.district_code == here, town.code == Case.town_code), isouter=True)
            .join(community, and_(community.district_code == here, community.code == Case.community_code), isouter=True)
            .join(twin, and_(twin.district_code == here, twin.id == Case.duplicate_of), isouter=True)
            .join(main, and_(main.district_code == here, main.id == Case.merged_into), isouter=True)
            .where(visible_to(actor), which)
        )
        .mappings()
        .one_or_none()
    )
    if found is None:
        raise NotFound("There is no case with this number, or it is not yours to see.")
    return dict(found)

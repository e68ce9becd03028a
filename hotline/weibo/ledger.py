"""The ledger of mentions 台账: mention, case and reply side by side, what is open, late or held, and a reviewer's word.

Reads and writes the channel's own tables; what the unit does about a case is the case core's.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, false, func, or_, select, true, update
from sqlalchemy.orm import Session

from core.actor import Role, system
from core.crypto import unseal
from core.db import acting_as, actor_of
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch.models import Case
from dispatch.words import N_
from hotline.outward.adapters import recipient
from hotline.outward.models import Delivery
from hotline.weibo.inbox import note
from hotline.weibo.models import Mention, MentionEvent, WeiboCursor

#: Rows of one page, and of one export.
PAGE: Final = 50
MOST_EXPORTED: Final = 20_000
#: A mention that has no case after this long is late; *default*, the limit of dispatch.
FIRST: Final = timedelta(hours=1)
#: Figures count at most so many mentions.
_MOST_COUNTED: Final = 200_000
_LONGEST_REASON = 500

STATES: Final = {
    "received": N_("Not looked at yet"),
    "held": N_("Held for review"),
    "case": N_("Being handled"),
    "joined": N_("With another one's case"),
    "rejected": N_("No duty, with reason"),
    "replied": N_("Answered on the post"),
    "deleted": N_("Deleted by its author"),
}
EVENTS: Final = {
    "held": N_("Held for review"),
    "released": N_("Released"),
    "rejected": N_("Rejected"),
    "opened": N_("Case opened"),
    "joined": N_("Joined to a case"),
    "edited": N_("Edited by its author"),
    "deleted": N_("Deleted by its author"),
    "replied": N_("Answered on the post"),
    "failed": N_("Answer not taken"),
    "opened_author": N_("Author's name opened"),
}
#: Named parts of the ledger, as they stand in the address.
BOXES: Final = {
    "held": N_("To review"),
    "late": N_("Answer overdue"),
    "open": N_("Open"),
    "failed": N_("Answer did not get through"),
    "replied": N_("Answered"),
    "ended": N_("Ended without an answer"),
    "all": N_("All"),
}
_OPEN = ("received", "held", "case", "joined")


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is narrowed to."""

    box: str = "open"
    #: Seen from, and before; aware.
    since: datetime | None = None
    until: datetime | None = None
    search: str = ""
    #: Only what came from: api or file; empty for both.
    source: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One mention with its case and its reply."""

    id: uuid.UUID
    post_id: str
    repost: bool
    alias: str
    text: str
    posted_at: datetime
    seen_at: datetime
    state: str
    #: Code and what decided; empty for not held.
    hold: dict[str, Any]
    edited_at: datetime | None
    deleted_at: datetime | None
    replied_at: datetime | None
    reply: str
    failure: str
    case_number: str
    case_state: str
    due_at: datetime | None
    warned: int
    late: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """How the duties of a span stand (S2 诉求件件有落实，处置项项有回复)."""

    mentions: int
    #: Neither rejected nor deleted by the author: to be answered.
    duties: int
    answered: int
    held: int
    late: int
    #: Median from being seen to being answered; None for no answer.
    median: timedelta | None

    @property
    def share(self) -> float | None:
        """Answered share of the duties, 0 to 1; None without any."""
        return self.answered / self.duties if self.duties else None


def _overdue(at: datetime) -> ColumnElement[bool]:
    """Return the condition of a mention that is not answered in time; needs the case joined."""
    waits = and_(Mention.state.in_(("received", "held")), Mention.seen_at < at - FIRST)
    handled = and_(Mention.state.in_(("case", "joined")), Case.open == true(), Case.due_at < at)
    # The case is answered or over, and the post knows nothing of it.
    silent = and_(
        Mention.state.in_(("case", "joined")),
        Case.open == false(),
        func.coalesce(Case.closed_at, Case.received_at) < at,
    )
    return or_(waits, handled, silent)


def _rows(session: Session, wanted: Filter, *, at: datetime) -> Any:
    """Return the query of mentions with their case. at: decides what is late."""
    here = actor_of(session).district
    late = func.coalesce(_overdue(at), false()).label("late")
    query = (
        select(Mention, Case.number, Case.state, Case.due_at, Case.warned, late)
        .outerjoin(Case, and_(Case.district_code == here, Case.id == Mention.case_id))
        .where(Mention.district_code == here)
    )
    if wanted.box == "late":
        query = query.where(Mention.state.in_(_OPEN), _overdue(at))
    elif wanted.box == "open":
        query = query.where(Mention.state.in_(_OPEN))
    elif wanted.box == "failed":
        query = query.where(Mention.state.in_(("case", "joined")), Mention.failure.is_not(None))
    elif wanted.box == "ended":
        query = query.where(Mention.state.in_(("rejected", "deleted")))
    elif wanted.box in ("held", "replied"):
        query = query.where(Mention.state == wanted.box)
    elif wanted.box != "all":
        raise Invalid(N_("There is no such part of the ledger."), field="box")
    if wanted.since is not None:
        query = query.where(Mention.seen_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(Mention.seen_at < wanted.until)
    if wanted.source:
        query = query.where(Mention.source == wanted.source)
    if wanted.search:
        exact = or_(Mention.post_id == wanted.search, Mention.alias == wanted.search, Case.number == wanted.search)
        query = query.where(or_(exact, Mention.text.contains(wanted.search, autoescape=True)))
    return query


def listed(
    session: Session, wanted: Filter, *, at: datetime, after: str = "", limit: int = PAGE
) -> tuple[list[Line], str]:
    """Return mentions newest first, and where the next page begins (empty at the end). Reads."""
    query = _rows(session, wanted, at=at)
    if after:
        try:
            query = query.where(Mention.id < uuid.UUID(after))
        except ValueError as error:
            raise Invalid(N_("This page of the list does not exist."), field="after") from error
    found = [_line(row) for row in session.execute(query.order_by(Mention.id.desc()).limit(limit + 1))]
    return found[:limit], (str(found[limit - 1].id) if len(found) > limit else "")


def exported(session: Session, wanted: Filter, *, at: datetime) -> Iterator[Line]:
    """Yield the mentions of a filter, newest first, at most MOST_EXPORTED. Reads."""
    query = _rows(session, wanted, at=at).order_by(Mention.id.desc()).limit(MOST_EXPORTED)
    for row in session.execute(query.execution_options(yield_per=500)):
        yield _line(row)


def counts(session: Session, *, at: datetime) -> dict[str, int]:
    """Return how many lie in the boxes that somebody has to look at, each at most 1000. Reads."""

    def some(box: str) -> int:
        inner = _rows(session, Filter(box), at=at).with_only_columns(Mention.id).limit(1000).subquery()
        return session.scalar(select(func.count()).select_from(inner)) or 0

    return {box: some(box) for box in ("held", "late", "open", "failed")}


def figures(session: Session, *, since: datetime, until: datetime, at: datetime) -> Figures:
    """Return how the duties seen in a span stand; reads."""
    here = actor_of(session).district
    span = (
        select(Mention.state, Mention.seen_at, Mention.replied_at, func.coalesce(_overdue(at), false()).label("late"))
        .outerjoin(Case, and_(Case.district_code == here, Case.id == Mention.case_id))
        .where(Mention.district_code == here, Mention.seen_at >= since, Mention.seen_at < until)
        .order_by(Mention.seen_at.desc())
        .limit(_MOST_COUNTED)
        .subquery()
    )
    taken = func.extract("epoch", span.c.replied_at - span.c.seen_at)
    is_open = span.c.state.in_(_OPEN)
    row = session.execute(
        select(
            func.count(),
            func.count().filter(span.c.state.in_((*_OPEN, "replied"))),
            func.count().filter(span.c.state == "replied"),
            func.count().filter(span.c.state == "held"),
            func.count().filter(and_(is_open, span.c.late)),
            func.percentile_cont(0.5).within_group(taken),
        )
    ).one()
    median = timedelta(seconds=float(row[5])) if row[5] is not None else None
    return Figures(row[0], row[1], row[2], row[3], row[4], median)


def fetching(session: Session) -> WeiboCursor | None:
    """Return how the fetching stands; None where it was never done. Reads."""
    return session.get(WeiboCursor, (actor_of(session).district, "fetch"))


@dataclass(frozen=True, slots=True)
class Sheet:
    """One mention with all that happened to it."""

    line: Line
    root_text: str
    case_id: uuid.UUID | None
    #: kind, who, when, detail; oldest first.
    events: tuple[tuple[str, str, datetime, dict[str, Any]], ...]


def sheet(session: Session, mention_id: uuid.UUID, *, at: datetime) -> Sheet:
    """Return one mention; raises NotFound. Reads."""
    row = session.execute(_rows(session, Filter("all"), at=at).where(Mention.id == mention_id)).one_or_none()
    if row is None:
        raise NotFound(N_("There is no such mention."))
    events = session.execute(
        select(MentionEvent.kind, MentionEvent.actor_name, MentionEvent.at, MentionEvent.detail)
        .where(MentionEvent.district_code == actor_of(session).district, MentionEvent.mention_id == mention_id)
        .order_by(MentionEvent.at, MentionEvent.id)
        .limit(200)
    )
    return Sheet(_line(row), row[0].root_text, row[0].case_id, tuple(map(tuple, events)))


def release(session: Session, mention_id: uuid.UUID, *, reason: str, at: datetime) -> None:
    """Let a held mention be taken after all. Raises NotFound, Conflict. Writes; caller commits; locks the mention."""
    row = _held(session, mention_id)
    row.state, row.reviewed_at, row.reviewer = "received", at, actor_of(session).name
    note(session, row.id, "released", at=at, reason=reason.strip()[:_LONGEST_REASON])
    session.flush()


def reject(session: Session, mention_id: uuid.UUID, *, reason: str, at: datetime) -> None:
    """Say why a held mention is no duty. Raises Invalid without a reason, NotFound, Conflict. Writes."""
    why = reason.strip()[:_LONGEST_REASON]
    if not any(letter.isalnum() for letter in why):
        raise Invalid(N_("Say why this mention gets no answer."), field="reason")
    row = _held(session, mention_id)
    row.state, row.reviewed_at, row.reviewer = "rejected", at, actor_of(session).name
    note(session, row.id, "rejected", at=at, reason=why)
    session.flush()


def by_hand(session: Session, mention_id: uuid.UUID, *, words: str, at: datetime) -> None:
    """Write down that a person answered on the post; what waits to be posted there by itself is not posted any more.

    Raises Invalid, NotFound, and Conflict also while an answer is on its way. Writes; caller commits.
    """
    said = words.strip()[:2000]
    if not any(letter.isalnum() for letter in said):
        raise Invalid(N_("Write down what was answered on the post."), field="words")
    row = _locked(session, mention_id)
    if row.state not in ("case", "joined"):
        raise Conflict(N_("Only a mention that has a case and no answer yet can be answered by hand."))
    if row.next_at is not None and row.next_at > at:
        raise Conflict(N_("An answer is being posted at this moment; look again in a few minutes."))
    _keep_back(session, row.post_id, at=at)
    row.state, row.reply, row.replied_at, row.comment_id = "replied", said, at, "by hand"
    row.failure = row.next_at = None
    note(session, row.id, "replied", at=at, words=said, by_hand=True)
    session.flush()


def _keep_back(session: Session, post_id: str, *, at: datetime) -> None:
    """Let what waits for a post, or failed there, count as said. Deliveries are the program's: so it does this."""
    district = actor_of(session).district
    left = (Delivery.channel == "weibo", Delivery.recipient == recipient("weibo", post_id), Delivery.state != "sent")
    done = {"state": "sent", "sent_at": at, "receipt": "by hand", "reason": None, "leased_until": None}
    with acting_as(session, system(district, "weibo")):
        session.execute(update(Delivery).where(Delivery.district_code == district, *left).values(done))


def author(session: Session, mention_id: uuid.UUID, *, reason: str, at: datetime) -> str:
    """Return the author's screen name, and write down who looked and why. Raises Invalid without a reason. Writes."""
    why = reason.strip()[:_LONGEST_REASON]
    if len(why) < 2:
        raise Invalid(N_("Say what you need the name for."), field="reason")
    row = _locked(session, mention_id)
    note(session, row.id, "opened_author", at=at, reason=why)
    session.flush()
    if row.author_sealed is None:
        return ""
    return unseal(bytes(row.author_sealed), context="weibo.author").partition("\x1f")[2]


def _held(session: Session, mention_id: uuid.UUID) -> Mention:
    row = _locked(session, mention_id)
    if row.state != "held":
        raise Conflict(N_("Somebody has decided about this mention already."))
    return row


def _locked(session: Session, mention_id: uuid.UUID) -> Mention:
    actor = actor_of(session)
    if actor.role not in (Role.OPERATOR, Role.SUPERVISOR, Role.SYSTEM):
        raise Forbidden(N_("Your role decides about no mentions."))
    row = session.get(Mention, (actor.district, mention_id), with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound(N_("There is no such mention."))
    return row


def _line(found: Any) -> Line:
    row, number, state, due_at, warned, late = found
    return Line(
        id=row.id,
        post_id=row.post_id,
        repost=row.root_id != row.post_id,
        alias=row.alias,
        text=row.text,
        posted_at=row.posted_at,
        seen_at=row.seen_at,
        state=row.state,
        hold=dict(row.hold or {}),
        edited_at=row.edited_at,
        deleted_at=row.deleted_at,
        replied_at=row.replied_at,
        reply=row.reply or "",
        failure=row.failure or "",
        case_number=number or "",
        case_state=state or "",
        due_at=due_at,
        warned=warned or 0,
        late=bool(late) and row.state in _OPEN,
    )

"""Hot matters 热点事项 as they are kept: those announced, the cases that belong to each, and what was decided.

`hotline.hot` says when a cluster of reports is one; a `Feed` gives it the new cases and writes what it says, in one
transaction with the announcement. A case belongs to at most one hot matter: the primary key of `hot_member` is what
makes two workers, or one run twice, announce a matter once.
"""

import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from geoalchemy2 import WKBElement
from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, String, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from core.datums import Datum, point, to_db
from core.db import Base, actor_of
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from dispatch.models import Outbox
from dispatch.words import N_
from grid.models import Instant, geometry
from hotline.hot import HotWatch, Matter, Rule, Seen

#: Topic of the announcement, to the desk and to supervision.
CROSSED: Final = "hot.crossed"
#: What a person may say of a matter.
DECISIONS: Final = {"watched": N_("Watch"), "dismissed": N_("Not a matter")}
#: Days and cases that a feed goes back over when it starts.
_BACK: Final = timedelta(days=30)
_FIRST: Final = 10_000
#: Cases may become visible in another order than they were received in; so far back is looked again.
_OVERLAP: Final = timedelta(minutes=2)
#: A matter without a new member for so long is not listed any more.
_LISTED: Final = timedelta(days=14)
_MOST: Final = 20
#: Cases of a matter that are shown, and may be merged, at once.
MOST_MEMBERS: Final = 200
_LONGEST_REASON: Final = 500
_OTHERS_WON: Final = N_("Somebody else changed this at the same moment; load it again.")


class HotMatter(Base):
    """热点事项: many reports of one matter, growing faster than expected; announced once, then watched or put aside."""

    __tablename__ = "hot_matter"
    __table_args__ = (
        CheckConstraint("state IN ('new', 'watched', 'dismissed')", name="state"),
        CheckConstraint("members > 0 AND reporters > 0", name="counts"),
        Index("ix_hot_matter_last", "district_code", "last_at"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: UUIDv7: the order of announcing.
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: Telling words and the place, such as "夜宵 油烟 · 翠湖花园".
    name: Mapped[str]
    words: Mapped[list[str]] = mapped_column(ARRAY(String), server_default=text("'{}'"))
    #: The place that most members name, empty for none.
    place: Mapped[str] = mapped_column(server_default="")
    #: The town that most members lie in.
    town_code: Mapped[str | None]
    #: Middle of the members that have a point.
    geom: Mapped[WKBElement | None] = mapped_column(geometry("POINT"))
    #: Highest of the members: emergency, utilities, ordinary.
    urgency: Mapped[str]
    members: Mapped[int]
    #: Different people among them, as far as can be told.
    reporters: Mapped[int]
    first_at: Mapped[datetime] = mapped_column(Instant)
    last_at: Mapped[datetime] = mapped_column(Instant)
    #: When the rule was crossed and the matter announced.
    crossed_at: Mapped[datetime] = mapped_column(Instant)
    #: What crossed: span_h, members, reporters, expected, the rule's own numbers, and the growth at the last count.
    why: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: new: announced, nobody has said anything; watched: a person keeps an eye on it; dismissed: no matter.
    state: Mapped[str] = mapped_column(server_default="new")
    #: Grows with every decision; a page that is older than it is told so.
    version: Mapped[int] = mapped_column(server_default=text("1"))
    #: Every decision: state, who, when, reason. Only grows.
    decisions: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))


class HotMember(Base):
    """A case that belongs to a hot matter, for as long as it is kept."""

    __tablename__ = "hot_member"
    __table_args__ = (
        ForeignKeyConstraint(["district_code", "hot_id"], ["hot_matter.district_code", "hot_matter.id"]),
        ForeignKeyConstraint(["district_code", "case_id"], ["cases.district_code", "cases.id"]),
        Index("ix_hot_member_hot", "district_code", "hot_id"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    hot_id: Mapped[uuid.UUID]
    joined_at: Mapped[datetime] = mapped_column(Instant)


_START = text(
    "SELECT received_at FROM cases WHERE district_code = :d AND received_at > :since "
    "ORDER BY received_at DESC OFFSET :n LIMIT 1"
)
#: The reporter of a case is whoever brought it in first; a service item or a request for information is no trouble.
_NEW = text(
    "SELECT c.id, c.title, c.text, c.received_at, c.urgency, c.category_code, ST_X(c.geom) AS lng, "
    "ST_Y(c.geom) AS lat, c.radius_m, c.place_name, c.town_code, r.phone_index FROM cases AS c "
    "LEFT JOIN LATERAL (SELECT p.phone_index FROM report AS p WHERE p.district_code = :d AND p.case_id = c.id "
    " ORDER BY p.received_at LIMIT 1) AS r ON true "
    "WHERE c.district_code = :d AND c.received_at > :since AND c.process IN ('complaint', 'patrol') "
    "AND c.kind <> 'praise' AND NOT c.id = ANY (:seen) ORDER BY c.received_at, c.id LIMIT :n"
)
_BELONG = text("SELECT hot_id FROM hot_member WHERE district_code = :d AND case_id = ANY (:ids)")
_GROW = text(
    "UPDATE hot_matter SET members = greatest(members, :members), reporters = greatest(reporters, :reporters), "
    "last_at = greatest(last_at, CAST(:last AS timestamptz)) WHERE district_code = :d AND id = :id"
)
_LIST = text(
    "SELECT h.id, h.name, h.place, h.town_code, h.urgency, h.members, h.reporters, h.first_at, h.last_at, "
    "h.crossed_at, h.why, h.state, h.version, h.decisions, g.hour, g.day, g.week "
    "FROM hot_matter AS h LEFT JOIN LATERAL (SELECT count(*) FILTER (WHERE c.received_at > :hour) AS hour, "
    " count(*) FILTER (WHERE c.received_at > :day) AS day, count(*) FILTER (WHERE c.received_at > :week) AS week "
    " FROM hot_member AS m JOIN cases AS c ON c.district_code = m.district_code AND c.id = m.case_id "
    " WHERE m.district_code = :d AND m.hot_id = h.id) AS g ON true "
    "WHERE h.district_code = :d AND (h.id = :one OR (CAST(:one AS uuid) IS NULL AND h.last_at > :since)) "
    "ORDER BY h.state = 'dismissed', h.state <> 'new', h.last_at DESC LIMIT :n"
)
#: Those that still wait to be handled by themselves come first, so that they are seen however many were merged.
_MEMBERS = text(
    "SELECT c.id, c.number, c.version, c.state, c.open, c.process, c.process_version, c.channel, c.received_at, "
    "c.unit_code, c.merged_into, coalesce(nullif(c.title, ''), left(c.text, 60)) AS what, "
    "(SELECT count(*) FROM cases AS o WHERE o.district_code = :d AND o.merged_into = c.id) AS others "
    "FROM hot_member AS m JOIN cases AS c ON c.district_code = m.district_code AND c.id = m.case_id "
    "WHERE m.district_code = :d AND m.hot_id = :id "
    "ORDER BY c.merged_into IS NOT NULL OR NOT c.open, c.received_at, c.id LIMIT :n"
)
_DECIDE = text(
    "UPDATE hot_matter SET state = :state, version = version + 1, decisions = decisions || CAST(:said AS jsonb) "
    "WHERE district_code = :d AND id = :id AND version = :version RETURNING id"
)
_THERE = text("SELECT 1 FROM hot_matter WHERE district_code = :d AND id = :id")


@dataclass(frozen=True, slots=True)
class Listed:
    """A hot matter as the lists show it."""

    id: uuid.UUID
    name: str
    place: str
    town_code: str | None
    urgency: str
    members: int
    reporters: int
    first_at: datetime
    last_at: datetime
    crossed_at: datetime
    #: span_h, members, reporters, expected: what it crossed the rule with.
    why: dict[str, Any]
    #: new, watched or dismissed.
    state: str
    version: int
    #: state, by, at, reason of each decision.
    decisions: list[dict[str, Any]]
    #: Members of the last hour, day and week that the reader may see.
    hour: int
    day: int
    week: int


@dataclass(frozen=True, slots=True)
class MemberCase:
    """A case of a hot matter."""

    id: uuid.UUID
    number: str
    version: int
    state: str
    open: bool
    process: str
    process_version: int
    channel: str
    received_at: datetime
    unit_code: str | None
    merged_into: uuid.UUID | None
    what: str
    #: How many cases were merged into this one.
    others: int


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of a feed did."""

    #: New cases that were looked at; as many as were allowed means that more wait.
    taken: int
    #: Matters announced.
    announced: int


class Feed:
    """Gives the new cases of one district to a watch and keeps what comes of it; one process, one thread."""

    def __init__(self, rule: Rule, *, level1: Callable[[str | None], str | None]) -> None:
        """level1: the top category of a category code, None where there is none."""
        self._watch = HotWatch(rule)
        self._level1 = level1
        self._since: datetime | None = None
        self._recent: dict[uuid.UUID, datetime] = {}
        #: A member of each matter that grew and is not settled yet.
        self._open: dict[uuid.UUID, None] = {}

    def step(self, session: Session, *, at: datetime, limit: int = 200) -> Step:
        """Take up to `limit` new cases in and announce the matters that cross the rule; each matter once.

        Writes; caller commits and then calls `settle`. Raises Conflict where another worker announces the same matter
        at this moment: after a rollback the next step does the rest.
        """
        district = actor_of(session).district
        if self._since is None:
            first = session.scalar(_START, {"d": district, "since": at - _BACK, "n": _FIRST})
            self._since = first or at - _BACK
        given = {"d": district, "since": self._since - _OVERLAP, "seen": list(self._recent), "n": limit}
        rows = session.execute(_NEW, given).all()
        for row in rows:
            self._watch.take(self._seen(row))
            self._recent[row.id] = row.received_at
            self._since = max(self._since, row.received_at)
        self._recent = {key: when for key, when in self._recent.items() if when > self._since - _OVERLAP}
        grown = {_key(matter.ids[-1]): matter for matter in self._watch.grown(at)}
        self._open |= dict.fromkeys(grown)
        told = 0
        for key in self._open:
            matter = grown.get(key) or self._watch.of(key, at)
            if matter is not None and len(matter.ids) > 1:
                told += keep(session, matter, at=at)
        return Step(len(rows), told)

    def settle(self) -> None:
        """Say that the last step was committed."""
        self._open.clear()

    def _seen(self, row: Any) -> Seen:
        return Seen(
            id=row.id,
            text=f"{row.title}。{row.text}" if row.title else row.text,
            at=row.received_at,
            reporter=bytes(row.phone_index).hex() if row.phone_index else "",
            urgency=row.urgency,
            level1=self._level1(row.category_code),
            lng=row.lng,
            lat=row.lat,
            radius_m=row.radius_m or 0.0,
            place=row.place_name or "",
            town=row.town_code,
        )


def keep(session: Session, matter: Matter, *, at: datetime) -> bool:
    """Add a matter's new members to what is kept of it, or announce it where it crosses the rule; return whether so.

    Writes; caller commits. Raises Conflict where another worker announces the same members at this moment.
    """
    district = actor_of(session).district
    ids = [_key(one) for one in matter.ids]
    known = Counter(session.scalars(_BELONG, {"d": district, "ids": ids}))
    if known:
        hot_id = known.most_common(1)[0][0]
        _join(session, district, hot_id, ids, at=at)
        numbers = {"members": len(ids), "reporters": matter.reporters, "last": matter.last_at}
        session.execute(_GROW, {"d": district, "id": hot_id, **numbers})
        return False
    if matter.crossing is None:
        return False
    made = _made(district, matter, at=at)
    session.add(made)
    session.flush()
    if _join(session, district, made.id, ids, at=at) < len(ids):
        raise Conflict(_OTHERS_WON)
    told = {
        "hot": str(made.id),
        "name": made.name,
        "place": made.place,
        "town": made.town_code,
        "urgency": made.urgency,
        "members": made.members,
        "reporters": made.reporters,
        "why": made.why,
    }
    session.add(Outbox(district_code=district, id=new_id(), topic=CROSSED, payload=told, created_at=at))
    session.flush()
    return True


def _made(district: str, matter: Matter, *, at: datetime) -> HotMatter:
    crossing = matter.crossing
    spot = None
    if matter.lng is not None and matter.lat is not None:
        spot = to_db(point(matter.lng, matter.lat, Datum.CGCS2000))
    return HotMatter(
        district_code=district,
        id=new_id(),
        name=matter.name[:100],
        words=list(matter.words),
        place=matter.place[:100],
        town_code=matter.town,
        geom=spot,
        urgency=matter.urgency,
        members=len(matter.ids),
        reporters=matter.reporters,
        first_at=matter.first_at,
        last_at=matter.last_at,
        crossed_at=at,
        why={
            "span_h": crossing.span / timedelta(hours=1),
            "members": crossing.members,
            "reporters": crossing.reporters,
            "expected": crossing.expected,
        }
        if crossing
        else {},
        decisions=[],
    )


def _join(session: Session, district: str, hot_id: uuid.UUID, ids: list[uuid.UUID], *, at: datetime) -> int:
    """Make cases members of a matter, leaving those that belong to one already; return how many joined."""
    rows = [{"district_code": district, "case_id": key, "hot_id": hot_id, "joined_at": at} for key in sorted(ids)]
    put = insert(HotMember).values(rows).on_conflict_do_nothing().returning(HotMember.case_id)
    return len(session.execute(put).all())


def listed(session: Session, *, at: datetime, limit: int = _MOST) -> list[Listed]:
    """Return the hot matters of the last fortnight that the actor may see: new ones first, dismissed ones last."""
    return _listed(session, None, at=at, limit=limit)


def one(session: Session, hot_id: uuid.UUID, *, at: datetime) -> tuple[Listed, list[MemberCase]]:
    """Return a hot matter and up to 200 of its cases, those first that are handled by themselves; raises NotFound."""
    found = _listed(session, hot_id, at=at, limit=1)
    if not found:
        raise NotFound("There is no such hot matter.")
    rows = session.execute(_MEMBERS, {"d": actor_of(session).district, "id": hot_id, "n": MOST_MEMBERS})
    return found[0], [MemberCase(*row) for row in rows]


def _listed(session: Session, hot_id: uuid.UUID | None, *, at: datetime, limit: int) -> list[Listed]:
    spans = {"hour": at - timedelta(hours=1), "day": at - timedelta(days=1), "week": at - timedelta(days=7)}
    given = {"d": actor_of(session).district, "one": hot_id, "since": at - _LISTED, "n": min(limit, _MOST), **spans}
    return [Listed(*row) for row in session.execute(_LIST, given)]


def decide(session: Session, hot_id: uuid.UUID, *, state: str, reason: str, version: int, at: datetime) -> None:
    """Say that a matter is watched or is none, with a reason that stays with it.

    Writes; caller commits. Raises Invalid without a reason, NotFound, and Conflict where somebody else decided.
    """
    if state not in DECISIONS:
        raise Invalid("Choose what to do with the matter.", field="state")
    why = checked_reason(reason)
    who = actor_of(session)
    said = orjson.dumps([{"state": state, "by": who.name, "at": at.isoformat(), "reason": why}]).decode()
    given = {"d": who.district, "id": hot_id, "state": state, "said": said, "version": version}
    if session.scalar(_DECIDE, given) is None:
        if session.scalar(_THERE, {"d": who.district, "id": hot_id}) is None:
            raise NotFound("There is no such hot matter.")
        raise Conflict(_OTHERS_WON)


def checked_reason(reason: str) -> str:
    """Return a reason without surrounding space; raises Invalid for none or an endless one."""
    why = reason.strip()
    if not why:
        raise Invalid("Please give a reason.", field="reason")
    if len(why) > _LONGEST_REASON:
        raise Invalid("The reason is longer than {limit} characters.", field="reason", limit=_LONGEST_REASON)
    return why


def _key(report: object) -> uuid.UUID:
    return report if isinstance(report, uuid.UUID) else uuid.UUID(str(report))

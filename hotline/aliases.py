"""Other names of places 别名: proposed by whoever corrects a place, used by the geocoder once a second person agrees.

Old names, what residents say, what the register misspells. A name has its time: `valid_from` and `valid_to` are days,
both included; a name that passed to another place ends for the first and begins for the second. Knows the table
`alias`; what a text means by a name is the geocoder's business.
"""

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from geoalchemy2 import WKBElement
from geoalchemy2.shape import from_shape
from sqlalchemy import CheckConstraint, Index, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from core.actor import Actor, Role, system
from core.datums import Datum, point
from core.db import Base, acting_as, actor_of
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.ids import new_id
from dispatch.calendar import china_time
from dispatch.words import N_
from grid.models import Instant, Place, geometry
from grid.whereabouts import whereabouts
from hotline.geocode.writing import normalise

__all__ = ["Alias", "Decided", "Waiting", "checked", "confirm", "count", "decided", "propose", "reject", "waiting"]

#: Who may propose and decide.
ROLES: Final = (Role.OPERATOR, Role.SUPERVISOR)
#: Letters of a name.
_SHORTEST, _LONGEST = 2, 40
#: Rows of a list.
_MOST: Final = 200


class Alias(Base):
    """别名: one name for one spot, waiting, confirmed or rejected."""

    __tablename__ = "alias"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'confirmed', 'rejected')", name="state"),
        CheckConstraint("decided_by IS NULL OR decided_by <> proposed_by", name="second_person"),
        CheckConstraint("(state = 'waiting') = (decided_by IS NULL)", name="decided"),
        CheckConstraint("valid_to IS NULL OR valid_to >= valid_from", name="validity"),
        Index(
            "uq_alias_waiting",
            "district_code",
            "name",
            unique=True,
            postgresql_where=text("state = 'waiting'"),
        ),
        Index("ix_alias_state", "district_code", "state", "proposed_at"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: As it was written.
    name: Mapped[str]
    #: The place that is meant, where the register has it; the point holds without.
    place_key: Mapped[str | None]
    geom: Mapped[WKBElement] = mapped_column(geometry("POINT"))
    valid_from: Mapped[date]
    #: The last day; None while the name is in use.
    valid_to: Mapped[date | None]
    state: Mapped[str] = mapped_column(server_default="waiting")
    reason: Mapped[str] = mapped_column(server_default="")
    proposed_by: Mapped[uuid.UUID]
    proposed_at: Mapped[datetime] = mapped_column(Instant)
    #: The second person, who confirmed or rejected.
    decided_by: Mapped[uuid.UUID | None]
    decided_at: Mapped[datetime | None] = mapped_column(Instant)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A proposed name on the desk's list."""

    id: uuid.UUID
    name: str
    #: The register's name of the place; empty for a bare point.
    place: str
    #: EPSG:4490.
    lng: float
    lat: float
    valid_from: date
    valid_to: date | None
    reason: str
    proposed_by: uuid.UUID
    proposed_at: datetime


@dataclass(frozen=True, slots=True)
class Decided:
    """A name that was confirmed or rejected."""

    name: str
    #: The register's name of the place; empty for a bare point.
    place: str
    #: confirmed or rejected.
    state: str
    valid_from: date
    valid_to: date | None
    reason: str
    decided_at: datetime


def checked(name: str) -> str:
    """Return a name as it may be proposed, without the blanks around it; raises Invalid."""
    said = name.strip()
    plain = normalise(said)
    if not _SHORTEST <= len(plain) <= _LONGEST or plain.isdigit():
        raise Invalid(N_("A name has {least} to {most} letters."), least=_SHORTEST, most=_LONGEST, field="name")
    return said


def propose(
    session: Session,
    name: str,
    *,
    actor: Actor,
    at: datetime,
    place_key: str | None = None,
    lng: float | None = None,
    lat: float | None = None,
    valid_from: date | None = None,
    valid_to: date | None = None,
    reason: str = "",
) -> uuid.UUID:
    """Propose a name for a place of the register or for a point in EPSG:4490; return its id. Writes; caller commits.

    at: aware; its day in China is the first on which the name holds, where `valid_from` does not say otherwise.
    Raises Forbidden for other roles, Invalid for a name or a time that cannot be, NotFound for an unknown place, and
    Conflict where the same name already waits.
    """
    who = _person(actor)
    said = checked(name)
    begins = valid_from or china_time(at).date()
    if valid_to is not None and valid_to < begins:
        raise Invalid(N_("A name cannot end before it begins."), field="valid_to")
    if place_key is not None:
        spot = session.scalar(select(Place.geom).where(Place.district_code == actor.district, Place.key == place_key))
        if spot is None:
            raise NotFound(N_("The register has no such place."), field="place_key")
    elif lng is not None and lat is not None:
        there = point(lng, lat, Datum.CGCS2000, field="lng")
        if whereabouts(session, actor.district, there.x, there.y).town is None:
            raise Invalid(N_("The point is outside the district."), field="lng")
        spot = from_shape(there, srid=4490)
    else:
        raise Invalid(N_("Say which place the name means: a place of the register or a point."), field="place_key")
    same = select(Alias.id).where(Alias.district_code == actor.district, Alias.name == said, Alias.state == "waiting")
    if session.scalar(same) is not None:
        raise Conflict(N_("This name waits for a second person already."), field="name")
    made = Alias(
        district_code=actor.district,
        id=new_id(),
        name=said,
        place_key=place_key,
        geom=spot,
        valid_from=begins,
        valid_to=valid_to,
        state="waiting",
        reason=reason.strip()[:500],
        proposed_by=who,
        proposed_at=at,
    )
    try:
        with session.begin_nested():
            session.add(made)
    except IntegrityError as error:
        # Somebody proposed it at this very moment.
        raise Conflict(N_("This name waits for a second person already."), field="name") from error
    return made.id


def confirm(session: Session, alias: uuid.UUID, *, actor: Actor, at: datetime) -> None:
    """Confirm a name, as a second person; the geocoder uses it from the next revision of the district on.

    Writes; caller commits; locks the row. Raises NotFound, Forbidden for the proposer, Conflict once it is decided.
    """
    _decide(session, alias, "confirmed", actor=actor, at=at)
    # The revision is the program's: processes that see it grow read the gazetteer again.
    with acting_as(session, system(actor.district, "aliases")):
        session.execute(
            text("UPDATE district SET revision = revision + 1 WHERE district_code = :d"), {"d": actor.district}
        )


def reject(session: Session, alias: uuid.UUID, *, actor: Actor, at: datetime, reason: str) -> None:
    """Reject a name, as a second person, with a reason; it stays on record. Writes; caller commits; locks the row.

    Raises NotFound, Forbidden for the proposer, Conflict once it is decided, Invalid without a reason.
    """
    if not reason.strip():
        raise Invalid(N_("Please say why."), field="reason")
    row = _decide(session, alias, "rejected", actor=actor, at=at)
    row.reason = f"{row.reason} / {reason.strip()}".removeprefix(" / ")[:1000]
    session.flush()


def waiting(session: Session, *, limit: int = 50) -> list[Waiting]:
    """Return the names of the session's district that wait for a second person, the oldest first; at most 200."""
    rows = session.execute(
        text("""
            SELECT a.id, a.name, coalesce(p.name, '') AS place, ST_X(a.geom) AS lng, ST_Y(a.geom) AS lat,
                   a.valid_from, a.valid_to, a.reason, a.proposed_by, a.proposed_at
            FROM alias a LEFT JOIN place p ON p.district_code = a.district_code AND p.key = a.place_key
            WHERE a.district_code = current_setting('wangge.district', true) AND a.state = 'waiting'
            ORDER BY a.proposed_at LIMIT :most
        """),
        {"most": min(max(limit, 1), _MOST)},
    )
    return [Waiting(**row) for row in rows.mappings()]


def count(session: Session) -> int:
    """Return how many names of the session's district wait for a second person, at most 200. Reads."""
    here = Alias.district_code == actor_of(session).district
    few = select(Alias.id).where(here, Alias.state == "waiting").limit(_MOST).subquery()
    return session.scalar(select(func.count()).select_from(few)) or 0


def decided(session: Session, *, limit: int = 20) -> list[Decided]:
    """Return the names that were decided about last, the newest first; at most 200. Reads."""
    rows = session.execute(
        text("""
            SELECT a.name, coalesce(p.name, '') AS place, a.state, a.valid_from, a.valid_to, a.reason, a.decided_at
            FROM alias a LEFT JOIN place p ON p.district_code = a.district_code AND p.key = a.place_key
            WHERE a.district_code = :d AND a.state IN ('confirmed', 'rejected')
            ORDER BY a.decided_at DESC LIMIT :most
        """),
        {"d": actor_of(session).district, "most": min(max(limit, 1), _MOST)},
    )
    return [Decided(**row) for row in rows.mappings()]


def _person(actor: Actor) -> uuid.UUID:
    if actor.role not in ROLES or actor.id is None:
        raise Forbidden(N_("Only operators and supervisors may name places."))
    return actor.id


def _decide(session: Session, alias: uuid.UUID, state: str, *, actor: Actor, at: datetime) -> Alias:
    who = _person(actor)
    wanted = select(Alias).where(Alias.district_code == actor.district, Alias.id == alias).with_for_update()
    row = session.scalar(wanted)
    if row is None:
        raise NotFound(N_("There is no such name."))
    if row.state != "waiting":
        raise Conflict(N_("This name was decided already."))
    if row.proposed_by == who:
        raise Forbidden(N_("A second person must decide about a name."))
    row.state, row.decided_by, row.decided_at = state, who, at
    session.flush()
    return row

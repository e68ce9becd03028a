"""What happened to a row of a register 生命事件: every change is an event, and the row is what its events make of it.

An event keeps what was set and what was there before, sealed with the row's salt. Events are never changed; a mistake
is taken back by another event. Knows no rule of any register: who may move where is `grid.registers.people`'s.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core import documents
from core.actor import Actor
from core.datums import Datum, point, to_db
from core.db import actor_of, pin_subject
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from grid.registers import sealing
from grid.registers.fields import REGISTERS, Field, Register
from grid.registers.models import Kept, LifeEvent, Placed
from grid.whereabouts import whereabouts
from grid.words import N_

KINDS: Final[Mapping[str, str]] = {
    "entered": N_("Entered"),
    "imported": N_("Taken over from a list"),
    "changed": N_("Changed"),
    "placed": N_("Put in another place"),
    "moved_in": N_("Moved in"),
    "moved_out": N_("Moved out"),
    "born": N_("Born"),
    "died": N_("Died"),
    "merged": N_("Merged with a double"),
    "unmerged": N_("Merging taken back"),
    "taken_back": N_("Taken back"),
    "inspected": N_("Inspected"),
    "ended": N_("Ended"),
}
#: A phone's or another server's clock may run ahead so far.
_AHEAD: Final = timedelta(minutes=5)
#: Events that one page shows, and that one replay reads.
MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Told:
    """When something happened, when it is written down, and who told it."""

    #: Aware.
    happened_at: datetime
    at: datetime
    #: `manual`, `visit`, or the code of a department's list.
    source: str = "manual"

    def __post_init__(self) -> None:
        """Refuse what has not happened yet."""
        if self.happened_at > self.at + _AHEAD:
            raise Invalid("This lies in the future.", field="happened_at")


@dataclass(frozen=True, slots=True)
class Position:
    """A point with its datum, as given."""

    lng: float
    lat: float
    datum: str = Datum.CGCS2000


@dataclass(frozen=True, slots=True)
class Event:
    """One event with what it changed."""

    id: uuid.UUID
    kind: str
    happened_at: datetime
    recorded_at: datetime
    actor_name: str
    actor_role: str
    unit_code: str | None
    source: str
    #: Field → value afterwards and before.
    set: Mapping[str, Any]
    was: Mapping[str, Any]
    #: What else was said: reason, other person.
    more: Mapping[str, Any]
    undoes: uuid.UUID | None


def values(row: Any) -> dict[str, Any]:
    """Return a row's fields, state and own point as plain values; opens what is sealed."""
    register = REGISTERS[row.__tablename__]
    found = {one.name: _read(one, row) for one in register.fields}
    found["state"] = row.state
    if register.own_point:
        found |= {"lng": row.source_lng, "lat": row.source_lat, "datum": row.source_datum}
    return found


def columns(register: Register, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values as columns: sealed with their indexes, days as dates. For rows written in bulk, too."""
    found: dict[str, Any] = {}
    for name, value in plain.items():
        asked = register.field(name)
        if asked is not None:
            found |= _columns(register.name, asked, value)
    return found


def event_row(
    actor: Actor,
    register: str,
    subject_id: uuid.UUID,
    salt: bytes,
    *,
    kind: str,
    data: Mapping[str, Any],
    told: Told,
    undoes: uuid.UUID | None = None,
) -> dict[str, Any]:
    """Return one event as columns of `life_event`; data: `set`, `was` and whatever else was said."""
    return {
        "district_code": actor.district,
        "id": new_id(),
        "register": register,
        "subject_id": subject_id,
        "kind": kind,
        "happened_at": told.happened_at,
        "recorded_at": told.at,
        "actor_id": actor.id,
        "actor_name": actor.name,
        "actor_role": actor.role.value,
        "unit_code": actor.unit or None,
        "source": told.source,
        "data_sealed": sealing.history_sealed(orjson.dumps(data).decode(), salt),
        "undoes": undoes,
    }


def create(
    session: Session,
    register: str,
    plain: Mapping[str, Any],
    *,
    told: Told,
    kind: str = "entered",
    where: Position | Placed | None = None,
    more: Mapping[str, Any] | None = None,
    by: Actor | None = None,
) -> Any:
    """Write a new row with its first event and return it; writes, caller commits.

    plain: checked values. where: its own point, or the row that it stands in; None where nobody knows. by: who is
    written down as the actor, where the program acts for somebody. Raises Conflict for a number that is taken.
    """
    known, actor, salt = REGISTERS[register], by or actor_of(session), sealing.new_salt()
    state = str(plain.get("state") or next(iter(known.states)))
    row = known.model(
        district_code=actor.district,
        id=new_id(),
        salt=salt,
        state=state,
        version=1,
        source=told.source,
        created_at=told.at,
        changed_at=told.at,
        ended_at=told.happened_at if state in known.ended else None,
        **columns(known, plain),
    )
    put(session, row, where)
    session.add(row)
    _flush(session)
    empty = {one.name: _nothing(one) for one in known.fields}
    now = values(row)
    data = {"set": {name: value for name, value in now.items() if value != empty.get(name)}, "was": {}} | dict(
        more or {}
    )
    session.execute(
        insert(LifeEvent).values(**event_row(actor, register, row.id, salt, kind=kind, data=data, told=told))
    )
    return row


def change(
    session: Session,
    row: Any,
    plain: Mapping[str, Any],
    *,
    told: Told,
    kind: str = "changed",
    where: Position | Placed | None = None,
    more: Mapping[str, Any] | None = None,
    undoes: uuid.UUID | None = None,
    by: Actor | None = None,
) -> uuid.UUID | None:
    """Set fields of a locked row and write the event; return its id, None where nothing changed.

    plain: field → value, `state` among them. where: a new place, with the cell that follows. by: as in `create`.
    Writes; caller commits. Raises Conflict for a number that is taken.
    """
    known = REGISTERS[row.__tablename__]
    before = values(row)
    if where is not None:
        put(session, row, where)
    for name, value in columns(known, plain).items():
        setattr(row, name, value)
    if "state" in plain:
        row.state = plain["state"]
        row.ended_at = (row.ended_at or told.happened_at) if row.state in known.ended else None
    after = values(row)
    changed = {name: value for name, value in after.items() if value != before[name]}
    if not changed and where is None and kind == "changed":
        return None
    row.version += 1
    row.changed_at = told.at
    data = {"set": changed, "was": {name: before[name] for name in changed}} | dict(more or {})
    made = event_row(
        by or actor_of(session), known.name, row.id, bytes(row.salt), kind=kind, data=data, told=told, undoes=undoes
    )
    _flush(session)
    session.execute(insert(LifeEvent).values(**made))
    found: uuid.UUID = made["id"]
    return found


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        # unique_violation
        if getattr(error.orig, "sqlstate", "") == "23505":
            raise Conflict("This number or name is registered already.") from error
        raise


def put(session: Session, row: Any, where: Position | Placed | None) -> None:
    """Attach a row to a point, or to where another row stands; the areas follow. Does not flush."""
    if where is None:
        return
    if isinstance(where, Placed):
        for name in ("town_code", "community_code", "cell_code", "geom", "source_datum", "source_lng", "source_lat"):
            setattr(row, name, getattr(where, name))
        return
    there = point(where.lng, where.lat, where.datum)
    areas = whereabouts(session, actor_of(session).district, there.x, there.y)
    row.town_code, row.community_code, row.cell_code = areas.town, areas.community, areas.cell
    row.geom = to_db(there)
    row.source_datum, row.source_lng, row.source_lat = str(where.datum), where.lng, where.lat


def locked(session: Session, register: str, row_id: uuid.UUID, *, version: int | None = None) -> Any:
    """Return a row that the session's actor may see, locked; raises NotFound, and Conflict for another version."""
    row = _find(session, register, row_id, lock=True)
    if version is not None and row.version != version:
        raise Conflict("Somebody else changed this meanwhile; load it again.")
    return row


def found(session: Session, register: str, row_id: uuid.UUID) -> Any:
    """Return a row that the session's actor may see; raises NotFound."""
    return _find(session, register, row_id, lock=False)


def _find(session: Session, register: str, row_id: uuid.UUID, *, lock: bool) -> Any:
    model: Any = REGISTERS[register].model
    query = select(model).where(model.district_code == actor_of(session).district, model.id == row_id)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    row = session.scalars(query).one_or_none()
    if row is None:
        raise NotFound("There is no such entry, or it is not yours to see.")
    return row


def history(session: Session, row: Kept) -> list[Event]:
    """Return the events of a row that was read through its own policy, oldest first; pins it. Reads."""
    subject: Any = row
    pin_subject(session, subject.id)
    query = (
        select(LifeEvent)
        .where(LifeEvent.district_code == subject.district_code, LifeEvent.subject_id == subject.id)
        .order_by(LifeEvent.recorded_at, LifeEvent.id)
        .limit(MOST)
    )
    return [_opened(one, bytes(row.salt)) for one in session.scalars(query)]


def _opened(one: LifeEvent, salt: bytes) -> Event:
    data = orjson.loads(sealing.history_unsealed(one.data_sealed, salt))
    return Event(
        id=one.id,
        kind=one.kind,
        happened_at=one.happened_at,
        recorded_at=one.recorded_at,
        actor_name=one.actor_name,
        actor_role=one.actor_role,
        unit_code=one.unit_code,
        source=one.source,
        set=data.pop("set"),
        was=data.pop("was"),
        more=data,
        undoes=one.undoes,
    )


def replay(events: Iterable[Event]) -> dict[str, Any]:
    """Return what events, oldest first, make of a row: field → value, as `values` has them, empty ones left out."""
    made: dict[str, Any] = {}
    for event in events:
        made |= event.set
    return {name: value for name, value in made.items() if value not in ("", None, [])}


def differences(session: Session, row: Any) -> dict[str, tuple[Any, Any]]:
    """Return where a row is not what its events make of it: field → (row's, events'). Empty when all is well. Reads."""
    explained = replay(history(session, row))
    now = {name: value for name, value in values(row).items() if value not in ("", None, [])}
    return {
        name: (now.get(name), explained.get(name))
        for name in now.keys() | explained.keys()
        if now.get(name) != explained.get(name)
    }


def _nothing(asked: Field) -> Any:
    return {"flags": [], "day": None, "count": None, "ref": None}.get(asked.kind, "")


def _read(asked: Field, row: Any) -> Any:
    if asked.kind == "sealed":
        return sealing.unsealed(_kind(asked.name), getattr(row, f"{asked.name.removesuffix('_number')}_sealed"))
    value = getattr(row, asked.name)
    if value is None:
        return _nothing(asked)
    if asked.kind == "day":
        return value.isoformat()
    if asked.kind == "ref":
        return str(value)
    return sorted(value) if asked.kind == "flags" else value


def _kind(name: str) -> str:
    """Return as which kind of `sealing.CONTEXTS` a field is sealed."""
    if name == "id_number":
        return name
    return "phone" if name.endswith("phone") else "name"


def _columns(register: str, asked: Field, value: Any) -> dict[str, Any]:
    name = asked.name
    if asked.kind == "sealed":
        stem, kind = name.removesuffix("_number"), _kind(name)
        made: dict[str, Any] = {f"{stem}_sealed": sealing.sealed(kind, value)}
        if name == "id_number":
            made["id_index"] = sealing.id_index(value) if value else None
            made["id_kind"] = "" if not value else "card" if documents.is_card(value) else "other"
        elif kind == "phone":
            made[f"{stem}_index"] = sealing.phone_index(value) if value else None
        elif register == "resident":
            made["name_terms"] = sealing.name_terms(value)
        return made
    if asked.kind == "day":
        return {name: date.fromisoformat(value) if value else None}
    if asked.kind == "ref":
        return {name: uuid.UUID(value) if value else None}
    return {name: value}

"""What departments say otherwise than the register 冲突, decided by whose duty the field is: one or many at once.

Both sides are kept: what is taken becomes an event of the person with its source, what is not taken stays in the row of
its source. A decision, or a whole batch of them, can be undone as long as nobody changed the field since.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core import documents
from core.actor import system
from core.crypto import unseal
from core.db import acting_as, actor_of, rows
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.ids import new_id
from grid.registers import entering, events, homes, permissions
from grid.registers.events import Told
from grid.registers.fields import REGISTERS
from grid.registers.leading import FIELDS, alike
from grid.registers.list_models import FieldConflict
from grid.registers.models import Resident
from grid.registers.permissions import Access
from grid.registers.settling import CONFLICT

#: Lines of one page, and decisions of one press.
PAGE: Final = 50
MOST: Final = 2000
DECISIONS: Final = ("taken", "kept")
#: Characters that are shown where two values differ in no more.
_SHOWN: Final = 2


@dataclass(frozen=True, slots=True)
class Line:
    """One conflict as the actor sees it."""

    id: uuid.UUID
    subject_id: uuid.UUID
    #: Name of the person, masked.
    person: str
    cell: str | None
    field: str
    source: str
    backed_by: Sequence[str]
    #: As shown: protected values masked so that what differs stays visible.
    ours: str
    theirs: str
    said_at: datetime
    state: str
    decided_name: str
    decided_at: datetime | None
    batch_id: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class Group:
    """Conflicts of one field with one source: the same rule would settle them."""

    field: str
    source: str
    count: int


def groups(session: Session) -> list[Group]:
    """Return how many conflicts wait, by field and source, of the people whom the actor sees. Reads."""
    found = rows(
        session,
        "SELECT c.field, c.source, count(*) AS count FROM field_conflict c"
        " JOIN resident r ON r.district_code = :d AND r.id = c.subject_id"
        " WHERE c.district_code = :d AND c.state = 'waiting' GROUP BY c.field, c.source ORDER BY count(*) DESC, 1, 2",
        d=actor_of(session).district,
    )
    return [Group(**one) for one in found]


def listed(
    session: Session,
    access: Access,
    *,
    field: str = "",
    source: str = "",
    decided: bool = False,
    after: uuid.UUID | None = None,
    most: int = PAGE,
) -> list[Line]:
    """Return conflicts that wait, oldest first, or those that were decided, newest first; at most `most`. Reads."""
    query = (
        select(FieldConflict, Resident)
        .join(
            Resident,
            (Resident.district_code == FieldConflict.district_code) & (Resident.id == FieldConflict.subject_id),
        )
        .where(FieldConflict.district_code == actor_of(session).district)
    )
    if field:
        query = query.where(FieldConflict.field == field)
    if source:
        query = query.where(FieldConflict.source == source)
    if decided:
        query = query.where(FieldConflict.state.in_(DECISIONS)).order_by(
            FieldConflict.decided_at.desc(), FieldConflict.id
        )
    else:
        query = query.where(FieldConflict.state == "waiting").order_by(FieldConflict.id)
        if after is not None:
            query = query.where(FieldConflict.id > after)
    found = session.execute(query.limit(most)).all()
    said = _said_at(session, [one.source_row_id for one, _ in found])
    return [_line(one, person, access, said.get(one.source_row_id)) for one, person in found]


def decide(
    session: Session, access: Access, ids: Iterable[uuid.UUID], decision: str, *, at: datetime
) -> tuple[int, int, uuid.UUID]:
    """Decide conflicts, all of them together, and return how many, how many were not the actor's, and the batch.

    decision: taken (the source's value) or kept (the register's). One that somebody decided meanwhile, and one whose
    person or field the actor may not change, is left out and counted. Writes; caller commits. Raises Invalid.
    """
    if decision not in DECISIONS:
        raise Invalid("Take one side or the other.", field="decision")
    actor, batch = actor_of(session), new_id()
    listed_ids = sorted(set(ids))[:MOST]
    query = (
        select(FieldConflict)
        .where(
            FieldConflict.district_code == actor.district,
            FieldConflict.id.in_(listed_ids),
            FieldConflict.state == "waiting",
        )
        .order_by(FieldConflict.subject_id, FieldConflict.id)
        .with_for_update()
    )
    done, ground = 0, None
    waiting = list(session.scalars(query))
    left = len(listed_ids) - len(waiting)
    for one in waiting:
        try:
            person: Resident = events.locked(session, "resident", one.subject_id)
            need(access, person, one.field)
            if decision == "taken":
                if one.field == "home" and ground is None:
                    ground = _ground(session)
                with session.begin_nested():
                    _take(session, person, one, ground, told=Told(at, at, one.source))
        except (NotFound, Forbidden, Invalid):
            left += 1
            continue
        one.state, one.decided_by, one.decided_name = decision, actor.id, actor.name
        one.decided_at, one.batch_id = at, batch
        done += 1
    session.flush()
    return done, left, batch


def ids_of(session: Session, *, field: str, source: str, most: int = MOST) -> list[uuid.UUID]:
    """Return the waiting conflicts of a group, oldest first, of people whom the actor sees. Reads."""
    found = rows(
        session,
        "SELECT c.id FROM field_conflict c JOIN resident r ON r.district_code = :d AND r.id = c.subject_id"
        " WHERE c.district_code = :d AND c.state = 'waiting' AND c.field = :field AND c.source = :source"
        " ORDER BY c.id LIMIT :most",
        d=actor_of(session).district,
        field=field,
        source=source,
        most=most,
    )
    return [one["id"] for one in found]


def undo(session: Session, access: Access, batch: uuid.UUID, *, at: datetime) -> tuple[int, int]:
    """Take a batch of decisions back; return how many wait again, and how many stay, for the field was changed since.

    Writes; caller commits. Raises NotFound for a batch that is none.
    """
    actor = actor_of(session)
    query = (
        select(FieldConflict)
        .where(FieldConflict.district_code == actor.district, FieldConflict.batch_id == batch)
        .order_by(FieldConflict.subject_id, FieldConflict.id)
        .with_for_update()
    )
    decided = list(session.scalars(query))
    if not decided:
        raise NotFound("There is no such decision.")
    done, ground = 0, None
    for one in decided:
        try:
            person: Resident = events.locked(session, "resident", one.subject_id)
            need(access, person, one.field)
            if one.state == "taken":
                if one.field == "home" and ground is None:
                    ground = _ground(session)
                with session.begin_nested():
                    _put_back(session, person, one, ground, told=Told(at, at))
        except (NotFound, Forbidden, Invalid, Conflict):
            continue
        one.state, one.decided_by, one.decided_name = "waiting", None, ""
        one.decided_at, one.batch_id = None, None
        done += 1
    session.flush()
    return done, len(decided) - done


def need(access: Access, person: Resident, field: str) -> None:
    """Raise Forbidden where a field of a person is not the actor's duty; where somebody lives is a move."""
    rights = access.rights("resident", person.cell_code, town=person.town_code)
    permissions.need(rights, "resident", ["moves" if field == "home" else field])


def may(access: Access, person: Resident, field: str) -> bool:
    """Return whether a field of a person is the actor's duty."""
    try:
        need(access, person, field)
    except Forbidden:
        return False
    return True


def sides(one: FieldConflict) -> tuple[Any, Any]:
    """Return what the register said and what the source says."""
    data = orjson.loads(unseal(bytes(one.sealed), context=CONFLICT))
    return data["ours"], data["theirs"]


def _ground(session: Session) -> homes.Homes:
    """Return the district's buildings and rooms, as the program: a room may lie in somebody else's cell."""
    with acting_as(session, system(actor_of(session).district, "registers")):
        return homes.load(session)


def _take(session: Session, person: Resident, one: FieldConflict, ground: homes.Homes | None, *, told: Told) -> None:
    _, theirs = sides(one)
    if one.field == "home":
        _move(session, person, theirs, ground, told=told)
        return
    wanted = {one.field: theirs}
    if one.field in ("id_number", "birth_date", "sex"):
        entering.agree(events.values(person) | wanted)
    _number_is_free(session, person, wanted)
    events.change(session, person, wanted, told=told, more={"conflict": str(one.id)})


def _put_back(
    session: Session, person: Resident, one: FieldConflict, ground: homes.Homes | None, *, told: Told
) -> None:
    ours, theirs = sides(one)
    if one.field == "home":
        now = _lives_in(session, person, ground)
        if now != theirs:
            raise Conflict("Somebody changed this since.")
        _move(session, person, ours, ground, told=told)
        return
    if not alike(one.field, events.values(person)[one.field], theirs):
        raise Conflict("Somebody changed this since.")
    events.change(session, person, {one.field: ours}, told=told, kind="taken_back", more={"conflict": str(one.id)})


def _move(session: Session, person: Resident, address: str, ground: homes.Homes | None, *, told: Told) -> None:
    """Let a person live in another room; the rest of the household stays."""
    room = ground.room(address) if ground is not None else None
    if ground is None or room is None:
        raise Invalid("No building of the register has this address, or the room is missing.", field="home")
    household = ground.household(room)
    left = {person.household_id} - {None, household}
    with acting_as(session, system(actor_of(session).district, "registers")):
        homes.write(session, ground, {household: 1}, told=told)
        where = events.found(session, "household", household)
        values = {"household_id": str(household), "state": "living"}
        events.change(session, person, values, told=told, kind="moved_in", where=where)
        homes.empty_households(session, left, told=told)  # type: ignore[arg-type]  # None is taken out above


def _lives_in(session: Session, person: Resident, ground: homes.Homes | None) -> str:
    del session
    if ground is None or person.household_id is None:
        return ""
    return ground.written(ground.room_of.get(person.household_id))


def _number_is_free(session: Session, person: Resident, wanted: Mapping[str, Any]) -> None:
    found = events.columns(REGISTERS["resident"], wanted)
    if not found.get("id_index"):
        return
    district = actor_of(session).district
    with acting_as(session, system(district, "registers")):
        other = session.scalar(
            text(
                "SELECT 1 FROM resident WHERE district_code = :d AND id_index = :index AND state <> 'merged'"
                " AND id <> :id"
            ),
            {"d": district, "index": found["id_index"], "id": person.id},
        )
    if other:
        raise Invalid("Somebody else has this identity number.", field="id_number")


def _said_at(session: Session, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, datetime]:
    found = rows(
        session,
        "SELECT id, said_at FROM source_row WHERE district_code = :d AND id = ANY (:ids)",
        d=actor_of(session).district,
        ids=list(ids),
    )
    return {one["id"]: one["said_at"] for one in found}


def _line(one: FieldConflict, person: Resident, access: Access, said_at: datetime | None) -> Line:
    ours, theirs = sides(one)
    seen = may(access, person, one.field)
    both = [shown(one.field, value, other) if seen else "***" for value, other in ((ours, theirs), (theirs, ours))]
    name = events.values(person)["name"]
    return Line(
        id=one.id,
        subject_id=one.subject_id,
        person=documents.masked("name", name),
        cell=person.cell_code,
        field=one.field,
        source=one.source,
        backed_by=tuple(one.backed_by),
        ours=both[0],
        theirs=both[1],
        said_at=said_at or person.changed_at,
        state=one.state,
        decided_name=one.decided_name,
        decided_at=one.decided_at,
        batch_id=one.batch_id,
    )


def shown(field: str, value: Any, other: Any) -> str:
    """Return a value masked but for one or two characters in which it differs: those are what is decided about."""
    known = REGISTERS["resident"].field(field)
    text_, against = _words(value), _words(other)
    if known is None or not known.mask or not text_:
        return text_
    if len(text_) == len(against) and sum(a != b for a, b in zip(text_, against, strict=True)) <= _SHOWN:
        masked = documents.masked(known.mask, text_)
        return "".join(
            plain if plain != there else hidden for plain, there, hidden in zip(text_, against, masked, strict=True)
        )
    return documents.masked(known.mask, text_)


def _words(value: Any) -> str:
    return "、".join(value) if isinstance(value, list) else str(value or "")


assert set(FIELDS) - {"home"} <= {one.name for one in REGISTERS["resident"].fields}

"""People and households: who comes, goes, is born, dies, or turns out to be somebody who is registered already.

Every function asks the rights of the session's actor in the cell of the row, keeps the order that life has, and writes
events (`grid.registers.events`). A person is one row for life: whoever moves inside the district is moved, not copied.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import documents
from core.actor import Actor, system
from core.db import acting_as, actor_of
from core.errors import Conflict, Forbidden, Invalid, NotFound
from grid.registers import entering, events, permissions, sealing
from grid.registers.events import Event, Position, Told
from grid.registers.fields import REGISTERS
from grid.registers.models import Household, Resident, Room
from grid.registers.permissions import Access

CHINA: Final = ZoneInfo("Asia/Shanghai")
#: Members of one household that move together.
MOST_MEMBERS: Final = 200
#: Events that say where somebody lives.
_RESIDING: Final = frozenset({"entered", "imported", "moved_in", "moved_out", "born"})
#: Events that can be taken back as long as nothing came after them.
_UNDONE: Final = frozenset({"moved_out", "died"})


@dataclass(frozen=True, slots=True)
class Home:
    """Where somebody moves in: a household that is there, or a new one in a room or at a point."""

    household_id: uuid.UUID | None = None
    room_id: uuid.UUID | None = None
    position: Position | None = None
    #: Of a new household, a key of `grid.registers.fields.HOUSEHOLDS`.
    kind: str = "family"


def enter(session: Session, access: Access, given: Mapping[str, Any], home: Home, *, told: Told) -> Resident:
    """Register somebody who is not registered yet, as moving in; return the row. Writes; caller commits.

    given: fields of the form. Raises Forbidden without the right in the cell, Invalid for wrong fields, Conflict where
    the identity number is known already: then `bring` moves that person.
    """
    plain = entering.checked("resident", given, today=told.at.astimezone(CHINA).date())
    household = _household(session, access, home, told=told)
    grant = access.rights("resident", household.cell_code, town=household.town_code)
    permissions.need(grant, "resident", ["moves", *(name for name, value in plain.items() if value not in _EMPTY)])
    _not_before_birth(plain.get("birth_date"), told.happened_at)
    if plain.get("id_number") and _by_number(session, plain["id_number"]) is not None:
        raise Conflict(
            "Somebody with this identity number is registered already; move that person in instead.", field="id_number"
        )
    _seat(household, plain)
    values = plain | {"household_id": str(household.id)}
    row: Resident = events.create(session, "resident", values, told=told, kind="moved_in", where=household)
    _head(session, household, row, told=told)
    return row


_EMPTY: Final[tuple[Any, ...]] = ("", None, [])


def bring(session: Session, access: Access, id_number: str, home: Home, *, told: Told, relation: str = "") -> Resident:
    """Move a registered person in who is known by the identity number, wherever he lived; return the row.

    Nothing of the person is told to who does not know the number. Writes; caller commits. Raises NotFound for an
    unknown number, Invalid for the dead and for a move before the last one.
    """
    household = _household(session, access, home, told=told)
    permissions.need(access.rights("resident", household.cell_code, town=household.town_code), "resident", ["moves"])
    actor = actor_of(session)
    with acting_as(session, system(actor.district, "registers")):
        known = _by_number(session, documents.plain(id_number))
        if known is None:
            raise NotFound("Nobody with this identity number is registered.")
        row: Resident = events.locked(session, "resident", known)
        if row.state == "dead":
            raise Invalid("This person is registered as dead.", field="id_number")
        if row.state == "living" and row.household_id == household.id:
            raise Invalid("This person lives there already.", field="id_number")
        _in_order(session, row, told.happened_at)
        left = row.household_id if row.state == "living" else None
        values = {"state": "living", "household_id": str(household.id), "relation": relation}
        _seat(household, values)
        events.change(session, row, values, told=told, kind="moved_in", where=household, by=actor)
        if left is not None:
            _leave(session, left, row.id, told=told, by=actor)
        _head(session, household, row, told=told, by=actor)
    return row


def move_out(
    session: Session, access: Access, person_id: uuid.UUID, *, version: int, told: Told, to: str = ""
) -> Resident:
    """Let one person move away; to: where, in words. Writes; caller commits.

    Raises Invalid where the person does not live here or came later than that.
    """
    row = _person(session, access, person_id, version=version, needs=["moves"])
    _out(session, row, told=told, to=to)
    return row


def household_moves_out(
    session: Session, access: Access, household_id: uuid.UUID, *, version: int, told: Told, to: str = ""
) -> int:
    """Let everybody of a household move away and return how many did. Writes; caller commits. Raises as `move_out`."""
    household: Household = events.locked(session, "household", household_id, version=version)
    if household.state != "living":
        raise Invalid("This household does not live here.", field="household")
    rights = access.rights("resident", household.cell_code, town=household.town_code)
    permissions.need(rights, "resident", ["moves"])
    living = members(session, household, living=True)
    for member in living:
        _out(session, events.locked(session, "resident", member.id), told=told, to=to)
    if not living:
        events.change(session, household, {"state": "moved"}, told=told, kind="moved_out")
    return len(living)


def born(session: Session, access: Access, parent_id: uuid.UUID, given: Mapping[str, Any], *, told: Told) -> Resident:
    """Register a birth in the household of a parent; return the child's row. Writes; caller commits.

    The day of birth is the day of `told.happened_at`. Raises Invalid for a parent who does not live here.
    """
    parent = _person(session, access, parent_id, needs=["births"])
    if parent.state != "living" or parent.household_id is None:
        raise Invalid("This person does not live here.", field="parent")
    day = told.happened_at.astimezone(CHINA).date()
    if parent.birth_date is not None and parent.birth_date >= day:
        raise Invalid("A child is born after its parents.", field="happened_at")
    needed = {"residence": parent.residence, "relation": "child", "birth_date": day.isoformat()}
    plain = entering.checked("resident", needed | dict(given), today=told.at.astimezone(CHINA).date())
    household = events.found(session, "household", parent.household_id)
    values = plain | {"household_id": str(parent.household_id)}
    more = {"parent": str(parent.id)}
    row: Resident = events.create(session, "resident", values, told=told, kind="born", where=household, more=more)
    events.change(session, parent, {}, told=told, kind="born", more={"child": str(row.id)})
    return row


def died(session: Session, access: Access, person_id: uuid.UUID, *, version: int, told: Told) -> Resident:
    """Register a death. Writes; caller commits. Raises Invalid before the birth, before a move, and for the dead."""
    row = _person(session, access, person_id, version=version, needs=["deaths"])
    if row.state not in ("living", "moved"):
        raise Invalid("This person is registered as dead.", field="person")
    _in_order(session, row, told.happened_at)
    lived = row.household_id if row.state == "living" else None
    events.change(session, row, {"state": "dead"}, told=told, kind="died")
    if lived is not None:
        _leave(session, lived, row.id, told=told)
    return row


def amend(
    session: Session, access: Access, person_id: uuid.UUID, given: Mapping[str, Any], *, version: int, told: Told
) -> Resident:
    """Change fields of a person. Writes; caller commits.

    Raises Forbidden for a field that is not the actor's duty, Invalid for wrong fields and where day of birth or sex
    would not fit the identity number, Conflict for another version or a number that is somebody else's.
    """
    plain = entering.checked("resident", given, today=told.at.astimezone(CHINA).date(), partial=True)
    row = _person(session, access, person_id, version=version, needs=())
    if row.state == "merged":
        raise Invalid("This entry was merged with another one already.", field="person")
    before = events.values(row)
    wanted = {name: value for name, value in plain.items() if value != before[name]}
    rights = access.rights("resident", row.cell_code, town=row.town_code)
    permissions.need(rights, "resident", wanted)
    if wanted.keys() & {"id_number", "birth_date", "sex"}:
        whole = before | wanted
        # What the number now says replaces what stood there, unless it was typed in as well.
        if "id_number" in wanted:
            whole |= {name: "" for name in ("birth_date", "sex") if name not in wanted}
        entering.agree(whole)
        wanted |= {name: whole[name] for name in ("birth_date", "sex") if whole[name]}
    if wanted.get("relation") == "head" and row.household_id is not None:
        _seat(events.locked(session, "household", row.household_id), wanted)
    events.change(session, row, wanted, told=told)
    if wanted.get("relation") == "head" and row.household_id is not None:
        _head(session, events.locked(session, "household", row.household_id), row, told=told)
    return row


def merge(
    session: Session,
    access: Access,
    kept_id: uuid.UUID,
    gone_id: uuid.UUID,
    *,
    told: Told,
    why: str,
    take: Collection[str] = (),
) -> Resident:
    """Make two rows of one person one; return the one that is kept. Writes; caller commits.

    What the kept row lacks comes from the other one; `take` names fields whose value there is the right one. Both keep
    their history, and `unmerge` gives both back. Raises Invalid for two identity numbers, for one row, and where one
    is dead and the other not; Forbidden without the right in both cells.
    """
    if kept_id == gone_id:
        raise Invalid("One entry is no double of itself.", field="other")
    if len(why.strip()) < 2:
        raise Invalid("Say why they are one person.", field="why")
    first, second = sorted((kept_id, gone_id))
    rows = {key: _person(session, access, key, needs=["doubles"]) for key in (first, second)}
    kept, gone = rows[kept_id], rows[gone_id]
    values = _together(events.values(kept), events.values(gone), take)
    reason = why.strip()[:500]
    leaving = events.change(
        session, gone, {"state": "merged", "merged_into": str(kept.id)}, told=told, kind="merged", more={"why": reason}
    )
    events.change(
        session,
        kept,
        values,
        told=told,
        kind="merged",
        more={"why": reason, "other": str(gone.id), "leaving": str(leaving)},
    )
    if gone.household_id is not None:
        _hand_on_head(session, gone.household_id, gone.id, kept, told=told)
    return kept


def unmerge(session: Session, access: Access, kept_id: uuid.UUID, event_id: uuid.UUID, *, told: Told) -> Resident:
    """Take a merging back and return the row that comes back. Writes; caller commits.

    Fields of the kept row that were changed since stay as they are. Raises Invalid where there is nothing to take back.
    """
    kept = _person(session, access, kept_id, needs=["doubles"])
    past = events.history(session, kept)
    merging = next((one for one in past if one.id == event_id and one.kind == "merged" and "other" in one.more), None)
    if merging is None or any(one.undoes == event_id for one in past):
        raise Invalid("There is no merging to take back here.", field="event")
    gone: Resident = events.locked(session, "resident", uuid.UUID(merging.more["other"]))
    if gone.state != "merged" or gone.merged_into != kept.id:
        raise Invalid("There is no merging to take back here.", field="event")
    leaving = next(one for one in events.history(session, gone) if str(one.id) == merging.more["leaving"])
    now = events.values(kept)
    back = {name: _was(merging, name) for name, value in merging.set.items() if now[name] == value}
    more = {"why": "", "other": str(gone.id)}
    events.change(session, kept, back, told=told, kind="unmerged", undoes=event_id, more=more)
    values = {name: _was(leaving, name) for name in leaving.set}
    events.change(
        session, gone, values, told=told, kind="unmerged", undoes=leaving.id, more={"why": "", "other": str(kept.id)}
    )
    return gone


def take_back(
    session: Session, access: Access, person_id: uuid.UUID, event_id: uuid.UUID, *, told: Told, why: str
) -> Resident:
    """Take back a death or a moving out that was entered by mistake. Writes; caller commits.

    Only the newest change of the row: what came after it was built on it. Raises Invalid for another event.
    """
    row = _person(session, access, person_id, needs=())
    past = events.history(session, row)
    newest = next((one for one in reversed(past) if one.set), None)
    if newest is None or newest.id != event_id or newest.kind not in _UNDONE:
        raise Invalid("Only the newest moving out or death can be taken back.", field="event")
    rights = access.rights("resident", row.cell_code, town=row.town_code)
    permissions.need(rights, "resident", ["deaths" if newest.kind == "died" else "moves"])
    if len(why.strip()) < 2:
        raise Invalid("Say why it is taken back.", field="why")
    values = {name: _was(newest, name) for name in newest.set}
    more = {"why": why.strip()[:500]}
    events.change(session, row, values, told=told, kind="taken_back", undoes=event_id, more=more)
    if row.state == "living" and row.household_id is not None:
        household = events.locked(session, "household", row.household_id)
        if household.state != "living":
            events.change(session, household, {"state": "living"}, told=told, kind="taken_back")
    return row


def members(session: Session, household: Household, *, living: bool = False) -> Sequence[Resident]:
    """Return the people of a household that the session's actor may see, oldest entry first. Reads."""
    query = select(Resident).where(
        Resident.district_code == household.district_code, Resident.household_id == household.id
    )
    query = query.where(Resident.state == "living") if living else query.where(Resident.state != "merged")
    return session.scalars(query.order_by(Resident.id).limit(MOST_MEMBERS)).all()


def _was(event: Event, name: str) -> Any:
    """Return what a field was before an event; empty as its kind is."""
    return event.was.get(name)


def _household(session: Session, access: Access, home: Home, *, told: Told) -> Household:
    """Return the household to move into, locked, made where it is new."""
    if home.household_id is not None:
        there: Household = events.locked(session, "household", home.household_id)
        if there.state != "living":
            raise Invalid("This household does not live here.", field="household")
        return there
    where: Room | Position
    if home.room_id is not None:
        room: Room = events.found(session, "room", home.room_id)
        if room.state != "there":
            raise Invalid("This room is not there any more.", field="room")
        where = room
    elif home.position is not None:
        where = home.position
    else:
        raise Invalid("Say where the household lives: a room, or a point.", field="room")
    plain = entering.checked("household", {"kind": home.kind}, today=told.at.astimezone(CHINA).date())
    values = plain | {"room_id": str(home.room_id) if home.room_id else None}
    draft = Household(cell_code=None, town_code=None)
    events.put(session, draft, where)
    rights = access.rights("household", draft.cell_code, town=draft.town_code)
    if not rights.changes:
        raise Forbidden("This cell is not in your area.")
    made: Household = events.create(session, "household", values, told=told, kind="moved_in", where=where)
    return made


def _person(
    session: Session, access: Access, person_id: uuid.UUID, *, needs: Sequence[str], version: int | None = None
) -> Resident:
    row: Resident = events.locked(session, "resident", person_id, version=version)
    permissions.need(access.rights("resident", row.cell_code, town=row.town_code), "resident", needs)
    if row.state == "merged" and version is None and "doubles" in needs:
        raise Invalid("This entry was merged with another one already.", field="other")
    return row


def _by_number(session: Session, number: str) -> uuid.UUID | None:
    """Return the id of the person with an identity number in the whole district, as the program."""
    district = actor_of(session).district
    query = select(Resident.id).where(
        Resident.district_code == district,
        Resident.id_index == sealing.id_index(number),
        Resident.id_index.is_not(None),
        Resident.state != "merged",
    )
    with acting_as(session, system(district, "registers")):
        return session.scalars(query).one_or_none()


def _out(session: Session, row: Resident, *, told: Told, to: str) -> None:
    if row.state != "living":
        raise Invalid("This person does not live here.", field="person")
    _in_order(session, row, told.happened_at)
    events.change(session, row, {"state": "moved"}, told=told, kind="moved_out", more={"to": to.strip()[:200]})
    if row.household_id is not None:
        _leave(session, row.household_id, row.id, told=told)


def _in_order(session: Session, row: Resident, happened_at: datetime) -> None:
    """Raise Invalid for what lies before the birth or before the last move."""
    _not_before_birth(row.birth_date.isoformat() if row.birth_date else None, happened_at)
    past = events.history(session, row)
    undone = {one.undoes for one in past}
    last = max((one.happened_at for one in past if one.kind in _RESIDING and one.id not in undone), default=None)
    if last is not None and happened_at < last:
        day = last.astimezone(CHINA).date().isoformat()
        raise Invalid("This lies before the last move of {day}.", field="happened_at", day=day)


def _not_before_birth(born_on: str | None, happened_at: datetime) -> None:
    if born_on and happened_at.astimezone(CHINA).date().isoformat() < born_on:
        raise Invalid("This lies before the day of birth.", field="happened_at")


def _seat(household: Household, values: Mapping[str, Any]) -> None:
    """Refuse a second head of a household."""
    if values.get("relation") == "head" and household.head_id is not None:
        raise Invalid("This household has a head; change that one first.", field="relation")


def _head(session: Session, household: Household, row: Resident, *, told: Told, by: Actor | None = None) -> None:
    if row.relation == "head" and household.head_id != row.id:
        events.change(session, household, {"head_id": str(row.id)}, told=told, by=by)


def _leave(
    session: Session, household_id: uuid.UUID, person_id: uuid.UUID, *, told: Told, by: Actor | None = None
) -> None:
    """Let a household go on without one of its people: without a head, or altogether."""
    household: Household = events.locked(session, "household", household_id)
    values: dict[str, Any] = {"head_id": None} if household.head_id == person_id else {}
    if household.state == "living" and not members(session, household, living=True):
        events.change(session, household, values | {"state": "moved"}, told=told, kind="moved_out", by=by)
    elif values:
        events.change(session, household, values, told=told, by=by)


def _hand_on_head(session: Session, household_id: uuid.UUID, gone: uuid.UUID, kept: Resident, *, told: Told) -> None:
    household: Household = events.locked(session, "household", household_id)
    if household.head_id == gone:
        head = str(kept.id) if kept.household_id == household_id and kept.state == "living" else None
        events.change(session, household, {"head_id": head}, told=told)


def _together(kept: Mapping[str, Any], gone: Mapping[str, Any], take: Collection[str]) -> dict[str, Any]:
    """Return the fields that the kept row gets from its double."""
    if {kept["state"], gone["state"]} & {"dead"} and kept["state"] != gone["state"]:
        raise Invalid("One of the two is dead; register the other one's death first.", field="other")
    numbers = {kept["id_number"], gone["id_number"]} - {""}
    if len(numbers) > 1 and "id_number" not in take:
        raise Invalid("They have two identity numbers, so they are two people.", field="other")
    found: dict[str, Any] = {}
    for asked in REGISTERS["resident"].fields:
        name = asked.name
        if name in ("household_id", "merged_into", "relation") and name not in take:
            continue
        if name == "care":
            found[name] = sorted({*kept[name], *gone[name]})
        elif gone[name] not in _EMPTY and (name in take or kept[name] in _EMPTY):
            found[name] = gone[name]
    return {name: value for name, value in found.items() if value != kept[name]}

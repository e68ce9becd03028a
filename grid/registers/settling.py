"""What a source's row does to its person 落账: fields filled, corrected or left for a person; all written in bulk.

Holds one list on its way into the register. Who a row means is `grid.registers.taking`'s.
"""

import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from sqlalchemy.orm import Session

from core.crypto import seal
from core.db import actor_of, rows
from core.ids import new_id
from grid.registers import bulk, events, homes
from grid.registers.events import Told
from grid.registers.fields import REGISTERS
from grid.registers.homes import Homes
from grid.registers.leading import FIELDS, alike, judge
from grid.registers.list_models import FieldConflict
from grid.registers.models import LifeEvent, Resident

#: How the two sides of a conflict are sealed.
CONFLICT: Final = "register.conflict"
#: Says how far it is: phase, done, of how many. Raises to stop.
Tell = Callable[[str, int, int], None]
_EMPTY: Final[tuple[Any, ...]] = ("", None, [])


@dataclass(frozen=True, slots=True)
class Row:
    """A row that was checked."""

    number: int
    #: Checked values of the register's fields.
    plain: Mapping[str, Any]
    #: As it was written, by our names.
    said: Mapping[str, str]
    #: The room it names; None where it names none.
    room: uuid.UUID | None
    key: str = ""


@dataclass(slots=True)
class Standing:
    """What a source says now."""

    id: uuid.UUID
    source: str
    subject: uuid.UUID | None
    digest: bytes
    key: bytes | None
    plain: Mapping[str, Any]
    said: Mapping[str, str]


@dataclass(slots=True)
class Person:
    """A resident as far as lists ask."""

    id: uuid.UUID
    salt: bytes
    version: int
    state: str
    values: dict[str, Any]
    room: uuid.UUID | None
    household: uuid.UUID | None
    new: bool = False


@dataclass(frozen=True, slots=True)
class Open:
    """A field that a person has to decide about."""

    row: uuid.UUID
    backed_by: list[str]
    ours: Any
    theirs: Any


@dataclass(slots=True)
class Taking:
    """One list on its way into the register."""

    session: Session
    list_id: uuid.UUID
    source: str
    whole: bool
    told: Told
    leads: Mapping[str, Sequence[str]]
    homes: Homes
    tell: Tell
    people: dict[uuid.UUID, Person] = field(default_factory=dict)
    standing: list[Standing] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    #: Person → fields that were changed, with the value before.
    changed: dict[uuid.UUID, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    conflicts: dict[tuple[uuid.UUID, str], Open] = field(default_factory=dict)
    #: Fields of people on which the source and the register agree by now, or a rule says who leads.
    settled: set[tuple[uuid.UUID, str]] = field(default_factory=set)
    #: Identity number → whose it is.
    numbers: dict[str, uuid.UUID] = field(default_factory=dict)
    #: Households that somebody left.
    left: set[uuid.UUID] = field(default_factory=set)

    @property
    def district(self) -> str:
        """Return the district's code."""
        return actor_of(self.session).district


def judge_row(taking: Taking, row: Row, row_id: uuid.UUID, person: Person, said: Sequence[Standing]) -> None:
    """Judge every field of a row against its person: filled and replaced ones are set, others wait as conflicts.

    said: what sources say of the person now, the row that this one corrects among them.
    """
    for name in FIELDS:
        ours = person.room if name == "home" else person.values.get(name)
        theirs = row.room if name == "home" else row.plain.get(name)
        if theirs in _EMPTY:
            continue
        if alike(name, ours, theirs):
            taking.settled.add((person.id, name))
            continue
        if name == "id_number" and taking.numbers.setdefault(str(theirs), person.id) != person.id:
            # Somebody else has this number: the row keeps it, and a person is asked who is who.
            continue
        gone = name == "home" and person.state != "living"
        backed = set() if ours in _EMPTY else {one.source for one in said if _says(taking, one, name, ours)}
        verdict = judge(name, ours, theirs, source=taking.source, backed_by=backed, leads=taking.leads)
        if gone or verdict == "ask":
            # What the source said before was asked before.
            if not any(one.source == taking.source and _says(taking, one, name, theirs) for one in said):
                shown = [taking.homes.written(one) if name == "home" else one for one in (ours, theirs)]
                taking.conflicts[person.id, name] = Open(row_id, sorted(backed), *shown)
        else:
            taking.settled.add((person.id, name))
            if verdict in ("fill", "replace"):
                set_field(taking, person, name, theirs)


def set_field(taking: Taking, person: Person, name: str, value: Any) -> None:
    """Set a field of a person in memory, and remember what was there."""
    if name == "home":
        household = taking.homes.household(value)
        if not person.new:
            taking.changed[person.id].setdefault("household_id", person.household)
            if person.household is not None:
                taking.left.add(person.household)
        person.room, person.household = value, household
        return
    if not person.new:
        taking.changed[person.id].setdefault(name, person.values.get(name))
    person.values[name] = value


def write_people(taking: Taking) -> None:
    """Write new residents, rooms and households, and every changed field, with their events. Writes."""
    session, told = taking.session, taking.told
    new = [one for one in taking.people.values() if one.new]
    members = Counter(one.household for one in new if one.household)
    homes.write(session, taking.homes, members, told=told)
    more = {"list": str(taking.list_id)}
    homes.create_many(
        session,
        Resident,
        [("resident", one.id, _plain(one), _where(taking, one)) for one in new],
        told=told,
        more=more,
    )
    changed = [taking.people[key] for key in taking.changed]
    actor, register = actor_of(session), REGISTERS["resident"]
    stamp = {"changed_at": told.at}
    bulk.update(
        session,
        Resident,
        (
            {"district_code": actor.district, "id": one.id, "version": one.version}
            | stamp
            | events.columns(register, _plain(one))
            for one in changed
        ),
        versioned=True,
    )
    moved = [one for one in changed if "household_id" in taking.changed[one.id]]
    bulk.update(
        session,
        Resident,
        ({"district_code": actor.district, "id": one.id} | dict(_where(taking, one)) for one in moved),
    )
    bulk.insert(
        session,
        LifeEvent,
        (
            events.event_row(
                actor,
                "resident",
                one.id,
                one.salt,
                kind="moved_in" if "household_id" in taking.changed[one.id] else "changed",
                data=_difference(taking, one) | more,
                told=told,
            )
            for one in changed
        ),
    )
    homes.empty_households(session, taking.left, told=told)
    taking.counts["changed"] = len(changed)


def _plain(person: Person) -> dict[str, Any]:
    plain = dict(person.values)
    plain["residence"] = plain.get("residence") or "registered"
    plain["household_id"] = str(person.household) if person.household else None
    return plain


def _where(taking: Taking, person: Person) -> Mapping[str, Any]:
    return dict.fromkeys(homes.PLACE) if person.room is None else taking.homes.where(person.room)


def _difference(taking: Taking, person: Person) -> dict[str, Any]:
    now, before = _plain(person), dict(taking.changed[person.id])
    if "household_id" in before:
        before["household_id"] = str(before["household_id"]) if before["household_id"] else None
    return {"set": {name: now[name] for name in before}, "was": before}


def write_conflicts(taking: Taking) -> None:
    """Write what waits for a person; what the source no longer says is no longer asked. Writes."""
    session, d = taking.session, taking.district
    waiting = rows(
        session,
        "SELECT id, subject_id, field FROM field_conflict"
        " WHERE district_code = :d AND state = 'waiting' AND source = :source",
        d=d,
        source=taking.source,
    )
    over = [
        {"district_code": d, "id": one["id"], "state": "obsolete", "decided_at": taking.told.at}
        for one in waiting
        if (key := (one["subject_id"], one["field"])) in taking.conflicts or key in taking.settled
    ]
    bulk.update(session, FieldConflict, over)
    taking.counts["conflicts"] = bulk.insert(
        session,
        FieldConflict,
        (
            {
                "district_code": d,
                "id": new_id(),
                "subject_id": subject,
                "source_row_id": one.row,
                "source": taking.source,
                "field": name,
                "backed_by": one.backed_by,
                "sealed": seal(orjson.dumps({"ours": one.ours, "theirs": one.theirs}).decode(), context=CONFLICT),
                "state": "waiting",
            }
            for (subject, name), one in taking.conflicts.items()
        ),
    )


def _says(taking: Taking, one: Standing, name: str, value: Any) -> bool:
    """Return whether a source says a value of a field."""
    if name == "home":
        return bool(taking.homes.room(one.said.get("place", "")) == value)
    return one.plain.get(name) not in _EMPTY and alike(name, one.plain.get(name), value)

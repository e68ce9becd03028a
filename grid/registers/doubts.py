"""Rows that may mean somebody of the register 疑似同一人: shown side by side, and decided by whoever may merge doubles.

A row that waits becomes that person or a new one; a row that has a person already, and may be another one as well, is
settled by merging the two (`grid.registers.people.merge`), which can be taken back there.
"""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.actor import system
from core.db import acting_as, actor_of
from core.errors import Conflict, Invalid, NotFound
from grid.registers import events, homes, linking, people, permissions
from grid.registers.conflicts import shown
from grid.registers.events import Told
from grid.registers.leading import leads_of
from grid.registers.list_models import LinkDoubt, SourceRow
from grid.registers.models import Resident
from grid.registers.permissions import Access
from grid.registers.settling import Person, Row, Taking, judge_row, write_conflicts, write_people
from grid.registers.taking import new_person, opened
from grid.registers.templates import number_of

#: Lines of one page.
PAGE: Final = 30
ANSWERS: Final = ("same", "different")
_SHOWN: Final = ("name", "sex", "id_number", "birth_date", "phone", "address")


@dataclass(frozen=True, slots=True)
class Side:
    """One field of both, masked, and on which level they agree."""

    field: str
    ours: str
    theirs: str
    #: A level of `linking.LEVELS`, or missing.
    level: str
    bits: float


@dataclass(frozen=True, slots=True)
class Line:
    """One doubt: a row of a source beside the person whom it may mean."""

    id: uuid.UUID
    source: str
    row: int
    said_at: datetime
    other_id: uuid.UUID
    cell: str | None
    #: The row has a person of its own already: saying the same merges the two.
    merges: bool
    bits: float
    sides: Sequence[Side]


def count(session: Session) -> int:
    """Return how many doubts wait about people whom the actor sees. Reads."""
    return len(session.scalars(_waiting(session).with_only_columns(LinkDoubt.id)).all())


def listed(session: Session, *, most: int = PAGE) -> list[Line]:
    """Return the doubts that wait, the likeliest first. Reads."""
    found = session.execute(_waiting(session).order_by(LinkDoubt.bits.desc(), LinkDoubt.id).limit(most)).all()
    if not found:
        return []
    ground = _ground(session)
    return [_line(doubt, row, person, ground) for doubt, row, person in found]


def decide(session: Session, access: Access, doubt_id: uuid.UUID, answer: str, *, at: datetime) -> uuid.UUID:
    """Say whether a row and a person are one, and return the person whom the row means afterwards.

    Writes; caller commits. Raises NotFound, Conflict where somebody decided meanwhile, Forbidden where the person is
    in nobody's cell of the actor, Invalid for two right identity numbers.
    """
    actor = actor_of(session)
    if answer not in ANSWERS:
        raise Invalid("Say whether they are one person.", field="answer")
    doubt = session.scalar(
        select(LinkDoubt)
        .where(LinkDoubt.district_code == actor.district, LinkDoubt.id == doubt_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if doubt is None:
        raise NotFound("There is no such doubt.")
    if doubt.state != "waiting":
        raise Conflict("Somebody else decided this meanwhile.")
    other: Resident = events.locked(session, "resident", doubt.other_id)
    permissions.need(access.rights("resident", other.cell_code, town=other.town_code), "resident", ["doubles"])
    row = session.scalars(
        select(SourceRow)
        .where(SourceRow.district_code == actor.district, SourceRow.id == doubt.source_row_id)
        .with_for_update()
    ).one()
    doubt.state, doubt.decided_by, doubt.decided_name, doubt.decided_at = answer, actor.id, actor.name, at
    session.flush()
    if answer == "same":
        return _same(session, access, row, other, at=at)
    left = session.scalar(
        select(LinkDoubt.id)
        .where(
            LinkDoubt.district_code == actor.district,
            LinkDoubt.source_row_id == row.id,
            LinkDoubt.state == "waiting",
        )
        .limit(1)
    )
    if row.subject_id is not None:
        return row.subject_id
    if left is not None or row.ended:
        return other.id
    return _settle(session, row, None, at=at)


def _same(session: Session, access: Access, row: SourceRow, other: Resident, *, at: datetime) -> uuid.UUID:
    """Make the row mean the person; what else it may have meant is settled with it."""
    d = actor_of(session).district
    session.execute(
        update(LinkDoubt)
        .where(LinkDoubt.district_code == d, LinkDoubt.source_row_id == row.id, LinkDoubt.state == "waiting")
        .values(state="different", decided_at=at)
    )
    if row.subject_id is None:
        return _settle(session, row, other, at=at)
    if row.subject_id != other.id:
        why = f"{row.source} #{row.row}"
        people.merge(session, access, other.id, row.subject_id, told=Told(at, at, row.source), why=why)
        session.execute(
            update(SourceRow)
            .where(SourceRow.district_code == d, SourceRow.subject_id == row.subject_id)
            .values(subject_id=other.id)
        )
    return other.id


def _settle(session: Session, row: SourceRow, known: Resident | None, *, at: datetime) -> uuid.UUID:
    """Give a waiting row its person, known or new, and judge its fields as a list would, as the program."""
    actor = actor_of(session)
    plain, said = opened(row.sealed)
    with acting_as(session, system(actor.district, "registers")):
        ground = homes.load(session)
        taking = Taking(
            session=session,
            list_id=row.list_id,
            source=row.source,
            whole=False,
            told=Told(at, at, row.source),
            leads=leads_of({"registers": permissions.settings(session)}),
            homes=ground,
            tell=lambda *_: None,
        )
        person = new_person(taking) if known is None else _person(known, ground)
        taking.people[person.id] = person
        given = Row(row.row, plain, said, ground.room(said.get("place", "")))
        judge_row(taking, given, row.id, person, ())
        write_people(taking)
        taking.counts = Counter()
        row.subject_id = person.id
        session.flush()
        write_conflicts(taking)
    return person.id


def _person(known: Resident, ground: homes.Homes) -> Person:
    values = events.values(known)
    household = known.household_id
    room = ground.room_of.get(household) if household else None
    kept = {name: value for name, value in values.items() if name not in ("household_id", "merged_into", "state")}
    return Person(known.id, bytes(known.salt), known.version, known.state, kept, room, household)


def _waiting(session: Session) -> Any:
    district = actor_of(session).district
    return (
        select(LinkDoubt, SourceRow, Resident)
        .join(SourceRow, (SourceRow.district_code == district) & (SourceRow.id == LinkDoubt.source_row_id))
        .join(Resident, (Resident.district_code == district) & (Resident.id == LinkDoubt.other_id))
        .where(LinkDoubt.district_code == district, LinkDoubt.state == "waiting", SourceRow.ended == "")
    )


def _line(doubt: LinkDoubt, row: SourceRow, person: Resident, ground: homes.Homes) -> Line:
    plain, said = opened(row.sealed)
    values = events.values(person)
    room = ground.room_of.get(person.household_id) if person.household_id else None
    ours = _compared(values, ground.written(room), values["id_number"])
    theirs = _compared(plain, said.get("place", ""), number_of(said.get("id_number", "")))
    told = linking.why(ours, theirs)
    sides = [
        Side(name, *_masked(name, ours, theirs), *told["birth" if name == "birth_date" else name]) for name in _SHOWN
    ]
    return Line(
        id=doubt.id,
        source=row.source,
        row=row.row,
        said_at=row.said_at,
        other_id=person.id,
        cell=person.cell_code,
        merges=row.subject_id is not None,
        bits=doubt.bits,
        sides=sides,
    )


def _compared(plain: Mapping[str, Any], address: str, number: str) -> dict[str, str]:
    found = {name: str(plain.get(name) or "") for name in ("name", "sex", "phone")}
    return found | {"birth": str(plain.get("birth_date") or ""), "address": address, "id_number": number}


def _masked(name: str, ours: Mapping[str, str], theirs: Mapping[str, str]) -> tuple[str, str]:
    """Return both values, masked but for a character or two in which they differ."""
    key = "birth" if name == "birth_date" else name
    return shown(name, ours[key], theirs[key]), shown(name, theirs[key], ours[key])


def _ground(session: Session) -> homes.Homes:
    with acting_as(session, system(actor_of(session).district, "registers")):
        return homes.load(session)

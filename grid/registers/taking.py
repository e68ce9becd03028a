"""Whom the rows of a department's list mean 比对: known people, new ones, and rows that a person has to look at.

One list is one transaction: rows as they were told, new residents with households, filled and corrected fields, doubts
and conflicts. Nothing that a person wrote, and nothing that another source says, is overwritten without a rule.
"""

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from core.crypto import blind_index, seal, unseal
from core.db import rows
from core.ids import new_id
from grid.registers import bulk, homes, linking, sealing
from grid.registers.fields import REGISTERS
from grid.registers.linking import People
from grid.registers.list_models import LinkDoubt, SourceRow
from grid.registers.settling import Person, Row, Standing, Taking, judge_row, write_conflicts, write_people
from grid.registers.templates import number_of

#: How rows of sources are sealed.
ROW: Final = "register.source_row"
#: Doubts that one row may have; the likeliest are kept.
_MOST_DOUBTS: Final = 5
#: The fields of a person of whom nothing is known; lists in it are never changed, only replaced.
_EMPTY: Final = {one.name: homes.nothing(one.kind) for one in REGISTERS["resident"].fields if one.kind != "ref"}
#: Values, address, and identity number as written.
_Side = tuple[Mapping[str, Any], str, str]
#: A row, its new id, and its person; None while somebody has to decide.
Made = list[tuple[Row, uuid.UUID, uuid.UUID | None]]


def take(taking: Taking, given: Sequence[Row]) -> Counter[str]:
    """Take a whole checked list in and return what became of its rows. Writes; caller commits."""
    taking.tell("matching", 0, len(given))
    fresh, replaced, seen = _unchanged(taking, given)
    taking.counts["rows"], taking.counts["unchanged"] = len(given), len(given) - len(fresh)
    made: Made = []
    waiting: list[tuple[uuid.UUID, uuid.UUID]] = []
    doubts: list[_Doubt] = []
    if fresh:
        _load_people(taking)
        _open_standing(taking)
        made, waiting, doubts = _linked(taking, fresh, replaced)
        taking.tell("writing", 0, len(made))
        write_people(taking)
        taking.tell("writing", len(made) // 2, len(made))
    _write_rows(taking, made, replaced, seen)
    _settle_waiting(taking, waiting)
    _write_doubts(taking, doubts)
    write_conflicts(taking)
    taking.tell("writing", len(made), len(made))
    return taking.counts


def digest_of(said: Mapping[str, str]) -> bytes:
    """Return the blind index of all that a row says."""
    return blind_index(orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode(), context=ROW)


def opened(stored: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the checked values of a source's row and what it said in words."""
    data = orjson.loads(unseal(bytes(stored), context=ROW))
    return data["plain"], data["said"]


def _unchanged(
    taking: Taking, given: Sequence[Row]
) -> tuple[list[tuple[Row, bytes]], dict[int, Standing], set[uuid.UUID]]:
    """Return the rows that the source did not say before, those that correct one by its number, and what still stands.

    Reads which rows of the source stand, without opening them.
    """
    found = rows(
        taking.session,
        "SELECT id, source, subject_id, digest, key_index FROM source_row"
        " WHERE district_code = :d AND register = 'resident' AND ended = '' ORDER BY id",
        d=taking.district,
    )
    taking.standing = [
        Standing(
            one["id"], one["source"], one["subject_id"], bytes(one["digest"]),
            bytes(one["key_index"]) if one["key_index"] else None, {}, {},
        )
        for one in found
    ]  # fmt: skip
    mine: dict[bytes, list[Standing]] = defaultdict(list)
    for one in taking.standing:
        if one.source == taking.source:
            mine[one.digest].append(one)
    fresh, seen = [], set()
    for row in given:
        digest = digest_of(row.said)
        if mine[digest]:
            seen.add(mine[digest].pop(0).id)
        else:
            fresh.append((row, digest))
    by_key = {one.key: one for left in mine.values() for one in left if one.key is not None}
    corrected = {}
    for at, (row, _) in enumerate(fresh):
        if row.key and (before := by_key.pop(key_index(taking.source, row.key), None)):
            corrected[at] = before
    return fresh, corrected, seen


def key_index(source: str, key: str) -> bytes:
    """Return the blind index of a source's own number of a row."""
    return blind_index(f"{source}\x1f{key}", context=ROW)


def _load_people(taking: Taking) -> None:
    """Read every resident that is no double, opened."""
    names = [one.name for one in REGISTERS["resident"].fields if one.kind not in ("sealed", "ref")]
    columns = ", ".join(names)
    query = (
        f"SELECT id, salt, version, state, household_id, name_sealed, id_sealed, phone_sealed, {columns}"  # noqa: S608
        " FROM resident WHERE district_code = :d AND state <> 'merged' ORDER BY id"
    )
    for row in rows(taking.session, query, d=taking.district):
        values = {name: row[name] for name in names}
        values |= {
            "name": sealing.unsealed("name", row["name_sealed"]),
            "id_number": sealing.unsealed("id_number", row["id_sealed"]),
            "phone": sealing.unsealed("phone", row["phone_sealed"]),
        }
        for name in ("birth_date", "permit_until"):
            values[name] = values[name].isoformat() if values[name] else None
        values["care"] = sorted(values["care"])
        room = taking.homes.room_of.get(row["household_id"])
        person = Person(row["id"], bytes(row["salt"]), row["version"], row["state"], values, room, row["household_id"])
        taking.people[person.id] = person
        if values["id_number"]:
            taking.numbers[values["id_number"]] = person.id


def _open_standing(taking: Taking) -> None:
    stored = {
        one["id"]: one["sealed"]
        for one in rows(
            taking.session,
            "SELECT id, sealed FROM source_row WHERE district_code = :d AND register = 'resident' AND ended = ''",
            d=taking.district,
        )
    }
    doubles: dict[uuid.UUID | None, uuid.UUID] = {
        one["id"]: one["merged_into"]
        for one in rows(
            taking.session,
            "SELECT id, merged_into FROM resident WHERE district_code = :d AND state = 'merged'",
            d=taking.district,
        )
    }
    for one in taking.standing:
        one.plain, one.said = opened(stored[one.id])
        while one.subject in doubles:
            one.subject = doubles[one.subject]


def _linked(
    taking: Taking, fresh: list[tuple[Row, bytes]], corrected: Mapping[int, Standing]
) -> tuple[Made, list[tuple[uuid.UUID, uuid.UUID]], "list[_Doubt]"]:
    """Find whom the rows mean and judge their fields.

    Returns the rows with their new ids and their people, the waiting rows of before whose person is found now, and
    what a person has to look at.
    """
    ours = list(taking.people.values())
    standing = [one for one in taking.standing if one.subject in taking.people]
    waiting = [one for one in taking.standing if one.subject is None]
    index = {person.id: at for at, person in enumerate(ours)}
    known: list[_Side] = [
        (person.values, taking.homes.written(person.room), person.values["id_number"]) for person in ours
    ]
    known += [_side(one.plain, one.said) for one in standing]
    owner = [*range(len(ours)), *(index[one.subject] for one in standing if one.subject)]
    sides = [_side(row.plain, row.said) for row, _ in fresh] + [_side(one.plain, one.said) for one in waiting]
    taking.tell("linking", 0, len(sides))
    links = linking.link(_as_people(known), owner, _as_people(sides))
    whom = _Whom(taking, ours, links, len(known), len(fresh))
    made: Made = []
    for at, (row, _) in enumerate(fresh):
        before = corrected.get(at)
        made.append((row, new_id(), whom.settle(at, before.subject if before else None)))
    said: dict[uuid.UUID, list[Standing]] = defaultdict(list)
    for one in standing:
        if one.subject is not None:
            said[one.subject].append(one)
    for at, (row, row_id, subject) in enumerate(made):
        if subject is not None:
            judge_row(taking, row, row_id, taking.people[subject], said.get(subject, ()))
        if at % 5000 == 0:
            taking.tell("judging", at, len(made))
    met = Counter(subject for _, _, subject in made if subject)
    taking.counts["repeated"] += sum(count - 1 for count in met.values() if count > 1)
    people = [ours[at].id for at in owner]
    return made, *whom.doubts_of(made, waiting, people)


def _side(plain: Mapping[str, Any], said: Mapping[str, str]) -> _Side:
    return plain, said.get("place", ""), number_of(said.get("id_number", ""))


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A row that may mean a person."""

    row: uuid.UUID
    other: uuid.UUID
    bits: float


@dataclass(slots=True)
class _Whom:
    """Which person each fresh row means, made new where nobody is known."""

    taking: Taking
    ours: list[Person]
    links: linking.Links
    known: int
    fresh: int
    #: Group → the person made for it.
    groups: dict[int, Person] = field(default_factory=dict)
    #: Row → rows that it may be one person with, and bits.
    maybe: dict[int, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    sizes: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Sort the doubts by row."""
        for row, other, bits in self.links.doubts:
            self.maybe[row].append((other, bits))
        self.sizes = Counter(self.links.group.tolist())

    def settle(self, at: int, corrects: uuid.UUID | None) -> uuid.UUID | None:
        """Return the person of a fresh row; None where a person of flesh has to decide first."""
        counts = self.taking.counts
        if corrects is not None and corrects in self.taking.people:
            counts["matched"] += 1
            return corrects
        owner = int(self.links.owner[at])
        if owner >= 0:
            counts["matched"] += 1
            return self.ours[owner].id
        group = int(self.links.group[at])
        if group not in self.groups:
            # One row alone that may be somebody waits; several rows of one person are a person in any case.
            if self.sizes[group] == 1 and any(other < self.known for other, _ in self.maybe[at]):
                counts["doubtful"] += 1
                return None
            self.groups[group] = new_person(self.taking)
            counts["new"] += 1
        return self.groups[group].id

    def doubts_of(
        self, made: Made, waiting: Sequence[Standing], people: Sequence[uuid.UUID]
    ) -> tuple[list[tuple[uuid.UUID, uuid.UUID]], list[_Doubt]]:
        """Return the waiting rows that are found by now, and the doubts: row and person who are not one yet.

        people: whose each known row is.
        """
        subject_of = [subject for _, _, subject in made]
        ids = [row_id for _, row_id, _ in made] + [one.id for one in waiting]
        found: list[tuple[uuid.UUID, uuid.UUID]] = []
        for at, one in enumerate(waiting, self.fresh):
            owner = int(self.links.owner[at])
            if owner >= 0:
                found.append((one.id, self.ours[owner].id))
            elif (group := int(self.links.group[at])) in self.groups:
                self.maybe[at].append((-1 - group, linking.MATCH))
        settled = {row for row, _ in found}
        doubts: dict[tuple[uuid.UUID, uuid.UUID], float] = {}
        for at, listed in self.maybe.items():
            mine = subject_of[at] if at < self.fresh else None
            for other, bits in sorted(listed, key=lambda one: -one[1])[:_MOST_DOUBTS]:
                row, theirs = at, self._subject(other, people, subject_of)
                if theirs is None and other >= self.known and mine is not None:
                    # The other row waits: the doubt is its.
                    row, theirs, own = other - self.known, mine, None
                else:
                    own = mine
                if theirs is None or theirs == own or ids[row] in settled:
                    continue
                doubts.setdefault((ids[row], theirs), bits)
        return found, [_Doubt(row, other, bits) for (row, other), bits in doubts.items()]

    def _subject(
        self, other: int, people: Sequence[uuid.UUID], subject_of: Sequence[uuid.UUID | None]
    ) -> uuid.UUID | None:
        if other < 0:
            return self.groups[-1 - other].id
        if other < self.known:
            return people[other]
        at = other - self.known
        return subject_of[at] if at < self.fresh else None


def new_person(taking: Taking) -> Person:
    """Return a person that nobody knew, empty, among the list's people."""
    made = Person(new_id(), b"", 1, "living", dict(_EMPTY), None, None, new=True)
    taking.people[made.id] = made
    return made


def _as_people(sides: Iterable[_Side]) -> People:
    listed = list(sides)
    return People(
        name=[str(one.get("name", "")) for one, _, _ in listed],
        sex=[str(one.get("sex", "")) for one, _, _ in listed],
        id_number=[number for _, _, number in listed],
        birth=[str(one.get("birth_date") or "") for one, _, _ in listed],
        phone=[str(one.get("phone", "")) for one, _, _ in listed],
        address=[address for _, address, _ in listed],
    )


def _write_rows(taking: Taking, made: Made, corrected: Mapping[int, Standing], seen: set[uuid.UUID]) -> None:
    """Write what the rows said; end those that they correct, and those that a whole list no longer has. Writes."""
    d, at = taking.district, taking.told.at
    bulk.insert(
        taking.session,
        SourceRow,
        (
            {
                "district_code": d,
                "id": row_id,
                "register": "resident",
                "source": taking.source,
                "list_id": taking.list_id,
                "row": row.number,
                "subject_id": subject,
                "digest": digest_of(row.said),
                "key_index": key_index(taking.source, row.key) if row.key else None,
                "sealed": sealed(row),
                "said_at": taking.told.happened_at,
                "ended": "",
            }
            for row, row_id, subject in made
        ),
    )
    left = [one for one in taking.standing if one.source == taking.source and one.id not in seen]
    by_subject: dict[uuid.UUID | None, list[Standing]] = defaultdict(list)
    replaced = {one.id for one in corrected.values()}
    for one in left:
        if one.subject is not None and one.id not in replaced:
            by_subject[one.subject].append(one)
    for index, (_, _, subject) in enumerate(made):
        if index not in corrected and subject is not None and by_subject[subject]:
            replaced.add(by_subject[subject].pop(0).id)
    gone = {one.id for one in left if one.id not in replaced} if taking.whole else set()
    taking.counts["corrected"], taking.counts["missing"] = len(replaced), len(gone)
    ended = [(one, "replaced") for one in replaced] + [(one, "gone") for one in gone]
    bulk.update(
        taking.session,
        SourceRow,
        ({"district_code": d, "id": one, "ended": how, "until_at": at} for one, how in ended),
    )


def sealed(row: Row) -> bytes:
    """Return a row as it is kept: what it said in words, and the values that this came to."""
    data = {"plain": dict(row.plain), "said": dict(row.said)}
    return seal(orjson.dumps(data).decode(), context=ROW)


def _settle_waiting(taking: Taking, found: Sequence[tuple[uuid.UUID, uuid.UUID]]) -> None:
    """Give rows that waited the person that is known by now; nobody needs to be asked any more. Writes."""
    d, at = taking.district, taking.told.at
    bulk.update(
        taking.session,
        SourceRow,
        ({"district_code": d, "id": row, "subject_id": subject} for row, subject in found),
    )
    whose = dict(found)
    open_doubts = rows(
        taking.session,
        "SELECT id, source_row_id, other_id FROM link_doubt WHERE district_code = :d AND state = 'waiting'"
        " AND source_row_id = ANY (:rows)",
        d=d,
        rows=list(whose),
    )
    bulk.update(
        taking.session,
        LinkDoubt,
        (
            {
                "district_code": d,
                "id": one["id"],
                "state": "same" if whose[one["source_row_id"]] == one["other_id"] else "different",
                "decided_at": at,
            }
            for one in open_doubts
        ),
    )


def _write_doubts(taking: Taking, doubts: Sequence[_Doubt]) -> None:
    """Write what a person has to look at, once for each pair. Writes."""
    asked = {
        (one["source_row_id"], one["other_id"])
        for one in rows(
            taking.session,
            "SELECT source_row_id, other_id FROM link_doubt WHERE district_code = :d AND state = 'waiting'",
            d=taking.district,
        )
    }
    fresh = [one for one in doubts if (one.row, one.other) not in asked]
    taking.counts["doubts"] = bulk.insert(
        taking.session,
        LinkDoubt,
        (
            {
                "district_code": taking.district,
                "id": new_id(),
                "source_row_id": one.row,
                "other_id": one.other,
                "bits": one.bits,
                "state": "waiting",
            }
            for one in fresh
        ),
    )

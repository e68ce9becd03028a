"""Lists of buildings and rooms, organisations, rented rooms and city parts taken into the registers.

Each has a key of its own (building and room, credit code, part code), so nothing has to be guessed. What the register
has is filled where it is empty and changed where the same source said it; else it stays, and the row is counted.
"""

import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from core import datums
from core.datums import Datum
from core.db import actor_of, rows
from core.errors import Invalid
from core.ids import new_id
from grid.registers import bulk, entering, events, templates
from grid.registers import parts as part_codes
from grid.registers.addresses import parts
from grid.registers.events import Told
from grid.registers.fields import REGISTERS
from grid.registers.homes import PLACE, Homes, create_many
from grid.registers.list_models import RegisterList, SourceRow
from grid.registers.settling import Row, Tell
from grid.registers.taking import digest_of, sealed
from grid.registers.templates import Fault, Table

_CHINA: Final = ZoneInfo("Asia/Shanghai")
_STEP: Final = 2000
#: Register → columns by which a row is known.
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "room": ("building_id", "entrance", "number"),
    "organisation": ("credit_code", "name"),
    "tenancy": ("room_id",),
    "part": ("code",),
}


@dataclass(slots=True)
class _Thing:
    """One row that was checked."""

    at: int
    plain: dict[str, Any]
    key: tuple[str, ...]
    #: Columns of its place; filled for a point of its own when all points are looked up together.
    where: Mapping[str, Any] = field(default_factory=dict)
    point: tuple[float, float, str] | None = None


def take(
    session: Session, found: RegisterList, table: Table, ground: Homes, *, told: Told, tell: Tell
) -> tuple[Counter[str], list[Fault]]:
    """Take a list of things in and return what became of its rows, and the faults. Writes; caller commits."""
    today = told.at.astimezone(_CHINA).date()
    faults: list[Fault] = []
    reader = _Reader(session, table, ground, today, told)
    things: list[_Thing] = []
    for index in range(len(table.rows)):
        thing, wrong = reader.read(index)
        faults += wrong
        if not wrong and thing is not None:
            things.append(thing)
        if index % _STEP == 0:
            tell("checking", index, len(table.rows))
    counts: Counter[str] = Counter(rows=len(table.rows))
    if faults and not found.skip_bad:
        return counts, faults
    tell("writing", 0, len(things))
    reader.write_buildings()
    _write(session, found, table, things, told=told, counts=counts)
    tell("writing", len(things), len(things))
    return counts, faults


class _Reader:
    """Makes checked rows into things with their keys and places; keeps the buildings that are new."""

    def __init__(self, session: Session, table: Table, ground: Homes, today: date, told: Told) -> None:
        self.session, self.table, self.ground = session, table, ground
        self.today, self.told = today, told
        self.register = table.sheet.register
        self.rule = part_codes.rule(session) if self.register == "part" else None
        self.new: dict[tuple[str, str], dict[str, Any]] = {}
        self.places: list[tuple[dict[str, Any], tuple[float, float, str]]] = []

    def read(self, index: int) -> tuple[_Thing | None, list[Fault]]:
        """Return the thing of a row, and what is wrong with the row."""
        plain, besides, faults = templates.checked(self.table, index, today=self.today)
        point = None
        try:
            point = _point(besides)
            if faults:
                return None, faults
            thing = self._thing(index, plain, besides, point)
        except Invalid as error:
            return None, [*faults, Fault(index, error.field or "", error.message, error.params)]
        if point is not None and self.register != "room":
            thing.where = dict.fromkeys(PLACE)
            self.places.append((thing.where, point))
        return thing, []

    def _thing(
        self, index: int, plain: dict[str, Any], besides: Mapping[str, str], point: tuple[float, float, str] | None
    ) -> _Thing:
        if self.register == "room":
            building = self._building(besides, point)
            plain = {"use": "lived", "entrance": ""} | plain | {"building_id": str(building["id"])}
            plain["entrance"] = parts(f"{plain['entrance']}号楼").building or plain["entrance"]
            return _Thing(index, plain, _key(self.register, plain), building)
        if self.register == "tenancy":
            room = self.ground.room(besides.get("place", ""))
            if room is None or any(one[0] == room for one in self.ground.new_rooms):
                raise Invalid("No room of the register has this address.", field="place")
            plain["room_id"] = str(room)
            return _Thing(index, plain, _key(self.register, plain), self.ground.where(room))
        if self.rule is not None:
            plain["class_code"] = self.rule.class_of(plain["code"], district=actor_of(self.session).district)
        if point is None:
            raise Invalid("Say where it stands.", field="lng")
        return _Thing(index, plain, _key(self.register, plain))

    def _building(self, besides: Mapping[str, str], point: tuple[float, float, str] | None) -> Mapping[str, Any]:
        number = parts(f"{besides['building']}").building or besides["building"]
        there = parts(f"{besides.get('address', '')}{besides.get('estate', '')}")
        known = self.ground.building(there._replace(building=number))
        if known is not None:
            return known
        if not there.place and not there.door:
            raise Invalid("A building needs its estate or its address.", field="estate")
        if point is None:
            raise Invalid("A building that is new needs its point.", field="lng")
        name = besides["building"] if not besides["building"].isdigit() else f"{besides['building']}栋"
        wanted = {one: besides[one] for one in ("estate", "address", "kind", "floors") if besides.get(one)}
        plain = entering.checked("building", {"kind": "residential", "name": name} | wanted, today=self.today)
        made: dict[str, Any] = {"id": new_id(), "name": name, "estate": "", "address": ""} | wanted
        made |= dict.fromkeys(PLACE)
        self.new[there.place or there.door, number] = plain | {"made": made}
        self.ground.keep(there._replace(building=number), made)
        self.places.append((made, point))
        return made

    def write_buildings(self) -> None:
        """Find the areas of all points together and write the buildings that are new. Writes."""
        _settle_places(self.session, self.places)
        made = []
        for plain in self.new.values():
            where = plain.pop("made")
            made.append(("building", where["id"], plain, where))
        create_many(self.session, REGISTERS["building"].model, made, told=self.told)


def _write(
    session: Session,
    found: RegisterList,
    table: Table,
    things: Sequence[_Thing],
    *,
    told: Told,
    counts: Counter[str],
) -> None:
    register, d = table.sheet.register, found.district_code
    model: Any = REGISTERS[register].model
    standing = _standing(session, register, found.source)
    known = _known(session, register)
    made: list[tuple[str, uuid.UUID, dict[str, Any], Mapping[str, Any]]] = []
    said: list[dict[str, Any]] = []
    replaced: list[uuid.UUID] = []
    seen: set[uuid.UUID] = set()
    for thing in things:
        number, _ = table.rows[thing.at]
        row = Row(number, thing.plain, table.given(thing.at), None)
        digest = digest_of(row.said)
        subject = known.get(thing.key) or known.get((*thing.key[:1], "") if register == "organisation" else thing.key)
        before = standing.get(subject) if subject else None
        if before is not None and before[1] == digest:
            counts["unchanged"] += 1
            seen.add(before[0])
            continue
        if subject is None:
            subject = known[thing.key] = new_id()
            made.append((register, subject, thing.plain, thing.where))
            counts["new"] += 1
        elif any(one[1] == subject for one in made):
            counts["repeated"] += 1
        else:
            counts["matched"] += 1
            _amend(session, register, subject, thing.plain, told=told, counts=counts)
        if before is not None:
            replaced.append(before[0])
        said.append(_said(found, register, row, subject=subject, told=told))
    create_many(session, model, made, told=told, more={"list": str(found.id)})
    bulk.insert(session, SourceRow, said)
    gone = [row for row, _ in standing.values() if row not in seen and row not in set(replaced)] if found.whole else []
    ended = [(one, "replaced") for one in replaced] + [(one, "gone") for one in gone]
    bulk.update(
        session, SourceRow, ({"district_code": d, "id": one, "ended": how, "until_at": told.at} for one, how in ended)
    )
    counts["corrected"], counts["missing"] = len(replaced), len(gone)


def _amend(
    session: Session, register: str, subject: uuid.UUID, plain: Mapping[str, Any], *, told: Told, counts: Counter[str]
) -> None:
    """Fill what is empty, change what the same source said, leave the rest. Writes."""
    row = events.locked(session, register, subject)
    now = events.values(row)
    wanted = {name: value for name, value in plain.items() if value not in ("", None, []) and value != now[name]}
    free = {name: value for name, value in wanted.items() if now[name] in ("", None, []) or row.source == told.source}
    if free and events.change(session, row, free, told=told):
        counts["changed"] += 1
    if len(free) < len(wanted):
        counts["differing"] += 1


def _said(found: RegisterList, register: str, row: Row, *, subject: uuid.UUID, told: Told) -> dict[str, Any]:
    return {
        "district_code": found.district_code,
        "id": new_id(),
        "register": register,
        "source": found.source,
        "list_id": found.id,
        "row": row.number,
        "subject_id": subject,
        "digest": digest_of(row.said),
        "key_index": None,
        "sealed": sealed(row),
        "said_at": told.happened_at,
        "ended": "",
    }


def _standing(session: Session, register: str, source: str) -> dict[uuid.UUID, tuple[uuid.UUID, bytes]]:
    """Return what a source says now: subject → row and its digest. Reads."""
    found = rows(
        session,
        "SELECT id, subject_id, digest FROM source_row WHERE district_code = :d AND register = :register"
        " AND source = :source AND ended = '' AND subject_id IS NOT NULL ORDER BY id",
        d=actor_of(session).district,
        register=register,
        source=source,
    )
    return {one["subject_id"]: (one["id"], bytes(one["digest"])) for one in found}


def _known(session: Session, register: str) -> dict[tuple[str, ...], uuid.UUID]:
    """Return the rows in use by their keys; an organisation with a credit code is known by that alone. Reads."""
    columns = ", ".join(_KEYS[register])
    ended = ", ".join(f"'{state}'" for state in REGISTERS[register].ended)
    found = rows(
        session,
        f"SELECT id, {columns} FROM {register} WHERE district_code = :d AND state NOT IN ({ended})"  # noqa: S608  own words
        " ORDER BY id",
        d=actor_of(session).district,
    )
    return {_key(register, {name: str(one[name]) for name in _KEYS[register]}): one["id"] for one in found}


def _key(register: str, plain: Mapping[str, Any]) -> tuple[str, ...]:
    key = tuple(str(plain.get(name) or "") for name in _KEYS[register])
    return (key[0], "") if register == "organisation" and key[0] else key


def _point(besides: Mapping[str, str]) -> tuple[float, float, str] | None:
    """Return the point that a row names in its datum; raises Invalid for one that cannot be."""
    if not besides.get("lng") and not besides.get("lat"):
        return None
    datum = besides.get("datum") or Datum.CGCS2000.value
    datums.point(besides.get("lng", ""), besides.get("lat", ""), datum, field="lng")  # type: ignore[arg-type]  # it asks
    return float(besides["lng"]), float(besides["lat"]), datum


def _settle_places(session: Session, places: Sequence[tuple[dict[str, Any], tuple[float, float, str]]]) -> None:
    """Write geometry and areas of points into the columns of what stands there, all points by one statement. Reads."""
    by_datum: dict[str, list[int]] = defaultdict(list)
    for at, (_, (_, _, datum)) in enumerate(places):
        by_datum[datum].append(at)
    lng_lat = np.empty((len(places), 2))
    for datum, listed in by_datum.items():
        given = np.array([places[at][1][:2] for at in listed])
        lng_lat[listed] = datums.to_cgcs2000(given, datum)
    found = session.execute(
        text(
            "SELECT p.at, encode(ST_AsEWKB(p.geom), 'hex'),"
            " (SELECT min(c.code) FROM cell c WHERE c.district_code = :d AND ST_Covers(c.geom, p.geom)) AS cell,"
            " (SELECT min(a.code) FROM area a WHERE a.district_code = :d AND a.level = 'community'"
            "  AND ST_Covers(a.geom, p.geom)) AS community,"
            " (SELECT min(a.code) FROM area a WHERE a.district_code = :d AND a.level = 'town'"
            "  AND ST_Covers(a.geom, p.geom)) AS town"
            " FROM (SELECT i - 1 AS at, ST_SetSRID(ST_MakePoint(x, y), 4490) AS geom"
            " FROM unnest(CAST(:xs AS float8[]), CAST(:ys AS float8[])) WITH ORDINALITY AS s(x, y, i)) AS p"
        ),
        {"d": actor_of(session).district, "xs": lng_lat[:, 0].tolist(), "ys": lng_lat[:, 1].tolist()},
    )
    for at, geom, cell, community, town in found:
        columns, (lng, lat, datum) = places[at]
        columns |= {
            "geom": geom,
            "cell_code": cell,
            "community_code": cell[:12] if cell else community,
            "town_code": cell[:9] if cell else town,
            "source_datum": datum,
            "source_lng": lng,
            "source_lat": lat,
        }

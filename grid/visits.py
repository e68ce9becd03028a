"""Household visits 入户走访: which are due, with which form, and what came of them. Knows no phone.

A visit names a household of the register or a door that is in none. Nobody at home plans the next try by itself.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.db import actor_of, rows
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from grid.words import N_

_CHINA: Final = ZoneInfo("Asia/Shanghai")
YES_NO: Final[Mapping[str, str]] = {"yes": N_("Yes"), "no": N_("No")}
RESULTS: Final[Mapping[str, str]] = {
    "done": N_("Visited"),
    "absent": N_("Nobody at home"),
    "refused": N_("Did not open or did not want to"),
    "moved": N_("Lives elsewhere now"),
}
#: Days until the next try where nobody was at home.
_AGAIN_DAYS: Final = 3
MOST: Final = 300


@dataclass(frozen=True, slots=True)
class Question:
    """One field of a visit's form."""

    name: str
    #: yes_no, choice, count, date, text or long.
    kind: str
    label: str
    choices: Mapping[str, str] | None = None
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of visit."""

    label: str
    questions: tuple[Question, ...]


_SETTLED: Final = Question("told", "long", N_("What was asked or told"))
KINDS: Final[Mapping[str, Kind]] = {
    # 日常走访
    "general": Kind(
        N_("Ordinary visit"),
        (
            Question("changed", "yes_no", N_("Did the people of this household change?"), YES_NO),
            Question("change", "text", N_("What changed")),
            _SETTLED,
        ),
    ),
    # 独居老人关爱
    "alone": Kind(
        N_("Old people living alone"),
        (
            Question(
                "state",
                "choice",
                N_("How are they?"),
                {"well": N_("Well"), "weak": N_("Weaker than before"), "help": N_("Needs help now")},
                needed=True,
            ),
            Question("gas", "yes_no", N_("Gas, stove and wires looked at"), YES_NO),
            Question("contact", "yes_no", N_("Emergency contact still right"), YES_NO),
            _SETTLED,
        ),
    ),
    # 流动人口核查
    "floating": Kind(
        N_("Floating population"),
        (
            Question("people", "count", N_("People living here now"), needed=True),
            Question("moved", "yes_no", N_("Somebody moved in or out"), YES_NO),
            Question("rented", "yes_no", N_("The dwelling is rented"), YES_NO),
            _SETTLED,
        ),
    ),
    # 入户安全检查
    "safety": Kind(
        N_("Safety at home"),
        (
            Question("gas", "yes_no", N_("Gas and stove in order"), YES_NO, needed=True),
            Question("wires", "yes_no", N_("Wires in order"), YES_NO, needed=True),
            Question("exit", "yes_no", N_("Ways out are free"), YES_NO, needed=True),
            Question("battery", "yes_no", N_("No electric bike is charged indoors"), YES_NO, needed=True),
            Question("until", "date", N_("To be mended by")),
            _SETTLED,
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Due:
    """A visit that is to be made."""

    id: uuid.UUID
    household_id: uuid.UUID | None
    cell: str
    kind: str
    place: str
    hint: str
    lng: float | None
    lat: float | None
    due_on: date | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is to be visited, as whoever plans says it."""

    cell: str
    kind: str
    due_on: date
    household_id: uuid.UUID | None = None
    place: str = ""
    hint: str = ""
    #: EPSG:4490.
    lng: float | None = None
    lat: float | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """What a worker says of a visit."""

    result: str
    kind: str = "general"
    form: Mapping[str, Any] | None = None
    note: str = ""
    #: SHA-256 in hex of the stored picture; empty without a signature.
    signature: str = ""
    happened_at: datetime | None = None


def plan(session: Session, wanted: Plan, *, at: datetime) -> uuid.UUID:
    """Plan a visit and return its id; the same household and kind is not planned twice. Writes; caller commits.

    Raises Invalid for an unknown kind and for a cell that there is not.
    """
    _kind(wanted.kind)
    actor = actor_of(session)
    here = {"d": actor.district, "cell": wanted.cell}
    if not session.scalar(text("SELECT EXISTS (SELECT 1 FROM cell WHERE district_code = :d AND code = :cell)"), here):
        raise Invalid("There is no cell {code}.", field="cell", code=wanted.cell[:15])
    if wanted.household_id is not None:
        there = session.scalar(
            text(
                "SELECT id FROM household_visit WHERE district_code = :d AND household_id = :household AND kind = :kind"
                " AND state = 'due' LIMIT 1"
            ),
            {"d": actor.district, "household": wanted.household_id, "kind": wanted.kind},
        )
        if there is not None:
            return uuid.UUID(str(there))
    return _insert(session, wanted, state="due", at=at)


def due(session: Session, cells: Sequence[str], *, today: date) -> list[Due]:
    """Return the visits of some cells that are due within two weeks, the most urgent first, at most 300. Reads only."""
    found = rows(
        session,
        "SELECT v.id, v.household_id, v.cell_code AS cell, v.kind, v.place, v.hint, v.lng, v.lat, v.due_on"
        " FROM household_visit v WHERE v.district_code = :d AND v.cell_code = ANY (:cells) AND v.state = 'due'"
        " AND v.due_on <= :until ORDER BY v.due_on, v.id LIMIT :most",
        d=actor_of(session).district,
        cells=list(cells),
        until=today + timedelta(days=14),
        most=MOST,
    )
    return [Due(**row) for row in found]


def last_visits(session: Session, households: Sequence[uuid.UUID]) -> dict[uuid.UUID, datetime]:
    """Return when somebody was met in each of the households; those never met are left out. Reads only."""
    found = rows(
        session,
        "SELECT v.household_id, max(v.happened_at) AS at FROM household_visit v WHERE v.district_code = :d"
        " AND v.household_id = ANY (:households) AND v.result = 'done' GROUP BY v.household_id",
        d=actor_of(session).district,
        households=list(households),
    )
    return {row["household_id"]: row["at"] for row in found}


def make(session: Session, visit: uuid.UUID, made: Made, *, at: datetime) -> uuid.UUID | None:
    """Write down what came of a planned visit; return the next try where nobody was at home.

    Writes; caller commits; locks the row. Raises NotFound for a visit of another town, Conflict for one that somebody
    made meanwhile, Invalid for a form that is not the kind's.
    """
    found = rows(
        session,
        "SELECT v.household_id, v.cell_code AS cell, v.kind, v.place, v.hint, v.lng, v.lat, v.state, v.done_name"
        " FROM household_visit v WHERE v.district_code = :d AND v.id = :id FOR UPDATE",
        d=actor_of(session).district,
        id=visit,
    )
    if not found:
        raise NotFound("This visit is not planned, or not in your town.", field="visit")
    row = found[0]
    if row["state"] != "due":
        raise Conflict("This visit was made already, by {name}.", field="visit", name=row["done_name"])
    _write(session, visit, row["kind"], made, at=at)
    if made.result != "absent":
        return None
    names = ("cell", "kind", "household_id", "place", "hint", "lng", "lat")
    again = (made.happened_at or at).astimezone(_CHINA).date() + timedelta(days=_AGAIN_DAYS)
    return _insert(session, Plan(due_on=again, **{name: row[name] for name in names}), state="due", at=at)


def make_unplanned(session: Session, where: Plan, made: Made, *, at: datetime) -> uuid.UUID:
    """Write down a visit that nobody had planned and return its id. Writes; caller commits. Raises Invalid."""
    if where.cell[:9] != actor_of(session).town:
        raise Invalid("This door is not in your town.", field="position")
    key = _insert(session, where, state="due", at=at)
    _write(session, key, where.kind, made, at=at)
    return key


def _insert(session: Session, wanted: Plan, *, state: str, at: datetime) -> uuid.UUID:
    actor, key = actor_of(session), new_id()
    session.execute(
        text(
            "INSERT INTO household_visit (district_code, id, household_id, town_code, cell_code, kind, place, hint,"
            " lng, lat, due_on, state, planned_name, planned_at) VALUES (:d, :id, :household, :town, :cell, :kind,"
            " :place, :hint, :lng, :lat, :due, :state, :name, :at)"
        ),
        {
            "d": actor.district,
            "id": key,
            "household": wanted.household_id,
            "town": wanted.cell[:9],
            "cell": wanted.cell,
            "kind": wanted.kind,
            "place": wanted.place[:200],
            "hint": wanted.hint[:500],
            "lng": wanted.lng,
            "lat": wanted.lat,
            "due": wanted.due_on,
            "state": state,
            "name": actor.name,
            "at": at,
        },
    )
    return key


def _write(session: Session, visit: uuid.UUID, kind: str, made: Made, *, at: datetime) -> None:
    if made.result not in RESULTS:
        raise Invalid("Say how the visit went.", field="result")
    actor = actor_of(session)
    session.execute(
        text(
            "UPDATE household_visit SET state = 'done', result = :result, form = CAST(:form AS jsonb), note = :note,"
            " signature = :signature, done_by = :account, done_name = :name, happened_at = :happened, recorded_at = :at"
            " WHERE district_code = :d AND id = :id"
        ),
        {
            "d": actor.district,
            "id": visit,
            "result": made.result,
            "form": orjson.dumps(checked(kind, made.form or {}, whole=made.result == "done")).decode(),
            "note": made.note[:2000],
            "signature": made.signature,
            "account": actor.id,
            "name": actor.name,
            "happened": made.happened_at or at,
            "at": at,
        },
    )


def _kind(name: str) -> Kind:
    if name not in KINDS:
        raise Invalid("There is no kind of visit called {name}.", field="kind", name=name[:20])
    return KINDS[name]


def checked(kind: str, form: Mapping[str, Any], *, whole: bool) -> dict[str, Any]:
    """Return the filled answers of a form; raises Invalid, naming the field, for what the kind does not ask.

    whole: whether what is needed must be there.
    """
    asked = {one.name: one for one in _kind(kind).questions}
    made: dict[str, Any] = {}
    for name, value in form.items():
        if name not in asked:
            raise Invalid("The form of this visit has no field {name}.", field=name[:40], name=name[:40])
        if value not in (None, ""):
            made[name] = _answer(asked[name], value)
    for name, one in asked.items():
        if whole and one.needed and name not in made:
            raise Invalid("{name} is needed.", field=name, name=one.label)
    return made


def _answer(asked: Question, value: Any) -> str | int:
    if asked.kind == "count":
        if isinstance(value, bool) or not str(value).isascii() or not str(value).isdigit() or int(value) > 200:
            raise Invalid("{name} is a number from 0 to 200.", field=asked.name, name=asked.label)
        return int(value)
    if not isinstance(value, str) or len(value) > 2000 or "\x00" in value:
        raise Invalid("{name} is too long or not text.", field=asked.name, name=asked.label)
    if asked.choices and value not in asked.choices:
        raise Invalid(
            "{value} is not among the choices of {name}.", field=asked.name, value=value[:40], name=asked.label
        )
    if asked.kind == "date":
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError as error:
            raise Invalid("{day} is no date; write 2026-11-21.", field=asked.name, day=value[:20]) from error
    return value.strip()


@dataclass(frozen=True, slots=True)
class Home:
    """A household of the register as a phone takes it along: where, what kind, and nobody's name."""

    id: uuid.UUID
    cell: str
    #: A key of `grid.registers.fields.HOUSEHOLDS`.
    kind: str
    building: str
    room: str
    lng: float | None
    lat: float | None


_HOMES: Final = """
SELECT h.id, h.cell_code AS cell, h.kind,
  coalesce(nullif(concat_ws(' ', nullif(b.estate, ''), b.name), ''), b.address, '') AS building,
  coalesce(concat_ws('-', nullif(m.entrance, ''), m.number), '') AS room,
  ST_X(h.geom) AS lng, ST_Y(h.geom) AS lat
FROM household h
LEFT JOIN room m ON m.district_code = h.district_code AND m.id = h.room_id
LEFT JOIN building b ON b.district_code = m.district_code AND b.id = m.building_id
WHERE h.district_code = :d AND h.state = 'living' AND h.cell_code = ANY (:cells)
ORDER BY h.cell_code, b.estate, b.name, m.entrance, m.number, h.id LIMIT :most
"""


def homes(session: Session, cells: Sequence[str], *, most: int) -> list[Home]:
    """Return the households of cells in which the actor's duty shows households, by door, at most `most`. Reads only.

    The caller has asked `grid.registers.permissions.access`, which pins those cells for the row policies.
    """
    found = rows(session, _HOMES, d=actor_of(session).district, cells=list(cells), most=most)
    return [Home(**row) for row in found]

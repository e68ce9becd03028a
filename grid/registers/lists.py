"""Lists of a register and one row of it, as the actor may see them: filtered, paged by key, masked by right.

A name is found by its beginning or in pinyin, a number or telephone only whole: through keyed hashes, never in clear.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from core.actor import system
from core.db import acting_as, actor_of, rows
from core.documents import masked
from core.errors import Forbidden, Invalid, NotFound
from grid.registers import events, rooms, sealing
from grid.registers.fields import CARE, REGISTERS, Register
from grid.registers.permissions import Access, Grant
from grid.registers.unmasking import Standing
from grid.words import N_

PAGE: Final = 50
#: Beyond, a list says only that there are more.
MOST_COUNTED: Final = 2_000
#: 老年人: years from which somebody counts as old. *Default*.
OLD_YEARS: Final = 60
#: Filters that are no care flag.
FLAGS: Final[Mapping[str, Mapping[str, str]]] = {
    "resident": {"old": N_("60 and older"), "permit": N_("residence permit run out")},
    "tenancy": {"ending": N_("lease ends within 30 days")},
    "key_place": {"overdue": N_("inspection overdue")},
}
#: The field that the filter `kind` is about.
KIND_FIELD: Final[Mapping[str, str]] = {
    "resident": "residence",
    "household": "kind",
    "organisation": "kind",
    "key_place": "kind",
    "building": "kind",
    "room": "use",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a list is asked for; empty fields ask for nothing."""

    register: str
    cell: str = ""
    name: str = ""
    kind: str = ""
    flag: str = ""
    #: A whole identity number, credit code, or code of a part.
    number: str = ""
    phone: str = ""
    #: A state of the register; empty for what is in use.
    state: str = ""
    #: Where the page before ended.
    after: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """One field of a row as the actor sees it."""

    value: Any
    #: Something is hidden.
    masked: bool = False
    #: The actor may open it with a reason.
    may_open: bool = False
    #: Opened, until then.
    standing: Standing | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a list."""

    id: uuid.UUID
    state: str
    cell: str | None
    #: Where it is, in words; empty where no room is known.
    place: str
    fields: Mapping[str, Shown]
    version: int


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of a list."""

    lines: tuple[Line, ...]
    count: int
    #: There are more than `count`.
    more: bool
    #: For `Asked.after`; empty on the last page.
    after: str


def listed(session: Session, access: Access, asked: Asked, *, today: date, most: int = PAGE) -> Listed:
    """Return one page of a register, in the order of entry; key places by the day they are due. Reads.

    Raises Forbidden for a register or filter that is not the actor's duty, Invalid for a filter that cannot be read.
    """
    register = _register(access, asked)
    model: Any = register.model
    where = _where(session, access, asked, register, today)
    query: Select[Any] = select(model).where(where)
    found = list(session.scalars(_paged(query, asked, model).limit(most + 1)))
    page, count = found[:most], len(found)
    if asked.after or len(found) > most:
        # A list that fits on its first page is not read a second time to be counted.
        some = select(model.id).where(where).limit(MOST_COUNTED + 1).subquery()
        count = session.scalar(select(func.count()).select_from(some)) or 0
    places = rooms.addresses(session, asked.register, [row.id for row in page])
    lines = tuple(line(access, row, place=places.get(row.id, "")) for row in page)
    after = _key(page[-1]) if len(found) > most else ""
    return Listed(lines, min(count, MOST_COUNTED), more=count > MOST_COUNTED, after=after)


def line(access: Access, row: Any, *, place: str = "", standing: Mapping[str, Standing] | None = None) -> Line:
    """Return a row as the actor sees it: only the fields of the own duties, protected ones masked unless opened."""
    register = REGISTERS[row.__tablename__]
    grant = access.rights(register.name, row.cell_code, town=row.town_code)
    return Line(
        id=row.id,
        state=row.state,
        cell=row.cell_code,
        place=place or getattr(row, "address", ""),
        fields=shown(register, grant, events.values(row), standing or {}),
        version=row.version,
    )


def shown(
    register: Register, grant: Grant, values: Mapping[str, Any], standing: Mapping[str, Standing]
) -> dict[str, Shown]:
    """Return the fields of a row that a grant shows: name → value, masked where protected and not opened."""
    found: dict[str, Shown] = {}
    for one in register.fields:
        if one.name not in grant.sees:
            continue
        value, may_open = values[one.name], one.name in grant.opens
        if not one.mask or value in ("", None):
            found[one.name] = Shown(value)
        elif one.name in standing:
            found[one.name] = Shown(value, may_open=True, standing=standing[one.name])
        else:
            found[one.name] = Shown(masked(one.mask, str(value)), masked=True, may_open=may_open)
    return found


def one(session: Session, access: Access, register: str, row_id: uuid.UUID) -> Any:
    """Return a row that the actor may see anything of; raises NotFound. Reads."""
    if register not in REGISTERS:
        raise NotFound("There is no such entry, or it is not yours to see.")
    row = events.found(session, register, row_id)
    if not access.rights(register, row.cell_code, town=row.town_code).sees:
        raise NotFound("There is no such entry, or it is not yours to see.")
    return row


def counts(session: Session, *, area: str = "") -> dict[str, int]:
    """Return how many rows of each register are in use in an area, for whoever may count. Reads, as the program."""
    actor = actor_of(session)
    found: dict[str, int] = {}
    with acting_as(session, system(actor.district, "registers")):
        for name, register in REGISTERS.items():
            current = [state for state in register.states if state not in register.ended]
            sql = (
                f"SELECT count(*) AS n FROM {name} t WHERE t.district_code = :d AND t.state = ANY (:states)"  # noqa: S608
                " AND (:area = '' OR t.cell_code LIKE :area || '%' OR t.town_code LIKE :area || '%')"
            )
            found[name] = rows(session, sql, d=actor.district, states=current, area=area)[0]["n"]
    return found


def _register(access: Access, asked: Asked) -> Register:
    if asked.register not in REGISTERS or not access.anywhere(asked.register).sees:
        raise Forbidden("Your role may not open this.")
    return REGISTERS[asked.register]


def _where(session: Session, access: Access, asked: Asked, register: Register, today: date) -> ColumnElement[bool]:
    model: Any = register.model
    current = [state for state in register.states if state not in register.ended]
    rules: list[ColumnElement[bool]] = [model.district_code == actor_of(session).district]
    if asked.state and asked.state not in register.states:
        raise Invalid("There is no state {name}.", field="state", name=asked.state[:20])
    wanted = [asked.state] if asked.state else current
    # A single state is what the indexes of rows in use are made for.
    rules.append(model.state == wanted[0] if len(wanted) == 1 else model.state.in_(wanted))
    rules += _cells(access, asked, model)
    if asked.name:
        rules.append(_named(asked, model))
    if asked.kind:
        rules.append(_kind(asked, model))
    if asked.flag:
        rules.append(_flagged(access, asked, model, today))
    if asked.number or asked.phone:
        rules += _numbered(access, asked, model)
    return and_(*rules)


def _cells(access: Access, asked: Asked, model: Any) -> list[ColumnElement[bool]]:
    cells = access.cells(asked.register)
    if cells is None:
        within = [model.cell_code.startswith(asked.cell)] if asked.cell else []
        if asked.cell and len(asked.cell) == 15:
            within = [model.cell_code == asked.cell]
        if access.area:
            within.append(or_(model.cell_code.startswith(access.area), model.town_code.startswith(access.area)))
        return within
    chosen = [cell for cell in cells if cell.startswith(asked.cell)]
    if asked.cell and not chosen:
        raise Forbidden("This cell is not in your area.")
    return [model.cell_code.in_(chosen)]


def _named(asked: Asked, model: Any) -> ColumnElement[bool]:
    if asked.register == "resident":
        found: ColumnElement[bool] = model.name_terms.contains([sealing.asked_term(asked.name)])
        return found
    column = getattr(model, "name", None)
    if column is None:
        raise Invalid("This list cannot be searched by name.", field="name")
    found = column.contains(asked.name[:40], autoescape=True)
    return (
        or_(found, model.estate.contains(asked.name[:40], autoescape=True)) if asked.register == "building" else found
    )


def _kind(asked: Asked, model: Any) -> ColumnElement[bool]:
    if asked.register == "part":
        found: ColumnElement[bool] = model.class_code.startswith(asked.kind[:8], autoescape=True)
        return found
    name = KIND_FIELD.get(asked.register, "")
    field = REGISTERS[asked.register].field(name)
    if field is None or asked.kind not in field.choices:
        raise Invalid("There is no kind {name}.", field="kind", name=asked.kind[:20])
    return getattr(model, name) == asked.kind  # type: ignore[no-any-return]


def _flagged(access: Access, asked: Asked, model: Any, today: date) -> ColumnElement[bool]:
    found: ColumnElement[bool]
    if asked.register == "resident" and asked.flag in CARE:
        cells = [cell for cell in access.duties if "care" in access.rights("resident", cell).sees]
        if not cells:
            raise Forbidden("Your role may not open this.")
        return and_(model.care != [], model.care.contains([asked.flag]), model.cell_code.in_(cells))
    if asked.flag not in FLAGS.get(asked.register, {}):
        raise Invalid("There is no filter {name}.", field="flag", name=asked.flag[:20])
    if asked.flag == "old":
        found = model.birth_date <= years_before(today, OLD_YEARS)
    elif asked.flag == "permit":
        found = model.permit_until < today
    elif asked.flag == "ending":
        found = model.lease_to <= today + timedelta(days=30)
    else:
        found = model.due_on < today
    return found


def _numbered(access: Access, asked: Asked, model: Any) -> list[ColumnElement[bool]]:
    sees, rules = access.anywhere(asked.register).sees, []
    if asked.number:
        column, value = {
            "resident": ("id_index", sealing.id_index(asked.number)),
            "organisation": ("credit_code", asked.number.strip().upper()),
            "part": ("code", asked.number.strip()),
        }.get(asked.register, ("", b""))
        if not column or not sees & {"id_number", "credit_code", "code"}:
            raise Forbidden("Your role may not open this.")
        rules.append(getattr(model, column) == value)
    if asked.phone:
        column = {"resident": "phone_index", "organisation": "phone_index", "tenancy": "landlord_phone_index"}.get(
            asked.register, ""
        )
        if not column or not sees & {"phone", "landlord_phone"}:
            raise Forbidden("Your role may not open this.")
        rules.append(getattr(model, column) == sealing.phone_index(asked.phone))
    return rules


def years_before(today: date, years: int) -> date:
    """Return the day so many years before; the 28th where the 29th of February is missing."""
    try:
        return today.replace(year=today.year - years)
    except ValueError:
        return today.replace(year=today.year - years, day=28)


def _key(row: Any) -> str:
    return f"{row.due_on.isoformat()}.{row.id.hex}" if row.__tablename__ == "key_place" else row.id.hex


def _paged(query: Select[Any], asked: Asked, model: Any) -> Select[Any]:
    due = asked.register == "key_place"
    day, _, key = asked.after.partition(".") if due else ("", "", asked.after)
    if asked.after:
        try:
            last = uuid.UUID(key)
            since = date.fromisoformat(day) if due else None
        except ValueError as error:
            raise Invalid("This page of the list cannot be found.", field="after") from error
        if due:
            query = query.where(or_(model.due_on > since, and_(model.due_on == since, model.id > last)))
        else:
            query = query.where(model.id > last)
    return query.order_by(model.due_on, model.id) if due else query.order_by(model.id)

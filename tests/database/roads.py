"""One case on its way through the side roads, for tests: take steps, have them refused whole, look at every row."""

import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.actor import Actor, Role, citizen, system
from core.db import rows, snapshot, transaction
from core.errors import WanggeError
from core.ids import new_id
from dispatch import cases
from dispatch.fields import LONGEST_PAUSE
from dispatch.opening import Opened
from dispatch.rulebook import Rulebook
from tests import tiny
from tests.builders import program, reply_fields
from tests.database.test_cases import AT, open_one


def person(role: Role, name: str, unit: str = "", town: str = "") -> Actor:
    """Return somebody with an account."""
    return Actor(new_id(), name, role, tiny.DISTRICT, town=town, unit=unit)


OPERATOR = person(Role.OPERATOR, "话务李")
SUPERVISOR = person(Role.SUPERVISOR, "督查孙")
STREETS = person(Role.UNIT, "城管王", tiny.STREETS)
WATER = person(Role.UNIT, "水务赵", tiny.WATER)
POLICE = person(Role.UNIT, "公安周", tiny.POLICE)
OFFICE = person(Role.UNIT, "望湖镇钱", tiny.WEST_OFFICE)
CENTRE = person(Role.UNIT, "中心吴", tiny.CENTRE)
GRID = person(Role.GRID_WORKER, "网格郑", town=tiny.WEST)
CITIZEN = citizen(tiny.DISTRICT)
PROGRAM = system(tiny.DISTRICT, "sweep")
RETURN = {"reason_code": "not_our_duty", "legal_basis": "职责清单第三条", "reason": "不属我局"}
PAUSE = {"pause_reason": "survey", "span": "10nd", "document": "测绘委托函〔2026〕8 号"}
DAY = timedelta(days=1)
assert str(LONGEST_PAUSE["survey"]) == "30nd"

#: Every table that a step may write, with the column that names the case.
TABLES = {
    "cases": "id",
    **dict.fromkeys(
        ("entry", "deadline", "deadline_change", "pause", "assignment", "plea", "supervision", "outbox"), "case_id"
    ),
}
#: Every row of a case in one question, by table; names a table and holds one row as JSON.
EVERYTHING = " UNION ALL ".join(
    f"SELECT '{name}' AS name, to_jsonb(t)::text AS row FROM {name} AS t WHERE district_code = :d AND {column} = :c"
    for name, column in TABLES.items()
)


def everything(session: Session, case_id: uuid.UUID) -> list[tuple[str, str]]:
    """Return all rows of a case as the database holds them, in a fixed order."""
    found = session.execute(text(EVERYTHING), {"d": tiny.DISTRICT, "c": case_id})
    return sorted((row.name, row.row) for row in found)


class Matter:
    """One case, the version that was seen last, and the moment it is now there."""

    def __init__(self, book: Rulebook, opened: Opened | None = None, *, at: datetime = AT, **known: Any) -> None:
        self.book, self.at = book, at
        self.opened = opened or open_one(book, at=at, **known)
        self.id, self.number = self.opened.case_id, self.opened.number

    @property
    def key(self) -> dict[str, Any]:
        return {"d": tiny.DISTRICT, "c": self.id}

    def table(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a table that belong to the case, in a fixed order."""
        order = "seq" if name == "entry" else "id"
        sql = f"SELECT * FROM {name} WHERE district_code = :d AND {TABLES[name]} = :c ORDER BY {order}"
        with snapshot(program(tiny.DISTRICT)) as session:
            return [dict(row) for row in rows(session, sql, **self.key)]

    def everything(self) -> list[tuple[str, str]]:
        with snapshot(program(tiny.DISTRICT)) as session:
            return everything(session, self.id)

    @property
    def row(self) -> dict[str, Any]:
        return self.table("cases")[0]

    @property
    def state(self) -> str:
        return str(self.row["state"])

    def clocks(self, *, running: bool = True) -> dict[str, dict[str, Any]]:
        """Return the running clocks by name, or all of them, the last of a name."""
        return {c["clock"]: c for c in self.table("deadline") if not running or c["stopped_at"] is None}

    def last(self) -> dict[str, Any]:
        return self.table("entry")[-1]

    def take(self, who: Actor, action: str, *, version: int | None = None, **fields: Any) -> "Matter":
        """Take a step now, on the newest version."""
        version = self.row["version"] if version is None else version
        with transaction(who) as session:
            if who.role is Role.CITIZEN:
                cases.pin_case(session, self.id)
            cases.act(session, self.book, self.id, action, expected_version=version, at=self.at, fields=fields)
        return self

    def refused(
        self,
        error: type[WanggeError],
        who: Actor,
        action: str,
        match: str = "",
        *,
        also: "tuple[Matter, ...]" = (),
        **f: Any,
    ) -> WanggeError:
        """Have a step refused, and nothing changed: neither this case nor those named beside it."""
        before = [one.everything() for one in (self, *also)]
        with pytest.raises(error, match=match or None) as caught:
            self.take(who, action, **f)
        assert [one.everything() for one in (self, *also)] == before
        return caught.value

    def offered(self, who: Actor) -> set[str]:
        with snapshot(who) as session:
            if who.role is Role.CITIZEN:
                cases.pin_case(session, self.id)
            return {step.action for step in cases.offered(session, self.book, self.id, at=self.at)}

    def later(self, **span: float) -> "Matter":
        """Let time pass."""
        self.at += timedelta(**span)
        return self

    def signed(self, who: Actor = STREETS) -> "Matter":
        return self.take(who, "sign")

    def replied(self, who: Actor = STREETS, **known: str) -> "Matter":
        if self.state == "dispatched":
            self.signed(who)
        return self.take(who, "reply", **reply_fields(str(self.row["kind"]), **known))


def settled(book: Rulebook, **settings: Any) -> Rulebook:
    """Return the rulebook of a district that has decided otherwise."""
    return replace(book, settings=dict(book.settings) | settings)


def set_column(matter: Matter, **columns: Any) -> None:
    """Write columns of the case row as the program."""
    with transaction(program(tiny.DISTRICT)) as session:
        for name, value in columns.items():
            sql = text(f"UPDATE cases SET {name} = :v WHERE district_code = :d AND id = :c")
            session.execute(sql, {"v": value, **matter.key})

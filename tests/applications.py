"""Invented items and applications for tests, in the tiny district: a sheet with gaps, parallel units, survey and reviews.

Everything here is invented, the people and their numbers, too: the region codes of their identity cards do not exist.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from core.actor import Actor, Role, citizen
from core.db import rows, snapshot, transaction
from core.documents import card_check
from dispatch import cases
from dispatch.items import catalogue, lists
from dispatch.items.application import NewApplication, Receipt, open_application
from dispatch.items.identity import Applicant
from dispatch.items.parsing import checked
from dispatch.models import Case
from dispatch.numbers import Numbers
from dispatch.rulebook import Rulebook
from tests import tiny
from tests.builders import program

#: Monday 16 November 2026, 10:00 in China; the days after it are worked until Saturday.
AT = datetime(2026, 11, 16, 2, 0, tzinfo=UTC)
DAY = timedelta(days=1)
WINDOW = Actor(None, "窗口甲", Role.OPERATOR, tiny.DISTRICT)
SECOND = Actor(None, "窗口乙", Role.OPERATOR, tiny.DISTRICT)
LEAD = Actor(None, "审批员", Role.UNIT, tiny.DISTRICT, unit=tiny.STREETS)
WATER = Actor(None, "水务员", Role.UNIT, tiny.DISTRICT, unit=tiny.WATER)
POLICE = Actor(None, "公安员", Role.UNIT, tiny.DISTRICT, unit=tiny.POLICE)
SUPERVISOR = Actor(None, "督查员", Role.SUPERVISOR, tiny.DISTRICT)
GRID = Actor(None, "网格员", Role.GRID_WORKER, tiny.DISTRICT, town=tiny.WEST)
SWEEP = program(tiny.DISTRICT)
CITIZEN = citizen(tiny.DISTRICT)

#: What every sheet here has; a test names what it is about.
PLAIN: dict[str, Any] = {
    "audience": "both",
    "unit": tiny.STREETS,
    "level": "district",
    "legal_limit": "20wd",
    "promised_limit": "5wd",
    "accept_limit": "1wd",
    "deliver_limit": "2wd",
    "channels": ["window", "web", "home"],
    "basis": [{"law": "试验管理办法（虚构）", "article": "第三条"}],
    "conditions": ["虚构的条件"],
    "steps": [{"name": "受理"}, {"name": "审查"}, {"name": "决定"}],
    "results": [{"name": "试验许可证"}],
    "pick_ups": [{"code": "QJ", "name": "区政务大厅"}, {"code": "YJ", "name": "邮寄", "post": True}],
    "materials": [
        {"code": "ID", "name": "身份证"},
        {"code": "FORM", "name": "申请表"},
        {"code": "PLAN", "name": "平面图", "lag": "3wd"},
    ],
    "example": True,
}
#: Two units beside the lead, and a visit that all of them make together.
PARALLEL: dict[str, Any] = {
    "parallel": [
        {"unit": tiny.WATER, "task": "排水意见", "limit": "2wd"},
        {"unit": tiny.POLICE, "task": "消防意见", "limit": "3wd"},
    ],
    "survey": "joint",
}
ALL = {"ID": (), "FORM": (), "PLAN": ()}


def person(running: int = 1) -> Applicant:
    """Return an invented person; another number is another person."""
    body = f"990200198001{running // 1000 % 28 + 1:02d}{running % 1000:03d}"
    return Applicant("person", f"虚构{running}", "13800138000", body + card_check(body))


def publish(code: str, at: datetime = AT, **members: Any) -> int:
    """Publish an invented sheet and return its version."""
    sheet = checked({**PLAIN, "code": code, "name": f"试验事项{code}", **members}, file="tests")
    with transaction(program(tiny.DISTRICT)) as session:
        made = catalogue.publish(session, sheet, at=at, source="tests")
        return (made or catalogue.current(session, code, at.date())).version


def keep_lists(*entries: lists.Entry) -> None:
    """Make the district's lists hold these entries beside what other tests put there."""
    with transaction(program(tiny.DISTRICT)) as session:
        kept = {one.code: one for one in lists.entries(session)} | {one.code: one for one in entries}
        lists.load(session, list(kept.values()))


def apply(book: Rulebook, item: str, *, actor: Actor = WINDOW, at: datetime = AT, **known: Any) -> Receipt:
    """Hand in an application at a window with every material, unless a test says otherwise."""
    channel = {Role.OPERATOR: "window", Role.GRID_WORKER: "home", Role.CITIZEN: "web"}[actor.role]
    filled = {"applicant": person(), "channel": channel, "given": ALL} | known
    number = Numbers(tiny.DISTRICT).take(at)
    return open_application(book, NewApplication(item=item, **filled), actor=actor, at=at, number=number)


class Run:
    """One case that a test leads through its actions; the version is carried along."""

    def __init__(self, book: Rulebook, receipt: Receipt, *, at: datetime = AT) -> None:
        self.book, self.receipt, self.at = book, receipt, at
        self.version = 1

    def do(self, who: Actor, action: str, *, at: datetime | None = None, **fields: Any) -> str:
        """Do one action and return the state that it led to."""
        self.at = at or self.at
        with transaction(who) as session:
            if who.role is Role.CITIZEN:
                from core.db import pin_case

                pin_case(session, self.receipt.case_id)
            done = cases.act(
                session,
                self.book,
                self.receipt.case_id,
                action,
                expected_version=self.version,
                at=self.at,
                fields=fields,
            )
        self.version = done.version
        return done.state

    def offered(self, who: Actor) -> set[str]:
        """Return the actions that somebody is offered now."""
        with snapshot(who) as session:
            return {one.action for one in cases.offered(session, self.book, self.receipt.case_id, at=self.at)}

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return the rows of a part of the case."""
        with snapshot(program(tiny.DISTRICT)) as session:
            found = rows(
                session,
                f"SELECT * FROM {table} WHERE district_code = :d AND case_id = :c",
                d=tiny.DISTRICT,
                c=self.receipt.case_id,
            )
        return [dict(row) for row in found]

    def clocks(self) -> dict[str, dict[str, Any]]:
        """Return the newest clock of each name."""
        return {row["clock"]: row for row in sorted(self.rows("deadline"), key=lambda row: row["id"])}

    @property
    def case(self) -> Case:
        """The case row as it stands."""
        with snapshot(program(tiny.DISTRICT)) as session:
            found = session.scalar(select(Case).where(Case.id == self.receipt.case_id))
        assert found is not None
        self.version = found.version
        return found

    @property
    def application(self) -> dict[str, Any]:
        """The application's row."""
        return self.rows("application")[0]

    def materials(self) -> dict[str, str]:
        """Return the state of each material."""
        return {row["code"]: row["state"] for row in self.rows("application_material")}

    def topics(self) -> list[dict[str, Any]]:
        """Return the outbox messages of the case in order."""
        return sorted(self.rows("outbox"), key=lambda row: row["id"])

    def reviewing(self) -> "Run":
        """Lead the case from the window to the unit's desk."""
        self.do(WINDOW, "accept")
        self.do(LEAD, "sign")
        return self

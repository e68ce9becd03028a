"""Invented grid workers 演示网格员 with cells, so that the demo's office has somebody to look at; labelled, once.

One worker a community, who cannot sign in; the first community is the demo's own `grid` account's. A few things are
wrong on purpose: a community without anybody, a worker who left, one who is away and stood in for.
"""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.actor import Actor, Role, system
from core.db import acting_as, rows, transaction
from core.ids import new_id
from dispatch.rulebook import Rulebook
from grid import accounts, appointing, duties, training
from grid.duties import DUTIES, Charge, Handover, Holder
from grid.duty_table import CellDuty
from grid.models import Account
from grid.training import Submission

_LABEL: Final = "（演示）"
_FAMILY: Final = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林罗高"
_GIVEN: Final = ("晓芳", "志强", "丽娟", "建华", "小梅", "国平", "秀兰", "海涛", "玉珍", "立新", "春燕", "伟民")
#: Workers who have passed the quizzes; the others act with a reason, which the office sees.
_CERTIFIED: Final = 12
#: Every how manyth community nobody answers for.
_EMPTY: Final = 17


@dataclass(frozen=True, slots=True)
class Worked:
    """What was made; zeros when an earlier run had."""

    workers: int = 0
    cells: int = 0


def play(book: Rulebook, *, at: datetime) -> Worked:
    """Make the workers and give them their cells, unless anybody has a duty already; one transaction."""
    with transaction(system(book.district, "demo")) as session:
        if session.scalar(select(CellDuty.id).where(CellDuty.district_code == book.district).limit(1)) is not None:
            return Worked()
        cells: dict[str, list[str]] = {}
        for row in rows(
            session, "SELECT c.code FROM cell c WHERE c.district_code = :d ORDER BY c.code", d=book.district
        ):
            cells.setdefault(row["code"][:12], []).append(row["code"])
        drafts: list[tuple[str, str, Charge]] = []
        people: list[Actor] = []
        for number, (community, codes) in enumerate(cells.items()):
            if number % _EMPTY == _EMPTY - 1:
                continue
            worker = _worker(session, book.district, community, number, at)
            people.append(worker)
            exception = "" if number < _CERTIFIED else "演示数据，未考试"
            charge = Charge(codes, tuple(DUTIES), Holder(worker.id), at, exception=exception, source="load")
            drafts += [(cell, duty, charge) for cell in codes for duty in DUTIES]
        for worker in people[:_CERTIFIED]:
            _pass_all(session, worker, at)
        duties.put(session, drafts, at=at)
        _wrong_on_purpose(session, people, at)
        return Worked(len(people), sum(len(codes) for codes in cells.values()))


def _worker(session: Session, district: str, community: str, number: int, at: datetime) -> Actor:
    own = accounts.by_login(session, "grid", district=district) if number == 0 else None
    if own is not None and own.town_code == community[:9]:
        return Actor(own.id, own.name, Role.GRID_WORKER, district, town=own.town_code)
    lot = random.Random(community)  # noqa: S311  demo people, not secrets
    name = f"{lot.choice(_FAMILY)}{lot.choice(_GIVEN)}{_LABEL}"
    account = Account(
        district_code=district,
        id=new_id(),
        login=f"demo.{community}",
        # No password fits it.
        password_hash="!",  # noqa: S106
        role=Role.GRID_WORKER.value,
        name=name,
        town_code=community[:9],
        created_at=at,
    )
    session.add(account)
    session.flush()
    return Actor(account.id, name, Role.GRID_WORKER, district, town=community[:9])


def _pass_all(session: Session, worker: Actor, at: datetime) -> None:
    """Take every quiz as the worker, rightly answered."""
    with acting_as(session, worker):
        for paper in training.papers(session):
            answers = {question.id: sorted(question.right) for question, _ in paper.questions}
            given = Submission(uuid.uuid4(), paper.duty, paper.number, paper.digest, answers, at)
            training.submit(session, given, at=at)


def _wrong_on_purpose(session: Session, people: Sequence[Actor], at: datetime) -> None:
    """Let one worker be ill and one have left, as offices know it."""
    if len(people) < 5:
        return
    ill, instead, gone = people[1], people[2], people[4]
    assert ill.id is not None
    until = at + timedelta(days=6)
    appointing.hand_over(session, Handover(ill.id, Holder(instead.id), at, until, "病假（演示）"), at=at)
    account = session.get_one(Account, (gone.district, gone.id))
    account.active = False
    session.flush()

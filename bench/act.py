"""Actions on cases beside the same row writes done through the ORM one by one; four connections, four processes.

`python -m bench act`. The life of a complaint (sign, note, reply, rework, reply, call-back) on its own case each time.
The reference locks the row, stops and starts the same clocks, writes the same entry, share, case and outbox rows, each
as an object with a flush of its own, as somebody writes it who does not count round trips; it asks no permission, looks
at no guard and checks no form. Ours goes through `dispatch.cases.act`.
"""

import multiprocessing
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from bench import scene
from bench.rows import Row
from core.actor import Actor, Role, citizen
from core.db import forget_engines, pin_case, transaction
from core.ids import new_id
from core.settings import settings
from dispatch import log
from dispatch.cases import act
from dispatch.guards import ACTIVE
from dispatch.models import Assignment, Case, Deadline, Entry, Outbox
from dispatch.numbers import Numbers
from dispatch.opening import NewCase, open_now
from dispatch.process import process
from dispatch.rulebook import Rulebook
from dispatch.rules import Decision, Level

_CLOSING = {"answer": "已处理。", "truth": "yes", "duty": "yes", "contacted": "yes", "solved": "yes"}
#: Who, what, with which form.
LIFE: tuple[tuple[Role, str, dict[str, str]], ...] = (
    (Role.UNIT, "sign", {}),
    (Role.UNIT, "note", {"note": "已派人到现场。"}),
    (Role.UNIT, "reply", _CLOSING),
    (Role.OPERATOR, "rework", {"satisfaction": "2", "reason": "尚未修好"}),
    (Role.UNIT, "reply", _CLOSING),
    (Role.OPERATOR, "callback", {"satisfaction": "5"}),
)
Do = Callable[[Session, Rulebook, uuid.UUID, str, int, datetime, dict[str, str]], None]


def ours(
    session: Session, book: Rulebook, case: uuid.UUID, action: str, version: int, at: datetime, fields: dict[str, str]
) -> None:
    act(session, book, case, action, expected_version=version, at=at, fields=fields)


def one_by_one(
    session: Session, book: Rulebook, key: uuid.UUID, action: str, version: int, at: datetime, fields: dict[str, str]
) -> None:
    """Write what the step writes, a row at a time."""
    case = session.scalar(select(Case).where(Case.district_code == book.district, Case.id == key).with_for_update())
    assert case is not None
    assert case.version == version
    pin_case(session, key)
    step, actor, before = book.process(case.process).step_for(action, case.state), session.info["actor"], case.state
    mine = {"district_code": book.district, "case_id": key}
    if step.part:
        shares = select(Assignment).where(Assignment.district_code == book.district, Assignment.case_id == key)
        for share in session.scalars(shares):
            if share.state in ACTIVE:
                share.state = process("assignment").step_for(step.part, share.state).target
                session.flush()
    running = select(Deadline).where(
        Deadline.district_code == book.district, Deadline.case_id == key, Deadline.stopped_at.is_(None)
    )
    for name in step.stops:
        clock = session.scalar(running.where(Deadline.clock == name))
        if clock is not None:
            clock.stopped_at, clock.next_at = at, None
            clock.outcome = "met" if at <= clock.due_at else "missed"
            session.flush()
    for name in step.starts:
        unit = case.unit_code if name == "reply" else None
        made = book.clock(name, unit=unit, kind=case.kind, urgency=case.urgency, category="", start=at)
        session.add(Deadline(**mine, **made.columns()))
        session.flush()
    last = session.scalar(
        select(Entry).where(Entry.district_code == book.district, Entry.case_id == key, Entry.seq == case.entries)
    )
    assert last is not None
    line = log.Line(action, actor, at, at, before, step.target, dict(fields))
    columns = log.as_columns(case.entries + 1, line)
    sealed = log.link(last.hash, columns)
    session.add(Entry(**mine, prev_hash=last.hash, hash=sealed, **columns))
    session.flush()
    nearest = session.scalar(running.order_by(Deadline.due_at, Deadline.id).limit(1))
    case.due_at, case.due_clock = (nearest.due_at, nearest.clock) if nearest else (None, None)
    case.warned = nearest.fired if nearest else 0
    case.state, case.open = step.target, book.process(case.process).state(step.target).open
    case.entries, case.head_hash, case.version = case.entries + 1, sealed, case.version + 1
    case.answer = fields.get("answer", case.answer)
    if fields.get("satisfaction"):
        case.satisfaction = int(fields["satisfaction"])
    topics = [*step.emits]
    if not case.open:
        case.closed_at = at
        topics.append("case.closed")
    session.flush()
    for topic in topics:
        told: dict[str, Any] = {"number": case.number, "state": case.state, "unit": case.unit_code}
        # People may not read the outbox, and the ORM reads back what it inserts; so a statement for each row.
        keys = {"district_code": book.district, "id": new_id(), "case_id": key}
        session.execute(insert(Outbox).values(**keys, topic=topic, payload=told, created_at=at))


def opened(book: Rulebook, many: int) -> Iterator[uuid.UUID]:
    """Bring cases in that are with a unit at once."""
    unit, numbers = min(book.units), Numbers(book.district)
    for _ in range(many):
        new = NewCase(
            channel="web",
            text="路灯不亮",
            reported_at=scene.AT,
            received_at=scene.AT,
            actor=citizen(book.district),
            number=numbers.take(scene.AT),
            kind="complaint",
            urgency="ordinary",
            decision=Decision(unit, Level.RULE),
        )
        yield open_now(book, new).case_id


def live(book: Rulebook, cases: list[uuid.UUID], do: Do) -> int:
    """Take each case from signing to its call-back, an action a transaction; return how many actions."""
    unit, at = min(book.units), scene.AT + timedelta(minutes=1)
    people = {
        Role.UNIT: Actor(new_id(), "基准", Role.UNIT, book.district, unit=unit),
        Role.OPERATOR: Actor(new_id(), "基准", Role.OPERATOR, book.district),
    }
    for case in cases:
        for version, (role, action, fields) in enumerate(LIFE, start=1):
            with transaction(people[role]) as session:
                do(session, book, case, action, version, at, fields)
    return len(cases) * len(LIFE)


def _one_of_four(book: Rulebook, cases: list[uuid.UUID], name: str, gate: Any, out: Any) -> None:
    forget_engines()
    do = {"ours": ours, "one_by_one": one_by_one}[name]
    # Compiled and prepared before the clock runs.
    live(book, cases[:8], do)
    gate.wait()
    began = time.perf_counter()
    done = live(book, cases[8:], do)
    out.put((began, time.perf_counter(), done))


def rate(book: Rulebook, name: str, *, each: int, connections: int = 4) -> float:
    """Return actions a second of some processes with a connection each."""
    cases = list(opened(book, connections * (each + 8)))
    # As autovacuum leaves it: on tables that the planner thinks empty, both walk the whole district for one case.
    with psycopg.connect(scene.psql_url(settings().owner_url), autocommit=True) as link:
        link.execute("ANALYZE")
    gate, out = multiprocessing.Barrier(connections), multiprocessing.Queue()
    workers = [
        multiprocessing.Process(target=_one_of_four, args=(book, cases[i::connections], name, gate, out))
        for i in range(connections)
    ]
    for worker in workers:
        worker.start()
    found = [out.get() for _ in workers]
    for worker in workers:
        worker.join()
    return sum(done for _, _, done in found) / (max(end for _, end, _ in found) - min(began for began, _, _ in found))


def run(quick: bool) -> list[Row]:  # noqa: FBT001  the signature of every bench
    from api import wiring

    each, rounds = (30, 2) if quick else (120, 5)
    with scene.district("act", households=2000):
        book = wiring.rulebook()
        found: dict[str, list[float]] = {"one_by_one": [], "ours": []}
        for _ in range(rounds):
            for name, rates in found.items():
                rates.append(rate(book, name, each=each))
    mine, reference = statistics.median(found["ours"]), statistics.median(found["one_by_one"])
    note = "sign, note, reply, rework, reply, call-back; reference: the same rows through the ORM, a flush for each"
    goal = "≥ 300/s, and ≥ 2.5 × the ORM one by one"
    return [Row("actions on cases, four connections", mine, reference, "actions/s", mine / reference, goal, note)]

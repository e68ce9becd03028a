"""The fault run 故障注入: people, sweepers, relays and a recomputation that are killed at random, and what must be left.

`python -m tests.faults --actions 10000 --workers 16`, on the database that the environment names (the tests make it).
Workers acknowledge an action by a line in a file of their own, synced to disk, as soon as its commit has returned. At
the end every acknowledged action has to be in the log exactly once, the log proved, every case whole, and every message
delivered in order. A clock of the run's own lets weeks pass in minutes.
"""

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

from core.actor import Actor
from core.db import engine, rows, snapshot, transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from core.settings import settings
from dispatch import audit, outbox
from dispatch.outbox import Message
from dispatch.recompute import recompute
from dispatch.rulebook import Rulebook
from dispatch.sweep import sweep
from tests import walks

_BEGIN = datetime(2026, 9, 24, 1, 30, tzinfo=UTC)
#: Seconds that pass for people and sweepers in one, and for relays, whose leases have to run out within the run.
_SPEED, _RELAY_SPEED = 3 * 3600, 60
#: Bytes of an acknowledgement with its newline.
_ACK = 28
_HOLIDAY = tuple(date(2026, 10, 12) + timedelta(days=n) for n in range(3))


@dataclass(frozen=True, slots=True)
class Scene:
    """What every process of the run shares."""

    book: Rulebook
    cases: Sequence[uuid.UUID]
    numbers: Sequence[str]
    folder: Path
    began: float
    seed: int

    def now(self) -> datetime:
        """Return the moment on the run's own clock."""
        return _BEGIN + timedelta(seconds=(time.time() - self.began) * _SPEED)

    def relay_now(self) -> datetime:
        """Return the moment on the relays' clock."""
        return _BEGIN + timedelta(seconds=(time.time() - self.began) * _RELAY_SPEED)


# Processes that get killed. Each appends to files of its own; nothing else survives it.


def append(path: Path, line: str, *, sync: bool = False) -> None:
    """Add to a file at once; with `sync` it is on the disk when this returns."""
    with path.open("ab", buffering=0) as file:
        file.write(line.encode())
        if sync:
            os.fsync(file.fileno())


def people(scene: Scene, slot: int, life: int) -> None:
    """Press what a random person may, on random cases, and acknowledge what was committed."""
    rng = random.Random(f"{scene.seed}-{slot}-{life}")
    acks, refusals = scene.folder / f"acks-{slot}", scene.folder / f"refused-{slot}"
    count = 0
    while True:
        token = f"{slot:03d}-{life:05d}-{count:07d}".ljust(_ACK - 1, ".")
        count += 1
        try:
            one, version = _choose(scene, rng, token)
        except Unavailable:
            continue
        for _ in range(40):
            try:
                walks.take(scene.book, one, version=version, at=scene.now())
            except Unavailable:
                # Whether it was committed nobody knows; the version keeps the second try from being a second action.
                continue
            except (Conflict, Forbidden, Invalid, NotFound) as refused:
                append(refusals, f"{refused.message}\n")
            else:
                append(acks, f"{token}\n", sync=True)
            break


def _choose(scene: Scene, rng: random.Random, token: str) -> tuple[walks.Press, int]:
    case = rng.choice(scene.cases)
    with snapshot(walks.PROGRAM) as session:
        facts = walks.look(session, [case], only=["shares"])[case]
    process = scene.book.process(facts.case["process"], facts.case["process_version"])

    def buttons(actor: Actor) -> Sequence[str]:
        with snapshot(actor) as session:
            return walks.buttons(session, scene.book, case, at=scene.now())

    one = walks.press(process, facts, rng.choice, numbers=scene.numbers, buttons=buttons, note=token)
    return one, facts.case["version"]


def sweeper(scene: Scene, slot: int, life: int) -> None:
    """Announce what is due, over and over."""
    while True:
        try:
            with transaction(walks.PROGRAM) as session:
                done = sweep(session, scene.book, at=scene.now(), limit=20)
        except Unavailable:
            continue
        except Conflict as refused:
            append(scene.folder / f"swept-{slot}", f"{refused.message}\n")
            continue
        if not done:
            time.sleep(0.2)


@dataclass(slots=True)
class Kept:
    """A notifier that writes down what it was given, one line a message; all of them write into one file."""

    path: Path

    def deliver(self, messages: Sequence[Message]) -> Mapping[uuid.UUID, str]:
        with self.path.open("ab", buffering=0) as file:
            for message in messages:
                file.write(f"{message.id} {message.case_id} {message.topic}\n".encode())
        return {}


def relay(scene: Scene, slot: int, life: int) -> None:
    """Deliver what waits, over and over."""
    while True:
        try:
            if not outbox.relay(walks.DISTRICT, Kept(scene.folder / "delivered"), at=scene.relay_now(), limit=20):
                time.sleep(0.1)
        except (Unavailable, Conflict):
            continue


def recomputer(scene: Scene, slot: int, life: int) -> None:
    """Reckon every deadline anew, by one notice and by the other."""
    other, number = walks.with_holiday(scene.book, _HOLIDAY), 0
    while True:
        book, cursor, left = (other, scene.book)[number % 2], None, True
        number += 1
        while left:
            try:
                with transaction(walks.PROGRAM) as session:
                    part = recompute(session, book, at=scene.now(), after=cursor, limit=100)
            except (Unavailable, Conflict):
                continue
            cursor, left = part.cursor, part.cursor is not None
        time.sleep(3)


def _child(scene: Scene, work: Callable[[Scene, int, int], None], slot: int, life: int) -> None:
    # The parent's sockets are not this process's; what SQLAlchemy has compiled is, or a life would go by in compiling.
    for pool in (engine(), engine(replica=True)):
        pool.dispose(close=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        work(scene, slot, life)
    except BaseException as error:  # noqa: BLE001  whatever ends a process that only a kill should end is the finding
        import traceback

        append(scene.folder / "errors", f"{work.__name__}: {type(error).__name__}\n{traceback.format_exc()}\n")
        os._exit(3)


# The run.


@dataclass(slots=True)
class Run:
    """Keeps the processes running and kills them."""

    scene: Scene
    rng: random.Random
    running: dict[tuple[Callable[[Scene, int, int], None], int], BaseProcess] = field(default_factory=dict)
    lives: Counter[Any] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)

    def start(self, work: Callable[[Scene, int, int], None], slot: int) -> None:
        """Fork one process; forked, so that a life costs milliseconds."""
        key = work, slot
        self.lives[key] += 1
        made = multiprocessing.get_context("fork").Process(
            target=_child, args=(self.scene, work, slot, self.lives[key]), daemon=True
        )
        made.start()
        self.running[key] = made

    def revive(self) -> None:
        """Start again whoever is dead."""
        for (work, slot), process in list(self.running.items()):
            if not process.is_alive():
                process.join()
                self.start(work, slot)

    def strike(self, admin: psycopg.Connection[Any]) -> None:
        """Kill one process, or the database's backend of one."""
        if self.rng.random() < 0.3:
            hit = admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND application_name = 'wangge' ORDER BY random() LIMIT 1"
            ).fetchone()
            self.killed["backend"] += bool(hit)
            return
        work, slot = self.rng.choice(list(self.running))
        process = self.running[work, slot]
        if process.is_alive() and process.pid:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            self.killed[work.__name__] += 1

    def stop(self) -> None:
        """Kill whoever is left, in the middle of what they do."""
        for process in self.running.values():
            process.kill()
        for process in self.running.values():
            process.join()


def _warm(scene: Scene) -> None:
    """Take some actions before anybody is killed, so that whoever is forked knows every statement."""
    rng = random.Random(scene.seed)
    for _ in range(60):
        one, version = _choose(scene, rng, "")
        with suppress(Conflict, Forbidden, Invalid, NotFound):
            walks.take(scene.book, one, version=version, at=scene.now())
    with transaction(walks.PROGRAM) as session:
        sweep(session, scene.book, at=scene.now(), limit=20)
    for pool in (engine(), engine(replica=True)):
        pool.dispose()


def _acknowledged(folder: Path) -> int:
    return sum(path.stat().st_size // _ACK for path in folder.glob("acks-*"))


def run(*, actions: int, workers: int, cases: int, seed: int, longest: float) -> dict[str, Any]:
    """Do the run and return its figures; `wrong` is a list of what did not hold, empty where all is well."""
    book = walks.make_district()
    rng = random.Random(seed)
    opened = [
        walks.open_case(book, at=_BEGIN, category=rng.choice((None, *walks.CATEGORIES)), kind=rng.choice(walks.KINDS))
        for _ in range(cases)
    ]
    with tempfile.TemporaryDirectory(prefix="wangge-faults-") as name:
        scene = Scene(
            book,
            [one.case_id for one in opened],
            [one.number for one in opened],
            Path(name),
            time.time(),
            seed,
        )
        made = Run(scene, rng)
        _warm(scene)
        for work, many in ((people, workers), (sweeper, 2), (relay, 2), (recomputer, 1)):
            for slot in range(many):
                made.start(work, slot)
        address = make_url(settings().database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        try:
            with psycopg.connect(address, autocommit=True, application_name="faults") as admin:
                while _acknowledged(scene.folder) < actions and time.time() - scene.began < longest:
                    time.sleep(rng.uniform(0.05, 0.4))
                    made.strike(admin)
                    made.revive()
        finally:
            made.stop()
        took = time.time() - scene.began
        _finish(scene)
        wrong, figures = _judge(scene)
    if figures["acknowledged"] < actions:
        wrong.append(f"only {figures['acknowledged']} of {actions} actions in {longest:.0f} s")
    return {
        "seed": seed,
        "seconds": round(took, 1),
        "killed": dict(made.killed),
        **figures,
        "wrong": wrong,
    }


def _finish(scene: Scene) -> None:
    """Let the living finish what the dead left: sweep, reckon by the notice that counts, deliver."""
    at = scene.now()
    swept = 1
    while swept:
        with transaction(walks.PROGRAM) as session:
            swept = sweep(session, scene.book, at=at)
    cursor, left = None, True
    while left:
        with transaction(walks.PROGRAM) as session:
            part = recompute(session, scene.book, at=at, after=cursor)
        cursor, left = part.cursor, part.cursor is not None
    # Far enough ahead that every lease of the dead has run out.
    later = scene.relay_now() + timedelta(hours=1)
    while outbox.relay(walks.DISTRICT, Kept(scene.folder / "delivered"), at=later, limit=500):
        pass


def _judge(scene: Scene) -> tuple[list[str], dict[str, Any]]:
    """Return what does not hold, and the figures of the run."""
    wrong: list[str] = []
    with snapshot(walks.PROGRAM) as session:
        found = walks.look(session, scene.cases)
        left = rows(session, "SELECT count(*) AS n FROM cases WHERE district_code = :d", d=walks.DISTRICT)
    for facts in found.values():
        wrong += walks.problems(facts, scene.book)
    wrong += walks.bundle_problems(found)
    entries = [entry for facts in found.values() for entry in facts.entries]
    wrong += _every_ack_once(scene, entries)
    wrong += _every_message(scene, found)
    proved = audit.prove(audit.Asked(walks.DISTRICT), at=scene.now())
    wrong += [f"wangge audit verify: {one}" for one in proved.kept]
    errors = scene.folder / "errors"
    wrong += errors.read_text().split("\n\n")[:20] if errors.exists() else []
    figures = {
        "cases": left[0]["n"],
        "acknowledged": _acknowledged(scene.folder),
        "entries": len(entries),
        "proved": proved.entries,
        "actions": dict(Counter(entry["action"] for entry in entries).most_common()),
        "states": dict(Counter(facts.case["state"] for facts in found.values()).most_common()),
        "refused": _counted(scene.folder.glob("refused-*")),
        "swept in vain": _counted(scene.folder.glob("swept-*")),
    }
    return wrong, figures


def _counted(paths: Any) -> dict[str, int]:
    return dict(Counter(line for path in paths for line in path.read_text().splitlines()).most_common(12))


def _every_ack_once(scene: Scene, entries: Sequence[Mapping[str, Any]]) -> list[str]:
    acked = Counter(line for path in scene.folder.glob("acks-*") for line in path.read_text().splitlines())
    logged = Counter(str(entry["data"].get("note")) for entry in entries if entry["data"].get("note"))
    wrong = [
        f"{token} was acknowledged and is in the log {logged[token]} times" for token in acked if logged[token] != 1
    ]
    return wrong + [
        f"{token} is in the log {n} times" for token, n in logged.items() if n > 1 and len(token) == _ACK - 1
    ]


def _every_message(scene: Scene, found: Mapping[uuid.UUID, walks.Facts]) -> list[str]:
    """Check that each outbox row was delivered, at least once, and the first time in its case's order."""
    wrong: list[str] = []
    first: dict[str, list[str]] = {}
    seen: set[str] = set()
    path = scene.folder / "delivered"
    for line in path.read_text().splitlines() if path.exists() else []:
        key, case, _ = line.split(" ")
        if key not in seen:
            seen.add(key)
            first.setdefault(case, []).append(key)
    for case, facts in found.items():
        waiting = [row["topic"] for row in facts.outbox if row["delivered_at"] is None or row["failure"]]
        if waiting:
            wrong.append(f"{facts.case['number']}: {waiting} were not delivered")
        if first.get(str(case), []) != [str(row["id"]) for row in facts.outbox]:
            wrong.append(f"{facts.case['number']}: delivered were other messages than written, or in another order")
    return wrong


def main() -> None:
    """Do one run as the command line says, print its figures as JSON, and end with 1 where something did not hold."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--actions", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--longest", type=float, default=900.0)
    given = parser.parse_args()
    done = run(actions=given.actions, workers=given.workers, cases=given.cases, seed=given.seed, longest=given.longest)
    sys.stdout.write(json.dumps(done, ensure_ascii=False, indent=1) + "\n")
    sys.exit(bool(done["wrong"]))


if __name__ == "__main__":
    main()

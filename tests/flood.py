"""The flood 洪峰: reports from every channel at once, repeated, with senders and workers killed; nothing lost or doubled.

`python -m tests.flood --reports 50000`, on the database that the environment names (the tests make it), in the tiny
district. Each report has its place in a plan, and its channel takes it in as it does in earnest: calls, pages and the
kiosk by intake, Open311 by its two steps, Weibo by stored mentions, files by the import's slices. Whoever sends gets a
line on the disk for each acknowledged report, and after a kill begins with the first that has none: most of those were
taken in already. One in twelve is sent twice anyway. Part of them is answered meanwhile, and what goes out goes by the
router and the pump to providers that write down every message they are given; pumps are killed like everybody else.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url, text

from api import wiring
from core.actor import Actor, Role, citizen, system
from core.db import engine, rows, snapshot, transaction
from core.errors import Conflict, Unavailable
from core.ids import new_id
from core.settings import settings
from dispatch import audit, cases, outbox, sheet
from hotline.desk import importing
from hotline.intake import Report
from hotline.open311 import keys, requests, services
from hotline.open311.models import Open311Key
from hotline.outward.adapters import Adapter, Outgoing, Sent
from hotline.outward.pump import Pump
from hotline.outward.quiet import Quiet
from hotline.outward.router import Router
from hotline.weibo import inbox
from hotline.weibo.answers import WeiboReply
from hotline.weibo.platform import Post
from tests import faults, tiny

#: Reports an hour that a district of a million takes in on an ordinary day; a flood is twenty times that. *Invented*.
ORDINARY, TIMES = 120, 20
_PROGRAM = system(tiny.DISTRICT, "flood")
_DESK = Actor(new_id(), "坐席", Role.OPERATOR, tiny.DISTRICT)
_BOSS = Actor(new_id(), "督查", Role.SUPERVISOR, tiny.DISTRICT)
_ROADS = tuple(tiny.ROADS)
_SAID = ("垃圾没人清运", "占道摆摊影响走路", "井盖缺了一块", "停水两天了", "半夜施工很吵")
#: Which channel the reports of ten have, by the last digit of their number.
_TURN = ("hotline", "hotline", "hotline", "web", "web", "kiosk", "open311", "open311", "weibo", "import")


@dataclass(slots=True)
class Scene:
    """What every process of the flood shares."""

    reports: int
    senders: int
    folder: Path
    began: float
    seed: int
    key: Open311Key

    def later(self) -> datetime:
        """Return the moment on a clock of the run's own, on which the leases of the dead run out."""
        return wiring.now() + timedelta(seconds=(time.time() - self.began) * 30)

    def answered(self) -> list[int]:
        """Return the reports that are answered: some of each channel whose people are told, at most some thousand."""
        every = 10 * max(4, self.reports // 5000)
        return [n for n in range(self.reports) if n % every in (0, 3, 5, 8)]


def _text(number: int) -> str:
    road = _ROADS[number % len(_ROADS)]
    return f"{road}{number % 75 + 2}号{_SAID[number % len(_SAID)]}，第{number}次来件。"


def _post(number: int) -> Post:
    made = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=number)
    return Post(f"{5_000_000_000_000_000 + number}", _text(number), made, author_id=f"{10_000 + number}", author="网友")


def _mine(scene: Scene, *channels: str) -> Iterator[int]:
    return (n for n in range(scene.reports) if _TURN[n % 10] in channels)


# Processes that get killed.


@dataclass
class _Sender:
    """Sends one report by the door of its channel."""

    scene: Scene

    @cached_property
    def offered(self) -> dict[str, services.Service]:
        """What Open311 offers."""
        with snapshot(_PROGRAM) as session:
            return services.listed(session, wiring.rulebook())

    def send(self, number: int) -> None:
        """Send a report; returns when it is acknowledged."""
        channel, at = _TURN[number % 10], wiring.now()
        if channel == "open311":
            form = [("service_code", "1001"), ("description", _text(number)), ("address_string", "望江区")]
            sent = requests.read_form(form, self.offered, media_hosts=())
            digest = requests.own_id(f"flood-{number:08d}")
            made = requests.accept(self.scene.key, sent, digest, own=True, at=at)
            requests.take_in(wiring.intake(), self.offered, made, at=at)
            return
        by = _DESK if channel == "hotline" else citizen(tiny.DISTRICT)
        report = Report(channel, _text(number), at, source_id=f"flood-{number}", phone=f"139{number:08d}")
        wiring.intake().receive(report, actor=by, at=at)


def sender(scene: Scene, slot: int, life: int) -> None:
    """Send every report of a stripe in order, from the first that was not acknowledged."""
    rng = random.Random(f"{scene.seed}-{slot}-{life}")
    acks, door = scene.folder / f"sent-{slot}", _Sender(scene)
    done = acks.stat().st_size // 9 if acks.exists() else 0
    stripe = [n for n in _mine(scene, "hotline", "web", "kiosk", "open311") if n % scene.senders == slot]
    for number in stripe[done:]:
        times = 2 if rng.random() < 1 / 12 else 1
        while times:
            try:
                door.send(number)
            except (Unavailable, Conflict):
                continue
            times -= 1
        faults.append(acks, f"{number:08d}\n", sync=True)
    time.sleep(3600)


def weibo(scene: Scene, slot: int, life: int) -> None:
    """Store mentions page by page, pages overlapping, and take what is stored."""
    pages, size = scene.folder / "pages", 200
    posts = [_post(n) for n in _mine(scene, "weibo")]
    while True:
        page = pages.stat().st_size // 2 if pages.exists() else 0
        try:
            if page * size < len(posts):
                with transaction(_PROGRAM) as session:
                    inbox.store(
                        session, posts[max(0, page * size - 20) : (page + 1) * size], source="api", at=wiring.now()
                    )
                faults.append(pages, ".\n", sync=True)
            taken = inbox.take(wiring.intake(), at=wiring.now())
        except (Unavailable, Conflict):
            continue
        if page * size >= len(posts) and not (taken and taken.all):
            time.sleep(0.2)


def importer(scene: Scene, slot: int, life: int) -> None:
    """Work at the file, slice by slice."""
    while True:
        try:
            if importing.work(wiring.intake(), at=wiring.now(), size=50) is None:
                time.sleep(0.2)
        except (Unavailable, Conflict):
            continue


def relay(scene: Scene, slot: int, life: int) -> None:
    """Take what waits in the outbox to the router, over and over."""
    router = _router(scene)
    while True:
        try:
            if not outbox.relay(tiny.DISTRICT, router, at=scene.later(), limit=200):
                time.sleep(0.1)
        except (Unavailable, Conflict):
            continue


def pump(scene: Scene, slot: int, life: int) -> None:
    """Send what is to go out, over and over."""
    way = _pump(scene)
    while True:
        try:
            done = way.run(tiny.DISTRICT)
        except (Unavailable, Conflict):
            continue
        if not done.sent and not done.failed:
            time.sleep(0.1)


def answerer(scene: Scene, slot: int, life: int) -> None:
    """Lead every report that is to be answered to its reply, as the desk and the unit; begin again where it stopped."""
    told = scene.folder / "answered"
    while True:
        done = set(told.read_text().split()) if told.exists() else set()
        for number in scene.answered():
            try:
                if str(number) not in done and _answer(number):
                    faults.append(told, f"{number}\n", sync=True)
            except (Unavailable, Conflict):
                continue
        time.sleep(0.3)


def _answer(number: int) -> bool:
    """Take the steps to the reply of one report that are missing; return whether it is replied."""
    named = _post(number).id if _TURN[number % 10] == "weibo" else f"flood-{number}"
    with snapshot(_PROGRAM) as session:
        found = rows(
            session,
            "SELECT case_id FROM report WHERE district_code = :d AND channel = :c AND source_id = :s",
            d=tiny.DISTRICT,
            c=_TURN[number % 10],
            s=named,
        )
    if not found:
        return False
    book, case_id = wiring.rulebook(), found[0]["case_id"]
    while True:
        with snapshot(_PROGRAM) as session:
            now = sheet.facts(session, case_id)
        unit = Actor(new_id(), "承办", Role.UNIT, tiny.DISTRICT, unit=now.unit_code or "")
        process = book.process(now.process, now.process_version)
        asked = process.fields(process.step_for("reply", "signed"), now.kind)
        said = {"truth": "yes", "duty": "yes", "contacted": "yes", "solved": "yes"}
        reply = {"answer": _answer_of(number)} | {name: value for name, value in said.items() if name in asked}
        step: tuple[Actor, str, dict[str, Any]] | None = {
            "received": (_DESK, "dispatch", {"unit": tiny.STREETS}),
            "dispatched": (unit, "sign", {}),
            "signed": (unit, "reply", reply),
        }.get(now.state)
        if step is None:
            return True
        with transaction(step[0]) as session:
            cases.act(session, book, case_id, step[1], expected_version=now.version, at=wiring.now(), fields=step[2])


def _answer_of(number: int) -> str:
    return f"对第{number}次来件的答复：已办妥。"


# What stands outside.


@dataclass
class _Outside:
    """A provider that writes down every message that it is given: key, address and words."""

    name: str
    path: Path

    def send(self, message: Outgoing) -> Sent:
        """Take one message."""
        line = json.dumps([str(message.key), message.address, message.text], ensure_ascii=False)
        faults.append(self.path, f"{line}\n", sync=True)
        return Sent("taken")


def _router(scene: Scene) -> Router:
    feed = faults.Kept(scene.folder / "delivered")
    return Router(feed, books=wiring.rulebook, channels=lambda: frozenset({"sms", "weibo"}), clock=wiring.now)


def _pump(scene: Scene) -> Pump:
    posts = WeiboReply(None, clock=scene.later, instead=_Outside("weibo", scene.folder / "outside"))
    ways: dict[str, Adapter] = {"sms": _Outside("sms", scene.folder / "outside"), "weibo": posts}
    return Pump(ways, clock=scene.later, quiet=lambda _: Quiet(clock_time(0), clock_time(0)))


# The run.


@dataclass(slots=True)
class Outcome:
    """What came of a flood; `wrong` is empty where all is well."""

    wrong: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


def _finished(scene: Scene) -> bool:
    with snapshot(_PROGRAM) as session:
        (found,) = rows(
            session,
            "SELECT (SELECT count(*) FROM mention WHERE district_code = :d AND state <> 'received') AS mentions, "
            "(SELECT count(*) FROM import_run WHERE district_code = :d AND finished_at IS NULL) AS files",
            d=tiny.DISTRICT,
        )
    told = scene.folder / "answered"
    if not told.exists() or len(told.read_text().split()) * 2 < len(scene.answered()):
        # Half of the answers at least are given while there is killing.
        return False
    sent = sum(path.stat().st_size // 9 for path in scene.folder.glob("sent-*"))
    wanted = sum(1 for _ in _mine(scene, "hotline", "web", "kiosk", "open311"))
    return sent == wanted and found["mentions"] == sum(1 for _ in _mine(scene, "weibo")) and not found["files"]


def run(*, reports: int, senders: int, seed: int, longest: float) -> Outcome:
    """Let the flood come, kill while it lasts, and judge what is left. The tiny district has to be there."""
    with transaction(_PROGRAM) as session:
        # Whatever the hour is, people may be told.
        session.execute(
            text("""UPDATE district SET settings = settings || '{"quiet": {"from": "00:00", "to": "00:00"}}',
            revision = revision + 1""")
        )
    wiring.forget()
    wiring.intake()
    with transaction(_PROGRAM) as session:
        key_id, _ = keys.add(session, "flood", at=wiring.now())
        key = session.get_one(Open311Key, (tiny.DISTRICT, key_id))
        session.expunge(key)
    with tempfile.TemporaryDirectory(prefix="wangge-flood-") as name:
        scene = Scene(reports, senders, Path(name), time.time(), seed, key)
        lines = ["编号,内容"] + [f"flood-{n},{_text(n)}" for n in _mine(scene, "import")]
        with transaction(_BOSS) as session:
            importing.queue(session, "\n".join(lines).encode(), "flood.csv", at=wiring.now())
        _Sender(scene).send(next(_mine(scene, "web")))
        for pool in (engine(), engine(replica=True)):
            pool.dispose()
        made = faults.Run(scene, random.Random(seed))
        for work, many in (
            *((sender, senders), (weibo, 1), (importer, 1)),
            *((relay, 1), (pump, 2), (answerer, 1)),
        ):
            for slot in range(many):
                made.start(work, slot)
        address = make_url(settings().database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        try:
            with psycopg.connect(address, autocommit=True, application_name="flood") as admin:
                done, turn = False, 0
                while not done and time.time() - scene.began < longest:
                    time.sleep(made.rng.uniform(0.3, 1.5))
                    made.strike(admin)
                    turn += 1
                    if turn % 4 == 0:
                        # Not left to luck: whoever sends is killed in the middle.
                        _kill(made, pump, turn // 4 % 2)
                    made.revive()
                    # What was cut may have been the line of whoever asks.
                    with suppress(Unavailable):
                        done = _finished(scene)
        finally:
            made.stop()
        took, cut = time.time() - scene.began, not done
        for pool in (engine(), engine(replica=True)):
            pool.dispose()
        for number in scene.answered():
            # Those that nobody came to in time.
            _answer(number)
        late, router = wiring.now() + timedelta(hours=1, seconds=took * 30), _router(scene)
        while outbox.relay(tiny.DISTRICT, router, at=late, limit=500):
            pass
        # Whoever was killed in the middle of sending holds its messages no longer.
        scene.began -= 3600
        while _pump(scene).run(tiny.DISTRICT).sent:
            pass
        found = _judge(scene)
    rate = reports / took * 3600
    found.figures |= {"seconds": round(took, 1), "an hour": round(rate), "killed": dict(made.killed), "seed": seed}
    if rate < ORDINARY * TIMES:
        found.wrong.append(f"{rate:.0f} reports an hour are no flood")
    if cut:
        # What is missing was not lost then: it was never sent.
        found.wrong.insert(0, f"not over after {longest:.0f} s")
    return found


def _kill(made: faults.Run, work: Callable[[Scene, int, int], None], slot: int) -> None:
    process = made.running[work, slot]
    if process.is_alive():
        process.kill()
        process.join()
        made.killed[work.__name__] += 1


def _judge(scene: Scene) -> Outcome:
    wrong: list[str] = []
    with snapshot(_PROGRAM) as session:

        def ask(sql: str) -> list[Any]:
            return rows(session, sql, d=tiny.DISTRICT)

        named = Counter(
            (row["channel"], row["source_id"])
            for row in ask("SELECT channel, source_id FROM report WHERE district_code = :d AND source_id IS NOT NULL")
        )
        (counted,) = ask(
            "SELECT (SELECT count(*) FROM cases WHERE district_code = :d) AS cases, "
            "(SELECT count(*) FROM report WHERE district_code = :d) AS reports, "
            "(SELECT count(*) FROM open311_request WHERE district_code = :d) AS requests, "
            "(SELECT count(DISTINCT case_id) FROM open311_request WHERE district_code = :d) AS request_cases, "
            "(SELECT count(*) FROM outbox WHERE district_code = :d AND (delivered_at IS NULL OR failure IS NOT NULL)) "
            " AS waiting, "
            "(SELECT count(*) FROM cases AS c WHERE c.district_code = :d AND NOT EXISTS (SELECT 1 FROM report AS r "
            " WHERE r.district_code = :d AND r.case_id = c.id)) AS bare"
        )
        states = {
            row["state"]: row["n"]
            for row in ask("SELECT state, count(*) AS n FROM mention WHERE district_code = :d GROUP BY state")
        }
        (joined,) = ask("SELECT count(*) AS n FROM mention_event WHERE district_code = :d AND kind = 'joined'")
        left = ask("SELECT state, count(*) AS n FROM delivery WHERE district_code = :d AND state <> 'sent' GROUP BY 1")
        (file,) = ask("SELECT total, taken, repeated, refused FROM import_run WHERE district_code = :d")
    wanted = {
        (channel, f"flood-{n}" if channel != "weibo" else _post(n).id)
        for n in range(scene.reports)
        if (channel := _TURN[n % 10]) in ("hotline", "web", "kiosk", "weibo")
    }
    held = states.get("held", 0)
    missing = [one for one in wanted if not named[one] and not (one[0] == "weibo" and held)]
    wrong += [f"{one} is missing" for one in missing[:20]]
    wrong += [f"{one} is there {n} times" for one, n in named.items() if n > 1][:20]
    asked, mentions, rowed = (sum(1 for _ in _mine(scene, name)) for name in ("open311", "weibo", "import"))
    for said, is_, should in (
        ("Open311 requests", counted["requests"], asked),
        ("cases of Open311 requests", counted["request_cases"], asked),
        ("mentions that came to something", sum(states.values()) - states.get("received", 0), mentions),
        ("rows of the file", file["total"], rowed),
        ("rows taken in or there before", file["taken"] + file["repeated"], rowed),
        ("reports", counted["reports"], scene.reports - held),
        ("cases", counted["cases"], scene.reports - held - joined["n"]),
        ("cases without a report", counted["bare"], 0),
        ("messages not delivered", counted["waiting"], 0),
    ):
        if is_ != should:
            wrong.append(f"{said}: {is_} and not {should}")
    wrong += [f"{row['n']} deliveries are {row['state']}" for row in left]
    outside, faulty = _outside(scene)
    wrong += faulty
    proved = audit.prove(audit.Asked(tiny.DISTRICT), at=wiring.now() + timedelta(hours=2))
    wrong += [f"wangge audit verify: {one}" for one in proved.kept]
    errors = scene.folder / "errors"
    wrong += errors.read_text().split("\n\n")[:20] if errors.exists() else []
    return Outcome(wrong, {**counted, **outside, "mentions": states, "entries proved": proved.entries})


def _outside(scene: Scene) -> tuple[dict[str, int], list[str]]:
    """Return how much went out, and what is wrong with it: each receipt and each answer has to come exactly once.

    The same key again is the same message: providers that honour keys have it once. Words must never change under it.
    """
    by_key: dict[str, set[tuple[str, str]]] = defaultdict(set)
    lines = (scene.folder / "outside").read_text(encoding="utf-8").splitlines()
    for line in lines:
        key, address, words = json.loads(line)
        by_key[key].add((address, words))
    wrong = [f"message {key} said {len(said)} things" for key, said in by_key.items() if len(said) > 1]
    got: dict[str, list[str]] = defaultdict(list)
    for said in by_key.values():
        for address, words in said:
            got[address].append(words)
    for number in _mine(scene, "hotline", "web", "kiosk"):
        receipts = sum("已收到并登记" in words for words in got[f"139{number:08d}"])
        wrong += [f"report {number} has {receipts} receipts"] if receipts != 1 else []
    for number in scene.answered():
        to = _post(number).id if _TURN[number % 10] == "weibo" else f"139{number:08d}"
        answers = sum(_answer_of(number) in words for words in got[to])
        wrong += [f"report {number} was told its answer {answers} times"] if answers != 1 else []
    return {"messages outside": len(by_key), "sent again under their key": len(lines) - len(by_key)}, wrong[:20]


def main() -> None:
    """Do one run as the command line says, print its figures as JSON, and end with 1 where something did not hold."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--reports", type=int, default=50_000)
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--longest", type=float, default=5400.0)
    given = parser.parse_args()
    done = run(reports=given.reports, senders=given.senders, seed=given.seed, longest=given.longest)
    sys.stdout.write(json.dumps({**done.figures, "wrong": done.wrong}, ensure_ascii=False, indent=1) + "\n")
    sys.exit(bool(done.wrong))


if __name__ == "__main__":
    main()

"""Intake in process beside pgbench writing the same rows in one statement; one connection, then four processes.

`python -m bench intake`. The reference is what PostgreSQL can do when nobody thinks: same tables, indexes, row counts,
row sizes, as the owner without row policies, prepared, one round trip a case. Ours locates, classifies, looks for
twins, routes, computes deadlines, seals and writes through `Intake.receive`.
"""

import itertools
import multiprocessing
import os
import re
import statistics
import subprocess
import tempfile
import time
import uuid
from datetime import datetime
from pathlib import Path

from bench import scene
from bench.rows import Row
from core.actor import citizen
from core.settings import settings

_PGBENCH = "pgbench"
#: A UUID in order of time, as the program makes them, so that indexes grow at the same place.
_UUID7 = (
    "(lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7' ||"
    " substr(md5(random()::text), 1, 3) || 'a' || substr(md5(random()::text), 1, 15))::uuid"
)


def reference(intake, report, at) -> tuple[str, dict[str, str]]:
    """Return a pgbench script that writes what the program writes for one typical report, and its constant values."""
    from dispatch import opening
    from hotline import intake as module

    seen = []
    real = module.open_now
    module.open_now = lambda book, new, bind=None: seen.append((book, new)) or real(book, new, bind=bind)
    try:
        intake.receive(report, actor=citizen(intake.book.district), at=at)
    finally:
        module.open_now = real
    made = opening._prepare(*seen[0])
    return _script(made.sql.decode(), made.values)


def _script(sql: str, params) -> tuple[str, dict[str, str]]:
    uuids: dict[int, str] = {}
    constants: dict[str, str] = {}

    def value(match: re.Match) -> str:
        i = int(match[1]) - 1
        given = params[i]
        if isinstance(given, uuid.UUID):
            return uuids.setdefault(i, f"(SELECT u{len(uuids)} FROM k)")
        if given is None:
            return "NULL"
        if given == "":
            return "''"
        if isinstance(given, str) and re.fullmatch(r"\d{14}[\dX]", given):
            return "(SELECT number FROM k)"
        if isinstance(given, bytes):
            given = "\\x" + given.hex()
        elif isinstance(given, datetime):
            given = given.isoformat()
        elif isinstance(given, list):
            given = "{" + ",".join(given) + "}"
        constants[f"p{i}"] = str(given)
        return f":p{i}"

    body = re.sub(r"\$(\d+)", value, sql).replace("\n", " ")
    columns = ", ".join(f"{_UUID7} AS u{i}" for i in range(len(uuids)))
    k = f"k AS MATERIALIZED (SELECT {columns}, md5(random()::text) AS number)"
    return body.replace("WITH ", f"WITH {k}, ", 1) + ";\n", constants


def pgbench(script: Path, constants: dict[str, str], *, clients: int, seconds: int) -> float:
    done = subprocess.run(
        [
            *(_PGBENCH, "-n", "-M", "prepared", "-f", str(script), "-c", str(clients), "-j", str(min(2, clients))),
            *(part for name, value in constants.items() for part in ("-D", f"{name}={value}")),
            *("-T", str(seconds), scene.psql_url(settings().owner_url)),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return float(re.search(r"tps = ([\d.]+)", done.stdout)[1])


def ours(folder: Path, *, seconds: float, skip: int = 0) -> tuple[float, float]:
    """Return cases a second and CPU microseconds a case of one process."""
    from api import wiring
    from hotline.intake import Report
    from hotline.play import messages

    intake = wiring.intake()
    found = itertools.islice(messages(folder / "cases.jsonl"), skip, None)
    at = wiring.now()
    reports = [Report(channel="web", text=m.text, reported_at=at) for m in found]
    who = citizen(intake.book.district)
    for report in reports[:50]:
        intake.receive(report, actor=who, at=at)
    began, cpu, done = time.perf_counter(), time.process_time(), 0
    for report in itertools.cycle(reports[50:]):
        intake.receive(report, actor=who, at=at)
        done += 1
        if done % 20 == 0 and time.perf_counter() - began > seconds:
            break
    took = time.perf_counter() - began
    return done / took, (time.process_time() - cpu) / done * 1e6


def _one_of_four(folder: str, seconds: float, skip: int, gate, out) -> None:
    from core.db import forget_engines

    forget_engines()
    from api import wiring

    wiring.intake()
    gate.wait()
    out.put(ours(Path(folder), seconds=seconds, skip=skip)[0])


def run(quick: bool) -> list[Row]:  # noqa: FBT001  the signature of every bench
    from api import wiring
    from hotline.intake import Report
    from hotline.play import messages

    seconds, rounds = (3, 2) if quick else (8, 3)
    with scene.district("intake", cases=6000) as folder, tempfile.TemporaryDirectory() as temporary:
        intake = wiring.intake()
        at = wiring.now()
        sent = next(
            r
            for r in (Report(channel="web", text=m.text, reported_at=at) for m in messages(folder / "cases.jsonl"))
            if not intake.understand(r).doubts
        )
        script = Path(temporary, "reference.sql")
        body, constants = reference(intake, sent, at)
        script.write_text(body, encoding="utf-8")
        singles, cpus, references = [], [], []
        for _ in range(rounds):
            references.append(pgbench(script, constants, clients=1, seconds=seconds))
            rate, cpu = ours(folder, seconds=seconds)
            singles.append(rate)
            cpus.append(cpu)
        fours, references4 = [], []
        for _ in range(1 if quick else rounds):
            references4.append(pgbench(script, constants, clients=4, seconds=seconds))
            gate, out = multiprocessing.Barrier(4), multiprocessing.Queue()
            workers = [
                multiprocessing.Process(target=_one_of_four, args=(str(folder), seconds, i * 1000, gate, out))
                for i in range(4)
            ]
            for worker in workers:
                worker.start()
            fours.append(sum(out.get() for _ in workers))
            for worker in workers:
                worker.join()
    one, limit = statistics.median(singles), statistics.median(references)
    four, limit4 = statistics.median(fours), statistics.median(references4)
    note = f"understanding included; client CPU {statistics.median(cpus):.0f} µs a case"
    return [
        Row("intake in process, one connection", one, limit, "cases/s", one / limit, "≥ 0.80 of pgbench", note),
        Row("intake in process, four processes", four, limit4, "cases/s", four / limit4, "≥ 0.60 of pgbench"),
    ]


if __name__ == "__main__":
    for row in run(quick="--quick" in os.sys.argv):
        print(row)

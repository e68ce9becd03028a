"""The proof of the log: whoever tampers with it in whatever way is named, and the database refuses in the first place."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from core.db import make_engine, snapshot, transaction
from core.errors import Conflict, NotFound
from core.settings import ROOT, settings
from dispatch import anchors, audit
from dispatch.models import Case
from dispatch.rulebook import read_rulebook
from tests import tiny
from tests.builders import make_case, make_entry, program

pytestmark = pytest.mark.database

#: Noon in China, on the first of three days.
FIRST = datetime(2026, 11, 16, 4, 0, tzinfo=UTC)
DAY = timedelta(days=1)
#: Early enough after the third day that all three are finished.
AFTER = FIRST + 3 * DAY
_codes = (f"9904{n:02d}" for n in count())


@pytest.fixture
def owner(database: str) -> Iterator[Engine]:
    engine = make_engine(settings().owner_url, pool_size=2)
    yield engine
    engine.dispose()


@pytest.fixture
def log(database: str) -> str:
    """Write a district of its own with three cases whose entries fall on three days; returns its code."""
    code = next(_codes)
    with transaction(program(code)) as session:
        for i in range(3):
            case = make_case(session, district=code, at=FIRST + timedelta(hours=i))
            for j in range(1, 3):
                make_entry(session, case, "note", at=FIRST + j * DAY + timedelta(minutes=i), data={"note": f"第{j}天"})
    return code


def prove(code: str, **asked: object) -> audit.Findings:
    return audit.prove(audit.Asked(code, **asked), at=AFTER)  # type: ignore[arg-type]


def numbers(code: str) -> list[tuple[str, uuid.UUID]]:
    with snapshot(program(code)) as session:
        found = session.query(Case.number, Case.id).where(Case.district_code == code).order_by(Case.id)
        return [(number, key) for number, key in found]


@contextmanager
def tampering(owner: Engine) -> Iterator[Connection]:
    """Do what only an administrator of the database can do: take the locks off, and put them on again."""
    with owner.begin() as link:
        for table in ("entry", "anchor"):
            link.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        yield link
        for table in ("entry", "anchor"):
            link.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))


def test_untouched_log_holds_and_everything_is_counted(log: str) -> None:
    assert anchors.make_missing(log, at=AFTER) == [date(2026, 11, 16), date(2026, 11, 17), date(2026, 11, 18)]
    found = prove(log)
    assert (found.faults, found.first) == (0, None)
    assert (found.cases, found.entries, found.days, found.unanchored) == (3, 9, 3, 0)
    with snapshot(program(log)) as session:
        assert [(one.entries, one.cases) for one in anchors.chain(session, log)] == [(3, 3), (3, 3), (3, 3)]


def test_database_makes_the_leaves_that_the_format_describes(log: str) -> None:
    day = date(2026, 11, 17)
    with snapshot(program(log)) as session:
        rows = session.execute(
            text(
                "SELECT case_id, seq, hash FROM entry WHERE district_code = :d AND recorded_at >= '2026-11-17 00:00+08'"
                " AND recorded_at < '2026-11-18 00:00+08' ORDER BY recorded_at, case_id, seq"
            ),
            {"d": log},
        ).all()
        plain = anchors.merkle(anchors.leaf(case, seq, bytes(sealed)) for case, seq, sealed in rows)
        assert anchors.sum_of(session, log, day) == (3, 3, plain)


def test_day_is_anchored_only_when_it_is_over_in_china(log: str) -> None:
    # 00:59 in China on the 17th: the 16th is over, its last transactions may not be.
    midnight = datetime(2026, 11, 16, 16, 0, tzinfo=UTC)
    assert anchors.make_missing(log, at=midnight + timedelta(minutes=59)) == []
    assert anchors.make_missing(log, at=midnight + timedelta(minutes=61)) == [date(2026, 11, 16)]


def test_anchors_are_made_up_for_after_days_of_downtime_and_never_twice(log: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: anchors.make_missing(log, at=AFTER + 4 * DAY), range(4)))
    days = sorted(day for some in made for day in some)
    assert days == [date(2026, 11, 16) + n * DAY for n in range(7)], "every day once, empty days too"
    assert anchors.make_missing(log, at=AFTER + 4 * DAY) == []
    found = audit.prove(audit.Asked(log), at=AFTER + 4 * DAY)
    assert (found.faults, found.days) == (0, 7)


def test_district_without_entries_has_no_anchor(database: str) -> None:
    code = next(_codes)
    assert anchors.make_missing(code, at=AFTER) == []
    assert prove(code).faults == 0


def test_entry_cannot_be_recorded_into_an_anchored_day(log: str) -> None:
    anchors.make_missing(log, at=AFTER)
    with pytest.raises(Conflict, match="clock of this server"), transaction(program(log)) as session:
        make_case(session, district=log, at=FIRST)
    with transaction(program(log)) as session:
        make_case(session, district=log, at=AFTER)
    assert prove(log).faults == 0


def test_act_refuses_a_server_whose_clock_was_turned_back(district: tiny.Tiny) -> None:
    from tests.database.test_cases import AT, STREETS, do, open_one

    with snapshot(program(tiny.DISTRICT)) as session:
        book = read_rulebook(session, tiny.DISTRICT)
    case = open_one(book)
    with pytest.raises(Conflict, match="clock of this server"):
        do(book, STREETS, case, "sign", 1, at=AT - timedelta(seconds=1))
    assert do(book, STREETS, case, "sign", 1, at=AT) == 2, "nothing was changed by the refused one"


@pytest.mark.parametrize("table", ["entry", "anchor"])
@pytest.mark.parametrize("sql", ["UPDATE {t} SET hash = hash", "DELETE FROM {t}", "TRUNCATE {t}"])
def test_database_refuses_change_and_deletion_to_program_and_owner(
    owner: Engine, log: str, table: str, sql: str
) -> None:
    anchors.make_missing(log, at=AFTER)
    statement = text(sql.format(t=table))
    with pytest.raises(ProgrammingError, match="permission denied"), transaction(program(log)) as session:
        session.execute(statement)
    with pytest.raises(DBAPIError, match="append-only"), owner.begin() as link:
        link.execute(statement)
    assert prove(log).faults == 0


def test_program_cannot_write_an_anchor_as_anybody_but_itself(log: str) -> None:
    from tests.builders import actor

    with (
        pytest.raises(ProgrammingError, match="row-level security"),
        transaction(actor("supervisor", district=log)) as session,
    ):
        session.execute(
            text(
                "INSERT INTO anchor (district_code, day, entries, cases, root, prev_hash, hash, made_at)"
                " VALUES (:d, '2026-01-01', 0, 0, '', '', '', now())"
            ),
            {"d": log},
        )


#: What a tamperer does to the second case → what is named: kind, number of the entry, day of November.
DEEDS = {
    "another content": (
        'UPDATE entry SET data = \'{"note": "改了"}\' WHERE district_code = :d AND case_id = :c AND seq = 2',
        ("content", 2, 17),
    ),
    "another actor": (
        "UPDATE entry SET actor_name = '别人' WHERE district_code = :d AND case_id = :c AND seq = 3",
        ("content", 3, 18),
    ),
    "late mark taken off": (
        "UPDATE entry SET late = NOT late WHERE district_code = :d AND case_id = :c AND seq = 1",
        ("content", 1, 16),
    ),
    "another number": (
        "UPDATE entry SET seq = 7 WHERE district_code = :d AND case_id = :c AND seq = 3",
        ("gap", 3, 17),
    ),
    "entry taken out of the middle": (
        "DELETE FROM entry WHERE district_code = :d AND case_id = :c AND seq = 2",
        ("gap", 2, 16),
    ),
    "tail cut off": (
        "DELETE FROM entry WHERE district_code = :d AND case_id = :c AND seq = 3",
        ("head", 3, 17),
    ),
    "clock turned back": (
        (
            "UPDATE entry SET recorded_at = recorded_at - interval '3 days'"
            " WHERE district_code = :d AND case_id = :c AND seq = 3"
        ),
        ("clock", 3, 15),
    ),
    "two entries swapped": (
        (
            "UPDATE entry a SET data = b.data, recorded_at = b.recorded_at, happened_at = b.happened_at FROM entry b"
            " WHERE a.district_code = :d AND a.case_id = :c AND b.district_code = :d AND b.case_id = :c"
            " AND a.seq IN (2, 3) AND b.seq = 5 - a.seq"
        ),
        ("content", 2, 18),
    ),
    "head of the case changed": (
        "UPDATE cases SET head_hash = decode(repeat('00', 32), 'hex') WHERE district_code = :d AND id = :c",
        ("head", 4, 18),
    ),
    "count of the case changed": (
        "UPDATE cases SET entries = 9 WHERE district_code = :d AND id = :c",
        ("count", 3, 18),
    ),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_tampering_is_named_by_case_entry_and_day(owner: Engine, log: str, deed: str) -> None:
    anchors.make_missing(log, at=AFTER)
    number, case_id = numbers(log)[1]
    sql, (what, seq, day) = DEEDS[deed]
    with tampering(owner) as link:
        assert link.execute(text(sql), {"d": log, "c": case_id}).rowcount  # type: ignore[attr-defined]
    faults = [one for one in prove(log).kept if one.case]
    assert [(one.what, one.case, one.seq, one.day) for one in faults] == [(what, number, seq, date(2026, 11, day))]
    alone = prove(log, number=number)
    assert alone.first is not None


def test_tail_cut_off_together_with_the_case_row_is_found_by_the_anchor(owner: Engine, log: str) -> None:
    anchors.make_missing(log, at=AFTER)
    _, case_id = numbers(log)[1]
    with tampering(owner) as link:
        key = {"d": log, "c": case_id}
        link.execute(text("DELETE FROM entry WHERE district_code = :d AND case_id = :c AND seq = 3"), key)
        link.execute(
            text(
                "UPDATE cases SET entries = 2, head_hash = (SELECT hash FROM entry WHERE district_code = :d"
                " AND case_id = :c AND seq = 2) WHERE district_code = :d AND id = :c"
            ),
            key,
        )
    found = prove(log)
    assert [(one.what, one.day) for one in found.kept] == [("anchor root", date(2026, 11, 18))]
    assert found.first is not None
    assert found.first.detail == "anchored 3 entries of 3 cases, there are 2 of 2"


def erase(link: Connection, code: str, case_id: uuid.UUID) -> None:
    for table, column in (("entry", "case_id"), ("report", "case_id"), ("cases", "id")):
        link.execute(text(f"DELETE FROM {table} WHERE district_code = :d AND {column} = :c"), {"d": code, "c": case_id})


def test_case_that_is_gone_whole_is_found_by_the_anchors(owner: Engine, log: str) -> None:
    anchors.make_missing(log, at=AFTER)
    with tampering(owner) as link:
        erase(link, log, numbers(log)[1][1])
    found = prove(log)
    assert {one.what for one in found.kept} == {"anchor root"}
    assert found.first is not None
    assert found.first.day == date(2026, 11, 16)


def test_entries_whose_case_row_is_gone_are_named(owner: Engine, log: str) -> None:
    anchors.make_missing(log, at=AFTER)
    case_id = numbers(log)[1][1]
    with owner.connect() as link:
        key = {"d": log, "c": case_id}
        # Rolled back in the end: a foreign key that is gone would spoil the schema for other tests.
        link.execute(text("ALTER TABLE entry DROP CONSTRAINT fk_entry_cases"))
        link.execute(text("DELETE FROM report WHERE district_code = :d AND case_id = :c"), key)
        link.execute(text("DELETE FROM cases WHERE district_code = :d AND id = :c"), key)
        findings = audit.Findings()
        driver = link.connection.driver_connection
        audit._find_orphans(driver, audit.Asked(log), findings)  # type: ignore[arg-type]
        link.rollback()
    assert [(one.what, one.case, one.seq, one.day) for one in findings.kept] == [
        ("no case", str(case_id), 1, date(2026, 11, 16))
    ]


@pytest.mark.parametrize(
    ("sql", "what", "day"),
    [
        ("UPDATE anchor SET entries = 4 WHERE district_code = :d AND day = '2026-11-17'", "anchor content", 17),
        ("DELETE FROM anchor WHERE district_code = :d AND day = '2026-11-17'", "no anchor", 17),
        ("DELETE FROM anchor WHERE district_code = :d AND day = '2026-11-16'", "anchor link", 17),
        ("UPDATE anchor SET hash = root WHERE district_code = :d AND day = '2026-11-17'", "anchor content", 17),
    ],
)
def test_anchor_that_was_changed_or_taken_away_is_named(owner: Engine, log: str, sql: str, what: str, day: int) -> None:
    anchors.make_missing(log, at=AFTER)
    with tampering(owner) as link:
        link.execute(text(sql), {"d": log})
    first = prove(log).first
    assert first is not None
    assert (first.what, first.day) == (what, date(2026, 11, day))


def test_whoever_rewrites_log_and_anchors_together_is_caught_by_the_kept_text(owner: Engine, log: str) -> None:
    anchors.make_missing(log, at=AFTER)
    kept = anchors.read_written(anchors.written(anchors.kept_of(log), district=log, name="试验区"), district=log)
    assert prove(log, against=kept).faults == 0
    with tampering(owner) as link:
        erase(link, log, numbers(log)[1][1])
        link.execute(text("DELETE FROM anchor WHERE district_code = :d"), {"d": log})
    anchors.make_missing(log, at=AFTER)
    assert prove(log).faults == 0, "the database alone cannot tell"
    found = prove(log, against=kept)
    assert [(one.what, one.day) for one in found.kept] == [
        ("kept differs", date(2026, 11, 16) + n * DAY) for n in range(3)
    ]
    with tampering(owner) as link:
        link.execute(text("DELETE FROM anchor WHERE district_code = :d AND day > '2026-11-16'"), {"d": log})
    assert [one.what for one in prove(log, against=kept).kept] == ["kept differs", "kept missing", "kept missing"]


def test_since_looks_at_the_cases_touched_and_the_days_from_there_on(owner: Engine, log: str) -> None:
    with transaction(program(log)) as session:
        make_case(session, district=log, at=FIRST - DAY)
    anchors.make_missing(log, at=AFTER)
    found = prove(log, since=date(2026, 11, 17))
    assert (found.cases, found.entries, found.days, found.faults) == (3, 9, 2, 0)


def test_number_of_no_case_is_refused(log: str) -> None:
    with pytest.raises(NotFound):
        prove(log, number="20260101000001X")


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "api", "audit", *arguments, "--district", code],
        cwd=ROOT,
        env=os.environ | {"WANGGE_DISTRICT": code},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_command_line_anchors_exports_and_proves(owner: Engine, log: str, tmp_path: Path) -> None:
    assert "days anchored" in run(log, "anchor").stdout
    exported = run(log, "export", str(tmp_path))
    assert exported.returncode == 0, exported.stderr
    (path,) = tmp_path.glob("anchors-*.txt")
    good = run(log, "verify", "--against", str(path))
    assert (good.returncode, "Every link holds" in good.stdout) == (0, True), good.stdout + good.stderr
    number, case_id = numbers(log)[1]
    with tampering(owner) as link:
        link.execute(
            text("UPDATE entry SET actor_name = '别人' WHERE district_code = :d AND case_id = :c AND seq = 2"),
            {"d": log, "c": case_id},
        )
    bad = run(log, "verify")
    assert bad.returncode == 1
    assert f"The first: case {number}, entry 2, day 2026-11-17: content" in bad.stdout
    told = json.loads(run(log, "verify", "--json", "--case", number).stdout)
    assert (told["holds"], told["faults"], told["first"]["seq"], told["first"]["what"]) == (False, 1, 2, "content")

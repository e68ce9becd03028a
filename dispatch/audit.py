"""Proves the log 日志核验: walks every case's chain and every day's anchor and says where the first link is broken.

Reads only, in one snapshot, a few thousand rows at a time. Knows what holds and what does not, not who did it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby
from typing import Any

import psycopg
from psycopg.rows import dict_row
from sqlalchemy.orm import Session

from core.actor import system
from core.db import snapshot
from core.errors import NotFound
from dispatch import anchors
from dispatch.log import verify

#: Cases whose entries are fetched together.
_CASES = 1000
#: Broken links that are kept; all are counted.
_MOST = 100
#: What can be wrong, in words for whoever runs the proof; the command line speaks English.
FAULTS: Mapping[str, str] = {
    "gap": "an entry of the case is missing before this number",
    "link": "the entry does not follow the one before it",
    "content": "the entry's content is not what was sealed",
    "clock": "the entry was recorded before the one before it",
    "head": "the case names another last entry: entries were cut off or the row was changed",
    "count": "the case counts another number of entries",
    "no case": "the entries' case is gone",
    "no anchor": "the day has no anchor although a later one has",
    "anchor link": "the anchor does not follow the one of the day before",
    "anchor content": "the anchor's figures are not what was sealed",
    "anchor root": "the day's entries are not those that were anchored",
    "kept missing": "the kept text has this day, the database has not",
    "kept differs": "the anchor is not the one that was kept",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One link that does not hold."""

    #: A key of FAULTS.
    what: str
    #: The day in China on which the link at fault was recorded, as far as that can be told.
    day: date | None = None
    #: The number that people say, or the case's id where its row is gone; empty for a day.
    case: str = ""
    #: Number of the entry; 0 for a day.
    seq: int = 0
    #: What was expected and what was found, where it is a count.
    detail: str = ""


@dataclass(slots=True)
class Findings:
    """What a proof found."""

    cases: int = 0
    entries: int = 0
    days: int = 0
    #: Finished days that wait for their anchor.
    unanchored: int = 0
    faults: int = 0
    #: The earliest `_MOST` of them in the order found.
    kept: list[Fault] = field(default_factory=list)

    @property
    def first(self) -> Fault | None:
        """The earliest broken link by day, then case and number; None where everything holds."""
        return min(self.kept, key=lambda one: (one.day or date.min, not one.case, one.case, one.seq), default=None)

    def add(self, fault: Fault) -> None:
        """Count a broken link and keep it while there is room."""
        self.faults += 1
        if len(self.kept) < _MOST:
            self.kept.append(fault)


#: Told how many entries were walked since the last time.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be proved."""

    district: str
    #: Only cases that were touched, and days, from here on (China's days).
    since: date | None = None
    #: Only this case and the days that its entries were recorded on.
    number: str = ""
    #: Anchors that were kept outside, as `anchors.read_written` gives them.
    against: Mapping[date, tuple[int, int, bytes, bytes]] | None = None


def prove(asked: Asked, *, at: datetime, progress: Progress = lambda _: None) -> Findings:
    """Walk the log of a district and return what was found; raises NotFound for an unknown number.

    at: aware; tells which days ought to have their anchor. Reads only, in one repeatable-read snapshot of its own.
    """
    findings = Findings()
    with snapshot(system(asked.district, "audit")) as session:
        driver = _driver(session)
        # Before the first query, so that rows and log are seen as of one moment although they are read one by one.
        driver.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        days: set[date] = set()
        for batch in _batches(driver, asked):
            _prove_cases(driver, asked, batch, findings, days)
            progress(findings.entries)
        if not asked.number and asked.since is None:
            _find_orphans(driver, asked, findings)
        _prove_anchors(session, asked, findings, days, at=at)
    return findings


def total(asked: Asked) -> int:
    """Return about how many entries `prove` will walk, for its progress bar."""
    with snapshot(system(asked.district, "audit")) as session:
        where = "district_code = %(d)s" + (" AND recorded_at >= %(since)s" if asked.since else "")
        row = _driver(session).execute(f"SELECT count(*) FROM entry WHERE {where}", _values(asked)).fetchone()  # noqa: S608  parts of our own
    return int(row[0]) if row else 0


def _driver(session: Session) -> psycopg.Connection[Any]:
    """Return the connection itself: a million rows through SQLAlchemy's result take twice the time."""
    found = session.connection().connection.driver_connection
    assert isinstance(found, psycopg.Connection), "the program speaks psycopg 3"
    return found


def _values(asked: Asked) -> dict[str, Any]:
    since = anchors.bounds(asked.since)[0] if asked.since else None
    return {"d": asked.district, "since": since, "number": asked.number.strip().upper()}


def _batches(driver: psycopg.Connection[Any], asked: Asked) -> Iterator[list[Mapping[str, Any]]]:
    """Yield the rows of the cases to prove, in order of id, some at a time."""
    columns = "SELECT id, number, entries, head_hash, received_at FROM cases WHERE district_code = %(d)s"
    if asked.number:
        with driver.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(f"{columns} AND number = %(number)s", _values(asked)).fetchall()
        if not found:
            raise NotFound("There is no case with the number {number}.", number=asked.number[:30])
        yield list(found)
        return
    touched = (
        " AND id IN (SELECT case_id FROM entry WHERE district_code = %(d)s AND recorded_at >= %(since)s)"
        if asked.since
        else ""
    )
    # A portal of its own: `_prove_cases` asks in between.
    with driver.cursor(name="audit_cases", row_factory=dict_row) as stream:
        stream.execute(f"{columns}{touched} ORDER BY id", _values(asked))
        while batch := stream.fetchmany(_CASES):
            yield list(batch)


_ENTRIES = (
    "SELECT case_id, seq, action, actor_id, actor_name, actor_role, unit_code, happened_at, recorded_at, late,"
    " state_before, state_after, data, prev_hash, hash FROM entry"
    " WHERE district_code = %(d)s AND case_id = ANY (%(ids)s) ORDER BY case_id, seq"
)


def _prove_cases(
    driver: psycopg.Connection[Any],
    asked: Asked,
    batch: Sequence[Mapping[str, Any]],
    findings: Findings,
    days: set[date],
) -> None:
    with driver.cursor(row_factory=dict_row) as cursor:
        cursor.execute(_ENTRIES, {"d": asked.district, "ids": [case["id"] for case in batch]})
        logs = {key: list(group) for key, group in groupby(cursor, key=lambda row: row["case_id"])}
    for case in batch:
        entries = logs.get(case["id"], [])
        findings.cases += 1
        findings.entries += len(entries)
        fault = _of_case(asked.district, case, entries)
        if fault is not None:
            findings.add(fault)
        if asked.number:
            days.update(anchors.day_of(row["recorded_at"]) for row in entries)


def _of_case(district: str, case: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> Fault | None:
    broken = verify(district, case["id"], entries, head=case["head_hash"])
    if broken is not None:
        return Fault(broken.what, _day_near(entries, broken.seq, case), case["number"], broken.seq)
    if len(entries) != case["entries"]:
        said = f"{case['entries']} counted, {len(entries)} there"
        return Fault("count", _day_near(entries, len(entries), case), case["number"], len(entries), said)
    return None


def _day_near(entries: Iterable[Mapping[str, Any]], seq: int, case: Mapping[str, Any]) -> date:
    """Return the day of the entry with this number, or of the last one before it where it is gone."""
    known = [row["recorded_at"] for row in entries if row["seq"] <= seq]
    return anchors.day_of(known[-1] if known else case["received_at"])


def _find_orphans(driver: psycopg.Connection[Any], asked: Asked, findings: Findings) -> None:
    """Find entries whose case row is gone: a foreign key forbids it, whoever may drop one can do it."""
    sql = (
        "SELECT e.case_id, min(e.seq), min(e.recorded_at) FROM entry e LEFT JOIN cases c"
        " ON c.district_code = e.district_code AND c.id = e.case_id AND c.district_code = %(d)s"
        " WHERE e.district_code = %(d)s AND c.id IS NULL GROUP BY e.case_id ORDER BY 3, 1"
    )
    for case_id, seq, recorded_at in driver.execute(sql, _values(asked)):
        findings.add(Fault("no case", anchors.day_of(recorded_at), str(case_id), seq))


def _prove_anchors(session: Session, asked: Asked, findings: Findings, days: set[date], *, at: datetime) -> None:
    """Check that the anchors follow each other, day by day, and that the days' entries still make their roots."""
    links = anchors.chain(session, asked.district)
    prev, expected = anchors.genesis(asked.district), links[0].day.toordinal() if links else 0
    for one in links:
        summed = anchors.Sum(one.entries, one.cases, one.root)
        if one.day.toordinal() != expected:
            findings.add(Fault("no anchor", date.fromordinal(expected)))
        elif one.prev_hash != prev:
            findings.add(Fault("anchor link", one.day))
        elif anchors.link(asked.district, one.day, summed, prev) != one.hash:
            findings.add(Fault("anchor content", one.day))
        if _wanted(one.day, asked, days):
            findings.days += 1
            _prove_day(session, asked.district, one, findings)
        prev, expected = one.hash, one.day.toordinal() + 1
    left = anchors.waiting(session, asked.district, at=at)
    findings.unanchored = (left[1] - left[0]).days + 1 if left else 0
    _compare(asked, links, findings)


def _wanted(day: date, asked: Asked, days: set[date]) -> bool:
    if asked.number:
        return day in days
    return asked.since is None or day >= asked.since


def _prove_day(session: Session, district: str, one: anchors.Link, findings: Findings) -> None:
    there = anchors.sum_of(session, district, one.day)
    if there != (one.entries, one.cases, one.root):
        said = f"anchored {one.entries} entries of {one.cases} cases, there are {there.entries} of {there.cases}"
        findings.add(Fault("anchor root", one.day, detail=said))


def _compare(asked: Asked, links: Sequence[anchors.Link], findings: Findings) -> None:
    """Compare with what was kept outside: whoever rewrites log and anchors together is caught here alone."""
    here = {one.day: (one.entries, one.cases, one.root, one.hash) for one in links}
    for day, kept in sorted((asked.against or {}).items()):
        if day not in here:
            findings.add(Fault("kept missing", day))
        elif here[day] != kept:
            findings.add(Fault("kept differs", day))

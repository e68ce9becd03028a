"""The daily anchor 日锚 over a district's log: one hash per finished day that stands for every entry of that day.

A case's own chain tells when one of its lines was changed; it cannot tell when a whole case is gone or somebody wrote
a chain anew from its beginning. The anchors can: each holds the Merkle root over the day's entries and the hash of the
anchor before it, so that the newest one, kept on paper outside the house, vouches for the whole log. Knows entries by
case, number and hash only; `dispatch.audit` compares.
"""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

import orjson
import psycopg
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from core.actor import system
from core.db import Base, snapshot, transaction
from core.errors import Invalid
from dispatch.calendar import CHINA, china_time
from dispatch.models import Entry
from grid.models import Instant

#: A transaction that began before midnight may still be writing; no task of the program lives longer than this.
SETTLES = timedelta(hours=1)
#: Rows fetched at a time; what a day's root costs in memory, however long the day.
_BATCH = 5000


class Anchor(Base):
    """日锚: what the log of one finished day (China's) amounts to. Append-only; chained by hash over the days."""

    __tablename__ = "anchor"

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: Every day since the first entry has one, empty days too.
    day: Mapped[date] = mapped_column(primary_key=True)
    #: Entries recorded that day.
    entries: Mapped[int]
    #: Cases that they belong to.
    cases: Mapped[int]
    #: Merkle root over (case, number, hash) of the day's entries, see `merkle`.
    root: Mapped[bytes]
    prev_hash: Mapped[bytes]
    #: SHA-256 over prev_hash and everything above; `made_at` is left out, so that anybody can make the same one again.
    hash: Mapped[bytes]
    made_at: Mapped[datetime] = mapped_column(Instant)


class Sum(NamedTuple):
    """What a day's entries amount to."""

    entries: int
    cases: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Link:
    """One anchor as it is compared: the row of the table, or a line that was kept outside."""

    day: date
    entries: int
    cases: int
    root: bytes
    prev_hash: bytes
    hash: bytes


def genesis(district: str) -> bytes:
    """Return what the first anchor of a district is chained to: 32 bytes that name the district."""
    return sha256(f"wangge:anchor:{district}".encode()).digest()


def leaf(case_id: uuid.UUID, seq: int, sealed: bytes) -> bytes:
    """Return the Merkle leaf of one entry: 32 bytes; `_LEAVES` has the database make the same."""
    return sha256(b"\x00" + case_id.bytes + seq.to_bytes(8, "big") + sealed).digest()


def merkle(leaves: Iterable[bytes]) -> bytes:
    """Return the Merkle tree hash of leaves in order (RFC 6962, section 2.1): 32 bytes; keeps one node a level.

    Source: Certificate Transparency; leaves and nodes are told apart by their first byte, so that no node can pass
    for an entry.
    """
    peaks: list[bytes] = []
    for number, node in enumerate(leaves, 1):
        grown = node
        # As many full subtrees join as the number of leaves has trailing zero bits.
        while not number & 1:
            grown = sha256(b"\x01" + peaks.pop() + grown).digest()
            number >>= 1  # noqa: PLW2901  the bits of the count are what is walked over
        peaks.append(grown)
    if not peaks:
        return sha256(b"").digest()
    root = peaks.pop()
    while peaks:
        root = sha256(b"\x01" + peaks.pop() + root).digest()
    return root


def link(district: str, day: date, summed: Sum, prev: bytes) -> bytes:
    """Return the SHA-256 that seals an anchor: over the previous hash and the canonical JSON of the rest."""
    body = {
        "district": district,
        "day": day.isoformat(),
        "entries": summed.entries,
        "cases": summed.cases,
        "root": summed.root.hex(),
    }
    return sha256(prev + orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()


def day_of(moment: datetime) -> date:
    """Return the day in China on which something was recorded."""
    return china_time(moment).date()


def bounds(day: date) -> tuple[datetime, datetime]:
    """Return the day's midnight and the next one, aware, China's."""
    start = datetime.combine(day, time(), CHINA)
    return start, start + timedelta(days=1)


_LEAVES = (
    "SELECT sha256('\\x00'::bytea || uuid_send(case_id) || int8send(seq::bigint) || hash), uuid_send(case_id)"
    " FROM entry WHERE district_code = %(d)s AND recorded_at >= %(start)s AND recorded_at < %(end)s"
    " ORDER BY recorded_at, case_id, seq"
)


def sum_of(session: Session, district: str, day: date) -> Sum:
    """Return what a day's entries amount to; reads only, along `ix_entry_recorded`, a few thousand rows at a time.

    Keeps 16 bytes for every case of the day, and no entry. Goes below SQLAlchemy: its rows would take twice the time.
    """
    driver = session.connection().connection.driver_connection
    assert isinstance(driver, psycopg.Connection), "the program speaks psycopg 3"
    start, end = bounds(day)
    seen: set[bytes] = set()
    count = 0

    def leaves(stream: psycopg.ServerCursor[Any]) -> Iterator[bytes]:
        nonlocal count
        while rows := stream.fetchmany(_BATCH):
            count += len(rows)
            seen.update(case for _, case in rows)
            yield from (one for one, _ in rows)

    with driver.cursor(name="anchor_leaves") as stream:
        stream.execute(_LEAVES, {"d": district, "start": start, "end": end}, binary=True)
        root = merkle(leaves(stream))
    return Sum(count, len(seen), root)


def newest(session: Session, district: str) -> Link | None:
    """Return the last anchor of a district; None before the first."""
    row = session.execute(_links(district).order_by(Anchor.day.desc()).limit(1)).first()
    return Link(*row) if row else None


def chain(session: Session, district: str) -> list[Link]:
    """Return every anchor of a district in order of days: one a day, a few thousand in ten years."""
    return [Link(*row) for row in session.execute(_links(district).order_by(Anchor.day))]


def _links(district: str) -> Any:
    columns = (Anchor.day, Anchor.entries, Anchor.cases, Anchor.root, Anchor.prev_hash, Anchor.hash)
    return select(*columns).where(Anchor.district_code == district)


def waiting(session: Session, district: str, *, at: datetime) -> tuple[date, date] | None:
    """Return the first and the last finished day without an anchor; None where every one has its own.

    at: aware. A day is finished an hour after its midnight. The first day is that of the first entry.
    """
    last = newest(session, district)
    if last is not None:
        first = last.day + timedelta(days=1)
    else:
        oldest = session.scalar(select(func.min(Entry.recorded_at)).where(Entry.district_code == district))
        if oldest is None:
            return None
        first = day_of(oldest)
    until = day_of(at - SETTLES) - timedelta(days=1)
    return (first, until) if first <= until else None


def make_missing(district: str, *, at: datetime) -> list[date]:
    """Anchor every finished day that lacks an anchor, in order, and return the days.

    at: aware. Each day is a transaction of its own. Safe to run twice and in two places: the same entries make the
    same anchor, and whoever comes second finds it there.
    """
    made: list[date] = []
    while True:
        with transaction(system(district, "anchors")) as session:
            span = waiting(session, district, at=at)
            if span is None:
                return made
            day = span[0]
            before = newest(session, district)
            summed = sum_of(session, district, day)
            prev = before.hash if before else genesis(district)
            row = {
                "district_code": district,
                "day": day,
                "prev_hash": prev,
                "hash": link(district, day, summed, prev),
                "made_at": at,
                **summed._asdict(),
            }
            done = session.scalar(insert(Anchor).values(row).on_conflict_do_nothing().returning(Anchor.day))
        if done is not None:
            made.append(done)


#: The first line of a kept text; a later format would say another number.
_TITLE = "# wangge anchors 1"


def written(links: Sequence[Link], *, district: str, name: str) -> str:
    """Return anchors as a text to be printed or kept outside: one line a day, tab-separated, hashes in hexadecimal."""
    lines = [
        _TITLE,
        f"# district\t{district}\t{name}",
        "# day\tentries\tcases\troot\thash",
        *(f"{one.day}\t{one.entries}\t{one.cases}\t{one.root.hex()}\t{one.hash.hex()}" for one in links),
    ]
    return "\n".join(lines) + "\n"


def read_written(said: str, *, district: str) -> dict[date, tuple[int, int, bytes, bytes]]:
    """Return day → (entries, cases, root, hash) of a kept text; raises Invalid for anything else."""
    lines = said.lstrip("\ufeff").splitlines()
    if not lines or lines[0].strip() != _TITLE:
        raise Invalid("This is no kept text of anchors.", field="against")
    kept: dict[date, tuple[int, int, bytes, bytes]] = {}
    for number, line in enumerate(lines[1:], 2):
        parts = line.split("\t")
        if parts[0] == "# district" and len(parts) > 1 and parts[1] != district:
            raise Invalid("The kept anchors are those of district {code}.", field="against", code=parts[1][:20])
        if line.startswith("#") or not line.strip():
            continue
        try:
            day, entries, cases, root, sealed = parts
            kept[date.fromisoformat(day)] = (int(entries), int(cases), bytes.fromhex(root), bytes.fromhex(sealed))
        except ValueError as error:
            raise Invalid("Line {line} of the kept anchors cannot be read.", field="against", line=number) from error
    return kept


def kept_of(district: str) -> list[Link]:
    """Return every anchor of a district, in a snapshot of its own."""
    with snapshot(system(district, "anchors")) as session:
        return chain(session, district)

"""The log of a case 办理日志: entries chained by hash. Knows how a line is hashed and checked, not why it was made."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson

from core.actor import Actor
from core.errors import Invalid

#: S0 tells how windows handled first and recorded later 先办后录; a longer gap than this is flagged. *Default*: the
#: district's setting `late_after_min` holds where it has one.
LATE_AFTER = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was done, before it has its place in the chain."""

    action: str
    actor: Actor
    #: Aware; as the actor says. Never after `recorded_at`.
    happened_at: datetime
    #: Aware; as the system saw.
    recorded_at: datetime
    state_before: str | None
    state_after: str
    data: Mapping[str, Any]
    #: The district's allowance, see `late_after`.
    late_after: timedelta = LATE_AFTER

    @property
    def late(self) -> bool:
        """Whether it was recorded more than the allowance after it happened."""
        return self.recorded_at - self.happened_at > self.late_after


def late_after(settings: Mapping[str, Any]) -> timedelta:
    """Return how long after it happened a thing may be recorded without being flagged, by the district's settings.

    Raises Invalid for a setting that is no number of minutes from 0 to a day.
    """
    minutes = settings.get("late_after_min", LATE_AFTER // timedelta(minutes=1))
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 <= minutes <= 1440:
        raise Invalid("The allowance late_after_min must be a number of minutes from 0 to 1440.")
    return timedelta(minutes=minutes)


def genesis(district: str, case_id: uuid.UUID) -> bytes:
    """Return what the first entry of a case is chained to: 32 bytes that name the case."""
    return sha256(f"wangge:{district}:{case_id}".encode()).digest()


def as_columns(seq: int, line: Line) -> dict[str, Any]:
    """Return the columns of table `entry` that a line fills, without keys and hashes."""
    return {
        "seq": seq,
        "action": line.action,
        "actor_id": line.actor.id,
        "actor_name": line.actor.name,
        "actor_role": line.actor.role.value,
        "unit_code": line.actor.unit or None,
        "happened_at": line.happened_at,
        "recorded_at": line.recorded_at,
        "late": line.late,
        "state_before": line.state_before,
        "state_after": line.state_after,
        "data": line.data,
    }


#: What the hash covers, besides the previous hash.
_SEALED = (
    "seq",
    "action",
    "actor_id",
    "actor_name",
    "actor_role",
    "unit_code",
    "happened_at",
    "recorded_at",
    "late",
    "state_before",
    "state_after",
    "data",
)


def link(prev: bytes, columns: Mapping[str, Any]) -> bytes:
    """Return the SHA-256 that seals an entry: over the previous hash and the canonical JSON of its columns.

    columns: as `as_columns` gives them or as the database returns them; others are ignored. Times count in UTC with
    microseconds, so that the session's time zone changes nothing.
    """
    body = {name: _plain(columns[name]) for name in _SEALED}
    return sha256(prev + orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return value


@dataclass(frozen=True, slots=True)
class Break:
    """The first place where a chain does not hold."""

    case_id: uuid.UUID
    seq: int
    #: gap, link, content, clock or head.
    what: str


def verify(district: str, case_id: uuid.UUID, rows: Iterable[Mapping[str, Any]], *, head: bytes) -> Break | None:
    """Return the first broken link of one case's entries in order, or None when the chain holds up to `head`.

    rows: the columns of table `entry`. Beside the hashes it checks that numbers have no gap and recorded times never
    run backwards.
    """
    prev, expected, last = genesis(district, case_id), 1, None
    for row in rows:
        if row["seq"] != expected:
            return Break(case_id, expected, "gap")
        if bytes(row["prev_hash"]) != prev:
            return Break(case_id, expected, "link")
        if last is not None and row["recorded_at"] < last:
            return Break(case_id, expected, "clock")
        sealed = link(prev, row)
        if bytes(row["hash"]) != sealed:
            return Break(case_id, expected, "content")
        prev, last, expected = sealed, row["recorded_at"], expected + 1
    return None if prev == bytes(head) else Break(case_id, expected, "head")


def checked_times(happened_at: datetime | None, at: datetime) -> datetime:
    """Return when a thing happened, `at` where nobody says; raises Invalid on a naive or future time."""
    if happened_at is None:
        return at
    if happened_at.tzinfo is None:
        raise Invalid("The time {moment} does not say its time zone.", field="happened_at", moment=str(happened_at))
    if happened_at > at:
        raise Invalid("A thing cannot have happened after it is recorded.", field="happened_at")
    return happened_at

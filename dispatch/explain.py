"""Why it is due then 为何此时到期: the limit, the notices it was counted by, the days, the pauses and the extensions.

Pure: reckons by the rulebook as it is now and stores nothing; what moved earlier stands in `deadline_change`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dispatch.deadlines import Limited, Span, reckoned
from dispatch.limits import Due, Limit, NoticeUsed, TraceStep, elapsed
from dispatch.rulebook import Rulebook
from dispatch.words import N_


@dataclass(frozen=True, slots=True)
class Sentence:
    """An English msgid with its parameters: text, numbers, aware times, and limits as `Limit`."""

    msgid: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stood:
    """One pause and what it was worth."""

    #: One of `dispatch.fields.PAUSE_REASONS`, or `park`.
    reason: str
    began: datetime
    #: None while the clock stands.
    ended: datetime | None
    #: How much later the deadline is for it: the time that would have counted. None while the clock stands.
    gave: timedelta | None


@dataclass(frozen=True, slots=True)
class Explained:
    """Everything needed to say why a clock is due when it is."""

    found: Due
    limit: Limit
    #: In order of years; empty where no day was looked up.
    notices: tuple[NoticeUsed, ...]
    days: tuple[TraceStep, ...]
    #: How many of the days counted.
    counted: int
    pauses: tuple[Stood, ...]
    extensions: tuple[Limit, ...]
    legal: Limit | None
    legal_at: datetime | None
    #: The law's limit runs out before the promise, and counts.
    capped: bool
    provisional: bool
    at: datetime

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        """The whole in words, in order."""
        return tuple(_sentences(self))


def explain(row: Limited, pauses: Iterable[Span], book: Rulebook) -> Explained:
    """Return why a clock is due when it is, by today's calendar.

    row: a deadline's limit, start, extensions and legal limit. pauses: its spans, the open one among them, which gives
    nothing before it ends. Raises Invalid for a limit that an older program wrote.
    """
    spans = sorted(pauses, key=lambda pause: pause.started_at)
    found = reckoned(row, spans, book)
    whole = found.found
    days = whole.trace
    return Explained(
        found=whole,
        limit=Limit.parse(row.limit),
        notices=whole.notices_used,
        days=days,
        counted=sum(step.counted for step in days),
        pauses=tuple(_stood(whole, pause) for pause in spans),
        extensions=tuple(Limit.parse(span) for span in row.extra),
        legal=Limit.parse(row.legal_limit) if row.legal_limit else None,
        legal_at=found.legal_at,
        capped=found.capped,
        provisional=found.provisional,
        at=found.at,
    )


def _stood(whole: Due, pause: Span) -> Stood:
    """Return what one pause was worth: the deadline's measure of it, no more than lies before the deadline."""
    if pause.ended_at is None:
        return Stood(pause.reason_code, pause.started_at, None, None)
    first, last = max(pause.started_at, whole.start), min(pause.ended_at, whole.at)
    gave = elapsed(first, last, limit=whole.limit, work=whole.work) if first < last else timedelta(0)
    return Stood(pause.reason_code, pause.started_at, pause.ended_at, gave)


def _sentences(told: Explained) -> Iterator[Sentence]:
    whole = told.found
    start = {"moment": whole.start, "limit": told.limit}
    yield Sentence(N_("The clock started at {moment}; the limit is {limit}."), start)
    for notice in told.notices:
        if notice.source:
            yield Sentence(
                N_("Days off in {year} follow the notice {source}."), {"year": notice.year, "source": notice.source}
            )
        else:
            yield Sentence(
                N_("No notice for {year} is known yet: weekends alone were left out, and the date may still move."),
                {"year": notice.year},
            )
    if whole.counts_days_worked:
        yield Sentence(N_("{count} days counted."), {"count": told.counted})
    for pause in told.pauses:
        if pause.ended is None:
            yield Sentence(
                N_("It has stood since {began} ({reason}); the date will move when it runs again."),
                {"began": pause.began, "reason": pause.reason},
            )
        else:
            yield Sentence(
                N_("It stood from {began} to {ended} ({reason}) and got {gave} more."),
                {"began": pause.began, "ended": pause.ended, "reason": pause.reason, "gave": pause.gave},
            )
    for end, more in zip(whole.ends[1:], whole.extra, strict=True):
        yield Sentence(N_("Extended by {limit}, until {moment}."), {"limit": more, "moment": end})
    if told.legal is not None:
        words = (
            N_("The law's limit of {limit} runs out at {moment}, before the promise, and counts.")
            if told.capped
            else N_("The law allows {limit}, until {moment}; less was promised.")
        )
        yield Sentence(words, {"limit": told.legal, "moment": told.legal_at})
    yield Sentence(N_("So it is due at {moment}."), {"moment": told.at})

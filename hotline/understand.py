"""Old tickets in, what the program makes of them out (`wangge understand FILE.jsonl`): one line for one line, in order.

A district tries the system on its own messages with this, before a single case is opened: it opens none and asks no
database. What the program cannot tell is null; a line that cannot be read gets an answer that says so.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final, Protocol

import orjson

from hotline.classify import Classification
from hotline.geocode.model import WHY, Answer, Match
from hotline.twins import TwinIndex

#: Bytes of one line that are taken; a longer one is no message.
LONGEST: Final = 1 << 20
#: From this score on, a twin is named. Between this and certainty a person should look.
SURE_OF_TWIN: Final = 0.8
#: Characters that a text may not hold, beyond line ends and tabs: such a "text" is a file.
_BINARY: Final = frozenset(map(chr, (*range(9), 11, 12, *range(14, 32), 127, 0xFFFD)))
#: Share of such characters from which a text is called binary; a stray one from an old database is dropped.
_BINARY_SHARE: Final = 0.02
#: The time of messages that bear none: they count as of one day, in their order.
_TIMELESS: Final = datetime(2000, 1, 1, tzinfo=UTC)


class Geocoder(Protocol):
    """Says where a text means; `hotline.geocode.Geocoder` is the one."""

    def locate(self, text: str) -> Answer:
        """Return the ranked matches of a text, EPSG:4490."""
        ...


class Locator(Protocol):
    """Says which cell a point lies in; `grid.locator.Locator` is the one."""

    def locate(self, lng: float, lat: float) -> str | None:
        """Return the code of the cell that covers a point in EPSG:4490, or None."""
        ...


class Classifies(Protocol):
    """Says what a text is about; `hotline.classify.Classifier` is the one."""

    def classify(self, text: str) -> Classification:
        """Return kind, category and urgency of a text."""
        ...


@dataclass(slots=True)
class Tally:
    """What went through, for the summary at the end; filled while `understand` runs."""

    lines: int = 0
    #: located, unlocatable, outside, or unreadable.
    status: Counter[str] = field(default_factory=Counter)
    #: Level-1 names, with None for the abstained.
    level1: Counter[str | None] = field(default_factory=Counter)
    #: emergency, utilities, ordinary.
    urgency: Counter[str] = field(default_factory=Counter)
    twins: int = 0


def read_lines(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    """Yield the JSON object of each line; `{"unreadable": reason}` for a line that is none. Skips blank lines.

    Holds one line at a time, and of a line over 1 MB only its first megabyte.
    """
    while line := stream.readline(LONGEST + 1):
        if len(line) > LONGEST:
            while line and not line.endswith(b"\n"):
                line = stream.readline(LONGEST)
            yield {"unreadable": "The line is longer than 1 MB."}
            continue
        if not (bare := line.strip().removeprefix(b"\xef\xbb\xbf")):
            continue
        try:
            found = orjson.loads(bare)
        except orjson.JSONDecodeError:
            found = None
        yield found if isinstance(found, dict) else {"unreadable": "The line is not a JSON object."}


def understand(
    lines: Iterable[Mapping[str, Any]],
    *,
    geocoder: Geocoder,
    classifier: Classifies,
    locator: Locator,
    twins: TwinIndex | None = None,
    town_names: Mapping[str, str] | None = None,
    tally: Tally | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield what the program understands of each message, in the order given; never raises for a bad line.

    lines: objects with `text` and, where known, `id`, `channel`, `title` and `at` (ISO 8601), in order of arrival.
    town_names: name of each 9-digit code; without it `town` is the code. tally: filled on the way.
    Yields `{id, status, lng, lat, radius_m, confidence, town, cell, line, ambiguous, kind, level1, category, urgent,
    urgency, categories, words, urgency_words, call, model, duplicate_of, why}`: lng and lat in degrees of WGS84,
    radius_m in metres; `urgent` is true for what cannot wait a working day (`urgency` emergency or utilities);
    `categories` are the three most probable, also where none is sure enough; `words` decided the category; `call` is
    110, 119 or 120 for an emergency; `duplicate_of` is the id of the first message of the same matter; `line` is the
    course of a stretch;
    `ambiguous` is true where another place is about as likely, and `why` then names it.
    """
    index = TwinIndex() if twins is None else twins
    count = Tally() if tally is None else tally
    asked = _Run(geocoder, classifier, locator, index, town_names or {}, set(), _TIMELESS)
    for line in lines:
        count.lines += 1
        given = _plain_id(line.get("id"))
        text, trouble = _text(line)
        if trouble:
            count.status["unreadable"] += 1
            yield {**_EMPTY, "id": given, "why": trouble}
            continue
        made = asked.one(given, text, line)
        count.status[made["status"]] += 1
        count.level1[made["level1"]] += 1
        count.urgency[made["urgency"]] += 1
        count.twins += made["duplicate_of"] is not None
        yield made


_EMPTY: Final[dict[str, Any]] = dict.fromkeys(
    (
        *("id", "status", "lng", "lat", "radius_m", "confidence", "town", "cell", "line", "ambiguous"),
        *("kind", "level1", "category", "urgent", "urgency", "categories", "words", "urgency_words", "call", "model"),
        *("duplicate_of", "why"),
    )
)


@dataclass(slots=True)
class _Run:
    """One run over a file: the parts that understand, and what was seen so far."""

    geocoder: Geocoder
    classifier: Classifies
    locator: Locator
    index: TwinIndex
    town_names: Mapping[str, str]
    seen: set[str | int]
    now: datetime

    def one(self, given: str | int | None, text: str, line: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is understood of one message, and remember it for the twins of those that follow."""
        found = self.classifier.classify(text)
        answer = self.geocoder.locate(text)
        best = answer.matches[0] if answer.status == "located" and answer.matches else None
        reasons = [_reason(answer)]
        if answer.ambiguous:
            others = ", ".join(f"{one.name} ({one.confidence:.2f})" for one in answer.rivals[1:])
            reasons.append(f"It could as well be: {others}.")
        if found.words:
            reasons.append(f"Category and urgency by: {' '.join(found.words)}.")
        self.now = _time(line) or self.now
        twin, why = self._twin(given, text, best, found.level1)
        if why:
            reasons.append(f"Twin: {why}.")
        deeper = found.categories[0].name.partition("/")[2] if found.level1 and found.categories else ""
        return {
            **_EMPTY,
            "id": given,
            "status": answer.status,
            **(self._place(best) if best else {}),
            "ambiguous": answer.ambiguous,
            "kind": found.kind,
            "level1": found.level1,
            "category": deeper or None,
            "urgent": found.urgency != "ordinary",
            "urgency": found.urgency,
            "categories": [
                {"code": one.code or None, "name": one.name, "probability": round(one.probability, 3)}
                for one in found.categories
            ],
            "words": [word for word in found.words if word not in found.urgency_words],
            "urgency_words": list(found.urgency_words),
            "call": found.call or None,
            "model": found.model,
            "duplicate_of": twin,
            "why": " ".join(reasons),
        }

    def _place(self, best: Match) -> dict[str, Any]:
        """Return the place's members; CGCS2000 is WGS84 to within a metre, see `core.datums`."""
        return {
            "lng": round(best.lng, 6),
            "lat": round(best.lat, 6),
            "radius_m": round(best.radius_m),
            "confidence": round(best.confidence, 3),
            "town": self.town_names.get(best.town_code, best.town_code) or None,
            "cell": self.locator.locate(best.lng, best.lat),
            "line": [[round(lng, 6), round(lat, 6)] for lng, lat in best.line] or None,
        }

    def _twin(
        self, given: str | int | None, text: str, best: Match | None, level1: str | None
    ) -> tuple[str | int | None, str]:
        """Return the first message of the same matter and why; a line sent twice under one id is not its own twin."""
        lng, lat = (best.lng, best.lat) if best else (None, None)
        off = best.radius_m if best else 0.0
        twins = self.index.find(text, lng, lat, self.now, level1, limit=1, radius_m=off)
        sure = twins[0] if twins and twins[0].score >= SURE_OF_TWIN and twins[0].case_id != given else None
        first = sure.case_id if sure and isinstance(sure.case_id, str | int) else None
        if given is not None and given not in self.seen:
            self.seen.add(given)
            self.index.add(given if first is None else first, text, lng, lat, self.now, level1, radius_m=off)
        return first, sure.why if sure else ""


def _plain_id(value: Any) -> str | int | None:
    """Return an id as it may stand in the answer: a string or an integer, null for anything else."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()[:200]
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53 else None


def _text(line: Mapping[str, Any]) -> tuple[str, str]:
    """Return the text of a line, its title before it, and what is wrong with it, empty if nothing."""
    if "unreadable" in line:
        return "", str(line["unreadable"])
    parts = [line.get("title"), line.get("text")]
    if not isinstance(parts[1], str) or not parts[1].strip():
        return "", "The line has no text."
    text = "。".join(part for part in parts if isinstance(part, str) and part.strip())
    if len(text) > LONGEST:
        return "", "The line is longer than 1 MB."
    text = text.encode(errors="replace").decode()
    strange = sum(map(_BINARY.__contains__, text))
    if strange > max(1, len(text) * _BINARY_SHARE):
        return "", "The text is binary."
    return ("".join(c for c in text if c not in _BINARY) if strange else text), ""


def _time(line: Mapping[str, Any]) -> datetime | None:
    """Return the time of a message as an aware datetime; a time without a zone is taken for UTC, only gaps matter."""
    for name in ("at", "created_at", "time"):
        value = line.get(name)
        if isinstance(value, str):
            try:
                found = datetime.fromisoformat(value)
                return found if found.tzinfo else found.replace(tzinfo=UTC)
            except (ValueError, OverflowError):
                continue
    return None


def _reason(answer: Answer) -> str:
    """Return the geocoder's reason as a sentence; its code where the template lacks a value."""
    try:
        return WHY.get(answer.why, answer.why).format_map(answer.detail)
    except (KeyError, IndexError, ValueError):
        return answer.why

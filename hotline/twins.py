"""Which open case a new message may be a twin of (疑似重复); knows texts, places and times, no database.

Candidates come from two inverted lists: rare character pairs, and squares of ground. What decides is a weighted overlap
of character pairs (a pair that few messages contain weighs more, so that the matter outweighs a polite phrase), the
distance, the time between, the category, and the places and numbers named in the texts. Names of places are weighed
apart from the words about the matter: two troubles of one estate are not one trouble.
The same words at two places are two matters. A suggestion is made to a person or shown on the desk, never merged alone:
precision comes before recall.
"""

import math
import re
import threading
from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import add
from typing import Final

#: Default number of messages kept for one district; the oldest leave first.
KEPT: Final = 50_000
#: Messages further apart in time than this are never twins.
WINDOW: Final = timedelta(days=60)
#: Within this many metres two places are the same place; past _FAR_M they are two.
_NEAR_M, _FAR_M = 150.0, 400.0
#: Side of a square of the place index, degrees of latitude; about _FAR_M, so that nine squares suffice.
_SQUARE: Final = 0.0037
#: Rare pairs looked up for one message, and the longest list that is still rare.
_PROBES, _LONGEST = 10, 100
#: Candidates that are scored in full.
_SCORED: Final = 12
#: Characters of a text that are compared; a letter repeats itself after that.
_REACH: Final = 400
#: Pairs of characters from which a text is a letter, so much its own that the same words again are the same letter.
_LETTER: Final = 45
#: Metres of one degree of latitude (CGCS2000, mean).
_METRES: Final = 111_195.0

_NOISE: Final = re.compile(r"[^\u4e00-\u9fff0-9a-z]+")
#: Numbers that name a place or a thing: house, building, line, plate. Two texts that name different ones speak of two.
_NUMBERS: Final = re.compile(
    r"([a-z]?\d{1,5}|[一二三四五六七八九十]{1,3})(?=号线|[号栋幢座组队路村巷弄期区县市])|[a-z]\d{1,2}(?=[区县市])"
)
#: A name of a place: the two characters before a word for road, estate, village, school and such, and that word.
_NAMES: Final = re.compile(
    "[\u4e00-\u9fff]{2}(?:国际城|工业园|小区|花园|家园|公馆|新村|新城|大道|横路|大厦|广场|市场|学校|小学|中学|医院|公园|社区|宾馆|酒店)"
    r"|[^在有的到了上下门马公人车楼一这那个小大跑过走堵修条整半占后前边\W]{2}[路街巷坊村苑庭府城桥]"
)
#: What is said to any office about anything, and numbers of houses: neither is the matter.
_MANNERS: Final = re.compile(
    "市民[^，。]{0,6}来[电访][^，。]{0,3}|来[电访]人[^，。]{0,3}|群众到窗口反映|网格员上报|巡查发现|我是附近的?居民|"
    "尊敬的[^，。：]{0,6}|领导您?好|您好|我要反映的是|(?:强烈)?要求[^，。]{0,3}(?:说法|书面答复)|反映多次没有结果|(?:请|希望|恳请|麻烦|望)[^，。]{0,8}"
    r"(?:尽快处理|管一管|来看看?|帮忙解决|核实|协助处理|帮一下)|盼复|盼回复|谢谢|地点在|位于|[a-z]?\d+[号栋幢座]|[，。！？；：,.!?;:\s@#]+"
)


@dataclass(frozen=True, slots=True)
class Twin:
    """A case that a message may repeat."""

    case_id: Hashable
    #: 0 to 1; from 0.8 the two can be taken for one matter by most readers.
    score: float
    #: What speaks for it, for the desk: "same words, 40 m, 2 days".
    why: str


@dataclass(slots=True)
class _Kept:
    case_id: Hashable
    #: Pairs of neighbouring characters of the matter, without places and manners.
    pairs: frozenset[str]
    numbers: frozenset[str]
    names: frozenset[str]
    lng: float | None
    lat: float | None
    at: float
    level1: str | None
    square: tuple[int, int] | None


class TwinIndex:
    """The recent messages of one district, in memory, bounded; safe to use from several threads.

    It is a cache: after a restart the caller adds the recent cases again, oldest first.
    """

    def __init__(self, *, kept: int = KEPT, window: timedelta = WINDOW) -> None:
        """Keep at most `kept` messages, and compare only those within `window` of each other."""
        self._kept = max(1, kept)
        self._window = window.total_seconds()
        self._messages: dict[int, _Kept] = {}
        self._order: deque[int] = deque()
        self._lists: dict[str, dict[int, None]] = {}
        self._squares: dict[tuple[int, int], dict[int, None]] = {}
        self._next = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many messages are kept."""
        return len(self._messages)

    def add(  # noqa: PLR0917  text, place, time and category are what a message is, in the order of `find`
        self,
        case_id: Hashable,
        text: str,
        lng: float | None,
        lat: float | None,
        at: datetime,
        level1: str | None = None,
    ) -> None:
        """Keep one message under its case.

        lng, lat: EPSG:4490 degrees, or None where the place is unknown. at: aware.
        """
        made = _read(text, lng, lat, at, case_id=case_id, level1=level1)
        with self._lock:
            slot = self._next
            self._next += 1
            self._messages[slot] = made
            self._order.append(slot)
            for key in (*made.pairs, *made.names):
                self._lists.setdefault(key, {})[slot] = None
            if made.square:
                self._squares.setdefault(made.square, {})[slot] = None
            if len(self._order) > self._kept:
                self._drop(self._order.popleft())

    def find(
        self,
        text: str,
        lng: float | None,
        lat: float | None,
        at: datetime,
        level1: str | None = None,
        *,
        limit: int = 5,
    ) -> tuple[Twin, ...]:
        """Return up to `limit` cases that the message may repeat, likeliest first, one entry a case; often none.

        lng, lat: EPSG:4490 degrees, or None. at: aware. About a tenth to half a millisecond with 50,000 messages kept.
        """
        asked = _read(text, lng, lat, at, case_id=None, level1=level1)
        if len(asked.pairs) < 4:
            return ()
        found: dict[Hashable, Twin] = {}
        with self._lock:
            weights = self._weigh(asked.pairs)
            for slot in self._candidates(asked):
                other = self._messages[slot]
                judged = self._judge(asked, other, weights)
                if judged and (other.case_id not in found or judged.score > found[other.case_id].score):
                    found[other.case_id] = judged
        return tuple(sorted(found.values(), key=lambda twin: -twin.score)[:limit])

    def _drop(self, slot: int) -> None:
        gone = self._messages.pop(slot)
        for key in (*gone.pairs, *gone.names):
            listed = self._lists[key]
            del listed[slot]
            if not listed:
                del self._lists[key]
        if gone.square:
            inside = self._squares[gone.square]
            del inside[slot]
            if not inside:
                del self._squares[gone.square]

    def _weigh(self, pairs: Iterable[str]) -> dict[str, float]:
        """Return the weight of each pair: the rarer among the kept messages, the more it says."""
        # The 50 keep the weights of a nearly empty index from turning upside down.
        total = math.log(50 + len(self._messages))
        lists = self._lists
        return {pair: total - math.log(1 + len(lists[pair])) if pair in lists else total for pair in pairs}

    def _candidates(self, asked: _Kept) -> list[int]:
        """Return the messages that share the most rare pairs, and those on the same ground, newest first."""
        lists = self._lists
        known = sorted((len(lists[key]), key) for key in (*asked.pairs, *asked.names) if key in lists)
        shared: dict[int, int] = {}
        for length, key in known[:_PROBES]:
            if length > _LONGEST and shared:
                break
            for slot in _newest(lists[key], _LONGEST):
                shared[slot] = shared.get(slot, 0) + 1
        if asked.square:
            x, y = asked.square
            for square in ((x + i, y + j) for i in (-1, 0, 1) for j in (-1, 0, 1)):
                for slot in _newest(self._squares.get(square, {}), 40):
                    shared[slot] = shared.get(slot, 0) + 1
        ranked = sorted(shared, key=lambda slot: (-shared[slot], -slot))
        return ranked[:_SCORED]

    def _judge(self, asked: _Kept, other: _Kept, weights: dict[str, float]) -> Twin | None:
        """Return the twin where words, place, time and category together are enough, else None."""
        apart = abs(asked.at - other.at)
        if apart > self._window or _conflict(asked, other):
            return None
        common = asked.pairs & other.pairs
        if len(common) < 4:
            return None
        both = sum(map(weights.__getitem__, common))
        mine = sum(weights.values())
        # The other side's own pairs are weighed as the average of these: looking each up would cost more than it tells.
        theirs = both + (len(other.pairs) - len(common)) * mine / len(weights)
        overlap = both / (mine + theirs - both)
        inside = both / min(mine, theirs)
        metres = _metres(asked, other)
        words = max(overlap, 0.72 * inside if min(len(asked.pairs), len(other.pairs)) >= 16 else 0.0)
        need = _need(asked, other, metres)
        if words < need:
            return None
        late = 0.1 * apart / self._window
        score = min(1.0, 0.6 + 0.4 * (words - need) / (1 - need)) - late
        place = "place unknown" if metres is None else f"{metres:.0f} m"
        return Twin(other.case_id, round(max(0.0, score), 3), f"words {words:.2f}, {place}, {apart / 86400:.1f} days")


def _need(asked: _Kept, other: _Kept, metres: float | None) -> float:
    """Return the overlap of words that makes two messages one matter, by how sure it is that the place is one."""
    if metres is None:
        # Two callers use the same few words of two broken lamps. Only a name in common or a long text tells them apart.
        long = min(len(asked.pairs), len(other.pairs)) >= _LETTER
        base = (0.42 if long else 0.8) if asked.names & other.names else (0.8 if long else 2.0)
    elif metres <= _NEAR_M:
        base = 0.2
    elif metres <= _FAR_M:
        base = 0.6
    else:
        return 2.0
    same = asked.level1 is None or other.level1 is None or asked.level1 == other.level1
    return base if same or base > 1 else min(0.95, base + 0.15)


def _conflict(one: _Kept, other: _Kept) -> bool:
    """Return whether the texts name different numbers or, both without a point, different places."""
    if one.numbers and other.numbers and not one.numbers & other.numbers:
        return True
    if one.lng is not None and other.lng is not None:
        return False
    return bool(one.names and other.names and not one.names & other.names)


def _read(
    text: str, lng: float | None, lat: float | None, at: datetime, *, case_id: Hashable, level1: str | None
) -> _Kept:
    lower = text[:_REACH].lower()
    plain = _NOISE.sub("", lower)
    parts = _NOISE.sub(" ", _NAMES.sub(" ", _MANNERS.sub(" ", lower))).split()
    placed = lng is not None and lat is not None
    square = (int((lng or 0.0) // _SQUARE), int((lat or 0.0) // _SQUARE)) if placed else None
    return _Kept(
        case_id=case_id,
        pairs=frozenset(pair for part in parts for pair in map(add, part, part[1:])),
        numbers=frozenset(found.group() for found in _NUMBERS.finditer(plain)),
        names=frozenset(_NAMES.findall(plain)),
        lng=lng if placed else None,
        lat=lat if placed else None,
        at=at.timestamp(),
        level1=level1,
        square=square,
    )


def _newest(slots: dict[int, None], most: int) -> Iterable[int]:
    """Yield the newest slots of a list; dictionaries keep the order of arrival."""
    for n, slot in enumerate(reversed(slots)):
        if n >= most:
            return
        yield slot


def _metres(one: _Kept, other: _Kept) -> float | None:
    """Return the distance in metres on the local plane, None where either place is unknown."""
    if one.lng is None or one.lat is None or other.lng is None or other.lat is None:
        return None
    east = (one.lng - other.lng) * math.cos(math.radians(one.lat))
    return math.hypot(east, one.lat - other.lat) * _METRES

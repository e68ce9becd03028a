"""Which open case a new message may be a twin of (疑似重复); knows texts, places and times, no database.

Candidates come from two inverted lists: rare character pairs, and squares of ground. What decides is evidence that is
added up: how much of the first clause of one text the other repeats, with and without the places in it (a pair of
characters that few messages contain weighs more, so that the matter outweighs a polite phrase), what all common words
are worth, the distance, the places and numbers named, the category and the time between. The weights were fitted on the
building half of the labelled pairs, see `docs/evaluation.md`; a score is about the share of such pairs that are one
matter.

The same words at two places are two matters, and so are two troubles at one place. A suggestion is made to a person or
shown on the desk, never merged alone: precision comes before recall.
"""

import math
import re
import threading
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import add
from typing import Final

#: Default number of messages kept for one district; the oldest leave first.
KEPT: Final = 50_000
#: Messages further apart in time than this are never twins.
WINDOW: Final = timedelta(days=60)
#: Within this many metres two places are the same place; past _FAR_M they are two.
_NEAR_M, _FAR_M = 150.0, 400.0
#: A place that may be off by more than this says nothing of which door it is: only how far away it cannot be.
_VAGUE_M: Final = 400.0
#: Side of a square of the place index, degrees of latitude; about _FAR_M, so that nine squares suffice.
_SQUARE: Final = 0.0037
#: Rare pairs looked up for one message, of its first clause, its opening and all of it, and the longest list that is
#: still rare.
_HEAD_PROBES, _OPENING_PROBES, _PROBES, _LONGEST = 10, 12, 8, 100
#: Messages about something else that are taken to have come before the first one.
_BEFORE: Final = 400
#: Candidates that are scored in full.
_SCORED: Final = 24
#: Characters of a text that are compared, and of its opening, where the matter is named; a letter repeats itself later.
_REACH, _OPENING = 400, 60
#: And of its very beginning: a title, or the first clause, which says what the message is about.
_HEAD: Final = 26
#: Pairs of characters that two texts must share before they can be one matter at all.
_COMMON: Final = 4
#: Pairs, and how many rare ones they must be worth, from which a text that names no place is so much its own that the
#: same words again are the same letter. Two callers use the same few words of two broken lamps.
_LETTER, _WORTH = 24, 7.5
#: Share of the shorter text within the other from which it is a copy: a repost, or one letter sent to two offices.
_COPY: Final = 0.75
#: Logarithms of odds, rounded from a logistic regression on the building half of the labelled pairs: a start, the first
#: clause repeated (all of it, what it says besides places), the logarithm of the words of the matter's worth, a copy.
_BIAS, _CLAUSE, _TOPICAL, _MATTER, _COPIED = -6.8, 6.5, 4.9, 1.25, 0.75
#: A point within 150 m or within 400 m; all places that either names named by the other too, or both name others.
_NEAR, _NEARBY, _SAME_NAMES, _OTHER_NAMES = 3.0, -0.5, 2.9, -1.4
#: Other numbers named, another category, and the whole window between.
_OTHER_NUMBER, _OTHER_CATEGORY, _LATE = -1.6, -0.8, 0.4
#: Below this a case is not worth a look.
_LEAST: Final = 0.2
#: What a report weighs that is about something else, and how much all reports of a case weigh beside the likeliest one.
_UNLIKE, _OTHERS = -3.0, 0.35
#: Share of the places named by one text, in the other, from which they speak of one place; with the first among them.
_MOST, _FEW = 0.6, 0.34
#: Share of the shorter text within the other from which texts that name other places are one frame, filled in twice.
_FRAME: Final = 0.5
#: Metres of one degree of latitude (CGCS2000, mean).
_METRES: Final = 111_195.0

_NOISE: Final = re.compile(r"[^\u4e00-\u9fff0-9a-z]+")
#: What platforms put around a text: forwarding marks, names, topics, addresses, and what was masked.
_PLATFORM: Final = re.compile(
    r"\[[^\[\]\s]{1,8}\]|https?://[\w./?=&%-]+|//@[\w·-]+[:：]?|@[\w·-]+[:：]?|转发微博|\brt\b|\*{2,}", re.IGNORECASE
)
_TOPIC: Final = re.compile(r"#([^#\n]{1,30})#")
#: A headline as posts bear it: a topic in it is what is said.
_HEADLINE: Final = re.compile(r"【[^【】\n]{1,80}】")
#: Numbers that name a place or a thing: house, building, line, plate. Two texts that name different ones speak of two.
_NUMBERS: Final = re.compile(
    r"([a-z]?\d{1,5}|[一二三四五六七八九十]{1,3})(?=号线|[号栋幢座组队路村巷弄期区县市])|[a-z]\d{1,2}(?=[区县市])"
)
#: A name of a place: the two characters before a word for road, estate, village, school and such.
_NAMES: Final = re.compile(
    "([\u4e00-\u9fff]{2})(?:国际城|工业园|小区|社区|花园|家园|新村|新城|大道|横路|医院|学校|小学|中学|大学|学院|幼儿园|"
    "广场|大厦|公寓|酒店|宾馆|公园|公馆|市场|水库|车站|国际|街道|之城|华苑|雅苑)"
    "|([^在有的到了上下门马公人车楼一这那个小大跑过走堵修条整半占后前边是和与及我你他们为被把从给请就都也还不没无来去近所"
    "该某此其并或各每全本贵因由于对向往将使让以求等但而且用会能可要想说看时年月日号\\Wa-z\\d]{2})"
    "[路街巷坊村苑庭府城桥镇乡庄院园站湾洲湖寨岭塘里郡]"
)
#: Pairs that stand before such a word without naming anything.
_NAMELESS: Final = frozenset(
    found.group()
    for found in re.finditer(
        "..",
        "附近部分造成现在影响希望整个众多原因居住住宅人民感谢建设市政县政省政区政吁政求政现代农村城市安置住户多个周边开发"
        "业主物业投诉反映请求市民国家垃圾停车道路交通管理维护出租培训回复这里地铁公交高速铁路火车汽车大学中学小学协调巨大"
        "断头要求群众生后国务大型物流关于老旧隔壁旁边沿河对面",
    )
)
#: What is said to any office about anything, and numbers of houses: neither is the matter.
_MANNERS: Final = re.compile(
    "市民[^，。]{0,6}来[电访][^，。]{0,3}|来[电访]人[^，。]{0,3}|群众到窗口反映|网格员上报|巡查发现|我是附近的?居民|"
    "尊敬的[^，。：]{0,6}|领导您?好|您好|我要反映的是|(?:强烈)?要求[^，。]{0,3}(?:说法|书面答复)|反映多次没有结果|(?:请|希望|恳请|麻烦|望)[^，。]{0,8}"
    r"(?:尽快处理|管一管|来看看?|帮忙解决|核实|协助处理|帮一下)|盼复|盼回复|谢谢|地点在|位于|[a-z]?\d+[号栋幢座]|[，。！？；：,.!?;:\s@#]+"
)


def place_names(text: str) -> list[str]:
    """Return the names of places in a text, in their order, each once: two characters and the word for its kind."""
    found: dict[str, None] = {}
    for part in _parts(_bare(text)[0]):
        for one in _NAMES.finditer(part):
            if (one.group(1) or one.group(2)) not in _NAMELESS:
                found[one.group()] = None
    return list(found)


@dataclass(frozen=True, slots=True)
class Twin:
    """A case that a message may repeat."""

    case_id: Hashable
    #: 0 to 1: about the share of such pairs that are one matter.
    score: float
    #: What speaks for it and against it, for the log: "words 0.62, 40 m, 2.0 days, both name 翠湖".
    why: str
    #: What both say of the matter, the most telling first: what the desk shows as the same words.
    words: tuple[str, ...] = ()
    #: Between the two points; None where either place is unknown or vague.
    metres: float | None = None
    #: Between the two messages.
    days: float = 0.0
    #: One is for the most part contained in the other: a repost, or a letter sent again.
    copy: bool = False


@dataclass(slots=True)
class _Kept:
    case_id: Hashable
    #: Pairs of neighbouring characters, without manners and what the platform added.
    pairs: frozenset[str]
    #: Those of the opening, and of its first clause.
    opening: frozenset[str]
    head: frozenset[str]
    #: Those that name a place, or touch a name.
    placed: frozenset[str]
    #: Names of places in their order, each the two characters before its kind.
    names: tuple[str, ...]
    #: Numbers that name a place or a thing, of the opening.
    numbers: frozenset[str]
    lng: float | None
    lat: float | None
    radius_m: float
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
        *,
        radius_m: float = 0.0,
    ) -> None:
        """Keep one message under its case.

        lng, lat: EPSG:4490 degrees, or None where the place is unknown; radius_m: how far off it may be. at: aware.
        """
        made = _read(text, lng, lat, at, case_id=case_id, level1=level1, radius_m=radius_m)
        with self._lock:
            slot = self._next
            self._next += 1
            self._messages[slot] = made
            self._order.append(slot)
            for key in made.pairs:
                self._lists.setdefault(key, {})[slot] = None
            if made.square:
                self._squares.setdefault(made.square, {})[slot] = None
            if len(self._order) > self._kept:
                self._drop(self._order.popleft())

    def discard(self, case_id: Hashable) -> None:
        """Forget the messages of a case that came to nothing; looks through all that are kept."""
        with self._lock:
            for slot in [slot for slot, kept in self._messages.items() if kept.case_id == case_id]:
                self._order.remove(slot)
                self._drop(slot)

    def find(
        self,
        text: str,
        lng: float | None,
        lat: float | None,
        at: datetime,
        level1: str | None = None,
        *,
        limit: int = 5,
        radius_m: float = 0.0,
    ) -> tuple[Twin, ...]:
        """Return up to `limit` cases that the message may repeat, likeliest first, one entry a case; often none.

        lng, lat: EPSG:4490 degrees, or None; radius_m: how far off. at: aware. Below a millisecond with 50,000
        messages kept, so that it may be asked at every key.
        """
        asked = _read(text, lng, lat, at, case_id=None, level1=level1, radius_m=radius_m)
        if len(asked.pairs) < _COMMON:
            return ()
        parts = _parts(_bare(text)[0])
        best: dict[Hashable, tuple[float, Twin]] = {}
        heard: dict[Hashable, list[float]] = {}
        with self._lock:
            scale = _Scale(self._lists, len(self._messages))
            mine = {pair: scale.weight(pair) for pair in asked.pairs}
            for slot in self._candidates(asked, mine):
                other = self._messages[slot]
                judged = self._judge(asked, other, parts, mine, scale)
                heard.setdefault(other.case_id, []).append(judged[0] if judged else _UNLIKE)
                if judged and (other.case_id not in best or judged[0] > best[other.case_id][0]):
                    best[other.case_id] = judged
        twins = (_weighed(z, twin, heard[case_id]) for case_id, (z, twin) in best.items())
        return tuple(sorted((twin for twin in twins if twin.score >= _LEAST), key=lambda twin: -twin.score)[:limit])

    def _drop(self, slot: int) -> None:
        gone = self._messages.pop(slot)
        for key in gone.pairs:
            listed = self._lists[key]
            del listed[slot]
            if not listed:
                del self._lists[key]
        if gone.square:
            inside = self._squares[gone.square]
            del inside[slot]
            if not inside:
                del self._squares[gone.square]

    def _candidates(self, asked: _Kept, mine: dict[str, float]) -> list[int]:
        """Return the messages that share the most of the rarest pairs, and those on the same ground, newest first."""
        lists = self._lists
        shared: dict[int, float] = {}
        probes: dict[str, None] = {}
        wanted = ((asked.head, _HEAD_PROBES), (asked.opening, _OPENING_PROBES), (asked.pairs, _PROBES))
        for pairs, most in wanted:
            probes |= dict.fromkeys(sorted((p for p in pairs if p in lists), key=lambda p: (-mine[p], p))[:most])
        for key in probes:
            if len(lists[key]) > _LONGEST and shared:
                continue
            for slot in _newest(lists[key], _LONGEST):
                shared[slot] = shared.get(slot, 0.0) + mine[key]
        ranked = sorted(shared, key=lambda slot: (-shared[slot], -slot))
        if not asked.square:
            return ranked[:_SCORED]
        x, y = asked.square
        near: dict[int, None] = {}
        for square in ((x + i, y + j) for i in (-1, 0, 1) for j in (-1, 0, 1)):
            near |= dict.fromkeys(_newest(self._squares.get(square, {}), 40))
        # The same words from all over the district must not crowd out those from this corner.
        here = sorted(near, key=lambda slot: (-shared.get(slot, 0.0), -slot))[: _SCORED // 2]
        taken = set(here)
        return (here + [slot for slot in ranked if slot not in taken])[:_SCORED]

    def _judge(
        self, asked: _Kept, other: _Kept, parts: Iterable[str], mine: dict[str, float], scale: "_Scale"
    ) -> tuple[float, Twin] | None:
        """Return the twin and its odds where words, place, time and category make it possible, else None."""
        apart = abs(asked.at - other.at)
        if apart > self._window:
            return None
        common = asked.pairs & other.pairs
        matter = common - asked.placed - other.placed
        if len(common) < _COMMON or len(matter) < _COMMON - 1:
            return None
        metres = _metres(asked, other)
        if metres is not None and metres > _FAR_M + asked.radius_m + other.radius_m:
            return None
        exact = metres is not None and max(asked.radius_m, other.radius_m) <= _VAGUE_M
        words = _overlap(asked, other, common, mine, scale)
        named, both = _named(asked, other, mine, scale)
        if not exact and not _possible(asked, other, words, named):
            return None
        z = _evidence(words, named, both, metres if exact else None)
        if asked.numbers and other.numbers and not asked.numbers & other.numbers:
            z += _OTHER_NUMBER
        if asked.level1 and other.level1 and asked.level1 != other.level1:
            z += _OTHER_CATEGORY
        z -= _LATE * apart / self._window
        if z < _UNLIKE:
            return None
        days, copy = round(apart / 86400, 1), words.copy >= _COPY
        place = f"{metres:.0f} m" if exact else {1: "same place named", 0: "place unknown", -1: "places differ"}[named]
        why = f"words {words.clause:.2f}, {place}, {days} days" + (", copy" if copy else "")
        telling = _telling(parts, matter, mine)
        return z, Twin(other.case_id, 0.0, why, telling, round(metres or 0.0) if exact else None, days, copy)


class _Scale:
    """What a pair of characters is worth among the messages kept: the rarer, the more it says."""

    def __init__(self, lists: dict[str, dict[int, None]], messages: int) -> None:
        self.lists = lists
        # As if so many others had come before: in a nearly empty index the words of one matter would be everybody's.
        self.total = math.log(_BEFORE + messages)
        #: A name in more messages than this is of a town or a district and tells no two places apart.
        self.fine = max(5, messages // 100)

    def weight(self, pair: str) -> float:
        listed = self.lists.get(pair)
        return self.total - math.log(1 + len(listed)) if listed else self.total

    def is_fine(self, name: str) -> bool:
        return len(self.lists.get(name, ())) <= self.fine


@dataclass(frozen=True, slots=True)
class _Overlap:
    #: Share of the first clause of one that the other repeats anywhere, by weight, the larger of the two; and of what
    #: it says besides places.
    clause: float
    topic: float
    #: Share of the shorter text within the other.
    copy: float
    #: How many rarest pairs the common ones are worth, and those of them that name no place.
    worth: float
    matter: float


def _overlap(asked: _Kept, other: _Kept, common: frozenset[str], mine: dict[str, float], scale: _Scale) -> _Overlap:
    shorter = min(len(asked.pairs), len(other.pairs))
    placed = asked.placed | other.placed
    return _Overlap(
        clause=_repeated(asked.head, other.head, common, mine, scale),
        topic=_repeated(asked.head - placed, other.head - placed, common, mine, scale),
        copy=len(common) / shorter if shorter >= 16 else 0.0,
        worth=sum(map(mine.__getitem__, common)) / scale.total,
        matter=sum(map(mine.__getitem__, common - placed)) / scale.total,
    )


def _repeated(
    ours: frozenset[str], theirs: frozenset[str], common: frozenset[str], mine: dict[str, float], scale: _Scale
) -> float:
    """Return the larger share, by weight, of the pairs of one text that are common to both."""
    if not ours or not theirs:
        return 0.0
    # Two rarest pairs more: of a clause of three words that are all repeated little is known.
    slack = 2 * scale.total
    whole = sum(map(mine.__getitem__, ours))
    # The other's pairs are weighed as if they were like these: looking each up would cost more than it tells.
    there = whole * len(theirs) / len(ours)
    return min(
        1.0,
        max(
            sum(map(mine.__getitem__, ours & common)) / (whole + slack),
            sum(map(mine.__getitem__, theirs & common)) / (there + slack),
        ),
    )


def _named(asked: _Kept, other: _Kept, mine: dict[str, float], scale: _Scale) -> tuple[int, float]:
    """Return whether two texts name one place, and the smaller share of the places of one that the other names too.

    1 where most places that one text names stand in the other, -1 where both name others, else 0.
    """
    ours = {name: mine.get(name, scale.total) for name in asked.names if scale.is_fine(name)}
    theirs = {name: scale.weight(name) for name in other.names if scale.is_fine(name)}
    if not ours or not theirs:
        return 0, 0.0
    here = sum(weight for name, weight in ours.items() if name in other.pairs) / sum(ours.values())
    there = sum(weight for name, weight in theirs.items() if name in asked.pairs) / sum(theirs.values())
    first = next(iter(ours)) in other.pairs or next(iter(theirs)) in asked.pairs
    share = max(here, there)
    if share >= _MOST or (first and share >= _FEW):
        return 1, min(here, there)
    return (0 if first else -1), min(here, there)


def _weighed(z: float, twin: Twin, heard: Sequence[float]) -> Twin:
    """Return a twin with the score of its case: of the report that is most alike, and of all that were looked at.

    One alike is not enough where most of a case say something else; it would tie two matters together.
    """
    whole = (1.0 - _OTHERS) * z + _OTHERS * sum(heard) / len(heard)
    return replace(twin, score=round(1.0 / (1.0 + math.exp(-whole)), 3))


def _possible(asked: _Kept, other: _Kept, words: _Overlap, named: int) -> bool:
    """Return whether two texts whose points do not meet can be told to be one matter at all.

    Short texts, and those of one frame, are one matter only where they name one place; without any name a text must be
    long and its own.
    """
    shorter = min(len(asked.pairs), len(other.pairs))
    differ = bool(asked.numbers and other.numbers and not asked.numbers & other.numbers)
    if (shorter < 2 * _LETTER and (named < 0 or differ)) or (named < 0 and words.copy >= _FRAME):
        return False
    return named > 0 or (shorter >= _LETTER and words.worth >= _WORTH)


def _evidence(words: _Overlap, named: int, both: float, metres: float | None) -> float:
    """Return the logarithm of the odds that two messages are one matter, by words and place."""
    z = _BIAS + _CLAUSE * words.clause + _TOPICAL * words.topic + _MATTER * math.log1p(words.matter)
    if words.copy >= _COPY:
        z += _COPIED
    if metres is not None:
        return z + (_NEAR if metres <= _NEAR_M else _NEARBY)
    return z + _SAME_NAMES * both + (_OTHER_NAMES if named < 0 else 0.0)


def _telling(parts: Iterable[str], common: frozenset[str], mine: dict[str, float], most: int = 4) -> tuple[str, ...]:
    """Return the stretches of a text that are in common, those that say most first, each up to eight characters."""
    runs: dict[str, float] = {}
    for part in parts:
        run, weight = "", 0.0
        for pair in (*map(add, part, part[1:]), ""):
            if pair in common and len(run) < 8:
                run, weight = (run + pair[1] if run else pair), weight + mine[pair]
                continue
            if run:
                runs[run] = max(runs.get(run, 0.0), weight)
            run, weight = "", 0.0
    best = sorted(runs, key=lambda run: (-runs[run], run))
    return tuple(best[:most])


def _read(
    text: str,
    lng: float | None,
    lat: float | None,
    at: datetime,
    *,
    case_id: Hashable,
    level1: str | None,
    radius_m: float,
) -> _Kept:
    own, topics = _bare(text)
    parts = _parts(own)
    pairs: dict[str, None] = {}
    head: set[str] = set()
    opening: frozenset[str] = frozenset()
    length = 0
    for part in parts:
        if length < _HEAD:
            first = part[: _HEAD - length]
            head.update(map(add, first, first[1:]))
        pairs |= dict.fromkeys(map(add, part, part[1:]))
        length += len(part)
        if length >= _OPENING and not opening:
            opening = frozenset(pairs)
    opening = opening or frozenset(pairs)
    for part in _parts(topics):
        pairs |= dict.fromkeys(map(add, part, part[1:]))
    names: dict[str, None] = {}
    placed: set[str] = set()
    for part in parts:
        for found in _NAMES.finditer(part):
            name = found.group(1) or found.group(2)
            if name in _NAMELESS:
                continue
            names[name] = None
            start, end = max(0, found.start() - 1), min(len(part), found.end() + 1)
            placed.update(part[i : i + 2] for i in range(start, end - 1))
    exact = lng is not None and lat is not None and radius_m <= _VAGUE_M
    plain = _NOISE.sub("", own[: 2 * _OPENING])
    return _Kept(
        case_id=case_id,
        pairs=frozenset(pairs),
        opening=opening,
        head=frozenset(head),
        placed=frozenset(placed),
        names=tuple(names)[:12],
        numbers=frozenset(found.group() for found in _NUMBERS.finditer(plain)),
        lng=lng if lat is not None else None,
        lat=lat if lng is not None else None,
        radius_m=radius_m,
        at=at.timestamp(),
        level1=level1,
        square=(int((lng or 0.0) // _SQUARE), int((lat or 0.0) // _SQUARE)) if exact else None,
    )


def _parts(text: str) -> list[str]:
    """Return the stretches of letters between signs, without manners."""
    return _NOISE.sub(" ", _MANNERS.sub(" ", text)).split()


def _bare(text: str) -> tuple[str, str]:
    """Return what a person said without the platform's marks, and the topics: they name the day more than the matter.

    Where nothing but topics was said, they are what was said.
    """
    bare = _PLATFORM.sub(" ", text[: 4 * _REACH].lower())
    if "#" not in bare:
        return bare[:_REACH], ""
    if "【" in bare:
        bare = _HEADLINE.sub(lambda found: found.group().replace("#", ""), bare)
    own, topics = _TOPIC.sub(" ", bare)[:_REACH], " ".join(_TOPIC.findall(bare))
    return (own, topics) if len(_NOISE.sub("", own)) >= 12 else (f"{own} {topics}", "")


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

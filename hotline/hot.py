"""Which matters grow hot (热点事项): clusters of reports of one matter, and when one has grown past what was expected.

Pure: reports come in one by one in the order of time, and time is an argument. Which reports are one matter stands in
`hotline.twins`; what is kept and announced in `hotline.hot_matters`. A watch is a cache of one process: after a restart
it is filled with the recent cases again.

Source: S0 普遍性、苗头性问题 (what many suffer, and what shows its first signs); S2: major, sudden or typical matters
go first. All numbers of the rule are *defaults* that `district.settings["hot"]` changes.
"""

import math
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import rjieba

from core.errors import Invalid
from hotline.twins import Twin, TwinIndex, place_names

#: Reports that a watch remembers, and for how long at most.
KEPT: Final = 20_000
WINDOW: Final = timedelta(days=60)
#: A report joins the matter of its likeliest twin from this score on; from the lower one where two twins are of one
#: matter, or where its own reporter wrote of that matter before: people tell a matter again in other words.
_JOIN, _LEAN = 0.4, 0.25
#: Twins that are looked at for one report.
_TWINS: Final = 8
#: Characters of a report whose words name the matter.
_NAMING: Final = 120
_DAY: Final = timedelta(days=1)
#: Highest first.
URGENCIES: Final = ("emergency", "utilities", "ordinary")


@dataclass(frozen=True, slots=True)
class Tier:
    """So many reports, by so many people, within a span."""

    span: timedelta
    members: int
    reporters: int


@dataclass(frozen=True, slots=True)
class Rule:
    """When a matter is announced: one of the tiers of its urgency, and `times` what was to be expected."""

    tiers: Mapping[str, tuple[Tier, ...]]
    #: How many times the expected number.
    times: float = 3.0
    #: One of so many reports is expected to be of any one matter in any span.
    usual: int = 2_000


def _tiers(*given: tuple[float, int, int]) -> tuple[Tier, ...]:
    return tuple(Tier(timedelta(hours=hours), members, reporters) for hours, members, reporters in given)


#: *Default* rule: five reports by four people within a day, a week or a month; danger to life and utilities sooner. In
#: a busy stream the longer spans need more, because more is to be expected there.
DEFAULT: Final = Rule(
    {
        "emergency": _tiers((6, 3, 2), (24, 4, 3), (168, 5, 4), (720, 5, 4)),
        "utilities": _tiers((6, 4, 3), (24, 5, 4), (168, 5, 4), (720, 5, 4)),
        "ordinary": _tiers((24, 5, 4), (168, 5, 4), (720, 5, 4)),
    }
)


def rule_of(settings: Mapping[str, Any] | None) -> Rule:
    """Return the rule of a district: `{"times": 3, "usual": 2000, "ordinary": [[hours, members, reporters], …], …}`.

    What is not given keeps its default. Raises Invalid for what cannot be read.
    """
    if not settings:
        return DEFAULT
    try:
        tiers = {
            name: _tiers(*((float(h), int(m), int(r)) for h, m, r in settings.get(name, ()))) or DEFAULT.tiers[name]
            for name in URGENCIES
        }
        made = Rule(tiers, float(settings.get("times", DEFAULT.times)), int(settings.get("usual", DEFAULT.usual)))
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise Invalid("The rule for hot matters cannot be read.", field="hot") from error
    least = min(min(t.members, t.reporters, t.span.total_seconds()) for some in made.tiers.values() for t in some)
    if least < 1 or made.usual < 1 or not made.times > 0:
        raise Invalid("The rule for hot matters cannot be read.", field="hot")
    return made


@dataclass(frozen=True, slots=True)
class Seen:
    """A report as the watch needs it."""

    id: Hashable
    text: str
    #: Aware; when it was taken in.
    at: datetime
    #: The same for the same person; empty where nobody knows.
    reporter: str = ""
    urgency: str = "ordinary"
    level1: str | None = None
    #: EPSG:4490 degrees, or None; metres that it may be off.
    lng: float | None = None
    lat: float | None = None
    radius_m: float = 0.0
    place: str = ""
    town: str | None = None


@dataclass(slots=True)
class _Member:
    seen: Seen
    #: Who is counted: the person, else the report itself, else whose text it copies.
    voice: str
    words: frozenset[str]
    places: tuple[str, ...]


@dataclass(slots=True)
class _Cluster:
    #: The report that began it.
    seed: Hashable
    members: dict[Hashable, _Member] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Crossing:
    """The numbers that a matter crossed the rule with."""

    span: timedelta
    members: int
    reporters: int
    #: What was expected in the span, by its own past and by the stream.
    expected: float


@dataclass(frozen=True, slots=True)
class Matter:
    """A cluster as it stands at one moment."""

    seed: Hashable
    #: In order of time.
    ids: tuple[Hashable, ...]
    #: Telling words and place: "夜宵 油烟 · 翠湖花园".
    name: str
    words: tuple[str, ...]
    place: str
    town: str | None
    lng: float | None
    lat: float | None
    urgency: str
    reporters: int
    first_at: datetime
    last_at: datetime
    #: Members of the last hour and day, and how many times the day's number was to be expected.
    hour: int
    day: int
    growth: float
    #: Set where the rule is crossed.
    crossing: Crossing | None


class HotWatch:
    """The recent reports of one district in their clusters; not for use from several threads."""

    def __init__(self, rule: Rule = DEFAULT, *, kept: int = KEPT, window: timedelta = WINDOW) -> None:
        """Watch by a rule, remembering at most `kept` reports of the `window` before the newest."""
        self.rule = rule
        self._kept = max(1, kept)
        self._window = window
        self._index = TwinIndex(kept=self._kept, window=window)
        self._order: deque[Seen] = deque()
        #: Times of the reports in order, to count by; those before `_gone` are forgotten ones.
        self._times: list[datetime] = []
        self._gone = 0
        self._clusters: dict[Hashable, _Cluster] = {}
        self._of: dict[Hashable, Hashable] = {}
        self._spread: Counter[str] = Counter()
        self._touched: dict[Hashable, None] = {}

    def __len__(self) -> int:
        """Return how many reports are remembered."""
        return len(self._order)

    def __contains__(self, report: Hashable) -> bool:
        """Return whether a report is remembered."""
        return report in self._of

    def take(self, seen: Seen) -> None:
        """Take a report in, after all that came before it; a report that is there already changes nothing."""
        if seen.id in self._of:
            return
        twins = self._index.find(
            seen.text, seen.lng, seen.lat, seen.at, seen.level1, limit=_TWINS, radius_m=seen.radius_m
        )
        known = [twin for twin in twins if twin.case_id in self._of]
        seed = self._choose(known, seen.reporter)
        cluster = self._clusters.setdefault(
            seen.id if seed is None else seed, _Cluster(seen.id if seed is None else seed)
        )
        made = _Member(seen, self._voice(seen, known), _words(seen.text), tuple(place_names(seen.text)))
        cluster.members[seen.id] = made
        self._of[seen.id] = cluster.seed
        self._spread.update(made.words)
        self._touched[cluster.seed] = None
        self._index.add(seen.id, seen.text, seen.lng, seen.lat, seen.at, seen.level1, radius_m=seen.radius_m)
        self._order.append(seen)
        self._times.append(max(seen.at, self._times[-1]) if self._times else seen.at)
        while len(self._order) > self._kept or self._order[0].at < seen.at - self._window:
            self._forget(self._order.popleft())

    def grown(self, at: datetime) -> list[Matter]:
        """Return the matters of at least two reports that grew since this was last asked, as they stand at a time.

        `crossing` tells which of them cross the rule; who was told before is not known here.
        """
        touched, self._touched = self._touched, {}
        clusters = [self._clusters[seed] for seed in touched if seed in self._clusters]
        return [self._matter(cluster, at) for cluster in clusters if len(cluster.members) > 1]

    def of(self, report: Hashable, at: datetime) -> Matter | None:
        """Return the matter that a report belongs to, None for a report that is not remembered."""
        seed = self._of.get(report)
        return None if seed is None else self._matter(self._clusters[seed], at)

    def _choose(self, twins: Iterable[Twin], reporter: str) -> Hashable | None:
        """Return the cluster that a report joins: of its likeliest twin, or of two that are less likely."""
        support: dict[Hashable, float] = {}
        lean: Counter[Hashable] = Counter()
        for twin in twins:
            seed = self._of[twin.case_id]
            support[seed] = max(support.get(seed, 0.0), twin.score)
            lean[seed] += twin.score >= _LEAN
        best = max(support, key=lambda seed: (support[seed], lean[seed]), default=None)
        if best is not None and support[best] >= _JOIN:
            return best
        for seed in [seed for seed in lean if lean[seed] and reporter]:
            lean[seed] += any(one.voice == reporter for one in self._clusters[seed].members.values())
        leaning = [seed for seed, count in lean.items() if count >= 2]
        return max(leaning, key=lambda seed: (lean[seed], support[seed]), default=None)

    def _voice(self, seen: Seen, twins: Iterable[Twin]) -> str:
        """Return who is counted for a report: a copy by nobody in particular is no second person."""
        if seen.reporter:
            return seen.reporter
        copied = next((twin for twin in twins if twin.copy), None)
        if copied is not None:
            return self._clusters[self._of[copied.case_id]].members[copied.case_id].voice
        return f"report {seen.id}"

    def _forget(self, seen: Seen) -> None:
        self._gone += 1
        if self._gone > self._kept:
            del self._times[: self._gone]
            self._gone = 0
        seed = self._of.pop(seen.id)
        cluster = self._clusters[seed]
        gone = cluster.members.pop(seen.id)
        self._spread.subtract(gone.words)
        for word in gone.words:
            if not self._spread[word]:
                del self._spread[word]
        if not cluster.members:
            del self._clusters[seed]

    def _matter(self, cluster: _Cluster, at: datetime) -> Matter:
        members = sorted(cluster.members.values(), key=lambda one: (one.seen.at, str(one.seen.id)))
        times = [one.seen.at for one in members]
        place, words = self._name(members)
        points = [
            (one.seen.lng, one.seen.lat) for one in members if one.seen.lng is not None and one.seen.lat is not None
        ]
        urgency = min((one.seen.urgency for one in members), key=_rank)
        day = sum(at - _DAY < time <= at for time in times)
        return Matter(
            seed=cluster.seed,
            ids=tuple(one.seen.id for one in members),
            name=" · ".join(filter(None, (" ".join(words), place))),
            words=words,
            place=place,
            town=_commonest(one.seen.town for one in members if one.seen.town),
            lng=_middle([lng for lng, _ in points]),
            lat=_middle([lat for _, lat in points]),
            urgency=urgency,
            reporters=len({one.voice for one in members}),
            first_at=times[0],
            last_at=times[-1],
            hour=sum(at - timedelta(hours=1) < time <= at for time in times),
            day=day,
            growth=round(day / self._expected(times, _DAY, at), 1),
            crossing=self._crossing(members, at),
        )

    def _crossing(self, members: list[_Member], at: datetime) -> Crossing | None:
        """Return with which numbers a matter crosses the rule, by the shortest span that does; None where none does."""
        times = [one.seen.at for one in members]
        # An urgency counts where a third of the members have it: one caller in fear does not make an emergency.
        urgent = [name for name in URGENCIES if sum(one.seen.urgency == name for one in members) * 3 >= len(members)]
        for tier in self.rule.tiers[urgent[0] if urgent else "ordinary"]:
            inside = [one for one in members if at - tier.span < one.seen.at <= at]
            voices = len({one.voice for one in inside})
            if len(inside) < tier.members or voices < tier.reporters:
                continue
            expected = self._expected(times, tier.span, at)
            if len(inside) >= self.rule.times * expected:
                return Crossing(tier.span, len(inside), voices, round(expected, 2))
        return None

    def _expected(self, times: list[datetime], span: timedelta, at: datetime) -> float:
        """Return how many members a span was to bring: by the matter's own past, and by how busy the stream is."""
        since = at - span
        watched = since - max(self._order[0].at, at - self._window)
        past = sum(time <= since for time in times)
        own = past * (span / watched) if watched > _DAY / 2 else 0.0
        # The matter itself is no measure of how busy the others are.
        busy = self._count_since(since) - sum(time > since for time in times)
        return max(own, busy / self.rule.usual, 0.5)

    def _count_since(self, since: datetime) -> int:
        return len(self._times) - bisect_right(self._times, since, lo=self._gone)

    def _name(self, members: list[_Member]) -> tuple[str, tuple[str, ...]]:
        """Return the place that most members name and up to three words that most use and few others do."""
        given = Counter(one.seen.place for one in members if one.seen.place)
        said = Counter(name for one in members for name in one.places)
        place, count = (given or said).most_common(1)[0] if given or said else ("", 0)
        if count * 3 < len(members):
            place = ""
        elif not given:
            place = _whole(place, [one.seen.text for one in members])
        held = Counter(word for one in members for word in one.words)
        total = math.log(2 + len(self._order))
        worth = {
            word: count / len(members) * (total - math.log(1 + self._spread[word]))
            for word, count in held.items()
            if count * 2 >= len(members) and not (place and (word in place or place in word))
        }
        best = sorted(worth, key=lambda word: (-worth[word], word))[:3]
        return place, tuple(best)


def _whole(name: str, texts: list[str]) -> str:
    """Return a name with the letters before it that nearly all texts which have it agree on: 东路 is 劳动东路."""
    while len(name) < 8:
        before = Counter(text[at - 1] for text in texts if (at := text.find(name)) > 0)
        letter, count = before.most_common(1)[0] if before else ("", 0)
        if not "\u4e00" <= letter <= "\u9fff" or count * 4 < before.total() * 3 or letter in "在的于和与、区县市镇省":
            break
        name = letter + name
    return name


def _rank(urgency: str) -> int:
    return URGENCIES.index(urgency) if urgency in URGENCIES else len(URGENCIES)


def _commonest(values: Iterable[str]) -> str | None:
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else None


def _middle(values: list[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None


def _words(text: str) -> frozenset[str]:
    """Return the words of the beginning of a report that can name a matter: its longer nouns and verbs."""
    return frozenset(
        word
        for word, tag in rjieba.tag(text[:_NAMING])
        if 2 <= len(word) <= 6 and tag[:1] in "nvji" and all("\u4e00" <= letter <= "\u9fff" for letter in word)
    )

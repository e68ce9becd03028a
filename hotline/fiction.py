"""Complaint texts of a fictional district with known truth: where, what, which kind, and which repeat another.

Knows wording, rhythm and mistakes of people who write to a hotline; the places come from `grid.fiction`, the sentences
from `fiction.yaml`. Deterministic by seed, streamed in order of time, made for 10^7 texts.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
import yaml

from core.errors import Invalid
from dispatch.calendar import CHINA, WorkCalendar, national_calendar
from grid.fiction import Fiction, build
from grid.fiction_folder import write_folder
from hotline.fiction_places import Said, Sayings

_SENTENCES: Final = Path(__file__).parent / "fiction.yaml"
_CHOICE: Final = re.compile(r"\(([^()]*)\)")
#: Cases made at a time; all chances of a chunk are drawn at once.
_CHUNK: Final = 20_000
#: Share of each channel.
CHANNELS: Final[Mapping[str, float]] = {"hotline": 0.55, "web": 0.2, "weibo": 0.08, "patrol": 0.11, "window": 0.06}
KINDS: Final[Mapping[str, float]] = {
    "complaint": 0.72, "help": 0.08, "enquiry": 0.11, "suggestion": 0.06, "praise": 0.03,
}  # fmt: skip
#: Share of the seven first-level categories, in the order of the file.
_TOPS: Final = (0.30, 0.17, 0.14, 0.13, 0.10, 0.09, 0.07)
#: Calls by hour of a working day, in Asia/Shanghai.
_HOURS: Final = (4, 2, 1, 1, 1, 2, 5, 12, 30, 48, 50, 42, 24, 26, 40, 44, 42, 36, 26, 24, 24, 20, 13, 7)
#: Volume of a day off against a working day.
_DAY_OFF: Final = 0.55
#: A duplicate comes within this time of the first.
_REMEMBER: Final = timedelta(days=3)
#: Share of matters that others will speak of too, and how many such matters are in the air at once.
_HOT: Final = 0.06
_IN_THE_AIR: Final = 200


@dataclass(frozen=True, slots=True)
class Mix:
    """What shares of the texts are what."""

    #: Repeat an earlier matter in other words.
    duplicates: float = 0.12
    #: Place names with a wrong or missing character, of those that name a place.
    damaged: float = 0.06
    #: Name no place at all.
    nowhere: float = 0.08
    #: Name a place outside the district.
    outside: float = 0.03

    def __post_init__(self) -> None:
        if not all(0 <= share <= 1 for share in (self.duplicates, self.damaged, self.nowhere, self.outside)):
            raise Invalid("Shares lie between 0 and 1.", field="mix")
        if self.nowhere + self.outside > 1:
            raise Invalid("Shares lie between 0 and 1.", field="mix")


@dataclass(frozen=True, slots=True)
class Wording:
    """The sentences, written out: every choice of every template."""

    #: First level → second levels.
    categories: Mapping[str, tuple[str, ...]]
    #: Per second level, in the order of `flat`: sentences of each template; topics; ideas.
    flat: tuple[tuple[str, str], ...]
    problems: tuple[tuple[tuple[str, ...], ...], ...]
    topics: tuple[tuple[str, ...], ...]
    #: How urgent a complaint of this node is, and how often it comes against the others of its level.
    urgency: tuple[str, ...]
    weight: tuple[float, ...]
    ideas: tuple[tuple[str, ...], ...]
    openings: Mapping[str, tuple[str, ...]]
    demands: Mapping[str, tuple[str, ...]]
    enquiries: tuple[str, ...]
    suggestions: tuple[str, ...]
    praises: tuple[str, ...]
    times: tuple[str, ...]


def spread(template: str) -> tuple[str, ...]:
    """Return every sentence that a template with choices `(a|b)` stands for."""
    parts = _CHOICE.split(template)
    options = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    return tuple("".join(chosen) for chosen in product(*options))


@cache
def wording() -> Wording:
    """Return the sentences of `fiction.yaml`."""
    told: dict[str, Any] = yaml.safe_load(_SENTENCES.read_text(encoding="utf-8"))
    tree: dict[str, dict[str, dict[str, Any]]] = told["categories"]
    nodes = [(top, name, node) for top, below in tree.items() for name, node in below.items()]
    return Wording(
        categories={top: tuple(below) for top, below in tree.items()},
        flat=tuple((top, name) for top, name, _ in nodes),
        problems=tuple(tuple(spread(one) for one in node["problems"]) for _, _, node in nodes),
        topics=tuple(tuple(node["topics"]) for _, _, node in nodes),
        urgency=tuple(node.get("urgency", "ordinary") for _, _, node in nodes),
        weight=tuple(float(node.get("weight", 1)) for _, _, node in nodes),
        ideas=tuple(tuple(node["ideas"]) for _, _, node in nodes),
        openings={channel: tuple(one) for channel, one in told["openings"].items()},
        demands={kind: tuple(one) for kind, one in told["demands"].items()},
        enquiries=tuple(told["enquiries"]),
        suggestions=tuple(told["suggestions"]),
        praises=tuple(sentence for one in told["praises"] for sentence in spread(one)),
        times=tuple(told["times"]),
    )


class Matter(NamedTuple):
    """What was said first, as far as a second caller may say it again."""

    id: str
    at: datetime
    node: int
    template: int
    kind: str
    spot: int


def moments(
    count: int, *, start: date, days: int, calendar: WorkCalendar, chance: np.random.Generator
) -> Iterator[list[datetime]]:
    """Yield the times of `count` cases in rising order, day by day, aware, to the second.

    A day off brings half the calls, the hours follow the office day. Holds one day in memory.
    """
    dates = [start + timedelta(i) for i in range(days)]
    weight = np.array([1.0 if calendar.is_working(day) else _DAY_OFF for day in dates])
    weight *= chance.uniform(0.85, 1.15, days)
    of_day = chance.multinomial(count, weight / weight.sum())
    hours = np.array(_HOURS, dtype=float)
    for day, cases in zip(dates, of_day.tolist(), strict=True):
        hour = chance.choice(24, size=cases, p=hours / hours.sum())
        seconds = np.sort(hour * 3600 + chance.integers(0, 3600, cases))
        midnight = datetime(day.year, day.month, day.day, tzinfo=CHINA)
        yield [midnight + timedelta(seconds=second) for second in seconds.tolist()]


def complaints(
    fiction: Fiction,
    *,
    count: int,
    start: date,
    days: int = 365,
    seed: int = 0,
    mix: Mix | None = None,
    calendar: WorkCalendar | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield complaints `{id, at, channel, text, truth}` in order of time, `at` aware (`docs/formats.md`).

    The same arguments give the same texts. Memory does not grow with the count. Raises Invalid for a count or period
    that makes no sense.
    """
    if not (0 <= count <= 100_000_000 and 1 <= days <= 3660):
        raise Invalid("Count or period make no sense.", field="cases")
    writer = _Writer(fiction, seed=seed, mix=mix or Mix())
    chance = np.random.default_rng((seed, 1))
    serial = 0
    for times in moments(count, start=start, days=days, calendar=calendar or national_calendar(), chance=chance):
        for first in range(0, len(times), _CHUNK):
            chunk = times[first : first + _CHUNK]
            yield from writer.write(chunk, serial)
            serial += len(chunk)


def write_cases(path: Path, found: Iterator[dict[str, Any]]) -> int:
    """Write complaints as JSON lines and return how many; times in ISO 8601 with their offset."""
    written = 0
    with path.open("wb", buffering=1 << 20) as out:
        for one in found:
            out.write(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE))
            written += 1
    return written


@dataclass(frozen=True, slots=True)
class Generated:
    """What `generate` made."""

    folder: Path
    towns: int
    communities: int
    cells: int
    households: int
    places: int
    addresses: int
    cases: int

    def __str__(self) -> str:
        sizes = ((name, getattr(self, name)) for name in self.__dataclass_fields__ if name != "folder")
        return ", ".join(f"{size:,} {name}" for name, size in sizes)


def generate(
    out: Path, *, seed: int, households: int, cases: int, at: datetime, days: int = 365, mix: Mix | None = None
) -> Generated:
    """Write a fictional district as a folder for `wangge load`, and `cases.jsonl` for `wangge play`; return the sizes.

    The complaints lie in the `days` before the day of `at` (aware). The same arguments write the same bytes.
    Raises Invalid for sizes that make no sense.
    """
    fiction = build(seed=seed, households=households)
    write_folder(fiction, out, categories=wording().categories)
    first = at.astimezone(CHINA).date() - timedelta(days=days)
    found = complaints(fiction, count=cases, start=first, days=days, seed=seed, mix=mix)
    written = write_cases(out / "cases.jsonl", found)
    return Generated(
        folder=out,
        towns=len(fiction.towns),
        communities=len(fiction.communities),
        cells=len(fiction.cell_code),
        households=int(fiction.households.sum()),
        places=len(fiction.places.name),
        addresses=int(fiction.doors.known.sum()),
        cases=written,
    )


class _Writer:
    """Makes texts from drawn numbers; remembers the matters that others may repeat."""

    def __init__(self, fiction: Fiction, *, seed: int, mix: Mix) -> None:
        self._words = wording()
        self._sayings = Sayings(fiction, seed=seed)
        self._chance = np.random.default_rng((seed, 2))
        self._mix = mix
        self._hot: deque[Matter] = deque(maxlen=_IN_THE_AIR)
        tops = list(self._words.categories)
        share = dict(zip(tops, _TOPS, strict=True))
        own = np.array(self._words.weight)
        of_top = {top: sum(w for (t, _), w in zip(self._words.flat, own, strict=True) if t == top) for top in tops}
        weights = np.array([share[top] / of_top[top] for top, _ in self._words.flat]) * own
        self._node_share = weights / weights.sum()

    def write(self, times: Sequence[datetime], serial: int) -> Iterator[dict[str, Any]]:
        """Yield one case for each time."""
        n, chance, mix = len(times), self._chance, self._mix
        draw = chance.random((n, 10)).tolist()
        node = chance.choice(len(self._words.flat), size=n, p=self._node_share).tolist()
        channel = chance.choice(list(CHANNELS), size=n, p=list(CHANNELS.values())).tolist()
        kind = chance.choice(list(KINDS), size=n, p=list(KINDS.values())).tolist()
        spot = self._sayings.draw(n)
        how = self._sayings.ways(n, nowhere=mix.nowhere, outside=mix.outside)
        damaged = (chance.random(n) < mix.damaged).tolist()
        for i in range(n):
            name = f"F{serial + i:09d}"
            at, u = times[i], draw[i]
            first = self._earlier(at, u[9]) if u[8] < mix.duplicates else None
            if first is None:
                matter = Matter(name, at, node[i], int(u[0] * len(self._words.problems[node[i]])), kind[i], spot[i])
                if u[7] < _HOT and how[i] not in ("none", "outside") and kind[i] in ("complaint", "help"):
                    self._hot.append(matter)
            else:
                matter = first
            # Who repeats a matter says where: without that nobody could tell that it is the same.
            way = how[i] if first is None or how[i] not in ("none", "outside") else "road"
            said = self._sayings.say(matter.spot, way, (u[1], u[2], u[3]), damaged=damaged[i])
            truth = self._truth(matter, said, None if first is None else first.id)
            yield {
                "id": name,
                "at": at,
                "channel": channel[i],
                "text": self._text(matter, channel[i], said.words, u),
                "truth": truth,
            }

    def _earlier(self, at: datetime, u: float) -> Matter | None:
        hot = self._hot
        while hot and at - hot[0].at > _REMEMBER:
            hot.popleft()
        # The square makes a few matters much more talked about than the others.
        return hot[int(len(hot) * u * u)] if hot else None

    def _truth(self, matter: Matter, said: Said, first: str | None) -> dict[str, Any]:
        top, name = self._words.flat[matter.node]
        return {
            "status": said.status,
            "lng": said.lng,
            "lat": said.lat,
            "cell": said.cell,
            "community": said.cell[:12] if said.cell else said.community,
            "town": said.town,
            "place": said.way,
            "damaged": said.damaged,
            "level1": top,
            "category": f"{top}/{name}",
            "kind": matter.kind,
            "urgency": self._words.urgency[matter.node] if matter.kind in ("complaint", "help") else "ordinary",
            "duplicate_of": first,
        }

    def _text(self, matter: Matter, channel: str, where: str, u: Sequence[float]) -> str:
        words, node = self._words, matter.node
        if matter.kind == "enquiry":
            topics = words.topics[node]
            core = _pick(words.enquiries, u[4]).replace("{q}", _pick(topics, u[5]))
            core = f"我住{where}，{core}" if where else core
        elif matter.kind == "suggestion":
            core = _pick(words.suggestions, u[4]).replace(
                "{q}", f"在{where}" * bool(where) + _pick(words.ideas[node], u[5])
            )
        elif matter.kind == "praise":
            # Thanks have a category as well: what they are thanked for.
            core = f"{where}，" * bool(where) + f"关于{words.flat[node][1]}的事，{_pick(words.praises, u[4])}"
        else:
            problem = _pick(words.problems[node][matter.template], u[4])
            core = f"{where}{problem}。" if u[6] < 0.7 or not where else f"{problem}，地点在{where}。"
            core += _pick(words.demands[matter.kind], u[5])
        opening = _pick(words.openings[channel], u[6] * 7 % 1)
        return opening.replace("{p}", core).replace("{t}", _pick(words.times, u[3]))


def _pick(options: Sequence[str], u: float) -> str:
    return options[int(u * len(options))]

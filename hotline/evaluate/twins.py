"""How right the twin index is: pairs of messages labelled by reading, same matter or not, in the order they arrived.

`tests/data/labels_twins.csv` names the pairs by id; they were drawn in strata (neighbours of TF-IDF vectors at six
levels, shared rare place words, at random), never by what the index finds, so that its recall is not measured on
itself. The halves are by hash over everything that hangs together by pairs, so that no message is in both. The
building half was looked at while the weights were set; the kept half was opened at the end.

A message is put into the group of the likeliest twin before it, as `wangge understand` does; a pair counts as found
when both are in one group. The pairs are harder than a day's work: most were drawn because they are alike.
"""

import csv
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from core.settings import ROOT
from hotline.evaluate import Figure
from hotline.twins import TwinIndex
from hotline.understand import SURE_OF_TWIN

Half = Literal["building", "kept"]

#: Where the labels stand, by message id.
LABELS: Final = ROOT / "tests" / "data" / "labels_twins.csv"
#: Scores at which the curve is shown, the one in use among them.
CURVE: Final = (0.3, 0.4, SURE_OF_TWIN, 0.6, 0.7, 0.8, 0.9)
_FILES: Final = {"hot": "complaints/messages_hot.csv", "weibo": "weibo/posts.csv"}


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the given data, in the order of its stream."""

    id: str
    text: str
    at: datetime
    #: Who wrote it, empty where the data do not say.
    user: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two messages of one source and what a reader said of them."""

    source: str
    older: str
    newer: str
    same: bool
    half: Half


def messages(data: Path, source: str) -> list[Message]:
    """Return the messages of a source, oldest first; raises FileNotFoundError where the data are absent."""
    with (data / _FILES[source]).open(encoding="utf-8-sig", newline="") as file:
        found = [_message(source, row) for row in csv.DictReader(file)]
    return sorted(found, key=lambda one: one.at)


def _message(source: str, row: Mapping[str, str]) -> Message:
    if source == "hot":
        at = datetime.fromisoformat(row["created_at"]).replace(tzinfo=UTC)
        return Message(row["message_id"], f"{row['title']}。{row['content'].strip()}", at, row["user_id"])
    return Message(row["row"], row["text"], datetime.strptime(row["created_at"], "%Y-%m-%d %H:%M:%S%z"))


def pairs(path: Path = LABELS) -> list[Pair]:
    """Return the labelled pairs with their halves."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    linked = Groups()
    for row in rows:
        linked.join((row["source"], row["older"]), (row["source"], row["newer"]))
    members: dict[object, list[tuple[str, str]]] = defaultdict(list)
    for row in rows:
        for key in ("older", "newer"):
            members[linked.of((row["source"], row["older"]))].append((row["source"], row[key]))
    half = {group: half_of(":".join(min(found))) for group, found in members.items()}
    return [
        Pair(
            row["source"],
            row["older"],
            row["newer"],
            row["label"] == "same",
            half[linked.of((row["source"], row["older"]))],
        )
        for row in rows
    ]


def half_of(name: str) -> Half:
    """Return the half of a name, by its hash."""
    return "kept" if hashlib.sha256(name.encode()).digest()[0] & 1 else "building"


class Groups:
    """Which things hang together."""

    def __init__(self) -> None:
        """Start with everything alone."""
        self._parent: dict[object, object] = {}

    def of(self, one: object) -> object:
        """Return what stands for the group of a thing."""
        while (parent := self._parent.get(one, one)) != one:
            one = parent
        return one

    def join(self, one: object, other: object) -> None:
        """Put two things into one group."""
        self._parent[self.of(one)] = self.of(other)


def grouped(stream: Iterable[Message], score: float, make: Callable[[], TwinIndex] = TwinIndex) -> Groups:
    """Return the groups that a stream falls into, each message put under the first of its matter from a score on."""
    index, groups = make(), Groups()
    for one in stream:
        twins = index.find(one.text, None, None, one.at, limit=1)
        first = str(twins[0].case_id) if twins and twins[0].score >= score else one.id
        groups.join(one.id, first)
        index.add(first, one.text, None, None, one.at)
    return groups


@dataclass(frozen=True, slots=True)
class Counted:
    """Pairs found rightly, wrongly and not at all."""

    right: int
    wrong: int
    missed: int
    failures: tuple[str, ...]

    @property
    def precision(self) -> float:
        """Return the share of pairs said to be one matter that are."""
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        """Return the share of pairs of one matter that were found."""
        return self.right / max(1, self.right + self.missed)


def counted(known: Iterable[Pair], groups: Mapping[str, Groups]) -> Counted:
    """Return how the groups of each source agree with the labels."""
    right = wrong = missed = 0
    failures = []
    for pair in known:
        said = groups[pair.source].of(pair.older) == groups[pair.source].of(pair.newer)
        right += said and pair.same
        wrong += said and not pair.same
        missed += pair.same and not said
        if said != pair.same:
            failures.append(f"{'missed' if pair.same else 'wrong'} {pair.source} {pair.older} {pair.newer}")
    return Counted(right, wrong, missed, tuple(failures))


def figures(data: Path, *, quick: bool) -> Iterator[Figure]:
    """Yield precision and recall of both halves and both sources, and the curve; quick: Weibo alone."""
    sources = ("weibo",) if quick else tuple(_FILES)
    missing = [name for source, name in _FILES.items() if source in sources and not (data / name).is_file()]
    if missing:
        yield Figure(", ".join(missing), "pairwise precision", 0, 0.0, note="the data are absent")
        return
    streams = {source: messages(data, source) for source in sources}
    known = [pair for pair in pairs() if pair.source in sources]
    halves: tuple[Half, ...] = ("kept", "building")
    curve = (SURE_OF_TWIN,) if quick else CURVE
    groups = {score: {source: grouped(stream, score) for source, stream in streams.items()} for score in curve}
    for half in halves:
        for names in (sources, *((source,) for source in sources if len(sources) > 1)):
            some = [pair for pair in known if pair.half == half and pair.source in names]
            yield from _both(half, names, counted(some, groups[SURE_OF_TWIN]), len(some))
    for half in halves:
        for score in curve:
            found = counted((pair for pair in known if pair.half == half), groups[score])
            label, said = f"labels_twins.csv, {half}", found.right + found.wrong
            yield Figure(label, f"precision at {score}", said, found.precision, note=f"recall {found.recall:.3f}")


def _both(half: Half, names: tuple[str, ...], found: Counted, pairs_of: int) -> Iterator[Figure]:
    label = f"labels_twins.csv, {' + '.join(names)}, {half}"
    goals = (0.9, 0.8) if half == "kept" and len(names) > 1 else (None, None)
    said, there = found.right + found.wrong, found.right + found.missed
    yield Figure(label, "pairwise precision", said, found.precision, goals[0], failures=found.failures)
    yield Figure(label, "pairwise recall", there, found.recall, goals[1], note=f"{pairs_of} pairs")

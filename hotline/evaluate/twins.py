"""How right the twin index is: pairs of messages labelled by reading, same matter or not, in the order they arrived.

`tests/data/labels_twins.csv` names the pairs by id; they were drawn in strata (neighbours of TF-IDF vectors at six
levels, shared rare place words, at random), never by what the index finds, so that its recall is not measured on
itself. The halves are by hash over everything that hangs together by pairs, so that no message is in both. The
building half was looked at while the weights were set; the kept half was opened at the end.

`labels_twins_fit.csv` holds more pairs for building alone, drawn by what an earlier index scored, even over all scores:
the doubtful ones. None of their messages, nor any that index tied to one, is in the kept half.

A message is put into the group of the likeliest twin before it, as `wangge understand` does; a pair counts as found
when both are in one group. The pairs are harder than a day's work: most were drawn because they are alike. What the
desk is offered is measured beside it: each message a case of its own, as intake makes them.
"""

import csv
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from core.settings import ROOT
from hotline.evaluate import Figure
from hotline.intake import SURE_OF_TWIN as WORTH_A_LOOK
from hotline.twins import TwinIndex
from hotline.understand import SURE_OF_TWIN

Half = Literal["building", "kept"]

#: Where the labels stand, by message id.
LABELS: Final = ROOT / "tests" / "data" / "labels_twins.csv"
#: Pairs that were drawn for fitting; all of the building half.
FITTED: Final = ROOT / "tests" / "data" / "labels_twins_fit.csv"
#: Pairs that were drawn and read when weights and thresholds stood; nothing was changed after them.
LATER: Final = ROOT / "tests" / "data" / "labels_twins_later.csv"
#: Scores at which the curve is shown, the ones in use among them.
CURVE: Final = tuple(sorted({0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, SURE_OF_TWIN}))
OFFERS: Final = tuple(sorted({0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, WORTH_A_LOOK}))
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


def fitted() -> list[Pair]:
    """Return the pairs that were drawn for fitting."""
    return [replace(pair, half="building") for pair in pairs(FITTED)]


def later() -> list[Pair]:
    """Return the pairs that were drawn when all was set; none of their messages is in another sample."""
    return [replace(pair, half="kept") for pair in pairs(LATER)]


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


def offered(stream: Sequence[Message], known: Iterable[Pair]) -> dict[Pair, float]:
    """Return the score with which the older message of each pair is offered for the newer one, 0 where it is not."""
    at = {one.id: n for n, one in enumerate(stream)}
    asked: dict[str, list[Pair]] = defaultdict(list)
    for pair in known:
        asked[max(pair.older, pair.newer, key=at.__getitem__)].append(pair)
    index, scores = TwinIndex(), dict[Pair, float]()
    for one in stream:
        if one.id in asked:
            found = {twin.case_id: twin.score for twin in index.find(one.text, None, None, one.at, limit=24)}
            for pair in asked[one.id]:
                scores[pair] = found.get(pair.older, found.get(pair.newer, 0.0))
        index.add(one.id, one.text, None, None, one.at)
    return scores


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
    """Yield precision and recall of both halves and both sources, and the curves; quick: Weibo alone."""
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
            label = f"labels_twins.csv, {' + '.join(names)}, {half}"
            aimed = half == "kept" and len(names) > 1
            yield from _both(label, counted(some, groups[SURE_OF_TWIN]), len(some), aimed=aimed)
    for path, half, more in ((LATER, "kept", later()), (FITTED, "building", fitted())):
        some = [pair for pair in more if pair.source in sources]
        yield from _both(f"{path.name}, {half}", counted(some, groups[SURE_OF_TWIN]), len(some))
    for half in halves:
        for score in curve:
            found = counted((pair for pair in known if pair.half == half), groups[score])
            label, said = f"labels_twins.csv, {half}", found.right + found.wrong
            yield Figure(label, f"precision at {score}", said, found.precision, note=f"recall {found.recall:.3f}")

    scores: dict[Pair, float] = {}
    for source, stream in streams.items():
        scores |= offered(stream, [pair for pair in known if pair.source == source])
    for half in halves:
        for score in (WORTH_A_LOOK,) if quick else OFFERS:
            yield _offers(half, {pair: got for pair, got in scores.items() if pair.half == half}, score)


def _offers(half: Half, scores: Mapping[Pair, float], score: float) -> Figure:
    shown = [pair for pair, got in scores.items() if got >= score]
    right, there = sum(pair.same for pair in shown), sum(pair.same for pair in scores)
    label, note = (
        f"labels_twins.csv, {half}",
        f"{len(shown)} pairs offered, {right / max(1, len(shown)):.3f} of them rightly",
    )
    return Figure(label, f"offered at {score}, of those that are one matter", there, right / max(1, there), note=note)


def _both(label: str, found: Counted, pairs_of: int, *, aimed: bool = False) -> Iterator[Figure]:
    goals = (0.9, 0.8) if aimed else (None, None)
    said, there = found.right + found.wrong, found.right + found.missed
    yield Figure(label, "pairwise precision", said, found.precision, goals[0], failures=found.failures)
    yield Figure(label, "pairwise recall", there, found.recall, goals[1], note=f"{pairs_of} pairs")

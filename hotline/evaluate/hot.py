"""How many real hot matters are announced, how early, and how often falsely: a year's messages in the order of time.

`tests/data/labels_hot.csv` names by id the messages of every matter that several people wrote of, found by reading what
shares names and words in the titles. Matters of at least five messages by four people are the ones to be found; smaller
ones are labelled so that an announcement of them is not called false. Halves: every second matter in the order of the
hashes of their names; the kept one was opened at the end.

An announcement is right when at least half of its members are of one labelled matter that was not announced before.
"""

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Final

from core.settings import ROOT
from hotline.evaluate import Figure
from hotline.evaluate.twins import Half, Message, messages
from hotline.hot import DEFAULT, HotWatch, Matter, Rule, Seen
from hotline.urgency import alarm

#: Where the labels stand, by message id.
LABELS: Final = ROOT / "tests" / "data" / "labels_hot.csv"
#: Messages and people from which a matter is one that should be found.
_MEMBERS, _PEOPLE = 5, 4
#: Matters that were recognised only when the program announced them: neither false nor counted as found.
_LATER: Final = "later_"


@dataclass(frozen=True, slots=True)
class Announced:
    """One announcement of a run, beside the labels."""

    found: Matter
    #: The labelled matter of at least half its members, empty for none.
    matter: str
    #: How many messages of that matter had come by then, and hours since the first.
    come: int
    hours: float


def labels(path: Path = LABELS) -> dict[str, str]:
    """Return the matter of each labelled message."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["message_id"]: row["matter"] for row in csv.DictReader(file)}


def announcements(stream: Iterable[Message], known: dict[str, str], rule: Rule = DEFAULT) -> list[Announced]:
    """Return what is announced while the messages come in one by one, each matter once."""
    watch, told, made = HotWatch(rule), set[object](), list[Announced]()
    first: dict[str, Message] = {}
    come: Counter[str] = Counter()
    for one in stream:
        if matter := known.get(one.id):
            come[matter] += 1
            first.setdefault(matter, one)
        watch.take(Seen(one.id, one.text, one.at, one.user, alarm(one.text).level))
        for found in watch.grown(one.at):
            if told & set(found.ids):
                told |= set(found.ids)
            elif found.crossing:
                told |= set(found.ids)
                name, count = Counter(known.get(str(id_), "") for id_ in found.ids).most_common(1)[0]
                name = name if 2 * count >= len(found.ids) else ""
                hours = (one.at - first[name].at) / timedelta(hours=1) if name else 0.0
                made.append(Announced(found, name, come[name] if name else 0, hours))
    return made


def to_find(stream: Iterable[Message], known: dict[str, str]) -> dict[str, list[Message]]:
    """Return the messages of each matter that is large enough to be found."""
    members: dict[str, list[Message]] = defaultdict(list)
    for one in stream:
        if one.id in known:
            members[known[one.id]].append(one)
    return {
        name: some
        for name, some in members.items()
        if not name.startswith(_LATER) and len(some) >= _MEMBERS and len({one.user for one in some}) >= _PEOPLE
    }


def sides(names: Iterable[str]) -> dict[str, Half]:
    """Return the half of each matter: every second one in the order of the hashes of their names."""
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    return {name: "kept" if n % 2 else "building" for n, name in enumerate(ordered)}


def crosses(some: list[Message], rule: Rule = DEFAULT) -> int:
    """Return with which message a matter crosses the rule's spans if it is grouped without error, 0 for never."""
    for n, one in enumerate(some, 1):
        for tier in rule.tiers["ordinary"]:
            inside = [other for other in some[:n] if one.at - tier.span < other.at]
            if len(inside) >= tier.members and len({other.user for other in inside}) >= tier.reporters:
                return n
    return 0


def figures(data: Path, *, quick: bool) -> Iterator[Figure]:
    """Yield shares found, how early, and false announcements; quick: the last third of the messages."""
    try:
        stream = messages(data, "hot")
    except FileNotFoundError:
        yield Figure("complaints/messages_hot.csv", "matters found", 0, 0.0, note="the data are absent")
        return
    stream = stream[len(stream) * 2 // 3 :] if quick else stream
    known = labels()
    made = announcements(stream, known)
    large = to_find(stream, known)
    halves: tuple[Half, ...] = ("kept", "building")
    side = sides(large)
    for half in halves:
        yield from _half(half, {name: some for name, some in large.items() if side[name] == half}, made)
    wrong = [one for one in made if not one.matter]
    again = len([one for one in made if one.matter]) - len({one.matter for one in made if one.matter})
    yield Figure(
        "complaints/messages_hot.csv",
        "false announcements per 1,000 messages",
        len(stream),
        1000 * len(wrong) / max(1, len(stream)),
        unit="per 1,000",
        note=f"{len(made)} announcements, {again} of them of a matter that was announced before",
        failures=tuple(f"false {' '.join(map(str, one.found.ids))}" for one in wrong),
    )


def _half(half: Half, large: dict[str, list[Message]], made: list[Announced]) -> Iterator[Figure]:
    label = f"labels_hot.csv, {half}"
    told = {one.matter: one for one in reversed(made)}
    ripe = {name: at for name, some in large.items() if (at := crosses(some))}
    found = [told[name] for name in large if name in told]
    missed = tuple(f"missed {name}" for name in large if name not in told)
    yield Figure(label, "matters found, of all", len(large), len(found) / max(1, len(large)), failures=missed)
    in_time = [name for name in ripe if name in told]
    yield Figure(
        label,
        "matters found, of those that cross the rule",
        len(ripe),
        len(in_time) / max(1, len(ripe)),
        failures=tuple(f"missed {name}" for name in ripe if name not in told),
    )
    if found:
        yield Figure(
            label,
            "messages of the matter at the announcement",
            len(found),
            median(o.come for o in found),
            unit="messages",
        )
        yield Figure(label, "hours since the first message", len(found), median(o.hours for o in found), unit="hours")
        late = [told[name].come - ripe[name] for name in in_time]
        if late:
            yield Figure(
                label, "messages later than without any error of grouping", len(late), median(late), unit="messages"
            )

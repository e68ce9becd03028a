"""How right the linkage of departments' lists is 比对评测: invented residents with known truth, three lists of them.

Thresholds and weights were set on one half (`grid.registers.fiction.SETTING`, seed 11); figures are of the other, made
with another seed and another mixture of damage (`KEEPING`, seed 23), some kinds of which the first half has not. The
lists come one after the other, as departments hand them over; what is known is all that was said before.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from grid.fiction import build
from grid.registers import fiction, linking
from grid.registers.fiction import Invented, Line
from grid.registers.linking import People
from hotline.evaluate import Figure

#: Seed of the kept half, and residents of it; of a first look.
SEED: Final = 23
_PEOPLE, _QUICK = 100_000, 10_000
_HARD: Final = ("twin", "namesake", "common")
_FIELDS: Final[Mapping[str, str]] = {
    "name": "name",
    "id_number": "id_number",
    "birth": "birth",
    "phone": "phone",
    "address": "address",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the linkage made of three lists."""

    lines: list[Line]
    #: Row → number of the person that it was taken for.
    person: list[int]
    #: Pairs of rows that a person of flesh is asked about.
    asked: list[tuple[int, int]]
    seconds: float


def figures(data: Path, *, quick: bool = False) -> Iterator[Figure]:
    """Yield the figures of the kept half; needs no given data."""
    del data
    people = _QUICK if quick else _PEOPLE
    made = invented(people, seed=SEED, damage=fiction.KEEPING)
    done = run(made)
    yield from _judged(f"invented, {people:,}", made, done)


def invented(people: int, *, seed: int, damage: Mapping[str, int]) -> Invented:
    """Return invented residents of the fictional district and the three lists of them."""
    rooms = fiction.homes(build(seed=seed, households=max(people * 2 // 5, 400)))
    return fiction.invent(rooms, people=people, seed=seed, damage=dict(damage))


def run(made: Invented, *, match: float = linking.MATCH) -> Outcome:
    """Link the lists one after the other and return whom each row was taken for."""
    lines: list[Line] = []
    person: list[int] = []
    asked: list[tuple[int, int]] = []
    known, count, seconds = People([], [], [], [], [], []), 0, 0.0
    for listed in made.lists.values():
        given = as_people(listed)
        begun = time.perf_counter()
        links = linking.link(known, person, given, match=match)
        seconds += time.perf_counter() - begun
        first = len(lines)
        asked += [(first + row, other) for row, other, _ in links.doubts]
        person = person + np.where(links.owner >= 0, links.owner, count + links.group).tolist()
        count = max(person, default=-1) + 1
        known, lines = known + given, lines + listed
    return Outcome(lines, person, asked, seconds)


def as_people(lines: Sequence[Line]) -> People:
    """Return invented rows as the linkage reads them."""
    columns = {field: [getattr(line, name) for line in lines] for field, name in _FIELDS.items()}
    return People(sex=["m" if line.sex == "男" else "f" for line in lines], **columns)


def _judged(data: str, made: Invented, done: Outcome) -> Iterator[Figure]:
    truth = np.array([line.person for line in done.lines], np.int64)
    person = np.array(done.person, np.int64)
    right, joined, true = _pairs(truth, person)
    yield Figure(data, "precision of pairs joined", joined, right / joined, 0.999)
    yield Figure(data, "recall of pairs, joined without being asked", true, right / true, 0.95)
    found = _with_asked(truth, person, done.asked)
    yield Figure(data, "recall of pairs, joined or put to a person", true, _pairs(truth, found)[0] / true, 0.98)
    rows = len(done.lines)
    doubts = len({row for row, _ in done.asked})
    yield Figure(data, "rows that a person is asked about", rows, doubts / rows, 0.03, "at most")
    people = len(set(truth.tolist()))
    whole, pure = _people(truth, person)
    yield Figure(data, "persons whose rows are all together", people, whole / people)
    clusters = len(set(person.tolist()))
    yield Figure(data, "entries that are one person", clusters, pure / clusters, 0.999)
    for kind, count, share in _by_damage(done.lines, truth, person):
        yield Figure(data, f"recall of pairs, {kind}", count, share)
    for trait in _HARD:
        numbers = {one.number for one in made.residents if one.trait == trait}
        mixed = _mixed(truth, person, numbers)
        yield Figure(data, f"{trait}: joined with somebody else", len(numbers), mixed / max(len(numbers), 1))
    yield Figure(data, "linking, seconds for all rows", rows, done.seconds, unit=" s")


def _pairs(truth: NDArray[np.int64], person: NDArray[np.int64]) -> tuple[int, int, int]:
    """Return how many pairs are rightly joined, joined, and one person in truth."""

    def count(keys: NDArray[np.int64]) -> int:
        sizes = np.unique(keys, return_counts=True)[1]
        return int((sizes * (sizes - 1) // 2).sum())

    both = truth * (int(person.max()) + 1) + person
    return count(both), count(person), count(truth)


def _with_asked(
    truth: NDArray[np.int64], person: NDArray[np.int64], asked: Sequence[tuple[int, int]]
) -> NDArray[np.int64]:
    """Return whom rows are taken for when every question is answered rightly."""
    root = {one: one for one in set(person.tolist())}

    def top(at: int) -> int:
        while root[at] != at:
            root[at] = root[root[at]]
            at = root[at]
        return at

    for row, other in asked:
        if truth[row] == truth[other]:
            root[top(int(person[row]))] = top(int(person[other]))
    return np.array([top(one) for one in person.tolist()], np.int64)


def _people(truth: NDArray[np.int64], person: NDArray[np.int64]) -> tuple[int, int]:
    """Return how many people have all their rows in one entry, and how many entries are of one person."""
    entries: dict[int, set[int]] = defaultdict(set)
    people: dict[int, set[int]] = defaultdict(set)
    for who, entry in zip(truth.tolist(), person.tolist(), strict=True):
        entries[entry].add(who)
        people[who].add(entry)
    return sum(len(one) == 1 for one in people.values()), sum(len(one) == 1 for one in entries.values())


def _by_damage(
    lines: Sequence[Line], truth: NDArray[np.int64], person: NDArray[np.int64]
) -> Iterator[tuple[str, int, float]]:
    """Yield kind of damage, pairs of one person of which a row bears it, and the share of them that were joined."""
    rows: dict[int, list[int]] = defaultdict(list)
    for at, who in enumerate(truth.tolist()):
        rows[who].append(at)
    all_of: Counter[str] = Counter()
    joined: Counter[str] = Counter()
    for listed in rows.values():
        for i, one in enumerate(listed):
            for other in listed[:i]:
                kinds = {*lines[one].damage, *lines[other].damage} or {"none"}
                if not (lines[one].id_number and lines[other].id_number):
                    kinds.add("no number on one side")
                all_of.update(kinds)
                if person[one] == person[other]:
                    joined.update(kinds)
    for kind, count in sorted(all_of.items()):
        yield kind, count, joined[kind] / count


def _mixed(truth: NDArray[np.int64], person: NDArray[np.int64], numbers: set[int]) -> int:
    entries: dict[int, set[int]] = defaultdict(set)
    for who, entry in zip(truth.tolist(), person.tolist(), strict=True):
        entries[entry].add(who)
    return len({who for one in entries.values() if len(one) > 1 for who in one & numbers})

"""Address span labelling: a structured perceptron of our own, trained on `train.jsonl`, measured on `dev.jsonl`.

Nothing is kept of it: the model is trained when it is measured. Knows labels and letters, no places of any district.
"""

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hotline.evaluate import Figure
from hotline.geocode.writing import PLACE_END, ROAD_END

_BITS: Final = 19
_EPOCHS: Final = 8
_ENDS: Final = frozenset(letter for word in f"{PLACE_END}|{ROAD_END}".split("|") for letter in word[-1:])
_DIGITS: Final = frozenset("0123456789零一二三四五六七八九十百")

Span = tuple[str, int, int]
#: A text as rows of hashed features, its tags, its spans.
Sentence = tuple[NDArray[np.int64], NDArray[np.int64], set[Span]]


def figures(data: Path, *, quick: bool) -> Iterator[Figure]:
    """Yield F1 over all spans and of each label; a span counts when both ends and its label are right."""
    folder = data / "address_parsing"
    name = "address_parsing/dev.jsonl"
    if not (folder / "dev.jsonl").exists():
        yield Figure(name, "span F1", 0, 0.0, note=f"{folder} is absent")
        return
    tags: list[str] = ["O"]
    train, dev = (_read(folder / file, tags) for file in ("train.jsonl", "dev.jsonl"))
    if quick:
        train, dev = train[:1500], dev[:500]
    model = Labeller(len(tags))
    model.train(train, epochs=2 if quick else _EPOCHS)
    hits, said, truth = Counter[str](), Counter[str](), Counter[str]()
    for features, _, spans in dev:
        found = _spans([tags[tag] for tag in model.label(features)])
        hits.update(label for label, _, _ in found & spans)
        said.update(label for label, _, _ in found)
        truth.update(label for label, _, _ in spans)
    total = 2 * hits.total() / max(said.total() + truth.total(), 1)
    yield Figure(name, "span F1, all labels", truth.total(), total, note="trained on train.jsonl")
    for label, count in truth.most_common():
        yield Figure(name, f"span F1, {label}", count, 2 * hits[label] / max(said[label] + count, 1))


class Labeller:
    """A linear chain over hashed features, learnt by the averaged perceptron and read by Viterbi."""

    def __init__(self, tags: int) -> None:
        """Start with nothing learnt."""
        self._weights = np.zeros((1 << _BITS, tags), dtype=np.float32)
        self._steps = np.zeros((tags, tags), dtype=np.float32)

    def train(self, sentences: Sequence[Sentence], *, epochs: int) -> None:
        """Learn; the weights kept are the mean over all moments, which forgets the order of the sentences."""
        weights, steps = self._weights, self._steps
        late, late_steps = np.zeros_like(weights), np.zeros_like(steps)
        chance = np.random.default_rng(1)
        moment = 1
        for _ in range(epochs):
            for at in chance.permutation(len(sentences)):
                features, truth, _ = sentences[at]
                found = self.label(features)
                wrong = np.flatnonzero(found != truth)
                for place in wrong:
                    mine = features[place]
                    weights[mine, truth[place]] += 1
                    weights[mine, found[place]] -= 1
                    late[mine, truth[place]] += moment
                    late[mine, found[place]] -= moment
                if wrong.size:
                    for path, sign in ((truth, 1), (found, -1)):
                        np.add.at(steps, (path[:-1], path[1:]), sign)
                        np.add.at(late_steps, (path[:-1], path[1:]), sign * moment)
                moment += 1
        weights -= late / moment
        steps -= late_steps / moment

    def label(self, features: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the likeliest tags of one text; features: (letters, features of one)."""
        scores = self._weights[features].sum(axis=1)
        best = scores[0]
        came = np.empty((len(scores), best.size), dtype=np.int64)
        for at in range(1, len(scores)):
            ways = best[:, None] + self._steps
            came[at] = ways.argmax(axis=0)
            best = ways.max(axis=0) + scores[at]
        path = np.empty(len(scores), dtype=np.int64)
        path[-1] = best.argmax()
        for at in range(len(scores) - 1, 0, -1):
            path[at - 1] = came[at, path[at]]
        return path


def _read(path: Path, tags: list[str]) -> list[Sentence]:
    """Return the sentences of a file; tags new to the list are added to it."""
    index = {tag: at for at, tag in enumerate(tags)}
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        text = told["text"]
        if not text:
            continue
        spans: set[Span] = {(span["label"], span["start"], span["end"]) for span in told["spans"]}
        marks = ["O"] * len(text)
        for label, start, end in spans:
            marks[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
        for mark in marks:
            if mark not in index:
                index[mark] = len(tags)
                tags.append(mark)
        found.append((_features(text), np.array([index[mark] for mark in marks]), spans))
    return found


def _features(text: str) -> NDArray[np.int64]:
    """Return hashed features of each letter: the letters about it alone, in pairs and threes, and their kinds."""
    letters = ["<", "<", "<", *text, ">", ">", ">"]
    kinds = [_kind(letter) for letter in letters]
    rows = []
    for at in range(3, len(letters) - 3):
        near = letters[at - 3 : at + 4]
        told = [f"{place}{letter}" for place, letter in enumerate(near)]
        told += [f"p{place}{near[place]}{near[place + 1]}" for place in range(6)]
        told += [f"t{place}{''.join(near[place : place + 3])}" for place in range(1, 4)]
        told += [f"f{''.join(near[place : place + 4])}{place}" for place in (0, 1, 2, 3)]
        told += ["k" + "".join(kinds[at - 2 : at + 3]), "K" + "".join(kinds[at - 3 : at + 4]), f"s{min(at - 3, 8)}"]
        told += [f"m{near[3]}{kinds[at - 1]}{kinds[at + 1]}", f"e{min(len(letters) - 4 - at, 6)}"]
        rows.append([zlib.crc32(one.encode()) >> (32 - _BITS) for one in told])
    return np.array(rows, dtype=np.int64)


def _kind(letter: str) -> str:
    if letter in _DIGITS:
        return "0"
    if letter.isascii():
        return "a" if letter.isalpha() else "-"
    return "e" if letter in _ENDS else "c"


def _spans(tags: Sequence[str]) -> set[Span]:
    """Return label, start and end of the spans that tags spell."""
    found: set[Span] = set()
    start, label = 0, ""
    for at, tag in enumerate([*tags, "O"]):
        if label and tag != f"I-{label}":
            found.add((label, start, at))
            label = ""
        if tag.startswith("B-"):
            start, label = at, tag[2:]
    return found

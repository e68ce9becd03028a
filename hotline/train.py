"""How the classifier's model is made and measured; knows files of texts, nothing of cases.

Three sources: the project's own sentence frames in `sentences/` (always), a file of a district's labelled messages
(optional: columns `tokens` or `text`, and `level1`), and lessons: texts whose category a person has confirmed
(`hotline.learning`). The shipped model is made from the frames alone.
"""

import csv
import json
import os
import random
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.errors import Invalid
from hotline.classify import FLOOR, OPENING, OPENING_WEIGHT, Classifier, grams, plain

_SENTENCES: Final = Path(__file__).parent / "sentences"
#: Sentences made from each frame: alone, and beside a district's own messages, which must keep the upper hand.
_ALONE, _BESIDE = 8, 2
#: How much further real letters are from the frames than frames from each other: the temperature of a model made from
#: frames alone is raised by this. From `labelled_tokens_train.csv`, which the shipped model never saw: 0.29 / 0.10.
_STRANGER: Final = 2.8
#: Documents an n-gram must stand in: in the body's block and the opening's.
_MIN_BODY, _MIN_OPENING = 3, 2
#: Inverse strength of regularisation of the linear support vector machine.
_C: Final = 1.0
#: Where the fitting stops: a hundredth gives the same figures on folds as a ten-thousandth, in half the time.
_TOLERANCE: Final = 0.01
#: How far an n-gram's value is scaled by how unevenly it is spread between a class and the rest, 0 to 1 (Wang and
#: Manning 2012, "Baselines and Bigrams"). Macro-F1 on folds of the given training file: 0.926 without, 0.931 with.
_SPREAD: Final = 0.5
_FOLDS: Final = 3
#: n-grams that stay in the vocabulary. Fewer are better as well as quicker: the rare ones learn the training file.
_KEPT: Final = 80_000
_SLOT: Final = re.compile(r"\{(\w+)\}|\[([^\]]+)\]")


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """How one class fared."""

    precision: float
    recall: float
    f1: float
    #: Messages that truly are of the class.
    support: int


@dataclass(frozen=True, slots=True)
class Report:
    """How a model fared on messages with known classes."""

    accuracy: float
    macro_f1: float
    classes: dict[str, ClassFigures]
    #: Expected calibration error over ten bins of the top probability, 0 to 1.
    calibration_error: float
    #: (lower edge, messages, mean probability, share right) of each bin that is not empty.
    reliability: tuple[tuple[float, int, float, float], ...]
    #: Share of messages on which the model gives a category, and its accuracy there.
    answered: float
    accuracy_answered: float
    messages: int
    #: Version of the model.
    model: str

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self)


def own_sentences(copies: int, *, seed: int = 7) -> tuple[list[str], list[str]]:
    """Return (texts, classes) made from the own frames, `copies` of each; the same seed gives the same sentences."""
    rng = random.Random(seed)  # noqa: S311  invented sentences, no secret
    slots = _slots()
    texts: list[str] = []
    classes: list[str] = []
    for path in sorted(_SENTENCES.glob("*.txt")):
        first, *frames = path.read_text(encoding="utf-8").splitlines()
        for frame in filter(None, frames):
            for _ in range(copies):
                body = _said(_SLOT.sub(lambda found: _fill(found, slots, rng), frame), slots, rng)
                texts.append(body)
                classes.append(first.removeprefix("#").strip())
    return texts, classes


def _said(body: str, slots: dict[str, list[str]], rng: random.Random) -> str:
    """Return a sentence as people say it: with a place before or after it and manners around it, often neither.

    Every category gets places, made of random syllables, or the model would take any road or estate for a sign of
    城乡建设, where they stand most.
    """
    chance = rng.random()
    where = "".join(rng.choices(slots["syllable"][0], k=2)) + rng.choice(slots["area"])
    where += f"{rng.randint(1, 200)}号" if rng.random() < 0.4 else ""
    if chance < 0.25:
        body = f"{rng.choice(slots['live'])}{where}{rng.choice(slots['beside'])}{body}"
    elif chance < 0.4:
        body = f"{body}，{rng.choice(slots['stands'])}{where}"
    return f"{rng.choice(slots['open'])}{body}{rng.choice(slots['close'])}" if rng.random() < 0.5 else body


def _slots() -> dict[str, list[str]]:
    lines = (_SENTENCES / "slots.tsv").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("\t", 1) for line in lines if not line.startswith("#"))
    return {name: fillers.split() for name, fillers in pairs}


def _fill(found: re.Match[str], slots: dict[str, list[str]], rng: random.Random) -> str:
    if found.group(1):
        return rng.choice(slots[found.group(1)])
    chosen = rng.choice(found.group(2).split("|"))
    return _SLOT.sub(lambda inner: _fill(inner, slots, rng), chosen)


def read_labelled(path: Path) -> tuple[list[str], list[str]]:
    """Return (texts, classes) of a CSV file with `level1` and either `tokens`, `text` or `title` and `content`.

    Spaces between tokens are dropped. Raises Invalid for a file without these columns or without a single row.
    """
    texts: list[str] = []
    classes: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            for row in csv.DictReader(lines):
                text = (row.get("tokens") or "").replace(" ", "") or row.get("text")
                text = text or f"{row.get('title') or ''}\n{row.get('content') or ''}".strip()
                if text and row.get("level1"):
                    texts.append(text)
                    classes.append(row["level1"])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Invalid("The file {name} cannot be read as CSV.", name=path.name) from error
    if not texts:
        raise Invalid("The file {name} has no row with a text and a level1 category.", name=path.name)
    return texts, classes


def train(
    train_csv: Path | None,
    out: Path,
    *,
    lessons: Sequence[tuple[str, str]] = (),
    roots: frozenset[str] = frozenset(),
    deeper: Mapping[str, Mapping[str, float]] | None = None,
) -> Report:
    """Train a model, write it to `out` in one step, and return how it fared on folds it had not seen.

    train_csv: labelled messages of a district, or None for the own sentences alone. lessons: (text, level-1 name) that
    a person confirmed. roots: level-1 names of the district's tree; sentences and messages of other names are left
    out, all names stay where it is empty. deeper: words for deeper codes (`CategoryTree.taught`), kept with the model.
    Takes about half a minute for 8,000 messages on one core. A card with the figures is written beside it (`.json`). A
    process that loads `out` meanwhile sees the old model or the new one, never half of one.
    Raises Invalid for a file without labelled rows, or with fewer than two classes.
    """
    copies = _BESIDE if train_csv or lessons else _ALONE
    texts, classes = _only(roots, *own_sentences(copies))
    theirs = len(texts)
    if train_csv:
        more, labels = _only(roots, *read_labelled(train_csv))
        texts, classes = texts + more, classes + labels
    texts += [text for text, _ in lessons]
    classes += [name for _, name in lessons]
    names = sorted(set(classes))
    if len(names) < 2:
        raise Invalid("A model needs at least two categories to tell apart.")
    cleaned = [plain(text) for text in texts]
    features = _Features(cleaned)
    matrix = features.matrix(cleaned)
    truth = np.array([names.index(name) for name in classes])
    scores = _out_of_fold(matrix, truth, features.idf, copies=copies, own=theirs)
    alone = theirs == len(texts)
    judged = slice(None) if alone else slice(theirs, None)
    temperature = _temperature(scores[judged], truth[judged]) * (_STRANGER if alone else 1.0)
    kept = _telling(matrix, truth, features.idf)
    features.keep(kept)
    weights, bias = _fit(features.matrix(cleaned), truth)
    meta = {
        "classes": names,
        "temperature": temperature,
        "body": features.body_size,
        "sentences": theirs,
        "messages": len(texts) - theirs - len(lessons),
        "lessons": len(lessons),
        "deeper": deeper or {},
    }
    meta["version"] = _version(meta, weights)
    _write(out, meta=meta, weights=weights, bias=bias, features=features)
    made = report(_softmax(scores[judged] / temperature), truth[judged], names=names, version=str(meta["version"]))
    card = {name: value for name, value in meta.items() if name != "deeper"} | {"cross_validated": made.as_dict()}
    out.with_suffix(".json").write_text(json.dumps(card, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return made


def _only(roots: frozenset[str], texts: list[str], classes: list[str]) -> tuple[list[str], list[str]]:
    """Return what is of the given classes; everything where none is given."""
    kept = [(text, name) for text, name in zip(texts, classes, strict=True) if not roots or name in roots]
    return [text for text, _ in kept], [name for _, name in kept]


def evaluate(model: Classifier | Path, dev_csv: Path) -> Report:
    """Return how a model fares on messages that it was not trained on; raises Invalid as `read_labelled` does."""
    classifier = model if isinstance(model, Classifier) else Classifier.load(model)
    texts, classes = read_labelled(dev_csv)
    names = list(classifier.classes) + sorted(set(classes) - set(classifier.classes))
    scores = np.zeros((len(texts), len(names)))
    for row, text in zip(scores, texts, strict=True):
        row[: len(classifier.classes)] = classifier.probabilities(text)
    truth = np.array([names.index(name) for name in classes])
    return report(scores, truth, names=names, version=classifier.version)


def report(probabilities: NDArray[Any], truth: NDArray[Any], *, names: Sequence[str], version: str) -> Report:
    """Return the figures of probabilities (n, k) against true class numbers (n,)."""
    top, guess = probabilities.max(axis=1), probabilities.argmax(axis=1)
    right = guess == truth
    figures: dict[str, ClassFigures] = {}
    for i, name in enumerate(names):
        hit = int((right & (truth == i)).sum())
        said, is_one = int((guess == i).sum()), int((truth == i).sum())
        precision, recall = hit / said if said else 0.0, hit / is_one if is_one else 0.0
        f1 = 2 * precision * recall / (precision + recall) if hit else 0.0
        figures[name] = ClassFigures(precision, recall, f1, is_one)
    bins = []
    for low in np.arange(0, 1, 0.1):
        inside = (top > low) & (top <= low + 0.1)
        if inside.any():
            bins.append(
                (round(float(low), 1), int(inside.sum()), float(top[inside].mean()), float(right[inside].mean()))
            )
    answered = top >= FLOOR
    seen = [one.f1 for one in figures.values() if one.support]
    return Report(
        accuracy=float(right.mean()),
        macro_f1=float(np.mean(seen)),
        classes=figures,
        calibration_error=sum(n * abs(mean - share) for _, n, mean, share in bins) / len(truth),
        reliability=tuple(bins),
        answered=float(answered.mean()),
        accuracy_answered=float(right[answered].mean()) if answered.any() else 0.0,
        messages=len(truth),
        model=version,
    )


class _Features:
    """The vocabulary and document frequencies of the two blocks, and the matrices made with them."""

    def __init__(self, texts: Sequence[str]) -> None:
        body: Counter[str] = Counter()
        opening: Counter[str] = Counter()
        for text in texts:
            body.update(set(grams(text)))
            opening.update(set(grams(text[:OPENING])))
        kept_body = sorted(gram for gram, n in body.items() if n >= _MIN_BODY)
        kept_opening = sorted(gram for gram, n in opening.items() if n >= _MIN_OPENING)
        self.names = kept_body + kept_opening
        self.body_size = len(kept_body)
        frequency = np.array([body[gram] for gram in kept_body] + [opening[gram] for gram in kept_opening])
        self.idf = (np.log((1 + len(texts)) / (1 + frequency)) + 1).astype(np.float32)
        self._index()

    def keep(self, columns: NDArray[Any]) -> None:
        """Drop every n-gram but those of the given columns, ascending."""
        self.names = [self.names[i] for i in columns.tolist()]
        self.idf = self.idf[columns]
        self.body_size = int((columns < self.body_size).sum())
        self._index()

    def _index(self) -> None:
        self._body = {gram: i for i, gram in enumerate(self.names[: self.body_size])}
        self._opening = {gram: i for i, gram in enumerate(self.names[self.body_size :], self.body_size)}

    def matrix(self, texts: Iterable[str]) -> Any:
        """Return the (n, vocabulary) float32 sparse matrix of plain texts, as `Classifier` computes it for one."""
        from scipy.sparse import csr_matrix

        data: list[NDArray[np.float32]] = []
        columns: list[NDArray[np.intp]] = []
        ends = [0]
        for text in texts:
            size = 0
            for part, known, weight in ((text, self._body, 1.0), (text[:OPENING], self._opening, OPENING_WEIGHT)):
                counts = Counter(i for i in map(known.get, grams(part)) if i is not None)
                index = np.fromiter(counts.keys(), dtype=np.intp, count=len(counts))
                values = (1 + np.log(np.fromiter(counts.values(), dtype=np.float32, count=len(counts)))) * self.idf[
                    index
                ]
                length = float(np.sqrt(values @ values)) or 1.0
                data.append((values * (weight / length)).astype(np.float32))
                columns.append(index)
                size += len(index)
            ends.append(ends[-1] + size)
        return csr_matrix((np.concatenate(data), np.concatenate(columns), ends), shape=(len(ends) - 1, len(self.names)))


def _fit(matrix: Any, truth: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return weights (vocabulary, k) and bias (k,) of one-against-rest linear support vector machines.

    Each sees its n-grams scaled by how unevenly they are spread between its class and the rest; the scale is
    multiplied into the weights, so that a model knows nothing of it.
    """
    from scipy.sparse import diags
    from sklearn.svm import LinearSVC  # imported late: two seconds that only training pays

    seen = matrix.copy()
    seen.data[:] = 1
    every = np.asarray(seen.sum(axis=0), dtype=np.float64).ravel()
    weights, bias = np.zeros((matrix.shape[1], int(truth.max()) + 1)), np.zeros(int(truth.max()) + 1)
    for one in np.unique(truth):
        mine = np.asarray(seen[truth == one].sum(axis=0), dtype=np.float64).ravel()
        odds = np.log((mine + 1) / (mine + 1).sum()) - np.log((every - mine + 1) / (every - mine + 1).sum())
        scale = (1 - _SPREAD) + _SPREAD * np.abs(odds) / max(float(np.abs(odds).mean()), 1e-9)
        model = LinearSVC(C=_C, tol=_TOLERANCE, class_weight="balanced", max_iter=20_000, random_state=0).fit(
            matrix @ diags(scale), truth == one
        )
        weights[:, one], bias[one] = model.coef_[0] * scale, model.intercept_[0]
    return weights, bias


def _telling(matrix: Any, truth: NDArray[Any], idf: NDArray[Any]) -> NDArray[Any]:
    """Return the columns, ascending, of the n-grams that move scores most: heavy, rare enough to tell, yet seen."""
    if matrix.shape[1] <= _KEPT:
        return np.arange(matrix.shape[1])
    from sklearn.svm import LinearSVC

    weights = LinearSVC(C=_C, tol=_TOLERANCE, random_state=0).fit(matrix, truth).coef_.T
    seen = np.bincount(matrix.indices, minlength=matrix.shape[1])
    return np.sort(np.argsort(-np.abs(weights).max(axis=1) * idf * np.sqrt(seen))[:_KEPT])


def _out_of_fold(matrix: Any, truth: NDArray[Any], idf: NDArray[Any], *, copies: int, own: int) -> NDArray[Any]:
    """Return scores (n, k), each row from a model that saw neither the row nor another sentence of the same frame.

    The vocabulary is chosen inside each fold too, or the figures would flatter.
    """
    rng = np.random.default_rng(0)
    n = matrix.shape[0]
    group = np.concatenate([np.arange(own) // copies, np.arange(n - own) + own])
    fold = rng.integers(0, _FOLDS, size=n)[group]
    scores = np.zeros((n, int(truth.max()) + 1))
    for k in range(_FOLDS):
        kept = _telling(matrix[fold != k], truth[fold != k], idf)
        weights, bias = _fit(matrix[fold != k][:, kept], truth[fold != k])
        seen = np.unique(truth[fold != k])
        part = np.full((int((fold == k).sum()), scores.shape[1]), -1e3)
        part[:, seen] = (matrix[fold == k][:, kept] @ weights + bias)[:, seen]
        scores[fold == k] = part
    return scores


def _softmax(scores: NDArray[Any]) -> NDArray[Any]:
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    normal: NDArray[Any] = odds / odds.sum(axis=1, keepdims=True)
    return normal


def _temperature(scores: NDArray[Any], truth: NDArray[Any]) -> float:
    """Return the temperature whose softmax gives the truth the highest likelihood (temperature scaling)."""
    grid = np.geomspace(0.03, 3.0, 120)
    rows = np.arange(len(truth))
    losses = [-np.log(np.maximum(_softmax(scores / t)[rows, truth], 1e-12)).mean() for t in grid]
    return float(grid[int(np.argmin(losses))])


def _version(meta: dict[str, Any], weights: NDArray[Any]) -> str:
    digest = sha256(
        json.dumps(meta, sort_keys=True, ensure_ascii=False).encode() + weights.astype(np.float16).tobytes()
    )
    source = "district" if meta["messages"] else "shipped"
    return f"{source}-{digest.hexdigest()[:10]}"


def _write(out: Path, *, meta: dict[str, Any], weights: NDArray[Any], bias: NDArray[Any], features: _Features) -> None:
    """Write the model beside its place, flush it to disk, and rename it into place."""
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez_compressed(
                stream,
                meta=np.frombuffer(json.dumps(meta, ensure_ascii=False).encode(), dtype=np.uint8),
                weights=weights.astype(np.float16),
                bias=bias.astype(np.float32),
                idf=features.idf.astype(np.float16),
                vocabulary=np.frombuffer("\n".join(features.names).encode(), dtype=np.uint8),
            )
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(out)
    except BaseException:
        # An interrupt leaves no half file either.
        Path(name).unlink(missing_ok=True)
        raise

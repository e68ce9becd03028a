"""Which category a message belongs to: a linear model over character n-grams; knows no district and no database.

The model's classes are level-1 names; a district's own tree (`CategoryTree`) turns them into its codes and looks for a
deeper name by words. Two blocks of features: n-grams of the whole text, and n-grams of its opening, where the matter
is named. Weights, vocabulary and calibration stand in one `.npz` file that holds arrays only, so that loading a model
runs no code. Numbers of the shipped model are in `model/classifier.json`; how it is made stands in `hotline.train`.
"""

import json
import logging
import re
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from operator import add
from pathlib import Path
from typing import Any, Final

import ahocorasick
import numpy as np
import rjieba
from numpy.typing import NDArray

from core.errors import Unavailable
from hotline.categories import Category, CategoryTree
from hotline.kinds import Kind, kind_of
from hotline.urgency import Urgency, alarm

__all__ = ["Category", "CategoryTree", "Classification", "Classifier", "grams", "plain"]

#: The model that comes with the program: trained on this project's own sentences only.
SHIPPED: Final = Path(__file__).parent / "model" / "classifier.npz"
#: Characters of the opening that form the second block.
OPENING: Final = 24
#: Characters of a message that are looked at; a longer one repeats itself.
REACH: Final = 2000
#: Characters of the longest n-gram, see `grams`.
LONGEST_GRAM: Final = 4
#: How much the opening's block weighs against the whole text's.
OPENING_WEIGHT: Final = 0.5
#: Below this probability no category is given; the desk asks a person.
FLOOR: Final = 0.45
#: A model file that unpacks to more is not ours.
_MAX_BYTES: Final = 256 << 20
#: n-grams that a text must share with the model before it may be sure of anything.
_MIN_KNOWN: Final = 4
#: First letters of rjieba's tags of words that name something: nouns, verbs, adjectives, abbreviations, idioms.
_TELLING: Final = frozenset("navzijl")

_NOISE: Final = re.compile(r"[^\u4e00-\u9fffa-z]+")
#: A numbered address, a numbered building, a junction: where it is says nothing of what it is, and the streets of every
#: kind of trouble would otherwise speak for 城乡建设.
_ADDRESS: Final = re.compile(
    r"(?:[\u4e00-\u9fff]{2,3}(?:街道|社区|[区县镇村]))*[\u4e00-\u9fff]{2}[\u4e00-\u9fff]?(?:大道|横路|[路街巷坊弄里])"
    r"(?:\s?[0-9一二三四五六七八九十百零〇]+\s?号"
    r"|[与跟和、][\u4e00-\u9fff]{2,3}(?:大道|横路|[路街巷坊弄])的?(?:十字路口|丁字路口|交叉口|路口|交汇处|交界处?))"
    r"|[\u4e00-\u9fff]{2}(?:小区|花园|家园|新村|华庭|公寓|[苑庭居])\s?[0-9一二三四五六七八九十]+[栋座幢](?:[0-9]+单元)?"
)
_log = logging.getLogger(__name__)


def plain(text: str) -> str:
    """Return what the model sees of the first 2,000 characters: Chinese and small Latin letters, no address."""
    return _NOISE.sub("", _ADDRESS.sub("", text[:REACH]).lower())


def grams(text: str) -> Iterable[str]:
    """Yield the n-grams of one to four characters of a plain text, repeats included."""
    two = list(map(add, text, text[1:]))
    three = list(map(add, two, text[2:]))
    return chain(text, two, three, map(add, three, text[3:]))


@dataclass(frozen=True, slots=True)
class Classification:
    """What a message is about."""

    kind: Kind
    #: Level-1 name of the model; None where it abstains.
    level1: str | None
    #: The three most probable, best first, also when it abstains: the desk shows them.
    categories: tuple[Category, ...]
    urgency: Urgency
    #: The words that decided the category, then those that raised the urgency.
    words: tuple[str, ...]
    #: Version of the model that answered.
    model: str
    #: "119", "120" or "110" where the urgency is `emergency`.
    call: str = ""
    #: Of `words` those that raised the urgency.
    urgency_words: tuple[str, ...] = ()


class Classifier:
    """A loaded model; immutable and safe to share between threads. Load once per process."""

    def __init__(self, arrays: dict[str, NDArray[Any]], *, tree: CategoryTree | None = None) -> None:
        """Take the arrays of a model file; raises ValueError or KeyError when they do not fit together."""
        meta = json.loads(arrays["meta"].tobytes())
        self.classes: tuple[str, ...] = tuple(meta["classes"])
        self.version: str = str(meta["version"])
        #: Beside names and hints, the tree heeds words that confirmed cases taught.
        self.tree = tree.taught(meta.get("deeper", {})) if tree else None
        self._temperature = float(meta["temperature"])
        self._bias = arrays["bias"].astype(np.float32)
        self._weights = arrays["weights"].astype(np.float32)
        self._idf = arrays["idf"].astype(np.float32)
        self._names: list[str] = arrays["vocabulary"].tobytes().decode().split("\n")
        body = int(meta["body"])
        if self._weights.shape != (len(self._names), len(self.classes)) or self._idf.shape != (len(self._names),):
            raise ValueError("vocabulary and weights differ in size")
        if not (np.isfinite(self._weights).all() and np.isfinite(self._idf).all() and self._temperature > 0):
            raise ValueError("weights are not numbers")
        # One automaton finds the n-grams of both blocks in one pass, three times as fast as a look-up for each.
        self._automaton = ahocorasick.Automaton(ahocorasick.STORE_INTS)
        slots = {name: slot for slot, name in enumerate(dict.fromkeys(self._names))}
        for name, slot in slots.items():
            if not 0 < len(name) <= LONGEST_GRAM:
                raise ValueError("the vocabulary holds something that is no n-gram")
            self._automaton.add_word(name, slot)
        self._automaton.make_automaton()
        #: Row of the weights for each word of the automaton, -1 where the block lacks it.
        self._body, self._opening = (np.full(len(slots), -1, dtype=np.intp) for _ in range(2))
        self._body[[slots[name] for name in self._names[:body]]] = np.arange(body)
        self._opening[[slots[name] for name in self._names[body:]]] = np.arange(body, len(self._names))
        #: Logarithms of counts, ready for sublinear term frequency.
        self._tf = (1 + np.log(np.arange(1, REACH + 2))).astype(np.float32)

    @classmethod
    def load(
        cls, path: Path | None = None, *, tree: CategoryTree | None = None, learnt: bytes | None = None
    ) -> "Classifier":
        """Load a model file, the shipped one where none is given; `learnt`, a file's bytes, goes before it.

        A missing or damaged file is logged as a warning and the next one answers instead, at last the shipped model.
        Raises Unavailable when the shipped one is damaged too.
        """
        for candidate in (BytesIO(learnt) if learnt else None, path, SHIPPED):
            if candidate is None:
                continue
            try:
                return cls(read_model(candidate), tree=tree)
            except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
                name = candidate if isinstance(candidate, Path) else "of the database"
                _log.warning("model file %s cannot be used: %s", name, error)
        raise Unavailable("The classifier's model is damaged; install the program again or run `wangge train`.")

    def classify(self, text: str) -> Classification:
        """Return category, kind and urgency of one text; well under a millisecond, reads nothing from outside."""
        probabilities, deciding = self._score(plain(text))
        order = np.argsort(-probabilities)[:3].tolist()
        found = alarm(text)
        best = float(probabilities[order[0]])
        level1 = self.classes[order[0]] if deciding is not None and best >= FLOOR else None
        categories = tuple(self._named(self.classes[i], float(probabilities[i]), text) for i in order)
        return Classification(
            kind=kind_of(text),
            level1=level1,
            categories=categories,
            urgency=found.level,
            words=(deciding or ()) + found.words,
            model=self.version,
            call=found.call,
            urgency_words=found.words,
        )

    def classify_many(self, texts: Iterable[str]) -> list[Classification]:
        """Return the classification of each text, in order."""
        return [self.classify(text) for text in texts]

    def probabilities(self, text: str) -> NDArray[np.float32]:
        """Return the calibrated probabilities of `classes`, shape (k,), float32, sum 1."""
        return self._score(plain(text))[0]

    def _named(self, name: str, probability: float, text: str) -> Category:
        if self.tree is None:
            return Category(code="", name=name, probability=probability)
        return self.tree.place(name, text, probability=probability)

    def _block(self, slots: list[int], rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Return rows and unit-length tf-idf values of the n-grams that one block knows."""
        counted = Counter(slots)
        index = rows[np.fromiter(counted.keys(), dtype=np.intp, count=len(counted))]
        counts = np.fromiter(counted.values(), dtype=np.intp, count=len(counted))
        known = index >= 0
        index, counts = index[known], counts[known]
        values = self._tf[counts - 1] * self._idf[index]
        length = float(np.sqrt(values @ values))
        return index, values / length if length else values

    def _score(self, text: str) -> tuple[NDArray[np.float32], tuple[str, ...] | None]:
        """Return the probabilities and the deciding words, None for these where too little of the text is known."""
        found = list(self._automaton.iter(text)) if text else []
        body, values = self._block([slot for _, slot in found], self._body)
        opening, more = self._block([slot for end, slot in found if end < OPENING], self._opening)
        if len(body) < _MIN_KNOWN:
            return np.full(len(self.classes), 1 / len(self.classes), dtype=np.float32), None
        rows = self._weights[body]
        scores = values @ rows + self._bias
        scores += OPENING_WEIGHT * (more @ self._weights[opening])
        odds = np.exp((scores - scores.max()) / self._temperature)
        probabilities: NDArray[np.float32] = (odds / odds.sum()).astype(np.float32)
        return probabilities, self._deciding(body, values * rows[:, int(probabilities.argmax())])

    def _deciding(self, ids: NDArray[np.intp], shares: NDArray[np.float32]) -> tuple[str, ...]:
        """Return up to four words with the largest share in the winning score, none inside another.

        N-grams cut across words; only those that are one word of the dictionary, and no number, pronoun or
        particle, explain anything to a person.
        """
        words: list[str] = []
        for i in np.argsort(-shares)[:24].tolist():
            name = self._names[int(ids[i])]
            if shares[i] <= 0 or len(words) == 4:
                break
            if len(name) == 1 or any(name in word or word in name for word in words):
                continue
            # Without the guesser for unknown words, which takes nearly any run of characters for one.
            parts = rjieba.tag(name, False)
            if len(parts) == 1 and parts[0][1][:1] in _TELLING:
                words.append(name)
        return tuple(words)


def read_model(path: Path | BytesIO) -> dict[str, NDArray[Any]]:
    """Return the arrays of a model file; never unpickles. Raises OSError, ValueError, KeyError or BadZipFile."""
    with zipfile.ZipFile(path) as packed:
        if sum(member.file_size for member in packed.infolist()) > _MAX_BYTES:
            raise ValueError("the file unpacks to more than a model may")
    if isinstance(path, BytesIO):
        path.seek(0)
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in ("meta", "weights", "bias", "idf", "vocabulary")}

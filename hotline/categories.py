"""The district's category tree as the classifier sees it: names, codes and words; knows nothing of probabilities.

The model answers with a level-1 name. A deeper level is given only when its name, a word that clerks use for it
(`sentences/hints.tsv`), or words that confirmed cases taught for its code stand in the text: a wrong third level is
worse than none.
"""

import csv
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import rjieba

#: Share of a name's weight that the text must contain before the name is given.
_SHARE: Final = 0.5
#: Characters of the opening, where the matter is named, and what a word further on weighs: a long letter holds every
#: word somewhere. From the half of `tests/data/labels_deeper.csv` that was built with.
_FIRST, _LATER = 60, 0.3
#: What a clerks' word weighs: in the opening, once further on, two of them further on.
_HINTED: Final = (1.5, 0.7, 1.2)
#: Words of names that say nothing by themselves.
_HOLLOW: Final = frozenset(("其他", "其它", "管理", "工作", "问题", "监管", "事务", "服务", "建设", "处理", "政策"))
#: What words taught by confirmed cases must weigh together, in logarithms of odds, before they name a code.
_TAUGHT: Final = 2.5
#: Confirmed cases of a code, and of those with a word, before either is heeded; words kept for one code.
_FEWEST, _FEWEST_WITH, _MOST_WORDS = 5, 3, 24
#: Logarithm of the odds from which a word tells a code from the others of its level-1 name: three to one.
_TELLS: Final = 1.1
#: Characters of a text that teach.
_READ: Final = 2000
_HINTS: Final = Path(__file__).parent / "sentences" / "hints.tsv"
_SPLIT: Final = re.compile(r"[、/，,\s()（）]+")


@dataclass(frozen=True, slots=True)
class Category:
    """One category with its probability."""

    #: The district's code; empty where no tree was given or the tree lacks the name.
    code: str
    #: The name; deeper levels follow the first after a slash.
    name: str
    #: Calibrated probability of the first level, 0 to 1.
    probability: float


@dataclass(frozen=True, slots=True)
class Node:
    """One line of a category tree."""

    code: str
    name: str
    #: Code of the node above; empty for the first level.
    parent: str = ""


@cache
def _hints() -> dict[str, tuple[str, ...]]:
    """Return the words that speak for a category name, from `sentences/hints.tsv` (name, words)."""
    if not _HINTS.is_file():
        return {}
    with _HINTS.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader((line for line in lines if not line.startswith("#")), delimiter="\t")
        return {row[0]: tuple(row[1].split()) for row in rows if len(row) > 1}


class CategoryTree:
    """A tree of categories, ready to be asked for the deepest name that a text speaks of."""

    def __init__(self, nodes: Iterable[Node], *, learnt: Mapping[str, Mapping[str, float]] | None = None) -> None:
        """Index the nodes; order does not matter, a parent that is missing makes its children unreachable.

        learnt: code → word → logarithm of odds, as `learn` returns it.
        """
        known = list(nodes)
        self._nodes = {node.code: node for node in known}
        self._learnt = dict(learnt or {})
        self._children: dict[str, list[Node]] = {}
        for node in known:
            self._children.setdefault(node.parent, []).append(node)
        self._roots = {node.name: node for node in self._children.get("", [])}
        words = {node.code: self._words(node.name) for node in known}
        frequency = Counter(word for of_node in words.values() for word in of_node)
        self._weights = {
            code: {word: math.log(1 + len(known) / frequency[word]) for word in of_node}
            for code, of_node in words.items()
        }

    @property
    def codes(self) -> tuple[str, ...]:
        """Every code, in the order given."""
        return tuple(self._nodes)

    @property
    def roots(self) -> frozenset[str]:
        """The names of the first level."""
        return frozenset(self._roots)

    def taught(self, learnt: Mapping[str, Mapping[str, float]]) -> "CategoryTree":
        """Return a tree that heeds these words too, and no other taught ones; codes that it lacks are ignored."""
        return CategoryTree(self._nodes.values(), learnt=learnt)

    def path(self, code: str) -> tuple[Node, ...]:
        """Return the nodes from the first level down to a code; empty for an unknown one."""
        found: list[Node] = []
        while code in self._nodes and len(found) < len(self._nodes):
            found.append(self._nodes[code])
            code = self._nodes[code].parent
        return tuple(reversed(found))

    def learn(self, lessons: Iterable[tuple[str, str]]) -> dict[str, dict[str, float]]:
        """Return the words that tell each deeper code from the others below its level-1 name.

        lessons: (text, code) of confirmed cases. A code with fewer than five lessons teaches nothing.
        """
        of_root: dict[str, list[tuple[frozenset[str], frozenset[str]]]] = {}
        for text, code in lessons:
            if path := self.path(code):
                words = frozenset(word for word in rjieba.cut(text[:_READ]) if len(word) > 1 and word not in _HOLLOW)
                of_root.setdefault(path[0].code, []).append((words, frozenset(node.code for node in path[1:])))
        made: dict[str, dict[str, float]] = {}
        for known in of_root.values():
            every = Counter(word for words, _ in known for word in words)
            for code in frozenset().union(*(codes for _, codes in known)):
                with_code = [words for words, codes in known if code in codes]
                if len(with_code) >= _FEWEST and (told := _telling(with_code, every, len(known))):
                    made[code] = told
        return made

    @staticmethod
    def _words(name: str) -> frozenset[str]:
        return frozenset(
            word for part in _SPLIT.split(name) for word in rjieba.cut(part) if word not in _HOLLOW and len(word) > 1
        )

    def place(self, level1: str, text: str, *, probability: float) -> Category:
        """Return the deepest category under a level-1 name that the text speaks of; code empty for an unknown name."""
        root = self._roots.get(level1)
        if root is None:
            return Category(code="", name=level1, probability=probability)
        best = max(self._below(root, text, path=(root,), score=0.0), key=lambda found: found[0])
        path = best[1]
        return Category(code=path[-1].code, name="/".join(node.name for node in path), probability=probability)

    def _below(
        self, node: Node, text: str, *, path: tuple[Node, ...], score: float
    ) -> Iterable[tuple[float, tuple[Node, ...]]]:
        """Yield every place at or below a node with its score; a child's own words outweigh its parent's."""
        yield score, path
        for child in self._children.get(node.code, ()):
            yield from self._below(child, text, path=(*path, child), score=score * 0.5 + self._match(child, text))

    def _match(self, node: Node, text: str) -> float:
        first = text[:_FIRST]
        hints = [word for word in _hints().get(node.name, ()) if word in text]
        if hints:
            return _HINTED[0] if any(word in first for word in hints) else _HINTED[min(len(hints), 2)]
        learnt = self._learnt.get(node.code)
        if learnt and sum(weight for word, weight in learnt.items() if word in text) >= _TAUGHT:
            return 1.5
        weights = self._weights[node.code]
        total = sum(weights.values())
        found = sum(weight * (1.0 if word in first else _LATER) for word, weight in weights.items() if word in text)
        share = found / total if total else 0.0
        return share if share >= _SHARE else 0.0


def _telling(with_code: Sequence[frozenset[str]], every: Mapping[str, int], total: int) -> dict[str, float]:
    """Return word → logarithm of its odds in messages of a code against the others, the heaviest first."""
    counted = Counter(word for words in with_code for word in words)
    size, rest = len(with_code), total - len(with_code)
    odds = {
        word: math.log((n + 0.5) / (size + 1)) - math.log((every[word] - n + 0.5) / (rest + 1))
        for word, n in counted.items()
        if n >= _FEWEST_WITH
    }
    best = sorted((word for word in odds if odds[word] >= _TELLS), key=lambda word: (-odds[word], word))
    return {word: round(odds[word], 2) for word in best[:_MOST_WORDS]}

"""Names written wrongly: the nearest names of the gazetteer to a stretch of text, by sound and by letter.

Characters that sound alike count as equal, which is how most mistyped and misheard names differ. Knows nothing of
places: it finds names in text, others decide whether to believe it.
"""

import re
from dataclasses import dataclass

import numpy as np
import rjieba
from numpy.typing import NDArray
from pypinyin import Style, lazy_pinyin
from rapidfuzz.distance import Levenshtein
from rapidfuzz.fuzz import partial_ratio_alignment

from hotline.geocode.writing import PLACE_END, ROAD_END

#: A pair of characters that more names than this contain tells nothing.
_COMMON = 4_000
#: Candidates that are compared letter by letter.
_TRIED = 16
#: One of these is never written for another by mistake without changing the place: 北湖一路 is not 北湖二路.
_EXACT = re.compile(r"[一二三四五六七八九十0-9东南西北]")
_END = re.compile(
    rf"(?:{PLACE_END}|{ROAD_END}|(?:[一-鿿]{{2}})?有限(?:责任)?公司|公司|[分支]?店|[分支]行|公司|文化楼|文化室|\d*号楼)$"
)


@dataclass(frozen=True, slots=True)
class Likeness:
    """A name that a stretch of text resembles."""

    #: Index into the names handed over.
    index: int
    #: 0 to 1; 1 only for the same sounds throughout.
    score: float
    #: Where in the text.
    start: int
    end: int


class _Sounds(dict[int, int]):
    """Maps a character to one that stands for all that sound alike; filled as characters are met."""

    def __init__(self) -> None:
        super().__init__()
        self._first: dict[str, int] = {}

    def __missing__(self, code: int) -> int:
        if not 0x4E00 <= code <= 0x9FFF or _EXACT.match(chr(code)):
            self[code] = code
            return code
        sound = lazy_pinyin(chr(code), style=Style.NORMAL)[0]
        self[code] = self._first.setdefault(sound, code)
        return self[code]


class Damaged:
    """An index of names by pairs of sounds."""

    def __init__(self, names: list[str]) -> None:
        """Index normalised names."""
        self._sounds = _Sounds()
        self._names = [name.translate(self._sounds) for name in names]
        self._stems = [max(len(_END.sub("", name)), 1) for name in names]
        self._marks = ["".join(_EXACT.findall(name)) for name in names]
        postings: dict[str, list[int]] = {}
        for index, name in enumerate(self._names):
            for pair in _pairs(name):
                postings.setdefault(pair, []).append(index)
        self._postings: dict[str, NDArray[np.int32]] = {
            pair: np.array(found, dtype=np.int32) for pair, found in postings.items() if len(found) <= _COMMON
        }
        count = max(len(names), 1)
        self._weights = {pair: float(np.log(1 + count / len(found))) for pair, found in postings.items()}
        self._totals = np.array([sum(self._weights[p] for p in _pairs(name)) for name in self._names])

    def find(self, written: str, *, least: float = 0.55) -> list[Likeness]:
        """Return up to five names that a stretch of normalised text, at best a clause, contains damaged; best first."""
        heard = written.translate(self._sounds)
        known = [pair for pair in _pairs(heard) if pair in self._postings]
        if not known:
            return []
        indices = np.concatenate([self._postings[pair] for pair in known])
        weights = np.repeat([self._weights[p] for p in known], [self._postings[p].size for p in known])
        unique, place = np.unique(indices, return_inverse=True)
        share = np.bincount(place, weights=weights) / self._totals[unique]
        order = np.argsort(-share, kind="stable")[:_TRIED]
        found = [like for at in order if share[at] > 0.2 and (like := self._compare(int(unique[at]), heard, written))]
        return sorted((like for like in found if like.score >= least), key=lambda like: -like.score)[:5]

    def _compare(self, index: int, heard: str, written: str) -> Likeness | None:
        """Return how much a name resembles the best stretch of the text; None where a number or direction differs."""
        name = self._names[index]
        if len(name) > len(heard):
            start, end = 0, len(heard)
        else:
            aligned = partial_ratio_alignment(name, heard, score_cutoff=60)
            if aligned is None:
                return None
            start, end = aligned.dest_start, aligned.dest_end
        best: tuple[int, int, int] | None = None
        for first in (start - 1, start, start + 1):
            for last in (end - 1, end, end + 1):
                if 0 <= first < last <= len(heard):
                    edits = Levenshtein.distance(name, heard[first:last])
                    if best is None or edits < best[0]:
                        best = (edits, first, last)
        if best is None:
            return None
        edits, start, end = best
        if "".join(_EXACT.findall(written[start:end])) != self._marks[index]:
            return None
        if edits and not self._is_told_by(index, edits, heard[start:end]):
            return None
        if edits and end - start <= 5 and _is_word(_END.sub("", written[start:end])):
            # 社区公园 is a park of the community, not a slip of 童趣公园.
            return None
        # Endings are shared by half of all names: a slip weighs against what is left without them.
        stem = self._stems[index]
        score = 1 - edits / (stem + 1) - (0.1 if edits and stem <= 2 else 0.0)
        return Likeness(index, score, start, end)

    def _is_told_by(self, index: int, edits: int, heard: str) -> bool:
        """Return whether a name with slips is still told: none in three letters, one in four, and its end is whole."""
        name, stem = self._names[index], self._stems[index]
        if heard[-1] != name[-1] and (stem < len(name) or len(name) < 6):
            return False
        if len(name) == 4:
            return edits == 1 and len(heard) == 4 and stem < 4
        return len(name) > 4 and edits <= max(1, len(name) // 4)


def _is_word(text: str) -> bool:
    return len(text) > 1 and len(rjieba.cut(text)) == 1


def _pairs(text: str) -> set[str]:
    return {text[at : at + 2] for at in range(len(text) - 1)}

"""Names written wrongly: the nearest names of the gazetteer to a stretch of text, by sound and by letter.

Characters that sound alike count as nearly equal, which is how most mistyped and misheard names differ. Knows nothing
of places: it finds names in text, others decide whether to believe it.
"""

import re
from dataclasses import dataclass

import numpy as np
import rjieba
from numpy.typing import NDArray
from pypinyin import Style, lazy_pinyin
from rapidfuzz.distance import OSA
from rapidfuzz.fuzz import partial_ratio_alignment

from hotline.geocode.writing import PLACE_END, ROAD_END

#: A pair of characters that more names than this contain tells nothing.
_COMMON = 4_000
#: Candidates that are compared letter by letter.
_TRIED = 16
#: What a slip costs: another letter of the same sound, of a sound taken for it, and any other.
_LETTER, _SOUND, _OTHER = 0.15, 0.35, 0.5
#: After a likeness better than the first, names that share less than this part of its pairs are not looked at.
_SURELY, _LESS = 0.7, 0.6
#: A name whose evidence is less by this than another's in the same place is not meant.
_CLEARLY = 0.6
#: One of these is never written for another by mistake without changing the place: 北湖一路 is not 北湖二路.
_EXACT = re.compile(r"[一二三四五六七八九十0-9东南西北]")
_END = re.compile(
    rf"(?:{PLACE_END}|{ROAD_END}|(?:[一-鿿]{{2}})?有限(?:责任)?公司|公司|[分支]?店|[分支]行|公司|文化楼|文化室|\d*号楼)$"
)
#: Endings of sounds that are taken for each other, and beginnings: on the telephone, and in the south.
_BLURRED_END = (("ang", "an"), ("eng", "en"), ("ing", "in"))
_BLURRED_START = (("zh", "z"), ("ch", "c"), ("sh", "s"), ("n", "l"), ("hu", "f"))


@dataclass(frozen=True, slots=True)
class Likeness:
    """A name that a stretch of text resembles."""

    #: Index into the names handed over.
    index: int
    #: 0 to 1; 1 only for the very same letters.
    score: float
    #: Where in the text.
    start: int
    end: int
    #: Letters that speak for the name less those that speak against it: of two names the longer one counts for more.
    evidence: float = 0.0
    #: How much of what tells the name from others is there, 0 to 1: its pairs of letters, rare ones for more.
    share: float = 1.0
    #: A letter stands for another that does not sound like it: as often another name as a slip.
    replaced: bool = False


class _Sounds(dict[int, int]):
    """Maps a character to one that stands for all that sound alike; filled as characters are met."""

    def __init__(self, *, blurred: bool) -> None:
        super().__init__()
        self._first: dict[str, int] = {}
        self._blurred = blurred

    def __missing__(self, code: int) -> int:
        if not 0x4E00 <= code <= 0x9FFF or _EXACT.match(chr(code)):
            self[code] = code
            return code
        sound = lazy_pinyin(chr(code), style=Style.NORMAL)[0]
        self[code] = self._first.setdefault(_blur(sound) if self._blurred else sound, code)
        return self[code]


def _blur(sound: str) -> str:
    """Return what a sound is heard as where similar ones are not told apart."""
    for clear, heard in _BLURRED_END:
        if sound.endswith(clear):
            sound = sound.removesuffix(clear) + heard
            break
    for clear, heard in _BLURRED_START:
        if sound.startswith(clear):
            return heard + sound.removeprefix(clear)
    return sound


class Damaged:
    """An index of names by pairs of sounds, next to each other and with one between, so that one slip hides few."""

    def __init__(self, names: list[str]) -> None:
        """Index normalised names."""
        self._sounds, self._blurred = _Sounds(blurred=False), _Sounds(blurred=True)
        self._letters = names
        self._names = [name.translate(self._blurred) for name in names]
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
        """Return up to five names that a stretch of normalised text, at best a clause, contains damaged; best first.

        Of names that would stand in the same place only the best is told, and those that are nearly as good.
        """
        heard = written.translate(self._blurred)
        known = [pair for pair in _pairs(heard) if pair in self._postings]
        if not known:
            return []
        indices = np.concatenate([self._postings[pair] for pair in known])
        weights = np.repeat([self._weights[p] for p in known], [self._postings[p].size for p in known])
        unique, place = np.unique(indices, return_inverse=True)
        share = np.bincount(place, weights=weights) / self._totals[unique]
        top = np.argpartition(-share, _TRIED)[:_TRIED] if share.size > _TRIED else np.arange(share.size)
        found: list[Likeness] = []
        enough = 0.2
        for at in top[np.argsort(-share[top], kind="stable")]:
            if share[at] <= enough:
                break
            like = self._compare(int(unique[at]), heard, written, float(share[at]))
            if like is not None:
                found.append(like)
                if like.score > _SURELY:
                    enough = max(enough, _LESS * float(share[at]))
        kept: list[Likeness] = []
        for like in sorted((like for like in found if like.score >= least), key=lambda like: -like.evidence):
            rivals = [one for one in kept if one.start < like.end and like.start < one.end]
            if all(like.evidence > one.evidence - _CLEARLY for one in rivals):
                kept.append(like)
        return kept[:5]

    def _compare(self, index: int, heard: str, written: str, share: float) -> Likeness | None:
        """Return how much a name resembles the best stretch of the text; None where a number or direction differs."""
        name = self._names[index]
        if len(name) > len(heard):
            start, end = 0, len(heard)
        else:
            aligned = partial_ratio_alignment(name, heard, score_cutoff=50)
            if aligned is None:
                return None
            start, end = aligned.dest_start, aligned.dest_end
        best: tuple[int, int, int, int] | None = None
        for first in (start - 1, start, start + 1):
            for last in (end - 1, end, end + 1):
                if 0 <= first < last <= len(heard):
                    edits = OSA.distance(name, heard[first:last])
                    # Of stretches as near as each other the one as long as the name.
                    ranked = (edits, abs(last - first - len(name)), first, last)
                    if best is None or ranked < best:
                        best = ranked
        if best is None:
            return None
        edits, _, start, end = best
        if "".join(_EXACT.findall(written[start:end])) != self._marks[index]:
            return None
        letters = self._letters[index]
        sounds = OSA.distance(letters.translate(self._sounds), written[start:end].translate(self._sounds))
        cost = _LETTER * OSA.distance(letters, written[start:end]) + _SOUND * sounds + _OTHER * edits
        if cost and not self._is_told_by(index, cost, heard[start:end]):
            return None
        if cost and end - start <= 5 and _is_word(_END.sub("", written[start:end])):
            # 社区公园 is a park of the community, not a slip of 童趣公园.
            return None
        # Endings are shared by half of all names: a slip weighs against what is left without them.
        stem = self._stems[index]
        score = 1 - cost / (stem + 1) - (0.1 if edits and stem <= 2 else 0.0)
        replaced = edits > abs(end - start - len(name)) and sorted(name) != sorted(heard[start:end])
        return Likeness(index, score, start, end, len(name) - 2.5 * cost, share, replaced)

    def _is_told_by(self, index: int, cost: float, heard: str) -> bool:
        """Return whether a name with slips is still told: by sound alone in three letters, else by one in four."""
        name, stem = self._names[index], self._stems[index]
        if heard[-1] != name[-1] and len(name) < 6:
            return False
        if len(name) <= 3:
            return cost <= _LETTER
        if len(name) == 4:
            return cost <= 1 and (len(heard) == 4 or stem < 4)
        return cost <= max(1.0, len(name) / 4)


def _is_word(text: str) -> bool:
    # Without its guesses at unknown words, which take two strange letters for one.
    return len(text) > 1 and len(rjieba.cut(text, hmm=False)) == 1


def _pairs(text: str) -> set[str]:
    """Return pairs of letters that are neighbours, and those with one letter between them."""
    return {text[at : at + 2] for at in range(len(text) - 1)} | {text[at] + text[at + 2] for at in range(len(text) - 2)}

"""What in a text names a place elsewhere: divisions of the country, spelt out or not, and the addresses behind them.

`outside` of a gazetteer lists such names whole; people leave off 市 and 区, write ranks that were changed since, and
their messages had names scrambled. A name without its rank is also a word, a road and a shop's, so it counts only
where what follows it reads as an address.
"""

import re
from typing import Final

from hotline.geocode.clues import Clue, Hits
from hotline.geocode.gazetteer import Gazetteer
from hotline.geocode.writing import BEFORE, ROAD_END

Span = tuple[int, int, str]

#: Names that their publisher scrambled, and provinces and cities spelt out.
_FOREIGN: Final = re.compile(
    r"(?<![a-z0-9])[a-z](?:\d{0,2}[市县州]|\d{1,2}区)|西地省|[一-鿿]{2}省(?!会)[一-鿿]{2,3}市"
    r"|[一-鿿][^超菜城门夜早集股楼本我全都上]市[一-鿿]{1,2}[^小社园业城市灾片景厂校住辖地]区(?![别域分])"
)
#: Between a place elsewhere and what lies there nothing stands but names.
_NOT_A_NAME: Final = re.compile(r"[,.。!!??:;、()]|与|和|跟|到|去|来|的|在")
#: How far behind the name of a place elsewhere a name or road may stand that lies there, in letters.
_LIES_THERE: Final = 9

#: What may follow a name whose rank was changed or is not in the list: 奉化市, which is a district now.
_RANK: Final = re.compile(r"[市县区]")
#: Who comes from there, or what is said of the place, is no matter there.
_IN_PASSING: Final = re.compile(r"人|籍|户口|牌|口音|话(?!费)|专程|打工|工作|上班|读书|上学|[的等和与、都也系做]")
#: A part of what was named: a district, a town.
_PART: Final = re.compile(
    r"[一-鿿]{2,4}?(?:(?<![小社园片校厂住景山林库])区(?![别域分间])|县(?!级)|镇|乡(?!下)|街道|开发区)"
)
_STREET: Final = rf"(?:{ROAD_END}|村|工业区|园区)"
#: An address: something that stands in a street, and a number.
_ADDRESS: Final = re.compile(
    rf"(?![东南西北中]*[一二三四五六七八九十]*[路街巷]|大道|大街|[话菜]|人(?!民))[^,.。!!??:;、的在]{{2,14}}?{_STREET}"
    r"[^,.。!!??:;、的在]{0,8}?\d"
)
#: A district that nobody listed, with an address behind it; not 工业区, 小区, 东区, 老城区 and their like.
_UNLISTED: Final = re.compile(
    r"[一-鿿](?<![东南西北中新老旧大小各全本该])[^小社园业城市灾片景厂校住辖地发新术税湾心山林军战牧库务理开东南西北中一二三四五六七八九十百]区(?![别域分间])"
)


class Abroad:
    """Finds places elsewhere, as one gazetteer knows what is here."""

    def __init__(self, gazetteer: Gazetteer) -> None:
        """Take the names of district, city and province that are ours."""
        self._gazetteer = gazetteer
        self._ours = tuple(name for name in (gazetteer.district, *gazetteer.cities) if name)

    def find(self, written: str, hits: Hits) -> list[Span]:
        """Return where places elsewhere are named, and their names, in the order in which they are to be told."""
        found = hits.outside + [
            (one.start(), one.end(), one[0])
            for one in _FOREIGN.finditer(written)
            if not any(name in one[0] for name in self._ours)
        ]
        if hits.short:
            found += self._short(written, hits)
        if not found and "区" in written:
            found = self._unlisted(written, hits)
        return found

    def names_us(self, written: str, abroad: list[Span]) -> bool:
        """Return whether the district is named, or its city without another district of it."""
        district = self._gazetteer.district
        if district and district in written:
            return True
        heads = {start for start, _, _ in abroad}
        for name in self._gazetteer.cities:
            at = written.find(name)
            while at >= 0:
                if at + len(name) not in heads:
                    return True
                at = written.find(name, at + 1)
        return False

    def _short(self, written: str, hits: Hits) -> list[Span]:
        """Return the names without a rank behind which an address stands."""
        heads = {start: end for start, end, _ in hits.short + hits.outside}
        ends = set(heads.values())
        found = []
        for start, end, name in hits.short:
            before = written[start - 1] if start else ""
            # In the brackets of a shop's name stands where its other shops are.
            if before == "(" or not (start == 0 or start in ends or before in BEFORE or before in "省市县区"):
                continue
            is_city = name in self._gazetteer.short_cities
            after = end + (written[end : end + 1] == "省" or _RANK.match(written, end) is not None)
            if written.startswith(self._ours, after) or self._is_ours(hits, end, end + 6):
                continue
            told = after in heads and is_city and not _IN_PASSING.match(written, heads[after])
            if not told and (is_city or after > end or start in ends):
                told = bool(_PART.match(written, after) or _ADDRESS.match(written, after))
            if told:
                found.append((start, end, name))
        return found

    def _unlisted(self, written: str, hits: Hits) -> list[Span]:
        """Return districts that no list holds, told by the address behind them."""
        return [
            (one.start(), one.end(), one[0])
            for one in _UNLISTED.finditer(written)
            if (one.start() == 0 or written[one.start() - 1] in BEFORE)
            and _ADDRESS.match(written, one.end())
            and not self._is_ours(hits, one.start(), one.end())
        ]

    @staticmethod
    def _is_ours(hits: Hits, start: int, end: int) -> bool:
        """Return whether a town or community of ours is named within a stretch."""
        return any(first < end and start < last for first, last, _ in hits.areas)


def lies_there(clue: Clue, abroad: list[Span], written: str) -> bool:
    """Return whether a clue is said to lie elsewhere: a road of the next district may bear a name of ours."""
    return any(
        0 <= clue.start - end <= _LIES_THERE and not _NOT_A_NAME.search(written, end, clue.start)
        for _, end, _ in abroad
    )

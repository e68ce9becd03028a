"""How people write addresses: one spelling for text and gazetteer, numerals, house numbers, name endings.

Knows no place. Everything returned is meant for comparison, not for showing.
"""

import re
import unicodedata
from functools import cache
from importlib import resources

import cn2an

#: Longer texts are cut: the place of a matter is not named after ten thousand characters.
LONGEST = 10_000

#: Endings that make a word the name of a road.
ROAD_END = (
    r"(?:大道|公路|快速路|高速|辅路|环路|横路|路|大街|横街|正街|直街|街|横巷|巷|胡同|里弄|弄|道|坊|径|村道|乡道|国道|省道)"
    r"(?:[东南西北中](?:段|侧)?)?"
)
#: Endings that make a word the name of something that stays where it is.
PLACE_END = (
    "广场|花园|小区|公园|市场|商场|购物中心|大厦|中心|大楼|商城|新城|家园|豪庭|豪园|豪苑|花苑|名苑|名居|名邸|名都|名城|雅苑|雅居|雅园|"
    "山庄|别墅|公寓|宿舍|新村|村|社区|学校|小学|中学|幼儿园|大学|学院|校区|医院|卫生院|卫生站|诊所|工业园|工业区|产业园|科技园|"
    "园区|物流园|车站|客运站|地铁站|公交站|总站|码头|大桥|立交|祠堂|宗祠|公祠|庙|寺|教堂|图书馆|文化馆|博物馆|体育馆|体育中心|"
    "派出所|居委会|村委会|办事处|服务中心|政府|酒店|宾馆|酒家|商业街|美食街|步行街|五金城|轻纺城|湾|府|庭|苑|园|邸|城|轩|阁|居|座|天下|半岛|国际|花城"
)
#: Words before which a place name may begin, beside punctuation and the start.
BEFORE = frozenset(
    "在于是的到去从往向由至住和与跟及或、号路对经过近靠边旁离我们望求请指叫回来说有诉问看给见映报将把被因内外同述称反喺哋睇嚟落"
    ",.。!!??:;()【】[]“”\"'《》<>—-~…/\\"
)
#: Characters that may follow a place name without being part of it.
AFTER = frozenset(
    "的在有是被把里内外前后旁边门附对侧东南西北上下中口处段这那从到至往向和与跟及或、没不无一二三四五六七八九十几每经常都又也还已正就因为"
    "看听闻见收很太真会可能需要应该希望未总半整天夜早晚昨今明年月日请给同旧新大多处只就更越去来乱排施噪污漏停断积堵坏"
    "楼栋座期号路街巷地车出入周围近了存发业住居物开工嗰呢隔嘅啲侧斜正背跟至由同,.。!!??:;()【】[]“”\"'《》<>—-~…/\\0123456789"
)

#: Dropped wherever they stand: spaces, marks without width, the dots within names.
_DROPPED = " \t\r\f\v\u00a0\u3000\u200b\u200c\u200d\u200e\u200f\ufeff·•・‧"
_ROAD_DIGITS = re.compile(r"(\d{1,2})(?=(?:横|马)?[路街巷])")
_NUMERALS = "零一二三四五六七八九"
_CN = "零〇一二三四五六七八九十百两"
#: A house number: 23号, 二十三号, 23-25号, 23之1号, 23号之一; `a` is the number, `b` the end of a range.
HOUSE_NO = re.compile(
    rf"(?P<a>\d{{1,5}}|[{_CN}]{{1,6}})(?P<letter>[a-z甲乙丙丁])?(?:(?P<join>[-~—至到、/之])(?P<b>\d{{1,5}}|[{_CN}]{{1,6}})[a-z]?)?号(?!线|召|称|码)"
)
#: A number that follows a road without 号, unless it counts or measures something.
BARE_NO = re.compile(r"(\d{1,4})(?![\d.%米路年月日个元点多度人次名岁时天分层楼栋座公里平吨厘条号期kmKM-])")


@cache
def _letters() -> dict[int, str | None]:
    """Return the table from traditional to simplified characters (dictionary of OpenCC); it drops spaces too."""
    table: dict[int, str] = {}
    listed = resources.files("opencc").joinpath("dictionary", "TSCharacters.txt").read_text(encoding="utf-8")
    for line in listed.splitlines():
        old, _, new = line.partition("\t")
        first = new.split(" ")[0]
        if len(old) == 1 and len(first) == 1 and old not in new.split(" "):
            table[ord(old)] = first
    return {**table, **dict.fromkeys(map(ord, _DROPPED)), ord("\n"): "。"}


def normalise(text: str) -> str:
    """Return the one spelling in which texts and names are compared.

    NFKC, lower case, simplified characters, no spaces and middle dots, line breaks as full stops, road numbers in
    characters (广佛1路 becomes 广佛一路); at most `LONGEST` characters.
    """
    text = text[:LONGEST].strip()
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    text = text.translate(_letters()).lower()
    if not (text.isascii() or unicodedata.is_normalized("NFKC", text)):
        # What was dropped stood between a letter and its marks.
        text = unicodedata.normalize("NFKC", text)
    return _ROAD_DIGITS.sub(_road_number, text)


def _road_number(found: re.Match[str]) -> str:
    """Return the characters for a road's number; digits that no character precedes are left alone."""
    before = found.string[found.start() - 1 : found.start()]
    return _in_characters(int(found[1])) if "一" <= before <= "鿿" else found[0]


def _in_characters(number: int) -> str:
    """Return 1 to 99 in characters, as roads are numbered: 12 is 十二."""
    tens, ones = divmod(number, 10)
    if not tens:
        return _NUMERALS[ones]
    return ("" if tens == 1 else _NUMERALS[tens]) + "十" + (_NUMERALS[ones] if ones else "")


@cache
def to_number(written: str) -> int | None:
    """Return the number that digits or Chinese numerals stand for, 1 to 99999; None for anything else."""
    if written.isascii():
        number = int(written) if written.isdigit() else 0
    elif not set(written) & {"十", "百"}:
        number = int("".join(str(_NUMERALS.index(c)) for c in written.replace("〇", "零").replace("两", "二")))
    else:
        try:
            number = int(cn2an.cn2an(written.replace("〇", "零"), "smart"))
        except ValueError:
            return None
    return number if 0 < number < 100_000 else None


def house_number(written: str) -> int | None:
    """Return the whole number at the head of a house number as registers hold it: `23`, `23-1`, `23之1`, `23A`."""
    found = re.match(rf"\d{{1,5}}|[{_CN}]{{1,6}}", normalise(written))
    return to_number(found[0]) if found else None


_SECTION = re.compile(r"([东南西北中])(?=路$|街$)|(?<=路|街|道)[东南西北中](?:段|侧)?$")


def root_of_road(name: str) -> str:
    """Return a road's name without its section: 桂澜北路 and 桂澜路 have the same root, 里水大道北 and 里水大道 too."""
    return _SECTION.sub("", name) if len(name) > 3 else name

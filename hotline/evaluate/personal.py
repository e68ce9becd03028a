"""Invented texts with personal numbers in them, for measuring what `hotline.masking` finds; knows what it put where.

Every number is drawn by lot, with the check characters that real ones have. What stands beside them is drawn too:
dates, sums, areas, house numbers, file numbers, which have to stay.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from core.ids import check_character
from hotline.masking import is_card

_WIDE: Final = str.maketrans("0123456789X", "０１２３４５６７８９Ｘ")
_SPOKEN: Final = str.maketrans("0123456789", "零幺二三四五六七八九")
_READ: Final = str.maketrans("0123456789", "〇一二三四五六七八九")
_BEFORE: Final = (
    "我的电话是",
    "联系人张先生",
    "请回电：",
    "手机",
    "（联系方式",
    "本人",
    "打我",
    "留个号码，",
    "业主李女士 ",
)
_AFTER: Final = ("，谢谢", "。", "，请尽快处理", "（微信同号）", " 急", "，白天打", "")
_PLATES: Final = "京沪渝冀豫鲁苏浙粤桂川贵湘鄂"
_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ"
#: Sentences with numbers that belong to nobody.
_HARMLESS: Final = (
    "{y}年{m}月{d}日下午{h}点路灯坏了",
    "{y}-{m:02d}-{d:02d} {h}:{i}:15开始停水",
    "滨河路{n}号{b}栋{n2}房漏水",
    "合同金额{s}元，已付{n}元",
    "面积{n}.{d:02d}平方米，单价{n2}元",
    "文号：住建〔{y}〕{n}号",
    "工单编号{y}{m:02d}{d:02d}{n:05d}没人理",
    "共{n2}户居民，{y}年建成",
    "打过12345热线和{h}次110",
    "水费从{n}.5元涨到{n2}元，表号{n}",
    "{n}路公交车{h}:{i}还没来",
    "购房款{s}万元，利息{n}.{d:02d}",
    "距离{n}米，高度{h}.{i}米，坐标113.{n}，23.{n}",
    "国家标准GB/T {n}-{y}第{h}.{d}条",
    "QQ群里{n}人都在说，微信群也有{n2}人",
)


@dataclass(frozen=True, slots=True)
class Said:
    """A text and the personal numbers in it."""

    #: mobile, landline, identity, card, plate, account, mail; empty where nothing personal stands in it.
    kind: str
    #: How it is written: plain, spaced, wide, dashed, pieces, words.
    manner: str
    text: str
    #: (start, end) of what must be blotted.
    spans: tuple[tuple[int, int], ...]


def invented(count: int, *, seed: int = 5) -> Iterator[Said]:
    """Yield `count` texts of which a third holds nothing personal; the same seed gives the same texts."""
    rng = random.Random(seed)
    kinds = ("mobile", "landline", "identity", "card", "plate", "account", "mail")
    for i in range(count):
        if i % 3 == 0:
            yield Said("", "", "，".join(_harmless(rng) for _ in range(2)), ())
            continue
        kind = kinds[i % len(kinds)]
        before, pieces, manner = _written(kind, rng)
        head = f"{_harmless(rng)}，{before}" if rng.random() < 0.7 else before
        text, spans = head, []
        for piece in pieces:
            if piece.startswith("~"):
                text += piece[1:]
                continue
            spans.append((len(text), len(text) + len(piece)))
            text += piece
        yield Said(kind, manner, text + rng.choice(_AFTER), tuple(spans))


def _harmless(rng: random.Random) -> str:
    return rng.choice(_HARMLESS).format(
        y=rng.randint(2008, 2026),
        m=rng.randint(1, 12),
        d=rng.randint(1, 28),
        h=rng.randint(6, 22),
        i=rng.randint(10, 59),
        n=rng.randint(2, 9999),
        n2=rng.randint(2, 1800),
        s=rng.randint(10_000, 90_000_000),
        b=rng.randint(1, 40),
    )


def _digits(rng: random.Random, n: int) -> str:
    return "".join(rng.choices("0123456789", k=n))


def _number(kind: str, rng: random.Random) -> str:
    if kind == "mobile":
        return "1" + rng.choice("3456789") + _digits(rng, 9)
    if kind == "landline":
        return rng.choice(("0757", "020", "0755", "0731")) + "-" + rng.choice("2345678") + _digits(rng, 7)
    if kind == "identity":
        body = f"440605{rng.randint(1940, 2018)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}{_digits(rng, 3)}"
        return body + check_character(body)
    body = rng.choice(("622202", "621700", "622848", "6217")) + _digits(rng, 12)
    return next(body + digit for digit in "0123456789" if is_card(body + digit))


def _written(kind: str, rng: random.Random) -> tuple[str, tuple[str, ...], str]:
    """Return what stands before, the pieces of the number (a `~` before what is between them), and the manner."""
    before = rng.choice(_BEFORE)
    if kind == "plate":
        tail = "".join(rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", k=4)) + rng.choice("0123456789")
        dot = rng.choice(("", "·", " "))
        return "车牌" + rng.choice(("", "号")), (rng.choice(_PLATES) + rng.choice(_LETTERS) + dot + tail,), "plain"
    if kind == "account":
        word, number = rng.choice(
            (
                ("微信号", "wx_" + _digits(rng, 6)),
                ("加我微信：", "abc" + _digits(rng, 7)),
                ("QQ", _digits(rng, 9).replace("0", "5")),
                ("qq号：", "2" + _digits(rng, 8)),
                ("V信", "lao_li" + _digits(rng, 4)),
                ("微信", "1" + rng.choice("3578") + _digits(rng, 9)),
            )
        )
        return word, (number,), "plain"
    if kind == "mail":
        return "邮箱", (f"li{_digits(rng, 4)}@example.com",), "plain"
    number = _number(kind, rng)
    manner = rng.choice(("plain", "plain", "spaced", "wide", "dashed", "pieces", "words"))
    if kind == "mobile" and manner == "words":
        return before, (number.translate(rng.choice((_SPOKEN, _READ))),), manner
    if kind == "landline" and manner != "wide":
        return before, (number,), "plain"
    if manner == "spaced":
        return before, (" ".join(number[i : i + 4] for i in range(0, len(number), 4)),), manner
    if manner == "wide":
        return before, (number.translate(_WIDE),), manner
    if manner == "dashed":
        return before, ("-".join((number[:3], number[3:7], number[7:])),), manner
    if manner == "pieces" and kind == "identity":
        return "身份证前六位", (number[:6], "~，后面是", number[6:]), manner
    if manner == "pieces" and kind == "mobile":
        return "电话前面是", (number[:7], "~，后四位", number[7:]), manner
    if manner == "pieces" and kind == "card":
        return "卡号", (number[:8], "~，接着", number[8:]), manner
    return before, (number,), "plain"

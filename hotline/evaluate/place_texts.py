"""Questions to the geocoder with known answers: names of the given district put into messages of other people.

The messages are real and speak of another city whose names their publisher scrambled: joining them to names of this
district is synthetic, and every figure that rests on it says so. Knows wordings and slips; judges nothing.

Two halves that share neither a message, a place nor a wording: one for building, the other for the figure.
"""

import hashlib
import json
import math
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Final, Literal

from opencc import OpenCC
from pypinyin import lazy_pinyin

from hotline.evaluate import nanhai
from hotline.geocode.writing import normalise

Half = Literal["building", "figure"]
Row = dict[str, str]
LngLat = tuple[float, float]

#: Names that the messages' publisher scrambled; they give away that another city is meant.
SCRAMBLED: Final = re.compile(r"[A-Za-z]\d{0,2}[市区县州]|西地省")
#: The longest part of a message that a name is put into.
_LONGEST: Final = 500
#: Metres of a degree of latitude.
_DEGREE: Final = 111_320.0
_WAYS: Final = {"东": (1.0, 0.0), "南": (0.0, -1.0), "西": (-1.0, 0.0), "北": (0.0, 1.0)}

#: n is the name, t the town.
_NAMED: Final[dict[Half, tuple[str, ...]]] = {
    "building": (
        "{n}门口有人乱摆卖,影响通行",
        "请问{n}附近的路灯什么时候修",
        "{t}{n}旁边工地半夜施工很吵",
        "我想投诉{n}乱收费",
        "在{n}看到垃圾没人清理",
        "{n}",
        "我住在{t},每天经过{n}的时候都闻到臭味",
        "关于{t}{n}的问题",
        "地址:{t}{n}",
        "{n}那里又堵车了",
    ),
    "figure": (
        "{n}这边一直没人管",
        "事发地点在{t}{n}",
        "本人要反映{n}对外排放油烟的情况",
        "{t}的{n},污水都流到马路上了",
        "昨晚路过{n},发现井盖不见了",
        "{n}周边违停严重",
        "位于{t}{n}的施工围挡倒了",
        "希望相关部门到{n}现场看看",
        "{n}!!!噪音扰民",
        "从上个月起{n}每晚都有人烧垃圾",
        "我是{t}居民,{n}后面的绿化带被人占了种菜",
        "就是{n}那个路口的红绿灯坏了",
    ),
}
_CANTONESE: Final[dict[Half, tuple[str, ...]]] = {
    "building": ("喺{n}嗰度成日有人泊车", "{n}隔篱好嘈啊,瞓唔着", "{t}{n}门口啲垃圾冇人执"),
    "figure": ("{n}嗰边条路烂晒", "我哋{t}{n}呢度成日停水", "{n}对面有人摆档,行唔到路", "唔该睇下{n}后便嘅坑渠塞咗"),
}
#: a is a place that is not the matter's, b the place of the matter.
_TWO: Final[dict[Half, tuple[str, ...]]] = {
    "building": (
        "我住在{a},反映{b}夜里施工噪音很大",
        "本人家住{a},每天上班经过{b},那里的路面坑坑洼洼",
        "{b}的垃圾堆了一周,我已经向{a}反映过没人理",
        "我从{a}过来,在{b}被乱收停车费",
        "投诉{b}占道经营,我是{a}的业主",
        "之前打电话给{a}没有结果,{b}的路灯还是不亮",
    ),
    "figure": (
        "我是{a}的住户,想说一下{b}排污的问题",
        "{b}有人违章搭建,我们{a}的居民都看得到",
        "我在{a}上班,昨晚下班途中发现{b}的井盖丢了",
        "去{a}投诉过几次都推来推去,请处理{b}的油烟",
        "家在{a},孩子在{b}读书,{b}门口天天堵车",
        "坐车由{a}去{b},到{b}站时发现站牌倒了",
        "{b}水管爆了!本人现居{a}",
    ),
}
_OFFSET: Final[dict[Half, tuple[str, ...]]] = {
    "building": ("{n}往{w}{m}米处路面塌陷", "{n}{w}侧{m}米有人倒垃圾", "{n}以{w}约{m}米的地方积水"),
    "figure": (
        "{n}向{w}{m}米左右有个大坑",
        "{t}{n}{w}面{m}米处树倒了",
        "从{n}往{w}走{m}米,路灯全灭",
        "{n}{w}边大概{m}米",
    ),
}
_BETWEEN: Final[dict[Half, tuple[str, ...]]] = {
    "building": ("{a}和{b}之间的路段没有路灯", "在{a}与{b}中间有人烧垃圾"),
    "figure": ("{a}跟{b}之间积水很深", "{a}至{b}中间那段路坑洼", "{a}同{b}之间有人占道"),
}
_STRETCH: Final[dict[Half, tuple[str, ...]]] = {
    "building": ("{r}从{a}到{b}路段路灯不亮", "{r}({a}至{b}段)破损严重"),
    "figure": ("{r}由{a}至{b}这一段坑洼不平", "{r}{a}到{b}段长期违停", "从{a}到{b}的{r}路面开裂"),
}
_CROSSING: Final[dict[Half, tuple[str, ...]]] = {
    "building": ("{a}与{b}交叉口红绿灯坏了", "{a}和{b}路口积水", "{a}{b}交界处有人摆摊"),
    "figure": (
        "{a}跟{b}交汇处信号灯不亮",
        "{t}{a}、{b}十字路口经常堵车",
        "{a}/{b}路口有人乱停车",
        "{a}转{b}的路口被围挡",
    ),
}
_NEAR: Final[dict[Half, tuple[str, ...]]] = {
    "building": ("{n}对面有人烧烤", "{n}旁边的空地堆满垃圾", "{n}后门噪音大"),
    "figure": (
        "{n}斜对面违章搭建",
        "{n}隔壁的工厂排黑烟",
        "{n}正门的电线垂下来",
        "{n}附近流浪狗很多",
        "{n}背后的小巷很黑",
    ),
}
_ELSEWHERE: Final[dict[Half, tuple[str, ...]]] = {
    "building": ("{n}有人乱收费", "我在{n},请问怎么办", "地点在{n}"),
    "figure": ("反映{n}的噪音问题", "{n}这里路面坏了", "事情发生在{n}", "我住{n},楼上漏水"),
}
#: Sounds that are taken for each other on the telephone and in the south.
_FUZZY: Final = (
    ("zh", "z"),
    ("ch", "c"),
    ("sh", "s"),
    ("n", "l"),
    ("h", "f"),
    ("ang", "an"),
    ("eng", "en"),
    ("ing", "in"),
)
SLIPS: Final = ("same sound", "like sound", "wrong letter", "letter lost", "letter added", "letters swapped")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One text and what would be the right answer."""

    #: Keys of place and message, for the list of failures.
    id: str
    text: str
    status: Literal["located", "outside", "unlocatable"] = "located"
    #: What is tried, such as "offset".
    trait: str = ""
    #: WGS84; the place, for a stretch its first end.
    at: LngLat | None = None
    #: The other end of a stretch.
    end: LngLat | None = None
    #: The town's name, empty where unknown.
    town: str = ""
    #: What a clerk would type into a search box for it: the names alone, as misheard as in the text.
    typed: str = ""


def half_of(key: str) -> Half:
    """Return which half a message or place belongs to, by a hash of its id."""
    return "figure" if hashlib.sha256(key.encode()).digest()[0] & 1 else "building"


@dataclass(frozen=True, slots=True)
class Message:
    """A real message of another city, without the names that give it away."""

    id: str
    text: str


@cache
def messages(half: Half, *, cleaned: bool = True) -> list[Message]:
    """Return the messages of one half."""
    found = []
    for file in ("messages_hot", "messages_unlabelled", "messages_with_replies"):
        for row in nanhai.rows_of(f"complaints/{file}.csv"):
            key = f"{file[9:12]}{row['message_id']}"
            if half_of(key) == half:
                text = f"{row.get('title', '')}。{row['content']}"
                found.append(Message(key, SCRAMBLED.sub("", text) if cleaned else text))
    return found


class Asker:
    """Makes the questions of one half, always the same for the same half."""

    def __init__(self, half: Half) -> None:
        """Read places and messages."""
        self._half = half
        self._messages = messages(half)
        self._rows = nanhai.rows_of("nanhai/pois.csv")
        self.places = [row for row in self._rows if half_of(row["poi_id"]) == half and len(row["name"]) >= 2]

    @cached_property
    def unique(self) -> list[Row]:
        """Places of this half, named by four letters or more, whose name only one spot of the district has."""
        spots: dict[str, list[LngLat]] = defaultdict(list)
        for row in self._rows:
            spots[normalise(row["name"])].append(at_of(row))
        return [
            row
            for row in self.places
            if len(row["name"]) >= 4 and all(apart(at_of(row), other) <= 300 for other in spots[normalise(row["name"])])
        ]

    def named(self, count: int) -> Iterator[Question]:
        """Yield whole names as they come, chains and common names among them; half with their town."""
        yield from self._sentences("named", self.places, count, _NAMED[self._half], seed=1)

    def telling(self, count: int) -> Iterator[Question]:
        """Yield whole names that only one spot has."""
        yield from self._sentences("telling", self.unique, count, _NAMED[self._half], seed=2)

    def unregistered(self, count: int) -> Iterator[Question]:
        """Yield whole names of places that `missing` names: the gazetteer asked must not have them."""
        yield from self._sentences("unregistered", self.missing(count), count, _NAMED[self._half], seed=18)

    def missing(self, count: int) -> list[Row]:
        """Return places to leave out of a gazetteer, so that names it does not have can be asked for."""
        return self._sample(self.unique, count, random.Random(17))

    def traditional(self, count: int) -> Iterator[Question]:
        """Yield whole texts in traditional characters, as written in Hong Kong."""
        to_hk = OpenCC("s2hk")
        for one in self._sentences("traditional", self.unique, count, _NAMED[self._half], seed=3):
            yield replace(one, text=to_hk.convert(one.text), typed=to_hk.convert(one.typed))

    def cantonese(self, count: int) -> Iterator[Question]:
        """Yield names in Cantonese sentences."""
        yield from self._sentences("cantonese", self.unique, count, _CANTONESE[self._half], seed=4)

    def nearby(self, count: int) -> Iterator[Question]:
        """Yield names with a relation that keeps the place within sight: opposite, beside, the back door."""
        yield from self._sentences("beside", self.unique, count, _NEAR[self._half], seed=5)

    def damaged(self, count: int) -> Iterator[Question]:
        """Yield names with one slip; the trait is the kind of slip."""
        chance = random.Random(6)
        slips = Slips(self._rows)
        wordings = _NAMED[self._half]
        for serial, row in enumerate(self._sample(self.unique, count, chance)):
            kind = SLIPS[serial % len(SLIPS)]
            name = slips.make(row["name"], kind, chance)
            if name is not None:
                yield self._ask(f"damaged: {kind}", row, chance.choice(wordings), chance, n=name)

    def offsets(self, count: int) -> Iterator[Question]:
        """Yield names with a way and a distance; right is the point that far off."""
        chance = random.Random(7)
        for row in self._sample(self.unique, count, chance):
            way, metres = chance.choice(list(_WAYS)), chance.choice((100, 150, 200, 300, 400, 500))
            lng, lat = at_of(row)
            east, north = _WAYS[way]
            truth = (
                lng + east * metres / (_DEGREE * math.cos(math.radians(lat))),
                lat + north * metres / _DEGREE,
            )
            yield self._ask(
                "offset", row, chance.choice(_OFFSET[self._half]), chance, n=row["name"], w=way, m=str(metres), at=truth
            )

    def between(self, count: int) -> Iterator[Question]:
        """Yield two places 200 to 900 m apart; right is the middle."""
        chance = random.Random(8)
        for row, other in self._pairs(count, chance, least=200, most=900):
            (x, y), (x2, y2) = at_of(row), at_of(other)
            wording = chance.choice(_BETWEEN[self._half])
            middle = ((x + x2) / 2, (y + y2) / 2)
            yield self._ask("between", row, wording, chance, a=row["name"], b=other["name"], at=middle)

    def two_places(self, count: int) -> Iterator[Question]:
        """Yield texts with a second place, 2 km off or more: a home, an office, where somebody came from."""
        chance = random.Random(9)
        for row, other in self._pairs(count, chance, least=2000, most=30_000):
            wording = chance.choice(_TWO[self._half])
            yield self._ask("two places", other, wording, chance, a=row["name"], b=other["name"])

    def stretches(self, count: int) -> Iterator[Question]:
        """Yield stretches of a road between two places that stand on it, 300 to 2500 m apart."""
        chance = random.Random(10)
        on_road: dict[str, list[Row]] = defaultdict(list)
        for row in self.unique:
            found = re.match(r"(?:.{2,3}[街镇]道?)?([一-鿿]{2,5}(?:大道|[路街]))(?:\d+号)", row["address"])
            if found:
                on_road[found[1]].append(row)
        ends = [
            (road, one, two)
            for road, rows in sorted(on_road.items())
            for one in rows[:30]
            for two in rows[:30]
            if 300 <= apart(at_of(one), at_of(two)) <= 2500
        ]
        for road, one, two in chance.sample(ends, min(count, len(ends))):
            wording = chance.choice(_STRETCH[self._half])
            yield self._ask("stretch", one, wording, chance, r=road, a=one["name"], b=two["name"], end=at_of(two))

    def crossings(self, pairs: Sequence[tuple[str, str, Row, LngLat]]) -> Iterator[Question]:
        """Yield junctions of two roads, given with a row of theirs and the point."""
        chance = random.Random(12)
        for one, two, row, at in pairs:
            yield self._ask("junction", row, chance.choice(_CROSSING[self._half]), chance, a=one, b=two, at=at)

    def elsewhere(self, count: int) -> Iterator[Question]:
        """Yield addresses of other cities, from the labelled ones of the country, put into messages."""
        chance = random.Random(13)
        found = []
        with (nanhai.DATA / "address_parsing" / "dev.jsonl").open(encoding="utf-8") as lines:
            for serial, line in enumerate(lines):
                told = json.loads(line)
                text, kinds = told["text"], {span["label"] for span in told["spans"]}
                if kinds & {"city", "district"} and not re.search("佛山|南海", text) and half_of(text) == self._half:
                    found.append((f"dev.jsonl:{serial}", text))
        for key, text in chance.sample(found, min(count, len(found))):
            message = chance.choice(self._messages)
            wording = chance.choice(_ELSEWHERE[self._half]).format(n=text)
            yield Question(
                id=f"{key}@{message.id}",
                text=_put(wording, message.text, chance),
                status="outside",
                trait="address elsewhere",
                typed=text,
            )

    def next_door(self, count: int) -> Iterator[Question]:
        """Yield roads of this district said to be in another district of the city or province."""
        chance = random.Random(14)
        others = [
            row["name"]
            for row in nanhai.rows_of("divisions/areas.csv")
            if row["provinceCode"] == "44" and row["name"].endswith(("区", "市")) and row["name"] != "南海区"
        ]
        roads = sorted({row["road"] for row in nanhai.rows_of("nanhai/addresses.csv") if 3 <= len(row["road"]) <= 5})
        for serial in range(count):
            message = chance.choice(self._messages)
            name = f"{chance.choice(('', '佛山市')) if serial % 2 else ''}{chance.choice(others)}"
            place = f"{name}{chance.choice(roads)}{chance.randrange(1, 200)}号"
            wording = chance.choice(_ELSEWHERE[self._half]).format(n=place)
            yield Question(
                id=f"next:{serial}@{message.id}",
                text=_put(wording, message.text, chance),
                status="outside",
                trait="next door",
            )

    def as_they_are(self, count: int) -> Iterator[Question]:
        """Yield messages of the other city with its scrambled names."""
        for message in random.Random(15).sample(messages(self._half, cleaned=False), count):
            if SCRAMBLED.search(message.text):
                yield Question(id=message.id, text=message.text, status="outside", trait="other city")

    def nowhere(self, count: int) -> Iterator[Question]:
        """Yield messages of the other city without its names: nothing of this district is in them."""
        for message in random.Random(16).sample(self._messages, count):
            yield Question(id=message.id, text=message.text, status="unlocatable", trait="no place")

    def _sentences(
        self, trait: str, rows: Sequence[Row], count: int, wordings: Sequence[str], *, seed: int
    ) -> Iterator[Question]:
        chance = random.Random(seed)
        for row in self._sample(rows, count, chance):
            yield self._ask(trait, row, chance.choice(wordings), chance, n=row["name"])

    @staticmethod
    def _sample(rows: Sequence[Row], count: int, chance: random.Random) -> list[Row]:
        return chance.sample(rows, min(count, len(rows)))

    def _pairs(self, count: int, chance: random.Random, *, least: float, most: float) -> Iterator[tuple[Row, Row]]:
        made = 0
        for row in self._sample(self.unique, len(self.unique), chance):
            for other in self._sample(self.unique, 60, chance):
                if least <= apart(at_of(row), at_of(other)) <= most and other["name"][:3] != row["name"][:3]:
                    yield row, other
                    made += 1
                    break
            if made == count:
                return

    def _ask(
        self,
        trait: str,
        row: Row,
        wording: str,
        chance: random.Random,
        *,
        at: LngLat | None = None,
        end: LngLat | None = None,
        **words: str,
    ) -> Question:
        message = chance.choice(self._messages)
        said = wording.format(t=row["town_by_polygon"], **words)
        return Question(
            id=f"{row['poi_id']}@{message.id}",
            text=_put(said, message.text, chance),
            trait=trait,
            at=at or at_of(row),
            end=end,
            town=row["town_by_polygon"],
            typed=words.get("n") or " ".join(words[name] for name in "rab" if name in words),
        )


class Slips:
    """Writes names wrongly in one letter, the ways that people and telephones do."""

    def __init__(self, rows: Sequence[Row]) -> None:
        """Take the letters of the district's own names, so that a slip is not told by a strange letter."""
        self._letters = sorted({letter for row in rows for letter in row["name"] if "一" <= letter <= "鿿"})
        self._alike: dict[str, list[str]] = defaultdict(list)
        for letter in self._letters:
            self._alike[lazy_pinyin(letter)[0]].append(letter)

    def make(self, name: str, kind: str, chance: random.Random) -> str | None:
        """Return the name with one slip of a kind; None where the name has no letter for it."""
        places = [at for at, letter in enumerate(name) if "一" <= letter <= "鿿"]
        chance.shuffle(places)
        for at in places:
            slip = self._slip(name, at, kind, chance)
            if slip is not None and slip != name:
                return slip
        return None

    def _slip(self, name: str, at: int, kind: str, chance: random.Random) -> str | None:
        head, letter, tail = name[:at], name[at], name[at + 1 :]
        if kind in ("same sound", "like sound"):
            sound = lazy_pinyin(letter)[0]
            heard = [sound] if kind == "same sound" else _like(sound)
            others = [other for one in heard for other in self._alike.get(one, ()) if other != letter]
            return head + chance.choice(others) + tail if others else None
        if kind == "wrong letter":
            return head + chance.choice(self._letters) + tail
        if kind == "letter lost":
            return head + tail
        if kind == "letter added":
            return head + chance.choice(self._letters) + letter + tail
        return head + tail[0] + letter + tail[1:] if tail and tail[0] != letter and "一" <= tail[0] <= "鿿" else None


def _like(sound: str) -> list[str]:
    """Return sounds that one sound is taken for."""
    found = []
    for one, two in _FUZZY:
        for here, there in ((one, two), (two, one)):
            if here[0] in "aei":
                if sound.endswith(here):
                    found.append(sound.removesuffix(here) + there)
            elif sound.startswith(here):
                found.append(there + sound.removeprefix(here))
    return found


def at_of(row: Row) -> LngLat:
    """Return where a row of the given district is, WGS84."""
    return float(row["lng_wgs84"]), float(row["lat_wgs84"])


def apart(one: LngLat, two: LngLat) -> float:
    """Return metres between two points of the district, on a plane."""
    (x, y), (x2, y2) = one, two
    return math.hypot((x - x2) * math.cos(math.radians(y)), y - y2) * _DEGREE


def _put(said: str, message: str, chance: random.Random) -> str:
    """Return a message with a sentence put in at its start, end, or between two of its sentences."""
    parts = re.split(r"(?<=[。!?!?;])", message[:_LONGEST])
    at = chance.randrange(len(parts) + 1)
    before = "".join(parts[:at])
    if before and before[-1] not in "。!?!?;,,":
        before += "。"
    return f"{before}{said}。{''.join(parts[at:])}"

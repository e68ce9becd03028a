"""Invented residents and what three departments would have written down of them, with known truth; same for a seed.

Everybody here is invented and cannot be taken for a person: identity numbers bear the area code 990101, which the
standard leaves free, and telephone numbers begin with 100, which no mobile network gives out. The lists carry the
damage that lists have: typing mistakes, homophones, traditional characters, people who moved, numbers that are missing
or wrong, the same person twice. Twins, common names and sons named as their fathers are there, too.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cache
from typing import Final

import opencc
from pypinyin import lazy_pinyin
from sqlalchemy.orm import Session

from core.db import actor_of, rows
from core.ids import check_character
from grid.fiction import CODE, Fiction
from grid.registers.templates import SHEETS

#: Surnames with how many of a thousand bear them, roughly as in China.
_SURNAMES: Final = (
    "王72李71张67刘54陈51杨31赵23黄22周20吴20徐17孙15胡13朱13高12林12何12郭11马11罗10梁10宋9郑9谢8韩8唐7冯7于7董7萧6"
    "程6曹6袁6邓6许6傅5沈5曾5彭5吕5苏5卢5蒋5蔡5贾4丁4魏4薛4叶4阎4余4潘4杜4戴4夏4钟4汪4田4任4姜4范4方4石4姚4谭4廖4邹4熊4"
    "金4陆4郝4孔4白4崔4康4毛4邱4秦4江4史3顾3侯3邵3孟3龙3万3段3雷3钱3汤3尹3黎3易3常3武3乔3贺3赖3龚3文3欧阳2司徒1上官1"
)
#: Characters of given names; the first are borne most often.
_MEN: Final = (
    "伟强军杰涛明超勇刚平辉鹏华飞波斌宇浩俊峰建国志文永海林龙庆春生东阳晨"
    "旭凯健亮鑫博思远子轩泽豪家成福祥贵荣昌德仁义光宗耀祖"
)
_WOMEN: Final = (
    "芳娜秀英敏静丽艳娟霞燕玲桂兰梅红琴云莲洁颖婷雪慧莹琳晶倩蕾薇佳怡欣悦诗涵雨彤梓萱思琪美凤珍淑贞惠香月菊翠玉珠瑶璐"
)
#: Names that thousands bear.
_COMMON: Final = ("张伟", "王伟", "王芳", "李伟", "李娜", "张敏", "李静", "王静", "刘伟", "王秀英", "张丽", "李秀英")
#: Characters that people take for one another when they type by shape.
_ALIKE_PAIRS: Final = (
    "己已末未晴睛娜挪莹荧洁浩杰木建健俊峻峰锋浩皓晨辰梓辛轩幵婷停琳林倩清燕焱思恩敏繁静净伟韦"
    "强弘军车明朋勇恿刚冈辉晖鹏朋波坡斌赋玲铃桂柱红江颖颍慧彗佳隹欣掀诗待雨两彤彬"
)
_ALIKE: Final = {
    left: right
    for pair in zip(_ALIKE_PAIRS[::2], _ALIKE_PAIRS[1::2], strict=True)
    for left, right in (pair, pair[::-1])
}
#: Years old in the middle of the invented present.
_TODAY: Final = date(2026, 11, 1)

#: Kind of damage → how many of a thousand rows bear it, for setting thresholds.
SETTING: Final = {
    "typo": 25,
    "homophone": 25,
    "traditional": 20,
    "moved": 80,
    "married_name": 4,
    "id_missing": 160,
    "id_digit": 20,
    "birth_digit": 15,
    "phone_other": 120,
    "phone_missing": 150,
    "address_short": 120,
}
#: Another mixture, with kinds that the first has not, for measuring.
KEEPING: Final = {
    "typo": 35,
    "homophone": 30,
    "traditional": 30,
    "moved": 110,
    "married_name": 6,
    "id_missing": 220,
    "id_digit": 25,
    "id_swapped": 10,
    "birth_digit": 15,
    "birth_day_month": 10,
    "phone_other": 150,
    "phone_missing": 200,
    "address_short": 160,
    "two_characters_swapped": 6,
    "sex_wrong": 8,
}


@dataclass(frozen=True, slots=True)
class Department:
    """One department that keeps a list."""

    #: Key of the source.
    key: str
    name: str
    #: Share of all residents that it knows, and of the old ones.
    knows: float
    knows_old: float
    #: Share of its rows that stand there twice.
    twice: float


#: Public security, civil affairs, health with family planning.
DEPARTMENTS: Final = (
    Department("police", "公安", 0.96, 0.98, 0.01),
    Department("civil_affairs", "民政", 0.42, 0.95, 0.02),
    Department("health", "卫健", 0.86, 0.92, 0.02),
)


@dataclass(frozen=True, slots=True)
class Home:
    """A room: where it is and how it is written."""

    road: str
    number: int
    estate: str
    building: int
    unit: int
    room: int
    lng: float
    lat: float

    @property
    def written(self) -> str:
        """Return the address in full."""
        return f"{self.road}{self.number}号{self.estate}{self.building}栋{self.unit}单元{self.room}室"

    def short(self, way: int) -> str:
        """Return the address as people shorten it, in one of four ways."""
        b, u, r = self.building, self.unit, self.room
        return (
            f"{self.estate}{b}-{u}-{r}",
            f"{self.estate}{b}幢{u}单元{r}",
            f"{self.road}{self.number}号{b}座{u}梯{r}房",
            f"{self.estate}{b}号楼{u}单元{r}室",
        )[way % 4]


@dataclass(frozen=True, slots=True)
class Resident:
    """An invented person as they truly are."""

    number: int
    name: str
    sex: str
    birth: date
    id_number: str
    phone: str
    home: Home
    moved_from: Home
    #: Surname of the husband, empty for none.
    husband: str = ""
    #: twin, namesake (son named as his father), common, or empty.
    trait: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a department's list, and whom it truly means."""

    person: int
    name: str
    sex: str
    id_number: str
    birth: str
    phone: str
    address: str
    #: Kinds of damage; empty for none.
    damage: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Invented:
    """The residents, and each department's list in its own order."""

    residents: list[Resident]
    lists: dict[str, list[Line]] = field(default_factory=dict)


def homes(ground: Fiction) -> list[Home]:
    """Return every room of the fictional district's estates."""
    places, doors = ground.places, ground.doors
    found = []
    taken: set[int] = set()
    for at in range(len(places.name)):
        door = int(places.door[at])
        if door in taken:
            continue
        if places.buildings[at]:
            # Two estates behind one door could not be told apart by it.
            taken.add(door)
        road, number = ground.roads[int(doors.road[door])], int(doors.number[door])
        lng, lat = places.lng_lat[at].tolist()
        for building in range(1, int(places.buildings[at]) + 1):
            # Buildings stand some forty metres apart behind the entrance.
            row, column = divmod(building - 1, 4)
            spot = (round(lng + column * 0.0004, 7), round(lat - row * 0.0003, 7))
            found += [
                Home(road, number, places.name[at], building, unit, floor * 100 + flat, *spot)
                for unit in (1, 2)
                for floor in range(1, 7)
                for flat in (1, 2)
            ]
    return found


def homes_of(session: Session) -> list[Home]:
    """Return rooms of the estates of a loaded district, three buildings of each. Reads."""
    found = rows(
        session,
        "SELECT name, address, source_lng AS lng, source_lat AS lat FROM place"
        " WHERE district_code = :d AND type_path LIKE :path AND address <> '' ORDER BY key",
        d=actor_of(session).district,
        path="%住宅小区%",
    )
    taken: set[str] = set()
    made = []
    for one in found:
        led = re.fullmatch(r"(\D+)(\d+)号", one["address"])
        if led is None or one["address"] in taken or one["name"] in taken:
            continue
        taken |= {one["address"], one["name"]}
        made += [
            Home(led[1], int(led[2]), one["name"], building, unit, floor * 100 + flat, one["lng"], one["lat"])
            for building in (1, 2, 3)
            for unit in (1, 2)
            for floor in range(1, 7)
            for flat in (1, 2)
        ]
    return made


def invent(rooms: Sequence[Home], *, people: int, seed: int, damage: dict[str, int] | None = None) -> Invented:
    """Return so many residents in households in the given rooms, and the three departments' lists of them.

    damage: kind → rows in a thousand, SETTING by default. About ten seconds for 100,000.
    """
    chance = random.Random(f"residents/{seed}")  # noqa: S311  invented people, not secrets
    residents = _residents(list(rooms), people, chance)
    made = Invented(residents)
    kinds = SETTING if damage is None else damage
    for department in DEPARTMENTS:
        lines = []
        for one in residents:
            old = (_TODAY - one.birth).days > 60 * 365
            if chance.random() >= (department.knows_old if old else department.knows):
                continue
            lines.append(_line(one, kinds, chance))
            if chance.random() < department.twice:
                lines.append(_line(one, kinds, chance))
        chance.shuffle(lines)
        made.lists[department.key] = lines
    return made


def _residents(rooms: list[Home], people: int, chance: random.Random) -> list[Resident]:
    used: set[str] = set()
    found: list[Resident] = []
    if len(rooms) * 2 < people:
        rooms = rooms * (people * 2 // len(rooms) + 1)
    chance.shuffle(rooms)
    at = 0
    while len(found) < people:
        home, former = rooms[at % len(rooms)], rooms[(at * 7 + 3) % len(rooms)]
        at += 1
        found += _family(len(found), home, former, used, chance)
    return found[:people]


def _family(first: int, home: Home, former: Home, used: set[str], chance: random.Random) -> list[Resident]:
    """Return the people of one room: husband, wife, and children who bear his family name."""
    surnames, weights = _surnames()
    family, other = chance.choices(surnames, weights, k=2)
    size = chance.choices((1, 2, 3, 4, 5), (18, 26, 30, 18, 8))[0]
    head = _day(chance, 24, 80)
    phones = [f"100{chance.randrange(10**8):08d}" for _ in range(size)]
    household: list[tuple[str, str, date]] = [(family, chance.choice("男女") if size == 1 else "男", head)]
    if size > 1:
        household.append((other, "女", _near(chance, head)))
    while len(household) < size:
        born = head + timedelta(days=chance.randrange(22 * 365, 34 * 365))
        if born > _TODAY:
            born = _TODAY - timedelta(days=chance.randrange(1, 6 * 365))
        household.append((family, chance.choice("男女"), born))
    traits = [""] * size
    if size >= 4 and chance.random() < 0.06:
        # Twins are born on one day and live in one room.
        household[3] = (family, household[3][1], household[2][2])
        traits[2] = traits[3] = "twin"
    names = [_given(name, sex, chance) for name, sex, _ in household]
    if size >= 3 and household[2][1] == "男" and chance.random() < 0.012:
        names[2] = names[0]
        traits[0] = traits[2] = "namesake"
    return [
        Resident(
            number=first + place,
            name=names[place],
            sex=sex,
            birth=born,
            id_number=_identity(born, sex, used, chance, twin=traits[place] == "twin"),
            # Children are reached by their father's telephone.
            phone=phones[0] if (_TODAY - born).days < 14 * 365 else phones[place],
            home=home,
            moved_from=former,
            husband=family if place == 1 else "",
            trait=traits[place] or ("common" if names[place] in _COMMON else ""),
        )
        for place, (_, sex, born) in enumerate(household)
    ]


def _line(one: Resident, kinds: dict[str, int], chance: random.Random) -> Line:
    """Return one row about a resident with the damage that chance deals out."""
    struck = tuple(kind for kind, share in kinds.items() if chance.random() * 1000 < share)
    struck = tuple(kind for kind in struck if kind != "married_name" or one.husband)
    name, home = one.name, one.moved_from if "moved" in struck else one.home
    id_number, birth, phone, sex = one.id_number, one.birth, one.phone, one.sex
    if "typo" in struck:
        name = _mistyped(name, chance)
    if "homophone" in struck:
        name = _same_sound(name, chance)
    if "two_characters_swapped" in struck and len(name) > 2:
        name = name[:-2] + name[-1] + name[-2]
    if "traditional" in struck:
        name = _traditional().convert(name)
    if "married_name" in struck:
        name = one.husband + name
    if "id_digit" in struck:
        id_number = _wrong_digit(id_number, chance)
    if "id_swapped" in struck:
        at = chance.randrange(8, 16)
        id_number = id_number[:at] + id_number[at + 1] + id_number[at] + id_number[at + 2 :]
    if "id_missing" in struck:
        id_number = ""
    if "birth_digit" in struck:
        birth = birth + timedelta(days=chance.choice((-10, -1, 1, 10)))
    if "birth_day_month" in struck and birth.day <= 12:
        birth = date(birth.year, birth.day, birth.month)
    if "phone_other" in struck:
        phone = f"100{chance.randrange(10**8):08d}"
    if "phone_missing" in struck:
        phone = ""
    if "sex_wrong" in struck:
        sex = "女" if sex == "男" else "男"
    written = home.short(chance.randrange(4)) if "address_short" in struck else home.written
    return Line(one.number, name, sex, id_number, birth.isoformat(), phone, written, struck)


def room_rows(rooms: Sequence[Home]) -> list[tuple[str, ...]]:
    """Return rows of the list of buildings and rooms, in the order of its columns."""
    order = [one.name for one in SHEETS["rooms"].columns]
    made = []
    for one in rooms:
        row = {
            "estate": one.estate,
            "building": f"{one.building}栋",
            "address": f"{one.road}{one.number}号",
            "kind": "住宅楼",
            "floors": "6",
            "entrance": str(one.unit),
            "number": str(one.room),
            "floor": str(one.room // 100),
            "use": "自住",
            "lng": str(one.lng),
            "lat": str(one.lat),
        }
        made.append(tuple(row.get(name, "") for name in order))
    return made


def resident_rows(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    """Return rows of the list of residents, in the order of its columns."""
    order = [one.name for one in SHEETS["residents"].columns]
    names = {"birth_date": "birth", "place": "address"}
    known = set(Line.__slots__)
    return [
        tuple(getattr(one, names.get(name, name)) if names.get(name, name) in known else "" for name in order)
        for one in lines
    ]


def later(lines: Sequence[Line], *, seed: int) -> list[Line]:
    """Return a department's list a month later: one in fifty has another telephone, one in a hundred is gone."""
    chance = random.Random(f"later/{seed}")  # noqa: S311
    kept = [line for line in lines if chance.random() > 0.01]
    return [
        replace(line, phone=f"100{chance.randrange(10**8):08d}") if chance.random() < 0.02 else line for line in kept
    ]


@cache
def _surnames() -> tuple[list[str], list[int]]:
    names, weights, name, digits = [], [], "", ""
    for sign in f"{_SURNAMES}|":
        if sign.isdigit():
            digits += sign
            continue
        if digits:
            names.append(name)
            weights.append(int(digits))
            name = digits = ""
        name += sign
    return names, weights


def _given(family: str, sex: str, chance: random.Random) -> str:
    if chance.random() < 0.012:
        return chance.choice(_COMMON)
    pool = _MEN if sex == "男" else _WOMEN
    # The front of the pool is met more often than the end.
    signs = [pool[int(chance.random() ** 1.6 * len(pool))] for _ in range(1 if chance.random() < 0.2 else 2)]
    return family + "".join(signs)


def _day(chance: random.Random, youngest: int, oldest: int) -> date:
    return _TODAY - timedelta(days=chance.randrange(youngest * 365, oldest * 365))


def _near(chance: random.Random, other: date) -> date:
    return min(other + timedelta(days=chance.randrange(-6 * 365, 6 * 365)), _TODAY - timedelta(days=22 * 365))


def _identity(born: date, sex: str, used: set[str], chance: random.Random, *, twin: bool) -> str:
    """Return an identity number that no other has; of twins the running numbers follow each other."""
    stem = f"{CODE}{born:%Y%m%d}"
    running = chance.randrange(1, 500) * 2 - (sex == "男")
    while f"{stem}{running:03d}" in used:
        running = (running + (2 if twin else 2 * chance.randrange(1, 200))) % 1000
    used.add(f"{stem}{running:03d}")
    return f"{stem}{running:03d}{check_character(f'{stem}{running:03d}')}"


def _wrong_digit(number: str, chance: random.Random) -> str:
    at = chance.randrange(6, 17)
    return number[:at] + str((int(number[at]) + chance.randrange(1, 10)) % 10) + number[at + 1 :]


def _mistyped(name: str, chance: random.Random) -> str:
    at = chance.randrange(1, len(name))
    other = _ALIKE.get(name[at]) or chance.choice(_MEN + _WOMEN)
    return name[:at] + other + name[at + 1 :]


def _same_sound(name: str, chance: random.Random) -> str:
    at = chance.randrange(len(name))
    others = [sign for sign in _by_sound().get(lazy_pinyin(name[at])[0], "") if sign != name[at]]
    return name[:at] + chance.choice(others) + name[at + 1 :] if others else name


@cache
def _by_sound() -> dict[str, str]:
    found: dict[str, str] = {}
    extra = (
        "章彰玮纬炜芬方房那娜李理丽莉力敬净镜晶精景蒋姜江将谢解协洁捷杰婕建剑健军君均钧俊"
        "骏名铭鸣宏洪鸿红虹英莹颖影映涛韬滔"
    )
    for sign in dict.fromkeys(_MEN + _WOMEN + extra):
        sound = lazy_pinyin(sign)[0]
        found[sound] = found.get(sound, "") + sign
    return found


@cache
def _traditional() -> opencc.OpenCC:
    return opencc.OpenCC("s2t")

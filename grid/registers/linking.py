"""The same person in many lists 一人多表: which rows mean one resident, by the identity number or by all the rest.

Fellegi and Sunter's model (JASA 64, 1969): every field of a pair agrees on a level, each level weighs the logarithm of
how much more often it occurs among pairs of one person (m) than among strangers (u). u is counted on random pairs, m
by expectation and maximisation over the pairs that blocking lets meet. Works on arrays; knows no table and no time.

Names are compared as simplified characters, then as pinyin, then by one wrong character; addresses by room, building
and estate. Three rules stand above the weights, because families break the model's assumption that fields err alone:
two right and different identity numbers are two people; so are two birthdays years apart without a common number
(a son bears his father's name); and of two different names with one birthday in one room a person decides (twins).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import numpy as np
import opencc
from numpy.typing import NDArray
from pypinyin import lazy_pinyin
from rapidfuzz import process
from rapidfuzz.distance import OSA

from core import documents
from grid.registers.addresses import parts

#: Bits of evidence from which two rows are one person without being asked, and from which a person is asked. Set on
#: the setting half of invented lists (docs/decisions/0320); `wangge evaluate linkage` reports on the kept half.
MATCH: Final = 6.0
POSSIBLE: Final = 0.0
#: Pairs in one block; a larger one (a telephone of an office) tells nobody apart and is left to the other keys.
_LARGEST_BLOCK: Final = 60
#: Pairs that m is estimated on; below it the weights of the invented lists are used.
_ENOUGH: Final = 2_000
_RANDOM_PAIRS: Final = 400_000

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Levels = NDArray[np.int8]

#: Field → its levels from agreement to disagreement; -1 stands for a value that is missing and weighs nothing.
LEVELS: Final[Mapping[str, tuple[str, ...]]] = {
    "id_number": ("equal", "one slip", "different"),
    "name": ("equal", "same sound", "one character", "different"),
    "birth": ("equal", "close", "different"),
    "sex": ("equal", "different"),
    "phone": ("equal", "different"),
    "address": ("room", "building", "estate", "different"),
}
#: m as estimated on the setting half of the invented lists: used where a list is too short to estimate it anew.
USUAL_M: Final[Mapping[str, tuple[float, ...]]] = {
    "id_number": (0.96, 0.035, 0.005),
    "name": (0.915, 0.06, 0.02, 0.005),
    "birth": (0.985, 0.01, 0.005),
    "sex": (0.995, 0.005),
    "phone": (0.76, 0.24),
    "address": (0.85, 0.005, 0.005, 0.14),
}
#: u as counted there, as long as there are no rows to count on.
USUAL_U: Final[Mapping[str, tuple[float, ...]]] = {
    "id_number": (1e-6, 1e-6, 1.0),
    "name": (2e-4, 1e-4, 2e-2, 0.98),
    "birth": (4e-5, 4e-4, 1.0),
    "sex": (0.5, 0.5),
    "phone": (2e-6, 1.0),
    "address": (3e-5, 1e-3, 5e-3, 0.994),
}


@dataclass(frozen=True, slots=True)
class People:
    """Rows about people, as texts: parallel lists `(n,)`, an empty text where the row does not say."""

    name: Sequence[str]
    #: m or f.
    sex: Sequence[str]
    #: 18 signs, whether the check character is right or not.
    id_number: Sequence[str]
    #: ISO date.
    birth: Sequence[str]
    phone: Sequence[str]
    address: Sequence[str]

    def __len__(self) -> int:
        return len(self.name)

    def __add__(self, other: "People") -> "People":
        return People(*([*getattr(self, one), *getattr(other, one)] for one in self.__slots__))


@dataclass(frozen=True, slots=True)
class Weights:
    """Bits of evidence of every level of every field, and the m and u that they come from."""

    bits: Mapping[str, tuple[float, ...]]
    m: Mapping[str, tuple[float, ...]]
    u: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of rows that met in a block, with their levels and evidence: parallel arrays `(n,)`, left < right."""

    left: Ints
    right: Ints
    levels: Mapping[str, Levels]
    bits: Floats
    #: Evidence is enough and no rule speaks against it.
    sure: NDArray[np.bool_]
    #: Worth showing to a person.
    possible: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Links:
    """Who each given row is."""

    #: `(n given,)` index of the known owner, or -1.
    owner: Ints
    #: `(n given,)` rows of one new person share a number; -1 where the owner is known.
    group: Ints
    #: What a person must look at: given row, the other row (given or known; counts given after known), bits.
    doubts: list[tuple[int, int, float]]
    weights: Weights
    pairs: int
    #: Rows of blocks that were too large to compare, by key.
    skipped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Coded:
    """Rows as numbers, so that pairs compare without texts: equal codes are equal texts, -1 is none."""

    people: People
    names: list[str]
    sounds: list[str]
    name: Ints
    sound: Ints
    family: Ints
    given: Ints
    id_number: Ints
    id_right: NDArray[np.bool_]
    birth: Ints
    #: `(n,)` year, month, day.
    ymd: tuple[Ints, Ints, Ints]
    sex: Ints
    phone: Ints
    door: Ints
    place: Ints
    building: Ints
    #: Building, unit and room together.
    room: Ints
    often: Floats


def link(
    known: People,
    owner: Sequence[int],
    given: People,
    *,
    match: float = MATCH,
    possible: float = POSSIBLE,
    weights: Weights | None = None,
) -> Links:
    """Return which known person each given row is, which given rows are one new person, and what is in doubt.

    known: rows of people in the register, several of one person allowed; owner: `(n known,)` the person of each.
    weights: estimated from the rows themselves when None. Equal rows give equal answers.
    """
    coded = _coded(known + given)
    first = len(known)
    left, right, skipped = _blocks(coded, first)
    levels = _levels(coded, left, right)
    weights = weights or fit(coded, levels)
    pairs = _scored(coded, left, right, levels, weights, match=match, possible=possible)
    owners, groups, doubts = _clusters(coded, pairs, first, np.asarray(owner, np.int64))
    return Links(owners, groups, doubts, weights, len(left), skipped)


def why(
    left: Mapping[str, str], right: Mapping[str, str], weights: Weights | None = None
) -> dict[str, tuple[str, float]]:
    """Return for two rows, field by field, on which level they agree and how many bits that weighs."""
    rows = [People(*([one.get(name, "")] for name in People.__slots__)) for one in (left, right)]
    coded = _coded(rows[0] + rows[1])
    levels = _levels(coded, np.array([0]), np.array([1]))
    found = weights or usual()
    return {
        name: (names[at], found.bits[name][at]) if (at := int(levels[name][0])) >= 0 else ("missing", 0.0)
        for name, names in LEVELS.items()
    }


def usual() -> Weights:
    """Return the weights of the invented lists."""
    return _weights(USUAL_M, USUAL_U)


def _coded(people: People) -> _Coded:
    names = [_plain(name) for name in people.name]
    sounds = [_sound(name) for name in names]
    right = np.fromiter((documents.is_card(one) for one in people.id_number), bool, len(people))
    # A right number tells the birthday and the sex better than whoever typed them.
    birth = [
        f"{one[6:10]}-{one[10:12]}-{one[12:14]}" if sure else said
        for one, sure, said in zip(people.id_number, right.tolist(), people.birth, strict=True)
    ]
    sex = [
        documents.sex(one) if sure else said
        for one, sure, said in zip(people.id_number, right.tolist(), people.sex, strict=True)
    ]
    where = [parts(one) for one in people.address]
    name = _codes(names)
    counted = np.bincount(name[name >= 0], minlength=1)
    ymd = np.array([_ymd(one) for one in birth], np.int64).reshape(-1, 3)
    return _Coded(
        people=people,
        names=names,
        sounds=sounds,
        name=name,
        sound=_codes(sounds),
        family=_codes([one.split(" ")[0] for one in sounds]),
        given=_codes([" ".join(one.split(" ")[1:]) for one in sounds]),
        id_number=_codes(people.id_number),
        id_right=right,
        birth=_codes(birth),
        ymd=(ymd[:, 0], ymd[:, 1], ymd[:, 2]),
        sex=_codes(sex),
        phone=_codes(people.phone),
        door=_codes([one.door for one in where]),
        place=_codes([one.place for one in where]),
        building=_codes([one.building for one in where]),
        room=_codes([f"{one.building}-{one.unit}-{one.room}" if one.room else "" for one in where]),
        often=counted[np.maximum(name, 0)] / max(len(people), 1),
    )


def _codes(texts: Sequence[str]) -> Ints:
    """Return a number for each text, equal for equal ones; -1 for an empty one."""
    seen: dict[str, int] = {"": -1}
    return np.fromiter((seen.setdefault(one, len(seen)) for one in texts), np.int64, len(texts))


def _ymd(written: str) -> tuple[int, int, int]:
    pieces = written.split("-")
    if len(pieces) == 3 and all(one.isdigit() for one in pieces):
        return int(pieces[0]), int(pieces[1]), int(pieces[2])
    return 0, 0, 0


@cache
def _simplified() -> Any:
    return opencc.OpenCC("t2s")


@cache
def _sign(sign: str) -> str:
    return str(_simplified().convert(sign))


def _plain(name: str) -> str:
    return "".join(_sign(one) for one in name if not one.isspace() and one not in "·•．.")


@cache
def _pinyin(sign: str) -> str:
    return str(lazy_pinyin(sign)[0])


def _sound(name: str) -> str:
    return " ".join(_pinyin(one) for one in name)


def _blocks(coded: _Coded, first: int) -> tuple[Ints, Ints, dict[str, int]]:
    """Return the pairs, each once, that share a key and of which one at least is given; and what was skipped."""
    n = len(coded.name)
    found: list[Ints] = []
    skipped: dict[str, int] = {}
    for key, columns in _keys(coded):
        code = np.zeros(n, np.int64)
        there = np.ones(n, bool)
        for column in columns:
            there &= column >= 0
            code = np.unique(code * (int(column.max(initial=0)) + 2) + column, return_inverse=True)[1]
        rows = np.flatnonzero(there)
        pairs, left_out = _pairs_of(rows, code[rows], first, n)
        found.append(pairs)
        if left_out:
            skipped[key] = left_out
    both = np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)
    return both // n, both % n, skipped


def _keys(coded: _Coded) -> Iterator[tuple[str, tuple[Ints, ...]]]:
    """Yield the keys under which rows meet: any two rows of one person should share one, whatever is damaged."""
    year, month, _ = coded.ymd
    known = np.where(year > 0, year * 12 + month, -1)
    yield "id_number", (coded.id_number,)
    yield "sound, birth", (coded.sound, coded.birth)
    yield "family, birth, phone", (coded.family, coded.birth, coded.phone)
    yield "given name, birth", (coded.given, coded.birth)
    yield "birth, room", (coded.birth, coded.room)
    yield "sound, phone", (coded.sound, coded.phone)
    yield "sound, room", (coded.sound, coded.room)
    yield "sound, month of birth", (coded.sound, known)
    yield "birth, phone", (coded.birth, coded.phone)
    yield "family, birth, sex", (coded.family, coded.birth, coded.sex)


def _pairs_of(rows: Ints, code: Ints, first: int, n: int) -> tuple[Ints, int]:
    """Return left * n + right of the pairs within each code, and how many rows stood in codes that are too large."""
    order = np.argsort(code, kind="stable")
    rows, code = rows[order], code[order]
    starts = np.flatnonzero(np.r_[True, code[1:] != code[:-1]]) if len(code) else np.empty(0, np.int64)
    sizes = np.diff(np.r_[starts, len(code)])
    made: list[Ints] = []
    skipped = int(sizes[sizes > _LARGEST_BLOCK].sum())
    for size in np.unique(sizes[(sizes > 1) & (sizes <= _LARGEST_BLOCK)]).tolist():
        block = rows[starts[sizes == size][:, None] + np.arange(size)]
        low, high = np.triu_indices(size, 1)
        # Rows keep their order inside a block, so the left one is the older.
        left, right = block[:, low].ravel(), block[:, high].ravel()
        news = right >= first
        made.append(left[news] * n + right[news])
    return (np.concatenate(made) if made else np.empty(0, np.int64)), skipped


def _levels(coded: _Coded, left: Ints, right: Ints) -> dict[str, Levels]:
    """Return on which level each field of each pair agrees; -1 where a side does not say."""
    return {
        "id_number": _id_levels(coded, left, right),
        "name": _name_levels(coded, left, right),
        "birth": _birth_levels(coded, left, right),
        "sex": _same(coded.sex, left, right),
        "phone": _same(coded.phone, left, right),
        "address": _address_levels(coded, left, right),
    }


def _same(codes: Ints, left: Ints, right: Ints, *, other: int = 1) -> Levels:
    a, b = codes[left], codes[right]
    return np.where((a < 0) | (b < 0), -1, np.where(a == b, 0, other)).astype(np.int8)


def _id_levels(coded: _Coded, left: Ints, right: Ints) -> Levels:
    found = _same(coded.id_number, left, right, other=2)
    # Two right numbers never differ by one slip: the check character sees to that.
    look = np.flatnonzero((found == 2) & ~(coded.id_right[left] & coded.id_right[right]))
    numbers = coded.people.id_number
    far = _distances([numbers[i] for i in left[look]], [numbers[i] for i in right[look]])
    found[look[far <= 1]] = 1
    return found


def _name_levels(coded: _Coded, left: Ints, right: Ints) -> Levels:
    found = _same(coded.name, left, right, other=3)
    look = np.flatnonzero(found == 3)
    same_sound = coded.sound[left[look]] == coded.sound[right[look]]
    found[look[same_sound]] = 1
    look = look[~same_sound]
    a, b = [coded.names[i] for i in left[look]], [coded.names[i] for i in right[look]]
    near = _distances(a, b) <= 1
    # A husband's family name before the own, and names of one given character in which nothing else is equal.
    near |= np.fromiter(
        (len(x) > 2 and len(y) > 2 and (x.endswith(y) or y.endswith(x)) for x, y in zip(a, b, strict=True)),
        bool,
        len(a),
    )
    found[look[near]] = 2
    return found


def _distances(left: list[str], right: list[str]) -> NDArray[np.int32]:
    if not left:
        return np.empty(0, np.int32)
    return np.asarray(process.cpdist(left, right, scorer=OSA.distance, score_cutoff=1, dtype=np.int32))


def _birth_levels(coded: _Coded, left: Ints, right: Ints) -> Levels:
    found = _same(coded.birth, left, right, other=2)
    (year, month, day) = coded.ymd
    y, m, d = (one[left] for one in (year, month, day))
    y2, m2, d2 = (one[right] for one in (year, month, day))
    apart = np.abs((y * 372 + m * 31 + d) - (y2 * 372 + m2 * 31 + d2))
    swapped = (y == y2) & (m == d2) & (d == m2)
    # One part of three is wrong, and not the tens or hundreds of the year: those are generations.
    parts_equal = (y == y2).astype(int) + (m == m2) + (d == d2)
    close = (apart <= 12) | swapped | ((parts_equal == 2) & (np.abs(y - y2) <= 1))
    found[(found == 2) & close] = 1
    return found


def _address_levels(coded: _Coded, left: Ints, right: Ints) -> Levels:
    def equal(codes: Ints) -> NDArray[np.bool_]:
        same: NDArray[np.bool_] = (codes[left] >= 0) & (codes[left] == codes[right])
        return same

    there = equal(coded.door) | equal(coded.place)
    found = np.full(len(left), 3, np.int8)
    found[there] = 2
    found[there & equal(coded.building)] = 1
    found[there & equal(coded.room)] = 0
    silent = (coded.door < 0) & (coded.place < 0)
    found[silent[left] | silent[right]] = -1
    return found


def fit(coded: _Coded, levels: Mapping[str, Levels]) -> Weights:
    """Return the weights of these rows: u from random pairs, m from pairs that met for another reason than the field.

    What names, telephones and addresses of one person look like is seen where the identity numbers agree; what numbers,
    birthdays and sexes do, where name and telephone or name and room agree, by expectation and maximisation.
    """
    u = _random_u(coded)
    number, name = levels["id_number"], levels["name"]
    one_number = number == 0
    one_home = (name >= 0) & (name <= 1) & ((levels["phone"] == 0) | (levels["address"] == 0))
    if one_number.sum() < _ENOUGH or one_home.sum() < _ENOUGH:
        return _weights(USUAL_M, u)
    m = {}
    for part in ("name", "phone", "address"):
        m[part] = _smoothed(part, levels[part][one_number])
    m |= _maximised({part: levels[part][one_home] for part in ("id_number", "birth", "sex")}, u)
    return _weights(m, u)


def _smoothed(part: str, seen: Levels, chance: Floats | None = None) -> tuple[float, ...]:
    """Return shares of levels; ten made-up pairs keep one that never occurs from weighing without end."""
    there = seen >= 0
    usual_m = np.array(USUAL_M[part])
    weights = None if chance is None else chance[there]
    counted = np.bincount(seen[there], weights, minlength=len(usual_m)) + usual_m * 10
    return tuple((counted / counted.sum()).tolist())


def _maximised(levels: Mapping[str, Levels], u: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
    """Return m of the given fields by expectation and maximisation over the given pairs."""
    m = {part: USUAL_M[part] for part in levels}
    share = 0.9
    for _ in range(40):
        odds = np.full(len(next(iter(levels.values()))), np.log(share / (1 - share)))
        for part, seen in levels.items():
            odds += np.append(np.log(np.array(m[part]) / np.array(u[part])), 0.0)[seen]
        chance = 1 / (1 + np.exp(-odds))
        before, share = share, float(np.clip(chance.mean(), 1e-6, 1 - 1e-6))
        m = {part: _smoothed(part, seen, chance) for part, seen in levels.items()}
        if abs(share - before) < 1e-7:
            break
    return m


def _random_u(coded: _Coded) -> dict[str, tuple[float, ...]]:
    n = len(coded.name)
    chance = np.random.default_rng(7)
    # A short list needs few: the usual shares stand beside what is counted.
    many = min(_RANDOM_PAIRS, 40 * n, n * (n - 1) // 2)
    left, right = chance.integers(0, max(n, 1), (2, many)) if n else np.empty((2, 0), np.int64)
    kept = left != right
    levels = _levels(coded, left[kept], right[kept])
    found = {}
    for name, usual_u in USUAL_U.items():
        seen = levels[name][levels[name] >= 0]
        # As many made-up pairs as real ones at the most: rare levels are hardly ever met by chance.
        prior = np.array(usual_u) * 200_000
        counted = np.bincount(seen, minlength=len(usual_u)) + prior
        found[name] = tuple((counted / counted.sum()).tolist())
    return found


def _weights(m: Mapping[str, Sequence[float]], u: Mapping[str, Sequence[float]]) -> Weights:
    bits = {name: tuple(float(np.log2(a / b)) for a, b in zip(m[name], u[name], strict=True)) for name in LEVELS}
    return Weights(bits, {k: tuple(v) for k, v in m.items()}, {k: tuple(v) for k, v in u.items()})


def _scored(
    coded: _Coded,
    left: Ints,
    right: Ints,
    levels: Mapping[str, Levels],
    weights: Weights,
    *,
    match: float,
    possible: float,
) -> Pairs:
    # Two strangers of a district are one person once in as many pairs as there are rows.
    bits = np.full(len(left), -np.log2(max(len(coded.name), 2)))
    for part, seen in levels.items():
        bits += np.append(weights.bits[part], 0.0)[seen]
    # Bearing the same rare name says more than bearing a common one.
    same = levels["name"] == 0
    average = weights.u["name"][0]
    bits[same] += np.log2(average / np.maximum(coded.often[left[same]], average / 64))
    number, name, birth, address = (levels[one] for one in ("id_number", "name", "birth", "address"))
    two_people = (number == 2) & coded.id_right[left] & coded.id_right[right]
    same_number = number == 0
    years_apart = (birth == 2) & ~same_number
    twins = (name >= 2) & (birth == 0) & (address <= 1) & ~same_number & (number != 1)
    stranger = (name == 3) & ~same_number
    # A number that two names and two birthdays share is a wrong number, whoever it belongs to.
    torn = same_number & (name == 3) & (birth != 0)
    sure = (bits >= match) & ~(two_people | years_apart | twins | stranger | torn)
    return Pairs(left, right, levels, bits, sure, ~sure & (bits >= possible) & ~two_people & ~years_apart)


def _clusters(coded: _Coded, pairs: Pairs, first: int, owner: Ints) -> tuple[Ints, Ints, list[tuple[int, int, float]]]:
    """Join sure pairs, the surest first, never two people; return owners, groups and what is in doubt."""
    n = len(coded.name)
    root = list(range(n))
    person: list[int] = [*owner.tolist(), *[-1] * (n - first)]
    number = np.where(coded.id_right, coded.id_number, -1).tolist()
    heads: dict[int, int] = {}
    for at, one in enumerate(owner.tolist()):
        head = heads.setdefault(one, at)
        root[at] = head
        number[head] = number[head] if number[head] >= 0 else number[at]

    def top(at: int) -> int:
        while root[at] != at:
            root[at] = root[root[at]]
            at = root[at]
        return at

    doubts: list[tuple[int, int, float]] = []
    sure = np.flatnonzero(pairs.sure)
    order = sure[np.lexsort((pairs.right[sure], pairs.left[sure], -pairs.bits[sure]))]
    for a, b, bits in zip(
        pairs.left[order].tolist(), pairs.right[order].tolist(), pairs.bits[order].tolist(), strict=True
    ):
        x, y = top(a), top(b)
        if x == y:
            continue
        if (person[x] >= 0 and person[y] >= 0) or (number[x] >= 0 and number[y] >= 0 and number[x] != number[y]):
            doubts.append((b - first, a, bits))
            continue
        if person[y] >= 0:
            x, y = y, x
        root[y] = x
        number[x] = number[x] if number[x] >= 0 else number[y]
    asked = np.flatnonzero(pairs.possible)
    order = asked[np.argsort(-pairs.bits[asked], kind="stable")]
    for a, b, bits in zip(
        pairs.left[order].tolist(), pairs.right[order].tolist(), pairs.bits[order].tolist(), strict=True
    ):
        x, y = top(a), top(b)
        known = person[x] >= 0 and person[y] >= 0
        if x != y and not known and not (number[x] >= 0 and number[y] >= 0 and number[x] != number[y]):
            doubts.append((b - first, a, bits))
    tops = [top(at) for at in range(first, n)]
    owners = np.fromiter((person[at] for at in tops), np.int64, n - first)
    groups = np.unique(np.array(tops, np.int64), return_inverse=True)[1]
    return owners, np.where(owners >= 0, -1, groups), doubts

"""What words around places say of them: so far to the north, between two, from here to there along a road, my home.

Turns clues into other clues; knows no gazetteer names of its own, only general words. Metres on the gazetteer's plane.
"""

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from hotline.geocode.clues import Clue, Hits
from hotline.geocode.gazetteer import Gazetteer
from hotline.geocode.roads import Road, Spot, meeting
from hotline.geocode.writing import to_number

#: Two ends further apart than this are two places, not one stretch.
_LONGEST_M: Final = 6000.0
#: A road belongs to a stretch when it comes as near as this to both ends.
_BESIDE_M: Final = 700.0
#: Points of a road's course are taken at most every so many metres.
_STEP_M: Final = 100.0
_DIAGONAL: Final = math.sqrt(0.5)
_WAYS: Final = {
    "东": (1.0, 0.0),
    "南": (0.0, -1.0),
    "西": (-1.0, 0.0),
    "北": (0.0, 1.0),
    "东南": (_DIAGONAL, -_DIAGONAL),
    "东北": (_DIAGONAL, _DIAGONAL),
    "西南": (-_DIAGONAL, -_DIAGONAL),
    "西北": (-_DIAGONAL, _DIAGONAL),
}
_WAY: Final = "东南|东北|西南|西北|东|南|西|北"
_FAR: Final = (
    r"(?P<far>\d{1,4}|[一二两三四五六七八九十百]{1,5})(?:多|来|余|几)?(?P<unit>米|公尺|公里|千米|m(?![a-z0-9]))"
)
_ABOUT: Final = r"(?:大概|大约|约莫|约|差不多|直|走|行|去|再|的|方向|过去|距离){0,4}"
_OFFSET: Final = re.compile(
    r"(?:的|站|路口|大门口|正门|大门|门口|附近|这里|那里|,){0,2}"
    rf"(?:(?:再|直)?(?:向|往|朝|以|偏|靠|正|沿)?(?P<way>{_WAY})(?:侧|面|边|方|头)?{_ABOUT}{_FAR}"
    rf"|{_ABOUT}{_FAR.replace('far', 'far2').replace('unit', 'unit2')}处?[以的往向]?(?P<way2>{_WAY})[侧面边方处]?"
    rf"|(?:前方|前面|前|后方|后面|过去|处)?{_ABOUT}{_FAR.replace('far', 'far3').replace('unit', 'unit3')})"
)
_JOINED: Final = re.compile(r"(?:站|路口|门口)?(?:和|与|跟|同|到|至|往|去|及|、|-|~|—)(?:从)?$")
_REACHED: Final = re.compile(r"(?:到|至|往|-|~|—)(?:从)?$")
_BETWEEN: Final = re.compile(r"(?:站|路口)?(?:的|这|那|两地|两处|两个路口)?(?:之间|中间|当中|间(?=的|这|那|路))")
_STRETCH: Final = re.compile(
    r"(?:站|路口)?(?:的|之间|之间的|间的|中间)?(?:这|那|此)?(?:一)?(?:路段|段(?!时)|全段|沿线|沿路|条路)"
)
_FROM: Final = re.compile(r"(?:从|由|自|\(|的)+$")
_OF_ROAD: Final = re.compile(r"(?:的|之间|这|那|一|段|路段|间|站)*$")

_HOME_BEFORE: Final = re.compile(
    r"(?:我住|家住|住在|居住在?|居住于|现居|现住|户籍|家在|老家|我家|我是|我们是|本人是|作为|(?<!在)我们|我哋|租住在?|搬到)[^,。;]{0,6}$"
)
_HOME_AFTER: Final = re.compile(
    r"(?:小区|这边|这里)?(?:的)?(?:一名|一个|一位|普通|老|所有|全体|部分|多名){0,2}"
    r"(?:业主|住户|居民|村民|员工|职工|学生|租户|租客|商户|家长|街坊|上班|工作|打工|读大学|租房)"
)
_OFFICE_BEFORE: Final = re.compile(r"(?:向|给|找|去过?|到|打电话给|打电话到|致电|问过|联系过?|打给|跟)$")
_OFFICE_AFTER: Final = re.compile(
    r"(?:那边|方面|工作人员|物业|也|都|已经|就|去|反复){0,2}"
    r"(?:反映|投诉|打过?电话|反馈|没有?结果|没人理|不理|推来|推脱|咨询|求助|答复|回复|说不|处理过|几次|多次|过几次|报告过|上访)"
)
_ORIGIN_BEFORE: Final = re.compile(r"(?:从|由|自|离开|坐车由|坐车从)$")
_ORIGIN_AFTER: Final = re.compile(r"(?:那边|站)?(?:过来|出发|来|回|出来|坐车|开车|骑车|返)")
_MATTER_BEFORE: Final = re.compile(
    r"(?:反映|投诉|举报|处理|位于|地点|地址|发生|发现|就在|坐落|想说一下|关于|请到|麻烦到|解决|整治|查一下|途中在|现场)[^,。;]{0,5}$"
)
_MATTER_AFTER: Final = re.compile(
    r"(?:的|这里|那里|门口|附近|旁边|对面|路段|站|里面|里|后面|前面|周边|发现|天天|每天|每晚|一直|经常|成日|又|时){0,3}"
    r"(?:有人|被|乱|排|倒|坏|爆|堵|漏|水管|积水|噪|污|臭|垃圾|油烟|违|占|施工|塌|破|井盖|路灯|停电|停水|收费|搭建|烟|路面|站牌|施工|夜里|夜间|红绿灯|电线|下水|黑|吵)"
)


def relate(written: str, hits: Hits, clues: list[Clue], gazetteer: Gazetteer) -> list[Clue]:
    """Return the clues with what the words around them say: moved, joined to a stretch, or told to be a home."""
    if len(clues) > 1:
        joined, used = _joined(written, hits, clues, gazetteer)
        clues = [clue for clue in clues if (clue.start, clue.end) not in used] + joined
    roles: dict[str, float] = {}
    for clue in clues:
        if not clue.line:
            _move(written, clue)
        role = _role(written, clue)
        # Said twice, a place is that of the matter if it is once; and a home stays one.
        known = roles.get(clue.name, 1.0)
        roles[clue.name] = max(role, known) if max(role, known) > 1 else min(role, known)
    for clue in clues:
        clue.role = roles[clue.name]
    return clues


def _move(written: str, clue: Clue) -> None:
    """Move a clue by the way and distance that follow it; a distance without a way widens it."""
    if clue.kind in ("road", "town", "community"):
        return
    found = _OFFSET.match(written, clue.end)
    if found is None:
        return
    told = found.groupdict()
    far = to_number(told["far"] or told["far2"] or told["far3"] or "") or 0
    if (told["unit"] or told["unit2"] or told["unit3"]) in ("公里", "千米"):
        far *= 1000
    way = told["way"] or told["way2"]
    if not 0 < far <= 5000:
        return
    if way is None:
        clue.radius += far
        return
    east, north = _WAYS[way]
    clue.x, clue.y = clue.x + east * far, clue.y + north * far
    clue.radius = math.hypot(clue.radius, 0.25 * far)
    # In a neighbouring town perhaps: what the point lies in decides.
    clue.community = None
    clue.detail = {"name": clue.name, "way": way, "metres": far}
    clue.why, clue.moved = "offset_from", True


def _role(written: str, clue: Clue) -> float:
    """Return how surely a place is that of the matter: below 1 for homes, offices and origins, above where it is."""
    before, end = written[max(0, clue.start - 12) : clue.start], clue.end
    if _ORIGIN_BEFORE.search(before) and _ORIGIN_AFTER.match(written, end):
        return 0.3
    if _OFFICE_AFTER.match(written, end) and (_OFFICE_BEFORE.search(before) or not _MATTER_AFTER.match(written, end)):
        return 0.3
    if _HOME_AFTER.match(written, end) or (_HOME_BEFORE.search(before) and not _MATTER_AFTER.match(written, end)):
        return 0.3
    matter = bool(_MATTER_BEFORE.search(before)) + bool(_MATTER_AFTER.match(written, end))
    return (1.0, 1.6, 2.0)[matter]


def _joined(
    written: str, hits: Hits, clues: Sequence[Clue], gazetteer: Gazetteer
) -> tuple[list[Clue], set[tuple[int, int]]]:
    """Return clues for what lies between two places or runs from one to the other, and the stretches they use up."""
    groups: dict[tuple[int, int], list[Clue]] = {}
    for clue in clues:
        groups.setdefault((clue.start, clue.end), []).append(clue)
    made: list[Clue] = []
    used: set[tuple[int, int]] = set()
    for first, second in pairwise(sorted(groups)):
        gap = written[first[1] : second[0]]
        if not 0 < len(gap) <= 4 or not _JOINED.match(gap):
            continue
        road = _road_of(written, hits, first, second) if _REACHED.search(gap) else None
        is_stretch = road is not None or _STRETCH.match(written, second[1])
        if not is_stretch and not _BETWEEN.match(written, second[1]):
            continue
        one, two = groups[first], groups[second]
        between = (
            _stretch(one, two, road[2] if road else [], gazetteer)
            if is_stretch and _REACHED.search(gap)
            else _between(one, two)
        )
        if between is not None:
            made.append(between)
            used |= {first, second, *([(road[0], road[1])] if road else [])}
    return made, used


def _road_of(
    written: str, hits: Hits, first: tuple[int, int], second: tuple[int, int]
) -> tuple[int, int, list[Road]] | None:
    """Return the road that a stretch runs along: named just before its first end or just after its second."""
    for end, (start, name) in hits.roads.items():
        before = end <= first[0] and (end == first[0] or _FROM.fullmatch(written, end, first[0]))
        after = start >= second[1] and start - second[1] <= 6 and _OF_ROAD.fullmatch(written, second[1], start)
        if before or after:
            return start, end, name.roads
    return None


def _nearest(one: Sequence[Clue], two: Sequence[Clue]) -> tuple[Clue, Clue, float]:
    """Return the pair that lies closest: of several places of a name those are meant that make sense together."""
    apart, a, b = min(
        ((math.hypot(a.x - b.x, a.y - b.y), i, j) for i, a in enumerate(one) for j, b in enumerate(two)),
    )
    return one[a], two[b], apart


def _between(one: Sequence[Clue], two: Sequence[Clue]) -> Clue | None:
    a, b, apart = _nearest(one, two)
    if apart > _LONGEST_M:
        return None
    return Clue(
        a.start, b.end, "place", f"{a.name}与{b.name}之间", (a.x + b.x) / 2, (a.y + b.y) / 2,
        max(100.0, 0.5 * apart + 50), _sure(one, two), a.towns, None, "between",
        {"name": a.name, "other": b.name}, moved=True,
    )  # fmt: skip


def _stretch(one: Sequence[Clue], two: Sequence[Clue], roads: Sequence[Road], gazetteer: Gazetteer) -> Clue | None:
    """Return the stretch from one place to the other, along the road where it is known, else straight."""
    found: list[tuple[float, Spot, Spot, Road | None, Clue, Clue]] = []
    for road in roads[:6]:
        for a in one[:6]:
            for b in two[:6]:
                start, end = _end_on(road, a, gazetteer), _end_on(road, b, gazetteer)
                if start and end:
                    off = math.hypot(start[0] - a.x, start[1] - a.y) + math.hypot(end[0] - b.x, end[1] - b.y)
                    apart = math.dist(start, end)
                    if 30 < apart <= _LONGEST_M:
                        found.append((off if a.kind != "road" else apart, start, end, road, a, b))
    if not found:
        a, b, apart = _nearest(one, two)
        if "road" in (a.kind, b.kind) or not 30 < apart <= _LONGEST_M:
            return None
        found.append((0.0, (a.x, a.y), (b.x, b.y), None, a, b))
    _, start, end, along, a, b = min(found, key=lambda way: way[0])
    line = _course(along, start, end)
    middle = line[len(line) // 2] if len(line) % 2 else _middle(line[len(line) // 2 - 1], line[len(line) // 2])
    reach = max(math.dist(middle, start), math.dist(middle, end))
    label = f"{along.name if along else ''}({a.name}至{b.name})"
    detail = {"road": along.name if along else "", "name": a.name, "other": b.name}
    return Clue(
        a.start, b.end, "stretch", label, *middle, max(100.0, reach), _sure(one, two), a.towns, None,
        "stretch_along" if along else "stretch_straight", detail, line=line, moved=True,
    )  # fmt: skip


def _sure(one: Sequence[Clue], two: Sequence[Clue]) -> float:
    """Return how surely both ends are meant; together they tell which of several places of a name it is."""
    return 0.95 * min(0.95, sum(clue.confidence for clue in one), sum(clue.confidence for clue in two))


def _end_on(road: Road, clue: Clue, gazetteer: Gazetteer) -> Spot | None:
    """Return where a stretch ends on a road: at a crossing road, or at the place itself; None far from the road."""
    if clue.kind == "road":
        name = gazetteer.names.get(clue.name)
        crossings = [near for other in (name.roads[:6] if name else []) if (near := meeting(road, other))]
        if not crossings:
            return None
        best = min(crossings, key=lambda near: near.radius_m)
        return best.x, best.y
    spots = road.points()
    if not spots or min(math.hypot(x - clue.x, y - clue.y) for x, y in spots) > _BESIDE_M:
        return None
    return clue.x, clue.y


def _course(road: Road | None, start: Spot, end: Spot) -> tuple[Spot, ...]:
    """Return the points of a stretch in order: known points of the road that lie along the way, one in each step."""
    if road is None:
        return (start, end)
    length = math.dist(start, end)
    ux, uy = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    steps: dict[int, list[tuple[float, float]]] = {}
    for x, y in road.points():
        along = (x - start[0]) * ux + (y - start[1]) * uy
        aside = (y - start[1]) * ux - (x - start[0]) * uy
        if _STEP_M < along < length - _STEP_M and abs(aside) <= max(100.0, 0.15 * length):
            steps.setdefault(int(along // _STEP_M), []).append((along, aside))
    between = []
    for step in sorted(steps):
        along = sum(one for one, _ in steps[step]) / len(steps[step])
        aside = sum(one for _, one in steps[step]) / len(steps[step])
        between.append((start[0] + ux * along - uy * aside, start[1] + uy * along + ux * aside))
    return (start, *between, end)


def _middle(one: Spot, two: Spot) -> Spot:
    return (one[0] + two[0]) / 2, (one[1] + two[1]) / 2

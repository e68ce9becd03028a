"""Where the house numbers of a road run: known numbers, the gaps between them, and junctions.

Works in metres on the district's plane; knows nothing of text. Beliefs and radii are those that held when every known
address of a real district was left out in turn and asked for (`hotline/evaluate/places.py`).
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from scipy.spatial import cKDTree

#: Points of one name further apart than this, with none between, are on different roads of that name.
APART_M = 1500.0
#: A common name (工业大道) must hold together closer than this.
APART_PLAIN_M = 700.0
#: Points of a road without a number that are looked at.
_LOOSE = 60
#: Numbers that are looked at where a number lies beyond the known ones, and how much a point without one pulls.
_NEAR, _LOOSE_PULL = 14, 0.003
#: How far the weight of a known point reaches, and of how many of them the middles are looked at too.
_THICK_M, _MIDDLES = 200.0, 10
#: Up to this many points all pairs are compared; a tree is quicker beyond.
_FEW = 40
_SQUARE_M = 100.0
#: Two roads that stay further apart than this do not meet.
_MEET_M = 600.0

Spot = tuple[float, float]

#: Share of answers within 300 m, by the raw radius of the estimate, as measured.
_BELIEF: dict[str, Sequence[tuple[float, float]]] = {
    "address_exact": ((60, 0.95), (200, 0.9), (400, 0.75), (800, 0.5), (2000, 0.2)),
    "address_between": ((60, 0.88), (100, 0.82), (150, 0.7), (250, 0.57), (400, 0.5), (800, 0.3), (1500, 0.1)),
    "address_beyond": ((60, 0.74), (100, 0.68), (150, 0.52), (250, 0.36), (400, 0.25), (900, 0.15)),
    "address_near": ((60, 0.74), (100, 0.7), (150, 0.6), (250, 0.36), (400, 0.25), (900, 0.15)),
    "address_road": ((200, 0.55), (300, 0.5), (500, 0.4), (900, 0.33), (2500, 0.1)),
    "road_named": ((250, 0.5), (400, 0.4), (800, 0.25), (2500, 0.1)),
}
#: How the share of a road's points within 300 m of the estimate, and a hundred metres of disagreement about the nearest
#: number's own point, change that share: steps of its logarithmic odds, by logistic regression on the same questions.
_ODDS = (-0.5, 1.14)
_GATHERED, _DISAGREED = 1.3, -1.0
_GATHERED_M = 300.0
#: The true distance stayed below this many raw radii four times in five.
_STRETCH = {"address_between": 2.0, "address_beyond": 3.2, "address_near": 2.6, "address_road": 2.2}


@dataclass(slots=True)
class Estimate:
    """Where a house number is taken to be."""

    x: float
    y: float
    #: Holds the true place about four times in five.
    radius_m: float
    #: A key of `WHY`: address_exact, _between, _beyond, _near or _road.
    how: str
    #: How often such an estimate is within 300 m.
    belief: float
    lower: int = 0
    upper: int = 0


def _estimate(x: float, y: float, raw: float, how: str, *, lower: int = 0, upper: int = 0) -> Estimate:
    steps = _BELIEF[how]
    belief = float(np.interp(raw, [step[0] for step in steps], [step[1] for step in steps]))
    return Estimate(x, y, raw * _STRETCH.get(how, 1.0), how, belief, lower, upper)


@dataclass(slots=True)
class Road:
    """One road as it lies on the ground: what is known of its numbers and its course."""

    name: str
    #: How many known points lie in each town.
    towns: Counter[str] = field(default_factory=Counter)
    #: Points by house number; several where several places share an address.
    known: dict[int, list[Spot]] = field(default_factory=dict)
    #: Points on the road whose number is not known.
    loose: list[Spot] = field(default_factory=list)
    _numbers: list[int] = field(default_factory=list)
    _spots: dict[int, tuple[float, float, float]] = field(default_factory=dict)

    def points(self) -> list[Spot]:
        """Return every point known to be on or beside the road."""
        return [spot for spots in self.known.values() for spot in spots] + self.loose

    def at(self, number: int) -> Estimate | None:
        """Return where a number is taken to be; None where nothing at all is known of the road."""
        self._settle()
        numbers = self._numbers
        if not numbers:
            return self._centred(self.loose, "address_road", least=200.0)
        if number in self._spots:
            x, y, spread = self._spots[number]
            return _estimate(x, y, max(60.0, 1.5 * spread), "address_exact", lower=number, upper=number)
        place = bisect_left(numbers, number)
        if 0 < place < len(numbers):
            return self._between(number, numbers[place - 1], numbers[place])
        return self._beyond(number, nearest=numbers[0] if place == 0 else numbers[-1])

    def middle(self) -> Estimate | None:
        """Return the middle of the road with a radius that holds most of what is known of it."""
        return self._centred(self.points(), "road_named", least=250.0)

    def _between(self, number: int, lower: int, upper: int) -> Estimate:
        """Return the point between two known numbers; a near neighbour on the same side counts for more."""
        x0, y0, s0 = self._spots[lower]
        x1, y1, s1 = self._spots[upper]
        share = (number - lower) / (upper - lower)
        gap = math.hypot(x1 - x0, y1 - y0)
        # The two sides of a street run independently: the neighbour with the same parity is trusted more.
        if (number - lower) % 2 != (number - upper) % 2:
            share += 0.15 if (number - upper) % 2 == 0 else -0.15
            share = min(max(share, 0.0), 1.0)
        raw = 60 + 0.4 * gap * (0.5 + min(share, 1 - share)) + max(s0, s1) / 2
        x, y = x0 + (x1 - x0) * share, y0 + (y1 - y0) * share
        estimate = _estimate(x, y, raw, "address_between", lower=lower, upper=upper)
        return self._weighed(estimate, s0 if number - lower <= upper - number else s1)

    def _beyond(self, number: int, *, nearest: int) -> Estimate:
        """Return the place about which most is known, the near numbers first; unnumbered points pull a little.

        Carrying the line on beyond its end was measured and is worse than staying; so is the middle of what is known.
        """
        spread = self._spots[nearest][2]
        away = abs(number - nearest)
        how = "address_beyond" if len(self._numbers) > 1 else "address_near"
        near = sorted(self._numbers, key=lambda one: abs(one - number))[:_NEAR]
        pulls = [
            (*self._spots[one][:2], (1.5 if (one - number) % 2 == 0 else 1.0) / (abs(one - number) + 3) ** 1.5)
            for one in near
        ]
        pulls += [(px, py, _LOOSE_PULL) for px, py in self.loose[:_LOOSE]]
        x, y = _thickest(pulls)
        estimate = _estimate(x, y, min(80 + away * 6.0, 900.0) + spread / 2, how, lower=nearest, upper=nearest)
        return self._weighed(estimate, spread)

    def _weighed(self, estimate: Estimate, spread: float) -> Estimate:
        """Return the estimate with a belief that heeds how much of the road lies about it: a short road cannot err."""
        spots = [(x, y) for x, y, _ in self._spots.values()] + self.loose[:_LOOSE]
        near = sum(math.hypot(x - estimate.x, y - estimate.y) <= _GATHERED_M for x, y in spots) / len(spots)
        start, slope = _ODDS
        odds = start + slope * math.log(estimate.belief / (1 - estimate.belief))
        odds += _GATHERED * near + _DISAGREED * spread / 100
        estimate.belief = 1 / (1 + math.exp(-odds))
        return estimate

    def _centred(self, spots: list[Spot], how: str, *, least: float) -> Estimate | None:
        if not spots:
            return None
        x, y = median(spot[0] for spot in spots), median(spot[1] for spot in spots)
        reach = sorted(math.hypot(px - x, py - y) for px, py in spots)
        return _estimate(x, y, max(least, reach[int(len(reach) * 0.8)] * 1.2), how)

    def _settle(self) -> None:
        """Work out, once, one point for each number: the median, so that a stray twin does not pull it away."""
        if len(self._numbers) == len(self.known):
            return
        for number, spots in self.known.items():
            x, y = median(spot[0] for spot in spots), median(spot[1] for spot in spots)
            self._spots[number] = (x, y, median(math.hypot(px - x, py - y) for px, py in spots))
        self._numbers = sorted(self.known)


@dataclass(slots=True)
class Sightings:
    """Every point that a source puts on a road of one name, before it is known how many such roads there are."""

    name: str
    numbers: list[int | None] = field(default_factory=list)
    spots: list[Spot] = field(default_factory=list)
    towns: list[str] = field(default_factory=list)

    def add(self, number: int | None, spot: Spot, town: str) -> None:
        """Note one point."""
        self.numbers.append(number)
        self.spots.append(spot)
        self.towns.append(town)

    def roads(self, apart_m: float) -> list[Road]:
        """Return the roads of this name: points that hang together within `apart_m` are one road, across towns too."""
        groups = _groups(self.spots, apart_m)
        found: dict[int, Road] = {}
        for group, number, spot, town in zip(groups, self.numbers, self.spots, self.towns, strict=True):
            road = found.setdefault(group, Road(self.name))
            road.towns[town] += 1
            if number is None:
                road.loose.append(spot)
            else:
                road.known.setdefault(number, []).append(spot)
        return sorted(found.values(), key=lambda road: -road.towns.total())


def meeting(one: Road, two: Road) -> Estimate | None:
    """Return where two roads come closest, judged by the points known of each; None where they stay apart."""
    mine, theirs = np.array(one.points()), np.array(two.points())
    if not len(mine) or not len(theirs):
        return None
    found = cKDTree(theirs).query(mine)
    apart, nearest = np.asarray(found[0]), np.asarray(found[1])
    at = int(np.argmin(apart))
    if apart[at] > _MEET_M:
        return None
    x, y = (mine[at] + theirs[int(nearest[at])]) / 2
    belief = float(np.interp(apart[at], (0, 100, 300, 600), (0.8, 0.7, 0.5, 0.3)))
    return Estimate(float(x), float(y), max(150.0, 1.2 * float(apart[at])), "junction_near", belief)


def _thickest(pulls: list[tuple[float, float, float]]) -> Spot:
    """Return the point, or the middle of two, about which the weights of x, y, weight lie thickest."""
    spots = np.array([pull[:2] for pull in pulls])
    weights = np.array([pull[2] for pull in pulls])
    few = spots[:_MIDDLES]
    asked = np.concatenate([spots, ((few[:, None] + few[None, :]) / 2).reshape(-1, 2)])
    away = ((asked[:, None] - spots[None, :]) ** 2).sum(axis=2)
    x, y = asked[int((np.exp(-away / _THICK_M**2) * weights).sum(axis=1).argmax())]
    return float(x), float(y)


def _groups(spots: list[Spot], apart_m: float) -> list[int]:
    """Return for each point the number of its group: points within `apart_m` of each other are in one."""
    lows, highs = [min(axis) for axis in zip(*spots, strict=True)], [max(axis) for axis in zip(*spots, strict=True)]
    if max(high - low for low, high in zip(lows, highs, strict=True)) <= apart_m:
        return [0] * len(spots)
    # Points in one square of a hundred metres stand for each other, so that dense roads are as quick as sparse ones.
    squares: dict[tuple[int, int], int] = {}
    square_of = [squares.setdefault((int(x // _SQUARE_M), int(y // _SQUARE_M)), len(squares)) for x, y in spots]
    centres = [(east * _SQUARE_M, north * _SQUARE_M) for east, north in squares]
    parent = list(range(len(centres)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    if len(centres) <= _FEW:
        near = [
            (one, two)
            for one, (x, y) in enumerate(centres)
            for two in range(one)
            if abs(x - centres[two][0]) <= apart_m and math.hypot(x - centres[two][0], y - centres[two][1]) <= apart_m
        ]
    else:
        near = cKDTree(np.array(centres)).query_pairs(apart_m, output_type="ndarray").tolist()
    for one, two in near:
        parent[root(one)] = root(two)
    return [root(at) for at in square_of]

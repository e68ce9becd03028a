"""Where the house numbers of a road run: known numbers, the gaps between them, and junctions.

Works in metres on the district's plane; knows nothing of text.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass, field
from statistics import median

#: Metres that one house number takes up where a road does not tell; odd and even sides run side by side.
_STEP_M = 6.0
#: An estimate beyond the last known number never moves further than this from it.
_REACH_M = 250.0

Spot = tuple[float, float]


@dataclass(slots=True)
class Estimate:
    """Where a house number is taken to be."""

    x: float
    y: float
    radius_m: float
    #: A key of `WHY`: address_exact, _between, _beyond, _near or _road.
    how: str
    lower: int = 0
    upper: int = 0


@dataclass(slots=True)
class Road:
    """One road within one town: what is known of its numbers and its course."""

    name: str
    town_code: str
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
            return self._somewhere()
        if number in self._spots:
            x, y, spread = self._spots[number]
            return Estimate(x, y, max(60.0, 1.5 * spread), "address_exact", number, number)
        place = bisect_left(numbers, number)
        if 0 < place < len(numbers):
            return self._between(number, numbers[place - 1], numbers[place])
        return self._beyond(number, nearest=numbers[0] if place == 0 else numbers[-1])

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
        radius = 60 + 0.4 * gap * (0.5 + min(share, 1 - share)) + max(s0, s1) / 2
        return Estimate(x0 + (x1 - x0) * share, y0 + (y1 - y0) * share, radius, "address_between", lower, upper)

    def _beyond(self, number: int, *, nearest: int) -> Estimate:
        """Return the point near the first or last known number, moved on along the road where its run is known."""
        x, y, spread = self._spots[nearest]
        away = abs(number - nearest)
        others = [n for n in self._numbers if n != nearest]
        how = "address_beyond" if others else "address_near"
        radius = min(80 + away * _STEP_M, 900.0) + spread / 2
        if others:
            second = min(others, key=lambda n: abs(n - nearest))
            x2, y2, _ = self._spots[second]
            length = math.hypot(x - x2, y - y2)
            pace = min(length / abs(nearest - second), 15.0)
            if length > 30:
                move = min(0.5 * pace * away, _REACH_M)
                x, y = x + (x - x2) / length * move, y + (y - y2) / length * move
        return Estimate(x, y, radius, how, nearest, nearest)

    def _somewhere(self) -> Estimate | None:
        """Return the middle of the points without a number."""
        if not self.loose:
            return None
        x, y = median(spot[0] for spot in self.loose), median(spot[1] for spot in self.loose)
        reach = sorted(math.hypot(px - x, py - y) for px, py in self.loose)
        return Estimate(x, y, max(200.0, reach[int(len(reach) * 0.8)] * 1.2), "address_road")

    def middle(self) -> Estimate | None:
        """Return the middle of the road with a radius that holds most of what is known of it."""
        spots = self.points()
        if not spots:
            return None
        x, y = median(spot[0] for spot in spots), median(spot[1] for spot in spots)
        reach = sorted(math.hypot(px - x, py - y) for px, py in spots)
        return Estimate(x, y, max(250.0, reach[int(len(reach) * 0.8)] * 1.2), "road_named")

    def _settle(self) -> None:
        """Work out, once, one point for each number: the median, so that a stray twin does not pull it away."""
        if len(self._numbers) == len(self.known):
            return
        for number, spots in self.known.items():
            x, y = median(spot[0] for spot in spots), median(spot[1] for spot in spots)
            self._spots[number] = (x, y, median(math.hypot(px - x, py - y) for px, py in spots))
        self._numbers = sorted(self.known)


def meeting(one: Road, two: Road) -> Estimate | None:
    """Return where two roads come closest, judged by the points known of each; None where they stay apart."""
    best: tuple[float, Spot] | None = None
    theirs = two.points()[:400]
    for x, y in one.points()[:400]:
        for px, py in theirs:
            apart = math.hypot(px - x, py - y)
            if best is None or apart < best[0]:
                best = (apart, ((x + px) / 2, (y + py) / 2))
    if best is None or best[0] > 600:
        return None
    return Estimate(best[1][0], best[1][1], max(150.0, 1.2 * best[0]), "junction_near")

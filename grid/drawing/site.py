"""What is known of one community before its cells are drawn, and what a planner holds dear. Plain columns."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from core.datums import Plane
from core.errors import Invalid
from grid.words import N_

#: Class of a road, as OpenStreetMap names it → how good a boundary it is, from 0 to 1. Others count as `_OTHER`.
ROADS: Final[Mapping[str, float]] = {
    "motorway": 1.0,
    "trunk": 1.0,
    "primary": 1.0,
    "secondary": 0.95,
    "tertiary": 0.9,
    "motorway_link": 0.7,
    "trunk_link": 0.7,
    "primary_link": 0.7,
    "secondary_link": 0.7,
    "tertiary_link": 0.7,
    "residential": 0.8,
    "unclassified": 0.8,
    "living_street": 0.75,
    "pedestrian": 0.7,
    "service": 0.5,
    "track": 0.4,
    "footway": 0.4,
    "path": 0.3,
    "cycleway": 0.4,
}
_OTHER: Final = 0.6
#: How good a boundary water and the wall of an estate are.
WATER: Final = 1.0
WALL: Final = 0.9
#: How the households of a site are known.
BASES: Final[Mapping[str, str]] = {
    "counted": N_("counted in the register"),
    "shared": N_("known for today's cells, shared out among the doors inside"),
    "guessed": N_("guessed from the places: nobody counted them"),
}
#: Points of one community; above it somebody sent a city.
MOST_POINTS: Final = 200_000
MOST_LINES: Final = 20_000
MOST_VERTICES: Final = 400_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Households that a residential cell should have (S2: 200 to 500); a district changes them."""

    fewest: int = 200
    most: int = 500

    def __post_init__(self) -> None:
        """Refuse limits that no cell can keep."""
        if self.fewest < 0 or not max(2 * self.fewest, 1) <= self.most <= 100_000:
            raise Invalid("The lower limit of households must be at most half of the upper one.", field="limits")

    @property
    def target(self) -> float:
        """Middle of the limits: what a cell is balanced to."""
        return (self.fewest + self.most) / 2


@dataclass(frozen=True, slots=True)
class Weights:
    """What a planner may change; 1 is the default of each, 0 switches it off, at most 10."""

    #: Households near the middle of the limits, and inside them.
    balance: float = 1.0
    #: Short outlines: Polsby–Popper near that of a square.
    compactness: float = 1.0
    #: Boundaries along roads, water and walls, greater roads before lanes.
    lines: float = 1.0
    #: Homes, shops and works apart.
    one_kind: float = 1.0
    #: Estates whole. Above 0 an estate is cut only where it alone has more households than a cell may, and then only
    #: with `cut_large_estates`.
    estates: float = 1.0
    cut_large_estates: bool = False
    #: A shop or works asks as much of the worker as this many households.
    place_load: float = 0.5

    def __post_init__(self) -> None:
        """Refuse weights that are none."""
        for name in ("balance", "compactness", "lines", "one_kind", "estates", "place_load"):
            value = getattr(self, name)
            if not 0 <= value <= 10:
                raise Invalid("A weight lies between 0 and 10.", field=name)


def _none() -> NDArray[Any]:
    return np.empty(0, dtype=object)


@dataclass(slots=True)
class Site:
    """One community: its polygon, what lies in it as lines, and where its households and places are; EPSG:4490."""

    #: 12-digit code.
    community: str
    shape: shapely.Geometry
    #: `(n,)` lines and their class; those that leave the community are cut at its border.
    roads: NDArray[Any] = field(default_factory=_none)
    road_class: list[str] = field(default_factory=list)
    #: Lines or polygons.
    water: NDArray[Any] = field(default_factory=_none)
    #: Polygons that no cell should cut, and what people call them.
    estates: NDArray[Any] = field(default_factory=_none)
    estate_name: list[str] = field(default_factory=list)
    #: `(p, 2)` lon lat of homes and places.
    points: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    #: `(p,)` households on each point; 0 for a shop.
    households: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    #: `(p,)` index into `grid.derive.KINDS`, -1 where a point says nothing of its use.
    use: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    #: `(p,)` points of one number belong to one estate that has no polygon; -1 for none.
    group: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    #: Name of each group, by its number.
    group_name: list[str] = field(default_factory=list)
    #: Shares of the three uses in the whole district; None: those of this community.
    usual: NDArray[np.float64] | None = None
    #: Where the households come from: a key of `BASES`.
    basis: str = "counted"
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Fill missing columns, keep the points inside, and refuse what is no community."""
        if self.shape is None or shapely.is_empty(self.shape) or shapely.get_dimensions(self.shape) != 2:
            raise Invalid("The community has no boundary.", field="community")
        if not shapely.is_valid(self.shape):
            raise Invalid(
                "The boundary is not simple: {fault}.",
                field="community",
                fault=shapely.is_valid_reason(self.shape),
            )
        if self.basis not in BASES:
            raise Invalid("The value must be one of {choices}.", field="basis", choices=", ".join(BASES))
        count = len(self.points)
        self.points = np.asarray(self.points, dtype=np.float64).reshape(-1, 2)
        self.households = _column(self.households, count, 0.0)
        self.use = _column(self.use, count, -1).astype(np.intp)
        self.group = _column(self.group, count, -1).astype(np.intp)
        self.road_class = self.road_class or [""] * len(self.roads)
        self.estate_name = self.estate_name or [""] * len(self.estates)
        if not np.isfinite(self.points).all() or not np.isfinite(self.households).all() or (self.households < 0).any():
            raise Invalid("Households must be numbers that are not negative, on points.", field="households")
        vertices = sum(int(shapely.get_num_coordinates(one).sum()) for one in (self.roads, self.water, self.estates))
        lines = len(self.roads) + len(self.water) + len(self.estates)
        if count > MOST_POINTS or lines > MOST_LINES or vertices > MOST_VERTICES:
            raise Invalid("This is more than one community can hold.", field="roads")
        inside = shapely.intersects_xy(self.shape, self.points[:, 0], self.points[:, 1]) if count else np.zeros(0, bool)
        self.points, self.households = self.points[inside], self.households[inside]
        self.use, self.group = self.use[inside], self.group[inside]

    def group_names(self) -> list[str]:
        """Return the name of each group, by its number; empty where nobody named it."""
        missing = (int(self.group.max()) + 1 if len(self.group) else 0) - len(self.group_name)
        return self.group_name + [""] * missing

    @property
    def plane(self) -> Plane:
        """The flat map in metres around the community's middle."""
        west, south, east, north = shapely.bounds(self.shape)
        return Plane.at(float(west + east) / 2, float(south + north) / 2)

    def loads(self, weights: Weights) -> NDArray[np.float64]:
        """Return `(p,)` what each point asks of a worker, in households."""
        return self.households + np.where(self.use > 0, weights.place_load, 0.0)

    def speaking(self) -> NDArray[np.float64]:
        """Return `(p, 3)` how strongly each point speaks for a use: rare uses as loudly as common ones."""
        told = np.zeros((len(self.points), 3))
        speaks = np.flatnonzero(self.use >= 0)
        told[speaks, self.use[speaks]] = 1.0
        total = told.sum(axis=0)
        usual = self.usual if self.usual is not None else total / max(total.sum(), 1.0)
        speech: NDArray[np.float64] = told / np.maximum(usual, 0.05) / 3
        return speech


def _column(given: NDArray[Any], count: int, default: float) -> NDArray[Any]:
    if len(given) == count:
        return np.asarray(given)
    if len(given):
        raise Invalid("The columns of the points differ in length.", field="households")
    return np.full(count, default)


def strength(road_class: str) -> float:
    """Return how good a boundary a road of a class is, from 0 to 1."""
    if road_class in ROADS:
        return ROADS[road_class]
    # Sources that joined lines say several classes at once: ['primary', 'trunk'].
    said = [ROADS[word] for word in re.findall(r"[a-z_]+", road_class) if word in ROADS]
    return max(said, default=_OTHER)

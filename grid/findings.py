"""What a check of cells found 检查发现: one sentence, how bad, where on the map, and a proposal where there is one.

Also what the district knows already, which cells are checked against. Knows no rule: `grid.checking` does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from core.datums import Datum, Plane
from grid.mending import Fix
from grid.words import N_

#: refuses: the cells cannot become the grid as they are. warns: a person should look.
Severity = Literal["refuses", "warns"]
#: Narrower than this is the arithmetic's own fuzz, not a gap: a millimetre; and so is less than 0.01 m².
HAIR_M: Final = 0.001
SPECK_M2: Final = 0.01
#: Findings of one rule that are listed; the others are counted.
MOST_OF_A_RULE: Final = 400


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or odd."""

    #: Name of the rule, `gap` or `crossing`; pages group by it.
    rule: str
    severity: Severity
    #: Indices in the `CellSet`.
    cells: tuple[int, ...]
    #: What to draw, EPSG:4490; None for what has no place.
    geometry: Any
    #: English msgid and what fills it.
    message: str
    params: Mapping[str, Any] = field(default_factory=dict)
    fix: Fix | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers that a district may change; the defaults are those of S2 and of this program."""

    #: A gap or overlap that is nowhere wider is shown and does not refuse.
    tolerance_m: float = 0.5
    #: Up to this width a snap is proposed.
    snap_m: float = 5.0
    #: Households of a residential cell (S2).
    households: tuple[int, int] = (200, 500)
    #: What a code must be as a whole; it must begin with the community's code in any case.
    pattern: str = r"\d{15}"
    #: The file holds every cell of the district: a community without one has vanished.
    whole: bool = True


@dataclass(slots=True)
class Known:
    """What the district knows already."""

    #: 12 digits → polygon in EPSG:4490, or None where nobody gave one.
    communities: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    #: Codes of today's cells, and `(n, 2)` lon lat of their centroids.
    cells: Sequence[str] = ()
    centroids: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    #: `(n, 2)` lon lat of the register's places, the use of each as an index into `derive.KINDS` or -1, their names.
    places: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    uses: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    place_names: Sequence[str] = ()
    #: Code of a cell → duties without an owner; None where duties are not asked for.
    ownerless: Mapping[str, Sequence[str]] | None = None


@dataclass(slots=True)
class Told:
    """What the file said beyond its cells."""

    #: The datum that its numbers were taken to be in.
    datum: Datum = Datum.CGCS2000
    #: Its axes were latitude, longitude and were exchanged to draw it.
    swapped: bool = False
    #: Rings that were not closed, by index of the cell.
    unclosed: Sequence[int] = ()
    #: Index of a cell → why it has no boundary: empty, not_polygon, numbers, few_points.
    faults: Mapping[int, str] = field(default_factory=dict)
    #: Names of the cells, as far as the file has any.
    names: Sequence[str] = ()
    #: What the file itself says its datum is, where that is another one than it was taken to be in.
    said_datum: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of ground where something is wrong."""

    #: A polygon: EPSG:4490, and in metres on a plane.
    shape: Any
    flat: Any
    area_m2: float
    length_m: float

    def width_m(self) -> float:
        """Return how wide it is where it is widest: the diameter of the largest circle inside."""
        step = max(self.area_m2 / self.length_m / 10, HAIR_M)
        return 2 * float(shapely.length(shapely.maximum_inscribed_circle(self.flat, tolerance=step)))

    def params(self) -> dict[str, Any]:
        """Return what a sentence says of it: area, width, and a place inside."""
        width = self.width_m()
        return {
            "area": round(self.area_m2, 2) if self.area_m2 < 10 else round(self.area_m2),
            "width": round(width, 2) if width < 10 else round(width),
            **place(shapely.point_on_surface(self.shape)),
        }


def place(spot: Any) -> dict[str, float]:
    """Return longitude and latitude of a point as a sentence says them."""
    return {"lng": round(float(shapely.get_x(spot)), 6), "lat": round(float(shapely.get_y(spot)), 6)}


def area_m2(shapes: Any, plane: Plane) -> NDArray[np.float64]:
    """Return square metres of geometries in EPSG:4490, `(n,)`, near a plane."""
    metres: NDArray[np.float64] = np.atleast_1d(shapely.area(shapes)) * plane.per_lng * plane.per_lat
    return metres


def pieces(remains: Any, plane: Plane) -> tuple[list[Piece], NDArray[np.intp]]:
    """Return the polygons of `(n,)` geometries that are more than fuzz, and which of the n each is a piece of."""
    parts, index = shapely.get_parts(np.atleast_1d(np.asarray(remains, dtype=object)), return_index=True)
    solid = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(parts)
    parts, index = parts[solid], index[solid]
    if not len(parts):
        return [], index
    flat = shapely.transform(parts, plane.to_metres)
    area, length = shapely.area(flat), shapely.length(flat)
    kept = np.flatnonzero((area >= SPECK_M2) & (2 * area >= HAIR_M * length))
    return [Piece(parts[k], flat[k], float(area[k]), float(length[k])) for k in kept], index[kept]


def more(rule: str, n: int, severity: Severity) -> Finding:
    """Return the finding that stands for those of a rule that are too many to list."""
    message = N_("{n} more of this kind are not listed; they show when these are mended.")
    return Finding(rule, severity, (), None, message, {"n": n})

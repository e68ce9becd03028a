"""Whether a whole file lies beside its place 整体偏移, as files do whose datum was taken for another one.

Pairs of points, one as the file has it and one as the district knows it (cells of the same code, communities, places of
the same name), must lie on one another up to chance. Where they all miss by the same way, the file's numbers are read
in every other datum: the one in which the miss goes away is named. Knows nothing of gaps and overlaps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from core.datums import Datum, Plane, from_cgcs2000, to_cgcs2000
from core.errors import Invalid
from grid.cellset import CellSet
from grid.findings import Finding, Known, Told
from grid.mending import Fix
from grid.words import N_

#: A shift below this many metres may be another survey, above it is none.
_NOTICED_M: Final = 60.0
#: A datum explains a shift when what is left is this share of it at most.
_EXPLAINED: Final = 0.35
#: Fewer pairs prove nothing.
_FEWEST: Final = 3
_DATUMS: Final = (Datum.WGS84, Datum.GCJ02, Datum.BD09)
_WINDS: Final = (
    N_("north"),
    N_("north-east"),
    N_("east"),
    N_("south-east"),
    N_("south"),
    N_("south-west"),
    N_("west"),
    N_("north-west"),
)


@dataclass(frozen=True, slots=True)
class Pairs:
    """The same things as the file has them and as the district knows them."""

    #: `(n, 2)` lon lat in EPSG:4490.
    file: NDArray[np.float64]
    known: NDArray[np.float64]

    def miss_m(self, plane: Plane, file: NDArray[np.float64] | None = None) -> tuple[NDArray[np.float64], float]:
        """Return the middle miss in metres east and north, and how sure it is: its standard error."""
        away = plane.to_metres(self.file if file is None else file) - plane.to_metres(self.known)
        middle = np.median(away, axis=0)
        spread = 1.4826 * np.median(np.abs(away - middle), axis=0)
        return middle, float(np.hypot(*spread)) / math.sqrt(len(away))


def pairs(cells: CellSet, known: Known, names: Sequence[str] = ()) -> Pairs:
    """Return what can be compared: communities first; where there are too few, cells by code, then places by name."""
    whole = np.array([shape is not None and not shape.is_empty for shape in cells.geom], dtype=bool)
    middle = np.full((len(cells.code), 2), np.nan)
    if whole.any():
        middle[whole] = shapely.get_coordinates(shapely.centroid(cells.geom[whole]))
    found = _by_community(cells, known, whole)
    if len(found.file) < _FEWEST:
        at = {code: k for k, code in enumerate(known.cells)}
        both = [(i, at[code]) for i, code in enumerate(cells.code) if whole[i] and code in at]
        found = _joined(found, middle, known.centroids, both)
    if len(found.file) < _FEWEST and names:
        unique = {name: k for k, name in enumerate(known.place_names) if known.place_names.count(name) == 1}
        both = [(i, unique[name]) for i, name in enumerate(names) if whole[i] and name in unique]
        found = _joined(found, middle, known.places, both)
    return found


def _joined(found: Pairs, file: NDArray[Any], known: NDArray[Any], both: list[tuple[int, int]]) -> Pairs:
    if not both:
        return found
    mine, theirs = (list(side) for side in zip(*both, strict=True))
    return Pairs(np.vstack((found.file, file[mine])), np.vstack((found.known, known[theirs])))


def _by_community(cells: CellSet, known: Known, whole: NDArray[np.bool_]) -> Pairs:
    """Return the centroids of communities: of the cells that claim one together, and of its known polygon.

    Only where both are about as large, so that a file of some cells of a community does not look shifted.
    """
    claimed: dict[str, list[int]] = {}
    for i in np.flatnonzero(whole).tolist():
        claimed.setdefault(cells.community[i] or cells.code[i][:12], []).append(i)
    file, theirs = [], []
    for code, members in claimed.items():
        polygon = known.communities.get(code)
        if polygon is None:
            continue
        shapes = cells.geom[members]
        areas = shapely.area(shapes)
        if 0.9 <= areas.sum() / shapely.area(polygon) <= 1.1:
            middles = shapely.get_coordinates(shapely.centroid(shapes))
            file.append(np.average(middles, axis=0, weights=np.maximum(areas, 1e-15)))
            theirs.append(shapely.get_coordinates(shapely.centroid(polygon))[0])
    return Pairs(np.array(file).reshape(-1, 2), np.array(theirs).reshape(-1, 2))


def check_shift(cells: CellSet, known: Known, told: Told, plane: Plane) -> list[Finding]:
    """Return the finding that the whole file lies beside its place, with the datum that would fit, if it does."""
    found = pairs(cells, known, told.names)
    if len(found.file) < _FEWEST:
        return []
    miss, error = found.miss_m(plane)
    length = float(np.hypot(*miss))
    if length < max(_NOTICED_M, 3 * error):
        return []
    wind = _WINDS[round(math.degrees(math.atan2(miss[0], miss[1])) / 45) % 8]
    params: dict[str, Any] = {"metres": round(length), "wind": wind, "said": told.datum.value}
    west, south, east, north = shapely.total_bounds(cells.geom)
    outline = shapely.box(west, south, east, north)
    best, left = _explanation(found, told.datum, plane)
    if best is not None and left <= _EXPLAINED * length:
        return [
            Finding(
                "datum",
                "refuses",
                (),
                outline,
                N_(
                    "The whole file lies {metres} m to the {wind} of where the district knows the same things to be."
                    " It was read as {said}; read as {datum} it would fit within {left} m."
                ),
                {**params, "datum": best.value, "left": max(round(left), 1)},
                Fix("datum", values=(best.value,)),
            )
        ]
    return [
        Finding(
            "shift",
            "warns",
            (),
            outline,
            N_(
                "The whole file lies {metres} m to the {wind} of where the district knows the same things to be,"
                " and no known datum explains it: ask whoever made it."
            ),
            params,
        )
    ]


def _explanation(found: Pairs, said: Datum, plane: Plane) -> tuple[Datum | None, float]:
    """Return the datum in which the file's own numbers lie nearest to what is known, and the miss that is left."""
    numbers = from_cgcs2000(found.file, said)
    best, left = None, math.inf
    for datum in _DATUMS:
        if datum is said or (datum is Datum.WGS84 and said is Datum.CGCS2000):
            continue
        try:
            again = to_cgcs2000(numbers, datum)
        except Invalid:
            # Numbers at the very edge of China, which this datum would carry outside.
            continue
        miss, _ = found.miss_m(plane, again)
        if float(np.hypot(*miss)) < left:
            best, left = datum, float(np.hypot(*miss))
    return best, left

"""A set of cells that somebody drew, imported or proposed, before it is the grid: plain columns, no database."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(slots=True)
class CellSet:
    """`n` cells side by side; every column has the length of `geom`."""

    #: 15 digits; empty where no number was given yet.
    code: list[str]
    #: 12-digit code of the community that each cell is in.
    community: list[str]
    #: One of `grid.derive.KINDS` or `mixed`; empty where unknown.
    kind: list[str]
    #: `(n,)` polygons or multipolygons, EPSG:4490.
    geom: NDArray[Any]
    #: Households inside; None where nobody counted.
    households: list[int | None]

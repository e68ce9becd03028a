"""Proposals that mend small faults of imported cells 修正建议, and the cells after a person accepted some.

A proposal says which sliver goes to or from which cell, not what the cell looks like afterwards: so any number of them
can be accepted, in any order. Whoever accepted some checks the cells anew. Nothing here decides what is a fault.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from core.errors import Invalid
from grid.cellset import CellSet

#: Degrees on which snapped boundaries lie: 0.1 mm. Rounding to it lets edges meet that arithmetic left a hair apart,
#: and moves no vertex by more than a tenth of what counts as a sliver at all.
SNAP: Final = 1e-9
#: Farther from a cell than this many degrees, an edge is not the cell's.
_ON: Final = 3e-9

#: give: the sliver is added to the cell. take: it is cut from the cell. reshape: the cell's boundary becomes `shape`.
#: number: the cells get the codes in `values`. datum, swap: the whole file is read again, in the datum `values[0]`, or
#: with its axes exchanged.
FixKind = Literal["give", "take", "reshape", "number", "datum", "swap"]
#: Those that are done by reading the file again.
AGAIN: Final = frozenset({"datum", "swap"})


@dataclass(frozen=True, slots=True)
class Fix:
    """One proposal."""

    kind: FixKind
    #: Indices in the `CellSet` of the cells that it changes.
    cells: tuple[int, ...] = ()
    #: The sliver, or the new boundary; EPSG:4490.
    shape: Any = None
    values: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return plain values; the geometry as hex of its WKB."""
        wkb = None if self.shape is None else shapely.to_wkb(self.shape, hex=True)
        return {"kind": self.kind, "cells": list(self.cells), "shape": wkb, "values": list(self.values)}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Self:
        """Return what `as_json` wrote."""
        shape = None if told["shape"] is None else shapely.from_wkb(told["shape"])
        return cls(told["kind"], tuple(told["cells"]), shape, tuple(told["values"]))


def apply(cells: CellSet, fixes: Iterable[Fix]) -> CellSet:
    """Return the cells with proposals done, one after the other; the given set stays as it is.

    Raises Invalid for one that is done by reading the file again, and for one that no longer fits its cell.
    """
    code, geom = list(cells.code), np.array(cells.geom, dtype=object)
    for fix in fixes:
        if fix.kind in AGAIN:
            raise Invalid("This proposal changes how the whole file is read; accept it by itself.")
        if fix.kind == "number":
            for index, new in zip(fix.cells, fix.values, strict=True):
                code[index] = new
            continue
        (index,) = fix.cells
        changed = fix.shape if fix.kind == "reshape" else _changed(geom[index], fix)
        if changed is None:
            raise Invalid("A proposal no longer fits; check the cells again.")
        geom[index] = changed
    community = [given or new[:12] for given, new in zip(cells.community, code, strict=True)]
    return replace(cells, code=code, geom=geom, community=community)


def _changed(shape: Any, fix: Fix) -> Any:
    """Return the cell with its sliver given or taken; None where it would vanish."""
    # A sliver's corner that was cut lies a hair beside the cell's edge: the edge gets it as a corner first.
    near = shapely.snap(shape, fix.shape, _ON)
    made = shapely.union(near, fix.shape) if fix.kind == "give" else shapely.difference(near, fix.shape)
    polygons = [part for part in shapely.get_parts(made) if part.geom_type == "Polygon" and not part.is_empty]
    return (polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)) if polygons else None


def keeps_form(shape: Any, fix: Fix) -> bool:
    """Return whether a cell has as many parts and holes after a proposal as before: a snap must not tear it."""
    made = _changed(shape, fix)
    return made is not None and all(new <= old for new, old in zip(_form(made), _form(shape), strict=True))


def _form(shape: Any) -> tuple[int, int]:
    parts = shapely.get_parts(shape)
    return len(parts), int(shapely.get_num_interior_rings(parts).sum())


def receiver(sliver: Any, shapes: NDArray[Any], candidates: Sequence[int]) -> int | None:
    """Return which of the candidate cells shares most of a sliver's edge; None where none shares any.

    Measured by the middles of the sliver's edges, because edges that were cut meet within a hair, not exactly.
    """
    ring = shapely.get_coordinates(shapely.get_exterior_ring(sliver))
    middles, lengths = shapely.points((ring[1:] + ring[:-1]) / 2), np.hypot(*(ring[1:] - ring[:-1]).T)
    shared = [float(lengths[shapely.distance(shapes[i], middles) < _ON].sum()) for i in candidates]
    best = int(np.argmax(shared)) if shared else 0
    return int(candidates[best]) if shared and shared[best] > 0 else None


def healed(shape: Any) -> Any:
    """Return a broken polygon's boundary made simple, holes and parts kept; None where nothing of it can be used."""
    made = shapely.make_valid(shape, method="structure", keep_collapsed=False)
    polygons = [part for part in shapely.get_parts(made) if part.geom_type == "Polygon" and not part.is_empty]
    return (polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)) if polygons else None

"""The cell that a point lies in, answered inside the process without the database.

A raster over the district holds, for every pixel that no cell edge touches, the cell it lies in; only points in the
remaining pixels are tested against polygons. The answers equal `ST_Covers` in SQL with the lowest code winning on a
shared edge. Knows nothing of when cells change: whoever holds a locator loads a new one.
"""

from typing import Any

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from sqlalchemy import text
from sqlalchemy.orm import Session

#: Pixels of the raster at most, four bytes each. 8 million make pixels of some 16 m over a large district.
_PIXELS = 8_000_000
#: What the raster holds where no cell is, and where an edge passes and polygons must be asked.
_OUTSIDE, _MIXED = -1, -2
#: In pixels; an edge this near to a pixel's border marks both sides, so that rounding cannot split their opinions.
_SLACK = 1e-6


class Locator:
    """The cells 网格 of one district, ready to be asked for points."""

    def __init__(self, codes: list[str], polygons: NDArray[Any], *, pixels: int = _PIXELS) -> None:
        """Build from equally long codes and shapely polygons or multipolygons in EPSG:4490, in any order.

        Cells without a polygon are never an answer. `pixels` bounds the memory.
        """
        kept = [(code, shape) for code, shape in zip(codes, polygons, strict=True) if shape and not shape.is_empty]
        kept.sort(key=lambda pair: pair[0])
        #: In ascending order, so that the lower index is the lower code.
        self.codes = [code for code, _ in kept]
        self._polygons = np.array([shape for _, shape in kept], dtype=object)
        shapely.prepare(self._polygons)
        self._tree = shapely.STRtree(self._polygons)
        self._candidates: dict[int, tuple[int, ...]] = {}
        west, south, east, north = shapely.total_bounds(self._polygons) if kept else (0.0, 0.0, 0.0, 0.0)
        size = max(((east - west) * (north - south) / pixels) ** 0.5, 1e-6)
        self._size, self._per_degree = float(size), float(1 / size)
        # One pixel of margin on each side, so that the bounds themselves are not on the raster's border.
        self._west, self._south = float(west - size), float(south - size)
        self._width, self._height = (int(span * self._per_degree) + 3 for span in (east - west, north - south))
        raster = self._paint() if kept else np.full((self._height, self._width), _OUTSIDE, dtype=np.int32)
        self._raster: NDArray[np.int32] = raster.ravel()
        self._quick = self._raster.data

    def locate(self, lng: float, lat: float) -> str | None:
        """Return the code of the cell that covers a point in EPSG:4490, or None outside every cell.

        On a shared edge the lower code wins. About a microsecond; some 20 in the few pixels that an edge crosses.
        """
        column, row = (lng - self._west) * self._per_degree, (lat - self._south) * self._per_degree
        if not (0 <= column < self._width and 0 <= row < self._height):
            return None
        pixel = int(row) * self._width + int(column)
        found = self._quick[pixel]
        if found == _MIXED:
            for index in self._candidates.get(pixel) or self._ask_tree(pixel):
                if shapely.intersects_xy(self._polygons[index], lng, lat):
                    return self.codes[index]
            return None
        return None if found == _OUTSIDE else self.codes[found]

    def locate_many(self, lng_lat: ArrayLike) -> NDArray[np.intp]:
        """Return, for `(n, 2)` float64 lon lat in EPSG:4490, indices `(n,)` into `codes`; -1 outside every cell."""
        given = np.asarray(lng_lat, dtype=np.float64).reshape(-1, 2)
        lng, lat = np.ascontiguousarray(given[:, 0]), np.ascontiguousarray(given[:, 1])
        column, row = (lng - self._west) * self._per_degree, (lat - self._south) * self._per_degree
        inside = (column >= 0) & (column < self._width) & (row >= 0) & (row < self._height)
        if not inside.all():
            column, row = np.where(inside, column, 0), np.where(inside, row, 0)
        found = self._raster[row.astype(np.intp) * self._width + column.astype(np.intp)].astype(np.intp)
        found[~inside] = _OUTSIDE
        mixed = np.flatnonzero(found == _MIXED)
        if mixed.size:
            found[mixed] = self._exact(lng[mixed], lat[mixed])
        return found

    def _ask_tree(self, pixel: int) -> tuple[int, ...]:
        """Return and remember the cells that a pixel's box meets, lowest first."""
        row, column = divmod(pixel, self._width)
        west, south = self._west + column * self._size, self._south + row * self._size
        slack = self._size * _SLACK
        box = shapely.box(west - slack, south - slack, west + self._size + slack, south + self._size + slack)
        found = tuple(sorted(int(index) for index in self._tree.query(box)))
        self._candidates[pixel] = found
        return found

    def _exact(self, lng: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the lowest cell that covers each point, asked of the polygons themselves; -1 for none."""
        best = np.full(lng.size, len(self.codes), dtype=np.intp)
        points, cells = self._tree.query(shapely.points(lng, lat))
        hit = shapely.intersects_xy(self._polygons[cells], lng[points], lat[points])
        np.minimum.at(best, points[hit], cells[hit])
        best[best == len(self.codes)] = _OUTSIDE
        return best

    def _paint(self) -> NDArray[np.int32]:
        """Return the raster `(height, width)`: edges first, then each region between them asked once."""
        raster = np.zeros((self._height, self._width), dtype=np.int32)
        rows, columns = self._edge_pixels()
        raster[rows, columns] = _MIXED
        # Within a region that no edge touches every pixel has the same answer: one question to the tree for each.
        regions, count = ndimage.label(raster == 0)
        some = np.empty(count + 1, dtype=np.intp)
        some[regions.ravel()] = np.arange(regions.size)
        row, column = np.divmod(some[1:], self._width)
        lng = self._west + (column + 0.5) * self._size
        lat = self._south + (row + 0.5) * self._size
        answers = np.empty(count + 1, dtype=np.int32)
        answers[0] = _MIXED
        answers[1:] = self._exact(lng, lat)
        painted: NDArray[np.int32] = answers[regions]
        return painted

    def _edge_pixels(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return rows and columns of every pixel that an edge of a cell touches; repeats are possible."""
        lines = shapely.boundary(self._polygons)
        coordinates, owner = shapely.get_coordinates(shapely.get_parts(lines), return_index=True)
        grid = (coordinates - (self._west, self._south)) * self._per_degree
        joined = owner[1:] == owner[:-1]
        start, end = grid[:-1][joined], grid[1:][joined]
        spots = [grid, *(_crossings(start, end, axis) for axis in (0, 1))]
        touched = np.concatenate(spots)
        nudges = np.array([(east, north) for east in (-_SLACK, _SLACK) for north in (-_SLACK, _SLACK)])
        near = (touched[:, None, :] + nudges).reshape(-1, 2)
        columns, rows = np.floor(near).astype(np.intp).T
        return rows, columns


def load_locator(session: Session, district: str) -> Locator:
    """Return a locator over the cells of a district as they stand in the database. Reads only."""
    found = session.execute(
        text("SELECT code, ST_AsBinary(geom) FROM cell WHERE district_code = :district AND geom IS NOT NULL"),
        {"district": district},
    ).all()
    return Locator([code for code, _ in found], shapely.from_wkb([bytes(shape) for _, shape in found]))


def _crossings(start: NDArray[np.float64], end: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return where segments cross the lines between pixels, `(n, 2)` in pixels; axis 0 the upright lines, 1 the level.

    Every pixel that a segment passes through holds an end of it or a crossing on its border, so these suffice.
    """
    low, high = np.minimum(start[:, axis], end[:, axis]), np.maximum(start[:, axis], end[:, axis])
    first = np.ceil(low).astype(np.intp)
    count = np.maximum(np.floor(high).astype(np.intp) - first + 1, 0)
    count[high == low] = 0
    segment = np.repeat(np.arange(start.shape[0]), count)
    nth = np.arange(segment.size) - np.repeat(np.cumsum(count) - count, count)
    line = (first[segment] + nth).astype(np.float64)
    begin, finish = start[segment], end[segment]
    share = (line - begin[:, axis]) / (finish[:, axis] - begin[:, axis])
    spots: NDArray[np.float64] = begin + share[:, None] * (finish - begin)
    spots[:, axis] = line
    return spots

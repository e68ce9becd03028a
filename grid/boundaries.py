"""Boundaries from GeoJSON files, checked before anything believes them: rings closed, simple, in China, in order.

A broken boundary is never repaired silently: the report says what is wrong with which feature, and the load is refused.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from core import datums
from core.datums import Datum
from core.errors import Invalid
from grid.tabular import Rejects

#: Features of one file; the nation has 40,000 towns.
_MOST: Final = 2_000_000
#: What the `crs` member of old GeoJSON says, by the ending of its name.
_CRS: Final = {"CRS84": Datum.WGS84, "4326": Datum.WGS84, "4490": Datum.CGCS2000}


def read_boundaries(
    path: Path,
    *,
    datum: Datum,
    rejects: Rejects,
    mapping: Mapping[str, str | Sequence[str]] | None = None,
    lines: bool = False,
) -> tuple[list[int], list[dict[str, str]], NDArray[Any]]:
    """Return feature numbers (from 1), their properties as text and `(n,)` polygons in EPSG:4490.

    lines: take lines besides polygons, as they are (roads, water). Refused features go to `rejects`. Raises
    Invalid when the file is no feature collection, or says another datum.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Invalid("{file} is not JSON.", file=path.name) from error
    features = told.get("features") if isinstance(told, dict) else None
    if not isinstance(features, list) or not 0 < len(features) <= _MOST:
        raise Invalid("{file} is not a GeoJSON feature collection with features.", file=path.name)
    _check_crs(told, datum, path.name)
    read = _line if lines else _shape
    numbers: list[int] = []
    properties: list[dict[str, str]] = []
    shapes: list[shapely.Geometry] = []
    for number, feature in enumerate(features, 1):
        shape = read(feature, path.name, number, datum=datum, rejects=rejects)
        if shape is not None:
            numbers.append(number)
            properties.append(_text(feature.get("properties") or {}, mapping or {}))
            shapes.append(shape)
    return numbers, properties, np.array(shapes, dtype=object)


def _check_crs(told: Mapping[str, Any], datum: Datum, file: str) -> None:
    crs = told.get("crs")
    name = str(((crs or {}).get("properties") or {}).get("name", "")) if isinstance(crs, dict) else ""
    said = next((known for ending, known in _CRS.items() if name.endswith(ending)), None)
    # WGS84 and CGCS2000 are one to us; a shifted datum over a file that says CRS84 is somebody's mistake.
    if said and datum in (Datum.GCJ02, Datum.BD09):
        raise Invalid("{file} says it is {said}, the load says {datum}.", file=file, said=said.value, datum=datum.value)


def _text(properties: Mapping[str, Any], mapping: Mapping[str, str | Sequence[str]]) -> dict[str, str]:
    renamed = {str(theirs): ours for ours, theirs in mapping.items() if isinstance(theirs, str)}
    plain = {str(name): "" if value is None else str(value).strip() for name, value in properties.items()}
    return plain | {ours: plain[theirs] for theirs, ours in renamed.items() if theirs in plain}


def _shape(feature: Any, file: str, number: int, *, datum: Datum, rejects: Rejects) -> shapely.Geometry | None:
    """Return one feature's polygon in EPSG:4490, or None after saying why not."""

    def refuse(why: str, /, **params: Any) -> None:
        rejects.add(file, number, column="geometry", reason=why, **params)

    shape = feature.get("geometry") if isinstance(feature, dict) else None
    if not isinstance(shape, dict) or shape.get("type") not in ("Polygon", "MultiPolygon"):
        refuse("The geometry is not a polygon.")
        return None
    groups = shape.get("coordinates")
    if shape["type"] == "Polygon":
        groups = [groups]
    try:
        rings = [[np.asarray(ring, dtype=np.float64)[:, :2] for ring in group] for group in groups or ()]
    except (TypeError, ValueError, IndexError):
        refuse("The coordinates are not rings of longitude and latitude.")
        return None
    flat = [ring for group in rings for ring in group]
    if not flat or not all(rings):
        refuse("The geometry is empty.")
        return None
    for ring in flat:
        if len(ring) < 4:
            refuse("A ring has fewer than four points.")
            return None
        if not (ring[0] == ring[-1]).all():
            refuse("A ring is not closed: its last point is not its first.")
            return None
    try:
        turned = [[datums.to_cgcs2000(ring, datum) for ring in group] for group in rings]
    except Invalid as error:
        refuse(error.message, **error.params)
        return None
    made = shapely.MultiPolygon([shapely.Polygon(group[0], group[1:]) for group in turned])
    if not shapely.is_valid(made):
        refuse("The boundary is not simple: {fault}.", fault=shapely.is_valid_reason(made))
        return None
    if shapely.area(made) == 0:
        refuse("The geometry is empty.")
        return None
    return made


def _line(feature: Any, file: str, number: int, *, datum: Datum, rejects: Rejects) -> shapely.Geometry | None:
    """Return one feature's lines (or polygon) in EPSG:4490, or None after saying why not."""
    shape = feature.get("geometry") if isinstance(feature, dict) else None
    if not isinstance(shape, dict) or shape.get("type") not in ("LineString", "MultiLineString"):
        return _shape(feature, file, number, datum=datum, rejects=rejects)
    groups = shape.get("coordinates")
    if shape["type"] == "LineString":
        groups = [groups]
    try:
        runs = [np.asarray(run, dtype=np.float64)[:, :2] for run in groups or ()]
    except (TypeError, ValueError, IndexError):
        rejects.add(file, number, column="geometry", reason="The coordinates are not lines of longitude and latitude.")
        return None
    try:
        turned = [datums.to_cgcs2000(run, datum) for run in runs]
    except Invalid as error:
        rejects.add(file, number, column="geometry", reason=error.message, **error.params)
        return None
    # A line that stays on one spot leads nowhere.
    turned = [run for run in turned if len(run) > 1 and (run != run[0]).any()]
    if not turned:
        rejects.add(file, number, column="geometry", reason="The geometry is empty.")
        return None
    return shapely.LineString(turned[0]) if len(turned) == 1 else shapely.MultiLineString(turned)

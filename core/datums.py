"""Datums 坐标基准: the only place that makes a geometry from numbers, and it demands to know what the numbers are in.

Knows CGCS2000, WGS84, GCJ-02 (Amap, Tencent, most phones' Chinese maps) and BD-09 (Baidu), and metres over short
distances. Does not know which datum a source is in: whoever reads the source says it. Everything is stored in EPSG:4490
(CGCS2000, longitude then latitude); WGS84 differs from it by less than a metre and is taken as equal.
The offsets are those that the public reimplementations of GCJ-02 and BD-09 agree on (package prcoords, CC0).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

import numpy as np
import shapely
from geoalchemy2 import WKBElement
from numpy.typing import ArrayLike, NDArray

from core.errors import Invalid

#: EPSG code of CGCS2000 geographic coordinates, the one datum of every stored geometry.
SRID = 4490
#: Longitude and latitude between which the offsets of GCJ-02 are defined and a Chinese address can lie.
CHINA = (72.004, 0.8293, 137.8347, 55.8271)

Lonlat = NDArray[np.float64]

#: Krasovsky 1940, which GCJ-02 mixes with WGS84.
_KRASOVSKY_A, _KRASOVSKY_E2 = 6378245.0, 0.00669342162296594323
#: CGCS2000's own ellipsoid (GB 22021), for metres.
_A, _E2 = 6378137.0, 0.00669438002290
#: BD-09's constant shift in degrees, lon and lat.
_BAIDU = (0.0065, 0.0060)
#: About 0.1 mm in degrees: the inverse is iterated until nothing moves further than this.
_SETTLED = 1e-9


class Datum(StrEnum):
    """What longitude and latitude are measured in."""

    #: 国家大地坐标系 2000, EPSG:4490.
    CGCS2000 = "CGCS2000"
    #: GPS, OpenStreetMap, EPSG:4326.
    WGS84 = "WGS84"
    #: 火星坐标系: Amap, Tencent; shifted by 300 to 700 m.
    GCJ02 = "GCJ-02"
    #: 百度坐标系: GCJ-02 shifted once more.
    BD09 = "BD-09"

    @classmethod
    def parse(cls, name: "str | Datum | None", *, field: str = "datum") -> "Datum":
        """Return the datum that a file, a form or a channel names; case, hyphens and spaces do not matter.

        Raises Invalid where it is missing or unknown: a guessed datum is wrong by half a kilometre and looks right.
        """
        if isinstance(name, Datum):
            return name
        if name is None or not str(name).strip():
            raise Invalid("The datum of the coordinates is missing: say WGS84, CGCS2000, GCJ-02 or BD-09.", field=field)
        key = "".join(letter for letter in str(name).upper() if letter.isalnum())
        found = _ALIASES.get(key)
        if found is None:
            raise Invalid(
                "The datum {name} is not known: say WGS84, CGCS2000, GCJ-02 or BD-09.", field=field, name=str(name)[:40]
            )
        return found


_ALIASES = {
    **dict.fromkeys(("CGCS2000", "EPSG4490", "4490", "国家2000", "大地2000", "CGCS"), Datum.CGCS2000),
    **dict.fromkeys(("WGS84", "EPSG4326", "4326", "WGS1984", "GPS", "CRS84", "OGCCRS84"), Datum.WGS84),
    **dict.fromkeys(("GCJ02", "GCJ", "AMAP", "GAODE", "TENCENT", "高德", "腾讯", "火星", "MARS"), Datum.GCJ02),
    **dict.fromkeys(("BD09", "BD09LL", "BD", "BAIDU", "百度"), Datum.BD09),
}


def point(lng: float, lat: float, datum: Datum | str | None, *, field: str = "point") -> shapely.Point:
    """Return a point in EPSG:4490 made from a longitude and a latitude in `datum`.

    Raises Invalid for a missing datum, anything that is not a number, swapped coordinates and points outside China;
    `field` names the member of the form that is at fault.
    """
    try:
        pair = np.array([[float(lng), float(lat)]])
    except (TypeError, ValueError) as error:
        raise Invalid("Longitude and latitude must be numbers in degrees.", field=field) from error
    ((east, north),) = to_cgcs2000(pair, datum, field=field)
    return shapely.Point(east, north)


def to_cgcs2000(lng_lat: ArrayLike, datum: Datum | str | None, *, field: str = "point") -> Lonlat:
    """Return `(n, 2)` float64 lon lat in EPSG:4490 from the same shape in `datum`.

    Converted back, a point returns to within 2 cm. Raises Invalid as `point` does, if any row is at fault.
    """
    known, given = Datum.parse(datum), _checked(lng_lat, field)
    if known is Datum.GCJ02:
        return _inverse(_to_gcj, given)
    if known is Datum.BD09:
        return _inverse(_to_gcj, _inverse(_gcj_to_bd, given))
    return given


def from_cgcs2000(lng_lat: ArrayLike, datum: Datum | str) -> Lonlat:
    """Return `(n, 2)` float64 lon lat in `datum` from the same shape in EPSG:4490; for maps of Amap and Baidu."""
    known, given = Datum.parse(datum), np.asarray(lng_lat, dtype=np.float64).reshape(-1, 2)
    if known in (Datum.CGCS2000, Datum.WGS84):
        return given.copy()
    shifted = _to_gcj(given)
    return shifted if known is Datum.GCJ02 else _gcj_to_bd(shifted)


def geometry(shape: shapely.Geometry, datum: Datum | str | None, *, field: str = "geometry") -> shapely.Geometry:
    """Return a geometry of any kind in EPSG:4490 from one whose coordinates are in `datum`; drops heights.

    Raises Invalid for an empty geometry and as `point` does. Does not check whether rings cross themselves.
    """
    known = Datum.parse(datum)
    if shape is None or shapely.is_empty(shape):
        raise Invalid("The geometry is empty.", field=field)
    return shapely.transform(shapely.force_2d(shape), partial(to_cgcs2000, datum=known, field=field))


def ewkb(shape: shapely.Geometry) -> bytes:
    """Return the extended WKB of a geometry in EPSG:4490 with its SRID inside; PostGIS takes it as a bound value.

    Without the SRID a geometry column accepts the value silently and every spatial comparison fails later.
    """
    return bytes(shapely.to_wkb(shapely.set_srid(shape, SRID), include_srid=True))


def to_db(shape: shapely.Geometry) -> WKBElement:
    """Return a geometry in EPSG:4490 as the value that a geoalchemy2 column takes, with its SRID."""
    return WKBElement(ewkb(shape), srid=SRID, extended=True)


def from_db(value: Any) -> shapely.Geometry:
    """Return the shapely geometry of a column's value: WKBElement, bytes, memoryview or hex; EPSG:4490."""
    raw = value.data if isinstance(value, WKBElement) else value
    return shapely.from_wkb(raw if isinstance(raw, str) else bytes(raw))


def distance_m(start: ArrayLike, end: ArrayLike) -> NDArray[np.float64]:
    """Return metres `(n,)` between points `(n, 2)` or `(2,)`, lon lat in EPSG:4490, broadcast against each other.

    Uses the ellipsoid's radii at the middle latitude: within 0.1 % up to 200 km, which is more than a district.
    """
    one, two = np.atleast_2d(np.asarray(start, float)), np.atleast_2d(np.asarray(end, float))
    per_lng, per_lat = _metres_per_degree((one[:, 1] + two[:, 1]) / 2)
    metres: NDArray[np.float64] = np.hypot((two[:, 0] - one[:, 0]) * per_lng, (two[:, 1] - one[:, 1]) * per_lat)
    return metres


@dataclass(frozen=True, slots=True)
class Plane:
    """A flat map in metres around one point, for arithmetic inside a district; `at` makes it.

    Within 50 km of its origin lengths differ from the ellipsoid's by less than 0.5 % at Chinese latitudes.
    """

    #: The origin, EPSG:4490.
    lng: float
    lat: float
    #: Metres of one degree there.
    per_lng: float
    per_lat: float

    @classmethod
    def at(cls, lng: float, lat: float) -> "Plane":
        """Return the plane that touches the ellipsoid at a point in EPSG:4490."""
        per_lng, per_lat = _metres_per_degree(np.array([lat]))
        return cls(lng=lng, lat=lat, per_lng=float(per_lng[0]), per_lat=float(per_lat[0]))

    def to_metres(self, lng_lat: ArrayLike) -> NDArray[np.float64]:
        """Return `(n, 2)` metres east and north of the origin from lon lat in EPSG:4490."""
        given = np.asarray(lng_lat, dtype=np.float64).reshape(-1, 2)
        metres: NDArray[np.float64] = (given - (self.lng, self.lat)) * (self.per_lng, self.per_lat)
        return metres

    def to_degrees(self, metres: ArrayLike) -> Lonlat:
        """Return `(n, 2)` lon lat in EPSG:4490 from metres east and north of the origin."""
        given = np.asarray(metres, dtype=np.float64).reshape(-1, 2)
        degrees: Lonlat = given / (self.per_lng, self.per_lat) + (self.lng, self.lat)
        return degrees


def _checked(lng_lat: ArrayLike, field: str) -> Lonlat:
    """Return a copy as `(n, 2)` float64; raises Invalid on the first kind of fault found."""
    try:
        given = np.array(lng_lat, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise Invalid("Longitude and latitude must be numbers in degrees.", field=field) from error
    if given.size % 2 or (given.ndim == 2 and given.shape[1] != 2) or given.ndim > 2:
        raise Invalid("Coordinates must come in pairs of longitude and latitude.", field=field)
    given = given.reshape(-1, 2)
    if not np.isfinite(given).all():
        raise Invalid("Longitude and latitude must be numbers in degrees.", field=field)
    west, south, east, north = CHINA
    lng, lat = given[:, 0], given[:, 1]
    wrong = (lng < west) | (lng > east) | (lat < south) | (lat > north)
    if wrong.any():
        first = int(np.argmax(wrong))
        shown = {"lng": round(float(lng[first]), 6), "lat": round(float(lat[first]), 6)}
        if south <= shown["lng"] <= north and west <= shown["lat"] <= east:
            raise Invalid(
                "Longitude {lng} and latitude {lat} look swapped: longitude comes first.", field=field, **shown
            )
        raise Invalid("The point {lng}, {lat} lies outside China.", field=field, **shown)
    return given


def _metres_per_degree(lat: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return metres of a degree of longitude and of latitude at latitudes in degrees, on CGCS2000's ellipsoid."""
    phi = np.radians(lat)
    bulge = 1 - _E2 * np.sin(phi) ** 2
    return np.radians(_A * np.cos(phi) / np.sqrt(bulge)), np.radians(_A * (1 - _E2) / bulge**1.5)


def _to_gcj(wgs: Lonlat) -> Lonlat:
    """Return GCJ-02 from WGS84, `(n, 2)` lon lat."""
    lng, lat = wgs[:, 0], wgs[:, 1]
    x, y, pi = lng - 105, lat - 35, math.pi
    ripple = 2 * np.sin(x * 6 * pi) + 2 * np.sin(x * 2 * pi)
    north = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * np.sqrt(np.abs(x))
    north += 20 / 3 * (ripple + 2 * np.sin(y * pi) + 4 * np.sin(y / 3 * pi))
    north += 20 / 3 * (16 * np.sin(y / 12 * pi) + 32 * np.sin(y / 30 * pi))
    east = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * np.sqrt(np.abs(x))
    east += 20 / 3 * (ripple + 2 * np.sin(x * pi) + 4 * np.sin(x / 3 * pi))
    east += 20 / 3 * (15 * np.sin(x / 12 * pi) + 30 * np.sin(x / 30 * pi))
    phi = np.radians(lat)
    bulge = 1 - _KRASOVSKY_E2 * np.sin(phi) ** 2
    per_lat = np.radians(_KRASOVSKY_A * (1 - _KRASOVSKY_E2) / bulge**1.5)
    per_lng = np.radians(_KRASOVSKY_A * np.cos(phi) / np.sqrt(bulge))
    return np.column_stack((lng + east / per_lng, lat + north / per_lat))


def _gcj_to_bd(gcj: Lonlat) -> Lonlat:
    """Return BD-09 from GCJ-02, `(n, 2)` lon lat."""
    x, y = gcj[:, 0], gcj[:, 1]
    radius = np.hypot(x, y) + 0.00002 * np.sin(np.radians(y) * 3000)
    theta = np.arctan2(y, x) + 0.000003 * np.cos(np.radians(x) * 3000)
    return np.column_stack((radius * np.cos(theta), radius * np.sin(theta))) + _BAIDU


def _inverse(forward: Callable[[Lonlat], Lonlat], shifted: Lonlat) -> Lonlat:
    """Return what `forward` makes `shifted` from, by fixed-point steps; each shrinks the error some thousandfold."""
    found = shifted.copy()
    for _ in range(12):
        miss = forward(found) - shifted
        found -= miss
        if not miss.size or np.abs(miss).max() < _SETTLED:
            break
    return found

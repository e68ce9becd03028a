"""Map files 地图文件 in and out: GeoJSON, Shapefile in a zip, GeoPackage, as cells with the datum that was said.

Files are read in a process of its own (`grid.files_reader`), because they come from strangers and GDAL is large. Knows
how columns are called in China's offices, and which datum a file names. Does not know which cells are right.
"""

import base64
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from core.datums import CHINA, Datum, to_cgcs2000
from core.errors import Invalid
from grid.cellset import CellSet
from grid.findings import Told
from grid.words import N_

#: Bytes of one file; what a form may bring is less (`api.security`).
LARGEST: Final = 64 * 2**20
#: How long the reader may take as people see it; its own limits end it earlier.
_PATIENCE_S: Final = 120
_ROOT: Final = Path(__file__).resolve().parents[1]

Form = Literal["geojson", "shapefile", "gpkg"]
#: Ending and media type of each kind of file.
FORMS: Final[Mapping[str, tuple[str, str]]] = {
    "geojson": (".geojson", "application/geo+json"),
    "shapefile": (".zip", "application/zip"),
    "gpkg": (".gpkg", "application/geopackage+sqlite3"),
}
_SAID: Final[Mapping[str, str]] = {
    "unknown": N_("This is no map file that can be read: GeoJSON, a zip with a Shapefile, or GeoPackage."),
    "lone_shp": N_("A Shapefile is several files: put the .shp, .shx, .dbf, .prj and .cpg into one zip."),
    "unfolds": N_("This file unfolds to more than it may."),
    "locked": N_("This zip is locked by a password."),
    "empty_zip": N_("This zip holds no Shapefile, and not one single GeoJSON or GeoPackage."),
    "no_dbf": N_("The zip lacks the .dbf beside the .shp: without it the cells have no codes."),
    "no_layer": N_("There is no layer {layer}; the file has: {layers}."),
    "several_layers": N_("The file has several layers: {layers}. Say which one holds the cells."),
    "no_polygons": N_("This layer holds no polygons."),
    "no_geopackage": N_("This SQLite file is no GeoPackage, or its tables are not real ones."),
    "many": N_("The file has more than {most} features."),
    "many_points": N_("The file has more than {most} corners; simplify the boundaries first."),
    "no_json": N_("This file is not JSON, or damaged."),
    "no_collection": N_("This is not a GeoJSON feature collection with features."),
    "damaged": N_("This map file is damaged."),
}
#: How offices call the columns; compared without case and spaces.
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "code": ("code", "cell_code", "cellcode", "grid_code", "gridcode", "网格编码", "网格编号", "网格代码", "编码",
             "编号", "wgbm", "wgdm", "wgbh"),
    "community": ("community", "community_code", "comm_code", "社区编码", "社区代码", "村居代码", "sqbm", "sqdm"),
    "kind": ("kind", "cell_kind", "网格类型", "网格类别", "类型", "类别", "wglx"),
    "households": ("households", "网格户数", "户数", "总户数", "家庭户数", "hs", "zhs"),
    "name": ("name", "cell_name", "网格名称", "名称", "wgmc"),
}  # fmt: skip
_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "residential": ("residential", "住宅", "居住", "居民", "小区"),
    "commercial": ("commercial", "商业", "商务", "商贸"),
    "industrial": ("industrial", "工业", "园区", "厂区"),
    "mixed": ("mixed", "混合", "综合", "商住"),
}
_NAMES: Final[Sequence[tuple[Datum, tuple[str, ...]]]] = (
    (Datum.GCJ02, ("GCJ02", "GCJ-02", "GCJ_02", "MARS")),
    (Datum.BD09, ("BD09", "BD-09", "BD_09", "BAIDU")),
    (Datum.CGCS2000, ("4490", "CGCS2000", "CGCS_2000", "CHINA_2000", "CHINA GEODETIC COORDINATE SYSTEM 2000",
                     "CHINA_GEODETIC_COORDINATE_SYSTEM_2000")),
    (Datum.WGS84, ("4326", "CRS84", "WGS 84", "WGS84", "WGS_1984", "WGS 1984")),
)  # fmt: skip
#: Datums whose offsets from CGCS2000 are local and not public.
_OLD: Final = ("BEIJING", "XIAN", "XI'AN", "XI_AN", "PULKOVO", "4214", "4610", "4284")


@dataclass(slots=True)
class MapFile:
    """What a file holds, as it was written: nothing is converted yet."""

    form: Form
    #: Names of the layers that could be read, and of the one that was.
    layers: Sequence[str]
    layer: str
    #: What the file calls its datum; empty where it does not say.
    crs: str
    #: Per feature: its properties, its polygon in the file's own numbers or None, and what is wrong with it.
    properties: Sequence[Mapping[str, str]]
    shapes: NDArray[Any]
    faults: Sequence[str]


@dataclass(slots=True)
class Layer:
    """Features to write: equally long columns beside geometries in EPSG:4490."""

    #: ASCII, for a Shapefile's sake.
    name: str
    geometry: Literal["MultiPolygon", "Point"]
    shapes: NDArray[Any]
    #: Name → values of texts or whole numbers, None for missing; at most ten ASCII letters each, for the same sake.
    columns: Mapping[str, Sequence[Any]]
    #: Names of the columns of whole numbers.
    numbers: Sequence[str] = field(default_factory=tuple)


def read(data: bytes, *, layer: str = "") -> MapFile:
    """Return what a map file holds; raises Invalid, naming `file` or `layer`, with the reason."""
    if len(data) > LARGEST:
        raise Invalid("A file may have at most {n} MB.", field="file", n=LARGEST // 2**20)
    if not data:
        raise Invalid("This file is empty.", field="file")
    told = orjson.loads(_run(["read", layer], data))
    if "refused" in told:
        about = "layer" if told["refused"] in ("no_layer", "several_layers") else "file"
        raise Invalid(_SAID[told["refused"]], field=about, **told["params"])
    features = told["features"]
    if not features:
        raise Invalid("The file holds no features.", field="file")
    if all(feature["fault"] == "not_polygon" for feature in features):
        raise Invalid(_SAID["no_polygons"], field="layer")
    shapes = [None if one["wkb"] is None else shapely.from_wkb(base64.b64decode(one["wkb"])) for one in features]
    return MapFile(
        told["format"],
        told["layers"],
        told["layer"],
        told["crs"],
        [one["properties"] for one in features],
        np.array(shapes, dtype=object),
        [one["fault"] for one in features],
    )


def _run(arguments: Sequence[str], data: bytes) -> bytes:
    argv = [sys.executable, "-P", "-m", "grid.files_reader", *arguments]
    try:
        done = subprocess.run(  # noqa: S603  this house's own module
            argv,
            input=data,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
            cwd=_ROOT,
            # One thread: each would ask for memory of its own under the limit.
            env={"PYTHONPATH": str(_ROOT), "PATH": "", "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise Invalid(_SAID["unfolds"], field="file") from error
    if done.returncode or not done.stdout:
        raise Invalid(_SAID["unfolds"], field="file")
    return done.stdout


def datum_of(crs: str) -> Datum | None:
    """Return the datum that a file's own words name; None where it says nothing, or nothing that is known.

    crs: a name, `EPSG:4490` or well-known text. Raises Invalid for metres of a projection and for the datums of 1954
    and 1980, whose offsets are not public.
    """
    said = crs.upper()
    name = _name_of(crs)
    if any(old in said for old in _OLD):
        raise Invalid(
            "The file is in {name}, an old datum that only its surveyor can convert: ask for CGCS2000 in degrees.",
            field="file",
            name=name,
        )
    if said.startswith(("PROJCS", "PROJCRS")) or "GAUSS" in said or "UTM" in said or "3857" in said:
        raise Invalid(
            "The file is in metres of the projection {name}: export it in degrees, CGCS2000 (EPSG:4490).",
            field="file",
            name=name,
        )
    return next((datum for datum, names in _NAMES if any(word in said for word in names)), None)


def _name_of(crs: str) -> str:
    """Return what a datum is called: the first quoted text of well-known text, else the whole."""
    return (crs.split('"')[1] if crs.count('"') > 1 else crs).strip()[:80]


def cells_of(file: MapFile, datum: str, *, swapped: bool = False) -> tuple[CellSet, Told]:
    """Return the cells of a file in EPSG:4490, and what it said beyond them.

    datum: what the person says; empty for what the file says. swapped: its axes are known to be exchanged. Where all
    numbers look exchanged and nobody said so, they are exchanged to be drawn, and `Told.swapped` is true.
    Raises Invalid, naming `datum`, where neither says one, and for coordinates that lie outside China either way.
    """
    said = datum_of(file.crs)
    taken = Datum.parse(datum or said)
    exchange = swapped or _look_swapped(file.shapes)
    other = said is not None and {said, taken} - {Datum.WGS84, Datum.CGCS2000} and said is not taken
    named = _columns(file.properties)
    told = Told(
        datum=taken,
        swapped=exchange and not swapped,
        unclosed=[i for i, fault in enumerate(file.faults) if fault == "unclosed"],
        faults={i: fault for i, fault in enumerate(file.faults) if fault and fault != "unclosed"},
        names=named["name"],
        said_datum=_name_of(file.crs) if other or (file.crs and said is None) else "",
    )
    geom = np.array([_placed(shape, taken, exchange=exchange) for shape in file.shapes], dtype=object)
    cells = CellSet(
        code=named["code"],
        community=[code if len(code) == 12 else "" for code in named["community"]],
        kind=[_kind(word) for word in named["kind"]],
        geom=geom,
        households=[int(n) if n.isascii() and n.isdigit() and len(n) < 7 else None for n in named["households"]],
    )
    return cells, told


def _columns(properties: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Return our columns out of theirs, whatever they are called."""
    theirs = {name.strip().casefold().replace(" ", ""): name for row in properties for name in row}
    found: dict[str, list[str]] = {}
    for ours, names in _COLUMNS.items():
        name = next((theirs[each] for each in names if each in theirs), None)
        found[ours] = [row.get(name, "") if name is not None else "" for row in properties]
    return found


def _kind(word: str) -> str:
    return next((kind for kind, names in _KINDS.items() if any(name in word.lower() for name in names)), word)


def _look_swapped(shapes: NDArray[Any]) -> bool:
    """Return whether the numbers lie in China with the axes exchanged and not as they are."""
    x, y = shapely.get_coordinates(shapes).T
    west, south, east, north = CHINA
    as_is = (x >= west) & (x <= east) & (y >= south) & (y <= north)
    turned = (y >= west) & (y <= east) & (x >= south) & (x <= north)
    return bool(len(x) and turned.all() and not as_is.any())


def _placed(shape: Any, datum: Datum, *, exchange: bool) -> Any:
    if shape is None:
        return None

    def turn(corners: NDArray[np.float64]) -> NDArray[np.float64]:
        return to_cgcs2000(corners[:, ::-1] if exchange else corners, datum, field="file")

    return shapely.transform(shapely.force_2d(shape), turn)


def write(layers: Sequence[Layer], form: Form, *, encoding: str = "UTF-8") -> bytes:
    """Return a file with layers in EPSG:4490; GeoJSON has one only, in WGS84 as RFC 7946 has it (equal to a metre).

    encoding: of a Shapefile's texts, UTF-8 or GBK; said in its .cpg. Codes are texts, so that no program rounds them.
    Raises Invalid for an encoding that is not known.
    """
    if encoding not in ("UTF-8", "GBK"):
        raise Invalid("The encoding must be UTF-8 or GBK.", field="encoding")
    if form == "geojson":
        return _geojson(layers[0])
    told = {
        "format": form,
        "encoding": encoding,
        "layers": [
            {
                "name": layer.name,
                "geometry": layer.geometry if form == "gpkg" else layer.geometry.removeprefix("Multi"),
                "wkb": [base64.b64encode(shapely.to_wkb(shape)).decode() for shape in layer.shapes],
                "kinds": {name: "int" if name in layer.numbers else "text" for name in layer.columns},
                "columns": layer.columns,
            }
            for layer in layers
        ],
    }
    return _run(["write"], orjson.dumps(told))


def _geojson(layer: Layer) -> bytes:
    shapes = shapely.to_geojson(layer.shapes)
    features = [
        {
            "type": "Feature",
            "properties": {name: values[i] for name, values in layer.columns.items()},
            "geometry": orjson.Fragment(shape),
        }
        for i, shape in enumerate(shapes)
    ]
    return orjson.dumps({"type": "FeatureCollection", "name": layer.name, "features": features})

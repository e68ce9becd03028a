"""Reads a map file of strangers, and writes one, in a process of its own with limits; `grid.files` starts it.

What comes in is bytes of a GeoJSON, a GeoPackage or a zip with a Shapefile. Only what proves to be one by its first
bytes reaches GDAL, under a name of ours, in a folder of its own. See docs/decisions/0310.
"""

import base64
import io
import os
import resource
import sqlite3
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import shapely

#: What reading may take: bytes of memory, seconds of one core, bytes of one file written.
_MEMORY, _SECONDS, _WRITTEN = 2_000_000_000, 60, 400 * 2**20
#: What a zip may unfold to.
_UNFOLDED: Final = 300 * 2**20
_MOST_PARTS: Final = 200
#: Features, corners, and properties that are handed back.
MOST_FEATURES, _MOST_POINTS, _MOST_FIELDS, _LONGEST = 20_000, 3_000_000, 60, 300
_ENDINGS: Final = (".shp", ".shx", ".dbf", ".prj", ".cpg")
#: What a .cpg says → what iconv and Python call it.
_ENCODINGS: Final = {
    "UTF-8": "UTF-8", "UTF8": "UTF-8", "65001": "UTF-8", "GBK": "GBK", "GB2312": "GBK", "936": "GBK", "CP936": "GBK",
    "ANSI 936": "GBK", "OEM 936": "GBK", "GB18030": "GB18030",
}  # fmt: skip
_DRIVERS: Final = {"geojson": "GeoJSON", "gpkg": "GPKG", "shapefile": "ESRI Shapefile"}


class Refused(Exception):
    """The file cannot be taken; the code names the sentence in `grid.files`."""

    def __init__(self, code: str, **params: Any) -> None:
        self.code, self.params = code, params
        super().__init__(code)


def read(data: bytes, layer: str, folder: Path) -> dict[str, Any]:
    """Return what a file holds as plain values; raises Refused."""
    if data[:16] == b"SQLite format 3\0":
        return _geopackage(data, layer, folder)
    if data[:4] == b"PK\x03\x04":
        return _zip(data, layer, folder)
    if data[:4] == b"\x00\x00\x27\x0a":
        raise Refused("lone_shp")
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
        return _geojson(data)
    raise Refused("unknown")


def _zip(data: bytes, layer: str, folder: Path) -> dict[str, Any]:
    """Return what a zip's Shapefile, or the one GeoJSON or GeoPackage in it, holds."""
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        parts = [part for part in packed.infolist() if not part.is_dir() and _plain(part.filename)]
        if len(parts) > _MOST_PARTS or sum(part.file_size for part in parts) > _UNFOLDED:
            raise Refused("unfolds")
        if any(part.flag_bits & 1 for part in parts):
            raise Refused("locked")
        named = {part.filename: part for part in parts}
        stems = {Path(name).stem: name for name in named if name.lower().endswith(".shp")}
        if not stems:
            whole = [name for name in named if name.lower().endswith((".geojson", ".json", ".gpkg"))]
            if len(whole) != 1:
                raise Refused("empty_zip")
            inner = _unfold(packed, named[whole[0]], _UNFOLDED)
            if inner[:2] == b"PK":
                raise Refused("empty_zip")
            return read(inner, layer, folder)
        layers = sorted(stems)
        chosen = _choose(layers, layer)
        base, left, kept = stems[chosen][:-4], _UNFOLDED, {}
        for name, part in named.items():
            ending = name[-4:].lower()
            if name[:-4] == base and ending in _ENDINGS:
                kept[ending] = _unfold(packed, part, left)
                left -= len(kept[ending])
    if ".dbf" not in kept:
        raise Refused("no_dbf")
    for ending in (".shp", ".shx", ".dbf"):
        if ending in kept:
            (folder / f"layer{ending}").write_bytes(kept[ending])
    prj = kept.get(".prj", b"").decode("utf-8", "replace").strip()
    encoding = _encoding(kept.get(".cpg", b""), kept[".dbf"])
    return _gdal("shapefile", folder / "layer.shp", layers, chosen, encoding=encoding) | {"crs": prj[:2000]}


def _plain(name: str) -> bool:
    """Return whether a name in a zip is a file's: no path upwards, no macOS shadow."""
    path = name.replace("\\", "/")
    return not (path.startswith(("/", "__MACOSX/")) or ".." in path.split("/") or Path(path).name.startswith("."))


def _unfold(packed: zipfile.ZipFile, part: zipfile.ZipInfo, most: int) -> bytes:
    """Return a part's bytes, however small it says it is; raises Refused past `most`."""
    with packed.open(part) as stream:
        found = stream.read(most + 1)
    if len(found) > most:
        raise Refused("unfolds")
    return found


def _choose(layers: list[str], layer: str) -> str:
    if layer and layer not in layers:
        raise Refused("no_layer", layer=layer[:60], layers=", ".join(layers[:20])[:300])
    if not layer and len(layers) > 1:
        raise Refused("several_layers", layers=", ".join(layers[:20])[:300])
    if not layers:
        raise Refused("no_polygons")
    return layer or layers[0]


def _encoding(cpg: bytes, dbf: bytes) -> str:
    """Return how a table's texts are encoded: as its .cpg says, else whichever of UTF-8 and GBK reads it better."""
    said = _ENCODINGS.get(cpg.decode("ascii", "replace").strip().upper())
    if said:
        return said
    begin = int.from_bytes(dbf[8:10], "little") if len(dbf) > 10 else 0
    texts = dbf[begin : begin + 2_000_000]
    wrong = {name: texts.decode(name, "replace").count("�") for name in ("utf-8", "gb18030")}
    return "UTF-8" if wrong["utf-8"] <= wrong["gb18030"] else "GBK"


def _geopackage(data: bytes, layer: str, folder: Path) -> dict[str, Any]:
    """Return a layer of a GeoPackage that is a true table: what a view or a trigger would run is never touched."""
    path = folder / "layer.gpkg"
    path.write_bytes(data)
    link = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        link.execute("PRAGMA trusted_schema = OFF")
        kinds = {
            str(name): (str(kind), str(sql or ""))
            for kind, name, sql in link.execute(
                "SELECT type, name, sql FROM sqlite_master WHERE type IN ('table', 'view')"
            )
        }
        tables = {
            name
            for name, (kind, sql) in kinds.items()
            if kind == "table" and not sql.upper().startswith("CREATE VIRTUAL")
        }
        if not {"gpkg_contents", "gpkg_geometry_columns", "gpkg_spatial_ref_sys"} <= tables:
            raise Refused("no_geopackage")
        found = link.execute("SELECT table_name FROM gpkg_contents WHERE data_type = 'features' LIMIT 200")
        layers = sorted(str(name) for (name,) in found if str(name) in tables)
        chosen = _choose(layers, layer)
        count = link.execute('SELECT count(*) FROM "' + chosen.replace('"', '""') + '"').fetchone()  # noqa: S608  a table's own name
        if int(count[0]) > MOST_FEATURES:
            raise Refused("many", most=MOST_FEATURES)
        crs = link.execute(
            "SELECT s.organization || ':' || s.organization_coordsys_id || ' ' || s.srs_name"
            " FROM gpkg_geometry_columns g JOIN gpkg_spatial_ref_sys s ON s.srs_id = g.srs_id WHERE g.table_name = ?",
            (chosen,),
        ).fetchone()
    finally:
        link.close()
    return _gdal("gpkg", path, layers, chosen) | {"crs": str(crs[0])[:2000] if crs and crs[0] else ""}


def _gdal(form: str, path: Path, layers: list[str], layer: str, *, encoding: str | None = None) -> dict[str, Any]:
    """Return the features of a layer, read by GDAL."""
    import pyogrio
    import pyogrio.raw

    pyogrio.set_gdal_config_options({"SHAPE_RESTORE_SHX": "YES", "OGR_GEOJSON_MAX_OBJ_SIZE": "50"})
    name = layer if form == "gpkg" else None
    try:
        meta, _, geometries, columns = pyogrio.raw.read(
            str(path), layer=name, encoding=encoding, force_2d=True, max_features=MOST_FEATURES + 1,
            datetime_as_string=True,
        )  # fmt: skip
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, UnicodeDecodeError, ValueError) as error:
        raise Refused("damaged") from error
    if geometries is None:
        raise Refused("no_polygons")
    if len(geometries) > MOST_FEATURES:
        raise Refused("many", most=MOST_FEATURES)
    fields = [str(field) for field in meta["fields"]][:_MOST_FIELDS]
    features = []
    points = 0
    for i, wkb in enumerate(geometries):
        shape, fault = _from_wkb(wkb)
        points += 0 if shape is None else int(shapely.get_num_coordinates(shape))
        if points > _MOST_POINTS:
            raise Refused("many_points", most=_MOST_POINTS)
        told = {field: _text(columns[k][i]) for k, field in enumerate(fields)}
        features.append(_feature(told, shape, fault))
    return {"format": form, "layers": layers, "layer": layer, "features": features, "encoding": encoding or ""}


def _from_wkb(wkb: bytes | None) -> tuple[Any, str]:
    """Return a polygon from WKB and what is wrong with it: empty, not_polygon, unclosed or nothing."""
    if wkb is None:
        return None, "empty"
    try:
        shape, fault = shapely.from_wkb(wkb), ""
    except shapely.errors.GEOSException:
        shape, fault = shapely.from_wkb(wkb, on_invalid="fix"), "unclosed"
    if shape is None or shape.is_empty:
        return None, "empty"
    if shape.geom_type not in ("Polygon", "MultiPolygon"):
        return None, "not_polygon"
    return shape, fault


def _geojson(data: bytes) -> dict[str, Any]:
    """Return the features of a GeoJSON, read by us: GDAL would mend an open ring in silence."""
    try:
        told = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise Refused("no_json") from error
    features = told.get("features") if isinstance(told, dict) else None
    if not isinstance(features, list):
        raise Refused("no_collection")
    if len(features) > MOST_FEATURES:
        raise Refused("many", most=MOST_FEATURES)
    found, points = [], 0
    for feature in features:
        feature = feature if isinstance(feature, dict) else {}  # noqa: PLW2901  what is no feature is an empty one
        given = feature.get("properties")
        properties = given if isinstance(given, dict) else {}
        fields = list(properties.items())[:_MOST_FIELDS]
        shape, fault = _polygon(feature.get("geometry"))
        points += 0 if shape is None else int(shapely.get_num_coordinates(shape))
        if points > _MOST_POINTS:
            raise Refused("many_points", most=_MOST_POINTS)
        found.append(_feature({str(name)[:60]: _text(value) for name, value in fields}, shape, fault))
    crs = told.get("crs")
    inner = crs.get("properties") if isinstance(crs, dict) else None
    name = str(inner.get("name", ""))[:200] if isinstance(inner, dict) else ""
    return {"format": "geojson", "layers": [], "layer": "", "features": found, "crs": name, "encoding": "UTF-8"}


def _polygon(told: Any) -> tuple[Any, str]:
    """Return a GeoJSON geometry as a polygon, and what is wrong with it."""
    if not isinstance(told, dict):
        return None, "empty"
    groups = told.get("coordinates")
    if told.get("type") == "Polygon":
        groups = [groups]
    elif told.get("type") != "MultiPolygon":
        return None, "not_polygon"
    try:
        rings = [[np.asarray(ring, dtype=np.float64)[:, :2] for ring in group] for group in groups or ()]
    except (TypeError, ValueError, IndexError):
        return None, "numbers"
    flat = [ring for group in rings for ring in group]
    if not flat or not all(rings):
        return None, "empty"
    if not all(np.isfinite(ring).all() for ring in flat):
        return None, "numbers"
    fault = "" if all(len(ring) > 3 and (ring[0] == ring[-1]).all() for ring in flat) else "unclosed"
    if any(len(np.unique(ring, axis=0)) < 3 for ring in flat):
        return None, "few_points"
    closed = [[ring if (ring[0] == ring[-1]).all() else np.vstack((ring, ring[:1])) for ring in g] for g in rings]
    made = [shapely.Polygon(group[0], group[1:]) for group in closed]
    return (made[0] if len(made) == 1 else shapely.MultiPolygon(made)), fault


def _feature(properties: Mapping[str, str], shape: Any, fault: str) -> dict[str, Any]:
    wkb = None if shape is None else base64.b64encode(shapely.to_wkb(shape)).decode()
    return {"properties": dict(properties), "wkb": wkb, "fault": fault}


def _text(value: Any) -> str:
    if value is None or value != value:  # noqa: PLR0124  NaN alone differs from itself
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        # Codes and counts come as floats out of old tables; 15 digits still fit.
        return str(int(value))
    return "".join(letter for letter in str(value).strip() if letter.isprintable())[:_LONGEST]


def write(told: Mapping[str, Any], folder: Path) -> bytes:
    """Return a file of a kind from layers of features; several layers go into one GeoPackage or one zip."""
    import pyogrio
    import pyogrio.raw

    form = told["format"]
    for layer in told["layers"]:
        wkb = np.array([base64.b64decode(one) for one in layer["wkb"]], dtype=object)
        filled = [_column(kind, layer["columns"][name]) for name, kind in layer["kinds"].items()]
        path = folder / ("out.gpkg" if form == "gpkg" else f"{layer['name']}.shp")
        options = {"encoding": told["encoding"]} if form == "shapefile" else {}
        pyogrio.raw.write(
            str(path), wkb, [values for values, _ in filled], list(layer["kinds"]),
            field_mask=[missing for _, missing in filled], layer=layer["name"], driver=_DRIVERS[form],
            geometry_type=layer["geometry"], promote_to_multi=layer["geometry"].startswith("Multi"),
            crs="EPSG:4490", append=path.exists(), **options,
        )  # fmt: skip
    if form == "gpkg":
        return (folder / "out.gpkg").read_bytes()
    return _packed(sorted(path for path in folder.iterdir() if path.suffix in _ENDINGS))


def _column(kind: str, values: list[Any]) -> tuple[Any, Any]:
    """Return a column as GDAL takes it, and which of its values are missing."""
    missing = np.array([value is None for value in values], dtype=bool)
    if kind == "int":
        return np.array([int(value or 0) for value in values], dtype=np.int64), missing
    return np.array([None if value is None else str(value) for value in values], dtype=object), missing


def _packed(paths: Iterable[Path]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in paths:
            packed.writestr(path.name, path.read_bytes())
    return made.getvalue()


def _limits() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_WRITTEN, _WRITTEN))


def _answer(arguments: list[str], data: bytes, folder: Path) -> Iterator[bytes]:
    if arguments[0] == "write":
        yield write(orjson.loads(data), folder)
        return
    try:
        yield orjson.dumps(read(data, arguments[1], folder))
    except Refused as refused:
        yield orjson.dumps({"refused": refused.code, "params": refused.params})
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        EOFError,
        sqlite3.DatabaseError,
        ValueError,
        RuntimeError,
        OSError,
    ):
        yield orjson.dumps({"refused": "damaged", "params": {}})


def main() -> int:
    """Read standard input under limits and write the answer; a crash is the answer that the file is too much."""
    _limits()
    data = sys.stdin.buffer.read()
    # Whatever this process creates lies in a folder that goes with it.
    with tempfile.TemporaryDirectory(prefix="wangge-map-") as folder:
        os.chdir(folder)
        for part in _answer(sys.argv[1:], data, Path(folder)):
            sys.stdout.buffer.write(part)
    return 0


if __name__ == "__main__":
    sys.exit(main())

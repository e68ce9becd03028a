"""Map files of strangers: what offices send is read with its datum, and what would harm is refused in words."""

import contextlib
import io
import json
import sqlite3
import zipfile

import numpy as np
import pytest
import shapely

from core.datums import Datum, from_cgcs2000
from core.errors import Invalid
from grid import files
from grid.checking import check
from grid.files import Layer, cells_of, datum_of, read, write
from grid.findings import Told
from tests.unit.test_checking import sound

pytestmark = pytest.mark.unit

WGS84 = 'GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]],PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]]'


def layer(cells=None, name="cells"):
    cells = cells or sound()[0]
    return Layer(
        name,
        "MultiPolygon",
        cells.geom,
        {"code": cells.code, "kind": cells.kind, "households": [300 + i for i in range(16)], "name": ["网格"] * 16},
        numbers=("households",),
    )


def geojson(features, **more):
    return json.dumps({"type": "FeatureCollection", "features": features, **more}).encode()


def feature(coordinates, kind="Polygon", **properties):
    return {"type": "Feature", "properties": properties, "geometry": {"type": kind, "coordinates": coordinates}}


def packed(data, *, change=None, extra=()):
    """Return a zip with some parts changed: name → bytes, None to leave it out."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = (change or {}).get(name[-4:], old.read(name))
            if content is not None:
                new.writestr(name, content)
        for name, content in extra:
            new.writestr(name, content)
    return made.getvalue()


@pytest.mark.parametrize("form", ["geojson", "shapefile", "gpkg"])
def test_what_is_written_is_read_again_to_the_last_corner(form):
    cells, known = sound()
    again, told = cells_of(read(write([layer(cells)], form)), "" if form != "geojson" else "WGS84")
    assert again.code == cells.code
    assert again.households == [300 + i for i in range(16)]
    assert told.names == ["网格"] * 16
    assert told.said_datum == ""
    assert shapely.equals(again.geom, cells.geom).all()
    assert check(again, known, told=told) == []


def test_a_shapefile_in_gbk_without_a_cpg_keeps_its_chinese():
    data = write([layer()], "shapefile", encoding="GBK")
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        assert "网格".encode("gbk") in parts.read("cells.dbf")
    for change in ({}, {".cpg": None}, {".cpg": b"ANSI 936"}):
        _, told = cells_of(read(packed(data, change=change)), "")
        assert told.names == ["网格"] * 16


def test_offices_call_columns_by_their_own_names():
    ring = [[[113.1, 23.0], [113.11, 23.0], [113.11, 23.01], [113.1, 23.0]]]
    told = feature(ring, 网格编码="990100001001001", 网格类型="居住类", 户数="312", 网格名称="一号网格")
    cells, said = cells_of(read(geojson([told])), "CGCS2000")
    assert (cells.code, cells.kind, cells.households) == (["990100001001001"], ["residential"], [312])
    assert said.names == ["一号网格"]


def test_the_datum_must_be_said_by_the_file_or_by_the_person():
    plain = read(write([layer()], "geojson"))
    with pytest.raises(Invalid, match="datum") as refused:
        cells_of(plain, "")
    assert refused.value.field == "datum"
    silent = packed(write([layer()], "shapefile"), change={".prj": None})
    with pytest.raises(Invalid, match="datum"):
        cells_of(read(silent), "")
    assert cells_of(read(silent), "CGCS2000")[1].datum is Datum.CGCS2000


@pytest.mark.parametrize("datum", [Datum.GCJ02, Datum.BD09])
def test_a_shifted_datum_is_taken_by_choice_and_turned_back(datum):
    cells, known = sound()
    shifted = layer(cells)
    shifted.shapes = shapely.transform(cells.geom, lambda c: from_cgcs2000(c, datum))
    again, told = cells_of(read(write([shifted], "gpkg")), datum.value)
    assert abs(shapely.get_coordinates(again.geom) - shapely.get_coordinates(cells.geom)).max() < 1e-8
    assert told.said_datum, "the file said CGCS2000 and was not believed: that is told"
    assert {one.rule for one in check(again, known, told=told) if one.severity == "refuses"} == set()
    assert check(again, known, told=told)[0].rule == "datum_name"


@pytest.mark.parametrize(
    ("crs", "datum"),
    [
        ("", None),
        ("EPSG:4490 China Geodetic Coordinate System 2000", Datum.CGCS2000),
        ('GEOGCS["GCS_China_Geodetic_Coordinate_System_2000",DATUM["D_China_2000"]]', Datum.CGCS2000),
        (WGS84, Datum.WGS84),
        ("urn:ogc:def:crs:OGC:1.3:CRS84", Datum.WGS84),
        ("GCJ02", Datum.GCJ02),
        ("local grid of the works", None),
    ],
)
def test_a_datum_is_known_by_its_name(crs, datum):
    assert datum_of(crs) is datum


@pytest.mark.parametrize(
    ("crs", "reason"),
    [
        ('GEOGCS["GCS_Xian_1980",DATUM["D_Xian_1980"]]', "surveyor"),
        ('GEOGCS["GCS_Beijing_1954",DATUM["D_Beijing_1954"]]', "surveyor"),
        ('PROJCS["CGCS2000_3_Degree_GK_CM_114E",GEOGCS["GCS_China_Geodetic_Coordinate_System_2000"]]', "metres"),
        ("EPSG:3857 WGS 84 / Pseudo-Mercator", "metres"),
    ],
)
def test_metres_and_secret_datums_are_refused_by_name(crs, reason):
    with pytest.raises(Invalid, match=reason):
        datum_of(crs)


def test_exchanged_axes_are_drawn_where_they_belong_and_told():
    cells, known = sound()
    turned = layer(cells)
    turned.shapes = shapely.transform(cells.geom, lambda c: c[:, ::-1])
    file = read(write([turned], "geojson"))
    again, told = cells_of(file, "WGS84")
    assert told.swapped
    assert shapely.equals(again.geom, cells.geom).all()
    assert [one.rule for one in check(again, known, told=told)] == ["swapped"]
    _, accepted = cells_of(file, "WGS84", swapped=True)
    assert not accepted.swapped


def test_numbers_outside_china_are_refused():
    far = geojson([feature([[[0, 0], [1, 0], [1, 1], [0, 0]]])])
    with pytest.raises(Invalid, match="outside China"):
        cells_of(read(far), "WGS84")


def test_an_open_ring_is_noticed_and_not_closed_in_silence():
    ring = [[113.1, 23.0], [113.11, 23.0], [113.11, 23.01], [113.1, 23.01]]
    cells, told = cells_of(read(geojson([feature([ring])])), "WGS84")
    assert told.unclosed == [0]
    assert cells.geom[0].equals(shapely.box(113.1, 23, 113.11, 23.01))


@pytest.mark.parametrize(
    ("geometry", "fault"),
    [
        (None, "empty"),
        ({"type": "Point", "coordinates": [113, 23]}, "not_polygon"),
        ({"type": "Polygon", "coordinates": [[["a", "b"]]]}, "numbers"),
        ({"type": "Polygon", "coordinates": [[[113.1, 23], [113.2, 23], [113.1, 23]]]}, "few_points"),
        ({"type": "Polygon", "coordinates": []}, "empty"),
        ({"type": "Polygon", "coordinates": 7}, "numbers"),
        ({"type": "MultiPolygon", "coordinates": [[]]}, "empty"),
    ],
)
def test_one_broken_feature_does_not_hide_the_others(geometry, fault):
    good = feature([[[113.1, 23.0], [113.11, 23.0], [113.11, 23.01], [113.1, 23.0]]], code="a")
    cells, told = cells_of(
        read(geojson([good, {"type": "Feature", "properties": None, "geometry": geometry}])), "WGS84"
    )
    assert told.faults == {1: fault}
    assert "empty" in {one.rule for one in check(cells, sound()[1], told=told)}


def test_a_layer_without_polygons_is_refused():
    points = Layer("places", "Point", shapely.points([[113.1, 23.0]]), {"name": ["a"]})
    for form in ("gpkg", "shapefile"):
        with pytest.raises(Invalid, match="no polygons"):
            read(write([points], form))


def test_of_several_layers_the_person_says_which():
    both = write([layer(name="cells"), layer(name="towns")], "gpkg")
    with pytest.raises(Invalid, match="cells, towns") as refused:
        read(both)
    assert refused.value.field == "layer"
    assert len(read(both, layer="towns").shapes) == 16
    with pytest.raises(Invalid, match="no layer"):
        read(both, layer="gpkg_contents")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello", "no map file"),
        (b"{", "not JSON"),
        (b"[1]", "no map file"),
        (b'{"type": "Feature"}', "feature collection"),
        (b'{"features": []}', "no features"),
        (b"PK\x03\x04 this is no zip", "damaged"),
        (b"SQLite format 3\0 this is no database", "damaged"),
        (b"\x00\x00\x27\x0a", "one zip"),
        (
            b"<OGRVRTDataSource><OGRVRTLayer name='x'><SrcDataSource>/etc/passwd</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>",
            "no map file",
        ),
        (b"<?xml version='1.0'?><kml/>", "no map file"),
    ],
)
def test_what_is_no_map_file_is_refused_in_words(data, reason):
    with pytest.raises(Invalid, match=reason):
        read(data)


def test_a_zip_that_would_unfold_to_more_than_there_is_memory_is_refused():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as bomb:
        with bomb.open("cells.shp", "w", force_zip64=True) as part:
            for _ in range(400):
                part.write(bytes(2**20))
        bomb.writestr("cells.dbf", b"")
    data = made.getvalue()
    assert len(data) < 2**20
    with pytest.raises(Invalid, match="unfolds"):
        read(data)
    # The same, but it lies about what it unfolds to.
    lying = bytearray(data)
    directory = lying.rindex(b"PK\x01\x02cells.shp"[:4], 0, lying.rindex(b"cells.shp"))
    size = lying.index((400 * 2**20).to_bytes(4, "little"), directory)
    lying[size : size + 4] = (1000).to_bytes(4, "little")
    with pytest.raises(Invalid, match=r"unfolds|damaged"):
        read(bytes(lying))


@pytest.mark.parametrize("name", ["../../evil.shp", "/tmp/evil.shp", "a/../../evil.shp", "..\\evil.shp"])
def test_names_in_a_zip_never_leave_the_folder(name, tmp_path):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as evil:
        evil.writestr(name, b"\x00\x00\x27\x0a")
        evil.writestr(name.replace(".shp", ".dbf"), b"x")
    with pytest.raises(Invalid, match="no Shapefile"):
        read(made.getvalue())


def test_a_zip_in_a_zip_is_not_unfolded():
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as one:
        one.writestr("a.geojson", "{}")
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as two:
        two.writestr("a.geojson", inner.getvalue())
    with pytest.raises(Invalid, match="no Shapefile"):
        read(outer.getvalue())


def test_a_zip_with_several_shapefiles_or_none_asks():
    data = write([layer(name="cells"), layer(name="communities")], "shapefile")
    with pytest.raises(Invalid, match="cells, communities"):
        read(data)
    assert read(data, layer="cells").layer == "cells"
    with pytest.raises(Invalid, match="codes"):
        read(packed(write([layer()], "shapefile"), change={".dbf": None}))


def test_a_shapefile_without_its_index_is_read_all_the_same():
    assert len(read(packed(write([layer()], "shapefile"), change={".shx": None})).shapes) == 16


def gpkg(tmp_path, *statements):
    path = tmp_path / "given.gpkg"
    path.write_bytes(write([layer()], "gpkg"))
    link = sqlite3.connect(path)
    for statement in statements:
        link.execute(statement)
    link.commit()
    link.close()
    return path.read_bytes()


def test_a_view_in_a_geopackage_is_no_layer(tmp_path):
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS fid, NULL AS geom FROM n"
    data = gpkg(
        tmp_path,
        f"CREATE VIEW bomb AS {endless}",
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) VALUES ('bomb', 'features', 'bomb', 4490)",
        "INSERT INTO gpkg_geometry_columns VALUES ('bomb', 'geom', 'POLYGON', 4490, 0, 0)",
    )
    assert read(data).layers == ["cells"]
    with pytest.raises(Invalid, match="no layer"):
        read(data, layer="bomb")


def test_a_catalogue_that_is_a_view_is_no_geopackage(tmp_path):
    data = gpkg(
        tmp_path,
        "ALTER TABLE gpkg_contents RENAME TO hidden",
        "CREATE VIEW gpkg_contents AS SELECT * FROM hidden",
    )
    with pytest.raises(Invalid, match="no GeoPackage"):
        read(data)


def test_triggers_in_a_geopackage_never_run(tmp_path):
    data = gpkg(
        tmp_path,
        "CREATE TABLE written (n int)",
        "CREATE TRIGGER t AFTER INSERT ON cells BEGIN INSERT INTO written SELECT load_extension('/tmp/evil.so'); END",
    )
    assert len(read(data).shapes) == 16


def test_a_damaged_file_of_each_kind_is_refused_or_read_and_never_crashes_the_program():
    chance = np.random.default_rng(3)
    for form in ("shapefile", "gpkg", "geojson"):
        whole = write([layer()], form)
        for _ in range(4):
            bad = bytearray(whole)
            for k in chance.integers(100, len(bad), 40):
                bad[k] = int(chance.integers(0, 256))
            cut = bytes(bad[: int(chance.integers(len(bad) // 2, len(bad)))])
            for data in (bytes(bad), cut):
                with contextlib.suppress(Invalid):
                    read(data)


def test_very_many_features_are_refused(monkeypatch):
    many = geojson([feature([[[113.1, 23], [113.2, 23], [113.2, 23.1], [113.1, 23]]])] * 20_001)
    with pytest.raises(Invalid, match="20000"):
        read(many)
    monkeypatch.setattr(files, "LARGEST", 100)
    with pytest.raises(Invalid, match="MB"):
        read(many)


def test_the_reader_is_no_part_of_the_program():
    import subprocess
    import sys

    code = "import sys, grid.files, grid.checking; assert 'pyogrio' not in sys.modules and 'sqlite3' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert Told().datum is Datum.CGCS2000

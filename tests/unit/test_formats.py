"""What a district folder may hold: its manifest, its tables and its boundaries."""

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xlsxwriter

from api.i18n import catalogue, say, texts
from core.datums import Datum
from core.errors import Invalid
from core.settings import ROOT
from grid.boundaries import read_boundaries
from grid.formats import COLUMNS, open_folder
from grid.tabular import Column, Rejects, read_table

pytestmark = pytest.mark.unit

COLS = (
    Column("key", required=True),
    Column("name", required=True, longest=8),
    Column("kind", kind="choice", choices=("a", "b")),
    Column("lng", kind="number"),
)
SQUARE = [[[83.0, 39.0], [83.1, 39.0], [83.1, 39.1], [83.0, 39.1], [83.0, 39.0]]]


def table(path: Path, text: str, **more):
    path.write_text(text, encoding="utf-8")
    rejects = Rejects()
    return read_table(path, COLS, rejects=rejects, key="key", **more), rejects


def test_documentation_names_every_column_of_every_table():
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##)", text, flags=re.MULTILINE | re.DOTALL))
    for name, columns in COLUMNS.items():
        rows = re.findall(r"^\| (\w+) \| (\w+) \| (yes)? ?\|", sections[name], flags=re.MULTILINE)
        assert rows == [(c.name, c.kind, "yes" if c.required else "") for c in columns], name


def test_good_rows_are_read_by_column(tmp_path):
    found, rejects = table(tmp_path / "t.csv", "key,name,kind,lng,extra\n1,云,a,83.5,x\n2,霞,,,\n")
    assert not rejects
    assert found["name"].tolist() == ["云", "霞"]
    assert found["lng"][0] == 83.5
    assert np.isnan(found["lng"][1])
    assert found.ignored == ("extra",)


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ("1,,a,83", "name", "missing"),
        (",云,a,83", "key", "missing"),
        ("1,云霞沐清晴岚听松竹,a,83", "name", "longer than 8"),
        ("1,云,c,83", "kind", "one of a, b"),
        ("1,云,a,abc", "lng", "not a number"),
        ("1,云,a,nan", "lng", "not a number"),
        ("1,云\x00,a,83", "name", "control characters"),
        ("1,云,a,83,9", "", "More values"),
    ],
)
def test_bad_row_is_refused_with_row_column_and_reason(tmp_path, row, column, reason):
    found, rejects = table(tmp_path / "t.csv", f"key,name,kind,lng\n0,好,a,1\n{row}\n")
    assert found["key"].tolist() == ["0"]
    assert [(r.file, r.row, r.column) for r in rejects] == [("t.csv", 3, column)]
    assert reason in rejects[0].sentence


def test_key_may_not_repeat(tmp_path):
    found, rejects = table(tmp_path / "t.csv", "key,name\n1,云\n\n1,霞\n")
    assert found["name"].tolist() == ["云"]
    assert (rejects[0].row, rejects[0].sentence) == (4, "The key stands already in row 2.")
    assert found.refused == {"1"}


def test_required_column_that_is_missing_refuses_the_file(tmp_path):
    with pytest.raises(Invalid, match="lacks the column name"):
        table(tmp_path / "t.csv", "key,title\n1,云\n")


def test_columns_may_have_other_names_and_keys_several_parts(tmp_path):
    found, _ = table(tmp_path / "t.csv", "编号,源,名\n1,a,云\n1,b,霞\n", mapping={"key": ["编号", "源"], "name": "名"})
    assert found["key"].tolist() == ["1/a", "1/b"]


def test_excel_keeps_long_codes_whole(tmp_path):
    path = tmp_path / "t.xlsx"
    book = xlsxwriter.Workbook(str(path))
    sheet = book.add_worksheet()
    for i, row in enumerate([("key", "name"), (990101001001001, "云"), ("0012", 7)]):
        sheet.write_row(i, 0, row)
    book.close()
    found = read_table(path, COLS, rejects=Rejects())
    assert found["key"].tolist() == ["990101001001001", "0012"]
    assert found["name"].tolist() == ["云", "7"]


def test_yaml_keeps_zeros_and_words(tmp_path):
    found, _ = table(tmp_path / "t.yaml", "- {key: 007, name: no}\n- {key: off, name: 云}\n")
    assert found["key"].tolist() == ["007", "off"]
    assert found["name"].tolist() == ["no", "云"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b'key,name\n"1,\xe4\xba\x91\n'),
        ("t.csv", "key,name\n1,云\n".encode("gb18030")),
        ("t.xlsx", b"no spreadsheet"),
        ("t.yaml", b"just text"),
        ("t.yaml", b"- {key: {a: b}, name: c}"),
        ("t.yaml", b"- &a [x, x]\n- {key: [*a, *a], name: c}"),
        ("t.csv", b"key,key\n1,2\n"),
        ("t.csv", b""),
    ],
)
def test_file_that_is_not_what_it_says_is_refused(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(Invalid, match=name):
        read_table(path, COLS, rejects=Rejects())


def test_other_encoding_is_read_when_it_is_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("key,name\n1,云\n".encode("gb18030"))
    assert read_table(path, COLS, rejects=Rejects(), encoding="gb18030")["name"].tolist() == ["云"]


def test_report_runs_no_formula(tmp_path):
    rejects = Rejects()
    rejects.add("t.csv", 2, column="name", reason="The value is missing.", value="=1+1")
    rejects.write(tmp_path / "report.csv")
    assert "'=1+1" in (tmp_path / "report.csv").read_text(encoding="utf-8-sig")


def test_report_speaks_the_language_of_its_reader(tmp_path):
    rejects = Rejects()
    rejects.add("t.csv", 2, column="kind", reason="The value must be one of {choices}.", choices="a, b", value="c")
    rejects.write(tmp_path / "report.csv", say=partial(say, language="zh"))
    assert (tmp_path / "report.csv").read_text(encoding="utf-8-sig").splitlines() == [
        "文件,行,列,原因,原值",
        't.csv,2,kind,"内容只能是以下之一：a, b。",c',
    ]


def test_reasons_to_refuse_a_row_are_found_for_the_catalogue():
    found = {text for text, where in texts() if where.startswith("grid/tabular.py")}
    said = {"The value is missing.", "This is not a whole number.", "The key stands already in row {row}."}
    assert said <= found & set(catalogue())


def boundaries(tmp_path, coordinates, *, kind="Polygon", datum=Datum.WGS84, **top):
    path = tmp_path / "b.geojson"
    feature = {"type": "Feature", "properties": {"code": 1}, "geometry": {"type": kind, "coordinates": coordinates}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature], **top}), encoding="utf-8")
    rejects = Rejects()
    return read_boundaries(path, datum=datum, rejects=rejects), rejects


def test_sound_boundary_is_taken(tmp_path):
    (numbers, properties, shapes), rejects = boundaries(tmp_path, SQUARE)
    assert not rejects
    assert numbers == [1]
    assert properties == [{"code": "1"}]
    assert shapes[0].area == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("coordinates", "kind", "reason"),
    [
        ([SQUARE[0][:-1]], "Polygon", "not closed"),
        ([[[83, 39], [83.1, 39.1], [83.1, 39], [83, 39.1], [83, 39]]], "Polygon", "not simple"),
        ([[[lat, lng] for lng, lat in SQUARE[0]]], "Polygon", "swapped"),
        ([[[2, 48], [2.1, 48], [2.1, 48.1], [2, 48]]], "Polygon", "outside China"),
        ([[[83, 39], [83.1, 39], [83, 39]]], "Polygon", "fewer than four"),
        ([[["a", "b"]] * 4], "Polygon", "not rings"),
        ([], "Polygon", "empty"),
        (None, "MultiPolygon", "empty"),
        ([83, 39], "Point", "not a polygon"),
        ([[[83, 39], [83.1, 39], [83.2, 39], [83, 39]]], "Polygon", "."),
    ],
)
def test_broken_boundary_is_refused_with_its_fault(tmp_path, coordinates, kind, reason):
    (numbers, _, _), rejects = boundaries(tmp_path, coordinates, kind=kind)
    assert numbers == []
    assert [(r.row, r.column) for r in rejects] == [(1, "geometry")]
    assert reason in rejects[0].sentence


def test_shifted_datum_over_a_file_that_says_wgs84_is_refused(tmp_path):
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    with pytest.raises(Invalid, match="says it is WGS84"):
        boundaries(tmp_path, SQUARE, datum=Datum.GCJ02, crs=crs)


def folder(tmp_path, **manifest):
    told = {"code": "990101", "name": "试", "fictional": True, "files": {}} | manifest
    (tmp_path / "district.yaml").write_text(json.dumps(told), encoding="utf-8")
    for name in ("communities.csv", "categories.csv", "units.csv", "towns.geojson"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    return tmp_path


def test_missing_datum_is_refused(tmp_path):
    with pytest.raises(Invalid, match=r"datum of towns\.geojson is missing"):
        open_folder(folder(tmp_path))


def test_datum_of_the_command_line_wins(tmp_path):
    files = {
        "towns": {"file": "towns.geojson", "datum": "GCJ-02"},
        "communities": {"file": "communities.csv", "datum": "BD-09"},
    }
    found = open_folder(folder(tmp_path, files=files), datums={"towns.geojson": "WGS84"})
    assert found.sources["towns"].datum is Datum.WGS84
    assert found.sources["communities"].datum is Datum.BD09


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ({"code": "12"}, "6 digits"),
        ({"code": "440605"}, "99xxxx"),
        ({"fictional": False}, "99xxxx"),
        ({"colour": 1}, "colour is not known"),
        ({"uses": {"farming": ["农"]}}, "uses are residential"),
        ({"files": {"shops": "a.csv"}}, "files must name"),
        ({"files": {"places": {"file": "none.csv", "datum": "WGS84"}}}, r"none\.csv is missing"),
        ({"files": {"places": {"file": "../../etc/passwd"}}}, "outside the folder"),
        ({"files": {"towns": {"file": "towns.geojson", "datum": "moon"}}}, "moon is not known"),
    ],
)
def test_manifest_that_cannot_be_meant_is_refused(tmp_path, manifest, reason):
    with pytest.raises(Invalid, match=reason):
        open_folder(folder(tmp_path, **manifest))


def test_datum_for_a_file_that_is_not_read_is_refused(tmp_path):
    with pytest.raises(Invalid, match=r"place\.csv, which is not read"):
        open_folder(
            folder(tmp_path), datums={"place.csv": "WGS84", "towns.geojson": "WGS84", "communities.csv": "WGS84"}
        )


def test_folder_of_no_known_form_is_refused(tmp_path):
    with pytest.raises(Invalid, match="no profile knows"):
        open_folder(tmp_path)

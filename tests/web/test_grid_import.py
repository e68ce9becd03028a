"""Taking cells in from a map file, through HTTP: nothing is in force before a person has seen, mended and planned it."""

import json
import re
from datetime import timedelta

import pytest
import shapely
from sqlalchemy import text
from typer.testing import CliRunner

from api import wiring
from core.datums import from_cgcs2000
from core.db import snapshot, transaction
from core.errors import Invalid
from grid import changes
from tests import tiny
from tests.builders import program

pytestmark = pytest.mark.web


def told(district):
    """Return today's cells as GeoJSON features."""
    with snapshot(program(district)) as session:
        sql = "SELECT code, kind, ST_AsGeoJSON(geom) AS shape FROM cell WHERE district_code = :d ORDER BY code"
        rows = session.execute(text(sql), {"d": district}).mappings()
        return [
            {
                "type": "Feature",
                "properties": {"code": row["code"], "kind": row["kind"], "households": 300, "name": f"网格{i}"},
                "geometry": json.loads(row["shape"]),
            }
            for i, row in enumerate(rows)
        ]


def bent(features, index, east_m):
    """Move the north-eastern corner of a cell by metres."""
    ring = features[index]["geometry"]["coordinates"][0][0]
    corner = max(ring, key=lambda point: point[0] + point[1])
    corner[0] += east_m / 102_500
    return features


def upload(client, features, name="cells.geojson", **form):
    data = (
        features
        if isinstance(features, bytes)
        else json.dumps({"type": "FeatureCollection", "features": features}).encode()
    )
    fields = {"datum": "CGCS2000", "scope": "whole"} | form
    return client.post("/grid/import", data=fields, files={"file": (name, data)})


def taken(client, features, **form):
    answer = upload(client, features, **form)
    assert answer.status_code == 303, re.findall(r'role="alert">(.*?)</div>', answer.text, re.DOTALL)
    return answer.headers["location"]


def version_of(client, path):
    return re.search(r'name="version" value="(\d+)"', client.get(path).text)[1]


def stored(path):
    with snapshot(program(tiny.DISTRICT)) as session:
        sql = "SELECT * FROM grid_import WHERE district_code = :d AND id = :id"
        return (
            session.execute(text(sql), {"d": tiny.DISTRICT, "id": path.rpartition("/")[2].split("?")[0]})
            .mappings()
            .one()
        )


def rules(path):
    with snapshot(program(tiny.DISTRICT)) as session:
        sql = (
            "SELECT rule FROM grid_import_finding WHERE district_code = :d AND import_id = :id AND severity = 'refuses'"
        )
        return list(session.scalars(text(sql), {"d": tiny.DISTRICT, "id": path.rpartition("/")[2]}))


@pytest.fixture(autouse=True)
def _no_plan_is_left(district):
    """Call off what a test planned: the next one wants the same cells."""
    yield
    with transaction(program(tiny.DISTRICT)) as session:
        sql = "SELECT id FROM cell_change WHERE district_code = :d AND state IN ('planned', 'proposed')"
        for key in session.scalars(text(sql), {"d": tiny.DISTRICT}).all():
            changes.cancel(session, key, reason="only a test", at=wiring.now())


def grid():
    with snapshot(program(tiny.DISTRICT)) as session:
        sql = "SELECT code, md5(ST_AsBinary(geom)) FROM cell WHERE district_code = :d"
        return dict(session.execute(text(sql), {"d": tiny.DISTRICT}).all())


@pytest.mark.parametrize("login", ["operator", "streets", "westoffice", "gridwest", "official", "citizen"])
def test_only_supervision_and_administration_import_the_grid(signed_in, login):
    client = signed_in(login)
    assert client.get("/grid/import").status_code == 403
    assert upload(client, told(tiny.DISTRICT)).status_code == 403


def test_nobody_imports_without_signing_in(client):
    assert client.get("/grid/import").status_code == 303
    assert upload(client, told(tiny.DISTRICT)).status_code in (401, 403)


def test_a_sound_file_waits_as_a_draft_and_changes_nothing_by_itself(signed_in):
    before = grid()
    client = signed_in("supervisor")
    path = taken(client, told(tiny.DISTRICT), name="南网格.geojson")
    assert rules(path) == []
    for _ in range(2):
        page = client.get(path)
        assert page.status_code == 200
        assert "南网格.geojson" in page.text
    assert path in client.get("/grid/import").text, "one can come back tomorrow"
    assert path in signed_in("admin").get("/grid/import").text
    drawn = client.get(f"{path}/map.json").json()
    assert len(drawn["cells"]) == 8
    assert len(drawn["communities"]) == 4
    assert grid() == before


def test_a_gap_is_shown_mended_by_choice_and_then_planned_for_a_day(signed_in):
    client = signed_in("supervisor")
    before = grid()
    path = taken(client, bent(told(tiny.DISTRICT), 0, -3))
    assert rules(path) == ["gap"]
    page = client.get(path).text
    assert "缝隙" in page
    assert "3" in page
    plan = {
        "day": f"{wiring.now() + timedelta(days=30):%Y-%m-%d}",
        "reason": "第七次普查后重划",
        "document": "望网格〔2026〕7号",
    }
    refused = client.post(f"{path}/plan", data=plan | {"version": version_of(client, path)})
    assert refused.status_code == 409
    assert stored(path)["state"] == "draft"
    (serial,) = re.findall(r'type="checkbox" name="finding" value="(\d+)"', page)
    old = version_of(client, path)
    assert client.post(f"{path}/accept", data={"version": old, "finding": serial}).status_code == 303
    assert rules(path) == []
    again = client.post(f"{path}/accept", data={"version": old, "finding": serial})
    assert again.status_code in (409, 422), "somebody who saw the old one mends nothing"
    assert stored(path)["accepted"][0]["rules"] == {"gap": 1}
    planned = client.post(f"{path}/plan", data=plan | {"version": version_of(client, path)})
    assert planned.status_code == 303, re.findall(r'role="alert">(.*?)</div>', planned.text, re.DOTALL)
    kept = stored(path)
    assert kept["state"] == "planned"
    with snapshot(program(tiny.DISTRICT)) as session:
        sql = "SELECT state, reason, document FROM cell_change WHERE district_code = :d AND id = :id"
        change = session.execute(text(sql), {"d": tiny.DISTRICT, "id": kept["change_id"]}).one()
    assert tuple(change) == ("planned", plan["reason"], plan["document"])
    assert grid() == before, "nothing is in force before its day"
    assert client.post(f"{path}/plan", data=plan | {"version": kept["version"]}).status_code == 409


def test_all_snaps_are_accepted_at_once(signed_in):
    client = signed_in("supervisor")
    features = bent(bent(bent(told(tiny.DISTRICT), 0, -3), 2, 2), 5, -1)
    path = taken(client, features)
    assert len(rules(path)) >= 3
    answer = client.post(f"{path}/accept", data={"version": version_of(client, path), "everything": "yes"})
    assert answer.status_code == 303
    assert rules(path) == []


def test_a_file_in_another_datum_is_named_and_read_again_when_accepted(signed_in):
    client = signed_in("supervisor")
    features = told(tiny.DISTRICT)
    for one in features:
        shape = shapely.from_geojson(json.dumps(one["geometry"]))
        one["geometry"] = json.loads(shapely.to_geojson(shapely.transform(shape, lambda c: from_cgcs2000(c, "GCJ-02"))))
    path = taken(client, features, datum="WGS84")
    assert rules(path)[0] == "datum"
    page = client.get(path).text
    assert "GCJ-02" in page
    serial = re.search(r'<button name="finding" value="(\d+)"', page)[1]
    answer = client.post(f"{path}/accept", data={"version": version_of(client, path), "finding": serial})
    assert answer.status_code == 303
    assert rules(path) == []
    assert stored(path)["options"]["datum"] == "GCJ-02"


def test_without_a_datum_nothing_is_kept_and_the_form_says_what_is_missing(signed_in):
    client = signed_in("supervisor")
    known = client.get("/grid/import").text.count("/grid/import/")
    answer = upload(client, told(tiny.DISTRICT), datum="", layer="x")
    assert answer.status_code == 422
    assert "坐标基准" in answer.text
    assert 'value="x"' in answer.text
    assert client.get("/grid/import").text.count("/grid/import/") == known


@pytest.mark.parametrize(
    "form", [{"tolerance": "-1"}, {"tolerance": "a"}, {"snap": "0.1"}, {"snap": "nan"}, {"datum": "moon"}]
)
def test_what_makes_no_sense_is_refused_in_words(signed_in, form):
    assert upload(signed_in("supervisor"), told(tiny.DISTRICT), **form).status_code == 422


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"PK\x03\x04nonsense", b'{"type": "FeatureCollection", "features": []}']
)
def test_what_is_no_map_file_leaves_no_draft(signed_in, data):
    answer = upload(signed_in("supervisor"), data)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text


def test_hostile_names_are_texts_and_nothing_else(signed_in):
    client = signed_in("supervisor")
    features = told(tiny.DISTRICT)
    evil = "<img src=x onerror=alert(1)>"
    features[0]["properties"] |= {"code": evil, "name": evil, "kind": evil}
    path = taken(client, features, name=f"../../{evil}.geojson")
    page = client.get(path).text
    assert evil not in page
    assert "&lt;img" in page
    assert "<img" not in client.get(f"{path}/map.json").headers["content-type"]
    assert client.get("/grid/import").text.count(evil) == 0


def test_duties_without_an_owner_are_told_and_do_not_refuse(signed_in):
    client = signed_in("supervisor")
    path = taken(client, told(tiny.DISTRICT))
    page = client.get(f"{path}?rule=owners").text
    assert "没有责任人" in page or "无责任人" in page
    assert rules(path) == []


def test_a_draft_is_checked_again_and_thrown_away(signed_in):
    client = signed_in("supervisor")
    path = taken(client, told(tiny.DISTRICT))
    assert client.post(f"{path}/check", data={"version": version_of(client, path)}).status_code == 303
    assert stored(path)["version"] == 2
    assert client.post(f"{path}/drop", data={"version": "1"}).status_code == 409
    assert client.post(f"{path}/drop", data={"version": "2"}).status_code == 303
    assert stored(path)["state"] == "dropped"
    assert path not in client.get("/grid/import").text
    assert client.post(f"{path}/check", data={"version": "2"}).status_code == 409


def test_a_file_of_some_communities_leaves_the_others_alone(signed_in):
    client = signed_in("supervisor")
    some = [one for one in told(tiny.DISTRICT) if one["properties"]["code"].startswith(f"{tiny.WEST}001")]
    assert rules(taken(client, some)) == ["vanished"] * 3
    path = taken(client, some, scope="some")
    assert rules(path) == []
    plan = {
        "day": f"{wiring.now() + timedelta(days=40):%Y-%m-%d}",
        "reason": "只改一个社区",
        "document": "望网格〔2026〕8号",
    }
    planned = client.post(f"{path}/plan", data=plan | {"version": version_of(client, path)})
    assert planned.status_code == 303, re.findall(r'role="alert">(.*?)</div>', planned.text, re.DOTALL)


def test_nothing_changed_is_no_plan(signed_in):
    client = signed_in("supervisor")
    features = told(tiny.DISTRICT)
    for one in features:
        del one["properties"]["households"]
    path = taken(client, features)
    plan = {
        "day": f"{wiring.now() + timedelta(days=50):%Y-%m-%d}",
        "reason": "什么也没改",
        "document": "望网格〔2026〕9号",
    }
    answer = client.post(f"{path}/plan", data=plan | {"version": version_of(client, path)})
    assert answer.status_code == 422
    assert (
        client.post(f"{path}/plan", data=plan | {"day": "2020-01-01", "version": version_of(client, path)}).status_code
        == 422
    )


@pytest.mark.parametrize("form", ["geojson", "shapefile", "gpkg"])
def test_what_is_exported_is_imported_again_without_a_fault(signed_in, form):
    client = signed_in("supervisor")
    answer = client.get(f"/grid/export?what=cells&form={form}")
    assert answer.status_code == 200
    assert "attachment" in answer.headers["content-disposition"]
    path = taken(client, answer.content, name=f"cells.{form}", datum="" if form != "geojson" else "WGS84")
    assert rules(path) == []
    for what in ("communities", "towns", "places"):
        assert client.get(f"/grid/export?what={what}&form={form}&encoding=GBK").status_code == 200


def test_an_export_is_of_what_the_person_may_see(signed_in, client):
    assert client.get("/grid/export").status_code == 303
    east = signed_in("officialeast").get("/grid/export?what=cells").json()["features"]
    assert {one["properties"]["code"][:9] for one in east} == {tiny.EAST}
    assert signed_in("official").get("/grid/export?what=accounts").status_code == 404
    assert signed_in("official").get("/grid/export?form=dwg").status_code == 404
    assert signed_in("citizen").get("/grid/export").status_code == 403


def command(*words):
    from api import cli, cli_grid_files  # noqa: F401  declares the commands

    return CliRunner().invoke(cli.app, ["grid", *map(str, words)])


def test_the_command_line_checks_keeps_and_exports(district, tmp_path):
    file = tmp_path / "cells.gpkg"
    assert command("export", file, "--what", "cells", "--what", "communities").exit_code == 0
    asks = command("check", file)
    assert isinstance(asks.exception, Invalid)
    assert command("check", file, "--layer", "cells").exit_code == 0
    broken = tmp_path / "broken.geojson"
    broken.write_text(json.dumps({"type": "FeatureCollection", "features": bent(told(tiny.DISTRICT), 0, -3)}))
    found = command("check", broken, "--datum", "CGCS2000", "--language", "en")
    assert found.exit_code == 1
    assert "belong to no cell" in found.output
    kept = command("import", broken, "--datum", "CGCS2000", "--snap-all")
    assert kept.exit_code == 0, kept.output
    path = re.search(r"/grid/import/[0-9a-f-]{36}", kept.output)[0]
    assert rules(path) == []
    assert stored(path)["created_by"] is None
    assert isinstance(command("export", tmp_path / "cells.dwg").exception, Invalid)


def test_the_districts_own_pattern_and_limits_are_kept(signed_in):
    def put(own):
        with transaction(program(tiny.DISTRICT)) as session:
            sql = "UPDATE district SET settings = settings - 'cell_code' - 'cell_households' || CAST(:own AS jsonb) WHERE district_code = :d"
            session.execute(text(sql), {"d": tiny.DISTRICT, "own": json.dumps(own)})

    put({"cell_code": r"\d{12}W\d{2}", "cell_households": [100, 250]})
    try:
        path = taken(signed_in("supervisor"), told(tiny.DISTRICT))
        assert rules(path) == ["code"] * 8
        assert "100 至 250" in signed_in("supervisor").get(f"{path}?rule=households").text
    finally:
        put({})

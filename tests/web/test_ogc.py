"""OGC API - Features over HTTP, each rule of the standard named by its requirement, and GDAL's own driver as a reader."""

import json
import os
import shutil
import subprocess
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import shapely
from sqlalchemy import text

from core.db import transaction
from tests import tiny
from tests.builders import NOW, make_case, program

pytestmark = pytest.mark.web

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
EPSG4490 = "http://www.opengis.net/def/crs/EPSG/0/4490"
EPSG4326 = "http://www.opengis.net/def/crs/EPSG/0/4326"
PART1 = "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/"
OPEN = ("cells", "communities", "towns", "places")
GEOJSON = "application/geo+json"


def get(client, path, status=200, /, **params):
    answer = client.get(f"/ogc{path}", params={name.replace("__", "-"): value for name, value in params.items()})
    assert answer.status_code == status, answer.text
    return answer


def links(body, rel):
    return [one for one in body["links"] if one["rel"] == rel]


def items(client, collection, **params):
    return get(client, f"/collections/{collection}/items", **params).json()


def ids(body):
    return [one["id"] for one in body["features"]]


# --- Part 1, core -----------------------------------------------------------------------------------------------------


def test_req_core_root_success(client):
    """/req/core/root-op, /req/core/root-success."""
    body = get(client, "/").json()
    for rel, kind in (
        ("service-desc", "application/vnd.oai.openapi+json;version=3.0"),
        ("conformance", "application/json"),
        ("data", "application/json"),
    ):
        (one,) = links(body, rel)
        assert one["type"] == kind
        assert client.get(urlsplit(one["href"]).path).status_code == 200
    assert get(client, "").json() == body


def test_req_core_api_definition_success(client):
    """/req/core/api-definition-op, /req/core/api-definition-success, /req/oas30/oas-definition-2, /req/oas30/oas-impl."""
    answer = get(client, "/api")
    assert answer.headers["content-type"] == "application/vnd.oai.openapi+json;version=3.0"
    body = answer.json()
    assert body["openapi"].startswith("3.0")
    assert body["servers"][0]["url"].endswith("/ogc")
    for name in OPEN:
        told = body["paths"][f"/collections/{name}/items"]["get"]
        assert {one["$ref"].rpartition("/")[2] for one in told["parameters"] if "$ref" in one} >= {
            "bbox",
            "limit",
            "datetime",
            "crs",
            "bbox-crs",
        }
        assert {"200", "400", "500"} <= told["responses"].keys()
    assert "/collections/cases/items" not in body["paths"], "nobody is told of what is not theirs"


def test_req_core_conformance_success(client):
    """/req/core/conformance-op, /req/core/conformance-success."""
    told = get(client, "/conformance").json()["conformsTo"]
    assert {PART1 + "core", PART1 + "geojson", PART1 + "oas30"} <= set(told)
    assert "http://www.opengis.net/spec/ogcapi-features-2/1.0/conf/crs" in told


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/conformance",
        "/collections",
        "/collections/cells",
        "/collections/cells/queryables",
        "/collections/cells/items",
        "/collections/cells/items/990200001001001",
    ],
)
def test_req_core_query_param_unknown(client, path):
    """/req/core/query-param-unknown: 400, wherever it is."""
    answer = get(client, path, 400, nonsense="1")
    assert answer.headers["content-type"] == "application/problem+json"
    assert get(client, path, 400, f="xml").json()["field"] == "f"


@pytest.mark.parametrize(
    "params",
    [
        {"limit": "0"}, {"limit": "-1"}, {"limit": "ten"}, {"limit": "1.5"}, {"limit": ""}, {"limit": "１０"},
        {"bbox": "1,2,3"}, {"bbox": "a,b,c,d"}, {"bbox": "113,24,114,23"}, {"bbox": "nan,0,1,1"}, {"bbox": "0,0,1,91"}, {"bbox": ""},
        {"datetime": "yesterday"}, {"datetime": "2026-13-01T00:00:00Z"}, {"datetime": "2026-01-02T00:00:00Z/2026-01-01T00:00:00Z"},
        {"datetime": "2026-01-01T00:00:00"}, {"datetime": ".."}, {"datetime": "../../.."}, {"datetime": ""},
        {"crs": "EPSG:4490"}, {"crs": "http://www.opengis.net/def/crs/EPSG/0/3857"}, {"bbox": "113,23,114,24", "bbox-crs": "4326"},
        {"households": "many"}, {"derived": "yes"}, {"households": "9" * 30},
    ],
)  # fmt: skip
def test_req_core_query_param_invalid(client, params):
    """/req/core/query-param-invalid, /req/crs/fc-crs-valid-value, /req/crs/fc-bbox-crs-valid-value: 400."""
    answer = client.get("/ogc/collections/cells/items", params=params)
    assert answer.status_code == 400, answer.text


def test_req_core_query_param_given_twice_is_refused(client):
    """/req/core/query-param-invalid."""
    assert client.get("/ogc/collections/cells/items?limit=1&limit=2").status_code == 400


def test_req_core_fc_md_success(client):
    """/req/core/fc-md-op, fc-md-success, fc-md-links, fc-md-items, fc-md-items-links, fc-md-extent, fc-md-op."""
    body = get(client, "/collections").json()
    assert links(body, "self")
    assert [one["id"] for one in body["collections"]] == list(OPEN)
    for one in body["collections"]:
        assert links(one, "items")[0]["type"] == GEOJSON
        west, south, east, north = one["extent"]["spatial"]["bbox"][0]
        assert (west, south, east, north) == pytest.approx((113.0, 23.0, 113.04, 23.02))
        for feature in items(client, one["id"])["features"]:
            shape = shapely.from_geojson(json.dumps(feature["geometry"]))
            assert shapely.box(west, south, east, north).buffer(1e-9).covers(shape)


def test_req_core_sfc_md_success(client):
    """/req/core/sfc-md-op, /req/core/sfc-md-success: the same as in the list; 404 for what is not there."""
    for one in get(client, "/collections").json()["collections"]:
        assert get(client, f"/collections/{one['id']}").json() == one
    get(client, "/collections/nothing", 404)
    get(client, "/collections/nothing/items", 404)


def test_req_core_fc_response(client):
    """/req/core/fc-op, fc-response, fc-timeStamp, fc-numberReturned, fc-numberMatched, fc-rel-type, /req/geojson/content."""
    for name, count in zip(OPEN, (8, 4, 2, 6), strict=True):
        answer = get(client, f"/collections/{name}/items")
        assert answer.headers["content-type"] == GEOJSON
        body = answer.json()
        assert body["type"] == "FeatureCollection"
        assert body["numberReturned"] == len(body["features"]) == body["numberMatched"] == count
        assert body["timeStamp"].endswith("Z")
        assert all(one["rel"] and one["type"] for one in body["links"])
        assert len(set(ids(body))) == count
        for feature in body["features"]:
            assert feature["type"] == "Feature"
            assert shapely.from_geojson(json.dumps(feature["geometry"])).is_valid


def test_req_core_fc_limit_response_1(client):
    """/req/core/fc-limit-definition, fc-limit-response-1: never more than asked for, too much is cut to the most."""
    assert len(items(client, "cells", limit=3)["features"]) == 3
    assert len(items(client, "cells", limit=1)["features"]) == 1
    assert len(items(client, "cells", limit=999999999)["features"]) == 8
    definition = get(client, "/api").json()["components"]["parameters"]["limit"]
    assert definition["schema"] == {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}


def test_req_core_fc_links_next_leads_to_every_feature_once(client):
    """/req/core/fc-links: following next gives everything, in order, even where rows come and go between two pages."""
    path, seen, pages = "/ogc/collections/cells/items?limit=3", [], 0
    whole = ids(items(client, "cells"))
    while path:
        body = client.get(path).json()
        assert links(body, "self")[0]["href"].endswith(path.rpartition("/")[2])
        seen += ids(body)
        assert body["numberMatched"] == 8
        if pages == 0:
            # A cell that went and came back meanwhile, elsewhere in the table, shifts nothing.
            with transaction(program(tiny.DISTRICT)) as session:
                gone = (
                    session.execute(
                        text("DELETE FROM cell WHERE district_code = :d AND code = :c RETURNING *"),
                        {"d": tiny.DISTRICT, "c": whole[1]},
                    )
                    .mappings()
                    .one()
                )
                session.execute(
                    text("INSERT INTO cell SELECT * FROM jsonb_populate_record(NULL::cell, CAST(:row AS jsonb))"),
                    {"row": json.dumps(dict(gone), default=str)},
                )
        following = links(body, "next")
        path = following[0]["href"].split("testserver")[1] if following else ""
        pages += 1
    assert pages == 3
    assert seen == whole


def test_req_core_fc_links_next_keeps_what_was_asked(client):
    """/req/core/fc-links."""
    body = items(client, "places", limit=1, type="商务住宅", crs=EPSG4490)
    asked = parse_qs(urlsplit(links(body, "next")[0]["href"]).query)
    assert asked["type"] == ["商务住宅"]
    assert asked["limit"] == ["1"]
    assert asked["crs"] == [EPSG4490]
    assert asked["after"] == ids(body)


def test_req_core_fc_bbox_response(client):
    """/req/core/fc-bbox-definition, fc-bbox-response: only what intersects; six numbers; over the 180th meridian."""
    west_half = items(client, "cells", bbox="113.0,23.0,113.0195,23.02")
    assert {one[:9] for one in ids(west_half)} == {tiny.WEST}
    assert ids(items(client, "cells", bbox="113.0,23.0,-10,113.0195,23.02,10")) == ids(west_half)
    assert ids(items(client, "cells", bbox="50,10,60,20")) == []
    assert len(ids(items(client, "cells", bbox="113.035,23.0,-113.0,23.02"))) == 2
    one_point = items(client, "cells", bbox="113.004,23.004,113.004,23.004")
    assert ids(one_point) == ["990200001001001"]


def test_req_core_fc_bbox_response_is_exact_not_only_by_boxes(client, district):
    """/req/core/fc-bbox-response: the geometry counts, not its bounding box."""
    with transaction(program(tiny.DISTRICT)) as session:
        shape = "SRID=4490;MULTIPOLYGON(((113.5 23.5,113.6 23.5,113.5 23.6,113.5 23.5)))"
        values = {"d": tiny.DISTRICT, "g": shape}
        session.execute(
            text(
                "INSERT INTO cell (district_code, code, town_code, community_code, kind, geom) VALUES (:d, '990200001001900', '990200001', '990200001001', 'mixed', ST_GeomFromEWKT(:g))"
            ),
            values,
        )
    try:
        assert ids(items(client, "cells", bbox="113.58,23.58,113.6,23.6")) == []
        assert ids(items(client, "cells", bbox="113.5,23.5,113.51,23.51")) == ["990200001001900"]
    finally:
        with transaction(program(tiny.DISTRICT)) as session:
            session.execute(
                text("DELETE FROM cell WHERE district_code = :d AND code = '990200001001900'"), {"d": tiny.DISTRICT}
            )


#: The tiny district's cells are in force since NOW; this one was counted anew a day later.
CELL, COUNTED = "990200001001001", NOW + timedelta(days=1)


@pytest.fixture(scope="module")
def versions(district):
    from grid.versions import follow_load

    with transaction(program(tiny.DISTRICT)) as session:
        values = {"d": tiny.DISTRICT, "c": CELL}
        session.execute(text("UPDATE cell SET households = 321 WHERE district_code = :d AND code = :c"), values)
        follow_load(session, at=COUNTED)


def test_req_core_fc_time_response(client, versions):
    """/req/core/fc-time-definition, fc-time-response: the versions of cells that were in force then."""

    def households(when):
        body = items(client, "cells", datetime=when)
        assert body["numberMatched"] == len(body["features"])
        return sorted((one["properties"]["households"] or 0) for one in body["features"] if CELL in one["id"])

    assert households("2026-11-18T05:59:59Z") == []
    assert households("2026-11-18T06:00:00Z") == [0]
    assert households("2026-11-18") == [0], "a day in China"
    assert households("2026-11-19T06:00:00Z") == [321], "a version ends where the next begins"
    assert households("2026-11-19T14:00:00+08:00") == [321]
    assert households("2026-11-19") == [0, 321]
    assert households("../2026-11-19T00:00:00Z") == [0]
    assert households("2026-11-20T00:00:00Z/..") == [321]
    assert households("2026-11-20T00:00:00Z/") == [321]
    assert len(items(client, "cells", datetime="2026-11-18")["features"]) == 8


def test_versions_are_features_of_their_own_on_every_page(client, versions):
    """/req/core/fc-links, f-success: every version once, each found by its id; the one in force bears the cell's code."""
    path, seen = "/ogc/collections/cells/items?limit=2&datetime=../..", []
    while path:
        body = client.get(path).json()
        seen += ids(body)
        following = links(body, "next")
        path = following[0]["href"].split("testserver")[1] if following else ""
    assert len(seen) == len(set(seen)) == 9
    (old,) = (one for one in seen if one.startswith(CELL + "_"))
    body = get(client, f"/collections/cells/items/{old}").json()
    assert body["properties"]["valid_from"] == "2026-11-18T06:00:00Z"
    assert body["properties"]["valid_to"] == "2026-11-19T06:00:00Z"
    assert CELL in seen
    assert get(client, f"/collections/cells/items/{CELL}").json()["properties"]["households"] == 321


def test_the_collection_says_since_when_versions_are_known(client, versions):
    """/req/core/fc-md-extent."""
    told = get(client, "/collections/cells").json()["extent"]["temporal"]
    assert told["interval"] == [["2026-11-18T06:00:00Z", None]]


def test_req_core_fc_time_response_for_features_without_time(client):
    """/req/core/fc-time-response: what has no time always fits."""
    for name in ("towns", "communities", "places"):
        assert ids(items(client, name, datetime="2020-01-01T00:00:00Z")) == ids(items(client, name))


def test_req_core_f_success(client):
    """/req/core/f-op, f-success, f-links: the feature of the collection, with self and collection."""
    for name in OPEN:
        listed = items(client, name, limit=1)["features"][0]
        answer = get(client, f"/collections/{name}/items/{listed['id']}")
        assert answer.headers["content-type"] == GEOJSON
        body = answer.json()
        assert {key: body[key] for key in listed} == listed
        assert links(body, "collection")[0]["href"].endswith(f"/ogc/collections/{name}")
        assert links(body, "self")[0]["href"].endswith(f"/items/{listed['id']}")
        get(client, f"/collections/{name}/items/nothing", 404)


@pytest.mark.parametrize("key", ["990200001001001'--", "../../etc", "%00", "x" * 3000, "网格"])
def test_no_feature_has_a_strange_id(client, key):
    answer = client.get(f"/ogc/collections/cells/items/{key}")
    assert answer.status_code in (400, 404)


# --- Part 2, coordinate systems -----------------------------------------------------------------------------------------


def test_req_crs_fc_md_crs_list(client):
    """/req/crs/fc-md-crs-list, fc-md-storageCrs, fc-md-storageCrs-valid-value, crs-uri."""
    for one in get(client, "/collections").json()["collections"]:
        assert one["crs"][0] == CRS84
        assert {EPSG4490, EPSG4326} < set(one["crs"])
        assert one["storageCrs"] in one["crs"]


@pytest.mark.parametrize("system", [CRS84, EPSG4490, EPSG4326])
def test_req_crs_fc_crs_action(client, system):
    """/req/crs/fc-crs-definition, crs-action, ogc-crs-header, ogc-crs-header-value, geojson: EPSG has latitude first."""
    answer = get(client, "/collections/places/items", crs=system)
    assert answer.headers["content-crs"] == f"<{system}>"
    one, two = answer.json()["features"][0]["geometry"]["coordinates"]
    assert (one, two) == ((113.004, 23.004) if system == CRS84 else (23.004, 113.004))
    single = get(client, "/collections/places/items/P0", crs=system)
    assert single.headers["content-crs"] == f"<{system}>"
    assert single.json()["geometry"]["coordinates"] == [one, two]


def test_req_crs_fc_crs_default_value(client):
    """/req/crs/fc-crs-default-value."""
    assert get(client, "/collections/places/items").headers["content-crs"] == f"<{CRS84}>"


def test_req_crs_fc_bbox_crs_action(client):
    """/req/crs/fc-bbox-crs-definition, bbox-crs-action: the box is read in its own axis order."""
    usual = ids(items(client, "cells", bbox="113.0,23.0,113.0195,23.005"))
    assert len(usual) == 2
    for system in (EPSG4490, EPSG4326):
        assert ids(items(client, "cells", bbox="23.0,113.0,23.005,113.0195", bbox__crs=system)) == usual
    get(client, "/collections/cells/items", 400, bbox="113.0,23.0,113.0195,23.005", bbox__crs=EPSG4490)


# --- Part 3, queryables -------------------------------------------------------------------------------------------------


def test_req_queryables_get_queryables_response(client):
    """/req/queryables/get-queryables-op, get-queryables-response: a JSON Schema whose members can be asked for."""
    for name in OPEN:
        (one,) = links(get(client, f"/collections/{name}").json(), "http://www.opengis.net/def/rel/ogc/1.0/queryables")
        answer = client.get(urlsplit(one["href"]).path)
        assert answer.headers["content-type"] == "application/schema+json"
        schema = answer.json()
        assert schema["$id"] == one["href"]
        assert schema["type"] == "object"
        assert not schema["additionalProperties"]
        sample = items(client, name, limit=1)["features"][0]["properties"]
        for member in schema["properties"]:
            value = sample[member]
            if value is None:
                continue
            asked = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value
            found = items(client, name, **{member: asked})
            assert found["features"], member
            assert {one["properties"][member] for one in found["features"]} == {value}


def test_properties_are_bound_never_written_into_the_statement(client):
    assert ids(items(client, "cells", kind="mixed' OR '1'='1")) == []


# --- who may see what -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def open_cases(district):
    with transaction(program(tiny.DISTRICT)) as session:
        for lng, town in ((113.005, tiny.WEST), (113.025, tiny.EAST)):
            make_case(session, district=tiny.DISTRICT, lng=lng, lat=23.005, town_code=town, text="路灯不亮，家住三楼")
        make_case(
            session, district=tiny.DISTRICT, lng=113.005, lat=23.005, town_code=tiny.WEST, state="closed", open=False
        )


def test_open_cases_are_for_those_signed_in_who_may_see_them(client, signed_in, open_cases):
    get(client, "/collections/cases/items", 401)
    get(client, "/collections/cases", 401)
    get(signed_in("admin"), "/collections/cases/items", 403)
    get(signed_in("citizen"), "/collections/cases/items", 403)
    wide = items(signed_in("supervisor"), "cases")
    assert wide["numberMatched"] == 2
    assert "路灯" not in json.dumps(wide, ensure_ascii=False)
    assert items(signed_in("officialeast"), "cases")["numberMatched"] == 1
    assert items(signed_in("gridwest"), "cases", town=tiny.EAST)["numberMatched"] == 0
    assert "cases" in {one["id"] for one in get(signed_in("operator"), "/collections").json()["collections"]}
    number = ids(items(signed_in("officialeast"), "cases"))[0]
    get(signed_in("gridwest"), f"/collections/cases/items/{number}", 404)


@pytest.fixture(scope="module")
def parts(district):
    from core.datums import to_db
    from core.ids import new_id
    from grid.registers.models import Part

    with transaction(program(tiny.DISTRICT)) as session:
        for i, (lng, town) in enumerate(((113.005, tiny.WEST), (113.025, tiny.EAST))):
            placed = {"town_code": town, "community_code": f"{town}001", "cell_code": f"{town}001001"}
            known = {
                "code": f"990200010100000{i}",
                "class_code": "0101",
                "name": "上水井盖",
                "state": "sound",
                "note": "密",
            }
            times = {"salt": bytes(16), "created_at": NOW, "changed_at": NOW}
            session.add(
                Part(
                    district_code=tiny.DISTRICT,
                    id=new_id(),
                    geom=to_db(shapely.Point(lng, 23.005)),
                    **placed,
                    **known,
                    **times,
                )
            )


def test_parts_of_the_registers_are_for_those_who_have_a_right_to_them(client, signed_in, parts):
    assert "parts" not in {one["id"] for one in get(client, "/collections").json()["collections"]}
    get(client, "/collections/parts/items", 401)
    get(signed_in("official"), "/collections/parts/items", 403)
    get(signed_in("streets"), "/collections/parts/items", 404)
    assert "parts" not in {one["id"] for one in get(signed_in("streets"), "/collections").json()["collections"]}
    whole = items(signed_in("supervisor"), "parts")
    assert whole["numberMatched"] == 2
    assert whole["features"][0]["properties"]["name"] == "上水井盖"
    assert "note" not in whole["features"][0]["properties"]
    office = items(signed_in("westoffice"), "parts")
    assert {one["properties"]["cell"][:9] for one in office["features"]} == {tiny.WEST}


def test_parts_are_exported_for_those_who_have_a_right_to_them(signed_in, parts):
    told = signed_in("supervisor").get("/grid/export?what=parts&form=geojson")
    assert len(told.json()["features"]) == 2
    assert signed_in("supervisor").get("/grid/export?what=key_places&form=gpkg").status_code == 200
    assert signed_in("official").get("/grid/export?what=parts").status_code == 403


def test_open_cases_are_asked_for_by_the_time_of_intake(signed_in, open_cases):
    client = signed_in("supervisor")
    day = f"{NOW:%Y-%m-%d}"
    assert items(client, "cases", datetime=day)["numberMatched"] == 2
    assert items(client, "cases", datetime=f"{day}T00:00:00Z/..")["numberMatched"] == 2
    assert items(client, "cases", datetime="../2020-01-01T00:00:00Z")["numberMatched"] == 0


def test_a_bearer_token_opens_what_its_account_may_see(client, open_cases):
    from api import security
    from core.actor import system
    from core.db import snapshot

    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        row = session.execute(
            text("SELECT id, session_epoch FROM account WHERE district_code = :d AND login = 'official'"),
            {"d": tiny.DISTRICT},
        ).one()
    token = security.sign_token(row.id, row.session_epoch)
    answer = client.get("/ogc/collections/cases/items", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["numberMatched"] == 2
    assert client.get("/ogc/collections/cases/items", headers={"Authorization": "Bearer x"}).status_code == 401


def test_nothing_can_be_written(client):
    for method in ("post", "put", "patch", "delete"):
        assert getattr(client, method)("/ogc/collections/cells/items").status_code == 405


# --- GDAL ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gdal():
    if shutil.which("ogr2ogr") is None:
        message = "GDAL's programs (Debian gdal-bin) are not installed: /ogc was not read as QGIS reads it"
        if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
            pytest.fail(message)
        pytest.skip(message)

    def run(*argv, **more):
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **more}
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_gdals_oapif_driver_reads_every_page_of_every_collection(gdal, server, tmp_path, client):
    told = gdal("ogrinfo", f"OAPIF:{server}/ogc")
    for name in OPEN:
        assert f" {name} " in told.replace("(", " ").replace(":", " ").replace("\n", " \n"), told
        target = tmp_path / f"{name}.gpkg"
        gdal("ogr2ogr", "-f", "GPKG", str(target), f"OAPIF:{server}/ogc", name, "-oo", "PAGE_SIZE=3")
        about = gdal("ogrinfo", "-al", "-so", str(target))
        whole = items(client, name)
        assert f"Feature Count: {whole['numberMatched']}" in about
        geojson = json.loads(gdal("ogr2ogr", "-f", "GeoJSON", "/vsistdout/", str(target)))
        theirs = {one["properties"]["code" if name != "places" else "key"]: one for one in geojson["features"]}
        for feature in whole["features"]:
            mine, other = (
                shapely.from_geojson(json.dumps(one["geometry"])) for one in (feature, theirs[feature["id"]])
            )
            assert mine.normalize().equals_exact(other.normalize(), 1e-7)


def test_gdal_asks_by_place_and_property_and_in_the_stored_system(gdal, server):
    told = gdal("ogrinfo", "-al", "-so", "-spat", "113.0", "23.0", "113.0195", "23.02", f"OAPIF:{server}/ogc", "cells")
    assert "Feature Count: 4" in told
    told = gdal("ogrinfo", "-al", "-so", "-where", "kind = 'mixed'", f"OAPIF:{server}/ogc", "cells")
    assert "Feature Count: 2" in told

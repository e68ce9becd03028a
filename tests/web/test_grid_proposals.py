"""Proposed cells and figures through the API: who may ask, what comes back, and lines that cannot be taken."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import shapely
from starlette.testclient import TestClient

from tests import tiny

pytestmark = pytest.mark.web

SOUTH = tiny.WEST + "001"
SignIn = Callable[[str], TestClient]


def roads(*lines: list[tuple[float, float]]) -> dict[str, Any]:
    """Return roads as GeoJSON; degrees from the south-west corner of the tiny district."""
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"class": "tertiary"},
                "geometry": {"type": "LineString", "coordinates": [(tiny.LNG + x, tiny.LAT + y) for x, y in line]},
            }
            for line in lines
        ],
    }


#: Crooked, so that no straight cut would find them.
ROADS = roads([(0, 0.006), (0.009, 0.004), (0.02, 0.0055)], [(0.008, 0), (0.009, 0.004), (0.0115, 0.01)])


def asked(client: TestClient, what: str = "proposals", **more: Any) -> Any:
    return client.post(f"/api/v1/grid/{what}", json={"community": SOUTH} | more)


def test_a_proposal_covers_the_community_along_the_roads_that_were_sent(signed_in: SignIn) -> None:
    client = signed_in("supervisor")
    answer = asked(client, roads=ROADS, limits={"fewest": 10, "most": 60})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    cells = [shapely.from_geojson(json.dumps(one["geometry"])) for one in told["cells"]["features"]]
    whole = shapely.box(tiny.LNG, tiny.LAT, tiny.LNG + 0.02, tiny.LAT + 0.01)
    assert shapely.area(shapely.union_all(cells)) == pytest.approx(shapely.area(whole), rel=1e-5)
    assert sum(map(shapely.area, cells)) == pytest.approx(shapely.area(whole), rel=1e-5)
    assert [one["properties"]["code"] for one in told["cells"]["features"]] == [
        f"{SOUTH}{i:03d}" for i in range(1, len(cells) + 1)
    ]
    assert told["figures"]["contiguous"] == 1
    assert told["today"]["households"] == told["figures"]["households"]
    assert told["notes"], "what is not known is said in words"


def test_the_same_question_has_the_same_answer(signed_in: SignIn) -> None:
    client = signed_in("admin")
    one, other = (asked(client, roads=ROADS, seed=7).json() for _ in range(2))
    assert one["cells"] == other["cells"]


def test_figures_follow_the_cells_that_are_drawn_just_now(signed_in: SignIn) -> None:
    client = signed_in("supervisor")
    halves = [(tiny.LNG, tiny.LNG + 0.012), (tiny.LNG + 0.012, tiny.LNG + 0.02)]
    features = [
        {
            "type": "Feature",
            "properties": {"code": f"{SOUTH}{i:03d}"},
            "geometry": shapely.geometry.mapping(shapely.box(west, tiny.LAT, east, tiny.LAT + 0.01)),
        }
        for i, (west, east) in enumerate(halves, 1)
    ]
    cells = {"type": "FeatureCollection", "features": features}
    told = asked(client, "figures", cells=cells).json()
    assert [one["code"] for one in told["cells"]] == [f"{SOUTH}001", f"{SOUTH}002"]
    assert told["uncovered_m2"] == 0
    assert told["cells"][0]["area_km2"] == pytest.approx(told["cells"][1]["area_km2"] * 1.5, rel=0.01)
    features.pop()
    bare = asked(client, "figures", cells=cells).json()
    assert bare["uncovered_m2"] == pytest.approx(told["cells"][1]["area_km2"] * 1e6, rel=0.01)


def test_an_office_proposes_for_its_own_area_only(signed_in: SignIn) -> None:
    office = signed_in("westoffice")
    assert asked(office).status_code == 200
    assert office.post("/api/v1/grid/proposals", json={"community": tiny.EAST + "001"}).status_code == 403


@pytest.mark.parametrize(("login", "status"), [("operator", 403), ("official", 403), ("gridwest", 403)])
def test_others_propose_nothing(signed_in: SignIn, login: str, status: int) -> None:
    assert asked(signed_in(login)).status_code == status


def test_nobody_proposes_without_signing_in(client: TestClient) -> None:
    assert asked(client).status_code == 401


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"community": "990200001"}, 422),
        ({"community": tiny.WEST + "999"}, 404),
        ({"weights": {"balance": 11}}, 422),
        ({"limits": {"fewest": 400, "most": 500}}, 422),
        ({"datum": "moon", "roads": ROADS}, 422),
        ({"roads": roads([(0.0, 0.0), (300.0, 0.1)])}, 422),
        ({"roads": {"type": "FeatureCollection", "features": [{"geometry": {"type": "Point", "coordinates": [1, 2]}}]}}, 422),
        ({"roads": {"type": "FeatureCollection", "features": [{"geometry": None}]}}, 422),
        ({"estates": roads([(0, 0), (0.01, 0.01)])}, 422),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_in_words(signed_in: SignIn, more: dict[str, Any], status: int) -> None:
    answer = asked(signed_in("supervisor"), **more)
    assert answer.status_code == status, answer.text
    assert answer.json()["title"]


def test_a_cell_that_crosses_itself_is_named(signed_in: SignIn) -> None:
    bow = [[(tiny.LNG + x, tiny.LAT + y) for x, y in ((0, 0), (0.01, 0.01), (0.01, 0), (0, 0.01), (0, 0))]]
    cells = {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": bow}}],
    }
    answer = asked(signed_in("supervisor"), "figures", cells=cells)
    assert answer.status_code == 422
    assert "1" in answer.json()["detail"]

"""Places through the API: texts, points, names as they are typed; bounded, and refused where they make no sense."""

import pytest
from starlette.testclient import TestClient

from tests import tiny

pytestmark = pytest.mark.web
POINT = {"lng": 113.014, "lat": 23.006, "datum": "WGS84"}


def test_a_text_is_placed_with_its_reason(client: TestClient) -> None:
    found = client.get("/api/v1/geocode", params={"q": "柳岸花园门口的路灯坏了"}).json()
    assert (found["status"], found["ambiguous"]) == ("located", False)
    assert found["matches"][0]["name"] == "柳岸花园"
    assert found["matches"][0]["town"] == tiny.WEST
    assert "柳岸花园" in found["why"]


def test_a_stretch_is_a_line(client: TestClient) -> None:
    found = client.get("/api/v1/geocode", params={"q": "从柳岸花园到望湖中学路段路灯不亮"}).json()["matches"][0]
    assert found["kind"] == "stretch"
    assert len(found["line"]) >= 2
    ends = {tuple(round(x, 3) for x in found["line"][at]) for at in (0, -1)}
    assert ends == {(113.014, 23.006), (113.004, 23.004)}


def test_what_names_no_place_is_not_placed(client: TestClient) -> None:
    found = client.get("/api/v1/geocode", params={"q": "我要投诉"}).json()
    assert (found["status"], found["matches"]) == ("unlocatable", [])


def test_a_point_tells_its_areas_and_what_is_near(client: TestClient) -> None:
    found = client.get("/api/v1/reverse", params=POINT).json()
    assert found["town"] == tiny.WEST
    assert found["cell"].startswith(found["town"])
    assert found["near"][0]["name"] == "柳岸花园"
    assert found["near"][0]["metres"] < 2
    assert [one["metres"] for one in found["near"]] == sorted(one["metres"] for one in found["near"])


def test_the_datum_of_a_point_counts(client: TestClient) -> None:
    found = client.get("/api/v1/reverse", params=POINT | {"datum": "GCJ-02"}).json()
    assert found["near"][0]["name"] != "柳岸花园" or found["near"][0]["metres"] > 100


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"lng": 114.5, "lat": 30.5}, 404),
        ({"lng": 23.0, "lat": 113.0}, 422),
        ({"datum": "moon"}, 422),
        ({"lng": "nan"}, 422),
        ({"limit": 1000}, 422),
    ],
)
def test_points_that_make_no_sense_are_refused(client: TestClient, changed: dict[str, object], status: int) -> None:
    assert client.get("/api/v1/reverse", params=POINT | changed).status_code == status


def test_a_point_without_its_datum_is_refused(client: TestClient) -> None:
    assert client.get("/api/v1/reverse", params={"lng": 113.014, "lat": 23.006}).status_code == 422


@pytest.mark.parametrize("typed", ["柳", "柳岸", "岸花", "lahy", "liuan", "柳岸花园"])
def test_a_name_is_completed_by_letters_sounds_and_initials(client: TestClient, typed: str) -> None:
    found = client.get("/api/v1/suggest", params={"q": typed, "limit": 3}).json()
    assert "柳岸花园" in [one["name"] for one in found]
    assert len(found) <= 3


def test_a_road_with_a_number_is_an_address(client: TestClient) -> None:
    found = client.get("/api/v1/suggest", params={"q": "滨湖路18"}).json()
    assert (found[0]["kind"], found[0]["name"]) == ("address", "滨湖路18号")


@pytest.mark.parametrize("params", [{"q": ""}, {"q": "长" * 41}, {"q": "柳", "limit": 0}, {"q": "柳", "limit": 51}, {}])
def test_suggestions_are_bounded(client: TestClient, params: dict[str, object]) -> None:
    assert client.get("/api/v1/suggest", params=params).status_code == 422

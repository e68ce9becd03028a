"""What the process loads from the tables of the ground answers as the database itself does."""

import numpy as np
import pytest

from core.actor import system
from core.db import rows
from core.errors import NotFound
from grid.locator import load_locator
from hotline.gazetteer import load_gazetteer
from hotline.geocode import Geocoder
from tests import tiny

pytestmark = pytest.mark.database

COVERS = """
    SELECT p.i, (SELECT min(code) FROM cell WHERE district_code = :d
                 AND ST_Covers(geom, ST_SetSRID(ST_Point(p.x, p.y), 4490))) AS code
    FROM unnest(CAST(:xs AS float8[]), CAST(:ys AS float8[])) WITH ORDINALITY AS p (x, y, i) ORDER BY p.i
"""


def test_locator_answers_as_st_covers_with_the_lowest_code_does(district, as_actor):
    session = as_actor(system(district.code))
    locator = load_locator(session, district.code)
    rng = np.random.default_rng(4)
    low, high = (tiny.LNG - 0.01, tiny.LAT - 0.01), (tiny.LNG + 0.05, tiny.LAT + 0.03)
    corners = np.array([(tiny.LNG + i * 0.005, tiny.LAT + j * 0.005) for i in range(9) for j in range(5)])
    points = np.concatenate([rng.uniform(low, high, (400, 2)), corners])
    found = rows(session, COVERS, d=district.code, xs=points[:, 0].tolist(), ys=points[:, 1].tolist())
    expected = [row["code"] for row in found]
    assert any(expected)
    assert None in expected
    assert [None if i < 0 else locator.codes[i] for i in locator.locate_many(points)] == expected
    assert [locator.locate(*point) for point in points.tolist()] == expected


def test_gazetteer_of_the_tables_places_a_text(district, as_actor):
    session = as_actor(system(district.code))
    geocoder = Geocoder(load_gazetteer(session, district.code, outside=["长风市"]))
    match = geocoder.locate("柳岸花园门口的路灯坏了").matches[0]
    assert (round(match.lng, 6), round(match.lat, 6)) == (113.014, 23.006)
    assert (match.town_code, match.community_code) == (tiny.WEST, tiny.WEST + "001")
    assert geocoder.locate("望湖镇很吵").matches[0].kind == "town"
    assert geocoder.locate("长风市很吵").status == "outside"


def test_a_district_that_is_not_loaded_has_no_gazetteer(session):
    with pytest.raises(NotFound, match="999999"):
        load_gazetteer(session, "999999")

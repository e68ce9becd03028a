"""The geocoder on the real district: floors under what was measured, so that a change for the worse is seen."""

import pytest

from hotline.evaluate import nanhai
from hotline.evaluate.places import Tally, judge
from hotline.geocode import Geocoder

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def geocoder():
    if not nanhai.present():
        pytest.skip(f"no given data at {nanhai.DATA}: the geocoder is not measured on the real district")
    return Geocoder(nanhai.gazetteer())


def test_new_house_numbers_are_seldom_confident_and_wrong(geocoder):
    tally = Tally()
    rows = nanhai.rows_of("nanhai/address_dev_test.csv")
    keys = [row["addr_key"] for row in rows]
    for row in rows:
        tally.add(*judge(geocoder, row["full_address"], row), weight=1 / keys.count(row["addr_key"]))
    assert tally.right / tally.n > 0.5
    assert tally.confident_wrong / tally.n <= 0.03


def test_registered_names_are_found(geocoder):
    tally = Tally()
    for row in nanhai.rows_of("nanhai/pois.csv")[::40]:
        tally.add(*judge(geocoder, f"{row['name']}门口有人乱摆卖", row))
    assert tally.right / tally.n > 0.95
    assert tally.confident_wrong / tally.n <= 0.01


def test_complaints_of_another_city_are_not_placed_here(geocoder):
    rows = nanhai.rows_of("complaints/messages_hot.csv")[::10]
    placed = sum(geocoder.locate(row["title"] + "。" + row["content"]).status == "located" for row in rows)
    assert placed / len(rows) < 0.03

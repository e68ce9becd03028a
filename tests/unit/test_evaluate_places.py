"""Floors under what `wangge evaluate places` measured, on small samples of the building half, with a margin."""

import pytest

from hotline.evaluate import Figure, nanhai
from hotline.evaluate.place_curves import curve
from hotline.evaluate.place_spans import Labeller
from hotline.evaluate.place_texts import SLIPS, Asker, Slips, half_of
from hotline.evaluate.places import calibration, put
from hotline.geocode import Geocoder

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def geocoder():
    if not nanhai.present():
        pytest.skip(f"no given data at {nanhai.DATA}: the geocoder is not measured on the real district")
    return Geocoder(nanhai.gazetteer())


@pytest.fixture(scope="module")
def asker(geocoder):
    return Asker("building")


@pytest.mark.parametrize(
    ("questions", "limit_m", "least"),
    [
        ("telling", 300, 0.92),
        ("damaged", 300, 0.75),
        ("nearby", 300, 0.9),
        ("offsets", 100, 0.85),
        ("between", 300, 0.85),
        ("stretches", 300, 0.9),
        ("two_places", 300, 0.8),
    ],
)
def test_places_in_messages_are_found(geocoder, asker, questions, limit_m, least):
    tallies = put(geocoder, getattr(asker, questions)(60), [], limit_m=limit_m).values()
    n, right = sum(one.n for one in tallies), sum(one.right for one in tallies)
    assert n >= 50
    assert right / n >= least
    assert sum(one.confident_wrong for one in tallies) / n <= 0.05


@pytest.mark.parametrize(("questions", "least"), [("nowhere", 0.8), ("elsewhere", 0.8), ("next_door", 0.85)])
def test_what_is_not_here_is_not_placed_here(geocoder, asker, questions, least):
    asked = list(getattr(asker, questions)(60))
    placed = sum(geocoder.locate(one.text).status == "located" for one in asked)
    assert 1 - placed / len(asked) >= least


def test_the_halves_share_no_place_and_no_message():
    keys = [f"B{n:07d}" for n in range(400)]
    halves = {half: {key for key in keys if half_of(key) == half} for half in ("building", "figure")}
    assert not halves["building"] & halves["figure"]
    assert 150 < len(halves["figure"]) < 250


def test_a_slip_changes_a_name_in_the_way_it_says():
    import random

    slips = Slips([{"name": "锦鲤花园"}, {"name": "金里花圆"}, {"name": "蓝鲸大厦"}])
    for kind in SLIPS:
        slip = slips.make("锦鲤花园", kind, random.Random(3))
        if slip is not None:
            assert slip != "锦鲤花园"
            assert len(slip) - 4 == {"letter lost": -1, "letter added": 1}.get(kind, 0)


def test_calibration_is_the_distance_of_said_and_right():
    told = [(0.95, True)] * 19 + [(0.95, False)] + [(0.45, True)] * 10
    found = {one.trait: one for one in calibration(told)}
    off = next(one for trait, one in found.items() if trait.startswith("mean error"))
    assert isinstance(off, Figure)
    assert off.value == pytest.approx(10 / 30 * 0.55)


def test_a_curve_rises_and_is_drawn_towards_the_middle_where_little_was_asked():
    said, right = curve([(at / 100, at > 50) for at in range(100)] * 3)
    assert said == sorted(said)
    assert right == sorted(right)
    assert 0 < right[0] < 0.05
    assert right[-1] == 0.96


def test_the_labeller_learns_what_a_letter_alone_tells():
    import numpy as np

    features = np.arange(6).reshape(6, 1)
    truth = np.array([0, 1, 2, 0, 1, 2])
    model = Labeller(3)
    model.train([(features, truth, set())], epochs=5)
    assert model.label(features).tolist() == truth.tolist()

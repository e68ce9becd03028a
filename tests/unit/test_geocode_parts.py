"""The rules of the geocoder's parts: spelling, addresses of the register, roads, damaged names."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotline.geocode.addresses import read_address, road_names
from hotline.geocode.damaged import Damaged
from hotline.geocode.roads import Road, Sightings, meeting
from hotline.geocode.writing import house_number, normalise, root_of_road, to_number

pytestmark = pytest.mark.unit

PREFIX = re.compile(r"^(?:云岫镇|临川区)*")


@pytest.mark.parametrize(
    ("written", "one"),
    [
        ("長庚 3路１２號", "长庚三路12号"),
        ("锦鲤·花园", "锦鲤花园"),
        ("12路公交", "12路公交"),
        ("312路公交", "312路公交"),
        ("第一行\n第二行", "第一行。第二行"),
        ("ＡＢＣ", "abc"),
    ],
)
def test_spellings_become_one(written, one):
    assert normalise(written) == one


@given(st.text(max_size=200))
def test_the_one_spelling_is_stable_and_never_longer_than_the_limit(text):
    once = normalise(text)
    assert normalise(once) == once or len(once) != len(normalise(once)) or once.lower() != once
    assert not set(once) & set(" \t\r\n\u3000")


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("23", 23),
        ("23-1", 23),
        ("23之1", 23),
        ("23A", 23),
        ("二十三", 23),
        ("一〇五", 105),
        ("十二", 12),
        ("甲", None),
        ("", None),
        ("0", None),
    ],
)
def test_house_numbers_of_registers(written, number):
    assert house_number(written) == number


@given(st.integers(1, 99_999))
def test_digits_are_their_own_number(number):
    assert to_number(str(number)) == number


@pytest.mark.parametrize(
    ("name", "root"), [("桂花北路", "桂花路"), ("桂花路", "桂花路"), ("云水大道南", "云水大道"), ("东路", "东路")]
)
def test_sections_of_a_road_have_one_root(name, root):
    assert root_of_road(name) == root


def test_road_phrase_gives_the_roads_own_name_but_no_common_word():
    assert road_names("望湖工业区梧桐大道")[-1] == "梧桐大道"
    assert road_names("望湖工业区一路") == ["望湖工业区一路"]
    assert road_names("望湖村") == []


def test_junction_and_landmark_are_read_with_their_offset():
    junction = read_address("云岫镇梧桐大道与长庚三路交叉口西北200米", PREFIX)
    assert junction.junction == ("梧桐大道", "长庚三路")
    assert junction.offset == (-140.0, 140.0)
    landmark = read_address("听涛雅苑南侧约100米", PREFIX)
    assert (landmark.landmark, landmark.offset) == ("听涛雅苑", (0.0, -100.0))


def test_numbered_address_gives_road_number_and_what_stands_there():
    reading = read_address("临川区云岫镇梧桐大道12号锦鲤花园3栋首层", PREFIX)
    assert (reading.road, reading.number, reading.landmark) == ("梧桐大道", 12, "锦鲤花园")


def test_points_far_apart_are_two_roads_and_near_ones_one_road_across_towns():
    seen = Sightings("和平路")
    seen.add(1, (0.0, 0.0), "a")
    seen.add(9, (900.0, 0.0), "b")
    seen.add(1, (9000.0, 0.0), "a")
    roads = seen.roads(1500)
    assert [sorted(road.known) for road in roads] == [[1, 9], [1]]
    assert set(roads[0].towns) == {"a", "b"}


@given(
    st.dictionaries(st.integers(1, 400), st.tuples(st.floats(0, 3000), st.floats(0, 3000)), min_size=1, max_size=12),
    st.integers(1, 500),
)
def test_every_number_of_a_known_road_has_a_place_between_its_points(known, number):
    road = Road("梧桐大道", known={at: [spot] for at, spot in known.items()})
    estimate = road.at(number)
    assert estimate is not None
    for value, axis in ((estimate.x, 0), (estimate.y, 1)):
        assert min(spot[axis] for spot in known.values()) - 1 <= value <= max(spot[axis] for spot in known.values()) + 1
    assert estimate.radius_m > 0
    assert 0 < estimate.belief < 1
    assert (estimate.how == "address_exact") == (number in known)


def test_nearer_neighbours_make_surer():
    close = Road("a", known={1: [(0.0, 0.0)], 5: [(40.0, 0.0)]}).at(3)
    wide = Road("a", known={1: [(0.0, 0.0)], 5: [(1400.0, 0.0)]}).at(3)
    assert close.belief > wide.belief
    assert close.radius_m < wide.radius_m


def test_a_road_that_lies_about_the_spot_makes_surer_than_one_that_runs_on():
    known = {1: [(0.0, 0.0)], 9: [(120.0, 0.0)]}
    short = Road("a", known=known, loose=[(50.0, 0.0), (150.0, 0.0)]).at(5)
    long = Road("a", known=known, loose=[(1500.0, 0.0), (2500.0, 0.0)]).at(5)
    assert (short.x, short.y) == (long.x, long.y)
    assert short.belief > long.belief


def test_likeness_tells_how_much_of_what_is_rare_in_a_name_is_there():
    names = ["青梅文化传播公司", "玄鹤文化传播公司", "白芷文化传播公司"]
    rare, common = (Damaged(names).find(text, least=0.0) for text in ("青梅文化传拨公司", "丁香文化传播公司"))
    assert rare[0].index == 0
    assert not common or common[0].share < rare[0].share


def test_road_of_which_nothing_is_known_has_no_place():
    assert Road("a").at(3) is None
    assert Road("a").middle() is None
    assert meeting(Road("a"), Road("b", loose=[(0.0, 0.0)])) is None


def test_roads_that_stay_apart_do_not_meet():
    one = Road("a", loose=[(0.0, 0.0), (100.0, 0.0)])
    assert meeting(one, Road("b", loose=[(100.0, 2000.0)])) is None
    assert meeting(one, Road("b", loose=[(100.0, 50.0)])).x == pytest.approx(100.0)


NAMES = ["锦鲤花园", "蓝鲸科技大厦", "长庚三路", "长庚四路", "白鹭洲公园"]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("锦里花园", "锦鲤花园"),
        ("蓝京科技大厦", "蓝鲸科技大厦"),
        ("在白露州公园里", "白鹭洲公园"),
        ("蓝鲸科大厦", "蓝鲸科技大厦"),
    ],
)
def test_slip_is_found(written, name):
    assert NAMES[Damaged(NAMES).find(written)[0].index] == name


@pytest.mark.parametrize("written", ["长庚五路", "红旗花园", "科技大厦", "", "公园", "a"])
def test_another_name_is_no_slip(written):
    assert not [like for like in Damaged(NAMES).find(written) if like.score > 0.7]


def test_no_names_no_likeness():
    assert Damaged([]).find("锦鲤花园") == []

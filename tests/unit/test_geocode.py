"""The rules of the geocoder, on a fictional town."""

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.datums import distance_m
from hotline.geocode import WHY, Geocoder
from tests.unit.geocode_town import EAST, WEST, at, gazetteer

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def geocoder():
    return Geocoder(gazetteer())


def off(match, east, north):
    """Return metres between a match and a point of the town."""
    place = at(east, north)
    return float(distance_m((match.lng, match.lat), (place["lng"], place["lat"]))[0])


def best(geocoder, text):
    answer = geocoder.locate(text)
    assert answer.status == "located", (text, answer)
    return answer.matches[0]


def test_exact_name_in_a_sentence_is_found(geocoder):
    match = best(geocoder, "请问锦鲤花园门口的路灯什么时候修?")
    assert off(match, 1500, 1800) < 1
    assert (match.kind, match.town_code, match.community_code) == ("place", EAST, EAST + "001")
    assert match.confidence >= 0.6


def test_known_house_number_is_exact(geocoder):
    match = best(geocoder, "云岫镇梧桐大道10号楼下堆满垃圾")
    assert match.why == "address_exact"
    assert off(match, 1200, 1000) < 1


@pytest.mark.parametrize("number", [4, 6, 14, 24, 36])
def test_house_number_between_known_ones_is_interpolated(geocoder, number):
    match = best(geocoder, f"梧桐大道{number}号漏水")
    assert match.why == "address_between"
    assert off(match, 1000 + 20 * number, 1000) < 120
    assert off(match, 1000 + 20 * number, 1000) <= match.radius_m


def test_number_far_beyond_the_last_known_has_less_confidence_and_more_radius(geocoder):
    near, far = best(geocoder, "梧桐大道42号"), best(geocoder, "梧桐大道300号")
    assert near.confidence > far.confidence
    assert near.radius_m < far.radius_m


@pytest.mark.parametrize(
    "written",
    [
        "梧桐大道十号",
        "梧桐大道10號",
        "梧桐大道 10 号",
        "梧桐大道１０号",
        "梧桐大道10-12号",
        "梧桐大道10号之一",
        "梧桐大道10之2号",
        "梧桐大道10号附5号",
        "梧桐大道10号3栋201房",
        "梧桐大道10",
    ],
)
def test_spellings_of_a_house_number_are_one_place(geocoder, written):
    assert off(best(geocoder, written), 1200, 1000) < 25


@pytest.mark.parametrize("written", ["长庚三路15号", "长庚3路15号", "長庚三路15號"])
def test_spellings_of_a_road_are_one_road(geocoder, written):
    assert off(best(geocoder, written), 2000, 575) < 25


def test_lane_with_a_number_is_a_road(geocoder):
    assert off(best(geocoder, "石桥街道大街十一巷3号"), -2000, -300) < 25


def test_things_counted_after_a_road_are_no_house_number(geocoder):
    for text in ("梧桐大道3个井盖丢了", "梧桐大道20年没修", "梧桐大道10米处积水"):
        assert best(geocoder, text).kind == "road", text


def test_junction_known_from_an_address_is_used(geocoder):
    match = best(geocoder, "长庚三路与梧桐大道交叉口红绿灯坏了")
    assert (match.kind, match.why) == ("junction", "junction_known")
    assert off(match, 2000, 1000) < 5


def test_landmark_known_only_from_its_neighbours_is_found(geocoder):
    match = best(geocoder, "听涛雅苑三期停电")
    assert match.kind == "alias"
    assert off(match, 4000, 3000) < 20


def test_town_decides_between_two_roads_of_one_name(geocoder):
    east, west = best(geocoder, "云岫镇和平路8号"), best(geocoder, "石桥街道和平路8号")
    assert off(east, 3080, -3000) < 25
    assert off(west, -3420, 2000) < 25
    assert (east.town_code, west.town_code) == (EAST, WEST)


def test_two_roads_of_one_name_without_a_town_are_both_offered_and_neither_is_sure(geocoder):
    answer = geocoder.locate("和平路8号有人摆摊")
    assert len(answer.matches) == 2
    assert {match.town_code for match in answer.matches} == {EAST, WEST}
    assert all(match.confidence < 0.6 for match in answer.matches)


def test_branch_of_a_chain_is_told_by_what_stands_in_brackets(geocoder):
    assert off(best(geocoder, "飞燕茶饮(望湖店)排污"), -3000, 50) < 1
    assert off(best(geocoder, "飞燕茶饮锦鲤花园店排污"), 1510, 1795) < 30


def test_chain_without_a_branch_is_never_sure(geocoder):
    answer = geocoder.locate("飞燕茶饮排污")
    assert all(match.confidence < 0.6 for match in answer.matches)


@pytest.mark.parametrize("text", ["中心小学门口堵车", "停车场乱收费", "路灯不亮", "我要投诉物业", "!!!", "123456"])
def test_common_words_name_no_place(geocoder, text):
    answer = geocoder.locate(text)
    assert answer.status == "unlocatable"
    assert answer.matches == ()
    assert answer.why in WHY


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\u200b"])
def test_no_text_is_unlocatable(geocoder, text):
    assert geocoder.locate(text).why == "empty"


def test_named_town_makes_a_place_elsewhere_unlikely(geocoder):
    agrees = best(geocoder, "云岫镇锦鲤花园停电")
    answer = geocoder.locate("石桥街道锦鲤花园停电")
    disagrees = [match for match in answer.matches if match.kind == "place"]
    assert agrees.confidence > 0.6
    assert all(match.confidence < 0.4 for match in disagrees)


def test_community_alone_has_a_wide_radius_and_low_confidence(geocoder):
    match = best(geocoder, "望湖村污水横流")
    assert (match.kind, match.community_code) == ("community", WEST + "001")
    assert match.radius_m >= 500
    assert match.confidence < 0.5


def test_town_alone_is_vaguer_still(geocoder):
    match = best(geocoder, "云岫镇到处是垃圾")
    assert match.kind == "town"
    assert match.radius_m > 2000
    assert match.confidence < 0.3


@pytest.mark.parametrize("text", ["长风市中山路积水", "北郭区政府办事慢", "A市A3区某小区停水", "西地省K8县修路"])
def test_place_elsewhere_is_outside(geocoder, text):
    answer = geocoder.locate(text)
    assert (answer.status, answer.matches) == ("outside", ())
    assert answer.detail["name"]


def test_address_here_outweighs_a_city_mentioned_in_passing(geocoder):
    match = best(geocoder, "长风市来的车停在临川区梧桐大道10号")
    assert off(match, 1200, 1000) < 25


def test_own_province_and_city_are_not_elsewhere(geocoder):
    assert best(geocoder, "东海省云州市临川区云岫镇梧桐大道10号").why == "address_exact"


def test_address_and_name_that_agree_are_surer_than_either(geocoder):
    name = best(geocoder, "蓝鲸科技大厦噪音").confidence
    both = best(geocoder, "长庚三路9号蓝鲸科技大厦噪音").confidence
    assert both > name


@pytest.mark.parametrize("written", ["锦鲤花圆", "锦里花园", "紧鲤花园", "蓝鲸科枝大厦", "蓝京科技大厦"])
def test_name_written_wrongly_is_found_and_said_to_resemble(geocoder, written):
    match = best(geocoder, f"在{written}门口有人乱停车")
    assert match.why == "place_similar"
    assert min(off(match, 1500, 1800), off(match, 2400, 300)) < 60
    assert match.confidence < 0.95


def test_road_written_wrongly_keeps_its_number(geocoder):
    match = best(geocoder, "吾桐大道20号漏水")
    assert match.why == "road_similar"
    assert off(match, 1400, 1000) < 25


def test_number_in_a_road_name_is_never_a_slip(geocoder):
    answer = geocoder.locate("长庚五路15号漏水")
    assert all(match.confidence < 0.5 for match in answer.matches)


def test_name_inside_a_longer_unknown_name_is_not_trusted(geocoder):
    whole, part = best(geocoder, "白鹭洲公园有人钓鱼"), geocoder.locate("新白鹭洲公园酒店有人闹事")
    assert all(match.confidence < 0.7 * whole.confidence for match in part.matches)


def test_two_places_far_apart_lower_each_other(geocoder):
    alone = best(geocoder, "白鹭洲公园垃圾满地").confidence
    answer = geocoder.locate("从锦鲤花园到白鹭洲公园的公交太少")
    assert len(answer.matches) == 2
    assert all(match.confidence < alone for match in answer.matches)


def test_place_of_the_matter_goes_before_the_home(geocoder):
    match = best(geocoder, "我住锦鲤花园,反映白鹭洲公园夜里噪音")
    assert match.name == "白鹭洲公园"


def test_name_said_twice_is_not_surer(geocoder):
    once, twice = best(geocoder, "锦鲤花园停水"), best(geocoder, "锦鲤花园停水,锦鲤花园物业不管")
    assert twice.confidence <= once.confidence + 0.01


def test_reasons_can_be_said(geocoder):
    for text in (
        "梧桐大道14号",
        "梧桐大道42号",
        "锦鲤花园",
        "锦里花园",
        "和平路",
        "云岫镇",
        "飞燕茶饮",
        "长庚三路与梧桐大道路口",
    ):
        for match in geocoder.locate(text).matches:
            assert WHY[match.why].format_map(match.detail)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400))
def test_any_text_gets_an_answer(text):
    answer = SHARED.locate(text)
    assert answer.status in ("located", "unlocatable", "outside")
    assert bool(answer.matches) == (answer.status == "located")
    assert answer.why in WHY


WORDS = [
    "梧桐大道",
    "和平路",
    "8号",
    "十二号",
    "锦鲤花园",
    "锦里花圆",
    "云岫镇",
    "与",
    "交叉口",
    "A市",
    "长风市",
    "停车场",
    ",",
    "在",
    "9" * 30,
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=30).map("".join))
def test_matches_are_ranked_bounded_and_inside(text):
    answer = SHARED.locate(text)
    assert len(answer.matches) <= 5
    for match in answer.matches:
        assert 0 < match.confidence < 1
        assert match.radius_m > 0
        assert math.isfinite(match.lng)
        assert math.isfinite(match.lat)


@pytest.mark.parametrize(
    "word", ["梧桐大道", "梧桐大道8号", "锦里花圆,", "和平路与", "号", "1", "一", "𠮷", "A", "梧桐大道与和平路交叉口。"]
)
def test_work_is_bounded_for_the_longest_text(geocoder, word):
    text = word * (10_000 // len(word) + 1)
    started = time.process_time()
    geocoder.locate(text)
    assert time.process_time() - started < 1.0


SHARED = Geocoder(gazetteer())

"""What words around a place say of it, on the fictional town: moved, between, along, home and matter, elsewhere."""

import pytest

from core.datums import distance_m
from hotline.geocode import WHY, Geocoder
from hotline.geocode.calibration import believed
from hotline.geocode.suggest import Suggester
from tests.unit.geocode_town import at, gazetteer, place

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def geocoder():
    return Geocoder(gazetteer())


def off(lng_lat, east, north):
    place = at(east, north)
    return float(distance_m(lng_lat, (place["lng"], place["lat"]))[0])


def best(geocoder, text):
    answer = geocoder.locate(text)
    assert answer.status == "located", (text, answer)
    return answer.matches[0]


@pytest.mark.parametrize(
    ("text", "east", "north"),
    [
        ("锦鲤花园往北200米路面塌陷", 1500, 2000),
        ("锦鲤花园以西约三百米有人烧垃圾", 1200, 1800),
        ("从锦鲤花园往东走100米", 1600, 1800),
        ("锦鲤花园150米以南", 1500, 1650),
        ("锦鲤花园向北1公里", 1500, 2800),
        ("梧桐大道10号西侧50米", 1150, 1000),
    ],
)
def test_a_way_and_a_distance_move_the_point(geocoder, text, east, north):
    match = best(geocoder, text)
    assert match.why == "offset_from"
    assert off((match.lng, match.lat), east, north) < 5
    assert WHY[match.why].format_map(match.detail)


def test_a_distance_without_a_way_only_widens(geocoder):
    near, far = best(geocoder, "锦鲤花园门口"), best(geocoder, "锦鲤花园前方300米处")
    assert off((far.lng, far.lat), 1500, 1800) < 5
    assert far.radius_m >= near.radius_m + 300


def test_between_two_places_is_their_middle(geocoder):
    match = best(geocoder, "锦鲤花园和蓝鲸科技大厦之间没有路灯")
    assert match.why == "between"
    assert off((match.lng, match.lat), 1950, 1050) < 5
    assert match.radius_m >= 800


@pytest.mark.parametrize("text", ["长庚三路从5号到25号路段", "从锦鲤花园到白鹭洲公园路段路灯不亮"])
def test_a_stretch_is_a_line_and_a_crossing_of_places_is_not(geocoder, text):
    match = geocoder.locate(text).matches[0]
    assert (match.kind == "stretch") == bool(match.line)


def test_a_stretch_follows_its_road(geocoder):
    match = best(geocoder, "长庚三路从蓝鲸科技大厦至栖霞便利段路面破损")
    assert (match.kind, match.why) == ("stretch", "stretch_along")
    assert off(match.line[0], 2400, 300) < 5
    assert off(match.line[-1], 2080, 1000) < 5
    assert match.radius_m >= 300


@pytest.mark.parametrize(
    "text",
    [
        "我住锦鲤花园,反映白鹭洲公园夜里噪音",
        "我是锦鲤花园的业主,白鹭洲公园有人乱倒垃圾",
        "白鹭洲公园的路灯坏了,我向锦鲤花园反映过没有结果",
        "从锦鲤花园过来,在白鹭洲公园被乱收费",
    ],
)
def test_the_matters_place_goes_before_home_office_and_origin(geocoder, text):
    assert best(geocoder, text).name == "白鹭洲公园"


def test_a_home_alone_is_still_the_place(geocoder):
    assert best(geocoder, "我住锦鲤花园,楼上漏水").name == "锦鲤花园"


@pytest.mark.parametrize("text", ["长风市梧桐大道10号", "云州市北郭区梧桐大道10号有人摆摊"])
def test_a_road_of_ours_said_to_be_elsewhere_is_elsewhere(geocoder, text):
    assert geocoder.locate(text).status == "outside"


@pytest.mark.parametrize(
    "text",
    [
        "长风梧桐大道10号",
        "长风北郭人民路3号楼上漏水",
        "事情发生在长风县石塔镇",
        "投诉:北郭市白石路3号乱收费",
        "浙水省长风北郭有人乱收费",
        "白塘区人民路22号有人摆摊",
    ],
)
def test_a_place_elsewhere_is_heard_without_its_rank_or_with_another_where_an_address_follows(geocoder, text):
    assert geocoder.locate(text).status == "outside"


@pytest.mark.parametrize(
    "text", ["我在长风工作,梧桐大道10号漏水", "长风饭店对面的梧桐大道10号漏水", "梧桐大道10号老城区人民路"]
)
def test_a_word_that_is_also_a_city_does_not_send_an_address_of_ours_elsewhere(geocoder, text):
    match = best(geocoder, text)
    assert off((match.lng, match.lat), 1200, 1000) < 25


@pytest.mark.parametrize(("text", "status"), [("大理石桥面坏了", "unlocatable"), ("我住石桥", "located")])
def test_two_letters_of_a_town_where_two_words_meet_are_not_the_town(geocoder, text, status):
    assert geocoder.locate(text).status == status


def test_a_town_within_the_name_of_my_home_does_not_make_the_matters_place_unlikely():
    more = [place("云岫镇文化楼", 2000, -2000), place("石桥街道青梅祠堂", -2000, -2500)]
    geocoder = Geocoder(gazetteer(more))
    match = best(geocoder, "我住在云岫镇文化楼,每天经过石桥街道青梅祠堂,那里没有路灯")
    assert match.name == "石桥街道青梅祠堂"
    assert best(geocoder, "我住在云岫镇文化楼,反映白鹭洲公园夜里噪音").name == "白鹭洲公园"


def test_a_name_that_goes_on_as_nobody_knows_is_told_apart_from_a_whole_one(geocoder):
    noted = []
    listening = Geocoder(geocoder.gazetteer, believe=lambda why, reckoned: noted.append(why) or reckoned)
    for text in ("锦鲤花园停水", "锦鲤花园(3栋)停水", "锦鲤花园-快递柜坏了", "云上小馆(锦鲤花园)油烟"):
        listening.locate(text)
    assert noted == ["place_named", "place_named", "place_named, part", "place_named, part"]


def test_two_roads_of_one_name_are_rivals_and_one_place_is_not(geocoder):
    two = geocoder.locate("和平路8号有人摆摊")
    assert two.ambiguous
    assert len({match.town_code for match in two.rivals}) == 2
    assert sum(match.confidence for match in two.matches) <= 1.001
    assert not geocoder.locate("锦鲤花园停水").ambiguous


@pytest.mark.parametrize("written", ["锦花鲤园", "蓝鲸科技术大厦", "飞燕茶饮(望胡店)"])
def test_swapped_added_and_bracketed_letters_are_heard(geocoder, written):
    assert best(geocoder, f"{written}门口有人乱停车").why == "place_similar"


def test_confidence_rises_with_what_was_reckoned():
    for why in ("place_named", "place_similar", "address_between", "rivals"):
        curve = [believed(why, step / 20) for step in range(21)]
        assert curve == sorted(curve)
        assert 0 < curve[0] <= curve[-1] < 1
    assert believed("no such reason", 0.4) == 0.4


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("锦", "锦鲤花园"),
        ("鲤花", "锦鲤花园"),
        ("jlhy", "锦鲤花园"),
        ("jinli", "锦鲤花园"),
        ("梧桐大道1", "梧桐大道1号"),
    ],
)
def test_names_are_completed(typed, name):
    assert name in [one.name for one in Suggester(gazetteer()).suggest(typed, limit=5)]


@pytest.mark.parametrize("typed", ["", " ", "\n", "@@@@", "长" * 500, "a" * 500, "'"])
def test_anything_typed_gets_a_bounded_answer(typed):
    assert len(Suggester(gazetteer()).suggest(typed, limit=3)) <= 3


def test_what_is_near_a_point_comes_nearest_first_and_within_reach():
    place = at(1500, 1800)
    found = Suggester(gazetteer()).near(place["lng"], place["lat"], limit=4, within_m=500)
    assert found[0].name == "锦鲤花园"
    assert all(one.metres <= 500 for one in found)
    assert [one.metres for one in found] == sorted(one.metres for one in found)

"""Reposts collapse, the same words at two places stay apart, and the index never grows past its bound."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotline.twins import TwinIndex

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LNG, LAT = 113.1501, 23.0302
NOISE = "翠湖花园楼下的烧烤店每天营业到凌晨三点，油烟熏人，音响吵得老人孩子睡不着，投诉多次没有人管"
OTHER_CALLER = "我住翠湖花园，楼下烧烤店又开到凌晨，油烟和音响吵得全家睡不着，请马上处理"
UNRELATED = "河堤二路公交车等了四十分钟都没来，希望增加班次"


def east(metres):
    return LNG + metres / 102_300


def test_a_repost_is_the_same_matter():
    index = TwinIndex()
    index.add("c1", NOISE, LNG, LAT, NOW, level1="环境保护")
    (twin,) = index.find(NOISE, LNG, LAT, NOW + timedelta(hours=3), "环境保护")
    assert twin.case_id == "c1"
    assert twin.score > 0.95
    assert twin.copy
    assert (twin.metres, twin.days) == (0, 0.1)


def test_another_caller_at_the_same_place_is_found():
    index = TwinIndex()
    index.add("c1", NOISE, LNG, LAT, NOW, level1="环境保护")
    assert [t.case_id for t in index.find(OTHER_CALLER, east(60), LAT, NOW + timedelta(days=1), "环境保护")] == ["c1"]


def test_the_same_words_at_two_places_stay_apart():
    index = TwinIndex()
    index.add("c1", "门口路灯坏了一个星期没人修，晚上很黑", LNG, LAT, NOW, level1="城乡建设")
    assert index.find("门口路灯坏了一个星期没人修，晚上很黑", east(900), LAT, NOW, level1="城乡建设") == ()


def test_the_same_words_from_all_over_the_district_do_not_hide_those_from_next_door():
    index = TwinIndex()
    index.add("here", NOISE, LNG, LAT, NOW)
    for n in range(60):
        index.add(f"away{n}", NOISE, east(2_000 + 900 * n), LAT, NOW)
    assert [t.case_id for t in index.find(NOISE, east(40), LAT, NOW)] == ["here"]


def test_a_short_sentence_without_a_place_is_nobodys_twin():
    index = TwinIndex()
    index.add("c1", "路灯坏了一个星期没人修", None, None, NOW)
    assert index.find("路灯坏了一个星期没人修", None, None, NOW) == ()
    assert index.find("路灯坏了一个星期没人修", LNG, LAT, NOW) == ()


def test_a_letter_sent_again_is_a_twin_without_any_place():
    letter = (
        NOISE.replace("翠湖花园", "我们这里")
        + "，油烟管道正对着卧室窗户，孩子已经咳嗽了两个月，物业说管不了，请派人上门检测"
    )
    index = TwinIndex()
    index.add("c1", letter, None, None, NOW)
    assert [t.case_id for t in index.find("再次反映：" + letter, None, None, NOW)] == ["c1"]


def test_the_same_words_about_two_named_places_stay_apart_without_points():
    index = TwinIndex()
    index.add("c1", "榕荫路路灯坏了一个星期没人修，晚上很黑", None, None, NOW)
    assert index.find("文昌大道路灯坏了一个星期没人修，晚上很黑", None, None, NOW) == ()
    index.add("c2", "翠湖花园3栋电梯坏了三天，老人下不了楼", None, None, NOW)
    assert index.find("翠湖花园8栋电梯坏了三天，老人下不了楼", None, None, NOW) == ()


def test_different_matters_at_one_place_stay_apart():
    index = TwinIndex()
    index.add("c1", NOISE, LNG, LAT, NOW, level1="环境保护")
    assert index.find(UNRELATED, LNG, LAT, NOW, level1="交通运输") == ()
    assert index.find("翠湖花园的电梯坏了三天，物业不修", LNG, LAT, NOW, level1="商贸旅游") == ()


def test_old_messages_are_no_twins():
    index = TwinIndex(window=timedelta(days=30))
    index.add("c1", NOISE, LNG, LAT, NOW)
    assert index.find(NOISE, LNG, LAT, NOW + timedelta(days=31)) == ()
    assert index.find(NOISE, LNG, LAT, NOW + timedelta(days=29)) != ()


@pytest.mark.parametrize("text", ["", "你好", "!!!", "\x00"])
def test_a_text_that_says_nothing_has_no_twin(text):
    index = TwinIndex()
    index.add("c1", text, LNG, LAT, NOW)
    assert index.find(text, LNG, LAT, NOW) == ()


def test_one_case_is_named_once_and_the_limit_holds():
    index = TwinIndex()
    for i in range(4):
        index.add("c1", NOISE, LNG, LAT, NOW + timedelta(minutes=i))
    for i in range(6):
        index.add(f"d{i}", NOISE, LNG, LAT, NOW)
    found = index.find(NOISE, LNG, LAT, NOW, limit=3)
    assert len(found) == 3
    assert len({twin.case_id for twin in index.find(NOISE, LNG, LAT, NOW, limit=50)}) == len(
        index.find(NOISE, LNG, LAT, NOW, limit=50)
    )


@given(
    st.lists(
        st.tuples(st.text("甲乙丙丁戊路灯坏了没人修一二三", max_size=20), st.booleans()),
        min_size=1,
        max_size=40,
    )
)
@settings(max_examples=60, deadline=None)
def test_the_index_is_bounded_and_forgets_cleanly(messages):
    index = TwinIndex(kept=7)
    for i, (text, placed) in enumerate(messages):
        index.add(i, text, LNG if placed else None, LAT if placed else None, NOW)
        assert len(index) == min(i + 1, 7)
    live = set(range(max(0, len(messages) - 7), len(messages)))
    assert set(index._messages) == live
    assert all(set(listed) <= live and listed for listed in index._lists.values())
    assert all(set(inside) <= live and inside for inside in index._squares.values())
    for text, _ in messages:
        for twin in index.find(text, LNG, LAT, NOW):
            assert twin.case_id in live
            assert 0 <= twin.score <= 1


#: A plea as it is passed on in a flood: one frame, another place (invented).
PLEA = "紧急求助！位于{}的{}被河水倒灌，地下车库已全部进水，一楼住户被淹，停水停电两天，老人孩子很多，请大家帮忙转发，联系王女士"


def test_a_plea_copied_for_another_place_is_another_matter():
    index = TwinIndex()
    index.add("c1", PLEA.format("榕荫镇滨河路", "翠湖花园小区"), None, None, NOW)
    assert not any(t.score >= 0.6 for t in index.find(PLEA.format("望江镇文昌路", "紫荆家园小区"), None, None, NOW))
    assert index.find("转！" + PLEA.format("榕荫镇滨河路", "翠湖花园小区"), None, None, NOW)[0].score > 0.9


def test_a_repost_collapses_whatever_the_platform_put_around_it():
    plea = PLEA.format("榕荫镇滨河路", "翠湖花园小区")
    index = TwinIndex()
    index.add("c1", f"#暴雨互助# {plea}", None, None, NOW)
    for repost in (
        f"扩散！！//@某人: {plea}",
        f"转发微博 RT @某人：{plea} #大雨#",
        f"[合十][合十]{plea}https://t.cn/x @甲 @乙",
    ):
        (twin,) = index.find(repost, None, None, NOW + timedelta(minutes=5))
        assert twin.case_id == "c1"
        assert twin.copy
        assert twin.score > 0.9


def test_two_troubles_of_one_estate_stay_apart_without_points():
    index = TwinIndex()
    index.add("c1", NOISE, None, None, NOW)
    for other in (
        "翠湖花园的电梯坏了三天，物业一直不来修，老人上下楼很不方便，请尽快派人维修",
        "翠湖花园门口的垃圾堆了一个多星期没有人清运，苍蝇很多，臭得窗户都不敢开",
    ):
        assert not any(t.score >= 0.6 for t in index.find(other, None, None, NOW))


def test_a_vague_point_brings_nobody_together_but_keeps_apart():
    index = TwinIndex()
    index.add("c1", NOISE, LNG, LAT, NOW, radius_m=3_000)
    assert not any(t.metres is not None for t in index.find(OTHER_CALLER, LNG, LAT, NOW))
    assert index.find(NOISE, east(9_000), LAT, NOW) == ()
    assert index.find(NOISE, east(2_000), LAT, NOW)[0].metres is None


def test_the_first_suggestion_stays_while_the_text_is_typed():
    index = TwinIndex()
    for n, text in enumerate((OTHER_CALLER, UNRELATED, "翠湖花园的电梯坏了三天，物业不修", "路灯坏了一个星期没人修")):
        index.add(n, text, LNG, LAT, NOW)
    seen = [index.find(NOISE[:n], LNG, LAT, NOW) for n in range(6, len(NOISE) + 1)]
    named = [found[0].case_id for found in seen if found]
    assert set(named) == {0}
    first = next(n for n, found in enumerate(seen) if found)
    assert all(seen[first:]), "a suggestion came and went"


def test_the_same_words_are_named_for_the_desk():
    index = TwinIndex()
    index.add("c1", OTHER_CALLER, LNG, LAT, NOW)
    (twin,) = index.find(NOISE, LNG, LAT, NOW)
    assert twin.words
    assert all(word[i : i + 2] in NOISE and word[i : i + 2] in OTHER_CALLER for word in twin.words for i in (0,))

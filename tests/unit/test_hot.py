"""A matter is announced when many people report it faster than expected, and not because one person or the day is loud."""

from datetime import UTC, datetime, timedelta

import pytest

from core.errors import Invalid
from hotline.hot import DEFAULT, HotWatch, Rule, Seen, Tier, rule_of

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LNG, LAT = 113.1501, 23.0302
#: What five people say of one night market (invented).
NIGHT = (
    "翠湖花园南门的夜宵摊每天摆到凌晨三点，油烟呛人，音响很吵，老人孩子睡不着",
    "我住翠湖花园，南门夜宵摊油烟太大，半夜还放音响，请派人来管",
    "翠湖花园南门口夜宵摊占道经营，油烟熏人，凌晨还在吵闹，打过电话没人管",
    "又来反映翠湖花园南门夜宵摊的油烟和噪音，孩子要考试，根本没法休息",
    "翠湖花园南门夜宵摊昨晚又摆到凌晨，油烟从窗户进来，咳得睡不着",
    "翠湖花园业主联名反映南门夜宵摊油烟噪音扰民，请城管取缔",
)
OTHERS = (
    "河堤二路公交车等了四十分钟都没来，希望增加班次",
    "榕荫路路灯坏了一个星期没人修，晚上很黑",
    "文昌小学门口家长停车太乱，孩子过马路很危险",
    "东风市场的猪肉摊短斤少两，要求查处",
    "请问社保卡遗失了在哪里补办，需要带什么材料",
    "和平里三号楼顶楼漏雨，物业一直拖着不修",
)


def said(n, text, minutes, **more):
    return Seen(f"m{n}", text, NOW + timedelta(minutes=minutes), **{"reporter": f"p{n}", "lng": LNG, "lat": LAT} | more)


def crossed(watch, at):
    return [matter for matter in watch.grown(at) if matter.crossing]


def fed(watch, texts=NIGHT, *, step=20, **more):
    """Take the texts in and return with how many the rule was first crossed, and the matter."""
    for n, text in enumerate(texts):
        seen = said(n, text, n * step, **more)
        watch.take(seen)
        if found := crossed(watch, seen.at):
            return n + 1, found[0]
    return 0, None


def test_five_reports_by_four_people_in_a_day_are_a_hot_matter_with_name_and_place():
    count, matter = fed(HotWatch())
    assert count == 5
    assert matter.ids == ("m0", "m1", "m2", "m3", "m4")
    assert matter.reporters == 5
    assert "翠湖花园" in matter.place
    assert {"夜宵", "油烟"} & set(matter.words) or "夜宵" in matter.name or "油烟" in matter.name
    assert (matter.hour, matter.day) == (3, 5)
    assert matter.crossing.span == timedelta(days=1)
    assert (matter.lng, matter.lat) == (LNG, LAT)


def test_one_loud_person_is_no_hot_matter():
    assert fed(HotWatch(), reporter="p1")[0] == 0


def test_a_text_passed_on_by_nobody_in_particular_counts_as_one_voice():
    assert fed(HotWatch(), [NIGHT[0]] * 6, reporter="")[0] == 0
    assert fed(HotWatch(), [NIGHT[0]] * 6)[0] == 5, "a letter signed by six people is six people"


def test_danger_to_life_is_announced_sooner():
    assert fed(HotWatch(), urgency="emergency")[0] == 3
    assert fed(HotWatch(), urgency="utilities")[0] == 4


def test_one_caller_in_fear_does_not_make_an_emergency():
    watch = HotWatch()
    for n, text in enumerate(NIGHT[:4]):
        watch.take(said(n, text, n, urgency="emergency" if n == 0 else "ordinary"))
    assert not crossed(watch, NOW + timedelta(minutes=4))


def test_the_same_words_at_two_places_are_two_matters():
    watch = HotWatch()
    for n, text in enumerate(NIGHT[:5]):
        watch.take(said(n, text, n, lng=LNG + 0.03 * (n % 2)))
    assert not crossed(watch, NOW + timedelta(minutes=5))
    assert sorted(len(m.ids) for m in (watch.of("m0", NOW), watch.of("m1", NOW))) == [2, 3]


def test_what_always_comes_is_not_hot():
    watch = HotWatch()
    # Three a day for twenty days by ever new people: five in a day is not thrice that.
    told = []
    for day in range(20):
        for n in range(3):
            seen = said(f"{day}-{n}", NIGHT[(day + n) % 5], day * 1440 + n * 400)
            watch.take(seen)
            told += [m for m in crossed(watch, seen.at) if m.crossing.span <= timedelta(days=1)]
    for n in range(5):
        seen = said(f"x{n}", NIGHT[n], 20 * 1440 + n)
        watch.take(seen)
        told += [m for m in crossed(watch, seen.at) if m.crossing.span <= timedelta(days=1)]
    assert not told


def test_a_busy_stream_expects_more_of_every_matter():
    rule = Rule({name: (Tier(timedelta(days=1), 5, 4),) for name in DEFAULT.tiers}, times=3.0, usual=20)
    quiet, busy = HotWatch(rule), HotWatch(rule)
    for n in range(120):
        busy.take(said(f"o{n}", OTHERS[n % 6] + f"，编号{n}", -n % 7, lng=LNG + 0.02 * (n + 1)))
    assert fed(quiet)[0] == 5
    assert fed(busy, step=1)[0] == 0


def test_a_report_that_comes_twice_changes_nothing():
    watch = HotWatch()
    for n, text in enumerate(NIGHT[:4]):
        watch.take(said(n, text, n))
        watch.take(said(n, text, n))
    assert len(watch) == 4
    assert "m3" in watch
    assert not crossed(watch, NOW + timedelta(minutes=4))


def test_a_watch_forgets_the_oldest_and_what_is_out_of_its_window():
    watch = HotWatch(kept=3)
    for n, text in enumerate((*NIGHT, *OTHERS)):
        watch.take(said(n, text, n))
        assert len(watch) <= 3
    watch.take(said("late", OTHERS[0], 70 * 1440))
    assert len(watch) == 1
    assert watch.of("m5", NOW) is None
    assert list(watch._clusters) == ["mlate"]
    assert sum(watch._spread.values()) == len(watch._clusters["mlate"].members["mlate"].words)


def test_only_what_grew_is_asked_about():
    watch = HotWatch()
    for n, text in enumerate(NIGHT[:3]):
        watch.take(said(n, text, n))
    assert len(watch.grown(NOW + timedelta(minutes=3))) == 1
    assert watch.grown(NOW + timedelta(minutes=4)) == []


def test_the_rule_of_a_district_replaces_what_it_names_and_refuses_nonsense():
    rule = rule_of({"times": 2, "ordinary": [[12, 3, 2]]})
    assert rule.tiers["ordinary"] == (Tier(timedelta(hours=12), 3, 2),)
    assert rule.tiers["emergency"] == DEFAULT.tiers["emergency"]
    assert fed(HotWatch(rule))[0] == 3
    assert rule_of(None) is DEFAULT
    for wrong in ({"ordinary": [[24, 5]]}, {"ordinary": [[24, 0, 1]]}, {"times": 0}, {"times": "x"}, {"usual": 0}, [1]):
        with pytest.raises(Invalid):
            rule_of(wrong)


def test_who_wrote_of_a_matter_before_is_heard_again_in_other_words_and_a_stranger_is_not():
    again = "五百元罚款换来照样营业，处罚决定为何一直不公开，听证什么时候开，翠湖花园的夜宵摊"
    for reporter, members in (("p0", 2), ("p9", 1), ("", 1)):
        watch = HotWatch()
        for n, text in enumerate(NIGHT[:2]):
            watch.take(said(n, text, 10 * n, lng=None, lat=None))
        watch.take(said(9, again, 60, lng=None, lat=None, reporter=reporter))
        assert len(watch.of("m9", NOW + timedelta(hours=1)).ids) == members, reporter

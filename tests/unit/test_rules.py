"""The most specific rule decides, always the same way, and no case is ever without an owner."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from dispatch.calendar import CHINA
from dispatch.rules import (
    Level,
    Routed,
    Rule,
    RuleSet,
    Unit,
    checked,
    compare,
    problems,
    read_rules,
    week_mask,
)

# A fictional district, 990101.
TOWN, OTHER = "990101001", "990101002"
UNITS = (
    Unit("centre", "centre"),
    Unit("town", "town_office", TOWN),
    Unit("roads"),
    Unit("water"),
    Unit("night"),
    Unit("parks", active=False, deputy="roads"),
    Unit("gone", active=False),
)
MONDAY = datetime(2026, 3, 2, 10, tzinfo=CHINA)
CATEGORIES = ["01", "0101", "010101", "0102", "02"]
AREAS = [TOWN, OTHER, TOWN + "001", TOWN + "001001"]


def answer(rules, category, area, at=MONDAY):
    return RuleSet(rules, UNITS).assign(category, area, at)


def test_longer_category_wins_over_longer_area():
    rules = [Rule("1", "roads", "0101"), Rule("2", "water", "01", TOWN + "001001")]
    assert answer(rules, "010101", TOWN + "001001").unit == "roads"
    assert answer(rules, "0102", TOWN + "001001").unit == "water"


def test_longer_area_wins_within_a_category():
    rules = [Rule("1", "roads", "01"), Rule("2", "water", "01", TOWN), Rule("3", "night", "01", TOWN + "001")]
    assert [answer(rules, "01", a).unit for a in ("", OTHER, TOWN, TOWN + "002", TOWN + "001001")] == [
        "roads",
        "roads",
        "water",
        "water",
        "night",
    ]


def test_rule_with_a_window_wins_over_the_one_without():
    rules = [Rule("1", "roads", "01"), Rule("2", "night", "01", hours="18:00-08:00")]
    assert answer(rules, "01", "").unit == "roads"
    assert answer(rules, "01", "", MONDAY.replace(hour=18)).unit == "night"
    assert answer(rules, "01", "", MONDAY.replace(hour=7, minute=59)).unit == "night"
    assert answer(rules, "01", "", MONDAY.replace(hour=8)).unit == "roads"


def test_less_specific_rule_answers_outside_the_window_of_the_more_specific():
    rules = [Rule("1", "roads", "01"), Rule("2", "night", "0101", weekdays="67")]
    saturday = MONDAY + timedelta(days=5)
    assert answer(rules, "0101", "").unit == "roads"
    assert answer(rules, "0101", "", saturday).unit == "night"


def test_window_is_read_on_the_clock_of_china():
    rules = [Rule("1", "night", hours="18:00-20:00")]
    assert answer(rules, "", "", datetime.fromisoformat("2026-03-02T10:30:00+00:00")).unit == "night"
    with pytest.raises(Invalid, match="time zone"):
        answer(rules, "", "", datetime(2026, 3, 2, 18))  # noqa: DTZ001  the naive time is the point


def test_window_over_midnight_belongs_to_the_day_it_begins_on():
    rules = [Rule("1", "night", weekdays="7", hours="22:00-06:00")]
    sunday = MONDAY - timedelta(days=1)
    assert answer(rules, "", "", sunday.replace(hour=23)).unit == "night"
    assert answer(rules, "", "", MONDAY.replace(hour=5)).unit == "night"
    assert answer(rules, "", "", sunday.replace(hour=5)).unit == "centre"
    assert week_mask(rules[0]).bit_count() == 8 * 60


def test_rule_without_a_window_holds_every_minute_of_the_week():
    assert week_mask(Rule("1", "roads")) == (1 << 7 * 24 * 60) - 1
    assert week_mask(Rule("1", "roads", hours="00:00-24:00")) == week_mask(Rule("1", "roads", weekdays="1234567"))
    assert week_mask(Rule("1", "roads", weekdays="1", hours="00:01-00:03")) == 0b110


def test_nobody_named_falls_to_the_town_office_and_then_to_the_centre():
    town, centre = answer([], "01", TOWN + "001001"), answer([], "01", OTHER)
    assert (town.unit, town.level) == ("town", Level.TOWN)
    assert (centre.unit, centre.level) == ("centre", Level.CENTRE)
    assert answer([], None, None).level is Level.CENTRE
    assert answer([Rule("1", "roads", "01")], "02", TOWN).unit == "town"


def test_deputy_answers_for_a_unit_that_is_not_active():
    found = answer([Rule("1", "parks", "01")], "01", "")
    assert (found.unit, found.instead_of) == ("roads", ("parks",))


def test_rule_to_a_unit_that_is_gone_without_deputy_is_passed_over():
    rules = [Rule("1", "gone", "0101"), Rule("2", "roads", "01")]
    assert answer(rules, "0101", "").unit == "roads"


def test_area_may_be_given_as_town_community_and_cell():
    rules = [Rule("1", "roads", "", TOWN + "001")]
    assert answer(rules, "", (TOWN, TOWN + "001", None)).unit == "roads"
    assert answer(rules, "", (TOWN, None, None)).unit == "town"


def test_decision_carries_its_reason():
    found = answer([Rule("r7", "parks", "01", TOWN, hours="08:00-18:00")], "0101", TOWN)
    assert found.why == {
        "level": "rule",
        "rule": "r7",
        "category": "01",
        "area": TOWN,
        "timed": True,
        "instead_of": ["parks"],
    }
    assert all(text.format(**params) for text, params in found.reasons)
    assert len(found.reasons) == 3
    assert [len(answer([], "", area).reasons) for area in (TOWN, "")] == [1, 1]


# --- Rule sets with a mistake. ---


def found(rules, units=UNITS):
    return [str(p) for p in problems(rules, units, categories=CATEGORIES, areas=AREAS)]


def test_sound_rule_set_has_no_problems():
    rules = [Rule("1", "roads", "01"), Rule("2", "night", "01", hours="18:00-08:00"), Rule("3", "water", "02", TOWN)]
    assert found(rules) == []
    assert checked(rules, UNITS, categories=CATEGORIES, areas=AREAS).rules == tuple(rules)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule("1", "nobody"), "no unit nobody"),
        (Rule("1", "roads", "09"), "no category 09"),
        (Rule("1", "roads", "", "990101003"), "no area 990101003"),
        (Rule("1", "roads", hours="9-17"), "hours are written"),
        (Rule("1", "roads", hours="25:00-26:00"), "hours are written"),
        (Rule("1", "roads", hours="09:00-09:00"), "hours are written"),
        (Rule("1", "roads", hours="09:00-24:30"), "hours are written"),
        (Rule("1", "roads", weekdays="08"), "weekdays are written"),
        (Rule("1", "roads", weekdays="11"), "weekdays are written"),
        (Rule("", "roads"), "id is missing"),
    ],
)
def test_rule_is_refused(rule, words):
    messages = found([rule])
    assert len(messages) == 1
    assert words in messages[0]
    with pytest.raises(Invalid):
        checked([rule], UNITS, categories=CATEGORIES, areas=AREAS)


def test_rules_of_equal_weight_at_the_same_time_are_refused():
    assert "as specific as rule 1" in found([Rule("1", "roads", "01"), Rule("2", "water", "01")])[0]
    night, early = Rule("1", "night", hours="18:00-02:00"), Rule("2", "roads", hours="01:00-03:00")
    assert "as specific as rule 1" in found([night, early])[0]
    assert found([night, Rule("2", "roads", hours="02:00-03:00")]) == []
    assert found([Rule("1", "night", weekdays="12"), Rule("2", "roads", weekdays="345")]) == []
    # Sunday night runs on into Monday morning.
    assert found([Rule("1", "night", weekdays="7", hours="22:00-06:00"), Rule("2", "roads", weekdays="1")])


def test_id_given_twice_is_refused():
    assert "stands twice" in found([Rule("1", "roads", "01"), Rule("1", "roads", "02")])[0]


@pytest.mark.parametrize("length", [1, 2, 5])
def test_deputies_that_go_in_a_circle_are_refused_once(length):
    ring = [Unit(f"u{i}", active=False, deputy=f"u{(i + 1) % length}") for i in range(length)]
    messages = found([], (*UNITS, *ring, Unit("tail", deputy="u0")))
    assert len(messages) == 1
    assert "in a circle" in messages[0]


def test_case_has_an_owner_even_when_deputies_go_in_a_circle():
    ring = (Unit("a", active=False, deputy="b"), Unit("b", active=False, deputy="a"), Unit("centre", "centre"))
    assert RuleSet([Rule("1", "a")], ring).assign("01", "", MONDAY).unit == "centre"


def test_deputy_that_does_not_exist_is_refused():
    assert "does not exist" in found([], (*UNITS, Unit("a", deputy="zz")))[0]


def test_gap_is_refused_where_there_is_no_district_centre():
    units = (Unit("town", "town_office", TOWN), Unit("roads"))
    messages = found([Rule("1", "roads", "01")], units)
    assert any(OTHER in message and "02" in message for message in messages)
    assert not any(" 01 in " in message for message in messages)
    # A rule for everything leaves no gap; a rule for some hours does.
    assert found([Rule("1", "roads")], units) == []
    assert found([Rule("1", "roads", hours="08:00-18:00")], units)


def test_rule_file_names_the_line_of_a_mistake(tmp_path: Path):
    table = tmp_path / "rules.csv"
    table.write_text(
        "id,category,area,weekdays,hours,unit,note\n1,01,,,,roads,ordinary\n2,0101,,67,08:00-18:00,nobody,\n"
    )
    rules = read_rules(table)
    assert rules[0] == Rule("1", "roads", "01", note="ordinary", file="rules.csv", line=2)
    assert found(rules) == ["rules.csv, line 3, rule 2: there is no unit nobody."]
    written = tmp_path / "rules.yaml"
    written.write_text("rules:\n  - {id: 1, category: 01, unit: roads}\n  - {id: 2, unit: roads, hours: 9-17}\n")
    rules = read_rules(written)
    assert (rules[0].id, rules[0].category) == ("1", "01")
    assert found(rules)[0].startswith("rules.yaml, line 3, rule 2: hours are written")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("r.csv", "id,unit\n1,roads,more\n"),
        ("r.csv", "id,unit,colour\n1,roads,red\n"),
        ("r.csv", "id,category\n1,01\n"),
        ("r.csv", ""),
        ("r.csv", 'id,unit\n1,"roads\n'),
        ("r.yaml", "rules: [1]\n"),
        ("r.yaml", "rules: [{id: 1}]\n"),
        ("r.yaml", "rule: []\n"),
        ("r.yaml", "rules: {{"),
    ],
)
def test_rule_file_that_is_no_table_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(Invalid) as caught:
        read_rules(tmp_path / name)
    assert name in str(caught.value)


def test_comparing_names_only_the_cases_that_go_elsewhere():
    old, new = (RuleSet([Rule("1", unit, "01")], UNITS) for unit in ("roads", "water"))
    cases = [Routed("a", "01", TOWN, MONDAY), Routed("b", "02", TOWN, MONDAY)]
    assert [(c.number, o.unit, n.unit) for c, o, n in compare(old, new, cases)] == [("a", "roads", "water")]
    assert compare(old, old, cases) == []


# --- Rules that hold for every set. ---

categories = st.sampled_from(["", *CATEGORIES, "09"])
areas = st.sampled_from(["", *AREAS, "990101003"])
moments = st.integers(0, 7 * 24 * 60 - 1).map(lambda m: MONDAY + timedelta(minutes=m))
rule_sets = st.lists(
    st.tuples(
        st.sampled_from([u.code for u in UNITS]),
        categories,
        areas,
        st.sampled_from(["", "12345", "67", "7"]),
        st.sampled_from(["", "08:00-18:00", "18:00-08:00", "00:00-24:00"]),
    ),
    max_size=12,
).map(lambda rows: [Rule(str(i), *row) for i, row in enumerate(rows)])


def slow_assign(rules, category, area, at):
    """The same answer by looking at every rule: the definition, written once more."""
    minute = (at.weekday() * 24 + at.hour) * 60 + at.minute
    fitting = [
        r
        for r in rules
        if category.startswith(r.category)
        and area.startswith(r.area)
        and week_mask(r) >> minute & 1
        and r.unit != "gone"
    ]
    fitting.sort(key=lambda r: (-len(r.category), -len(r.area), not r.timed, len(r.id), r.id))
    if fitting:
        return fitting[0].id
    return Level.TOWN if area.startswith(TOWN) else Level.CENTRE


@given(rule_sets, categories, areas, moments)
def test_no_case_is_without_an_active_owner(rules, category, area, at):
    decision = RuleSet(rules, UNITS).assign(category, area, at)
    assert {u.code: u for u in UNITS}[decision.unit].active


@given(rule_sets, categories, areas, moments, st.randoms())
def test_index_answers_as_the_definition_does_in_any_order_of_rules(rules, category, area, at, random):
    expected = slow_assign(rules, category, area, at)
    random.shuffle(rules)
    decision = RuleSet(rules, UNITS).assign(category, area, at)
    assert (decision.rule or decision.level) == expected

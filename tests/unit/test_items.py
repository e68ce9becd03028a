"""Item sheets: reading, checking, comparing; and the three lists. No database."""

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import Invalid
from core.settings import ROOT
from dispatch.items import lists
from dispatch.items.compare import across, compare
from dispatch.items.lists import Condition, Entry, judge
from dispatch.items.parsing import surely_within
from dispatch.items.reading import Read, default_files, read_yaml
from dispatch.items.roles import Units, roles
from dispatch.items.sheet import Fee, Material, Sheet, digest
from dispatch.limits import Limit
from dispatch.rulebook import Node

pytestmark = pytest.mark.unit

ITEM = """
code: T-0001
name: 试验事项
unit: civil_affairs
legal_limit: 20wd
promised_limit: 5wd
basis: [{law: 某法, article: 第一条}]
conditions: [条件一]
materials: [{code: A, name: 甲}]
steps: [{name: 申请}]
results: [{name: 证}]
pick_ups: [{code: W, name: 窗口}]
"""
Reader = Callable[..., Read]


@pytest.fixture
def reading(tmp_path: Path) -> Reader:
    """Return a function: members of an item that are changed (None: left out) → what is read of the file."""

    def read(head: str = "", **changed: str | None) -> Read:
        lines = dict(line.split(": ", 1) for line in ITEM.strip().splitlines())
        lines |= {name: value for name, value in changed.items() if value is not None}
        kept = [f"{name}: {value}" for name, value in lines.items() if changed.get(name, "") is not None]
        path = tmp_path / "items.yaml"
        path.write_text(head + "items:\n  - " + "\n    ".join(kept) + "\n", encoding="utf-8")
        return read_yaml([path])

    return read


@pytest.fixture(scope="module")
def shipped() -> list[Sheet]:
    read = read_yaml(default_files())
    assert [fault.sentence for fault in read.faults] == []
    return [given.sheet for given in read.given]


def test_a_plain_item_is_read_with_its_defaults(reading: Reader) -> None:
    (given,) = reading().given
    sheet = given.sheet
    assert (sheet.audience, sheet.level, sheet.survey, sheet.fee) == ("person", "community", "none", Fee())
    assert dict(sheet.limits) == {"accept": "1wd", "decide": "5wd", "deliver": "1wd"}
    assert sheet.material("A") == Material("A", "甲")
    assert sheet.material("B") is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"promised_limit": "21wd"}, "longer than the legal one"),
        ({"promised_limit": "15nd"}, "longer than the legal one"),
        ({"promised_limit": "soon"}, "soon is no limit"),
        ({"done_at_once": "true"}, "promises 0 or sd, not 5wd"),
        ({"done_at_once": "true", "promised_limit": '"0"', "survey": "single"}, "has no survey"),
        ({"survey": "joint"}, "needs parallel units"),
        ({"parallel": "[{unit: civil_affairs, task: 核对, limit: 3wd}]"}, "stands among the parallel ones"),
        ({"parallel": "[{unit: a, task: x, limit: 1wd}, {unit: a, task: y, limit: 1wd}]"}, "parallel names a twice"),
        ({"materials": "[{code: A, name: 甲}, {code: A, name: 乙}]"}, "materials names A twice"),
        ({"materials": "[{code: A, name: 甲, form: shared}]"}, "names its register"),
        ({"materials": "[{code: A, name: 甲, count: 0}]"}, "between 1 and 99"),
        ({"materials": "[{code: A, name: 甲, lag: 月底}]"}, "is no limit"),
        ({"materials": "[{code: A, name: 甲, uploads: [exe]}]"}, "must be one of jpeg"),
        ({"materials": "[UNKNOWN]"}, "the library has no UNKNOWN"),
        ({"fee": "{charged: true, amount: 20 元}"}, "basis is missing"),
        ({"fee": "{amount: 1, basis: b, waivers: [{who: w, percent: 101, basis: b}]}"}, "between 1 and 100"),
        ({"reviews": "[{level: nation, limit: 3wd}]"}, "must be one of city, province"),
        ({"audience": "cats"}, "must be one of person"),
        ({"code": "t 1"}, "form of an item code"),
        ({"name": "长" * 101}, "longer than 100"),
        ({"name": '"a\\u0007b"'}, "characters that cannot be read"),
        ({"basis": None}, "basis is missing"),
        ({"conditions": None}, "conditions is missing"),
        ({"steps": "nothing"}, "steps is missing"),
        ({"unit": None}, "unit is missing"),
        ({"colour": "red"}, "colour is not a column"),
        ({"valid_from": "tomorrow"}, "must be a day"),
        ({"conditions": "one"}, "must be a list of words"),
    ],
)
def test_a_sheet_that_contradicts_itself_is_refused_with_its_line(
    reading: Reader, changed: dict[str, str | None], words: str
) -> None:
    read = reading(**changed)
    assert read.given == []
    assert any(words in fault.sentence for fault in read.faults), [fault.sentence for fault in read.faults]
    assert all(fault.file == "items.yaml" and fault.line > 1 for fault in read.faults)


def test_every_fault_of_a_file_is_told_at_once(reading: Reader) -> None:
    read = reading(
        materials="[{code: A}, {name: 乙}, {code: C, name: 丙, count: x}]", basis="[{article: 一}]", legal_limit="x"
    )
    assert {fault.column for fault in read.faults} == {"name", "code", "count", "law", "legal_limit"}


def test_codes_follow_the_pattern_of_the_district(tmp_path: Path, reading: Reader) -> None:
    assert reading(head='code_pattern: "X[0-9]+"\n').given == []
    assert len(reading(head='code_pattern: "X[0-9]+"\n', code="X12").given) == 1
    assert "is no pattern" in reading(head='code_pattern: "("\n').faults[0].sentence


def test_two_sheets_of_one_code_are_refused(tmp_path: Path) -> None:
    files = default_files()
    read = read_yaml([*files, files[1]])
    assert any("two sheets have the code" in fault.sentence for fault in read.faults)


def test_references_cannot_unfold(tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text("items: &a [x]\noverrides: *a\n", encoding="utf-8")
    assert "references" in read_yaml([path]).faults[0].sentence


@pytest.mark.parametrize(
    ("short", "long", "within"),
    [
        ("5wd", "20wd", True),
        ("20wd", "20wd", True),
        ("21wd", "20wd", False),
        ("0", "0", True),
        ("sd", "1wd", True),
        ("0", "sd", True),
        ("sd", "0", False),
        ("20wd", "60nd", True),
        ("10nd", "15nd", True),
        ("15wd", "15nd", False),
        ("10nd", "15wd", False),
        ("5nd", "20wd", True),
        ("4wh", "1wd", True),
        ("24h", "2nd", True),
        ("72h", "2nd", False),
    ],
)
def test_a_promise_is_never_longer_than_the_law(short: str, long: str, within: bool) -> None:
    assert surely_within(Limit.parse(short), Limit.parse(long)) is within


def test_a_sheet_survives_its_body_and_equal_sheets_have_one_digest(shipped: list[Sheet]) -> None:
    for sheet in shipped:
        assert Sheet.of(sheet.body()) == sheet
        assert digest(Sheet.of(sheet.body())) == digest(sheet)
    assert len({digest(sheet) for sheet in shipped}) == len(shipped)
    with pytest.raises(Invalid, match="cannot be read"):
        Sheet.of({"code": "x"})


def test_the_shipped_catalogue_shows_every_kind_of_item(shipped: list[Sheet]) -> None:
    assert len(shipped) >= 48
    assert all(sheet.example for sheet in shipped)
    assert sum(sheet.done_at_once for sheet in shipped) >= 10
    assert sum(sheet.joint_survey for sheet in shipped) >= 3
    assert sum(any(one.may_lag for one in sheet.materials) for sheet in shipped) >= 10
    assert sum(sheet.three_level for sheet in shipped) >= 2
    assert any(sheet.fee.waivers for sheet in shipped)
    assert any(sheet.supervising for sheet in shipped)
    assert {sheet.level for sheet in shipped} == {"district", "town", "community"}
    assert {sheet.audience for sheet in shipped} == {"person", "organisation", "both"}
    named = {sheet.unit for sheet in shipped} | {one.unit for sheet in shipped for one in sheet.parallel}
    assert named <= roles().keys()


def test_a_material_of_one_code_is_the_same_on_every_sheet(shipped: list[Sheet]) -> None:
    known: dict[str, set[tuple[str, str]]] = {}
    for sheet in shipped:
        for one in sheet.materials:
            known.setdefault(one.code, set()).add((one.name, one.form))
    assert [code for code, found in known.items() if len(found) > 1] == []


def test_equal_sheets_do_not_differ(shipped: list[Sheet]) -> None:
    assert all(compare(sheet, sheet) == () for sheet in shipped)


def test_materials_are_matched_by_code_not_by_place(reading: Reader) -> None:
    one = reading(materials="[{code: A, name: 甲}, {code: B, name: 乙}]").given[0].sheet
    other = reading(materials="[{code: B, name: 乙, count: 2}, {code: C, name: 丙}]").given[0].sheet
    found = {(d.key, d.member): (d.one, d.other) for d in compare(one, other)}
    assert found.keys() == {("A", ""), ("B", "count"), ("C", "")}
    assert found["B", "count"] == (1, 2)
    assert found["A", ""][1] is None
    assert found["C", ""][0] is None


def test_another_order_of_the_same_materials_is_said(reading: Reader) -> None:
    one = reading(materials="[{code: A, name: 甲}, {code: B, name: 乙}]").given[0].sheet
    (difference,) = compare(one, replace(one, materials=one.materials[::-1]))
    assert (difference.one, difference.other) == (["A", "B"], ["B", "A"])


def test_towns_may_have_their_own_windows_and_nothing_else(reading: Reader) -> None:
    base = reading().given[0].sheet
    same = reading(unit="X", pick_ups="[{code: Z, name: 镇窗口}]").given[0].sheet
    other = reading(promised_limit="6wd", fee="{amount: 5 元, basis: 镇规定}").given[0].sheet
    found = across(base, {"same": same, "other": other})
    assert found["same"] == ()
    assert {(d.field, d.member) for d in found["other"]} == {
        ("promised_limit", ""),
        ("fee", "charged"),
        ("fee", "amount"),
        ("fee", "basis"),
    }


FUMES = Condition("fumes", "eq", True, "产生油烟")
HOME = Condition("use", "in", ["residential"], "住宅楼内")
NEGATIVE = Entry("N-1", "negative", "住宅楼内不得新设餐饮", item_codes=("T-1",), conditions=(FUMES, HOME))
PERMIT = Entry(
    "P-1", "permitted", "逢报必批", item_codes=("T-1",), conditions=(Condition("area", "le", 50, "不超五十"),)
)
SHARES = Entry("S-0", "supervision", "抽查", shares={"A": 5, "B": 10, "C": 30, "D": 100})
FOOD = Entry("S-1", "supervision", "食品", item_codes=("T-1",), shares={"A": 10, "B": 30, "C": 60, "D": 100})
ENTRIES = [NEGATIVE, PERMIT, SHARES, FOOD]


def test_all_conditions_of_a_negative_entry_refuse_and_show_it() -> None:
    verdict = judge(ENTRIES, "T-1", {"fumes": True, "use": "residential", "area": 40})
    assert verdict.negative == NEGATIVE
    assert not verdict.must_be_granted
    assert judge(ENTRIES, "T-2", {"fumes": True, "use": "residential"}).negative is None


def test_one_condition_that_does_not_hold_lifts_the_negative_entry() -> None:
    verdict = judge(ENTRIES, "T-1", {"fumes": False})
    assert verdict.negative is None
    assert verdict.unknown == ()


def test_a_fact_that_nobody_told_is_asked_for_not_guessed() -> None:
    verdict = judge(ENTRIES, "T-1", {"fumes": True})
    assert verdict.negative is None
    assert verdict.unknown == (HOME,)
    assert verdict.permitted is not None
    assert not verdict.permitted.granted
    assert [one.fact for one in verdict.permitted.unknown] == ["area"]
    # The wrong kind of fact is no answer either.
    assert judge(ENTRIES, "T-1", {"fumes": "yes", "use": "residential"}).negative is None
    assert judge([PERMIT], "T-1", {"area": True}).must_be_granted is False


@pytest.mark.parametrize(("area", "must"), [(50, True), (51, False), (0, True)])
def test_a_permitted_item_with_every_condition_met_must_be_granted(area: int, must: bool) -> None:
    assert judge(ENTRIES, "T-1", {"fumes": False, "area": area}).must_be_granted is must


@pytest.mark.parametrize(("credit", "share"), [("A", 10), ("B", 30), ("C", 60), ("D", 100), ("", 30)])
def test_the_credit_class_sets_the_share_of_after_checks(credit: str, share: int) -> None:
    verdict = judge(ENTRIES, "T-1", {}, credit=credit)
    assert (verdict.share_percent, verdict.supervision) == (share, FOOD)
    assert judge(ENTRIES, "T-9", {"credit_class": "D"}).share_percent == 100
    assert judge([], "T-1", {}).share_percent == lists.DEFAULT_SHARE


def test_an_unknown_credit_class_is_refused() -> None:
    with pytest.raises(Invalid, match="credit class"):
        judge(ENTRIES, "T-1", {}, credit="E")


def test_the_shipped_lists_name_items_that_exist_and_the_reverse(shipped: list[Sheet]) -> None:
    entries = lists.read_lists(lists.DEFAULT)
    codes = {sheet.code for sheet in shipped}
    assert {code for one in entries for code in one.item_codes} <= codes
    assert {code for sheet in shipped for code in sheet.lists} <= {one.code for one in entries}
    assert {one.kind for one in entries} == set(lists.KINDS)
    assert all(one.example for one in entries)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{code: X, list: grey, title: t}", "must be one of negative"),
        ("{code: X, list: negative, title: t}", "conditions is missing"),
        ("{code: X, list: supervision, title: t}", "has shares"),
        ("{code: X, list: supervision, title: t, shares: {A: 1, B: 2, C: 3}}", "for A, B, C and D"),
        ("{code: X, list: supervision, title: t, shares: {A: 1, B: 2, C: 3, D: 101}}", "between 0 and 100"),
        (
            "{code: X, list: negative, title: t, conditions: [{fact: f, is: near, value: 1, words: w}]}",
            "must be one of",
        ),
        ("{code: X, list: negative, title: t, conditions: [{fact: f, is: lt, value: a, words: w}]}", "does not fit"),
        ("{code: X, list: negative, title: t, conditions: [{fact: f, is: in, value: a, words: w}]}", "does not fit"),
    ],
)
def test_an_entry_that_makes_no_sense_is_refused(tmp_path: Path, entry: str, words: str) -> None:
    path = tmp_path / "lists.yaml"
    path.write_text(f"entries:\n  - {entry}\n", encoding="utf-8")
    with pytest.raises(Invalid, match=re.escape(words)):
        lists.read_lists(path)


def demo_districts() -> dict[str, Units]:
    from grid.fiction_folder import _UNITS

    with (ROOT / "grid" / "profiles" / "nanhai" / "units.csv").open(encoding="utf-8") as file:
        nanhai = {row["code"]: Node(row["code"], row["name"], None, row["kind"]) for row in csv.DictReader(file)}
    return {"nanhai": Units(nanhai), "fiction": Units({code: Node(code, name, None, k) for code, name, k in _UNITS})}


@pytest.mark.parametrize("district", ["nanhai", "fiction"])
def test_both_demo_districts_have_a_unit_for_every_shipped_item(shipped: list[Sheet], district: str) -> None:
    units = demo_districts()[district]
    settled = [units.settle(sheet) for sheet in shipped]
    assert [one.sentence for _, warned in settled for one in warned] == []
    assert all(units.centre != sheet.unit or sheet.by_town for sheet, _ in settled)
    assert sum(sheet.joint_survey for sheet, _ in settled) >= 3

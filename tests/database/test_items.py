"""The catalogue of service items over a real database: loading, versions, withdrawing, who may write, who sees what."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch.items import catalogue, lists
from dispatch.items.reading import Override, Read, default_files, read_yaml
from dispatch.items.roles import Units, competent
from dispatch.rulebook import Node
from tests import builders
from tests.builders import DISTRICT, NOW

pytestmark = pytest.mark.database
TODAY = date(2026, 11, 18)
CODE = "SL310003"


@pytest.fixture(scope="module")
def shipped() -> Read:
    return read_yaml(default_files())


@pytest.fixture
def units(session: Session, as_actor: Callable[[Actor], Session]) -> Units:
    as_actor(builders.program())
    made = {
        "C": ("centre", "试验网格中心"),
        "MZ": ("department", "试验民政局"),
        "SJ": ("department", "试验市场监管局"),
        "CG": ("department", "试验城管执法局"),
        "T1": ("town_office", "试验一镇政府"),
    }
    for code, (kind, name) in made.items():
        builders.make_unit(session, code, kind=kind, name=name)
    return Units({code: Node(code, name, None, kind) for code, (kind, name) in made.items()})


@pytest.fixture
def loaded(session: Session, units: Units, shipped: Read) -> catalogue.Loaded:
    return catalogue.load(session, shipped, units=units, at=NOW)


def republish(session: Session, days: int = 0, at: datetime = NOW, **changed: object) -> catalogue.Version:
    sheet = replace(catalogue.current(session, CODE, TODAY).sheet, **changed)
    made = catalogue.publish(session, sheet, at=at, valid_from=TODAY + timedelta(days=days), source="试验")
    assert made is not None
    return made


def test_all_shipped_items_are_loaded_with_units_of_the_district(session: Session, loaded: catalogue.Loaded) -> None:
    assert len(loaded.published) >= 48
    found = catalogue.current(session, CODE, TODAY)
    assert (found.version, found.unit_code, found.sheet.supervising) == (1, "SJ", "SJ")
    assert [one.unit for one in found.sheet.parallel] == ["CG", "C"]
    assert found.sheet.example


def test_a_role_without_a_unit_goes_to_the_centre_and_is_told(session: Session, loaded: catalogue.Loaded) -> None:
    assert catalogue.current(session, "SL120001", TODAY).unit_code == "C"
    assert any("SL120001" in one.sentence and "disabled_federation" in one.sentence for one in loaded.warned)


def test_the_town_office_of_the_applicants_place_decides_about_town_items(
    session: Session, loaded: catalogue.Loaded
) -> None:
    sheet = catalogue.current(session, "SL330001", TODAY).sheet
    assert competent(sheet, {"990100001": "T1"}, "990100001") == "T1"
    assert competent(sheet, {"990100001": "T1"}, None) == "C"


def test_loading_the_same_again_changes_nothing(
    session: Session, loaded: catalogue.Loaded, units: Units, shipped: Read
) -> None:
    again = catalogue.load(session, shipped, units=units, at=NOW + timedelta(days=1))
    assert (list(again.published), again.unchanged) == ([], len(loaded.published))
    assert len(catalogue.history(session, CODE)) == 1


def test_a_changed_sheet_is_a_new_version_from_today_and_the_old_one_stays(
    session: Session, loaded: catalogue.Loaded, units: Units, shipped: Read
) -> None:
    changed = Read(
        [replace(one, sheet=replace(one.sheet, name="改名")) for one in shipped.given if one.sheet.code == CODE]
    )
    catalogue.load(session, changed, units=units, at=NOW)
    assert catalogue.current(session, CODE, TODAY).version == 2
    assert catalogue.current(session, CODE, TODAY - timedelta(days=1)).version == 1
    assert catalogue.version(session, CODE, 1).sheet.name == "食品经营许可"
    assert catalogue.states(catalogue.history(session, CODE), TODAY) == ["valid", "replaced"]


def test_a_version_for_later_does_not_hold_yet(session: Session, loaded: catalogue.Loaded) -> None:
    republish(session, days=30, name="以后的名称")
    assert catalogue.current(session, CODE, TODAY).version == 1
    assert catalogue.current(session, CODE, TODAY + timedelta(days=30)).version == 2
    assert catalogue.states(catalogue.history(session, CODE), TODAY) == ["coming", "valid"]


def test_a_new_version_cannot_hold_from_a_day_that_is_past(session: Session, loaded: catalogue.Loaded) -> None:
    with pytest.raises(Invalid, match="not from before"):
        republish(session, days=-1, name="倒签")


def test_an_application_begins_under_the_version_that_holds(session: Session, loaded: catalogue.Loaded) -> None:
    assert catalogue.applicable(session, CODE, TODAY).version == 1
    assert catalogue.applicable(session, CODE, TODAY, seen=1).version == 1
    republish(session, name="新版")
    with pytest.raises(Conflict, match="was replaced on 2026-11-18: read version 2"):
        catalogue.applicable(session, CODE, TODAY, seen=1)
    with pytest.raises(NotFound):
        catalogue.applicable(session, CODE, TODAY, seen=9)


def test_a_withdrawn_item_takes_no_applications_but_cases_keep_their_version(
    session: Session, loaded: catalogue.Loaded
) -> None:
    republish(session, days=10, name="以后的名称")
    assert catalogue.withdraw(session, CODE, TODAY + timedelta(days=2), at=NOW) == 2
    assert catalogue.applicable(session, CODE, TODAY + timedelta(days=1)).version == 1
    for days in (2, 12):
        with pytest.raises(Conflict, match="nobody can apply"):
            catalogue.applicable(session, CODE, TODAY + timedelta(days=days))
        with pytest.raises(NotFound):
            catalogue.current(session, CODE, TODAY + timedelta(days=days))
    assert catalogue.version(session, CODE, 1).sheet.name == "食品经营许可"
    with pytest.raises(Conflict, match="withdrawn already"):
        catalogue.withdraw(session, CODE, TODAY + timedelta(days=2), at=NOW)


def test_a_withdrawn_item_can_be_published_again_unchanged(session: Session, loaded: catalogue.Loaded) -> None:
    sheet = catalogue.current(session, CODE, TODAY).sheet
    catalogue.withdraw(session, CODE, TODAY, at=NOW)
    assert catalogue.publish(session, sheet, at=NOW, source="试验") is not None
    assert catalogue.applicable(session, CODE, TODAY).version == 2


def test_loading_again_does_not_revive_what_was_withdrawn(
    session: Session, loaded: catalogue.Loaded, units: Units, shipped: Read
) -> None:
    catalogue.withdraw(session, CODE, TODAY, at=NOW)
    again = catalogue.load(session, shipped, units=units, at=NOW)
    assert list(again.published) == []
    assert any("stays so" in one.sentence for one in again.warned)
    with pytest.raises(Conflict):
        catalogue.applicable(session, CODE, TODAY)


def test_an_item_that_does_not_hold_yet_cannot_be_applied_for(session: Session, loaded: catalogue.Loaded) -> None:
    with pytest.raises(Conflict, match="from 2026-01-01 on"):
        catalogue.applicable(session, CODE, date(2025, 12, 31))
    with pytest.raises(NotFound):
        catalogue.applicable(session, "SL999999", TODAY)


def test_a_published_sheet_cannot_be_changed_by_the_program_itself(session: Session, loaded: catalogue.Loaded) -> None:
    for change in ("body = '{}'", "valid_from = '2020-01-01'", "version = 7"):
        with pytest.raises(DBAPIError, match="permission denied"), session.begin_nested():
            session.execute(
                text(f"UPDATE item_version SET {change} WHERE district_code = :d AND item_code = :c"),
                {"d": DISTRICT, "c": CODE},
            )
    with pytest.raises(DBAPIError, match="permission denied"), session.begin_nested():
        session.execute(text("DELETE FROM item_version WHERE district_code = :d"), {"d": DISTRICT})


@pytest.mark.parametrize("role", [role for role in Role if role not in (Role.SYSTEM, Role.ADMIN)])
def test_everybody_reads_and_only_administrators_write(
    session: Session, loaded: catalogue.Loaded, as_actor: Callable[[Actor], Session], role: Role
) -> None:
    sheet = replace(catalogue.current(session, CODE, TODAY).sheet, name="越权")
    as_actor(builders.actor(role))
    assert catalogue.listing(session, catalogue.Filter(), day=TODAY).total == len(loaded.published)
    for write in (
        lambda: catalogue.publish(session, sheet, at=NOW, source="试验"),
        lambda: catalogue.withdraw(session, CODE, TODAY, at=NOW),
        lambda: lists.load(session, []),
    ):
        with pytest.raises(Forbidden):
            write()
    # The row policy refuses, too, whatever the program forgets.
    with pytest.raises(DBAPIError, match="row-level security"), session.begin_nested():
        session.execute(
            text("UPDATE item_version SET withdrawn_from = '2026-12-01' WHERE district_code = :d"), {"d": DISTRICT}
        )


def test_another_district_sees_and_changes_nothing(
    session: Session, loaded: catalogue.Loaded, as_actor: Callable[[Actor], Session]
) -> None:
    builders.make_district(session, DISTRICT)
    as_actor(builders.actor(Role.ADMIN, district="990199"))
    assert catalogue.listing(session, catalogue.Filter(), day=TODAY).total == 0
    with pytest.raises(NotFound):
        catalogue.current(session, CODE, TODAY)
    with pytest.raises(NotFound):
        catalogue.withdraw(session, CODE, TODAY, at=NOW)


def test_faults_refuse_the_whole_load_unless_they_are_skipped(
    session: Session, units: Units, shipped: Read, tmp_path
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("items:\n  - {code: SL1, name: x}\n", encoding="utf-8")
    read = read_yaml([*default_files(), bad])
    with pytest.raises(Invalid, match=r"bad\.yaml, line 2"):
        catalogue.load(session, read, units=units, at=NOW)
    assert catalogue.listing(session, catalogue.Filter(), day=TODAY).total == 0
    done = catalogue.load(session, read, units=units, at=NOW, skip_bad=True)
    assert len(done.published) == len(shipped.given)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (catalogue.Filter(search="餐饮"), {"SL310003", "SL310004"}),
        (catalogue.Filter(search="低保 户口簿"), {"SL110003"}),
        (catalogue.Filter(search="sl310003"), {"SL310003"}),
        (catalogue.Filter(search="100%"), set()),
        (catalogue.Filter(search="_"), set()),
        (catalogue.Filter(search="许可", audience="person"), {"SL310003", "SL340001"}),
        (catalogue.Filter(search="许可", level="town"), {"SL310003"}),
        (catalogue.Filter(unit="MZ", search="高龄"), {"SL110001"}),
    ],
)
def test_the_list_is_narrowed_by_words_and_choices(
    session: Session, loaded: catalogue.Loaded, asked: catalogue.Filter, expected: set[str]
) -> None:
    found = catalogue.listing(session, asked, day=TODAY)
    codes = {line.item_code for line in found.lines}
    assert codes >= expected
    if asked.search != "许可":
        assert codes == expected
    assert found.count == len(codes)


def test_one_visit_items_are_done_at_once_online_at_home_or_posted(session: Session, loaded: catalogue.Loaded) -> None:
    count = catalogue.listing(session, catalogue.Filter(once=True), day=TODAY).count
    every = catalogue.every(session, TODAY)
    assert count == sum(one.sheet.once_only for one in every) < len(every)


def test_the_list_is_bounded_and_pages_do_not_overlap(session: Session, loaded: catalogue.Loaded) -> None:
    pages = [catalogue.listing(session, catalogue.Filter(), day=TODAY, page=n) for n in (1, 2, 99)]
    assert [len(one.lines) for one in pages[:1]] == [catalogue.PAGE]
    assert pages[2].page == pages[2].pages == 2
    codes = [line.item_code for one in pages[:2] for line in one.lines]
    assert len(set(codes)) == pages[0].total


def test_what_a_town_publishes_otherwise_is_found(session: Session, loaded: catalogue.Loaded, units: Units) -> None:
    from dispatch.items.compare import across

    read = Read(
        overrides=[
            Override(CODE, "990100001", {"promised_limit": "9wd"}, "一镇"),
            Override(CODE, "990100002", {"pick_ups": [{"code": "A", "name": "本镇窗口", "post": False}]}, "二镇"),
        ]
    )
    catalogue.load(session, read, units=units, at=NOW)
    base = catalogue.current(session, CODE, TODAY).sheet
    found = across(base, catalogue.town_sheets(session, CODE, TODAY))
    assert [(one.field, one.one, one.other) for one in found["990100001"]] == [("promised_limit", "6wd", "9wd")]
    assert found["990100002"] == ()


def test_a_town_sheet_that_would_be_none_is_refused(session: Session, loaded: catalogue.Loaded, units: Units) -> None:
    for fields in ({"promised_limit": "90wd"}, {"materials": "none"}, {"steps": []}):
        with pytest.raises(Invalid):
            catalogue.load(session, Read(overrides=[Override(CODE, "990100001", fields, "镇")]), units=units, at=NOW)


def test_the_three_lists_are_kept_and_judged(session: Session, loaded: catalogue.Loaded) -> None:
    entries = lists.read_lists(lists.DEFAULT)
    assert lists.load(session, entries) == len(entries)
    assert lists.entries(session) == sorted(entries, key=lambda one: one.code)
    verdict = lists.check(session, CODE, {"makes_fumes": True, "building_use": "residential"}, credit="C")
    assert verdict.negative is not None
    assert verdict.negative.code == "N-32"
    assert (verdict.share_percent, verdict.must_be_granted) == (60, False)
    lists.load(session, entries[:1])
    assert [one.code for one in lists.entries(session)] == [entries[0].code]


def test_a_role_may_be_told_to_mean_a_unit() -> None:
    nodes = {"C": Node("C", "中心", None, "centre"), "X": Node("X", "某局", None, "department")}
    assert Units(nodes, chosen={"civil_affairs": "X"}).code("civil_affairs") == "X"
    with pytest.raises(Invalid, match="no unit Y"):
        Units(nodes, chosen={"civil_affairs": "Y"})
    with pytest.raises(Invalid, match="no centre"):
        Units({"X": nodes["X"]})


def test_parallel_units_that_fall_to_the_lead_are_asked_once(shipped: Read) -> None:
    nodes = {"C": Node("C", "中心", None, "centre")}
    given = next(one for one in shipped.given if one.sheet.code == CODE)
    sheet, warned = Units(nodes).settle(given.sheet)
    assert (sheet.unit, sheet.parallel, sheet.survey) == ("C", (), "single")
    assert any("not parallel" in one.sentence for one in warned)

"""What each role sees, and the worklists made of it."""

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Select, TextClause, select, text
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.documents import masked
from core.errors import Forbidden, Invalid, NotFound
from core.ids import new_id
from dispatch import boxes, identity, sheet, views
from dispatch.models import Case, Disclosure, Pause, Plea, Supervision
from dispatch.process import processes
from dispatch.walking import along_indexes
from tests import builders
from tests.builders import DISTRICT, NOW, TOWN
from tests.plans import full_table

pytestmark = pytest.mark.database

As = Callable[[Actor], Session]
OTHER_TOWN = "990100002"
VIEWERS = [
    builders.actor(Role.OPERATOR),
    builders.actor(Role.SUPERVISOR),
    builders.actor(Role.OFFICIAL),
    builders.actor(Role.OFFICIAL, town=OTHER_TOWN),
    builders.actor(Role.OPERATOR, town=TOWN),
    builders.actor(Role.UNIT, unit="U1"),
    builders.actor(Role.UNIT, unit="U2"),
    builders.actor(Role.UNIT),
    builders.actor(Role.GRID_WORKER, town=TOWN),
    builders.actor(Role.GRID_WORKER),
    builders.actor(Role.ADMIN),
    builders.actor(Role.CITIZEN),
    builders.actor(Role.OPERATOR, district="990101"),
    builders.program(),
]


@pytest.fixture
def ground(session: Session) -> list[Case]:
    """Cases of two towns, two units and two districts, open and closed, with and without a clock."""
    made = []
    for town in (TOWN, OTHER_TOWN, None):
        for unit in (None, "U1", "U2"):
            for hours in (-3, 5, None):
                due = timedelta(hours=hours) if hours is not None else None
                made.append(builders.make_case(session, unit=unit, town_code=town, due_in=due))
    made.append(builders.make_case(session, unit="U1", state="closed"))
    made.append(builders.make_case(session, unit="U2", unit_codes=["U1", "U2"]))
    made.append(builders.make_case(session, district="990100"))
    session.flush()
    return made


@pytest.mark.parametrize("viewer", VIEWERS, ids=lambda a: f"{a.role}-{a.town or a.unit or a.district}")
def test_visible_to_and_the_row_policy_are_the_same_rule(
    ground: list[Case], session: Session, as_actor: As, viewer: Actor
) -> None:
    wanted = set(session.scalars(select(Case.id).where(views.visible_to(viewer))))
    shown = set(as_actor(viewer).execute(text("SELECT id FROM cases")).scalars())
    assert shown == wanted
    if viewer.role in (Role.ADMIN, Role.CITIZEN) or viewer.district != DISTRICT:
        assert not shown
    if viewer.role is Role.OPERATOR and not viewer.town and viewer.district == DISTRICT:
        assert len(shown) == len(ground)


@pytest.mark.parametrize("sort", list(views.Sort))
@pytest.mark.parametrize("box", ["", "open", "running", "all", "ended"])
def test_pages_neither_repeat_nor_hide_a_case(ground: list[Case], as_actor: As, sort: views.Sort, box: str) -> None:
    session = as_actor(builders.actor(Role.OPERATOR))
    seen: list[views.Row] = []
    after = None
    while True:
        page = views.worklist(session, views.Filter(box=box), at=NOW, sort=sort, after=after, limit=4)
        seen += page.rows
        after = page.after
        if after is None:
            break
    assert len({row.id for row in seen}) == len(seen) == page.count
    expected = {"": ground, "all": ground}.get(box)
    if expected is not None:
        assert len(seen) == len(expected)
    if sort is views.Sort.DUE and box != "ended":
        dues = [row.due_at for row in seen]
        with_clock = [due for due in dues if due is not None]
        assert with_clock == sorted(with_clock)
        assert dues[: len(with_clock)] == with_clock, "cases without a clock stand last"


def test_of_101_waiting_cases_the_one_with_least_time_left_stands_first(session: Session, as_actor: As) -> None:
    for hours in range(100):
        builders.make_case(session, due_in=timedelta(hours=10 + hours))
    urgent = builders.make_case(session, due_in=timedelta(hours=1))
    page = views.worklist(as_actor(builders.actor()), views.Filter(box="waiting"), at=NOW, limit=100)
    assert page.rows[0].id == urgent.id
    assert page.count == 101
    assert page.after is not None


def test_a_case_is_overdue_from_the_very_second_on(session: Session, as_actor: As) -> None:
    case = builders.make_case(session, due_in=timedelta(hours=1), warned=2)
    viewer = as_actor(builders.actor())
    assert case.due_at is not None

    def colour(seconds: int) -> int:
        assert case.due_at is not None
        at = case.due_at + timedelta(seconds=seconds)
        return views.worklist(viewer, views.Filter(), at=at).rows[0].colour

    assert [colour(-1), colour(0), colour(1)] == [2, 3, 3]
    assert views.counts(viewer, at=case.due_at, soon=case.due_at).by_colour == {0: 0, 1: 0, 2: 0, 3: 1}


def test_a_count_stops_where_nobody_would_scroll(
    ground: list[Case], as_actor: As, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "MAX_COUNT", 5)
    page = views.worklist(as_actor(builders.actor()), views.Filter(), at=NOW, limit=3)
    assert (page.count, page.more) == (5, True)


def test_filters_narrow_and_combine(session: Session, as_actor: As) -> None:
    for code in ("10", "1001", "20"):
        builders.make_category(session, code)
    deep = builders.make_case(session, category_code="1001", town_code=TOWN, urgency="utilities")
    builders.make_case(session, category_code="20", town_code=OTHER_TOWN)
    viewer = as_actor(builders.actor())

    def found(**asked: object) -> list[str]:
        page = views.worklist(viewer, views.Filter(**asked), at=NOW)  # type: ignore[arg-type]
        return [row.number for row in page.rows]

    assert found(category="10") == [deep.number]
    assert found(urgency="utilities", town=TOWN) == [deep.number]
    assert found(town=TOWN, category="20") == []
    assert found(received_to=NOW) == []
    assert found(search=deep.number[:14]) == [deep.number] or len(found(search=deep.number[:14])) == 2
    assert deep.number in found(search=deep.number)
    assert len(found(search="窨井盖")) == 2
    assert found(search="100%") == [], "a percent sign is a character, not a pattern"


def test_only_those_who_call_back_find_a_case_by_telephone(session: Session, as_actor: As) -> None:
    case_id = builders.make_case(session, unit="U1", phone="13800138000").id
    asked = views.Filter(search="138 0013 8000")
    for viewer, sees in (
        (builders.actor(Role.OPERATOR), True),
        (builders.actor(Role.SUPERVISOR), True),
        (builders.actor(Role.OFFICIAL), False),
        (builders.actor(Role.UNIT, unit="U1"), False),
    ):
        rows = views.worklist(as_actor(viewer), asked, at=NOW).rows
        assert [row.id for row in rows] == ([case_id] if sees else []), viewer.role


@pytest.mark.parametrize("cursor", ["x", "====", "MjAyNg", "é", "fDEyMw"])
def test_a_made_up_page_is_refused(session: Session, as_actor: As, cursor: str) -> None:
    with pytest.raises(Invalid):
        views.worklist(as_actor(builders.actor()), views.Filter(), at=NOW, after=cursor)


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        (views.Filter(box="open"), "ix_cases_worklist"),
        (views.Filter(box="running", unit="U1"), "ix_cases_unit"),
        (views.Filter(box="answered", unit="U4"), "ix_cases_unit"),
        (views.Filter(box="pleas"), "ix_cases_attention"),
        (views.Filter(box="supervised"), "ix_cases_attention"),
        (views.Filter(box="complex", unit="U1"), "ix_cases_attention"),
    ],
)
def test_the_worklist_walks_the_partial_index(database: str, asked: views.Filter, index: str) -> None:
    with full_table(builders.actor()) as session:
        session.execute(text("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"))
        keys = views._page_keys(asked, builders.actor(), at=NOW, sort=views.Sort.DUE, after=None, take=51)
        plan = "\n".join(session.execute(_explained(session, select(keys.c.id))).scalars())
    assert index in plan, plan
    assert "Seq Scan" not in plan


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        # No case of the table is in one of these states, so that by state looks cheapest to the planner.
        (views.Filter(box="open", states=("paused", "parked", "merged"), unit="U1"), "ix_cases_unit"),
        (views.Filter(box="answered", unit="U4"), "ix_cases_unit"),
        (views.Filter(box="ended", unit="U1"), "ix_cases_ended"),
    ],
)
def test_a_count_of_one_unit_reads_no_other_units_cases(database: str, asked: views.Filter, index: str) -> None:
    unit = builders.actor(Role.UNIT, unit="U1")
    with full_table(unit) as session, along_indexes(session):
        plan = "\n".join(session.execute(_explained(session, views._hits(asked, unit, at=NOW))).scalars())
    assert index in plan, plan
    assert "Sort" not in plan


def _explained(session: Session, query: Select[Any]) -> TextClause:
    made = query.compile(session.get_bind(), compile_kwargs={"literal_binds": True})
    return text("EXPLAIN " + str(made).replace(":", r"\:"))


def test_open_states_are_those_of_every_process_of_cases() -> None:
    tables = [table for (name, _version), table in processes().items() if name != "assignment"]
    found = {name for table in tables for name, state in table.states.items() if state.open}
    assert found == set(boxes.open_states()), "a list by time left would hide cases of the others"
    for table in tables:
        assert any(table.initial in boxes.BOXES[box].named() for box in ("waiting", "open")), table.name


def test_boxes_hold_what_waits_for_somebody(session: Session, as_actor: As) -> None:
    asked = builders.make_case(session, unit="U1", state="signed", plea="extension").number
    watched = builders.make_case(session, unit="U1", state="signed", supervised=True).number
    paused = builders.make_case(session, unit="U1", state="paused", open=True).number
    parked = builders.make_case(session, unit="U1", state="parked", open=True).number
    disputed = builders.make_case(session, state="disputed", open=True).number
    merged = builders.make_case(session, unit="U1", state="merged", open=True).number
    hard = builders.make_case(session, unit="U1", state="dispatched", complex=True).number
    builders.make_case(session, unit="U1", state="closed", supervised=True)
    viewer = as_actor(builders.actor(Role.SUPERVISOR))

    def found(box: str) -> set[str]:
        return {row.number for row in views.worklist(viewer, views.Filter(box=box), at=NOW).rows}

    assert found("pleas") == {asked}
    assert found("supervised") == {watched}, "an order that ended with its case waits for nobody"
    assert found("resting") == {paused, parked}
    assert found("disputed") == {disputed}
    assert found("merged") == {merged}
    assert found("complex") == {hard}
    assert found("running") == {asked, watched, hard}
    assert found("unsigned") == {hard}
    assert found("inhand") == {asked, watched}
    assert found("waiting") == set()
    counts = views.counts(viewer, at=NOW, soon=NOW)
    for box in ("pleas", "supervised", "resting", "disputed", "merged", "running", "unsigned", "inhand", "open"):
        assert counts.of(box) == len(found(box)), box


def test_the_box_of_shares_holds_active_shares_beside_the_lead_alone(session: Session, as_actor: As) -> None:
    mine = builders.make_case(session, unit="U1", state="signed", unit_codes=["U1", "U2"])
    builders.make_assignment(session, mine, "U1", state="signed")
    builders.make_assignment(session, mine, "U2", share="assist", state="sent")
    ended = builders.make_case(session, unit="U1", state="signed", unit_codes=["U1", "U2"])
    builders.make_assignment(session, ended, "U2", share="assist", state="returned")
    own = builders.make_case(session, unit="U2", state="signed")
    builders.make_assignment(session, own, "U2", state="signed")
    number = mine.number
    for unit, sees in (("U2", [number]), ("U1", []), ("U3", [])):
        viewer = as_actor(builders.actor(Role.UNIT, unit=unit))
        page = views.worklist(viewer, views.Filter(box="shares"), at=NOW)
        assert [row.number for row in page.rows] == sees, unit
        assert (page.count, views.counts(viewer, at=NOW, soon=NOW, unit=unit).shares) == (len(sees), len(sees))


def test_all_that_a_unit_ever_had_is_listed_as_a_walk_would_list_it(session: Session, as_actor: As) -> None:
    """Cases that came late, came twice, or went elsewhere stand in the order of their intake, page by page."""
    for n in range(40):
        received = NOW - timedelta(hours=n)
        case = builders.make_case(session, unit="U2", state="signed", unit_codes=["U1", "U2"], at=received)
        # Every seventh was given long after it came in, every fifth twice.
        late = timedelta(hours=30 if n % 7 == 0 else 1)
        for again in range(2 if n % 5 == 0 else 1):
            given = received + late + timedelta(minutes=again)
            builders.make_assignment(session, case, "U1", share="assist", state="replied", created_at=given)
    builders.make_case(session, unit="U2", state="signed")
    viewer = as_actor(builders.actor(Role.UNIT, unit="U1"))
    walked = views._walked(
        viewer,
        views.Filter(),
        builders.actor(Role.UNIT, unit="U1"),
        at=NOW,
        sort=views.Sort.NEWEST,
        after=None,
        take=99,
    )
    found: list[uuid.UUID] = []
    after: str | None = ""
    while after is not None:
        page = views.worklist(viewer, views.Filter(box="all"), at=NOW, sort=views.Sort.NEWEST, after=after, limit=7)
        assert (page.count, page.more) == (40, False)
        found += [row.id for row in page.rows]
        after = page.after
    assert len(walked.ids) == 40
    assert found == walked.ids


def make_shares(session: Session, many: int) -> list[str]:
    """Make shares of U1 in cases that U2 leads; return their numbers by the time that U1 itself has left.

    Every second one is unsigned and has two clocks. The limits of the cases run the other way round.
    """
    numbers = []
    for n in range(many):
        case = builders.make_case(session, unit="U2", state="signed", unit_codes=["U1", "U2"])
        case.due_at = NOW - timedelta(hours=n)
        share = builders.make_assignment(session, case, "U1", share="assist", state="sent" if n % 2 else "signed")
        mine = {"unit_code": "U1", "assignment_id": share.id}
        builders.make_deadline(session, case, "share_reply", due_at=NOW + timedelta(hours=n + 9 * (n % 2)), **mine)
        if n % 2:
            builders.make_deadline(session, case, "share_sign", due_at=NOW + timedelta(hours=n), **mine)
        builders.make_deadline(session, case, "reply", due_at=NOW - timedelta(hours=n), unit_code="U2")
        numbers.append(case.number)
    return numbers


def paged(viewer: Session, asked: views.Filter, sort: views.Sort) -> list[views.Row]:
    """Return the rows of all pages of three."""
    rows: list[views.Row] = []
    after: str | None = ""
    while after is not None:
        page = views.worklist(viewer, asked, at=NOW, sort=sort, after=after, limit=3)
        assert page.count == 8
        rows += page.rows
        after = page.after
    return rows


@pytest.mark.parametrize("asked", [views.Filter(box="shares"), views.Filter(box="shares", unit="U2")])
def test_shares_are_sorted_by_what_measures_the_unit_itself(
    session: Session, as_actor: As, asked: views.Filter
) -> None:
    numbers = make_shares(session, 8)
    viewer = as_actor(builders.actor(Role.UNIT, unit="U1"))
    rows = paged(viewer, asked, views.Sort.DUE)
    assert [row.number for row in rows] == numbers
    assert [row.due_clock for row in rows] == ["share_reply", "share_sign"] * 4
    assert [row.due_at for row in rows] == [NOW + timedelta(hours=n) for n in range(8)]
    assert [row.colour for row in rows] == [3, *[0] * 7], (
        "due from the very second on, whatever the case's own colour is"
    )
    assert {row.number for row in paged(viewer, asked, views.Sort.NEWEST)} == set(numbers)


def test_a_share_without_a_clock_is_not_hidden_and_stands_last(session: Session, as_actor: As) -> None:
    numbers = make_shares(session, 7)
    case = builders.make_case(session, unit="U2", state="signed", unit_codes=["U1", "U2"])
    builders.make_assignment(session, case, "U1", share="assist", state="sent")
    viewer = as_actor(builders.actor(Role.UNIT, unit="U1"))
    whole = views.worklist(viewer, views.Filter(box="shares"), at=NOW)
    assert [row.number for row in whole.rows] == [*numbers, case.number]
    assert (whole.rows[-1].due_at, whole.count) == (None, 8)


def test_a_sheet_shows_what_hangs_on_a_case(session: Session, as_actor: As) -> None:
    case = builders.make_case(session, unit="U1", state="signed", unit_codes=["U1", "U2"], plea="pause")
    share = builders.make_assignment(session, case, "U2", share="assist", task="核查排水口", opinion="完好")
    clock = builders.make_deadline(session, case, "reply", extra=["3wd"], legal_limit="20wd", legal_due_at=NOW)
    session.add_all(
        [
            Pause(
                district_code=DISTRICT,
                id=new_id(),
                case_id=case.id,
                deadline_id=clock.id,
                reason_code="survey",
                started_at=NOW,
            ),
            Plea(
                district_code=DISTRICT,
                id=new_id(),
                case_id=case.id,
                kind="pause",
                unit_code="U1",
                asked_name="甲",
                asked_at=NOW,
                reason="要勘察",
                evidence={"document": "勘察函"},
                span="10nd",
                state="asked",
            ),
            Supervision(
                district_code=DISTRICT,
                id=new_id(),
                case_id=case.id,
                unit_code="U1",
                demand="说明原因",
                state="issued",
                issued_name="督查",
                issued_at=NOW,
            ),
        ]
    )
    child = builders.make_case(session, state="merged", open=True, merged_into=case.id)
    builders.make_entry(session, case, "reply", data={"truth": "yes", "solved": "no", "answer": "不能公开的部分"})
    session.flush()
    key, other, number, child_number = case.id, child.id, case.number, child.number
    found = sheet.sheet(as_actor(builders.actor(Role.OPERATOR)), key)
    assert [(s.id, s.task, s.opinion, s.active) for s in found.shares] == [(share.id, "核查排水口", "完好", True)]
    assert [(p.reason_code, p.ended_at) for p in found.pauses] == [("survey", None)]
    assert [(p.kind, p.span, p.asked_name, p.state) for p in found.pleas] == [("pause", "10nd", "甲", "asked")]
    assert [(o.demand, o.state) for o in found.supervisions] == [("说明原因", "issued")]
    assert [m.number for m in found.merged] == [child_number]
    assert found.closing == {"truth": "yes", "solved": "no"}
    assert (list(found.clocks[0].extra), found.clocks[0].legal_limit) == (["3wd"], "20wd")
    assert sheet.facts(as_actor(builders.actor(Role.OPERATOR)), other).main_number == number


def test_a_sheet_shows_a_unit_the_parts_of_its_own_case_only(session: Session, as_actor: As) -> None:
    mine = builders.make_case(session, unit="U1", name="欧阳询", phone="13800138000")
    builders.make_assignment(session, mine, "U1")
    builders.make_deadline(session, mine)
    builders.make_attachment(session, mine)
    theirs = builders.make_case(session, unit="U2")
    own_id, other_id = mine.id, theirs.id
    viewer = as_actor(builders.actor(Role.UNIT, unit="U1"))
    shown = sheet.sheet(viewer, own_id)
    assert (len(shown.entries), len(shown.shares), len(shown.clocks), len(shown.photos)) == (1, 1, 1, 1)
    assert re.fullmatch("市民[2-9A-Z]{4}", shown.reports[0].name), "a unit reads an alias"
    assert shown.reports[0].phone == ""
    told = sheet.sheet(as_actor(builders.actor(Role.OPERATOR)), own_id).reports[0]
    assert (told.name, told.phone) == ("欧**", "138****8000")
    viewer = as_actor(builders.actor(Role.UNIT, unit="U1"))
    with pytest.raises(NotFound):
        sheet.sheet(viewer, other_id)


def test_an_official_sees_no_trace_of_the_reporter(session: Session, as_actor: As) -> None:
    case_id = builders.make_case(session, name="张三", phone="13800138000").id
    told = sheet.sheet(as_actor(builders.actor(Role.OFFICIAL)), case_id).reports[0]
    assert (told.name, told.phone) == ("", "")


def test_opening_personal_data_is_written_down_first(session: Session, as_actor: As) -> None:
    case_id = builders.make_case(session, phone="13800138000").id
    who = builders.actor(Role.OPERATOR)
    viewer = as_actor(who)
    for reason in ("", " ", "x"):
        with pytest.raises(Invalid):
            identity.disclose(viewer, case_id, field="phone", reason=reason, at=NOW)
    assert viewer.scalar(select(Disclosure.id)) is None
    assert identity.disclose(viewer, case_id, field="phone", reason="回访核实", at=NOW) == ("13800138000",)
    assert [(o.actor_name, o.reason) for o in sheet.sheet(viewer, case_id).opened] == [(who.name, "回访核实")]
    with pytest.raises(Invalid):
        identity.disclose(viewer, case_id, field="password", reason="好奇心", at=NOW)
    with pytest.raises(Forbidden):
        identity.disclose(as_actor(builders.actor(Role.OFFICIAL)), case_id, field="phone", reason="想看看", at=NOW)


def test_progress_by_number_names_nobody_and_says_nothing_private(session: Session, as_actor: As) -> None:
    case = builders.make_case(session, unit="U1", name="张三", phone="13800138000", access_hash=b"k" * 16)
    builders.make_entry(session, case, "note", data={"note": "内部备注"})
    builders.make_entry(session, case, "sign", to="signed")
    viewer = as_actor(builders.program())
    public = sheet.progress(viewer, f" {case.number.lower()} ")
    assert [step.action for step in public.steps] == ["receive", "sign"]
    assert not public.own
    assert (public.text, public.answer, public.place_name) == ("", None, "")
    own = sheet.progress(viewer, case.number, access_hash=b"k" * 16)
    assert own.own
    assert own.text == case.text
    for number, code in ((case.number, b"x" * 16), ("202611180000000", None)):
        with pytest.raises(NotFound):
            sheet.progress(viewer, number, access_hash=code)


def test_masking_keeps_no_more_than_it_must() -> None:
    assert masked("phone", "13800138000") == "138****8000"
    assert masked("phone", "1234567") == "***4567"
    assert masked("phone", "12345") == "*****"
    assert masked("name", "李") == "李*"
    assert masked("name", "欧阳修之") == "欧**"

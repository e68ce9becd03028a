"""The grid over time: versions that never share ground, changes planned for a day and applied once, whose ground it was."""

import threading
from contextlib import suppress
from datetime import timedelta

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from core.actor import Role, system
from core.datums import to_db
from core.db import snapshot, transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch.regrid import case_effects
from grid import changes, duties, effects, moves, versions
from grid.cellset import CellSet
from grid.changes import Change
from grid.moves import Homes, Move
from grid.relay import FINE, outline, relay, split_by_line, square_metres
from tests import builders, tiny
from tests.builders import NOW

pytestmark = pytest.mark.database

D = tiny.DISTRICT
#: The south community of the west town, its two cells, and where they meet.
COMMUNITY = f"{tiny.WEST}001"
A, B = f"{COMMUNITY}001", f"{COMMUNITY}002"
SEAM = tiny.LNG + 0.01
ADMIN = builders.actor(Role.ADMIN, district=D, name="管理员甲")
AT = NOW + timedelta(days=3)
DAY = AT + timedelta(days=10)
#: A line through cell A from west to east.
ACROSS = shapely.LineString([(tiny.LNG - 0.001, tiny.LAT + 0.004), (tiny.LNG + 0.011, tiny.LAT + 0.006)])
NOBODY = Homes(np.zeros((0, 2)), np.zeros(0))


@pytest.fixture
def grid(district, session, as_actor):
    """Return the test's session as an administrator of the tiny district."""
    return as_actor(ADMIN)


def as_change(move: Move, *, day=DAY, **known) -> Change:
    filled = {"reason": "社区人口增加", "document": "望网格〔2026〕3号", "valid_from": day, "bare": False} | known
    return Change(kind=move.kind, takes=move.takes, cells=move.cells, estimated=move.estimated, **filled)


def here(session) -> versions.Today:
    return versions.today(session, communities=[COMMUNITY])


def split(session, code=A, line=ACROSS) -> Move:
    return moves.split_line(here(session), code, line, used=versions.used_codes(session, [COMMUNITY]), homes=NOBODY)


def do(session, move: Move, *, day=DAY, **known):
    """Plan a change and let its day come."""
    key = changes.plan(session, as_change(move, day=day, **known), at=AT)
    return key, changes.apply_due(session, at=max(day, AT))


def covers(session, at, community=COMMUNITY) -> list[tuple[str, object]]:
    rows = session.execute(
        text(
            "SELECT code, ST_AsBinary(geom) AS geom FROM cell_version WHERE district_code = :d"
            " AND community_code = :c AND validity @> CAST(:at AS timestamptz) ORDER BY code"
        ),
        {"d": D, "c": community, "at": at},
    )
    return [(row.code, shapely.from_wkb(bytes(row.geom))) for row in rows]


def check_cover(found, whole) -> None:
    """Fail unless shapes cover a ground exactly and without overlap, to a tenth of a square metre."""
    shapes = [shape for _, shape in found]
    assert float(square_metres([shapely.symmetric_difference(outline(shapes), whole)])[0]) < 0.1
    assert abs(float(square_metres(shapes).sum() - square_metres([whole])[0])) < 0.1


WHOLE = shapely.box(tiny.LNG, tiny.LAT, tiny.LNG + 0.02, tiny.LAT + 0.01)


def test_a_load_gives_every_cell_a_version_and_a_second_one_gives_none(grid):
    count = text("SELECT count(*) FROM cell_version WHERE district_code = :d AND ended_by IS NULL")
    assert grid.scalar(count, {"d": D}) == grid.scalar(
        text("SELECT count(*) FROM cell WHERE district_code = :d"), {"d": D}
    )
    assert versions.follow_load(grid, at=AT) == 0
    (one,) = versions.history(grid, *district_point())
    assert (one.code, one.change, one.valid_from, one.valid_to) == (A, "load", NOW, None)


def district_point() -> tuple[float, float]:
    return tiny.LNG + 0.005, tiny.LAT + 0.005


def test_a_split_holds_from_its_day_and_the_largest_part_keeps_the_code(grid):
    move = split(grid)
    assert move.cells.code == [A, f"{COMMUNITY}003"]
    key, (done,) = do(grid, move)
    assert (done.id, done.state) == (key, "applied")
    now = here(grid)
    assert now.cells.code == [A, B, f"{COMMUNITY}003"]
    assert versions.cell_at(grid, tiny.LNG + 0.005, tiny.LAT + 0.001, at=DAY - timedelta(seconds=1)).code == A
    south = versions.cell_at(grid, tiny.LNG + 0.005, tiny.LAT + 0.001, at=DAY)
    north = versions.cell_at(grid, tiny.LNG + 0.005, tiny.LAT + 0.009, at=DAY)
    assert {south.code, north.code} == {A, f"{COMMUNITY}003"}
    assert (south.valid_from, south.came_from, south.change, south.by) == (DAY, (A,), "split", "管理员甲")
    before = versions.history(grid, tiny.LNG + 0.005, tiny.LAT + 0.009)[-1]
    assert (before.code, before.valid_to, before.ended_reason) == (A, DAY, "社区人口增加")
    assert set(before.went_to) == {A, f"{COMMUNITY}003"}
    for moment in (AT, DAY, DAY + timedelta(days=400)):
        check_cover(covers(grid, moment), WHOLE)


def test_today_is_the_table_of_cells_and_what_follows_is_attached_again(grid):
    revision = text("SELECT revision FROM district WHERE district_code = :d")
    before = grid.scalar(revision, {"d": D})
    spot = text("SELECT cell_code FROM place WHERE district_code = :d AND name = '望湖中学'")
    assert grid.scalar(spot, {"d": D}) == A
    line = shapely.LineString([(tiny.LNG - 0.001, tiny.LAT + 0.0035), (tiny.LNG + 0.011, tiny.LAT + 0.0035)])
    _, (done,) = do(grid, split(grid, line=line))
    small = f"{COMMUNITY}003"
    assert grid.scalar(spot, {"d": D}) == A
    south = grid.scalar(
        text("SELECT count(*) FROM address WHERE district_code = :d AND cell_code = :c"), {"d": D, "c": small}
    )
    assert south == 0, "the lake road lies north of the cut"
    _, (done,) = do(grid, moves.merge(here(grid), [B, A]), day=DAY + timedelta(days=1))
    assert grid.scalar(spot, {"d": D}) == B
    assert done.moved["place"] == 1
    assert done.moved["address"] == 5
    assert grid.scalar(text("SELECT places FROM cell WHERE district_code = :d AND code = :c"), {"d": D, "c": B}) == 2
    assert grid.scalar(text("SELECT count(*) FROM cell WHERE district_code = :d AND code = :c"), {"d": D, "c": A}) == 0
    assert grid.scalar(revision, {"d": D}) == before + 2


def test_a_point_on_the_seam_belongs_to_the_lower_code_before_and_after(grid):
    assert versions.cell_at(grid, SEAM, tiny.LAT + 0.005, at=AT).code == A
    assert {one.code for one in versions.history(grid, SEAM, tiny.LAT + 0.005)} == {A, B}


def test_the_database_refuses_two_versions_of_one_code_at_one_time(grid, as_actor):
    as_actor(system(D, "tests"))
    with pytest.raises(IntegrityError), grid.begin_nested():
        _insert(grid, A, shapely.box(tiny.LNG + 0.5, tiny.LAT, tiny.LNG + 0.51, tiny.LAT + 0.01))


def test_the_database_refuses_shared_ground_at_one_time_but_not_rounding(grid, as_actor):
    as_actor(system(D, "tests"))
    stray = f"{COMMUNITY}900"
    with pytest.raises(IntegrityError, match="share ground"), grid.begin_nested():
        _insert(grid, stray, shapely.box(tiny.LNG - 0.001, tiny.LAT, tiny.LNG + 0.00001, tiny.LAT + 0.01))
    # Five millimetres along a kilometre are over a square metre and still nothing but rounding.
    _insert(grid, stray, shapely.box(tiny.LNG - 0.001, tiny.LAT, tiny.LNG + 5e-8, tiny.LAT + 0.01))


def test_a_version_is_written_once_and_ended_once(grid, as_actor):
    as_actor(system(D, "tests"))
    for change in ("kind = 'mixed'", "validity = tstzrange(lower(validity) - interval '1 day', NULL)", "code = 'x'"):
        with pytest.raises(DBAPIError, match="keeps its history"), grid.begin_nested():
            grid.execute(text(f"UPDATE cell_version SET {change} WHERE district_code = :d"), {"d": D})
    with pytest.raises(DBAPIError), grid.begin_nested():
        grid.execute(text("DELETE FROM cell_version WHERE district_code = :d"), {"d": D})


def _insert(session, code, shape) -> None:
    change = session.scalar(
        text("SELECT id FROM cell_change WHERE district_code = :d AND kind = 'load' LIMIT 1"), {"d": D}
    )
    session.execute(
        text(
            "INSERT INTO cell_version (district_code, id, code, community_code, kind, geom, validity, change_id)"
            " VALUES (:d, gen_random_uuid(), :code, :community, 'mixed', ST_GeomFromEWKB(:geom),"
            " tstzrange(:at, NULL), :change)"
        ),
        {
            "d": D,
            "code": code,
            "community": code[:12],
            "geom": to_db(shapely.MultiPolygon([shape])).data,
            "at": AT,
            "change": change,
        },
    )


def test_apply_twice_is_once(grid):
    _, first = do(grid, split(grid))
    assert len(first) == 1
    before = covers(grid, DAY)
    assert changes.apply_due(grid, at=DAY + timedelta(days=1)) == []
    assert covers(grid, DAY) == before


def test_nothing_happens_before_the_day_and_late_workers_keep_the_day(grid):
    key = changes.plan(grid, as_change(split(grid)), at=AT)
    assert changes.apply_due(grid, at=DAY - timedelta(seconds=1)) == []
    late = DAY + timedelta(days=2)
    (done,) = changes.apply_due(grid, at=late)
    assert done.id == key
    assert effects.read(grid, key).applied_at == late
    assert len(covers(grid, DAY)) == 3


def test_two_plans_for_one_cell_are_refused_and_the_first_is_named(grid):
    first = changes.plan(grid, as_change(split(grid)), at=AT)
    with pytest.raises(Conflict) as refused:
        changes.plan(grid, as_change(moves.merge(here(grid), [A, B])), at=AT)
    assert refused.value.params["change"] == str(first)
    changes.cancel(grid, first, reason="另行研究", at=AT)
    changes.plan(grid, as_change(moves.merge(here(grid), [A, B])), at=AT)


def test_who_saw_an_older_version_is_told_what_changed_it(grid):
    seen = here(grid).seen()
    stale = moves.merge(here(grid), [A, B])
    other, _ = do(grid, split(grid), day=AT)
    with pytest.raises(Conflict) as refused:
        changes.plan(grid, as_change(stale, seen=seen), at=AT)
    assert (refused.value.params["change"], refused.value.params["name"]) == (str(other), "管理员甲")


def test_a_plan_whose_cells_changed_before_its_day_is_refused_with_both(grid, as_actor):
    key = changes.plan(grid, as_change(split(grid)), at=AT)
    as_actor(system(D, "loader"))
    grid.execute(text("UPDATE cell SET kind = 'industrial' WHERE district_code = :d AND code = :c"), {"d": D, "c": A})
    assert versions.follow_load(grid, at=AT + timedelta(days=1)) == 2
    as_actor(ADMIN)
    (done,) = changes.apply_due(grid, at=DAY)
    assert (done.id, done.state) == (key, "refused")
    last = effects.entries(grid, key)[-1]
    assert last["action"] == "refused"
    load = versions.of_code(grid, A)[0].change_id
    assert last["data"]["params"]["change"] == str(load)
    assert here(grid).cells.code == [A, B]


def test_void_needs_a_taker_or_a_word_that_the_ground_stays_bare(grid):
    with pytest.raises(Invalid, match="belong to no cell"):
        changes.plan(grid, as_change(moves.void(here(grid), A)), at=AT)
    key, _ = do(grid, moves.void(here(grid), A), bare=True)
    assert effects.read(grid, key).ends() == [A]
    assert versions.cell_at(grid, *district_point(), at=DAY) is None
    move = moves.new(COMMUNITY, shapely.box(tiny.LNG, tiny.LAT, SEAM, tiny.LAT + 0.01), kind="mixed", households=None,
                     used=versions.used_codes(grid, [COMMUNITY]))  # fmt: skip
    assert move.cells.code == [f"{COMMUNITY}003"], "a number is not given twice"
    do(grid, move, day=DAY + timedelta(days=1))
    check_cover(covers(grid, DAY + timedelta(days=1)), WHOLE)


def test_void_into_a_neighbour_gives_it_the_ground(grid):
    do(grid, moves.void(here(grid), A, into=B))
    assert here(grid).cells.code == [B]
    check_cover(covers(grid, DAY), WHOLE)
    with pytest.raises(NotFound):
        moves.void(here(grid), A)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({A: shapely.box(tiny.LNG, tiny.LAT, SEAM - 0.001, tiny.LAT + 0.01)}, "belong to no cell"),
        ({A: shapely.box(tiny.LNG, tiny.LAT, SEAM + 0.001, tiny.LAT + 0.01)}, "beyond the ground"),
        ({A: shapely.box(tiny.LNG, tiny.LAT, SEAM + 0.001, tiny.LAT + 0.01), B: None}, "overlap"),
        ({A: shapely.Polygon([(tiny.LNG, tiny.LAT), (SEAM, tiny.LAT + 0.01), (SEAM, tiny.LAT), (tiny.LNG, tiny.LAT + 0.01)])}, "not simple"),
    ],
)  # fmt: skip
def test_boundaries_that_could_never_be_are_refused(grid, shapes, words):
    now = here(grid)
    shapes = {code: now.cells.geom[now.cells.code.index(code)] if s is None else s for code, s in shapes.items()}
    with pytest.raises(Invalid, match=words):
        changes.plan(grid, as_change(moves.redraw(now, shapes, homes=NOBODY)), at=AT)


def test_a_slip_of_the_hand_is_closed_and_the_neighbours_edge_follows(grid):
    now = here(grid)
    slip = shapely.box(tiny.LNG, tiny.LAT, SEAM - 0.002, tiny.LAT + 0.01)
    other = shapely.box(SEAM - 0.002 + 3e-6, tiny.LAT, tiny.LNG + 0.02, tiny.LAT + 0.01)
    do(grid, moves.redraw(now, {A: slip, B: other}, homes=NOBODY))
    check_cover(covers(grid, DAY), WHOLE)
    assert versions.cell_at(grid, SEAM - 0.001, tiny.LAT + 0.005, at=DAY).code == B


def test_a_change_needs_reason_document_and_ones_own_area(grid, as_actor, district):
    move = split(grid)
    for missing, field in (({"reason": " "}, "reason"), ({"document": ""}, "document")):
        with pytest.raises(Invalid) as refused:
            changes.plan(grid, as_change(move, **missing), at=AT)
        assert refused.value.field == field
    for login in (Role.OPERATOR, Role.GRID_WORKER, Role.OFFICIAL, Role.CITIZEN):
        with pytest.raises(Forbidden):
            changes.plan(as_actor(builders.actor(login, district=D, town=tiny.WEST)), as_change(move), at=AT)
    with pytest.raises(Forbidden):
        changes.plan(as_actor(builders.actor(Role.UNIT, district=D, unit=tiny.EAST_OFFICE)), as_change(move), at=AT)
    with pytest.raises(Forbidden):
        changes.plan(as_actor(builders.actor(Role.UNIT, district=D, unit=tiny.STREETS)), as_change(move), at=AT)


def test_an_office_proposes_and_the_district_approves(grid, as_actor):
    move = split(grid)
    as_actor(builders.actor(Role.UNIT, district=D, unit=tiny.WEST_OFFICE, name="镇网格员"))
    key = changes.plan(grid, as_change(move), at=AT)
    assert effects.read(grid, key).state == "proposed"
    with pytest.raises(Forbidden):
        changes.approve(grid, key, at=AT)
    assert changes.apply_due(grid, at=DAY) == [], "what nobody approved is not applied"
    as_actor(ADMIN)
    changes.approve(grid, key, at=AT)
    assert [one.state for one in changes.apply_due(grid, at=DAY)] == ["applied"]
    assert [one["action"] for one in effects.entries(grid, key)] == ["planned", "approved", "applied"]


def test_an_office_calls_off_its_own_plans_only(grid, as_actor):
    key = changes.plan(grid, as_change(split(grid)), at=AT)
    as_actor(builders.actor(Role.UNIT, district=D, unit=tiny.WEST_OFFICE))
    with pytest.raises(Forbidden):
        changes.cancel(grid, key, reason="不同意", at=AT)
    as_actor(ADMIN)
    changes.cancel(grid, key, reason="不同意", at=AT)
    with pytest.raises(Conflict):
        changes.cancel(grid, key, reason="不同意", at=AT)
    assert changes.apply_due(grid, at=DAY) == []


def test_trying_a_plan_counts_cases_duties_and_places_and_changes_nothing(grid, as_actor):
    as_actor(system(D, "tests"))
    for lat in (0.001, 0.002, 0.009):
        builders.make_case(grid, district=D, lng=tiny.LNG + 0.005, lat=tiny.LAT + lat, town_code=tiny.WEST, cell_code=A)
    holder = duties.Holder(unit_code=tiny.WEST_OFFICE)
    duties.assign(grid, duties.Charge(cells=[A], duties=["security"], holder=holder, since=NOW), at=NOW)
    as_actor(ADMIN)
    key = changes.plan(grid, as_change(split(grid)), at=AT)
    before = covers(grid, DAY)
    told = effects.try_out(grid, key, at=AT)
    assert covers(grid, DAY) == before
    assert [(one.code, one.m2 is None) for one in told.cells] == [(A, False), (f"{COMMUNITY}003", True)]
    assert sum(one.new_m2 for one in told.cells) == pytest.approx(told.cells[0].m2, abs=0.2)
    assert [(one.name, one.loses, one.gains) for one in told.duties] == [("望湖镇政府", (), (f"{COMMUNITY}003",))]
    part = {one.table: one.total for one in told.moves}
    cases = case_effects(grid, effects.read(grid, key))
    assert (cases.open, cases.moving) in ((3, 1), (3, 2))
    assert len(cases.cases) == cases.moving
    (done,) = changes.apply_due(grid, at=DAY)
    assert {table: n for table, n in done.moved.items() if table in part} == part, "what was foretold is what moved"
    owners = {one.cell: one.name for one in duties.owners(grid, [A, f"{COMMUNITY}003"], at=DAY)}
    assert owners == dict.fromkeys([A, f"{COMMUNITY}003"], "望湖镇政府")
    held = grid.scalars(text("SELECT DISTINCT cell_code FROM cases WHERE district_code = :d AND open"), {"d": D})
    as_actor(system(D, "tests"))
    assert set(held) <= {A}, "a case keeps the cell it was reported in"


def test_ground_between_standing_cells_takes_no_duties_along(grid, as_actor):
    as_actor(system(D, "tests"))
    for code, unit in ((A, tiny.WEST_OFFICE), (B, tiny.CENTRE)):
        holder = duties.Holder(unit_code=unit)
        duties.assign(grid, duties.Charge(cells=[code], duties=["security"], holder=holder, since=NOW), at=NOW)
    as_actor(ADMIN)
    shapes = {
        A: shapely.box(tiny.LNG, tiny.LAT, SEAM - 0.002, tiny.LAT + 0.01),
        B: shapely.box(SEAM - 0.002, tiny.LAT, tiny.LNG + 0.02, tiny.LAT + 0.01),
    }
    key, (done,) = do(grid, moves.redraw(here(grid), shapes, homes=NOBODY))
    assert done.moved["cell_duty"] == 0
    assert changes.heirs(grid, key) == {A: [A], B: [B]}


def test_another_kind_and_counted_households_keep_the_ground(grid):
    before = dict(covers(grid, AT))
    key, _ = do(grid, moves.describe(here(grid), A, kind="industrial", households=320))
    now = here(grid)
    assert (now.cells.kind[0], now.cells.households[0]) == ("industrial", 320)
    assert shapely.equals_exact(now.cells.geom[0], before[A])
    with pytest.raises(Invalid, match="Nothing would change"):
        moves.describe(here(grid), A, kind="industrial", households=320)
    assert effects.try_out(grid, key, at=DAY).moves == ()


def test_households_are_shared_by_homes_and_add_up(grid):
    do(grid, moves.describe(here(grid), A, households=401), day=AT)
    homes = Homes(
        np.array([[tiny.LNG + 0.005, tiny.LAT + 0.001]] * 3 + [[tiny.LNG + 0.005, tiny.LAT + 0.009]]), np.ones(4)
    )
    move = moves.split_line(here(grid), A, ACROSS, used=[A, B], homes=homes)
    assert sorted(move.cells.households) == [100, 301]
    assert move.estimated == [True, True]
    assert moves.merge(here(grid), [A, B]).cells.households == [None], "half a count is none"


def test_a_crash_in_the_middle_leaves_nothing_half_done(district, monkeypatch):
    """The worker dies after it ended the old versions: the next one finds the plan untouched.

    Commits, and therefore in the north community, which no other test of this file touches.
    """
    north = f"{tiny.WEST}002"
    with transaction(ADMIN) as session:
        line = shapely.LineString([(tiny.LNG - 0.001, tiny.LAT + 0.014), (tiny.LNG + 0.011, tiny.LAT + 0.016)])
        now = versions.today(session, communities=[north])
        move = moves.split_line(now, f"{north}001", line, used=now.cells.code, homes=NOBODY)
        key = changes.plan(session, as_change(move, day=AT), at=AT)

    def dies(*_, **__):
        raise RuntimeError("the power is gone")

    with monkeypatch.context() as patch:
        patch.setattr(versions, "reattach", dies)
        with pytest.raises(RuntimeError), transaction(system(D, "grid")) as session:
            changes.apply_due(session, at=AT)
    with snapshot(system(D, "tests")) as session:
        assert effects.read(session, key).state == "planned"
        assert versions.today(session, communities=[north]).cells.code == [f"{north}001", f"{north}002"]
        assert session.scalar(text("SELECT count(*) FROM cell WHERE district_code = :d"), {"d": D}) == 8
    done: list[list[changes.Applied]] = []

    def works() -> None:
        with transaction(system(D, "grid")) as session:
            done.append(changes.apply_due(session, at=AT))

    both = [threading.Thread(target=works) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(20)
    assert sorted(len(one) for one in done) == [0, 1], "two workers apply it once"
    with snapshot(system(D, "tests")) as session:
        assert versions.today(session, communities=[north]).cells.code == [f"{north}00{n}" for n in (1, 2, 3)]


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.floats(-0.9, 1.9), st.floats(-0.9, 1.9), st.floats(0, 6.28)), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_splitting_and_merging_gives_back_the_same_ground(cuts, chance):
    whole = shapely.Polygon([(113.0, 23.0), (113.01, 23.0), (113.012, 23.006), (113.006, 23.011), (112.999, 23.007)])
    parts = [whole]
    for x, y, angle in cuts:
        east, north = 113.0 + 0.01 * x, 23.0 + 0.01 * y
        line = shapely.LineString(
            [(east - np.cos(angle), north - np.sin(angle)), (east + np.cos(angle), north + np.sin(angle))]
        )
        i = chance.randrange(len(parts))
        try:
            parts[i : i + 1] = split_by_line(parts[i], line)
        except Invalid:
            continue
    laid = relay(whole, parts)
    assert laid.faults == []
    assert float(square_metres(laid.geom).sum()) == pytest.approx(float(square_metres([whole])[0]), abs=0.1)
    together = outline(laid.geom)
    assert float(square_metres([shapely.symmetric_difference(together, whole)])[0]) < 0.1
    assert shapely.hausdorff_distance(together, whole) < 10 * FINE


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.sampled_from(["split", "merge", "void", "describe", "redraw"]), st.integers(0, 10**6)), max_size=7
    )
)
def test_no_sequence_of_changes_overlaps_or_leaves_a_gap_at_any_time(district, chosen):
    """Random changes, each a day after the other, on a community of its own transaction that is rolled back."""

    class Undo(Exception):
        pass

    with suppress(Undo), transaction(ADMIN) as session:
        day, moments = AT, [AT]
        for kind, dice in chosen:
            day += timedelta(days=1)
            try:
                do(session, _any_move(session, kind, dice), day=day)
            except (Invalid, Conflict):
                continue
            moments.append(day)
        for moment in moments:
            check_cover(covers(session, moment), WHOLE)
        overlapping = session.scalar(
            text(
                "SELECT count(*) FROM cell_version a JOIN cell_version b ON b.district_code = a.district_code"
                " AND a.id < b.id AND a.validity && b.validity AND (a.code = b.code"
                " OR ST_Area(ST_Intersection(a.geom, b.geom)::geography) > 1)"
                " WHERE a.district_code = :d AND b.district_code = :d"
            ),
            {"d": D},
        )
        assert overlapping == 0
        standing = session.execute(
            text("SELECT code, geom::text FROM cell WHERE district_code = :d ORDER BY code"), {"d": D}
        )
        current = session.execute(
            text(
                "SELECT code, geom::text FROM cell_version WHERE district_code = :d AND ended_by IS NULL ORDER BY code"
            ),
            {"d": D},
        )
        assert standing.all() == current.all(), "today's cells are the versions in force"
        raise Undo


def _any_move(session, kind, dice) -> Move:
    now = here(session)
    code = now.cells.code[dice % len(now.cells.code)]
    other = now.cells.code[(dice // 7) % len(now.cells.code)]
    if kind == "split":
        west, south, east, north = shapely.bounds(now.cells.geom[now.cells.code.index(code)])
        share = 0.2 + (dice % 60) / 100
        line = shapely.LineString(
            [(west - 0.001, south + share * (north - south)), (east + 0.001, north - share * (north - south))]
        )
        return split(session, code, line)
    if kind == "merge":
        return moves.merge(now, [code, other])
    if kind == "void":
        return moves.void(now, code, into=other)
    if kind == "describe":
        return moves.describe(now, code, households=dice % 900)
    one, two = (now.cells.geom[now.cells.code.index(c)] for c in (code, other))
    # A strip of the neighbour changes hands.
    strip = shapely.intersection(shapely.buffer(one, 0.0003), two)
    shapes = {code: shapely.union(one, strip), other: shapely.difference(two, strip)}
    if code == other or any(s.geom_type != "Polygon" or s.is_empty for s in shapes.values()):
        raise Invalid("not these two")
    return moves.redraw(now, shapes, homes=NOBODY)


def test_planned_cells_may_come_from_another_place_than_the_editor(grid):
    """An import hands over a whole community at once, with codes that stay and new ones."""
    shapes = [
        shapely.box(tiny.LNG + i * 0.005, tiny.LAT, tiny.LNG + (i + 1) * 0.005, tiny.LAT + 0.01) for i in range(4)
    ]
    geom = np.array([shapely.MultiPolygon([s]) for s in shapes], dtype=object)
    codes = [f"{COMMUNITY}{n:03d}" for n in (1, 2, 3, 4)]
    cells = CellSet(codes, [COMMUNITY] * 4, ["residential"] * 4, geom, [100, 200, None, 0])
    change = Change(kind="redraw", takes=[A, B], cells=cells, valid_from=DAY, reason="导入网格", document="导入单1")
    changes.plan(grid, change, at=AT)
    assert [one.state for one in changes.apply_due(grid, at=DAY)] == ["applied"]
    assert here(grid).cells.code == codes
    check_cover(covers(grid, DAY), WHOLE)

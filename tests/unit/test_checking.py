"""What is checked of cells before they may become the grid, each rule with cells that break it and cells that do not."""

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.datums import Datum, Plane, from_cgcs2000, to_cgcs2000
from core.errors import Invalid
from grid import derive
from grid.cellset import CellSet
from grid.checking import MOST_OF_A_RULE, RULES, check
from grid.findings import Known, Rules, Told, area_m2
from grid.mending import Fix, apply

pytestmark = pytest.mark.unit

#: Invented ground, a kilometre to a community and four cells in each; two by two communities.
PLANE = Plane.at(113.10, 23.00)
SIDE, ROWS = 500.0, 4
COMMUNITIES = {(0, 1): "990100001001", (1, 1): "990100001002", (0, 0): "990100001003", (1, 0): "990100001004"}


def corner(i, j):
    return tuple(np.round(PLANE.to_degrees([[i * SIDE, j * SIDE]])[0], 7))


def square(i, j, *, width=1):
    return shapely.Polygon([corner(i, j), corner(i + width, j), corner(i + width, j + width), corner(i, j + width)])


def sound():
    """Return 16 cells that cover four communities exactly, and what is known of them."""
    code, community, geom = [], [], []
    for (a, b), name in COMMUNITIES.items():
        order = [(0, 1), (1, 1), (0, 0), (1, 0)]
        for k, (i, j) in enumerate(order, 1):
            code.append(f"{name}{k:03d}")
            community.append(name)
            geom.append(square(2 * a + i, 2 * b + j))
    geom = np.array(geom, dtype=object)
    polygons = {name: shapely.coverage_union_all(geom[[c == name for c in community]]) for name in COMMUNITIES.values()}
    cells = CellSet(code, community, ["mixed"] * 16, geom, [None] * 16)
    known = Known(
        communities=polygons,
        names={name: f"试验{name[-1]}社区" for name in polygons},
        cells=list(code),
        centroids=shapely.get_coordinates(shapely.centroid(geom)),
    )
    return cells, known


def changed(cells, **columns):
    kept = {name: list(getattr(cells, name)) for name in ("code", "community", "kind", "geom", "households")}
    for name, some in columns.items():
        for i, value in some.items():
            kept[name][i] = value
    kept["geom"] = np.array(kept["geom"], dtype=object)
    return CellSet(**kept)


def rules_of(found):
    return {one.rule for one in found}


def at(found, rule):
    (one,) = (each for each in found if each.rule == rule)
    return one


def moved(shape, vertex, east_m, north_m):
    """Return a polygon with one vertex moved by metres."""
    ring = shapely.get_coordinates(shape)
    step = PLANE.to_degrees([[east_m, north_m]])[0] - PLANE.to_degrees([[0, 0]])[0]
    ring[vertex] += step
    if vertex == 0:
        ring[-1] = ring[0]
    return shapely.Polygon(ring)


def test_exact_cells_have_no_findings():
    cells, known = sound()
    assert check(cells, known) == []


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(2, 6))
def test_any_exact_coverage_has_no_findings(seed, count):
    chance = np.random.default_rng(seed)
    town = shapely.set_precision(shapely.transform(shapely.box(0, 0, 3000, 2000), PLANE.to_degrees), derive.GRID)
    centres = PLANE.to_degrees(chance.uniform((100, 100), (2900, 1900), (count, 2)))
    whole = dict(enumerate(derive.voronoi(town, centres, PLANE)))
    drafts = [(k, part) for k, shape in whole.items() for part in derive.divide(shape, np.zeros((0, 2)), PLANE)]
    tiling = derive.lay(np.array([town]), whole, [0] * count, drafts)
    assume(all(shape is not None for shape in tiling.communities))
    codes = [f"990100001{k + 1:03d}" for k in range(count)]
    geom, code, community = [], [], []
    for k in range(count):
        mine = tiling.cells[tiling.cell_community == k]
        for number, i in enumerate(derive.number(mine), 1):
            geom.append(shapely.get_parts(mine[i])[0])
            code.append(f"{codes[k]}{number:03d}")
            community.append(codes[k])
    cells = CellSet(code, community, ["mixed"] * len(code), np.array(geom, dtype=object), [None] * len(code))
    known = Known(communities=dict(zip(codes, tiling.communities, strict=True)))
    assert check(cells, known) == []


step = st.floats(-60, 60).filter(lambda metres: abs(metres) > 1)


@settings(max_examples=60, deadline=None)
@given(cell=st.integers(0, 15), vertex=st.integers(0, 3), east=step, north=step)
def test_a_vertex_moved_by_more_than_the_tolerance_is_always_found(cell, vertex, east, north):
    cells, known = sound()
    bent = moved(cells.geom[cell], vertex, east, north)
    found = check(changed(cells, geom={cell: bent}), known, Rules(tolerance_m=0.5))
    assert rules_of(found) & {"gap", "overlap", "outside"}
    assert all(cell in one.cells or one.rule == "gap" for one in found if one.geometry is not None)


@settings(max_examples=60, deadline=None)
@given(cell=st.integers(0, 15), vertex=st.integers(0, 3), east=st.floats(-3, 3), north=st.floats(-3, 3))
def test_a_snap_changes_no_more_than_its_sliver_and_ends_the_finding(cell, vertex, east, north):
    assume(abs(east) + abs(north) > 0.05)
    cells, known = sound()
    cells = changed(cells, geom={cell: moved(cells.geom[cell], vertex, east, north)})
    found = check(cells, known)
    assert found
    for one in found:
        assert one.fix is not None, one
        after = apply(cells, [one.fix])
        sliver = area_m2(one.geometry, PLANE)[0]
        (index,) = one.fix.cells
        change = abs(area_m2(after.geom, PLANE) - area_m2(cells.geom, PLANE))
        # The snapping grid is a tenth of a millimetre: over the 2 km around a cell that is 0.1 m² at the very most.
        assert change[index] == pytest.approx(sliver, abs=0.1)
        assert np.delete(change, index).max() == 0
        spot = shapely.point_on_surface(one.geometry)
        again = check(after, known)
        assert not any(f.rule == one.rule and f.geometry and f.geometry.contains(spot) for f in again)
    mended = apply(cells, [one.fix for one in found])
    assert check(mended, known) == []


def test_a_gap_is_told_with_its_area_its_width_and_its_place():
    cells, known = sound()
    cells = changed(cells, geom={0: moved(moved(cells.geom[0], 1, -2, 0), 2, -2, 0)})
    gap = at(check(cells, known), "gap")
    assert gap.severity == "refuses"
    assert gap.params["area"] == pytest.approx(2 * SIDE, rel=0.01)
    assert gap.params["width"] == pytest.approx(2, rel=0.05)
    assert gap.geometry.contains(shapely.Point(gap.params["lng"], gap.params["lat"]))
    assert gap.params["community"] == "试验1社区"
    assert {cells.code[i] for i in gap.cells} <= set(cells.code[:4])


def test_a_gap_within_the_tolerance_only_warns():
    cells, known = sound()
    cells = changed(cells, geom={0: moved(cells.geom[0], 2, -0.3, 0)})
    found = check(cells, known, Rules(tolerance_m=0.5))
    assert {one.severity for one in found} == {"warns"}


def test_a_gap_wider_than_any_snap_is_not_mended_by_the_program():
    cells, known = sound()
    short = shapely.Polygon([corner(0, 2), corner(0.8, 2), corner(0.8, 3), corner(0, 3)])
    found = check(changed(cells, geom={2: short}), known)
    assert at(found, "gap").fix is None


def test_a_cell_twice_is_an_overlap_and_a_code_twice():
    cells, known = sound()
    twice = CellSet(
        [*cells.code, cells.code[5]],
        [*cells.community, cells.community[5]],
        [*cells.kind, "mixed"],
        np.append(cells.geom, cells.geom[5]),
        [*cells.households, None],
    )
    found = check(twice, known)
    assert at(found, "code_twice").cells == (5, 16)
    assert at(found, "overlap").severity == "refuses"


def test_a_boundary_that_crosses_itself_is_shown_at_the_crossing():
    cells, known = sound()
    bow = shapely.Polygon([corner(0, 3), corner(1, 4), corner(1, 3), corner(0, 4)])
    crossing = at(check(changed(cells, geom={0: bow}), known), "crossing")
    assert crossing.geometry.distance(shapely.Point(corner(0.5, 3.5))) < 1e-7
    assert crossing.fix is None, "two halves of a cell are not mended in silence"


def test_a_spike_is_healed_when_the_person_accepts_it():
    cells, known = sound()
    ring = shapely.get_coordinates(cells.geom[0]).tolist()
    spiked = shapely.Polygon([*ring[:3], corner(1, 4.2), ring[2], *ring[3:]])
    cells = changed(cells, geom={0: spiked})
    fix = at(check(cells, known), "crossing").fix
    assert fix is not None
    assert check(apply(cells, [fix]), known) == []


def test_a_cell_in_two_parts_is_refused_unless_its_community_is():
    cells, known = sound()
    far = shapely.MultiPolygon([cells.geom[0], square(8, 8)])
    parts = at(check(changed(cells, geom={0: far}), known), "parts")
    assert parts.severity == "refuses"
    assert parts.params["n"] == 2
    island = known.communities["990100001001"].union(square(8, 8))
    known.communities = {**known.communities, "990100001001": island}
    found = check(changed(cells, geom={0: far}), known)
    assert [(one.rule, one.severity) for one in found] == [("parts", "warns")]


def test_a_hole_that_belongs_to_nobody_is_told_as_a_hole():
    cells, known = sound()
    hole = shapely.box(*corner(0.4, 3.4), *corner(0.6, 3.6))
    found = check(changed(cells, geom={0: cells.geom[0].difference(hole)}), known)
    assert [one.rule for one in found] == ["hole"]
    assert found[0].cells == (0,)


def test_a_cell_within_a_cell_is_only_a_warning():
    cells, known = sound()
    hole = shapely.box(*corner(0.4, 3.4), *corner(0.6, 3.6))
    ringed = changed(cells, geom={0: cells.geom[0].difference(hole)})
    both = CellSet(
        [*ringed.code, "990100001001005"], [*ringed.community, "990100001001"], [*ringed.kind, "mixed"],
        np.append(ringed.geom, hole), [*ringed.households, None],
    )  # fmt: skip
    found = check(both, known)
    assert {(one.rule, one.severity) for one in found} <= {("enclosed", "warns"), ("order", "warns")}
    assert at(found, "enclosed").cells == (0, 16)


def test_a_community_left_without_a_cell_is_refused():
    cells, known = sound()
    kept = [i for i, code in enumerate(cells.community) if code != "990100001004"]
    fewer = CellSet(*([column[i] for i in kept] for column in (cells.code, cells.community, cells.kind)),
                    cells.geom[kept], [None] * len(kept))  # fmt: skip
    vanished = at(check(fewer, known), "vanished")
    assert vanished.severity == "refuses"
    assert vanished.params == {"community": "试验4社区", "n": 4}
    assert vanished.geometry.equals(known.communities["990100001004"])
    assert check(fewer, known, Rules(whole=False)) == [], "a file of some communities says nothing of the others"


def test_a_cell_that_lies_in_another_community_than_its_code_says():
    cells, known = sound()
    swapped = changed(cells, code={0: cells.code[4], 4: cells.code[0]}, community={0: "", 4: ""})
    found = [one for one in check(swapped, known) if one.severity == "refuses"]
    assert [one.rule for one in found] == ["elsewhere", "elsewhere"]
    assert found[0].params["own"] == "试验2社区"
    assert found[0].params["other"] == "试验1社区"


@pytest.mark.parametrize(
    ("code", "rule"),
    [("", "code"), ("99010000100100", "code"), ("99010000100100A", "code"), ("990100009009001", "community")],
)
def test_codes_follow_the_districts_pattern(code, rule):
    cells, known = sound()
    found = check(changed(cells, code={0: code}, community={0: ""}), known)
    assert rule in rules_of(found)


def test_a_district_may_have_another_pattern():
    cells, known = sound()
    lettered = changed(cells, code={i: code[:12] + f"W{i:02d}" for i, code in enumerate(cells.code)})
    assert "code" in rules_of(check(lettered, known))
    assert check(lettered, known, Rules(pattern=r"\d{12}W\d{2}")) == []
    with pytest.raises(Invalid, match="pattern"):
        check(lettered, known, Rules(pattern="("))


def test_numbers_go_west_to_east_and_north_to_south():
    cells, known = sound()
    crossed = changed(cells, code={0: cells.code[3], 3: cells.code[0]})
    order = at(check(crossed, known), "order")
    assert order.severity == "warns"
    assert order.params["later"] == cells.code[3]
    assert check(apply(crossed, [order.fix]), known) == []


def test_a_neighbour_to_the_east_may_come_first_where_rows_are_read_otherwise():
    cells, known = sound()
    columns_first = changed(cells, code={1: cells.code[2], 2: cells.code[1]})
    assert "order" not in rules_of(check(columns_first, known))


def test_a_kind_that_the_places_inside_contradict():
    cells, known = sound()
    spots = PLANE.to_degrees([[SIDE * (0.1 + 0.1 * k), SIDE * 3.5] for k in range(8)])
    others = PLANE.to_degrees([[SIDE * 3.5, SIDE * (0.05 + 0.1 * k)] for k in range(8)])
    known.places = np.vstack((spots, others))
    known.uses = np.array([derive.KINDS.index("industrial")] * 8 + [derive.KINDS.index("residential")] * 8)
    odd = at(check(changed(cells, kind={0: "residential"}), known), "kind_places")
    assert odd.params == {"code": cells.code[0], "kind": "residential", "found": "industrial", "n": 8, "own": 0}
    assert check(changed(cells, kind={0: "industrial"}), known) == []
    assert "kind" in rules_of(check(changed(cells, kind={0: "swamp"}), known))


@pytest.mark.parametrize(
    ("households", "rules"), [(199, {"households"}), (200, set()), (500, set()), (501, {"households"})]
)
def test_a_residential_cell_has_200_to_500_households(households, rules):
    cells, known = sound()
    counted = changed(cells, kind={0: "residential"}, households={0: households})
    assert rules_of(check(counted, known)) == rules
    assert rules_of(check(changed(cells, kind={0: "residential"}), known)) == {"households_unknown"}
    assert check(changed(cells, households={0: 5000}), known) == [], "only residential cells are counted"


def test_duties_without_an_owner_are_told_by_community():
    cells, known = sound()
    known.ownerless = {cells.code[0]: ["census"], cells.code[1]: ["safety", "census"], cells.code[2]: []}
    owners = at(check(cells, known), "owners")
    assert owners.cells == (0, 1)
    assert owners.params["duties"] == ["census", "safety"]


@pytest.mark.parametrize("really", [Datum.GCJ02, Datum.BD09])
def test_a_file_in_another_datum_is_noticed_and_the_datum_named(really):
    cells, known = sound()
    shift = changed(
        cells, geom={i: shapely.transform(g, lambda c: from_cgcs2000(c, really)) for i, g in enumerate(cells.geom)}
    )
    found = check(shift, known, told=Told(datum=Datum.WGS84))
    assert found[0].rule == "datum"
    assert found[0].params["datum"] == really.value
    assert 300 < found[0].params["metres"] < 1500
    assert found[0].fix == Fix("datum", values=(really.value,))


def test_good_numbers_read_in_a_shifted_datum_are_noticed():
    cells, known = sound()
    shift = changed(
        cells, geom={i: shapely.transform(g, lambda c: to_cgcs2000(c, "GCJ-02")) for i, g in enumerate(cells.geom)}
    )
    found = check(shift, known, told=Told(datum=Datum.GCJ02))
    assert found[0].rule == "datum"
    assert found[0].params["datum"] == "WGS84"


def test_a_shift_that_no_datum_explains_is_told_with_its_direction():
    cells, known = sound()
    shift = changed(
        cells, geom={i: shapely.transform(g, lambda c: c + np.array([0.005, 0])) for i, g in enumerate(cells.geom)}
    )
    told = at(check(shift, known, told=Told(datum=Datum.WGS84)), "shift")
    assert told.params["metres"] == pytest.approx(512, rel=0.02)
    assert told.params["wind"] == "east"


def test_a_grid_drawn_otherwise_is_not_taken_for_a_shifted_one():
    cells, known = sound()
    chance = np.random.default_rng(7)
    known.communities = {}
    known.centroids = known.centroids + chance.normal(0, 0.002, known.centroids.shape)
    assert not rules_of(check(cells, known)) & {"datum", "shift"}


def test_places_of_the_same_name_show_a_shift_where_nothing_else_is_known():
    cells, _ = sound()
    middles = shapely.get_coordinates(shapely.centroid(cells.geom))
    names = [f"试验小区{i}" for i in range(16)]
    known = Known(places=middles, uses=np.full(16, -1), place_names=names)
    shift = changed(
        cells, geom={i: shapely.transform(g, lambda c: from_cgcs2000(c, "GCJ-02")) for i, g in enumerate(cells.geom)}
    )
    found = check(shift, known, told=Told(datum=Datum.WGS84, names=names))
    assert found[0].params["datum"] == "GCJ-02"


def test_what_the_file_said_is_told():
    cells, known = sound()
    told = Told(datum=Datum.GCJ02, swapped=True, unclosed=[3], said_datum="GCS_WGS_1984")
    found = check(cells, known, told=told)
    assert {"swapped", "unclosed", "datum_name"} <= rules_of(found)
    assert at(found, "swapped").fix == Fix("swap")


def test_a_cell_without_a_boundary_is_told_and_the_others_are_checked():
    cells, known = sound()
    found = check(changed(cells, geom={0: None, 1: shapely.Polygon()}), known)
    assert [one.rule for one in found].count("empty") == 2
    assert "gap" in rules_of(found)


def test_of_a_rule_with_very_many_findings_the_rest_is_counted():
    cells, _ = sound()
    many = MOST_OF_A_RULE + 100
    same = CellSet(
        ["x"] * many, [""] * many, ["mixed"] * many, np.array([cells.geom[0]] * many, dtype=object), [None] * many
    )
    found = check(same, Known())
    listed = [one for one in found if one.rule == "code"]
    assert len(listed) == MOST_OF_A_RULE + 1
    assert listed[-1].params == {"n": 100}


def test_every_rule_has_its_place_in_the_order():
    _, known = sound()
    assert len(set(RULES)) == len(RULES)
    assert check(CellSet([], [], [], np.array([], dtype=object), []), known) == []


def test_a_proposal_survives_being_kept():
    cells, _ = sound()
    for fix in (Fix("give", (3,), cells.geom[0]), Fix("number", (1, 2), values=("a", "b")), Fix("swap")):
        again = Fix.from_json(fix.as_json())
        assert (again.kind, again.cells, again.values) == (fix.kind, fix.cells, fix.values)
        assert (again.shape is None) == (fix.shape is None)


def test_reading_the_file_again_is_no_mending():
    cells, _ = sound()
    with pytest.raises(Invalid, match="whole file"):
        apply(cells, [Fix("swap")])

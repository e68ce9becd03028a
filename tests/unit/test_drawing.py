"""Cells drawn by the program: exact, whole, the same for a seed, and never worse than the plain split."""

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.datums import Plane
from core.errors import Invalid
from grid.derive import GRID, first_hit
from grid.drawing import Limits, Site, Weights, figures, objective, propose
from grid.drawing.apart import propose_apart
from grid.drawing.propose import divided

pytestmark = pytest.mark.unit

PLANE = Plane.at(83.2, 39.1)
CODE = "990101001001"


def degrees(shape):
    return shapely.set_precision(shapely.transform(shape, PLANE.to_degrees), GRID)


def site(shape, *, roads=(), homes=(), **more):
    """Return a site from metres: `roads` as lists of points, `homes` as (x, y, households)."""
    at = np.array([(x, y) for x, y, _ in homes], dtype=float).reshape(-1, 2)
    estates = [degrees(one) for one in more.pop("estates", ())]
    return Site(
        CODE,
        degrees(shape),
        roads=np.array([degrees(shapely.LineString(line)) for line in roads], dtype=object),
        road_class=more.pop("road_class", ["tertiary"] * len(roads)),
        estates=np.array(estates, dtype=object),
        points=PLANE.to_degrees(at),
        households=np.array([count for _, _, count in homes], dtype=float),
        **more,
    )


def lattice(west, south, east, north, step=60.0, households=20.0):
    x, y = np.meshgrid(np.arange(west + step / 2, east, step), np.arange(south + step / 2, north, step))
    return [(float(a), float(b), households) for a, b in zip(x.ravel(), y.ravel(), strict=True)]


def streets(width, height, columns, rows):
    lines = [[(width * i / columns, -50), (width * i / columns, height + 50)] for i in range(1, columns)]
    return lines + [[(-50, height * i / rows), (width + 50, height * i / rows)] for i in range(1, rows)]


def assert_covers(made, place):
    """The cells fill the community and nothing else, share every vertex, and hang together."""
    __tracebackhide__ = True
    cells = made.cells.geom
    assert shapely.is_valid(cells).all()
    assert shapely.coverage_is_valid(cells)
    total, union = shapely.area(cells).sum(), shapely.union_all(cells)
    assert total == pytest.approx(shapely.area(union), rel=1e-11)
    # New corners on the community's border are rounded to a tenth of a millimetre.
    gap = shapely.transform(shapely.symmetric_difference(union, place.shape), PLANE.to_metres)
    rim = shapely.transform(place.shape, PLANE.to_metres)
    assert shapely.area(gap) <= 0.0002 * shapely.length(rim)
    assert made.figures.uncovered_m2 == 0
    assert sum(made.cells.households) == made.figures.households == round(place.households.sum())


def cut_estates(made, place):
    whole = [shapely.transform(one, PLANE.to_metres) for one in place.estates]
    cells = [shapely.transform(one, PLANE.to_metres) for one in made.cells.geom]
    shares = [[shapely.area(shapely.intersection(cell, one)) / shapely.area(one) for cell in cells] for one in whole]
    return [i for i, share in enumerate(shares) if max(share) < 0.98]


TOWN = shapely.box(0, 0, 1200, 900)


def test_cells_follow_the_streets_and_keep_the_limits():
    place = site(TOWN, roads=streets(1200, 900, 6, 4), homes=lattice(0, 0, 1200, 900))
    made = propose(place)
    assert_covers(made, place)
    told = made.figures
    assert told.within == 1
    assert told.on_lines > 0.99
    assert told.compactness > 0.6
    assert all(cell.parts == 1 for cell in told.cells)
    assert not made.notes
    assert made.cells.code == [f"{CODE}{i:03d}" for i in range(1, len(made.cells.code) + 1)]


def test_the_same_seed_draws_the_same_cells_also_in_another_process():
    place = site(TOWN, roads=streets(1200, 900, 5, 5), homes=lattice(0, 0, 1200, 900, households=13))
    one, two, apart = propose(place, seed=3), propose(place, seed=3), propose_apart(place, seed=3)
    for other in (two, apart):
        assert shapely.to_wkb(one.cells.geom).tolist() == shapely.to_wkb(other.cells.geom).tolist()
        assert one.figures == other.figures
        assert one.notes == other.notes


def test_an_estate_across_streets_is_not_cut():
    estate = shapely.box(350, 250, 640, 560)
    place = site(
        TOWN,
        roads=streets(1200, 900, 6, 4),
        homes=lattice(0, 0, 1200, 900, households=10),
        estates=[estate],
        estate_name=["安宁花园"],
    )
    made = propose(place)
    assert_covers(made, place)
    assert cut_estates(made, place) == []
    assert made.figures.cut_estates == 0
    assert figures(divided(place, Weights()), place).cut_estates == 1


def test_an_estate_too_large_for_a_cell_is_kept_and_named_or_cut_where_the_planner_lets_it():
    estate = shapely.box(300, 200, 900, 700)
    place = site(TOWN, homes=lattice(0, 0, 1200, 900), estates=[estate], estate_name=["安宁花园"])
    made = propose(place)
    assert_covers(made, place)
    assert cut_estates(made, place) == []
    named = [note for note in made.notes if note.params.get("estate") == "安宁花园"]
    assert named
    assert named[0].cells
    cut = propose(place, Weights(cut_large_estates=True))
    assert_covers(cut, place)
    assert cut.figures.within == 1


def test_a_tower_on_one_spot_cannot_be_divided_and_is_named():
    place = site(TOWN, roads=streets(1200, 900, 4, 3), homes=[*lattice(0, 0, 1200, 900), (510.0, 410.0, 800.0)])
    made = propose(place)
    assert_covers(made, place)
    towers = [note for note in made.notes if note.params.get("households") == 800]
    assert towers
    holder = first_hit(made.cells.geom, shapely.points(PLANE.to_degrees([[510.0, 410.0]])))[0]
    assert towers[0].cells == (made.cells.code[holder],)
    others = [cell.within for i, cell in enumerate(made.figures.cells) if i != holder]
    assert all(others)


def test_ground_without_a_road_is_cut_straight_and_said_so():
    place = site(shapely.Point(0, 0).buffer(500), homes=lattice(-500, -500, 500, 500, step=50, households=8))
    made = propose(place)
    assert_covers(made, place)
    assert made.figures.within == 1
    assert made.figures.variation < 0.15
    assert any("straight lines" in note.message for note in made.notes)
    # A straight cut has two ends: hardly a corner more than the border had.
    corners = shapely.get_num_coordinates(made.cells.geom).sum()
    assert corners < shapely.get_num_coordinates(place.shape) + 8 * len(made.cells.code)


def test_a_community_where_nobody_lives_is_one_cell():
    place = site(TOWN, roads=streets(1200, 900, 4, 3))
    made = propose(place)
    assert_covers(made, place)
    assert len(made.cells.code) == 1
    assert [note.message for note in made.notes] == ["No household is known here, so that nothing can be balanced."]


def test_islands_belong_to_the_nearest_ground_and_large_ones_stand_alone():
    islet, island = shapely.box(1300, 0, 1360, 80), shapely.box(0, 1000, 600, 1500)
    place = site(
        shapely.MultiPolygon([TOWN, islet, island]),
        roads=streets(1200, 900, 4, 3),
        homes=[*lattice(0, 0, 1200, 900), (1330.0, 40.0, 5.0), *lattice(0, 1000, 600, 1500)],
    )
    made = propose(place)
    assert_covers(made, place)
    apart = [cell for cell in made.figures.cells if cell.parts > 1]
    assert len(apart) == 1
    assert any("lie apart" in note.message for note in made.notes)


def test_a_hole_stays_a_hole():
    holed = shapely.difference(TOWN, shapely.box(400, 300, 700, 600))
    place = site(holed, roads=streets(1200, 900, 6, 5), homes=lattice(0, 0, 1200, 900))
    made = propose(place)
    assert_covers(made, place)
    assert all(cell.parts == 1 for cell in made.figures.cells)


def test_two_carriageways_are_one_boundary_and_dead_ends_are_led_on():
    roads = [[(600, -10), (600, 910)], [(615, 910), (615, -10)], [(0, 450), (580, 450)], [(1200, 440), (640, 440)]]
    place = site(TOWN, roads=roads, road_class=["trunk", "trunk", "tertiary", "tertiary"],
                 homes=lattice(0, 0, 1200, 900, step=75, households=7))  # fmt: skip
    made = propose(place)
    assert_covers(made, place)
    assert len(made.cells.code) == 4
    assert made.figures.on_lines > 0.95
    # No cell keeps the strip between the carriageways as a tail.
    assert min(cell.compactness for cell in made.figures.cells) > 0.6


def test_a_river_is_no_cell_of_its_own_and_no_cell_lies_on_both_banks():
    river = shapely.LineString([(-50, 400), (500, 430), (1250, 460)])
    place = site(TOWN, roads=streets(1200, 900, 6, 1), homes=lattice(0, 0, 1200, 900, households=12))
    place.water = np.array([degrees(river)], dtype=object)
    made = propose(place)
    assert_covers(made, place)
    north, south = ((first_hit(made.cells.geom, shapely.points(PLANE.to_degrees(np.array(lattice(0, y, 1200, y + 60))[:, :2]))))
                    for y in (600, 150))  # fmt: skip
    assert not set(north.tolist()) & set(south.tolist())


def test_a_broad_river_is_shared_by_its_banks():
    river = shapely.LineString([(-50, 420), (500, 450), (1250, 480)]).buffer(35, cap_style="flat")
    homes = [
        one for one in lattice(0, 0, 1200, 900, households=14) if not river.buffer(5).contains(shapely.Point(one[:2]))
    ]
    place = site(TOWN, roads=[[(x, -9), (x, 909)] for x in (200, 400, 600, 800, 1000)][::2], homes=homes)
    place.water = np.array([degrees(river)], dtype=object)
    made = propose(place)
    assert_covers(made, place)
    banks = [
        set(
            first_hit(
                made.cells.geom, shapely.points(PLANE.to_degrees(np.array(lattice(0, y, 1200, y + 60))[:, :2]))
            ).tolist()
        )
        for y in (600, 150)
    ]
    assert not banks[0] & banks[1]
    assert made.figures.on_lines > 0.6
    assert min(cell.compactness for cell in made.figures.cells) > 0.3


def test_homes_and_works_are_kept_apart():
    homes = lattice(0, 0, 600, 900, households=20)
    works = [(float(x), float(y), 0.0) for x, y, _ in lattice(600, 0, 1200, 900, step=40)]
    use = np.array([-1] * len(homes) + [2] * len(works) + [0] * 60)
    flats = [(float(x), float(y), 0.0) for x, y, _ in lattice(0, 0, 600, 900, step=95)][:60]
    place = site(
        TOWN, roads=streets(1200, 900, 8, 6), homes=homes + works + flats, use=use[: len(homes + works + flats)]
    )
    made = propose(place)
    assert_covers(made, place)
    assert {"residential", "industrial"} == set(made.cells.kind)
    assert made.figures.within == 1


def test_places_of_one_estate_without_a_wall_stay_together():
    spots = lattice(100, 100, 1100, 800, step=100, households=14)
    group = np.full(len(spots), -1)
    for k, (x, y) in enumerate(((250, 250), (650, 450), (950, 650))):
        near = [i for i, (a, b, _) in enumerate(spots) if np.hypot(a - x, b - y) < 110]
        group[near] = k
    place = site(TOWN, homes=spots, group=group)
    made = propose(place)
    assert_covers(made, place)
    assert made.figures.estates == 3
    assert made.figures.cut_estates == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"households": np.array([-1.0])}, "negative"),
        ({"households": np.array([np.nan])}, "negative"),
        ({"use": np.array([1, 2])}, "differ in length"),
        ({"basis": "dreamt"}, "one of"),
    ],
)
def test_a_site_that_makes_no_sense_is_refused(wrong, said):
    good = {"points": PLANE.to_degrees([[5.0, 5.0]]), "households": np.array([1.0])}
    with pytest.raises(Invalid, match=said):
        Site(CODE, degrees(TOWN), **(good | wrong))


def test_limits_that_no_split_can_keep_are_refused():
    with pytest.raises(Invalid):
        Limits(300, 500)
    with pytest.raises(Invalid):
        Weights(balance=-1)


def test_figures_tell_gaps_overlaps_and_loose_parts():
    place = site(TOWN, homes=lattice(0, 0, 1200, 900))
    west, east = shapely.box(0, 0, 500, 900), shapely.box(600, 0, 1200, 900)
    told = figures(np.array([degrees(west), degrees(east)], dtype=object), place)
    assert told.uncovered_m2 == pytest.approx(100 * 900, rel=1e-3)
    over = figures(np.array([degrees(west), degrees(shapely.box(450, 0, 1200, 900))], dtype=object), place)
    assert over.shared_m2 == pytest.approx(50 * 900, rel=1e-3)
    loose = shapely.MultiPolygon([west, shapely.box(1100, 0, 1200, 900)])
    apart = figures(np.array([degrees(loose), degrees(shapely.box(500, 0, 1100, 900))], dtype=object), place)
    assert [cell.parts for cell in apart.cells] == [2, 1]
    assert apart.contiguous == 0.5


@st.composite
def places(draw):
    """Return crooked communities with streets, homes, and now and then estates."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    width, height = draw(st.integers(300, 1600)), draw(st.integers(300, 1600))
    ring = [(0, 0), (width, 0), (width, height * chance.uniform(0.4, 1)), (width * 0.6, height), (0, height * 0.9)]
    columns, rows = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    roads = [
        [(x + chance.uniform(-20, 20), y + chance.uniform(-20, 20)) for x, y in line]
        for line in streets(width, height, columns, rows)
    ]
    homes = [
        (float(x), float(y), float(n))
        for x, y, n in zip(
            chance.uniform(0, width, draw(st.integers(0, 150))),
            chance.uniform(0, height, 150),
            chance.integers(0, 60, 150),
            strict=False,
        )
    ]
    estates = []
    for _ in range(draw(st.integers(0, 3))):
        x, y = chance.uniform(0, width), chance.uniform(0, height)
        plot = shapely.box(x, y, x + chance.uniform(40, 200), y + chance.uniform(40, 200))
        if shapely.contains(shapely.Polygon(ring), plot) and not any(shapely.intersects(plot, one) for one in estates):
            estates.append(plot)
    return site(shapely.Polygon(ring), roads=roads, homes=homes, estates=estates)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(place=places())
def test_any_community_is_covered_exactly_with_whole_cells_and_no_worse_than_by_the_plain_split(place):
    weights = Weights()
    made = propose(place)
    assert_covers(made, place)
    assert all(cell.parts == 1 for cell in made.figures.cells)
    assert cut_estates(made, place) == []
    plain = divided(place, weights)
    assert made.figures.objective <= objective(plain, place, weights) + 1e-6
    assert made.figures.objective == pytest.approx(objective(made.cells, place, weights))

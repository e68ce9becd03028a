"""Derived cells: no gap, no overlap, numbered and named for what stands in them."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from core.datums import Plane
from core.settings import settings as machine
from grid import derive
from grid.formats import open_folder
from grid.ground import read_ground
from grid.tabular import Rejects

pytestmark = pytest.mark.unit

PLANE = Plane.at(83.2, 39.1)


def town(west=0.0, south=0.0, east=4000.0, north=3000.0, bite=0.0):
    """Return a town in degrees on a plane; `bite` cuts a notch out of its north side, so that it is not convex."""
    ring = [(west, south), (east, south), (east, north), (east * 0.6, north), (east * 0.5, north - bite)]
    ring += [(east * 0.4, north), (west, north)]
    return shapely.set_precision(shapely.transform(shapely.Polygon(ring), PLANE.to_degrees), derive.GRID)


def laid(towns, centres, places):
    """Return the tiling of towns (a list) with `(n, 2)` metre centres and places."""
    towns = np.array(towns, dtype=object)
    centres, places = PLANE.to_degrees(np.array(centres)), PLANE.to_degrees(np.array(places).reshape(-1, 2))
    town_of = derive.first_hit(towns, shapely.points(centres)).tolist()
    whole = {}
    for i, shape in enumerate(towns):
        mine = [k for k, t in enumerate(town_of) if t == i]
        if mine:
            whole |= dict(zip(mine, derive.voronoi(shape, centres[mine], PLANE), strict=True))
    drafts = []
    for k, shape in whole.items():
        inside = places[shapely.contains_xy(shape, places)] if len(places) else places
        drafts += [(k, part) for part in derive.divide(shape, inside, PLANE)]
    return derive.lay(towns, whole, town_of, drafts)


def assert_tiles(tiling):
    __tracebackhide__ = True
    assert shapely.is_valid(tiling.cells).all()
    assert shapely.coverage_is_valid(tiling.cells)
    assert shapely.coverage_is_valid(tiling.towns)
    total = shapely.area(tiling.cells).sum()
    assert total == pytest.approx(shapely.area(shapely.union_all(tiling.towns)), rel=1e-12)
    for k, community in enumerate(tiling.communities):
        parts = tiling.cells[tiling.cell_community == k]
        assert shapely.equals(shapely.coverage_union_all(parts), community)


point = st.tuples(st.floats(50, 3950), st.floats(50, 2000))


@settings(max_examples=25)
@given(
    centres=st.lists(point, min_size=1, max_size=6, unique=True),
    places=st.lists(point, max_size=120),
    bite=st.floats(0, 900),
)
def test_cells_cover_a_town_without_gap_or_overlap(centres, places, bite):
    assert_tiles(laid([town(bite=bite)], centres, places))


def test_neighbouring_towns_share_every_vertex():
    west, east = (
        shapely.set_precision(shapely.transform(shapely.box(*b), PLANE.to_degrees), derive.GRID)
        for b in ((0, 0, 2000, 3000), (2000, 0, 4000, 3000))
    )
    chance = np.random.default_rng(1)
    tiling = laid(
        [west, east], [(500, 500), (1500, 2500), (2500, 700), (3500, 2000)], chance.uniform(0, 3000, (400, 2))
    )
    assert_tiles(tiling)
    assert len(tiling.cells) >= 12


def test_every_cell_hangs_together_in_a_crooked_town():
    comb = shapely.union_all(
        [shapely.box(0, 0, 4000, 300)] + [shapely.box(x, 0, x + 250, 3000) for x in range(0, 4000, 800)]
    )
    shape = shapely.set_precision(shapely.transform(comb, PLANE.to_degrees), derive.GRID)
    tiling = laid([shape], [(100, 2500), (900, 2500), (2000, 100)], [(1700, 2000)] * 50)
    assert_tiles(tiling)
    assert (shapely.get_num_geometries(tiling.cells) == 1).all()


def test_communities_that_were_given_keep_their_ground_and_the_rest_stays_bare():
    shape = shapely.set_precision(shapely.transform(shapely.box(0, 0, 4000, 3000), PLANE.to_degrees), derive.GRID)
    given = {
        k: shapely.transform(shapely.box(west, 0, west + 1000, 3000), PLANE.to_degrees)
        for k, west in ((0, 0), (1, 1000))
    }
    drafts = [(k, part) for k, whole in given.items() for part in derive.divide(whole, np.zeros((0, 2)), PLANE)]
    tiling = derive.lay(np.array([shape], dtype=object), given, [0, 0], drafts, fill=False)
    assert shapely.coverage_is_valid(tiling.cells)
    assert shapely.area(tiling.cells).sum() == pytest.approx(shape.area / 2, rel=1e-4)
    for k, whole in given.items():
        assert shapely.hausdorff_distance(tiling.communities[k], whole) < 2e-7
    assert tiling.towns[0].area == pytest.approx(shape.area, rel=1e-9)


def test_cells_hold_similar_numbers_of_places():
    chance = np.random.default_rng(3)
    crowd = np.vstack((chance.normal((800, 800), 200, (300, 2)), chance.uniform((0, 0), (4000, 2000), (100, 2))))
    shape = town()
    parts = derive.divide(shape, PLANE.to_degrees(crowd), PLANE)
    held = [shapely.contains_xy(part, PLANE.to_degrees(crowd)).sum() for part in parts]
    assert len(parts) == round(400 / derive.PLACES_PER_CELL)
    assert max(held) < 3 * 400 / len(parts)


@pytest.mark.parametrize(("places", "cells"), [(0, derive.FEWEST), (200, 5), (100_000, derive.MOST)])
def test_number_of_cells_follows_from_the_places(places, cells):
    spots = PLANE.to_degrees(np.random.default_rng(0).uniform((0, 0), (4000, 2000), (places, 2)))
    assert len(derive.divide(town(), spots, PLANE)) == cells


def test_cells_are_numbered_west_to_east_and_north_to_south():
    boxes = np.array([shapely.box(x, y, x + 1, y + 1) for y in range(3) for x in range(3)], dtype=object)
    order = np.random.default_rng(4).permutation(9)
    found = [
        shapely.get_coordinates(shapely.centroid(box))[0].tolist() for box in boxes[order][derive.number(boxes[order])]
    ]
    assert found == [[x + 0.5, y + 0.5] for y in (2, 1, 0) for x in range(3)]


def test_kind_is_what_exceeds_the_districts_usual_share():
    # 100 shops, 10 homes and 10 works in the district: cell 1 has most of the homes, cell 2 of the works.
    uses = np.array([1] * 90 + [0] * 9 + [1] * 5 + [2] * 9 + [1] * 5 + [0, 2])
    cells = np.array([0] * 90 + [1] * 14 + [2] * 14 + [0, 0])
    assert derive.kinds(uses, cells, 4) == ["commercial", "residential", "industrial", "mixed"]


def test_two_works_do_not_outweigh_twenty_shops():
    uses = np.array([1] * 20 + [2] * 2 + [1] * 500 + [2] * 3)
    cells = np.array([0] * 22 + [1] * 503)
    assert derive.kinds(uses, cells, 2)[0] == "commercial"


def test_nanhai_is_laid_out_whole():
    data = machine().data
    if not (data / "nanhai" / "pois.csv").is_file():
        pytest.skip(f"the given data are absent at {data}: Nanhai was not checked")
    rejects = Rejects()
    ground = read_ground(open_folder(data), rejects)
    assert not rejects
    assert ground.areas.level.count("town") == 7
    assert ground.areas.level.count("community") == 307
    assert len(ground.places.table) == 12_093
    assert len(ground.addresses.table) == 3_422
    cells = ground.cells
    assert shapely.coverage_is_valid(cells.geom)
    assert shapely.area(cells.geom).sum() == pytest.approx(shapely.area(ground.geom), rel=1e-12)
    assert {len(code) for code in cells.code} == {15}
    assert set(cells.kind) == {"residential", "commercial", "industrial", "mixed"}
    assert cells.places.sum() == sum(code is not None for code in ground.places.cell_code) == 12_072
    derived = [d for d, level in zip(ground.areas.derived, ground.areas.level, strict=True) if level == "community"]
    assert sum(derived) == 49

"""The rules of the locator: the same answer as asking every polygon, the lower code on a shared edge."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from grid.locator import Locator

pytestmark = pytest.mark.unit


def brute(codes, polygons, points):
    """Return the lowest code whose polygon covers each point, by asking all of them."""
    answers = []
    for lng, lat in points:
        hits = [c for c, p in zip(codes, polygons, strict=True) if p is not None and p.covers(shapely.Point(lng, lat))]
        answers.append(min(hits, default=None))
    return answers


def tessellation(seed, cells=40):
    """Return Voronoi cells over a crooked little district, cut to its outline, in shuffled order of codes."""
    rng = np.random.default_rng(seed)
    seeds = shapely.MultiPoint(rng.uniform((113.0, 23.0), (113.1, 23.1), (cells, 2)))
    outline = shapely.Polygon([(113, 23), (113.1, 23.01), (113.09, 23.1), (113.04, 23.06), (113.0, 23.09)])
    shapes = [shapely.intersection(p, outline) for p in shapely.voronoi_polygons(seeds).geoms]
    shapes = [s for s in shapes if s.geom_type in ("Polygon", "MultiPolygon") and not s.is_empty]
    codes = [f"440699001001{n:03d}" for n in rng.permutation(len(shapes))]
    return codes, np.array(shapes, dtype=object)


@pytest.mark.parametrize("pixels", [64, 5_000, 200_000])
@pytest.mark.parametrize("seed", range(4))
def test_locator_answers_as_asking_every_polygon_does(seed, pixels):
    codes, shapes = tessellation(seed)
    rng = np.random.default_rng(seed + 100)
    corners = shapely.get_coordinates(shapes)
    on_edges = (corners[:-1] + corners[1:]) / 2
    points = np.concatenate([rng.uniform((112.98, 22.98), (113.12, 23.12), (600, 2)), corners, on_edges])
    locator = Locator(codes, shapes, pixels=pixels)
    expected = brute(codes, shapes, points)
    many = locator.locate_many(points)
    assert [None if i < 0 else locator.codes[i] for i in many] == expected
    assert [locator.locate(*p) for p in points.tolist()] == expected


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 8), st.integers(1, 8)), min_size=1, max_size=6
    ),
    st.lists(st.tuples(st.integers(-2, 58), st.integers(-2, 58)), min_size=1, max_size=40),
    st.integers(4, 3000),
)
def test_overlapping_boxes_and_points_on_their_edges(boxes, halves, pixels):
    shapes = np.array([shapely.box(x, y, x + w, y + h) for x, y, w, h in boxes], dtype=object)
    codes = [f"c{n}" for n in range(len(boxes))]
    points = np.array(halves, dtype=float) / 2
    locator = Locator(codes, shapes, pixels=pixels)
    assert [None if i < 0 else locator.codes[i] for i in locator.locate_many(points)] == brute(codes, shapes, points)
    assert [locator.locate(*p) for p in points.tolist()] == brute(codes, shapes, points)


def test_shared_edge_belongs_to_the_lower_code():
    shapes = np.array([shapely.box(113.1, 23, 113.2, 23.1), shapely.box(113.0, 23, 113.1, 23.1)], dtype=object)
    assert Locator(["b", "a"], shapes).locate(113.1, 23.05) == "a"
    assert Locator(["a", "b"], shapes).locate(113.1, 23.05) == "a"


def test_multipolygon_with_a_hole_is_one_cell():
    ring = shapely.box(113.0, 23.0, 113.03, 23.03) - shapely.box(113.01, 23.01, 113.02, 23.02)
    shape = shapely.MultiPolygon([ring, shapely.box(113.05, 23.0, 113.06, 23.01)])
    locator = Locator(["a"], np.array([shape], dtype=object))
    assert locator.locate(113.005, 23.005) == "a"
    assert locator.locate(113.055, 23.005) == "a"
    assert locator.locate(113.015, 23.015) is None
    assert locator.locate(113.04, 23.005) is None


def test_no_cells_and_no_numbers_are_outside():
    empty = Locator([], np.array([], dtype=object))
    assert empty.locate(113.0, 23.0) is None
    assert empty.locate(0.0, 0.0) is None
    assert empty.locate_many([[113.0, 23.0], [0.0, 0.0]]).tolist() == [-1, -1]
    one = Locator(["x", "a"], np.array([None, shapely.box(113, 23, 113.1, 23.1)], dtype=object))
    assert one.locate(float("nan"), 23.0) is None
    assert one.locate_many([[np.nan, 23.0], [113.05, 23.05], [np.inf, 1.0], [-1e300, 1e300]]).tolist() == [
        -1,
        0,
        -1,
        -1,
    ]
    assert one.locate_many(np.empty((0, 2))).size == 0

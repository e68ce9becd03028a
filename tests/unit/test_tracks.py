"""Tracks and spots without a database: thinning, what is worth asking about, and what of a cell's streets was passed."""

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from core.datums import Plane
from grid.lines import Lines
from grid.spots import left_out, passed, spots_of
from grid.tracks import MOCK, SPEED, STILL, ZERO, Track, remarks, thin

LNG, LAT = 113.0, 23.0
PLANE = Plane.at(LNG, LAT)
T0 = 1_760_000_000.0


def track(metres: list[tuple[float, float]], *, every_s: float = 5, accuracy: float = 8, mock: bool = False) -> Track:
    """Return a track through points in metres from the corner of the test cell."""
    count = len(metres)
    return Track(
        PLANE.to_degrees(np.array(metres, float)),
        np.full(count, accuracy, float),
        (T0 + every_s * np.arange(count)).astype(np.float64),
        np.full(count, mock),
    )


def roads(*lines: tuple[str, str, list[tuple[float, float]]]) -> Lines:
    """Return road lines given in metres."""
    geom: NDArray[np.object_] = np.array(
        [shapely.linestrings(PLANE.to_degrees(np.array(line, float))) for _, _, line in lines], dtype=object
    )
    names, ranks = [one[0] for one in lines], [one[1] for one in lines]
    return Lines([str(i) for i in range(len(lines))], ["road"] * len(lines), names, ranks, geom, ["WGS84"] * len(lines))


def cell(side: float = 500) -> shapely.Geometry:
    corners = np.array([(0, 0), (side, 0), (side, side), (0, side)], float)
    return shapely.Polygon(PLANE.to_degrees(corners))


def messages(given: Track) -> list[str]:
    return [one.message for one in remarks(given)]


def test_a_straight_walk_keeps_its_ends_and_one_position_a_minute() -> None:
    walk = track([(i * 6.0, 0.0) for i in range(200)])
    kept = thin(walk)
    assert len(kept) < len(walk) / 8
    assert kept.at_s[0] == walk.at_s[0]
    assert kept.at_s[-1] == walk.at_s[-1]
    assert np.diff(kept.at_s).max() <= 65


def test_thinning_keeps_a_corner_and_drops_what_is_too_coarse() -> None:
    corner = [(i * 6.0, 0.0) for i in range(20)] + [(114.0, i * 6.0) for i in range(20)]
    kept = PLANE.to_metres(thin(track(corner)).lng_lat)
    assert np.hypot(*(kept - (114.0, 0.0)).T).min() < 1
    assert len(thin(track(corner, accuracy=500))) == 0


def test_a_walk_gives_nothing_to_ask_and_each_oddity_one_remark() -> None:
    walk = [(i * 6.0, 0.0) for i in range(100)]
    assert messages(track(walk)) == []
    assert messages(track([*walk, (9000.0, 0.0)])) == [SPEED]
    assert messages(track(walk, accuracy=0)) == [ZERO]
    assert messages(track(walk, mock=True)) == [MOCK]
    assert messages(track([(5.0, 5.0)] * 200, every_s=60)) == [STILL]
    assert messages(track([(5.0, 5.0)] * 200, every_s=5)) == [], "a rest is no remark"


def test_a_jump_within_the_phones_own_doubt_is_no_remark() -> None:
    jump = track([(0.0, 0.0), (900.0, 0.0)], accuracy=450)
    assert messages(jump) == []


def test_spots_lie_along_the_streets_of_the_cell_and_a_street_on_its_edge_belongs_to_it() -> None:
    given = roads(
        ("青石街", "residential", [(-200, 250), (700, 250)]),
        ("滨湖路", "tertiary", [(0, -10), (500, -10)]),
        ("高速", "motorway", [(0, 100), (500, 100)]),
        ("远路", "residential", [(0, 900), (500, 900)]),
    )
    found = spots_of(cell(), given, range(4))
    assert found.by == "street"
    assert set(found.street) == {"青石街", "滨湖路"}
    assert found.length_m == pytest.approx(1030, abs=40)


def test_a_walk_along_one_of_two_streets_covers_that_one() -> None:
    given = roads(("青石街", "residential", [(0, 100), (500, 100)]), ("柳巷", "residential", [(0, 400), (500, 400)]))
    spots = spots_of(cell(), given, range(2))
    walk = track([(i * 6.0, 108.0) for i in range(85)])
    done = passed(spots, walk.lng_lat, walk.at_s, near_m=25)
    assert {spots.street[i] for i in done} == {"青石街"}
    [(name, metres, _)] = left_out(spots, done)
    assert name == "柳巷"
    assert metres == pytest.approx(500, abs=40)


def test_positions_far_apart_do_not_cover_what_lies_between() -> None:
    given = roads(("青石街", "residential", [(0, 100), (500, 100)]))
    spots = spots_of(cell(), given, range(1))
    ends = track([(0.0, 100.0), (500.0, 100.0)], every_s=600)
    assert len(passed(spots, ends.lng_lat, ends.at_s, near_m=25)) <= 4


def test_a_cell_without_roads_is_covered_by_a_lattice_that_says_so() -> None:
    spots = spots_of(cell(), roads(), range(0))
    assert spots.by == "lattice"
    assert spots.length_m == 0
    assert 90 <= len(spots.street) <= 110


def test_other_roads_make_another_ground() -> None:
    one = spots_of(cell(), roads(("甲", "residential", [(0, 100), (500, 100)])), range(1))
    two = spots_of(cell(), roads(("甲", "residential", [(0, 120), (500, 120)])), range(1))
    assert one.ground != two.ground

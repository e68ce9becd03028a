"""What the database knows of a community before its cells are drawn: where households come from, estates by name."""

import numpy as np
import pytest
import shapely
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.actor import system
from core.datums import ewkb
from core.errors import Invalid, NotFound
from core.ids import new_id
from grid.drawing import Limits
from grid.sites import GUESS, cells_of, drawable, estate_groups, limits_of, site_of
from tests import tiny
from tests.builders import NOW

pytestmark = pytest.mark.database

SOUTH = tiny.WEST + "001"


@pytest.fixture
def keeper(session: Session, district: tiny.Tiny, as_actor):
    return as_actor(system(tiny.DISTRICT, "tests"))


def known(session: Session, households: int | None) -> None:
    session.execute(
        text("UPDATE cell SET households = :n WHERE district_code = :d AND community_code = :c"),
        {"n": households, "d": tiny.DISTRICT, "c": SOUTH},
    )


def test_known_cells_share_their_households_among_the_doors_inside(keeper):
    known(keeper, 300)
    found = site_of(keeper, SOUTH)
    cells = cells_of(keeper, SOUTH)
    assert found.basis == "shared"
    assert found.households.sum() == pytest.approx(300 * len(cells.code))
    for cell in cells.geom:
        inside = shapely.intersects_xy(cell, found.points[:, 0], found.points[:, 1])
        assert found.households[inside].sum() == pytest.approx(300)


def test_where_nobody_counted_households_are_guessed_from_places(keeper):
    known(keeper, None)
    found = site_of(keeper, SOUTH)
    assert found.basis == "guessed"
    assert 0 < found.households.sum() <= GUESS["estate"] * len(found.points)


def test_a_register_of_households_comes_before_every_guess(keeper):
    known(keeper, 300)
    at = shapely.Point(*tiny.Tiny().in_west)
    for _ in range(3):
        keeper.execute(
            text(
                "INSERT INTO household (district_code, id, state, kind, community_code, geom, salt, created_at, changed_at)"
                " VALUES (:d, :id, 'living', 'family', :c, ST_GeomFromEWKB(:g), :salt, :at, :at)"
            ),
            {"d": tiny.DISTRICT, "id": new_id(), "c": SOUTH, "g": ewkb(at), "salt": b"0" * 16, "at": NOW},
        )
    found = site_of(keeper, SOUTH)
    assert found.basis == "counted"
    assert found.households.sum() == 3
    assert found.points[int(np.argmax(found.households))].tolist() == pytest.approx([at.x, at.y])


def test_a_district_says_its_own_limits(keeper):
    assert limits_of(keeper) == Limits(200, 500)
    keeper.execute(
        text("UPDATE district SET settings = settings || '{\"cell_households\": [100, 300]}' WHERE district_code = :d"),
        {"d": tiny.DISTRICT},
    )
    keeper.expire_all()
    assert limits_of(keeper) == Limits(100, 300)


def test_unknown_communities_and_those_without_ground_are_told_apart(keeper):
    with pytest.raises(NotFound):
        site_of(keeper, tiny.WEST + "999")
    with pytest.raises(NotFound):
        site_of(keeper, tiny.WEST)
    assert SOUTH in drawable(keeper, town=tiny.WEST)
    keeper.execute(
        text("UPDATE area SET geom = NULL WHERE district_code = :d AND code = :c"), {"d": tiny.DISTRICT, "c": SOUTH}
    )
    keeper.expire_all()
    with pytest.raises(Invalid):
        site_of(keeper, SOUTH)
    assert SOUTH not in drawable(keeper, town=tiny.WEST)


def test_gates_and_blocks_belong_to_their_estate_but_not_one_of_the_same_name_elsewhere():
    names = ["安宁花园", "安宁花园(西门)", "安宁花园3栋", "安宁花园二期", "平顺里", "", "安宁花园"]
    at = np.array([[113.0, 23.0]] * 6 + [[113.1, 23.0]])
    group, called = estate_groups(names, at)
    assert group.tolist() == [0, 0, 0, 0, -1, -1, -1]
    assert called == ["安宁花园"]

"""Vector tiles: what is in them, for whom, and that none is unbounded. Decodes MVT by hand, as the standard writes it."""

import math
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.errors import Forbidden, NotFound
from dispatch import tallies
from dispatch.models import Case
from maps import tiles
from maps.in_view import EVERYWHERE, Looking, in_view
from maps.tiles import Tile
from tests.builders import DISTRICT, NOW, TOWN, actor, make_case, make_cell, make_entry, make_town, program
from tests.plans import full_table

OTHER_TOWN = "990100002"


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
        elif tag & 7 == 2:
            length, at = _varint(data, at)
            yield tag >> 3, data[at : at + length]
            at += length
        else:
            size = 8 if tag & 7 == 1 else 4
            yield tag >> 3, data[at : at + size]
            at += size


def _value(data: bytes) -> Any:
    ((kind, value),) = _fields(data)
    if kind == 1:
        return value.decode()
    if kind == 6:
        return (value >> 1) ^ -(value & 1)
    return value - 2**64 if kind == 4 and value >= 2**63 else value


def decode(mvt: bytes) -> dict[str, list[dict[str, Any]]]:
    """Return layer → features, each its properties and, for points, `at` in tile units."""
    found: dict[str, list[dict[str, Any]]] = {}
    for number, layer in _fields(mvt):
        assert number == 3
        parts = list(_fields(layer))
        keys = [value.decode() for n, value in parts if n == 3]
        values = [_value(value) for n, value in parts if n == 4]
        features = found.setdefault(next(value.decode() for n, value in parts if n == 1), [])
        for n, raw in parts:
            if n != 2:
                continue
            feature = dict(_fields(raw))
            tags: list[int] = []
            numbers: list[int] = []
            for data, into in ((feature.get(2, b""), tags), (feature[4], numbers)):
                at = 0
                while at < len(data):
                    one, at = _varint(data, at)
                    into.append(one)
            read = {keys[k]: values[v] for k, v in zip(tags[::2], tags[1::2], strict=True)}
            if feature[3] == 1:
                read["at"] = tuple((v >> 1) ^ -(v & 1) for v in numbers[1:3])
            features.append(read)
    return found


def tile_at(z: int, lng: float = 113.1, lat: float = 23.0) -> Tile:
    n = 2**z
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * n
    return Tile(z, int((lng + 180) / 360 * n), int(y))


def drawn(session: Session, layer: str, tile: Tile, **known: Any) -> dict[str, list[dict[str, Any]]]:
    return decode(tiles.draw(session, layer, tile, at=known.get("at", NOW)))


@pytest.mark.parametrize(("z", "x", "y"), [(-1, 0, 0), (23, 0, 0), (3, 8, 0), (3, 0, 8), (3, -1, 0), (10**9, 0, 0)])
def test_a_square_outside_the_pyramid_is_no_tile(z: int, x: int, y: int) -> None:
    with pytest.raises(NotFound):
        Tile(z, x, y)


def test_bounds_are_those_of_the_database(session: Session) -> None:
    for z, x, y in ((0, 0, 0), (11, 1667, 887), (16, 53356, 28400)):
        row = session.execute(
            text(
                "SELECT ST_XMin(e) AS w, ST_YMin(e) AS s, ST_XMax(e) AS e, ST_YMax(e) AS n"
                " FROM ST_Transform(ST_TileEnvelope(:z, :x, :y), 4490) AS e"
            ),
            {"z": z, "x": x, "y": y},
        ).one()
        assert Tile(z, x, y).bounds() == pytest.approx((row.w, row.s, row.e, row.n), abs=1e-9)


def test_a_case_lies_where_the_projection_of_the_database_puts_it(session: Session, as_actor: Any) -> None:
    dice = random.Random(5)
    for _ in range(20):
        make_case(session, lng=dice.uniform(113.05, 113.15), lat=dice.uniform(22.95, 23.05))
    tile = tile_at(11)
    wanted = {
        row.number: (row.x, row.y)
        for row in session.execute(
            text(
                "SELECT number, ST_X(g) AS x, ST_Y(g) AS y FROM cases, LATERAL ST_AsMVTGeom("
                "ST_Transform(geom, 3857), ST_TileEnvelope(:z, :x, :y), 4096, 0, true) AS g"
                " WHERE district_code = :d AND g IS NOT NULL"
            ),
            {"z": tile.z, "x": tile.x, "y": tile.y, "d": DISTRICT},
        )
    }
    shown = {f["number"]: f["at"] for f in drawn(as_actor(actor(Role.OFFICIAL)), "cases", tile)["cases"]}
    assert shown.keys() == wanted.keys()
    for number, (x, y) in shown.items():
        # The two round at different moments.
        assert abs(x - wanted[number][0]) <= 1
        assert abs(y - wanted[number][1]) <= 1


@pytest.mark.parametrize("z", [9, 12, 14])
def test_every_open_case_is_in_exactly_one_tile(session: Session, as_actor: Any, z: int) -> None:
    dice = random.Random(z)
    points = [(dice.uniform(113.0, 113.2), dice.uniform(22.9, 23.1)) for _ in range(40)]
    numbers = [make_case(session, lng=lng, lat=lat).number for lng, lat in points]
    session = as_actor(actor(Role.SUPERVISOR))
    squares = {tile_at(z, lng, lat) for lng, lat in points}
    shown = [f["number"] for square in squares for f in drawn(session, "cases", square).get("cases", [])]
    assert sorted(shown) == sorted(numbers)


def test_a_tile_tells_what_the_card_needs_and_nothing_of_what_was_said(session: Session, as_actor: Any) -> None:
    case = make_case(session, unit="U1", category_code="1001", phone="13800000000", due_in=timedelta(hours=1))
    raw = tiles.draw(as_actor(actor(Role.OFFICIAL)), "cases", tile_at(12), at=NOW)
    (feature,) = decode(raw)["cases"]
    assert feature["number"] == case.number
    assert (feature["state"], feature["category"], feature["town"]) == ("dispatched", "1001", TOWN)
    assert feature["due"] == int((NOW + timedelta(hours=1)).timestamp())
    assert feature["received"] == int(NOW.timestamp())
    assert case.text.encode() not in raw


def test_a_case_is_red_from_the_second_its_limit_is_over(session: Session, as_actor: Any) -> None:
    make_case(session, due_in=timedelta(hours=1), warned=2)
    session = as_actor(actor(Role.OFFICIAL))
    (before,) = drawn(session, "cases", tile_at(12), at=NOW + timedelta(minutes=59))["cases"]
    (after,) = drawn(session, "cases", tile_at(12), at=NOW + timedelta(hours=1))["cases"]
    assert (before["colour"], after["colour"]) == (2, 3)


def test_ended_cases_and_cases_without_a_place_are_on_no_tile(session: Session, as_actor: Any) -> None:
    make_case(session, state="closed")
    make_case(session, lng=None)
    assert drawn(as_actor(actor(Role.OFFICIAL)), "cases", tile_at(12)) == {}


@pytest.mark.parametrize(
    ("who", "sees"),
    [
        (actor(Role.OPERATOR), 3),
        (actor(Role.OFFICIAL), 3),
        (actor(Role.OFFICIAL, town=OTHER_TOWN), 1),
        (actor(Role.UNIT, unit="U7"), 1),
        (actor(Role.UNIT, unit="U9"), 0),
        (actor(Role.GRID_WORKER, town=TOWN), 2),
    ],
    ids=lambda value: f"{value.role.value}-{value.town or value.unit}" if isinstance(value, Actor) else str(value),
)
def test_tile_cells_and_list_show_one_and_the_same_scope(
    session: Session, as_actor: Any, who: Actor, sees: int
) -> None:
    make_town(session, OTHER_TOWN)
    make_cell(session)
    make_case(session, cell_code=TOWN + "001001")
    make_case(session, unit="U7", cell_code=TOWN + "001001")
    make_case(session, town_code=OTHER_TOWN, cell_code=TOWN + "001001")
    session = as_actor(who)
    assert len(drawn(session, "cases", tile_at(13)).get("cases", [])) == sees
    assert sum(cell["open"] for cell in drawn(session, "cells", tile_at(13))["cells"]) == sees
    assert in_view(session, Looking(), at=NOW).total == sees


@pytest.mark.parametrize("role", [Role.CITIZEN, Role.ADMIN])
@pytest.mark.parametrize("layer", ["cells", "cases", "heat"])
def test_who_reads_no_cases_gets_no_tile_of_them(as_actor: Any, role: Role, layer: str) -> None:
    session = as_actor(actor(role))
    with pytest.raises(Forbidden):
        tiles.draw(session, layer, tile_at(12), at=NOW)
    with pytest.raises(Forbidden):
        in_view(session, Looking(), at=NOW)


@pytest.mark.parametrize("who", [actor(Role.OFFICIAL, town=TOWN), actor(Role.UNIT, unit="U1"), actor(Role.GRID_WORKER)])
def test_who_sees_a_part_gets_no_counts_of_the_whole(session: Session, as_actor: Any, who: Actor) -> None:
    with pytest.raises(Forbidden):
        tiles.draw(as_actor(who), "heat", tile_at(12), at=NOW)


def test_an_unknown_layer_is_not_found(as_actor: Any) -> None:
    with pytest.raises(NotFound):
        tiles.draw(as_actor(actor(Role.OFFICIAL)), "cases; DROP TABLE cases", tile_at(12), at=NOW)


@pytest.mark.parametrize("z", [7, 9, 10, 12, 13, 16])
def test_heat_tiles_sum_to_all_placed_cases(session: Session, as_actor: Any, z: int) -> None:
    dice = random.Random(z)
    points = [(dice.uniform(113.0, 113.1), dice.uniform(22.95, 23.05)) for _ in range(50)]
    for lng, lat in points:
        make_case(session, lng=lng, lat=lat, state=dice.choice(["received", "closed"]))
    make_case(session, lng=None)
    tallies.rebuild(session)
    session = as_actor(actor(Role.OFFICIAL))
    squares = {tile_at(z, lng, lat) for lng, lat in points}
    shown = [feature for square in squares for feature in drawn(session, "heat", square)["heat"]]
    assert sum(feature["n"] for feature in shown) == len(points)
    assert all(0 <= part <= 4096 for feature in shown for part in feature["at"])


def test_a_crowded_tile_shows_kept_counts_and_never_more_than_the_limit(
    session: Session, as_actor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "MOST_CASES", 5)
    for i in range(8):
        make_case(session, lng=113.1 + i / 10000)
    tallies.rebuild(session)
    crowded = drawn(as_actor(actor(Role.OFFICIAL)), "cases", tile_at(12))
    assert "cases" not in crowded
    assert sum(feature["n"] for feature in crowded["crowd"]) == 8
    # Counts of everybody's cases would tell a town what it may not see: it gets some of its own.
    part = drawn(as_actor(actor(Role.OFFICIAL, town=TOWN)), "cases", tile_at(12))
    assert "crowd" not in part
    assert 5 <= len(part["cases"]) <= 6


def test_towns_have_a_shape_in_every_tile_they_touch_and_a_name_in_one(session: Session, as_actor: Any) -> None:
    make_town(session)
    session = as_actor(actor(Role.CITIZEN))
    squares = {tile_at(13, 113.1 + dx, 23.0 + dy) for dx in (-0.0099, 0.0099) for dy in (-0.0099, 0.0099)}
    found = [drawn(session, "towns", square) for square in squares]
    assert all(tile["towns"][0]["code"] == TOWN for tile in found)
    assert sum(len(tile.get("towns_names", [])) for tile in found) == 1


def test_layers_are_empty_where_they_would_be_a_blur(session: Session, as_actor: Any) -> None:
    make_cell(session)
    assert tiles.draw(as_actor(actor(Role.OFFICIAL)), "cells", tile_at(8), at=NOW) == b""


def test_the_stamp_changes_with_every_entry_and_with_the_ground(session: Session) -> None:
    case = make_case(session)
    seen = [tiles.stamp(session, at=NOW)]
    make_entry(session, case, "note", at=NOW)
    seen.append(tiles.stamp(session, at=NOW))
    # An entry that is older than the newest one and becomes visible later, as a slow transaction's does.
    make_entry(session, case, "note", at=NOW - timedelta(seconds=5))
    seen.append(tiles.stamp(session, at=NOW))
    session.execute(text("UPDATE district SET revision = revision + 1 WHERE district_code = :d"), {"d": DISTRICT})
    seen.append(tiles.stamp(session, at=NOW))
    assert len(set(seen)) == len(seen)
    assert tiles.stamp(session, at=NOW) == seen[-1]


def test_two_who_see_the_same_share_a_tile_and_others_do_not() -> None:
    assert tiles.scope(actor(Role.OFFICIAL)) == tiles.scope(actor(Role.OPERATOR))
    parts = [
        actor(Role.OFFICIAL),
        actor(Role.OFFICIAL, town=TOWN),
        actor(Role.UNIT, unit="U1"),
        actor(Role.UNIT, unit="U2"),
        actor(Role.GRID_WORKER, town=TOWN),
    ]
    assert len({tiles.scope(part) for part in parts}) == len(parts)


def test_cases_in_a_box_are_found_by_index_under_the_row_policy(database: str) -> None:
    with full_table(actor(Role.OFFICIAL)) as session:
        leakproof = session.scalar(
            text("SELECT proleakproof FROM pg_proc WHERE oid = 'geometry_overlaps(geometry, geometry)'::regprocedure")
        )
        assert leakproof, "run ALTER FUNCTION geometry_overlaps(geometry, geometry) LEAKPROOF (docs/decisions/0080)"
        lines = session.scalars(
            text(
                "EXPLAIN SELECT number FROM cases WHERE district_code = :d AND open"
                " AND geom && ST_MakeEnvelope(113, 23, 113.01, 23.01, 4490)"
            ),
            {"d": DISTRICT},
        ).all()
    assert any("ix_cases_open_geom" in line for line in lines), "\n".join(lines)


def test_the_list_puts_the_most_pressing_first_and_counts_all(session: Session, as_actor: Any) -> None:
    late = make_case(session, due_in=timedelta(hours=-2))
    soon = make_case(session, due_in=timedelta(hours=1), warned=2)
    make_case(session, due_in=timedelta(days=3))
    make_case(session, lng=None)
    make_case(session, lng=114.5)
    session = as_actor(actor(Role.OFFICIAL))
    shown = in_view(session, Looking(box=(113.0, 22.9, 113.2, 23.1)), at=NOW)
    assert [line.number for line in shown.lines][:2] == [late.number, soon.number]
    assert shown.by_colour == {0: 1, 1: 0, 2: 1, 3: 1}
    assert shown.unplaced == 1
    assert in_view(session, Looking(colour=3), at=NOW).total == 1
    assert in_view(session, Looking(state="dispatched"), at=NOW).total == 0
    assert in_view(session, Looking(since=NOW + timedelta(seconds=1)), at=NOW).total == 0


def test_the_list_is_bounded(session: Session, as_actor: Callable[[Actor], Session], monkeypatch: Any) -> None:
    monkeypatch.setattr("maps.in_view.MOST_LINES", 3)
    for _ in range(5):
        make_case(session)
    shown = in_view(as_actor(actor(Role.OFFICIAL)), Looking(box=EVERYWHERE), at=NOW)
    assert (len(shown.lines), shown.total) == (3, 5)


def test_the_programs_session_sees_closed_cases_nowhere_on_the_map(session: Session) -> None:
    case = make_case(session)
    session.execute(
        update(Case).where(Case.district_code == DISTRICT, Case.id == case.id).values(open=False, state="closed")
    )
    assert program().role is Role.SYSTEM
    assert in_view(session, Looking(), at=NOW).total == 0

"""The real district's derived grid, changed for a day with its effects; and what the lock on shared ground costs.

The data are given beside the repository and never copied into it: without them the tests are skipped aloud.
"""

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import shapely
from sqlalchemy import text

from core.actor import system
from core.datums import ewkb
from core.db import make_engine, snapshot, transaction
from core.ids import new_id
from core.settings import settings
from dispatch.load import load
from dispatch.regrid import case_effects
from grid import changes, effects, moves, versions
from grid.changes import Change
from grid.moves import Homes
from grid.relay import outline, square_metres
from grid.sites import site_of
from tests import builders

pytestmark = pytest.mark.database

CODE = "440605"
AT = datetime(2026, 11, 18, 6, 0, tzinfo=UTC)
DAY = AT + timedelta(days=14)


class Undo(Exception):
    """Rolls a measured transaction back."""


def test_the_real_grid_is_changed_for_a_day_with_its_effects(database):
    data = settings().data
    if not (data / "nanhai" / "pois.csv").is_file():
        pytest.skip(f"the given data are absent at {data}: the real grid was not changed")
    load(data, at=AT)
    program = system(CODE, "tests")
    with snapshot(program) as session:
        biggest = session.execute(
            text(
                "SELECT community_code, count(*) AS n, sum(places) AS p FROM cell WHERE district_code = :d GROUP BY 1"
                " ORDER BY p DESC LIMIT 1"
            ),
            {"d": CODE},
        ).one()
        now = versions.today(session, communities=[biggest.community_code])
        standing = session.scalar(
            text("SELECT count(*) FROM cell_version WHERE district_code = :d AND ended_by IS NULL"), {"d": CODE}
        )
        assert standing == session.scalar(text("SELECT count(*) FROM cell WHERE district_code = :d"), {"d": CODE}) > 250
        fullest = session.scalar(
            text("SELECT code FROM cell WHERE district_code = :d AND community_code = :c ORDER BY places DESC LIMIT 1"),
            {"d": CODE, "c": biggest.community_code},
        )
        site = site_of(session, biggest.community_code)
    with transaction(program) as session:
        shape = now.cells.geom[now.cells.code.index(fullest)]
        west, south, east, north = shapely.bounds(shape)
        chance = np.random.default_rng(7)
        for lng, lat in zip(chance.uniform(west, east, 60), chance.uniform(south, north, 60), strict=True):
            builders.make_case(session, district=CODE, lng=lng, lat=lat, town_code=fullest[:9], cell_code=fullest)
    with transaction(program) as session:
        move = moves.split_count(now, fullest, 3, used=now.cells.code, homes=Homes(site.points, site.households))
        change = Change(
            kind=move.kind,
            takes=move.takes,
            cells=move.cells,
            valid_from=DAY,
            reason="户数超过上限",
            document="试验文号",
            estimated=move.estimated,
            seen=now.seen(),
        )
        key = changes.plan(session, change, at=AT)
    with snapshot(program) as session:
        began = time.perf_counter()
        told, cases = effects.try_out(session, key, at=AT), case_effects(session, effects.read(session, key))
        tried = time.perf_counter() - began
    places = next(one for one in told.moves if one.table == "place")
    assert places.total > 10
    assert 0 < cases.moving < cases.open <= 60
    began = time.perf_counter()
    with transaction(program) as session:
        assert changes.apply_due(session, at=DAY - timedelta(minutes=1)) == []
        (done,) = changes.apply_due(session, at=DAY + timedelta(minutes=3))
    applied = time.perf_counter() - began
    assert (done.state, done.moved["place"]) == ("applied", places.total)
    with snapshot(program) as session:
        after = versions.today(session, communities=[biggest.community_code]).cells
        assert len(after.code) == len(now.cells.code) + 2
        rest = shapely.symmetric_difference(outline(after.geom), outline(now.cells.geom))
        assert float(square_metres([rest])[0]) < 0.5
        middle = shapely.point_on_surface(after.geom[after.code.index(move.cells.code[1])])
        assert versions.cell_at(session, middle.x, middle.y, at=DAY - timedelta(seconds=1)).code == fullest
        assert versions.cell_at(session, middle.x, middle.y, at=DAY).code == move.cells.code[1]
        wrong = session.scalar(
            text(
                "SELECT count(*) FROM place AS p JOIN cell AS c ON c.district_code = p.district_code AND c.code = p.cell_code"
                " WHERE p.district_code = :d AND c.district_code = :d AND NOT ST_Covers(c.geom, p.geom)"
            ),
            {"d": CODE},
        )
        assert wrong == 0, "every place lies in the cell it says"
    # Loaded again with another option: cells that people drew are not put back to the derived ones.
    assert load(data, at=DAY + timedelta(days=1), synthetic_join=False).changed
    with snapshot(program) as session:
        assert versions.today(session, communities=[biggest.community_code]).cells.code == after.code
    print(f"\nNanhai: {standing} cells; tried in {tried:.2f} s, applied in {applied:.2f} s")  # noqa: T201  a figure


def test_the_lock_on_shared_ground_is_cheap_for_five_thousand_cells(database):
    """5,000 new versions in one statement: the lock compares neighbours, not all with all, which would take a minute."""
    side = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    wave = np.column_stack((np.cos(side), np.sin(side))) * 2e-5
    program = system("990300", "tests")

    def square(i: int, j: int) -> bytes:
        # Wavy edges with twenty corners a side, as roads have, shared exactly with the neighbours.
        def edge(x: float, y: float, dx: float, dy: float) -> list[tuple[float, float]]:
            return [(x + dx * k / 16, y + dy * k / 16 + (wave[k][1] if dx else 0)) for k in range(16)]

        x, y, d = 113 + i * 0.002, 23 + j * 0.002, 0.002
        up = [(x + d, y + d * k / 16) for k in range(16)]
        ring = [
            *edge(x, y, d, 0),
            *up,
            *reversed(edge(x, y + d, d, 0)),
            *[(x, y + d * k / 16) for k in reversed(range(16))],
        ]
        return ewkb(shapely.MultiPolygon([shapely.Polygon(ring).buffer(0)]))

    cells = [
        (f"99030000{i // 10:02d}{j // 10:02d}{(i % 10) * 10 + j % 10:03d}", square(i, j))
        for i in range(100)
        for j in range(50)
    ]
    assert len({code for code, _ in cells}) == 5000
    took = {}
    owner = make_engine(settings().owner_url, pool_size=1)
    for lock in ("DISABLE", "ENABLE"):
        with owner.begin() as link:
            link.execute(text(f"ALTER TABLE cell_version {lock} TRIGGER cell_version_ground"))
        with suppress(Undo), transaction(program) as session:
            builders.make_district(session, "990300")
            change = new_id()
            session.execute(
                text(
                    "INSERT INTO cell_change (district_code, id, kind, state, reason, valid_from, seen, planned_name,"
                    " planned_at, applied_at) VALUES ('990300', :id, 'load', 'applied', '', :at, '{}', 'x', :at, :at)"
                ),
                {"id": change, "at": AT},
            )
            began = time.perf_counter()
            session.execute(
                text(
                    "INSERT INTO cell_version (district_code, id, code, community_code, kind, geom, validity, change_id)"
                    " SELECT '990300', s.id, s.code, left(s.code, 12), 'mixed', ST_GeomFromEWKB(s.geom),"
                    " tstzrange(:at, NULL), :change FROM unnest(CAST(:codes AS text[]), CAST(:ids AS uuid[]),"
                    " CAST(:geoms AS bytea[])) AS s(code, id, geom)"
                ),
                {
                    "at": AT,
                    "change": change,
                    "codes": [code for code, _ in cells],
                    "ids": [new_id() for _ in cells],
                    "geoms": [shape for _, shape in cells],
                },
            )
            took[lock] = time.perf_counter() - began
            raise Undo
    owner.dispose()
    print(f"\n5,000 versions: {took['DISABLE']:.2f} s without the lock, {took['ENABLE']:.2f} s with it")  # noqa: T201
    assert took["ENABLE"] - took["DISABLE"] < 20

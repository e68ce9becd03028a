"""Point to cell, in process beside SQL. `python -m bench locate`.

Cells are invented: polygons with crooked edges that tile forty kilometres. The SQL reference runs in the database of
WANGGE_DATABASE_URL in temporary tables, with the cells as the outer side of the join, which is its best order.
Answers are compared one by one.
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import shapely
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from bench.rows import Row
from core.db import engine
from grid.locator import Locator

WEST, SOUTH, EAST, NORTH = 112.85, 22.85, 113.25, 23.25


def tessellation(count: int) -> tuple[list[str], NDArray[np.object_]]:
    """Return codes and polygons that tile the box, their edges densified and bent alike on both sides."""
    rng = np.random.default_rng(1)
    seeds = shapely.MultiPoint(rng.uniform((WEST, SOUTH), (EAST, NORTH), (count, 2)))
    cells = shapely.get_parts(shapely.voronoi_polygons(seeds, extend_to=shapely.box(WEST, SOUTH, EAST, NORTH)))
    cells = shapely.segmentize(cells, 0.0004)
    # The same bend for the same vertex, so that neighbours still share their edges.
    bent = shapely.transform(cells, lambda at: at + 0.00008 * np.sin(at[:, ::-1] * 9000))
    return [f"990101001{number:06d}" for number in range(len(bent))], bent


def median_of(rounds: int, call: Callable[[], object]) -> float:
    took = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def prepare(connection: Connection, codes: list[str], cells: NDArray[np.object_], points: NDArray[np.float64]) -> None:
    """Fill temporary tables of this connection with the cells and the points, indexed and analysed."""
    for line in (
        "CREATE TEMP TABLE bench_cell (code text, geom geometry(Geometry, 4490))",
        "CREATE TEMP TABLE bench_point (id int, geom geometry(Point, 4490))",
    ):
        connection.execute(text(line))
    connection.execute(
        text(
            "INSERT INTO bench_cell SELECT c, ST_GeomFromWKB(g, 4490) "
            "FROM unnest(CAST(:codes AS text[]), CAST(:shapes AS bytea[])) AS t (c, g)"
        ),
        {"codes": codes, "shapes": [bytes(shape) for shape in shapely.to_wkb(cells)]},
    )
    connection.execute(
        text(
            "INSERT INTO bench_point SELECT i, ST_SetSRID(ST_Point(x, y), 4490) "
            "FROM unnest(CAST(:xs AS float8[]), CAST(:ys AS float8[])) WITH ORDINALITY AS t (x, y, i)"
        ),
        {"xs": points[:, 0].tolist(), "ys": points[:, 1].tolist()},
    )
    for line in (
        "CREATE INDEX ON bench_cell USING gist (geom)",
        "CREATE INDEX ON bench_point USING gist (geom)",
        "ANALYZE bench_cell",
        "ANALYZE bench_point",
        "SET LOCAL enable_seqscan = off",
        "SET LOCAL jit = off",
    ):
        connection.execute(text(line))


#: LATERAL with an offset keeps the planner from turning the join around.
JOIN = text("""
    SELECT p.id, min(c.code) FROM bench_cell c
    CROSS JOIN LATERAL (SELECT id FROM bench_point q WHERE ST_Covers(c.geom, q.geom) OFFSET 0) p
    GROUP BY p.id
""")
SINGLE = text("SELECT min(code) FROM bench_cell WHERE ST_Covers(geom, ST_SetSRID(ST_Point(:x, :y), 4490))")


def run(quick: bool) -> list[Row]:  # noqa: FBT001  the signature of every bench
    many = 40_000 if quick else 1_000_000
    codes, cells = tessellation(3_000)
    points = np.random.default_rng(2).uniform((WEST, SOUTH), (EAST, NORTH), (many, 2))
    locator = Locator(codes, cells)
    bulk = median_of(5, lambda: locator.locate_many(points))
    took = []
    for lng, lat in points[:20_000].tolist():
        begin = time.perf_counter_ns()
        locator.locate(lng, lat)
        took.append(time.perf_counter_ns() - begin)
    single = sorted(took)[len(took) // 2] / 1000
    with engine().connect() as connection:
        prepare(connection, codes, cells, points)
        answers: dict[int, str] = {}
        sql = median_of(3, lambda: answers.update((row[0], row[1]) for row in connection.execute(JOIN)))
        spot = {"x": points[0, 0], "y": points[0, 1]}
        one = median_of(500, lambda: connection.execute(SINGLE, spot).scalar_one()) * 1e6
        connection.rollback()
    found = locator.locate_many(points).tolist()
    unequal = sum(codes_at(locator, at) != answers.get(i) for i, at in enumerate(found, 1))
    vertices = int(shapely.get_num_coordinates(cells).sum())
    note = (
        f"{unequal} of {many:,} answers differ; {len(codes):,} cells, {vertices:,} vertices; reference: best SQL join"
    )
    return [
        Row("point → cell, bulk", bulk * 1e3, sql * 1e3, "ms", bulk / sql, "≤ 0.25 × the time of SQL", note),
        Row("point → cell, single", single, one, "µs, p50", single / one, "≤ 5 µs", "reference: one SQL query"),
    ]


def codes_at(locator: Locator, index: int) -> str | None:
    return None if index < 0 else locator.codes[index]


if __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print(row)

"""Checking 5,000 cells before they may become the grid, beside the same rules in SQL. `python -m bench check`.

Cells are invented: crooked edges that neighbours share, nine to a community. The reference looks for broken polygons,
overlaps, gaps and ground outside in PostGIS, with spatial indexes, in the database of WANGGE_DATABASE_URL; a second one
intersects every pair of cells in Python, as one would at first. All must find the same planted faults.
"""

import time
from collections.abc import Callable

import numpy as np
import shapely
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from bench.rows import Row
from core.datums import Plane
from core.db import engine
from grid import derive
from grid.cellset import CellSet
from grid.checking import check
from grid.findings import SPECK_M2, Known

PLANE = Plane.at(113.05, 23.05)
#: Communities east and north, cells in each direction of one, corners on an edge, metres of a cell.
EAST, NORTH, EACH, BENDS, SIDE = 25, 23, 3, 20, 300.0
#: Shifted corners: as many faults at least.
FAULTS = 60
GOAL = "5,000 cells under 10 s"


def ground(east: int, north: int, rng: np.random.Generator) -> tuple[CellSet, Known]:
    """Return cells that tile `east * north` communities exactly, and what is known of those."""
    wide, high = east * EACH, north * EACH
    x, y = np.meshgrid(np.arange(wide + 1) * SIDE, np.arange(high + 1) * SIDE, indexing="ij")
    nodes = np.stack((x, y), -1) + rng.uniform(-0.15, 0.15, (*x.shape, 2)) * SIDE

    def edge(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        along, across = b - a, np.array([a[1] - b[1], b[0] - a[0]])
        at = np.linspace(0, 1, BENDS + 2)[1:-1, None]
        return np.vstack((a, a + at * along + across * rng.uniform(-0.012, 0.012, (BENDS, 1)), b))

    flat = {(i, j): edge(nodes[i, j], nodes[i + 1, j]) for i in range(wide) for j in range(high + 1)}
    steep = {(i, j): edge(nodes[i, j], nodes[i, j + 1]) for i in range(wide + 1) for j in range(high)}
    code, community, geom, whole = [], [], [], {}
    for number, (a, b) in enumerate((a, b) for a in range(east) for b in range(north)):
        name = f"990101{number // 900 + 1:03d}{number % 900 + 1:03d}"
        mine = []
        for i in range(a * EACH, (a + 1) * EACH):
            for j in range(b * EACH, (b + 1) * EACH):
                sides = (flat[i, j], steep[i + 1, j][1:], flat[i, j + 1][::-1][1:], steep[i, j][::-1][1:])
                mine.append(shapely.Polygon(np.round(PLANE.to_degrees(np.vstack(sides)), 7)))
        shapes = np.array(mine, dtype=object)
        whole[name] = shapely.coverage_union_all(shapes)
        for k, at in enumerate(derive.number(shapes), 1):
            code.append(f"{name}{k:03d}")
            community.append(name)
            geom.append(shapes[at])
    count = len(code)
    assert shapely.is_valid(geom).all(), "the crooked edges cross"
    return CellSet(code, community, ["mixed"] * count, np.array(geom, dtype=object), [None] * count), Known(whole)


def spoilt(cells: CellSet, rng: np.random.Generator, *, share: float = 0.0) -> CellSet:
    """Return the cells with `FAULTS` corners moved by metres, or with a share of all corners moved by half a metre."""
    geom = cells.geom.copy()
    if share:
        for i, shape in enumerate(geom):
            ring = shapely.get_coordinates(shape)
            ring[:-1] += rng.normal(0, 5e-6, (len(ring) - 1, 2)) * (rng.random((len(ring) - 1, 1)) < share)
            ring[-1] = ring[0]
            geom[i] = shapely.Polygon(ring)
    else:
        for i in rng.choice(len(geom), FAULTS, replace=False):
            geom[i] = next(bent for bent in iter(lambda i=i: _bent(cells.geom[i], rng), None) if bent.is_valid)
    return CellSet(cells.code, cells.community, cells.kind, geom, cells.households)


def _bent(shape: shapely.Polygon, rng: np.random.Generator) -> shapely.Polygon:
    ring = shapely.get_coordinates(shape)
    ring[rng.integers(1, len(ring) - 1)] += rng.choice((-1, 1), 2) * 3e-5
    return shapely.Polygon(ring)


_SQL = """
WITH pair AS (
  SELECT 1 FROM bench_cell a JOIN bench_cell b ON a.community = b.community AND a.code < b.code AND a.geom && b.geom
  WHERE ST_Area(ST_Intersection(a.geom, b.geom)) * :scale >= :speck
), beyond AS (
  SELECT 1 FROM bench_cell c JOIN bench_area a USING (community)
  WHERE ST_Area(ST_Difference(c.geom, a.geom)) * :scale >= :speck
), bare AS (
  SELECT 1 FROM bench_area a JOIN (SELECT community, ST_Union(geom) AS geom FROM bench_cell GROUP BY community) u
  USING (community) WHERE ST_Area(ST_Difference(a.geom, u.geom)) * :scale >= :speck
)
SELECT (SELECT count(*) FROM bench_cell WHERE NOT ST_IsValid(geom)), (SELECT count(*) FROM pair),
       (SELECT count(*) FROM beyond), (SELECT count(*) FROM bare)
"""


def fill(link: Connection, cells: CellSet, known: Known) -> None:
    for line in (
        "DROP TABLE IF EXISTS bench_cell, bench_area",
        "CREATE TEMP TABLE bench_cell (code text, community text, geom geometry(Geometry, 4490))",
        "CREATE TEMP TABLE bench_area (community text, geom geometry(Geometry, 4490))",
    ):
        link.execute(text(line))
    put = "INSERT INTO {} SELECT {}, ST_GeomFromWKB(g, 4490) FROM unnest({}) AS t({}, g)"
    link.execute(
        text(put.format("bench_cell", "c, m", "CAST(:c AS text[]), CAST(:m AS text[]), CAST(:g AS bytea[])", "c, m")),
        {"c": cells.code, "m": cells.community, "g": list(shapely.to_wkb(cells.geom))},
    )
    link.execute(
        text(put.format("bench_area", "m", "CAST(:m AS text[]), CAST(:g AS bytea[])", "m")),
        {"m": list(known.communities), "g": [shapely.to_wkb(one) for one in known.communities.values()]},
    )
    for line in (
        "CREATE INDEX ON bench_cell USING gist (geom)",
        "CREATE INDEX ON bench_cell (community)",
        "ANALYZE bench_cell",
        "ANALYZE bench_area",
    ):
        link.execute(text(line))


def by_sql(link: Connection) -> tuple[int, ...]:
    scale = PLANE.per_lng * PLANE.per_lat
    return tuple(link.execute(text(_SQL), {"scale": scale, "speck": SPECK_M2}).one())


def by_pairs(cells: CellSet) -> int:
    """Return how many pairs of all overlap, one row against all after it."""
    found, scale = 0, PLANE.per_lng * PLANE.per_lat
    for i, shape in enumerate(cells.geom):
        found += int((shapely.area(shapely.intersection(shape, cells.geom[i + 1 :])) * scale >= SPECK_M2).sum())
    return found


def ours(cells: CellSet, known: Known) -> tuple[int, ...]:
    """Return the same four counts as `by_sql`, out of the findings."""
    found = check(cells, known)
    pairs = {one.cells for one in found if one.rule == "overlap" and one.cells}
    beyond = {one.cells for one in found if one.rule == "outside" and one.cells}
    bare = {one.params["lng"] for one in found if one.rule in ("gap", "hole") and one.cells}
    return sum(one.rule == "crossing" for one in found), len(pairs), len(beyond), len(bare)


def timed(call: Callable[[], object], rounds: int) -> tuple[float, object]:
    took, answer = [], None
    for _ in range(rounds):
        began = time.perf_counter()
        answer = call()
        took.append(time.perf_counter() - began)
    return float(np.median(took)), answer


def run(quick: bool) -> list[Row]:  # noqa: FBT001  the signature of every bench
    rng = np.random.default_rng(11)
    rounds = 1 if quick else 3
    cells, known = ground(EAST, NORTH, rng)
    faulty, rough = spoilt(cells, rng), spoilt(cells, rng, share=1.0)
    few, small = ground(EAST // 5, NORTH // 2, np.random.default_rng(12))
    rows = []
    with engine().connect() as link, link.begin():
        for name, given in (("sound", cells), (f"{FAULTS} corners moved", faulty)):
            fill(link, given, known)
            mine, found = timed(lambda given=given: ours(given, known), rounds)
            theirs, told = timed(lambda: by_sql(link), rounds)
            assert found[:3] == told[:3], (found, told)
            assert (found[3] > 0) == (told[3] > 0), (found, told)
            note = f"every rule, against overlaps, gaps, outside and validity alone in SQL; overlaps, outside: {told[1]}, {told[2]}, equal"
            rows.append(Row(f"check {len(cells.code):,} cells, {name}", mine, theirs, "s", theirs / mine, GOAL, note))
        link.rollback()
    mine, _ = timed(lambda: check(rough, known), 1)
    rows.append(
        Row(
            f"check {len(cells.code):,} cells, every corner half a metre off",
            mine,
            10.0,
            "s",
            10.0 / mine,
            GOAL,
            "reference: the goal",
        )
    )
    mine, _ = timed(lambda: check(few, small), rounds)
    theirs, pairs = timed(lambda: by_pairs(few), 1)
    assert pairs == 0
    rows.append(
        Row(
            f"check {len(few.code):,} cells beside every pair",
            mine,
            theirs,
            "s",
            theirs / mine,
            "",
            "the reference looks for overlaps only",
        )
    )
    return rows

"""Proposed cells beside naive ones, over the same ground and the same number of cells. `python -m bench draw`.

Futian: real roads (OpenStreetMap), everything else INVENTED from a seed; half of the communities was held back while
weights were chosen, and both halves are told. Fiction: the fictional district, whose roads and households are known.
Naive: the straight cuts of `grid.derive`, and k-means of the homes with the Voronoi cells of its centres.
Ratios: share inside the limits, compactness and share on real lines ours ÷ naive; variation and cut estates naive ÷ ours.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from bench.draw_ground import futian, kmeans
from bench.rows import Row
from core.settings import ROOT
from grid.derive import first_hit
from grid.drawing import Figures, Site, Weights, figures, propose
from grid.drawing.propose import divided
from grid.fiction import build
from grid.fiction_lines import estate_walls
from grid.sites import use_of

DATA = Path(os.environ.get("WANGGE_DATA", ROOT.parent / "shared" / "data"))
Sum = tuple[list[Figures], list[Figures], list[Figures]]


def fiction(communities: int) -> list[Site]:
    """Return communities of the fictional district with its own roads, estates and households."""
    made = build(seed=7, households=20_000)
    places = made.places
    homes = np.flatnonzero(places.buildings)
    walls = estate_walls(places.lng_lat[homes], places.cell[homes], made.cell_shape, made.road_shape[made.lane])
    there = np.array([wall is not None for wall in walls])
    uses = np.array([use_of(path) for path in places.type_path], dtype=np.intp)
    # Every door has the same share of its cell's households, those of an estate ten.
    doors = np.concatenate((made.doors.lng_lat, places.lng_lat))
    cell = np.concatenate((made.doors.cell, places.cell))
    share = np.concatenate((np.ones(len(made.doors.cell)), np.where(places.buildings > 0, 10.0, 0.0)))
    share *= made.households[cell] / np.bincount(cell, weights=share, minlength=len(made.cell_code))[cell]
    use = np.concatenate((np.full(len(made.doors.cell), -1), uses))
    total = np.bincount(uses[uses >= 0], minlength=3)
    sites = []
    for code, shape in list(zip(made.community_code, made.community_shape, strict=True))[:communities]:
        mine = shapely.contains(shape, walls[there])
        near = shapely.intersects(shape, made.road_shape)
        at = first_hit(np.array([shape], dtype=object), shapely.points(doors)) == 0
        sites.append(
            Site(
                code,
                shape,
                roads=made.road_shape[near],
                road_class=[kind for kind, on in zip(made.road_class, near, strict=True) if on],
                estates=walls[there][mine],
                points=doors[at],
                households=share[at],
                use=use[at],
                usual=total / total.sum(),
            )
        )
    return sites


def measured(sites: Sequence[Site]) -> tuple[Sum, float, float]:
    """Return the figures of ours, straight cuts and k-means, and the longest proposal and longest figures in s."""
    ours, straight, means = [], [], []
    longest = counting = 0.0
    for site in sites:
        began = time.perf_counter()
        made = propose(site)
        longest = max(longest, time.perf_counter() - began)
        began = time.perf_counter()
        ours.append(figures(made.cells, site))
        counting = max(counting, time.perf_counter() - began)
        count = len(made.cells.code)
        plain = divided(site, Weights(), count=count)
        assert plain is not None
        straight.append(figures(plain, site))
        means.append(figures(kmeans(site, count), site))
    return (ours, straight, means), longest, counting


def _mean(found: Sequence[Figures], of: Callable[[Figures], float | None]) -> float:
    """Return the mean over communities, each counted by its cells."""
    values: NDArray[Any] = np.array([(of(one), len(one.cells)) for one in found if of(one) is not None], dtype=float)
    return float(np.average(values[:, 0], weights=values[:, 1])) if len(values) else 0.0


def rows(name: str, found: Sum, note: str) -> list[Row]:
    """Return the rows of one ground: each figure beside both naive splits."""
    ours = found[0]
    made = []
    for peer, label in ((found[1], "straight cuts"), (found[2], "k-means")):
        for work, of, goal in (
            ("residential cells inside 200–500", lambda one: one.within, "more than naive"),
            ("compactness (Polsby–Popper)", lambda one: one.compactness, "≥ 0.8 of naive: roads bend"),
            ("inner boundary on real lines (10 m)", lambda one: one.on_lines, "more than naive"),
        ):
            one, other = _mean(ours, of), _mean(peer, of)
            ratio = one / other if other else float("inf") if one else 1.0
            made.append(Row(f"{name}: {work}", one * 100, other * 100, "%", ratio, goal, f"reference: {label}"))
        one, other = _mean(ours, lambda f: f.variation), _mean(peer, lambda f: f.variation)
        made.append(
            Row(f"{name}: variation of loads", one * 100, other * 100, "%", other / max(one, 1e-9), "less than naive",
                f"reference: {label}")
        )  # fmt: skip
        cut, theirs = (sum(f.cut_estates for f in each) for each in (ours, peer))
        made.append(
            Row(f"{name}: cut estates", cut, theirs, f"of {sum(f.estates for f in ours)}",
                theirs / cut if cut else float(theirs) + 1, "none", f"reference: {label}")
        )  # fmt: skip
    cells = sum(len(one.cells) for one in ours)
    whole = _mean(ours, lambda one: one.contiguous)
    made[0] = replace(
        made[0], note=f"{made[0].note}; {len(ours)} communities, {cells} cells, {whole:.0%} hang together; {note}"
    )
    return made


def run(quick: bool) -> list[Row]:  # noqa: FBT001  the signature of every bench
    found: list[Row] = []
    longest = counting = 0.0
    if (DATA / "futian" / "roads.geojson").is_file():
        sites = [(site, held) for site, held in futian(DATA) if site.households.sum() >= 1_000]
        for held, name in ((False, "Futian, tuned on"), (True, "Futian, held back")):
            mine = [site for site, kept in sites if kept is held][: 2 if quick else None]
            sums, took, counted = measured(mine)
            found += rows(name, sums, "real roads, invented households and estates")
            # The largest community has 10,026 households.
            longest, counting = max(longest, took), max(counting, counted)
    else:
        print(f"  Futian's roads are absent: {DATA}")
    sums, took, counted = measured(fiction(2 if quick else 6))
    found += rows("Fiction", sums, "invented from end to end; estates have walls where there is room")
    longest, counting = max(longest, took), max(counting, counted)
    found.append(
        Row("longest proposal, up to 10,026 households", longest, 20.0, "s", 20.0 / longest, "< 20 s",
            "reference: the goal itself")
    )  # fmt: skip
    found.append(
        Row("longest figures of one community", counting * 1e3, 200.0, "ms", 0.2 / counting, "< 200 ms",
            "reference: the goal itself")
    )  # fmt: skip
    return found


if __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print(row)

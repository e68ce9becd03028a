"""Ground for the bench of proposals: real roads of Futian with invented communities, homes and estates; and a fiction.

Everything but the roads (OpenStreetMap contributors, ODbL) is INVENTED from a seed: there are no open counts of
households. Communities are told apart into those that weights were tuned on and those that were held back.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from core.datums import Plane
from grid.derive import GRID, first_hit, voronoi
from grid.drawing import Site, Weights
from grid.drawing.site import strength

_SEED: Final = 20_261_122
#: Communities that the roads' extent is divided into, and households of all together.
COMMUNITIES: Final = 16
_HOUSEHOLDS: Final = 85_000
#: Classes of roads that people live along, and how densely.
_LIVED: Final = {"residential": 3.0, "living_street": 3.0, "tertiary": 1.5, "unclassified": 1.5, "secondary": 1.0,
                 "service": 0.6, "pedestrian": 1.0, "primary": 0.4}  # fmt: skip
_STEP_M: Final = 18.0
_ESTATES: Final = 170
#: Roads that no invented estate lies across.
_PUBLIC: Final = 0.7


def futian(folder: Path) -> list[tuple[Site, bool]]:
    """Return communities over Futian's real roads, and whether each is held back from tuning."""
    told = json.loads((folder / "futian" / "roads.geojson").read_text("utf-8"))["features"]
    districts = json.loads((folder / "futian" / "districts.geojson").read_text("utf-8"))["features"]
    whole = next(shapely.geometry.shape(one["geometry"]) for one in districts if one["properties"]["qh"] == "福田")
    roads = np.array([shapely.geometry.shape(one["geometry"]) for one in told], dtype=object)
    ranks = [str(one["properties"]["highway"]) for one in told]
    chance = np.random.default_rng(_SEED)
    covered = shapely.intersection(shapely.box(*shapely.total_bounds(roads)), whole)
    west, south, east, north = shapely.bounds(covered)
    plane = Plane.at((west + east) / 2, (south + north) / 2)
    flat = shapely.transform(roads, plane.to_metres)
    points, homes = _homes(flat, ranks, shapely.transform(covered, plane.to_metres), chance)
    estates = _estates(flat, ranks, shapely.transform(covered, plane.to_metres), chance)
    homes = _filled(points, homes, estates, chance)
    centres = _centres(covered, chance)
    parts = voronoi(covered, centres, plane)
    lng_lat = plane.to_degrees(points)
    walls = shapely.set_precision(shapely.transform(estates, plane.to_degrees), GRID)
    community = first_hit(parts, shapely.points(lng_lat))
    sites = []
    for i, part in enumerate(parts):
        shape = shapely.set_precision(max(shapely.get_parts(part), key=shapely.area), GRID)
        # An estate belongs to one community: whose border cuts it, it is not an estate here.
        mine = shapely.contains(shape, walls)
        near = shapely.intersects(shape, roads)
        site = Site(
            f"990403001{i + 1:03d}",
            shape,
            roads=roads[near],
            road_class=[rank for rank, there in zip(ranks, near, strict=True) if there],
            estates=walls[mine],
            estate_name=[f"E{k}" for k in np.flatnonzero(mine)],
            points=lng_lat[community == i],
            households=homes[community == i],
        )
        sites.append((site, i % 2 == 1))
    return sites


def without_estates(site: Site) -> Site:
    """Return the site as if nobody knew where estates are."""
    return replace(site, estates=np.empty(0, dtype=object), estate_name=[])


def _homes(
    roads: NDArray[Any], ranks: list[str], shape: shapely.Geometry, chance: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return doors on both sides of the roads, metres, and households behind each."""
    spots, weights = [], []
    for line, rank in zip(roads, ranks, strict=True):
        dense = _LIVED.get(rank, 0.0)
        length = float(shapely.length(line))
        if not dense or length < _STEP_M:
            continue
        at = np.arange(_STEP_M / 2, length, _STEP_M)
        here = shapely.get_coordinates(shapely.line_interpolate_point(line, at))
        ahead = shapely.get_coordinates(shapely.line_interpolate_point(line, np.minimum(at + 1, length)))
        way = (ahead - here) / np.maximum(np.hypot(*(ahead - here).T), 1e-9)[:, None]
        off = np.column_stack((way[:, 1], -way[:, 0])) * 22
        for side in (off, -off):
            spots.append(here + side)
            weights.append(dense * chance.lognormal(0, 0.9, len(here)))
    points, share = np.concatenate(spots), np.concatenate(weights)
    inside = shapely.contains_xy(shape, points[:, 0], points[:, 1])
    points, share = points[inside], share[inside]
    return points, np.round(share / share.sum() * _HOUSEHOLDS * 0.6)


def _estates(
    roads: NDArray[Any], ranks: list[str], shape: shapely.Geometry, chance: np.random.Generator
) -> NDArray[Any]:
    """Return walled plots beside roads that lie across no public road and not on each other, metres."""
    public = np.array([strength(rank) >= _PUBLIC for rank in ranks])
    tree = shapely.STRtree(roads[public])
    lived = np.flatnonzero(
        [rank in _LIVED and shapely.length(line) > 40 for rank, line in zip(ranks, roads, strict=True)]
    )
    found: list[shapely.Geometry] = []
    while len(found) < _ESTATES:
        line = roads[int(chance.choice(lived))]
        at = float(chance.uniform(0, shapely.length(line)))
        foot, ahead = (
            shapely.get_coordinates(shapely.line_interpolate_point(line, min(at + d, shapely.length(line))))[0]
            for d in (0.0, 1.0)
        )
        way = ahead - foot
        if not np.hypot(*way):
            continue
        way = way / np.hypot(*way)
        into = np.array([way[1], -way[0]]) * (1 if chance.random() < 0.5 else -1)
        wide, deep, back = chance.uniform(70, 190), chance.uniform(60, 160), chance.uniform(9, 16)
        corner = foot + into * back - way * wide / 2
        plot = shapely.Polygon([corner, corner + way * wide, corner + way * wide + into * deep, corner + into * deep])
        taken = any(shapely.intersects(plot, other) for other in found)
        if taken or not shapely.contains(shape, plot) or len(tree.query(plot, predicate="intersects")):
            continue
        found.append(plot)
    return np.array(found, dtype=object)


def _filled(
    points: NDArray[np.float64], homes: NDArray[np.float64], estates: NDArray[Any], chance: np.random.Generator
) -> NDArray[np.float64]:
    """Return the households with those of estates added at the doors inside; estates without doors stay empty."""
    inside = first_hit(estates, shapely.points(points))
    added: NDArray[np.float64] = homes.copy()
    wanted = np.round(chance.uniform(60, 430, len(estates)))
    wanted *= _HOUSEHOLDS * 0.4 / wanted.sum()
    for estate in np.unique(inside[inside >= 0]).tolist():
        mine = np.flatnonzero(inside == estate)
        added[mine] = np.round(wanted[estate] / len(mine))
    return added


def _centres(shape: shapely.Geometry, chance: np.random.Generator) -> NDArray[np.float64]:
    """Return centres of communities that keep some distance: a few steps of Lloyd's from random points."""
    west, south, east, north = shapely.bounds(shape)
    spots = chance.uniform((west, south), (east, north), (20_000, 2))
    spots = spots[shapely.contains_xy(shape, spots[:, 0], spots[:, 1])]
    centres: NDArray[np.float64] = spots[:COMMUNITIES]
    for _ in range(8):
        near = np.argmin(((spots[:, None] - centres[None]) ** 2).sum(axis=2), axis=1)
        centres = np.array([spots[near == k].mean(axis=0) for k in range(COMMUNITIES)])
    return centres


def kmeans(site: Site, count: int, *, seed: int = 0) -> NDArray[Any]:
    """Return the other naive split: k-means of the homes by households, and the Voronoi cells of its centres."""
    from grid import derive

    plane = site.plane
    at = plane.to_metres(site.points)
    chance = np.random.default_rng(seed)
    load = site.loads(Weights())
    centres = at[chance.choice(len(at), min(count, len(at)), replace=False, p=load / load.sum())]
    for _ in range(30):
        near = np.argmin(((at[:, None] - centres[None]) ** 2).sum(axis=2), axis=1)
        weight = np.bincount(near, weights=load, minlength=len(centres))
        moved = (
            np.column_stack([np.bincount(near, weights=load * at[:, k], minlength=len(centres)) for k in (0, 1)])
            / np.maximum(weight, 1e-9)[:, None]
        )
        centres = np.where(weight[:, None] > 0, moved, centres)
    parts = voronoi(site.shape, plane.to_degrees(centres), plane)
    drafts = [(0, part) for part in parts if not shapely.is_empty(part)]
    return derive.lay(np.array([site.shape], dtype=object), {0: site.shape}, [0], drafts).cells

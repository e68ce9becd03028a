"""Reads the given district Nanhai straight into gazetteer rows, for measuring; no database."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import shapely

from core.datums import geometry
from core.settings import settings
from hotline.geocode import AreaEntry, Entry, Gazetteer

DATA = settings().data


def present() -> bool:
    """Return whether the given district is on this machine."""
    return (DATA / "nanhai" / "pois.csv").exists()


def rows_of(name: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file below the given data."""
    with Path(DATA / name).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def areas() -> list[AreaEntry]:
    """Return towns with their polygons and communities with the centres that can be trusted."""
    collection = json.loads((DATA / "nanhai" / "towns.geojson").read_text(encoding="utf-8"))
    shapes = {
        f["properties"]["name"]: geometry(shapely.from_geojson(json.dumps(f["geometry"])), "WGS84")
        for f in collection["features"]
    }
    found: list[AreaEntry] = []
    towns: dict[str, str] = {}
    for row in rows_of("nanhai/communities.csv"):
        towns.setdefault(row["street"], row["code"][:9])
        trusted = int(row["n_poi_mentions"] or 0) >= 2
        found.append(
            AreaEntry(
                level="community",
                code=row["code"],
                name=row["name"],
                aliases=(row["short"],),
                lng=float(row["approx_lng_wgs84"]) if trusted else None,
                lat=float(row["approx_lat_wgs84"]) if trusted else None,
            )
        )
    return found + [
        AreaEntry(level="town", code=code, name=name, polygon=shapes.get(name)) for name, code in towns.items()
    ]


def entries(keep: Callable[[dict[str, str]], bool] = lambda _row: True) -> list[Entry]:
    """Return places and addresses; `keep` holds rows back for measuring."""
    towns = {area.name: area.code for area in areas() if area.level == "town"}
    places = [row for row in rows_of("nanhai/pois.csv") if keep(row)]
    addresses = [row for row in rows_of("nanhai/addresses.csv") if keep(row)]
    made = [
        Entry(
            kind="place",
            name=row["name"],
            lng=float(row["lng_wgs84"]),
            lat=float(row["lat_wgs84"]),
            town_code=towns.get(row["town_by_polygon"], ""),
            address=row["address"],
            category=row["type_raw"],
        )
        for row in places
    ]
    made += [
        Entry(
            kind="address",
            name=row["name"],
            lng=float(row["lng_wgs84"]),
            lat=float(row["lat_wgs84"]),
            town_code=towns.get(row["town_by_polygon"], ""),
            road=row["road"],
            house_no=row["house_no"],
        )
        for row in addresses
    ]
    return made


def elsewhere() -> set[str]:
    """Return the names of provinces, cities and districts of the country."""
    names = {row["name"] for name in ("provinces", "cities", "areas") for row in rows_of(f"divisions/{name}.csv")}
    return {name for name in names if name not in ("市辖区", "县", "城区", "郊区") and len(name) >= 3}


def gazetteer(keep: Callable[[dict[str, str]], bool] = lambda _row: True) -> Gazetteer:
    """Return the gazetteer of the given district; `keep` holds rows back for measuring."""
    everything = areas()
    boundary = shapely.union_all([area.polygon for area in everything if area.polygon is not None])
    return Gazetteer(
        entries(keep), everything, district="南海区", city="佛山市", boundary=boundary, outside=elsewhere()
    )

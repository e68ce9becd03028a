"""Writes a fictional district as a folder in the form that `wangge load` reads (`docs/formats.md`)."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import shapely
import yaml

from grid.fiction import CITY, CODE, NAME, Fiction
from grid.fiction_lines import estate_walls

#: code, name, kind; town offices follow from the towns.
_UNITS: Final = (
    ("QZX", "云河区网格中心", "centre"),
    ("ZJ", "云河区住房建设局", "department"),
    ("CG", "云河区城市管理局", "department"),
    ("HB", "云河区生态环境局", "department"),
    ("GS", "云河区公用事业中心", "department"),
    ("JT", "云河区交通运输局", "department"),
    ("JY", "云河区教育局", "department"),
    ("WT", "云河区文化体育局", "department"),
    ("RS", "云河区人社局", "department"),
    ("SJ", "云河区市场监管局", "department"),
    ("WJ", "云河区卫生健康局", "department"),
    ("MZ", "云河区民政局", "department"),
    ("GA", "云河区公安分局", "department"),
    ("YB", "云河区医疗保障局", "department"),
    ("CL", "云河区残疾人联合会", "department"),
    ("TY", "云河区退役军人事务局", "department"),
    ("ZR", "云河区自然资源局", "department"),
    ("SW", "云河区水务局", "department"),
    ("NY", "云河区农业农村局", "department"),
    ("SF", "云河区司法局", "department"),
    ("YJ", "云河区应急管理局", "department"),
    ("LD", "云河区应急联动中心", "emergency"),
)
#: Category path → unit.
_RULES: Final = (
    ("城乡建设", "ZJ"),
    ("城乡建设/市政道路与井盖", "CG"),
    ("城乡建设/违法建设", "CG"),
    ("城乡建设/城市绿化", "CG"),
    ("城乡建设/供水供电供气", "GS"),
    ("城乡建设/突发险情", "LD"),
    ("环境保护", "HB"),
    ("环境保护/环境卫生", "CG"),
    ("交通运输", "JT"),
    ("教育文体", "JY"),
    ("教育文体/文化体育设施", "WT"),
    ("劳动和社会保障", "RS"),
    ("商贸旅游", "SJ"),
    ("商贸旅游/无照经营与摆卖", "CG"),
    ("商贸旅游/旅游服务", "WT"),
    ("卫生计生", "WJ"),
    ("卫生计生/食品安全", "SJ"),
)
_LIMITS: Final = (
    ("dispatch", "", "", "24h"),
    ("dispatch", "", "emergency", "1h"),
    ("dispatch", "", "utilities", "2h"),
    ("sign", "", "", "4wh"),
    ("reply", "", "", "5wd"),
    ("reply", "enquiry", "", "3wd"),
    ("reply", "complex", "", "15wd"),
    ("callback", "", "", "1wd"),
)
#: Persons of a household, as the national census of 2020 counted them.
_PERSONS: Final = 2.62
#: Names that residents use for elsewhere; invented too.
OUTSIDE: Final = ("锦屏区", "柳溪区", "北原县", "苍梧新区", "临江市", "东陵市", "白鹭洲区", "南屏县")


def write_folder(fiction: Fiction, folder: Path, *, categories: Mapping[str, Iterable[str]]) -> None:
    """Write the district of a `Fiction` with a two-level category tree; files that exist are replaced.

    Longitudes and latitudes are written as WGS84, which equals EPSG:4490 here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    towns, communities = fiction.town_code, fiction.community_code
    _polygons(
        folder / "towns.geojson",
        fiction.town_shape,
        [{"code": code, "name": name} for code, name in zip(towns, fiction.towns, strict=True)],
    )
    _polygons(
        folder / "communities.geojson",
        fiction.community_shape,
        [{"code": code, "name": name} for code, name in zip(communities, fiction.communities, strict=True)],
    )
    _polygons(
        folder / "cells.geojson",
        fiction.cell_shape.tolist(),
        [
            {"code": code, "kind": kind, "households": homes}
            for code, kind, homes in zip(fiction.cell_code, fiction.cell_kind, fiction.households.tolist(), strict=True)
        ],
    )
    _lines(fiction, folder)
    _table(folder / "communities.csv", ("code", "name"), zip(communities, fiction.communities, strict=True))
    _places(fiction, folder / "places.csv")
    _addresses(fiction, folder / "addresses.csv")
    _table(
        folder / "categories.csv",
        ("level1", "level2"),
        ((top, below) for top, names in categories.items() for below in names),
    )
    _answers(fiction, folder)
    households = int(fiction.households.sum())
    manifest = {
        "code": CODE,
        "name": NAME,
        "city_name": CITY,
        "fictional": True,
        "settings": {"seed": fiction.seed, "households": households, "residents": round(households * _PERSONS)},
        "files": {
            "towns": {"file": "towns.geojson", "datum": "WGS84"},
            "communities": {"file": "communities.csv", "datum": "WGS84"},
            "community_polygons": {"file": "communities.geojson", "datum": "WGS84"},
            "cells": {"file": "cells.geojson", "datum": "WGS84"},
            "roads": {"file": "roads.geojson", "datum": "WGS84"},
            "estates": {"file": "estates.geojson", "datum": "WGS84"},
            "places": {"file": "places.csv", "datum": "WGS84"},
            "addresses": {"file": "addresses.csv", "datum": "WGS84"},
        },
    }
    (folder / "district.yaml").write_text(yaml.safe_dump(manifest, allow_unicode=True, sort_keys=False), "utf-8")


def _lines(fiction: Fiction, folder: Path) -> None:
    """Write the roads along their middle, and the ground of those estates that have room for a wall."""
    _polygons(
        folder / "roads.geojson",
        fiction.road_shape.tolist(),
        [
            {"key": f"R{i:06d}", "name": name, "class": kind}
            for i, (name, kind) in enumerate(zip(fiction.roads, fiction.road_class, strict=True))
        ],
    )
    places = fiction.places
    homes = np.flatnonzero(places.buildings)
    grounds = estate_walls(
        places.lng_lat[homes], places.cell[homes], fiction.cell_shape, fiction.road_shape[fiction.lane]
    )
    walled = [(int(i), ground) for i, ground in zip(homes, grounds, strict=True) if ground is not None]
    _polygons(
        folder / "estates.geojson",
        [ground for _, ground in walled],
        [{"key": f"P{i:07d}", "name": places.name[i]} for i, _ in walled],
    )


def _polygons(path: Path, shapes: Sequence[Any], properties: Sequence[dict[str, Any]]) -> None:
    features = [
        {"type": "Feature", "properties": told, "geometry": orjson.Fragment(shape)}
        for told, shape in zip(properties, shapely.to_geojson(shapes), strict=True)
    ]
    path.write_bytes(orjson.dumps({"type": "FeatureCollection", "features": features}))


def _table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(header)
        writer.writerows(rows)


def _places(fiction: Fiction, path: Path) -> None:
    doors, places = fiction.doors, fiction.places
    address = [
        f"{fiction.roads[road]}{number}号"
        for road, number in zip(doors.road[places.door].tolist(), doors.number[places.door].tolist(), strict=True)
    ]
    rows = zip(places.name, places.type_path, address, places.lng_lat.tolist(), strict=True)
    _table(
        path,
        ("key", "name", "type_path", "address", "lng", "lat"),
        ((f"P{i:07d}", name, kind, where, lng, lat) for i, (name, kind, where, (lng, lat)) in enumerate(rows)),
    )


def _addresses(fiction: Fiction, path: Path) -> None:
    doors = fiction.doors
    known = doors.known.nonzero()[0]
    rows = zip(doors.road[known].tolist(), doors.number[known].tolist(), doors.lng_lat[known].tolist(), strict=True)
    _table(
        path,
        ("key", "road", "house_no", "lng", "lat"),
        ((f"A{i:07d}", fiction.roads[road], number, lng, lat) for i, (road, number, (lng, lat)) in enumerate(rows)),
    )


def _answers(fiction: Fiction, folder: Path) -> None:
    """Write units, rules, limits and the names of elsewhere."""
    offices = [
        (f"T{i + 1:02d}", f"{name}办事处" if name.endswith("街道") else f"{name}人民政府", "town_office", code, "QZX")
        for i, (name, code) in enumerate(zip(fiction.towns, fiction.town_code, strict=True))
    ]
    fixed = [(code, name, kind, "", "" if kind == "centre" else "QZX") for code, name, kind in _UNITS]
    _table(folder / "units.csv", ("code", "name", "kind", "area_code", "deputy_code"), [*fixed, *offices])
    _table(
        folder / "rules.csv",
        ("id", "category", "area", "weekdays", "hours", "unit", "note"),
        [(f"f{i:02d}", category, "", "", "", unit, "") for i, (category, unit) in enumerate(_RULES, 1)],
    )
    _table(
        folder / "limits.csv",
        ("clock", "kind", "urgency", "category", "limit"),
        [(clock, kind, urgency, "", limit) for clock, kind, urgency, limit in _LIMITS],
    )
    _table(folder / "outside.csv", ("name",), [(name,) for name in OUTSIDE])

"""A district as read from its folder, in memory: areas, cells, places, addresses, categories and units, checked.

Knows how the tables hang together and what is derived; writes nothing. `grid.load` puts it into the database.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from core.datums import Datum, Plane
from grid import derive
from grid.areas import AreaRows, CellRows, read_areas, read_towns
from grid.catalogue import CategoryRow, check_units, tree
from grid.formats import COLUMNS, Folder
from grid.lines import Lines, read_lines
from grid.points import convert
from grid.tabular import Rejects, Table, read_table

#: A place this far outside the district is a mistake, not a neighbour.
_NEAR_M: Final = 5_000
#: What a type path begins with → use of the ground; a district's manifest may say otherwise under `uses`.
USES: Final[Mapping[str, tuple[str, ...]]] = {
    "residential": ("商务住宅;住宅区", "商务住宅;商务住宅相关", "地名地址信息;门牌信息", "通行设施;临街院门", "住宅"),
    "commercial": (
        "购物服务",
        "餐饮服务",
        "生活服务",
        "住宿服务",
        "金融保险服务",
        "商务住宅;楼宇",
        "体育休闲服务;娱乐场所",
    ),
    "industrial": ("公司企业", "商务住宅;产业园区", "汽车维修", "生活服务;物流速递", "工厂"),
}


@dataclass(slots=True)
class Located:
    """Rows with a point: places and addresses, and where each one lies."""

    table: Table
    #: `(n, 2)` lon lat in EPSG:4490.
    lng_lat: NDArray[np.float64]
    datum: Datum
    town_code: list[str | None] = field(default_factory=list)
    community_code: list[str | None] = field(default_factory=list)
    cell_code: list[str | None] = field(default_factory=list)


@dataclass(slots=True)
class Ground:
    """Everything of a folder that `grid` owns."""

    folder: Folder
    areas: AreaRows
    cells: CellRows
    places: Located | None
    addresses: Located | None
    #: Roads, water and estates, by the name of their file.
    lines: dict[str, Lines]
    categories: list[CategoryRow]
    units: Table
    outside: list[str]
    #: Whole district, EPSG:4490.
    geom: shapely.Geometry

    def category_of(self, written: str) -> str | None:
        """Return the code of a category given as a code or as names separated by `/`; None when there is none."""
        known = {row.code for row in self.categories}
        if not written or written in known:
            return written
        return self.paths().get(written)

    def paths(self) -> dict[str, str]:
        """Return the path of names of each category, separated by `/` → its code."""
        names: dict[str, str] = {}
        for row in sorted(self.categories, key=lambda one: one.level):
            names[row.code] = f"{names[row.parent_code]}/{row.name}" if row.parent_code else row.name
        return {path: code for code, path in names.items()}


def read_ground(folder: Folder, rejects: Rejects) -> Ground:
    """Return the district of a folder. Rows that cannot be taken go to `rejects`.

    Raises Invalid when a file cannot be read at all. Takes about two seconds for a real district of 12,000 places.
    """
    towns, town_shapes, communities = read_towns(folder, _table(folder, "communities", rejects, key="code"), rejects)
    west, south, east, north = shapely.total_bounds(town_shapes)
    plane = Plane.at((west + east) / 2, (south + north) / 2)
    places = _located(folder, "places", rejects, town_shapes, plane)
    addresses = _located(folder, "addresses", rejects, town_shapes, plane)
    points = places.lng_lat if places else np.zeros((0, 2))
    areas, cells = read_areas(folder, towns, town_shapes, communities, points=points, plane=plane, rejects=rejects)
    _settle(folder, areas, cells, places, addresses)
    units = _table(folder, "units", rejects, key="code")
    check_units(units, set(areas.code), rejects)
    outside = list(_table(folder, "outside", rejects, key="name")["name"]) if "outside" in folder.sources else []
    whole = shapely.coverage_union_all([g for g, level in zip(areas.geom, areas.level, strict=True) if level == "town"])
    return Ground(
        folder=folder,
        areas=areas,
        cells=cells,
        places=places,
        addresses=addresses,
        lines=read_lines(folder, rejects),
        categories=tree(_table(folder, "categories", rejects), rejects),
        units=units,
        outside=outside,
        geom=shapely.MultiPolygon(shapely.get_parts(whole).tolist()),
    )


def _table(folder: Folder, name: str, rejects: Rejects, *, key: str = "") -> Table:
    source = folder.sources[name]
    return read_table(
        source.path, COLUMNS[name], rejects=rejects, mapping=source.columns, encoding=source.encoding, key=key
    )


def _located(folder: Folder, name: str, rejects: Rejects, towns: NDArray[Any], plane: Plane) -> Located | None:
    """Return a register with its points in EPSG:4490; rows outside China or far from the district are refused."""
    source = folder.sources.get(name)
    if source is None or source.datum is None:
        return None
    table = _table(folder, name, rejects, key="key")
    given = np.column_stack((table["lng"], table["lat"])).astype(np.float64)
    good, lng_lat = convert(given, source.datum, table, rejects)
    # Far is measured on the flat map, from the outline of all towns together.
    outline = shapely.buffer(shapely.transform(shapely.union_all(towns), plane.to_metres), _NEAR_M)
    shapely.prepare(outline)
    metres = plane.to_metres(np.where(good[:, None], lng_lat, (plane.lng, plane.lat)))
    near = shapely.contains_xy(outline, metres[:, 0], metres[:, 1])
    for i in np.flatnonzero(good & ~near):
        rejects.add(
            table.file,
            int(table.rows[i]),
            column="lng",
            reason="The point lies more than {km} km outside the district.",
            value=f"{given[i, 0]}, {given[i, 1]}",
            km=_NEAR_M // 1000,
        )
    good &= near
    table.take(good, key="key")
    return Located(table, lng_lat[good], source.datum)


def _settle(
    folder: Folder, areas: AreaRows, cells: CellRows, places: Located | None, addresses: Located | None
) -> None:
    """Tell each place and address its town, community and cell, and each cell its kind."""
    leaf = [i for i, shape in enumerate(areas.geom) if shape is not None and areas.level[i] == "community"]
    town = [i for i, level in enumerate(areas.level) if level == "town"]
    for rows in (places, addresses):
        if rows is None:
            continue
        points = shapely.points(rows.lng_lat)
        cell = derive.first_hit(cells.geom, points)
        community = derive.first_hit(np.array([areas.geom[i] for i in leaf], dtype=object), points)
        of_town = derive.first_hit(np.array([areas.geom[i] for i in town], dtype=object), points)
        rows.cell_code = [cells.code[i] if i >= 0 else None for i in cell]
        rows.community_code = [
            code[:12] if code else areas.code[leaf[c]] if c >= 0 else None
            for code, c in zip(rows.cell_code, community, strict=True)
        ]
        rows.town_code = [
            code[:9] if code else areas.code[town[t]] if t >= 0 else None
            for code, t in zip(rows.community_code, of_town, strict=True)
        ]
        if rows is places:
            cells.places = np.bincount(cell[cell >= 0], minlength=len(cells.code))
            computed = derive.kinds(_uses(folder, rows.table), cell, len(cells.code))
            cells.kind = [given or found for given, found in zip(cells.kind, computed, strict=True)]
    cells.kind = [kind or "mixed" for kind in cells.kind]


def _uses(folder: Folder, table: Table) -> NDArray[np.intp]:
    """Return the use of each place as an index into `derive.KINDS`, -1 where its type says nothing.

    The longest prefix of the type path wins.
    """
    prefixes = sorted(
        ((prefix, derive.KINDS.index(use)) for use, told in {**USES, **folder.uses}.items() for prefix in told),
        key=lambda pair: -len(pair[0]),
    )
    known: dict[str, int] = {}
    for path in set(table["type_path"]) | set(table["type"]):
        known[path] = next((use for prefix, use in prefixes if path.startswith(prefix)), -1)
    return np.array(
        [known[path or kind] for path, kind in zip(table["type_path"], table["type"], strict=True)], dtype=np.intp
    )

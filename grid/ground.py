"""A district as read from its folder, in memory: areas, cells, places, addresses, categories and units, checked.

Knows how the tables hang together and what is derived; writes nothing. `grid.load` puts it into the database.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from core import datums
from core.datums import Datum, Plane
from core.errors import Invalid
from grid import derive
from grid.boundaries import read_boundaries
from grid.catalogue import CategoryRow, check_units, tree
from grid.formats import COLUMNS, Folder, Source
from grid.tabular import Rejects, Table, read_table

#: A place this far outside the district is a mistake, not a neighbour.
_NEAR_M: Final = 5_000
#: Two given cells may overlap by this much before they are refused, in square metres.
_OVERLAP_M2: Final = 1.0
_TOWN_ENDINGS: Final = ("街道办事处", "街道", "镇", "乡")
_COMMUNITY_ENDINGS: Final = ("社区居民委员会", "村民委员会", "居民委员会", "社区居委会", "居委会", "村委会")
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
class AreaRows:
    """街道/镇 and 社区/村: `geom` and `centre` are shapely objects in EPSG:4490 or None."""

    code: list[str] = field(default_factory=list)
    level: list[str] = field(default_factory=list)
    town_code: list[str] = field(default_factory=list)
    name: list[str] = field(default_factory=list)
    short: list[str] = field(default_factory=list)
    aliases: list[list[str]] = field(default_factory=list)
    geom: list[Any] = field(default_factory=list)
    centre: list[Any] = field(default_factory=list)
    derived: list[bool] = field(default_factory=list)
    source_datum: list[str | None] = field(default_factory=list)


@dataclass(slots=True)
class CellRows:
    """网格, ordered by code."""

    code: list[str]
    kind: list[str]
    geom: NDArray[Any]
    derived: bool
    households: list[int | None]
    #: Places of the register inside.
    places: NDArray[np.intp]


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
    towns, town_shapes = _polygons(folder.sources["towns"], "towns", rejects)
    communities = _table(folder, "communities", rejects, key="code")
    _town_codes(towns, communities, rejects)
    if not len(towns["code"]):
        raise Invalid("{file} holds no town that can be taken.", file=folder.sources["towns"].path.name)
    west, south, east, north = shapely.total_bounds(town_shapes)
    plane = Plane.at((west + east) / 2, (south + north) / 2)
    places = _located(folder, "places", rejects, town_shapes, plane)
    addresses = _located(folder, "addresses", rejects, town_shapes, plane)
    areas, cells = _areas(folder, towns, town_shapes, communities, places, plane=plane, rejects=rejects)
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


def _polygons(source: Source, name: str, rejects: Rejects) -> tuple[dict[str, list[str]], NDArray[Any]]:
    """Return the properties by column and the polygons of a GeoJSON file, checked like any table."""
    if source.datum is None:
        raise Invalid("The datum of {file} is missing.", file=source.path.name)
    numbers, told, shapes = read_boundaries(source.path, datum=source.datum, rejects=rejects, mapping=source.columns)
    columns: dict[str, list[str]] = {
        column.name: [row.get(column.name, "") for row in told] for column in COLUMNS[name]
    }
    first: dict[str, int] = {}
    for i, number in enumerate(numbers):
        for column in COLUMNS[name]:
            if column.required and not columns[column.name][i]:
                rejects.add(source.path.name, number, column=column.name, reason="The value is missing.")
        key = columns["code"][i] or columns.get("name", [""] * len(told))[i]
        if key in first:
            rejects.add(
                source.path.name, number, column="code", reason="The key stands already in row {row}.", row=first[key]
            )
        first.setdefault(key, number)
    return columns, shapes


def _town_codes(towns: dict[str, list[str]], communities: Table, rejects: Rejects) -> None:
    """Give towns without a code the one that their communities' codes begin with; refuse communities without a town."""
    named: dict[str, set[str]] = {}
    for name, code in zip(communities["town"], communities["code"], strict=True):
        named.setdefault(name, set()).add(code[:9])
    for i, (code, name) in enumerate(zip(towns["code"], towns["name"], strict=True)):
        codes = named.get(name, set())
        if not code and len(codes) == 1:
            towns["code"][i] = next(iter(codes))
        elif not code:
            rejects.add(
                "towns", i + 1, column="code", reason="The town has no code and no community names it.", value=name
            )
    known = set(towns["code"])
    good = np.array([code[:9] in known for code in communities["code"]], dtype=bool)
    for i in np.flatnonzero(~good).tolist():
        rejects.add(
            communities.file,
            int(communities.rows[i]),
            column="code",
            reason="The code begins with that of no town.",
            value=communities["code"][i],
        )
    communities.take(good, key="code")


def _located(folder: Folder, name: str, rejects: Rejects, towns: NDArray[Any], plane: Plane) -> Located | None:
    """Return a register with its points in EPSG:4490; rows outside China or far from the district are refused."""
    source = folder.sources.get(name)
    if source is None or source.datum is None:
        return None
    table = _table(folder, name, rejects, key="key")
    given = np.column_stack((table["lng"], table["lat"])).astype(np.float64)
    good, lng_lat = _convert(given, source.datum, table, rejects)
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


def _convert(
    given: NDArray[np.float64], datum: Datum, table: Table, rejects: Rejects
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which rows have a point in China, and all points in EPSG:4490 (NaN where there is none)."""
    west, south, east, north = datums.CHINA
    with np.errstate(invalid="ignore"):
        good: NDArray[np.bool_] = (
            (given[:, 0] >= west) & (given[:, 0] <= east) & (given[:, 1] >= south) & (given[:, 1] <= north)
        )
    for i in np.flatnonzero(~good):
        try:
            datums.point(given[i, 0], given[i, 1], datum)
        except Invalid as error:
            rejects.add(
                table.file,
                int(table.rows[i]),
                column="lng",
                reason=error.message,
                value=f"{given[i, 0]}, {given[i, 1]}",
                **error.params,
            )
    lng_lat = np.full(given.shape, np.nan)
    if good.any():
        lng_lat[good] = datums.to_cgcs2000(given[good], datum)
    return good, lng_lat


def _areas(
    folder: Folder,
    towns: dict[str, list[str]],
    town_shapes: NDArray[Any],
    communities: Table,
    places: Located | None,
    *,
    plane: Plane,
    rejects: Rejects,
) -> tuple[AreaRows, CellRows]:
    codes = towns["code"]
    index = {code: i for i, code in enumerate(codes)}
    town_of = [index[code[:9]] for code in communities["code"]]
    centres, trusted = _centres(folder, communities, town_shapes, town_of, rejects)
    given = _given_communities(folder, communities, rejects)
    whole: dict[int, shapely.Geometry] = dict(given)
    if not given:
        for town, shape in enumerate(town_shapes):
            mine = [i for i in np.flatnonzero(trusted).tolist() if town_of[i] == town]
            if mine:
                whole |= zip(mine, derive.voronoi(shape, centres[mine], plane), strict=True)
    cells = _given_cells(folder, communities, rejects)
    if cells is None:
        tiling = _tile(whole, town_shapes, town_of, places, plane, fill=not given)
        town_shapes = tiling.towns
        whole = {i: shape for i, shape in enumerate(tiling.communities) if shape is not None}
        cells = _numbered(tiling, communities)
    rows = AreaRows()
    file_datum = folder.sources["towns"].datum
    for i, code in enumerate(codes):
        named = (towns["name"][i], towns["short"][i], towns["aliases"][i])
        _append(rows, code, named, level="town", endings=_TOWN_ENDINGS)
        rows.geom.append(town_shapes[i])
        rows.centre.append(shapely.point_on_surface(town_shapes[i]))
        rows.derived.append(False)
        rows.source_datum.append(file_datum.value if file_datum else None)
    source = folder.sources.get("community_polygons", folder.sources["communities"])
    for i, code in enumerate(communities["code"]):
        named = (communities["name"][i], communities["short"][i], communities["aliases"][i])
        _append(rows, code, named, level="community", endings=_COMMUNITY_ENDINGS)
        shape = whole.get(i)
        rows.geom.append(shape)
        here = shapely.Point(centres[i]) if trusted[i] else None
        rows.centre.append(here if here is not None or shape is None else shapely.point_on_surface(shape))
        rows.derived.append(shape is not None and i not in given)
        rows.source_datum.append(
            source.datum.value if source.datum and (here is not None or shape is not None) else None
        )
    return rows, cells


def _append(rows: AreaRows, code: str, told: tuple[str, str, str], *, level: str, endings: Iterable[str]) -> None:
    """Add an area's code and names; `told` is name, short name and aliases as the folder has them."""
    name, short, aliases = told
    rows.code.append(code)
    rows.level.append(level)
    rows.town_code.append(code[:9])
    rows.name.append(name)
    ending = next((end for end in endings if name.endswith(end) and len(name) > len(end) + 1), "")
    rows.short.append(short or name.removesuffix(ending))
    rows.aliases.append([alias for alias in (part.strip() for part in aliases.split("|")) if alias])


def _centres(
    folder: Folder, communities: Table, town_shapes: NDArray[Any], town_of: list[int], rejects: Rejects
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return `(n, 2)` centres in EPSG:4490 and which can be trusted: two sources (or none counted), in their town."""
    given = np.column_stack((communities["lng"], communities["lat"])).astype(np.float64)
    trusted = np.logical_not(np.isnan(given).any(axis=1))
    evidence = communities["evidence"].astype(np.float64)
    if not np.isnan(evidence).all():
        trusted &= np.nan_to_num(evidence) >= 2
    datum = folder.sources["communities"].datum
    centres = np.full(given.shape, np.nan)
    if not trusted.any() or datum is None:
        return centres, trusted & False
    at = np.flatnonzero(trusted)
    sound, lng_lat = _convert(given[at], datum, _rows_of(communities, at), rejects)
    inside = shapely.intersects_xy(town_shapes[np.array(town_of)[at]], lng_lat[:, 0], lng_lat[:, 1])
    trusted[at] = sound & inside
    centres[at] = lng_lat
    return centres, trusted


def _rows_of(table: Table, at: NDArray[np.intp]) -> Table:
    return Table(table.file, table.rows[at], {})


def _given_communities(folder: Folder, communities: Table, rejects: Rejects) -> dict[int, shapely.Geometry]:
    """Return the polygons that the folder gives to communities, by index."""
    source = folder.sources.get("community_polygons")
    if source is None:
        return {}
    told, shapes = _polygons(source, "communities", rejects)
    index = {code: i for i, code in enumerate(communities["code"])}
    found: dict[int, shapely.Geometry] = {}
    for number, (code, shape) in enumerate(zip(told["code"], shapes, strict=True), 1):
        if code in index:
            found[index[code]] = shape
        else:
            rejects.add(
                source.path.name, number, column="code", reason="There is no community with this code.", value=code
            )
    return found


def _given_cells(folder: Folder, communities: Table, rejects: Rejects) -> CellRows | None:
    """Return the folder's own cells, ordered by code; None where it has none. Overlapping cells are refused."""
    source = folder.sources.get("cells")
    if source is None:
        return None
    told, shapes = _polygons(source, "cells", rejects)
    known = set(communities["code"])
    for number, code in enumerate(told["code"], 1):
        if not (len(code) == 15 and code.isdigit() and code[:12] in known):
            rejects.add(
                source.path.name, number, column="code", reason="The code begins with that of no community.", value=code
            )
    order = np.argsort(np.array(told["code"], dtype=object), kind="stable")
    shapes = shapes[order]
    one, two = shapely.STRtree(shapes).query(shapes, predicate="overlaps")
    for i, j in zip(one[one < two], two[one < two], strict=True):
        # A square degree is some 10^10 square metres at Chinese latitudes.
        if shapely.area(shapely.intersection(shapes[i], shapes[j])) * 1e10 > _OVERLAP_M2:
            rejects.add(
                source.path.name,
                int(order[j]) + 1,
                column="geometry",
                reason="The cell overlaps {other}.",
                value=told["code"][order[j]],
                other=told["code"][order[i]],
            )
    counted = [told["households"][i] for i in order]
    return CellRows(
        code=[told["code"][i] for i in order],
        kind=[told["kind"][i] for i in order],
        geom=shapes,
        derived=False,
        households=[int(float(value)) if value.replace(".", "", 1).isdigit() else None for value in counted],
        places=np.zeros(len(order), dtype=np.intp),
    )


def _tile(
    whole: dict[int, shapely.Geometry],
    towns: NDArray[Any],
    town_of: list[int],
    places: Located | None,
    plane: Plane,
    *,
    fill: bool,
) -> derive.Tiling:
    """Divide each community that has a polygon into cells and lay them down together."""
    lng_lat = places.lng_lat if places else np.zeros((0, 2))
    indices = list(whole)
    shapes = np.array([whole[i] for i in indices], dtype=object)
    inside: dict[int, list[int]] = {i: [] for i in indices}
    if len(shapes) and len(lng_lat):
        point, community = shapely.STRtree(shapes).query(shapely.points(lng_lat), predicate="intersects")
        for p, c in zip(point.tolist(), community.tolist(), strict=True):
            inside[indices[c]].append(p)
    drafts = [(i, part) for i in indices for part in derive.divide(whole[i], lng_lat[inside[i]], plane)]
    return derive.lay(towns, whole, town_of, drafts, fill=fill)


def _numbered(tiling: derive.Tiling, communities: Table) -> CellRows:
    code: list[str] = []
    at: list[int] = []
    for community in sorted(set(tiling.cell_community.tolist()), key=lambda i: str(communities["code"][i])):
        mine = np.flatnonzero(tiling.cell_community == community)
        for serial, i in enumerate(mine[derive.number(tiling.cells[mine])], 1):
            code.append(f"{communities['code'][community]}{serial:03d}")
            at.append(int(i))
    return CellRows(
        code=code,
        kind=[""] * len(code),
        geom=tiling.cells[at],
        derived=True,
        households=[None] * len(code),
        places=np.zeros(len(code), dtype=np.intp),
    )


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

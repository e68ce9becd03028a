"""Towns, communities and cells as a folder gives them, or as they are derived where it does not.

Knows how the three levels hang together by their codes. Does not know places and addresses beyond their points.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from core.datums import Plane
from core.errors import Invalid
from grid import derive
from grid.boundaries import read_boundaries
from grid.formats import COLUMNS, Folder, Source, said_datum
from grid.points import convert
from grid.tabular import Column, Rejects, Table, check

#: Two given cells may overlap by this much before they are refused, in square metres.
_OVERLAP_M2: Final = 1.0
_TOWN_ENDINGS: Final = ("街道办事处", "街道", "镇", "乡")
_COMMUNITY_ENDINGS: Final = ("社区居民委员会", "村民委员会", "居民委员会", "社区居委会", "居委会", "村委会")


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


def read_towns(folder: Folder, communities: Table, rejects: Rejects) -> tuple[Table, NDArray[Any], Table]:
    """Return the towns, their polygons `(n,)` in EPSG:4490, and the communities that lie in one of them.

    Towns without a code get the one that the codes of their communities begin with. Raises Invalid without any town.
    """
    towns, shapes = _polygons(folder.sources["towns"], COLUMNS["towns"], rejects)
    named: dict[str, set[str]] = {}
    for name, code in zip(communities["town"], communities["code"], strict=True):
        named.setdefault(name, set()).add(code[:9])
    for i, (code, name) in enumerate(zip(towns["code"], towns["name"], strict=True)):
        codes = named.get(name, set())
        if not code and len(codes) == 1:
            towns["code"][i] = next(iter(codes))
        elif not code:
            _refuse(rejects, towns, i, "code", "No community names this town.", name)
        if towns["code"][i] and not towns["code"][i].startswith(folder.code):
            _refuse(rejects, towns, i, "code", "The code does not begin with the district's.", code)
    if not len(towns):
        raise Invalid("{file} holds no town that can be taken.", file=towns.file)
    known = set(towns["code"])
    good = np.array([code[:9] in known for code in communities["code"]], dtype=bool)
    for i in np.flatnonzero(~good).tolist():
        _refuse(rejects, communities, i, "code", "The code begins with that of no town.", communities["code"][i])
    communities.take(good, key="code")
    return towns, shapes, communities


def _refuse(rejects: Rejects, table: Table, i: int, /, *told: str, **params: Any) -> None:
    """Note the i-th row of a table as refused; `told` is column, reason and value."""
    column, reason, value = told
    rejects.add(table.file, int(table.rows[i]), column=column, reason=reason, value=value, **params)


def _polygons(source: Source, columns: Sequence[Column], rejects: Rejects) -> tuple[Table, NDArray[Any]]:
    """Return the properties of a GeoJSON file as a table, checked like any other, and the polygons `(n,)`."""
    datum = said_datum(source)
    numbers, told, shapes = read_boundaries(source.path, datum=datum, rejects=rejects, mapping=source.columns)
    values = {column.name: [row.get(column.name, "") for row in told] for column in columns}
    key = "code" if all(values["code"]) else "name"
    table, good = check(source.path.name, numbers, values, columns=columns, rejects=rejects, key=key)
    table.take(good, key=key)
    return table, shapes[good]


def read_areas(
    folder: Folder,
    towns: Table,
    town_shapes: NDArray[Any],
    communities: Table,
    *,
    points: NDArray[np.float64],
    plane: Plane,
    rejects: Rejects,
) -> tuple[AreaRows, CellRows]:
    """Return towns, communities and cells; what the folder does not give is derived, where anything is known.

    towns, town_shapes, communities: of `read_towns`. points: `(n, 2)` lon lat of the places, EPSG:4490.
    """
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
        tiling = _tile(whole, town_shapes, town_of, points, plane=plane, fill=not given)
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
    centres = np.full(given.shape, np.nan)
    if not trusted.any():
        return centres, trusted
    datum = said_datum(folder.sources["communities"])
    at = np.flatnonzero(trusted)
    sound, lng_lat = convert(given[at], datum, _rows_of(communities, at), rejects)
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
    told, shapes = _polygons(source, [one for one in COLUMNS["communities"] if one.name == "code"], rejects)
    index = {code: i for i, code in enumerate(communities["code"])}
    found: dict[int, shapely.Geometry] = {}
    for i, (code, shape) in enumerate(zip(told["code"], shapes, strict=True)):
        if code in index:
            found[index[code]] = shape
        else:
            _refuse(rejects, told, i, "code", "There is no such community.", code)
    return found


def _given_cells(folder: Folder, communities: Table, rejects: Rejects) -> CellRows | None:
    """Return the folder's own cells, ordered by code; None where it has none. Overlapping cells are refused."""
    source = folder.sources.get("cells")
    if source is None:
        return None
    told, shapes = _polygons(source, COLUMNS["cells"], rejects)
    known = set(communities["code"])
    for i, code in enumerate(told["code"]):
        if code[:12] not in known:
            _refuse(rejects, told, i, "code", "The code begins with that of no community.", code)
    order = np.argsort(told["code"], kind="stable")
    shapes = shapes[order]
    one, two = shapely.STRtree(shapes).query(shapes, predicate="overlaps")
    for i, j in zip(one[one < two].tolist(), two[one < two].tolist(), strict=True):
        # A square degree is some 10^10 square metres at Chinese latitudes.
        if shapely.area(shapely.intersection(shapes[i], shapes[j])) * 1e10 > _OVERLAP_M2:
            other = told["code"][order[i]]
            value = told["code"][order[j]]
            _refuse(rejects, told, int(order[j]), "geometry", "The cell overlaps {other}.", value, other=other)
    return CellRows(
        code=told["code"][order].tolist(),
        kind=told["kind"][order].tolist(),
        geom=shapes,
        derived=False,
        households=[None if np.isnan(homes) else int(homes) for homes in told["households"][order].tolist()],
        places=np.zeros(len(order), dtype=np.intp),
    )


def _tile(
    whole: dict[int, shapely.Geometry],
    towns: NDArray[Any],
    town_of: list[int],
    lng_lat: NDArray[np.float64],
    *,
    plane: Plane,
    fill: bool,
) -> derive.Tiling:
    """Divide each community that has a polygon into cells and lay them down together."""
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

"""Features 要素 for other systems' maps (OGC API Features): what may be asked of a collection, answered in pages.

A collection is a table with columns that are named; what the asker may see, row policies decide inside the statement.
Pages go by the key, so that a row that comes or goes between two of them shifts nothing. Knows no HTTP:
`api.routes.ogc` says it in the standard's words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy.orm import Session

from core.actor import Role
from core.db import actor_of, rows
from core.errors import NotFound
from grid.words import N_

#: Features of one answer, at most and by default.
MOST: Final = 1000
USUAL: Final = 100
#: Decimal places of coordinates: a tenth of a millimetre.
_DECIMALS: Final = 9
#: Parameters of a box's corners.
_ENDS: Final = (("w", "s"), ("e", "n"))


@dataclass(frozen=True, slots=True)
class Property:
    """One member of a feature's properties."""

    #: SQL over the alias `t`.
    sql: str
    kind: Literal["string", "integer", "boolean", "date-time"] = "string"
    title: str = ""
    #: May be asked for by equality.
    queryable: bool = True


@dataclass(frozen=True, slots=True)
class Collection:
    """What a statement over one kind of feature is made of; all SQL is this program's own."""

    name: str
    title: str
    description: str
    #: Table with the alias `t`, and a condition beside the district.
    table: str
    where: str
    #: Text, unique in the district: the feature's id and the order of pages.
    key: str
    geometry: Literal["MultiPolygon", "Point"]
    properties: Mapping[str, Property]
    #: Begin and end of a feature's time; the end may be NULL. Empty where features have none.
    time: tuple[str, str] | tuple[()] = ()
    #: Read instead where somebody asks for a time: the versions.
    versions: "Collection | None" = None
    #: Who may read it; None for everybody.
    roles: frozenset[Role] | None = None
    #: The register that its rows are of; `grid.registers.features` narrows it to what the asker has a right to.
    register: str = ""
    #: What fills the parameters of `where`.
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a collection."""

    #: Boxes west, south, east, north in EPSG:4490; any of them is met. Empty for everywhere.
    boxes: Sequence[tuple[float, float, float, float]] = ()
    #: Aware begin and end, None for open; absent for any time.
    span: tuple[datetime | None, datetime | None] | None = None
    #: Property → value.
    equal: Mapping[str, Any] = field(default_factory=dict)
    limit: int = USUAL
    #: Key of the last feature of the page before.
    after: str | None = None
    #: Latitude before longitude, as EPSG defines 4490 and 4326.
    flipped: bool = False


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature: `geometry` is GeoJSON as text."""

    id: str
    geometry: str | None
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Features in the order of their keys."""

    features: Sequence[Feature]
    #: All that fit what was asked, on every page.
    matched: int
    #: Where the next page begins; None on the last.
    after: str | None


def page(session: Session, collection: Collection, asked: Asked, *, at: datetime) -> Page:
    """Return a page of the features that fit; `at` is now, for versions that are in force. Reads only."""
    if asked.span is not None and collection.versions is not None:
        collection = collection.versions
    where, values = _where(session, collection, asked, at)
    matched = rows(session, f"SELECT count(*) AS n FROM {collection.table} WHERE {where}", **values)[0]["n"]  # noqa: S608  see Collection
    if asked.after is not None:
        where += f" AND {collection.key} > :after"
    sql = f"{_select(collection, flipped=asked.flipped)} WHERE {where} ORDER BY {collection.key} LIMIT :most"
    found = rows(session, sql, **values, after=asked.after, most=asked.limit + 1)
    features = [_feature(row) for row in found[: asked.limit]]
    return Page(features, matched, features[-1].id if len(found) > asked.limit else None)


def feature(session: Session, collection: Collection, key: str, *, at: datetime, flipped: bool = False) -> Feature:
    """Return one feature by its id, a version's too; raises NotFound. Reads only."""
    for source in (collection, collection.versions):
        if source is None:
            continue
        where, values = _where(session, source, Asked(), at)
        sql = f"{_select(source, flipped=flipped)} WHERE {where} AND {source.key} = :key"
        found = rows(session, sql, **values, key=key)
        if found:
            return _feature(found[0])
    raise NotFound("There is no such feature.")


def extent(session: Session) -> tuple[float, float, float, float] | None:
    """Return west, south, east, north of the district's towns, EPSG:4490; None before anything is loaded."""
    sql = (
        "SELECT ST_XMin(e) AS west, ST_YMin(e) AS south, ST_XMax(e) AS east, ST_YMax(e) AS north FROM"
        " (SELECT ST_Extent(a.geom) AS e FROM area a WHERE a.district_code = :d AND a.level = 'town') s"
    )
    row = rows(session, sql, d=actor_of(session).district)[0]
    return None if row["west"] is None else (row["west"], row["south"], row["east"], row["north"])


def begin(session: Session) -> datetime | None:
    """Return since when versions of cells are known; None where there are none."""
    sql = "SELECT min(lower(v.validity)) AS since FROM cell_version v WHERE v.district_code = :d"
    since: datetime | None = rows(session, sql, d=actor_of(session).district)[0]["since"]
    return since


def _select(collection: Collection, *, flipped: bool) -> str:
    shape = "ST_FlipCoordinates(t.geom)" if flipped else "t.geom"
    columns = "".join(f', {one.sql} AS "{name}"' for name, one in collection.properties.items())
    return (
        f"SELECT {collection.key} AS _id, ST_AsGeoJSON({shape}, {_DECIMALS}, 0) AS _geometry{columns}"  # noqa: S608
        f" FROM {collection.table}"
    )


def _where(session: Session, collection: Collection, asked: Asked, at: datetime) -> tuple[str, dict[str, Any]]:
    parts, values = ["t.district_code = :d", collection.where], {"d": actor_of(session).district, "at": at}
    values |= collection.values
    boxes = []
    for i, box in enumerate(asked.boxes):
        values |= dict(zip((f"w{i}", f"s{i}", f"e{i}", f"n{i}"), box, strict=True))
        # The envelope of two corners is a point or a line where the box is one; ST_MakeEnvelope meets nothing then.
        corners = (
            f"ST_SetSRID(ST_MakePoint(CAST(:{x}{i} AS float8), CAST(:{y}{i} AS float8)), 4490)" for x, y in _ENDS
        )
        envelope = f"ST_Envelope(ST_MakeLine({', '.join(corners)}))"
        boxes.append(f"(t.geom && {envelope} AND ST_Intersects(t.geom, {envelope}))")
    if boxes:
        parts.append(f"({' OR '.join(boxes)})")
    if asked.span is not None and collection.time:
        # Ends are exclusive in the database and inclusive in the standard: a version that ended at the moment asked
        # for gives way to the one that began then.
        first, last = collection.time
        values |= {"from": asked.span[0], "to": asked.span[1]}
        parts.append(f"(CAST(:to AS timestamptz) IS NULL OR {first} <= :to)")
        over = f"({last} IS NULL OR {last} > :from)" if last != first else f"{last} >= :from"
        parts.append(f"(CAST(:from AS timestamptz) IS NULL OR {over})")
    for i, (name, value) in enumerate(asked.equal.items()):
        parts.append(f"{collection.properties[name].sql} = :p{i}")
        values[f"p{i}"] = value
    return " AND ".join(part for part in parts if part), values


def _feature(row: Mapping[str, Any]) -> Feature:
    told = {name: value for name, value in row.items() if name not in ("_id", "_geometry")}
    return Feature(str(row["_id"]), row["_geometry"], told)


def _area(level: str, name: str, title: str, description: str) -> Collection:
    parent = {} if level == "town" else {"town": Property("t.town_code", title=N_("Town"))}
    return Collection(
        name=name,
        title=title,
        description=description,
        table="area t",
        where=f"t.level = '{level}' AND t.geom IS NOT NULL",
        key="t.code",
        geometry="MultiPolygon",
        properties={
            "code": Property("t.code", title=N_("Code")),
            "name": Property("t.name", title=N_("Name")),
            **parent,
            "derived": Property("t.derived", "boolean", title=N_("Computed by the program")),
        },
    )


_CELL: Final = {
    "code": Property("t.code", title=N_("Code")),
    "community": Property("t.community_code", title=N_("Community")),
    "kind": Property("t.kind", title=N_("Kind")),
    "households": Property("t.households", "integer", title=N_("Households")),
    "derived": Property("t.derived", "boolean", title=N_("Computed by the program")),
}
CELLS: Final = Collection(
    name="cells",
    title=N_("Cells of the grid"),
    description=N_("Today's cells; with a datetime, the versions that were in force then."),
    table="cell t",
    where="",
    key="t.code",
    geometry="MultiPolygon",
    properties={**_CELL, "town": Property("t.town_code", title=N_("Town"))},
)
#: A version that is in force bears the cell's code, an earlier or later one its own id behind it.
_VERSIONS: Final = replace(
    CELLS,
    table="cell_version t",
    where="NOT isempty(t.validity)",
    key="t.code || CASE WHEN t.validity @> CAST(:at AS timestamptz) THEN '' ELSE '_' || t.id::text END",
    properties={
        **_CELL,
        "town": Property("left(t.code, 9)", title=N_("Town")),
        "valid_from": Property("lower(t.validity)", "date-time", queryable=False),
        "valid_to": Property("upper(t.validity)", "date-time", queryable=False),
    },
    time=("lower(t.validity)", "upper(t.validity)"),
)
GROUND: Final[Sequence[Collection]] = (
    replace(CELLS, versions=_VERSIONS, time=_VERSIONS.time),
    _area("community", "communities", N_("Communities"), N_("Communities and villages with a known boundary.")),
    _area("town", "towns", N_("Towns and streets"), N_("Towns and streets of the district.")),
    Collection(
        name="places",
        title=N_("Places"),
        description=N_("The district's register of named places."),
        table="place t",
        where="",
        key="t.key",
        geometry="Point",
        properties={
            "key": Property("t.key", title=N_("Key")),
            "name": Property("t.name", title=N_("Name")),
            "type": Property("t.type", title=N_("Type")),
            "type_path": Property("t.type_path", title=N_("Type"), queryable=False),
            "address": Property("t.address", title=N_("Address")),
            "town": Property("t.town_code", title=N_("Town")),
            "community": Property("t.community_code", title=N_("Community")),
            "cell": Property("t.cell_code", title=N_("Cell")),
        },
    ),
)

"""What a map shows between the houses: roads 道路, water 水系 and estates 小区, as a district's folder gives them.

Knows the table and how to read a piece of it. Does not know what is drawn along them: cells, patrols, map packs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from geoalchemy2 import WKBElement
from numpy.typing import NDArray
from sqlalchemy import CheckConstraint, Index, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from core.datums import SRID
from core.db import Base, actor_of
from grid.boundaries import read_boundaries
from grid.formats import COLUMNS, LINES, Folder, said_datum
from grid.models import geometry
from grid.tabular import Rejects, Table, check

#: What a line may be; files of the folder are named in the plural: roads, water, estates.
KINDS: Final = ("road", "water", "estate")
#: Lines of one reading; a town of 100,000 households has some 5,000.
MOST: Final = 50_000


class GroundLine(Base):
    """道路, 水系, 小区: a road line, water (line or polygon) or the polygon of an estate."""

    __tablename__ = "ground_line"
    __table_args__ = (
        CheckConstraint("kind IN ('road', 'water', 'estate')", name="kind"),
        Index("ix_ground_line_geom", "geom", postgresql_using="gist"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: The kind and the source's own key, such as `road/17`, so that a repeated load meets the same row.
    key: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str] = mapped_column(server_default="")
    #: Of a road: motorway, trunk, primary, secondary, tertiary, residential, service … as OpenStreetMap names them.
    rank: Mapped[str] = mapped_column("class", server_default="")
    geom: Mapped[WKBElement] = mapped_column(geometry("GEOMETRY"))
    source_datum: Mapped[str]


@dataclass(frozen=True, slots=True)
class Lines:
    """`n` lines of the ground side by side."""

    key: list[str]
    kind: list[str]
    name: list[str]
    rank: list[str]
    #: `(n,)` geometries, EPSG:4490.
    geom: NDArray[Any]
    #: What the source's coordinates were in.
    datum: list[str]

    def __len__(self) -> int:
        return len(self.key)

    def of(self, kind: str) -> NDArray[np.intp]:
        """Return the places in the columns of one kind."""
        return np.flatnonzero(np.array(self.kind, dtype=object) == kind)


def read_lines(folder: Folder, rejects: Rejects) -> dict[str, Lines]:
    """Return the lines of a folder by file (roads, water, estates), EPSG:4490; what cannot be taken goes to `rejects`.

    Keys that are missing or repeat are numbered in the file's order.
    """
    found: dict[str, Lines] = {}
    for file, kind in LINES.items():
        source = folder.sources.get(file)
        if source is None:
            continue
        datum, columns = said_datum(source), COLUMNS[file]
        numbers, told, shapes = read_boundaries(
            source.path, datum=datum, rejects=rejects, mapping=source.columns, lines=True
        )
        values = {column.name: [row.get(column.name, "") for row in told] for column in columns}
        table, good = check(source.path.name, numbers, values, columns=columns, rejects=rejects)
        table.take(good)
        found[file] = Lines(
            key=_keys(kind, table),
            kind=[kind] * len(table),
            name=table["name"].tolist(),
            rank=table["class"].tolist(),
            geom=shapes[good],
            datum=[datum.value] * len(table),
        )
    return found


def _keys(kind: str, table: Table) -> list[str]:
    seen: dict[str, int] = {}
    keys = []
    for number, given in zip(table.rows.tolist(), table["key"], strict=True):
        key = f"{kind}/{given or f'#{number}'}"
        seen[key] = seen.get(key, 0) + 1
        keys.append(key if seen[key] == 1 else f"{key}/{seen[key]}")
    return keys


def lines_in(session: Session, bounds: Sequence[float], *, kinds: Sequence[str] = KINDS, most: int = MOST) -> Lines:
    """Return the lines of the actor's district that touch a box, ordered by key; at most `most`.

    bounds: west, south, east, north, EPSG:4490. Reads only; uses the GiST index.
    """
    box = func.ST_MakeEnvelope(*bounds, SRID)
    rows = session.execute(
        select(
            GroundLine.key,
            GroundLine.kind,
            GroundLine.name,
            GroundLine.rank,
            func.ST_AsBinary(GroundLine.geom),
            GroundLine.source_datum,
        )
        .where(
            GroundLine.district_code == actor_of(session).district,
            GroundLine.geom.op("&&")(box),
            GroundLine.kind.in_(kinds),
        )
        .order_by(GroundLine.key)
        .limit(most)
    ).all()
    key, kind, name, rank, shape, datum = ([row[i] for row in rows] for i in range(6))
    geom = np.asarray(shapely.from_wkb([bytes(one) for one in shape]), dtype=object).reshape(-1)
    return Lines(key, kind, name, rank, geom, datum)


def has_lines(session: Session) -> bool:
    """Return whether the actor's district has any line at all. Reads only."""
    sql = text("SELECT EXISTS (SELECT 1 FROM ground_line WHERE district_code = :d)")
    return bool(session.scalar(sql, {"d": actor_of(session).district}))

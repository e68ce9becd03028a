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
from grid.models import geometry

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

    def of(self, kind: str) -> NDArray[np.intp]:
        """Return the places in the columns of one kind."""
        return np.flatnonzero(np.array(self.kind, dtype=object) == kind)


def lines_in(session: Session, bounds: Sequence[float], *, kinds: Sequence[str] = KINDS, most: int = MOST) -> Lines:
    """Return the lines of the actor's district that touch a box, ordered by key; at most `most`.

    bounds: west, south, east, north, EPSG:4490. Reads only; uses the GiST index.
    """
    box = func.ST_MakeEnvelope(*bounds, SRID)
    rows = session.execute(
        select(GroundLine.key, GroundLine.kind, GroundLine.name, GroundLine.rank, func.ST_AsBinary(GroundLine.geom))
        .where(
            GroundLine.district_code == actor_of(session).district,
            GroundLine.geom.op("&&")(box),
            GroundLine.kind.in_(kinds),
        )
        .order_by(GroundLine.key)
        .limit(most)
    ).all()
    key, kind, name, rank, shape = ([row[i] for row in rows] for i in range(5))
    geom = np.asarray(shapely.from_wkb([bytes(one) for one in shape]), dtype=object).reshape(-1)
    return Lines(key, kind, name, rank, geom)


def has_lines(session: Session) -> bool:
    """Return whether the actor's district has any line at all. Reads only."""
    sql = text("SELECT EXISTS (SELECT 1 FROM ground_line WHERE district_code = :d)")
    return bool(session.scalar(sql, {"d": actor_of(session).district}))

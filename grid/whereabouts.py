"""Which areas a point lies in, asked of the database; for single corrections. Bulk goes through `grid.locator`."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The areas that contain a point; None where the district does not reach or nobody drew the level."""

    town: str | None
    community: str | None
    cell: str | None


def whereabouts(session: Session, district: str, lng: float, lat: float) -> Whereabouts:
    """Return town, community and cell of a point in EPSG:4490 degrees; on a shared edge the lower code wins.

    Reads only; uses the GiST indexes.
    """
    row = session.execute(
        text(
            "WITH p AS (SELECT ST_SetSRID(ST_MakePoint(:lng, :lat), 4490) AS geom) "
            "SELECT (SELECT min(a.code) FROM area AS a, p WHERE a.district_code = :d AND a.level = 'town'"
            "  AND ST_Covers(a.geom, p.geom)), "
            "(SELECT min(a.code) FROM area AS a, p WHERE a.district_code = :d AND a.level = 'community'"
            "  AND ST_Covers(a.geom, p.geom)), "
            "(SELECT min(c.code) FROM cell AS c, p WHERE c.district_code = :d AND ST_Covers(c.geom, p.geom))"
        ),
        {"d": district, "lng": lng, "lat": lat},
    ).one()
    town, community, cell = row
    if cell:
        return Whereabouts(cell[:9], cell[:12], cell)
    return Whereabouts(town, community if community and community[:9] == (town or community[:9]) else None, None)

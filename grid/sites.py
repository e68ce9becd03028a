"""What the database knows of a community, gathered as the `Site` that cells are drawn on. Reads only.

Knows where households come from: the register, today's cells, or, where nobody counted, a guess from the places.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.actor import system
from core.datums import from_db
from core.db import acting_as, actor_of
from core.errors import Invalid, NotFound
from grid import derive
from grid.cellset import CellSet
from grid.derive import first_hit
from grid.drawing import Limits, Site
from grid.ground import USES
from grid.lines import lines_in
from grid.models import Area, District

#: Households that one place stands for where nobody counted: an estate, another home, anything else. A guess, and
#: labelled so wherever it is shown; a district that says its number of households scales it.
GUESS: Final[Mapping[str, float]] = {"estate": 120.0, "home": 12.0, "other": 6.0}
_ESTATE: Final = ("商务住宅;住宅区", "商务住宅;商务住宅相关")
#: What stands behind an estate's own name: 花园(西门), 花园3栋, 花园二期.
_PART_OF: Final = re.compile(
    r"[(（].*$|[-—·].*$|(?:[0-9０-９A-Za-z一二三四五六七八九十]+(?:栋|幢|座|号楼|单元|期|区|号))+.*$|(?:东|南|西|北|正)?门$"
)
#: Metres that places of one estate may lie apart.
_GROUP_M: Final = 350.0


def site_of(session: Session, community: str) -> Site:
    """Return the site of a community of the actor's district, with its district's limits of households.

    community: 12 digits. Raises NotFound for none of ours, Invalid where nobody has told its boundary. Counts of
    households are read as the program: they name nobody. Some 30 ms.
    """
    district = actor_of(session).district
    area = session.get(Area, (district, community))
    if area is None or area.level != "community":
        raise NotFound("There is no community {code}.", field="community", code=community[:20])
    if area.geom is None:
        raise Invalid("The community {name} has no boundary yet.", field="community", name=area.name)
    shape = from_db(area.geom)
    lines = lines_in(session, shapely.bounds(shape))
    roads, water, estates = (lines.of(kind) for kind in ("road", "water", "estate"))
    polygons = estates[shapely.get_dimensions(lines.geom[estates]) == 2] if len(estates) else estates
    bare = Site(
        community,
        shape,
        roads=lines.geom[roads],
        road_class=[lines.rank[i] for i in roads],
        water=lines.geom[water],
        estates=lines.geom[polygons],
        estate_name=[lines.name[i] for i in polygons],
        usual=_usual(session),
        limits=limits_of(session),
    )
    with acting_as(session, system(district, "drawing")):
        return _peopled(session, bare)


def limits_of(session: Session) -> Limits:
    """Return the limits of households of a residential cell: the district's setting `cell_households`, else S2's.

    The setting is a pair of whole numbers, `[200, 500]`; anything else is none. Raises Invalid as `Limits` does.
    """
    told = session.get(District, actor_of(session).district)
    given = (told.settings if told else {}).get("cell_households")
    if not isinstance(given, list) or len(given) != 2 or not all(isinstance(one, int) for one in given):
        return Limits()
    return Limits(*given)


def cells_of(session: Session, community: str) -> CellSet:
    """Return today's cells of a community, ordered by code. Reads only."""
    rows = session.execute(
        text(
            "SELECT code, kind, households, ST_AsBinary(geom) AS geom FROM cell"
            " WHERE district_code = :d AND community_code = :c ORDER BY code"
        ),
        {"d": actor_of(session).district, "c": community},
    ).all()
    return CellSet(
        code=[row.code for row in rows],
        community=[community] * len(rows),
        kind=[row.kind for row in rows],
        geom=np.array([from_db(row.geom) for row in rows], dtype=object),
        households=[row.households for row in rows],
    )


def drawable(session: Session, *, town: str = "") -> list[str]:
    """Return the codes of the communities that have a boundary, of a town or of all. Reads only."""
    sql = text(
        "SELECT code FROM area WHERE district_code = :d AND level = 'community' AND geom IS NOT NULL"
        " AND code LIKE :town ORDER BY code"
    )
    return list(session.scalars(sql, {"d": actor_of(session).district, "town": f"{town}%"}))


def _peopled(session: Session, bare: Site) -> Site:
    """Return the site with homes and places, from the best source there is."""
    values = {"d": actor_of(session).district, "c": bare.community}
    places = session.execute(
        text(
            "SELECT name, type, type_path, ST_X(geom) AS lng, ST_Y(geom) AS lat FROM place"
            " WHERE district_code = :d AND community_code = :c ORDER BY key LIMIT 200000"
        ),
        values,
    ).all()
    at = np.array([(row.lng, row.lat) for row in places], dtype=np.float64).reshape(-1, 2)
    use = np.array([use_of(row.type_path or row.type) for row in places], dtype=np.intp)
    counted = session.execute(
        text(
            "SELECT ST_X(h.geom) AS lng, ST_Y(h.geom) AS lat, count(*) AS homes, min(b.estate) AS estate"
            " FROM household h LEFT JOIN room r ON r.district_code = :d AND r.id = h.room_id"
            " LEFT JOIN building b ON b.district_code = :d AND b.id = r.building_id"
            " WHERE h.district_code = :d AND h.community_code = :c AND h.state = 'living' AND h.geom IS NOT NULL"
            " GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 200000"
        ),
        values,
    ).all()
    if counted:
        homes = np.array([(row.lng, row.lat) for row in counted], dtype=np.float64)
        group, named = _numbered([row.estate or "" for row in counted])
        bare = replace(bare, group_name=named)
        weight = np.array([row.homes for row in counted], dtype=np.float64)
        return _site(bare, (at, use), homes, weight, group=group, basis="counted")
    spots, share, names = _doors(session, values, places, at)
    group, named = estate_groups(names, spots)
    # One estate has many places in the register: gates, blocks, offices. It is counted once.
    again = np.ones(len(group), dtype=bool)
    again[np.unique(group, return_index=True)[1]] = False
    share[again & (group >= 0)] = GUESS["home"]
    bare = replace(bare, group_name=named)
    cells = cells_of(session, bare.community)
    if cells.households and all(known is not None for known in cells.households):
        homes, weight, group = _shared(cells, spots, share, group)
        return _site(bare, (at, use), homes, weight, group=group, basis="shared")
    return _site(bare, (at, use), spots, share * _scale(session), group=group, basis="guessed")


def _site(
    bare: Site,
    places: tuple[NDArray[np.float64], NDArray[np.intp]],
    homes: NDArray[np.float64],
    weight: NDArray[np.float64],
    *,
    group: NDArray[np.intp],
    basis: str,
) -> Site:
    """Return the site with places (which speak of use) and homes (which have households) as its points."""
    at, use = places
    return replace(
        bare,
        points=np.concatenate((at, homes.reshape(-1, 2))),
        households=np.concatenate((np.zeros(len(at)), weight)),
        use=np.concatenate((use, np.full(len(homes), -1))).astype(np.intp),
        group=np.concatenate((np.full(len(at), -1), group)).astype(np.intp),
        basis=basis,
    )


def _doors(
    session: Session, values: Mapping[str, Any], places: Sequence[Any], at: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Return points that people live at or near, how many households each stands for, and names of estates."""
    rows = session.execute(
        text(
            "SELECT ST_X(geom) AS lng, ST_Y(geom) AS lat FROM address"
            " WHERE district_code = :d AND community_code = :c ORDER BY key LIMIT 200000"
        ),
        values,
    ).all()
    doors = np.array([(row.lng, row.lat) for row in rows], dtype=np.float64).reshape(-1, 2)
    share = [_guess(row.type_path or row.type) for row in places]
    names = [row.name if (row.type_path or row.type).startswith(_ESTATE) else "" for row in places]
    return (
        np.concatenate((at, doors)),
        np.concatenate((np.array(share, dtype=np.float64), np.full(len(doors), GUESS["other"]))),
        names + [""] * len(doors),
    )


def _guess(path: str) -> float:
    if path.startswith(_ESTATE):
        return GUESS["estate"]
    return GUESS["home"] if use_of(path) == 0 else GUESS["other"]


def _scale(session: Session) -> float:
    """Return what guesses are multiplied by so that they sum to the households that the district says it has."""
    district = actor_of(session).district
    told = session.get(District, district)
    known = (told.settings if told else {}).get("households")
    if not isinstance(known, int) or known <= 0:
        return 1.0
    rows = session.execute(
        text("SELECT coalesce(nullif(type_path, ''), type) AS path, count(*) AS n FROM place"
             " WHERE district_code = :d GROUP BY 1"),
        {"d": district},
    ).all()  # fmt: skip
    doors = session.scalar(text("SELECT count(*) FROM address WHERE district_code = :d"), {"d": district}) or 0
    guessed = sum(_guess(row.path) * row.n for row in rows) + doors * GUESS["other"]
    return float(known / guessed) if guessed else 1.0


def _shared(
    cells: CellSet, spots: NDArray[np.float64], share: NDArray[np.float64], group: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Return points with the known households of today's cells shared out among the doors of each."""
    cell = first_hit(cells.geom, shapely.points(spots)) if len(spots) else np.zeros(0, dtype=np.intp)
    weight = np.zeros(len(spots))
    more: list[NDArray[np.float64]] = []
    added: list[NDArray[np.float64]] = []
    for i, homes in enumerate(cells.households):
        mine = np.flatnonzero(cell == i)
        if len(mine):
            weight[mine] = (homes or 0) * share[mine] / share[mine].sum()
        elif homes:
            doors = _inside(cells.geom[i])
            more.append(doors)
            added.append(np.full(len(doors), homes / len(doors)))
    at = np.concatenate([spots, *more])
    return at, np.concatenate([weight, *added]), np.concatenate((group, np.full(len(at) - len(spots), -1, np.intp)))


def _inside(cell: shapely.Geometry) -> NDArray[np.float64]:
    """Return some points evenly inside a small polygon in degrees."""
    west, south, east, north = shapely.bounds(cell)
    x, y = np.meshgrid(np.linspace(west, east, 9)[1:-1], np.linspace(south, north, 9)[1:-1])
    inside = shapely.contains_xy(cell, x.ravel(), y.ravel())
    found = np.column_stack((x.ravel()[inside], y.ravel()[inside]))
    return found if len(found) else shapely.get_coordinates(shapely.point_on_surface(cell))


@lru_cache(maxsize=4096)
def use_of(path: str) -> int:
    """Return the use that a place's type path speaks for, as an index into `derive.KINDS`; -1 for none."""
    return next((use for prefix, use in _PREFIXES if path.startswith(prefix)), -1)


_PREFIXES: Final = sorted(
    ((prefix, derive.KINDS.index(use)) for use, told in USES.items() for prefix in told), key=lambda one: -len(one[0])
)


def _usual(session: Session) -> NDArray[np.float64] | None:
    """Return the shares of the three uses among all places of the district; None where none speaks."""
    rows = session.execute(
        text("SELECT coalesce(nullif(type_path, ''), type) AS path, count(*) AS n FROM place"
             " WHERE district_code = :d GROUP BY 1"),
        {"d": actor_of(session).district},
    ).all()  # fmt: skip
    total = np.zeros(3)
    for row in rows:
        if (use := use_of(row.path)) >= 0:
            total[use] += row.n
    return total / total.sum() if total.any() else None


def _numbered(names: Sequence[str]) -> tuple[NDArray[np.intp], list[str]]:
    known: dict[str, int] = {}
    numbers = [known.setdefault(name, len(known)) if name else -1 for name in names]
    return np.array(numbers, dtype=np.intp), list(known)


def estate_groups(names: Sequence[str], at: NDArray[np.float64]) -> tuple[NDArray[np.intp], list[str]]:
    """Return the estate that each point belongs to by its name, -1 for none, and what the estates are called.

    花园, 花园(西门) and 花园3栋 are one.

    names: empty for points that are of no estate; at: `(n, 2)` lon lat. Places of one name far apart are two estates.
    """
    stems = [stem if len(stem := _PART_OF.sub("", name)) >= 2 else "" for name in names]
    group = np.full(len(names), -1, dtype=np.intp)
    found: list[str] = []
    by_stem: dict[str, list[int]] = {}
    for i, stem in enumerate(stems):
        if stem:
            by_stem.setdefault(stem, []).append(i)
    for stem, mine in by_stem.items():
        left = mine
        while len(left) > 1:
            first = at[left[0]]
            # Some hundred metres: a degree of longitude is shorter, which only makes the group narrower.
            near = [i for i in left if float(np.hypot(*((at[i] - first) * 111_000))) <= _GROUP_M]
            if len(near) > 1:
                group[near] = len(found)
                found.append(stem)
            left = [i for i in left if i not in set(near)]
    return group, found

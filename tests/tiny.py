"""A fictional district that fits on one page: two towns, four communities, eight cells, units, rules, every role.

West town 望湖镇 and east town 临江街道 lie side by side, each 0.02 by 0.02 degrees; communities are their south and north
halves, cells the west and east halves of those. Everything here is invented.
"""

from dataclasses import dataclass, field
from functools import cache

import shapely
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.actor import Role
from core.datums import to_db
from dispatch.appointments import ServiceWindow
from dispatch.models import RoutingRule
from grid import accounts, versions
from grid.models import Account, Address, Area, Category, Cell, District, Place, Unit
from tests.builders import NOW

DISTRICT = "990200"
WEST, EAST = "990200001", "990200002"
#: The corner from which the district goes 0.04 degrees east and 0.02 north; EPSG:4490.
LNG, LAT = 113.00, 23.00
PASSWORD = "demo-gewebe-26"
CENTRE, STREETS, WATER, POLICE = "990200-C", "990200-D1", "990200-D2", "990200-E1"
WEST_OFFICE, EAST_OFFICE = "990200-T1", "990200-T2"
#: A counter of the streets' office with two desks, and the west town's home visits.
COUNTER, VISITS = "H1", "H2"
#: login → role, unit, town.
PEOPLE = {
    "operator": (Role.OPERATOR, "", ""),
    "streets": (Role.UNIT, STREETS, ""),
    "water": (Role.UNIT, WATER, ""),
    "westoffice": (Role.UNIT, WEST_OFFICE, ""),
    "gridwest": (Role.GRID_WORKER, "", WEST),
    "official": (Role.OFFICIAL, "", ""),
    "officialeast": (Role.OFFICIAL, "", EAST),
    "supervisor": (Role.SUPERVISOR, "", ""),
    "admin": (Role.ADMIN, "", ""),
    "citizen": (Role.CITIZEN, "", ""),
}
CATEGORIES = {
    "10": "市容环境",
    "1001": "垃圾清运",
    "1002": "占道经营",
    "20": "供水排水",
    "2001": "停水",
    "2002": "井盖缺损",
    "30": "噪声扰民",
    "3001": "施工噪声",
}
ROADS = {"滨湖路": 23.005, "青石街": 23.015}


@dataclass(frozen=True, slots=True)
class Tiny:
    """What tests need to know of the district."""

    code: str = DISTRICT
    password: str = PASSWORD
    #: A point in the middle of a cell of each town, lon lat.
    in_west: tuple[float, float] = (LNG + 0.005, LAT + 0.005)
    in_east: tuple[float, float] = (LNG + 0.025, LAT + 0.005)
    outside: tuple[float, float] = (LNG + 0.5, LAT + 0.5)
    people: dict[str, tuple[Role, str, str]] = field(default_factory=lambda: dict(PEOPLE))


@cache
def _password_hash() -> str:
    return accounts.hash_password(PASSWORD)


def _box(x: float, y: float, width: float, height: float) -> shapely.MultiPolygon:
    return shapely.MultiPolygon([shapely.box(LNG + x, LAT + y, LNG + x + width, LAT + y + height)])


def _areas() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    names = {WEST: ("望湖镇", ("柳岸", "荷塘")), EAST: ("临江街道", ("石桥", "枫林"))}
    for i, (town, (name, parts)) in enumerate(names.items()):
        short = name.removesuffix("镇").removesuffix("街道")
        shape = _box(i * 0.02, 0, 0.02, 0.02)
        rows.append({"code": town, "level": "town", "town_code": town, "name": name, "short": short, "geom": shape})
        for j, part in enumerate(parts):
            rows.append(
                {
                    "code": f"{town}00{j + 1}",
                    "level": "community",
                    "town_code": town,
                    "name": f"{part}社区",
                    "short": part,
                    "geom": _box(i * 0.02, j * 0.01, 0.02, 0.01),
                }
            )
    for row in rows:
        shape = row["geom"]
        assert isinstance(shape, shapely.MultiPolygon)
        row |= {"geom": to_db(shape), "centre": to_db(shape.centroid), "source_datum": "CGCS2000"}
    return rows


def _cells() -> list[dict[str, object]]:
    kinds = ("residential", "commercial", "industrial", "mixed")
    return [
        {
            "code": f"{town}00{j + 1}00{k + 1}",
            "town_code": town,
            "community_code": f"{town}00{j + 1}",
            "kind": kinds[(i * 4 + j * 2 + k) % 4],
            "geom": to_db(_box(i * 0.02 + k * 0.01, j * 0.01, 0.01, 0.01)),
        }
        for i, town in enumerate((WEST, EAST))
        for j in range(2)
        for k in range(2)
    ]


def _spot(lng: float, lat: float) -> dict[str, object]:
    i, j, k = int(lng - LNG >= 0.02), int(lat - LAT >= 0.01), int((lng - LNG) % 0.02 >= 0.01)
    town = (WEST, EAST)[i]
    return {
        "town_code": town,
        "community_code": f"{town}00{j + 1}",
        "cell_code": f"{town}00{j + 1}00{k + 1}",
        "geom": to_db(shapely.Point(lng, lat)),
        "source_datum": "CGCS2000",
        "source_lng": lng,
        "source_lat": lat,
    }


def _places() -> list[dict[str, object]]:
    named = {
        "望湖中学": (113.004, 23.004, "科教文化服务;学校;中学"),
        "柳岸花园": (113.014, 23.006, "商务住宅;住宅区;住宅小区"),
        "荷塘市场": (113.006, 23.016, "购物服务;综合市场;农副产品市场"),
        "临江公园": (113.026, 23.004, "风景名胜;公园广场;公园"),
        "石桥新村": (113.034, 23.006, "商务住宅;住宅区;住宅小区"),
        "枫林工业园": (113.036, 23.016, "商务住宅;产业园区;产业园区"),
    }
    return [
        {"key": f"P{i}", "name": name, "type": path.split(";")[0], "type_path": path} | _spot(lng, lat)
        for i, (name, (lng, lat, path)) in enumerate(named.items())
    ]


def _addresses() -> list[dict[str, object]]:
    return [
        {"key": f"A{road}{n}", "road": road, "house_no": str(n), "addr_key": f"{road}{n}"}
        | _spot(LNG + 0.0005 + n * 0.0005, lat)
        for road, lat in ROADS.items()
        for n in range(2, 78, 4)
    ]


def _windows() -> list[dict[str, object]]:
    hall = {"unit_code": STREETS, "kind": "window", "place": "区政务服务大厅二楼", "slot_min": 30, "capacity": 2}
    home = {"unit_code": WEST_OFFICE, "kind": "home", "place": "望湖镇便民服务中心", "slot_min": 60, "capacity": 1}
    rows: list[dict[str, object]] = [
        {"code": COUNTER, "name": "城管综合窗口"} | hall,
        {"code": VISITS, "name": "望湖镇上门服务队", "travel_min": 30, "area_code": WEST, "town_code": WEST} | home,
    ]
    plain = {"travel_min": 0, "area_code": "", "town_code": "", "invented": True}
    return [plain | row for row in rows]


def make(session: Session) -> Tiny:
    """Write the district and its accounts, unless they are there; as the program, caller commits."""

    def put(model: type, rows: list[dict[str, object]]) -> None:
        made = [{"district_code": DISTRICT} | row for row in rows]
        session.execute(insert(model).on_conflict_do_nothing(), made)

    put(
        District,
        [
            {
                "name": "望江区",
                "city_name": "云州市",
                "fictional": True,
                "revision": 1,
                "loaded_at": NOW,
                "geom": to_db(_box(0, 0, 0.04, 0.02)),
            }
        ],
    )
    put(Area, _areas())
    put(Cell, _cells())
    put(Place, _places())
    put(Address, _addresses())
    put(
        Category,
        [
            {"code": code, "parent_code": code[:-2] or None, "level": len(code) // 2, "name": name}
            for code, name in CATEGORIES.items()
        ],
    )
    put(
        Unit,
        [
            {"code": CENTRE, "name": "区网格中心", "kind": "centre", "area_code": "", "deputy_code": None},
            {"code": STREETS, "name": "区城市管理局", "kind": "department", "area_code": "", "deputy_code": CENTRE},
            {"code": WATER, "name": "区水务局", "kind": "department", "area_code": "", "deputy_code": CENTRE},
            {"code": POLICE, "name": "区公安分局", "kind": "emergency", "area_code": "", "deputy_code": None},
            {
                "code": WEST_OFFICE,
                "name": "望湖镇政府",
                "kind": "town_office",
                "area_code": WEST,
                "deputy_code": CENTRE,
            },
            {
                "code": EAST_OFFICE,
                "name": "临江街道办",
                "kind": "town_office",
                "area_code": EAST,
                "deputy_code": CENTRE,
            },
        ],
    )
    put(
        RoutingRule,
        [
            {"id": "r1", "category_code": "10", "area_code": "", "unit_code": STREETS, "note": "市容归城管"},
            {"id": "r2", "category_code": "20", "area_code": "", "unit_code": WATER, "note": "供排水归水务"},
            {"id": "r3", "category_code": "1002", "area_code": WEST, "unit_code": WEST_OFFICE, "note": "镇内占道归镇"},
        ],
    )
    put(ServiceWindow, _windows())
    for login, (role, unit, town) in PEOPLE.items():
        if accounts.by_login(session, login, district=DISTRICT) is None:
            session.add(
                Account(
                    district_code=DISTRICT,
                    id=_account_id(login),
                    login=login,
                    password_hash=_password_hash(),
                    role=role.value,
                    name=f"试验{login}",
                    unit_code=unit or None,
                    town_code=town,
                    created_at=NOW,
                )
            )
    session.flush()
    # Today's cells have versions, as after a load.
    versions.follow_load(session, at=NOW)
    return Tiny()


def _account_id(login: str) -> object:
    import uuid

    return uuid.uuid5(uuid.NAMESPACE_URL, f"wangge-test:{login}")

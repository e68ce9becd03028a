"""A small fictional town for the geocoder's tests: every name and number in it is invented."""

import shapely

from core.datums import Plane
from hotline.geocode import AreaEntry, Entry, Gazetteer

DISTRICT = "990101"
EAST, WEST = "990101001", "990101002"
PLANE = Plane.at(113.0, 23.0)


def at(east, north):
    """Return lng, lat of a point given in metres from the middle of the district."""
    ((lng, lat),) = PLANE.to_degrees([(east, north)]).tolist()
    return {"lng": lng, "lat": lat}


def place(name, east, north, **more):
    return Entry(kind="place", name=name, town_code=EAST if east > 0 else WEST, **at(east, north), **more)


def address(road, number, east, north):
    return Entry(
        kind="address",
        name="",
        road=road,
        house_no=str(number),
        town_code=EAST if east > 0 else WEST,
        **at(east, north),
    )


def box(west, south, east, north):
    (low, high) = PLANE.to_degrees([(west, south), (east, north)]).tolist()
    return shapely.box(*low, *high)


AREAS = [
    AreaEntry(level="town", code=EAST, name="云岫镇", polygon=box(0, -5000, 5000, 5000)),
    AreaEntry(level="town", code=WEST, name="石桥街道", polygon=box(-5000, -5000, 0, 5000)),
    AreaEntry(level="community", code=EAST + "001", name="春熙社区居委会", polygon=box(0, 0, 2500, 2500)),
    AreaEntry(
        level="community", code=WEST + "001", name="望湖村村委会", lng=at(-3000, 0)["lng"], lat=at(-3000, 0)["lat"]
    ),
]

ENTRIES = [
    # 梧桐大道 runs east along y=1000, twenty metres a number.
    *(address("梧桐大道", n, 1000 + 20 * n, 1000) for n in (1, 2, 10, 11, 20, 30, 40)),
    *(address("长庚三路", n, 2000, 200 + 25 * n) for n in (5, 15, 25)),
    address("大街十一巷", 3, -2000, -300),
    # Two roads of one name, six kilometres apart.
    *(address("和平路", n, 3000 + 10 * n, -3000) for n in (2, 8, 20)),
    *(address("和平路", n, -3500 + 10 * n, 2000) for n in (2, 8, 20)),
    place("锦鲤花园", 1500, 1800),
    place("蓝鲸科技大厦", 2400, 300, address="长庚三路9号"),
    place("飞燕茶饮(锦鲤花园店)", 1510, 1795),
    place("飞燕茶饮(望湖店)", -3000, 50),
    place("白鹭洲公园", -1500, 2500),
    place("中心小学", 500, 500, category="科教文化服务;学校;小学"),
    place("中心小学", -4000, -4000, category="科教文化服务;学校;小学"),
    place("停车场", 900, 900, category="交通设施服务;停车场;停车场"),
    place("栖霞便利", 2080, 1000, address="梧桐大道与长庚三路交叉口东80米"),
    place("洗车行", 4000, 2900, address="听涛雅苑南侧约100米"),
    place("五金店", 4003, 2905, address="听涛雅苑南100米"),
]


def gazetteer(more=()):
    return Gazetteer(
        [*ENTRIES, *more],
        AREAS,
        district="临川区",
        city="东海省云州市",
        boundary=box(-5000, -5000, 5000, 5000),
        outside=["长风市", "北郭区", "东海省", "云州市"],
    )

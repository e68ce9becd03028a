"""A gazetteer written as OpenStreetMap data, so that a geocoder of that world can be asked what ours is asked.

Everything that ours is built from goes in, in the shape that serves the other best: towns and the district as boundary
relations, places as tagged nodes, and of every road its numbers as address nodes, a line through them, and
interpolation lines between neighbours, by which it may place a number that nobody registered.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from xml.sax.saxutils import quoteattr

import shapely

from hotline.geocode import Gazetteer
from hotline.geocode.roads import Road, Spot

#: First level of a place's type → main tag; whatever has none of these is an office.
_TAGS: Mapping[str, tuple[str, str]] = {
    "餐饮服务": ("amenity", "restaurant"),
    "购物服务": ("shop", "yes"),
    "生活服务": ("shop", "yes"),
    "汽车服务": ("shop", "car"),
    "风景名胜": ("tourism", "attraction"),
    "科教文化服务": ("amenity", "school"),
    "体育休闲服务": ("leisure", "sports_centre"),
    "医疗保健服务": ("amenity", "clinic"),
    "交通设施服务": ("amenity", "bus_station"),
    "通行设施": ("amenity", "public_building"),
    "政府机构及社会团体": ("office", "government"),
    "住宿服务": ("tourism", "hotel"),
    "商务住宅": ("building", "residential"),
    "地名地址信息": ("place", "locality"),
}
_OTHER = ("office", "yes")
#: Neighbouring numbers further apart than this, in metres, have no line between them.
_FAR_M = 1500.0
#: Half of the line of a road of which one point is known, in metres.
_STUB_M = 10.0


class _Map:
    """Collects nodes, ways and relations, each kind numbered from 1."""

    def __init__(self) -> None:
        self.nodes: list[str] = []
        self.ways: list[str] = []
        self.relations: list[str] = []

    def node(self, lng: float, lat: float, tags: Mapping[str, str] | None = None) -> int:
        number = len(self.nodes) + 1
        self.nodes.append(f'<node id="{number}" version="1" lat="{lat:.7f}" lon="{lng:.7f}">{_tags(tags or {})}</node>')
        return number

    def way(self, nodes: Sequence[int], tags: Mapping[str, str] | None = None) -> int:
        number = len(self.ways) + 1
        refs = "".join(f'<nd ref="{node}"/>' for node in nodes)
        self.ways.append(f'<way id="{number}" version="1">{refs}{_tags(tags or {})}</way>')
        return number

    def boundary(self, shape: shapely.Geometry, tags: Mapping[str, str]) -> None:
        members = []
        for polygon in shapely.get_parts(shape):
            for role, rings in (("outer", [polygon.exterior]), ("inner", polygon.interiors)):
                for ring in rings:
                    nodes = [self.node(x, y) for x, y in shapely.get_coordinates(ring)[:-1]]
                    members.append(f'<member type="way" ref="{self.way([*nodes, nodes[0]])}" role="{role}"/>')
        kind = {"type": "boundary", "boundary": "administrative", **tags}
        number = len(self.relations) + 1
        self.relations.append(f'<relation id="{number}" version="1">{"".join(members)}{_tags(kind)}</relation>')

    def write(self, path: Path) -> None:
        with path.open("w", encoding="utf-8") as out:
            out.write('<?xml version="1.0" encoding="UTF-8"?>\n<osm version="0.6" generator="wangge bench">\n')
            for part in (self.nodes, self.ways, self.relations):
                out.writelines(f"{line}\n" for line in part)
            out.write("</osm>\n")


def write(gazetteer: Gazetteer, path: Path) -> str:
    """Write the gazetteer as OSM XML; return in words how much it is."""
    made = _Map()
    _areas(made, gazetteer)
    places = _places(made, gazetteer)
    roads = numbers = 0
    for name in gazetteer.names.values():
        for road in name.roads:
            roads += 1
            numbers += _road(made, gazetteer, road)
    made.write(path)
    return f"{places:,} places, {roads:,} roads, {numbers:,} house numbers, {len(made.relations)} boundaries"


def _areas(made: _Map, gazetteer: Gazetteer) -> None:
    shapes = []
    for area in gazetteer.areas:
        names = {"name": area.name} | ({"alt_name": ";".join(area.aliases)} if area.aliases else {})
        if area.polygon is not None:
            shapes.append(area.polygon)
            level = "8" if area.level == "town" else "10"
            stem = area.name.removesuffix("街道").removesuffix("镇")
            made.boundary(area.polygon, {"alt_name": stem, **names, "admin_level": level})
        elif area.lng is not None and area.lat is not None:
            made.node(area.lng, area.lat, {"place": "neighbourhood", **names})
    everything = shapely.union_all(shapes)
    made.boundary(everything, {"name": gazetteer.district, "admin_level": "6"})
    for city in gazetteer.cities[-1:]:
        # Wider than the district, or the two would be one to it.
        made.boundary(shapely.simplify(everything.buffer(0.05), 0.005), {"name": city, "admin_level": "5"})


def _places(made: _Map, gazetteer: Gazetteer) -> int:
    seen = set()
    for row in gazetteer.rows:
        key = (row.name, round(row.lng, 5), round(row.lat, 5))
        if not row.name or key in seen:
            continue
        seen.add(key)
        main, value = _TAGS.get(row.category.partition(";")[0], _OTHER)
        other = {"alt_name": ";".join(row.aliases)} if row.aliases else {}
        made.node(row.lng, row.lat, {main: value, "name": row.name, **other})
    return len(seen)


def _road(made: _Map, gazetteer: Gazetteer, road: Road) -> int:
    """Add one road: its line, its numbers, and what lies between them; return how many numbers."""
    plane, doors = gazetteer.plane, []

    def node(spot: Spot, tags: Mapping[str, str] | None = None) -> int:
        return made.node(spot[0] / plane.per_lng + plane.lng, spot[1] / plane.per_lat + plane.lat, tags)

    for number in sorted(road.known):
        spot = _middle(road.known[number])
        # Written both ways, as people ask; one node, since whoever asks gets one of several at random.
        door = node(spot, {"addr:housenumber": f"{number};{number}号", "addr:street": road.name})
        doors.append((number, spot, door))
    made.way([node(spot) for spot in course(road)], {"highway": "residential", "name": road.name})
    for (lower, one, first), (upper, two, last) in pairwise(doors):
        if upper - lower > 1 and math.dist(one, two) <= _FAR_M:
            made.way([first, last], {"addr:interpolation": "all", "addr:street": road.name})
    return len(doors)


def course(road: Road) -> list[Spot]:
    """Return a line for a road: through its numbers in order, else along the longer way that its points spread."""
    if len(road.known) > 1:
        spots = [_middle(road.known[number]) for number in sorted(road.known)]
    else:
        spots = road.points()
        wide, high = (max(axis) - min(axis) for axis in zip(*spots, strict=True))
        spots = sorted(spots, key=lambda spot: spot[0 if wide > high else 1])
    spots = list(dict.fromkeys(spots))
    if len(spots) == 1:
        x, y = spots[0]
        return [(x - _STUB_M, y), (x + _STUB_M, y)]
    return spots


def _middle(spots: Sequence[Spot]) -> Spot:
    return median(x for x, _ in spots), median(y for _, y in spots)


def _tags(tags: Mapping[str, str]) -> str:
    return "".join(f"<tag k={quoteattr(key)} v={quoteattr(value)}/>" for key, value in tags.items() if value)

"""What the worker's phone works out by itself, in the browser that runs it: the map's bytes, the way, the track."""

import gzip
import io
import random
import struct

import pytest
from playwright.sync_api import Browser, Page
from pmtiles.tile import Compression, TileType, zxy_to_tileid
from pmtiles.writer import Writer

from tests import tiny

pytestmark = pytest.mark.journey


@pytest.fixture
def shell(chromium: Browser, server: str) -> Page:
    context = chromium.new_context(service_workers="block")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{server}/field")
    yield page
    context.close()


def varint(number: int) -> bytes:
    out = bytearray()
    while True:
        out.append(number & 127 | (128 if number > 127 else 0))
        number >>= 7
        if not number:
            return bytes(out)


def part(field: int, body: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(body)) + body


def zigzag(number: int) -> int:
    return number * 2 if number >= 0 else -number * 2 - 1


def tile_of(name: str) -> bytes:
    """Return a vector tile by the letter of its specification: a road named `name`, from (2, 2) to (2, 10), (10, 10)."""
    steps = [9, zigzag(2), zigzag(2), 18, zigzag(0), zigzag(8), zigzag(8), zigzag(0)]
    tags = varint(0) + varint(0) + varint(1) + varint(1)
    road = part(2, tags) + varint(24) + varint(2) + part(4, b"".join(varint(step) for step in steps))
    values = part(4, part(1, name.encode())) + part(4, varint(25) + struct.pack("<d", 3.5))
    layer = part(1, b"roads") + part(2, road) + part(3, b"name") + part(3, b"wide") + values
    return part(3, layer + varint(40) + varint(4096) + varint(120) + varint(2))


def pack(tiles: dict[tuple[int, int, int], bytes]) -> bytes:
    out = io.BytesIO()
    writer = Writer(out)
    for place in sorted(tiles, key=lambda at: zxy_to_tileid(*at)):
        writer.write_tile(zxy_to_tileid(*place), gzip.compress(tiles[place]))
    head = {"tile_type": TileType.MVT, "tile_compression": Compression.GZIP, "min_zoom": 12, "max_zoom": 16}
    bounds = {f"{edge}_e7": 0 for edge in ("min_lon", "min_lat", "max_lon", "max_lat", "center_lon", "center_lat")}
    writer.finalize(head | bounds | {"center_zoom": 12}, {})
    return out.getvalue()


READ = """async ({bytes, at}) => {
  const { Pack } = await import("/static/field/tiles.js");
  const pack = await Pack.open(new Blob([new Uint8Array(bytes)]));
  return Promise.all(at.map(([z, x, y]) => pack.tile(z, x, y)));
}"""


def test_the_phone_reads_the_tiles_that_another_program_wrote(shell: Page) -> None:
    here = {(14, 13334 + i, 7105 + j): tile_of(f"滨湖路{i},{j}") for i in range(3) for j in range(3)}
    bytes_ = list(pack(here))
    found = shell.evaluate(READ, {"bytes": bytes_, "at": [[14, 13335, 7107], [14, 13300, 7105], [13, 1, 1]]})
    road = found[0]["roads"]["features"][0]
    assert road["tags"] == {"name": "滨湖路1,2", "wide": 3.5}
    assert (road["kind"], road["lines"]) == (2, [[[2, 2], [2, 10], [10, 10]]])
    assert found[1:] == [None, None]


def test_the_phone_finds_tiles_behind_leaf_directories(shell: Page) -> None:
    # Over 16 KB of root, which makes the writer put leaves behind it.
    lots = random.Random(5)
    places = {(16, 53000 + lots.randrange(400), 28000 + lots.randrange(400)) for _ in range(9000)}
    tiles = {at: tile_of(f"{at[1]},{at[2]}") for at in places}
    wanted = lots.sample(sorted(places), 40)
    found = shell.evaluate(READ, {"bytes": list(pack(tiles)), "at": [list(at) for at in wanted]})
    assert [one["roads"]["features"][0]["tags"]["name"] for one in found] == [f"{x},{y}" for _, x, y in wanted]


def test_a_broken_map_is_an_error_and_no_endless_loop(shell: Page) -> None:
    ask = """async (bytes) => {
      const { Pack } = await import("/static/field/tiles.js");
      try { await Pack.open(new Blob([new Uint8Array(bytes)])); return "opened"; } catch (error) { return error.name; }
    }"""
    whole = pack({(14, 13334, 7105): tile_of("滨湖路")})
    assert shell.evaluate(ask, list(whole)) == "opened"
    for broken in (b"", b"PMTiles\x02" + whole[8:], whole[:130], b"x" * 500):
        assert shell.evaluate(ask, list(broken)) != "opened"


def test_tile_numbers_are_those_of_the_format(shell: Page) -> None:
    lots = random.Random(3)
    asked = [(z, lots.randrange(2**z), lots.randrange(2**z)) for z in range(1, 20) for _ in range(20)]
    numbers = shell.evaluate(
        "async (all) => { const m = await import('/static/field/tiles.js'); return all.map((at) => m.tileId(...at)); }",
        [list(at) for at in asked],
    )
    assert numbers == [zxy_to_tileid(*at) for at in asked]


WALK = """async ({from, points}) => {
  const { route, apart } = await import("/static/field/place.js");
  const order = route({length: 2, 0: from[0], 1: from[1]}, points);
  const long = (all) => all.reduce((sum, one, i) => sum + apart(i ? points[all[i - 1]] : from, points[one]), 0);
  return { order, ours: long(order), plain: long(points.map((_, i) => i)) };
}"""


def test_the_way_visits_every_task_once_and_undoes_crossings(shell: Page) -> None:
    # Two rows of houses: whoever always takes the nearest one crosses the street and comes back.
    points = [[tiny.LNG + x / 1000, tiny.LAT + y / 1000] for x in range(8) for y in (0, 1)]
    lots = random.Random(1)
    lots.shuffle(points)
    told = shell.evaluate(WALK, {"from": [tiny.LNG - 0.001, tiny.LAT], "points": points})
    assert sorted(told["order"]) == list(range(16))
    assert told["ours"] < told["plain"] * 0.6
    assert told["ours"] < 16 * 115


def test_a_track_is_thinned_and_stays_within_its_tolerance(shell: Page) -> None:
    line = [[113 + i / 100_000, 23 + (0.00002 if i % 2 else 0), 5] for i in range(200)]
    line[100][1] = 23.001
    kept = shell.evaluate("async (line) => (await import('/static/field/place.js')).thinned(line, 5)", line)
    assert len(kept) < 12
    assert line[100] in kept
    assert [kept[0], kept[-1]] == [line[0], line[-1]]


def test_a_category_is_guessed_from_the_place_then_from_habit(shell: Page) -> None:
    known = {
        "categories": [{"code": "a", "recent": 20}, {"code": "b", "recent": 1}, {"code": "c", "recent": 0}],
        "recent_near": [{"category": "c", "lng": 113.0001, "lat": 23.0}, {"category": "c", "lng": 113.0, "lat": 23.0}],
    }
    guess = (
        """async ({known, at}) => (await import('/static/field/report.js')).guesses(known, at).map((one) => one.code)"""
    )
    assert shell.evaluate(guess, {"known": known, "at": {"lng": 113.0, "lat": 23.0}})[0] == "c"
    assert shell.evaluate(guess, {"known": known, "at": {"lng": 113.1, "lat": 23.0}})[0] == "a"
    assert shell.evaluate(guess, {"known": known, "at": None})[0] == "a"


def test_keys_are_uuids_of_version_7_in_the_order_of_their_making(shell: Page) -> None:
    keys = shell.evaluate(
        "async () => { const m = await import('/static/field/store.js'); return [...Array(50).keys()].map((i) => m.newKey(1.7e12 + i)); }"
    )
    assert keys == sorted(keys)
    assert all(key[14] == "7" and key[19] in "89ab" and len(key) == 36 for key in keys)

"""The fictional district: the same for a seed, exact to the centimetre, with truth that can be believed."""

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import islice

import numpy as np
import pytest
import shapely

from core.errors import Invalid
from core.settings import ROOT
from dispatch.calendar import CHINA, national_calendar
from grid.fiction import MOST_HOUSEHOLDS, build
from grid.formats import open_folder
from grid.ground import read_ground
from grid.tabular import Rejects
from hotline.fiction import CHANNELS, Mix, complaints, generate, spread, wording
from hotline.play import messages

pytestmark = pytest.mark.unit

AT = datetime(2026, 11, 18, 6, 0, tzinfo=UTC)
LEVEL1 = {"城乡建设", "环境保护", "交通运输", "教育文体", "劳动和社会保障", "商贸旅游", "卫生计生"}


@pytest.fixture(scope="module")
def fiction():
    return build(seed=7, households=20_000)


@pytest.fixture(scope="module")
def said(fiction):
    return list(complaints(fiction, count=6_000, start=date(2025, 1, 1), days=120, seed=3))


def test_same_seed_writes_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        generate(tmp_path / name, seed=5, households=2_000, cases=300, at=AT)
    generate(tmp_path / "other", seed=6, households=2_000, cases=300, at=AT)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(files) == 15
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    assert (tmp_path / "one" / "cases.jsonl").read_bytes() != (tmp_path / "other" / "cases.jsonl").read_bytes()


@pytest.mark.parametrize("households", [1, 3_000, 20_000, 150_000])
def test_areas_tile_the_district_on_every_level(households):
    fiction = build(seed=1, households=households)
    assert fiction.households.sum() == households
    assert (fiction.households >= 0).all()
    assert fiction.cell_code == sorted(fiction.cell_code)
    assert shapely.coverage_is_valid(fiction.cell_shape)
    assert shapely.coverage_is_valid(np.array(fiction.community_shape, dtype=object))
    total = shapely.area(fiction.cell_shape).sum()
    assert total == pytest.approx(sum(shape.area for shape in fiction.community_shape), rel=1e-12)
    assert total == pytest.approx(sum(shape.area for shape in fiction.town_shape), rel=1e-12)
    codes = np.array([code[:12] for code in fiction.cell_code])
    for code, shape in zip(fiction.community_code, fiction.community_shape, strict=True):
        assert shapely.equals(shapely.coverage_union_all(fiction.cell_shape[codes == code]), shape)


def test_every_door_and_place_lies_in_its_cell(fiction):
    doors, places = fiction.doors, fiction.places
    for cell, at in ((doors.cell, doors.lng_lat), (places.cell, places.lng_lat)):
        assert shapely.contains_xy(fiction.cell_shape[cell], at[:, 0], at[:, 1]).all()


def test_house_numbers_rise_along_a_road_with_odd_and_even_apart(fiction):
    doors = fiction.doors
    pairs = set(zip(doors.road.tolist(), doors.number.tolist(), strict=True))
    # A lane has all its numbers in one cell, a road each of them in one place.
    assert len(pairs) == len(doors.road)
    road = int(np.bincount(doors.road).argmax())
    mine = doors.road == road
    order = np.argsort(doors.number[mine])
    at = doors.lng_lat[mine][order]
    for side in (0, 1):
        steps = np.diff(at[doors.number[mine][order] % 2 == side], axis=0)
        main = steps[:, int(np.abs(steps).sum(axis=0).argmax())]
        assert (main > 0).all() or (main < 0).all()


def test_names_are_given_out_once(fiction):
    names = [*fiction.towns, *fiction.communities, *fiction.roads, *fiction.places.name]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("households", [0, -5, MOST_HOUSEHOLDS + 1])
def test_size_that_no_district_has_is_refused(households):
    with pytest.raises(Invalid, match="households"):
        build(seed=1, households=households)


def test_folder_loads_without_a_refused_row(tmp_path, fiction):
    made = generate(tmp_path, seed=7, households=20_000, cases=10, at=AT)
    rejects = Rejects()
    ground = read_ground(open_folder(tmp_path), rejects)
    assert rejects == []
    assert ground.folder.fictional
    assert len(ground.cells.code) == made.cells == len(fiction.cell_code)
    assert ground.cells.code == fiction.cell_code
    assert not ground.cells.derived
    assert sum(ground.cells.households) == 20_000
    # What the loader finds by geometry is what the generator knows by construction.
    assert ground.places.cell_code == [fiction.cell_code[i] for i in fiction.places.cell]
    known = fiction.doors.cell[fiction.doors.known]
    assert ground.addresses.cell_code == [fiction.cell_code[i] for i in known]


def test_every_category_of_the_seven_first_levels_has_sentences():
    words = wording()
    assert set(words.categories) == LEVEL1
    assert len(words.flat) == 42
    assert all(len(templates) >= 2 and words.topics[i] and words.ideas[i] for i, templates in enumerate(words.problems))
    assert all("(" not in s and "|" not in s for node in words.problems for template in node for s in template)


def test_sentences_are_not_the_classifiers_own():
    # Accuracy on fictional texts means something only while the model has not seen their sentences.
    folder = ROOT / "hotline" / "sentences"
    theirs = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt")))
    assert theirs
    mine = [sentence for node in wording().problems for template in node for sentence in template]
    alike = [s for s in mine if any(s[i : i + 8] in theirs for i in range(len(s) - 7))]
    assert len(alike) < 0.02 * len(mine)


def test_choices_are_written_out():
    assert spread("(a|b)c(d|)") == ("acd", "ac", "bcd", "bc")


def test_texts_come_in_order_of_time_within_the_period(said):
    times = [one["at"] for one in said]
    assert times == sorted(times)
    assert times[0].astimezone(CHINA).date() >= date(2025, 1, 1)
    assert times[-1].astimezone(CHINA).date() < date(2025, 1, 1) + timedelta(days=120)
    assert len({one["id"] for one in said}) == len(said) == 6_000


def test_fewer_people_call_at_night_and_on_days_off(said):
    hours = Counter(one["at"].hour for one in said)
    assert hours[10] > 5 * hours[3]
    calendar = national_calendar()
    days = Counter(one["at"].date() for one in said)
    worked = [n for day, n in days.items() if calendar.is_working(day)]
    off = [n for day, n in days.items() if not calendar.is_working(day)]
    assert np.mean(off) < 0.75 * np.mean(worked)


def test_text_names_the_place_of_its_truth(said, fiction):
    shapes = dict(zip(fiction.cell_code, fiction.cell_shape, strict=True))
    for one in said:
        truth = one["truth"]
        assert one["channel"] in CHANNELS
        assert truth["level1"] == truth["category"].split("/")[0]
        if truth["status"] != "located":
            assert truth["lng"] is truth["cell"] is truth["town"] is None
        if truth["cell"]:
            assert shapely.contains_xy(shapes[truth["cell"]], truth["lng"], truth["lat"])
            assert truth["town"] == truth["cell"][:9]
    door = fiction.doors
    roads = {name: i for i, name in enumerate(fiction.roads)}
    sound = [one for one in said if one["truth"]["place"] in ("road", "full") and not one["truth"]["damaged"]]
    assert len(sound) > 1_000
    where = {(int(r), int(n)): tuple(p) for r, n, p in zip(door.road, door.number, door.lng_lat.tolist(), strict=True)}
    for one in sound[:400]:
        named = [r for name, r in roads.items() if name in one["text"]]
        points = [where[r, n] for r in named for n in range(1, 400) if (r, n) in where and f"{n}" in one["text"]]
        assert (one["truth"]["lng"], one["truth"]["lat"]) in points, one["text"]


def test_every_way_to_name_a_place_and_every_kind_occurs(said):
    ways = Counter(one["truth"]["place"] for one in said)
    assert set(ways) == {
        "full",
        "road",
        "numeral",
        "estate",
        "junction",
        "near",
        "place",
        "community",
        "town",
        "outside",
        "none",
    }
    assert {one["truth"]["kind"] for one in said} == {"complaint", "help", "enquiry", "suggestion", "praise"}
    assert {one["truth"]["level1"] for one in said} == LEVEL1
    urgent = Counter(one["truth"]["urgency"] for one in said)
    assert 0 < urgent["emergency"] < urgent["utilities"] < 0.05 * urgent["ordinary"]
    assert len({one["text"] for one in said}) > 0.9 * len(said)


def test_duplicates_repeat_an_earlier_matter_nearby_in_other_words(said):
    known = {one["id"]: one for one in said}
    repeats = [one for one in said if one["truth"]["duplicate_of"]]
    assert 0.06 < len(repeats) / len(said) < 0.16
    for one in repeats:
        first = known[one["truth"]["duplicate_of"]]
        assert first["truth"]["duplicate_of"] is None
        assert timedelta(0) <= one["at"] - first["at"] <= timedelta(days=3)
        assert one["truth"]["category"] == first["truth"]["category"]
    same = sum(one["text"] == known[one["truth"]["duplicate_of"]]["text"] for one in repeats)
    assert same < 0.05 * len(repeats)
    assert max(Counter(one["truth"]["duplicate_of"] for one in repeats).values()) >= 3


def test_shares_are_the_callers(fiction):
    mix = Mix(duplicates=0, damaged=1, nowhere=0.5, outside=0.5)
    found = list(complaints(fiction, count=400, start=date(2025, 3, 3), days=2, mix=mix))
    assert {one["truth"]["status"] for one in found} == {"unlocatable", "outside"}
    mix = Mix(duplicates=0, damaged=1, nowhere=0, outside=0)
    found = list(complaints(fiction, count=400, start=date(2025, 3, 3), days=2, mix=mix))
    named = [one for one in found if one["truth"]["place"] not in ("community", "town")]
    assert all(one["truth"]["damaged"] for one in named)
    assert not any(one["truth"]["duplicate_of"] for one in found)
    with pytest.raises(Invalid, match="Shares"):
        Mix(nowhere=0.8, outside=0.4)


def test_texts_are_streamed(fiction):
    endless = complaints(fiction, count=50_000_000, start=date(2020, 1, 1), days=3_000)
    assert len(list(islice(endless, 50))) == 50


def test_cases_can_be_played(tmp_path):
    generate(tmp_path, seed=2, households=2_000, cases=500, at=AT)
    played = list(messages(tmp_path / "cases.jsonl"))
    written = [json.loads(line) for line in (tmp_path / "cases.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(m.id, m.text, m.truth) for m in played] == [(w["id"], w["text"], w["truth"]) for w in written]
    assert all(m.at.tzinfo for m in played)
    assert played[-1].at < AT

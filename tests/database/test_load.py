"""Loading a district: all of it or nothing, again without change, and what becomes of rows that are gone."""

import csv
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import shapely
from sqlalchemy import text

from core.actor import system
from core.datums import from_db
from core.db import snapshot, transaction
from core.errors import Invalid
from core.settings import settings
from dispatch.calendar import NOTICES
from dispatch.load import load
from dispatch.rulebook import read_rulebook
from grid.fiction import CODE
from hotline.fiction import generate
from tests.builders import make_case

pytestmark = pytest.mark.database

AT = datetime(2026, 11, 18, 6, 0, tzinfo=UTC)
#: In the order in which rows may go.
TABLES = (
    "cell_lineage", "cell_change_entry", "cell_version", "cell_draft", "cell_change",
    "entry", "assignment", "deadline", "report", "cases", "routing_rule", "limit_rule", "place", "address", "ground_line", "cell",
    "area", "category", "account", "unit", "load_run", "district",
)  # fmt: skip
BOOK = system(CODE, "tests")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("district")
    generate(folder, seed=7, households=2_000, cases=0, at=AT)
    return folder


@pytest.fixture
def folder(database, made, tmp_path):
    """Yield a copy of a fictional district's folder that a test may spoil; the database has no such district."""
    target = tmp_path / "folder"
    shutil.copytree(made, target)
    _forget(CODE)
    yield target
    _forget(CODE)


def _forget(code):
    # Loads commit: what a test leaves is taken out by the owner of the tables, who alone may touch the log.
    from core.db import make_engine

    engine = make_engine(settings().owner_url, pool_size=1)
    with engine.begin() as link:
        for table in TABLES:
            link.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
            link.execute(text(f"DELETE FROM {table} WHERE district_code = :d"), {"d": code})
            link.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))
        link.execute(text("DELETE FROM calendar_notice"))
    engine.dispose()


def ask(sql, **params):
    with snapshot(BOOK) as session:
        return session.execute(text(sql), {"d": CODE, **params}).all()


def count(table, where="true"):
    return ask(f"SELECT count(*) FROM {table} WHERE district_code = :d AND {where}")[0][0]


def rows(path: Path):
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines))


def rewrite(path: Path, change):
    """Let `change` edit the rows of a CSV file, the header first."""
    found = rows(path)
    with path.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(change(found) or found)


def test_whole_folder_is_loaded(folder):
    report = load(folder, at=AT)
    assert report.changed
    assert not report.rejects
    for table, file in (("place", "places"), ("address", "addresses"), ("unit", "units"), ("routing_rule", "rules")):
        assert count(table) == len(rows(folder / f"{file}.csv")) - 1, table
    ((fictional, revision, at, outside),) = ask(
        "SELECT fictional, revision, loaded_at, settings -> 'outside' FROM district WHERE district_code = :d"
    )
    assert (fictional, revision, at) == (True, 1, AT)
    assert "锦屏区" in outside
    assert ask("SELECT max(level), count(*) FROM category WHERE district_code = :d") == [(2, 49)]
    # Every place has a cell, and the database agrees with what was computed in the process.
    sql = (
        "SELECT count(*) FROM place JOIN cell ON cell.district_code = place.district_code AND cell.code = place.cell_code"
        " WHERE place.district_code = :d AND cell.district_code = :d AND ST_Covers(cell.geom, place.geom)"
    )
    assert ask(sql)[0][0] == count("place")
    with snapshot(BOOK) as session:
        book = read_rulebook(session, CODE)
    assert book.routing.assign(_category(book, "环境保护"), "", AT).unit == "HB"
    assert str(book.limits.limit("reply", kind="enquiry")) == "3wd"


def _category(book, name):
    return next(node.code for node in book.categories.values() if node.name == name)


def test_same_folder_again_changes_nothing(folder):
    load(folder, at=AT)
    before = ask("SELECT xmin::text, ctid::text FROM place WHERE district_code = :d ORDER BY key")
    again = load(folder, at=AT)
    assert not again.changed
    assert count("load_run") == 1
    # A folder that differs only in its manifest is read again and finds every row as it was.
    manifest = folder / "district.yaml"
    manifest.write_text(manifest.read_text("utf-8") + "# remark\n", "utf-8")
    third = load(folder, at=AT)
    assert not third.changed
    assert ask("SELECT xmin::text, ctid::text FROM place WHERE district_code = :d ORDER BY key") == before
    assert ask("SELECT revision FROM district WHERE district_code = :d") == [(1,)]


def test_changed_folder_replaces_what_differs_and_removes_what_is_gone(folder):
    load(folder, at=AT)
    gone = rows(folder / "places.csv")[-1][0]

    def change(found):
        found[1][1] = "改名便利店"
        return found[:-1]

    rewrite(folder / "places.csv", change)
    report = load(folder, at=AT)
    assert (report.counts["places"].changed, report.counts["places"].gone) == (1, 1)
    assert (report.counts["addresses"].changed, report.counts["addresses"].gone) == (0, 0)
    assert ask("SELECT name FROM place WHERE district_code = :d AND key = 'P0000000'") == [("改名便利店",)]
    assert not count("place", f"key = '{gone}'")
    assert ask("SELECT revision FROM district WHERE district_code = :d") == [(2,)]


def test_unit_that_is_gone_is_retired_and_comes_back(folder):
    load(folder, at=AT)
    whole = (folder / "units.csv").read_text("utf-8")
    rules = (folder / "rules.csv").read_text("utf-8")
    rewrite(folder / "units.csv", lambda found: [row for row in found if row[0] != "WT"])
    rewrite(folder / "rules.csv", lambda found: [row for row in found if row[5] != "WT"])
    assert load(folder, at=AT).counts["units"].gone == 1
    assert ask("SELECT active FROM unit WHERE district_code = :d AND code = 'WT'") == [(False,)]
    (folder / "units.csv").write_text(whole, "utf-8")
    (folder / "rules.csv").write_text(rules, "utf-8")
    load(folder, at=AT)
    assert ask("SELECT active FROM unit WHERE district_code = :d AND code = 'WT'") == [(True,)]


def test_two_units_may_swap_their_names(folder):
    load(folder, at=AT)

    def swap(found):
        found[2][1], found[3][1] = found[3][1], found[2][1]

    rewrite(folder / "units.csv", swap)
    load(folder, at=AT)
    named = dict(tuple(row) for row in ask("SELECT code, name FROM unit WHERE district_code = :d AND active"))
    assert named == {row[0]: row[1] for row in rows(folder / "units.csv")[1:]}


def test_category_and_area_that_cases_name_stay(folder):
    load(folder, at=AT)
    ((category,),) = ask("SELECT code FROM category WHERE district_code = :d AND name = '旅游服务'")
    with transaction(BOOK) as session:
        make_case(session, district=CODE, category_code=category)
    rewrite(
        folder / "categories.csv", lambda found: [row for row in found if row[1] not in ("旅游服务", "生育与计生服务")]
    )
    rewrite(folder / "rules.csv", lambda found: [row for row in found if "旅游服务" not in row[1]])
    load(folder, at=AT)
    assert count("category", f"code = '{category}'") == 1
    assert count("category", "name = '生育与计生服务'") == 0


def test_bad_rows_of_a_register_are_left_out_and_reported(folder, tmp_path):
    def spoil(found):
        found[1][4], found[1][5] = found[1][5], found[1][4]
        found[2][5] = "north"
        found[3][1] = ""
        found[4][0] = found[5][0]
        found[6][4] = str(float(found[6][4]) + 1)

    rewrite(folder / "places.csv", spoil)
    report = load(folder, at=AT, report_to=tmp_path / "var" / "report.csv")
    assert report.counts["places"].refused == len(report.rejects) == 5
    assert count("place") == len(rows(folder / "places.csv")) - 6
    written = rows(tmp_path / "var" / "report.csv")
    written[0][0] = written[0][0].removeprefix("\ufeff")
    assert written[0] == ["file", "row", "column", "reason", "value"]
    assert {(row[0], row[1], row[2]) for row in written[1:]} == {
        ("places.csv", "2", "lng"),
        ("places.csv", "3", "lat"),
        ("places.csv", "4", "name"),
        ("places.csv", "6", "key"),
        ("places.csv", "7", "lng"),
    }
    assert any("swapped" in row[3] for row in written)


def test_row_that_is_refused_now_stays_as_it_was_loaded(folder):
    load(folder, at=AT)
    rewrite(folder / "places.csv", lambda found: found[1].__setitem__(4, "here"))
    report = load(folder, at=AT)
    assert report.counts["places"].refused == 1
    assert count("place", "key = 'P0000000'") == 1


def spoil_towns(folder):
    path = folder / "towns.geojson"
    path.write_text(path.read_text("utf-8").replace("[[[", "[[[83.0,39.0],[", 1), "utf-8")


def spoil_cells(old, new):
    def change(folder):
        path = folder / "cells.geojson"
        path.write_text(path.read_text("utf-8").replace(old, new, 1), "utf-8")

    return change


def spoil_manifest(old, new):
    def change(folder):
        path = folder / "district.yaml"
        told = path.read_text("utf-8")
        assert old in told
        path.write_text(told.replace(old, new, 1), "utf-8")

    return change


def spoil(file, change):
    return lambda folder: rewrite(folder / file, change)


def append(file, *row):
    return spoil(file, lambda found: [*found, list(row)])


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (spoil_towns, "not closed"),
        (spoil_cells("990101001001001", "990101001001002"), "stands already"),
        (spoil_cells('"residential"', '"rural"'), "must be one of"),
        (spoil_cells("990101001001001", "990109001001001"), "of no community"),
        (append("communities.csv", "990199001001", "远方社区居委会"), "that of no town"),
        (append("units.csv", "QZX", "又一个中心", "centre", "", ""), "stands already"),
        (append("units.csv", "Q2", "又一个中心", "centre", "", ""), "exactly one unit"),
        (append("units.csv", "Q2", "某处", "department", "", "QX"), "no unit QX"),
        (append("rules.csv", "f99", "没有的类别", "", "", "", "HB", ""), "no category"),
        (append("rules.csv", "f99", "环境保护", "", "", "", "NO", ""), "no unit"),
        (append("rules.csv", "f99", "环境保护", "", "", "", "ZJ", ""), "as specific as"),
        (append("rules.csv", "f99", "", "", "8", "", "ZJ", ""), "weekdays"),
        (append("limits.csv", "reply", "", "", "", "soon"), "no limit"),
        (spoil("limits.csv", lambda found: [row for row in found if row[0] != "sign"]), "clock sign has no limit"),
        (spoil("units.csv", lambda found: found[1].__setitem__(4, "ZJ")), "circle"),
        (spoil("places.csv", lambda f: [f[0]] + [[*r[:4], r[5], r[4]] for r in f[1:]]), "cannot be taken"),
        (spoil_manifest("settings:", "settings:\n  office_hours: all day"), "office hours"),
        (lambda folder: (folder / "units.csv").unlink(), "no units"),
    ],
)
def test_broken_folder_changes_nothing(folder, tmp_path, break_it, reason):
    load(folder, at=AT)
    tables = [t for t in TABLES if t not in ("entry", "assignment", "deadline", "report", "cases", "account")]
    sql = "SELECT xmin::text, ctid::text FROM {} WHERE district_code = :d ORDER BY ctid"
    state = {table: ask(sql.format(table)) for table in tables}
    break_it(folder)
    with pytest.raises(Invalid, match=reason):
        load(folder, at=AT, report_to=tmp_path / "report.csv")
    for table in tables:
        assert ask(sql.format(table)) == state[table], table


def test_communities_need_a_datum_only_for_centres(folder):
    spoil_manifest("file: communities.csv\n    datum: WGS84", "file: communities.csv")(folder)
    assert load(folder, at=AT).changed
    rewrite(
        folder / "communities.csv",
        lambda found: [
            [*row, *more] for row, more in zip(found, [("lng", "lat"), (83.2, 39.1), (83.2, 39.1)], strict=True)
        ],
    )
    with pytest.raises(Invalid, match=r"datum of communities\.csv is missing"):
        load(folder, at=AT)


def test_notice_with_a_missing_day_refuses_the_load(folder):
    (folder / "notices").mkdir()
    shipped = (NOTICES / "2026.yaml").read_text("utf-8")
    (folder / "notices" / "2026.yaml").write_text(
        shipped.replace("to: 2026-10-07, days: 7", "to: 2026-10-06, days: 6"), "utf-8"
    )
    with pytest.raises(Invalid, match=r"2026\.yaml.*missing"):
        load(folder, at=AT)
    assert not count("district")
    (folder / "notices" / "2026.yaml").write_text(shipped, "utf-8")
    assert load(folder, at=AT).years == (2026,)
    (folder / "district.yaml").write_text((folder / "district.yaml").read_text("utf-8") + "#\n", "utf-8")
    assert load(folder, at=AT).years == ()


def invented_notice(folder, change, *, version=1):
    """Put a changed 2026 notice, of an invented source, into the folder."""
    (folder / "notices").mkdir(exist_ok=True)
    text = re.sub(r"source: .*", "source: 虚构通知〔2025〕1号", (NOTICES / "2026.yaml").read_text("utf-8"))
    text = re.sub(r"version: .*\n", "", text).replace("year: 2026", f"year: 2026\nversion: {version}")
    (folder / "notices" / "2026.yaml").write_text(change(text), "utf-8")


def make_up_elsewhere(text):
    return text.replace("work: [2026-05-09]", "work: [2026-05-10]")


def test_notice_that_contradicts_the_one_in_force_is_refused_unless_it_says_that_it_replaces_it(folder):
    invented_notice(folder, make_up_elsewhere)
    with pytest.raises(Invalid, match="contradicts the one in force") as refused:
        load(folder, at=AT)
    assert refused.value.params["day"] == "2026-05-09"
    assert refused.value.params["source"] == "虚构通知〔2025〕1号"
    assert not count("district")
    assert load(folder, at=AT, replace_notices=True).years == (2026,)
    # The replaced one is the one in force now.
    invented_notice(folder, lambda text: text)
    with pytest.raises(Invalid, match="contradicts the one in force"):
        load(folder, at=AT)


def test_later_version_of_a_notice_replaces_the_earlier_and_the_same_days_of_another_source_change_nothing(folder):
    invented_notice(folder, make_up_elsewhere, version=2)
    assert load(folder, at=AT).years == (2026,)
    invented_notice(folder, lambda text: make_up_elsewhere(text).replace("虚构通知", "另一通知"), version=2)
    assert load(folder, at=AT).years == ()


def test_ladder_of_the_district_is_checked_before_anything_is_loaded(folder):
    told = (folder / "district.yaml").read_text("utf-8")
    (folder / "district.yaml").write_text(told + "\nsettings:\n  ladder:\n    - {told: mayor, after: 0}\n", "utf-8")
    with pytest.raises(Invalid, match="one of unit_head"):
        load(folder, at=AT)
    assert not count("district")


def test_failure_in_the_middle_leaves_nothing(folder, monkeypatch):
    from dispatch import load as module

    def fail(*_, **__):
        raise RuntimeError("power cut")

    monkeypatch.setattr(module, "_write_limits", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        load(folder, at=AT)
    assert not count("district")
    assert not count("place")


def test_two_loads_at_once_are_one_load(folder):
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda _: load(folder, at=AT), range(2)))
    assert sorted(report.changed for report in reports) == [False, True]
    assert count("load_run") == 1
    assert ask("SELECT revision FROM district WHERE district_code = :d") == [(1,)]


def test_datum_is_converted_once_and_the_source_kept(folder):
    load(folder, at=AT)
    ((plain,),) = ask("SELECT geom FROM place WHERE district_code = :d AND key = 'P0000000'")
    load(folder, at=AT, datums={"places.csv": "GCJ-02"})
    ((moved, datum, lng),) = ask(
        "SELECT geom, source_datum, source_lng FROM place WHERE district_code = :d AND key = 'P0000000'"
    )
    assert datum == "GCJ-02"
    assert lng == pytest.approx(from_db(plain).x)
    assert 100 < shapely.distance(from_db(plain), from_db(moved)) * 100_000 < 1_000


def test_naive_time_is_refused(folder):
    with pytest.raises(Invalid, match="time zone"):
        load(folder, at=datetime(2026, 1, 1))  # noqa: DTZ001  that is the point


def test_nanhai_loads_whole(database):
    data = settings().data
    if not (data / "nanhai" / "pois.csv").is_file():
        pytest.skip(f"the given data are absent at {data}: Nanhai was not loaded")
    _forget("440605")
    report = load(data, at=AT)
    counts = {name: count.taken for name, count in report.counts.items()}
    assert (counts["areas"], counts["places"], counts["addresses"]) == (7 + 307, 12_093, 3_422)
    assert not report.rejects
    with snapshot(system("440605", "tests")) as session:
        book = read_rulebook(session, "440605")
        sql = text(
            "SELECT count(*) FILTER (WHERE level = 'town'), count(*) FILTER (WHERE derived) FROM area"
            " WHERE district_code = '440605'"
        )
        assert tuple(session.execute(sql).one()) == (7, 49)
    assert book.synthetic_join
    _forget("440605")


def test_roads_and_estates_are_kept_and_go_with_their_file(folder):
    import yaml

    from grid.lines import lines_in

    done = load(folder, at=AT)
    with snapshot(BOOK) as session:
        found = lines_in(session, (-180, -90, 180, 90))
    assert {kind: found.kind.count(kind) for kind in ("road", "estate", "water")} == {
        "road": done.counts["roads"].taken,
        "estate": done.counts["estates"].taken,
        "water": 0,
    }
    assert done.counts["roads"].taken > 20
    # So small a district is one community high: nothing between its main road and its streets.
    assert {"primary", "tertiary", "residential"} <= set(found.rank)
    manifest = yaml.safe_load((folder / "district.yaml").read_text("utf-8"))
    del manifest["files"]["estates"]
    (folder / "estates.geojson").unlink()
    (folder / "district.yaml").write_text(yaml.safe_dump(manifest, allow_unicode=True), "utf-8")
    again = load(folder, at=AT)
    assert again.counts["estates"].gone == done.counts["estates"].taken
    with snapshot(BOOK) as session:
        assert set(lines_in(session, (-180, -90, 180, 90)).kind) == {"road"}


def test_a_bad_road_is_left_out_and_reported_while_the_others_are_taken(folder):
    import orjson

    told = orjson.loads((folder / "roads.geojson").read_bytes())
    told["features"][0]["geometry"] = {"type": "LineString", "coordinates": [[39.1, 83.2], [39.2, 83.2]]}
    told["features"][1]["geometry"] = {"type": "LineString", "coordinates": [[83.2, 39.1], [83.2, 39.1]]}
    (folder / "roads.geojson").write_bytes(orjson.dumps(told))
    done = load(folder, at=AT)
    assert done.counts["roads"].refused == 2
    assert done.counts["roads"].taken == len(told["features"]) - 2
    assert {one.row for one in done.rejects} == {1, 2}

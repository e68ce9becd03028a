"""Departments' lists: one person stays one, nothing is overwritten without a rule, and a list is taken whole or not."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import select, text

from core.actor import Actor, Role, system
from core.db import rows, snapshot, transaction
from core.errors import Forbidden, Invalid
from core.settings import ROOT
from grid.registers import conflicts, doubts, events, importing, permissions, templates
from grid.registers.forgetting import forget
from grid.registers.importing import Progress, Wanted
from grid.registers.list_models import FieldConflict, LinkDoubt, RegisterList, SourceRow
from grid.registers.models import Resident
from tests import lists, tiny
from tests.lists import number, resident

pytestmark = pytest.mark.database

_ticks = count()


def clock() -> datetime:
    return datetime(2026, 11, 22, 3, tzinfo=UTC) + timedelta(seconds=next(_ticks))


@pytest.fixture(autouse=True)
def _empty(district: tiny.Tiny) -> Iterator[None]:
    """Begin every test with the rooms and nobody in them."""
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        for table in ("field_conflict", "link_doubt", "source_row", "resident", "household", "room", "building"):
            session.execute(text(f"DELETE FROM {table} WHERE district_code = :d"), {"d": tiny.DISTRICT})
        session.execute(
            text("UPDATE register_list SET state = 'failed', finished_at = :at WHERE finished_at IS NULL"),
            {"at": clock()},
        )
        session.execute(
            text("UPDATE district SET settings = settings - 'registers' WHERE district_code = :d"),
            {"d": tiny.DISTRICT},
        )
    done = lists.give("rooms", lists.rooms(), "housing", clock=clock)
    assert (done.state, done.counts["new"]) == ("done", 12)
    return


def give(*given: tuple[str, ...], source: str = "police", **wanted: bool) -> Progress:
    return lists.give("residents", given, source, clock=clock, **wanted)


def people() -> list[dict[str, Any]]:
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        found = session.scalars(select(Resident).where(Resident.state != "merged").order_by(Resident.id))
        return [events.values(one) | {"id": one.id, "cell": one.cell_code} for one in found]


def waiting() -> list[FieldConflict]:
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        found = list(session.scalars(select(FieldConflict).where(FieldConflict.state == "waiting")))
        session.expunge_all()
        return found


def said(ended: str = "") -> list[SourceRow]:
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        return list(
            session.scalars(select(SourceRow).where(SourceRow.register == "resident", SourceRow.ended == ended))
        )


ID = number("1980-05-06", 11)


def test_three_departments_name_one_person_and_one_stands_in_the_register() -> None:
    give(resident("张伟明", "1980-05-06", id_number=ID, sex="男"))
    by_number = give(resident("张伟明", "", id_number=ID, phone="10012345678"), source="health")
    by_the_rest = give(resident("張偉明", "1980-05-06", phone="10012345678"), source="civil_affairs")
    assert (by_number.counts["matched"], by_the_rest.counts["matched"]) == (1, 1)
    (one,) = people()
    assert (one["name"], one["phone"], one["birth_date"], one["sex"]) == ("张伟明", "10012345678", "1980-05-06", "m")
    assert {row.source for row in said()} == {"police", "health", "civil_affairs"}


def test_the_person_stands_in_the_cell_of_the_building_and_its_history_explains_it() -> None:
    give(resident("张伟明", "1980-05-06", id_number=ID))
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        (one,) = session.scalars(select(Resident))
        assert one.cell_code is not None
        assert one.cell_code.startswith(tiny.WEST)
        assert events.differences(session, one) == {}
    give(resident("张伟明", "1980-05-06", id_number=ID, phone="10012345678", home_area="某省某市"), source="health")
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        (one,) = session.scalars(select(Resident))
        assert events.differences(session, one) == {}
        assert [event.source for event in events.history(session, one)] == ["police", "health"]


def test_the_same_list_again_changes_nothing() -> None:
    row = resident("张伟明", "1980-05-06", id_number=ID)
    give(row, resident("李娜", "1990-01-02", "102"))
    before = people()
    again = give(row, resident("李娜", "1990-01-02", "102"))
    assert (again.counts["unchanged"], again.counts.get("changed", 0), again.counts.get("new", 0)) == (2, 0, 0)
    assert people() == before
    assert len(said()) == 2


def test_a_corrected_list_changes_only_what_differs_and_keeps_what_was_said() -> None:
    give(resident("张伟明", "1980-05-06", id_number=ID, phone="10011111111"), resident("李娜", "1990-01-02", "102"))
    done = give(
        resident("张伟明", "1980-05-06", id_number=ID, phone="10022222222"), resident("李娜", "1990-01-02", "102")
    )
    assert (done.counts["unchanged"], done.counts["corrected"], done.counts["changed"]) == (1, 1, 1)
    assert {one["phone"] for one in people()} == {"10022222222", ""}
    assert len(said("replaced")) == 1


def test_a_row_that_vanished_from_a_whole_list_is_noted_and_nobody_is_deleted() -> None:
    row = resident("张伟明", "1980-05-06", id_number=ID)
    give(row, resident("李娜", "1990-01-02", "102"), whole=True)
    done = give(row, whole=True)
    assert done.counts["missing"] == 1
    assert len(people()) == 2
    assert len(said("gone")) == 1
    back = give(row, resident("李娜", "1990-01-02", "102"), whole=True)
    assert (back.counts["matched"], len(people())) == (1, 2)


def test_a_list_that_is_not_whole_says_nothing_about_others() -> None:
    give(resident("张伟明", "1980-05-06", id_number=ID), resident("李娜", "1990-01-02", "102"))
    give(resident("王芳", "1991-01-02", "103"))
    assert len(said("gone")) == 0


def test_the_same_person_ten_times_is_one_person_with_ten_rows_and_it_is_told() -> None:
    done = give(*[resident("张伟明", "1980-05-06", id_number=ID)] * 10)
    assert (done.counts["new"], done.counts["repeated"], len(people()), len(said())) == (1, 9, 1, 10)


def test_twins_in_one_room_and_a_son_named_as_his_father_stay_apart() -> None:
    give(
        resident("王小明", "2015-03-03", id_number=number("2015-03-03", 11), phone="10012345678"),
        resident("王小朋", "2015-03-03", id_number=number("2015-03-03", 13), phone="10012345678"),
        resident("王大力", "1970-03-03", phone="10012345678"),
    )
    done = give(
        resident("王小明", "2015-03-03", phone="10012345678"),
        resident("王小朋", "2015-03-03", phone="10012345678"),
        resident("王大力", "1998-07-07", phone="10012345678"),
        source="health",
    )
    assert (done.counts["matched"], done.counts["new"], len(people())) == (2, 1, 4)


def test_a_field_without_a_leading_source_waits_and_both_sides_are_kept() -> None:
    give(resident("张伟明", "1980-05-06", id_number=ID, phone="10011111111"))
    done = give(resident("张伟明", "1980-05-06", id_number=ID, phone="10022222222"), source="health")
    assert done.counts["conflicts"] == 1
    assert people()[0]["phone"] == "10011111111"
    (one,) = waiting()
    assert (one.field, one.source, one.backed_by) == ("phone", "health", ["police"])
    assert conflicts.sides(one) == ("10011111111", "10022222222")
    assert b"10022222222" not in bytes(one.sealed)


def test_the_leading_source_replaces_and_the_others_give_way() -> None:
    give(resident("张伟民", "1980-05-06", id_number=ID), source="health")
    done = give(resident("张伟明", "1980-05-06", id_number=ID), source="police")
    assert (people()[0]["name"], done.counts.get("conflicts", 0)) == ("张伟明", 0)
    done = give(resident("张伟鸣", "1980-05-06", id_number=ID), source="civil_affairs")
    assert (people()[0]["name"], done.counts.get("conflicts", 0)) == ("张伟明", 0)


def test_a_district_says_itself_who_leads() -> None:
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        permissions.keep_setting(session, "leads", {"phone": ["health", "police"]})
    give(resident("张伟明", "1980-05-06", id_number=ID, phone="10011111111"))
    give(resident("张伟明", "1980-05-06", id_number=ID, phone="10022222222"), source="health")
    assert people()[0]["phone"] == "10022222222"


def test_what_a_person_wrote_gives_way_to_nobody_unasked() -> None:
    give(resident("张伟明", "1980-05-06", id_number=ID))
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        (one,) = session.scalars(select(Resident))
        at = clock()
        events.change(session, one, {"name": "张卫明"}, told=events.Told(at, at))
    give(resident("张伟明", "1980-05-06", id_number=ID, phone="10011111111"))
    assert people()[0]["name"] == "张卫明"
    give(resident("章伟明", "1980-05-06", id_number=ID, phone="10011111111"))
    assert people()[0]["name"] == "张卫明"
    assert [one.field for one in waiting()] == ["name"]


def decided(decision: str) -> uuid.UUID:
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        access = _all(session)
        ids = conflicts.ids_of(session, field="phone", source="health")
        done, left, batch = conflicts.decide(session, access, ids, decision, at=clock())
        assert (done, left) == (len(ids), 0)
        return batch


def _all(session: object) -> permissions.Access:
    return permissions.Access((permissions.ADMIN,), {}, "", permissions.DEFAULTS)


def test_conflicts_of_a_kind_are_decided_together_and_undone_together() -> None:
    second = number("1990-01-02", 22)
    give(
        resident("张伟明", "1980-05-06", id_number=ID, phone="10011111111"),
        resident("李娜", "1990-01-02", "102", id_number=second, phone="10033333333"),
    )
    give(
        resident("张伟明", "1980-05-06", id_number=ID, phone="10022222222"),
        resident("李娜", "1990-01-02", "102", id_number=second, phone="10044444444"),
        source="health",
    )
    batch = decided("taken")
    assert {one["phone"] for one in people()} == {"10022222222", "10044444444"}
    assert waiting() == []
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        assert conflicts.undo(session, _all(session), batch, at=clock()) == (2, 0)
    assert {one["phone"] for one in people()} == {"10011111111", "10033333333"}
    assert len(waiting()) == 2


def test_a_decision_is_not_undone_where_the_field_was_changed_since() -> None:
    give(resident("张伟明", "1980-05-06", id_number=ID, phone="10011111111"))
    give(resident("张伟明", "1980-05-06", id_number=ID, phone="10022222222"), source="health")
    batch = decided("taken")
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        (one,) = session.scalars(select(Resident))
        at = clock()
        events.change(session, one, {"phone": "10055555555"}, told=events.Told(at, at))
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        assert conflicts.undo(session, _all(session), batch, at=clock()) == (0, 1)
    assert people()[0]["phone"] == "10055555555"


def test_what_was_decided_is_not_asked_again_by_the_same_row() -> None:
    give(resident("张伟明", "1980-05-06", id_number=ID, phone="10011111111"))
    give(resident("张伟明", "1980-05-06", id_number=ID, phone="10022222222"), source="health")
    decided("kept")
    give(resident("张伟明", "1980-05-06", id_number=ID, phone="10022222222", home_area="某省"), source="health")
    assert waiting() == []


def test_somebody_who_moved_is_moved_only_after_a_decision() -> None:
    give(resident("张伟明", "1980-05-06", "101", id_number=ID))
    give(resident("张伟明", "1980-05-06", "203", id_number=ID), source="health")
    home = people()[0]["household_id"]
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        ids = conflicts.ids_of(session, field="home", source="health")
        _, _, batch = conflicts.decide(session, _all(session), ids, "taken", at=clock())
    assert people()[0]["household_id"] != home
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        assert conflicts.undo(session, _all(session), batch, at=clock()) == (1, 0)
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        (room,) = rows(
            session,
            "SELECT r.number FROM resident p JOIN household h ON h.district_code = :d AND h.id = p.household_id"
            " JOIN room r ON r.district_code = :d AND r.id = h.room_id WHERE p.district_code = :d",
            d=tiny.DISTRICT,
        )
        (one,) = session.scalars(select(Resident))
        assert (room["number"], events.differences(session, one)) == ("101", {})


def doubted() -> Progress:
    give(resident("王小明", "2015-03-03", id_number=number("2015-03-03", 11), phone="10012345678"))
    return give(resident("王小朋", "2015-03-03", phone="10012345678"), source="health")


def answer(word: str) -> uuid.UUID:
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        (line,) = doubts.listed(session)
        return doubts.decide(session, _all(session), line.id, word, at=clock())


def test_a_row_that_may_be_somebody_waits_for_a_person() -> None:
    done = doubted()
    assert (done.counts["doubtful"], done.counts["doubts"], len(people())) == (1, 1, 1)
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        (line,) = doubts.listed(session)
        assert {side.field: side.level for side in line.sides}["name"] == "one character"


@pytest.mark.parametrize(("word", "persons"), [("same", 1), ("different", 2)])
def test_a_person_says_whether_two_are_one(word: str, persons: int) -> None:
    doubted()
    answer(word)
    assert len(people()) == persons
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        assert doubts.count(session) == 0
        assert all(row.subject_id for row in session.scalars(select(SourceRow)))
        for one in session.scalars(select(Resident)):
            assert events.differences(session, one) == {}


def test_rows_at_fault_stop_the_whole_list_unless_the_right_ones_are_wanted() -> None:
    wrong = resident("李娜", "1990-01-02", "102", id_number=ID[:-1] + ("0" if ID[-1] != "0" else "1"))
    right = resident("张伟明", "1980-05-06", id_number=ID)
    done = give(right, wrong)
    assert (done.state, done.counts["refused"], done.has_marked, people()) == ("refused", 1, True, [])
    assert give(right, wrong, skip_bad=True).state == "done"
    assert [one["name"] for one in people()] == ["张伟明"]


@pytest.mark.parametrize(
    ("more", "column"),
    [
        ({"birth_date": "1990-02-30"}, "出生日期"),
        ({"birth_date": "2031-01-01"}, "出生日期"),
        ({"id_number": "123"}, "身份证号"),
        ({"residence": "外星人口"}, "人口类型"),
        ({"place": "没有的花园1栋101"}, "现住址"),
        ({"cell": "999999999999999"}, "网格编码"),
        ({"name": ""}, "姓名"),
    ],
)
def test_every_fault_is_marked_in_its_cell(more: dict[str, str], column: str) -> None:
    said_so = {"name": "=李娜", "birth_date": "1990-01-02"} | more
    done = give(resident(said_so.pop("name"), said_so.pop("birth_date"), "102", **said_so))
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        _, data = importing.marked_file(session, done.id)
    table = templates.read(data, "residents")
    assert table.header[-1] == templates.FAULTS
    assert column in table.rows[0][1][-1]
    assert "name" in more or table.given(0)["name"] == "=李娜"


def test_a_wrong_number_is_left_out_where_the_list_says_so_and_the_row_keeps_it() -> None:
    wrong = ID[:8] + str((int(ID[8]) + 1) % 10) + ID[9:]
    give(resident("张伟明", "1980-05-06", id_number=ID))
    done = give(resident("张伟明", "1980-05-06", id_number=wrong), source="health", doubtful=True)
    assert (done.state, done.counts["matched"], len(people())) == ("done", 1, 1)
    assert people()[0]["id_number"] == ID


def test_a_row_of_the_departments_own_number_is_a_correction_whatever_else_changed() -> None:
    give(resident("张伟明", "1980-05-06", key="A-1"))
    done = give(resident("章卫民", "1980-05-16", "203", key="A-1", phone="10012345678"))
    assert (done.counts["corrected"], len(people())) == (1, 1)


def test_only_an_administrator_takes_lists_in() -> None:
    data = templates.filled("residents", [resident("张伟明", "1980-05-06")])
    for role in (Role.SUPERVISOR, Role.UNIT, Role.GRID_WORKER):
        who = Actor(uuid.uuid4(), "某人", role, tiny.DISTRICT)
        with pytest.raises(Forbidden), transaction(who) as session:
            importing.queue(session, data, "x.xlsx", Wanted("residents", "police"), at=clock())
    with pytest.raises(Invalid), transaction(system(tiny.DISTRICT, "tests")) as session:
        importing.queue(session, data, "x.xlsx", Wanted("residents", "nobody"), at=clock())


def put_up(count_of_rows: int) -> uuid.UUID:
    given = [
        resident(f"张{chr(0x4E00 + i % 3000)}", f"19{50 + i % 50}-0{1 + i % 9}-1{i % 9}", id_number="")
        for i in range(count_of_rows)
    ]
    data = templates.filled("residents", given)
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        return importing.queue(session, data, "x.xlsx", Wanted("residents", "police"), at=clock())


def phase(list_id: uuid.UUID) -> str:
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        return importing.progress(session, list_id).phase


def test_a_worker_that_is_killed_in_the_middle_leaves_nothing_and_the_next_one_does_it() -> None:
    key = put_up(3000)
    program = (
        "from datetime import UTC, datetime\nfrom grid.registers import importing\n"
        f"importing.work({tiny.DISTRICT!r}, clock=lambda: datetime.now(UTC))\n"
    )
    worker = subprocess.Popen(
        [sys.executable, "-P", "-c", program], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    end = time.monotonic() + 60
    while phase(key) not in ("linking", "judging", "writing") and time.monotonic() < end:
        assert worker.poll() is None, "it was done before it could be killed"
        time.sleep(0.01)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert people() == []
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        found = session.scalars(select(RegisterList).where(RegisterList.id == key)).one()
        assert (found.state, found.finished_at) == ("waiting", None)
    done = importing.work(tiny.DISTRICT, clock=clock)
    assert done is not None
    assert done.state == "done"
    assert len(people()) == done.counts["new"] > 100


def test_a_list_that_is_stopped_leaves_nothing() -> None:
    key = put_up(50)
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        session.execute(
            text("UPDATE register_list_progress SET stop = true WHERE district_code = :d AND list_id = :id"),
            {"d": tiny.DISTRICT, "id": key},
        )
    done = importing.work(tiny.DISTRICT, clock=clock)
    assert done is not None
    assert (done.state, people()) == ("cancelled", [])
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        assert session.scalars(select(RegisterList.file_sealed).where(RegisterList.id == key)).one() is None


def test_a_list_that_waits_is_cancelled_at_once() -> None:
    key = put_up(5)
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        importing.cancel(session, key, at=clock())
    assert importing.work(tiny.DISTRICT, clock=clock) is None
    assert people() == []


def test_who_is_erased_is_erased_from_what_departments_said() -> None:
    doubted()
    give(resident("王小明", "2015-03-03", "203", id_number=number("2015-03-03", 11)), source="civil_affairs")
    (one,) = people()
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        forget(session, [one["id"]])
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        assert [
            row.subject_id for row in session.scalars(select(SourceRow).where(SourceRow.register == "resident"))
        ] == [None]
        assert session.scalars(select(LinkDoubt.id)).all() == []
        assert session.scalars(select(FieldConflict.id)).all() == []


def test_nothing_personal_stands_in_clear() -> None:
    doubted()
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        for table in ("source_row", "link_doubt", "field_conflict", "register_list"):
            found = rows(
                session, f"SELECT to_jsonb(t)::text AS said FROM {table} t WHERE district_code = :d", d=tiny.DISTRICT
            )
            for row in found:
                assert "王小" not in row["said"]
                assert "10012345678" not in row["said"]


def test_things_are_known_by_their_keys_and_foreign_values_are_left() -> None:
    firm = (
        "云安商店",
        "",
        "个体工商户",
        "零售",
        "滨湖路1号",
        "李老板",
        "10012345678",
        "3",
        str(lists.LNG),
        str(lists.LAT),
        "",
    )
    made = lists.give("organisations", [firm], "market", clock=clock)
    assert (made.state, made.counts["new"]) == ("done", 1)
    again = lists.give("organisations", [firm], "market", clock=clock)
    assert again.counts["unchanged"] == 1
    other = lists.give("organisations", [(*firm[:3], "批发", *firm[4:])], "census", clock=clock)
    assert (other.counts["differing"], other.counts.get("changed", 0)) == (1, 0)
    let = lists.give(
        "tenancies",
        [("云安花园1栋1单元101室", "房东某", "10012345678", "2026-01-01", "", "", "4", "")],
        "housing",
        clock=clock,
    )
    assert (let.state, let.counts["new"]) == ("done", 1)
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        for table in ("tenancy", "organisation"):
            session.execute(text("DELETE FROM source_row WHERE district_code = :d"), {"d": tiny.DISTRICT})
            session.execute(text(f"DELETE FROM {table} WHERE district_code = :d"), {"d": tiny.DISTRICT})
        assert session.scalar(select(LinkDoubt.id).limit(1)) is None

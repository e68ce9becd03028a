"""Rights in the registers: by duty in the cell, masked until opened, erased when the time is over, exported with a mark."""

import io
import uuid
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from python_calamine import CalamineWorkbook
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.ids import new_id
from grid.openings import OPEN_FOR
from grid.registers import (
    card,
    events,
    exporting,
    keeping,
    lists,
    people,
    permissions,
    record,
    retention,
    sealing,
    unmasking,
)
from grid.registers.events import Position
from grid.registers.lists import Asked
from grid.registers.models import Resident
from tests import registers as own
from tests import tiny
from tests.registers import AT, EARLIER, TODAY, give, reach, resident, room, told

pytestmark = pytest.mark.database
As = Callable[[Actor], Session]
NUMBER = own.card("19660606")


@pytest.fixture
def old(district: tiny.Tiny, as_actor: As) -> uuid.UUID:
    """Put an old man who lives alone into the west's first cell, and one into the east; return the first."""
    office = as_actor(own.ADMIN)
    who = resident(office, room(office), name="欧阳修之", id_number=NUMBER, phone="13900001234")
    resident(office, room(office, (113.025, 23.005)), name="东方既白")
    events.change(office, who, {"care": ["living_alone"]}, told=told())
    return who.id


def as_worker(as_actor: As, *held: str, cells: tuple[str, ...] = (own.WEST_CELL,)) -> Session:
    give(as_actor(own.PROGRAM), cells, held, login="gridwest")
    return as_actor(own.WORKER)


@pytest.mark.parametrize(
    ("duty", "sees", "hidden"),
    [
        ("census", {"name", "id_number", "phone"}, {"care"}),
        ("civil_affairs", {"name", "care"}, {"home_area"}),
        ("family_planning", {"name", "sex"}, {"care", "id_number"}),
        ("floating_population", {"name", "permit_until"}, {"care"}),
        ("labour", {"name", "phone"}, {"care", "id_number", "relation"}),
        ("security", {"name", "id_number"}, {"care"}),
        ("market", set(), {"name", "care", "id_number", "phone"}),
        ("safety", set(), {"name", "care"}),
        ("urban_management", set(), {"name", "care"}),
    ],
)
def test_each_duty_sees_its_fields_and_no_other(
    old: uuid.UUID, as_actor: As, duty: str, sees: set[str], hidden: set[str]
) -> None:
    session = as_worker(as_actor, duty)
    access = reach(session)
    if not sees:
        with pytest.raises(NotFound):
            lists.one(session, access, "resident", old)
        with pytest.raises(Forbidden):
            lists.listed(session, access, Asked("resident"), today=TODAY)
        return
    fields = lists.line(access, lists.one(session, access, "resident", old)).fields
    assert sees <= fields.keys()
    assert not hidden & fields.keys()
    assert fields["name"].value == "欧**"


def test_worker_sees_the_own_cells_only_though_the_town_is_the_own(old: uuid.UUID, as_actor: As) -> None:
    session = as_worker(as_actor, "census", cells=(own.NEXT_CELL,))
    access = reach(session)
    with pytest.raises(NotFound):
        lists.one(session, access, "resident", old)
    assert lists.listed(session, access, Asked("resident"), today=TODAY).lines == ()
    with pytest.raises(Forbidden):
        lists.listed(session, access, Asked("resident", cell=own.WEST_CELL), today=TODAY)
    # The database says so, too, whatever a query forgets.
    assert session.query(Resident).count() == 0


def test_unit_sees_where_it_holds_a_duty_and_an_office_its_own_area(old: uuid.UUID, as_actor: As) -> None:
    streets = as_actor(own.person("streets"))
    assert reach(streets).registers == ()
    assert streets.query(Resident).count() == 0
    give(as_actor(own.PROGRAM), [own.WEST_CELL], ["civil_affairs"], unit=tiny.STREETS)
    streets = as_actor(own.person("streets"))
    assert "care" in lists.line(reach(streets), lists.one(streets, reach(streets), "resident", old)).fields
    office = as_actor(own.OFFICE)
    seen = lists.listed(office, reach(office), Asked("resident"), today=TODAY)
    assert [one.fields["name"].value for one in seen.lines] == ["欧**"]
    assert "care" not in seen.lines[0].fields
    with pytest.raises(Forbidden):
        people.amend(office, reach(office), old, {"home_area": "别处"}, version=2, told=told())


def test_duty_that_ended_ends_the_view_and_what_was_opened(old: uuid.UUID, as_actor: As) -> None:
    session = as_worker(as_actor, "census")
    unmasking.disclose(session, reach(session), "resident", old, field="phone", why="visit", reason="约时间", at=AT)
    row = lists.one(session, reach(session), "resident", old)
    assert unmasking.standing(session, reach(session), row, at=AT)["phone"].value == "13900001234"
    nobody = permissions.Access((), {}, "", permissions.table(session))
    assert unmasking.standing(session, nobody, row, at=AT) == {}


def test_officials_and_operators_have_no_way_into_the_registers(old: uuid.UUID, as_actor: As) -> None:
    for login in ("official", "operator"):
        session = as_actor(own.person(login))
        with pytest.raises(Forbidden):
            reach(session)
        assert session.query(Resident).count() == 0
    counted = lists.counts(as_actor(own.person("officialeast")), area=tiny.EAST)
    assert counted["resident"] == 1


def test_administrator_and_supervisor_never_see_who_needs_care(old: uuid.UUID, as_actor: As) -> None:
    for actor in (own.ADMIN, own.SUPERVISOR):
        session = as_actor(actor)
        assert "care" not in lists.line(reach(session), lists.one(session, reach(session), "resident", old)).fields
        with pytest.raises(Forbidden):
            lists.listed(session, reach(session), Asked("resident", flag="living_alone"), today=TODAY)
    admin = as_actor(own.ADMIN)
    with pytest.raises(Invalid, match="by duty only"):
        permissions.grant(admin, permissions.ADMIN, "resident", {"sees": ["care"]}, at=AT)


def test_rights_are_data_that_the_administrator_changes_and_that_is_logged(old: uuid.UUID, as_actor: As) -> None:
    admin = as_actor(own.ADMIN)
    permissions.grant(admin, "market", "resident", {"sees": ["name"]}, at=AT)
    assert record.newest(admin)[0].kind == "permissions"
    session = as_worker(as_actor, "market")
    assert set(lists.line(reach(session), lists.one(session, reach(session), "resident", old)).fields) == {"name"}
    with pytest.raises(Forbidden):
        permissions.grant(session, "market", "resident", {"sees": ["phone"]}, at=AT)


def test_field_is_changed_by_whose_duty_it_is(old: uuid.UUID, as_actor: As) -> None:
    session = as_worker(as_actor, "civil_affairs")
    people.amend(session, reach(session), old, {"care": ["living_alone", "disabled"]}, version=2, told=told())
    with pytest.raises(Forbidden, match="does not include"):
        people.amend(session, reach(session), old, {"name": "别人"}, version=3, told=told())
    with pytest.raises(Forbidden):
        people.move_out(session, reach(session), old, version=3, told=told())


def test_opening_needs_a_reason_ends_and_is_told_to_the_person(old: uuid.UUID, as_actor: As) -> None:
    session = as_worker(as_actor, "census")
    access = reach(session)
    for why, reason in (("", "约时间"), ("nonsense", "约时间"), ("visit", " ")):
        with pytest.raises(Invalid):
            unmasking.disclose(session, access, "resident", old, field="phone", why=why, reason=reason, at=AT)
    assert (
        unmasking.disclose(session, access, "resident", old, field="phone", why="visit", reason="约时间", at=AT)
        == "13900001234"
    )
    row = lists.one(session, access, "resident", old)
    shown = lists.line(access, row, standing=unmasking.standing(session, access, row, at=AT)).fields
    assert (shown["phone"].value, shown["id_number"].masked) == ("13900001234", True)
    assert unmasking.standing(session, access, row, at=AT + OPEN_FOR) == {}
    code = unmasking.issue_slip(session, access, old, at=AT)
    program = as_actor(own.PROGRAM)
    _, told_to = unmasking.read_slip(program, code.lower(), at=AT)
    assert [(one.field, one.reason_code, one.reason, one.duties) for one in told_to] == [
        ("phone", "visit", "约时间", ("census",))
    ]
    with pytest.raises(NotFound):
        unmasking.read_slip(program, "AAAA-AAAA-AAAA-AAAA", at=AT)
    with pytest.raises(NotFound):
        unmasking.read_slip(program, code, at=AT + unmasking.SLIP_FOR)
    for sql in ("UPDATE register_opening SET field = 'x'", "DELETE FROM register_opening"):
        with pytest.raises(DBAPIError, match=r"permission denied|append-only"), program.begin_nested():
            program.execute(text(sql + " WHERE district_code = :d"), {"d": tiny.DISTRICT})


def test_opening_what_is_not_the_duty_or_fishing_is_refused(
    old: uuid.UUID, as_actor: As, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = as_worker(as_actor, "family_planning")
    with pytest.raises(Forbidden):
        unmasking.disclose(
            session, reach(session), "resident", old, field="id_number", why="visit", reason="看看", at=AT
        )
    monkeypatch.setattr(unmasking, "MOST_A_DAY", 1)
    unmasking.disclose(session, reach(session), "resident", old, field="name", why="visit", reason="走访", at=AT)
    with pytest.raises(Forbidden, match="within a day"):
        unmasking.disclose(session, reach(session), "resident", old, field="phone", why="visit", reason="走访", at=AT)
    for actor in (own.ADMIN, own.SUPERVISOR):
        other = as_actor(actor)
        with pytest.raises(Forbidden):
            unmasking.disclose(other, reach(other), "resident", old, field="name", why="law", reason="查一下", at=AT)


@pytest.mark.parametrize("words", ["欧阳", "欧阳修", "ouyangxiuzhi", "oyxz", "欧阳修之"])
def test_name_is_found_by_its_beginning_and_in_pinyin(old: uuid.UUID, as_actor: As, words: str) -> None:
    session = as_worker(as_actor, "census")
    found = lists.listed(session, reach(session), Asked("resident", name=words), today=TODAY)
    assert [one.id for one in found.lines] == [old]
    assert lists.listed(session, reach(session), Asked("resident", name="修之"), today=TODAY).count == 0
    with pytest.raises(Invalid):
        lists.listed(session, reach(session), Asked("resident", name="欧"), today=TODAY)


def test_number_and_telephone_are_found_whole_only(old: uuid.UUID, as_actor: As) -> None:
    session = as_worker(as_actor, "census")
    access = reach(session)
    for asked in (
        Asked("resident", number=f"{NUMBER[:6]} {NUMBER[6:]}".lower()),
        Asked("resident", phone="+86 139-0000-1234"),
    ):
        assert [one.id for one in lists.listed(session, access, asked, today=TODAY).lines] == [old]
    for asked in (Asked("resident", number=NUMBER[:17]), Asked("resident", phone="1390000123")):
        assert lists.listed(session, access, asked, today=TODAY).count == 0


def test_pages_by_key_show_everybody_once(old: uuid.UUID, as_actor: As) -> None:
    office = as_actor(own.ADMIN)
    home = room(office)
    known = {old} | {resident(office, home, name=f"王试{n}").id for n in range(6)}
    session = as_worker(as_actor, "census")
    seen: list[uuid.UUID] = []
    after = ""
    for _ in range(10):
        page = lists.listed(session, reach(session), Asked("resident", after=after), today=TODAY, most=2)
        seen += [one.id for one in page.lines]
        after = page.after
        if not after:
            break
    assert len(seen) == len(set(seen))
    assert set(seen) == known
    with pytest.raises(Invalid):
        lists.listed(session, reach(session), Asked("resident", after="nonsense"), today=TODAY)


def test_erasing_follows_the_preview_leaves_what_is_held_and_logs_no_value(old: uuid.UUID, as_actor: As) -> None:
    office = as_actor(own.ADMIN)
    home = room(office)
    gone, held = resident(office, home, name="赵过去"), resident(office, home, name="钱保全")
    for who in (gone, held):
        people.move_out(office, reach(office), who.id, version=1, told=told(happened_at=EARLIER + timedelta(days=1)))
    salt, gone_id, held_id = bytes(gone.salt), gone.id, held.id
    retention.hold(office, "resident", held_id, reason="诉讼", document="（2026）试验第1号", at=AT)
    now = AT + timedelta(days=1)
    shown = next(one for one in retention.preview(office, at=now) if one.register == "resident")
    assert (shown.due, shown.held, [one[1] for one in shown.named]) == (1, 1, ["赵**"])
    assert shown.before is not None
    program = as_actor(own.PROGRAM)
    sealed = program.scalar(
        text("SELECT data_sealed FROM life_event WHERE district_code = :d AND subject_id = :i LIMIT 1"),
        {"d": tiny.DISTRICT, "i": gone_id},
    )
    assert "赵过去" in sealing.history_unsealed(sealed, salt)
    with pytest.raises(Conflict):
        retention.erase(program, "resident", before=now, at=now, asked_by="试验")
    assert retention.erase(program, "resident", before=shown.before, at=now, asked_by="试验") == 1
    assert retention.erase(program, "resident", before=shown.before, at=now, asked_by="试验") == 0
    with pytest.raises(NotFound):
        events.found(program, "resident", gone_id)
    assert events.found(program, "resident", held_id).state == "moved"
    lines = [one for one in record.newest(program) if one.kind == "erase"]
    assert [one.data["rows"] for one in lines] == [1]
    assert "赵" not in str(lines[0].data)
    # What the program took with it cannot be read any more: the salt is nowhere.
    left = program.scalars(text("SELECT t::text FROM resident t WHERE district_code = :d"), {"d": tiny.DISTRICT})
    assert salt.hex() not in " ".join(left)


def test_time_of_keeping_and_holds_are_for_those_who_answer_for_them(old: uuid.UUID, as_actor: As) -> None:
    session = as_worker(as_actor, "census")
    with pytest.raises(Forbidden):
        retention.set_days(session, "resident", 365, why="试验", at=AT)
    with pytest.raises(Forbidden):
        retention.hold(session, "resident", None, reason="试验", document="试验", at=AT)
    admin = as_actor(own.ADMIN)
    with pytest.raises(Invalid):
        retention.set_days(admin, "resident", 1, why="试验", at=AT)
    retention.set_days(admin, "resident", None, why="试验", at=AT)
    assert retention.days(admin, "resident") is None


def test_export_is_marked_masked_bounded_and_logged(
    old: uuid.UUID, as_actor: As, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = as_actor(own.ADMIN)
    given = {"name": "=HYPERLINK(1)", "kind": "company", "phone": "13700001111"}
    keeping.enter(office, reach(office), "organisation", given, told=told(), position=Position(113.005, 23.005))
    session = as_worker(as_actor, "census", "market")

    def out(register: str) -> exporting.Exported:
        return exporting.export(
            session,
            reach(session),
            Asked(register),
            why="年度核对 & 归档",
            at=AT,
            today=TODAY,
            say=lambda words: words,
            when="2026-11-18 14:00",
        )

    made = out("resident")
    cells = CalamineWorkbook.from_filelike(io.BytesIO(made.body)).get_sheet_by_index(0).to_python()
    words = [str(cell) for row in cells for cell in row]
    assert all(part in words[0] for part in (made.number, "试验gridwest", "年度核对"))
    assert words.count(made.number) == made.rows == 1
    assert NUMBER not in words
    assert "139****1234" in words
    firm = out("organisation").body
    with zipfile.ZipFile(io.BytesIO(firm)) as parts:
        sheet = parts.read("xl/worksheets/sheet1.xml").decode()
    assert "=HYPERLINK(1)" in str(CalamineWorkbook.from_filelike(io.BytesIO(firm)).get_sheet_by_index(0).to_python())
    assert "<f>" not in sheet
    assert "<headerFooter" in sheet
    logged = [one for one in record.newest(as_actor(own.SUPERVISOR)) if one.kind == "export"]
    assert {one.data["rows"] for one in logged} == {1}
    office = as_actor(own.ADMIN)
    resident(office, room(office), name="李多余")
    session = as_actor(own.WORKER)
    monkeypatch.setattr(exporting, "MOST", 1)
    cut = out("resident")
    assert (cut.rows, cut.cut) == (1, True)


def test_card_counts_for_all_and_names_the_old_for_whose_duty_it_is(old: uuid.UUID, as_actor: As) -> None:
    session = as_worker(as_actor, "civil_affairs")
    made = card.card(session, reach(session), own.WEST_CELL, at=AT, today=TODAY)
    assert made.alone_named is not None
    assert (made.alone, [one.name for one in made.alone_named]) == (1, ["欧**"])
    assert made.households == {"family": 1}
    assert {one.duty for one in made.owners} == {"civil_affairs"}
    official = as_actor(own.person("official"))
    seen = card.card(official, None, own.WEST_CELL, at=AT, today=TODAY)
    assert (seen.alone, seen.alone_named) == (1, None)
    with pytest.raises(NotFound):
        card.card(as_actor(own.person("officialeast")), None, own.WEST_CELL, at=AT, today=TODAY)
    session = as_actor(own.WORKER)
    with pytest.raises(NotFound):
        card.card(session, reach(session), own.EAST_CELL, at=AT, today=TODAY)


def test_rows_follow_the_cells_when_these_change(old: uuid.UUID) -> None:
    from grid import versions
    from grid.registers.models import FOLLOWERS

    assert set(FOLLOWERS) <= {one.table for one in versions.FOLLOWERS}


def test_stranger_from_another_district_is_refused_everywhere(old: uuid.UUID, as_actor: As) -> None:
    stranger = as_actor(Actor(new_id(), "邻区", Role.ADMIN, "990999"))
    with pytest.raises(NotFound):
        lists.one(stranger, reach(stranger), "resident", old)
    with pytest.raises(NotFound):
        card.card(stranger, reach(stranger), own.WEST_CELL, at=AT, today=TODAY)
    assert lists.listed(stranger, reach(stranger), Asked("resident"), today=TODAY).count == 0


def test_clock_that_was_turned_back_opens_nothing(old: uuid.UUID, as_actor: As) -> None:
    session = as_worker(as_actor, "census")
    unmasking.disclose(session, reach(session), "resident", old, field="phone", why="visit", reason="约时间", at=AT)
    row = lists.one(session, reach(session), "resident", old)
    assert unmasking.standing(session, reach(session), row, at=datetime(2026, 11, 18, 5, 0, tzinfo=UTC)) == {}

"""Booking under concurrency: nobody twice on one seat, nobody more than the district allows, both or neither on a move."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.db import snapshot, transaction
from core.errors import Conflict, Invalid, NotFound
from core.ids import check_character
from dispatch import appointments, visits, windows
from dispatch.appointments import Appointment, Booked, ServiceWindow, SlotTaken, Wanted
from dispatch.calendar import CHINA
from dispatch.rulebook import Rulebook, read_rulebook
from tests import tiny
from tests.builders import actor, program

pytestmark = pytest.mark.database

#: Saturday; the next working day is Monday 23 November.
AT = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
MONDAY = datetime(2026, 11, 23, 9, 0, tzinfo=CHINA)
_running = count(900_000)
_phones = (f"138{n:08d}" for n in count())
STREETS = actor(Role.UNIT, district=tiny.DISTRICT, unit=tiny.STREETS)


@pytest.fixture
def book(district: tiny.Tiny) -> Iterator[Rulebook]:
    """Return the rulebook, and clear every appointment away afterwards: slots are few and other tests want some."""
    with snapshot(program(tiny.DISTRICT)) as session:
        found = read_rulebook(session, tiny.DISTRICT)
    yield found
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(
            text(
                "UPDATE appointment SET status = 'cancelled', cancelled_at = booked_at, phone_turn = NULL"
                " WHERE district_code = :d AND status <> 'cancelled'"
            ),
            {"d": tiny.DISTRICT},
        )
        session.execute(text("DELETE FROM slot_closure WHERE district_code = :d"), {"d": tiny.DISTRICT})


def number() -> str:
    digits = f"20261121{next(_running):06d}"
    return appointments.numbered(digits + check_character(digits))


def cancel(made: Booked, *, at: datetime = AT) -> None:
    with transaction(program(tiny.DISTRICT)) as session:
        row = appointments.find(session, tiny.DISTRICT, made.number, made.code, lock=True)
        appointments.cancel(session, row, at=at)


def move(book: Rulebook, made: Booked, to: datetime) -> Booked:
    with transaction(program(tiny.DISTRICT)) as session:
        row = appointments.find(session, tiny.DISTRICT, made.number, made.code, lock=True)
        return appointments.move(session, book, row, to, at=AT, number=number())


def found(made: Booked) -> Appointment:
    with snapshot(program(tiny.DISTRICT)) as session:
        return appointments.find(session, tiny.DISTRICT, made.number, made.code)


def wanted(starts_at: datetime = MONDAY, **known: object) -> Wanted:
    filled: dict[str, object] = {"window": tiny.COUNTER, "name": "陈小明", "phone": next(_phones)} | known
    return Wanted(starts_at=starts_at, **filled)  # type: ignore[arg-type]


def put(book: Rulebook, want: Wanted, *, at: datetime = AT) -> Booked:
    with transaction(program(tiny.DISTRICT)) as session:
        return appointments.book_slot(session, book, want, at=at, number=number())


def visit(**known: object) -> Wanted:
    return wanted(**{"window": tiny.VISITS, "area": tiny.WEST + "001", "address": "滨湖路12号3栋301"} | known)  # type: ignore[arg-type]


def test_sixteen_people_want_the_last_two_seats_and_two_get_them(book: Rulebook) -> None:
    gate = threading.Barrier(16)

    def one(_: int) -> Booked | SlotTaken:
        want = wanted()
        gate.wait(10)
        try:
            return put(book, want)
        except SlotTaken as error:
            return error

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(one, range(16)))
    won = [each for each in found if isinstance(each, Booked)]
    lost = [each for each in found if isinstance(each, SlotTaken)]
    assert (len(won), len(lost)) == (2, 14)
    with snapshot(program(tiny.DISTRICT)) as session:
        seats = session.scalars(
            select(Appointment.seat).where(
                Appointment.district_code == tiny.DISTRICT,
                Appointment.starts_at == MONDAY,
                Appointment.status == "booked",
            )
        ).all()
    assert sorted(seats) == [1, 2]
    assert {slot.starts_at for slot in lost[0].free} == {MONDAY + timedelta(minutes=30 * n) for n in (1, 2, 3)}


def test_one_phone_in_sixteen_hands_holds_no_more_than_the_district_allows(book: Rulebook) -> None:
    gate, phone = threading.Barrier(16), next(_phones)

    def one(n: int) -> Booked | Conflict:
        gate.wait(10)
        try:
            return put(book, wanted(MONDAY + timedelta(days=n // 5, minutes=30 * (n % 5)), phone=phone))
        except Conflict as error:
            return error

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(one, range(16)))
    assert sum(isinstance(each, Booked) for each in found) == 3
    assert all("appointments to come" in str(each) for each in found if not isinstance(each, Booked))


def test_phone_is_free_again_when_its_appointments_are_over_or_cancelled(book: Rulebook) -> None:
    phone = next(_phones)
    made = [put(book, wanted(MONDAY + timedelta(minutes=30 * n), phone=phone)) for n in range(3)]
    with pytest.raises(Conflict, match="3 appointments"):
        put(book, wanted(MONDAY + timedelta(hours=2), phone=f"{phone[:3]} {phone[3:]}"))
    cancel(made[0])
    put(book, wanted(MONDAY + timedelta(hours=2), phone=phone))
    tuesday = MONDAY + timedelta(days=1)
    assert put(book, wanted(tuesday, phone=phone), at=tuesday - timedelta(hours=1)).starts_at == tuesday


def test_repeated_submission_is_one_appointment(book: Rulebook) -> None:
    want = wanted(key="k" * 20)
    first, again = put(book, want), put(book, want)
    assert (again.number, again.code, again.repeated) == (first.number, first.code, True)


@pytest.mark.parametrize(
    ("starts_at", "why"),
    [
        (AT - timedelta(days=1), "has passed"),
        (MONDAY.replace(hour=12), "does not receive"),
        (MONDAY + timedelta(minutes=10), "does not receive"),
        (MONDAY - timedelta(days=1), "does not receive"),
        (MONDAY + timedelta(days=14), "at most 14 days"),
        (datetime(9000, 1, 1, tzinfo=UTC), "at most 14 days"),
    ],
)
def test_times_that_are_none_are_refused(book: Rulebook, starts_at: datetime, why: str) -> None:
    with pytest.raises((Invalid, Conflict), match=why):
        put(book, wanted(starts_at))


@pytest.mark.parametrize(
    ("known", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "长" * 51}, "name"),
        ({"phone": "call me"}, "phone"),
        ({"address": "滨湖路12号"}, "address"),
        ({"item": "x" * 41}, "item"),
        ({"item": "SL999999"}, "item"),
    ],
)
def test_what_cannot_be_taken_names_its_field(book: Rulebook, known: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        put(book, wanted(**known))
    assert caught.value.field == field


@pytest.mark.parametrize("known", [{"area": tiny.EAST + "001"}, {"area": ""}, {"area": "x"}, {"address": "  "}])
def test_home_visit_needs_an_address_in_the_teams_own_area(book: Rulebook, known: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        put(book, visit(**known))
    assert put(book, visit(area=tiny.WEST + "001001")).window == tiny.VISITS


def test_unknown_and_closed_windows_are_refused(book: Rulebook) -> None:
    with pytest.raises(NotFound):
        put(book, wanted(window="nowhere"))
    with transaction(program(tiny.DISTRICT)) as session:
        session.add(
            appointments.SlotClosure(
                district_code=tiny.DISTRICT, window_code=tiny.COUNTER, day=MONDAY.date(), reason="系统升级"
            )
        )
    with pytest.raises(Invalid, match="系统升级"):
        put(book, wanted())


def test_wrong_code_opens_nothing(book: Rulebook) -> None:
    made = put(book, wanted())
    with snapshot(program(tiny.DISTRICT)) as session:
        assert appointments.find(session, tiny.DISTRICT, f" {made.number.lower()} ", made.code.lower())
        for said, code in ((made.number, "AAAAAA"), (made.number[:-1], made.code), ("", "")):
            with pytest.raises(NotFound):
                appointments.find(session, tiny.DISTRICT, said, code)


def test_move_gives_the_old_time_back_and_a_refused_one_keeps_it(book: Rulebook) -> None:
    made = put(book, wanted())
    for _ in range(2):
        put(book, wanted(MONDAY + timedelta(hours=1)))
    with pytest.raises(SlotTaken):
        move(book, made, MONDAY + timedelta(hours=1))
    assert found(made).status == "booked", "the old one stands"
    moved = move(book, made, MONDAY + timedelta(hours=2))
    assert (found(made).status, found(made).moved_to) == ("cancelled", moved.number)
    assert found(moved).name_sealed != found(made).name_sealed, "sealed anew"
    with pytest.raises(Conflict, match="cancelled already"):
        cancel(made)


def test_cancelled_seat_is_given_out_again_and_a_begun_one_cannot_be_cancelled(book: Rulebook) -> None:
    made = put(book, visit())
    with pytest.raises(SlotTaken):
        put(book, visit())
    with pytest.raises(Conflict, match="has begun"):
        cancel(made, at=MONDAY)
    cancel(made)
    assert put(book, visit()).starts_at == MONDAY


def test_unit_lists_and_marks_its_own_and_nobody_elses(book: Rulebook) -> None:
    made, home = put(book, wanted()), put(book, visit())
    day = MONDAY.date()
    with snapshot(STREETS) as session:
        listed = [one for one in visits.listed(session, tiny.DISTRICT, day) if one.status == "booked"]
        assert [(one.number, one.name) for one in listed] == [(made.number, "陈**")]
        assert "****" in listed[0].phone
    with pytest.raises(Conflict, match="still to come"), transaction(STREETS) as session:
        visits.mark(session, tiny.DISTRICT, made.number, "kept", at=AT, by="王五")
    after = MONDAY + timedelta(minutes=5)
    with transaction(STREETS) as session:
        visits.mark(session, tiny.DISTRICT, made.number, "missed", at=after, by="王五")
        visits.mark(session, tiny.DISTRICT, made.number, "kept", at=after, by="王五")
    with pytest.raises(NotFound), transaction(STREETS) as session:
        visits.mark(session, tiny.DISTRICT, home.number, "kept", at=after, by="王五")
    with pytest.raises(Conflict, match="too long ago"), transaction(STREETS) as session:
        visits.mark(session, tiny.DISTRICT, made.number, "missed", at=after + timedelta(days=8), by="王五")


@pytest.mark.parametrize(
    ("role", "known", "sees"),
    [
        (Role.SYSTEM, {}, 2),
        (Role.OPERATOR, {}, 2),
        (Role.UNIT, {"unit": tiny.WEST_OFFICE}, 1),
        (Role.UNIT, {"unit": tiny.WATER}, 0),
        (Role.GRID_WORKER, {"town": tiny.WEST}, 1),
        (Role.GRID_WORKER, {"town": tiny.EAST}, 0),
        (Role.OFFICIAL, {}, 0),
        (Role.ADMIN, {}, 0),
        (Role.CITIZEN, {}, 0),
    ],
)
def test_row_policy_and_list_agree_on_who_sees_what(
    book: Rulebook, role: Role, known: dict[str, str], sees: int
) -> None:
    put(book, wanted())
    put(book, visit())
    who = Actor(None, "某人", role, tiny.DISTRICT, **known)
    with snapshot(who) as session:
        raw = session.execute(
            text("SELECT count(*) FROM appointment WHERE district_code = :d AND status = 'booked'"),
            {"d": tiny.DISTRICT},
        ).scalar_one()
        assert raw == sees
        assert len(visits.listed(session, tiny.DISTRICT, MONDAY.date())) >= sees
        if not sees:
            assert visits.listed(session, tiny.DISTRICT, MONDAY.date()) == []


def test_personal_data_lies_sealed_in_the_table(book: Rulebook) -> None:
    want = visit()
    put(book, want)
    with snapshot(program(tiny.DISTRICT)) as session:
        stored = session.execute(
            text("SELECT CAST(a AS text) FROM appointment a WHERE district_code = :d"), {"d": tiny.DISTRICT}
        ).scalars()
        for row in stored:
            assert want.name not in row
            assert want.phone not in row
            assert want.address not in row


def test_table_of_windows_is_read_checked_and_kept(
    as_actor: Callable[[Actor], Session], district: tiny.Tiny, tmp_path: Path
) -> None:
    session = as_actor(program(tiny.DISTRICT))
    book = read_rulebook(session, tiny.DISTRICT)
    head = "code,name,unit,kind,place,area,items,weekdays,hours,slot_min,travel_min,capacity\n"
    path = tmp_path / "windows.csv"
    path.write_text(head + f"K1,老年人专窗,{tiny.STREETS},window,一楼,,A1 A2,2,09:00-11:00,20,,1\n", encoding="utf-8")
    assert windows.keep(session, tiny.DISTRICT, windows.read(path, book)) == 1
    (kept,) = appointments.windows(session, book)
    assert (kept.code, kept.items, kept.weekdays, kept.travel_min, kept.invented) == ("K1", ["A1", "A2"], "2", 0, False)
    assert appointments.windows(session, book, item="A3") == []
    line = f"K1,老年人专窗,{tiny.STREETS},window,一楼,,,2,09:00-11:00,20,,1"
    for wrong in ("window", "2,09:00-11:00", ",20,,1", tiny.STREETS):
        broken = line.replace(
            wrong, {"window": "door", ",20,,1": ",2,,1", tiny.STREETS: "U-9"}.get(wrong, "9,09:00-11:00")
        )
        path.write_text(head + broken + "\n", encoding="utf-8")
        with pytest.raises(Invalid, match=r"windows\.csv, row 2"):
            windows.read(path, book)


def test_demonstration_gets_invented_windows_once_and_they_say_so(
    as_actor: Callable[[Actor], Session], district: tiny.Tiny
) -> None:
    session = as_actor(program(tiny.DISTRICT))
    book = read_rulebook(session, tiny.DISTRICT)
    assert windows.invent_once(session, book) == 0, "a district that has windows keeps them"
    made = windows.invent(session, book)
    assert windows.keep(session, tiny.DISTRICT, made) == len(made) >= 6
    session.expire_all()
    found = appointments.windows(session, book)
    assert {one.kind for one in found} == {"window", "home"}
    assert all(one.invented for one in found)
    assert session.scalar(select(ServiceWindow.active).where(ServiceWindow.code == tiny.COUNTER)) is False
    one = replace(wanted(), window=found[0].code)
    assert appointments.book_slot(session, book, one, at=AT, number=number()).starts_at == MONDAY

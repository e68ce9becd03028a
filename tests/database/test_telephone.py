"""Calls, seats and call-backs over a real database: whatever the switchboard tells, in whatever order."""

import itertools
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.crypto import seal, unseal
from core.db import actor_of
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch.models import Case, Disclosure, Report
from dispatch.rulebook import Rulebook, read_rulebook
from hotline.telephone import callbacks, calls, card, seats
from hotline.telephone.callbacks import Came
from hotline.telephone.hook import Event
from hotline.telephone.models import Call, CallBack, CallBackTry, CallEvent
from tests import builders, tiny

pytestmark = pytest.mark.database

#: A Wednesday, ten in the morning in China: people may be rung up.
AT = datetime(2026, 11, 18, 2, 0, tzinfo=UTC)
PHONE = "13800138000"
AsActor = Callable[[Actor], Session]


@pytest.fixture(autouse=True)
def _ground(district: tiny.Tiny) -> None:
    """Everything stands on the tiny district."""


@pytest.fixture
def book(session: Session) -> Rulebook:
    return read_rulebook(session, tiny.DISTRICT)


@pytest.fixture
def as_program(as_actor: AsActor) -> Session:
    return as_actor(builders.program(tiny.DISTRICT))


def operator(session: Session, name: str = "座席甲") -> Actor:
    account = builders.make_account(session, district=tiny.DISTRICT, name=name)
    return Actor(account, name, Role.OPERATOR, tiny.DISTRICT)


def told(kind: str, *, s: float = 0, call: str = "c1", event: str = "", **known: Any) -> Event:
    filled = {"direction": "in", "phone": PHONE, "line": "81812345", "extension": "", "cause": "", "url": ""} | known
    name = event or f"{call}-{kind}-{s}-{filled['extension']}"
    at = AT + timedelta(seconds=s)
    return Event(
        id=name, call=call, kind=kind, at=at, digest=sha256(f"{name}{kind}{filled}".encode()).digest(), **filled
    )


def tell(session: Session, *events: Event, at: datetime | None = None) -> Call:
    for event in events:
        done = calls.take(session, event, at=at or max(event.at, AT))
    session.flush()
    return calls.one(session, done.call_id)


LIFE = (
    told("ring", s=0),
    told("ring", s=3, extension="8001"),
    told("ring", s=9, extension="8002"),
    told("answer", s=12, extension="8002"),
    told("hangup", s=70, cause="normal"),
    told("recording", s=75, url="https://rec.example/1.wav"),
)


def shape(call: Call) -> tuple[object, ...]:
    times = (call.begun_at, call.answered_at, call.ended_at)
    return (*((t - AT).total_seconds() if t else None for t in times), call.extension, call.cause, call.recording_url)


@pytest.mark.parametrize("order", [LIFE, LIFE[::-1], LIFE[3:] + LIFE[:3], (LIFE[4], LIFE[0], LIFE[3], *LIFE)])
def test_a_call_is_the_same_in_whatever_order_its_events_come(as_program: Session, order: Sequence[Event]) -> None:
    call = tell(as_program, *order, *[event for event in LIFE if event not in order], at=AT + timedelta(seconds=80))
    assert shape(call) == (0.0, 12.0, 70.0, "8002", "normal", "https://rec.example/1.wav")
    assert as_program.scalar(select(func.count()).select_from(CallEvent)) == len(LIFE)
    open_tasks = select(func.count()).select_from(CallBack).where(CallBack.state == "open")
    assert as_program.scalar(open_tasks) == 0, "whoever was answered is not called back"


def test_every_order_of_the_first_events_leaves_one_call_and_one_task_or_none(as_program: Session) -> None:
    for no, order in enumerate(itertools.permutations(("ring", "hangup", "answer"))):
        name = f"p{no}"
        call = tell(as_program, *(told(kind, s=LIFE_S[kind], call=name, phone=f"1390000000{no}") for kind in order))
        task = as_program.scalars(select(CallBack).where(CallBack.call_id == call.id)).one_or_none()
        assert task is None or task.state == "void", order
        assert calls.state_of(call) == "over"


LIFE_S = {"ring": 0, "answer": 5, "hangup": 20}


def test_the_same_event_again_changes_nothing_and_another_under_its_id_is_refused(as_program: Session) -> None:
    event = told("ring", event="e1")
    first = calls.take(as_program, event, at=AT)
    again = calls.take(as_program, event, at=AT)
    assert (first.repeated, again.repeated, again.call_id) == (False, True, first.call_id)
    with pytest.raises(Invalid):
        calls.take(as_program, told("hangup", event="e1"), at=AT)


def test_the_callers_number_is_nowhere_in_clear(as_program: Session) -> None:
    call = tell(as_program, told("ring", extension="8001"), told("hangup", s=9))
    for table in ("call", "call_event", "call_back", "call_back_try", "seat"):
        found = as_program.execute(
            text(f"SELECT t::text FROM {table} AS t WHERE district_code = :d"), {"d": tiny.DISTRICT}
        )
        for row in found.scalars():
            assert PHONE not in row
            assert PHONE.encode().hex() not in row
    assert calls.phone_of(call) == "138****8000"


def test_events_and_tries_can_be_neither_changed_nor_deleted(as_program: Session) -> None:
    tell(as_program, told("ring"))
    for sql in ("UPDATE call_event SET kind = 'answer'", "DELETE FROM call_event", "DELETE FROM call_back_try"):
        with pytest.raises(DBAPIError), as_program.begin_nested():
            as_program.execute(text(f"{sql} WHERE district_code = :d"), {"d": tiny.DISTRICT})


@pytest.mark.parametrize("role", [Role.UNIT, Role.GRID_WORKER, Role.OFFICIAL, Role.ADMIN, Role.CITIZEN])
def test_only_the_desk_sees_calls(as_program: Session, as_actor: AsActor, role: Role) -> None:
    tell(as_program, told("ring"), told("hangup", s=5))
    stranger = Actor(uuid.uuid4(), "路人", role, tiny.DISTRICT, tiny.WEST, tiny.STREETS)
    session = as_actor(stranger)
    for model in (Call, CallEvent, CallBack):
        assert session.scalar(select(func.count()).select_from(model)) == 0


def test_another_district_sees_nothing(as_program: Session, as_actor: AsActor) -> None:
    tell(as_program, told("ring"))
    session = as_actor(Actor(None, "邻区", Role.SYSTEM, "990999"))
    assert session.scalar(select(func.count()).select_from(Call)) == 0


def test_one_seat_one_person_and_one_person_one_seat(as_program: Session, as_actor: AsActor) -> None:
    first, second = operator(as_program, "座席甲"), operator(as_program, "座席乙")
    session = as_actor(first)
    seats.take(session, "8001", at=AT)
    seats.take(session, "8001", at=AT)
    session = as_actor(second)
    with pytest.raises(Conflict):
        seats.take(session, "8001", at=AT)
    with pytest.raises(Invalid):
        seats.take(session, "80a1", at=AT)
    seats.take(session, "8002", at=AT)
    session = as_actor(first)
    seats.take(session, "8003", at=AT)
    assert [(seat.extension, seat.name) for seat in seats.taken(session)] == [("8002", "座席乙"), ("8003", "座席甲")]
    with pytest.raises(Forbidden):
        seats.leave(session, "8002")
    session = as_actor(Actor(uuid.uuid4(), "班长", Role.SUPERVISOR, tiny.DISTRICT))
    seats.leave(session, "8002")
    with pytest.raises(Forbidden):
        seats.take(session, "8005", at=AT)
    assert [seat.extension for seat in seats.taken(session)] == ["8003"]


def test_a_seat_that_somebody_forgot_to_leave_is_free_the_next_day(as_program: Session, as_actor: AsActor) -> None:
    first, second = operator(as_program), operator(as_program, "座席乙")
    seats.take(as_actor(first), "8001", at=AT)
    seats.take(as_actor(second), "8001", at=AT + seats.SHIFT + timedelta(minutes=1))
    assert seats.mine(as_actor(first)) is None


def test_the_call_of_ones_seat_comes_to_the_desk_and_after_it_the_work_with_a_timer(
    as_program: Session, as_actor: AsActor
) -> None:
    me = operator(as_program)
    seats.take(as_actor(me), "8001", at=AT)
    program = builders.program(tiny.DISTRICT)

    def doing(s: float) -> tuple[str, uuid.UUID | None]:
        session = as_actor(me)
        now = seats.all_seats(session, at=AT + timedelta(seconds=s))[0]
        current = calls.current(session)
        return now.does, current.id if current else None

    assert doing(0) == ("free", None)
    call = tell(as_actor(program), told("ring", s=1, extension="8001"))
    assert doing(2) == ("ringing", call.id)
    tell(as_actor(program), told("answer", s=4, extension="8001"))
    assert doing(5) == ("talking", call.id)
    tell(as_actor(program), told("hangup", s=60))
    assert doing(61) == ("wrap", call.id)
    seats.more_time(as_actor(me), at=AT + timedelta(seconds=100))
    assert doing(60 + 90 + 30)[0] == "wrap"
    assert doing(60 + 90 + 60)[0] == "free"
    calls.finish(as_actor(me), at=AT + timedelta(seconds=120))
    assert doing(121) == ("free", None)
    tell(as_actor(program), told("recording", s=125, url="https://rec.example/1.wav"), at=AT + timedelta(seconds=125))
    assert doing(126) == ("free", None), "a late recording starts no second after-call work"
    figures = seats.shift(as_actor(me), since=AT, at=AT + timedelta(hours=1)).by_operator[me.id or uuid.UUID(int=0)]
    assert (figures.answered, figures.talked_s, figures.wrapped_s, figures.waited_s) == (1, 56, 60, 3)


def test_a_break_keeps_no_call_away_from_view_and_ends_by_ones_own_word(as_program: Session, as_actor: AsActor) -> None:
    me = operator(as_program)
    session = as_actor(me)
    seats.take(session, "8001", at=AT)
    seats.pause(session, on=True, at=AT)
    assert seats.all_seats(session, at=AT)[0].does == "break"
    seats.pause(session, on=False, at=AT)
    assert seats.all_seats(session, at=AT)[0].does == "free"


def test_a_call_at_an_extension_where_nobody_sits_is_kept_and_can_be_taken_over_once(
    as_program: Session, as_actor: AsActor
) -> None:
    call = tell(as_program, told("ring", extension="8777"))
    first, second = operator(as_program), operator(as_program, "座席乙")
    session = as_actor(first)
    assert [(w.extension, w.name, w.phone) for w in calls.waiting(session, at=AT)] == [("8777", "", "138****8000")]
    with pytest.raises(Invalid):
        calls.accept(session, call.id, at=AT)
    seats.take(session, "8001", at=AT)
    calls.accept(session, call.id, at=AT)
    session.flush()
    assert calls.waiting(session, at=AT) == []
    session = as_actor(second)
    seats.take(session, "8002", at=AT)
    with pytest.raises(Conflict):
        calls.accept(session, call.id, at=AT)


def test_whoever_answers_the_next_call_has_ended_the_last(as_program: Session, as_actor: AsActor) -> None:
    me = operator(as_program)
    seats.take(as_actor(me), "8001", at=AT)
    session = as_actor(builders.program(tiny.DISTRICT))
    lost = tell(session, told("answer", s=0, extension="8001", call="a"))
    tell(session, told("answer", s=300, extension="8001", call="b", phone="13900139000"))
    session.refresh(lost)
    assert (lost.cause, lost.ended_at) == ("lost", AT + timedelta(seconds=300))
    tell(session, told("hangup", s=200, call="a"), at=AT + timedelta(seconds=400))
    assert (lost.cause, lost.ended_at) == ("normal", AT + timedelta(seconds=200)), "the late word is the true one"


def test_a_call_whose_end_is_never_told_is_ended_after_hours(as_program: Session) -> None:
    call = tell(as_program, told("answer", extension="8001"))
    assert calls.end_lost(as_program, at=AT + timedelta(hours=5)) == 0
    assert calls.end_lost(as_program, at=AT + timedelta(hours=7)) == 1
    as_program.refresh(call)
    assert (calls.state_of(call), call.cause) == ("over", "lost")


def test_the_card_shows_what_the_number_reported_however_it_was_written(as_program: Session, as_actor: AsActor) -> None:
    known = {"district": tiny.DISTRICT, "town_code": tiny.WEST, "category_code": "1001", "at": AT - timedelta(days=3)}
    ours = builders.make_case(as_program, phone=PHONE, name="张伟", state="signed", unit=tiny.STREETS, **known)
    done = builders.make_case(as_program, phone=f"86{PHONE}", state="closed", **known)
    builders.make_case(as_program, phone="13800138001", **known)
    tell(as_program, told("ring", call="before", s=-500), told("hangup", call="before", s=-480))
    call = tell(as_program, told("ring", extension="8001"))
    found = card.card(as_actor(operator(as_program)), call)
    assert [m.id for m in found.open] == [ours.id]
    assert [m.id for m in found.earlier] == [done.id]
    assert (found.phone, found.name, found.matters, found.calls, found.missed) == ("138****8000", "张*", 2, 1, 1)
    assert found.open[0].category == "垃圾清运"


def test_an_operator_of_one_town_has_a_card_without_reports_of_the_district(
    as_program: Session, as_actor: AsActor
) -> None:
    builders.make_case(as_program, district=tiny.DISTRICT, phone=PHONE, at=AT, town_code=tiny.EAST)
    call = tell(as_program, told("ring"))
    narrow = Actor(uuid.uuid4(), "镇话务员", Role.OPERATOR, tiny.DISTRICT, tiny.WEST)
    found = card.card(as_actor(narrow), call)
    assert (found.phone, found.open, found.matters) == ("138****8000", (), 0)


def test_an_operator_of_one_town_sees_number_and_state_of_the_others_and_no_word_of_them(
    as_program: Session, as_actor: AsActor
) -> None:
    known = {"district": tiny.DISTRICT, "phone": PHONE, "name": "李四"}
    own = builders.make_case(as_program, at=AT - timedelta(days=9), town_code=tiny.WEST, title="本镇的事", **known)
    ended = builders.make_case(
        as_program, at=AT - timedelta(days=1), town_code=tiny.EAST, state="closed", title="外镇旧事", **known
    )
    running = builders.make_case(
        as_program, at=AT - timedelta(days=5), town_code=tiny.EAST, state="signed", unit=tiny.WATER, **known
    )
    nowhere = builders.make_case(as_program, at=AT - timedelta(days=7), lng=None, **known)
    call, wide = tell(as_program, told("ring")), operator(as_program)
    mine, gone = own.id, ended.id
    others = [running.number, nowhere.number, ended.number]
    narrow = Actor(uuid.uuid4(), "镇话务员", Role.OPERATOR, tiny.DISTRICT, tiny.WEST)
    session = as_actor(narrow)
    found = card.card(session, call)
    assert [matter.id for matter in found.open] == [mine]
    assert found.matters == 1
    assert [matter.number for matter in found.elsewhere] == others, "open ones first, then the newest"
    assert {matter.state for matter in found.elsewhere} == {"signed", "received", "closed"}
    assert found.elsewhere_count == 3
    assert "外镇旧事" not in repr(found)
    assert actor_of(session) == narrow, "the program's eyes are closed again"
    assert session.scalar(select(func.count()).select_from(Case).where(Case.id == gone)) == 0
    all_of_it = card.card(as_actor(wide), call)
    assert (all_of_it.elsewhere, all_of_it.elsewhere_count, all_of_it.matters) == ((), 0, 4)


def test_a_withheld_number_has_a_card_without_a_past_and_no_call_back(as_program: Session, as_actor: AsActor) -> None:
    call = tell(as_program, told("ring", phone=""), told("hangup", s=8, phone=""))
    found = card.card(as_actor(operator(as_program)), call)
    assert (found.phone, found.matters, found.open) == ("", 0, ())
    assert as_program.scalar(select(func.count()).select_from(CallBack)) == 0


def test_five_hang_ups_of_one_number_are_one_call_back_and_getting_through_ends_it(as_program: Session) -> None:
    for no in range(5):
        tell(as_program, told("ring", call=f"m{no}", s=no * 60), told("hangup", call=f"m{no}", s=no * 60 + 20))
    task = as_program.scalars(select(CallBack)).one()
    assert (task.reason, task.state) == ("abandoned", "open")
    tell(as_program, told("ring", call="m9", s=400), told("answer", call="m9", s=405, extension="8001"))
    as_program.refresh(task)
    assert task.state == "void"


def answered(session: Session, **known: Any) -> Case:
    filled = {"district": tiny.DISTRICT, "town_code": tiny.WEST, "phone": PHONE, "at": AT - timedelta(days=2)}
    case = builders.make_case(session, state="replied", unit=tiny.STREETS, answer="已清运。", **(filled | known))
    builders.make_assignment(session, case, tiny.STREETS, state="replied")
    builders.make_deadline(session, case, "callback", started_at=AT)
    return case


def test_answered_cases_are_called_back_once_and_not_after_the_clock_stopped(as_program: Session) -> None:
    case = answered(as_program)
    answered(as_program, phone=None)
    assert callbacks.gather(as_program, at=AT) == 1
    assert callbacks.gather(as_program, at=AT) == 0
    task = as_program.scalars(select(CallBack)).one()
    assert (task.reason, task.case_id, task.next_at) == ("survey", case.id, AT)
    as_program.execute(
        text("UPDATE deadline SET stopped_at = :at, outcome = 'met' WHERE district_code = :d AND case_id = :c"),
        {"at": AT, "d": tiny.DISTRICT, "c": case.id},
    )
    callbacks.gather(as_program, at=AT + timedelta(hours=1))
    as_program.refresh(task)
    assert task.state == "void"


def test_an_answer_for_the_telephone_joins_the_task_of_its_case(as_program: Session) -> None:
    case = answered(as_program)
    made = callbacks.add(as_program, key="m1", phone=PHONE, words="已答复", at=AT, case_id=case.id)
    assert made is not None
    assert callbacks.add(as_program, key="m1", phone=PHONE, words="已答复", at=AT, case_id=case.id) is None
    assert callbacks.gather(as_program, at=AT) == 0, "one conversation settles both"
    with pytest.raises(Invalid):
        callbacks.add(as_program, key="m2", phone="nobody", words="", at=AT)


@pytest.fixture
def called(as_program: Session, as_actor: AsActor) -> tuple[Case, Actor, uuid.UUID]:
    """An answered case whose caller an operator is calling back."""
    case = answered(as_program)
    callbacks.gather(as_program, at=AT)
    me = operator(as_program)
    task = callbacks.take_next(as_actor(me), at=AT)
    assert task is not None
    return case, me, task


def test_taking_a_task_shows_the_number_and_writes_down_who_saw_it(
    called: tuple[Case, Actor, uuid.UUID], as_actor: AsActor
) -> None:
    case, me, task = called
    session = as_actor(me)
    held = callbacks.held(session, at=AT)
    assert held is not None
    assert (held.id, held.number, held.task.case_number) == (task, PHONE, case.number)
    assert callbacks.take_next(session, at=AT) == task, "one at a time"
    program = as_actor(builders.program(tiny.DISTRICT))
    opened = program.scalars(select(Disclosure).where(Disclosure.case_id == case.id)).all()
    assert [(one.actor_id, one.field) for one in opened] == [(me.id, "phone")]


def test_a_task_that_is_being_handled_is_nobody_elses_until_its_lease_runs_out(
    called: tuple[Case, Actor, uuid.UUID], as_actor: AsActor
) -> None:
    _, first, task = called
    second = operator(as_actor(builders.program(tiny.DISTRICT)), "座席乙")
    session = as_actor(second)
    assert callbacks.take_next(session, at=AT) is None
    with pytest.raises(Conflict, match="座席甲"):
        callbacks.take(session, task, at=AT)
    later = AT + callbacks.LEASE + timedelta(seconds=1)
    callbacks.take(session, task, at=later)
    with pytest.raises(Conflict):
        callbacks.settle(as_actor(first), _book(session), task, Came("not_reached"), version=1, at=later)


def _book(session: Session) -> Rulebook:
    return read_rulebook(session, tiny.DISTRICT)


def test_a_satisfied_caller_closes_the_case(called: tuple[Case, Actor, uuid.UUID], as_actor: AsActor) -> None:
    case, me, task = called
    session = as_actor(me)
    with pytest.raises(Invalid, match="satisfied"), session.begin_nested():
        callbacks.settle(session, _book(session), task, Came("reached"), version=case.version, at=AT)
    came = Came("reached", satisfaction=5)
    assert callbacks.settle(session, _book(session), task, came, version=case.version, at=AT) == "done"
    session.refresh(case)
    assert (case.state, case.satisfaction) == ("closed", 5)


def test_an_unsatisfied_caller_sends_the_case_back_with_the_reason(
    called: tuple[Case, Actor, uuid.UUID], as_actor: AsActor
) -> None:
    case, me, task = called
    session = as_actor(me)
    came = Came("reached", note="垃圾还在原处", satisfaction=1)
    callbacks.settle(session, _book(session), task, came, version=case.version, at=AT)
    session.refresh(case)
    assert case.state == "signed"


def test_who_cannot_be_reached_is_tried_again_later_and_then_no_more(
    called: tuple[Case, Actor, uuid.UUID], as_actor: AsActor
) -> None:
    case, me, task = called
    at = AT
    for no in (1, 2, 3):
        session = as_actor(me)
        assert callbacks.take_next(session, at=at) == task
        came = Came("not_reached", close=no == 3)
        state = callbacks.settle(session, _book(session), task, came, version=case.version, at=at)
        assert state == ("open" if no < 3 else "given_up")
        assert callbacks.take_next(session, at=at) is None, "not again at once"
        at += timedelta(hours=2)
    session.refresh(case)
    assert case.state == "closed", "nobody could be reached, and the operator said to close it"
    tries = session.scalars(select(CallBackTry.outcome).where(CallBackTry.outcome != "taken")).all()
    assert tries == ["not_reached"] * 3


def test_a_case_that_went_on_meanwhile_is_not_closed_by_an_old_page(
    called: tuple[Case, Actor, uuid.UUID], as_actor: AsActor
) -> None:
    case, me, task = called
    session = as_actor(me)
    with pytest.raises(Conflict):
        callbacks.settle(
            session, _book(session), task, Came("reached", satisfaction=5), version=case.version - 1, at=AT
        )


def test_a_second_matter_of_one_call_has_a_source_id_of_its_own(as_program: Session, as_actor: AsActor) -> None:
    me = operator(as_program)
    seats.take(as_actor(me), "8001", at=AT)
    program = as_actor(builders.program(tiny.DISTRICT))
    call = tell(program, told("answer", extension="8001"))
    case = builders.make_case(program, district=tiny.DISTRICT, at=AT)
    session = as_actor(me)
    assert calls.bind(session, call.id, key="k1") == ("c1", PHONE)
    calls.link(session, call.id, case.id)
    session.expire_all()
    assert calls.bind(session, call.id, key="k2") == ("c1#k2", PHONE)
    colleague = as_actor(operator(as_actor(builders.program(tiny.DISTRICT)), "座席乙"))
    with pytest.raises(Forbidden):
        calls.bind(colleague, call.id, key="k3")


def test_a_second_matter_is_not_taken_for_the_first_where_the_desk_died_before_it_was_linked(
    as_program: Session, as_actor: AsActor
) -> None:
    me = operator(as_program)
    seats.take(as_actor(me), "8001", at=AT)
    program = as_actor(builders.program(tiny.DISTRICT))
    call = tell(program, told("answer", extension="8001"))
    case = builders.make_case(program, district=tiny.DISTRICT, at=AT)
    first = program.scalars(select(Report).where(Report.case_id == case.id)).one()
    first.channel, first.source_id, first.idempotency_key = "hotline", call.source_id, "form-1"
    program.flush()
    session = as_actor(me)
    assert calls.bind(session, call.id, key="form-1")[0] == "c1", "the same form again is the same report"
    assert calls.bind(session, call.id, key="form-2")[0] == "c1#form-2", "another form is another matter"


def test_somebody_of_one_town_is_shown_no_call_back_of_another_towns_case(
    as_program: Session, as_actor: AsActor
) -> None:
    me = operator(as_program)
    case = builders.make_case(as_program, district=tiny.DISTRICT, at=AT)
    callbacks.add(as_program, key="m1", phone=PHONE, words="已处理", at=AT, case_id=case.id)
    callbacks.add(as_program, key="m2", phone="13900139000", words="请回电", at=AT)
    for town, seen in ((str(case.town_code), {case.id, None}), ("999999999", {None}), ("", {case.id, None})):
        session = as_actor(replace(me, town=town))
        assert {task.case_id for task in callbacks.listed(session, at=AT)} == seen, town
        assert callbacks.count(session, at=AT + timedelta(days=1)) == len(seen)


@pytest.mark.parametrize("told", [{"closes": "00:00"}, {"opens": "20:30"}, {"tries": 0}, {"gap_min": -1}, ["09:00"]])
def test_hours_in_which_nobody_could_be_called_are_no_setting(told: Any) -> None:
    with pytest.raises(Invalid, match="callback"):
        callbacks.Rules.of({"callback": told})


def test_opening_a_recording_needs_a_reason_and_is_seen_by_the_person_concerned(
    as_program: Session, as_actor: AsActor
) -> None:
    me = operator(as_program)
    seats.take(as_actor(me), "8001", at=AT)
    program = as_actor(builders.program(tiny.DISTRICT))
    case = builders.make_case(program, district=tiny.DISTRICT, at=AT, phone=PHONE)
    call = tell(program, told("answer", extension="8001"), told("recording", s=9, url="https://rec.example/1.wav"))
    calls.link(as_actor(me), call.id, case.id)
    given: dict[str, Any] = {"hosts": ("rec.example",), "at": AT}
    session = as_actor(me)
    with pytest.raises(Invalid):
        calls.recording(session, call.id, reason=" ", **given)
    with pytest.raises(Invalid):
        calls.recording(session, call.id, reason="核对地址", hosts=(), at=AT)
    assert calls.recording(session, call.id, reason="核对地址", **given) == "https://rec.example/1.wav"
    stranger = as_actor(operator(as_actor(builders.program(tiny.DISTRICT)), "座席乙"))
    with pytest.raises(Forbidden):
        calls.recording(stranger, call.id, reason="好奇", **given)
    program = as_actor(builders.program(tiny.DISTRICT))
    opened = program.scalars(select(Disclosure).where(Disclosure.case_id == case.id)).all()
    assert [(one.actor_id, one.field, one.reason) for one in opened] == [(me.id, "recording", "核对地址")]
    assert program.scalar(select(func.count()).select_from(CallEvent).where(CallEvent.kind == "opened")) == 1
    bare = tell(program, told("ring", call="none"))
    with pytest.raises(NotFound):
        calls.recording(as_actor(Actor(None, "班长", Role.SUPERVISOR, tiny.DISTRICT)), bare.id, reason="核对", **given)


def test_what_is_refused_is_counted_and_nothing_else_is_kept(as_program: Session) -> None:
    for _ in range(3):
        calls.refuse(as_program, "signature", at=AT)
    assert calls.refused(as_program, at=AT) == 3
    assert as_program.scalar(select(func.count()).select_from(Call)) == 0


def test_a_call_back_number_opens_only_as_what_it_was_sealed(as_program: Session) -> None:
    tell(as_program, told("ring"), told("hangup", s=5))
    task = as_program.scalars(select(CallBack)).one()
    assert unseal(bytes(task.phone_sealed), context="call_back.phone") == PHONE
    with pytest.raises(Invalid):
        unseal(seal(PHONE, context="call.phone"), context="call_back.phone")

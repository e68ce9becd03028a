"""Answers out: who is told by which way, once, in order, at decent hours, whatever the other side does."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text

from api import wiring
from core.actor import Role
from core.crypto import seal, unseal
from core.db import rows, snapshot, transaction
from core.errors import Forbidden, Invalid
from core.ids import new_id
from core.settings import ROOT
from dispatch import outbox
from dispatch.appointments import Appointment
from dispatch.models import Case, Outbox
from hotline.outward import contacts, deadletters, templates, together
from hotline.outward.adapters import Later, Outgoing, Refused, Sent
from hotline.outward.chat import Chat
from hotline.outward.pump import LEASE, MAX_TRIES, Pump, prune
from hotline.outward.router import STALE, Router
from hotline.outward.templates import Template
from tests import tiny
from tests.builders import actor, make_case, make_report, program
from tests.standin_provider import ROBOTS, lead_here, providing

pytestmark = pytest.mark.database

#: Ten in the morning in China.
AT = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
NIGHT = datetime(2026, 11, 21, 14, 30, tzinfo=UTC)
EVERY = frozenset({"sms", "mail", "weibo", "callback", "feishu"})


class Feed:
    """Takes every message."""

    def deliver(self, messages: object) -> dict[uuid.UUID, str]:
        del messages
        return {}


class Counting:
    """Remembers what it got, and does what it is told with it."""

    def __init__(self, name: str = "sms", *then: Exception) -> None:
        self.name = name
        self.got: list[Outgoing] = []
        self.then = list(then)

    def send(self, message: Outgoing) -> Sent:
        self.got.append(message)
        if self.then:
            raise self.then.pop(0)
        return Sent(f"R{len(self.got)}")


class Clock:
    """A clock that a test sets."""

    def __init__(self, at: datetime = AT) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture(autouse=True)
def _empty(district: tiny.Tiny) -> Iterator[None]:
    yield
    with transaction(program(tiny.DISTRICT)) as session:
        for table in ("outbox", "delivery", "message_template", "contact", "call_back"):
            if table == "call_back":
                session.execute(text("UPDATE call_back SET state = 'void', finished_at = :at"), {"at": AT})
            else:
                session.execute(text(f"DELETE FROM {table}"))


def case_of(*, phone: str | None = "13812345678", **known: Any) -> Case:
    with transaction(program(tiny.DISTRICT)) as session:
        return make_case(session, district=tiny.DISTRICT, unit=tiny.STREETS, phone=phone, **known)


def put(topic: str, case: Case | None = None, *, at: datetime = AT, **payload: Any) -> uuid.UUID:
    key = new_id()
    row = {
        "district_code": tiny.DISTRICT,
        "id": key,
        "case_id": case.id if case else None,
        "topic": topic,
        "payload": ({"number": case.number} if case else {}) | payload,
        "created_at": at,
    }
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(insert(Outbox).values(row))
    return key


def route(at: datetime = AT, channels: frozenset[str] = EVERY) -> int:
    router = Router(Feed(), books=wiring.rulebook, channels=lambda: channels, clock=Clock(at), address="https://a.cn")
    return outbox.relay(tiny.DISTRICT, router, at=at)


def kept(order: str = "id") -> list[Any]:
    with snapshot(program(tiny.DISTRICT)) as session:
        return rows(session, f"SELECT * FROM delivery ORDER BY {order}")


def said(row: Any) -> str:
    return unseal(bytes(row["text_sealed"]), context="delivery.text")


def pump(*adapters: Counting, clock: Clock | None = None) -> Pump:
    return Pump({one.name: one for one in adapters}, clock=clock or Clock())


def test_answer_goes_to_the_phone_of_the_report_and_names_unit_and_answer() -> None:
    put("citizen.reply", case_of(answer="已修好井盖。", state="replied"), state="replied", unit=tiny.STREETS)
    route()
    (row,) = kept()
    assert (row["channel"], row["shown"], row["state"]) == ("sms", "138****5678", "waiting")
    assert "区城市管理局答复：已修好井盖。" in said(row)
    assert "13812345678" not in str({k: v for k, v in row.items() if not k.endswith("_sealed")})
    got = Counting()
    assert pump(got).run(tiny.DISTRICT).sent == 1
    assert (got.got[0].key, got.got[0].address) == (row["id"], "13812345678")
    assert (kept()[0]["state"], kept()[0]["receipt"]) == ("sent", "R1")
    assert pump(got).run(tiny.DISTRICT).sent == 0


def test_who_heard_the_answer_on_the_line_gets_the_words_and_no_second_call() -> None:
    case = case_of(answer="凭户口簿到派出所。", phone="010-87654321", state="closed")
    with transaction(program(tiny.DISTRICT)) as session:
        make_report(session, case, phone="13812345678")
    put("citizen.reply", case, state="closed", heard=True)
    route()
    assert [(row["channel"], row["shown"]) for row in kept("channel")] == [("sms", "138****5678")]
    put("citizen.reply", case, state="closed")
    route()
    assert {row["channel"] for row in kept()} == {"sms", "callback"}, "nobody spoke to them"


def test_same_outbox_message_again_makes_no_second_delivery() -> None:
    put("citizen.reply", case_of(answer="好了"))
    route()
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(text("UPDATE outbox SET delivered_at = NULL, leased_until = NULL"))
    assert route() == 1
    assert len(kept()) == 1


def test_every_caller_of_a_case_is_told_once_by_the_own_way() -> None:
    case = case_of(answer="好了")
    with transaction(program(tiny.DISTRICT)) as session:
        make_report(session, case, phone="138 1234 5678")
        make_report(session, case, phone="010-87654321")
        make_report(session, case, channel="weibo", source_id="5001")
        make_report(session, case, channel="open311", source_id="o1", phone="13900000000")
        make_report(session, case, phone="不是号码")
    put("citizen.reply", case)
    route()
    assert [(row["channel"], row["shown"]) for row in kept("channel")] == [
        ("callback", "010****4321"),
        ("sms", "138****5678"),
        ("weibo", "5001"),
    ]


def test_receipt_code_is_told_to_the_phone_and_never_on_a_post() -> None:
    put("case.opened", case_of(), state="received", day="2026-11-21")
    route()
    assert "查询码" in said(kept()[0])
    with pytest.raises(Invalid):
        templates.check(Template("citizen.reply", "weibo", text="{code}"))


def test_appointment_is_looked_up_by_its_number_alone() -> None:
    at = datetime(2026, 11, 24, 1, 30, tzinfo=UTC)
    with transaction(program(tiny.DISTRICT)) as session:
        session.add(
            Appointment(
                district_code=tiny.DISTRICT,
                id=new_id(),
                number="Y20261124000001",
                window_code=tiny.COUNTER,
                unit_code=tiny.STREETS,
                starts_at=at,
                ends_at=at + timedelta(minutes=30),
                busy_until=at + timedelta(minutes=30),
                seat=1,
                name_sealed=seal("王某", context="appointment.name"),
                phone_sealed=seal("13912345678", context="appointment.phone"),
                phone_index=b"x",
                status="cancelled",
                cancelled_at=AT,
                booked_at=AT,
                booked_by="市民",
                access_hash=b"x",
            )
        )
    put("citizen.appointment", number="Y20261124000001", window=tiny.COUNTER, reason="停电", moved_to="")
    route()
    (row,) = kept()
    assert (row["shown"], row["number"]) == ("139****5678", "Y20261124000001")
    assert "城管综合窗口，11月24日09:30）有变动：停电。已取消" in said(row)
    assert "王某" not in said(row)


def test_short_messages_wait_for_the_morning_except_in_danger() -> None:
    put("citizen.reply", case_of(answer="好了"), at=NIGHT)
    put("citizen.reply", case_of(answer="好了", urgency="emergency"), at=NIGHT)
    route(NIGHT)
    clock, got = Clock(NIGHT), Counting()
    assert sorted(row["state"] for row in kept()) == ["held", "waiting"]
    assert pump(got, clock=clock).run(tiny.DISTRICT).sent == 1
    clock.at = datetime(2026, 11, 22, 0, 0, tzinfo=UTC)
    assert pump(got, clock=clock).run(tiny.DISTRICT).sent == 1, "eight in the morning in China"


def test_try_put_off_into_the_night_waits_for_the_morning_too() -> None:
    put("citizen.reply", case_of(answer="好了"))
    route()
    got = Counting()
    assert pump(got, clock=Clock(NIGHT)).run(tiny.DISTRICT).sent == 0
    assert (kept()[0]["state"], kept()[0]["tries"], got.got) == ("held", 0, [])


def test_what_the_other_side_refuses_is_never_tried_again_and_says_why() -> None:
    put("citizen.reply", case_of(answer="好了"))
    route()
    got = Counting("sms", Refused("status 400"))
    assert pump(got).run(tiny.DISTRICT).failed == 1
    assert (kept()[0]["state"], kept()[0]["reason"]) == ("refused", "status 400")
    assert pump(got, clock=Clock(AT + timedelta(days=1))).run(tiny.DISTRICT).sent == 0


def test_what_fails_waits_longer_each_time_and_is_given_up_at_last() -> None:
    put("citizen.reply", case_of(answer="好了"))
    route()
    got, clock, waits = Counting("sms", *[Later("status 500")] * MAX_TRIES), Clock(), []
    while kept()[0]["state"] == "waiting":
        pump(got, clock=clock).run(tiny.DISTRICT)
        waits.append(kept()[0]["next_at"] - clock.at)
        clock.at = max(clock.at, kept()[0]["next_at"])
        if clock.at.hour >= 13:
            clock.at = clock.at.replace(hour=0) + timedelta(days=1)
    assert kept()[0]["state"] == "dead"
    assert len(got.got) == MAX_TRIES
    assert waits[:3] == sorted(waits[:3])
    assert len({message.key for message in got.got}) == 1


def test_provider_that_is_down_costs_no_message_a_try() -> None:
    for _ in range(3):
        put("citizen.reply", case_of(answer="好了"))
    route()
    down = Counting("sms", *[Later("nobody there", down=True)] * 50)
    clock = Clock()
    made = pump(down, clock=clock)
    for _ in range(20):
        made.run(tiny.DISTRICT)
        clock.at += timedelta(seconds=31)
    assert {(row["state"], row["tries"]) for row in kept()} == {("waiting", 0)}
    assert len(down.got) <= 20, "one knock a rest, not one a message"
    down.then.clear()
    made.run(tiny.DISTRICT)
    assert {row["state"] for row in kept()} == {"sent"}


def test_one_channel_that_is_down_stops_no_other_one() -> None:
    case = case_of(answer="好了")
    with transaction(program(tiny.DISTRICT)) as session:
        make_report(session, case, channel="weibo", source_id="77")
    put("citizen.reply", case)
    route()
    post = Counting("weibo")
    pump(Counting("sms", Later("nobody there", down=True)), post).run(tiny.DISTRICT)
    assert len(post.got) == 1


def test_messages_of_one_case_and_phone_keep_their_order() -> None:
    case, later = case_of(answer="好了"), AT + timedelta(minutes=2)
    put("citizen.reply", case)
    route()
    put("citizen.closed", case, at=later)
    route(later)
    got, clock = Counting("sms", Later("busy")), Clock(later)
    assert pump(got, clock=clock).run(tiny.DISTRICT).sent == 0
    clock.at += timedelta(minutes=5)
    pump(got, clock=clock).run(tiny.DISTRICT)
    assert [one.extra["topic"] for one in got.got] == ["citizen.reply", "citizen.reply", "citizen.closed"]


def test_short_messages_of_one_case_that_come_close_together_go_out_as_one() -> None:
    case = case_of(answer="好了")
    put("case.opened", case, state="received", day="2026-11-21")
    put("citizen.reply", case)
    put("citizen.reply", case_of(answer="另一件"))
    route()
    got = Counting()
    assert pump(got).run(tiny.DISTRICT).sent == 3
    assert len(got.got) == 2, "another case is another message, to the same number, too"
    words = got.got[0].text
    assert words.index("已收到并登记") < words.index("答复：好了")
    assert words.count("【") == 1, "who speaks is said once"
    assert {row["state"] for row in kept()} == {"sent"}
    with snapshot(actor(Role.SUPERVISOR, district=tiny.DISTRICT)) as session:
        assert sorted(one.joined for one in deadletters.listed(session, deadletters.Chosen())) == [False, False, True]


def test_second_try_says_the_very_same_under_the_same_key_whatever_came_meanwhile() -> None:
    case, clock = case_of(answer="好了"), Clock()
    put("case.opened", case, state="received", day="2026-11-21")
    put("citizen.reply", case)
    route()
    got = Counting("sms", Later("no answer in time"))
    pump(got, clock=clock).run(tiny.DISTRICT)
    put("citizen.closed", case, at=AT + timedelta(seconds=10))
    route(AT + timedelta(seconds=10))
    clock.at += timedelta(minutes=5)
    assert pump(got, clock=clock).run(tiny.DISTRICT).sent == 3
    first, again, last = got.got
    assert (first.key, first.text) == (again.key, again.text)
    assert "已办结" in last.text
    assert last.key != first.key


def test_what_comes_shortly_after_a_sent_message_waits_until_the_window_is_over() -> None:
    case, soon = case_of(answer="好了"), AT + timedelta(seconds=10)
    put("case.opened", case, state="received", day="2026-11-21")
    route()
    got, clock = Counting(), Clock()
    assert pump(got, clock=clock).run(tiny.DISTRICT).sent == 1, "the first one waits for nobody"
    for topic in ("citizen.reply", "citizen.closed"):
        put(topic, case, at=soon)
    route(soon)
    clock.at = soon + timedelta(seconds=1)
    assert pump(got, clock=clock).run(tiny.DISTRICT).sent == 0
    clock.at = AT + together.WINDOW
    assert pump(got, clock=clock).run(tiny.DISTRICT).sent == 2
    assert len(got.got) == 2


def test_danger_goes_out_for_itself_and_a_district_may_send_each_message_for_itself() -> None:
    danger, case = case_of(answer="好了", urgency="emergency"), case_of(answer="好了")
    for one in (danger, case):
        put("citizen.reply", one)
        put("citizen.closed", one)
    route()
    got = Counting()
    assert (
        Pump({"sms": got}, clock=Clock(AT + timedelta(minutes=2)), window=lambda _: timedelta()).run(tiny.DISTRICT).sent
    )
    assert len(got.got) == 4
    assert together.window({"sms_together_s": 0}) == timedelta()
    for unreadable in ("60", -1, True, 10**9, None):
        assert together.window({"sms_together_s": unreadable}) == together.WINDOW


def test_more_words_than_a_message_holds_make_two_messages() -> None:
    case = case_of(answer="长" * 400)
    put("case.opened", case, state="received", day="2026-11-21")
    put("citizen.reply", case)
    route()
    got = Counting()
    assert pump(got, clock=Clock(AT + timedelta(minutes=2))).run(tiny.DISTRICT).sent == 2
    assert [len(one.text) <= templates.LONGEST["sms"] for one in got.got] == [True, True]


def test_refused_short_message_becomes_a_call_back_once() -> None:
    case = case_of(answer="好了")
    put("case.opened", case, state="received", day="2026-11-21")
    put("citizen.reply", case)
    route()
    no = Counting("sms", *[Refused("status 403")] * 9)
    calls = Counting("callback")
    assert pump(no, calls).run(tiny.DISTRICT).failed == 2
    pump(no, calls).run(tiny.DISTRICT)
    assert [one.extra["topic"] for one in calls.got] == ["citizen.reply"], "nobody is called to hear a number"
    assert "答复：好了" in calls.got[0].text
    assert calls.got[0].address == "13812345678"
    boss = actor(Role.SUPERVISOR, district=tiny.DISTRICT)
    with transaction(boss) as session:
        assert [one.called for one in deadletters.listed(session, deadletters.Chosen(state="refused"))] == [True, False]
        deadletters.resend_all(session, deadletters.Chosen(state="refused"), at=AT)
    pump(no, calls, clock=Clock(AT + timedelta(minutes=2))).run(tiny.DISTRICT)
    assert len(calls.got) == 1
    assert sorted(row["state"] for row in kept()) == ["refused", "refused", "sent"]


def test_a_second_pump_takes_nothing_that_the_first_one_holds() -> None:
    put("citizen.reply", case_of(answer="好了"))
    route()
    first = pump(Counting())
    assert len(first._lease(tiny.DISTRICT)) == 1
    assert pump(Counting()).run(tiny.DISTRICT).sent == 0
    late = Counting()
    assert pump(late, clock=Clock(AT + LEASE * 2)).run(tiny.DISTRICT).sent == 1


def test_stale_news_and_topics_without_words_go_to_nobody() -> None:
    put("citizen.reply", case_of(answer="好了"), at=AT - STALE - timedelta(minutes=1))
    put("unit.released", case_of())
    put("citizen.progress", case_of(), state="signed")
    assert route() == 3
    assert kept() == []


def test_channel_without_an_adapter_gets_no_rows() -> None:
    put("citizen.reply", case_of(answer="好了"))
    route(channels=frozenset())
    assert kept() == []


def test_unit_is_told_at_its_own_addresses_and_supervision_by_the_rung() -> None:
    admin = actor(Role.ADMIN, district=tiny.DISTRICT)
    with transaction(admin) as session:
        for audience, unit, channel, address in (
            ("unit", tiny.STREETS, "mail", "streets@example.cn"),
            ("unit", tiny.STREETS, "feishu", "feishu://abcdef123456"),
            ("unit", tiny.WATER, "mail", "water@example.cn"),
            ("supervision", "", "mail", "ducha@example.cn"),
        ):
            contacts.add(session, audience=audience, unit=unit, channel=channel, address=address, at=AT)
    case = case_of()
    put("unit.assigned", case, unit=tiny.STREETS)
    put("deadline.escalated", case, unit=tiny.STREETS, rung="supervision", due_at=AT.isoformat())
    route()
    found = sorted((row["topic"], row["channel"], row["shown"]) for row in kept())
    assert found == [
        ("deadline.escalated", "mail", "du***@example.cn"),
        ("unit.assigned", "feishu", "feishu://***3456"),
        ("unit.assigned", "mail", "st***@example.cn"),
    ]
    assert all(case.text not in said(row) for row in kept()), "nothing of the reporter's words leaves the house"


def test_district_says_it_in_its_own_words_and_can_fall_silent() -> None:
    admin = actor(Role.ADMIN, district=tiny.DISTRICT)
    with transaction(admin) as session:
        templates.change(session, Template("citizen.reply", "sms", category="10", text="您好，{answer}"), at=AT)
        templates.change(session, Template("citizen.closed", "sms", text=""), at=AT)
    put("citizen.reply", case_of(answer="好了", category_code="1001"))
    put("citizen.reply", case_of(answer="好了", category_code="2001"))
    put("citizen.closed", case_of())
    route()
    assert sorted(said(row).startswith("您好") for row in kept()) == [False, True]
    with (
        pytest.raises(Exception, match="row-level security"),
        transaction(actor(Role.SUPERVISOR, district=tiny.DISTRICT)) as session,
    ):
        templates.change(session, Template("citizen.reply", "sms", text="x"), at=AT)


def test_given_up_messages_are_sent_again_one_or_all_of_a_filter_and_it_is_written_down() -> None:
    for _ in range(3):
        put("citizen.reply", case_of(answer="好了"))
    route()
    pump(Counting("sms", *[Refused("status 403")] * 3)).run(tiny.DISTRICT)
    boss = actor(Role.SUPERVISOR, district=tiny.DISTRICT)
    with transaction(boss) as session:
        listed = deadletters.listed(session, deadletters.Chosen(state="refused"))
        assert [one.reason for one in listed] == ["status 403"] * 3
        assert deadletters.resend(session, listed[0].id, at=AT) == 1
        assert deadletters.resend_all(session, deadletters.Chosen(state="refused", channel="sms"), at=AT) == 2
        assert deadletters.resend(session, listed[0].id, at=AT) == 0, "it waits already"
        assert [event.count for event in deadletters.events(session)][:2] == [2, 1]
    got = Counting()
    assert pump(got).run(tiny.DISTRICT).sent == 3
    assert {m.key for m in got.got} == {one.id for one in listed}, "the key stays the same"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("robot", sorted(ROBOTS))
def test_robot_that_says_no_is_tried_again_then_given_up_and_takes_it_when_sent_again(
    robot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with providing() as provider:
        address = lead_here(robot, provider, monkeypatch)
        with transaction(actor(Role.ADMIN, district=tiny.DISTRICT)) as session:
            contacts.add(session, audience="unit", unit=tiny.STREETS, channel=robot, address=address, at=AT)
        put("unit.assigned", case_of(), unit=tiny.STREETS)
        route(channels=frozenset({robot}))
        provider.says, clock = {"errcode": 45009, "errmsg": "api freq out of limit"}, Clock()
        way = Pump({robot: Chat(robot)}, clock=clock)
        for _ in range(MAX_TRIES + 3):
            way.run(tiny.DISTRICT)
            clock.at += timedelta(hours=5)
        assert (kept()[0]["state"], kept()[0]["tries"], len(provider.got)) == ("dead", MAX_TRIES, MAX_TRIES)
        assert "45009" in kept()[0]["reason"]
        provider.says = {"errcode": 0}
        with transaction(actor(Role.SUPERVISOR, district=tiny.DISTRICT)) as session:
            assert deadletters.resend_all(session, deadletters.Chosen(state="dead", channel=robot), at=clock.at) == 1
        assert way.run(tiny.DISTRICT).sent == 1
        assert kept()[0]["state"] == "sent"


def test_nobody_but_supervision_and_administration_sees_deliveries() -> None:
    put("citizen.reply", case_of(answer="好了"))
    route()
    for role in (Role.OPERATOR, Role.UNIT, Role.OFFICIAL, Role.GRID_WORKER, Role.CITIZEN):
        with snapshot(actor(role, district=tiny.DISTRICT)) as session:
            assert rows(session, "SELECT id FROM delivery") == []
            with pytest.raises(Forbidden):
                deadletters.listed(session, deadletters.Chosen())
    narrowed = actor(Role.SUPERVISOR, district=tiny.DISTRICT, town=tiny.WEST)
    with snapshot(narrowed) as session:
        assert rows(session, "SELECT id FROM delivery") == []


def test_sent_messages_are_pruned_and_given_up_ones_stay() -> None:
    put("citizen.reply", case_of(answer="好了"))
    put("citizen.reply", case_of(answer="好了"))
    route()
    pump(Counting("sms", Refused("no"))).run(tiny.DISTRICT)
    assert prune(tiny.DISTRICT, before=AT + timedelta(days=1)) == 1
    assert [row["state"] for row in kept()] == ["refused"]


_VICTIM = """
import sys, time
from datetime import datetime
from pathlib import Path
from hotline.outward.adapters import Sent
from hotline.outward.pump import Pump

class Slow:
    name = "sms"
    def send(self, message):
        with open(sys.argv[3], "a") as file:
            file.write(f"{message.key}\\n")
        print("sent", flush=True)
        time.sleep(60)
        return Sent()

Pump({"sms": Slow()}, clock=lambda: datetime.fromisoformat(sys.argv[2])).run(sys.argv[1])
"""


def test_kill_between_sending_and_writing_repeats_only_the_key(tmp_path: Path) -> None:
    """A pump is killed with SIGKILL after the other side took a message; a side that honours keys has each once."""
    for _ in range(3):
        put("citizen.reply", case_of(answer="好了"))
    route()
    script, counted = tmp_path / "victim.py", tmp_path / "keys"
    script.write_text(_VICTIM, encoding="utf-8")
    victim = subprocess.Popen(
        [sys.executable, str(script), tiny.DISTRICT, AT.isoformat(), str(counted)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert victim.stdout is not None
    assert victim.stdout.readline() == "sent\n"
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    victim.stdout.close()
    assert {row["state"] for row in kept()} == {"waiting"}
    got, end = Counting(), time.monotonic() + 10
    while any(row["state"] == "waiting" for row in kept()) and time.monotonic() < end:
        pump(got, clock=Clock(AT + LEASE * 2)).run(tiny.DISTRICT)
    every = [*map(uuid.UUID, counted.read_text().split()), *(one.key for one in got.got)]
    wanted = {row["id"] for row in kept()}
    assert set(every) == wanted, "nothing lost"
    assert len(every) == len(wanted) + 1, "the one that was on its way comes again, under its key"

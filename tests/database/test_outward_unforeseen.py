"""One message that nobody foresaw stops no other one: in the pump, in the router, and at the secret that is missing."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta

import pytest
from sqlalchemy import insert, select, text

from api import wiring
from core.crypto import seal
from core.db import transaction
from core.errors import Unavailable
from core.ids import new_id
from dispatch import outbox
from dispatch.models import Outbox
from hotline.outward import router as router_of
from hotline.outward.adapters import Outgoing, Refused, Sent, recipient
from hotline.outward.callback import CallBackTask
from hotline.outward.models import Delivery
from hotline.outward.pump import MAX_TRIES, Pump
from hotline.outward.router import Router
from hotline.telephone.callbacks import Rules
from hotline.telephone.models import CallBack
from tests import tiny
from tests.builders import make_case, program

pytestmark = pytest.mark.database

AT = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)


class Breaks:
    """An adapter that trips over one address, as no adapter should."""

    name = "mail"

    def __init__(self) -> None:
        self.got: list[str] = []

    def send(self, message: Outgoing) -> Sent:
        if message.address == "odd@example.cn":
            raise TypeError("odd@example.cn is not what I thought")
        self.got.append(message.address)
        return Sent("R")


class Feed:
    def deliver(self, messages: object) -> dict[uuid.UUID, str]:
        del messages
        return {}


@pytest.fixture(autouse=True)
def _empty(district: tiny.Tiny) -> Iterator[None]:
    yield
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(text("DELETE FROM outbox"))
        session.execute(text("DELETE FROM delivery"))
        session.execute(text("UPDATE call_back SET state = 'void', finished_at = :at WHERE state = 'open'"), {"at": AT})


def _put(address: str) -> uuid.UUID:
    key = new_id()
    with transaction(program(tiny.DISTRICT)) as session:
        session.add(
            Delivery(
                district_code=tiny.DISTRICT,
                id=key,
                message_id=new_id(),
                topic="unit.assigned",
                channel="mail",
                recipient=recipient("mail", address),
                address_sealed=seal(address, context="delivery.address"),
                shown="***",
                text_sealed=seal("新派单", context="delivery.text"),
                state="waiting",
                created_at=AT,
                next_at=AT,
            )
        )
    return key


def _kept() -> Mapping[uuid.UUID, Delivery]:
    with transaction(program(tiny.DISTRICT)) as session:
        found = {row.id: row for row in session.scalars(select(Delivery))}
        session.expunge_all()
        return found


def _standing(at: datetime) -> Callable[[], datetime]:
    return lambda: at


def test_a_message_that_its_adapter_trips_over_stops_none_behind_it_and_is_given_up_at_last() -> None:
    odd, well = _put("odd@example.cn"), _put("clerk@example.cn")
    adapter = Breaks()
    for no in range(MAX_TRIES):
        Pump({"mail": adapter}, clock=_standing(AT + timedelta(hours=5 * no))).run(tiny.DISTRICT)
    assert adapter.got == ["clerk@example.cn"]
    kept = _kept()
    assert (kept[well].state, kept[odd].state) == ("sent", "dead")
    assert kept[odd].reason == "unforeseen: TypeError", "the kind alone: its words name an address"


def test_characters_that_no_table_keeps_in_a_refusal_stop_no_other_message() -> None:
    class Rude(Breaks):
        def send(self, message: Outgoing) -> Sent:
            if message.address == "odd@example.cn":
                raise Refused("result \x00\x1b[2Jno\u202e")
            return super().send(message)

    odd, well = _put("odd@example.cn"), _put("clerk@example.cn")
    Pump({"mail": Rude()}, clock=_standing(AT)).run(tiny.DISTRICT)
    kept = _kept()
    assert (kept[odd].state, kept[odd].reason) == ("refused", "result [2Jno")
    assert kept[well].state == "sent"


def _relay(*payloads: object) -> int:
    with transaction(program(tiny.DISTRICT)) as session:
        case = make_case(session, district=tiny.DISTRICT, unit=tiny.STREETS, phone="13812345678", answer="好了")
        for payload in payloads:
            row = {"district_code": tiny.DISTRICT, "id": new_id(), "topic": "citizen.reply", "payload": payload}
            session.execute(insert(Outbox).values(row | {"case_id": case.id, "created_at": AT}))
    channels = frozenset({"sms"})
    made = Router(Feed(), books=wiring.rulebook, channels=lambda: channels, clock=lambda: AT)
    return outbox.relay(tiny.DISTRICT, made, at=AT)


def test_a_message_of_no_known_shape_is_put_back_and_the_relay_goes_on() -> None:
    assert _relay(["not", "a", "mapping"]) == 0
    with transaction(program(tiny.DISTRICT)) as session:
        row = session.execute(text("SELECT failure, delivered_at FROM outbox")).one()
    assert row.failure.startswith("AttributeError")
    assert row.delivered_at is None


def test_what_is_nobodys_fault_costs_no_message_a_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_secret(*_: object, **__: object) -> bytes:
        raise Unavailable("The installation has no secret; set WANGGE_SECRET to 64 hexadecimal digits.")

    monkeypatch.setattr(router_of, "seal", no_secret)
    assert _relay({"number": "1"}) == 0
    with transaction(program(tiny.DISTRICT)) as session:
        assert session.execute(text("SELECT failure FROM outbox")).scalar() is None


def test_answers_are_told_by_telephone_in_the_districts_own_hours() -> None:
    rules = Rules(opens=time(14), closes=time(16))
    told = Outgoing(new_id(), "010-87654321", "", "已修好", {"district": tiny.DISTRICT})
    CallBackTask(clock=lambda: AT, rules=lambda _: rules).send(told)
    with transaction(program(tiny.DISTRICT)) as session:
        task = session.scalars(select(CallBack).where(CallBack.state == "open")).one()
        assert task.next_at == datetime(2026, 11, 21, 6, 0, tzinfo=UTC), "two in the afternoon in China"

"""The bridge for switchboards that sign nothing: what it makes of a form, and that nothing is lost or out of order."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import orjson
import pytest

from hotline.telephone import hook
from hotline.telephone.bridge import Bridge, Target, event_of

AT = datetime(2026, 11, 18, 6, 0, tzinfo=UTC)
KEY = b"k" * 40


class Receiver:
    """Answers as told, then with 200, and keeps what it took."""

    def __init__(self, *answers: int) -> None:
        self._answers = list(answers)
        self.took: list[dict[str, str]] = []
        self.asked = 0
        self.came = threading.Event()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        status = self._answers.pop(0) if self._answers else 200
        if status == 0:
            raise httpx.ConnectError("nobody there")
        hook.check(
            request.content,
            timestamp=request.headers["Wangge-Timestamp"],
            signature=request.headers["Wangge-Signature"],
            known=(KEY,),
            at=AT,
        )
        if status == 200:
            self.took.append(orjson.loads(request.content))
            self.came.set()
        return httpx.Response(status)


@pytest.fixture
def bridged() -> object:
    made: list[Bridge] = []

    def start(receiver: Receiver) -> Callable[[str], int]:
        target = Target("http://wangge.example/events", KEY)
        bridge = Bridge(target, port=0, now=lambda: AT, transport=httpx.MockTransport(receiver))
        made.append(bridge)
        bridge.start()

        def send(form: str) -> int:
            return httpx.post(f"http://127.0.0.1:{bridge.port}/", content=form, trust_env=False).status_code

        return send

    yield start
    for bridge in made:
        bridge.stop()


Start = Callable[[Receiver], Callable[[str], int]]


def wait_for(receiver: Receiver, n: int) -> None:
    end = time.monotonic() + 10
    while len(receiver.took) < n:
        assert time.monotonic() < end, receiver.took
        time.sleep(0.02)


def test_a_form_becomes_a_signed_event_that_the_webhook_reads(bridged: Start) -> None:
    receiver = Receiver()
    send = bridged(receiver)
    assert send("event=ring&call=abc%40host&caller=%2B8613800138000&extension=8001&line=12345") == 202
    wait_for(receiver, 1)
    event = hook.read(orjson.dumps(receiver.took[0]), at=AT)
    assert (event.kind, event.call, event.phone, event.extension) == ("ring", "abc@host", "13800138000", "8001")


@pytest.mark.parametrize("down", [0, 500, 503, 409, 401])
def test_what_is_not_taken_is_sent_again_and_in_order(bridged: Start, down: int) -> None:
    receiver = Receiver(down, down)
    send = bridged(receiver)
    for kind in ("ring", "answer", "hangup"):
        send(f"event={kind}&call=c1")
    wait_for(receiver, 3)
    assert [event["event"] for event in receiver.took] == ["ring", "answer", "hangup"]


def test_what_is_refused_for_good_holds_nothing_up(bridged: Start, caplog: pytest.LogCaptureFixture) -> None:
    receiver = Receiver(422)
    send = bridged(receiver)
    send("event=nonsense&call=c1")
    send("event=ring&call=c1")
    wait_for(receiver, 1)
    assert [event["event"] for event in receiver.took] == ["ring"]
    assert "refused for good" in caplog.text


def test_a_body_without_an_end_is_refused(bridged: Start) -> None:
    send = bridged(Receiver())
    assert send("x" * (hook.MAX_BODY + 1)) == 413


@pytest.mark.parametrize("call", ["a/b=c~1", "x" * 200, "", "<script>", "呼叫"])
def test_any_call_id_becomes_one_that_an_event_may_carry(call: str) -> None:
    first = event_of({"event": "ring", "call": call}, at=AT)
    assert first == event_of({"event": "ring", "call": call}, at=AT)
    assert hook.read(orjson.dumps(first), at=AT).call.startswith("sip-")


def test_a_retransmission_is_the_same_event_and_the_next_seat_another() -> None:
    given = {"event": "ring", "call": "c1"}
    first = event_of(given | {"extension": "8001"}, at=AT)["id"]
    assert first == event_of(given | {"extension": "8001"}, at=AT)["id"]
    assert first != event_of(given | {"extension": "8002"}, at=AT)["id"]

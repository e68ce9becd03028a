"""The telephone through HTTP: the signed webhook, the desk's bar, the queue, and calling people back."""

import asyncio
import random
import re
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import select, text
from starlette.testclient import TestClient

from api import wiring
from api.feed import Feed, feed
from api.pages import phone as phone_page
from core.actor import system
from core.db import snapshot, transaction
from core.settings import settings
from dispatch.models import Report
from hotline.telephone import hook
from hotline.telephone.models import Call, CallBack
from tests import builders, tiny

pytestmark = pytest.mark.web

SignIn = Callable[[str], TestClient]
KEY, OTHER = "k" * 40, "j" * 40
URL = "/api/v1/telephone/events"


@pytest.fixture(autouse=True, scope="module")
def _keys(district: tiny.Tiny) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("WANGGE_TELEPHONE_KEYS", f"{OTHER},{KEY}")
    patch.setenv("WANGGE_RECORDING_HOSTS", "rec.example")
    settings.cache_clear()
    yield
    patch.undo()
    settings.cache_clear()


@pytest.mark.parametrize(("told", "seconds"), [(30, 30), ("90s", 90), (0, 90), (10**9, 90), ([1], 90), (None, 90)])
def test_a_slip_in_the_settings_stops_no_call(told: object, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "rulebook", lambda _: SimpleNamespace(settings={"wrap_s": told}))
    assert phone_page.wrap_of(tiny.DISTRICT) == timedelta(seconds=seconds)


@pytest.fixture(autouse=True)
def _hung_up() -> None:
    """Begin without seats, open calls and tasks."""
    with transaction(system(tiny.DISTRICT)) as session:
        for sql in (
            "DELETE FROM seat WHERE district_code = :d",
            "UPDATE call SET ended_at = begun_at, cause = 'lost' WHERE district_code = :d AND ended_at IS NULL",
            "UPDATE call_back SET state = 'void', finished_at = created_at WHERE district_code = :d AND state = 'open'",
        ):
            session.execute(text(sql), {"d": tiny.DISTRICT})


def phone() -> str:
    return f"139{uuid.uuid4().int % 10**8:08d}"


def signed(body: bytes, *, key: str = KEY, at: datetime | None = None) -> dict[str, Any]:
    stamp = int((at or datetime.now(UTC)).timestamp())
    return {"Wangge-Timestamp": str(stamp), "Wangge-Signature": hook.sign(body, key=key.encode(), timestamp=stamp)}


def send(client: Any, kind: str, call: str, **known: Any) -> Any:
    told = {"id": f"{call}:{kind}:{known}", "event": kind, "call": call, "at": datetime.now(UTC).isoformat()} | known
    told["id"] = known.get("id") or re.sub(r"[^0-9A-Za-z]", "", told["id"])[:100]
    body = orjson.dumps(told)
    return client.post(URL, content=body, headers=signed(body))


def known(call: str) -> Call | None:
    with snapshot(system(tiny.DISTRICT)) as session:
        return session.scalars(
            select(Call).where(Call.district_code == tiny.DISTRICT, Call.source_id == call)
        ).one_or_none()


def seat(client: TestClient, extension: str) -> None:
    answer = client.post("/phone/seat", data={"do": "take", "extension": extension})
    assert answer.status_code == 303, answer.text


def test_a_signed_event_is_taken_once(client: TestClient) -> None:
    number = phone()
    first = send(client, "ring", "w1", caller=number, extension="8001", id="w1-1")
    assert first.status_code == 200, first.text
    assert first.json() | {"call": ""} == {"call": "", "state": "ringing", "repeated": False}
    assert send(client, "hangup", "w1", id="w1-2").json()["state"] == "over"
    repeated = send(client, "ring", "w1", caller=number, extension="8001", id="w1-1")
    assert repeated.status_code == 422, "the same id with another time is another event"
    body = orjson.dumps({"id": "w1-3", "event": "ring", "call": "w1", "at": datetime.now(UTC).isoformat()})
    for repeated_is in (False, True):
        assert client.post(URL, content=body, headers=signed(body)).json()["repeated"] is repeated_is


@pytest.mark.parametrize(
    "headers",
    [
        lambda body: {},
        lambda body: signed(body, key="x" * 40),
        lambda body: signed(b"{}"),
        lambda body: signed(body, at=datetime.now(UTC) - timedelta(minutes=6)),
        lambda body: signed(body) | {"Wangge-Timestamp": "1e9"},
        lambda body: signed(body) | {"Wangge-Signature": "v1=é".encode()},
    ],
)
def test_a_forged_event_is_refused_and_counted_and_nothing_of_it_is_kept(
    client: TestClient, headers: Callable[[bytes], dict[str, Any]]
) -> None:
    counted = "SELECT coalesce(sum(count), 0) FROM hook_refusal WHERE district_code = :d"
    kept = (
        "SELECT (SELECT count(*) FROM call WHERE district_code = :d), "
        "(SELECT count(*) FROM call_event WHERE district_code = :d)"
    )

    def look(sql: str) -> tuple[Any, ...]:
        with snapshot(system(tiny.DISTRICT)) as session:
            return tuple(session.execute(text(sql), {"d": tiny.DISTRICT}).one())

    before = look(counted)[0], look(kept)
    body = orjson.dumps({"id": "f1", "event": "ring", "call": "forged", "at": datetime.now(UTC).isoformat()})
    answer = client.post(URL, content=body, headers=headers(body))
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert (look(counted)[0], look(kept)) == (before[0] + 1, before[1])


def test_either_key_is_taken_while_one_is_being_changed(client: TestClient) -> None:
    for no, key in enumerate((KEY, OTHER)):
        body = orjson.dumps({"id": f"r{no}", "event": "ring", "call": "w2", "at": datetime.now(UTC).isoformat()})
        assert client.post(URL, content=body, headers=signed(body, key=key)).status_code == 200


@pytest.mark.parametrize(
    ("member", "changed"),
    [
        ("url", {"event": "recording", "url": "https://elsewhere.example/1.wav"}),
        ("at", {"at": "2020-01-01T00:00:00Z"}),
        ("event", {"event": "<script>"}),
        ("extension", {"extension": "80" * 9}),
    ],
)
def test_a_signed_event_that_cannot_be_names_what_is_wrong(
    client: TestClient, member: str, changed: dict[str, str]
) -> None:
    body = orjson.dumps({"id": "b1", "event": "ring", "call": "bad", "at": datetime.now(UTC).isoformat()} | changed)
    answer = client.post(URL, content=body, headers=signed(body))
    assert (answer.status_code, answer.json()["field"]) == (422, member)
    assert known("bad") is None


def test_a_call_is_written_down_as_a_report_of_that_call_and_number(client: TestClient, signed_in: SignIn) -> None:
    operator, number = signed_in("operator"), phone()
    seat(operator, "8001")
    send(client, "ring", "w3", caller=number, extension="8001")
    call = known("w3")
    assert call is not None
    bar = operator.get("/phone/bar").text
    assert f"{number[:3]}****{number[-4:]}" in bar
    assert number not in bar
    assert operator.post(f"/phone/calls/{call.id}/accept").headers["location"] == f"/desk/new?call={call.id}"
    form = operator.get(f"/desk/new?call={call.id}").text
    assert f'name="call" value="{call.id}"' in form
    assert number not in form
    for no, words in enumerate(("滨湖路18号门口垃圾没有清运。", "青石街30号门前的井盖缺了一角。")):
        taken = operator.post("/desk/new", data={"text": words, "key": f"w3-{no}", "call": str(call.id)})
        assert taken.status_code == 303, taken.text
    with snapshot(system(tiny.DISTRICT)) as session:
        found = session.execute(
            select(Report.source_id, Report.channel, Report.case_id, Report.phone_index)
            .where(Report.district_code == tiny.DISTRICT, Report.source_id.like("w3%"))
            .order_by(Report.received_at)
        ).all()
    assert [row.source_id for row in found] == ["w3", "w3#w3-1"], "two matters of one call are two reports"
    assert {row.channel for row in found} == {"hotline"}
    assert len({row.phone_index for row in found}) == 1
    again = known("w3")
    assert again is not None
    assert again.case_id == found[0].case_id
    written = re.search(r"/cases/(\w+)", operator.get(f"/phone/calls/{call.id}").text)
    assert written, "the call names its case"
    assert f"/phone/calls/{call.id}" in operator.get(f"/phone/of/{written[1]}").text, "and the case its call"
    send(client, "hangup", "w3")
    bar = operator.get("/phone/bar").text
    assert "话后处理" in bar
    assert "记录为" in bar
    operator.post("/phone/seat", data={"do": "finish"})
    assert "空闲" in operator.get("/phone/bar").text


def test_the_next_call_of_a_number_shows_what_it_reported(client: TestClient, signed_in: SignIn) -> None:
    operator, number = signed_in("operator"), phone()
    with transaction(builders.program(tiny.DISTRICT)) as session:
        case = builders.make_case(
            session, district=tiny.DISTRICT, phone=number, name="李<b>四", text="<script>alert(1)</script>路灯不亮"
        )
    seat(operator, "8001")
    send(client, "ring", "w4", caller=f"+86{number}", extension="8001")
    bar = operator.get("/phone/bar").text
    assert f"/cases/{case.number}" in bar
    assert "<script>alert" not in bar
    assert "李**" in bar


def test_a_colleagues_call_cannot_be_taken_nor_written_down(client: TestClient, signed_in: SignIn) -> None:
    operator = signed_in("operator")
    seat(operator, "8001")
    send(client, "answer", "w5", caller=phone(), extension="8001")
    call = known("w5")
    assert call is not None
    with transaction(system(tiny.DISTRICT)) as session:
        stranger = builders.make_account(session, district=tiny.DISTRICT)
        given = {"d": tiny.DISTRICT, "c": call.id, "a": stranger}
        session.execute(text("UPDATE call SET operator_id = :a WHERE district_code = :d AND id = :c"), given)
    assert operator.post(f"/phone/calls/{call.id}/accept").status_code == 409
    taken = operator.post("/desk/new", data={"text": "路灯不亮已经三天", "key": "w5", "call": str(call.id)})
    assert taken.status_code == 403


@pytest.mark.parametrize("login", ["streets", "official", "gridwest", "admin"])
@pytest.mark.parametrize("path", ["/phone", "/phone/bar", "/phone/queue", "/phone/live", "/phone/callbacks"])
def test_the_telephone_is_the_desks_alone(signed_in: SignIn, login: str, path: str) -> None:
    assert signed_in(login).get(path).status_code == 403


def test_strangers_are_sent_to_the_sign_in(client: TestClient) -> None:
    assert client.get("/phone").headers["location"] == "/login?next=/phone"


def test_a_supervisor_looks_on_frees_seats_and_takes_no_calls(client: TestClient, signed_in: SignIn) -> None:
    operator, supervisor = signed_in("operator"), signed_in("supervisor")
    seat(operator, "8001")
    send(client, "ring", "w6", caller=phone(), extension="8009")
    page = supervisor.get("/phone").text
    for words in ("试验operator", "8009", "无人入座", "今天", "拒收事件"):
        assert words in page
    call = known("w6")
    assert call is not None
    assert supervisor.post(f"/phone/calls/{call.id}/accept").status_code == 403
    assert supervisor.post("/phone/seat", data={"do": "take", "extension": "8002"}).status_code == 403
    assert supervisor.post("/phone/seats/8001/free").status_code == 303
    emptied = supervisor.get("/phone/queue")
    assert (emptied.status_code, "还没有人入座" in emptied.text) == (200, True)


@pytest.mark.parametrize("path", ["/phone", "/phone/queue", "/phone/bar", "/phone/callbacks"])
def test_an_empty_telephone_is_drawn_too(signed_in: SignIn, path: str) -> None:
    for login in ("operator", "supervisor"):
        assert signed_in(login).get(path).status_code == 200


def test_events_of_one_call_that_come_all_at_once_make_one_call(server: str) -> None:
    number, call, at = phone(), "w-many", datetime.now(UTC)
    kinds = (("ring", ""), ("ring", "8001"), ("ring", "8002"), ("answer", "8002"), ("hangup", ""))
    bodies = [
        orjson.dumps(
            {"id": f"many-{no}", "event": kind, "call": call, "caller": number, "extension": extension}
            | {"at": (at + timedelta(seconds=no)).isoformat()}
        )
        for no, (kind, extension) in enumerate(kinds)
    ] * 4
    random.Random(7).shuffle(bodies)

    def post(body: bytes) -> int:
        while (status := httpx.post(f"{server}{URL}", content=body, headers=signed(body)).status_code) == 409:
            # Lost against another one: the switchboard sends it again.
            continue
        return status

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(post, bodies)) == {200}
    found = known(call)
    assert found is not None
    assert (found.extension, found.ended_at, found.answered_at) == (
        "8002",
        at + timedelta(seconds=4),
        at + timedelta(seconds=3),
    )
    with snapshot(system(tiny.DISTRICT)) as session:
        mine = {"d": tiny.DISTRICT, "c": found.id}
        sql = "SELECT count(*) FROM call_event WHERE district_code = :d AND call_id = :c"
        assert session.execute(text(sql), mine).scalar_one() == len(kinds)
        left = session.scalars(select(CallBack.state).where(CallBack.phone_index == found.phone_index)).all()
    assert set(left) <= {"void"}


def test_signing_out_leaves_the_seat(signed_in: SignIn) -> None:
    operator = signed_in("operator")
    seat(operator, "8001")
    operator.post("/logout")
    assert "试验operator" not in signed_in("supervisor").get("/phone/queue").text


@pytest.mark.parametrize("do", ["leave", "break", "more", "dance"])
def test_what_cannot_be_done_at_a_seat_is_said(signed_in: SignIn, do: str) -> None:
    answer = signed_in("operator").post("/phone/seat", data={"do": do})
    assert answer.status_code in (404, 409, 422)
    assert 'class="error"' in answer.text


def test_whoever_hung_up_is_called_back_and_the_number_is_shown_to_the_caller_alone(
    client: TestClient, signed_in: SignIn
) -> None:
    operator, number = signed_in("operator"), phone()
    send(client, "ring", "w7", caller=number)
    send(client, "hangup", "w7")
    shown = operator.get("/phone/callbacks").text
    assert number not in shown
    assert f"{number[:3]}****{number[-4:]}" in shown
    operator.post("/phone/callbacks/next")
    assert number in operator.get("/phone/callbacks").text
    assert number not in signed_in("supervisor").get("/phone/callbacks").text
    with snapshot(system(tiny.DISTRICT)) as session:
        task = session.scalars(
            select(CallBack.id).where(CallBack.district_code == tiny.DISTRICT, CallBack.state == "open")
        ).one()
    refused = operator.post(f"/phone/callbacks/{task}", data={"outcome": "unknown", "note": "占线<b>"})
    assert refused.status_code == 422
    assert "占线&lt;b&gt;" in refused.text
    done = operator.post(f"/phone/callbacks/{task}", data={"outcome": "reached", "then": "next"})
    assert done.status_code == 303
    again = operator.post(f"/phone/callbacks/{task}", data={"outcome": "reached"})
    assert again.status_code == 409


def test_the_worker_puts_answered_cases_on_the_list_once(signed_in: SignIn) -> None:
    from api import worker

    number = phone()
    with transaction(builders.program(tiny.DISTRICT)) as session:
        case = builders.make_case(
            session, district=tiny.DISTRICT, state="replied", unit=tiny.STREETS, phone=number, answer="已经清运。"
        )
        builders.make_deadline(session, case, "callback", started_at=datetime.now(UTC))
    worker.telephone()
    worker.telephone()
    assert signed_in("operator").get("/phone/callbacks").text.count(f"{number[:3]}****{number[-4:]}") == 1


def test_calling_back_an_answered_case_closes_it(signed_in: SignIn) -> None:
    from hotline.telephone import callbacks

    operator, number = signed_in("operator"), phone()
    at = datetime.now(UTC)
    with transaction(builders.program(tiny.DISTRICT)) as session:
        case = builders.make_case(
            session, district=tiny.DISTRICT, state="replied", unit=tiny.STREETS, phone=number, answer="已经清运。"
        )
        builders.make_deadline(session, case, "callback", started_at=at)
        builders.make_assignment(session, case, tiny.STREETS, state="replied")
        callbacks.gather(session, at=at, rules=callbacks.Rules.of({"callback": {"opens": "00:00", "closes": "23:59"}}))
        task = session.scalars(select(CallBack.id).where(CallBack.case_id == case.id)).one()
    operator.post(f"/phone/callbacks/{task}/take")
    page = operator.get("/phone/callbacks").text
    assert "已经清运。" in page
    given = {"outcome": "reached", "version": str(case.version), "satisfaction": "4"}
    unasked = operator.post(f"/phone/callbacks/{task}", data=given | {"satisfaction": ""})
    assert unasked.status_code == 422
    assert operator.post(f"/phone/callbacks/{task}", data=given).status_code == 303
    assert "结案" in operator.get(f"/cases/{case.number}").text


def test_a_recording_is_shown_once_with_a_reason(client: TestClient, signed_in: SignIn) -> None:
    operator = signed_in("operator")
    seat(operator, "8001")
    send(client, "answer", "w8", caller=phone(), extension="8001")
    send(client, "recording", "w8", url="https://rec.example/8.wav")
    call = known("w8")
    assert call is not None
    address = f"/phone/calls/{call.id}"
    assert "rec.example" not in operator.get(address).text
    refused = operator.post(f"{address}/recording", data={"reason": ""})
    assert (refused.status_code, "rec.example" in refused.text) == (422, False)
    assert "https://rec.example/8.wav" in operator.post(f"{address}/recording", data={"reason": "核对地址"}).text
    assert "rec.example" not in operator.get(address).text


@pytest.mark.parametrize("call", ["x", "../../etc", str(uuid.UUID(int=7))])
def test_a_call_that_is_none_is_refused_on_the_call_page(signed_in: SignIn, call: str) -> None:
    assert signed_in("operator").get("/desk/new", params={"call": call}).status_code in (404, 422)


# ---- the live feed


def events(
    server: str, cookies: dict[str, str], seconds: float, during: Callable[[], object]
) -> list[tuple[float, str]]:
    """Follow /phone/live for a while, do something once the first event is there, and return what came and when."""
    came: list[tuple[float, str]] = []
    with (
        httpx.Client(base_url=server, cookies=cookies, timeout=seconds) as client,
        client.stream("GET", "/phone/live") as stream,
        suppress(httpx.ReadTimeout),
    ):
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("event:"):
                came.append((time.perf_counter(), line))
                if len(came) == 2:
                    break
                during()
    return came


def test_an_open_page_is_woken_when_its_seat_rings(server: str, signed_in: SignIn) -> None:
    operator = signed_in("operator")
    seat(operator, "8001")
    cookies = {name: value for name, value in operator.cookies.items() if value}
    with httpx.Client(base_url=server) as switchboard:
        came = events(server, cookies, 8, lambda: send(switchboard, "ring", "w9", caller=phone(), extension="8001"))
    assert len(came) == 2, "one event at the beginning, one for the call"


def run(follow: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine in a thread of its own: a browser test before this one may have left a loop running here."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(follow())).result()


def test_a_feed_that_cannot_be_reached_breaks_nothing() -> None:
    lost = Feed("redis://127.0.0.1:1/0")
    lost.tell(tiny.DISTRICT, "phone.changed", {})

    async def follow() -> object:
        async with lost.follow(tiny.DISTRICT) as inbox:
            return await inbox.get(0.1)

    assert run(follow) is None


def test_news_reach_whoever_follows_the_district_and_nobody_else() -> None:
    async def follow() -> tuple[object, object]:
        async with feed().follow(tiny.DISTRICT) as ours, feed().follow("990999") as theirs:
            feed().tell(tiny.DISTRICT, "phone.changed", {"extension": "8001"})
            return await ours.get(3.0), await theirs.get(0.2)

    ours, theirs = run(follow)
    assert ours is not None
    assert theirs is None

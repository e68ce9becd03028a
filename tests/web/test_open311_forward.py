"""A unit that works in another Open311 server: sent once, read back, answered here; the other side may do what it likes."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import text as sql
from starlette.testclient import TestClient

from api import wiring
from core.actor import Actor, Role, system
from core.db import snapshot, transaction
from core.errors import Invalid
from dispatch import sheet
from dispatch.cases import act
from hotline.intake import Report
from hotline.open311 import forward, keys
from hotline.open311.client import Client, Remote
from hotline.outward.adapters import Later, Refused
from tests import tiny
from tests.builders import put_away

pytestmark = pytest.mark.web


class Standin:
    """Another city's server that answers as a test says; remembers every form and path."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        #: Path → status and body, or a function of the form that makes them.
        self.say: dict[str, Any] = {}
        standin = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def _answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                form = {k: v[0] for k, v in parse_qs(self.rfile.read(length).decode()).items()}
                path = urlsplit(self.path).path.removeprefix("/v2/")
                standin.asked.append((self.command, path, form | {"own": self.headers.get("idempotency-key", "")}))
                found = standin.say.get(f"{self.command} {path}", (404, b"[]"))
                status, body = found(form) if callable(found) else found
                if status is None:
                    return
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                if status == 302:
                    self.send_header("Location", "http://127.0.0.1:1/")
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = _answer  # noqa: N815  the base class's names

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v2"

    def posts(self) -> list[dict[str, str]]:
        return [form for method, _, form in self.asked if method == "POST"]


@pytest.fixture
def standin() -> Iterator[Standin]:
    made = Standin()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def at() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(autouse=True)
def _away(district: tiny.Tiny) -> Iterator[None]:
    yield
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        session.execute(sql("UPDATE open311_forward SET state = 'void' WHERE district_code = :d"), {"d": tiny.DISTRICT})
        put_away(session, tiny.DISTRICT)


def serve(endpoint: str, key: str = "theirs-0001", services: dict[str, str] | None = None) -> None:
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        forward.keep_remote(
            session, wiring.rulebook(tiny.DISTRICT), tiny.WATER, endpoint, key=key,
            services=services or {"": "W1", "2001": "W2"},
        )  # fmt: skip


_texts = iter(
    [
        "枫林工业园停水两天了，电话13800001234", "石桥新村一早就停水", "临江公园的饮水处没有水了", "柳岸花园整栋楼没有自来水",
        "望湖中学食堂断水", "荷塘市场自来水发黄", "青石街30号水表井漏水", "滨湖路18号水压很低", "青石街38号半夜停水",
        "滨湖路34号水管爆裂", "青石街42号没有水", "滨湖路42号水龙头没水", "青石街46号自来水停了", "滨湖路46号停水通知没有",
    ]
)  # fmt: skip


def dispatched(at: datetime) -> sheet.Facts:
    """Take a matter in and dispatch it to the water unit; twins of other tests may have left it on the desk."""
    made = wiring.intake(tiny.DISTRICT).receive(
        Report("web", next(_texts), at, lng=113.026, lat=23.004, datum="WGS84", category="2001"),
        actor=system(tiny.DISTRICT, "tests"),
        at=at,
    )
    book = wiring.rulebook(tiny.DISTRICT)
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        found = sheet.facts(session, made.case_id)
        if found.state == "received":
            act(session, book, found.id, "dispatch", expected_version=found.version, at=at, fields={"unit": tiny.WATER})
    return facts(found.id)


def facts(case_id: Any) -> sheet.Facts:
    with snapshot(system(tiny.DISTRICT)) as session:
        return sheet.facts(session, case_id)


def steps(at: datetime, *, timeout_s: float = 0.5) -> list[str]:
    """Collect, then do every step that is due; return the states that they came to."""
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        forward.collect(session, at=at)
    found: list[str] = []
    while state := forward.step(
        wiring.rulebook(tiny.DISTRICT), at=at, connect=lambda remote: Client(remote, timeout_s=timeout_s)
    ):
        found.append(state)
        assert len(found) < 20
    return found


def kept() -> Any:
    with snapshot(system(tiny.DISTRICT)) as session:
        query = sql(
            "SELECT * FROM open311_forward WHERE district_code = :d AND state <> 'void' ORDER BY id DESC LIMIT 1"
        )
        return session.execute(query, {"d": tiny.DISTRICT}).one()


def test_a_matter_is_sent_once_masked_and_its_answer_becomes_the_reply(standin: Standin, at: datetime) -> None:
    serve(standin.url)
    standin.say["POST requests.json"] = (200, [{"service_request_id": "77", "service_notice": "", "account_id": ""}])
    case = dispatched(at)
    assert steps(at) == ["sent"]
    assert steps(at) == []
    (form,) = standin.posts()
    assert form["service_code"] == "W2"
    assert form["api_key"] == "theirs-0001"
    assert case.number in form["description"]
    assert "13800001234" not in form["description"]
    assert abs(float(form["lat"]) - 23.004) < 1e-5
    assert facts(case.id).state == "signed"
    standin.say["GET requests/77.json"] = (200, [{"service_request_id": "77", "status": "open"}])
    assert steps(at + timedelta(minutes=2)) == ["sent"]
    assert facts(case.id).state == "signed"
    closed = {"service_request_id": 77, "status": "closed", "status_notes": "阀门已修好<b>\u202e"}
    standin.say["GET requests/77.json"] = (200, [closed])
    later = at + timedelta(minutes=20)
    assert steps(later) == ["answered"]
    done = facts(case.id)
    assert done.state == "replied"
    assert done.answer is not None
    assert done.answer.startswith("阀门已修好<b>（区水务局")
    assert "\u202e" not in done.answer
    assert steps(later + timedelta(days=1)) == []


def test_a_reply_that_was_entered_but_not_noted_down_is_not_entered_twice(standin: Standin, at: datetime) -> None:
    serve(standin.url)
    standin.say["POST requests.json"] = (200, [{"service_request_id": "78"}])
    standin.say["GET requests/78.json"] = (200, [{"service_request_id": "78", "status": "closed"}])
    case = dispatched(at)
    steps(at)
    later = at + timedelta(minutes=2)
    assert steps(later) == ["answered"]
    before = facts(case.id)
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        session.execute(
            sql("UPDATE open311_forward SET state = 'sent', next_at = :at WHERE district_code = :d AND case_id = :c"),
            {"d": tiny.DISTRICT, "c": case.id, "at": later},
        )
    assert steps(later) == ["answered"]
    assert facts(case.id).version == before.version


def test_a_token_is_asked_until_it_has_a_number(standin: Standin, at: datetime) -> None:
    serve(standin.url)
    standin.say["POST requests.json"] = (200, [{"token": "t-1"}])
    standin.say["GET tokens/t-1.json"] = (200, [{"token": "t-1", "service_request_id": None}])
    dispatched(at)
    assert steps(at) == ["sent"]
    assert steps(at + timedelta(minutes=2)) == ["sent"]
    standin.say["GET tokens/t-1.json"] = (200, [{"token": "t-1", "service_request_id": "79"}])
    standin.say["GET requests/79.json"] = (200, [{"service_request_id": "79", "status": "open"}])
    assert steps(at + timedelta(minutes=15)) == ["sent"]
    assert kept().remote_id == "79"


def _hang(_: Any) -> tuple[None, bytes]:
    import time

    time.sleep(0.8)
    return None, b""


@pytest.mark.parametrize(
    "answer",
    [
        (200, b'[{"service_request_id": "8'),
        (200, b""),
        (200, []),
        (200, [{}]),
        (200, {"service_request_id": "80"}),
        (200, [{"service_request_id": {"a": 1}}]),
        (200, [{"service_request_id": "../../x y"}]),
        (200, b"x" * 2_100_000),
        (302, b""),
        (500, b"oops"),
        (503, b""),
        (429, b""),
        (403, [{"code": 403, "description": "bad key"}]),
        _hang,
    ],
    ids=lambda answer: "hangs" if callable(answer) else f"{answer[0]}-{str(answer[1])[:12]}",
)
def test_an_answer_that_is_none_is_tried_again_later_and_looked_for_before(
    standin: Standin, at: datetime, answer: Any
) -> None:
    # What these states do to a case is the same each time: the client alone is asked.
    client = Client(Remote(standin.url, "k" * 10), timeout_s=0.4)
    standin.say["POST requests.json"] = answer
    with pytest.raises(Later):
        client.post({"service_code": "W1"}, key=uuid.uuid4())
    standin.say["GET requests/80.json"] = answer
    with pytest.raises(Later):
        client.look("80")


def test_after_a_half_answer_the_matter_is_looked_for_before_it_is_sent_again(standin: Standin, at: datetime) -> None:
    serve(standin.url)
    standin.say["POST requests.json"] = (200, b'[{"service_request')
    case = dispatched(at)
    assert steps(at) == ["waiting"]
    assert kept().failure
    # They had taken it, and show it.
    found = [{"service_request_id": "81", "description": f"停水 [{case.number}]", "status": "open"}]
    standin.say["GET requests.json"] = (200, found)
    assert steps(at + timedelta(hours=1)) == ["sent"]
    assert kept().remote_id == "81"
    assert len(standin.posts()) == 1


def test_after_a_lost_answer_that_they_never_had_it_is_sent_again_under_the_same_key(
    standin: Standin, at: datetime
) -> None:
    serve(standin.url)
    standin.say["POST requests.json"] = (500, b"")
    standin.say["GET requests.json"] = (200, [])
    dispatched(at)
    assert steps(at) == ["waiting"]
    standin.say["POST requests.json"] = (200, [{"service_request_id": "82"}])
    assert steps(at + timedelta(hours=1)) == ["sent"]
    first, second = standin.posts()
    assert first["own"] == second["own"]


def test_what_they_never_take_is_refused_with_their_words_and_stays_with_the_unit(
    standin: Standin, at: datetime
) -> None:
    serve(standin.url)
    standin.say["POST requests.json"] = (400, [{"code": 400, "description": "service_code is wrong"}])
    case = dispatched(at)
    assert steps(at) == ["refused"]
    assert "service_code is wrong" in kept().failure
    assert facts(case.id).state == "dispatched"
    assert steps(at + timedelta(days=1)) == []
    with pytest.raises(Refused):
        Client(Remote(standin.url, "k")).look("nowhere")


def test_another_requests_answer_closes_nothing(standin: Standin, at: datetime) -> None:
    serve(standin.url)
    standin.say["POST requests.json"] = (200, [{"service_request_id": "83"}])
    standin.say["GET requests/83.json"] = (200, [{"service_request_id": "84", "status": "closed"}])
    case = dispatched(at)
    steps(at)
    assert steps(at + timedelta(minutes=2)) == ["sent"]
    assert facts(case.id).state == "signed"


def test_a_matter_that_went_to_another_unit_is_followed_no_more(standin: Standin, at: datetime) -> None:
    serve(standin.url)
    standin.say["POST requests.json"] = (200, [{"service_request_id": "85"}])
    case = dispatched(at)
    steps(at)
    book = wiring.rulebook(tiny.DISTRICT)
    now = facts(case.id)
    operator = Actor(None, "试验", Role.OPERATOR, tiny.DISTRICT)
    with transaction(operator) as session:
        fields = {"unit": tiny.STREETS, "reason": "不属供水"}
        act(session, book, case.id, "redispatch", expected_version=now.version, at=at, fields=fields)
    assert steps(at + timedelta(minutes=2)) == ["void"]


@pytest.mark.parametrize("endpoint", ["http://example.org/v2", "ftp://x/", "https://a@b.example/", "https://", "x"])
def test_only_https_or_loopback_is_another_server(district: tiny.Tiny, endpoint: str) -> None:
    with pytest.raises(Invalid):
        serve(endpoint)


def test_our_own_server_as_the_other_side_takes_it_and_gives_its_answer_back(server: str, at: datetime) -> None:
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        _, key = keys.add(session, "另一个区", at=at)
    serve(f"{server}/open311/v2", key=key, services={"": "1001"})
    case = dispatched(at)
    assert steps(at, timeout_s=60) == ["sent"]
    theirs = kept().remote_id
    assert theirs
    assert theirs != case.number
    book = wiring.rulebook(tiny.DISTRICT)
    with snapshot(system(tiny.DISTRICT)) as session:
        key_ = session.execute(
            sql("SELECT id FROM cases WHERE district_code = :d AND number = :n"), {"d": tiny.DISTRICT, "n": theirs}
        ).scalar_one()
    them = facts(key_)
    assert case.number in them.text
    unit = Actor(None, "试验", Role.UNIT, tiny.DISTRICT, unit=tiny.STREETS)
    operator = Actor(None, "试验", Role.OPERATOR, tiny.DISTRICT)
    taken: list[tuple[Actor, str, dict[str, Any]]] = [
        (operator, "dispatch", {"unit": tiny.STREETS}),
        (unit, "sign", {}),
        (unit, "reply", {"answer": "已经处理好", "truth": "yes", "duty": "yes", "contacted": "yes", "solved": "yes"}),
        (operator, "callback", {"satisfaction": "5"}),
    ]
    for who, action, fields in taken:
        now = facts(key_)
        if action == "dispatch" and now.state != "received":
            continue
        with transaction(who) as session:
            act(session, book, key_, action, expected_version=now.version, at=datetime.now(UTC), fields=fields)
    assert not facts(key_).open
    assert steps(at + timedelta(minutes=2), timeout_s=60) == ["answered"]
    answer = facts(case.id).answer
    assert answer is not None
    assert answer.startswith("已经处理好（区水务局")
    assert theirs in answer


# --- the view


def test_supervision_sees_which_case_went_where_how_it_stands_there_and_has_it_tried_again(
    standin: Standin, at: datetime, signed_in: Callable[[str], TestClient]
) -> None:
    serve(standin.url)
    standin.say["POST requests.json"] = (400, [{"code": 400, "description": "<b>no such street</b>"}])
    case = dispatched(at)
    assert steps(at) == ["refused"]
    boss = signed_in("supervisor")
    shown = boss.get("/deliveries/open311?box=failed").text
    assert f'href="/cases/{case.number}"' in shown
    assert "127.0.0.1" in shown
    assert "&lt;b&gt;no such street" in shown
    assert "theirs-0001" not in shown
    standin.say |= {"POST requests.json": (200, [{"service_request_id": "90"}]), "GET requests.json": (200, [])}
    again = f"/deliveries/open311/{kept().id}/retry"
    assert boss.post(again).status_code == 303
    now = wiring.now() + timedelta(seconds=1)
    assert steps(now) == ["sent"]
    told = {"service_request_id": "90", "status": "open", "status_notes": "<i>已派人</i>\u202e"}
    standin.say["GET requests/90.json"] = (200, [told])
    assert steps(now + timedelta(minutes=2)) == ["sent"]
    seen = forward.There.of(kept().remote_status)
    assert (seen.status, seen.at, seen.notes) == ("open", now + timedelta(minutes=2), "<i>已派人</i>")
    shown = boss.get(f"/deliveries/open311?number={case.number}").text
    assert "&lt;i&gt;已派人" in shown
    assert "对方办理中" in shown
    assert boss.post(again).status_code == 409, "nothing is wrong with it"
    assert f"Open311 {case.number}" in boss.get("/deliveries").text, "who had it tried again is written down"
    assert boss.get("/deliveries/open311?box=nonsense").status_code == 422
    assert boss.post(f"/deliveries/open311/{uuid.uuid4()}/retry").status_code == 404
    for login in ("operator", "admin", "streets", "official", "gridwest"):
        other = signed_in(login)
        assert other.get("/deliveries/open311").status_code == 403, login
        assert other.post(again).status_code == 403, login


def test_a_retry_never_overlaps_the_try_that_may_be_on_its_way(
    standin: Standin, at: datetime, signed_in: Callable[[str], TestClient]
) -> None:
    serve(standin.url)
    standin.say["POST requests.json"] = (503, b"busy")
    dispatched(at)
    assert steps(at) == ["waiting"]
    now = wiring.now()
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        # Another worker took it a moment ago.
        session.execute(
            sql("UPDATE open311_forward SET next_at = :until WHERE district_code = :d AND state = 'waiting'"),
            {"d": tiny.DISTRICT, "until": now + forward.LEASE},
        )
    assert signed_in("supervisor").post(f"/deliveries/open311/{kept().id}/retry").status_code == 303
    assert kept().next_at == now + forward.LEASE


def test_what_was_kept_of_a_look_before_its_moment_was_is_read_too() -> None:
    for there in (forward.There(), forward.There("token", datetime(2026, 3, 2, tzinfo=UTC)), forward.There("open")):
        assert forward.There.of(there.kept()) == there
    assert forward.There.of("closed 已修好 了") == forward.There("closed", None, "已修好 了")

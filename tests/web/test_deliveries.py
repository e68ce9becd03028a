"""The list of what went out, the words of messages, addresses, and the local sink."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from api import wiring, worker
from core.actor import citizen
from core.db import rows, snapshot, transaction
from core.settings import settings
from hotline.intake import Report
from hotline.outward.adapters import Outgoing, Refused, Sent
from hotline.outward.pump import Pump
from hotline.outward.quiet import Quiet
from tests import tiny
from tests.builders import program

pytestmark = pytest.mark.web
SignIn = Callable[[str], TestClient]


@pytest.fixture(autouse=True)
def _sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every message ends in the sink of this test file; there are no quiet hours."""
    monkeypatch.setenv("WANGGE_SINK", "1")
    settings.cache_clear()
    wiring.forget()
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(
            text("""UPDATE district SET settings = '{"quiet": {"from": "00:00", "to": "00:00"}}',
            revision = revision + 1""")
        )
        for table in ("outbox", "delivery", "message_template", "contact"):
            session.execute(text(f"DELETE FROM {table}"))
    yield
    settings.cache_clear()
    wiring.forget()


def report(phone: str = "13900001111") -> str:
    at = wiring.now()
    said = Report(channel="web", text="滨湖路12号门口垃圾堆了三天没人清。", reported_at=at, phone=phone)
    return wiring.intake().receive(said, actor=citizen(tiny.DISTRICT), at=at).number


def test_reporter_gets_the_receipt_and_the_sink_shows_it_masked(signed_in: SignIn) -> None:
    number = report()
    worker.relay()
    assert worker.send() >= 1
    shown = signed_in("operator").get("/sink").text
    assert number in shown
    assert "139****1111" in shown
    assert "13900001111" not in shown
    assert number not in signed_in("admin").get("/sink?channel=weibo").text


def test_sink_is_for_admin_and_operator_and_off_outside_the_demo(
    client: TestClient, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/sink").status_code in (302, 303)
    for login in ("supervisor", "streets", "official", "gridwest"):
        assert signed_in(login).get("/sink").status_code == 403
    operator = signed_in("operator")
    assert operator.get("/sink").status_code == 200
    monkeypatch.setenv("WANGGE_SINK", "0")
    settings.cache_clear()
    assert operator.get("/sink").status_code == 404


def fail(reason: str) -> None:
    class No:
        name = "sms"

        def send(self, message: Outgoing) -> Sent:
            raise Refused(reason)

    report()
    worker.relay()
    later = wiring.now() + timedelta(seconds=1)
    assert (
        Pump(
            {"sms": No()},
            clock=lambda: later,
            quiet=lambda _: Quiet.of({"quiet": {"from": "00:00", "to": "00:00"}}),
        )
        .run(tiny.DISTRICT)
        .failed
    )


def test_supervisor_sees_what_failed_and_why_and_sends_all_of_it_again(signed_in: SignIn) -> None:
    fail("status 403 <b>")
    boss = signed_in("supervisor")
    shown = boss.get("/deliveries").text
    assert "403 &lt;b&gt;" in shown
    assert "13900001111" not in shown
    assert boss.get("/deliveries?reason=other").text.count("<tr>") <= 1
    done = boss.post("/deliveries/resend", data={"state": "failed", "channel": "sms"})
    assert done.status_code == 303
    after = boss.get(done.headers["location"]).text
    assert "1 条消息将重新发出" in after
    assert "试验supervisor" in after
    assert boss.get("/deliveries?state=waiting").text.count("139****1111") == 1


def test_nobody_else_opens_deliveries_words_or_addresses(signed_in: SignIn) -> None:
    for login in ("operator", "streets", "official", "gridwest"):
        other = signed_in(login)
        for path in ("/deliveries", "/admin/messages", "/admin/contacts"):
            assert other.get(path).status_code == 403
        assert other.post("/deliveries/resend", data={}).status_code == 403
    boss = signed_in("supervisor")
    assert boss.get("/admin/messages").status_code == 403
    assert boss.post("/admin/contacts", data={}).status_code == 403


def test_filter_that_means_nothing_is_refused(signed_in: SignIn) -> None:
    assert signed_in("admin").get("/deliveries?state=nonsense").status_code == 422
    assert signed_in("admin").get("/deliveries?channel=pigeon").status_code == 422


def test_administrator_changes_words_after_a_preview_that_counts(signed_in: SignIn) -> None:
    admin = signed_in("admin")
    given = {"topic": "citizen.reply", "channel": "sms", "text": "您好：{answer}<script>"}
    look = admin.post("/admin/messages", data=given | {"do": "look"}).text
    assert "条短信" in look
    assert "&lt;script&gt;" in look
    assert admin.post("/admin/messages", data=given | {"do": "keep"}).status_code == 303
    assert "试验admin" in admin.get("/admin/messages").text
    for wrong in ("{password}", "{number!r}", "{number", "{code.x}"):
        assert admin.post("/admin/messages", data=given | {"text": wrong, "do": "keep"}).status_code == 422
    assert admin.post("/admin/messages", data=given | {"do": "reset"}).status_code == 303
    assert "试验admin" not in admin.get("/admin/messages").text.partition("<table")[2]


def test_administrator_keeps_addresses_and_sees_them_masked(signed_in: SignIn) -> None:
    admin = signed_in("admin")
    given = {"audience": "unit", "unit": tiny.STREETS, "channel": "mail", "address": "jingban@example.cn"}
    assert admin.post("/admin/contacts", data=given).status_code == 303
    shown = admin.get("/admin/contacts").text
    assert "ji***@example.cn" in shown
    assert "jingban@" not in shown
    for wrong in ("a@b\r\nBcc: c@d.cn", "nobody", "feishu://token?to=x"):
        assert admin.post("/admin/contacts", data=given | {"address": wrong}).status_code == 422
    with snapshot(program(tiny.DISTRICT)) as session:
        key = rows(session, "SELECT id FROM contact")[0]["id"]
    assert admin.post(f"/admin/contacts/{key}/remove").status_code == 303
    assert admin.post(f"/admin/contacts/{key}/remove").status_code == 404


def test_who_answers_the_caller_sees_beside_the_case_what_went_out_and_what_did_not(signed_in: SignIn) -> None:
    number, other = report("13900002222"), report("13900003333")
    worker.relay()
    worker.send()
    for login in ("operator", "supervisor"):
        client = signed_in(login)
        for path in (f"/cases/{number}", f"/cases/{number}/told"):
            shown = client.get(path).text
            assert "139****2222" in shown, path
            assert "139****3333" not in shown, "another case's"
            assert "✓ 已发出" in shown
    assert f"/cases/{other}/told" in signed_in("operator").get(f"/desk/case/{other}", headers={"HX-Request": "1"}).text
    for login in ("official", "streets", "gridwest", "citizen"):
        assert signed_in(login).get(f"/cases/{number}/told").status_code in (403, 404), login
    assert "139****2222" not in signed_in("official").get(f"/cases/{number}").text

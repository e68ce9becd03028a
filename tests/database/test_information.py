"""Requests for government information: clear or told once, counted from receipt, answered in a listed kind, filed."""

from datetime import timedelta
from typing import Any

import pytest

from core.db import snapshot, transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch.items import filed
from dispatch.items.application import NewRequest, open_request
from dispatch.limits import Limit, due
from dispatch.numbers import Numbers
from dispatch.rulebook import Rulebook, read_rulebook
from dispatch.sweep import sweep
from tests import tiny
from tests.applications import AT, CITIZEN, DAY, LEAD, SUPERVISOR, WATER, WINDOW, Run, person
from tests.builders import program, put_away

pytestmark = pytest.mark.database

REPLY = {"reply_kind": "granted", "legal_basis": "政府信息公开条例第三十六条第（二）项", "answer": "见附件。"}


@pytest.fixture(scope="module")
def book(district: tiny.Tiny) -> Rulebook:
    with snapshot(program(tiny.DISTRICT)) as session:
        return read_rulebook(session, tiny.DISTRICT)


@pytest.fixture(autouse=True)
def _put_away(district: tiny.Tiny):
    yield
    with transaction(program(tiny.DISTRICT)) as session:
        put_away(session, tiny.DISTRICT)


def ask(book: Rulebook, **known: Any) -> Run:
    filled = {
        "applicant": person(7),
        "wanted": "滨湖路改造工程的预算（虚构）",
        "how": "paper",
        "channel": "web",
    } | known
    number = Numbers(tiny.DISTRICT).take(AT)
    return Run(book, open_request(book, NewRequest(**filled), actor=CITIZEN, at=AT, number=number))


def test_a_request_goes_from_receipt_to_the_files(book: Rulebook) -> None:
    case = ask(book)
    assert (case.receipt.state, case.receipt.due_clock) == ("submitted", "register")
    assert case.do(WINDOW, "register", at=AT + 2 * DAY, unit=tiny.STREETS) == "registered"
    clock = case.clocks()["answer"]
    assert (clock["limit"], clock["started_at"], clock["unit_code"]) == ("20wd", AT, tiny.STREETS)
    assert clock["due_at"] == due(AT, Limit.parse("20wd"), work=book.work).at
    case.do(LEAD, "sign")
    assert case.do(LEAD, "reply", **REPLY) == "replied"
    assert case.do(CITIZEN, "rate", satisfaction="4") == "replied"
    assert case.do(WINDOW, "file", reference="档2026-1") == "filed"
    assert (case.case.answer, case.case.open) == ("见附件。", False)
    with snapshot(WINDOW) as session:
        assert filed.request(session, case.receipt.case_id).reply_kind == "granted"


def test_what_is_unclear_is_told_once_and_the_limit_counts_from_the_correction(book: Rulebook) -> None:
    case = ask(book)
    case.do(WINDOW, "notice", unclear="请写明文号或者年份")
    assert case.do(CITIZEN, "supply", at=AT + 3 * DAY, wanted="2025年滨湖路改造工程预算（虚构）") == "submitted"
    with pytest.raises(Conflict):
        case.do(WINDOW, "notice", unclear="还是不清楚")
    case.do(WINDOW, "register", at=AT + 4 * DAY, unit=tiny.STREETS)
    assert case.clocks()["answer"]["started_at"] == AT + 3 * DAY
    assert case.case.text.startswith("2025年")


def test_who_does_not_make_it_clear_in_time_has_given_up(book: Rulebook) -> None:
    case = ask(book)
    case.do(WINDOW, "notice", unclear="请写明年份")
    at = case.clocks()["supply"]["due_at"] + timedelta(minutes=1)
    with transaction(program(tiny.DISTRICT)) as session:
        sweep(session, book, at=at)
    assert case.case.state == "lapsed"


def test_every_answer_is_of_a_listed_kind_with_its_basis(book: Rulebook) -> None:
    case = ask(book)
    case.do(WINDOW, "register", unit=tiny.STREETS)
    case.do(LEAD, "sign")
    for missing in REPLY:
        with pytest.raises(Invalid) as caught:
            case.do(LEAD, "reply", **{name: value for name, value in REPLY.items() if name != missing})
        assert caught.value.field == missing
    with pytest.raises(Invalid, match="not among the choices"):
        case.do(LEAD, "reply", **{**REPLY, "reply_kind": "secret"})


def test_a_third_party_is_asked_while_the_limit_stands_and_an_extension_is_of_twenty_days(book: Rulebook) -> None:
    case = ask(book)
    case.do(WINDOW, "register", unit=tiny.STREETS)
    case.do(LEAD, "sign")
    case.do(LEAD, "pause_ask", pause_reason="third_party", span="15nd", document="征求意见书1号")
    assert case.do(SUPERVISOR, "pause_grant") == "paused"
    assert case.clocks()["answer"]["held_at"] is not None
    case.do(LEAD, "resume", at=AT + 5 * DAY)
    with pytest.raises(Invalid, match="At most"):
        case.do(LEAD, "extend_ask", span="21wd", reason="信息量大")
    case.do(LEAD, "extend_ask", span="20wd", reason="信息量大")
    with pytest.raises(Forbidden):
        case.do(LEAD, "extend_grant")
    before = case.clocks()["answer"]["due_at"]
    case.do(SUPERVISOR, "extend_grant")
    assert case.clocks()["answer"]["due_at"] > before + 25 * DAY
    with pytest.raises(Conflict):
        case.do(LEAD, "extend_ask", span="1wd", reason="再延")


def test_what_can_be_answered_on_the_spot_is(book: Rulebook) -> None:
    case = ask(book, how="inspect")
    assert case.do(WINDOW, "reply_at_once", **{**REPLY, "reply_kind": "already_public"}) == "replied"
    assert case.clocks()["register"]["outcome"] == "met"


def test_another_unit_that_holds_it_takes_over_and_the_limit_runs_on(book: Rulebook) -> None:
    case = ask(book)
    case.do(WINDOW, "register", unit=tiny.STREETS)
    due_at = case.clocks()["answer"]["due_at"]
    assert case.do(WINDOW, "reassign", unit=tiny.WATER, reason="由水务局保存") == "registered"
    case.do(WATER, "sign")
    assert (case.clocks()["answer"]["due_at"], case.clocks()["answer"]["unit_code"]) == (due_at, tiny.WATER)


def test_a_request_says_what_and_how_and_who(book: Rulebook) -> None:
    with pytest.raises(Invalid) as caught:
        ask(book, wanted="啥")
    assert caught.value.field == "wanted"
    with pytest.raises(Invalid) as caught:
        ask(book, how="telepathy")
    assert caught.value.field == "how"
    with pytest.raises(Forbidden):
        ask(book, channel="window")


def test_the_identity_number_is_sealed_and_opened_with_a_reason(book: Rulebook) -> None:
    case = ask(book)
    assert person(7).id_number.encode() not in bytes(case.rows("information_request")[0]["id_sealed"])
    with transaction(WINDOW) as session:
        key = case.receipt.case_id
        assert filed.disclose(session, key, "id_number", reason="核对身份", at=AT) == person(7).id_number
        with pytest.raises(NotFound):
            filed.disclose(session, key, "agent_name", reason="核对身份", at=AT)
    assert len(case.rows("disclosure")) == 1


def test_the_same_request_sent_twice_is_one(book: Rulebook) -> None:
    first, again = ask(book, key="req-1").receipt, ask(book, key="req-1").receipt
    assert (again.number, again.access_code, again.repeated) == (first.number, first.access_code, True)

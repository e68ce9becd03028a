"""The life of an application: told once what is missing, accepted with or without gaps, decided, handed out."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from core.db import snapshot, transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch.items import filed
from dispatch.items.application import NewApplication, open_application
from dispatch.items.filed import Upload
from dispatch.items.identity import Agent
from dispatch.log import verify
from dispatch.rulebook import Rulebook, read_rulebook
from dispatch.sweep import sweep
from tests import tiny
from tests.applications import (
    ALL,
    AT,
    CITIZEN,
    DAY,
    GRID,
    LEAD,
    PARALLEL,
    POLICE,
    SECOND,
    SUPERVISOR,
    WATER,
    WINDOW,
    Run,
    apply,
    person,
    publish,
)
from tests.builders import program

pytestmark = pytest.mark.database

PDF = Upload("a" * 64, "application/pdf", 1000, "平面图.pdf")


@pytest.fixture(scope="module")
def book(district: tiny.Tiny) -> Rulebook:
    publish("T-PLAIN")
    publish("T-JOIN", **PARALLEL)
    publish("T-ONCE", done_at_once=True, promised_limit="0")
    with snapshot(program(tiny.DISTRICT)) as session:
        return read_rulebook(session, tiny.DISTRICT)


@pytest.fixture(autouse=True)
def _put_away(district: tiny.Tiny):
    yield
    from tests.builders import put_away

    with transaction(program(tiny.DISTRICT)) as session:
        put_away(session, tiny.DISTRICT)


def run(book: Rulebook, item: str = "T-PLAIN", **known: Any) -> Run:
    return Run(book, apply(book, item, **known))


def test_an_application_goes_from_the_window_to_the_applicants_hands(book: Rulebook) -> None:
    case = run(book)
    assert (case.receipt.state, case.receipt.missing, case.receipt.due_clock) == ("submitted", (), "accept")
    assert case.do(WINDOW, "accept") == "accepted"
    assert case.do(LEAD, "sign") == "reviewing"
    assert case.do(LEAD, "grant", at=AT + DAY, decision_number="试许〔2026〕1号") == "granted"
    assert case.do(WINDOW, "deliver", at=AT + DAY, picked_up_by="self") == "delivered"
    assert case.do(CITIZEN, "rate", satisfaction="5") == "delivered"
    row = case.case
    assert (row.open, row.satisfaction, row.due_at) == (False, 5, None)
    entries = sorted(case.rows("entry"), key=lambda e: e["seq"])
    assert verify(tiny.DISTRICT, row.id, entries, head=bytes(row.head_hash)) is None
    assert [e["action"] for e in entries] == ["receive", "accept", "sign", "grant", "deliver", "rate"]
    assert {name: c["outcome"] for name, c in case.clocks().items()} == dict.fromkeys(
        ("accept", "deem", "sign", "decide", "deliver"), "met"
    )
    assert (case.application["outcome"], case.application["decision_number"]) == ("granted", "试许〔2026〕1号")


def test_the_promised_limit_runs_with_the_laws_beside_it(book: Rulebook) -> None:
    case = run(book)
    case.do(WINDOW, "accept")
    decide = case.clocks()["decide"]
    assert (decide["limit"], decide["legal_limit"], decide["unit_code"]) == ("5wd", "20wd", tiny.STREETS)
    assert decide["legal_due_at"] > decide["due_at"]
    assert case.clocks()["accept"]["unit_code"] is None


def test_everything_missing_is_told_at_once_and_only_once(book: Rulebook) -> None:
    case = run(book, given={"ID": ()})
    assert {code for code, _ in case.receipt.missing} == {"FORM", "PLAN"}
    assert case.do(WINDOW, "notice") == "correcting"
    assert [one["code"] for one in case.application["told"]] == ["FORM", "PLAN"]
    clocks = case.clocks()
    assert clocks["accept"]["held_at"] is not None
    assert clocks["supply"]["stopped_at"] is None
    assert case.do(GRID_OR_WINDOW, "supply", at=AT + DAY, materials=["FORM", "PLAN"]) == "submitted"
    assert case.clocks()["accept"]["held_at"] is None
    assert "notice" in case.offered(WINDOW)
    with pytest.raises(Conflict, match="told already"):
        case.do(WINDOW, "notice")
    with pytest.raises(Conflict, match="handed in since"):
        case.do(WINDOW, "notice", wrong=[{"code": "ID", "why": "过期"}])
    assert case.do(WINDOW, "notice", wrong=[{"code": "FORM", "why": "没有签名"}]) == "correcting"
    assert case.application["told"] == [{"code": "FORM", "name": "申请表", "why": "没有签名"}]


GRID_OR_WINDOW = SECOND


def test_a_second_notice_is_not_even_offered_before_anything_came_in(book: Rulebook) -> None:
    case = run(book, given={"ID": (), "FORM": ()})
    case.do(WINDOW, "notice")
    case.do(WINDOW, "supply")
    assert "notice" not in case.offered(WINDOW)
    with pytest.raises(Conflict, match="only once"):
        case.do(WINDOW, "notice")


def test_nothing_is_told_where_nothing_is_missing(book: Rulebook) -> None:
    with pytest.raises(Invalid, match="nothing to tell"):
        run(book).do(WINDOW, "notice")


def test_supplying_half_of_what_was_told_is_refused_with_the_rest_named(book: Rulebook) -> None:
    case = run(book, given={})
    case.do(WINDOW, "notice")
    with pytest.raises(Conflict) as caught:
        case.do(WINDOW, "supply", materials=["ID"])
    assert caught.value.params["materials"] == "申请表"
    assert case.materials()["ID"] == "missing"


def test_who_does_not_supply_in_time_has_given_up(book: Rulebook) -> None:
    case = run(book, given={})
    case.do(WINDOW, "notice")
    _sweep(book, case.clocks()["supply"]["due_at"] + timedelta(minutes=1))
    assert (case.case.state, case.case.open) == ("lapsed", False)
    assert {c["outcome"] for c in case.rows("deadline")} == {"void"}


def test_a_window_that_says_nothing_for_five_days_has_accepted_from_the_day_of_submission(book: Rulebook) -> None:
    case = run(book, given={"ID": (), "FORM": ()})
    _sweep(book, case.clocks()["deem"]["due_at"] + timedelta(minutes=1))
    assert case.case.state == "accepted"
    decide = case.clocks()["decide"]
    assert (decide["started_at"], decide["unit_code"]) == (AT, tiny.STREETS)
    assert case.materials()["PLAN"] == "owed"


def _sweep(book: Rulebook, at: Any) -> None:
    for _ in range(8):
        with transaction(program(tiny.DISTRICT)) as session:
            if not sweep(session, book, at=at):
                return


def test_incomplete_applications_are_not_accepted(book: Rulebook) -> None:
    case = run(book, given={"ID": (), "FORM": ()})
    assert not {"accept", "done_at_once"} & case.offered(WINDOW)
    with pytest.raises(Conflict) as caught:
        case.do(WINDOW, "accept")
    assert caught.value.params["materials"] == "平面图"


def test_with_gaps_each_missing_material_is_a_dated_debt_that_bars_the_decision(book: Rulebook) -> None:
    case = run(book, given={"ID": (), "FORM": ()})
    with pytest.raises(Invalid, match="promise"):
        case.do(WINDOW, "accept_gaps", owed=["PLAN"], commitment="no")
    with pytest.raises(Invalid, match="Exactly these"):
        case.do(WINDOW, "accept_gaps", owed=["ID"], commitment="yes")
    assert case.do(WINDOW, "accept_gaps", owed=["PLAN"], commitment="yes") == "accepted"
    debt = case.clocks()["debt"]
    material = next(row for row in case.rows("application_material") if row["code"] == "PLAN")
    assert (debt["limit"], debt["assignment_id"], debt["unit_code"]) == ("3wd", material["id"], None)
    assert material["owed_until"] == debt["due_at"]
    case.do(LEAD, "sign")
    assert not {"grant", "deny"} & case.offered(LEAD)
    for action, fields in (("grant", {}), ("deny", {"legal_basis": "第三条", "reason": "不符合"})):
        with pytest.raises(Conflict) as caught:
            case.do(LEAD, action, **fields)
        assert caught.value.params["materials"] == "平面图"
    case.do(WINDOW, "hand_in", at=AT + DAY, materials=["PLAN"])
    assert case.clocks()["debt"]["outcome"] == "met"
    assert case.do(LEAD, "grant") == "granted"


def test_a_debt_warns_the_applicant_and_when_it_runs_out_the_unit_may_deny(book: Rulebook) -> None:
    case = run(book, given={"ID": (), "FORM": ()})
    case.do(WINDOW, "accept_gaps", owed=["PLAN"], commitment="yes")
    case.do(LEAD, "sign")
    due = case.clocks()["debt"]["due_at"]
    _sweep(book, case.clocks()["debt"]["near_at"])
    assert any(m["topic"] == "deadline.warned" and m["payload"]["clock"] == "debt" for m in case.topics())
    late = due + timedelta(minutes=1)
    with pytest.raises(Conflict, match="still owed"):
        case.do(LEAD, "grant", at=late)
    assert case.do(LEAD, "deny", at=late, legal_basis="第三条", reason="材料未补齐") == "denied"
    assert case.clocks()["debt"]["outcome"] == "missed"


def test_what_is_handed_in_late_and_wrong_is_owed_again_but_what_was_accepted_is_not(book: Rulebook) -> None:
    case = run(book, given={"ID": (), "FORM": ()})
    case.do(WINDOW, "accept_gaps", owed=["PLAN"], commitment="yes")
    case.do(WINDOW, "hand_in", materials=["PLAN"])
    case.do(LEAD, "sign")
    with pytest.raises(Conflict, match="was accepted"):
        case.do(LEAD, "material_wrong", wrong=[{"code": "ID", "why": "看不清"}])
    case.do(LEAD, "material_wrong", wrong=[{"code": "PLAN", "why": "比例不对"}])
    assert case.materials()["PLAN"] == "owed"
    assert case.clocks()["debt"]["outcome"] is None
    with pytest.raises(Conflict):
        case.do(LEAD, "grant")


def test_what_may_not_lag_cannot_be_owed(book: Rulebook) -> None:
    case = run(book, given={"PLAN": ()})
    with pytest.raises(Conflict) as caught:
        case.do(WINDOW, "accept_gaps", owed=["ID", "FORM"], commitment="yes")
    assert caught.value.params["materials"] == "身份证、申请表"
    with pytest.raises(Conflict, match="without gaps"):
        run(book).do(WINDOW, "accept_gaps", owed=["PLAN"], commitment="yes")


def test_done_at_once_is_one_step_that_says_it_was_three(book: Rulebook) -> None:
    case = run(book, "T-ONCE")
    assert case.do(WINDOW, "done_at_once", picked_up_by="self") == "delivered"
    entries = sorted(case.rows("entry"), key=lambda e: e["seq"])
    assert [e["action"] for e in entries] == ["receive", "done_at_once"]
    assert entries[-1]["data"]["steps"] == ["accept", "grant", "deliver"]
    assert (case.application["at_once"], case.application["outcome"]) == (True, "granted")
    assert [s["state"] for s in case.rows("assignment")] == ["done"]
    assert all(c["stopped_at"] for c in case.rows("deadline"))


def test_done_at_once_is_refused_with_a_missing_material_and_for_other_items(book: Rulebook) -> None:
    with pytest.raises(Conflict, match="are missing"):
        run(book, "T-ONCE", given={"ID": ()}).do(WINDOW, "done_at_once", picked_up_by="self")
    with pytest.raises(Conflict, match="not done at once"):
        run(book).do(WINDOW, "done_at_once", picked_up_by="self")


def test_parallel_units_work_at_the_same_time_and_the_lead_waits_for_all(book: Rulebook) -> None:
    case = run(book, "T-JOIN").reviewing()
    shares = {s["unit_code"]: s for s in case.rows("assignment")}
    assert {u: s["share"] for u, s in shares.items()} == {
        tiny.STREETS: "lead",
        tiny.WATER: "parallel",
        tiny.POLICE: "parallel",
    }
    limits = {c["unit_code"]: c["limit"] for c in case.rows("deadline") if c["clock"] == "share_reply"}
    assert limits == {tiny.WATER: "2wd", tiny.POLICE: "3wd"}
    _survey(case)
    for who in (WATER, POLICE):
        with pytest.raises(Conflict, match="still missing"):
            case.do(LEAD, "grant")
        case.do(who, "share_sign")
        case.do(who, "share_reply", opinion="同意", agrees="yes")
    assert case.do(LEAD, "grant") == "granted"
    case.do(WINDOW, "deliver", picked_up_by="self")
    assert {s["state"] for s in case.rows("assignment")} == {"done"}


def test_nothing_is_granted_against_a_parallel_unit_until_it_agrees_or_the_centre_takes_it_out(book: Rulebook) -> None:
    case = run(book, "T-JOIN").reviewing()
    _survey(case)
    for who, agrees in ((WATER, "no"), (POLICE, "yes")):
        case.do(who, "share_sign")
        case.do(who, "share_reply", opinion="排水口会被压住" if agrees == "no" else "同意", agrees=agrees)
    assert "grant" not in case.offered(LEAD)
    with pytest.raises(Conflict, match="did not agree"):
        case.do(LEAD, "grant")
    case.do(LEAD, "share_rework", unit=tiny.WATER, reason="方案已改，请再看")
    case.do(WATER, "share_reply", opinion="移开后同意", agrees="yes")
    assert case.do(LEAD, "grant") == "granted"


def test_the_lead_does_not_get_rid_of_a_no_by_taking_the_share_back(book: Rulebook) -> None:
    case = run(book, "T-JOIN").reviewing()
    _survey(case)
    for who, agrees in ((WATER, "no"), (POLICE, "no")):
        case.do(who, "share_sign")
        case.do(who, "share_reply", opinion="不同意", agrees=agrees)
    case.do(LEAD, "withdraw_unit", unit=tiny.WATER, reason="不再需要")
    case.do(WINDOW, "withdraw_unit", unit=tiny.POLICE, reason="该事项已不需公安意见")
    with pytest.raises(Conflict, match="区水务局"):
        case.do(LEAD, "grant")
    assert case.do(LEAD, "deny", reason="并联单位不同意", legal_basis="对应办法第七条") == "denied"


def _survey(case: Run, result: str = "pass") -> None:
    case.do(LEAD, "survey_call", survey_at="2026-11-17T09:30", survey_place="门口")
    case.do(LEAD, "survey_record", at=AT + DAY, survey_record="现场符合", survey_result=result)


def test_a_joint_survey_has_one_date_one_record_and_every_unit(book: Rulebook) -> None:
    case = run(book, "T-JOIN").reviewing()
    with pytest.raises(Invalid, match="later than now"):
        case.do(LEAD, "survey_call", survey_at="2026-11-15T09:30", survey_place="门口")
    with pytest.raises(Invalid, match="not a date"):
        case.do(LEAD, "survey_call", survey_at="明天", survey_place="门口")
    case.do(LEAD, "survey_call", survey_at="2026-11-17T09:30", survey_place="门口")
    with pytest.raises(Conflict, match="called already"):
        case.do(LEAD, "survey_call", survey_at="2026-11-18T09:30", survey_place="门口")
    case.do(WINDOW, "survey_move", survey_at="2026-11-18T10:00", reason="下雨")
    survey = case.rows("survey")[0]
    assert survey["units"] == [tiny.STREETS, tiny.WATER, tiny.POLICE]
    with pytest.raises(Conflict, match="recorded afterwards"):
        case.do(LEAD, "survey_record", at=AT + DAY, survey_record="还没去", survey_result="pass")
    _all_agree(case)
    with pytest.raises(Conflict, match="not recorded yet"):
        case.do(LEAD, "grant")
    case.do(LEAD, "survey_record", at=AT + 2 * DAY + timedelta(hours=1), survey_record="符合", survey_result="fail")
    assert case.clocks()["survey"]["outcome"] == "met"
    with pytest.raises(Conflict, match="was not passed"):
        case.do(LEAD, "grant")


def _all_agree(case: Run) -> None:
    for who in (WATER, POLICE):
        case.do(who, "share_sign")
        case.do(who, "share_reply", opinion="同意")


def test_units_only_decide_and_windows_only_take_in_and_hand_out(book: Rulebook) -> None:
    case = run(book)
    for action in ("accept", "notice", "refuse_acceptance"):
        # Before acceptance no unit even knows of it.
        with pytest.raises(NotFound):
            case.do(LEAD, action, where_to_turn="别处", reason="不归我管")
    case.reviewing()
    for who in (WINDOW, SUPERVISOR, CITIZEN):
        with pytest.raises(Forbidden):
            case.do(who, "grant")
    with pytest.raises(NotFound):
        case.do(WATER, "grant")
    joined = run(book, "T-JOIN").reviewing()
    with pytest.raises(Forbidden, match="another unit"):
        joined.do(WATER, "grant")
    case.do(LEAD, "grant")
    with pytest.raises(Forbidden):
        case.do(LEAD, "deliver", picked_up_by="self")


def test_not_accepted_says_why_and_where_to_turn(book: Rulebook) -> None:
    case = run(book)
    with pytest.raises(Invalid):
        case.do(WINDOW, "refuse_acceptance", reason="不属于本机关职权")
    state = case.do(WINDOW, "refuse_acceptance", reason="不属于本机关职权", where_to_turn="市住房局")
    assert (state, case.case.answer, case.clocks()["accept"]["outcome"]) == (
        "refused_acceptance",
        "不属于本机关职权",
        "met",
    )


def test_an_extension_is_asked_in_time_granted_by_another_and_of_ten_days_at_most(book: Rulebook) -> None:
    case = run(book).reviewing()
    with pytest.raises(Invalid, match="At most"):
        case.do(LEAD, "extend_ask", span="11wd", reason="情况复杂")
    case.do(LEAD, "extend_ask", span="10wd", reason="情况复杂")
    with pytest.raises(Forbidden):
        case.do(LEAD, "extend_grant")
    before = case.clocks()["decide"]["due_at"]
    case.do(SUPERVISOR, "extend_grant")
    assert case.clocks()["decide"]["due_at"] > before
    with pytest.raises(Conflict):
        case.do(LEAD, "extend_ask", span="1wd", reason="再延")


def test_a_pause_stops_the_limit_to_decide(book: Rulebook) -> None:
    case = run(book).reviewing()
    case.do(LEAD, "pause_ask", pause_reason="hearing", span="10nd", document="听证通知书1号")
    assert case.do(SUPERVISOR, "pause_grant") == "paused"
    assert case.clocks()["decide"]["held_at"] is not None
    before = case.clocks()["decide"]["due_at"]
    assert case.do(LEAD, "resume", at=AT + 2 * DAY) == "reviewing"
    assert before + DAY < case.clocks()["decide"]["due_at"] <= before + 2 * DAY


def test_the_applicant_may_withdraw_until_it_is_decided(book: Rulebook) -> None:
    case = run(book).reviewing()
    assert case.do(CITIZEN, "withdraw", reason="不办了") == "withdrawn"
    assert all(c["outcome"] in ("void", "met") for c in case.rows("deadline"))
    other = run(book).reviewing()
    other.do(LEAD, "grant")
    with pytest.raises(Conflict):
        other.do(CITIZEN, "withdraw", reason="太晚了")


def test_another_unit_takes_over_the_lead_and_parallel_shares_stay(book: Rulebook) -> None:
    case = run(book, "T-JOIN").reviewing()
    due = case.clocks()["decide"]["due_at"]
    with pytest.raises(Invalid):
        case.do(WINDOW, "reassign", unit=tiny.WATER, reason="水务局才管")
    assert case.do(WINDOW, "reassign", unit=tiny.WEST_OFFICE, reason="权限已下放") == "accepted"
    decide = case.clocks()["decide"]
    assert (decide["due_at"], decide["unit_code"]) == (due, tiny.WEST_OFFICE)
    assert sorted(s["state"] for s in case.rows("assignment")) == ["moved", "sent", "sent", "sent"]


def test_from_the_web_a_material_counts_with_its_file_only(book: Rulebook) -> None:
    case = run(book, actor=CITIZEN, given={"ID": (PDF,), "FORM": (), "PLAN": ()})
    assert [code for code, _ in case.receipt.missing] == ["FORM", "PLAN"]
    case.do(WINDOW, "notice")
    with pytest.raises(Invalid, match="Add a file"):
        case.do(CITIZEN, "supply", materials=["FORM", "PLAN"])
    _attach(case, "FORM", Upload("b" * 64, "image/jpeg", 500, "表.jpg"))
    _attach(case, "PLAN", Upload("c" * 64, "application/pdf", 500, "图.pdf"))
    assert case.do(CITIZEN, "supply", materials=["FORM", "PLAN"]) == "submitted"
    assert case.do(WINDOW, "pre_review") == "pre_reviewed"
    assert case.clocks()["accept"]["held_at"] is not None
    assert case.do(WINDOW, "accept", at=AT + DAY) == "accepted"
    with pytest.raises(Conflict, match="from the web"):
        run(book).do(WINDOW, "pre_review")


def _attach(case: Run, code: str, upload: Upload) -> None:
    with transaction(program(tiny.DISTRICT)) as session:
        first = filed.attach(session, case.receipt.case_id, code, upload, at=AT)
        assert filed.attach(session, case.receipt.case_id, code, upload, at=AT) == first


def test_a_material_of_a_type_that_the_sheet_does_not_take_is_refused(book: Rulebook) -> None:
    publish("T-PDF", materials=[{"code": "CAD", "name": "图纸", "uploads": ["pdf"]}])
    with pytest.raises(Invalid, match="not taken as a file of this type"):
        apply(book, "T-PDF", actor=CITIZEN, given={"CAD": (Upload("d" * 64, "image/jpeg", 10, "图.jpg"),)})
    with pytest.raises(Invalid, match="no material"):
        apply(book, "T-PDF", given={"ID": ()})


def test_the_result_is_fetched_where_the_applicant_chose(book: Rulebook) -> None:
    with pytest.raises(Invalid, match="cannot be fetched there"):
        apply(book, "T-PLAIN", pickup="XX")
    case = run(book).reviewing()
    with pytest.raises(Invalid, match="cannot be fetched there"):
        case.do(CITIZEN, "choose_pickup", pickup_place="XX")
    case.do(CITIZEN, "choose_pickup", pickup_place="YJ")
    case.do(LEAD, "grant")
    with pytest.raises(Conflict, match="chose to fetch"):
        case.do(WINDOW, "deliver", pickup_place="QJ", picked_up_by="self")
    with pytest.raises(Invalid, match="No agent"):
        case.do(WINDOW, "deliver", picked_up_by="agent")
    assert case.do(WINDOW, "deliver", pickup_place="YJ", picked_up_by="post") == "delivered"


def test_nothing_is_posted_that_the_applicant_wanted_to_fetch(book: Rulebook) -> None:
    case = run(book).reviewing()
    case.do(LEAD, "grant")
    with pytest.raises(Invalid, match="did not choose the post"):
        case.do(WINDOW, "deliver", picked_up_by="post")


def test_an_agent_needs_the_applicants_authorisation_and_is_sealed(book: Rulebook) -> None:
    agent = Agent("代办员", "13900139000")
    with pytest.raises(Invalid, match="authorisation"):
        apply(book, "T-PLAIN", agent=agent)
    case = run(book, agent=agent, given={**ALL, "authorisation": ()})
    assert case.materials()["authorisation"] == "given"
    row = case.application
    assert "代办员".encode() not in bytes(row["agent_name_sealed"])
    assert person().id_number.encode() not in bytes(row["id_sealed"])
    with transaction(WINDOW) as session:
        key = case.receipt.case_id
        assert filed.disclose(session, key, "agent_name", reason="电话核实", at=AT) == "代办员"
        assert filed.disclose(session, key, "id_number", reason="核对证件", at=AT) == person().id_number
        with pytest.raises(Invalid):
            filed.disclose(session, key, "id_number", reason="", at=AT)
    with pytest.raises(Forbidden), transaction(GRID) as session:
        filed.disclose(session, key, "agent_name", reason="想看看", at=AT)
    assert [d["field"] for d in case.rows("disclosure")] == ["agent_name", "id_number"]
    case.reviewing().do(LEAD, "grant")
    assert case.do(WINDOW, "deliver", picked_up_by="agent") == "delivered"


def test_two_presses_at_once_are_one_application_with_one_receipt(book: Rulebook) -> None:
    gate = threading.Barrier(4)

    def press(_: int) -> tuple[str, bool]:
        gate.wait()
        got = apply(book, "T-PLAIN", key="press-1", given={"ID": ()})
        assert [code for code, _ in got.missing] == ["FORM", "PLAN"]
        return got.number + got.access_code, got.repeated

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(press, range(4)))
    assert len({receipt for receipt, _ in found}) == 1
    assert sorted(repeated for _, repeated in found) == [False, True, True, True]


def test_nobody_takes_in_by_a_way_that_is_not_theirs(book: Rulebook) -> None:
    for who, channel in ((LEAD, "window"), (CITIZEN, "window"), (WINDOW, "web"), (SUPERVISOR, "home")):
        new = NewApplication("T-PLAIN", channel, person())
        with pytest.raises(Forbidden):
            open_application(book, new, actor=who, at=AT, number="1")


def test_a_grid_worker_takes_an_application_in_at_the_home(book: Rulebook) -> None:
    case = run(book, actor=GRID, given={"ID": (), "FORM": ()})
    assert (case.case.channel, case.case.town_code) == ("home", tiny.WEST)
    assert case.do(WINDOW, "notice") == "correcting"
    assert case.do(GRID, "supply", materials=["PLAN"]) == "submitted"


def test_the_queue_shows_the_green_channel_first(book: Rulebook) -> None:
    publish("T-GREEN", green_channel=["重点项目（虚构）"], promised_limit="9wd")
    with pytest.raises(Invalid, match="green channel"):
        apply(book, "T-GREEN", green="随便谁")
    first = run(book)
    green = run(book, "T-GREEN", green="重点项目（虚构）", at=AT + timedelta(hours=1))
    with snapshot(WINDOW) as session:
        lines = filed.queue(session)
    assert [one.number for one in lines] == [green.receipt.number, first.receipt.number]
    green.do(WINDOW, "accept", at=AT + timedelta(hours=1))
    assert green.clocks()["decide"]["limit"] == "5wd"
    claimed = run(
        book, "T-GREEN", green="重点项目（虚构）", actor=CITIZEN, given={"ID": (PDF,), "FORM": (PDF,), "PLAN": (PDF,)}
    )
    claimed.do(WINDOW, "accept", green="no")
    assert (claimed.clocks()["decide"]["limit"], claimed.application["green"]) == ("9wd", False)
    with snapshot(WINDOW) as session:
        assert [one.green for one in filed.queue(session)] == [True, False, False]


def test_narrow_roles_see_an_application_only_with_its_case(book: Rulebook) -> None:
    case = run(book)
    with snapshot(WATER) as session, pytest.raises(Exception, match="no such case"):
        filed.filed(session, case.receipt.case_id)
    case.do(WINDOW, "accept")
    with snapshot(LEAD) as session:
        assert len(filed.filed(session, case.receipt.case_id).materials) == 3
    with snapshot(LEAD) as session:
        assert [one.number for one in filed.queue(session)] == [case.receipt.number]
    with snapshot(WATER) as session:
        assert filed.queue(session) == []

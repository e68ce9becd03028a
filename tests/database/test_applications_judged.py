"""What decides about an application: the three lists, levels above, versions of the sheet, credit, fees, materials held."""

from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from core.db import pin_case, snapshot, transaction
from core.errors import Conflict, Forbidden, Invalid
from dispatch.items import catalogue, filed, lists
from dispatch.items.filed import Upload
from dispatch.items.steps import drawn
from dispatch.limits import Limit, due
from dispatch.rulebook import Rulebook, read_rulebook
from tests import tiny
from tests.applications import (
    ALL,
    AT,
    CITIZEN,
    DAY,
    LEAD,
    PARALLEL,
    POLICE,
    SUPERVISOR,
    WATER,
    WINDOW,
    Run,
    apply,
    keep_lists,
    person,
    publish,
)
from tests.builders import program, put_away

pytestmark = pytest.mark.database

SCHOOL = lists.Condition("distance_to_school_m", "lt", 200, "距学校不足二百米")
NEGATIVE = lists.Entry("T-N1", "negative", "校园周边禁止（虚构）", "虚构条例第九条", ("T-NET",), (SCHOOL,))
PERMITTED = lists.Entry(
    "T-P1",
    "permitted",
    "条件齐备应当许可（虚构）",
    "虚构条例第三条",
    ("T-FOOD",),
    (lists.Condition("site_check_passed", "eq", True, "现场核查合格"),),
)
CHECKED = lists.Entry(
    "T-S1", "supervision", "事后核查（虚构）", "", ("T-CHECK",), (), {"A": 0, "B": 10, "C": 50, "D": 100}
)


@pytest.fixture(scope="module")
def book(district: tiny.Tiny) -> Rulebook:
    keep_lists(NEGATIVE, PERMITTED, CHECKED)
    publish("T-NET")
    publish("T-FOOD", survey="single", supervising=tiny.POLICE)
    publish("T-CHECK", supervising=tiny.POLICE)
    publish("T-UP", reviews=[{"level": "city", "limit": "8wd"}, {"level": "province", "limit": "15wd"}])
    with snapshot(program(tiny.DISTRICT)) as session:
        return read_rulebook(session, tiny.DISTRICT)


@pytest.fixture(autouse=True)
def _put_away(district: tiny.Tiny):
    yield
    with transaction(program(tiny.DISTRICT)) as session:
        put_away(session, tiny.DISTRICT)


def run(book: Rulebook, item: str, **known: Any) -> Run:
    return Run(book, apply(book, item, **known))


def test_what_the_negative_list_forbids_is_refused_with_the_entry_shown(book: Rulebook) -> None:
    with pytest.raises(Conflict) as caught:
        apply(book, "T-NET", facts={"distance_to_school_m": 150}, key="forbidden")
    assert caught.value.params == {"entry": "T-N1", "title": NEGATIVE.title, "basis": NEGATIVE.basis}
    # Nothing was written: the same key opens a case once the fact is another.
    assert not apply(book, "T-NET", facts={"distance_to_school_m": 300}, key="forbidden").repeated


def test_a_fact_that_nobody_told_is_asked_before_acceptance_and_never_guessed(book: Rulebook) -> None:
    case = run(book, "T-NET")
    with snapshot(WINDOW) as session:
        assert [one.fact for one in filed.filed(session, case.receipt.case_id).questions] == ["distance_to_school_m"]
    with pytest.raises(Invalid, match="asks first"):
        case.do(WINDOW, "accept")
    with pytest.raises(Invalid, match="not a number"):
        case.do(WINDOW, "accept", facts=[{"fact": "distance_to_school_m", "value": "很近"}])
    with pytest.raises(Conflict, match="forbids"):
        case.do(WINDOW, "accept", facts=[{"fact": "distance_to_school_m", "value": "150"}])
    assert case.application["facts"] == {}
    assert case.do(WINDOW, "accept", facts=[{"fact": "distance_to_school_m", "value": "450"}]) == "accepted"


def _surveyed(case: Run, result: str) -> None:
    case.do(LEAD, "survey_call", survey_at="2026-11-17T09:30", survey_place="门口")
    case.do(LEAD, "survey_record", at=AT + DAY, survey_record="记录", survey_result=result)


def test_what_meets_every_condition_is_denied_only_with_a_reason_and_a_supervisor(book: Rulebook) -> None:
    case = run(book, "T-FOOD").reviewing()
    _surveyed(case, "pass")
    assert case.application["verdict"]["must_be_granted"] is True
    assert "deny" not in case.offered(LEAD)
    with pytest.raises(Conflict, match="only a supervisor"):
        case.do(LEAD, "deny", legal_basis="第三条", reason="不想批")
    with pytest.raises(Invalid):
        case.do(LEAD, "propose_denial", legal_basis="第三条")
    assert case.do(LEAD, "propose_denial", legal_basis="第三条", reason="邻里反对") == "denial_review"
    for who in (LEAD, WINDOW):
        with pytest.raises(Forbidden):
            case.do(who, "denial_agree", ruling="同意")
    assert case.do(SUPERVISOR, "denial_refuse", ruling="条件齐备，应当许可") == "reviewing"
    assert case.clocks()["decide"]["stopped_at"] is None
    case.do(LEAD, "propose_denial", legal_basis="第九条", reason="利害关系人的权利受损")
    assert case.do(SUPERVISOR, "denial_agree", ruling="同意，理由充分") == "denied"
    assert case.case.answer == "利害关系人的权利受损"
    assert case.application["outcome"] == "denied"


def test_where_a_condition_is_not_met_the_unit_denies_by_itself(book: Rulebook) -> None:
    case = run(book, "T-FOOD").reviewing()
    _surveyed(case, "fail")
    with pytest.raises(Conflict, match="no supervisor is asked"):
        case.do(LEAD, "propose_denial", legal_basis="第三条", reason="现场不合格")
    assert case.do(LEAD, "deny", legal_basis="第三条", reason="现场不合格") == "denied"


def test_the_credit_class_sets_the_share_and_anybody_can_redo_the_draw(book: Rulebook) -> None:
    found = {}
    for credit in ("A", "D"):
        case = run(book, "T-CHECK", credit=credit).reviewing()
        case.do(LEAD, "grant")
        found[credit] = case.application["after_check"]
        pushed = next(m["payload"] for m in case.topics() if m["topic"] == "result.pushed")
        assert (pushed["to"], pushed["outcome"], pushed["credit"]) == (tiny.POLICE, "granted", credit)
        assert pushed["after_check"] == found[credit]
        said = next(e["data"] for e in case.rows("entry") if e["action"] == "grant")
        assert said["after_check"] == drawn(case.receipt.number, date(2026, 11, 16), said["share_percent"])
    assert found == {"A": False, "D": True}
    with pytest.raises(Invalid):
        apply(book, "T-CHECK", credit="E")


def test_the_draw_is_the_published_sum() -> None:
    day = date(2026, 11, 16)
    number = "20261116000042X"
    value = int(sha256(f"{number}:{day.isoformat()}".encode()).hexdigest(), 16) % 100
    assert drawn(number, day, value + 1)
    assert not drawn(number, day, value)
    share = sum(drawn(f"2026111600{i:04d}", day, 10) for i in range(2000)) / 2000
    assert 0.08 < share < 0.12


def test_the_level_above_has_a_clock_of_its_own_and_the_districts_stands(book: Rulebook) -> None:
    case = run(book, "T-UP").reviewing()
    with pytest.raises(Conflict, match="has to agree first"):
        case.do(LEAD, "grant")
    with pytest.raises(Invalid) as caught:
        case.do(WINDOW, "hand_up", level="province", reference="试报〔2026〕1号")
    assert caught.value.params["level"] == "city"
    assert case.do(WINDOW, "hand_up", level="city", reference="试报〔2026〕1号") == "handed_up"
    clocks = case.clocks()
    assert (clocks["hand_up"]["limit"], clocks["hand_up"]["unit_code"]) == ("8wd", None)
    assert clocks["decide"]["held_at"] is not None
    assert any(m["topic"] == "outgoing.hand_up" for m in case.topics())
    with pytest.raises(Conflict):
        case.do(LEAD, "grant")
    back = {"handover_decision": "agreed", "reference": "市批〔2026〕9号"}
    assert case.do(WINDOW, "hand_back", at=AT + DAY, **back) == "reviewing"
    assert case.clocks()["decide"]["held_at"] is None
    case.do(WINDOW, "hand_up", level="province", reference="试报〔2026〕2号")
    case.do(LEAD, "hand_back", at=AT + 2 * DAY, handover_decision="refused", reference="省批〔2026〕3号")
    with pytest.raises(Conflict, match="has to agree first"):
        case.do(LEAD, "grant")
    assert case.do(LEAD, "deny", legal_basis="第三条", reason="省级不同意") == "denied"
    assert [(h["level"], h["decision"]) for h in sorted(case.rows("handover"), key=lambda h: h["sent_at"])] == [
        ("city", "agreed"),
        ("province", "refused"),
    ]


def test_a_case_ends_under_the_sheet_that_it_began_under(book: Rulebook) -> None:
    first = publish("T-VERSION", promised_limit="5wd")
    case = run(book, "T-VERSION", seen=first)
    second = publish("T-VERSION", at=AT + DAY, promised_limit="3wd", materials=[{"code": "NEW", "name": "新材料"}])
    later = AT + 2 * DAY
    with pytest.raises(Conflict, match="was replaced"):
        apply(book, "T-VERSION", seen=first, at=later, given={"NEW": ()})
    assert run(book, "T-VERSION", seen=second, at=later, given={"NEW": ()}).application["item_version"] == second
    with transaction(program(tiny.DISTRICT)) as session:
        catalogue.withdraw(session, "T-VERSION", date(2026, 11, 19), at=later)
    with pytest.raises(Conflict, match="was withdrawn"):
        apply(book, "T-VERSION", at=AT + 3 * DAY, given={"NEW": ()})
    assert case.do(WINDOW, "accept", at=AT + 3 * DAY) == "accepted"
    assert case.clocks()["decide"]["limit"] == "5wd"
    assert case.materials() == {"ID": "checked", "FORM": "checked", "PLAN": "checked"}


def test_an_item_nobody_publishes_cannot_be_applied_for(book: Rulebook) -> None:
    with pytest.raises(Exception, match="no service item"):
        apply(book, "T-NOTHING")


def test_a_fee_is_recorded_by_the_published_rule_and_let_off_by_it(book: Rulebook) -> None:
    publish(
        "T-FEE",
        fee={
            "charged": True,
            "amount": "每证 20 元",
            "basis": "虚构收费目录",
            "waivers": [{"who": "低保家庭", "percent": 50, "basis": "虚构规定"}],
        },
    )
    case = run(book, "T-FEE").reviewing()
    for wrong in ({"fee_amount": "免费"}, {"fee_amount": "-1"}, {"fee_amount": "1.001"}, {"fee_amount": "NaN"}):
        with pytest.raises(Invalid, match="not an amount"):
            case.do(WINDOW, "record_fee", **wrong)
    for waived, waiver in (("50", ""), ("60", "低保家庭"), ("50", "熟人")):
        with pytest.raises(Invalid, match="lets nobody off"):
            case.do(WINDOW, "record_fee", fee_amount="20", waived=waived, waiver=waiver)
    case.do(WINDOW, "record_fee", fee_amount="20", waived="50", waiver="低保家庭", paid_reference="收据1")
    fee = case.rows("fee")[0]
    assert (fee["cents"], fee["basis"], fee["waived_percent"]) == (1000, "虚构收费目录", 50)
    with pytest.raises(Conflict, match="charges no fee"):
        run(book, "T-NET", facts={"distance_to_school_m": 300}).reviewing().do(WINDOW, "record_fee", fee_amount="5")


PAPER = Upload("e" * 64, "application/pdf", 900, "身份证.pdf")


def test_a_material_held_already_is_used_again_only_with_consent(book: Rulebook) -> None:
    publish("T-AGAIN")
    who = person(501)
    first = run(book, "T-AGAIN", applicant=who, given={**ALL, "ID": (PAPER,)}, form={"address": "虚构路1号"})
    with snapshot(WINDOW) as session:
        sheet = catalogue.version(session, "T-AGAIN", 1).sheet
        assert filed.known(session, who.id_number, sheet, at=AT).offers == ()
    first.do(WINDOW, "accept")
    with snapshot(WINDOW) as session:
        found = filed.known(session, who.id_number, sheet, at=AT + DAY)
        assert {one.code for one in found.offers} == {"ID", "FORM", "PLAN"}
        assert found.form == {"address": "虚构路1号"}
        assert filed.known(session, person(502).id_number, sheet, at=AT).offers == ()
        assert filed.known(session, who.id_number, sheet, at=AT + 400 * DAY).offers == ()
    later = {"applicant": who, "given": {"FORM": (), "PLAN": ()}, "reuse": ("ID",), "at": AT + DAY}
    with pytest.raises(Invalid, match="consent"):
        apply(book, "T-AGAIN", **later)
    second = run(book, "T-AGAIN", **later, consent=True)
    assert second.receipt.missing == ()
    with snapshot(WINDOW) as session:
        held = next(one for one in filed.filed(session, second.receipt.case_id).materials if one.code == "ID")
    assert (held.state, held.reused, [one.sha256 for one in held.files]) == ("given", True, [PAPER.sha256])
    assert second.application["consent"] is True


def test_an_open_application_takes_up_earlier_materials_with_consent(book: Rulebook) -> None:
    publish("T-TAKE")
    who = person(503)
    run(book, "T-TAKE", applicant=who).do(WINDOW, "accept")
    case = run(book, "T-TAKE", applicant=who, given={"ID": ()}, at=AT + DAY)
    case.at = AT + DAY
    with pytest.raises(Invalid, match="consent"):
        case.do(WINDOW, "reuse", materials=["FORM"], consent="no")
    with pytest.raises(Invalid, match="no earlier material"):
        case.do(WINDOW, "reuse", materials=["ID"], consent="yes")
    case.do(WINDOW, "reuse", materials=["FORM", "PLAN"], consent="yes")
    assert case.do(WINDOW, "accept") == "accepted"


def test_a_citizen_learns_of_earlier_materials_only_with_an_earlier_receipt(book: Rulebook) -> None:
    publish("T-SHOW")
    who = person(504)
    first = run(book, "T-SHOW", applicant=who)
    first.do(WINDOW, "accept")
    receipt = first.receipt
    with snapshot(program(tiny.DISTRICT)) as session:
        sheet = catalogue.version(session, "T-SHOW", 1).sheet
    with snapshot(CITIZEN) as session:
        for proof in (None, (receipt.number, "AAAAAA")):
            with pytest.raises(Forbidden):
                filed.known(session, who.id_number, sheet, at=AT, proof=proof)
        with pytest.raises(Forbidden):
            filed.known(session, person(505).id_number, sheet, at=AT, proof=(receipt.number, receipt.access_code))
        shown = filed.known(session, who.id_number, sheet, at=AT, proof=(receipt.number, receipt.access_code))
    assert len(shown.offers) == 3
    wanted = {"applicant": who, "given": {}, "reuse": ("ID",), "consent": True, "actor": CITIZEN}
    with pytest.raises(Forbidden):
        apply(book, "T-SHOW", **wanted)
    got = apply(book, "T-SHOW", **wanted, proof=(receipt.number, receipt.access_code))
    assert [code for code, _ in got.missing] == ["FORM", "PLAN"]


def test_the_town_office_decides_where_the_sheet_says_so(book: Rulebook) -> None:
    publish("T-TOWN", by_town=True, level="town")
    with pytest.raises(Invalid, match="in which town"):
        apply(book, "T-TOWN")
    with pytest.raises(Invalid, match="no town"):
        apply(book, "T-TOWN", town="990200999")
    case = run(book, "T-TOWN", town=tiny.EAST)
    case.do(WINDOW, "accept")
    assert case.case.unit_code == tiny.EAST_OFFICE


def test_the_whole_road_gap_parallel_units_survey_decision_and_pick_up(book: Rulebook) -> None:
    publish("T-ROAD", **PARALLEL, supervising=tiny.POLICE)
    case = run(book, "T-ROAD", actor=CITIZEN, given={"ID": (PAPER,), "FORM": (PAPER,)}, pickup="YJ")
    case.do(WINDOW, "pre_review")
    case.do(WINDOW, "accept_gaps", at=AT + timedelta(hours=2), owed=["PLAN"], commitment="yes")
    case.do(LEAD, "sign")
    for who in (WATER, POLICE):
        case.do(who, "share_sign")
    case.do(LEAD, "survey_call", survey_at="2026-11-17T14:00", survey_place="经营场所门口")
    with transaction(CITIZEN) as session:
        pin_case(session, case.receipt.case_id)
        filed.attach(session, case.receipt.case_id, "PLAN", Upload("f" * 64, "image/jpeg", 7, "图.jpg"), at=AT + DAY)
    case.do(CITIZEN, "hand_in", at=AT + DAY, materials=["PLAN"])
    when = AT + DAY + timedelta(hours=6)
    case.do(LEAD, "survey_record", at=when, survey_record="三家单位到场，符合", survey_result="pass")
    for who in (WATER, POLICE):
        case.do(who, "share_reply", opinion="同意", agrees="yes")
    case.do(LEAD, "grant", decision_number="试许〔2026〕7号", valid_until="2031-11-17")
    case.do(WINDOW, "deliver", picked_up_by="post", pickup_place="YJ")
    row = case.case
    assert (row.state, row.open, row.due_clock) == ("delivered", False, None)
    outcomes = {(c["clock"], c["unit_code"]): c["outcome"] for c in case.rows("deadline")}
    assert set(outcomes.values()) == {"met"}, outcomes
    assert case.materials() == {"ID": "checked", "FORM": "checked", "PLAN": "checked"}
    assert [m["topic"] for m in case.topics() if m["topic"] == "result.pushed"] == ["result.pushed"]


def test_the_limits_of_a_sheet_are_no_business_of_the_districts_table(book: Rulebook) -> None:
    case = run(book, "T-CHECK")
    case.do(WINDOW, "accept")
    decide = case.clocks()["decide"]
    assert decide["own_limit"] is True
    expected = due(AT, Limit.parse("5wd"), work=book.work).at
    assert decide["due_at"] == expected.astimezone(UTC) == datetime(2026, 11, 23, 9, 30, tzinfo=UTC)

"""Side roads of a complaint: return, dispute, extension, pause, parking, supervision, the next level. Source: DOMAIN."""

from datetime import datetime
from typing import Any

import pytest

from core.actor import Actor, Role
from core.db import snapshot
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch.rulebook import Rulebook, read_rulebook
from tests import tiny
from tests.builders import make_attachment, program, reply_fields
from tests.database.roads import (
    CENTRE,
    CITIZEN,
    DAY,
    GRID,
    OFFICE,
    OPERATOR,
    PAUSE,
    PROGRAM,
    RETURN,
    STREETS,
    SUPERVISOR,
    WATER,
    Matter,
    person,
    settled,
)

pytestmark = pytest.mark.database
ASK = {"span": "3wd", "reason": "需夜间施工，配件未到"}


@pytest.fixture(scope="module")
def book(district: tiny.Tiny) -> Rulebook:
    with snapshot(program(tiny.DISTRICT)) as session:
        return read_rulebook(session, tiny.DISTRICT)


@pytest.fixture
def matter(book: Rulebook) -> Matter:
    return Matter(book)


# Return, dispute, arbiter.


def test_arbiter_may_leave_a_case_where_it_is_and_the_decision_binds(book: Rulebook) -> None:
    matter = Matter(settled(book, caps={"return": 0}))
    matter.refused(Conflict, STREETS, "return", "0 times already", **RETURN)
    due = matter.clocks()["reply"]["due_at"]
    matter.take(STREETS, "dispute", **RETURN)
    assert set(matter.clocks()) == {"reply", "arbitrate"}
    for who in (OPERATOR, STREETS):
        matter.refused(Forbidden, who, "arbitrate", unit=tiny.STREETS, ruling="仍由城管局办理")
    matter.take(SUPERVISOR, "arbitrate", unit=tiny.STREETS, ruling="职责清单第三条：由城管局办理")
    assert (matter.row["unit_code"], matter.row["bound"], matter.state) == (tiny.STREETS, True, "dispatched")
    assert matter.clocks()["reply"]["due_at"] == due, "a dispute does not move the limit"
    assert matter.last()["data"]["ruling"] == "职责清单第三条：由城管局办理"
    assert not matter.offered(STREETS) & {"return", "dispute", "rise"}
    matter.book = book
    for action in ("return", "dispute"):
        matter.refused(Conflict, STREETS, action, "the decision binds", **RETURN)
    matter.refused(Conflict, OPERATOR, "redispatch", "only the supervisor", unit=tiny.WATER, reason="改派")
    matter.take(SUPERVISOR, "redispatch", unit=tiny.WATER, reason="新情况")
    matter.refused(Conflict, WATER, "return", "the decision binds", **RETURN)


def test_unit_may_not_dispute_before_its_returns_are_used_up(matter: Matter) -> None:
    matter.refused(Conflict, STREETS, "dispute", "may still be returned", **RETURN)
    assert "dispute" not in matter.offered(STREETS)


def test_desk_refers_to_the_arbiter_where_units_send_a_case_to_each_other(matter: Matter) -> None:
    matter.take(STREETS, "return", **RETURN)
    matter.refused(Conflict, OPERATOR, "dispatch", "returned this case already", unit=tiny.STREETS)
    matter.take(OPERATOR, "dispute", reason="两单位互推")
    matter.take(SUPERVISOR, "arbitrate", unit=tiny.STREETS, ruling="由城管局办理")
    assert matter.row["unit_code"] == tiny.STREETS


def test_return_needs_a_listed_code_a_legal_basis_and_a_reason(matter: Matter) -> None:
    for name in RETURN:
        refused = matter.refused(Invalid, STREETS, "return", "is needed", **RETURN | {name: " "})
        assert refused.field == name
    matter.refused(Invalid, STREETS, "return", "not among the choices", **RETURN | {"reason_code": "不想办"})


def test_late_return_gives_the_next_unit_the_old_limit(matter: Matter) -> None:
    due = matter.clocks()["reply"]["due_at"]
    matter.later(days=3).take(STREETS, "return", **RETURN)
    assert matter.clocks()["reply"]["unit_code"] is None, "the centre is the owner of last resort"
    matter.take(OPERATOR, "dispatch", unit=tiny.WATER)
    reply = matter.clocks()["reply"]
    assert (reply["due_at"], reply["unit_code"]) == (due, tiny.WATER)


# Extension.


def test_extension_is_granted_by_another_person_once_and_counts_from_the_old_end(matter: Matter) -> None:
    matter.signed()
    old = matter.clocks()["reply"]["due_at"]
    matter.later(days=2).take(STREETS, "extend_ask", **ASK)
    assert matter.clocks()["reply"]["due_at"] == old, "the limit runs on until it is granted"
    assert matter.clocks()["plea"]["unit_code"] is None, "deciding is measured at the centre"
    matter.later(hours=1).take(OPERATOR, "extend_grant")
    new = matter.clocks()["reply"]
    # Friday 27 November, three working days on: Wednesday 2 December, at the same time of day.
    assert (new["extra"], new["due_at"] - old) == (["3wd"], 5 * DAY)
    assert new["started_at"] == matter.row["received_at"]
    assert [p["state"] for p in matter.table("plea")] == ["granted"]
    assert matter.table("deadline_change")[-1]["why"]["extended"] == "3wd"
    matter.refused(Conflict, STREETS, "extend_ask", "given more time 1 times", **ASK)


def test_extension_asked_when_the_limit_has_run_out_is_refused(matter: Matter) -> None:
    matter.signed().later(days=20)
    matter.refused(Conflict, STREETS, "extend_ask", "run out", **ASK)
    assert "extend_ask" not in matter.offered(STREETS)


def test_extension_asked_in_time_may_be_granted_after_the_old_end(matter: Matter) -> None:
    matter.signed()
    old = matter.clocks()["reply"]["due_at"]
    matter.at = old - DAY
    matter.take(STREETS, "extend_ask", **ASK)
    matter.at = old + DAY / 4
    matter.take(SUPERVISOR, "extend_grant")
    assert matter.clocks()["reply"]["due_at"] > matter.at


def test_nobody_grants_to_themselves_what_they_asked_for(matter: Matter) -> None:
    matter.signed().take(STREETS, "extend_ask", **ASK)
    same_account = Actor(STREETS.id, "另一个名字", Role.OPERATOR, tiny.DISTRICT)
    same_unit = Actor(person(Role.OPERATOR, "x").id, "借调话务", Role.OPERATOR, tiny.DISTRICT, unit=tiny.STREETS)
    for who in (same_account, same_unit):
        matter.refused(Forbidden, who, "extend_grant", "to themselves")
        matter.refused(Forbidden, who, "plea_refuse", "to themselves", reason="不批")
        assert not matter.offered(who) & {"extend_grant", "plea_refuse"}
    matter.refused(Forbidden, STREETS, "extend_grant", "may not do this")


@pytest.mark.parametrize("span", ["30wd", "40nd", "3h", "soon", "", "-1wd", "0wd"])
def test_extension_that_is_too_long_or_no_span_is_refused(matter: Matter, span: str) -> None:
    matter.signed()
    assert matter.refused(Invalid, STREETS, "extend_ask", **ASK | {"span": span}).field == "span"


def test_refused_plea_leaves_every_limit_as_it_was(matter: Matter) -> None:
    matter.signed().take(STREETS, "extend_ask", **ASK)
    before = matter.clocks()["reply"]
    matter.take(OPERATOR, "plea_refuse", reason="理由不充分")
    assert matter.clocks() == {"reply": before}
    assert (matter.row["plea"], matter.table("plea")[0]["state"]) == (None, "refused")
    matter.take(STREETS, "extend_ask", **ASK)


def test_unit_asks_one_thing_at_a_time(matter: Matter) -> None:
    matter.signed().take(STREETS, "extend_ask", **ASK)
    for action, fields in (("extend_ask", ASK), ("pause_ask", PAUSE), ("park_ask", ASK | {"document": "纪要"})):
        matter.refused(Conflict, STREETS, action, "asked something already", **fields)


def test_plea_lapses_with_the_road_it_was_asked_on(matter: Matter) -> None:
    matter.signed().take(STREETS, "extend_ask", **ASK)
    matter.take(STREETS, "reply", **reply_fields())
    assert matter.table("plea")[0]["state"] == "lapsed"
    assert (matter.row["plea"], matter.last()["data"]["lapsed"]) == (None, ["extension"])
    assert set(matter.clocks()) == {"callback"}
    matter.refused(Conflict, OPERATOR, "extend_grant", "not possible there")


def test_district_decides_how_many_extensions_there_are(book: Rulebook) -> None:
    none = Matter(settled(book, caps={"extend_grant": 0})).signed()
    none.refused(Conflict, STREETS, "extend_ask", "0 times", **ASK)
    twice = Matter(settled(book, caps={"extend_grant": 2})).signed()
    for _ in range(2):
        twice.take(STREETS, "extend_ask", **ASK).take(OPERATOR, "extend_grant")
    twice.refused(Conflict, STREETS, "extend_ask", "2 times", **ASK)


# Pause and parking.


@pytest.mark.parametrize("missing", ["pause_reason", "span", "document"])
def test_pause_needs_a_listed_reason_a_span_and_evidence(matter: Matter, missing: str) -> None:
    matter.signed()
    assert matter.refused(Invalid, STREETS, "pause_ask", **PAUSE | {missing: ""}).field == missing


def test_pause_for_an_unlisted_reason_or_longer_than_its_reason_allows_is_refused(matter: Matter) -> None:
    matter.signed()
    matter.refused(Invalid, STREETS, "pause_ask", "not among the choices", **PAUSE | {"pause_reason": "holiday"})
    matter.refused(Invalid, STREETS, "pause_ask", "At most", **PAUSE | {"span": "31nd"})


def test_clock_stands_from_the_grant_and_not_from_the_asking(matter: Matter) -> None:
    matter.signed()
    old = matter.clocks()["reply"]["due_at"]
    matter.later(days=2).take(STREETS, "pause_ask", **PAUSE)
    assert matter.clocks()["reply"]["held_at"] is None
    matter.later(hours=3).take(OPERATOR, "pause_grant")
    assert (matter.state, matter.clocks()["reply"]["held_at"]) == ("paused", matter.at)
    assert matter.clocks()["pause"]["due_at"] > matter.at + 9 * DAY
    matter.later(days=7).take(STREETS, "resume")
    reply = matter.clocks()["reply"]
    assert (matter.state, reply["held_at"], reply["due_at"] - old) == ("signed", None, 7 * DAY)
    assert "pause" not in matter.clocks()


def test_unit_moves_no_clock_that_measures_it(matter: Matter) -> None:
    """It may ask, and it may end a pause early, to its own cost; nothing else."""
    matter.signed().take(STREETS, "pause_ask", **PAUSE)
    for action in ("pause_grant", "extend_grant", "park_grant", "plea_refuse", "correct", "arbitrate"):
        matter.refused((Forbidden, Conflict), STREETS, action)  # type: ignore[arg-type]  # pytest takes a tuple


def test_program_resumes_on_the_last_day_of_the_pause(matter: Matter) -> None:
    matter.signed().take(STREETS, "pause_ask", **PAUSE).take(SUPERVISOR, "pause_grant")
    matter.at = matter.clocks()["pause"]["due_at"]
    assert matter.row["state"] == "paused"
    process = matter.book.process("complaint", matter.row["process_version"])
    matter.take(PROGRAM, process.expiry["pause"])
    assert (matter.state, matter.clocks()["reply"]["held_at"]) == ("signed", None)
    assert matter.clocks(running=False)["pause"]["outcome"] == "met"


def test_withdrawing_a_paused_case_ends_pause_and_clocks_and_reopening_begins_anew(matter: Matter) -> None:
    matter.signed().take(STREETS, "pause_ask", **PAUSE).take(OPERATOR, "pause_grant")
    matter.later(days=1).take(CITIZEN, "withdraw", reason="问题已解决")
    assert (matter.state, matter.clocks(), matter.row["due_at"]) == ("withdrawn", {}, None)
    assert [p["ended_at"] for p in matter.table("pause")] == [matter.at]
    assert {a["state"] for a in matter.table("assignment")} == {"moved"}
    matter.later(days=1).take(OPERATOR, "reopen", reason="市民再次来电")
    assert set(matter.clocks()) == {"dispatch", "reply"}
    assert {c["started_at"] for c in matter.clocks().values()} == {matter.at}
    assert (matter.row["unit_code"], matter.clocks()["reply"]["held_at"]) == (None, None)


def test_reopening_has_a_window(matter: Matter) -> None:
    matter.take(CITIZEN, "withdraw", reason="问题已解决").later(days=31)
    matter.refused(Conflict, OPERATOR, "reopen", "ran out on", reason="太迟")
    assert "reopen" not in matter.offered(OPERATOR)


def test_parked_case_has_a_review_date_and_only_the_supervisor_parks(matter: Matter) -> None:
    matter.signed().take(STREETS, "park_ask", span="60nd", document="区长办公会纪要", reason="待管网改造")
    matter.refused(Forbidden, OPERATOR, "park_grant")
    matter.take(SUPERVISOR, "park_grant")
    review = matter.clocks()["review"]
    assert (matter.state, review["limit"], review["unit_code"]) == ("parked", "60nd", tiny.STREETS)
    assert matter.clocks()["reply"]["held_at"] == matter.at
    matter.later(days=50).take(SUPERVISOR, "park_on", span="30nd", reason="工程延期")
    assert matter.clocks()["review"]["started_at"] == matter.at
    matter.later(days=5).take(STREETS, "take_up")
    assert (matter.state, set(matter.clocks()), matter.clocks()["reply"]["held_at"]) == ("signed", {"reply"}, None)


# Supervision.


def test_supervision_has_its_own_limit_answer_and_closing(matter: Matter) -> None:
    matter.take(SUPERVISOR, "supervise", demand="三日内现场核实并书面说明", span="1wd")
    assert (matter.row["supervised"], matter.clocks()["supervise"]["limit"]) == (True, "1wd")
    matter.refused(Conflict, SUPERVISOR, "supervise", "runs already", demand="再督")
    matter.refused(Conflict, SUPERVISOR, "supervise_close", "no supervision", ruling="结")
    matter.take(STREETS, "supervise_reply", supervise_answer="已核实")
    assert "supervise" not in matter.clocks()
    matter.take(SUPERVISOR, "supervise_again", reason="未附照片")
    assert matter.clocks()["supervise"]["unit_code"] == tiny.STREETS
    matter.take(STREETS, "supervise_reply", supervise_answer="已补照片")
    matter.refused(Forbidden, OPERATOR, "supervise_close", ruling="结")
    matter.take(SUPERVISOR, "supervise_close", ruling="属实，销号")
    assert (matter.row["supervised"], matter.table("supervision")[0]["state"]) == (False, "closed")
    matter.take(SUPERVISOR, "supervise", demand="另一件事")


def test_supervision_goes_with_the_case_to_the_next_unit(matter: Matter) -> None:
    matter.take(SUPERVISOR, "supervise", demand="限期处理")
    due = matter.clocks()["supervise"]["due_at"]
    matter.take(OPERATOR, "redispatch", unit=tiny.WATER, reason="职责在水务")
    clock = matter.clocks()["supervise"]
    assert (clock["unit_code"], clock["due_at"]) == (tiny.WATER, due)
    assert matter.table("supervision")[0]["unit_code"] == tiny.WATER
    matter.refused(Forbidden, STREETS, "supervise_reply", supervise_answer="不是我")
    matter.take(WATER, "supervise_reply", supervise_answer="已处理")


def test_unanswered_supervision_lapses_with_the_case_and_an_answered_one_waits_for_the_supervisor(
    book: Rulebook,
) -> None:
    unanswered, answered = Matter(book), Matter(book)
    for one in (unanswered, answered):
        one.take(SUPERVISOR, "supervise", demand="限期处理")
    answered.take(STREETS, "supervise_reply", supervise_answer="已处理")
    for one in (unanswered, answered):
        one.take(OPERATOR, "withdraw", reason="市民撤回")
        assert one.clocks() == {}
    assert (unanswered.row["supervised"], unanswered.table("supervision")[0]["state"]) == (False, "lapsed")
    answered.take(SUPERVISOR, "supervise_close", ruling="销号")
    assert answered.table("supervision")[0]["state"] == "closed"


def test_case_with_no_unit_cannot_be_supervised(matter: Matter) -> None:
    matter.take(STREETS, "return", **RETURN)
    matter.refused(Conflict, SUPERVISOR, "supervise", demand="谁来办")


# Four levels.


def test_matter_passes_to_the_next_level_with_its_history_and_its_limit(matter: Matter) -> None:
    matter.take(OPERATOR, "redispatch", unit=tiny.WEST_OFFICE, reason="属地")
    due = matter.clocks()["reply"]["due_at"]
    matter.refused(Invalid, OFFICE, "rise", "is needed")
    matter.signed(OFFICE).later(days=1).take(OFFICE, "rise", reason="镇级无执法权")
    assert (matter.row["unit_code"], matter.state) == (tiny.CENTRE, "dispatched")
    assert (matter.clocks()["reply"]["due_at"], matter.clocks()["reply"]["unit_code"]) == (due, tiny.CENTRE)
    matter.refused(Conflict, CENTRE, "rise", "no level above", reason="再往上")
    matter.refused(Forbidden, OFFICE, "sign", "another unit")


def test_department_has_no_level_above_it(matter: Matter) -> None:
    matter.refused(Conflict, STREETS, "rise", "no level above", reason="推上去")
    assert "rise" not in matter.offered(STREETS)


# The closing form, the check on site, the citizen's turn.


@pytest.mark.parametrize("missing", ["truth", "duty", "contacted", "solved", "answer"])
def test_reply_needs_every_part_of_the_closing_form(matter: Matter, missing: str) -> None:
    matter.signed()
    form = {name: value for name, value in reply_fields().items() if name != missing}
    assert matter.refused(Invalid, STREETS, "reply", "is needed", **form).field == missing


@pytest.mark.parametrize("kind", ["help", "enquiry", "suggestion", "praise"])
def test_closing_form_depends_on_the_kind(book: Rulebook, kind: str) -> None:
    matter = Matter(book, kind=kind).signed()
    form = reply_fields(kind)
    for name in form:
        matter.refused(Invalid, STREETS, "reply", "is needed", **{n: v for n, v in form.items() if n != name})
    matter.refused(Invalid, STREETS, "reply", "no field", **form | {"colour": "red"})
    matter.take(STREETS, "reply", **form)


def test_what_is_not_solved_says_why(matter: Matter) -> None:
    matter.signed()
    refused = matter.refused(Invalid, STREETS, "reply", "is needed", **reply_fields(solved="no"))
    assert refused.field == "unsolved_reason"
    matter.refused(Invalid, STREETS, "reply", "choices", **reply_fields(solved="no", unsolved_reason="懒"))
    matter.take(STREETS, "reply", **reply_fields(solved="no", unsolved_reason="money"))
    assert matter.last()["data"]["unsolved_reason"] == "money"


@pytest.mark.parametrize("onsite", [["10"], "1001"], ids=["prefixes", "one word"])
def test_category_that_asks_for_a_check_is_not_closed_without_a_passed_one(book: Rulebook, onsite: object) -> None:
    assert "callback" in Matter(settled(book, onsite=["2", "1002"])).replied().offered(CITIZEN)
    matter = Matter(settled(book, onsite=onsite)).replied()
    for who in (OPERATOR, CITIZEN):
        matter.refused(Conflict, who, "callback", "checked on site", satisfaction="5")
    matter.refused(Forbidden, STREETS, "check", checked="pass")
    matter.take(GRID, "check", checked="fail")
    matter.refused(Conflict, OPERATOR, "close", "checked on site", reason="联系不上")
    matter.take(OPERATOR, "check", checked="pass")
    matter.take(OPERATOR, "rework", satisfaction="1", reason="又堵了").take(STREETS, "reply", **reply_fields())
    matter.refused(Conflict, OPERATOR, "callback", "checked on site", satisfaction="5")
    matter.take(GRID, "check", checked="pass").take(OPERATOR, "callback", satisfaction="5")


def test_category_that_asks_for_photos_is_not_closed_without_before_and_after(book: Rulebook) -> None:
    from core.db import transaction
    from dispatch.models import Case

    matter = Matter(settled(book, photos=["1001"])).replied()
    for purpose in ("after", "before"):
        matter.refused(Conflict, OPERATOR, "callback", "photo from before", satisfaction="5")
        with transaction(program(tiny.DISTRICT)) as session:
            case = session.get_one(Case, (tiny.DISTRICT, matter.id))
            make_attachment(session, case, purpose=purpose)
    matter.take(OPERATOR, "callback", satisfaction="5")


def test_photo_that_is_none_of_the_case_is_no_evidence(matter: Matter) -> None:
    matter.signed()
    for wrong in ("x", str(matter.id)):
        refused = matter.refused(Invalid, STREETS, "pause_ask", "does not belong", **PAUSE, photos=[wrong])
        assert refused.field == "photos"


def test_citizen_asks_for_rework_once_and_rates_in_five_levels(matter: Matter) -> None:
    matter.replied().take(CITIZEN, "rework", satisfaction="1", reason="没清干净")
    matter.take(STREETS, "reply", **reply_fields())
    matter.refused(Conflict, CITIZEN, "rework", "1 times only", satisfaction="1", reason="还是没清干净")
    assert "rework" not in matter.offered(CITIZEN)
    for wrong in ("0", "6", "好"):
        matter.refused(Invalid, CITIZEN, "callback", satisfaction=wrong)
    matter.take(SUPERVISOR, "rework", satisfaction="2", reason="抽查未达标")
    matter.take(STREETS, "reply", **reply_fields()).take(CITIZEN, "callback", satisfaction="4")
    assert matter.row["satisfaction"] == 4


# What ends, ends whole.


ENDINGS = {
    "closed": (OPERATOR, "callback", {"satisfaction": "5"}),
    "withdrawn": (CITIZEN, "withdraw", {"reason": "不用了"}),
    "handed_over": (OPERATOR, "hand_over", {"service": "119", "taken_by": "119 指挥中心 3 号", "reason": "起火"}),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_case_at_rest_has_no_clock_no_plea_no_open_share(matter: Matter, ending: str) -> None:
    who, action, fields = ENDINGS[ending]
    matter.signed().take(OPERATOR, "add_unit", unit=tiny.WATER, task="会同现场勘查", needed="no")
    matter.take(SUPERVISOR, "supervise", demand="限期")
    if ending == "closed":
        matter.replied()
    else:
        matter.take(STREETS, "extend_ask", **ASK)
    matter.take(who, action, **fields)
    assert (matter.state, matter.row["open"], matter.row["plea"]) == (ending, False, None)
    assert (matter.clocks(), matter.row["due_at"], matter.row["due_clock"]) == ({}, None, None)
    assert {a["state"] for a in matter.table("assignment")} <= {"moved", "done"}
    assert {p["state"] for p in matter.table("plea")} <= {"lapsed"}
    assert [s["state"] for s in matter.table("supervision")] == ["lapsed"]
    assert not matter.offered(STREETS) - {"note"}


@pytest.mark.parametrize("at", ["dispatched", "replied"])
def test_every_step_counts_one_version_and_an_old_one_is_refused_whole(matter: Matter, at: str) -> None:
    if at == "replied":
        matter.replied()
    before = matter.row["version"]
    matter.take(OPERATOR, "note", note="已电话联系")
    assert matter.row["version"] == before + 1
    matter.refused(Conflict, OPERATOR, "note", "changed in the meantime", version=before, note="双击")


def test_correcting_and_dispatching_in_one_save_is_one_version_and_two_lines(book: Rulebook) -> None:
    matter = Matter(book, unit=None)
    matter.take(OPERATOR, "correct", category="2002", unit=tiny.WATER)
    assert (matter.row["version"], matter.row["entries"], matter.state) == (2, 3, "dispatched")


@pytest.mark.parametrize(
    ("action", "fields"), [("explode", {}), ("sign", {"colour": "red"}), ("sign", {"note": "\x00"})]
)
def test_what_the_table_does_not_know_is_refused_whole(matter: Matter, action: str, fields: dict[str, Any]) -> None:
    matter.refused((NotFound, Invalid), STREETS, action, **fields)  # type: ignore[arg-type]  # pytest takes a tuple


def test_server_whose_clock_was_turned_back_changes_nothing(matter: Matter) -> None:
    matter.later(hours=-2).refused(Conflict, STREETS, "sign", "runs behind")


def test_case_of_another_district_is_not_there(matter: Matter) -> None:
    stranger = Actor(OPERATOR.id, "外区话务", Role.OPERATOR, "990100")
    matter.refused(NotFound, stranger, "note", note="看看", version=1)


def test_moment_that_is_yet_to_come_is_refused(matter: Matter) -> None:
    from core.db import transaction
    from dispatch import cases

    before, ahead = matter.everything(), datetime.fromtimestamp(matter.at.timestamp() + 60, tz=matter.at.tzinfo)
    with pytest.raises(Invalid), transaction(STREETS) as session:
        cases.act(session, matter.book, matter.id, "sign", expected_version=1, at=matter.at, happened_at=ahead)
    assert matter.everything() == before

"""Several units on one case, and several callers on one matter: every share and every caller keeps its own account."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.db import snapshot
from core.errors import Conflict, Forbidden, Invalid, NotFound, WanggeError
from dispatch.log import verify
from dispatch.rulebook import Rulebook, read_rulebook
from tests import tiny
from tests.builders import program, reply_fields
from tests.database.roads import (
    CENTRE,
    CITIZEN,
    GRID,
    OFFICE,
    OPERATOR,
    PAUSE,
    POLICE,
    RETURN,
    STREETS,
    SUPERVISOR,
    WATER,
    Matter,
    set_column,
)

pytestmark = pytest.mark.database
JOIN = {"unit": tiny.WATER, "task": "核查地下管线权属"}
WHY = {"reason": "同一事项"}


@pytest.fixture(scope="module")
def book(district: tiny.Tiny) -> Rulebook:
    with snapshot(program(tiny.DISTRICT)) as session:
        return read_rulebook(session, tiny.DISTRICT)


@pytest.fixture
def matter(book: Rulebook) -> Matter:
    return Matter(book)


def shares(matter: Matter) -> dict[str, str]:
    return {a["unit_code"]: a["state"] for a in matter.table("assignment")}


# Shares 主办, 协办.


def test_lead_answers_when_every_needed_share_is_in(matter: Matter) -> None:
    matter.signed().take(STREETS, "add_unit", **JOIN)
    matter.take(OPERATOR, "add_unit", unit=tiny.POLICE, task="维持秩序", needed="no")
    matter.refused(Conflict, STREETS, "reply", "区水务局 is still missing", **reply_fields())
    assert "reply" not in matter.offered(STREETS)
    matter.take(WATER, "share_sign").take(WATER, "share_reply", opinion="管线属燃气公司", agrees="yes")
    matter.take(STREETS, "reply", **reply_fields())
    assert shares(matter) == {tiny.STREETS: "replied", tiny.WATER: "replied", tiny.POLICE: "sent"}
    matter.take(OPERATOR, "callback", satisfaction="5")
    assert set(shares(matter).values()) == {"done"}
    assert matter.clocks() == {}


def test_each_share_has_its_own_clocks_and_they_measure_its_unit(matter: Matter) -> None:
    matter.take(OPERATOR, "add_unit", **JOIN)
    share = next(a for a in matter.table("assignment") if a["share"] == "assist")
    own = {name: c for name, c in matter.clocks().items() if c["assignment_id"]}
    assert {name: c["unit_code"] for name, c in own.items()} == {"share_sign": tiny.WATER, "share_reply": tiny.WATER}
    assert {c["assignment_id"] for c in own.values()} == {share["id"]}
    matter.take(OPERATOR, "add_unit", unit=tiny.POLICE, task="维持秩序").take(WATER, "share_sign")
    signs = [c for c in matter.table("deadline") if c["clock"] == "share_sign"]
    assert {c["unit_code"]: c["outcome"] for c in signs} == {tiny.WATER: "met", tiny.POLICE: None}
    matter.take(OPERATOR, "redispatch", unit=tiny.WEST_OFFICE, reason="属地")
    assert not {"share_sign", "share_reply"} & set(matter.clocks()), "shares end with the lead that they help"
    assert shares(matter)[tiny.WATER] == "moved"


def test_assisting_unit_does_only_what_belongs_to_its_share(matter: Matter) -> None:
    matter.signed().take(OPERATOR, "add_unit", **JOIN)
    for action in ("reply", "return", "sign", "extend_ask", "add_unit", "withdraw_unit"):
        matter.refused((Forbidden, Conflict), WATER, action)  # type: ignore[arg-type]  # pytest takes a tuple
    assert matter.offered(WATER) == {"share_sign", "share_return", "note"}
    matter.refused(Conflict, WATER, "share_reply", "No share", opinion="未签收先反馈")
    matter.take(WATER, "share_sign")
    matter.refused(Conflict, WATER, "share_sign", "No share")
    assert matter.offered(WATER) == {"share_reply", "share_return", "note"}
    matter.refused(Forbidden, STREETS, "share_sign")


def test_unit_is_replaced_and_taken_back_midway_and_history_stays(matter: Matter) -> None:
    matter.signed().take(STREETS, "add_unit", **JOIN).take(WATER, "share_sign")
    matter.take(OPERATOR, "replace_unit", unit=tiny.WATER, new_unit=tiny.POLICE, reason="职责调整")
    new = next(a for a in matter.table("assignment") if a["unit_code"] == tiny.POLICE)
    assert (new["task"], new["state"], shares(matter)[tiny.WATER]) == (JOIN["task"], "sent", "moved")
    matter.refused(Forbidden, WATER, "share_reply", opinion="我来")
    matter.take(POLICE, "share_sign").take(POLICE, "share_reply", opinion="现场已查")
    matter.take(STREETS, "share_rework", unit=tiny.POLICE, reason="未说明权属")
    assert matter.clocks()["share_reply"]["unit_code"] == tiny.POLICE
    matter.refused(Conflict, STREETS, "reply", "still missing", **reply_fields())
    matter.take(STREETS, "withdraw_unit", unit=tiny.POLICE, reason="不再需要")
    assert "share_reply" not in matter.clocks()
    matter.take(STREETS, "reply", **reply_fields())
    actions = [e["action"] for e in matter.table("entry")]
    assert actions[3:] == ["add_unit", "share_sign", "replace_unit", "share_sign", "share_reply", "share_rework", "withdraw_unit", "reply"]  # fmt: skip


def test_share_that_is_given_back_does_not_hold_the_lead_up(matter: Matter) -> None:
    matter.signed().take(STREETS, "add_unit", **JOIN)
    matter.refused(Invalid, WATER, "share_return", reason="无关")
    matter.take(WATER, "share_return", reason_code="not_our_duty", reason="管线非我局所有")
    matter.take(STREETS, "reply", **reply_fields())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"unit": tiny.STREETS, "task": "x"}, "with this unit already"),
        ({"unit": "nobody", "task": "x"}, "no unit nobody"),
        ({"unit": tiny.POLICE}, "is needed"),
        ({"unit": tiny.WATER, "task": "again"}, "has a share already"),
        ({"unit": tiny.POLICE, "task": "x", "share": "lead"}, "not among the choices"),
    ],
)
def test_share_that_makes_no_sense_is_refused(matter: Matter, fields: dict[str, str], message: str) -> None:
    matter.take(OPERATOR, "add_unit", **JOIN)
    matter.refused(Invalid, OPERATOR, "add_unit", message, **fields)


def test_share_that_is_not_there_cannot_be_changed(matter: Matter) -> None:
    matter.refused(Conflict, OPERATOR, "withdraw_unit", "No share", unit=tiny.WATER, reason="x")
    assert not matter.offered(OPERATOR) & {"withdraw_unit", "replace_unit", "share_rework"}
    matter.take(OPERATOR, "add_unit", **JOIN)
    matter.refused(Invalid, OPERATOR, "withdraw_unit", "no share", unit=tiny.POLICE, reason="x")
    matter.refused(Invalid, OPERATOR, "withdraw_unit", "no share", unit=tiny.STREETS, reason="the lead is no share")


def test_assisting_units_are_named_with_the_dispatch_and_told(book: Rulebook) -> None:
    matter = Matter(book, unit=None)
    matter.refused(Invalid, OPERATOR, "dispatch", unit=tiny.STREETS, assist=[tiny.WATER, tiny.STREETS])
    matter.take(OPERATOR, "dispatch", unit=tiny.STREETS, assist=[tiny.WATER, tiny.POLICE, tiny.WATER])
    assert set(shares(matter)) == {tiny.STREETS, tiny.WATER, tiny.POLICE}
    told = [m["payload"]["share"] for m in matter.table("outbox") if m["topic"] == "share.assigned"]
    assert sorted(told) == sorted([tiny.WATER, tiny.POLICE])


def test_share_is_answered_while_the_case_is_paused_for_its_clock_runs(matter: Matter) -> None:
    matter.signed().take(STREETS, "add_unit", **JOIN).take(STREETS, "pause_ask", **PAUSE)
    matter.take(OPERATOR, "pause_grant").take(WATER, "share_sign").take(WATER, "share_reply", opinion="测毕")
    assert matter.state == "paused"


# Merging 并案.


def merged(book: Rulebook, *, main: Matter | None = None) -> tuple[Matter, Matter]:
    main, caller = main or Matter(book), Matter(book)
    caller.take(OPERATOR, "merge", main=main.number, **WHY)
    return main, caller


def test_one_handling_and_every_caller_answered_and_asked(book: Rulebook) -> None:
    main, caller = merged(book)
    also = merged(book, main=main)[1]
    assert (caller.state, caller.row["unit_code"], set(caller.clocks())) == ("merged", tiny.STREETS, {"reply"})
    started = caller.clocks()["reply"]["started_at"]
    assert started == caller.row["received_at"], "merging resets no limit"
    main.replied(answer="井盖已更换。")
    for one in (caller, also):
        assert (one.state, one.row["answer"], one.row["merged_into"]) == ("replied", "井盖已更换。", None)
        assert set(one.clocks()) == {"callback"}
        assert one.last()["actor_role"] == "system"
        assert any(m["topic"] == "citizen.reply" for m in one.table("outbox"))
    main.take(OPERATOR, "callback", satisfaction="5")
    caller.take(CITIZEN, "callback", satisfaction="4")
    also.take(CITIZEN, "rework", satisfaction="1", reason="我家门口的没换")
    assert (also.state, also.row["unit_code"], shares(also)) == (
        "signed",
        tiny.STREETS,
        {tiny.STREETS: "signed"},
    ), "the unit of the main case has a share in its rework"
    also.take(STREETS, "reply", **reply_fields())
    for one in (main, caller, also):
        assert verify(tiny.DISTRICT, one.id, one.table("entry"), head=one.row["head_hash"]) is None


def test_merged_case_follows_its_main_case_and_its_clock_measures_that_unit(book: Rulebook) -> None:
    main, caller = merged(book)
    lines = caller.row["entries"]
    main.take(OPERATOR, "note", note="与本案无关的备注").signed()
    assert caller.row["entries"] == lines, "nothing follows where the unit stays"
    main.take(OPERATOR, "redispatch", unit=tiny.WATER, reason="供水管")
    assert (caller.row["unit_code"], caller.clocks()["reply"]["unit_code"]) == (tiny.WATER, tiny.WATER)
    main.take(WATER, "return", **RETURN)
    assert (caller.row["unit_code"], caller.clocks()["reply"]["unit_code"]) == (None, None)


def test_unit_answers_callers_whom_it_may_not_see(book: Rulebook) -> None:
    """A unit's row policy knows its own cases only; the program answers the others in the same transaction."""
    main, caller = merged(book)
    set_column(caller, unit_codes=[])
    set_column(caller, unit_code=None)
    with pytest.raises(NotFound):
        caller.take(STREETS, "note", note="?")
    main.replied()
    assert caller.state == "replied"


def test_citizen_who_takes_the_main_case_back_leaves_the_other_callers_to_be_handled(book: Rulebook) -> None:
    main, caller = merged(book)
    main.take(CITIZEN, "withdraw", reason="不追究了")
    assert (caller.state, caller.row["merged_into"], caller.row["unit_code"]) == ("received", None, None)
    assert set(caller.clocks()) == {"reply", "dispatch"}
    caller.take(OPERATOR, "dispatch", unit=tiny.STREETS)


def test_caller_who_withdraws_leaves_the_merge_and_does_not_hold_the_answer_up(book: Rulebook) -> None:
    main, caller = merged(book)
    caller.take(CITIZEN, "withdraw", reason="已自行解决")
    assert caller.row["merged_into"] is None
    main.replied()
    assert caller.state == "withdrawn"


def test_merge_that_was_wrong_is_undone(book: Rulebook) -> None:
    main, caller = merged(book)
    caller.refused(Invalid, OPERATOR, "unmerge", "is needed")
    caller.take(SUPERVISOR, "unmerge", reason="不是同一处", note="现场核实")
    assert (caller.state, caller.row["merged_into"]) == ("received", None)
    main.replied()
    assert caller.state == "received"


def test_merges_that_make_no_sense_are_refused_whole(book: Rulebook) -> None:
    main, caller = merged(book)
    other, answered, ended, earlier = Matter(book), Matter(book).replied(), Matter(book), Matter(book)
    ended.take(CITIZEN, "withdraw", reason="不用了")
    set_column(earlier, process="patrol")
    tries: list[tuple[Matter, str, type[WanggeError], str]] = [
        (other, other.number, Invalid, "into itself"),
        (other, caller.number, Conflict, "cannot take others in"),
        (other, answered.number, Conflict, "cannot take others in"),
        (other, ended.number, Conflict, "cannot take others in"),
        (other, earlier.number, Invalid, "same process"),
        (other, "20261121000000X", Invalid, "no case with the number"),
        (other, "'; DROP TABLE", Invalid, "no case with the number"),
        (other, " ", Invalid, "is needed"),
        (main, other.number, Conflict, "were merged into this one"),
        (caller, other.number, Conflict, "not possible there"),
    ]
    for one, number, error, words in tries:
        one.refused(error, OPERATOR, "merge", words, main=number, also=(main, caller, other, answered), **WHY)
    for who in (STREETS, CITIZEN, GRID):
        other.refused(Forbidden, who, "merge", main=main.number, **WHY)
    # No table of this version exists; nobody after this test should meet it.
    set_column(earlier, process="complaint")


def test_case_of_another_district_cannot_be_merged_into(book: Rulebook) -> None:
    from core.db import transaction
    from tests.builders import make_case

    with transaction(program("990450")) as session:
        number = make_case(session, district="990450", lng=None, town_code=None).number
    Matter(book).refused(Invalid, OPERATOR, "merge", "no case with the number", main=number, **WHY)


def test_two_cases_merged_into_each_other_at_once_end_with_one_main_case(book: Rulebook) -> None:
    one, two = Matter(book), Matter(book)
    gate = threading.Barrier(2)

    def merge(pair: tuple[Matter, Matter]) -> str:
        gate.wait()
        try:
            pair[0].take(OPERATOR, "merge", version=1, main=pair[1].number, **WHY)
        except Conflict:
            return "conflict"
        return "done"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(merge, [(one, two), (two, one)])) == ["conflict", "done"]
    assert sorted((one.state, two.state)) == ["dispatched", "merged"]


def test_supervision_and_ruling_of_a_merged_case(book: Rulebook) -> None:
    main, caller = Matter(book), Matter(book)
    caller.take(SUPERVISOR, "supervise", demand="限期")
    caller.take(OPERATOR, "merge", main=main.number, **WHY)
    main.take(OPERATOR, "redispatch", unit=tiny.WEST_OFFICE, reason="属地")
    assert caller.clocks()["supervise"]["unit_code"] == tiny.WEST_OFFICE
    caller.take(OFFICE, "supervise_reply", supervise_answer="随主案办理")
    caller.take(SUPERVISOR, "supervise_close", ruling="销号")


def test_unit_with_no_share_and_unit_whose_share_has_ended_do_nothing(matter: Matter) -> None:
    matter.signed()
    matter.refused(NotFound, CENTRE, "share_sign")
    matter.take(OPERATOR, "add_unit", **JOIN).take(OPERATOR, "withdraw_unit", unit=tiny.WATER, reason="误派")
    assert matter.offered(WATER) == {"note"}
    matter.refused(Forbidden, WATER, "share_sign")

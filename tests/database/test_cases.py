"""The life of a complaint in the database: one door, one version, honest clocks, a log that nobody rewrites."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from core.actor import Actor, Role, citizen
from core.db import rows, snapshot, transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch.cases import act
from dispatch.log import verify
from dispatch.models import Case
from dispatch.numbers import Numbers
from dispatch.opening import NewCase, Opened, Placed, open_now
from dispatch.rulebook import Rulebook, read_rulebook
from tests import tiny
from tests.builders import program, reply_fields

pytestmark = pytest.mark.database

#: Saturday 21 November 2026, 10:00 in China.
AT = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
OPERATOR = Actor(None, "李四", Role.OPERATOR, tiny.DISTRICT)
STREETS = Actor(None, "王五", Role.UNIT, tiny.DISTRICT, unit=tiny.STREETS)
WATER = Actor(None, "赵六", Role.UNIT, tiny.DISTRICT, unit=tiny.WATER)
SUPERVISOR = Actor(None, "孙八", Role.SUPERVISOR, tiny.DISTRICT)


@pytest.fixture(scope="module")
def book(district: tiny.Tiny) -> Rulebook:
    with snapshot(program(tiny.DISTRICT)) as session:
        return read_rulebook(session, tiny.DISTRICT)


def open_one(book: Rulebook, *, at: datetime = AT, unit: str | None = tiny.STREETS, **known: Any) -> Opened:
    lng, lat = tiny.Tiny().in_west
    place = Placed(lng, lat, 30, 0.9, "滨湖路", "geocoder", "CGCS2000", lng, lat, tiny.WEST, tiny.WEST + "001", None)
    decision = book.routing.assign("1001", (tiny.WEST,), at) if unit else None
    if decision and decision.unit != unit:
        pytest.fail(f"the tiny district sends this to {decision.unit}")
    new = NewCase(
        channel=known.pop("channel", "web"),
        text="滨湖路垃圾没人清运",
        reported_at=known.pop("reported_at", at),
        received_at=at,
        actor=citizen(tiny.DISTRICT),
        number=Numbers(tiny.DISTRICT).take(at),
        kind=known.pop("kind", "complaint"),
        urgency=known.pop("urgency", "ordinary"),
        category_code="1001",
        category_confidence=0.9,
        place=place,
        decision=decision,
        **known,
    )
    return open_now(book, new)


def do(book: Rulebook, who: Actor, case: Opened, action: str, version: int, *, at: datetime = AT, **fields: Any) -> int:
    with transaction(who) as session:
        return act(session, book, case.case_id, action, expected_version=version, at=at, fields=fields).version


def under(case: Opened, version: int) -> None:
    """Put a new case under an earlier version of its process."""
    change = text("UPDATE cases SET process_version = :v WHERE district_code = :d AND id = :c")
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(change, {"v": version, "d": tiny.DISTRICT, "c": case.case_id})


def whole(case: Opened) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    key = {"d": tiny.DISTRICT, "c": case.case_id}
    with snapshot(program(tiny.DISTRICT)) as session:
        entries = rows(session, "SELECT * FROM entry WHERE district_code = :d AND case_id = :c ORDER BY seq", **key)
        clocks = rows(session, "SELECT * FROM deadline WHERE district_code = :d AND case_id = :c ORDER BY id", **key)
        row = rows(session, "SELECT * FROM cases WHERE district_code = :d AND id = :c", **key)[0]
    return [dict(e) for e in entries], [dict(c) for c in clocks], dict(row)


def test_complaint_goes_from_intake_to_closed_and_its_chain_holds(book: Rulebook) -> None:
    case = open_one(book)
    assert (case.state, case.unit_code) == ("dispatched", tiny.STREETS)
    version = do(book, STREETS, case, "sign", 1)
    version = do(book, STREETS, case, "reply", version, **reply_fields(answer="已清运。"))
    do(book, OPERATOR, case, "callback", version, satisfaction="5")
    entries, clocks, row = whole(case)
    assert [e["action"] for e in entries] == ["receive", "dispatch", "sign", "reply", "callback"]
    assert verify(tiny.DISTRICT, case.case_id, entries, head=row["head_hash"]) is None
    assert (row["state"], row["open"], row["satisfaction"], row["due_at"]) == ("closed", False, 5, None)
    assert {c["clock"]: c["outcome"] for c in clocks} == {"sign": "met", "reply": "met", "callback": "met"}


def test_reply_clock_starts_at_intake_and_neither_signing_nor_returning_moves_it(book: Rulebook) -> None:
    case = open_one(book)
    late = AT + timedelta(days=2, hours=3)
    do(book, STREETS, case, "sign", 1, at=late)
    do(
        book,
        STREETS,
        case,
        "return",
        2,
        at=late,
        reason_code="not_our_duty",
        legal_basis="职责清单第三条",
        reason="不属我局",
    )
    do(book, OPERATOR, case, "dispatch", 3, at=late, unit=tiny.WATER)
    _, clocks, _ = whole(case)
    replies = [c for c in clocks if c["clock"] == "reply"]
    assert len(replies) == 1
    assert (replies[0]["started_at"], replies[0]["unit_code"], replies[0]["outcome"]) == (AT, tiny.WATER, None)


def test_stale_page_changes_nothing(book: Rulebook) -> None:
    case = open_one(book)
    do(book, STREETS, case, "sign", 1)
    with pytest.raises(Conflict):
        do(book, STREETS, case, "reply", 1, **reply_fields(answer="迟到的页面"))
    entries, _, row = whole(case)
    assert (len(entries), row["version"], row["answer"]) == (3, 2, None)


def test_two_at_once_give_one_success_and_one_conflict(book: Rulebook) -> None:
    case = open_one(book)
    gate = threading.Barrier(4)

    def sign(_: int) -> str:
        gate.wait()
        try:
            do(book, STREETS, case, "sign", 1)
        except Conflict:
            return "conflict"
        return "done"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(sign, range(4))) == ["conflict"] * 3 + ["done"]
    assert len(whole(case)[0]) == 3


def test_unit_cannot_close_its_own_case(book: Rulebook) -> None:
    case = open_one(book)
    do(book, STREETS, case, "sign", 1)
    do(book, STREETS, case, "reply", 2, **reply_fields(answer="好了"))
    for action in ("close", "callback", "rework"):
        with pytest.raises(Forbidden):
            do(book, STREETS, case, action, 3, satisfaction="5", reason="x")


def test_unit_does_not_even_see_the_case_of_another(book: Rulebook) -> None:
    case = open_one(book)
    with pytest.raises(NotFound):
        do(book, WATER, case, "sign", 1)


def test_unit_that_lost_a_case_may_look_and_not_act(book: Rulebook) -> None:
    case = open_one(book)
    do(book, OPERATOR, case, "redispatch", 1, unit=tiny.WATER, reason="供水管道")
    with pytest.raises(Forbidden):
        do(book, STREETS, case, "sign", 2)
    with transaction(STREETS) as session:
        assert session.scalar(select(Case.unit_code).where(Case.id == case.case_id)) == tiny.WATER


RETURN = {"reason_code": "not_our_duty", "legal_basis": "职责清单", "reason": "不属我局"}


def test_third_return_is_refused_and_the_arbiter_is_asked(book: Rulebook) -> None:
    case, version = open_one(book), 1
    office = Actor(None, "钱七", Role.UNIT, tiny.DISTRICT, unit=tiny.WEST_OFFICE)
    for unit, following in ((STREETS, tiny.WATER), (WATER, tiny.WEST_OFFICE)):
        version = do(book, unit, case, "return", version, **RETURN)
        version = do(book, OPERATOR, case, "dispatch", version, unit=following)
    with pytest.raises(Conflict, match="2 times already"):
        do(book, office, case, "return", version, **RETURN)
    assert whole(case)[2]["returns"] == 2
    do(book, office, case, "dispute", version, **RETURN)
    assert whole(case)[2]["state"] == "disputed"


def test_unit_does_not_get_back_what_it_returned_unless_the_supervisor_says_so(book: Rulebook) -> None:
    """踢皮球: units must not play a case to each other over the desk."""
    case, version = open_one(book), 1
    version = do(book, STREETS, case, "return", version, **RETURN)
    with pytest.raises(Conflict, match="returned this case already"):
        do(book, OPERATOR, case, "dispatch", version, unit=tiny.STREETS)
    version = do(book, OPERATOR, case, "dispatch", version, unit=tiny.WATER)
    with pytest.raises(Conflict, match="returned this case already"):
        do(book, OPERATOR, case, "redispatch", version, unit=tiny.STREETS, reason="原单位")
    do(book, SUPERVISOR, case, "redispatch", version, unit=tiny.STREETS, reason="督查核定")
    assert whole(case)[2]["unit_code"] == tiny.STREETS


def test_case_of_the_first_version_ends_under_the_first_version(book: Rulebook) -> None:
    """A table in use is never changed: no closing form, no arbiter, and a unit may get back what it returned."""
    case, version = open_one(book), 1
    under(case, 1)
    for _ in range(2):
        version = do(book, STREETS, case, "return", version, **RETURN)
        version = do(book, OPERATOR, case, "dispatch", version, unit=tiny.STREETS)
    for action in ("return", "dispute"):
        with pytest.raises((Conflict, NotFound)):
            do(book, STREETS, case, action, version, **RETURN)
    version = do(book, STREETS, case, "sign", version)
    version = do(book, STREETS, case, "reply", version, answer="已清运。")
    do(book, OPERATOR, case, "callback", version, satisfaction="5")
    entries, clocks, row = whole(case)
    assert verify(tiny.DISTRICT, case.case_id, entries, head=row["head_hash"]) is None
    assert (row["state"], row["process_version"], row["due_at"]) == ("closed", 1, None)
    assert all(c["stopped_at"] for c in clocks)


def test_place_category_and_unit_in_one_save_route_once(book: Rulebook) -> None:
    case = open_one(book, unit=None)
    lng, lat = tiny.Tiny().in_east
    version = do(
        book,
        OPERATOR,
        case,
        "correct",
        1,
        category="2002",
        lng=lng,
        lat=lat,
        datum="WGS84",
        urgency="utilities",
        unit=tiny.WATER,
    )
    entries, clocks, row = whole(case)
    assert version == 2
    assert [e["action"] for e in entries] == ["receive", "correct", "dispatch"]
    assert (row["town_code"], row["category_code"], row["unit_code"]) == (tiny.EAST, "2002", tiny.WATER)
    assert row["cell_code"].startswith(tiny.EAST)
    assert {c["clock"]: c["limit"] for c in clocks}["dispatch"] == "2h"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"category": "9999"}, "no category"),
        ({"unit": "nobody"}, "no unit"),
        ({"lng": 23.0, "lat": 113.0, "datum": "WGS84"}, "swapped"),
        ({"lng": 113.005, "lat": 23.005}, "datum"),
        ({"lng": 116.4, "lat": 39.9, "datum": "WGS84"}, "outside the district"),
        ({"colour": "red"}, "no field"),
        ({"urgency": "soon"}, "not among the choices"),
        ({}, "Nothing was changed"),
    ],
)
def test_wrong_correction_is_refused_whole(book: Rulebook, fields: dict[str, Any], message: str) -> None:
    case = open_one(book, unit=None)
    with pytest.raises(Invalid) as refused:
        do(book, OPERATOR, case, "correct", 1, **fields)
    assert message in str(refused.value)
    assert whole(case)[2]["version"] == 1


def test_repeated_report_is_one_case(book: Rulebook) -> None:
    key = uuid.uuid4().hex
    first = open_one(book, idempotency_key=key)
    again = open_one(book, idempotency_key=key)
    assert again.repeated
    assert (again.case_id, again.number) == (first.case_id, first.number)
    same = open_one(book, channel="weibo", source_id=key)
    assert open_one(book, channel="weibo", source_id=key).case_id == same.case_id


def test_repetition_answers_with_its_own_case_and_no_other(book: Rulebook) -> None:
    """The same id in another channel is another report, and either of key and id finds the earlier case."""
    same_id, key = uuid.uuid4().hex, uuid.uuid4().hex
    call = open_one(book, channel="hotline", source_id=same_id)
    post = open_one(book, channel="weibo", source_id=same_id, idempotency_key=key)
    assert not post.repeated
    assert open_one(book, channel="weibo", source_id=same_id).case_id == post.case_id
    assert open_one(book, channel="hotline", source_id=same_id).case_id == call.case_id
    assert open_one(book, channel="weibo", source_id=same_id, idempotency_key=uuid.uuid4().hex).case_id == post.case_id
    assert open_one(book, channel="web", idempotency_key=key).case_id == post.case_id


def test_handled_first_and_recorded_later_is_flagged(book: Rulebook) -> None:
    case = open_one(book, reported_at=AT - timedelta(hours=2))
    assert [e["late"] for e in whole(case)[0]] == [True, False]


def test_nothing_can_be_recorded_before_it_happened(book: Rulebook) -> None:
    case = open_one(book)
    with pytest.raises(Invalid), transaction(STREETS) as session:
        act(session, book, case.case_id, "sign", expected_version=1, at=AT, happened_at=AT + timedelta(minutes=1))


@pytest.mark.parametrize("table", ["entry", "disclosure", "deadline_change"])
@pytest.mark.parametrize("change", ["UPDATE {t} SET district_code = district_code", "DELETE FROM {t}", "TRUNCATE {t}"])
def test_program_cannot_rewrite_the_log(book: Rulebook, table: str, change: str) -> None:
    open_one(book)
    with pytest.raises(ProgrammingError), transaction(program(tiny.DISTRICT)) as session:
        session.execute(text(change.format(t=table)))


def test_even_the_owner_cannot_rewrite_the_log(book: Rulebook) -> None:
    from core.db import make_engine
    from core.settings import settings

    case = open_one(book)
    owner = make_engine(settings().owner_url, pool_size=1)
    for change in ("UPDATE entry SET actor_name = 'x'", "DELETE FROM entry", "TRUNCATE entry"):
        with pytest.raises((IntegrityError, DBAPIError)), owner.begin() as link:
            link.execute(text(change))
    owner.dispose()
    assert whole(case)[0][0]["actor_name"] == "市民"


def test_forged_entry_is_found_and_named(book: Rulebook) -> None:
    case = open_one(book)
    entries, _, row = whole(case)
    forged = [dict(entries[0], actor_name="别人"), entries[1]]
    broken = verify(tiny.DISTRICT, case.case_id, forged, head=row["head_hash"])
    assert broken is not None
    assert (broken.seq, broken.what) == (1, "content")
    missing = verify(tiny.DISTRICT, case.case_id, entries[:1], head=row["head_hash"])
    assert missing is not None
    assert missing.what == "head"

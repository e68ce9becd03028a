"""One statement reads what hangs on a case and one writes what an action changed; neither sees more than the actor."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from core import batch, db
from core.db import ask, snapshot, transaction
from core.errors import Conflict, NotFound
from dispatch.cases import locked, offered
from dispatch.guards import _HANGS_ON
from dispatch.models import Assignment, Case, Deadline, Entry
from dispatch.rulebook import Rulebook, read_rulebook
from tests import tiny
from tests.builders import program
from tests.database import roads
from tests.database.roads import Matter

pytestmark = pytest.mark.database


@pytest.fixture(scope="module")
def book(district: tiny.Tiny) -> Rulebook:
    with snapshot(program(tiny.DISTRICT)) as session:
        return read_rulebook(session, tiny.DISTRICT)


def pinned(session: Session) -> str:
    return session.scalar(text("SELECT current_setting('wangge.case', true)")) or ""


def test_case_is_pinned_only_once_its_row_was_seen_and_so_never_for_a_unit_that_has_no_share(book: Rulebook) -> None:
    matter = Matter(book)
    with snapshot(roads.WATER) as session:
        with pytest.raises(NotFound):
            offered(session, book, matter.id, at=matter.at)
        assert pinned(session) == ""
    with snapshot(roads.STREETS) as session:
        assert offered(session, book, matter.id, at=matter.at)
        assert pinned(session) == str(matter.id)
        [(shares, clocks, counts)] = ask(session, _HANGS_ON, (tiny.DISTRICT, matter.id))
    assert [one["unit_code"] for one in shares] == [tiny.STREETS]
    assert {one["clock"] for one in clocks} == {name for name, row in matter.clocks().items() if not row["stopped_at"]}
    # The log is read by those who pinned the case, and it is read after the pin.
    assert sum(one["n"] for one in counts) == len(matter.table("entry"))


def test_rows_read_at_once_are_what_the_orm_reads(book: Rulebook) -> None:
    matter = Matter(book)
    with snapshot(program(tiny.DISTRICT)) as session:
        theirs = session.get_one(Case, (tiny.DISTRICT, matter.id))
        known = {c.key: getattr(theirs, c.key) for c in Case.__table__.c}
        [(_, clocks, _)] = ask(session, _HANGS_ON, (tiny.DISTRICT, matter.id))
        deadlines = {
            one.id: {c.key: getattr(one, c.key) for c in Deadline.__table__.c}
            for one in session.query(Deadline).filter_by(case_id=matter.id)
        }
    with snapshot(program(tiny.DISTRICT)) as session:
        mine = batch.find(session, Case, "district_code = $1::text AND id = $2::uuid", tiny.DISTRICT, matter.id)
        assert {c.key: getattr(mine, c.key) for c in Case.__table__.c} == known
        found = batch.parsed(session, Deadline, clocks)
        assert {one.id: {c.key: getattr(one, c.key) for c in Deadline.__table__.c} for one in found} == deadlines
        assert not session.dirty
        assert not session.new


def test_what_is_written_at_once_is_there_for_whoever_asks_the_object_again(book: Rulebook) -> None:
    matter = Matter(book)
    with transaction(program(tiny.DISTRICT)) as session:
        case = locked(session, tiny.DISTRICT, matter.id)
        before = case.version
        session.execute(text("UPDATE cases SET version = version + 1 WHERE id = :c AND district_code = :d"), matter.key)
        case.answer, case.suggestions = "已处理", {"said": ["一"]}
        batch.write(session)
        assert (case.answer, case.suggestions, case.version) == ("已处理", {"said": ["一"]}, before + 1)
    assert matter.row["suggestions"] == {"said": ["一"]}


def test_row_that_is_gone_from_the_actors_sight_is_no_silent_loss(book: Rulebook) -> None:
    matter = Matter(book)
    before = matter.everything()
    with pytest.raises(Conflict, match="same moment"), transaction(program(tiny.DISTRICT)) as session:  # noqa: PT012  the last line raises
        case = locked(session, tiny.DISTRICT, matter.id)
        case.answer = "已处理"
        db._enter(session, roads.WATER, read_only=False)
        batch.write(session)
    assert matter.everything() == before


def test_write_that_is_undone_leaves_no_object_that_says_otherwise(book: Rulebook) -> None:
    matter = Matter(book)
    with transaction(program(tiny.DISTRICT)) as session:
        case = locked(session, tiny.DISTRICT, matter.id)
        with pytest.raises(Conflict, match="undone"), session.begin_nested():  # noqa: PT012  the last line raises
            case.answer = "已处理"
            batch.write(session)
            raise Conflict("undone")
        assert case.answer is None
    assert matter.row["answer"] is None


def test_one_statement_takes_several_rows_of_several_tables(book: Rulebook) -> None:
    matter = Matter(book)
    rows = [
        {
            "district_code": tiny.DISTRICT,
            "case_id": matter.id,
            "seq": seq,
            "action": "note",
            "actor_name": "tests",
            "actor_role": "system",
            "happened_at": matter.at,
            "recorded_at": matter.at + timedelta(minutes=1),
            "late": False,
            "state_after": "dispatched",
            "data": {"note": "一"},
            "prev_hash": b"\x00",
            "hash": b"\x01",
        }
        for seq in (91, 92)
    ]
    with pytest.raises(Conflict, match="undone"), transaction(program(tiny.DISTRICT)) as session:  # noqa: PT012  the last line raises
        share = batch.parsed(session, Assignment, ask(session, _HANGS_ON, (tiny.DISTRICT, matter.id))[0][0])[0]
        case = locked(session, tiny.DISTRICT, matter.id)
        share.opinion, case.version = "同意", case.version + 1
        batch.write(session, [(Entry, row) for row in rows])
        kept = session.execute(
            text("SELECT seq, data FROM entry WHERE case_id = :c AND district_code = :d AND seq > 90 ORDER BY seq"),
            matter.key,
        ).all()
        assert [tuple(row) for row in kept] == [(91, {"note": "一"}), (92, {"note": "一"})]
        assert (share.opinion, case.version) == ("同意", 2)
        # Two entries that no chain holds are nothing to keep.
        raise Conflict("undone")

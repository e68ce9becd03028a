"""Reports that are written together: the same as one by one, all or none, and known to each other as twins."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from api import wiring
from core.db import make_engine, rows, snapshot
from core.errors import Unavailable
from dispatch.log import verify
from hotline.intake import Intake, Report
from tests import tiny
from tests.builders import program

pytestmark = pytest.mark.database

AT = datetime(2026, 5, 11, 2, 0, tzinfo=UTC)
SAID = "滨湖路18号门口的垃圾堆了三天没有人清运，臭味很大，请尽快处理。"


@pytest.fixture
def intake(district: tiny.Tiny) -> Intake:
    return wiring.intake(tiny.DISTRICT)


def report(key: str, text: str = SAID) -> Report:
    return Report("weibo", text, AT - timedelta(minutes=5), source_id=key)


def cases_of(*keys: str) -> list[dict[str, object]]:
    with snapshot(program(tiny.DISTRICT)) as session:
        found = rows(
            session,
            "SELECT c.*, r.source_id FROM cases AS c JOIN report AS r ON r.district_code = :d AND r.case_id = c.id "
            "WHERE c.district_code = :d AND r.source_id = ANY (:keys) ORDER BY r.source_id",
            d=tiny.DISTRICT,
            keys=list(keys),
        )
    return [dict(row) for row in found]


def test_what_is_written_together_is_what_one_by_one_would_be(intake: Intake) -> None:
    texts = {"t1": SAID, "t2": "临江街道青石街8号的井盖坏了", "t3": "没有说在哪里"}
    begun = []
    for key, text in texts.items():
        made = report(key, text)
        begun.append(intake.begin(made, intake.understand(made), actor=program(tiny.DISTRICT), at=AT))
    receipts = intake.finish(begun)
    single = intake.receive(report("t0", "没有说在哪里，也是"), actor=program(tiny.DISTRICT), at=AT)
    assert [one.repeated for one in receipts] == [False] * 3
    kept = cases_of(*texts)
    assert [row["id"] for row in kept] == [one.case_id for one in receipts]
    assert [row["number"] for row in kept] == [one.number for one in receipts]
    with snapshot(program(tiny.DISTRICT)) as session:
        for row in [*kept, *cases_of("t0")]:
            log = rows(
                session,
                "SELECT * FROM entry WHERE district_code = :d AND case_id = :c ORDER BY seq",
                d=tiny.DISTRICT,
                c=row["id"],
            )
            assert verify(tiny.DISTRICT, row["id"], log, head=row["head_hash"]) is None  # type: ignore[arg-type]  # a row
            clocks = rows(
                session,
                "SELECT clock FROM deadline WHERE district_code = :d AND case_id = :c",
                d=tiny.DISTRICT,
                c=row["id"],
            )
            told = rows(
                session,
                "SELECT topic FROM outbox WHERE district_code = :d AND case_id = :c",
                d=tiny.DISTRICT,
                c=row["id"],
            )
            assert clocks
            assert "case.opened" in [one["topic"] for one in told]
    assert single.state == receipts[2].state


def test_whoever_says_the_same_in_one_batch_is_found_as_a_twin(intake: Intake) -> None:
    first, second = report("w1"), report("w2", SAID.replace("请尽快处理", "请赶快处理"))
    begun = [intake.begin(first, intake.understand(first), actor=program(tiny.DISTRICT), at=AT)]
    known = intake.understand(second)
    assert str(begun[0].prepared.opened.case_id) in [str(twin.case_id) for twin in known.twins]
    begun.append(intake.begin(second, known, actor=program(tiny.DISTRICT), at=AT))
    assert [one.state for one in intake.finish(begun)][1] == "received", "a person decides about the second"


def test_a_repetition_in_the_batch_answers_the_case_that_is_there_and_leaves_no_shadow(intake: Intake) -> None:
    before = intake.receive(report("r1"), actor=program(tiny.DISTRICT), at=AT)
    size = len(intake.twins)
    made = [report("r1"), report("r2", "临江街道青石街38号的路灯不亮")]
    begun = [intake.begin(one, intake.understand(one), actor=program(tiny.DISTRICT), at=AT) for one in made]
    again, new = intake.finish(begun)
    assert (again.repeated, again.case_id, again.number) == (True, before.case_id, before.number)
    assert not new.repeated
    assert len(cases_of("r1", "r2")) == 2
    assert len(intake.twins) == size + 1


def test_where_the_database_is_away_nothing_is_written_and_nobody_repeats_what_is_not_there(intake: Intake) -> None:
    away = make_engine("postgresql+psycopg://nobody@127.0.0.1:9/nowhere", pool_size=1)
    size, made = len(intake.twins), [report("d1"), report("d2")]
    begun = [intake.begin(one, intake.understand(one), actor=program(tiny.DISTRICT), at=AT) for one in made]
    with pytest.raises(Unavailable):
        intake.finish(begun, bind=away)
    away.dispose()
    assert cases_of("d1", "d2") == []
    assert len(intake.twins) == size


def test_one_that_cannot_be_written_takes_the_whole_batch_back(intake: Intake) -> None:
    size, made = len(intake.twins), [report("b1"), report("b2")]
    begun = [intake.begin(one, intake.understand(one), actor=program(tiny.DISTRICT), at=AT) for one in made]
    broken = begun[1].prepared
    begun[1] = replace(begun[1], prepared=replace(broken, values=[*broken.values[:-1], object]))
    with pytest.raises(Exception, match="adapt"):
        intake.finish(begun)
    assert cases_of("b1", "b2") == []
    assert len(intake.twins) == size

"""Learning from corrections: kept cases are never trained on, only a better model answers, and any choice is undone."""

import random
import uuid
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from api import worker
from core.actor import system
from core.db import snapshot, transaction
from core.errors import Conflict
from core.ids import new_id
from dispatch import jobs
from dispatch.rulebook import read_rulebook, revision
from grid.models import Category
from hotline import learning
from hotline.classify import SHIPPED, Classifier
from tests.builders import make_case, make_district

pytestmark = pytest.mark.database

AT = datetime(2027, 2, 1, 19, 20, tzinfo=UTC)
TREE = {
    "10": "市容环境",
    "1001": "垃圾清运",
    "1002": "占道经营",
    "20": "供水排水",
    "2001": "停水",
    "30": "噪声扰民",
    "3001": "施工噪声",
}
#: Invented sentences: what is said of each code. The deeper names themselves never stand in them.
SAID = {
    "1001": (("垃圾桶满溢", "厨余袋子堆着", "环卫车不来", "满地纸屑"), ("臭气熏人", "苍蝇很多", "没有人打扫")),
    "1002": (
        ("烧烤摊摆上人行道", "商铺货物堆到路上", "流动摊贩聚集", "桌椅占了盲道"),
        ("行人走不过去", "油烟很大", "天天这样"),
    ),
    "2001": (("水龙头不出水", "自来水断了", "水压太低", "蓄水池空了"), ("做饭都困难", "楼上没有水", "管道维修不通知")),
    "3001": (("打桩机整夜响", "挖掘机轰鸣", "混凝土搅拌声", "电钻声不停"), ("吵得睡不着", "凌晨还在响", "老人受不了")),
}
_codes = count(990300)
#: What is said twice word for word teaches nothing, so no two draws of a test are alike. Counted anew for each test: what
#: it draws, and which cases are kept for judging, is the same in whatever order the file runs.
_seeds = [count()]


@pytest.fixture
def code(database: str) -> str:
    """Make a district of its own: the tables of models only grow, so tests may not share one."""
    made, _seeds[0] = str(next(_codes)), count()
    with transaction(system(made, "tests")) as session:
        make_district(session, made)
        session.add_all(
            Category(
                district_code=made,
                code=one,
                name=name,
                parent_code=one[:2] if len(one) > 2 else None,
                level=len(one) // 2,
            )
            for one, name in TREE.items()
        )
    return made


def say(rng: random.Random, of: str) -> str:
    first, second = SAID[of]
    return f"{rng.choice('东西南北')}{rng.choice('门街苑坊')}{rng.randint(1, 99)}号{rng.choice(first)}，{rng.choice(second)}{rng.randint(1, 999)}"


def confirm(code: str, n: int = 400, *, wrongly: bool = False, **known: Any) -> None:
    """Write cases whose category an operator set; wrongly: drawn by lot, so that nothing can be learnt.

    Every fifth is kept by a hash of its id, which is drawn with the rest.
    """
    rng = random.Random(next(_seeds[0]))
    with transaction(system(code, "tests")) as session:
        for i in range(n):
            of = rng.choice(sorted(SAID))
            given = rng.choice(sorted(SAID)) if wrongly else of
            filled = {"category_code": given, "category_by": "operator"} | known
            key = uuid.UUID(int=rng.getrandbits(128), version=4)
            said = {"text": say(rng, of), "at": AT - timedelta(minutes=i)}
            make_case(session, district=code, id=key, lng=None, **(said | filled))


def learn(code: str, at: datetime = AT) -> learning.Made:
    return learning.learn(code, at=at, labelled=None, own=None)


def answering(code: str) -> Classifier:
    with snapshot(system(code, "tests")) as session:
        tree = learning.tree_of(read_rulebook(session, code))
        return learning.present(session, code, own=None, tree=tree)


def listed(code: str) -> list[learning.Version]:
    with snapshot(system(code, "tests")) as session:
        return learning.versions(session, code)


def test_a_better_model_answers_at_once_with_the_districts_own_names_and_deeper_codes(code: str) -> None:
    confirm(code)
    with snapshot(system(code, "tests")) as session:
        before = revision(session, code)
    made = learn(code)
    assert made.verdict == "better"
    assert made.comparison is not None
    assert made.comparison.candidate > 0.9 > made.comparison.present
    model = answering(code)
    assert model.version == made.name
    found = model.classify("北门12号厨余袋子堆着，苍蝇很多，垃圾桶满溢")
    assert (found.level1, found.categories[0].code) == ("市容环境", "1001")
    with snapshot(system(code, "tests")) as session:
        assert revision(session, code) == before + 1
    assert [one.in_use for one in listed(code)] == [True]


def test_a_model_that_is_not_better_is_listed_and_never_answers(code: str) -> None:
    confirm(code)
    first = learn(code)
    again = learn(code, AT + timedelta(days=1))
    assert again.verdict == "not better"
    assert again.comparison is not None
    assert again.comparison.chance > 0.05
    assert answering(code).version == first.name
    assert {one.verdict for one in listed(code)} == {"better", "not better"}
    with transaction(system(code, "tests")) as session:
        kept = session.execute(
            text("SELECT verdict, content IS NULL FROM model_version WHERE district_code = :d"), {"d": code}
        )
        assert {tuple(row) for row in kept} == {("better", False), ("not better", True)}


def test_labels_drawn_by_lot_teach_nothing(code: str) -> None:
    confirm(code, wrongly=True)
    assert learn(code).verdict in {"not better", "better"}
    found = listed(code)[0].figures
    assert found["candidate"] < 0.6


def test_too_few_lessons_train_nothing(code: str) -> None:
    confirm(code, 60)
    assert learn(code).verdict == "too few"
    assert listed(code) == []


def test_what_only_the_program_said_is_no_lesson(code: str) -> None:
    said: dict[str, Any] = {
        "suggestions": {"categories": [{"code": "1001"}]},
        "category_by": "model",
        "category_confidence": 1.0,
    }
    confirm(code, 5, **(said | {"category_code": "1001"}))
    confirm(code, 3, **(said | {"category_code": "2001"}))
    with snapshot(system(code, "tests")) as session:
        found = learning.lessons(session, learning.tree_of(read_rulebook(session, code)), code)
    # The operator chose another code than the model's while taking the call.
    assert [lesson.code for lesson in found] == ["2001"] * 3


def test_a_fifth_is_kept_by_a_hash_that_stays_and_reposts_go_with_the_first(code: str) -> None:
    confirm(code, 300)
    with snapshot(system(code, "tests")) as session:
        tree = learning.tree_of(read_rulebook(session, code))
        found = learning.lessons(session, tree, code)
    kept = [lesson for lesson in found if lesson.kept]
    assert 0.1 < len(kept) / len(found) < 0.3
    repost = learning.Lesson(new_id(), kept[0].matter, "不同的话", "1001", "市容环境")
    assert repost.kept
    fixed = uuid.UUID(int=7)
    assert learning.Lesson(fixed, fixed, "", "1001", "市容环境").kept is (
        learning.Lesson(new_id(), fixed, "x", "2001", "供水排水").kept
    )


def test_rollback_goes_back_one_model_at_a_time_and_the_night_does_not_undo_it(code: str) -> None:
    confirm(code)
    learn(code)
    with transaction(system(code, "tests")) as session:
        assert learning.rollback(session, code, at=AT, by="张工") == ""
    assert answering(code).version == Classifier.load(SHIPPED).version
    with transaction(system(code, "tests")) as session, pytest.raises(Conflict):
        learning.rollback(session, code, at=AT, by="张工")
    assert learn(code).verdict == "too few"
    confirm(code)
    assert learn(code).verdict == "better"


def test_damaged_bytes_leave_the_installations_model_answering(code: str) -> None:
    with transaction(system(code, "tests")) as session:
        version = learning.ModelVersion(
            district_code=code,
            id=new_id(),
            name="district-broken",
            made_at=AT,
            lessons=1,
            verdict="better",
            figures={},
            content=b"PK\x03\x04 half a file",
        )
        session.add(version)
        session.flush()
        learning._choose(session, code, version.id, at=AT, why="better")
    assert answering(code).version == Classifier.load(SHIPPED).version


def test_models_and_choices_only_grow(code: str) -> None:
    confirm(code)
    learn(code)
    for statement in ("UPDATE model_version SET verdict = 'better'", "DELETE FROM model_choice"):
        with pytest.raises(DBAPIError), transaction(system(code, "tests")) as session:
            session.execute(text(statement))


def test_another_district_sees_no_model(code: str) -> None:
    confirm(code)
    learn(code)
    with snapshot(system("990299", "tests")) as session:
        assert session.execute(text("SELECT count(*) FROM model_version")).scalar() == 0


def test_a_night_of_learning_is_a_job_that_ends_and_is_not_sliced(code: str) -> None:
    confirm(code, 30)
    made = worker.learn_in(code)
    assert made is not None
    assert made.verdict == "too few"
    with transaction(system(code, "tests")) as session:
        job = jobs.newest(session)[0]
        assert (job.kind, job.state, job.moved) == ("learn", "done", 0)
        jobs.queue(session, "learn", at=AT, why={})
        book = read_rulebook(session, code)
        assert jobs.work(session, book, at=AT + timedelta(hours=1)) is None
        taken = jobs.begin(session, "learn", at=AT, stale=timedelta(hours=1))
        assert taken is not None
        assert jobs.begin(session, "learn", at=AT, stale=timedelta(hours=1)) is None
        assert jobs.begin(session, "learn", at=AT + timedelta(hours=2), stale=timedelta(hours=1)) == taken


@pytest.mark.parametrize(("gained", "lost", "chance"), [(0, 0, 1.0), (5, 0, 1 / 32), (4, 1, 6 / 32), (1, 1, 0.75)])
def test_mcnemar_is_exact(gained: int, lost: int, chance: float) -> None:
    assert learning.mcnemar(gained, lost) == pytest.approx(chance)


def test_the_command_lists_models_and_takes_one_back(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from api import cli_hotline, wiring

    app = cli_hotline.app

    monkeypatch.setattr(wiring, "district", lambda: code)
    monkeypatch.setattr(wiring, "districts", lambda: [code])
    monkeypatch.setattr(wiring, "labelled_messages", lambda: None)
    confirm(code)
    run = CliRunner(env={"COLUMNS": "200"}).invoke
    learnt = run(app, ["learn"])
    assert learnt.exit_code == 0, learnt.output
    assert "better" in learnt.output
    assert "answers" in run(app, ["learn", "--list"]).output
    assert "installation" in run(app, ["learn", "--rollback"]).output
    assert "answers" not in run(app, ["learn", "--list"]).output
    assert isinstance(run(app, ["learn", "--rollback"]).exception, Conflict)

"""One press merges a hot matter: each caller keeps an answer, what cannot join stays as it was and says why."""

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from core.actor import Actor, Role
from core.db import snapshot, transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound, WanggeError
from core.ids import new_id
from dispatch.rulebook import Rulebook, read_rulebook
from hotline import hot_matters, hot_merging
from hotline.hot_matters import HotMatter, HotMember
from hotline.hot_merging import Result, Seen
from tests import tiny
from tests.builders import program
from tests.database.roads import OFFICE, OPERATOR, STREETS, SUPERVISOR, Matter, person, set_column
from tests.database.test_cases import AT

pytestmark = pytest.mark.database
WHY = "同一处夜宵摊"


@pytest.fixture(scope="module")
def book(district: tiny.Tiny) -> Rulebook:
    with snapshot(program(tiny.DISTRICT)) as session:
        return read_rulebook(session, tiny.DISTRICT)


def hot(*cases: Matter, state: str = "new") -> uuid.UUID:
    """Write a hot matter with these cases as its members."""
    key = new_id()
    with transaction(program(tiny.DISTRICT)) as session:
        session.add(
            HotMatter(
                district_code=tiny.DISTRICT,
                id=key,
                name="夜宵 油烟",
                words=[],
                urgency="ordinary",
                members=len(cases),
                reporters=len(cases),
                first_at=AT,
                last_at=AT,
                crossed_at=AT,
                why={},
                state=state,
                decisions=[],
            )
        )
        session.flush()
        session.add_all(
            HotMember(district_code=tiny.DISTRICT, case_id=one.id, hot_id=key, joined_at=AT) for one in cases
        )
    return key


def sight(case: Matter) -> Seen:
    return Seen(case.number, int(case.row["version"]))


def seen(*cases: Matter) -> list[Seen]:
    return [sight(one) for one in cases]


def pressed(  # what the form holds
    book: Rulebook,
    key: uuid.UUID,
    main: Seen,
    chosen: Sequence[Seen],
    *,
    who: Actor = OPERATOR,
    reason: str = WHY,
    version: int = 1,
) -> list[Result]:
    with transaction(who) as session:
        return hot_merging.merge(
            session,
            book,
            key,
            main=main,
            chosen=chosen,
            reason=reason,
            version=version,
            at=AT.replace(hour=AT.hour + 1),
        )


def planned(book: Rulebook, key: uuid.UUID, who: Actor = OPERATOR) -> hot_merging.Plan:
    with snapshot(who) as session:
        return hot_merging.plan(book, hot_matters.one(session, key, at=AT)[1], who.role)


def matter(key: uuid.UUID) -> hot_matters.Listed:
    with snapshot(OPERATOR) as session:
        return hot_matters.one(session, key, at=AT)[0]


def test_one_press_makes_one_handling_and_every_caller_is_answered_by_name(book: Rulebook) -> None:
    cases = [Matter(book) for _ in range(4)]
    key = hot(*cases)
    plan = planned(book, key)
    assert plan.main is not None
    assert plan.main.id == cases[0].id
    assert plan.joining == {one.id for one in cases[1:]}
    # The page ticks the main case too: it is the one that the others go into.
    results = pressed(book, key, sight(cases[0]), seen(*cases))
    assert [(one.number, one.problem) for one in results] == [(one.number, None) for one in cases[1:]]
    assert {one.state for one in cases[1:]} == {"merged"}
    assert cases[0].state == "dispatched"
    cases[0].later(hours=2).replied(STREETS, answer="夜宵摊已清走。")
    for one in cases[1:]:
        assert (one.state, one.row["answer"]) == ("replied", "夜宵摊已清走。")
        told = {row["topic"] for row in one.table("outbox")}
        assert "citizen.reply" in told, "each caller gets an answer of an own"
    for one in cases:
        one.later(hours=3).take(OPERATOR, "callback", satisfaction="5")
        assert one.state == "closed"
    said = matter(key).decisions
    assert [(one["state"], one["count"], one["main"], one["by"]) for one in said] == [
        ("merged", 3, cases[0].number, OPERATOR.name)
    ]


def test_what_cannot_join_is_left_out_with_its_reason_and_the_rest_is_merged(book: Rulebook) -> None:
    main, fresh, answered, away, other = (Matter(book) for _ in range(5))
    answered.replied()
    away.take(OPERATOR, "merge", main=other.number, reason=WHY)
    withdrawn = Matter(book).take(OPERATOR, "withdraw", reason="来电撤诉")
    paused = Matter(book)
    set_column(paused, state="paused")
    key = hot(main, fresh, answered, away, other, withdrawn, paused)
    plan = planned(book, key)
    assert plan.main is not None
    assert plan.main.id == other.id, "one that others are in already takes the rest in"
    assert plan.joining == {main.id, fresh.id}
    words = {key: str(why) for key, why in plan.left_out.items()}
    assert set(words) == {answered.id, away.id, withdrawn.id, paused.id}
    assert other.number in words[away.id]
    before = [one.everything() for one in (answered, away, withdrawn, paused)]
    results = pressed(book, key, sight(other), seen(main, fresh, answered, away, withdrawn, paused))
    assert [one.problem is None for one in results] == [True, True, False, False, False, False]
    assert [one.everything() for one in (answered, away, withdrawn, paused)] == before
    assert (main.state, fresh.state) == ("merged", "merged")
    assert planned(book, key).joining == set()


def test_a_case_that_went_on_since_the_page_was_drawn_is_left_out_as_it_is(book: Rulebook) -> None:
    main, stale, fresh = (Matter(book) for _ in range(3))
    key = hot(main, stale, fresh)
    chosen = seen(stale, fresh)
    stale.signed()
    results = pressed(book, key, sight(main), chosen)
    assert isinstance(results[0].problem, Conflict)
    assert results[1].problem is None
    assert (stale.state, fresh.state) == ("signed", "merged")


def test_nothing_at_all_is_done_where_the_main_case_or_the_matter_went_on(book: Rulebook) -> None:
    main, one, two = (Matter(book) for _ in range(3))
    key = hot(main, one, two)
    before_main = sight(main)
    main.signed()

    def refused(error: type[WanggeError], match: str, into: Seen, **more: object) -> None:
        before = [case.everything() for case in (main, one, two)]
        with pytest.raises(error, match=match):
            pressed(book, key, into, seen(one, two), **more)  # type: ignore[arg-type]
        assert [case.everything() for case in (main, one, two)] == before
        assert matter(key).decisions == []

    refused(Conflict, "nothing was merged", before_main)
    refused(Conflict, "at the same moment", sight(main), version=7)
    refused(Invalid, "reason", sight(main), reason=" ")
    refused(Invalid, "none of this matter", sight(Matter(book)))
    main.replied()
    refused(Conflict, "cannot take others in", sight(main))
    with pytest.raises(NotFound):
        pressed(book, new_id(), sight(main), seen(one))
    put_aside = hot(Matter(book), state="dismissed")
    with pytest.raises(Conflict, match="no matter"):
        pressed(book, put_aside, sight(main), seen(one))


def test_only_cases_of_the_matter_are_merged_and_not_too_many(book: Rulebook) -> None:
    main, inside, stranger = (Matter(book) for _ in range(3))
    key = hot(main, inside)
    with pytest.raises(Invalid, match="at least one"):
        pressed(book, key, sight(main), seen(main))
    with pytest.raises(Invalid, match="At most"):
        pressed(book, key, sight(main), [Seen(f"2026{n:09d}", 1) for n in range(hot_matters.MOST_MEMBERS + 1)])
    results = pressed(book, key, sight(main), seen(stranger, inside))
    assert isinstance(results[0].problem, NotFound)
    assert stranger.state == "dispatched"
    assert inside.state == "merged"


def test_who_may_not_merge_merges_nothing(book: Rulebook) -> None:
    main, one = Matter(book), Matter(book)
    key = hot(main, one)
    for who in (STREETS, OFFICE, person(Role.OFFICIAL, "区领导")):
        try:
            problems = [result.problem for result in pressed(book, key, sight(main), seen(one), who=who)]
        except WanggeError as error:
            problems = [error]
        assert all(isinstance(problem, NotFound | Forbidden | Invalid) for problem in problems), who.name
        assert one.state == "dispatched"
    elsewhere = person(Role.OPERATOR, "外镇话务", town="990100009")
    with pytest.raises((NotFound, Invalid)):
        pressed(book, key, sight(main), seen(one), who=elsewhere)
    assert pressed(book, key, sight(main), seen(one), who=SUPERVISOR)[0].problem is None


def test_two_who_press_at_once_merge_once(book: Rulebook) -> None:
    main, *others = (Matter(book) for _ in range(4))
    key = hot(main, *others)
    into, chosen = sight(main), seen(*others)

    def press(who: Actor) -> int:
        try:
            return sum(one.problem is None for one in pressed(book, key, into, chosen, who=who))
        except Conflict:
            return 0

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(press, (OPERATOR, SUPERVISOR))) == [0, 3]
    assert len(matter(key).decisions) == 1
    with snapshot(program(tiny.DISTRICT)) as session:
        steps = session.scalars(
            text("SELECT count(*) FROM entry WHERE district_code = :d AND action = 'merge' AND case_id = ANY (:ids)"),
            {"d": tiny.DISTRICT, "ids": [one.id for one in others]},
        ).one()
    assert steps == 3

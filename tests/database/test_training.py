"""Certificate before duty: papers drawn by lot, attempts that stay, certificates that expire and can be checked."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.errors import Conflict, Forbidden, Invalid, NotFound
from grid import appointing, duties, notices, training
from grid.duties import Charge, Handover, Holder
from grid.training import Submission
from grid.training_bank import parse, starter
from tests.builders import DISTRICT, NOW, actor, make_account, make_cell, program

pytestmark = pytest.mark.database

DAY = timedelta(days=1)
CELL = "990100001001001"
As = Callable[[Actor], Session]


@pytest.fixture
def worker(session: Session) -> Actor:
    make_cell(session, CELL)
    key = make_account(session, "wang", role="grid_worker", name="王试验", town_code="990100001")
    return Actor(key, "王试验", Role.GRID_WORKER, DISTRICT, town="990100001")


def answered(session: Session, duty: str, *, wrong: int = 0) -> Submission:
    """Answer the next paper of the session's actor, the first `wrong` questions wrongly."""
    paper = training.paper(session, duty)
    answers = {}
    for i, (question, letters) in enumerate(paper.questions):
        answers[question.id] = sorted(set(letters) - question.right) if i < wrong else sorted(question.right)
    return Submission(uuid.uuid4(), duty, paper.number, paper.digest, answers, NOW)


def passed(session: Session, who: Actor, duty: str, as_actor: As, *, at: datetime = NOW) -> str:
    as_actor(who)
    number = training.submit(session, answered(session, duty), at=at).certificate
    as_actor(program())
    assert number
    return number


def test_starter_content_covers_the_nine_duties_in_both_languages() -> None:
    assert set(starter()) == set(duties.DUTIES)
    for bank in starter().values():
        assert bank.starter
        assert len(bank.cards) >= 5
        assert len(bank.questions) >= 8
        assert {question.card for question in bank.questions} <= {card.id for card in bank.cards}


def test_the_same_paper_until_it_is_handed_in_and_another_after(session: Session, worker: Actor, as_actor: As) -> None:
    as_actor(worker)
    first = training.paper(session, "safety")
    assert first == training.paper(session, "safety")
    assert len(first.questions) == 6
    training.submit(session, answered(session, "safety", wrong=6), at=NOW)
    second = training.paper(session, "safety")
    assert second.number == 2
    assert second.questions != first.questions


def test_two_people_draw_different_papers(session: Session, worker: Actor, as_actor: As) -> None:
    drawn = set()
    for login in ("a", "b", "c"):
        key = make_account(session, f"lot{login}", role="grid_worker", town_code="990100001")
        as_actor(Actor(key, login, Role.GRID_WORKER, DISTRICT, town="990100001"))
        drawn.add(tuple((q.id, letters) for q, letters in training.paper(session, "census").questions))
        as_actor(program())
    assert len(drawn) > 1


def test_five_of_six_pass_and_four_do_not(session: Session, worker: Actor, as_actor: As) -> None:
    as_actor(worker)
    failed = training.submit(session, answered(session, "safety", wrong=2), at=NOW)
    assert (failed.passed, failed.right, failed.asked, failed.certificate) == (False, 4, 6, None)
    assert len(failed.wrong) == 2
    assert failed.cards
    done = training.submit(session, answered(session, "safety", wrong=1), at=NOW + DAY)
    assert done.passed
    assert done.certificate
    as_actor(program())
    assert training.certified(session, [worker.id], at=NOW + 2 * DAY) == {(worker.id, "safety")}


def test_a_paper_that_comes_twice_is_one_attempt(session: Session, worker: Actor, as_actor: As) -> None:
    as_actor(worker)
    given = answered(session, "market")
    first = training.submit(session, given, at=NOW)
    again = training.submit(session, given, at=NOW + DAY)
    assert again.repeated
    assert again.certificate == first.certificate
    assert len(training.attempts(session, worker.id)) == 1
    other = Submission(uuid.uuid4(), given.duty, given.number, given.digest, given.answers, NOW)
    with pytest.raises(Conflict, match="handed in already"):
        training.submit(session, other, at=NOW)


def test_what_a_phone_sends_is_suspected(session: Session, worker: Actor, as_actor: As) -> None:
    as_actor(worker)
    paper = training.paper(session, "market")
    sent = {"duty": "market", "number": paper.number, "digest": paper.digest, "answers": {}}
    question = paper.questions[0][0].id
    for change in (
        {"answers": {question: ["z"]}},
        {"answers": {question: 3}},
        {"answers": [1]},
        {"number": "1"},
        {"number": True},
        {"duty": "gardening"},
    ):
        with pytest.raises(Invalid):
            training.from_phone(session, sent | change, key=uuid.uuid4(), happened_at=NOW, at=NOW)
    done = training.from_phone(session, sent, key=uuid.uuid4(), happened_at=NOW + 30 * DAY, at=NOW)
    assert not done.passed
    (attempt,) = training.attempts(session, worker.id)
    assert attempt.happened_at == NOW, "nothing happens after it was recorded"


def test_after_three_tries_one_waits_for_tomorrow(session: Session, worker: Actor, as_actor: As) -> None:
    as_actor(worker)
    for _ in range(3):
        training.submit(session, answered(session, "labour", wrong=6), at=NOW)
    with pytest.raises(Invalid, match="attempts a day"):
        training.submit(session, answered(session, "labour"), at=NOW + DAY / 2)
    assert training.submit(session, answered(session, "labour"), at=NOW + DAY).passed


def test_attempts_and_certificates_are_not_rewritten(session: Session, worker: Actor, as_actor: As) -> None:
    number = passed(session, worker, "safety", as_actor)
    for change in (
        "UPDATE training_attempt SET passed = true WHERE district_code = :d",
        "DELETE FROM training_attempt WHERE district_code = :d",
        "DELETE FROM training_certificate WHERE district_code = :d",
        "UPDATE training_certificate SET expires_at = expires_at + interval '1 year' WHERE district_code = :d",
    ):
        with pytest.raises(DBAPIError), session.begin_nested():
            session.execute(text(change), {"d": DISTRICT})
    training.revoke(session, number, why="代考", at=NOW + DAY)
    with pytest.raises(Conflict):
        training.revoke(session, number, why="again", at=NOW + DAY)
    assert training.certified(session, [worker.id], at=NOW + DAY) == set()


def test_nobody_writes_an_own_certificate(session: Session, worker: Actor, as_actor: As) -> None:
    number = passed(session, worker, "safety", as_actor)
    as_actor(worker)
    with pytest.raises(DBAPIError, match="row-level security"), session.begin_nested():
        session.execute(
            text(
                "INSERT INTO training_certificate (district_code, number, check_code, account_id, duty, attempt_id,"
                " holder_name, issued_at, expires_at) SELECT district_code, '1', 'x', account_id, 'market', attempt_id,"
                " 'x', issued_at, expires_at FROM training_certificate WHERE district_code = :d AND number = :n"
            ),
            {"d": DISTRICT, "n": number},
        )
    with pytest.raises(Forbidden):
        training.revoke(session, number, why="x", at=NOW)


def test_anybody_checks_a_certificate_with_its_code_and_learns_the_masked_name(
    session: Session, worker: Actor, as_actor: As
) -> None:
    number = passed(session, worker, "safety", as_actor)
    code = training.certificate(session, number).check_code
    as_actor(actor(Role.CITIZEN))
    shown = training.verify(session, f" {number} ", code.lower(), at=NOW + DAY)
    assert (shown.masked_name, shown.duty, shown.state) == ("王**", "safety", "valid")
    assert training.verify(session, number, code, at=NOW + 366 * DAY).state == "expired"
    for wrong in ((number, "22222222"), ("2026", code), (number, "")):
        with pytest.raises(NotFound):
            training.verify(session, *wrong, at=NOW)


def test_a_duty_without_a_certificate_needs_a_reason_that_stays(session: Session, worker: Actor, as_actor: As) -> None:
    passed(session, worker, "safety", as_actor)
    plain = {"cells": [CELL], "holder": Holder(worker.id), "since": NOW + DAY}
    assert appointing.appoint(session, Charge(duties=["safety"], **plain), at=NOW + DAY) == 1
    with pytest.raises(Invalid) as caught:
        appointing.appoint(session, Charge(duties=["safety", "market"], **plain), at=NOW + DAY)
    assert caught.value.field == "exception"
    assert caught.value.params == {"n": 1}
    appointing.appoint(session, Charge(duties=["market"], exception="人手不足，下周考试", **plain), at=NOW + DAY)
    (owner,) = [o for o in duties.owners(session, [CELL], at=NOW + DAY) if o.duty == "market"]
    assert owner.exception == "人手不足，下周考试"


def test_both_are_told_of_a_handover(session: Session, worker: Actor, as_actor: As) -> None:
    li = make_account(session, "li", role="grid_worker", name="李试验", town_code="990100001")
    duties.assign(session, Charge([CELL], ["safety"], Holder(worker.id), NOW), at=NOW)
    order = Handover(worker.id, Holder(li), NOW, NOW + 7 * DAY, "病假")
    with pytest.raises(Invalid):
        appointing.hand_over(session, order, at=NOW)
    appointing.hand_over(session, Handover(worker.id, Holder(li), NOW, NOW + 7 * DAY, "病假", exception="急"), at=NOW)
    for _ in range(2):
        appointing.tell_of_ends(session, at=NOW + 7 * DAY)
    as_actor(worker)
    back, told = notices.mine(session)
    assert (told.kind, told.params["name"], told.params["cells"]) == ("handed_over", "李试验", 1)
    assert back.kind == "handed_back"


def test_a_reminder_comes_once_before_the_end_and_not_after_a_renewal(
    session: Session, worker: Actor, as_actor: As
) -> None:
    passed(session, worker, "safety", as_actor)
    assert training.remind(session, at=NOW + 300 * DAY) == 0
    for _ in range(2):
        training.remind(session, at=NOW + 340 * DAY)
    as_actor(worker)
    assert [n.kind for n in notices.mine(session)] == ["certificate_ends"]
    as_actor(program())
    passed(session, worker, "safety", as_actor, at=NOW + 341 * DAY)
    assert training.remind(session, at=NOW + 342 * DAY) == 0


def test_a_districts_own_bank_replaces_the_starter_content_and_old_papers_are_refused(
    session: Session, worker: Actor, as_actor: As
) -> None:
    as_actor(worker)
    old = answered(session, "market")
    as_actor(program())
    own = parse(
        "duty: market\ncards: [{id: c, title: [卡, card], text: [字, words]}]\n"
        "questions: [{id: x, card: c, zh: 问, en: ask, options: [[是, yes], [否, no]], right: 1}]",
        file="own.yaml",
    )
    assert training.load_bank(session, own, at=NOW)
    assert not training.load_bank(session, own, at=NOW)
    as_actor(worker)
    with pytest.raises(Conflict, match="renewed"):
        training.submit(session, old, at=NOW)
    assert [q.id for q, _ in training.paper(session, "market").questions] == ["x"]


@pytest.mark.parametrize(
    "told",
    [
        "[",
        "duty: gardening",
        "duty: market\ncards: []\nquestions: []",
        "duty: market\ncards: [{id: c, title: [一], text: [字, words]}]\nquestions: []",
        (
            "duty: market\ncards: [{id: c, title: [卡, card], text: [字, words]}]\n"
            "questions: [{id: x, card: c, zh: 问, en: ask, options: [[是, yes], [否, no]], right: 3}]"
        ),
        (
            "duty: market\ncards: [{id: c, title: [卡, card], text: [字, words]}]\n"
            "questions: [{id: x, card: other, zh: 问, en: ask, options: [[是, yes], [否, no]], right: 1}]"
        ),
    ],
)
def test_a_bank_that_cannot_be_asked_from_is_refused(told: str) -> None:
    with pytest.raises(Invalid):
        parse(told, file="bank.yaml")

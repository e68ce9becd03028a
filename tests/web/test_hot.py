"""Hot matters through HTTP: seen beside the work, opened, decided with a reason; nobody else gets there."""

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from api import wiring, worker
from core.db import snapshot, transaction
from hotline import hot_matters
from tests import tiny
from tests.builders import make_case, program, put_away
from tests.unit.test_hot import NIGHT

pytestmark = pytest.mark.database


@pytest.fixture
def matter() -> str:
    """Let six people complain of a night market at a place of its own, and the worker look; returns the matter's id."""
    lng, at = 113.0 + uuid.uuid4().int % 9_000 / 10_000, wiring.now() - timedelta(minutes=20)
    with transaction(program(tiny.DISTRICT)) as session:
        cases = [
            make_case(
                session,
                district=tiny.DISTRICT,
                text=body,
                at=at + timedelta(minutes=n),
                phone=f"1380000{n:04d}",
                lng=lng,
                place_name="翠湖<b>花园",
                town_code=None,
            )
            for n, body in enumerate(NIGHT)
        ]
    # A worker goes on from the newest case that it saw, and these are as old as those of the test before.
    wiring.forget()
    worker.hot()
    with snapshot(program(tiny.DISTRICT)) as session:
        found = {one.id for one in hot_matters.listed(session, at=wiring.now())}
        kept = [session.get(hot_matters.HotMember, (tiny.DISTRICT, case.id)) for case in cases]
        assert all(one is not None and one.hot_id in found for one in kept)
        key = str(kept[0].hot_id)  # type: ignore[union-attr]
    with transaction(program(tiny.DISTRICT)) as session:
        put_away(session, tiny.DISTRICT)
    return key


def test_the_desk_and_supervision_see_it_beside_their_work(signed_in: Callable[[str], TestClient], matter: str) -> None:
    for login, face in (("operator", "/desk"), ("supervisor", "/supervise")):
        client = signed_in(login)
        assert 'hx-get="/hot/box"' in client.get(face).text
        shown = client.get("/hot/box").text
        assert f"/hot/{matter}" in shown
        assert "翠湖&lt;b&gt;花园" in shown
        assert client.get("/hot").status_code == 200


def test_one_matter_shows_its_cases_and_takes_a_decision_once(
    signed_in: Callable[[str], TestClient], matter: str
) -> None:
    client = signed_in("supervisor")
    page = client.get(f"/hot/{matter}")
    assert page.status_code == 200
    assert page.text.count("夜宵摊") >= 6
    sent = {"state": "dismissed", "version": "1"}
    assert client.post(f"/hot/{matter}", data=sent).status_code == 422, "without a reason"
    done = client.post(f"/hot/{matter}", data=sent | {"reason": "同一场婚宴"}, follow_redirects=True)
    assert "同一场婚宴" in done.text
    again = client.post(f"/hot/{matter}", data=sent | {"state": "watched", "reason": "再看看"})
    assert again.status_code == 409
    assert f"/hot/{matter}" not in client.get("/hot/box").text
    assert f"/hot/{matter}" in client.get("/hot").text


def test_nobody_else_gets_there(signed_in: Callable[[str], TestClient], client: TestClient, matter: str) -> None:
    assert client.get(f"/hot/{matter}", follow_redirects=False).status_code in {303, 401}
    assert signed_in("streets").get(f"/hot/{matter}").status_code == 403
    assert signed_in("operator").get(f"/hot/{uuid.uuid4()}").status_code == 404


def test_the_worker_looks_again_without_telling_again(matter: str) -> None:
    assert matter
    assert worker.hot() == 0
    wiring.forget()
    assert worker.hot() == 0


def test_after_a_restart_the_twin_index_knows_the_recent_cases_by_title_and_text() -> None:
    at = wiring.now()
    with transaction(program(tiny.DISTRICT)) as session:
        case = make_case(session, district=tiny.DISTRICT, text=NIGHT[0], title="夜宵摊扰民", at=at, radius_m=50.0)
    with snapshot(program(tiny.DISTRICT)) as session:
        index = wiring._recall_twins(session, wiring.rulebook(tiny.DISTRICT))
    found = index.find("夜宵摊扰民。" + NIGHT[0], 113.1, 23.0, at)
    assert found[0].case_id == str(case.id)
    assert found[0].copy

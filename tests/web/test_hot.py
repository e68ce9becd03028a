"""Hot matters through HTTP: seen beside the work, opened, decided with a reason; nobody else gets there."""

import re
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, text
from starlette.testclient import TestClient

from api import wiring, worker
from core.db import snapshot, transaction
from dispatch.models import Outbox
from dispatch.process import process
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


def test_desk_and_supervision_are_told_within_a_minute_of_the_report_that_crosses(
    signed_in: Callable[[str], TestClient],
) -> None:
    lng, now = 113.0 + uuid.uuid4().int % 9_000 / 10_000, wiring.now()
    name = f"望江{uuid.uuid4().hex[:6]}园"

    def bring(texts: tuple[str, ...], at: datetime) -> None:
        with transaction(program(tiny.DISTRICT)) as session:
            for n, body in enumerate(texts):
                make_case(
                    session,
                    district=tiny.DISTRICT,
                    text=body,
                    at=at + timedelta(seconds=n),
                    phone=f"1390000{n + at.minute:04d}",
                    lng=lng,
                    place_name=name,
                    town_code=None,
                )

    wiring.forget()
    faces = [signed_in("operator"), signed_in("supervisor")]
    bring(NIGHT[:4], now - timedelta(minutes=10))
    worker.hot()
    assert all(name not in face.get("/hot/box").text for face in faces), "four reports cross nothing"
    bring(NIGHT[4:], now - timedelta(seconds=30))
    # The clock's own task, once: what it does at its next tick.
    assert worker.hot() == 1
    assert worker.relay() >= 1
    for face in faces:
        assert name in face.get("/hot/box").text
    with snapshot(program(tiny.DISTRICT)) as session:
        sent = session.scalars(
            select(Outbox).where(Outbox.topic == hot_matters.CROSSED, Outbox.delivered_at.is_not(None))
        )
        assert [row.payload["members"] for row in sent if row.payload["place"] == name] == [6]
    # At worst the report comes just after one tick, and the page was drawn just before the next.
    tick = worker.app.conf.beat_schedule["hot"]["schedule"]
    for face, page in zip(faces, ("/desk", "/supervise"), strict=True):
        drawn = re.search(r'hx-get="/hot/box" hx-trigger="load, every (\d+)s"', face.get(page).text)
        assert drawn
        assert tick + worker._SLICE_S + int(drawn[1]) <= 60
    with transaction(program(tiny.DISTRICT)) as session:
        put_away(session, tiny.DISTRICT)


def form_of(page: str) -> dict[str, list[str]]:
    """Return what the merge form of a page holds as it was drawn."""
    boxes = re.findall(r'form="merge" name="(case|main)" value="([^"]+)"( checked)?', page)
    return {
        "case": [value for name, value, ticked in boxes if name == "case" and ticked],
        "main": [value for name, value, ticked in boxes if name == "main" and ticked],
        "version": re.findall(r'name="version" value="(\d+)"', page)[:1],
        "reason": ["热点事项"],
    }


def test_one_press_merges_the_cases_of_a_matter_and_tells_what_became_of_each(
    signed_in: Callable[[str], TestClient], matter: str
) -> None:
    under_present_process(matter)
    client = signed_in("supervisor")
    form = form_of(client.get(f"/hot/{matter}").text)
    assert (len(form["case"]), len(form["main"])) == (6, 1)
    done = client.post(f"/hot/{matter}/merge", data=form)
    assert done.status_code == 200
    assert done.text.count('class="good"') >= 5
    again = client.post(f"/hot/{matter}/merge", data=form)
    assert again.status_code == 409, "the page is older than what was done"
    page = client.get(f"/hot/{matter}").text
    assert form_of(page)["case"] == []
    assert page.count(form["main"][0].partition(":")[0][:8]) >= 1
    assert len(re.findall(r"已并入|merged into", page)) >= 5


def test_a_press_that_names_nothing_or_rubbish_is_refused_and_nobody_else_may_press(
    signed_in: Callable[[str], TestClient], matter: str
) -> None:
    under_present_process(matter)
    client = signed_in("operator")
    form = form_of(client.get(f"/hot/{matter}").text)
    empty: dict[str, list[str]] = {"case": []}
    for broken in (empty, {"case": ["x"]}, {"main": ["'; --"]}, {"reason": [""]}, {"case": form["main"]}):
        assert client.post(f"/hot/{matter}/merge", data=form | broken).status_code == 422, broken
    assert client.post(f"/hot/{uuid.uuid4()}/merge", data=form).status_code == 404
    for login in ("streets", "official"):
        assert signed_in(login).post(f"/hot/{matter}/merge", data=form).status_code == 403


def under_present_process(matter: str) -> None:
    """Put the cases of a matter under the process table that new cases get: builders write the first one."""
    newest = process("complaint").version
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(
            text(
                "UPDATE cases SET process_version = :v, state = 'received', open = true WHERE district_code = :d AND id IN "
                "(SELECT case_id FROM hot_member WHERE district_code = :d AND hot_id = :h)"
            ),
            {"v": newest, "d": tiny.DISTRICT, "h": matter},
        )


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

"""The operator's desk through HTTP: correct and dispatch in one save, stale pages, repeated forms, taking a call."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from core.db import transaction
from core.ids import new_id
from dispatch.models import Assignment, Case, Entry, Report
from tests import builders, tiny

pytestmark = pytest.mark.web

SignIn = Callable[[str], TestClient]
Open = Callable[..., str]
SPOTS = {
    "status": "located",
    "places": [
        {
            "lng": 113.004,
            "lat": 23.004,
            "radius_m": 80,
            "confidence": 0.6,
            "name": "望湖中学",
            "why": "place_named",
            "detail": {"name": "望湖中学"},
        },
        {
            "lng": 113.026,
            "lat": 23.004,
            "radius_m": 200,
            "confidence": 0.3,
            "name": "临江公园",
            "why": "place_named",
            "detail": {"name": "临江公园"},
        },
    ],
    "categories": [{"code": "1001", "name": "垃圾清运", "probability": 0.62}],
    "words": ["垃圾"],
    "doubts": ["The place is not sure."],
}


@pytest.fixture
def open_case() -> Open:
    """Return a function that writes a waiting case of the tiny district and returns its number."""

    def make(**known: Any) -> str:
        filled: dict[str, Any] = {
            "district": tiny.DISTRICT,
            "at": datetime.now(UTC) - timedelta(hours=1),
            "town_code": tiny.WEST,
            "lng": 113.004,
            "lat": 23.004,
            "category_code": "1001",
            "suggestions": SPOTS,
        } | known
        with transaction(builders.program(tiny.DISTRICT)) as session:
            case = builders.make_case(session, **filled)
            for clock, limit in (("dispatch", "24h"), ("reply", "5wd")):
                builders.make_deadline(session, case, clock, limit=limit)
            return case.number

    return make


@pytest.fixture
def operator(signed_in: SignIn) -> TestClient:
    return signed_in("operator")


def stored(number: str) -> Case:
    with transaction(builders.program(tiny.DISTRICT)) as session:
        case = session.scalars(select(Case).where(Case.district_code == tiny.DISTRICT, Case.number == number)).one()
        session.expunge(case)
        return case


def actions(number: str) -> list[str]:
    case = stored(number)
    with transaction(builders.program(tiny.DISTRICT)) as session:
        return list(
            session.scalars(
                select(Entry.action)
                .where(Entry.district_code == tiny.DISTRICT, Entry.case_id == case.id)
                .order_by(Entry.seq)
            )
        )


def fields(page: str, form_id: str = "save") -> dict[str, str]:
    """Return what a browser would send of a form that nobody touched."""
    form = re.search(rf'<form id="{form_id}".*?</form>', page, re.DOTALL)
    assert form, page[:2000]
    sent: dict[str, str] = {}
    for tag in re.findall(r"<input[^>]*>", form[0]):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        if attributes.get("type") == "radio" and " checked" not in tag:
            continue
        sent[attributes["name"]] = unescape(attributes.get("value", ""))
    for name, body in re.findall(r'<select[^>]*name="(\w+)".*?>(.*?)</select>', form[0], re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', body)
        sent[name] = chosen[1] if chosen else ""
    return sent


def test_the_desk_is_for_operators_and_supervisors(client: TestClient, signed_in: SignIn) -> None:
    assert client.get("/desk").headers["location"].startswith("/login")
    for login, status in (("operator", 200), ("supervisor", 200), ("streets", 403), ("official", 403), ("admin", 403)):
        assert signed_in(login).get("/desk").status_code == status, login


def test_list_case_and_candidates_stand_on_one_page(operator: TestClient, open_case: Open) -> None:
    number = open_case()
    page = operator.get(f"/desk?case={number}").text
    assert f'id="r-{number}"' in page
    assert 'value="spot-2"' in page
    assert "临江公园" in page
    assert "区城市管理局" in page, "the unit that the rules propose"
    assert "data-map=" in page


def test_place_category_and_unit_in_one_save_route_once(operator: TestClient, open_case: Open) -> None:
    number = open_case()
    form = fields(operator.get(f"/desk?case={number}").text)
    form |= {"place": "spot-2", "category": "占道经营", "urgency": "utilities", "do": "dispatch"}
    # What the page asks for when place and category were chosen.
    part = operator.get(f"/desk/case/{number}/proposal", params=form).text
    form["proposed"] = re.search(r'name="proposed" value="([^"]*)"', part)[1]  # type: ignore[index]
    answer = operator.post(f"/desk/case/{number}/save", data=form, headers={"HX-Request": "true"})
    assert answer.status_code == 200, answer.text
    case = stored(number)
    assert (case.state, case.category_code, case.town_code, case.place_name, case.urgency) == (
        "dispatched",
        "1002",
        tiny.EAST,
        "临江公园",
        "utilities",
    )
    assert case.unit_code == tiny.STREETS
    assert actions(number) == ["receive", "correct", "dispatch"]
    assert case.version == 2, "one save"
    with transaction(builders.program(tiny.DISTRICT)) as session:
        shares = session.scalars(select(Assignment).where(Assignment.case_id == case.id)).all()
    assert len(shares) == 1
    assert "desk:done" in answer.headers["hx-trigger-after-swap"]


def test_the_proposal_follows_category_and_place(operator: TestClient, open_case: Open) -> None:
    number = open_case()
    ask = f"/desk/case/{number}/proposal"
    assert "区水务局" in operator.get(ask, params={"category": "井盖缺损", "place": "keep"}).text
    assert "望湖镇政府" in operator.get(ask, params={"category": "占道经营", "place": "keep"}).text
    assert "区城市管理局" in operator.get(ask, params={"category": "占道经营", "place": "spot-2"}).text


def test_a_stale_page_shows_both_and_loses_nothing(operator: TestClient, open_case: Open, signed_in: SignIn) -> None:
    number = open_case()
    mine = fields(operator.get(f"/desk?case={number}").text)
    other = signed_in("operator")
    theirs = fields(other.get(f"/desk?case={number}").text) | {"category": "停水", "do": "correct"}
    assert other.post(f"/desk/case/{number}/save", data=theirs, headers={"HX-Request": "true"}).status_code == 200
    # The same account in two windows counts as a repetition only when it did the same: here it wants to dispatch.
    mine |= {"category": "施工噪声", "note": "来电人急", "do": "dispatch", "to": "other", "unit": "区公安分局"}
    refused = operator.post(f"/desk/case/{number}/save", data=mine, headers={"HX-Request": "true"})
    assert refused.status_code == 409
    assert refused.headers["hx-retarget"] == "#detail"
    assert "停水" in refused.text
    kept = fields(refused.text)
    assert (kept["category"], kept["note"], kept["unit"]) == ("施工噪声", "来电人急", "区公安分局")
    assert stored(number).state == "received"
    again = operator.post(f"/desk/case/{number}/save", data=kept | {"do": "dispatch"}, headers={"HX-Request": "true"})
    assert again.status_code == 200, again.text
    assert (stored(number).category_code, stored(number).unit_code) == ("3001", tiny.POLICE)


def test_a_repeated_submission_is_done_once(operator: TestClient, open_case: Open) -> None:
    number = open_case()
    form = fields(operator.get(f"/desk?case={number}").text) | {"do": "dispatch"}
    for _ in range(2):
        answer = operator.post(f"/desk/case/{number}/save", data=form, headers={"HX-Request": "true"})
        assert answer.status_code == 200, answer.text
    assert actions(number) == ["receive", "dispatch"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"category": "不存在的类别"}, "category"),
        ({"to": "other", "unit": "火星管理局"}, "unit"),
        ({"place": "point", "lng": "x", "lat": "23"}, "place"),
        ({"place": "point", "lng": "23.0", "lat": "113.0"}, "place"),
        ({"place": "spot-9"}, "place"),
        ({"place": "point", "lng": "113.5", "lat": "23.5"}, "outside the district"),
    ],
)
def test_wrong_entries_are_told_and_change_nothing(
    operator: TestClient, open_case: Open, wrong: dict[str, str], field: str
) -> None:
    number = open_case()
    form = fields(operator.get(f"/desk?case={number}").text) | {"note": "保留我", "do": "dispatch"} | wrong
    answer = operator.post(f"/desk/case/{number}/save", data=form, headers={"HX-Request": "true"})
    assert answer.status_code == 422, field
    assert fields(answer.text)["note"] == "保留我"
    assert actions(number) == ["receive"]


def test_only_steps_that_the_process_offers_are_shown_and_taken(
    operator: TestClient, open_case: Open, signed_in: SignIn
) -> None:
    number = open_case(unit=tiny.STREETS, state="signed")
    page = operator.get(f"/desk?box=running&case={number}").text
    assert f"/desk/case/{number}/redispatch" in page
    assert f"/desk/case/{number}/callback" not in page
    form = {"version": "1", "seen": "1", "reason": "不在受理范围"}
    assert operator.post(f"/desk/case/{number}/refuse", data=form, headers={"HX-Request": "true"}).status_code == 409
    watcher = signed_in("supervisor")
    assert 'id="save"' not in watcher.get(f"/desk?case={number}").text
    assert watcher.post(f"/desk/case/{number}/save", data=form).status_code == 403


def test_hostile_text_stays_text(operator: TestClient, open_case: Open) -> None:
    text = '<script>alert(1)</script><img src=x onerror="alert(2)">{{7*7}}'
    number = open_case(text=text, title='"><b onmouseover=x>', place_name="'\"><i>")
    for path in (f"/desk?case={number}", f"/desk/case/{number}", f"/cases/{number}", "/cases"):
        page = operator.get(path, headers={"HX-Request": "true"} if "/case/" in path else {}).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "<b onmouseover" not in page
        assert "<i>" not in page


def test_new_cases_are_announced_and_the_list_does_not_jump(operator: TestClient, open_case: Open) -> None:
    since = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    ask = "/desk/arrived"
    quiet = operator.get(ask, params={"box": "waiting", "since": since, "q": "独一无二的词"}).text
    assert "href" not in quiet
    open_case(text="独一无二的词出现了", at=datetime.now(UTC))
    told = operator.get(ask, params={"box": "waiting", "since": since, "q": "独一无二的词"}).text
    assert "href" in told
    assert "1" in told
    assert operator.get(ask, params={"since": "2026-01-01T00:00:00"}).status_code == 422


def test_a_filter_that_means_nothing_is_said(operator: TestClient) -> None:
    for query in ("box=nowhere", "colour=9", "sort=random", "from=gestern", "after=zzz"):
        assert operator.get(f"/desk?{query}").status_code == 422, query


@pytest.fixture
def call(operator: TestClient) -> dict[str, str]:
    page = operator.get("/desk/new").text
    key = re.search(r'name="key" value="([^"]+)"', page)
    assert key
    assert "autofocus" in page
    return {"key": key[1], "text": "滨湖路18号门口垃圾堆了三天没人清运", "phone": "13800138000", "name": "王小明"}


def test_a_call_is_understood_while_it_is_typed(operator: TestClient, call: dict[str, str]) -> None:
    part = operator.post("/desk/new/understand", data=call).text
    assert "滨湖路18号" in part
    danger = operator.post("/desk/new/understand", data=call | {"text": "枫林工业园着火了，有人被困"}).text
    assert "119" in danger
    assert 'class="choice"' not in operator.post("/desk/new/understand", data=call | {"text": "嗯"}).text


def test_open_matters_around_the_place_are_shown_whatever_they_are_about(
    operator: TestClient, open_case: Open, call: dict[str, str]
) -> None:
    at = {"place": "113.016000,23.012000,路口", "text": "路口的路灯不亮了三天"}
    close = open_case(lng=113.0161, lat=23.0121, category_code="3001", text="工地夜间施工吵人")
    closed = open_case(lng=113.0161, lat=23.0121, open=False, state="closed", text="已经办结的事")
    far = open_case(lng=113.0161, lat=23.0161, category_code="3001", text="远处的施工噪声")
    part = operator.post("/desk/new/understand", data=call | at).text
    assert f"/cases/{close}" in part
    assert f"/cases/{closed}" not in part
    assert f"/cases/{far}" not in part


def test_a_call_becomes_one_case_however_often_it_is_sent(operator: TestClient, call: dict[str, str]) -> None:
    form = call | {"category": "垃圾清运"}
    first = operator.post("/desk/new", data=form)
    second = operator.post("/desk/new", data=form)
    assert first.status_code == second.status_code == 303
    assert first.headers["location"] == second.headers["location"]
    case = stored(first.headers["location"].rpartition("=")[2])
    assert (case.channel, case.category_code) == ("hotline", "1001")
    with transaction(builders.program(tiny.DISTRICT)) as session:
        report = session.scalars(select(Report).where(Report.case_id == case.id)).one()
    assert report.phone_sealed
    assert "13800138000" not in operator.get(first.headers["location"]).text


def test_a_candidate_that_the_operator_chose_is_the_place(operator: TestClient, call: dict[str, str]) -> None:
    answer = operator.post("/desk/new", data=call | {"place": "113.026000,23.004000,临江公园", "key": str(new_id())})
    case = stored(answer.headers["location"].rpartition("=")[2])
    assert (case.place_name, case.place_by, case.town_code) == ("临江公园", "operator", tiny.EAST)


@pytest.mark.parametrize(
    "wrong", [{"text": " "}, {"phone": "不告诉你"}, {"category": "乱写"}, {"place": "1,2"}, {"text": "长" * 10001}]
)
def test_a_refused_call_keeps_every_word(operator: TestClient, call: dict[str, str], wrong: dict[str, str]) -> None:
    answer = operator.post("/desk/new", data=call | wrong)
    assert answer.status_code == 422
    assert "王小明" in answer.text
    assert (call | wrong)["text"][:50].strip() in answer.text


def test_two_calls_in_a_row_need_one_click(operator: TestClient, call: dict[str, str]) -> None:
    page = operator.post("/desk/new", data=call | {"then": "another", "key": str(new_id())})
    assert page.status_code == 200
    assert 'role="status"' in page.text
    assert "王小明" not in page.text, "the next caller is somebody else"


def test_names_on_the_map_are_those_inside_the_view(operator: TestClient, signed_in: SignIn) -> None:
    found = operator.get("/desk/names", params={"bbox": "113.0,23.0,113.02,23.02"}).json()
    written = {label["name"] for label in found}
    assert {"望湖中学", "柳岸花园", "滨湖路"} <= written
    assert "临江公园" not in written, "it lies east of the view"
    for bbox in ("", "1,2,3", "113.0,23.0,112.9,23.1", "113.0,23.0,114.0,24.0", "a,b,c,d", "nan,nan,nan,nan"):
        assert operator.get("/desk/names", params={"bbox": bbox}).status_code == 422, bbox
    assert signed_in("streets").get("/desk/names", params={"bbox": "113.0,23.0,113.02,23.02"}).status_code == 403


# Side roads on the desk.


def act(operator: TestClient, number: str, action: str, **given: str) -> Any:
    """Take a step as a script of the page would."""
    case = stored(number)
    data = {"version": str(case.version), "seen": str(case.entries)} | given
    return operator.post(f"/desk/case/{number}/{action}", data=data, headers={"HX-Request": "true"})


def test_a_twin_is_merged_with_one_press_and_taken_apart_again(operator: TestClient, open_case: Open) -> None:
    main = open_case(process_version=2, unit=tiny.STREETS, state="signed")
    twins = {"suggestions": SPOTS | {"twins": [{"case_id": str(stored(main).id), "score": 0.9, "why": "same"}]}}
    number = open_case(process_version=2, **twins)
    page = operator.get(f"/desk?case={number}").text
    form = re.search(rf'<form method="post" action="/desk/case/{number}/merge".*?</form>', page, re.DOTALL)
    assert form
    sent = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form[0]))
    assert sent["main"] == main
    assert "待派单" in page
    assert operator.post(f"/desk/case/{number}/merge", data=sent).status_code == 303
    assert (stored(number).state, stored(number).merged_into) == ("merged", stored(main).id)
    assert f"r-{number}" in operator.get("/desk?box=merged").text
    assert number in operator.get(f"/cases/{main}").text.replace(" ", ""), "its caller stands on the main sheet"
    assert act(operator, number, "unmerge", reason="并非同一处").status_code == 200
    assert stored(number).state == "received"


def test_a_case_is_not_merged_into_itself_or_a_number_that_is_not_there(operator: TestClient, open_case: Open) -> None:
    number = open_case(process_version=2)
    for main in (number, "202611219999999", "no number"):
        refused = act(operator, number, "merge", main=main, reason="同一事项")
        assert refused.status_code in (409, 422), main
        assert 'id="s-merge-main-e"' in refused.text, "the error stands beside the field"
    assert stored(number).state == "received"


def test_the_number_of_a_case_is_looked_up_while_it_is_typed(operator: TestClient, open_case: Open) -> None:
    number = open_case()
    spaced = f"{number[:8]} {number[8:-1]} {number[-1:]}"
    assert "已受理" in operator.get("/cases/named", params={"main": spaced}).text
    assert "没有编号" in operator.get("/cases/named", params={"main": "202611219999999"}).text
    assert operator.get("/cases/named", params={"main": "2026"}).text.strip() == ""


def test_a_plea_is_decided_by_somebody_else_and_stands_in_the_box_of_the_desk(
    operator: TestClient, open_case: Open, signed_in: SignIn
) -> None:
    number = open_case(process_version=2, unit=tiny.STREETS, state="signed")
    with transaction(builders.program(tiny.DISTRICT)) as session:
        builders.make_assignment(session, session.merge(stored(number)), tiny.STREETS, state="signed")
    data = {"version": str(stored(number).version), "span_n": "2", "span_u": "wd", "reason": "需协调"}
    assert signed_in("streets").post(f"/unit/{number}/extend_ask", data=data).status_code == 303
    box = operator.get("/desk?box=pleas").text
    assert f"r-{number}" in box
    page = operator.get(f"/desk?box=pleas&case={number}").text
    assert "延长" in page, "what granting does to the clock is said before"
    assert act(operator, number, "extend_grant").status_code == 200
    assert stored(number).plea is None
    assert f"r-{number}" not in operator.get("/desk?box=pleas").text


def test_a_complex_matter_is_marked_on_the_desk_and_keeps_its_start(operator: TestClient, open_case: Open) -> None:
    number = open_case(process_version=2)
    form = fields(operator.get(f"/desk?case={number}").text) | {"complex": "yes", "do": "correct"}
    assert operator.post(f"/desk/case/{number}/save", data=form, headers={"HX-Request": "true"}).status_code == 200
    assert stored(number).complex
    assert f"r-{number}" in operator.get("/desk?box=complex").text


def test_assisting_units_go_out_with_the_dispatch(operator: TestClient, open_case: Open) -> None:
    number = open_case(process_version=2)
    form = fields(operator.get(f"/desk?case={number}").text)
    form |= {"assist": "区水务局", "note": "请核查排水口", "do": "dispatch", "urgency": "utilities"}
    answer = operator.post(f"/desk/case/{number}/save", data=form, headers={"HX-Request": "true"})
    assert answer.status_code == 200, answer.text
    with transaction(builders.program(tiny.DISTRICT)) as session:
        found = select(Assignment.unit_code, Assignment.share, Assignment.task).where(
            Assignment.district_code == tiny.DISTRICT, Assignment.case_id == stored(number).id
        )
        shares = sorted(session.execute(found.order_by(Assignment.share)).all())
    assert [tuple(row) for row in shares] == [
        (tiny.STREETS, "lead", ""),
        (tiny.WATER, "assist", "请核查排水口"),
    ]


def test_who_sends_a_case_out_has_confirmed_its_place(operator: TestClient, open_case: Open) -> None:
    number = open_case()
    form = fields(operator.get(f"/desk?case={number}").text) | {"do": "dispatch"}
    assert operator.post(f"/desk/case/{number}/save", data=form, headers={"HX-Request": "true"}).status_code == 200
    assert stored(number).place_by == "operator"
    assert "地点已确认" in operator.get(f"/cases/{number}").text


def test_rules_are_called_by_their_note_and_never_by_their_id(operator: TestClient, open_case: Open) -> None:
    page = operator.get(f"/desk?case={open_case()}").text
    assert "市容归城管" in page
    assert not re.search(r"\br1\b", page)

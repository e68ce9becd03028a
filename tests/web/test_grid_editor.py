"""The grid over time through HTTP: who may plan, what a plan answers, how two planners meet, and whose ground it was."""

import io
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient
from typer.testing import CliRunner

from api import worker
from api.wording import CHINA
from core.actor import system
from core.db import snapshot, transaction
from grid import changes, versions
from tests import builders, tiny

pytestmark = pytest.mark.web

SignIn = Callable[[str], TestClient]
COMMUNITY = f"{tiny.WEST}001"
A, B = f"{COMMUNITY}001", f"{COMMUNITY}002"
TOMORROW = f"{datetime.now(CHINA).date() + timedelta(days=1)}"
ACROSS = {"type": "LineString", "coordinates": [[112.99, 23.004], [113.02, 23.006]]}


@pytest.fixture(autouse=True)
def _calls_off(district: tiny.Tiny) -> Iterator[None]:
    """Call off what a test planned."""
    yield
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        sql = text("SELECT id FROM cell_change WHERE district_code = :d AND state IN ('proposed', 'planned')")
        for key in list(session.scalars(sql, {"d": tiny.DISTRICT})):
            changes.cancel(session, key, reason="试验结束", at=datetime.now(UTC))


def told(client: TestClient, community: str = COMMUNITY) -> dict:
    answer = client.get(f"/api/v1/grid/editor/{community}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def moved(client: TestClient, kind: str, **more) -> dict:
    cells = told(client)["cells"]
    body = {"community": COMMUNITY, "cells": cells, "kind": kind} | more
    answer = client.post("/api/v1/grid/moves", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def planned(client: TestClient, move: dict, **more):
    seen = {one["properties"]["code"]: one["properties"]["version"] for one in told(client)["cells"]["features"]}
    body = {
        "kind": move["kind"],
        "takes": move["takes"],
        "seen": {code: seen[code] for code in move["takes"]},
        "cells": move["cells"],
        "valid_from": TOMORROW,
        "reason": "人口增加",
        "document": "望网格〔2026〕7号",
    }
    return client.post("/api/v1/grid/changes", json=body | more)


def test_a_planner_splits_looks_at_what_moves_and_another_one_meets_the_plan(signed_in: SignIn) -> None:
    with transaction(builders.program(tiny.DISTRICT)) as session:
        builders.make_case(
            session, district=tiny.DISTRICT, lng=113.005, lat=23.001, town_code=tiny.WEST, cell_code=A, text="井盖松动"
        )
    client = signed_in("supervisor")
    move = moved(client, "line", codes=[A], line=ACROSS)
    assert move["takes"] == [A]
    codes = [one["properties"]["code"] for one in move["cells"]["features"]]
    assert codes == [A, f"{COMMUNITY}003"]
    made = planned(client, move)
    assert made.status_code == 201, made.text
    assert made.json()["state"] == "planned"
    page = client.get(made.json()["page"])
    assert page.status_code == 200
    assert "件在办案件改属其他网格" in page.text
    assert "井盖松动" not in page.text, "numbers only"
    effects = client.get(f"/api/v1/grid/changes/{made.json()['id']}/effects").json()
    assert effects["cases"]["open"] >= 1
    assert {one["table"] for one in effects["moves"]} >= {"place", "address"}
    # Another one had the same cells open.
    late = planned(signed_in("admin"), moved(client, "merge", codes=[A, B]))
    assert late.status_code == 409
    assert late.json()["other"] == made.json()["id"]
    assert "已在另一项调整中" in late.json()["detail"]
    other = client.get(f"/api/v1/grid/changes/{made.json()['id']}").json()
    assert [one["properties"]["code"] for one in other["after"]["features"]] == codes
    form = {"reason": "", "csrf_token": client.headers["X-CSRF-Token"]}
    assert client.post(f"{made.json()['page']}/cancel", data=form).status_code == 422
    assert client.post(f"{made.json()['page']}/cancel", data=form | {"reason": "改天再议"}).status_code == 303
    assert "已取消" in client.get(made.json()["page"]).text
    assert client.get("/grid/changes?state=cancelled").text.count("人口增加") >= 1


def test_who_may_plan_and_for_which_ground(signed_in: SignIn, client: TestClient) -> None:
    assert client.get("/grid/editor").status_code == 303, "nobody is sent to the sign-in"
    for login in ("operator", "gridwest", "official", "citizen"):
        assert signed_in(login).get("/grid/editor").status_code == 403, login
        assert signed_in(login).get(f"/api/v1/grid/editor/{COMMUNITY}").status_code == 403, login
    assert signed_in("streets").get("/grid/editor").status_code == 403, "a department keeps no ground"
    office = signed_in("westoffice")
    assert office.get(f"/grid/editor?community={COMMUNITY}").status_code == 200
    assert office.get(f"/grid/editor?community={tiny.EAST}001").status_code == 404
    assert office.get(f"/api/v1/grid/editor/{tiny.EAST}001").status_code == 403
    assert tiny.EAST not in office.get("/grid/editor").text
    move = moved(office, "count", codes=[A], count=2)
    made = planned(office, move)
    assert (made.status_code, made.json()["state"]) == (201, "proposed")
    key = made.json()["id"]
    assert office.post(f"/api/v1/grid/changes/{key}/approve").status_code == 403
    assert "批准</button>" not in office.get(made.json()["page"]).text
    district = signed_in("supervisor")
    assert "批准</button>" in district.get(made.json()["page"]).text
    assert district.post(f"{made.json()['page']}/approve").status_code == 303
    assert district.get(f"/api/v1/grid/changes/{key}").json()["state"] == "planned"


def test_a_plan_needs_its_token_its_document_and_honest_cells(signed_in: SignIn) -> None:
    client = signed_in("supervisor")
    move = moved(client, "merge", codes=[A, B])
    assert planned(client, move, document="").status_code == 422
    assert planned(client, move, file="forged").status_code == 422
    assert planned(client, move, reason="x" * 1001).status_code == 422
    assert planned(client, move, valid_from="2099-01-01").status_code == 422
    stale = dict.fromkeys(move["takes"], "01a202f2-24e9-7000-826c-9c410eeaf639")
    answer = planned(client, move, seen=stale)
    assert answer.status_code == 409
    crossing = json.loads(json.dumps(move["cells"]))
    crossing["features"][0]["geometry"] = {
        "type": "Polygon",
        "coordinates": [[[113, 23], [113.02, 23.01], [113.02, 23], [113, 23.01], [113, 23]]],
    }
    assert planned(client, move, cells=crossing).status_code == 422
    del client.headers["X-CSRF-Token"]
    assert planned(client, move).status_code == 403


def test_the_decision_travels_as_a_file_and_only_staff_saves_it(signed_in: SignIn, client: TestClient) -> None:
    planner = signed_in("supervisor")
    pdf = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"
    sent = planner.post("/grid/editor/file", files={"file": ("../批复.pdf", io.BytesIO(pdf), "application/pdf")})
    assert sent.status_code == 200, sent.text
    made = planned(planner, moved(planner, "merge", codes=[A, B]), document="", file=sent.json()["token"])
    assert made.status_code == 201, made.text
    file = planner.get(f"{made.json()['page']}/file")
    assert (file.status_code, file.content) == (200, pdf)
    assert file.headers["content-disposition"].startswith("attachment")
    assert client.get(f"{made.json()['page']}/file").status_code == 303
    assert planner.post("/grid/editor/file", files={"file": ("a.exe", b"MZ", "x/y")}).status_code == 415


def test_history_is_told_by_page_program_and_worker(signed_in: SignIn) -> None:
    client = signed_in("supervisor")
    spot = {"lng": 113.035, "lat": 23.015, "datum": "CGCS2000"}
    code = f"{tiny.EAST}002002"
    cells = told(client, f"{tiny.EAST}002")["cells"]
    body = {"community": f"{tiny.EAST}002", "cells": cells, "kind": "describe", "codes": [code], "households": 480}
    move = client.post("/api/v1/grid/moves", json=body).json()
    made = client.post(
        "/api/v1/grid/changes",
        json={"kind": "describe", "takes": [code], "cells": move["cells"], "reason": "清点", "document": "清点表"},
    )
    assert (made.status_code, made.json()["state"]) == (201, "applied"), made.text
    found = client.get("/api/v1/grid/history", params=spot).json()["versions"]
    assert [(one["code"], one["households"], one["change"]) for one in found] == [
        (code, 480, "describe"),
        (code, None, "load"),
    ]
    then = client.get(
        "/api/v1/grid/history", params=spot | {"at": f"{builders.NOW + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"}
    )
    assert [one["households"] for one in then.json()["versions"]] == [None]
    page = client.get("/grid/history?q=113.035,23.015").text
    assert "清点表" in page
    assert "480" in page
    assert client.get(f"/grid/history?q={code}&on=2026-11-19").text.count('class="card"') == 1
    assert (
        "没有" in client.get("/grid/history?q=113.5,23.5").text
        or "从未" in client.get("/grid/history?q=113.5,23.5").text
    )
    assert client.get("/grid/history?q=113.035,23.015&on=never").status_code == 200
    assert client.get("/api/v1/grid/history", params=spot | {"lng": "NaN"}).status_code == 422
    assert worker.grid() == 0, "nothing is due"


def test_a_case_shows_todays_cell_beside_the_one_it_was_reported_in(signed_in: SignIn) -> None:
    with transaction(builders.program(tiny.DISTRICT)) as session:
        case = builders.make_case(
            session, district=tiny.DISTRICT, lng=113.005, lat=23.005, town_code=tiny.WEST, cell_code=f"{COMMUNITY}777"
        )
    page = signed_in("supervisor").get(f"/cases/{case.number}").text
    assert f"{COMMUNITY}777" in page
    assert f"现属网格 {A}" in page


def test_the_command_line_plans_tries_applies_and_tells(district: tiny.Tiny) -> None:
    import importlib

    from api import cli

    for name in ("api.cli_grid", "api.cli_grid_time"):
        importlib.import_module(name)
    run = CliRunner()
    east = f"{tiny.EAST}001"
    given = [
        "grid",
        "plan",
        "merge",
        f"{east}001",
        f"{east}002",
        "--on",
        TOMORROW,
        "--reason",
        "合并",
        "--document",
        "一号",
    ]
    done = run.invoke(cli.app, given, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    key = re.search(r"Planned: ([0-9a-f-]{36})", done.output)
    assert key
    again = run.invoke(cli.app, ["grid", "try", key[1]], catch_exceptions=False)
    assert "open cases move" in again.output
    assert "No change is due" in run.invoke(cli.app, ["grid", "apply"], catch_exceptions=False).output
    told = run.invoke(cli.app, ["grid", "history", "113.025", "23.005"], catch_exceptions=False)
    assert "load" in told.output
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        assert versions.today(session, communities=[east]).cells.code == [f"{east}001", f"{east}002"]

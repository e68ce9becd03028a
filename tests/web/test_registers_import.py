"""Departments' lists through HTTP: upload, progress, faults back, doubts and conflicts decided, and nobody else's hands."""

import re
from collections.abc import Callable

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from api import wiring, worker
from core.actor import system
from core.db import transaction
from grid.registers import templates
from tests import lists, tiny
from tests.lists import number, resident

pytestmark = pytest.mark.web

SignIn = Callable[[str], TestClient]
ID = number("1980-05-06", 11)
TWIN = number("2015-03-03", 11)


@pytest.fixture(autouse=True)
def _empty() -> None:
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        for table in ("field_conflict", "link_doubt", "source_row", "resident", "household", "room", "building"):
            session.execute(text(f"DELETE FROM {table} WHERE district_code = :d"), {"d": tiny.DISTRICT})
    lists.give("rooms", lists.rooms(), "housing", clock=wiring.now)


def put(client: TestClient, *rows: tuple[str, ...], source: str = "police", **more: str) -> str:
    data = templates.filled("residents", rows)
    form = {"kind": "residents", "source": source} | more
    answer = client.post("/registers/import", data=form, files={"file": ("人口.xlsx", data)})
    assert answer.status_code == 303, answer.text
    worker.registers()
    return client.get("/registers/import").text


def test_a_list_goes_in_and_a_conflict_is_decided_and_undone(signed_in: SignIn) -> None:
    admin = signed_in("admin")
    page = put(admin, resident("张伟明", "1980-05-06", id_number=ID, phone="10011111111"))
    assert "已完成" in page or "完成" in page
    put(admin, resident("张伟明", "1980-05-06", id_number=ID, phone="10022222222"), source="health")
    page = admin.get("/registers/conflicts?field=phone&source=health").text
    assert "10022222222" not in page
    assert "100****2222" in page
    (line,) = re.findall(r'value="(taken:[0-9a-f-]{36})"', page)
    went = admin.post("/registers/conflicts", data={"one": line, "field": "phone", "source": "health"})
    assert went.status_code == 303
    batch = re.search(r"batch=([0-9a-f-]{36})", went.headers["location"])
    assert batch
    assert "已处理 1 条" in admin.get(went.headers["location"]).text
    assert admin.get("/registers/conflicts?decided=1").status_code == 200
    went = admin.post("/registers/conflicts/undo", data={"batch": batch[1]})
    assert "恢复待处理" in admin.get(went.headers["location"]).text
    went = admin.post("/registers/conflicts", data={"all": "kept", "field": "phone", "source": "health"})
    assert "done=1" in went.headers["location"]


def test_a_doubtful_pair_is_shown_side_by_side_and_decided(signed_in: SignIn) -> None:
    admin = signed_in("admin")
    put(admin, resident("王小明", "2015-03-03", id_number=TWIN, phone="10012345678"))
    put(admin, resident("王小朋", "2015-03-03", phone="10012345678"), source="health")
    page = admin.get("/registers/doubts").text
    assert "10012345678" not in page
    (doubt,) = re.findall(r'action="(/registers/doubts/[0-9a-f-]{36})"', page)
    assert admin.post(doubt, data={"answer": "different"}).status_code == 303
    assert admin.post(doubt, data={"answer": "same"}).status_code == 409
    assert doubt not in admin.get("/registers/doubts").text


def test_rows_at_fault_come_back_marked_in_chinese(signed_in: SignIn) -> None:
    admin = signed_in("admin")
    page = put(admin, resident("张伟明", "1980-05-06", id_number="123"))
    (link,) = re.findall(r'href="(/registers/import/[0-9a-f-]{36}/marked.xlsx)"', page)[:1]
    table = templates.read(admin.get(link).content, "residents")
    assert table.header[-1] == "错误"
    assert re.search(r"身份证号：[一-鿿]+", table.rows[0][1][-1])


def test_templates_are_handed_out_and_can_be_read_back(signed_in: SignIn) -> None:
    admin = signed_in("admin")
    for kind in templates.SHEETS:
        answer = admin.get(f"/registers/import/template/{kind}.xlsx")
        assert answer.status_code == 200
        assert answer.content[:2] == b"PK"
    assert admin.get("/registers/import/template/nothing.xlsx").status_code == 422


@pytest.mark.parametrize("name", ["", "x.txt"])
def test_a_file_that_is_no_list_is_refused_in_words(signed_in: SignIn, name: str) -> None:
    admin = signed_in("admin")
    answer = admin.post(
        "/registers/import", data={"kind": "residents", "source": "police"}, files={"file": (name or "y.csv", b" ")}
    )
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text or "detail" in answer.text


def test_only_administrators_take_lists_in_and_strangers_see_none(signed_in: SignIn, client: TestClient) -> None:
    data = templates.filled("residents", [resident("张伟明", "1980-05-06")])
    for login in ("supervisor", "operator", "streets", "gridwest"):
        who = signed_in(login)
        answer = who.post(
            "/registers/import", data={"kind": "residents", "source": "police"}, files={"file": ("x.xlsx", data)}
        )
        assert answer.status_code == 403
    assert signed_in("supervisor").get("/registers/import").status_code == 200
    assert signed_in("operator").get("/registers/import").status_code == 403
    assert client.get("/registers/import").status_code in (303, 401)


def test_who_has_no_duty_there_sees_no_conflict_and_decides_none(signed_in: SignIn) -> None:
    admin = signed_in("admin")
    put(admin, resident("张伟明", "1980-05-06", id_number=ID, phone="10011111111"))
    put(admin, resident("张伟明", "1980-05-06", id_number=ID, phone="10022222222"), source="health")
    page = admin.get("/registers/conflicts").text
    (line,) = re.findall(r'value="(taken:[0-9a-f-]{36})"', page)
    worker = signed_in("gridwest")
    assert line not in worker.get("/registers/conflicts").text
    went = worker.post("/registers/conflicts", data={"one": line})
    assert "done=0" in went.headers["location"]

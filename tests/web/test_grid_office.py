"""The grid office and training through HTTP: who may come in, what is shown, handed over, taken in, and verified."""

import csv
import io
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import xlsxwriter
from sqlalchemy import text
from starlette.testclient import TestClient

from api import wiring
from core.db import snapshot, transaction
from grid import duties, training
from grid.duties import Charge, Holder
from tests import tiny
from tests.builders import make_account, make_case, program
from tests.web.conftest import csrf

pytestmark = pytest.mark.database

CELL, NEXT, FAR = f"{tiny.WEST}001001", f"{tiny.WEST}001002", f"{tiny.EAST}001001"
SignIn = Callable[[str], TestClient]


@pytest.fixture
def pair() -> Iterator[tuple[uuid.UUID, uuid.UUID]]:
    """Two workers of the west town, the first of whom answers for two cells; gone from duty afterwards."""
    at = wiring.now()
    with transaction(program(tiny.DISTRICT)) as session:
        known = {"district": tiny.DISTRICT, "role": "grid_worker", "town_code": tiny.WEST}
        one, two = (make_account(session, name=name, **known) for name in ("试验甲", "<b>试验乙"))
        duties.assign(session, Charge([CELL, NEXT], list(duties.DUTIES), Holder(one), at), at=at)
    yield one, two
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(
            text(
                "UPDATE cell_duty SET valid_to = greatest(valid_from, :at) WHERE district_code = :d"
                " AND (valid_to IS NULL OR valid_to > greatest(valid_from, :at))"
            ),
            {"d": tiny.DISTRICT, "at": wiring.now()},
        )


def acting(cell: str) -> set[str]:
    with snapshot(program(tiny.DISTRICT)) as session:
        return {one.name for one in duties.owners(session, [cell], at=wiring.now()) if one.acting}


def certify(client: TestClient, duty: str, login: str = "gridwest") -> str:
    """Take the quiz of a duty as a worker and answer everything rightly; returns the certificate's number."""
    del login
    taken = client.get("/api/v1/training").json()
    paper = next(one for one in taken["duties"] if one["duty"] == duty)["paper"]
    with snapshot(program(tiny.DISTRICT)) as session:
        bank = training.banks(session)[duty]
    answers = {one["id"]: sorted(bank.question(one["id"]).right) for one in paper["questions"]}
    body = {"key": str(uuid.uuid4()), "duty": duty, "number": paper["number"], "digest": paper["digest"]}
    told = client.post("/api/v1/training/attempts", json=body | {"answers": answers})
    assert told.status_code == 200, told.text
    assert told.json()["passed"]
    again = client.post("/api/v1/training/attempts", json=body | {"answers": answers}).json()
    assert again["repeated"]
    assert again["certificate"] == told.json()["certificate"]
    return str(told.json()["certificate"])


@pytest.mark.parametrize(
    ("login", "status"),
    [
        ("westoffice", 200),
        ("supervisor", 200),
        ("admin", 200),
        ("official", 200),
        ("streets", 403),
        ("operator", 403),
        ("gridwest", 403),
    ],
)
def test_only_offices_supervision_and_administration_come_in(signed_in: SignIn, login: str, status: int) -> None:
    client = signed_in(login)
    for address in ("/grid", "/grid/office.json", "/grid/cells.csv", "/grid/plan", "/grid/certificates"):
        assert client.get(address).status_code == status, address
    linked = 'href="/grid"' in client.get("/").text
    assert linked == (status == 200)


def test_an_official_looks_and_changes_nothing(signed_in: SignIn, pair: tuple[uuid.UUID, uuid.UUID]) -> None:
    client = signed_in("official")
    assert client.get("/grid/handover").status_code == 403
    order = {"giver": str(pair[0]), "taker": str(pair[1]), "for_good": "1", "why": "x", "exception": "x"}
    assert client.post("/grid/handover", data=order).status_code == 403
    assert client.post(f"/grid/cells/{CELL}/duties", data={"duties": "market"}).status_code == 403


def test_the_west_office_sees_its_own_cells_with_what_is_wrong(
    signed_in: SignIn, pair: tuple[uuid.UUID, uuid.UUID]
) -> None:
    at = wiring.now()
    with transaction(program(tiny.DISTRICT)) as session:
        known = {"district": tiny.DISTRICT, "town_code": tiny.WEST, "cell_code": CELL, "unit": tiny.STREETS}
        number = make_case(session, at=at - timedelta(days=9), due_in=timedelta(days=1), **known).number
        make_case(session, state="closed", **known)
    client = signed_in("westoffice")
    page = client.get("/grid").text
    assert f"/grid/cells/{CELL}" in page
    assert FAR not in page
    told = client.get("/grid/office.json").json()
    assert set(told["cells"]) == set(told["shapes"]) == {f"{tiny.WEST}00{j}00{k}" for j in (1, 2) for k in (1, 2)}
    assert told["cells"][CELL]["overdue"] >= 1
    assert told["cells"][CELL]["gaps"] == 0
    assert told["cells"][f"{tiny.WEST}002001"]["gaps"] == 9
    gaps = client.get("/grid?show=gaps").text
    assert f'data-cell="{CELL}"' not in gaps
    assert f'data-cell="{tiny.WEST}002001"' in gaps
    lines = list(csv.reader(io.StringIO(client.get("/grid/cells.csv?show=overdue").text.removeprefix("\ufeff"))))
    assert [line[0] for line in lines[1:]] == [CELL]
    seen = signed_in("supervisor").get(f"/grid/cells/{CELL}").text
    assert re.findall(r"/cases/(\w+)", seen) == [number], "open matters alone"
    assert client.get(f"/grid/cells/{FAR}").status_code == 403
    assert client.get("/grid/cells/999").status_code == 404


def test_a_handover_is_previewed_needs_a_reason_without_certificate_and_ends_by_itself(
    signed_in: SignIn, pair: tuple[uuid.UUID, uuid.UUID]
) -> None:
    client = signed_in("westoffice")
    one, two = (str(key) for key in pair)
    preview = client.get(f"/grid/handover?giver={one}&taker={two}").text
    assert preview.count('name="cells"') == 2
    assert "<b>试验乙" not in preview, "a name is escaped"
    assert 'name="exception"' in preview
    until = (wiring.now().date()).isoformat()
    order = {"giver": one, "taker": two, "since": "", "until": until, "why": "病假", "cells": [CELL]}
    refused = client.post("/grid/handover", data=order)
    assert refused.status_code == 422
    assert "病假" in refused.text, "what was entered is kept"
    assert acting(CELL) == {"试验甲"}
    done = client.post("/grid/handover", data=order | {"until": "2099-01-01", "exception": "人手不足"})
    assert done.status_code == 303, done.text
    assert acting(CELL) == {"<b>试验乙"}
    assert acting(NEXT) == {"试验甲"}
    assert "人手不足" in client.get(f"/grid/cells/{CELL}").text
    assert client.post("/grid/handback", data={"giver": one}).status_code == 303
    assert acting(CELL) == {"试验甲"}


def test_an_order_without_an_end_is_asked_whether_it_is_for_good(
    signed_in: SignIn, pair: tuple[uuid.UUID, uuid.UUID]
) -> None:
    client = signed_in("supervisor")
    order = {"giver": str(pair[0]), "taker": str(pair[1]), "why": "调离", "exception": "急"}
    assert client.post("/grid/handover", data=order).status_code == 422
    assert client.post("/grid/handover", data=order | {"for_good": "1"}).status_code == 303
    assert acting(CELL) == acting(NEXT) == {"<b>试验乙"}


def test_the_plan_goes_out_and_in_and_a_line_at_fault_takes_nothing(
    signed_in: SignIn, pair: tuple[uuid.UUID, uuid.UUID]
) -> None:
    client = signed_in("westoffice")
    out = client.get("/grid/plan.csv").content
    lines = list(csv.reader(io.StringIO(out.decode("utf-8-sig"))))
    assert len(lines) == 1 + 18
    for line in lines[1:]:
        line[7] = "过渡期"
    again = client.post("/grid/plan", files={"file": ("plan.csv", _csv(lines))})
    assert again.status_code == 200
    assert "变动 0 项" in again.text
    free = f"{tiny.WEST}002001"
    wrong = [
        lines[0],
        [free, "全部", "主责", "gridwest", "", "", "", "试点"],
        [FAR, "市场监管", "", "gridwest", "", "", "", "x"],
    ]
    refused = client.post("/grid/plan", files={"file": ("plan.csv", _csv(wrong))})
    assert refused.status_code == 422
    assert FAR in refused.text
    assert acting(free) == set()
    book = io.BytesIO()
    with xlsxwriter.Workbook(book) as made:
        sheet = made.add_worksheet()
        for number, line in enumerate(wrong[:2]):
            sheet.write_row(number, 0, line)
    taken = client.post("/grid/plan", files={"file": ("plan.xlsx", book.getvalue())})
    assert taken.status_code == 200, taken.text
    assert acting(free) == {"试验gridwest"}
    assert client.get("/grid/plan.xlsx").content[:2] == b"PK"


def _csv(lines: list[list[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(lines)
    return out.getvalue().encode("gb18030")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04rubbish", "列一,列二\n1,2\n".encode(), b"\xff\xff\x80"])
def test_what_is_no_plan_is_refused_with_words(signed_in: SignIn, data: bytes) -> None:
    answer = signed_in("westoffice").post("/grid/plan", files={"file": ("plan.xlsx", data)})
    assert answer.status_code == 422
    assert 'class="notice bad"' in answer.text


def test_a_worker_passes_prints_and_a_resident_checks_the_certificate(signed_in: SignIn, client: TestClient) -> None:
    worker = signed_in("gridwest")
    number = certify(worker, "safety")
    paper = worker.get(f"/training/certificates/{number}").text
    code = re.search(r"<code>([2-9A-Z]{8})</code>", paper)
    assert code
    form = {"number": number, "code": code[1], "csrf_token": csrf(client)}
    shown = client.post("/certificates/check", data=form).text
    assert "有效" in shown
    assert "试***" in shown
    assert "试验gridwest" not in shown
    assert client.post("/certificates/check", data=form | {"code": "22222222"}).status_code == 404
    assert client.get(f"/training/certificates/{number}").status_code in (303, 401)
    office = signed_in("westoffice")
    assert f"/training/certificates/{number}" in office.get("/grid/certificates").text
    assert office.post(f"/training/certificates/{number}/revoke", data={"why": "x"}).status_code == 403
    assert signed_in("streets").get(f"/training/certificates/{number}").status_code == 403, (
        "a department has no workers"
    )
    revoked = signed_in("supervisor").post(f"/training/certificates/{number}/revoke", data={"why": "代考"})
    assert revoked.status_code == 303
    assert "已吊销" in client.post("/certificates/check", data=form).text
    assert "吊销" in worker.get("/notices").text
    assert worker.post("/notices").status_code == 303


def test_the_phone_is_told_no_right_answers(signed_in: SignIn) -> None:
    told = signed_in("gridwest").get("/api/v1/training")
    assert '"right' not in told.text
    assert [one["duty"] for one in told.json()["duties"]] == list(duties.DUTIES)
    assert len(told.content) < 120_000


def test_a_quiz_in_the_browser_is_marked_and_wrong_answers_name_the_card(signed_in: SignIn) -> None:
    client = signed_in("gridwest")
    page = client.get("/training/market").text
    fields = dict(re.findall(r'name="(number|digest|key)" value="([^"]+)"', page))
    marked = client.post("/training/market", data=fields)
    assert marked.status_code == 200
    assert "0 / 6" in marked.text
    assert client.post("/training/market", data=fields | {"key": "x"}).status_code == 422
    assert client.get("/training/gardening").status_code == 404

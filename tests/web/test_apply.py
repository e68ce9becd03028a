"""Applying on the web: form, files, summary, receipt; what is refused, and that nothing is lost or sent twice."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from starlette.testclient import TestClient

from core.actor import Actor, Role
from core.db import transaction
from core.ids import new_id
from dispatch import cases, sheet, views
from tests import tiny
from tests.builders import program
from tests.web import counters
from tests.web.conftest import csrf

pytestmark = pytest.mark.web
#: An item of the tiny district's own; an internet cafe, which the negative list speaks about; one at the window only.
ROAD, CAFE, LIFT = counters.ROAD, "SL350001", "SL330006"


@pytest.fixture(scope="module", autouse=True)
def items(district: tiny.Tiny) -> None:
    counters.publish(datetime.now(UTC))


def send(client: TestClient, form: dict[str, object], code: str = ROAD) -> str:
    """Send an application and return its receipt page."""
    answer = client.post(f"/apply/{code}/send", data=form)
    assert answer.status_code == 303, re.findall(r'role="alert"[^>]*>(.*?)</div>', answer.text, re.DOTALL)
    receipt = client.get(answer.headers["location"])
    assert receipt.status_code == 200, receipt.text
    return receipt.text


def number_of(receipt: str) -> str:
    found = re.search(r'id="number">([^<]+)<', receipt)
    assert found
    return found[1].replace(" ", "")


def stored(client: TestClient, data: bytes, name: str = "a.jpg") -> str:
    """Store a file as the form's script does and return its token."""
    answer = client.post(
        "/apply/upload",
        data={"code": "ZDFA", "csrf_token": csrf(client)},
        files={"file": (name, data, "application/octet-stream")},
    )
    assert answer.status_code == 200, answer.text
    found = re.search(r'name="kept-ZDFA" value="([^"]+)"', answer.text)
    assert found
    return found[1]


def as_operator(number: str, action: str, **fields: object) -> None:
    """Let the window take a step, as its pages would."""
    with transaction(program(tiny.DISTRICT)) as session:
        found = sheet.progress(session, number)
    actor = Actor(id=new_id(), name="试验窗口", role=Role.OPERATOR, district=tiny.DISTRICT)
    from api import wiring

    with transaction(actor) as session:
        book = wiring.rulebook(tiny.DISTRICT)
        now = datetime.now(UTC)
        cases.act(session, book, found.id, action, expected_version=found.version, at=now, fields=fields)


def test_a_receipt_names_number_code_and_what_is_missing(client: TestClient) -> None:
    receipt = send(client, counters.fill(client, ROAD))
    assert len(number_of(receipt)) == 15
    assert re.search(r'id="code">\w{6}<', receipt)
    assert "还缺" in receipt
    assert "占道方案和平面图" in receipt


def test_the_same_key_twice_is_one_application(client: TestClient) -> None:
    form = counters.fill(client, ROAD)
    assert number_of(send(client, form)) == number_of(send(client, form))


def test_the_summary_says_what_would_be_sent_and_opens_nothing(client: TestClient) -> None:
    token = stored(client, counters.picture())
    form = counters.fill(client, ROAD) | {"kept-ZDFA": token}
    page = client.post(f"/apply/{ROAD}/check", data=form)
    assert page.status_code == 200, page.text
    assert "还缺 1 项材料" in page.text
    assert "交通疏导方案" in page.text
    assert token in page.text
    with transaction(program(tiny.DISTRICT)) as session:
        assert views.worklist(session, views.Filter(search="无此人"), at=datetime.now(UTC)).count == 0
    assert "占道方案和平面图" not in send(client, form).split("还缺")[1].split("</ul>")[0]


def test_going_back_keeps_everything_that_was_entered(client: TestClient) -> None:
    token = stored(client, counters.picture(), "方案.jpg")
    page = client.post(f"/apply/{ROAD}", data=counters.fill(client, ROAD) | {"kept-ZDFA": token}).text
    assert 'value="王小试"' in page
    assert "方案.jpg" in page
    assert token in page


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": ""}, "姓名"),
        ({"id_number": "990200196001010071"}, "身份证"),
        ({"phone": "打给我"}, "电话"),
        ({"met": []}, "逐条确认"),
        ({"pickup": ""}, "领取地点"),
        ({"agent": "yes"}, "代办人"),
    ],
)
def test_what_is_missing_is_named_and_nothing_is_lost(
    client: TestClient, changed: dict[str, object], words: str
) -> None:
    form = counters.fill(client, ROAD, words="请尽快") | changed
    answer = client.post(f"/apply/{ROAD}/send", data=form)
    assert answer.status_code == 422
    assert words in answer.text.split('id="trouble"')[1][:600]
    assert "请尽快" in answer.text


def test_the_negative_list_refuses_with_its_entry_shown(client: TestClient) -> None:
    form = counters.fill(client, CAFE, kind="organisation", name="试验网吧", id_number="91990200MA0000007X")
    form |= {"fact-distance_to_school_m": "120"}
    answer = client.post(f"/apply/{CAFE}/check", data=form)
    assert answer.status_code == 409
    assert "校园二百米内" in answer.text
    assert "第九条" in answer.text


def test_an_item_of_the_window_is_not_applied_for_on_the_web(client: TestClient) -> None:
    page = client.get(f"/apply/{LIFT}")
    assert page.status_code == 200
    assert "预约" in page.text
    form = counters.fill(client, ROAD)
    assert client.post(f"/apply/{LIFT}/send", data=form).status_code == 409


@pytest.mark.parametrize("data", [b"MZ\x90\x00 a program", b"<svg onload=alert(1)>", b""])
def test_a_file_that_is_no_picture_and_no_pdf_is_refused(client: TestClient, data: bytes) -> None:
    form = {"code": "ZDFA", "csrf_token": csrf(client)}
    answer = client.post("/apply/upload", data=form, files={"file": ("x.jpg", data, "image/jpeg")})
    assert answer.status_code in (415, 422)


def test_a_file_of_eleven_megabytes_is_refused(client: TestClient) -> None:
    form = {"code": "ZDFA", "csrf_token": csrf(client)}
    answer = client.post("/apply/upload", data=form, files={"file": ("x.pdf", b"%PDF-" + b"0" * 11 * 2**20)})
    assert answer.status_code == 413


def test_a_forged_token_is_no_file(client: TestClient) -> None:
    receipt = send(client, counters.fill(client, ROAD) | {"kept-ZDFA": "WyJhIl0.aa.bb"})
    assert "占道方案和平面图" in receipt.split("还缺")[1]


def test_an_unknown_item_is_not_found(client: TestClient) -> None:
    assert client.get("/apply/NOTHING").status_code == 404


def test_names_of_files_and_people_are_escaped(client: TestClient) -> None:
    token = stored(client, counters.picture(), "<img src=x onerror=alert(1)>.jpg")
    form = counters.fill(client, ROAD, name="<b>王</b>") | {"kept-ZDFA": token}
    page = client.post(f"/apply/{ROAD}/check", data=form).text
    assert "<b>王" not in page
    assert "<img src=x" not in client.post(f"/apply/{ROAD}", data=form).text


def test_the_applicant_hands_in_what_the_notice_names_and_it_is_checked_again(client: TestClient) -> None:
    number = number_of(send(client, counters.fill(client, ROAD)))
    as_operator(number, "notice")
    page = client.get(f"/progress/{number}").text
    assert "已一次性告知您缺少" in page
    assert "补齐" in page
    for code in ("ZDFA", "JTFA"):
        version = re.search(r'name="version" value="(\d+)"', client.get(f"/progress/{number}").text)
        assert version
        form = {"version": version[1], "code": code, "csrf_token": csrf(client)}
        files = {"file": (f"{code}.jpg", counters.picture(ord(code[0])), "image/jpeg")}
        assert client.post(f"/progress/{number}/material", data=form, files=files).status_code == 303
    version = re.search(r'name="version" value="(\d+)"', client.get(f"/progress/{number}").text)
    assert version
    form = {"version": version[1], "csrf_token": csrf(client)}
    assert client.post(f"/progress/{number}/supply", data=form).status_code == 303
    assert "正在核对材料" in client.get(f"/progress/{number}").text


def test_by_number_alone_nobody_sees_materials_or_names(client: TestClient) -> None:
    number = number_of(send(client, counters.fill(client, ROAD)))
    client.cookies.clear()
    page = client.get(f"/progress/{number}").text
    assert "占道方案" not in page
    assert "王" not in page.replace("网", "")
    form = {"version": "1", "code": "ZDFA", "csrf_token": csrf(client)}
    files = {"file": ("a.jpg", counters.picture(), "image/jpeg")}
    assert client.post(f"/progress/{number}/material", data=form, files=files).status_code == 403


def test_a_request_for_information_gets_a_receipt(client: TestClient) -> None:
    form = {
        "csrf_token": csrf(client),
        "key": str(new_id()),
        "kind": "person",
        "name": "赵试验",
        "id_number": counters.card(31),
        "phone": "13800138000",
        "wanted": "2025 年望湖镇垃圾清运合同",
        "how": "electronic",
    }
    answer = client.post("/apply/information", data=form)
    assert answer.status_code == 303, answer.text
    assert "已收到您的申请" in client.get(answer.headers["location"]).text
    wrong = client.post("/apply/information", data=form | {"key": str(new_id()), "wanted": ""})
    assert wrong.status_code == 422
    assert "赵试验" in wrong.text


def test_a_machine_that_sends_is_slowed_down(client: TestClient) -> None:
    form = counters.fill(client, ROAD)
    for _ in range(30):
        assert client.post(f"/apply/{ROAD}/send", data=form).status_code == 303
    assert client.post(f"/apply/{ROAD}/send", data=form).status_code == 429


@pytest.mark.parametrize("path", ["/apply", f"/apply/{ROAD}", "/apply/information"])
def test_pages_are_whole_in_both_languages(client: TestClient, path: str) -> None:
    from tests.web.test_words import ALLOWED, seen

    text = re.sub(r"SL\d+|\d[\d.,:/-]*\w*", " ", seen(client.get(f"{path}?lang=zh").text))
    assert not {word for word in re.findall(r"[A-Za-z]{3,}", text) if word.lower() not in ALLOWED}
    english = seen(client.get(f"{path}?lang=en").text).replace("望江区", "")
    assert not re.findall(r"[\u4e00-\u9fff]+", english)


@pytest.mark.parametrize("login", ["operator", "streets", "official"])
def test_staff_who_apply_for_themselves_are_citizens_there(signed_in: Callable[[str], TestClient], login: str) -> None:
    client = signed_in(login)
    assert number_of(send(client, counters.fill(client, ROAD)))

"""The resident's face: report, receipt, progress, rating; what anybody sees and what only the reporter sees."""

import io
import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from PIL import Image
from starlette.testclient import TestClient

from core.ids import new_id
from tests import tiny
from tests.builders import reply_fields
from tests.web.conftest import csrf

pytestmark = pytest.mark.web
RUBBISH = "滨湖路18号门口的垃圾三天没有清运，味道很大，苍蝇很多，请尽快处理。"


def send(client: TestClient, text: str = RUBBISH, **fields: object) -> str:
    """Send a report and return its receipt page."""
    form = {"text": text, "key": str(new_id()), "csrf_token": csrf(client)} | fields
    answer = client.post("/report", data=form)
    assert answer.status_code == 303, answer.text
    receipt = client.get(answer.headers["location"])
    assert receipt.status_code == 200, receipt.text
    return receipt.text


def number_of(receipt: str) -> str:
    found = re.search(r'id="number">([^<]+)<', receipt)
    assert found
    return found[1].replace(" ", "")


def code_of(receipt: str) -> str:
    found = re.search(r'id="code">(\w{6})<', receipt)
    assert found
    return found[1]


def test_a_report_gives_a_number_a_code_and_what_happens_next(client: TestClient) -> None:
    receipt = send(client)
    assert len(number_of(receipt)) == 15
    assert code_of(receipt)


def test_the_same_key_twice_is_one_report(client: TestClient) -> None:
    key = str(new_id())
    assert number_of(send(client, key=key)) == number_of(send(client, key=key))


def test_number_alone_shows_steps_and_nothing_personal(client: TestClient) -> None:
    number = number_of(send(client, name="王小试", phone="13800138000"))
    client.cookies.clear()
    shown = client.get(f"/progress/{number}").text
    assert "苍蝇" not in shown
    assert "王" not in shown.replace("网", "")
    assert "13800138000" not in shown


def test_number_and_code_open_the_own_view(client: TestClient) -> None:
    receipt = send(client)
    client.cookies.clear()
    form = {"number": number_of(receipt), "code": code_of(receipt).lower(), "csrf_token": csrf(client)}
    answer = client.post("/progress", data=form)
    assert answer.status_code == 303
    assert "苍蝇" in client.get(answer.headers["location"]).text


def test_a_wrong_code_opens_nothing_and_is_counted(client: TestClient) -> None:
    number = number_of(send(client))
    client.cookies.clear()
    token = csrf(client)
    for _ in range(10):
        answer = client.post("/progress", data={"number": number, "code": "AAAAAA", "csrf_token": token})
        assert answer.status_code == 404
    answer = client.post("/progress", data={"number": number, "code": "AAAAAA", "csrf_token": token})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


def test_a_mistyped_number_is_named_as_such(client: TestClient) -> None:
    answer = client.post("/progress", data={"number": "202611210000010", "csrf_token": csrf(client)})
    assert answer.status_code == 404
    assert "核对" in answer.text


def test_only_the_reporter_may_rate(client: TestClient) -> None:
    number = number_of(send(client))
    client.cookies.clear()
    form = {"version": 1, "satisfaction": "5", "solved": "yes", "csrf_token": csrf(client)}
    assert client.post(f"/progress/{number}/rate", data=form).status_code == 403


def test_rating_an_answered_matter_closes_it_and_counts_once(
    client: TestClient, answered: Callable[[str], None]
) -> None:
    receipt = send(client)
    number = number_of(receipt)
    answered(number)
    page = client.get(f"/progress/{number}").text
    version = re.search(r'name="version" value="(\d+)"', page)
    assert version
    form = {"version": version[1], "satisfaction": "4", "solved": "yes", "csrf_token": csrf(client)}
    assert client.post(f"/progress/{number}/rate", data=form).status_code == 303
    again = client.get(f"/progress/{number}").text
    assert "4" in again
    assert "rate" not in re.findall(r'action="[^"]*/(\w+)"', again)
    assert client.post(f"/progress/{number}/rate", data=form).status_code == 409


def test_not_solved_needs_words_and_sends_it_back(client: TestClient, answered: Callable[[str], None]) -> None:
    number = number_of(send(client))
    answered(number)
    version = re.search(r'name="version" value="(\d+)"', client.get(f"/progress/{number}").text)
    assert version
    form = {"version": version[1], "satisfaction": "1", "solved": "no", "csrf_token": csrf(client)}
    assert client.post(f"/progress/{number}/rate", data=form).status_code == 422
    answer = client.post(f"/progress/{number}/rate", data=form | {"note": "垃圾还在"})
    assert answer.status_code == 303
    assert "正在办理" in client.get(f"/progress/{number}").text


def version_of(page: str) -> str:
    found = re.search(r'name="version" value="(\d+)"', page)
    assert found
    return found[1]


def run(number: str, *steps: tuple[str, str, dict[str, object]]) -> None:
    """Take steps as staff: (login, action, fields)."""
    from api import wiring
    from core.actor import Actor
    from core.db import transaction
    from dispatch import cases, sheet
    from tests.builders import program

    for login, action, fields in steps:
        role, unit, town = tiny.PEOPLE[login]
        actor = Actor(id=new_id(), name=f"试验{login}", role=role, district=tiny.DISTRICT, town=town, unit=unit)
        with transaction(program(tiny.DISTRICT)) as session:
            matter = sheet.progress(session, number)
        with transaction(actor) as session:
            book = wiring.rulebook(tiny.DISTRICT)
            now = datetime.now(UTC)
            cases.act(session, book, matter.id, action, expected_version=matter.version, at=now, fields=fields)


def test_a_pause_is_told_with_its_reason_and_until_when_and_no_name_of_an_official(
    client: TestClient, answered: Callable[[str], None]
) -> None:
    number = number_of(send(client))
    answered(number)
    form = {"version": version_of(client.get(f"/progress/{number}").text), "csrf_token": csrf(client)}
    form |= {"satisfaction": "1", "solved": "no", "note": "垃圾还在"}
    assert client.post(f"/progress/{number}/rate", data=form).status_code == 303
    asked = {"pause_reason": "material", "span": "5nd", "document": "内部函〔2026〕3号"}
    run(number, ("streets", "pause_ask", asked), ("operator", "pause_grant", {}))
    page = client.get(f"/progress/{number}").text
    assert "暂时中止" in page
    assert "等待申请人或来电人补充材料" in page or "材料" in page
    assert "恢复办理，最迟" in page
    assert "内部函" not in page
    assert "试验streets" not in page


def test_the_citizen_adds_words_and_photos_once(client: TestClient, answered: Callable[[str], None]) -> None:
    number = number_of(send(client))
    answered(number)
    page = client.get(f"/progress/{number}").text
    form = {"version": version_of(page), "note": "今天又有人倒垃圾", "csrf_token": csrf(client)}
    out = io.BytesIO()
    Image.new("RGB", (20, 20), (1, 2, 3)).save(out, "JPEG")
    files = {"photo": ("a.jpg", out.getvalue(), "image/jpeg")}
    assert client.post(f"/progress/{number}/add", data=form, files=files).status_code == 303
    assert client.post(f"/progress/{number}/add", data=form, files=files).status_code == 303
    page = client.get(f"/progress/{number}").text
    assert page.count("今天又有人倒垃圾") == 1, "a second press adds nothing"
    assert len(set(re.findall(rf"/progress/{number}/photos/[0-9a-f-]+", page))) == 1
    client.cookies.clear()
    assert "今天又有人倒垃圾" not in client.get(f"/progress/{number}").text


def test_an_empty_addition_is_refused_and_names_what_is_needed(
    client: TestClient, answered: Callable[[str], None]
) -> None:
    number = number_of(send(client))
    answered(number)
    form = {"version": version_of(client.get(f"/progress/{number}").text), "note": " ", "csrf_token": csrf(client)}
    assert client.post(f"/progress/{number}/add", data=form).status_code == 422


def test_withdrawing_asks_once_and_needs_a_reason(client: TestClient, answered: Callable[[str], None]) -> None:
    number = number_of(send(client))
    answered(number)
    form = {"version": version_of(client.get(f"/progress/{number}").text), "csrf_token": csrf(client)}
    unsure = client.post(f"/progress/{number}/withdraw", data=form | {"reason": "已自行解决"})
    assert unsure.status_code == 422
    assert 'value="已自行解决"' in unsure.text
    assert client.post(f"/progress/{number}/withdraw", data=form | {"sure": "yes"}).status_code == 422
    taken = client.post(f"/progress/{number}/withdraw", data=form | {"sure": "yes", "reason": "已自行解决"})
    assert taken.status_code == 303
    assert "您已撤回" in client.get(f"/progress/{number}").text


def test_rework_is_asked_for_once_and_each_answer_is_shown_once(
    client: TestClient, answered: Callable[[str], None]
) -> None:
    number = number_of(send(client))
    answered(number)
    page = client.get(f"/progress/{number}").text
    assert page.count("已经清运，并加密了班次。") == 1, "an answer is no line of the log, too"
    form = {"version": version_of(page), "csrf_token": csrf(client), "satisfaction": "1", "solved": "no"}
    assert client.post(f"/progress/{number}/rate", data=form | {"note": "垃圾还在"}).status_code == 303
    run(number, ("streets", "reply", dict(reply_fields(answer="第二次清运完毕。"))))
    page = client.get(f"/progress/{number}").text
    assert "已重新办理过一次" in page
    assert page.index("第二次清运完毕。") < page.index("已经清运，并加密了班次。"), "the newest answer stands first"
    form["version"] = version_of(page)
    assert client.post(f"/progress/{number}/rate", data=form | {"note": "还是不行"}).status_code == 303
    page = client.get(f"/progress/{number}").text
    assert "已有答复" in page, "the second no is a rating, not another rework"
    assert "您的评价：" in page


def test_who_opened_my_data_is_shown_to_me_alone(client: TestClient, answered: Callable[[str], None]) -> None:
    from core.actor import Actor
    from core.db import transaction
    from dispatch import identity, sheet
    from tests.builders import program

    number = number_of(send(client, name="王小试", phone="13800138000"))
    answered(number)
    with transaction(program(tiny.DISTRICT)) as session:
        case = sheet.progress(session, number).id
    role, unit, _ = tiny.PEOPLE["streets"]
    actor = Actor(id=new_id(), name="试验经办人", role=role, district=tiny.DISTRICT, unit=unit)
    with transaction(actor) as session:
        identity.disclose(session, case, field="phone", why="visit", reason="约定上门时间", at=datetime.now(UTC))
    page = client.get(f"/progress/{number}").text
    assert "责任单位（区城市管理局）查看了您的电话" in page
    assert "试验经办人" not in page, "the role and the unit answer for it, not a name"
    assert re.search(r"市民[2-9A-Z]{4}", page), "what the unit reads instead of the name"
    assert "约定上门时间" in page
    client.cookies.clear()
    assert "约定上门时间" not in client.get(f"/progress/{number}").text


def test_while_typing_place_and_category_appear(client: TestClient) -> None:
    shown = client.post("/understand", data={"text": RUBBISH, "csrf_token": csrf(client)})
    assert shown.status_code == 200
    assert "望湖镇" in shown.text


def test_a_photo_is_reencoded_without_exif_and_seen_only_by_those_who_may(
    client: TestClient,
) -> None:
    number = number_of(send_photo(client))
    page = client.get(f"/progress/{number}").text
    address = re.search(r'src="(/progress/[^"]+)"', page)
    assert address
    photo = client.get(address[1])
    assert photo.headers["content-type"] == "image/jpeg"
    assert photo.headers["x-content-type-options"] == "nosniff"
    assert not Image.open(io.BytesIO(photo.content)).getexif()
    client.cookies.clear()
    assert client.get(address[1]).status_code == 403


def send_photo(client: TestClient) -> str:
    picture = Image.new("RGB", (800, 600), "navy")
    exif = Image.Exif()
    exif[0x010F] = "Testkamera"
    out = io.BytesIO()
    picture.save(out, "JPEG", exif=exif)
    form = {"text": RUBBISH, "key": str(new_id()), "csrf_token": csrf(client)}
    answer = client.post("/report", data=form, files={"photo": ("a.jpg", out.getvalue(), "image/jpeg")})
    assert answer.status_code == 303, answer.text
    return client.get(answer.headers["location"]).text


def test_a_point_from_the_phone_places_the_case(client: TestClient) -> None:
    lng, lat = tiny.Tiny().in_east
    receipt = send(client, text="这里的路灯坏了，晚上很黑。", lng=str(lng), lat=str(lat))
    assert "临江" in client.get(f"/progress/{number_of(receipt)}").text


@pytest.fixture
def answered() -> Callable[[str], None]:
    """Return a function that takes a case to its answer as the people would."""
    from api import wiring
    from core.actor import Actor, Role, system
    from core.db import snapshot, transaction
    from dispatch import cases, sheet

    def through(number: str) -> None:
        book = wiring.rulebook()
        operator = Actor(new_id(), "话务员", Role.OPERATOR, tiny.DISTRICT)
        unit = Actor(new_id(), "经办", Role.UNIT, tiny.DISTRICT, unit=tiny.STREETS)
        with snapshot(system(tiny.DISTRICT)) as session:
            matter = sheet.progress(session, number)
        version, state = matter.version, matter.state
        steps = [(operator, "dispatch", {"unit": tiny.STREETS})] if state == "received" else []
        if state == "dispatched":
            steps = [
                (operator, "redispatch", {"unit": tiny.WATER, "reason": "试"}),
                (operator, "redispatch", {"unit": tiny.STREETS, "reason": "试"}),
            ]
        steps += [(unit, "sign", {}), (unit, "reply", reply_fields(answer="已经清运，并加密了班次。"))]
        for actor, action, fields in steps:
            with transaction(actor) as session:
                done = cases.act(
                    session,
                    book,
                    matter.id,
                    action,
                    expected_version=version,
                    at=datetime.now(UTC),
                    fields=fields,
                )
            version = done.version

    return through


def test_a_photo_of_a_case_is_shown_to_those_who_see_the_case(
    client: TestClient, signed_in: Callable[[str], TestClient], answered: Callable[[str], None]
) -> None:
    from core.actor import system
    from core.db import snapshot
    from dispatch import attachments, sheet

    number = number_of(send_photo(client))
    answered(number)
    with snapshot(system(tiny.DISTRICT)) as session:
        case = sheet.progress(session, number).id
        (photo,) = attachments.listed(session, case)
    seen = {login: signed_in(login).get(f"/photos/{case}/{photo}").status_code for login in tiny.PEOPLE}
    assert {login for login, status in seen.items() if status == 200} >= {
        "operator",
        "supervisor",
        "streets",
        "official",
    }
    for login in ("admin", "citizen", "officialeast"):
        assert seen[login] == 404, login
    client.cookies.clear()
    assert client.get(f"/photos/{case}/{photo}").status_code == 404

"""Service items through HTTP: the list, the sheet, old versions, PDF, data, comparisons, in both languages."""

import re
import zlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from api import wiring
from core.db import transaction
from core.ids import new_id
from dispatch.calendar import china_time
from dispatch.items import catalogue, lists
from dispatch.items.reading import Override, Read, default_files, read_yaml
from dispatch.items.roles import Units
from tests import tiny
from tests.builders import program
from tests.web.test_words import ALLOWED, seen

pytestmark = pytest.mark.web
#: An item of these tests alone, so that nobody else's load makes a version of it.
CODE, HOSTILE = "SL990003", "SL990001"


@pytest.fixture(scope="module", autouse=True)
def items(district: tiny.Tiny) -> None:
    """Publish the shipped items, a second version of one, a withdrawn one, and one with hostile words."""
    wiring.forget()
    read = read_yaml(default_files())
    at = datetime.now(UTC)
    with transaction(program(tiny.DISTRICT)) as session:
        units = Units(wiring.rulebook(tiny.DISTRICT).units)
        catalogue.load(session, read, units=units, at=at)
        lists.load(session, lists.read_lists(lists.DEFAULT))
        today = china_time(at).date()
        shipped = catalogue.current(session, "SL310003", today).sheet
        base = replace(shipped, code=CODE, name="试验食品经营许可", keywords=("试验餐馆",))
        known = {line.item_code for line in catalogue.listing(session, catalogue.Filter(search=CODE), day=today).lines}
        if CODE not in known:
            catalogue.publish(session, base, at=at, valid_from=date(2026, 1, 1), source="试验")
            materials = tuple(replace(one, count=3) if one.code == "BJT" else one for one in base.materials)
            changed = replace(base, promised_limit="5wd", materials=materials)
            catalogue.publish(session, changed, at=at, source="试验第二版")
            override = Override(CODE, tiny.WEST, {"promised_limit": "9wd"}, "试验")
            catalogue.load(session, Read(overrides=[override]), units=units, at=at)
        bad = replace(
            base,
            code=HOSTILE,
            name='<script>alert(1)</script>"试验"',
            conditions=("<img src=http://elsewhere.example/x onerror=alert(1)>",),
            lists=(),
            keywords=(),
        )
        if CODE not in known:
            catalogue.publish(session, bad, at=at, source="<b>试验</b>")
            catalogue.withdraw(session, HOSTILE, today + timedelta(days=1), at=at)


def text_of(pdf: bytes) -> bytes:
    """Return the drawing commands of a PDF, unpacked."""
    found = b""
    for packed in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL):
        try:
            found += zlib.decompress(packed)
        except zlib.error:
            found += packed
    return found


def test_anybody_sees_the_list_and_a_sheet(client: TestClient) -> None:
    page = client.get("/items")
    assert page.status_code == 200
    assert "高龄津贴申请" in page.text
    assert 'href="/items"' in client.get("/").text
    sheet = client.get(f"/items/{CODE}").text
    for disclosed in (
        "食品经营许可",
        "法律依据",
        "受理条件",
        "申请材料",
        "办理流程",
        "办理时限",
        "收费及依据",
        "领取地点",
    ):
        assert disclosed in sheet
    for held in ("中华人民共和国食品安全法", "第三十五条", "联合踏勘", "5 个工作日", "10 个工作日", "示例", "不收费"):
        assert held in sheet


def test_the_list_is_bounded_and_counts(client: TestClient) -> None:
    page = client.get("/items").text
    assert page.count('href="/items/SL') == catalogue.PAGE
    assert f"共 {client.get('/api/v1/items').json()['total']} 项" in page
    assert 'rel="next"' in page
    assert client.get("/items?page=99999").status_code == 200
    assert client.get("/items?page=x").status_code == 200


@pytest.mark.parametrize(
    ("query", "shown", "hidden"),
    [
        ("q=低保", "最低生活保障", "养犬登记"),
        ("audience=organisation&q=卫生许可", "公共场所卫生许可", "高龄津贴"),
        ("level=district&q=道路", "挖掘城市道路审批", "高龄津贴"),
        ("once=1&q=高龄", "高龄津贴", "养犬登记"),
        ("q=" + "长" * 300, "没有符合的事项", "养犬登记"),
    ],
)
def test_the_list_is_narrowed(client: TestClient, query: str, shown: str, hidden: str) -> None:
    page = client.get(f"/items?{query}")
    assert page.status_code == 200
    assert shown in page.text
    assert hidden not in page.text


@pytest.mark.parametrize("query", ["audience=cat", "level=moon"])
def test_a_filter_that_means_nothing_is_refused(client: TestClient, query: str) -> None:
    assert client.get(f"/items?{query}").status_code == 422
    assert client.get(f"/api/v1/items?{query}").status_code == 422


@pytest.mark.parametrize("path", ["/items/NONE", "/items/NONE.pdf", f"/items/{CODE}?version=99", "/items/NONE/compare"])
def test_what_is_not_there_is_404(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404
    data = client.get("/api/v1" + path.replace(".pdf", "") + ("?before=1&after=1" if "compare" in path else ""))
    assert data.status_code == 404
    assert data.headers["content-type"].startswith("application/problem+json")


@pytest.mark.parametrize("number", ["0", "-1", "x", "1e9", "99999999999999"])
def test_a_version_that_is_no_number_is_refused(client: TestClient, number: str) -> None:
    assert client.get(f"/items/{CODE}?version={number}").status_code == 422


def test_an_old_version_says_that_it_was_replaced(client: TestClient) -> None:
    old, new = (client.get(f"/items/{CODE}?version={n}").text for n in (1, 2))
    assert "此版本已被新版本替代" in old
    assert "6 个工作日" in old
    assert "此版本已被新版本替代" not in new


def test_hostile_words_are_escaped_everywhere(client: TestClient) -> None:
    for path in (f"/items/{HOSTILE}", f"/items/{HOSTILE}/compare", "/items?page=2", f"/items?q={HOSTILE}"):
        page = client.get(path)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<img src=http" not in page.text
        assert "<b>试验" not in page.text


def test_a_pdf_has_pages_chinese_and_a_footer(client: TestClient) -> None:
    answer = client.get(f"/items/{CODE}.pdf")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.content.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type\s*/Page\b", text_of(answer.content) + answer.content))
    assert 1 <= pages <= 4
    # A font with Chinese is inside: otherwise the page would be boxes.
    assert re.search(rb"CJK|WenQuanYi|Han", answer.content + text_of(answer.content))
    assert client.get(f"/items/{CODE}.pdf").content == answer.content


def test_a_pdf_never_fetches_what_a_page_names(client: TestClient) -> None:
    from api import pdf

    def page() -> str:
        return '<img src="http://elsewhere.example/x.png"><img src="file:///etc/hostname"><p>x</p>'

    style = "@import url(http://elsewhere.example/x.css); body { background: url(file:///etc/passwd) }"
    # The tests' own guard fails on any connection that is not loopback.
    data = pdf.draw(("test", new_id()), page, css=style)
    assert data.startswith(b"%PDF-")
    assert b"/Image" not in text_of(data)
    assert client.get(f"/items/{HOSTILE}.pdf").content.startswith(b"%PDF-")


def test_a_crowd_that_wants_pdfs_does_not_hold_the_other_pages(client: TestClient) -> None:
    import threading

    from api import pdf
    from core.errors import Unavailable

    begun, go_on = threading.Event(), threading.Event()
    refused: list[Unavailable] = []

    def slow() -> str:
        begun.set()
        assert go_on.wait(60)
        return "<p>x</p>"

    def ask() -> None:
        try:
            pdf.draw(("crowd", new_id()), slow, css="")
        except Unavailable as error:
            refused.append(error)

    crowd = [threading.Thread(target=ask) for _ in range(10)]
    for one in crowd:
        one.start()
    assert begun.wait(60)
    # One draws and three wait; the others are told at once.
    for _ in range(500):
        if len(refused) == 6:
            break
        threading.Event().wait(0.02)
    assert len(refused) == 6
    assert client.get(f"/items/{CODE}").status_code == 200
    go_on.set()
    for one in crowd:
        one.join(60)
    assert len(refused) == 6


def test_the_comparison_shows_versions_and_towns(client: TestClient) -> None:
    page = client.get(f"/items/{CODE}/compare").text
    assert "6 个工作日" in page
    assert "5 个工作日" in page
    assert "BJT" in page
    assert "望湖镇" in page
    assert "9 个工作日" in page
    assert client.get("/items/SL110001/compare").status_code == 200


def test_the_data_say_what_the_page_says(client: TestClient) -> None:
    page = client.get("/api/v1/items", params={"q": "试验餐馆"}).json()
    assert [one["code"] for one in page["items"]] == [CODE]
    found = client.get(f"/api/v1/items/{CODE}").json()
    assert (found["version"], found["state"], found["promised_limit"]) == (2, "valid", "5wd")
    sheet = found["sheet"]
    assert sheet["example"] is True
    assert {"basis", "conditions", "materials", "steps", "fee", "results", "pick_ups"} <= sheet.keys()
    assert client.get(f"/api/v1/items/{CODE}?version=1").json()["state"] == "replaced"
    assert [one["version"] for one in client.get(f"/api/v1/items/{CODE}/versions").json()] == [2, 1]
    compared = client.get(f"/api/v1/items/{CODE}/compare?before=1&after=2").json()["differences"]
    assert {(one["field"], one["key"], one["member"]) for one in compared} == {
        ("promised_limit", "", ""),
        ("materials", "BJT", "count"),
    }
    towns = client.get(f"/api/v1/items/{CODE}/towns").json()
    assert [one["field"] for one in towns[tiny.WEST]] == ["promised_limit"]
    kinds = {one["kind"] for one in client.get("/api/v1/items/lists").json()}
    assert kinds == {"negative", "permitted", "supervision"}
    assert client.get("/api/v1/items/lists?kind=negative").json()[0]["conditions"]


def test_the_data_are_bounded(client: TestClient) -> None:
    assert len(client.get("/api/v1/items").json()["items"]) == catalogue.PAGE
    assert client.get("/api/v1/items?q=" + "x" * 101).status_code == 422
    assert client.get("/api/v1/items?q=%00").status_code in (400, 422)
    assert client.get("/items?q=%00").status_code in (400, 422)
    assert client.get("/items/%00").status_code in (400, 404, 422)


PAGES = ("/items", "/items?q=nothing", f"/items/{CODE}", f"/items/{CODE}?version=1", f"/items/{CODE}/compare")


@pytest.mark.parametrize("path", PAGES)
def test_the_english_pages_have_no_chinese_words_of_their_own(client: TestClient, path: str) -> None:
    page = client.get(path + ("&" if "?" in path else "?") + "lang=en").text
    # The title of a window is the item's name, and a title has no language of its own.
    text = seen(re.sub("<title>.*?</title>", "", page)).replace("望江区", "")
    assert not re.findall(r"[\u4e00-\u9fff]+", text)
    assert "Services" in page


@pytest.mark.parametrize("path", PAGES)
def test_the_chinese_pages_have_no_english_words_of_their_own(client: TestClient, path: str) -> None:
    main = client.get(path).text.partition("<main")[2].partition("</main>")[0]
    text = re.sub(r"\bSL\d+|\d[\d.,:/-]*\w*", " ", seen("<main" + main))
    words = {word for word in re.findall(r"[A-Za-z]{3,}", text) if word.lower() not in ALLOWED}
    assert words <= {"nothing"}


def test_items_stay_chinese_in_english(client: TestClient) -> None:
    page = client.get(f"/items/{CODE}?lang=en").text
    assert '<h1 lang="zh-Hans">试验食品经营许可</h1>' in page
    assert "5 working days" in page

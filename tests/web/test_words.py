"""Words: everything that is shown has a Chinese text, nothing English is left in the Chinese pages nor the reverse."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

from api import i18n, wording
from dispatch.process import processes

pytestmark = pytest.mark.web
#: Latin words that are what people call the thing in Chinese, too.
ALLOWED = {
    *("jpeg", "png", "webp", "wgs", "api", "english", "gps", "csv", "excel", "pdf", "gcj", "cgcs", "openstreetmap"),
    *("open", "leaflet", "maplibre", "km"),
    # What hostile reports of other tests say, which pages show as they are.
    *("script", "alert", "img", "src", "onerror", "onmouseover"),
    # Names of keys, as they stand on the keyboard.
    *("enter", "esc", "tab", "shift", "ctrl", "alt"),
}


class _Seen(HTMLParser):
    """Gathers what a person reads: text outside scripts, and the attributes that are read aloud or on hover."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._skip: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        foreign = tag in ("script", "style") or given.get("lang") or "said" in (given.get("class") or "")
        if tag not in ("html", "meta", "link", "input", "img", "br", "path", "rect", "hr") and (foreign or self._skip):
            self._skip.append(tag)
        if not self._skip:
            self.words += [given[name] or "" for name in ("alt", "title", "aria-label", "placeholder") if name in given]

    def handle_endtag(self, tag: str) -> None:
        if self._skip and self._skip[-1] == tag:
            self._skip.pop()

    def handle_data(self, data: str) -> None:
        if not self._skip:
            self.words.append(data)


def seen(page: str) -> str:
    parser = _Seen()
    parser.feed(page)
    return " ".join(parser.words)


def test_every_text_has_its_chinese() -> None:
    assert i18n.untranslated() == []


def test_translations_fill_in_the_same_parameters() -> None:
    for english, chinese in i18n.catalogue().items():
        one, two = (set(re.findall(r"\{(\w*)", text)) for text in (english, chinese))
        # A plural form may leave its number out, and Chinese has one form for both.
        assert one | {"n"} == two | {"n"}, english


def test_every_state_and_action_of_the_process_tables_has_words() -> None:
    for process in processes().values():
        assert set(process.states) <= set(wording.STATES)
        assert set(process.actions) <= set(wording.ACTIONS)
        assert set(process.clocks) <= set(wording.CLOCKS)


def test_the_words_of_an_error_are_translated_with_its_parameters() -> None:
    from api.errors import sentence
    from core.errors import Invalid

    assert sentence(Invalid("{name} is needed.", name="answer")) == "请填写 答复。"


@pytest.mark.parametrize(
    ("login", "paths"),
    [
        (None, ["/", "/progress", "/login", "/nothing"]),
        ("operator", ["/desk", "/desk?box=all", "/map"]),
        ("streets", ["/unit"]),
        ("official", ["/map", "/"]),
    ],
)
def test_no_english_is_left_in_the_chinese_pages(
    client: TestClient, signed_in: Callable[[str], TestClient], login: str | None, paths: list[str]
) -> None:
    browser = signed_in(login) if login else client
    for path in paths:
        page = browser.get(path)
        assert page.status_code in (200, 404), path
        text = re.sub(r"试验\w+|市民[A-Z\d]+|https?://\S+|\d[\d.,:/-]*\w*", " ", seen(page.text))
        words = {word for word in re.findall(r"[A-Za-z]{3,}", text) if word.lower() not in ALLOWED}
        assert not words, path


@pytest.mark.parametrize("path", ["/", "/progress", "/login", "/nothing"])
def test_no_chinese_is_left_in_the_english_pages(client: TestClient, path: str) -> None:
    text = seen(client.get(f"{path}?lang=en").text).replace("望江区", "")
    assert not re.findall(r"[\u4e00-\u9fff]+", text)


def test_language_type_and_theme_are_remembered(client: TestClient) -> None:
    client.get("/?lang=en&type=large&theme=dark")
    page = client.get("/progress").text
    assert '<html lang="en" data-theme="dark" data-type="large">' in page
    client.get("/?lang=xx&type=huge")
    assert '<html lang="en" data-theme="dark" data-type="large">' in client.get("/progress").text


def test_times_are_said_as_people_say_them() -> None:
    at = datetime(2026, 11, 20, 22, 30, tzinfo=UTC)  # Saturday morning in China
    assert wording.moment_words(at, now=at) == "今天 06:30"
    assert wording.moment_words(at, now=at - timedelta(days=1)) == "明天 06:30"
    assert wording.moment_words(at, now=at - timedelta(days=9)) == "11月21日 周六 06:30"
    assert wording.moment_words(at, now=at - timedelta(days=400)) == "2026年11月21日 周六 06:30"
    assert wording.left_words(at + timedelta(hours=3, minutes=20), now=at) == "还剩 3 小时 20 分"
    assert wording.left_words(at - timedelta(days=2), now=at) == "已超 2 天"


def test_a_limit_that_is_over_is_red_before_the_sweep_has_said_it() -> None:
    badge = wording.due_badge(datetime(2020, 1, 1, tzinfo=UTC), 0)
    assert "■" in badge
    assert "已超期" in badge


def test_parameters_of_texts_are_escaped() -> None:
    assert "<script>" not in i18n.gettext("Matter {number}", number="<script>")

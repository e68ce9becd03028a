"""The words of messages and the hours at which nobody is disturbed."""

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from hotline.outward import templates
from hotline.outward.adapters import CHANNELS
from hotline.outward.quiet import Quiet
from hotline.outward.templates import LONGEST, NAMES, Template, parts, render

pytestmark = pytest.mark.unit


def test_shipped_lines_can_all_be_used_and_say_nothing_that_is_not_for_others() -> None:
    shipped = templates.shipped()
    assert len(shipped.lines) > 25
    for line in shipped.lines.values():
        assert line.topic in shipped.audiences, line.key
        said = render(line, {name: f"<{name}>" for name in NAMES})
        assert "{" not in said.text + said.subject
        if line.channel != "sms":
            assert "{code}" not in line.text


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=900)), st.sampled_from(list(templates.shipped().lines)))
def test_whatever_a_value_holds_the_message_stays_one_text_of_its_length(
    values: dict[str, str], key: tuple[str, str, str, str]
) -> None:
    line = templates.shipped().lines[key]
    said = render(line, values)
    assert len(said.text) <= LONGEST[line.channel]
    assert "\n" not in said.subject
    assert not set(said.text) & set("\x00\x1b\u202e\u2066\u200b")
    if line.channel == "weibo":
        assert "@" not in said.text


def test_value_that_looks_like_a_word_in_braces_is_not_filled_in() -> None:
    line = Template("citizen.reply", "sms", text="{answer}")
    assert render(line, {"answer": "{code}", "code": "secret"}).text == "{code}"


def test_long_answer_is_cut_and_what_follows_it_stays() -> None:
    line = Template("citizen.reply", "sms", text="答复：{answer} 详情见{address}")
    said = render(line, {"answer": "好" * 2000, "address": "https://a.cn"}).text
    assert said.endswith("… 详情见https://a.cn")
    assert len(said) == LONGEST["sms"]


@pytest.mark.parametrize(("length", "cost"), [(0, 1), (70, 1), (71, 2), (134, 2), (135, 3)])
def test_short_message_of_chinese_letters_is_counted_in_parts(length: int, cost: int) -> None:
    assert parts("字" * length) == cost


def test_sign_outside_the_basic_plane_counts_twice() -> None:
    assert parts("😀" * 35) == 1
    assert parts("😀" * 36) == 2


@pytest.mark.parametrize("words", ["{number!r}", "{number.x}", "{number:>9999999}", "{}", "{0}", "{who}", "{", "{code"])
def test_words_that_reach_into_the_program_are_refused(words: str) -> None:
    with pytest.raises(Invalid):
        templates.check(Template("citizen.reply", "sms", text=words))


def test_most_specific_line_wins() -> None:
    shipped = templates.shipped()
    lines = dict(shipped.lines)
    for line in (
        Template("citizen.reply", "sms", category="10", text="大类"),
        Template("citizen.reply", "sms", category="1001", text="小类"),
        Template("citizen.reply", "sms", category="1001", state="replied", text="小类已答"),
    ):
        lines[line.key] = line
    made = templates.Templates(lines, shipped.audiences, shipped.like)

    def words(category: str, state: str = "") -> str:
        found = made.find("citizen.reply", "sms", category=category, state=state)
        return found.text if found else ""

    assert [words("1001", "replied"), words("1001"), words("1002"), words("20")[:4]] == [
        "小类已答",
        "小类",
        "大类",
        "【{di",
    ]
    assert made.find("citizen.progress", "sms", state="signed") is None
    chat = made.find("unit.assigned", "feishu")
    assert chat is not None, "robots borrow the words of mails"
    assert chat.channel == "feishu"
    assert set(LONGEST) == set(CHANNELS)


def _here(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, 21, hour, minute, tzinfo=UTC) - timedelta(hours=8)


def test_quiet_hours_go_over_midnight_by_chinas_clock() -> None:
    quiet = Quiet()
    assert [quiet.covers(_here(*at)) for at in ((20, 59), (21, 0), (23, 59), (0, 0), (7, 59), (8, 0))] == [
        False,
        True,
        True,
        True,
        True,
        False,
    ]
    assert quiet.end(_here(22)) == _here(8) + timedelta(days=1)
    assert quiet.end(_here(3)) == _here(8)
    assert quiet.end(_here(12)) == _here(12)
    assert not Quiet(time(0), time(0)).covers(_here(3))
    noon = Quiet.of({"quiet": {"from": "12:00", "to": "14:00"}})
    assert (noon.covers(_here(13)), noon.covers(_here(23))) == (True, False)
    for wrong in ({"from": "late"}, {"to": "25:00"}, "never"):
        assert Quiet.of({"quiet": wrong}) == Quiet(), "a slip in the settings neither stops messages nor wakes people"

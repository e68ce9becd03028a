"""Every phrase that an adapter gives for a failure has words in the reader's language."""

import re
from pathlib import Path

import pytest

from api.i18n import LANGUAGE
from api.reasons import reason_words
from core.settings import ROOT

_SAID = re.compile(r"(?:Later|Refused)\(\s*f?\"([^\"]+)\"")


def _phrases() -> list[str]:
    files = [path for part in ("outward", "weibo", "open311") for path in (ROOT / "hotline" / part).glob("*.py")]
    found = {said for path in files for said in _SAID.findall(Path(path).read_text(encoding="utf-8"))}
    return sorted(re.sub(r"\{[^}]*\}", "503", said) for said in found if not said.startswith("{"))


@pytest.mark.parametrize("said", _phrases())
def test_what_an_adapter_says_of_a_failure_is_told_in_chinese(said: str) -> None:
    token = LANGUAGE.set("zh")
    try:
        words = reason_words(said)
    finally:
        LANGUAGE.reset(token)
    assert re.search("[一-鿿]", words), words
    assert not re.search("[a-z]{4,}", words), words


def test_what_the_other_side_said_itself_stays() -> None:
    token = LANGUAGE.set("zh")
    try:
        assert "10023 user requests out of rate limit" in reason_words("rate: 10023 user requests out of rate limit")
        assert reason_words("something that nobody knows") == "something that nobody knows"
    finally:
        LANGUAGE.reset(token)

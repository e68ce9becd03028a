"""What makes a mention wait for a reviewer 待审: rumours, abuse, a repeated account, nothing said. Never a refusal.

Lists are data (`words.yaml`) that a district adds to. Knows words and counts; what may be danger to life is not asked
here, because it goes to the desk whatever its words are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from dispatch.words import N_

#: Code of a reason → words for people.
REASONS: Final[Mapping[str, str]] = {
    "rumour": N_("May be a rumour"),
    "denied": N_("Says itself that it is untrue"),
    "abuse": N_("Abuse"),
    "repeated": N_("One account, many posts"),
    "wordless": N_("Says nothing that can be read"),
}
#: *Default* of posts of one account in an hour.
_MOST: Final = 10
_SIGNS = re.compile(r"[\W_]+")
#: What the platform puts around a person's words: names, forwarding chains, faces, addresses, topics' signs.
_AROUND = re.compile(
    r"//@.*$|@[\w\-·]+[:：]?|\[[^\[\]\s]{1,8}\]|https?://[\w./?=&%\-#]+|回复|转发微博|轉發微博|Repost|网页链接|\.\.\.全文$",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Held:
    """Why a mention waits."""

    #: One of REASONS.
    code: str
    #: The words that decided, or the count.
    found: tuple[str, ...] = ()

    def kept(self) -> dict[str, Any]:
        """Return what is kept with the mention."""
        return {"code": self.code, "found": list(self.found)}


@dataclass(frozen=True, slots=True)
class Screen:
    """The rules of one district; *defaults*, `weibo` in its settings changes them."""

    lists: Mapping[str, tuple[int, tuple[str, ...]]]
    #: Posts of one account within the span from which the next ones are held.
    most: int = _MOST
    span: timedelta = timedelta(hours=1)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Screen":
        """Return the rules of a district's settings, such as `{"weibo": {"hold_words": {"abuse": ["…"]}}}`."""
        told = settings.get("weibo") or {}
        added = told.get("hold_words") or {}
        lists = {}
        for code, (hits, words) in _shipped().items():
            own = [str(word) for word in added.get(code, ()) if word]
            away = {word[1:] for word in own if word.startswith("-")}
            more = tuple(word for word in own if not word.startswith("-"))
            lists[code] = (hits, (*(word for word in words if word not in away), *more))
        most, span_min = int(told.get("hold_after", _MOST)), int(told.get("hold_span_min", 60))
        return cls(lists, max(1, most), timedelta(minutes=max(1, span_min)))

    def judge(self, text: str, *, before: int = 0) -> Held | None:
        """Return why a post is held, None for not. before: posts of the same account within the span."""
        if not any(letter.isalnum() for letter in own_words(text)):
            return Held("wordless")
        bare = _SIGNS.sub("", text)
        for code, (hits, words) in self.lists.items():
            found = tuple(word for word in words if word in bare)
            if len(found) >= hits:
                return Held(code, found[:5])
        return Held("repeated", (str(before + 1),)) if before >= self.most else None


def own_words(text: str) -> str:
    """Return what the author wrote himself, without names, forwarding chains, faces and addresses."""
    return _AROUND.sub(" ", text).strip()


@cache
def _shipped() -> Mapping[str, tuple[int, tuple[str, ...]]]:
    told = yaml.safe_load((Path(__file__).parent / "words.yaml").read_text(encoding="utf-8"))
    return {code: (int(rule["hits"]), tuple(map(str, rule["words"]))) for code, rule in told.items()}

"""Texts to begin an answer with 答复模板: by field, category, kind and state, filled in from the case.

A district's setting `answers` replaces the texts of `answers.yaml`. Knows no page; who sends an answer asks
`unfilled` first, so that no resident reads a placeholder.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from api.i18n import LANGUAGE
from api.wording import date_words
from core.errors import Invalid
from dispatch.rulebook import Rulebook
from dispatch.sheet import Sheet

#: Fields that texts are offered for, and that are looked through for open places.
FIELDS = ("answer", "opinion", "supervise_answer")
_FILE = Path(__file__).parent / "answers.yaml"
_OPEN = re.compile(r"【[^】\n]{0,60}】|_{3,}|\{[a-z_]{1,20}\}")
_NAMED = re.compile(r"\{([a-z_]{1,20})\}")
#: What a person fills in where the case does not say it.
_MISSING: Mapping[str, Mapping[str, str]] = {
    "zh": {
        "place": "【地点】",
        "category": "【事项类别】",
        "task": "【任务】",
        "demand": "【督办要求】",
        "due": "【期限】",
    },
    "en": {
        "place": "【place】",
        "category": "【category】",
        "task": "【task】",
        "demand": "【order】",
        "due": "【limit】",
    },
}
#: Texts offered at once; more are no help.
_MOST = 20


@dataclass(frozen=True, slots=True)
class Text:
    """One text, filled in for one case."""

    title: str
    text: str


def has_texts(field: str) -> bool:
    """Return whether a field is one that people read as an answer."""
    return field in FIELDS


def refuse_unfilled(field: str, text: object) -> None:
    """Raise Invalid where a text that a resident reads has open places left."""
    left = unfilled(text) if has_texts(field) and isinstance(text, str) else []
    if left:
        raise Invalid("Fill in or delete first: {parts}", field=field, parts=" ".join(left[:5]))


def unfilled(text: str) -> list[str]:
    """Return the open places of an answer: brackets, underscores and names in braces that nobody filled in."""
    return list(dict.fromkeys(_OPEN.findall(text)))


def texts(book: Rulebook, sheet: Sheet, field: str, *, unit: str, at: datetime) -> tuple[Text, ...]:
    """Return the texts for a field of a case in the reader's language, most fitting category first.

    unit: code of whose answer it is; at: the day that stands under it.
    """
    if field not in FIELDS:
        return ()
    case = sheet.case
    reworked = any(entry.action == "rework" for entry in sheet.entries)
    about = _About(case.kind, case.state, case.category_code or "", reworked=reworked)
    return _filled(book, field, about, _known(book, sheet, unit, LANGUAGE.get(), at))


def for_call(book: Rulebook, *, kind: str, category: str, place: str, unit: str, at: datetime) -> tuple[Text, ...]:
    """Return the texts for an answer to a caller whose case is not opened yet, in the reader's language.

    kind, category (a code, or empty), place and unit (a name): as understood so far. The number is not known: its place
    is kept as `{number}`, which `numbered` fills in.
    """
    language = LANGUAGE.get()
    words = book.category_path(category)
    known = {
        "place": place,
        "category": words[-1] if words else "",
        "unit": unit,
        "date": date_words(at, language),
        "received": date_words(at, language),
        "number": "{number}",
    }
    return _filled(book, "answer", _About(kind, "received", category, reworked=False, narrow_first=True), known)


def numbered(text: str, number: str) -> str:
    """Return an answer with the number of the case where a text left a place for it."""
    return text.replace("{number}", number)


@dataclass(frozen=True, slots=True)
class _About:
    """What decides which texts are offered."""

    kind: str
    state: str
    #: Code, or empty.
    category: str
    reworked: bool
    #: A text for this kind of matter alone stands before those for several: on the line the first is taken by one key.
    narrow_first: bool = False


def _filled(book: Rulebook, field: str, about: _About, known: Mapping[str, str]) -> tuple[Text, ...]:
    found = [row for row in _rows(book) if field in row.get("for", ()) and _fits(row, about)]
    if about.narrow_first:
        found.sort(key=lambda row: len(row.get("kinds", ())) or len(found))
    # A text for the very category stands before those for all.
    found.sort(key=lambda row: -max((len(c) for c in row.get("categories", ())), default=0))
    language = LANGUAGE.get()
    made = []
    for row in found[:_MOST]:
        words = str(row.get(language) or row.get("zh") or "")
        title = row.get("title") or {}
        filled = _NAMED.sub(lambda m: known.get(m[1]) or _MISSING[language].get(m[1], m[0]), words)
        made.append(Text(str(title.get(language) or title.get("zh") or row.get("id") or known["number"]), filled))
    return tuple(made)


def _fits(row: Mapping[str, Any], about: _About) -> bool:
    kinds, states, categories = row.get("kinds"), row.get("states"), row.get("categories")
    return (
        (not kinds or about.kind in kinds)
        and (not states or about.state in states)
        and (not categories or any(about.category.startswith(str(c)) for c in categories))
        and (not row.get("reworked") or about.reworked)
    )


def _known(book: Rulebook, sheet: Sheet, unit: str, language: str, at: datetime) -> dict[str, str]:
    case = sheet.case
    share = next((s for s in reversed(sheet.shares) if s.task and s.unit_code == unit), None)
    order = next((s for s in reversed(sheet.supervisions) if s.state == "issued"), None)
    return {
        "number": case.number,
        "place": case.place_name,
        "category": case.category_name or "",
        "unit": book.unit_name(unit or case.unit_code),
        "date": date_words(at, language),
        "received": date_words(case.received_at, language),
        "due": date_words(case.due_at, language) if case.due_at else "",
        "task": share.task if share else "",
        "demand": order.demand if order else "",
    }


def _rows(book: Rulebook) -> Sequence[Mapping[str, Any]]:
    own = book.settings.get("answers")
    if isinstance(own, list) and all(isinstance(row, dict) for row in own):
        return own[:200]
    return _shipped()


@cache
def _shipped() -> tuple[Mapping[str, Any], ...]:
    found = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return tuple(found["texts"])

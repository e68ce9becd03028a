"""Cards and questions of a duty as data: reads and checks them; knows no person and no attempt.

A bank is a YAML file in two languages (`docs/formats.md`); those in `grid/training_starter` are invented starter
content for all nine duties, which a district replaces by its own.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
import yaml

from core.errors import Invalid
from grid.duties import DUTIES

_STARTER: Final = Path(__file__).parent / "training_starter"
LETTERS: Final = "abcdefgh"
#: Of one bank; more would not fit a phone's bundle.
MOST_CARDS: Final = 40
MOST_QUESTIONS: Final = 300
_LONGEST: Final = 2_000


@dataclass(frozen=True, slots=True)
class Words:
    """One text in both languages."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Card:
    """A short card to read."""

    id: str
    title: Words
    text: Words


@dataclass(frozen=True, slots=True)
class Question:
    """A question with 2 to 8 options, of which one or more are right."""

    id: str
    ask: Words
    options: tuple[Words, ...]
    #: Letters of the right options.
    right: frozenset[str]
    #: The card to read again.
    card: str


@dataclass(frozen=True, slots=True)
class Bank:
    """Everything to learn about one duty."""

    duty: str
    #: Invented content that came with the program.
    starter: bool
    cards: tuple[Card, ...]
    questions: tuple[Question, ...]
    #: SHA-256 of the content.
    digest: str
    body: Mapping[str, Any]

    def question(self, key: str) -> Question:
        """Return a question by its id; raises KeyError."""
        return next(one for one in self.questions if one.id == key)

    def draw(self, seed: bytes, count: int) -> list[tuple[Question, list[str]]]:
        """Return `count` questions by lot, each with the letters of its options in the order to show them.

        The same seed draws the same.
        """
        lot = random.Random(seed)  # noqa: S311  the seed is secret, and the draw must be the same each time
        chosen = lot.sample(self.questions, min(count, len(self.questions)))
        return [(one, lot.sample(LETTERS[: len(one.options)], len(one.options))) for one in chosen]


def parse(text: str, *, file: str) -> Bank:
    """Return the bank that a YAML text holds; raises Invalid naming the place."""
    try:
        # Everything is a text: an option that reads `no` is no truth value.
        told = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  makes texts, lists and mappings alone
    except yaml.YAMLError as error:
        raise Invalid("{file} cannot be read as YAML.", file=file) from error
    return from_body(told, file=file)


def from_body(told: Any, *, file: str) -> Bank:
    """Return the bank of a parsed document; raises Invalid naming the place."""
    if not isinstance(told, dict) or told.get("duty") not in DUTIES:
        raise Invalid("{file} names none of the nine duties.", file=file, field="duty")
    cards = tuple(_card(one, f"{file}, cards {i}") for i, one in enumerate(_list(told, "cards", file), 1))
    known = {card.id for card in cards}
    questions = tuple(
        _question(one, known, f"{file}, questions {i}") for i, one in enumerate(_list(told, "questions", file), 1)
    )
    ids = [card.id for card in cards] + [question.id for question in questions]
    if len(set(ids)) < len(ids) or not 1 <= len(cards) <= MOST_CARDS or not 1 <= len(questions) <= MOST_QUESTIONS:
        raise Invalid("{file} needs cards and questions, each with an id of its own.", file=file)
    digest = sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return Bank(str(told["duty"]), told.get("starter") == "true", cards, questions, digest, told)


def _list(told: Mapping[str, Any], name: str, file: str) -> Sequence[Any]:
    found = told.get(name)
    if not isinstance(found, list):
        raise Invalid("{file} has no list {name}.", file=file, name=name)
    return found


def _words(told: Any, where: str) -> Words:
    """Read a text in both languages: `{zh, en}` or `[zh, en]`."""
    pair = (told.get("zh"), told.get("en")) if isinstance(told, dict) else told
    if (
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and all(isinstance(one, str) and 0 < len(one.strip()) <= _LONGEST for one in pair)
    ):
        return Words(pair[0].strip(), pair[1].strip())
    raise Invalid("{where} needs a text in Chinese and in English.", where=where)


def _id(told: Any, where: str) -> str:
    key = told.get("id") if isinstance(told, dict) else None
    if not isinstance(key, str) or not 1 <= len(key) <= 40:
        raise Invalid("{where} has no id.", where=where)
    return key


def _card(told: Any, where: str) -> Card:
    return Card(_id(told, where), _words(told.get("title"), where), _words(told.get("text"), where))


def _question(told: Any, cards: set[str], where: str) -> Question:
    key = _id(told, where)
    options = told.get("options")
    if not isinstance(options, list) or not 2 <= len(options) <= len(LETTERS):
        raise Invalid("{where} needs two to eight options.", where=where)
    right = told.get("right")
    numbers = right if isinstance(right, list) else [right]
    known = {str(n + 1): letter for n, letter in enumerate(LETTERS[: len(options)])}
    if not numbers or not all(isinstance(n, str) and n in known for n in numbers):
        raise Invalid("{where} does not say which option is right.", where=where)
    if told.get("card") not in cards:
        raise Invalid("{where} names no card of this file.", where=where)
    return Question(
        id=key,
        ask=_words(told, where),
        options=tuple(_words(option, where) for option in options),
        right=frozenset(known[n] for n in numbers),
        card=str(told["card"]),
    )


@cache
def starter() -> Mapping[str, Bank]:
    """Return the starter content by duty."""
    made = [parse(path.read_text("utf-8"), file=path.name) for path in sorted(_STARTER.glob("*.yaml"))]
    return {bank.duty: bank for bank in made}

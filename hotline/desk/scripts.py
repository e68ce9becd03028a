"""What the operator should ask 话术提示, which matters are not the hotline's 受理范围, and texts to begin with.

Data in `data/scripts.yaml`, compiled for this project as examples; a district replaces the file's words by its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

_FILE: Final = Path(__file__).parent / "data" / "scripts.yaml"


@dataclass(frozen=True, slots=True)
class Outside:
    """A kind of matter that the hotline may not take, and where the caller should turn."""

    words: tuple[str, ...]
    #: Said to the caller, and written as the reason.
    reason: str


@dataclass(frozen=True, slots=True)
class Scripts:
    """The words of the file."""

    #: (words of a category's path, questions), the first that fits counts.
    questions: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    always: tuple[str, ...]
    outside: tuple[Outside, ...]

    def ask(self, path: Sequence[str]) -> tuple[str, ...]:
        """Return the questions for a category, given as its names from the top; those for every call without one."""
        written = "/".join(path)
        for words, questions in self.questions if written else ():
            if any(word in written for word in words):
                return questions
        return self.always

    def beyond(self, text: str) -> tuple[Outside, ...]:
        """Return the kinds of matters that a text may be and that the hotline may not take; at most two."""
        return tuple(one for one in self.outside if any(word in text for word in one.words))[:2]


@cache
def scripts() -> Scripts:
    """Return the scripts, read once."""
    found: dict[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return Scripts(
        questions=tuple((tuple(row["words"]), tuple(row["ask"])) for row in found["questions"]),
        always=tuple(found["always"]),
        outside=tuple(Outside(tuple(row["words"]), row["reason"]) for row in found["outside"]),
    )

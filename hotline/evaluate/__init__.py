"""How right the program is 评测: figures over data that nothing was trained on or tuned to (`wangge evaluate`).

A part is a module here with `figures(data, quick=…)`; it knows the data sets, their splits and what counts as right.
Method, splits and failures by id stand in `docs/evaluation.md`.
"""

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

__all__ = ["PARTS", "Figure", "figures"]

#: Names of the parts, in the order in which they are shown; each is a module of this package.
PARTS: Final = ("places", "matters", "twins", "hot", "linkage")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured share of one trait on one data set."""

    #: File and split, such as "nanhai/address_dev_test.csv, per addr_key".
    data: str
    #: What was asked, such as "within 300 m".
    trait: str
    #: How many answers the share is of.
    n: int
    #: 0 to 1 for shares; `unit` says so where it is something else.
    value: float
    goal: float | None = None
    #: Which side of the goal is the good one.
    want: Literal["at least", "at most"] = "at least"
    unit: str = ""
    note: str = ""
    #: Ids or keys of what went wrong, never texts.
    failures: tuple[str, ...] = ()

    @property
    def reached(self) -> bool | None:
        """Return whether the goal is reached; None where there is no goal or nothing was measured."""
        if self.goal is None or not self.n:
            return None
        return self.value >= self.goal if self.want == "at least" else self.value <= self.goal


def figures(data: Path, parts: Sequence[str] = PARTS, *, quick: bool = False) -> Iterator[tuple[str, Figure]]:
    """Yield (part, figure) of the parts named; a figure without its data has n 0 and says so in its note.

    data: the folder of given data. quick: a sample of each, for a first look. Raises ValueError for an unknown part.
    """
    for part in parts:
        if part not in PARTS:
            raise ValueError(f"There is no part {part!r}; there are: {', '.join(PARTS)}.")
        module = importlib.import_module(f"hotline.evaluate.{part}")
        for figure in module.figures(data, quick=quick):
            yield part, figure

"""What every bench hands back: one line per piece of work, with the ratio that `docs/benchmarks.md` shows."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measured piece of work beside its reference, both in the same unit and from the same run."""

    work: str
    ours: float
    reference: float
    #: What the two figures count, such as `tiles/s` or `ms`.
    unit: str
    #: Better is greater: how many times the reference we reach.
    ratio: float
    #: What SPEED.md asks for, in words.
    goal: str
    note: str = ""

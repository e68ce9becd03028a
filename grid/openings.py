"""Why and how long somebody may look at a protected field 查看: reasons, words, and when an opening ends.

Used by cases (`dispatch.identity`) and by the registers (`grid.registers.unmasking`), so that both ask the same.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from core.errors import Invalid
from grid.words import N_

#: Why somebody may open personal data; `other` needs words that say what.
REASONS: Final[Mapping[str, str]] = {
    "contact": N_("To ask about the matter or the place"),
    "visit": N_("To arrange a visit"),
    "answer": N_("To tell the answer or ask about it"),
    "verify": N_("To check who it is"),
    "law": N_("Asked for by law"),
    "other": N_("Something else"),
}
#: How long one opening holds for the same person, subject and field. *Default*.
OPEN_FOR: Final = timedelta(minutes=15)
#: Most characters of the words that are kept.
LONGEST: Final = 500


def check_reason(why: str, reason: str) -> None:
    """Raise Invalid where a reason is missing: one of the list, and words."""
    if why and why not in REASONS:
        raise Invalid("Choose what you need it for.", field="why")
    if len(reason.strip()) < 2:
        raise Invalid(
            "Say why you need to see it: it is written down and the person concerned may read it.", field="reason"
        )

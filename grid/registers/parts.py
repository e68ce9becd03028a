"""Codes of city parts 部件编码: a district's pattern and check, as data; 16 digits in the common cut.

The common cut is 6 digits of the area, 2 of the large class, 2 of the small class and 6 that count (DOMAIN, as in
GB/T 30428.2). A pattern is a mask: A stands for a digit of the district's code, L and S for large and small
class, N for the running number, C for the check; everything else stands for itself.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from core.actor import Role
from core.db import actor_of
from core.errors import Forbidden, Invalid
from core.ids import check_character
from grid.registers.permissions import keep_setting, settings
from grid.registers.record import log
from grid.words import N_

#: Large classes of the common cut.
CLASSES: Final[Mapping[str, str]] = {
    "01": N_("public utilities"),
    "02": N_("roads and traffic"),
    "03": N_("city environment"),
    "04": N_("green spaces"),
    "05": N_("houses and land"),
    "06": N_("other parts"),
}
CHECKS: Final[Mapping[str, str]] = {
    "none": N_("no check digit"),
    "mod11-2": N_("ISO 7064 MOD 11-2, as identity numbers have it"),
    "luhn": N_("Luhn, as bank cards have it"),
}
_MASK: Final = re.compile(r"[ALSNC0-9\-]{6,24}")


@dataclass(frozen=True, slots=True)
class Rule:
    """How codes of parts look in a district. *Default*: 6 + 2 + 2 + 6 digits without a check."""

    mask: str = "AAAAAALLSSNNNNNN"
    #: A key of CHECKS.
    check: str = "none"

    def check_self(self) -> None:
        """Raise Invalid for a mask or check that cannot be."""
        if not _MASK.fullmatch(self.mask) or self.mask.count("A") not in (0, 6) or "L" not in self.mask:
            raise Invalid("A pattern is made of A (six or none), L, S, N, C, digits and dashes.", field="mask")
        if self.check not in CHECKS:
            raise Invalid("There is no check {name}.", field="check", name=self.check[:20])
        if (self.check == "none") == ("C" in self.mask) or self.mask.count("C") > 1:
            raise Invalid("A pattern has one C where there is a check, and none without.", field="mask")
        if "C" in self.mask and not self.mask.endswith("C"):
            raise Invalid("The check stands at the end.", field="mask")

    def class_of(self, code: str, *, district: str) -> str:
        """Return large and small class of a code; raises Invalid that says what is wrong with it."""
        if len(code) != len(self.mask):
            raise Invalid("A code of a part has {n} characters here.", field="code", n=len(self.mask))
        areas = iter(district[:6])
        for sign, place in zip(code, self.mask, strict=True):
            fixed = next(areas, "") if place == "A" else "" if place in "LSNC" else place
            if fixed and sign != fixed:
                raise Invalid("This code belongs to another area or pattern.", field="code")
            if not fixed and not (sign.isascii() and sign.isdigit()) and not (place == "C" and sign == "X"):
                raise Invalid("A code of a part has digits there: {mask}.", field="code", mask=self.mask)
        if "C" in self.mask and code[-1] != _check_of(self.check, code[:-1]):
            raise Invalid("The check digit of this code is wrong.", field="code")
        return "".join(sign for sign, place in zip(code, self.mask, strict=True) if place in "LS")


def _check_of(check: str, body: str) -> str:
    digits = body.replace("-", "")
    if check == "mod11-2":
        return check_character(digits)
    total = 0
    for i, digit in enumerate(reversed(digits)):
        n = int(digit) * (2 if i % 2 == 0 else 1)
        total += n - 9 if n > 9 else n
    return str(-total % 10)


def rule(session: Session) -> Rule:
    """Return the rule of the session's district. Reads."""
    kept = settings(session).get("part_codes", {})
    return Rule(kept["mask"], kept["check"]) if kept else Rule()


def set_rule(session: Session, wanted: Rule, *, at: datetime) -> None:
    """Change the rule for codes that come; writes and logs it, as administrator, caller commits. Raises Invalid."""
    if actor_of(session).role not in (Role.ADMIN, Role.SYSTEM):
        raise Forbidden("Your role may not open this.")
    wanted.check_self()
    before = rule(session)
    keep_setting(session, "part_codes", {"mask": wanted.mask, "check": wanted.check})
    log(session, "part_codes", "part", {"was": before.mask, "now": wanted.mask, "check": wanted.check}, at=at)

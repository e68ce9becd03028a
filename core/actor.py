"""Who acts: the identity that every transaction, log entry and permission check is made with."""

import re
import uuid
from dataclasses import dataclass
from enum import StrEnum

from core.errors import Forbidden

#: Scope travels to the database inside SET LOCAL, so it is checked as strictly as an identifier.
_LITERAL = re.compile(r"[0-9A-Za-z_\-]{0,40}")


class Role(StrEnum):
    """What a person is to the system; the process tables and the row policies name these."""

    #: 市民: reports, looks up by number and code, rates.
    CITIZEN = "citizen"
    #: 话务员/派单员: takes calls and posts, confirms place and category, dispatches.
    OPERATOR = "operator"
    #: 责任单位: signs, handles, returns, replies.
    UNIT = "unit"
    #: 网格员: patrols, reports, handles on the spot; sees the own town.
    GRID_WORKER = "grid_worker"
    #: 区领导: reads maps and figures, presses nothing; a town official sees the own town.
    OFFICIAL = "official"
    #: 督查: watches limits, checks samples, orders rework.
    SUPERVISOR = "supervisor"
    #: 管理员: accounts, units, rules; sees no case text without another role.
    ADMIN = "admin"
    #: The program itself: worker, loader, command line. Never given to an account.
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """One acting person or the program, and how far they see."""

    #: The account's id; None for the anonymous citizen and for the program.
    id: uuid.UUID | None
    #: Shown in the log: display name of an account, `市民`, or the program's part.
    name: str
    role: Role
    #: 6-digit code; every statement of the transaction is bound to it.
    district: str
    #: 9-digit code that narrows the view to one town; empty for the whole district.
    town: str = ""
    #: Code of the unit that the person works for; empty for none.
    unit: str = ""

    def scope(self) -> dict[str, str]:
        """Return the row-policy settings of this actor; raises Forbidden on anything but plain codes."""
        scope = {
            "wangge.district": self.district,
            "wangge.role": self.role.value,
            "wangge.town": self.town,
            "wangge.unit": self.unit,
            "wangge.actor": str(self.id or ""),
        }
        for value in scope.values():
            if not _LITERAL.fullmatch(value):
                raise Forbidden("The scope of this account is damaged; ask the administrator.")
        return scope


def system(district: str, part: str = "system") -> Actor:
    """Return the program itself acting in a district; `part` says which part, for the log."""
    return Actor(id=None, name=part, role=Role.SYSTEM, district=district)


def citizen(district: str) -> Actor:
    """Return the anonymous citizen, who sees only what `core.db.pin_case` pins."""
    return Actor(id=None, name="市民", role=Role.CITIZEN, district=district)

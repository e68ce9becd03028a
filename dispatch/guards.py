"""Conditions of steps 前置条件: what has to be so before a step may be taken, beyond state and role.

Each is asked twice: when steps are offered, so that no button lies, and under the row lock, so that nobody is faster
than the rule. Knows what hangs on a case; changes nothing. The process tables name them.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.batch import parsed
from core.db import ask, pin_case
from core.errors import Conflict, Forbidden
from dispatch.deadlines import Running
from dispatch.models import Assignment, Attachment, Case, Deadline, Entry, Plea, Supervision
from dispatch.process import Process, Step, process
from dispatch.rulebook import Rulebook

#: Shares in these states still answer for the case.
ACTIVE = ("sent", "signed", "replied")
#: Actions on the share of a unit that they name.
NAMED_SHARE = ("withdraw_unit", "replace_unit", "share_rework")
#: Kinds of matter that words alone can settle; for the others somebody has to go and do something.
WORDS_DO = ("enquiry", "suggestion", "praise")
#: How often, where the district says nothing: returns of one case, extensions of one case. *Default*.
CAPS = {"return": 2, "extend_grant": 1}
#: Levels of handling 四级: kind of unit → the kind above it.
ABOVE = {"community": "town_office", "town_office": "centre"}
#: Shares, running clocks, and how often each action was taken by each role and when last.
_HANGS_ON = """
SELECT
 (SELECT json_agg(s ORDER BY s.created_at, s.id) FROM assignment AS s
  WHERE s.district_code = $1::text AND s.case_id = $2::uuid),
 (SELECT json_agg(w ORDER BY w.started_at, w.id) FROM deadline AS w
  WHERE w.district_code = $1::text AND w.case_id = $2::uuid AND w.stopped_at IS NULL),
 (SELECT json_agg(t) FROM (
  SELECT action, actor_role, count(*) AS n, max(recorded_at) AS recorded_at FROM entry
  WHERE district_code = $1::text AND case_id = $2::uuid GROUP BY action, actor_role) AS t)
"""


@dataclass
class Look:
    """One case under one person's eyes, at one moment, with what hangs on it; the rest is read when a guard asks."""

    session: Session
    book: Rulebook
    #: The row; locked where a step is being taken.
    case: Case
    process: Process
    actor: Actor
    at: datetime
    #: What hangs on the case besides, kept by whoever knows it: its application.
    kept: dict[str, Any] = field(default_factory=dict)
    #: Every share there has been, in order; whoever adds one appends it.
    shares: list[Assignment] = field(init=False)
    #: The clocks that have not been stopped.
    clocks: Running = field(init=False)
    #: How often each action was taken by each role, and when last.
    _counts: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        """Pin the case, whose row was seen through its own policy, and read what hangs on it by one statement."""
        keys = (self.case.district_code, self.case.id)
        self.session.flush()
        pin_case(self.session, self.case.id)
        [(shares, clocks, counts)] = ask(self.session, _HANGS_ON, keys)
        self.shares = parsed(self.session, Assignment, shares)
        self.clocks = Running(self.session, *keys, parsed(self.session, Deadline, clocks))
        self._counts = counts or []

    def _of_case(self, model: Any) -> tuple[Any, Any]:
        return model.district_code == self.case.district_code, model.case_id == self.case.id

    @cached_property
    def plea(self) -> Plea | None:
        """What the unit has asked and nobody decided yet."""
        return self.session.scalar(select(Plea).where(*self._of_case(Plea), Plea.state == "asked"))

    @cached_property
    def supervision(self) -> Supervision | None:
        """The order that runs."""
        if not self.case.supervised:
            return None
        return self.session.scalar(
            select(Supervision).where(*self._of_case(Supervision), Supervision.state.in_(("issued", "answered")))
        )

    @cached_property
    def taken(self) -> Mapping[str, int]:
        """How often each action was taken on the case."""
        return self._counted(self._counts)

    @cached_property
    def taken_by_role(self) -> Mapping[str, int]:
        """How often each action was taken on the case by the role that looks."""
        return self._counted(one for one in self._counts if one["actor_role"] == self.actor.role.value)

    def _counted(self, rows: Iterable[Mapping[str, Any]]) -> Mapping[str, int]:
        counts: Counter[str] = Counter()
        for row in rows:
            counts[row["action"]] += row["n"]
        return counts

    @property
    def recorded_at(self) -> datetime | None:
        """When the last entry was recorded: recorded times of a log never run backwards."""
        return max((datetime.fromisoformat(one["recorded_at"]) for one in self._counts), default=None)

    def share_of(self, unit: str) -> Assignment | None:
        """Return the active share of a unit beside the lead's."""
        return next(
            (s for s in self.shares if s.unit_code == unit and s.share != "lead" and s.state in ACTIVE),
            None,
        )

    def cap(self, action: str) -> int | None:
        """Return how often the district lets an action be taken on one case; None where only the table says."""
        named = self.book.settings.get("caps")
        found = named.get(action) if isinstance(named, dict) else None
        return found if type(found) is int and found >= 0 else CAPS.get(action)

    def asks_for(self, setting: str) -> bool:
        """Return whether the district's list of categories in a setting holds the case's category."""
        named = self.book.settings.get(setting) or ()
        prefixes = (named,) if isinstance(named, str) else named
        return any((self.case.category_code or "").startswith(str(prefix)) for prefix in prefixes)

    def last(self, action: str) -> Entry | None:
        """Return the last entry of an action."""
        found = select(Entry).where(*self._of_case(Entry), Entry.action == action)
        return self.session.scalar(found.order_by(Entry.seq.desc()).limit(1))


def same_person(actor: Actor, known: uuid.UUID | None, name: str) -> bool:
    """Return whether the actor is the person of a record: the same account, or the same name where there is none."""
    return actor.id == known if actor.id or known else actor.name == name


def share_fits(look: Look, step: Step) -> None:
    """Raise Conflict where a step is about a share beside the lead's and no such share is at that point."""
    if not step.part or (step.who != "share" and step.action not in NAMED_SHARE):
        return
    shares = [s for s in look.shares if s.share != "lead" and s.state in ACTIVE]
    if step.who == "share":
        shares = [s for s in shares if s.unit_code == look.actor.unit]
    part = process("assignment")
    if not any(part.has(step.part, share.state) for share in shares):
        raise Conflict("No share in this case is at the point where this can be done: {action}.", action=step.label)


def _unbound(look: Look) -> None:
    if look.case.bound:
        raise Conflict("The arbiter has decided whose this case is; the decision binds.")


def _ruling_stands(look: Look) -> None:
    if look.case.bound and look.actor.role is not Role.SUPERVISOR:
        raise Conflict("The arbiter has decided whose this case is; only the supervisor may send it elsewhere.")


def _returns_used(look: Look) -> None:
    cap = look.cap("return") or 0
    if look.case.returns < cap:
        raise Conflict("The case may still be returned; the arbiter is asked after {cap} returns.", cap=cap)


def _no_plea(look: Look) -> None:
    if look.case.plea:
        raise Conflict("The unit has asked something already that is not decided yet.")


def _in_time(look: Look) -> None:
    if any(_expired(clock, look) for clock in look.clocks):
        raise Conflict("The limit has run out; this had to be asked before.")


def _expired(clock: Deadline, look: Look) -> bool:
    measured = clock.clock in look.process.clocks and clock.unit_code == look.case.unit_code is not None
    return measured and clock.held_at is None and clock.due_at <= look.at


def _extension_left(look: Look) -> None:
    granted = look.taken.get("extend_grant", 0)
    if granted >= (look.cap("extend_grant") or 0):
        raise Conflict("This case was given more time {n} times already; that is the most.", n=granted)


def _plea_of(kind: str) -> "Guard":
    def guard(look: Look) -> None:
        if look.case.plea != kind:
            raise Conflict("The unit has not asked for this.")

    return guard


def _plea_any(look: Look) -> None:
    if not look.case.plea:
        raise Conflict("The unit has not asked for anything.")


def _another_person(look: Look) -> None:
    plea = look.plea
    if plea is None:
        return
    if same_person(look.actor, plea.asked_by, plea.asked_name) or look.actor.unit == plea.unit_code:
        raise Forbidden("Nobody grants to themselves what they asked for.")


def _with_unit(look: Look) -> None:
    if not look.case.unit_code:
        raise Conflict("The case is with no unit at the moment.")


def _not_supervised(look: Look) -> None:
    if look.supervision is not None:
        raise Conflict("A supervision of this case runs already.")


def _supervision_in(state: str) -> "Guard":
    def guard(look: Look) -> None:
        if look.supervision is None or look.supervision.state != state:
            raise Conflict("There is no supervision that waits for this.")

    return guard


def _joined(look: Look) -> None:
    missing = [s.unit_code for s in look.shares if s.share != "lead" and s.needed and s.state in ("sent", "signed")]
    if missing:
        raise Conflict(
            "The answer of {units} is still missing; the lead decides when all are in.",
            units="、".join(look.book.unit_name(code) for code in missing),
        )


def _no_children(look: Look) -> None:
    found = look.session.scalar(
        select(func.count()).where(
            Case.district_code == look.case.district_code, Case.merged_into == look.case.id, Case.state == "merged"
        )
    )
    if found:
        raise Conflict("Other cases were merged into this one; undo those merges first.")


def _words_do(look: Look) -> None:
    if look.case.kind not in WORDS_DO:
        raise Conflict("Only an enquiry, a suggestion or praise is answered on the spot; this needs a unit.")


def _higher_level(look: Look) -> None:
    if above(look.book, look.case.unit_code, look.case.town_code) is None:
        raise Conflict("There is no level above this unit that a matter passes to.")


def _no_unit(look: Look) -> None:
    if look.case.unit_code:
        raise Conflict("There is a unit on this level; it has the event.")


def _no_check_asked(look: Look) -> None:
    if look.asks_for("onsite"):
        raise Conflict("Somebody else has to look before an event of this category is closed; report it as settled.")


def _another_looks(look: Look) -> None:
    said = look.last("reply")
    if said is None:
        return
    if same_person(look.actor, said.actor_id, said.actor_name) or (
        look.actor.unit and look.actor.unit == said.unit_code
    ):
        raise Forbidden("Whoever settled it does not check it.")


def above(book: Rulebook, unit: str | None, town: str | None) -> str | None:
    """Return the unit of the next level of handling: community → town office → district centre; None at the top."""
    node = book.units.get(unit or "")
    kind = ABOVE.get(node.kind) if node else None
    while kind:
        found = unit_of_level(book, kind, town if kind == "town_office" else "")
        if found:
            return found
        kind = ABOVE.get(kind)
    return None


def unit_of_level(book: Rulebook, kind: str, area: str | None) -> str | None:
    """Return the active unit of a kind that answers for an area (empty for the whole district); None for none."""
    return next(
        (
            code
            for code, unit in sorted(book.routing.units.items())
            if unit.active and unit.kind == kind and unit.area == (area or "") and area is not None
        ),
        None,
    )


def _checked_on_site(look: Look) -> None:
    if not look.asks_for("onsite"):
        return
    seen, answered = look.last("check"), look.last("reply")
    if seen is None or (answered and seen.seq < answered.seq) or seen.data.get("checked") != "pass":
        raise Conflict("Cases of this category are checked on site before they are closed.")


def _shown_after(look: Look) -> None:
    if not look.asks_for("photos"):
        return
    purposes = set(
        look.session.scalars(
            select(Attachment.purpose).where(
                Attachment.district_code == look.case.district_code, Attachment.case_id == look.case.id
            )
        )
    )
    if "after" not in purposes or not purposes & {"before", "report"}:
        raise Conflict("Cases of this category need a photo from before and one from after they are settled.")


Guard = Callable[[Look], None]
#: Name in the tables → condition; raises Conflict or Forbidden in words for whoever is refused.
GUARDS: dict[str, Guard] = {
    "unbound": _unbound,
    "ruling_stands": _ruling_stands,
    "returns_used": _returns_used,
    "no_plea": _no_plea,
    "in_time": _in_time,
    "extension_left": _extension_left,
    "plea_any": _plea_any,
    "plea_extension": _plea_of("extension"),
    "plea_pause": _plea_of("pause"),
    "plea_park": _plea_of("park"),
    "another_person": _another_person,
    "with_unit": _with_unit,
    "not_supervised": _not_supervised,
    "supervision_issued": _supervision_in("issued"),
    "supervision_answered": _supervision_in("answered"),
    "joined": _joined,
    "no_children": _no_children,
    "words_do": _words_do,
    "higher_level": _higher_level,
    "no_unit": _no_unit,
    "no_check_asked": _no_check_asked,
    "another_looks": _another_looks,
    "checked_on_site": _checked_on_site,
    "shown_after": _shown_after,
}

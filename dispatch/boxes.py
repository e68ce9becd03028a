"""Named parts of the work 工作箱: which states and marks a list of cases means.

Reads the process tables and asks the database nothing; `dispatch.views` does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, or_, select, true

from core.actor import Actor, Role
from dispatch.models import Assignment, Case
from dispatch.process import Process, processes

#: States of a share in which its unit still has something to do.
UNANSWERED = ("sent", "signed")


@cache
def open_states() -> tuple[str, ...]:
    """Return the states in which a case is open, of every process, in the order of its life.

    Asked one by one they are ordered index scans; a state that is missing here would hide its cases from every list.
    """
    named = (s.name for table in _of_cases() for s in table.states.values() if s.open)
    return tuple(dict.fromkeys(named))


@cache
def unsigned_states() -> tuple[str, ...]:
    """Return the states in which a unit has yet to sign for a case."""
    return tuple(dict.fromkeys(step.source for table in _of_cases() for step in table.steps if step.action == "sign"))


@cache
def waiting_states() -> tuple[str, ...]:
    """Return the states in which a case waits on the desk to be sent to a unit."""
    steps = (step for table in _of_cases() for step in table.steps)
    return tuple(dict.fromkeys(s.source for s in steps if s.action == "dispatch" and Role.OPERATOR in s.roles))


def _of_cases() -> list[Process]:
    """Return the process tables of cases; that of shares has no case in its states."""
    return [table for (name, _version), table in processes().items() if name != "assignment"]


@dataclass(frozen=True, slots=True)
class Box:
    """A named part of the work."""

    #: Its states; empty for all, None for every one that is not open.
    states: tuple[str, ...] | None = ()
    #: Every open state besides those named in `states`.
    besides: bool = False
    #: Only states in which a unit has yet to sign (True), or has signed (False).
    unsigned: bool | None = None
    #: Only states in which a case waits on the desk.
    waiting: bool = False
    #: What else a case of it has.
    where: Callable[[Actor], Sequence[ColumnElement[bool]]] | None = None
    #: Few cases, found by an index of their own: not asked state by state.
    few: bool = False

    @property
    def everything(self) -> bool:
        """Whether the box holds cases that are not open, too."""
        return self.states is None or not (self.states or self.besides or self.waiting or self.where)

    def named(self) -> tuple[str, ...]:
        """Return the open states that are meant; empty where the box is not about open cases alone."""
        if self.waiting:
            return waiting_states()
        if not self.besides:
            return self.states or ()
        found = (state for state in open_states() if state not in (self.states or ()))
        return tuple(s for s in found if self.unsigned is None or (s in unsigned_states()) == self.unsigned)


def _attention(*marks: Any) -> Callable[[Actor], Sequence[ColumnElement[bool]]]:
    """Return the condition of cases that stand out; the first two say what `ix_cases_attention` has."""
    some = or_(Case.plea.is_not(None), Case.supervised == true(), Case.complex == true())
    return lambda _actor: [Case.open == true(), some, *marks]


def shared(actor: Actor) -> Sequence[ColumnElement[bool]]:
    """Return the condition of open cases in which the actor's unit has yet to answer for a share beside the lead's."""
    mine = select(Assignment.case_id).where(
        Assignment.district_code == actor.district,
        Assignment.unit_code == actor.unit,
        Assignment.share != "lead",
        Assignment.state.in_(UNANSWERED),
    )
    return [Case.open == true(), Case.id.in_(mine)]


#: Answered or settled; somebody else has yet to ask or to look.
_ANSWERED = ("replied", "settled")
#: Open, and nobody works on it now: on the desk, resting, with the arbiter, with another case, or answered.
_NOT_RUNNING = (
    *("received", "submitted", "correcting", "pre_reviewed", "in_cell", "in_district"),
    *("paused", "parked", "disputed", "merged", "granted", "denied", *_ANSWERED),
)
#: Named parts of the work, as they stand in the address of a list.
BOXES: Mapping[str, Box] = {
    #: 待派单: wait on the desk.
    "waiting": Box(waiting=True),
    #: 在办: with a unit, or wherever else somebody works on it.
    "running": Box(_NOT_RUNNING, besides=True),
    #: 待签收, 办理中: the two halves of it.
    "unsigned": Box(_NOT_RUNNING, besides=True, unsigned=True),
    "inhand": Box(_NOT_RUNNING, besides=True, unsigned=False),
    #: 挂起, 挂账: rest for a reason and until a day.
    "resting": Box(("paused", "parked")),
    #: 待裁决.
    "disputed": Box(("disputed",)),
    #: 并案: handled with another case.
    "merged": Box(("merged",)),
    #: 待回访: answered, the caller not yet asked.
    "answered": Box(_ANSWERED),
    #: 待批: a unit has asked for more time, a pause or parking.
    "pleas": Box(where=_attention(Case.plea.is_not(None)), few=True),
    #: 督办.
    "supervised": Box(where=_attention(Case.supervised == true()), few=True),
    #: 协办, 并联: this unit has a share to sign or to answer, and does not lead.
    "shares": Box(where=shared, few=True),
    #: 疑难.
    "complex": Box(where=_attention(Case.complex == true()), few=True),
    "open": Box((), besides=True),
    "ended": Box(None),
    "all": Box(),
}

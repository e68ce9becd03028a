"""What each action does to the case row and its assignments; permissions, clocks, states and log are `dispatch.cases`'.

A handler checks its own fields, changes the row, and leaves in `data` what the log should keep: old and new values.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.datums import from_db, point, to_db
from core.errors import Conflict, Forbidden, Invalid
from core.ids import new_id
from dispatch.calendar import china_time
from dispatch.deadlines import Clock
from dispatch.guards import ACTIVE, NAMED_SHARE, Look
from dispatch.models import Assignment, Case, Entry
from dispatch.process import Process, Step, process
from dispatch.rulebook import Rulebook
from grid.whereabouts import whereabouts

#: Parts that end every share of a case, not only the one that is concerned.
_ENDING = {"move": "moved", "return": "returned", "finish": "done"}


@dataclass(slots=True)
class Change:
    """One action on its way: what is known, what was asked, and what it leaves behind."""

    session: Session
    book: Rulebook
    #: Locked.
    case: Case
    actor: Actor
    at: datetime
    happened_at: datetime
    #: The same case for guards.
    look: Look
    fields: dict[str, Any]
    #: For the log entry.
    data: dict[str, Any] = field(default_factory=dict)
    #: Outbox topics with their payloads.
    topics: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    #: Rows of the log, written with the case.
    entries: list[tuple[type[Entry], dict[str, Any]]] = field(default_factory=list)
    clocks_touched: bool = False
    #: A further action in the same save, with its fields.
    follow_with: tuple[str, dict[str, Any]] | None = None
    #: The state that the step leads to.
    target: str = ""
    #: The share that the step is about, where it is not the lead's.
    share: Assignment | None = None
    #: Limits that the person or a plea sets instead of the table, by clock.
    limits: dict[str, str] = field(default_factory=dict)
    #: The longer limit of the law beside a promised one, by clock.
    legal: dict[str, str] = field(default_factory=dict)
    #: Where a clock's limit began before this step: the law counts from the receipt, whenever it is noted. By clock.
    since: dict[str, datetime] = field(default_factory=dict)
    #: Clocks of single shares that start.
    starting: list[Clock] = field(default_factory=list)
    #: Units that got a share with the step.
    added: list[str] = field(default_factory=list)
    #: Clocks that the step stops.
    stops: tuple[str, ...] = ()
    #: Why held clocks stand.
    pause_reason: str = ""

    @property
    def process(self) -> Process:
        """The table that the case runs under."""
        return self.look.process

    @property
    def limit_kind(self) -> str:
        """The kind that the table of limits is asked with."""
        return "complex" if self.case.complex else self.case.kind

    def clock(self, name: str) -> Clock:
        """Return a clock of the whole case that starts now."""
        case = self.case
        return self.book.clock(
            name,
            unit=case.unit_code if name in self.process.unit_clocks else None,
            kind=self.limit_kind,
            urgency=case.urgency,
            category=case.category_code or "",
            start=self.since.get(name, self.at),
            limit=self.limits.get(name),
            legal=self.legal.get(name),
        )

    def share_clocks(
        self, share: Any, unit: str | None, names: tuple[str, ...], *, limits: Mapping[str, str | None] | None = None
    ) -> None:
        """Let clocks of one share start with the step; limits: those that replace the table's, by clock."""
        case = self.case
        self.starting += [
            self.book.clock(
                name,
                unit=unit,
                kind=self.limit_kind,
                urgency=case.urgency,
                category=case.category_code or "",
                start=self.at,
                limit=(limits or {}).get(name),
                assignment_id=share,
            )
            for name in names
        ]

    def tally(self) -> dict[str, Any]:
        """Return what the kept counts need to know of the case as it is now."""
        case = self.case
        spot = from_db(case.geom) if case.geom is not None else None
        return {
            "lng": spot.x if spot is not None else None,
            "lat": spot.y if spot is not None else None,
            "cell": case.cell_code,
            "category": case.category_code,
            "day": china_time(case.received_at).date().isoformat(),
        }

    def told(self) -> dict[str, Any]:
        """Return what the receiver of a message needs: number, state, unit; never words of the reporter."""
        case = self.case
        return {"number": case.number, "state": case.state, "unit": case.unit_code, "urgency": case.urgency}

    def told_by(self, topic: str) -> list[dict[str, Any]]:
        """Return the payloads of a topic: one, or for those about shares one for each unit, named as `share`."""
        if topic == "share.assigned":
            return [self.told() | {"share": unit} for unit in self.added]
        more: dict[str, Any] = {"share": self.share.unit_code} if topic.startswith("share.") and self.share else {}
        if topic == "citizen.reply" and self.fields.get("contacted") == "yes" and not self.look.shares:
            # The desk itself told the caller on the line: nobody has to ring about it again.
            more = {"heard": True}
        return [self.told() | more]

    def note(self, name: str, old: Any, new: Any) -> None:
        """Keep an old and a new value for the log."""
        self.data[name] = {"old": old, "new": new}


def _number(fields: Mapping[str, Any], name: str) -> float:
    try:
        return float(fields[name])
    except (KeyError, TypeError, ValueError) as error:
        raise Invalid("{name} is not a number.", field=name, name=name) from error


def _correct(change: Change) -> None:
    """Set place, category, kind and urgency in one save; with a unit, dispatch in the same save."""
    case, fields = change.case, change.fields
    before = change.tally()
    change.data = {"note": fields["note"]} if fields.get("note") else {}
    category = fields.get("category")
    if category and category != case.category_code:
        change.note("category", case.category_code, category)
        case.category_code = change.book.checked_category(category)
        case.category_confidence, case.category_by = 1.0, "operator"
    for name in ("kind", "urgency"):
        value = fields.get(name)
        if value and value != getattr(case, name):
            change.note(name, getattr(case, name), value)
            setattr(case, name, value)
    if fields.get("complex") and (fields["complex"] == "yes") != case.complex:
        change.note("complex", "yes" if case.complex else "no", fields["complex"])
        case.complex = fields["complex"] == "yes"
    if fields.get("lng") not in (None, "") or fields.get("lat") not in (None, ""):
        _place(change)
    if change.data.keys() & {"category", "kind", "urgency", "complex"}:
        _remeasure(change)
    if fields.get("unit"):
        change.follow_with = ("dispatch", {"unit": fields["unit"]})
    elif not change.data:
        raise Invalid("Nothing was changed.")
    after = change.tally()
    if after != before:
        change.topics.append(("case.moved", {"old": before, "new": after}))


def _place(change: Change) -> None:
    case, fields = change.case, change.fields
    lng, lat = _number(fields, "lng"), _number(fields, "lat")
    spot = point(lng, lat, fields.get("datum"), field="lng")
    where = whereabouts(change.session, change.book.district, spot.x, spot.y)
    if where.town is None:
        raise Invalid("The point is outside the district.", field="lng")
    change.note(
        "place", {"cell": case.cell_code, "name": case.place_name}, {"cell": where.cell, "lng": lng, "lat": lat}
    )
    case.geom = to_db(spot)
    case.source_datum, case.source_lng, case.source_lat = str(fields["datum"]), lng, lat
    case.place_name = str(fields.get("place_name") or case.place_name)
    case.place_by, case.place_confidence, case.radius_m = "operator", 1.0, 20.0
    case.town_code, case.community_code, case.cell_code = where.town, where.community, where.cell


def _remeasure(change: Change) -> None:
    """Recompute running clocks whose limit depends on what was corrected, from where they started, with a diff."""
    case = change.case
    changed = change.look.clocks.remeasure(
        change.book,
        kind="complex" if case.complex else case.kind,
        urgency=case.urgency,
        category=case.category_code or "",
        at=change.at,
        why={"corrected": sorted(change.data)},
    )
    change.clocks_touched |= bool(changed)


def assign_to(change: Change, unit: object, *, again: bool, signed: bool = False) -> None:
    """Give the case to a lead unit: the shares before it have ended; running clocks of the unit measure the new one.

    again: the case was with a unit already. signed: the unit has it in hand at once. Raises Invalid for an unknown unit
    and for the one that has it, Conflict where the unit has returned the case before (units playing it to each other
    踢皮球) and no arbiter decides.
    """
    case, book = change.case, change.book
    code = book.checked_unit(unit)
    if again and code == case.unit_code:
        raise Invalid("The case is with this unit already.", field="unit")
    returned = any(s.unit_code == code and s.share == "lead" and s.state == "returned" for s in change.look.shares)
    if returned and change.process.has_arbiter and change.actor.role is not Role.SUPERVISOR:
        raise Conflict(
            "{unit} has returned this case already; refer it to the arbiter or choose another unit.",
            unit=book.unit_name(code),
        )
    areas = tuple(area for area in (case.town_code, case.community_code, case.cell_code) if area)
    proposed = book.routing.assign(case.category_code, areas, case.received_at)
    why: dict[str, Any] = {"by": change.actor.name, "proposed": proposed.unit, **proposed.why}
    if code != proposed.unit:
        given = change.fields.get("reason") or change.fields.get("ruling") or change.fields.get("note") or ""
        why |= {"level": "person", "reason": given}
    add_part(change, code, why=why, state="signed" if signed else "sent", signed_at=change.at if signed else None)
    change.data |= {"unit": code, "from_unit": case.unit_code, "why": why}
    case.unit_code = code
    if code not in case.unit_codes:
        case.unit_codes = [*case.unit_codes, code]
    measure_unit(change)


def add_part(change: Change, unit: str, *, why: Mapping[str, Any], share: str = "lead", **known: Any) -> Assignment:
    """Give a unit a share, `sent` unless it is known otherwise; it is written with the step. Returns the share."""
    case = change.case
    filled = {"state": "sent", "needed": True, "task": ""} | known
    added = Assignment(
        district_code=case.district_code,
        id=new_id(),
        case_id=case.id,
        unit_code=unit,
        share=share,
        why=dict(why),
        created_at=change.at,
        **filled,
    )
    change.session.add(added)
    change.look.shares.append(added)
    return added


def measure_unit(change: Change) -> None:
    """Let the running clocks of the lead unit measure the one that the case is with now; none is reset by that."""
    case = change.case
    # A clock that the step stops is history of the unit that it measured.
    going_on = [name for name in change.process.unit_clocks if name not in change.stops]
    change.look.clocks.move_unit(case.unit_code, going_on)
    order = change.look.supervision
    if order is not None and order.state == "issued" and case.unit_code:
        order.unit_code = case.unit_code


def find_share(change: Change, step: Step) -> None:
    """Set the share that a step is about: the acting unit's own, or that of the unit it names.

    Raises Forbidden where the unit has none, Invalid where the unit named has none.
    """
    if step.who == "share":
        change.share = change.look.share_of(change.actor.unit)
        if change.share is None:
            raise Forbidden("The case is with another unit now.")
    elif step.action in NAMED_SHARE:
        change.share = change.look.share_of(change.book.checked_unit(change.fields.get("unit")))
        if change.share is None:
            raise Invalid("This unit has no share in the case that could be changed.", field="unit")


def take_part(change: Change, step: Step) -> None:
    """Move the shares that a step concerns along the process `assignment`, and stop their own clocks with them.

    Without a named share it is the lead's; where that ends, every other share ends with it.
    """
    if not step.part:
        return
    if change.share is not None:
        concerned = [change.share]
    elif step.part in _ENDING:
        concerned = [s for s in change.look.shares if s.state in ACTIVE]
    else:
        concerned = [s for s in change.look.shares if s.state in ACTIVE and s.share == "lead"]
    for share in concerned:
        # What ends with the lead's share is taken back, whatever became of the lead's.
        beside = change.share is None and share.share != "lead" and step.part == "return"
        part = process("assignment").step_for("move" if beside else step.part, share.state)
        share.state = part.target
        if part.target == "signed" and share.signed_at is None:
            share.signed_at = change.at
        if part.target in ("returned", "moved", "done"):
            share.ended_at = change.at
        if share.share != "lead":
            _stop_share_clocks(change, share, part.target)


def _stop_share_clocks(change: Change, share: Assignment, state: str) -> None:
    met = {"signed": ("share_sign",), "replied": ("share_sign", "share_reply")}.get(state)
    names, void = (met, False) if met else (("share_sign", "share_reply"), True)
    change.look.clocks.stop(names, at=change.at, void=void, assignment_id=share.id)
    change.clocks_touched = True


def _dispatch(change: Change) -> None:
    from dispatch.roads import add_share

    assign_to(change, change.fields["unit"], again=False)
    case = change.case
    if change.actor.role is Role.OPERATOR and case.geom is not None and case.place_by != "operator":
        # Whoever sends a case out has seen its place and kept it.
        change.note("place_by", case.place_by, "operator")
        case.place_by = "operator"
    for unit in change.fields.get("assist", ()):
        add_share(change, unit, task=str(change.fields.get("note") or ""))


def _return(change: Change) -> None:
    if change.fields.get("suggested_unit"):
        change.book.checked_unit(change.fields["suggested_unit"])
    change.data["from_unit"] = change.case.unit_code
    change.case.unit_code = None
    change.case.returns += 1
    measure_unit(change)


def _reply(change: Change) -> None:
    change.case.answer = change.fields.get("answer") or change.fields["done"]


def _rated(change: Change) -> None:
    # A patrol event has no citizen who says so.
    if change.fields.get("satisfaction"):
        change.case.satisfaction = int(change.fields["satisfaction"])


def _reopen(change: Change) -> None:
    change.case.unit_code = None
    change.case.satisfaction = None
    change.case.bound = False


#: Action → its effect; actions without one change nothing but the log. Shares move by the step's `part`.
HANDLERS: Mapping[str, Callable[[Change], None]] = {
    "correct": _correct,
    "dispatch": _dispatch,
    "redispatch": lambda change: assign_to(change, change.fields["unit"], again=True),
    "return": _return,
    "reply": _reply,
    "answer_now": _reply,
    "settle": _reply,
    "callback": _rated,
    "rework": _rated,
    "rate": _rated,
    "reopen": _reopen,
}

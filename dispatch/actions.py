"""What each action does to the case row and its assignments; permissions, clocks, states and log are `dispatch.cases`'.

A handler checks its own fields, changes the row, and leaves in `data` what the log should keep: old and new values.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from core.actor import Actor
from core.datums import from_db, point, to_db
from core.errors import Invalid
from core.ids import new_id
from dispatch.calendar import china_time
from dispatch.deadlines import move_unit
from dispatch.limits import Due, due
from dispatch.models import Assignment, Case, Deadline, DeadlineChange
from dispatch.rulebook import Rulebook
from grid.whereabouts import whereabouts

_KINDS = ("complaint", "help", "enquiry", "suggestion", "praise")
_URGENCIES = ("emergency", "utilities", "ordinary")
_SERVICES = ("110", "119", "120", "122")
#: The longest way down from lead to done; shares in these states still answer for the case.
_ACTIVE = ("sent", "signed", "replied")


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
    fields: dict[str, Any]
    #: For the log entry.
    data: dict[str, Any] = field(default_factory=dict)
    #: Outbox topics with their payloads.
    topics: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    clocks_touched: bool = False
    #: A second action in the same save, with its fields.
    follow_with: tuple[str, dict[str, Any]] | None = None

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

    def note(self, name: str, old: Any, new: Any) -> None:
        """Keep an old and a new value for the log."""
        self.data[name] = {"old": old, "new": new}


def _chosen(change: Change, name: str, allowed: tuple[str, ...]) -> str | None:
    value = change.fields.get(name)
    if value in (None, ""):
        return None
    if value not in allowed:
        raise Invalid("{value} is no {name}.", field=name, value=str(value), name=name)
    return str(value)


def _number(fields: Mapping[str, Any], name: str) -> float:
    try:
        return float(fields[name])
    except (KeyError, TypeError, ValueError) as error:
        raise Invalid("{name} is not a number.", field=name, name=name) from error


def _satisfaction(change: Change) -> int:
    value = change.fields.get("satisfaction")
    if str(value) not in ("1", "2", "3", "4", "5"):
        raise Invalid("Satisfaction is a number from 1 to 5.", field="satisfaction")
    return int(str(value))


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
    for name, allowed in (("kind", _KINDS), ("urgency", _URGENCIES)):
        value = _chosen(change, name, allowed)
        if value and value != getattr(case, name):
            change.note(name, getattr(case, name), value)
            setattr(case, name, value)
    if fields.get("lng") not in (None, "") or fields.get("lat") not in (None, ""):
        _place(change)
    if change.data.keys() & {"category", "kind", "urgency"}:
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
    case, book = change.case, change.book
    running = change.session.scalars(
        select(Deadline).where(
            Deadline.district_code == case.district_code, Deadline.case_id == case.id, Deadline.stopped_at.is_(None)
        )
    )
    for row in running:
        limit = book.limits.limit(row.clock, kind=case.kind, urgency=case.urgency, category=case.category_code or "")
        if str(limit) != row.limit:
            apply_due(
                change.session,
                row,
                str(limit),
                due(row.started_at, limit, work=book.work),
                at=change.at,
                why={"corrected": sorted(change.data), "limit": [row.limit, str(limit)]},
            )
            change.clocks_touched = True


def apply_due(session: Session, row: Deadline, limit: str, found: Due, *, at: datetime, why: dict[str, Any]) -> None:
    """Move a running deadline and keep the diff; warnings that lie ahead are armed again. Writes; caller commits."""
    half, near, when = found.warn_times()
    announced = row.fired == 3
    session.execute(
        insert(DeadlineChange),
        [
            {
                "district_code": row.district_code,
                "id": new_id(),
                "case_id": row.case_id,
                "deadline_id": row.id,
                "changed_at": at,
                "old_due_at": row.due_at,
                "new_due_at": when,
                "why": why,
            }
        ],
    )
    row.limit, row.due_at, row.half_at, row.near_at, row.provisional = limit, when, half, near, found.provisional
    row.fired = 3 if when <= at else 2 if near <= at else 1 if half <= at else 0
    # Levels already passed are not announced again; an expiry that the move brought about is, by the next sweep.
    row.next_at = when if near <= at else near if half <= at else half
    if announced and when <= at:
        row.next_at = None


def _assign(change: Change, *, moved: bool) -> None:
    """Give the case to a unit: the old share ends, a new one begins, the running reply clock measures the new unit."""
    case, book = change.case, change.book
    unit = book.checked_unit(change.fields.get("unit"))
    if moved and unit == case.unit_code:
        raise Invalid("The case is with this unit already.", field="unit")
    areas = tuple(code for code in (case.town_code, case.community_code, case.cell_code) if code)
    proposed = book.routing.assign(case.category_code, areas, case.received_at)
    why: dict[str, Any] = {"by": change.actor.name, "proposed": proposed.unit, **proposed.why}
    if unit != proposed.unit:
        why |= {"level": "person", "reason": change.fields.get("reason") or change.fields.get("note") or ""}
    _end_shares(change, "moved")
    change.session.execute(
        insert(Assignment),
        [
            {
                "district_code": case.district_code,
                "id": new_id(),
                "case_id": case.id,
                "unit_code": unit,
                "share": "lead",
                "state": "sent",
                "why": why,
                "created_at": change.at,
            }
        ],
    )
    change.data |= {"unit": unit, "from_unit": case.unit_code, "why": why}
    case.unit_code = unit
    if unit not in case.unit_codes:
        case.unit_codes = [*case.unit_codes, unit]
    _measure_unit(change)


def _measure_unit(change: Change) -> None:
    move_unit(change.session, change.book.district, change.case.id, change.case.unit_code)


def _share(change: Change, **values: Any) -> None:
    """Change the active share of the lead unit."""
    case = change.case
    change.session.execute(
        update(Assignment)
        .where(
            Assignment.district_code == case.district_code,
            Assignment.case_id == case.id,
            Assignment.share == "lead",
            Assignment.state.in_(_ACTIVE),
        )
        .values(**values)
    )


def _end_shares(change: Change, state: str) -> None:
    case = change.case
    change.session.execute(
        update(Assignment)
        .where(
            Assignment.district_code == case.district_code,
            Assignment.case_id == case.id,
            Assignment.state.in_(_ACTIVE),
        )
        .values(state=state, ended_at=change.at)
    )


def _return(change: Change) -> None:
    if change.fields.get("suggested_unit"):
        change.book.checked_unit(change.fields["suggested_unit"])
    _end_shares(change, "returned")
    change.data["from_unit"] = change.case.unit_code
    change.case.unit_code = None
    change.case.returns += 1
    _measure_unit(change)


def _reply(change: Change) -> None:
    change.case.answer = str(change.fields["answer"]).strip()
    _share(change, state="replied")


def _called_back(change: Change) -> None:
    change.case.satisfaction = _satisfaction(change)
    _end_shares(change, "done")


def _rework(change: Change) -> None:
    change.case.satisfaction = _satisfaction(change)
    _share(change, state="signed")


def _reopen(change: Change) -> None:
    change.case.unit_code = None
    change.case.satisfaction = None


def _hand_over(change: Change) -> None:
    _chosen(change, "service", _SERVICES)
    _end_shares(change, "moved")


#: Action → its effect; actions without one change nothing but the log.
HANDLERS: Mapping[str, Callable[[Change], None]] = {
    "correct": _correct,
    "dispatch": lambda change: _assign(change, moved=False),
    "redispatch": lambda change: _assign(change, moved=True),
    "return": _return,
    "sign": lambda change: _share(change, state="signed", signed_at=change.at),
    "reply": _reply,
    "callback": _called_back,
    "rework": _rework,
    "close": lambda change: _end_shares(change, "done"),
    "rate": lambda change: setattr(change.case, "satisfaction", _satisfaction(change)),
    "reopen": _reopen,
    "hand_over": _hand_over,
    "withdraw": lambda change: _end_shares(change, "moved"),
}

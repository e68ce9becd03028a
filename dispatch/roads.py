"""What side roads do to a case 旁路: shares, pleas and pauses, supervision, the arbiter, merging, the next level.

Handlers for `dispatch.cases`, as in `dispatch.actions`: each checks what only it knows and leaves its trace in `data`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import insert, select

from core.errors import Conflict, Invalid
from core.ids import new_id
from dispatch.actions import Change, add_part, assign_to, measure_unit
from dispatch.fields import LONGEST_PAUSE
from dispatch.guards import above, unit_of_level
from dispatch.limits import Limit, due
from dispatch.models import Case, Plea, Supervision
from dispatch.words import N_

#: States in which a case was answered and its citizen is yet to be asked.
ANSWERED = ("replied", "settled")
#: The longest extension of one grant. *Default*; district setting `longest_extension`.
LONGEST_EXTENSION = "15wd"
#: Units that may have a share of one case at once.
MOST_SHARES = 12


# Shares 协办, 并联.


def add_share(
    change: Change, unit: object, *, task: str, share: str = "assist", needed: bool = True, limit: str | None = None
) -> None:
    """Give one more unit a share with a task of its own; its clocks start with the step. Raises Invalid, Conflict.

    limit: replaces the table's for the answer, such as a limit that an item's sheet names.
    """
    case, book = change.case, change.book
    code = book.checked_unit(unit)
    if code == case.unit_code:
        raise Invalid("The case is with this unit already.", field="unit")
    if change.look.share_of(code):
        raise Invalid("This unit has a share already.", field="unit")
    if sum(s.state in ("sent", "signed", "replied") for s in change.look.shares) >= MOST_SHARES:
        raise Conflict("A case has at most {n} units at once.", n=MOST_SHARES)
    why = {"by": change.actor.name, "level": "person", "reason": task}
    added = add_part(change, code, why=why, share=share, needed=needed, task=task)
    change.added.append(code)
    if code not in case.unit_codes:
        case.unit_codes = [*case.unit_codes, code]
    change.share_clocks(added.id, code, ("share_sign", "share_reply"), limits={"share_reply": limit})


def _add_unit(change: Change) -> None:
    fields = change.fields
    needed = fields.get("needed", "yes") == "yes"
    add_share(change, fields["unit"], task=fields["task"], share=fields.get("share", "assist"), needed=needed)


def _replace_unit(change: Change) -> None:
    old = change.share
    assert old is not None, "the step names a share"
    add_share(change, change.fields["new_unit"], task=old.task, share=old.share, needed=old.needed)


def _share_reply(change: Change) -> None:
    assert change.share is not None, "the step is for a share"
    change.share.opinion = change.fields["opinion"]


def _share_rework(change: Change) -> None:
    assert change.share is not None, "the step names a share"
    change.share_clocks(change.share.id, change.share.unit_code, ("share_reply",))


# Pleas 申请: asked by the unit, decided by somebody else.


def _ask(kind: str) -> Callable[[Change], None]:
    def ask(change: Change) -> None:
        case, fields = change.case, change.fields
        span = Limit.parse(fields["span"])
        code = str(fields.get("pause_reason") or "")
        if kind == "extension":
            most = change.process.longest_extension or change.book.settings.get("longest_extension")
            _no_longer(change, span, Limit.parse(str(most or LONGEST_EXTENSION)))
        elif kind == "pause":
            _no_longer(change, span, LONGEST_PAUSE[code])
        change.session.execute(
            insert(Plea).values(
                district_code=case.district_code,
                id=new_id(),
                case_id=case.id,
                kind=kind,
                unit_code=case.unit_code,
                asked_by=change.actor.id,
                asked_name=change.actor.name,
                asked_at=change.at,
                reason_code=code,
                reason=str(fields.get("reason") or ""),
                evidence={"document": fields.get("document", ""), "photos": fields.get("photos", [])},
                span=str(span),
                state="asked",
            )
        )
        case.plea = kind

    return ask


def _no_longer(change: Change, span: Limit, most: Limit) -> None:
    """Raise Invalid where one limit, counted from now, ends after another."""
    work = change.book.work
    if due(change.at, span, work=work).at > due(change.at, most, work=work).at:
        raise Invalid("At most {most} can be asked for.", field="span", most=str(most))


def _decide(change: Change, state: str) -> Plea:
    plea = change.look.plea
    if plea is None:
        raise Conflict("The unit has not asked for anything.")
    plea.state, plea.decided_at = state, change.at
    plea.decided_by, plea.decided_name = change.actor.id, change.actor.name
    plea.ruling = str(change.fields.get("reason") or change.fields.get("note") or "")
    change.case.plea = None
    change.data |= {"kind": plea.kind, "span": plea.span, "asked_by": plea.asked_name}
    change.data |= {"asked_at": plea.asked_at.isoformat(), "reason_code": plea.reason_code or None}
    return plea


def _extend_grant(change: Change) -> None:
    plea = _decide(change, "granted")
    why = {"extended": plea.span, "by": change.actor.name}
    new = change.look.clocks.extend(
        change.book, change.process.extends, plea.span, at=change.at, asked_at=plea.asked_at, why=why
    )
    change.data["due_at"] = new.isoformat()
    change.clocks_touched = True


def _plea_refuse(change: Change) -> None:
    _decide(change, "refused")


def _pause_grant(change: Change) -> None:
    plea = _decide(change, "granted")
    change.pause_reason = plea.reason_code
    change.limits["pause"] = plea.span


def _park_grant(change: Change) -> None:
    plea = _decide(change, "granted")
    change.pause_reason = "park"
    change.limits["review"] = plea.span


def _park_on(change: Change) -> None:
    change.limits["review"] = change.fields["span"]


def lapse_plea(change: Change) -> None:
    """Let a plea that nobody decided end with the road it was asked on."""
    plea = change.look.plea
    if plea is not None:
        plea.state, plea.decided_at, plea.ruling = "lapsed", change.at, ""
        change.data["lapsed"] = [plea.kind]
    change.case.plea = None
    change.look.clocks.stop(("plea",), at=change.at, void=True)
    change.clocks_touched = True


# Supervision 督办.


def _supervise(change: Change) -> None:
    case = change.case
    change.session.execute(
        insert(Supervision).values(
            district_code=case.district_code,
            id=new_id(),
            case_id=case.id,
            unit_code=case.unit_code,
            demand=change.fields["demand"],
            state="issued",
            issued_by=change.actor.id,
            issued_name=change.actor.name,
            issued_at=change.at,
        )
    )
    case.supervised = True
    _span_of_order(change)


def _span_of_order(change: Change) -> None:
    if change.fields.get("span"):
        change.limits["supervise"] = change.fields["span"]


def _running_order(change: Change) -> Supervision:
    order = change.look.supervision
    if order is None:
        raise Conflict("There is no supervision that waits for this.")
    return order


def _supervise_reply(change: Change) -> None:
    order = _running_order(change)
    order.state, order.answer = "answered", change.fields["supervise_answer"]
    order.answered_at, order.answered_name = change.at, change.actor.name


def _supervise_again(change: Change) -> None:
    order = _running_order(change)
    order.state, order.ruling = "issued", change.fields["reason"]
    # Meanwhile the case may have gone to another unit; the order is that one's to answer now.
    order.unit_code = change.case.unit_code or order.unit_code
    _span_of_order(change)


def _supervise_close(change: Change) -> None:
    order = _running_order(change)
    order.state, order.ruling = "closed", change.fields["ruling"]
    order.closed_at, order.closed_name = change.at, change.actor.name
    change.case.supervised = False


def lapse_supervision(change: Change) -> None:
    """End an order that was not answered when its case came to rest; an answered one is still closed by a person."""
    order = change.look.supervision
    if order is not None and order.state == "issued":
        order.state, order.closed_at = "lapsed", change.at
        change.data["lapsed"] = [*change.data.get("lapsed", ()), "supervision"]
        change.case.supervised = False


# The arbiter 裁决, and the next level 上报.


def _dispute(change: Change) -> None:
    if change.fields.get("suggested_unit"):
        change.book.checked_unit(change.fields["suggested_unit"])
    change.data["from_unit"] = change.case.unit_code


def _arbitrate(change: Change) -> None:
    # Most often the unit that disputes it has to keep it.
    assign_to(change, change.fields["unit"], again=False)
    change.case.bound = True


#: State of a four-level process → kind of the unit that has the case there.
LEVELS: Mapping[str, str] = {"in_community": "community", "in_town": "town_office"}


def _to_level(change: Change) -> None:
    """Give an event to the unit of the level that the step leads to; where there is none, the program passes it on."""
    case, kind = change.case, LEVELS.get(change.target)
    area = case.community_code if kind == "community" else case.town_code
    unit = unit_of_level(change.book, kind, area) if kind and area else None
    if unit:
        assign_to(change, unit, again=False, signed=True)
        return
    change.data["from_unit"] = case.unit_code
    case.unit_code = None
    measure_unit(change)
    if kind:
        change.follow_with = ("skip", {})


def _rise(change: Change) -> None:
    if change.target != "dispatched":
        _to_level(change)
        return
    up = above(change.book, change.case.unit_code, change.case.town_code)
    if up is None:
        raise Conflict("There is no level above this unit that a matter passes to.")
    assign_to(change, up, again=True)


# Merging 并案.


def _merge(change: Change) -> None:
    case, number = change.case, str(change.fields["main"]).replace(" ", "").upper()
    found = select(Case).where(Case.district_code == case.district_code, Case.number == number)
    main = change.session.scalar(found.with_for_update().execution_options(populate_existing=True))
    if main is None:
        raise Invalid("There is no case with the number {number}.", field="main", number=number)
    if main.id == case.id:
        raise Invalid("A case cannot be merged into itself.", field="main")
    if not main.open or main.merged_into or main.state in ANSWERED:
        raise Conflict(
            "The case {number} cannot take others in: it is settled, answered or merged itself.", number=number
        )
    if main.process != case.process:
        raise Invalid("Only cases of the same process can be merged.", field="main")
    case.merged_into = main.id
    # Whose it is follows the main case from here.
    case.bound = False
    change.data |= {"main": main.number, "from_unit": case.unit_code}
    _follow_unit(change, main.unit_code)


def _follow_unit(change: Change, unit: str | None) -> None:
    case = change.case
    case.unit_code = unit
    if unit and unit not in case.unit_codes:
        case.unit_codes = [*case.unit_codes, unit]
    change.data["unit"] = unit
    measure_unit(change)


def _answer_merged(change: Change) -> None:
    """Answer this caller too; the unit of the main case has a share from here, for its rework would be that unit's."""
    case = change.case
    case.answer = change.fields["answer"]
    if case.unit_code:
        why = {"by": change.actor.name, "level": "merged"}
        add_part(change, case.unit_code, why=why, state="replied", signed_at=change.at)


def _unmerge(change: Change) -> None:
    change.case.unit_code = None
    measure_unit(change)


#: The ids of the cases merged into another, in the order in which they are locked.
MERGED_INTO = (
    "SELECT id FROM cases WHERE district_code = $1::text AND merged_into = $2::uuid AND state = 'merged' ORDER BY id"
)


def what_follows(change: Change, unit_before: str | None) -> tuple[str, dict[str, Any]] | None:
    """Return what the program does with the cases merged into this one: action and fields; None for nothing.

    The main case answered → each caller is answered; at rest without an answer → each is handled by itself again; with
    another unit → their clocks measure that one.
    """
    case = change.case
    if case.state == "merged":
        return None
    if case.state in ANSWERED:
        return "answer_merged", {"answer": case.answer or ""}
    if not case.open:
        return "unmerge", {"reason": N_("The main case ended without an answer.")}
    if case.unit_code != unit_before:
        return "follow", ({"unit": case.unit_code} if case.unit_code else {})
    return None


#: Action → its effect.
ROADS: Mapping[str, Callable[[Change], None]] = {
    "add_unit": _add_unit,
    "replace_unit": _replace_unit,
    "share_reply": _share_reply,
    "share_rework": _share_rework,
    "extend_ask": _ask("extension"),
    "pause_ask": _ask("pause"),
    "park_ask": _ask("park"),
    "extend_grant": _extend_grant,
    "plea_refuse": _plea_refuse,
    "pause_grant": _pause_grant,
    "park_grant": _park_grant,
    "park_on": _park_on,
    "supervise": _supervise,
    "supervise_reply": _supervise_reply,
    "supervise_again": _supervise_again,
    "supervise_close": _supervise_close,
    "dispute": _dispute,
    "arbitrate": _arbitrate,
    "rise": _rise,
    "overrun": _to_level,
    "skip": _to_level,
    "merge": _merge,
    "follow": lambda change: _follow_unit(change, change.fields.get("unit")),
    "answer_merged": _answer_merged,
    "unmerge": _unmerge,
}

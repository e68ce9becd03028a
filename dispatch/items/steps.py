"""What each action does to an application 申请件: materials and debts, acceptance, surveys, hand-overs, the decision.

Handlers for `dispatch.cases`, as in `dispatch.actions`. Each checks what only it knows and leaves its trace in `data`.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import func, insert, select

from core.errors import Conflict, Invalid
from core.ids import new_id
from dispatch.actions import Change, add_part, measure_unit
from dispatch.calendar import CHINA, china_time
from dispatch.guards import ACTIVE
from dispatch.items import filed, lists
from dispatch.items.application import checked_pickup, kept_verdict
from dispatch.items.application_models import ApplicationMaterial, Fee, Handover, MaterialFile, Survey
from dispatch.items.guards import names
from dispatch.items.matter import WANTING, Matter, matter
from dispatch.items.roles import competent
from dispatch.items.sheet import Sheet
from dispatch.limits import Limit
from dispatch.process import process
from dispatch.roads import add_share

#: 行政许可法 art. 44: handed out within ten days of the decision.
LEGAL_DELIVER: Final = "10wd"
#: The green channel's promise as a share of the published one. *Default*; district setting `green_share`.
GREEN_SHARE: Final = 0.5
#: Dearer than any fee of a community item.
_MOST_YUAN = Decimal(1_000_000)


# Materials 材料.


def _notice(change: Change) -> None:
    """Tell all that is missing at once (行政许可法 art. 32); the program makes the list, so that it is whole."""
    found = matter(change.look)
    application = found.application
    wrong = _named_wrong(change, found)
    told_at = application.told_at
    if told_at is not None:
        first = [code for code in wrong if (given := found.materials[code].given_at) is None or given <= told_at]
        if not wrong or first:
            raise Conflict(
                "Everything that is missing was told already; only what was handed in since may be found wrong now."
            )
    for code, why in wrong.items():
        found.materials[code].state, found.materials[code].why = "rejected", why
    told = [
        {"code": one.code, "name": one.name, "why": found.materials[one.code].why}
        for one in _listed(found, found.missing)
    ]
    if not told:
        raise Invalid("Nothing is missing or wrong, so there is nothing to tell.", field="wrong")
    application.told_at, application.told = change.at, told
    change.data["told"] = told
    change.pause_reason = "supply"


def _listed(found: Matter, missing: Iterable[Any]) -> list[Any]:
    """Return what is told: what is required, and what was handed in wrong although it is not."""
    extra = [found.material(code) for code, row in found.materials.items() if row.state == "rejected"]
    return list({one.code: one for one in (*missing, *extra)}.values())


def _named_wrong(change: Change, found: Matter) -> dict[str, str]:
    """Return materials that somebody finds wrong, with the reason for each; raises Invalid."""
    wrong: dict[str, str] = {}
    for row in change.fields.get("wrong", ()):
        code, why = str(row.get("code") or ""), str(row.get("why") or "").strip()
        if code not in found.materials or found.materials[code].state not in ("given", "checked", "shared"):
            raise Invalid("Only what was handed in can be wrong: {code}.", field="wrong", code=code[:40])
        if not why:
            raise Invalid("Say what is wrong with {material}.", field="wrong", material=found.material(code).name)
        wrong[code] = why[:500]
    return wrong


def _hand_in(change: Change) -> None:
    found = matter(change.look)
    for code in change.fields.get("materials", ()):
        row = found.materials.get(code)
        if row is None:
            raise Invalid("The sheet asks for no material {code}.", field="materials", code=code[:40])
        if change.actor.role.value == "citizen" and not _file_since(change, row):
            raise Invalid("Add a file for {material} first.", field="materials", material=found.material(code).name)
        if row.state == "owed":
            row.settled_at = change.at
            change.look.clocks.stop(("debt",), at=change.at, assignment_id=row.id)
            change.clocks_touched = True
        row.state, row.given_at, row.why = "given", change.at, ""
    _name(change, found, change.fields.get("materials", ()))


def _name(change: Change, found: Matter, codes: Iterable[str]) -> None:
    """Let the log say of materials what the sheet calls them: whoever reads it later has no sheet beside it."""
    change.data["names"] = {code: found.material(code).name for code in codes}


def _file_since(change: Change, row: ApplicationMaterial) -> bool:
    """Return whether a file of a material came in after it was last handed in."""
    which = select(func.count()).where(
        MaterialFile.district_code == row.district_code,
        MaterialFile.case_id == row.case_id,
        MaterialFile.code == row.code,
    )
    if row.given_at is not None:
        which = which.where(MaterialFile.created_at > row.given_at)
    return bool(change.session.scalar(which))


def _supply(change: Change) -> None:
    _hand_in(change)
    found = matter(change.look)
    strict = [one for one in found.missing if not one.may_lag]
    if strict:
        raise Conflict("These materials are missing: {materials}.", materials=names(strict))


def _reuse(change: Change) -> None:
    """Use materials of earlier applications again 一表制; the consent stands in the log and with the application."""
    if change.fields["consent"] != "yes":
        raise Invalid("Materials are used again only with the applicant's consent.", field="consent")
    found = matter(change.look)
    offers = {one.code: one for one in filed.earlier(change.session, found.application, found.sheet, at=change.at)}
    for code in change.fields["materials"]:
        row, offer = found.materials.get(code), offers.get(code)
        if row is None or offer is None or row.state not in WANTING:
            raise Invalid(
                "There is no earlier material {code} that could be used again.", field="materials", code=code[:40]
            )
        filed.copy_files(change.session, change.case, offer, at=change.at)
        row.state, row.given_at, row.why, row.source_case_id = "given", change.at, "", offer.case_id
    _name(change, found, change.fields["materials"])
    found.application.consent = True


def _material_wrong(change: Change) -> None:
    """Put a debt back that was settled with something wrong; what was checked at acceptance stays accepted."""
    found = matter(change.look)
    wrong = _named_wrong(change, found)
    for code, why in wrong.items():
        if found.materials[code].settled_at is None:
            raise Conflict(
                "{material} was accepted; only what was owed can be asked for again.",
                material=found.material(code).name,
            )
        found.materials[code].why = why
    if not wrong:
        raise Invalid("Name what is wrong.", field="wrong")
    _owe(change, found, wrong)


def _owe(change: Change, found: Matter, codes: Iterable[str]) -> None:
    """Make each material a dated debt with a clock of its own, which reminds and runs out by itself."""
    case, owed = change.case, {}
    for code in codes:
        row = found.materials[code]
        clock = change.book.clock(
            "debt",
            unit=None,
            kind=change.limit_kind,
            urgency=case.urgency,
            category="",
            item=found.sheet.code,
            start=change.at,
            limit=found.material(code).lag or None,
            assignment_id=row.id,
        )
        change.starting.append(clock)
        row.state, row.owed_until, row.settled_at = "owed", clock.due_at, None
        owed[code] = clock.due_at.isoformat()
    change.data["debts"] = owed
    _name(change, found, owed)


# Acceptance 受理.


def _accept(change: Change) -> None:
    found = matter(change.look)
    _tell_facts(change, found)
    _take_in(change, found)


def _accept_gaps(change: Change) -> None:
    """Accept although materials are missing that the sheet lets follow 容缺受理 (S2, S3)."""
    found = matter(change.look)
    if change.fields["commitment"] != "yes":
        raise Invalid("The applicant has to promise to hand in what is missing.", field="commitment")
    missing = {one.code for one in found.missing}
    if set(change.fields["owed"]) != missing:
        raise Invalid(
            "Exactly these materials follow later: {materials}.", field="owed", materials=names(found.missing)
        )
    _tell_facts(change, found)
    _owe(change, found, sorted(missing))
    _take_in(change, found)


def _accept_deemed(change: Change) -> None:
    """Count the application as accepted from its submission on; what is missing is owed (行政许可法 art. 32)."""
    found = matter(change.look)
    change.since["decide"] = change.case.received_at
    _owe(change, found, [one.code for one in found.missing])
    _take_in(change, found)


def _take_in(change: Change, found: Matter) -> None:
    """Give lead and parallel units their shares and set the limit to decide: the promised one beside the law's."""
    sheet, case = found.sheet, change.case
    _checked(found)
    if change.fields.get("green") == "no" and found.application.green:
        # A claim that the window could not confirm.
        found.application.green = False
        case.suggestions = {**case.suggestions, "green": None}
    found.application.accepted_at = change.at
    give(change, _lead(change, sheet), why={"item": sheet.code, "version": found.application.item_version})
    for one in sheet.parallel:
        if one.unit != case.unit_code:
            add_share(change, one.unit, task=one.task, share="parallel", limit=one.limit)
    change.limits["decide"] = promise(change.book.settings, sheet, green=found.application.green)
    change.legal["decide"] = sheet.legal_limit
    change.data |= {"unit": case.unit_code, "parallel": [one.unit for one in sheet.parallel]}


def promise(settings: Mapping[str, Any], sheet: Sheet, *, green: bool) -> str:
    """Return the limit to decide that is promised; in the green channel half of the published one, at least one."""
    limit = Limit.parse(sheet.promised_limit)
    share = settings.get("green_share", GREEN_SHARE)
    if not green or not isinstance(share, int | float) or not limit.amount:
        return sheet.promised_limit
    return str(Limit(limit.count, max(1, -int(-limit.amount * share // 1))))


def _lead(change: Change, sheet: Sheet) -> str:
    offices = {unit.area: code for code, unit in change.book.routing.units.items() if unit.kind == "town_office"}
    return change.book.checked_unit(competent(sheet, offices, change.case.town_code))


def give(change: Change, unit: str, *, why: Mapping[str, Any], state: str = "sent") -> None:
    """Give the lead's share to a unit; running clocks of the lead measure it from now on."""
    case = change.case
    ended = change.at if state == "done" else None
    add_part(change, unit, why=why, state=state, signed_at=ended, ended_at=ended)
    case.unit_code = unit
    if unit not in case.unit_codes:
        case.unit_codes = [*case.unit_codes, unit]
    measure_unit(change)


def reassign(change: Change) -> None:
    """End the lead's share alone and give it to another unit; parallel shares go on."""
    unit = change.book.checked_unit(change.fields["unit"])
    if unit == change.case.unit_code or change.look.share_of(unit):
        raise Invalid("The case is with this unit already.", field="unit")
    for share in change.look.shares:
        if share.share == "lead" and share.state in ACTIVE:
            share.state = process("assignment").step_for("move", share.state).target
            share.ended_at = change.at
    change.data["from_unit"] = change.case.unit_code
    why = {"by": change.actor.name, "level": "person", "reason": change.fields.get("reason", "")}
    give(change, unit, why=why)


def _checked(found: Matter) -> None:
    """Let what was handed in count as looked at: it may be used again for other applications."""
    for row in found.materials.values():
        if row.state == "given":
            row.state = "checked"


def _tell_facts(change: Change, found: Matter) -> None:
    """Take in what was told, and judge by the three lists again; raises Invalid while a fact has to be asked."""
    application = found.application
    asked = {one.fact: one.value for one in filed.questions(change.session, application)}
    told = {}
    for row in change.fields.get("facts", ()):
        fact = str(row.get("fact") or "")
        if not fact or len(fact) > 60:
            raise Invalid("{name} is too long or not text.", field="facts", name="facts")
        told[fact] = typed(row.get("value"), asked.get(fact))
    application.facts = {**application.facts, **told}
    _judge(change, found)
    verdict = application.verdict
    if verdict["negative"]:
        entry = verdict["negative"]
        raise Conflict("The negative list forbids it: {title} ({basis}).", title=entry["title"], basis=entry["basis"])
    if verdict["unknown"]:
        raise Invalid(
            "The negative list asks first: {words}.",
            field="facts",
            words="、".join(c["words"] for c in verdict["unknown"]),
        )


def typed(value: Any, like: Any) -> Any:
    """Return what a form says as the kind of value that the lists compare with."""
    if not isinstance(value, str):
        return value
    plain = value.strip()
    if isinstance(like, bool):
        known = {"yes": True, "true": True, "on": True, "no": False, "false": False}.get(plain.lower())
        if known is None:
            raise Invalid("{value} is not among the choices of {name}.", field="facts", value=plain[:40], name="facts")
        return known
    if isinstance(like, int | float):
        try:
            return float(plain)
        except ValueError as error:
            raise Invalid("{name} is not a number.", field="facts", name="facts") from error
    return plain


def _judge(change: Change, found: Matter) -> None:
    application = found.application
    verdict = lists.check(change.session, application.item_code, application.facts, credit=application.credit_class)
    application.verdict = kept_verdict(verdict)
    change.data["verdict"] = {
        "negative": verdict.negative.code if verdict.negative else None,
        "must_be_granted": verdict.must_be_granted,
        "share_percent": verdict.share_percent,
    }


def _refuse_acceptance(change: Change) -> None:
    change.case.answer = change.fields["reason"]


# Survey and the level above 踏勘, 上报.


def _survey_call(change: Change) -> None:
    found, case = matter(change.look), change.case
    if found.sheet.survey == "none":
        raise Conflict("The sheet of this item asks for no survey.")
    beside = [s.unit_code for s in change.look.shares if s.share != "lead" and s.state in ACTIVE]
    units = [str(case.unit_code), *(beside if found.sheet.joint_survey else [])]
    change.session.execute(
        insert(Survey).values(
            district_code=case.district_code,
            id=new_id(),
            case_id=case.id,
            units=units,
            set_for=_coming(change),
            place=change.fields["survey_place"],
            called_at=change.at,
            called_by=change.actor.name,
        )
    )
    change.data["units"] = units


def _survey_move(change: Change) -> None:
    survey = matter(change.look).open_survey
    if survey is None:
        raise Conflict("No survey is called.")
    change.note("set_for", survey.set_for.isoformat(), change.fields["survey_at"])
    survey.set_for = _coming(change)
    survey.place = change.fields.get("survey_place") or survey.place


def _coming(change: Change) -> datetime:
    """Return the moment of a survey; raises Invalid for one that is no time or is past."""
    try:
        moment = datetime.fromisoformat(change.fields["survey_at"])
    except ValueError as error:
        raise Invalid("This is not a date and time.", field="survey_at") from error
    aware = moment if moment.tzinfo else moment.replace(tzinfo=CHINA)
    if aware <= change.at:
        raise Invalid("The survey has to be later than now.", field="survey_at")
    return aware


def _survey_record(change: Change) -> None:
    found = matter(change.look)
    survey = found.open_survey
    if survey is None:
        raise Conflict("No survey is called.")
    if change.at < survey.set_for:
        day = china_time(survey.set_for).date().isoformat()
        raise Conflict("The survey is on {day}; it can be recorded afterwards.", day=day)
    survey.recorded_at, survey.recorded_by = change.at, change.actor.name
    survey.record, survey.result = change.fields["survey_record"], change.fields["survey_result"]
    application = found.application
    application.facts = {**application.facts, "site_check_passed": survey.result == "pass"}
    change.data["units"] = survey.units
    _judge(change, found)


def _hand_up(change: Change) -> None:
    """Send the application to the city or the province, whose limit is the sheet's (S0; 行政许可法 art. 43)."""
    found, case = matter(change.look), change.case
    review = found.next_review
    if review is None or review.level != change.fields["level"]:
        raise Invalid("It goes to {level} first.", field="level", level=review.level if review else "")
    change.session.execute(
        insert(Handover).values(
            district_code=case.district_code,
            id=new_id(),
            case_id=case.id,
            level=review.level,
            sent_at=change.at,
            sent_by=change.actor.name,
            reference=change.fields["reference"],
        )
    )
    change.limits["hand_up"] = review.limit
    change.pause_reason = "hand_up"
    change.data["task"] = review.task


def _hand_back(change: Change) -> None:
    out = next((one for one in matter(change.look).handovers if one.returned_at is None), None)
    if out is None:
        raise Conflict("Nothing was sent to a level above.")
    out.returned_at, out.decision = change.at, change.fields["handover_decision"]
    out.their_reference = change.fields["reference"]
    change.data["level"] = out.level


# Decision and delivery 决定, 送达.


def drawn(number: str, day: date, percent: int) -> bool:
    """Return whether a granted application is checked afterwards: a draw that anybody can redo.

    The SHA-256 of number and day of the decision, as a whole number modulo 100, is below the share in percent.
    """
    return int(sha256(f"{number}:{day.isoformat()}".encode()).hexdigest(), 16) % 100 < percent


def _decide(change: Change, found: Matter, outcome: str) -> None:
    application, case = found.application, change.case
    application.outcome, application.decided_at = outcome, change.at
    application.decision_number = change.fields.get("decision_number") or application.decision_number
    application.valid_until = change.fields.get("valid_until", "")
    # A debt that ran out before the decision was missed; a survey that it did not need is void. Neither runs on.
    change.look.clocks.stop(("debt",), at=change.at)
    change.look.clocks.stop(("survey",), at=change.at, void=True)
    change.clocks_touched = True
    day = china_time(change.at).date()
    share = int(application.verdict.get("share_percent", lists.DEFAULT_SHARE))
    if outcome == "granted":
        _checked(found)
        application.after_check = drawn(case.number, day, share)
    change.data |= {"outcome": outcome, "after_check": application.after_check, "share_percent": share}
    change.data["promised"] = found.sheet.promised_limit
    change.limits["deliver"], change.legal["deliver"] = found.sheet.deliver_limit or LEGAL_DELIVER, LEGAL_DELIVER
    if found.sheet.supervising:
        # 审管分离 (S1): who decides does not supervise; the unit that supervises learns of it here.
        pushed = {
            "to": found.sheet.supervising,
            "item": application.item_code,
            "version": application.item_version,
            "outcome": outcome,
            "by": case.unit_code,
            "credit": application.verdict.get("credit"),
            "after_check": application.after_check,
        }
        change.topics.append(("result.pushed", {**change.told(), **pushed}))


def _grant(change: Change) -> None:
    _decide(change, matter(change.look), "granted")


def _deny(change: Change) -> None:
    change.case.answer = change.fields["reason"]
    _decide(change, matter(change.look), "denied")


def _denial_agree(change: Change) -> None:
    proposed = change.look.last("propose_denial")
    said = proposed.data if proposed else {}
    change.case.answer = str(said.get("reason") or change.fields["ruling"])
    change.data |= {"reason": said.get("reason"), "legal_basis": said.get("legal_basis")}
    _decide(change, matter(change.look), "denied")


def _done_at_once(change: Change) -> None:
    """Accept, decide and hand out in one step 即办 (S4); the log says that it was all three."""
    found = matter(change.look)
    _tell_facts(change, found)
    found.application.accepted_at, found.application.at_once = change.at, True
    why = {"item": found.sheet.code, "version": found.application.item_version}
    give(change, _lead(change, found.sheet), why=why, state="done")
    _decide(change, found, "granted")
    _check_hands(change, found)
    change.data["steps"] = ["accept", "grant", "deliver"]


def _deliver(change: Change) -> None:
    found = matter(change.look)
    place = change.fields.get("pickup_place")
    if place and place != found.application.pickup_place:
        chosen = next(one for one in found.sheet.pick_ups if one.code == found.application.pickup_place)
        raise Conflict("The applicant chose to fetch the result here: {place}.", place=chosen.name)
    _check_hands(change, found)
    change.data["pickup_place"] = found.application.pickup_place


def _check_hands(change: Change, found: Matter) -> None:
    """Refuse hands that cannot be: an agent who was not named, a post that the chosen place does not have."""
    by, application = change.fields["picked_up_by"], found.application
    if by == "agent" and application.agent_name_sealed is None:
        raise Invalid("No agent was named in this application.", field="picked_up_by")
    chosen = next((one for one in found.sheet.pick_ups if one.code == application.pickup_place), None)
    if by == "post" and not (chosen and chosen.post):
        raise Invalid("The applicant did not choose the post.", field="picked_up_by")


def _choose_pickup(change: Change) -> None:
    found = matter(change.look)
    place = checked_pickup(found.sheet, change.fields["pickup_place"])
    change.note("pickup_place", found.application.pickup_place, place)
    found.application.pickup_place = place


def _record_fee(change: Change) -> None:
    """Record what was charged by the published rule; a fee without its basis may not be asked for (S0)."""
    fee = matter(change.look).sheet.fee
    try:
        yuan = Decimal(change.fields["fee_amount"])
        fits = yuan.is_finite() and 0 <= yuan <= _MOST_YUAN and yuan == yuan.quantize(Decimal("0.01"))
    except InvalidOperation:
        fits = False
    if not fits:
        raise Invalid("This is not an amount in yuan.", field="fee_amount")
    written = str(change.fields.get("waived") or "0").removesuffix("%")
    if not written.isascii() or not written.isdigit() or int(written) > 100:
        raise Invalid("What is let off is given in percent, from 0 to 100.", field="waived")
    percent, why = int(written), str(change.fields.get("waiver") or "")
    rule = next((one for one in fee.waivers if one.who == why), None)
    if percent and (rule is None or percent > rule.percent):
        raise Invalid("The sheet lets nobody off in this way.", field="waiver")
    cents = int(yuan * (100 - percent))
    change.session.execute(
        insert(Fee).values(
            district_code=change.case.district_code,
            id=new_id(),
            case_id=change.case.id,
            cents=cents,
            basis=fee.basis,
            waived_percent=percent,
            waiver=why,
            paid_reference=change.fields.get("paid_reference", ""),
            recorded_at=change.at,
            recorded_by=change.actor.name,
        )
    )
    change.data |= {"cents": cents, "basis": fee.basis}


#: Action → its effect, for the process `service_item`.
APPLICATION: Mapping[str, Callable[[Change], None]] = {
    "pre_review": lambda change: setattr(change, "pause_reason", "supply"),
    "notice": _notice,
    "supply": _supply,
    "hand_in": _hand_in,
    "reuse": _reuse,
    "accept": _accept,
    "accept_gaps": _accept_gaps,
    "accept_deemed": _accept_deemed,
    "done_at_once": _done_at_once,
    "refuse_acceptance": _refuse_acceptance,
    "reassign": reassign,
    "survey_call": _survey_call,
    "survey_move": _survey_move,
    "survey_record": _survey_record,
    "material_wrong": _material_wrong,
    "hand_up": _hand_up,
    "hand_back": _hand_back,
    "grant": _grant,
    "deny": _deny,
    "denial_agree": _denial_agree,
    "deliver": _deliver,
    "choose_pickup": _choose_pickup,
    "record_fee": _record_fee,
}
